/** The suite of one node: its loads, what each measures, and the rows of the design with their bars. */

import { kindsOf } from "./brokers.ts";
import {
  isLess,
  megabytesPerSecond,
  processorTime,
  ratio,
  recordsPerSecond,
  requestsPerSecond,
  residentMemory,
  type RowSpec,
  type Sample,
  value,
} from "./figures.ts";
import type { Medium } from "./report.ts";
import {
  batches,
  benchFigures,
  type Load,
  makeTopic,
  measured,
  measureProduce,
  measureStart,
  type Round,
  tailFigures,
  withTopic,
} from "./round.ts";
import type { Suite } from "./suite.ts";

const PARTITIONS = 6;
const TAIL_CONSUMERS = 10;

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

const latency = { ...isLess, load: "latency", unit: "ms", bar: ratio(0.6) };

/** The figures that are told, with the bars of the design. */
const ROWS: readonly RowSpec[] = [
  {
    ...megabytesPerSecond,
    name: "produce",
    title: "produce, 100 × 1 KiB",
    load: "produce",
    bar: ratio(1.5),
  },
  {
    ...megabytesPerSecond,
    name: "produce_synced",
    title: "synced, the peer's is not",
    load: "produce_synced",
    bar: ratio(0.8),
  },
  {
    ...megabytesPerSecond,
    name: "produce_flushed",
    title: "synced, so is the peer's",
    load: "produce_flushed",
    bar: ratio(5),
  },
  {
    ...recordsPerSecond,
    name: "small_batches",
    title: "produce, 10 × 100 B",
    load: "small_batches",
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
  {
    ...megabytesPerSecond,
    name: "fetch",
    title: "fetch, catching up",
    load: "fetch",
    bar: ratio(1),
  },
  {
    ...megabytesPerSecond,
    name: "tail",
    title: `fetch at the tail, ${TAIL_CONSUMERS} consumers`,
    load: "tail",
    bar: ratio(1.5),
  },
  {
    ...processorTime,
    name: "cpu",
    title: "processor time, produce",
    load: "produce",
    bar: ratio(0.5),
  },
  {
    ...residentMemory,
    name: "memory",
    title: "most resident memory, produce",
    load: "produce",
    bar: value(150),
  },
  {
    ...isLess,
    name: "start",
    title: "start to first answer",
    load: "start",
    figure: "startMs",
    unit: "ms",
    bar: value(150),
  },
];
/** Where no disk is in the way, more is asked. */
const TMPFS_BARS: Readonly<Record<string, RowSpec["bar"]>> = { produce: ratio(2) };

function rowSpecs(medium: Medium): RowSpec[] {
  if (medium === "disk") return [...ROWS];
  return ROWS.map((row) => ({ ...row, bar: TMPFS_BARS[row.name] ?? row.bar }));
}

/** One node of each kind. */
export const singleNode: Suite = {
  name: "single_node",
  title: "one node",
  kindsOf,
  loads: LOADS,
  rowSpecs,
};

// ── what a load measures ──────────────────────────────────────────────────────────────────────────

/** What is read is written once, in the first round. */
async function measureFetch(round: Round): Promise<Sample> {
  const { load, megabytes, number } = round;
  const topic = `bench-${load.name}`;
  if (number === 0) {
    await makeTopic(round, topic);
    const shape = batches(100, 1024, 5, "1");
    const amount = ["--topic", topic, "--megabytes", String(megabytes)];
    await benchFigures(round, ["produce", ...amount, ...shape]).ended;
  }
  return await measured(round, megabytes, () => {
    return benchFigures(round, ["fetch", "--topic", topic]).ended;
  });
}

/** The consumers read a tenth less than is written. */
async function measureTail(round: Round): Promise<Sample> {
  const { megabytes } = round;
  return await withTopic(round, async (topic) => {
    return await measured(round, megabytes * TAIL_CONSUMERS, () => {
      return tailFigures((flags) => benchFigures(round, flags), {
        topic,
        consumers: TAIL_CONSUMERS,
        readMegabytes: Math.max(1, Math.floor(megabytes * 0.9)) * TAIL_CONSUMERS,
        // A load this small is over before the consumers have what they are to read.
        writtenMegabytes: megabytes + 1,
      });
    });
  });
}
