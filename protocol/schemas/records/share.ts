/**
 * Records of share groups (KIP-932): membership in `__consumer_offsets`, delivery state in
 * `__share_group_state`.
 *
 * Before a key stands its type (the apiKey below) as an int16, before a value its version. The two
 * logs count their types apart.
 */

import {
  array,
  type Decoded,
  int16,
  int32,
  int64,
  int8,
  message,
  string,
  uuid,
} from "../../schema.ts";

/** A member of a share group. */
export const shareGroupMemberMetadataKey = message(
  { name: "ShareGroupMemberMetadataKey", apiKey: 10, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
    memberId: string("0"),
  },
);
export type ShareGroupMemberMetadataKey = Decoded<typeof shareGroupMemberMetadataKey>;

/** What the member asked for. */
export const shareGroupMemberMetadataValue = message(
  { name: "ShareGroupMemberMetadataValue", apiKey: 10, versions: "0", flexible: "0+" },
  {
    rackId: string("0+", { nullable: "0+" }),
    clientId: string("0+"),
    clientHost: string("0+"),
    subscribedTopicNames: array("0+", "string"),
  },
);
export type ShareGroupMemberMetadataValue = Decoded<typeof shareGroupMemberMetadataValue>;

/** A share group. */
export const shareGroupMetadataKey = message(
  { name: "ShareGroupMetadataKey", apiKey: 11, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
  },
);
export type ShareGroupMetadataKey = Decoded<typeof shareGroupMetadataKey>;

/** Epoch of a share group. */
export const shareGroupMetadataValue = message(
  { name: "ShareGroupMetadataValue", apiKey: 11, versions: "0", flexible: "0+" },
  {
    epoch: int32("0+"),
    metadataHash: int64("0+"),
  },
);
export type ShareGroupMetadataValue = Decoded<typeof shareGroupMetadataValue>;

/** The target assignment of a share group. */
export const shareGroupTargetAssignmentMetadataKey = message(
  { name: "ShareGroupTargetAssignmentMetadataKey", apiKey: 12, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
  },
);
export type ShareGroupTargetAssignmentMetadataKey = Decoded<
  typeof shareGroupTargetAssignmentMetadataKey
>;

/** Epoch of the target assignment. */
export const shareGroupTargetAssignmentMetadataValue = message(
  { name: "ShareGroupTargetAssignmentMetadataValue", apiKey: 12, versions: "0", flexible: "0+" },
  {
    assignmentEpoch: int32("0+"),
    assignmentTimestamp: int64("0+", { default: 0, tag: 0, tagged: "0+", ignorable: true }),
  },
);
export type ShareGroupTargetAssignmentMetadataValue = Decoded<
  typeof shareGroupTargetAssignmentMetadataValue
>;

/** The target assignment of one member. */
export const shareGroupTargetAssignmentMemberKey = message(
  { name: "ShareGroupTargetAssignmentMemberKey", apiKey: 13, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
    memberId: string("0"),
  },
);
export type ShareGroupTargetAssignmentMemberKey = Decoded<
  typeof shareGroupTargetAssignmentMemberKey
>;

/** Partitions that the member shall have. */
export const shareGroupTargetAssignmentMemberValue = message(
  { name: "ShareGroupTargetAssignmentMemberValue", apiKey: 13, versions: "0", flexible: "0+" },
  {
    topicPartitions: array("0+", {
      topicId: uuid("0+"),
      partitions: array("0+", "int32"),
    }),
  },
);
export type ShareGroupTargetAssignmentMemberValue = Decoded<
  typeof shareGroupTargetAssignmentMemberValue
>;

/** The current assignment of one member. */
export const shareGroupCurrentMemberAssignmentKey = message(
  { name: "ShareGroupCurrentMemberAssignmentKey", apiKey: 14, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
    memberId: string("0"),
  },
);
export type ShareGroupCurrentMemberAssignmentKey = Decoded<
  typeof shareGroupCurrentMemberAssignmentKey
>;

const topicPartitions = {
  topicId: uuid("0+"),
  partitions: array("0+", "int32"),
} as const;

/** Partitions that the member has. */
export const shareGroupCurrentMemberAssignmentValue = message(
  { name: "ShareGroupCurrentMemberAssignmentValue", apiKey: 14, versions: "0", flexible: "0+" },
  {
    memberEpoch: int32("0+"),
    previousMemberEpoch: int32("0+"),
    state: int8("0+"),
    assignedPartitions: array("0+", topicPartitions),
  },
);
export type ShareGroupCurrentMemberAssignmentValue = Decoded<
  typeof shareGroupCurrentMemberAssignmentValue
>;

/** The share partitions of a share group. */
export const shareGroupStatePartitionMetadataKey = message(
  { name: "ShareGroupStatePartitionMetadataKey", apiKey: 15, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
  },
);
export type ShareGroupStatePartitionMetadataKey = Decoded<
  typeof shareGroupStatePartitionMetadataKey
>;

const topicPartitionsInfo = {
  topicId: uuid("0+"),
  topicName: string("0+"),
  partitions: array("0+", "int32"),
} as const;

const topicInfo = {
  topicId: uuid("0+"),
  topicName: string("0+"),
} as const;

/** Which share partitions are being started, are started, or are being deleted. */
export const shareGroupStatePartitionMetadataValue = message(
  { name: "ShareGroupStatePartitionMetadataValue", apiKey: 15, versions: "0", flexible: "0+" },
  {
    initializingTopics: array("0+", topicPartitionsInfo),
    initializedTopics: array("0+", topicPartitionsInfo),
    deletingTopics: array("0+", topicInfo),
  },
);
export type ShareGroupStatePartitionMetadataValue = Decoded<
  typeof shareGroupStatePartitionMetadataValue
>;

/** A share partition, whole. */
export const shareSnapshotKey = message(
  { name: "ShareSnapshotKey", apiKey: 0, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
    topicId: uuid("0"),
    partition: int32("0"),
  },
);
export type ShareSnapshotKey = Decoded<typeof shareSnapshotKey>;

/** The whole delivery state of a share partition. */
export const shareSnapshotValue = message(
  { name: "ShareSnapshotValue", apiKey: 0, versions: "0", flexible: "0+" },
  {
    snapshotEpoch: int32("0+"),
    stateEpoch: int32("0+"),
    leaderEpoch: int32("0+"),
    startOffset: int64("0+"),
    deliveryCompleteCount: int32("0+", { default: -1, tag: 0, tagged: "0+" }),
    createTimestamp: int64("0+"),
    writeTimestamp: int64("0+"),
    stateBatches: array("0+", {
      firstOffset: int64("0+"),
      lastOffset: int64("0+"),
      deliveryState: int8("0+"),
      deliveryCount: int16("0+"),
    }),
  },
);
export type ShareSnapshotValue = Decoded<typeof shareSnapshotValue>;

/** A share partition, changed. */
export const shareUpdateKey = message(
  { name: "ShareUpdateKey", apiKey: 1, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
    topicId: uuid("0"),
    partition: int32("0"),
  },
);
export type ShareUpdateKey = Decoded<typeof shareUpdateKey>;

/** A change of the delivery state since the last snapshot. */
export const shareUpdateValue = message(
  { name: "ShareUpdateValue", apiKey: 1, versions: "0", flexible: "0+" },
  {
    snapshotEpoch: int32("0+"),
    leaderEpoch: int32("0+"),
    startOffset: int64("0+"),
    deliveryCompleteCount: int32("0+", { default: -1, tag: 0, tagged: "0+" }),
    stateBatches: array("0+", {
      firstOffset: int64("0+"),
      lastOffset: int64("0+"),
      deliveryState: int8("0+"),
      deliveryCount: int16("0+"),
    }),
  },
);
export type ShareUpdateValue = Decoded<typeof shareUpdateValue>;
