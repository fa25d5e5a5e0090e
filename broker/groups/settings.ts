/** What an operator sets for all groups. */

import { CompressionCodec } from "../../protocol/compression.ts";
import type { Config } from "../config/config.ts";
import type { CONSUMER_GROUP_BOUNDS } from "../config/group_settings.ts";
import { validateGroupConfig } from "../config/topic_config.ts";
import { groupMetadataTopic } from "../controller/internal_topics.ts";
import type { NewTopic } from "../controller/topic_changes.ts";
import type { ConsumerGroupSettings } from "./consumer_group.ts";

/** The coordinator's settings, in its own units. */
export interface GroupCoordinatorSettings {
  readonly groupMaxSize: number;
  readonly groupMinSessionTimeoutMs: number;
  readonly groupMaxSessionTimeoutMs: number;
  readonly groupInitialRebalanceDelayMs: number;
  /** Kafka compares it with the UTF-16 length of the text, and so do we. */
  readonly offsetMetadataMaxBytes: number;
  readonly offsetsCommitTimeoutMs: number;
  readonly offsetsRetentionMs: number;
  readonly offsetsRetentionCheckIntervalMs: number;
  /** How `__consumer_offsets` is made where there are so many brokers. */
  readonly offsetsTopic: (brokerCount: number) => NewTopic;
  readonly offsetsTopicCompression: CompressionCodec;
  /** What is in force for a consumer group with these settings of its own. */
  readonly consumerGroup: (own: ReadonlyMap<string, string>) => ConsumerGroupSettings;
  /** `broker.session.timeout.ms`. */
  readonly brokerSessionTimeoutMs: number;
}

/** Reads them from the configuration. */
export function groupCoordinatorSettings(config: Config): GroupCoordinatorSettings {
  return {
    groupMaxSize: config.number("group.max.size"),
    groupMinSessionTimeoutMs: config.number("group.min.session.timeout.ms"),
    groupMaxSessionTimeoutMs: config.number("group.max.session.timeout.ms"),
    groupInitialRebalanceDelayMs: config.number("group.initial.rebalance.delay.ms"),
    offsetMetadataMaxBytes: config.number("offset.metadata.max.bytes"),
    offsetsCommitTimeoutMs: config.number("offsets.commit.timeout.ms"),
    offsetsRetentionMs: config.number("offsets.retention.minutes") * 60_000,
    offsetsRetentionCheckIntervalMs: config.number("offsets.retention.check.interval.ms"),
    offsetsTopic: (brokerCount) => groupMetadataTopic(config, brokerCount),
    consumerGroup: (own) => consumerGroupSettings(config, own),
    brokerSessionTimeoutMs: config.number("broker.session.timeout.ms"),
    offsetsTopicCompression: compressionCodec(config.number("offsets.topic.compression.codec")),
  };
}

/** A group's own values count within the bounds that the operator of the brokers has set. */
function consumerGroupSettings(
  config: Config,
  own: ReadonlyMap<string, string>,
): ConsumerGroupSettings {
  const bounded = (name: typeof CONSUMER_GROUP_BOUNDS[number]) => {
    const value = own.get(`consumer.${name}`);
    const general = config.number(`group.consumer.${name}`);
    if (value === undefined || validateGroupConfig(`consumer.${name}`, value) !== null) {
      return general;
    }
    const least = config.number(`group.consumer.min.${name}`);
    const most = config.number(`group.consumer.max.${name}`);
    return Math.max(least, Math.min(most, Number(value)));
  };
  const policy = config.string("group.consumer.migration.policy").toLowerCase();
  return {
    maxSize: config.number("group.consumer.max.size"),
    allowsUpgrade: policy === "upgrade" || policy === "bidirectional",
    allowsDowngrade: policy === "downgrade" || policy === "bidirectional",
    classicMaxSize: config.number("group.max.size"),
    sessionTimeoutMs: bounded("session.timeout.ms"),
    heartbeatIntervalMs: bounded("heartbeat.interval.ms"),
    assignmentIntervalMs: bounded("assignment.interval.ms"),
    assignors: config.list("group.consumer.assignors"),
  };
}

function compressionCodec(number: number): CompressionCodec {
  const known = Object.values(CompressionCodec).find((codec) => codec === number);
  return known ?? CompressionCodec.none;
}
