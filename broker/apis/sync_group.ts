/**
 * SyncGroup (key 14), versions 0–5: the leader brings the assignment, every member fetches its part.
 *
 * - v1: throttle time. v3: static members (KIP-345). v4: flexible.
 * - v5: protocol type and name, checked against the group's (KIP-559).
 *
 * The answer waits until the assignment is committed to `__consumer_offsets`.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Encodable } from "../../protocol/schema.ts";
import { syncGroupRequest, syncGroupResponse } from "../../protocol/schemas/sync_group.ts";
import type { SyncAnswer } from "../groups/classic_group.ts";
import type { GroupCoordinator } from "../groups/coordinator.ts";
import { type Api, defineApi } from "./api.ts";

/** From this version on the protocol must be named. */
const PROTOCOL_VERSION = 5;

/** Answers SyncGroup. */
export function syncGroupApi({ groupCoordinator }: { groupCoordinator: GroupCoordinator }): Api {
  return defineApi({
    key: ApiKey.SyncGroup,
    request: syncGroupRequest,
    response: syncGroupResponse,
    versions: { lowest: 0, highest: 5 },
    cost: parkedCost,
    handle(request, { apiVersion }) {
      if (
        apiVersion >= PROTOCOL_VERSION &&
        (request.protocolType === null || request.protocolName === null)
      ) return refused(ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
      const answer = groupCoordinator.syncGroup({
        groupId: request.groupId,
        memberId: request.memberId,
        groupInstanceId: request.groupInstanceId,
        generationId: request.generationId,
        protocolType: request.protocolType,
        protocolName: request.protocolName,
        // The group keeps them: the received bytes do not live on for their sake.
        assignments: new Map(
          request.assignments.map(({ memberId, assignment }) => [memberId, assignment.slice()]),
        ),
      });
      return answer instanceof Promise ? answer.then(encodable) : encodable(answer);
    },
  });
}

function refused(error: ErrorCode): Encodable<typeof syncGroupResponse> {
  return encodable({
    error,
    protocolType: null,
    protocolName: null,
    assignment: new Uint8Array(0),
  });
}

/** It may wait for minutes: what it holds is the member's own bytes, decoded and copied once. */
function parkedCost(frameBytes: number): number {
  return 1024 + 3 * frameBytes;
}

function encodable(answer: SyncAnswer): Encodable<typeof syncGroupResponse> {
  return {
    throttleTimeMs: 0,
    errorCode: answer.error,
    protocolType: answer.protocolType,
    protocolName: answer.protocolName,
    assignment: answer.assignment,
  };
}
