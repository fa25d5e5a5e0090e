/**
 * Reads partitions from their leaders: what one Fetch asks, and what its answer means for whoever reads.
 *
 * Topics are named by their ids, so that a reader never goes on with a topic that was deleted and made anew; the epoch
 * of what was read last goes along, so that a leader that has lost it says so (KIP-320).
 */

import { WireError } from "../../../protocol/bytes.ts";
import { ApiKey } from "../../../protocol/api_keys.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import type { KafkaRecord } from "../../../protocol/records.ts";
import {
  fetchRequest,
  type FetchResponse,
  fetchResponse,
} from "../../../protocol/schemas/fetch.ts";
import type { Uuid } from "../../../protocol/types.ts";
import { readFetched } from "../../client/fetched_records.ts";
import { type KafkaClient, throwOnError } from "../../client/kafka_client.ts";
import { call } from "../../peers/call.ts";

/** How long a broker may take beyond the wait that was asked for. */
const ANSWER_MS = 10_000;
/** The versions that name topics by id. */
const fetchById = call(ApiKey.Fetch, fetchRequest, fetchResponse, { lowest: 13, highest: 17 });

/** What is read of one partition. */
export interface PartitionRead {
  readonly topicId: Uuid;
  readonly partition: number;
  /** First offset wanted. */
  readonly position: number;
  /** Epoch of the record before it; −1 where it is not known. */
  readonly leaderEpoch: number;
  /** Epoch in which its leader is taken to lead: one that does not, or does not know it yet, says nothing else. */
  readonly currentLeaderEpoch: number;
}

/** How it is read. */
export interface ReadOptions {
  readonly leaderId: number;
  readonly channel: string;
  readonly readCommitted: boolean;
  readonly maxWaitMs: number;
  readonly maxBytes: number;
  readonly partitionMaxBytes: number;
}

type FetchedPartition = FetchResponse["responses"][number]["partitions"][number];

/** What an answer says of one partition. */
export type ReadOutcome =
  | {
    readonly kind: "records";
    readonly records: readonly KafkaRecord[];
    readonly nextOffset: number;
    readonly leaderEpoch: number;
    /** There was no more to read. */
    readonly isAtEnd: boolean;
  }
  /** The leader has not what was read: its log parts from it at `endOffset`. */
  | { readonly kind: "diverged"; readonly endOffset: number; readonly epoch: number }
  | { readonly kind: "outOfRange" }
  /** Another broker may know more, or this one later. */
  | { readonly kind: "elsewhere" }
  | { readonly kind: "damaged" };

/** One Fetch for many partitions. Errors: rejects with KafkaError, NetworkError or WireError. */
export async function readPartitions(
  client: KafkaClient,
  reads: readonly PartitionRead[],
  options: ReadOptions,
): Promise<Map<PartitionRead, ReadOutcome>> {
  const { leaderId, channel, readCommitted, maxWaitMs, maxBytes, partitionMaxBytes } = options;
  const connection = await client.broker(leaderId, channel);
  const byTopic = Map.groupBy(reads, ({ topicId }) => topicId);
  const answer = await connection.request(fetchById, {
    maxWaitMs,
    minBytes: 1,
    maxBytes,
    isolationLevel: readCommitted ? 1 : 0,
    topics: [...byTopic].map(([topicId, wanted]) => ({
      topicId,
      partitions: wanted.map(({ partition, position, leaderEpoch, currentLeaderEpoch }) => ({
        partition,
        currentLeaderEpoch,
        fetchOffset: position,
        lastFetchedEpoch: leaderEpoch,
        partitionMaxBytes,
      })),
    })),
    forgottenTopicsData: [],
  }, { timeoutMs: maxWaitMs + ANSWER_MS });
  throwOnError(answer.errorCode);
  const outcomes = new Map<PartitionRead, ReadOutcome>();
  for (const { topicId, partitions } of answer.responses) {
    const wanted = byTopic.get(topicId) ?? [];
    const byNumber = new Map(wanted.map((read) => [read.partition, read]));
    for (const fetched of partitions) {
      const read = byNumber.get(fetched.partitionIndex);
      if (read !== undefined) outcomes.set(read, outcomeOf(fetched, read.position, readCommitted));
    }
  }
  return outcomes;
}

function outcomeOf(
  fetched: FetchedPartition,
  position: number,
  readCommitted: boolean,
): ReadOutcome {
  const { errorCode, divergingEpoch, records: bytes, lastStableOffset, highWatermark } = fetched;
  if (errorCode === ErrorCode.OFFSET_OUT_OF_RANGE) return { kind: "outOfRange" };
  if (errorCode === ErrorCode.CORRUPT_MESSAGE) return { kind: "damaged" };
  if (errorCode !== ErrorCode.NONE) return { kind: "elsewhere" };
  if (divergingEpoch.epoch >= 0) {
    const { epoch, endOffset } = divergingEpoch;
    return { kind: "diverged", epoch, endOffset: Math.min(endOffset, position) };
  }
  const endOffset = readCommitted ? lastStableOffset : highWatermark;
  if (bytes === null || bytes.length === 0) {
    const isAtEnd = position >= endOffset;
    return { kind: "records", records: [], nextOffset: position, leaderEpoch: -1, isAtEnd };
  }
  try {
    const abortedTransactions = readCommitted ? fetched.abortedTransactions ?? [] : null;
    const read = readFetched(bytes, { position, abortedTransactions });
    const { records, nextOffset, leaderEpoch, isDamaged } = read;
    // What came before the damage is given out first.
    if (isDamaged && nextOffset === position) return { kind: "damaged" };
    const isAtEnd = nextOffset >= endOffset;
    return { kind: "records", records, nextOffset, leaderEpoch, isAtEnd };
  } catch (error) {
    if (error instanceof WireError) return { kind: "damaged" };
    throw error;
  }
}
