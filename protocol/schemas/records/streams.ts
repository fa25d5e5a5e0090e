/**
 * Records of streams groups in `__consumer_offsets` (KIP-1071).
 *
 * Before a key stands its type (the apiKey below) as an int16, before a value its version.
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
  struct,
  uint16,
} from "../../schema.ts";

/** A streams group. */
export const streamsGroupMetadataKey = message(
  { name: "StreamsGroupMetadataKey", apiKey: 17, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
  },
);
export type StreamsGroupMetadataKey = Decoded<typeof streamsGroupMetadataKey>;

const lastAssignmentConfig = {
  key: string("0+"),
  value: string("0+"),
} as const;

/** Epoch of a streams group, and what its assignment was made from. */
export const streamsGroupMetadataValue = message(
  { name: "StreamsGroupMetadataValue", apiKey: 17, versions: "0", flexible: "0+" },
  {
    epoch: int32("0+"),
    metadataHash: int64("0+"),
    validatedTopologyEpoch: int32("0+", { default: -1, tag: 0, tagged: "0+" }),
    lastAssignmentConfigs: array("0+", lastAssignmentConfig, {
      nullable: "0+",
      default: null,
      tag: 1,
      tagged: "0+",
    }),
    storedDescriptionTopologyEpoch: int32("0+", { default: -1, tag: 2, tagged: "0+" }),
    failedDescriptionTopologyEpoch: int32("0+", { default: -1, tag: 3, tagged: "0+" }),
  },
);
export type StreamsGroupMetadataValue = Decoded<typeof streamsGroupMetadataValue>;

/** A member of a streams group. */
export const streamsGroupMemberMetadataKey = message(
  { name: "StreamsGroupMemberMetadataKey", apiKey: 19, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
    memberId: string("0"),
  },
);
export type StreamsGroupMemberMetadataKey = Decoded<typeof streamsGroupMemberMetadataKey>;

const endpoint = {
  host: string("0+"),
  port: uint16("0+"),
} as const;

const keyValue = {
  key: string("0+"),
  value: string("0+"),
} as const;

/** Client, process and topology epoch of the member. */
export const streamsGroupMemberMetadataValue = message(
  { name: "StreamsGroupMemberMetadataValue", apiKey: 19, versions: "0", flexible: "0+" },
  {
    instanceId: string("0+", { nullable: "0+" }),
    rackId: string("0+", { nullable: "0+" }),
    clientId: string("0+"),
    clientHost: string("0+"),
    rebalanceTimeoutMs: int32("0+", { default: -1 }),
    topologyEpoch: int32("0+"),
    processId: string("0+"),
    userEndpoint: struct("0+", endpoint, { nullable: "0+", default: null }),
    clientTags: array("0+", keyValue),
  },
);
export type StreamsGroupMemberMetadataValue = Decoded<typeof streamsGroupMemberMetadataValue>;

/** The target assignment of a streams group. */
export const streamsGroupTargetAssignmentMetadataKey = message(
  { name: "StreamsGroupTargetAssignmentMetadataKey", apiKey: 20, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
  },
);
export type StreamsGroupTargetAssignmentMetadataKey = Decoded<
  typeof streamsGroupTargetAssignmentMetadataKey
>;

/** Epoch of the target assignment. */
export const streamsGroupTargetAssignmentMetadataValue = message(
  { name: "StreamsGroupTargetAssignmentMetadataValue", apiKey: 20, versions: "0", flexible: "0+" },
  {
    assignmentEpoch: int32("0+"),
    assignmentTimestamp: int64("0+", { default: 0, tag: 0, tagged: "0+", ignorable: true }),
  },
);
export type StreamsGroupTargetAssignmentMetadataValue = Decoded<
  typeof streamsGroupTargetAssignmentMetadataValue
>;

/** The target assignment of one member. */
export const streamsGroupTargetAssignmentMemberKey = message(
  { name: "StreamsGroupTargetAssignmentMemberKey", apiKey: 21, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
    memberId: string("0"),
  },
);
export type StreamsGroupTargetAssignmentMemberKey = Decoded<
  typeof streamsGroupTargetAssignmentMemberKey
>;

const streamsGroupTargetAssignmentMemberValueTaskIds = {
  subtopologyId: string("0+"),
  partitions: array("0+", "int32"),
} as const;

/** Tasks that the member shall have. */
export const streamsGroupTargetAssignmentMemberValue = message(
  { name: "StreamsGroupTargetAssignmentMemberValue", apiKey: 21, versions: "0", flexible: "0+" },
  {
    activeTasks: array("0+", streamsGroupTargetAssignmentMemberValueTaskIds),
    standbyTasks: array("0+", streamsGroupTargetAssignmentMemberValueTaskIds),
    warmupTasks: array("0+", streamsGroupTargetAssignmentMemberValueTaskIds),
  },
);
export type StreamsGroupTargetAssignmentMemberValue = Decoded<
  typeof streamsGroupTargetAssignmentMemberValue
>;

/** The current assignment of one member. */
export const streamsGroupCurrentMemberAssignmentKey = message(
  { name: "StreamsGroupCurrentMemberAssignmentKey", apiKey: 22, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
    memberId: string("0"),
  },
);
export type StreamsGroupCurrentMemberAssignmentKey = Decoded<
  typeof streamsGroupCurrentMemberAssignmentKey
>;

const streamsGroupCurrentMemberAssignmentValueTaskIds = {
  subtopologyId: string("0+"),
  partitions: array("0+", "int32"),
  assignmentEpochs: array("0+", "int32", { nullable: "0+", default: null, tag: 0, tagged: "0+" }),
} as const;

/** Tasks that the member has, and those that it is giving up. */
export const streamsGroupCurrentMemberAssignmentValue = message(
  { name: "StreamsGroupCurrentMemberAssignmentValue", apiKey: 22, versions: "0", flexible: "0+" },
  {
    memberEpoch: int32("0+"),
    previousMemberEpoch: int32("0+"),
    state: int8("0+"),
    activeTasks: array("0+", streamsGroupCurrentMemberAssignmentValueTaskIds),
    standbyTasks: array("0+", streamsGroupCurrentMemberAssignmentValueTaskIds),
    warmupTasks: array("0+", streamsGroupCurrentMemberAssignmentValueTaskIds),
    activeTasksPendingRevocation: array("0+", streamsGroupCurrentMemberAssignmentValueTaskIds),
    standbyTasksPendingRevocation: array("0+", streamsGroupCurrentMemberAssignmentValueTaskIds),
    warmupTasksPendingRevocation: array("0+", streamsGroupCurrentMemberAssignmentValueTaskIds),
  },
);
export type StreamsGroupCurrentMemberAssignmentValue = Decoded<
  typeof streamsGroupCurrentMemberAssignmentValue
>;

/** The topology of a streams group. */
export const streamsGroupTopologyKey = message(
  { name: "StreamsGroupTopologyKey", apiKey: 23, versions: "0", flexible: "none" },
  {
    groupId: string("0"),
  },
);
export type StreamsGroupTopologyKey = Decoded<typeof streamsGroupTopologyKey>;

const topicConfig = {
  key: string("0+"),
  value: string("0+"),
} as const;

const topicInfo = {
  name: string("0+"),
  partitions: int32("0+"),
  replicationFactor: int16("0+"),
  topicConfigs: array("0+", topicConfig),
} as const;

/** Subtopologies with their topics. */
export const streamsGroupTopologyValue = message(
  { name: "StreamsGroupTopologyValue", apiKey: 23, versions: "0", flexible: "0+" },
  {
    epoch: int32("0+"),
    subtopologies: array("0+", {
      subtopologyId: string("0+"),
      sourceTopics: array("0+", "string"),
      sourceTopicRegex: array("0+", "string"),
      stateChangelogTopics: array("0+", topicInfo),
      repartitionSinkTopics: array("0+", "string"),
      repartitionSourceTopics: array("0+", topicInfo),
      copartitionGroups: array("0+", {
        sourceTopics: array("0+", "int16"),
        sourceTopicRegex: array("0+", "int16"),
        repartitionSourceTopics: array("0+", "int16"),
      }),
    }),
  },
);
export type StreamsGroupTopologyValue = Decoded<typeof streamsGroupTopologyValue>;
