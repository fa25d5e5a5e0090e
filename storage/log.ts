/**
 * One partition's log: appended to at the end, read anywhere, durable up to `syncedOffset`.
 *
 *     logStartOffset            recoveryPoint    syncedOffset     endOffset
 *        ├──── segment ────┬──── segment ────┬──────┼── active segment ─┤
 *                                                   │     written       │
 *                         on stable storage ────────┘     (page cache) ─┘
 *
 * Appends are synchronous: the order of calls is the order of offsets, and there is no lock. `sync()`
 * asks for a group commit; `syncedOffset` never passes a segment that is not synced, nor one whose name
 * is not. Invariant: logStartOffset ≤ recoveryPoint ≤ syncedOffset ≤ endOffset.
 *
 * When the disk fails the log goes offline: every call answers KAFKA_STORAGE_ERROR from then on.
 */

import assert from "node:assert/strict";
import { WireError } from "../protocol/bytes.ts";
import { ErrorCode } from "../protocol/errors.ts";
import {
  batches,
  batchSizeBytes,
  isCrcValid,
  LOG_OVERHEAD,
  patchAsLeader,
  patchLogAppendTime,
  readBatchHeader,
  RECORD_BATCH_OVERHEAD,
  type RecordBatchHeader,
} from "../protocol/record_batch.ts";
import {
  formatTopicPartition,
  type Offset,
  offset,
  type TopicPartition,
  type Uuid,
} from "../protocol/types.ts";
import type { AppendRefusal, AppendRules, RecordError } from "./append_check.ts";
import { BufferPool } from "./buffer_pool.ts";
import { writeFileUnderNewName } from "./checkpoint.ts";
import { DamageReports } from "./damage_reports.ts";
import type { DiskReserve } from "./disk_reserve.ts";
import { FileCache } from "./file_cache.ts";
import type { Flushable, Flusher } from "./flusher.ts";
import { LeaderEpochs } from "./leader_epochs.ts";
import type { LogConfig } from "./log_config.ts";
import { type LoadedLog, loadLog } from "./log_loader.ts";
import { LogReader, nothingRead } from "./log_reader.ts";
import { type Clock, type Disk, DiskError, type Logger, type Random } from "./platform.ts";
import {
  prepareBatch,
  type PreparedBatch,
  type PrepareRules,
  prepareRules,
} from "./prepare_batch.ts";
import { recallRecent, replayProducers, snapshotOffsets } from "./producer_replay.ts";
import type {
  AppendOrigin,
  LastBatches,
  ProducerEntry,
  ProducerState,
  Verification,
} from "./producer_state.ts";
import type { ProducerTable } from "./producer_table.ts";
import type { ReadBounds } from "./read_window.ts";
import { DelayedRemoval } from "./removal.ts";
import { retentionOffset } from "./retention.ts";
import { DamagedBytes, MAX_RELATIVE_OFFSET, Segment } from "./segment.ts";
import { DELETED_SUFFIX, segmentPath, SNAPSHOT_SUFFIX } from "./segment_name.ts";
import type { ReadRecords } from "./shared_reads.ts";
import { allSynced } from "./shared_sync.ts";
import { renameCleaned, Renames, renameSwapped } from "./segment_swap.ts";
import type { SnapshotInProgress } from "./snapshot_in_progress.ts";
import { transactionMarkerAt } from "./transaction_marker.ts";
import { type TimestampedOffset, TimestampSearch } from "./timestamp_search.ts";
import type { AbortedTransaction } from "./transaction_index.ts";
import { storeTransactionIndexList } from "./transaction_index_repair.ts";
import type { Workers } from "./workers.ts";

export { DEFAULT_LOG_CONFIG, type LogConfig } from "./log_config.ts";

/** What a log is opened with. */
export interface LogOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The partition's own directory. */
  readonly directory: string;
  readonly topicPartition: TopicPartition;
  readonly topicId: Uuid;
  readonly config: LogConfig;
  readonly producerIdExpirationMs: number;
  readonly hadCleanShutdown: boolean;
  /** The last run met a disk failure: what is recovered is written once more before it is synced. */
  readonly hadDiskFailure?: boolean;
  readonly recoveryPoint: Offset;
  readonly logStartOffset: Offset;
  /** From the replication checkpoint; 0 when it is not known. */
  readonly highWatermark?: Offset;
  /** From the cleaner's checkpoint; left out when it was never cleaned. */
  readonly cleanedOffset?: Offset;
  readonly flusher: Flusher;
  readonly workers: Workers;
  /** Shared by the logs of a directory. */
  readonly files?: FileCache;
  readonly buffers?: BufferPool;
  /** Where all logs keep what they know of their producers; the log's own when left out. */
  readonly producerTable?: ProducerTable;
  /** Asked for room before each append. */
  readonly reserve?: DiskReserve;
  /** Spreads the rolls of segments, as `segment.jitter.ms` says. */
  readonly random: Random;
  /** Called when other segments may go than before. */
  readonly onRetentionChange?: () => void;
  /** Called once when the disk fails under this log. */
  readonly onDiskFailure?: (failure: DiskError) => void;
  /** Writes down the recovery points, before a truncation takes effect. */
  readonly checkpointRecoveryPoints?: () => Promise<void>;
  /** Asks a recovery to end early, with a JobCancelledError. */
  readonly signal?: AbortSignal;
  /** Told how many bytes a recovery has read so far. */
  readonly onRecovering?: (scannedBytes: number) => void;
}

/** How to append as leader. */
export interface AppendOptions {
  readonly leaderEpoch: number;
  readonly origin: AppendOrigin;
  /** Version of the Produce request; the newest when left out. */
  readonly requestVersion?: number;
  /** Version of the transaction protocol that a marker ends; 0 when left out. */
  readonly transactionVersion?: number;
  /** What is known of a transactional batch; left out where it is taken without a question. */
  readonly verification?: Verification | undefined;
}

/** An append that was written; not synced yet. */
export interface Appended {
  readonly error: 0;
  readonly baseOffset: Offset;
  readonly lastOffset: Offset;
  /** −1 with CreateTime. */
  readonly logAppendTimeMs: number;
  readonly logStartOffset: Offset;
  /** True when an idempotent producer had sent it before; the offsets are those of the first time. */
  readonly duplicate: boolean;
}

/** What an append answers. */
export type AppendResult = Appended | AppendRefusal;
export type { AppendRefusal, ReadRecords, RecordError, TimestampedOffset };

/** How to read. */
export interface ReadOptions extends Omit<ReadBounds, "upToOffset"> {
  /** Batches that end at or past it are left out; the end offset when left out. */
  readonly upToOffset?: Offset;
}

/** What a read answers. */
export type ReadResult = ReadRecords | { readonly error: ErrorCode; readonly message: string };

interface PendingSnapshot {
  readonly offset: number;
  readonly producers: SnapshotInProgress;
}

const RESTORE = "restore the file from a backup while the broker does not run";
/** DeleteRecords is refused where records are compacted alone. */
const GIVE_UP =
  ", or give the records up: weir log verify says where whole ones go on, and DeleteRecords up to " +
  "there removes those before";

/** Where bytes are damaged. */
export interface DamagedPlace {
  readonly path: string;
  readonly position: number;
  /** The offset that should be there. */
  readonly offset: number;
  readonly found: string;
  /** True where the records are served all the same: nothing relies on what is wrong. */
  readonly isServed?: boolean;
}

/** What is wrong with the bytes of a log. */
export interface LogDamage {
  /** The offset that should be there; −1 where that is not known. */
  readonly offset: number;
  readonly found: string;
}

/** A partition's log. */
export class Log implements Flushable {
  readonly topicPartition: TopicPartition;
  readonly topicId: Uuid;
  readonly leaderEpochs: LeaderEpochs;
  /** `topic-partition`. */
  readonly name: string;
  readonly #options: LogOptions;
  readonly #logger: Logger;
  readonly #files: FileCache;
  readonly #buffers: BufferPool;
  readonly #reader: LogReader;
  readonly #timestamps: TimestampSearch;
  readonly #producers: ProducerState;
  #directory: string;
  #config: LogConfig;
  #rules: PrepareRules;
  #segments: Segment[];
  #active: Segment;
  #logStartOffset: number;
  #endOffset: number;
  #syncedOffset: number;
  #recoveryPoint: number;
  #highWatermark: number;
  #offlineReason: string | null = null;
  #isClosed = false;
  readonly #damage = new DamageReports();
  /** What was found first; the places may be gone by now. */
  #firstDamage: LogDamage | null = null;
  /** Why the log is offline, where that is damage. */
  #offlineDamage: LogDamage | null = null;
  /** A truncation or the close is under way, which syncs by itself. */
  #isExclusive = false;
  /** Resolves when the truncation under way has ended, however it did. */
  #truncating: Promise<void> | null = null;
  /** The directory gets another name: no sync may begin. */
  #isMoving = false;
  /** Producers and open transactions are being read again. */
  #isReloading = false;

  /** Segments written since their last sync. */
  #unsynced = new Set<Segment>();
  /** Closed segments whose indexes are not synced. */
  #sealed: Segment[] = [];
  #pendingSnapshots: PendingSnapshot[] = [];
  /** Of the newest snapshot on disk and the one before it; −1 for none. */
  #snapshotOffset: number;
  #olderSnapshotOffset: number;
  /** Bytes past the newest snapshot, on disk or pending: what a crash would have read again. */
  #recoveryBytes = 0;
  /** Files were made or removed since the directory's last sync. */
  #namesDirty: boolean;
  /** A failed write was cut off; nothing may follow before the cut is on stable storage. */
  #cutUnsynced = false;
  #dirtyBytes = 0;
  /** The last sync found no file handle. */
  #isRetrying = false;
  /** The sync that comes stores the epochs as well. */
  #isSettling = false;
  #unflushedRecords = 0;
  #flushing: Promise<void> | null = null;
  #syncedListeners: ((syncedOffset: Offset) => void)[] = [];
  #offlineListeners: ((reason: string) => void)[] = [];
  #damageListeners: (() => void)[] = [];
  /** Told when the log is closed before what they wait for is synced. */
  readonly #syncWaits = new Set<() => void>();

  readonly #removal: DelayedRemoval;
  /** Set while the log is being cleaned; aborted where that has lost its point. */
  #cleaning: AbortController | null = null;
  #isCleaningPaused = false;
  readonly #cleaningWaits: (() => void)[] = [];
  #swapping: Promise<void> | null = null;
  #cleanedOffset: number;
  /** Segments were replaced since the list of those with aborted transactions was written. */
  #isIndexListOld = false;
  /** How much of `segment.jitter.ms` is taken off the active segment's time. Bounds: [0, 1). */
  #jitter: number;

  /**
   * Opens the log in `directory`, making it when missing. A log whose bytes cannot be trusted is opened
   * too, offline, with `offlineReason` set. Errors: DiskError, JobCancelledError.
   */
  static async open(options: LogOptions): Promise<Log> {
    const { topic, partition } = options.topicPartition;
    const name = formatTopicPartition(topic, partition);
    const files = options.files ?? new FileCache(options.disk, 64);
    const logger = options.logger.child("log");
    const loaded = await loadLog({ ...options, name, files, logger });
    return new Log({ ...options, files, logger }, name, loaded);
  }

  private constructor(options: LogOptions, name: string, loaded: LoadedLog) {
    this.#options = options;
    this.#logger = options.logger;
    this.#files = options.files!;
    this.#buffers = options.buffers ?? new BufferPool({ capBytes: 8 * 1024 * 1024 });
    this.topicPartition = options.topicPartition;
    this.topicId = options.topicId;
    this.name = name;
    this.#directory = options.directory;
    this.#config = options.config;
    this.#rules = prepareRules(name, options.config);
    this.leaderEpochs = loaded.leaderEpochs;
    this.#producers = loaded.producers;
    this.#segments = loaded.segments;
    this.#active = loaded.segments.at(-1)!;
    this.#logStartOffset = loaded.logStartOffset;
    this.#endOffset = loaded.endOffset;
    this.#syncedOffset = loaded.endOffset;
    this.#recoveryPoint = loaded.recoveryPoint;
    this.#recoveryBytes = loaded.recoveryBytes;
    this.#highWatermark = Math.min(options.highWatermark ?? 0, loaded.endOffset);
    [this.#snapshotOffset = -1, this.#olderSnapshotOffset = -1] = loaded.snapshotOffsets;
    this.#cleanedOffset = options.cleanedOffset ?? -1;
    this.#reader = new LogReader(this, this.#buffers);
    this.#timestamps = new TimestampSearch(this, this.#reader, options);
    this.#removal = new DelayedRemoval(options);
    this.#jitter = options.random.uint32() / 2 ** 32;
    if (loaded.deleted.length > 0) this.#removal.removeLater(loaded.deleted, 0);
    // An earlier run may have made the segment and ended before its sync, where it holds nothing.
    this.#namesDirty = !loaded.areNamesStable && loaded.endOffset === this.#active?.baseOffset;
    if (loaded.damage !== null) {
      this.#offlineReason = loaded.damage;
      this.#offlineDamage = { offset: -1, found: loaded.damage };
      this.#logger.error("Log is damaged and offline", { partition: name, reason: loaded.damage });
    }
  }

  /** Directory of the partition; changes when the log is moved or renamed for deletion. */
  get directory(): string {
    return this.#directory;
  }
  get config(): LogConfig {
    return this.#config;
  }
  /** What the settings ask of a client's batch. */
  get rules(): PrepareRules {
    return this.#rules;
  }
  /** Who schedules the syncs of this log, and of the others on its disk. */
  get flusher(): Flusher {
    return this.#options.flusher;
  }
  /** First offset that may be read. */
  get logStartOffset(): Offset {
    return offset(this.#logStartOffset);
  }
  /**
   * The same for the checkpoint: records that are not stable may be lost by a crash, and the log must not end
   * before its start then.
   */
  get stableLogStartOffset(): Offset {
    if (this.#isExclusive) return this.logStartOffset;
    return offset(Math.min(this.#logStartOffset, this.#syncedOffset));
  }
  /** Offset of the next record to be appended. */
  get endOffset(): Offset {
    return offset(this.#endOffset);
  }
  /** Everything before it is on stable storage. */
  get syncedOffset(): Offset {
    return offset(this.#syncedOffset);
  }
  /** Where recovery starts after a crash: indexes, epochs and snapshots before it are stable too. */
  get recoveryPoint(): Offset {
    return offset(this.#recoveryPoint);
  }
  get highWatermark(): Offset {
    return offset(this.#highWatermark);
  }
  /** Up to where the cleaner has compacted it; −1 for never. */
  get cleanedOffset(): Offset {
    return offset(this.#cleanedOffset);
  }
  /** Records before it will not change any more: synced, committed, and of no open transaction. */
  get stableOffset(): Offset {
    return this.lastStableOffset(offset(Math.min(this.#highWatermark, this.#syncedOffset)));
  }
  /** Why the log is offline, or null. */
  get offlineReason(): string | null {
    return this.#offlineReason;
  }
  /** From the oldest to the active one. */
  get segments(): readonly Segment[] {
    return this.#segments;
  }
  /** Bytes of all batches. */
  get sizeBytes(): number {
    let sum = 0;
    for (const segment of this.#segments) sum += segment.sizeBytes;
    return sum;
  }

  /** Bytes that a recovery would have to read if the process were killed now. */
  get recoveryBytes(): number {
    return this.#recoveryBytes;
  }

  /** Takes new settings; they hold from the next append on. */
  updateConfig(config: LogConfig): void {
    const { retentionMs, retentionBytes, cleanupPolicy } = this.#config;
    this.#config = config;
    const hasChanged = retentionMs !== config.retentionMs ||
      retentionBytes !== config.retentionBytes ||
      cleanupPolicy.includes("delete") !== config.cleanupPolicy.includes("delete");
    if (hasChanged) this.#options.onRetentionChange?.();
    this.#rules = prepareRules(this.name, config);
    if (!config.cleanupPolicy.includes("compact")) this.#cleaning?.abort();
  }

  /** Notes how far the log is committed, for the checkpoint and the last stable offset. */
  updateHighWatermark(highWatermark: Offset): void {
    if (highWatermark > this.#highWatermark) {
      this.#highWatermark = Math.min(highWatermark, this.#endOffset);
    }
  }

  /**
   * The first offset that a read_committed consumer must not pass: at most the high watermark. A transaction
   * that is open may have begun with records that are deleted.
   */
  lastStableOffset(highWatermark: Offset): Offset {
    if (this.#isReloading) return this.logStartOffset;
    const unstable = this.#producers.firstUnstableOffset(highWatermark);
    if (unstable < 0 || unstable >= highWatermark) return highWatermark;
    return offset(Math.max(unstable, this.#logStartOffset));
  }

  /** Active idempotent producers. */
  producers(): Iterable<ProducerEntry> {
    return this.#producers.entries();
  }

  /** True when the producer has a transaction open here, under this epoch. */
  hasOpenTransaction(producerId: number, producerEpoch: number): boolean {
    return this.#producers.hasOpenTransaction(producerId, producerEpoch);
  }

  /** When the oldest open transaction was last written to, by its records' own time; −1 while none is open. */
  get oldestTransactionMs(): number {
    return this.#producers.oldestTransactionMs;
  }

  /** Where each producer's newest batch ends. */
  lastBatches(): LastBatches {
    return this.#producers.lastBatches();
  }

  /** The largest epoch up to `epoch` and the offset after its last record; (−1, −1) when unknown. */
  endOffsetForEpoch(epoch: number): { readonly leaderEpoch: number; readonly endOffset: number } {
    return this.leaderEpochs.endOffsetFor(epoch, this.#endOffset);
  }

  // ── append ──────────────────────────────────────────────────────────────────────────────────────

  /**
   * Appends batches as the partition's leader: gives them their offsets in place and writes them into
   * the page cache. `records` belongs to the log from now on. A client's batch is prepared here and now,
   * however long that takes: what serves clients prepares it by `PrepareQueue` and calls `appendPrepared`.
   *
   * Returns: the offsets; durable once `syncedOffset` has passed them, which takes a `sync()`.
   * Errors: those of `prepareBatch` for clients, and of `appendPrepared`.
   */
  appendAsLeader(records: Uint8Array, options: AppendOptions): AppendResult {
    if (this.#refusesAppends) return this.#storageError("append");
    if (options.origin !== "client") {
      return this.#appendPatched(records, options, this.#rules.messageTimestampType);
    }
    const requestVersion = options.requestVersion ?? Infinity;
    const nowMs = this.#options.clock.wallMs();
    const prepared = prepareBatch(records, this.#rules, { nowMs, requestVersion });
    return "bytes" in prepared ? this.appendPrepared(prepared, options) : prepared;
  }

  /**
   * Appends a client's batch that was prepared by this log's `rules`.
   *
   * Returns: as `appendAsLeader`. Errors: INVALID_PRODUCER_EPOCH, OUT_OF_ORDER_SEQUENCE_NUMBER,
   * INVALID_TXN_STATE, TRANSACTION_COORDINATOR_FENCED, RECORD_LIST_TOO_LARGE, KAFKA_STORAGE_ERROR.
   */
  appendPrepared(
    { bytes, timestampType }: PreparedBatch,
    options: Pick<AppendOptions, "leaderEpoch" | "origin" | "verification">,
  ): AppendResult {
    if (this.#refusesAppends) return this.#storageError("append");
    return this.#appendPatched(bytes, options, timestampType);
  }

  #appendPatched(
    bytes: Uint8Array,
    options: Pick<AppendOptions, "leaderEpoch" | "origin" | "verification">,
    timestampType: AppendRules["messageTimestampType"],
  ): AppendResult {
    const nowMs = this.#options.clock.wallMs();
    const isLogAppendTime = timestampType === "LogAppendTime";
    const baseOffset = this.#endOffset;
    let nextOffset = baseOffset;
    const headers: RecordBatchHeader[] = [];
    for (let at = 0; at < bytes.length; at += batchSizeBytes(bytes, at)) {
      patchAsLeader(bytes, at, {
        baseOffset: nextOffset,
        partitionLeaderEpoch: options.leaderEpoch,
      });
      if (isLogAppendTime) patchLogAppendTime(bytes, at, nowMs);
      const header = readBatchHeader(bytes, at);
      assert(header.batchLength >= RECORD_BATCH_OVERHEAD - LOG_OVERHEAD);
      headers.push(header);
      nextOffset += header.lastOffsetDelta + 1;
    }
    assert(headers.length > 0);
    const found = this.#checkProducers(bytes, headers, options);
    if (found !== null) return found;
    const refusal = this.#refuseWithoutRoom(bytes.length, options.origin) ??
      this.#write(bytes, headers, nextOffset);
    if (refusal !== null) return refusal;
    return {
      error: ErrorCode.NONE,
      baseOffset: offset(baseOffset),
      lastOffset: offset(nextOffset - 1),
      logAppendTimeMs: isLogAppendTime ? nowMs : -1,
      logStartOffset: offset(this.#logStartOffset),
      duplicate: false,
    };
  }

  #refuseWithoutRoom(byteCount: number, origin: AppendOrigin): AppendRefusal | null {
    const found = this.#options.reserve?.refusal(byteCount, origin) ?? null;
    if (found === null) return null;
    const message = `Cannot append to ${this.name}: ${found}`;
    return { error: ErrorCode.KAFKA_STORAGE_ERROR, message };
  }

  /** Null when the batches may be appended; the answer of the first time when they are a duplicate. */
  #checkProducers(
    bytes: Uint8Array,
    headers: readonly RecordBatchHeader[],
    options: AppendOptions,
  ): AppendResult | null {
    let at = 0;
    for (const header of headers) {
      const found = header.producerId < 0 ? null : this.#checkProducer(header, bytes, at, options);
      if (found !== null) return found;
      at += LOG_OVERHEAD + header.batchLength;
    }
    return null;
  }

  #checkProducer(
    header: RecordBatchHeader,
    bytes: Uint8Array,
    at: number,
    options: AppendOptions,
  ): AppendResult | null {
    const duplicate = options.origin === "client" ? this.#producers.findDuplicate(header) : null;
    if (duplicate === null) {
      const marker = transactionMarkerAt(header.attributes, bytes, at);
      return this.#producers.check(header, marker, options);
    }
    return {
      error: ErrorCode.NONE,
      baseOffset: offset(duplicate.lastOffset - duplicate.offsetDelta),
      lastOffset: offset(duplicate.lastOffset),
      logAppendTimeMs: this.#rules.messageTimestampType === "LogAppendTime"
        ? duplicate.timestamp
        : -1,
      logStartOffset: offset(this.#logStartOffset),
      duplicate: true,
    };
  }

  /**
   * Appends batches that a leader has sent, with their offsets and epochs as they are.
   * Errors: CORRUPT_MESSAGE for a checksum that does not fit, INVALID_RECORD for offsets that do not
   * follow the end offset, KAFKA_STORAGE_ERROR.
   */
  appendAsFollower(records: Uint8Array): AppendResult {
    if (this.#refusesAppends) return this.#storageError("append");
    try {
      return this.#appendAsSent(records);
    } catch (failure) {
      if (!(failure instanceof WireError)) throw failure;
      const message = `Cannot append to ${this.name}: ${failure.message}`;
      return { error: ErrorCode.CORRUPT_MESSAGE, message };
    }
  }

  #appendAsSent(records: Uint8Array): AppendResult {
    const headers: RecordBatchHeader[] = [];
    let nextOffset = this.#endOffset;
    let byteCount = 0;
    for (const at of batches(records)) {
      const header = readBatchHeader(records, at);
      if (!isCrcValid(records, at)) {
        const message = `Cannot append to ${this.name}: the checksum of the batch at offset ` +
          `${header.baseOffset} does not fit`;
        return { error: ErrorCode.CORRUPT_MESSAGE, message };
      }
      if (header.baseOffset < nextOffset || header.lastOffsetDelta < 0) {
        const message =
          `Cannot append to ${this.name}: base offset ${header.baseOffset} is below ` +
          `end offset ${nextOffset}`;
        return { error: ErrorCode.INVALID_RECORD, message };
      }
      headers.push(header);
      nextOffset = header.baseOffset + header.lastOffsetDelta + 1;
      byteCount += LOG_OVERHEAD + header.batchLength;
    }
    const bytes = records.subarray(0, byteCount);
    const refusal = headers.length === 0 ? null : this.#write(bytes, headers, nextOffset);
    return refusal ?? {
      error: ErrorCode.NONE,
      baseOffset: offset(headers[0]?.baseOffset ?? this.#endOffset),
      lastOffset: offset(nextOffset - 1),
      logAppendTimeMs: -1,
      logStartOffset: offset(this.#logStartOffset),
      duplicate: false,
    };
  }

  /** Writes batches that carry their offsets. Returns: null when done. */
  #write(
    bytes: Uint8Array,
    headers: readonly RecordBatchHeader[],
    nextOffset: number,
  ): AppendRefusal | null {
    if (bytes.length > this.#config.segmentBytes) {
      const message =
        `Cannot append to ${this.name}: ${bytes.length} bytes exceed segment.bytes, ` +
        `which is ${this.#config.segmentBytes}`;
      return { error: ErrorCode.RECORD_LIST_TOO_LARGE, message };
    }
    try {
      this.#maybeRoll(bytes.length, headers[0]!, nextOffset - 1);
    } catch (failure) {
      return this.#writeFailed(failure);
    }
    const segment = this.#active;
    try {
      segment.write(bytes);
    } catch (failure) {
      return this.#writeFailed(failure);
    }
    try {
      this.#note(segment, bytes, headers);
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      // The batch lies in the file and is not counted: nothing may follow it.
      this.#diskFailed(failure);
      return { error: ErrorCode.KAFKA_STORAGE_ERROR, message: failure.message };
    }
    this.#unflushedRecords += nextOffset - this.#endOffset;
    this.#endOffset = nextOffset;
    this.#unsynced.add(segment);
    this.#recoveryBytes += bytes.length;
    this.#dirtyBytes += bytes.length;
    this.#options.flusher.addDirty(this, bytes.length);
    if (this.#unflushedRecords >= this.#config.flushMessages) this.sync();
    return null;
  }

  #note(segment: Segment, bytes: Uint8Array, headers: readonly RecordBatchHeader[]): void {
    const { indexIntervalBytes } = this.#config;
    let at = 0;
    for (const header of headers) {
      const sizeBytes = LOG_OVERHEAD + header.batchLength;
      const lastOffset = header.baseOffset + header.lastOffsetDelta;
      segment.note(sizeBytes, lastOffset, header.maxTimestamp, indexIntervalBytes);
      this.leaderEpochs.assign(header.partitionLeaderEpoch, header.baseOffset);
      if (header.producerId >= 0) this.#noteProducer(segment, header, bytes, at);
      at += sizeBytes;
    }
  }

  #noteProducer(
    segment: Segment,
    header: RecordBatchHeader,
    bytes: Uint8Array,
    at: number,
  ): void {
    const marker = transactionMarkerAt(header.attributes, bytes, at);
    const completed = this.#producers.update(header, marker);
    if (completed === null || !completed.isAborted) return;
    const lastStableOffset = this.#producers.lastStableOffsetAfter(completed);
    segment.transactionIndex.append({ ...completed, lastStableOffset });
  }

  #writeFailed(failure: unknown): AppendRefusal {
    if (!(failure instanceof DiskError)) throw failure;
    if (!failure.isPassing) this.#diskFailed(failure);
    else {
      try {
        this.#active.dropUnnoted();
        this.#unsynced.add(this.#active);
        this.#cutUnsynced = true;
        this.sync();
      } catch (second) {
        if (!(second instanceof DiskError)) throw second;
        this.#diskFailed(second);
      }
    }
    return { error: ErrorCode.KAFKA_STORAGE_ERROR, message: failure.message };
  }

  get #refusesAppends(): boolean {
    return this.#offlineReason !== null || this.#cutUnsynced || this.#isExclusive;
  }

  #storageError(doing: string): { readonly error: ErrorCode; readonly message: string } {
    const found = this.#offlineReason ??
      (this.#cutUnsynced ? "the disk was full a moment ago" : "it is being truncated or closed");
    return {
      error: ErrorCode.KAFKA_STORAGE_ERROR,
      message: `Cannot ${doing} to ${this.name}: ${found}`,
    };
  }

  // ── segments ────────────────────────────────────────────────────────────────────────────────────

  #maybeRoll(byteCount: number, first: RecordBatchHeader, lastOffset: number): void {
    const active = this.#active;
    const { segmentBytes, segmentIndexBytes } = this.#config;
    if (active.sizeBytes === 0 && lastOffset - active.baseOffset <= MAX_RELATIVE_OFFSET) return;
    if (
      active.sizeBytes + byteCount > segmentBytes || this.#isOld(active, first.maxTimestamp) ||
      active.isIndexFull(segmentIndexBytes) || lastOffset - active.baseOffset > MAX_RELATIVE_OFFSET
    ) {
      // A gap that a leader's cleaner has left lies within a segment: between two, it would be what a
      // crash leaves of a segment whose end was lost.
      const isFar = lastOffset - this.#endOffset > MAX_RELATIVE_OFFSET;
      this.#roll(isFar ? first.baseOffset : this.#endOffset);
    }
  }

  /** Age counts by the records' own time, from the first batch; by the clock where they have none. */
  #isOld(segment: Segment, timestampMs: number): boolean {
    const { firstTimestamp } = segment;
    const ageMs = firstTimestamp !== null && timestampMs >= 0
      ? timestampMs - firstTimestamp
      : this.#options.clock.wallMs() - segment.createdMs;
    const { segmentJitterMs, cleanupPolicy, maxCompactionLagMs } = this.#config;
    let { segmentMs } = this.#config;
    // What is in the active segment is not compacted.
    if (cleanupPolicy.includes("compact")) segmentMs = Math.min(segmentMs, maxCompactionLagMs);
    return ageMs > segmentMs - this.#jitter * Math.min(segmentJitterMs, segmentMs);
  }

  /** Closes the active segment and starts the next one. Errors: DiskError. */
  #roll(baseOffset: number): void {
    const old = this.#active;
    if (old.sizeBytes > 0) old.storeIndexes();
    const next = this.#newSegment(baseOffset);
    this.#jitter = this.#options.random.uint32() / 2 ** 32;
    next.openForAppend();
    this.#namesDirty = true;
    this.#segments.push(next);
    this.#active = next;
    if (old.sizeBytes === 0) {
      this.#removeSegments([old], this.#segments.length - 2);
      return;
    }
    old.retire();
    this.#unsynced.add(old);
    this.#sealed.push(old);
    this.#takeSnapshot();
  }

  /** Keeps the producers as they are now, to be stored once the records up to here are stable. */
  #takeSnapshot(): void {
    this.#pendingSnapshots.push({
      offset: this.#endOffset,
      producers: this.#producers.beginSnapshot(),
    });
    this.#recoveryBytes = 0;
  }

  /** Closes the active segment now, so that it can be deleted or cleaned. Errors: DiskError. */
  roll(): void {
    if (this.#active.sizeBytes > 0) this.#roll(this.#endOffset);
  }

  /** On a full disk records must still be deleted: the last segment's file then stays for a while. */
  #rollIfRoom(): void {
    try {
      this.roll();
    } catch (failure) {
      if (!(failure instanceof DiskError) || !failure.isPassing) throw failure;
    }
  }

  #newSegment(baseOffset: number): Segment {
    return new Segment({
      directory: this.#directory,
      baseOffset,
      disk: this.#options.disk,
      files: this.#files,
      createdMs: this.#options.clock.wallMs(),
    });
  }

  /** Takes segments out of the list at `index` and removes their files after `file.delete.delay.ms`. */
  #removeSegments(removed: readonly Segment[], index: number): void {
    this.#segments.splice(index, removed.length);
    this.#reader.forget();
    const { disk } = this.#options;
    const renames = new Renames(disk);
    const renamed: string[] = [];
    for (const segment of removed) {
      this.#letGo(segment);
      const snapshot = segmentPath(this.#directory, segment.baseOffset, SNAPSHOT_SUFFIX);
      const isStart = segment.baseOffset >= this.#segments[0]!.baseOffset;
      for (const path of [...segment.paths(), ...(isStart ? [] : [snapshot])]) {
        if (disk.exists(path)) renamed.push(renames.markDeleted(path));
      }
    }
    this.#namesDirty = true;
    if (renamed.length > 0) this.#removal.removeLater(renamed, this.#config.fileDeleteDelayMs);
  }

  #forgetDamage({ path, transactionIndex }: Segment): void {
    this.#damage.forget(path);
    this.#damage.forget(transactionIndex.file.path);
  }

  /** A segment that is not of the log any more: nothing of it is synced or read. */
  #letGo(segment: Segment): void {
    this.#unsynced.delete(segment);
    this.#sealed = this.#sealed.filter((sealed) => sealed !== segment);
    this.#forgetDamage(segment);
    segment.retire();
    segment.close();
  }

  /**
   * Advances the log start offset and drops the segments that lie wholly before it.
   * Returns: NONE, or OFFSET_OUT_OF_RANGE past the high watermark or end. Durable with the next
   * checkpoint of the log directory.
   */
  deleteRecordsBefore(upTo: Offset): { readonly error: ErrorCode } {
    if (this.#offlineReason !== null || this.#isExclusive) {
      return { error: ErrorCode.KAFKA_STORAGE_ERROR };
    }
    if (upTo > this.#endOffset || upTo < 0) return { error: ErrorCode.OFFSET_OUT_OF_RANGE };
    if (upTo <= this.#logStartOffset) return { error: ErrorCode.NONE };
    try {
      this.#logStartOffset = upTo;
      if (upTo === this.#endOffset) this.#rollIfRoom();
      this.#dropDeleted();
      this.leaderEpochs.truncateFromStart(upTo);
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      this.#diskFailed(failure);
      return { error: ErrorCode.KAFKA_STORAGE_ERROR };
    }
    return { error: ErrorCode.NONE };
  }

  /** Removes now what waits for `file.delete.delay.ms`, or for a cleaning: the disk is full. */
  hurryRemovals(): void {
    this.#cleaning?.abort();
    this.#removal.hurry();
  }

  /**
   * Lets the oldest segments go, as `retention.ms` and `retention.bytes` say, up to the high watermark.
   * Returns: bytes of the segments that went.
   */
  enforceRetention(): number {
    if (!this.#config.cleanupPolicy.includes("delete")) return 0;
    if (this.#offlineReason !== null || this.#isExclusive) return 0;
    try {
      const sizeBytes = this.sizeBytes;
      const start = retentionOffset(this, this.#config, this.#options.clock.wallMs());
      if (start <= this.#logStartOffset) return 0;
      const { error } = this.deleteRecordsBefore(start);
      if (error !== ErrorCode.NONE) return 0;
      const goneBytes = sizeBytes - this.sizeBytes;
      this.#logger.info("Old records are deleted, as retention says", {
        partition: this.name,
        logStartOffset: start,
        bytes: goneBytes,
      });
      return goneBytes;
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      if (failure.isPassing) return 0;
      this.#diskFailed(failure);
      return 0;
    }
  }

  /**
   * Drops the segments that lie wholly before the log start offset. What the next start would need of
   * them must be stable first: their successor's snapshot, and the recovery point past them.
   */
  #dropDeleted(): void {
    const segments = this.#segments;
    // What is being cleaned stays until that has ended.
    if (this.#cleaning !== null) return;
    if (segments.length === 1 || segments[1]!.baseOffset > this.#logStartOffset) return;
    const bound = Math.min(this.#logStartOffset, this.#recoveryPoint);
    let count = segments.findLastIndex(({ baseOffset }) => baseOffset <= bound);
    const isPending = (at: number) => this.#pendingSnapshots.some((one) => one.offset === at);
    while (count > 0 && isPending(segments[count]!.baseOffset)) count--;
    if (count > 0) this.#removeSegments(segments.slice(0, count), 0);
    // The rest follows with the sync after which nothing is pending any more.
    if (this.#pendingSnapshots.length > 0) this.#options.flusher.request(this);
  }

  /**
   * Drops every record at or past `target`. Nothing may be appended meanwhile.
   * Returns: when the truncation is on stable storage. Errors: DiskError.
   */
  async truncateTo(target: Offset): Promise<void> {
    if (target >= this.#endOffset) return;
    if (target < this.#logStartOffset) return await this.truncateFullyAndStartAt(target);
    await this.#exclusively(async () => {
      const kept = this.#segments[this.#reader.segmentIndexFor(target)]!;
      const cut = kept.endBefore(target);
      // The log start may lie in the middle of the batch that is cut.
      await this.#truncate(cut, Math.min(this.#logStartOffset, cut), async () => {
        const keptCount = this.#segments.indexOf(kept) + 1;
        const dropped = this.#segments.slice(keptCount);
        this.#active = kept;
        await this.#dropNow(dropped, keptCount);
        kept.openForAppend();
        this.#endOffset = kept.truncateTo(target);
        this.#damage.forget(kept.path, kept.sizeBytes);
        this.#unsynced.add(kept);
      });
    });
  }

  /** Drops every record; the next one gets the offset `start`. Returns and errors as `truncateTo`. */
  async truncateFullyAndStartAt(start: Offset): Promise<void> {
    await this.#exclusively(async () => {
      const cut = Math.min(start, this.#segments[0]!.baseOffset);
      await this.#truncate(cut, Math.min(this.#logStartOffset, start), async () => {
        // First: nothing of the records that are gone may speak of those that get their offsets.
        this.#removeSnapshots(() => true);
        const dropped = this.#segments;
        this.#segments = [];
        this.#pendingSnapshots = [];
        this.leaderEpochs.clear();
        await this.#dropNow(dropped, 0);
        this.#active = this.#newSegment(start);
        this.#active.openForAppend();
        this.#segments = [this.#active];
        this.#logStartOffset = start;
        this.#endOffset = start;
        this.#namesDirty = true;
      });
    });
  }

  async #exclusively(change: () => Promise<void>): Promise<void> {
    if (this.#offlineReason !== null) throw new DiskError(this.#offlineReason, "EIO");
    if (this.#isExclusive || this.#isClosed) throw new DiskError(`${this.name} is closed`, "EBADF");
    this.#isExclusive = true;
    const changing = this.#quiesce().then(change);
    this.#truncating = changing.catch(() => {});
    try {
      await changing;
    } finally {
      this.#truncating = null;
      this.#isExclusive = false;
      // A sync that was asked for meanwhile has not been done.
      this.sync();
    }
  }

  /**
   * The order of a truncation: checkpoint, files, what is derived from them, sync. All records past `cut`
   * go; a crash meanwhile leaves some of them.
   */
  async #truncate(
    cut: number,
    logStartOffset: number,
    dropFiles: () => Promise<void>,
  ): Promise<void> {
    const logStartBefore = this.#logStartOffset;
    // Written down first: an end before the recovery point would be taken for a loss.
    this.#recoveryPoint = Math.min(this.#recoveryPoint, cut);
    this.#syncedOffset = Math.min(this.#syncedOffset, cut);
    this.#cleanedOffset = Math.min(this.#cleanedOffset, cut);
    this.#logStartOffset = logStartOffset;
    try {
      await this.#options.checkpointRecoveryPoints?.();
      // The checkpoint leaves out a log that is offline, as the last sync before may have taken this one.
      if (this.#offlineReason !== null) throw new DiskError(this.#offlineReason, "EIO");
    } catch (failure) {
      this.#logStartOffset = logStartBefore;
      throw failure;
    }
    try {
      await dropFiles();
      await this.#afterTruncation();
    } catch (failure) {
      if (failure instanceof DiskError && this.#offlineReason === null) this.#diskFailed(failure);
      throw failure;
    }
  }

  /** Ends the cleaning too: it must not put back what a truncation takes away. */
  async #quiesce(): Promise<void> {
    this.#cleaning?.abort();
    while (this.#flushing !== null || this.#swapping !== null) {
      await this.#flushing;
      await this.#swapping;
    }
  }

  /** Removes the files of segments at once, from the newest to the oldest. */
  async #dropNow(dropped: readonly Segment[], index: number): Promise<void> {
    this.#segments.splice(index, dropped.length);
    this.#reader.forget();
    // All of them before a removal may fail: nobody knows them any more.
    for (const segment of dropped) {
      this.#unsynced.delete(segment);
      this.#forgetDamage(segment);
      segment.retire();
      segment.close();
    }
    for (const segment of [...dropped].reverse()) {
      for (const path of segment.paths()) this.#options.disk.remove(path);
    }
    this.#sealed = this.#sealed.filter((segment) => !dropped.includes(segment));
    await this.#options.disk.syncDirectory(this.#directory);
  }

  async #afterTruncation(): Promise<void> {
    this.#reader.forget();
    this.#highWatermark = Math.min(this.#highWatermark, this.#endOffset);
    this.leaderEpochs.truncateFromEnd(this.#endOffset);
    this.leaderEpochs.truncateFromStart(this.#logStartOffset);
    this.#pendingSnapshots = this.#pendingSnapshots.filter((one) => one.offset <= this.#endOffset);
    await this.#reloadProducers();
    await this.#startFlush();
    if (this.#offlineReason !== null) throw new DiskError(this.#offlineReason, "EIO");
  }

  async #reloadProducers(): Promise<void> {
    this.#removeSnapshots((at) => at > this.#endOffset);
    this.#isReloading = true;
    try {
      this.#snapshotOffset = await replayProducers(
        { ...this.#options, directory: this.#directory },
        {
          segments: this.#segments,
          endOffset: this.#endOffset,
          producers: this.#producers,
          upTo: this.#endOffset,
        },
      );
      recallRecent(this.#producers, this.#segments);
    } finally {
      this.#isReloading = false;
    }
    this.#olderSnapshotOffset = -1;
    this.#recoveryBytes = this.#active.sizeBytes;
  }

  #removeSnapshots(isWanted: (at: number) => boolean): void {
    const { disk } = this.#options;
    for (const at of snapshotOffsets(disk, this.#directory)) {
      if (isWanted(at)) disk.remove(segmentPath(this.#directory, at, SNAPSHOT_SUFFIX));
    }
    this.#namesDirty = true;
  }

  // ── compaction ──────────────────────────────────────────────────────────────────────────────────

  /**
   * Marks the log as being cleaned, until `endCleaning`: no segment is removed meanwhile.
   * Returns: a signal that is aborted once the cleaning has lost its point, since the log is truncated,
   * closed or not compacted any more; null when it cannot be cleaned now.
   */
  startCleaning(): AbortSignal | null {
    const isBusy = this.#cleaning !== null || this.#isCleaningPaused || this.#isExclusive ||
      this.#isClosed;
    if (isBusy || this.#offlineReason !== null) return null;
    this.#cleaning = new AbortController();
    return this.#cleaning.signal;
  }

  /** Ends the cleaning. `cleanedOffset` is how far the whole of it got; null when it was given up. */
  endCleaning(cleanedOffset: Offset | null): void {
    assert(this.#cleaning !== null && this.#swapping === null);
    const { aborted } = this.#cleaning.signal;
    this.#cleaning = null;
    for (const tell of this.#cleaningWaits.splice(0)) tell();
    if (cleanedOffset !== null && !aborted) this.#cleanedOffset = cleanedOffset;
    if (this.#isClosed || this.#isExclusive || this.#offlineReason !== null) return;
    try {
      this.#dropDeleted();
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      if (!failure.isPassing) this.#diskFailed(failure);
    }
  }

  /**
   * Keeps the cleaner off until `resumeCleaning`: a copy of the log that is half done would lack a tombstone
   * that has gone, and have the record that it had deleted. Returns: when no cleaning is under way.
   */
  async pauseCleaning(): Promise<void> {
    this.#isCleaningPaused = true;
    if (this.#cleaning === null) return;
    this.#cleaning.abort();
    await new Promise<void>((resolve) => this.#cleaningWaits.push(resolve));
  }

  resumeCleaning(): void {
    this.#isCleaningPaused = false;
  }

  /** Writes the aborted transactions of the active segment, so that a worker can read all of them. */
  storeAbortedTransactions(): void {
    this.#active.transactionIndex.store();
  }

  /**
   * Closes the active segment when its first record has waited longer than `max.compaction.lag.ms`: what
   * no append closes is not compacted else. Errors: DiskError.
   */
  rollIfOverdue(): void {
    const { maxCompactionLagMs } = this.#config;
    // Without a bound the first batch need not be read.
    if (maxCompactionLagMs === Number.MAX_SAFE_INTEGER || this.#refusesAppends) return;
    const { firstTimestamp } = this.#active;
    if (firstTimestamp === null) return;
    if (this.#options.clock.wallMs() - firstTimestamp > maxCompactionLagMs) this.roll();
  }

  /**
   * Puts the cleaned segment that lies ready in the place of `replaced`, which are in order and not active.
   * Returns: when the swap is on stable storage. Errors: DiskError; the old segments stay then.
   */
  async replaceSegments(replaced: readonly Segment[]): Promise<void> {
    assert(this.#cleaning !== null && !this.#cleaning.signal.aborted && this.#swapping === null);
    const swap = this.#swap(replaced).finally(() => {
      this.#swapping = null;
    });
    this.#swapping = swap.catch(() => {});
    await swap;
  }

  /** The order and its reasons: `segment_swap.ts`. */
  async #swap(replaced: readonly Segment[]): Promise<void> {
    const { disk } = this.#options;
    const renames = new Renames(disk);
    let deleted: string[];
    try {
      const paths = { directory: this.#directory, baseOffset: replaced[0]!.baseOffset };
      renameCleaned(renames, disk, paths);
      await disk.syncDirectory(this.#directory);
      if (this.#offlineReason !== null) throw new DiskError(this.#offlineReason, "EIO");
      deleted = this.#takePlace(renames, replaced);
    } catch (failure) {
      if (failure instanceof DiskError) this.#undoSwap(renames, failure);
      throw failure;
    }
    try {
      await disk.syncDirectory(this.#directory);
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      if (!failure.isPassing) this.#diskFailed(failure);
      this.#syncNamesSoon();
    }
    this.#removal.removeLater(deleted, this.#config.fileDeleteDelayMs);
  }

  /** In one turn of the loop. Returns: files that wait for their removal. Errors: DiskError. */
  #takePlace(renames: Renames, replaced: readonly Segment[]): string[] {
    const { disk } = this.#options;
    const index = this.#segments.indexOf(replaced[0]!);
    assert(index >= 0 && index + replaced.length < this.#segments.length);
    const deleted: string[] = [];
    for (const [i, segment] of replaced.entries()) {
      assert(this.#segments[index + i] === segment);
      this.#letGo(segment);
      const { baseOffset } = segment;
      const snapshot = segmentPath(this.#directory, baseOffset, SNAPSHOT_SUFFIX);
      const isSpare = i > 0 && baseOffset !== this.#snapshotOffset && disk.exists(snapshot);
      for (const path of [...segment.paths(), ...(isSpare ? [snapshot] : [])]) {
        deleted.push(renames.markDeleted(path));
      }
    }
    const { baseOffset } = replaced[0]!;
    renameSwapped(renames, disk, { directory: this.#directory, baseOffset });
    this.#segments.splice(index, replaced.length, this.#newSegment(baseOffset));
    // Aborted transactions may be gone, and a start would look for them.
    this.#isIndexListOld = true;
    this.#reader.forget();
    return deleted;
  }

  /** A rename or the sync has failed: the files get their names back, so that the log can go on. */
  #undoSwap(renames: Renames, failure: DiskError): void {
    if (this.#offlineReason !== null) return;
    try {
      renames.undo();
      // A start after a crash must not finish what was given up.
      this.#syncNamesSoon();
      if (!failure.isPassing) this.#diskFailed(failure);
    } catch (second) {
      if (!(second instanceof DiskError)) throw second;
      this.#diskFailed(second);
    }
  }

  #syncNamesSoon(): void {
    this.#namesDirty = true;
    // Nothing new is dirty: it makes the flusher come to this log in a while.
    this.#options.flusher.addDirty(this, 0);
  }

  // ── read ────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Whole batches from the one that holds `startOffset` on, all out of one segment.
   * Errors: OFFSET_OUT_OF_RANGE, KAFKA_STORAGE_ERROR, CORRUPT_MESSAGE where no batch can be read.
   */
  read(startOffset: Offset, options: ReadOptions): ReadResult {
    const isNothingThere = this.#isClosed || this.#segments.length === 0;
    if (this.#offlineReason !== null || isNothingThere) return this.#storageError("read");
    if (startOffset < this.#logStartOffset || startOffset > this.#endOffset) {
      const message = `Cannot read ${this.name} from offset ${startOffset}: it has ` +
        `[${this.#logStartOffset}, ${this.#endOffset})`;
      return { error: ErrorCode.OFFSET_OUT_OF_RANGE, message };
    }
    const upToOffset = Math.min(options.upToOffset ?? this.#endOffset, this.#endOffset);
    if (startOffset >= upToOffset || (options.maxBytes <= 0 && !options.minOneMessage)) {
      return nothingRead(startOffset);
    }
    try {
      return this.#reader.read(startOffset, { ...options, upToOffset });
    } catch (failure) {
      if (failure instanceof WireError) return this.#corrupt(startOffset, failure);
      if (!(failure instanceof DiskError)) throw failure;
      if (failure.code === "EBADMSG") return this.#corrupt(startOffset, failure);
      if (failure.isOutOfHandles) {
        return { error: ErrorCode.KAFKA_STORAGE_ERROR, message: failure.message };
      }
      this.#diskFailed(failure);
      return this.#storageError("read");
    }
  }

  #corrupt(startOffset: number, failure: Error): ReadResult {
    // Readers try again and again: one line for each place is enough.
    if (failure instanceof DamagedBytes) this.#reportDamaged(failure);
    else {
      const place = { path: this.#directory, position: startOffset };
      this.reportDamage({ ...place, offset: startOffset, found: failure.message });
    }
    return { error: ErrorCode.CORRUPT_MESSAGE, message: failure.message };
  }

  /** A reader may have come upon it on its way to another offset. */
  #reportDamaged({ path, position, message }: DamagedBytes): void {
    const segment = this.#segments.find((one) => one.path === path);
    // What a truncation or compaction has taken away meanwhile is not damaged any more.
    if (segment === undefined || this.#damage.has(path, position)) return;
    this.reportDamage({ path, position, offset: segment.offsetAt(position), found: message });
  }

  /** Tells of a damaged place, once. */
  reportDamage({ path, position, offset: at, found, isServed = false }: DamagedPlace): void {
    if (!this.#damage.add(path, position)) return;
    this.#logger.error("Damaged bytes are not served", {
      partition: this.name,
      offset: at,
      found,
      advice: RESTORE + (this.#config.cleanupPolicy.includes("delete") ? GIVE_UP : ""),
    });
    if (isServed) return;
    if (this.damage === null) this.#firstDamage = { offset: at, found };
    this.#tellDamaged();
  }

  #tellDamaged(): void {
    for (const listener of this.#damageListeners) listener();
  }

  /** How many damaged places are known. */
  get damagedCount(): number {
    return this.#damage.count;
  }

  /** What was found first of what is not served; null while nothing is known of, or it has gone since. */
  get damage(): LogDamage | null {
    if (this.#damage.count === 0) this.#firstDamage = null;
    return this.#offlineDamage ?? this.#firstDamage;
  }

  /** Calls the listener when damage is found. Returns: a function that stops it. */
  onDamaged(listener: () => void): () => void {
    this.#damageListeners = [...this.#damageListeners, listener];
    return () => {
      this.#damageListeners = this.#damageListeners.filter((known) => known !== listener);
    };
  }

  /** Transactions that were aborted and overlap `[fromOffset, upToOffset)`, in the order of markers. */
  abortedTransactions(fromOffset: Offset, upToOffset: Offset): AbortedTransaction[] {
    return this.#reader.abortedTransactions(fromOffset, upToOffset);
  }

  /**
   * The first record with a timestamp of at least `timestampMs`, or null. Works in pieces.
   * Errors: DiskError, WireError, TooLargeError past the bounds of decompression, JobCancelledError.
   */
  offsetForTimestamp(timestampMs: number): Promise<TimestampedOffset | null> {
    return this.#searched(this.#timestamps.offsetForTimestamp(timestampMs));
  }

  /** The first record that carries the largest timestamp of the log, or null when it has none. Errors: as above. */
  maxTimestampOffset(): Promise<TimestampedOffset | null> {
    return this.#searched(this.#timestamps.maxTimestampOffset());
  }

  /** The same search; damage that it comes upon is told. */
  async #searched<T>(search: Promise<T>): Promise<T> {
    try {
      return await search;
    } catch (failure) {
      if (failure instanceof DamagedBytes) this.#reportDamaged(failure);
      throw failure;
    }
  }

  // ── durability ──────────────────────────────────────────────────────────────────────────────────

  /** Asks for a group commit of what is written. Cheap when one is asked for already. */
  sync(): void {
    if (this.#syncedOffset === this.#endOffset && !this.#cutUnsynced) return;
    if (this.#offlineReason === null) this.#options.flusher.request(this);
  }

  /** Resolves once everything before `upTo` is on stable storage. Errors: DiskError when it cannot be. */
  whenSynced(upTo: Offset): Promise<void> {
    if (this.#syncedOffset >= upTo) return Promise.resolve();
    if (this.#offlineReason !== null) {
      return Promise.reject(new DiskError(this.#offlineReason, "EIO"));
    }
    if (this.#isClosed) return Promise.reject(new DiskError(`${this.name} is closed`, "EBADF"));
    return new Promise((resolve, reject) => {
      const stopSynced = this.onSynced((synced) => {
        if (synced < upTo) {
          this.sync();
          return;
        }
        stop();
        resolve();
      });
      const stopOffline = this.onOffline((reason) => {
        stop();
        reject(new DiskError(reason, "EIO"));
      });
      const closed = (): void => reject(new DiskError(`${this.name} is closed`, "EBADF"));
      this.#syncWaits.add(closed);
      const stop = (): void => {
        stopSynced();
        stopOffline();
        this.#syncWaits.delete(closed);
      };
      this.sync();
    });
  }

  /** Calls the listener after each finished sync. Returns: a function that stops it. */
  onSynced(listener: (syncedOffset: Offset) => void): () => void {
    this.#syncedListeners = [...this.#syncedListeners, listener];
    return () => {
      this.#syncedListeners = this.#syncedListeners.filter((known) => known !== listener);
    };
  }

  /** Calls the listener when the log goes offline. Returns: a function that stops it. */
  onOffline(listener: (reason: string) => void): () => void {
    this.#offlineListeners = [...this.#offlineListeners, listener];
    return () => {
      this.#offlineListeners = this.#offlineListeners.filter((known) => known !== listener);
    };
  }

  /** For the flusher: syncs what is written now. Never rejects: a failure takes the log offline. */
  flush(): Promise<void> {
    return this.#flushing === null ? this.#flushUnlessMoving() : this.#flushNext();
  }

  async #flushNext(): Promise<void> {
    while (this.#flushing !== null) await this.#flushing;
    await this.#flushUnlessMoving();
  }

  #flushUnlessMoving(): Promise<void> {
    return this.#isExclusive || this.#isMoving ? Promise.resolve() : this.#startFlush();
  }

  #startFlush(): Promise<void> {
    assert(this.#flushing === null);
    if (this.#offlineReason !== null || this.#isClosed) return Promise.resolve();
    this.#flushing = this.#flushUnsynced();
    return this.#flushing;
  }

  async #flushUnsynced(): Promise<void> {
    try {
      await this.#flush();
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      this.#diskFailed(failure);
    } finally {
      this.#flushing = null;
    }
  }

  async #flush(): Promise<void> {
    const target = this.#endOffset;
    const dirtyBytes = this.#dirtyBytes;
    const unsynced = [...this.#unsynced];
    const namesDirty = this.#namesDirty;
    const hadCut = this.#cutUnsynced;
    this.#unsynced.clear();
    this.#namesDirty = false;
    this.#unflushedRecords = 0;
    try {
      if (unsynced.length === 1 && !namesDirty) await unsynced[0]!.sync();
      else {
        const syncs = unsynced.map((segment) => segment.sync());
        if (namesDirty) syncs.push(this.#options.disk.syncDirectory(this.#directory));
        await allSynced(syncs);
      }
    } catch (failure) {
      if (!this.#mayRetry(failure)) throw failure;
      for (const segment of unsynced) {
        if (this.#segments.includes(segment)) this.#unsynced.add(segment);
      }
      this.#namesDirty ||= namesDirty;
      return this.#retryFlush();
    }
    if (this.#offlineReason !== null) return;
    if (hadCut) this.#cutUnsynced = false;
    this.#dirtyBytes -= dirtyBytes;
    this.#options.flusher.removeDirty(this, dirtyBytes);
    assert(target >= this.#syncedOffset && target <= this.#endOffset);
    this.#syncedOffset = target;
    for (const listener of this.#syncedListeners) listener(offset(target));
    // What goes on while the log goes offline beside it must not change which files there are.
    if (this.#mayWait() || !await this.#settle(target) || this.#offlineReason !== null) return;
    this.#isRetrying = false;
    this.#recoveryPoint = target;
    this.#dropDeleted();
  }

  /** A file that could not be opened was not touched: its sync may be tried again, as no other may. */
  #mayRetry(failure: unknown): boolean {
    return failure instanceof DiskError && failure.isOutOfHandles && !this.#isExclusive;
  }

  #retryFlush(): void {
    if (!this.#isRetrying) {
      const partition = this.name;
      this.#logger.warn("Too many files are open: a sync is tried again", { partition });
    }
    this.#isRetrying = true;
    // Nothing new is dirty: it makes the flusher come back to this log in a while.
    this.#options.flusher.addDirty(this, 0);
  }

  /** True when the recovery point waits for a new epoch to be stored. */
  get isUnsettled(): boolean {
    return this.#recoveryPoint < this.#syncedOffset && !this.#refusesAppends && !this.#isClosed;
  }

  /** Stores the epochs, and lets the recovery point follow. Errors: none; a disk that fails takes the log offline. */
  async settle(): Promise<void> {
    if (!this.isUnsettled) return;
    this.#isSettling = true;
    await this.flush();
    this.#isSettling = false;
  }

  /**
   * True when nothing but epochs is to be stored, and much else is to be synced: `settle` does it in a while. An
   * election gives each of thousands of logs a new epoch, and a file more to be made with its first record, which
   * nobody waits for. Until then recovery finds the epoch in the batches.
   */
  #mayWait(): boolean {
    if (this.#isSettling || this.#isExclusive || this.#isIndexListOld) return false;
    if (this.#sealed.length > 0 || this.#pendingSnapshots.length > 0) return false;
    return this.leaderEpochs.isDirty(this.#endOffset) && !this.#options.flusher.admitsExtra();
  }

  /**
   * Makes indexes, snapshots and epochs up to `syncedOffset` stable, so that the recovery point may pass them.
   * Returns: false when the disk is full, and nothing is lost by it.
   */
  async #settle(syncedOffset: number): Promise<boolean> {
    const sealed = this.#sealed;
    // A snapshot says that all before it is stable: recovery does not look there.
    const snapshots = this.#pendingSnapshots.filter((one) => one.offset <= syncedOffset);
    const isQuiet = sealed.length === 0 && snapshots.length === 0 && !this.#isIndexListOld;
    if (isQuiet && !this.leaderEpochs.isDirty(this.#endOffset)) return true;
    this.#sealed = [];
    try {
      for (const segment of sealed) await segment.syncIndexes();
      if (!await this.#storeSmallFiles(snapshots)) return false;
      if (sealed.length > 0 || snapshots.length > 0) {
        await this.#options.disk.syncDirectory(this.#directory);
      }
    } catch (failure) {
      if (!this.#mayRetry(failure)) throw failure;
      const left = sealed.filter((segment) => this.#segments.includes(segment));
      this.#sealed = [...left, ...this.#sealed];
      this.#retryFlush();
      return false;
    }
    this.#pendingSnapshots = this.#pendingSnapshots.filter((one) => !snapshots.includes(one));
    return true;
  }

  /**
   * Makes indexes and producers stable as of now, so that recovery would start here.
   * Returns: when that is done, or cannot be. Errors: none; a disk that fails takes the log offline.
   */
  async shortenRecovery(): Promise<void> {
    if (this.#refusesAppends || this.#isClosed || this.#recoveryBytes === 0) return;
    try {
      this.#active.storeIndexes();
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      if (!failure.isPassing) this.#diskFailed(failure);
      return;
    }
    this.#sealed.push(this.#active);
    this.#takeSnapshot();
    await this.flush();
  }

  /** Returns: false when there is no room; the next sync tries again, and whole batches are synced. */
  async #storeSmallFiles(snapshots: readonly PendingSnapshot[]): Promise<boolean> {
    try {
      for (const snapshot of snapshots) {
        while (!snapshot.producers.writeSlice()) await this.#options.clock.sleep(0);
        const path = segmentPath(this.#directory, snapshot.offset, SNAPSHOT_SUFFIX);
        await writeFileUnderNewName(this.#options.disk, path, snapshot.producers.finish());
        this.#noteSnapshot(snapshot.offset);
      }
      if (snapshots.length > 0 || this.#isIndexListOld) {
        await storeTransactionIndexList(this.#options.disk, this.#directory, this.#segments);
        this.#isIndexListOld = false;
      }
      await this.leaderEpochs.store(this.#endOffset);
      return true;
    } catch (failure) {
      if (!(failure instanceof DiskError) || !failure.isPassing) throw failure;
      return false;
    }
  }

  /** The one before it is kept too: the recovery point on disk may not have passed the new one yet. */
  #noteSnapshot(at: number): void {
    if (at === this.#snapshotOffset) return;
    const useless = this.#olderSnapshotOffset;
    this.#olderSnapshotOffset = this.#snapshotOffset;
    this.#snapshotOffset = at;
    const isStart = this.#segments.some(({ baseOffset }) => baseOffset === useless);
    if (useless < 0 || isStart) return;
    const path = segmentPath(this.#directory, useless, SNAPSHOT_SUFFIX);
    if (this.#options.disk.exists(path)) this.#options.disk.remove(path);
  }

  #diskFailed(failure: DiskError): void {
    const isDamage = failure.code === "EBADMSG";
    if (isDamage) this.#offlineDamage ??= { offset: -1, found: failure.message };
    this.goOffline(failure.message);
    // Damaged bytes are this log's alone, and the disk is not to blame for what may pass.
    if (isDamage) this.#tellDamaged();
    else if (!failure.isPassing) this.#options.onDiskFailure?.(failure);
  }

  /** Takes the log out of service, for good: what the disk holds is not known any more. */
  goOffline(reason: string): void {
    if (this.#offlineReason !== null) return;
    this.#offlineReason = reason;
    this.#cleaning?.abort();
    this.#options.flusher.forget(this);
    this.#logger.error("Log is offline", { partition: this.name, reason });
    for (const listener of this.#offlineListeners) listener(reason);
  }

  /**
   * Syncs and closes. Returns: true when the log needs no recovery at the next start.
   * Errors: none; a disk that fails takes the log offline.
   */
  async close(): Promise<boolean> {
    if (this.#truncating !== null) await this.#truncating;
    this.#isExclusive = true;
    await this.#quiesce();
    if (this.#isClosed) return this.#offlineReason === null;
    if (this.#offlineReason === null && this.#unsynced.size > 0) await this.#startFlush();
    if (this.#offlineReason === null) {
      try {
        await this.#storeForClose();
      } catch (failure) {
        if (!(failure instanceof DiskError)) throw failure;
        this.#diskFailed(failure);
      }
    }
    this.#closeFiles();
    return this.#offlineReason === null;
  }

  async #storeForClose(): Promise<void> {
    if (this.#active.sizeBytes > 0) this.#active.storeIndexes();
    // One that was cut to nothing too: its entries would come back with a later crash.
    if (this.#active.hasUnsyncedIndexes) this.#sealed.push(this.#active);
    const isEmpty = this.#endOffset === this.#segments[0]!.baseOffset;
    if (this.#snapshotOffset !== this.#endOffset && !isEmpty) this.#takeSnapshot();
    if (!await this.#settle(this.#endOffset)) {
      throw new DiskError(`Cannot close ${this.name}: the disk is full`, "ENOSPC");
    }
    this.#recoveryPoint = this.#endOffset;
  }

  #closeFiles(): void {
    this.#isClosed = true;
    this.#reader.forget();
    this.#producers.clear();
    // What they would have removed is removed at the next start.
    this.#removal.close();
    this.#options.flusher.forget(this);
    for (const segment of this.#segments) {
      segment.retire();
      segment.close();
    }
    this.#syncedListeners = [];
    this.#offlineListeners = [];
    this.#damageListeners = [];
    for (const closed of this.#syncWaits) closed();
    this.#syncWaits.clear();
  }

  /**
   * Gives the directory another name beside the old one, while appends and reads go on.
   * Returns: when it has the name; its parent is not synced. Errors: DiskError; it has the old name then.
   */
  async moveTo(path: string): Promise<void> {
    const { disk, flusher } = this.#options;
    this.#isMoving = true;
    try {
      await this.#quiesce();
      if (this.#isClosed) return;
      disk.rename(this.#directory, path);
      this.#directory = path;
      for (const segment of this.#segments) segment.moveTo(path);
      this.leaderEpochs.moveTo(path);
      const left = disk.list(path).filter(({ name }) => name.endsWith(DELETED_SUFFIX));
      const paths = left.map(({ name }) => `${path}/${name}`);
      if (paths.length > 0) this.#removal.removeLater(paths, this.#config.fileDeleteDelayMs);
    } finally {
      this.#isMoving = false;
      // Whoever asked for a sync meanwhile still waits.
      if (!this.#isClosed && this.#offlineReason === null) flusher.request(this);
    }
  }

  /** Closes without a sync and moves the directory to `path`, where it waits for its removal. */
  async renameForDeletion(path: string): Promise<void> {
    if (this.#truncating !== null) await this.#truncating;
    this.#isExclusive = true;
    await this.#quiesce();
    this.#closeFiles();
    this.#options.disk.rename(this.#directory, path);
    this.#directory = path;
  }
}
