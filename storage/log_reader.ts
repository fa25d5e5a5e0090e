/**
 * The read side of a log: from an offset to whole batches.
 *
 *     offset ──→ segment (binary search) ──→ index entry ──→ walk to the batch ──→ one read, cut at a batch
 *                    └── a reader that goes on where it stopped is remembered and skips the search ──┘
 *
 * What was just read for another reader is not read again (`SharedReads`).
 *
 * It sees the log's segments through `LogView` and changes nothing. Who changes what the segments hold, or
 * which there are, calls `forget`: what was remembered of them is true no more. Buffers that are held stay
 * as they are.
 */

import { WireError } from "../protocol/bytes.ts";
import { batchSizeBytes, readBaseOffset, RECORD_BATCH_OVERHEAD } from "../protocol/record_batch.ts";
import { type Offset, offset } from "../protocol/types.ts";
import type { BufferPool, PooledBuffer } from "./buffer_pool.ts";
import { checkBatches, checkLarge, type SoughtBatch, soundBatches } from "./batch_check.ts";
import { DiskError } from "./platform.ts";
import { type ReadBounds, ReadWindow } from "./read_window.ts";
import type { BatchPlace, Segment } from "./segment.ts";
import { type ReadRecords, SharedReads } from "./shared_reads.ts";
import type { AbortedTransaction } from "./transaction_index.ts";

/** Positions remembered for readers that go on where they stopped. */
const HINT_COUNT = 8;
/** The least that is read at once, so that one read tells the size of a small first batch. */
const MIN_READ_BYTES = 4096;

/** The least that a buffer has which is kept for the next readers. */
const MIN_KEPT_BYTES = 64 * 1024;
/** Less than that is not handed out while there is more to read: each part costs its reader a request. */
const MIN_SHORT_BYTES = 16 * 1024;

const BASE_OFFSET_BYTES = 8;
/** A length that nobody has checked yet must not take more memory than this. */
const MAX_UNCHECKED_BYTES = 1024 * 1024;
/** Damaged places that are remembered, so that readers who ask again and again cost nothing. */
const MAX_DAMAGED = 100;

/** The log as its reader sees it. Shape: `segments` is never empty; the last one is the active one. */
export interface LogView {
  readonly segments: readonly Segment[];
  readonly logStartOffset: number;
  readonly endOffset: number;
}

const EMPTY = new Uint8Array(0);

/** A read that found nothing. */
export function nothingRead(at: number): ReadRecords {
  return { error: 0, records: EMPTY, nextOffset: offset(at), release() {} };
}

/** Reads one log. */
export class LogReader {
  readonly #log: LogView;
  readonly #buffers: BufferPool;
  readonly #shared: SharedReads;
  /** What was found where a read began. */
  readonly #damaged = new Map<number, DiskError>();
  #hintOffsets = new Float64Array(HINT_COUNT).fill(-1);
  #hintPositions = new Float64Array(HINT_COUNT);
  #hintSegments: (Segment | null)[] = new Array<Segment | null>(HINT_COUNT).fill(null);
  #nextHint = 0;

  constructor(log: LogView, buffers: BufferPool) {
    this.#log = log;
    this.#buffers = buffers;
    this.#shared = new SharedReads(buffers.kept);
  }

  /** Forgets what it remembers of the segments, which are about to change or have changed. */
  forget(): void {
    this.#hintOffsets.fill(-1);
    this.#hintSegments.fill(null);
    this.#shared.clear();
    this.#damaged.clear();
  }

  /** Index of the segment in which `at` lies, or would lie. */
  segmentIndexFor(at: number): number {
    const { segments } = this.#log;
    if (at >= segments.at(-1)!.baseOffset) return segments.length - 1;
    let low = 0;
    let high = segments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (segments[middle]!.baseOffset <= at) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }

  /**
   * Whole batches from the one that holds `startOffset` on, all out of one segment.
   * Errors: DiskError (EBADMSG where no batch can be read), WireError.
   */
  read(startOffset: number, bounds: ReadBounds): ReadRecords {
    const shared = this.#readShared(startOffset, bounds);
    if (shared !== null) return shared;
    const damage = this.#damaged.size === 0 ? undefined : this.#damaged.get(startOffset);
    if (damage !== undefined) throw damage;
    try {
      return this.#readFrom(startOffset, bounds);
    } catch (failure) {
      const isDamage = failure instanceof DiskError && failure.code === "EBADMSG";
      if (isDamage && this.#damaged.size < MAX_DAMAGED) this.#damaged.set(startOffset, failure);
      throw failure;
    }
  }

  #readFrom(startOffset: number, bounds: ReadBounds): ReadRecords {
    const { segments } = this.#log;
    let index = this.segmentIndexFor(startOffset);
    let segment = segments[index]!;
    let position = this.#hintFor(startOffset, segment);
    let found: BatchPlace | null = null;
    while (position < 0 || position === segment.sizeBytes) {
      found = segment.findBatch(startOffset, position < 0 ? undefined : position);
      position = found?.position ?? -1;
      if (position >= 0) break;
      // Nothing at or past the offset in this segment: the cleaner has taken it out.
      const following = segments[++index];
      if (following === undefined) return nothingRead(startOffset);
      segment = following;
    }
    return this.#readBatches(segment, position, bounds, { startOffset, found });
  }

  #readBatches(
    segment: Segment,
    position: number,
    bounds: ReadBounds,
    sought: SoughtBatch,
  ): ReadRecords {
    const { maxBytes, minOneMessage } = bounds;
    const { startOffset } = sought;
    const available = segment.sizeBytes - position;
    const wanted = Math.min(available, Math.max(maxBytes, MIN_READ_BYTES));
    // Who goes along with others leaves room for what comes next.
    let buffer = this.#buffers.acquire(
      this.#shared.isKeeping ? Math.max(wanted, MIN_KEPT_BYTES) : wanted,
    );
    let count = this.#fill(segment, position, buffer, wanted);
    const firstBytes = count < RECORD_BATCH_OVERHEAD ? 0 : batchSizeBytes(buffer.bytes, 0);
    if (firstBytes < RECORD_BATCH_OVERHEAD || firstBytes > available) {
      buffer.release();
      throw segment.damagedAt(position, "there is no batch");
    }
    if (firstBytes > maxBytes && !minOneMessage) {
      buffer.release();
      return nothingRead(startOffset);
    }
    if (firstBytes > count) {
      buffer.release();
      const isChecked = segment.isChecked(position, position + firstBytes);
      if (!isChecked && firstBytes > MAX_UNCHECKED_BYTES) checkLarge(segment, position, firstBytes);
      buffer = this.#buffers.acquire(firstBytes);
      count = this.#fill(segment, position, buffer, firstBytes);
    }
    let limit = Math.min(count, Math.max(maxBytes, firstBytes));
    if (!segment.isChecked(position, position + limit)) {
      limit = this.#checkedBytes(segment, position, buffer, limit, sought);
    }
    const window = new ReadWindow({ segment, position, startOffset }, buffer);
    window.takeIn(limit);
    const part = window.part(startOffset, bounds);
    if (part.end === 0) {
      buffer.release();
      return nothingRead(startOffset);
    }
    this.#addHint(part.nextOffset, segment, position + part.end);
    return this.#shared.add(window, part);
  }

  /** Reads out of a window that is here. Returns: null where that is not, or less than the reader is to get. */
  #readShared(startOffset: number, bounds: ReadBounds): ReadRecords | null {
    const shared = this.#shared.find(startOffset);
    if (shared === null) return null;
    const { window } = shared;
    let part = window.part(startOffset, bounds);
    if (part.isOpen && this.#extend(window, bounds.maxBytes)) {
      part = window.part(startOffset, bounds);
    }
    const byteCount = part.end - part.begin;
    if (byteCount === 0) return null;
    const { enoughBytes = Infinity } = bounds;
    const isMore = part.isOpen && window.endPosition < window.segment.sizeBytes;
    if (isMore && byteCount < Math.max(enoughBytes, MIN_SHORT_BYTES)) return null;
    this.#addHint(part.nextOffset, window.segment, window.position + part.end);
    return this.#shared.hold(shared, part);
  }

  /** Reads on where a window ends, as far as it has room. Returns: true where it has more than before. */
  #extend(window: ReadWindow, maxBytes: number): boolean {
    if (window.isFull) return false;
    const { segment, endPosition } = window;
    const available = segment.sizeBytes - endPosition;
    const room = window.room(Math.min(available, maxBytes));
    // What has to be compared first is not read here.
    if (available === 0 || !segment.isChecked(endPosition, endPosition + room.length)) return false;
    if (room.length > 0 && window.takeIn(segment.read(endPosition, room))) return true;
    window.isFull = room.length < Math.min(available, maxBytes);
    return false;
  }

  /**
   * Compares what was not compared since the start.
   * Returns: how many bytes from the front are whole batches that may be believed.
   * Errors: DiskError (EBADMSG) when the first one may not; the buffer is released then.
   */
  #checkedBytes(
    segment: Segment,
    position: number,
    buffer: PooledBuffer,
    limit: number,
    sought: SoughtBatch,
  ): number {
    const bytes = buffer.bytes.subarray(0, limit);
    const { soundBytes, found } = soundBatches(bytes, {
      ...sought,
      baseOffsetAfter: (at) => this.#baseOffsetAt(segment, position + at),
    });
    if (soundBytes === 0 && found !== null) {
      buffer.release();
      throw segment.damagedAt(position, found);
    }
    segment.noteChecked(position, position + soundBytes);
    return soundBytes;
  }

  /** One batch, which may be believed. Shape: fresh memory. Errors: DiskError (EBADMSG). */
  readBatch(segment: Segment, place: BatchPlace): Uint8Array {
    const { position, sizeBytes, lastOffset, follows } = place;
    const end = position + sizeBytes;
    const isChecked = segment.isChecked(position, end);
    if (!isChecked && sizeBytes > MAX_UNCHECKED_BYTES) checkLarge(segment, position, sizeBytes);
    const bytes = new Uint8Array(sizeBytes);
    segment.read(position, bytes);
    if (isChecked) return bytes;
    if (!follows && this.#baseOffsetAt(segment, end) <= lastOffset) {
      throw segment.damagedAt(position, `its last offset ${lastOffset} lies past what follows it`);
    }
    checkBatches(segment, position, end);
    return bytes;
  }

  /** Base offset of the batch at a position, of the following segment at the end of one. */
  #baseOffsetAt(segment: Segment, position: number): number {
    const { segments, endOffset } = this.#log;
    if (position + BASE_OFFSET_BYTES > segment.sizeBytes) {
      return segments[segments.indexOf(segment) + 1]?.baseOffset ?? endOffset;
    }
    const bytes = new Uint8Array(BASE_OFFSET_BYTES);
    segment.read(position, bytes);
    try {
      return readBaseOffset(bytes, 0);
    } catch (failure) {
      if (!(failure instanceof WireError)) throw failure;
      // What follows is damaged itself, which is found when its turn comes.
      return Infinity;
    }
  }

  #fill(segment: Segment, position: number, buffer: PooledBuffer, byteCount: number): number {
    try {
      return segment.read(position, buffer.bytes.subarray(0, byteCount));
    } catch (failure) {
      buffer.release();
      throw failure;
    }
  }

  #hintFor(at: number, segment: Segment): number {
    for (let i = 0; i < HINT_COUNT; i++) {
      if (this.#hintOffsets[i] === at && this.#hintSegments[i] === segment) {
        return this.#hintPositions[i]!;
      }
    }
    return -1;
  }

  #addHint(at: number, segment: Segment, position: number): void {
    for (let i = 0; i < HINT_COUNT; i++) {
      if (this.#hintOffsets[i] === at && this.#hintSegments[i] === segment) return;
    }
    const i = this.#nextHint;
    this.#hintOffsets[i] = at;
    this.#hintSegments[i] = segment;
    this.#hintPositions[i] = position;
    this.#nextHint = (i + 1) % HINT_COUNT;
  }

  /**
   * Transactions that were aborted and overlap `[fromOffset, upToOffset)`, in the order of their first offsets. Kafka
   * gives them in the order of their markers; kafkajs looks at one after the other, and shows aborted records then.
   */
  abortedTransactions(fromOffset: Offset, upToOffset: Offset): AbortedTransaction[] {
    const found: AbortedTransaction[] = [];
    for (let index = this.segmentIndexFor(fromOffset); index < this.#log.segments.length; index++) {
      const { transactionIndex } = this.#log.segments[index]!;
      if (transactionIndex.collect(fromOffset, upToOffset, found)) break;
    }
    return found.sort((a, b) => a.firstOffset - b.firstOffset);
  }
}
