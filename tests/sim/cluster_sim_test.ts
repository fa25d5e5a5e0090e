/** Random lives of whole clusters, and proof that they notice what they are for. */

import { afterEach, describe, expect, test } from "bun:test";
import { lifeThatNotices, liveThrough, STEPS, tellLifeUnderWay } from "./cluster_lives.ts";
import { ClusterWorld, mixedSize } from "./cluster_world.ts";
import { PLANTED_CLUSTER_FAULTS } from "./planted_cluster_faults.ts";

const LONE_SEEDS = 40;
const SEEDS = 300;
/** A fault that more lives than this do not notice is not noticed. */
const SEEDS_PER_FAULT = 300;
const TIMEOUT_MS = 900_000;

afterEach(tellLifeUnderWay);

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
      const found = await lifeThatNotices(fault, SEEDS_PER_FAULT, { isWiped: false });
      expect(found).not.toBeNull();
    }, TIMEOUT_MS);
  }
});
