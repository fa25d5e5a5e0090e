/**
 * Work that takes turns: so much at once, in the order of asking, but for what somebody waits for.
 *
 *     run(name, work) ──→ waiting ──→ under way (at most N) ──→ done
 *                            └── hurry(name): before all others ──┘
 *
 * Work that never waits for anything would hold the event loop, however little each piece takes: after a few
 * milliseconds the loop goes on first.
 */

import type { Clock } from "./platform.ts";

const YIELD_AFTER_MS = 4;

/** Bounds of a queue. */
export interface TurnQueueOptions {
  readonly clock: Clock;
  /** How much may be under way now. */
  readonly maxAtOnce: () => number;
}

/** Pieces of work by name. Shape: a name is used by one of them at a time. */
export class TurnQueue {
  readonly #options: TurnQueueOptions;
  readonly #waiting = new Map<string, () => void>();
  readonly #urgent = new Map<string, () => void>();
  #runningCount = 0;
  /** When the loop last went on. */
  #turnBeganMs = 0;
  #yielding: Promise<void> | null = null;

  constructor(options: TurnQueueOptions) {
    this.#options = options;
  }

  /** Runs the work once its turn has come. Errors: those of the work. */
  async run<T>(name: string, work: () => Promise<T>): Promise<T> {
    // Where nothing was under way, the loop has just gone on.
    if (this.#runningCount === 0) this.#turnBeganMs = this.#options.clock.monotonicMs();
    if (this.#runningCount < this.#options.maxAtOnce()) this.#runningCount++;
    else await new Promise<void>((resolve) => this.#waiting.set(name, resolve));
    try {
      await this.#letLoopGoOn();
      return await work();
    } finally {
      this.#runningCount--;
      this.#startNext();
    }
  }

  /** Lets what waits under the name go first; does nothing when nothing does. */
  hurry(name: string): void {
    const start = this.#waiting.get(name);
    if (start === undefined) return;
    this.#waiting.delete(name);
    this.#urgent.set(name, start);
  }

  #startNext(): void {
    for (const queue of [this.#urgent, this.#waiting]) {
      for (const [name, start] of queue) {
        if (this.#runningCount >= this.#options.maxAtOnce()) return;
        queue.delete(name);
        this.#runningCount++;
        start();
      }
    }
  }

  async #letLoopGoOn(): Promise<void> {
    const { clock } = this.#options;
    while (clock.monotonicMs() - this.#turnBeganMs >= YIELD_AFTER_MS) {
      this.#yielding ??= clock.sleep(0).then(() => {
        this.#turnBeganMs = clock.monotonicMs();
        this.#yielding = null;
      });
      await this.#yielding;
    }
  }
}
