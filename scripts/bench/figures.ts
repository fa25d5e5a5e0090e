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
  /** Null for one that is only told. */
  readonly bar: Bar | null;
}

/** What rows of several suites have in common. */
export const isMore = { isMoreBetter: true } as const;
/** The opposite of `isMore`. */
export const isLess = { isMoreBetter: false } as const;
/** How fast a load was, by what it wrote or read. */
export const megabytesPerSecond = {
  ...isMore,
  figure: "megabytesPerSecond",
  unit: "MB/s",
} as const;
/** The same by records. */
export const recordsPerSecond = {
  ...isMore,
  figure: "recordsPerSecond",
  unit: "records/s",
} as const;
/** The same by requests. */
export const requestsPerSecond = { ...isMore, figure: "requestsPerSecond", unit: "/s" } as const;
/** What the brokers computed for it. */
export const processorTime = { ...isLess, figure: "cpuSecondsPerGigabyte", unit: "s/GB" } as const;
/** What was resident in them at most. */
export const residentMemory = { ...isLess, figure: "peakResidentMegabytes", unit: "MB" } as const;

/** A bar for ours over the peer's. */
export function ratio(limit: number): Bar {
  return { of: "ratio", limit };
}

/** A bar for ours. Units: those of the row. */
export function value(limit: number): Bar {
  return { of: "value", limit };
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
  /** Null without a bar, and where it is a ratio and there is no peer. */
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
  return { ...spec, weir: ours, peer: theirs, ratio, holds: holdsBar(spec, ours.median, ratio) };
}

function holdsBar({ bar, isMoreBetter }: RowSpec, ours: number, ratio: number | null) {
  const judged = bar?.of === "ratio" ? ratio : ours;
  if (bar === null || judged === null) return null;
  return isMoreBetter ? judged >= bar.limit : judged <= bar.limit;
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

function formatBar({ isMoreBetter, bar, unit }: RowSpec): string {
  if (bar === null) return "-";
  const { of, limit } = bar;
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
