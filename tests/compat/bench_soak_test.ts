/** `scripts/bench.ts soak`, run tiny with real processes: it must work, its figures are not judged here. */

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { formatSoak, runSoak, writeSoak } from "../../scripts/bench/soak.ts";
import { repositoryRoot, runProgram, scratchDirectory } from "./harness.ts";

const WEIR = [process.execPath, join(repositoryRoot, "main.ts")];
const isExternal = process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined;

test.skipIf(isExternal)("runSoak: all loads are on the broker, and it is looked at", async () => {
  const report = await runSoak({
    command: WEIR,
    medium: "disk",
    minutes: 0.05,
    megabytesPerSecond: 2,
  });
  const { loads, samples, resident } = report;
  expect(loads.written["megabytesPerSecond"]).toBeGreaterThan(0);
  expect(loads.tail["megabytesPerSecond"]).toBeGreaterThan(0);
  for (const figure of ["catchUps", "connections", "groupMembers", "committedRecords"] as const) {
    expect(loads[figure], figure).toBeGreaterThan(0);
  }
  expect(samples.length).toBeGreaterThan(3);
  for (const sample of samples) expect(sample["residentMegabytes"]).toBeGreaterThan(0);
  expect(resident.isFlat).toBeNull();
  expect(formatSoak(report)).toContain("too short to tell");
  const [json, svg] = writeSoak(report, scratchDirectory("soak"));
  expect(JSON.parse(readFileSync(json!, "utf8"))).toEqual(JSON.parse(JSON.stringify(report)));
  const picture = readFileSync(svg!, "utf8");
  expect(picture).toStartWith("<svg ");
  expect(picture.match(/<circle /g)).toHaveLength(2 * samples.length);
  expect(picture).not.toMatch(/NaN|Infinity|undefined/);
}, 60_000);

test("bench soak: no time at all ends it with the usage", async () => {
  const script = [process.execPath, join(repositoryRoot, "scripts", "bench.ts"), "soak"];
  const wrong = await runProgram([...script, "--minutes", "0"]);
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("--minutes 30")]);
});
