/** `scripts/bench.ts`, run tiny with real processes: it must work, its figures are not judged here. */

import { expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { writeReport } from "../../scripts/bench/report.ts";
import { singleNode } from "../../scripts/bench/single_node.ts";
import { runBench } from "../../scripts/bench/suite.ts";
import { threeNodes } from "../../scripts/bench/three_nodes.ts";
import { repositoryRoot, runOk, runProgram, scratchDirectory, startWeir } from "./harness.ts";

const WEIR = [process.execPath, join(repositoryRoot, "main.ts")];
const isExternal = process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined;

test.skipIf(isExternal)("runBench: measures each load, and writes what it found", async () => {
  const report = await runBench(singleNode, {
    command: WEIR,
    hasPeer: false,
    rounds: 1,
    isQuick: true,
    medium: "disk",
    only: ["single", "fetch", "tail", "start"],
  });
  expect(report.rows.map(({ name }) => name)).toEqual(["single", "fetch", "tail", "start"]);
  for (const { weir, peer, ratio } of report.rows) {
    expect(weir.samples).toHaveLength(1);
    expect(weir.median).toBeGreaterThan(0);
    expect([peer, ratio]).toEqual([null, null]);
  }
  const out = scratchDirectory("bench");
  expect(writeReport(report, { suite: singleNode, out })).toEqual([
    join(out, "single_node_disk.json"),
    join(out, "single_node_disk.svg"),
  ]);
  const written = JSON.parse(readFileSync(join(out, "single_node_disk.json"), "utf8"));
  expect(written).toEqual(JSON.parse(JSON.stringify(report)));
  expect(written.commit).toMatch(/^[0-9a-f]{40}( with changes)?$/);
  // Nothing of where it was measured; the runtime may lie within the repository or elsewhere.
  expect(written.options.command).toEqual([expect.stringMatching(/^[^/].*$/), "main.ts"]);
  expect(written.machine.processors).toBeGreaterThan(0);
  expect(readFileSync(join(out, "single_node_disk.svg"), "utf8")).toStartWith("<svg ");
}, 60_000);

test.skipIf(isExternal)("runBench: three nodes are one broker that is measured", async () => {
  const options = { hasPeer: false, rounds: 1, isQuick: true, medium: "disk" } as const;
  const only = ["produce", "rate"];
  const report = await runBench(threeNodes, { ...options, command: WEIR, only });
  const wanted = threeNodes.rowSpecs("disk").filter(({ load }) => only.includes(load));
  expect(report.rows.map(({ name }) => name)).toEqual(wanted.map(({ name }) => name));
  for (const { weir } of report.rows) expect(weir.median).toBeGreaterThan(0);
  const out = scratchDirectory("bench");
  const paths = writeReport(report, { suite: threeNodes, out });
  expect(paths).toContain(join(out, "three_nodes_disk.svg"));
}, 60_000);

test.skipIf(isExternal)("runBench: a load that fails ends it with what the load said", async () => {
  const directory = scratchDirectory("bench");
  const command = join(directory, "weir");
  // A weir that serves like any other, and puts no load on anything.
  writeFileSync(
    command,
    `#!/bin/sh\ncase "$*" in *bench*produce*) echo "no load today" >&2; exit 3;; esac\n` +
      `exec ${WEIR.join(" ")} "$@"\n`,
    { mode: 0o755 },
  );
  const options = { hasPeer: false, rounds: 1, isQuick: true, medium: "disk" } as const;
  const found = runBench(singleNode, { ...options, command: [command], only: ["produce"] });
  await expect(found).rejects.toThrow(/^weir bench produce .* ended with 3: no load today\n$/);
}, 60_000);

test.skipIf(isExternal)("weir bench fanout: a real gateway delivers every record", async () => {
  const broker = await startWeir();
  const words = [
    "-b",
    broker.bootstrap,
    "bench",
    "fanout",
    "--http",
    `127.0.0.1:${broker.httpPort}`,
  ];
  const load = ["--subscribers", "20", "--rate", "50", "--seconds", "1", "--json"];
  const figures = JSON.parse(await runOk([...WEIR, ...words, ...load]));
  expect(figures.sentCount).toBeWithin(40, 60);
  expect(figures.deliveredCount).toBe(20 * figures.sentCount);
  expect(figures.p50Ms).toBeGreaterThan(0);
  await broker.stop();
}, 60_000);

test("bench: a load that is not known and a weir that is not there end it in a sentence", async () => {
  const script = [process.execPath, join(repositoryRoot, "scripts", "bench.ts")];
  const nowhere = join(scratchDirectory("bench"), "weir");
  const missing = await runProgram([...script, "--command", nowhere]);
  expect(missing.code).toBe(1);
  expect(missing.stderr).toBe(
    `Cannot measure ${nowhere}: it is not there; "npm run build" makes dist/weir\n`,
  );
  const unknown = await runProgram([...script, "--command", WEIR.join(" "), "--only", "sing"]);
  expect(unknown.code).toBe(1);
  expect(unknown.stderr).toStartWith("Cannot measure sing: the loads are produce, ");
  expect(existsSync(nowhere)).toBe(false);
});
