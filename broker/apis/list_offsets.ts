/**
 * ListOffsets (key 2), versions 1–11: offsets by timestamp, and the special ones.
 *
 * 1 one offset a partition · 2 isolation level · 4 leader epochs (KIP-320) · 6 flexible · 7 the largest
 * timestamp (−3, KIP-734) · 8 the earliest local offset (−4, KIP-405) · 9 the last tiered offset (−5,
 * KIP-1005) · 10 a timeout for remote reads (KIP-1075) · 11 the earliest offset that waits for its upload
 * (−6, KIP-1023).
 *
 * A new leader does not know at once how far the one before had committed: until it does, the end of the
 * partition is not told (OFFSET_NOT_AVAILABLE, KIP-207; LEADER_NOT_AVAILABLE before version 5). Followers, and
 * those who debug (replica id −2), may ask this node for what it has without being its leader.
 *
 * A timestamp finds the first record at or after it, exactly, also inside a compressed batch. What was
 * written before the request counts: where it is not committed yet, the answer waits until it is. Searches by
 * time are done one after another, with turns for others in between.
 *
 * Gaps: there is no tiered storage, so −5 and −6 answer −1, as Kafka does without it.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Encodable } from "../../protocol/schema.ts";
import {
  type ListOffsetsRequest,
  listOffsetsRequest,
  listOffsetsResponse,
} from "../../protocol/schemas/list_offsets.ts";
import { TooLargeError, WireError } from "../../protocol/bytes.ts";
import { type Clock, DiskError } from "../../storage/platform.ts";
import { DamagedBytes } from "../../storage/segment.ts";
import { JobCancelledError } from "../../storage/workers.ts";
import { type CommitTarget, waitForCommits } from "../partitions/delayed_commit.ts";
import { checkLeaderEpoch } from "../partitions/delayed_fetch.ts";
import type { Partition } from "../partitions/partition.ts";
import { isRefusal, type ReplicaManager } from "../partitions/replica_manager.ts";
import { type Api, defineApi } from "./api.ts";

/** Timestamps that name an offset instead. */
const SpecialTimestamp = {
  LATEST: -1,
  EARLIEST: -2,
  MAX_TIMESTAMP: -3,
  EARLIEST_LOCAL: -4,
  LATEST_TIERED: -5,
  EARLIEST_PENDING_UPLOAD: -6,
} as const;

/** The version from which a special timestamp is known. */
const FIRST_VERSION: ReadonlyMap<number, number> = new Map([
  [SpecialTimestamp.LATEST, 1],
  [SpecialTimestamp.EARLIEST, 1],
  [SpecialTimestamp.MAX_TIMESTAMP, 7],
  [SpecialTimestamp.EARLIEST_LOCAL, 8],
  [SpecialTimestamp.LATEST_TIERED, 9],
  [SpecialTimestamp.EARLIEST_PENDING_UPLOAD, 11],
]);

type Answer = Encodable<typeof listOffsetsResponse>;
type PartitionAnswer = Answer["topics"][number]["partitions"][number];
type PartitionRequest = ListOffsetsRequest["topics"][number]["partitions"][number];

interface Found {
  readonly timestamp: number;
  readonly offset: number;
  readonly leaderEpoch: number;
}

const READ_COMMITTED = 1;
/** Replica ids that are none. */
const CONSUMER = -1;
const DEBUGGING_REPLICA = -2;
const FIRST_NOT_AVAILABLE_VERSION = 5;
/** The longest that an answer waits for a commit where the request does not say. */
const COMMIT_TIMEOUT_MS = 5000;
const FIRST_EPOCH_VERSION = 4;
const NOTHING: Found = { timestamp: -1, offset: -1, leaderEpoch: -1 };

/** Searches by time that are done before others have their turn: 1 to 3 ms each. */
const SEARCHES_PER_TURN = 2;

/** Answers ListOffsets. */
export function listOffsetsApi(
  { replicaManager, clock }: { readonly replicaManager: ReplicaManager; readonly clock: Clock },
): Api {
  return defineApi({
    key: ApiKey.ListOffsets,
    request: listOffsetsRequest,
    response: listOffsetsResponse,
    versions: { lowest: 1, highest: 11 },
    handle(request, { apiVersion }) {
      const answerAll = () => new Listing(replicaManager, clock, request, apiVersion).run();
      const targets = uncommitted(replicaManager, request);
      if (targets.length === 0) return answerAll();
      const timeoutMs = request.timeoutMs > 0 ? request.timeoutMs : COMMIT_TIMEOUT_MS;
      const delayed = replicaManager.delayedFetches;
      // Where the commit failed, the answer is as of what is committed.
      return waitForCommits({ targets, delayed, timeoutMs, failed: () => {} }).then(answerAll);
    },
  });
}

/** Partitions asked for an offset near their end while something written there is not committed. */
function uncommitted(replicaManager: ReplicaManager, { topics }: ListOffsetsRequest) {
  const targets: CommitTarget[] = [];
  for (const { name, partitions } of topics) {
    for (const { partitionIndex, timestamp } of partitions) {
      const looksAtEnd = timestamp >= 0 || timestamp === SpecialTimestamp.LATEST ||
        timestamp === SpecialTimestamp.MAX_TIMESTAMP;
      const partition = replicaManager.partition(name, partitionIndex);
      if (!looksAtEnd || isRefusal(partition)) continue;
      const { endOffset } = partition.log;
      if (endOffset > partition.highWatermark) targets.push({ partition, endOffset });
    }
  }
  return targets;
}

/** Answers one request once nothing that it asks for is uncommitted. */
class Listing {
  readonly #replicaManager: ReplicaManager;
  readonly #clock: Clock;
  readonly #request: ListOffsetsRequest;
  readonly #apiVersion: number;
  /** Fill in their answers, one after another. */
  readonly #searches: (() => Promise<void>)[] = [];

  constructor(
    replicaManager: ReplicaManager,
    clock: Clock,
    request: ListOffsetsRequest,
    apiVersion: number,
  ) {
    this.#replicaManager = replicaManager;
    this.#clock = clock;
    this.#request = request;
    this.#apiVersion = apiVersion;
  }

  run(): Answer | Promise<Answer> {
    const topics = this.#request.topics.map(({ name, partitions }) => {
      const counts = new Map<number, number>();
      for (const { partitionIndex: i } of partitions) counts.set(i, (counts.get(i) ?? 0) + 1);
      return {
        name,
        partitions: partitions.map((asked) =>
          counts.get(asked.partitionIndex)! > 1
            ? refused(asked.partitionIndex, ErrorCode.INVALID_REQUEST)
            : this.#answer(name, asked)
        ),
      };
    });
    const answer = { throttleTimeMs: 0, topics };
    return this.#searches.length === 0 ? answer : this.#search().then(() => answer);
  }

  async #search(): Promise<void> {
    for (const [index, search] of this.#searches.entries()) {
      if (index > 0 && index % SEARCHES_PER_TURN === 0) await this.#clock.sleep(0);
      await search();
    }
  }

  #answer(topic: string, asked: PartitionRequest): PartitionAnswer {
    const { partitionIndex, timestamp, currentLeaderEpoch } = asked;
    if (timestamp < 0 && !(this.#apiVersion >= (FIRST_VERSION.get(timestamp) ?? Infinity))) {
      return refused(partitionIndex, ErrorCode.UNSUPPORTED_VERSION);
    }
    const partition = this.#request.replicaId === DEBUGGING_REPLICA
      ? this.#replicaManager.replica(topic, partitionIndex)
      : this.#replicaManager.partition(topic, partitionIndex);
    if (isRefusal(partition)) return refused(partitionIndex, partition.error);
    if (this.#isEndUnknown(partition, timestamp)) {
      const isKnown = this.#apiVersion >= FIRST_NOT_AVAILABLE_VERSION;
      const error = isKnown ? ErrorCode.OFFSET_NOT_AVAILABLE : ErrorCode.LEADER_NOT_AVAILABLE;
      return refused(partitionIndex, error);
    }
    const epochError = checkLeaderEpoch(partition, currentLeaderEpoch);
    if (epochError !== ErrorCode.NONE) return refused(partitionIndex, epochError);
    const known = this.#named(partition, timestamp);
    if (known !== null) return this.#found(partitionIndex, known);
    const answer = refused(partitionIndex, ErrorCode.NONE);
    this.#searches.push(async () => {
      Object.assign(answer, await this.#searched(partition, asked));
    });
    return answer;
  }

  /** To a consumer: what the leader before has told must not be taken back. */
  #isEndUnknown(partition: Partition, timestamp: number): boolean {
    const isNamed = timestamp < 0 && timestamp !== SpecialTimestamp.LATEST &&
      timestamp !== SpecialTimestamp.MAX_TIMESTAMP;
    return this.#request.replicaId === CONSUMER && !isNamed && partition.isCatchingUpWithEpoch;
  }

  #found(partitionIndex: number, { timestamp, offset, leaderEpoch }: Found): PartitionAnswer {
    return {
      partitionIndex,
      errorCode: ErrorCode.NONE,
      timestamp,
      offset,
      leaderEpoch: this.#apiVersion >= FIRST_EPOCH_VERSION ? leaderEpoch : -1,
    };
  }

  /** The first offset that is not for this reader. */
  #end({ log, highWatermark, lastStableOffset }: Partition): number {
    const { replicaId, isolationLevel } = this.#request;
    if (replicaId !== CONSUMER) return log.endOffset;
    return isolationLevel === READ_COMMITTED ? lastStableOffset : highWatermark;
  }

  /** What is known without a search; null for the rest. */
  #named(partition: Partition, timestamp: number): Found | null {
    const { log, leaderEpoch } = partition;
    switch (timestamp) {
      case SpecialTimestamp.LATEST:
        return { timestamp: -1, offset: this.#end(partition), leaderEpoch };
      case SpecialTimestamp.EARLIEST:
      case SpecialTimestamp.EARLIEST_LOCAL:
        return {
          timestamp: -1,
          offset: log.logStartOffset,
          leaderEpoch: log.leaderEpochs.epochForOffset(log.logStartOffset),
        };
      case SpecialTimestamp.LATEST_TIERED:
      case SpecialTimestamp.EARLIEST_PENDING_UPLOAD:
        return NOTHING;
    }
    return null;
  }

  async #searched(
    partition: Partition,
    { partitionIndex, timestamp }: PartitionRequest,
  ): Promise<PartitionAnswer> {
    // As of the request: what comes meanwhile is for the next one.
    const end = this.#end(partition);
    try {
      const found = timestamp === SpecialTimestamp.MAX_TIMESTAMP
        ? await partition.log.maxTimestampOffset()
        : await partition.log.offsetForTimestamp(timestamp);
      if (found === null || found.offset >= end) return this.#found(partitionIndex, NOTHING);
      const { timestampMs, offset, leaderEpoch } = found;
      return this.#found(partitionIndex, { timestamp: timestampMs, offset, leaderEpoch });
    } catch (failure) {
      return refused(partitionIndex, errorOf(failure));
    }
  }
}

function errorOf(failure: unknown): ErrorCode {
  if (failure instanceof DamagedBytes) return ErrorCode.CORRUPT_MESSAGE;
  if (failure instanceof DiskError) return ErrorCode.KAFKA_STORAGE_ERROR;
  // A batch that is past the topic's bounds of decompression, in Kafka's words.
  if (failure instanceof TooLargeError) return ErrorCode.INVALID_RECORD;
  if (failure instanceof WireError) return ErrorCode.CORRUPT_MESSAGE;
  if (failure instanceof JobCancelledError) return ErrorCode.NOT_LEADER_OR_FOLLOWER;
  throw failure;
}

function refused(partitionIndex: number, errorCode: ErrorCode): PartitionAnswer {
  return { partitionIndex, errorCode, ...NOTHING };
}
