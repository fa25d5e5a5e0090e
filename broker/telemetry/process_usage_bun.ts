/** What this process uses, as the operating system counts it. */

import process from "node:process";
import type { ProcessUsage } from "./metrics.ts";

/** Reads memory and processor time of this process. */
export function bunProcessUsage(): ProcessUsage {
  return {
    startTimeSeconds: performance.timeOrigin / 1000,
    residentBytes: () => process.memoryUsage.rss(),
    cpuSeconds: () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1_000_000;
    },
  };
}
