/**
 * BrokerRegistration (key 62), versions 0–4: a broker makes itself known to the active controller (KIP-631).
 *
 * - v1: migration from ZooKeeper, which is refused (KIP-866). v2: log directories (KIP-858).
 * - v3: the epoch under which the broker shut down (KIP-966). v4: features that start at level 0.
 *
 * The broker is fenced until its heartbeats show that it has caught up with the metadata.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  brokerRegistrationRequest,
  brokerRegistrationResponse,
} from "../../protocol/schemas/broker_registration.ts";
import type { Controller } from "../controller/controller.ts";
import { featureRanges } from "../controller/metadata_image.ts";
import { type Api, defineApi } from "./api.ts";

/** Answers BrokerRegistration. */
export function brokerRegistrationApi({ controller }: { readonly controller: Controller }): Api {
  return defineApi({
    key: ApiKey.BrokerRegistration,
    request: brokerRegistrationRequest,
    response: brokerRegistrationResponse,
    versions: { lowest: 0, highest: 4 },
    async handle(request) {
      if (request.isMigratingZkBroker) {
        return { throttleTimeMs: 0, errorCode: ErrorCode.BROKER_ID_NOT_REGISTERED };
      }
      const registered = await controller.brokerRegistration({
        brokerId: request.brokerId,
        clusterId: request.clusterId,
        incarnationId: request.incarnationId,
        endpoints: request.listeners,
        features: featureRanges(request.features),
        rack: request.rack,
        logDirs: request.logDirs,
        previousBrokerEpoch: request.previousBrokerEpoch,
      });
      return {
        throttleTimeMs: 0,
        errorCode: registered.error,
        ...("brokerEpoch" in registered && { brokerEpoch: registered.brokerEpoch }),
      };
    },
  });
}
