/** The benchmark of the codecs, run tiny: it must work, its figures are not judged here. */

import { expect, test } from "bun:test";
import { codecBench } from "./codec_bench.ts";

test("codecBench: times every sample both ways", () => {
  const rows = codecBench({ rounds: 20 });
  expect(rows).toHaveLength(6);
  for (const row of rows) {
    expect(row.bytes).toBeGreaterThan(30);
    for (const us of [row.decodeUs, row.encodeUs, row.twinDecodeUs, row.twinEncodeUs]) {
      expect(us).toBeGreaterThan(0);
    }
  }
});
