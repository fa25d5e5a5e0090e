/** `scripts/bench.ts series`, run tiny with real processes: it must work, its figures are not judged here. */

import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runSeries, writeSeries } from "../../scripts/bench/series.ts";
import { repositoryRoot, runProgram, scratchDirectory } from "./harness.ts";

const WEIR = [process.execPath, join(repositoryRoot, "main.ts")];
const isExternal = process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined;

test.skipIf(isExternal)("runSeries: measures each figure of the series", async () => {
  const report = await runSeries({
    command: WEIR,
    hasPeer: false,
    rounds: 1,
    isQuick: true,
    medium: "disk",
    only: ["partitions", "consumers", "batches", "start"],
    most: 1,
  });
  const names = report.series.map(({ name }) => name);
  expect(names).toEqual(["partitions", "consumers", "batches", "start"]);
  for (const { name, figures, points, leftOut, failed } of report.series) {
    expect([...leftOut, ...failed], name).toEqual([]);
    expect(points.map(({ x, peer }) => [x, peer])).toEqual([[1, null]]);
    expect(Object.keys(points[0]!.weir)).toEqual(figures.map(({ name }) => name));
    for (const [figure, { median, samples }] of Object.entries(points[0]!.weir)) {
      expect(samples).toHaveLength(1);
      // It may be idle for so short a time.
      if (figure !== "idlePercent") expect(median, `${name} ${figure}`).toBeGreaterThan(0);
    }
  }
  const out = scratchDirectory("series");
  const [json, svg] = writeSeries(report, out);
  expect([json, svg]).toEqual(["json", "svg"].map((end) => join(out, `series_disk.${end}`)));
  expect(JSON.parse(readFileSync(json!, "utf8"))).toEqual(JSON.parse(JSON.stringify(report)));
  expect(readFileSync(svg!, "utf8")).toStartWith("<svg ");
}, 60_000);

test.skipIf(isExternal)(
  "runSeries: a point that fails is told of, with what was said",
  async () => {
    const directory = scratchDirectory("series");
    const command = join(directory, "weir");
    // A weir that serves like any other, and opens no connections.
    writeFileSync(
      command,
      `#!/bin/sh\ncase "$*" in *bench*connections*) echo "none today" >&2; exit 3;; esac\n` +
        `exec ${WEIR.join(" ")} "$@"\n`,
      { mode: 0o755 },
    );
    const options = { hasPeer: false, rounds: 1, isQuick: true, medium: "disk" } as const;
    const asked = { ...options, command: [command], only: ["connections"], most: 1 };
    const { series: [found] } = await runSeries(asked);
    expect(found).toMatchObject({ name: "connections", points: [] });
    expect(found!.failed[0]).toMatch(/^connections 1: weir bench .* ended with 3: none today$/);
  },
  60_000,
);

test("bench series: what is not known ends it with the usage", async () => {
  const script = [process.execPath, join(repositoryRoot, "scripts", "bench.ts"), "series"];
  const unknown = await runProgram([...script, "--only", "sing"]);
  expect(unknown.code).toBe(2);
  expect(unknown.stderr).toContain("series: partitions, connections, consumers, batches, start");
  const nowhere = join(scratchDirectory("series"), "weir");
  const missing = await runProgram([...script, "--command", nowhere]);
  expect([missing.code, missing.stderr]).toEqual([
    1,
    `Cannot measure ${nowhere}: it is not there; "npm run build" makes dist/weir\n`,
  ]);
});
