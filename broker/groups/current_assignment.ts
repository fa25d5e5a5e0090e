/**
 * One member of a consumer group on its way from the partitions that it has to those that it is to have.
 *
 *                        all is there, or nothing is missing
 *      ┌──────────────────────────────────────────────────────┐
 *      │                                                       ▼
 *   unrevoked ──── owned partitions without the revoked ──► stable ──── another target ──► any of the three
 *      ▲                                                       ▲
 *      │ partitions are to be given up                         │ they became free
 *      └──────────────────────────── unreleased ───────────────┘   (others still have some of its partitions)
 *
 * A partition that is to go stays the member's until the member says that it has let go of it, in the epoch it has;
 * only then the member moves to the epoch of the target. A partition that somebody else has is not given out. So no
 * partition is two members' at a time.
 *
 * Pure. Source: KIP-848 (reconciliation), KIP-1251 (assignment epochs); Kafka's `CurrentAssignmentBuilder`.
 */

import type { Uuid } from "../../protocol/types.ts";
import type { Partitions } from "./assignors/assignor.ts";

/** Partitions by topic id, each with the member epoch at which the member got it. None of the maps is empty. */
export type OwnedPartitions = ReadonlyMap<Uuid, ReadonlyMap<number, number>>;

/** Where a member stands, as numbers of the records. */
export const MemberState = { stable: 0, unrevoked: 1, unreleased: 2 } as const;
/** A member's state. −1: one that a newer version wrote. */
export type MemberState = typeof MemberState[keyof typeof MemberState] | -1;

/** What a member has. */
export interface CurrentAssignment {
  readonly memberEpoch: number;
  readonly previousMemberEpoch: number;
  readonly state: MemberState;
  readonly assigned: OwnedPartitions;
  readonly pendingRevocation: OwnedPartitions;
}

const NO_PARTITIONS: OwnedPartitions = new Map();

/** What a new member has. */
export const NEW_MEMBER: CurrentAssignment = {
  memberEpoch: 0,
  previousMemberEpoch: 0,
  state: MemberState.stable,
  assigned: NO_PARTITIONS,
  pendingRevocation: NO_PARTITIONS,
};

/** What a member is led by. */
export interface ReconcileOptions {
  readonly targetEpoch: number;
  readonly target: Partitions;
  /** What the member says that it has; null when it did not say. */
  readonly owned: Partitions | null;
  /** Topics that the member is subscribed to and that exist: it gets and keeps no others. */
  readonly isSubscribed: (topicId: Uuid) => boolean;
  readonly hasSubscriptionChanged: boolean;
  /** True while a member has the partition, or is about to let go of it. */
  readonly isOwned: (topicId: Uuid, partition: number) => boolean;
}

/** Why a member cannot go on as it is. */
export const UNKNOWN_STATE = "unknown state";

/**
 * Takes a member as far as it can go now.
 *
 * Returns: the same object when nothing changes; UNKNOWN_STATE for a member whose state is not known and that may
 * have partitions: it has to leave them and join again.
 */
export function reconcile(
  current: CurrentAssignment,
  options: ReconcileOptions,
): CurrentAssignment | typeof UNKNOWN_STATE {
  switch (current.state) {
    case MemberState.stable:
      if (current.memberEpoch !== options.targetEpoch) return next(current, options);
      return options.hasSubscriptionChanged ? withoutUnsubscribed(current, options) : current;
    case MemberState.unrevoked:
      if (!stillOwns(options.owned, current.pendingRevocation)) return next(current, options);
      return options.hasSubscriptionChanged ? withoutUnsubscribed(current, options) : current;
    case MemberState.unreleased:
      return next(current, options);
    case -1:
      if (options.owned === null || options.owned.size > 0) return UNKNOWN_STATE;
      return next({ ...current, memberEpoch: options.targetEpoch }, options);
  }
}

/** True unless the member has said that it has none of `partitions`. */
function stillOwns(owned: Partitions | null, partitions: OwnedPartitions): boolean {
  if (owned === null) return true;
  for (const [topicId, list] of owned) {
    const own = partitions.get(topicId);
    if (own !== undefined && list.some((partition) => own.has(partition))) return true;
  }
  return false;
}

function next(current: CurrentAssignment, options: ReconcileOptions): CurrentAssignment {
  const { target, targetEpoch, isOwned, isSubscribed } = options;
  const kept = new Map<Uuid, Map<number, number>>();
  const revoked = new Map<Uuid, Map<number, number>>();
  for (const [topicId, partitions] of current.assigned) {
    const wanted = new Set(isSubscribed(topicId) ? target.get(topicId) : []);
    for (const [partition, epoch] of partitions) {
      put(wanted.has(partition) ? kept : revoked, topicId, partition, epoch);
    }
  }
  if (revoked.size > 0 && stillOwns(options.owned, revoked)) {
    return changed(current, {
      memberEpoch: current.memberEpoch,
      state: MemberState.unrevoked,
      assigned: kept,
      pendingRevocation: revoked,
    });
  }
  let isWaiting = false;
  for (const [topicId, partitions] of target) {
    if (!isSubscribed(topicId)) continue;
    const own = current.assigned.get(topicId);
    const pending = current.pendingRevocation.get(topicId);
    for (const partition of partitions) {
      if (own?.has(partition) === true) continue;
      // What it let go of just now is nobody's any more.
      const isFree = pending?.has(partition) === true || !isOwned(topicId, partition);
      if (isFree) put(kept, topicId, partition, targetEpoch);
      else isWaiting = true;
    }
  }
  return changed(current, {
    memberEpoch: targetEpoch,
    state: isWaiting ? MemberState.unreleased : MemberState.stable,
    assigned: kept,
    pendingRevocation: NO_PARTITIONS,
  });
}

/** The target is of before: what the member no longer wants goes at once even so. */
function withoutUnsubscribed(
  current: CurrentAssignment,
  { isSubscribed, owned }: ReconcileOptions,
): CurrentAssignment {
  const assigned = new Map(current.assigned);
  const pendingRevocation = new Map(current.pendingRevocation);
  for (const [topicId, partitions] of current.assigned) {
    if (isSubscribed(topicId)) continue;
    assigned.delete(topicId);
    pendingRevocation.set(
      topicId,
      new Map([...partitions, ...pendingRevocation.get(topicId) ?? []]),
    );
  }
  if (assigned.size === current.assigned.size) return current;
  const isPending = current.pendingRevocation.size > 0 || stillOwns(owned, pendingRevocation);
  return changed(current, {
    memberEpoch: current.memberEpoch,
    state: isPending ? MemberState.unrevoked : current.state,
    assigned,
    pendingRevocation: isPending ? pendingRevocation : NO_PARTITIONS,
  });
}

function changed(
  before: CurrentAssignment,
  after: Omit<CurrentAssignment, "previousMemberEpoch">,
): CurrentAssignment {
  const isSame = before.memberEpoch === after.memberEpoch && before.state === after.state &&
    sameOwned(before.assigned, after.assigned) &&
    sameOwned(before.pendingRevocation, after.pendingRevocation);
  return isSame ? before : { ...after, previousMemberEpoch: before.memberEpoch };
}

/** Whether both hold the same partitions. */
export function sameOwned(left: OwnedPartitions, right: OwnedPartitions): boolean {
  if (left === right) return true;
  if (left.size !== right.size) return false;
  for (const [topicId, partitions] of left) {
    const others = right.get(topicId);
    if (others === undefined || others.size !== partitions.size) return false;
    for (const partition of partitions.keys()) if (!others.has(partition)) return false;
  }
  return true;
}

function put(
  into: Map<Uuid, Map<number, number>>,
  topicId: Uuid,
  partition: number,
  epoch: number,
): void {
  const partitions = into.get(topicId);
  if (partitions === undefined) into.set(topicId, new Map([[partition, epoch]]));
  else partitions.set(partition, epoch);
}
