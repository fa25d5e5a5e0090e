/**
 * Deadlines of many things behind one timer, which stands for the earliest.
 *
 *     set ──→ queue ──timer of the head──→ onDue, some at a time ──→ timer of the next head
 *
 * A timer that is early is left: when it fires, the next one is set. That costs less than moving it with every
 * deadline that moves.
 *
 * Invariant: while something is in the queue and `stop` was not called, one timer is set, for the head or before it.
 */

import type { Clock, Timer } from "../storage/platform.ts";
import { DeadlineQueue } from "./deadline_queue.ts";

/** What happens when something is due. */
export interface DeadlinesOptions<T> {
  readonly clock: Clock;
  /** How many are worked off before the event loop is given back; all that are due where it is left out. */
  readonly perTick?: number;
  /** It is out of the queue by then. Must not throw. */
  readonly onDue: (thing: T) => void;
}

/** Things with deadlines on the monotonic clock. */
export class Deadlines<T> {
  readonly #clock: Clock;
  readonly #perTick: number;
  readonly #onDue: (thing: T) => void;
  readonly #queue = new DeadlineQueue<T>();
  #timer: { readonly atMs: number; readonly timer: Timer } | null = null;
  #isStopped = false;

  constructor({ clock, perTick = Infinity, onDue }: DeadlinesOptions<T>) {
    this.#clock = clock;
    this.#perTick = perTick;
    this.#onDue = onDue;
  }

  /** How many things have a deadline. */
  get size(): number {
    return this.#queue.size;
  }

  /** Gives `thing` the deadline `atMs` in place of the one that it had; Infinity takes it out. */
  set(thing: T, atMs: number): void {
    this.#queue.set(thing, atMs);
    this.#arm();
  }

  /** Takes `thing` out, if it is there. */
  delete(thing: T): void {
    this.#queue.delete(thing);
  }

  /** Takes out the one that is due first, whenever that is; undefined when there is none. */
  take(): T | undefined {
    return this.#queue.popDue(Infinity);
  }

  /** From now on nothing is due any more, whatever is or comes into the queue. */
  stop(): void {
    this.#isStopped = true;
    this.#timer?.timer.cancel();
    this.#timer = null;
  }

  #arm(): void {
    const atMs = this.#queue.nextMs;
    if (atMs === Infinity || this.#isStopped) return;
    if (this.#timer !== null) {
      if (this.#timer.atMs <= atMs) return;
      this.#timer.timer.cancel();
    }
    const delayMs = Math.max(0, atMs - this.#clock.monotonicMs());
    this.#timer = { atMs, timer: this.#clock.timer(delayMs, () => this.#tick()) };
  }

  #tick(): void {
    this.#timer = null;
    const nowMs = this.#clock.monotonicMs();
    for (let count = 0; count < this.#perTick; count++) {
      const thing = this.#queue.popDue(nowMs);
      if (thing === undefined) break;
      this.#onDue(thing);
    }
    this.#arm();
  }
}
