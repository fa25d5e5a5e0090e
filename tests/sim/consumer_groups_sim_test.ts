/** Groups of both protocols under faults. One seed again: WEIR_SEED=7 bun test tests/sim/consumer_groups_sim_test.ts */

import { describe, expect, test } from "bun:test";
import { ConsumerGroupsWorld } from "./consumer_groups_world.ts";
import { PLANTED_GROUP_FAULTS, type PlantedGroupFault } from "./planted_group_faults.ts";
import { type FailedSeed, runSeed } from "./seeds.ts";

const SEEDS = process.env["WEIR_SEED"] === undefined ? [1, 2] : [Number(process.env["WEIR_SEED"])];

/** A fault that more lives than this do not notice is not noticed. */
const SEEDS_PER_FAULT = 12;

/** Generous, for a machine that does other things too. */
const TIMEOUT_MS = 180_000;

async function run(seed: number, shape: {
  readonly groupCount: number;
  readonly consumersPerGroup: number;
  readonly hours: number;
  readonly classicShare: number;
}) {
  const { hours, ...options } = shape;
  try {
    return await ConsumerGroupsWorld.run({ ...options, seed, faultsMs: hours * 3_600_000 });
  } catch (error) {
    throw new Error(`Seed ${seed}, ${JSON.stringify(shape)}: ${error}`, { cause: error });
  }
}

for (const seed of SEEDS) {
  test(
    `ConsumerGroup: groups of both protocols settle after half an hour of faults, seed ${seed}`,
    async () => {
      const counts = await run(seed, {
        groupCount: 4,
        consumersPerGroup: 5,
        hours: 0.5,
        classicShare: 0.6,
      });
      expect(counts.commits).toBeGreaterThan(500);
      expect(counts.crashes).toBeGreaterThan(0);
      expect(counts.departures).toBeGreaterThan(0);
      expect(counts.freezes).toBeGreaterThan(0);
      expect(counts.refusedCommits).toBeGreaterThan(0);
      expect(counts.migrations).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );
}

test("ConsumerGroup: hundreds of members settle after twenty minutes of faults", async () => {
  const counts = await run(100, {
    groupCount: 1,
    consumersPerGroup: 200,
    hours: 0.33,
    classicShare: 0,
  });
  expect(counts.rebalances).toBeGreaterThan(10);
}, TIMEOUT_MS);

/** Plants a fault and lives until it is noticed. Returns: the life that did; null where none does. */
async function lifeThatNotices(
  { firstSeed = 1, patch }: PlantedGroupFault,
): Promise<FailedSeed | null> {
  const restore = patch();
  try {
    for (let seed = firstSeed; seed < firstSeed + SEEDS_PER_FAULT; seed++) {
      const found = await runSeed(seed, async () => {
        await run(seed, { groupCount: 2, consumersPerGroup: 4, hours: 1 / 12, classicShare: 0.4 });
      });
      if (found !== null) return found;
    }
  } finally {
    restore();
  }
  return null;
}

describe("ConsumerGroupsWorld: it notices", () => {
  for (const [name, fault] of Object.entries(PLANTED_GROUP_FAULTS)) {
    test(name, async () => {
      expect(await lifeThatNotices(fault)).not.toBeNull();
    }, TIMEOUT_MS);
  }
});
