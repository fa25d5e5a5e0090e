/**
 * A log directory: all the partitions on one disk, in Kafka's layout.
 *
 *     data/
 *       .lock                                one process at a time
 *       .kafka_cleanshutdown                 there when the last stop was clean
 *       .weir-disk-failed                    there when the last run met a disk failure
 *       meta.properties                      cluster, node and directory id
 *       recovery-point-offset-checkpoint     durable up to here, by partition
 *       log-start-offset-checkpoint          deleted up to here
 *       replication-offset-checkpoint        high watermarks
 *       cleaner-offset-checkpoint            compacted up to here
 *       .weir-scrub                          when closed segments are to be checked next
 *       orders-0/                            a partition
 *       orders-1.<unique id>-delete/         a partition that waits for its removal
 *       orders-2.<unique id>-stray/          another topic's records under a name now taken: kept; or a damaged
 *                                            log until its successor has everything (damaged_copies.ts)
 *       orders-3.<unique id>-future/         a partition on its way here from another directory
 *
 * The clean-shutdown mark is gone, for good, before the first log is opened; it comes back when every
 * log has been closed without a fault. One disk failure takes every log of the directory offline.
 */

import assert from "node:assert/strict";
import {
  formatTopicPartition,
  type Offset,
  offset,
  type TopicPartition,
  type Uuid,
} from "../protocol/types.ts";
import { BufferPool } from "./buffer_pool.ts";
import {
  readSmallFile,
  readSmallText,
  textBytes,
  writeFileAtomically,
  writeFileUnderNewName,
} from "./checkpoint.ts";
import { DAMAGED_FILE, DamagedCopies, damagedMark } from "./damaged_copies.ts";
import { DirectoryCheckpoints } from "./directory_checkpoints.ts";
import {
  CLEAN_SHUTDOWN_FILE,
  type CleanShutdownMark,
  makeStableDirectory,
  messageOf,
  type MetaProperties,
  readMark,
  readOrMakeMeta,
  refusal,
  takeLock,
  unrecovered,
} from "./directory_meta.ts";
import {
  DELETE_SUFFIX,
  FUTURE_SUFFIX,
  movedName,
  parseFutureName,
  parsePartitionName,
  STRAY_SUFFIX,
} from "./partition_names.ts";
import { DiskReserve } from "./disk_reserve.ts";
import { FileCache } from "./file_cache.ts";
import { Flusher, type FlusherOptions } from "./flusher.ts";
import { Log } from "./log.ts";
import { DEFAULT_LOG_CONFIG, type LogConfig } from "./log_config.ts";
import {
  type Clock,
  type Disk,
  DiskError,
  type DiskLock,
  type Logger,
  type Random,
  type Timer,
} from "./platform.ts";
import { ProducerTable } from "./producer_table.ts";
import { DelayedRemoval } from "./removal.ts";
import { Retention } from "./retention.ts";
import { Scrub, type ScrubOptions, type ScrubStats } from "./scrub.ts";
import { segmentPath, SNAPSHOT_SUFFIX } from "./segment_name.ts";
import { allSynced, SharedSync } from "./shared_sync.ts";
import { TurnQueue } from "./turn_queue.ts";
import { cancelled, type Workers } from "./workers.ts";

/** There since a disk failure: what the kernel shows of unsynced files need not be on the disk. */
const DISK_FAILED_FILE = ".weir-disk-failed";
/** The topic id, in each partition's directory. */
export const PARTITION_METADATA = "partition.metadata";
const CLOSES_AT_ONCE = 16;
/** Each takes some syncs of small files, one after the other, which a journal writes together. */
const SHORTENED_AT_ONCE = 8;
/** As little as keeps a disk busy: nobody waits for it, and after an election it may be thousands. */
const SETTLED_AT_ONCE = 2;
/** Checkpoints in a row that leave it out, where somebody waits for the disk. */
const MAX_PUT_OFF = 3;
const OPENINGS_AT_ONCE = 16;
/** Kafka's own default. */
const DEFAULT_RECOVERY_THREADS = 2;
/** While the threads recover logs, those that they have done are loaded. */
const LOADS_BESIDE_RECOVERIES = 2;
const DEFAULT_RECOVERY_MAX_BYTES = 512 * 1024 * 1024;
const DEFAULT_RETENTION_CHECK_MS = 5 * 60 * 1000;
/** Memory that idle read buffers may take. */
export const READ_BUFFER_BYTES = 32 * 1024 * 1024;

/** What a directory is opened with. */
export interface LogDirectoryOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly workers: Workers;
  readonly path: string;
  /** Refuses a directory of another cluster; a new directory gets this one. */
  readonly clusterId?: string;
  readonly nodeId: number;
  readonly producerIdExpirationMs?: number;
  /** Shared by all directories of a node; one of its own when left out. */
  readonly producerTable?: ProducerTable;
  /** How often the checkpoints are written, if something changed. */
  readonly checkpointMs?: number;
  /** Time between two looks for segments that retention lets go. */
  readonly retentionCheckMs?: number;
  /** How closed segments are checked; not at all when left out. */
  readonly scrub?: Pick<ScrubOptions, "maxBytesPerSecond" | "intervalMs">;
  readonly flusher?: Omit<FlusherOptions, "clock">;
  /** Free bytes of the disk that clients may not take; 0, as when left out, is none. */
  readonly reserveBytes?: number;
  /** Read buffers, where several directories share them. */
  readonly buffers?: BufferPool;
  /** Handles open for reading closed segments. */
  readonly maxOpenFiles?: number;
  /** Called once when the disk fails, after every log of the directory has gone offline. */
  readonly onOffline?: (reason: string) => void;
  /** Logs that the workers recover at the same time. */
  readonly recoveryThreads?: () => number;
  /** Bytes that a start after a crash may have to read, over all logs; about, since it is looked at now and then. */
  readonly recoveryMaxBytes?: number;
}

/** A partition's directory that was found at the start. */
export interface FoundPartition {
  readonly topicPartition: TopicPartition;
  /** Null when `partition.metadata` is missing or cannot be read. */
  readonly topicId: Uuid | null;
}

/** A partition on its way here that was found at the start. */
export interface FoundFuture extends FoundPartition {
  /** Name of its directory. */
  readonly name: string;
}

/** A log directory. */
export class LogDirectory {
  readonly path: string;
  readonly directoryId: Uuid;
  readonly clusterId: string;
  readonly nodeId: number;
  /** True when the last stop was clean: nothing needs a scan. */
  readonly hadCleanShutdown: boolean;
  /** The broker epoch that the last stop left in its mark, all logs being whole; −1 when there is none. */
  readonly previousBrokerEpoch: number;
  /** What the mark of the next clean stop says: the epoch that this broker has registered under. */
  brokerEpoch: number;
  readonly flusher: Flusher;
  readonly buffers: BufferPool;
  readonly #options: LogDirectoryOptions;
  readonly #lock: DiskLock;
  readonly #files: FileCache;
  readonly #producerTable: ProducerTable;
  readonly #reserve: DiskReserve;
  readonly #retention: Retention;
  readonly #scrub: Scrub;
  readonly #rolls: Random;
  readonly #logs = new Map<string, Log>();
  /** Logs on their way here, by the same names. None of them is in `#logs`. */
  readonly #futures = new Map<string, Log>();
  readonly #checkpoints: DirectoryCheckpoints;
  /** Partitions that the last stop left in an unknown state and that have not been opened since. */
  readonly #unrecovered: Set<string>;
  /** Topic ids of the partitions that were found and have not been opened yet. */
  readonly #foundIds = new Map<string, Uuid>();
  /** Partitions made since the start whose names are not stable, since a sync had failed. */
  readonly #unsyncedNames = new Set<string>();
  readonly #removal: DelayedRemoval;
  /** Damaged logs that were replaced. */
  readonly #damaged: DamagedCopies;
  /** Makes the partitions' names stable. */
  readonly #names: SharedSync;
  #checkpointTimer: Timer | null = null;
  /** Logs that are being opened: a second call waits for the first one's log. */
  readonly #openings = new Map<string, Promise<Log>>();
  /** Whose turn it is to be opened, or to be recovered and opened. */
  readonly #turns: TurnQueue;
  readonly #recoveryTurns: TurnQueue;
  /** Partitions that somebody waits for. */
  readonly #urgent = new Set<string>();
  readonly #stopOpening = new AbortController();
  #recoveredBytes = 0;
  #settling: Promise<void> | null = null;
  /** Checkpoints since the last one for which all was settled. */
  #putOffCount = 0;
  #shortening: Promise<void> | null = null;
  #checkpointing: Promise<boolean> | null = null;
  #offlineReason: string | null = null;
  #isClosed = false;

  /**
   * Locks and opens the directory, making it when missing. Opens no log yet.
   * Errors: LogDirectoryError when it must not be used; DiskError.
   */
  static async open(options: LogDirectoryOptions): Promise<LogDirectory> {
    const { disk, path } = options;
    try {
      await makeStableDirectory(disk, path);
    } catch (cause) {
      throw refusal(
        path,
        `it cannot be made (${messageOf(cause)})`,
        "check the path and its owner",
        cause,
      );
    }
    const lock = takeLock(disk, path);
    try {
      const meta = await readOrMakeMeta(options);
      const hadCleanShutdown = disk.exists(`${path}/${CLEAN_SHUTDOWN_FILE}`);
      const checkpoints = new DirectoryCheckpoints(options);
      const mark = hadCleanShutdown ? readMark(options) : null;
      const left = unrecovered(options, mark);
      if (hadCleanShutdown) disk.remove(`${path}/${CLEAN_SHUTDOWN_FILE}`);
      else if (left.size > 0) {
        options.logger.info("Last stop was not clean: logs are recovered as they are opened", {
          path,
        });
      }
      await disk.syncDirectory(path);
      return new LogDirectory(options, lock, meta, mark, left, checkpoints);
    } catch (failure) {
      lock.release();
      if (!(failure instanceof DiskError)) throw failure;
      throw refusal(path, failure.message, "check its owner and its disk", failure);
    }
  }

  private constructor(
    options: LogDirectoryOptions,
    lock: DiskLock,
    meta: MetaProperties,
    mark: CleanShutdownMark | null,
    unrecovered: Set<string>,
    checkpoints: DirectoryCheckpoints,
  ) {
    this.path = options.path;
    this.directoryId = meta.directoryId;
    this.clusterId = meta.clusterId;
    this.nodeId = options.nodeId;
    this.hadCleanShutdown = mark !== null;
    this.previousBrokerEpoch = mark?.brokerEpoch ?? -1;
    // A run that never gets to register leaves things as it found them.
    this.brokerEpoch = this.previousBrokerEpoch;
    this.#options = options;
    this.#lock = lock;
    this.#checkpoints = checkpoints;
    this.flusher = new Flusher({ clock: options.clock, ...options.flusher });
    this.buffers = options.buffers ?? new BufferPool({ capBytes: READ_BUFFER_BYTES });
    this.#producerTable = options.producerTable ?? new ProducerTable();
    this.#files = new FileCache(options.disk, options.maxOpenFiles ?? 512);
    this.#reserve = new DiskReserve({
      ...options,
      reserveBytes: options.reserveBytes ?? 0,
      onLow: () => this.#makeRoom(),
    });
    this.#rolls = options.random.fork("rolls");
    this.#retention = new Retention({
      clock: options.clock,
      intervalMs: options.retentionCheckMs ?? DEFAULT_RETENTION_CHECK_MS,
      logs: () => this.#logs.values(),
    });
    this.#retention.start();
    this.#scrub = new Scrub({
      maxBytesPerSecond: 0,
      intervalMs: Infinity,
      ...options.scrub,
      disk: options.disk,
      clock: options.clock,
      logger: options.logger.child("scrub"),
      files: this.#files,
      path: options.path,
      logs: this.#logs,
      isOpening: () => this.#openings.size > 0,
      onFailure: (failure) => this.noteFailure(failure),
    });
    this.#scrub.start();
    this.#unrecovered = unrecovered;
    const threads = options.recoveryThreads ?? (() => DEFAULT_RECOVERY_THREADS);
    this.#turns = new TurnQueue({ ...options, maxAtOnce: () => OPENINGS_AT_ONCE });
    this.#recoveryTurns = new TurnQueue({
      ...options,
      maxAtOnce: () => threads() + LOADS_BESIDE_RECOVERIES,
    });
    this.#removal = new DelayedRemoval(options);
    this.#names = new SharedSync(() => this.#watched(options.disk.syncDirectory(options.path)));
    this.#removeLeftOvers();
    this.#damaged = new DamagedCopies(options.disk, options.path, STRAY_SUFFIX);
    this.#armCheckpoint();
  }

  /** The logs that are open. */
  logs(): Iterable<Log> {
    return this.#logs.values();
  }

  /** What the check of closed segments has done. */
  get scrubStats(): ScrubStats {
    return this.#scrub.stats;
  }

  /** How many logs are open. */
  get logCount(): number {
    return this.#logs.size;
  }

  /** The open log of a partition. */
  log(topic: string, partition: number): Log | undefined {
    return this.#logs.get(formatTopicPartition(topic, partition));
  }

  /** Why the directory is offline, or null. */
  get offlineReason(): string | null {
    return this.#offlineReason;
  }

  /** Bytes that the disk still has room for. */
  freeBytes(): number {
    return this.#options.disk.freeBytes(this.path);
  }

  /** The open log of a partition that is on its way here. */
  future({ topic, partition }: TopicPartition): Log | undefined {
    return this.#futures.get(formatTopicPartition(topic, partition));
  }

  /** The open logs that are on their way here. */
  futures(): Iterable<Log> {
    return this.#futures.values();
  }

  /** Why there is no room for `byteCount` more of a copy; null when there is. */
  refuseWithoutRoom(byteCount: number): string | null {
    return this.#reserve.refusal(byteCount, "client");
  }

  /** The partitions on their way here that an earlier run has left. */
  foundFutures(): FoundFuture[] {
    const found: FoundFuture[] = [];
    for (const { name, kind } of this.#options.disk.list(this.path)) {
      const topicPartition = kind === "directory" ? parseFutureName(name) : null;
      if (topicPartition === null) continue;
      found.push({ name, topicPartition, topicId: this.#foundTopicId(name) });
    }
    return found;
  }

  /** Size of the disk. */
  totalBytes(): number {
    return this.#options.disk.totalBytes(this.path);
  }

  /** The partitions that lie here, whether open or not. */
  found(): FoundPartition[] {
    const found: FoundPartition[] = [];
    for (const { name, kind } of this.#options.disk.list(this.path)) {
      const topicPartition = kind === "directory" ? parsePartitionName(name) : null;
      if (topicPartition === null) continue;
      const topicId = this.#foundTopicId(name);
      found.push({ topicPartition, topicId });
      if (topicId !== null && !this.#unsyncedNames.has(name)) this.#foundIds.set(name, topicId);
    }
    return found;
  }

  /** True when a partition lies here, whether open or not. */
  holds({ topic, partition }: TopicPartition): boolean {
    return this.#options.disk.exists(`${this.path}/${formatTopicPartition(topic, partition)}`);
  }

  /** One partition that cannot be read must not keep the others from being served. */
  #foundTopicId(name: string): Uuid | null {
    try {
      return readTopicId(this.#options.disk, `${this.path}/${name}`);
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      const found = failure.message;
      this.#options.logger.error("Partition cannot be read", { partition: name, found });
      return null;
    }
  }

  /** Bytes that recoveries have read since the start. */
  get recoveredBytes(): number {
    return this.#recoveredBytes;
  }

  /** Opens a partition's log that lies here. Errors: DiskError, JobCancelledError. */
  async openLog(topicPartition: TopicPartition, topicId: Uuid, config: LogConfig): Promise<Log> {
    const name = formatTopicPartition(topicPartition.topic, topicPartition.partition);
    const known = this.#logs.get(name);
    if (known !== undefined) return known;
    assert(!this.#isClosed);
    let opening = this.#openings.get(name);
    if (opening === undefined) {
      const directory = `${this.path}/${name}`;
      opening = this.#openInTurn(
        name,
        this.#logs,
        () => this.#open(directory, topicPartition, topicId, config),
      ).finally(() => this.#openings.delete(name));
      this.#openings.set(name, opening);
    }
    return await opening;
  }

  async #openInTurn(
    name: string,
    logs: Map<string, Log>,
    open: () => Promise<Log>,
  ): Promise<Log> {
    const turns = this.#unrecovered.has(name) ? this.#recoveryTurns : this.#turns;
    const turn = turns.run(name, () => {
      if (this.#stopOpening.signal.aborted) throw cancelled({ name: `the opening of ${name}` });
      return open();
    });
    if (this.#urgent.delete(name)) turns.hurry(name);
    const log = await turn.catch((failure: unknown) => {
      this.noteFailure(failure);
      if (failure instanceof DiskError && !failure.isPassing) this.#noteDiskFailure();
      throw failure;
    });
    logs.set(name, log);
    // A log that is damaged is looked at again at each start, and keeps no other from being marked clean.
    if (log.offlineReason !== null) this.#unrecovered.add(name);
    else this.#unrecovered.delete(name);
    if (this.#offlineReason !== null) log.goOffline(this.#offlineReason);
    return log;
  }

  /** Lets a partition whose opening waits for its turn, or is about to be asked for, go before others. */
  hurry({ topic, partition }: TopicPartition): void {
    const name = formatTopicPartition(topic, partition);
    if (this.#openings.has(name)) {
      this.#turns.hurry(name);
      this.#recoveryTurns.hurry(name);
    } else if (this.#unrecovered.has(name)) this.#urgent.add(name);
  }

  /**
   * Gives up the openings that wait, and the recoveries under way: those logs are recovered at the next
   * start. What asked for them gets a JobCancelledError. Returns: when none is under way.
   */
  async stopOpening(): Promise<void> {
    this.#stopOpening.abort();
    await Promise.allSettled(this.#openings.values());
  }

  #open(
    directory: string,
    topicPartition: TopicPartition,
    topicId: Uuid,
    config: LogConfig,
  ): Promise<Log> {
    const name = formatTopicPartition(topicPartition.topic, topicPartition.partition);
    const stored = this.#checkpoints.of(name);
    return Log.open({
      ...this.#options,
      directory,
      topicPartition,
      topicId,
      config,
      producerIdExpirationMs: this.#options.producerIdExpirationMs ?? 24 * 60 * 60 * 1000,
      hadCleanShutdown: !this.#unrecovered.has(name),
      hadDiskFailure: this.#hadDiskFailure,
      recoveryPoint: offset(stored.recoveryPoint),
      logStartOffset: offset(stored.logStartOffset),
      highWatermark: offset(stored.highWatermark),
      cleanedOffset: offset(stored.cleanedOffset),
      producerTable: this.#producerTable,
      flusher: this.flusher,
      files: this.#files,
      buffers: this.buffers,
      reserve: this.#reserve,
      random: this.#rolls,
      onRetentionChange: () => this.#retention.hurry(),
      onDiskFailure: (failure) => this.#diskFailed(failure),
      checkpointRecoveryPoints: () => this.#checkpointOrFail(),
      signal: this.#stopOpening.signal,
      onRecovering: this.#countRecovered(),
    });
  }

  /** The run before met a failure: the kernel may show what is not on the disk. */
  get #hadDiskFailure(): boolean {
    return this.#options.disk.exists(`${this.path}/${DISK_FAILED_FILE}`);
  }

  /** Adds up what each recovery tells of itself. */
  #countRecovered(): (scannedBytes: number) => void {
    let before = 0;
    return (scannedBytes) => {
      this.#recoveredBytes += scannedBytes - before;
      before = scannedBytes;
    };
  }

  /**
   * Makes a partition's log, or opens the one that lies here with the same topic id.
   * Returns: the log; its directory and `partition.metadata` are on stable storage.
   * Errors: LogDirectoryError when another topic's records lie here; DiskError.
   */
  async createLog(topicPartition: TopicPartition, topicId: Uuid, config: LogConfig): Promise<Log> {
    const { disk } = this.#options;
    const name = formatTopicPartition(topicPartition.topic, topicPartition.partition);
    const directory = `${this.path}/${name}`;
    const isMade = !this.#unsyncedNames.has(name);
    if (isMade && this.#logs.has(name)) return this.#logs.get(name)!;
    const isFound = this.#foundIds.get(name) === topicId;
    this.#foundIds.delete(name);
    if (isMade && !isFound && !disk.exists(directory)) {
      return await this.#makeLog(topicPartition, topicId, config);
    }
    const foundId = isFound ? topicId : readTopicId(disk, directory);
    if (foundId !== null && foundId !== topicId) {
      throw refusal(
        directory,
        `it holds topic ${foundId}, not ${topicId}`,
        "delete that topic first",
      );
    }
    const path = `${directory}/${PARTITION_METADATA}`;
    const isInDoubt = foundId !== null && isMade && this.#unrecovered.has(name);
    // What a failed sync has dropped no later one brings back.
    const isWritten = foundId === null || !isMade || isInDoubt && this.#hadDiskFailure;
    if (isWritten) {
      await this.#watched(writeFileAtomically(disk, path, partitionMetadata(topicId)));
    }
    if (!isMade) {
      await this.#names.request();
      this.#unsyncedNames.delete(name);
    }
    const log = await this.openLog(topicPartition, topicId, config);
    // A run that was killed may have written it and ended before the sync: nothing was appended then.
    if (isInDoubt && !isWritten && log.endOffset === 0) await this.#syncMetadata(name, path);
    return log;
  }

  async #syncMetadata(name: string, path: string): Promise<void> {
    this.#unsyncedNames.add(name);
    const file = this.#options.disk.open(path, "write");
    try {
      await this.#watched(file.sync());
    } finally {
      file.close();
    }
    this.#unsyncedNames.delete(name);
  }

  /**
   * The same where nothing lies yet. No name is written twice and all syncs are asked for at once: until they are
   * done, what is there is what a crash may leave of it, and holds no record.
   */
  async #makeLog(topicPartition: TopicPartition, topicId: Uuid, config: LogConfig): Promise<Log> {
    const { disk } = this.#options;
    const name = formatTopicPartition(topicPartition.topic, topicPartition.partition);
    const directory = `${this.path}/${name}`;
    this.#checkpoints.forget(name);
    await this.#dropStaleOffsets(name);
    disk.makeDirectory(directory);
    // Until all is stable: another call, after a failure, makes up for it.
    this.#unsyncedNames.add(name);
    const file = disk.open(`${directory}/${PARTITION_METADATA}`, "write");
    try {
      file.write(0, partitionMetadata(topicId));
    } catch (failure) {
      file.close();
      throw failure;
    }
    const naming = this.#names.request();
    // Opening syncs the names of its files.
    const opening = this.openLog(topicPartition, topicId, config);
    try {
      await this.#watched(allSynced([opening.then(() => {}), file.sync(), naming]));
    } finally {
      file.close();
    }
    this.#unsyncedNames.delete(name);
    return await opening;
  }

  /**
   * Takes a log away: its directory gets another name at once, and goes after `file.delete.delay.ms`.
   * Errors: DiskError.
   */
  async deleteLog({ topic, partition }: TopicPartition): Promise<void> {
    const name = formatTopicPartition(topic, partition);
    const log = this.#logs.get(name);
    if (log === undefined) return;
    this.#logs.delete(name);
    this.#unrecovered.delete(name);
    const doomed = `${this.path}/${movedName(name, this.#options.random, DELETE_SUFFIX)}`;
    await log.renameForDeletion(doomed);
    this.#checkpoints.forget(name);
    await this.#names.request();
    this.#removal.removeLater([], log.config.fileDeleteDelayMs, [doomed]);
  }

  /** What is known of producers before the first segment of a log here; null for nothing. Errors: DiskError. */
  firstSnapshot({ directory, segments }: Log): Uint8Array | null {
    const path = segmentPath(directory, segments[0]!.baseOffset, SNAPSHOT_SUFFIX);
    return readSmallFile(this.#options.disk, path);
  }

  /**
   * Makes an empty log for a partition that is to come here. Its first record will have the offset `start`,
   * and `snapshot` is what is known of producers until there.
   * Returns: the log; its directory is on stable storage. Errors: DiskError.
   */
  async createFuture(
    topicPartition: TopicPartition,
    topicId: Uuid,
    { config, start, snapshot }: {
      readonly config: LogConfig;
      readonly start: Offset;
      readonly snapshot: Uint8Array | null;
    },
  ): Promise<Log> {
    const { disk, random } = this.#options;
    const name = formatTopicPartition(topicPartition.topic, topicPartition.partition);
    this.#checkpoints.forget(name);
    await this.#dropStaleOffsets(name);
    // Under a name that the next start removes, until it says whose it is.
    const begun = `${this.path}/${movedName(name, random, DELETE_SUFFIX)}`;
    const directory = `${this.path}/${movedName(name, random, FUTURE_SUFFIX)}`;
    try {
      disk.makeDirectory(begun);
      if (snapshot !== null) {
        const path = segmentPath(begun, start, SNAPSHOT_SUFFIX);
        await writeFileUnderNewName(disk, path, snapshot);
      }
      await writeFileAtomically(disk, `${begun}/${PARTITION_METADATA}`, partitionMetadata(topicId));
      disk.rename(begun, directory);
    } catch (failure) {
      this.#removal.removeLater([], 0, [begun]);
      this.noteFailure(failure);
      throw failure;
    }
    await this.#names.request();
    this.#unrecovered.delete(name);
    this.#checkpoints.setLogStartOffset(name, start);
    return await this.#openFuture(directory, topicPartition, topicId, config);
  }

  /** Opens a log that was on its way here when an earlier run ended. Errors: DiskError. */
  openFuture(
    { name, topicPartition }: FoundFuture,
    topicId: Uuid,
    config: LogConfig,
  ): Promise<Log> {
    return this.#openFuture(`${this.path}/${name}`, topicPartition, topicId, config);
  }

  async #openFuture(
    directory: string,
    topicPartition: TopicPartition,
    topicId: Uuid,
    config: LogConfig,
  ): Promise<Log> {
    const name = formatTopicPartition(topicPartition.topic, topicPartition.partition);
    assert(!this.#isClosed && !this.#logs.has(name) && !this.#futures.has(name));
    assert(!this.#openings.has(name));
    const opening = this.#openInTurn(
      name,
      this.#futures,
      () => this.#open(directory, topicPartition, topicId, config),
    ).finally(() => this.#openings.delete(name));
    this.#openings.set(name, opening);
    return await opening;
  }

  /** Gives up a log that was on its way here, as `deleteLog` does. Errors: DiskError. */
  async deleteFuture({ topic, partition }: TopicPartition): Promise<void> {
    const name = formatTopicPartition(topic, partition);
    const log = this.#futures.get(name);
    if (log === undefined) return;
    this.#futures.delete(name);
    this.#unrecovered.delete(name);
    const doomed = `${this.path}/${movedName(name, this.#options.random, DELETE_SUFFIX)}`;
    await log.renameForDeletion(doomed);
    this.#checkpoints.forget(name);
    await this.#names.request();
    this.#removal.removeLater([], 0, [doomed]);
  }

  /** Lets go of a log that was on its way here, and keeps its files. */
  async closeFuture({ topic, partition }: TopicPartition): Promise<void> {
    const name = formatTopicPartition(topic, partition);
    const log = this.#futures.get(name);
    if (log !== undefined && !await log.close()) this.#unrecovered.add(name);
    this.#futures.delete(name);
  }

  /**
   * A log that was on its way here has arrived: it gets its partition's name, and is found as its log.
   * Returns: when the name is on stable storage. Errors: DiskError; the log goes on under the name it has.
   */
  async adoptFuture({ topic, partition }: TopicPartition): Promise<void> {
    const name = formatTopicPartition(topic, partition);
    const log = this.#futures.get(name);
    assert(log !== undefined && !this.#logs.has(name));
    try {
      await log.moveTo(`${this.path}/${name}`);
    } finally {
      // Not before: what works on logs in the background goes by their files' names.
      this.#futures.delete(name);
      this.#logs.set(name, log);
    }
    await this.#names.request();
  }

  /** The same for one that is not open: the run that had moved it ended before. Errors: DiskError. */
  async promoteFound({ name, topicPartition }: FoundFuture): Promise<void> {
    const { topic, partition } = topicPartition;
    this.#options.disk.rename(
      `${this.path}/${name}`,
      `${this.path}/${formatTopicPartition(topic, partition)}`,
    );
    await this.#names.request();
  }

  /** Removes a log that was on its way here and is not open. Errors: DiskError. */
  async deleteFound({ name, topicPartition }: FoundFuture): Promise<void> {
    const { disk, random } = this.#options;
    const partitionName = formatTopicPartition(topicPartition.topic, topicPartition.partition);
    const doomed = `${this.path}/${movedName(partitionName, random, DELETE_SUFFIX)}`;
    disk.rename(`${this.path}/${name}`, doomed);
    this.#unrecovered.delete(partitionName);
    this.#checkpoints.forget(partitionName);
    await this.#names.request();
    this.#removal.removeLater([], 0, [doomed]);
  }

  /**
   * Moves what lies under a partition's name and is not its own out of the way, to `<name>.<unique>-stray`.
   * It is kept: no record says that this node should delete it. Errors: DiskError.
   */
  async setAside({ topic, partition }: TopicPartition): Promise<void> {
    const name = formatTopicPartition(topic, partition);
    assert(!this.#logs.has(name) && !this.#openings.has(name));
    const { disk, random, logger } = this.#options;
    const kept = `${this.path}/${movedName(name, random, STRAY_SUFFIX)}`;
    disk.rename(`${this.path}/${name}`, kept);
    this.#unrecovered.delete(name);
    this.#foundIds.delete(name);
    this.#checkpoints.forget(name);
    await this.#names.request();
    logger.warn("Records that are not the partition's own, or not any more, are kept aside", {
      partition: name,
      directory: kept,
    });
  }

  /**
   * The same for the directory of a topic that could not be opened; any other topic's is left alone.
   * Errors: DiskError.
   */
  async deleteUnopened({ topic, partition }: TopicPartition, topicId: Uuid): Promise<void> {
    const name = formatTopicPartition(topic, partition);
    if (this.#logs.has(name) || this.#openings.has(name)) return;
    if (this.#foundTopicId(name) !== topicId) return;
    const doomed = `${this.path}/${movedName(name, this.#options.random, DELETE_SUFFIX)}`;
    this.#options.disk.rename(`${this.path}/${name}`, doomed);
    this.#unrecovered.delete(name);
    this.#foundIds.delete(name);
    this.#checkpoints.forget(name);
    await this.#names.request();
    this.#removal.removeLater([], DEFAULT_LOG_CONFIG.fileDeleteDelayMs, [doomed]);
  }

  /** True when a damaged log of the partition is kept here. */
  keepsDamaged({ topic, partition }: TopicPartition, topicId: Uuid): boolean {
    return this.#damaged.pathOf(formatTopicPartition(topic, partition), topicId) !== undefined;
  }

  /**
   * Moves a partition's damaged log out of the way, open or not, so that it is made anew, and keeps it until
   * `dropDamaged`, or until the disk has no room for both. Does nothing where none of the topic lies here.
   * Returns: when that is on stable storage. Errors: DiskError.
   */
  async setDamagedAside({ topic, partition }: TopicPartition, topicId: Uuid): Promise<void> {
    const { disk, random, logger } = this.#options;
    const name = formatTopicPartition(topic, partition);
    const log = this.#logs.get(name);
    assert(!this.#openings.has(name));
    if (log === undefined ? this.#foundTopicId(name) !== topicId : log.topicId !== topicId) return;
    const directory = log?.directory ?? `${this.path}/${name}`;
    const isKept = !this.#damaged.has(name) && this.#hasRoomBeside(log);
    const aside = `${this.path}/${movedName(name, random, isKept ? STRAY_SUFFIX : DELETE_SUFFIX)}`;
    if (isKept) {
      const mark = damagedMark(name, topicId);
      await this.#watched(writeFileAtomically(disk, `${directory}/${DAMAGED_FILE}`, mark));
    }
    this.#logs.delete(name);
    if (log === undefined) disk.rename(directory, aside);
    else await log.renameForDeletion(aside);
    this.#unrecovered.delete(name);
    this.#foundIds.delete(name);
    this.#checkpoints.forget(name);
    await this.#names.request();
    if (isKept) this.#damaged.add(name, { topicId, path: aside });
    else this.#removal.removeLater([], 0, [aside]);
    const kept = isKept ? aside : "removed: another copy is kept, or there is no room for both";
    logger.warn("Damaged log is moved out of the way", { partition: name, directory: kept });
  }

  #hasRoomBeside(log: Log | undefined): boolean {
    if (log === undefined) return true;
    try {
      return this.freeBytes() > log.sizeBytes + (this.#options.reserveBytes ?? 0);
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      return true;
    }
  }

  /** Removes what is kept of a damaged log, if there is something. A crash may bring it back, to be removed then. */
  dropDamaged({ topic, partition }: TopicPartition, topicId: Uuid): void {
    const { disk, random, logger } = this.#options;
    const name = formatTopicPartition(topic, partition);
    const path = this.#damaged.pathOf(name, topicId);
    if (path === undefined) return;
    this.#damaged.delete(name);
    const doomed = `${this.path}/${movedName(name, random, DELETE_SUFFIX)}`;
    try {
      disk.rename(path, doomed);
      this.#removal.removeLater([], 0, [doomed]);
      logger.info("Damaged log is removed", { partition: name, directory: path });
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      const found = failure.message;
      logger.warn("Damaged log stays where it is", { partition: name, directory: path, found });
    }
  }

  /**
   * Writes the four checkpoints, those that changed.
   * Returns: true once recovery points, log start offsets and the rest are stable as they are now;
   * false when the disk is full or offline, and the checkpoints of before still hold.
   */
  async checkpoint(): Promise<boolean> {
    while (this.#checkpointing !== null) await this.#checkpointing;
    if (this.#offlineReason !== null) return false;
    const checkpointing = this.#writeCheckpoints().finally(() => {
      this.#checkpointing = null;
    });
    this.#checkpointing = checkpointing;
    return await checkpointing;
  }

  async #checkpointOrFail(): Promise<void> {
    if (await this.checkpoint()) return;
    if (this.#offlineReason !== null) throw new DiskError(this.#offlineReason, "EIO");
    throw new DiskError(`Cannot write the checkpoints of ${this.path}: the disk is full`, "ENOSPC");
  }

  /** A crash must not give a new partition the offsets of one that had its name. Errors: DiskError. */
  async #dropStaleOffsets(name: string): Promise<void> {
    while (this.#checkpoints.isStale(name)) {
      if (this.#checkpointing !== null) await this.#checkpointing;
      else await this.#checkpointOrFail();
    }
  }

  async #writeCheckpoints(): Promise<boolean> {
    try {
      await this.#checkpoints.write([...this.#logs, ...this.#futures]);
      return true;
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      if (!failure.isPassing) this.#diskFailed(failure);
      return false;
    }
  }

  #armCheckpoint(): void {
    this.#checkpointTimer = this.#options.clock.timer(this.#options.checkpointMs ?? 5000, () => {
      this.#settling = this.#settleLogs();
      void this.#settling.then(async () => {
        if (this.#isClosed) return;
        await this.checkpoint();
        if (this.#isClosed) return;
        this.#armCheckpoint();
        this.#shortening ??= this.#shortenRecovery().finally(() => this.#shortening = null);
      });
    });
  }

  /** Lets the recovery points of logs follow what is synced, where their epochs had to wait. */
  async #settleLogs(): Promise<void> {
    const mayWait = this.#putOffCount < MAX_PUT_OFF;
    this.#putOffCount++;
    const logs = [...this.#logs.values(), ...this.#futures.values()]
      .filter((log) => log.isUnsettled).values();
    const settleNext = async (): Promise<void> => {
      for (const log of logs) {
        if (this.#isClosed || this.#offlineReason !== null) return;
        // New files and their syncs would hold up those that partitions are made and opened with.
        if (mayWait && (this.#openings.size > 0 || this.flusher.isBusy)) return;
        await log.settle();
      }
      this.#putOffCount = 0;
    };
    await Promise.all(Array.from({ length: SETTLED_AT_ONCE }, settleNext));
  }

  /**
   * Keeps what a crash would make the next start read within its bound: the logs that have most of it store
   * their indexes and producers, a few at once, until half of the bound is left.
   */
  async #shortenRecovery(): Promise<void> {
    const maxBytes = this.#options.recoveryMaxBytes ?? DEFAULT_RECOVERY_MAX_BYTES;
    let sumBytes = 0;
    for (const log of this.#logs.values()) sumBytes += log.recoveryBytes;
    if (sumBytes <= maxBytes) return;
    const logs = [...this.#logs.values()].sort((a, b) => b.recoveryBytes - a.recoveryBytes)
      .values();
    const shortenNext = async (): Promise<void> => {
      for (const log of logs) {
        if (sumBytes <= maxBytes / 2 || this.#isClosed || this.#offlineReason !== null) return;
        sumBytes -= log.recoveryBytes;
        await log.shortenRecovery();
      }
    };
    await Promise.all(Array.from({ length: SHORTENED_AT_ONCE }, shortenNext));
  }

  /** Appends are refused for want of room: what may go goes now, not at the next look. */
  #makeRoom(): void {
    if (this.#isClosed) return;
    this.#retention.hurry();
    this.#removal.hurry();
    for (const log of this.#logs.values()) log.hurryRemovals();
    // Whoever took part in the ISR without them has what was acknowledged.
    for (const [topicPartition, topicId] of [...this.#damaged.entries()]) {
      this.dropDamaged(topicPartition, topicId);
    }
  }

  /**
   * Takes the directory offline where the failure is that of a sync, whatever was being done: the kernel
   * tells it once, and what it has dropped may be anybody's.
   */
  noteFailure(failure: unknown): void {
    if (failure instanceof DiskError && failure.isFailedSync) this.#diskFailed(failure);
  }

  async #watched(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (failure) {
      this.noteFailure(failure);
      throw failure;
    }
  }

  #diskFailed(failure: DiskError): void {
    if (this.#offlineReason !== null) return;
    this.#offlineReason =
      `log directory ${this.path} is offline after a disk failure: ${failure.message}`;
    this.#options.logger.error("Log directory is offline", {
      path: this.path,
      found: failure.message,
    });
    for (const log of this.#logs.values()) log.goOffline(this.#offlineReason);
    for (const log of this.#futures.values()) log.goOffline(this.#offlineReason);
    this.#options.onOffline?.(this.#offlineReason);
    this.#noteDiskFailure();
  }

  /**
   * Leaves word for the next start. A sync that failed has dropped pages that the kernel goes on to show, and
   * the next sync would say that they are stable. No sync here: a power cut takes both away.
   */
  #noteDiskFailure(): void {
    try {
      this.#options.disk.open(`${this.path}/${DISK_FAILED_FILE}`, "write").close();
    } catch (failure) {
      this.#options.logger.error("Disk failure could not be noted for the next start", {
        path: this.path,
        found: messageOf(failure),
      });
    }
  }

  /** Partitions whose deletion was under way when the process ended. */
  #removeLeftOvers(): void {
    for (const { name, kind } of this.#options.disk.list(this.path)) {
      if (kind === "directory" && name.endsWith(DELETE_SUFFIX) && name.includes(".")) {
        this.#removal.removeLater([], 0, [`${this.path}/${name}`]);
      }
    }
  }

  /** Syncs and closes every log, writes the checkpoints and the clean-shutdown mark, and unlocks. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#checkpointTimer?.cancel();
    await this.#retention.close();
    await this.#scrub.close();
    await this.stopOpening();
    await this.#settling;
    await this.#shortening;
    this.#removal.close();
    const logs = [...this.#logs.values(), ...this.#futures.values()];
    const unrecovered = this.#unrecovered;
    let isClean = true;
    async function closeNext(): Promise<void> {
      for (let log = logs.pop(); log !== undefined; log = logs.pop()) {
        if (!await log.close()) isClean &&= unrecovered.has(log.name);
      }
    }
    await Promise.all(Array.from({ length: CLOSES_AT_ONCE }, closeNext));
    // A start that finds the mark believes the checkpoints.
    const isWritten = await this.checkpoint();
    if (isClean && isWritten) await this.#markClean();
    this.flusher.close();
    this.#files.close();
    this.#lock.release();
  }

  /** Every log has been recovered since, and synced. */
  #forgetDiskFailure(): void {
    const note = `${this.path}/${DISK_FAILED_FILE}`;
    if (this.#options.disk.exists(note)) this.#options.disk.remove(note);
  }

  async #markClean(): Promise<void> {
    // What nobody opened is as the crash before this run left it, and what was being made need not be synced: the
    // mark does not speak for them.
    const left = [...this.#unrecovered, ...this.#unsyncedNames];
    const unrecovered = left.length === 0 ? undefined : left;
    const { brokerEpoch } = this;
    const mark = textBytes(JSON.stringify({ version: 0, brokerEpoch, unrecovered }));
    try {
      if (unrecovered === undefined) this.#forgetDiskFailure();
      await writeFileAtomically(this.#options.disk, `${this.path}/${CLEAN_SHUTDOWN_FILE}`, mark);
    } catch (failure) {
      this.#options.logger.warn("Clean shutdown could not be marked: the next start recovers", {
        path: this.path,
        found: messageOf(failure),
      });
    }
  }
}

function partitionMetadata(topicId: Uuid): Uint8Array {
  return textBytes(`version: 0\ntopic_id: ${topicId}`);
}

/** Null too where a crash has left a part of the file: the partition was being made. */
function readTopicId(disk: Disk, directory: string): Uuid | null {
  const text = readSmallText(disk, `${directory}/${PARTITION_METADATA}`);
  const found = text === null ? null : /^topic_id: ([A-Za-z0-9_-]{22})$/m.exec(text);
  return found === null ? null : found[1] as Uuid;
}
