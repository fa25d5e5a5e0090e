/**
 * What the differential test asks of both brokers, as stories: an API, and the requests that lead to it.
 *
 * A story is played once for every version of its API, on a topic of its own. `state.topic` names that
 * topic; `keep` puts what later requests need (topic ids, session ids) beside it.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { buildBatch, type NewBatch } from "../../protocol/records.ts";
import type { Decoded, Encodable, Message } from "../../protocol/schema.ts";
import { alterConfigsRequest, alterConfigsResponse } from "../../protocol/schemas/alter_configs.ts";
import {
  createPartitionsRequest,
  createPartitionsResponse,
} from "../../protocol/schemas/create_partitions.ts";
import { createTopicsRequest, createTopicsResponse } from "../../protocol/schemas/create_topics.ts";
import { deleteGroupsRequest, deleteGroupsResponse } from "../../protocol/schemas/delete_groups.ts";
import {
  deleteRecordsRequest,
  deleteRecordsResponse,
} from "../../protocol/schemas/delete_records.ts";
import { deleteTopicsRequest, deleteTopicsResponse } from "../../protocol/schemas/delete_topics.ts";
import {
  describeClusterRequest,
  describeClusterResponse,
} from "../../protocol/schemas/describe_cluster.ts";
import {
  describeConfigsRequest,
  describeConfigsResponse,
} from "../../protocol/schemas/describe_configs.ts";
import {
  describeGroupsRequest,
  describeGroupsResponse,
} from "../../protocol/schemas/describe_groups.ts";
import {
  describeLogDirsRequest,
  describeLogDirsResponse,
} from "../../protocol/schemas/describe_log_dirs.ts";
import {
  describeProducersRequest,
  describeProducersResponse,
} from "../../protocol/schemas/describe_producers.ts";
import {
  describeTopicPartitionsRequest,
  describeTopicPartitionsResponse,
} from "../../protocol/schemas/describe_topic_partitions.ts";
import { fetchRequest, fetchResponse } from "../../protocol/schemas/fetch.ts";
import {
  findCoordinatorRequest,
  findCoordinatorResponse,
} from "../../protocol/schemas/find_coordinator.ts";
import { heartbeatRequest, heartbeatResponse } from "../../protocol/schemas/heartbeat.ts";
import {
  incrementalAlterConfigsRequest,
  incrementalAlterConfigsResponse,
} from "../../protocol/schemas/incremental_alter_configs.ts";
import {
  initProducerIdRequest,
  initProducerIdResponse,
} from "../../protocol/schemas/init_producer_id.ts";
import { joinGroupRequest, joinGroupResponse } from "../../protocol/schemas/join_group.ts";
import { leaveGroupRequest, leaveGroupResponse } from "../../protocol/schemas/leave_group.ts";
import { listOffsetsRequest, listOffsetsResponse } from "../../protocol/schemas/list_offsets.ts";
import { metadataRequest, metadataResponse } from "../../protocol/schemas/metadata.ts";
import { offsetCommitRequest, offsetCommitResponse } from "../../protocol/schemas/offset_commit.ts";
import { offsetDeleteRequest, offsetDeleteResponse } from "../../protocol/schemas/offset_delete.ts";
import { offsetFetchRequest, offsetFetchResponse } from "../../protocol/schemas/offset_fetch.ts";
import {
  offsetForLeaderEpochRequest,
  offsetForLeaderEpochResponse,
} from "../../protocol/schemas/offset_for_leader_epoch.ts";
import { produceRequest, produceResponse } from "../../protocol/schemas/produce.ts";
import { syncGroupRequest, syncGroupResponse } from "../../protocol/schemas/sync_group.ts";
import { type Uuid, ZERO_UUID } from "../../protocol/types.ts";

/** What a story remembers between its requests. */
export type State = Record<string, unknown> & { topic?: unknown };

/** One request of a story. */
export interface Step {
  readonly title: string;
  readonly request: Message;
  readonly response: Message;
  /** The request, or null to leave the step out. */
  readonly value: (state: State, version: number) => object | null;
  /** Version to use where the request is not of the story's API. */
  readonly version?: number;
  readonly keep?: (state: State, answer: never) => void;
  /** False for requests that only prepare. */
  readonly compare?: boolean;
  /** Part of the answer to compare. */
  readonly pick?: (answer: never) => unknown;
}

function step<Req extends Message, Res extends Message>(
  title: string,
  request: Req,
  response: Res,
  value: (state: State, version: number) => Encodable<Req> | null,
  more: {
    keep?: (state: State, answer: Decoded<Res>) => void;
    pick?: (answer: Decoded<Res>) => unknown;
    compare?: boolean;
    version?: number;
  } = {},
): Step {
  return { title, request, response, value, ...more } as unknown as Step;
}

const topicOf = (state: State) => state["topic"] as string;
const idOf = (state: State) => (state["topicId"] ?? ZERO_UUID) as Uuid;
const bytesOf = (text: string) => new TextEncoder().encode(text);
const UNKNOWN_ID = "8TSpTSmVSLi-_jcVmYLDkg" as Uuid;

/** Makes the story's topic and keeps its id. */
function makeTopic(configs: Record<string, string> = {}, numPartitions = 1): Step[] {
  return [
    step("make the topic", createTopicsRequest, createTopicsResponse, (state) => ({
      topics: [{
        name: topicOf(state),
        numPartitions,
        replicationFactor: 1,
        assignments: [],
        configs: Object.entries(configs).map(([name, value]) => ({ name, value })),
      }],
      timeoutMs: 30_000,
    }), {
      compare: false,
      keep: (state, answer) => state["topicId"] = answer.topics[0]!.topicId,
    }),
  ];
}

function batch(values: readonly string[], more: Partial<NewBatch> = {}): Uint8Array {
  const start = 1_700_000_000_000;
  return buildBatch({
    records: values.map((value, i) => ({
      key: null,
      value: bytesOf(value),
      timestamp: start + 10 * i,
    })),
    ...more,
  });
}

function produce(
  title: string,
  records: () => Uint8Array | null,
  { acks = -1, partition = 0, topic, compare = true, id }: {
    acks?: number;
    partition?: number;
    topic?: string;
    compare?: boolean;
    id?: Uuid;
  } = {},
): Step {
  return step(title, produceRequest, produceResponse, (state) => ({
    transactionalId: null,
    acks,
    timeoutMs: 10_000,
    topicData: [{
      name: topic ?? topicOf(state),
      topicId: id ?? (topic === undefined ? idOf(state) : UNKNOWN_ID),
      partitionData: [{ index: partition, records: records() }],
    }],
  }), { compare });
}

const fill = (count = 3) =>
  Array.from(
    { length: count },
    (_, i) => produce(`fill ${i}`, () => batch([`a${i}`, `b${i}`, `c${i}`]), { compare: false }),
  );

function corrupt(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at]! ^= 0xff;
  return copy;
}

interface FetchOptions {
  fetchOffset?: number;
  partition?: number;
  currentLeaderEpoch?: number;
  lastFetchedEpoch?: number;
  sessionId?: number | "kept";
  sessionEpoch?: number;
  partitionMaxBytes?: number;
  maxBytes?: number;
  topic?: string;
  withoutTopics?: boolean;
}

function fetchStep(title: string, options: FetchOptions = {}): Step {
  return step(title, fetchRequest, fetchResponse, (state) => ({
    maxWaitMs: 0,
    minBytes: 0,
    maxBytes: options.maxBytes ?? 1 << 20,
    sessionId: options.sessionId === "kept"
      ? (state["sessionId"] ?? 0) as number
      : options.sessionId ?? 0,
    sessionEpoch: options.sessionEpoch ?? -1,
    topics: options.withoutTopics === true ? [] : [{
      topic: options.topic ?? topicOf(state),
      topicId: options.topic === undefined ? idOf(state) : UNKNOWN_ID,
      partitions: [{
        partition: options.partition ?? 0,
        fetchOffset: options.fetchOffset ?? 0,
        currentLeaderEpoch: options.currentLeaderEpoch ?? -1,
        lastFetchedEpoch: options.lastFetchedEpoch ?? -1,
        partitionMaxBytes: options.partitionMaxBytes ?? 1 << 20,
      }],
    }],
    forgottenTopicsData: [],
  }), {
    keep: (state, answer) => {
      if (answer.sessionId !== 0) state["sessionId"] = answer.sessionId;
    },
  });
}

function listOffsets(
  title: string,
  timestamp: number,
  more: { partition?: number; epoch?: number; topic?: string } = {},
): Step {
  return step(title, listOffsetsRequest, listOffsetsResponse, (state) => ({
    replicaId: -1,
    isolationLevel: 0,
    topics: [{
      name: more.topic ?? topicOf(state),
      partitions: [{
        partitionIndex: more.partition ?? 0,
        currentLeaderEpoch: more.epoch ?? -1,
        timestamp,
      }],
    }],
    timeoutMs: 1000,
  }));
}

const newTopic = (name: string, more: object = {}) => ({
  name,
  numPartitions: 1,
  replicationFactor: 1,
  assignments: [],
  configs: [],
  ...more,
});

function createTopics(
  title: string,
  topics: (topic: string) => ReturnType<typeof newTopic>[],
  validateOnly = false,
): Step {
  return step(title, createTopicsRequest, createTopicsResponse, (state) => ({
    topics: topics(topicOf(state)),
    timeoutMs: 30_000,
    validateOnly,
  }), {
    pick: (answer) =>
      answer.topics.map(({ configs, ...topic }) => ({
        ...topic,
        configCount: (configs ?? []).length > 0,
      })),
  });
}

function configsOf(
  resourceType: number,
  name: (state: State) => string,
  keys: string[] | null = null,
): Step {
  return step("describe", describeConfigsRequest, describeConfigsResponse, (state) => ({
    resources: [{ resourceType, resourceName: name(state), configurationKeys: keys }],
    includeSynonyms: false,
  }));
}

function join(title: string, more: Partial<Encodable<typeof joinGroupRequest>> = {}): Step {
  return step(title, joinGroupRequest, joinGroupResponse, (state) => ({
    groupId: `group-${topicOf(state)}`,
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 10_000,
    memberId: (state["memberId"] ?? "") as string,
    protocolType: "consumer",
    protocols: [{ name: "range", metadata: bytesOf("meta") }],
    ...more,
  }), {
    keep: (state, answer) => {
      if (answer.memberId !== "") state["memberId"] = answer.memberId;
    },
    pick: ({ leader, memberId, ...answer }) => ({
      ...answer,
      leads: leader === memberId,
      members: answer.members.map(({ metadata, groupInstanceId }) => ({
        metadata,
        groupInstanceId,
      })),
    }),
  });
}

function sync(title: string, generationId = 1, memberId?: string): Step {
  return step(title, syncGroupRequest, syncGroupResponse, (state) => ({
    groupId: `group-${topicOf(state)}`,
    generationId,
    memberId: memberId ?? state["memberId"] as string,
    protocolType: "consumer",
    protocolName: "range",
    assignments: [{ memberId: state["memberId"] as string, assignment: bytesOf("mine") }],
  }));
}

function beat(title: string, generationId: number, memberId?: string): Step {
  return step(title, heartbeatRequest, heartbeatResponse, (state) => ({
    groupId: `group-${topicOf(state)}`,
    generationId,
    memberId: memberId ?? state["memberId"] as string,
  }));
}

function commit(
  title: string,
  generation: number,
  more: { memberId?: string; metadata?: string; partition?: number; topic?: string } = {},
): Step {
  return step(title, offsetCommitRequest, offsetCommitResponse, (state) => ({
    groupId: `group-${topicOf(state)}`,
    generationIdOrMemberEpoch: generation,
    memberId: more.memberId ?? (state["memberId"] ?? "") as string,
    topics: [{
      name: more.topic ?? topicOf(state),
      topicId: more.topic === undefined ? idOf(state) : UNKNOWN_ID,
      partitions: [{
        partitionIndex: more.partition ?? 0,
        committedOffset: 2,
        committedMetadata: more.metadata ?? "note",
      }],
    }],
  }), { pick: (answer) => answer.topics.map(({ partitions }) => partitions) });
}

function committed(title: string, all = false, group?: string): Step {
  return step(title, offsetFetchRequest, offsetFetchResponse, (state, version) => {
    const groupId = group ?? `group-${topicOf(state)}`;
    const topics = all
      ? null
      : [{ name: topicOf(state), topicId: idOf(state), partitionIndexes: [0, 7] }];
    if (all && version < 2) return null;
    return version >= 8
      ? { groupId: "", topics: [], groups: [{ groupId, topics }] }
      : { groupId, topics, groups: [] };
  }, {
    pick: ({ topics, groups, errorCode }) => ({
      errorCode,
      partitions: topics.map((topic) => topic.partitions),
      groups: groups.map((g) => ({
        errorCode: g.errorCode,
        partitions: g.topics.map((topic) => topic.partitions),
      })),
    }),
  });
}

/** Until the group's coordinator can be asked: the first request makes `__consumer_offsets`. */
const coordinatorReady: Step[] = Array.from(
  { length: 1 },
  () =>
    step("find the coordinator", findCoordinatorRequest, findCoordinatorResponse, (state) => ({
      key: "",
      keyType: 0,
      coordinatorKeys: [`group-${topicOf(state)}`],
    }), { compare: false }),
);

const joined = [join("ask for a member id"), join("join"), sync("sync")];

/** Stories: title, API key under test, requests. */
export const stories: readonly (readonly [string, number, readonly Step[]])[] = [
  ["appends, and what it refuses", ApiKey.Produce, [
    ...makeTopic({ "max.message.bytes": "2000" }, 2),
    produce("a batch", () => batch(["a", "b"])),
    produce("a second batch", () => batch(["c"]), { partition: 1 }),
    produce("acks=1", () => batch(["d"]), { acks: 1 }),
    produce("acks=2", () => batch(["d"]), { acks: 2 }),
    produce("no records", () => null),
    produce("empty records", () => new Uint8Array(0)),
    produce("a partition that is not there", () => batch(["x"]), { partition: 9 }),
    produce("a topic that is not there", () => batch(["x"]), { topic: "diff-unknown-topic" }),
    produce("too large", () => batch(["x".repeat(3000)])),
    produce("a flipped bit", () => corrupt(batch(["abcdef"]), 70)),
    produce("magic 3", () => {
      const bytes = batch(["abc"]);
      bytes[16] = 3;
      return bytes;
    }),
    produce("cut short", () => batch(["abcdef"]).subarray(0, 40)),
    produce(
      "a control batch",
      () => batch(["x"], { control: true, producerId: 5, producerEpoch: 0, baseSequence: 0 }),
    ),
    fetchStep("what is there"),
  ]],
  ["keeps idempotent sequences", ApiKey.Produce, [
    ...makeTopic(),
    produce(
      "first",
      () => batch(["a", "b"], { producerId: 7001, producerEpoch: 0, baseSequence: 0 }),
    ),
    produce(
      "duplicate",
      () => batch(["a", "b"], { producerId: 7001, producerEpoch: 0, baseSequence: 0 }),
    ),
    produce("next", () => batch(["c"], { producerId: 7001, producerEpoch: 0, baseSequence: 2 })),
    produce(
      "old duplicate",
      () => batch(["a", "b"], { producerId: 7001, producerEpoch: 0, baseSequence: 0 }),
    ),
    produce("gap", () => batch(["d"], { producerId: 7001, producerEpoch: 0, baseSequence: 9 })),
    produce(
      "new epoch not from 0",
      () => batch(["d"], { producerId: 7001, producerEpoch: 1, baseSequence: 3 }),
    ),
    produce(
      "new epoch",
      () => batch(["d"], { producerId: 7001, producerEpoch: 1, baseSequence: 0 }),
    ),
    produce(
      "old epoch",
      () => batch(["e"], { producerId: 7001, producerEpoch: 0, baseSequence: 3 }),
    ),
    produce(
      "unknown producer in the middle",
      () => batch(["e"], { producerId: 7002, producerEpoch: 0, baseSequence: 5 }),
    ),
    step("producers", describeProducersRequest, describeProducersResponse, (state) => ({
      topics: [{ name: topicOf(state), partitionIndexes: [0, 4] }],
    }), {
      pick: (answer) =>
        answer.topics.map(({ partitions }) =>
          partitions.map((partition) => ({
            ...partition,
            activeProducers: partition.activeProducers.map((
              { lastSequence, producerEpoch, coordinatorEpoch, currentTxnStartOffset },
            ) => (
              { lastSequence, producerEpoch, coordinatorEpoch, currentTxnStartOffset }
            )),
          }))
        ),
    }),
  ]],
  ["checks timestamps and keys", ApiKey.Produce, [
    ...makeTopic({ "message.timestamp.before.max.ms": "1000" }),
    produce("too old", () => batch(["a"])),
    ...makeTopic(),
  ]],
  ["refuses records without a key on a compacted topic", ApiKey.Produce, [
    ...makeTopic({ "cleanup.policy": "compact" }),
    produce("without a key", () => batch(["a", "b"])),
    produce(
      "with keys",
      () => buildBatch({ records: [{ key: bytesOf("k"), value: null, timestamp: 5 }] }),
    ),
  ]],
  ["reads, and what it refuses", ApiKey.Fetch, [
    ...makeTopic({}, 2),
    ...fill(),
    fetchStep("from the start"),
    fetchStep("from the middle of a batch", { fetchOffset: 4 }),
    fetchStep("one batch by size", { partitionMaxBytes: 10 }),
    fetchStep("the end", { fetchOffset: 9 }),
    fetchStep("past the end", { fetchOffset: 10 }),
    fetchStep("before the start", { fetchOffset: -2 }),
    fetchStep("a partition that is not there", { partition: 5 }),
    fetchStep("a topic that is not there", { topic: "diff-unknown-topic" }),
    fetchStep("the current epoch", { currentLeaderEpoch: 0 }),
    fetchStep("a later epoch", { currentLeaderEpoch: 3 }),
    fetchStep("last fetched in this epoch", { fetchOffset: 3, lastFetchedEpoch: 0 }),
  ]],
  ["keeps sessions", ApiKey.Fetch, [
    ...makeTopic(),
    fetchStep("an unknown session", { sessionId: 424242, sessionEpoch: 3 }),
    fetchStep("a new session", { sessionEpoch: 0 }),
    fetchStep("nothing new", { sessionId: "kept", sessionEpoch: 1, withoutTopics: true }),
    ...fill(1),
    fetchStep("something new", { sessionId: "kept", sessionEpoch: 2, withoutTopics: true }),
    fetchStep("the wrong epoch", { sessionId: "kept", sessionEpoch: 9, withoutTopics: true }),
    fetchStep("closed", { sessionId: "kept", sessionEpoch: -1 }),
    fetchStep("after the close", { sessionId: "kept", sessionEpoch: 3, withoutTopics: true }),
  ]],
  ["finds offsets by time", ApiKey.ListOffsets, [
    ...makeTopic(),
    listOffsets("latest of an empty log", -1),
    listOffsets("by time in an empty log", 5),
    listOffsets("the largest time of an empty log", -3),
    ...fill(),
    listOffsets("latest", -1),
    listOffsets("earliest", -2),
    listOffsets("the largest time", -3),
    listOffsets("earliest local", -4),
    listOffsets("latest tiered", -5),
    listOffsets("an unknown special time", -9),
    listOffsets("before all", 1),
    listOffsets("exact", 1_700_000_000_010),
    listOffsets("between", 1_700_000_000_011),
    listOffsets("after all", 1_800_000_000_000),
    listOffsets("a partition that is not there", -1, { partition: 3 }),
    listOffsets("a topic that is not there", -1, { topic: "diff-unknown-topic" }),
    listOffsets("a later epoch", -1, { epoch: 7 }),
  ]],
  ["deletes records up to an offset", ApiKey.DeleteRecords, [
    ...makeTopic(),
    ...fill(),
    ...[[0, 4], [0, 2], [0, -1], [0, 99], [0, -5], [6, 1]].map(([partitionIndex, offset]) =>
      step(
        `to ${offset} of ${partitionIndex}`,
        deleteRecordsRequest,
        deleteRecordsResponse,
        (state) => ({
          topics: [{
            name: topicOf(state),
            partitions: [{ partitionIndex: partitionIndex!, offset: offset! }],
          }],
          timeoutMs: 1000,
        }),
        { pick: (answer) => answer.topics.map(({ partitions }) => partitions) },
      )
    ),
    fetchStep("below the start", { fetchOffset: 0 }),
    listOffsets("the start", -2),
  ]],
  ["answers with the end of an epoch", ApiKey.OffsetForLeaderEpoch, [
    ...makeTopic(),
    ...fill(),
    ...[0, 1, -1].map((leaderEpoch) =>
      step(
        `epoch ${leaderEpoch}`,
        offsetForLeaderEpochRequest,
        offsetForLeaderEpochResponse,
        (state) => ({
          replicaId: -1,
          topics: [{
            topic: topicOf(state),
            partitions: [{ partition: 0, leaderEpoch }, { partition: 8, leaderEpoch }],
          }],
        }),
        { pick: (answer) => answer.topics.map(({ partitions }) => partitions) },
      )
    ),
  ]],
  ["creates topics, and what it refuses", ApiKey.CreateTopics, [
    createTopics("one", (topic) => [newTopic(topic)]),
    createTopics("again", (topic) => [newTopic(topic)]),
    createTopics("only to see", (topic) => [newTopic(`${topic}-seen`)], true),
    createTopics("bad names", (topic) => [
      newTopic(""),
      newTopic("."),
      newTopic(".."),
      newTopic("a b"),
      newTopic("x".repeat(250)),
      newTopic(`${topic}/`),
    ]),
    createTopics(
      "a name that collides",
      (topic) => [newTopic(topic.replace("-", "_")), newTopic(topic.replaceAll("-", "."))],
    ),
    createTopics("counts", (topic) => [
      newTopic(`${topic}-a`, { numPartitions: 0 }),
      newTopic(`${topic}-b`, { replicationFactor: 0 }),
      newTopic(`${topic}-c`, { replicationFactor: 3 }),
      newTopic(`${topic}-d`, { numPartitions: -2 }),
    ]),
    createTopics(
      "twice in one request",
      (topic) => [newTopic(`${topic}-t`), newTopic(`${topic}-t`)],
    ),
    createTopics("assignments", (topic) => [
      newTopic(`${topic}-g`, {
        numPartitions: -1,
        replicationFactor: -1,
        assignments: [{ partitionIndex: 0, brokerIds: [1] }],
      }),
      newTopic(`${topic}-h`, {
        numPartitions: -1,
        replicationFactor: -1,
        assignments: [{ partitionIndex: 1, brokerIds: [1] }],
      }),
      newTopic(`${topic}-i`, {
        numPartitions: -1,
        replicationFactor: -1,
        assignments: [{ partitionIndex: 0, brokerIds: [1, 1] }],
      }),
      newTopic(`${topic}-j`, {
        numPartitions: -1,
        replicationFactor: -1,
        assignments: [{ partitionIndex: 0, brokerIds: [9] }],
      }),
      newTopic(`${topic}-k`, {
        numPartitions: 1,
        replicationFactor: -1,
        assignments: [{ partitionIndex: 0, brokerIds: [1] }],
      }),
    ]),
    createTopics("configs", (topic) => [
      newTopic(`${topic}-l`, { configs: [{ name: "retention.ms", value: "77" }] }),
      newTopic(`${topic}-m`, { configs: [{ name: "retention.ms", value: "soon" }] }),
      newTopic(`${topic}-n`, { configs: [{ name: "no.such.config", value: "1" }] }),
      newTopic(`${topic}-o`, { configs: [{ name: "cleanup.policy", value: "shred" }] }),
      newTopic(`${topic}-p`, { configs: [{ name: "retention.ms", value: null }] }),
    ]),
  ]],
  ["deletes topics", ApiKey.DeleteTopics, [
    ...makeTopic(),
    step("delete", deleteTopicsRequest, deleteTopicsResponse, (state, version) => ({
      topics: version >= 6
        ? [{ name: topicOf(state), topicId: ZERO_UUID }, { name: null, topicId: UNKNOWN_ID }, {
          name: "diff-none",
          topicId: ZERO_UUID,
        }]
        : [],
      topicNames: version < 6 ? [topicOf(state), "diff-none"] : [],
      timeoutMs: 10_000,
    }), { pick: (answer) => answer.responses.map(({ errorCode }) => errorCode).toSorted() }),
    step("metadata afterwards", metadataRequest, metadataResponse, (state) => ({
      topics: [{ name: topicOf(state) }],
      allowAutoTopicCreation: false,
    }), { pick: (answer) => answer.topics.map(({ errorCode }) => errorCode) }),
  ]],
  ["adds partitions", ApiKey.CreatePartitions, [
    ...makeTopic(),
    ...[3, 2, 3, -1].map((count) =>
      step(`to ${count}`, createPartitionsRequest, createPartitionsResponse, (state) => ({
        topics: [{ name: topicOf(state), count, assignments: null }, {
          name: "diff-none",
          count,
          assignments: null,
        }],
        timeoutMs: 10_000,
        validateOnly: false,
      }), { pick: (answer) => answer.results.map(({ errorCode }) => errorCode).toSorted() })
    ),
  ]],
  ["describes topics", ApiKey.Metadata, [
    ...makeTopic({}, 2),
    step("known and unknown", metadataRequest, metadataResponse, (state, version) => ({
      topics: [{ name: topicOf(state) }, { name: "diff-none" }, { name: "bad name" }],
      ...(version >= 4 && { allowAutoTopicCreation: false }),
    }), {
      pick: (answer) => answer.topics.toSorted((a, b) => (a.name ?? "") < (b.name ?? "") ? -1 : 1),
    }),
    step("by id", metadataRequest, metadataResponse, (state, version) =>
      version < 12 ? null : ({
        topics: [{ name: null, topicId: idOf(state) }, { name: null, topicId: UNKNOWN_ID }],
        allowAutoTopicCreation: false,
      }), {
      pick: (answer) =>
        answer.topics.map(({ errorCode, partitions }) => ({ errorCode, partitions })),
    }),
    step(
      "none",
      metadataRequest,
      metadataResponse,
      (_, version) => version < 1 ? null : ({ topics: [], allowAutoTopicCreation: true }),
      {
        pick: (answer) => ({
          topics: answer.topics,
          brokers: answer.brokers.map(({ nodeId }) => nodeId),
        }),
      },
    ),
  ]],
  ["describes partitions with a cursor", ApiKey.DescribeTopicPartitions, [
    ...makeTopic({}, 5),
    ...[2, 100].map((responsePartitionLimit) =>
      step(
        `at most ${responsePartitionLimit}`,
        describeTopicPartitionsRequest,
        describeTopicPartitionsResponse,
        (state) => ({
          topics: [{ name: topicOf(state) }, { name: "diff-none" }],
          responsePartitionLimit,
          cursor: null,
        }),
        {
          pick: ({ topics }) =>
            topics.map(({ errorCode, partitions }) => ({ errorCode, partitions })),
        },
      )
    ),
  ]],
  ["lists a topic's settings with defaults", ApiKey.DescribeConfigs, [
    ...makeTopic({ "retention.ms": "1234" }),
    configsOf(2, topicOf),
    configsOf(2, topicOf, ["retention.ms", "no.such"]),
    configsOf(2, () => "diff-none"),
    configsOf(99, () => "x"),
  ]],
  ["replaces settings", ApiKey.AlterConfigs, [
    ...makeTopic({ "retention.ms": "1234", "segment.ms": "5555" }),
    ...[["retention.ms", "99"], ["retention.ms", "soon"], ["no.such", "1"]].map(([name, value]) =>
      step(`${name}=${value}`, alterConfigsRequest, alterConfigsResponse, (state) => ({
        resources: [{
          resourceType: 2,
          resourceName: topicOf(state),
          configs: [{ name: name!, value: value! }],
        }],
        validateOnly: false,
      }), { pick: (answer) => answer.responses.map(({ errorCode }) => errorCode) })
    ),
    configsOf(2, topicOf, ["retention.ms", "segment.ms"]),
  ]],
  ["changes single settings", ApiKey.IncrementalAlterConfigs, [
    ...makeTopic({ "cleanup.policy": "delete" }),
    ...([
      ["retention.ms", 0, "99"],
      ["retention.ms", 0, "soon"],
      ["no.such", 0, "1"],
      ["cleanup.policy", 2, "compact"],
      ["cleanup.policy", 3, "delete"],
      ["retention.ms", 2, "5"],
      ["retention.ms", 1, null],
      ["retention.ms", 7, "5"],
      ["retention.ms", 0, null],
    ] as const).map(([name, configOperation, value]) =>
      step(
        `${name} ${configOperation} ${value}`,
        incrementalAlterConfigsRequest,
        incrementalAlterConfigsResponse,
        (state) => ({
          resources: [{
            resourceType: 2,
            resourceName: topicOf(state),
            configs: [{ name, configOperation, value }],
          }],
          validateOnly: false,
        }),
        { pick: (answer) => answer.responses.map(({ errorCode }) => errorCode) },
      )
    ),
    configsOf(2, topicOf, ["retention.ms", "cleanup.policy"]),
  ]],
  ["gives out ids", ApiKey.InitProducerId, [
    step(
      "idempotent",
      initProducerIdRequest,
      initProducerIdResponse,
      () => ({ transactionalId: null, transactionTimeoutMs: 1000 }),
    ),
    step(
      "again, with what it has",
      initProducerIdRequest,
      initProducerIdResponse,
      (_, version) =>
        version < 3 ? null : ({
          transactionalId: null,
          transactionTimeoutMs: 1000,
          producerId: -1,
          producerEpoch: -1,
        }),
    ),
  ]],
  ["describes the cluster", ApiKey.DescribeCluster, [
    step(
      "describe",
      describeClusterRequest,
      describeClusterResponse,
      () => ({ includeClusterAuthorizedOperations: false }),
      {
        pick: ({ errorCode, brokers }) => ({
          errorCode,
          brokers: brokers.map(({ brokerId }) => brokerId),
        }),
      },
    ),
  ]],
  ["describes log directories", ApiKey.DescribeLogDirs, [
    ...makeTopic({}, 2),
    step(
      "describe",
      describeLogDirsRequest,
      describeLogDirsResponse,
      (state) => ({ topics: [{ topic: topicOf(state), partitions: [0, 1, 7] }] }),
      {
        pick: (answer) =>
          answer.results.map(({ errorCode, topics }) => ({
            errorCode,
            partitions: topics.map(({ partitions }) =>
              partitions.toSorted((a, b) => a.partitionIndex - b.partitionIndex)
            ),
          })),
      },
    ),
  ]],
  ["joins a group and beats", ApiKey.JoinGroup, [
    ...coordinatorReady,
    join("without a session", { sessionTimeoutMs: 1 }),
    join("without a group", { groupId: "" }),
    join("an unknown member", { memberId: "nobody" }),
    ...joined,
    join("another protocol type", { protocolType: "connect" }),
    join("no protocol in common", {
      memberId: "",
      protocols: [{ name: "other", metadata: bytesOf("x") }],
    }),
    beat("beat", 1),
  ]],
  ["refuses wrong members and generations", ApiKey.SyncGroup, [
    ...coordinatorReady,
    ...joined,
    sync("again"),
    sync("wrong generation", 9),
    sync("unknown member", 1, "nobody"),
  ]],
  ["beats", ApiKey.Heartbeat, [
    ...coordinatorReady,
    beat("no such group", 1, "nobody"),
    ...joined,
    beat("beat", 1),
    beat("wrong generation", 5),
    beat("unknown", 1, "nobody"),
  ]],
  ["leaves", ApiKey.LeaveGroup, [
    ...coordinatorReady,
    ...joined,
    ...["nobody", ""].map((memberId) =>
      step(
        `as ${memberId || "itself"}`,
        leaveGroupRequest,
        leaveGroupResponse,
        (state, version) => {
          const id = memberId === "" ? state["memberId"] as string : memberId;
          return version >= 3
            ? { groupId: `group-${topicOf(state)}`, memberId: "", members: [{ memberId: id }] }
            : { groupId: `group-${topicOf(state)}`, memberId: id, members: [] };
        },
      )
    ),
    beat("after leaving", 1),
  ]],
  ["commits", ApiKey.OffsetCommit, [
    ...makeTopic(),
    ...coordinatorReady,
    commit("without a group", -1, { memberId: "" }),
    commit("a partition that is not there", -1, { memberId: "", partition: 9 }),
    commit("too much metadata", -1, { memberId: "", metadata: "m".repeat(5000) }),
    commit("a topic that is not there", -1, { memberId: "", topic: "diff-none" }),
    ...joined,
    commit("as a member", 1),
    commit("wrong generation", 4),
    commit("unknown member", 1, { memberId: "nobody" }),
    committed("what is committed"),
  ]],
  ["tells what is committed", ApiKey.OffsetFetch, [
    ...makeTopic(),
    ...coordinatorReady,
    committed("nothing yet"),
    commit("commit", -1, { memberId: "" }),
    committed("something"),
    committed("everything", true),
    committed("an unknown group", true, "diff-none"),
  ]],
  ["deletes offsets", ApiKey.OffsetDelete, [
    ...makeTopic(),
    ...coordinatorReady,
    commit("commit", -1, { memberId: "" }),
    ...[0, 9].map((partitionIndex) =>
      step(`of ${partitionIndex}`, offsetDeleteRequest, offsetDeleteResponse, (state) => ({
        groupId: `group-${topicOf(state)}`,
        topics: [{ name: topicOf(state), partitions: [{ partitionIndex }] }],
      }), {
        pick: ({ errorCode, topics }) => ({
          errorCode,
          partitions: topics.map(({ partitions }) => partitions),
        }),
      })
    ),
    committed("afterwards"),
  ]],
  ["describes groups", ApiKey.DescribeGroups, [
    ...coordinatorReady,
    ...joined,
    step(
      "describe",
      describeGroupsRequest,
      describeGroupsResponse,
      (state) => ({ groups: [`group-${topicOf(state)}`, "diff-none"] }),
      {
        pick: (answer) =>
          answer.groups.map(({ groupId: _, members, ...group }) => ({
            ...group,
            members: members.map((
              { memberMetadata, memberAssignment, clientId, groupInstanceId },
            ) => ({ memberMetadata, memberAssignment, clientId, groupInstanceId })),
          })),
      },
    ),
  ]],
  ["deletes groups", ApiKey.DeleteGroups, [
    ...makeTopic(),
    ...coordinatorReady,
    commit("commit", -1, { memberId: "" }),
    ...[0, 1].map((i) =>
      step(
        `delete ${i}`,
        deleteGroupsRequest,
        deleteGroupsResponse,
        (state) => ({ groupsNames: [`group-${topicOf(state)}`] }),
        {
          pick: (answer) => answer.results.map(({ errorCode }) => errorCode),
        },
      )
    ),
    ...joined,
    step(
      "while a member lives",
      deleteGroupsRequest,
      deleteGroupsResponse,
      (state) => ({ groupsNames: [`group-${topicOf(state)}`] }),
      {
        pick: (answer) => answer.results.map(({ errorCode }) => errorCode),
      },
    ),
  ]],
];
