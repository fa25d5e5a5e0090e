/**
 * CreateAcls (key 30): adds access rules (KIP-140).
 *
 * Versions:
 *   1    patterns of resource names (KIP-290)
 *   2    flexible (KIP-482)
 *   3    users as resources, for delegation tokens (KIP-373)
 */

import { array, type Decoded, int16, int32, int8, message, string } from "../schema.ts";

/** Request of CreateAcls. */
export const createAclsRequest = message(
  { name: "CreateAclsRequest", apiKey: 30, versions: "1-3", flexible: "2+" },
  {
    creations: array("0+", {
      resourceType: int8("0+"),
      resourceName: string("0+"),
      resourcePatternType: int8("1+", { default: 3 }),
      principal: string("0+"),
      host: string("0+"),
      operation: int8("0+"),
      permissionType: int8("0+"),
    }),
  },
);
export type CreateAclsRequest = Decoded<typeof createAclsRequest>;

/** Answer of CreateAcls. */
export const createAclsResponse = message(
  { name: "CreateAclsResponse", apiKey: 30, versions: "1-3", flexible: "2+" },
  {
    throttleTimeMs: int32("0+"),
    results: array("0+", {
      errorCode: int16("0+"),
      errorMessage: string("0+", { nullable: "0+" }),
    }),
  },
);
export type CreateAclsResponse = Decoded<typeof createAclsResponse>;
