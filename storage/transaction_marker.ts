/** Finds the transaction marker in a control batch. */

import { readRecords } from "../protocol/records.ts";
import { isControl } from "../protocol/record_batch.ts";
import type { TransactionMarker } from "./producer_state.ts";

const ABORT = 0;
const COMMIT = 1;
/** A marker is some 20 bytes; control batches are never compressed. */
const MAX_MARKER_BYTES = 64 * 1024;

/**
 * The marker in the batch at `at`, whose attributes are given; null when it is no control batch, another
 * control record, or one whose transaction the cleaner has removed.
 * Errors: WireError when a control record is damaged.
 */
export function transactionMarkerAt(
  attributes: number,
  bytes: Uint8Array,
  at: number,
): TransactionMarker | null {
  if (!isControl(attributes)) return null;
  const record = readRecords(bytes, at, { maxDecompressedBytes: MAX_MARKER_BYTES })[0];
  if (record === undefined || record.key === null || record.key.length < 4) return null;
  const type = (record.key[2]! << 8) | record.key[3]!;
  if (type !== ABORT && type !== COMMIT) return null;
  const value = record.value;
  if (value === null || value.length < 6) return null;
  const coordinatorEpoch = new DataView(value.buffer, value.byteOffset).getInt32(2);
  return { isCommit: type === COMMIT, coordinatorEpoch };
}
