/**
 * A client's batch on its way into the log: checked, and in the compression that the topic wants.
 *
 *     header ──→ checksum ──→ decompress ──→ each record ──→ compress anew, where the topic wants it
 *
 * The records themselves are never written anew: offsets and times are relative to the header, so another
 * compression is the same bytes under another codec.
 *
 * On the event loop a batch is prepared only while that is short: `LoopEffort` says how much of this turn is
 * left, and what would take more is answered with null and left to the job `prepare-batch`. A bomb costs the
 * loop what it decompresses up to `LOOP_PLAIN_BYTES`. Why these sizes: docs/decisions/0012.
 */

import { TooLargeError, WireError } from "../protocol/bytes.ts";
import { compress, CompressionCodec, countBlocks, decompress } from "../protocol/compression.ts";
import { ErrorCode } from "../protocol/errors.ts";
import {
  ATTRIBUTES_AT,
  BATCH_LENGTH_AT,
  compressionOf,
  LOG_OVERHEAD,
  readBatchHeader,
  RECORD_BATCH_OVERHEAD,
  type RecordBatchHeader,
  sealCrc,
  TRANSACTIONAL_BIT,
} from "../protocol/record_batch.ts";
import {
  type AppendRefusal,
  type AppendRules,
  checkHeader,
  checkPlainRecords,
  checkShape,
  patchMaxTimestamp,
  refuse,
} from "./append_check.ts";
import type { LogConfig } from "./log_config.ts";
import type { Job } from "./workers.ts";

/** A compressed batch of more bytes is not decompressed on the loop. */
export const LOOP_STORED_BYTES = 128 * 1024;
/** A batch that grows beyond it is not decompressed on the loop. */
export const LOOP_PLAIN_BYTES = 512 * 1024;
/** A batch that is to be compressed anew is not if it has more. */
const LOOP_RECOMPRESSED_BYTES = 32 * 1024;
/** Records walked at once: about 1 ms. Bytes do not count: a checksum costs less than a copy for a thread. */
export const LOOP_RECORDS = 50_000;
/** Blocks of lz4 and snappy, each of which costs a call. */
export const LOOP_BLOCKS = 64;
/** Levels of zstd beyond it are not for the loop. */
const LOOP_ZSTD_LEVEL = 6;
/** What a byte costs to compress, in bytes decompressed. */
const COMPRESSION_COST = 8;

/** The codec that a topic's batches are to have. */
export interface TargetCompression {
  readonly codec: CompressionCodec;
  /** The codec's own default when left out. */
  readonly level?: number;
}

/** The rules of a topic for the batches of clients. */
export interface PrepareRules extends AppendRules {
  /** Null for whatever the producer chose. */
  readonly compression: TargetCompression | null;
}

/** The request that brought the batch. */
export interface PrepareRequest {
  readonly nowMs: number;
  /** Of Produce. */
  readonly requestVersion: number;
}

/** What the event loop may still decompress in this turn; counted down. */
export interface LoopEffort {
  leftBytes: number;
}

/** A batch that may be appended as it is. */
export interface PreparedBatch {
  readonly error: 0;
  readonly bytes: Uint8Array;
  /** As it was when the batch was checked. */
  readonly timestampType: AppendRules["messageTimestampType"];
}

/** The rules that a log's settings make. */
export function prepareRules(name: string, config: LogConfig): PrepareRules {
  return {
    name,
    maxMessageBytes: config.maxMessageBytes,
    isCompacted: config.cleanupPolicy.includes("compact"),
    messageTimestampType: config.messageTimestampType,
    messageTimestampBeforeMaxMs: config.messageTimestampBeforeMaxMs,
    messageTimestampAfterMaxMs: config.messageTimestampAfterMaxMs,
    maxDecompressedMessageBytes: config.maxDecompressedMessageBytes,
    maxDecompressedBatchBytes: config.maxDecompressedBatchBytes,
    compression: targetCompression(config),
  };
}

function targetCompression(config: LogConfig): TargetCompression | null {
  switch (config.compressionType) {
    case "producer":
      return null;
    case "uncompressed":
      return { codec: CompressionCodec.none };
    case "gzip":
      return { codec: CompressionCodec.gzip, level: config.compressionGzipLevel };
    case "zstd":
      return { codec: CompressionCodec.zstd, level: config.compressionZstdLevel };
    case "lz4":
    case "snappy":
      return { codec: CompressionCodec[config.compressionType] };
  }
}

/**
 * Checks the records of a client's produce request and gives them the topic's compression. Patches `records`
 * in place.
 *
 * Returns: the batch, `records` or fresh memory.
 * Errors: INVALID_RECORD, CORRUPT_MESSAGE, MESSAGE_TOO_LARGE, UNSUPPORTED_COMPRESSION_TYPE,
 * INVALID_TIMESTAMP.
 */
export function prepareBatch(
  records: Uint8Array,
  rules: PrepareRules,
  request: PrepareRequest,
): PreparedBatch | AppendRefusal {
  return prepare(records, rules, request, null)!;
}

/** The same where it is short. Returns: null where it is not, having changed nothing. */
export function prepareBatchWithin(
  effort: LoopEffort,
  records: Uint8Array,
  rules: PrepareRules,
  request: PrepareRequest,
): PreparedBatch | AppendRefusal | null {
  return prepare(records, rules, request, effort);
}

function prepare(
  records: Uint8Array,
  rules: PrepareRules,
  { nowMs, requestVersion }: PrepareRequest,
  effort: LoopEffort | null,
): PreparedBatch | AppendRefusal | null {
  const shape = checkShape(records, rules);
  if (shape !== null) return shape;
  try {
    const header = readBatchHeader(records, 0);
    if (effort !== null && isLong(effort, records, header, rules)) return null;
    const refusal = checkHeader(records, header, rules, requestVersion);
    if (refusal !== null) return refusal;
    const plain = plainRecords(records, header, rules, effort);
    const checked = checkPlainRecords(plain, header, rules, nowMs);
    if (typeof checked !== "number") return checked;
    const sizeBytes = LOG_OVERHEAD + header.batchLength;
    const bytes = sizeBytes === records.length ? records : records.subarray(0, sizeBytes);
    if (rules.messageTimestampType === "CreateTime") patchMaxTimestamp(bytes, header, checked);
    return inCompression(bytes, header, plain, rules, effort);
  } catch (failure) {
    if (!(failure instanceof WireError)) throw failure;
    if (!(failure instanceof TooLargeError)) {
      return refuse(ErrorCode.INVALID_RECORD, rules, failure.message);
    }
    if (effort !== null) return null;
    return refuse(
      ErrorCode.MESSAGE_TOO_LARGE,
      rules,
      `the records take over ${rules.maxDecompressedBatchBytes} bytes when decompressed, ` +
        "as much as weir.memory.budget.bytes allows",
    );
  }
}

/** True for what takes longer than the loop may be held, as far as the header tells. */
function isLong(
  effort: LoopEffort,
  bytes: Uint8Array,
  { attributes, batchLength, recordCount }: RecordBatchHeader,
  { compression, maxMessageBytes }: PrepareRules,
): boolean {
  const sizeBytes = LOG_OVERHEAD + batchLength;
  // It is refused without another look.
  if (sizeBytes > maxMessageBytes) return false;
  if (recordCount > LOOP_RECORDS) return true;
  const codec = attributes & 7;
  if (compression !== null && compression.codec !== codec) {
    if (sizeBytes > LOOP_RECOMPRESSED_BYTES || effort.leftBytes <= 0) return true;
    const { codec: target, level } = compression;
    if (target === CompressionCodec.zstd && level! > LOOP_ZSTD_LEVEL) return true;
  }
  if (codec === CompressionCodec.none) return false;
  if (sizeBytes > LOOP_STORED_BYTES || effort.leftBytes <= 0) return true;
  if (codec > CompressionCodec.zstd) return false;
  const stored = bytes.subarray(RECORD_BATCH_OVERHEAD, sizeBytes);
  return countBlocks(codec as CompressionCodec, stored, LOOP_BLOCKS) === LOOP_BLOCKS;
}

/** The records without their compression. Errors: TooLargeError past the bound, WireError. */
function plainRecords(
  bytes: Uint8Array,
  header: RecordBatchHeader,
  { compression, maxDecompressedBatchBytes }: PrepareRules,
  effort: LoopEffort | null,
): Uint8Array {
  const codec = compressionOf(header.attributes);
  const stored = bytes.subarray(RECORD_BATCH_OVERHEAD, LOG_OVERHEAD + header.batchLength);
  if (codec === CompressionCodec.none) return stored;
  if (effort === null) return decompress(codec, stored, maxDecompressedBatchBytes);
  const isRecompressed = compression !== null && compression.codec !== codec;
  const loopBytes = isRecompressed ? LOOP_RECOMPRESSED_BYTES : LOOP_PLAIN_BYTES;
  // Counted before it is known, since a bomb costs as much as the loop allows.
  effort.leftBytes -= loopBytes;
  const plain = decompress(codec, stored, Math.min(loopBytes, maxDecompressedBatchBytes));
  effort.leftBytes += loopBytes - plain.length;
  return plain;
}

function inCompression(
  bytes: Uint8Array,
  header: RecordBatchHeader,
  plain: Uint8Array,
  rules: PrepareRules,
  effort: LoopEffort | null,
): PreparedBatch | AppendRefusal {
  const { compression, messageTimestampType: timestampType } = rules;
  const codec = compressionOf(header.attributes);
  if (compression === null || compression.codec === codec) {
    return { error: ErrorCode.NONE, bytes, timestampType };
  }
  if (effort !== null) effort.leftBytes -= COMPRESSION_COST * plain.length;
  const recompressed = recompress(bytes, header, plain, compression);
  if (recompressed.length <= rules.maxMessageBytes) {
    return { error: ErrorCode.NONE, bytes: recompressed, timestampType };
  }
  return refuse(
    ErrorCode.MESSAGE_TOO_LARGE,
    rules,
    `the batch has ${recompressed.length} bytes in the topic's compression.type, ` +
      `max.message.bytes is ${rules.maxMessageBytes}`,
  );
}

/** The batch with `plain` under another codec. Shape: fresh memory. */
function recompress(
  bytes: Uint8Array,
  { attributes }: RecordBatchHeader,
  plain: Uint8Array,
  { codec, level }: TargetCompression,
): Uint8Array {
  const body = compress(codec, plain, level);
  const batch = new Uint8Array(RECORD_BATCH_OVERHEAD + body.length);
  batch.set(bytes.subarray(0, RECORD_BATCH_OVERHEAD));
  batch.set(body, RECORD_BATCH_OVERHEAD);
  const view = new DataView(batch.buffer);
  view.setInt32(BATCH_LENGTH_AT, batch.length - LOG_OVERHEAD);
  view.setInt16(ATTRIBUTES_AT, (attributes & TRANSACTIONAL_BIT) | codec);
  sealCrc(batch, 0);
  return batch;
}

/** What the job takes. Shape: `records` is a buffer of its own, which is moved. */
export interface PrepareInput {
  readonly records: Uint8Array;
  readonly rules: PrepareRules;
  readonly request: PrepareRequest;
}

/** Prepares a batch that would hold the loop. */
export const prepareBatchJob: Job<PrepareInput, PreparedBatch | AppendRefusal> = {
  name: "prepare-batch",
  lane: "batches",
  run: ({ records, rules, request }) => prepareBatch(records, rules, request),
  moves: (output) => "bytes" in output ? [output.bytes.buffer as ArrayBuffer] : [],
};
