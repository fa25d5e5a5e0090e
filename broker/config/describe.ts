/**
 * Settings as DescribeConfigs shows them: every one with its value, source, synonyms, type and sentence.
 * Secrets are named and not shown.
 *
 * Source: KIP-133, KIP-226 (sources and synonyms), KIP-569 (type and documentation).
 */

import { type Config, ConfigSource, type SourcedValue } from "./config.ts";
import type { Setting, SettingType } from "./setting.ts";
import { settingsOf } from "./settings.ts";
import { topicValue, validateGroupConfig, validateTopicConfig } from "./topic_config.ts";
import { TOPIC_SYNONYMS, type TopicSettingName } from "./topic_settings.ts";

/** One setting, ready for the wire. `value` is null where there is none, and where it is a secret. */
export interface ConfigEntry {
  readonly name: string;
  readonly value: string | null;
  readonly readOnly: boolean;
  readonly source: ConfigSource;
  readonly sensitive: boolean;
  readonly synonyms: readonly ConfigEntrySynonym[];
  /** Kafka's number for the type. */
  readonly type: number;
  readonly documentation: string;
}

/** One value that would be in force if those before it were not. */
export interface ConfigEntrySynonym {
  readonly name: string;
  readonly value: string | null;
  readonly source: ConfigSource;
}

/** Source: Kafka's ConfigResponse.ConfigType. */
const TYPE_NUMBERS: Readonly<Record<SettingType, number>> = {
  boolean: 1,
  string: 2,
  int: 3,
  short: 4,
  long: 5,
  double: 6,
  list: 7,
  password: 9,
};

/** Names of broker settings that stand in for one another; the first that is set wins. */
const BROKER_SYNONYMS: readonly (readonly string[])[] = [
  ["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
  ["log.roll.ms", "log.roll.hours"],
  ["log.roll.jitter.ms", "log.roll.jitter.hours"],
  ["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
];

/** Every setting of a topic with these values of its own, by name. */
export function describeTopicConfig(
  config: Config,
  overrides: ReadonlyMap<string, string>,
): ConfigEntry[] {
  return settingsOf("topic").map(([name, setting]) => {
    const values: SourcedValue[] = [];
    const own = overrides.get(name);
    if (own !== undefined && validateTopicConfig(name, own) === null) {
      values.push({ name, value: own, source: ConfigSource.DYNAMIC_TOPIC_CONFIG });
    }
    const synonym = TOPIC_SYNONYMS[name as TopicSettingName]?.[0]?.name;
    if (synonym !== undefined) values.push(...brokerValues(config, synonym));
    const value = topicValue(config, name as TopicSettingName, overrides);
    return entry(name, setting, { value, values, readOnly: false });
  });
}

/** Every setting of this broker. */
export function describeBrokerConfig(config: Config): ConfigEntry[] {
  return settingsOf("broker").map(([name, setting]) =>
    entry(name, setting, {
      value: config.values(name)[0]?.value ?? null,
      values: brokerValues(config, name),
      readOnly: (setting.mode ?? "read-only") === "read-only",
    })
  );
}

/** The values that all brokers of the cluster share, which is what "the default broker" has. */
export function describeClusterConfig(clusterWide: ReadonlyMap<string, string>): ConfigEntry[] {
  return settingsOf("broker").flatMap(([name, setting]) => {
    const value = clusterWide.get(name);
    if (value === undefined) return [];
    const source = ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG;
    return [entry(name, setting, { value, values: [{ name, value, source }], readOnly: false })];
  });
}

/** Every setting of a group with these values of its own. */
export function describeGroupConfig(overrides: ReadonlyMap<string, string>): ConfigEntry[] {
  return settingsOf("group").map(([name, setting]) => {
    const values: SourcedValue[] = [];
    const own = overrides.get(name);
    if (own !== undefined && validateGroupConfig(name, own) === null) {
      values.push({ name, value: own, source: ConfigSource.GROUP_CONFIG });
    }
    if (setting.default !== null) {
      values.push({ name, value: setting.default, source: ConfigSource.DEFAULT_CONFIG });
    }
    return entry(name, setting, { value: values[0]?.value ?? null, values, readOnly: false });
  });
}

/** All values behind a broker setting, by source and then by synonym, as Kafka lists them. */
function brokerValues(config: Config, name: string): SourcedValue[] {
  const group = BROKER_SYNONYMS.find((names) => names[0] === name) ?? [name];
  const values = group.flatMap((synonym) => config.values(synonym));
  const order = (value: SourcedValue) => value.source;
  const sorted = values.toSorted((a, b) => order(a) - order(b));
  // Kafka does not list the default of a synonym for a setting that has neither value nor default.
  const first = sorted[0];
  const isForeignDefault = first?.source === ConfigSource.DEFAULT_CONFIG && first.name !== name;
  return isForeignDefault ? [] : sorted;
}

function entry(
  name: string,
  setting: Setting,
  { value, values, readOnly }: {
    readonly value: string | null;
    readonly values: readonly SourcedValue[];
    readonly readOnly: boolean;
  },
): ConfigEntry {
  const sensitive = setting.type === "password";
  return {
    name,
    value: sensitive ? null : value,
    readOnly,
    source: values[0]?.source ?? ConfigSource.DEFAULT_CONFIG,
    sensitive,
    synonyms: values.map((synonym) => ({ ...synonym, value: sensitive ? null : synonym.value })),
    type: TYPE_NUMBERS[setting.type],
    documentation: setting.doc,
  };
}
