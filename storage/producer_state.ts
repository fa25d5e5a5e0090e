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
 * A producer that is not known (expired, or its records are deleted) may start at any sequence, as in
 * Kafka since 2.5: nobody answers UNKNOWN_PRODUCER_ID any more. Checks change nothing; `update` is called
 * once the batch is written. Snapshots hold the last batch of each producer.
 *
 *     snapshot: version int16 (1) | crc uint32, CRC-32C of what follows | count int32 | entries
 *     entry:    producerId int64 | epoch int16 | lastSequence int32 | lastOffset int64 | offsetDelta int32
 *               | timestamp int64 | coordinatorEpoch int32 | currentTxnFirstOffset int64
 *
 * Source: KIP-98, KIP-360, KIP-890; Kafka's ProducerStateManager, ProducerAppendInfo.
 */

import { Reader, WireError, Writer } from "../protocol/bytes.ts";
import { crc32c } from "../protocol/crc32c.ts";
import { ErrorCode } from "../protocol/errors.ts";

/** Batches remembered per producer; the same number as a client may have in flight. */
export const MAX_BATCHES_PER_PRODUCER = 5;
const MAX_SEQUENCE = 0x7fff_ffff;
const SNAPSHOT_VERSION = 1;
const SNAPSHOT_CRC_AT = 2;
const SNAPSHOT_ENTRIES_AT = 6;

/** Who appends: decides how much of a batch is checked. */
export type AppendOrigin = "client" | "coordinator" | "raft" | "replication";

/** What the state needs to know of a batch. */
export interface ProducerBatch {
  readonly producerId: number;
  readonly producerEpoch: number;
  /** −1 for batches without sequence numbers, such as offsets committed in a transaction. */
  readonly baseSequence: number;
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly maxTimestamp: number;
  readonly isTransactional: boolean;
  /** Set for a control batch that ends a transaction. */
  readonly marker: TransactionMarker | null;
}

/** A commit or abort marker. */
export interface TransactionMarker {
  readonly isCommit: boolean;
  readonly coordinatorEpoch: number;
}

/** A batch of the past. */
export interface BatchMetadata {
  readonly lastSequence: number;
  readonly lastOffset: number;
  readonly offsetDelta: number;
  readonly timestamp: number;
}

/** State of one producer. `batches` is oldest first. */
export interface ProducerEntry {
  readonly producerId: number;
  producerEpoch: number;
  coordinatorEpoch: number;
  lastTimestamp: number;
  /** −1 when no transaction is open. */
  currentTxnFirstOffset: number;
  batches: BatchMetadata[];
}

/** A transaction that its marker has ended. */
export interface CompletedTransaction {
  readonly producerId: number;
  readonly firstOffset: number;
  readonly lastOffset: number;
  readonly isAborted: boolean;
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
  return incrementSequence(batch.baseSequence, batch.lastOffset - batch.baseOffset);
}

/** The producers of one partition. */
export class ProducerState {
  readonly #name: string;
  readonly #entries = new Map<number, ProducerEntry>();
  /** First offsets of the open transactions by producer, in the order of their start. */
  readonly #ongoing = new Map<number, number>();
  /** Ended transactions whose marker may still lie above the high watermark. */
  #unreplicated: CompletedTransaction[] = [];

  /** `name` is the partition, for error texts. */
  constructor(name: string) {
    this.#name = name;
  }

  /** Producers that are known. */
  get count(): number {
    return this.#entries.size;
  }

  /** Every producer that is known. */
  entries(): Iterable<ProducerEntry> {
    return this.#entries.values();
  }

  entry(producerId: number): ProducerEntry | undefined {
    return this.#entries.get(producerId);
  }

  /** The batch of the past that this one repeats, or null. */
  findDuplicate(batch: ProducerBatch): BatchMetadata | null {
    const entry = this.#entries.get(batch.producerId);
    if (entry === undefined || entry.producerEpoch !== batch.producerEpoch) return null;
    const lastSequence = lastSequenceOf(batch);
    for (const known of entry.batches) {
      if (
        known.lastSequence === lastSequence &&
        decrementSequence(known.lastSequence, known.offsetDelta) === batch.baseSequence
      ) return known;
    }
    return null;
  }

  /** Null when the batch may be appended. */
  check(batch: ProducerBatch, origin: AppendOrigin): ProducerRefusal | null {
    if (origin === "replication" || origin === "raft") return null;
    const entry = this.#entries.get(batch.producerId);
    if (entry === undefined) return null;
    if (batch.producerEpoch < entry.producerEpoch) {
      return this.#refuse(
        ErrorCode.INVALID_PRODUCER_EPOCH,
        batch,
        `epoch ${batch.producerEpoch} is older than ${entry.producerEpoch}`,
      );
    }
    if (batch.marker !== null) return this.#checkMarker(batch, batch.marker, entry);
    if (origin === "client") {
      const refusal = this.#checkSequence(batch, entry);
      if (refusal !== null) return refusal;
    }
    if (entry.currentTxnFirstOffset >= 0 && !batch.isTransactional) {
      return this.#refuse(
        ErrorCode.INVALID_TXN_STATE,
        batch,
        `it is not transactional, and a transaction is open since offset ${entry.currentTxnFirstOffset}`,
      );
    }
    return null;
  }

  #checkMarker(
    batch: ProducerBatch,
    marker: TransactionMarker,
    entry: ProducerEntry,
  ): ProducerRefusal | null {
    if (entry.coordinatorEpoch <= marker.coordinatorEpoch) return null;
    return this.#refuse(
      ErrorCode.TRANSACTION_COORDINATOR_FENCED,
      batch,
      `coordinator epoch ${marker.coordinatorEpoch} is older than ${entry.coordinatorEpoch}`,
    );
  }

  #checkSequence(batch: ProducerBatch, entry: ProducerEntry): ProducerRefusal | null {
    const { baseSequence } = batch;
    if (entry.producerEpoch < 0) return null;
    if (batch.producerEpoch !== entry.producerEpoch) {
      if (baseSequence === 0) return null;
      return this.#refuse(
        ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
        batch,
        `sequence ${baseSequence} cannot start epoch ${batch.producerEpoch}`,
      );
    }
    const lastSequence = entry.batches.at(-1)?.lastSequence ?? -1;
    const isNext = baseSequence === lastSequence + 1 ||
      (baseSequence === 0 && lastSequence === MAX_SEQUENCE);
    if (isNext) return null;
    return this.#refuse(
      ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
      batch,
      `sequence ${baseSequence} does not follow ${lastSequence}`,
    );
  }

  #refuse(error: ErrorCode, batch: ProducerBatch, found: string): ProducerRefusal {
    const message = `Cannot append to ${this.#name} for producer ${batch.producerId}: ${found}`;
    return { error, message };
  }

  /** Takes note of a batch that was written. Returns: the transaction that it ended, or null. */
  update(batch: ProducerBatch): CompletedTransaction | null {
    let entry = this.#entries.get(batch.producerId);
    if (entry === undefined) {
      entry = {
        producerId: batch.producerId,
        producerEpoch: -1,
        coordinatorEpoch: -1,
        lastTimestamp: -1,
        currentTxnFirstOffset: -1,
        batches: [],
      };
      this.#entries.set(batch.producerId, entry);
    }
    if (entry.producerEpoch !== batch.producerEpoch) {
      entry.producerEpoch = batch.producerEpoch;
      entry.batches = [];
    }
    entry.lastTimestamp = batch.maxTimestamp;
    if (batch.marker !== null) return this.#complete(entry, batch, batch.marker);
    if (entry.batches.length === MAX_BATCHES_PER_PRODUCER) entry.batches.shift();
    entry.batches.push({
      lastSequence: lastSequenceOf(batch),
      lastOffset: batch.lastOffset,
      offsetDelta: batch.lastOffset - batch.baseOffset,
      timestamp: batch.maxTimestamp,
    });
    if (batch.isTransactional && entry.currentTxnFirstOffset < 0) {
      entry.currentTxnFirstOffset = batch.baseOffset;
      this.#ongoing.set(batch.producerId, batch.baseOffset);
    }
    return null;
  }

  #complete(
    entry: ProducerEntry,
    batch: ProducerBatch,
    marker: TransactionMarker,
  ): CompletedTransaction | null {
    entry.coordinatorEpoch = marker.coordinatorEpoch;
    const firstOffset = entry.currentTxnFirstOffset;
    entry.currentTxnFirstOffset = -1;
    if (firstOffset < 0) return null;
    this.#ongoing.delete(batch.producerId);
    const completed: CompletedTransaction = {
      producerId: batch.producerId,
      firstOffset,
      lastOffset: batch.lastOffset,
      isAborted: !marker.isCommit,
    };
    this.#unreplicated.push(completed);
    return completed;
  }

  /** First offset of the oldest transaction that is open or ended above the high watermark, or −1. */
  firstUnstableOffset(highWatermark: number): number {
    let first = -1;
    for (const open of this.#ongoing.values()) {
      first = open;
      break;
    }
    if (this.#unreplicated.length === 0) return first;
    this.#unreplicated = this.#unreplicated.filter(({ lastOffset }) => lastOffset >= highWatermark);
    for (const { firstOffset } of this.#unreplicated) {
      if (first < 0 || firstOffset < first) first = firstOffset;
    }
    return first;
  }

  /** What the last stable offset is once `completed` has ended, for the transaction index. */
  lastStableOffsetAfter(completed: CompletedTransaction): number {
    for (const open of this.#ongoing.values()) return open;
    return completed.lastOffset + 1;
  }

  /** Forgets producers that were silent for `expirationMs` and have no transaction open. */
  removeExpired(nowMs: number, expirationMs: number): void {
    for (const [producerId, entry] of this.#entries) {
      if (entry.currentTxnFirstOffset < 0 && nowMs - entry.lastTimestamp >= expirationMs) {
        this.#entries.delete(producerId);
      }
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.#entries.clear();
    this.#ongoing.clear();
    this.#unreplicated = [];
  }

  /** The bytes of a snapshot. */
  encodeSnapshot(): Uint8Array {
    const writer = new Writer(16 + 46 * this.#entries.size);
    writer.int16(SNAPSHOT_VERSION);
    writer.uint32(0);
    writer.int32(this.#entries.size);
    for (const entry of this.#entries.values()) {
      const last = entry.batches.at(-1);
      writer.int64(entry.producerId);
      writer.int16(entry.producerEpoch);
      writer.int32(last?.lastSequence ?? -1);
      writer.int64(last?.lastOffset ?? -1);
      writer.int32(last?.offsetDelta ?? 0);
      writer.int64(entry.lastTimestamp);
      writer.int32(entry.coordinatorEpoch);
      writer.int64(entry.currentTxnFirstOffset);
    }
    const bytes = writer.finish();
    const crc = crc32c(bytes.subarray(SNAPSHOT_ENTRIES_AT));
    new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).setUint32(SNAPSHOT_CRC_AT, crc);
    return bytes;
  }

  /**
   * Replaces the state by a snapshot's; producers that expired meanwhile stay out.
   * Errors: WireError when the snapshot is damaged; the state is then empty.
   */
  loadSnapshot(bytes: Uint8Array, nowMs: number, expirationMs: number): void {
    this.clear();
    const entries = decodeSnapshot(bytes);
    for (const entry of entries) {
      const isOpen = entry.currentTxnFirstOffset >= 0;
      if (!isOpen && nowMs - entry.lastTimestamp >= expirationMs) continue;
      this.#entries.set(entry.producerId, entry);
    }
    const open = entries.filter((entry) => entry.currentTxnFirstOffset >= 0)
      .sort((a, b) => a.currentTxnFirstOffset - b.currentTxnFirstOffset);
    for (const entry of open) this.#ongoing.set(entry.producerId, entry.currentTxnFirstOffset);
  }
}

/** The producers of a snapshot. Errors: WireError when it is damaged. */
export function decodeSnapshot(bytes: Uint8Array): ProducerEntry[] {
  const reader = new Reader(bytes);
  const version = reader.int16();
  if (version !== SNAPSHOT_VERSION) {
    throw new WireError(
      `Cannot read producer snapshot: version ${version} is not ${SNAPSHOT_VERSION}`,
    );
  }
  const crc = reader.uint32();
  if (crc !== crc32c(bytes.subarray(SNAPSHOT_ENTRIES_AT))) {
    throw new WireError("Cannot read producer snapshot: its checksum does not fit");
  }
  const count = reader.int32();
  const entries: ProducerEntry[] = [];
  for (let i = 0; i < count; i++) entries.push(decodeEntry(reader));
  return entries;
}

function decodeEntry(reader: Reader): ProducerEntry {
  const producerId = reader.int64();
  const producerEpoch = reader.int16();
  const lastSequence = reader.int32();
  const lastOffset = reader.int64();
  const offsetDelta = reader.int32();
  const timestamp = reader.int64();
  const coordinatorEpoch = reader.int32();
  const currentTxnFirstOffset = reader.int64();
  const batches = lastOffset >= 0 ? [{ lastSequence, lastOffset, offsetDelta, timestamp }] : [];
  return {
    producerId,
    producerEpoch,
    coordinatorEpoch,
    lastTimestamp: timestamp,
    currentTxnFirstOffset,
    batches,
  };
}
