/**
 * Racks in the assignors: a slow twin tries every pair of partitions and of members for what could still be better,
 * and another one finds the most partitions that a new group can have in their racks.
 */

import { expect, test } from "bun:test";
import type {
  AssignableMember,
  AssignmentRequest,
  Assignor,
  Partitions,
} from "../../../../broker/groups/assignors/assignor.ts";
import { assignRanges } from "../../../../broker/groups/assignors/range.ts";
import { assignUniformly } from "../../../../broker/groups/assignors/uniform.ts";
import type { Uuid } from "../../../../protocol/types.ts";
import { SimRandom } from "../../../sim/sim_random.ts";

const NOTHING: Partitions = new Map();
const RACKS = ["a", "b", "c", "d"];
const SEEDS = Array.from({ length: 200 }, (_, index) => index + 1);

function topic(index: number): Uuid {
  return `topic-${String(index).padStart(4, "0")}` as Uuid;
}

function member(
  memberId: string,
  rackId: string | null,
  topicIds: readonly Uuid[],
): AssignableMember {
  return { memberId, instanceId: null, rackId, topicIds, target: NOTHING };
}

/** Replicas in as many racks as asked for, each partition one rack further. */
function striped(racks: readonly string[], replicationFactor: number) {
  return (topicId: Uuid, partition: number): readonly string[] => {
    const first = partition + Number(topicId.slice(-4));
    return Array.from(
      { length: replicationFactor },
      (_, replica) => racks[(first + replica) % racks.length]!,
    ).sort();
  };
}

class Life {
  readonly #chance: SimRandom;
  readonly #racks: readonly string[];
  request: AssignmentRequest;

  constructor(seed: number) {
    this.#chance = new SimRandom(seed);
    this.#racks = RACKS.slice(0, 1 + this.#below(RACKS.length));
    const topicIds = Array.from({ length: 1 + this.#below(4) }, (_, index) => topic(index));
    const isHomogeneous = this.#below(2) === 0;
    this.request = {
      members: [],
      partitionCounts: new Map(topicIds.map((id) => [id, 1 + this.#below(9)])),
      isHomogeneous,
      racksOf: () => [],
    };
    this.#placeReplicas();
    for (let i = 0; i < 1 + this.#below(8); i++) this.#join(`m${i}`);
  }

  /** Members, partitions and replicas as they are some time later, with what was given out as what they have. */
  goOn(targets: ReadonlyMap<string, Partitions>, round: number): void {
    const { members, partitionCounts } = this.request;
    this.request = {
      ...this.request,
      members: members.filter(() => this.#below(5) > 0).map((each) => ({
        ...each,
        target: targets.get(each.memberId) ?? NOTHING,
      })),
      partitionCounts: new Map(
        [...partitionCounts].map(([id, count]) => [id, count + Math.max(0, this.#below(6) - 3)]),
      ),
    };
    for (let i = 0; i < this.#below(3) || this.request.members.length === 0; i++) {
      this.#join(`n${round}-${i}`);
    }
    if (this.#below(4) === 0) this.#placeReplicas();
  }

  #join(memberId: string): void {
    const topicIds = [...this.request.partitionCounts.keys()];
    const own = this.request.isHomogeneous ? topicIds : topicIds.filter(() => this.#below(3) > 0);
    const draw = this.#below(10);
    const rackId = draw === 0 ? null : draw === 1 ? "elsewhere" : this.#chance.pick(this.#racks);
    this.request = {
      ...this.request,
      members: [...this.request.members, member(memberId, rackId, own)],
    };
  }

  #placeReplicas(): void {
    const racks = new Map<string, readonly string[]>();
    const factor = 1 + this.#below(this.#racks.length);
    this.request = {
      ...this.request,
      racksOf: (topicId, partition) => {
        const key = `${topicId} ${partition}`;
        const found = racks.get(key) ??
          (this.#below(12) === 0
            ? []
            : RACKS.filter(() => this.#below(this.#racks.length) < factor));
        racks.set(key, found);
        return found;
      },
    };
  }

  #below(count: number): number {
    return this.#chance.uint32() % count;
  }
}

/** One partition with its member, and with who had it. */
interface Held {
  readonly topicId: Uuid;
  readonly partition: number;
  readonly holder: AssignableMember;
  readonly former: AssignableMember | null;
}

function heldOf(request: AssignmentRequest, targets: ReadonlyMap<string, Partitions>): Held[] {
  return request.members.flatMap((holder) =>
    [...targets.get(holder.memberId)!].flatMap(([topicId, partitions]) =>
      partitions.map((partition) => ({
        topicId,
        partition,
        holder,
        former: request.members.find((each) =>
          each.topicIds.includes(topicId) && each.target.get(topicId)?.includes(partition)
        ) ?? null,
      }))
    )
  );
}

function isLocal(
  request: AssignmentRequest,
  { topicId, partition }: Held,
  { rackId }: AssignableMember,
) {
  return rackId !== null && request.racksOf(topicId, partition).includes(rackId) ? 1 : 0;
}

function localCount(request: AssignmentRequest, targets: ReadonlyMap<string, Partitions>): number {
  return heldOf(request, targets).reduce(
    (sum, held) => sum + isLocal(request, held, held.holder),
    0,
  );
}

function countOf(partitions: Partitions): number {
  return [...partitions.values()].reduce((sum, list) => sum + list.length, 0);
}

/** Moves that an exchange of holders adds; less than none where it takes some back. */
function addedMoves({ holder, former }: Held, to: AssignableMember): number {
  return (former === holder ? 1 : 0) - (former === to ? 1 : 0);
}

/** Who is subscribed to each topic, as a text. */
function subscribersOf({ members, partitionCounts }: AssignmentRequest): Map<Uuid, string> {
  return new Map([...partitionCounts.keys()].map((topicId) => {
    const subscribers = members.filter(({ topicIds }) => topicIds.includes(topicId));
    return [topicId, subscribers.map(({ memberId }) => memberId).join(" ")];
  }));
}

/** What two members could still do for their racks. */
function leftToDo(request: AssignmentRequest, targets: ReadonlyMap<string, Partitions>): string[] {
  const all = heldOf(request, targets);
  const subscribers = subscribersOf(request);
  const loads = new Map([...targets].map(([memberId, target]) => [memberId, countOf(target)]));
  const load = ({ memberId }: AssignableMember) => loads.get(memberId)!;
  const found: string[] = [];
  const gainOf = (held: Held, to: AssignableMember) =>
    isLocal(request, held, to) - isLocal(request, held, held.holder);
  for (const one of all) {
    for (const to of request.members) {
      const mayTake = to.topicIds.includes(one.topicId) && load(to) === load(one.holder) - 1 &&
        (request.isHomogeneous || load(to) === 0);
      const isBetter = gainOf(one, to) > 0 && addedMoves(one, to) <= 0;
      if (mayTake && isBetter) found.push(`${one.topicId} ${one.partition} to ${to.memberId}`);
    }
    for (const other of all) {
      const [a, b] = [one.holder, other.holder];
      if (a === b || !a.topicIds.includes(other.topicId) || !b.topicIds.includes(one.topicId)) {
        continue;
      }
      const isBalanced = load(a) === load(b) ||
        subscribers.get(one.topicId) === subscribers.get(other.topicId);
      const isBetter = gainOf(one, b) + gainOf(other, a) > 0 &&
        addedMoves(one, b) + addedMoves(other, a) <= 0;
      if (isBalanced && isBetter) {
        found.push(`${one.topicId} ${one.partition} against ${other.topicId} ${other.partition}`);
      }
    }
  }
  return found;
}

/** The same request with nobody's rack. */
function withoutRacks(request: AssignmentRequest): AssignmentRequest {
  return { ...request, members: request.members.map((each) => ({ ...each, rackId: null })) };
}

/** Loads from the least to the most, and how many partitions have another member than before. */
function costOf(request: AssignmentRequest, targets: ReadonlyMap<string, Partitions>) {
  const loads = [...targets.values()].map(countOf).sort((left, right) => left - right);
  const moves = heldOf(request, targets).filter(({ holder, former }) => holder !== former).length;
  return { loads, moves };
}

/** Of topics with other subscribers nobody holds two more than somebody who could take one. */
function isBalanced(request: AssignmentRequest, targets: ReadonlyMap<string, Partitions>): boolean {
  const load = ({ memberId }: AssignableMember) => countOf(targets.get(memberId)!);
  return heldOf(request, targets).every(({ topicId, holder }) =>
    request.members.every((each) =>
      !each.topicIds.includes(topicId) || load(holder) - load(each) < 2
    )
  );
}

test(
  "uniform: racks cost no balance and no moves, and no two members could do more for them",
  () => {
    let local = 0;
    let localWithoutRacks = 0;
    for (const seed of SEEDS) {
      const life = new Life(seed);
      for (let round = 0; round < 6; round++) {
        const { request } = life;
        const targets = assignUniformly(request);
        const plain = assignUniformly(withoutRacks(request));
        const [cost, plainCost] = [costOf(request, targets), costOf(request, plain)];
        expect(cost.loads).toEqual(plainCost.loads);
        expect(cost.moves).toBeLessThanOrEqual(plainCost.moves);
        expect(isBalanced(request, targets)).toBe(true);
        expect({ seed, round, left: leftToDo(request, targets) }).toEqual({
          seed,
          round,
          left: [],
        });
        const mixed = { ...request, members: [...request.members].reverse() };
        expect(assignUniformly(mixed)).toEqual(new Map(targets));
        local += localCount(request, targets);
        localWithoutRacks += localCount(request, plain);
        life.goOn(targets, round);
      }
    }
    expect(local).toBeGreaterThan(1.05 * localWithoutRacks);
  },
  60_000,
);

test("uniform: nothing moves for racks alone", () => {
  for (const seed of SEEDS) {
    const life = new Life(seed);
    const targets = assignUniformly(life.request);
    const members = life.request.members.map((each, index) => ({
      ...each,
      target: targets.get(each.memberId)!,
      rackId: RACKS[(seed + index) % RACKS.length]!,
    }));
    const again = assignUniformly({ ...life.request, members });
    for (const { memberId, target } of members) expect(again.get(memberId)).toBe(target);
  }
});

/** The most partitions that members with so many each can have in their racks: Kuhn's matching of them to places. */
function mostLocal(request: AssignmentRequest, quota: number): number {
  const places = request.members.flatMap((each) => Array.from({ length: quota }, () => each));
  const inPlace = new Array<string | undefined>(places.length);
  const racks = new Map<string, readonly string[]>();
  for (const [topicId, count] of request.partitionCounts) {
    for (let partition = 0; partition < count; partition++) {
      racks.set(`${topicId} ${partition}`, request.racksOf(topicId, partition));
    }
  }
  const find = (name: string, tried: Set<number>): boolean =>
    places.some(({ rackId }, place) => {
      if (rackId === null || !racks.get(name)!.includes(rackId) || tried.has(place)) return false;
      tried.add(place);
      const before = inPlace[place];
      if (before !== undefined && !find(before, tried)) return false;
      inPlace[place] = name;
      return true;
    });
  return [...racks.keys()].filter((name) => find(name, new Set())).length;
}

test("uniform: a new group of the same topics has as many partitions in their racks as can be", () => {
  for (const seed of SEEDS) {
    const { request } = new Life(seed);
    if (!request.isHomogeneous) continue;
    const [topicId] = request.partitionCounts.keys();
    const partitionCounts = new Map([[topicId!, 3 * request.members.length]]);
    const members = request.members.map((each) => ({ ...each, topicIds: [topicId!] }));
    const even = { ...request, members, partitionCounts };
    expect(localCount(even, assignUniformly(even))).toBe(mostLocal(even, 3));
  }
});

test("uniform: a group that grows by a member in each rack has each partition in its rack at the end", () => {
  const topicIds = [topic(0)];
  let request: AssignmentRequest = {
    members: [],
    partitionCounts: new Map([[topicIds[0]!, 12]]),
    isHomogeneous: true,
    racksOf: striped(["a", "b", "c"], 1),
  };
  for (const rackId of ["a", "b", "c"]) {
    request = { ...request, members: [...request.members, member(rackId, rackId, topicIds)] };
    const targets = assignUniformly(request);
    const members = request.members.map((each) => ({
      ...each,
      target: targets.get(each.memberId)!,
    }));
    request = { ...request, members };
  }
  const targets = new Map(request.members.map(({ memberId, target }) => [memberId, target]));
  expect(localCount(request, targets)).toBe(12);
});

test.each([true, false])(
  "uniform: of more members than partitions those in the racks have one (homogeneous: %p)",
  (isHomogeneous) => {
    const members = ["c", "c", "c", "b", "a", "b"].map((rackId, index) =>
      member(`m${index}`, rackId, isHomogeneous || index > 1 ? [topic(0)] : [topic(0), topic(1)])
    );
    const partitionCounts = new Map([
      [topic(0), 3],
      ...isHomogeneous ? [] : [[topic(1), 1]] as const,
    ]);
    const racksOf = striped(["a", "b", "c"], 1);
    const request = { members, partitionCounts, isHomogeneous, racksOf };
    const targets = assignUniformly(request);
    expect(localCount(request, targets)).toBeGreaterThanOrEqual(3);
    expect(Math.max(...[...targets.values()].map(countOf))).toBe(1);
  },
);

test("uniform: nobody gets one more for its rack where somebody could take another of it then", () => {
  const had = new Map([[topic(1), [0]]]);
  const request: AssignmentRequest = {
    members: [
      member("m0", "a", [topic(0)]),
      { ...member("m1", "b", [topic(0), topic(1)]), target: had },
      member("m2", "b", [topic(1)]),
    ],
    partitionCounts: new Map([[topic(0), 2], [topic(1), 1]]),
    isHomogeneous: false,
    racksOf: () => ["b"],
  };
  const targets = assignUniformly(request);
  expect(isBalanced(request, targets)).toBe(true);
  expect(targets.get("m0")).toEqual(new Map([[topic(0), [0, 1]]]));
});

test(
  "range: members of the same topics could not do more for their racks by changing places",
  () => {
    let local = 0;
    let localWithoutRacks = 0;
    for (const seed of SEEDS) {
      const life = new Life(seed);
      for (let round = 0; round < 4; round++) {
        const { request } = life;
        const targets = assignRanges(request);
        const plain = assignRanges(withoutRacks(request));
        for (const one of request.members) {
          // Nobody has anything but what somebody with the same topics has without racks.
          const others = request.members.filter((each) =>
            each.topicIds.join() === one.topicIds.join()
          );
          const found = others.map((each) => JSON.stringify([...plain.get(each.memberId)!]));
          expect(found).toContain(JSON.stringify([...targets.get(one.memberId)!]));
          for (const other of others) {
            const swapped = new Map(targets);
            swapped.set(one.memberId, targets.get(other.memberId)!);
            swapped.set(other.memberId, targets.get(one.memberId)!);
            expect(localCount(request, swapped)).toBeLessThanOrEqual(localCount(request, targets));
          }
        }
        const mixed = { ...request, members: [...request.members].reverse() };
        expect(assignRanges(mixed)).toEqual(new Map(targets));
        local += localCount(request, targets);
        localWithoutRacks += localCount(request, plain);
        life.goOn(targets, round);
      }
    }
    expect(local).toBeGreaterThan(1.05 * localWithoutRacks);
  },
  60_000,
);

test("range: where racks say nothing members have the ranges of their order", () => {
  for (const seed of SEEDS) {
    const { request } = new Life(seed);
    const everywhere = { ...request, racksOf: () => RACKS };
    const members = request.members.map((each) => ({ ...each, rackId: "a" }));
    const plain = assignRanges(withoutRacks(request));
    expect(assignRanges({ ...everywhere, members })).toEqual(new Map(plain));
    expect(assignRanges({ ...request, members, racksOf: () => [] })).toEqual(new Map(plain));
    expect(assignUniformly({ ...request, racksOf: () => [] }))
      .toEqual(new Map(assignUniformly(withoutRacks(request))));
  }
});

/** A group of 1,000 members with 2,000 partitions and so many kinds of subscription. */
function large(kindCount: number, racksOf: AssignmentRequest["racksOf"]): AssignmentRequest {
  const topicIds = Array.from({ length: 20 }, (_, index) => topic(index));
  const kinds = Array.from(
    { length: kindCount },
    (_, kind) => topicIds.filter((_id, at) => (kind >> at) % 2 === 0),
  );
  // Racks come in blocks, while each partition lies one rack further.
  const members = Array.from({ length: 1_000 }, (_, index) => {
    const name = `m${String(index).padStart(4, "0")}`;
    return member(name, RACKS[Math.floor(index / 400)]!, kinds[index % kindCount]!);
  });
  const partitionCounts = new Map(topicIds.map((id) => [id, 100]));
  return { members, partitionCounts, isHomogeneous: kindCount === 1, racksOf };
}

/** The shortest time that it takes, of several times. */
function timeOf(assign: Assignor, request: AssignmentRequest, rounds: number): number {
  const times = Array.from({ length: rounds }, () => {
    const startedMs = performance.now();
    assign(request);
    return performance.now() - startedMs;
  });
  return Math.min(...times);
}

test.each<[string, Assignor, number]>([
  ["uniform", assignUniformly, 1],
  ["uniform", assignUniformly, 10],
  ["uniform", assignUniformly, 1_000],
  ["range", assignRanges, 1],
])(
  "%s: racks of 1,000 members with 2,000 partitions do not hold the loop",
  (_, assign, kindCount) => {
    for (const replicationFactor of [1, 2]) {
      const request = large(kindCount, striped(["a", "b", "c"], replicationFactor));
      const rounds = kindCount > 100 ? 5 : 30;
      const plainMs = timeOf(assign, withoutRacks(request), rounds);
      // An idle machine needs a fifth of it.
      expect(timeOf(assign, request, rounds)).toBeLessThan(25 + 3 * plainMs);
    }
  },
  60_000,
);
