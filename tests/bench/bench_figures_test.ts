import { expect, test } from "bun:test";
import {
  formatFigure,
  formatRows,
  rowOf,
  type RowSpec,
  spreadOf,
} from "../../scripts/bench/figures.ts";
import { placeOf, plotSvg } from "../../scripts/bench/plot.ts";

const spec = (change: Partial<RowSpec> = {}): RowSpec => ({
  name: "produce",
  title: "produce, 100 × 1 KiB",
  load: "produce",
  figure: "mb",
  unit: "MB/s",
  isMoreBetter: true,
  bar: { of: "ratio", limit: 2 },
  ...change,
});
const samples = (...values: number[]) => values.map((mb) => ({ mb, other: -1 }));
const rowWith = (change: Partial<RowSpec>, weir: number[], peer: number[] | null) =>
  rowOf(spec(change), { weir: samples(...weir), peer: peer === null ? null : samples(...peer) });

test("spreadOf: middle, smallest and largest, and the samples in their order", () => {
  expect(spreadOf([5, 1, 9])).toEqual({ median: 5, min: 1, max: 9, samples: [5, 1, 9] });
  expect(spreadOf([100, 20, 3, 7]).median).toBe(13.5);
  expect(spreadOf([2])).toEqual({ median: 2, min: 2, max: 2, samples: [2] });
  // Numbers, not texts: 100 is the largest.
  expect(spreadOf([100, 20, 3])).toMatchObject({ median: 20, min: 3, max: 100 });
});

const HOLDS: readonly [string, Partial<RowSpec>, number[], number[] | null, boolean | null][] = [
  ["at the limit of a ratio", {}, [200], [100], true],
  ["below the limit of a ratio", {}, [199], [100], false],
  ["by medians, not by means", {}, [200, 1, 1000], [100, 99, 5000], true],
  ["less is better, at the limit", { isMoreBetter: false }, [200], [100], true],
  ["less is better, above it", { isMoreBetter: false }, [201], [100], false],
  ["a value needs no peer", { bar: { of: "value", limit: 150 } }, [150], null, true],
  ["a value below its bar", { bar: { of: "value", limit: 150 } }, [149], [10], false],
  [
    "a value that must be small",
    { isMoreBetter: false, bar: { of: "value", limit: 150 } },
    [151],
    [900],
    false,
  ],
  ["a ratio without a peer is not judged", {}, [200], null, null],
  ["without a bar there is nothing to hold", { bar: null }, [200], [100], null],
];
for (const [name, change, weir, peer, holds] of HOLDS) {
  test(`rowOf: ${name}: ${holds}`, () => {
    expect(rowWith(change, weir, peer).holds).toBe(holds);
  });
}

test("rowOf: the ratio is ours over theirs, whichever is better", () => {
  expect(rowWith({}, [300], [100]).ratio).toBe(3);
  expect(rowWith({ isMoreBetter: false }, [25], [100]).ratio).toBe(0.25);
  expect(rowWith({}, [300], null).ratio).toBeNull();
});

test("formatFigure: three digits that count", () => {
  expect([0.07123, 1.966, 51.24, 512.4, 16_345, 1_234_567, 0].map(formatFigure)).toEqual([
    "0.0712",
    "1.97",
    "51.2",
    "512",
    "16,300",
    "1,230,000",
    "0",
  ]);
});

test("formatRows: a table with medians, spreads, ratio, bar and whether it holds", () => {
  const rows = [
    rowWith({}, [512, 480, 530], [260, 250, 270]),
    rowWith(
      { title: "start", unit: "ms", isMoreBetter: false, bar: { of: "value", limit: 150 } },
      [90],
      null,
    ),
    rowWith({ title: "only told", bar: null }, [30], [20]),
  ];
  expect(formatRows(rows, "Kafka").split("\n").map((line) => line.split(/ {2,}/))).toEqual([
    ["figure", "unit", "weir", "Kafka", "ratio", "bar", "holds"],
    [
      "produce, 100 × 1 KiB",
      "MB/s",
      "512 (480–530)",
      "260 (250–270)",
      "1.97",
      "≥ 2 ×",
      "NO",
    ],
    ["start", "ms", "90.0 (90.0–90.0)", "-", "-", "≤ 150 ms", "yes"],
    ["only told", "MB/s", "30.0 (30.0–30.0)", "20.0 (20.0–20.0)", "1.50", "-", "-"],
    [""],
  ]);
});

test("placeOf: to the right is better, whether more is better or less", () => {
  expect(placeOf(rowWith({}, [300, 200, 400], [100]))).toEqual({
    worst: 2,
    median: 3,
    best: 4,
    bar: 2,
  });
  const small = { isMoreBetter: false, bar: { of: "ratio", limit: 0.5 } } as const;
  expect(placeOf(rowWith(small, [50, 25, 100], [100]))).toEqual({
    worst: 1,
    median: 2,
    best: 4,
    bar: 2,
  });
  const value = { isMoreBetter: false, bar: { of: "value", limit: 150 } } as const;
  expect(placeOf(rowWith(value, [75], [300])).bar).toBe(2);
  expect(placeOf(rowWith({ bar: null }, [300], [100]))).toMatchObject({ median: 3, bar: null });
});

test("placeOf: without a peer our own median is the measure, and a ratio has no bar", () => {
  expect(placeOf(rowWith({}, [100, 50, 200], null))).toEqual({
    worst: 0.5,
    median: 1,
    best: 2,
    bar: null,
  });
});

/** Where something is drawn, by what is asked of the row's picture. */
function numbersIn(svg: string, pattern: RegExp): number[] {
  return [...svg.matchAll(pattern)].map(([, number]) => Number(number));
}

test("plotSvg: a row a line, marks in the order of their worth, all of it inside the picture", () => {
  const rows = [
    rowWith({}, [300, 200, 400], [100]),
    rowWith({}, [1e6], [1]),
    rowWith({}, [0], [1]),
  ];
  const svg = plotSvg(rows, { title: "weir <1>", subtitle: "disk", peerName: "Kafka & co" });
  expect(svg).toContain("weir &lt;1&gt;");
  expect(svg).toContain("Kafka &amp; co");
  const [medianX, bestX, nothingX] = numbersIn(svg, /<circle cx="([\d.]+)"/g);
  const [barX] = numbersIn(svg, /class="bar" x1="([\d.]+)"/g);
  expect(barX!).toBeLessThan(medianX!);
  expect(nothingX!).toBeLessThan(barX!);
  expect(medianX!).toBeLessThan(bestX!);
  const [width] = numbersIn(svg, /viewBox="0 0 (\d+)/g);
  for (const x of numbersIn(svg, / (?:c?x[12]?)="([\d.]+)"/g)) expect(x).toBeWithin(0, width! + 1);
  expect(svg).not.toContain("NaN");
});

test("plotSvg: is XML that a parser takes", () => {
  const svg = plotSvg([rowWith({}, [3], [1])], { title: "t", subtitle: "s", peerName: null });
  const open: string[] = [];
  for (const [, slash, name, end] of svg.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
    if (slash === "/") expect(open.pop()).toBe(name!);
    else if (end !== "/") open.push(name!);
  }
  expect(open).toEqual([]);
});
