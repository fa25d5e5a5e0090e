/**
 * What `tests/tidy_test.ts` checks of the source: rules that need more than one file, or a count.
 *
 * Everything is looked at as text with comments and strings told apart by the tokenizer below, which is
 * enough for these rules and needs no parser: `deno fmt` has brought the source into one shape before.
 */

import { dirname, join, normalize } from "node:path";

/** One file of the repository. Paths are from its root, with `/`. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** The relative imports of a file, as paths from the repository root. */
export function importsOf({ path, text }: SourceFile): string[] {
  const pattern = /^(?:import|export)\b[^;]*?\bfrom\s+"(\.[^"]+)"|^import\s+"(\.[^"]+)"/gm;
  return [...text.matchAll(pattern)].map((match) =>
    normalize(join(dirname(path), match[1] ?? match[2] ?? "")).replaceAll("\\", "/")
  );
}

/** The first circle of imports found, as the paths along it with the first one repeated; or null. */
export function findCycle(files: readonly SourceFile[]): string[] | null {
  const imports = new Map(files.map((file) => [file.path, importsOf(file)]));
  const done = new Set<string>();
  const visit = (path: string, trail: string[]): string[] | null => {
    const seenAt = trail.indexOf(path);
    if (seenAt >= 0) return [...trail.slice(seenAt), path];
    if (done.has(path)) return null;
    for (const next of imports.get(path) ?? []) {
      const cycle = visit(next, [...trail, path]);
      if (cycle !== null) return cycle;
    }
    done.add(path);
    return null;
  };
  for (const { path } of files) {
    const cycle = visit(path, []);
    if (cycle !== null) return cycle;
  }
  return null;
}

/** True for `snake_case.ts`, `tidy_test.ts`, `network_bun.ts`, `app.d.ts`. */
export function isSnakeCase(path: string): boolean {
  const name = path.split("/").at(-1) ?? "";
  return /^[a-z0-9]+(_[a-z0-9]+)*(\.d)?\.(ts|tsx|mjs)$/.test(name);
}

/** True when the file begins with a comment, after a `#!` line if there is one. */
export function hasHeader({ text }: SourceFile): boolean {
  return /^(#![^\n]*\n)?\/\*\*/.test(text);
}

/** Exports without a comment right above them, as `name` or `line 12`. */
export function undocumentedExports({ text }: SourceFile): string[] {
  const lines = text.split("\n");
  const found: string[] = [];
  const documented = new Set<string>();
  lines.forEach((line, index) => {
    const match =
      /^export (?:declare )?(?:default )?(?:abstract )?(?:async )?(?:function\*?|class|const|let|type|interface)\s+([A-Za-z0-9_$]+)/
        .exec(line);
    if (match === null) return;
    const name = match[1] ?? "";
    const above = lines.slice(0, index).findLast((other) => !other.startsWith("//")) ?? "";
    const hasComment = above.trimEnd().endsWith("*/");
    // The second of a pair `const X = …; type X = …` and of overloads is covered by the first.
    if (hasComment) documented.add(name);
    // A type read off a value, `type X = Decoded<typeof x>`, is described where the value is.
    else if (line.startsWith("export type") && readsOff(line + (lines[index + 1] ?? ""))) return;
    else if (!documented.has(name) && !isRunOfOneLiners(lines, index)) found.push(name);
  });
  return found;
}

function readsOff(declaration: string): boolean {
  return declaration.includes("typeof ");
}

/** True for a one-line export that follows one-line exports of which the first has a comment. */
function isRunOfOneLiners(lines: readonly string[], index: number): boolean {
  for (let above = index - 1; above >= 0; above--) {
    const line = lines[above] ?? "";
    if (line.trimEnd().endsWith("*/")) return true;
    if (!/^export (const|type) .*;$/.test(line)) return false;
  }
  return false;
}

/** A function and how many lines it has, first and last included. */
export interface FunctionLength {
  /** `path name`. */
  readonly name: string;
  readonly lines: number;
}

const FUNCTION_START =
  /^(\s*)(?:export\s+)?(?:default\s+)?(?:static\s+)?(?:override\s+)?(?:async\s+)?(?:function\*?\s+([\w$]+)|(?:get\s+|set\s+|\*)?(#?[\w$]+)(?:<[^>]*>)?\()/;
const ARROW_START =
  /^(\s*)(?:export\s+)?(?:static\s+)?(?:readonly\s+)?(?:const\s+)?(#?[\w$]+)(?::[^=]*)?\s*[=:]\s*(?:async\s+)?(?:\([^)]*\)|[\w$]+)?.*=>\s*\{$/;
/** What looks like the head of a method and is none. `describe` groups tests, which count one by one. */
const NOT_METHODS = [
  "if",
  "for",
  "while",
  "switch",
  "catch",
  "return",
  "await",
  "function",
  "super",
  "describe",
];

/**
 * The functions and methods of a file that are longer than `limit`. A function ends at the line that
 * closes it with the indentation it began with, which `deno fmt` makes true.
 */
export function longFunctions({ path, text }: SourceFile, limit: number): FunctionLength[] {
  const lines = text.split("\n");
  const found: FunctionLength[] = [];
  lines.forEach((line, index) => {
    const match = FUNCTION_START.exec(line) ?? ARROW_START.exec(line);
    const name = match?.[2] ?? match?.[3];
    if (match === null || name === undefined || NOT_METHODS.includes(name)) return;
    const indent = match[1] ?? "";
    const end = endOfBlock(lines, index, indent);
    if (end === null) return;
    const length = end - index + 1;
    if (length > limit) found.push({ name: `${path} ${name}`, lines: length });
  });
  return found;
}

/** The line that closes the block begun at `start`; null when what begins there has no block. */
function endOfBlock(lines: readonly string[], start: number, indent: string): number | null {
  let opened = false;
  for (let index = start; index < lines.length; index++) {
    const line = lines[index] ?? "";
    const isAtIndent = line.startsWith(indent) && line[indent.length] !== " ";
    const isFirst = index === start;
    if (/(\{|=>)$/.test(line) && (isFirst || isAtIndent)) opened = /\{$/.test(line);
    if (isFirst) {
      if (/[;,]$|\}$/.test(line) && !opened) return null;
      continue;
    }
    if (!isAtIndent || line.trim() === "") continue;
    if (/^\s*\}[;,)]*$/.test(line)) return index;
    // The lines between `(` and `) {` of a long head.
    if (!/^\s*[)}\]]/.test(line)) return null;
  }
  return null;
}

/** A place in a file with what is wrong there. */
export interface Finding {
  readonly path: string;
  readonly line: number;
  readonly found: string;
}

/** Words and paths that no file of the repository may hold. */
export function forbiddenText({ path, text }: SourceFile, patterns: readonly RegExp[]): Finding[] {
  const findings: Finding[] = [];
  text.split("\n").forEach((line, index) => {
    for (const pattern of patterns) {
      const match = pattern.exec(line);
      if (match !== null) findings.push({ path, line: index + 1, found: match[0].trim() });
    }
  });
  return findings;
}
