/**
 * Aborted transactions of a segment, in the order of their markers. Most segments have none and no file.
 *
 *     version int16 (0) | producerId int64 | firstOffset int64 | lastOffset int64 | lastStableOffset int64
 *
 * `lastOffset` is the offset of the abort marker; `lastStableOffset` what it was once the marker had been
 * appended, which tells a reader when it has seen enough. Source: Kafka's TransactionIndex, AbortedTxn.
 */

import { Reader } from "../protocol/bytes.ts";
import { IndexFile, type SegmentIndexOptions } from "./index_file.ts";
import { segmentPath, TRANSACTION_INDEX_SUFFIX } from "./segment_name.ts";

/** Bytes of an entry. */
export const TRANSACTION_INDEX_ENTRY_BYTES = 34;
const VERSION = 0;
const FIRST_OFFSET_AT = 10;
const LAST_OFFSET_AT = 18;
/** Entries read in one go. */
const ENTRIES_AT_ONCE = 240;

const scratch = new Uint8Array(TRANSACTION_INDEX_ENTRY_BYTES);
const scratchView = new DataView(scratch.buffer);

/** A transaction whose records consumers with read_committed must skip. */
export interface AbortedTransaction {
  readonly producerId: number;
  readonly firstOffset: number;
  readonly lastOffset: number;
  readonly lastStableOffset: number;
}

/** The transaction index of one segment. */
export class TransactionIndex {
  readonly file: IndexFile;
  readonly #baseOffset: number;
  /** Kafka makes the file with its first entry; so do we. */
  #used: boolean | undefined;

  constructor(options: SegmentIndexOptions) {
    this.#baseOffset = options.baseOffset;
    this.file = new IndexFile({
      path: segmentPath(
        options.directory,
        options.baseOffset,
        TRANSACTION_INDEX_SUFFIX,
        options.suffix,
      ),
      entryBytes: TRANSACTION_INDEX_ENTRY_BYTES,
      disk: options.disk,
      files: options.files,
      names: options.names,
    });
  }

  /** True when there is at least one entry. */
  get isUsed(): boolean {
    this.#used ??= this.file.exists() && this.file.count > 0;
    return this.#used;
  }

  append(transaction: AbortedTransaction): void {
    const entry = this.file.append();
    const view = new DataView(entry.buffer, entry.byteOffset, entry.byteLength);
    view.setInt16(0, VERSION);
    view.setBigInt64(2, BigInt(transaction.producerId));
    view.setBigInt64(FIRST_OFFSET_AT, BigInt(transaction.firstOffset));
    view.setBigInt64(LAST_OFFSET_AT, BigInt(transaction.lastOffset));
    view.setBigInt64(26, BigInt(transaction.lastStableOffset));
    this.#used = true;
  }

  /** Writes the entries into the page cache. Errors: DiskError. */
  store(): void {
    if (this.isUsed) this.file.store();
  }

  /** The entries from `fromIndex` on, in file order. Errors: WireError when one holds no offset. */
  *entries(fromIndex = 0): Generator<AbortedTransaction, void, void> {
    if (!this.isUsed) return;
    const bytes = new Uint8Array(ENTRIES_AT_ONCE * TRANSACTION_INDEX_ENTRY_BYTES);
    for (let index = fromIndex;;) {
      const count = this.file.readMany(index, bytes);
      if (count === 0) return;
      for (let i = 0; i < count; i++) {
        const reader = new Reader(bytes, i * TRANSACTION_INDEX_ENTRY_BYTES + 2);
        yield {
          producerId: reader.int64(),
          firstOffset: reader.int64(),
          lastOffset: reader.int64(),
          lastStableOffset: reader.int64(),
        };
      }
      index += count;
    }
  }

  /**
   * Adds to `found` the transactions that overlap `[fromOffset, upToOffset)`.
   * Returns: true when no later segment can hold another one.
   */
  collect(fromOffset: number, upToOffset: number, found: AbortedTransaction[]): boolean {
    if (!this.isUsed) return false;
    for (const transaction of this.entries(this.#firstEndingAt(fromOffset))) {
      if (transaction.firstOffset < upToOffset) found.push(transaction);
      if (transaction.lastStableOffset >= upToOffset) return true;
    }
    return false;
  }

  /** Index of the first of `count` entries whose marker lies at or past `offset`. */
  #firstEndingAt(offset: number, count = this.file.count): number {
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      this.file.read(middle, scratch);
      if (scratchView.getBigInt64(LAST_OFFSET_AT) < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** True when no marker lies at or past `offset`. Errors: DiskError. */
  endsBefore(offset: number): boolean {
    return !this.isUsed || this.#firstEndingAt(offset) === this.file.count;
  }

  /** Drops the transactions whose marker is at or past `offset`, and what cannot be an entry. */
  truncateTo(offset: number): void {
    if (this.file.count === 0 && !this.file.exists()) return;
    // What a crash has left behind the sound entries is in no order.
    const kept = this.#firstEndingAt(offset, this.#soundCount());
    this.file.truncate(kept);
    this.#used = kept > 0;
  }

  /** Puts other entries in the place of all. Errors: DiskError. */
  replace(transactions: readonly AbortedTransaction[]): void {
    this.file.truncate(0);
    this.#used = false;
    for (const transaction of transactions) this.append(transaction);
    this.store();
  }

  /** How many entries from the first on can be what they are taken for. */
  #soundCount(): number {
    const bytes = new Uint8Array(ENTRIES_AT_ONCE * TRANSACTION_INDEX_ENTRY_BYTES);
    const view = new DataView(bytes.buffer);
    let before = BigInt(this.#baseOffset) - 1n;
    for (let index = 0;;) {
      const count = this.file.readMany(index, bytes);
      if (count === 0) return index;
      for (let i = 0; i < count; i++, index++) {
        const at = i * TRANSACTION_INDEX_ENTRY_BYTES;
        const firstOffset = view.getBigInt64(at + FIRST_OFFSET_AT);
        const lastOffset = view.getBigInt64(at + LAST_OFFSET_AT);
        // A marker follows its first record: an entry of zeros is one that never reached the disk.
        const isSound = view.getInt16(at) === VERSION && firstOffset >= 0n &&
          firstOffset < lastOffset && lastOffset > before;
        if (!isSound) return index;
        before = lastOffset;
      }
    }
  }

  /** What is impossible about the index, or null. Looks at every entry. */
  problem(): string | null {
    if (!this.file.exists()) return null;
    if (this.file.isMisshapen()) return "it is not a whole number of entries";
    const soundCount = this.#soundCount();
    if (soundCount === this.file.count) return null;
    return `its entry ${soundCount} is no aborted transaction`;
  }
}
