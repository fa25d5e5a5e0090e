/** A process on a shared simulated clock, whose timers die with it while the clock goes on. */

import { type TimestampMs, timestampMs } from "../../protocol/types.ts";
import type { Clock, Timer } from "../../storage/platform.ts";

/** What a process' clock may have besides the time. */
export interface ProcessClockOptions {
  /** Keeps timers that fire while the process is paused. */
  readonly gate?: { run(callback: () => void): void };
  /** By how much the wall clock of its machine is wrong. Units: ms. */
  readonly wallSkewMs?: () => number;
}

/** The clock of one process: its timers end with it. */
export class ProcessClock implements Clock {
  readonly #clock: Clock;
  readonly #options: ProcessClockOptions;
  readonly #timers = new Set<Timer>();
  #isDead = false;

  constructor(clock: Clock, options: ProcessClockOptions = {}) {
    this.#clock = clock;
    this.#options = options;
  }
  /** Timers that have not fired or been cancelled. */
  get pendingTimers(): number {
    return this.#timers.size;
  }
  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }
  wallMs(): TimestampMs {
    return timestampMs(this.#clock.wallMs() + (this.#options.wallSkewMs?.() ?? 0));
  }
  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const aborted = () => {
        timer.cancel();
        resolve();
      };
      const timer = this.timer(delayMs, () => {
        signal?.removeEventListener("abort", aborted);
        resolve();
      });
      signal?.addEventListener("abort", aborted, { once: true });
    });
  }
  timer(delayMs: number, callback: () => void): Timer {
    if (this.#isDead) return { cancel() {} };
    const { gate } = this.#options;
    const fire = () => {
      if (this.#timers.delete(handle)) callback();
    };
    const timer = this.#clock.timer(delayMs, () => gate === undefined ? fire() : gate.run(fire));
    const handle = {
      cancel: () => {
        this.#timers.delete(handle);
        timer.cancel();
      },
    };
    this.#timers.add(handle);
    return handle;
  }
  die(): void {
    this.#isDead = true;
    for (const timer of [...this.#timers]) timer.cancel();
  }
}
