/**
 * One data directory that Apache Kafka and weir open in turns: whoever opens it serves what the other one wrote,
 * record for record, and Kafka's own `dump-log` finds nothing wrong in what weir leaves.
 *
 *     Kafka writes ─ kill -9 → weir ─ kill -9 → Kafka ─ stop → weir ─ stop → dump-log
 *     weir writes  ─ stop    → Kafka ─ kill -9 → weir ─ stop → dump-log
 *
 * What is served is read by Kafka's own clients in both: topics and their settings, log start offsets, every
 * record with offset, timestamp, leader epoch, key, value and headers, what read_committed sees, offsets by
 * timestamp, committed offsets, and the state of every producer. One idempotent producer outlives all of it.
 */

import { afterEach, beforeEach, describe, expect } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  offsetForLeaderEpochRequest,
  offsetForLeaderEpochResponse,
} from "../../protocol/schemas/offset_for_leader_epoch.ts";
import {
  hasTool,
  partitionDirectories,
  repositoryRoot,
  type RunningBroker,
  runProgram,
  scratchDirectory,
  startWeir,
  testWith,
} from "./harness.ts";
import {
  adoptForKafka,
  expectKafkaReadsAll,
  freePeerPort,
  KafkaDriver,
  type KafkaPeer,
  startKafka,
  staticVoters,
} from "./kafka_peer.ts";
import { Wire } from "./wire.ts";

const NEEDED = "Apache Kafka (peers)";
const isExternal = process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined;
const NODE_ID = 1;
/** As in KafkaDirectory.java. */
const KEYS = 20;
/** A minute on two idle cores. */
const TIMEOUT_MS = 600_000;
const SETTINGS = {
  "offsets.topic.num.partitions": "5",
  "transaction.state.log.num.partitions": "3",
  "log.cleaner.backoff.ms": "100",
  "group.initial.rebalance.delay.ms": "0",
};
/** The metadata log has several segments, and a snapshot whenever something has changed for a second. */
const SNAPSHOTS = {
  "metadata.log.segment.ms": "1000",
  "metadata.log.max.snapshot.interval.ms": "1000",
};
/** Kafka waits this long before it believes that weir, which was the broker of this id, is gone. */
const SESSION = {
  "broker.session.timeout.ms": "5000",
  "broker.heartbeat.interval.ms": "500",
};

let driver: KafkaDriver;
let port: number;
const running = new Set<KafkaPeer | RunningBroker>();

/** Starts Apache Kafka on a directory. */
async function kafka(directory: string, more: Readonly<Record<string, string>> = {}) {
  const peer = await startKafka({
    directory,
    port,
    settings: { ...SETTINGS, ...SESSION, ...more },
  });
  running.add(peer);
  return peer;
}

/** Starts weir on the data of a directory. */
async function weir(dataDirectory: string) {
  const settings = { ...SETTINGS, "metadata.log.max.record.bytes.between.snapshots": "1000" };
  const broker = await startWeir({ dataDirectory, port, settings });
  running.add(broker);
  return broker;
}

/**
 * Kafka forgets producers of a log from which every record was deleted: it keeps no snapshot at the log start.
 * weir remembers them, so that they can go on.
 */
const isForgotten = (line: string) => line.startsWith("producer trimmed-whole-0 ");

/** Expects that lines are the same, and names some of those that are not. */
function expectSame(found: readonly string[], expected: readonly string[]): void {
  const [a, b] = [new Set(found), new Set(expected)];
  const missing = expected.filter((line) => !a.has(line) && !isForgotten(line));
  const extra = found.filter((line) => !b.has(line) && !isForgotten(line));
  expect({ missing: missing.slice(0, 10), extra: extra.slice(0, 10) })
    .toEqual({ missing: [], extra: [] });
}

/** Where each epoch of a partition ends, by what a broker answers to followers and consumers. */
async function epochEnds(bootstrap: string, lines: readonly string[]): Promise<string[]> {
  const epochs = new Map<string, Set<number>>();
  for (const line of lines) {
    const match = /^record (\S+) .* epoch (\d+) /.exec(line);
    if (match === null) continue;
    if (!epochs.has(match[1]!)) epochs.set(match[1]!, new Set());
    epochs.get(match[1]!)!.add(Number(match[2]));
  }
  const wire = await Wire.connect(bootstrap);
  const ends: string[] = [];
  for (const [name, known] of epochs) {
    const [topic, partition] = [name.replace(/-\d+$/, ""), Number(/\d+$/.exec(name)![0])];
    for (const leaderEpoch of known) {
      const answer = await wire.send(offsetForLeaderEpochRequest, offsetForLeaderEpochResponse, 4, {
        replicaId: -1,
        topics: [{ topic, partitions: [{ partition, currentLeaderEpoch: -1, leaderEpoch }] }],
      });
      const { errorCode, endOffset, leaderEpoch: found } = answer.topics[0]!.partitions[0]!;
      ends.push(`${name} ${leaderEpoch}: ${errorCode} ${found} ${endOffset}`);
    }
  }
  wire.close();
  return ends.toSorted();
}

interface Served {
  readonly lines: readonly string[];
  readonly epochs: readonly string[];
}

async function served({ bootstrap }: { readonly bootstrap: string }): Promise<Served> {
  const lines = await driver.read(bootstrap);
  return { lines, epochs: await epochEnds(bootstrap, lines) };
}

/** Digests of the files of segments that nobody writes to any more. */
function closedSegments(dataDirectory: string): Map<string, string> {
  const digests = new Map<string, string>();
  for (const { name } of readdirSync(dataDirectory, { withFileTypes: true })) {
    if (!/-\d+$/.test(name) || name.startsWith("__cluster_metadata")) continue;
    const files = readdirSync(join(dataDirectory, name));
    const active = files.filter((file) => file.endsWith(".log")).toSorted().at(-1)!.slice(0, 20);
    for (const file of files) {
      if (!/^\d{20}\.(log|index|timeindex|txnindex)$/.test(file) || file >= active) continue;
      const bytes = readFileSync(join(dataDirectory, name, file));
      digests.set(`${name}/${file}`, createHash("sha256").update(bytes).digest("hex"));
    }
  }
  return digests;
}

function expectUnchanged(before: ReadonlyMap<string, string>, dataDirectory: string): void {
  const after = closedSegments(dataDirectory);
  const changed = [...before].filter(([path, digest]) => after.get(path) !== digest);
  expect(changed.map(([path]) => path)).toEqual([]);
}

/** Proof that the directory has what it is meant to have. */
function expectVariety(dataDirectory: string, { lines }: Served): void {
  const compacted = lines.filter((line) => line.startsWith("record compacted-0 "));
  expect(lines).toContain("offsets read_uncommitted compacted-0 [0, 116)");
  expect(compacted.length).toBeLessThan(50);
  const [transactions] = partitionDirectories(dataDirectory, "transactions");
  const aborted = readdirSync(transactions!).filter((name) => name.endsWith(".txnindex"));
  expect(aborted.length).toBeGreaterThan(2);
  expect(lines).toContain("offsets read_uncommitted trimmed-0 [120, 250)");
  expect(lines).toContain("offsets read_uncommitted trimmed-whole-0 [250, 250)");
  expect(lines.some((line) => line.startsWith("group group-consumer codecs-0 "))).toBe(true);
  const count = (word: string) => lines.filter((line) => line.startsWith(word)).length;
  const records = count("record transactions-");
  expect(count("visible transactions-")).toBeWithin(records / 2, records * 0.8);
}

/** Latest value of each key of a topic that a read_committed consumer sees. */
function latestCommitted({ lines }: Served, topic: string): Map<string, string> {
  const visible = new Set(
    lines.filter((line) => line.startsWith(`visible ${topic}-0 `)).map((line) =>
      line.split(" ")[2]!
    ),
  );
  const records = lines.filter((line) => line.startsWith(`record ${topic}-0 `))
    .map((line) => /^record \S+ (\d+) \S+ \d+ epoch \d+ (\S+) (.*)$/.exec(line)!)
    .filter(([, offset]) => visible.has(offset!))
    .toSorted(([, a], [, b]) => Number(a) - Number(b));
  return new Map(records.map(([, , key, value]) => [key!, value!]));
}

/** weir compacts further what Kafka compacted, and what it left with aborted transactions in it. */
async function expectCompactedWell(broker: RunningBroker, before: Served): Promise<void> {
  const topic = "compacted-transactions";
  const latest = latestCommitted(before, topic);
  expect(latest.size).toBe(KEYS);
  await driver.run("update", broker.bootstrap);
  await driver.run("compact", broker.bootstrap, "compacted");
  await driver.run("compact", broker.bootstrap, topic);
  const after = await served(broker);
  expect(latestCommitted(after, topic)).toEqual(latest);
  const updated = [...latestCommitted(after, "compacted").values()];
  expect(updated.map((value) => /round (\d)/.exec(value)?.[1])).toEqual(updated.map(() => "8"));
  expect(updated).toHaveLength(KEYS);
}

/** `weir log verify` finds nothing in what whole brokers have written, of whichever make. */
async function expectVerified(dataDirectory: string): Promise<void> {
  const words = [process.execPath, join(repositoryRoot, "main.ts"), "log", "verify", dataDirectory];
  const { code, stdout, stderr } = await runProgram(words);
  expect({ code, stdout, stderr }).toEqual({
    code: 0,
    stdout: expect.stringContaining("nothing is damaged"),
    stderr: "",
  });
}

const withoutCompacted = (digests: ReadonlyMap<string, string>) =>
  new Map([...digests].filter(([path]) => !path.startsWith("compacted")));

/** What weir is worried about, but for what it does not know of Kafka's clusters, and what Kafka forgets. */
const worries = (broker: RunningBroker) =>
  broker.output().split("\n").filter((line) =>
    /"level":"(ERROR|WARN)"/.test(line) &&
    !/settings have no effect|features that this version does not know/.test(line) &&
    !/"trimmed-whole-0","found":"it has no producer snapshot/.test(line)
  );

/**
 * Removes of the metadata log what its newest snapshot holds, as Kafka itself does once a minute with a log that
 * is old or large enough.
 */
function dropMetadataBeforeSnapshot(dataDirectory: string): void {
  const directory = join(dataDirectory, "__cluster_metadata-0");
  const names = readdirSync(directory).toSorted();
  const newest = names.filter((name) => name.endsWith(".checkpoint")).at(-1)!;
  const logs = names.filter((name) => name.endsWith(".log"));
  const first = logs.findLast((name) => name.slice(0, 20) <= newest.slice(0, 20))!;
  const isGone = (name: string) =>
    /^\d{20}/.test(name) &&
    (name.endsWith(".checkpoint") ? name < newest : name < first.slice(0, 20));
  const gone = names.filter(isGone);
  expect(gone.some((name) => name.endsWith(".log"))).toBe(true);
  for (const name of gone) rmSync(join(directory, name));
}

describe.skipIf(isExternal)("one directory, opened by Apache Kafka and by weir", () => {
  beforeEach(async () => {
    if (!hasTool(NEEDED)) return;
    // A port of its own for each: the producers of the other test would go on here.
    port = await freePeerPort();
    driver = new KafkaDriver();
  });
  afterEach(async () => {
    for (const it of running) await it.kill();
    running.clear();
    await driver?.close();
  });

  testWith(
    NEEDED,
    "of Apache Kafka's making: served unchanged, after kill -9 and after a stop",
    async () => {
      const directory = join(scratchDirectory("peer"), "kafka");
      const dataDirectory = join(directory, "data");
      let peer = await kafka(directory, SNAPSHOTS);
      await driver.run("fill", peer.bootstrap);
      await driver.run("compact", peer.bootstrap, "compacted");
      await driver.run("transact", peer.bootstrap);
      await driver.run("group", peer.bootstrap);
      const first = await served(peer);
      await peer.kill();
      await expectVerified(dataDirectory);
      expectVariety(dataDirectory, first);
      dropMetadataBeforeSnapshot(dataDirectory);
      const untouched = closedSegments(dataDirectory);

      let broker = await weir(dataDirectory);
      const second = await served(broker);
      expectSame(second.lines, first.lines);
      expectSame(second.epochs, first.epochs);
      expectUnchanged(untouched, dataDirectory);
      await driver.run("goon");
      await expectCompactedWell(broker, second);
      const third = await served(broker);
      await broker.kill();
      expect(worries(broker)).toEqual([]);
      expectUnchanged(withoutCompacted(untouched), dataDirectory);

      peer = await kafka(directory);
      const fourth = await served(peer);
      expectSame(fourth.lines, third.lines);
      expectSame(fourth.epochs, third.epochs);
      await driver.run("goon");
      await driver.run("settle");
      const fifth = await served(peer);
      await peer.stop();
      await expectVerified(dataDirectory);
      const stopped = closedSegments(dataDirectory);

      broker = await weir(dataDirectory);
      const last = await served(broker);
      expectSame(last.lines, fifth.lines);
      expectSame(last.epochs, fifth.epochs);
      await driver.run("goon");
      expect(await broker.stop()).toBe(0);
      expect(worries(broker)).toEqual([]);
      expectUnchanged(stopped, dataDirectory);
      await expectVerified(dataDirectory);
      const counts = await expectKafkaReadsAll(driver, dataDirectory);
      console.log(`dump-log: ${JSON.stringify(counts)}`);
    },
    TIMEOUT_MS,
  );

  testWith(
    NEEDED,
    "of weir's making: served unchanged by Apache Kafka, and by weir again",
    async () => {
      let broker = await weir(scratchDirectory("ours"));
      await driver.run("fill", broker.bootstrap);
      await driver.run("compact", broker.bootstrap, "compacted");
      const first = await served(broker);
      expect(await broker.stop()).toBe(0);
      await expectKafkaReadsAll(driver, broker.dataDirectory);
      const directory = adoptForKafka(broker.dataDirectory, port);
      const dataDirectory = join(directory, "data");

      const peer = await kafka(directory, staticVoters(port, NODE_ID));
      // An empty segment of weir's may lack its indexes: Kafka makes them.
      const isOfEmpty = (line: string) => line.includes("Could not find offset index file");
      expect(peer.errors().filter((line) => !isOfEmpty(line))).toEqual([]);
      const second = await served(peer);
      expectSame(second.lines, first.lines);
      expectSame(second.epochs, first.epochs);
      await driver.run("goon");
      await driver.run("transact", peer.bootstrap);
      const third = await served(peer);
      await peer.kill();
      const untouched = closedSegments(dataDirectory);

      broker = await weir(dataDirectory);
      const last = await served(broker);
      expectSame(last.lines, third.lines);
      expectSame(last.epochs, third.epochs);
      await driver.run("goon");
      expect(await broker.stop()).toBe(0);
      expect(worries(broker)).toEqual([]);
      expectUnchanged(untouched, dataDirectory);
      await expectKafkaReadsAll(driver, dataDirectory);
      expect(existsSync(join(dataDirectory, ".kafka_cleanshutdown"))).toBe(true);
    },
    TIMEOUT_MS,
  );
});
