/** Another compression for a batch, where the topic's `compression.type` is not the producer's. */

import { CompressionCodec } from "../protocol/compression.ts";
import {
  compressionOf,
  isTransactional,
  type RecordBatchHeader,
} from "../protocol/record_batch.ts";
import { buildBatch, readRecords } from "../protocol/records.ts";
import { MAX_DECOMPRESSED_BYTES } from "./append_check.ts";
import type { LogConfig } from "./log_config.ts";

/** The codec that a topic's batches are to have; null for whatever the producer chose. */
function targetCodec(compressionType: LogConfig["compressionType"]): CompressionCodec | null {
  if (compressionType === "producer") return null;
  return compressionType === "uncompressed"
    ? CompressionCodec.none
    : CompressionCodec[compressionType];
}

/**
 * The checked batch of a client in the topic's compression.
 *
 * Shape: `bytes` itself where nothing is to be done, else a new batch with the same records, producer and
 * sequence. Errors: WireError when the records cannot be read, which the check has ruled out.
 */
export function recompress(
  bytes: Uint8Array,
  header: RecordBatchHeader,
  compressionType: LogConfig["compressionType"],
): Uint8Array {
  const compression = targetCodec(compressionType);
  if (compression === null || compression === compressionOf(header.attributes)) return bytes;
  return buildBatch({
    records: readRecords(bytes, 0, { maxDecompressedBytes: MAX_DECOMPRESSED_BYTES }),
    compression,
    producerId: header.producerId,
    producerEpoch: header.producerEpoch,
    baseSequence: header.baseSequence,
    transactional: isTransactional(header.attributes),
  });
}
