/**
 * zstd, by the runtime's own library, with the checks that its one-shot call leaves out.
 *
 * That call answers a frame that is cut short, and bytes that follow the last frame, with what it could
 * read. Here the frames are walked first, so that either is an error:
 *
 *     0xFD2FB528 little-endian | descriptor | window | dictionary id | content size
 *     blocks: u24le with bit 0 last, bits 1–2 type, the rest the size | data
 *     checksum u32 when the descriptor says so
 *
 * Source: RFC 8878
 */

import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { WireError } from "./bytes.ts";

const FRAME_MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const SINGLE_SEGMENT_BIT = 0x20;
const CHECKSUM_BIT = 0x04;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];
const CONTENT_SIZE_BYTES = [0, 2, 4, 8];
const BLOCK_RLE = 1;
const BLOCK_RESERVED = 3;

/** Compresses into one frame. Shape: `level` −131072–22, the library's default when left out. */
export function compressZstd(bytes: Uint8Array, level?: number): Uint8Array {
  if (level === undefined) return zstdCompressSync(bytes);
  return zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: level } });
}

/**
 * Decompresses all frames of `bytes`.
 * Errors: WireError when damaged or cut short; what the library throws when larger than `maxBytes`.
 */
export function decompressZstd(bytes: Uint8Array, maxBytes: number): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  do at = skipFrame(view, at); while (at < bytes.length);
  return zstdDecompressSync(bytes, { maxOutputLength: maxBytes });
}

/** Position after the frame at `start`. */
function skipFrame(view: DataView, start: number): number {
  need(view, start, 8);
  const magic = view.getUint32(start, true);
  if ((magic & 0xffff_fff0) >>> 0 === SKIPPABLE_MAGIC) {
    const end = start + 8 + view.getUint32(start + 4, true);
    need(view, end, 0);
    return end;
  }
  if (magic !== FRAME_MAGIC) throw damaged(view, `no frame starts at ${start}`);
  const descriptor = view.getUint8(start + 4);
  const single = (descriptor & SINGLE_SEGMENT_BIT) !== 0;
  const contentSizeCode = descriptor >> 6;
  let at = start + 5 + (single ? 0 : 1) + DICTIONARY_ID_BYTES[descriptor & 3]! +
    (single && contentSizeCode === 0 ? 1 : CONTENT_SIZE_BYTES[contentSizeCode]!);
  for (let last = false; !last;) {
    need(view, at, 3);
    const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
    const type = (header >> 1) & 3;
    if (type === BLOCK_RESERVED) throw damaged(view, `the block at ${at} is of an unknown type`);
    at += 3 + (type === BLOCK_RLE ? 1 : header >> 3);
    last = (header & 1) !== 0;
  }
  if ((descriptor & CHECKSUM_BIT) !== 0) at += 4;
  need(view, at, 0);
  return at;
}

function need(view: DataView, at: number, byteCount: number): void {
  if (at + byteCount > view.byteLength) throw damaged(view, "it is cut short");
}

function damaged(view: DataView, what: string): WireError {
  return new WireError(`Cannot decompress zstd records of ${view.byteLength} bytes: ${what}`);
}
