import { expect, test } from "bun:test";
import { SimRandom } from "../../sim/sim_random.ts";
import { TransactionWorld } from "./transaction_world.ts";

test("Transaction: random lives of an id, beside a model of who was told what", () => {
  const total = {
    commits: 0,
    aborts: 0,
    fenced: 0,
    timeOuts: 0,
    freshIds: 0,
    repeats: 0,
    loads: 0,
  };
  for (let seed = 1; seed <= 600; seed++) {
    const world = new TransactionWorld(new SimRandom(seed));
    try {
      world.live(400);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
    for (const name of Object.keys(total) as (keyof typeof total)[]) {
      total[name] += world.seen[name];
    }
  }
  for (const count of Object.values(total)) expect(count).toBeGreaterThan(100);
}, 60_000);
