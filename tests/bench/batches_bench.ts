/**
 * What large, compressed and hostile batches cost: how fast they are taken, and for how long they hold the
 * event loop, prepared on the loop alone and as the broker does it.
 *
 *     bun tests/bench/batches_bench.ts          the table, on a real disk, with worker threads
 *
 * A hold is processor time of the loop's thread in one turn, where the system tells it (Linux): other programs
 * on the machine do not count. `batches_bench_test.ts` runs it tiny, on simulated parts.
 */

import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { Config } from "../../broker/config/config.ts";
import { effectiveTopicConfig } from "../../broker/config/topic_config.ts";
import { ReplicationThrottle } from "../../broker/partitions/replication_throttle.ts";
import { Partition } from "../../broker/partitions/partition.ts";
import { CompressionCodec } from "../../protocol/compression.ts";
import { buildBatch } from "../../protocol/records.ts";
import { leaderEpoch, METADATA_TOPIC_ID } from "../../protocol/types.ts";
import { BatchPreparer } from "../../storage/batch_preparer.ts";
import { LogDirectory } from "../../storage/log_directory.ts";
import type { Clock, Disk, Random } from "../../storage/platform.ts";
import { bunClock, bunDisk, bunRandom } from "../../storage/platform_bun.ts";
import type { Workers } from "../../storage/workers.ts";
import { bunWorkers } from "../../storage/workers_bun.ts";
import { SimLogger } from "../sim/sim_logger.ts";

const SCHEDSTAT = "/proc/thread-self/schedstat";
const IN_FLIGHT = 5;

/** One row of the table. */
export interface BatchTimes {
  readonly name: string;
  /** Whether all is prepared on the loop, or what is long by worker threads. */
  readonly where: "loop" | "threads";
  /** Bytes of records, without compression, a second. */
  readonly plainBytesPerSecond: number;
  readonly longestHoldMs: number;
}

interface Load {
  readonly name: string;
  readonly batch: Uint8Array;
  readonly plainBytes: number;
  readonly settings: Readonly<Record<string, string>>;
}

/** What it runs on. */
export interface BatchesBenchOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly workers: Workers;
  readonly path: string;
  /** Batches of each load. */
  readonly count: number;
  /** 1 for the real thing. */
  readonly scale: number;
}

/** Processor time of this thread, or the time of day where it is not told. Units: ms. */
function threadMs(): number {
  if (!existsSync(SCHEDSTAT)) return performance.now();
  return Number(readFileSync(SCHEDSTAT, "latin1").split(" ")[0]) / 1e6;
}

/** Text of words, which compresses to a third or so. */
function words(random: Random, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = 97 + (random.uint32() >>> 27);
  for (let at = 64; at < length; at += 64) bytes.copyWithin(at, at - 64, at - 40);
  return bytes;
}

function load(
  name: string,
  values: readonly Uint8Array[],
  compression: CompressionCodec,
  settings: Readonly<Record<string, string>> = {},
): Load {
  const records = values.map((value) => ({ key: null, value, timestamp: -1 }));
  const plainBytes = values.reduce((sum, value) => sum + value.length, 0);
  const batch = buildBatch({ records, compression });
  return { name, batch, plainBytes, settings: { "max.message.bytes": "50000000", ...settings } };
}

function loads(random: Random, scale: number): Load[] {
  const size = (bytes: number) => Math.ceil(bytes * scale);
  const text = words(random, size(1_000_000));
  const lines = Array.from(
    { length: size(1000) },
    (_, i) => text.subarray(1000 * i, 1000 * i + 1000),
  );
  const { none, gzip, zstd } = CompressionCodec;
  const zeros = [new Uint8Array(size(60_000_000))];
  return [
    load(
      "1 MB, zstd, of 60 MB",
      Array.from({ length: 180 }, () => text.subarray(0, size(330_000))),
      zstd,
    ),
    load("6 KB, zstd, of 60 MB", zeros, zstd),
    load("60 KB, gzip, of 60 MB", zeros, gzip),
    load("16 KB of text in zstd", lines.slice(0, 16), zstd),
    load("1 MB of text in zstd", lines, zstd),
    load("16 KB to zstd", lines.slice(0, 16), none, { "compression.type": "zstd" }),
    load("1 MB to zstd", lines, none, { "compression.type": "zstd" }),
    load("1 MB to gzip", lines, none, { "compression.type": "gzip" }),
    load("1 MB, no compression", lines, none),
    load(
      "1 MB of small records",
      Array.from({ length: size(100_000) }, () => text.subarray(0, 4)),
      none,
    ),
    load("20 MB, no compression", Array.from({ length: 20 }, () => text), none),
  ];
}

/** Notes how long the loop was held, by a timer that the hold makes late, until it is stopped. */
class HoldWatch {
  #longestMs = 0;
  #atMs = threadMs();
  readonly #timer = setInterval(() => this.#look(), 1);

  #look(): void {
    const nowMs = threadMs();
    this.#longestMs = Math.max(this.#longestMs, nowMs - this.#atMs);
    this.#atMs = threadMs();
  }

  async stop(): Promise<number> {
    await new Promise((resolve) => setTimeout(resolve, 2));
    clearInterval(this.#timer);
    return this.#longestMs;
  }
}

async function measure(
  partition: Partition,
  { name, batch, plainBytes }: Load,
  where: BatchTimes["where"],
  count: number,
): Promise<BatchTimes> {
  const append = async (): Promise<void> => {
    const records = batch.slice();
    // A request comes in a turn of its own.
    await new Promise((resolve) => setImmediate(resolve));
    const result = where === "loop"
      ? partition.append(records, { origin: "client", requiredAcks: 1 })
      : await partition.appendFromClient({ records, requiredAcks: 1, requestVersion: 13 });
    if (result.error !== 0) throw new Error(`${name}: ${"message" in result && result.message}`);
  };
  await append();
  const watch = new HoldWatch();
  const startMs = performance.now();
  let begun = 0;
  const lane = async (): Promise<void> => {
    while (begun++ < count) await append();
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  const seconds = (performance.now() - startMs) / 1000;
  const longestHoldMs = await watch.stop();
  return { name, where, plainBytesPerSecond: count * plainBytes / seconds, longestHoldMs };
}

/** Appends batches of each kind, prepared on the loop and as the broker does it. Returns: two rows a kind. */
export async function batchesBench(
  { disk, clock, random, workers, path, count, scale }: BatchesBenchOptions,
): Promise<BatchTimes[]> {
  const logger = new SimLogger();
  const directory = await LogDirectory.open({
    disk,
    clock,
    random,
    logger,
    workers,
    path,
    nodeId: 1,
  });
  const preparer = new BatchPreparer({ workers, clock });
  const rows: BatchTimes[] = [];
  for (const [partition, one] of loads(random, scale).entries()) {
    const config = effectiveTopicConfig(Config.load({}), new Map(Object.entries(one.settings)));
    const topicPartition = { topic: "bench", partition };
    const log = await directory.createLog(topicPartition, METADATA_TOPIC_ID, config);
    const image = {
      partition,
      replicas: [1],
      isr: [1],
      elr: [],
      lastKnownElr: [],
      addingReplicas: [],
      removingReplicas: [],
      directories: [],
      leader: 1,
      leaderRecoveryState: 0,
      leaderEpoch: leaderEpoch(0),
      partitionEpoch: 0,
    };
    const options = {
      replication: {
        brokers: () => new Map(),
        lagLimits: () => ({ maxLagMs: 30_000, maxSilenceMs: 3000 }),
        bytes: { sent: 0, received: 0 },
        throttles: {
          leader: new ReplicationThrottle(() => Infinity),
          follower: new ReplicationThrottle(() => Infinity),
        },
        noteDamaged: () => {},
        proposeIsr: () => {},
      },
      topic: "bench",
      topicId: METADATA_TOPIC_ID,
      partition,
      nodeId: 1,
      clock,
      log,
    };
    const bench = new Partition({ ...options, preparer, config, image });
    for (const where of ["loop", "threads"] as const) {
      rows.push(await measure(bench, one, where, count));
    }
    bench.close(0);
    await directory.deleteLog(topicPartition);
  }
  preparer.close();
  await directory.close();
  return rows;
}

if (import.meta.main) {
  const path = mkdtempSync(`${tmpdir()}/weir-batches-bench-`);
  const entry = new URL("../../storage/worker_main_bun.ts", import.meta.url).href;
  const workers = bunWorkers({ logger: new SimLogger(), entry });
  const platform = { disk: bunDisk(), clock: bunClock(), random: bunRandom(), workers };
  try {
    const rows = await batchesBench({ ...platform, path: `${path}/data`, count: 20, scale: 1 });
    for (const { name, where, plainBytesPerSecond, longestHoldMs } of rows) {
      console.log(
        `${name.padEnd(26)} ${where.padEnd(8)} ${
          (plainBytesPerSecond / 1e6).toFixed(0).padStart(6)
        } MB/s   longest hold ${longestHoldMs.toFixed(1).padStart(7)} ms`,
      );
    }
  } finally {
    await workers.close();
    rmSync(path, { recursive: true });
  }
}
