import { expect, test } from "bun:test";
import type {
  AssignableMember,
  AssignmentRequest,
  Partitions,
} from "../../../../broker/groups/assignors/assignor.ts";
import { assignRanges } from "../../../../broker/groups/assignors/range.ts";
import { assignUniformly } from "../../../../broker/groups/assignors/uniform.ts";
import type { Uuid } from "../../../../protocol/types.ts";
import { SimRandom } from "../../../sim/sim_random.ts";

const NOTHING: Partitions = new Map();

function topic(index: number): Uuid {
  return `topic-${String(index).padStart(4, "0")}` as Uuid;
}

function member(memberId: string, topicIds: readonly Uuid[], target = NOTHING): AssignableMember {
  return { memberId, instanceId: null, rackId: null, topicIds, target };
}

function homogeneous(memberCount: number, topicCount: number, partitions: number) {
  const topicIds = Array.from({ length: topicCount }, (_, index) => topic(index));
  return {
    members: Array.from({ length: memberCount }, (_, index) => member(`m${index}`, topicIds)),
    partitionCounts: new Map(topicIds.map((id) => [id, partitions])),
    isHomogeneous: true,
    racksOf: () => [],
  };
}

/** With what the assignor gave as what they have. */
function after(
  request: AssignmentRequest,
  targets: ReadonlyMap<string, Partitions>,
): AssignmentRequest {
  const members = request.members.map((each) => ({
    ...each,
    target: targets.get(each.memberId) ?? NOTHING,
  }));
  return { ...request, members };
}

function countOf(partitions: Partitions | undefined): number {
  return [...partitions?.values() ?? []].reduce((sum, list) => sum + list.length, 0);
}

/** How many partitions have another member than before. */
function movesTo(request: AssignmentRequest, targets: ReadonlyMap<string, Partitions>): number {
  let moves = 0;
  for (const { memberId, target, topicIds } of request.members) {
    for (const [topicId, partitions] of target) {
      const kept = new Set(targets.get(memberId)?.get(topicId));
      const count = request.partitionCounts.get(topicId) ?? 0;
      if (!topicIds.includes(topicId)) continue;
      moves += partitions.filter((partition) => partition < count && !kept.has(partition)).length;
    }
  }
  return moves;
}

/** Every partition that somebody wants has exactly one member, who is subscribed to it. */
function expectWhole(request: AssignmentRequest, targets: ReadonlyMap<string, Partitions>): void {
  const owners = new Map<string, string>();
  for (const { memberId, topicIds } of request.members) {
    for (const [topicId, partitions] of targets.get(memberId) ?? []) {
      expect(topicIds).toContain(topicId);
      expect(partitions.length).toBeGreaterThan(0);
      expect([...partitions].sort((left, right) => left - right)).toEqual([...partitions]);
      for (const partition of partitions) {
        expect(owners.get(`${topicId} ${partition}`)).toBeUndefined();
        owners.set(`${topicId} ${partition}`, memberId);
      }
    }
  }
  const wanted = new Set(request.members.flatMap(({ topicIds }) => topicIds));
  const total = [...wanted].reduce((sum, id) => sum + request.partitionCounts.get(id)!, 0);
  expect(owners.size).toBe(total);
}

function random(seed: number): AssignmentRequest {
  const chance = new SimRandom(seed);
  const below = (count: number) => chance.uint32() % count;
  const topicIds = Array.from({ length: 1 + below(6) }, (_, index) => topic(index));
  const partitionCounts = new Map(topicIds.map((id) => [id, 1 + below(9)]));
  const isHomogeneous = below(2) === 0;
  const members = Array.from({ length: 1 + below(8) }, (_, index) => {
    const own = isHomogeneous ? topicIds : topicIds.filter(() => below(3) > 0);
    return member(`m${index}`, own);
  });
  return { members, partitionCounts, isHomogeneous, racksOf: () => [] };
}

/** The group as it is some time later: members and topics came and went. */
function changed(request: AssignmentRequest, seed: number): AssignmentRequest {
  const chance = new SimRandom(seed);
  const below = (count: number) => chance.uint32() % count;
  const members = request.members.filter(() => below(5) > 0);
  const topicIds = [...request.partitionCounts.keys()];
  const fresh = request.isHomogeneous ? topicIds : topicIds.filter(() => below(2) > 0);
  if (below(2) === 0 || members.length === 0) members.push(member(`n${seed}`, fresh));
  const partitionCounts = new Map(
    [...request.partitionCounts].map(([id, count]) => [id, count + below(3)]),
  );
  return { ...request, members, partitionCounts };
}

const seeds = Array.from({ length: 400 }, (_, index) => index + 1);

test.each([["uniform", assignUniformly], ["range", assignRanges]] as const)(
  "%s: every partition has one subscriber, whatever the order of the members and the past",
  (_, assign) => {
    for (const seed of seeds) {
      let request = random(seed);
      for (let round = 0; round < 5; round++) {
        const targets = assign(request);
        expectWhole(request, targets);
        const mixed = [...request.members].reverse();
        expect(assign({ ...request, members: mixed })).toEqual(new Map(targets));
        request = changed(after(request, targets), seed * 10 + round);
      }
    }
  },
);

test("uniform: nothing moves while nothing changes, and the same objects come back", () => {
  for (const seed of seeds) {
    const request = random(seed);
    const settled = after(request, assignUniformly(request));
    const again = assignUniformly(settled);
    for (const { memberId, target } of settled.members) {
      expect(again.get(memberId)).toBe(target);
    }
  }
});

test("uniform: with the same topics for all, loads differ by one at most and no needless move is made", () => {
  for (const seed of seeds) {
    let request = random(seed);
    if (!request.isHomogeneous) continue;
    for (let round = 0; round < 5; round++) {
      const targets = assignUniformly(request);
      const loads = request.members.map(({ memberId }) => countOf(targets.get(memberId)));
      expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
      const total = loads.reduce((sum, load) => sum + load, 0);
      const quota = Math.floor(total / request.members.length);
      // Who has more than its share must give that up, and nobody anything else.
      const held = request.members.map((each) => countOf(each.target));
      const over = held.reduce((sum, count) => sum + Math.max(0, count - quota), 0);
      const mayKeep = Math.min(
        total % request.members.length,
        held.filter((count) => count > quota).length,
      );
      expect(movesTo(request, targets)).toBe(Math.max(0, over - mayKeep));
      request = changed(after(request, targets), seed * 10 + round);
    }
  }
});

test("uniform: with other topics for some, nobody could take one from somebody who has two more", () => {
  for (const seed of seeds) {
    let request: AssignmentRequest = { ...random(seed), isHomogeneous: false };
    for (let round = 0; round < 4; round++) {
      const targets = assignUniformly(request);
      const loads = new Map(
        request.members.map(({ memberId }) => [memberId, countOf(targets.get(memberId))]),
      );
      for (const rich of request.members) {
        for (const topicId of targets.get(rich.memberId)!.keys()) {
          for (const poor of request.members) {
            if (!poor.topicIds.includes(topicId)) continue;
            expect(loads.get(rich.memberId)! - loads.get(poor.memberId)!).toBeLessThan(2);
          }
        }
      }
      request = { ...changed(after(request, targets), seed * 10 + round), isHomogeneous: false };
    }
  }
});

test("range: topics that are partitioned alike are cut alike, those with an instance id first", () => {
  const request = homogeneous(3, 2, 7);
  const [first, second, third] = request.members;
  const members = [first!, { ...second!, instanceId: "b" }, { ...third!, instanceId: "a" }];
  const targets = assignRanges({ ...request, members });
  expect(targets.get("m2")).toEqual(new Map([[topic(0), [0, 1, 2]], [topic(1), [0, 1, 2]]]));
  expect(targets.get("m1")).toEqual(new Map([[topic(0), [3, 4]], [topic(1), [3, 4]]]));
  expect(targets.get("m0")).toEqual(new Map([[topic(0), [5, 6]], [topic(1), [5, 6]]]));
});

test.each([["uniform", assignUniformly], ["range", assignRanges]] as const)(
  "%s: 1,000 members with 2,000 partitions do not hold the loop",
  (_, assign) => {
    let request: AssignmentRequest = homogeneous(1_000, 20, 100);
    let bestMs = Infinity;
    for (let round = 0; round < 20; round++) {
      const startedMs = performance.now();
      const targets = assign(request);
      bestMs = Math.min(bestMs, performance.now() - startedMs);
      const rest = after(request, targets);
      const topicIds = request.members[0]!.topicIds;
      request = { ...rest, members: [...rest.members.slice(1), member(`n${round}`, topicIds)] };
    }
    // An idle machine needs a fifth of it.
    expect(bestMs).toBeLessThan(10);
  },
);

test("uniform: 1,000 members of ten kinds of subscription do not hold the loop", () => {
  const topicIds = Array.from({ length: 20 }, (_, index) => topic(index));
  const kinds = Array.from(
    { length: 10 },
    (_, kind) => topicIds.filter((_id, index) => index % 10 !== kind),
  );
  const request = {
    members: Array.from({ length: 1_000 }, (_, index) => member(`m${index}`, kinds[index % 10]!)),
    partitionCounts: new Map(topicIds.map((id) => [id, 100])),
    isHomogeneous: false,
    racksOf: () => [],
  };
  let bestMs = Infinity;
  for (let round = 0; round < 20; round++) {
    const startedMs = performance.now();
    assignUniformly(request);
    bestMs = Math.min(bestMs, performance.now() - startedMs);
  }
  expect(bestMs).toBeLessThan(10);
});
