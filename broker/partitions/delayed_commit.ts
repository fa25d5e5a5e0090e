/**
 * Waiting until appends are committed: on the stable storage of every in-sync replica.
 *
 * Used by Produce with acks=all, and by requests that must see what was written before they came:
 * a client that has an answer to acks=1 and asks for the latest offset finds its own records counted.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import type { Delayed, Waiting } from "./delayed.ts";
import type { Partition } from "./partition.ts";

/** Everything before `endOffset` is to be committed. */
export interface CommitTarget {
  readonly partition: Pick<Partition, "onCommitted">;
  readonly endOffset: number;
}

/** How to wait. */
export interface CommitWaitOptions<T extends CommitTarget> {
  readonly targets: readonly T[];
  readonly delayed: Delayed;
  readonly timeoutMs: number;
  /** Called at most once for each target that is not committed: it failed, or the time was over. */
  readonly failed: (target: T, error: ErrorCode) => void;
}

class DelayedCommit<T extends CommitTarget> implements Waiting {
  readonly #options: CommitWaitOptions<T>;
  readonly #left: Set<T>;
  readonly #done: () => void;

  constructor(options: CommitWaitOptions<T>, done: () => void) {
    this.#options = options;
    this.#left = new Set(options.targets);
    this.#done = done;
  }

  start(): void {
    const { targets, delayed, timeoutMs } = this.#options;
    const mayWait = delayed.add(this, timeoutMs);
    for (const target of targets) {
      target.partition.onCommitted(target.endOffset, (error) => this.#settled(target, error));
    }
    if (!mayWait && this.#left.size > 0) this.expire();
  }

  expire(): void {
    for (const target of this.#left) this.#options.failed(target, ErrorCode.REQUEST_TIMED_OUT);
    this.#left.clear();
    this.#done();
  }

  #settled(target: T, error: ErrorCode): void {
    if (!this.#left.delete(target)) return;
    if (error !== ErrorCode.NONE) this.#options.failed(target, error);
    if (this.#left.size > 0) return;
    this.#options.delayed.remove(this);
    this.#done();
  }
}

/** Resolves when each of the targets (one or more) is committed or has failed. Never rejects. */
export function waitForCommits<T extends CommitTarget>(
  options: CommitWaitOptions<T>,
): Promise<void> {
  return new Promise((resolve) => new DelayedCommit(options, resolve).start());
}
