/**
 * What is left of a batch when a log is compacted: all of it, fewer records, a header alone, or nothing.
 *
 *     record    kept while no newer one has its key, and, without value, until the batch's delete horizon
 *     marker    kept while a batch of its transaction is left, then until its delete horizon
 *     aborted   dropped
 *     batch     without records: kept as a header for the sequence of an active producer, and as the last
 *               one of its segment, so that no offset at the end gets lost
 *
 * The delete horizon is set when a tombstone, or a marker that has nothing left to say, is met for the
 * first time: `delete.retention.ms` from then on. It takes the place of the base timestamp (KIP-534), on
 * which the records' times are rebuilt. What stays whole is not touched, not even by one bit.
 *
 * Records that are kept move to the front over those that are not, within the same memory: a record costs
 * no object. Source: Kafka's Cleaner, MemoryRecords.filterTo.
 */

import { WireError } from "../protocol/bytes.ts";
import { compress, type CompressionCodec, decompress } from "../protocol/compression.ts";
import {
  compressionOf,
  DELETE_HORIZON_BIT,
  hasDeleteHorizon,
  hasLogAppendTime,
  isControl,
  isTransactional,
  LOG_OVERHEAD,
  patchAsCleaned,
  RECORD_BATCH_OVERHEAD,
  type RecordBatchHeader,
} from "../protocol/record_batch.ts";
import { RecordCursor } from "../protocol/record_cursor.ts";
import { type CleanedTransactions, markerKind } from "./cleaned_transactions.ts";
import type { OffsetMap } from "./offset_map.ts";
import type { LastBatches } from "./producer_state.ts";

const COMPRESSION_MASK = 0x07;
/** Where no record tells a base timestamp any more. */
const NO_TIMESTAMP = -1;
/** A horizon beyond it (in the year 73,000) would put the records' times out of a delta's reach. */
const MAX_DELETE_HORIZON_MS = 2 ** 51;
/** The largest distance from the base timestamp that every reader takes. */
const MAX_TIMESTAMP_DELTA = 2 ** 52 - 1;
/** Most bytes that a record grows by when its timestamp delta changes: 9 for it, 4 for the length. */
const MAX_RECORD_GROWTH = 13;

/** What decides over batches. */
export interface BatchFilterOptions {
  readonly map: OffsetMap;
  readonly transactions: CleanedTransactions;
  /** What is known of producers, whose sequences go on by their last batch. */
  readonly producers: LastBatches;
  /** When the cleaning began. */
  readonly nowMs: number;
  readonly deleteRetentionMs: number;
  readonly maxDecompressedBytes: number;
}

/** Filters batches in the order of the log. */
export class BatchFilter {
  /** What is left of the last batch: `bytes[start, end)`, until the next one. */
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;
  /** Records that were looked at, and those that were kept. */
  recordsRead = 0;
  recordsKept = 0;
  /** Records without a key, which a compacted log cannot keep. */
  keylessRecords = 0;
  readonly #options: BatchFilterOptions;
  readonly #producerIndex = new Map<number, number>();
  readonly #cursor = new RecordCursor();
  #scratch = new Uint8Array(4096);
  /** Findings on the records of the batch in hand. */
  #keptCount = 0;
  #keptEnd = 0;
  #hasTombstone = false;
  #maxTimestampDelta = 0;

  constructor(options: BatchFilterOptions) {
    this.#options = options;
    options.producers.producerIds.forEach((id, index) => this.#producerIndex.set(id, index));
  }

  /**
   * Decides over the checked batch at `at`. `isLast` says that its segment ends with it.
   * Returns: false when nothing is left of it. Errors: WireError when its records are damaged.
   */
  filter(bytes: Uint8Array, at: number, header: RecordBatchHeader, isLast: boolean): boolean {
    this.#keep(bytes, at, at + LOG_OVERHEAD + header.batchLength);
    this.recordsRead += header.recordCount;
    const keepsEmpty = isLast || this.#isLastOfProducer(header);
    const isLeft = isControl(header.attributes)
      ? this.#filterControl(header, keepsEmpty)
      : this.#filterData(header, keepsEmpty);
    return isLeft;
  }

  #keep(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
  }

  #isLastOfProducer(header: RecordBatchHeader): boolean {
    const index = header.producerId < 0 ? undefined : this.#producerIndex.get(header.producerId);
    if (index === undefined) return false;
    const { lastOffsets, producerEpochs } = this.#options.producers;
    const lastDataOffset = lastOffsets[index]!;
    return lastDataOffset >= 0
      ? header.baseOffset + header.lastOffsetDelta === lastDataOffset
      : isControl(header.attributes) && header.producerEpoch === producerEpochs[index];
  }

  #filterControl(header: RecordBatchHeader, keepsEmpty: boolean): boolean {
    const lastOffset = header.baseOffset + header.lastOffsetDelta;
    const kind = markerKind(this.bytes, this.start, header);
    const isIdle = this.#options.transactions.onMarker(header.producerId, lastOffset, kind);
    if (kind === null) return keepsEmpty;
    if (isIdle && this.#isPastHorizon(header)) return keepsEmpty && this.#empty(header);
    this.recordsKept += header.recordCount;
    if (isIdle && !hasDeleteHorizon(header.attributes)) {
      this.#walk(this.bytes, this.start + RECORD_BATCH_OVERHEAD, this.end, header, true);
      this.#setHorizon(this.bytes, this.start + RECORD_BATCH_OVERHEAD, header);
    }
    return true;
  }

  #isPastHorizon(header: RecordBatchHeader): boolean {
    return hasDeleteHorizon(header.attributes) && header.baseTimestamp <= this.#options.nowMs;
  }

  #filterData(header: RecordBatchHeader, keepsEmpty: boolean): boolean {
    const { transactions, maxDecompressedBytes } = this.#options;
    const isAborted = transactions.onBatch(
      header.producerId,
      header.baseOffset + header.lastOffsetDelta,
      isTransactional(header.attributes),
    );
    if (header.recordCount === 0) return keepsEmpty;
    if (isAborted) return keepsEmpty && this.#empty(header);
    const codec = compressionOf(header.attributes);
    let plain = this.bytes;
    let from = this.start + RECORD_BATCH_OVERHEAD;
    let to = this.end;
    if (codec !== 0) {
      plain = decompress(codec, plain.subarray(from, to), maxDecompressedBytes);
      from = 0;
      to = plain.length;
    }
    this.#walk(plain, from, to, header, false);
    this.recordsKept += this.#keptCount;
    if (this.#keptCount === 0) return keepsEmpty && this.#empty(header);
    const setsHorizon = this.#hasTombstone && !hasDeleteHorizon(header.attributes);
    if (setsHorizon && this.#setHorizon(plain, from, header)) return true;
    if (this.#keptCount < header.recordCount) {
      this.#rebuild(plain.subarray(from, this.#keptEnd), header, codec);
    }
    return true;
  }

  /**
   * Decides over the records of `plain[from, to)`, and moves those that are kept to the front. Those of a
   * control batch all are.
   */
  #walk(
    plain: Uint8Array,
    from: number,
    to: number,
    header: RecordBatchHeader,
    keepsAll: boolean,
  ): void {
    const cursor = this.#cursor;
    cursor.reset(plain, from, to);
    this.#keptCount = 0;
    this.#hasTombstone = false;
    this.#maxTimestampDelta = -Infinity;
    let keptEnd = from;
    let runStart = from;
    for (let index = 0; index < header.recordCount; index++) {
      cursor.next();
      if (keepsAll || this.#keeps(plain, header)) {
        this.#keptCount++;
        if (cursor.valueBytes < 0) this.#hasTombstone = true;
        if (cursor.timestampDelta > this.#maxTimestampDelta) {
          this.#maxTimestampDelta = cursor.timestampDelta;
        }
        continue;
      }
      if (runStart > keptEnd) plain.copyWithin(keptEnd, runStart, cursor.start);
      keptEnd += cursor.start - runStart;
      runStart = cursor.end;
    }
    if (!cursor.isAtEnd) throw new WireError("Cannot read records: bytes follow the last one");
    if (runStart > keptEnd) plain.copyWithin(keptEnd, runStart, to);
    this.#keptEnd = keptEnd + to - runStart;
  }

  /** Decides over the record at the cursor. */
  #keeps(plain: Uint8Array, header: RecordBatchHeader): boolean {
    const { map, nowMs } = this.#options;
    const { offsetDelta, keyStart, keyBytes, valueBytes } = this.#cursor;
    const at = header.baseOffset + offsetDelta;
    if (at > map.latestOffset) return true;
    if (keyBytes < 0) {
      this.keylessRecords++;
      return false;
    }
    if (at < map.get(plain, keyStart, keyStart + keyBytes)) return false;
    return valueBytes >= 0 || !hasDeleteHorizon(header.attributes) || nowMs < header.baseTimestamp;
  }

  /** A header without records. Returns: true. */
  #empty(header: RecordBatchHeader): true {
    const { start } = this;
    this.end = start + RECORD_BATCH_OVERHEAD;
    patchAsCleaned(this.bytes, start, {
      sizeBytes: RECORD_BATCH_OVERHEAD,
      attributes: header.attributes & ~(COMPRESSION_MASK | DELETE_HORIZON_BIT),
      baseTimestamp: NO_TIMESTAMP,
      maxTimestamp: header.maxTimestamp,
      recordCount: 0,
    });
    return true;
  }

  /** The same batch with the records of `body` alone. */
  #rebuild(body: Uint8Array, header: RecordBatchHeader, codec: CompressionCodec): void {
    this.#finish(body, codec, {
      header,
      attributes: header.attributes,
      baseTimestamp: header.baseTimestamp,
    });
  }

  /**
   * The same batch with the kept records and a delete horizon, to which their times are relative now.
   * Returns: false when a record's time lies too far from any horizon: the batch then stays without one.
   */
  #setHorizon(plain: Uint8Array, from: number, header: RecordBatchHeader): boolean {
    const { nowMs, deleteRetentionMs } = this.#options;
    const horizon = Math.min(nowMs + deleteRetentionMs, MAX_DELETE_HORIZON_MS);
    const shift = header.baseTimestamp - horizon;
    const keptBytes = this.#keptEnd - from;
    const body = new Uint8Array(keptBytes + this.#keptCount * MAX_RECORD_GROWTH);
    const cursor = this.#cursor;
    cursor.reset(plain, from, this.#keptEnd);
    let at = 0;
    for (let index = 0; index < this.#keptCount; index++) {
      cursor.next();
      const delta = cursor.timestampDelta + shift;
      if (Math.abs(delta) > MAX_TIMESTAMP_DELTA) return false;
      const restBytes = cursor.end - cursor.offsetDeltaStart;
      at = writeVarlong(body, at, 1 + varlongBytes(delta) + restBytes);
      body[at++] = plain[cursor.bodyStart]!;
      at = writeVarlong(body, at, delta);
      body.set(plain.subarray(cursor.offsetDeltaStart, cursor.end), at);
      at += restBytes;
    }
    this.#finish(body.subarray(0, at), compressionOf(header.attributes), {
      header,
      attributes: header.attributes | DELETE_HORIZON_BIT,
      baseTimestamp: horizon,
    });
    return true;
  }

  #finish(
    body: Uint8Array,
    codec: CompressionCodec,
    { header, attributes, baseTimestamp }: {
      readonly header: RecordBatchHeader;
      readonly attributes: number;
      readonly baseTimestamp: number;
    },
  ): void {
    const stored = compress(codec, body);
    const sizeBytes = RECORD_BATCH_OVERHEAD + stored.length;
    if (this.#scratch.length < sizeBytes) this.#scratch = new Uint8Array(2 * sizeBytes);
    const scratch = this.#scratch;
    scratch.set(this.bytes.subarray(this.start, this.start + RECORD_BATCH_OVERHEAD));
    scratch.set(stored, RECORD_BATCH_OVERHEAD);
    this.#keep(scratch, 0, sizeBytes);
    patchAsCleaned(scratch, 0, {
      sizeBytes,
      attributes,
      baseTimestamp,
      maxTimestamp: hasLogAppendTime(attributes)
        ? header.maxTimestamp
        : header.baseTimestamp + this.#maxTimestampDelta,
      recordCount: this.#keptCount,
    });
  }
}

function varlongBytes(value: number): number {
  let rest = value >= 0 ? value * 2 : -value * 2 - 1;
  let byteCount = 1;
  for (; rest >= 128; byteCount++) rest = Math.floor(rest / 128);
  return byteCount;
}

/** Returns: the position after the number. */
function writeVarlong(bytes: Uint8Array, at: number, value: number): number {
  let rest = value >= 0 ? value * 2 : -value * 2 - 1;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes[at++] = rest % 128 | 0x80;
  bytes[at++] = rest;
  return at;
}
