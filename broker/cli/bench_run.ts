/**
 * A load while it runs: what its connections have done so far, when it is over, and what came of it.
 *
 *     begin ── answers … ──→ the amount is done, the time is over, or the user stops it: no more is sent
 *                            ──→ what is on its way is answered ──→ report
 *
 * The time counts from the beginning to the last answer. A user who stops it waits for no answer.
 */

import type { Clock, Timer } from "../../storage/platform.ts";
import { ClientError } from "../client/client_error.ts";
import { Latencies, type LatencyFigures, rounded } from "./bench_latencies.ts";

/** A broker that answers nothing for so long is given up. */
const SILENCE_MS = 30_000;
const SILENCE = `${SILENCE_MS / 1000} s`;

/** One connection of a load. */
export interface LoadWorker {
  /** Sends what may be sent now. Tells the run once it has nothing more to do. */
  pump(): void;
  close(): void;
}

/** How long a load goes on, and what makes it send. */
export interface RunOptions {
  /** No more is sent after that; null: until the amount is done. */
  readonly seconds: number | null;
  /** How often its connections are looked at by the clock; null: they go on with each answer. Units: ms. */
  readonly tickMs: number | null;
  /** True: it begins with the first answer that has records, however long that takes the writers of the topic. */
  readonly waitsForRecords: boolean;
  readonly interrupted: AbortSignal;
}

/** What was done in one go. */
export interface Done {
  readonly requestCount: number;
  readonly recordCount: number;
  readonly byteCount: number;
}

/** Counts of one load, shared by its connections. */
export class LoadRun {
  readonly clock: Clock;
  readonly latencies = new Latencies();
  readonly #options: RunOptions;
  readonly #over = Promise.withResolvers<void>();
  #requestCount = 0;
  #recordCount = 0;
  #byteCount = 0;
  #workers: readonly LoadWorker[] = [];
  #busyCount = 0;
  #startedMs = 0;
  #lastMs = 0;
  #hasBegun = false;
  #isStopping = false;
  #deadline: Timer | null = null;
  #tick: Timer | null = null;
  #silence: Timer | null = null;

  constructor(clock: Clock, options: RunOptions) {
    this.clock = clock;
    this.#options = options;
    // A connection may be lost while others are still opened.
    this.#over.promise.catch(() => undefined);
  }

  /** True once nothing more is to be sent. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** False while it waits for the first records. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  get startedMs(): number {
    return this.#startedMs;
  }

  /** Runs all connections to their end and closes them. Errors: rejects with what `fail` was given. */
  async run(workers: readonly LoadWorker[]): Promise<void> {
    const { interrupted, tickMs, waitsForRecords } = this.#options;
    const end = () => this.#over.resolve();
    interrupted.addEventListener("abort", end, { once: true });
    if (interrupted.aborted) end();
    this.#workers = workers;
    this.#busyCount = workers.length;
    this.#lastMs = this.clock.monotonicMs();
    if (!waitsForRecords) this.begin();
    this.#watch(SILENCE_MS);
    if (tickMs !== null) this.#schedule(tickMs);
    try {
      this.#pumpAll();
      await this.#over.promise;
    } finally {
      interrupted.removeEventListener("abort", end);
      for (const timer of [this.#deadline, this.#tick, this.#silence]) timer?.cancel();
      for (const worker of workers) worker.close();
    }
  }

  /** From now on the time counts. */
  begin(): void {
    const { seconds } = this.#options;
    this.#hasBegun = true;
    this.#startedMs = this.#lastMs = this.clock.monotonicMs();
    if (seconds !== null) this.#deadline = this.clock.timer(seconds * 1000, () => this.#stop());
  }

  /** A connection has got an answer, or sent what is not answered. */
  note({ requestCount, recordCount, byteCount }: Done, nowMs: number): void {
    this.#requestCount += requestCount;
    this.#recordCount += recordCount;
    this.#byteCount += byteCount;
    this.#lastMs = nowMs;
  }

  /** A connection has nothing more to do; each tells it once. */
  workerDone(): void {
    if (--this.#busyCount === 0) this.#over.resolve();
  }

  /** The load ends with this error. */
  fail(error: Error): void {
    this.#over.reject(error);
  }

  /** What came of it. */
  figures(): LoadFigures {
    const seconds = (this.#lastMs - this.#startedMs) / 1000;
    const rate = (count: number) => seconds > 0 ? rounded(count / seconds) : 0;
    return {
      seconds: rounded(seconds),
      requestCount: this.#requestCount,
      recordCount: this.#recordCount,
      byteCount: this.#byteCount,
      megabytesPerSecond: rate(this.#byteCount / 1e6),
      recordsPerSecond: rate(this.#recordCount),
      requestsPerSecond: rate(this.#requestCount),
      ...(this.latencies.count === 0 ? NO_TIMES : this.latencies.figures()),
    };
  }

  #stop(): void {
    this.#isStopping = true;
    this.#pumpAll();
  }

  #pumpAll(): void {
    for (const worker of this.#workers) worker.pump();
  }

  #schedule(tickMs: number): void {
    this.#tick = this.clock.timer(tickMs, () => {
      this.#schedule(tickMs);
      this.#pumpAll();
    });
  }

  /** Gives up what is silent for too long; once records have come, the writers of the topic may end. */
  #watch(delayMs: number): void {
    this.#silence = this.clock.timer(delayMs, () => {
      const silentMs = this.clock.monotonicMs() - this.#lastMs;
      const { waitsForRecords } = this.#options;
      if (silentMs < SILENCE_MS) this.#watch(SILENCE_MS - silentMs);
      else if (!waitsForRecords) {
        this.fail(new ClientError(`no answer for ${SILENCE}; is the broker well?`));
      } else if (!this.#hasBegun) {
        const advice = '"weir bench produce" beside it writes some';
        this.fail(new ClientError(`no record was written for ${SILENCE}; ${advice}`));
      }
    });
  }
}

/** The times; null where nothing is answered. */
export type MaybeTimes = { readonly [name in keyof LatencyFigures]: LatencyFigures[name] | null };
const NO_TIMES: MaybeTimes = { p50Ms: null, p99Ms: null, p999Ms: null, maxMs: null };

/** What came of a load. */
export interface LoadFigures extends MaybeTimes {
  readonly seconds: number;
  readonly requestCount: number;
  readonly recordCount: number;
  readonly byteCount: number;
  /** Millions of bytes. */
  readonly megabytesPerSecond: number;
  readonly recordsPerSecond: number;
  readonly requestsPerSecond: number;
}
