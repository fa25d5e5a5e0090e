/** What this very process uses. */

import { expect, test } from "bun:test";
import { closeSync, openSync } from "node:fs";
import { bunProcessUsage } from "../../../broker/telemetry/process_usage_bun.ts";

const usage = bunProcessUsage();

test("bunProcessUsage: memory, processor and start are plausible, and processor time grows", () => {
  expect(usage.residentBytes()).toBeGreaterThan(10e6);
  const { usedBytes, totalBytes } = usage.heap();
  expect(usedBytes).toBeGreaterThan(1e5);
  expect(totalBytes).toBeGreaterThan(1e5);
  expect(Math.abs(usage.startTimeSeconds - Date.now() / 1000)).toBeLessThan(86_400);
  const before = usage.cpuSeconds();
  let sum = 0;
  while (usage.cpuSeconds() - before < 0.01) for (let i = 0; i < 100_000; i++) sum += i;
  expect(sum).toBeGreaterThan(0);
});

test.if(process.platform === "linux")(
  "bunProcessUsage: open files are counted, and what is closed no more",
  () => {
    const before = usage.handles()!;
    const opened = Array.from({ length: 20 }, () => openSync("/dev/null", "r"));
    expect(usage.handles()!.openCount).toBe(before.openCount + 20);
    for (const descriptor of opened) closeSync(descriptor);
    expect(usage.handles()!.openCount).toBe(before.openCount);
    expect(before.maxCount).toBeGreaterThan(before.openCount);
  },
);
