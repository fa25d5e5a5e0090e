/** How a transaction ends in a partition, and the batch that says so there. */

import { buildControlBatch } from "../../protocol/control_records.ts";

/** How a transaction ended. */
export interface TransactionEnd {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly outcome: "commit" | "abort";
  readonly coordinatorEpoch: number;
  readonly transactionVersion: number;
}

/** The marker. `timestamp` in ms since the epoch. */
export function buildMarker(
  { producerId, producerEpoch, outcome, coordinatorEpoch }: TransactionEnd,
  timestamp: number,
): Uint8Array {
  return buildControlBatch({
    records: [{ type: outcome, coordinatorEpoch }],
    timestamp,
    producerId,
    producerEpoch,
  });
}
