/**
 * The range assignor: each topic is cut into ranges of neighbouring partitions, one for each subscriber in their
 * order, so that members get the same partitions of topics that are partitioned alike.
 *
 * Not sticky by itself; it is as far as the order of the members stays: those with an instance id first, by it, then
 * the others by member id.
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
  { members, partitionCounts }: AssignmentRequest,
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
  const assignment = new Map<string, Partitions>();
  for (const { memberId, topicIds, target } of sorted) {
    const partitions = new Map<Uuid, readonly number[]>();
    for (const topicId of topicIds) {
      const range = nextRange(topics.get(topicId)!);
      if (range.length > 0) partitions.set(topicId, range);
    }
    assignment.set(memberId, samePartitions(partitions, target) ? target : partitions);
  }
  return assignment;
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
