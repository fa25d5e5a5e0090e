/** docs/metrics.md says what a broker serves. */

import { beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { REBALANCE_CAUSES } from "../../broker/groups/rebalance.ts";
import { liveMetricsPage, parseMetrics, type ServedMetrics } from "./live_metrics.ts";

const PAGE = readFileSync(join(import.meta.dir, "..", "..", "docs", "metrics.md"), "utf8");

/** Rows of the page's tables whose first cell is a name of code. */
const rows = [...PAGE.matchAll(/^\| `([a-z_]+)` *\|(.*)\|$/gm)].map(([, name, rest]) => ({
  name: name!,
  cells: rest!.split(/(?<!\\)\|/).map((cell) => cell.trim()),
}));
const isMetric = ({ name }: { readonly name: string }) => /^(weir|process)_/.test(name);

let served: ServedMetrics;
beforeAll(async () => {
  served = parseMetrics(await liveMetricsPage());
});

test("docs/metrics.md: names every metric that a broker serves, with its type, and none that is not there", () => {
  const said = rows.filter(isMetric).map(({ name, cells: [type] }) => `${name} ${type}`);
  const told = [...served].map(([name, { type }]) => `${name} ${type}`);
  expect(said.toSorted()).toEqual(told.toSorted());
});

test("docs/metrics.md: names the labels of each metric", () => {
  for (const { name, cells: [, labels = ""] } of rows.filter(isMetric)) {
    const { type, series } = served.get(name)!;
    // What no series shows is not checked by the dashboards and alerts either.
    expect(series.length, name).toBeGreaterThan(0);
    const own = series.flatMap((one) => Object.keys(one)).filter((label) =>
      !(type === "histogram" && label === "le")
    );
    const said = [...labels.matchAll(/`([a-z]+)`/g)].map((match) => match[1]!);
    expect([...new Set(own)].toSorted(), name).toEqual(said.toSorted());
  }
});

test("docs/metrics.md: says of each metric what it is, and which of Kafka's names it goes by", () => {
  for (const { name, cells: [, , what = "", mbean = ""] } of rows.filter(isMetric)) {
    expect(what, name).toEndWith(".");
    expect(mbean, name).not.toBe("");
  }
});

test("docs/metrics.md: names every cause of a rebalance, and the types of groups that have it", () => {
  const causes = rows.filter((row) => Object.hasOwn(REBALANCE_CAUSES, row.name));
  const others = rows.filter((row) => !isMetric(row) && !causes.includes(row));
  expect(others.map(({ name }) => name)).toEqual([]);
  expect(causes.map(({ name }) => name).toSorted()).toEqual(
    Object.keys(REBALANCE_CAUSES).toSorted(),
  );
  for (const { name, cells: [types] } of causes) {
    const of: readonly string[] = REBALANCE_CAUSES[name as keyof typeof REBALANCE_CAUSES];
    expect(types).toBe(of.length === 2 ? "both" : of[0]!);
  }
});
