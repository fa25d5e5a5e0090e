/** What a thread of `workers_bun.ts` and its `worker_main_bun.ts` say to each other. */

import { TooLargeError, WireError } from "../protocol/bytes.ts";
import { DiskError } from "./platform.ts";

/** To the thread. */
export type ToWorker =
  | { readonly kind: "run"; readonly job: string; readonly input: unknown }
  | { readonly kind: "cancel" };

/** A log line that the job has written. */
export interface WorkerLogLine {
  readonly kind: "log";
  readonly level: "debug" | "info" | "warn" | "error";
  /** Names handed to `child`, outermost first. */
  readonly components: readonly string[];
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>> | undefined;
}

/** How a job failed, in a form that threads can hand over. */
export interface WorkerFailure {
  readonly type: "disk" | "too large" | "wire" | "bug";
  readonly message: string;
  /** Of a DiskError, as the next one. */
  readonly code: string;
  readonly isFailedSync: boolean;
  readonly stack: string | undefined;
}

/** From the thread. */
export type FromWorker =
  | WorkerLogLine
  | { readonly kind: "progress"; readonly value: number }
  | { readonly kind: "output"; readonly output: unknown }
  | { readonly kind: "failure"; readonly failure: WorkerFailure };

/** Takes an error apart. */
export function encodeFailure(failure: unknown): WorkerFailure {
  const error = failure instanceof Error ? failure : new Error(String(failure));
  return {
    type: failureType(error),
    message: error.message,
    code: error instanceof DiskError ? error.code : "",
    isFailedSync: error instanceof DiskError && error.isFailedSync,
    stack: error.stack,
  };
}

function failureType(error: Error): WorkerFailure["type"] {
  if (error instanceof DiskError) return "disk";
  if (error instanceof TooLargeError) return "too large";
  return error instanceof WireError ? "wire" : "bug";
}

/** The error again, of the class that it had. */
export function decodeFailure({ type, message, code, isFailedSync, stack }: WorkerFailure): Error {
  const error = type === "disk"
    ? new DiskError(message, code, { isFailedSync })
    : type === "too large"
    ? new TooLargeError(message)
    : type === "wire"
    ? new WireError(message)
    : new Error(message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
