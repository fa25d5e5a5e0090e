/**
 * `weir`'s own commands as processes of their own, the way a shell runs them: with files for standard input
 * and output.
 */

import { createHash } from "node:crypto";
import { join } from "node:path";
import { repositoryRoot } from "./harness.ts";

/** A command that runs. */
export interface RunningCommand {
  readonly pid: number;
  /** What it has written to standard error so far. */
  errors(): string;
  /** Resolves with the exit code, or -1 for one that a signal ended. */
  readonly exited: Promise<number>;
  kill(signal: "SIGKILL" | "SIGTERM" | "SIGINT"): void;
}

/** Where a command reads and writes; nothing and nowhere by default. */
export interface Redirections {
  /** Path of a file. */
  readonly input?: string;
  /** Path of a file. */
  readonly output?: string;
}

/** Starts `weir WORDS`. It is killed when this process ends. */
export function startCommand(
  words: readonly string[],
  { input, output }: Redirections = {},
): RunningCommand {
  const child = Bun.spawn([process.execPath, join(repositoryRoot, "main.ts"), ...words], {
    cwd: repositoryRoot,
    stdin: input === undefined ? "ignore" : Bun.file(input),
    stdout: output === undefined ? "ignore" : Bun.file(output),
    stderr: "pipe",
  });
  process.on("exit", () => child.kill("SIGKILL"));
  let errors = "";
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of child.stderr) errors += decoder.decode(chunk, { stream: true });
  })();
  return {
    pid: child.pid,
    errors: () => errors,
    exited: child.exited.then(async (code) => {
      await reading;
      return code;
    }),
    kill: (signal) => child.kill(signal),
  };
}

/** Runs `weir WORDS` to its end. Errors: throws with what it said unless it ends with 0. */
export async function runCommand(
  words: readonly string[],
  redirections: Redirections = {},
): Promise<void> {
  const command = startCommand(words, redirections);
  const code = await command.exited;
  if (code !== 0) {
    throw new Error(`weir ${words.join(" ")} ended with code ${code}: ${command.errors()}`);
  }
}

/** SHA-256 of files, one after the other, in hexadecimal. */
export async function sha256Of(...paths: string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const path of paths) {
    for await (const chunk of Bun.file(path).stream()) hash.update(chunk);
  }
  return hash.digest("hex");
}
