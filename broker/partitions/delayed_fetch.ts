/**
 * One fetch: reads its partitions, and waits for more when that is less than the client asked for.
 *
 *     read ──→ enough, or an error, or no time to wait ──→ done
 *       └──→ wait for the high watermark of any of its partitions ──→ read again
 *                 └──→ deadline: read, done with what there is      └──→ connection closed: dropped
 *
 * The fetch of a follower's session reads only what may have something for it, and its session wakes it.
 *
 * While it waits it holds no buffers: what a read gave that was not enough is given back at once.
 *
 * A follower reads up to the end of its leader's log, and waits for appends. What it asks for says what it has,
 * which is noted with the first read, once it is known that its log does not part from this one; it is answered
 * at once where it has not heard of the high watermark.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import { offset } from "../../protocol/types.ts";
import type { Log, ReadRecords } from "../../storage/log.ts";
import type { AbortedTransaction } from "../../storage/transaction_index.ts";
import type { PartitionImage } from "../controller/metadata_image.ts";
import type { Delayed, Waiting } from "./delayed.ts";
import type { FetchContext, FetchPartition, PartitionState } from "./fetch_session.ts";
import type { Partition, PartitionWatch } from "./partition.ts";
import { isRefusal, type PartitionRefusal } from "./replica_manager.ts";
import type { TopicTraffic } from "./topic_traffic.ts";

/** What a fetch found in one partition. */
export interface FetchedPartition {
  readonly fetch: FetchPartition;
  readonly error: ErrorCode;
  readonly highWatermark: number;
  readonly lastStableOffset: number;
  readonly logStartOffset: number;
  readonly records: Uint8Array;
  /** Null unless the consumer reads committed transactions only. */
  readonly abortedTransactions: readonly AbortedTransaction[] | null;
  /** Where the client's log and this one part (KIP-595), if they do. */
  readonly diverging: { readonly epoch: number; readonly endOffset: number } | null;
  /** Who leads, where the client asked the wrong node or epoch. */
  readonly leader: PartitionImage | null;
  /** A replica that is nearer to the client, which it is to read from (KIP-392); −1 for none. */
  readonly preferredReadReplica: number;
  /** Where it is counted that a consumer got the records; null where there are none. */
  readonly traffic: TopicTraffic | null;
}

/** The follower that fetches. */
export interface FetchingReplica {
  readonly id: number;
  /** −1 where the request does not say. */
  readonly brokerEpoch: number;
}

/** Everything that a fetch found. `release` gives the buffers back once the answer has left. */
export interface FetchResult {
  readonly partitions: readonly FetchedPartition[];
  release(): void;
}

/** What a fetch asks for. */
export interface FetchOptions {
  /** What it is about. */
  readonly session: Pick<FetchContext, "partitionCount" | "isWatched" | "toRead">;
  readonly maxBytes: number;
  readonly minBytes: number;
  readonly maxWaitMs: number;
  readonly isReadCommitted: boolean;
  /** Null for a consumer. */
  readonly replica: FetchingReplica | null;
  /** A replica that the consumer is to read from instead; −1 for none. */
  readonly preferredReadReplica: (partition: Partition, fetchOffset: number) => number;
  /** Bytes that answers may hold now, over all connections; past it a fetch gives its first batch only. */
  readonly roomBytes: () => number;
  readonly find: (partition: FetchPartition) => Partition | PartitionRefusal;
}

const NO_RECORDS = new Uint8Array(0);
const NO_TRANSACTIONS: readonly AbortedTransaction[] = [];

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** One pass over the partitions of a fetch. */
class FetchRead implements FetchResult {
  readonly partitions: FetchedPartition[] = [];
  byteCount = 0;
  /** True when waiting would not make it better: an error, or a log that parts from the client's. */
  isFinal = false;
  #reads: ReadRecords[] = [];

  /** Reads within the fetch's bytes; the first batch found is whole in any case. */
  constructor(options: FetchOptions, { isFirst }: { readonly isFirst: boolean }) {
    let unknownCount = 0;
    const maxBytes = Math.min(options.maxBytes, Math.max(0, options.roomBytes()));
    const { session } = options;
    for (const fetch of session.toRead()) {
      const found = this.#read(options, fetch, { maxBytes, isFirst });
      this.partitions.push(found);
      if (found.preferredReadReplica >= 0) this.isFinal = true;
      if (options.replica !== null && isNewsTo(fetch, found)) this.isFinal = true;
      this.byteCount += found.records.length;
      // A topic that nobody knows does not hurry the others, or its reader would ask in a loop.
      if (isUnknown(found.error)) unknownCount++;
      else if (found.error !== ErrorCode.NONE || found.diverging !== null) this.isFinal = true;
    }
    if (unknownCount === session.partitionCount) this.isFinal = true;
    // Less than the client asked for, but more will not fit while it waits.
    if (maxBytes < options.maxBytes && this.byteCount > 0) this.isFinal = true;
  }

  release(): void {
    const reads = this.#reads;
    this.#reads = [];
    for (const read of reads) read.release();
  }

  #read(
    options: FetchOptions,
    fetch: FetchPartition,
    { maxBytes, isFirst }: { readonly maxBytes: number; readonly isFirst: boolean },
  ): FetchedPartition {
    const { session, replica, isReadCommitted } = options;
    const partition = options.find(fetch);
    if (isRefusal(partition)) return failed(fetch, partition.error, partition.image);
    const epochError = checkLeaderEpoch(partition, fetch.currentLeaderEpoch);
    if (epochError !== ErrorCode.NONE) {
      if (replica !== null) partition.noteEpoch(fetch.currentLeaderEpoch);
      return failed(fetch, epochError, partition.image);
    }
    const { log } = partition;
    const found: Mutable<FetchedPartition> = {
      ...nothingIn(fetch, partition),
      abortedTransactions: isReadCommitted ? NO_TRANSACTIONS : null,
    };
    if (replica === null) {
      if (!partition.isLeader && fetch.fetchOffset > partition.highWatermark) {
        return failed(fetch, ErrorCode.OFFSET_NOT_AVAILABLE);
      }
      found.preferredReadReplica = options.preferredReadReplica(partition, fetch.fetchOffset);
      if (found.preferredReadReplica >= 0) return found;
    }
    if (fetch.lastFetchedEpoch >= 0) {
      const { leaderEpoch: epoch, endOffset } = log.endOffsetForEpoch(fetch.lastFetchedEpoch);
      if (epoch < 0 || endOffset < 0) return outOfRange(fetch, replica, log);
      if (endOffset < fetch.fetchOffset || epoch < fetch.lastFetchedEpoch) {
        return { ...found, diverging: { epoch, endOffset } };
      }
    }
    const readableOffset = isReadCommitted ? partition.lastStableOffset : partition.highWatermark;
    const isHeldBack = replica !== null && partition.isHeldBack(replica.id);
    const read = log.read(offset(fetch.fetchOffset), {
      maxBytes: isHeldBack ? 0 : Math.min(fetch.maxBytes, maxBytes - this.byteCount),
      minOneMessage: this.byteCount === 0 && !isHeldBack,
      upToOffset: replica === null ? readableOffset : log.endOffset,
      enoughBytes: options.minBytes - this.byteCount,
    });
    if (!("records" in read)) {
      if (read.error === ErrorCode.OFFSET_OUT_OF_RANGE) return outOfRange(fetch, replica, log);
      // A consumer gives up where bytes are damaged, and asks somebody else where a disk failed.
      const isElsewhere = read.error === ErrorCode.CORRUPT_MESSAGE && partition.isUnderRepair;
      return failed(fetch, isElsewhere ? ErrorCode.KAFKA_STORAGE_ERROR : read.error);
    }
    if (replica !== null && isFirst) {
      const error = noteFollower(partition, replica, fetch);
      if (error !== ErrorCode.NONE) {
        read.release();
        return failed(fetch, error, partition.image);
      }
      // What it has may have moved it.
      found.highWatermark = partition.highWatermark;
      found.lastStableOffset = partition.lastStableOffset;
    }
    if (session.isWatched && replica !== null) watch(partition, replica, found);
    if (read.records.length === 0) return found;
    if (replica !== null) partition.noteServed(read.records.length);
    this.#reads.push(read);
    found.records = read.records;
    if (isReadCommitted) {
      found.abortedTransactions = log.abortedTransactions(
        offset(fetch.fetchOffset),
        read.nextOffset,
      );
    }
    return found;
  }
}

/** Leaves out of the follower's next reads what has nothing for it until it moves. */
function watch(partition: Partition, { id }: FetchingReplica, found: FetchedPartition): void {
  const { fetchOffset, remembered } = found.fetch;
  remembered?.watch(partition);
  // Who is not in sync may join at any fetch, unless that is asked for already.
  if (fetchOffset < partition.log.endOffset || !partition.hasJoined(id)) return;
  remembered?.settle(stateOf(found));
}

/** What a session has to know of it. */
export function stateOf(found: FetchedPartition): PartitionState {
  return {
    highWatermark: found.highWatermark,
    lastStableOffset: found.lastStableOffset,
    logStartOffset: found.logStartOffset,
    hasError: found.error !== ErrorCode.NONE || found.diverging !== null,
    hasRecords: found.records.length > 0,
  };
}

/** Waiting followers are to hear of it, though there are no records for them. */
function isNewsTo(
  { remembered }: FetchPartition,
  { highWatermark, logStartOffset }: FetchedPartition,
): boolean {
  if (remembered === undefined) return false;
  return highWatermark > remembered.highWatermark || logStartOffset > remembered.logStartOffset;
}

function noteFollower(
  partition: Partition,
  replica: FetchingReplica,
  { fetchOffset, logStartOffset }: FetchPartition,
): ErrorCode {
  const { id: replicaId, brokerEpoch } = replica;
  return partition.followerFetched({ replicaId, brokerEpoch, fetchOffset, logStartOffset });
}

function nothingIn(fetch: FetchPartition, partition: Partition): FetchedPartition {
  const { highWatermark, lastStableOffset, log } = partition;
  return {
    fetch,
    error: ErrorCode.NONE,
    highWatermark,
    lastStableOffset,
    logStartOffset: log.logStartOffset,
    records: NO_RECORDS,
    abortedTransactions: null,
    diverging: null,
    leader: null,
    preferredReadReplica: -1,
    traffic: partition.traffic,
  };
}

/** A follower has to know where to begin anew. */
function outOfRange(
  fetch: FetchPartition,
  replica: FetchingReplica | null,
  { logStartOffset }: Log,
): FetchedPartition {
  const found = failed(fetch, ErrorCode.OFFSET_OUT_OF_RANGE);
  return replica === null ? found : { ...found, logStartOffset };
}

function isUnknown(error: ErrorCode): boolean {
  return error === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION || error === ErrorCode.UNKNOWN_TOPIC_ID;
}

/** Reads once. Returns: the result when it is to be answered at once, else the wait for a better one. */
export function startFetch(
  options: FetchOptions,
  delayed: Delayed,
): FetchResult | DelayedFetch {
  const read = new FetchRead(options, { isFirst: true });
  const isEnough = read.byteCount >= Math.min(options.minBytes, options.maxBytes);
  if (read.isFinal || isEnough || options.maxWaitMs <= 0) {
    if (!isEnough && options.replica === null) requestSyncs(options);
    return read;
  }
  read.release();
  return new DelayedFetch(options, delayed, read.byteCount);
}

/** The reader is at the end and will be back: what is written and not committed should be by then. */
function requestSyncs({ session, find }: FetchOptions): void {
  for (const fetch of session.toRead()) {
    const partition = find(fetch);
    if (!isRefusal(partition)) partition.requestCommit();
  }
}

/**
 * A fetch that waits. Counting committed bytes, it reads again only when that can be enough: with a large
 * `minBytes` each small append would read everything again.
 */
export class DelayedFetch implements PartitionWatch, Waiting {
  readonly #options: FetchOptions;
  readonly #minBytes: number;
  readonly #delayed: Delayed;
  readonly #watched: Partition[] = [];
  /**
   * The sum of last stable offsets at the last read, where open transactions held records back: the end of one lets
   * more be read than was committed since. −1 where nothing was held back.
   */
  #heldBackAt = -1;
  /** Committed bytes of the watched partitions at the last read, and how much of use it found. */
  #committedBefore = 0;
  #found: number;
  #done: ((result: FetchResult) => void) | null = null;
  #isWoken = false;

  constructor(options: FetchOptions, delayed: Delayed, found: number) {
    this.#options = options;
    this.#minBytes = Math.min(options.minBytes, options.maxBytes);
    this.#delayed = delayed;
    this.#found = found;
  }

  /** Begins to wait, in the same turn as the read. `done` is called once, unless cancelled. */
  start(done: (result: FetchResult) => void): void {
    this.#done = done;
    const { session, find, maxWaitMs, replica } = this.#options;
    if (!session.isWatched) {
      for (const fetch of session.toRead()) {
        const partition = find(fetch);
        if (!isRefusal(partition)) this.#watched.push(partition);
      }
    }
    this.#noteRead(this.#committed());
    if (!this.#delayed.add(this, maxWaitMs)) return this.expire();
    for (const partition of this.#watched) {
      if (replica === null) partition.addFetchWaiter(this);
      else partition.addFollowerWatch(this);
    }
  }

  /** Ends the wait without an answer. */
  cancel(): void {
    this.#done = null;
    this.#stopWaiting();
  }

  appended(): void {
    if (this.#isWoken || this.#done === null) return;
    this.#isWoken = true;
    // One answer for all that this turn of the loop appends.
    void Promise.resolve().then(() => {
      this.#isWoken = false;
      this.#reread();
    });
  }

  /** Followers hear of it with their next answer. */
  committed(): void {
    if (this.#options.replica === null) this.#reread();
  }

  lost(): void {
    this.expire();
  }

  #reread(): void {
    if (this.#done === null) return;
    const committed = this.#committed();
    const isWorthIt = this.#minBytes <= 1 || this.#options.replica !== null ||
      this.#found + committed - this.#committedBefore >= this.#minBytes ||
      (this.#heldBackAt >= 0 && this.#stable() > this.#heldBackAt);
    if (!isWorthIt) return;
    const read = new FetchRead(this.#options, { isFirst: false });
    if (read.isFinal || read.byteCount >= this.#minBytes) return this.#finish(read);
    read.release();
    this.#found = read.byteCount;
    this.#noteRead(committed);
  }

  #noteRead(committed: number): void {
    this.#committedBefore = committed;
    const isHeldBack = this.#options.isReadCommitted &&
      this.#watched.some(({ lastStableOffset, highWatermark }) => lastStableOffset < highWatermark);
    this.#heldBackAt = isHeldBack ? this.#stable() : -1;
  }

  expire(): void {
    if (this.#done !== null) this.#finish(new FetchRead(this.#options, { isFirst: false }));
  }

  /** A read that fails may take the log offline, which has ended the wait by the time that it returns. */
  #finish(result: FetchResult): void {
    const done = this.#done;
    if (done === null) return result.release();
    this.#done = null;
    this.#stopWaiting();
    done(result);
  }

  #stopWaiting(): void {
    this.#delayed.remove(this);
    for (const partition of this.#watched) partition.removeWatch(this);
  }

  #stable(): number {
    let sum = 0;
    for (const { lastStableOffset } of this.#watched) sum += lastStableOffset;
    return sum;
  }

  #committed(): number {
    let sum = 0;
    for (const { committedBytes } of this.#watched) sum += committedBytes;
    return sum;
  }
}

/** The client's epoch against the partition's (KIP-320). −1 is not checked. */
export function checkLeaderEpoch(partition: Partition, currentLeaderEpoch: number): ErrorCode {
  if (currentLeaderEpoch < 0 || currentLeaderEpoch === partition.leaderEpoch) return ErrorCode.NONE;
  return currentLeaderEpoch < partition.leaderEpoch
    ? ErrorCode.FENCED_LEADER_EPOCH
    : ErrorCode.UNKNOWN_LEADER_EPOCH;
}

function failed(
  fetch: FetchPartition,
  error: ErrorCode,
  leader: PartitionImage | null = null,
): FetchedPartition {
  return {
    fetch,
    error,
    highWatermark: -1,
    lastStableOffset: -1,
    logStartOffset: -1,
    records: NO_RECORDS,
    abortedTransactions: isUnknown(error) ? NO_TRANSACTIONS : null,
    diverging: null,
    leader: tellsLeader(error) ? leader : null,
    preferredReadReplica: -1,
    traffic: null,
  };
}

function tellsLeader(error: ErrorCode): boolean {
  return error === ErrorCode.NOT_LEADER_OR_FOLLOWER || error === ErrorCode.FENCED_LEADER_EPOCH;
}
