/**
 * The topics that brokers keep for themselves: state of groups, of transactions and of share groups.
 *
 * They are ordinary topics in the log and in the image; clients see them flagged.
 */

import type { Config } from "../config/config.ts";
import type { NewTopic } from "./topic_changes.ts";

/** Offsets and members of groups. */
export const GROUP_METADATA_TOPIC = "__consumer_offsets";
/** States of transactions. */
export const TRANSACTION_STATE_TOPIC = "__transaction_state";
/** States of share groups (KIP-932). */
export const SHARE_GROUP_STATE_TOPIC = "__share_group_state";

const INTERNAL_TOPICS: ReadonlySet<string> = new Set([
  GROUP_METADATA_TOPIC,
  TRANSACTION_STATE_TOPIC,
  SHARE_GROUP_STATE_TOPIC,
]);

/** True for a topic that brokers keep for themselves. */
export function isInternalTopic(name: string): boolean {
  return INTERNAL_TOPICS.has(name);
}

/** As many replicas as Kafka gives to what it cannot do without, where there are as many brokers. */
const DEFAULT_REPLICAS = 3;

/**
 * How an internal topic is to be made in a cluster of so many brokers: `__consumer_offsets` today.
 *
 * Source: Kafka's GroupCoordinatorService.groupMetadataTopicConfigs.
 */
export function groupMetadataTopic(config: Pick<Config, "number">, brokerCount: number): NewTopic {
  return {
    name: GROUP_METADATA_TOPIC,
    partitionCount: config.number("offsets.topic.num.partitions"),
    replicationFactor: config.number("offsets.topic.replication.factor") ??
      Math.max(1, Math.min(DEFAULT_REPLICAS, brokerCount)),
    assignments: [],
    configs: [
      { name: "cleanup.policy", value: "compact" },
      { name: "compression.type", value: "producer" },
      { name: "segment.bytes", value: String(config.number("offsets.topic.segment.bytes")) },
    ],
  };
}
