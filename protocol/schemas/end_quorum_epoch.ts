/**
 * EndQuorumEpoch (key 54): a Raft leader steps down and names successors (KIP-595).
 *
 * Versions:
 *   1    flexible; ids, directories and endpoints (KIP-853)
 */

import { array, type Decoded, int16, int32, message, string, uint16, uuid } from "../schema.ts";

/** Request of EndQuorumEpoch. */
export const endQuorumEpochRequest = message(
  { name: "EndQuorumEpochRequest", apiKey: 54, versions: "0-1", flexible: "1+" },
  {
    clusterId: string("0+", { nullable: "0+", default: null }),
    topics: array("0+", {
      topicName: string("0+", { entity: "topicName" }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        leaderId: int32("0+", { entity: "brokerId" }),
        leaderEpoch: int32("0+"),
        preferredSuccessors: array("0", "int32", { ignorable: true }),
        preferredCandidates: array("1+", {
          candidateId: int32("1+", { entity: "brokerId" }),
          candidateDirectoryId: uuid("1+"),
        }, { ignorable: true }),
      }),
    }),
    leaderEndpoints: array("1+", {
      name: string("1+", { mapKey: true }),
      host: string("1+"),
      port: uint16("1+"),
    }, { ignorable: true }),
  },
);
export type EndQuorumEpochRequest = Decoded<typeof endQuorumEpochRequest>;

/** Answer of EndQuorumEpoch. */
export const endQuorumEpochResponse = message(
  { name: "EndQuorumEpochResponse", apiKey: 54, versions: "0-1", flexible: "1+" },
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
export type EndQuorumEpochResponse = Decoded<typeof endQuorumEpochResponse>;
