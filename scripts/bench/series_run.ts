/**
 * How a series is measured: at each point one broker of each kind in an empty directory, and the work on them in turns,
 * some rounds after one that warms up. What is measured there is up to the series (`series_loads.ts`,
 * `series_start.ts`).
 */

import { rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import type { Sample } from "./figures.ts";
import type { NodeKind } from "./kinds.ts";
import { BenchNode, holdSince, openFileLimit } from "./node.ts";
import { figuresOf, type MeasuredSeries, type Point, type PointFigure } from "./points.ts";
import type { BenchOptions } from "./report.ts";
import { measured } from "./round.ts";
import { dataDirectory } from "./suite.ts";

/** How work grows, and what is told of it. */
export interface Series {
  readonly name: string;
  /** What grows. */
  readonly title: string;
  /** How much of it, from little to much. */
  readonly xs: readonly number[];
  /** The peer is not measured with more, and why. */
  readonly peerLimit?: { readonly x: number; readonly reason: string };
  /** Files and sockets that a broker, or the load, has open for each. */
  readonly openFilesEach: number;
  readonly figures: readonly PointFigure[];
  /** Comes once before the rounds. Returns: what is added to their samples. */
  prepare?(run: PointRun): Promise<Sample>;
  measure(run: PointRun): Promise<Sample>;
}

/** One round at one point with one broker. */
export interface PointRun {
  readonly x: number;
  readonly node: BenchNode;
  /** The weir that puts on the load. */
  readonly command: readonly string[];
  /** Which round it is; 0 warms up. */
  readonly number: number;
  readonly isQuick: boolean;
}

/** Of a series: besides what any run is asked, how far it goes. */
export interface SeriesOptions extends BenchOptions {
  /** Points with more are left out. */
  readonly most: number;
}

/** Files and sockets that a broker has open anyway, and those of a load beside. */
const OTHER_OPEN_FILES = 500;

/** Measures all points of a series. One that fails is told of, and the others go on. */
export async function measureSeries(
  series: Series,
  kinds: readonly NodeKind[],
  options: SeriesOptions,
): Promise<MeasuredSeries> {
  const { name, title, figures, xs, openFilesEach, peerLimit } = series;
  const limit = openFileLimit();
  const points: Point[] = [];
  const leftOut: string[] = [];
  const failed: string[] = [];
  for (const x of xs.filter((x) => x <= options.most)) {
    const needed = x * openFilesEach + OTHER_OPEN_FILES;
    if (needed > limit) {
      leftOut.push(`${title} ${x}: it takes ${needed} open files, "ulimit -Hn" is ${limit}`);
      continue;
    }
    const chosen = kinds.filter((kind, index) => {
      if (index === 0 || peerLimit === undefined || x <= peerLimit.x) return true;
      leftOut.push(`${title} ${x} of ${kind.name}: ${peerLimit.reason}`);
      return false;
    });
    try {
      const [weir, peer] = await measurePoint(series, x, chosen, options);
      points.push({
        x,
        weir: figuresOf(figures, weir!),
        peer: peer === undefined ? null : figuresOf(figures, peer),
      });
    } catch (error) {
      const sentence = `${title} ${x}: ${(error as Error).message.trim()}`;
      failed.push(sentence);
      process.stderr.write(`failed: ${sentence}\n`);
    }
  }
  return { name, title, figures, points, leftOut, failed };
}

/** Returns: the samples of each kind, in their order. */
async function measurePoint(
  series: Series,
  x: number,
  kinds: readonly NodeKind[],
  { medium, rounds, command, isQuick }: SeriesOptions,
): Promise<Sample[][]> {
  const directory = dataDirectory(medium);
  const nodes: BenchNode[] = [];
  try {
    const prepared: Sample[] = [];
    for (const [index, kind] of kinds.entries()) {
      const node = await BenchNode.make(kind, join(directory, index === 0 ? "weir" : "peer"));
      nodes.push(node);
      await node.start();
      const run = { x, node, command, isQuick, number: 0 };
      prepared.push(await series.prepare?.(run) ?? {});
    }
    const samples = nodes.map((): Sample[] => []);
    for (let number = 0; number <= rounds; number++) {
      for (const [index, node] of nodes.entries()) {
        const sample = await series.measure({ x, node, command, isQuick, number });
        if (number > 0) samples[index]!.push({ ...prepared[index]!, ...sample });
      }
      const what = number === 0 ? "warmed up" : `round ${number}`;
      process.stderr.write(`${series.name} ${x}: ${what}\n`);
    }
    return samples;
  } finally {
    for (const node of nodes) await node.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Adds what the broker used meanwhile, and how long its loop was held. */
export async function used(
  { node }: PointRun,
  megabytes: number,
  work: () => Promise<Sample>,
): Promise<Sample> {
  const { metrics: before } = await holdSince(node, null);
  const sample = await measured({ broker: node }, megabytes, work);
  const { holdMs } = await holdSince(node, before);
  return { ...sample, ...(holdMs === null ? {} : { longestHoldMs: holdMs }) };
}
