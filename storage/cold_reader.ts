/**
 * Reads a log from an offset to its end, off the event loop, one piece of whole batches after the other: for
 * copies, which meet records that are in no cache.
 *
 *     segment ──────────────────────────────┐ segment ──
 *     │ piece │ piece │ piece │ rest of it  │ piece …       a piece never crosses a segment
 *
 * One buffer is used for all pieces; it grows to the largest batch. Segments may be deleted, replaced or
 * added between two pieces: the place is looked for again when the segment is not the log's any more.
 */

import { WireError } from "../protocol/bytes.ts";
import { batchSizeBytes, readLastOffset, RECORD_BATCH_OVERHEAD } from "../protocol/record_batch.ts";
import type { LogView } from "./log_reader.ts";
import { DiskError } from "./platform.ts";
import type { Segment } from "./segment.ts";

/** Whole batches in a row. */
export interface Piece {
  /** Belongs to the reader: good until the next piece. */
  readonly records: Uint8Array;
  /** Offset after the last record. */
  readonly nextOffset: number;
  /** True for the first batches of a segment. */
  readonly startsSegment: boolean;
}

/** Reads a log in order. */
export class ColdReader {
  readonly #log: LogView;
  #buffer: Uint8Array;
  #segment: Segment | null = null;
  #position = 0;
  #nextOffset = -1;

  /** `pieceBytes` is how much is read at a time, a single larger batch apart. */
  constructor(log: LogView, pieceBytes: number) {
    this.#log = log;
    this.#buffer = new Uint8Array(pieceBytes);
  }

  /**
   * The batches from the one that holds `from` on, those that end before `upTo`.
   * Returns: null when there are none. Errors: DiskError (EBADMSG at bytes that are no batch).
   */
  async next(from: number, upTo: number): Promise<Piece | null> {
    if (from >= upTo || !this.#seek(from)) return null;
    const segment = this.#segment!;
    const position = this.#position;
    const availableBytes = segment.sizeBytes - position;
    let count = await this.#read(segment, position, availableBytes);
    const firstBytes = this.#batchBytes(0, count);
    if (firstBytes < 0 || firstBytes > availableBytes) {
      throw new DiskError(`Cannot read ${segment.path}: no batch at byte ${position}`, "EBADMSG");
    }
    if (firstBytes > this.#buffer.length) {
      this.#buffer = new Uint8Array(firstBytes);
      count = await this.#read(segment, position, availableBytes);
    }
    let end = 0;
    let nextOffset = from;
    for (let sizeBytes = firstBytes; sizeBytes >= 0 && end + sizeBytes <= count;) {
      const lastOffset = this.#lastOffset(end);
      if (lastOffset >= upTo) break;
      end += sizeBytes;
      nextOffset = lastOffset + 1;
      sizeBytes = this.#batchBytes(end, count);
    }
    if (end === 0) return null;
    this.#position = position + end;
    this.#nextOffset = nextOffset;
    const records = this.#buffer.subarray(0, end);
    return { records, nextOffset, startsSegment: position === 0 };
  }

  /** Finds the batch that holds `from`, or the next one. Returns: false when there is none. */
  #seek(from: number): boolean {
    const { segments } = this.#log;
    let index = this.#segment === null ? -1 : segments.indexOf(this.#segment);
    if (index >= 0 && this.#nextOffset === from && this.#position < this.#segment!.sizeBytes) {
      return true;
    }
    // At the end of a segment the next one may be there by now; else the place is looked for anew.
    const goesOn = index >= 0 && this.#nextOffset === from;
    if (!goesOn) index = segments.findLastIndex(({ baseOffset }) => baseOffset <= from);
    for (let at = Math.max(0, goesOn ? index + 1 : index); at < segments.length; at++) {
      const place = segments[at]!.findBatch(from);
      if (place === null) continue;
      this.#segment = segments[at]!;
      this.#position = place.position;
      return true;
    }
    return false;
  }

  async #read(segment: Segment, position: number, availableBytes: number): Promise<number> {
    const into = this.#buffer.subarray(0, Math.min(this.#buffer.length, availableBytes));
    return await segment.readCold(position, into);
  }

  /** Size of the batch at `at`; −1 when its header is not whole. */
  #batchBytes(at: number, count: number): number {
    if (count - at < RECORD_BATCH_OVERHEAD) return -1;
    const sizeBytes = batchSizeBytes(this.#buffer, at);
    return sizeBytes < RECORD_BATCH_OVERHEAD ? -1 : sizeBytes;
  }

  #lastOffset(at: number): number {
    try {
      return readLastOffset(this.#buffer, at);
    } catch (cause) {
      if (!(cause instanceof WireError)) throw cause;
      throw new DiskError(`Cannot read ${this.#segment!.path}: ${cause.message}`, "EBADMSG", {
        cause,
      });
    }
  }
}
