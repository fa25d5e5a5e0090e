/**
 * Which bytes of a segment have had their checksums compared since it was opened.
 *
 *     0 ······[ checked ]·········[ checked ]···· openedBytes ══ appended by this process: need no check ══
 *
 * Readers mostly go forward, so that a few ranges say all; where there are more, the shortest is forgotten
 * and its bytes are compared again. Most segments have none and hold no array.
 */

/** Ranges remembered for one segment. */
const MAX_RANGES = 8;

/** The checked bytes of one segment. Positions are in bytes, ranges `[start, end)`. */
export class CheckedRanges {
  /** Bytes from the front that were there when the segment was opened; 0 when all are checked. */
  #openedBytes: number;
  /** start, end, start, end …: apart from each other, rising. */
  #bounds: number[] | null = null;

  constructor(openedBytes: number) {
    this.#openedBytes = openedBytes;
  }

  /** True when every byte of the range was checked, or was written by this process. */
  covers(start: number, end: number): boolean {
    if (start >= this.#openedBytes) return true;
    const until = Math.min(end, this.#openedBytes);
    const bounds = this.#bounds ?? [];
    for (let i = 0; i < bounds.length; i += 2) {
      if (bounds[i]! <= start && until <= bounds[i + 1]!) return true;
    }
    return false;
  }

  /** Notes that the range was compared and found whole. */
  add(start: number, end: number): void {
    const until = Math.min(end, this.#openedBytes);
    if (start >= until) return;
    const merged: number[] = [];
    let [from, to] = [start, until];
    const bounds = this.#bounds ?? [];
    let isPlaced = false;
    for (let i = 0; i < bounds.length; i += 2) {
      const [otherStart, otherEnd] = [bounds[i]!, bounds[i + 1]!];
      if (otherEnd < from) merged.push(otherStart, otherEnd);
      else if (otherStart > to) {
        if (!isPlaced) merged.push(from, to);
        isPlaced = true;
        merged.push(otherStart, otherEnd);
      } else [from, to] = [Math.min(from, otherStart), Math.max(to, otherEnd)];
    }
    if (!isPlaced) merged.push(from, to);
    if (merged.length > 2 * MAX_RANGES) forgetShortest(merged);
    const isAll = merged[0] === 0 && merged[1] === this.#openedBytes;
    if (isAll) this.#openedBytes = 0;
    this.#bounds = isAll ? null : merged;
  }

  /** The range is damaged: it counts as unchecked again, even if this process wrote it. */
  doubt(start: number, end: number, sizeBytes: number): void {
    const opened = this.#openedBytes;
    const bounds = this.#bounds ?? [];
    const checked: number[] = [];
    for (let i = 0; i < bounds.length; i += 2) checked.push(bounds[i]!, bounds[i + 1]!);
    if (opened < sizeBytes) checked.push(opened, sizeBytes);
    this.#openedBytes = Math.max(opened, sizeBytes);
    this.#bounds = null;
    for (let i = 0; i < checked.length; i += 2) {
      this.add(checked[i]!, Math.min(checked[i + 1]!, start));
      this.add(Math.max(checked[i]!, end), checked[i + 1]!);
    }
  }

  /** The bytes from `position` on are gone; what comes in their place is this process's own. */
  truncate(position: number): void {
    this.#openedBytes = Math.min(this.#openedBytes, position);
    const bounds = this.#bounds;
    this.#bounds = null;
    for (let i = 0; bounds !== null && i < bounds.length; i += 2) {
      this.add(bounds[i]!, bounds[i + 1]!);
    }
  }
}

function forgetShortest(bounds: number[]): void {
  let shortest = 0;
  for (let i = 2; i < bounds.length; i += 2) {
    const length = bounds[i + 1]! - bounds[i]!;
    if (length < bounds[shortest + 1]! - bounds[shortest]!) shortest = i;
  }
  bounds.splice(shortest, 2);
}
