import { expect, test } from "bun:test";
import { WireError } from "../../protocol/bytes.ts";
import { compressSnappy, compressSnappyRaw, decompressSnappy } from "../../protocol/snappy.ts";
import { sample } from "./sample_bytes.ts";

const MIB = 1024 * 1024;

test("decompressSnappy: reads a raw block, and streams joined with their headers", () => {
  const plain = sample(100_000);
  expect(Buffer.from(plain).equals(decompressSnappy(compressSnappyRaw(plain), MIB))).toBe(true);
  const stream = compressSnappy(plain);
  const twice = decompressSnappy(Buffer.concat([stream, stream]), MIB);
  expect(Buffer.concat([plain, plain]).equals(twice)).toBe(true);
});

test("decompressSnappy: a block that announces 4 GB is refused", () => {
  const lie = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3);
  expect(() => decompressSnappy(lie, 2 ** 33)).toThrow(WireError);
});
