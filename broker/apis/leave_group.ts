/**
 * LeaveGroup (key 13), versions 0–5: members go without waiting for their sessions to end.
 *
 * - v1: throttle time. v3: many members at once, static ones by their instance id alone (KIP-345).
 * - v4: flexible. v5: reason (KIP-800).
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { leaveGroupRequest, leaveGroupResponse } from "../../protocol/schemas/leave_group.ts";
import type { GroupCoordinator } from "../groups/coordinator.ts";
import { type Api, defineApi } from "./api.ts";

/** The first version with many members. */
const BATCH_VERSION = 3;

/** Answers LeaveGroup. */
export function leaveGroupApi({ groupCoordinator }: { groupCoordinator: GroupCoordinator }): Api {
  return defineApi({
    key: ApiKey.LeaveGroup,
    request: leaveGroupRequest,
    response: leaveGroupResponse,
    versions: { lowest: 0, highest: 5 },
    handle({ groupId, memberId, members }, { apiVersion }) {
      const isBatch = apiVersion >= BATCH_VERSION;
      const leaving = isBatch ? members : [{ memberId, groupInstanceId: null, reason: null }];
      const { error, errors } = groupCoordinator.leaveGroup(groupId, leaving);
      if (error !== ErrorCode.NONE) return { throttleTimeMs: 0, errorCode: error, members: [] };
      if (!isBatch) {
        return { throttleTimeMs: 0, errorCode: errors[0] ?? ErrorCode.NONE, members: [] };
      }
      return {
        throttleTimeMs: 0,
        errorCode: ErrorCode.NONE,
        members: leaving.map((member, index) => ({
          memberId: member.memberId,
          groupInstanceId: member.groupInstanceId,
          errorCode: errors[index] ?? ErrorCode.NONE,
        })),
      };
    },
  });
}
