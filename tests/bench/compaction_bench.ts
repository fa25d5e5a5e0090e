/**
 * Compaction of keyed updates by a real broker, while a producer and a consumer go on: how long it takes,
 * what is left, and how long the broker's event loop was held meanwhile, beside the same load without it.
 *
 *     bun tests/bench/compaction_bench.ts [MiB, 1024] [keys, 100000] [bytes of a value, 1000]
 *
 * `compaction_bench_test.ts` runs it tiny.
 */

import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { batches, batchSizeBytes, readLastOffset } from "../../protocol/record_batch.ts";
import { buildBatch, readRecords } from "../../protocol/records.ts";
import { createTopicsRequest, createTopicsResponse } from "../../protocol/schemas/create_topics.ts";
import { fetchRequest, fetchResponse } from "../../protocol/schemas/fetch.ts";
import {
  incrementalAlterConfigsRequest,
  incrementalAlterConfigsResponse,
} from "../../protocol/schemas/incremental_alter_configs.ts";
import { produceRequest, produceResponse } from "../../protocol/schemas/produce.ts";
import { eventually, type RunningBroker, startWeir } from "../compat/harness.ts";
import { Wire } from "../compat/wire.ts";

const TOPIC = "table";
const RECORDS_PER_BATCH = 60;
const IN_FLIGHT = 8;
const MEBIBYTE = 1024 * 1024;

/** What to do. */
export interface CompactionBenchOptions {
  readonly mebibytes: number;
  readonly keyCount: number;
  readonly valueBytes: number;
  /** How long the load goes on without compaction, to compare with. */
  readonly quietMs: number;
  readonly segmentMebibytes: number;
}

/** How long the loop was held, by the histogram of `/metrics`. */
export interface LoopDelays {
  /** Looks at the loop by the bound, in ms, that the delay stayed below; Infinity for the rest. */
  readonly counts: ReadonlyMap<number, number>;
  readonly appends: number;
}

/** What was seen. */
export interface CompactionBenchResult {
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  /** As the broker says. */
  readonly durationMs: number;
  readonly withoutCompaction: LoopDelays;
  readonly withCompaction: LoopDelays;
  readonly peakRssBytesBefore: number;
  readonly peakRssBytes: number;
  /** Keys that a reader of the whole log finds, and those whose last value it finds. */
  readonly keysFound: number;
  readonly keysRight: number;
}

/** Writes keyed updates and remembers the last value of each key. */
class Updates {
  readonly lastValues = new Map<number, number>();
  readonly #options: CompactionBenchOptions;
  readonly #value: Uint8Array;
  #count = 0;

  constructor(options: CompactionBenchOptions) {
    this.#options = options;
    this.#value = crypto.getRandomValues(new Uint8Array(Math.min(options.valueBytes, 65_536)));
  }

  batch(recordCount: number): Uint8Array {
    const timestamp = Date.now();
    const records = Array.from({ length: recordCount }, () => {
      const key = Math.floor(Math.random() * this.#options.keyCount);
      const value = this.#value.slice();
      new DataView(value.buffer).setUint32(0, ++this.#count);
      this.lastValues.set(key, this.#count);
      return { key: Buffer.from(`key-${String(key).padStart(12, "0")}`), value, timestamp };
    });
    return buildBatch({ records });
  }
}

async function produce(wire: Wire, records: Uint8Array): Promise<void> {
  const answer = await wire.send(produceRequest, produceResponse, 9, {
    transactionalId: null,
    acks: -1,
    timeoutMs: 30_000,
    topicData: [{ name: TOPIC, partitionData: [{ index: 0, records }] }],
  });
  assert.equal(answer.responses[0]!.partitionResponses[0]!.errorCode, 0);
}

async function fetch(wire: Wire, from: number, maxWaitMs: number): Promise<Uint8Array> {
  const answer = await wire.send(fetchRequest, fetchResponse, 11, {
    replicaId: -1,
    maxWaitMs,
    minBytes: 1,
    maxBytes: 4 * MEBIBYTE,
    isolationLevel: 0,
    sessionId: 0,
    sessionEpoch: -1,
    topics: [{
      topic: TOPIC,
      partitions: [{
        partition: 0,
        currentLeaderEpoch: -1,
        fetchOffset: from,
        logStartOffset: -1,
        partitionMaxBytes: 4 * MEBIBYTE,
      }],
    }],
    forgottenTopicsData: [],
    rackId: "",
  });
  const partition = answer.responses[0]!.partitions[0]!;
  assert.equal(partition.errorCode, 0);
  return partition.records ?? new Uint8Array(0);
}

/** A producer and a consumer at the tail, until `stop`. */
class Load {
  appends = 0;
  #isStopped = false;
  readonly #loops: Promise<void>[];

  constructor(broker: RunningBroker, updates: Updates, from: number) {
    this.#loops = [this.#produce(broker, updates), this.#consume(broker, from)];
  }

  async #produce(broker: RunningBroker, updates: Updates): Promise<void> {
    const wire = await Wire.connect(broker.bootstrap);
    while (!this.#isStopped) {
      await produce(wire, updates.batch(10));
      this.appends++;
      await Bun.sleep(2);
    }
    wire.close();
  }

  async #consume(broker: RunningBroker, from: number): Promise<void> {
    const wire = await Wire.connect(broker.bootstrap);
    let next = from;
    while (!this.#isStopped) {
      const records = await fetch(wire, next, 100);
      for (const at of batches(records)) next = readLastOffset(records, at) + 1;
    }
    wire.close();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#loops);
  }
}

async function loopDelays({ httpPort }: RunningBroker): Promise<Map<number, number>> {
  const text = await (await globalThis.fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
  const found = new Map<number, number>();
  let below = 0;
  const buckets = /weir_event_loop_delay_seconds_bucket\{le="([^"]+)"\} (\d+)/g;
  for (const [, bound, count] of text.matchAll(buckets)) {
    found.set(bound === "+Inf" ? Infinity : Number(bound) * 1000, Number(count) - below);
    below = Number(count);
  }
  return found;
}

const minus = (after: Map<number, number>, before: Map<number, number>) =>
  new Map([...after].map(([bound, count]) => [bound, count - (before.get(bound) ?? 0)]));

/** The most memory that the process has held so far. */
function peakRssBytes({ pid }: RunningBroker): number {
  const found = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(found?.[1] ?? 0) * 1024;
}

function logBytes({ dataDirectory }: RunningBroker): number {
  const directory = join(dataDirectory, `${TOPIC}-0`);
  let sum = 0;
  for (const name of readdirSync(directory)) {
    if (name.endsWith(".log")) sum += statSync(join(directory, name)).size;
  }
  return sum;
}

async function createTopic(wire: Wire, segmentMebibytes: number): Promise<void> {
  const configs = {
    "cleanup.policy": "delete",
    "segment.bytes": String(segmentMebibytes * MEBIBYTE),
    "min.cleanable.dirty.ratio": "0.01",
  };
  const answer = await wire.send(createTopicsRequest, createTopicsResponse, 5, {
    topics: [{
      name: TOPIC,
      numPartitions: 1,
      replicationFactor: 1,
      assignments: [],
      configs: Object.entries(configs).map(([name, value]) => ({ name, value })),
    }],
    timeoutMs: 30_000,
    validateOnly: false,
  });
  assert.equal(answer.topics[0]!.errorCode, 0);
}

async function compact(wire: Wire): Promise<void> {
  const answer = await wire.send(
    incrementalAlterConfigsRequest,
    incrementalAlterConfigsResponse,
    1,
    {
      resources: [{
        resourceType: 2,
        resourceName: TOPIC,
        configs: [{ name: "cleanup.policy", configOperation: 0, value: "compact" }],
      }],
      validateOnly: false,
    },
  );
  assert.equal(answer.responses[0]!.errorCode, 0);
}

async function fill(
  broker: RunningBroker,
  updates: Updates,
  { mebibytes, valueBytes }: CompactionBenchOptions,
): Promise<number> {
  const wire = await Wire.connect(broker.bootstrap);
  const batchCount = Math.ceil(mebibytes * MEBIBYTE / ((valueBytes + 30) * RECORDS_PER_BATCH));
  const inFlight = new Set<Promise<void>>();
  for (let i = 0; i < batchCount; i++) {
    const sent = produce(wire, updates.batch(RECORDS_PER_BATCH));
    inFlight.add(sent);
    void sent.finally(() => inFlight.delete(sent));
    if (inFlight.size >= IN_FLIGHT) await Promise.race(inFlight);
  }
  await Promise.all(inFlight);
  wire.close();
  return batchCount * RECORDS_PER_BATCH;
}

/** Reads the log from its start. Returns: the last value of each key. */
async function readAll(broker: RunningBroker): Promise<Map<number, number>> {
  const wire = await Wire.connect(broker.bootstrap);
  const values = new Map<number, number>();
  for (let next = 0;;) {
    const found = await fetch(wire, next, 0);
    if (found.length === 0) break;
    for (const at of batches(found)) {
      const bytes = found.subarray(at, at + batchSizeBytes(found, at));
      for (const { key, value } of readRecords(bytes, 0, { maxDecompressedBytes: 1e9 })) {
        const view = new DataView(value!.buffer, value!.byteOffset);
        values.set(Number(Buffer.from(key!).toString().slice(4)), view.getUint32(0));
      }
      next = readLastOffset(found, at) + 1;
    }
  }
  wire.close();
  return values;
}

/** Runs it. */
export async function compactionBench(
  options: CompactionBenchOptions,
): Promise<CompactionBenchResult> {
  const broker = await startWeir({ settings: { "log.cleaner.backoff.ms": "1000" } });
  try {
    const wire = await Wire.connect(broker.bootstrap);
    await createTopic(wire, options.segmentMebibytes);
    const updates = new Updates(options);
    const end = await fill(broker, updates, options);
    const load = new Load(broker, updates, end);
    await Bun.sleep(1000);
    const quietFrom = { appends: load.appends, delays: await loopDelays(broker) };
    await Bun.sleep(options.quietMs);
    const busyFrom = { appends: load.appends, delays: await loopDelays(broker) };
    const bytesBefore = logBytes(broker);
    const peakRssBytesBefore = peakRssBytes(broker);
    await compact(wire);
    const line = await eventually("the log to be compacted", () => {
      return /Log is compacted.*/.exec(broker.output())?.[0];
    }, 600_000);
    const after = { appends: load.appends, delays: await loopDelays(broker) };
    await load.stop();
    const found = await readAll(broker);
    const isRight = ([key, value]: [number, number]) => found.get(key) === value;
    wire.close();
    return {
      bytesBefore,
      bytesAfter: logBytes(broker),
      durationMs: Number(/durationMs[=":]+(\d+)/.exec(line)?.[1]),
      withoutCompaction: {
        counts: minus(busyFrom.delays, quietFrom.delays),
        appends: busyFrom.appends - quietFrom.appends,
      },
      withCompaction: {
        counts: minus(after.delays, busyFrom.delays),
        appends: after.appends - busyFrom.appends,
      },
      peakRssBytesBefore,
      peakRssBytes: peakRssBytes(broker),
      keysFound: found.size,
      keysRight: [...updates.lastValues].filter(isRight).length,
    };
  } finally {
    await broker.stop();
  }
}

function show({ counts, appends }: LoopDelays): string {
  const parts = [...counts].filter(([, count]) => count > 0)
    .map(([bound, count]) => `${count} ≤ ${bound} ms`);
  return `${parts.join(", ")}; ${appends} appends`;
}

if (import.meta.main) {
  const [mebibytes, keyCount, valueBytes] = process.argv.slice(2).map(Number);
  const result = await compactionBench({
    mebibytes: mebibytes ?? 1024,
    keyCount: keyCount ?? 100_000,
    valueBytes: valueBytes ?? 1000,
    quietMs: 10_000,
    segmentMebibytes: 64,
  });
  const mb = (bytes: number) => `${Math.round(bytes / 1e6)} MB`;
  console.log(`log           ${mb(result.bytesBefore)} → ${mb(result.bytesAfter)}`);
  console.log(`compaction    ${result.durationMs} ms`);
  console.log(`loop without  ${show(result.withoutCompaction)}`);
  console.log(`loop with     ${show(result.withCompaction)}`);
  console.log(`peak memory   ${mb(result.peakRssBytesBefore)} → ${mb(result.peakRssBytes)}`);
  console.log(`keys          ${result.keysRight} right of ${result.keysFound} found`);
}
