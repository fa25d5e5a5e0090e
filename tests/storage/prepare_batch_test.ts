import { describe, expect, test } from "bun:test";
import {
  compress,
  CompressionCodec,
  type CompressionName,
  decompress,
} from "../../protocol/compression.ts";
import { errorName } from "../../protocol/errors.ts";
import {
  compressionOf,
  isCrcValid,
  readBatchHeader,
  RECORD_BATCH_OVERHEAD,
} from "../../protocol/record_batch.ts";
import { buildBatch, type NewRecord, readRecords } from "../../protocol/records.ts";
import { DEFAULT_LOG_CONFIG, type LogConfig } from "../../storage/log_config.ts";
import {
  LOOP_PLAIN_BYTES,
  LOOP_STORED_BYTES,
  prepareBatch,
  prepareBatchWithin,
  type PrepareRules,
  prepareRules,
} from "../../storage/prepare_batch.ts";
import { SimRandom } from "../sim/sim_random.ts";

const NOW = 1_700_000_000_000;
const REQUEST = { nowMs: NOW, requestVersion: 13 };
const CODECS = Object.values(CompressionCodec);
const COMPRESSED = CODECS.filter((codec) => codec !== CompressionCodec.none);
const CAP = { maxDecompressedBytes: 1 << 28 };

function rules(over: Partial<LogConfig> = {}): PrepareRules {
  return prepareRules("orders-0", { ...DEFAULT_LOG_CONFIG, ...over });
}

function randomBytes(random: SimRandom, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.uint32());
}

function randomRecords(random: SimRandom): NewRecord[] {
  return Array.from({ length: random.between(1, 30) }, (_, index) => ({
    key: random.chance(0.2) ? null : randomBytes(random, random.below(10)),
    value: random.chance(0.1) ? null : randomBytes(random, random.below(random.pick([5, 5000]))),
    timestamp: random.chance(0.1) ? -1 : NOW - random.below(100_000) + index,
    headers: random.chance(0.3)
      ? [{ key: "h", value: randomBytes(random, 3) }, { key: "", value: null }]
      : [],
  }));
}

/** A batch of one record of zeros. */
function bomb(codec: CompressionCodec, plainBytes: number): Uint8Array {
  return buildBatch({
    records: [{ key: null, value: new Uint8Array(plainBytes), timestamp: NOW }],
    compression: codec,
  });
}

describe("prepareBatch: another compression.type", () => {
  test("leaves records, producer, sequence and transaction as they were", () => {
    const random = new SimRandom(11);
    for (let round = 0; round < 300; round++) {
      const records = randomRecords(random);
      const from = random.pick(CODECS);
      const target = random.pick(Object.keys(CompressionCodec)) as CompressionName;
      const sent = buildBatch({
        records,
        compression: from,
        producerId: random.below(100),
        producerEpoch: random.below(9),
        baseSequence: random.below(1000),
        transactional: random.chance(0.5),
      });
      const before = { header: readBatchHeader(sent, 0), records: readRecords(sent, 0, CAP) };
      const compressionType = target === "none" ? "uncompressed" : target;
      const prepared = prepareBatch(sent.slice(), rules({ compressionType }), REQUEST);
      if (!("bytes" in prepared)) throw new Error(prepared.message);
      const { bytes } = prepared;
      const header = readBatchHeader(bytes, 0);
      expect(isCrcValid(bytes, 0)).toBe(true);
      expect(compressionOf(header.attributes)).toBe(CompressionCodec[target]);
      expect(readRecords(bytes, 0, CAP)).toEqual(before.records);
      expect({ ...header, crc: 0, batchLength: 0, attributes: header.attributes & ~7 }).toEqual({
        ...before.header,
        crc: 0,
        batchLength: 0,
        attributes: before.header.attributes & ~7,
      });
    }
  });

  test.each(
    [
      ["gzip", "compressionGzipLevel", 1, 9],
      ["zstd", "compressionZstdLevel", 1, 19],
    ] as const,
  )("%s heeds its level", (compressionType, name, low, high) => {
    const random = new SimRandom(2);
    const words = Array.from({ length: 50 }, () => randomBytes(random, 7));
    const value = Buffer.concat(Array.from({ length: 8000 }, () => random.pick(words)));
    const sizes = [low, high].map((level) => {
      const batch = buildBatch({ records: [{ key: null, value, timestamp: NOW }] });
      const prepared = prepareBatch(batch, rules({ compressionType, [name]: level }), REQUEST);
      if (!("bytes" in prepared)) throw new Error(prepared.message);
      return prepared.bytes.length;
    });
    expect(sizes[1]).toBeLessThan(sizes[0]! * 0.95);
  });

  test("that makes the batch larger than max.message.bytes is refused", () => {
    const bytes = bomb(CompressionCodec.zstd, 10_000);
    const config = { maxMessageBytes: 5000 };
    expect(prepareBatch(bytes.slice(), rules(config), REQUEST).error).toBe(0);
    const refusal = prepareBatch(
      bytes,
      rules({ ...config, compressionType: "uncompressed" }),
      REQUEST,
    );
    expect(errorName(refusal.error)).toBe("MESSAGE_TOO_LARGE");
  });
});

describe("prepareBatch: bounds of what is decompressed", () => {
  test.each(CODECS)(
    "codec %d: max.decompressed.message.bytes counts one record's body",
    (codec) => {
      const body = { key: null, value: new Uint8Array(1000), timestamp: NOW };
      const batch = () => buildBatch({ records: [body, body, body], compression: codec });
      // Attributes, two deltas, no key, a length of two bytes, no headers.
      const bodyBytes = 1 + 1 + 1 + 1 + 2 + 1000 + 1;
      const error = (maxDecompressedMessageBytes: number) =>
        errorName(prepareBatch(batch(), rules({ maxDecompressedMessageBytes }), REQUEST).error);
      expect(error(bodyBytes)).toBe("NONE");
      // Kafka bounds a record without compression by max.message.bytes alone.
      expect(error(bodyBytes - 1)).toBe(
        codec === CompressionCodec.none ? "NONE" : "INVALID_RECORD",
      );
    },
  );

  test.each(COMPRESSED)("codec %d: a whole batch past the memory for it is too large", (codec) => {
    const batch = bomb(codec, 100_000);
    const error = (maxDecompressedBatchBytes: number) =>
      errorName(prepareBatch(batch.slice(), rules({ maxDecompressedBatchBytes }), REQUEST).error);
    const header = readBatchHeader(batch, 0);
    const stored = batch.subarray(RECORD_BATCH_OVERHEAD);
    const plain = decompress(compressionOf(header.attributes), stored, 1 << 20);
    expect(error(plain.length)).toBe("NONE");
    expect(error(plain.length - 1)).toBe("MESSAGE_TOO_LARGE");
  });
});

describe("prepareBatchWithin", () => {
  test("gives what prepareBatch gives, or null and the batch as it was", () => {
    const random = new SimRandom(5);
    let nulls = 0;
    for (let round = 0; round < 400; round++) {
      const codec = random.pick(CODECS);
      const size = random.pick([100, 20_000, LOOP_PLAIN_BYTES - 100, LOOP_PLAIN_BYTES + 1]);
      const sent: Uint8Array = random.chance(0.5)
        ? bomb(codec, size)
        : buildBatch({ records: randomRecords(random), compression: codec });
      if (random.chance(0.2)) sent[random.below(sent.length)]! ^= 1 << random.below(8);
      const config = rules({
        maxMessageBytes: random.pick([10_000, 4_000_000]),
        compressionType: random.pick(["producer", "producer", "zstd", "gzip", "uncompressed"]),
        cleanupPolicy: random.chance(0.3) ? ["compact"] : ["delete"],
      });
      const given = sent.slice();
      const effort = { leftBytes: random.pick([-1, 1, 1 << 20]) };
      const left = effort.leftBytes;
      const prepared = prepareBatchWithin(effort, given, config, REQUEST);
      if (prepared === null) {
        nulls++;
        expect(Buffer.compare(given, sent)).toBe(0);
        expect(effort.leftBytes).toBeGreaterThanOrEqual(Math.min(left, left - LOOP_PLAIN_BYTES));
      } else expect(prepared).toEqual(prepareBatch(sent, config, REQUEST));
    }
    expect(nulls).toBeGreaterThan(50);
    expect(nulls).toBeLessThan(250);
  });

  test.each(COMPRESSED)("codec %d: a bomb is left to others, and counts", (codec) => {
    const batch = bomb(codec, 6 * 1024 * 1024);
    const effort = { leftBytes: 1 << 20 };
    const config = rules({ maxMessageBytes: 1e9 });
    expect(prepareBatchWithin(effort, batch, config, REQUEST)).toBeNull();
    const isSeenBefore = batch.length > LOOP_STORED_BYTES;
    expect(effort.leftBytes).toBe((1 << 20) - (isSeenBefore ? 0 : LOOP_PLAIN_BYTES));
  });

  test("a stream of ten thousand tiny blocks is left to others", () => {
    const streams = { snappy: snappyOfTinyBlocks(10_000), lz4: lz4OfTinyBlocks(10_000) };
    for (const [name, stored] of Object.entries(streams)) {
      const codec = CompressionCodec[name as CompressionName];
      expect(decompress(codec, stored, 1 << 20).length).toBe(10_000);
      const batch = withBody(stored, codec);
      const effort = { leftBytes: 1 << 20 };
      expect(prepareBatchWithin(effort, batch, rules(), REQUEST)).toBeNull();
      expect(effort.leftBytes).toBe(1 << 20);
    }
  });

  test("many records, a slow level and a turn that is used up are left to others", () => {
    const effort = () => ({ leftBytes: 1 << 20 });
    const tiny = { key: null, value: null, timestamp: NOW };
    const many = buildBatch({ records: Array.from({ length: 50_001 }, () => tiny) });
    const small = () => buildBatch({ records: [tiny], compression: CompressionCodec.gzip });
    const level = rules({ compressionType: "zstd", compressionZstdLevel: 19 });
    expect(prepareBatchWithin(effort(), many, rules(), REQUEST)).toBeNull();
    expect(prepareBatchWithin(effort(), small(), level, REQUEST)).toBeNull();
    expect(prepareBatchWithin({ leftBytes: 0 }, small(), rules(), REQUEST)).toBeNull();
    expect(prepareBatchWithin({ leftBytes: 0 }, bomb(0, 10), rules(), REQUEST)?.error).toBe(0);
    expect(prepareBatchWithin(effort(), small(), rules(), REQUEST)?.error).toBe(0);
  });
});

function withBody(stored: Uint8Array, codec: CompressionCodec): Uint8Array {
  const batch = Buffer.concat([bomb(codec, 1).subarray(0, RECORD_BATCH_OVERHEAD), stored]);
  batch.writeInt32BE(batch.length - 12, 8);
  return batch;
}

function snappyOfTinyBlocks(count: number): Uint8Array {
  const head = compress(CompressionCodec.snappy, new Uint8Array(0));
  const block = Uint8Array.of(0, 0, 0, 3, 1, 0, 65);
  return Buffer.concat([head, ...Array.from({ length: count }, () => block)]);
}

function lz4OfTinyBlocks(count: number): Uint8Array {
  const head = compress(CompressionCodec.lz4, new Uint8Array(1)).subarray(0, 7);
  const block = Uint8Array.of(2, 0, 0, 0, 0x10, 65);
  return Buffer.concat([head, ...Array.from({ length: count }, () => block), new Uint8Array(4)]);
}
