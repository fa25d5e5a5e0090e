/**
 * DescribeGroups (key 15), versions 0–6: state, protocol and members of classic groups, their bytes as
 * they came.
 *
 * - v1: throttle time. v3: authorized operations (KIP-430). v4: static members (KIP-345). v5: flexible.
 * - v6: GROUP_ID_NOT_FOUND with a message; before, a group that does not exist is "Dead" (KIP-1043).
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  describeGroupsRequest,
  describeGroupsResponse,
} from "../../protocol/schemas/describe_groups.ts";
import type { GroupCoordinator } from "../groups/coordinator.ts";
import { allOperations, OPERATIONS_NOT_ASKED } from "../security/authorized_operations.ts";
import { type Api, defineApi } from "./api.ts";

const GROUP_ID_NOT_FOUND_VERSION = 6;

/** Answers DescribeGroups. */
export function describeGroupsApi(
  { groupCoordinator }: { groupCoordinator: GroupCoordinator },
): Api {
  return defineApi({
    key: ApiKey.DescribeGroups,
    request: describeGroupsRequest,
    response: describeGroupsResponse,
    versions: { lowest: 0, highest: 6 },
    handle({ groups, includeAuthorizedOperations }, { apiVersion }) {
      return {
        throttleTimeMs: 0,
        groups: groups.map((groupId) => {
          const group = groupCoordinator.describeGroup(groupId);
          const isHidden = group.error === ErrorCode.GROUP_ID_NOT_FOUND &&
            apiVersion < GROUP_ID_NOT_FOUND_VERSION;
          const isOperationsKnown = includeAuthorizedOperations &&
            (group.error === ErrorCode.NONE || isHidden);
          return {
            errorCode: isHidden ? ErrorCode.NONE : group.error,
            errorMessage: apiVersion < GROUP_ID_NOT_FOUND_VERSION ? null : group.message,
            groupId,
            groupState: group.state,
            protocolType: group.protocolType,
            protocolData: group.protocolName,
            members: group.members.map((member) => ({
              memberId: member.memberId,
              groupInstanceId: member.groupInstanceId,
              clientId: member.clientId,
              clientHost: member.clientHost,
              memberMetadata: member.subscription,
              memberAssignment: member.assignment,
            })),
            authorizedOperations: isOperationsKnown ? allOperations.group : OPERATIONS_NOT_ASKED,
          };
        }),
      };
    },
  });
}
