/**
 * Opens the directory of a partition: which segments there are, where they end, and what the epochs and
 * producers of the log are.
 *
 *     clean stop:           names listed, ends of the last index looked at, tail walked, snapshot loaded
 *     crash, few bytes:     looked at here (tiny_recovery.ts)
 *     crash, or not so:     recovered by a worker (log_recovery.ts), and then as after a clean stop
 *
 * Loading happens on the event loop and reads a few small pieces; whatever takes more is the worker's. A log
 * that cannot be trusted is not opened: `damage` says in one sentence what was found where.
 */

import { WireError } from "../protocol/bytes.ts";
import type { RecordBatchHeader } from "../protocol/record_batch.ts";
import { readSmallFile } from "./checkpoint.ts";
import type { FileCache } from "./file_cache.ts";
import { LEADER_EPOCH_CHECKPOINT, LeaderEpochs } from "./leader_epochs.ts";
import type { LogConfig } from "./log_config.ts";
import { listLog, type LogListing, straySnapshots, tidyAndListLog } from "./log_listing.ts";
import { type RecoveredLog, recoverLogJob } from "./log_recovery.ts";
import { type Clock, type Disk, DiskError, type Logger } from "./platform.ts";
import { ProducerState } from "./producer_state.ts";
import { recallRecent } from "./producer_replay.ts";
import type { ProducerTable } from "./producer_table.ts";
import { Segment } from "./segment.ts";
import { segmentPath, SNAPSHOT_SUFFIX } from "./segment_name.ts";
import { allSynced } from "./shared_sync.ts";
import { recoverTiny } from "./tiny_recovery.ts";
import { listedTransactionIndexes, TRANSACTION_INDEX_LIST } from "./transaction_index_repair.ts";
import type { Workers } from "./workers.ts";

/** What is needed to load a log. */
export interface LoadOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly files: FileCache;
  readonly workers: Workers;
  readonly directory: string;
  /** `topic-partition`, for log lines and error texts. */
  readonly name: string;
  readonly config: LogConfig;
  readonly producerIdExpirationMs: number;
  readonly producerTable?: ProducerTable;
  readonly hadCleanShutdown: boolean;
  /** The last run met a disk failure: what is recovered is written once more before it is synced. */
  readonly hadDiskFailure?: boolean;
  /** Everything before it was on stable storage when it was written down. */
  readonly recoveryPoint: number;
  readonly logStartOffset: number;
  /** Asks a recovery to end early. */
  readonly signal?: AbortSignal;
  /** Told how many bytes a recovery has read so far. */
  readonly onRecovering?: (scannedBytes: number) => void;
}

/** A log as it was found. */
export interface LoadedLog {
  readonly segments: Segment[];
  readonly logStartOffset: number;
  readonly endOffset: number;
  /** Up to where the epochs, too, are on stable storage. */
  readonly recoveryPoint: number;
  /** Bytes that another recovery would read. */
  readonly recoveryBytes: number;
  readonly leaderEpochs: LeaderEpochs;
  readonly producers: ProducerState;
  /** Offsets of the snapshots on disk, newest first. */
  readonly snapshotOffsets: readonly number[];
  /** Files whose deletion was under way. */
  readonly deleted: readonly string[];
  /** True when the names of its files are known to be on stable storage. */
  readonly areNamesStable: boolean;
  /** Why the log must not be used, or null. */
  readonly damage: string | null;
}

/**
 * Loads the log, and has it recovered before where that is needed.
 * Errors: DiskError when the disk fails; what is wrong with bytes is `damage`. JobCancelledError.
 */
export async function loadLog(options: LoadOptions): Promise<LoadedLog> {
  if (options.hadCleanShutdown) {
    const loader = new LogLoader(options);
    const loaded = await loader.load();
    if (typeof loaded !== "string") return loaded;
    loader.close();
    options.logger.warn("Log is not as a clean stop leaves it, and is looked through", {
      partition: options.name,
      found: loaded,
    });
  } else if (options.hadDiskFailure !== true) {
    const loader = new LogLoader(options);
    const loaded = await loader.loadTiny();
    if (loaded !== null) return loaded;
    loader.close();
  }
  const recovered = await recover(options);
  options.onRecovering?.(recovered.scannedBytes);
  const loader = new LogLoader(options);
  if (recovered.damage !== null) return loader.damaged(recovered.damage);
  const loaded = await loader.load(recovered);
  if (typeof loaded !== "string") return loaded;
  loader.close();
  return loader.damaged(`Cannot open ${options.name}: after its recovery ${loaded}`);
}

async function recover(options: LoadOptions): Promise<RecoveredLog> {
  const { directory, name, config, hadCleanShutdown, recoveryPoint, logStartOffset } = options;
  const { producerIdExpirationMs, producerTable, signal, onRecovering, disk, workers } = options;
  disk.makeDirectory(directory);
  return await workers.run(recoverLogJob, {
    directory,
    name,
    config,
    producerIdExpirationMs,
    producerStateBytes: producerTable?.capBytes ?? Infinity,
    hadCleanShutdown,
    hadDiskFailure: options.hadDiskFailure === true,
    recoveryPoint,
    logStartOffset,
  }, {
    ...(signal !== undefined && { signal }),
    ...(onRecovering !== undefined && { onProgress: onRecovering }),
    awaitsEnd: true,
  });
}

/** Reads what a clean stop, or a recovery, has left. */
class LogLoader {
  readonly #options: LoadOptions;
  readonly #epochs: LeaderEpochs;
  readonly #producers: ProducerState;
  #listing: LogListing | null = null;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#epochs = new LeaderEpochs(options);
    this.#producers = new ProducerState(options.name, options.producerTable);
  }

  /** Lets go of files and producers: the log is loaded anew. */
  close(): void {
    this.#producers.clear();
    for (const segment of this.#listing?.segments ?? []) segment.close();
  }

  /** `recovered` is what a recovery has found. Returns: the log, or why it cannot be opened as it is. */
  async load(recovered?: RecoveredLog): Promise<LoadedLog | string> {
    try {
      const { segments, names } = this.#listing = this.#list();
      if (names.has(LEADER_EPOCH_CHECKPOINT)) this.#epochs.load();
      const problem = this.#closedProblem() ?? segments.at(-1)?.indexProblem() ?? null;
      if (problem !== null) return problem;
      return await this.#load(segments.at(-1)?.loadTail() ?? null, recovered);
    } catch (failure) {
      this.close();
      const isBadBytes = failure instanceof WireError ||
        (failure instanceof DiskError && failure.code === "EBADMSG");
      if (!isBadBytes) throw failure;
      return failure.message;
    }
  }

  /** After a crash. Returns: null when the log is not tiny or not whole. Errors: DiskError. */
  async loadTiny(): Promise<LoadedLog | null> {
    try {
      const { segments, names } = this.#listing = this.#list();
      if (names.has(LEADER_EPOCH_CHECKPOINT)) this.#epochs.load();
      const headers = recoverTiny(this.#listing, this.#options);
      return headers === null ? null : await this.#resume(segments[0]!, headers);
    } catch (failure) {
      if (failure instanceof DiskError && failure.code === "EBADMSG") return null;
      this.close();
      throw failure;
    }
  }

  /**
   * Goes on where the run before was killed, once what it had written is stable. Where there are records, all that
   * was named when the log was made is: nothing is appended before. What was named later the next clean stop syncs,
   * or whoever relies on it; what was removed is synced here.
   */
  async #resume(
    segment: Segment,
    headers: readonly RecordBatchHeader[],
  ): Promise<LoadedLog> {
    const { disk, directory, logStartOffset, recoveryPoint } = this.#options;
    const { names } = this.#listing!;
    // Closed with its log, or by others that followed: those a truncation may have removed before it was killed, and a
    // power cut would bring them back behind what is appended from now on.
    const wasClosed = names.has(segment.timeIndex.file.path.slice(directory.length + 1));
    this.#epochs.clear();
    for (const header of headers) {
      this.#epochs.assign(header.partitionLeaderEpoch, header.baseOffset);
    }
    this.#replay(headers);
    const endOffset = segment.loadTail();
    recallRecent(this.#producers, [segment]);
    segment.doubtIndexes();
    segment.openForAppend();
    if (names.has(LEADER_EPOCH_CHECKPOINT)) this.#epochs.doubt();
    await (headers.length > 0 && !wasClosed
      ? segment.sync()
      : allSynced([segment.sync(), disk.syncDirectory(directory)]));
    this.#epochs.truncateFromStart(logStartOffset);
    this.#options.onRecovering?.(segment.sizeBytes);
    return {
      ...this.#loaded([segment]),
      logStartOffset,
      endOffset,
      recoveryPoint,
      recoveryBytes: segment.sizeBytes,
      areNamesStable: true,
      snapshotOffsets: this.#listing!.snapshotOffsets,
      damage: null,
    };
  }

  /** What expired meanwhile stays out, as of a snapshot. */
  #replay(headers: readonly RecordBatchHeader[]): void {
    const { clock, producerIdExpirationMs } = this.#options;
    const oldestMs = clock.wallMs() - producerIdExpirationMs;
    const newestMs = new Map(headers.map((one) => [one.producerId, one.maxTimestamp]));
    for (const header of headers) {
      const isExpired = newestMs.get(header.producerId)! <= oldestMs;
      if (header.producerId >= 0 && !isExpired) this.#producers.update(header, null);
    }
  }

  #list(): LogListing {
    const { disk, directory } = this.#options;
    try {
      return tidyAndListLog(this.#options);
    } catch (failure) {
      if (!(failure instanceof DiskError) || failure.code !== "ENOENT") throw failure;
      disk.makeDirectory(directory);
      return tidyAndListLog(this.#options);
    }
  }

  /** What is wrong with the indexes of closed segments, as far as their names tell, or null. */
  #closedProblem(): string | null {
    const { segments, names } = this.#listing!;
    const directoryEnd = this.#options.directory.length + 1;
    const isThere = ({ file }: { readonly file: { readonly path: string } }) =>
      names.has(file.path.slice(directoryEnd));
    const listed = names.has(TRANSACTION_INDEX_LIST)
      ? listedTransactionIndexes(this.#options)
      : new Set<number>();
    for (const [index, segment] of segments.entries()) {
      const { baseOffset, offsetIndex, timeIndex, transactionIndex } = segment;
      const missing = [
        // Without it the records of aborted transactions would be served as committed.
        ...(listed.has(baseOffset) ? [transactionIndex] : []),
        ...(index < segments.length - 1 ? [offsetIndex, timeIndex] : []),
      ].find((one) => !isThere(one));
      if (missing !== undefined) return `${missing.file.path} is missing`;
      const problem = isThere(transactionIndex) ? transactionIndex.problem() : null;
      if (problem !== null) return `${transactionIndex.file.path}: ${problem}`;
    }
    return null;
  }

  async #load(tail: number | null, recovered?: RecoveredLog): Promise<LoadedLog | string> {
    const { logStartOffset, recoveryPoint } = this.#options;
    const endOffset = tail ?? logStartOffset;
    if (endOffset < Math.max(logStartOffset, recoveryPoint)) {
      return `its end offset is ${endOffset}, its log start offset was written down as ` +
        `${logStartOffset} and its recovery point as ${recoveryPoint}`;
    }
    if (recovered !== undefined && endOffset !== recovered.endOffset) {
      return `its end offset is ${endOffset}, not ${recovered.endOffset}`;
    }
    const first = this.#listing!.segments[0]?.baseOffset ?? endOffset;
    const problem = await this.#loadProducers(first, endOffset) ??
      (recovered === undefined ? this.#epochsProblem(first, endOffset) : null);
    if (problem !== null) return problem;
    for (const batch of recovered?.recentBatches.toReversed() ?? []) this.#producers.recall(batch);
    recallRecent(this.#producers, this.#listing!.segments);
    return await this.#finish(endOffset, recovered !== undefined);
  }

  /** Returns: what is wrong with the snapshots, or null. */
  async #loadProducers(first: number, endOffset: number): Promise<string | null> {
    const { disk, directory, clock, producerIdExpirationMs } = this.#options;
    const newest = this.#listing!.snapshotOffsets[0];
    if (newest === undefined && endOffset === first) return null;
    if (newest !== endOffset) return `it has no producer snapshot at its end offset ${endOffset}`;
    const bytes = readSmallFile(disk, segmentPath(directory, newest, SNAPSHOT_SUFFIX));
    const loading = this.#producers.loadSnapshot(bytes!, {
      nowMs: clock.wallMs(),
      expirationMs: producerIdExpirationMs,
    });
    while (!loading.next().done) await clock.sleep(0);
    return null;
  }

  /** The checkpoint may be ahead of a deletion whose log start offset a crash has lost. */
  #epochsProblem(first: number, endOffset: number): string | null {
    const startOffset = Math.max(this.#options.logStartOffset, first);
    const known = this.#epochs.entries[0]?.startOffset ?? Infinity;
    if (endOffset <= startOffset || known <= startOffset) return null;
    // The cleaner may have left nothing of what came before the first epoch that is known.
    for (const segment of this.#listing!.segments) {
      const batch = segment.findBatch(startOffset);
      if (batch === null) continue;
      return batch.baseOffset < known ? `it has no leader epoch of offset ${startOffset}` : null;
    }
    return null;
  }

  async #finish(endOffset: number, isRecovered: boolean): Promise<LoadedLog> {
    const { disk, directory, clock, logStartOffset } = this.#options;
    const { segments, snapshotOffsets, hasTidied } = this.#listing!;
    const isNew = segments.length === 0;
    if (isNew) {
      const createdMs = clock.wallMs();
      segments.push(new Segment({ ...this.#options, baseOffset: endOffset, createdMs }));
    }
    segments.at(-1)!.openForAppend();
    if (isNew || hasTidied) await disk.syncDirectory(directory);
    const strays = straySnapshots(snapshotOffsets, segments);
    for (const at of strays) disk.remove(segmentPath(directory, at, SNAPSHOT_SUFFIX));
    const startOffset = Math.max(logStartOffset, segments[0]!.baseOffset);
    this.#epochs.truncateFromEnd(endOffset);
    this.#epochs.truncateFromStart(startOffset);
    // The recovery point stands at the end from now on: what lies before it must be stable. In an empty
    // log nothing does, and its leader is about to note the same epoch again.
    if (endOffset > startOffset) await this.#epochs.store(endOffset);
    return {
      ...this.#loaded(segments),
      deleted: this.#listing!.deleted,
      logStartOffset: startOffset,
      endOffset,
      recoveryPoint: endOffset,
      recoveryBytes: 0,
      areNamesStable: isNew || hasTidied || isRecovered,
      damage: null,
      snapshotOffsets: snapshotOffsets.filter((at) => !strays.includes(at)),
    };
  }

  /** The log as far as its names tell, out of service. */
  damaged(damage: string): LoadedLog {
    const { logStartOffset } = this.#options;
    const { segments } = listLog(this.#options);
    return {
      ...this.#loaded(segments),
      logStartOffset,
      endOffset: 0,
      recoveryPoint: 0,
      recoveryBytes: 0,
      areNamesStable: false,
      damage,
    };
  }

  #loaded(
    segments: Segment[],
  ): Pick<LoadedLog, "segments" | "leaderEpochs" | "producers" | "snapshotOffsets" | "deleted"> {
    return {
      segments,
      leaderEpochs: this.#epochs,
      producers: this.#producers,
      snapshotOffsets: [],
      deleted: [],
    };
  }
}
