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
    consumerGroup: (own) => new ConfiguredGroupSettings(config, own),
    brokerSessionTimeoutMs: config.number("broker.session.timeout.ms"),
    offsetsTopicCompression: compressionCodec(config.number("offsets.topic.compression.codec")),
  };
}

/**
 * What is in force for one consumer group, each setting looked up when it is asked for: a heartbeat needs three.
 *
 * A group's own values count within the bounds that the operator of the brokers has set.
 */
class ConfiguredGroupSettings implements ConsumerGroupSettings {
  readonly #config: Config;
  readonly #own: ReadonlyMap<string, string>;

  constructor(config: Config, own: ReadonlyMap<string, string>) {
    this.#config = config;
    this.#own = own;
  }

  get maxSize(): number {
    return this.#config.number("group.consumer.max.size");
  }
  get classicMaxSize(): number {
    return this.#config.number("group.max.size");
  }
  get allowsUpgrade(): boolean {
    return this.#migrates("upgrade");
  }
  get allowsDowngrade(): boolean {
    return this.#migrates("downgrade");
  }
  get sessionTimeoutMs(): number {
    return this.#bounded("session.timeout.ms");
  }
  get heartbeatIntervalMs(): number {
    return this.#bounded("heartbeat.interval.ms");
  }
  get assignmentIntervalMs(): number {
    return this.#bounded("assignment.interval.ms");
  }
  get assignors(): readonly string[] {
    return this.#config.list("group.consumer.assignors");
  }

  #migrates(direction: "upgrade" | "downgrade"): boolean {
    const policy = this.#config.string("group.consumer.migration.policy").toLowerCase();
    return policy === direction || policy === "bidirectional";
  }

  #bounded(name: typeof CONSUMER_GROUP_BOUNDS[number]): number {
    const value = this.#own.get(`consumer.${name}`);
    const general = this.#config.number(`group.consumer.${name}`);
    if (value === undefined || validateGroupConfig(`consumer.${name}`, value) !== null) {
      return general;
    }
    const least = this.#config.number(`group.consumer.min.${name}`);
    const most = this.#config.number(`group.consumer.max.${name}`);
    return Math.max(least, Math.min(most, Number(value)));
  }
}

function compressionCodec(number: number): CompressionCodec {
  const known = Object.values(CompressionCodec).find((codec) => codec === number);
  return known ?? CompressionCodec.none;
}
