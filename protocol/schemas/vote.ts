/**
 * Vote (key 52): a Raft candidate asks for a vote (KIP-595).
 *
 * Versions:
 *   1    ids and directories of voters (KIP-853)
 *   2    preVote: asks without a new epoch (KIP-996)
 */

import {
  array,
  bool,
  type Decoded,
  int16,
  int32,
  int64,
  message,
  string,
  uint16,
  uuid,
} from "../schema.ts";

/** Request of Vote. */
export const voteRequest = message(
  { name: "VoteRequest", apiKey: 52, versions: "0-2", flexible: "0+" },
  {
    clusterId: string("0+", { nullable: "0+", default: null }),
    voterId: int32("1+", { default: -1, ignorable: true, entity: "brokerId" }),
    topics: array("0+", {
      topicName: string("0+", { entity: "topicName" }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        replicaEpoch: int32("0+"),
        replicaId: int32("0+", { entity: "brokerId" }),
        replicaDirectoryId: uuid("1+", { ignorable: true }),
        voterDirectoryId: uuid("1+", { ignorable: true }),
        lastOffsetEpoch: int32("0+"),
        lastOffset: int64("0+"),
        preVote: bool("2+"),
      }),
    }),
  },
);
export type VoteRequest = Decoded<typeof voteRequest>;

/** Answer of Vote. */
export const voteResponse = message(
  { name: "VoteResponse", apiKey: 52, versions: "0-2", flexible: "0+" },
  {
    errorCode: int16("0+"),
    topics: array("0+", {
      topicName: string("0+", { entity: "topicName" }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        errorCode: int16("0+"),
        leaderId: int32("0+", { entity: "brokerId" }),
        leaderEpoch: int32("0+"),
        voteGranted: bool("0+"),
      }),
    }),
    nodeEndpoints: array("1+", {
      nodeId: int32("1+", { entity: "brokerId", mapKey: true }),
      host: string("1+"),
      port: uint16("1+"),
    }, { tag: 0, tagged: "1+" }),
  },
);
export type VoteResponse = Decoded<typeof voteResponse>;
