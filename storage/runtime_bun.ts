/**
 * How the runtime is set up for a broker: otherwise than Bun does by itself, and Bun looks at its settings before any
 * code runs. So the executable starts itself once more, in its own place, with them in its environment.
 *
 *     weir serve ──→ execve(weir serve, settings) ──→ the rest of main.ts        any other command ──→ the rest of main.ts
 *
 * It keeps its process id, and what it has open; as the first import of `main.ts` this runs before anything else. A
 * setting that the environment has already stands. Source: docs/decisions/0072.
 */

import process from "node:process";

/** What the runtime reads when it starts. */
const SETTINGS: Readonly<Record<string, string>> = {
  // Bun lets a small heap grow to three or four times what lives in it, by the memory of the machine; as on one of
  // 128 MiB, it grows to twice that, and one of more than 64 MiB by a quarter.
  BUN_JSC_forceRAMSize: String(128 * 1024 * 1024),
  // As many threads as processors are made, as if they were to compute; they wait for the disk, and with two of them
  // the logs of a small machine stand in line for their syncs.
  UV_THREADPOOL_SIZE: "8",
};

function startAnew(): void {
  const missing = Object.entries(SETTINGS).filter(([name]) => process.env[name] === undefined);
  if (missing.length === 0 || process.execve === undefined) return;
  const { emitWarning } = process;
  // That this call is an experimental one is nothing for the operator's log.
  process.emitWarning = () => {};
  try {
    process.execve(process.execPath, [process.execPath, ...process.argv.slice(2)], {
      ...process.env as Record<string, string>,
      ...Object.fromEntries(missing),
    });
  } catch {
    // A system without the call: it works, with more memory.
  } finally {
    process.emitWarning = emitWarning;
  }
}

// Out of sources the runtime is as whoever started it wants it.
const isExecutable = Bun.main.startsWith("/$bunfs/");
if (isExecutable && process.argv[2] === "serve") startAnew();
