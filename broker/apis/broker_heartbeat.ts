/**
 * BrokerHeartbeat (key 63), versions 0–2: a broker shows the active controller that it lives, and asks to be
 * unfenced, fenced or let go (KIP-631).
 *
 * - v1: log directories that are offline (KIP-858). v2: log directories that take no new partitions (KIP-1066).
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import {
  brokerHeartbeatRequest,
  brokerHeartbeatResponse,
} from "../../protocol/schemas/broker_heartbeat.ts";
import type { Controller } from "../controller/controller.ts";
import { type Api, defineApi } from "./api.ts";

/** Answers BrokerHeartbeat. */
export function brokerHeartbeatApi({ controller }: { readonly controller: Controller }): Api {
  return defineApi({
    key: ApiKey.BrokerHeartbeat,
    request: brokerHeartbeatRequest,
    response: brokerHeartbeatResponse,
    versions: { lowest: 0, highest: 2 },
    async handle(request) {
      const reply = await controller.brokerHeartbeat({
        brokerId: request.brokerId,
        brokerEpoch: request.brokerEpoch,
        metadataOffset: request.currentMetadataOffset,
        wantFence: request.wantFence,
        wantShutDown: request.wantShutDown,
        offlineLogDirs: request.offlineLogDirs,
        cordonedLogDirs: request.cordonedLogDirs,
      });
      if (!("isFenced" in reply)) {
        return { throttleTimeMs: 0, errorCode: reply.error, shouldShutDown: false };
      }
      return {
        throttleTimeMs: 0,
        errorCode: reply.error,
        isCaughtUp: reply.isCaughtUp,
        isFenced: reply.isFenced,
        shouldShutDown: reply.shouldShutDown,
      };
    },
  });
}
