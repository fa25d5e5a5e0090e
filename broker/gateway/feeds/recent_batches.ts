/**
 * What feeds have just handed out, for those who were full at that moment: they go on from memory, all with the same
 * bytes, where each would else fetch, decode and encode the same records for itself. When a machine is short of time,
 * thousands are full at once.
 *
 * Bounds: so many bytes for all feeds together, the oldest go first. A batch counts with the memory that it holds.
 */

import type { FeedBatch } from "./feed_batch.ts";

const MAX_BYTES = 16 * 1024 * 1024;
/** Of one feed: whoever is further behind reads for itself. */
const MAX_BATCHES = 256;
/** What a batch holds besides its records. */
const BATCH_BYTES = 1024;
/** Forms that are kept with it, the records among them, as a rule. */
const FORMS = 4;

interface Kept {
  readonly of: RecentBatches;
  readonly bytes: number;
}

/** The bound for all feeds of a node. */
export class RecentBudget {
  readonly #kept: Kept[] = [];
  #first = 0;
  #byteCount = 0;

  /** What is held now. */
  get byteCount(): number {
    return this.#byteCount;
  }

  /** Counts a batch, and lets the oldest go until all fit. */
  add(of: RecentBatches, bytes: number): void {
    this.#kept.push({ of, bytes });
    this.#byteCount += bytes;
    while (this.#byteCount > MAX_BYTES) {
      const oldest = this.#kept[this.#first++]!;
      this.#byteCount -= oldest.bytes;
      oldest.of.dropOldest();
    }
    if (this.#first > 1024 && this.#first * 2 > this.#kept.length) {
      this.#kept.splice(0, this.#first);
      this.#first = 0;
    }
  }
}

/** Batches of one feed that follow each other without a gap. */
export class RecentBatches {
  readonly #budget: RecentBudget;
  #batches: FeedBatch[] = [];
  /** Of the budget's entries, those that were let go here before their turn. */
  #droppedEarly = 0;

  constructor(budget: RecentBudget) {
    this.#budget = budget;
  }

  /** True when there is none. */
  get isEmpty(): boolean {
    return this.#batches.length === 0;
  }

  /** Keeps a batch, which begins where the last one ended. */
  add(batch: FeedBatch): void {
    this.#batches.push(batch);
    this.#budget.add(this, BATCH_BYTES + heldBytes(batch));
    if (this.#batches.length > MAX_BATCHES) {
      this.#batches.shift();
      this.#droppedEarly++;
    }
  }

  /** The budget lets the oldest go. */
  dropOldest(): void {
    if (this.#droppedEarly > 0) this.#droppedEarly--;
    else this.#batches.shift();
  }

  /** What comes after it is not what came before. */
  clear(): void {
    this.#droppedEarly += this.#batches.length;
    this.#batches = [];
  }

  /** The batch that goes on at an offset; null where none does. */
  at(offset: number): FeedBatch | null {
    let low = 0;
    let high = this.#batches.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#batches[middle]!.nextOffset <= offset) low = middle + 1;
      else high = middle;
    }
    const found = this.#batches[low];
    return found !== undefined && found.startOffset <= offset ? found : null;
  }
}

/** Records are views, which hold all that was fetched with them; forms that are made of them are about as large. */
function heldBytes({ records }: FeedBatch): number {
  const first = records[0];
  const bytes = first?.value ?? first?.key ?? null;
  return FORMS * (bytes?.buffer.byteLength ?? 0);
}
