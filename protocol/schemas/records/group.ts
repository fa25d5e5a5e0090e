/**
 * Records of `__consumer_offsets` for classic groups and for consumer groups (KIP-848).
 *
 * Before a key stands its type (the apiKey below) as an int16, before a value its version.
 *
 * Versions:
 *   GroupMetadataValue 1 rebalanceTimeout, 2 currentStateTimestamp, 3 groupInstanceId
 *       (KIP-345), 4 flexible
 *   OffsetCommitValue  1 expireTimestamp, 2 without it (KIP-211), 3 leaderEpoch (KIP-320), 4
 *       flexible, topicId
 */

import {
  array,
  bits64,
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

/** Key of a committed offset as very old brokers wrote it. */
export const legacyOffsetCommitKey = message(
  { name: "LegacyOffsetCommitKey", apiKey: 0, versions: "0", flexible: "none" },
  {
    group: string("0"),
    topic: string("0"),
    partition: int32("0"),
  },
);
export type LegacyOffsetCommitKey = Decoded<typeof legacyOffsetCommitKey>;

/** Committed offset as very old brokers wrote it. */
export const legacyOffsetCommitValue = message(
  { name: "LegacyOffsetCommitValue", apiKey: 0, versions: "0", flexible: "none" },
  {
    offset: int64("0"),
    metadata: string("0"),
    commitTimestamp: int64("0"),
  },
);
export type LegacyOffsetCommitValue = Decoded<typeof legacyOffsetCommitValue>;

/** A group's position in one partition. */
export const offsetCommitKey = message(
  { name: "OffsetCommitKey", apiKey: 1, versions: "0", flexible: "none" },
  {
    group: string("0"),
    topic: string("0"),
    partition: int32("0"),
  },
);
export type OffsetCommitKey = Decoded<typeof offsetCommitKey>;

/** The committed offset. */
export const offsetCommitValue = message(
  { name: "OffsetCommitValue", apiKey: 1, versions: "0-4", flexible: "4+" },
  {
    offset: int64("0+"),
    leaderEpoch: int32("3+", { default: -1, ignorable: true }),
    metadata: string("0+"),
    commitTimestamp: int64("0+"),
    expireTimestamp: int64("1", { default: -1, ignorable: true }),
    topicId: uuid("4+", { tag: 0, tagged: "4+", ignorable: true }),
  },
);
export type OffsetCommitValue = Decoded<typeof offsetCommitValue>;

/** A classic group. */
export const groupMetadataKey = message(
  { name: "GroupMetadataKey", apiKey: 2, versions: "0", flexible: "none" },
  {
    group: string("0"),
  },
);
export type GroupMetadataKey = Decoded<typeof groupMetadataKey>;

const memberMetadata = {
  memberId: string("0+"),
  groupInstanceId: string("3+", { nullable: "3+", default: null, ignorable: true }),
  clientId: string("0+"),
  clientHost: string("0+"),
  rebalanceTimeout: int32("1+", { default: -1, ignorable: true }),
  sessionTimeout: int32("0+"),
  subscription: bytes("0+"),
  assignment: bytes("0+"),
} as const;

/** Generation, leader and members of a classic group. */
export const groupMetadataValue = message(
  { name: "GroupMetadataValue", apiKey: 2, versions: "0-4", flexible: "4+" },
  {
    protocolType: string("0+"),
    generation: int32("0+"),
    protocol: string("0+", { nullable: "0+" }),
    leader: string("0+", { nullable: "0+" }),
    currentStateTimestamp: int64("2+", { default: -1, ignorable: true }),
    members: array("0+", memberMetadata),
  },
);
export type GroupMetadataValue = Decoded<typeof groupMetadataValue>;

/** A consumer group. */
export const consumerGroupMetadataKey = message(
  { name: "ConsumerGroupMetadataKey", apiKey: 3, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
  },
);
export type ConsumerGroupMetadataKey = Decoded<typeof consumerGroupMetadataKey>;

/** Epoch of a consumer group. */
export const consumerGroupMetadataValue = message(
  { name: "ConsumerGroupMetadataValue", apiKey: 3, versions: "0", flexible: "0+" },
  {
    epoch: int32("0+"),
    metadataHash: bits64("0+", { default: 0n, tag: 0, tagged: "0+" }),
  },
);
export type ConsumerGroupMetadataValue = Decoded<typeof consumerGroupMetadataValue>;

/** The topics of a consumer group; no longer written. */
export const consumerGroupPartitionMetadataKey = message(
  { name: "ConsumerGroupPartitionMetadataKey", apiKey: 4, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
  },
);
export type ConsumerGroupPartitionMetadataKey = Decoded<typeof consumerGroupPartitionMetadataKey>;

/** Partition counts of the topics of a consumer group; no longer written. */
export const consumerGroupPartitionMetadataValue = message(
  { name: "ConsumerGroupPartitionMetadataValue", apiKey: 4, versions: "0", flexible: "0+" },
  {
    topics: array("0+", {
      topicId: uuid("0+"),
      topicName: string("0+"),
      numPartitions: int32("0+"),
      partitionMetadata: array("0+", {
        partition: int32("0+"),
        racks: array("0+", "string"),
      }),
    }),
  },
);
export type ConsumerGroupPartitionMetadataValue = Decoded<
  typeof consumerGroupPartitionMetadataValue
>;

/** A member of a consumer group. */
export const consumerGroupMemberMetadataKey = message(
  { name: "ConsumerGroupMemberMetadataKey", apiKey: 5, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
    memberId: string("0"),
  },
);
export type ConsumerGroupMemberMetadataKey = Decoded<typeof consumerGroupMemberMetadataKey>;

/** What the member asked for. */
export const consumerGroupMemberMetadataValue = message(
  { name: "ConsumerGroupMemberMetadataValue", apiKey: 5, versions: "0", flexible: "0+" },
  {
    instanceId: string("0+", { nullable: "0+" }),
    rackId: string("0+", { nullable: "0+" }),
    clientId: string("0+"),
    clientHost: string("0+"),
    subscribedTopicNames: array("0+", "string"),
    subscribedTopicRegex: string("0+", { nullable: "0+" }),
    rebalanceTimeoutMs: int32("0+", { default: -1 }),
    serverAssignor: string("0+", { nullable: "0+" }),
    classicMemberMetadata: struct("0+", {
      sessionTimeoutMs: int32("0+"),
      supportedProtocols: array("0+", {
        name: string("0+"),
        metadata: bytes("0+"),
      }),
    }, { nullable: "0+", default: null, tag: 0, tagged: "0+" }),
  },
);
export type ConsumerGroupMemberMetadataValue = Decoded<typeof consumerGroupMemberMetadataValue>;

/** The target assignment of a consumer group. */
export const consumerGroupTargetAssignmentMetadataKey = message(
  { name: "ConsumerGroupTargetAssignmentMetadataKey", apiKey: 6, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
  },
);
export type ConsumerGroupTargetAssignmentMetadataKey = Decoded<
  typeof consumerGroupTargetAssignmentMetadataKey
>;

/** Epoch of the target assignment. */
export const consumerGroupTargetAssignmentMetadataValue = message(
  { name: "ConsumerGroupTargetAssignmentMetadataValue", apiKey: 6, versions: "0", flexible: "0+" },
  {
    assignmentEpoch: int32("0+"),
    assignmentTimestamp: int64("0+", { default: 0, tag: 0, tagged: "0+", ignorable: true }),
  },
);
export type ConsumerGroupTargetAssignmentMetadataValue = Decoded<
  typeof consumerGroupTargetAssignmentMetadataValue
>;

/** The target assignment of one member. */
export const consumerGroupTargetAssignmentMemberKey = message(
  { name: "ConsumerGroupTargetAssignmentMemberKey", apiKey: 7, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
    memberId: string("0"),
  },
);
export type ConsumerGroupTargetAssignmentMemberKey = Decoded<
  typeof consumerGroupTargetAssignmentMemberKey
>;

/** Partitions that the member shall have. */
export const consumerGroupTargetAssignmentMemberValue = message(
  { name: "ConsumerGroupTargetAssignmentMemberValue", apiKey: 7, versions: "0", flexible: "0+" },
  {
    topicPartitions: array("0+", {
      topicId: uuid("0+"),
      partitions: array("0+", "int32"),
    }),
  },
);
export type ConsumerGroupTargetAssignmentMemberValue = Decoded<
  typeof consumerGroupTargetAssignmentMemberValue
>;

/** The current assignment of one member. */
export const consumerGroupCurrentMemberAssignmentKey = message(
  { name: "ConsumerGroupCurrentMemberAssignmentKey", apiKey: 8, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
    memberId: string("0"),
  },
);
export type ConsumerGroupCurrentMemberAssignmentKey = Decoded<
  typeof consumerGroupCurrentMemberAssignmentKey
>;

const topicPartitions = {
  topicId: uuid("0+"),
  partitions: array("0+", "int32"),
  assignmentEpochs: array("0+", "int32", { nullable: "0+", default: null, tag: 0, tagged: "0+" }),
} as const;

/** Partitions that the member has, and those that it is giving up. */
export const consumerGroupCurrentMemberAssignmentValue = message(
  { name: "ConsumerGroupCurrentMemberAssignmentValue", apiKey: 8, versions: "0", flexible: "0+" },
  {
    memberEpoch: int32("0+"),
    previousMemberEpoch: int32("0+"),
    state: int8("0+"),
    assignedPartitions: array("0+", topicPartitions),
    partitionsPendingRevocation: array("0+", topicPartitions),
  },
);
export type ConsumerGroupCurrentMemberAssignmentValue = Decoded<
  typeof consumerGroupCurrentMemberAssignmentValue
>;

/** A regular expression by which members subscribe. */
export const consumerGroupRegularExpressionKey = message(
  { name: "ConsumerGroupRegularExpressionKey", apiKey: 16, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
    regularExpression: string("0"),
  },
);
export type ConsumerGroupRegularExpressionKey = Decoded<typeof consumerGroupRegularExpressionKey>;

/** Topics that the expression matched. */
export const consumerGroupRegularExpressionValue = message(
  { name: "ConsumerGroupRegularExpressionValue", apiKey: 16, versions: "0", flexible: "0+" },
  {
    topics: array("0+", "string"),
    version: int64("0+"),
    timestamp: int64("0+"),
  },
);
export type ConsumerGroupRegularExpressionValue = Decoded<
  typeof consumerGroupRegularExpressionValue
>;
