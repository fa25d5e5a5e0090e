/** Random lives of a compacted log against a slow model. `WEIR_SEED=n` runs one seed again. */

import { expect, test } from "bun:test";
import { testSeeds } from "../sim/sim_random.ts";
import { CompactionLife, type LifeCounts } from "./compaction_life.ts";

const STEPS = 120;

test("Cleaner: leaves what Kafka's rules leave, whatever happens", async () => {
  const seeds = testSeeds(25);
  const sum: LifeCounts = {
    cleanings: 0,
    cutShort: 0,
    passes: 0,
    dropped: 0,
    emptied: 0,
    horizons: 0,
    crashes: 0,
  };
  for (const seed of seeds) {
    const life = new CompactionLife(seed);
    try {
      await life.run(STEPS);
    } catch (failure) {
      const hint = `WEIR_SEED=${seed} bun test tests/storage/compaction_test.ts`;
      throw new Error(`Seed ${seed} failed: ${hint}`, { cause: failure });
    }
    for (const key of Object.keys(sum) as (keyof LifeCounts)[]) sum[key] += life.counts[key];
  }
  // A run in which little happens shows little.
  if (seeds.length > 1) {
    for (const count of Object.values(sum)) expect(count).toBeGreaterThan(seeds.length / 2);
  }
}, 600_000);
