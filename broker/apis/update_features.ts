/**
 * UpdateFeatures (key 57), versions 0–2: moves the levels of features that are in force (KIP-584).
 *
 * - v1: upgrade types and validateOnly (KIP-778). v2: one error for all features (KIP-1022).
 *
 * All levels move, or none.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  type UpdateFeaturesRequest,
  updateFeaturesRequest,
  updateFeaturesResponse,
} from "../../protocol/schemas/update_features.ts";
import type { Controller } from "../controller/controller.ts";
import type { FeatureUpdate, UpgradeType } from "../controller/feature_changes.ts";
import { type Api, defineApi } from "./api.ts";

/** By Kafka's number of each. */
const upgradeTypes: readonly UpgradeType[] = [
  "unknown",
  "upgrade",
  "safeDowngrade",
  "unsafeDowngrade",
];
const UPGRADE_TYPES_FROM = 1;

/** Answers UpdateFeatures. */
export function updateFeaturesApi({ controller }: { readonly controller: Controller }): Api {
  return defineApi({
    key: ApiKey.UpdateFeatures,
    request: updateFeaturesRequest,
    response: updateFeaturesResponse,
    versions: { lowest: 0, highest: 2 },
    isForwarded: true,
    async handle({ featureUpdates, validateOnly }, { apiVersion }) {
      const updates = featureUpdates.map((update) => featureUpdate(update, apiVersion));
      const outcome = await controller.updateFeatures(updates, { validateOnly });
      return {
        throttleTimeMs: 0,
        errorCode: outcome.error,
        errorMessage: "message" in outcome
          ? "The update failed for all features since the following feature had an error: " +
            outcome.message
          : null,
        results: outcome.error === ErrorCode.NONE
          ? updates.map(({ feature }) => (
            { feature, errorCode: ErrorCode.NONE, errorMessage: null }
          ))
          : [],
      };
    },
  });
}

function featureUpdate(
  update: UpdateFeaturesRequest["featureUpdates"][number],
  apiVersion: number,
): FeatureUpdate {
  const { feature, maxVersionLevel: level, allowDowngrade, upgradeType } = update;
  if (apiVersion >= UPGRADE_TYPES_FROM) {
    return { feature, level, upgradeType: upgradeTypes[upgradeType] ?? "unknown" };
  }
  return { feature, level, upgradeType: allowDowngrade ? "safeDowngrade" : "upgrade" };
}
