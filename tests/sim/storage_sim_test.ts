/** Random lives of the store, and proof that they notice what they are for. */

import { describe, expect, test } from "bun:test";
import { PLANTED_FAULTS } from "./planted_faults.ts";
import { type FailedSeed, freshSeeds, runSeed } from "./seeds.ts";
import { noCounts, type StorageCounts, StorageWorld } from "./storage_world.ts";

const STEPS = 120;
const SEEDS = 500;
/** A fault that more lives than this do not notice is not noticed. */
const SEEDS_PER_FAULT = 150;

test(
  "StorageWorld: what was acknowledged is kept, what was not written is not served, 500 fresh seeds",
  async () => {
    const sum = noCounts();
    const failed: FailedSeed[] = [];
    for (const seed of freshSeeds(SEEDS)) {
      const found = await runSeed(seed, async () => {
        const counts = await StorageWorld.run({ seed, steps: STEPS });
        for (const key of Object.keys(sum) as (keyof StorageCounts)[]) sum[key] += counts[key];
      });
      if (found !== null) failed.push(found);
    }
    const texts = failed.map(({ seed, failure }) =>
      `bun scripts/sim.ts storage --seed ${seed}: ${failure.message}`
    );
    expect(texts).toEqual([]);
    // Lives in which little happens show little.
    expect(sum.powerCuts).toBeGreaterThan(SEEDS);
    expect(sum.kills).toBeGreaterThan(SEEDS);
    expect(sum.cleanStops).toBeGreaterThan(SEEDS);
    expect(sum.brokenStarts).toBeGreaterThan(SEEDS / 2);
    expect(sum.weathers).toBeGreaterThan(SEEDS);
    expect(sum.appends).toBeGreaterThan(20 * SEEDS);
    expect(sum.cutRecords).toBeGreaterThan(SEEDS);
  },
  180_000,
);

test.each([
  [
    761614790,
    "a truncation of everything leaves what was cleaned for the sake of what it has dropped",
  ],
  [
    1825881468,
    "a job that was cut short on a slow disk gives its files back before they are counted",
  ],
])("StorageWorld: seed %d, %s", async (seed) => {
  await StorageWorld.run({ seed, steps: STEPS });
});

test("StorageWorld: the same seed is the same life", async () => {
  const [first, second] = [[], []] as string[][];
  const counts = await StorageWorld.run({
    seed: 7,
    steps: STEPS,
    trace: (line) => first!.push(line),
  });
  const again = await StorageWorld.run({
    seed: 7,
    steps: STEPS,
    trace: (line) => second!.push(line),
  });
  expect(again).toEqual(counts);
  expect(second).toEqual(first!);
});

describe("StorageWorld: notices", () => {
  for (const [name, { plant, weathers }] of Object.entries(PLANTED_FAULTS)) {
    test(name, async () => {
      let found: FailedSeed | null = null;
      for (let seed = 1; seed <= SEEDS_PER_FAULT && found === null; seed++) {
        found = await runSeed(seed, async () => {
          await StorageWorld.run({
            seed,
            steps: STEPS,
            wrap: plant(),
            ...(weathers === undefined ? {} : { weathers }),
          });
        });
      }
      expect(found).not.toBeNull();
    }, 120_000);
  }
});
