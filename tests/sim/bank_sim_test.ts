/** Random lives of a bank in a cluster, and proof that they notice what they are for. */

import { describe, expect, test } from "bun:test";
import { ClusterWorld } from "./cluster_world.ts";
import { PLANTED_BANK_FAULTS } from "./planted_bank_faults.ts";
import { type FailedSeed, freshSeeds, runSeed } from "./seeds.ts";

/** Virtual seconds of faults. */
const STEPS = 10;
const LONE_SEEDS = 10;
const SEEDS = 16;
/** A fault that more lives than this do not notice is not noticed. */
const SEEDS_PER_FAULT = 200;
const TIMEOUT_MS = 900_000;

test.each([[1, LONE_SEEDS], [3, SEEDS]])(
  "ClusterWorld: the books of a bank on %d nodes are right, %d fresh seeds",
  async (nodes, seedCount) => {
    const sums = { transfers: 0, abortedTransfers: 0, audited: 0, tellerDeaths: 0 };
    const failed: string[] = [];
    for (const seed of freshSeeds(seedCount)) {
      const found = await runSeed(seed, async () => {
        const counts = await ClusterWorld.run({ seed, steps: STEPS, nodes, hasBank: true });
        for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += counts[key];
      });
      const command = `bun scripts/sim.ts bank --seed ${seed} --steps ${STEPS} --nodes ${nodes}`;
      if (found !== null) failed.push(`${command}: ${found.failure.message}`);
    }
    expect(failed).toEqual([]);
    // Lives in which little happens show little.
    expect(sums.transfers).toBeGreaterThan(10 * seedCount);
    expect(sums.abortedTransfers).toBeGreaterThan(seedCount / 4);
    expect(sums.audited).toBeGreaterThan(50 * seedCount);
    expect(sums.tellerDeaths).toBeGreaterThan(seedCount);
  },
  TIMEOUT_MS,
);

describe("ClusterWorld: the bank notices", () => {
  for (const [name, { nodes, patch, firstSeed = 1 }] of Object.entries(PLANTED_BANK_FAULTS)) {
    test(name, async () => {
      let found: FailedSeed | null = null;
      const restore = patch!();
      try {
        for (let seed = firstSeed; seed < firstSeed + SEEDS_PER_FAULT && found === null; seed++) {
          found = await runSeed(seed, async () => {
            await ClusterWorld.run({ seed, steps: STEPS, nodes, hasBank: true });
          });
        }
      } finally {
        restore();
      }
      expect(found).not.toBeNull();
    }, TIMEOUT_MS);
  }
});
