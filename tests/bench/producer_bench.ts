/**
 * What many idempotent producers cost: memory for each, time for each batch, and how long the calls that
 * touch all of them hold the event loop.
 *
 *     bun tests/bench/producer_bench.ts          100,000 producers, in one partition and in 100
 *
 * `producer_bench_test.ts` runs it with a few, so that it cannot rot.
 */

import { type ProducerBatch, ProducerState } from "../../storage/producer_state.ts";
import type { SnapshotInProgress } from "../../storage/snapshot_in_progress.ts";
import { ProducerTable } from "../../storage/producer_table.ts";

const CLIENT = { origin: "client" } as const;
const BATCHES_BEFORE = 5;
const ROUNDS = 20;

/** One row: what the producers of so many partitions cost. Units: as the names end. */
export interface ProducerCosts {
  readonly producers: number;
  readonly partitions: number;
  readonly bytesPerProducer: number;
  readonly batchNs: number;
  /** Of one partition, in all. */
  readonly snapshotMs: number;
  /** The longest slices; the first one of a snapshot counts its rows. */
  readonly snapshotSliceMs: number;
  readonly loadSliceMs: number;
  readonly expireNoneSliceMs: number;
  readonly expireAllSliceMs: number;
}

interface MutableBatch extends ProducerBatch {
  producerId: number;
  baseSequence: number;
  baseOffset: number;
}

async function usedBytes(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    Bun.gc(true);
    // What held the memory of arrays is let go only here.
    await Bun.sleep(1);
  }
  return process.memoryUsage().heapUsed;
}

function elapsedMs(run: () => void): number {
  const startedMs = performance.now();
  run();
  return performance.now() - startedMs;
}

function best(run: () => number): number {
  let least = Infinity;
  for (let round = 0; round < ROUNDS; round++) least = Math.min(least, run());
  return least;
}

function longestSlice(next: () => boolean): number {
  let longest = 0;
  for (let goesOn = true; goesOn;) {
    longest = Math.max(longest, elapsedMs(() => goesOn = next()));
  }
  return longest;
}

/** Writes one batch of each producer. */
class Writers {
  readonly #batch: MutableBatch = {
    producerId: 0,
    producerEpoch: 0,
    baseSequence: 0,
    baseOffset: 0,
    lastOffsetDelta: 0,
    maxTimestamp: 0,
    attributes: 0,
  };
  readonly #states: readonly ProducerState[];
  readonly #count: number;

  constructor(states: readonly ProducerState[], count: number) {
    this.#states = states;
    this.#count = count;
  }

  writeAll(): void {
    const batch = this.#batch;
    for (let id = 0; id < this.#count; id++) {
      const state = this.#states[id % this.#states.length]!;
      batch.producerId = id;
      batch.baseOffset++;
      if (state.findDuplicate(batch) !== null || state.check(batch, null, CLIENT) !== null) {
        throw new Error("the batch should have been taken");
      }
      state.update(batch, null);
    }
    batch.baseSequence++;
  }
}

/** Fills a table and measures it. */
export async function producerBench(
  { producers, partitions }: { readonly producers: number; readonly partitions: number },
): Promise<ProducerCosts> {
  const before = await usedBytes();
  const table = new ProducerTable();
  const states = Array.from({ length: partitions }, () => new ProducerState("p-0", table));
  const writers = new Writers(states, producers);
  for (let i = 0; i < BATCHES_BEFORE; i++) writers.writeAll();
  const bytesPerProducer = (await usedBytes() - before) / producers;
  const batchMs = best(() => elapsedMs(() => writers.writeAll()));
  const state = states[0]!;
  let snapshot: Uint8Array = new Uint8Array(0);
  const snapshotMs = best(() => elapsedMs(() => snapshot = state.encodeSnapshot()));
  const encode = () => {
    let begun: SnapshotInProgress | null = null;
    return longestSlice(() => {
      if (begun !== null) return !begun.writeSlice();
      begun = state.beginSnapshot();
      return true;
    });
  };
  const times = { nowMs: 0, expirationMs: 1 };
  const load = () => {
    const loading = new ProducerState("p-0").loadSnapshot(snapshot, times);
    return longestSlice(() => !loading.next().done);
  };
  const expire = (nowMs: number) => {
    let row = 0;
    return longestSlice(() => (row = table.removeExpired(row, { ...times, nowMs })) >= 0);
  };
  const round = (value: number) => Number(value.toFixed(2));
  return {
    producers,
    partitions,
    bytesPerProducer: Math.round(bytesPerProducer),
    batchNs: Math.round((batchMs * 1e6) / producers),
    snapshotMs: round(snapshotMs),
    snapshotSliceMs: round(best(encode)),
    loadSliceMs: round(best(load)),
    expireNoneSliceMs: round(best(() => expire(0))),
    expireAllSliceMs: round(expire(1)),
  };
}

if (import.meta.main) {
  const rows: ProducerCosts[] = [];
  for (const partitions of [1, 100]) {
    rows.push(await producerBench({ producers: 100_000, partitions }));
  }
  console.table(rows);
}
