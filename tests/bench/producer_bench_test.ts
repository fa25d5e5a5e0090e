/** The benchmark of producers, run tiny: it must work, its figures are not judged here. */

import { expect, test } from "bun:test";
import { producerBench } from "./producer_bench.ts";

test("producerBench: measures producers in one partition and in several", async () => {
  for (const partitions of [1, 10]) {
    const costs = await producerBench({ producers: 5000, partitions });
    expect(costs.batchNs).toBeGreaterThan(0);
    expect(costs.snapshotMs).toBeGreaterThan(0);
    expect(costs.loadSliceMs).toBeGreaterThan(0);
  }
});
