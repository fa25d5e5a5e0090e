/**
 * ConsumerGroupHeartbeat (key 68), versions 0–1: a member of a consumer group joins, stays, or leaves, and learns
 * its assignment (KIP-848).
 *
 * - v1: subscription by a regular expression, resolved by the broker; the member makes its own id (KIP-1082).
 *
 * The answer waits until what it tells is committed to `__consumer_offsets`.
 *
 * Gaps: the assignors prefer members in the racks of replicas, at which those of Kafka's coordinator do not look.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Encodable } from "../../protocol/schema.ts";
import {
  type ConsumerGroupHeartbeatRequest,
  consumerGroupHeartbeatRequest,
  consumerGroupHeartbeatResponse,
} from "../../protocol/schemas/consumer_group_heartbeat.ts";
import type { Config } from "../config/config.ts";
import type { Controller } from "../controller/controller.ts";
import { GROUP_VERSION_FEATURE } from "../controller/feature_changes.ts";
import {
  type ConsumerGroupRefusal,
  type ConsumerHeartbeatAnswer,
  JOIN_EPOCH,
  LEAVE_EPOCH,
  LEAVE_STATIC_EPOCH,
} from "../groups/consumer_group.ts";
import { decodePartitions } from "../groups/consumer_group_records.ts";
import type { GroupCoordinator } from "../groups/coordinator.ts";
import { type Api, defineApi } from "./api.ts";

const OWN_MEMBER_ID_VERSION = 1;

interface Subsystems {
  readonly config: Config;
  readonly controller: Controller;
  readonly groupCoordinator: GroupCoordinator;
}

/** Answers ConsumerGroupHeartbeat. */
export function consumerGroupHeartbeatApi(
  { config, controller, groupCoordinator }: Subsystems,
): Api {
  return defineApi({
    key: ApiKey.ConsumerGroupHeartbeat,
    request: consumerGroupHeartbeatRequest,
    response: consumerGroupHeartbeatResponse,
    versions: { lowest: 0, highest: 1 },
    handle(request, { apiVersion, clientId, connection }) {
      if ((controller.image().features.get(GROUP_VERSION_FEATURE) ?? 0) < 1) {
        return encodable({ error: ErrorCode.UNSUPPORTED_VERSION, message: "" });
      }
      const problem = problemOf(request, apiVersion);
      if (problem !== null) {
        return encodable({ error: ErrorCode.INVALID_REQUEST, message: problem });
      }
      if (request.serverAssignor !== null) {
        const assignors = config.list("group.consumer.assignors");
        if (!assignors.includes(request.serverAssignor)) {
          const message = `ServerAssignor ${request.serverAssignor} is not supported. ` +
            `Supported assignors: ${assignors.join(", ")}.`;
          return encodable({ error: ErrorCode.UNSUPPORTED_ASSIGNOR, message });
        }
      }
      const { topicPartitions, groupId, ...rest } = request;
      const answer = groupCoordinator.consumerGroupHeartbeat(groupId, {
        ...rest,
        clientId: clientId ?? "",
        clientHost: `/${connection.remoteAddress}`,
        owned: topicPartitions && decodePartitions(topicPartitions),
      });
      return answer instanceof Promise ? answer.then(encodable) : encodable(answer);
    },
  });
}

/** What is wrong with a request, in Kafka's words and its order; null when it is fine. */
function problemOf(request: ConsumerGroupHeartbeatRequest, apiVersion: number): string | null {
  const { memberEpoch } = request;
  const needsMemberId = apiVersion >= OWN_MEMBER_ID_VERSION || memberEpoch > JOIN_EPOCH ||
    memberEpoch === LEAVE_EPOCH;
  if (needsMemberId && isBlank(request.memberId)) return "MemberId can't be empty.";
  if (isBlank(request.groupId)) return "GroupId can't be empty.";
  if (request.instanceId !== null && isBlank(request.instanceId)) {
    return "InstanceId can't be empty.";
  }
  if (request.rackId !== null && isBlank(request.rackId)) return "RackId can't be empty.";
  if (memberEpoch === JOIN_EPOCH) return problemOfJoin(request);
  if (memberEpoch === LEAVE_STATIC_EPOCH && request.instanceId === null) {
    return "InstanceId can't be null.";
  }
  return memberEpoch < LEAVE_STATIC_EPOCH ? "MemberEpoch is invalid." : null;
}

function problemOfJoin(request: ConsumerGroupHeartbeatRequest): string | null {
  if (request.rebalanceTimeoutMs === -1) {
    return "RebalanceTimeoutMs must be provided in first request.";
  }
  if (request.topicPartitions === null || request.topicPartitions.length > 0) {
    return "TopicPartitions must be empty when (re-)joining.";
  }
  return request.subscribedTopicNames === null && request.subscribedTopicRegex === null
    ? "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."
    : null;
}

function isBlank(text: string): boolean {
  return text.trim() === "";
}

function encodable(
  answer: ConsumerHeartbeatAnswer | ConsumerGroupRefusal,
): Encodable<typeof consumerGroupHeartbeatResponse> {
  if ("error" in answer) {
    return {
      throttleTimeMs: 0,
      errorCode: answer.error,
      errorMessage: answer.message === "" ? null : answer.message,
      memberEpoch: 0,
      heartbeatIntervalMs: 0,
    };
  }
  const { memberId, memberEpoch, heartbeatIntervalMs, assignment } = answer;
  const topicPartitions = [...assignment ?? []].map(([topicId, partitions]) => ({
    topicId,
    partitions: [...partitions.keys()].sort((left, right) => left - right),
  }));
  return {
    throttleTimeMs: 0,
    errorCode: ErrorCode.NONE,
    memberId,
    memberEpoch,
    heartbeatIntervalMs,
    assignment: assignment && { topicPartitions },
  };
}
