/**
 * The one gate: `npm test`, or `bun scripts/check.ts`.
 *
 *     bun scripts/check.ts                       everything
 *     bun scripts/check.ts fmt lint types        these steps
 *     bun scripts/check.ts tests broker/config   the tests whose path holds one of the words
 *
 * Tests in memory run side by side, one file a processor, the slowest first (`tests/timings.json`); those with real
 * processes come after them, one at a time, since they look at the clock.
 * Prints each step with its time, then the tests that were skipped, then those that failed with what they found,
 * since a random test is repeated by what it prints; ends on a line `N passed, N failed, N skipped`, in which each
 * step before the tests counts as one. Every tool comes from node_modules and is called by its file, so that npm may
 * be told to run no install scripts.
 */

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

const ROOT = join(import.meta.dir, "..");
const TEST_TIMEOUT_MS = 60_000;
/** Of what one test found, so much is said again at the end. */
const MAX_FAILURE_LINES = 16;
const MAX_LINE_LENGTH = 400;

/** What a step came to. */
interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: readonly string[];
  /** Each test that failed: its name, and beneath it what it found. */
  readonly failures: readonly string[];
}

/** What the end of the output of `bun test` says. */
export function parseTestOutput(output: string): Outcome {
  // deno-lint-ignore no-control-regex -- colours are taken out
  const lines = output.replaceAll(/\u001b\[[0-9;]*m/g, "").split("\n");
  const count = (word: string) => {
    const line = lines.findLast((line) => new RegExp(`^\\s*\\d+ ${word}$`).test(line));
    return line === undefined ? 0 : parseInt(line, 10);
  };
  const skipped = lines
    .filter((line) => line.startsWith("(skip) "))
    .map((line) => line.slice("(skip) ".length).replace(/ \[[\d.]+ms\]$/, ""));
  // A file that cannot be loaded is an error and no test.
  const failed = count("fail") + count("errors?");
  const names = [...new Set(skipped)];
  const unnamed = Math.max(0, count("skip") - skipped.length);
  return {
    passed: count("pass"),
    failed,
    skipped: unnamed === 0 ? names : [...names, `${unnamed} more`],
    failures: failuresOf(lines),
  };
}

/** What each test found stands above its line; at the end there are the lines again, with nothing above them. */
function failuresOf(lines: readonly string[]): string[] {
  const failures = new Map<string, readonly string[]>();
  let above: string[] = [];
  let isError = false;
  for (const line of lines) {
    const result = /^\((pass|fail|skip)\) (.*?)(?: \[[\d.]+ms\])?$/.exec(line);
    if (result !== null) {
      const [, kind, name] = result as unknown as [string, string, string];
      if (kind === "fail" && !failures.has(name)) failures.set(name, above);
      [above, isError] = [[], false];
      continue;
    }
    if (line.startsWith("error: ")) isError = true;
    if (/^ +at /.test(line)) isError = false;
    if (isError && line !== "") above.push(line.slice(0, MAX_LINE_LENGTH));
  }
  return [...failures].map(([name, found]) =>
    [name, ...found.slice(0, MAX_FAILURE_LINES).map((line) => `  ${line}`)].join("\n")
  );
}

/** The file of Deno for this platform. */
export function denoPath(): string {
  const folder = join(ROOT, "node_modules", "@deno");
  for (const platform of existsSync(folder) ? readdirSync(folder) : []) {
    const path = join(folder, platform, "deno");
    if (existsSync(path)) return path;
  }
  throw new Error("Cannot find Deno in node_modules/@deno: call npm ci");
}

const tool = (...path: string[]) => [process.execPath, join(ROOT, "node_modules", ...path)];

const STEPS: Readonly<Record<string, () => string[]>> = {
  fmt: () => [denoPath(), "fmt", "--check"],
  lint: () => [denoPath(), "lint"],
  oxlint: () => [...tool("oxlint", "bin", "oxlint"), "--type-aware"],
  types: () => [...tool("typescript", "bin", "tsc"), "-p", "."],
  // Scripts for browsers have a document, and nothing of Bun's.
  browser_types:
    () => [...tool("typescript", "bin", "tsc"), "-p", "broker/gateway/console/browser"],
};

/** Folders whose tests start processes, open ports, measure time. */
const REAL_FOLDERS: readonly string[] = ["bench", "browser", "compat"];

/** Options of `bun test` for a part of the tests. */
const TEST_STEPS: Readonly<Record<string, readonly string[]>> = {
  memory: [
    "--parallel",
    "--no-isolate",
    `--timings=${join("tests", "timings.json")}`,
    ...REAL_FOLDERS.map((folder) => `--path-ignore-patterns=tests/${folder}/**`),
  ],
  real: REAL_FOLDERS.map((folder) => `tests/${folder}/`),
};

async function run(command: readonly string[]): Promise<{ code: number; output: string }> {
  const child = Bun.spawn([...command], {
    cwd: ROOT,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
  });
  const chunks: string[] = [];
  const forward = async (stream: ReadableStream<Uint8Array>, out: NodeJS.WriteStream) => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      const text = decoder.decode(chunk, { stream: true });
      chunks.push(text);
      out.write(text);
    }
  };
  await Promise.all([
    forward(child.stdout, process.stdout),
    forward(child.stderr, process.stderr),
  ]);
  return { code: await child.exited, output: chunks.join("") };
}

async function runStep(command: readonly string[]): Promise<Outcome> {
  const { code } = await run(command);
  const failed = code === 0 ? 0 : 1;
  return { passed: 1 - failed, failed, skipped: [], failures: [] };
}

async function runTests(step: string, patterns: readonly string[]): Promise<Outcome> {
  const options = ["--randomize", `--timeout=${TEST_TIMEOUT_MS}`, ...TEST_STEPS[step] ?? []];
  const { code, output } = await run([process.execPath, "test", ...options, ...patterns]);
  const outcome = parseTestOutput(output);
  // A crash, or a summary that says less than the exit code does.
  return code !== 0 && outcome.failed === 0 ? { ...outcome, failed: 1 } : outcome;
}

async function main(words: readonly string[]): Promise<number> {
  const patterns = words.filter((word) =>
    STEPS[word] === undefined && TEST_STEPS[word] === undefined && word !== "tests"
  );
  const wanted = words.filter((word) => !patterns.includes(word));
  const steps = wanted.length === 0 && patterns.length === 0
    ? [...Object.keys(STEPS), ...Object.keys(TEST_STEPS)]
    : wanted;
  const outcomes: Outcome[] = [];
  const lines: string[] = [];
  for (const step of steps.length === 0 ? ["tests"] : steps) {
    console.log(`── ${step}`);
    const startMs = performance.now();
    const command = STEPS[step]?.();
    const outcome = command === undefined ? await runTests(step, patterns) : await runStep(command);
    const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
    lines.push(`${outcome.failed === 0 ? "ok    " : "FAILED"} ${step.padEnd(8)} ${seconds} s`);
    outcomes.push(outcome);
  }
  const sum = (read: (outcome: Outcome) => number) =>
    outcomes.reduce((total, outcome) => total + read(outcome), 0);
  const skipped = outcomes.flatMap((outcome) => outcome.skipped);
  const failed = sum((outcome) => outcome.failed);
  console.log("");
  for (const name of skipped) console.log(`skipped: ${name}`);
  for (const failure of outcomes.flatMap(({ failures }) => failures)) {
    console.log(`failed: ${failure}`);
  }
  for (const line of lines) console.log(line);
  console.log(
    `${sum((outcome) => outcome.passed)} passed, ${failed} failed, ${skipped.length} skipped`,
  );
  return failed === 0 ? 0 : 1;
}

if (import.meta.main) process.exit(await main(process.argv.slice(2)));
