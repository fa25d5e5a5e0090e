/**
 * StreamsGroupDescribe (key 89): state, topology and members of streams groups (KIP-1071).
 *
 * Versions:
 *   1    topology descriptions (KIP-1331), assignorName (KIP-1357)
 */

import {
  array,
  bool,
  type Decoded,
  int16,
  int32,
  int64,
  int8,
  message,
  string,
  struct,
  uint16,
} from "../schema.ts";

/** Request of StreamsGroupDescribe. */
export const streamsGroupDescribeRequest = message(
  { name: "StreamsGroupDescribeRequest", apiKey: 89, versions: "0-1", flexible: "0+" },
  {
    groupIds: array("0+", "string", { entity: "groupId" }),
    includeAuthorizedOperations: bool("0+"),
    includeTopologyDescription: bool("1+", { default: false }),
  },
);
export type StreamsGroupDescribeRequest = Decoded<typeof streamsGroupDescribeRequest>;

const endpoint = {
  host: string("0+"),
  port: uint16("0+"),
} as const;

const taskOffset = {
  subtopologyId: string("0+"),
  partition: int32("0+"),
  offset: int64("0+"),
} as const;

const taskIds = {
  subtopologyId: string("0+"),
  partitions: array("0+", "int32"),
} as const;

const assignment = {
  activeTasks: array("0+", taskIds),
  standbyTasks: array("0+", taskIds),
  warmupTasks: array("0+", taskIds),
} as const;

const keyValue = {
  key: string("0+"),
  value: string("0+"),
} as const;

const topicInfo = {
  name: string("0+", { entity: "topicName" }),
  partitions: int32("0+"),
  replicationFactor: int16("0+"),
  topicConfigs: array("0+", keyValue),
} as const;

const topologyDescriptionNode = {
  name: string("1+"),
  nodeType: int8("1+"),
  sourceTopics: array("1+", "string", { entity: "topicName" }),
  sinkTopic: string("1+", { nullable: "1+", default: null, entity: "topicName" }),
  stores: array("1+", "string"),
  successors: array("1+", "string"),
} as const;

const topologyDescriptionSubtopology = {
  subtopologyId: string("1+"),
  nodes: array("1+", topologyDescriptionNode),
} as const;

const topologyDescriptionGlobalStore = {
  source: struct("1+", topologyDescriptionNode),
  processor: struct("1+", topologyDescriptionNode),
} as const;

const topologyDescription = {
  subtopologies: array("1+", topologyDescriptionSubtopology),
  globalStores: array("1+", topologyDescriptionGlobalStore),
} as const;

/** Answer of StreamsGroupDescribe. */
export const streamsGroupDescribeResponse = message(
  { name: "StreamsGroupDescribeResponse", apiKey: 89, versions: "0-1", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    groups: array("0+", {
      errorCode: int16("0+"),
      errorMessage: string("0+", { nullable: "0+", default: null }),
      groupId: string("0+", { entity: "groupId" }),
      groupState: string("0+"),
      groupEpoch: int32("0+"),
      assignmentEpoch: int32("0+"),
      topology: struct("0+", {
        epoch: int32("0+"),
        subtopologies: array("0+", {
          subtopologyId: string("0+"),
          sourceTopics: array("0+", "string", { entity: "topicName" }),
          repartitionSinkTopics: array("0+", "string", { entity: "topicName" }),
          stateChangelogTopics: array("0+", topicInfo),
          repartitionSourceTopics: array("0+", topicInfo),
        }, { nullable: "0+", default: null }),
      }, { nullable: "0+", default: null }),
      members: array("0+", {
        memberId: string("0+"),
        memberEpoch: int32("0+"),
        instanceId: string("0+", { nullable: "0+", default: null }),
        rackId: string("0+", { nullable: "0+", default: null }),
        clientId: string("0+"),
        clientHost: string("0+"),
        topologyEpoch: int32("0+"),
        processId: string("0+"),
        userEndpoint: struct("0+", endpoint, { nullable: "0+", default: null }),
        clientTags: array("0+", keyValue),
        taskOffsets: array("0+", taskOffset),
        taskEndOffsets: array("0+", taskOffset),
        assignment: struct("0+", assignment),
        targetAssignment: struct("0+", assignment),
        isClassic: bool("0+"),
      }),
      authorizedOperations: int32("0+", { default: -2147483648 }),
      topologyDescription: struct("1+", topologyDescription, { nullable: "1+", default: null }),
      topologyDescriptionStatus: int8("1+", { default: 0 }),
      assignorName: string("1+", { nullable: "1+", default: null, ignorable: true }),
    }),
  },
);
export type StreamsGroupDescribeResponse = Decoded<typeof streamsGroupDescribeResponse>;
