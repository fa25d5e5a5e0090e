/**
 * What changes of settings mean in records: Kafka's checks, and no record for what stays as it is.
 *
 * Pure: an image and changes in; records to write, and an answer for each resource, out. What settings
 * there are, and which values are valid, comes in as `ConfigRules`, so that this file knows the rules of
 * changing and none of the settings.
 *
 * Source: Kafka's ConfigurationControlManager and ConfigAdminManager; KIP-339 (incremental), KIP-226
 * (dynamic broker settings), KIP-1142 (group settings).
 */

import { ErrorCode } from "../../protocol/errors.ts";
import { isElrEnabled, planLeaderAndIsrChanges, type TopicRules } from "./leader_election.ts";
import { type ConfigResource, ConfigResourceType, type MetadataImage } from "./metadata_image.ts";
import type { MetadataRecord } from "./metadata_records.ts";
import { duplicatesOf, invalidTopicName, type Plan, type Refusal } from "./topic_changes.ts";

const MIN_ISR = "min.insync.replicas";

/** How one setting is to change. */
export interface ConfigOperation {
  readonly name: string;
  /** Append and subtract are for lists: words to add that are not there, words to take out. */
  readonly operation: "set" | "delete" | "append" | "subtract";
  readonly value: string | null;
}

/** Changes of one resource; what is not named stays as it is. */
export interface ConfigChange {
  readonly resource: ConfigResource;
  readonly operations: readonly ConfigOperation[];
}

/** The whole of a resource's own settings; what is not named goes back to its default. */
export interface ConfigReplacement {
  readonly resource: ConfigResource;
  readonly configs: readonly { readonly name: string; readonly value: string | null }[];
}

/** An answer for one resource. `message` is null when there is no error. */
export interface ConfigResult {
  readonly resource: ConfigResource;
  readonly error: ErrorCode;
  readonly message: string | null;
}

/** What is known of settings. */
export interface ConfigRules {
  readonly topicRules: TopicRules;
  /** The default of a list setting, for append and subtract; null when `name` is not a list. */
  defaultList(resource: ConfigResource, name: string): string | null;
  /** Why the resource cannot have these settings of its own; null when it can. */
  refuse(
    resource: ConfigResource,
    values: ReadonlyMap<string, string>,
    changed: ReadonlySet<string>,
  ): Refusal | null;
}

/** Plans one IncrementalAlterConfigs request. */
export function planConfigChanges(
  image: MetadataImage,
  changes: readonly ConfigChange[],
  rules: ConfigRules,
): Plan<ConfigResult> {
  return planEach(image, changes, (change) => {
    const refusal = refuseOperations(change);
    if (refusal !== null) return refusal;
    return applyOperations(image, change, rules);
  }, rules);
}

/** Plans one AlterConfigs request. */
export function planConfigReplacements(
  image: MetadataImage,
  replacements: readonly ConfigReplacement[],
  rules: ConfigRules,
): Plan<ConfigResult> {
  return planEach(image, replacements, ({ resource, configs }) => {
    const withoutValue = configs.filter(({ value }) => value === null).map(({ name }) => name);
    if (withoutValue.length > 0) return refuseNull(withoutValue);
    if (duplicatesOf(configs.map(({ name }) => name)).size > 0) return refuseDuplicateKeys();
    const present = image.configs(resource.type, resource.name);
    const values = new Map(configs.map(({ name, value }) => [name, value!] as const));
    const changed = changedNames(present, values);
    return { values, changed, named: changed.union(new Set(values.keys())) };
  }, rules);
}

interface NewValues {
  readonly values: ReadonlyMap<string, string>;
  readonly changed: ReadonlySet<string>;
  /** What the request speaks of, or leaves out and so takes away. */
  readonly named: ReadonlySet<string>;
}

function planEach<Change extends { readonly resource: ConfigResource }>(
  image: MetadataImage,
  changes: readonly Change[],
  newValues: (change: Change) => Refusal | NewValues,
  rules: ConfigRules,
): Plan<ConfigResult> {
  const records: MetadataRecord[] = [];
  const duplicates = duplicatesOf(
    changes.map(({ resource }) => `${resource.type}:${resource.name}`),
  );
  const results = changes.map((change): ConfigResult => {
    const { resource } = change;
    const key = `${resource.type}:${resource.name}`;
    const planned = duplicates.has(key)
      ? { error: ErrorCode.INVALID_REQUEST, message: "Each resource must appear at most once." }
      : refuseResource(image, resource) ?? newValues(change);
    if ("error" in planned) return { resource, ...planned };
    const refusal = rules.refuse(resource, planned.values, planned.changed) ??
      refuseMinIsr(image, resource, planned);
    if (refusal !== null) return { resource, ...refusal };
    for (const name of planned.changed) {
      const value = planned.values.get(name) ?? null;
      const resourceType = ConfigResourceType[resource.type];
      records.push({
        type: "ConfigRecord",
        value: { resourceType, resourceName: resource.name, name, value },
      });
    }
    if (planned.changed.has(MIN_ISR)) {
      const value = planned.values.get(MIN_ISR);
      records.push(...planMinIsrChange(image, rules.topicRules, resource, value ?? null));
    }
    return { resource, error: ErrorCode.NONE, message: null };
  });
  return { records, results };
}

/**
 * An ISR that reaches the new minimum commits from now on, and who had left it lacks that: nobody but the ISR
 * is eligible any more.
 */
function planMinIsrChange(
  image: MetadataImage,
  rules: TopicRules,
  { type, name }: ConfigResource,
  value: string | null,
): MetadataRecord[] {
  const clusterWide = type === "broker" ? value : null;
  const minInsyncReplicas = (_: MetadataImage, topic: string) => {
    const own = type === "topic" ? value : image.configs("topic", topic).get(MIN_ISR);
    const text = own ?? clusterWide;
    return text === null ? rules.defaultMinInsyncReplicas(image) : Number(text);
  };
  return planLeaderAndIsrChanges(
    image,
    { ...rules, minInsyncReplicas },
    {},
    ({ elr, isr }, topic) =>
      elr.length > 0 && isr.length > 0 && (type === "broker" || topic.name === name),
  );
}

/** Eligible leader replicas rest on a minimum that leaders and controller agree on (KIP-966). */
function refuseMinIsr(
  image: MetadataImage,
  { type, name }: ConfigResource,
  { values, named }: NewValues,
): Refusal | null {
  if (type !== "broker" || !named.has(MIN_ISR) || !isElrEnabled(image)) return null;
  const error = ErrorCode.INVALID_CONFIG;
  if (name !== "") {
    const message = "Broker-level min.insync.replicas cannot be altered while ELR is enabled.";
    return { error, message };
  }
  if (values.has(MIN_ISR)) return null;
  const message = "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.";
  return { error, message };
}

/** Why the resource cannot have settings of its own. */
export function refuseResource(image: MetadataImage, resource: ConfigResource): Refusal | null {
  const { type, name } = resource;
  const invalid = (message: string) => ({ error: ErrorCode.INVALID_REQUEST, message });
  switch (type) {
    case "topic": {
      if (name === "") return invalid("Default topic resources are not allowed.");
      const problem = invalidTopicName(name);
      if (problem !== null) return { error: ErrorCode.INVALID_TOPIC_EXCEPTION, message: problem };
      if (image.topicByName(name) !== undefined) return null;
      return {
        error: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        message: `The topic '${name}' does not exist.`,
      };
    }
    case "broker": {
      if (name === "") return null;
      if (!/^-?\d{1,10}$/.test(name)) {
        return invalid(`Node id must be an integer, but it is: ${name}`);
      }
      if (image.brokers.has(Number(name))) return null;
      return invalid(`Unexpected broker id ${name}: no such broker is registered.`);
    }
    case "group":
      return name === "" ? invalid("Default group resources are not allowed.") : null;
    case "brokerLogger":
      return invalid(
        "The levels of loggers cannot be changed over the Kafka protocol; start with another log level.",
      );
    case "clientMetrics":
      return invalid("Client metrics subscriptions are not supported.");
  }
}

function refuseNull(names: readonly string[]): Refusal {
  return {
    error: ErrorCode.INVALID_REQUEST,
    message: `Null value not supported for : ${names.join(",")}`,
  };
}

function refuseDuplicateKeys(): Refusal {
  return { error: ErrorCode.INVALID_REQUEST, message: "Error due to duplicate config keys" };
}

function refuseOperations({ operations }: ConfigChange): Refusal | null {
  const withoutValue = operations
    .filter(({ operation, value }) => operation !== "delete" && value === null)
    .map(({ name }) => name);
  if (withoutValue.length > 0) return refuseNull(withoutValue);
  return duplicatesOf(operations.map(({ name }) => name)).size > 0 ? refuseDuplicateKeys() : null;
}

function applyOperations(
  image: MetadataImage,
  { resource, operations }: ConfigChange,
  rules: ConfigRules,
): Refusal | NewValues {
  const present = image.configs(resource.type, resource.name);
  const values = new Map(present);
  for (const { name, operation, value } of operations) {
    if (operation === "set") values.set(name, value!);
    else if (operation === "delete") values.delete(name);
    else {
      const defaultList = rules.defaultList(resource, name);
      if (defaultList === null) {
        const verb = operation.toUpperCase();
        return {
          error: ErrorCode.INVALID_CONFIG,
          message: `Can't ${verb} to key ${name} because its type is not LIST.`,
        };
      }
      const words = wordsOf(present.get(name) ?? defaultList);
      const operands = wordsOf(value!);
      const result = operation === "append"
        ? [...words, ...operands.filter((word) => !words.includes(word))]
        : words.filter((word) => !operands.includes(word));
      values.set(name, result.join(","));
    }
  }
  const named = new Set(operations.map(({ name }) => name));
  return { values, changed: changedNames(present, values), named };
}

function wordsOf(list: string): string[] {
  return list.split(",").map((word) => word.trim()).filter((word) => word !== "");
}

function changedNames(
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): Set<string> {
  const names = new Set([...before.keys(), ...after.keys()]);
  for (const name of names) if (before.get(name) === after.get(name)) names.delete(name);
  return names;
}
