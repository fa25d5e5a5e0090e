/**
 * DeleteAcls (key 31): deletes the access rules that match filters (KIP-140).
 *
 * Versions:
 *   1    patterns of resource names (KIP-290)
 *   2    flexible (KIP-482)
 *   3    users as resources, for delegation tokens (KIP-373)
 */

import { array, type Decoded, int16, int32, int8, message, string } from "../schema.ts";

/** Request of DeleteAcls. */
export const deleteAclsRequest = message(
  { name: "DeleteAclsRequest", apiKey: 31, versions: "1-3", flexible: "2+" },
  {
    filters: array("0+", {
      resourceTypeFilter: int8("0+"),
      resourceNameFilter: string("0+", { nullable: "0+" }),
      patternTypeFilter: int8("1+", { default: 3 }),
      principalFilter: string("0+", { nullable: "0+" }),
      hostFilter: string("0+", { nullable: "0+" }),
      operation: int8("0+"),
      permissionType: int8("0+"),
    }),
  },
);
export type DeleteAclsRequest = Decoded<typeof deleteAclsRequest>;

/** Answer of DeleteAcls. */
export const deleteAclsResponse = message(
  { name: "DeleteAclsResponse", apiKey: 31, versions: "1-3", flexible: "2+" },
  {
    throttleTimeMs: int32("0+"),
    filterResults: array("0+", {
      errorCode: int16("0+"),
      errorMessage: string("0+", { nullable: "0+" }),
      matchingAcls: array("0+", {
        errorCode: int16("0+"),
        errorMessage: string("0+", { nullable: "0+" }),
        resourceType: int8("0+"),
        resourceName: string("0+"),
        patternType: int8("1+", { default: 3 }),
        principal: string("0+"),
        host: string("0+"),
        operation: int8("0+"),
        permissionType: int8("0+"),
      }),
    }),
  },
);
export type DeleteAclsResponse = Decoded<typeof deleteAclsResponse>;
