/**
 * Who waits until something appended to a coordinator's log is committed, and for how long: an answer is given
 * in time, whatever becomes of the append. What is appended counts even so.
 *
 * Invariant: one timer, for the wait that ends first; all waits are of one length, so that is the oldest.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import type { Clock, Timer } from "../../storage/platform.ts";

/** Hears how an append went. */
export type OnSettled = (error: ErrorCode) => void;

/** Somebody waits for an append; null once it was told. */
interface AppendWait {
  readonly deadlineMs: number;
  onSettled: OnSettled | null;
}

/** The waits of one shard, in the order of their deadlines. */
export class AppendWaits {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #waits: AppendWait[] = [];
  #timer: Timer | null = null;
  #isClosed = false;

  constructor({ clock, timeoutMs }: {
    readonly clock: Clock;
    /** How long an answer waits for its append to be committed. */
    readonly timeoutMs: number;
  }) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  /** The same listener, which hears COORDINATOR_NOT_AVAILABLE when nothing else in time. */
  bounded(onSettled: OnSettled): OnSettled {
    const wait: AppendWait = { deadlineMs: this.#clock.monotonicMs() + this.#timeoutMs, onSettled };
    this.#waits.push(wait);
    this.#arm();
    return (error) => {
      const settle = wait.onSettled;
      wait.onSettled = null;
      while (this.#waits[0]?.onSettled === null) this.#waits.shift();
      settle?.(error);
    };
  }

  /** Stops the timer: who still waits hears from the log, which settles every append. */
  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #arm(): void {
    const first = this.#waits[0];
    if (this.#timer !== null || first === undefined || this.#isClosed) return;
    const delayMs = Math.max(0, first.deadlineMs - this.#clock.monotonicMs());
    this.#timer = this.#clock.timer(delayMs, () => {
      this.#timer = null;
      const nowMs = this.#clock.monotonicMs();
      while (this.#waits[0] !== undefined && this.#waits[0].deadlineMs <= nowMs) {
        const late = this.#waits.shift();
        const settle = late?.onSettled;
        if (late !== undefined) late.onSettled = null;
        settle?.(coordinatorError(ErrorCode.REQUEST_TIMED_OUT));
      }
      this.#arm();
    });
  }
}

/** True for an append that is in the log for good, though maybe on fewer replicas than there should be. */
export function isCommitted(error: ErrorCode): boolean {
  return error === ErrorCode.NONE || error === ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND;
}

/** What a client is told when an append to a coordinator's log failed. */
export function coordinatorError(error: ErrorCode): ErrorCode {
  switch (error) {
    case ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
    case ErrorCode.NOT_ENOUGH_REPLICAS:
    case ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case ErrorCode.REQUEST_TIMED_OUT:
      return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    case ErrorCode.NOT_LEADER_OR_FOLLOWER:
    case ErrorCode.KAFKA_STORAGE_ERROR:
      return ErrorCode.NOT_COORDINATOR;
    case ErrorCode.MESSAGE_TOO_LARGE:
    case ErrorCode.RECORD_LIST_TOO_LARGE:
    case ErrorCode.INVALID_FETCH_SIZE:
      return ErrorCode.UNKNOWN_SERVER_ERROR;
    default:
      return error;
  }
}
