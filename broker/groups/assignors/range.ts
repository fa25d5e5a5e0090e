/**
 * The range assignor: each topic is cut into ranges of neighbouring partitions, one for each subscriber in their
 * order, so that members get the same partitions of topics that are partitioned alike.
 *
 * Not sticky by itself; it is as far as the order of the members stays: those with an instance id first, by it, then
 * the others by member id.
 *
 * Where members and partitions have racks, members with the same topics change all of their ranges for those of one
 * another, as long as that brings more partitions into the racks of their members: ranges, their lengths and what is
 * together in one member's hands stay. Members of one rack have the ranges of their rack in their order.
 *
 * Source: Kafka's `RangeAssignor` of the group coordinator.
 */

import type { Uuid } from "../../../protocol/types.ts";
import {
  type AssignableMember,
  type AssignmentRequest,
  compareText,
  type Partitions,
  samePartitions,
  subscriptionsOf,
} from "./assignor.ts";

interface Ranges {
  readonly partitionCount: number;
  subscriberCount: number;
  /** How many of the next subscribers get one more. */
  extra: number;
  next: number;
}

/** Assigns ranges. */
export function assignRanges(
  { members, partitionCounts, racksOf }: AssignmentRequest,
): ReadonlyMap<string, Partitions> {
  const sorted = [...members].sort(compareMembers);
  const topics = new Map<Uuid, Ranges>();
  for (const { topicIds } of sorted) {
    for (const topicId of topicIds) {
      const ranges = topics.get(topicId);
      if (ranges !== undefined) ranges.subscriberCount += 1;
      else {
        const partitionCount = partitionCounts.get(topicId) ?? 0;
        topics.set(topicId, { partitionCount, subscriberCount: 1, extra: 0, next: 0 });
      }
    }
  }
  for (const ranges of topics.values()) {
    ranges.extra = ranges.partitionCount % ranges.subscriberCount;
  }
  const places = sorted.map(({ topicIds }): Partitions => {
    const partitions = new Map<Uuid, readonly number[]>();
    for (const topicId of topicIds) {
      const range = nextRange(topics.get(topicId)!);
      if (range.length > 0) partitions.set(topicId, range);
    }
    return partitions;
  });
  const placeOf = placesByRack(sorted, places, racksOf);
  return new Map(sorted.map(({ memberId, target }, index) => {
    const partitions = places[placeOf[index]!]!;
    return [memberId, samePartitions(partitions, target) ? target : partitions];
  }));
}

/** Which place each member gets: its own where racks do not matter. */
function placesByRack(
  members: readonly AssignableMember[],
  places: readonly Partitions[],
  racksOf: AssignmentRequest["racksOf"],
): number[] {
  const placeOf = members.map((_, index) => index);
  if (members.every(({ rackId }) => rackId === null)) return placeOf;
  const counts = places.map((partitions) => countByRack(partitions, racksOf));
  const local: LocalCount = (place, rack) => rack === null ? 0 : counts[place]!.get(rack) ?? 0;
  const subscriptions = subscriptionsOf(members);
  const groups: Map<string | null, number[]>[] = [];
  members.forEach(({ rackId }, index) => {
    const byRack = groups[subscriptions[index]!] ??= new Map();
    const same = byRack.get(rackId);
    if (same === undefined) byRack.set(rackId, [index]);
    else same.push(index);
  });
  for (const byRack of groups) {
    const before = [...byRack.values()].map((indexes) => [...indexes]);
    exchangePlaces([...byRack], local);
    [...byRack.values()].forEach((changed, group) => {
      changed.sort((left, right) => left - right);
      before[group]!.forEach((member, index) => placeOf[member] = changed[index]!);
    });
  }
  return placeOf;
}

/** How many partitions of a place have a replica in a rack. */
type LocalCount = (place: number, rack: string | null) => number;

/** Exchanges places of two racks as long as two are better exchanged; each exchange makes more partitions local. */
function exchangePlaces(
  racks: readonly (readonly [string | null, number[]])[],
  local: LocalCount,
): void {
  for (let hasChanged = true; hasChanged;) {
    hasChanged = false;
    racks.forEach(([rack, places], index) => {
      for (const [otherRack, others] of racks.slice(index + 1)) {
        const gain = (place: number) => local(place, otherRack) - local(place, rack);
        places.sort((left, right) => gain(right) - gain(left) || left - right);
        others.sort((left, right) => gain(left) - gain(right) || left - right);
        for (let i = 0; i < Math.min(places.length, others.length); i++) {
          if (gain(places[i]!) <= gain(others[i]!)) break;
          [places[i], others[i]] = [others[i]!, places[i]!];
          hasChanged = true;
        }
      }
    });
  }
}

function countByRack(
  partitions: Partitions,
  racksOf: AssignmentRequest["racksOf"],
): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [topicId, range] of partitions) {
    for (const partition of range) {
      for (const rack of new Set(racksOf(topicId, partition))) {
        counts.set(rack, (counts.get(rack) ?? 0) + 1);
      }
    }
  }
  return counts;
}

function nextRange(ranges: Ranges): number[] {
  const start = ranges.next;
  const isLonger = ranges.extra > 0;
  if (isLonger) ranges.extra -= 1;
  const length = Math.floor(ranges.partitionCount / ranges.subscriberCount) + (isLonger ? 1 : 0);
  ranges.next = start + length;
  return Array.from({ length }, (_, index) => start + index);
}

function compareMembers(left: AssignableMember, right: AssignableMember): number {
  if (left.instanceId !== null && right.instanceId !== null) {
    return compareText(left.instanceId, right.instanceId);
  }
  if (left.instanceId !== null) return -1;
  if (right.instanceId !== null) return 1;
  return compareText(left.memberId, right.memberId);
}
