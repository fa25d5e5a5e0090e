/**
 * One batch searched for a record by its time: on the loop where that is short, else by the job
 * `search-batch`. Only the head of each record is read.
 */

import { Reader, TooLargeError, WireError } from "../protocol/bytes.ts";
import { CompressionCodec, countBlocks, decompress } from "../protocol/compression.ts";
import {
  compressionOf,
  hasLogAppendTime,
  readBatchHeader,
  RECORD_BATCH_OVERHEAD,
  type RecordBatchHeader,
} from "../protocol/record_batch.ts";
import { LOOP_BLOCKS, LOOP_PLAIN_BYTES, LOOP_RECORDS, LOOP_STORED_BYTES } from "./prepare_batch.ts";
import type { Job } from "./workers.ts";

/** What is looked for. */
export interface WantedRecord {
  /** The first record of at least this time; the first of the largest time when null. */
  readonly timestampMs: number | null;
  /** Records before it do not count. */
  readonly fromOffset: number;
  /** Bound of one record of a compressed batch. */
  readonly maxRecordBytes: number;
  /** Bound of all records together. */
  readonly maxBatchBytes: number;
}

/** A record and its time. */
export interface RecordTime {
  readonly offset: number;
  readonly timestampMs: number;
}

/**
 * Searches a whole batch, as it lies in the log.
 * Errors: TooLargeError past a bound, another WireError when damaged.
 */
export function searchBatch(batch: Uint8Array, wanted: WantedRecord): RecordTime | null {
  const header = readBatchHeader(batch, 0);
  if (header.recordCount === 0) return null;
  const codec = compressionOf(header.attributes);
  const stored = batch.subarray(RECORD_BATCH_OVERHEAD);
  const reader = new Reader(decompress(codec, stored, wanted.maxBatchBytes));
  const maxRecordBytes = codec === CompressionCodec.none ? Infinity : wanted.maxRecordBytes;
  let largest: RecordTime | null = null;
  for (let index = 0; index < header.recordCount; index++) {
    const record = nextRecord(reader, header, maxRecordBytes);
    if (record.offset < wanted.fromOffset) continue;
    if (wanted.timestampMs !== null) {
      if (record.timestampMs >= wanted.timestampMs) return record;
    } else if (largest === null || record.timestampMs > largest.timestampMs) largest = record;
  }
  return largest;
}

function nextRecord(
  reader: Reader,
  { baseOffset, baseTimestamp, maxTimestamp, attributes }: RecordBatchHeader,
  maxRecordBytes: number,
): RecordTime {
  const byteCount = reader.varint();
  if (byteCount > maxRecordBytes) {
    throw new TooLargeError(
      `Cannot search batch at offset ${baseOffset}: a record has ${byteCount} bytes, ` +
        `max.decompressed.message.bytes is ${maxRecordBytes}`,
    );
  }
  const end = reader.position + byteCount;
  reader.int8();
  const timestampMs = baseTimestamp + reader.varlong();
  const offset = baseOffset + reader.varint();
  if (end < reader.position) {
    throw new WireError(
      `Cannot search batch at offset ${baseOffset}: a record announces ${byteCount} bytes`,
    );
  }
  reader.take(end - reader.position);
  return { offset, timestampMs: hasLogAppendTime(attributes) ? maxTimestamp : timestampMs };
}

/** The same where it is short. Returns: undefined where it is not. */
export function searchBatchNow(
  batch: Uint8Array,
  wanted: WantedRecord,
): RecordTime | null | undefined {
  const { attributes, recordCount } = readBatchHeader(batch, 0);
  if (recordCount > LOOP_RECORDS) return undefined;
  const codec = compressionOf(attributes);
  if (codec === CompressionCodec.none) return searchBatch(batch, wanted);
  if (batch.length > LOOP_STORED_BYTES) return undefined;
  const stored = batch.subarray(RECORD_BATCH_OVERHEAD);
  if (countBlocks(codec, stored, LOOP_BLOCKS) === LOOP_BLOCKS) return undefined;
  const maxBatchBytes = Math.min(wanted.maxBatchBytes, LOOP_PLAIN_BYTES);
  try {
    return searchBatch(batch, { ...wanted, maxBatchBytes });
  } catch (failure) {
    if (failure instanceof TooLargeError) return undefined;
    throw failure;
  }
}

/** Searches a batch that would hold the loop. Shape: `batch` is a buffer of its own, which is moved. */
export const searchBatchJob: Job<
  { readonly batch: Uint8Array; readonly wanted: WantedRecord },
  RecordTime | null
> = {
  name: "search-batch",
  lane: "batches",
  run: ({ batch, wanted }) => searchBatch(batch, wanted),
};
