/** Every job that a worker thread can be asked for. */

import { searchBatchJob } from "./batch_search.ts";
import { cleanSegmentsJob, mapKeysJob } from "./compaction.ts";
import { recoverLogJob } from "./log_recovery.ts";
import { prepareBatchJob } from "./prepare_batch.ts";
import { removeJob } from "./removal.ts";
import type { Job } from "./workers.ts";

// deno-lint-ignore no-explicit-any -- each job has input and output of its own
type AnyJob = Job<any, any>;

/** By name. */
export const JOBS: ReadonlyMap<string, AnyJob> = new Map(
  [cleanSegmentsJob, mapKeysJob, prepareBatchJob, searchBatchJob, recoverLogJob, removeJob]
    .map((job: AnyJob) => [job.name, job]),
);
