/**
 * The log of one shard, from its opening to its end, and whether the shard can be asked.
 *
 *      loading ──read, activate──► active ──► closed      answers: loading  COORDINATOR_LOAD_IN_PROGRESS
 *         └──► failed ──────────────────────────┘                  failed, closed  NOT_COORDINATOR
 *
 * Invariant: whatever fails to load is never taken for empty; nothing is appended but by an active shard.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import type { Clock, Logger } from "../../storage/platform.ts";
import { AppendWaits } from "./append_waits.ts";
import type { CoordinatorLog, TransactionalAppend } from "./coordinator_log.ts";
import type { ShardOpening } from "./led_shards.ts";
import { replayLog, type ReplayOptions } from "./log_replay.ts";

/** What it is made of. */
export interface ShardLogOptions extends Pick<ShardOpening, "partition" | "openLog" | "inTurn"> {
  readonly clock: Clock;
  readonly logger: Logger;
  /** What lies in the log, for the one who reads what went wrong: "groups". */
  readonly contents: string;
  /** How long an answer waits for its append to be committed; what is appended counts even so. */
  readonly appendTimeoutMs: number;
}

/** A shard's log. */
export class ShardLog {
  readonly waits: AppendWaits;
  readonly #options: ShardLogOptions;
  /** Null until `read` has it. */
  #log: CoordinatorLog | null = null;
  readonly #closing = Promise.withResolvers<null>();
  #status: "loading" | "active" | "failed" | "closed" = "loading";

  constructor(options: ShardLogOptions) {
    this.#options = options;
    this.waits = new AppendWaits({ clock: options.clock, timeoutMs: options.appendTimeoutMs });
  }

  get isLoading(): boolean {
    return this.#status === "loading";
  }

  get isActive(): boolean {
    return this.#status === "active";
  }

  /** What a request for one of the shard's keys is answered with; NONE when it can be served. */
  get availability(): ErrorCode {
    switch (this.#status) {
      case "loading":
        return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
      case "active":
        // The metadata may say so a moment later.
        return this.#log?.isLed === false ? ErrorCode.NOT_COORDINATOR : ErrorCode.NONE;
      case "failed":
      case "closed":
        return ErrorCode.NOT_COORDINATOR;
    }
  }

  /** Opens the log and hands over all that lies in it; it is not loading any more if that fails, or it is closed. */
  async read(taker: Pick<ReplayOptions, "onBatch" | "finish">): Promise<void> {
    const { clock, openLog, inTurn } = this.#options;
    // Opening may take a recovery of minutes, which a stop does not wait for.
    const log = await Promise.race([openLog(), this.#closing.promise]);
    this.#log = log;
    if (log === null) return this.#fail("the partition's log is not here");
    await inTurn(async () => {
      const isGivenUp = () => !this.isLoading;
      const failure = await replayLog(log, { ...taker, clock, isGivenUp });
      if (failure !== null) this.#fail(failure);
    });
  }

  /** What was read is in its place: from now on the shard can be asked. */
  activate(): void {
    this.#status = "active";
  }

  /** Returns: whether the log has taken the batch; `onSettled` hears the log's own errors. */
  append(
    batch: Uint8Array,
    onSettled: (error: ErrorCode) => void,
    transaction?: TransactionalAppend,
  ): boolean {
    if (this.isActive && this.#log !== null) return this.#log.append(batch, onSettled, transaction);
    onSettled(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    return false;
  }

  /** Returns: false when it was closed before. */
  close(): boolean {
    if (this.#status === "closed") return false;
    this.#status = "closed";
    this.#closing.resolve(null);
    this.waits.close();
    return true;
  }

  #fail(reason: string): void {
    if (!this.isLoading) return;
    this.#status = "failed";
    const { logger, contents, partition } = this.#options;
    logger.error(
      `Cannot load ${contents}: their requests are refused until what is wrong is mended and the broker restarted`,
      { partition, reason },
    );
  }
}
