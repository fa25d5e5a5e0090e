/**
 * Fetch (key 1), versions 4–18: reads record batches.
 *
 * 4 transactions (KIP-98) · 5 log start offset (KIP-107) · 7 sessions (KIP-227) · 9 leader epochs
 * (KIP-320) · 11 racks (KIP-392) · 12 flexible, diverging epochs (KIP-595) · 13 topics by id (KIP-516) ·
 * 15 the replica's state (KIP-903) · 16 node endpoints (KIP-951) · 17 directory ids (KIP-853) ·
 * 18 the replica's high watermark (KIP-1166).
 *
 * A fetch in the middle of a batch gives the whole batch. The first batch found is given whole even past
 * `maxBytes`, or a large record would stop its reader for ever.
 *
 * A follower's fetch says what it has on stable storage, and reads what is not committed too. A consumer
 * that names its rack may read from a follower, up to what that knows to be committed (OFFSET_NOT_AVAILABLE past it);
 * Kafka does not ask for the rack. Others are told who leads.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Encodable } from "../../protocol/schema.ts";
import { type FetchRequest, fetchRequest, fetchResponse } from "../../protocol/schemas/fetch.ts";
import {
  DelayedFetch,
  type FetchedPartition,
  type FetchingReplica,
  type FetchOptions,
  type FetchResult,
  startFetch,
  stateOf,
} from "../partitions/delayed_fetch.ts";
import type { FetchContext, FetchPartition, FetchSessions } from "../partitions/fetch_session.ts";
import type { Controller } from "../controller/controller.ts";
import type { PartitionImage } from "../controller/metadata_image.ts";
import { RACK_AWARE_SELECTOR, rackAwareReplica } from "../partitions/read_replica.ts";
import type { ReplicaManager } from "../partitions/replica_manager.ts";
import { type Api, defineApi, type RequestContext } from "./api.ts";

type Answer = Encodable<typeof fetchResponse>;
type TopicAnswer = Answer["responses"][number];
type PartitionAnswer = TopicAnswer["partitions"][number];

const FIRST_TOPIC_ID_VERSION = 13;
const FIRST_LEADER_VERSION = 16;
const READ_COMMITTED = 1;
/** A fetch that waits; the server counts the bytes of an answer itself, once they are encoded. */
const FETCH_COST_BYTES = 4 * 1024;

/** Slow readers hold their answers; past this, others get small ones, and memory stays where it is. */
const MAX_LENT_BYTES = 64 * 1024 * 1024;

/** What the handler works with. */
export interface FetchSubsystems {
  readonly replicaManager: ReplicaManager;
  readonly fetchSessions: FetchSessions;
  readonly nodeId: number;
  readonly controller: Pick<Controller, "image">;
  /** Kafka's `replica.selector.class`; null to read from leaders only. */
  readonly replicaSelector: () => string | null;
  /** Kafka's `fetch.max.bytes`: the largest answer. */
  readonly fetchMaxBytes: () => number;
  /** Bytes that the answers of all connections may hold until they have left. */
  readonly maxLentBytes?: number;
}

/** Answers Fetch. */
export function fetchApi(subsystems: FetchSubsystems): Api {
  return defineApi({
    key: ApiKey.Fetch,
    request: fetchRequest,
    response: fetchResponse,
    versions: { lowest: 4, highest: 18 },
    cost: (frameBytes) => 8 * frameBytes + FETCH_COST_BYTES,
    handle: (request, context) => handle(subsystems, request, context),
  });
}

function handle(
  subsystems: FetchSubsystems,
  request: FetchRequest,
  context: RequestContext,
): Answer | Promise<Answer> {
  const { replicaManager, fetchSessions, maxLentBytes = MAX_LENT_BYTES } = subsystems;
  const usesTopicIds = context.apiVersion >= FIRST_TOPIC_ID_VERSION;
  const replica = replicaOf(request);
  const session = fetchSessions.open({
    sessionId: request.sessionId,
    sessionEpoch: request.sessionEpoch,
    usesTopicIds,
    isFollower: replica !== null,
    partitions: partitionsOf(request),
    forgotten: request.forgottenTopicsData.flatMap(({ topic, topicId, partitions }) =>
      partitions.map((partition) => ({ topic, topicId, partition }))
    ),
  });
  if (session.error !== ErrorCode.NONE) {
    return { throttleTimeMs: 0, errorCode: session.error, sessionId: 0, responses: [] };
  }
  const isLeaderOnly = replica !== null || request.rackId === "";
  const fetch = startFetch({
    session,
    maxBytes: Math.min(request.maxBytes, subsystems.fetchMaxBytes(), context.answerRoomBytes),
    minBytes: request.minBytes,
    maxWaitMs: request.maxWaitMs,
    isReadCommitted: request.isolationLevel === READ_COMMITTED,
    roomBytes: () => maxLentBytes - replicaManager.logDirectories.buffers.lentBytes,
    replica,
    preferredReadReplica: readReplicas(subsystems, request.rackId),
    find: ({ topic, topicId, partition }) => {
      if (usesTopicIds) {
        return isLeaderOnly
          ? replicaManager.partitionById(topicId, partition)
          : replicaManager.replicaById(topicId, partition);
      }
      return isLeaderOnly
        ? replicaManager.partition(topic, partition)
        : replicaManager.replica(topic, partition);
    },
  }, replicaManager.delayedFetches);
  const answerOf = (result: FetchResult) => {
    count(replicaManager, result, { isConsumer: replica === null });
    return toAnswer(replicaManager, session, result, context);
  };
  if (!(fetch instanceof DelayedFetch)) return answerOf(fetch);
  session.wait(fetch);
  return new Promise((resolve) => {
    const stopListening = context.closed.onAbort(() => {
      fetch.cancel();
      resolve({ throttleTimeMs: 0, responses: [] });
    });
    fetch.start((result) => {
      stopListening();
      resolve(answerOf(result));
    });
  });
}

/** The follower that fetches; null for a consumer. */
function replicaOf({ replicaId, replicaState }: FetchRequest): FetchingReplica | null {
  if (replicaState.replicaId >= 0) {
    return { id: replicaState.replicaId, brokerEpoch: replicaState.replicaEpoch };
  }
  return replicaId >= 0 ? { id: replicaId, brokerEpoch: -1 } : null;
}

function readReplicas(
  { nodeId, controller, replicaSelector }: FetchSubsystems,
  rackId: string,
): FetchOptions["preferredReadReplica"] {
  if (rackId === "" || replicaSelector() !== RACK_AWARE_SELECTOR) return () => -1;
  const { brokers } = controller.image();
  return (partition, fetchOffset) =>
    rackAwareReplica(partition, { rackId, nodeId, brokers, fetchOffset });
}

function partitionsOf({ topics }: FetchRequest): FetchPartition[] {
  const list: FetchPartition[] = [];
  for (const { topic, topicId, partitions } of topics) {
    for (const partition of partitions) {
      list.push({
        topic,
        topicId,
        partition: partition.partition,
        fetchOffset: partition.fetchOffset,
        maxBytes: partition.partitionMaxBytes,
        currentLeaderEpoch: partition.currentLeaderEpoch,
        lastFetchedEpoch: partition.lastFetchedEpoch,
        logStartOffset: partition.logStartOffset,
      });
    }
  }
  return list;
}

/** Counts what is answered: records to consumers, and errors to all. */
function count(
  { partitionErrors }: ReplicaManager,
  { partitions }: FetchResult,
  { isConsumer }: { readonly isConsumer: boolean },
): void {
  for (const { error, records, traffic } of partitions) {
    if (error !== ErrorCode.NONE) partitionErrors.note("Fetch", error);
    else if (isConsumer) traffic?.noteRead(records.length);
  }
}

function toAnswer(
  replicaManager: ReplicaManager,
  session: FetchContext,
  result: FetchResult,
  context: RequestContext,
): Answer {
  const tellsLeaders = context.apiVersion >= FIRST_LEADER_VERSION;
  let leaders: PartitionImage[] | null = null;
  context.onSent(() => result.release());
  const responses: {
    topic: string;
    topicId: TopicAnswer["topicId"];
    partitions: PartitionAnswer[];
  }[] = [];
  for (const found of result.partitions) {
    if (!session.include(found.fetch, stateOf(found))) continue;
    if (tellsLeaders && found.leader !== null) (leaders ??= []).push(found.leader);
    const answer = partitionAnswer(found, tellsLeaders);
    const { topic, topicId } = found.fetch;
    const last = responses.at(-1);
    const isSame = last !== undefined && last.topic === topic && last.topicId === topicId;
    if (isSame) last.partitions.push(answer);
    else responses.push({ topic, topicId, partitions: [answer] });
  }
  return {
    throttleTimeMs: 0,
    errorCode: ErrorCode.NONE,
    sessionId: session.sessionId,
    responses,
    ...(leaders !== null && {
      nodeEndpoints: replicaManager.leaderEndpoints(leaders, context.connection),
    }),
  };
}

function partitionAnswer(found: FetchedPartition, tellsLeader: boolean): PartitionAnswer {
  const answer: PartitionAnswer = {
    partitionIndex: found.fetch.partition,
    errorCode: found.error,
    highWatermark: found.highWatermark,
    lastStableOffset: found.lastStableOffset,
    logStartOffset: found.logStartOffset,
    abortedTransactions: found.abortedTransactions,
    records: found.records,
    preferredReadReplica: found.preferredReadReplica,
  };
  const leader = tellsLeader ? found.leader : null;
  if (found.diverging === null && leader === null) return answer;
  return {
    ...answer,
    ...(found.diverging !== null && { divergingEpoch: found.diverging }),
    ...(leader !== null && {
      currentLeader: { leaderId: leader.leader, leaderEpoch: leader.leaderEpoch },
    }),
  };
}
