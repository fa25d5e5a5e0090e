/** From a batch in the log to what the producer state needs to know of it. */

import { readRecords } from "../protocol/records.ts";
import { isControl, isTransactional, type RecordBatchHeader } from "../protocol/record_batch.ts";
import type { ProducerBatch, TransactionMarker } from "./producer_state.ts";

const ABORT = 0;
const COMMIT = 1;
/** A marker is some 20 bytes; control batches are never compressed. */
const MAX_MARKER_BYTES = 64 * 1024;

/** The transaction marker of the control batch at `at`, or null when it is another control record. */
function markerAt(bytes: Uint8Array, at: number): TransactionMarker | null {
  const record = readRecords(bytes, at, { maxDecompressedBytes: MAX_MARKER_BYTES })[0];
  if (record === undefined || record.key === null || record.key.length < 4) return null;
  const type = (record.key[2]! << 8) | record.key[3]!;
  if (type !== ABORT && type !== COMMIT) return null;
  const value = record.value;
  if (value === null || value.length < 6) return null;
  const coordinatorEpoch = new DataView(value.buffer, value.byteOffset).getInt32(2);
  return { isCommit: type === COMMIT, coordinatorEpoch };
}

/**
 * What the producer state needs to know of the batch at `at`; null when no producer is behind it, or
 * when it is a control batch whose transaction the cleaner has removed.
 * Errors: WireError when a control record is damaged.
 */
export function producerBatchAt(
  header: RecordBatchHeader,
  bytes: Uint8Array,
  at: number,
): ProducerBatch | null {
  if (header.producerId < 0) return null;
  const marker = isControl(header.attributes) ? markerAt(bytes, at) : null;
  if (marker === null && isControl(header.attributes)) return null;
  return {
    producerId: header.producerId,
    producerEpoch: header.producerEpoch,
    baseSequence: header.baseSequence,
    baseOffset: header.baseOffset,
    lastOffset: header.baseOffset + header.lastOffsetDelta,
    maxTimestamp: header.maxTimestamp,
    isTransactional: isTransactional(header.attributes),
    marker,
  };
}
