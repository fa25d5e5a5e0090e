/**
 * Fetch (key 1), versions 12–18, on a controller's listener: replicas of the metadata log pull what follows
 * (KIP-595).
 *
 * - v13: topics by id. v15: the replica's state (KIP-903). v16: where the leader is. v17: the replica's directory
 *   (KIP-853). v18: the high watermark that the replica knows (KIP-1166).
 *
 * A replica's offset says that it has all before it on stable storage. It is told where its log parts from the
 * leader's, or which snapshot to fetch, in place of records.
 *
 * Gaps: no sessions, and no other topic, as in Kafka.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { INT64_MAX } from "../../protocol/bytes.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { type FetchRequest, fetchRequest, fetchResponse } from "../../protocol/schemas/fetch.ts";
import { METADATA_TOPIC_ID, type Uuid } from "../../protocol/types.ts";
import { METADATA_TOPIC } from "../controller/quorum.ts";
import type { FetchReply } from "../controller/raft_messages.ts";
import { type Api, defineApi } from "./api.ts";
import {
  leaderNodes,
  METADATA_PARTITION,
  type QuorumSubsystems,
  refuseCluster,
} from "../controller/quorum_answers.ts";

const TOPIC_IDS_FROM = 13;
const REPLICA_STATE_FROM = 15;
/** A fetch that waits; the server counts the bytes of an answer itself. */
const FETCH_COST_BYTES = 4 * 1024;

/** Answers Fetch of replicas of the metadata log. */
export function quorumFetchApi(subsystems: QuorumSubsystems): Api {
  return defineApi({
    key: ApiKey.Fetch,
    request: fetchRequest,
    response: fetchResponse,
    versions: { lowest: 12, highest: 18 },
    cost: (frameBytes) => 8 * frameBytes + FETCH_COST_BYTES,
    async handle(request, { apiVersion }) {
      const errorCode = refuseCluster(subsystems, request.clusterId);
      const partition = askedPartition(request, apiVersion);
      if (errorCode !== ErrorCode.NONE || partition === null) {
        return {
          errorCode: errorCode || ErrorCode.INVALID_REQUEST,
          responses: [],
          throttleTimeMs: 0,
        };
      }
      const { highWatermark } = partition;
      const id = apiVersion >= REPLICA_STATE_FROM
        ? request.replicaState.replicaId
        : request.replicaId;
      const reply = await subsystems.controller.quorum.handle({
        kind: "fetch",
        replica: { id, directoryId: partition.replicaDirectoryId as Uuid },
        currentLeaderEpoch: partition.currentLeaderEpoch,
        last: { offset: partition.fetchOffset, epoch: partition.lastFetchedEpoch },
        highWatermark: highWatermark === INT64_MAX ? Infinity : Number(highWatermark),
        maxWaitMs: request.maxWaitMs,
        maxBytes: Math.min(request.maxBytes, partition.partitionMaxBytes),
      });
      return answerOf(reply);
    },
  });
}

function askedPartition({ topics }: FetchRequest, apiVersion: number) {
  const [topic] = topics;
  if (topics.length !== 1 || topic!.partitions.length !== 1) return null;
  const isMetadata = apiVersion >= TOPIC_IDS_FROM
    ? topic!.topicId === METADATA_TOPIC_ID
    : topic!.topic === METADATA_TOPIC;
  const [partition] = topic!.partitions;
  return isMetadata && partition!.partition === METADATA_PARTITION ? partition! : null;
}

function answerOf(reply: FetchReply) {
  const { error, leaderId, leaderEpoch, diverging, snapshotId } = reply;
  return {
    throttleTimeMs: 0,
    errorCode: ErrorCode.NONE,
    responses: [{
      topic: METADATA_TOPIC,
      topicId: METADATA_TOPIC_ID,
      partitions: [{
        partitionIndex: METADATA_PARTITION,
        errorCode: error,
        highWatermark: reply.highWatermark,
        lastStableOffset: reply.highWatermark,
        logStartOffset: reply.logStartOffset,
        currentLeader: { leaderId, leaderEpoch },
        ...(diverging && {
          divergingEpoch: { epoch: diverging.epoch, endOffset: diverging.offset },
        }),
        ...(snapshotId &&
          { snapshotId: { endOffset: snapshotId.offset, epoch: snapshotId.epoch } }),
        abortedTransactions: null,
        records: reply.records,
      }],
    }],
    nodeEndpoints: leaderNodes(reply).map((node) => ({ ...node, rack: null })),
  };
}
