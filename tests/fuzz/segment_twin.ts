/**
 * A reader of segment files that is slow and obvious: a twin to hold the real one against.
 *
 * It reads fields with a DataView, 64-bit ones as bigint, and computes CRC-32C bit by bit. It knows nothing
 * of windows, pieces or indexes.
 */

const HEADER_BYTES = 61;
const MAX_RELATIVE_OFFSET = 0x7fff_ffff;
const KNOWN_ATTRIBUTES = 0x7f;
const CASTAGNOLI = 0x82f6_3b78;
const SECTOR_BYTES = 512;

function crc32c(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ CASTAGNOLI : crc >>> 1;
  }
  return (crc ^ 0xffff_ffff) >>> 0;
}

/** A whole batch of a segment. */
export interface TwinBatch {
  readonly position: number;
  readonly sizeBytes: number;
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly epoch: number;
}

/** The batch at `position`, null when the bytes there are none. Checks nothing that lies before it. */
export function batchAt(bytes: Uint8Array, position: number): TwinBatch | null {
  if (position < 0 || bytes.length - position < HEADER_BYTES) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset + position, bytes.length - position);
  const sizeBytes = 12 + view.getInt32(8);
  if (sizeBytes < HEADER_BYTES || sizeBytes > view.byteLength || view.getInt8(16) !== 2) {
    return null;
  }
  const baseOffset = Number(view.getBigInt64(0));
  const delta = view.getInt32(23);
  const isSafe = [0, 27, 35, 43].every((at) => Number.isSafeInteger(Number(view.getBigInt64(at))));
  if (!isSafe || baseOffset < 0 || delta < 0) return null;
  if ((view.getInt16(21) & ~KNOWN_ATTRIBUTES) !== 0) return null;
  const covered = bytes.subarray(position + 21, position + sizeBytes);
  if (crc32c(covered) !== view.getUint32(17)) return null;
  const lastOffset = baseOffset + delta;
  return { position, sizeBytes, baseOffset, lastOffset, epoch: view.getInt32(12) };
}

/** The whole batches at the front of a segment, each of which follows the one before. */
export function longestPrefix(bytes: Uint8Array, segmentBase: number): TwinBatch[] {
  const found: TwinBatch[] = [];
  let expected = segmentBase;
  let epoch = -1;
  for (let at = 0; at < bytes.length;) {
    const batch = batchAt(bytes, at);
    if (batch === null || batch.baseOffset < expected || batch.epoch < epoch) break;
    if (batch.lastOffset > segmentBase + MAX_RELATIVE_OFFSET) break;
    found.push(batch);
    expected = batch.lastOffset + 1;
    ({ epoch } = batch);
    at += batch.sizeBytes;
  }
  return found;
}

/** A whole batch anywhere past `position` that could follow `expectedOffset`; null when there is none. */
export function anyBatchPast(
  bytes: Uint8Array,
  position: number,
  expectedOffset: number,
): TwinBatch | null {
  for (let at = position + 1; at + HEADER_BYTES <= bytes.length; at++) {
    const batch = batchAt(bytes, at);
    if (batch === null || batch.baseOffset < expectedOffset) continue;
    if (batch.baseOffset <= expectedOffset + MAX_RELATIVE_OFFSET) return batch;
  }
  return null;
}

/** True when `[from, to)` touches a sector, or the rest of one, that reads as if it was never written. */
export function hasLostSector(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to;) {
    const end = Math.min((Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES, bytes.length);
    if (bytes.subarray(at, end).every((byte) => byte === 0)) return true;
    at = end;
  }
  return false;
}
