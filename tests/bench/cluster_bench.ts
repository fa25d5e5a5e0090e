/**
 * How fast three nodes are: leaders that are killed, 2,000 partitions, a restart of everything, and `acks=all`
 * against Apache Kafka.
 *
 *     bun tests/bench/cluster_bench.ts [failover] [partitions] [load] [--runs 20] [--partitions 2000] [--mb 200]
 *         [--rounds 3] [--command "dist/weir"]
 *
 * - failover: kill -9 of a leader, until the first produce to the partition is acknowledged
 * - partitions: that many are created with three replicas: until the answer, until all are led and in sync as every
 *   node knows, and until each has taken a produce; the same after a restart of all nodes
 * - load: rawload against the leaders of a topic, ours and Apache Kafka's in turns, in one run
 *
 * Nodes have the default timeouts and are processes on loopback. Figures count as ratios of one run on a machine
 * that does nothing else. `compat/cluster_bench_test.ts` runs it tiny.
 */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ErrorCode, errorName } from "../../protocol/errors.ts";
import { createTopicsRequest, createTopicsResponse } from "../../protocol/schemas/create_topics.ts";
import { metadataRequest, metadataResponse } from "../../protocol/schemas/metadata.ts";
import { AvailabilityProbe, clusterWord, isInSync } from "../compat/availability_probe.ts";
import { RealCluster } from "../compat/cluster.ts";
import {
  eventually,
  KAFKA,
  peersDirectory,
  repositoryRoot,
  runOk,
  scratchDirectory,
} from "../compat/harness.ts";
import { freePeerPort } from "../compat/kafka_peer.ts";
import { Wire } from "../compat/wire.ts";
import { sendFirstRecords } from "./first_records.ts";

const NODES = 3;
const PATIENCE_MS = 60_000;
const LOOK_MS = 50;
/** What each node says on its way up. */
const STEPS = [
  { step: "registered", said: "The broker is registered" },
  { step: "logs open", said: "Partitions are open" },
  { step: "unfenced", said: "The broker is unfenced" },
];
/** Of each topic under load; all of them led by one node, as rawload wants it. */
const LOAD_PARTITIONS = 2;

/** Middle and largest of some figures. */
export interface Spread {
  readonly p50: number;
  readonly max: number;
}

/** What all parts are run with. */
export interface ClusterBenchOptions {
  readonly command?: readonly string[];
}

function spreadOf(figures: readonly number[]): Spread {
  const sorted = figures.toSorted((a, b) => a - b);
  return { p50: sorted[Math.floor((sorted.length - 1) / 2)]!, max: sorted.at(-1)! };
}

function startCluster({ command }: ClusterBenchOptions): Promise<RealCluster> {
  return RealCluster.start({
    nodes: NODES,
    isProxied: false,
    ...(command !== undefined && { command }),
  });
}

/** Creates a topic with three replicas: led by the first of `order` alone, or spread. */
async function createTopic(
  address: string,
  { name, partitions, order }: {
    readonly name: string;
    readonly partitions: number;
    readonly order?: readonly number[];
  },
): Promise<void> {
  const wire = await Wire.connect(address);
  const assignments = order === undefined ? [] : Array.from(
    { length: partitions },
    (_, partitionIndex) => ({ partitionIndex, brokerIds: [...order] }),
  );
  const { topics } = await wire.send(createTopicsRequest, createTopicsResponse, 7, {
    topics: [{
      name,
      numPartitions: order === undefined ? partitions : -1,
      replicationFactor: order === undefined ? NODES : -1,
      assignments,
      configs: [],
    }],
    timeoutMs: PATIENCE_MS,
    validateOnly: false,
  });
  wire.close();
  const { errorCode, errorMessage } = topics[0]!;
  if (errorCode !== ErrorCode.NONE) throw new Error(`${errorName(errorCode)}: ${errorMessage}`);
}

// ── failover ──────────────────────────────────────────────────────────────────────────────────────

/** Kills the leader of a partition again and again. Returns: ms until it takes a record. */
export async function failoverBench(
  { runs, ...options }: ClusterBenchOptions & { readonly runs: number },
): Promise<Spread> {
  const cluster = await startCluster(options);
  const topic = "failover";
  const found: number[] = [];
  try {
    await createTopic(cluster.addresses[0]!, { name: topic, partitions: 1 });
    await cluster.whenInSync();
    const probe = new AvailabilityProbe({ addresses: cluster.addresses, topic, partitions: [0] });
    for (let run = 0; run < runs; run++) {
      const beforeMs = Date.now();
      await eventually("a record", () => probe.heardMs(0) > beforeMs || undefined);
      found.push(await failover(cluster, probe, topic));
      await cluster.whenInSync();
    }
    await probe.stop();
  } finally {
    await cluster.close();
  }
  return spreadOf(found);
}

async function failover(
  cluster: RealCluster,
  probe: AvailabilityProbe,
  topic: string,
): Promise<number> {
  const word = await clusterWord(cluster.addresses[0]!, [topic], PATIENCE_MS);
  const leader = word.topics[0]!.partitions[0]!.leaderId;
  const killedMs = Date.now();
  await cluster.kill(leader);
  const deadMs = Date.now();
  // What it had answered before its end is no sign of life.
  const heardMs = await eventually("a new leader", () => {
    const atMs = probe.heardMs(0);
    return atMs > deadMs + LOOK_MS ? atMs : undefined;
  }, PATIENCE_MS);
  const tookMs = heardMs - killedMs;
  console.log(
    `  kill -9 of node ${leader}${
      leader === word.controllerId ? ", the controller" : ""
    }: ${tookMs} ms`,
  );
  await cluster.startNode(leader);
  return tookMs;
}

// ── many partitions ───────────────────────────────────────────────────────────────────────────────

/** Times of many partitions. Units: ms. */
export interface PartitionTimes {
  readonly answeredMs: number;
  readonly inSyncMs: number;
  /** Until each partition has taken a produce. */
  readonly takenMs: number;
  /** From the start of the processes until each partition has taken a produce: after a clean stop, and after kill -9. */
  readonly restartMs: number;
  readonly killedRestartMs: number;
}

/** Creates partitions, and restarts everything. */
export async function partitionsBench(
  { partitions, ...options }: ClusterBenchOptions & { readonly partitions: number },
): Promise<PartitionTimes> {
  const cluster = await startCluster(options);
  const topic = "many";
  try {
    const startMs = performance.now();
    await createTopic(cluster.addresses[1]!, { name: topic, partitions });
    const answeredMs = performance.now() - startMs;
    await Promise.all(cluster.addresses.map((address) => whenInSync(address, topic)));
    const inSyncMs = performance.now() - startMs;
    const [answered, inSync] = [answeredMs, inSyncMs].map((ms) => ms.toFixed(0));
    console.log(
      `  ${partitions} partitions: answered in ${answered} ms, all led and in sync, as every node ` +
        `knows, in ${inSync} ms`,
    );
    const takenMs = inSyncMs + await whenAllTake(cluster, { topic, partitions }, "since then");
    tellMemory("  ", cluster.nodeIds.map((id) => cluster.node(id).pid));
    const restartMs = await restart(cluster, { topic, partitions, isKilled: false });
    const killedRestartMs = await restart(cluster, { topic, partitions, isKilled: true });
    return { answeredMs, inSyncMs, takenMs, restartMs, killedRestartMs };
  } finally {
    await cluster.close();
  }
}

async function restart(
  cluster: RealCluster,
  { topic, partitions, isKilled }: {
    readonly topic: string;
    readonly partitions: number;
    readonly isKilled: boolean;
  },
): Promise<number> {
  await Promise.all(
    cluster.nodeIds.map((id) => isKilled ? cluster.kill(id) : cluster.stop(id)),
  );
  const started = Promise.all(cluster.nodeIds.map((id) => cluster.startNode(id)));
  const label = `restart after ${isKilled ? "kill -9" : "a clean stop"}`;
  const tookMs = await whenAllTake(cluster, { topic, partitions }, label);
  await started;
  return tookMs;
}

async function whenInSync(address: string, topic: string): Promise<void> {
  const wire = await Wire.connect(address);
  for (;;) {
    const body = { topics: [{ name: topic }], allowAutoTopicCreation: false };
    if (isInSync(await wire.send(metadataRequest, metadataResponse, 12, body))) break;
    await Bun.sleep(LOOK_MS);
  }
  wire.close();
}

/** Sends each partition a record, and tells when the cluster had come how far. Returns: when all had taken it. */
async function whenAllTake(
  cluster: RealCluster,
  { topic, partitions }: { readonly topic: string; readonly partitions: number },
  label: string,
): Promise<number> {
  const wallMs = Date.now();
  const { addresses } = cluster;
  const times = await sendFirstRecords({ addresses, topic, partitions, patienceMs: PATIENCE_MS });
  const { ledMs, firstTakenMs, halfTakenMs, takenMs } = times;
  const marks = [
    ...STEPS.map(({ said, step }) => [step, lastSaidMs(cluster, said) - wallMs] as const),
    ["all led", ledMs] as const,
    ["first record", firstTakenMs] as const,
    ["half of them", halfTakenMs] as const,
    ["each has taken a record", takenMs] as const,
  ].filter(([, ms]) => ms >= 0);
  console.log(`  ${label}: ${marks.map(([step, ms]) => `${step} ${ms.toFixed(0)} ms`).join(", ")}`);
  return takenMs;
}

/** When the last node said it last; −Infinity where one has not. Units: ms since 1970. */
function lastSaidMs(cluster: RealCluster, said: string): number {
  const each = cluster.nodeIds.map((id) => {
    const line = cluster.output(id).split("\n").findLast((one) => one.includes(said));
    const at = line === undefined ? null : /"@timestamp":"([^"]+)"/.exec(line);
    return at === null ? -Infinity : Date.parse(at[1]!);
  });
  return Math.min(...each) === -Infinity ? -Infinity : Math.max(...each);
}

// ── load ──────────────────────────────────────────────────────────────────────────────────────────

/** One load of rawload on each node at once. */
interface Load {
  readonly name: string;
  readonly flags: readonly string[];
  /** Of `--mb`. */
  readonly share: number;
}

const LOADS: readonly Load[] = [
  {
    name: "100 × 1 KiB, 5 in flight",
    flags: ["-recs", "100", "-size", "1024", "-inflight", "5"],
    share: 1,
  },
  {
    name: "10 × 100 B, 5 in flight",
    flags: ["-recs", "10", "-size", "100", "-inflight", "5"],
    share: 0.1,
  },
  {
    name: "1 × 100 B, 30 in flight",
    flags: ["-recs", "1", "-size", "100", "-inflight", "30"],
    share: 0.01,
  },
  {
    name: "1 × 1 KiB, 1 in flight",
    flags: ["-recs", "1", "-size", "1024", "-inflight", "1"],
    share: 0.01,
  },
];

/** A cluster under load: ours or the peer. */
interface Loaded {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly pids: readonly number[];
}

/** What the three nodes took together. */
export interface LoadFigures {
  readonly megabytesASecond: number;
  readonly recordsASecond: number;
  /** Of the node that was slowest. Units: ms. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuSecondsAGigabyte: number;
}

/** Reads what rawload prints of one node. Errors: throws when it is something else. */
export function parseRawload(line: string): LoadFigures {
  const found = /: (\S+) MB\/s (\S+) rec\/s p50 (\S+) p99 (\S+) p999 \S+ ms(?: cpu\/GB (\S+) s)?/
    .exec(line);
  if (found === null) throw new Error(`rawload said: ${line}`);
  const [megabytesASecond, recordsASecond, p50Ms, p99Ms, cpu] = found.slice(1).map(Number);
  return {
    megabytesASecond: megabytesASecond!,
    recordsASecond: recordsASecond!,
    p50Ms: p50Ms!,
    p99Ms: p99Ms!,
    cpuSecondsAGigabyte: cpu ?? NaN,
  };
}

function together(nodes: readonly LoadFigures[]): LoadFigures {
  const sum = (of: (one: LoadFigures) => number) => nodes.reduce((all, one) => all + of(one), 0);
  return {
    megabytesASecond: sum((one) => one.megabytesASecond),
    recordsASecond: sum((one) => one.recordsASecond),
    p50Ms: Math.max(...nodes.map((one) => one.p50Ms)),
    p99Ms: Math.max(...nodes.map((one) => one.p99Ms)),
    // Each node also follows what the others lead.
    cpuSecondsAGigabyte: sum((one) => one.cpuSecondsAGigabyte) / nodes.length,
  };
}

async function runLoad(
  rawload: string,
  cluster: Loaded,
  { flags }: Load,
  megabytes: number,
): Promise<LoadFigures> {
  const lines = await Promise.all(cluster.addresses.map((address, at) =>
    runOk([
      ...[rawload, "produce", "-b", address, "-t", `load-${at + 1}`, "-p", String(LOAD_PARTITIONS)],
      ...["-mb", String(Math.max(1, Math.round(megabytes)))],
      ...["-acks", "-1", "-pid", String(cluster.pids[at]), ...flags],
    ])
  ));
  return together(lines.map(parseRawload));
}

function residentMegabytes(pid: number): number {
  const path = `/proc/${pid}/status`;
  const found = existsSync(path) ? /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(path, "utf8")) : null;
  return found === null ? 0 : Number(found[1]) / 1000;
}

function tellMemory(label: string, pids: readonly number[]): void {
  const each = pids.map((pid) => residentMegabytes(pid).toFixed(0));
  console.log(`${label}resident memory of each node: ${each.join(", ")} MB`);
}

async function createLoadTopics({ addresses }: Loaded): Promise<void> {
  const partitions = LOAD_PARTITIONS;
  for (const at of addresses.keys()) {
    const order = addresses.map((_, step) => (at + step) % addresses.length + 1);
    const topic = `load-${at + 1}`;
    await createTopic(addresses[0]!, { name: topic, partitions, order });
    // Metadata names a leader before its log is open, and rawload does not try again.
    await sendFirstRecords({ addresses, topic, partitions, patienceMs: PATIENCE_MS });
  }
  for (const at of addresses.keys()) {
    await Promise.all(addresses.map((address) => whenInSync(address, `load-${at + 1}`)));
  }
}

async function startPeer(): Promise<Loaded & { stop(): Promise<void> }> {
  const port = await freePeerPort(NODES);
  const directory = scratchDirectory("peer3");
  const flags = ["--port", String(port), "--dir", join(directory, "cluster")];
  await runOk([KAFKA, "cluster3", ...flags], {
    environment: { KAFKA_HEAP_OPTS: "-Xmx400m -Xms400m" },
  });
  const pids = (await runOk([KAFKA, "cluster3-pids", ...flags])).trim().split("\n").map(Number);
  return {
    name: "Apache Kafka",
    addresses: [0, 1, 2].map((at) => `127.0.0.1:${port + at}`),
    pids,
    stop: async () => void await runOk([KAFKA, "cluster3-stop", ...flags]),
  };
}

/** Loads ours, and the peer in turns with it where that is wanted. Returns: figures of ours, load by load. */
export async function loadBench(
  { megabytes, rounds, hasPeer, ...options }: ClusterBenchOptions & {
    readonly megabytes: number;
    readonly rounds: number;
    readonly hasPeer: boolean;
  },
): Promise<LoadFigures[]> {
  const rawload = join(scratchDirectory("rawload"), "rawload");
  await runOk(["go", "build", "-C", join(peersDirectory, "rawload"), "-o", rawload, "."]);
  const peer = hasPeer ? await startPeer() : null;
  const cluster = await startCluster(options);
  const ours: Loaded = {
    name: "weir",
    addresses: cluster.addresses,
    pids: cluster.nodeIds.map((id) => cluster.node(id).pid),
  };
  const figures: LoadFigures[] = [];
  try {
    const both = peer === null ? [ours] : [ours, peer];
    for (const one of both) await createLoadTopics(one);
    for (const load of LOADS) {
      const share = megabytes * load.share;
      const found = new Map<Loaded, LoadFigures[]>(both.map((one) => [one, []]));
      // The first round warms up.
      for (let round = 0; round <= rounds; round++) {
        for (const one of both) {
          const took = await runLoad(rawload, one, load, share);
          if (round > 0 || rounds === 0) found.get(one)!.push(took);
        }
      }
      figures.push(tellLoad(load, found, ours));
    }
    for (const one of both) tellMemory(`${one.name}, `, one.pids);
  } finally {
    await peer?.stop();
    await cluster.close();
  }
  return figures;
}

function tellLoad(
  { name }: Load,
  found: ReadonlyMap<Loaded, readonly LoadFigures[]>,
  ours: Loaded,
): LoadFigures {
  const middles = [...found].map(([one, rounds]) => [one, middleOf(rounds)] as const);
  console.log(name);
  for (const [{ name: who }, it] of middles) {
    console.log(
      `  ${who.padEnd(12)} ${it.megabytesASecond.toFixed(1).padStart(7)} MB/s ` +
        `${it.recordsASecond.toFixed(0).padStart(8)} records/s, p50 ${it.p50Ms.toFixed(2)} ms, ` +
        `p99 ${it.p99Ms.toFixed(2)} ms, ${
          it.cpuSecondsAGigabyte.toFixed(1)
        } s of CPU a GB and node`,
    );
  }
  const own = middles.find(([one]) => one === ours)![1];
  const peer = middles.find(([one]) => one !== ours)?.[1];
  if (peer !== undefined) {
    console.log(
      `  ours / theirs: records ${(own.recordsASecond / peer.recordsASecond).toFixed(2)}, ` +
        `p50 ${(own.p50Ms / peer.p50Ms).toFixed(2)}, p99 ${(own.p99Ms / peer.p99Ms).toFixed(2)}, ` +
        `CPU ${(own.cpuSecondsAGigabyte / peer.cpuSecondsAGigabyte).toFixed(2)}`,
    );
  }
  return own;
}

function middleOf(rounds: readonly LoadFigures[]): LoadFigures {
  const middle = (of: (one: LoadFigures) => number) => spreadOf(rounds.map(of)).p50;
  return {
    megabytesASecond: middle((one) => one.megabytesASecond),
    recordsASecond: middle((one) => one.recordsASecond),
    p50Ms: middle((one) => one.p50Ms),
    p99Ms: middle((one) => one.p99Ms),
    cpuSecondsAGigabyte: middle((one) => one.cpuSecondsAGigabyte),
  };
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      runs: { type: "string", default: "20" },
      partitions: { type: "string", default: "2000" },
      mb: { type: "string", default: "200" },
      rounds: { type: "string", default: "3" },
      command: { type: "string", default: join(repositoryRoot, "dist", "weir") },
    },
  });
  const parts = positionals.length > 0 ? positionals : ["failover", "partitions", "load"];
  const command = values.command.split(" ");
  if (parts.includes("failover")) {
    const { p50, max } = await failoverBench({ runs: Number(values.runs), command });
    console.log(`failover: p50 ${p50} ms, at most ${max} ms`);
  }
  if (parts.includes("partitions")) {
    await partitionsBench({ partitions: Number(values.partitions), command });
  }
  if (parts.includes("load")) {
    const [megabytes, rounds] = [Number(values.mb), Number(values.rounds)];
    await loadBench({ megabytes, rounds, hasPeer: true, command });
  }
  process.exit(0);
}
