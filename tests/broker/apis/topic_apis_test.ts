import { beforeEach, expect, test } from "bun:test";
import { createPartitionsApi } from "../../../broker/apis/create_partitions.ts";
import { createTopicsApi } from "../../../broker/apis/create_topics.ts";
import { deleteTopicsApi } from "../../../broker/apis/delete_topics.ts";
import { describeTopicPartitionsApi } from "../../../broker/apis/describe_topic_partitions.ts";
import { errorName } from "../../../protocol/errors.ts";
import {
  createPartitionsRequest,
  createPartitionsResponse,
} from "../../../protocol/schemas/create_partitions.ts";
import {
  createTopicsRequest,
  createTopicsResponse,
} from "../../../protocol/schemas/create_topics.ts";
import {
  deleteTopicsRequest,
  deleteTopicsResponse,
} from "../../../protocol/schemas/delete_topics.ts";
import {
  describeTopicPartitionsRequest,
  describeTopicPartitionsResponse,
} from "../../../protocol/schemas/describe_topic_partitions.ts";
import { ZERO_UUID } from "../../../protocol/types.ts";
import { Harness, newTopic, NODE_ID } from "../controller/harness.ts";
import { ask } from "./admin_harness.ts";

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});

const create = (version: number, name: string, details: object = {}, validateOnly = false) =>
  ask(
    createTopicsApi(harness),
    [createTopicsRequest, createTopicsResponse],
    version,
    {
      topics: [{
        name,
        numPartitions: 2,
        replicationFactor: 1,
        assignments: [],
        configs: [],
        ...details,
      }],
      timeoutMs: 1000,
      validateOnly,
    },
  );

test("createTopicsApi: every version makes the topic; from 5 on the answer tells settings, from 7 on the id", async () => {
  for (let version = 2; version <= 7; version++) {
    const name = `topic-${version}`;
    const configs = [{ name: "retention.ms", value: "77" }];
    const [topic] = (await create(version, name, { configs })).topics;
    expect([topic!.name, topic!.errorCode, topic!.errorMessage]).toEqual([name, 0, null]);
    const image = harness.controller.image().topicByName(name)!;
    expect(image.partitions.length).toBe(2);
    expect(topic!.topicId).toBe(version < 7 ? ZERO_UUID : image.id);
    expect(topic!.numPartitions).toBe(version < 5 ? -1 : 2);
    if (version < 5) continue;
    const retention = topic!.configs!.find((config) => config.name === "retention.ms");
    expect(retention).toEqual({
      name: "retention.ms",
      value: "77",
      readOnly: false,
      configSource: 1,
      isSensitive: false,
    });
    expect(topic!.configs!.length).toBeGreaterThan(30);
    expect(topic!.configs!.find(({ name }) => name === "cleanup.policy")!.configSource).toBe(5);
  }
});

test("createTopicsApi: a refusal has its message and no settings; validateOnly makes nothing", async () => {
  const [refused] = (await create(7, "a b")).topics;
  expect([errorName(refused!.errorCode), refused!.topicId, refused!.configs]).toEqual([
    "INVALID_TOPIC_EXCEPTION",
    ZERO_UUID,
    [],
  ]);
  expect(refused!.errorMessage).toContain("contains one or more characters");
  expect((await create(7, "new", {}, true)).topics[0]!.errorCode).toBe(0);
  expect(harness.controller.image().topicCount).toBe(0);
});

const remove = (version: number, topics: { name: string | null; topicId: typeof ZERO_UUID }[]) =>
  ask(deleteTopicsApi(harness), [deleteTopicsRequest, deleteTopicsResponse], version, {
    topics: version >= 6 ? topics : [],
    topicNames: version >= 6 ? [] : topics.map(({ name }) => name!),
    timeoutMs: 1000,
  });

test("deleteTopicsApi: every version deletes by name, version 6 by id too", async () => {
  for (let version = 1; version <= 6; version++) {
    await harness.controller.createTopics([newTopic("orders")]);
    const { responses } = await remove(version, [{ name: "orders", topicId: ZERO_UUID }]);
    expect(responses.map(({ name, errorCode }) => [name, errorCode])).toEqual([["orders", 0]]);
    expect(harness.controller.image().topicCount).toBe(0);
  }
  await harness.controller.createTopics([newTopic("orders")]);
  const { id } = harness.controller.image().topicByName("orders")!;
  const { responses } = await remove(6, [{ name: null, topicId: id }]);
  expect(responses as object[]).toEqual([
    { name: "orders", topicId: id, errorCode: 0, errorMessage: null },
  ]);
});

test("deleteTopicsApi: both name and id, or neither, is refused and deletes nothing", async () => {
  await harness.controller.createTopics([newTopic("orders")]);
  const { id } = harness.controller.image().topicByName("orders")!;
  const { responses } = await remove(6, [
    { name: "orders", topicId: id },
    { name: null, topicId: ZERO_UUID },
  ]);
  expect(responses.map(({ errorCode, errorMessage }) => [errorName(errorCode), errorMessage]))
    .toEqual([
      ["INVALID_REQUEST", "You may not specify both topic name and topic id."],
      ["INVALID_REQUEST", "Neither topic name nor id were specified."],
    ]);
  expect(harness.controller.image().topicCount).toBe(1);
});

test("deleteTopicsApi: where deletion is switched off, each topic is told so in its version's words", async () => {
  harness = await Harness.start({ flags: { "delete.topic.enable": "false" } });
  await harness.controller.createTopics([newTopic("orders")]);
  const errorIn = async (version: number) => {
    const { responses } = await remove(version, [{ name: "orders", topicId: ZERO_UUID }]);
    return responses.map(({ errorCode }) => errorName(errorCode));
  };
  expect(await errorIn(2)).toEqual(["INVALID_REQUEST"]);
  expect(await errorIn(3)).toEqual(["TOPIC_DELETION_DISABLED"]);
  expect(harness.controller.image().topicCount).toBe(1);
});

test("createPartitionsApi: every version answers for every topic, those that succeeded too", async () => {
  await harness.controller.createTopics([newTopic("orders")]);
  for (let version = 0; version <= 3; version++) {
    const { results } = await ask(
      createPartitionsApi(harness),
      [createPartitionsRequest, createPartitionsResponse],
      version,
      {
        topics: [
          { name: "orders", count: version + 2, assignments: null },
          { name: "nope", count: 2, assignments: null },
        ],
        timeoutMs: 1000,
        validateOnly: false,
      },
    );
    expect(results.map(({ name, errorCode }) => [name, errorName(errorCode)])).toEqual([
      ["orders", "NONE"],
      ["nope", "UNKNOWN_TOPIC_OR_PARTITION"],
    ]);
    expect(harness.controller.image().topicByName("orders")!.partitions.length).toBe(version + 2);
  }
});

interface Cursor {
  readonly topicName: string;
  readonly partitionIndex: number;
}
const describe = (topics: string[], limit = 2000, cursor: Cursor | null = null) =>
  ask(
    describeTopicPartitionsApi({ ...harness, nodeId: NODE_ID }),
    [describeTopicPartitionsRequest, describeTopicPartitionsResponse],
    0,
    { topics: topics.map((name) => ({ name })), responsePartitionLimit: limit, cursor },
  );
const pageOf = (answer: Awaited<ReturnType<typeof describe>>) =>
  answer.topics.map((
    { name, errorCode, partitions },
  ) => [name, errorName(errorCode), partitions.map(({ partitionIndex }) => partitionIndex)]);

test("describeTopicPartitionsApi: pages cover every partition once, in the order of names", async () => {
  await harness.controller.createTopics([
    newTopic("c", { partitionCount: 3 }),
    newTopic("a", { partitionCount: 4 }),
    newTopic("b"),
  ]);
  for (const limit of [1, 2, 3, 4, 5, 100]) {
    const seen: string[] = [];
    let cursor: Cursor | null = null;
    for (let pages = 0; pages < 20; pages++) {
      const page: Awaited<ReturnType<typeof describe>> = await describe([], limit, cursor);
      for (const topic of page.topics) {
        for (const { partitionIndex } of topic.partitions) {
          seen.push(`${topic.name}-${partitionIndex}`);
        }
      }
      cursor = page.nextCursor;
      if (cursor === null) break;
    }
    expect(seen).toEqual(["a-0", "a-1", "a-2", "a-3", "b-0", "c-0", "c-1", "c-2"]);
  }
});

test("describeTopicPartitionsApi: names by choice, with an error for those that are not there", async () => {
  await harness.controller.createTopics([newTopic("a", { partitionCount: 2 })]);
  expect(pageOf(await describe(["nope", "a", "a b", "a"]))).toEqual([
    ["a", "NONE", [0, 1]],
    ["a b", "INVALID_TOPIC_EXCEPTION", []],
    ["nope", "UNKNOWN_TOPIC_OR_PARTITION", []],
  ]);
  expect(pageOf(await describe(["a"], 0))).toEqual([["a", "NONE", [0]]]);
});

test("describeTopicPartitionsApi: the broker's own limit holds whatever is asked for", async () => {
  harness = await Harness.start({ flags: { "max.request.partition.size.limit": "2" } });
  await harness.controller.createTopics([newTopic("a", { partitionCount: 3 })]);
  const page = await describe([], 2000);
  expect(pageOf(page)).toEqual([["a", "NONE", [0, 1]]]);
  expect(page.nextCursor).toEqual({ topicName: "a", partitionIndex: 2 });
});

test("describeTopicPartitionsApi: a cursor that does not point into the request is refused", async () => {
  await harness.controller.createTopics([newTopic("a", { partitionCount: 2 })]);
  const refused = [["a", "INVALID_REQUEST", []]];
  expect(pageOf(await describe(["a"], 9, { topicName: "zz", partitionIndex: 0 }))).toEqual(refused);
  expect(pageOf(await describe(["a"], 9, { topicName: "a", partitionIndex: -1 }))).toEqual(refused);
  // One past the end is what a page may leave behind when a topic shrank: nothing is left of it.
  expect(pageOf(await describe(["a"], 9, { topicName: "a", partitionIndex: 50 })))
    .toEqual([["a", "NONE", []]]);
});
