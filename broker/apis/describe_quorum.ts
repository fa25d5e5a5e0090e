/**
 * DescribeQuorum (key 55), versions 0–2: leader, voters and observers of the metadata log (KIP-595).
 *
 * - v1: when each replica last fetched, and last had everything (KIP-836). v2: directories, endpoints, messages
 *   (KIP-853).
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  describeQuorumRequest,
  describeQuorumResponse,
} from "../../protocol/schemas/describe_quorum.ts";
import { METADATA_TOPIC, type QuorumReplica } from "../controller/quorum.ts";
import { type Api, defineApi } from "./api.ts";
import {
  METADATA_PARTITION,
  onlyPartition,
  type QuorumSubsystems,
} from "../controller/quorum_answers.ts";

/** Where voters are reached, and the directory of each (KIP-853). */
const DIRECTORIES_FROM = 2;

/** Answers DescribeQuorum. */
export function describeQuorumApi({ controller }: Pick<QuorumSubsystems, "controller">): Api {
  return defineApi({
    key: ApiKey.DescribeQuorum,
    request: describeQuorumRequest,
    response: describeQuorumResponse,
    versions: { lowest: 0, highest: 2 },
    isForwarded: true,
    handle({ topics }, { apiVersion }) {
      const isKnown = onlyPartition(topics) !== null;
      const described = isKnown ? controller.quorum.describe() : null;
      if (described === null) {
        const errorCode = isKnown
          ? ErrorCode.NOT_LEADER_OR_FOLLOWER
          : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
        const refused = topics.map(({ topicName, partitions }) => ({
          topicName,
          partitions: partitions.map(({ partitionIndex }) => refusal(partitionIndex, errorCode)),
        }));
        return { errorCode: ErrorCode.NONE, errorMessage: null, topics: refused };
      }
      const partition = {
        partitionIndex: METADATA_PARTITION,
        errorCode: ErrorCode.NONE,
        errorMessage: null,
        leaderId: described.leaderId,
        leaderEpoch: described.leaderEpoch,
        highWatermark: described.highWatermark,
        currentVoters: described.voters.map((replica) => replicaAnswer(replica, apiVersion)),
        observers: described.observers.map((replica) => replicaAnswer(replica, apiVersion)),
      };
      return {
        errorCode: ErrorCode.NONE,
        errorMessage: null,
        topics: [{ topicName: METADATA_TOPIC, partitions: [partition] }],
        // The versions before cannot say it.
        ...(apiVersion >= DIRECTORIES_FROM && {
          nodes: described.nodes.map(({ id, endpoints }) => ({ nodeId: id, listeners: endpoints })),
        }),
      };
    },
  });
}

function refusal(partitionIndex: number, errorCode: ErrorCode) {
  return {
    partitionIndex,
    errorCode,
    errorMessage: null,
    leaderId: 0,
    leaderEpoch: 0,
    highWatermark: 0,
    currentVoters: [],
    observers: [],
  };
}

function replicaAnswer(
  { key, endOffset, lastFetchMs, lastCaughtUpMs }: QuorumReplica,
  apiVersion: number,
) {
  return {
    replicaId: key.id,
    ...(apiVersion >= DIRECTORIES_FROM && { replicaDirectoryId: key.directoryId }),
    logEndOffset: endOffset,
    lastFetchTimestamp: lastFetchMs,
    lastCaughtUpTimestamp: lastCaughtUpMs,
  };
}
