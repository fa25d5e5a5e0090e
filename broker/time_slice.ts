/** Long work on the event loop, in slices: between two of them everybody else has a turn. */

import type { Clock } from "../storage/platform.ts";

/** One slice after another. */
export class TimeSlice {
  readonly #clock: Clock;
  readonly #sliceMs: number;
  #startMs: number;

  /** Begins with a slice; `startMs` −Infinity for one that is over, so that others come first. */
  constructor(clock: Clock, sliceMs: number, startMs = clock.monotonicMs()) {
    this.#clock = clock;
    this.#sliceMs = sliceMs;
    this.#startMs = startMs;
  }

  /** True when the loop is to be given back. */
  get isOver(): boolean {
    return this.#clock.monotonicMs() - this.#startMs >= this.#sliceMs;
  }

  /** Returns: when others have had their turn, with a new slice. */
  async next(): Promise<void> {
    await this.#clock.sleep(0);
    this.#startMs = this.#clock.monotonicMs();
  }
}
