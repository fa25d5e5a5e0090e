/**
 * Reads of one log whose bytes are still being sent, so that those who read the same place share them.
 *
 * A thousand consumers at the tail of a partition all read the same megabyte in the same moment. With a
 * buffer each that is a gigabyte; here the first one reads, and the others hold on to the same buffer, from
 * its start up to the last whole batch that each of them may have.
 *
 *     buffer  [ batch ][ batch ][ batch ]      holders: 3, 3, 2 batches of it
 *
 * Invariants: a buffer goes back to the pool when its last holder lets go; bytes that are shared are never
 * written to; what a truncation made untrue is not found any more (`clear`), though its holders keep it.
 */

import { batchSizeBytes, readLastOffset, RECORD_BATCH_OVERHEAD } from "../protocol/record_batch.ts";
import type { Offset } from "../protocol/types.ts";
import { offset } from "../protocol/types.ts";
import type { PooledBuffer } from "./buffer_pool.ts";

/** Whole batches. `records` belongs to the pool: `release` it when it has been sent. */
export interface ReadRecords {
  readonly error: 0;
  readonly records: Uint8Array;
  /** Offset to go on with. */
  readonly nextOffset: Offset;
  release(): void;
}

/** What a reader may have. */
export interface ReadBounds {
  readonly maxBytes: number;
  readonly minOneMessage: boolean;
  readonly upToOffset: number;
}

interface SharedRead {
  readonly startOffset: number;
  readonly records: Uint8Array;
  readonly nextOffset: number;
  readonly buffer: PooledBuffer;
  holders: number;
}

class Holder implements ReadRecords {
  readonly error = 0;
  readonly records: Uint8Array;
  readonly nextOffset: Offset;
  readonly #reads: LiveReads;
  #shared: SharedRead | null;

  constructor(reads: LiveReads, shared: SharedRead, byteCount: number, nextOffset: number) {
    this.#reads = reads;
    this.#shared = shared;
    this.records = byteCount === shared.records.length
      ? shared.records
      : shared.records.subarray(0, byteCount);
    this.nextOffset = offset(nextOffset);
    shared.holders++;
  }

  release(): void {
    const shared = this.#shared;
    this.#shared = null;
    if (shared !== null) this.#reads.letGo(shared);
  }
}

/** The reads of one log that somebody holds. */
export class LiveReads {
  readonly #byOffset = new Map<number, SharedRead>();

  /** Reads that can be shared now. */
  get size(): number {
    return this.#byOffset.size;
  }

  /** Takes in what was read from `startOffset`, and is its first holder's. */
  add(
    startOffset: number,
    read: { records: Uint8Array; nextOffset: number; buffer: PooledBuffer },
  ): ReadRecords {
    const shared: SharedRead = { startOffset, ...read, holders: 0 };
    this.#byOffset.set(startOffset, shared);
    return new Holder(this, shared, shared.records.length, shared.nextOffset);
  }

  /** Returns: what a read of its own would give, shared; null where that is not known to be here. */
  find(
    startOffset: number,
    { maxBytes, minOneMessage, upToOffset }: ReadBounds,
  ): ReadRecords | null {
    const shared = this.#byOffset.get(startOffset);
    if (shared === undefined) return null;
    const { records } = shared;
    let end = 0;
    let nextOffset = startOffset;
    while (records.length - end >= RECORD_BATCH_OVERHEAD) {
      const sizeBytes = batchSizeBytes(records, end);
      const lastOffset = readLastOffset(records, end);
      const isTooMuch = end + sizeBytes > maxBytes && !(end === 0 && minOneMessage);
      if (isTooMuch || lastOffset >= upToOffset) {
        return end === 0 ? null : new Holder(this, shared, end, nextOffset);
      }
      end += sizeBytes;
      nextOffset = lastOffset + 1;
    }
    // The log may have more for this reader than the first one was given.
    const isAll = nextOffset >= upToOffset || end >= maxBytes;
    return isAll ? new Holder(this, shared, end, nextOffset) : null;
  }

  /** Forgets all: what was read may not be what the log has now. */
  clear(): void {
    this.#byOffset.clear();
  }

  /** For the holders. */
  letGo(shared: SharedRead): void {
    if (--shared.holders > 0) return;
    if (this.#byOffset.get(shared.startOffset) === shared) {
      this.#byOffset.delete(shared.startOffset);
    }
    shared.buffer.release();
  }
}
