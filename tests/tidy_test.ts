/**
 * The rules of the house that hold for the repository as a whole, and proof that each can fail.
 *
 * The list of long functions is a ratchet: it may shrink, and a function on it may get shorter.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { denoPath, parseTestOutput } from "../scripts/check.ts";
import { missingPackages } from "../scripts/lock.ts";
import {
  findCycle,
  forbiddenText,
  hasHeader,
  isSnakeCase,
  longFunctions,
  type SourceFile,
  undocumentedExports,
} from "../scripts/tidy.ts";

const ROOT = join(import.meta.dir, "..");
/** A function longer than a screen needs a reason. */
const MAX_FUNCTION_LINES = 70;

/** Functions that are longer, and how long they may be. */
const LONG_FUNCTIONS: Readonly<Record<string, number>> = {};

const word = (...parts: string[]) => parts.join("");
const FORBIDDEN: readonly RegExp[] = [
  // Unfinished business belongs to the issue tracker.
  new RegExp(`\\b(${word("TO", "DO")}|${word("FIX", "ME")}|${word("X", "XX")})\\b`),
  // Paths of the machine that somebody happened to work on.
  new RegExp("(^|[^A-Za-z0-9_.])/(?:work|farm|root)/"),
  new RegExp("(^|[^A-Za-z0-9_.])/home/[a-z]"),
];
/** A test that is switched off by hand; `test.skipIf(reason)` is fine. */
const NARROWED = [/\b(test|it|describe)\.(skip|only|todo)\b/];

function readTree(pattern: string): SourceFile[] {
  return [...new Bun.Glob(pattern).scanSync({ cwd: ROOT, dot: true })]
    .filter((path) => !/^(node_modules|dist|data|\.git|\.cache)\//.test(path))
    .toSorted()
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), "utf8") }));
}

const sources = readTree("**/*.{ts,tsx,mjs}");
const shipped = sources.filter(({ path }) => !path.startsWith("tests/"));
const source = (text: string, path = "broker/example.ts"): SourceFile => ({ path, text });

describe("the source", () => {
  test("imports: no circle", () => {
    expect(findCycle(sources)).toBeNull();
  });

  test("file names: snake_case", () => {
    expect(sources.filter(({ path }) => !isSnakeCase(path)).map(({ path }) => path)).toEqual([]);
  });

  test("files: begin with a comment that says the idea", () => {
    // A test file says what holds in the titles of its tests.
    const needy = sources.filter(({ path }) => !path.endsWith("_test.ts"));
    expect(needy.filter((file) => !hasHeader(file)).map(({ path }) => path)).toEqual([]);
  });

  test("exports: each has a comment", () => {
    const found = shipped.flatMap((file) =>
      undocumentedExports(file).map((name) => `${file.path} ${name}`)
    );
    expect(found).toEqual([]);
  });

  test("functions: none longer than a screen but those on the list, which only shrinks", () => {
    const found = sources.flatMap((file) => longFunctions(file, MAX_FUNCTION_LINES));
    const tooLong = found.filter(({ name, lines }) => lines > (LONG_FUNCTIONS[name] ?? 0));
    expect(tooLong).toEqual([]);
    const gone = Object.keys(LONG_FUNCTIONS).filter((name) => !found.some((f) => f.name === name));
    expect(gone, "take these off the list").toEqual([]);
  });

  test("text: nothing left open, no path of one machine", () => {
    const documents = [...readTree("**/*.{md,json,py,java,sh}"), ...readTree(".ci/*")];
    const found = [...sources, ...documents].flatMap((file) => forbiddenText(file, FORBIDDEN));
    expect(found).toEqual([]);
  });

  test("tests: none switched off by hand", () => {
    const tests = sources.filter(({ path }) => path.endsWith("_test.ts"));
    expect(tests.flatMap((file) => forbiddenText(file, NARROWED))).toEqual([]);
  });
});

describe("package-lock.json", () => {
  const lock = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8"));

  test("packages: each optional one is named, or npm ci refuses the file", () => {
    expect(missingPackages(lock.packages)).toEqual([]);
  });

  test("packages: no download address", () => {
    const addresses = Object.values<{ resolved?: string }>(lock.packages)
      .filter(({ resolved }) => resolved !== undefined);
    expect(addresses).toEqual([]);
  });

  test("missingPackages: finds one that is left out", () => {
    const packages = {
      "node_modules/tool": {
        optionalDependencies: { "@tool/linux": "1.0.0", "@tool/mac": "1.0.0" },
      },
      "node_modules/@tool/linux": { version: "1.0.0" },
    };
    expect(missingPackages(packages)).toEqual([{
      name: "@tool/mac",
      version: "1.0.0",
      dev: false,
    }]);
  });
});

describe("the rules can fail", () => {
  test("findCycle: finds a circle of three, and none where the imports are a tree", () => {
    const tree = [
      source('import { b } from "./b.ts";\n', "a.ts"),
      source('import {\n  c,\n} from "./deep/c.ts";\n', "b.ts"),
      source("const x = 1;\n", "deep/c.ts"),
    ];
    expect(findCycle(tree)).toBeNull();
    const closed = [...tree.slice(0, 2), source('export { a } from "../a.ts";\n', "deep/c.ts")];
    expect(findCycle(closed)).toEqual(["a.ts", "b.ts", "deep/c.ts", "a.ts"]);
  });

  test("isSnakeCase: refuses capitals and dashes", () => {
    for (const good of ["main.ts", "broker/http_bun.ts", "tests/a/tidy_test.ts"]) {
      expect(isSnakeCase(good)).toBeTrue();
    }
    for (const bad of ["broker/httpBun.ts", "broker/http-bun.ts", "Log.ts"]) {
      expect(isSnakeCase(bad)).toBeFalse();
    }
  });

  test("hasHeader: wants the comment first", () => {
    expect(hasHeader(source("/** Idea. */\n"))).toBeTrue();
    expect(hasHeader(source("#!/usr/bin/env bun\n/** Idea. */\n"))).toBeTrue();
    expect(hasHeader(source('import "./a.ts";\n/** Idea. */\n'))).toBeFalse();
  });

  test("undocumentedExports: finds functions, classes, values and types", () => {
    const kinds = [
      "export function f() {}",
      "export async function f() {}",
      "export class f {}",
      "export const f = 1;",
      "export interface f {}",
      "export type f = string;",
    ];
    for (const line of kinds) {
      expect(undocumentedExports(source(`const x = 1;\n\n${line}\n`))).toEqual(["f"]);
      expect(undocumentedExports(source(`/** What it is. */\n${line}\n`))).toEqual([]);
    }
    expect(undocumentedExports(source("export type F = Decoded<typeof f>;\n"))).toEqual([]);
  });

  test("longFunctions: counts functions, methods and arrows, and leaves short ones alone", () => {
    const body = (count: number, indent = "  ") => `${indent}const x = 1;\n`.repeat(count);
    const long = [
      ["f", `export function f() {\n${body(5)}}\n`],
      ["f", `function f(\n  a: number,\n): void {\n${body(5)}}\n`],
      ["#m", `class A {\n  async #m(a: number) {\n${body(5, "    ")}  }\n}\n`],
      ["arrow", `const arrow = (a: number) => {\n${body(5)}};\n`],
    ] as const;
    for (const [name, text] of long) {
      expect(longFunctions(source(text), 5).map((found) => found.name)).toContain(
        `broker/example.ts ${name}`,
      );
      expect(longFunctions(source(text), 20)).toEqual([]);
    }
  });

  test("forbiddenText: finds open ends, machine paths and tests switched off", () => {
    const bad = [`// ${word("TO", "DO")}: later`, `open("${word("/ro", "ot")}/x")`];
    for (const text of bad) expect(forbiddenText(source(text), FORBIDDEN)).toHaveLength(1);
    const off = word("te", "st.", "skip") + '("x", () => {});';
    expect(forbiddenText(source(off), NARROWED)).toHaveLength(1);
    expect(forbiddenText(source("src/work/x and ./root/y"), FORBIDDEN)).toEqual([]);
  });

  test("parseTestOutput: reads counts and names, also in colour", () => {
    const output =
      "(pass) a [1.00ms]\n(skip) kcat: not installed\n3 | expect(x)\nerror: wrong\n+ b\n" +
      "      at f (x.ts:3:1)\n(fail) b > c [2.00ms]\n(fail) d\n  ^ this test timed out after 50ms.\n" +
      "(pass) e\n\n2 tests failed:\n(fail) b > c [2.00ms]\n(fail) d\n" +
      "\n \u001b[0m\u001b[32m 12 pass\u001b[0m\n" +
      " 1 skip\n 3 fail\n 1 error\n 90 expect() calls\nRan 16 tests across 2 files.\n";
    expect(parseTestOutput(output)).toEqual({
      passed: 12,
      failed: 4,
      skipped: ["kcat: not installed"],
      failures: ["b > c\n  error: wrong\n  + b", "d"],
    });
  });
});

describe("lint plugin", () => {
  /** Path, text, and the rule that must object; null where none may. */
  const cases: readonly (readonly [path: string, text: string, rule: string | null])[] = [
    ["protocol/up.ts", 'import { x } from "../storage/x.ts";', "layers"],
    ["storage/up.ts", 'import type { x } from "../broker/x.ts";', "layers"],
    ["broker/up.ts", 'import { x } from "../main.ts";', "layers"],
    ["broker/to_tests.ts", 'import { x } from "../tests/x.ts";', "layers"],
    ["broker/down.ts", 'import { x } from "../protocol/x.ts";', null],
    ["broker/apis/produce.ts", 'import { x } from "./fetch.ts";', "layers"],
    ["broker/apis/heartbeat.ts", 'import { x } from "./api.ts";', null],
    ["broker/apis/index.ts", 'import { x } from "./fetch.ts";', null],
    ["broker/server/web.ts", 'import { Hono } from "hono";', "layers"],
    ["broker/gateway/web.ts", 'import { Hono } from "hono";', null],
    ["broker/no_extension.ts", 'import { x } from "./x";', "import-paths"],
    ["broker/alias.ts", 'import { x } from "@/x.ts";', "import-paths"],
    ["broker/re_export.ts", 'export { x } from "./x";', "import-paths"],
    ["storage/files.ts", 'import { openSync } from "node:fs";', "platform"],
    ["storage/files_bun.ts", 'import { openSync } from "node:fs";', null],
    ["main.ts", 'import { openSync } from "node:fs";', null],
    ["main.ts", 'import json from "./package.json" with { type: "json" };', null],
    ["broker/json.ts", 'import json from "../package.json" with { type: "json" };', "layers"],
    ["scripts/files.ts", 'import { openSync } from "node:fs";', null],
    ["broker/time.ts", "export const x = Date.now();", "platform"],
    ["broker/time_new.ts", "export const x = new Date();", "platform"],
    ["broker/time_text.ts", "export const x = new Date(0).toISOString();", null],
    ["broker/time_high.ts", "export const x = performance.now();", "platform"],
    ["broker/timer.ts", "setTimeout(() => {}, 1);", "platform"],
    ["broker/gateway/console/browser/timer.ts", "setTimeout(() => {}, 1);", null],
    ["broker/gateway/style.ts", 'import css from "./style.css" with { type: "text" };', null],
    ["broker/timer_global.ts", "globalThis.setTimeout(() => {}, 1);", "platform"],
    ["broker/chance.ts", "export const x = Math.random();", "platform"],
    ["broker/chance_uuid.ts", "export const x = crypto.randomUUID();", "platform"],
    ["broker/bun_global.ts", "export const x = Bun.nanoseconds();", "platform"],
    ["broker/not_now.ts", "export const x = { now: 1 }.now;", null],
    [
      "broker/hidden.ts",
      "export class A { private b = 1; c() { return this.b; } }",
      "hash-private",
    ],
    ["broker/maker.ts", "export class A { private constructor() {} }", null],
  ];
  let folder = "";
  let findings: { path: string; code: string }[] = [];

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "weir-lint-"));
    const write = (path: string, text: string) => {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), `${text}\n`);
    };
    for (const [path, text] of cases) write(path, text);
    mkdirSync(join(folder, "plugin"));
    symlinkSync(join(ROOT, "scripts", "lint_plugin.ts"), join(folder, "plugin", "lint_plugin.ts"));
    const lint = { plugins: ["./plugin/lint_plugin.ts"], rules: { tags: [] } };
    write("deno.json", JSON.stringify({ lint }));
    const command = [denoPath(), "lint", "--json", ...cases.map(([path]) => path)];
    const { stdout } = Bun.spawnSync(command, { cwd: folder });
    const { diagnostics } = JSON.parse(stdout.toString());
    findings = diagnostics.map(({ filename, code }: { filename: string; code: string }) => ({
      path: filename.slice(filename.indexOf("weir-lint-")).split("/").slice(1).join("/"),
      code,
    }));
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test.each(cases)("%s: %s", (path, _text, rule) => {
    const codes = findings.filter((finding) => finding.path === path).map(({ code }) => code);
    expect([...new Set(codes)]).toEqual(rule === null ? [] : [`weir/${rule}`]);
  });
});
