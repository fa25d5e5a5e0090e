/**
 * The uniform assignor: members get as equal a number of partitions as their subscriptions allow, and keep what they
 * have where that is possible.
 *
 * Where all members have the same topics, quotas say it all: every member gets the quotient, the remainder goes first
 * to those that hold one more already, so that as few partitions move as can be. Otherwise what members hold stays,
 * partitions without a member go to the least loaded subscriber, and then single partitions move from members that
 * hold at least two more than another subscriber of their topic to that one, until there are none such. Members with
 * equal subscriptions are kept in one class with buckets by load, so that looking for the least loaded takes time by
 * the number of classes, not of members.
 *
 * Racks come last, where members and partitions have them (rack_preference.ts): what they decide costs no balance
 * and no more moves.
 *
 * Source: Kafka's `UniformAssignor` of the group coordinator.
 */

import assert from "node:assert/strict";
import type { Uuid } from "../../../protocol/types.ts";
import {
  type AssignableMember,
  type AssignmentRequest,
  compareText,
  type Partitions,
  samePartitions,
  subscriptionsOf,
} from "./assignor.ts";
import { addTo, type Draft, preferRacks } from "./rack_preference.ts";

/** Assigns as equal numbers of partitions as subscriptions allow. */
export function assignUniformly(request: AssignmentRequest): ReadonlyMap<string, Partitions> {
  const members = [...request.members].sort((left, right) =>
    compareText(left.memberId, right.memberId)
  );
  if (members.length === 0) return new Map();
  const drafts = request.isHomogeneous
    ? assignByQuota(members, request.partitionCounts)
    : assignByLoad(members, request.partitionCounts);
  preferRacks({ ...request, members }, drafts);
  return finish(members, drafts);
}

/** A partition that lost its member, or has none yet. */
interface FreePartition {
  readonly topicId: Uuid;
  readonly partition: number;
}

/** Which partitions of each topic somebody holds. */
class Taken {
  readonly #topics: ReadonlyMap<Uuid, Uint8Array>;

  constructor(partitionCounts: ReadonlyMap<Uuid, number>) {
    this.#topics = new Map([...partitionCounts].map(([id, count]) => [id, new Uint8Array(count)]));
  }

  /** False where the partition does not exist, or is another's already. */
  take(topicId: Uuid, partition: number): boolean {
    const taken = this.#topics.get(topicId);
    if (taken === undefined || taken[partition] !== 0) return false;
    taken[partition] = 1;
    return true;
  }

  free(topicId: Uuid, partition: number): void {
    this.#topics.get(topicId)![partition] = 0;
  }

  /** By topic, then by partition. */
  rest(): FreePartition[] {
    const rest: FreePartition[] = [];
    for (const [topicId, taken] of this.#topics) {
      for (let partition = taken.indexOf(0); partition >= 0;) {
        rest.push({ topicId, partition });
        partition = taken.indexOf(0, partition + 1);
      }
    }
    return rest;
  }
}

/** What members hold of what there is, each partition once. */
function keepHeld(
  members: readonly AssignableMember[],
  taken: Taken,
): { readonly draft: Draft; count: number }[] {
  return members.map(({ topicIds, target }) => {
    const draft: Draft = new Map();
    let count = 0;
    const subscribed = target.size > 0 ? new Set(topicIds) : null;
    for (const [topicId, partitions] of target) {
      if (subscribed?.has(topicId) !== true) continue;
      const kept = partitions.filter((partition) => taken.take(topicId, partition));
      if (kept.length > 0) draft.set(topicId, kept);
      count += kept.length;
    }
    return { draft, count };
  });
}

function assignByQuota(
  members: readonly AssignableMember[],
  partitionCounts: ReadonlyMap<Uuid, number>,
): Draft[] {
  const subscribed = members[0]!.topicIds;
  const counts = new Map(subscribed.map((topicId) => [topicId, partitionCounts.get(topicId) ?? 0]));
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const taken = new Taken(counts);
  const held = keepHeld(members, taken);
  const quota = Math.floor(total / members.length);
  let extra = total % members.length;
  // Who holds more already keeps one more first: that moves the least.
  const quotas = held.map(({ count }) => {
    if (count <= quota || extra === 0) return quota;
    extra -= 1;
    return quota + 1;
  });
  for (let index = 0; extra > 0; index++) {
    if (quotas[index]! > quota) continue;
    quotas[index] = quota + 1;
    extra -= 1;
  }
  held.forEach((each, index) => giveUp(each, quotas[index]!, taken));
  const rest = taken.rest();
  let next = 0;
  held.forEach(({ draft, count }, index) => {
    for (let missing = quotas[index]! - count; missing > 0; missing--) {
      const { topicId, partition } = rest[next++]!;
      addTo(draft, topicId, partition);
    }
  });
  assert(next === rest.length, "Cannot leave partitions without a member");
  return held.map(({ draft }) => draft);
}

/** Takes what is beyond the quota, the last partitions of the last topics first. */
function giveUp(
  held: { readonly draft: Draft; count: number },
  quota: number,
  taken: Taken,
): void {
  const topics = held.count > quota ? [...held.draft].reverse() : [];
  for (const [topicId, partitions] of topics) {
    while (held.count > quota && partitions.length > 0) {
      taken.free(topicId, partitions.pop()!);
      held.count -= 1;
    }
    if (partitions.length === 0) held.draft.delete(topicId);
  }
}

function assignByLoad(
  members: readonly AssignableMember[],
  partitionCounts: ReadonlyMap<Uuid, number>,
): Draft[] {
  const taken = new Taken(partitionCounts);
  const held = keepHeld(members, taken);
  const loads = new Loads(members, held.map(({ count }) => count));
  for (const { topicId, partition } of loads.scarceFirst(taken.rest())) {
    const to = loads.least(topicId);
    if (to < 0) continue;
    addTo(held[to]!.draft, topicId, partition);
    loads.change(to, 1);
  }
  const drafts = held.map(({ draft }) => draft);
  balance(drafts, loads);
  return drafts;
}

/** Every move lessens the sum of the squares of the loads, so this ends. */
function balance(drafts: readonly Draft[], loads: Loads): void {
  const owners = new Map<Uuid, Set<number>>();
  drafts.forEach((draft, index) => {
    for (const topicId of draft.keys()) {
      const set = owners.get(topicId);
      if (set === undefined) owners.set(topicId, new Set([index]));
      else set.add(index);
    }
  });
  for (let hasMoved = true; hasMoved;) {
    hasMoved = false;
    for (const [topicId, holders] of owners) {
      const richestFirst = [...holders].sort((left, right) => loads.of(right) - loads.of(left));
      for (const from of richestFirst) {
        while (moveOne(topicId, from, drafts, loads, holders)) hasMoved = true;
      }
    }
  }
}

function moveOne(
  topicId: Uuid,
  from: number,
  drafts: readonly Draft[],
  loads: Loads,
  holders: Set<number>,
): boolean {
  const to = loads.least(topicId);
  const partitions = drafts[from]!.get(topicId);
  if (partitions === undefined || loads.of(from) - loads.of(to) < 2) return false;
  addTo(drafts[to]!, topicId, partitions.pop()!);
  holders.add(to);
  if (partitions.length === 0) {
    drafts[from]!.delete(topicId);
    holders.delete(from);
  }
  loads.change(from, -1);
  loads.change(to, 1);
  return true;
}

/** Members with the same topics, by how much they hold. */
interface LoadClass {
  readonly topicIds: readonly Uuid[];
  readonly byLoad: Map<number, Set<number>>;
  /** No member of the class holds less. */
  least: number;
}

/** How many partitions each member holds, by the index of the member. */
class Loads {
  readonly #loads: number[];
  readonly #classOf: LoadClass[];
  readonly #classesOfTopic = new Map<Uuid, LoadClass[]>();
  readonly #subscriberCounts = new Map<Uuid, number>();

  constructor(members: readonly AssignableMember[], loads: readonly number[]) {
    this.#loads = [...loads];
    const classes: LoadClass[] = [];
    this.#classOf = subscriptionsOf(members).map((subscription, index) => {
      const { topicIds } = members[index]!;
      const found = classes[subscription] ??= { topicIds, byLoad: new Map(), least: Infinity };
      place(found, loads[index]!, index);
      return found;
    });
    for (const found of classes) {
      const size = [...found.byLoad.values()].reduce((sum, set) => sum + set.size, 0);
      for (const topicId of found.topicIds) {
        const others = this.#classesOfTopic.get(topicId);
        if (others === undefined) this.#classesOfTopic.set(topicId, [found]);
        else others.push(found);
        this.#subscriberCounts.set(topicId, (this.#subscriberCounts.get(topicId) ?? 0) + size);
      }
    }
  }

  of(index: number): number {
    return this.#loads[index]!;
  }

  change(index: number, by: 1 | -1): void {
    const found = this.#classOf[index]!;
    const load = this.#loads[index]!;
    const bucket = found.byLoad.get(load)!;
    bucket.delete(index);
    if (bucket.size === 0) found.byLoad.delete(load);
    this.#loads[index] = load + by;
    place(found, load + by, index);
  }

  /** The subscriber of a topic that holds the least; −1 when there is none. */
  least(topicId: Uuid): number {
    let best: LoadClass | null = null;
    for (const found of this.#classesOfTopic.get(topicId) ?? []) {
      while (!found.byLoad.has(found.least)) found.least += 1;
      if (best === null || found.least < best.least) best = found;
    }
    if (best === null) return -1;
    const [index] = best.byLoad.get(best.least)!;
    return index ?? -1;
  }

  /** Topics with few subscribers first: the others can make up for them. */
  scarceFirst(partitions: readonly FreePartition[]): FreePartition[] {
    const count = ({ topicId }: FreePartition) => this.#subscriberCounts.get(topicId) ?? 0;
    return [...partitions].sort((left, right) => count(left) - count(right));
  }
}

function place(found: LoadClass, load: number, index: number): void {
  const bucket = found.byLoad.get(load);
  if (bucket === undefined) found.byLoad.set(load, new Set([index]));
  else bucket.add(index);
  found.least = Math.min(found.least, load);
}

function finish(
  members: readonly AssignableMember[],
  drafts: readonly Draft[],
): ReadonlyMap<string, Partitions> {
  return new Map(members.map(({ memberId, target }, index) => {
    const draft = drafts[index]!;
    for (const partitions of draft.values()) partitions.sort((left, right) => left - right);
    return [memberId, samePartitions(draft, target) ? target : draft];
  }));
}
