import { expect, test } from "bun:test";
import { readableValue } from "../../../../broker/gateway/console/configs.tsx";
import {
  formatBytes,
  formatCount,
  formatCounted,
  formatDuration,
} from "../../../../broker/gateway/console/format.ts";

const plain = (text: string | null) => text?.replaceAll("\u202f", " ") ?? null;

test("formatCount, formatCounted: in groups of three, one and many", () => {
  expect([0, 999, 1000, 1234567, -1234].map(formatCount).map(plain)).toEqual([
    "0",
    "999",
    "1 000",
    "1 234 567",
    "−1 234",
  ]);
  expect(formatCounted(1, "partition")).toBe("1 partition");
  expect(formatCounted(2, "thing needs", "things need")).toBe("2 things need");
});

test("formatBytes: in the unit that fits", () => {
  expect([0, 1023, 1024, 1536, 123_456, 5 * 1024 ** 3].map(formatBytes).map(plain)).toEqual([
    "0 B",
    "1023 B",
    "1 KiB",
    "1.50 KiB",
    "121 KiB",
    "5 GiB",
  ]);
});

test("formatDuration: in the unit that fits", () => {
  expect([0.25, 90, 1500, 90_000, 604_800_000].map(formatDuration).map(plain)).toEqual([
    "0.25 ms",
    "90 ms",
    "1.50 s",
    "1.50 min",
    "7 d",
  ]);
});

test("readableValue: says more than the number, where it does", () => {
  const cases: readonly (readonly [name: string, value: string, expected: string | null])[] = [
    ["retention.ms", "604800000", "7 d"],
    ["retention.ms", "-1", null],
    ["flush.ms", "9223372036854775807", "no limit"],
    ["segment.bytes", "1073741824", "1 GiB"],
    ["log.cleaner.dedupe.buffer.size", "134217728", "128 MiB"],
    ["cleanup.policy", "delete", null],
    ["num.partitions", "5000", null],
  ];
  for (const [name, value, expected] of cases) {
    expect(plain(readableValue(name, value))).toBe(expected);
  }
});
