/**
 * DescribeTopicPartitions (key 75): topics and partitions in pages, with eligible leader replicas
 * (KIP-966).
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

/** Request of DescribeTopicPartitions. */
export const describeTopicPartitionsRequest = message(
  { name: "DescribeTopicPartitionsRequest", apiKey: 75, versions: "0", flexible: "0+" },
  {
    topics: array("0+", {
      name: string("0+", { entity: "topicName" }),
    }),
    responsePartitionLimit: int32("0+", { default: 2000 }),
    cursor: struct("0+", {
      topicName: string("0+", { entity: "topicName" }),
      partitionIndex: int32("0+"),
    }, { nullable: "0+", default: null }),
  },
);
export type DescribeTopicPartitionsRequest = Decoded<typeof describeTopicPartitionsRequest>;

/** Answer of DescribeTopicPartitions. */
export const describeTopicPartitionsResponse = message(
  { name: "DescribeTopicPartitionsResponse", apiKey: 75, versions: "0", flexible: "0+" },
  {
    throttleTimeMs: int32("0+", { ignorable: true }),
    topics: array("0+", {
      errorCode: int16("0+"),
      name: string("0+", { nullable: "0+", entity: "topicName", mapKey: true }),
      topicId: uuid("0+", { ignorable: true }),
      isInternal: bool("0+", { default: false, ignorable: true }),
      partitions: array("0+", {
        errorCode: int16("0+"),
        partitionIndex: int32("0+"),
        leaderId: int32("0+", { entity: "brokerId" }),
        leaderEpoch: int32("0+", { default: -1, ignorable: true }),
        replicaNodes: array("0+", "int32", { entity: "brokerId" }),
        isrNodes: array("0+", "int32", { entity: "brokerId" }),
        eligibleLeaderReplicas: array("0+", "int32", {
          nullable: "0+",
          default: null,
          entity: "brokerId",
        }),
        lastKnownElr: array("0+", "int32", { nullable: "0+", default: null, entity: "brokerId" }),
        offlineReplicas: array("0+", "int32", { ignorable: true, entity: "brokerId" }),
      }),
      topicAuthorizedOperations: int32("0+", { default: -2147483648 }),
    }),
    nextCursor: struct("0+", {
      topicName: string("0+", { entity: "topicName" }),
      partitionIndex: int32("0+"),
    }, { nullable: "0+", default: null }),
  },
);
export type DescribeTopicPartitionsResponse = Decoded<typeof describeTopicPartitionsResponse>;
