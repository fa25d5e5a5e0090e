/**
 * The cleaner: compacts the dirtiest log, again and again, as long as there is one that is dirty enough.
 *
 *     look at every compacted log ──→ none is dirty enough ──→ wait log.cleaner.backoff.ms ──┐
 *        ↑   └─→ the dirtiest: recovery points written down                                  │
 *        │         → its dirty keys mapped, segment by segment, until the map is full        │
 *        │         → its segments written anew, group by group, each swapped in at once      │
 *        └──────── → how far it got written down  ←──────────────────────────────────────────┘
 *
 * The work is done by a worker (`compaction.ts`); here is only what decides and what swaps. One log is
 * cleaned at a time. A cleaning that is cut short loses nothing: groups that are swapped in stay, and the
 * next one begins where the last whole one ended.
 *
 * A log with damaged bytes is left as it is and served on; the cleaner does not touch it again before the
 * next start. Nothing is ever cleaned away because it could not be read.
 *
 * Source: Kafka's LogCleaner, LogCleanerManager.
 */

import assert from "node:assert/strict";
import { WireError } from "../protocol/bytes.ts";
import { type Offset, offset } from "../protocol/types.ts";
import { type CleanableRange, cleanableRange, groupSegments } from "./cleanable.ts";
import { NO_TRANSACTIONS } from "./cleaned_transactions.ts";
import {
  cleanSegmentsJob,
  type CompactionOptions,
  mapKeysJob,
  type SourceSegment,
} from "./compaction.ts";
import type { Log } from "./log.ts";
import { newOffsetMap, OFFSET_MAP_SLOT_BYTES, type OffsetMapState } from "./offset_map.ts";
import { type Clock, DiskError, type Logger, type Random } from "./platform.ts";
import type { Segment } from "./segment.ts";
import { HASH_WORDS } from "./sip_hash.ts";
import { cancelled, JobCancelledError, type Workers } from "./workers.ts";

/** Looking at thousands of logs gives the loop back this often. */
const YIELD_AFTER_MS = 4;
/** A batch that is larger than the topic's limit now may have been taken before; past this it is damage. */
const MAX_BATCH_BYTES = 128 * 1024 * 1024;
/** The least that is read at once. */
const MIN_PIECE_BYTES = 4096;

/** What may change while the cleaner runs. */
export interface CleanerSettings {
  readonly isEnabled: boolean;
  readonly backoffMs: number;
  /** Memory of the map. */
  readonly dedupeBufferBytes: number;
  /** Share of the map that may be used. */
  readonly loadFactor: number;
  /** Memory for reading and writing together. */
  readonly ioBufferBytes: number;
  /** Infinity for no limit. */
  readonly maxBytesPerSecond: number;
  /** Free bytes of the disk that are left alone. */
  readonly reserveBytes: number;
}

/** A log directory as the cleaner uses it. */
export interface CleanedDirectory {
  readonly path: string;
  readonly offlineReason: string | null;
  logs(): Iterable<Log>;
  freeBytes(): number;
  checkpoint(): Promise<boolean>;
  /** Told of failures, among which a sync's takes it offline. */
  noteFailure(failure: unknown): void;
}

/** What the cleaner works with. */
export interface CleanerOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly workers: Workers;
  readonly directories: () => Iterable<CleanedDirectory>;
  readonly settings: () => CleanerSettings;
}

/** How the cleaner is doing, under Kafka's names. */
export interface CleanerStats {
  /** Dirty share of the dirtiest log at the last look. Units: percent. */
  readonly maxDirtyPercent: number;
  /** Written of what was read, in the last cleaning. Units: percent. */
  readonly recopyPercent: number;
  /** Share of the map that the last cleaning filled. Units: percent. */
  readonly maxBufferUtilizationPercent: number;
  /** How long the last cleaning took. */
  readonly maxCleanTimeSecs: number;
  /** How long the most overdue record waits past `max.compaction.lag.ms`, at the last look. */
  readonly maxCompactionDelaySecs: number;
  readonly timeSinceLastRunMs: number;
  /** Logs that are damaged and not cleaned any more. */
  readonly uncleanablePartitionsCount: number;
  /** Bytes of their segments. */
  readonly uncleanableBytes: number;
}

interface Candidate {
  readonly log: Log;
  readonly directory: CleanedDirectory;
  readonly range: CleanableRange;
}

/** The cleaner of a broker. */
export class Cleaner {
  readonly #options: CleanerOptions;
  readonly #logger: Logger;
  readonly #stopped = new AbortController();
  readonly #uncleanable = new Set<Log>();
  /** Directories of which it was said that they lack room. */
  readonly #withoutRoom = new Set<string>();
  #running: Promise<void> | null = null;
  #lastRunMs: number;
  #maxDirtyRatio = 0;
  #maxDelayMs = 0;
  #lastRecopyRatio = 0;
  #lastUtilization = 0;
  #lastDurationMs = 0;

  constructor(options: CleanerOptions) {
    this.#options = options;
    this.#logger = options.logger;
    this.#lastRunMs = options.clock.monotonicMs();
  }

  /** Begins to look for logs to clean, until `stop`. */
  start(): void {
    assert(this.#running === null);
    this.#running = this.#run();
  }

  /** Cuts short what is under way. Returns: when nothing is any more. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
  }

  /** How it is doing. */
  stats(): CleanerStats {
    let uncleanableBytes = 0;
    for (const log of this.#uncleanable) uncleanableBytes += log.sizeBytes;
    return {
      maxDirtyPercent: Math.floor(100 * this.#maxDirtyRatio),
      recopyPercent: Math.floor(100 * this.#lastRecopyRatio),
      maxBufferUtilizationPercent: Math.floor(100 * this.#lastUtilization),
      maxCleanTimeSecs: this.#lastDurationMs / 1000,
      maxCompactionDelaySecs: this.#maxDelayMs / 1000,
      timeSinceLastRunMs: this.#options.clock.monotonicMs() - this.#lastRunMs,
      uncleanablePartitionsCount: this.#uncleanable.size,
      uncleanableBytes,
    };
  }

  async #run(): Promise<void> {
    const { clock, settings } = this.#options;
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      const hasCleaned = settings().isEnabled && await this.cleanDirtiest();
      if (!hasCleaned && !signal.aborted) await clock.sleep(settings().backoffMs, signal);
    }
  }

  /** Cleans the dirtiest log, if one is dirty enough. Returns: true when it got further with it. */
  async cleanDirtiest(): Promise<boolean> {
    const dirtiest = await this.#findDirtiest();
    if (dirtiest === null || this.#stopped.signal.aborted) return false;
    const { log, directory, range } = dirtiest;
    const lost = log.startCleaning();
    if (lost === null) return false;
    const signal = AbortSignal.any([lost, this.#stopped.signal]);
    let end: Offset | null = null;
    try {
      end = await this.#clean(dirtiest, signal);
    } catch (failure) {
      // Files that are gone or cut are what a cleaning finds that has lost its point.
      if (!signal.aborted || !isExpected(failure)) this.#cleaningFailed(dirtiest, failure);
    } finally {
      log.endCleaning(end);
    }
    if (end === null) return false;
    await directory.checkpoint();
    return end > range.firstDirtyOffset;
  }

  async #findDirtiest(): Promise<Candidate | null> {
    const { clock, directories } = this.#options;
    this.#lastRunMs = clock.monotonicMs();
    this.#maxDirtyRatio = 0;
    this.#maxDelayMs = 0;
    const known = new Set<Log>();
    let dirtiest: Candidate | null = null;
    let beganMs = clock.monotonicMs();
    for (const directory of directories()) {
      for (const log of [...directory.logs()]) {
        known.add(log);
        if (!log.config.cleanupPolicy.includes("compact") || this.#uncleanable.has(log)) continue;
        if (clock.monotonicMs() - beganMs >= YIELD_AFTER_MS) {
          await clock.sleep(0);
          beganMs = clock.monotonicMs();
        }
        if (log.offlineReason !== null || directory.offlineReason !== null) continue;
        const range = this.#rangeOf(log, directory);
        if (range === null) continue;
        if (range.dirtyRatio > (dirtiest?.range.dirtyRatio ?? -1)) {
          dirtiest = { log, directory, range };
        }
      }
    }
    for (const log of this.#uncleanable) if (!known.has(log)) this.#uncleanable.delete(log);
    return dirtiest;
  }

  /** What of a log could be cleaned; null when it is not dirty enough, or cannot be looked at. */
  #rangeOf(log: Log, directory: CleanedDirectory): CleanableRange | null {
    // All of its records are being dropped.
    if (log.segments.length === 0) return null;
    try {
      log.rollIfOverdue();
      const range = cleanableRange(log, log.config, this.#options.clock.wallMs());
      this.#maxDirtyRatio = Math.max(this.#maxDirtyRatio, range.dirtyRatio);
      this.#maxDelayMs = Math.max(this.#maxDelayMs, range.delayMs);
      const isOverdue = range.delayMs > 0 && range.cleanableBytes > 0;
      return isOverdue || range.dirtyRatio > log.config.minCleanableDirtyRatio ? range : null;
    } catch (failure) {
      this.#cleaningFailed({ log, directory }, failure);
      return null;
    }
  }

  /** Returns: how far the log is clean now; null when it was given up. Errors: DiskError, WireError. */
  async #clean(candidate: Candidate, signal: AbortSignal): Promise<Offset | null> {
    const { log, directory, range } = candidate;
    const { clock, settings } = this.#options;
    const cleaning = new LogCleaning({ ...this.#options, ...candidate, signal });
    if (directory.freeBytes() < cleaning.mostBytesAtOnce() + settings().reserveBytes) {
      this.#reportNoRoom(directory, log);
      return null;
    }
    this.#withoutRoom.delete(directory.path);
    const beganMs = clock.monotonicMs();
    const bytesBefore = log.sizeBytes;
    // A start may cut what lies past the recovery point that it finds: no gap must be there.
    if (!await directory.checkpoint()) return null;
    const end = await cleaning.run();
    const { bytesRead, bytesWritten, keylessRecords } = cleaning;
    this.#lastDurationMs = clock.monotonicMs() - beganMs;
    this.#lastRecopyRatio = bytesWritten / Math.max(bytesRead, 1);
    this.#lastUtilization = cleaning.utilization;
    this.#logger.info("Log is compacted", {
      partition: log.name,
      fromOffset: range.firstDirtyOffset,
      toOffset: end,
      bytesBefore,
      bytesAfter: log.sizeBytes,
      durationMs: Math.round(this.#lastDurationMs),
      ...(keylessRecords > 0 && { recordsWithoutKey: keylessRecords }),
    });
    return end;
  }

  #reportNoRoom({ path }: CleanedDirectory, { name }: Log): void {
    if (this.#withoutRoom.has(path)) return;
    this.#withoutRoom.add(path);
    this.#logger.warn("Log is not compacted for want of room on the disk", {
      partition: name,
      path,
    });
  }

  #cleaningFailed(
    { log, directory }: Pick<Candidate, "log" | "directory">,
    failure: unknown,
  ): void {
    if (failure instanceof JobCancelledError) return;
    if (!isExpected(failure)) throw failure;
    if (failure instanceof DiskError && failure.isPassing) {
      this.#reportNoRoom(directory, log);
      return;
    }
    directory.noteFailure(failure);
    if (log.offlineReason !== null) return;
    this.#uncleanable.add(log);
    this.#logger.error("Log cannot be read and is not compacted any more; it is served as it is", {
      partition: log.name,
      found: failure.message,
    });
  }
}

function isExpected(failure: unknown): failure is Error {
  return failure instanceof DiskError || failure instanceof WireError ||
    failure instanceof JobCancelledError;
}

interface GroupedSegment extends SourceSegment {
  readonly segment: Segment;
}

interface LogCleaningOptions extends CleanerOptions, Candidate {
  readonly signal: AbortSignal;
}

/** One cleaning of one log. */
class LogCleaning {
  bytesRead = 0;
  bytesWritten = 0;
  keylessRecords = 0;
  /** Share of the map that was used. */
  utilization = 0;
  readonly #options: LogCleaningOptions;
  readonly #nowMs: number;

  constructor(options: LogCleaningOptions) {
    this.#options = options;
    this.#nowMs = options.clock.wallMs();
  }

  /** The most bytes that are about to be written before those in whose place they come can go. */
  mostBytesAtOnce(): number {
    const { firstUncleanableOffset } = this.#options.range;
    let most = 0;
    for (const group of this.#groupsBefore(firstUncleanableOffset)) {
      most = Math.max(most, group.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
    }
    return most;
  }

  /** Returns: how far the log is clean now. Errors: DiskError, WireError, JobCancelledError. */
  async run(): Promise<Offset> {
    const { log, range } = this.#options;
    // A marker in the active segment may end a transaction whose records lie before it.
    log.storeAbortedTransactions();
    const map = await this.#mapKeys(this.#newMap());
    const endOffset = Math.max(map.latestOffset + 1, range.firstDirtyOffset);
    this.utilization = map.count * OFFSET_MAP_SLOT_BYTES / map.slots.byteLength;
    await this.#cleanSegments(map, endOffset);
    return offset(endOffset);
  }

  #newMap(): OffsetMapState {
    const { random, settings, range } = this.#options;
    const { dedupeBufferBytes, loadFactor } = settings();
    return newOffsetMap({
      keyCount: range.firstUncleanableOffset - range.firstDirtyOffset,
      maxBytes: dedupeBufferBytes,
      loadFactor,
      seed: Uint32Array.from({ length: HASH_WORDS }, () => random.uint32()),
    });
  }

  #jobOptions(): Omit<CompactionOptions, "map" | "transactions"> {
    const { log, settings } = this.#options;
    const { ioBufferBytes, maxBytesPerSecond } = settings();
    return {
      directory: log.directory,
      pieceBytes: Math.max(MIN_PIECE_BYTES, Math.floor(ioBufferBytes / 2)),
      maxBatchBytes: Math.max(MAX_BATCH_BYTES, log.config.maxMessageBytes),
      maxDecompressedBytes: log.config.maxDecompressedBatchBytes,
      maxBytesPerSecond,
    };
  }

  /** Fills the map from the dirty segments, until it is full. */
  async #mapKeys(empty: OffsetMapState): Promise<OffsetMapState> {
    const { workers, signal, range } = this.#options;
    let map = empty;
    let transactions = NO_TRANSACTIONS;
    for (const segment of this.#segmentsBefore(range.firstUncleanableOffset)) {
      if (segment.endOffset <= range.firstDirtyOffset) continue;
      const input = {
        ...this.#jobOptions(),
        map,
        transactions,
        segment: sourceOf(segment),
        startOffset: range.firstDirtyOffset,
      };
      const output = await workers.run(mapKeysJob, input, { signal, moves: [map.slots] });
      this.bytesRead += output.bytesRead;
      ({ map, transactions } = output);
      if (output.isFull) break;
    }
    return map;
  }

  /** Writes the segments that begin before `endOffset` anew, and swaps them in. */
  async #cleanSegments(filled: OffsetMapState, endOffset: number): Promise<void> {
    const { log, workers, signal } = this.#options;
    const { deleteRetentionMs, indexIntervalBytes } = log.config;
    let map = filled;
    let transactions = NO_TRANSACTIONS;
    for (const group of this.#groupsBefore(endOffset)) {
      const input = {
        ...this.#jobOptions(),
        map,
        transactions,
        segments: group.map(sourceOf),
        producers: log.lastBatches(),
        nowMs: this.#nowMs,
        deleteRetentionMs,
        indexIntervalBytes,
      };
      const output = await workers.run(cleanSegmentsJob, input, { signal, moves: [map.slots] });
      if (signal.aborted) throw cancelled(cleanSegmentsJob);
      await log.replaceSegments(group.map(({ segment }) => segment));
      this.bytesRead += output.bytesRead;
      this.bytesWritten += output.bytesWritten;
      this.keylessRecords += output.keylessRecords;
      ({ map, transactions } = output);
    }
  }

  /** Closed segments that begin before `endOffset`. */
  #segmentsBefore(endOffset: number): GroupedSegment[] {
    const { segments } = this.#options.log;
    const found: GroupedSegment[] = [];
    for (const [index, segment] of segments.slice(0, -1).entries()) {
      if (segment.baseOffset >= endOffset) break;
      found.push({
        segment,
        baseOffset: segment.baseOffset,
        sizeBytes: segment.sizeBytes,
        endOffset: segments[index + 1]!.baseOffset,
      });
    }
    return found;
  }

  #groupsBefore(endOffset: number): GroupedSegment[][] {
    const groups = groupSegments(this.#segmentsBefore(endOffset), this.#options.log.config);
    return groups.filter((group) => group.some(({ sizeBytes }) => sizeBytes > 0));
  }
}

/** What threads can hand over. */
function sourceOf({ baseOffset, sizeBytes, endOffset }: SourceSegment): SourceSegment {
  return { baseOffset, sizeBytes, endOffset };
}
