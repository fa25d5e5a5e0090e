/**
 * The suite of three nodes: three replicas of everything, each record acknowledged once all of them have it.
 *
 * weir answers when each replica has synced it to its disk, Apache Kafka when each has it in its page cache. Partitions
 * are led by all nodes evenly, and `weir bench` writes to each at its leader.
 */

import { clusterKindsOf } from "./clusters.ts";
import {
  isLess,
  megabytesPerSecond,
  processorTime,
  ratio,
  recordsPerSecond,
  requestsPerSecond,
  residentMemory,
  type RowSpec,
  value,
} from "./figures.ts";
import { batches, type Load, measureLatency, measureProduce, measureStart } from "./round.ts";
import type { Suite } from "./suite.ts";

/** Two that each node leads; a load of one request at a time has one, wherever it is led. */
const PARTITIONS = 6;
const RATE = 1000;

const written = { partitions: PARTITIONS, replicationFactor: 3, measure: measureProduce };

/** All loads: first those of the design's rows. */
const LOADS: readonly Load[] = [
  { ...written, name: "produce", megabytes: 400, flags: batches(100, 1024, 5, "all") },
  {
    name: "rate",
    // One that each node leads.
    partitions: 3,
    replicationFactor: 3,
    megabytes: 15,
    flags: ["--records", "1", "--size", "1024", "--rate", String(RATE), "--acks", "all"],
    measure: measureLatency,
  },
  { ...written, name: "latency", partitions: 1, megabytes: 5, flags: batches(1, 1024, 1, "all") },
  { ...written, name: "small_batches", megabytes: 50, flags: batches(10, 100, 5, "all") },
  { ...written, name: "single", megabytes: 10, flags: batches(1, 100, 30, "all") },
  { name: "start", partitions: 0, megabytes: 0, flags: [], measure: measureStart },
];

const p50 = { ...isLess, figure: "p50Ms", unit: "ms" };
const p99 = { ...isLess, figure: "p99Ms", unit: "ms" };

/** The figures that are told, with the bars of the design; those without one show what else is to be known. */
const ROWS: readonly RowSpec[] = [
  {
    ...megabytesPerSecond,
    name: "produce",
    title: "produce, 100 × 1 KiB",
    load: "produce",
    bar: ratio(1.2),
  },
  {
    ...p99,
    name: "produce_p99",
    title: "produce, 100 × 1 KiB, p99",
    load: "produce",
    bar: ratio(0.7),
  },
  {
    ...processorTime,
    name: "cpu",
    title: "processor time of all nodes, produce",
    load: "produce",
    bar: ratio(0.5),
  },
  {
    ...p50,
    name: "rate_p50",
    title: `${RATE.toLocaleString("en-US")} a second one by one, p50`,
    load: "rate",
    bar: ratio(1),
  },
  {
    ...p99,
    name: "rate_p99",
    title: `${RATE.toLocaleString("en-US")} a second one by one, p99`,
    load: "rate",
    bar: ratio(0.7),
  },
  { ...p50, name: "latency_p50", title: "one in flight, p50", load: "latency", bar: null },
  { ...p99, name: "latency_p99", title: "one in flight, p99", load: "latency", bar: null },
  {
    ...recordsPerSecond,
    name: "small_batches",
    title: "produce, 10 × 100 B",
    load: "small_batches",
    bar: null,
  },
  {
    ...requestsPerSecond,
    name: "single",
    title: "1 × 100 B, 30 in flight",
    load: "single",
    bar: null,
  },
  {
    ...residentMemory,
    name: "memory",
    title: "resident memory of all nodes after produce",
    load: "produce",
    figure: "residentMegabytes",
    bar: value(450),
  },
  {
    ...residentMemory,
    name: "most_memory",
    title: "most resident memory of all nodes, produce",
    load: "produce",
    bar: null,
  },
  {
    ...isLess,
    name: "start",
    title: "start until all nodes answer",
    load: "start",
    figure: "startMs",
    unit: "ms",
    bar: value(1500),
  },
];

/** A cluster of each kind. */
export const threeNodes: Suite = {
  name: "three_nodes",
  title: "three nodes, acks=all, weir's synced on each",
  kindsOf: clusterKindsOf,
  loads: LOADS,
  rowSpecs: () => [...ROWS],
};
