/** What a run was asked and what came of it, with machine, versions and commit: as JSON, and as a picture. */

import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import type { BrokerKind } from "./brokers.ts";
import type { Row } from "./figures.ts";
import { plotSvg, type PlotTexts } from "./plot.ts";

const ROOT = join(import.meta.dir, "..", "..");

/** Where the data lies. */
export type Medium = "tmpfs" | "disk";

/** What is measured. */
export interface BenchOptions {
  readonly command: readonly string[];
  readonly hasPeer: boolean;
  /** Besides those that warm up. */
  readonly rounds: number;
  readonly isQuick: boolean;
  readonly medium: Medium;
  /** Names of loads; null: all. */
  readonly only: readonly string[] | null;
}

/** What is said of a run beside its figures. */
export interface ReportHead {
  readonly madeAt: string;
  readonly commit: string;
  readonly machine: Readonly<Record<string, string | number>>;
  readonly versions: Readonly<Record<string, string>>;
  readonly options: BenchOptions;
}

/** What came of a run, as it is written. */
export interface BenchReport extends ReportHead {
  readonly rows: readonly Row[];
}

/** The head of a report. `machine` was asked before the load. */
export function reportHead(
  options: BenchOptions,
  { machine, kinds }: {
    readonly machine: ReportHead["machine"];
    readonly kinds: readonly Pick<BrokerKind, "name" | "version">[];
  },
): ReportHead {
  return {
    madeAt: new Date().toISOString(),
    commit: commitOf(),
    machine,
    versions: Object.fromEntries(kinds.map(({ name, version }) => [name, version])),
    options: { ...options, command: options.command.map(nameOf) },
  };
}

/** A path without what is this machine's alone. */
function nameOf(word: string): string {
  return word.startsWith(`${ROOT}/`) ? relative(ROOT, word) : basename(word);
}

/** This machine, and how busy it is now. */
export function machineOf(medium: Medium): ReportHead["machine"] {
  const processors = cpus();
  return {
    processor: processors[0]?.model ?? "",
    processors: processors.length,
    memoryBytes: totalmem(),
    kernel: release(),
    medium,
    loadAverageBefore: loadavg()[0]!,
  };
}

/** The commit that was measured, with a mark where files differ from it. */
function commitOf(): string {
  const git = (...words: string[]) =>
    Bun.spawnSync(["git", ...words], { cwd: ROOT }).stdout.toString().trim();
  const isChanged = git("status", "--porcelain", "--untracked-files=no") !== "";
  return `${git("rev-parse", "HEAD")}${isChanged ? " with changes" : ""}`;
}

/** The peer, or null without one. */
export function peerNameOf({ versions }: ReportHead): string | null {
  return Object.keys(versions).find((name) => name !== "weir") ?? null;
}

/** What stands above the picture of a run. */
export function plotTexts(head: ReportHead): PlotTexts {
  const { versions, machine, commit, madeAt, options: { medium, rounds } } = head;
  const name = peerNameOf(head);
  const peerName = name === null ? null : `${name} ${versions[name]}`;
  return {
    title: `weir ${versions["weir"]}${peerName === null ? "" : ` beside ${peerName}`}`,
    subtitle: `${machine["processors"]} × ${machine["processor"]}, ${medium}, ` +
      `${rounds} ${rounds === 1 ? "round" : "rounds"}, ${commit.slice(0, 10)}, ${
        madeAt.slice(0, 10)
      }`,
    peerName,
  };
}

/** Writes a report as JSON and as a picture of its rows. Returns: the paths. */
export function writeReport(
  report: BenchReport,
  { suite, out }: {
    readonly suite: { readonly name: string; readonly title: string };
    readonly out: string;
  },
): string[] {
  const texts = plotTexts(report);
  const svg = plotSvg(report.rows, { ...texts, title: `${texts.title}, ${suite.title}` });
  return writeFiles({ report, svg }, join(out, `${suite.name}_${report.options.medium}`));
}

/** Writes a report of any shape beside its picture. Returns: the paths. */
export function writeFiles(
  { report, svg }: { readonly report: ReportHead; readonly svg: string },
  path: string,
): string[] {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.json`, `${JSON.stringify(report, null, 2)}\n`);
  writeFileSync(`${path}.svg`, svg);
  return [`${path}.json`, `${path}.svg`];
}
