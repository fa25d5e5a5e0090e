/** Groups under faults. One seed again: WEIR_SEED=7 bun test tests/sim/groups_sim_test.ts */

import { expect, test } from "bun:test";
import { GroupsWorld } from "./groups_world.ts";

const SEEDS = process.env["WEIR_SEED"] === undefined
  ? [1, 2, 3, 4]
  : [Number(process.env["WEIR_SEED"])];

/** Generous, for a machine that does other things too. */
const TIMEOUT_MS = 120_000;

async function run(seed: number, groupCount: number, consumersPerGroup: number, hours: number) {
  try {
    return await GroupsWorld.run({
      seed,
      groupCount,
      consumersPerGroup,
      faultsMs: hours * 3_600_000,
    });
  } catch (error) {
    throw new Error(`Seed ${seed}, ${groupCount} groups of ${consumersPerGroup}: ${error}`, {
      cause: error,
    });
  }
}

for (const seed of SEEDS) {
  test(`GroupCoordinator: groups of 8 settle after an hour of faults, seed ${seed}`, async () => {
    const counts = await run(seed, 4, 8, 1);
    expect(counts.commits).toBeGreaterThan(1_000);
    expect(counts.crashes).toBeGreaterThan(0);
    expect(counts.departures).toBeGreaterThan(0);
    expect(counts.freezes).toBeGreaterThan(0);
    expect(counts.refusedCommits).toBeGreaterThan(0);
  }, TIMEOUT_MS);
}

test(
  "GroupCoordinator: hundreds of members in two groups settle after half an hour of faults",
  async () => {
    const counts = await run(100, 2, 150, 0.5);
    expect(counts.rebalances).toBeGreaterThan(10);
  },
  TIMEOUT_MS,
);
