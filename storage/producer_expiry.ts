/**
 * Forgets, from time to time, the producers that were silent for too long, over all partitions.
 *
 * Silence counts from the timestamp of the last batch to the wall clock, as in Kafka: a clock that goes back
 * makes nothing expire early. The pass lets the event loop go on after each slice.
 */

import type { Clock, Timer } from "./platform.ts";
import type { ProducerTable } from "./producer_table.ts";

/** What to look at, and when. */
export interface ProducerExpiryOptions {
  readonly clock: Clock;
  readonly table: ProducerTable;
  readonly expirationMs: number;
  /** Time between the end of a pass and the next one. */
  readonly checkIntervalMs: number;
}

/** The passes over a table. */
export class ProducerExpiry {
  readonly #options: ProducerExpiryOptions;
  #timer: Timer | null = null;
  #pass: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(options: ProducerExpiryOptions) {
    this.#options = options;
    this.#arm();
  }

  #arm(): void {
    this.#timer = this.#options.clock.timer(this.#options.checkIntervalMs, () => {
      this.#pass = this.#run();
    });
  }

  async #run(): Promise<void> {
    const { clock, table, expirationMs } = this.#options;
    let row = 0;
    while (row >= 0 && !this.#isStopped) {
      row = table.removeExpired(row, { nowMs: clock.wallMs(), expirationMs });
      if (row >= 0) await clock.sleep(0);
    }
    if (!this.#isStopped) this.#arm();
  }

  /** Ends the passes. Resolves when none is under way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await this.#pass;
  }
}
