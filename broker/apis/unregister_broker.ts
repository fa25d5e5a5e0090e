/**
 * UnregisterBroker (key 64), version 0: takes a broker that is gone for good out of the cluster (KIP-631).
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import {
  unregisterBrokerRequest,
  unregisterBrokerResponse,
} from "../../protocol/schemas/unregister_broker.ts";
import type { Controller } from "../controller/controller.ts";
import { type Api, defineApi } from "./api.ts";

/** Answers UnregisterBroker. */
export function unregisterBrokerApi({ controller }: { readonly controller: Controller }): Api {
  return defineApi({
    key: ApiKey.UnregisterBroker,
    request: unregisterBrokerRequest,
    response: unregisterBrokerResponse,
    versions: { lowest: 0, highest: 0 },
    isForwarded: true,
    async handle({ brokerId }) {
      const outcome = await controller.unregisterBroker(brokerId);
      return {
        throttleTimeMs: 0,
        errorCode: outcome.error,
        errorMessage: "message" in outcome ? outcome.message : null,
      };
    },
  });
}
