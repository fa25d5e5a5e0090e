import { expect, test } from "bun:test";
import { figuresOf, formatSeries, type Point } from "../../scripts/bench/points.ts";

const FIGURES = [
  { name: "mb", title: "throughput", unit: "MB/s" },
  { name: "holdMs", title: "longest hold", unit: "ms" },
];

test("figuresOf: the middle of each figure; what no round tells is missing", () => {
  const found = figuresOf(FIGURES, [{ mb: 3, other: 1 }, { mb: 100 }, { mb: 20 }]);
  expect(found).toEqual({ mb: { median: 20, min: 3, max: 100, samples: [3, 100, 20] } });
  expect(figuresOf(FIGURES, [{ mb: 1, holdMs: 5 }, { mb: 2 }])["holdMs"]!.samples).toEqual([5]);
});

const point = (x: number, weir: number, peer: number | null): Point => ({
  x,
  weir: figuresOf(FIGURES, [{ mb: weir, holdMs: 5 }]),
  peer: peer === null ? null : figuresOf(FIGURES, [{ mb: peer }]),
});
const series = (points: Point[]) => ({
  name: "partitions",
  title: "partitions",
  figures: FIGURES,
  points,
  leftOut: ["partitions 10000 of Kafka: too slow"],
  failed: ["partitions 100: no answer"],
});

test("formatSeries: a line a point, ours and the peer's, a dash for what was not measured", () => {
  const table = formatSeries(series([point(1, 300, 150), point(10_000, 280, null)]), "Kafka");
  expect(table.split("\n").map((line) => line.split(/ {2,}/))).toEqual([
    ["partitions", "throughput, MB/s", "longest hold, ms"],
    ["1", "300 : 150", "5.00 : -"],
    ["10,000", "280 : -", "5.00 : -"],
    ["left out: partitions 10000 of Kafka: too slow"],
    ["FAILED: partitions 100: no answer"],
    [""],
  ]);
});

test("formatSeries: without a peer ours alone; without points the head alone", () => {
  expect(formatSeries(series([point(1, 300, null)]), null).split("\n")[1]).toBe(
    "1           300               5.00",
  );
  expect(formatSeries(series([]), null).split("\n")).toHaveLength(4);
});
