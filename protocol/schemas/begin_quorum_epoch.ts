/**
 * BeginQuorumEpoch (key 53): a new Raft leader tells the voters (KIP-595).
 *
 * Versions:
 *   1    flexible; ids, directories and endpoints (KIP-853)
 */

import { array, type Decoded, int16, int32, message, string, uint16, uuid } from "../schema.ts";

/** Request of BeginQuorumEpoch. */
export const beginQuorumEpochRequest = message(
  { name: "BeginQuorumEpochRequest", apiKey: 53, versions: "0-1", flexible: "1+" },
  {
    clusterId: string("0+", { nullable: "0+", default: null }),
    voterId: int32("1+", { default: -1, ignorable: true, entity: "brokerId" }),
    topics: array("0+", {
      topicName: string("0+", { entity: "topicName" }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        voterDirectoryId: uuid("1+", { ignorable: true }),
        leaderId: int32("0+", { entity: "brokerId" }),
        leaderEpoch: int32("0+"),
      }),
    }),
    leaderEndpoints: array("1+", {
      name: string("1+", { mapKey: true }),
      host: string("1+"),
      port: uint16("1+"),
    }, { ignorable: true }),
  },
);
export type BeginQuorumEpochRequest = Decoded<typeof beginQuorumEpochRequest>;

/** Answer of BeginQuorumEpoch. */
export const beginQuorumEpochResponse = message(
  { name: "BeginQuorumEpochResponse", apiKey: 53, versions: "0-1", flexible: "1+" },
  {
    errorCode: int16("0+"),
    topics: array("0+", {
      topicName: string("0+", { entity: "topicName" }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        errorCode: int16("0+"),
        leaderId: int32("0+", { entity: "brokerId" }),
        leaderEpoch: int32("0+"),
      }),
    }),
    nodeEndpoints: array("1+", {
      nodeId: int32("1+", { entity: "brokerId", mapKey: true }),
      host: string("1+"),
      port: uint16("1+"),
    }, { tag: 0, tagged: "1+" }),
  },
);
export type BeginQuorumEpochResponse = Decoded<typeof beginQuorumEpochResponse>;
