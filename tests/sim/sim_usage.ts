/** What a simulated process uses: always the same, so that a life depends on its seed alone. */

import type { ProcessUsage } from "../../broker/telemetry/metrics.ts";

/** Nothing. */
export const SIM_USAGE: ProcessUsage = {
  startTimeSeconds: 0,
  residentBytes: () => 0,
  cpuSeconds: () => 0,
  heap: () => ({ usedBytes: 0, totalBytes: 0, externalBytes: 0 }),
  handles: () => ({ openCount: 0, maxCount: 0 }),
};
