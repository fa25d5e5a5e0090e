/**
 * The settings of a topic, under Kafka's names.
 *
 * Where the broker has a setting for topics that have none of their own, `TOPIC_SYNONYMS` names it;
 * the first that is set wins, in the order written, as in Kafka.
 *
 * Source: `spec/configs.json` (Kafka 4.4), KIP-226 for the synonyms; the sentences are ours.
 */

import { boolean, double, int, list, long, LONG_MAX, type Setting, string } from "./setting.ts";

const pending = { pending: true } as const;
const CODECS = ["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"] as const;

/** Kafka's default: the largest array of a Java machine. */
const MAX_DECOMPRESSED_BYTES = 2_147_483_639;

/** `*`, nothing, or `partition:broker` pairs. Source: KIP-73. */
function throttledReplicasProblem(text: string): string | null {
  const value = text.trim();
  if (value === "" || value === "*" || value === "none") return null;
  return /^\d+:\d+(\s*,\s*\d+:\d+)*$/.test(value)
    ? null
    : "Must be the literal '*' or a list of replicas in the following format: " +
      "[partitionId]:[brokerId],[partitionId]:[brokerId],...";
}

/** By name. */
export const TOPIC_SETTINGS = {
  "cleanup.policy": list("delete", {
    allowed: ["compact", "delete"],
    doc: "Whether old segments are deleted, compacted to the newest record of each key, or both.",
  }),
  "compression.gzip.level": int("-1", {
    min: 1,
    max: 9,
    alsoAllowed: -1,
    doc: "Effort of gzip where the broker compresses; -1 leaves it to the library.",
  }),
  "compression.lz4.level": int("9", {
    ...pending,
    min: 1,
    max: 17,
    doc: "Effort of lz4 where the broker compresses; its library here has one.",
  }),
  "compression.type": string("producer", {
    allowed: CODECS,
    doc: "Codec in which batches are stored; producer keeps them as they came.",
  }),
  "compression.zstd.level": int("3", {
    min: -131_072,
    max: 22,
    doc: "Effort of zstd where the broker compresses.",
  }),
  "delete.retention.ms": long("86400000", {
    min: 0,
    unit: "ms",
    doc: "How long a compacted topic keeps the marker of a deleted key.",
  }),
  "errors.deadletterqueue.group.enable": boolean("false", {
    ...pending,
    doc: "Whether share groups may use this topic as their dead letter queue.",
  }),
  "file.delete.delay.ms": long("60000", {
    min: 0,
    unit: "ms",
    doc: "How long a deleted file stays on disk under another name.",
  }),
  "flush.messages": long(LONG_MAX, {
    min: 1,
    doc: "Records after which a sync is forced; setting it lets acks=all answer before the sync.",
  }),
  "flush.ms": long(LONG_MAX, {
    min: 0,
    unit: "ms",
    doc: "Time after which a sync is forced; setting it lets acks=all answer before the sync.",
  }),
  "follower.replication.throttled.replicas": list("", {
    check: throttledReplicasProblem,
    doc: "Replicas whose fetching is throttled, as partition:broker pairs, or *.",
  }),
  "index.interval.bytes": int("4096", {
    min: 0,
    unit: "bytes",
    doc: "Bytes of log between two entries of its index.",
  }),
  "leader.replication.throttled.replicas": list("", {
    check: throttledReplicasProblem,
    doc: "Replicas that the leader serves throttled, as partition:broker pairs, or *.",
  }),
  "local.retention.bytes": long("-2", {
    ...pending,
    min: -2,
    unit: "bytes",
    doc: "Bytes of a tiered partition kept on local disk; -2 follows retention.bytes.",
  }),
  "local.retention.ms": long("-2", {
    ...pending,
    min: -2,
    unit: "ms",
    doc: "Age up to which a tiered partition is kept on local disk; -2 follows retention.ms.",
  }),
  "max.compaction.lag.ms": long(LONG_MAX, {
    min: 1,
    unit: "ms",
    doc: "Longest time that a record may stay out of reach of compaction.",
  }),
  "max.decompressed.message.bytes": int(String(MAX_DECOMPRESSED_BYTES) as "2147483639", {
    min: 1,
    max: MAX_DECOMPRESSED_BYTES,
    unit: "bytes",
    doc: "Largest record of a compressed batch; all records of a batch together are bounded by " +
      "weir.memory.budget.bytes.",
  }),
  "max.message.bytes": int("1048588", {
    min: 0,
    unit: "bytes",
    doc: "Largest batch of records that is taken, as it is on the wire; the write of one of more " +
      "than some 8 MB holds up others.",
  }),
  "message.timestamp.after.max.ms": long("3600000", {
    min: 0,
    unit: "ms",
    doc: "How far a record's time may lie ahead of the broker's clock.",
  }),
  "message.timestamp.before.max.ms": long(LONG_MAX, {
    min: 0,
    unit: "ms",
    doc: "How far a record's time may lie behind the broker's clock.",
  }),
  "message.timestamp.type": string("CreateTime", {
    allowed: ["CreateTime", "LogAppendTime"],
    doc: "Whether a record's time is the producer's or that of its arrival.",
  }),
  "min.cleanable.dirty.ratio": double("0.5", {
    min: 0,
    max: 1,
    doc: "Share of a log that must be uncompacted before it is compacted again.",
  }),
  "min.compaction.lag.ms": long("0", {
    min: 0,
    unit: "ms",
    doc: "Shortest time that a record stays out of reach of compaction.",
  }),
  "min.insync.replicas": int("1", {
    min: 1,
    doc: "In-sync replicas that acks=all needs.",
  }),
  "preallocate": boolean("false", {
    ...pending,
    doc: "Whether the file of a new segment is made at its full size.",
  }),
  "remote.copy.lag.bytes": long("-1", {
    ...pending,
    min: -1,
    unit: "bytes",
    doc: "Bytes of closed segments that wait before they are copied to tiered storage.",
  }),
  "remote.copy.lag.ms": long("0", {
    ...pending,
    min: -1,
    unit: "ms",
    doc: "How long a closed segment waits before it is copied to tiered storage.",
  }),
  "remote.log.copy.disable": boolean("false", {
    ...pending,
    doc: "Whether copying of closed segments to tiered storage stands still.",
  }),
  "remote.log.delete.on.disable": boolean("false", {
    ...pending,
    doc: "Whether tiered data is deleted when tiered storage is switched off for the topic.",
  }),
  "remote.storage.enable": boolean("false", {
    doc: "Whether closed segments are copied to tiered storage.",
  }),
  "retention.bytes": long("-1", {
    unit: "bytes",
    doc: "Size of a partition beyond which its oldest segments are deleted; -1 for no bound.",
  }),
  "retention.ms": long("604800000", {
    min: -1,
    unit: "ms",
    doc: "Age beyond which segments are deleted; -1 for no bound.",
  }),
  "segment.bytes": int("1073741824", {
    min: 1_048_576,
    unit: "bytes",
    doc: "Size at which a segment is closed and the next begun.",
  }),
  "segment.index.bytes": int("10485760", {
    min: 4,
    unit: "bytes",
    doc: "Largest size of a segment's index.",
  }),
  "segment.jitter.ms": long("0", {
    min: 0,
    unit: "ms",
    doc: "Most that is taken off segment.ms at random, so that segments do not all roll at once.",
  }),
  "segment.ms": long("604800000", {
    min: 1,
    unit: "ms",
    doc: "Age at which a segment is closed although it is not full.",
  }),
  "unclean.leader.election.enable": boolean("false", {
    ...pending,
    doc: "Whether a replica that is out of sync may lead, which loses records.",
  }),
} as const satisfies Readonly<Record<string, Setting>>;

/** A topic's settings have these names. */
export type TopicSettingName = keyof typeof TOPIC_SETTINGS;

/** A broker setting that stands in for a topic's, and what its number is multiplied with. */
export interface TopicSynonym {
  readonly name: string;
  readonly factor: number;
}

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const same = (name: string): readonly TopicSynonym[] => [{ name, factor: 1 }];

/** The broker settings behind each topic setting; those that share a topic's name stand in too. */
export const TOPIC_SYNONYMS: Readonly<Partial<Record<TopicSettingName, readonly TopicSynonym[]>>> =
  {
    "cleanup.policy": same("log.cleanup.policy"),
    "compression.gzip.level": same("compression.gzip.level"),
    "compression.lz4.level": same("compression.lz4.level"),
    "compression.type": same("compression.type"),
    "compression.zstd.level": same("compression.zstd.level"),
    "delete.retention.ms": same("log.cleaner.delete.retention.ms"),
    "file.delete.delay.ms": same("log.segment.delete.delay.ms"),
    "flush.messages": same("log.flush.interval.messages"),
    "flush.ms": [
      { name: "log.flush.interval.ms", factor: 1 },
      { name: "log.flush.scheduler.interval.ms", factor: 1 },
    ],
    "index.interval.bytes": same("log.index.interval.bytes"),
    "local.retention.bytes": same("log.local.retention.bytes"),
    "local.retention.ms": same("log.local.retention.ms"),
    "max.compaction.lag.ms": same("log.cleaner.max.compaction.lag.ms"),
    "max.decompressed.message.bytes": same("max.decompressed.message.bytes"),
    "max.message.bytes": same("message.max.bytes"),
    "message.timestamp.after.max.ms": same("log.message.timestamp.after.max.ms"),
    "message.timestamp.before.max.ms": same("log.message.timestamp.before.max.ms"),
    "message.timestamp.type": same("log.message.timestamp.type"),
    "min.cleanable.dirty.ratio": same("log.cleaner.min.cleanable.ratio"),
    "min.compaction.lag.ms": same("log.cleaner.min.compaction.lag.ms"),
    "min.insync.replicas": same("min.insync.replicas"),
    "preallocate": same("log.preallocate"),
    "remote.copy.lag.bytes": same("log.remote.copy.lag.bytes"),
    "remote.copy.lag.ms": same("log.remote.copy.lag.ms"),
    "retention.bytes": same("log.retention.bytes"),
    "retention.ms": [
      { name: "log.retention.ms", factor: 1 },
      { name: "log.retention.minutes", factor: MINUTE_MS },
      { name: "log.retention.hours", factor: HOUR_MS },
    ],
    "segment.bytes": same("log.segment.bytes"),
    "segment.index.bytes": same("log.index.size.max.bytes"),
    "segment.jitter.ms": [
      { name: "log.roll.jitter.ms", factor: 1 },
      { name: "log.roll.jitter.hours", factor: HOUR_MS },
    ],
    "segment.ms": [
      { name: "log.roll.ms", factor: 1 },
      { name: "log.roll.hours", factor: HOUR_MS },
    ],
    "unclean.leader.election.enable": same("unclean.leader.election.enable"),
  };
