/**
 * JoinGroup (key 11): joins a classic group and waits for its rebalance.
 *
 * Versions:
 *   1    rebalanceTimeoutMs apart from the session timeout (KIP-62)
 *   2    throttleTimeMs in the answer (KIP-124)
 *   3    a throttled client gets its answer before the wait (KIP-219)
 *   4    a new member joins twice, MEMBER_ID_REQUIRED (KIP-394)
 *   5    groupInstanceId: static members (KIP-345)
 *   6    flexible (KIP-482)
 *   7    protocolType in the answer (KIP-559)
 *   8    reason (KIP-800)
 *   9    skipAssignment: a static leader that came back (KIP-814)
 */

import { array, bool, bytes, type Decoded, int16, int32, message, string } from "../schema.ts";

/** Request of JoinGroup. */
export const joinGroupRequest = message(
  { name: "JoinGroupRequest", apiKey: 11, versions: "0-9", flexible: "6+" },
  {
    groupId: string("0+", { entity: "groupId" }),
    sessionTimeoutMs: int32("0+"),
    rebalanceTimeoutMs: int32("1+", { default: -1, ignorable: true }),
    memberId: string("0+"),
    groupInstanceId: string("5+", { nullable: "5+", default: null }),
    protocolType: string("0+"),
    protocols: array("0+", {
      name: string("0+", { mapKey: true }),
      metadata: bytes("0+"),
    }),
    reason: string("8+", { nullable: "8+", default: null, ignorable: true }),
  },
);
export type JoinGroupRequest = Decoded<typeof joinGroupRequest>;

/** Answer of JoinGroup. */
export const joinGroupResponse = message(
  { name: "JoinGroupResponse", apiKey: 11, versions: "0-9", flexible: "6+" },
  {
    throttleTimeMs: int32("2+", { ignorable: true }),
    errorCode: int16("0+"),
    generationId: int32("0+", { default: -1 }),
    protocolType: string("7+", { nullable: "7+", default: null, ignorable: true }),
    protocolName: string("0+", { nullable: "7+" }),
    leader: string("0+"),
    skipAssignment: bool("9+", { default: false }),
    memberId: string("0+"),
    members: array("0+", {
      memberId: string("0+"),
      groupInstanceId: string("5+", { nullable: "5+", default: null, ignorable: true }),
      metadata: bytes("0+"),
    }),
  },
);
export type JoinGroupResponse = Decoded<typeof joinGroupResponse>;
