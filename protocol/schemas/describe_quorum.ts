/**
 * DescribeQuorum (key 55): leader, voters and observers of the metadata log (KIP-595).
 *
 * Versions:
 *   1    times of the last fetch and of being caught up (KIP-836)
 *   2    directory ids, endpoints, errorMessage (KIP-853)
 */

import {
  array,
  type Decoded,
  int16,
  int32,
  int64,
  message,
  string,
  uint16,
  uuid,
} from "../schema.ts";

/** Request of DescribeQuorum. */
export const describeQuorumRequest = message(
  { name: "DescribeQuorumRequest", apiKey: 55, versions: "0-2", flexible: "0+" },
  {
    topics: array("0+", {
      topicName: string("0+", { entity: "topicName" }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
      }),
    }),
  },
);
export type DescribeQuorumRequest = Decoded<typeof describeQuorumRequest>;

const replicaState = {
  replicaId: int32("0+", { entity: "brokerId" }),
  replicaDirectoryId: uuid("2+"),
  logEndOffset: int64("0+"),
  lastFetchTimestamp: int64("1+", { default: -1, ignorable: true }),
  lastCaughtUpTimestamp: int64("1+", { default: -1, ignorable: true }),
} as const;

/** Answer of DescribeQuorum. */
export const describeQuorumResponse = message(
  { name: "DescribeQuorumResponse", apiKey: 55, versions: "0-2", flexible: "0+" },
  {
    errorCode: int16("0+"),
    errorMessage: string("2+", { nullable: "2+", ignorable: true }),
    topics: array("0+", {
      topicName: string("0+", { entity: "topicName" }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        errorCode: int16("0+"),
        errorMessage: string("2+", { nullable: "2+", ignorable: true }),
        leaderId: int32("0+", { entity: "brokerId" }),
        leaderEpoch: int32("0+"),
        highWatermark: int64("0+"),
        currentVoters: array("0+", replicaState),
        observers: array("0+", replicaState),
      }),
    }),
    nodes: array("2+", {
      nodeId: int32("2+", { entity: "brokerId", mapKey: true }),
      listeners: array("2+", {
        name: string("2+", { mapKey: true }),
        host: string("2+"),
        port: uint16("2+"),
      }),
    }),
  },
);
export type DescribeQuorumResponse = Decoded<typeof describeQuorumResponse>;
