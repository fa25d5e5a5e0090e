/**
 * From offset to byte position, sparse: one entry for about every `index.interval.bytes` of the log.
 *
 *     relativeOffset int32 (from the base offset)  |  position int32
 *
 * An entry names the last offset of a batch and where that batch starts; both rise. A lookup gives the
 * last entry at or before the offset, from which the log is read forward. Source: Kafka's OffsetIndex.
 */

import { IndexFile, type SegmentIndexOptions } from "./index_file.ts";
import { OFFSET_INDEX_SUFFIX, segmentPath } from "./segment_name.ts";

/** Bytes of an entry. */
export const OFFSET_INDEX_ENTRY_BYTES = 8;

/** Entries read in one go. */
const ENTRIES_AT_ONCE = 1024;

const scratch = new Uint8Array(OFFSET_INDEX_ENTRY_BYTES);
const view = new DataView(scratch.buffer);

/** An entry and its place among the others. */
export interface OffsetEntry {
  /** Counts from 0. */
  readonly index: number;
  /** Last offset of the batch. */
  readonly offset: number;
  readonly position: number;
}

/** The offset index of one segment. */
export class OffsetIndex {
  readonly file: IndexFile;
  readonly #baseOffset: number;

  constructor(options: SegmentIndexOptions) {
    this.#baseOffset = options.baseOffset;
    this.file = new IndexFile({
      path: segmentPath(
        options.directory,
        options.baseOffset,
        OFFSET_INDEX_SUFFIX,
        options.suffix,
      ),
      entryBytes: OFFSET_INDEX_ENTRY_BYTES,
      disk: options.disk,
      files: options.files,
      names: options.names,
    });
  }

  get count(): number {
    return this.file.count;
  }

  /** Adds an entry. Shape: `lastOffset` and `position` larger than those of the entry before. */
  append(lastOffset: number, position: number): void {
    const relative = lastOffset - this.#baseOffset;
    const entry = this.file.append();
    entry[0] = relative >>> 24;
    entry[1] = relative >>> 16;
    entry[2] = relative >>> 8;
    entry[3] = relative;
    entry[4] = position >>> 24;
    entry[5] = position >>> 16;
    entry[6] = position >>> 8;
    entry[7] = position;
  }

  /** The entry at `index`. */
  entry(index: number): { readonly offset: number; readonly position: number } {
    this.file.read(index, scratch);
    return { offset: this.#baseOffset + view.getInt32(0), position: view.getInt32(4) };
  }

  /**
   * The last entry before `upTo`, of those up to which all entries rise; null when there is none.
   * Errors: DiskError.
   */
  lastRisingBefore(upTo: number): OffsetEntry | null {
    const bytes = new Uint8Array(ENTRIES_AT_ONCE * OFFSET_INDEX_ENTRY_BYTES);
    const entries = new DataView(bytes.buffer);
    let found: OffsetEntry | null = null;
    for (let index = 0;;) {
      const count = this.file.readMany(index, bytes);
      if (count === 0) return found;
      for (let i = 0; i < count; i++, index++) {
        const offset = this.#baseOffset + entries.getInt32(i * OFFSET_INDEX_ENTRY_BYTES);
        const position = entries.getInt32(i * OFFSET_INDEX_ENTRY_BYTES + 4);
        const rises = found === null
          ? offset >= this.#baseOffset && position >= 0
          : offset > found.offset && position > found.position;
        if (!rises || offset >= upTo) return found;
        found = { index, offset, position };
      }
    }
  }

  /**
   * The last entry that lies at least so many bytes and entries before the one at `index`, or null.
   * Errors: DiskError.
   */
  entryBefore(
    index: number,
    { byteCount, entryCount }: { readonly byteCount: number; readonly entryCount: number },
  ): OffsetEntry | null {
    const { position } = this.entry(index);
    for (let at = index - entryCount; at >= 0; at--) {
      const entry = this.entry(at);
      if (entry.position <= position - byteCount) return { index: at, ...entry };
    }
    return null;
  }

  /** Index of the last entry at or before `offset`, from which to read on to find it; −1 for none. */
  indexFor(offset: number): number {
    let low = 0;
    let high = this.file.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      this.file.read(middle, scratch);
      if (this.#baseOffset + view.getInt32(0) <= offset) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** Drops the entries at and past `offset`. */
  truncateTo(offset: number): void {
    this.file.truncate(this.indexFor(offset - 1) + 1);
  }

  /** What is impossible about the index of a log of `logBytes` bytes, or null. Looks at the ends alone. */
  problem(logBytes: number): string | null {
    if (this.file.isMisshapen()) return "it is missing or not a whole number of entries";
    if (this.count === 0) return null;
    const first = this.entry(0);
    const last = this.entry(this.count - 1);
    if (first.offset < this.#baseOffset || last.offset < first.offset) {
      return `its entries run from offset ${first.offset} to ${last.offset}`;
    }
    if (first.position < 0 || last.position < first.position || last.position >= logBytes) {
      return `its last entry points to byte ${last.position} of ${logBytes}`;
    }
    return null;
  }
}
