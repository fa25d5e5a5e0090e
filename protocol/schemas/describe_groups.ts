/**
 * DescribeGroups (key 15): state and members of classic groups.
 *
 * Versions:
 *   1    throttleTimeMs in the answer (KIP-124)
 *   2    a throttled client gets its answer before the wait (KIP-219)
 *   3    authorized operations (KIP-430)
 *   4    groupInstanceId (KIP-345)
 *   5    flexible (KIP-482)
 *   6    errorMessage; GROUP_ID_NOT_FOUND for a group that does not exist (KIP-1043)
 */

import { array, bool, bytes, type Decoded, int16, int32, message, string } from "../schema.ts";

/** Request of DescribeGroups. */
export const describeGroupsRequest = message(
  { name: "DescribeGroupsRequest", apiKey: 15, versions: "0-6", flexible: "5+" },
  {
    groups: array("0+", "string", { entity: "groupId" }),
    includeAuthorizedOperations: bool("3+"),
  },
);
export type DescribeGroupsRequest = Decoded<typeof describeGroupsRequest>;

/** Answer of DescribeGroups. */
export const describeGroupsResponse = message(
  { name: "DescribeGroupsResponse", apiKey: 15, versions: "0-6", flexible: "5+" },
  {
    throttleTimeMs: int32("1+", { ignorable: true }),
    groups: array("0+", {
      errorCode: int16("0+"),
      errorMessage: string("6+", { nullable: "6+", default: null }),
      groupId: string("0+", { entity: "groupId" }),
      groupState: string("0+"),
      protocolType: string("0+"),
      protocolData: string("0+"),
      members: array("0+", {
        memberId: string("0+"),
        groupInstanceId: string("4+", { nullable: "4+", default: null, ignorable: true }),
        clientId: string("0+"),
        clientHost: string("0+"),
        memberMetadata: bytes("0+"),
        memberAssignment: bytes("0+"),
      }),
      authorizedOperations: int32("3+", { default: -2147483648 }),
    }),
  },
);
export type DescribeGroupsResponse = Decoded<typeof describeGroupsResponse>;
