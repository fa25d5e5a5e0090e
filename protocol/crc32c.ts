/**
 * CRC-32C (Castagnoli), the checksum of record batches, by the processor's own instruction.
 *
 * `Bun.hash.crc32` and zlib's crc32 are another polynomial: they do not fit.
 */

import { crc32c as nativeCrc32c } from "@node-rs/crc32";

/**
 * Checksum of `bytes`.
 *
 * Shape: `initial` is the checksum of the bytes that come before, so that pieces can be chained.
 * Returns: an unsigned 32-bit number; 0 for no bytes.
 * Source: RFC 3720 B.4; check value of "123456789" is 0xe3069283.
 */
export function crc32c(bytes: Uint8Array, initial = 0): number {
  return nativeCrc32c(bytes, initial);
}
