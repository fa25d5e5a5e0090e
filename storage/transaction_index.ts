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
      path: segmentPath(options.directory, options.baseOffset, TRANSACTION_INDEX_SUFFIX),
      entryBytes: TRANSACTION_INDEX_ENTRY_BYTES,
      disk: options.disk,
      files: options.files,
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
    view.setBigInt64(10, BigInt(transaction.firstOffset));
    view.setBigInt64(18, BigInt(transaction.lastOffset));
    view.setBigInt64(26, BigInt(transaction.lastStableOffset));
    this.#used = true;
  }

  /** Writes the entries into the page cache. Errors: DiskError. */
  store(): void {
    if (this.isUsed) this.file.store();
  }

  /** Every entry, in file order. Errors: WireError when one is not an aborted transaction. */
  *entries(): Generator<AbortedTransaction, void, void> {
    if (!this.isUsed) return;
    const bytes = new Uint8Array(TRANSACTION_INDEX_ENTRY_BYTES);
    for (let index = 0; index < this.file.count; index++) {
      this.file.read(index, bytes);
      const reader = new Reader(bytes, 2);
      yield {
        producerId: reader.int64(),
        firstOffset: reader.int64(),
        lastOffset: reader.int64(),
        lastStableOffset: reader.int64(),
      };
    }
  }

  /**
   * Adds to `found` the transactions that overlap `[fromOffset, upToOffset)`.
   * Returns: true when no later segment can hold another one.
   */
  collect(fromOffset: number, upToOffset: number, found: AbortedTransaction[]): boolean {
    for (const transaction of this.entries()) {
      if (transaction.lastOffset >= fromOffset && transaction.firstOffset < upToOffset) {
        found.push(transaction);
      }
      if (transaction.lastStableOffset >= upToOffset) return true;
    }
    return false;
  }

  /** Drops the transactions whose marker is at or past `offset`, and what cannot be an entry. */
  truncateTo(offset: number): void {
    if (this.file.count === 0 && !this.file.exists()) return;
    let kept = 0;
    let before = this.#baseOffset - 1;
    for (const lastOffset of this.#markerOffsets()) {
      if (lastOffset >= offset || lastOffset <= before) break;
      before = lastOffset;
      kept++;
    }
    this.file.truncate(kept);
    this.#used = kept > 0;
  }

  *#markerOffsets(): Generator<number, void, void> {
    const bytes = new Uint8Array(TRANSACTION_INDEX_ENTRY_BYTES);
    const view = new DataView(bytes.buffer);
    for (let index = 0; index < this.file.count; index++) {
      this.file.read(index, bytes);
      const lastOffset = view.getBigInt64(18);
      // A marker follows its first record: an entry of zeros is one that never reached the disk.
      if (view.getBigInt64(10) >= lastOffset) return;
      yield Number(lastOffset);
    }
  }

  /** What is impossible about the index, or null. */
  problem(): string | null {
    if (!this.file.exists()) return null;
    if (this.file.isMisshapen()) return "it is not a whole number of entries";
    return null;
  }
}
