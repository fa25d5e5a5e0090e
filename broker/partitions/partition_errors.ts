/**
 * How often a partition of a Produce or a Fetch was answered with an error, by Kafka's name of the error.
 *
 * Source: the ErrorsPerSec of Kafka's RequestMetrics, FailedProduceRequestsPerSec, FailedFetchRequestsPerSec.
 */

import { type ErrorCode, errorName } from "../../protocol/errors.ts";

const APIS = ["Produce", "Fetch"] as const;
/** The APIs of which it is counted. */
export type CountedApi = (typeof APIS)[number];

/** Counters by API and error. */
export class PartitionErrors {
  readonly #counts: Readonly<Record<CountedApi, Map<ErrorCode, number>>> = {
    Produce: new Map(),
    Fetch: new Map(),
  };

  note(api: CountedApi, error: ErrorCode): void {
    const counts = this.#counts[api];
    counts.set(error, (counts.get(error) ?? 0) + 1);
  }

  /** Every error that has been answered. */
  *entries(): Iterable<
    { readonly api: CountedApi; readonly error: string; readonly count: number }
  > {
    for (const api of APIS) {
      for (const [error, count] of this.#counts[api]) yield { api, error: errorName(error), count };
    }
  }
}
