/**
 * Branded numbers and identifiers of the Kafka protocol.
 *
 * Offsets, epochs and timestamps are safe-integer `number`s: what lies beyond ±(2^53 − 1) on the wire
 * is refused by the reader (`WireError`), so everything past that boundary can be computed with plainly.
 */

declare const brand: unique symbol;
type Branded<Base, Name extends string> = Base & { readonly [brand]: Name };

/** Position of a record in a partition. Counts from 0; −1 stands for "unknown". */
export type Offset = Branded<number, "Offset">;
/** Generation of a partition's leadership, int32. −1 stands for "unknown". */
export type LeaderEpoch = Branded<number, "LeaderEpoch">;
/** Identity of an idempotent or transactional producer. −1 stands for "none". */
export type ProducerId = Branded<number, "ProducerId">;
/** Milliseconds since 1970-01-01T00:00Z. −1 stands for "none". */
export type TimestampMs = Branded<number, "TimestampMs">;
/** 16 bytes in Kafka's text form: base64url without padding, 22 characters. */
export type Uuid = Branded<string, "Uuid">;

/** The all-zero UUID, which Kafka uses for "none". */
export const ZERO_UUID = "AAAAAAAAAAAAAAAAAAAAAA" as Uuid;

/** The reserved id of `__cluster_metadata` (Kafka's `Uuid.METADATA_TOPIC_ID`). */
export const METADATA_TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAQ" as Uuid;

/**
 * Ids of no log directory that stand where one is expected: a replica that is somewhere and nobody has said
 * where, one that has not been placed yet, one whose directory is offline. Source: KIP-858.
 */
export const DirectoryId = {
  MIGRATING: ZERO_UUID,
  UNASSIGNED: "AAAAAAAAAAAAAAAAAAAAAQ" as Uuid,
  LOST: "AAAAAAAAAAAAAAAAAAAAAg" as Uuid,
} as const;

/** Brands a number that is already known to be a safe integer (the wire reader checks it). */
export const offset = (value: number): Offset => value as Offset;
/** Brands an int32 that came off the wire or out of a checkpoint. */
export const leaderEpoch = (value: number): LeaderEpoch => value as LeaderEpoch;
/** Brands a safe integer as a producer id. */
export const producerId = (value: number): ProducerId => value as ProducerId;
/** Brands a safe integer as a wall-clock time in milliseconds. */
export const timestampMs = (value: number): TimestampMs => value as TimestampMs;

/** A partition by its topic's name. */
export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

/** Text form `topic-partition`, which is also the name of the partition's directory. */
export function formatTopicPartition(topic: string, partition: number): string {
  return `${topic}-${partition}`;
}
