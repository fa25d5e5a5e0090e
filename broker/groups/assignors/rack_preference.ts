/**
 * Prefers members whose rack has a replica of the partition, once it is decided how many partitions each member gets
 * and how many move: neither becomes worse by it.
 *
 *     ring        a → b → … → a    partitions that have another member than before anyway change places
 *     hand over   a → b → … → z    so do they, and z, which has one less than a, has one more in its place
 *     keep other  a ⇄ b            a keeps another partition than the one that it gives up to b
 *
 * Each step brings more partitions to their racks, so this ends. Members with the same topics, rack and load are one
 * cell, and partitions with the same subscribers and racks one kind: looking takes time by these, not by members and
 * partitions. Where kinds are many, it ends before everything was looked at.
 *
 * Invariant: every member has the load that it had, or has changed it for that of another.
 */

import type { Uuid } from "../../../protocol/types.ts";
import { type AssignmentRequest, subscriptionsOf } from "./assignor.ts";

/** So many pairs of a kind and a cell are looked at: about ten milliseconds. */
const MAX_LOOKS = 100_000;

/** What a member is to have, before it is in order. */
export type Draft = Map<Uuid, number[]>;

/** Lets members change partitions for those in their racks; `drafts` are in the order of the members. */
export function preferRacks(request: AssignmentRequest, drafts: readonly Draft[]): void {
  if (request.members.every(({ rackId }) => rackId === null)) return;
  const exchange = new RackExchange(request, drafts);
  if (!exchange.improve()) return;
  for (const draft of drafts) draft.clear();
  for (const { topicId, partition, holder } of exchange.assigned) {
    addTo(drafts[holder]!, topicId, partition);
  }
}

/** Adds a partition to what a member is to have. */
export function addTo(draft: Draft, topicId: Uuid, partition: number): void {
  const partitions = draft.get(topicId);
  if (partitions === undefined) draft.set(topicId, [partition]);
  else partitions.push(partition);
}

/** Partitions that may go to the same members, and are in place in the same racks. */
interface Kind {
  /** By the numbers of subscriptions; the same object for topics with the same subscribers. */
  readonly subscribers: ReadonlySet<number>;
  readonly racks: ReadonlySet<string>;
}

/** A partition with its member. */
interface Assigned {
  readonly topicId: Uuid;
  readonly partition: number;
  readonly kind: Kind;
  /** Who had it; −1 where nobody did who may have it again. */
  readonly former: number;
  holder: number;
}

type ByKind = Map<Kind, Set<Assigned>>;

/** Members that differ in nothing that counts here. */
interface Cell {
  readonly subscription: number;
  /** Null where no partition has the rack. */
  readonly rack: string | null;
  readonly load: number;
  readonly members: Set<number>;
  /** Partitions that their members did not have before. */
  readonly moved: ByKind;
}

/** A partition of this kind goes from this cell to the one that the step is kept for. */
interface Step {
  readonly from: Cell;
  readonly kind: Kind;
}

/** An assignment while its partitions change places. */
class RackExchange {
  readonly assigned: Assigned[] = [];
  readonly #cells = new Map<string, Cell>();
  readonly #cellOf: Cell[];
  /** What each member had before. */
  readonly #kept: ByKind[];
  readonly #isHomogeneous: boolean;
  #looks = 0;

  constructor(request: AssignmentRequest, drafts: readonly Draft[]) {
    const { members } = request;
    const subscriptions = subscriptionsOf(members);
    this.#isHomogeneous = subscriptions.every((subscription) => subscription === 0);
    this.#kept = members.map(() => new Map());
    const kindOf = kindsOf(request, subscriptions);
    const formerOf = formersOf(request);
    const loads = drafts.map((draft, holder) => {
      let load = 0;
      for (const [topicId, partitions] of draft) {
        load += partitions.length;
        for (const partition of partitions) {
          const kind = kindOf(topicId, partition);
          const former = formerOf(topicId, partition);
          this.assigned.push({ topicId, partition, kind, former, holder });
        }
      }
      return load;
    });
    const racks = new Set(this.assigned.flatMap(({ kind }) => [...kind.racks]));
    this.#cellOf = members.map(({ rackId }, index) => {
      const rack = rackId !== null && racks.has(rackId) ? rackId : null;
      return this.#enter(index, { subscription: subscriptions[index]!, rack, load: loads[index]! });
    });
    for (const each of this.assigned) this.#place(each);
  }

  /** Returns: whether any partition has another member. */
  improve(): boolean {
    let hasImproved = false;
    for (let hasChanged = true; hasChanged && this.#looks < MAX_LOOKS;) {
      hasChanged = false;
      for (const each of this.assigned) {
        if (this.#keepOther(each)) hasChanged = true;
      }
      for (const cell of [...this.#cells.values()]) {
        for (const kind of cell.moved.keys()) {
          while (this.#bringHome(cell, kind)) hasChanged = true;
        }
      }
      hasImproved ||= hasChanged;
    }
    return hasImproved;
  }

  /** Its former member keeps it and gives up another one, where that is better. */
  #keepOther(each: Assigned): boolean {
    const { kind, former, holder } = each;
    if (former < 0 || former === holder || this.#looks >= MAX_LOOKS) return false;
    const [from, to] = [this.#cellOf[former]!, this.#cellOf[holder]!];
    let best = 0;
    let other: Assigned | undefined;
    for (const [otherKind, kept] of this.#kept[former]!) {
      this.#looks += 1;
      const [first] = kept;
      if (first === undefined || !otherKind.subscribers.has(to.subscription)) continue;
      if (!mayReplace({ from, kind: otherKind }, to, kind)) continue;
      const gain = localCount(kind, from) + localCount(otherKind, to) -
        localCount(otherKind, from) - localCount(kind, to);
      if (gain > best) [best, other] = [gain, first];
    }
    if (other === undefined) return false;
    this.#reassign([each, other], [former, holder]);
    return true;
  }

  /** Finds the shortest way by which a partition gets to its rack, and nothing else gets away from its own. */
  #bringHome(start: Cell, kind: Kind): boolean {
    const hasSome = start.moved.get(kind)!.size > 0;
    if (!hasSome || isLocal(kind, start) || this.#looks >= MAX_LOOKS) return false;
    const steps = new Map<Cell, Step>();
    const reach = (from: Cell, what: Kind, isEnough: (to: Cell) => boolean) => {
      for (const to of this.#cells.values()) {
        this.#looks += 1;
        const isNew = to !== start && !steps.has(to) && to.members.size > 0;
        if (isNew && what.subscribers.has(to.subscription) && isEnough(to)) {
          steps.set(to, { from, kind: what });
        }
      }
    };
    reach(start, kind, (to) => isLocal(kind, to));
    // Cells that are reached meanwhile are looked at as well.
    for (const [cell, step] of steps) {
      if (this.#looks >= MAX_LOOKS) return false;
      if (cell.load === start.load - 1 && (this.#isHomogeneous || cell.load === 0)) {
        this.#handOver(wayTo(cell, steps, start), start, cell);
        return true;
      }
      for (const [other, moved] of cell.moved) {
        if (moved.size === 0 || !mayReplace(step, cell, other)) continue;
        const isEnough = (to: Cell) => localCount(other, to) >= localCount(other, cell);
        const isRing = other.subscribers.has(start.subscription) && isEnough(start) &&
          mayReplace({ from: cell, kind: other }, start, kind);
        if (isRing) {
          this.#turn([...wayTo(cell, steps, start), { from: cell, kind: other }]);
          return true;
        }
        reach(cell, other, isEnough);
      }
    }
    return false;
  }

  /** Each goes to the member of the next one, the last to that of the first, as often as there are such partitions. */
  #turn(way: readonly Step[]): void {
    while (way.every(hasMore)) {
      const moving = way.map(firstOf);
      const holders = moving.map(({ holder }) => holder);
      this.#reassign(moving, [...holders.slice(1), holders[0]!]);
    }
  }

  /** Each goes to the member of the next one, the last to a member at the end of the way. */
  #handOver(way: readonly Step[], start: Cell, end: Cell): void {
    while (way.every(hasMore) && end.members.size > 0) {
      const moving = way.map(firstOf);
      const [receiver] = end.members;
      const holders = moving.map(({ holder }) => holder);
      this.#reassign(moving, [...holders.slice(1), receiver!]);
      this.#reload(holders[0]!, start.load - 1);
      this.#reload(receiver!, end.load + 1);
    }
  }

  #reassign(moving: readonly Assigned[], holders: readonly number[]): void {
    moving.forEach((each, index) => {
      this.#shelfOf(each).get(each.kind)!.delete(each);
      each.holder = holders[index]!;
      this.#place(each);
    });
  }

  /** The member is in another cell, and with it what it has. */
  #reload(member: number, load: number): void {
    const before = this.#cellOf[member]!;
    before.members.delete(member);
    const after = this.#cellOf[member] = this.#enter(member, { ...before, load });
    for (const [kind, moved] of before.moved) {
      for (const each of moved) {
        if (each.holder !== member) continue;
        moved.delete(each);
        addToKind(after.moved, kind, each);
      }
    }
  }

  #place(each: Assigned): void {
    addToKind(this.#shelfOf(each), each.kind, each);
  }

  #shelfOf({ former, holder }: Assigned): ByKind {
    return former === holder ? this.#kept[holder]! : this.#cellOf[holder]!.moved;
  }

  #enter(
    member: number,
    { subscription, rack, load }: Pick<Cell, "subscription" | "rack" | "load">,
  ): Cell {
    const name = `${subscription} ${load} ${rack}`;
    let cell = this.#cells.get(name);
    if (cell === undefined) {
      cell = { subscription, rack, load, members: new Set(), moved: new Map() };
      this.#cells.set(name, cell);
    }
    cell.members.add(member);
    return cell;
  }
}

function isLocal({ racks }: Kind, { rack }: Cell): boolean {
  return rack !== null && racks.has(rack);
}

function localCount(kind: Kind, cell: Cell): number {
  return isLocal(kind, cell) ? 1 : 0;
}

/**
 * Whether a partition may come into a cell in the place of another without leaving somebody with two more than a
 * subscriber of one of its topics: it comes from a member with as much, or both have the same subscribers.
 */
function mayReplace({ from, kind }: Step, to: Cell, leaving: Kind): boolean {
  return from.load === to.load || kind.subscribers === leaving.subscribers;
}

function addToKind(byKind: ByKind, kind: Kind, each: Assigned): void {
  const found = byKind.get(kind);
  if (found === undefined) byKind.set(kind, new Set([each]));
  else found.add(each);
}

/** The steps from the start into a cell, in this order. */
function wayTo(cell: Cell, steps: ReadonlyMap<Cell, Step>, start: Cell): Step[] {
  const way: Step[] = [];
  for (let at = cell; at !== start;) {
    const step = steps.get(at)!;
    way.unshift(step);
    at = step.from;
  }
  return way;
}

function hasMore({ from, kind }: Step): boolean {
  return from.moved.get(kind)!.size > 0;
}

function firstOf({ from, kind }: Step): Assigned {
  const [first] = from.moved.get(kind)!;
  return first!;
}

/** Tells the kinds of partitions. */
function kindsOf(
  { members, partitionCounts, racksOf }: AssignmentRequest,
  subscriptions: readonly number[],
): (topicId: Uuid, partition: number) => Kind {
  const lists: (readonly Uuid[])[] = [];
  members.forEach(({ topicIds }, index) => lists[subscriptions[index]!] ??= topicIds);
  const subscribersOf = new Map<Uuid, number[]>();
  for (const topicId of partitionCounts.keys()) subscribersOf.set(topicId, []);
  lists.forEach((topicIds, subscription) => {
    for (const topicId of topicIds) subscribersOf.get(topicId)?.push(subscription);
  });
  const shared = new Map<
    string,
    { readonly subscribers: Set<number>; byRacks: Map<string, Kind> }
  >();
  const kindsOfTopic = new Map([...subscribersOf].map(([topicId, subscribers]) => {
    const name = subscribers.join(" ");
    const found = shared.get(name) ?? { subscribers: new Set(subscribers), byRacks: new Map() };
    shared.set(name, found);
    return [topicId, found];
  }));
  return (topicId, partition) => {
    const { subscribers, byRacks } = kindsOfTopic.get(topicId)!;
    const racks = racksOf(topicId, partition);
    const name = racks.join("\0");
    let kind = byRacks.get(name);
    if (kind === undefined) byRacks.set(name, kind = { subscribers, racks: new Set(racks) });
    return kind;
  };
}

/** Tells who had a partition, of those who may have it again. */
function formersOf(
  { members, partitionCounts }: AssignmentRequest,
): (topicId: Uuid, partition: number) => number {
  const formers = new Map(
    [...partitionCounts].map(([topicId, count]) => [topicId, new Int32Array(count).fill(-1)]),
  );
  members.forEach(({ topicIds, target }, index) => {
    if (target.size === 0) return;
    const subscribed = new Set(topicIds);
    for (const [topicId, partitions] of target) {
      const found = subscribed.has(topicId) ? formers.get(topicId) : undefined;
      for (const partition of found === undefined ? [] : partitions) {
        if (found![partition] === -1) found![partition] = index;
      }
    }
  });
  return (topicId, partition) => formers.get(topicId)![partition]!;
}
