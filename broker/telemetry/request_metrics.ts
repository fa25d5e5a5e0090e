/**
 * The metrics of what clients ask for, and of what waits: names and sentences, over what the subsystems say when
 * somebody scrapes.
 */

import type { Delayed } from "../partitions/delayed.ts";
import type { FetchSessions } from "../partitions/fetch_session.ts";
import type { PartitionErrors } from "../partitions/partition_errors.ts";
import type { Metrics } from "./metrics.ts";

/** Where it is read from. */
export interface RequestSources {
  readonly replicaManager: {
    readonly delayedAppends: Pick<Delayed, "size">;
    readonly delayedFetches: Pick<Delayed, "size">;
    readonly partitionErrors: Pick<PartitionErrors, "entries">;
  };
  readonly fetchSessions: Pick<FetchSessions, "size" | "partitionCount" | "evictionCount">;
}

/** Shows requests that wait, fetch sessions, and errors of partitions. */
export function showRequests(
  metrics: Metrics,
  { replicaManager, fetchSessions }: RequestSources,
): void {
  const { delayedAppends, delayedFetches, partitionErrors } = replicaManager;
  metrics.labelledGauge(
    "weir_delayed_requests",
    "Requests that wait on purpose: Produce for in-sync replicas, Fetch for more records.",
    "api",
    () => [["Produce", delayedAppends.size], ["Fetch", delayedFetches.size]],
  );
  metrics.labelledCounter(
    "weir_partition_errors_total",
    "Partitions of Produce and Fetch that were answered with an error.",
    ["api", "error"],
    function* () {
      for (const { api, error, count } of partitionErrors.entries()) yield [{ api, error }, count];
    },
  );
  metrics.gauge("weir_fetch_sessions", "Fetch sessions.", () => fetchSessions.size);
  metrics.gauge(
    "weir_fetch_session_partitions",
    "Partitions that fetch sessions remember.",
    () => fetchSessions.partitionCount,
  );
  metrics.counter(
    "weir_fetch_session_evictions_total",
    "Fetch sessions that had to go for others.",
    () => fetchSessions.evictionCount,
  );
}
