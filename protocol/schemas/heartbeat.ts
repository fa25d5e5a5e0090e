/**
 * Heartbeat (key 12): keeps a member of a classic group alive.
 *
 * Versions:
 *   1    throttleTimeMs in the answer (KIP-124)
 *   2    a throttled client gets its answer before the wait (KIP-219)
 *   3    groupInstanceId: static members (KIP-345)
 *   4    flexible (KIP-482)
 */

import { type Decoded, int16, int32, message, string } from "../schema.ts";

/** Request of Heartbeat. */
export const heartbeatRequest = message(
  { name: "HeartbeatRequest", apiKey: 12, versions: "0-4", flexible: "4+" },
  {
    groupId: string("0+", { entity: "groupId" }),
    generationId: int32("0+"),
    memberId: string("0+"),
    groupInstanceId: string("3+", { nullable: "3+", default: null }),
  },
);
export type HeartbeatRequest = Decoded<typeof heartbeatRequest>;

/** Answer of Heartbeat. */
export const heartbeatResponse = message(
  { name: "HeartbeatResponse", apiKey: 12, versions: "0-4", flexible: "4+" },
  {
    throttleTimeMs: int32("1+", { ignorable: true }),
    errorCode: int16("0+"),
  },
);
export type HeartbeatResponse = Decoded<typeof heartbeatResponse>;
