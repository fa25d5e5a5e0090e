import { beforeEach, expect, test } from "bun:test";
import type { ConfigOperation } from "../../../broker/controller/config_changes.ts";
import { followBrokerConfigs } from "../../../broker/controller/config_rules.ts";
import type { ConfigResource } from "../../../broker/controller/metadata_image.ts";
import { errorName } from "../../../protocol/errors.ts";
import { Harness, newTopic, NODE_ID } from "./harness.ts";

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
  const configs = [{ name: "retention.ms", value: "77" }];
  await harness.controller.createTopics([newTopic("orders", { configs })]);
});

const topic: ConfigResource = { type: "topic", name: "orders" };
const broker = (name: string): ConfigResource => ({ type: "broker", name });
const group = (name: string): ConfigResource => ({ type: "group", name });
const set = (name: string, value: string | null): ConfigOperation => ({
  name,
  operation: "set",
  value,
});
const drop = (name: string): ConfigOperation => ({ name, operation: "delete", value: null });
const append = (name: string, value: string): ConfigOperation => ({
  name,
  operation: "append",
  value,
});
const subtract = (name: string, value: string): ConfigOperation => ({
  name,
  operation: "subtract",
  value,
});

/** After the change: the error, its message, and the resource's own settings. */
/** What a new cluster has for all brokers, with eligible leader replicas. */
const minIsr = { "min.insync.replicas": "1" };
const changes: readonly [
  string,
  ConfigResource,
  ConfigOperation[],
  string,
  string | null,
  Record<string, string>,
][] = [
  ["set", topic, [set("segment.ms", "5")], "NONE", null, {
    "retention.ms": "77",
    "segment.ms": "5",
  }],
  ["set over", topic, [set("retention.ms", "5")], "NONE", null, { "retention.ms": "5" }],
  ["delete", topic, [drop("retention.ms")], "NONE", null, {}],
  ["delete what is not set", topic, [drop("segment.ms")], "NONE", null, { "retention.ms": "77" }],
  ["append to a default", topic, [append("cleanup.policy", "compact")], "NONE", null, {
    "retention.ms": "77",
    "cleanup.policy": "delete,compact",
  }],
  ["append what is there", topic, [append("cleanup.policy", "delete")], "NONE", null, {
    "retention.ms": "77",
    "cleanup.policy": "delete",
  }],
  [
    "append to what is no list",
    topic,
    [append("retention.ms", "1")],
    "INVALID_CONFIG",
    "Can't APPEND to key retention.ms because its type is not LIST.",
    { "retention.ms": "77" },
  ],
  [
    "append a word that is not allowed",
    topic,
    [append("cleanup.policy", "foo")],
    "INVALID_CONFIG",
    "String must be one of: compact, delete",
    { "retention.ms": "77" },
  ],
  [
    "unknown setting",
    topic,
    [set("foo", "1")],
    "INVALID_CONFIG",
    "Unknown topic config name: foo",
    { "retention.ms": "77" },
  ],
  [
    "bad value beside a good one",
    topic,
    [set("segment.ms", "5"), set("retention.ms", "x")],
    "INVALID_CONFIG",
    "Not a number of type LONG",
    { "retention.ms": "77" },
  ],
  [
    "no value",
    topic,
    [set("retention.ms", null)],
    "INVALID_REQUEST",
    "Null value not supported for : retention.ms",
    { "retention.ms": "77" },
  ],
  [
    "one setting twice",
    topic,
    [set("retention.ms", "1"), drop("retention.ms")],
    "INVALID_REQUEST",
    "Error due to duplicate config keys",
    { "retention.ms": "77" },
  ],
  [
    "unknown topic",
    { type: "topic", name: "nope" },
    [set("retention.ms", "1")],
    "UNKNOWN_TOPIC_OR_PARTITION",
    "The topic 'nope' does not exist.",
    {},
  ],
  [
    "no topic",
    { type: "topic", name: "" },
    [set("retention.ms", "1")],
    "INVALID_REQUEST",
    "Default topic resources are not allowed.",
    {},
  ],
  [
    "illegal topic",
    { type: "topic", name: "a b" },
    [],
    "INVALID_TOPIC_EXCEPTION",
    "contains one or more",
    {},
  ],
  ["broker", broker("1"), [set("log.retention.ms", "9")], "NONE", null, {
    "log.retention.ms": "9",
  }],
  ["all brokers", broker(""), [set("log.retention.ms", "9")], "NONE", null, {
    "log.retention.ms": "9",
    ...minIsr,
  }],
  ["the minimum of all brokers", broker(""), [set("min.insync.replicas", "2")], "NONE", null, {
    "min.insync.replicas": "2",
  }],
  [
    "the minimum of all brokers, to nothing",
    broker(""),
    [drop("min.insync.replicas")],
    "INVALID_CONFIG",
    "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.",
    minIsr,
  ],
  [
    "the minimum of one broker",
    broker("1"),
    [set("min.insync.replicas", "2")],
    "INVALID_CONFIG",
    "Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
    {},
  ],
  [
    "broker that is not there",
    broker("2"),
    [set("log.retention.ms", "9")],
    "INVALID_REQUEST",
    "Unexpected broker id 2",
    {},
  ],
  [
    "broker that is no number",
    broker("x"),
    [set("log.retention.ms", "9")],
    "INVALID_REQUEST",
    "Node id must be an integer, but it is: x",
    {},
  ],
  [
    "setting of a broker that needs a restart",
    broker("1"),
    [set("log.dirs", "/x")],
    "INVALID_REQUEST",
    "Cannot update these configs dynamically",
    {},
  ],
  [
    "bad setting of a broker",
    broker("1"),
    [set("log.retention.ms", "x")],
    "INVALID_REQUEST",
    "Invalid value x for configuration log.retention.ms",
    {},
  ],
  ["group", group("g"), [set("consumer.session.timeout.ms", "50000")], "NONE", null, {
    "consumer.session.timeout.ms": "50000",
  }],
  [
    "no group",
    group(""),
    [set("consumer.session.timeout.ms", "50000")],
    "INVALID_REQUEST",
    "Default group resources are not allowed.",
    {},
  ],
  [
    "unknown setting of a group",
    group("g"),
    [set("foo", "1")],
    "INVALID_CONFIG",
    "Unknown group config name: foo",
    {},
  ],
  [
    "broker logger",
    { type: "brokerLogger", name: "1" },
    [set("root", "DEBUG")],
    "INVALID_REQUEST",
    "levels of loggers",
    {},
  ],
  [
    "client metrics",
    { type: "clientMetrics", name: "s" },
    [set("interval.ms", "1")],
    "INVALID_REQUEST",
    "not supported",
    {},
  ],
];
test.each(changes)(
  "planConfigChanges: %s",
  async (_, resource, operations, error, message, own) => {
    const { controller } = harness;
    const [result] = await controller.incrementalAlterConfigs([{ resource, operations }]);
    expect(errorName(result!.error)).toBe(error);
    if (message === null) expect(result!.message).toBeNull();
    else expect(result!.message).toContain(message);
    const after = () =>
      Object.fromEntries(harness.controller.image().configs(resource.type, resource.name));
    expect(after()).toEqual(own);
    await harness.crashAndReopen();
    expect(after()).toEqual(own);
  },
);

test("planConfigChanges: subtract takes words out of a list that was set", async () => {
  const { controller } = harness;
  const change = (operation: ConfigOperation) =>
    controller.incrementalAlterConfigs([{ resource: topic, operations: [operation] }]);
  await change(set("cleanup.policy", "delete,compact"));
  await change(subtract("cleanup.policy", "delete"));
  expect(controller.image().configs("topic", "orders").get("cleanup.policy")).toBe("compact");
});

test("planConfigChanges: a change to what is there already writes nothing", async () => {
  const end = harness.log.endOffset;
  const [same] = await harness.controller.incrementalAlterConfigs([
    { resource: topic, operations: [set("retention.ms", "77"), drop("segment.ms")] },
  ]);
  expect(errorName(same!.error)).toBe("NONE");
  expect(harness.log.endOffset).toBe(end);
});

test("planConfigChanges: a resource that comes twice is refused both times, the others are changed", async () => {
  const { controller } = harness;
  const results = await controller.incrementalAlterConfigs([
    { resource: topic, operations: [set("retention.ms", "1")] },
    { resource: group("g"), operations: [set("consumer.session.timeout.ms", "50000")] },
    { resource: topic, operations: [set("retention.ms", "2")] },
  ]);
  expect(results.map(({ error }) => errorName(error))).toEqual([
    "INVALID_REQUEST",
    "NONE",
    "INVALID_REQUEST",
  ]);
  expect(controller.image().configs("topic", "orders").get("retention.ms")).toBe("77");
  expect(controller.image().configs("group", "g").size).toBe(1);
});

test("planConfigReplacements: what is not named goes back to its default", async () => {
  const { controller } = harness;
  const replace = (configs: { name: string; value: string | null }[], validateOnly = false) =>
    controller.alterConfigs([{ resource: topic, configs }], { validateOnly });
  const own = () => Object.fromEntries(controller.image().configs("topic", "orders"));
  await replace([{ name: "segment.ms", value: "5" }], true);
  expect(own()).toEqual({ "retention.ms": "77" });
  await replace([{ name: "segment.ms", value: "5" }]);
  expect(own()).toEqual({ "segment.ms": "5" });
  const [refused] = await replace([{ name: "segment.ms", value: null }]);
  expect([errorName(refused!.error), refused!.message]).toEqual([
    "INVALID_REQUEST",
    "Null value not supported for : segment.ms",
  ]);
  const [invalid] = await replace([{ name: "segment.ms", value: "x" }]);
  expect(errorName(invalid!.error)).toBe("INVALID_CONFIG");
  expect(own()).toEqual({ "segment.ms": "5" });
  await replace([]);
  expect(own()).toEqual({});
});

test("followBrokerConfigs: the broker's own values win over those of all brokers, and go away with them", async () => {
  const { controller, config, logger } = harness;
  const stop = followBrokerConfigs({ controller, config, nodeId: NODE_ID, logger });
  const change = (name: string, operation: ConfigOperation) =>
    controller.incrementalAlterConfigs([{ resource: broker(name), operations: [operation] }]);
  await change("", set("log.retention.ms", "5"));
  expect(config.text("log.retention.ms")).toBe("5");
  await change("1", set("log.retention.ms", "6"));
  expect(config.text("log.retention.ms")).toBe("6");
  await change("1", drop("log.retention.ms"));
  expect(config.text("log.retention.ms")).toBe("5");
  stop();
  await change("", drop("log.retention.ms"));
  expect(config.text("log.retention.ms")).toBe("5");
});
