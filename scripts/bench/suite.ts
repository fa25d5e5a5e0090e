/**
 * A suite of loads: starts the brokers once, puts each load on them in turns, and makes rows of what came.
 *
 *     rounds that warm up    weir, peer, weir, peer, …    round 1    weir, peer    round 2    weir, peer    …    next load
 */

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { KafkaClient, parseEndpoints } from "../../broker/client/kafka_client.ts";
import { bunNetwork } from "../../broker/network_bun.ts";
import { bunClock, bunRandom } from "../../storage/platform_bun.ts";
import { type BrokerKind, type MeasuredBroker, shortName } from "./brokers.ts";
import { rowOf, type RowSpec, type Sample } from "./figures.ts";
import {
  type BenchOptions,
  type BenchReport,
  machineOf,
  type Medium,
  reportHead,
} from "./report.ts";
import type { Load } from "./round.ts";

const ROOT = join(import.meta.dir, "..", "..");
const QUICK_PART = 50;
/** Both compile what is hot while it runs: after so many rounds there is little left to compile. */
const WARM_UPS = 4;
const CLIENT_TIMEOUT_MS = 60_000;

/** Loads that the same brokers are put under, and what is told of them. */
export interface Suite {
  /** Its reports are called by it. */
  readonly name: string;
  /** What is measured, as it stands above a picture. */
  readonly title: string;
  /** What is started: weir by its command, and the peer where it is wanted. */
  kindsOf(command: readonly string[], hasPeer: boolean): Promise<BrokerKind[]>;
  readonly loads: readonly Load[];
  rowSpecs(medium: Medium): RowSpec[];
}

/** Measures the loads that were chosen. Errors: rejects when a broker or a load fails. */
export async function runBench(
  { kindsOf, loads, rowSpecs }: Suite,
  options: BenchOptions,
): Promise<BenchReport> {
  const { command, hasPeer, medium, only } = options;
  const machine = machineOf(medium);
  const kinds = await kindsOf(command, hasPeer);
  const samples = new Map<string, Sample[][]>();
  await withBrokers(kinds, medium, async (running) => {
    for (const load of loads.filter(({ name }) => only === null || only.includes(name))) {
      samples.set(load.name, await runRounds(load, options, running));
    }
  });
  const specs = rowSpecs(medium).filter(({ load }) => samples.has(load));
  const rows = specs.map((spec) => {
    const [weir, peer] = samples.get(spec.load)!;
    return rowOf(spec, { weir: weir!, peer: peer ?? null });
  });
  return { ...reportHead(options, { machine, kinds }), rows };
}

/** Brokers that run, and a client of each. */
export interface RunningBrokers {
  /** Holds their data. */
  readonly directory: string;
  readonly brokers: readonly MeasuredBroker[];
  /** Shape: in the order of the brokers. */
  readonly clients: readonly KafkaClient[];
}

/** Runs `work` beside one broker of each kind, in empty directories that go afterwards. */
export async function withBrokers(
  kinds: readonly BrokerKind[],
  medium: Medium,
  work: (running: RunningBrokers) => Promise<void>,
): Promise<void> {
  const directory = dataDirectory(medium);
  const brokers: MeasuredBroker[] = [];
  const clients: KafkaClient[] = [];
  try {
    for (const kind of kinds) {
      const broker = await kind.start(join(directory, shortName(kind)));
      brokers.push(broker);
      clients.push(clientOf(broker));
    }
    await work({ directory, brokers, clients });
  } finally {
    for (const client of clients) await client.close();
    for (const broker of brokers) await broker.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A client of a broker that is patient. */
export function clientOf(
  broker: Pick<MeasuredBroker, "bootstrap"> & { readonly kind: Pick<BrokerKind, "version"> },
): KafkaClient {
  return new KafkaClient({
    network: bunNetwork(),
    clock: bunClock(),
    random: bunRandom(),
    bootstrap: parseEndpoints(broker.bootstrap),
    clientId: "weir-bench",
    softwareVersion: broker.kind.version,
    requestTimeoutMs: CLIENT_TIMEOUT_MS,
    retryTimeoutMs: CLIENT_TIMEOUT_MS,
    interrupted: new AbortController().signal,
  });
}

/** An empty directory that goes at the end of the process at the latest. */
export function dataDirectory(medium: Medium): string {
  const parent = medium === "tmpfs" ? "/dev/shm" : join(ROOT, ".cache");
  mkdirSync(parent, { recursive: true });
  const directory = mkdtempSync(join(parent, "weir-bench-"));
  process.on("exit", () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/**
 * Puts a load on all brokers in turns, `rounds` times after some that warm up.
 *
 * Returns: the samples of each broker, in the order of the brokers.
 */
export async function runRounds(
  load: Load,
  { rounds, isQuick, command }: Pick<BenchOptions, "rounds" | "isQuick" | "command">,
  { directory, brokers, clients }: RunningBrokers,
): Promise<Sample[][]> {
  const found = brokers.map((): Sample[] => []);
  const megabytes = Math.max(1, Math.round(load.megabytes / (isQuick ? QUICK_PART : 1)));
  const warmUps = isQuick ? 1 : WARM_UPS;
  for (let number = 0; number < warmUps + rounds; number++) {
    for (const [index, broker] of brokers.entries()) {
      const client = clients[index]!;
      const round = { load, broker, client, megabytes, command, number, directory };
      const sample = await load.measure(round);
      if (number >= warmUps) found[index]!.push(sample);
    }
    const what = number < warmUps ? "warming up" : `round ${number - warmUps + 1}`;
    process.stderr.write(`${load.name}: ${what}\n`);
  }
  return found;
}
