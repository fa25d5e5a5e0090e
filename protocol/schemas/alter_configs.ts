/**
 * AlterConfigs (key 33): replaces all settings of a resource (KIP-133); IncrementalAlterConfigs is
 * the better way.
 *
 * Versions:
 *   1    a throttled client gets its answer before the wait (KIP-219)
 *   2    flexible (KIP-482)
 */

import { array, bool, type Decoded, int16, int32, int8, message, string } from "../schema.ts";

/** Request of AlterConfigs. */
export const alterConfigsRequest = message(
  { name: "AlterConfigsRequest", apiKey: 33, versions: "0-2", flexible: "2+" },
  {
    resources: array("0+", {
      resourceType: int8("0+", { mapKey: true }),
      resourceName: string("0+", { mapKey: true }),
      configs: array("0+", {
        name: string("0+", { mapKey: true }),
        value: string("0+", { nullable: "0+" }),
      }),
    }),
    validateOnly: bool("0+"),
  },
);
export type AlterConfigsRequest = Decoded<typeof alterConfigsRequest>;

/** Answer of AlterConfigs. */
export const alterConfigsResponse = message(
  { name: "AlterConfigsResponse", apiKey: 33, versions: "0-2", flexible: "2+" },
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
export type AlterConfigsResponse = Decoded<typeof alterConfigsResponse>;
