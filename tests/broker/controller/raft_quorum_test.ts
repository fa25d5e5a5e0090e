/** The arithmetic of a quorum against a twin that counts slowly, over every small case. */

import { expect, test } from "bun:test";
import {
  KRAFT_RULES,
  majorityOf,
  reachedByMajority,
  tally,
} from "../../../broker/controller/raft_quorum.ts";
import { SimRandom } from "../../sim/sim_random.ts";

/** All sets of `size` of `items`. */
function subsets<T>(items: readonly T[], size: number): T[][] {
  if (size === 0) return [[]];
  return items.flatMap((item, i) =>
    subsets(items.slice(i + 1), size - 1).map((rest) => [item, ...rest])
  );
}

/** Two sets of that many always meet, and no smaller number does that. */
function slowMajority(count: number): number {
  const everyone = Array.from({ length: count }, (_, i) => i);
  for (let size = 1;; size++) {
    const sets = subsets(everyone, size);
    const doMeet = sets.every((a) => sets.every((b) => a.some((one) => b.includes(one))));
    if (doMeet) return size;
  }
}

/** Of all sets that are a majority, the one whose poorest member is richest. */
function slowReached(values: readonly number[]): number {
  const majorities = subsets(values, slowMajority(values.length));
  return Math.max(...majorities.map((set) => Math.min(...set)));
}

test("majorityOf: the smallest number of which any two sets meet", () => {
  for (let count = 1; count <= 7; count++) expect(majorityOf(count)).toBe(slowMajority(count));
});

test("reachedByMajority: what the best majority has, for random voters", () => {
  const random = new SimRandom(1);
  for (let round = 0; round < 2_000; round++) {
    const values = Array.from({ length: random.between(1, 7) }, () => random.between(-1, 9));
    const before = [...values];
    expect(reachedByMajority(values)).toBe(slowReached(values));
    expect(values).toEqual(before);
  }
});

test("tally: won when a majority grants, lost when none can any more", () => {
  for (let voterCount = 1; voterCount <= 7; voterCount++) {
    const needed = slowMajority(voterCount);
    for (let granted = 0; granted <= voterCount; granted++) {
      for (let rejected = 0; granted + rejected <= voterCount; rejected++) {
        const open = voterCount - granted - rejected;
        const expected = granted >= needed ? "won" : granted + open < needed ? "lost" : "open";
        expect(tally({ voterCount, granted, rejected })).toBe(expected);
      }
    }
  }
});

test("highWatermark: never goes back, nor to what no record of the own epoch covers", () => {
  const random = new SimRandom(2);
  for (let round = 0; round < 2_000; round++) {
    const offsets = Array.from({ length: random.between(1, 5) }, () => random.between(-1, 12));
    const epochStartOffset = random.between(0, 12);
    const current = random.chance(0.5) ? -1 : random.between(epochStartOffset + 1, 13);
    const found = KRAFT_RULES.highWatermark({ offsets, epochStartOffset, current });
    const reached = slowReached(offsets);
    expect(found).toBe(reached > epochStartOffset ? Math.max(current, reached) : current);
  }
});

test("isUpToDate: the later epoch wins, then the longer log", () => {
  const logs = [0, 1, 2].flatMap((epoch) => [0, 3, 5].map((offset) => ({ epoch, offset })));
  const rank = ({ epoch, offset }: { epoch: number; offset: number }) => epoch * 100 + offset;
  for (const own of logs) {
    for (const candidate of logs) {
      expect(KRAFT_RULES.isUpToDate(candidate, own)).toBe(rank(candidate) >= rank(own));
    }
  }
});

test("grantsVote: one vote an epoch, none against a leader, no pre-vote against one that answers", () => {
  const yes = {
    isPreVote: false,
    isUpToDate: true,
    votedFor: "nobody",
    knowsLeader: false,
    trustsLeader: false,
    mayHaveForgotten: false,
  } as const;
  const cases: readonly [object, boolean][] = [
    [{}, true],
    [{ isUpToDate: false }, false],
    [{ knowsLeader: true }, false],
    [{ votedFor: "other" }, false],
    [{ votedFor: "candidate" }, true],
    [{ votedFor: "candidate", knowsLeader: true }, true],
    [{ isPreVote: true }, true],
    [{ isPreVote: true, votedFor: "other" }, true],
    [{ isPreVote: true, knowsLeader: true }, true],
    [{ isPreVote: true, knowsLeader: true, trustsLeader: true }, false],
    [{ isPreVote: true, isUpToDate: false }, false],
    [{ mayHaveForgotten: true }, false],
    [{ mayHaveForgotten: true, isPreVote: true }, false],
  ];
  for (const [change, expected] of cases) {
    expect([change, KRAFT_RULES.grantsVote({ ...yes, ...change })]).toEqual([change, expected]);
  }
});
