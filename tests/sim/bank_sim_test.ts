/** Random lives of a bank in a cluster, and proof that they notice what they are for. */

import { afterEach, describe, expect, test } from "bun:test";
import { lifeThatNotices, liveThrough, tellLifeUnderWay } from "./cluster_lives.ts";
import { PLANTED_BANK_FAULTS } from "./planted_bank_faults.ts";

const LONE_SEEDS = 10;
const SEEDS = 16;
/** A fault that more lives than this do not notice is not noticed. */
const SEEDS_PER_FAULT = 200;
const TIMEOUT_MS = 900_000;

afterEach(tellLifeUnderWay);

test.each([[1, LONE_SEEDS], [3, SEEDS]])(
  "ClusterWorld: the books of a bank on %d nodes are right, %d fresh seeds",
  async (nodes, seedCount) => {
    const sum = await liveThrough(seedCount, () => ({ nodes }), { hasBank: true });
    // Lives in which little happens show little. Few banks do far more than most, so that the bars are low.
    expect(sum("transfers")).toBeGreaterThan(seedCount);
    expect(sum("abortedTransfers")).toBeGreaterThan(0);
    expect(sum("audited")).toBeGreaterThan(50 * seedCount);
    expect(sum("tellerDeaths")).toBeGreaterThan(seedCount);
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
