/**
 * The topics that brokers keep for themselves: state of groups, of transactions and of share groups.
 *
 * They are ordinary topics in the log and in the image; clients see them flagged.
 */

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

/** The configuration that shapes internal topics. */
export interface InternalTopicConfig {
  number(
    name:
      | "offsets.topic.num.partitions"
      | "offsets.topic.replication.factor"
      | "offsets.topic.segment.bytes",
  ): number;
}

/**
 * How an internal topic is to be made: `__consumer_offsets` today.
 *
 * Source: Kafka's GroupCoordinatorService.groupMetadataTopicConfigs.
 */
export function groupMetadataTopic(config: InternalTopicConfig): NewTopic {
  return {
    name: GROUP_METADATA_TOPIC,
    partitionCount: config.number("offsets.topic.num.partitions"),
    replicationFactor: config.number("offsets.topic.replication.factor"),
    assignments: [],
    configs: [
      { name: "cleanup.policy", value: "compact" },
      { name: "compression.type", value: "producer" },
      { name: "segment.bytes", value: String(config.number("offsets.topic.segment.bytes")) },
    ],
  };
}
