/**
 * Opens the directory of a partition: which segments there are, how far they are whole, and what the
 * indexes, epochs and producers of the log are.
 *
 *     clean stop:  ends of the indexes looked at, tail of the active segment walked, snapshot loaded
 *     crash:       segments past the recovery point scanned, their indexes rebuilt, producers replayed
 *
 * A log that cannot be trusted is not opened: `damage` says in one sentence what was found where, and
 * nothing on disk is touched. Nothing is ever deleted because it could not be read.
 */

import { WireError } from "../protocol/bytes.ts";
import { batchSizeBytes, type RecordBatchHeader } from "../protocol/record_batch.ts";
import { writeFileUnderNewName } from "./checkpoint.ts";
import type { FileCache } from "./file_cache.ts";
import { LeaderEpochs } from "./leader_epochs.ts";
import type { LogConfig } from "./log_config.ts";
import { type Clock, type Disk, DiskError, type Logger } from "./platform.ts";
import { replayProducers } from "./producer_replay.ts";
import { ProducerState } from "./producer_state.ts";
import type { ProducerTable } from "./producer_table.ts";
import { scanSegment } from "./recovery.ts";
import { Segment } from "./segment.ts";
import { finishSwaps } from "./segment_swap.ts";
import {
  DELETED_SUFFIX,
  LOG_SUFFIX,
  OFFSET_INDEX_SUFFIX,
  parseSegmentName,
  segmentPath,
  SNAPSHOT_SUFFIX,
  TEMPORARY_SUFFIX,
  TIME_INDEX_SUFFIX,
  TRANSACTION_INDEX_SUFFIX,
} from "./segment_name.ts";
import { rebuildTransactionIndexes, withLostTransactions } from "./transaction_index_repair.ts";
import { transactionMarkerAt } from "./transaction_marker.ts";

/** What is needed to load a log. */
export interface LoadOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly files: FileCache;
  readonly directory: string;
  /** `topic-partition`, for log lines and error texts. */
  readonly name: string;
  readonly config: LogConfig;
  readonly producerIdExpirationMs: number;
  readonly producerTable?: ProducerTable;
  readonly hadCleanShutdown: boolean;
  readonly hadDiskFailure?: boolean;
  /** Everything before it was on stable storage when it was written down. */
  readonly recoveryPoint: number;
  readonly logStartOffset: number;
}

/** A log as it was found. */
export interface LoadedLog {
  readonly segments: Segment[];
  readonly logStartOffset: number;
  readonly endOffset: number;
  readonly leaderEpochs: LeaderEpochs;
  readonly producers: ProducerState;
  /** Offset of the newest snapshot on disk; −1 when there is none. */
  readonly snapshotOffset: number;
  /** Why the log must not be used, or null. */
  readonly damage: string | null;
}

/** Loads the log. Errors: DiskError when the disk fails; what is wrong with bytes is `damage`. */
export async function loadLog(options: LoadOptions): Promise<LoadedLog> {
  return await new LogLoader(options).load();
}

class LogLoader {
  readonly #options: LoadOptions;
  readonly #epochs: LeaderEpochs;
  readonly #producers: ProducerState;
  #segments: Segment[] = [];
  #damage: string | null = null;
  #namesChanged = false;
  #snapshotOffset = -1;
  /** Segments from this offset on were scanned, with all that follows from their batches. */
  #recoveredFrom = Infinity;
  constructor(options: LoadOptions) {
    this.#options = options;
    this.#epochs = new LeaderEpochs(options);
    this.#producers = new ProducerState(options.name, options.producerTable);
  }

  async load(): Promise<LoadedLog> {
    try {
      return await this.#load();
    } catch (failure) {
      this.#producers.clear();
      if (!(failure instanceof WireError)) {
        for (const segment of this.#segments) segment.close();
        throw failure;
      }
      this.#damage = `Cannot open ${this.#options.name}: ${failure.message}; restore ` +
        `${this.#options.directory} from a replica or a backup, or delete the topic`;
      return this.#result(0);
    }
  }

  async #load(): Promise<LoadedLog> {
    const { disk, directory, hadCleanShutdown } = this.#options;
    disk.makeDirectory(directory);
    this.#listSegments();
    const lostTransactions = withLostTransactions(this.#options, this.#segments);
    const epochsDamaged = this.#loadEpochs();
    let endOffset = this.#segments.length === 0 ? this.#options.logStartOffset : -1;
    if (this.#segments.length > 0) {
      if (hadCleanShutdown) endOffset = await this.#checkClean();
      if (endOffset < 0 && this.#damage === null) endOffset = await this.#recover();
      else if (this.#damage === null) await this.#replayProducers(endOffset, this.#segments.length);
    }
    this.#checkEnd(endOffset);
    if (this.#damage !== null) {
      this.#producers.clear();
      return this.#result(Math.max(endOffset, 0));
    }
    await this.#rebuildTransactionIndexes(lostTransactions);
    if (epochsDamaged || this.#epochsStartLate()) await this.#rebuildEpochs();
    endOffset = this.#ensureActive(endOffset);
    this.#removeSnapshotsPast(endOffset);
    const first = this.#segments[0]!.baseOffset;
    const logStartOffset = Math.max(this.#options.logStartOffset, first);
    this.#epochs.truncateFromEnd(endOffset);
    this.#epochs.truncateFromStart(logStartOffset);
    if (this.#namesChanged) await disk.syncDirectory(directory);
    // The recovery point stands at the end from now on: what lies before it must be stable. In an empty
    // log nothing does, and its leader is about to note the same epoch again.
    if (endOffset > logStartOffset) await this.#epochs.store();
    return this.#result(endOffset, logStartOffset);
  }

  #result(endOffset: number, logStartOffset = this.#options.logStartOffset): LoadedLog {
    return {
      segments: this.#segments,
      logStartOffset,
      endOffset,
      leaderEpochs: this.#epochs,
      producers: this.#producers,
      snapshotOffset: this.#snapshotOffset,
      damage: this.#damage,
    };
  }

  #newSegment(baseOffset: number): Segment {
    return new Segment({
      ...this.#options,
      baseOffset,
      createdMs: this.#options.clock.wallMs(),
    });
  }

  #remove(path: string): void {
    this.#options.files.forget(path);
    this.#options.disk.remove(path);
    this.#namesChanged = true;
  }

  /** Finds the segments; removes what an interrupted write, deletion or cleaning left behind. */
  #listSegments(): void {
    const { disk, directory } = this.#options;
    if (finishSwaps(disk, directory)) this.#namesChanged = true;
    const bases: number[] = [];
    const names = disk.list(directory).map((entry) => entry.name);
    for (const name of names) {
      const isLeftOver = name.endsWith(DELETED_SUFFIX) || name.endsWith(TEMPORARY_SUFFIX);
      if (isLeftOver) this.#remove(`${directory}/${name}`);
      const base = parseSegmentName(name, LOG_SUFFIX);
      if (base !== null) bases.push(base);
    }
    const known = new Set(bases);
    for (const name of names) {
      for (const suffix of [OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX]) {
        const base = parseSegmentName(name, suffix);
        if (base !== null && !known.has(base)) this.#remove(`${directory}/${name}`);
      }
    }
    bases.sort((a, b) => a - b);
    this.#segments = bases.map((base) => this.#newSegment(base));
  }

  /** Returns: true when the epochs must be read from the log. */
  #loadEpochs(): boolean {
    try {
      this.#epochs.load();
      return false;
    } catch (failure) {
      if (!(failure instanceof DiskError) || failure.code !== "EBADMSG") throw failure;
      this.#epochs.clear();
      this.#options.logger.warn("Leader epoch checkpoint is damaged and is rebuilt from the log", {
        partition: this.#options.name,
        found: failure.message,
      });
      return true;
    }
  }

  /** After a clean stop. Returns: the end offset, −1 when the active segment needs a scan. */
  async #checkClean(): Promise<number> {
    const { logger, name } = this.#options;
    for (const [index, segment] of this.#segments.entries()) {
      const problem = segment.indexProblem();
      if (problem === null) continue;
      logger.warn("Index is missing or impossible and is rebuilt", { partition: name, problem });
      await this.#scan(segment, Infinity, false);
      if (this.#damage !== null) return -1;
      if (index < this.#segments.length - 1) {
        segment.storeIndexes();
        await segment.syncIndexes();
        this.#namesChanged = true;
      }
    }
    try {
      return this.#segments.at(-1)!.loadTail();
    } catch (failure) {
      if (!(failure instanceof DiskError) || failure.code !== "EBADMSG") throw failure;
      logger.warn("Log ends differently than its clean stop left it and is scanned", {
        partition: name,
        found: failure.message,
      });
      return -1;
    }
  }

  /** After a crash. Returns: the end offset. */
  async #recover(): Promise<number> {
    const { recoveryPoint } = this.#options;
    const segments = this.#segments;
    // A segment that ends at the recovery point was the active one then: its indexes may be behind.
    const from = Math.max(
      0,
      segments.findLastIndex(({ baseOffset }) => baseOffset < recoveryPoint),
    );
    for (let index = 0; index < from; index++) await this.#repairIndex(segments[index]!);
    if (this.#damage !== null) return -1;
    let nextOffset = segments[from]!.baseOffset;
    this.#recoveredFrom = nextOffset;
    await this.#replayProducers(nextOffset, from);
    this.#epochs.truncateFromEnd(nextOffset);
    for (let index = from; index < segments.length; index++) {
      const segment = segments[index]!;
      if (segment.baseOffset !== nextOffset && !this.#isGapAllowed(nextOffset)) {
        this.#checkEnd(nextOffset);
        if (this.#options.hadCleanShutdown) {
          this.#endsEarly(nextOffset, `another segment begins at ${segment.baseOffset}`);
        }
        if (this.#damage !== null) return -1;
        this.#dropFrom(index, nextOffset);
        break;
      }
      if (index > from) await this.#storeSnapshot(segment.baseOffset);
      nextOffset = await this.#scan(segment, recoveryPoint, true);
      if (this.#damage !== null) return -1;
      if (this.#options.hadDiskFailure) await this.#rewrite(segment);
      if (index < segments.length - 1) segment.retire();
      await segment.sync();
      // The aborted transactions of the active segment too: a snapshot further on relies on them.
      if (index < segments.length - 1) segment.storeIndexes();
      else segment.transactionIndex.store();
      await segment.syncIndexes();
    }
    this.#namesChanged = true;
    return nextOffset;
  }

  /** What a failed sync has dropped is dirty again, for the sync that follows to take along. */
  async #rewrite(segment: Segment): Promise<void> {
    const first = segment.findBatch(this.#options.recoveryPoint);
    if (first !== null) await segment.rewrite(first.position);
  }

  /** The cleaner leaves gaps before the recovery point. Past it, a gap is what a crash has lost. */
  #isGapAllowed(nextOffset: number): boolean {
    const { config, recoveryPoint } = this.#options;
    if (nextOffset >= recoveryPoint) return false;
    if (config.cleanupPolicy.includes("compact")) return true;
    this.#lostSynced(nextOffset);
    return false;
  }

  #lostSynced(nextOffset: number): void {
    const { recoveryPoint } = this.#options;
    this.#endsEarly(nextOffset, `those before ${recoveryPoint} had been on stable storage`);
  }

  #endsEarly(endOffset: number, known: string): void {
    this.#damage ??=
      `Cannot open ${this.#options.name}: its records end at offset ${endOffset}, and ${known}; ` +
      `restore ${this.#options.directory} from a replica or a backup, or delete the topic`;
  }

  /** Both checkpoints are written of records that are stable alone. */
  #checkEnd(endOffset: number): void {
    const { recoveryPoint, logStartOffset } = this.#options;
    if (endOffset < recoveryPoint) this.#lostSynced(endOffset);
    if (endOffset >= logStartOffset) return;
    this.#endsEarly(endOffset, `the log start offset was written down as ${logStartOffset}`);
  }

  async #repairIndex(segment: Segment): Promise<void> {
    const problem = segment.indexProblem();
    if (problem === null || this.#damage !== null) return;
    this.#options.logger.warn("Index is missing or impossible and is rebuilt", {
      partition: this.#options.name,
      problem,
    });
    await this.#scan(segment, Infinity, false);
    if (this.#damage !== null) return;
    segment.storeIndexes();
    await segment.syncIndexes();
    this.#namesChanged = true;
  }

  /** Segments past a hole: what they hold was written, but not acknowledged as durable. */
  #dropFrom(index: number, nextOffset: number): void {
    const dropped = this.#segments.splice(index);
    for (const segment of dropped) {
      segment.close();
      for (const path of segment.paths()) this.#remove(path);
    }
    this.#options.logger.warn("Segments past the recovered end are cut", {
      partition: this.#options.name,
      endOffset: nextOffset,
      segments: dropped.map(({ path }) => path),
    });
  }

  /**
   * Reads a segment whole, and notes its batches anew in its indexes; cuts what a crash has left behind
   * them. `feedsState` false leaves producers and epochs alone. Returns: the next offset.
   */
  async #scan(segment: Segment, verifyFrom: number, feedsState: boolean): Promise<number> {
    const { config } = this.#options;
    const fileBytes = segment.sizeBytes;
    const source = {
      sizeBytes: fileBytes,
      readCold: (position: number, into: Uint8Array) => segment.readCold(position, into),
    };
    // Without the producers' state no aborted transaction can be found again.
    segment.resetIndexes({ keepsTransactionsBefore: feedsState ? this.#snapshotOffset : Infinity });
    const { validBytes, nextOffset, end } = await scanSegment(source, {
      baseOffset: segment.baseOffset,
      verifyFrom,
      onBatch: (header, bytes, at) => {
        const lastOffset = header.baseOffset + header.lastOffsetDelta;
        segment.note(
          batchSizeBytes(bytes, at),
          lastOffset,
          header.recordCount === 0 ? -1 : header.maxTimestamp,
          config.indexIntervalBytes,
        );
        if (feedsState) this.#feed(header, bytes, at, segment);
      },
    });
    if (end.kind === "whole") return nextOffset;
    const maySyncedBeCut = nextOffset < this.#options.recoveryPoint ||
      this.#options.hadCleanShutdown || !feedsState;
    if (end.kind === "damaged" || maySyncedBeCut) {
      const upTo = end.kind === "damaged" ? end.nextBatchPosition : fileBytes;
      this.#damage = `Cannot open ${this.#options.name}: bytes ${validBytes} to ${upTo} of ` +
        `${segment.path} are damaged (offset ${nextOffset} should start there)` +
        (end.kind === "damaged"
          ? ", and whole batches follow them"
          : ", and they had been synced") +
        `; restore the file from a replica or a backup, or delete the topic`;
      return nextOffset;
    }
    segment.truncateBytes(validBytes, nextOffset);
    this.#options.logger.warn("Torn tail of the log is cut", {
      partition: this.#options.name,
      file: segment.path,
      fromByte: validBytes,
      cutBytes: fileBytes - validBytes,
      endOffset: nextOffset,
    });
    return nextOffset;
  }

  #feed(header: RecordBatchHeader, bytes: Uint8Array, at: number, segment: Segment): void {
    this.#epochs.assign(header.partitionLeaderEpoch, header.baseOffset);
    if (header.producerId < 0 || header.baseOffset < this.#snapshotOffset) return;
    const marker = transactionMarkerAt(header.attributes, bytes, at);
    const completed = this.#producers.update(header, marker);
    if (completed === null || !completed.isAborted) return;
    segment.transactionIndex.append({
      ...completed,
      lastStableOffset: this.#producers.lastStableOffsetAfter(completed),
    });
  }

  /** Loads the newest good snapshot up to `upTo` and replays the segments before `endIndex` from there. */
  async #replayProducers(upTo: number, endIndex: number): Promise<void> {
    const snapshotOffset = await replayProducers(this.#options, {
      segments: this.#segments.slice(0, endIndex),
      endOffset: this.#segments[endIndex]?.baseOffset ?? upTo,
      producers: this.#producers,
      upTo,
    });
    this.#snapshotOffset = snapshotOffset;
    this.#removeStraySnapshots(snapshotOffset);
  }

  /** Each segment but the first has the snapshot of its start, so that those before it may be deleted. */
  async #storeSnapshot(at: number): Promise<void> {
    if (at <= this.#snapshotOffset) return;
    const { disk, directory } = this.#options;
    const path = segmentPath(directory, at, SNAPSHOT_SUFFIX);
    await writeFileUnderNewName(disk, path, this.#producers.encodeSnapshot());
  }

  /** Snapshots are kept for the start of each segment, and the newest. */
  #removeStraySnapshots(newest: number): void {
    const bases = new Set<number>(this.#segments.map(({ baseOffset }) => baseOffset));
    for (const { name } of this.#options.disk.list(this.#options.directory)) {
      const at = parseSegmentName(name, SNAPSHOT_SUFFIX);
      if (at !== null && at < newest && !bases.has(at)) {
        this.#remove(`${this.#options.directory}/${name}`);
      }
    }
  }

  /** The checkpoint may be ahead of a deletion whose log start offset a crash has lost. */
  #epochsStartLate(): boolean {
    const first = this.#segments[0];
    if (first === undefined) return false;
    const startOffset = Math.max(this.#options.logStartOffset, first.baseOffset);
    return (this.#epochs.entries[0]?.startOffset ?? Infinity) > startOffset;
  }

  /** A snapshot past the end would be taken for that of other records once the log has grown again. */
  #removeSnapshotsPast(endOffset: number): void {
    const { disk, directory } = this.#options;
    for (const { name } of disk.list(directory)) {
      const at = parseSegmentName(name, SNAPSHOT_SUFFIX);
      if (at !== null && at > endOffset) this.#remove(`${directory}/${name}`);
    }
  }

  async #rebuildTransactionIndexes(lost: readonly Segment[]): Promise<void> {
    // What was recovered has found its transactions already.
    const left = new Set(lost.filter(({ baseOffset }) => baseOffset < this.#recoveredFrom));
    if (left.size === 0) return;
    await rebuildTransactionIndexes(this.#options, this.#segments, left);
    this.#namesChanged = true;
  }

  async #rebuildEpochs(): Promise<void> {
    for (const segment of this.#segments) {
      await scanSegment(segment, {
        baseOffset: segment.baseOffset,
        verifyFrom: Infinity,
        onBatch: (header) => this.#epochs.assign(header.partitionLeaderEpoch, header.baseOffset),
      });
    }
  }

  /** Makes the first segment of an empty log. Returns: the end offset. */
  #ensureActive(endOffset: number): number {
    const { logStartOffset } = this.#options;
    if (this.#segments.length === 0) {
      this.#segments.push(this.#newSegment(Math.max(endOffset, logStartOffset, 0)));
      this.#namesChanged = true;
    }
    const active = this.#segments.at(-1)!;
    active.openForAppend();
    return Math.max(endOffset, active.baseOffset);
  }
}
