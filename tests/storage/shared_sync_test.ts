import { expect, test } from "bun:test";
import { SharedSync } from "../../storage/shared_sync.ts";
import { SimClock } from "../sim/sim_clock.ts";
import { SimRandom, testSeeds } from "../sim/sim_random.ts";

test("SharedSync: covers every change made before the call, with few syncs", async () => {
  let callCount = 0;
  let syncCount = 0;
  for (const seed of testSeeds(200)) {
    const random = new SimRandom(seed);
    const clock = new SimClock();
    let changed = 0;
    let stable = 0;
    const shared = new SharedSync(async () => {
      syncCount++;
      const covered = changed;
      await clock.sleep(random.below(4));
      stable = Math.max(stable, covered);
    });
    const waits: Promise<void>[] = [];
    for (let i = 0; i < 50; i++) {
      const mine = ++changed;
      callCount++;
      waits.push(shared.request().then(() => expect(stable).toBeGreaterThanOrEqual(mine)));
      if (random.chance(0.3)) await clock.advance(random.below(3));
    }
    await clock.run(Promise.all(waits));
    expect(stable).toBe(changed);
  }
  expect(syncCount).toBeLessThan(callCount / 2);
});

test("SharedSync: a failure reaches all who shared it, and nobody else", async () => {
  const outcomes = [new Error("first"), null];
  const shared = new SharedSync(async () => {
    const outcome = outcomes.shift()!;
    await Promise.resolve();
    if (outcome !== null) throw outcome;
  });
  const first = [shared.request(), shared.request()].map((it) => it.catch((error) => error));
  await Promise.resolve();
  await Promise.resolve();
  const second = shared.request();
  for (const found of await Promise.all(first)) expect(found).toMatchObject({ message: "first" });
  await second;
});
