/**
 * How long a broker takes until it is ready, after `kill -9` and after a clean stop, over a lot of data.
 *
 *     bun tests/bench/recovery_bench.ts [partitions 1000] [megabytes of each 10] [directory] [command …]
 *
 * It starts a real broker (`bun main.ts`, or the command), writes idempotent batches of 16 KB into all
 * partitions in turn through the protocol, kills the broker while it writes, and times two starts: from the
 * process to `/readyz`. Each is timed with the data in the page cache, and again without where the machine
 * lets us drop it. A directory that holds the data of a run is used again. `compat/recovery_bench_test.ts` runs it tiny.
 */

import { existsSync, writeFileSync } from "node:fs";
import {
  BASE_SEQUENCE_AT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  sealCrc,
} from "../../protocol/record_batch.ts";
import { buildBatch } from "../../protocol/records.ts";
import { createTopicsRequest, createTopicsResponse } from "../../protocol/schemas/create_topics.ts";
import {
  initProducerIdRequest,
  initProducerIdResponse,
} from "../../protocol/schemas/init_producer_id.ts";
import { produceRequest, produceResponse } from "../../protocol/schemas/produce.ts";
import { type RunningBroker, startWeir } from "../compat/harness.ts";
import { Wire } from "../compat/wire.ts";
import { longestHoldMs, metricsOf, metricValue, peakResidentBytes } from "./broker_figures.ts";

const TOPIC = "recovered";
const RECORDS_PER_BATCH = 15;
const VALUE_BYTES = 1024;
const CONNECTIONS = 4;
const PARTITIONS_PER_REQUEST = 8;
const PATIENCE_MS = 600_000;

/** How much to write, and with what. */
export interface RecoveryBenchOptions {
  readonly partitionCount: number;
  readonly megabytesEach: number;
  readonly dataDirectory: string;
  readonly command?: readonly string[];
  readonly settings?: Readonly<Record<string, string>>;
}

/** One start. */
export interface StartFigures {
  /** From the start of the process until it listens. */
  readonly listeningMs: number;
  /** Until `/readyz` says that every partition is open. */
  readonly readyMs: number;
  /** Bytes of records that were read to recover logs. */
  readonly recoveredBytes: number;
  /** The most memory that was resident until then. */
  readonly peakResidentBytes: number;
  /** Processor time until then, of all threads. */
  readonly cpuSeconds: number;
  /** The longest that the event loop was held, as a bound of the histogram. */
  readonly longestHoldMs: number;
}

async function start(options: RecoveryBenchOptions): Promise<[RunningBroker, StartFigures]> {
  const beganMs = performance.now();
  const broker = await startWeir({
    dataDirectory: options.dataDirectory,
    ...(options.command !== undefined && { command: options.command }),
    ...(options.settings !== undefined && { settings: options.settings }),
  });
  const listeningMs = performance.now() - beganMs;
  for (;;) {
    const { ok } = await fetch(`http://127.0.0.1:${broker.httpPort}/readyz`);
    if (ok) break;
    if (performance.now() - beganMs > PATIENCE_MS) throw new Error(broker.output());
    await Bun.sleep(5);
  }
  const readyMs = performance.now() - beganMs;
  const metrics = await metricsOf(broker);
  return [broker, {
    listeningMs,
    readyMs,
    recoveredBytes: metricValue(metrics, "weir_recovered_bytes"),
    peakResidentBytes: peakResidentBytes(broker.pid),
    cpuSeconds: metricValue(metrics, "process_cpu_seconds_total"),
    longestHoldMs: longestHoldMs(metrics),
  }];
}

/** One batch that is sent again and again with other sequence numbers. */
function batchOf(producerId: number, producerEpoch: number): Uint8Array<ArrayBuffer> {
  const timestamp = Date.now();
  const records = Array.from({ length: RECORDS_PER_BATCH }, (_, i) => ({
    key: new TextEncoder().encode(`key-${i}`),
    value: crypto.getRandomValues(new Uint8Array(VALUE_BYTES)),
    timestamp,
  }));
  const batch = new Uint8Array(buildBatch({ records, producerId, producerEpoch, baseSequence: 0 }));
  const view = new DataView(batch.buffer);
  view.setBigInt64(PRODUCER_ID_AT, BigInt(producerId));
  view.setInt16(PRODUCER_EPOCH_AT, producerEpoch);
  return batch;
}

/** Writes into every `CONNECTIONS`-th partition from `first` on. Returns: bytes that were acknowledged. */
async function writeShare(
  bootstrap: string,
  first: number,
  { partitionCount, megabytesEach }: RecoveryBenchOptions,
): Promise<number> {
  const wire = await Wire.connect(bootstrap);
  const { producerId, producerEpoch } = await wire.send(
    initProducerIdRequest,
    initProducerIdResponse,
    4,
    { transactionalId: null, transactionTimeoutMs: 60_000, producerId: -1, producerEpoch: -1 },
  );
  const batch = batchOf(producerId, producerEpoch);
  const view = new DataView(batch.buffer);
  const rounds = Math.max(1, Math.round((megabytesEach * 1e6) / batch.length));
  let writtenBytes = 0;
  for (let round = 0; round < rounds; round++) {
    view.setInt32(BASE_SEQUENCE_AT, round * RECORDS_PER_BATCH);
    sealCrc(batch, 0);
    const mine: number[] = [];
    for (let index = first; index < partitionCount; index += CONNECTIONS) mine.push(index);
    for (let at = 0; at < mine.length; at += PARTITIONS_PER_REQUEST) {
      const partitionData = mine.slice(at, at + PARTITIONS_PER_REQUEST)
        .map((index) => ({ index, records: batch }));
      const { responses } = await wire.send(produceRequest, produceResponse, 9, {
        transactionalId: null,
        acks: 1,
        timeoutMs: 30_000,
        topicData: [{ name: TOPIC, partitionData }],
      });
      const failed = responses[0]!.partitionResponses.find(({ errorCode }) => errorCode !== 0);
      if (failed !== undefined) throw new Error(JSON.stringify(failed));
      writtenBytes += partitionData.length * batch.length;
    }
  }
  wire.close();
  return writtenBytes;
}

/** Fills the directory, and leaves it as a process does that is killed while it writes. */
async function fill(options: RecoveryBenchOptions): Promise<void> {
  const [broker] = await start(options);
  const wire = await Wire.connect(broker.bootstrap);
  await wire.send(createTopicsRequest, createTopicsResponse, 7, {
    topics: [{
      name: TOPIC,
      numPartitions: options.partitionCount,
      replicationFactor: 1,
      assignments: [],
      configs: [],
    }],
    timeoutMs: 60_000,
    validateOnly: false,
  });
  wire.close();
  const beganMs = performance.now();
  const shares = Array.from(
    { length: Math.min(CONNECTIONS, options.partitionCount) },
    (_, first) => writeShare(broker.bootstrap, first, options),
  );
  const writtenBytes = (await Promise.all(shares)).reduce((sum, bytes) => sum + bytes, 0);
  const seconds = (performance.now() - beganMs) / 1000;
  await broker.kill();
  console.log(
    `written: ${(writtenBytes / 1e9).toFixed(2)} GB in ${options.partitionCount} partitions, ` +
      `${(writtenBytes / 1e6 / seconds).toFixed(0)} MB/s`,
  );
}

/** Returns: false where the machine does not let us. */
function dropPageCache(): boolean {
  try {
    Bun.spawnSync(["sync"]);
    writeFileSync("/proc/sys/vm/drop_caches", "3");
    return true;
  } catch {
    return false;
  }
}

function tell(what: string, figures: StartFigures): void {
  console.log(
    `${what}: ready in ${figures.readyMs.toFixed(0)} ms (listening in ` +
      `${figures.listeningMs.toFixed(0)} ms), ${(figures.recoveredBytes / 1e6).toFixed(1)} MB ` +
      `read, ${figures.cpuSeconds.toFixed(2)} s of CPU, at most ` +
      `${(figures.peakResidentBytes / 1e6).toFixed(0)} MB resident, event loop held up to ${
        figures.longestHoldMs.toFixed(0)
      } ms`,
  );
}

/** Fills a directory if it is empty, kills, and times a start after the kill and one after a clean stop. */
export async function recoveryBench(
  options: RecoveryBenchOptions,
  isCold = false,
): Promise<{ readonly killed: StartFigures; readonly clean: StartFigures }> {
  if (!existsSync(`${options.dataDirectory}/meta.properties`)) await fill(options);
  else {
    const [broker] = await start(options);
    await broker.kill();
  }
  const label = isCold && dropPageCache() ? "cold" : "warm";
  const [first, killed] = await start(options);
  tell(`after kill -9, ${label}`, killed);
  await first.stop();
  if (label === "cold") dropPageCache();
  const [second, clean] = await start(options);
  tell(`after a clean stop, ${label}`, clean);
  await second.stop();
  return { killed, clean };
}

if (import.meta.main) {
  const [partitions, megabytes, directory, ...command] = process.argv.slice(2);
  const options: RecoveryBenchOptions = {
    partitionCount: Number(partitions ?? 1000),
    megabytesEach: Number(megabytes ?? 10),
    dataDirectory: directory ?? "/tmp/weir-recovery-bench",
    ...(command.length > 0 && { command }),
  };
  await recoveryBench(options);
  await recoveryBench(options, true);
  process.exit(0);
}
