/**
 * Moves one replica from its log directory to another, while it is produced to and read.
 *
 *     source  t-0/            ├──── records ────────────────────┤ ← appends
 *     target  t-0.<id>-future ├──── copy ──→                         catches up off the event loop
 *
 * The steps, and what a start does when the process ends after each of them:
 *
 *     1  make `t-0.<id>-future` in the target       the source is served; the copy goes on from its high
 *     2  copy what is stable in the source            watermark, up to which it is known to be the same
 *     3  copy the rest, and from then on append     the source is served, which holds all that was
 *        to both; committed is what is stable         acknowledged, and so does the copy
 *        in both
 *     4  write into the metadata that the replica   the copy is served: the start renames both as here
 *        lies in the target
 *     5  serve the copy                             the same
 *     6  rename the source to `t-0.<id>-delete`     the same; what is left of the source is removed
 *     7  rename the copy to `t-0`                   done
 *
 * The one moment that counts is the commit of step 4: before it the source is right, after it the copy, and
 * around it both hold every record that was acknowledged. So it does not matter which of them is lost with its
 * disk: a copy that fails before step 4 is given up; one that fails while step 4 is under way is written out of
 * the metadata again before anything is acknowledged that it does not hold. The high watermark of a copy is
 * never above what is stable in the source, so that a copy can be cut there and be a part of the source's past.
 *
 * Memory: one piece a move. A copy leaves the target its reserve, and waits where too much is not synced.
 */

import assert from "node:assert/strict";
import { ErrorCode } from "../../protocol/errors.ts";
import { offset } from "../../protocol/types.ts";
import { ColdReader, type Piece } from "../../storage/cold_reader.ts";
import type { LogDirectory } from "../../storage/log_directory.ts";
import type { Log } from "../../storage/log.ts";
import { type LogConfig } from "../../storage/log_config.ts";
import { type Clock, DiskError, type Logger } from "../../storage/platform.ts";
import type { Partition } from "./partition.ts";

/** Bytes that are copied at once: what the event loop is held for stays well below its bound. */
const PIECE_BYTES = 512 * 1024;
/** Bytes of a copy that may be unsynced: it must not fill the page cache of others. */
const MAX_UNSYNCED_BYTES = 8 * 1024 * 1024;
/** The rest that is copied in one turn of the event loop before both logs are appended to. */
const MAX_TAIL_PIECES = 4;
/** Between two tries to write into the metadata where the replica lies. */
const RETRY_MS = 500;

/** What a move works with. */
export interface ReplicaMoveOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly partition: Partition;
  readonly source: LogDirectory;
  readonly target: LogDirectory;
  /** The log in the target: empty, or as far as an earlier run came. */
  readonly copy: Log;
  /** Writes into the metadata in which directory the replica lies. */
  readonly assign: (directory: LogDirectory) => Promise<ErrorCode>;
  /** Resolves once the move may copy. Returns: what lets the next one copy. */
  readonly takeTurn: () => Promise<() => void>;
}

/** How a move ended. After `overtaken` it is to be begun anew: retention has deleted what was to be copied. */
export type MoveEnd = "moved" | "cancelled" | "failed" | "source lost" | "overtaken" | "stopped";

/** How far a move is. */
export type MoveStep = "waiting" | "copying" | "mirroring" | "assigning" | "renaming" | "ended";

/** A log that is copied keeps the segments of its source, whatever the topic's settings say by now. */
export function copyConfig(config: LogConfig): LogConfig {
  return { ...config, segmentBytes: Number.MAX_SAFE_INTEGER, segmentMs: Number.MAX_SAFE_INTEGER };
}

/** One move. */
export class ReplicaMove {
  readonly target: LogDirectory;
  /** Resolves when the move has ended and its directories are tidy. */
  readonly ended: Promise<MoveEnd>;
  readonly #options: ReplicaMoveOptions;
  #step: MoveStep = "waiting";
  #stop: "cancelled" | "stopped" | null = null;
  /** Why the copy is worth nothing, or null. */
  #failure: string | null = null;

  constructor(options: ReplicaMoveOptions) {
    this.#options = options;
    this.target = options.target;
    this.ended = this.#run().finally(() => this.#step = "ended");
  }

  get step(): MoveStep {
    return this.#step;
  }

  /**
   * Ends the move as soon as it can be ended: one whose place is being written down is completed. With
   * "stopped" the copy is kept for the next start.
   */
  stop(reason: "cancelled" | "stopped"): void {
    this.#stop ??= reason;
  }

  async #run(): Promise<MoveEnd> {
    const { copy, partition, logger, target } = this.#options;
    const stopListening = copy.onOffline((reason) => this.#failure ??= reason);
    try {
      const end = await this.#copyAll() ?? await this.#makeStable() ?? await this.#assignTarget() ??
        await this.#switch();
      await this.#tidy(end);
      return end;
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      this.#failure ??= failure.message;
      partition.endMirror();
      const end = this.#endNow() ?? "failed";
      await this.#tidy(end);
      return end;
    } finally {
      stopListening();
      if (this.#failure !== null) {
        logger.error("Partition stays where it is: its copy failed", {
          partition: copy.name,
          target: target.path,
          found: this.#failure,
        });
      }
    }
  }

  /** Why the move cannot go on, or null. */
  #endNow(): MoveEnd | null {
    const { copy, partition } = this.#options;
    if (this.#stop !== null) return this.#stop;
    if (partition.log.offlineReason !== null) return "source lost";
    if (copy.offlineReason !== null) this.#failure ??= copy.offlineReason;
    return this.#failure === null ? null : "failed";
  }

  // ── step 2: what is stable, off the event loop ──────────────────────────────────────────────────

  async #copyAll(): Promise<MoveEnd | null> {
    const giveTurn = await this.#options.takeTurn();
    try {
      this.#step = "copying";
      const { partition: { log }, copy } = this.#options;
      const reader = new ColdReader(log, Math.min(PIECE_BYTES, log.config.segmentBytes));
      let unsyncedBytes = 0;
      for (;;) {
        const end = this.#endNow();
        if (end !== null) return end;
        if (log.segments[0]!.baseOffset > copy.endOffset) return "overtaken";
        const piece = await reader.next(copy.endOffset, log.syncedOffset);
        if (piece === null) {
          if (this.#endNow() !== null) continue;
          if (this.#beginMirror()) return null;
          await syncedOrLost(log);
          continue;
        }
        if (this.#endNow() === null && !this.#append(piece)) continue;
        unsyncedBytes += piece.records.length;
        if (unsyncedBytes < MAX_UNSYNCED_BYTES) continue;
        await syncedOrLost(copy);
        unsyncedBytes = 0;
      }
    } finally {
      giveTurn();
    }
  }

  /** Returns: false when the copy is worth nothing any more. */
  #append({ records, startsSegment }: Piece): boolean {
    const { copy, target, partition: { log } } = this.#options;
    this.#failure ??= target.refuseWithoutRoom(records.length);
    if (this.#failure !== null) return false;
    const isBegun = copy.endOffset > copy.segments.at(-1)!.baseOffset;
    if (startsSegment && isBegun) copy.roll();
    const written = copy.appendAsFollower(records);
    if (written.error === ErrorCode.NONE) {
      copy.updateHighWatermark(offset(Math.min(copy.endOffset, log.syncedOffset)));
      return true;
    }
    this.#failure = written.message;
    return false;
  }

  // ── step 3: both logs ───────────────────────────────────────────────────────────────────────────

  /** Copies the rest in this turn of the loop. Returns: false when there is too much of it. */
  #beginMirror(): boolean {
    const { partition, copy } = this.#options;
    const { log } = partition;
    for (let count = 0; copy.endOffset < log.endOffset; count++) {
      if (count === MAX_TAIL_PIECES) return false;
      const read = log.read(offset(Math.max(copy.endOffset, log.logStartOffset)), {
        maxBytes: Math.min(PIECE_BYTES, log.config.segmentBytes),
        minOneMessage: true,
      });
      if (!("records" in read)) return false;
      const { records } = read;
      const isWritten = this.#append({
        records,
        startsSegment: false,
        nextOffset: read.nextOffset,
      });
      read.release();
      if (!isWritten) return false;
    }
    copy.deleteRecordsBefore(log.logStartOffset);
    this.#step = "mirroring";
    partition.beginMirror(copy, (found) => this.#failure ??= found);
    return true;
  }

  /** Until here the source alone counts: whatever goes wrong, the copy is given up. */
  async #makeStable(): Promise<MoveEnd | null> {
    const { partition, copy, target } = this.#options;
    await syncedOrLost(copy);
    if (this.#endNow() === null && !await target.checkpoint()) {
      this.#failure ??= `Cannot write the checkpoints of ${target.path}`;
    }
    const end = this.#endNow();
    if (end !== null) partition.endMirror();
    return end;
  }

  // ── steps 4 to 7: the copy becomes the log ──────────────────────────────────────────────────────

  async #assignTarget(): Promise<MoveEnd | null> {
    const { partition, target, source } = this.#options;
    this.#step = "assigning";
    const end = await this.#assign(target);
    if (end !== null) return end;
    if (this.#failure === null) return null;
    // The metadata names a copy that is worth nothing: nothing more is committed until it does not.
    const back = await this.#assign(source);
    if (back !== null) return back;
    partition.endMirror();
    return "failed";
  }

  /** Tries until it is known what the metadata says. */
  async #assign(directory: LogDirectory): Promise<MoveEnd | null> {
    const { clock, assign, partition } = this.#options;
    for (;;) {
      const error = await assign(directory);
      // The topic is deleted: who deletes it takes both logs away.
      if (!partition.isMirrored) return "cancelled";
      if (error === ErrorCode.NONE) return null;
      // Both logs go on together until the end of the process, so that the next start may serve either.
      if (this.#stop === "stopped") return "stopped";
      await clock.sleep(RETRY_MS);
    }
  }

  async #switch(): Promise<MoveEnd> {
    const { partition, source, target, copy, logger } = this.#options;
    this.#step = "renaming";
    const { topicPartition } = copy;
    assert(partition.log !== copy);
    partition.switchToMirror();
    const steps = [
      { path: source.path, rename: () => source.deleteLog(topicPartition) },
      { path: target.path, rename: () => target.adoptFuture(topicPartition) },
    ];
    for (const { path, rename } of steps) {
      try {
        await rename();
      } catch (failure) {
        if (!(failure instanceof DiskError)) throw failure;
        // The next start does it: the metadata says which of them is the partition's.
        logger.warn("Moved partition keeps a name of its move until the next start", {
          partition: copy.name,
          path,
          found: failure.message,
        });
      }
    }
    logger.info("Partition has moved", {
      partition: copy.name,
      from: source.path,
      to: target.path,
    });
    return "moved";
  }

  async #tidy(end: MoveEnd): Promise<void> {
    const { target, copy: { topicPartition } } = this.#options;
    if (end === "moved" || end === "stopped") return;
    try {
      // What is left of a source that is lost may be the best that there is: it is kept.
      if (end === "source lost") await target.closeFuture(topicPartition);
      else await target.deleteFuture(topicPartition);
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      this.#failure ??= failure.message;
    }
  }
}

/** Resolves when what is written now is stable, or will never be. */
async function syncedOrLost(log: Log): Promise<void> {
  try {
    await log.whenSynced(log.endOffset);
  } catch (failure) {
    if (!(failure instanceof DiskError)) throw failure;
  }
}
