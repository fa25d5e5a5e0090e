/** Random lives of whole clusters, and proof that they notice what they are for. */

import { describe, expect, test } from "bun:test";
import { type ClusterCounts, ClusterWorld, type ClusterWorldOptions } from "./cluster_world.ts";
import { PLANTED_CLUSTER_FAULTS } from "./planted_cluster_faults.ts";
import { type FailedSeed, freshSeeds, runSeed } from "./seeds.ts";

/** Virtual seconds of faults. */
const STEPS = 15;
const SEEDS = 40;
const TRIOS = 8;
/** A fault that more lives than this do not notice is not noticed. */
const SEEDS_PER_FAULT = 60;

/** Lives through fresh seeds. Returns: what happened in all of them. */
async function liveThrough(
  count: number,
  size: Pick<ClusterWorldOptions, "nodes" | "replicationFactor">,
): Promise<(key: keyof ClusterCounts) => number> {
  const sums = new Map<string, number>();
  const failed: FailedSeed[] = [];
  for (const seed of freshSeeds(count)) {
    const found = await runSeed(seed, async () => {
      const counts = await ClusterWorld.run({ seed, steps: STEPS, ...size });
      for (const [key, count] of Object.entries(counts)) {
        sums.set(key, (sums.get(key) ?? 0) + Number(count));
      }
    });
    if (found !== null) failed.push(found);
  }
  const texts = failed.map(({ seed, failure }) =>
    `bun scripts/sim.ts cluster --seed ${seed} --steps ${STEPS} ${JSON.stringify(size)}: ` +
    failure.message
  );
  expect(texts).toEqual([]);
  return (key) => sums.get(key) ?? 0;
}

test(
  `ClusterWorld: a single node keeps what it acknowledged, ${SEEDS} fresh seeds`,
  async () => {
    const sum = await liveThrough(SEEDS, { nodes: 1 });
    // Lives in which little happens show little.
    expect(sum("starts")).toBeGreaterThan(2 * SEEDS);
    expect(sum("faults")).toBeGreaterThan(4 * SEEDS);
    expect(sum("acknowledged")).toBeGreaterThan(200 * SEEDS);
    expect(sum("commits")).toBeGreaterThan(20 * SEEDS);
    expect(sum("comparedBatches")).toBeGreaterThan(200 * SEEDS);
  },
  300_000,
);

test(
  `ClusterWorld: three nodes elect, register and serve whatever happens, ${TRIOS} fresh seeds`,
  async () => {
    const sum = await liveThrough(TRIOS, { nodes: 3, replicationFactor: 1 });
    expect(sum("starts")).toBeGreaterThan(4 * TRIOS);
    expect(sum("acknowledged")).toBeGreaterThan(100 * TRIOS);
  },
  300_000,
);

test.each([1, 3])("ClusterWorld: the same seed is the same life of %d nodes", async (nodes) => {
  const live = async () => {
    const lines: string[] = [];
    const counts = await ClusterWorld.run({
      seed: 7,
      steps: STEPS,
      nodes,
      trace: (line) => lines.push(line),
    });
    return { lines, counts };
  };
  const [first, second] = [await live(), await live()];
  expect(second.counts).toEqual(first.counts);
  expect(second.lines).toEqual(first.lines);
}, 60_000);

describe("ClusterWorld: notices", () => {
  for (const [name, fault] of Object.entries(PLANTED_CLUSTER_FAULTS)) {
    test(name, async () => {
      let found: FailedSeed | null = null;
      const restore = fault.patch?.();
      try {
        const { firstSeed = 1 } = fault;
        const endSeed = firstSeed + SEEDS_PER_FAULT;
        for (let seed = firstSeed; seed < endSeed && found === null; seed++) {
          found = await runSeed(seed, async () => {
            await ClusterWorld.run({
              seed,
              steps: STEPS,
              nodes: fault.nodes,
              isWiped: false,
              ...(fault.healMs !== undefined && { healMs: fault.healMs }),
              ...(fault.wrap !== undefined && { wrap: fault.wrap() }),
              ...(fault.faults !== undefined && { faults: fault.faults }),
            });
          });
        }
      } finally {
        restore?.();
      }
      expect(found).not.toBeNull();
    }, 300_000);
  }
});
