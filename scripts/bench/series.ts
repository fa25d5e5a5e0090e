/**
 * What work costs as it grows, weir beside Apache Kafka, on one machine, in one run.
 *
 *     bun scripts/bench.ts series --peer kafka             every series, three alternating rounds at each point
 *     bun scripts/bench.ts series --only start,batches     some of the series (`--help` lists them)
 *     bun scripts/bench.ts series --quick                  one round, small amounts, points up to 100
 *     bun scripts/bench.ts series --most 1000              points up to 1,000
 *
 * `--rounds`, `--on`, `--command` and `--out` as for the suites. 10,000 connections or partitions take as many open files:
 * the limit is raised as far as the system grants (`ulimit -Hn`), and a point beyond it is left out. Prints a table of
 * medians a series; writes all samples with machine, versions and commit as JSON, and as a picture. Exit code: 0 when all
 * was measured, 1 when a point failed.
 */

import { join } from "node:path";
import { parseArgs } from "node:util";
import { nodeKindsOf } from "./kinds.ts";
import { seriesSvg } from "./series_plot.ts";
import { commandOf, COMMON_FLAGS, endOnSignals } from "./options.ts";
import { formatSeries, type MeasuredSeries } from "./points.ts";
import {
  machineOf,
  type Medium,
  peerNameOf,
  plotTexts,
  type ReportHead,
  reportHead,
  writeFiles,
} from "./report.ts";
import {
  batchesSeries,
  connectionsSeries,
  consumersSeries,
  partitionsSeries,
} from "./series_loads.ts";
import { measureSeries, type Series, type SeriesOptions } from "./series_run.ts";
import { startSeries } from "./series_start.ts";

const SERIES: readonly Series[] = [
  partitionsSeries,
  connectionsSeries,
  consumersSeries,
  batchesSeries,
  startSeries,
];
const NAMES = SERIES.map(({ name }) => name);
const DEFAULT_ROUNDS = 3;
const QUICK_MOST = 100;

/** What came of a run, as it is written. */
export interface SeriesReport extends ReportHead {
  readonly series: readonly MeasuredSeries[];
}

/** Measures the series that were chosen. Errors: rejects where a broker is not there. */
export async function runSeries(options: SeriesOptions): Promise<SeriesReport> {
  const { command, hasPeer, medium, only } = options;
  const machine = machineOf(medium);
  const kinds = await nodeKindsOf(command, hasPeer);
  const series: MeasuredSeries[] = [];
  for (const one of SERIES.filter(({ name }) => only === null || only.includes(name))) {
    series.push(await measureSeries(one, kinds, options));
  }
  return { ...reportHead(options, { machine, kinds }), series };
}

/** Writes a report as JSON and as a picture. Returns: the paths. */
export function writeSeries(report: SeriesReport, out: string): string[] {
  return writeFiles(
    { report, svg: seriesSvg(report.series, plotTexts(report)) },
    join(out, `series_${report.options.medium}`),
  );
}

/** `bun scripts/bench.ts series`. Returns: the exit code. */
export async function seriesMain(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      ...COMMON_FLAGS,
      quick: { type: "boolean", default: false },
      peer: { type: "string" },
      rounds: { type: "string" },
      most: { type: "string" },
      only: { type: "string" },
    },
  });
  const { peer, on, quick: isQuick, out } = values;
  const rounds = Number(values.rounds ?? (isQuick ? 1 : DEFAULT_ROUNDS));
  const most = Number(values.most ?? (isQuick ? QUICK_MOST : Infinity));
  const only = values.only?.split(",") ?? null;
  const isWrong = (peer !== undefined && peer !== "kafka") || (on !== "disk" && on !== "tmpfs") ||
    !Number.isInteger(rounds) || rounds < 1 || !(most >= 1) ||
    (only?.some((name) => !NAMES.includes(name)) ?? false);
  if (values.help || isWrong) {
    console.error(
      "bun scripts/bench.ts series [--peer kafka] [--rounds 3] [--quick] [--most 10000]\n" +
        "                            [--on tmpfs|disk] [--only NAME,…] [--command dist/weir] [--out docs/benchmarks]\n" +
        `series: ${NAMES.join(", ")}`,
    );
    return isWrong ? 2 : 0;
  }
  const command = commandOf(values.command);
  if (command === null) return 1;
  endOnSignals();
  const report = await runSeries({
    command,
    hasPeer: peer !== undefined,
    rounds,
    isQuick,
    medium: on as Medium,
    only,
    most,
  });
  const peerName = peerNameOf(report);
  console.log(peerName === null ? "medians of weir\n" : `medians, weir : ${peerName}\n`);
  for (const series of report.series) console.log(formatSeries(series, peerName));
  for (const path of writeSeries(report, out)) console.log(`written: ${path}`);
  return report.series.every(({ failed }) => failed.length === 0) ? 0 : 1;
}
