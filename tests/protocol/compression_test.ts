import { describe, expect, test } from "bun:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { WireError } from "../../protocol/bytes.ts";
import {
  compress,
  CompressionCodec,
  compressionName,
  decompress,
} from "../../protocol/compression.ts";
import { sample } from "./sample_bytes.ts";

const MIB = 1024 * 1024;
const CODECS = Object.values(CompressionCodec);
const PACKERS = CODECS.filter((codec) => codec !== CompressionCodec.none);

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
