/** Random lives of a log on a simulated disk against a model. `WEIR_SEED=n` runs one seed again. */

import { expect, test } from "bun:test";
import { testSeeds } from "../sim/sim_random.ts";
import { LogModelRun } from "./log_model.ts";

test("Log: keeps what was synced and serves what was written, whatever happens", async () => {
  for (const seed of testSeeds(40)) {
    try {
      await new LogModelRun(seed).run(120);
    } catch (failure) {
      const hint = `WEIR_SEED=${seed} bun test tests/storage/log_model_test.ts`;
      throw new Error(`Seed ${seed} failed: ${hint}`, { cause: failure });
    }
  }
  expect(true).toBe(true);
}, 120_000);
