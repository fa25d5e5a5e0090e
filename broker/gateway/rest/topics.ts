/** Topics: listed, made, looked at, grown, deleted. */

import { z } from "zod";
import { ErrorCode } from "../../../protocol/errors.ts";
import { type KafkaClient, KafkaError } from "../../client/kafka_client.ts";
import {
  createPartitions,
  createTopic,
  deleteTopics,
  type ListedTopic,
  listTopics,
  nextTopics,
  topicState,
} from "../../client/topics.ts";
import { json, noContent, type Operation, operation } from "./operation.ts";
import { topicName } from "./path_schemas.ts";
import {
  type AskedPage,
  Links,
  listSchema,
  page,
  pagedList,
  pageQuery,
  pageToken,
  readPageToken,
  relationship,
  resourceSchema,
} from "./resources.ts";
import { named } from "./schema_names.ts";

const MAX_INT32 = 0x7fff_ffff;
const MAX_INT16 = 0x7fff;
const MAX_TEXT = 0x7fff;
const MAX_ITEMS = 100_000;
const tag = "Topic (v3)";

/** A topic as it is shown. */
const topic = named(
  "TopicData",
  resourceSchema("KafkaTopic", {
    cluster_id: z.string(),
    topic_name: z.string(),
    is_internal: z.boolean(),
    replication_factor: z.int(),
    partitions_count: z.int(),
    partitions: relationship,
    configs: relationship,
    partition_reassignments: relationship,
  }),
);
const topicList = named("TopicDataList", listSchema(topic, "KafkaTopic"));

const createTopicRequest = named(
  "CreateTopicRequestData",
  z.object({
    topic_name: topicName,
    partitions_count: z.int().min(1).max(MAX_INT32).nullable().optional(),
    replication_factor: z.int().min(1).max(MAX_INT16).nullable().optional(),
    replicas_assignments: z.record(
      z.string().regex(/^\d{1,9}$/),
      z.array(z.int().min(0).max(MAX_INT32)).max(MAX_INT16),
    ).nullable().optional(),
    configs: z.array(z.object({
      name: z.string().max(MAX_TEXT),
      value: z.string().max(MAX_TEXT).nullable().optional(),
    })).max(MAX_ITEMS).nullable().optional(),
    validate_only: z.boolean().nullable().optional(),
  }),
);
const updateTopicRequest = named(
  "UpdatePartitionCountRequestData",
  z.object({ partitions_count: z.int().min(1).max(MAX_INT32) }),
);

function topicData(
  links: Links,
  { topic, internal, partitions, replicationFactor }: Omit<ListedTopic, "topicId">,
) {
  return {
    ...links.resource("KafkaTopic", ["topics", topic], `topic=${topic}`),
    topic_name: topic,
    is_internal: internal,
    replication_factor: replicationFactor,
    partitions_count: partitions,
    partitions: links.related("topics", topic, "partitions"),
    configs: links.related("topics", topic, "configs"),
    partition_reassignments: links.related("topics", topic, "partitions", "-", "reassignment"),
  };
}

async function knownTopic(client: KafkaClient, links: Links, name: string) {
  const { topic, internal, partitions } = await topicState(client, name);
  const replicationFactor = Math.max(0, ...partitions.map(({ replicas }) => replicas.length));
  return topicData(links, { topic, internal, partitions: partitions.length, replicationFactor });
}

async function topicsPage(client: KafkaClient, query: AskedPage) {
  const { page_size: count, page_token: token } = query;
  if (count === undefined) return page(await listTopics(client), ({ topic }) => topic, query);
  const after = token === undefined ? null : readPageToken(token);
  const { topics, hasMore } = await nextTopics(client, { after, count });
  const last = topics.at(-1);
  return { items: topics, token: hasMore && last !== undefined ? pageToken(last.topic) : null };
}

/** The operations. */
export const topicOperations: readonly Operation[] = [
  operation({
    method: "get",
    path: "/v3/clusters/{cluster_id}/topics",
    id: "listKafkaTopics",
    tag,
    summary: "List topics, by their names",
    query: pageQuery,
    answers: { 200: { description: "The list of topics.", schema: topicList } },
    handle: async ({ client, context, base, path, query }) => {
      const links = new Links(base, path.cluster_id);
      const { items, token } = await topicsPage(client, query);
      const data = items.map((item) => topicData(links, item));
      return json(
        context,
        pagedList(context, "KafkaTopic", links.to("topics"), { items: data, token }),
      );
    },
  }),
  operation({
    method: "post",
    path: "/v3/clusters/{cluster_id}/topics",
    id: "createKafkaTopic",
    tag,
    summary: "Create a topic",
    body: createTopicRequest,
    bodyExample: {
      topic_name: "orders",
      partitions_count: 3,
      configs: [{ name: "cleanup.policy", value: "compact" }],
    },
    answers: {
      200: { description: "With validate_only: the topic as it would be.", schema: topic },
      201: { description: "The topic.", schema: topic },
    },
    handle: async ({ client, context, base, path, body }) => {
      const validateOnly = body.validate_only ?? false;
      const assignments = Object.entries(body.replicas_assignments ?? {}).map(
        ([partition, brokerIds]) => ({ partition: Number(partition), brokerIds }),
      );
      const made = await createTopic(client, {
        name: body.topic_name,
        ...(body.partitions_count != null && { partitions: body.partitions_count }),
        ...(body.replication_factor != null && { replicationFactor: body.replication_factor }),
        assignments,
        configs: (body.configs ?? []).map(({ name, value }) => [name, value ?? null]),
        validateOnly,
      });
      const data = topicData(new Links(base, path.cluster_id), {
        ...made,
        topic: body.topic_name,
        internal: false,
      });
      if (!validateOnly) context.header("Location", data.metadata.self);
      return json(context, data, validateOnly ? 200 : 201);
    },
  }),
  operation({
    method: "get",
    path: "/v3/clusters/{cluster_id}/topics/{topic_name}",
    id: "getKafkaTopic",
    tag,
    summary: "Get a topic",
    answers: { 200: { description: "The topic.", schema: topic } },
    handle: async ({ client, context, base, path }) =>
      json(context, await knownTopic(client, new Links(base, path.cluster_id), path.topic_name)),
  }),
  operation({
    method: "patch",
    path: "/v3/clusters/{cluster_id}/topics/{topic_name}",
    id: "updatePartitionCountKafkaTopic",
    tag,
    summary: "Raise the number of partitions",
    body: updateTopicRequest,
    bodyExample: { partitions_count: 6 },
    answers: { 200: { description: "The topic.", schema: topic } },
    handle: async ({ client, context, base, path, body }) => {
      await topicState(client, path.topic_name);
      await createPartitions(client, path.topic_name, body.partitions_count);
      const links = new Links(base, path.cluster_id);
      return json(context, await knownTopic(client, links, path.topic_name));
    },
  }),
  operation({
    method: "delete",
    path: "/v3/clusters/{cluster_id}/topics/{topic_name}",
    id: "deleteKafkaTopic",
    tag,
    summary: "Delete a topic with all its records",
    answers: { 204: { description: "It is deleted." } },
    handle: async ({ client, path }) => {
      const [result] = await deleteTopics(client, [path.topic_name]);
      if (result?.error?.code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) {
        throw new KafkaError(result.error.code, `topic ${path.topic_name} does not exist`);
      }
      if (result?.error) throw result.error;
      return noContent();
    },
  }),
];
