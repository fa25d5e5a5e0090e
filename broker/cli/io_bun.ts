/** The real surroundings of a command: the process's streams, signals, clock, disk and network. */

import { readFileSync } from "node:fs";
import * as os from "node:os";
import { bunClock, bunDisk, bunRandom } from "../../storage/platform_bun.ts";
import { NetworkError } from "../network.ts";
import { bunNetwork } from "../network_bun.ts";
import { type CliIo, ClosedPipeError, type MachineFacts, type PageLimits } from "./io.ts";

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
    fetchPage,
    machine: machineFacts,
  };
}

/** What Linux says of a process and its surroundings; other systems have none of it. */
const SYSTEM_TEXTS = [
  "/proc/self/limits",
  "/proc/meminfo",
  "/proc/version",
  "/proc/pressure/cpu",
  "/proc/pressure/memory",
  "/proc/pressure/io",
  "/proc/sys/fs/file-nr",
  "/proc/sys/vm/dirty_bytes",
  "/proc/sys/vm/dirty_ratio",
  "/proc/sys/vm/dirty_background_ratio",
  "/sys/fs/cgroup/memory.max",
  "/sys/fs/cgroup/memory.high",
  "/sys/fs/cgroup/memory.current",
  "/sys/fs/cgroup/cpu.max",
];

function machineFacts(): MachineFacts {
  const texts: Record<string, string> = {};
  for (const path of SYSTEM_TEXTS) {
    try {
      texts[path] = readFileSync(path, "utf8");
    } catch {
      // This system has no such file, or keeps it to itself.
    }
  }
  return {
    platform: os.platform(),
    release: os.release(),
    architecture: os.arch(),
    processors: os.cpus().map(({ model }) => model),
    memoryBytes: os.totalmem(),
    freeMemoryBytes: os.freemem(),
    uptimeSeconds: os.uptime(),
    loadAverages: os.loadavg(),
    texts,
  };
}

async function fetchPage(url: string, { timeoutMs, maxBytes }: PageLimits) {
  try {
    const response = await fetch(url, {
      signal: AbortSignal.timeout(timeoutMs),
      redirect: "manual",
    });
    const chunks: Uint8Array[] = [];
    let byteCount = 0;
    for await (const chunk of response.body ?? []) {
      byteCount += chunk.length;
      if (byteCount > maxBytes) {
        throw new NetworkError(`Cannot get ${url}: more than ${maxBytes} bytes`, "EFBIG");
      }
      chunks.push(chunk);
    }
    return { status: response.status, text: Buffer.concat(chunks).toString() };
  } catch (cause) {
    if (cause instanceof NetworkError) throw cause;
    const { code = "", message } = cause as Error & { code?: string };
    // The runtime says more of it than is true.
    const found = code === "ECONNREFUSED" || code === "ConnectionRefused"
      ? "nobody listens there"
      : message;
    throw new NetworkError(`Cannot get ${url}: ${found}`, code, { cause });
  }
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
