/**
 * ListGroups (key 16), versions 0–5: the groups that this broker coordinates.
 *
 * - v1: throttle time. v3: flexible. v4: states, and a filter by state (KIP-518).
 * - v5: types, and a filter by type (KIP-848). Filters do not care for upper and lower case.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { listGroupsRequest, listGroupsResponse } from "../../protocol/schemas/list_groups.ts";
import type { GroupCoordinator } from "../groups/coordinator.ts";
import { type Api, defineApi } from "./api.ts";

/** Answers ListGroups. */
export function listGroupsApi({ groupCoordinator }: { groupCoordinator: GroupCoordinator }): Api {
  return defineApi({
    key: ApiKey.ListGroups,
    request: listGroupsRequest,
    response: listGroupsResponse,
    versions: { lowest: 0, highest: 5 },
    handle({ statesFilter, typesFilter }) {
      const states = new Set(statesFilter.map((state) => state.toLowerCase()));
      const types = new Set(typesFilter.map((type) => type.toLowerCase()));
      const { error, groups } = groupCoordinator.listGroups();
      return {
        throttleTimeMs: 0,
        errorCode: error,
        groups: groups
          .filter(({ state }) => states.size === 0 || states.has(state.toLowerCase()))
          .filter(({ type }) => types.size === 0 || types.has(type.toLowerCase()))
          .map(({ groupId, protocolType, state, type }) => ({
            groupId,
            protocolType,
            groupState: state,
            groupType: type,
          })),
      };
    },
  });
}
