/**
 * DescribeAcls (key 29): lists the access rules that match a filter (KIP-140).
 *
 * Versions:
 *   1    patterns of resource names (KIP-290)
 *   2    flexible (KIP-482)
 *   3    users as resources, for delegation tokens (KIP-373)
 */

import { array, type Decoded, int16, int32, int8, message, string } from "../schema.ts";

/** Request of DescribeAcls. */
export const describeAclsRequest = message(
  { name: "DescribeAclsRequest", apiKey: 29, versions: "1-3", flexible: "2+" },
  {
    resourceTypeFilter: int8("0+"),
    resourceNameFilter: string("0+", { nullable: "0+" }),
    patternTypeFilter: int8("1+", { default: 3 }),
    principalFilter: string("0+", { nullable: "0+" }),
    hostFilter: string("0+", { nullable: "0+" }),
    operation: int8("0+"),
    permissionType: int8("0+"),
  },
);
export type DescribeAclsRequest = Decoded<typeof describeAclsRequest>;

/** Answer of DescribeAcls. */
export const describeAclsResponse = message(
  { name: "DescribeAclsResponse", apiKey: 29, versions: "1-3", flexible: "2+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    errorMessage: string("0+", { nullable: "0+" }),
    resources: array("0+", {
      resourceType: int8("0+"),
      resourceName: string("0+"),
      patternType: int8("1+", { default: 3 }),
      acls: array("0+", {
        principal: string("0+"),
        host: string("0+"),
        operation: int8("0+"),
        permissionType: int8("0+"),
      }),
    }),
  },
);
export type DescribeAclsResponse = Decoded<typeof describeAclsResponse>;
