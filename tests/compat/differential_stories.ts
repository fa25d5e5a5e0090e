/**
 * What the differential test asks of both brokers about topics, records and settings.
 *
 * A story is played once for every version of its API, on a topic of its own.
 */

import {
  alterReplicaLogDirsRequest,
  alterReplicaLogDirsResponse,
} from "../../protocol/schemas/alter_replica_log_dirs.ts";
import { ApiKey, apiName } from "../../protocol/api_keys.ts";
import { fetchRequest, fetchResponse } from "../../protocol/schemas/fetch.ts";
import { apiVersionsRequest, apiVersionsResponse } from "../../protocol/schemas/api_versions.ts";
import {
  listConfigResourcesRequest,
  listConfigResourcesResponse,
} from "../../protocol/schemas/list_config_resources.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { CompressionCodec } from "../../protocol/compression.ts";
import { buildBatch } from "../../protocol/records.ts";
import { alterConfigsRequest, alterConfigsResponse } from "../../protocol/schemas/alter_configs.ts";
import {
  createPartitionsRequest,
  createPartitionsResponse,
} from "../../protocol/schemas/create_partitions.ts";
import {
  deleteRecordsRequest,
  deleteRecordsResponse,
} from "../../protocol/schemas/delete_records.ts";
import type { DescribeConfigsResponse } from "../../protocol/schemas/describe_configs.ts";
import { deleteTopicsRequest, deleteTopicsResponse } from "../../protocol/schemas/delete_topics.ts";
import {
  describeClusterRequest,
  describeClusterResponse,
} from "../../protocol/schemas/describe_cluster.ts";
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
import {
  incrementalAlterConfigsRequest,
  incrementalAlterConfigsResponse,
} from "../../protocol/schemas/incremental_alter_configs.ts";
import {
  initProducerIdRequest,
  initProducerIdResponse,
} from "../../protocol/schemas/init_producer_id.ts";
import {
  metadataRequest,
  type MetadataResponse,
  metadataResponse,
} from "../../protocol/schemas/metadata.ts";
import {
  offsetForLeaderEpochRequest,
  offsetForLeaderEpochResponse,
} from "../../protocol/schemas/offset_for_leader_epoch.ts";
import { ZERO_UUID } from "../../protocol/types.ts";
import {
  batch,
  bytesOf,
  configsOf,
  corrupt,
  createTopics,
  fetchStep,
  fill,
  idOf,
  listOffsets,
  makeTopic,
  newTopic,
  produce,
  type State,
  type Step,
  step,
  type Story,
  topicOf,
  UNKNOWN_ID,
} from "./differential_steps.ts";

/** A Metadata request of a topic that is not there. */
function autoCreate(
  title: string,
  allowAutoTopicCreation: boolean,
  until: (answer: MetadataResponse) => boolean,
): Step {
  return step(
    title,
    metadataRequest,
    metadataResponse,
    (state, version) =>
      version < 4 && !allowAutoTopicCreation ? null : {
        topics: [{ name: `${topicOf(state)}-auto` }],
        allowAutoTopicCreation,
      },
    { until, pick: ({ topics }) => topics },
  );
}

/** Stories of topics, records and settings. */
export const topicStories: readonly Story[] = [
  ["appends, and what it refuses", ApiKey.Produce, [
    ...makeTopic({ "max.message.bytes": "2000" }, 2),
    produce("acks=1", () => batch(["d"]), { acks: 1 }),
    produce("a batch", () => batch(["a", "b"])),
    produce("a second batch", () => batch(["c"]), { partition: 1 }),
    produce("acks=2", () => batch(["d"]), { acks: 2 }),
    produce("empty records", () => new Uint8Array(0)),
    produce("a partition that is not there", () => batch(["x"]), { partition: 9 }),
    produce("a topic that is not there", () => batch(["x"]), { topic: "diff-missing" }),
    produce("too large", () => batch(["x".repeat(3000)])),
    produce("a flipped bit", () => corrupt(batch(["abcdef"]), 70)),
    produce("magic 3", () => {
      const bytes = batch(["abc"]);
      bytes[16] = 3;
      return bytes;
    }),
    produce("magic 1", () => {
      const bytes = batch(["abc"]);
      bytes[16] = 1;
      return bytes;
    }),
    produce("two batches", () => new Uint8Array(Buffer.concat([batch(["a"]), batch(["b"])]))),
    ...Object.entries(CompressionCodec).map(([name, compression]) =>
      produce(name, () => batch(["squeezed", "squeezed"], { compression }))
    ),
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
  ["refuses records that are too old", ApiKey.Produce, [
    ...makeTopic({ "message.timestamp.before.max.ms": "1000" }),
    produce("too old", () => batch(["a"])),
  ]],
  ["stamps records with the broker's time", ApiKey.Produce, [
    ...makeTopic({ "message.timestamp.type": "LogAppendTime" }),
    produce("plain", () => batch(["a", "b"])),
    produce("as it was", () => batch(["c"], { compression: CompressionCodec.gzip })),
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
    fetchStep("a topic that is not there", { topic: "diff-missing" }),
    fetchStep("the current epoch", { currentLeaderEpoch: 0 }),
    fetchStep("a later epoch", { currentLeaderEpoch: 3 }),
    fetchStep("committed only", { isolationLevel: 1 }),
    fetchStep("one byte in all", { maxBytes: 1 }),
    fetchStep("nothing of the partition", { partitionMaxBytes: 0 }),
    fetchStep("last fetched in a later epoch", { fetchOffset: 3, lastFetchedEpoch: 4 }),
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
  ["keeps what a session is told to forget", ApiKey.Fetch, [
    ...makeTopic({}, 3),
    ...fill(1),
    ...([
      [0, [0, 1], []],
      [1, [2], [0]],
      [2, [], []],
      [3, [0], [1, 2]],
      [4, [0], []],
    ] as const).map(([sessionEpoch, wanted, forgotten]) =>
      step(
        `epoch ${sessionEpoch}`,
        fetchRequest,
        fetchResponse,
        (state) => ({
          maxWaitMs: 0,
          minBytes: 0,
          maxBytes: 1 << 20,
          isolationLevel: 0,
          sessionId: (state["sessionId"] ?? 0) as number,
          sessionEpoch,
          topics: wanted.length === 0 ? [] : [{
            topic: topicOf(state),
            topicId: idOf(state),
            partitions: wanted.map((partition) => (
              { partition, fetchOffset: 0, partitionMaxBytes: 1 << 20 }
            )),
          }],
          forgottenTopicsData: forgotten.length === 0 ? [] : [{
            topic: topicOf(state),
            topicId: idOf(state),
            partitions: [...forgotten],
          }],
        }),
        {
          keep: (state, { sessionId }) => state["sessionId"] = sessionId,
        },
      )
    ),
  ], 7],
  ["waits for enough bytes, but no longer than it may", ApiKey.Fetch, [
    ...makeTopic(),
    ...fill(1),
    ...[[1, 10_000], [1 << 20, 50]].map(([minBytes, maxWaitMs]) =>
      step(`${minBytes} bytes`, fetchRequest, fetchResponse, (state) => ({
        maxWaitMs: maxWaitMs!,
        minBytes: minBytes!,
        maxBytes: 1 << 20,
        topics: [{
          topic: topicOf(state),
          topicId: idOf(state),
          partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1 << 20 }],
        }],
        forgottenTopicsData: [],
      }))
    ),
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
    listOffsets("a topic that is not there", -1, { topic: "diff-missing" }),
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
    ...[-1, 0, 2].map((currentLeaderEpoch) =>
      step(
        `as of ${currentLeaderEpoch}`,
        offsetForLeaderEpochRequest,
        offsetForLeaderEpochResponse,
        (state) => ({
          replicaId: -1,
          topics: [topicOf(state), "diff-missing"].map((topic) => ({
            topic,
            partitions: [{ partition: 0, currentLeaderEpoch, leaderEpoch: 0 }],
          })),
        }),
        { pick: ({ topics }) => topics.toSorted((a, b) => a.topic < b.topic ? -1 : 1) },
      )
    ),
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
          name: "diff-missing",
          topicId: ZERO_UUID,
        }]
        : [],
      topicNames: version < 6 ? [topicOf(state), "diff-missing"] : [],
      timeoutMs: 10_000,
    }), { pick: (answer) => answer.responses.map(({ errorCode }) => errorCode).toSorted() }),
    step("metadata afterwards", metadataRequest, metadataResponse, (state) => ({
      topics: [{ name: topicOf(state) }],
      allowAutoTopicCreation: false,
    }), {
      until: (answer) => answer.topics[0]!.errorCode !== ErrorCode.NONE,
      pick: (answer) => answer.topics.map(({ errorCode }) => errorCode),
    }),
  ]],
  ["deletes topics by name and by id", ApiKey.DeleteTopics, [
    ...makeTopic(),
    step(
      "wrongly",
      deleteTopicsRequest,
      deleteTopicsResponse,
      (state, version) =>
        version < 6 ? null : {
          topics: [
            { name: topicOf(state), topicId: idOf(state) },
            { name: null, topicId: ZERO_UUID },
            { name: "bad name", topicId: ZERO_UUID },
          ],
          timeoutMs: 10_000,
        },
      { pick: (answer) => answer.responses.map(({ errorCode }) => errorCode).toSorted() },
    ),
    step("twice", deleteTopicsRequest, deleteTopicsResponse, (state, version) => ({
      ...(version < 6 ? { topicNames: [topicOf(state), topicOf(state)] } : {
        topics: [
          { name: topicOf(state), topicId: ZERO_UUID },
          { name: topicOf(state), topicId: ZERO_UUID },
        ],
      }),
      timeoutMs: 10_000,
    }), { pick: (answer) => answer.responses.map(({ errorCode }) => errorCode).toSorted() }),
    step(
      "by id",
      deleteTopicsRequest,
      deleteTopicsResponse,
      (state, version) =>
        version < 6 ? null : { topics: [{ name: null, topicId: idOf(state) }], timeoutMs: 10_000 },
    ),
    step(
      "by id again",
      deleteTopicsRequest,
      deleteTopicsResponse,
      (state, version) =>
        version < 6 ? null : { topics: [{ name: null, topicId: idOf(state) }], timeoutMs: 10_000 },
    ),
  ]],
  ["adds partitions", ApiKey.CreatePartitions, [
    ...makeTopic(),
    ...[3, 2, 3, -1].map((count) =>
      step(`to ${count}`, createPartitionsRequest, createPartitionsResponse, (state) => ({
        topics: [{ name: topicOf(state), count, assignments: null }, {
          name: "diff-missing",
          count,
          assignments: null,
        }],
        timeoutMs: 10_000,
        validateOnly: false,
      }), { pick: (answer) => answer.results.map(({ errorCode }) => errorCode).toSorted() })
    ),
  ]],
  ["adds partitions by hand, or only to see", ApiKey.CreatePartitions, [
    ...makeTopic(),
    ...([
      [2, [[1]], true],
      [2, [[9]], true],
      [2, [[1, 1]], true],
      [2, [[1], [1]], true],
      [3, [[1], []], true],
      [1, null, true],
      [20_000, null, true],
      [2, [[1]], false],
      [2, null, false],
    ] as const).map(([count, replicas, validateOnly]) =>
      step(
        `${count} as ${JSON.stringify(replicas)}`,
        createPartitionsRequest,
        createPartitionsResponse,
        (state) => ({
          topics: [{
            name: topicOf(state),
            count,
            assignments: replicas?.map((brokerIds) => ({ brokerIds: [...brokerIds] })) ?? null,
          }],
          timeoutMs: 10_000,
          validateOnly,
        }),
      )
    ),
    step("the same topic twice", createPartitionsRequest, createPartitionsResponse, (state) => ({
      topics: [5, 6].map((count) => ({ name: topicOf(state), count, assignments: null })),
      timeoutMs: 10_000,
      validateOnly: true,
    })),
  ]],
  ["describes with permissions", ApiKey.Metadata, [
    ...makeTopic(),
    step("describe", metadataRequest, metadataResponse, (state, version) => ({
      topics: [{ name: topicOf(state) }],
      ...(version >= 8 && { includeTopicAuthorizedOperations: true }),
      ...(version >= 8 && version <= 10 && { includeClusterAuthorizedOperations: true }),
    })),
  ]],
  ["describes topics", ApiKey.Metadata, [
    ...makeTopic({}, 2),
    step("known and unknown", metadataRequest, metadataResponse, (state, version) => ({
      topics: [
        { name: topicOf(state) },
        { name: "bad name" },
        ...(version < 4 ? [] : [{ name: "diff-missing" }]), // would be created
      ],
      ...(version >= 4 && { allowAutoTopicCreation: false }),
    }), {
      pick: (answer) => answer.topics.toSorted((a, b) => (a.name ?? "") < (b.name ?? "") ? -1 : 1),
    }),
    step("by id", metadataRequest, metadataResponse, (state, version) =>
      version < 12 ? null : ({
        topics: [{ name: null, topicId: idOf(state) }, { name: null, topicId: UNKNOWN_ID }],
        allowAutoTopicCreation: false,
      }), {
      // Kafka keeps no order among ids.
      pick: (answer) =>
        answer.topics.map(({ errorCode, partitions }) => ({ errorCode, partitions }))
          .toSorted((a, b) => a.errorCode - b.errorCode),
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
  ["makes a topic that a client asks for", ApiKey.Metadata, [
    autoCreate("forbidden", false, (answer) => answer.topics.length > 0),
    autoCreate("allowed", true, (answer) => answer.topics[0]!.errorCode === ErrorCode.NONE),
    step("a bad name", metadataRequest, metadataResponse, () => ({
      topics: [{ name: "a/b" }],
      allowAutoTopicCreation: true,
    }), { pick: ({ topics }) => topics }),
  ]],
  ["describes partitions with a cursor", ApiKey.DescribeTopicPartitions, [
    ...makeTopic({}, 5),
    ...[-1, 0, 3, 5, 7].map((partitionIndex) =>
      step(
        `from ${partitionIndex}`,
        describeTopicPartitionsRequest,
        describeTopicPartitionsResponse,
        (state) => ({
          topics: [{ name: topicOf(state) }, { name: "bad name" }, { name: "__consumer_offsets" }],
          responsePartitionLimit: 2,
          cursor: { topicName: topicOf(state), partitionIndex },
        }),
      )
    ),
    ...[2, 100].map((responsePartitionLimit) =>
      step(
        `at most ${responsePartitionLimit}`,
        describeTopicPartitionsRequest,
        describeTopicPartitionsResponse,
        (state) => ({
          topics: [{ name: topicOf(state) }, { name: "diff-missing" }],
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
    configsOf(2, () => "diff-missing"),
    configsOf(99, () => "x"),
  ]],
  ["lists a broker's settings", ApiKey.DescribeConfigs, [
    ...["1", "", "77", "one"].map((name) => ({
      ...configsOf(4, () => name),
      pick: ({ results }: DescribeConfigsResponse) =>
        results.map(({ configs, ...result }) => ({
          ...result,
          // The values are each machine's own.
          configs: configs.map(({ name, configType, readOnly, isSensitive }) => (
            { name, configType, readOnly, isSensitive }
          )),
        })),
    })),
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
  ["validates settings of other things", ApiKey.AlterConfigs, [
    ...([
      [4, "1", "log.retention.ms", "1000000"],
      [4, "1", "node.id", "7"],
      [4, "", "log.cleaner.threads", "soon"],
      [4, "77", "log.retention.ms", "1000000"],
      [2, "diff-missing", "retention.ms", "1"],
      [2, "bad name", "retention.ms", "1"],
      [99, "x", "retention.ms", "1"],
    ] as const).map(([resourceType, resourceName, name, value]) =>
      step(
        `${resourceType} ${resourceName} ${name}=${value}`,
        alterConfigsRequest,
        alterConfigsResponse,
        () => ({
          resources: [{ resourceType, resourceName, configs: [{ name, value }] }],
          validateOnly: true,
        }),
      )
    ),
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
    ...([
      [4, "1", "log.retention.ms", "1000000"],
      [4, "1", "num.partitions", "3"],
      [4, "", "log.retention.ms", "1000000"],
      [4, "", "log.cleaner.threads", "soon"],
      [4, "", "log.cleaner.threads", "40"],
      [4, "77", "log.retention.ms", "1000000"],
      [4, "one", "log.retention.ms", "1000000"],
      [4, "1", "no.such.setting", "1"],
      [2, "diff-missing", "retention.ms", "1"],
      [2, "bad name", "retention.ms", "1"],
      [2, "", "retention.ms", "1"],
      [32, "diff-group", "consumer.session.timeout.ms", "50000"],
      [32, "diff-group", "consumer.session.timeout.ms", "1"],
      [32, "diff-group", "no.such.setting", "1"],
      [32, "", "consumer.session.timeout.ms", "50000"],
      [99, "x", "retention.ms", "1"],
    ] as const).map(([resourceType, resourceName, name, value]) =>
      step(
        `only to see ${resourceType} ${resourceName} ${name}=${value}`,
        incrementalAlterConfigsRequest,
        incrementalAlterConfigsResponse,
        () => ({
          resources: [{
            resourceType,
            resourceName,
            configs: [{ name, configOperation: 0, value }],
          }],
          validateOnly: true,
        }),
      )
    ),
  ]],
  ["gives out ids", ApiKey.InitProducerId, [
    step("ready", initProducerIdRequest, initProducerIdResponse, () => ({
      transactionalId: null,
      transactionTimeoutMs: 1000,
    }), { compare: false }),
    step(
      "idempotent",
      initProducerIdRequest,
      initProducerIdResponse,
      () => ({ transactionalId: null, transactionTimeoutMs: 1000 }),
    ),
    step("an empty transactional id", initProducerIdRequest, initProducerIdResponse, () => ({
      transactionalId: "",
      transactionTimeoutMs: 1000,
    })),
    step("no timeout", initProducerIdRequest, initProducerIdResponse, () => ({
      transactionalId: null,
      transactionTimeoutMs: 0,
    })),
    step(
      "an epoch without an id",
      initProducerIdRequest,
      initProducerIdResponse,
      (_, version) =>
        version < 3
          ? null
          : { transactionalId: null, transactionTimeoutMs: 0, producerId: -1, producerEpoch: 3 },
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
  ["tells what it serves", ApiKey.ApiVersions, [
    ...["wire", "a b", ""].map((clientSoftwareName) =>
      step(
        `to ${JSON.stringify(clientSoftwareName)}`,
        apiVersionsRequest,
        apiVersionsResponse,
        () => ({ clientSoftwareName, clientSoftwareVersion: "1" }),
        {
          pick: ({ apiKeys, supportedFeatures, finalizedFeatures, ...answer }) => ({
            ...answer,
            features: Object.fromEntries(
              [...supportedFeatures, ...finalizedFeatures].map((
                feature,
              ) => [feature.name, feature]),
            ),
            apis: Object.fromEntries(
              apiKeys.map(({ apiKey, ...versions }) => [apiName(apiKey), versions]),
            ),
          }),
        },
      )
    ),
  ]],
  ["lists what has settings", ApiKey.ListConfigResources, [
    ...makeTopic({ "retention.ms": "1234" }),
    ...[[], [2], [4], [8], [16], [32], [1], [77]].map((resourceTypes) =>
      step(
        `of types ${resourceTypes}`,
        listConfigResourcesRequest,
        listConfigResourcesResponse,
        (_, version) => version < 1 && resourceTypes.length > 0 ? null : { resourceTypes },
        {
          // There are topics and groups of other stories too.
          pick: ({ errorCode, configResources }, state) => ({
            errorCode,
            found: configResources.filter(({ resourceName, resourceType }) =>
              resourceName === topicOf(state) || ![2, 32].includes(resourceType)
            ).toSorted((a, b) => a.resourceType - b.resourceType),
          }),
        },
      )
    ),
  ]],
  ["describes producers", ApiKey.DescribeProducers, [
    ...makeTopic(),
    produce("first", () => batch(["a"], { producerId: 8, producerEpoch: 2, baseSequence: 0 })),
    step("describe", describeProducersRequest, describeProducersResponse, (state) => ({
      topics: [
        { name: topicOf(state), partitionIndexes: [0, 4, -1] },
        { name: "diff-missing", partitionIndexes: [0] },
        { name: "bad name", partitionIndexes: [0] },
      ],
    })),
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
  ["describes with permissions", ApiKey.DescribeCluster, [
    ...[1, 2, 7].map((endpointType) =>
      step(
        `type ${endpointType}`,
        describeClusterRequest,
        describeClusterResponse,
        (_, version) => ({
          includeClusterAuthorizedOperations: true,
          ...(version >= 1 && { endpointType }),
          ...(version >= 2 && { includeFencedBrokers: true }),
        }),
      )
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
  ["moves replicas between log directories", ApiKey.AlterReplicaLogDirs, [
    ...makeTopic({}, 2),
    step(
      "where it lies",
      describeLogDirsRequest,
      describeLogDirsResponse,
      () => ({ topics: null }),
      { compare: false, keep: (state, { results }) => state["dir"] = results[0]!.logDir },
    ),
    ...([
      ["to where it lies", (state) => [[state["dir"], topicOf(state), [0, 1]]]],
      ["to an unknown directory", (state) => [["/no/such", topicOf(state), [0]]]],
      ["to a relative directory", (state) => [["data", topicOf(state), [0]]]],
      ["of an unknown partition", (state) => [[state["dir"], topicOf(state), [0, 7]]]],
      ["of an unknown topic", (state) => [[state["dir"], "no-such-topic", [0]]]],
      ["of a topic with a long name", (state) => [[state["dir"], "n".repeat(230), [0]]]],
      ["of a topic with a bad name", (state) => [[state["dir"], "a/b", [0]]]],
      ["of an internal topic", (state) => [[state["dir"], "__cluster_metadata", [0]]]],
      ["to two directories", (state) => [
        ["/no/such", topicOf(state), [0]],
        [state["dir"], topicOf(state), [0]],
      ]],
    ] as readonly (readonly [string, (state: State) => readonly unknown[][]])[]).map((
      [title, dirs],
    ) =>
      step(
        title,
        alterReplicaLogDirsRequest,
        alterReplicaLogDirsResponse,
        (state) => ({
          dirs: dirs(state).map(([path, name, partitions]) => ({
            path: path as string,
            topics: [{ name: name as string, partitions: partitions as number[] }],
          })),
        }),
        {
          pick: ({ results }) =>
            results.flatMap(({ topicName, partitions }) =>
              partitions.map(({ partitionIndex, errorCode }) => [
                topicName.slice(0, 4),
                partitionIndex,
                errorCode,
              ])
            ).toSorted(),
        },
      )
    ),
  ]],
];
