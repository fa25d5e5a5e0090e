/**
 * StreamsGroupTopologyDescriptionUpdate (key 93): a streams client tells its topology for people
 * to see (KIP-1331).
 */

import { array, type Decoded, int16, int32, int8, message, string, struct } from "../schema.ts";

const topologyDescriptionNode = {
  name: string("0+"),
  nodeType: int8("0+"),
  sourceTopics: array("0+", "string", { entity: "topicName" }),
  sinkTopic: string("0+", { nullable: "0+", default: null, entity: "topicName" }),
  stores: array("0+", "string"),
  successors: array("0+", "string"),
} as const;

const topologyDescriptionSubtopology = {
  subtopologyId: string("0+"),
  nodes: array("0+", topologyDescriptionNode),
} as const;

const topologyDescriptionGlobalStore = {
  source: struct("0+", topologyDescriptionNode),
  processor: struct("0+", topologyDescriptionNode),
} as const;

const topologyDescription = {
  subtopologies: array("0+", topologyDescriptionSubtopology),
  globalStores: array("0+", topologyDescriptionGlobalStore),
} as const;

/** Request of StreamsGroupTopologyDescriptionUpdate. */
export const streamsGroupTopologyDescriptionUpdateRequest = message(
  {
    name: "StreamsGroupTopologyDescriptionUpdateRequest",
    apiKey: 93,
    versions: "0",
    flexible: "0+",
  },
  {
    groupId: string("0+", { entity: "groupId" }),
    memberId: string("0+"),
    topologyEpoch: int32("0+"),
    topologyDescription: struct("0+", topologyDescription),
  },
);
export type StreamsGroupTopologyDescriptionUpdateRequest = Decoded<
  typeof streamsGroupTopologyDescriptionUpdateRequest
>;

/** Answer of StreamsGroupTopologyDescriptionUpdate. */
export const streamsGroupTopologyDescriptionUpdateResponse = message(
  {
    name: "StreamsGroupTopologyDescriptionUpdateResponse",
    apiKey: 93,
    versions: "0",
    flexible: "0+",
  },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    errorMessage: string("0+", { nullable: "0+", default: null }),
  },
);
export type StreamsGroupTopologyDescriptionUpdateResponse = Decoded<
  typeof streamsGroupTopologyDescriptionUpdateResponse
>;
