/**
 * ElectLeaders (key 43), versions 0–2: gives partitions back to their first replica, or a leader at any price
 * to those that have none (KIP-183, KIP-460).
 *
 * - v1: the type of the election, and an error of the request as a whole. v2: flexible.
 *
 * Without partitions it is all of them, and those that need no election are not in the answer.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  type ElectLeadersRequest,
  electLeadersRequest,
  electLeadersResponse,
} from "../../protocol/schemas/elect_leaders.ts";
import type { Controller } from "../controller/controller.ts";
import type { ElectionResult, ElectionType } from "../controller/leader_election.ts";
import { type Api, defineApi } from "./api.ts";

/** By Kafka's number of each. */
const electionTypes: readonly ElectionType[] = ["preferred", "unclean"];

/** Answers ElectLeaders. */
export function electLeadersApi({ controller }: { readonly controller: Controller }): Api {
  return defineApi({
    key: ApiKey.ElectLeaders,
    request: electLeadersRequest,
    response: electLeadersResponse,
    versions: { lowest: 0, highest: 2 },
    isForwarded: true,
    async handle({ electionType, topicPartitions }) {
      const type = electionTypes[electionType];
      if (type === undefined) return refuseAll(topicPartitions);
      const results = await controller.electLeaders(type, topicPartitions);
      return {
        throttleTimeMs: 0,
        errorCode: ErrorCode.NONE,
        replicaElectionResults: topicPartitions === null
          ? byTopic(results)
          : asAsked(topicPartitions, results),
      };
    },
  });
}

function refuseAll(topicPartitions: ElectLeadersRequest["topicPartitions"]) {
  const errorCode = ErrorCode.INVALID_REQUEST;
  const errorMessage = "Unknown election type";
  return {
    throttleTimeMs: 0,
    errorCode,
    replicaElectionResults: (topicPartitions ?? []).map(({ topic, partitions }) => ({
      topic,
      partitionResult: partitions.map((partitionId) => ({ partitionId, errorCode, errorMessage })),
    })),
  };
}

/** The results in the shape of the request, a topic without partitions among them. */
function asAsked(
  topicPartitions: NonNullable<ElectLeadersRequest["topicPartitions"]>,
  results: readonly ElectionResult[],
) {
  const inOrder = results.values();
  return topicPartitions.map(({ topic, partitions }) => ({
    topic,
    partitionResult: partitions.map(() => partitionAnswer(inOrder.next().value!)),
  }));
}

function byTopic(results: readonly ElectionResult[]) {
  return [...Map.groupBy(results, ({ topic }) => topic)].map(([topic, ofTopic]) => (
    { topic, partitionResult: ofTopic.map(partitionAnswer) }
  ));
}

function partitionAnswer({ partition, error, message }: ElectionResult) {
  return { partitionId: partition, errorCode: error, errorMessage: message };
}
