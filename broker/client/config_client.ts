/** Settings of topics, brokers and groups over the Kafka protocol, for the commands that read or change them. */

import { Calls } from "./calls.ts";
import { type KafkaClient, throwOnError } from "./kafka_client.ts";

/** What a setting belongs to, as the protocol numbers it. */
export const ResourceType = {
  topic: 2,
  broker: 4,
  brokerLogger: 8,
  clientMetrics: 16,
  group: 32,
} as const;
export type ResourceType = (typeof ResourceType)[keyof typeof ResourceType];

/** Where a value comes from, as the protocol numbers it. */
const SOURCES: Readonly<Record<number, string>> = {
  1: "DYNAMIC_TOPIC_CONFIG",
  2: "DYNAMIC_BROKER_CONFIG",
  3: "DYNAMIC_DEFAULT_BROKER_CONFIG",
  4: "STATIC_BROKER_CONFIG",
  5: "DEFAULT_CONFIG",
  6: "DYNAMIC_BROKER_LOGGER_CONFIG",
  7: "DYNAMIC_CLIENT_METRICS_CONFIG",
  8: "DYNAMIC_GROUP_CONFIG",
};
const STATIC_BROKER_CONFIG = 4;
const DEFAULT_CONFIG = 5;

const Operation = { set: 0, remove: 1 } as const;

/** One setting with its value. */
export interface ConfigEntry {
  readonly name: string;
  readonly value: string | null;
  readonly source: string;
  readonly readOnly: boolean;
  readonly sensitive: boolean;
  /** True when nobody set it for this very resource. */
  readonly isDefault: boolean;
  /** Where the value could come from, the one in force first. */
  readonly synonyms: readonly ConfigSynonym[];
  /** What it is for; null where that was not asked for. */
  readonly documentation: string | null;
}

/** A place that says something about a setting. */
export interface ConfigSynonym {
  readonly name: string;
  readonly value: string | null;
  readonly source: string;
}

/** The settings of one resource, sorted by name; all of them when `names` is null. Errors: KafkaError. */
export async function describeConfigs(
  client: KafkaClient,
  resourceType: ResourceType,
  resourceName: string,
  names: readonly string[] | null,
  { documentation = false }: { readonly documentation?: boolean } = {},
): Promise<ConfigEntry[]> {
  const resources = [{ resourceType, resourceName, configurationKeys: names }];
  const body = { resources, includeSynonyms: true, includeDocumentation: documentation };
  // A broker's own settings are known to that broker alone.
  const { results } = resourceType === ResourceType.broker && resourceName !== ""
    ? await client.retry(async () => {
      const broker = await client.broker(Number(resourceName));
      return await broker.request(Calls.describeConfigs, body);
    })
    : await client.ask(Calls.describeConfigs, body);
  const result = results[0]!;
  throwOnError(result.errorCode, result.errorMessage);
  return result.configs
    .map(({ name, value, configSource, readOnly, isSensitive, synonyms, documentation: text }) => ({
      name,
      value,
      source: sourceName(configSource),
      synonyms: synonyms.map((it) => ({ ...it, source: sourceName(it.source) })),
      documentation: documentation ? text : null,
      readOnly,
      sensitive: isSensitive,
      isDefault: configSource === DEFAULT_CONFIG ||
        (resourceType === ResourceType.topic && configSource >= 2 &&
          configSource <= STATIC_BROKER_CONFIG),
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function sourceName(source: number): string {
  return SOURCES[source] ?? "UNKNOWN";
}

/** Sets and removes settings of one resource, all or none. Errors: KafkaError. */
export async function alterConfigs(
  client: KafkaClient,
  resourceType: ResourceType,
  resourceName: string,
  change: {
    readonly set: readonly (readonly [string, string])[];
    readonly remove: readonly string[];
    /** Checked, and not made. */
    readonly validateOnly?: boolean;
  },
): Promise<void> {
  const { responses } = await client.ask(Calls.incrementalAlterConfigs, {
    resources: [{
      resourceType,
      resourceName,
      configs: [
        ...change.set.map(([name, value]) => ({
          name,
          value,
          configOperation: Operation.set,
        })),
        ...change.remove.map((name) => ({
          name,
          value: null,
          configOperation: Operation.remove,
        })),
      ],
    }],
    validateOnly: change.validateOnly ?? false,
  });
  throwOnError(responses[0]!.errorCode, responses[0]!.errorMessage);
}
