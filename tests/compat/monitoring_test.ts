/** Prometheus' own tool reads what docs/monitoring has, and what a real broker serves. */

import { describe, expect } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  repositoryRoot,
  runOk,
  runProgram,
  scratchDirectory,
  startWeir,
  testWith,
} from "./harness.ts";

const FOLDER = join(repositoryRoot, "docs", "monitoring");
const RULES = ["alerts.rules.yaml", "kafka_names.rules.yaml"].map((name) => join(FOLDER, name));

/** What the linter of names finds: these two are Kafka's own. */
const KAFKA_NAMES = [
  "weir_log_cleaner_time_since_last_run_ms metric names should not contain abbreviated units",
  "weir_log_cleaner_uncleanable_partitions_count non-histogram and non-summary metrics " +
  'should not have "_count" suffix',
];

interface Panel {
  readonly targets?: readonly { readonly expr: string }[];
  readonly panels?: readonly Panel[];
}

function expressionsOf(panels: readonly Panel[]): string[] {
  return panels.flatMap(({ targets = [], panels: inner = [] }) => [
    ...targets.map(({ expr }) => expr),
    ...expressionsOf(inner),
  ]);
}

describe("promtool", () => {
  testWith("promtool", "promtool: takes the rules, and they do what their tests say", async () => {
    await runOk(["promtool", "check", "rules", ...RULES]);
    await runOk([
      "promtool",
      "test",
      "rules",
      join(import.meta.dir, "..", "monitoring", "alerts_unit.yaml"),
    ]);
  });

  testWith("promtool", "promtool: takes every expression of the dashboard", async () => {
    const text = readFileSync(join(FOLDER, "grafana_dashboard.json"), "utf8");
    const { panels } = JSON.parse(text) as { readonly panels: readonly Panel[] };
    const rules = expressionsOf(panels).map((expr, index) => ({
      record: `panel_${index}`,
      expr: expr.replaceAll("$__rate_interval", "5m"),
    }));
    expect(rules.length).toBeGreaterThan(40);
    const path = join(scratchDirectory("rules"), "dashboard.rules.yaml");
    writeFileSync(path, JSON.stringify({ groups: [{ name: "dashboard", rules }] }));
    await runOk(["promtool", "check", "rules", path]);
    rules[0]!.expr += ")";
    writeFileSync(path, JSON.stringify({ groups: [{ name: "dashboard", rules }] }));
    expect((await runProgram(["promtool", "check", "rules", path])).code).not.toBe(0);
  });

  testWith("promtool", "promtool: takes the metrics of a broker, names and types", async () => {
    const broker = await startWeir();
    const page = await (await fetch(`http://127.0.0.1:${broker.httpPort}/metrics`)).text();
    await broker.stop();
    const { stderr } = await runProgram(["promtool", "check", "metrics"], { input: page });
    const found = stderr.split("\n").filter((line) => line !== "");
    expect(found.toSorted()).toEqual(KAFKA_NAMES);
  });
});
