/**
 * LeaveGroup (key 13): takes members out of a classic group.
 *
 * Versions:
 *   1    throttleTimeMs in the answer (KIP-124)
 *   2    a throttled client gets its answer before the wait (KIP-219)
 *   3    several members, also by groupInstanceId (KIP-345)
 *   4    flexible (KIP-482)
 *   5    reason (KIP-800)
 */

import { array, type Decoded, int16, int32, message, string } from "../schema.ts";

/** Request of LeaveGroup. */
export const leaveGroupRequest = message(
  { name: "LeaveGroupRequest", apiKey: 13, versions: "0-5", flexible: "4+" },
  {
    groupId: string("0+", { entity: "groupId" }),
    memberId: string("0-2"),
    members: array("3+", {
      memberId: string("3+"),
      groupInstanceId: string("3+", { nullable: "3+", default: null }),
      reason: string("5+", { nullable: "5+", default: null, ignorable: true }),
    }),
  },
);
export type LeaveGroupRequest = Decoded<typeof leaveGroupRequest>;

/** Answer of LeaveGroup. */
export const leaveGroupResponse = message(
  { name: "LeaveGroupResponse", apiKey: 13, versions: "0-5", flexible: "4+" },
  {
    throttleTimeMs: int32("1+", { ignorable: true }),
    errorCode: int16("0+"),
    members: array("3+", {
      memberId: string("3+"),
      groupInstanceId: string("3+", { nullable: "3+" }),
      errorCode: int16("3+"),
    }),
  },
);
export type LeaveGroupResponse = Decoded<typeof leaveGroupResponse>;
