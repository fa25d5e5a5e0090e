/** The ratchet in the gate: the loads of `ratchet.ts` are judged by what is recorded; and its arithmetic, alone. */

import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { runProgram } from "../compat/harness.ts";
import { cpuSecondsOf, fileBytesOf } from "./broker_figures.ts";
import {
  advice,
  type FigureName,
  formatSamples,
  formatVerdict,
  judge,
  type Measured,
  ratioOf,
  recordOf,
  type Round,
  type Used,
} from "./ratchet_figures.ts";
import { LOADS } from "./ratchet_loads.ts";
import record from "./ratchet.json" with { type: "json" };

const isElsewhere = process.platform !== "linux";
const isExternal = process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined;
const reason = isElsewhere
  ? " (only Linux tells the processor time of another process)"
  : isExternal
  ? " (another broker is under test)"
  : "";
/** Beyond the most processes that Linux has. */
const NOBODY = 2 ** 22 + 1;
/** Three takes of everything, on a machine that is busy. */
const GATE_TIMEOUT_MS = 480_000;

test.skipIf(reason !== "")(
  `ratchet: no load takes a fifth more beside the reference than is recorded${reason}`,
  async () => {
    const script = join(import.meta.dir, "ratchet.ts");
    const { code, stdout, stderr } = await runProgram([process.execPath, script]);
    const lines = stdout.split("\n");
    if (code !== 0) {
      const found = lines.filter((line) => !/^(ok| {7}\(|$)/.test(line));
      throw new Error(`ratchet.ts ended with ${code}:\n${found.join("\n")}\n${stderr}`);
    }
    // What was found is worth a look where it holds, too.
    console.log(stdout);
  },
  GATE_TIMEOUT_MS,
);

test("ratchet.json: has each figure of each load, and no other", () => {
  const recorded = Object.entries(record.ratios).map(([load, ratios]) => [
    load,
    Object.keys(ratios),
  ]);
  expect(recorded).toEqual(LOADS.map(({ name, figures }) => [name, [...figures]]));
});

test.skipIf(isElsewhere)("cpuSecondsOf, fileBytesOf: what the process knows of itself", () => {
  const untilMs = performance.now() + 20;
  while (performance.now() < untilMs);
  const { user, system } = process.cpuUsage();
  // What goes by between the two questions, and ticks in which the system counts.
  expect(cpuSecondsOf(process.pid)).toBeWithin(
    (user + system) / 1e6 - 0.02,
    (user + system) / 1e6 + 0.1,
  );
  const before = fileBytesOf(process.pid);
  writeFileSync("/dev/null", new Uint8Array(1_000_000));
  const after = fileBytesOf(process.pid);
  expect(after.writtenBytes - before.writtenBytes).toBeWithin(1_000_000, 1_100_000);
  expect(after.readBytes).toBeGreaterThan(before.readBytes);
  expect([cpuSecondsOf(NOBODY), fileBytesOf(NOBODY)]).toEqual([
    0,
    { writtenBytes: 0, readBytes: 0 },
  ]);
});

const used = (processorUs: number): Used => ({
  processorUs,
  writtenBytes: 200,
  readBytes: 0,
  wallUs: 50,
});
/** A take whose rounds have these ratios, at whatever speed of the machine. */
const take = (...ratios: number[]): Round[] =>
  ratios.map((ratio, index) => {
    const reference = 3 * (index + 1);
    return { weir: used(ratio * reference), reference: used(reference) };
  });
const figures: readonly FigureName[] = ["processorUs"];
const measured = (...takes: Round[][]): Measured => ({ load: "fetch", figures, takes });
const recorded = { fetch: { processorUs: 2 } };

test("ratioOf: pairs what was measured in the same round, and no round counts much", () => {
  expect(ratioOf(take(2, 2, 2), "processorUs")).toBeCloseTo(2, 12);
  expect(ratioOf(take(1, 4), "processorUs")).toBeCloseTo(2, 12);
  // The sums would say 3.09.
  expect(ratioOf(take(2, 2, 2, 2, 2, 2, 2, 2, 2, 8), "processorUs")).toBeWithin(2, 2.4);
  expect(ratioOf(take(2, 3), "writtenBytes")).toBeCloseTo(1, 12);
});

const KINDS: readonly [title: string, takes: readonly number[], kind: string][] = [
  ["as recorded", [2], "holds"],
  ["a fifth worse, to the limit", [2.39], "holds"],
  ["beyond the limit", [2.41], "worse"],
  ["beyond it in each take", [2.41, 5, 2.5], "worse"],
  ["one take within it", [2.41, 2.39, 2.5], "holds"],
  ["a little better", [1.68], "holds"],
  ["much better", [1.66], "better"],
  ["much better once only", [1.66, 2.5], "holds"],
];
for (const [title, ratios, kind] of KINDS) {
  test(`judge: ${title}`, () => {
    const takes = ratios.map((ratio) => take(ratio, ratio));
    expect(judge(measured(...takes), recorded).map((verdict) => verdict.kind as string))
      .toEqual([kind]);
  });
}

test("judge: each figure alone, and none that is not recorded", () => {
  const both: Measured = {
    ...measured(take(5)),
    figures: ["processorUs", "writtenBytes"],
  };
  const limits = { fetch: { processorUs: 2, writtenBytes: 1 } };
  expect(judge(both, limits).map(({ kind }) => kind)).toEqual(["worse", "holds"]);
  expect(() => judge(both, recorded)).toThrow(
    'Cannot judge fetch, writtenBytes: no ratio is recorded; "bun tests/bench/ratchet.ts --record"',
  );
});

test("recordOf: the middle of the takes, to a thousandth", () => {
  expect(recordOf([measured(take(2), take(9), take(2.34567))])).toEqual({
    fetch: { processorUs: 2.346 },
  });
});

test("formatVerdict, formatSamples, advice: say what was found, and what to do", () => {
  const found = measured(take(2.5, 2.5), take(2.6, 2.6));
  const worse = judge(found, recorded);
  expect(worse.map(formatVerdict)).toEqual([
    "WORSE  fetch, processor time: 2.500 (+25 %), 2.600 (+30 %) × the reference, recorded 2.000",
  ]);
  expect(formatSamples(found, "processorUs")).toBe(
    "  take 1, µs: 7.50/3.00 15.0/6.00\n  take 2, µs: 7.80/3.00 15.6/6.00\n",
  );
  expect(advice(worse)).toContain("\n  bun tests/bench/ratchet.ts --record --only fetch\n");
  expect(advice(worse)).toContain("weir takes over 20 % more than is recorded for fetch");
  const better = judge(measured(take(1.5)), recorded);
  expect(better.map(formatVerdict)).toEqual([
    "better fetch, processor time: 1.500 (−25 %) × the reference, recorded 2.000",
  ]);
  expect(advice(better)).toContain("Record it, so that it stays so:\n");
  expect(advice(judge(measured(take(2)), recorded))).toBe("");
});
