/**
 * Snappy in the two framings that Kafka clients write.
 *
 * Java (and we) write the framing of snappy-java: a header, then blocks of up to 32 KiB of input. Some
 * clients (librdkafka among them) write one raw block. The header's first 8 bytes tell them apart.
 *
 *     0x82 "SNAPPY" 0x00 | version int32 = 1 | lowest compatible version int32 = 1
 *     then, until the end: length int32 | raw snappy block of that length
 *
 * Source: https://github.com/google/snappy/blob/main/format_description.txt; SnappyOutputStream of snappy-java.
 */

import { compressSync, uncompressSync } from "snappy";
import { Reader, TooLargeError, WireError, Writer } from "./bytes.ts";

const XERIAL_MAGIC = Uint8Array.of(0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00);
const XERIAL_VERSION = 1;
const XERIAL_HEADER_BYTES = XERIAL_MAGIC.length + 8;
/** Input bytes of one block, as snappy-java's default. */
const XERIAL_BLOCK_BYTES = 32 * 1024;
/** No element of a snappy block makes more than 64 bytes out of 3, so a larger claim is a lie. */
const MAX_EXPANSION = 32;
/** Memory of the runtime's own, not the addon's: seven times faster for blocks of 32 KiB. */
const OWN_MEMORY = { copyOutputData: true };

function hasXerialHeader(bytes: Uint8Array, at: number): boolean {
  if (bytes.length - at < XERIAL_HEADER_BYTES) return false;
  for (let i = 0; i < XERIAL_MAGIC.length; i++) {
    if (bytes[at + i] !== XERIAL_MAGIC[i]) return false;
  }
  return true;
}

/** Compresses into the framing of snappy-java. */
export function compressSnappy(bytes: Uint8Array): Uint8Array {
  const writer = new Writer(64);
  writer.raw(XERIAL_MAGIC);
  writer.int32(XERIAL_VERSION);
  writer.int32(XERIAL_VERSION);
  for (let at = 0; at < bytes.length; at += XERIAL_BLOCK_BYTES) {
    const block = compressSync(bytes.subarray(at, at + XERIAL_BLOCK_BYTES), OWN_MEMORY);
    writer.int32(block.length);
    writer.raw(block);
  }
  return writer.finish();
}

/** Compresses into one raw block, as librdkafka does. */
export function compressSnappyRaw(bytes: Uint8Array): Uint8Array {
  return compressSync(bytes, OWN_MEMORY);
}

/**
 * Decompresses either framing.
 * Errors: TooLargeError past `maxBytes`, another WireError when damaged, before memory is taken for it.
 */
export function decompressSnappy(bytes: Uint8Array, maxBytes: number): Uint8Array {
  if (!hasXerialHeader(bytes, 0)) {
    announcedBytes(bytes, maxBytes);
    return uncompressBlock(bytes);
  }
  const blocks: Uint8Array[] = [];
  let totalBytes = 0;
  const reader = new Reader(bytes, XERIAL_HEADER_BYTES);
  while (reader.remaining > 0) {
    // A stream may be several streams, one after another, each with its header.
    if (hasXerialHeader(bytes, reader.position)) {
      reader.view(XERIAL_HEADER_BYTES);
      continue;
    }
    const block = reader.view(reader.int32());
    totalBytes += announcedBytes(block, maxBytes - totalBytes);
    blocks.push(block);
  }
  if (blocks.length === 1) return uncompressBlock(blocks[0]!);
  const whole = new Uint8Array(totalBytes);
  let at = 0;
  for (const block of blocks) {
    const plain = uncompressBlock(block);
    whole.set(plain, at);
    at += plain.length;
  }
  return whole;
}

/** Blocks of either framing, as far as their lengths lead; stops at `maxCount`. */
export function countSnappyBlocks(bytes: Uint8Array, maxCount: number): number {
  if (!hasXerialHeader(bytes, 0)) return 1;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = XERIAL_HEADER_BYTES;
  let count = 1;
  for (; count < maxCount && at + 4 <= bytes.length; count++) {
    // The start of another stream's header reads as a length below zero.
    const length = view.getInt32(at);
    at += length < 0 ? XERIAL_HEADER_BYTES : 4 + length;
  }
  return count;
}

/** The length that a raw block announces, checked against the cap and against what can be true. */
function announcedBytes(block: Uint8Array, maxBytes: number): number {
  const announced = new Reader(block).unsignedVarint();
  const found = `Cannot decompress snappy block of ${block.length} bytes: ` +
    `it announces ${announced} bytes`;
  if (announced > block.length * MAX_EXPANSION) throw new WireError(found);
  if (announced > maxBytes) throw new TooLargeError(`${found}, ${maxBytes} are allowed`);
  return announced;
}

function uncompressBlock(block: Uint8Array): Uint8Array {
  try {
    return uncompressSync(block, OWN_MEMORY) as Buffer;
  } catch (cause) {
    throw new WireError(`Cannot decompress snappy block of ${block.length} bytes: it is damaged`, {
      cause,
    });
  }
}
