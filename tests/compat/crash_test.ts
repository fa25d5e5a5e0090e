/**
 * The broker is killed again and again under load, and the history is checked: what librdkafka was told and what
 * it saw, against what is in the logs at the end.
 *
 * Nothing acknowledged is lost, doubled or moved; no offset ever has two values; a committed offset and a log
 * start offset never go back; a compacted topic keeps the latest record of each key. The broker dies under load,
 * in the middle of a clean stop, and again while it starts and recovers. Every other round leaves half a batch at
 * the end of a log, as a machine does that stops while it writes. At the end Kafka's `dump-log` reads every file.
 *
 * `WEIR_CRASH_ROUNDS` says how often it is killed under load: 5, and 50 for a thorough run of some minutes.
 * `WEIR_SEED` repeats the choices, though not the timing, of an earlier run.
 */

import { afterEach, describe, expect } from "bun:test";
import { appendFileSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { ErrorCode } from "../../protocol/errors.ts";
import { batches, readBatchHeader, readLastOffset } from "../../protocol/record_batch.ts";
import { buildBatch } from "../../protocol/records.ts";
import { listOffsetsRequest, listOffsetsResponse } from "../../protocol/schemas/list_offsets.ts";
import { offsetFetchRequest, offsetFetchResponse } from "../../protocol/schemas/offset_fetch.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { runCommand } from "./command_line.ts";
import {
  expectCommitsOnlyGrow,
  expectForwardReading,
  expectLatestOfEachKey,
  expectNumbersAtOffsets,
  expectRowOfAll,
  type Report,
  type Row,
} from "./crash_history.ts";
import {
  eventually,
  hasTool,
  partitionDirectories,
  type RunningBroker,
  scratchDirectory,
  serveCommand,
  startWeir,
  testWith,
  type WeirOptions,
} from "./harness.ts";
import { expectKafkaReadsAll, KafkaDriver } from "./kafka_peer.ts";
import { linesOf } from "./lines_of.ts";
import { Wire } from "./wire.ts";

const ROUNDS = Number(process.env["WEIR_CRASH_ROUNDS"] ?? 5);
const SEED = Number(process.env["WEIR_SEED"] ?? Date.now() % 2 ** 31);
const PARTITIONS = 3;
const PLAIN = "crashes";
const COMPACTED = "crashes-compacted";
const RETAINED = "crashes-retained";
const GROUP = "crash-group";
const SETTINGS = {
  "group.initial.rebalance.delay.ms": "0",
  // Several segments a run, so that recovery meets closed ones, indexes and producer snapshots.
  "log.segment.bytes": String(1024 * 1024),
  "log.retention.check.interval.ms": "200",
  "log.cleaner.backoff.ms": "100",
  // Snapshots between those of the segments, at which recovery begins.
  "weir.recovery.max.bytes": String(1024 * 1024),
};
/** A segment ends with its 84th index entry, about 100 KB: what is closed can be deleted or compacted. */
const SMALL_SEGMENTS = [
  "segment.index.bytes=1024",
  "index.interval.bytes=512",
  "file.delete.delay.ms=500",
];
const TOPICS: readonly (readonly [name: string, configs: readonly string[]])[] = [
  [PLAIN, []],
  [COMPACTED, [...SMALL_SEGMENTS, "cleanup.policy=compact", "min.cleanable.dirty.ratio=0.2"]],
  [RETAINED, [...SMALL_SEGMENTS, "retention.bytes=300000"]],
];
const isExternal = process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined;

/** Every broker and client of a run: none may outlive a check that fails. */
const processes: { kill(signal: "SIGKILL"): unknown }[] = [];
afterEach(() => {
  for (const it of processes.splice(0)) it.kill("SIGKILL");
});

async function start(options: WeirOptions): Promise<RunningBroker> {
  const broker = await startWeir(options);
  processes.push({ kill: () => broker.kill() });
  return broker;
}

/** What the log lines of all the broker's lives say. */
class Lives {
  killCount = 0;
  tornCount = 0;
  readonly errors: string[] = [];

  end(output: string): void {
    for (const line of output.split("\n")) {
      if (line.includes("Torn tail of the log is cut")) this.tornCount++;
      if (line.includes('"level":"ERROR"')) this.errors.push(line);
    }
  }
}

/** All that is in a topic's logs, in order. */
async function readAll(broker: RunningBroker, topic: string): Promise<Row[]> {
  const output = join(scratchDirectory("crash-read"), "all");
  const words = ["-b", broker.bootstrap, "consume", topic, "--format", "%p %o %v"];
  await runCommand(words, { output });
  return readFileSync(output, "utf8").trimEnd().split("\n")
    .map((line) => line.split(" ", 3).map(Number) as unknown as Row);
}

const allPartitions = Array.from({ length: PARTITIONS }, (_, index) => index);

/** What the group has committed, by partition; -1 for nothing. Waits while the coordinator loads. */
async function committedOffsets(broker: RunningBroker): Promise<number[]> {
  const wire = await Wire.connect(broker.bootstrap);
  const answer = await eventually("the group's offsets", async () => {
    const found = await wire.send(offsetFetchRequest, offsetFetchResponse, 7, {
      groupId: GROUP,
      topics: [{ name: PLAIN, partitionIndexes: allPartitions }],
    });
    return found.errorCode === ErrorCode.NONE ? found : undefined;
  });
  wire.close();
  const offsets = allPartitions.map(() => -1);
  for (const { partitionIndex, committedOffset } of answer.topics[0]!.partitions) {
    offsets[partitionIndex] = committedOffset;
  }
  return offsets;
}

/** Where the logs of the topic with retention start. Waits while they are opened. */
async function logStartOffsets(broker: RunningBroker): Promise<number[]> {
  const wire = await Wire.connect(broker.bootstrap);
  const partitions = allPartitions.map((partitionIndex) => ({ partitionIndex, timestamp: -2 }));
  const found = await eventually("log start offsets", async () => {
    const answer = await wire.send(listOffsetsRequest, listOffsetsResponse, 7, {
      replicaId: -1,
      isolationLevel: 0,
      topics: [{ name: RETAINED, partitions }],
    });
    const all = answer.topics[0]!.partitions;
    return all.every(({ errorCode }) => errorCode === ErrorCode.NONE) ? all : undefined;
  });
  wire.close();
  return found.map(({ offset }) => offset);
}

/** True when a closed segment of the compacted topic lacks an offset. */
function isCompacted(dataDirectory: string): boolean {
  return partitionDirectories(dataDirectory, COMPACTED).some((directory) => {
    const logs = readdirSync(directory).filter((name) => name.endsWith(".log")).toSorted();
    return logs.slice(0, -1).some((name, index) => {
      const bytes = readFileSync(join(directory, name));
      let count = 0;
      for (const at of batches(bytes)) count += readBatchHeader(bytes, at).recordCount;
      return count < Number.parseInt(logs[index + 1]!) - Number.parseInt(name);
    });
  });
}

/** A batch that did not come to its end: what is left of a write when the machine stops in the middle of it. */
function tear(dataDirectory: string, random: SimRandom): void {
  const directory = random.pick(partitionDirectories(dataDirectory, PLAIN));
  const last = readdirSync(directory).filter((name) => name.endsWith(".log")).sort().at(-1)!;
  const path = join(directory, last);
  const bytes = readFileSync(path);
  let baseOffset = Number(last.slice(0, -".log".length));
  for (const at of batches(bytes)) baseOffset = readLastOffset(bytes, at) + 1;
  const value = new Uint8Array(random.between(1, 100_000)).fill(0x30);
  const records = [{ key: null, value, headers: [], timestamp: 0 }];
  const batch = buildBatch({ baseOffset, records });
  appendFileSync(path, batch.subarray(0, random.between(1, batch.length - 1)));
}

/** Kills the broker: at once, or in the middle of the stop that it was asked for. */
async function end(broker: RunningBroker, isStopping: boolean, random: SimRandom): Promise<void> {
  if (isStopping) {
    process.kill(broker.pid, "SIGTERM");
    await Bun.sleep(random.between(0, 100));
  }
  await broker.kill();
}

/** Starts the broker and kills it before it can have come far. Returns: what it said. */
async function startInVain(broker: RunningBroker, random: SimRandom): Promise<string> {
  const { dataDirectory, port } = broker;
  const child = Bun.spawn(serveCommand({ dataDirectory, port, settings: SETTINGS }), {
    stdout: "pipe",
    stderr: "ignore",
  });
  await Bun.sleep(random.between(50, 300));
  child.kill("SIGKILL");
  const output = await new Response(child.stdout).text();
  await child.exited;
  return output;
}

function notBefore(before: readonly number[], after: readonly number[]): void {
  expect({ before, after, back: after.findIndex((it, partition) => it < before[partition]!) })
    .toEqual({ before, after, back: -1 });
}

/** One crash. Returns: the broker that came up after it. */
async function crash(
  broker: RunningBroker,
  round: number,
  { random, lives, client }: {
    readonly random: SimRandom;
    readonly lives: Lives;
    readonly client: Bun.Subprocess;
  },
): Promise<RunningBroker> {
  const { dataDirectory, port } = broker;
  const before = [await committedOffsets(broker), await logStartOffsets(broker)] as const;
  await end(broker, round % 3 === 2, random);
  lives.end(broker.output());
  lives.killCount++;
  // The client is held up, so that the member does not commit anew before the broker is asked.
  client.kill("SIGSTOP");
  const isClean = existsSync(join(dataDirectory, ".kafka_cleanshutdown"));
  if (round % 2 === 1 && !isClean) tear(dataDirectory, random);
  for (let again = round % 5 === 0 ? 0 : random.between(0, 2); again > 0; again--) {
    lives.end(await startInVain(broker, random));
    lives.killCount++;
  }
  const next = await start({ dataDirectory, port, settings: SETTINGS });
  notBefore(before[0], await committedOffsets(next));
  notBefore(before[1], await logStartOffsets(next));
  client.kill("SIGCONT");
  return next;
}

/** Checks all that the client tells against what is in the logs. Returns: what came to pass, in words. */
async function checkHistory(broker: RunningBroker, report: Report): Promise<string> {
  expect({ fatal: report.fatal, failed: report.failed }).toEqual({ fatal: [], failed: [] });
  const sent = (topic: string) => report.sent[topic]!;
  let total = 0;
  const truth = new Map<string, Row[]>();
  for (const [topic] of TOPICS) {
    const rows = await readAll(broker, topic);
    truth.set(topic, rows);
    for (const told of [rows, report.acknowledged[topic]!, report.seen[topic]!]) {
      expectNumbersAtOffsets(told);
    }
    const count = sent(topic).reduce((sum, it) => sum + it, 0);
    expect(report.acknowledged[topic]!).toHaveLength(count);
    expectForwardReading(report.seen[topic]!);
    total += count;
  }
  expect(expectRowOfAll(truth.get(PLAIN)!, sent(PLAIN))).toEqual(allPartitions.map(() => 0));
  expect(expectRowOfAll(report.seen[PLAIN]!, sent(PLAIN))).toEqual(allPartitions.map(() => 0));
  expectNumbersAtOffsets(report.group);
  expectCommitsOnlyGrow(report.commits);
  const starts = expectRowOfAll(truth.get(RETAINED)!, sent(RETAINED));
  const goneCount = expectLatestOfEachKey(truth.get(COMPACTED)!, sent(COMPACTED));
  const deleted = starts.reduce((sum, it) => sum + it, 0);
  return `${total} records, of which ${deleted} were deleted by retention and ${goneCount} compacted ` +
    `away, ${report.commits.length} answers about commits`;
}

async function run(): Promise<void> {
  console.log(`WEIR_SEED=${SEED}`);
  const random = new SimRandom(SEED);
  const lives = new Lives();
  let broker = await start({ settings: SETTINGS });
  for (const [topic, configs] of TOPICS) {
    const words = ["topic", "create", topic, "--partitions", String(PARTITIONS)];
    const flags = configs.flatMap((config) => ["--config", config]);
    await runCommand(["-b", broker.bootstrap, ...words, ...flags]);
  }
  const script = join(import.meta.dir, "crash_client.py");
  const names = TOPICS.map(([name]) => name);
  const client = Bun.spawn(
    ["python3", script, broker.bootstrap, String(PARTITIONS), GROUP, ...names],
    { stdin: "pipe", stdout: "pipe", stderr: "inherit" },
  );
  processes.push(client);
  const output = linesOf(client.stdout);
  expect(await output.next()).toEqual({ value: "ready", done: false });
  for (let round = 0; round < ROUNDS; round++) {
    await Bun.sleep(random.between(100, 1200));
    broker = await crash(broker, round, { random, lives, client });
  }
  await eventually("segments deleted by retention", async () => {
    return Math.max(...await logStartOffsets(broker)) > 0 || undefined;
  });
  await eventually("records compacted away", () => isCompacted(broker.dataDirectory) || undefined);
  await client.stdin.write("\n");
  await client.stdin.end();
  const report: Report = JSON.parse((await output.next()).value ?? "{}");
  const told = await checkHistory(broker, report);
  expect(await broker.stop()).toBe(0);
  lives.end(broker.output());
  expect(lives.errors).toEqual([]);
  console.log(`${ROUNDS} rounds, ${lives.killCount} kills, ${lives.tornCount} tails cut: ${told}`);
  if (!hasTool("Apache Kafka (peers)")) return;
  const driver = new KafkaDriver();
  const counts = await expectKafkaReadsAll(driver, broker.dataDirectory);
  await driver.close();
  console.log(`dump-log: ${JSON.stringify(counts)}`);
}

describe.skipIf(isExternal)("kill -9 under load", () => {
  testWith(
    "python confluent-kafka",
    `${ROUNDS} times: nothing acknowledged is lost, doubled or moved, nothing goes back`,
    run,
    120_000 + 20_000 * ROUNDS,
  );
});
