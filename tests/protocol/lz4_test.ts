import { expect, test } from "bun:test";
import { compressFrameSync, compressSync as compressLz4Block } from "lz4-napi";
import { WireError } from "../../protocol/bytes.ts";
import { decompressLz4, xxh32 } from "../../protocol/lz4.ts";
import { sample } from "./sample_bytes.ts";

const MIB = 1024 * 1024;

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
