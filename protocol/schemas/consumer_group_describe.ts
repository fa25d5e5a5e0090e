/**
 * ConsumerGroupDescribe (key 69): state and members of consumer groups (KIP-848).
 *
 * Versions:
 *   1    memberType (KIP-1099)
 */

import {
  array,
  bool,
  type Decoded,
  int16,
  int32,
  int8,
  message,
  string,
  struct,
  uuid,
} from "../schema.ts";

/** Request of ConsumerGroupDescribe. */
export const consumerGroupDescribeRequest = message(
  { name: "ConsumerGroupDescribeRequest", apiKey: 69, versions: "0-1", flexible: "0+" },
  {
    groupIds: array("0+", "string", { entity: "groupId" }),
    includeAuthorizedOperations: bool("0+"),
  },
);
export type ConsumerGroupDescribeRequest = Decoded<typeof consumerGroupDescribeRequest>;

const topicPartitions = {
  topicId: uuid("0+"),
  topicName: string("0+", { entity: "topicName" }),
  partitions: array("0+", "int32"),
} as const;

const assignment = {
  topicPartitions: array("0+", topicPartitions),
} as const;

/** Answer of ConsumerGroupDescribe. */
export const consumerGroupDescribeResponse = message(
  { name: "ConsumerGroupDescribeResponse", apiKey: 69, versions: "0-1", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    groups: array("0+", {
      errorCode: int16("0+"),
      errorMessage: string("0+", { nullable: "0+", default: null }),
      groupId: string("0+", { entity: "groupId" }),
      groupState: string("0+"),
      groupEpoch: int32("0+"),
      assignmentEpoch: int32("0+"),
      assignorName: string("0+"),
      members: array("0+", {
        memberId: string("0+"),
        instanceId: string("0+", { nullable: "0+", default: null }),
        rackId: string("0+", { nullable: "0+", default: null }),
        memberEpoch: int32("0+"),
        clientId: string("0+"),
        clientHost: string("0+"),
        subscribedTopicNames: array("0+", "string", { entity: "topicName" }),
        subscribedTopicRegex: string("0+", { nullable: "0+", default: null }),
        assignment: struct("0+", assignment),
        targetAssignment: struct("0+", assignment),
        memberType: int8("1+", { default: -1, ignorable: true }),
      }),
      authorizedOperations: int32("0+", { default: -2147483648 }),
    }),
  },
);
export type ConsumerGroupDescribeResponse = Decoded<typeof consumerGroupDescribeResponse>;
