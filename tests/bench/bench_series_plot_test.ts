import { expect, test } from "bun:test";
import { figuresOf } from "../../scripts/bench/points.ts";
import { scaleOf, seriesSvg, shortCount } from "../../scripts/bench/series_plot.ts";

const SCALES: readonly [string, number[], number[], [value: number, at: number][]][] = [
  ["from 0 to a round number", [180, 320], [0, 250, 500], [[250, 0.5], [500, 1]]],
  ["values of 0", [0, 3], [0, 2.5, 5], [[0, 0]]],
  ["nothing but 0", [0, 0], [0, 0.5, 1], [[0, 0]]],
  ["powers where they lie far apart", [4, 400], [1, 10, 100, 1000], [[1, 0], [1000, 1]]],
  ["every second power", [0.5, 300_000], [0.1, 10, 1000, 100_000], [[1_000_000, 1]]],
  ["what is no number does not count", [2, Infinity, NaN], [0, 1, 2], [[2, 1]]],
  ["a round number is its own top", [0.2], [0, 0.1, 0.2], [[0.2, 1]]],
];
for (const [name, values, marks, places] of SCALES) {
  test(`scaleOf: ${name}`, () => {
    const scale = scaleOf(values);
    for (const [index, mark] of scale.marks.entries()) expect(mark).toBeCloseTo(marks[index]!, 9);
    expect(scale.marks).toHaveLength(marks.length);
    for (const [value, at] of places) expect(scale.at(value)).toBeCloseTo(at, 9);
  });
}

test("shortCount: thousands by a letter", () => {
  expect([1, 100, 1000, 9600, 10_000].map(shortCount)).toEqual(["1", "100", "1k", "9.6k", "10k"]);
});

const FIGURES = [
  { name: "mb", title: "written <all>", unit: "MB/s" },
  { name: "holdMs", title: "longest hold", unit: "ms" },
];
const series = (xs: number[], hasPeer: boolean) => ({
  name: "partitions",
  title: "partitions",
  figures: FIGURES,
  points: xs.map((x) => ({
    x,
    weir: figuresOf(FIGURES, [{ mb: 300 / x, holdMs: Infinity }, { mb: 200 / x, holdMs: 5 }]),
    peer: hasPeer ? figuresOf(FIGURES, [{ mb: 100 }]) : null,
  })),
  leftOut: [],
  failed: [],
});
const TEXTS = { title: "weir", subtitle: "disk", peerName: "Kafka & co" };

test("seriesSvg: a panel a figure, what is more lies higher and to the right, all of it inside", () => {
  const svg = seriesSvg([series([1, 10, 1000], true)], TEXTS);
  expect(svg).toContain("written &lt;all&gt;, MB/s");
  expect(svg).toContain("Kafka &amp; co");
  expect(svg.match(/<g /g)).toHaveLength(2);
  // Ours comes last in its panel: 250, 25 and 0.25 MB/s.
  const [, panel] = svg.split("<g ");
  const found = [...panel!.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].slice(-3);
  const [xs, ys] = [found.map(([, x]) => Number(x)), found.map(([, , y]) => Number(y))];
  expect(xs).toEqual(xs.toSorted((a, b) => a - b));
  expect(ys).toEqual(ys.toSorted((a, b) => a - b));
  expect(xs[2]! - xs[1]!).toBeCloseTo(2 * (xs[1]! - xs[0]!), 0);
  expect(svg).not.toMatch(/NaN|Infinity|undefined/);
});

test("seriesSvg: is XML that a parser takes, also of one point, and of none", () => {
  for (const xs of [[1], [], [1, 10]]) {
    const svg = seriesSvg([series(xs, false)], { ...TEXTS, peerName: null });
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
    const open: string[] = [];
    for (const [, slash, name, end] of svg.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
      if (slash === "/") expect(open.pop()).toBe(name!);
      else if (end !== "/") open.push(name!);
    }
    expect(open).toEqual([]);
  }
});
