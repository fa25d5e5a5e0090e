/**
 * One fetch: reads its partitions, and waits for more when that is less than the client asked for.
 *
 *     read ──→ enough, or an error, or no time to wait ──→ done
 *       └──→ wait for the high watermark of any of its partitions ──→ read again
 *                 └──→ deadline: read, done with what there is      └──→ connection closed: dropped
 *
 * While it waits it holds no buffers: what a read gave that was not enough is given back at once.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import { type Offset, offset } from "../../protocol/types.ts";
import type { AbortedTransaction } from "../../storage/transaction_index.ts";
import type { Delayed, Waiting } from "./delayed.ts";
import type { FetchPartition } from "./fetch_session.ts";
import type { FetchWaiter, Partition } from "./partition.ts";
import { isRefusal, type PartitionRefusal } from "./replica_manager.ts";

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
  readonly currentLeader: { readonly leaderId: number; readonly leaderEpoch: number } | null;
}

/** Everything that a fetch found. `release` gives the buffers back once the answer has left. */
export interface FetchResult {
  readonly partitions: readonly FetchedPartition[];
  release(): void;
}

/** What a fetch asks for. */
export interface FetchOptions {
  readonly partitions: readonly FetchPartition[];
  readonly maxBytes: number;
  readonly minBytes: number;
  readonly maxWaitMs: number;
  readonly isReadCommitted: boolean;
  readonly find: (partition: FetchPartition) => Partition | PartitionRefusal;
}

const NO_RECORDS = new Uint8Array(0);

interface Read {
  readonly result: FetchResult;
  readonly byteCount: number;
  readonly isFinal: boolean;
}

/** Reads once. Returns: the result when it is to be answered at once, else the wait for a better one. */
export function startFetch(
  options: FetchOptions,
  delayed: Delayed,
): FetchResult | DelayedFetch {
  const read = readAll(options);
  if (read.isFinal || read.byteCount >= options.minBytes || options.maxWaitMs <= 0) {
    return read.result;
  }
  read.result.release();
  return new DelayedFetch(options, delayed, read.byteCount);
}

/** A fetch that waits. */
export class DelayedFetch implements FetchWaiter, Waiting {
  readonly #options: FetchOptions;
  readonly #delayed: Delayed;
  readonly #watched: Partition[] = [];
  /** Bytes appended to the watched partitions at the last read, and what that read found. */
  #appendedBefore = 0;
  #found: number;
  #done: ((result: FetchResult) => void) | null = null;

  constructor(options: FetchOptions, delayed: Delayed, found: number) {
    this.#options = options;
    this.#delayed = delayed;
    this.#found = found;
  }

  /** Begins to wait. `done` is called once, unless the wait is cancelled. */
  start(done: (result: FetchResult) => void): void {
    this.#done = done;
    for (const fetch of this.#options.partitions) {
      const partition = this.#options.find(fetch);
      if (!isRefusal(partition)) this.#watched.push(partition);
    }
    this.#appendedBefore = this.#appended();
    if (!this.#delayed.add(this, this.#options.maxWaitMs)) return this.expire();
    for (const partition of this.#watched) partition.addFetchWaiter(this);
  }

  /** Ends the wait without an answer. */
  cancel(): void {
    this.#done = null;
    this.#stopWaiting();
  }

  partitionMoved(): void {
    if (this.#done === null) return;
    const { minBytes } = this.#options;
    const appended = this.#appended();
    const isUsable = this.#options.partitions.every((fetch) =>
      !isRefusal(this.#options.find(fetch))
    );
    // Reading is not worth it before enough has been appended.
    if (isUsable && this.#found + appended - this.#appendedBefore < minBytes) return;
    const read = readAll(this.#options);
    if (read.isFinal || read.byteCount >= minBytes) return this.#finish(read.result);
    read.result.release();
    this.#found = read.byteCount;
    // What is written and not committed yet counts again when it is.
    this.#appendedBefore = appended - this.#uncommittedBytes(appended);
  }

  expire(): void {
    if (this.#done !== null) this.#finish(readAll(this.#options).result);
  }

  #finish(result: FetchResult): void {
    const done = this.#done!;
    this.#done = null;
    this.#stopWaiting();
    done(result);
  }

  #stopWaiting(): void {
    this.#delayed.remove(this);
    for (const partition of this.#watched) partition.removeFetchWaiter(this);
  }

  #appended(): number {
    let sum = 0;
    for (const { appendedBytes } of this.#watched) sum += appendedBytes;
    return sum;
  }

  /** An upper bound: everything since the last read where something is not committed. */
  #uncommittedBytes(appended: number): number {
    const isAll = this.#watched.every(({ log, highWatermark }) => log.endOffset === highWatermark);
    return isAll ? 0 : appended - this.#appendedBefore;
  }
}

/** Reads every partition of a fetch, within its bytes; the first batch found is whole in any case. */
function readAll(options: FetchOptions): Read {
  const partitions: FetchedPartition[] = [];
  const releases: (() => void)[] = [];
  let byteCount = 0;
  let isFinal = options.partitions.length === 0;
  for (const fetch of options.partitions) {
    const left = options.maxBytes - byteCount;
    const found = readPartition(options, fetch, { left, isFirst: byteCount === 0, releases });
    byteCount += found.records.length;
    isFinal ||= found.error !== ErrorCode.NONE || found.diverging !== null;
    partitions.push(found);
  }
  const release = () => {
    for (const give of releases.splice(0)) give();
  };
  return { result: { partitions, release }, byteCount, isFinal };
}

function readPartition(
  { find, isReadCommitted }: FetchOptions,
  fetch: FetchPartition,
  { left, isFirst, releases }: {
    readonly left: number;
    readonly isFirst: boolean;
    readonly releases: (() => void)[];
  },
): FetchedPartition {
  const partition = find(fetch);
  if (isRefusal(partition)) return failed(fetch, partition.error);
  const epochError = checkLeaderEpoch(partition, fetch.currentLeaderEpoch);
  if (epochError !== ErrorCode.NONE) {
    const { leader: leaderId, leaderEpoch } = partition.image;
    return { ...failed(fetch, epochError), currentLeader: { leaderId, leaderEpoch } };
  }
  const { highWatermark, lastStableOffset } = partition;
  const { logStartOffset } = partition.log;
  const base = {
    fetch,
    error: ErrorCode.NONE,
    highWatermark,
    lastStableOffset,
    logStartOffset,
    records: NO_RECORDS,
    abortedTransactions: isReadCommitted ? [] : null,
    diverging: divergence(partition, fetch),
    currentLeader: null,
  };
  if (base.diverging !== null) return base;
  const upToOffset = isReadCommitted ? lastStableOffset : highWatermark;
  const read = partition.read(offset(fetch.fetchOffset), {
    maxBytes: Math.min(fetch.maxBytes, left),
    minOneMessage: isFirst,
    upToOffset,
  });
  if (read.error !== ErrorCode.NONE) {
    return { ...failed(fetch, read.error), ...outOfRangeState(read.error, partition) };
  }
  if (!("records" in read)) return base;
  releases.push(() => read.release());
  const abortedTransactions = isReadCommitted && read.records.length > 0
    ? aborted(partition, fetch.fetchOffset, read.nextOffset)
    : base.abortedTransactions;
  return { ...base, records: read.records, abortedTransactions };
}

function aborted(partition: Partition, from: number, upTo: Offset): readonly AbortedTransaction[] {
  return partition.log.abortedTransactions(offset(from), upTo);
}

/** The client's epoch against the partition's (KIP-320). −1 is not checked. */
export function checkLeaderEpoch(partition: Partition, currentLeaderEpoch: number): ErrorCode {
  if (currentLeaderEpoch < 0 || currentLeaderEpoch === partition.leaderEpoch) return ErrorCode.NONE;
  return currentLeaderEpoch < partition.leaderEpoch
    ? ErrorCode.FENCED_LEADER_EPOCH
    : ErrorCode.UNKNOWN_LEADER_EPOCH;
}

/** Where the log of a client that says its last epoch parts from this one; null when it does not. */
function divergence(
  partition: Partition,
  { fetchOffset, lastFetchedEpoch }: FetchPartition,
): FetchedPartition["diverging"] {
  if (lastFetchedEpoch < 0) return null;
  const { leaderEpoch: epoch, endOffset } = partition.log.endOffsetForEpoch(lastFetchedEpoch);
  return endOffset < fetchOffset || epoch < lastFetchedEpoch ? { epoch, endOffset } : null;
}

function outOfRangeState(error: ErrorCode, { highWatermark, log }: Partition) {
  return error === ErrorCode.OFFSET_OUT_OF_RANGE
    ? { highWatermark, logStartOffset: log.logStartOffset }
    : {};
}

function failed(fetch: FetchPartition, error: ErrorCode): FetchedPartition {
  return {
    fetch,
    error,
    highWatermark: -1,
    lastStableOffset: -1,
    logStartOffset: -1,
    records: NO_RECORDS,
    abortedTransactions: null,
    diverging: null,
    currentLeader: null,
  };
}
