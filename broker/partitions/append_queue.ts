/**
 * The batches of one partition that cannot be appended in the moment they come, in the order in which they
 * came.
 *
 *     add ──→ prepared here, or by a worker thread ──→ waits for those before it ──→ append ──→ answer
 *                                       close ──→ all are answered with an error
 *
 * Nothing waits as long as every batch is short work: the queue is empty then, and its owner appends past it.
 * Once a batch is being prepared elsewhere, all later ones of the partition line up behind it, or an
 * idempotent producer would find its batches out of order.
 *
 * Bound: the queue holds requests that the connections' byte budget has admitted and goes on charging until
 * they are answered.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import type { AppendRefusal } from "../../storage/append_check.ts";
import type { BatchPreparer } from "../../storage/batch_preparer.ts";
import type { AppendResult, Log } from "../../storage/log.ts";
import type { Clock, Timer } from "../../storage/platform.ts";
import type { PreparedBatch } from "../../storage/prepare_batch.ts";
import { JobCancelledError } from "../../storage/workers.ts";
import type { TransactionGuard } from "./transaction_guards.ts";

/** Appends of one turn of the event loop: the rest of a long line goes on in the next. */
const APPENDS_PER_TURN = 64;

/** A batch of a client as it came. */
export interface ClientBatch {
  readonly records: Uint8Array;
  /** −1: the answer waits until the records are committed. */
  readonly requiredAcks: number;
  /** Of Produce. */
  readonly requestVersion: number;
  /** Of a transactional batch: what it was verified under, null for nothing; left out where that is not asked for. */
  readonly guard?: TransactionGuard | null | undefined;
}

/** What the queue works for. */
export interface AppendQueueOptions {
  /** The log of the moment: a partition may move to another directory. */
  readonly log: () => Pick<Log, "rules" | "name">;
  readonly preparer: BatchPreparer;
  readonly clock: Clock;
  /** Appends the next batch. */
  readonly append: (prepared: PreparedBatch, batch: ClientBatch) => AppendResult;
}

interface Entry {
  readonly batch: ClientBatch;
  prepared: PreparedBatch | AppendRefusal | null;
  readonly settle: (result: AppendResult) => void;
}

/** A line of batches before one log. */
export class AppendQueue {
  readonly #options: AppendQueueOptions;
  readonly #entries: Entry[] = [];
  #continuation: Timer | null = null;
  /** Of the jobs under way; made anew when they are given up. */
  #controller = new AbortController();

  constructor(options: AppendQueueOptions) {
    this.#options = options;
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  /** Takes its place behind all that wait. Never rejects. */
  add(batch: ClientBatch): Promise<AppendResult> {
    const { log, preparer } = this.#options;
    const { rules } = log();
    const { promise, resolve } = Promise.withResolvers<AppendResult>();
    const entry: Entry = { batch, prepared: null, settle: resolve };
    this.#entries.push(entry);
    const { records, requestVersion } = batch;
    entry.prepared = preparer.prepareNow(records, rules, requestVersion);
    if (entry.prepared !== null) this.#goOn();
    else void this.#prepareElsewhere(entry);
    return promise;
  }

  /** Answers all that wait with `refusal`, and lets their preparation go. */
  refuseAll(refusal: AppendRefusal): void {
    if (this.#entries.length === 0) return;
    this.#controller.abort();
    this.#controller = new AbortController();
    this.#continuation?.cancel();
    this.#continuation = null;
    for (const { settle } of this.#entries.splice(0)) settle(refusal);
  }

  async #prepareElsewhere(entry: Entry): Promise<void> {
    const { log, preparer } = this.#options;
    const { records, requestVersion } = entry.batch;
    const { signal } = this.#controller;
    try {
      entry.prepared = await preparer.prepare(records, log().rules, requestVersion, signal);
    } catch (failure) {
      const { message } = failure as Error;
      // The broker stops, or the thread is lost: another try may find another broker, or thread.
      const error = failure instanceof JobCancelledError
        ? ErrorCode.NOT_LEADER_OR_FOLLOWER
        : ErrorCode.UNKNOWN_SERVER_ERROR;
      entry.prepared = { error, message: `Cannot append to ${log().name}: ${message}` };
    }
    if (!signal.aborted) this.#goOn();
  }

  #goOn(): void {
    if (this.#continuation !== null) return;
    const { append, clock } = this.#options;
    for (let count = 0; count < APPENDS_PER_TURN; count++) {
      const entry = this.#entries[0];
      if (entry === undefined || entry.prepared === null) return;
      const { prepared, batch } = entry;
      // It leaves the line first: the append may take the log offline, which answers all that wait.
      this.#entries.shift();
      entry.settle("bytes" in prepared ? append(prepared, batch) : prepared);
    }
    if (this.#entries.length === 0) return;
    this.#continuation = clock.timer(0, () => {
      this.#continuation = null;
      this.#goOn();
    });
  }
}
