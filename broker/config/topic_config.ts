/**
 * The settings of a topic and of a group as they are in force: their own values over the broker's.
 *
 * `TopicConfig` is what storage and the replica manager work with: numbers with units in their names.
 * Values beyond a safe integer (Kafka's "for ever") have become the largest safe integer.
 */

import type { LogConfig } from "../../storage/log_config.ts";
import type { Config } from "./config.ts";
import { CONSUMER_GROUP_BOUNDS } from "./group_settings.ts";
import { parseBoolean, parseList, parseNumber, settingProblem } from "./setting.ts";
import { findSetting } from "./settings.ts";
import { TOPIC_SETTINGS, TOPIC_SYNONYMS, type TopicSettingName } from "./topic_settings.ts";

/** All that is set for one topic, in force. */
export interface TopicConfig extends LogConfig {
  /** True when the operator gave `flush.messages` or `flush.ms`: answers may then precede the sync. */
  readonly isFlushRelaxed: boolean;
  readonly minInsyncReplicas: number;
  readonly uncleanLeaderElectionEnable: boolean;
  /** Replicas that are filled no faster than a broker's rate: `*`, or `partition:broker` pairs. */
  readonly leaderThrottledReplicas: string;
  readonly followerThrottledReplicas: string;
}

const NO_OVERRIDES: ReadonlyMap<string, string> = new Map();

/**
 * What is in force for a topic with these values of its own. Values that do not pass
 * `validateTopicConfig` are passed over, which an image written by another version may hold.
 */
export function effectiveTopicConfig(
  config: Config,
  overrides: ReadonlyMap<string, string> = NO_OVERRIDES,
): TopicConfig {
  const text = (name: TopicSettingName) => topicValue(config, name, overrides);
  const number = (name: TopicSettingName) => parseNumber(text(name));
  const flushMessages = number("flush.messages");
  const flushMs = number("flush.ms");
  return {
    cleanupPolicy: parseList(text("cleanup.policy")) as TopicConfig["cleanupPolicy"],
    compressionType: text("compression.type").trim() as TopicConfig["compressionType"],
    compressionGzipLevel: number("compression.gzip.level"),
    compressionZstdLevel: number("compression.zstd.level"),
    deleteRetentionMs: number("delete.retention.ms"),
    fileDeleteDelayMs: number("file.delete.delay.ms"),
    flushMessages,
    flushMs,
    isFlushRelaxed: flushMessages < Number.MAX_SAFE_INTEGER || flushMs < Number.MAX_SAFE_INTEGER,
    indexIntervalBytes: number("index.interval.bytes"),
    maxCompactionLagMs: number("max.compaction.lag.ms"),
    maxDecompressedBatchBytes: config.number("weir.memory.budget.bytes"),
    maxDecompressedMessageBytes: number("max.decompressed.message.bytes"),
    maxMessageBytes: number("max.message.bytes"),
    messageTimestampAfterMaxMs: number("message.timestamp.after.max.ms"),
    messageTimestampBeforeMaxMs: number("message.timestamp.before.max.ms"),
    messageTimestampType: text("message.timestamp.type")
      .trim() as TopicConfig["messageTimestampType"],
    minCleanableDirtyRatio: number("min.cleanable.dirty.ratio"),
    minCompactionLagMs: number("min.compaction.lag.ms"),
    minInsyncReplicas: number("min.insync.replicas"),
    preallocate: parseBoolean(text("preallocate")),
    retentionBytes: number("retention.bytes"),
    retentionMs: number("retention.ms"),
    segmentBytes: number("segment.bytes"),
    segmentIndexBytes: number("segment.index.bytes"),
    segmentJitterMs: number("segment.jitter.ms"),
    segmentMs: number("segment.ms"),
    uncleanLeaderElectionEnable: parseBoolean(text("unclean.leader.election.enable")),
    leaderThrottledReplicas: text("leader.replication.throttled.replicas").trim(),
    followerThrottledReplicas: text("follower.replication.throttled.replicas").trim(),
  };
}

/** The text in force for one setting of a topic: its own, the broker's, or the default. */
export function topicValue(
  config: Config,
  name: TopicSettingName,
  overrides: ReadonlyMap<string, string> = NO_OVERRIDES,
): string {
  const own = overrides.get(name);
  if (own !== undefined && validateTopicConfig(name, own) === null) return own;
  for (const { name: synonym, factor } of TOPIC_SYNONYMS[name] ?? []) {
    const value = config.values(synonym)[0]?.value;
    if (value !== undefined) return multiplied(value, factor);
  }
  return TOPIC_SETTINGS[name].default;
}

/** Hours and minutes as milliseconds; what is below zero means "no bound", which is −1. */
function multiplied(text: string, factor: number): string {
  if (factor === 1) return text;
  const value = BigInt(text);
  return String(value < 0n ? -1n : value * BigInt(factor));
}

/** What is wrong with one value of a topic, in Kafka's words; null when it is fine. */
export function validateTopicConfig(name: string, value: string): string | null {
  const setting = findSetting("topic", name);
  return setting === null
    ? `Unknown topic config name: ${name}`
    : settingProblem(name, setting, value);
}

/**
 * What is wrong with all values of a topic together, in Kafka's words; null when they are fine. For
 * INVALID_CONFIG of CreateTopics and AlterConfigs: `overrides` is what the topic would have afterwards.
 */
export function validateTopicConfigs(
  config: Config,
  overrides: ReadonlyMap<string, string>,
): string | null {
  for (const [name, value] of overrides) {
    const problem = validateTopicConfig(name, value);
    if (problem !== null) return problem;
  }
  const { minCompactionLagMs, maxCompactionLagMs } = effectiveTopicConfig(config, overrides);
  if (minCompactionLagMs > maxCompactionLagMs) {
    return "conflict topic config setting min.compaction.lag.ms " +
      `(${minCompactionLagMs}) > max.compaction.lag.ms (${maxCompactionLagMs})`;
  }
  if (parseBoolean(topicValue(config, "remote.storage.enable", overrides))) {
    return "Tiered Storage functionality is disabled in the broker. " +
      "Topic cannot be configured with remote log storage.";
  }
  return null;
}

/** What is wrong with a group's values, in Kafka's words; null when they are fine. */
export function validateGroupConfigs(
  config: Config,
  overrides: ReadonlyMap<string, string>,
): string | null {
  for (const [name, value] of overrides) {
    const problem = validateGroupConfig(name, value);
    if (problem !== null) return problem;
  }
  for (const bound of CONSUMER_GROUP_BOUNDS) {
    const value = overrides.get(`consumer.${bound}`);
    if (value === undefined) continue;
    const least = `group.consumer.min.${bound}` as const;
    const most = `group.consumer.max.${bound}` as const;
    if (Number(value) < config.number(least)) {
      return `consumer.${bound} must be greater than or equal to ${least}`;
    }
    if (Number(value) > config.number(most)) {
      return `consumer.${bound} must be less than or equal to ${most}`;
    }
  }
  const valueOf = (name: "session.timeout.ms" | "heartbeat.interval.ms") =>
    Number(overrides.get(`consumer.${name}`) ?? config.number(`group.consumer.${name}`));
  return valueOf("session.timeout.ms") <= valueOf("heartbeat.interval.ms")
    ? "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms"
    : null;
}

/** What is wrong with one value of a group, in Kafka's words; null when it is fine. */
export function validateGroupConfig(name: string, value: string): string | null {
  const setting = findSetting("group", name);
  return setting === null
    ? `Unknown group config name: ${name}`
    : settingProblem(name, setting, value);
}
