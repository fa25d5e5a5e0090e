/**
 * Three real processes are killed, paused, restarted one after another, cut off and half cut off under load, and the
 * history is checked: what idempotent producers and consumer groups of librdkafka and of Apache Kafka's Java
 * clients were told and saw.
 *
 * Nothing acknowledged is lost, doubled or moved, no offset has two values, no commit goes back, and no client is
 * told of a failure; and no partition goes without an acknowledgement for longer than MAX_SILENCE_S says,
 * whichever node it was that failed. A probe that has nothing of a client's patience tells how much of each silence
 * was the cluster's, and how much the client's own.
 *
 * Each kind of fault happens once, and is short. `WEIR_CRASH_MINUTES=10` is ten minutes of them by chance; the
 * limits of time hold only then, on a machine that does nothing else. `WEIR_SEED` repeats the choices, though not the
 * timing. `WEIR_CRASH_KINDS=pause,vanish` is these kinds alone; `WEIR_CRASH_LOGS=DIRECTORY` keeps what the nodes print.
 */

import { afterEach, expect } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { SimRandom } from "../sim/sim_random.ts";
import { AvailabilityProbe, type Silence } from "./availability_probe.ts";
import { RealCluster } from "./cluster.ts";
import { type Fault, FAULTS, MAX_SILENCE_S } from "./cluster_faults.ts";
import { expectCleanHistory, Load, type LoadReport } from "./cluster_load.ts";
import { runCommand } from "./command_line.ts";
import { hasTool, testWith } from "./harness.ts";

const MINUTES = Number(process.env["WEIR_CRASH_MINUTES"] ?? 0);
const SEED = Number(process.env["WEIR_SEED"] ?? Date.now() % 2 ** 31);
const KINDS = process.env["WEIR_CRASH_KINDS"]?.split(",") ?? Object.keys(FAULTS);
const NODES = 3;
const PARTITIONS = 3;
const RECORDS_A_SECOND = 100;
/** A client that waits longer for a node that is paused is silent for as long, whatever the others do. */
const REQUEST_TIMEOUT_MS = Number(process.env["WEIR_CRASH_REQUEST_TIMEOUT_MS"] ?? 1_500);
/** How long a fault lasts in the short run. */
const SHORT_MS = 4_000;
/** Between two faults, once everything is in sync again. */
const REST_MS = MINUTES > 0 ? 3_000 : 1_000;
const LOGS = process.env["WEIR_CRASH_LOGS"];
const PROBE_TOPIC = "cluster-probe";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** One fault as it happened. Units: s since 1970. */
interface Happened {
  readonly kind: string;
  readonly nodeId: number;
  readonly lastsMs: number;
  readonly start: number;
  readonly end: number;
}

/** The longest silence that each client met around one fault. Units: s. */
type Silences = Readonly<Record<string, number>>;

const nowS = () => Date.now() / 1_000;

async function createTopics(cluster: RealCluster, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const create = ["topic", "create", name, "--partitions", String(PARTITIONS)];
    await runCommand(["-b", cluster.bootstrap, ...create, "--replication-factor", String(NODES)]);
  }
}

async function startLoads(cluster: RealCluster): Promise<Load[]> {
  const loads = (["librdkafka", "java"] as const).map((client) => {
    const load = Load[client]({
      bootstrap: cluster.bootstrap,
      topic: `cluster-${client}`,
      partitions: PARTITIONS,
      group: `group-${client}`,
      recordsASecond: RECORDS_A_SECOND,
      requestTimeoutMs: REQUEST_TIMEOUT_MS,
    });
    ends.push(() => load.kill());
    return load;
  });
  await Promise.all(loads.map((load) => load.ready()));
  return loads;
}

/** The kinds in their order, or by chance until the time is over. */
function* kindsToHappen(random: SimRandom): Generator<string> {
  if (MINUTES === 0) return yield* KINDS;
  const untilS = nowS() + MINUTES * 60;
  while (nowS() < untilS) yield random.pick(KINDS);
}

async function happen(cluster: RealCluster, kind: string, random: SimRandom): Promise<Happened> {
  const fault: Fault = FAULTS[kind]!;
  const nodeId = random.pick(cluster.nodeIds);
  const longestMs = Math.min(fault.longestMs, MINUTES > 0 ? Infinity : SHORT_MS);
  const shortestMs = Math.min(1_000, longestMs);
  const lastsMs = MINUTES > 0 ? random.between(shortestMs, longestMs) : longestMs;
  const start = nowS();
  await fault.happen(cluster, { nodeId, lastsMs, random });
  const end = nowS();
  await cluster.whenInSync();
  return { kind, nodeId, lastsMs, start, end };
}

/** The longest silence that touches a fault. */
function longest(
  { start, end }: Happened,
  silences: Iterable<readonly [since: number, seconds: number]>,
): number {
  let found = 0;
  for (const [since, seconds] of silences) {
    if (since + seconds > start && since < end + 1) found = Math.max(found, seconds);
  }
  return found;
}

function silencesOf(
  happened: Happened,
  loads: readonly Load[],
  reports: readonly LoadReport[],
  probed: readonly Silence[],
): Silences {
  const found: Record<string, number> = {};
  for (const [at, { name }] of loads.entries()) {
    found[name] = longest(
      happened,
      reports[at]!.silences.map(([, , since, seconds]) => [since, seconds] as const),
    );
  }
  found["probe"] = longest(
    happened,
    probed.map(({ startMs, lengthMs }) => [startMs / 1_000, lengthMs / 1_000] as const),
  );
  return found;
}

function tell(happened: readonly Happened[], silences: readonly Silences[]): void {
  const lines: string[] = [];
  for (const [at, { kind, nodeId, lastsMs, start }] of happened.entries()) {
    const at0 = new Date(start * 1_000).toISOString().slice(11, 23);
    const each = Object.entries(silences[at]!).map(([who, s]) => `${who} ${s.toFixed(1)} s`);
    lines.push(`  ${at0} ${kind} of ${nodeId}, ${lastsMs} ms: ${each.join(", ")}`);
  }
  for (const kind of new Set(happened.map((one) => one.kind))) {
    const some = silences.filter((_, at) => happened[at]!.kind === kind);
    const each = Object.keys(some[0]!).map((who) => {
      const sorted = some.map((one) => one[who]!).toSorted((a, b) => a - b);
      const p50 = sorted[Math.floor((sorted.length - 1) / 2)]!;
      return `${who} p50 ${p50.toFixed(1)} max ${sorted.at(-1)!.toFixed(1)} s`;
    });
    lines.push(`${kind} (${some.length}): ${each.join(", ")}`);
  }
  console.log(lines.join("\n"));
}

function keepLogs(cluster: RealCluster, directory: string): void {
  mkdirSync(directory, { recursive: true });
  for (const nodeId of cluster.nodeIds) {
    writeFileSync(join(directory, `node-${nodeId}.log`), cluster.output(nodeId));
  }
}

async function run(): Promise<void> {
  console.log(`WEIR_SEED=${SEED}`);
  const random = new SimRandom(SEED);
  const cluster = await RealCluster.start({ nodes: NODES });
  ends.push(() => cluster.close());
  if (LOGS !== undefined) ends.push(() => keepLogs(cluster, LOGS));
  await createTopics(cluster, ["cluster-librdkafka", "cluster-java", PROBE_TOPIC]);
  const loads = await startLoads(cluster);
  await cluster.whenInSync();
  const probe = new AvailabilityProbe({
    addresses: cluster.addresses,
    topic: PROBE_TOPIC,
    partitions: Array.from({ length: PARTITIONS }, (_, at) => at),
  });
  ends.push(() => probe.stop());
  const happened: Happened[] = [];
  for (const kind of kindsToHappen(random)) {
    await Bun.sleep(REST_MS);
    happened.push(await happen(cluster, kind, random));
  }
  await Bun.sleep(REST_MS);
  await probe.stop();
  const reports = await Promise.all(loads.map((load) => load.end()));
  const silences = happened.map((one) => silencesOf(one, loads, reports, probe.silences));
  tell(happened, silences);
  for (const [at, load] of loads.entries()) {
    console.log(`${load.name}: ${reports[at]!.acknowledged[load.topic]!.length} acknowledged`);
    expectCleanHistory(load, reports[at]!);
  }
  if (MINUTES > 0) expectShort(happened, silences);
  for (const nodeId of cluster.nodeIds) expect(await cluster.stop(nodeId)).toBe(0);
}

function expectShort(happened: readonly Happened[], silences: readonly Silences[]): void {
  const tooLong = happened.flatMap((one, at) => {
    const limitS = MAX_SILENCE_S[FAULTS[one.kind]!.limit];
    const worstS = Math.max(...Object.values(silences[at]!));
    return worstS < limitS ? [] : [{ ...one, limitS, ...silences[at] }];
  });
  expect(tooLong).toEqual([]);
}

testWith(
  hasTool("Apache Kafka (peers)") ? "python confluent-kafka" : "Apache Kafka (peers)",
  `a cluster of ${NODES} under ${MINUTES > 0 ? `${MINUTES} minutes of faults` : "each fault"}: ` +
    "nothing acknowledged is lost, doubled or moved",
  run,
  240_000 + 90_000 * MINUTES,
);
