import { beforeEach, expect, test } from "bun:test";
import { metadataApi } from "../../../broker/apis/metadata.ts";
import type { Api } from "../../../broker/apis/api.ts";
import { errorName } from "../../../protocol/errors.ts";
import type { Encodable } from "../../../protocol/schema.ts";
import { metadataRequest, metadataResponse } from "../../../protocol/schemas/metadata.ts";
import { type Uuid, ZERO_UUID } from "../../../protocol/types.ts";
import { CLUSTER_ID, Harness, newTopic, NODE_ID } from "../controller/harness.ts";
import { ADVERTISED, ask } from "./admin_harness.ts";

type Request = Encodable<typeof metadataRequest>;

let harness: Harness;
let api: Api;
beforeEach(async () => {
  harness = await Harness.start({ others: [{ id: 2, rack: "r2" }] });
  const { controller, config } = harness;
  api = metadataApi({
    controller,
    topicMaker: controller,
    config,
    nodeId: NODE_ID,
    topicsReady: harness.topicsReady,
  });
  await controller.createTopics([
    newTopic("orders", { partitionCount: 2, replicationFactor: 2 }),
    newTopic("__consumer_offsets"),
  ]);
});

const named = (name: string | null, topicId: Uuid = ZERO_UUID) => ({ name, topicId });
function request(topics: Request["topics"], details: Partial<Request> = {}): Request {
  return {
    topics,
    allowAutoTopicCreation: false,
    includeClusterAuthorizedOperations: false,
    includeTopicAuthorizedOperations: false,
    ...details,
  };
}
const asked = (version: number, topics: Request["topics"], details: Partial<Request> = {}) =>
  ask(api, [metadataRequest, metadataResponse], version, {
    ...request(topics, details),
    // Before version 4 the flag is not sent, and every request may create.
    ...(version < 4 ? { allowAutoTopicCreation: true } : {}),
  });
const summary = (answer: Awaited<ReturnType<typeof asked>>) =>
  answer.topics.map(({ name, errorCode }) => [name, errorName(errorCode)]);

test("metadataApi: every version answers with brokers, leaders and replicas", async () => {
  for (let version = 0; version <= 13; version++) {
    const answer = await asked(version, [named("orders")]);
    expect(answer.brokers).toEqual([
      { nodeId: 1, host: ADVERTISED.advertisedHost, port: ADVERTISED.advertisedPort, rack: null },
      { nodeId: 2, host: "host2", port: 9092, rack: version === 0 ? null : "r2" },
    ]);
    expect(answer.controllerId).toBe(version === 0 ? -1 : NODE_ID);
    expect(answer.clusterId).toBe(version < 2 ? null : CLUSTER_ID);
    const [topic] = answer.topics;
    expect(topic!.errorCode).toBe(0);
    const expected = harness.controller.image().topicByName("orders")!;
    expect(topic!.topicId).toBe(version < 10 ? ZERO_UUID : expected.id);
    expect(
      topic!.partitions.map((p) => [p.errorCode, p.partitionIndex, p.leaderId, p.replicaNodes]),
    )
      .toEqual(expected.partitions.map((p) => [0, p.partition, p.leader, [...p.replicas]]));
    expect(topic!.partitions[0]!.leaderEpoch).toBe(version < 7 ? -1 : 0);
  }
});

test("metadataApi: null is all topics, an empty list is none; before version 1 an empty list is all", async () => {
  expect(summary(await asked(0, [])).length).toBe(2);
  expect(summary(await asked(1, []))).toEqual([]);
  expect(summary(await asked(1, null)).length).toBe(2);
  expect(summary(await asked(13, null)).length).toBe(2);
});

test("metadataApi: an unknown topic, an illegal name and an unknown id each get their own error", async () => {
  const unknown = "AAAAAAAAAAAAAAAAAAAAZQ" as Uuid;
  const answer = await asked(12, [
    named("nope"),
    named("a b"),
    named(null, unknown),
    named("orders"),
    named("orders"),
  ]);
  expect(summary(answer)).toEqual([
    ["nope", "UNKNOWN_TOPIC_OR_PARTITION"],
    ["a b", "INVALID_TOPIC_EXCEPTION"],
    [null, "UNKNOWN_TOPIC_ID"],
    ["orders", "NONE"],
  ]);
  expect(answer.topics[2]!.topicId).toBe(unknown);
});

test("metadataApi: a topic asked for by id is answered with its name", async () => {
  const { id } = harness.controller.image().topicByName("orders")!;
  expect(summary(await asked(12, [named(null, id)]))).toEqual([["orders", "NONE"]]);
  // Versions 10 and 11 cannot ask so.
  expect(summary(await asked(10, [named(null, id)]))).toEqual([["", "INVALID_REQUEST"]]);
  expect(summary(await asked(11, [named("orders", id)]))).toEqual([["orders", "INVALID_REQUEST"]]);
});

test("metadataApi: a topic with neither name nor id is refused and nothing breaks", async () => {
  expect(summary(await asked(12, [named(null)]))).toEqual([["", "INVALID_REQUEST"]]);
});

test("metadataApi: creation on first use needs the flag, the setting and a legal name", async () => {
  const may = { allowAutoTopicCreation: true };
  expect(summary(await asked(9, [named("new")]))).toEqual([["new", "UNKNOWN_TOPIC_OR_PARTITION"]]);
  expect(summary(await asked(9, [named("new"), named("a b"), named("orders")], may))).toEqual([
    ["new", "NONE"],
    ["a b", "INVALID_TOPIC_EXCEPTION"],
    ["orders", "NONE"],
  ]);
  expect(harness.controller.image().topicByName("new")!.partitions.length).toBe(1);
  // Before version 4 every request may.
  expect(summary(await asked(3, [named("old")]))).toEqual([["old", "NONE"]]);
  const forbidden = await Harness.start({ flags: { "auto.create.topics.enable": "false" } });
  const { controller, config } = forbidden;
  const strict = metadataApi({
    controller,
    topicMaker: controller,
    config,
    nodeId: NODE_ID,
    topicsReady: harness.topicsReady,
  });
  const answer = await ask(
    strict,
    [metadataRequest, metadataResponse],
    9,
    request([named("new")], may),
  );
  expect(summary(answer)).toEqual([["new", "UNKNOWN_TOPIC_OR_PARTITION"]]);
  expect(controller.image().topicCount).toBe(0);
});

test("metadataApi: two clients that ask for the same new topic at once both get it", async () => {
  const may = { allowAutoTopicCreation: true };
  const answers = await Promise.all([
    asked(9, [named("new")], may),
    asked(9, [named("new")], may),
  ]);
  expect(answers.map(summary)).toEqual([[["new", "NONE"]], [["new", "NONE"]]]);
});

test("metadataApi: a topic made on first use is answered when its partitions are up, no other waits", async () => {
  const { controller, config } = harness;
  const up = Promise.withResolvers<void>();
  const waitedFor: string[] = [];
  const waiting = metadataApi({
    controller,
    topicMaker: controller,
    config,
    nodeId: NODE_ID,
    topicsReady: (names) => {
      waitedFor.push(...names);
      return up.promise;
    },
  });
  const may = { allowAutoTopicCreation: true };
  const messages = [metadataRequest, metadataResponse] as const;
  let isAnswered = false;
  const made = ask(waiting, messages, 9, request([named("new")], may)).then((answer) => {
    isAnswered = true;
    return summary(answer);
  });
  // A topic that is there does not wait, though the other request came first.
  await ask(waiting, messages, 9, request([named("orders")], may));
  await harness.clock.advance(1000);
  expect([isAnswered, waitedFor] as unknown).toEqual([false, ["new"]]);
  up.resolve();
  expect(await made).toEqual([["new", "NONE"]]);
});

test("metadataApi: a name that collides is not created and is answered as illegal", async () => {
  await harness.controller.createTopics([newTopic("a.b")]);
  expect(summary(await asked(9, [named("a_b")], { allowAutoTopicCreation: true })))
    .toEqual([["a_b", "INVALID_TOPIC_EXCEPTION"]]);
});

test("metadataApi: the group topic is made as its settings say, and flagged", async () => {
  const fresh = await Harness.start({ flags: { "offsets.topic.num.partitions": "7" } });
  const { controller, config } = fresh;
  const answer = await ask(
    metadataApi({
      controller,
      topicMaker: controller,
      config,
      nodeId: NODE_ID,
      topicsReady: harness.topicsReady,
    }),
    [metadataRequest, metadataResponse],
    9,
    request([named("__consumer_offsets")], { allowAutoTopicCreation: true }),
  );
  expect(answer.topics[0]!.isInternal).toBe(true);
  expect(answer.topics[0]!.partitions.length).toBe(7);
  expect(controller.image().configs("topic", "__consumer_offsets").get("cleanup.policy"))
    .toBe("compact");
});

test("metadataApi: operations are told only when asked for, of the cluster in versions 8 to 10", async () => {
  const all = { includeTopicAuthorizedOperations: true };
  const NOT_ASKED = -2147483648;
  expect((await asked(13, [named("orders")])).topics[0]!.topicAuthorizedOperations).toBe(NOT_ASKED);
  // Apache Kafka 4.3.1 answers these numbers.
  expect((await asked(13, [named("orders")], all)).topics[0]!.topicAuthorizedOperations).toBe(3576);
  expect(
    (await asked(8, [], { includeClusterAuthorizedOperations: true })).clusterAuthorizedOperations,
  )
    .toBe(8096);
  expect((await asked(8, [])).clusterAuthorizedOperations).toBe(NOT_ASKED);
});
