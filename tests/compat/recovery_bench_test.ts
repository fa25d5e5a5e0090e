import { expect, test } from "bun:test";
import { recoveryBench } from "../bench/recovery_bench.ts";
import { scratchDirectory } from "./harness.ts";

const isExternal = process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined;

test.skipIf(isExternal)(
  "recovery_bench: a killed broker recovers what it had written on its threads, a stopped one reads nothing",
  async () => {
    const { killed, clean } = await recoveryBench({
      partitionCount: 12,
      megabytesEach: 1,
      dataDirectory: scratchDirectory("recovery"),
    });
    expect(killed.recoveredBytes).toBeGreaterThan(12e6 * 0.9);
    expect(clean.recoveredBytes).toBe(0);
  },
  60_000,
);
