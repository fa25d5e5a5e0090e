/**
 * The LZ4 frame format, which is what Kafka calls lz4.
 *
 *     0x184D2204 little-endian | FLG | BD | content size u64le when FLG says so | HC
 *     blocks: size u32le, top bit set when stored plainly | data | xxh32 of data when FLG says so
 *     0 u32le | xxh32 of the content when FLG says so
 *
 *     FLG  bits 7–6 version 01, 5 blocks are independent, 4 block checksums, 3 content size,
 *          2 content checksum, 0 dictionary id
 *     BD   bits 6–4 largest block: 4 → 64 KiB, 5 → 256 KiB, 6 → 1 MiB, 7 → 4 MiB
 *     HC   second byte of the xxh32 of FLG…content size
 *
 * The frame is read here, block by block, since the library's frame decoder has no cap on its output.
 *
 * Source: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
 */

import { compressFrameSync, uncompressSync } from "lz4-napi";
import { TooLargeError, WireError } from "./bytes.ts";

const FRAME_MAGIC = 0x184d2204;
const INDEPENDENT_BIT = 0x20;
const BLOCK_CHECKSUM_BIT = 0x10;
const CONTENT_SIZE_BIT = 0x08;
const CONTENT_CHECKSUM_BIT = 0x04;
const DICTIONARY_ID_BIT = 0x01;
const STORED_BIT = 0x8000_0000;
/** How far back a block may refer into those before it, when blocks are linked. */
const WINDOW_BYTES = 64 * 1024;
/** One byte of LZ4 stands for at most 255 bytes. */
const MAX_EXPANSION = 255;

/** Compresses into one frame of independent blocks without checksums, as Kafka's Java client does. */
export function compressLz4(bytes: Uint8Array): Uint8Array {
  return compressFrameSync(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

interface FrameHeader {
  readonly flags: number;
  readonly maxBlockBytes: number;
  /** Where the blocks start. */
  readonly position: number;
}

/**
 * Decompresses one frame.
 * Errors: TooLargeError past `maxBytes` (known once the block that passes it is there, of at most 4 MiB),
 * another WireError when damaged (each checksum that is there is compared).
 */
export function decompressLz4(bytes: Uint8Array, maxBytes: number): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = readFrameHeader(bytes, view);
  const blocks: Uint8Array[] = [];
  let totalBytes = 0;
  let history: Uint8Array = new Uint8Array(0);
  let at = header.position;
  for (;;) {
    const word = uint32At(view, at);
    at += 4;
    if (word === 0) break;
    const sizeBytes = word % STORED_BIT;
    if (sizeBytes > header.maxBlockBytes || sizeBytes > bytes.length - at) {
      throw damaged(bytes, `a block announces ${sizeBytes} bytes`);
    }
    const data = bytes.subarray(at, at + sizeBytes);
    at += sizeBytes;
    if ((header.flags & BLOCK_CHECKSUM_BIT) !== 0) {
      if (uint32At(view, at) !== xxh32(data)) throw damaged(bytes, "a block's checksum is wrong");
      at += 4;
    }
    const leftBytes = maxBytes - totalBytes;
    const block = word >= STORED_BIT ? data : uncompressBlock(data, header.maxBlockBytes, history);
    if (block.length > leftBytes) {
      throw new TooLargeError(
        `Cannot decompress lz4 frame of ${bytes.length} bytes: it grows past ${maxBytes} bytes`,
      );
    }
    totalBytes += block.length;
    blocks.push(block);
    if ((header.flags & INDEPENDENT_BIT) === 0) history = lastWindow(history, block);
  }
  const whole = blocks.length === 1 ? blocks[0]! : concatenate(blocks, totalBytes);
  if ((header.flags & CONTENT_CHECKSUM_BIT) !== 0) {
    if (uint32At(view, at) !== xxh32(whole)) {
      throw damaged(bytes, "the content's checksum is wrong");
    }
  }
  return whole;
}

/** Blocks of a frame, as far as their lengths lead; stops at `maxCount`. */
export function countLz4Blocks(bytes: Uint8Array, maxCount: number): number {
  if (bytes.length < 7) return 1;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const flags = bytes[4]!;
  const checksumBytes = (flags & BLOCK_CHECKSUM_BIT) !== 0 ? 4 : 0;
  let at = (flags & CONTENT_SIZE_BIT) !== 0 ? 15 : 7;
  let count = 1;
  for (; count < maxCount && at + 4 <= bytes.length; count++) {
    const word = view.getUint32(at, true);
    if (word === 0) break;
    at += 4 + word % STORED_BIT + checksumBytes;
  }
  return count;
}

function readFrameHeader(bytes: Uint8Array, view: DataView): FrameHeader {
  if (bytes.length < 7 || view.getUint32(0, true) !== FRAME_MAGIC) {
    throw damaged(bytes, "it does not start with a frame header");
  }
  const flags = bytes[4]!;
  const blockSizeCode = (bytes[5]! >> 4) & 7;
  if (flags >> 6 !== 1 || blockSizeCode < 4 || (flags & DICTIONARY_ID_BIT) !== 0) {
    throw damaged(bytes, "its frame header is of a kind that Kafka does not use");
  }
  const checksumAt = (flags & CONTENT_SIZE_BIT) !== 0 ? 14 : 6;
  if (bytes.length <= checksumAt) throw damaged(bytes, "its frame header is cut short");
  if (((xxh32(bytes.subarray(4, checksumAt)) >>> 8) & 0xff) !== bytes[checksumAt]) {
    throw damaged(bytes, "its frame header's checksum is wrong");
  }
  return { flags, maxBlockBytes: 1 << (8 + 2 * blockSizeCode), position: checksumAt + 1 };
}

/** The library wants the length of the result in front of the block; any length that suffices will do. */
function uncompressBlock(data: Uint8Array, capBytes: number, history: Uint8Array): Uint8Array {
  const prefixed = Buffer.allocUnsafe(4 + data.length);
  prefixed.writeUInt32LE(Math.min(capBytes, data.length * MAX_EXPANSION), 0);
  prefixed.set(data, 4);
  try {
    return history.length === 0 ? uncompressSync(prefixed) : uncompressSync(prefixed, history);
  } catch (cause) {
    throw new WireError(
      `Cannot decompress lz4 block of ${data.length} bytes: it is damaged, or larger than the ` +
        `${capBytes} bytes of its frame's blocks`,
      { cause },
    );
  }
}

function uint32At(view: DataView, at: number): number {
  if (at + 4 > view.byteLength) {
    throw new WireError(`Cannot decompress lz4 frame of ${view.byteLength} bytes: it is cut short`);
  }
  return view.getUint32(at, true);
}

function damaged(bytes: Uint8Array, what: string): WireError {
  return new WireError(`Cannot decompress lz4 frame of ${bytes.length} bytes: ${what}`);
}

function lastWindow(history: Uint8Array, block: Uint8Array): Uint8Array {
  if (block.length >= WINDOW_BYTES) return block.subarray(block.length - WINDOW_BYTES);
  const joined = concatenate([history, block], history.length + block.length);
  return joined.subarray(Math.max(0, joined.length - WINDOW_BYTES));
}

function concatenate(pieces: readonly Uint8Array[], totalBytes: number): Uint8Array {
  const whole = new Uint8Array(totalBytes);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

const PRIME_1 = 0x9e3779b1;
const PRIME_2 = 0x85ebca77;
const PRIME_3 = 0xc2b2ae3d;
const PRIME_4 = 0x27d4eb2f;
const PRIME_5 = 0x165667b1;

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

/**
 * xxHash, 32 bits, seed 0: the checksum of the LZ4 frame format.
 * Source: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
 */
export function xxh32(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = bytes.length;
  let at = 0;
  let hash = PRIME_5;
  if (length >= 16) {
    let a = (PRIME_1 + PRIME_2) | 0;
    let b = PRIME_2 | 0;
    let c = 0;
    let d = -PRIME_1 | 0;
    for (; at + 16 <= length; at += 16) {
      a = round(a, view.getUint32(at, true));
      b = round(b, view.getUint32(at + 4, true));
      c = round(c, view.getUint32(at + 8, true));
      d = round(d, view.getUint32(at + 12, true));
    }
    hash = rotateLeft(a, 1) + rotateLeft(b, 7) + rotateLeft(c, 12) + rotateLeft(d, 18);
  }
  hash = (hash + length) | 0;
  for (; at + 4 <= length; at += 4) {
    hash = (hash + Math.imul(view.getUint32(at, true), PRIME_3)) | 0;
    hash = Math.imul(rotateLeft(hash, 17), PRIME_4);
  }
  for (; at < length; at++) {
    hash = (hash + Math.imul(bytes[at]!, PRIME_5)) | 0;
    hash = Math.imul(rotateLeft(hash, 11), PRIME_1);
  }
  hash = Math.imul(hash ^ (hash >>> 15), PRIME_2);
  hash = Math.imul(hash ^ (hash >>> 13), PRIME_3);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function round(accumulator: number, word: number): number {
  return Math.imul(rotateLeft((accumulator + Math.imul(word, PRIME_2)) | 0, 13), PRIME_1);
}
