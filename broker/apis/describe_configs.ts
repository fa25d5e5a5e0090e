/**
 * DescribeConfigs (key 32), versions 1–4: settings of topics, brokers and groups, defaults included.
 *
 * - v1: synonyms and sources (KIP-226). v2: nothing for servers. v3: types and documentation (KIP-569).
 * - v4: flexible.
 *
 * A broker tells its own settings, and under the name "" those set for all brokers; for another broker's a
 * client asks that broker, as with Kafka.
 *
 * Gaps: log levels (broker loggers) cannot be seen, and subscriptions to client metrics do not exist: both
 * are refused with INVALID_REQUEST.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Encodable } from "../../protocol/schema.ts";
import {
  type DescribeConfigsRequest,
  describeConfigsRequest,
  describeConfigsResponse,
} from "../../protocol/schemas/describe_configs.ts";
import type { Config } from "../config/config.ts";
import {
  type ConfigEntry,
  describeBrokerConfig,
  describeClusterConfig,
  describeGroupConfig,
  describeTopicConfig,
} from "../config/describe.ts";
import { refuseResource } from "../controller/config_changes.ts";
import type { Controller } from "../controller/controller.ts";
import { configResourceType } from "../controller/metadata_image.ts";
import { invalidTopicName, type Refusal } from "../controller/topic_changes.ts";
import { type Api, defineApi } from "./api.ts";

type Result = Encodable<typeof describeConfigsResponse>["results"][number];
type Resource = DescribeConfigsRequest["resources"][number];

interface Subsystems {
  readonly controller: Controller;
  readonly config: Config;
  readonly nodeId: number;
}

/** Answers DescribeConfigs. */
export function describeConfigsApi(subsystems: Subsystems): Api {
  return defineApi({
    key: ApiKey.DescribeConfigs,
    request: describeConfigsRequest,
    response: describeConfigsResponse,
    versions: { lowest: 1, highest: 4 },
    handle(request) {
      const results = request.resources.map((resource) => describe(subsystems, request, resource));
      return { throttleTimeMs: 0, results };
    },
  });
}

function describe(
  subsystems: Subsystems,
  request: DescribeConfigsRequest,
  resource: Resource,
): Result {
  const { resourceType, resourceName } = resource;
  const entries = entriesOf(subsystems, resource);
  if ("error" in entries) {
    const { error, message } = entries;
    return { errorCode: error, errorMessage: message, resourceType, resourceName, configs: [] };
  }
  const wanted = wantedEntries(entries, resource.configurationKeys);
  return {
    errorCode: ErrorCode.NONE,
    // Kafka's is empty too, where others are null.
    errorMessage: "",
    resourceType,
    resourceName,
    configs: wanted.map((entry) => configAnswer(entry, request)),
  };
}

function entriesOf(
  { controller, config, nodeId }: Subsystems,
  { resourceType, resourceName: name }: Resource,
): readonly ConfigEntry[] | Refusal {
  const image = controller.image();
  const type = configResourceType(resourceType);
  switch (type) {
    case "topic": {
      const problem = invalidTopicName(name);
      if (problem !== null) return { error: ErrorCode.INVALID_TOPIC_EXCEPTION, message: problem };
      return refuseResource(image, { type, name }) ??
        describeTopicConfig(config, image.configs(type, name));
    }
    case "broker":
      if (name === "") return describeClusterConfig(image.configs(type, ""));
      if (name === String(nodeId)) return describeBrokerConfig(config);
      if (!/^-?\d+$/.test(name)) {
        return invalid(`Broker id must be an integer, but it is: ${name}`);
      }
      return invalid(
        `Unexpected broker id, expected ${nodeId} or empty string, but received ${name}`,
      );
    case "group":
      return refuseResource(image, { type, name }) ??
        describeGroupConfig(image.configs(type, name));
    case "brokerLogger":
      return invalid("The levels of loggers cannot be seen over the Kafka protocol.");
    case "clientMetrics":
      return invalid("Client metrics subscriptions are not supported.");
    case null:
      return invalid(`Unsupported resource type: ${resourceType}`);
  }
}

function invalid(message: string): Refusal {
  return { error: ErrorCode.INVALID_REQUEST, message };
}

function wantedEntries(
  entries: readonly ConfigEntry[],
  keys: readonly string[] | null,
): readonly ConfigEntry[] {
  if (keys === null) return entries;
  const wanted = new Set(keys);
  return entries.filter(({ name }) => wanted.has(name));
}

function configAnswer(
  entry: ConfigEntry,
  { includeSynonyms, includeDocumentation }: DescribeConfigsRequest,
): Result["configs"][number] {
  return {
    name: entry.name,
    value: entry.value,
    readOnly: entry.readOnly,
    configSource: entry.source,
    isSensitive: entry.sensitive,
    synonyms: includeSynonyms ? entry.synonyms : [],
    configType: entry.type,
    documentation: includeDocumentation ? entry.documentation : null,
  };
}
