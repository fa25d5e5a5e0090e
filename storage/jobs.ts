/** Every job that a worker thread can be asked for. */

import { removeJob } from "./removal.ts";
import type { Job } from "./workers.ts";

/** By name. */
// deno-lint-ignore no-explicit-any -- each job has input and output of its own
export const JOBS: ReadonlyMap<string, Job<any, any>> = new Map(
  [removeJob].map((job) => [job.name, job]),
);
