/** Partitions with their replicas, their offsets, and replicas that move. */

import { z } from "zod";
import { ErrorCode } from "../../../protocol/errors.ts";
import { Calls } from "../../client/calls.ts";
import { type KafkaClient, throwOnError } from "../../client/kafka_client.ts";
import { listOffsets, SpecialTimestamp } from "../../client/offsets.ts";
import { type TopicPartitionState, topicState } from "../../client/topics.ts";
import { ConfluentCode, ProblemError } from "../problem.ts";
import { noBroker } from "./clusters.ts";
import { json, type Operation, operation } from "./operation.ts";
import { Links, listSchema, relationship, resourceSchema, wholeList } from "./resources.ts";
import { named } from "./schema_names.ts";

const TIMEOUT_MS = 30_000;
const tag = "Partition (v3)";

const place = { cluster_id: z.string(), topic_name: z.string(), partition_id: z.int() };
const partition = named(
  "PartitionData",
  resourceSchema("KafkaPartition", {
    ...place,
    leader: relationship.optional(),
    replicas: relationship,
    reassignment: relationship,
  }),
);
const partitionList = named("PartitionDataList", listSchema(partition, "KafkaPartition"));
const partitionOffsets = named(
  "PartitionWithOffsetsData",
  resourceSchema("KafkaPartitionWithOffsets", {
    ...place,
    earliest_offset: z.int().nullable(),
    latest_offset: z.int().nullable(),
  }),
);
const replica = named(
  "ReplicaData",
  resourceSchema("KafkaReplica", {
    ...place,
    broker_id: z.int(),
    is_leader: z.boolean(),
    is_in_sync: z.boolean(),
    broker: relationship,
  }),
);
const replicaList = named("ReplicaDataList", listSchema(replica, "KafkaReplica"));
const reassignment = named(
  "ReassignmentData",
  resourceSchema("KafkaReassignment", {
    ...place,
    adding_replicas: z.array(z.int()),
    removing_replicas: z.array(z.int()),
    replicas: relationship,
  }),
);
const reassignmentList = named(
  "ReassignmentDataList",
  listSchema(reassignment, "KafkaReassignment"),
);

function partitionData(
  links: Links,
  topic: string,
  { partition: id, leader }: TopicPartitionState,
) {
  const segments = ["topics", topic, "partitions", id] as const;
  return {
    ...links.resource("KafkaPartition", segments, `topic=${topic}/partition=${id}`),
    topic_name: topic,
    partition_id: id,
    ...(leader >= 0 && { leader: links.related(...segments, "replicas", leader) }),
    replicas: links.related(...segments, "replicas"),
    reassignment: links.related(...segments, "reassignment"),
  };
}

function replicaData(
  links: Links,
  topic: string,
  { partition: id, leader, isr }: TopicPartitionState,
  brokerId: number,
) {
  const segments = ["topics", topic, "partitions", id, "replicas", brokerId] as const;
  const name = `topic=${topic}/partition=${id}/replica=${brokerId}`;
  return {
    ...links.resource("KafkaReplica", segments, name),
    topic_name: topic,
    partition_id: id,
    broker_id: brokerId,
    is_leader: brokerId === leader,
    is_in_sync: isr.includes(brokerId),
    broker: links.related("brokers", brokerId),
  };
}

async function knownPartition(client: KafkaClient, topic: string, id: number) {
  const { partitions } = await topicState(client, topic);
  const found = partitions.find(({ partition }) => partition === id);
  if (found !== undefined) return found;
  throw new ProblemError(
    404,
    `Partition ${id} of ${topic} cannot be found; the topic has 0 to ${partitions.length - 1}`,
    ConfluentCode.unknownTopicOrPartition,
  );
}

/** Replicas that move, of one topic or of all. Errors: KafkaError, NetworkError. */
async function reassignments(client: KafkaClient, links: Links, topic: string | null) {
  const wanted = topic === null ? null : [{
    name: topic,
    partitionIndexes: (await topicState(client, topic)).partitions.map((it) => it.partition),
  }];
  const answer = await client.ask(Calls.listPartitionReassignments, {
    timeoutMs: TIMEOUT_MS,
    topics: wanted,
  });
  if (answer.errorCode !== ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) {
    throwOnError(answer.errorCode, answer.errorMessage);
  }
  return answer.topics.flatMap(({ name, partitions }) =>
    partitions.map(({ partitionIndex, addingReplicas, removingReplicas }) => {
      const segments = ["topics", name, "partitions", partitionIndex] as const;
      return {
        ...links.resource(
          "KafkaReassignment",
          [...segments, "reassignment"],
          `topic=${name}/partition=${partitionIndex}/reassignment`,
        ),
        topic_name: name,
        partition_id: partitionIndex,
        adding_replicas: addingReplicas,
        removing_replicas: removingReplicas,
        replicas: links.related(...segments, "replicas"),
      };
    })
  );
}

async function brokerReplicas(client: KafkaClient, links: Links, brokerId: number) {
  const { brokers, topics } = await client.retry(() => client.metadata(null));
  if (!brokers.some(({ nodeId }) => nodeId === brokerId)) throw noBroker(brokerId);
  return topics.toSorted((a, b) => ((a.name ?? "") < (b.name ?? "") ? -1 : 1))
    .flatMap(({ name, partitions }) =>
      partitions
        .filter(({ replicaNodes }) => replicaNodes.includes(brokerId))
        .sort((a, b) => a.partitionIndex - b.partitionIndex)
        .map(({ partitionIndex, leaderId, leaderEpoch, replicaNodes, isrNodes }) =>
          replicaData(links, name ?? "", {
            partition: partitionIndex,
            leader: leaderId,
            leaderEpoch,
            replicas: replicaNodes,
            isr: isrNodes,
          }, brokerId)
        )
    );
}

const PARTITIONS = "/v3/clusters/{cluster_id}/topics/{topic_name}/partitions";

const partitionsOfTopics: readonly Operation[] = [
  operation({
    method: "get",
    path: PARTITIONS,
    id: "listKafkaV3Partitions",
    tag,
    summary: "List the partitions of a topic",
    answers: { 200: { description: "The partitions.", schema: partitionList } },
    handle: async ({ client, context, base, path: { cluster_id, topic_name } }) => {
      const links = new Links(base, cluster_id);
      const { partitions } = await topicState(client, topic_name);
      const data = partitions.map((state) => partitionData(links, topic_name, state));
      const self = links.to("topics", topic_name, "partitions");
      return json(context, wholeList("KafkaPartition", self, data));
    },
  }),
  operation({
    method: "get",
    path: `${PARTITIONS}/{partition_id}`,
    id: "getKafkaV3Partition",
    tag,
    summary: "Get a partition",
    answers: { 200: { description: "The partition.", schema: partition } },
    handle: async ({ client, context, base, path: { cluster_id, topic_name, partition_id } }) => {
      const state = await knownPartition(client, topic_name, partition_id);
      return json(context, partitionData(new Links(base, cluster_id), topic_name, state));
    },
  }),
  operation({
    method: "get",
    path: `${PARTITIONS}/{partition_id}/offset`,
    id: "getKafkaV3PartitionOffset",
    tag,
    summary: "Get where a partition begins and ends",
    query: {
      offset_type: z.enum(["earliest_offset", "latest_offset", "earliest", "latest"]).optional()
        .describe("Which one; both without it."),
    },
    answers: { 200: { description: "The offsets.", schema: partitionOffsets } },
    handle: async (
      { client, context, base, path: { cluster_id, topic_name, partition_id: id }, query },
    ) => {
      await knownPartition(client, topic_name, id);
      const at = async (end: "earliest" | "latest") => {
        if (query.offset_type?.startsWith(end) === false) return null;
        const found = await listOffsets(client, topic_name, [id], SpecialTimestamp[end]);
        return found.get(id)?.offset ?? null;
      };
      const links = new Links(base, cluster_id);
      const segments = ["topics", topic_name, "partitions", id, "offset"];
      const name = `topic=${topic_name}/partition=${id}/offset`;
      return json(context, {
        ...links.resource("KafkaPartitionWithOffsets", segments, name),
        topic_name,
        partition_id: id,
        earliest_offset: await at("earliest"),
        latest_offset: await at("latest"),
      });
    },
  }),
];

const replicas: readonly Operation[] = [
  operation({
    method: "get",
    path: `${PARTITIONS}/{partition_id}/replicas`,
    id: "listKafkaV3Replicas",
    tag: "Replica (v3)",
    summary: "List the replicas of a partition",
    answers: { 200: { description: "The replicas.", schema: replicaList } },
    handle: async ({ client, context, base, path: { cluster_id, topic_name, partition_id } }) => {
      const links = new Links(base, cluster_id);
      const state = await knownPartition(client, topic_name, partition_id);
      const data = state.replicas.map((id) => replicaData(links, topic_name, state, id));
      const self = links.to("topics", topic_name, "partitions", partition_id, "replicas");
      return json(context, wholeList("KafkaReplica", self, data));
    },
  }),
  operation({
    method: "get",
    path: `${PARTITIONS}/{partition_id}/replicas/{broker_id}`,
    id: "getKafkaV3Replica",
    tag: "Replica (v3)",
    summary: "Get a replica",
    answers: { 200: { description: "The replica.", schema: replica } },
    handle: async (
      { client, context, base, path: { cluster_id, topic_name, partition_id, broker_id } },
    ) => {
      const state = await knownPartition(client, topic_name, partition_id);
      if (!state.replicas.includes(broker_id)) {
        const detail = `Broker ${broker_id} has no replica of partition ${partition_id}`;
        throw new ProblemError(404, detail);
      }
      return json(
        context,
        replicaData(new Links(base, cluster_id), topic_name, state, broker_id),
      );
    },
  }),
  operation({
    method: "get",
    path: "/v3/clusters/{cluster_id}/brokers/{broker_id}/partition-replicas",
    id: "getKafkaV3BrokersPartitionReplicas",
    tag: "Replica (v3)",
    summary: "List the replicas of a broker",
    answers: { 200: { description: "The replicas.", schema: replicaList } },
    handle: async ({ client, context, base, path: { cluster_id, broker_id } }) => {
      const links = new Links(base, cluster_id);
      const data = await brokerReplicas(client, links, broker_id);
      const self = links.to("brokers", broker_id, "partition-replicas");
      return json(context, wholeList("KafkaReplica", self, data));
    },
  }),
];

const moves: readonly Operation[] = [
  operation({
    method: "get",
    path: "/v3/clusters/{cluster_id}/topics/-/partitions/-/reassignment",
    id: "listKafkaV3Reassignments",
    tag,
    summary: "List the partitions whose replicas move",
    answers: { 200: { description: "The moves.", schema: reassignmentList } },
    handle: async ({ client, context, base, path: { cluster_id } }) => {
      const links = new Links(base, cluster_id);
      const self = links.to("topics", "-", "partitions", "-", "reassignment");
      const data = await reassignments(client, links, null);
      return json(context, wholeList("KafkaReassignment", self, data));
    },
  }),
  operation({
    method: "get",
    path: `${PARTITIONS}/-/reassignment`,
    id: "listKafkaV3TopicReassignments",
    tag,
    summary: "List the partitions of a topic whose replicas move",
    answers: { 200: { description: "The moves.", schema: reassignmentList } },
    handle: async ({ client, context, base, path: { cluster_id, topic_name } }) => {
      const links = new Links(base, cluster_id);
      const self = links.to("topics", topic_name, "partitions", "-", "reassignment");
      const data = await reassignments(client, links, topic_name);
      return json(context, wholeList("KafkaReassignment", self, data));
    },
  }),
  operation({
    method: "get",
    path: `${PARTITIONS}/{partition_id}/reassignment`,
    id: "getKafkaV3Reassignment",
    tag,
    summary: "Get how the replicas of a partition move",
    answers: { 200: { description: "The move.", schema: reassignment } },
    handle: async ({ client, context, base, path: { cluster_id, topic_name, partition_id } }) => {
      await knownPartition(client, topic_name, partition_id);
      const all = await reassignments(client, new Links(base, cluster_id), topic_name);
      const found = all.find((it) => it.partition_id === partition_id);
      if (found === undefined) {
        const detail = `The replicas of partition ${partition_id} of ${topic_name} do not move`;
        throw new ProblemError(404, detail);
      }
      return json(context, found);
    },
  }),
];

/** The operations. Those with a `-` in their path come before those that would take it for a partition. */
export const partitionOperations: readonly Operation[] = [
  ...moves,
  ...partitionsOfTopics,
  ...replicas,
];
