/**
 * ShareGroupDescribe (key 77): state and members of share groups (KIP-932).
 */

import {
  array,
  bool,
  type Decoded,
  int16,
  int32,
  message,
  string,
  struct,
  uuid,
} from "../schema.ts";

/** Request of ShareGroupDescribe. */
export const shareGroupDescribeRequest = message(
  { name: "ShareGroupDescribeRequest", apiKey: 77, versions: "1", flexible: "0+" },
  {
    groupIds: array("0+", "string", { entity: "groupId" }),
    includeAuthorizedOperations: bool("0+"),
  },
);
export type ShareGroupDescribeRequest = Decoded<typeof shareGroupDescribeRequest>;

const topicPartitions = {
  topicId: uuid("0+"),
  topicName: string("0+", { entity: "topicName" }),
  partitions: array("0+", "int32"),
} as const;

const assignment = {
  topicPartitions: array("0+", topicPartitions),
} as const;

/** Answer of ShareGroupDescribe. */
export const shareGroupDescribeResponse = message(
  { name: "ShareGroupDescribeResponse", apiKey: 77, versions: "1", flexible: "0+" },
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
        rackId: string("0+", { nullable: "0+", default: null }),
        memberEpoch: int32("0+"),
        clientId: string("0+"),
        clientHost: string("0+"),
        subscribedTopicNames: array("0+", "string", { entity: "topicName" }),
        assignment: struct("0+", assignment),
      }),
      authorizedOperations: int32("0+", { default: -2147483648 }),
    }),
  },
);
export type ShareGroupDescribeResponse = Decoded<typeof shareGroupDescribeResponse>;
