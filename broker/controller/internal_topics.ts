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
/** As many of them as have to have what is decided, where there are as many. */
const DEFAULT_MIN_ISR = 2;

/**
 * How `__consumer_offsets` is to be made in a cluster of so many brokers.
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

/**
 * How `__transaction_state` is to be made in a cluster of so many brokers: its leader is never one that lacks what was
 * decided, and what is decided is in as many replicas as can be asked for.
 *
 * Source: Kafka's TransactionCoordinator.transactionStateTopicConfigs.
 */
export function transactionStateTopic(
  config: Pick<Config, "number">,
  brokerCount: number,
): NewTopic {
  const replicationFactor = config.number("transaction.state.log.replication.factor") ??
    Math.max(1, Math.min(DEFAULT_REPLICAS, brokerCount));
  const minIsr = config.number("transaction.state.log.min.isr") ??
    Math.min(DEFAULT_MIN_ISR, replicationFactor);
  return {
    name: TRANSACTION_STATE_TOPIC,
    partitionCount: config.number("transaction.state.log.num.partitions"),
    replicationFactor,
    assignments: [],
    configs: [
      { name: "cleanup.policy", value: "compact" },
      { name: "compression.type", value: "uncompressed" },
      { name: "min.insync.replicas", value: String(minIsr) },
      {
        name: "segment.bytes",
        value: String(config.number("transaction.state.log.segment.bytes")),
      },
      { name: "unclean.leader.election.enable", value: "false" },
    ],
  };
}
