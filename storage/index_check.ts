/**
 * Compares the indexes of a segment with its batches, which are told one by one, in the order of the file.
 *
 *     offset index   (offset, position)    a batch begins there, and the offset lies in it or before the batch of
 *                                          the next entry: so that no look-up begins too far on
 *     time index     (timestamp, offset)   no batch that ends before the offset has a later timestamp; the last
 *                                          entry holds the largest one
 *     .txnindex      (producer, offset)    there lies the marker with which the producer's transaction was aborted
 *
 * Entries may be missing, but for the time index's last one: an index is sparse. An entry that no look-up would
 * be misled by is no lie, since there is more than one that is right. Where records are damaged, what points
 * there is not judged. Entries are read in pieces, ahead of the batches of a piece.
 */

import type { AbortedTransaction } from "./transaction_index.ts";
import { OFFSET_INDEX_ENTRY_BYTES } from "./offset_index.ts";
import { DiskError } from "./platform.ts";
import {
  type FileSource,
  PIECE_BYTES,
  type SegmentDamage,
  type SoundBatch,
} from "./segment_check.ts";
import { TIME_INDEX_ENTRY_BYTES } from "./time_index.ts";
import { TRANSACTION_INDEX_ENTRY_BYTES } from "./transaction_index.ts";
import { RECORD_BATCH_OVERHEAD } from "../protocol/record_batch.ts";

/** A piece of the log has no more batches than this, and none of them uses up more than one entry. */
const ENTRIES_AHEAD = Math.ceil(PIECE_BYTES / RECORD_BATCH_OVERHEAD) + 1;

/** What the checks of one segment's indexes start from. */
export interface IndexCheckOptions {
  readonly source: FileSource;
  readonly baseOffset: number;
  /** Kafka makes indexes large in advance: zeros at the end are room that was never used. */
  readonly mayHaveRoom: boolean;
}

/** Compares one index. Told of every batch and every damage of its segment, in order, then `finish`. */
export interface IndexCheck {
  readonly entries: EntryReader;
  /** Takes note of the next batch. */
  onBatch(batch: SoundBatch): void;
  /** Takes note of damage. */
  onDamage(damage: SegmentDamage): void;
  /** The log has ended. `isActive`: more may be appended, and the last entries are not there yet. */
  finish(isActive: boolean): void;
}

/** The entries of an index, one after another, until one of them is a lie. */
class EntryReader {
  readonly #source: FileSource;
  readonly #entryBytes: number;
  readonly #mayHaveRoom: boolean;
  readonly #buffer: Uint8Array;
  readonly view: DataView;
  readonly baseOffset: number;
  #filePosition = 0;
  #from = 0;
  #to = 0;
  #index = 0;
  #lie: string | null = null;
  #isUnknown = false;

  constructor({ source, baseOffset, mayHaveRoom }: IndexCheckOptions, entryBytes: number) {
    this.#source = source;
    this.#entryBytes = entryBytes;
    this.#mayHaveRoom = mayHaveRoom;
    this.#buffer = new Uint8Array(Math.min(2 * ENTRIES_AHEAD * entryBytes, source.sizeBytes));
    this.view = new DataView(this.#buffer.buffer);
    this.baseOffset = baseOffset;
    if (source.sizeBytes % entryBytes !== 0) {
      this.lie(`it has ${source.sizeBytes} bytes, which is no whole number of entries`);
    }
  }

  /** The first thing that is wrong, or null. */
  get found(): string | null {
    return this.#lie;
  }

  /** Entries that were looked at. */
  get entryCount(): number {
    return this.#index;
  }

  /** Reads ahead, for the batches of one more piece. */
  async fill(): Promise<void> {
    const entryBytes = this.#entryBytes;
    const fileBytes = this.#source.sizeBytes - this.#source.sizeBytes % entryBytes;
    if (this.isOver || this.#filePosition === fileBytes) return;
    if (this.#to - this.#from >= ENTRIES_AHEAD * entryBytes) return;
    this.#buffer.copyWithin(0, this.#from, this.#to);
    this.#to -= this.#from;
    this.#from = 0;
    const wanted = Math.min(fileBytes - this.#filePosition, this.#buffer.length - this.#to);
    try {
      const into = this.#buffer.subarray(this.#to, this.#to + wanted);
      const count = await this.#source.read(this.#filePosition, into);
      if (count < wanted) this.#isUnknown = true;
      this.#to += wanted;
      this.#filePosition += wanted;
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      this.lie(failure.message);
    }
  }

  /** True when nothing more can be found. */
  get isOver(): boolean {
    return this.#lie !== null || this.#isUnknown;
  }

  /** Notes that the index is wrong. */
  lie(found: string): void {
    this.#lie ??= found;
  }

  /** Notes that the next entry is wrong. */
  lieOfEntry(found: string): void {
    this.lie(`its entry ${this.#index} ${found}`);
  }

  /** Where the next entry lies in `view`; −1 when there is none. */
  peek(): number {
    if (this.isOver) return -1;
    if (this.#from === this.#to) {
      const isRead = this.#filePosition + this.#entryBytes > this.#source.sizeBytes;
      if (!isRead) this.#isUnknown = true;
      return -1;
    }
    if (this.#mayHaveRoom && this.#isZero()) return -1;
    return this.#from;
  }

  /** Steps to the next entry. */
  next(): void {
    this.#from += this.#entryBytes;
    this.#index++;
  }

  #isZero(): boolean {
    for (let at = this.#from; at < this.#from + this.#entryBytes; at++) {
      if (this.#buffer[at] !== 0) return false;
    }
    return true;
  }
}

/** Compares an offset index. */
export class OffsetIndexCheck implements IndexCheck {
  readonly entries: EntryReader;
  #hadDamage = false;
  #lastOffset = -1;
  #lastPosition = -1;
  #logOffset = -1;

  constructor(options: IndexCheckOptions) {
    this.entries = new EntryReader(options, OFFSET_INDEX_ENTRY_BYTES);
  }

  onBatch({ position: logPosition, baseOffset, lastOffset }: SoundBatch): void {
    this.#logOffset = lastOffset;
    for (let at = this.entries.peek(); at >= 0; at = this.entries.peek()) {
      const offset = this.entries.baseOffset + this.entries.view.getInt32(at);
      const position = this.entries.view.getInt32(at + 4);
      if (position > logPosition) return;
      if (position < logPosition) {
        return this.entries.lieOfEntry(`names byte ${position}, where no batch begins`);
      }
      if (offset < baseOffset || this.#lastOffset >= baseOffset) {
        const wrong = offset < baseOffset ? offset : this.#lastOffset;
        return this.entries.lieOfEntry(
          `and that before it: offset ${wrong} is not found from there on`,
        );
      }
      this.#accept(offset, position);
    }
  }

  onDamage(damage: SegmentDamage): void {
    if (!damage.isUnsound) return;
    this.#hadDamage = true;
    for (let at = this.entries.peek(); at >= 0; at = this.entries.peek()) {
      const offset = this.entries.baseOffset + this.entries.view.getInt32(at);
      const position = this.entries.view.getInt32(at + 4);
      if (position >= damage.endPosition) return;
      if (position < damage.position) {
        return this.entries.lieOfEntry(`names byte ${position}, where no batch begins`);
      }
      this.#accept(offset, position);
    }
  }

  #accept(offset: number, position: number): void {
    if (offset <= this.#lastOffset || position <= this.#lastPosition) {
      return this.entries.lieOfEntry(
        `(${offset}, ${position}) does not lie behind the one before it`,
      );
    }
    this.#lastOffset = offset;
    this.#lastPosition = position;
    this.entries.next();
  }

  finish(): void {
    const at = this.entries.peek();
    if (at >= 0) {
      this.entries.lieOfEntry(
        `names byte ${this.entries.view.getInt32(at + 4)}, past the last batch`,
      );
    } else if (this.#lastOffset > this.#logOffset && !this.#hadDamage && !this.entries.isOver) {
      this.entries.lie(`its last entry names offset ${this.#lastOffset}, past the last record`);
    }
  }
}

/** Compares a time index. */
export class TimeIndexCheck implements IndexCheck {
  readonly entries: EntryReader;
  #hadDamage = false;
  #lastTimestampMs = -1;
  #lastOffset: number;
  /** Largest timestamp of all records, of those before the last batch, of what stands in headers. */
  #largestMs = -1;
  #largestBeforeMs = -1;
  #largestHeaderMs = -1;
  #logOffset = -1;

  constructor(options: IndexCheckOptions) {
    this.entries = new EntryReader(options, TIME_INDEX_ENTRY_BYTES);
    this.#lastOffset = options.baseOffset;
  }

  onBatch({ baseOffset, lastOffset, maxTimestamp, recordCount }: SoundBatch): void {
    this.#judgeBefore(baseOffset);
    this.#largestBeforeMs = this.#largestMs;
    // What a cleaner has emptied keeps the time of records that are gone.
    if (recordCount > 0) this.#largestMs = Math.max(this.#largestMs, maxTimestamp);
    this.#largestHeaderMs = Math.max(this.#largestHeaderMs, maxTimestamp);
    this.#logOffset = lastOffset;
  }

  onDamage({ isUnsound }: SegmentDamage): void {
    this.#hadDamage ||= isUnsound;
  }

  /** Judges the entries that name an offset before `nextOffset`: all batches up to there are known. */
  #judgeBefore(nextOffset: number): void {
    for (let at = this.entries.peek(); at >= 0; at = this.entries.peek()) {
      const timestampMs = Number(this.entries.view.getBigInt64(at));
      const offset = this.entries.baseOffset + this.entries.view.getInt32(at + 8);
      if (offset >= nextOffset) return;
      if (timestampMs <= this.#lastTimestampMs || offset < this.#lastOffset) {
        return this.entries.lieOfEntry(
          `(${timestampMs}, ${offset}) does not lie behind the one before it`,
        );
      }
      // The batch that holds the offset is looked at by whoever follows the entry.
      const passedMs = offset > this.#logOffset ? this.#largestMs : this.#largestBeforeMs;
      if (passedMs > timestampMs) {
        return this.entries.lieOfEntry(
          `says ${timestampMs} before offset ${offset}: ${passedMs} is there`,
        );
      }
      this.#lastTimestampMs = timestampMs;
      this.#lastOffset = offset;
      this.entries.next();
    }
  }

  finish(isActive: boolean): void {
    this.#judgeBefore(this.#logOffset + 1);
    const at = this.entries.peek();
    if (this.entries.isOver || (at >= 0 && this.#hadDamage)) return;
    if (at >= 0) return this.entries.lieOfEntry("names an offset past the last record");
    const last = this.#lastTimestampMs;
    const isTooSmall = !isActive && last < this.#largestMs;
    const isTooLarge = !this.#hadDamage && last > this.#largestHeaderMs;
    if (!isTooSmall && !isTooLarge) return;
    this.entries.lie(
      `its last entry says ${last}, and the largest timestamp is ${this.#largestMs}`,
    );
  }
}

/** Compares a transaction index. */
export class TransactionIndexCheck implements IndexCheck {
  readonly entries: EntryReader;
  #hadDamage = false;
  #lastOffset = -1;
  #logOffset = -1;

  constructor(options: IndexCheckOptions) {
    this.entries = new EntryReader(options, TRANSACTION_INDEX_ENTRY_BYTES);
  }

  #entryAt(at: number): Pick<AbortedTransaction, "producerId" | "firstOffset" | "lastOffset"> {
    return {
      producerId: Number(this.entries.view.getBigInt64(at + 2)),
      firstOffset: Number(this.entries.view.getBigInt64(at + 10)),
      lastOffset: Number(this.entries.view.getBigInt64(at + 18)),
    };
  }

  onBatch({ baseOffset, lastOffset: logOffset, abortedProducerId }: SoundBatch): void {
    this.#logOffset = logOffset;
    for (let at = this.entries.peek(); at >= 0; at = this.entries.peek()) {
      const { producerId, firstOffset, lastOffset } = this.#entryAt(at);
      if (lastOffset > logOffset) return;
      if (this.entries.view.getInt16(at) !== 0 || firstOffset < 0 || firstOffset >= lastOffset) {
        return this.entries.lieOfEntry("is no aborted transaction");
      }
      if (lastOffset <= this.#lastOffset || lastOffset < this.entries.baseOffset) {
        return this.entries.lieOfEntry(`names offset ${lastOffset}, out of turn`);
      }
      // What lies between batches was taken out by the cleaner, or is damaged.
      if (lastOffset >= baseOffset && abortedProducerId !== producerId) {
        return this.entries.lieOfEntry(
          `names offset ${lastOffset}, where producer ${producerId} has aborted nothing`,
        );
      }
      this.#lastOffset = lastOffset;
      this.entries.next();
    }
  }

  onDamage({ isUnsound }: SegmentDamage): void {
    this.#hadDamage ||= isUnsound;
  }

  finish(): void {
    const at = this.entries.peek();
    if (at < 0 || this.#hadDamage) return;
    const { lastOffset } = this.#entryAt(at);
    this.entries.lieOfEntry(`names offset ${lastOffset}, past the last record, ${this.#logOffset}`);
  }
}
