/**
 * What a PromQL expression asks for: names of metrics with the labels that it wants them to have.
 *
 * No parser: enough to tell names, matchers and lists of labels apart. Whether an expression is one is for Prometheus'
 * own tool to say (`tests/compat/monitoring_test.ts`).
 */

/** One matcher: `api="Produce"`. */
export interface Matcher {
  readonly label: string;
  readonly operator: string;
  readonly value: string;
}

/** One mention of a metric. */
export interface Selector {
  readonly name: string;
  readonly matchers: readonly Matcher[];
}

/** All that an expression mentions. */
export interface Mentions {
  readonly selectors: readonly Selector[];
  /** Labels in `by (…)`, `on (…)` and the like, and those that `label_replace` reads. */
  readonly labels: readonly string[];
}

const KEYWORDS = new Set(["and", "or", "unless", "bool", "offset", "ignoring", "on", "by"]);
const LISTS = /\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)/g;
const SELECTOR = /\b([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?(?!\s*\(|[\w:{])/g;
const MATCHER = /(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"/g;

/** Reads one expression. */
export function mentions(expression: string): Mentions {
  const labels: string[] = [];
  const replaced = /label_replace\([^"]*"[^"]*", "[^"]*", "(\w+)", "[^"]*"\)/g;
  for (const [, label] of expression.matchAll(replaced)) labels.push(label!);
  const rest = expression.replaceAll(LISTS, (_, list: string) => {
    labels.push(...list.split(",").map((label) => label.trim()).filter((label) => label !== ""));
    return " ";
  }).replaceAll(/\[[^\]]*\]/g, "");
  const outside = rest.replaceAll(/(\{[^}]*\})|"[^"]*"/g, (_, braces?: string) => braces ?? " ");
  const selectors = [...outside.matchAll(SELECTOR)]
    .filter(([, name]) => !KEYWORDS.has(name!) && !/^(inf|nan)$/i.test(name!))
    .map(([, name, braces = ""]) => ({
      name: name!,
      matchers: [...braces.matchAll(MATCHER)].map(([, label, operator, value]) => (
        { label: label!, operator: operator!, value: value! }
      )),
    }));
  return { selectors, labels };
}
