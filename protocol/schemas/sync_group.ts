/**
 * SyncGroup (key 14): gives and gets the assignment of a classic group.
 *
 * Versions:
 *   1    throttleTimeMs in the answer (KIP-124)
 *   2    a throttled client gets its answer before the wait (KIP-219)
 *   3    groupInstanceId: static members (KIP-345)
 *   4    flexible (KIP-482)
 *   5    protocolType and protocolName, to be checked (KIP-559)
 */

import { array, bytes, type Decoded, int16, int32, message, string } from "../schema.ts";

/** Request of SyncGroup. */
export const syncGroupRequest = message(
  { name: "SyncGroupRequest", apiKey: 14, versions: "0-5", flexible: "4+" },
  {
    groupId: string("0+", { entity: "groupId" }),
    generationId: int32("0+"),
    memberId: string("0+"),
    groupInstanceId: string("3+", { nullable: "3+", default: null }),
    protocolType: string("5+", { nullable: "5+", default: null, ignorable: true }),
    protocolName: string("5+", { nullable: "5+", default: null, ignorable: true }),
    assignments: array("0+", {
      memberId: string("0+"),
      assignment: bytes("0+"),
    }),
  },
);
export type SyncGroupRequest = Decoded<typeof syncGroupRequest>;

/** Answer of SyncGroup. */
export const syncGroupResponse = message(
  { name: "SyncGroupResponse", apiKey: 14, versions: "0-5", flexible: "4+" },
  {
    throttleTimeMs: int32("1+", { ignorable: true }),
    errorCode: int16("0+"),
    protocolType: string("5+", { nullable: "5+", default: null, ignorable: true }),
    protocolName: string("5+", { nullable: "5+", default: null, ignorable: true }),
    assignment: bytes("0+"),
  },
);
export type SyncGroupResponse = Decoded<typeof syncGroupResponse>;
