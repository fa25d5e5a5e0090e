/** The files in docs/monitoring ask for nothing that a broker does not serve. */

import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { YAML } from "bun";
import { dashboard } from "../../scripts/dashboard.ts";
import { liveMetricsPage, parseMetrics, type ServedMetrics } from "./live_metrics.ts";
import { mentions } from "./promql.ts";

const FOLDER = join(import.meta.dir, "..", "..", "docs", "monitoring");
const readText = (name: string) => readFileSync(join(FOLDER, name), "utf8");

/** Labels that Prometheus gives to all that it scrapes. */
const TARGET_LABELS = ["job", "instance"];

interface RuleFile {
  readonly groups: readonly {
    readonly name: string;
    readonly rules: readonly {
      readonly alert?: string;
      readonly record?: string;
      readonly expr: string;
      readonly labels?: Readonly<Record<string, string>>;
      readonly annotations?: Readonly<Record<string, string>>;
    }[];
  }[];
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: {
    readonly h: number;
    readonly w: number;
    readonly x: number;
    readonly y: number;
  };
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
  readonly panels?: readonly Panel[];
}

const rulesOf = (name: string) =>
  (YAML.parse(readText(name)) as RuleFile).groups.flatMap(({ rules }) => rules);
const alerts = rulesOf("alerts.rules.yaml");
const records = rulesOf("kafka_names.rules.yaml");
const board = JSON.parse(dashboard()) as {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly definition?: string }[] };
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
};
const panels = board.panels.flatMap((panel) => [panel, ...panel.panels ?? []])
  .filter(({ type }) => type !== "row");

let served: ServedMetrics;
beforeAll(async () => {
  served = parseMetrics(await liveMetricsPage());
});

/** The labels of a metric, or of the `_bucket`, `_sum` or `_count` of a histogram; null where there is none. */
function labelsOf(name: string): readonly string[] | null {
  if (name === "up") return TARGET_LABELS;
  const base = name.replace(/_(bucket|sum|count)$/, "");
  const family = served.get(name) ?? served.get(base);
  if (family === undefined) return null;
  const isPart = family.type === "histogram" && name !== base;
  // A histogram has no series under its own name.
  if (family.type === "histogram" && !isPart) return null;
  return [...TARGET_LABELS, ...family.series.flatMap((one) => Object.keys(one))];
}

/** What an expression asks for in vain: one sentence each. */
function problemsOf(expression: string): string[] {
  const problems: string[] = [];
  const { selectors, labels } = mentions(expression);
  const known = new Set<string>(TARGET_LABELS);
  if (selectors.length === 0) problems.push(`${expression}: mentions no metric`);
  for (const { name, matchers } of selectors) {
    const own = labelsOf(name);
    if (own === null) problems.push(`${expression}: there is no ${name}`);
    for (const label of own ?? []) known.add(label);
    for (const { label, operator, value } of matchers) {
      if (own !== null && !own.includes(label)) {
        problems.push(`${expression}: ${name} has no label ${label}`);
      }
      const isTold = TARGET_LABELS.includes(label) || value.startsWith("$") || operator !== "=";
      const values = (served.get(name.replace(/_bucket$/, "")) ?? { series: [] }).series
        .map((one) => one[label]);
      if (!isTold && !values.includes(value)) {
        problems.push(`${expression}: no ${name} has ${label} ${value}`);
      }
    }
  }
  for (const label of labels) {
    if (!known.has(label)) problems.push(`${expression}: nothing in it has a label ${label}`);
  }
  return problems;
}

/** The labels of what an expression gives: those that it sums by, or else of all that it mentions. */
function labelsLeftBy(expression: string): readonly string[] {
  const many = /group_right \(\) (weir_\w+)/.exec(expression)?.[1];
  if (many !== undefined) return labelsOf(many)!;
  const by = /\bby \(([^)]*)\)/.exec(expression)?.[1];
  return by?.split(", ") ?? mentions(expression).selectors.flatMap(({ name }) => labelsOf(name)!);
}

describe("problemsOf", () => {
  const right = [
    'sum by (api) (rate(weir_requests_total{job=~"$job",api="Produce"}[5m]))',
    "histogram_quantile(0.99, sum by (le, instance) (rate(weir_event_loop_delay_seconds_bucket[5m]))) > 1e-2",
    "up == 0 or vector(0)",
    'label_replace(weir_requests_total, "request", "$1", "api", "(.*)")',
  ];
  test.each(right)("problemsOf: nothing is wrong with %s", (expression) => {
    expect(problemsOf(expression)).toEqual([]);
  });

  const wrong = [
    ["weir_nothing > 0", "there is no weir_nothing"],
    ["rate(weir_event_loop_delay_seconds[5m])", "there is no weir_event_loop_delay_seconds"],
    ["sum(weir_nothing_total) and weir_groups", "there is no weir_nothing_total"],
    ['weir_requests_total{topic="a"}', "has no label topic"],
    ['weir_requests_total{api="Prodce"}', "no weir_requests_total has api Prodce"],
    ["sum by (topic) (weir_requests_total)", "nothing in it has a label topic"],
    ['label_replace(weir_requests_total, "a", "$1", "apii", "(.*)")', "has a label apii"],
    ["vector(1)", "mentions no metric"],
  ] as const;
  test.each(wrong)("problemsOf: finds what is wrong with %s", (expression, problem) => {
    expect(problemsOf(expression).join("\n")).toContain(problem);
  });
});

describe("docs/monitoring", () => {
  test("alerts.rules.yaml: every metric, label and value that a rule asks for is there", () => {
    expect(alerts.flatMap(({ expr }) => problemsOf(expr))).toEqual([]);
  });

  test("alerts.rules.yaml: every alert has a name of its own, a severity, and says what to do", () => {
    const names = alerts.map(({ alert }) => alert!);
    expect(new Set(names).size).toBe(names.length);
    for (const { alert, labels, annotations } of alerts) {
      expect(alert).toStartWith("Weir");
      expect(["warning", "critical"], alert!).toContain(labels?.["severity"]!);
      expect(annotations?.["summary"], alert!).toBeString();
      expect(annotations?.["description"], alert!).toEndWith(".");
    }
  });

  test("alerts.rules.yaml: what a text names is a label that its expression leaves, and a setting that there is", () => {
    const page = readFileSync(join(FOLDER, "..", "configuration.md"), "utf8");
    for (const { alert, expr, annotations = {} } of alerts) {
      const text = Object.values(annotations).join(" ");
      for (const [, label] of text.matchAll(/\$labels\.(\w+)/g)) {
        const left = labelsLeftBy(expr);
        expect(left, `${alert}: ${label}`).toContain(label!);
      }
      for (const [setting] of text.matchAll(/\b(weir|min|retention|unclean)\.[a-z.]+[a-z]/g)) {
        expect(page, `${alert}: ${setting}`).toContain(`\`${setting}\``);
      }
    }
  });

  test("kafka_names.rules.yaml: every metric that is recorded under a name of Kafka's is there", () => {
    expect(records.flatMap(({ expr }) => problemsOf(expr))).toEqual([]);
    const names = records.map(({ record }) => record!);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) {
      expect(name).toMatch(/^kafka_(server|controller|network|log|cluster)_/);
    }
  });

  test("grafana_dashboard.json: is what scripts/dashboard.ts writes", () => {
    expect(JSON.parse(readText("grafana_dashboard.json"))).toEqual(JSON.parse(dashboard()));
  });

  test("grafana_dashboard.json: every metric, label and value that a panel asks for is there", () => {
    const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
    const definitions = board.templating.list.flatMap(({ definition }) => definition ?? []);
    const asked = definitions.map((text) => /^label_values\((.*), \w+\)$/.exec(text)![1]!);
    const marks = board.annotations.list.map(({ expr }) => expr);
    expect([...expressions, ...asked, ...marks].flatMap(problemsOf)).toEqual([]);
    for (const text of definitions) {
      const [, selector, label] = /^label_values\((\w+).*, (\w+)\)$/.exec(text)!;
      expect(labelsOf(selector!)).toContain(label!);
    }
  });

  test("grafana_dashboard.json: what a legend names is a label that its expression leaves", () => {
    for (const { title, targets = [] } of panels) {
      for (const { expr, legendFormat } of targets) {
        for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
          const left = labelsLeftBy(expr);
          expect(left, `${title}: ${label}`).toContain(label!);
        }
      }
    }
  });

  test("grafana_dashboard.json: lines of panels are full, none lies upon another, each says what it shows", () => {
    const ids = board.panels.flatMap((
      { id, panels: inner = [] },
    ) => [id, ...inner.map((one) => one.id)]);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { title, description } of panels) expect(description, title).toEndWith(".");
    const closed = board.panels.flatMap((row) => row.panels ?? []);
    for (const together of [board.panels, closed]) {
      const cells = new Map<string, string>();
      for (const { title, gridPos: { h, w, x, y } } of together) {
        for (let row = y; row < y + h; row++) {
          for (let column = x; column < x + w; column++) {
            const cell = `${row}/${column}`;
            // Rows that are closed lie at the same height as what follows them.
            if (together !== closed) expect(cells.get(cell), title).toBeUndefined();
            cells.set(cell, title);
          }
        }
      }
      for (const [cell] of cells) {
        const row = cell.split("/")[0]!;
        for (let column = 0; column < 24; column++) {
          expect(cells.has(`${row}/${column}`)).toBeTrue();
        }
      }
    }
  });
});
