import { expect, test } from "bun:test";
import { ErrorCode } from "../../../protocol/errors.ts";
import { leaderEpoch, offset, timestampMs } from "../../../protocol/types.ts";
import type { MetadataChanges, MetadataImage } from "../../../broker/controller/metadata_image.ts";
import {
  decodeMetadataRecord,
  encodeMetadataRecord,
  type MetadataRecord,
} from "../../../broker/controller/metadata_records.ts";
import { Quorum } from "../../../broker/controller/quorum.ts";
import { Harness, newTopic, NODE_ID } from "./harness.ts";

const NO_LISTENER = {
  handleCommit() {},
  handleSnapshot() {},
  handleReplayed() {},
  handleLeaderChange() {},
  handleFailure() {},
};

test("Controller: a fresh directory gets the feature levels and an epoch, and a restart adds neither again", async () => {
  const harness = await Harness.start();
  const features = [
    ["metadata.version", 30],
    ["eligible.leader.replicas.version", 1],
    ["transaction.version", 2],
    ["group.version", 1],
  ];
  expect([...harness.controller.image().features] as unknown[]).toEqual(features);
  expect(harness.controller.controllerEpoch as number).toBe(1);
  expect(harness.controller.controllerId).toBe(NODE_ID);
  const end = harness.log.endOffset;
  await harness.crashAndReopen();
  expect([...harness.controller.image().features] as unknown[]).toEqual(features);
  expect(harness.controller.controllerEpoch as number).toBe(2);
  // The leader change alone.
  expect(harness.log.endOffset - end).toBe(1);
});

test("Controller.createTopics: an answered topic is on stable storage", async () => {
  const harness = await Harness.start();
  const [created] = await harness.controller.createTopics([newTopic("orders", {
    partitionCount: 3,
    configs: [{ name: "retention.ms", value: "77" }],
  })]);
  expect(created!.error).toBe(ErrorCode.NONE);
  const before = harness.controller.image().topicByName("orders")!;
  await harness.crashAndReopen();
  const after = harness.controller.image();
  expect(after.topicByName("orders")).toEqual(before);
  expect(after.topicById(before.id)).toEqual(before);
  expect([...after.configs("topic", "orders")]).toEqual([["retention.ms", "77"]]);
  expect(
    before.partitions.map(({ leader, isr, leaderEpoch }) => [leader, isr, leaderEpoch]) as unknown,
  )
    .toEqual([[1, [1], 0], [1, [1], 0], [1, [1], 0]]);
});

test("Controller.createTopics: nothing is answered or published before the sync", async () => {
  const harness = await Harness.start();
  let release: () => void = () => {};
  const held = new Promise<void>((resolve) => release = resolve);
  const sync = harness.log.flush.bind(harness.log);
  harness.log.flush = async () => {
    await held;
    await sync();
  };
  let isAnswered = false;
  const answer = harness.controller.createTopics([newTopic("orders")]);
  void answer.then(() => isAnswered = true);
  await harness.clock.advance(1000);
  expect(isAnswered).toBe(false);
  expect(harness.controller.image().topicByName("orders")).toBeUndefined();
  release();
  expect((await answer)[0]!.error).toBe(ErrorCode.NONE);
  expect(harness.controller.image().topicByName("orders")).toBeDefined();
});

test("Controller.createTopics: calls made together are ordered, and the second of two equal ones is refused", async () => {
  const harness = await Harness.start();
  const both = await Promise.all([
    harness.controller.createTopics([newTopic("orders")]),
    harness.controller.createTopics([newTopic("orders")]),
  ]);
  expect(both.flat().map((result) => result.error) as unknown)
    .toEqual([ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS]);
  // The refusal waits for what it rests on.
  expect(harness.controller.image().topicByName("orders")).toBeDefined();
});

test("Controller.createTopics: validateOnly writes nothing", async () => {
  const harness = await Harness.start();
  const end = harness.log.endOffset;
  const [created] = await harness.controller.createTopics([newTopic("orders")], {
    validateOnly: true,
  });
  expect(created!.error).toBe(ErrorCode.NONE);
  expect(harness.log.endOffset).toBe(end);
  expect(harness.controller.image().topicByName("orders")).toBeUndefined();
});

test("Controller.subscribe: the first call has everything, later ones what changed, before the answer", async () => {
  const harness = await Harness.start();
  const { controller } = harness;
  await controller.createTopics([newTopic("old", { partitionCount: 2 })]);
  const heard: { image: MetadataImage; changes: MetadataChanges }[] = [];
  const stop = controller.subscribe((image, changes) => heard.push({ image, changes }));
  expect(heard[0]!.changes.createdTopics.map(({ name }) => name)).toEqual(["old"]);
  expect(heard[0]!.changes.changedBrokers).toEqual([NODE_ID]);
  await controller.createTopics([newTopic("new")]);
  expect(heard[1]!.changes.createdTopics.map(({ name }) => name)).toEqual(["new"]);
  await controller.createPartitions([{ name: "old", partitionCount: 3, assignments: null }]);
  expect(
    heard[2]!.changes.changedPartitions.map(({ before, after }) => [before, after.partition]),
  ).toEqual([[null, 2]]);
  await controller.incrementalAlterConfigs([{
    resource: { type: "topic", name: "old" },
    operations: [{ name: "retention.ms", operation: "set", value: "5" }],
  }]);
  expect(heard[3]!.changes.changedConfigs).toEqual([{ type: "topic", name: "old" }]);
  await controller.deleteTopics([{ name: "old" }]);
  expect(heard[4]!.changes.deletedTopics.map(({ name, partitions }) => [name, partitions.length]))
    .toEqual([["old", 3]]);
  // What an earlier listener call was given has not changed since.
  expect(heard[0]!.image.topicByName("old")!.partitions.length).toBe(2);
  expect(heard[0]!.image.topicByName("new")).toBeUndefined();
  stop();
  await controller.createTopics([newTopic("unheard")]);
  expect(heard.length).toBe(5);
});

test("Controller.deleteTopics: the settings go with the topic, and the name is free again", async () => {
  const harness = await Harness.start();
  const { controller } = harness;
  const configs = [{ name: "retention.ms", value: "77" }];
  await controller.createTopics([newTopic("orders", { configs })]);
  const first = controller.image().topicByName("orders")!;
  expect((await controller.deleteTopics([{ id: first.id }]))[0]).toEqual({
    error: ErrorCode.NONE,
    message: null,
    name: "orders",
    topicId: first.id,
  });
  expect(controller.image().topicById(first.id)).toBeUndefined();
  await controller.createTopics([newTopic("orders")]);
  expect(controller.image().configs("topic", "orders").size).toBe(0);
  expect(controller.image().topicByName("orders")!.id).not.toBe(first.id);
  await harness.crashAndReopen();
  expect(harness.controller.image().configs("topic", "orders").size).toBe(0);
});

test("Controller.allocateProducerIds: no id is in two blocks, not across crashes either", async () => {
  const harness = await Harness.start();
  const firsts: number[] = [];
  for (let round = 0; round < 3; round++) {
    const blocks = await Promise.all(
      [0, 1, 2].map(() => harness.controller.allocateProducerIds(NODE_ID)),
    );
    for (const block of blocks) if ("count" in block) firsts.push(block.firstProducerId);
    await harness.crashAndReopen();
  }
  expect(firsts).toEqual([0, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000]);
});

test("Controller.brokerRegistration: the epoch is the offset of the record, and grows with each start", async () => {
  const harness = await Harness.start();
  const first = harness.controller.image().brokers.get(NODE_ID)!;
  expect(first.fenced).toBe(false);
  // The last record is that of its unfencing.
  expect(first.epoch).toBe(harness.log.endOffset - 2);
  await harness.crashAndReopen();
  expect(harness.controller.image().brokers.get(NODE_ID)).toEqual(first);
  await harness.register(NODE_ID, "a");
  const second = harness.controller.image().brokers.get(NODE_ID)!;
  expect(second.epoch).toBeGreaterThan(first.epoch);
  expect(second.rack).toBe("a");
});

test("Controller: when the disk fails the call is refused, nothing is published and the owner is told", async () => {
  const harness = await Harness.start();
  const { controller } = harness;
  harness.disk.faults = { sync: () => "EIO" };
  const [refused] = await controller.createTopics([newTopic("orders")]);
  expect(refused!.error as number).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
  expect(controller.image().topicByName("orders")).toBeUndefined();
  expect(harness.failures.length).toBe(1);
  expect(controller.isActive).toBe(false);
  harness.disk.faults = {};
  const [later] = await controller.createTopics([newTopic("orders")]);
  expect(later!.error as number).toBe(ErrorCode.NOT_CONTROLLER);
});

test("Controller: a full disk refuses the call, and the next one succeeds when there is room", async () => {
  const harness = await Harness.start();
  const { controller } = harness;
  harness.disk.faults = { write: (path) => path.endsWith(".log") ? "ENOSPC" : null };
  const [refused] = await controller.createTopics([newTopic("orders")]);
  expect(refused!.error as number).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
  expect([harness.failures, controller.isActive] as unknown).toEqual([[], true]);
  harness.disk.faults = {};
  await harness.clock.advance(1000);
  const [created] = await controller.createTopics([newTopic("orders")]);
  expect(created!.error).toBe(ErrorCode.NONE);
  const { id } = controller.image().topicByName("orders")!;
  await harness.crashAndReopen();
  expect(harness.controller.image().topicByName("orders")!.id).toBe(id);
});

test("Controller: changes in flight are bounded, and those past the bound are told to come again", async () => {
  const harness = await Harness.start();
  const blocks = await Promise.all(
    Array.from({ length: 1001 }, () => harness.controller.allocateProducerIds(NODE_ID)),
  );
  expect(blocks.filter((block) => "count" in block).length).toBe(1000);
  expect(blocks.at(-1)!.error as number).toBe(ErrorCode.REQUEST_TIMED_OUT);
  // The bound holds for what is in flight, not for good.
  expect((await harness.controller.allocateProducerIds(NODE_ID)).error).toBe(ErrorCode.NONE);
});

test("Controller: replay goes over many segments and batches larger than one read", async () => {
  const harness = await Harness.start();
  const { controller } = harness;
  harness.log.updateConfig({ ...harness.log.config, segmentBytes: 2_000_000 });
  for (let i = 0; i < 3; i++) {
    // One batch, of which a read of a smaller size gives all.
    const topics = [0, 1].map((j) => newTopic(`wide-${i}-${j}`, { partitionCount: 5000 }));
    for (const { error } of await controller.createTopics(topics)) expect(error as number).toBe(0);
    await controller.createTopics([newTopic(`narrow-${i}`)]);
  }
  expect(harness.log.segments.length).toBeGreaterThan(1);
  const live = [...controller.image().topics()];
  await harness.crashAndReopen();
  const image = harness.controller.image();
  expect(image.topicCount).toBe(9);
  for (const topic of live) expect(image.topicById(topic.id)).toEqual(topic);
});

test("Controller.stop: calls in flight are answered, nobody is told of a failure", async () => {
  const harness = await Harness.start();
  const answer = harness.controller.createTopics([newTopic("orders")]);
  harness.controller.stop();
  expect((await answer)[0]!.error as number).toBe(ErrorCode.NOT_CONTROLLER);
  expect(harness.failures).toEqual([]);
});

const features: readonly [string, number, string | null][] = [
  ["metadata.version", 31, "the cluster is at metadata.version 31"],
  ["metadata.version", 7, "the cluster is at metadata.version 7"],
  ["share.version", 1, null],
];
test.each(features)("Controller.start: a log at %s %p", async (name, featureLevel, refusal) => {
  const harness = await Harness.start();
  harness.controller.stop();
  // What a later version would have written.
  const quorum = await Quorum.start(
    { ...harness, nodeId: NODE_ID },
    NO_LISTENER,
  );
  const records: MetadataRecord[] = [{ type: "FeatureLevelRecord", value: { name, featureLevel } }];
  const appended = quorum.append(quorum.prepare(records));
  if ("committed" in appended) await appended.committed;
  quorum.stop();
  if (refusal === null) {
    await harness.crashAndReopen();
    expect(harness.logger.lines.some(({ message }) => message.includes("does not know"))).toBe(
      true,
    );
  } else await expect(harness.crashAndReopen()).rejects.toThrow(refusal);
});

test("Controller: a level that comes into force and that this version does not know stops the node", async () => {
  const harness = await Harness.start();
  const raise = (name: string, featureLevel: number) => {
    const { offset: before } = harness.controller.image();
    const record: MetadataRecord = { type: "FeatureLevelRecord", value: { name, featureLevel } };
    harness.controller.handleCommit({
      baseOffset: offset(before + 1),
      lastOffset: offset(before + 1),
      leaderEpoch: leaderEpoch(1),
      timestampMs: timestampMs(1),
      records: [decodeMetadataRecord(encodeMetadataRecord(record))],
    });
  };
  raise("share.version", 1);
  expect(harness.failures).toEqual([]);
  raise("metadata.version", 31);
  expect(harness.failures).toEqual([
    "Cannot be a node of this cluster: the cluster is at metadata.version 31, and this version works " +
    "from 30 to 30; start a version that works at that level",
  ]);
});

test("Quorum.start: a flipped bit in a committed record is found by its checksum, not believed", async () => {
  const harness = await Harness.start();
  await harness.controller.createTopics([newTopic("orders")]);
  await harness.controller.createTopics([newTopic("later")]);
  harness.controller.stop();
  const path = "/data/__cluster_metadata-0/00000000000000000000.log";
  const at = Buffer.from(harness.disk.bytesOf(path)).indexOf("orders");
  expect(at).toBeGreaterThan(0);
  // The log was closed cleanly, so that nothing is scanned when it is opened.
  harness.disk.flipBit(path, at);
  const quorum = Quorum.start(
    { ...harness, nodeId: NODE_ID },
    NO_LISTENER,
  );
  await expect(quorum).rejects.toThrow("is damaged, its checksum is wrong; restore");
});

test("Quorum: a damaged quorum-state costs a warning and no epoch is used twice", async () => {
  const harness = await Harness.start();
  await harness.crashAndReopen();
  const epoch = harness.controller.controllerEpoch;
  harness.controller.stop();
  harness.disk.plant("/data/__cluster_metadata-0/quorum-state", new TextEncoder().encode("{]"));
  await harness.open();
  expect(harness.controller.controllerEpoch).toBeGreaterThan(epoch);
  expect(harness.logger.lines.some(({ message }) => message.includes("quorum state"))).toBe(true);
});

test("Quorum: quorum-state is what Kafka writes", async () => {
  const harness = await Harness.start();
  const bytes = harness.disk.bytesOf("/data/__cluster_metadata-0/quorum-state");
  expect(new TextDecoder().decode(bytes)).toBe(
    '{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}',
  );
});
