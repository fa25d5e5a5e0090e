/**
 * ShareGroupHeartbeat (key 76): the one request of a share group's member: join, stay, leave,
 * assignment (KIP-932).
 */

import { array, type Decoded, int16, int32, message, string, struct, uuid } from "../schema.ts";

/** Request of ShareGroupHeartbeat. */
export const shareGroupHeartbeatRequest = message(
  { name: "ShareGroupHeartbeatRequest", apiKey: 76, versions: "1", flexible: "0+" },
  {
    groupId: string("0+", { entity: "groupId" }),
    memberId: string("0+"),
    memberEpoch: int32("0+"),
    rackId: string("0+", { nullable: "0+", default: null }),
    subscribedTopicNames: array("0+", "string", {
      nullable: "0+",
      default: null,
      entity: "topicName",
    }),
  },
);
export type ShareGroupHeartbeatRequest = Decoded<typeof shareGroupHeartbeatRequest>;

const topicPartitions = {
  topicId: uuid("0+"),
  partitions: array("0+", "int32"),
} as const;

/** Answer of ShareGroupHeartbeat. */
export const shareGroupHeartbeatResponse = message(
  { name: "ShareGroupHeartbeatResponse", apiKey: 76, versions: "1", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    errorMessage: string("0+", { nullable: "0+", default: null }),
    memberId: string("0+", { nullable: "0+", default: null }),
    memberEpoch: int32("0+"),
    heartbeatIntervalMs: int32("0+"),
    assignment: struct("0+", {
      topicPartitions: array("0+", topicPartitions),
    }, { nullable: "0+", default: null }),
  },
);
export type ShareGroupHeartbeatResponse = Decoded<typeof shareGroupHeartbeatResponse>;
