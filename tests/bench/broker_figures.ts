/** What a benchmark reads of a broker in another process: its metrics, and what the system knows of it. */

import { dlopen, FFIType, ptr } from "bun:ffi";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { loadavg } from "node:os";
import type { RunningBroker } from "../compat/harness.ts";

/** The metrics as they are scraped. */
export async function metricsOf(broker: Pick<RunningBroker, "httpPort">): Promise<string> {
  return await (await fetch(`http://127.0.0.1:${broker.httpPort}/metrics`)).text();
}

/** A metric without labels; 0 where there is none. */
export function metricValue(metrics: string, name: string): number {
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(metrics)?.[1] ?? 0);
}

/** The least bound of the loop-delay histogram below which all samples lie that came after `before`. Units: ms. */
export function longestHoldMs(metrics: string, before = ""): number {
  const earlier = delayBuckets(before);
  for (const [bound, below] of delayBuckets(metrics)) {
    const total = metricValue(metrics, DELAY_COUNT) - metricValue(before, DELAY_COUNT);
    if (below - (earlier.get(bound) ?? 0) === total) {
      return bound === "+Inf" ? Infinity : Number(bound) * 1000;
    }
  }
  return Infinity;
}

const DELAY_COUNT = "weir_event_loop_delay_seconds_count";

function delayBuckets(metrics: string): Map<string, number> {
  const found = metrics.matchAll(/delay_seconds_bucket\{le="([^"]+)"\} (\d+)$/gm);
  return new Map([...found].map(([, bound, below]) => [bound!, Number(below)]));
}

function statusBytes(pid: number, field: string): number {
  const path = `/proc/${pid}/status`;
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  const found = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(text);
  return found === null ? 0 : Number(found[1]) * 1024;
}

/** What is resident now; 0 for a process that is not here. */
export function residentBytes(pid: number): number {
  return statusBytes(pid, "VmRSS");
}

/** The most that was resident so far; 0 for a process that is not here. */
export function peakResidentBytes(pid: number): number {
  return statusBytes(pid, "VmHWM");
}

/** Files and sockets that a process has open; 0 for one that is not here. */
export function openFileCount(pid: number): number {
  const path = `/proc/${pid}/fd`;
  return existsSync(path) ? readdirSync(path).length : 0;
}

/** Bytes that a process handed to files and got from them so far, pipes included; 0 for one that is not here. */
export function fileBytesOf(
  pid: number,
): { readonly writtenBytes: number; readonly readBytes: number } {
  const path = `/proc/${pid}/io`;
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  const count = (field: string) =>
    Number(new RegExp(`^${field}: (\\d+)$`, "m").exec(text)?.[1] ?? 0);
  return { writtenBytes: count("wchar"), readBytes: count("rchar") };
}

let libc: ReturnType<typeof openLibc> | null = null;

function openLibc() {
  const { i32, ptr } = FFIType;
  return dlopen("libc.so.6", { clock_gettime: { args: [i32, ptr], returns: i32 } });
}

/**
 * Processor time of all threads of a process so far, those that have ended too; 0 for one that is not here. Units: s.
 * Source: clock_getcpuclockid(3), whose clock knows nanoseconds where /proc counts hundredths of a second.
 */
export function cpuSecondsOf(pid: number): number {
  libc ??= openLibc();
  const time = new BigInt64Array(2);
  const clock = ~pid << 3 | 2;
  if (libc.symbols.clock_gettime(clock, ptr(time)) !== 0) return 0;
  return Number(time[0]) + Number(time[1]) / 1e9;
}

/** What JavaScriptCore calls the threads that compile. */
const COMPILER_THREAD = "JITWorker";

/**
 * The part of `cpuSecondsOf` that the compilers of JavaScript took. Their threads end when they have had nothing to do for
 * seconds; what each was last seen with stays counted.
 */
export class CompilerTime {
  readonly #tasks: string;
  readonly #seconds = new Map<string, number>();

  constructor(pid: number) {
    this.#tasks = `/proc/${pid}/task`;
  }

  /** Returns: 0 where the system does not say. Units: s. */
  seconds(): number {
    for (const thread of existsSync(this.#tasks) ? readdirSync(this.#tasks) : []) {
      if (!this.#read(thread, "comm").startsWith(COMPILER_THREAD)) continue;
      const nanoseconds = Number(this.#read(thread, "schedstat").split(" ")[0]);
      if (nanoseconds > 0) this.#seconds.set(thread, nanoseconds / 1e9);
    }
    return this.#seconds.values().reduce((sum, seconds) => sum + seconds, 0);
  }

  #read(thread: string, name: string): string {
    try {
      return readFileSync(`${this.#tasks}/${thread}/${name}`, "utf8");
    } catch {
      // It may end at any moment.
      return "";
    }
  }
}

/** How busy the machine is, to be said beside every figure. */
export function loadAverage(): string {
  return `load average ${loadavg()[0]!.toFixed(2)}`;
}
