/** Random lives of a quorum, and proof that they notice what they are for. */

import { describe, expect, test } from "bun:test";
import { RAFT_FAULTS } from "./raft_faults.ts";
import { noRaftCounts, type RaftCounts, RaftWorld } from "./raft_world.ts";
import { type FailedSeed, freshSeeds, runSeed } from "./seeds.ts";

const STEPS = 120;
const SEEDS = 150;
/** A fault that more lives than this do not notice is not noticed. */
const SEEDS_PER_FAULT = 300;

test(
  "RaftWorld: one leader an epoch, and what is committed stays, 150 fresh seeds",
  async () => {
    const sum = noRaftCounts();
    const failed: FailedSeed[] = [];
    for (const seed of freshSeeds(SEEDS)) {
      const found = await runSeed(seed, async () => {
        const counts = await RaftWorld.run({ seed, steps: STEPS });
        for (const key of Object.keys(sum) as (keyof RaftCounts)[]) sum[key] += counts[key];
      });
      if (found !== null) failed.push(found);
    }
    const texts = failed.map(({ seed, failure }) =>
      `bun scripts/sim.ts raft --seed ${seed}: ${failure.message}`
    );
    expect(texts).toEqual([]);
    // Lives in which little happens show little.
    expect(sum.leaders).toBeGreaterThan(3 * SEEDS);
    expect(sum.commits).toBeGreaterThan(10 * SEEDS);
    expect(sum.crashes).toBeGreaterThan(4 * SEEDS);
    expect(sum.cuts).toBeGreaterThan(5 * SEEDS);
    expect(sum.truncations).toBeGreaterThan(SEEDS / 5);
    expect(sum.voterChanges).toBeGreaterThan(SEEDS / 2);
    expect(sum.upgrades).toBeGreaterThan(SEEDS / 50);
    expect(sum.snapshots).toBeGreaterThan(SEEDS);
    expect(sum.installs).toBeGreaterThan(SEEDS / 10);
    expect(sum.wipes).toBeGreaterThan(SEEDS / 20);
  },
  300_000,
);

test("RaftWorld: the same seed is the same life", async () => {
  const lives = [[], []] as string[][];
  const counts: RaftCounts[] = [];
  for (const lines of lives) {
    counts.push(
      await RaftWorld.run({ seed: 7, steps: STEPS, trace: (line) => lines.push(line) }),
    );
  }
  expect(counts[1]).toEqual(counts[0]!);
  expect(lives[1]).toEqual(lives[0]!);
});

describe("RaftWorld: notices", () => {
  for (const [name, fault] of Object.entries(RAFT_FAULTS)) {
    test(name, async () => {
      let found: FailedSeed | null = null;
      for (let seed = 1; seed <= SEEDS_PER_FAULT && found === null; seed++) {
        found = await runSeed(seed, async () => {
          await RaftWorld.run({ seed, steps: STEPS, ...fault });
        });
      }
      expect(found).not.toBeNull();
    }, 300_000);
  }
});
