/**
 * What an assignor of the server is asked, and what it answers: which member of a group shall have which partitions.
 *
 * Assignors are pure and deterministic: the same members with the same assignment give the same one again, whatever
 * the order they come in. Every partition of a topic that somebody is subscribed to goes to exactly one subscriber.
 * They keep near to the count of partitions and members in time, since they run on the loop.
 *
 * Source: KIP-848, `PartitionAssignor`.
 */

import type { Uuid } from "../../../protocol/types.ts";

/** Partitions by topic id. Shape: each list ascending, none empty. */
export type Partitions = ReadonlyMap<Uuid, readonly number[]>;

/** A member, as an assignor sees it. */
export interface AssignableMember {
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly rackId: string | null;
  /** Topics that exist. Members with the same subscription may share the list. */
  readonly topicIds: readonly Uuid[];
  /** What it was to have until now. */
  readonly target: Partitions;
}

/** A group that needs an assignment. */
export interface AssignmentRequest {
  readonly members: readonly AssignableMember[];
  /** Every topic in a member's list. */
  readonly partitionCounts: ReadonlyMap<Uuid, number>;
  /** True where all members have the same topics. */
  readonly isHomogeneous: boolean;
  /** The racks of the brokers that have a replica. */
  readonly racksOf: (topicId: Uuid, partition: number) => readonly string[];
}

/** Computes a target assignment. Returns: partitions of every member, the same object where nothing changed. */
export type Assignor = (request: AssignmentRequest) => ReadonlyMap<string, Partitions>;

/** Members with the same topics have the same number, from 0 on, whatever the order of their lists. */
export function subscriptionsOf(members: readonly AssignableMember[]): number[] {
  const byList = new Map<readonly Uuid[], number>();
  const byName = new Map<string, number>();
  return members.map(({ topicIds }) => {
    let found = byList.get(topicIds);
    if (found === undefined) {
      const name = [...topicIds].sort(compareText).join(" ");
      found = byName.get(name) ?? byName.size;
      byName.set(name, found);
      byList.set(topicIds, found);
    }
    return found;
  });
}

/** Whether two assignments are of the same partitions. */
export function samePartitions(left: Partitions, right: Partitions): boolean {
  if (left === right) return true;
  if (left.size !== right.size) return false;
  for (const [topicId, partitions] of left) {
    const others = right.get(topicId);
    if (others === undefined || others.length !== partitions.length) return false;
    if (partitions.some((partition, index) => partition !== others[index])) return false;
  }
  return true;
}

/** The order of UTF-16, as Java's. */
export function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
