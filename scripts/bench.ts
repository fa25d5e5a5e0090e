/**
 * How fast weir is beside Apache Kafka, on one machine, in one run.
 *
 *     bun scripts/bench.ts --peer kafka                    every figure, five alternating rounds after one that warms up
 *     bun scripts/bench.ts                                 weir alone
 *     bun scripts/bench.ts --only produce,latency          some of the loads (`--help` lists them)
 *     bun scripts/bench.ts --rounds 3 --quick              fewer rounds; a fiftieth of the amounts
 *     bun scripts/bench.ts --on tmpfs                      data in memory, in place of this disk
 *     bun scripts/bench.ts --command "bun main.ts"         another weir than dist/weir
 *     bun scripts/bench.ts --out DIRECTORY                 in place of docs/benchmarks
 *
 * Each broker is a process with its default settings, started once, and so is each load: `weir bench` of the same weir
 * drives both, in turns. Prints a table of medians, spreads and ratios, and whether each bar of the design holds; writes
 * the same with all samples, machine, versions and commit as JSON, and as a picture. Figures count as ratios of one run
 * on a machine that does nothing else. Exit code: 0 when everything was measured, whichever bars hold.
 */

import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { basename, join, relative } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { KafkaClient, parseEndpoints, UnknownTopicError } from "../broker/client/kafka_client.ts";
import { createTopic, deleteTopics } from "../broker/client/topics.ts";
import { bunNetwork } from "../broker/network_bun.ts";
import { eventually } from "../tests/compat/harness.ts";
import { bunClock, bunRandom } from "../storage/platform_bun.ts";
import {
  type BrokerKind,
  kafkaKind,
  type MeasuredBroker,
  startBroker,
  weirKind,
} from "./bench_brokers.ts";
import { formatRows, type Row, rowOf, type RowSpec, type Sample } from "./bench_figures.ts";
import { plotSvg } from "./bench_plot.ts";

const ROOT = join(import.meta.dir, "..");
const DEFAULT_ROUNDS = 5;
const QUICK_PART = 50;
const PARTITIONS = 6;
const TAIL_CONSUMERS = 10;
const CLIENT_TIMEOUT_MS = 60_000;
/** Both brokers keep deleted files for a minute otherwise, and the disk would fill. */
const DELETE_AT_ONCE = ["file.delete.delay.ms", "1000"] as const;

/** Where the data lies. */
export type Medium = "tmpfs" | "disk";

/** One load, as `weir bench` is told. */
interface Load {
  readonly name: string;
  readonly partitions: number;
  /** How much is written or read in a round. */
  readonly megabytes: number;
  readonly flags: readonly string[];
  /** Settings of the topic at the peer. */
  readonly peerConfigs?: readonly (readonly [name: string, value: string])[];
  readonly measure: (round: Round) => Promise<Sample>;
}

/** One round of one load at one broker. */
interface Round {
  readonly load: Load;
  readonly broker: MeasuredBroker;
  readonly client: KafkaClient;
  readonly megabytes: number;
  readonly command: readonly string[];
  /** Which round it is; 0 warms up. */
  readonly number: number;
  /** Holds the data of all brokers. */
  readonly directory: string;
}

const batches = (records: number, size: number, inFlight: number, acks: string) => [
  ...["--records", String(records), "--size", String(size)],
  ...["--in-flight", String(inFlight), "--acks", acks],
];
const written = { partitions: PARTITIONS, measure: measureProduce };

/** All loads, by the rows of the design. */
const LOADS: readonly Load[] = [
  { ...written, name: "produce", megabytes: 400, flags: batches(100, 1024, 5, "1") },
  { ...written, name: "produce_synced", megabytes: 400, flags: batches(100, 1024, 5, "-1") },
  {
    ...written,
    name: "produce_flushed",
    megabytes: 100,
    flags: batches(100, 1024, 5, "-1"),
    peerConfigs: [["flush.messages", "1"]],
  },
  { ...written, name: "small_batches", megabytes: 100, flags: batches(10, 100, 5, "1") },
  { ...written, name: "single", megabytes: 10, flags: batches(1, 100, 30, "1") },
  { ...written, name: "single_synced", megabytes: 10, flags: batches(1, 100, 30, "-1") },
  { ...written, name: "single_synced_300", megabytes: 10, flags: batches(1, 100, 300, "-1") },
  {
    name: "latency",
    partitions: 1,
    megabytes: 1,
    flags: batches(1, 100, 1, "1"),
    measure: measureProduce,
  },
  { name: "fetch", partitions: PARTITIONS, megabytes: 400, flags: [], measure: measureFetch },
  { name: "tail", partitions: 1, megabytes: 200, flags: [], measure: measureTail },
  { name: "start", partitions: 0, megabytes: 0, flags: [], measure: measureStart },
];

const more = { isMoreBetter: true };
const less = { isMoreBetter: false };
const mbPerSecond = { ...more, figure: "megabytesPerSecond", unit: "MB/s" };
const requestsPerSecond = { ...more, figure: "requestsPerSecond", unit: "/s" };
const ratio = (limit: number) => ({ of: "ratio", limit }) as const;
const latency = { ...less, load: "latency", unit: "ms", bar: ratio(0.6) };

/** The figures that are told, with the bars of the design. */
const ROWS: readonly RowSpec[] = [
  {
    ...mbPerSecond,
    name: "produce",
    title: "produce, 100 × 1 KiB",
    load: "produce",
    bar: ratio(1.5),
  },
  {
    ...mbPerSecond,
    name: "produce_synced",
    title: "synced, the peer's is not",
    load: "produce_synced",
    bar: ratio(0.8),
  },
  {
    ...mbPerSecond,
    name: "produce_flushed",
    title: "synced, so is the peer's",
    load: "produce_flushed",
    bar: ratio(5),
  },
  {
    ...more,
    name: "small_batches",
    title: "produce, 10 × 100 B",
    load: "small_batches",
    figure: "recordsPerSecond",
    unit: "records/s",
    bar: ratio(2),
  },
  {
    ...requestsPerSecond,
    name: "single",
    title: "1 × 100 B, 30 in flight",
    load: "single",
    bar: ratio(2.5),
  },
  {
    ...requestsPerSecond,
    name: "single_synced",
    title: "1 × 100 B, 30 in flight, synced",
    load: "single_synced",
    bar: ratio(0.6),
  },
  {
    ...requestsPerSecond,
    name: "single_synced_300",
    title: "1 × 100 B, 300 in flight, synced",
    load: "single_synced_300",
    bar: ratio(1),
  },
  { ...latency, name: "latency_p50", title: "one in flight, p50", figure: "p50Ms" },
  { ...latency, name: "latency_p99", title: "one in flight, p99", figure: "p99Ms" },
  { ...mbPerSecond, name: "fetch", title: "fetch, catching up", load: "fetch", bar: ratio(1) },
  {
    ...mbPerSecond,
    name: "tail",
    title: `fetch at the tail, ${TAIL_CONSUMERS} consumers`,
    load: "tail",
    bar: ratio(1.5),
  },
  {
    ...less,
    name: "cpu",
    title: "processor time, produce",
    load: "produce",
    figure: "cpuSecondsPerGigabyte",
    unit: "s/GB",
    bar: ratio(0.5),
  },
  {
    ...less,
    name: "memory",
    title: "most resident memory, produce",
    load: "produce",
    figure: "peakResidentMegabytes",
    unit: "MB",
    bar: { of: "value", limit: 150 },
  },
  {
    ...less,
    name: "start",
    title: "start to first answer",
    load: "start",
    figure: "startMs",
    unit: "ms",
    bar: { of: "value", limit: 150 },
  },
];
/** Where no disk is in the way, more is asked. */
const TMPFS_BARS: Readonly<Record<string, RowSpec["bar"]>> = { produce: ratio(2) };

function rowSpecs(medium: Medium): RowSpec[] {
  if (medium === "disk") return [...ROWS];
  return ROWS.map((row) => ({ ...row, bar: TMPFS_BARS[row.name] ?? row.bar }));
}

// ── one round ─────────────────────────────────────────────────────────────────────────────────────

async function measureProduce(round: Round): Promise<Sample> {
  const { load, megabytes } = round;
  return await withTopic(round, async (topic) => {
    const amount = ["--topic", topic, "--megabytes", String(megabytes)];
    const flags = ["produce", ...amount, ...load.flags];
    return await measured(round, megabytes, () => benchFigures(round, flags).ended);
  });
}

/** What is read is written once, in the round that warms up. */
async function measureFetch(round: Round): Promise<Sample> {
  const { client, load, megabytes, number } = round;
  const topic = `bench-${load.name}`;
  if (number === 0) {
    await makeTopic(client, topic, load.partitions, []);
    const shape = batches(100, 1024, 5, "1");
    const amount = ["--topic", topic, "--megabytes", String(megabytes)];
    await benchFigures(round, ["produce", ...amount, ...shape]).ended;
  }
  return await measured(round, megabytes, () => {
    return benchFigures(round, ["fetch", "--topic", topic]).ended;
  });
}

/** The consumers read a tenth less than is written: what the first answer brought is not counted as read. */
async function measureTail(round: Round): Promise<Sample> {
  const { megabytes } = round;
  return await withTopic(round, async (topic) => {
    return await measured(round, megabytes * TAIL_CONSUMERS, async () => {
      const read = Math.max(1, Math.floor(megabytes * 0.9)) * TAIL_CONSUMERS;
      const consumers = ["--tail", "--consumers", String(TAIL_CONSUMERS)];
      const flags = ["--topic", topic, "--megabytes"];
      const readers = benchFigures(round, ["fetch", ...flags, String(read), ...consumers]);
      await readers.isWaiting;
      const shape = batches(100, 1024, 5, "1");
      // A load this small is over before the consumers have what they are to read.
      const amount = String(megabytes + 1);
      const writer = benchFigures(round, ["produce", ...flags, amount, ...shape]);
      const [figures] = await Promise.all([readers.ended, writer.ended]);
      return figures;
    });
  });
}

async function measureStart({ broker, directory, number }: Round): Promise<Sample> {
  const { kind } = broker;
  const name = `${kind.name === "weir" ? "weir" : "peer"}-start-${number}`;
  const started = await startBroker(kind, { parent: directory, name });
  await started.stop();
  return { startMs: started.startMs };
}

/** Adds what the broker used meanwhile. */
async function measured(
  { broker }: Round,
  megabytes: number,
  work: () => Promise<Sample>,
): Promise<Sample> {
  const before = broker.cpuSeconds();
  const figures = await work();
  return {
    ...figures,
    cpuSecondsPerGigabyte: (broker.cpuSeconds() - before) / (megabytes / 1000),
    peakResidentMegabytes: broker.peakResidentBytes() / 1e6,
  };
}

/** Runs `work` with a topic that is made for the round and goes with it. */
async function withTopic<T>(
  { broker, client, load, number }: Round,
  work: (topic: string) => Promise<T>,
): Promise<T> {
  const topic = `bench-${load.name}-${number}`;
  const configs = broker.kind.name === "weir" ? [] : load.peerConfigs ?? [];
  await makeTopic(client, topic, load.partitions, configs);
  try {
    return await work(topic);
  } finally {
    await deleteTopics(client, [topic]);
  }
}

async function makeTopic(
  client: KafkaClient,
  name: string,
  partitions: number,
  configs: readonly (readonly [name: string, value: string])[],
): Promise<void> {
  const all = [DELETE_AT_ONCE, ...configs];
  await createTopic(client, { name, partitions, configs: all, validateOnly: false });
  // A broker may hear of it a little later.
  await eventually(`a leader of ${name}`, async () => {
    return await client.leaders(name).catch((error: unknown) => {
      if (!(error instanceof UnknownTopicError)) throw error;
      return undefined;
    });
  });
}

/** `weir bench` as a process. */
interface RunningBench {
  /** Its figures. Errors: rejects with what it says when it fails. */
  readonly ended: Promise<Sample>;
  /** Resolves once readers at the tail have begun to wait. */
  readonly isWaiting: Promise<void>;
}

function benchFigures({ command, broker }: Round, flags: readonly string[]): RunningBench {
  const words = [...command, "-b", broker.bootstrap, "bench", ...flags, "--json"];
  const child = Bun.spawn(words, { stdout: "pipe", stderr: "pipe" });
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);
  const waiting = Promise.withResolvers<void>();
  const ended = (async () => {
    let said = "";
    const decoder = new TextDecoder();
    const output = new Response(child.stdout).text();
    for await (const chunk of child.stderr) {
      said += decoder.decode(chunk, { stream: true });
      if (said.includes("Waiting at the end of ")) waiting.resolve();
    }
    const code = await child.exited;
    process.off("exit", killAtExit);
    // Whoever waits for the readers learns from `ended` why they are gone.
    waiting.resolve();
    if (code !== 0) throw new Error(`weir bench ${flags.join(" ")} ended with ${code}: ${said}`);
    return JSON.parse(await output) as Sample;
  })();
  return { ended, isWaiting: waiting.promise };
}

// ── all rounds ────────────────────────────────────────────────────────────────────────────────────

/** What is measured. */
export interface BenchOptions {
  readonly command: readonly string[];
  readonly hasPeer: boolean;
  /** Besides the one that warms up. */
  readonly rounds: number;
  readonly isQuick: boolean;
  readonly medium: Medium;
  /** Names of loads; null: all. */
  readonly only: readonly string[] | null;
}

/** What came of a run, as it is written. */
export interface BenchReport {
  readonly madeAt: string;
  readonly commit: string;
  readonly machine: Readonly<Record<string, string | number>>;
  readonly versions: Readonly<Record<string, string>>;
  readonly options: BenchOptions;
  readonly rows: readonly Row[];
}

/** Measures. Errors: rejects when a broker or a load fails. */
export async function runBench(options: BenchOptions): Promise<BenchReport> {
  const { command, hasPeer, medium, only } = options;
  const loads = LOADS.filter(({ name }) => only === null || only.includes(name));
  const machine = machineOf(medium);
  const directory = dataDirectory(medium);
  const brokers: MeasuredBroker[] = [];
  const clients: KafkaClient[] = [];
  const samples = new Map<string, Sample[][]>();
  try {
    for (const kind of await kindsOf(command, hasPeer)) {
      const name = kind.name === "weir" ? "weir" : "peer";
      brokers.push(await startBroker(kind, { parent: directory, name }));
      clients.push(clientOf(brokers.at(-1)!));
    }
    for (const load of loads) {
      samples.set(load.name, await runRounds(load, { ...options, directory, brokers, clients }));
    }
  } finally {
    for (const client of clients) await client.close();
    for (const broker of brokers) await broker.stop();
    rmSync(directory, { recursive: true, force: true });
  }
  const specs = rowSpecs(medium).filter(({ load }) => samples.has(load));
  const rows = specs.map((spec) => {
    const [weir, peer] = samples.get(spec.load)!;
    return rowOf(spec, { weir: weir!, peer: peer ?? null });
  });
  const versions = Object.fromEntries(brokers.map(({ kind }) => [kind.name, kind.version]));
  return {
    madeAt: new Date().toISOString(),
    commit: commitOf(),
    machine,
    versions,
    options: { ...options, command: command.map(nameOf) },
    rows,
  };
}

/** A path without what is this machine's alone. */
function nameOf(word: string): string {
  return word.startsWith(`${ROOT}/`) ? relative(ROOT, word) : basename(word);
}

/** Returns: the samples of each broker, in the order of the brokers. */
async function runRounds(
  load: Load,
  { rounds, isQuick, command, directory, brokers, clients }: BenchOptions & {
    readonly directory: string;
    readonly brokers: readonly MeasuredBroker[];
    readonly clients: readonly KafkaClient[];
  },
): Promise<Sample[][]> {
  const found = brokers.map((): Sample[] => []);
  const megabytes = Math.max(1, Math.round(load.megabytes / (isQuick ? QUICK_PART : 1)));
  for (let number = 0; number <= rounds; number++) {
    for (const [index, broker] of brokers.entries()) {
      const client = clients[index]!;
      const round = { load, broker, client, megabytes, command, number, directory };
      const sample = await load.measure(round);
      if (number > 0) found[index]!.push(sample);
    }
    process.stderr.write(`${load.name}: ${number === 0 ? "warmed up" : `round ${number}`}\n`);
  }
  return found;
}

async function kindsOf(command: readonly string[], hasPeer: boolean): Promise<BrokerKind[]> {
  const asked = Bun.spawnSync([...command, "version", "--json"]);
  const { version } = JSON.parse(asked.stdout.toString()) as { readonly version: string };
  return [weirKind(command, version), ...(hasPeer ? [await kafkaKind()] : [])];
}

function clientOf(broker: MeasuredBroker): KafkaClient {
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
function dataDirectory(medium: Medium): string {
  const parent = medium === "tmpfs" ? "/dev/shm" : join(ROOT, ".cache");
  mkdirSync(parent, { recursive: true });
  const directory = mkdtempSync(join(parent, "weir-bench-"));
  process.on("exit", () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function machineOf(medium: Medium) {
  const processors = cpus();
  return {
    processor: processors[0]?.model ?? "",
    processors: processors.length,
    memoryBytes: totalmem(),
    kernel: release(),
    medium,
    loadAverageBefore: loadavg()[0]!,
  };
}

/** The commit that was measured, with a mark where files differ from it. */
function commitOf(): string {
  const git = (...words: string[]) =>
    Bun.spawnSync(["git", ...words], { cwd: ROOT }).stdout.toString().trim();
  const isChanged = git("status", "--porcelain", "--untracked-files=no") !== "";
  return `${git("rev-parse", "HEAD")}${isChanged ? " with changes" : ""}`;
}

/** Writes the report as JSON and as a picture. Returns: the paths. */
export function writeReport(report: BenchReport, out: string): string[] {
  const { rows, versions, machine, commit, madeAt, options: { medium, rounds } } = report;
  const peer = Object.entries(versions).find(([name]) => name !== "weir");
  const peerName = peer === undefined ? null : peer.join(" ");
  const title = `weir ${versions["weir"]}${peerName === null ? "" : ` beside ${peerName}`}`;
  const subtitle = `${machine["processors"]} × ${machine["processor"]}, ${medium}, ` +
    `${rounds} rounds, ${commit.slice(0, 10)}, ${madeAt.slice(0, 10)}`;
  mkdirSync(out, { recursive: true });
  const path = join(out, `single_node_${medium}`);
  writeFileSync(`${path}.json`, `${JSON.stringify(report, null, 2)}\n`);
  writeFileSync(`${path}.svg`, plotSvg(rows, { title, subtitle, peerName }));
  return [`${path}.json`, `${path}.svg`];
}

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      peer: { type: "string" },
      rounds: { type: "string" },
      quick: { type: "boolean", default: false },
      on: { type: "string", default: "disk" },
      only: { type: "string" },
      command: { type: "string", default: join(ROOT, "dist", "weir") },
      out: { type: "string", default: join(ROOT, "docs", "benchmarks") },
      help: { type: "boolean", default: false },
    },
  });
  const { peer, on, quick: isQuick, only, out } = values;
  const rounds = Number(values.rounds ?? (isQuick ? 1 : DEFAULT_ROUNDS));
  const isWrong = (peer !== undefined && peer !== "kafka") || (on !== "disk" && on !== "tmpfs") ||
    !Number.isInteger(rounds) || rounds < 1;
  if (values.help || isWrong) {
    console.error(
      "bun scripts/bench.ts [--peer kafka] [--rounds 5] [--quick] [--on tmpfs|disk] [--only NAME,…]\n" +
        "                     [--command dist/weir] [--out docs/benchmarks]\n" +
        `loads: ${LOADS.map(({ name }) => name).join(", ")}`,
    );
    return isWrong ? 2 : 0;
  }
  const command = values.command.split(" ");
  if (command.length === 1 && !existsSync(command[0]!)) {
    console.error(`Cannot measure ${command[0]}: it is not there; "npm run build" makes dist/weir`);
    return 1;
  }
  const known = LOADS.map(({ name }) => name);
  const unknown = (only?.split(",") ?? []).filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    console.error(`Cannot measure ${unknown.join(", ")}: the loads are ${known.join(", ")}`);
    return 1;
  }
  // What runs beside this process ends with it.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));
  const report = await runBench({
    command,
    hasPeer: peer !== undefined,
    rounds,
    isQuick,
    medium: on as Medium,
    only: only?.split(",") ?? null,
  });
  const peerName = Object.keys(report.versions).find((name) => name !== "weir") ?? null;
  console.log(formatRows(report.rows, peerName));
  for (const path of writeReport(report, out)) console.log(`written: ${path}`);
  return 0;
}

if (import.meta.main) process.exit(await main(process.argv.slice(2)));
