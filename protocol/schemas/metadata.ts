/**
 * Metadata (key 3): brokers, topics, partitions and their leaders.
 *
 * Versions:
 *   0    an empty list of topics means all
 *   1    null means all, empty means none; controllerId, rack, isInternal
 *   2    clusterId (KIP-78)
 *   3    throttleTimeMs in the answer (KIP-124)
 *   4    allowAutoTopicCreation
 *   5    offlineReplicas (KIP-112)
 *   6    a throttled client gets its answer before the wait (KIP-219)
 *   7    leaderEpoch (KIP-320)
 *   8    authorized operations (KIP-430)
 *   9    flexible (KIP-482)
 *   10   topic ids; names may be null (KIP-516)
 *   11   the cluster's authorized operations moved to DescribeCluster (KIP-700)
 *   12   topics can be asked for by id (KIP-516)
 *   13   errorCode of the whole answer: REBOOTSTRAP_REQUIRED (KIP-1102)
 */

import { array, bool, type Decoded, int16, int32, message, string, uuid } from "../schema.ts";

/** Request of Metadata. */
export const metadataRequest = message(
  { name: "MetadataRequest", apiKey: 3, versions: "0-13", flexible: "9+" },
  {
    topics: array("0+", {
      topicId: uuid("10+", { ignorable: true }),
      name: string("0+", { nullable: "10+", entity: "topicName" }),
    }, { nullable: "1+" }),
    allowAutoTopicCreation: bool("4+", { default: true }),
    includeClusterAuthorizedOperations: bool("8-10"),
    includeTopicAuthorizedOperations: bool("8+"),
  },
);
export type MetadataRequest = Decoded<typeof metadataRequest>;

/** Answer of Metadata. */
export const metadataResponse = message(
  { name: "MetadataResponse", apiKey: 3, versions: "0-13", flexible: "9+" },
  {
    throttleTimeMs: int32("3+", { ignorable: true }),
    brokers: array("0+", {
      nodeId: int32("0+", { entity: "brokerId", mapKey: true }),
      host: string("0+"),
      port: int32("0+"),
      rack: string("1+", { nullable: "1+", default: null, ignorable: true }),
    }),
    clusterId: string("2+", { nullable: "2+", default: null, ignorable: true }),
    controllerId: int32("1+", { default: -1, ignorable: true, entity: "brokerId" }),
    topics: array("0+", {
      errorCode: int16("0+"),
      name: string("0+", { nullable: "12+", entity: "topicName", mapKey: true }),
      topicId: uuid("10+", { ignorable: true }),
      isInternal: bool("1+", { default: false, ignorable: true }),
      partitions: array("0+", {
        errorCode: int16("0+"),
        partitionIndex: int32("0+"),
        leaderId: int32("0+", { entity: "brokerId" }),
        leaderEpoch: int32("7+", { default: -1, ignorable: true }),
        replicaNodes: array("0+", "int32", { entity: "brokerId" }),
        isrNodes: array("0+", "int32", { entity: "brokerId" }),
        offlineReplicas: array("5+", "int32", { ignorable: true, entity: "brokerId" }),
      }),
      topicAuthorizedOperations: int32("8+", { default: -2147483648 }),
    }),
    clusterAuthorizedOperations: int32("8-10", { default: -2147483648 }),
    errorCode: int16("13+", { ignorable: true }),
  },
);
export type MetadataResponse = Decoded<typeof metadataResponse>;
