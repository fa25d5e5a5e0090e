import { expect, test } from "bun:test";
import {
  configResourceType,
  MetadataDelta,
  MetadataImage,
} from "../../../broker/controller/metadata_image.ts";
import {
  decodeMetadataRecord,
  encodeMetadataRecord,
  type MetadataRecord,
} from "../../../broker/controller/metadata_records.ts";
import { leaderEpoch, offset, timestampMs, type Uuid } from "../../../protocol/types.ts";

const ID = "yoa67tGYTPyLLJ8LeHt66Q" as Uuid;
const OTHER_ID = "zoa67tGYTPyLLJ8LeHt66Q" as Uuid;

function replay(image: MetadataImage, ...records: MetadataRecord[]) {
  const delta = new MetadataDelta(image);
  const start = image.offset + 1;
  for (const [i, record] of records.entries()) {
    delta.replay(decodeMetadataRecord(encodeMetadataRecord(record)), offset(start + i));
  }
  return delta.apply({
    offset: offset(start + records.length - 1),
    leaderEpoch: leaderEpoch(1),
    timestampMs: timestampMs(1),
  });
}

const topicRecord = (name: string, topicId: Uuid): MetadataRecord => ({
  type: "TopicRecord",
  value: { name, topicId },
});
const partitionRecord = (topicId: Uuid, partitionId: number): MetadataRecord => ({
  type: "PartitionRecord",
  value: {
    partitionId,
    topicId,
    replicas: [1, 2, 3],
    isr: [1, 2, 3],
    removingReplicas: [],
    addingReplicas: [],
    leader: 1,
    leaderEpoch: 5,
    partitionEpoch: 7,
    directories: [],
  },
});
const change = (
  details: Partial<Extract<MetadataRecord, { type: "PartitionChangeRecord" }>["value"]>,
): MetadataRecord => ({
  type: "PartitionChangeRecord",
  value: { partitionId: 0, topicId: ID, ...details },
});

const empty = MetadataImage.empty("cluster");
const { image: base } = replay(
  empty,
  topicRecord("orders", ID),
  partitionRecord(ID, 0),
  partitionRecord(ID, 1),
  topicRecord("other", OTHER_ID),
  partitionRecord(OTHER_ID, 0),
);

const partitionChanges: readonly [string, MetadataRecord, object][] = [
  ["a smaller ISR keeps the leader's epoch", change({ isr: [1, 2] }), {
    isr: [1, 2],
    leader: 1,
    leaderEpoch: 5,
    partitionEpoch: 8,
  }],
  ["a new leader starts an epoch", change({ leader: 2 }), {
    leader: 2,
    leaderEpoch: 6,
    partitionEpoch: 8,
  }],
  ["the same leader named again starts one too", change({ leader: 1 }), {
    leader: 1,
    leaderEpoch: 6,
  }],
  ["no leader", change({ leader: -1, isr: [1] }), { leader: -1, leaderEpoch: 6, isr: [1] }],
  ["other replicas", change({ replicas: [4, 5], isr: [4], leader: 4 }), {
    replicas: [4, 5],
    isr: [4],
    leader: 4,
  }],
  [
    "eligible leaders",
    change({ eligibleLeaderReplicas: [2], lastKnownElr: [3], leaderRecoveryState: 1 }),
    { elr: [2], lastKnownElr: [3], leaderRecoveryState: 1, isr: [1, 2, 3] },
  ],
];
test.each(partitionChanges)("MetadataDelta.replay: %s", (_, record, after) => {
  const { image, changes } = replay(base, record);
  const partition = image.topicByName("orders")!.partitions[0]!;
  expect(partition as object).toMatchObject(after);
  expect(changes.changedPartitions.map(({ topic, before, after }) => [topic.name, before, after]))
    .toEqual([["orders", base.topicByName("orders")!.partitions[0]!, partition]]);
  // The image before is as it was, and what was not touched is the same object.
  expect(base.topicByName("orders")!.partitions[0]!.partitionEpoch).toBe(7);
  expect(image.topicByName("other")).toBe(base.topicByName("other")!);
  expect(image.topicByName("orders")!.partitions[1]).toBe(
    base.topicByName("orders")!.partitions[1]!,
  );
});

test("MetadataDelta.replay: a topic deleted and made again in one batch is in both lists", () => {
  const newId = "aoa67tGYTPyLLJ8LeHt66Q" as Uuid;
  const { image, changes } = replay(
    base,
    { type: "RemoveTopicRecord", value: { topicId: ID } },
    topicRecord("orders", newId),
    partitionRecord(newId, 0),
  );
  expect(changes.deletedTopics.map(({ id }) => id)).toEqual([ID]);
  expect(changes.createdTopics.map(({ id }) => id)).toEqual([newId]);
  expect(image.topicByName("orders")!.id).toBe(newId);
  expect(image.topicById(ID)).toBeUndefined();
});

test("MetadataDelta.replay: a topic made and deleted in one batch leaves no trace", () => {
  const { image, changes } = replay(
    empty,
    topicRecord("a.b", ID),
    partitionRecord(ID, 0),
    {
      type: "ConfigRecord",
      value: { resourceType: 2, resourceName: "a.b", name: "x", value: "1" },
    },
    { type: "RemoveTopicRecord", value: { topicId: ID } },
  );
  expect([changes.createdTopics, changes.deletedTopics]).toEqual([[], []]);
  expect(image.topicCount).toBe(0);
  expect(image.collidingTopicName("a_b")).toBeUndefined();
  expect([...image.configuredResources("topic")]).toEqual([]);
});

const misfits: readonly [string, MetadataRecord][] = [
  ["a topic id that is taken", topicRecord("again", ID)],
  ["a partition after a hole", partitionRecord(ID, 3)],
  ["a partition of no topic", partitionRecord("boa67tGYTPyLLJ8LeHt66Q" as Uuid, 0)],
  ["a change of no partition", change({ partitionId: 9 })],
  ["a setting of nothing", {
    type: "ConfigRecord",
    value: { resourceType: 99, resourceName: "x", name: "x", value: "1" },
  }],
  ["a change of no broker", { type: "FenceBrokerRecord", value: { id: 9, epoch: 1 } }],
  ["an aborted transaction", { type: "AbortTransactionRecord", value: { reason: null } }],
];
test.each(misfits)("MetadataDelta.replay: %s is refused", (_, record) => {
  expect(() => replay(base, record)).toThrow();
});

test("MetadataDelta.replay: brokers are registered, fenced, unfenced, changed and unregistered", () => {
  const register: MetadataRecord = {
    type: "RegisterBrokerRecord",
    value: {
      brokerId: 1,
      incarnationId: ID,
      brokerEpoch: 3,
      endPoints: [{ name: "PLAINTEXT", host: "h", port: 65535, securityProtocol: 0 }],
      features: [{ name: "metadata.version", minSupportedVersion: 7, maxSupportedVersion: 30 }],
      rack: "r",
      logDirs: [OTHER_ID],
    },
  };
  let { image } = replay(base, register);
  const broker = () => image.brokers.get(1)!;
  expect([broker().fenced, broker().rack, broker().endpoints[0]!.port]).toEqual([true, "r", 65535]);
  const registrationChange = (fenced: number, inControlledShutdown = 0): MetadataRecord => ({
    type: "BrokerRegistrationChangeRecord",
    value: { brokerId: 1, brokerEpoch: 3, fenced, inControlledShutdown, logDirs: [] },
  });
  ({ image } = replay(image, registrationChange(-1)));
  expect(broker().fenced).toBe(false);
  ({ image } = replay(image, registrationChange(0, 1)));
  expect([broker().fenced, broker().inControlledShutdown]).toEqual([false, true]);
  ({ image } = replay(image, registrationChange(1)));
  expect(broker().fenced).toBe(true);
  ({ image } = replay(image, { type: "UnfenceBrokerRecord", value: { id: 1, epoch: 3 } }));
  expect(broker().fenced).toBe(false);
  const unregister: MetadataRecord = {
    type: "UnregisterBrokerRecord",
    value: { brokerId: 1, brokerEpoch: 3 },
  };
  expect(replay(image, unregister).image.brokers.size).toBe(0);
});

test("MetadataDelta.replay: a feature at level 0 is gone", () => {
  const level = (featureLevel: number): MetadataRecord => ({
    type: "FeatureLevelRecord",
    value: { name: "group.version", featureLevel },
  });
  const { image } = replay(base, level(1));
  expect(image.features.get("group.version")).toBe(1);
  expect(replay(image, level(0)).image.features.has("group.version")).toBe(false);
});

test("MetadataImage.collidingTopicName: names that differ in dots and underscores alone collide", () => {
  const { image } = replay(empty, topicRecord("a.b_c", ID), partitionRecord(ID, 0));
  expect(image.collidingTopicName("a_b.c")).toBe("a.b_c");
  expect(image.collidingTopicName("a.b_c")).toBeUndefined();
  expect(image.collidingTopicName("a.b")).toBeUndefined();
});

test("configResourceType: Kafka's numbers, and null for others", () => {
  expect([2, 4, 8, 16, 32, 0, 3].map(configResourceType)).toEqual([
    "topic",
    "broker",
    "brokerLogger",
    "clientMetrics",
    "group",
    null,
    null,
  ]);
});

const clearings: readonly [string, string, number][] = [
  ["of a topic", "orders", 1],
  ["of all topics", "", 2],
];
test.each(clearings)(
  "MetadataDelta.replay: ClearElrRecord %s forgets replicas that had left the ISR",
  (_, topicName, count) => {
    const left = { isr: [1], eligibleLeaderReplicas: [2], lastKnownElr: [3] };
    const { image } = replay(base, change(left), change({ ...left, topicId: OTHER_ID }));
    const cleared = replay(image, { type: "ClearElrRecord", value: { topicName } });
    expect(cleared.changes.changedPartitions.map(({ after }) => [after.elr, after.lastKnownElr]))
      .toEqual(Array.from({ length: count }, () => [[], []]));
    const { before, after } = cleared.changes.changedPartitions[0]!;
    expect(after).toEqual({
      ...before!,
      elr: [],
      lastKnownElr: [],
      partitionEpoch: before!.partitionEpoch + 1,
    });
    const untouched = cleared.image.topicByName("other")!.partitions[0]!.elr;
    expect(untouched).toEqual(count === 2 ? [] : [2]);
  },
);
