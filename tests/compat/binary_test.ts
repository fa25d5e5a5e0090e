/**
 * The compiled executable: alone in an empty directory, on a machine that has nothing else, it serves.
 *
 * It is built from the source as it is, so that what is tried is what would be shipped.
 */

import { beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { build, isAtHand, PLATFORMS } from "../../scripts/build.ts";
import packageJson from "../../package.json" with { type: "json" };
import { eventually, scratchDirectory, startWeir } from "./harness.ts";

const HOST = `${process.platform}-${process.arch}`;
const platform = PLATFORMS[HOST];
const isExternal = process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined;
const reason = isExternal
  ? " (another broker is under test)"
  : platform === undefined
  ? ` (nothing is built for ${HOST})`
  : "";
const CODECS = ["none", "gzip", "snappy", "lz4", "zstd"];
/** ELF's numbers of machines. */
const X64 = 62;
const ARM64 = 183;

/** How often each machine's ELF header stands in a file: the executable and the addons in it. */
function elfMachines(path: string): Map<number, number> {
  const bytes = readFileSync(path);
  const magic = Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  const found = new Map<number, number>();
  for (let at = bytes.indexOf(magic); at >= 0; at = bytes.indexOf(magic, at + 1)) {
    const machine = bytes.readUInt16LE(at + 18);
    if (machine !== 0) found.set(machine, (found.get(machine) ?? 0) + 1);
  }
  return found;
}

describe.skipIf(reason !== "")(`dist/weir${reason}`, () => {
  const folder = scratchDirectory("binary");
  const binary = join(folder, "bin", "weir");
  const home = join(folder, "home");

  beforeAll(async () => {
    mkdirSync(join(folder, "bin"));
    mkdirSync(home);
    if (platform !== undefined) copyFileSync(await build(HOST, platform), binary);
  }, 120_000);

  /** Runs a command of the executable in the empty directory. Returns: what it printed. */
  async function weir(words: readonly string[], input = ""): Promise<string> {
    const child = Bun.spawn([binary, ...words], {
      cwd: home,
      env: { HOME: home, PATH: "/nonexistent" },
      stdin: new TextEncoder().encode(input),
      stdout: "pipe",
      stderr: "pipe",
    });
    const [output, errors, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    if (code !== 0) throw new Error(`weir ${words.join(" ")} ended with ${code}: ${errors}`);
    return output;
  }

  test("version: says which", async () => {
    expect(await weir(["version"])).toContain(packageJson.version);
  });

  test("serve: alone in an empty directory, with every codec, HTTP, and a clean stop", async () => {
    const startMs = performance.now();
    const broker = await startWeir({
      command: [binary],
      workingDirectory: home,
      settings: { "log.dirs": "./data", "log.segment.delete.delay.ms": "0" },
    });
    const startedMs = performance.now() - startMs;
    try {
      for (const codec of CODECS) {
        const lines = Array.from({ length: 100 }, (_, index) => `${codec} line ${index}\n`).join(
          "",
        );
        const topic = `codec-${codec}`;
        await weir(["-b", broker.bootstrap, "produce", topic, "--compression", codec], lines);
        const read = ["consume", topic, "--from", "beginning", "--count", "100"];
        expect(await weir(["-b", broker.bootstrap, ...read])).toBe(lines);
      }
      const http = `http://127.0.0.1:${broker.httpPort}`;
      expect((await fetch(`${http}/readyz`)).status).toBe(200);
      const page = await (await fetch(`${http}/`)).text();
      const files = [...page.matchAll(/\/console\/assets\/[^"]+/g)].map(([path]) => path);
      expect(files).toHaveLength(3);
      for (const path of files) expect((await fetch(`${http}${path}`)).status).toBe(200);
      const metrics = await (await fetch(`${http}/metrics`)).text();
      expect(metrics).toContain(`weir_build_info{version="${packageJson.version}"} 1`);
      expect(metrics).toContain('weir_requests_total{api="Produce"}');
      // Removed by a worker thread, whose code is in the file too.
      await weir(["-b", broker.bootstrap, "topic", "delete", "codec-gzip"]);
      await eventually("the deleted topic's directory is gone", () => {
        const left = readdirSync(join(home, "data")).filter((name) => name.includes("codec-gzip"));
        return left.length === 0 ? true : undefined;
      });
    } finally {
      const stopMs = performance.now();
      expect(await broker.stop()).toBe(0);
      expect(performance.now() - stopMs).toBeLessThan(2000);
    }
    expect(readdirSync(home)).toEqual(["data"]);
    // A loose bound for a loaded machine; the figure itself is for the reader.
    expect(startedMs).toBeLessThan(5000);
    console.log(`dist/weir: listens ${Math.round(startedMs)} ms after it was started`);
  }, 60_000);
});

describe("dist/weir-linux-arm64", () => {
  const arm64 = PLATFORMS["linux-arm64"];
  const isMissing = arm64 === undefined || !isAtHand(arm64);
  const why = isMissing ? " (its runtime is not here: npm run build fetches it)" : "";

  test.skipIf(isMissing)(`build: all native code inside is for arm64${why}`, async () => {
    if (arm64 === undefined) return;
    const machines = elfMachines(await build("linux-arm64", arm64));
    // Bun itself, and the addons for CRC-32C, Snappy and LZ4.
    expect(machines.get(ARM64)).toBeGreaterThanOrEqual(4);
    expect(machines.get(X64)).toBeUndefined();
  }, 120_000);
});
