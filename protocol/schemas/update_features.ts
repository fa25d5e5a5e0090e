/**
 * UpdateFeatures (key 57): raises or lowers the cluster's feature levels (KIP-584).
 *
 * Versions:
 *   1    upgradeType and validateOnly (KIP-778)
 *   2    one error for all features (KIP-1022)
 */

import { array, bool, type Decoded, int16, int32, int8, message, string } from "../schema.ts";

/** Request of UpdateFeatures. */
export const updateFeaturesRequest = message(
  { name: "UpdateFeaturesRequest", apiKey: 57, versions: "0-2", flexible: "0+" },
  {
    timeoutMs: int32("0+", { default: 60000 }),
    featureUpdates: array("0+", {
      feature: string("0+", { mapKey: true }),
      maxVersionLevel: int16("0+"),
      allowDowngrade: bool("0"),
      upgradeType: int8("1+", { default: 1 }),
    }),
    validateOnly: bool("1+", { default: false }),
  },
);
export type UpdateFeaturesRequest = Decoded<typeof updateFeaturesRequest>;

/** Answer of UpdateFeatures. */
export const updateFeaturesResponse = message(
  { name: "UpdateFeaturesResponse", apiKey: 57, versions: "0-2", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    errorMessage: string("0+", { nullable: "0+" }),
    results: array("0-1", {
      feature: string("0+", { mapKey: true }),
      errorCode: int16("0+"),
      errorMessage: string("0+", { nullable: "0+" }),
    }, { ignorable: true }),
  },
);
export type UpdateFeaturesResponse = Decoded<typeof updateFeaturesResponse>;
