/**
 * Who prepares a client's batch: the event loop, where that is short, else a worker thread.
 *
 *     prepareNow ──→ short, and this turn of the loop has not done much yet ──→ the batch
 *         └── null ──→ prepare ──→ waits for a place ──→ job `prepare-batch` ──→ the batch
 *
 * One turn of the loop decompresses `TURN_BYTES` at most, and one batch more: a request of a thousand small
 * bombs must not hold it either. Jobs are begun in the order of the calls and may end in any other.
 *
 * Bound of the memory: what waits is the sender's and counted in the budget of the connections; each of the
 * `MAX_RUNNING` jobs holds a copy of its batch; each thread holds one batch decompressed, of at most
 * `maxDecompressedBatchBytes`, twice that while a codec puts its pieces together, and what it compresses to.
 */

import type { AppendRefusal } from "./append_check.ts";
import type { Clock, Timer } from "./platform.ts";
import {
  type LoopEffort,
  prepareBatchJob,
  prepareBatchWithin,
  type PreparedBatch,
  type PrepareRequest,
  type PrepareRules,
} from "./prepare_batch.ts";
import { cancelled, type Workers } from "./workers.ts";

/** Bytes that one turn of the event loop may decompress: 1 to 3 ms. */
const TURN_BYTES = 1024 * 1024;
/** One more than there are threads for them keeps the threads busy. */
const MAX_RUNNING = 3;

/** What batches are prepared with. */
export interface BatchPreparerOptions {
  readonly workers: Workers;
  readonly clock: Clock;
}

/** Prepares the batches of clients. */
export class BatchPreparer {
  readonly #workers: Workers;
  readonly #clock: Clock;
  readonly #effort: LoopEffort = { leftBytes: TURN_BYTES };
  #nextTurn: Timer | null = null;
  #runningCount = 0;
  /** Calls that begin the next job, in order. */
  readonly #waiting = new Set<() => void>();

  constructor({ workers, clock }: BatchPreparerOptions) {
    this.#workers = workers;
    this.#clock = clock;
  }

  /** Prepares it here where that is short, in place. Returns: null where `prepare` has to. */
  prepareNow(
    records: Uint8Array,
    rules: PrepareRules,
    requestVersion: number,
  ): PreparedBatch | AppendRefusal | null {
    const request = { nowMs: this.#clock.wallMs(), requestVersion };
    const prepared = prepareBatchWithin(this.#effort, records, rules, request);
    if (this.#effort.leftBytes < TURN_BYTES) this.#nextTurn ??= this.#clock.timer(0, this.#onTurn);
    return prepared;
  }

  /**
   * Prepares it on another thread; `records` is copied when its job begins, and not changed.
   * Errors: JobCancelledError, and an Error when the thread is lost.
   */
  async prepare(
    records: Uint8Array,
    rules: PrepareRules,
    requestVersion: number,
    signal: AbortSignal,
  ): Promise<PreparedBatch | AppendRefusal> {
    const request: PrepareRequest = { nowMs: this.#clock.wallMs(), requestVersion };
    await this.#place(signal);
    try {
      const input = { records: records.slice(), rules, request };
      const moves = [input.records.buffer];
      return await this.#workers.run(prepareBatchJob, input, { signal, moves });
    } finally {
      this.#runningCount--;
      for (const begin of this.#waiting) {
        begin();
        break;
      }
    }
  }

  /** Stops the timer. What is being prepared ends with the workers. */
  close(): void {
    this.#nextTurn?.cancel();
    this.#nextTurn = null;
  }

  /** Resolves when the caller may run its job; it is counted by then. */
  #place(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(cancelled(prepareBatchJob));
    if (this.#runningCount < MAX_RUNNING) {
      this.#runningCount++;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(begin);
        signal.removeEventListener("abort", onAbort);
      };
      const begin = (): void => {
        leave();
        this.#runningCount++;
        resolve();
      };
      const onAbort = (): void => {
        leave();
        reject(cancelled(prepareBatchJob));
      };
      this.#waiting.add(begin);
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  readonly #onTurn = (): void => {
    this.#nextTurn = null;
    this.#effort.leftBytes = TURN_BYTES;
  };
}
