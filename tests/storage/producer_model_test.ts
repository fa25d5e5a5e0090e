/** Random lives of producers against their slow twin. `WEIR_SEED=n` runs one seed again. */

import { expect, test } from "bun:test";
import { UnreplicatedTransactions } from "../../storage/unreplicated_transactions.ts";
import { SimRandom, testSeeds } from "../sim/sim_random.ts";
import { ProducerRun } from "./producer_model.ts";

const STEPS = 600;

test("ProducerState, ProducerTable: know what their slow twin knows, whatever happens", () => {
  const seeds = testSeeds(100);
  const sum: Record<string, number> = {};
  for (const seed of seeds) {
    const run = new ProducerRun(seed);
    try {
      run.run(STEPS);
    } catch (failure) {
      const hint = `WEIR_SEED=${seed} bun test tests/storage/producer_model_test.ts`;
      throw new Error(`Seed ${seed} failed: ${hint}`, { cause: failure });
    }
    for (const [what, count] of Object.entries(run.counts)) sum[what] = (sum[what] ?? 0) + count;
  }
  if (seeds.length === 1) return;
  // A run in which little happens shows little.
  const happened = ["batches", "duplicates", "transactions", "forgotten", "expired", "restarts"];
  for (const what of happened) expect([what, sum[what]! > 5 * seeds.length]).toEqual([what, true]);
}, 120_000);

test("UnreplicatedTransactions: the smallest first offset, never past it where entries are joined", () => {
  let joined = 0;
  for (const seed of testSeeds(20)) {
    const random = new SimRandom(seed);
    const transactions = new UnreplicatedTransactions();
    const isLong = seed % 2 === 1;
    let plain: { readonly first: number; readonly last: number }[] = [];
    let added = 0;
    let end = 0;
    for (let step = 0; step < 4000; step++) {
      end += random.between(1, 5);
      const first = Math.max(0, end - random.between(1, isLong ? 3 : 50));
      transactions.add(first, end);
      plain.push({ first, last: end });
      added++;
      if (!random.chance(isLong ? 0.005 : 0.2)) continue;
      const isAll = random.chance(0.1);
      const highWatermark = isAll ? end + 1 : end - random.below(isLong ? 10_000 : 100);
      plain = plain.filter(({ last }) => last >= highWatermark);
      const expected = plain.length === 0 ? -1 : Math.min(...plain.map((one) => one.first));
      const found = transactions.firstOffset(highWatermark);
      if (added < 1024) expect(found).toBe(expected);
      else {
        expect(found).toBeLessThanOrEqual(expected);
        expect(found >= 0).toBe(expected >= 0);
        joined += Number(found !== expected);
      }
      // With every marker replicated nothing holds the stable offset, however many were joined.
      if (isAll) added = 0;
    }
  }
  expect(joined).toBeGreaterThan(0);
});
