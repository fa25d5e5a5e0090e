/** The real surroundings of a command: the process's streams, signals, clock, disk and network. */

import { readFileSync } from "node:fs";
import { bunClock, bunDisk, bunRandom } from "../../storage/platform_bun.ts";
import { bunNetwork } from "../network_bun.ts";
import { type CliIo, ClosedPipeError } from "./io.ts";

/** Terminals that do not say how wide they are. */
const DEFAULT_COLUMNS = 80;

/** Surroundings of this process. SIGINT, SIGTERM and SIGHUP abort `interrupted`; a second one ends the process. */
export function bunIo(): CliIo {
  const interruption = new AbortController();
  let listening = false;
  const stop = () => {
    if (interruption.signal.aborted) process.exit(130);
    interruption.abort();
  };
  let brokenPipe = false;
  process.stdout.on("error", () => brokenPipe = true);
  return {
    runtime: `bun ${Bun.version}, ${process.platform}-${process.arch}`,
    env: process.env,
    stdin: process.stdin,
    stdinIsTerminal: process.stdin.isTTY ?? false,
    stdoutIsTerminal: process.stdout.isTTY ?? false,
    stderrIsTerminal: process.stderr.isTTY ?? false,
    columns: process.stderr.columns ?? DEFAULT_COLUMNS,
    write: (output) =>
      new Promise((resolve, reject) => {
        if (brokenPipe) return reject(new ClosedPipeError("standard output is closed"));
        process.stdout.write(output, (error) => {
          if (error) reject(new ClosedPipeError("standard output is closed", { cause: error }));
          else resolve();
        });
      }),
    writeError: (text) => void process.stderr.write(text),
    get interrupted() {
      // Only commands that look at it take the signals over from the process.
      if (!listening) {
        listening = true;
        process.on("SIGINT", stop);
        process.on("SIGTERM", stop);
        if (!ignoresHangup()) process.on("SIGHUP", stop);
      }
      return interruption.signal;
    },
    clock: bunClock(),
    random: bunRandom(),
    network: bunNetwork(),
    disk: bunDisk(),
  };
}

/**
 * True when whoever started this process asked that the end of its terminal does not end it, as nohup does:
 * taking the signal over would undo that. True as well where nobody can tell.
 */
function ignoresHangup(): boolean {
  try {
    const status = readFileSync("/proc/self/status", "utf8");
    const lastDigit = /^SigIgn:\s*[0-9a-f]*([0-9a-f])$/m.exec(status)?.[1];
    return lastDigit === undefined || parseInt(lastDigit, 16) % 2 === 1;
  } catch {
    return true;
  }
}
