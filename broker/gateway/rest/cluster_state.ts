/** What Confluent's API has no path for: the quorum, log directories, offsets of groups changed, groups deleted. */

import { z } from "zod";
import { formatTopicPartition, type TopicPartition } from "../../../protocol/types.ts";
import { deleteGroup } from "../../client/groups.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import { readLogDirs } from "../../client/log_dirs.ts";
import {
  committedOffsets,
  executeReset,
  placedOffsets,
  planReset,
  readingState,
  shiftedOffsets,
} from "../../client/offset_reset.ts";
import { parsePlace } from "../../client/offsets.ts";
import { describeQuorum } from "../../client/quorum.ts";
import { topicState } from "../../client/topics.ts";
import { ProblemError } from "../problem.ts";
import { json, noContent, type Operation, operation } from "./operation.ts";
import { topicName } from "./path_schemas.ts";
import { named } from "./schema_names.ts";

const MAX_INT32 = 0x7fff_ffff;
const MAX_PLACES = 10_000;
const MAX_TEXT = 100;

const quorum = named(
  "Quorum",
  z.object({
    leaderId: z.int(),
    leaderEpoch: z.int(),
    highWatermark: z.int(),
    replicas: z.array(z.object({
      node: z.int(),
      directoryId: z.string(),
      status: z.enum(["leader", "follower", "observer"]),
      logEndOffset: z.int(),
      lag: z.int(),
      caughtUpMsAgo: z.int().nullable(),
      endpoints: z.array(z.string()),
    })),
  }),
);

const logDirReplica = z.object({
  topic: z.string(),
  partition: z.int(),
  bytes: z.int(),
  offsetLag: z.int(),
});
const logDirs = named(
  "LogDirs",
  z.object({
    directories: z.array(z.object({
      broker: z.int(),
      directory: z.string(),
      state: z.string(),
      partitions: z.int(),
      usedBytes: z.int(),
      freeBytes: z.int().nullable(),
      sizeBytes: z.int().nullable(),
      arriving: z.array(logDirReplica),
      replicas: z.array(logDirReplica).optional(),
    })),
  }),
);

const resetRequest = named(
  "OffsetResetRequest",
  z.object({
    topics: z.array(z.object({
      topic: topicName,
      partitions: z.array(z.int().min(0).max(MAX_INT32)).max(MAX_PLACES).optional()
        .describe("All without it."),
    })).max(MAX_PLACES).optional()
      .describe("What is reset; without it, every partition that the group has an offset of."),
    to: z.string().max(MAX_TEXT).optional().describe(
      "earliest, latest, an offset (-10: ten before the end), an ISO 8601 time, or a while ago such as -1h.",
    ),
    shift: z.int().optional().describe("Or: so many records forward, back when negative."),
    dryRun: z.boolean().default(true).describe("true: only what would be is told."),
  }),
);
const resetResponse = named(
  "OffsetReset",
  z.object({
    dryRun: z.boolean(),
    /** The state of a group whose members stand in the way. */
    blockedBy: z.string().nullable(),
    offsets: z.array(z.object({
      topic: z.string(),
      partition: z.int(),
      oldOffset: z.int().nullable(),
      newOffset: z.int(),
      startOffset: z.int(),
      endOffset: z.int(),
    })),
  }),
);
type ResetRequest = z.output<typeof resetRequest>;

/** What is to be reset. Errors: ProblemError for a partition that does not exist; KafkaError, NetworkError. */
async function placesOf(
  client: KafkaClient,
  topics: NonNullable<ResetRequest["topics"]>,
): Promise<TopicPartition[]> {
  const places = new Map<string, TopicPartition>();
  for (const { topic, partitions: wanted } of topics) {
    const known = (await topicState(client, topic)).partitions.map(({ partition }) => partition);
    const missing = wanted?.find((partition) => !known.includes(partition));
    if (missing !== undefined) {
      const detail = `Partition ${missing} of ${topic} cannot be found; it has 0 to ${
        known.length - 1
      }`;
      throw new ProblemError(404, detail);
    }
    for (const partition of wanted ?? known) {
      places.set(formatTopicPartition(topic, partition), { topic, partition });
    }
  }
  return [...places.values()];
}

async function reset(client: KafkaClient, group: string, request: ResetRequest) {
  const { topics, to, shift, dryRun } = request;
  if ((to === undefined) === (shift === undefined)) {
    throw new ProblemError(400, "Cannot reset offsets: say where to, with one of to and shift");
  }
  const committed = await committedOffsets(client, group);
  const places = topics === undefined ? [...committed.values()] : await placesOf(client, topics);
  const place = to === undefined ? null : parsePlace(to);
  if (to !== undefined && place === null) {
    throw new ProblemError(400, `Cannot reset offsets: "${to}" is no place in a topic`);
  }
  const targets = place === null
    ? shiftedOffsets(places, committed, shift ?? 0)
    : await placedOffsets(client, places, place);
  const plan = await planReset(client, committed, targets);
  const blockedBy = await readingState(client, group);
  if (!dryRun && blockedBy !== null) {
    const detail =
      `Cannot reset the offsets of ${group}: it is ${blockedBy}, its members read; stop them`;
    throw new ProblemError(409, detail);
  }
  if (!dryRun) {
    const offsets = plan.map(({ topic, partition, newOffset: offset }) => ({
      topic,
      partition,
      offset,
    }));
    await executeReset(client, group, offsets);
  }
  return {
    dryRun,
    blockedBy,
    offsets: plan.map(({ askedOffset: _, ...told }) => told),
  };
}

/** The operations. */
export const clusterStateOperations: readonly Operation[] = [
  operation({
    method: "get",
    path: "/api/quorum",
    id: "getQuorum",
    tag: "Cluster",
    summary: "Get who keeps the cluster's metadata, and how far each of them is",
    answers: { 200: { description: "The quorum.", schema: quorum } },
    handle: async ({ client, context }) => {
      const { voterEndpoints: _, ...told } = await describeQuorum(client);
      return json(context, told);
    },
  }),
  operation({
    method: "get",
    path: "/api/log-dirs",
    id: "listLogDirs",
    tag: "Cluster",
    summary: "List the log directories of all brokers, their disks and what is in them",
    query: {
      topic: topicName.optional().describe("Tell the replicas of this topic."),
      replicas: z.enum(["true", "false"]).optional().describe("true: tell all replicas."),
    },
    answers: { 200: { description: "The directories.", schema: logDirs } },
    handle: async ({ client, context, query }) => {
      const isTold = query.replicas === "true" || query.topic !== undefined;
      const directories = (await readLogDirs(client)).map(({ replicas, ...directory }) => ({
        ...directory,
        ...(isTold && {
          replicas: replicas.filter(({ topic }) =>
            query.topic === undefined || topic === query.topic
          ),
        }),
      }));
      return json(context, { directories });
    },
  }),
  operation({
    method: "post",
    path: "/api/groups/{group}/offsets:reset",
    id: "resetOffsets",
    tag: "Groups",
    summary: "Change where a group goes on reading, or see what that would do",
    body: resetRequest,
    bodyExample: { topics: [{ topic: "orders" }], to: "earliest", dryRun: true },
    answers: { 200: { description: "What becomes of each partition.", schema: resetResponse } },
    handle: async ({ client, context, path, body }) =>
      json(context, await reset(client, path.group, body)),
  }),
  operation({
    method: "delete",
    path: "/api/groups/{group}",
    id: "deleteGroup",
    tag: "Groups",
    summary: "Delete a group with its offsets",
    answers: { 204: { description: "It is deleted." } },
    handle: async ({ client, path }) => {
      await deleteGroup(client, path.group);
      return noContent();
    },
  }),
];
