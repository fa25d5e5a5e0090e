/**
 * From timestamp to offset, sparse: what is the largest timestamp up to an offset.
 *
 *     timestamp int64, ms  |  relativeOffset int32 (from the base offset)
 *
 * Timestamps rise strictly, offsets never fall. An entry (t, o) says that no record at or before offset
 * `o` has a timestamp beyond t. Source: Kafka's TimeIndex, KIP-33.
 */

import { IndexFile, type SegmentIndexOptions } from "./index_file.ts";
import { segmentPath, TIME_INDEX_SUFFIX } from "./segment_name.ts";

/** Bytes of an entry. */
export const TIME_INDEX_ENTRY_BYTES = 12;

/** An entry: the largest timestamp so far and the offset that carries it. */
export interface TimestampOffset {
  readonly timestampMs: number;
  readonly offset: number;
}

/** Entries read in one go. */
const ENTRIES_AT_ONCE = 1024;

const scratch = new Uint8Array(TIME_INDEX_ENTRY_BYTES);
const view = new DataView(scratch.buffer);

function readTimestamp(): number {
  return Number(view.getBigInt64(0));
}

/** The time index of one segment. */
export class TimeIndex {
  readonly file: IndexFile;
  readonly #baseOffset: number;
  #last: TimestampOffset | null = null;

  constructor(options: SegmentIndexOptions) {
    this.#baseOffset = options.baseOffset;
    this.file = new IndexFile({
      path: segmentPath(
        options.directory,
        options.baseOffset,
        TIME_INDEX_SUFFIX,
        options.suffix,
      ),
      entryBytes: TIME_INDEX_ENTRY_BYTES,
      disk: options.disk,
      files: options.files,
      names: options.names,
    });
  }

  get count(): number {
    return this.file.count;
  }

  /** The last entry; (−1, base offset) when there is none. */
  get last(): TimestampOffset {
    this.#last ??= this.count === 0
      ? { timestampMs: -1, offset: this.#baseOffset }
      : this.entry(this.count - 1);
    return this.#last;
  }

  /** The entry at `index`. */
  entry(index: number): TimestampOffset {
    this.file.read(index, scratch);
    return { timestampMs: readTimestamp(), offset: this.#baseOffset + view.getInt32(8) };
  }

  /** Adds an entry if its timestamp is beyond the last one's. */
  maybeAppend(timestampMs: number, offset: number): void {
    const { last } = this;
    if (timestampMs <= last.timestampMs || offset < last.offset) return;
    const entry = this.file.append();
    view.setBigInt64(0, BigInt(timestampMs));
    view.setInt32(8, offset - this.#baseOffset);
    entry.set(scratch);
    this.#last = { timestampMs, offset };
  }

  /** The last entry whose timestamp is at most `timestampMs`; (−1, base offset) when there is none. */
  lookup(timestampMs: number): TimestampOffset {
    let low = 0;
    let high = this.file.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      this.file.read(middle, scratch);
      if (readTimestamp() <= timestampMs) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? { timestampMs: -1, offset: this.#baseOffset } : this.entry(low - 1);
  }

  /**
   * How many entries are of offsets up to `offset`, and the largest timestamp among them, −1 for
   * none; null when the entries do not rise up to there. Errors: DiskError.
   */
  risingUpTo(offset: number): { readonly count: number; readonly timestampMs: number } | null {
    const bytes = new Uint8Array(ENTRIES_AT_ONCE * TIME_INDEX_ENTRY_BYTES);
    const entries = new DataView(bytes.buffer);
    let [timestampMs, before] = [-1, this.#baseOffset];
    for (let index = 0;;) {
      const readCount = this.file.readMany(index, bytes);
      if (readCount === 0) return { count: index, timestampMs };
      for (let i = 0; i < readCount; i++, index++) {
        const entryMs = Number(entries.getBigInt64(i * TIME_INDEX_ENTRY_BYTES));
        const entryOffset = this.#baseOffset + entries.getInt32(i * TIME_INDEX_ENTRY_BYTES + 8);
        if (entryOffset > offset) return { count: index, timestampMs };
        if (entryMs <= timestampMs || entryOffset < before) return null;
        [timestampMs, before] = [entryMs, entryOffset];
      }
    }
  }

  /** Drops the entries at and past `offset`. */
  truncateTo(offset: number): void {
    let count = this.count;
    while (count > 0 && this.entry(count - 1).offset >= offset) count--;
    this.truncateCount(count);
  }

  /** The file is another one now. */
  reload(): void {
    this.file.reload();
    this.#last = null;
  }

  /** Keeps the first `count` entries. */
  truncateCount(count: number): void {
    this.file.truncate(count);
    this.#last = null;
  }

  /** What is impossible about the index, or null. Looks at the ends alone. */
  problem(): string | null {
    if (this.file.isMisshapen()) return "it is missing or not a whole number of entries";
    if (this.count === 0) return null;
    const first = this.entry(0);
    const last = this.entry(this.count - 1);
    if (first.timestampMs < 0 || last.timestampMs < first.timestampMs) {
      return `its timestamps run from ${first.timestampMs} to ${last.timestampMs}`;
    }
    if (first.offset < this.#baseOffset || last.offset < first.offset) {
      return `its offsets run from ${first.offset} to ${last.offset}`;
    }
    return null;
  }
}
