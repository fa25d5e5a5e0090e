/** The benchmark of compaction, run tiny: it must work, its figures are not judged here. */

import { expect, test } from "bun:test";
import { compactionBench } from "./compaction_bench.ts";

test("compactionBench: compacts under load, and every key has its last value", async () => {
  const result = await compactionBench({
    mebibytes: 6,
    keyCount: 300,
    valueBytes: 1000,
    quietMs: 300,
    segmentMebibytes: 1,
  });
  expect(result.bytesAfter).toBeLessThan(result.bytesBefore);
  expect(result.durationMs).toBeGreaterThan(0);
  expect([result.keysFound, result.keysRight]).toEqual([300, 300]);
  expect(result.withCompaction.appends).toBeGreaterThan(0);
}, 60_000);
