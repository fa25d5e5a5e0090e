/** The benchmark of three nodes, run tiny: it must work, its figures are not judged here. */

import { expect, test } from "bun:test";
import { failoverBench, loadBench, parseRawload, partitionsBench } from "../bench/cluster_bench.ts";
import { hasTool } from "./harness.ts";

const isExternal = process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined;
const hasRawload = Bun.which("go") !== null && hasTool("Apache Kafka (peers)");

test.skipIf(isExternal)("failoverBench: a leader that is killed is replaced", async () => {
  const { p50, max } = await failoverBench({ runs: 1 });
  expect(p50).toBeGreaterThan(0);
  expect(max).toBe(p50);
}, 120_000);

test.skipIf(isExternal)(
  "partitionsBench: partitions are made, and take records after each restart",
  async () => {
    const { answeredMs, inSyncMs, restartMs, killedRestartMs } = await partitionsBench({
      partitions: 12,
    });
    expect(answeredMs).toBeGreaterThan(0);
    expect(inSyncMs).toBeGreaterThanOrEqual(answeredMs);
    expect(restartMs).toBeGreaterThan(0);
    expect(killedRestartMs).toBeGreaterThan(0);
  },
  120_000,
);

test.skipIf(isExternal || !hasRawload)("loadBench: all loads are taken by every node", async () => {
  const figures = await loadBench({ megabytes: 2, rounds: 1, hasPeer: false });
  expect(figures).toHaveLength(4);
  for (const { recordsASecond, p99Ms } of figures) {
    expect(recordsASecond).toBeGreaterThan(0);
    expect(p99Ms).toBeGreaterThan(0);
  }
}, 120_000);

test("parseRawload: reads what rawload prints, and refuses anything else", () => {
  const line = "broker produce recs/batch=100 size=1024: 88 MB/s 85937 rec/s " +
    "p50 9.15 p99 24.57 p999 33.33 ms cpu/GB 3.21 s rss 151 MB";
  expect(parseRawload(line)).toEqual({
    megabytesASecond: 88,
    recordsASecond: 85_937,
    p50Ms: 9.15,
    p99Ms: 24.57,
    cpuSecondsAGigabyte: 3.21,
  });
  expect(() => parseRawload("rawload: partition 0: error code 6")).toThrow("error code 6");
});
