/** Settings of topics, brokers and the cluster: read, set, deleted, and several altered at once. */

import { z } from "zod";
import { ErrorCode } from "../../../protocol/errors.ts";
import {
  alterConfigs,
  type ConfigEntry,
  describeConfigs,
  ResourceType,
} from "../../client/config_client.ts";
import { type KafkaClient, KafkaError } from "../../client/kafka_client.ts";
import { topicState } from "../../client/topics.ts";
import { ConfluentCode, ProblemError } from "../problem.ts";
import { noBroker } from "./clusters.ts";
import { json, noContent, type Operation, operation } from "./operation.ts";
import { Links, listSchema, resourceSchema, wholeList } from "./resources.ts";
import { named } from "./schema_names.ts";

const MAX_TEXT = 0x7fff;
const MAX_CHANGES = 10_000;

const configFields = {
  cluster_id: z.string(),
  name: z.string(),
  value: z.string().nullable(),
  is_default: z.boolean(),
  is_read_only: z.boolean(),
  is_sensitive: z.boolean(),
  source: z.string(),
  synonyms: z.array(z.object({
    name: z.string(),
    value: z.string().nullable(),
    source: z.string(),
  })),
};
const updateConfigRequest = named(
  "UpdateConfigRequestData",
  z.object({ value: z.string().max(MAX_TEXT).nullable().optional() }),
);
const alterConfigsRequest = named(
  "AlterConfigBatchRequestData",
  z.object({
    data: z.array(z.object({
      name: z.string().max(MAX_TEXT),
      value: z.string().max(MAX_TEXT).nullable().optional(),
      operation: z.enum(["SET", "DELETE"]).nullable().optional(),
    })).max(MAX_CHANGES),
    validate_only: z.boolean().nullable().optional(),
  }),
);
const alterExample = {
  data: [
    { name: "cleanup.policy", operation: "DELETE" },
    { name: "compression.type", value: "gzip" },
  ],
};

const topicConfig = named(
  "TopicConfigData",
  resourceSchema("KafkaTopicConfig", { ...configFields, topic_name: z.string() }),
);
const topicConfigList = named("TopicConfigDataList", listSchema(topicConfig, "KafkaTopicConfig"));
const brokerConfig = named(
  "BrokerConfigData",
  resourceSchema("KafkaBrokerConfig", { ...configFields, broker_id: z.int() }),
);
const brokerConfigList = named(
  "BrokerConfigDataList",
  listSchema(brokerConfig, "KafkaBrokerConfig"),
);
const clusterConfig = named(
  "ClusterConfigData",
  resourceSchema("KafkaClusterConfig", { ...configFields, config_type: z.literal("BROKER") }),
);
const clusterConfigList = named(
  "ClusterConfigDataList",
  listSchema(clusterConfig, "KafkaClusterConfig"),
);

/** Something that has settings, and how it is shown. */
interface Configured {
  readonly type: ResourceType;
  /** Its name in the protocol. */
  readonly name: string;
  readonly kind: string;
  readonly links: Links;
  /** Segments of its settings' path. */
  readonly segments: readonly (string | number)[];
  readonly crn: (setting: string) => string;
  /** The fields that name it. */
  readonly fields: Readonly<Record<string, string | number>>;
  /** Errors: rejects where it does not exist. */
  readonly check: (client: KafkaClient) => Promise<unknown>;
  readonly isShown: (entry: ConfigEntry) => boolean;
}

interface TopicPath {
  readonly cluster_id: string;
  readonly topic_name: string;
}

function ofTopic(base: string, { cluster_id, topic_name }: TopicPath): Configured {
  return {
    type: ResourceType.topic,
    name: topic_name,
    kind: "KafkaTopicConfig",
    links: new Links(base, cluster_id),
    segments: ["topics", topic_name, "configs"],
    crn: (setting) => `topic=${topic_name}/config=${setting}`,
    fields: { topic_name },
    check: (client) => topicState(client, topic_name),
    isShown: () => true,
  };
}

interface BrokerPath {
  readonly cluster_id: string;
  readonly broker_id: number;
}

function ofBroker(base: string, { cluster_id, broker_id }: BrokerPath): Configured {
  return {
    type: ResourceType.broker,
    name: String(broker_id),
    kind: "KafkaBrokerConfig",
    links: new Links(base, cluster_id),
    segments: ["brokers", broker_id, "configs"],
    crn: (setting) => `broker=${broker_id}/config=${setting}`,
    fields: { broker_id },
    check: async (client) => {
      const { brokers } = await client.retry(() => client.metadata([]));
      if (!brokers.some(({ nodeId }) => nodeId === broker_id)) throw noBroker(broker_id);
    },
    isShown: () => true,
  };
}

/** What is set for all brokers while they run: what each of them has without it is its own. */
function ofCluster(base: string, { cluster_id }: { readonly cluster_id: string }): Configured {
  return {
    type: ResourceType.broker,
    name: "",
    kind: "KafkaClusterConfig",
    links: new Links(base, cluster_id),
    segments: ["broker-configs"],
    crn: (setting) => `broker-config=${setting}`,
    fields: { config_type: "BROKER" },
    check: () => Promise.resolve(),
    isShown: ({ source }) => source === "DYNAMIC_DEFAULT_BROKER_CONFIG",
  };
}

function configData({ kind, links, segments, crn, fields }: Configured, entry: ConfigEntry) {
  const { name, value, isDefault, readOnly, sensitive, source, synonyms } = entry;
  return {
    ...links.resource(kind, [...segments, name], crn(name)),
    ...fields,
    name,
    value,
    is_default: isDefault,
    is_read_only: readOnly,
    is_sensitive: sensitive,
    source,
    synonyms,
  };
}

async function list(client: KafkaClient, of: Configured) {
  await of.check(client);
  const entries = await describeConfigs(client, of.type, of.name, null);
  const data = entries.filter(of.isShown).map((entry) => configData(of, entry));
  return wholeList(of.kind, of.links.to(...of.segments), data);
}

async function one(client: KafkaClient, of: Configured, name: string) {
  await of.check(client);
  const entries = await describeConfigs(client, of.type, of.name, [name]);
  const found = entries.filter(of.isShown).find((entry) => entry.name === name);
  if (found === undefined) throw new ProblemError(404, `Config ${name} cannot be found`);
  return configData(of, found);
}

interface Change {
  readonly name: string;
  readonly value?: string | null | undefined;
  readonly operation?: "SET" | "DELETE" | null | undefined;
}

async function alter(
  client: KafkaClient,
  of: Configured,
  changes: readonly Change[],
  validateOnly = false,
): Promise<Response> {
  await of.check(client);
  const isRemoved = ({ operation }: Change) => operation === "DELETE";
  await alterConfigs(client, of.type, of.name, {
    set: changes.filter((change) => !isRemoved(change)).map(({ name, value }) => {
      if (typeof value === "string") return [name, value] as const;
      throw new ProblemError(
        400,
        `Cannot set ${name} to nothing: give a value, or the operation DELETE`,
        ConfluentCode.kafkaBadRequest,
      );
    }),
    remove: changes.filter(isRemoved).map(({ name }) => name),
    validateOnly,
  });
  return noContent();
}

/** Errors: KafkaError as Kafka has it for a name that is not known. */
async function remove(client: KafkaClient, of: Configured, name: string): Promise<Response> {
  await of.check(client);
  const known = await describeConfigs(client, of.type, of.name, [name]);
  if (known.length === 0) {
    throw new KafkaError(ErrorCode.INVALID_CONFIG, `Unknown config name: ${name}`);
  }
  return await alter(client, of, [{ name, operation: "DELETE" }]);
}

const tag = "Configs (v3)";
const changed = { 204: { description: "It is changed." } };

/** What has settings at one path. */
interface ConfigPath<P extends string, Path> {
  readonly path: P;
  /** "a topic". */
  readonly what: string;
  /** What the ids of its operations have in common. */
  readonly ids: string;
  readonly schema: z.ZodType;
  readonly listOf: z.ZodType;
  readonly of: (base: string, path: Path) => Configured;
}

/** The values of a path that ends with the name of a setting. */
function settingIn(path: object): string {
  return (path as { readonly name: string }).name;
}

function readOperations<const P extends string, Path>(
  { path, what, ids, schema, listOf, of }: ConfigPath<P, Path>,
): Operation[] {
  return [
    operation({
      method: "get",
      path,
      id: `listKafkaV3${ids}Configs`,
      tag,
      summary: `List the settings of ${what}`,
      answers: { 200: { description: "The settings.", schema: listOf } },
      handle: async ({ client, context, base, path }) =>
        json(context, await list(client, of(base, path as Path))),
    }),
    operation({
      method: "get",
      path: `${path}/{name}`,
      id: `getKafkaV3${ids}Config`,
      tag,
      summary: `Get a setting of ${what}`,
      answers: { 200: { description: "The setting.", schema } },
      handle: async ({ client, context, base, path }) =>
        json(context, await one(client, of(base, path as Path), settingIn(path))),
    }),
  ];
}

function changeOperations<const P extends string, Path>(
  { path, what, ids, of }: ConfigPath<P, Path>,
): Operation[] {
  return [
    operation({
      method: "post",
      path: `${path}:alter`,
      id: `updateKafkaV3${ids}ConfigBatch`,
      tag,
      summary: `Change settings of ${what}, all of them or none`,
      body: alterConfigsRequest,
      bodyExample: alterExample,
      answers: changed,
      handle: async ({ client, base, path, body }) =>
        await alter(client, of(base, path as Path), body.data, body.validate_only ?? false),
    }),
    operation({
      method: "put",
      path: `${path}/{name}`,
      id: `updateKafkaV3${ids}Config`,
      tag,
      summary: `Set a setting of ${what}`,
      body: updateConfigRequest,
      bodyExample: { value: "gzip" },
      answers: changed,
      handle: async ({ client, base, path, body: { value } }) =>
        await alter(client, of(base, path as Path), [{ name: settingIn(path), value }]),
    }),
    operation({
      method: "delete",
      path: `${path}/{name}`,
      id: `deleteKafkaV3${ids}Config`,
      tag,
      summary: `Give a setting of ${what} its default back`,
      answers: changed,
      handle: async ({ client, base, path }) =>
        await remove(client, of(base, path as Path), settingIn(path)),
    }),
  ];
}

function configOperations<const P extends string, Path>(given: ConfigPath<P, Path>): Operation[] {
  return [...readOperations(given), ...changeOperations(given)];
}

/** The operations. */
export const configsOperations: readonly Operation[] = [
  ...configOperations({
    path: "/v3/clusters/{cluster_id}/topics/{topic_name}/configs",
    what: "a topic",
    ids: "Topic",
    schema: topicConfig,
    listOf: topicConfigList,
    of: ofTopic,
  }),
  ...configOperations({
    path: "/v3/clusters/{cluster_id}/brokers/{broker_id}/configs",
    what: "a broker",
    ids: "Broker",
    schema: brokerConfig,
    listOf: brokerConfigList,
    of: ofBroker,
  }),
  ...configOperations({
    path: "/v3/clusters/{cluster_id}/broker-configs",
    what: "all brokers",
    ids: "Cluster",
    schema: clusterConfig,
    listOf: clusterConfigList,
    of: ofCluster,
  }),
];
