/**
 * ControllerRegistration (key 70), version 0: a controller makes itself known to the active one (KIP-919).
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import {
  controllerRegistrationRequest,
  controllerRegistrationResponse,
} from "../../protocol/schemas/controller_registration.ts";
import type { Controller } from "../controller/controller.ts";
import { featureRanges } from "../controller/metadata_image.ts";
import { type Api, defineApi } from "./api.ts";

/** Answers ControllerRegistration. */
export function controllerRegistrationApi(
  { controller }: { readonly controller: Controller },
): Api {
  return defineApi({
    key: ApiKey.ControllerRegistration,
    request: controllerRegistrationRequest,
    response: controllerRegistrationResponse,
    versions: { lowest: 0, highest: 0 },
    async handle({ controllerId, incarnationId, listeners, features }) {
      const outcome = await controller.controllerRegistration({
        controllerId,
        incarnationId,
        endpoints: listeners,
        features: featureRanges(features),
      });
      return {
        throttleTimeMs: 0,
        errorCode: outcome.error,
        errorMessage: "message" in outcome ? outcome.message : null,
      };
    },
  });
}
