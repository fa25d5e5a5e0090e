/**
 * CRC-32C (Castagnoli), the checksum of record batches: by the processor's own instruction, or by tables where the
 * call to it would cost more than the sum.
 *
 * `Bun.hash.crc32` and zlib's crc32 are another polynomial: they do not fit. Releases of the package differ: 1.10.5 and
 * 1.10.8 sum 5 GB/s, where 1.10.7 and others sum 18, by several streams of the instruction at once; a test tells.
 */

import { crc32c as nativeCrc32c } from "@node-rs/crc32";

/** Castagnoli's polynomial, its bits reversed. */
const POLYNOMIAL = 0x82f63b78;
/** Bytes that are summed in one step, with a table for each. */
const STEP = 8;
/** From here on the native sum wins: 40 ns for 30 bytes and 290 for 400 against 260 and 330. */
const NATIVE_FROM_BYTES = 400;

const TABLES = makeTables();

/** Table k: the sum of a byte with k zeros after it. Shape: one after the other. */
function makeTables(): Int32Array {
  const tables = new Int32Array(STEP * 256);
  for (let byte = 0; byte < 256; byte++) {
    let sum = byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum & 1) === 0 ? sum >>> 1 : (sum >>> 1) ^ POLYNOMIAL;
    tables[byte] = sum;
  }
  for (let at = 256; at < tables.length; at++) {
    const before = tables[at - 256]!;
    tables[at] = (before >>> 8) ^ tables[before & 0xff]!;
  }
  return tables;
}

/**
 * Checksum of `bytes[start, end)`.
 *
 * Shape: `initial` is the checksum of the bytes that come before, so that pieces can be chained.
 * Returns: an unsigned 32-bit number; 0 for no bytes.
 * Source: RFC 3720 B.4; check value of "123456789" is 0xe3069283. Tables: "slicing-by-8", Kounavis and Berry.
 */
export function crc32c(
  bytes: Uint8Array,
  initial = 0,
  start = 0,
  end: number = bytes.length,
): number {
  if (end - start >= NATIVE_FROM_BYTES) {
    return nativeCrc32c(bytes.subarray(start, end), initial);
  }
  let sum = ~initial;
  let at = start;
  for (; at + STEP <= end; at += STEP) {
    sum = TABLES[0x700 | ((sum ^ bytes[at]!) & 0xff)]! ^
      TABLES[0x600 | (((sum >>> 8) ^ bytes[at + 1]!) & 0xff)]! ^
      TABLES[0x500 | (((sum >>> 16) ^ bytes[at + 2]!) & 0xff)]! ^
      TABLES[0x400 | ((sum >>> 24) ^ bytes[at + 3]!)]! ^
      TABLES[0x300 | bytes[at + 4]!]! ^
      TABLES[0x200 | bytes[at + 5]!]! ^
      TABLES[0x100 | bytes[at + 6]!]! ^
      TABLES[bytes[at + 7]!]!;
  }
  for (; at < end; at++) sum = (sum >>> 8) ^ TABLES[(sum ^ bytes[at]!) & 0xff]!;
  return ~sum >>> 0;
}
