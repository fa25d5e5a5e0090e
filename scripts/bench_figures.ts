/**
 * What `scripts/bench.ts` makes of its samples: medians, spreads, ratios to the peer, which bars hold, and the table.
 *
 * Figures of one machine count as ratios of one run: a ratio is ours over the peer's, whichever of them is better. Pure,
 * so that its arithmetic is tested without a broker.
 */

/** What one round of one load came to, by the names of its figures. */
export type Sample = Readonly<Record<string, number>>;

/** What must be reached. */
export interface Bar {
  /** A ratio to the peer, or the value itself. */
  readonly of: "ratio" | "value";
  /** At least that where more is better, else at most that. */
  readonly limit: number;
}

/** A figure that is told. */
export interface RowSpec {
  readonly name: string;
  readonly title: string;
  /** The load that it is read from. */
  readonly load: string;
  /** Its name in the samples of the load. */
  readonly figure: string;
  readonly unit: string;
  readonly isMoreBetter: boolean;
  readonly bar: Bar;
}

/** The middle of some rounds, and how far they lie apart. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** Shape: in the order of the rounds. */
  readonly samples: readonly number[];
}

/** A figure with what was measured. */
export interface Row extends RowSpec {
  readonly weir: Spread;
  readonly peer: Spread | null;
  /** Ours over the peer's; null without a peer. */
  readonly ratio: number | null;
  /** Null where the bar is a ratio and there is no peer. */
  readonly holds: boolean | null;
}

/** The middle of an odd number, the mean of the two in the middle of an even one. `samples` is not empty. */
export function spreadOf(samples: readonly number[]): Spread {
  const sorted = samples.toSorted((a, b) => a - b);
  const low = sorted[Math.floor((sorted.length - 1) / 2)]!;
  const high = sorted[Math.ceil((sorted.length - 1) / 2)]!;
  return { median: (low + high) / 2, min: sorted[0]!, max: sorted.at(-1)!, samples };
}

/** A row of what was measured. */
export function rowOf(
  spec: RowSpec,
  { weir, peer }: { readonly weir: readonly Sample[]; readonly peer: readonly Sample[] | null },
): Row {
  const figures = (samples: readonly Sample[]) => samples.map((sample) => sample[spec.figure]!);
  const ours = spreadOf(figures(weir));
  const theirs = peer === null ? null : spreadOf(figures(peer));
  const ratio = theirs === null ? null : ours.median / theirs.median;
  const judged = spec.bar.of === "ratio" ? ratio : ours.median;
  const { limit } = spec.bar;
  const holds = judged === null ? null : spec.isMoreBetter ? judged >= limit : judged <= limit;
  return { ...spec, weir: ours, peer: theirs, ratio, holds };
}

/** Three digits that count: `0.0712`, `1.97`, `512`, `16,300`. */
export function formatFigure(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  const step = 10 ** Math.max(0, Math.floor(Math.log10(Math.abs(value))) - 2);
  const rounded = Math.round(value / step) * step;
  return digits > 0 ? value.toFixed(digits) : rounded.toLocaleString("en-US");
}

function formatSpread(spread: Spread | null): string {
  if (spread === null) return "-";
  const { median, min, max } = spread;
  return `${formatFigure(median)} (${formatFigure(min)}–${formatFigure(max)})`;
}

function formatBar({ isMoreBetter, bar: { of, limit }, unit }: RowSpec): string {
  return `${isMoreBetter ? "≥" : "≤"} ${limit} ${of === "ratio" ? "×" : unit}`;
}

/** The table of all rows, a line each, under a head. `peerName` is null without a peer. */
export function formatRows(rows: readonly Row[], peerName: string | null): string {
  const head = ["figure", "unit", "weir", peerName ?? "no peer", "ratio", "bar", "holds"];
  const lines = rows.map((row) => [
    row.title,
    row.unit,
    formatSpread(row.weir),
    formatSpread(row.peer),
    row.ratio === null ? "-" : row.ratio.toFixed(2),
    formatBar(row),
    row.holds === null ? "-" : row.holds ? "yes" : "NO",
  ]);
  const widths = head.map((title, column) =>
    Math.max(title.length, ...lines.map((line) => line[column]!.length))
  );
  return [head, ...lines]
    .map((line) => line.map((cell, column) => cell.padEnd(widths[column]!)).join("  ").trimEnd())
    .map((line) => `${line}\n`)
    .join("");
}
