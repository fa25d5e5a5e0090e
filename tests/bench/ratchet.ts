/**
 * The ratchet: what weir takes for a load may not grow by more than a fifth beside the least that a broker could take.
 *
 *     bun tests/bench/ratchet.ts                      judges each load by the ratios in ratchet.json
 *     bun tests/bench/ratchet.ts --record             takes each load three times and records the middle
 *     bun tests/bench/ratchet.ts --only fetch,tail    some of the loads, also to record
 *     bun tests/bench/ratchet.ts --samples            says each round, also of what holds
 *     bun tests/bench/ratchet.ts --command dist/weir  another weir than "bun main.ts", which is what is recorded
 *
 * weir and the reference (`ratchet_reference.ts`) are processes of the same runtime that carry the same load in turns, a
 * few tens of milliseconds at a time. Judged is the ratio of the processor time that each takes, all threads together,
 * and of the bytes that pass to and from their files. No time by the clock decides anything. A load that is worse is taken
 * anew with new processes, three times in all, and fails where each of them is worse. `ratchet_test.ts` is this in the
 * gate; decision 0140 has the figures. Exit code: 1 where something is worse.
 */

import { existsSync, mkdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { bunIo } from "../../broker/cli/io_bun.ts";
import type { CliIo } from "../../broker/cli/io.ts";
import { KafkaClient, parseEndpoints } from "../../broker/client/kafka_client.ts";
import { createTopic } from "../../broker/client/topics.ts";
import { scratchDirectory, startWeir } from "../compat/harness.ts";
import { CompilerTime, cpuSecondsOf, fileBytesOf } from "./broker_figures.ts";
import {
  advice,
  formatSamples,
  formatVerdict,
  judge,
  type Measured,
  ratioOf,
  type Recorded,
  recordOf,
  RENEW,
  type Round,
  type Used,
  type Verdict,
} from "./ratchet_figures.ts";
import { LOADS, type RatchetLoad, TOPICS } from "./ratchet_loads.ts";

const RECORD = join(import.meta.dir, "ratchet.json");
const REFERENCE = join(import.meta.dir, "ratchet_reference.ts");
const MAX_TAKES = 3;
const ROUNDS = 21;
const CLIENT_TIMEOUT_MS = 60_000;
/** What a take writes, with room to spare. */
const NEEDED_BYTES = 4e9;
/** The engine has as many threads as it would have on two processors, wherever it runs. */
const ENGINE = {
  BUN_JSC_numberOfGCMarkers: "2",
  BUN_JSC_numberOfBaselineCompilerThreads: "1",
  BUN_JSC_numberOfDFGCompilerThreads: "1",
  BUN_JSC_numberOfFTLCompilerThreads: "1",
};

/** A server under load. */
interface MeasuredServer {
  readonly pid: number;
  readonly compilers: CompilerTime;
  readonly client: KafkaClient;
  stop(): Promise<void>;
}

/** How loads are taken. */
export interface TakeOptions {
  readonly command?: readonly string[];
  readonly rounds?: number;
}

/** A directory in memory where there is room: how a disk and its file system are made is not weir's. */
function dataDirectory(): string {
  const memory = "/dev/shm";
  const { bsize, bavail } = existsSync(memory) ? statfsSync(memory) : { bsize: 0, bavail: 0 };
  return scratchDirectory("ratchet", bsize * bavail >= NEEDED_BYTES ? memory : tmpdir());
}

function clientOf(io: CliIo, bootstrap: string): KafkaClient {
  return new KafkaClient({
    network: io.network,
    clock: io.clock,
    random: io.random,
    bootstrap: parseEndpoints(bootstrap),
    clientId: "weir-ratchet",
    softwareVersion: "1",
    requestTimeoutMs: CLIENT_TIMEOUT_MS,
    retryTimeoutMs: CLIENT_TIMEOUT_MS,
    interrupted: io.interrupted,
  });
}

async function startMeasuredWeir(
  io: CliIo,
  { directory, partitions, command }: {
    readonly directory: string;
    readonly partitions: number;
    readonly command: readonly string[] | undefined;
  },
): Promise<MeasuredServer> {
  const dataDirectory = join(directory, "weir");
  const broker = await startWeir({ dataDirectory, ...(command !== undefined && { command }) });
  const client = clientOf(io, broker.bootstrap);
  for (const name of Object.values(TOPICS)) {
    await createTopic(client, { name, partitions, configs: [], validateOnly: false });
  }
  return {
    pid: broker.pid,
    compilers: new CompilerTime(broker.pid),
    client,
    async stop() {
      await client.close();
      await broker.kill();
    },
  };
}

async function startReference(
  io: CliIo,
  { directory, partitions }: { readonly directory: string; readonly partitions: number },
): Promise<MeasuredServer> {
  const data = join(directory, "reference");
  mkdirSync(data);
  const words = [process.execPath, REFERENCE, data, String(partitions)];
  const child = Bun.spawn(words, { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);
  // Its first and only line.
  const { value } = await child.stdout.getReader().read();
  if (value === undefined) throw new Error("Cannot start the reference: it ended");
  const client = clientOf(io, `127.0.0.1:${new TextDecoder().decode(value).trim()}`);
  return {
    pid: child.pid,
    compilers: new CompilerTime(child.pid),
    client,
    async stop() {
      await client.close();
      child.kill("SIGKILL");
      await child.exited;
      process.off("exit", killAtExit);
    },
  };
}

/** What a server used so far; the times by the clock are none of its own. */
function usedBy({ pid, compilers }: MeasuredServer): Used {
  const { writtenBytes, readBytes } = fileBytesOf(pid);
  const processorUs = (cpuSecondsOf(pid) - compilers.seconds()) * 1e6;
  return { processorUs, writtenBytes, readBytes, wallUs: performance.now() * 1000 };
}

/** What a server uses for one round, for each unit that is done. */
async function usedForRound(
  io: CliIo,
  { run }: RatchetLoad,
  server: MeasuredServer,
): Promise<Used> {
  const before = usedBy(server);
  const done = await run(io, server.client);
  const after = usedBy(server);
  const per = (name: keyof Used) => (after[name] - before[name]) / done;
  return {
    processorUs: per("processorUs"),
    writtenBytes: per("writtenBytes"),
    readBytes: per("readBytes"),
    wallUs: per("wallUs"),
  };
}

/** Takes a load once, with new processes. Returns: its rounds. Errors: rejects when a server or the load fails. */
export async function takeLoad(
  io: CliIo,
  load: RatchetLoad,
  options: TakeOptions = {},
): Promise<Round[]> {
  const { command, rounds = ROUNDS } = options;
  const directory = dataDirectory();
  const servers: MeasuredServer[] = [];
  const found: Round[] = [];
  try {
    const { partitions } = load;
    const weir = await startMeasuredWeir(io, { directory, partitions, command });
    servers.push(weir);
    const reference = await startReference(io, { directory, partitions });
    servers.push(reference);
    for (const { client } of servers) await load.warmUp(io, client);
    const measure = (server: MeasuredServer) => usedForRound(io, load, server);
    for (let number = 0; number < rounds; number++) {
      // Whoever comes second finds the caches of the other; they take turns in that too.
      if (number % 2 === 0) {
        const used = await measure(weir);
        found.push({ weir: used, reference: await measure(reference) });
      } else {
        const used = await measure(reference);
        found.push({ reference: used, weir: await measure(weir) });
      }
    }
  } finally {
    for (const server of servers) await server.stop();
    // The next take needs the room.
    rmSync(directory, { recursive: true, force: true });
  }
  return found;
}

/** Takes a load as often as it is worse than what is recorded, three times at most. */
async function judgeLoad(
  io: CliIo,
  load: RatchetLoad,
  { recorded, saysSamples, ...options }: TakeOptions & {
    readonly recorded: Recorded;
    readonly saysSamples: boolean;
  },
): Promise<Verdict[]> {
  const takes: Round[][] = [];
  for (;;) {
    takes.push(await takeLoad(io, load, options));
    const measured: Measured = { load: load.name, figures: load.figures, takes };
    const verdicts = judge(measured, recorded);
    const worse = verdicts.filter(({ kind }) => kind === "worse");
    if (worse.length > 0 && takes.length < MAX_TAKES) continue;
    const wall = ratioOf(takes.at(-1)!, "wallUs").toFixed(2);
    for (const verdict of verdicts) console.log(formatVerdict(verdict));
    console.log(`       (${load.title}; by the clock ${wall} ×, which is not judged)`);
    for (const { figure } of saysSamples ? verdicts : worse) {
      console.log(formatSamples(measured, figure));
    }
    return verdicts;
  }
}

/** The ratios that are recorded. */
function readRecord(): Recorded {
  if (!existsSync(RECORD)) return {};
  return (JSON.parse(readFileSync(RECORD, "utf8")) as { readonly ratios: Recorded }).ratios;
}

/** Takes loads several times and writes what they come to into the record, beside those of other loads. */
async function recordLoads(io: CliIo, loads: readonly RatchetLoad[]): Promise<void> {
  const record = readRecord();
  const measured: Measured[] = [];
  for (const load of loads) {
    const takes: Round[][] = [];
    for (let i = 0; i < MAX_TAKES; i++) takes.push(await takeLoad(io, load));
    const found: Measured = { load: load.name, figures: load.figures, takes };
    measured.push(found);
    const before = record[load.name] ?? recordOf([found])[load.name]!;
    for (const verdict of judge(found, { [load.name]: before })) {
      console.log(formatVerdict(verdict));
    }
  }
  const found = { ...record, ...recordOf(measured) };
  // In the order of the loads; what is no load any more goes.
  const ratios = Object.fromEntries(
    LOADS.flatMap(({ name }) => name in found ? [[name, found[name]]] : []),
  );
  writeFileSync(RECORD, `${JSON.stringify({ renew: RENEW, ratios }, null, 2)}\n`);
  console.log(`written: ${RECORD}`);
}

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      record: { type: "boolean", default: false },
      only: { type: "string" },
      samples: { type: "boolean", default: false },
      command: { type: "string" },
    },
  });
  const only = values.only?.split(",") ?? LOADS.map(({ name }) => name);
  const loads = LOADS.filter(({ name }) => only.includes(name));
  const known = LOADS.map(({ name }) => name);
  const unknown = only.filter((name) => !known.includes(name));
  if (unknown.length > 0 || (values.record && values.command !== undefined)) {
    const why = unknown.length > 0
      ? `${unknown.join(", ")}: the loads are ${known.join(", ")}`
      : `another weir: the ratios are those of "bun main.ts"`;
    console.error(`Cannot measure ${why}`);
    return 2;
  }
  Object.assign(process.env, ENGINE);
  const io = bunIo();
  // What runs beside this process ends with it.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));
  if (values.record) {
    await recordLoads(io, loads);
    return 0;
  }
  const recorded = readRecord();
  const command = values.command?.split(" ");
  const verdicts: Verdict[] = [];
  for (const load of loads) {
    const options = {
      recorded,
      saysSamples: values.samples,
      ...(command !== undefined && { command }),
    };
    verdicts.push(...await judgeLoad(io, load, options));
  }
  console.log(advice(verdicts));
  return verdicts.some(({ kind }) => kind === "worse") ? 1 : 0;
}

if (import.meta.main) process.exit(await main(process.argv.slice(2)));
