/** Random lives of whole clusters, and proof that they notice what they are for. */

import { describe, expect, test } from "bun:test";
import { type ClusterCounts, type ClusterSize, ClusterWorld, mixedSize } from "./cluster_world.ts";
import { PLANTED_CLUSTER_FAULTS } from "./planted_cluster_faults.ts";
import { type FailedSeed, freshSeeds, runSeed } from "./seeds.ts";

/** Virtual seconds of faults. */
const STEPS = 10;
const LONE_SEEDS = 40;
const SEEDS = 300;
/** A fault that more lives than this do not notice is not noticed. */
const SEEDS_PER_FAULT = 300;
const TIMEOUT_MS = 900_000;

/** Lives through fresh seeds. Returns: what happened in all of them. */
async function liveThrough(
  count: number,
  size: (index: number) => ClusterSize,
): Promise<(key: keyof ClusterCounts) => number> {
  const sums = new Map<string, number>();
  const failed: string[] = [];
  for (const [index, seed] of freshSeeds(count).entries()) {
    const found = await runSeed(seed, async () => {
      const counts = await ClusterWorld.run({ seed, steps: STEPS, ...size(index) });
      for (const [key, count] of Object.entries(counts)) {
        sums.set(key, (sums.get(key) ?? 0) + Number(count));
      }
    });
    if (found !== null) failed.push(`${commandOf(seed, size(index))}: ${found.failure.message}`);
  }
  expect(failed).toEqual([]);
  return (key) => sums.get(key) ?? 0;
}

/** What repeats a seed. */
function commandOf(seed: number, { nodes, replicationFactor }: ClusterSize): string {
  const factor = replicationFactor === undefined
    ? ""
    : ` --replication-factor ${replicationFactor}`;
  return `bun scripts/sim.ts cluster --seed ${seed} --steps ${STEPS} --nodes ${nodes}${factor}`;
}

test(
  `ClusterWorld: a single node keeps what it acknowledged, ${LONE_SEEDS} fresh seeds`,
  async () => {
    const sum = await liveThrough(LONE_SEEDS, () => ({ nodes: 1 }));
    // Lives in which little happens show little.
    expect(sum("starts")).toBeGreaterThan(2 * LONE_SEEDS);
    expect(sum("faults")).toBeGreaterThan(4 * LONE_SEEDS);
    expect(sum("acknowledged")).toBeGreaterThan(50 * LONE_SEEDS);
    expect(sum("commits")).toBeGreaterThan(5 * LONE_SEEDS);
    expect(sum("comparedBatches")).toBeGreaterThan(50 * LONE_SEEDS);
  },
  TIMEOUT_MS,
);

test(
  `ClusterWorld: three to five nodes lose nothing and go on, ${SEEDS} fresh seeds`,
  async () => {
    const sum = await liveThrough(SEEDS, mixedSize);
    expect(sum("starts")).toBeGreaterThan(5 * SEEDS);
    expect(sum("elections")).toBeGreaterThan(SEEDS);
    expect(sum("reassignments")).toBeGreaterThan(SEEDS / 2);
    expect(sum("voterChanges")).toBeGreaterThan(SEEDS / 10);
    expect(sum("faults")).toBeGreaterThan(6 * SEEDS);
    expect(sum("acknowledged")).toBeGreaterThan(100 * SEEDS);
    expect(sum("comparedBatches")).toBeGreaterThan(100 * SEEDS);
  },
  TIMEOUT_MS,
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
    }, TIMEOUT_MS);
  }
});
