/**
 * How long the event loop is held: a timer that says when it should have fired and notes how late it was.
 *
 * Nothing may hold the loop longer than 10 ms; this histogram is the proof, or the opposite.
 */

import type { Clock, Timer } from "../../storage/platform.ts";
import { Histogram } from "./histogram.ts";

/** Time between two looks: often enough to meet a hold of 10 ms, seldom enough to cost nothing. */
const INTERVAL_MS = 20;

/** Bounds in seconds: around the 10 ms that are the limit. */
export const LOOP_DELAY_BOUNDS: readonly number[] = [
  0.001,
  0.002,
  0.005,
  0.01,
  0.02,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  5,
];

/** Measures from its making until `stop`. */
export class LoopDelay {
  readonly histogram = new Histogram(LOOP_DELAY_BOUNDS);
  readonly #clock: Clock;
  #timer: Timer;
  #dueMs: number;
  #maxMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#dueMs = clock.monotonicMs() + INTERVAL_MS;
    this.#timer = clock.timer(INTERVAL_MS, () => this.#tick());
  }

  /** The longest delay since the last call, in milliseconds. */
  takeMaxMs(): number {
    const maxMs = this.#maxMs;
    this.#maxMs = 0;
    return maxMs;
  }

  stop(): void {
    this.#timer.cancel();
  }

  #tick(): void {
    const nowMs = this.#clock.monotonicMs();
    const delayMs = Math.max(0, nowMs - this.#dueMs);
    this.histogram.observe(delayMs / 1000);
    this.#maxMs = Math.max(this.#maxMs, delayMs);
    this.#dueMs = nowMs + INTERVAL_MS;
    this.#timer = this.#clock.timer(INTERVAL_MS, () => this.#tick());
  }
}
