/**
 * Transactions that have ended while their markers may still lie above the high watermark: they hold the
 * last stable offset until the high watermark has passed the marker.
 *
 * Markers come in the order of offsets and go in that order, and only the smallest first offset of those
 * that are left is ever asked for. So one that starts before those already here makes them needless: what
 * stays is a queue in which both offsets grow, its front is the answer, and every call is O(1) in the long
 * run. Past a bound neighbours are joined: the stable offset then moves in longer steps, never too far.
 */

const MAX_ENTRIES = 1024;

/** The transactions of one partition that may not be replicated yet. */
export class UnreplicatedTransactions {
  #firstOffsets: number[] = [];
  #lastOffsets: number[] = [];
  /** Entries before it are gone. */
  #front = 0;

  /** `lastOffset` is the marker's, past that of all markers before. */
  add(firstOffset: number, lastOffset: number): void {
    while (this.#count > 0 && this.#firstOffsets.at(-1)! >= firstOffset) {
      this.#firstOffsets.pop();
      this.#lastOffsets.pop();
    }
    this.#firstOffsets.push(firstOffset);
    this.#lastOffsets.push(lastOffset);
    if (this.#firstOffsets.length >= MAX_ENTRIES) this.#compact();
  }

  get #count(): number {
    return this.#firstOffsets.length - this.#front;
  }

  #compact(): void {
    const firstOffsets = this.#firstOffsets.slice(this.#front);
    const lastOffsets = this.#lastOffsets.slice(this.#front);
    const isFull = firstOffsets.length > MAX_ENTRIES / 2;
    this.#front = 0;
    this.#firstOffsets = isFull ? firstOffsets.filter((_, index) => index % 2 === 0) : firstOffsets;
    this.#lastOffsets = isFull
      ? lastOffsets.filter((_, index) => index % 2 === 1 || index === lastOffsets.length - 1)
      : lastOffsets;
  }

  /** Forgets those whose marker is replicated. Returns: the smallest first offset of the rest, or −1. */
  firstOffset(highWatermark: number): number {
    while (this.#count > 0 && this.#lastOffsets[this.#front]! < highWatermark) this.#front++;
    if (this.#count > 0) return this.#firstOffsets[this.#front]!;
    if (this.#front > 0) {
      this.#firstOffsets = [];
      this.#lastOffsets = [];
      this.#front = 0;
    }
    return -1;
  }
}
