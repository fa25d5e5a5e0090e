/**
 * Deadlines of many things, of which only the earliest needs a timer: a binary heap that knows where
 * each thing stands, so that a deadline moves in logarithmic time and nothing is left behind.
 *
 * Invariant: one entry for each thing, so the queue is as long as there are things.
 */

interface Entry<T> {
  readonly thing: T;
  atMs: number;
  index: number;
}

/** Things by the monotonic time at which they are due. */
export class DeadlineQueue<T> {
  readonly #heap: Entry<T>[] = [];
  readonly #entries = new Map<T, Entry<T>>();

  /** How many things have a deadline. */
  get size(): number {
    return this.#heap.length;
  }

  /** The earliest deadline; Infinity when there is none. */
  get nextMs(): number {
    return this.#heap[0]?.atMs ?? Infinity;
  }

  /** Gives `thing` the deadline `atMs` in place of the one that it had; Infinity takes it out. */
  set(thing: T, atMs: number): void {
    const entry = this.#entries.get(thing);
    if (atMs === Infinity) {
      if (entry !== undefined) this.#remove(entry);
      return;
    }
    if (entry === undefined) {
      const added = { thing, atMs, index: this.#heap.length };
      this.#entries.set(thing, added);
      this.#heap.push(added);
      this.#up(added);
      return;
    }
    const before = entry.atMs;
    entry.atMs = atMs;
    if (atMs < before) this.#up(entry);
    else this.#down(entry);
  }

  /** Takes `thing` out, if it is there. */
  delete(thing: T): void {
    this.set(thing, Infinity);
  }

  /** Takes out and returns a thing that is due at `nowMs`; undefined when none is. */
  popDue(nowMs: number): T | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.atMs > nowMs) return undefined;
    this.#remove(first);
    return first.thing;
  }

  #remove(entry: Entry<T>): void {
    this.#entries.delete(entry.thing);
    const last = this.#heap.pop();
    if (last === undefined || last === entry) return;
    this.#place(last, entry.index);
    this.#up(last);
    this.#down(last);
  }

  #place(entry: Entry<T>, index: number): void {
    this.#heap[index] = entry;
    entry.index = index;
  }

  #up(entry: Entry<T>): void {
    while (entry.index > 0) {
      const index = entry.index;
      const parent = this.#heap[(index - 1) >> 1];
      if (parent === undefined || parent.atMs <= entry.atMs) return;
      this.#place(entry, parent.index);
      this.#place(parent, index);
    }
  }

  #down(entry: Entry<T>): void {
    for (;;) {
      const index = entry.index;
      const left = this.#heap[2 * index + 1];
      const right = this.#heap[2 * index + 2];
      const child = right !== undefined && left !== undefined && right.atMs < left.atMs
        ? right
        : left;
      if (child === undefined || child.atMs >= entry.atMs) return;
      this.#place(entry, child.index);
      this.#place(child, index);
    }
  }
}
