/** Random lives of a bank in a cluster, and proof that they notice what they are for. */

import { afterEach, describe, expect, test } from "bun:test";
import { lifeThatNotices, liveThrough, STEPS, tellLifeUnderWay } from "./cluster_lives.ts";
import { ClusterWorld } from "./cluster_world.ts";
import { PLANTED_BANK_FAULTS } from "./planted_bank_faults.ts";

/** A few banks do far more than most: with fewer lives, what they do together would be chance. */
const LONE_SEEDS = 24;
const SEEDS = 28;
/** A fault that more lives than this do not notice is not noticed. */
const SEEDS_PER_FAULT = 200;
const TIMEOUT_MS = 900_000;

afterEach(tellLifeUnderWay);

test.each([[1, LONE_SEEDS], [3, SEEDS]])(
  "ClusterWorld: the books of a bank on %d nodes are right, %d fresh seeds",
  async (nodes, seedCount) => {
    const sum = await liveThrough(seedCount, () => ({ nodes }), { hasBank: true });
    // Lives in which little happens show little.
    expect(sum("transfers")).toBeGreaterThan(10 * seedCount);
    expect(sum("abortedTransfers")).toBeGreaterThan(seedCount / 4);
    expect(sum("audited")).toBeGreaterThan(50 * seedCount);
    expect(sum("tellerDeaths")).toBeGreaterThan(seedCount);
  },
  TIMEOUT_MS,
);

test(
  "ClusterWorld: seed 4167292562, a coordinator waits for its log while the controller changes",
  async () => {
    await ClusterWorld.run({ seed: 4167292562, steps: STEPS, nodes: 3, hasBank: true });
  },
  TIMEOUT_MS,
);

describe("ClusterWorld: the bank notices", () => {
  for (const [name, fault] of Object.entries(PLANTED_BANK_FAULTS)) {
    test(name, async () => {
      const found = await lifeThatNotices(fault, SEEDS_PER_FAULT, { hasBank: true });
      expect(found).not.toBeNull();
    }, TIMEOUT_MS);
  }
});
