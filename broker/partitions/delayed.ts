/**
 * Requests that wait: each has a deadline, and all of them share one timer.
 *
 * What a request waits for wakes it by itself (`Partition.onCommitted`, `PartitionWatch`); this file only ends
 * the wait when its time has come or the broker stops. Bounded: a request past the bound does not wait.
 */

import type { Clock } from "../../storage/platform.ts";
import { Deadlines } from "../deadlines.ts";

/** Requests that may wait at the same time. */
const MAX_WAITING = 100_000;

/** Something that waits. */
export interface Waiting {
  /** Its time is over, or the broker stops. Called at most once; must not throw. */
  expire(): void;
}

/** All that waits. */
export class Delayed {
  readonly #clock: Clock;
  readonly #deadlines: Deadlines<Waiting>;
  readonly #maxWaiting: number;
  #isClosed = false;

  constructor({ clock, maxWaiting = MAX_WAITING }: {
    readonly clock: Clock;
    readonly maxWaiting?: number;
  }) {
    this.#clock = clock;
    this.#maxWaiting = maxWaiting;
    this.#deadlines = new Deadlines({ clock, onDue: (waiting) => waiting.expire() });
  }

  /** How many wait now. */
  get size(): number {
    return this.#deadlines.size;
  }

  /** Lets `waiting` wait for at most `delayMs`. Returns: false when it may not: too many do, or the end is near. */
  add(waiting: Waiting, delayMs: number): boolean {
    if (this.#isClosed || delayMs <= 0 || this.#deadlines.size >= this.#maxWaiting) return false;
    this.#deadlines.set(waiting, this.#clock.monotonicMs() + delayMs);
    return true;
  }

  /** Takes out what need not wait any more. */
  remove(waiting: Waiting): void {
    this.#deadlines.delete(waiting);
  }

  /** Ends every wait, and lets nobody wait from now on. */
  close(): void {
    this.#isClosed = true;
    this.#deadlines.stop();
    for (;;) {
      const waiting = this.#deadlines.take();
      if (waiting === undefined) return;
      waiting.expire();
    }
  }
}
