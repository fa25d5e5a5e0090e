/**
 * What a leader checks before it appends, in Kafka's order and with Kafka's error codes.
 *
 *     shape of the set → size → CRC → header → each record: its bytes, size, key, timestamp
 *
 * A produce request brings one batch of version 2. Compressed batches are decompressed to be checked, as
 * Kafka does: a batch whose records cannot be read would stop every consumer of the partition.
 *
 * Source: Kafka's ProduceRequest.validateRecords, UnifiedLog.analyzeAndValidateRecords, LogValidator.
 */

import { WireError } from "../protocol/bytes.ts";
import { CompressionCodec } from "../protocol/compression.ts";
import { ErrorCode } from "../protocol/errors.ts";
import {
  ATTRIBUTES_AT,
  batchSizeBytes,
  hasLogAppendTime,
  isControl,
  isCrcValid,
  LOG_APPEND_TIME_BIT,
  LOG_OVERHEAD,
  MAGIC_AT,
  MAGIC_V2,
  MAX_TIMESTAMP_AT,
  readMagic,
  RECORD_BATCH_OVERHEAD,
  type RecordBatchHeader,
  sealCrc,
} from "../protocol/record_batch.ts";

/** Size below which no batch of any version exists. */
const MIN_BATCH_BYTES = LOG_OVERHEAD + 14;
/** Kafka lists the errors of a batch; one list in an answer is bounded. */
const MAX_RECORD_ERRORS = 100;
const FIRST_ZSTD_VERSION = 7;

/** A record that is refused. */
export interface RecordError {
  readonly batchIndex: number;
  readonly message: string;
}

/** Why an append is refused. */
export interface AppendRefusal {
  readonly error: ErrorCode;
  readonly message: string;
  readonly recordErrors?: readonly RecordError[];
}

/** The rules of the topic. */
export interface AppendRules {
  readonly name: string;
  readonly maxMessageBytes: number;
  readonly isCompacted: boolean;
  readonly messageTimestampType: "CreateTime" | "LogAppendTime";
  readonly messageTimestampBeforeMaxMs: number;
  readonly messageTimestampAfterMaxMs: number;
  /** Bound of one record of a compressed batch, as Kafka counts it. */
  readonly maxDecompressedMessageBytes: number;
  /** Bound of all records of a batch together. */
  readonly maxDecompressedBatchBytes: number;
}

/** A refusal in the words of the log. */
export function refuse(error: ErrorCode, rules: AppendRules, found: string): AppendRefusal {
  return { error, message: `Cannot append to ${rules.name}: ${found}` };
}

/** Whether the request brings one whole batch of version 2. Errors: INVALID_RECORD, CORRUPT_MESSAGE. */
export function checkShape(bytes: Uint8Array, rules: AppendRules): AppendRefusal | null {
  if (bytes.length < LOG_OVERHEAD) {
    return refuse(ErrorCode.INVALID_RECORD, rules, "the request has no record batch");
  }
  const sizeBytes = batchSizeBytes(bytes, 0);
  if (sizeBytes < MIN_BATCH_BYTES) {
    return refuse(ErrorCode.CORRUPT_MESSAGE, rules, `a batch of ${sizeBytes} bytes is too short`);
  }
  const magic = bytes.length > MAGIC_AT ? readMagic(bytes, 0) : -1;
  if (bytes.length > MAGIC_AT && (magic < 0 || magic > MAGIC_V2)) {
    return refuse(ErrorCode.CORRUPT_MESSAGE, rules, `a batch of magic ${magic} is unknown`);
  }
  if (sizeBytes > bytes.length) {
    return refuse(
      ErrorCode.INVALID_RECORD,
      rules,
      `the batch announces ${sizeBytes} bytes and has ${bytes.length}`,
    );
  }
  if (magic !== MAGIC_V2) {
    return refuse(
      ErrorCode.INVALID_RECORD,
      rules,
      `a batch of magic ${magic} is not taken, only 2`,
    );
  }
  return null;
}

function hasSecondBatch(bytes: Uint8Array, position: number): boolean {
  const left = bytes.length - position;
  return left >= LOG_OVERHEAD && batchSizeBytes(bytes, position) <= left;
}

/**
 * Checks the header of the batch and its checksum.
 * Errors: INVALID_RECORD, CORRUPT_MESSAGE, MESSAGE_TOO_LARGE, UNSUPPORTED_COMPRESSION_TYPE.
 */
export function checkHeader(
  bytes: Uint8Array,
  header: RecordBatchHeader,
  rules: AppendRules,
  requestVersion: number,
): AppendRefusal | null {
  const sizeBytes = LOG_OVERHEAD + header.batchLength;
  const { attributes, recordCount, lastOffsetDelta } = header;
  if ((attributes & 7) === CompressionCodec.zstd && requestVersion < FIRST_ZSTD_VERSION) {
    return refuse(
      ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
      rules,
      `Produce version ${requestVersion} may not carry zstd, which came with version 7`,
    );
  }
  const invalid = ErrorCode.INVALID_RECORD;
  if (hasSecondBatch(bytes, sizeBytes)) {
    return refuse(invalid, rules, "the request has more than one record batch");
  }
  if (header.baseOffset !== 0) {
    return refuse(invalid, rules, `the base offset of the batch is ${header.baseOffset}, not 0`);
  }
  if (sizeBytes > rules.maxMessageBytes) {
    return refuse(
      ErrorCode.MESSAGE_TOO_LARGE,
      rules,
      `the batch has ${sizeBytes} bytes, max.message.bytes is ${rules.maxMessageBytes}`,
    );
  }
  if (!isCrcValid(bytes, 0)) {
    return refuse(
      ErrorCode.CORRUPT_MESSAGE,
      rules,
      `the checksum of the batch is not ${header.crc}`,
    );
  }
  if (lastOffsetDelta < 0) {
    return refuse(invalid, rules, `the batch has an invalid offset range [0, ${lastOffsetDelta}]`);
  }
  if (recordCount <= 0) {
    return refuse(invalid, rules, `the batch announces ${recordCount} records`);
  }
  if (recordCount !== lastOffsetDelta + 1) {
    return refuse(
      invalid,
      rules,
      `the batch has offsets [0, ${lastOffsetDelta}] and announces ${recordCount} records`,
    );
  }
  if (isControl(attributes)) {
    return refuse(invalid, rules, "clients may not write control records");
  }
  if (header.producerId >= 0 && header.baseSequence < 0) {
    return refuse(
      invalid,
      rules,
      `the batch of producer ${header.producerId} has the sequence ${header.baseSequence}`,
    );
  }
  return null;
}

/**
 * Checks the records, which lie in `plain` without compression.
 * Returns: the largest of their timestamps, which the header may have got wrong.
 * Errors: INVALID_RECORD, INVALID_TIMESTAMP; WireError when damaged.
 */
export function checkPlainRecords(
  plain: Uint8Array,
  header: RecordBatchHeader,
  rules: AppendRules,
  nowMs: number,
): number | AppendRefusal {
  const maxTimestamp = walkRecords(plain, header, rules, nowMs);
  if (walked.errors === null) return maxTimestamp;
  return refuseRecords(walked.errors, walked.hasTimestampError, rules);
}

function refuseRecords(
  errors: readonly RecordError[],
  hasTimestampError: boolean,
  rules: AppendRules,
): AppendRefusal {
  const { error, message } = hasTimestampError
    ? refuse(ErrorCode.INVALID_TIMESTAMP, rules, "the timestamp of a record is out of bounds")
    : refuse(ErrorCode.INVALID_RECORD, rules, `${errors.length} records are refused`);
  return { error, message, recordErrors: errors };
}

/** Position and findings of the walk in progress: module state, so that a record allocates nothing. */
const walked = {
  at: 0,
  errors: null as RecordError[] | null,
  hasTimestampError: false,
};

function varint(bytes: Uint8Array, end: number): number {
  let value = 0;
  for (let shift = 0; shift < 35; shift += 7) {
    if (walked.at >= end) throw new WireError("a record ends in the middle of a number");
    const byte = bytes[walked.at++]!;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return (value >>> 1) ^ -(value & 1);
  }
  throw new WireError("a number in a record has over 5 bytes");
}

function varlong(bytes: Uint8Array, end: number): number {
  let value = 0;
  let scale = 1;
  for (let byteCount = 0; byteCount < 10; byteCount++) {
    if (walked.at >= end) throw new WireError("a record ends in the middle of a number");
    const byte = bytes[walked.at++]!;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) {
      if (value > Number.MAX_SAFE_INTEGER) break;
      return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    }
    scale *= 128;
  }
  throw new WireError("a number in a record is beyond ±2^52");
}

/** Skips bytes with their length. Returns: the length; −1 for null. */
function skipBytes(bytes: Uint8Array, end: number): number {
  const length = varint(bytes, end);
  if (length < -1 || length > end - walked.at) {
    throw new WireError(
      `a field of a record announces ${length} bytes, ${end - walked.at} are left`,
    );
  }
  if (length > 0) walked.at += length;
  return length;
}

/** Reads every record of `plain`. Returns: the largest timestamp. Errors: WireError when damaged. */
function walkRecords(
  plain: Uint8Array,
  header: RecordBatchHeader,
  rules: AppendRules,
  nowMs: number,
): number {
  const isCreateTime = rules.messageTimestampType === "CreateTime";
  const isCompressed = (header.attributes & 7) !== CompressionCodec.none;
  const maxRecordBytes = isCompressed ? rules.maxDecompressedMessageBytes : Infinity;
  const isStamped = hasLogAppendTime(header.attributes) &&
    (!isCreateTime || header.maxTimestamp === -1);
  const earliest = nowMs - rules.messageTimestampBeforeMaxMs;
  const latest = nowMs + rules.messageTimestampAfterMaxMs;
  let maxTimestamp = -1;
  walked.at = 0;
  walked.errors = null;
  walked.hasTimestampError = false;
  for (let index = 0; index < header.recordCount; index++) {
    const length = varint(plain, plain.length);
    const end = walked.at + length;
    if (length > maxRecordBytes) {
      throw new WireError(
        `record ${index} has ${length} bytes, max.decompressed.message.bytes is ${maxRecordBytes}`,
      );
    }
    if (length < 0 || end > plain.length) {
      throw new WireError(`record ${index} announces ${length} bytes, which are not there`);
    }
    walked.at++;
    const timestamp = header.baseTimestamp + varlong(plain, end);
    const offsetDelta = varint(plain, end);
    if (offsetDelta !== index) {
      throw new WireError(`record ${index} has the offset delta ${offsetDelta}`);
    }
    const keyBytes = skipBytes(plain, end);
    skipBytes(plain, end);
    skipHeaders(plain, end);
    if (walked.at !== end) {
      throw new WireError(`record ${index} uses ${walked.at - end + length} bytes of ${length}`);
    }
    if (timestamp > maxTimestamp) maxTimestamp = timestamp;
    if (keyBytes < 0 && rules.isCompacted) {
      addError(
        index,
        "Compacted topic cannot accept message without key in topic partition",
        rules,
      );
    } else if (isCreateTime && timestamp !== -1 && (timestamp < earliest || timestamp > latest)) {
      walked.hasTimestampError = true;
      const found =
        `Timestamp ${timestamp} is not within [${earliest}, ${latest}] in topic partition`;
      addError(index, found, rules);
    } else if (isStamped) {
      walked.hasTimestampError = true;
      addError(index, "Producer should not set timestamp type to LogAppendTime in", rules);
    }
  }
  if (walked.at !== plain.length) {
    throw new WireError(`${plain.length - walked.at} bytes follow the last record of the batch`);
  }
  return maxTimestamp;
}

function skipHeaders(plain: Uint8Array, end: number): void {
  const count = varint(plain, end);
  if (count === 0) return;
  if (count < 0 || 2 * count > end - walked.at) {
    throw new WireError(`a record announces ${count} headers in ${end - walked.at} bytes`);
  }
  for (let index = 0; index < count; index++) {
    if (skipBytes(plain, end) < 0) throw new WireError("a header of a record has no key");
    skipBytes(plain, end);
  }
}

function addError(index: number, found: string, rules: AppendRules): void {
  walked.errors ??= [];
  if (walked.errors.length < MAX_RECORD_ERRORS) {
    walked.errors.push({ batchIndex: index, message: `${found} ${rules.name}.` });
  }
}

/**
 * Corrects, in place, a header that announces another largest timestamp than its records carry, or that
 * claims to carry the broker's time.
 */
export function patchMaxTimestamp(
  bytes: Uint8Array,
  header: RecordBatchHeader,
  maxTimestamp: number,
): void {
  if (header.maxTimestamp === maxTimestamp && !hasLogAppendTime(header.attributes)) return;
  const view = new DataView(bytes.buffer, bytes.byteOffset, RECORD_BATCH_OVERHEAD);
  view.setBigInt64(MAX_TIMESTAMP_AT, BigInt(maxTimestamp));
  view.setInt16(ATTRIBUTES_AT, header.attributes & ~LOG_APPEND_TIME_BIT);
  sealCrc(bytes, 0);
}
