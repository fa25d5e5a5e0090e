/**
 * Requests that wait: each has a deadline, and all of them share one timer.
 *
 * What a request waits for wakes it by itself (`Partition.onCommitted`, `FetchWaiter`); this file only ends
 * the wait when its time has come or the broker stops. Bounded: a request past the bound does not wait.
 */

import type { Clock, Timer } from "../../storage/platform.ts";
import { DeadlineQueue } from "../deadline_queue.ts";

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
  readonly #queue = new DeadlineQueue<Waiting>();
  readonly #maxWaiting: number;
  #timer: Timer | null = null;
  #timerAtMs = Infinity;
  #isClosed = false;

  constructor({ clock, maxWaiting = MAX_WAITING }: {
    readonly clock: Clock;
    readonly maxWaiting?: number;
  }) {
    this.#clock = clock;
    this.#maxWaiting = maxWaiting;
  }

  /** How many wait now. */
  get size(): number {
    return this.#queue.size;
  }

  /** Lets `waiting` wait for at most `delayMs`. Returns: false when it may not: too many do, or the end is near. */
  add(waiting: Waiting, delayMs: number): boolean {
    if (this.#isClosed || delayMs <= 0 || this.#queue.size >= this.#maxWaiting) return false;
    this.#queue.set(waiting, this.#clock.monotonicMs() + delayMs);
    this.#arm();
    return true;
  }

  /** Takes out what need not wait any more. */
  remove(waiting: Waiting): void {
    this.#queue.delete(waiting);
  }

  /** Ends every wait, and lets nobody wait from now on. */
  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#timer = null;
    this.#expire(Infinity);
  }

  #arm(): void {
    const nextMs = this.#queue.nextMs;
    // A timer that is early is left: when it fires, the next one is set.
    if (nextMs >= this.#timerAtMs) return;
    this.#timer?.cancel();
    this.#timerAtMs = nextMs;
    this.#timer = this.#clock.timer(Math.max(0, nextMs - this.#clock.monotonicMs()), () => {
      this.#timer = null;
      this.#timerAtMs = Infinity;
      this.#expire(this.#clock.monotonicMs());
      if (this.#queue.size > 0) this.#arm();
    });
  }

  #expire(nowMs: number): void {
    for (;;) {
      const due = this.#queue.popDue(nowMs);
      if (due === undefined) return;
      due.expire();
    }
  }
}
