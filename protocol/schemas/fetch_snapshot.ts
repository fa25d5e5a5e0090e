/**
 * FetchSnapshot (key 59): reads a snapshot of the metadata log in slices (KIP-630).
 *
 * Versions:
 *   1    replicaDirectoryId, nodeEndpoints (KIP-853)
 */

import {
  array,
  type Decoded,
  int16,
  int32,
  int64,
  message,
  records,
  string,
  struct,
  uint16,
  uuid,
} from "../schema.ts";

/** Request of FetchSnapshot. */
export const fetchSnapshotRequest = message(
  { name: "FetchSnapshotRequest", apiKey: 59, versions: "0-1", flexible: "0+" },
  {
    clusterId: string("0+", { nullable: "0+", default: null, tag: 0, tagged: "0+" }),
    replicaId: int32("0+", { default: -1, entity: "brokerId" }),
    maxBytes: int32("0+", { default: 0x7fffffff }),
    topics: array("0+", {
      name: string("0+", { entity: "topicName" }),
      partitions: array("0+", {
        partition: int32("0+"),
        currentLeaderEpoch: int32("0+"),
        snapshotId: struct("0+", {
          endOffset: int64("0+"),
          epoch: int32("0+"),
        }),
        position: int64("0+"),
        replicaDirectoryId: uuid("1+", { tag: 0, tagged: "1+", ignorable: true }),
      }),
    }),
  },
);
export type FetchSnapshotRequest = Decoded<typeof fetchSnapshotRequest>;

/** Answer of FetchSnapshot. */
export const fetchSnapshotResponse = message(
  { name: "FetchSnapshotResponse", apiKey: 59, versions: "0-1", flexible: "0+" },
  {
    throttleTimeMs: int32("0+", { ignorable: true }),
    errorCode: int16("0+"),
    topics: array("0+", {
      name: string("0+", { entity: "topicName" }),
      partitions: array("0+", {
        index: int32("0+"),
        errorCode: int16("0+"),
        snapshotId: struct("0+", {
          endOffset: int64("0+"),
          epoch: int32("0+"),
        }),
        currentLeader: struct("0+", {
          leaderId: int32("0+", { entity: "brokerId" }),
          leaderEpoch: int32("0+"),
        }, { tag: 0, tagged: "0+" }),
        size: int64("0+"),
        position: int64("0+"),
        unalignedRecords: records("0+"),
      }),
    }),
    nodeEndpoints: array("1+", {
      nodeId: int32("1+", { entity: "brokerId", mapKey: true }),
      host: string("1+"),
      port: uint16("1+"),
    }, { tag: 0, tagged: "1+" }),
  },
);
export type FetchSnapshotResponse = Decoded<typeof fetchSnapshotResponse>;
