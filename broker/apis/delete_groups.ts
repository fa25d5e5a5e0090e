/**
 * DeleteGroups (key 42), versions 0–3: deletes groups without members, with their offsets.
 *
 * - v1: throttle time on quota violation (no change of form). v2: flexible. v3: error messages (KIP-1043).
 *
 * The answer waits until the deletion is committed to `__consumer_offsets`.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { deleteGroupsRequest, deleteGroupsResponse } from "../../protocol/schemas/delete_groups.ts";
import type { GroupCoordinator } from "../groups/coordinator.ts";
import { type Api, defineApi } from "./api.ts";

/** Answers DeleteGroups. */
export function deleteGroupsApi({ groupCoordinator }: { groupCoordinator: GroupCoordinator }): Api {
  return defineApi({
    key: ApiKey.DeleteGroups,
    request: deleteGroupsRequest,
    response: deleteGroupsResponse,
    versions: { lowest: 0, highest: 3 },
    async handle({ groupsNames }) {
      const groupIds = [...new Set(groupsNames)];
      const errors = await groupCoordinator.deleteGroups(groupIds);
      return {
        throttleTimeMs: 0,
        results: groupIds.map((groupId, index) => {
          const errorCode = errors[index] ?? ErrorCode.NONE;
          return { groupId, errorCode, errorMessage: explain(groupId, errorCode) };
        }),
      };
    },
  });
}

function explain(groupId: string, error: ErrorCode): string | null {
  switch (error) {
    case ErrorCode.GROUP_ID_NOT_FOUND:
      return `Group ${groupId} not found.`;
    case ErrorCode.NON_EMPTY_GROUP:
      return `Group ${groupId} has members: stop them first.`;
    default:
      return null;
  }
}
