/**
 * Scenarios as text: a command, a line of dashes, then exactly what came of it.
 *
 *     # A comment belongs to the command below it.
 *     join a protocols=range
 *     ----
 *     rebalance: a joined (member_joined)
 *
 * Blocks are set apart by blank lines. `WEIR_REWRITE=1` writes what comes out into the files instead of
 * comparing; the difference is then read before it is committed.
 */

import { expect } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";

const DIVIDER = "----";

/** One command with the words of its arguments: plain ones in order, `name=value` ones by name. */
export interface Command {
  readonly name: string;
  readonly words: readonly string[];
  readonly options: ReadonlyMap<string, string>;
}

/** Runs every command of a file and compares, or rewrites, its output. */
export function runTranscript(path: string, run: (command: Command) => readonly string[]): void {
  const before = readFileSync(path, "utf8");
  const after = before.trimEnd().split(/\n\n+/).map((block) => runBlock(block, run)).join("\n\n");
  if (process.env["WEIR_REWRITE"] === "1") writeFileSync(path, `${after}\n`);
  else expect(`${after}\n`).toBe(before);
}

function runBlock(block: string, run: (command: Command) => readonly string[]): string {
  const lines = block.split("\n");
  const head = lines.slice(0, lines.includes(DIVIDER) ? lines.indexOf(DIVIDER) : undefined);
  const commands = head.filter((line) => line !== "" && !line.startsWith("#"));
  if (commands.length === 0) return block;
  const output = commands.flatMap((line) => run(parseCommand(line)));
  return [...head, DIVIDER, ...output].join("\n");
}

function parseCommand(line: string): Command {
  const [name = "", ...rest] = line.trim().split(/\s+/);
  const words = rest.filter((word) => !word.includes("="));
  const options = new Map(
    rest.filter((word) => word.includes("=")).map((word) => {
      const at = word.indexOf("=");
      return [word.slice(0, at), word.slice(at + 1)];
    }),
  );
  return { name, words, options };
}
