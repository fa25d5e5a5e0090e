/** The benchmark of fan-out, run tiny: what it says of itself must be true, its figures are not judged here. */

import { expect, test } from "bun:test";
import { fanoutBench, idleBench } from "../bench/fanout_bench.ts";

const isExternal = process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined;

test.skipIf(isExternal)("fanout_bench: every subscriber gets every message", async () => {
  const figures = await fanoutBench({ subscribers: 30, rate: 50, bytes: 200, seconds: 2 });
  expect(figures).toMatchObject({ sent: 100, delivered: 3000, least: 100, most: 100 });
  expect(figures.p50).toBeGreaterThan(0);
  expect(figures.p99).toBeGreaterThanOrEqual(figures.p50);
}, 60_000);

test.skipIf(isExternal)(
  "fanout_bench: a socket with nothing to do costs a few kilobytes",
  async () => {
    const { before, after } = await idleBench({ sockets: 200 });
    expect(before).toBeGreaterThan(0);
    expect((after - before) / 200).toBeLessThan(100_000);
  },
  60_000,
);
