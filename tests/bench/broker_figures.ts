/** What a benchmark reads of a broker in another process: its metrics, and what the system knows of it. */

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

const TICKS_PER_SECOND = 100;

/** Processor time of all threads of a process so far; 0 for one that is not here. Units: s. */
export function cpuSecondsOf(pid: number): number {
  const path = `/proc/${pid}/stat`;
  if (!existsSync(path)) return 0;
  // The name in parentheses may hold anything; user and system time are the 12th and 13th field behind it.
  const fields = readFileSync(path, "utf8").split(") ").at(-1)!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** How busy the machine is, to be said beside every figure. */
export function loadAverage(): string {
  return `load average ${loadavg()[0]!.toFixed(2)}`;
}
