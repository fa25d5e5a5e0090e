/**
 * Heartbeat (key 12), versions 0–4: a member lives, and hears of a rebalance.
 *
 * - v1: throttle time. v3: static members (KIP-345). v4: flexible.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { heartbeatRequest, heartbeatResponse } from "../../protocol/schemas/heartbeat.ts";
import type { GroupCoordinator } from "../groups/coordinator.ts";
import { type Api, defineApi } from "./api.ts";

/** Answers Heartbeat. */
export function heartbeatApi({ groupCoordinator }: { groupCoordinator: GroupCoordinator }): Api {
  return defineApi({
    key: ApiKey.Heartbeat,
    request: heartbeatRequest,
    response: heartbeatResponse,
    versions: { lowest: 0, highest: 4 },
    handle({ groupId, generationId, memberId, groupInstanceId }) {
      const claim = { generationId, memberId, groupInstanceId };
      return { throttleTimeMs: 0, errorCode: groupCoordinator.heartbeat(groupId, claim) };
    },
  });
}
