/**
 * What a series of measurements came to: figures at each of its points, from little to much, and the table of them.
 *
 * Pure, as `figures.ts` is: no broker is needed to test it.
 */

import { formatFigure, type Sample, type Spread, spreadOf } from "./figures.ts";

/** A figure that is told of each point. */
export interface PointFigure {
  /** Its name in the samples. */
  readonly name: string;
  readonly title: string;
  readonly unit: string;
}

/** Figures of one kind of broker, by their names; one that it has not is missing. */
export type PointFigures = Readonly<Record<string, Spread>>;

/** What was measured at one point. */
export interface Point {
  readonly x: number;
  readonly weir: PointFigures;
  /** Null where the peer was not measured. */
  readonly peer: PointFigures | null;
}

/** A series as it is written. */
export interface MeasuredSeries {
  readonly name: string;
  /** What grows. */
  readonly title: string;
  readonly figures: readonly PointFigure[];
  readonly points: readonly Point[];
  /** What was not measured on purpose, and why: a sentence each. */
  readonly leftOut: readonly string[];
  /** What was to be measured and failed, and with what. */
  readonly failed: readonly string[];
}

/** The figures of some rounds. */
export function figuresOf(
  figures: readonly PointFigure[],
  samples: readonly Sample[],
): PointFigures {
  const found = figures.map(({ name }) => [name, samples.map((sample) => sample[name])] as const);
  return Object.fromEntries(
    found.flatMap(([name, values]) => {
      const told = values.filter((value) => value !== undefined);
      return told.length === 0 ? [] : [[name, spreadOf(told)] as const];
    }),
  );
}

/** `weir : peer` by medians; a dash for what was not measured. */
function formatCell(name: string, { weir, peer }: Point, hasPeer: boolean): string {
  const one = (figures: PointFigures | null) => {
    const spread = figures?.[name];
    return spread === undefined ? "-" : formatFigure(spread.median);
  };
  return hasPeer ? `${one(weir)} : ${one(peer)}` : one(weir);
}

/** The table of a series: a line a point, a column a figure. `peerName` is null without a peer. */
export function formatSeries(
  { title, figures, points, leftOut, failed }: MeasuredSeries,
  peerName: string | null,
): string {
  const head = [title, ...figures.map(({ title, unit }) => `${title}, ${unit}`)];
  const lines = points.map((point) => [
    point.x.toLocaleString("en-US"),
    ...figures.map(({ name }) => formatCell(name, point, peerName !== null)),
  ]);
  const widths = head.map((_, column) =>
    Math.max(...[head, ...lines].map((line) => line[column]!.length))
  );
  const rows = [head, ...lines].map((line) =>
    line.map((cell, column) => cell.padEnd(widths[column]!)).join("  ").trimEnd()
  );
  const others = [
    ...leftOut.map((sentence) => `left out: ${sentence}`),
    ...failed.map((sentence) => `FAILED: ${sentence}`),
  ];
  return [...rows, ...others]
    .map((row) => `${row}\n`)
    .join("");
}
