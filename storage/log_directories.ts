/**
 * All the log directories of a node, on as many disks: which are there, where a partition lies, where a
 * new one goes. A directory whose disk fails is offline until the next start, and takes no other with it.
 *
 *     log.dirs = /disk1, /disk2, /disk3
 *                  │        │        └─ cannot be opened: offline, its partitions are not looked for elsewhere
 *                  │        └─ online: a lock, an id, checkpoints, a flusher and a reserve of its own
 *                  └─ the metadata log lies here, or in metadata.log.dir
 *
 * Every directory has an id of its own (KIP-858) and the same cluster. One of another cluster or node, or
 * one that another process uses, is refused whole: that is a mistake to be put right, not a failed disk.
 * Read buffers are shared; what belongs to one disk is not.
 */

import assert from "node:assert/strict";
import type { TopicPartition, Uuid } from "../protocol/types.ts";
import { BufferPool } from "./buffer_pool.ts";
import { clusterIdOf, LogDirectoryError } from "./directory_meta.ts";
import {
  type FoundFuture,
  type FoundPartition,
  LogDirectory,
  type LogDirectoryOptions,
  READ_BUFFER_BYTES,
} from "./log_directory.ts";
import { DiskError } from "./platform.ts";
import { randomUuid } from "./random_uuid.ts";

/** Handles open for reading closed segments, over all directories. */
const MAX_OPEN_FILES = 512;
/**
 * What a new partition is counted as before free space shows it: many that are made at once are spread, as
 * soon as the difference between two disks is used up at this rate.
 */
const PLACED_BYTES = 256 * 1024 * 1024;

/** What the directories are opened with. */
export interface LogDirectoriesOptions
  extends Omit<LogDirectoryOptions, "path" | "buffers" | "maxOpenFiles" | "onOffline"> {
  /** Where partitions lie, at least one. */
  readonly paths: readonly string[];
  /** Where the metadata log lies: one of `paths`, or a directory for it alone. */
  readonly metadataPath: string;
  /** True for a directory that gets no new partitions. */
  readonly isCordoned?: (path: string) => boolean;
}

/** A directory as it is now. */
export interface DirectoryState {
  readonly path: string;
  /** Null when it could not be opened at the start. */
  readonly directory: LogDirectory | null;
  /** Why it is offline, or null. */
  readonly offlineReason: string | null;
  /** True when it gets no new partitions (KIP-1066). */
  readonly isCordoned: boolean;
}

/** A partition that was found in a directory. */
export interface PlacedPartition extends FoundPartition {
  readonly directory: LogDirectory;
}

/** A partition that was found on its way into a directory. */
export interface PlacedFuture extends FoundFuture {
  readonly directory: LogDirectory;
}

interface Member {
  readonly path: string;
  readonly directory: LogDirectory | null;
  readonly failure: LogDirectoryError | null;
  /** New partitions that free space may not show yet. */
  placedCount: number;
}

/** The log directories of a node. */
export class LogDirectories {
  readonly clusterId: string;
  /** Where the metadata log lies. */
  readonly metadata: LogDirectory;
  readonly buffers: BufferPool;
  readonly #options: LogDirectoriesOptions;
  readonly #members: readonly Member[];
  /** Told the path of a directory that goes offline. */
  readonly #listeners: Set<(path: string) => void>;

  /**
   * Locks and opens the directories, making those that are missing. Opens no log yet.
   * Returns: when at least one of them is usable, and the one of the metadata log.
   * Errors: LogDirectoryError when one must not be used, or when too few can be.
   */
  static async open(options: LogDirectoriesOptions): Promise<LogDirectories> {
    const { disk, paths, metadataPath, random } = options;
    assert(paths.length > 0);
    const all = paths.includes(metadataPath) ? paths : [...paths, metadataPath];
    const known = all.map((path) => clusterIdOf(disk, path)).find((id) => id !== null);
    const clusterId = options.clusterId ?? known ?? randomUuid(random);
    const buffers = new BufferPool({ capBytes: READ_BUFFER_BYTES });
    const maxOpenFiles = Math.ceil(MAX_OPEN_FILES / all.length);
    const listeners = new Set<(path: string) => void>();
    const members = new Map<string, Member>();
    try {
      for (const path of all) {
        const member = await openMember({
          ...options,
          path,
          random: random.fork(path),
          clusterId,
          buffers,
          maxOpenFiles,
          onOffline: () => listeners.forEach((tell) => tell(path)),
        });
        members.set(path, member);
      }
      return new LogDirectories(options, { clusterId, buffers, members, listeners });
    } catch (failure) {
      for (const { directory } of members.values()) await directory?.close();
      throw failure;
    }
  }

  private constructor(
    options: LogDirectoriesOptions,
    { clusterId, buffers, members, listeners }: {
      readonly clusterId: string;
      readonly buffers: BufferPool;
      readonly members: ReadonlyMap<string, Member>;
      readonly listeners: Set<(path: string) => void>;
    },
  ) {
    const metadata = members.get(options.metadataPath)!;
    if (metadata.directory === null) throw metadata.failure!;
    this.#options = options;
    this.#members = options.paths.map((path) => members.get(path)!);
    if (this.online().length === 0) throw this.#members[0]!.failure!;
    this.clusterId = clusterId;
    this.metadata = metadata.directory;
    this.buffers = buffers;
    this.#listeners = listeners;
    for (const { path, failure } of this.#members) {
      if (failure === null) continue;
      options.logger.error(
        "Log directory cannot be opened: its partitions stay offline until it can be at a start",
        { path, found: failure.message },
      );
    }
  }

  /** Every directory that partitions may lie in, in the order of the settings. */
  states(): DirectoryState[] {
    return this.#members.map(({ path, directory, failure }) => ({
      path,
      directory,
      offlineReason: directory === null ? failure!.message : directory.offlineReason,
      isCordoned: this.#options.isCordoned?.(path) === true,
    }));
  }

  /** The directories that can be used, in the order of the settings. */
  online(): LogDirectory[] {
    const online: LogDirectory[] = [];
    for (const { directory } of this.#members) {
      if (directory !== null && directory.offlineReason === null) online.push(directory);
    }
    return online;
  }

  /**
   * The broker epoch under which the last run stopped cleanly, the same in every directory; −1 when one is
   * not there, or says another or none: what lies here may then lack what others were told is here (KIP-966).
   */
  get previousBrokerEpoch(): number {
    const epochs = this.#members.map(({ directory }) => directory?.previousBrokerEpoch ?? -1);
    return epochs.every((epoch) => epoch === epochs[0]) ? epochs[0]! : -1;
  }

  /** Notes the epoch that this broker has registered under: a clean stop leaves it in each directory. */
  noteBrokerEpoch(brokerEpoch: number): void {
    for (const { directory } of this.#members) {
      if (directory !== null) directory.brokerEpoch = brokerEpoch;
    }
  }

  /** How many directories are offline. */
  get offlineCount(): number {
    return this.#members.length - this.online().length;
  }

  /** Bytes that recoveries have read since the start, in all directories. */
  get recoveredBytes(): number {
    let sum = 0;
    for (const { directory } of this.#members) sum += directory?.recoveredBytes ?? 0;
    return sum;
  }

  /** Lets a partition whose opening waits for its turn go before others. */
  hurry(topicPartition: TopicPartition): void {
    for (const { directory } of this.#members) directory?.hurry(topicPartition);
  }

  /** Gives up openings and recoveries. Returns: when none is under way. */
  async stopOpening(): Promise<void> {
    await Promise.all(this.#members.map(({ directory }) => directory?.stopOpening()));
  }

  /** The usable directory with this id. */
  byId(directoryId: Uuid): LogDirectory | undefined {
    return this.online().find((directory) => directory.directoryId === directoryId);
  }

  /** Everything that lies in the usable directories, whether open or not. */
  found(): PlacedPartition[] {
    return this.online().flatMap((directory) =>
      directory.found().map((found) => ({ ...found, directory }))
    );
  }

  /** What was on its way into the usable directories when an earlier run ended. */
  foundFutures(): PlacedFuture[] {
    return this.online().flatMap((directory) =>
      directory.foundFutures().map((found) => ({ ...found, directory }))
    );
  }

  /** The directories in which a partition's log is open, or its copy. */
  holding({ topic, partition }: TopicPartition): LogDirectory[] {
    return this.online().filter((directory) =>
      directory.log(topic, partition) !== undefined ||
      directory.future({ topic, partition }) !== undefined
    );
  }

  /** The directory in which a partition's log is open. */
  directoryOf({ topic, partition }: TopicPartition): LogDirectory | undefined {
    return this.#members.find(({ directory }) => directory?.log(topic, partition) !== undefined)
      ?.directory ?? undefined;
  }

  /** Calls the listener when a directory goes offline. Returns: a function that stops it. */
  onOffline(listener: (state: DirectoryState) => void): () => void {
    const tell = (path: string): void => {
      const state = this.states().find((one) => one.path === path);
      if (state !== undefined) listener(state);
    };
    this.#listeners.add(tell);
    return () => this.#listeners.delete(tell);
  }

  /**
   * Chooses the directory of a new partition: the most free bytes, then the fewest partitions. One that is
   * cordoned or down to its reserve is passed over, unless there is no other. Shape: one at least is online.
   */
  place(): LogDirectory {
    const usable = this.#members.flatMap((member) => {
      const { path, directory } = member;
      if (directory === null || directory.offlineReason !== null) return [];
      const isCordoned = this.#options.isCordoned?.(path) === true;
      return [{ member, directory, isCordoned, freeBytes: freeBytes(directory) }];
    });
    const reserveBytes = this.#options.reserveBytes ?? 0;
    const open = usable.filter(({ isCordoned }) => !isCordoned);
    const roomy = open.filter((candidate) => candidate.freeBytes >= reserveBytes);
    const candidates = [roomy, open, usable].find(({ length }) => length > 0);
    assert(candidates !== undefined);
    const [best] = candidates
      .map((one) => ({ ...one, room: one.freeBytes - one.member.placedCount * PLACED_BYTES }))
      .toSorted((a, b) => b.room - a.room || a.directory.logCount - b.directory.logCount);
    best!.member.placedCount++;
    return best!.directory;
  }

  /** Closes every directory; those without a fault are marked as cleanly closed. */
  async close(): Promise<void> {
    await Promise.all(this.#members.map(({ directory }) => directory?.close()));
    await this.metadata.close();
  }
}

async function openMember(options: LogDirectoryOptions): Promise<Member> {
  const { path } = options;
  try {
    const directory = await LogDirectory.open(options);
    return { path, directory, failure: null, placedCount: 0 };
  } catch (failure) {
    if (!(failure instanceof LogDirectoryError) || !failure.isDiskFailure) throw failure;
    return { path, directory: null, failure, placedCount: 0 };
  }
}

/** A file system that does not say comes last. */
function freeBytes(directory: LogDirectory): number {
  try {
    return directory.freeBytes();
  } catch (failure) {
    if (!(failure instanceof DiskError)) throw failure;
    return 0;
  }
}
