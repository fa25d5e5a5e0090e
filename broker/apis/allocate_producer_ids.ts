/**
 * AllocateProducerIds (key 67), version 0: the active controller gives a broker a block of producer ids
 * (KIP-730).
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import {
  allocateProducerIdsRequest,
  allocateProducerIdsResponse,
} from "../../protocol/schemas/allocate_producer_ids.ts";
import type { Controller } from "../controller/controller.ts";
import { type Api, defineApi } from "./api.ts";

/** Answers AllocateProducerIds. */
export function allocateProducerIdsApi({ controller }: { readonly controller: Controller }): Api {
  return defineApi({
    key: ApiKey.AllocateProducerIds,
    request: allocateProducerIdsRequest,
    response: allocateProducerIdsResponse,
    versions: { lowest: 0, highest: 0 },
    async handle({ brokerId, brokerEpoch }) {
      const block = controller.refuseBroker({ brokerId, brokerEpoch }) ??
        await controller.allocateProducerIds(brokerId);
      const { firstProducerId = 0, count = 0 } = "count" in block ? block : {};
      return {
        throttleTimeMs: 0,
        errorCode: block.error,
        producerIdStart: firstProducerId,
        producerIdLen: count,
      };
    },
  });
}
