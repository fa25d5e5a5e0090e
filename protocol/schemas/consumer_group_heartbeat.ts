/**
 * ConsumerGroupHeartbeat (key 68): the one request of a consumer group's member: join, stay,
 * leave, assignment (KIP-848).
 *
 * Versions:
 *   1    subscribedTopicRegex (KIP-848); the member makes its own id (KIP-1082)
 */

import { array, type Decoded, int16, int32, message, string, struct, uuid } from "../schema.ts";

/** Request of ConsumerGroupHeartbeat. */
export const consumerGroupHeartbeatRequest = message(
  { name: "ConsumerGroupHeartbeatRequest", apiKey: 68, versions: "0-1", flexible: "0+" },
  {
    groupId: string("0+", { entity: "groupId" }),
    memberId: string("0+"),
    memberEpoch: int32("0+"),
    instanceId: string("0+", { nullable: "0+", default: null }),
    rackId: string("0+", { nullable: "0+", default: null }),
    rebalanceTimeoutMs: int32("0+", { default: -1 }),
    subscribedTopicNames: array("0+", "string", {
      nullable: "0+",
      default: null,
      entity: "topicName",
    }),
    subscribedTopicRegex: string("1+", { nullable: "1+", default: null }),
    serverAssignor: string("0+", { nullable: "0+", default: null }),
    topicPartitions: array("0+", {
      topicId: uuid("0+"),
      partitions: array("0+", "int32"),
    }, { nullable: "0+", default: null }),
  },
);
export type ConsumerGroupHeartbeatRequest = Decoded<typeof consumerGroupHeartbeatRequest>;

const topicPartitions = {
  topicId: uuid("0+"),
  partitions: array("0+", "int32"),
} as const;

/** Answer of ConsumerGroupHeartbeat. */
export const consumerGroupHeartbeatResponse = message(
  { name: "ConsumerGroupHeartbeatResponse", apiKey: 68, versions: "0-1", flexible: "0+" },
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
export type ConsumerGroupHeartbeatResponse = Decoded<typeof consumerGroupHeartbeatResponse>;
