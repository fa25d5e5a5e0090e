/**
 * Times of any number of requests in a fixed amount of memory, exact to half a percent.
 *
 *     ticks of 0.1 µs:  0 1 2 … 255 | 256 258 … 510 | 512 516 … | …     128 buckets each time it doubles
 */

const TICKS_PER_MS = 10_000;
/** Buckets for each doubling. */
const STEPS = 128;
const STEP_BITS = 7;
const MAX_TICKS = 0xffff_ffff;
const BUCKETS = bucketOf(MAX_TICKS) + 1;

/** What is told of them. Units: ms, to a thousandth. */
export interface LatencyFigures {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

/** Counts times by size. Units: ms. */
export class Latencies {
  readonly #counts = new Float64Array(BUCKETS);
  #count = 0;
  #maxMs = 0;

  note(ms: number): void {
    this.#counts[bucketOf(Math.min(Math.max(0, Math.round(ms * TICKS_PER_MS)), MAX_TICKS))]! += 1;
    this.#count++;
    if (ms > this.#maxMs) this.#maxMs = ms;
  }

  get count(): number {
    return this.#count;
  }

  get maxMs(): number {
    return this.#maxMs;
  }

  /** The time that so large a part of all did not exceed; 0 where there is none. `part` is from 0 to 1. */
  quantileMs(part: number): number {
    const rank = Math.max(1, Math.ceil(part * this.#count));
    let below = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      below += this.#counts[bucket]!;
      if (below >= rank) return Math.min(middleOf(bucket) / TICKS_PER_MS, this.#maxMs);
    }
    return this.#maxMs;
  }

  figures(): LatencyFigures {
    return {
      p50Ms: rounded(this.quantileMs(0.5)),
      p99Ms: rounded(this.quantileMs(0.99)),
      p999Ms: rounded(this.quantileMs(0.999)),
      maxMs: rounded(this.#maxMs),
    };
  }
}

/** To a thousandth: more would say nothing. */
export function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}

function bucketOf(ticks: number): number {
  const shift = Math.max(0, 31 - Math.clz32(ticks) - STEP_BITS);
  return shift * STEPS + (ticks >>> shift);
}

/** The middle of what a bucket counts. Units: ticks. */
function middleOf(bucket: number): number {
  const shift = Math.max(0, Math.floor(bucket / STEPS) - 1);
  return (bucket - shift * STEPS + 0.5) * 2 ** shift - 0.5;
}
