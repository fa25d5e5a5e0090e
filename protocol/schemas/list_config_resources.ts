/**
 * ListConfigResources (key 74): which resources have settings.
 *
 * Versions:
 *   0    client metrics subscriptions only (KIP-1000)
 *   1    any type of resource (KIP-1142)
 */

import { array, type Decoded, int16, int32, int8, message, string } from "../schema.ts";

/** Request of ListConfigResources. */
export const listConfigResourcesRequest = message(
  { name: "ListConfigResourcesRequest", apiKey: 74, versions: "0-1", flexible: "0+" },
  {
    resourceTypes: array("1+", "int8"),
  },
);
export type ListConfigResourcesRequest = Decoded<typeof listConfigResourcesRequest>;

/** Answer of ListConfigResources. */
export const listConfigResourcesResponse = message(
  { name: "ListConfigResourcesResponse", apiKey: 74, versions: "0-1", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    configResources: array("0+", {
      resourceName: string("0+"),
      resourceType: int8("1+", { default: 16, ignorable: true }),
    }),
  },
);
export type ListConfigResourcesResponse = Decoded<typeof listConfigResourcesResponse>;
