/**
 * Records inside a batch: read with decompression, and built into a batch.
 *
 * A record is varints all the way, relative to its batch:
 *
 *     length | attributes int8 | timestampDelta varlong | offsetDelta varint
 *     | key length (−1 null) and bytes | value length (−1 null) and bytes
 *     | header count, each: key length and UTF-8, value length (−1 null) and bytes
 *
 * Nothing announced is believed: a record that reaches past its length, a count that does not fit the
 * bytes and bytes that are left over are all a `WireError`.
 *
 * Source: https://kafka.apache.org/documentation/#record
 */

import { Reader, unsignedVarintBytes, WireError, Writer } from "./bytes.ts";
import { compress, CompressionCodec, decompress } from "./compression.ts";
import {
  batchSizeBytes,
  compressionOf,
  CONTROL_BIT,
  DELETE_HORIZON_BIT,
  hasLogAppendTime,
  LOG_APPEND_TIME_BIT,
  LOG_OVERHEAD,
  MAGIC_V2,
  readAttributes,
  readBatchHeader,
  readMagic,
  readRecordCount,
  RECORD_BATCH_OVERHEAD,
  sealCrc,
  TRANSACTIONAL_BIT,
  writeBatchHeader,
} from "./record_batch.ts";

/** Length, attributes, two deltas, two lengths and a header count: no record is shorter. */
const MIN_RECORD_BYTES = 7;
const utf8Encoder = new TextEncoder();

/** A header of a record. */
export interface RecordHeader {
  readonly key: string;
  readonly value: Uint8Array | null;
}

/** One record as a consumer sees it. Byte fields are views into the (decompressed) batch. */
export interface KafkaRecord {
  readonly offset: number;
  /** ms since the epoch; −1 for none. */
  readonly timestamp: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
}

/** One record on its way into a batch. */
export interface NewRecord {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers?: readonly RecordHeader[];
  /** ms since the epoch. */
  readonly timestamp: number;
  /** Distance from the batch's base offset; its index when left out. */
  readonly offsetDelta?: number;
}

/** What `buildBatch` takes. */
export interface NewBatch {
  readonly baseOffset?: number;
  readonly records: readonly NewRecord[];
  readonly compression?: CompressionCodec;
  /** Codec's level, where it has levels. */
  readonly compressionLevel?: number;
  readonly producerId?: number;
  readonly producerEpoch?: number;
  readonly baseSequence?: number;
  readonly partitionLeaderEpoch?: number;
  readonly transactional?: boolean;
  readonly control?: boolean;
  readonly timestampType?: "CreateTime" | "LogAppendTime";
  /** ms; the time after which the cleaner may drop the batch's tombstones (KIP-534). */
  readonly deleteHorizon?: number;
  /** Larger than the last record's delta where the cleaner took records out. */
  readonly lastOffsetDelta?: number;
  /** ms; the largest of the records' when left out. */
  readonly maxTimestamp?: number;
}

/** Bytes of the records of one batch. */
export interface PlainRecords {
  readonly plain: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/**
 * The records of the whole batch at `position`, decompressed. Does not look at the CRC.
 *
 * Shape: a range of `bytes` without compression, else fresh memory.
 * Errors: WireError when damaged, or larger than `maxDecompressedBytes`.
 */
export function plainRecords(
  bytes: Uint8Array,
  position: number,
  { maxDecompressedBytes }: { readonly maxDecompressedBytes: number },
): PlainRecords {
  if (bytes.length - position < RECORD_BATCH_OVERHEAD) {
    throw new WireError(
      `Cannot read batch at position ${position}: ${bytes.length - position} bytes are no header`,
    );
  }
  const end = position + batchSizeBytes(bytes, position);
  const magic = readMagic(bytes, position);
  if (magic !== MAGIC_V2) {
    throw new WireError(`Cannot read batch at position ${position}: magic ${magic} is not 2`);
  }
  if (end < position + RECORD_BATCH_OVERHEAD || end > bytes.length) {
    throw new WireError(
      `Cannot read batch at position ${position}: ${end - position} bytes announced, ` +
        `${bytes.length - position} are there`,
    );
  }
  const start = position + RECORD_BATCH_OVERHEAD;
  const codec = compressionOf(readAttributes(bytes, position));
  // The cleaner leaves batches that are a header and nothing else, whatever codec it names.
  const isPlain = codec === CompressionCodec.none || start === end;
  const plain = isPlain
    ? bytes
    : decompress(codec, bytes.subarray(start, end), maxDecompressedBytes);
  const records = isPlain ? { plain, start, end } : { plain, start: 0, end: plain.length };
  const count = readRecordCount(bytes, position);
  const byteCount = records.end - records.start;
  if (count < 0 || count * MIN_RECORD_BYTES > byteCount) {
    throw new WireError(
      `Cannot read batch at position ${position}: ${count} records cannot lie in ${byteCount} bytes`,
    );
  }
  return records;
}

/**
 * Reads every record of the whole batch at `position`. Does not look at the CRC.
 *
 * Shape: keys and values are views, into `bytes` without compression, else into fresh memory.
 * Errors: WireError when damaged, or larger than `maxDecompressedBytes`.
 */
export function readRecords(
  bytes: Uint8Array,
  position: number,
  limits: { readonly maxDecompressedBytes: number },
): KafkaRecord[] {
  const { plain, start, end } = plainRecords(bytes, position, limits);
  const header = readBatchHeader(bytes, position);
  const reader = new Reader(plain, start, end);
  const appendTime = hasLogAppendTime(header.attributes) ? header.maxTimestamp : null;
  const records: KafkaRecord[] = [];
  for (let i = 0; i < header.recordCount; i++) {
    records.push(readRecord(reader, header.baseOffset, header.baseTimestamp, appendTime));
  }
  if (reader.remaining > 0) {
    throw new WireError(
      `Cannot read batch at position ${position}: ${reader.remaining} bytes follow its last record`,
    );
  }
  return records;
}

function readRecord(
  reader: Reader,
  baseOffset: number,
  baseTimestamp: number,
  appendTime: number | null,
): KafkaRecord {
  const length = reader.varint();
  const start = reader.position;
  if (length < 0 || length > reader.remaining) {
    throw new WireError(
      `Cannot read record at position ${start}: ${length} bytes announced, ${reader.remaining} are left`,
    );
  }
  reader.int8();
  const timestampDelta = reader.varlong();
  const offsetDelta = reader.varint();
  const key = nullableVarintBytes(reader);
  const value = nullableVarintBytes(reader);
  const headers = readHeaders(reader);
  if (reader.position !== start + length) {
    throw new WireError(
      `Cannot read record at position ${start}: ${length} bytes announced, ` +
        `${reader.position - start} used`,
    );
  }
  return {
    offset: baseOffset + offsetDelta,
    timestamp: appendTime ?? baseTimestamp + timestampDelta,
    key,
    value,
    headers,
  };
}

function nullableVarintBytes(reader: Reader): Uint8Array | null {
  const length = reader.varint();
  if (length === -1) return null;
  return reader.view(length);
}

const NO_HEADERS: readonly RecordHeader[] = [];

function readHeaders(reader: Reader): readonly RecordHeader[] {
  const count = reader.varint();
  if (count === 0) return NO_HEADERS;
  // A header is two lengths at least.
  if (count < 0 || count * 2 > reader.remaining) {
    throw new WireError(
      `Cannot read record at position ${reader.position}: ${count} headers announced, ` +
        `${reader.remaining} bytes are left`,
    );
  }
  const headers: RecordHeader[] = [];
  for (let i = 0; i < count; i++) {
    headers.push({ key: reader.utf8(reader.varint()), value: nullableVarintBytes(reader) });
  }
  return headers;
}

function zigzag(value: number): number {
  return ((value << 1) ^ (value >> 31)) >>> 0;
}

function varintBytes(value: number): number {
  return unsignedVarintBytes(zigzag(value));
}

function varlongBytes(value: number): number {
  let rest = value >= 0 ? value * 2 : -value * 2 - 1;
  let byteCount = 1;
  for (; rest >= 128; byteCount++) rest = Math.floor(rest / 128);
  return byteCount;
}

function fieldBytes(bytes: Uint8Array | null): number {
  return bytes === null ? 1 : varintBytes(bytes.length) + bytes.length;
}

interface EncodedHeader {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
}

function encodeHeaders(headers: readonly RecordHeader[] | undefined): readonly EncodedHeader[] {
  if (headers === undefined || headers.length === 0) return [];
  return headers.map(({ key, value }) => ({ key: utf8Encoder.encode(key), value }));
}

/** Bytes of a record without its own length field. */
function recordBodyBytes(
  record: NewRecord,
  headers: readonly EncodedHeader[],
  timestampDelta: number,
  offsetDelta: number,
): number {
  let byteCount = 1 + varlongBytes(timestampDelta) + varintBytes(offsetDelta) +
    fieldBytes(record.key) + fieldBytes(record.value) + varintBytes(headers.length);
  for (const header of headers) byteCount += fieldBytes(header.key) + fieldBytes(header.value);
  return byteCount;
}

/**
 * Most bytes that a record adds to an uncompressed batch, whatever its place in it. Producers fill a
 * batch up to its size with it.
 */
export function recordSizeUpperBound(record: NewRecord): number {
  // 5 for the length, 10 for the timestamp delta, 5 for the offset delta.
  const body = recordBodyBytes(record, encodeHeaders(record.headers), 0, 0);
  return body + 18;
}

function writeField(writer: Writer, bytes: Uint8Array | null): void {
  if (bytes === null) return writer.varint(-1);
  writer.varint(bytes.length);
  writer.raw(bytes);
}

function writeRecord(
  writer: Writer,
  record: NewRecord,
  timestampDelta: number,
  offsetDelta: number,
): void {
  const headers = encodeHeaders(record.headers);
  writer.varint(recordBodyBytes(record, headers, timestampDelta, offsetDelta));
  writer.int8(0);
  writer.varlong(timestampDelta);
  writer.varint(offsetDelta);
  writeField(writer, record.key);
  writeField(writer, record.value);
  writer.varint(headers.length);
  for (const header of headers) {
    writeField(writer, header.key);
    writeField(writer, header.value);
  }
}

/** One for all: what it has written is in the batch before anybody else writes. */
const scratch = new Writer();

/**
 * Builds a whole batch with its CRC.
 *
 * Shape: fresh memory; `records` may be empty (the cleaner keeps such batches for their sequence), its
 * offset deltas must rise.
 */
export function buildBatch(batch: NewBatch): Uint8Array {
  const { records } = batch;
  const codec = batch.compression ?? CompressionCodec.none;
  const first = records[0];
  const baseTimestamp = batch.deleteHorizon ?? first?.timestamp ?? -1;
  let maxTimestamp = -1;
  const body = scratch;
  body.reset();
  let offsetDelta = -1;
  for (let i = 0; i < records.length; i++) {
    const record = records[i]!;
    offsetDelta = record.offsetDelta ?? i;
    if (record.timestamp > maxTimestamp) maxTimestamp = record.timestamp;
    writeRecord(body, record, record.timestamp - baseTimestamp, offsetDelta);
  }
  const packed = codec === CompressionCodec.none || records.length === 0
    ? null
    : compress(codec, body.finish(), batch.compressionLevel);
  const bytes = new Uint8Array(RECORD_BATCH_OVERHEAD + (packed ?? body).length);
  writeBatchHeader(bytes, 0, {
    baseOffset: batch.baseOffset ?? 0,
    batchLength: bytes.length - LOG_OVERHEAD,
    partitionLeaderEpoch: batch.partitionLeaderEpoch ?? -1,
    magic: MAGIC_V2,
    attributes: codec | attributeBits(batch),
    lastOffsetDelta: batch.lastOffsetDelta ?? Math.max(offsetDelta, 0),
    baseTimestamp,
    maxTimestamp: batch.maxTimestamp ?? maxTimestamp,
    producerId: batch.producerId ?? -1,
    producerEpoch: batch.producerEpoch ?? -1,
    baseSequence: batch.baseSequence ?? -1,
    recordCount: records.length,
  });
  if (packed === null) body.copyTo(bytes, RECORD_BATCH_OVERHEAD);
  else bytes.set(packed, RECORD_BATCH_OVERHEAD);
  // What was taken by reference is let go.
  body.reset();
  sealCrc(bytes, 0);
  return bytes;
}

function attributeBits(batch: NewBatch): number {
  return (batch.timestampType === "LogAppendTime" ? LOG_APPEND_TIME_BIT : 0) |
    (batch.transactional ? TRANSACTIONAL_BIT : 0) | (batch.control ? CONTROL_BIT : 0) |
    (batch.deleteHorizon === undefined ? 0 : DELETE_HORIZON_BIT);
}
