/**
 * The five codecs of a record batch, synchronous and bounded.
 *
 * Decompression never gives more than the caller's cap: a bomb ends in a `TooLargeError` before the memory
 * for it exists. gzip is the runtime's own; snappy, lz4 and zstd have their framing in
 * their files.
 */

import { gunzipSync, gzipSync } from "node:zlib";
import { TooLargeError, WireError } from "./bytes.ts";
import { compressLz4, countLz4Blocks, decompressLz4 } from "./lz4.ts";
import { compressSnappy, countSnappyBlocks, decompressSnappy } from "./snappy.ts";
import { compressZstd, decompressZstd } from "./zstd.ts";

/** Codecs by the number that the batch attributes carry. */
export const CompressionCodec = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const;
export type CompressionCodec = (typeof CompressionCodec)[keyof typeof CompressionCodec];
/** Kafka's names of the codecs, as settings and tools write them. */
export type CompressionName = keyof typeof CompressionCodec;

const NAMES: readonly CompressionName[] = ["none", "gzip", "snappy", "lz4", "zstd"];

/** Name of a codec. */
export function compressionName(codec: CompressionCodec): CompressionName {
  return NAMES[codec]!;
}

/**
 * Compresses `bytes` with the framing that Kafka's Java client writes.
 *
 * Shape: `level` counts for gzip (1–9, −1 for the library's own) and zstd (−131072–22); the others have
 * one level here.
 */
export function compress(codec: CompressionCodec, bytes: Uint8Array, level?: number): Uint8Array {
  switch (codec) {
    case CompressionCodec.none:
      return bytes;
    case CompressionCodec.gzip:
      return gzipSync(bytes, level === undefined ? {} : { level });
    case CompressionCodec.snappy:
      return compressSnappy(bytes);
    case CompressionCodec.lz4:
      return compressLz4(bytes);
    case CompressionCodec.zstd:
      return compressZstd(bytes, level);
  }
}

/**
 * Decompresses what any Kafka client wrote.
 *
 * Shape: the result is `bytes` itself for `none`, else fresh memory of at most `maxBytes`.
 * Errors: TooLargeError when the bytes would grow past `maxBytes`, another WireError when they are damaged.
 */
export function decompress(
  codec: CompressionCodec,
  bytes: Uint8Array,
  maxBytes: number,
): Uint8Array {
  // zlib takes no cap of 0, which is what an empty batch may come with.
  const capBytes = Math.max(maxBytes, 1);
  try {
    switch (codec) {
      case CompressionCodec.none:
        return bytes;
      case CompressionCodec.gzip:
        return gunzipSync(bytes, { maxOutputLength: capBytes });
      case CompressionCodec.snappy:
        return decompressSnappy(bytes, maxBytes);
      case CompressionCodec.lz4:
        return decompressLz4(bytes, maxBytes);
      case CompressionCodec.zstd:
        return decompressZstd(bytes, capBytes);
    }
  } catch (cause) {
    if (cause instanceof WireError) throw cause;
    const doing = `Cannot decompress ${compressionName(codec)} records of ${bytes.length} bytes`;
    if ((cause as { readonly code?: unknown }).code === "ERR_BUFFER_TOO_LARGE") {
      throw new TooLargeError(`${doing}: they grow past ${maxBytes} bytes`, { cause });
    }
    throw new WireError(`${doing}: they are damaged`, { cause });
  }
}

/**
 * Blocks that have to be decompressed one by one, each at the price of a call, however little is in them.
 * Shape: from 1 to `maxCount`, at which the count stops. Never throws: damage is for `decompress` to find.
 */
export function countBlocks(codec: CompressionCodec, bytes: Uint8Array, maxCount: number): number {
  if (codec === CompressionCodec.lz4) return countLz4Blocks(bytes, maxCount);
  return codec === CompressionCodec.snappy ? countSnappyBlocks(bytes, maxCount) : 1;
}
