/** A process on a shared simulated clock, whose timers die with it while the clock goes on. */

import type { Clock, Timer } from "../../storage/platform.ts";

/** The clock of one process: its timers end with it. */
export class ProcessClock implements Clock {
  readonly #clock: Clock;
  readonly #timers = new Set<Timer>();
  #isDead = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }
  /** Timers that have not fired or been cancelled. */
  get pendingTimers(): number {
    return this.#timers.size;
  }
  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }
  wallMs() {
    return this.#clock.wallMs();
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
    const timer = this.#clock.timer(delayMs, () => {
      this.#timers.delete(handle);
      callback();
    });
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
