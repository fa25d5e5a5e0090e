/**
 * The header of a record batch, version 2, read and patched in place.
 *
 * A log is nothing but batches, one after another. The broker never re-encodes one: it reads the header
 * at fixed byte offsets and overwrites the base offset and the leader epoch, which the CRC leaves out so
 * that a leader can set them.
 *
 *      0  baseOffset            int64
 *      8  batchLength           int32   bytes that follow this field
 *     12  partitionLeaderEpoch  int32
 *     16  magic                 int8    2
 *     17  crc                   uint32  CRC-32C of everything from `attributes` to the end
 *     21  attributes            int16   bits 0–2 codec, 3 log append time, 4 transactional, 5 control,
 *                                       6 baseTimestamp is the delete horizon
 *     23  lastOffsetDelta       int32
 *     27  baseTimestamp         int64   ms
 *     35  maxTimestamp          int64   ms
 *     43  producerId            int64   −1 without idempotence
 *     51  producerEpoch         int16
 *     53  baseSequence          int32
 *     57  recordCount           int32
 *     61  records               compressed as a whole when the codec is not 0
 *
 * Source: KIP-98; https://kafka.apache.org/documentation/#recordbatch
 */

import { WireError } from "./bytes.ts";
import { CompressionCodec } from "./compression.ts";
import { crc32c } from "./crc32c.ts";

/** Bytes of base offset and batch length, which `batchLength` does not count. */
export const LOG_OVERHEAD = 12;
/** Bytes of a whole batch header. */
export const RECORD_BATCH_OVERHEAD = 61;
/** The only batch version that Kafka 4 writes and serves. */
export const MAGIC_V2 = 2;

/** Byte position of `batchLength` from the start of a batch. */
export const BATCH_LENGTH_AT = 8;
/** Byte position of `partitionLeaderEpoch`. */
export const PARTITION_LEADER_EPOCH_AT = 12;
/** Byte position of `magic`, the same in every batch version. */
export const MAGIC_AT = 16;
/** Byte position of `crc`. */
export const CRC_AT = 17;
/** Byte position of `attributes`, where the bytes under the CRC start. */
export const ATTRIBUTES_AT = 21;
/** Byte position of `lastOffsetDelta`. */
export const LAST_OFFSET_DELTA_AT = 23;
/** Byte position of `baseTimestamp`. */
export const BASE_TIMESTAMP_AT = 27;
/** Byte position of `maxTimestamp`. */
export const MAX_TIMESTAMP_AT = 35;
/** Byte position of `producerId`. */
export const PRODUCER_ID_AT = 43;
/** Byte position of `producerEpoch`. */
export const PRODUCER_EPOCH_AT = 51;
/** Byte position of `baseSequence`. */
export const BASE_SEQUENCE_AT = 53;
/** Byte position of `recordCount`. */
export const RECORD_COUNT_AT = 57;

const COMPRESSION_MASK = 0x07;
/** Attribute bit: every record's time is `maxTimestamp`, set by the broker. */
export const LOG_APPEND_TIME_BIT = 0x08;
/** Attribute bit: part of a transaction. */
export const TRANSACTIONAL_BIT = 0x10;
/** Attribute bit: holds control records, which consumers skip. */
export const CONTROL_BIT = 0x20;
/** Attribute bit: `baseTimestamp` is when the cleaner may drop the batch's tombstones (KIP-534). */
export const DELETE_HORIZON_BIT = 0x40;

const TWO_32 = 0x1_0000_0000;

/** Every field of the header. */
export interface RecordBatchHeader {
  readonly baseOffset: number;
  /** Bytes after the field itself. */
  readonly batchLength: number;
  readonly partitionLeaderEpoch: number;
  readonly magic: number;
  readonly crc: number;
  readonly attributes: number;
  readonly lastOffsetDelta: number;
  readonly baseTimestamp: number;
  readonly maxTimestamp: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly recordCount: number;
}

function int16At(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16)) >> 16;
}

function int32At(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

function int64At(bytes: Uint8Array, at: number): number {
  const value = int32At(bytes, at) * TWO_32 + (int32At(bytes, at + 4) >>> 0);
  if (!Number.isSafeInteger(value)) {
    throw new WireError(`Cannot read batch header: int64 at ${at} is beyond ±(2^53 − 1)`);
  }
  return value;
}

function setInt32At(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

function setInt16At(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

function setInt64At(bytes: Uint8Array, at: number, value: number): void {
  const high = Math.floor(value / TWO_32);
  setInt32At(bytes, at, high);
  setInt32At(bytes, at + 4, value - high * TWO_32);
}

/**
 * Reads the header at `position`. Checks neither the CRC nor that the whole batch is there.
 * Errors: WireError when fewer than 61 bytes are left, or a 64-bit field is beyond ±(2^53 − 1).
 */
export function readBatchHeader(bytes: Uint8Array, position: number): RecordBatchHeader {
  if (bytes.length - position < RECORD_BATCH_OVERHEAD) {
    throw new WireError(
      `Cannot read batch header at position ${position}: ${
        bytes.length - position
      } bytes are left ` +
        `of ${RECORD_BATCH_OVERHEAD}`,
    );
  }
  return {
    baseOffset: int64At(bytes, position),
    batchLength: int32At(bytes, position + BATCH_LENGTH_AT),
    partitionLeaderEpoch: int32At(bytes, position + PARTITION_LEADER_EPOCH_AT),
    magic: (bytes[position + MAGIC_AT]! << 24) >> 24,
    crc: int32At(bytes, position + CRC_AT) >>> 0,
    attributes: int16At(bytes, position + ATTRIBUTES_AT),
    lastOffsetDelta: int32At(bytes, position + LAST_OFFSET_DELTA_AT),
    baseTimestamp: int64At(bytes, position + BASE_TIMESTAMP_AT),
    maxTimestamp: int64At(bytes, position + MAX_TIMESTAMP_AT),
    producerId: int64At(bytes, position + PRODUCER_ID_AT),
    producerEpoch: int16At(bytes, position + PRODUCER_EPOCH_AT),
    baseSequence: int32At(bytes, position + BASE_SEQUENCE_AT),
    recordCount: int32At(bytes, position + RECORD_COUNT_AT),
  };
}

/** Writes the header of the batch at `position`, but for the checksum, which `sealCrc` writes. */
export function writeBatchHeader(
  bytes: Uint8Array,
  position: number,
  header: Omit<RecordBatchHeader, "crc">,
): void {
  setInt64At(bytes, position, header.baseOffset);
  setInt32At(bytes, position + BATCH_LENGTH_AT, header.batchLength);
  setInt32At(bytes, position + PARTITION_LEADER_EPOCH_AT, header.partitionLeaderEpoch);
  bytes[position + MAGIC_AT] = header.magic;
  setInt16At(bytes, position + ATTRIBUTES_AT, header.attributes);
  setInt32At(bytes, position + LAST_OFFSET_DELTA_AT, header.lastOffsetDelta);
  setInt64At(bytes, position + BASE_TIMESTAMP_AT, header.baseTimestamp);
  setInt64At(bytes, position + MAX_TIMESTAMP_AT, header.maxTimestamp);
  setInt64At(bytes, position + PRODUCER_ID_AT, header.producerId);
  setInt16At(bytes, position + PRODUCER_EPOCH_AT, header.producerEpoch);
  setInt32At(bytes, position + BASE_SEQUENCE_AT, header.baseSequence);
  setInt32At(bytes, position + RECORD_COUNT_AT, header.recordCount);
}

/** Bytes of the whole batch at `position`, its first 12 bytes included. Those 12 bytes must be there. */
export function batchSizeBytes(bytes: Uint8Array, position: number): number {
  return LOG_OVERHEAD + int32At(bytes, position + BATCH_LENGTH_AT);
}

/** `magic` of the batch at `position`; 17 bytes must be there. */
export function readMagic(bytes: Uint8Array, position: number): number {
  return (bytes[position + MAGIC_AT]! << 24) >> 24;
}

/** `baseOffset` of the batch at `position`. Errors: WireError beyond ±(2^53 − 1). */
export function readBaseOffset(bytes: Uint8Array, position: number): number {
  return int64At(bytes, position);
}

/** Offset of the last record of the batch at `position`, inclusive. */
export function readLastOffset(bytes: Uint8Array, position: number): number {
  return int64At(bytes, position) + int32At(bytes, position + LAST_OFFSET_DELTA_AT);
}

/** `attributes` of the batch at `position`. */
export function readAttributes(bytes: Uint8Array, position: number): number {
  return int16At(bytes, position + ATTRIBUTES_AT);
}

/** `maxTimestamp` of the batch at `position`. Units: ms. */
export function readMaxTimestamp(bytes: Uint8Array, position: number): number {
  return int64At(bytes, position + MAX_TIMESTAMP_AT);
}

/** `recordCount` of the batch at `position`; 0 where the cleaner has left a header and nothing else. */
export function readRecordCount(bytes: Uint8Array, position: number): number {
  return int32At(bytes, position + RECORD_COUNT_AT);
}

/** `producerId` of the batch at `position`; −1 without idempotence. */
export function readProducerId(bytes: Uint8Array, position: number): number {
  return int64At(bytes, position + PRODUCER_ID_AT);
}

/** Checksum of the batch at `position` as it should be. The whole batch must be there. */
export function computeCrc(bytes: Uint8Array, position: number): number {
  return crc32c(bytes, 0, position + ATTRIBUTES_AT, position + batchSizeBytes(bytes, position));
}

/** True when the batch at `position` is whole and its checksum fits. */
export function isCrcValid(bytes: Uint8Array, position: number): boolean {
  const left = bytes.length - position;
  if (left < RECORD_BATCH_OVERHEAD) return false;
  const sizeBytes = batchSizeBytes(bytes, position);
  if (sizeBytes < RECORD_BATCH_OVERHEAD || sizeBytes > left) return false;
  return computeCrc(bytes, position) === int32At(bytes, position + CRC_AT) >>> 0;
}

/** Writes the checksum of the batch at `position` into its header. */
export function sealCrc(bytes: Uint8Array, position: number): void {
  setInt32At(bytes, position + CRC_AT, computeCrc(bytes, position));
}

/** Gives the batch its place in the log, in place. Neither field is under the CRC. */
export function patchAsLeader(
  bytes: Uint8Array,
  position: number,
  place: { readonly baseOffset: number; readonly partitionLeaderEpoch: number },
): void {
  setInt64At(bytes, position, place.baseOffset);
  setInt32At(bytes, position + PARTITION_LEADER_EPOCH_AT, place.partitionLeaderEpoch);
}

/** Stamps the batch with the broker's time, in place, and computes the CRC anew. Units: ms. */
export function patchLogAppendTime(bytes: Uint8Array, position: number, timestampMs: number): void {
  bytes[position + ATTRIBUTES_AT + 1]! |= LOG_APPEND_TIME_BIT;
  setInt64At(bytes, position + MAX_TIMESTAMP_AT, timestampMs);
  sealCrc(bytes, position);
}

/** What the cleaner changes of a batch that loses records. */
export interface CleanedHeader {
  /** Of the whole batch, its first 12 bytes included. */
  readonly sizeBytes: number;
  readonly attributes: number;
  /** ms; the delete horizon where the attributes say so. */
  readonly baseTimestamp: number;
  /** ms. */
  readonly maxTimestamp: number;
  readonly recordCount: number;
}

/**
 * Rewrites the header of a batch whose records are fewer now, in place, and computes the CRC anew. Offsets,
 * epochs, producer and sequence stay as they were.
 */
export function patchAsCleaned(bytes: Uint8Array, position: number, header: CleanedHeader): void {
  setInt32At(bytes, position + BATCH_LENGTH_AT, header.sizeBytes - LOG_OVERHEAD);
  setInt16At(bytes, position + ATTRIBUTES_AT, header.attributes);
  setInt64At(bytes, position + BASE_TIMESTAMP_AT, header.baseTimestamp);
  setInt64At(bytes, position + MAX_TIMESTAMP_AT, header.maxTimestamp);
  setInt32At(bytes, position + RECORD_COUNT_AT, header.recordCount);
  sealCrc(bytes, position);
}

/** Codec of a batch. Errors: WireError for the codes 5–7, which nobody has given a meaning. */
export function compressionOf(attributes: number): CompressionCodec {
  const code = attributes & COMPRESSION_MASK;
  if (code > CompressionCodec.zstd) {
    throw new WireError(`Cannot tell the compression of a batch: code ${code} is unknown`);
  }
  return code as CompressionCodec;
}

/** True when the batch belongs to a transaction. */
export function isTransactional(attributes: number): boolean {
  return (attributes & TRANSACTIONAL_BIT) !== 0;
}

/** True when the batch holds control records. */
export function isControl(attributes: number): boolean {
  return (attributes & CONTROL_BIT) !== 0;
}

/** True when the records' time is the broker's `maxTimestamp`. */
export function hasLogAppendTime(attributes: number): boolean {
  return (attributes & LOG_APPEND_TIME_BIT) !== 0;
}

/** True when `baseTimestamp` is the delete horizon. */
export function hasDeleteHorizon(attributes: number): boolean {
  return (attributes & DELETE_HORIZON_BIT) !== 0;
}

/**
 * Positions of the whole batches in `bytes`, front to back; stops silently at a partial one.
 * Errors: WireError at a batch whose length is shorter than a header.
 */
export function* batches(bytes: Uint8Array, start = 0): Generator<number, void, void> {
  let position = start;
  while (bytes.length - position >= LOG_OVERHEAD) {
    const sizeBytes = batchSizeBytes(bytes, position);
    if (sizeBytes < RECORD_BATCH_OVERHEAD) {
      throw new WireError(
        `Cannot read batch at position ${position}: its ${sizeBytes} bytes are fewer than ` +
          `a header's ${RECORD_BATCH_OVERHEAD}`,
      );
    }
    if (sizeBytes > bytes.length - position) return;
    yield position;
    position += sizeBytes;
  }
}
