/**
 * The moves of replicas between the log directories of this node: at most one a partition, a few that copy
 * at a time, the others wait for their turn.
 *
 * A move is asked for by AlterReplicaLogDirs, or goes on after a restart with the copy that it finds. What is
 * asked of one partition happens in the order in which it was asked.
 */

import type { ErrorCode } from "../../protocol/errors.ts";
import { offset } from "../../protocol/types.ts";
import type { FoundFuture, LogDirectory } from "../../storage/log_directory.ts";
import type { Log } from "../../storage/log.ts";
import { type Clock, DiskError, type Logger } from "../../storage/platform.ts";
import { JobCancelledError } from "../../storage/workers.ts";
import type { Partition } from "./partition.ts";
import { copyConfig, type MoveStep, ReplicaMove } from "./replica_move.ts";

/** What the moves work with. */
export interface ReplicaMovesOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** How many copy at the same time. */
  readonly copiesAtOnce: () => number;
  /** Writes into the metadata in which directory a replica lies. */
  readonly assign: (partition: Partition, directory: LogDirectory) => Promise<ErrorCode>;
}

/** From where to where a replica is moved. */
export interface MoveRoute {
  readonly source: LogDirectory;
  readonly target: LogDirectory;
}

interface Entry {
  move: ReplicaMove;
  isCancelled: boolean;
  /** Resolves when nothing of the move is under way any more. */
  done: Promise<void>;
}

/** The moves of a node. */
export class ReplicaMoves {
  readonly #options: ReplicaMovesOptions;
  /** By `topic-partition`. */
  readonly #entries = new Map<string, Entry>();
  /** Who waits to copy, by name, in order. */
  readonly #waiting = new Map<string, () => void>();
  #copyingCount = 0;
  #isClosed = false;

  constructor(options: ReplicaMovesOptions) {
    this.#options = options;
  }

  /** Moves that have not ended, with how far they are. */
  *steps(): Iterable<readonly [name: string, step: MoveStep]> {
    for (const [name, { move }] of this.#entries) yield [name, move.step];
  }

  /** Where a partition is being moved to. */
  targetOf(name: string): LogDirectory | undefined {
    return this.#entries.get(name)?.move.target;
  }

  /** Begins a move; there must be none of the partition. Returns: when its log is made. Errors: DiskError. */
  async begin(partition: Partition, route: MoveRoute): Promise<void> {
    if (this.#isClosed) return;
    const { log } = partition;
    await log.pauseCleaning();
    try {
      this.#start(partition, route, await makeCopy(partition, route));
    } catch (failure) {
      log.resumeCleaning();
      throw failure;
    }
  }

  /**
   * Goes on with a move that an earlier run did not end: the copy is cut to where it is known to be the same,
   * or made anew when it is of no use. Errors: DiskError.
   */
  async resume(partition: Partition, route: MoveRoute, found: FoundFuture): Promise<void> {
    if (this.#isClosed) return;
    const { log } = partition;
    const { target } = route;
    await log.pauseCleaning();
    try {
      const copy = await target.openFuture(found, log.topicId, copyConfig(log.config));
      if (!isUsable(copy, log)) {
        await target.deleteFuture(log.topicPartition);
        return await this.begin(partition, route);
      }
      await copy.truncateTo(copy.highWatermark);
      this.#start(partition, route, copy);
    } catch (failure) {
      log.resumeCleaning();
      throw failure;
    }
  }

  /** Ends the move of a partition, if there is one, and gives its copy up; one that is nearly done is done. */
  async cancel(name: string): Promise<void> {
    const entry = this.#entries.get(name);
    if (entry === undefined) return;
    entry.isCancelled = true;
    entry.move.stop("cancelled");
    this.#letGo(name);
    await entry.done;
  }

  /** Ends all moves and keeps the copies for the next start. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { move } of this.#entries.values()) move.stop("stopped");
    for (const name of [...this.#waiting.keys()]) this.#letGo(name);
    await Promise.all([...this.#entries.values()].map(({ done }) => done));
  }

  #start(partition: Partition, route: MoveRoute, copy: Log): void {
    // The copy is kept for the next start.
    if (this.#isClosed) return;
    const { logger } = this.#options;
    const { name } = copy;
    const [from, to] = [route.source.path, route.target.path];
    logger.info("Partition is moved", { partition: name, from, to });
    const move = this.#move(partition, route, copy);
    const entry: Entry = { move, isCancelled: false, done: Promise.resolve() };
    this.#entries.set(name, entry);
    const { log } = partition;
    entry.done = this.#follow(entry, partition, route).finally(() => {
      this.#entries.delete(name);
      log.resumeCleaning();
    });
  }

  #move(partition: Partition, { source, target }: MoveRoute, copy: Log): ReplicaMove {
    const { clock, logger, assign } = this.#options;
    return new ReplicaMove({
      clock,
      logger,
      partition,
      source,
      target,
      copy,
      assign: (directory) => assign(partition, directory),
      takeTurn: () => this.#takeTurn(copy.name),
    });
  }

  /** A move that retention has overtaken begins anew. */
  async #follow(entry: Entry, partition: Partition, route: MoveRoute): Promise<void> {
    while (await entry.move.ended === "overtaken" && !entry.isCancelled && !this.#isClosed) {
      try {
        const copy = await makeCopy(partition, route);
        if (entry.isCancelled) await route.target.deleteFuture(copy.topicPartition);
        if (entry.isCancelled || this.#isClosed) return;
        entry.move = this.#move(partition, route, copy);
      } catch (failure) {
        // The broker is stopping.
        if (failure instanceof JobCancelledError) return;
        if (!(failure instanceof DiskError)) throw failure;
        this.#options.logger.error("Partition stays where it is: its copy failed", {
          partition: partition.log.name,
          target: route.target.path,
          found: failure.message,
        });
        return;
      }
    }
  }

  async #takeTurn(name: string): Promise<() => void> {
    if (this.#copyingCount >= Math.max(1, this.#options.copiesAtOnce()) && !this.#isClosed) {
      await new Promise<void>((resolve) => this.#waiting.set(name, resolve));
    }
    this.#copyingCount++;
    return () => {
      this.#copyingCount--;
      const [next] = this.#waiting.keys();
      if (next !== undefined) this.#letGo(next);
    };
  }

  #letGo(name: string): void {
    const goOn = this.#waiting.get(name);
    this.#waiting.delete(name);
    goOn?.();
  }
}

/** True when the copy, cut at its high watermark, is a part of the log that can be gone on from. */
function isUsable(copy: Log, log: Log): boolean {
  const { highWatermark } = copy;
  if (copy.offlineReason !== null || highWatermark <= copy.logStartOffset) return false;
  // What the cleaner has taken away past it, while the copy was out of reach, is what this part would need.
  return log.segments[0]!.baseOffset <= highWatermark && highWatermark <= log.endOffset &&
    log.cleanedOffset <= highWatermark;
}

/** Makes the empty log of a copy, which begins where the log begins. Errors: DiskError. */
function makeCopy({ log }: Partition, { source, target }: MoveRoute): Promise<Log> {
  return target.createFuture(log.topicPartition, log.topicId, {
    config: copyConfig(log.config),
    start: offset(log.segments[0]!.baseOffset),
    snapshot: source.firstSnapshot(log),
  });
}
