/**
 * Virtual time: stands still until a test advances it. Timers fire in the order of their time, then of
 * their making, and all promises that a timer settles have run before the next one fires.
 *
 *     const clock = new SimClock();
 *     const done = clock.sleep(5_000);
 *     await clock.advance(5_000);       // done is settled now; no real time has passed
 */

import { drainMicrotasks } from "bun:jsc";
import { type TimestampMs, timestampMs } from "../../protocol/types.ts";
import type { Clock, Timer } from "../../storage/platform.ts";

interface Event {
  readonly atMs: number;
  readonly order: number;
  callback: (() => void) | null;
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** A clock that moves only when told. Wall time starts at 2026-01-01 unless told otherwise. */
export class SimClock implements Clock {
  #nowMs = 0;
  #wallOffsetMs: number;
  #order = 0;
  /** Binary heap, earliest first. Cancelled events stay until they are popped. */
  #heap: Event[] = [];

  constructor(startWallMs: number = Date.UTC(2026, 0, 1)) {
    this.#wallOffsetMs = startWallMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): TimestampMs {
    return timestampMs(Math.floor(this.#wallOffsetMs + this.#nowMs));
  }

  /** Makes wall time jump, as an operator or NTP does. */
  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  /** Time passes while the caller works: nobody has a turn meanwhile. */
  work(byMs: number): void {
    this.#nowMs += byMs;
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.timer(delayMs, () => resolve());
      signal?.addEventListener("abort", () => {
        timer.cancel();
        resolve();
      }, { once: true });
    });
  }

  timer(delayMs: number, callback: () => void): Timer {
    const event: Event = {
      atMs: this.#nowMs + Math.max(delayMs, 0),
      order: this.#order++,
      callback,
    };
    this.#push(event);
    return { cancel: () => event.callback = null };
  }

  /** Timers that have not fired or been cancelled: a subsystem that has stopped leaves none. */
  get pendingTimers(): number {
    return this.#heap.filter((event) => event.callback !== null).length;
  }

  /** Forgets every timer: the process that had made them has crashed. */
  dropTimers(): void {
    this.#heap = [];
  }

  /** Pops the earliest timer at or before `untilMs` and runs it. Returns: false when there is none. */
  step(untilMs = Infinity): boolean {
    for (
      let event = this.#heap[0];
      event !== undefined;
      event = this.#heap[0]
    ) {
      if (event.callback !== null && event.atMs > untilMs) return false;
      this.#pop();
      if (event.callback === null) continue;
      this.#nowMs = Math.max(this.#nowMs, event.atMs);
      const callback = event.callback;
      event.callback = null;
      callback();
      return true;
    }
    return false;
  }

  /** Moves time forward, running every timer on the way with its microtasks. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs;
    do {
      drainMicrotasks();
      await Promise.resolve();
    } while (this.step(untilMs));
    this.#nowMs = untilMs;
    drainMicrotasks();
    await Promise.resolve();
  }

  /** Runs timers until `promise` settles. Errors: when no timer is left and it has not, within `limitMs`. */
  async run<T>(promise: Promise<T>, limitMs = 3_600_000): Promise<T> {
    let settled = false;
    const mark = () => {
      settled = true;
    };
    promise.then(mark, mark);
    const untilMs = this.#nowMs + limitMs;
    for (let idle = 0; !settled;) {
      drainMicrotasks();
      await Promise.resolve();
      if (settled) break;
      if (this.step(untilMs)) idle = 0;
      else if (++idle > 100) {
        throw new Error(
          `Cannot settle within ${limitMs} ms of virtual time: nothing is left to run`,
        );
      }
    }
    return promise;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) {
        child++;
      }
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}
