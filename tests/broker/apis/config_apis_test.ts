import { beforeEach, expect, test } from "bun:test";
import { alterConfigsApi } from "../../../broker/apis/alter_configs.ts";
import { describeConfigsApi } from "../../../broker/apis/describe_configs.ts";
import { incrementalAlterConfigsApi } from "../../../broker/apis/incremental_alter_configs.ts";
import { listConfigResourcesApi } from "../../../broker/apis/list_config_resources.ts";
import { followBrokerConfigs } from "../../../broker/controller/config_rules.ts";
import { errorName } from "../../../protocol/errors.ts";
import {
  alterConfigsRequest,
  alterConfigsResponse,
} from "../../../protocol/schemas/alter_configs.ts";
import {
  describeConfigsRequest,
  describeConfigsResponse,
} from "../../../protocol/schemas/describe_configs.ts";
import {
  incrementalAlterConfigsRequest,
  incrementalAlterConfigsResponse,
} from "../../../protocol/schemas/incremental_alter_configs.ts";
import {
  listConfigResourcesRequest,
  listConfigResourcesResponse,
} from "../../../protocol/schemas/list_config_resources.ts";
import { Harness, newTopic, NODE_ID } from "../controller/harness.ts";
import { ask } from "./admin_harness.ts";

const TOPIC = 2;
const BROKER = 4;
const LOGGER = 8;
const METRICS = 16;
const GROUP = 32;

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
  const { controller, config, logger } = harness;
  followBrokerConfigs({ controller, config, nodeId: NODE_ID, logger });
  const configs = [{ name: "retention.ms", value: "77" }];
  await controller.createTopics([newTopic("orders", { configs })]);
});

const describe = (
  version: number,
  resourceType: number,
  resourceName: string,
  configurationKeys: string[] | null = null,
  includeDocumentation = false,
) =>
  ask(
    describeConfigsApi({ ...harness, nodeId: NODE_ID }),
    [describeConfigsRequest, describeConfigsResponse],
    version,
    {
      resources: [{ resourceType, resourceName, configurationKeys }],
      includeSynonyms: true,
      includeDocumentation,
    },
  ).then(({ results }) => results[0]!);

test("describeConfigsApi: every version lists a topic's settings, defaults with them", async () => {
  for (let version = 1; version <= 4; version++) {
    const result = await describe(version, TOPIC, "orders");
    expect([result.errorCode, result.resourceType, result.resourceName]).toEqual([0, 2, "orders"]);
    expect(result.configs.length).toBeGreaterThan(30);
    const own = result.configs.find(({ name }) => name === "retention.ms")!;
    expect([own.value, own.configSource, own.synonyms[0]!.name]).toEqual(["77", 1, "retention.ms"]);
    const inherited = result.configs.find(({ name }) => name === "cleanup.policy")!;
    expect([inherited.value, inherited.configSource]).toEqual(["delete", 5]);
    expect(inherited.synonyms).toEqual([
      { name: "log.cleanup.policy", value: "delete", source: 5 },
    ]);
    expect(inherited.configType).toBe(version < 3 ? 0 : 7);
  }
});

test("describeConfigsApi: keys by choice, documentation on request", async () => {
  const keys = ["retention.ms", "no.such.setting"];
  const plain = await describe(4, TOPIC, "orders", keys);
  expect(plain.configs.map(({ name, documentation }) => [name, documentation]))
    .toEqual([["retention.ms", null]]);
  const documented = await describe(4, TOPIC, "orders", keys, true);
  expect(documented.configs[0]!.documentation).toContain(" ");
});

test("describeConfigsApi: a value set for all brokers shows in topics and brokers, with its source", async () => {
  await incremental(1, BROKER, "", [["log.retention.ms", 0, "123456"]]);
  await incremental(1, TOPIC, "orders", [["retention.ms", 1, null]]);
  const [topic] = (await describe(4, TOPIC, "orders", ["retention.ms"])).configs;
  expect([topic!.value, topic!.configSource]).toEqual(["123456", 3]);
  const [broker] = (await describe(4, BROKER, "1", ["log.retention.ms"])).configs;
  expect([broker!.value, broker!.configSource, broker!.readOnly]).toEqual(["123456", 3, false]);
  const everyone = await describe(4, BROKER, "");
  expect(everyone.configs.map(({ name, value }) => [name, value])).toEqual([
    ["min.insync.replicas", "1"],
    ["log.retention.ms", "123456"],
  ]);
});

const refusals: readonly [number, string, string, string][] = [
  [TOPIC, "nope", "UNKNOWN_TOPIC_OR_PARTITION", "does not exist"],
  [TOPIC, "", "INVALID_TOPIC_EXCEPTION", "the empty string is not allowed"],
  [TOPIC, "a b", "INVALID_TOPIC_EXCEPTION", "contains one or more"],
  [BROKER, "2", "INVALID_REQUEST", "expected 1 or empty string, but received 2"],
  [BROKER, "x", "INVALID_REQUEST", "Broker id must be an integer, but it is: x"],
  [GROUP, "", "INVALID_REQUEST", "not allowed"],
  [LOGGER, "1", "INVALID_REQUEST", "levels of loggers"],
  [METRICS, "s", "INVALID_REQUEST", "not supported"],
  [99, "x", "INVALID_REQUEST", "Unsupported resource type: 99"],
];
test.each(refusals)("describeConfigsApi: type %p, name %p: %s", async (type, name, error, text) => {
  const result = await describe(4, type, name);
  expect(errorName(result.errorCode)).toBe(error);
  expect(result.errorMessage).toContain(text);
  expect(result.configs).toEqual([]);
});

test("describeConfigsApi: a group that nobody configured has its defaults", async () => {
  const name = "consumer.session.timeout.ms";
  const [plain] = (await describe(4, GROUP, "g", [name])).configs;
  expect([plain!.value, plain!.configSource]).toEqual(["45000", 5]);
  await incremental(1, GROUP, "g", [[name, 0, "50000"]]);
  const [changed] = (await describe(4, GROUP, "g", [name])).configs;
  expect([changed!.value, changed!.configSource]).toEqual(["50000", 8]);
});

type Operation = readonly [name: string, configOperation: number, value: string | null];
const incremental = (
  version: number,
  resourceType: number,
  resourceName: string,
  operations: readonly Operation[],
  validateOnly = false,
) =>
  ask(
    incrementalAlterConfigsApi(harness),
    [incrementalAlterConfigsRequest, incrementalAlterConfigsResponse],
    version,
    {
      resources: [{
        resourceType,
        resourceName,
        configs: operations.map(([name, configOperation, value]) => (
          { name, configOperation, value }
        )),
      }],
      validateOnly,
    },
  ).then(({ responses }) => responses[0]!);

test("incrementalAlterConfigsApi: every version knows the four operations", async () => {
  const policy = () => harness.controller.image().configs("topic", "orders").get("cleanup.policy");
  for (let version = 0; version <= 1; version++) {
    expect(
      (await incremental(version, TOPIC, "orders", [["cleanup.policy", 0, "delete"]])).errorCode,
    )
      .toBe(0);
    await incremental(version, TOPIC, "orders", [["cleanup.policy", 2, "compact"]]);
    expect(policy()).toBe("delete,compact");
    await incremental(version, TOPIC, "orders", [["cleanup.policy", 3, "delete"]]);
    expect(policy()).toBe("compact");
    await incremental(version, TOPIC, "orders", [["cleanup.policy", 1, null]], true);
    expect(policy()).toBe("compact");
    await incremental(version, TOPIC, "orders", [["cleanup.policy", 1, null]]);
    expect(policy()).toBeUndefined();
  }
});

test("incrementalAlterConfigsApi: an unknown operation or type is refused, and named", async () => {
  const operation = await incremental(1, TOPIC, "orders", [["retention.ms", 9, "1"]]);
  expect([errorName(operation.errorCode), operation.errorMessage]).toEqual([
    "INVALID_REQUEST",
    "Unknown operation 9 for setting retention.ms.",
  ]);
  const type = await incremental(1, 9, "orders", [["retention.ms", 0, "1"]]);
  expect([errorName(type.errorCode), type.errorMessage, type.resourceType]).toEqual([
    "INVALID_REQUEST",
    "Unknown resource type 9",
    9,
  ]);
});

test("alterConfigsApi: every version replaces all that was set", async () => {
  for (let version = 0; version <= 2; version++) {
    const value = String(version + 1);
    const { responses } = await ask(
      alterConfigsApi(harness),
      [alterConfigsRequest, alterConfigsResponse],
      version,
      {
        resources: [
          {
            resourceType: TOPIC,
            resourceName: "orders",
            configs: [{ name: "segment.ms", value }],
          },
          { resourceType: 9, resourceName: "orders", configs: [] },
        ],
        validateOnly: false,
      },
    );
    expect(new Map(responses.map((response) => [response.resourceType, response.errorCode])))
      .toEqual(new Map([[TOPIC, 0], [9, 42]]));
    expect([...harness.controller.image().configs("topic", "orders")])
      .toEqual([["segment.ms", value]]);
  }
});

test("listConfigResourcesApi: kinds by choice, all of them without one, and none in version 0", async () => {
  await incremental(1, GROUP, "g", [["consumer.session.timeout.ms", 0, "50000"]]);
  const list = (version: number, resourceTypes: number[]) =>
    ask(
      listConfigResourcesApi(harness),
      [listConfigResourcesRequest, listConfigResourcesResponse],
      version,
      { resourceTypes },
    );
  const namesOf = async (resourceTypes: number[]) =>
    (await list(1, resourceTypes)).configResources
      .map(({ resourceType, resourceName }) => `${resourceType} ${resourceName}`).sort();
  expect(await namesOf([TOPIC])).toEqual(["2 orders"]);
  expect(await namesOf([GROUP, GROUP])).toEqual(["32 g"]);
  expect(await namesOf([])).toEqual(["2 orders", "32 g", "4 1", "8 1"]);
  expect((await list(0, [])).configResources).toEqual([]);
  expect(errorName((await list(1, [9])).errorCode)).toBe("UNSUPPORTED_VERSION");
});
