import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { WireError, Writer } from "../../protocol/bytes.ts";
import { CompressionCodec, compressionName } from "../../protocol/compression.ts";
import {
  compressionOf,
  isControl,
  isCrcValid,
  isTransactional,
  readBatchHeader,
  RECORD_BATCH_OVERHEAD,
  sealCrc,
} from "../../protocol/record_batch.ts";
import {
  buildBatch,
  type KafkaRecord,
  type NewRecord,
  readRecords,
  recordSizeUpperBound,
} from "../../protocol/records.ts";
import vectors from "../vectors/record_batches.json" with { type: "json" };

const CODECS = Object.values(CompressionCodec);
const CAP = { maxDecompressedBytes: 8 * 1024 * 1024 };
const text = (value: string) => new TextEncoder().encode(value);

/** A stream of pseudo-random numbers below `bound`, the same for a seed. */
function dice(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    return (state >>> 3) % bound;
  };
}

function randomBytes(roll: (bound: number) => number, maxBytes: number): Uint8Array | null {
  if (roll(5) === 0) return null;
  const bytes = new Uint8Array(roll(maxBytes));
  for (let i = 0; i < bytes.length; i++) bytes[i] = roll(256);
  return bytes;
}

function randomRecords(seed: number): NewRecord[] {
  const roll = dice(seed);
  return Array.from({ length: 1 + roll(20) }, (_, index) => ({
    key: randomBytes(roll, 40),
    value: randomBytes(roll, index === 3 ? 20_000 : 300),
    timestamp: 1_700_000_000_000 + roll(2_000_000_000) - roll(2_000_000_000),
    headers: Array.from({ length: roll(4) }, () => ({
      key: ["", "a", "größe", "x".repeat(200)][roll(4)]!,
      value: randomBytes(roll, 90),
    })),
  }));
}

/** Plain arrays instead of views and Buffers, so that equality is about content. */
function plain(records: readonly (KafkaRecord | NewRecord)[]) {
  const bytes = (value: Uint8Array | null) =>
    value === null ? null : Buffer.from(value).toString("hex");
  return records.map(({ key, value, timestamp, headers }) => ({
    key: bytes(key),
    value: bytes(value),
    timestamp,
    headers: (headers ?? []).map((header) => [header.key, bytes(header.value)]),
  }));
}

describe.each(CODECS)("codec %d", (compression) => {
  const name = compressionName(compression);

  test(`buildBatch: random records come back through ${name}`, () => {
    for (let seed = 1; seed <= 100; seed++) {
      const records = randomRecords(seed);
      const bytes = buildBatch({ baseOffset: seed * 1000, records, compression });
      expect(isCrcValid(bytes, 0)).toBe(true);
      const back = readRecords(bytes, 0, CAP);
      expect(plain(back)).toEqual(plain(records));
      expect(back.map((record) => record.offset)).toEqual(records.map((_, i) => seed * 1000 + i));
      expect(readBatchHeader(bytes, 0).maxTimestamp).toBe(
        Math.max(...records.map((record) => record.timestamp)),
      );
    }
  });

  test(`buildBatch: values of 1 B to 900 KiB come back through ${name}`, () => {
    for (const size of [1, 127, 128, 4095, 4096, 16_383, 16_384, 65_536, 900 * 1024]) {
      const value = new Uint8Array(size).map((_, i) => (i * i) >> 7);
      const bytes = buildBatch({ records: [{ key: null, value, timestamp: 5 }], compression });
      expect(Buffer.from(value).equals(readRecords(bytes, 0, CAP)[0]!.value!)).toBe(true);
    }
  });

  test(`readRecords: ${name} cut at every byte is a WireError`, () => {
    const bytes = buildBatch({ records: randomRecords(4).slice(0, 3), compression });
    for (let cut = 0; cut < bytes.length; cut++) {
      expect(() => readRecords(bytes.subarray(0, cut), 0, CAP)).toThrow(WireError);
    }
  });

  test(`readRecords: ${name} whose last bytes are missing, under a right CRC, is a WireError`, () => {
    const whole = buildBatch({ records: randomRecords(9), compression });
    for (let missing = 1; missing < whole.length - RECORD_BATCH_OVERHEAD; missing += 7) {
      const bytes = whole.slice(0, whole.length - missing);
      new DataView(bytes.buffer).setInt32(8, bytes.length - 12);
      sealCrc(bytes, 0);
      expect(() => readRecords(bytes, 0, CAP)).toThrow(WireError);
    }
  });

  test(`readRecords: any flipped bit of ${name} gives records or a WireError, nothing else`, () => {
    const bytes = buildBatch({ records: randomRecords(2).slice(0, 4), compression });
    for (let bit = 0; bit < bytes.length * 8; bit += bytes.length > 3000 ? 13 : 1) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      try {
        readRecords(bytes, 0, { maxDecompressedBytes: 100_000 });
      } catch (error) {
        expect(error).toBeInstanceOf(WireError);
      }
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
  });

  test(`readRecords: ${name} past the cap is a WireError`, () => {
    if (compression === CompressionCodec.none) return;
    const records = [{ key: null, value: new Uint8Array(1_000_000), timestamp: 5 }];
    const bytes = buildBatch({ records, compression });
    expect(() => readRecords(bytes, 0, { maxDecompressedBytes: 999_999 })).toThrow(WireError);
    expect(readRecords(bytes, 0, { maxDecompressedBytes: 1_000_100 }).length).toBe(1);
  });

  test(`readRecords: a count that lies is a WireError with ${name}`, () => {
    const records = randomRecords(7);
    for (const count of [-1, 1, records.length - 1, records.length + 1, 2_147_483_647]) {
      if (count === records.length || count === 0) continue;
      const bytes = buildBatch({ records, compression });
      new DataView(bytes.buffer).setInt32(57, count);
      expect(() => readRecords(bytes, 0, CAP)).toThrow(WireError);
    }
  });
});

test("readRecords: a count of 0 with bytes behind it is a WireError", () => {
  const bytes = buildBatch({ records: randomRecords(7) });
  new DataView(bytes.buffer).setInt32(57, 0);
  expect(() => readRecords(bytes, 0, CAP)).toThrow(WireError);
});

/** A batch of one record whose body is written by hand. */
function handmade(write: (writer: Writer) => void): Uint8Array {
  const writer = new Writer();
  write(writer);
  const body = writer.finish();
  const empty = buildBatch({ records: [] });
  const bytes = new Uint8Array(empty.length + body.length);
  bytes.set(empty);
  bytes.set(body, empty.length);
  const view = new DataView(bytes.buffer);
  view.setInt32(8, bytes.length - 12);
  view.setInt32(57, 1);
  sealCrc(bytes, 0);
  return bytes;
}

interface Lies {
  length?: number;
  key?: number;
  value?: number;
  headers?: number;
  headerKey?: number;
  headerValue?: number;
}

function liar(lies: Lies): Uint8Array {
  return handmade((writer) => {
    writer.varint(lies.length ?? 10);
    writer.int8(0);
    writer.varlong(0);
    writer.varint(0);
    writer.varint(lies.key ?? 1);
    writer.int8(65);
    writer.varint(lies.value ?? 0);
    writer.varint(lies.headers ?? 1);
    writer.varint(lies.headerKey ?? 1);
    writer.int8(66);
    writer.varint(lies.headerValue ?? 0);
  });
}

test("readRecords: the handmade record without a lie is read", () => {
  expect(plain(readRecords(liar({}), 0, CAP))).toEqual([
    { key: "41", value: "", timestamp: -1, headers: [["B", ""]] },
  ]);
});

const HUGE = 2_147_483_647;
test.each<Lies>([
  { length: -1 },
  { length: 0 },
  { length: 9 },
  { length: 11 },
  { length: HUGE },
  { key: -2 },
  { key: HUGE },
  { value: -2 },
  { value: HUGE },
  { headers: -1 },
  { headers: HUGE },
  { headers: 3 },
  { headerKey: -1 },
  { headerKey: HUGE },
  { headerValue: -2 },
  { headerValue: HUGE },
])("readRecords: a record that lies is a WireError: %p", (lies) => {
  expect(() => readRecords(liar(lies), 0, CAP)).toThrow(WireError);
});

test("readRecords: varints of more than 5 and 10 bytes are a WireError", () => {
  const endless = handmade((writer) => writer.raw(new Uint8Array(30).fill(0xff)));
  expect(() => readRecords(endless, 0, CAP)).toThrow(WireError);
  const longDelta = handmade((writer) => {
    writer.varint(20);
    writer.int8(0);
    writer.raw(new Uint8Array(19).fill(0xff));
  });
  expect(() => readRecords(longDelta, 0, CAP)).toThrow(WireError);
});

test("readRecords: magic 0 and 1 are a WireError", () => {
  for (const magic of [0, 1, 3]) {
    const bytes = buildBatch({ records: randomRecords(1) });
    bytes[16] = magic;
    expect(() => readRecords(bytes, 0, CAP)).toThrow(WireError);
  }
});

test("readRecords: reads views without copying when nothing is compressed", () => {
  const bytes = buildBatch({ records: [{ key: null, value: text("abc"), timestamp: 1 }] });
  expect(readRecords(bytes, 0, CAP)[0]!.value!.buffer).toBe(bytes.buffer);
});

test("buildBatch: an empty batch keeps its place, as the cleaner leaves it", () => {
  const bytes = buildBatch({
    baseOffset: 50,
    records: [],
    lastOffsetDelta: 9,
    producerId: 4,
    producerEpoch: 1,
    baseSequence: 3,
    maxTimestamp: 77,
    compression: CompressionCodec.zstd,
  });
  const header = readBatchHeader(bytes, 0);
  expect(bytes.length).toBe(RECORD_BATCH_OVERHEAD);
  expect(header.lastOffsetDelta).toBe(9);
  expect(header.maxTimestamp).toBe(77);
  expect(isCrcValid(bytes, 0)).toBe(true);
  expect(readRecords(bytes, 0, CAP)).toEqual([]);
});

test("buildBatch: offset deltas with gaps and a delete horizon are kept", () => {
  const bytes = buildBatch({
    baseOffset: 100,
    deleteHorizon: 1_000_000,
    lastOffsetDelta: 12,
    records: [
      { key: text("a"), value: null, timestamp: 999_000, offsetDelta: 2 },
      { key: text("b"), value: null, timestamp: 1_000_500, offsetDelta: 9 },
    ],
  });
  const records = readRecords(bytes, 0, CAP);
  expect(records.map((record) => record.offset)).toEqual([102, 109]);
  expect(records.map((record) => record.timestamp)).toEqual([999_000, 1_000_500]);
  expect(readBatchHeader(bytes, 0)).toMatchObject({
    baseTimestamp: 1_000_000,
    attributes: 0x40,
    lastOffsetDelta: 12,
  });
});

test("recordSizeUpperBound: no record takes more room than it says", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const records = randomRecords(seed);
    const bound = records.reduce((sum, record) => sum + recordSizeUpperBound(record), 0);
    expect(buildBatch({ records }).length - RECORD_BATCH_OVERHEAD).toBeLessThanOrEqual(bound);
  }
});

/** As the generator names bytes: base64, or the SHA-256 of what is long. */
function named(bytes: Uint8Array | null): string | null {
  if (bytes === null || bytes.length <= 1000) return bytes?.toBase64() ?? null;
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

for (const vector of vectors.batches) {
  test(`readRecords: reads what Kafka's Java library wrote: ${vector.name}`, () => {
    const bytes = Uint8Array.fromBase64(vector.bytes);
    const header = readBatchHeader(bytes, 0);
    expect(isCrcValid(bytes, 0)).toBe(true);
    expect({
      codec: compressionName(compressionOf(header.attributes)) as string,
      baseOffset: header.baseOffset,
      lastOffset: header.baseOffset + header.lastOffsetDelta,
      leaderEpoch: header.partitionLeaderEpoch,
      maxTimestamp: header.maxTimestamp,
      producerId: header.producerId,
      producerEpoch: header.producerEpoch,
      baseSequence: header.baseSequence,
      transactional: isTransactional(header.attributes),
      control: isControl(header.attributes),
    }).toEqual({
      codec: vector.codec,
      baseOffset: vector.baseOffset,
      lastOffset: vector.lastOffset,
      leaderEpoch: vector.leaderEpoch,
      maxTimestamp: vector.maxTimestamp,
      producerId: vector.producerId,
      producerEpoch: vector.producerEpoch,
      baseSequence: vector.baseSequence,
      transactional: vector.transactional,
      control: vector.control,
    });
    const records = readRecords(bytes, 0, CAP).map((record) => ({
      offset: record.offset,
      timestamp: record.timestamp,
      key: named(record.key),
      value: named(record.value),
      headers: record.headers.map(({ key, value }) => ({ key, value: named(value) })),
    }));
    expect(records).toEqual(vector.records);
  });

  if (vector.codec !== "none" || vector.name === "log append time") continue;
  test(`buildBatch: writes the very bytes of Kafka's Java library: ${vector.name}`, () => {
    const expected = Uint8Array.fromBase64(vector.bytes);
    const records = readRecords(expected, 0, CAP);
    const built = buildBatch({
      baseOffset: vector.baseOffset,
      partitionLeaderEpoch: vector.leaderEpoch,
      producerId: vector.producerId,
      producerEpoch: vector.producerEpoch,
      baseSequence: vector.baseSequence,
      transactional: vector.transactional,
      control: vector.control,
      records,
    });
    expect(Buffer.from(built).toString("hex")).toBe(Buffer.from(expected).toString("hex"));
  });
}

test("readRecords: lengths announced are not allocated", () => {
  const before = process.memoryUsage.rss();
  for (let i = 0; i < 1000; i++) {
    expect(() => readRecords(liar({ value: HUGE }), 0, CAP)).toThrow(WireError);
  }
  expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 1024 * 1024);
});
