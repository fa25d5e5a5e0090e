/** The benchmark of large batches, run tiny: it must work, its figures are not judged here. */

import { expect, test } from "bun:test";
import { SimClock } from "../sim/sim_clock.ts";
import { SimDisk } from "../sim/sim_disk.ts";
import { SimLogger } from "../sim/sim_logger.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { SimWorkers } from "../sim/sim_workers.ts";
import { batchesBench } from "./batches_bench.ts";

test("batchesBench: times every load on the loop and on threads", async () => {
  const random = new SimRandom(1);
  const clock = new SimClock();
  const disk = new SimDisk({ random });
  const workers = new SimWorkers({ disk, clock, logger: new SimLogger(), delayMs: 0 });
  const platform = { disk, clock, random, workers, path: "/bench", count: 2, scale: 0.01 };
  let isDone = false;
  const done = batchesBench(platform).finally(() => isDone = true);
  // The jobs are on virtual time, the loop that is watched is real.
  while (!isDone) {
    await clock.advance(1);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const rows = await done;
  expect(rows.length).toBe(22);
  for (const { plainBytesPerSecond } of rows) expect(plainBytesPerSecond).toBeGreaterThan(0);
});
