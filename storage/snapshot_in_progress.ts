/**
 * A snapshot of many producers, made in slices while the partition goes on: 100,000 at once would hold the
 * event loop for many milliseconds, in the middle of an append.
 *
 *     rows   written │ to be written          a row that is about to change before its turn
 *            ────────┴────────────────        is written first, as it still is
 */

import { type SnapshotEntry, SnapshotWriter } from "./producer_snapshot.ts";

/** Entries written in one go: well below a millisecond. */
const ENTRIES_PER_SLICE = 4096;

/** The producers of a partition as they were when it was begun. */
export class SnapshotInProgress {
  readonly #rows: Int32Array;
  readonly #read: (row: number) => SnapshotEntry;
  readonly #writer: SnapshotWriter;
  /** One for each row that was written before its turn. */
  readonly #isWritten: Uint8Array;
  #next = 0;
  #bytes: Uint8Array | null = null;

  /** Shape: `rows` ascend. `read` tells how a row is now. Few rows are written at once. */
  constructor(rows: Int32Array, read: (row: number) => SnapshotEntry) {
    this.#rows = rows;
    this.#read = read;
    this.#writer = new SnapshotWriter(rows.length);
    const isSmall = rows.length <= ENTRIES_PER_SLICE;
    this.#isWritten = new Uint8Array(isSmall ? 0 : rows.length);
    if (isSmall) this.writeSlice();
  }

  /** True once every row is written: rows may change. */
  get isWhole(): boolean {
    return this.#bytes !== null;
  }

  /** Writes what has its turn. Returns: true when all is written. */
  writeSlice(): boolean {
    const end = Math.min(this.#rows.length, this.#next + ENTRIES_PER_SLICE);
    for (; this.#next < end; this.#next++) {
      if (this.#isWritten[this.#next] !== 1) this.#put(this.#next);
    }
    if (end === this.#rows.length) this.#bytes ??= this.#writer.finish();
    return this.isWhole;
  }

  #put(index: number): void {
    this.#writer.put(index, this.#read(this.#rows[index]!));
  }

  /** Call it before a row changes or is given back. */
  beforeChange(row: number): void {
    const rows = this.#rows;
    let low = this.#next;
    let high = rows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (rows[middle]! < row) low = middle + 1;
      else high = middle;
    }
    if (rows[low] !== row || this.#isWritten[low] === 1) return;
    this.#put(low);
    this.#isWritten[low] = 1;
  }

  /** The snapshot; what is missing is written now. */
  finish(): Uint8Array {
    while (!this.writeSlice());
    return this.#bytes!;
  }
}
