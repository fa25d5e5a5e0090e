/**
 * Records of `__remote_log_metadata`: which segments lie in remote storage (KIP-405).
 */

import {
  array,
  bool,
  bytes,
  type Decoded,
  int32,
  int64,
  int8,
  message,
  string,
  struct,
  uuid,
} from "../../schema.ts";

/** A segment was copied, or its copying began. */
export const remoteLogSegmentMetadataRecord = message(
  { name: "RemoteLogSegmentMetadataRecord", apiKey: 0, versions: "0", flexible: "0+" },
  {
    remoteLogSegmentId: struct("0+", {
      topicIdPartition: struct("0+", {
        name: string("0+"),
        id: uuid("0+"),
        partition: int32("0+"),
      }),
      id: uuid("0+"),
    }),
    startOffset: int64("0+"),
    endOffset: int64("0+"),
    brokerId: int32("0+"),
    maxTimestampMs: int64("0+"),
    eventTimestampMs: int64("0+"),
    segmentLeaderEpochs: array("0+", {
      leaderEpoch: int32("0+"),
      offset: int64("0+"),
    }),
    segmentSizeInBytes: int32("0+"),
    customMetadata: bytes("0+", { nullable: "0+", default: null }),
    remoteLogSegmentState: int8("0+"),
    txnIndexEmpty: bool("0+", { tag: 0, tagged: "0+" }),
  },
);
export type RemoteLogSegmentMetadataRecord = Decoded<typeof remoteLogSegmentMetadataRecord>;

/** The state of a remote segment changed. */
export const remoteLogSegmentMetadataUpdateRecord = message(
  { name: "RemoteLogSegmentMetadataUpdateRecord", apiKey: 1, versions: "0", flexible: "0+" },
  {
    remoteLogSegmentId: struct("0+", {
      topicIdPartition: struct("0+", {
        name: string("0+"),
        id: uuid("0+"),
        partition: int32("0+"),
      }),
      id: uuid("0+"),
    }),
    brokerId: int32("0+"),
    eventTimestampMs: int64("0+"),
    customMetadata: bytes("0+", { nullable: "0+", default: null }),
    remoteLogSegmentState: int8("0+"),
  },
);
export type RemoteLogSegmentMetadataUpdateRecord = Decoded<
  typeof remoteLogSegmentMetadataUpdateRecord
>;

/** The state of a remote partition's deletion. */
export const remotePartitionDeleteMetadataRecord = message(
  { name: "RemotePartitionDeleteMetadataRecord", apiKey: 2, versions: "0", flexible: "0+" },
  {
    topicIdPartition: struct("0+", {
      name: string("0+"),
      id: uuid("0+"),
      partition: int32("0+"),
    }),
    brokerId: int32("0+"),
    eventTimestampMs: int64("0+"),
    remotePartitionDeleteState: int8("0+"),
  },
);
export type RemotePartitionDeleteMetadataRecord = Decoded<
  typeof remotePartitionDeleteMetadataRecord
>;

/** A remote segment, in a snapshot. */
export const remoteLogSegmentMetadataSnapshotRecord = message(
  { name: "RemoteLogSegmentMetadataSnapshotRecord", apiKey: 3, versions: "0", flexible: "0+" },
  {
    segmentId: uuid("0+"),
    startOffset: int64("0+"),
    endOffset: int64("0+"),
    brokerId: int32("0+"),
    maxTimestampMs: int64("0+"),
    eventTimestampMs: int64("0+"),
    segmentLeaderEpochs: array("0+", {
      leaderEpoch: int32("0+"),
      offset: int64("0+"),
    }),
    segmentSizeInBytes: int32("0+"),
    customMetadata: bytes("0+", { nullable: "0+", default: null }),
    remoteLogSegmentState: int8("0+"),
    txnIndexEmpty: bool("0+", { tag: 0, tagged: "0+" }),
  },
);
export type RemoteLogSegmentMetadataSnapshotRecord = Decoded<
  typeof remoteLogSegmentMetadataSnapshotRecord
>;
