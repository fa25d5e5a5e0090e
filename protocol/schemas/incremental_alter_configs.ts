/**
 * IncrementalAlterConfigs (key 44): sets, deletes, appends to and subtracts from single settings
 * (KIP-339).
 *
 * Versions:
 *   1    flexible (KIP-482)
 */

import { array, bool, type Decoded, int16, int32, int8, message, string } from "../schema.ts";

/** Request of IncrementalAlterConfigs. */
export const incrementalAlterConfigsRequest = message(
  { name: "IncrementalAlterConfigsRequest", apiKey: 44, versions: "0-1", flexible: "1+" },
  {
    resources: array("0+", {
      resourceType: int8("0+", { mapKey: true }),
      resourceName: string("0+", { mapKey: true }),
      configs: array("0+", {
        name: string("0+", { mapKey: true }),
        configOperation: int8("0+", { mapKey: true }),
        value: string("0+", { nullable: "0+" }),
      }),
    }),
    validateOnly: bool("0+"),
  },
);
export type IncrementalAlterConfigsRequest = Decoded<typeof incrementalAlterConfigsRequest>;

/** Answer of IncrementalAlterConfigs. */
export const incrementalAlterConfigsResponse = message(
  { name: "IncrementalAlterConfigsResponse", apiKey: 44, versions: "0-1", flexible: "1+" },
  {
    throttleTimeMs: int32("0+"),
    responses: array("0+", {
      errorCode: int16("0+"),
      errorMessage: string("0+", { nullable: "0+" }),
      resourceType: int8("0+"),
      resourceName: string("0+"),
    }),
  },
);
export type IncrementalAlterConfigsResponse = Decoded<typeof incrementalAlterConfigsResponse>;
