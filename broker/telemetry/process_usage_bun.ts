/** What this process uses, as the operating system counts it. */

import { readdirSync, readFileSync, statSync } from "node:fs";
import process from "node:process";
import type { ProcessUsage } from "./metrics.ts";

/** Linux lists a process's open files here; from version 6.2 on the size of the directory is their number. */
const HANDLES = "/proc/self/fd";

/** Reads memory, processor time and open files of this process. */
export function bunProcessUsage(): ProcessUsage {
  const maxCount = maxHandles();
  return {
    startTimeSeconds: performance.timeOrigin / 1000,
    residentBytes: () => process.memoryUsage.rss(),
    cpuSeconds: () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1_000_000;
    },
    heap: () => {
      const { heapUsed, heapTotal, external } = process.memoryUsage();
      return { usedBytes: heapUsed, totalBytes: heapTotal, externalBytes: external };
    },
    handles: () => {
      const openCount = openHandles();
      return openCount === null ? null : { openCount, maxCount };
    },
  };
}

function openHandles(): number | null {
  try {
    return statSync(HANDLES).size || readdirSync(HANDLES).length;
  } catch {
    return null;
  }
}

/** The soft limit, which stays while the process lives; 0 where the system does not say. */
function maxHandles(): number {
  try {
    const limits = readFileSync("/proc/self/limits", "utf8");
    return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? 0);
  } catch {
    return 0;
  }
}
