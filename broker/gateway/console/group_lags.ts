/**
 * How far many groups are behind, in few requests: the offsets of each group from its coordinator, a few side by side, and
 * the ends of all their partitions from the leaders at once.
 *
 * What cannot be asked is left out: a group whose coordinator is away has no lag here, and the others have.
 */

import { formatTopicPartition } from "../../../protocol/types.ts";
import { fetchGroupOffsets, type GroupOffset } from "../../client/group_member.ts";
import { type ListedGroup, listGroups } from "../../client/groups.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import { SpecialTimestamp } from "../../client/offsets.ts";
import { askOffsets } from "./topic_sizes.ts";

/** Groups that are asked for side by side. */
const AT_ONCE = 16;
/** Most groups that are asked for to find those of one topic. */
const MAX_GROUPS = 500;

/** How far a group is behind. */
export interface GroupLag {
  readonly group: string;
  readonly state: string;
  /** Partitions with a committed offset. */
  readonly partitionCount: number;
  /** Over those whose end is known. */
  readonly lag: number;
}

/** Lags of groups, in their order. Errors: KafkaError, NetworkError where not even metadata are to be had. */
export async function askGroupLags(
  client: KafkaClient,
  groups: readonly ListedGroup[],
  topic?: string,
): Promise<GroupLag[]> {
  const offsets = await askCommitted(client, groups);
  const names = new Set([...offsets.values()].flat().map((offset) => offset.topic));
  const asked = topic === undefined ? [...names] : [topic].filter((name) => names.has(name));
  const { topics } = await client.retry(() => client.metadata(asked));
  const ends = await askOffsets(client, topics, SpecialTimestamp.latest);
  return groups.flatMap(({ group, state }) => {
    const committed = (offsets.get(group) ?? [])
      .filter((offset) => topic === undefined || offset.topic === topic);
    if (!offsets.has(group) || (topic !== undefined && committed.length === 0)) return [];
    const lag = committed.reduce((sum, { topic, partition, offset }) => {
      const end = ends.get(formatTopicPartition(topic, partition));
      return sum + (end === undefined ? 0 : Math.max(0, end - offset));
    }, 0);
    return [{ group, state, partitionCount: committed.length, lag }];
  });
}

async function askCommitted(
  client: KafkaClient,
  groups: readonly ListedGroup[],
): Promise<Map<string, GroupOffset[]>> {
  const found = new Map<string, GroupOffset[]>();
  const rest = groups.values();
  const work = async () => {
    for (const { group } of rest) {
      try {
        const offsets = await fetchGroupOffsets(client, group, null, { requireStable: false });
        found.set(group, offsets.filter(({ offset }) => offset >= 0));
      } catch {
        // Its coordinator is away, or the group is gone: the others are shown.
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return found;
}

/** Groups with offsets in a topic, those first that are furthest behind. */
export async function askTopicLags(
  client: KafkaClient,
  topic: string,
): Promise<{ readonly lags: readonly GroupLag[]; readonly leftOut: number }> {
  const groups = await listGroups(client);
  const lags = await askGroupLags(client, groups.slice(0, MAX_GROUPS), topic);
  return {
    lags: lags.sort((a, b) => b.lag - a.lag || (a.group < b.group ? -1 : 1)),
    leftOut: Math.max(0, groups.length - MAX_GROUPS),
  };
}
