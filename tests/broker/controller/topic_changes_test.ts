import { beforeAll, describe, expect, test } from "bun:test";
import type { Controller } from "../../../broker/controller/controller.ts";
import {
  invalidTopicName,
  type NewTopic,
  type PartitionIncrease,
  type TopicReference,
} from "../../../broker/controller/topic_changes.ts";
import { ErrorCode, errorName } from "../../../protocol/errors.ts";
import type { Uuid } from "../../../protocol/types.ts";
import { Harness, newTopic } from "./harness.ts";

/** Brokers 1 and 2 are up; broker 3 is registered nowhere. "orders" has 3 partitions, "a.b" has one. */
let controller: Controller;
beforeAll(async () => {
  ({ controller } = await Harness.start({ others: [{ id: 2, rack: null }] }));
  await controller.createTopics([
    newTopic("orders", { partitionCount: 3, replicationFactor: 2 }),
    newTopic("a.b"),
  ]);
});

const names: readonly [string, string | null][] = [
  ["orders", null],
  ["A-z_0.9", null],
  ["x".repeat(249), null],
  ["...", null],
  ["", "the empty string is not allowed"],
  [".", "'.' is not allowed"],
  ["..", "'..' is not allowed"],
  ["x".repeat(250), "is longer than the max allowed length 249"],
  ["a b", "contains one or more characters other than"],
  ["käse", "contains one or more characters other than"],
  ["a/b", "contains one or more characters other than"],
  ["a\n", "contains one or more characters other than"],
];
test.each(names)("invalidTopicName: %p", (name, problem) => {
  if (problem === null) expect(invalidTopicName(name)).toBeNull();
  else expect(invalidTopicName(name)).toContain(problem);
});

const assigned = (...assignments: (readonly number[])[]): Partial<NewTopic> => ({
  partitionCount: -1,
  replicationFactor: -1,
  assignments: assignments.map((replicas, partition) => ({ partition, replicas })),
});
const configured = (name: string, value: string | null): Partial<NewTopic> => ({
  configs: [{ name, value }],
});
const twoDefaults = { partitionCount: -1, replicationFactor: -1 };

/** What Apache Kafka 4.3.1 answers to the same, where its message is given. */
const creations: readonly [string, string, Partial<NewTopic>, string, string?][] = [
  ["a topic", "new", {}, "NONE"],
  ["the defaults", "new", twoDefaults, "NONE"],
  ["as many replicas as brokers", "new", { replicationFactor: 2 }, "NONE"],
  ["a name that is no name", "a b", {}, "INVALID_TOPIC_EXCEPTION", "contains one or more"],
  ["a name that exists", "orders", {}, "TOPIC_ALREADY_EXISTS", "Topic 'orders' already exists."],
  [
    "a name that collides",
    "a_b",
    {},
    "INVALID_TOPIC_EXCEPTION",
    "Topic 'a_b' collides with existing topic: a.b",
  ],
  [
    "the metadata topic",
    "__cluster_metadata",
    {},
    "INVALID_REQUEST",
    "Creation of internal topic __cluster_metadata is prohibited.",
  ],
  [
    "no partitions",
    "new",
    { partitionCount: 0 },
    "INVALID_PARTITIONS",
    "Number of partitions was set to an invalid non-positive value.",
  ],
  ["−2 partitions", "new", { partitionCount: -2 }, "INVALID_PARTITIONS"],
  [
    "no replicas",
    "new",
    { replicationFactor: 0 },
    "INVALID_REPLICATION_FACTOR",
    "Replication factor must be larger than 0, or -1 to use the default value.",
  ],
  ["−2 replicas", "new", { replicationFactor: -2 }, "INVALID_REPLICATION_FACTOR"],
  [
    "no replicas and no partitions",
    "new",
    { replicationFactor: 0, partitionCount: 0 },
    "INVALID_REPLICATION_FACTOR",
  ],
  [
    "more replicas than brokers",
    "new",
    { replicationFactor: 3 },
    "INVALID_REPLICATION_FACTOR",
    "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be " +
    "reached because only 2 broker(s) are registered",
  ],
  [
    "too many partitions",
    "new",
    { partitionCount: 10_001 },
    "POLICY_VIOLATION",
    "Excessively large number of partitions per request.",
  ],
  ["assignments", "new", assigned([1, 2], [2, 1]), "NONE"],
  [
    "assignments and a factor",
    "new",
    { ...assigned([1]), replicationFactor: 1 },
    "INVALID_REQUEST",
    "A manual partition assignment was specified, but replication factor was not set to -1.",
  ],
  [
    "assignments and a count",
    "new",
    { ...assigned([1]), partitionCount: 1 },
    "INVALID_REQUEST",
    "A manual partition assignment was specified, but numPartitions was not set to -1.",
  ],
  [
    "an assignment of nobody",
    "new",
    assigned([]),
    "INVALID_REPLICA_ASSIGNMENT",
    "The manual partition assignment includes an empty replica list.",
  ],
  [
    "an assignment to a stranger",
    "new",
    assigned([1, 3]),
    "INVALID_REPLICA_ASSIGNMENT",
    "The manual partition assignment includes broker 3, but no such broker is registered.",
  ],
  [
    "an assignment to one broker twice",
    "new",
    assigned([1, 1]),
    "INVALID_REPLICA_ASSIGNMENT",
    "The manual partition assignment includes the broker 1 more than once.",
  ],
  [
    "assignments of different length",
    "new",
    assigned([1, 2], [1]),
    "INVALID_REPLICA_ASSIGNMENT",
    "includes a partition with 1 replica(s), but this is not consistent with previous partitions, " +
    "which have 2 replica(s).",
  ],
  [
    "assignments with a hole",
    "new",
    { ...twoDefaults, assignments: [{ partition: 1, replicas: [1] }] },
    "INVALID_REPLICA_ASSIGNMENT",
    "partitions should be a consecutive 0-based integer sequence",
  ],
  [
    "two assignments of one partition",
    "new",
    {
      ...twoDefaults,
      assignments: [{ partition: 0, replicas: [1] }, { partition: 0, replicas: [2] }],
    },
    "INVALID_REPLICA_ASSIGNMENT",
    "Found multiple manual partition assignments for partition 0",
  ],
  ["a setting", "new", configured("retention.ms", "5"), "NONE"],
  [
    "an unknown setting",
    "new",
    configured("foo", "1"),
    "INVALID_CONFIG",
    "Unknown topic config name: foo",
  ],
  [
    "a setting that is no number",
    "new",
    configured("retention.ms", "x"),
    "INVALID_CONFIG",
    "Invalid value x for configuration retention.ms: Not a number of type LONG",
  ],
  [
    "a setting without a value",
    "new",
    configured("retention.ms", null),
    "INVALID_CONFIG",
    "Null value not supported for topic configs: retention.ms",
  ],
  [
    "a bad setting before a bad count",
    "new",
    { ...configured("foo", "1"), partitionCount: 0 },
    "INVALID_CONFIG",
  ],
  [
    "a bad name before a bad setting",
    "a b",
    configured("foo", "1"),
    "INVALID_TOPIC_EXCEPTION",
  ],
];
test.each(
  // A row that is too short would be given bun's `done` callback in the place of the message.
  creations.map(([title, name, details, error, message = ""]) => (
    [title, name, details, error, message] as const
  )),
)("planCreateTopics: %s", async (_, name, details, error, message) => {
  const [result] = await controller.createTopics([newTopic(name, details)], { validateOnly: true });
  expect(errorName(result!.error)).toBe(error);
  expect("message" in result! ? result.message : "").toContain(message);
});

describe("planCreateTopics, several topics", () => {
  const errorsOf = async (...topics: NewTopic[]) => {
    const results = await controller.createTopics(topics, { validateOnly: true });
    return results.map((result) => [result.name, errorName(result.error)]);
  };
  test("planCreateTopics: one that is refused does not hold up the others", async () => {
    expect(await errorsOf(newTopic("good"), newTopic("bad", { partitionCount: 0 }))).toEqual([
      ["good", "NONE"],
      ["bad", "INVALID_PARTITIONS"],
    ]);
  });
  test("planCreateTopics: a name that comes twice is refused once", async () => {
    expect(await errorsOf(newTopic("q"), newTopic("q"), newTopic("w"))).toEqual([
      ["q", "INVALID_REQUEST"],
      ["w", "NONE"],
    ]);
  });
  test("planCreateTopics: names that collide with each other are not both made", async () => {
    expect(await errorsOf(newTopic("z.z"), newTopic("z_z"))).toEqual([
      ["z.z", "NONE"],
      ["z_z", "INVALID_TOPIC_EXCEPTION"],
    ]);
  });
  test("planCreateTopics: the bound on partitions holds for the whole request", async () => {
    expect(
      await errorsOf(newTopic("n", { partitionCount: 9999 }), newTopic("m", { partitionCount: 2 })),
    )
      .toEqual([["n", "POLICY_VIOLATION"], ["m", "POLICY_VIOLATION"]]);
    expect(await errorsOf(newTopic("n", { partitionCount: 9999 }), newTopic("m"))).toEqual([
      ["n", "NONE"],
      ["m", "NONE"],
    ]);
  });
});

test("planCreateTopics: replicas by hand are kept in order, and the first of them leads", async () => {
  const harness = await Harness.start({ others: [{ id: 2, rack: null }] });
  await harness.controller.createTopics([newTopic("new", assigned([2, 1], [1, 2]))]);
  const { partitions } = harness.controller.image().topicByName("new")!;
  expect(partitions.map(({ replicas, leader, isr }) => ({ replicas, leader, isr }))).toEqual([
    { replicas: [2, 1], leader: 2, isr: [2, 1] },
    { replicas: [1, 2], leader: 1, isr: [1, 2] },
  ]);
});

const UNKNOWN_ID = "AAAAAAAAAAAAAAAAAAAAZQ" as Uuid;
test("planDeleteTopics: what is named twice is refused once and stays, what is unknown is told", async () => {
  const harness = await Harness.start();
  await harness.controller.createTopics([newTopic("orders"), newTopic("other"), newTopic("third")]);
  const idOf = (name: string) => harness.controller.image().topicByName(name)!.id;
  const errorsOf = async (...references: TopicReference[]) =>
    (await harness.controller.deleteTopics(references)).map(({ error }) => errorName(error));
  expect(await errorsOf({ name: "nope" })).toEqual(["UNKNOWN_TOPIC_OR_PARTITION"]);
  expect(await errorsOf({ id: UNKNOWN_ID })).toEqual(["UNKNOWN_TOPIC_ID"]);
  expect(await errorsOf({ name: "orders" }, { name: "orders" })).toEqual(["INVALID_REQUEST"]);
  const id = idOf("orders");
  expect(await errorsOf({ id }, { id })).toEqual(["INVALID_REQUEST"]);
  expect(await errorsOf({ name: "orders" }, { id })).toEqual(["INVALID_REQUEST"]);
  expect(harness.controller.image().topicCount).toBe(3);
  expect(await errorsOf({ name: "orders" }, { name: "nope" }, { id: idOf("other") })).toEqual([
    "NONE",
    "UNKNOWN_TOPIC_OR_PARTITION",
    "NONE",
  ]);
  expect([...harness.controller.image().topics()].map(({ name }) => name)).toEqual(["third"]);
});

const increase = (
  partitionCount: number,
  assignments: PartitionIncrease["assignments"] = null,
  name = "orders",
): PartitionIncrease => ({ name, partitionCount, assignments });
const increases: readonly [string, PartitionIncrease, string, string?][] = [
  ["more", increase(5), "NONE"],
  ["more, by hand", increase(4, [[2, 1]]), "NONE"],
  ["an unknown topic", increase(5, null, "nope"), "UNKNOWN_TOPIC_OR_PARTITION"],
  ["as many", increase(3), "INVALID_PARTITIONS", "Topic already has 3 partition(s)."],
  [
    "fewer",
    increase(1),
    "INVALID_PARTITIONS",
    "The topic orders currently has 3 partition(s); 1 would not be an increase.",
  ],
  ["too many", increase(20_000), "POLICY_VIOLATION"],
  [
    "too few assignments",
    increase(5, [[1, 2]]),
    "INVALID_REPLICA_ASSIGNMENT",
    "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
  ],
  [
    "an assignment of another length",
    increase(4, [[1]]),
    "INVALID_REPLICA_ASSIGNMENT",
    "includes a partition with 1 replica(s)",
  ],
  ["an assignment to a stranger", increase(4, [[1, 7]]), "INVALID_REPLICA_ASSIGNMENT"],
];
test.each(
  increases.map(([title, wanted, error, message = ""]) => [title, wanted, error, message] as const),
)("planCreatePartitions: %s", async (_, wanted, error, message) => {
  const [result] = await controller.createPartitions([wanted], { validateOnly: true });
  expect(errorName(result!.error)).toBe(error);
  expect("message" in result! ? result.message : "").toContain(message);
});

test("planCreatePartitions: the partitions that are there stay as they are", async () => {
  const harness = await Harness.start();
  await harness.controller.createTopics([newTopic("orders", { partitionCount: 2 })]);
  const before = harness.controller.image().topicByName("orders")!.partitions;
  const results = await harness.controller.createPartitions([increase(4), increase(9, null, "no")]);
  expect(results.map(({ error }) => error) as number[]).toEqual([
    ErrorCode.NONE,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ]);
  const after = harness.controller.image().topicByName("orders")!.partitions;
  expect(after.slice(0, 2)).toEqual([...before]);
  expect(after.map(({ partition }) => partition)).toEqual([0, 1, 2, 3]);
});
