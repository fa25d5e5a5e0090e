/** The flags that the suites, the series and the soak of `scripts/bench.ts` have in common. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

const ROOT = join(import.meta.dir, "..", "..");

/** Flags that all have. */
export const COMMON_FLAGS = {
  on: { type: "string", default: "disk" },
  command: { type: "string", default: join(ROOT, "dist", "weir") },
  out: { type: "string", default: join(ROOT, "docs", "benchmarks") },
  help: { type: "boolean", default: false },
} as const;

/** The words of the weir that is measured; null, and said, where it is not there. */
export function commandOf(words: string): string[] | null {
  const command = words.split(" ");
  if (command.length > 1 || existsSync(command[0]!)) return command;
  console.error(`Cannot measure ${command[0]}: it is not there; "npm run build" makes dist/weir`);
  return null;
}

/** What runs beside this process ends with it. */
export function endOnSignals(): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));
}
