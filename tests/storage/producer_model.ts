/**
 * What a node should know of its producers, in plain objects and plain loops: the slow twin of
 * `ProducerState` and `ProducerTable`, and a random life that tells both the same.
 */

import assert from "node:assert/strict";
import { ErrorCode } from "../../protocol/errors.ts";
import { CONTROL_BIT, TRANSACTIONAL_BIT } from "../../protocol/record_batch.ts";
import { snapshotEntries } from "../../storage/producer_snapshot.ts";
import {
  type AppendOrigin,
  type CompletedTransaction,
  type ProducerBatch,
  ProducerState,
  type TransactionMarker,
} from "../../storage/producer_state.ts";
import { ProducerTable } from "../../storage/producer_table.ts";
import { SimRandom } from "../sim/sim_random.ts";

const SEQUENCES = 2 ** 31;
const EXPIRATION_MS = 1000;
const PARTITIONS = 3;

/** Loads a snapshot in one go. Errors: WireError when it is damaged. */
export function loadWhole(
  state: ProducerState,
  bytes: Uint8Array,
  times: { readonly nowMs: number; readonly expirationMs: number },
): void {
  const loading = state.loadSnapshot(bytes, times);
  while (!loading.next().done);
}

interface ModelBatch {
  readonly baseSequence: number;
  readonly lastSequence: number;
  readonly lastOffset: number;
  readonly offsetDelta: number;
  readonly timestamp: number;
}

interface ModelProducer {
  readonly id: number;
  epoch: number;
  coordinatorEpoch: number;
  lastTimestamp: number;
  openSince: number;
  /** Oldest first. */
  batches: ModelBatch[];
  /** Grows with every batch of the node. */
  writtenAt: number;
}

/** One partition. */
class ModelPartition {
  producers = new Map<number, ModelProducer>();
  ended: { readonly first: number; readonly last: number }[] = [];

  open(): number[] {
    return [...this.producers.values()].map(({ openSince }) => openSince).filter((at) => at >= 0);
  }

  unstable(highWatermark: number): number {
    this.ended = this.ended.filter(({ last }) => last >= highWatermark);
    const first = Math.min(...this.open(), ...this.ended.map((one) => one.first));
    return first === Infinity ? -1 : first;
  }

  duplicate(batch: ProducerBatch): ModelBatch | undefined {
    const known = this.producers.get(batch.producerId);
    if (known?.epoch !== batch.producerEpoch) return undefined;
    return known.batches.find((one) =>
      one.baseSequence === batch.baseSequence && one.offsetDelta === batch.lastOffsetDelta
    );
  }

  check(batch: ProducerBatch, marker: TransactionMarker | null, origin: AppendOrigin): number {
    const known = this.producers.get(batch.producerId);
    if (known === undefined || origin === "replication") return 0;
    if (batch.producerEpoch < known.epoch) return ErrorCode.INVALID_PRODUCER_EPOCH;
    if (marker !== null) {
      const isFenced = marker.coordinatorEpoch < known.coordinatorEpoch;
      return isFenced ? ErrorCode.TRANSACTION_COORDINATOR_FENCED : 0;
    }
    if (origin === "client") {
      const last = known.epoch === batch.producerEpoch
        ? known.batches.at(-1)?.lastSequence ?? -1
        : -1;
      const isNext = batch.baseSequence === (last + 1) % SEQUENCES;
      if (!isNext) return ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER;
    }
    const isTransactional = (batch.attributes & TRANSACTIONAL_BIT) !== 0;
    return known.openSince >= 0 && !isTransactional ? ErrorCode.INVALID_TXN_STATE : 0;
  }

  update(
    batch: ProducerBatch,
    marker: TransactionMarker | null,
    writtenAt: number,
  ): CompletedTransaction | null {
    const known = this.producers.get(batch.producerId) ?? {
      id: batch.producerId,
      epoch: -1,
      coordinatorEpoch: -1,
      lastTimestamp: -1,
      openSince: -1,
      batches: [],
      writtenAt,
    };
    this.producers.set(batch.producerId, known);
    if (known.epoch !== batch.producerEpoch) known.batches = [];
    known.epoch = batch.producerEpoch;
    known.lastTimestamp = batch.maxTimestamp;
    // One with an open transaction counts as written to when that has ended.
    if (known.openSince < 0 || marker !== null) known.writtenAt = writtenAt;
    if (marker !== null) return this.#end(known, batch, marker);
    const last = known.batches.at(-1);
    const follows = last !== undefined && last.lastSequence >= 0 &&
      batch.baseSequence === (last.lastSequence + 1) % SEQUENCES;
    known.batches = [...(follows ? known.batches.slice(-4) : []), {
      baseSequence: batch.baseSequence,
      lastSequence: batch.baseSequence < 0
        ? -1
        : (batch.baseSequence + batch.lastOffsetDelta) % SEQUENCES,
      lastOffset: batch.baseOffset + batch.lastOffsetDelta,
      offsetDelta: batch.lastOffsetDelta,
      timestamp: batch.maxTimestamp,
    }];
    const isTransactional = (batch.attributes & TRANSACTIONAL_BIT) !== 0;
    if (isTransactional && known.openSince < 0) known.openSince = batch.baseOffset;
    return null;
  }

  #end(
    known: ModelProducer,
    batch: ProducerBatch,
    marker: TransactionMarker,
  ): CompletedTransaction | null {
    known.coordinatorEpoch = marker.coordinatorEpoch;
    const firstOffset = known.openSince;
    known.openSince = -1;
    if (firstOffset < 0) return null;
    this.ended.push({ first: firstOffset, last: batch.baseOffset });
    return {
      producerId: known.id,
      firstOffset,
      lastOffset: batch.baseOffset,
      isAborted: !marker.isCommit,
    };
  }
}

/** One seed: three partitions with one table of bounded size. */
export class ProducerRun {
  /** What has happened, so that a test can tell a life from a sleep. */
  readonly counts: Record<string, number> = {};
  readonly #random: SimRandom;
  readonly #capRows: number;
  readonly #table: ProducerTable;
  readonly #states: ProducerState[];
  readonly #models: ModelPartition[] = [];
  readonly #ends: number[] = [];
  readonly #highWatermarks: number[] = [];
  readonly #ids: number[];
  #nowMs = 1_000_000;
  #writes = 0;

  constructor(seed: number) {
    const random = new SimRandom(seed);
    this.#random = random;
    this.#capRows = random.pick([3, 8, 20, 1000]);
    this.#table = new ProducerTable({ capBytes: this.#capRows * 128, seed: random.uint32() });
    this.#states = Array.from({ length: PARTITIONS }, () => new ProducerState("p", this.#table));
    for (let i = 0; i < PARTITIONS; i++) this.#reset(i);
    const small = Array.from({ length: random.pick([3, 12, 60]) }, (_, id) => id);
    this.#ids = [...small, 2 ** 31, 2 ** 32 + 1, 2 ** 33 + 1, Number.MAX_SAFE_INTEGER];
  }

  #reset(partition: number): void {
    this.#models[partition] = new ModelPartition();
    this.#ends[partition] = 0;
    this.#highWatermarks[partition] = 0;
  }

  /** Errors: an assertion where the two part. */
  run(stepCount: number): void {
    for (let step = 0; step < stepCount; step++) {
      const partition = this.#random.below(PARTITIONS);
      const choice = this.#random.below(100);
      this.#nowMs += this.#random.between(-5, 20);
      if (choice < 88) this.#append(partition);
      else if (choice < 92) this.#expire();
      else if (choice < 96) this.#restart(partition);
      else if (choice < 97) this.#clear(partition);
      else {this.#highWatermarks[partition] = this.#random.between(
          this.#highWatermarks[partition]!,
          this.#ends[partition]!,
        );}
      this.#compare();
    }
  }

  #count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  #batch(partition: number, isMarker: boolean): ProducerBatch {
    const random = this.#random;
    const id = random.pick(this.#ids);
    const known = this.#models[partition]!.producers.get(id);
    const epoch = Math.max(0, known?.epoch ?? random.below(3));
    const past = known !== undefined && known.batches.length > 0 && random.chance(0.2)
      ? random.pick(known.batches)
      : null;
    const last = known?.batches.at(-1)?.lastSequence ?? -1;
    const isTransactional = isMarker || random.chance(known?.openSince === -1 ? 0.2 : 0.9);
    const lastOffsetDelta = isMarker ? 0 : past?.offsetDelta ?? random.below(4);
    const offset = this.#ends[partition]! + (random.chance(0.1) ? random.below(50) : 0);
    return {
      producerId: id,
      producerEpoch: random.chance(0.85) ? epoch : Math.max(0, epoch + random.between(-1, 1)),
      baseSequence: isMarker || random.chance(0.05) ? -1 : past?.baseSequence ?? random.pick([
        ...Array.from({ length: 6 }, () => (last + 1) % SEQUENCES),
        0,
        SEQUENCES - 1 - random.below(4),
        (last + 2) % SEQUENCES,
      ]),
      baseOffset: offset,
      lastOffsetDelta,
      maxTimestamp: random.chance(0.02) ? -1 : this.#nowMs + random.between(-900, 100),
      attributes: (isTransactional ? TRANSACTIONAL_BIT : 0) | (isMarker ? CONTROL_BIT : 0),
    };
  }

  #append(partition: number): void {
    const random = this.#random;
    const state = this.#states[partition]!;
    const model = this.#models[partition]!;
    const isMarker = random.chance(0.15);
    const batch = this.#batch(partition, isMarker);
    const marker = isMarker
      ? { isCommit: random.chance(0.5), coordinatorEpoch: random.below(4) }
      : null;
    const origin = isMarker || batch.baseSequence < 0
      ? random.pick(["coordinator", "replication"] as const)
      : random.pick(["client", "client", "client", "replication"] as const);
    if (origin === "client") {
      const expected = model.duplicate(batch);
      const found = state.findDuplicate(batch);
      assert.equal(found?.lastOffset, expected?.lastOffset, "duplicate");
      assert.equal(found?.timestamp, expected?.timestamp, "timestamp of a duplicate");
      if (found !== null) return this.#count("duplicates");
    }
    const expected = this.#isFullFor(batch, origin, model)
      ? ErrorCode.KAFKA_STORAGE_ERROR
      : model.check(batch, marker, origin);
    const refusal = state.check(batch, marker, { origin });
    assert.equal(refusal?.error ?? 0, expected, refusal?.message ?? "was not refused");
    if (refusal !== null) return this.#count(`refused with ${refusal.error}`);
    this.#makeRoom(batch, model);
    const completed = state.update(batch, marker);
    assert.deepEqual(completed, model.update(batch, marker, ++this.#writes));
    this.#ends[partition] = batch.baseOffset + batch.lastOffsetDelta + 1;
    this.#count(isMarker ? "markers" : "batches");
    if (completed === null) return;
    const stable = Math.min(...model.open(), completed.lastOffset + 1);
    assert.equal(state.lastStableOffsetAfter(completed), stable, "stable offset after a marker");
    this.#count("transactions");
  }

  #all(): { readonly model: ModelPartition; readonly producer: ModelProducer }[] {
    return this.#models.flatMap((model) =>
      [...model.producers.values()].map((producer) => ({ model, producer }))
    );
  }

  #isFullFor(batch: ProducerBatch, origin: AppendOrigin, model: ModelPartition): boolean {
    if (origin !== "client" || model.producers.has(batch.producerId)) return false;
    const all = this.#all();
    return all.length >= this.#capRows && all.every(({ producer }) => producer.openSince >= 0);
  }

  #makeRoom(batch: ProducerBatch, into: ModelPartition): void {
    const all = this.#all();
    if (into.producers.has(batch.producerId) || all.length < this.#capRows) return;
    const idle = all.filter(({ producer }) => producer.openSince < 0);
    const [oldest] = idle.sort((a, b) => a.producer.writtenAt - b.producer.writtenAt);
    if (oldest === undefined) return;
    oldest.model.producers.delete(oldest.producer.id);
    this.#count("forgotten");
  }

  #expire(): void {
    if (this.#random.chance(0.3)) this.#nowMs += this.#random.between(-5000, 1500);
    const times = { nowMs: this.#nowMs, expirationMs: EXPIRATION_MS };
    for (let row = 0; row >= 0;) row = this.#table.removeExpired(row, times);
    for (const { model, producer } of this.#all()) {
      if (!this.#isExpired(producer)) continue;
      model.producers.delete(producer.id);
      this.#count("expired");
    }
  }

  #isExpired({ openSince, lastTimestamp }: ModelProducer): boolean {
    return openSince < 0 && this.#nowMs - lastTimestamp >= EXPIRATION_MS;
  }

  /** What a restart keeps: a snapshot. It may hold more than there is room for. */
  #restart(partition: number): void {
    const state = this.#states[partition]!;
    if (this.#table.count > this.#capRows) return;
    const bytes = state.encodeSnapshot();
    loadWhole(state, bytes, { nowMs: this.#nowMs, expirationMs: EXPIRATION_MS });
    const before = this.#models[partition]!;
    const model = new ModelPartition();
    for (const producer of [...before.producers.values()]) {
      if (this.#isExpired(producer)) continue;
      const batches = producer.batches.slice(-1)
        .map((one) => ({ ...one, timestamp: producer.lastTimestamp }));
      model.producers.set(producer.id, { ...producer, batches });
    }
    this.#models[partition] = model;
    // They are taken for written in the order in which the snapshot has them.
    for (const { producerId } of snapshotEntries(bytes)) {
      const producer = model.producers.get(producerId);
      if (producer !== undefined) producer.writtenAt = ++this.#writes;
    }
    this.#count("restarts");
  }

  #clear(partition: number): void {
    this.#states[partition]!.clear();
    this.#reset(partition);
  }

  #compare(): void {
    assert.equal(this.#table.count, this.#all().length, "rows taken");
    this.#states.forEach((state, partition) => {
      const model = this.#models[partition]!;
      const found = [...state.entries()].sort((a, b) => a.producerId - b.producerId);
      const expected = [...model.producers.values()].sort((a, b) => a.id - b.id);
      assert.deepEqual(
        found,
        expected.map((one) => ({
          producerId: one.id,
          producerEpoch: one.epoch,
          coordinatorEpoch: one.coordinatorEpoch,
          lastTimestamp: one.lastTimestamp,
          currentTxnFirstOffset: one.openSince,
          lastSequence: one.batches.at(-1)?.lastSequence ?? -1,
        })),
      );
      const highWatermark = this.#highWatermarks[partition]!;
      const unstable = state.firstUnstableOffset(highWatermark);
      assert.equal(unstable, model.unstable(highWatermark), "first unstable offset");
      for (const id of this.#ids) assert.equal(state.entry(id) !== null, model.producers.has(id));
    });
  }
}
