import { describe, expect, test } from "bun:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { compressFrameSync, compressSync as compressLz4Block } from "lz4-napi";
import { WireError } from "../../protocol/bytes.ts";
import {
  compress,
  CompressionCodec,
  compressionName,
  decompress,
} from "../../protocol/compression.ts";
import { decompressLz4, xxh32 } from "../../protocol/lz4.ts";
import { compressSnappyRaw, decompressSnappy } from "../../protocol/snappy.ts";

const MIB = 1024 * 1024;
const CODECS = Object.values(CompressionCodec);
const PACKERS = CODECS.filter((codec) => codec !== CompressionCodec.none);

/** Half noise, half repetition, so that every codec has literals and matches. */
function sample(byteCount: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(byteCount);
  let state = seed;
  for (let i = 0; i < byteCount; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = (i >> 7) % 2 === 0 ? state >>> 24 : i % 50;
  }
  return bytes;
}

const SIZES = [0, 1, 2, 63, 64, 1000, 32 * 1024, 32 * 1024 + 1, 65_536, 65_537, 300_000, 5 * MIB];

describe.each(CODECS)("codec %d", (codec) => {
  const name = compressionName(codec);

  test.each(SIZES)(`compress: ${name} comes back at %d bytes`, (size) => {
    const plain = sample(size);
    const packed = compress(codec, plain);
    expect(Buffer.from(plain).equals(decompress(codec, packed, size))).toBe(true);
  });

  test(`decompress: ${name} of a view leaves its surroundings out`, () => {
    const packed = compress(codec, sample(500));
    const around = new Uint8Array(packed.length + 20).fill(0xee);
    around.set(packed, 10);
    const back = decompress(codec, around.subarray(10, 10 + packed.length), 500);
    expect(Buffer.from(sample(500)).equals(back)).toBe(true);
  });
});

describe.each(PACKERS)("codec %d, bad bytes", (codec) => {
  const name = compressionName(codec);

  test(`decompress: ${name} refuses one byte more than the cap`, () => {
    for (const size of [100, 40_000, 200_000]) {
      const packed = compress(codec, sample(size));
      expect(() => decompress(codec, packed, size - 1)).toThrow(WireError);
    }
  });

  test(`decompress: ${name} refuses a bomb without taking its memory`, () => {
    const bomb = compress(codec, new Uint8Array(256 * MIB));
    const before = process.memoryUsage.rss();
    expect(() => decompress(codec, bomb, MIB)).toThrow(WireError);
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * MIB);
  });

  test(`decompress: ${name} cut anywhere is a WireError`, () => {
    const packed = compress(codec, sample(3000));
    for (let cut = 0; cut < packed.length; cut++) {
      // Snappy's framing has no end: a cut between two blocks is a shorter stream, found by the record count.
      if (codec === CompressionCodec.snappy && cut === 16) continue;
      expect(() => decompress(codec, packed.subarray(0, cut), MIB)).toThrow(WireError);
    }
  });

  test(`decompress: ${name} with a flipped bit gives bytes within the cap or a WireError`, () => {
    const packed = compress(codec, sample(600));
    for (let bit = 0; bit < packed.length * 8; bit++) {
      const damaged = Uint8Array.from(packed);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      try {
        expect(decompress(codec, damaged, 4096).length).toBeLessThanOrEqual(4096);
      } catch (error) {
        expect(error).toBeInstanceOf(WireError);
      }
    }
  });

  test(`decompress: ${name} of noise is a WireError`, () => {
    for (let seed = 1; seed < 300; seed++) {
      const noise = sample(seed % 64, seed * 7919);
      try {
        expect(decompress(codec, noise, MIB).length).toBeLessThanOrEqual(MIB);
      } catch (error) {
        expect(error).toBeInstanceOf(WireError);
      }
    }
  });
});

test("compress: levels of gzip and zstd are heeded", () => {
  const plain = new TextEncoder().encode(
    Array.from({ length: 20_000 }, (_, i) => `line ${(i * 7919) % 10_007}\n`).join(""),
  );
  for (const codec of [CompressionCodec.gzip, CompressionCodec.zstd]) {
    expect(compress(codec, plain, 9).length).toBeLessThan(compress(codec, plain, 1).length);
  }
});

test("decompress: gzip members and zstd frames may follow one another", () => {
  const plain = sample(1000);
  const doubled = Buffer.concat([plain, plain]);
  for (
    const [codec, packed] of [
      [CompressionCodec.gzip, gzipSync(plain)],
      [CompressionCodec.zstd, zstdCompressSync(plain)],
    ] as const
  ) {
    const back = decompress(codec, Buffer.concat([packed, packed]), 2000);
    expect(doubled.equals(back)).toBe(true);
  }
});

test("decompress: zstd with bytes after its last frame is a WireError", () => {
  const packed = Buffer.concat([zstdCompressSync(sample(1000)), Uint8Array.of(1, 2, 3)]);
  expect(() => decompress(CompressionCodec.zstd, packed, 2000)).toThrow(WireError);
});

test("decompressSnappy: reads a raw block, and streams joined with their headers", () => {
  const plain = sample(100_000);
  expect(Buffer.from(plain).equals(decompressSnappy(compressSnappyRaw(plain), MIB))).toBe(true);
  const stream = compress(CompressionCodec.snappy, plain);
  const twice = decompressSnappy(Buffer.concat([stream, stream]), MIB);
  expect(Buffer.concat([plain, plain]).equals(twice)).toBe(true);
});

test("decompressSnappy: a block that announces 4 GB is refused", () => {
  const lie = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3);
  expect(() => decompressSnappy(lie, 2 ** 33)).toThrow(WireError);
});

test("decompressLz4: checks block and content checksums", () => {
  const plain = sample(100_000);
  const options = { contentChecksum: true, blockChecksums: true };
  const packed = compressFrameSync(Buffer.from(plain), options);
  expect(Buffer.from(plain).equals(decompressLz4(packed, MIB))).toBe(true);
  for (const at of [7, 12, 500, packed.length - 1, packed.length - 6]) {
    const damaged = Uint8Array.from(packed);
    damaged[at]! ^= 0x10;
    expect(() => decompressLz4(damaged, MIB)).toThrow(WireError);
  }
});

test("decompressLz4: reads linked blocks, stored blocks and a content size", () => {
  const pieces = [sample(50_000, 1), sample(50_000, 1), sample(65_536, 9), sample(10, 9)];
  const plain = Buffer.concat(pieces);
  const chunks: Uint8Array[] = [frameHeader({ linked: true, contentSize: plain.length })];
  let history = Buffer.alloc(0);
  for (const piece of pieces) {
    const packed = compressLz4Block(Buffer.from(piece), history).subarray(4);
    const stored = piece.length === 10;
    const size = new Uint8Array(4);
    new DataView(size.buffer).setUint32(0, stored ? 0x8000_0000 + 10 : packed.length, true);
    chunks.push(size, stored ? piece : packed);
    history = Buffer.concat([history, piece]).subarray(-65_536);
  }
  chunks.push(new Uint8Array(4));
  expect(plain.equals(decompressLz4(Buffer.concat(chunks), MIB))).toBe(true);
});

function frameHeader(
  { linked, contentSize }: { linked: boolean; contentSize: number },
): Uint8Array {
  const header = new Uint8Array(15);
  const view = new DataView(header.buffer);
  view.setUint32(0, 0x184d2204, true);
  header[4] = 0x48 | (linked ? 0 : 0x20);
  header[5] = 0x40;
  view.setBigUint64(6, BigInt(contentSize), true);
  header[14] = xxh32(header.subarray(4, 14)) >>> 8;
  return header;
}

test("xxh32: gives the values of the reference implementation", () => {
  const text = (value: string) => new TextEncoder().encode(value);
  expect(xxh32(text(""))).toBe(0x02cc5d05);
  expect(xxh32(text("a"))).toBe(0x550d7456);
  expect(xxh32(text("abc"))).toBe(0x32d153ff);
  expect(xxh32(text("Nobody inspects the spammish repetition"))).toBe(0xe2293b2f);
});
