/**
 * ListOffsets (key 2), versions 1–11: offsets by timestamp, and the special ones.
 *
 * 1 one offset a partition · 2 isolation level · 4 leader epochs (KIP-320) · 6 flexible · 7 the largest
 * timestamp (−3, KIP-734) · 8 the earliest local offset (−4, KIP-405) · 9 the last tiered offset (−5,
 * KIP-1005) · 10 a timeout for remote reads (KIP-1075) · 11 the earliest offset that waits for its upload
 * (−6, KIP-1023).
 *
 * A timestamp finds the first record at or after it, exactly, also inside a compressed batch. What was
 * written before the request counts: where it is not committed yet, the answer waits until it is.
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
import { DiskError } from "../../storage/platform.ts";
import { WireError } from "../../protocol/bytes.ts";
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
/** The longest that an answer waits for a commit where the request does not say. */
const COMMIT_TIMEOUT_MS = 5000;
const FIRST_EPOCH_VERSION = 4;
const NOTHING: Found = { timestamp: -1, offset: -1, leaderEpoch: -1 };

/** Answers ListOffsets. */
export function listOffsetsApi(
  { replicaManager }: { readonly replicaManager: ReplicaManager },
): Api {
  return defineApi({
    key: ApiKey.ListOffsets,
    request: listOffsetsRequest,
    response: listOffsetsResponse,
    versions: { lowest: 1, highest: 11 },
    handle(request, { apiVersion }) {
      const targets = uncommitted(replicaManager, request);
      if (targets.length === 0) return answerAll(replicaManager, request, apiVersion);
      const timeoutMs = request.timeoutMs > 0 ? request.timeoutMs : COMMIT_TIMEOUT_MS;
      const delayed = replicaManager.delayedFetches;
      // Where the commit failed, the answer is as of what is committed.
      return waitForCommits({ targets, delayed, timeoutMs, failed: () => {} })
        .then(() => answerAll(replicaManager, request, apiVersion));
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

function answerAll(
  replicaManager: ReplicaManager,
  { topics, isolationLevel, replicaId }: ListOffsetsRequest,
  apiVersion: number,
): Answer {
  const reader = {
    isReadCommitted: isolationLevel === READ_COMMITTED,
    isReplica: replicaId >= 0,
    hasEpochs: apiVersion >= FIRST_EPOCH_VERSION,
  };
  return {
    throttleTimeMs: 0,
    topics: topics.map(({ name, partitions }) => {
      const counts = new Map<number, number>();
      for (const { partitionIndex: i } of partitions) counts.set(i, (counts.get(i) ?? 0) + 1);
      return {
        name,
        partitions: partitions.map((request) => {
          const { partitionIndex, timestamp } = request;
          if (counts.get(partitionIndex)! > 1) {
            return refused(partitionIndex, ErrorCode.INVALID_REQUEST);
          }
          if (timestamp < 0 && !(apiVersion >= (FIRST_VERSION.get(timestamp) ?? Infinity))) {
            return refused(partitionIndex, ErrorCode.UNSUPPORTED_VERSION);
          }
          const partition = replicaManager.partition(name, partitionIndex);
          if (isRefusal(partition)) return refused(partitionIndex, partition.error);
          return answer(partition, request, reader);
        }),
      };
    }),
  };
}

interface OffsetReader {
  readonly isReadCommitted: boolean;
  readonly isReplica: boolean;
  readonly hasEpochs: boolean;
}

function answer(
  partition: Partition,
  { partitionIndex, timestamp, currentLeaderEpoch }: PartitionRequest,
  reader: OffsetReader,
): PartitionAnswer {
  const epochError = checkLeaderEpoch(partition, currentLeaderEpoch);
  if (epochError !== ErrorCode.NONE) return refused(partitionIndex, epochError);
  try {
    const found = find(partition, timestamp, reader);
    const leaderEpoch = reader.hasEpochs ? found.leaderEpoch : -1;
    return { partitionIndex, errorCode: ErrorCode.NONE, ...found, leaderEpoch };
  } catch (failure) {
    if (failure instanceof DiskError) return refused(partitionIndex, ErrorCode.KAFKA_STORAGE_ERROR);
    if (failure instanceof WireError) return refused(partitionIndex, ErrorCode.CORRUPT_MESSAGE);
    throw failure;
  }
}

function find(
  partition: Partition,
  timestamp: number,
  { isReadCommitted, isReplica }: OffsetReader,
): Found {
  const { log, highWatermark, lastStableOffset, leaderEpoch } = partition;
  const end = isReplica ? log.endOffset : isReadCommitted ? lastStableOffset : highWatermark;
  switch (timestamp) {
    case SpecialTimestamp.LATEST:
      return { timestamp: -1, offset: end, leaderEpoch };
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
  const found = timestamp === SpecialTimestamp.MAX_TIMESTAMP
    ? log.maxTimestampOffset()
    : log.offsetForTimestamp(timestamp);
  if (found === null || found.offset >= end) return NOTHING;
  return { timestamp: found.timestampMs, offset: found.offset, leaderEpoch: found.leaderEpoch };
}

function refused(partitionIndex: number, errorCode: ErrorCode): PartitionAnswer {
  return { partitionIndex, errorCode, ...NOTHING };
}
