import { expect, test } from "bun:test";
import { zstdCompressSync } from "node:zlib";
import { WireError } from "../../protocol/bytes.ts";
import { decompressZstd } from "../../protocol/zstd.ts";
import { sample } from "./sample_bytes.ts";

test("decompressZstd: frames with bytes after the last is a WireError", () => {
  const packed = Buffer.concat([zstdCompressSync(sample(1000)), Uint8Array.of(1, 2, 3)]);
  expect(() => decompressZstd(packed, 2000)).toThrow(WireError);
});

test("decompressZstd: skippable frames may stand between the others", () => {
  const plain = sample(1000);
  const skippable = Uint8Array.of(0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9);
  const frame = zstdCompressSync(plain);
  const back = decompressZstd(Buffer.concat([frame, skippable, frame]), 2000);
  expect(Buffer.concat([plain, plain]).equals(back)).toBe(true);
  const cut = Buffer.concat([frame, skippable.subarray(0, 10)]);
  expect(() => decompressZstd(cut, 2000)).toThrow(WireError);
});
