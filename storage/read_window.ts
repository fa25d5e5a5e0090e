/**
 * A stretch of a log that was read into a buffer: whole batches, and where each of them ends.
 *
 *     segment  ┆ batch ┆ batch ┆ batch ┆ batch …        what was written since is read behind it,
 *     buffer   [ batch ][ batch ][ batch ]   room  ]    as far as there is room
 *
 * Invariants: bytes that are taken in are never written to again, so that whoever holds a part of them may send it at
 * leisure; more batches come behind them only.
 */

import { batchSizeBytes, readLastOffset, RECORD_BATCH_OVERHEAD } from "../protocol/record_batch.ts";
import type { PooledBuffer } from "./buffer_pool.ts";
import type { Segment } from "./segment.ts";

/** What a reader may have. */
export interface ReadBounds {
  readonly maxBytes: number;
  /** Gives the first batch whole even if it is larger than `maxBytes`. */
  readonly minOneMessage: boolean;
  readonly upToOffset: number;
  /** A read of so many bytes is enough, though there are more. Left out: it is as long as it can be. */
  readonly enoughBytes?: number;
}

/** What one reader gets of a window. */
export interface WindowPart {
  readonly begin: number;
  readonly end: number;
  /** Offset to go on with. */
  readonly nextOffset: number;
  /** True where the reader might have more than the window has. */
  readonly isOpen: boolean;
}

/** Where a window lies. */
export interface WindowPlace {
  readonly segment: Segment;
  /** Of its first batch in the segment. */
  readonly position: number;
  /** What was asked for, and led to its first batch. */
  readonly startOffset: number;
}

/** One buffer. */
export class ReadWindow {
  readonly segment: Segment;
  readonly position: number;
  readonly startOffset: number;
  readonly #buffer: PooledBuffer;
  /** Shape: in the buffer, one for each batch, rising. */
  readonly #ends: number[] = [];
  /** Shape: one for each batch, rising. */
  readonly #nextOffsets: number[] = [];
  /** True once the next batch has no room in it. */
  isFull = false;

  constructor({ segment, position, startOffset }: WindowPlace, buffer: PooledBuffer) {
    this.segment = segment;
    this.position = position;
    this.startOffset = startOffset;
    this.#buffer = buffer;
  }

  /** Of all batches that it has. */
  get sizeBytes(): number {
    return this.#ends.at(-1) ?? 0;
  }

  get capacityBytes(): number {
    return this.#buffer.bytes.length;
  }

  /** Offset behind its last batch. */
  get nextOffset(): number {
    return this.#nextOffsets.at(-1) ?? this.startOffset;
  }

  /** In the segment, behind its last batch. */
  get endPosition(): number {
    return this.position + this.sizeBytes;
  }

  /** True when a read from `offset` on begins in it. */
  covers(offset: number): boolean {
    return offset >= this.startOffset && offset < this.nextOffset;
  }

  /** `byteCount` bytes of its buffer, behind all batches; there are fewer where there is no more room. */
  room(byteCount: number): Uint8Array {
    const { sizeBytes } = this;
    return this.#buffer.bytes.subarray(sizeBytes, sizeBytes + byteCount);
  }

  /** Takes in the whole batches of the first `byteCount` bytes of its room. Returns: true where there are any. */
  takeIn(byteCount: number): boolean {
    const { bytes } = this.#buffer;
    const before = this.sizeBytes;
    const limit = before + byteCount;
    let end = before;
    while (limit - end >= RECORD_BATCH_OVERHEAD) {
      const sizeBytes = batchSizeBytes(bytes, end);
      if (sizeBytes < RECORD_BATCH_OVERHEAD || end + sizeBytes > limit) break;
      this.#nextOffsets.push(readLastOffset(bytes, end) + 1);
      end += sizeBytes;
      this.#ends.push(end);
    }
    return end > before;
  }

  /** What a reader gets from the batch on that holds `offset`, which it covers. */
  part(offset: number, { maxBytes, minOneMessage, upToOffset }: ReadBounds): WindowPart {
    const first = this.#firstBehind(offset);
    const begin = first === 0 ? 0 : this.#ends[first - 1]!;
    let next = first;
    while (next < this.#ends.length && this.#nextOffsets[next]! <= upToOffset) {
      const isTooMuch = this.#ends[next]! - begin > maxBytes;
      if (isTooMuch && !(minOneMessage && next === first)) break;
      next++;
    }
    const isBounded = next < this.#ends.length;
    if (next === first) return { begin, end: begin, nextOffset: offset, isOpen: !isBounded };
    const end = this.#ends[next - 1]!;
    const nextOffset = this.#nextOffsets[next - 1]!;
    const isOpen = !isBounded && nextOffset < upToOffset && end - begin < maxBytes;
    return { begin, end, nextOffset, isOpen };
  }

  /** The bytes of a part. They belong to its holders. */
  bytes({ begin, end }: WindowPart): Uint8Array {
    return this.#buffer.bytes.subarray(begin, end);
  }

  /** Says whether nobody holds a part of it. */
  rest(isResting: boolean): void {
    this.#buffer.rest(isResting);
  }

  /** Gives the buffer back. */
  release(): void {
    this.#buffer.release();
  }

  /** Index of the first batch that ends behind `offset`. */
  #firstBehind(offset: number): number {
    let low = 0;
    let high = this.#nextOffsets.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#nextOffsets[middle]! > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
