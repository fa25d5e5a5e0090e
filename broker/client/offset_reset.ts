/**
 * Where a group goes on reading, changed: planned first, with all that can be wrong found out, then committed.
 *
 *     committedOffsets → placedOffsets | shiftedOffsets → planReset → executeReset
 */

import { formatTopicPartition, type TopicPartition } from "../../protocol/types.ts";
import { ClientError } from "./client_error.ts";
import { commitGroupOffsets, fetchGroupOffsets, type GroupOffset } from "./group_member.ts";
import { isReading, listGroups } from "./groups.ts";
import { type KafkaClient, throwOnError } from "./kafka_client.ts";
import {
  byTopicAndPartition,
  listOffsets,
  type Place,
  resolvePlace,
  SpecialTimestamp,
} from "./offsets.ts";

/** What becomes of one partition. */
export interface OffsetReset extends TopicPartition {
  /** Null where the group has committed nothing. */
  readonly oldOffset: number | null;
  readonly askedOffset: number;
  /** As near to the one that was asked for as the log allows. */
  readonly newOffset: number;
  readonly startOffset: number;
  readonly endOffset: number;
}

/** What a group has committed, by `formatTopicPartition`. Errors: KafkaError, NetworkError. */
export async function committedOffsets(
  client: KafkaClient,
  groupId: string,
): Promise<Map<string, GroupOffset>> {
  const offsets = await fetchGroupOffsets(client, groupId, null);
  return new Map(
    offsets
      .filter(({ offset }) => offset >= 0)
      .map((it) => [formatTopicPartition(it.topic, it.partition), it]),
  );
}

/** Where a place is in each of the partitions. */
export async function placedOffsets(
  client: KafkaClient,
  places: readonly TopicPartition[],
  to: Place,
): Promise<GroupOffset[]> {
  const targets: GroupOffset[] = [];
  for (const [topic, of] of Map.groupBy(places, (place) => place.topic)) {
    const numbers = [...new Set(of.map(({ partition }) => partition))];
    const offsets = await resolvePlace(client, topic, numbers, to);
    for (const [partition, offset] of offsets) targets.push({ topic, partition, offset });
  }
  return targets;
}

/** So many records from where the group is. Errors: ClientError where it is nowhere. */
export function shiftedOffsets(
  places: readonly TopicPartition[],
  committed: ReadonlyMap<string, GroupOffset>,
  shift: number,
): GroupOffset[] {
  const targets = new Map(places.map((place) => {
    const name = formatTopicPartition(place.topic, place.partition);
    const old = committed.get(name);
    if (old === undefined) {
      throw new ClientError(
        `partition ${place.partition} of ${place.topic} has no committed offset to shift; name a place`,
      );
    }
    return [name, { ...old, offset: old.offset + shift }];
  }));
  return [...targets.values()];
}

/** What becomes of each partition: an offset outside of the log becomes its edge, as in Kafka. */
export async function planReset(
  client: KafkaClient,
  committed: ReadonlyMap<string, GroupOffset>,
  targets: readonly GroupOffset[],
): Promise<OffsetReset[]> {
  const resets: OffsetReset[] = [];
  for (const [topic, of] of Map.groupBy(targets, (target) => target.topic)) {
    const numbers = of.map(({ partition }) => partition);
    const starts = await listOffsets(client, topic, numbers, SpecialTimestamp.earliest);
    const ends = await listOffsets(client, topic, numbers, SpecialTimestamp.latest);
    for (const { partition, offset: askedOffset } of of) {
      const startOffset = starts.get(partition)?.offset ?? 0;
      const endOffset = ends.get(partition)?.offset ?? 0;
      const newOffset = Math.min(Math.max(askedOffset, startOffset), endOffset);
      const oldOffset = committed.get(formatTopicPartition(topic, partition))?.offset ?? null;
      resets.push({ topic, partition, oldOffset, askedOffset, newOffset, startOffset, endOffset });
    }
  }
  return resets.sort(byTopicAndPartition);
}

/** The state of a group whose members read and commit themselves; null when nobody does. */
export async function readingState(client: KafkaClient, groupId: string): Promise<string | null> {
  const listed = (await listGroups(client)).find(({ group }) => group === groupId);
  return listed === undefined || !isReading(listed) ? null : listed.state;
}

/** Commits. Errors: ClientError while the group has members that read; KafkaError, NetworkError. */
export async function executeReset(
  client: KafkaClient,
  groupId: string,
  offsets: readonly GroupOffset[],
): Promise<void> {
  const state = await readingState(client, groupId);
  if (state !== null) {
    throw new ClientError(`the group is ${state}: it has members that read; stop them first`);
  }
  if (offsets.length === 0) return;
  for (const code of await commitGroupOffsets(client, groupId, offsets)) throwOnError(code);
}
