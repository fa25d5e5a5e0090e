/**
 * What the controller knows of settings: the tables of `config/`, as the rules that changes are checked by.
 *
 * And the way back: the settings of brokers that the metadata holds, handed to this broker's `Config`.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import type { Logger } from "../../storage/platform.ts";
import { brokerConfigProblem, type Config } from "../config/config.ts";
import { parseBoolean, parseList } from "../config/setting.ts";
import { findSetting } from "../config/settings.ts";
import { topicValue, validateGroupConfigs, validateTopicConfigs } from "../config/topic_config.ts";
import type { ConfigRules } from "./config_changes.ts";
import type { Controller, ControllerSettings } from "./controller.ts";
import type { TopicRules } from "./leader_election.ts";
import type { ConfigResource, MetadataChanges, MetadataImage } from "./metadata_image.ts";
import type { SnapshotSettings } from "./metadata_snapshots.ts";
import type { Refusal } from "./topic_changes.ts";

/** What the controller reads of `config`. */
export function controllerSettings(config: Config): ControllerSettings {
  return {
    defaultPartitionCount: () => config.number("num.partitions"),
    defaultReplicationFactor: () => config.number("default.replication.factor"),
    configRules: configRules(config),
    topicRules: topicRules(config),
    sessionTimeoutMs: () => config.number("broker.session.timeout.ms"),
    balancing: {
      isEnabled: () => config.boolean("auto.leader.rebalance.enable"),
      intervalMs: () => 1000 * config.number("leader.imbalance.check.interval.seconds"),
    },
  };
}

/** When the metadata is written as a snapshot, and how much of its log is kept. */
export function snapshotSettings(config: Config): SnapshotSettings {
  return {
    maxBytesBetween: config.number("metadata.log.max.record.bytes.between.snapshots"),
    maxIntervalMs: config.number("metadata.log.max.snapshot.interval.ms"),
    retentionBytes: config.number("metadata.max.retention.bytes"),
    retentionMs: config.number("metadata.max.retention.ms"),
  };
}

function topicRules(config: Config): TopicRules {
  const defaultMinInsyncReplicas = (image: MetadataImage) => {
    const clusterWide = image.configs("broker", "").get("min.insync.replicas");
    return clusterWide === undefined ? config.number("min.insync.replicas") : Number(clusterWide);
  };
  return {
    defaultMinInsyncReplicas,
    minInsyncReplicas(image, topic) {
      const own = image.configs("topic", topic).get("min.insync.replicas");
      return own === undefined ? defaultMinInsyncReplicas(image) : Number(own);
    },
    isUncleanLeaderElectionEnabled: (image, topic) =>
      parseBoolean(
        topicValue(config, "unclean.leader.election.enable", image.configs("topic", topic)),
      ),
  };
}

function configRules(config: Config): ConfigRules {
  return {
    topicRules: topicRules(config),
    defaultList({ type }, name) {
      if (type !== "topic" && type !== "broker" && type !== "group") return null;
      const setting = findSetting(type, name);
      return setting?.type === "list" ? setting.default ?? "" : null;
    },
    refuse(resource, values, changed) {
      switch (resource.type) {
        case "topic":
          return asInvalidConfig(validateTopicConfigs(config, values));
        case "group":
          return asInvalidConfig(validateGroupConfigs(config, values));
        case "broker":
          return refuseBroker(resource, values, changed) ??
            refuseCordons(config, resource, values);
        case "brokerLogger":
        case "clientMetrics":
          return null;
      }
    },
  };
}

function asInvalidConfig(message: string | null): Refusal | null {
  return message === null ? null : { error: ErrorCode.INVALID_CONFIG, message };
}

/** Only what changes is looked at: a setting of a newer version may be there and stay there. */
function refuseBroker(
  { name: broker }: ConfigResource,
  values: ReadonlyMap<string, string>,
  changed: ReadonlySet<string>,
): Refusal | null {
  const target = broker === "" ? "cluster" : "broker";
  for (const name of changed) {
    const value = values.get(name);
    if (value === undefined) continue;
    const message = brokerConfigProblem(name, value, target);
    // Kafka's brokers answer so for settings of brokers, whatever is wrong with them.
    if (message !== null) return { error: ErrorCode.INVALID_REQUEST, message };
  }
  return null;
}

/** Which directories there are is known of this node alone. */
function refuseCordons(
  config: Config,
  { name: broker }: ConfigResource,
  values: ReadonlyMap<string, string>,
): Refusal | null {
  if (broker !== String(config.number("node.id"))) return null;
  const problem = config.cordonProblem(parseList(values.get("cordoned.log.dirs") ?? ""));
  return problem === null ? null : { error: ErrorCode.INVALID_REQUEST, message: problem };
}

/**
 * Keeps `config` at what the metadata holds for this broker, from now on.
 *
 * Returns: a function that ends it.
 */
export function followBrokerConfigs(
  { controller, config, nodeId, logger }: {
    readonly controller: Controller;
    readonly config: Config;
    readonly nodeId: number;
    readonly logger: Logger;
  },
): () => void {
  return controller.subscribe((image: MetadataImage, changes: MetadataChanges) => {
    const isTouched = changes.changedConfigs.some(({ type, name }) =>
      type === "broker" && (name === "" || name === String(nodeId))
    );
    if (!isTouched) return;
    const problems = config.setDynamic({
      perBroker: image.configs("broker", String(nodeId)),
      clusterWide: image.configs("broker", ""),
    });
    for (const problem of problems) {
      logger.warn("A dynamic setting of this broker cannot be used", { problem });
    }
  });
}
