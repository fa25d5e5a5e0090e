/**
 * Metadata (key 3), versions 0–13: brokers, and topics with their partitions and leaders.
 *
 * - v1: null topics are all topics, an empty list is none (v0: an empty list is all); rack, controller,
 *   internal flag. v2: cluster id. v3: throttle time.
 * - v4: `allowAutoTopicCreation`. v5: offline replicas (KIP-112). v7: leader epochs (KIP-320).
 * - v8: authorized operations (KIP-430), of the cluster up to v10 (then in DescribeCluster, KIP-700).
 * - v9: flexible. v10: topic ids in the answer; v12: in the request (KIP-516). v13: an error for all.
 *
 * A topic that is made on first use is in the answer that made it; Kafka answers
 * UNKNOWN_TOPIC_OR_PARTITION once and lets the client ask again.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Encodable } from "../../protocol/schema.ts";
import {
  type MetadataRequest,
  metadataRequest,
  metadataResponse,
} from "../../protocol/schemas/metadata.ts";
import { type Uuid, ZERO_UUID } from "../../protocol/types.ts";
import type { Config } from "../config/config.ts";
import {
  controllerFor,
  type ReachableBroker,
  reachableBrokers,
  viewPartition,
} from "../controller/cluster_view.ts";
import type { Controller } from "../controller/controller.ts";
import type { TopicMaker } from "../controller/remote_controller.ts";
import {
  GROUP_METADATA_TOPIC,
  groupMetadataTopic,
  isInternalTopic,
} from "../controller/internal_topics.ts";
import type { MetadataImage, TopicImage } from "../controller/metadata_image.ts";
import { invalidTopicName, type NewTopic } from "../controller/topic_changes.ts";
import { allOperations, OPERATIONS_NOT_ASKED } from "../security/authorized_operations.ts";
import { type Api, defineApi, type RequestContext } from "./api.ts";

type Answer = Encodable<typeof metadataResponse>;
type TopicAnswer = Answer["topics"][number];
type Brokers = ReadonlyMap<number, ReachableBroker>;

/** The first version that may name topics by id. */
const TOPIC_ID_VERSION = 12;
/** Versions that carry the authorized operations of the cluster. */
const CLUSTER_OPERATIONS_VERSIONS = { lowest: 8, highest: 10 };

interface Subsystems {
  readonly controller: Controller;
  readonly topicMaker: TopicMaker;
  readonly config: Config;
  readonly nodeId: number;
  readonly topicsReady: (names: readonly string[]) => Promise<unknown>;
}

/** Answers Metadata. */
export function metadataApi(subsystems: Subsystems): Api {
  const { controller, config } = subsystems;
  return defineApi({
    key: ApiKey.Metadata,
    request: metadataRequest,
    response: metadataResponse,
    versions: { lowest: 0, highest: 13 },
    handle(request, context) {
      const image = controller.image();
      const refused = refuseRequest(request, context.apiVersion);
      if (refused !== null) return answer(subsystems, request, context, () => refused);
      const mayCreate = request.allowAutoTopicCreation &&
        config.boolean("auto.create.topics.enable");
      const missing = mayCreate ? missingTopics(request, image) : [];
      if (missing.length > 0) return createAndAnswer(subsystems, request, context, missing);
      return answer(
        subsystems,
        request,
        context,
        (brokers) => topicsOf(request, context.apiVersion, image, brokers),
      );
    },
  });
}

async function createAndAnswer(
  subsystems: Subsystems,
  request: MetadataRequest,
  context: RequestContext,
  missing: readonly string[],
): Promise<Answer> {
  const { controller, topicMaker, config, topicsReady } = subsystems;
  const brokers = [...controller.image().brokers.values()].filter(({ fenced }) => !fenced);
  const created = await topicMaker.createTopics(
    missing.map((name) => newTopic(config, name, brokers.length)),
  );
  await topicsReady(missing);
  // Made by somebody else meanwhile, or refused: what the image says now is the answer.
  const errors = new Map<string, ErrorCode>();
  for (const { name, error } of created) {
    if (error === ErrorCode.INVALID_TOPIC_EXCEPTION) errors.set(name, error);
  }
  const image = controller.image();
  return answer(
    subsystems,
    request,
    context,
    (brokers) => topicsOf(request, context.apiVersion, image, brokers, errors),
  );
}

function newTopic(config: Config, name: string, brokerCount: number): NewTopic {
  if (name === GROUP_METADATA_TOPIC) return groupMetadataTopic(config, brokerCount);
  return { name, partitionCount: -1, replicationFactor: -1, assignments: [], configs: [] };
}

function answer(
  { controller, nodeId }: Subsystems,
  request: MetadataRequest,
  { apiVersion, connection }: RequestContext,
  topics: (brokers: Brokers) => readonly TopicAnswer[],
): Answer {
  const image = controller.image();
  const brokers = reachableBrokers(image, { nodeId, ...connection });
  const { lowest, highest } = CLUSTER_OPERATIONS_VERSIONS;
  const carriesOperations = apiVersion >= lowest && apiVersion <= highest;
  return {
    throttleTimeMs: 0,
    brokers: [...brokers.values()].map(({ id, host, port, rack }) => ({
      nodeId: id,
      host,
      port,
      rack,
    })),
    clusterId: image.clusterId,
    controllerId: controllerFor(controller.controllerId, brokers),
    topics: topics(brokers),
    clusterAuthorizedOperations: carriesOperations && request.includeClusterAuthorizedOperations
      ? allOperations.cluster
      : OPERATIONS_NOT_ASKED,
    errorCode: ErrorCode.NONE,
  };
}

/** The topics asked for, each once, in the order of the request; `errors` for those that do not exist. */
function topicsOf(
  request: MetadataRequest,
  apiVersion: number,
  image: MetadataImage,
  brokers: Brokers,
  errors: ReadonlyMap<string, ErrorCode> = new Map(),
): TopicAnswer[] {
  const describe = (topic: TopicImage) => describeTopic(request, image, topic, brokers);
  const { topics } = request;
  const isAll = topics === null || (apiVersion === 0 && topics.length === 0);
  if (isAll) return [...image.topics()].map(describe);
  const answers = new Map<string, TopicAnswer>();
  for (const { name, topicId } of topics) {
    const isById = topicId !== ZERO_UUID;
    const key = isById ? `id ${topicId}` : `name ${name}`;
    if (answers.has(key)) continue;
    const topic = isById ? image.topicById(topicId) : image.topicByName(name!);
    if (topic !== undefined) answers.set(key, describe(topic));
    else if (isById) answers.set(key, failedTopic(ErrorCode.UNKNOWN_TOPIC_ID, null, topicId));
    else {
      const failed = failedTopic(errors.get(name!) ?? errorForMissing(name!), name, ZERO_UUID);
      answers.set(key, { ...failed, topicAuthorizedOperations: operationsOf(request) });
    }
  }
  return [...answers.values()];
}

function describeTopic(
  request: MetadataRequest,
  image: MetadataImage,
  topic: TopicImage,
  brokers: Brokers,
): TopicAnswer {
  return {
    errorCode: ErrorCode.NONE,
    name: topic.name,
    topicId: topic.id,
    isInternal: isInternalTopic(topic.name),
    partitions: topic.partitions.map((partition) => viewPartition(image, partition, brokers)),
    topicAuthorizedOperations: operationsOf(request),
  };
}

function operationsOf({ includeTopicAuthorizedOperations }: MetadataRequest): number {
  return includeTopicAuthorizedOperations ? allOperations.topic : OPERATIONS_NOT_ASKED;
}

function failedTopic(errorCode: ErrorCode, name: string | null, topicId: Uuid): TopicAnswer {
  return {
    errorCode,
    name,
    topicId,
    isInternal: name !== null && isInternalTopic(name),
    partitions: [],
  };
}

function errorForMissing(name: string): ErrorCode {
  return invalidTopicName(name) === null
    ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    : ErrorCode.INVALID_TOPIC_EXCEPTION;
}

/** Topics named in the request that do not exist and whose names could be a topic's. */
function missingTopics(request: MetadataRequest, image: MetadataImage): string[] {
  const missing = new Set<string>();
  for (const { name, topicId } of request.topics ?? []) {
    if (topicId !== ZERO_UUID || name === null) continue;
    if (image.topicByName(name) === undefined && invalidTopicName(name) === null) missing.add(name);
  }
  return [...missing];
}

/**
 * Versions 10 and 11 know topic ids in answers only: what names a topic by one is refused as a whole, and
 * so is in any version what names it in no way.
 */
function refuseRequest(request: MetadataRequest, apiVersion: number): TopicAnswer[] | null {
  const isRefused = request.topics?.some(({ name, topicId }) =>
    name === null
      ? apiVersion < TOPIC_ID_VERSION || topicId === ZERO_UUID
      : apiVersion < TOPIC_ID_VERSION && topicId !== ZERO_UUID
  );
  if (!isRefused) return null;
  return request.topics!.map(({ name, topicId }) =>
    // The answer has no null names before version 12.
    failedTopic(ErrorCode.INVALID_REQUEST, name ?? "", topicId)
  );
}
