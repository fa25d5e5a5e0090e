/**
 * What a partition knows of its idempotent and transactional producers.
 *
 * Per producer: its epoch and its last five batches, so that a batch that is sent again is answered with
 * the offset of the first time, a gap is refused, and a zombie of an older epoch is fenced. Plus the
 * transactions that are open here, from which the last stable offset follows.
 *
 *     nothing known ──data──→ known ──data in sequence──→ known
 *                               │  older epoch: INVALID_PRODUCER_EPOCH
 *                               │  one of the last five batches: duplicate
 *                               └  gap: OUT_OF_ORDER_SEQUENCE_NUMBER
 *
 * A producer that is not known (expired, forgotten for want of room, or its records are deleted) may start
 * at any sequence, as in Kafka since 2.5: nobody answers UNKNOWN_PRODUCER_ID any more. Checks change
 * nothing; `update` is called once the batch is written. Snapshots hold the last batch of each producer.
 *
 * All of it lies in the rows of a table that every partition of the node shares (`producer_table.ts`).
 * Batches that do not follow one another, as a log may hold them where the producer was forgotten between
 * them, are not remembered together: whoever sends the earlier ones again is out of order.
 *
 * Source: KIP-98, KIP-360, KIP-890; Kafka's ProducerStateManager, ProducerAppendInfo.
 */

import { WireError } from "../protocol/bytes.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { isControl, isTransactional } from "../protocol/record_batch.ts";
import { ProducerIndex } from "./producer_index.ts";
import { type SnapshotEntry, SnapshotReader } from "./producer_snapshot.ts";
import {
  AGE,
  COORDINATOR_EPOCH,
  EPOCH_AND_COUNT,
  HISTORY,
  INTS_PER_BATCH,
  LAST_OFFSET,
  LAST_SEQUENCE,
  LAST_TIMESTAMP,
  OFFSET_DELTA,
  PRODUCER_ID,
  ProducerTable,
  RowList,
  type RowOwner,
  TXN_FIRST_OFFSET,
} from "./producer_table.ts";
import { SnapshotInProgress } from "./snapshot_in_progress.ts";
import { UnreplicatedTransactions } from "./unreplicated_transactions.ts";

/** Batches remembered per producer; the same number as a client may have in flight. */
export const MAX_BATCHES_PER_PRODUCER = 5;
const MAX_SEQUENCE = 0x7fff_ffff;
const MAX_INT32 = 0x7fff_ffff;
const MAX_OFFSET_GAP = 0xffff_ffff;
const NO_ROWS = new Int32Array(0);
/** Entries of a snapshot loaded in one go: a millisecond. */
const ENTRIES_PER_SLICE = 2048;
const COUNT_MASK = 7;
const COUNT_BITS = 3;
/** The transaction protocol in which the coordinator raises the epoch before it writes a marker (KIP-890). */
const EPOCH_BUMPING_VERSION = 2;

/** Who appends: decides how much of a batch is checked. */
export type AppendOrigin = "client" | "coordinator" | "raft" | "replication";

/** What the state needs to know of a batch: a part of its header. */
export interface ProducerBatch {
  /** Not negative. */
  readonly producerId: number;
  readonly producerEpoch: number;
  /** −1 for batches without sequence numbers, such as offsets committed in a transaction. */
  readonly baseSequence: number;
  readonly baseOffset: number;
  readonly lastOffsetDelta: number;
  readonly maxTimestamp: number;
  readonly attributes: number;
}

/** A commit or abort marker. */
export interface TransactionMarker {
  readonly isCommit: boolean;
  readonly coordinatorEpoch: number;
}

/**
 * What is known of a transactional batch that would be the first of its transaction here: a log takes it only
 * where the coordinator of the transaction knows that the transaction is here, and so will end it (KIP-890).
 */
export interface Verification {
  /** The coordinator has said so, and no marker was written since it was asked. */
  readonly isVerified: boolean;
  /** The lowest sequence that was asked for: those above wait until it is tried again; −1 for none. */
  readonly lowestSequence: number;
  /** True where every epoch begins with sequence 0, so that a producer that is not known cannot be further. */
  readonly startsAtZero: boolean;
}

/** A batch of the past. */
export interface BatchMetadata {
  readonly lastSequence: number;
  readonly lastOffset: number;
  readonly offsetDelta: number;
  readonly timestamp: number;
}

/** State of one producer, as it was at one moment. */
export interface ProducerEntry {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly coordinatorEpoch: number;
  readonly lastTimestamp: number;
  /** −1 when no transaction is open. */
  readonly currentTxnFirstOffset: number;
  /** −1 when no batch of this epoch is known. */
  readonly lastSequence: number;
}

/** A transaction that its marker has ended. */
export interface CompletedTransaction {
  readonly producerId: number;
  readonly firstOffset: number;
  readonly lastOffset: number;
  readonly isAborted: boolean;
}

/** Where each producer's newest batch ends, side by side. */
export interface LastBatches {
  readonly producerIds: Float64Array;
  readonly producerEpochs: Int16Array;
  /** −1 where only a marker of this epoch is known. */
  readonly lastOffsets: Float64Array;
}

/** Why a batch is refused. */
export interface ProducerRefusal {
  readonly error: ErrorCode;
  readonly message: string;
}

/** The sequence number `by` after `sequence`; wraps past 2^31 − 1 to 0. */
export function incrementSequence(sequence: number, by: number): number {
  return sequence > MAX_SEQUENCE - by ? by - (MAX_SEQUENCE - sequence) - 1 : sequence + by;
}

/** The sequence number `by` before `sequence`. */
export function decrementSequence(sequence: number, by: number): number {
  return sequence < by ? MAX_SEQUENCE - (by - sequence) + 1 : sequence - by;
}

/** Sequence number of the batch's last record; −1 when it has none. */
export function lastSequenceOf(batch: ProducerBatch): number {
  if (batch.baseSequence < 0) return -1;
  return incrementSequence(batch.baseSequence, batch.lastOffsetDelta);
}

/** The producers of one partition. */
export class ProducerState implements RowOwner {
  readonly #name: string;
  readonly #table: ProducerTable;
  /** Null, as the two below, while there is nothing to hold. */
  #index: ProducerIndex | null = null;
  #ownerNumber = -1;
  /** The newest one, while rows must not change unseen. */
  #snapshot: SnapshotInProgress | null = null;
  /** An append asks for the same producer three times. */
  #recentRow = -1;
  /** Producers with an open transaction, in the order of its start. */
  #open: RowList | null = null;
  #unreplicated: UnreplicatedTransactions | null = null;

  /** `name` is the partition, for error texts. */
  constructor(name: string, table: ProducerTable = new ProducerTable()) {
    this.#name = name;
    this.#table = table;
  }

  /** Producers that are known. */
  get count(): number {
    return this.#index?.count ?? 0;
  }

  /** Every producer that is known, in no order. Nothing may be updated meanwhile. */
  *entries(): Generator<ProducerEntry, void, void> {
    for (const row of this.#rows()) yield this.#entryAt(row);
  }

  #rows(): Int32Array {
    return this.#index === null ? NO_ROWS : this.#index.rows();
  }

  entry(producerId: number): ProducerEntry | null {
    const row = this.#find(producerId);
    return row < 0 ? null : this.#entryAt(row);
  }

  /** Row of the producer, −1 when it is not known. */
  #find(producerId: number): number {
    if (this.#index === null) return -1;
    if (this.#recentRow >= 0 && this.#table.producerId(this.#recentRow) === producerId) {
      return this.#recentRow;
    }
    return this.#recentRow = this.#index.find(producerId);
  }

  #entryAt(row: number): ProducerEntry {
    const table = this.#table;
    const floats = table.floats(row);
    const ints = table.ints(row);
    const floatsAt = table.floatsAt(row);
    const intsAt = table.intsAt(row);
    return {
      producerId: floats[floatsAt + PRODUCER_ID]!,
      producerEpoch: ints[intsAt + EPOCH_AND_COUNT]! >> COUNT_BITS,
      coordinatorEpoch: ints[intsAt + COORDINATOR_EPOCH]!,
      lastTimestamp: floats[floatsAt + LAST_TIMESTAMP]!,
      currentTxnFirstOffset: floats[floatsAt + TXN_FIRST_OFFSET]!,
      lastSequence: ints[intsAt + LAST_SEQUENCE]!,
    };
  }

  /** The batch of the past that this one repeats, or null. */
  findDuplicate(batch: ProducerBatch): BatchMetadata | null {
    const row = this.#find(batch.producerId);
    if (row < 0) return null;
    const table = this.#table;
    const ints = table.ints(row);
    const intsAt = table.intsAt(row);
    const epochAndCount = ints[intsAt + EPOCH_AND_COUNT]!;
    if (epochAndCount >> COUNT_BITS !== batch.producerEpoch) return null;
    let lastSequence = ints[intsAt + LAST_SEQUENCE]!;
    // Nearly always so: five batches are too few to come round to the same number.
    if (batch.baseSequence === incrementSequence(lastSequence, 1)) return null;
    const wanted = lastSequenceOf(batch);
    let offsetDelta = ints[intsAt + OFFSET_DELTA]!;
    for (let index = 0; index < (epochAndCount & COUNT_MASK); index++) {
      if (index > 0) {
        lastSequence = decrementSequence(lastSequence, offsetDelta + 1);
        offsetDelta = ints[intsAt + HISTORY + (index - 1) * INTS_PER_BATCH]!;
      }
      if (
        lastSequence === wanted && offsetDelta === batch.lastOffsetDelta
      ) return this.#batchAt(row, index, lastSequence);
    }
    return null;
  }

  /** The batch `index` before the newest. */
  #batchAt(row: number, index: number, lastSequence: number): BatchMetadata {
    const table = this.#table;
    const floats = table.floats(row);
    const ints = table.ints(row);
    const floatsAt = table.floatsAt(row);
    const intsAt = table.intsAt(row);
    let lastOffset = floats[floatsAt + LAST_OFFSET]!;
    let timestamp = floats[floatsAt + LAST_TIMESTAMP]! - ints[intsAt + AGE]!;
    let offsetDelta = ints[intsAt + OFFSET_DELTA]!;
    for (let at = 0; at < index * INTS_PER_BATCH; at += INTS_PER_BATCH) {
      offsetDelta = ints[intsAt + HISTORY + at]!;
      lastOffset -= ints[intsAt + HISTORY + at + 1]! >>> 0;
      timestamp -= ints[intsAt + HISTORY + at + 2]!;
    }
    return { lastSequence, lastOffset, offsetDelta, timestamp };
  }

  /**
   * Null when the batch may be appended. `marker` is what a control batch says, null for any other.
   * `transactionVersion` is that of the coordinator that writes a marker. Without a `verification` transactional
   * batches are taken as they come.
   */
  check(
    batch: ProducerBatch,
    marker: TransactionMarker | null,
    { origin, transactionVersion = 0, verification }: {
      readonly origin: AppendOrigin;
      readonly transactionVersion?: number;
      readonly verification?: Verification | undefined;
    },
  ): ProducerRefusal | null {
    if (origin === "replication" || origin === "raft") return null;
    const row = this.#find(batch.producerId);
    if (verification !== undefined && marker === null && isTransactional(batch.attributes)) {
      const refusal = this.#checkVerification(batch, row, verification);
      if (refusal !== null) return refusal;
    }
    if (row < 0) return origin === "client" && this.#table.isFull ? this.#refuseNew(batch) : null;
    const ints = this.#table.ints(row);
    const at = this.#table.intsAt(row);
    if (marker !== null) {
      return this.#checkMarkerEpoch(batch, row, transactionVersion) ??
        this.#checkCoordinator(batch, marker, ints[at + COORDINATOR_EPOCH]!);
    }
    const epoch = ints[at + EPOCH_AND_COUNT]! >> COUNT_BITS;
    if (batch.producerEpoch < epoch) return this.#refuseEpoch(batch, `is older than ${epoch}`);
    if (origin === "client") {
      const refusal = this.#checkSequence(batch, epoch, ints[at + LAST_SEQUENCE]!);
      if (refusal !== null) return refusal;
    }
    const openSince = this.#openSince(row);
    if (openSince >= 0 && !isTransactional(batch.attributes)) {
      return this.#refuse(
        ErrorCode.INVALID_TXN_STATE,
        batch,
        `it is not transactional, and a transaction is open since offset ${openSince}`,
      );
    }
    return null;
  }

  /** True when the batch is the one that has to come next from its producer, or the first one of an epoch. */
  isContinuedBy(batch: ProducerBatch): boolean {
    const row = this.#find(batch.producerId);
    if (row < 0) return batch.baseSequence === 0;
    const ints = this.#table.ints(row);
    const at = this.#table.intsAt(row);
    const epoch = ints[at + EPOCH_AND_COUNT]! >> COUNT_BITS;
    if (epoch < 0 || batch.producerEpoch > epoch) return batch.baseSequence === 0;
    return this.#checkSequence(batch, epoch, ints[at + LAST_SEQUENCE]!) === null;
  }

  /** True when the producer has a transaction open here, under this epoch. */
  hasOpenTransaction(producerId: number, producerEpoch: number): boolean {
    return this.#isOpen(this.#find(producerId), producerEpoch);
  }

  #isOpen(row: number, producerEpoch: number): boolean {
    if (row < 0 || this.#openSince(row) < 0) return false;
    const epoch = this.#table.ints(row)[this.#table.intsAt(row) + EPOCH_AND_COUNT]! >> COUNT_BITS;
    return epoch === producerEpoch;
  }

  /** Nobody is asked about an open transaction: its first batch was verified, and no marker has come since. */
  #checkVerification(
    batch: ProducerBatch,
    row: number,
    { isVerified, lowestSequence, startsAtZero }: Verification,
  ): ProducerRefusal | null {
    if (this.#isOpen(row, batch.producerEpoch)) return null;
    if (!isVerified) {
      const found = "it is of no transaction that its coordinator is known to have here";
      return this.#refuse(ErrorCode.INVALID_TXN_STATE, batch, found);
    }
    const { baseSequence } = batch;
    const isTooFar = startsAtZero && row < 0 && baseSequence > 0;
    if (!isTooFar && (lowestSequence < 0 || baseSequence <= lowestSequence)) return null;
    const expected = isTooFar ? 0 : lowestSequence;
    const found = `sequence ${baseSequence} came before ${expected} was taken`;
    return this.#refuse(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, batch, found);
  }

  #openSince(row: number): number {
    return this.#table.floats(row)[this.#table.floatsAt(row) + TXN_FIRST_OFFSET]!;
  }

  /**
   * With the newer transaction protocol a marker comes with a raised epoch, so that one of the last
   * transaction cannot end this one. The same epoch again, with nothing open, is the same marker again.
   */
  #checkMarkerEpoch(
    batch: ProducerBatch,
    row: number,
    transactionVersion: number,
  ): ProducerRefusal | null {
    const epoch = this.#table.ints(row)[this.#table.intsAt(row) + EPOCH_AND_COUNT]! >> COUNT_BITS;
    if (batch.producerEpoch < epoch) return this.#refuseEpoch(batch, `is older than ${epoch}`);
    const isBumped = batch.producerEpoch > epoch || transactionVersion < EPOCH_BUMPING_VERSION;
    if (isBumped || this.#openSince(row) < 0) return null;
    return this.#refuseEpoch(
      batch,
      "is that of the open transaction, which ends with the next one",
    );
  }

  #checkCoordinator(
    batch: ProducerBatch,
    marker: TransactionMarker,
    coordinatorEpoch: number,
  ): ProducerRefusal | null {
    if (coordinatorEpoch <= marker.coordinatorEpoch) return null;
    return this.#refuse(
      ErrorCode.TRANSACTION_COORDINATOR_FENCED,
      batch,
      `coordinator epoch ${marker.coordinatorEpoch} is older than ${coordinatorEpoch}`,
    );
  }

  #checkSequence(
    batch: ProducerBatch,
    epoch: number,
    lastSequence: number,
  ): ProducerRefusal | null {
    const { baseSequence } = batch;
    if (epoch < 0) return null;
    if (batch.producerEpoch !== epoch) {
      if (baseSequence === 0) return null;
      return this.#refuse(
        ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
        batch,
        `sequence ${baseSequence} cannot start epoch ${batch.producerEpoch}`,
      );
    }
    if (baseSequence === incrementSequence(lastSequence, 1)) return null;
    return this.#refuse(
      ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
      batch,
      `sequence ${baseSequence} does not follow ${lastSequence}`,
    );
  }

  #refuseEpoch(batch: ProducerBatch, found: string): ProducerRefusal {
    const epoch = batch.producerEpoch;
    return this.#refuse(ErrorCode.INVALID_PRODUCER_EPOCH, batch, `epoch ${epoch} ${found}`);
  }

  #refuseNew(batch: ProducerBatch): ProducerRefusal {
    const found = "all that weir.producer.state.bytes allows have a transaction open";
    return this.#refuse(ErrorCode.KAFKA_STORAGE_ERROR, batch, found);
  }

  #refuse(error: ErrorCode, batch: ProducerBatch, found: string): ProducerRefusal {
    const message = `Cannot append to ${this.#name} for producer ${batch.producerId}: ${found}`;
    return { error, message };
  }

  /**
   * Takes note of a batch that was written; a control batch without a marker says nothing of its producer.
   * Returns: the transaction that it ended, or null.
   */
  update(batch: ProducerBatch, marker: TransactionMarker | null): CompletedTransaction | null {
    if (marker === null && isControl(batch.attributes)) return null;
    let row = this.#find(batch.producerId);
    const isNew = row < 0;
    if (isNew) row = this.#take(batch.producerId);
    else this.#beforeChange(row);
    const wasOpen = this.#openSince(row) >= 0;
    let completed: CompletedTransaction | null = null;
    if (marker === null) this.#noteBatch(row, batch);
    else completed = this.#noteMarker(row, batch, marker);
    const isOpen = this.#openSince(row) >= 0;
    if (isOpen && wasOpen) return completed;
    if (wasOpen) this.#open!.remove(row);
    else if (!isNew) {
      if (!isOpen && this.#table.idle.newest === row) return completed;
      this.#table.idle.remove(row);
    }
    if (isOpen) this.#open ??= new RowList(this.#table);
    const list = isOpen ? this.#open! : this.#table.idle;
    list.append(row);
    return completed;
  }

  #take(producerId: number): number {
    // First, since it may make this very partition forget its last producer.
    this.#table.makeRoom();
    if (this.#ownerNumber < 0) this.#ownerNumber = this.#table.register(this);
    this.#index ??= new ProducerIndex(this.#table);
    const row = this.#table.take(producerId, this.#ownerNumber);
    this.#index.add(row);
    return row;
  }

  #noteBatch(row: number, batch: ProducerBatch): void {
    const table = this.#table;
    const floats = table.floats(row);
    const ints = table.ints(row);
    const floatsAt = table.floatsAt(row);
    const intsAt = table.intsAt(row);
    const epochAndCount = ints[intsAt + EPOCH_AND_COUNT]!;
    const lastOffset = batch.baseOffset + batch.lastOffsetDelta;
    const gap = lastOffset - floats[floatsAt + LAST_OFFSET]!;
    const lastSequence = ints[intsAt + LAST_SEQUENCE]!;
    let count = epochAndCount & COUNT_MASK;
    const follows = epochAndCount >> COUNT_BITS === batch.producerEpoch && lastSequence >= 0 &&
      batch.baseSequence === incrementSequence(lastSequence, 1) &&
      gap > 0 && gap <= MAX_OFFSET_GAP;
    if (count > 0 && follows) {
      const history = intsAt + HISTORY;
      const keptInts = INTS_PER_BATCH * (MAX_BATCHES_PER_PRODUCER - 2);
      for (let at = history + keptInts - 1; at >= history; at--) {
        ints[at + INTS_PER_BATCH] = ints[at]!;
      }
      ints[history] = ints[intsAt + OFFSET_DELTA]!;
      ints[history + 1] = gap;
      const timestamp = floats[floatsAt + LAST_TIMESTAMP]! - ints[intsAt + AGE]!;
      ints[history + 2] = clampToInt32(batch.maxTimestamp - timestamp);
      if (count < MAX_BATCHES_PER_PRODUCER) count++;
    } else count = 1;
    ints[intsAt + EPOCH_AND_COUNT] = (batch.producerEpoch << COUNT_BITS) | count;
    ints[intsAt + LAST_SEQUENCE] = lastSequenceOf(batch);
    ints[intsAt + OFFSET_DELTA] = batch.lastOffsetDelta;
    ints[intsAt + AGE] = 0;
    floats[floatsAt + LAST_OFFSET] = lastOffset;
    floats[floatsAt + LAST_TIMESTAMP] = batch.maxTimestamp;
    if (isTransactional(batch.attributes) && floats[floatsAt + TXN_FIRST_OFFSET]! < 0) {
      floats[floatsAt + TXN_FIRST_OFFSET] = batch.baseOffset;
    }
  }

  /**
   * Takes note of a batch that came right before the oldest one that is known of its producer: a snapshot
   * holds the newest alone. Any other batch says nothing new.
   */
  recall(batch: ProducerBatch): void {
    const row = isControl(batch.attributes) ? -1 : this.#find(batch.producerId);
    if (row < 0) return;
    const ints = this.#table.ints(row);
    const intsAt = this.#table.intsAt(row);
    const epochAndCount = ints[intsAt + EPOCH_AND_COUNT]!;
    const count = epochAndCount & COUNT_MASK;
    let lastSequence = ints[intsAt + LAST_SEQUENCE]!;
    const isKnown = count > 0 && count < MAX_BATCHES_PER_PRODUCER && lastSequence >= 0;
    if (!isKnown || epochAndCount >> COUNT_BITS !== batch.producerEpoch) return;
    for (let index = 0; index < count; index++) {
      const at = index === 0 ? OFFSET_DELTA : HISTORY + (index - 1) * INTS_PER_BATCH;
      lastSequence = decrementSequence(lastSequence, ints[intsAt + at]! + 1);
    }
    const oldest = this.#batchAt(row, count - 1, -1);
    const gap = oldest.lastOffset - batch.baseOffset - batch.lastOffsetDelta;
    if (lastSequenceOf(batch) !== lastSequence || gap <= 0 || gap > MAX_OFFSET_GAP) return;
    const history = intsAt + HISTORY + (count - 1) * INTS_PER_BATCH;
    ints[history] = batch.lastOffsetDelta;
    ints[history + 1] = gap;
    ints[history + 2] = clampToInt32(oldest.timestamp - batch.maxTimestamp);
    ints[intsAt + EPOCH_AND_COUNT] = epochAndCount + 1;
  }

  #noteMarker(
    row: number,
    batch: ProducerBatch,
    marker: TransactionMarker,
  ): CompletedTransaction | null {
    const table = this.#table;
    const floats = table.floats(row);
    const ints = table.ints(row);
    const floatsAt = table.floatsAt(row);
    const intsAt = table.intsAt(row);
    if (ints[intsAt + EPOCH_AND_COUNT]! >> COUNT_BITS !== batch.producerEpoch) {
      ints[intsAt + EPOCH_AND_COUNT] = batch.producerEpoch << COUNT_BITS;
      ints[intsAt + LAST_SEQUENCE] = -1;
      ints[intsAt + OFFSET_DELTA] = 0;
      floats[floatsAt + LAST_OFFSET] = -1;
    }
    const timestamp = floats[floatsAt + LAST_TIMESTAMP]! - ints[intsAt + AGE]!;
    ints[intsAt + AGE] = clampToInt32(batch.maxTimestamp - timestamp);
    floats[floatsAt + LAST_TIMESTAMP] = batch.maxTimestamp;
    ints[intsAt + COORDINATOR_EPOCH] = marker.coordinatorEpoch;
    const firstOffset = floats[floatsAt + TXN_FIRST_OFFSET]!;
    if (firstOffset < 0) return null;
    floats[floatsAt + TXN_FIRST_OFFSET] = -1;
    const { producerId, baseOffset: lastOffset } = batch;
    this.#unreplicated ??= new UnreplicatedTransactions();
    this.#unreplicated.add(firstOffset, lastOffset);
    return { producerId, firstOffset, lastOffset, isAborted: !marker.isCommit };
  }

  /** First offset of the oldest transaction that is open or ended above the high watermark, or −1. */
  firstUnstableOffset(highWatermark: number): number {
    const open = this.#firstOpenOffset();
    const ended = this.#unreplicated === null ? -1 : this.#unreplicated.firstOffset(highWatermark);
    if (open < 0 || ended < 0) return Math.max(open, ended);
    return Math.min(open, ended);
  }

  #firstOpenOffset(): number {
    const row = this.#open === null ? -1 : this.#open.oldest;
    return row < 0 ? -1 : this.#openSince(row);
  }

  /** When the oldest open transaction was last written to, by its records' own time; −1 while none is open. */
  get oldestTransactionMs(): number {
    const row = this.#open === null ? -1 : this.#open.oldest;
    return row < 0 ? -1 : this.#table.floats(row)[this.#table.floatsAt(row) + LAST_TIMESTAMP]!;
  }

  /** What the last stable offset is once `completed` has ended, for the transaction index. */
  lastStableOffsetAfter(completed: CompletedTransaction): number {
    const open = this.#firstOpenOffset();
    return open < 0 ? completed.lastOffset + 1 : open;
  }

  /** Where each producer's newest batch ends: what compaction must keep, for the sequence to go on. */
  lastBatches(): LastBatches {
    const producerIds = new Float64Array(this.count);
    const producerEpochs = new Int16Array(this.count);
    const lastOffsets = new Float64Array(this.count);
    let at = 0;
    for (const row of this.#rows()) {
      const entry = this.#entryAt(row);
      producerIds[at] = entry.producerId;
      producerEpochs[at] = entry.producerEpoch;
      lastOffsets[at++] = this.#table.floats(row)[this.#table.floatsAt(row) + LAST_OFFSET]!;
    }
    return { producerIds, producerEpochs, lastOffsets };
  }

  forgetRow(row: number): void {
    this.#beforeChange(row);
    this.#recentRow = -1;
    const list = this.#openSince(row) >= 0 ? this.#open! : this.#table.idle;
    list.remove(row);
    this.#index!.remove(row);
    this.#table.giveBack(row);
    if (this.#index!.count === 0) this.#leave();
  }

  #leave(): void {
    this.#table.unregister(this.#ownerNumber);
    this.#ownerNumber = -1;
    this.#recentRow = -1;
    this.#index = null;
    this.#open = null;
  }

  /** Forgets everything. */
  clear(): void {
    this.#snapshot?.finish();
    this.#snapshot = null;
    this.#unreplicated = null;
    if (this.#index === null) return;
    const rows = this.#rows();
    for (let index = 0; index < rows.length; index++) {
      const row = rows[index]!;
      if (this.#openSince(row) < 0) this.#table.idle.remove(row);
      this.#table.giveBack(row);
    }
    this.#leave();
  }

  /** Begins a snapshot of this moment, which stays of this moment whatever follows. */
  beginSnapshot(): SnapshotInProgress {
    this.#snapshot?.finish();
    const snapshot = new SnapshotInProgress(this.#rows(), (row) => this.#snapshotEntry(row));
    this.#snapshot = snapshot.isWhole ? null : snapshot;
    return snapshot;
  }

  /** The bytes of a snapshot. */
  encodeSnapshot(): Uint8Array {
    return this.beginSnapshot().finish();
  }

  #snapshotEntry(row: number): SnapshotEntry {
    const table = this.#table;
    const floats = table.floats(row);
    const ints = table.ints(row);
    const floatsAt = table.floatsAt(row);
    const intsAt = table.intsAt(row);
    return {
      producerId: floats[floatsAt + PRODUCER_ID]!,
      producerEpoch: ints[intsAt + EPOCH_AND_COUNT]! >> COUNT_BITS,
      lastSequence: ints[intsAt + LAST_SEQUENCE]!,
      lastOffset: floats[floatsAt + LAST_OFFSET]!,
      offsetDelta: ints[intsAt + OFFSET_DELTA]!,
      lastTimestamp: floats[floatsAt + LAST_TIMESTAMP]!,
      coordinatorEpoch: ints[intsAt + COORDINATOR_EPOCH]!,
      currentTxnFirstOffset: floats[floatsAt + TXN_FIRST_OFFSET]!,
    };
  }

  #beforeChange(row: number): void {
    if (this.#snapshot === null) return;
    if (this.#snapshot.isWhole) this.#snapshot = null;
    else this.#snapshot.beforeChange(row);
  }

  /**
   * Replaces the state by a snapshot's; producers that expired meanwhile stay out. Lets go after each slice,
   * so that the loop may go on: the state is whole when it is done.
   * Errors: WireError when the snapshot is damaged; the state is then empty.
   */
  *loadSnapshot(
    bytes: Uint8Array,
    { nowMs, expirationMs }: { readonly nowMs: number; readonly expirationMs: number },
  ): Generator<void, void, void> {
    this.clear();
    try {
      yield* this.#load(new SnapshotReader(bytes), nowMs - expirationMs);
    } catch (failure) {
      this.clear();
      throw failure;
    }
  }

  *#load(reader: SnapshotReader, silentSinceMs: number): Generator<void, void, void> {
    const open: number[] = [];
    for (let count = 1; reader.next(); count++) {
      if (count % ENTRIES_PER_SLICE === 0) yield;
      const isOpen = reader.currentTxnFirstOffset >= 0;
      if (!isOpen && reader.lastTimestamp <= silentSinceMs) continue;
      if (this.#find(reader.producerId) >= 0) {
        throw new WireError(`Cannot read producer snapshot: it has ${reader.producerId} twice`);
      }
      const row = this.#take(reader.producerId);
      this.#fill(row, reader);
      if (isOpen) open.push(row);
      else this.#table.idle.append(row);
    }
    if (open.length === 0) return;
    open.sort((a, b) => this.#openSince(a) - this.#openSince(b));
    this.#open = new RowList(this.#table);
    for (const row of open) this.#open.append(row);
  }

  #fill(row: number, entry: SnapshotEntry): void {
    const floats = this.#table.floats(row);
    const ints = this.#table.ints(row);
    const floatsAt = this.#table.floatsAt(row);
    const intsAt = this.#table.intsAt(row);
    const { currentTxnFirstOffset, lastOffset, producerEpoch } = entry;
    const batchCount = lastOffset >= 0 ? 1 : 0;
    floats[floatsAt + LAST_TIMESTAMP] = entry.lastTimestamp;
    floats[floatsAt + TXN_FIRST_OFFSET] = currentTxnFirstOffset >= 0 ? currentTxnFirstOffset : -1;
    floats[floatsAt + LAST_OFFSET] = batchCount === 0 ? -1 : lastOffset;
    ints[intsAt + EPOCH_AND_COUNT] = (producerEpoch << COUNT_BITS) | batchCount;
    ints[intsAt + COORDINATOR_EPOCH] = entry.coordinatorEpoch;
    ints[intsAt + LAST_SEQUENCE] = batchCount === 0 ? -1 : entry.lastSequence;
    ints[intsAt + OFFSET_DELTA] = batchCount === 0 ? 0 : entry.offsetDelta;
  }
}

function clampToInt32(value: number): number {
  return Math.max(-MAX_INT32, Math.min(MAX_INT32, value));
}
