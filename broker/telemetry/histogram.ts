/** A histogram for the hot path: fixed bounds, one array of counts, no labels to look up, no allocation. */

/** Bounds in seconds for what takes from 50 µs to 10 s. */
export const DURATION_BOUNDS: readonly number[] = [
  0.000_05,
  0.000_1,
  0.000_25,
  0.000_5,
  0.001,
  0.002_5,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10,
];

/** Counts values by size. */
export class Histogram {
  /** Upper bounds, inclusive, ascending; what lies above the last is counted in the total alone. */
  readonly bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;

  constructor(bounds: readonly number[] = DURATION_BOUNDS) {
    this.bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const { bounds } = this;
    let bucket = 0;
    while (bucket < bounds.length && value > (bounds[bucket] ?? Infinity)) bucket++;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#sum += value;
  }

  get sum(): number {
    return this.#sum;
  }

  get count(): number {
    return this.#counts.reduce((total, count) => total + count, 0);
  }

  /** How many values lay at or below each bound. Shape: as long as `bounds`. */
  cumulativeCounts(): number[] {
    let total = 0;
    return this.bounds.map((_, index) => total += this.#counts[index] ?? 0);
  }
}
