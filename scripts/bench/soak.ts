/**
 * Whether weir's memory stays flat under a steady load, and how long its loop is held meanwhile.
 *
 *     bun scripts/bench.ts soak                            30 minutes at 20 MB/s
 *     bun scripts/bench.ts soak --minutes 600 --rate 50    longer, and more
 *
 * The load (`soak_loads.ts`) is the same from beginning to end, and retention bounds the disk to 2 GB or so. Samples
 * are taken every 10 s. Prints the slope of what was resident, by the samples of the last two thirds, and writes all samples
 * as JSON and as a picture. `--on`, `--command` and `--out` as for the suites. Exit code: 0 when it was measured, flat or
 * not.
 */

import { rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { formatFigure, type Sample, spreadOf } from "./figures.ts";
import { weirNode } from "./kinds.ts";
import { BenchNode, holdSince } from "./node.ts";
import { commandOf, COMMON_FLAGS, endOnSignals } from "./options.ts";
import {
  machineOf,
  type Medium,
  plotTexts,
  type ReportHead,
  reportHead,
  writeFiles,
} from "./report.ts";
import { makeTopic } from "./series_loads.ts";
import { type Growth, growthOf, type TimedValue } from "./slope.ts";
import { SOAK_TOPICS, type SoakFigures, soakLoads } from "./soak_loads.ts";
import { soakSvg } from "./soak_plot.ts";
import { dataDirectory } from "./suite.ts";

const DEFAULT_MINUTES = 30;
const DEFAULT_RATE = 20;
const SAMPLE_SECONDS = 10;
/** A short soak is looked at more often. */
const LEAST_SAMPLES = 20;
/** Growth up to that is taken for none: within a week it is less than a GB. Units: MB an hour. */
const FLAT_MEGABYTES_PER_HOUR = 5;
const SETTINGS = {
  "log.retention.check.interval.ms": "15000",
  "group.initial.rebalance.delay.ms": "0",
};

/** What a soak is asked. */
export interface SoakOptions {
  readonly command: readonly string[];
  readonly medium: Medium;
  readonly minutes: number;
  readonly megabytesPerSecond: number;
}

/** What came of a soak, as it is written. */
export interface SoakReport extends ReportHead {
  readonly minutes: number;
  /** That was asked for; `loads.written` has what was taken. */
  readonly megabytesPerSecond: number;
  /** Units: MB. */
  readonly resident: Growth;
  readonly longestHoldMs: number;
  readonly loads: SoakFigures;
  readonly samples: readonly Sample[];
}

/** Soaks one weir. Errors: rejects when it or a load fails. */
export async function runSoak(options: SoakOptions): Promise<SoakReport> {
  const { command, medium, minutes, megabytesPerSecond } = options;
  const machine = machineOf(medium);
  const kind = weirNode(command, SETTINGS);
  const directory = dataDirectory(medium);
  const node = await BenchNode.make(kind, join(directory, "weir"));
  try {
    await node.start();
    for (const { name, partitions, retentionBytes } of SOAK_TOPICS) {
      await makeTopic({ node }, name, partitions, [
        ["retention.bytes", String(retentionBytes)],
        ["segment.bytes", String(retentionBytes / 4)],
      ]);
    }
    const seconds = Math.max(1, Math.round(minutes * 60));
    const over = new AbortController();
    const sampling = sample(node, {
      periodMs: 1000 * Math.min(SAMPLE_SECONDS, seconds / LEAST_SAMPLES),
      over: over.signal,
    });
    const loads = await soakLoads({ node, command, seconds, megabytesPerSecond })
      .finally(() => over.abort());
    const samples = await sampling;
    const head = { command, hasPeer: false, rounds: 1, isQuick: false, medium, only: null };
    return {
      ...reportHead(head, { machine, kinds: [kind] }),
      minutes,
      megabytesPerSecond,
      resident: growthOf(timed(samples, "residentMegabytes"), FLAT_MEGABYTES_PER_HOUR),
      longestHoldMs: Math.max(...samples.map((one) => one["longestHoldMs"]!)),
      loads,
      samples,
    };
  } finally {
    await node.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Looks at the broker again and again, until it is over. */
async function sample(
  node: BenchNode,
  { periodMs, over }: { readonly periodMs: number; readonly over: AbortSignal },
): Promise<Sample[]> {
  const samples: Sample[] = [];
  const startedMs = performance.now();
  let { metrics } = await holdSince(node, null);
  let cpuSeconds = node.cpuSeconds();
  let beforeMs = startedMs;
  for (let count = 1; !over.aborted; count++) {
    const waitMs = Math.max(0, startedMs + count * periodMs - performance.now());
    const timer = Promise.withResolvers<void>();
    const timeout = setTimeout(timer.resolve, waitMs);
    over.addEventListener("abort", () => timer.resolve(), { once: true });
    await timer.promise;
    clearTimeout(timeout);
    if (over.aborted) break;
    const nowMs = performance.now();
    const cpuNow = node.cpuSeconds();
    const residentMegabytes = node.residentBytes() / 1e6;
    const look = await holdSince(node, metrics);
    samples.push({
      seconds: Math.round((nowMs - startedMs) / 100) / 10,
      residentMegabytes,
      longestHoldMs: look.holdMs ?? 0,
      cpuPercent: Math.round(100_000 * (cpuNow - cpuSeconds) / (nowMs - beforeMs)),
      openFiles: node.openFileCount(),
    });
    [metrics, cpuSeconds, beforeMs] = [look.metrics, cpuNow, nowMs];
    tell(samples.at(-1)!);
  }
  return samples;
}

function tell({ seconds, residentMegabytes, longestHoldMs, cpuPercent }: Sample): void {
  process.stderr.write(
    `${seconds} s: ${formatFigure(residentMegabytes!)} MB resident, loop held up to ` +
      `${longestHoldMs} ms, ${cpuPercent} % of a core\n`,
  );
}

function timed(samples: readonly Sample[], figure: string): TimedValue[] {
  return samples.map((one) => ({ seconds: one["seconds"]!, value: one[figure]! }));
}

/** What people are told: a line each of memory, loop, processor and loads. */
export function formatSoak(
  { minutes, resident, longestHoldMs, loads, samples }: SoakReport,
): string {
  const { perHour, noise, limitPerHour, isFlat, fromSeconds } = resident;
  const middle = (figure: string) => spreadOf(samples.map((one) => one[figure]!));
  const memory = middle("residentMegabytes");
  const { written, tail } = loads;
  return [
    `resident: ${formatFigure(memory.median)} MB (${formatFigure(memory.min)}–` +
    `${formatFigure(memory.max)}), ${verdict(isFlat)}: ${signed(perHour)} MB an hour ` +
    `after ${formatFigure(fromSeconds / 60)} min, noise ${formatFigure(noise)} MB, ` +
    `limit ${formatFigure(limitPerHour)} MB an hour`,
    `loop: held up to ${longestHoldMs} ms, in the middle up to ` +
    `${middle("longestHoldMs").median} ms between two samples`,
    `processor: ${formatFigure(middle("cpuPercent").median)} % of a core; ` +
    `open files: up to ${middle("openFiles").max}`,
    `in ${minutes} min: written ${formatFigure(written["megabytesPerSecond"]!)} MB/s, ` +
    `p99 ${written["p99Ms"]} ms; read at the tail ` +
    `${formatFigure(tail["megabytesPerSecond"]!)} MB/s, from the start ${loads.catchUps} times ` +
    `(overtaken by retention ${loads.overtakenCatchUps} times); ` +
    `${loads.connections} connections; ${loads.groupMembers} members of the group, ` +
    `which committed ${loads.committedRecords} records`,
  ].map((line) => `${line}\n`).join("");
}

function verdict(isFlat: boolean | null): string {
  return isFlat === null ? "too short to tell" : isFlat ? "flat" : "NOT FLAT";
}

function signed(value: number): string {
  return value < 0 ? `−${formatFigure(-value)}` : `+${formatFigure(value)}`;
}

/** Writes a report as JSON and as a picture. Returns: the paths. */
export function writeSoak(report: SoakReport, out: string): string[] {
  const { samples, resident, minutes, megabytesPerSecond } = report;
  const { title, ...texts } = plotTexts(report);
  const panels = [
    {
      title: `resident, MB: ${signed(resident.perHour)} MB an hour, ${verdict(resident.isFlat)}`,
      values: timed(samples, "residentMegabytes"),
      growth: resident,
    },
    {
      title: "longest hold of the loop between two samples, ms",
      values: timed(samples, "longestHoldMs"),
      growth: null,
    },
  ];
  const whole = `${title}, ${minutes} minutes at ${megabytesPerSecond} MB/s`;
  return writeFiles(
    { report, svg: soakSvg(panels, { ...texts, title: whole }) },
    join(out, "soak"),
  );
}

/** `bun scripts/bench.ts soak`. Returns: the exit code. */
export async function soakMain(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: { ...COMMON_FLAGS, minutes: { type: "string" }, rate: { type: "string" } },
  });
  const { on, out } = values;
  const minutes = Number(values.minutes ?? DEFAULT_MINUTES);
  const megabytesPerSecond = Number(values.rate ?? DEFAULT_RATE);
  const isWrong = (on !== "disk" && on !== "tmpfs") || !(minutes > 0) || !(megabytesPerSecond > 0);
  if (values.help || isWrong) {
    console.error(
      "bun scripts/bench.ts soak [--minutes 30] [--rate 20] [--on tmpfs|disk]\n" +
        "                          [--command dist/weir] [--out docs/benchmarks]\n" +
        "the rate is in MB/s",
    );
    return isWrong ? 2 : 0;
  }
  const command = commandOf(values.command);
  if (command === null) return 1;
  endOnSignals();
  const report = await runSoak({ command, medium: on as Medium, minutes, megabytesPerSecond });
  console.log(formatSoak(report));
  for (const path of writeSoak(report, out)) console.log(`written: ${path}`);
  return 0;
}
