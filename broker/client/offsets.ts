/** Offsets of partitions by time, and the ways in which people name a place in a topic. */

import { ErrorCode } from "../../protocol/errors.ts";
import type { TopicPartition } from "../../protocol/types.ts";
import { Calls } from "./calls.ts";
import { type KafkaClient, KafkaError } from "./kafka_client.ts";
import { durationOf, parseTime } from "./times.ts";

/** Timestamps that ListOffsets gives a meaning of their own. */
export const SpecialTimestamp = { latest: -1, earliest: -2 } as const;

/** Answer for one partition; both are −1 where no record is as young as asked. */
export interface FoundOffset {
  readonly offset: number;
  readonly timestamp: number;
}

/** The order in which partitions are listed. */
export function byTopicAndPartition(a: TopicPartition, b: TopicPartition): number {
  return a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1;
}

/** A place in a partition, before the partition is looked at. */
export type Place =
  | { readonly kind: "beginning" }
  | { readonly kind: "end" }
  /** Counts from the end when negative. */
  | { readonly kind: "offset"; readonly offset: number }
  | { readonly kind: "timestamp"; readonly timestampMs: number }
  /** So long before the moment at which the partition is looked at. */
  | { readonly kind: "ago"; readonly durationMs: number };

/**
 * Reads `beginning`, `end`, an offset (negative: that many before the end), an ISO 8601 time or `-1h` (an hour ago).
 * Returns: null for what is none of them.
 */
export function parsePlace(text: string): Place | null {
  if (text === "beginning" || text === "earliest") return { kind: "beginning" };
  if (text === "end" || text === "latest") return { kind: "end" };
  if (/^-?\d+$/.test(text) && Number.isSafeInteger(Number(text))) {
    return { kind: "offset", offset: Number(text) };
  }
  const durationMs = text.startsWith("-") ? durationOf(text.slice(1)) : null;
  if (durationMs !== null) return { kind: "ago", durationMs };
  const timestampMs = parseTime(text);
  return timestampMs === null ? null : { kind: "timestamp", timestampMs };
}

/** Offsets of partitions of one topic at a time. Errors: rejects with KafkaError or NetworkError. */
export async function listOffsets(
  client: KafkaClient,
  topic: string,
  partitions: readonly number[],
  timestamp: number,
  { readCommitted = false }: { readonly readCommitted?: boolean } = {},
): Promise<Map<number, FoundOffset>> {
  return await client.retry(async () => {
    const leaders = new Map(
      (await client.leaders(topic)).map((leader) => [leader.partition, leader]),
    );
    const byLeader = Map.groupBy(
      partitions,
      (partition) => leaders.get(partition)?.leaderId ?? -1,
    );
    const found = new Map<number, FoundOffset>();
    for (const [leaderId, numbers] of byLeader) {
      const connection = await client.broker(leaderId);
      const { topics } = await connection.request(Calls.listOffsets, {
        replicaId: -1,
        isolationLevel: readCommitted ? 1 : 0,
        topics: [{
          name: topic,
          partitions: numbers.map((partitionIndex) => ({
            partitionIndex,
            currentLeaderEpoch: leaders.get(partitionIndex)?.leaderEpoch ?? -1,
            timestamp,
          })),
        }],
      });
      for (const partition of topics[0]?.partitions ?? []) {
        if (partition.errorCode !== ErrorCode.NONE) throw new KafkaError(partition.errorCode);
        found.set(partition.partitionIndex, partition);
      }
    }
    return found;
  });
}

/** Where a place is in each partition. A time after the last record is the end. */
export async function resolvePlace(
  client: KafkaClient,
  topic: string,
  partitions: readonly number[],
  place: Place,
): Promise<Map<number, number>> {
  const at = async (timestamp: number) => await listOffsets(client, topic, partitions, timestamp);
  const offsets = new Map<number, number>();
  if (place.kind === "beginning" || place.kind === "end") {
    const special = place.kind === "end" ? SpecialTimestamp.latest : SpecialTimestamp.earliest;
    for (const [partition, { offset }] of await at(special)) offsets.set(partition, offset);
    return offsets;
  }
  if (place.kind === "offset" && place.offset >= 0) {
    for (const partition of partitions) offsets.set(partition, place.offset);
    return offsets;
  }
  const ends = await at(SpecialTimestamp.latest);
  if (place.kind === "timestamp" || place.kind === "ago") {
    const timestampMs = place.kind === "timestamp"
      ? place.timestampMs
      : client.clock.wallMs() - place.durationMs;
    // Below 0 are the timestamps with a meaning of their own.
    const found = await at(Math.max(0, Math.trunc(timestampMs)));
    for (const [partition, { offset: end }] of ends) {
      const offset = found.get(partition)?.offset ?? -1;
      offsets.set(partition, offset < 0 ? end : offset);
    }
    return offsets;
  }
  const starts = await at(SpecialTimestamp.earliest);
  for (const [partition, { offset: end }] of ends) {
    const start = starts.get(partition)?.offset ?? 0;
    offsets.set(partition, Math.max(start, end + place.offset));
  }
  return offsets;
}
