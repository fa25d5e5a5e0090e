/** The benchmark of Produce and Fetch, run tiny: it must work, its figures are not judged here. */

import { expect, test } from "bun:test";
import { SimClock } from "../sim/sim_clock.ts";
import { SimDisk } from "../sim/sim_disk.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { produceBench } from "./produce_bench.ts";

test("produceBench: times every load", async () => {
  const random = new SimRandom(1);
  const platform = { disk: new SimDisk({ random }), clock: new SimClock(), random, path: "/bench" };
  const rows = await produceBench({ rounds: 50, ...platform });
  expect(rows).toHaveLength(6);
  for (const { us, bytes } of rows) {
    expect(us).toBeGreaterThan(0);
    expect(bytes).toBeGreaterThan(50);
  }
  // One MiB of batches of some 100 KiB: what fits, and no less.
  expect(rows[4]!.bytes).toBeGreaterThan(5_000);
});
