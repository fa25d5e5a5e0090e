/**
 * JoinGroup (key 11), versions 0–9: a member enters its group, or goes through another rebalance.
 *
 * - v1: a rebalance timeout of its own (KIP-62); before, the session timeout stands for it.
 * - v2: throttle time. v4: MEMBER_ID_REQUIRED (KIP-394). v5: static members (KIP-345). v6: flexible.
 * - v7: protocol type and a nullable protocol name (KIP-559). v8: reason (KIP-800).
 * - v9: skipAssignment for a static leader that came back (KIP-814).
 *
 * The answer waits until the join phase of the group ends.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import type { Encodable } from "../../protocol/schema.ts";
import { joinGroupRequest, joinGroupResponse } from "../../protocol/schemas/join_group.ts";
import type { JoinAnswer } from "../groups/classic_group.ts";
import type { GroupCoordinator } from "../groups/coordinator.ts";
import { type Api, defineApi } from "./api.ts";

const KNOWN_MEMBER_ID_VERSION = 4;
const NULLABLE_PROTOCOL_VERSION = 7;
const SKIP_ASSIGNMENT_VERSION = 9;

/** Answers JoinGroup. */
export function joinGroupApi({ groupCoordinator }: { groupCoordinator: GroupCoordinator }): Api {
  return defineApi({
    key: ApiKey.JoinGroup,
    request: joinGroupRequest,
    response: joinGroupResponse,
    versions: { lowest: 0, highest: 9 },
    cost: parkedCost,
    handle(request, { apiVersion, clientId, connection }) {
      const answer = groupCoordinator.joinGroup({
        groupId: request.groupId,
        memberId: request.memberId,
        groupInstanceId: request.groupInstanceId,
        clientId: clientId ?? "",
        clientHost: `/${connection.remoteAddress}`,
        sessionTimeoutMs: request.sessionTimeoutMs,
        rebalanceTimeoutMs: request.rebalanceTimeoutMs < 0
          ? request.sessionTimeoutMs
          : request.rebalanceTimeoutMs,
        protocolType: request.protocolType,
        // The group keeps them: the received bytes do not live on for their sake.
        protocols: request.protocols.map(({ name, metadata }) => ({
          name,
          metadata: metadata.slice(),
        })),
        requiresKnownMemberId: apiVersion >= KNOWN_MEMBER_ID_VERSION,
        supportsSkippingAssignment: apiVersion >= SKIP_ASSIGNMENT_VERSION,
        reason: request.reason,
      });
      if (answer instanceof Promise) return answer.then((value) => encodable(value, apiVersion));
      return encodable(answer, apiVersion);
    },
  });
}

/** It may wait for minutes: what it holds is the member's own bytes, decoded and copied once. */
function parkedCost(frameBytes: number): number {
  return 1024 + 3 * frameBytes;
}

function encodable(answer: JoinAnswer, apiVersion: number): Encodable<typeof joinGroupResponse> {
  return {
    throttleTimeMs: 0,
    errorCode: answer.error,
    generationId: answer.generationId,
    protocolType: answer.protocolType,
    protocolName: apiVersion < NULLABLE_PROTOCOL_VERSION
      ? answer.protocolName ?? ""
      : answer.protocolName,
    leader: answer.leader,
    skipAssignment: answer.skipAssignment,
    memberId: answer.memberId,
    members: answer.members,
  };
}
