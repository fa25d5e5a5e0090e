/**
 * Work that would hold the event loop, done on other threads: recovery scans, log cleaning, large batches.
 *
 *     run(job, input) ──→ waits for a thread of its lane ──→ runs there ──→ output, or the error it threw
 *                              └── cancelled ──→ JobCancelledError ←── cancelled, or `close` ──┘
 *
 * A job is a function that is handed its surroundings, so that the simulator runs the same one on its own
 * disk and its own time. Input and output are copied between threads (structured clone), or moved where
 * they are named for it. A thread runs one job at a time; lanes keep short work from waiting behind long
 * work. A thread may end at any moment, as in a crash: a job must leave files that a start can live with.
 */

import type { Clock, Disk, Logger } from "./platform.ts";

/** What waits for what: a job waits only for those of its own lane. */
export type Lane = "batches" | "recovery" | "maintenance";

/** What a job works with. */
export interface JobContext {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Aborted when nobody waits for the job any more; a long one looks at it between its pieces. */
  readonly signal: AbortSignal;
  /** Tells the caller how far the job has come. */
  progress(value: number): void;
}

/** A piece of work. Errors that it may throw: DiskError, WireError. */
export interface Job<Input, Output> {
  /** Unique; names the job across threads and in error texts. */
  readonly name: string;
  readonly lane: Lane;
  run(input: Input, context: JobContext): Output | Promise<Output>;
  /** Buffers of the output that are moved rather than copied. */
  readonly moves?: (output: Output) => ArrayBuffer[];
}

/** How to run a job. */
export interface RunOptions {
  readonly signal?: AbortSignal;
  /** True when an abort rejects only once the job has ended, so that nobody works behind the caller's back. */
  readonly awaitsEnd?: boolean;
  readonly onProgress?: (value: number) => void;
  /** Buffers of the input that are moved rather than copied: the caller's views of them become empty. */
  readonly moves?: ArrayBuffer[];
}

/** The job did not end: its caller, or the stop of the broker, did not want it any more. */
export class JobCancelledError extends Error {
  override name = "JobCancelledError";
}

/** Threads for jobs. */
export interface Workers {
  /**
   * Runs a job once a thread of its lane is free.
   * Returns: its output. Errors: those of the job; JobCancelledError.
   */
  run<Input, Output>(
    job: Job<Input, Output>,
    input: Input,
    options?: RunOptions,
  ): Promise<Output>;
  /** Cancels what runs or waits and ends the threads. */
  close(): Promise<void>;
}

/** The error for a job that was cancelled. */
export function cancelled(job: { readonly name: string }): JobCancelledError {
  return new JobCancelledError(`Cannot finish ${job.name}: it was cancelled`);
}
