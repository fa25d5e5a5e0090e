import { expect, test } from "bun:test";
import { WireError } from "../../protocol/bytes.ts";
import {
  batches,
  batchSizeBytes,
  compressionOf,
  hasDeleteHorizon,
  hasLogAppendTime,
  isControl,
  isCrcValid,
  isTransactional,
  patchAsLeader,
  patchLogAppendTime,
  readAttributes,
  readBaseOffset,
  readBatchHeader,
  readLastOffset,
  readMagic,
  readMaxTimestamp,
  readProducerId,
  RECORD_BATCH_OVERHEAD,
} from "../../protocol/record_batch.ts";
import { buildBatch, readRecords } from "../../protocol/records.ts";

const text = (value: string) => new TextEncoder().encode(value);

function batch(count = 3): Uint8Array {
  return buildBatch({
    baseOffset: 1000,
    partitionLeaderEpoch: 6,
    producerId: 2 ** 40 + 3,
    producerEpoch: 300,
    baseSequence: 70_000,
    transactional: true,
    records: Array.from({ length: count }, (_, i) => ({
      key: null,
      value: text(`value ${i}`),
      timestamp: 1_700_000_000_000 + ((i * 7) % 5),
    })),
  });
}

test("readBatchHeader: gives every field that was built, and the getters agree", () => {
  const bytes = new Uint8Array(500);
  const at = 33;
  const built = batch();
  bytes.set(built, at);
  const header = readBatchHeader(bytes, at);
  expect(header).toEqual({
    baseOffset: 1000,
    batchLength: built.length - 12,
    partitionLeaderEpoch: 6,
    magic: 2,
    crc: header.crc,
    attributes: 0x10,
    lastOffsetDelta: 2,
    baseTimestamp: 1_700_000_000_000,
    maxTimestamp: 1_700_000_000_004,
    producerId: 2 ** 40 + 3,
    producerEpoch: 300,
    baseSequence: 70_000,
    recordCount: 3,
  });
  expect(batchSizeBytes(bytes, at)).toBe(built.length);
  expect(readBaseOffset(bytes, at)).toBe(header.baseOffset);
  expect(readLastOffset(bytes, at)).toBe(1002);
  expect(readMagic(bytes, at)).toBe(2);
  expect(readBatchHeader(bytes, at).partitionLeaderEpoch).toBe(6);
  expect(readAttributes(bytes, at)).toBe(0x10);
  expect(readBatchHeader(bytes, at).baseTimestamp).toBe(header.baseTimestamp);
  expect(readMaxTimestamp(bytes, at)).toBe(header.maxTimestamp);
  expect(readProducerId(bytes, at)).toBe(header.producerId);
  expect(readBatchHeader(bytes, at).producerEpoch).toBe(300);
  expect(readBatchHeader(bytes, at).baseSequence).toBe(70_000);
  expect(readBatchHeader(bytes, at).recordCount).toBe(3);
});

test("readBatchHeader: fewer than 61 bytes, or a number past 2^53, is a WireError", () => {
  const bytes = batch();
  for (let cut = 0; cut < RECORD_BATCH_OVERHEAD; cut++) {
    expect(() => readBatchHeader(bytes.subarray(0, cut), 0)).toThrow(WireError);
  }
  for (const at of [0, 27, 35, 43]) {
    const large = Uint8Array.from(bytes);
    large.fill(0x7f, at, at + 8);
    expect(() => readBatchHeader(large, 0)).toThrow(WireError);
  }
});

test("isCrcValid: every single flipped bit under the CRC is caught", () => {
  const bytes = batch();
  expect(isCrcValid(bytes, 0)).toBe(true);
  for (let bit = 17 * 8; bit < bytes.length * 8; bit++) {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    expect(isCrcValid(bytes, 0)).toBe(false);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
  }
});

test("isCrcValid: false for a batch that is cut, or whose length lies", () => {
  const bytes = batch();
  for (let cut = 0; cut < bytes.length; cut++) {
    expect(isCrcValid(bytes.subarray(0, cut), 0)).toBe(false);
  }
  for (const length of [-1, -2_147_483_648, 0, 48, 2_147_483_647]) {
    const lying = Uint8Array.from(bytes);
    new DataView(lying.buffer).setInt32(8, length);
    expect(isCrcValid(lying, 0)).toBe(false);
  }
});

test("patchAsLeader: sets offset and epoch and leaves the CRC valid", () => {
  const bytes = batch();
  for (const baseOffset of [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 10]) {
    patchAsLeader(bytes, 0, { baseOffset, partitionLeaderEpoch: 2_147_483_647 });
    expect(isCrcValid(bytes, 0)).toBe(true);
    expect(readBaseOffset(bytes, 0)).toBe(baseOffset);
    expect(readBatchHeader(bytes, 0).partitionLeaderEpoch).toBe(2_147_483_647);
    expect(readRecords(bytes, 0, { maxDecompressedBytes: 1000 })[2]!.offset).toBe(baseOffset + 2);
  }
});

test("patchLogAppendTime: every record reads with that time, the CRC is valid again", () => {
  const bytes = batch();
  patchLogAppendTime(bytes, 0, 1_800_000_000_123);
  expect(isCrcValid(bytes, 0)).toBe(true);
  expect(hasLogAppendTime(readAttributes(bytes, 0))).toBe(true);
  expect(isTransactional(readAttributes(bytes, 0))).toBe(true);
  const records = readRecords(bytes, 0, { maxDecompressedBytes: 1000 });
  expect(records.map((record) => record.timestamp)).toEqual(Array(3).fill(1_800_000_000_123));
});

test("compressionOf: knows 0–4 and refuses 5–7; the flags do not disturb it", () => {
  for (const codec of [0, 1, 2, 3, 4]) expect<number>(compressionOf(codec | 0x78)).toBe(codec);
  for (const codec of [5, 6, 7]) expect(() => compressionOf(codec)).toThrow(WireError);
});

test("attribute flags: each reads its own bit only", () => {
  const flags = [hasLogAppendTime, isTransactional, isControl, hasDeleteHorizon];
  for (let bit = 0; bit < 16; bit++) {
    expect(flags.map((flag) => flag(1 << bit))).toEqual([3, 4, 5, 6].map((own) => own === bit));
  }
});

test("batches: gives each position, and stops at a partial batch, cut at every byte", () => {
  const one = batch(1);
  const two = batch(2);
  const all = Buffer.concat([one, two, one]);
  const starts = [0, one.length, one.length + two.length];
  expect([...batches(all)]).toEqual(starts);
  for (let cut = 0; cut < all.length; cut++) {
    const whole = cut < one.length ? 0 : cut < one.length + two.length ? 1 : 2;
    expect([...batches(all.subarray(0, cut))]).toEqual(starts.slice(0, whole));
  }
});

test("batches: a length below a header's is a WireError, not an endless loop", () => {
  for (const length of [-2_147_483_648, -13, -12, -1, 0, 48]) {
    const bytes = batch();
    new DataView(bytes.buffer).setInt32(8, length);
    expect(() => [...batches(bytes)]).toThrow(WireError);
  }
});
