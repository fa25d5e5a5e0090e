/**
 * What the ratchet makes of its samples: ratios to the reference, which of them are worse than what is recorded, and the
 * sentences about it. Pure, so that its arithmetic is tested without a server.
 *
 * A ratio is weir's figure over the reference's of the same round; less is better. A figure fails when each of its takes
 * is worse than the recorded ratio by more than `TOLERANCE`.
 */

import { formatFigure, spreadOf } from "../../scripts/bench/figures.ts";

/** So much worse than the recorded ratio may a ratio be. */
export const TOLERANCE = 0.2;
/** How ratios are recorded. */
export const RENEW = "bun tests/bench/ratchet.ts --record";

/** What a server used in one round, for each request or megabyte of it. */
export interface Used {
  /** Processor time of all its threads. Units: µs. */
  readonly processorUs: number;
  /** Bytes that it handed to the file system, and got from there. */
  readonly writtenBytes: number;
  readonly readBytes: number;
  /** How long the round took; told, never judged. Units: µs. */
  readonly wallUs: number;
}

/** The figures that a load may be judged by. */
export type FigureName = Exclude<keyof Used, "wallUs">;

/** One round: what each server used for the same work. */
export interface Round {
  readonly weir: Used;
  readonly reference: Used;
}

/** A load with all that was measured of it. */
export interface Measured {
  readonly load: string;
  /** By what it is judged. */
  readonly figures: readonly FigureName[];
  /** Shape: takes in their order, each of several rounds. */
  readonly takes: readonly (readonly Round[])[];
}

/** Ratios as they are recorded: by load, then by figure. */
export type Recorded = Readonly<Record<string, Readonly<Partial<Record<FigureName, number>>>>>;

/** One figure of one load beside what is recorded. */
export interface Verdict {
  readonly load: string;
  readonly figure: FigureName;
  readonly recorded: number;
  /** Shape: one a take. */
  readonly ratios: readonly number[];
  readonly kind: "holds" | "worse" | "better";
}

/** The ratio of one take: the geometric mean of its rounds, in which each counts and none of them much. */
export function ratioOf(rounds: readonly Round[], figure: keyof Used): number {
  const sum = rounds.reduce((total, { weir, reference }) => {
    return total + Math.log(weir[figure] / reference[figure]);
  }, 0);
  return Math.exp(sum / rounds.length);
}

/** What each figure of a load comes to. Errors: throws for one that is not recorded. */
export function judge({ load, figures, takes }: Measured, recorded: Recorded): Verdict[] {
  return figures.map((figure) => {
    const limit = recorded[load]?.[figure];
    if (limit === undefined) {
      throw new Error(
        `Cannot judge ${load}, ${figure}: no ratio is recorded; "${RENEW}" does that`,
      );
    }
    const ratios = takes.map((rounds) => ratioOf(rounds, figure));
    const isWorse = ratios.every((ratio) => ratio > limit * (1 + TOLERANCE));
    const isBetter = ratios.every((ratio) => ratio < limit / (1 + TOLERANCE));
    return {
      load,
      figure,
      recorded: limit,
      ratios,
      kind: isWorse ? "worse" : isBetter ? "better" : "holds",
    };
  });
}

/** The ratios of loads as they are to be recorded: the middle of their takes. */
export function recordOf(measured: readonly Measured[]): Recorded {
  return Object.fromEntries(measured.map(({ load, figures, takes }) => [
    load,
    Object.fromEntries(figures.map((figure) => {
      return [
        figure,
        Number(spreadOf(takes.map((rounds) => ratioOf(rounds, figure))).median.toFixed(3)),
      ];
    })),
  ]));
}

const NAMES: Readonly<Record<FigureName, string>> = {
  processorUs: "processor time",
  writtenBytes: "bytes written to files",
  readBytes: "bytes read from files",
};
const UNITS: Readonly<Record<FigureName, string>> = {
  processorUs: "µs",
  writtenBytes: "bytes",
  readBytes: "bytes",
};

const formatPercent = (ratio: number, recorded: number) => {
  const percent = Math.round((ratio / recorded - 1) * 100);
  return `${percent < 0 ? "−" : "+"}${Math.abs(percent)} %`;
};

/** One line: load, figure, recorded and found ratios. */
export function formatVerdict({ load, figure, recorded, ratios, kind }: Verdict): string {
  const found = ratios.map((ratio) => `${ratio.toFixed(3)} (${formatPercent(ratio, recorded)})`);
  const mark = { holds: "ok    ", worse: "WORSE ", better: "better" }[kind];
  return `${mark} ${load}, ${NAMES[figure]}: ${found.join(", ")} × the reference, ` +
    `recorded ${recorded.toFixed(3)}`;
}

/** All samples of a figure, a line a take, each `weir/reference`. */
export function formatSamples({ takes }: Measured, figure: FigureName): string {
  const pair = ({ weir, reference }: Round) =>
    `${formatFigure(weir[figure])}/${formatFigure(reference[figure])}`;
  return takes
    .map((rounds, index) =>
      `  take ${index + 1}, ${UNITS[figure]}: ${rounds.map(pair).join(" ")}\n`
    )
    .join("");
}

/** What to do about the verdicts; empty where all hold. */
export function advice(verdicts: readonly Verdict[]): string {
  const named = (kind: Verdict["kind"]) => {
    const loads = verdicts.filter((verdict) => verdict.kind === kind).map(({ load }) => load);
    return [...new Set(loads)].join(",");
  };
  const [worse, better] = [named("worse"), named("better")];
  const worseText = worse === "" ? "" : `
weir takes over ${
    TOLERANCE * 100
  } % more than is recorded for ${worse}, in each take. Either make it cheaper again
("bun --cpu-prof main.ts serve" under "weir bench" shows where the time goes), or, where the work is worth it, record the
new ratio and say why in the commit:
  ${RENEW} --only ${worse}
`;
  const betterText = better === "" ? "" : `
weir takes less than is recorded for ${better}, by over ${
    TOLERANCE * 100
  } %. Record it, so that it stays so:
  ${RENEW} --only ${better}
`;
  return worseText + betterText;
}
