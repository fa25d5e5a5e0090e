/**
 * May bytes of a segment be believed that nobody has looked at since the start?
 *
 *     baseOffset 8 | batchLength 4 | partitionLeaderEpoch 4 | magic 1 | crc 4 | attributes … records
 *     └───────────────── no checksum covers these ──────────────────┘        └── the crc covers these ─┘
 *
 * A flipped length or magic shows in the checksum, computed over other bytes. A flipped base offset shows in
 * the neighbours: offsets rise, and but for what the cleaner took out each batch begins where the one before
 * it ends. One that does not is in doubt until the next batch lies behind it too. Why this is enough, and
 * what it cannot see: docs/decisions/0010.
 */

import { WireError } from "../protocol/bytes.ts";
import { crc32c } from "../protocol/crc32c.ts";
import {
  ATTRIBUTES_AT,
  batchSizeBytes,
  CRC_AT,
  isCrcValid,
  MAGIC_V2,
  readBaseOffset,
  readLastOffset,
  readMagic,
  RECORD_BATCH_OVERHEAD,
} from "../protocol/record_batch.ts";
import type { DiskError } from "./platform.ts";

/** Bytes read at a time where a batch is too large to be read before it is believed. */
const PIECE_BYTES = 256 * 1024;
const WRONG_CHECKSUM = "the checksum of the batch does not fit";

/** What a look at batches found. */
export interface SoundBatches {
  /** Bytes of the batches from the front that may be believed. */
  readonly soundBytes: number;
  /** What is wrong with the batch after them; null where no whole one follows. */
  readonly found: string | null;
}

/** What a read was to begin with. */
export interface SoughtBatch {
  readonly startOffset: number;
  /**
   * How its first batch was found: by a walk to the one that holds the offset, which may begin before it,
   * and `follows` when its base offset is certain. Null where a reader goes on at the end of its last read.
   */
  readonly found: { readonly follows: boolean } | null;
}

/** What is known around the batches. */
export interface BatchSurroundings extends SoughtBatch {
  /** Base offset of what follows the batches, by its index in their bytes. */
  readonly baseOffsetAfter: (at: number) => number;
}

/** Looks at the whole batches at the front of `bytes`. */
export function soundBatches(
  bytes: Uint8Array,
  { startOffset, found, baseOffsetAfter }: BatchSurroundings,
): SoundBatches {
  let end = 0;
  let nextOffset = startOffset;
  /** Where the last batch begins, if its offsets leave a gap before it; else −1. */
  let doubtfulAt = -1;
  while (bytes.length - end >= RECORD_BATCH_OVERHEAD) {
    const sizeBytes = batchSizeBytes(bytes, end);
    if (sizeBytes > bytes.length - end) break;
    const problem = batchProblem(bytes, end, nextOffset, end === 0 && found !== null);
    if (problem !== null) {
      return doubtfulAt >= 0 && readBaseOffset(bytes, end) < nextOffset
        ? { soundBytes: doubtfulAt, found: doubt(bytes, doubtfulAt) }
        : { soundBytes: end, found: problem };
    }
    const baseOffset = readBaseOffset(bytes, end);
    const isSought = end === 0 && found !== null;
    const isCertain = isSought ? found.follows : baseOffset === nextOffset;
    doubtfulAt = isCertain ? -1 : end;
    nextOffset = readLastOffset(bytes, end) + 1;
    end += sizeBytes;
  }
  if (doubtfulAt >= 0 && baseOffsetAfter(end) < nextOffset) {
    return { soundBytes: doubtfulAt, found: doubt(bytes, doubtfulAt) };
  }
  return { soundBytes: end, found: null };
}

function doubt(bytes: Uint8Array, at: number): string {
  return `the batch has the base offset ${
    readBaseOffset(bytes, at)
  }, which lies past what follows it`;
}

function batchProblem(
  bytes: Uint8Array,
  at: number,
  nextOffset: number,
  isSought: boolean,
): string | null {
  if (batchSizeBytes(bytes, at) < RECORD_BATCH_OVERHEAD || readMagic(bytes, at) !== MAGIC_V2) {
    return "there is no batch";
  }
  if (!isCrcValid(bytes, at)) return WRONG_CHECKSUM;
  let baseOffset: number;
  let lastOffset: number;
  try {
    baseOffset = readBaseOffset(bytes, at);
    lastOffset = readLastOffset(bytes, at);
  } catch (failure) {
    if (!(failure instanceof WireError)) throw failure;
    return failure.message;
  }
  // An offset that was sought may lie in the middle of its batch.
  const isBehind = isSought ? lastOffset < nextOffset : baseOffset < nextOffset;
  return isBehind
    ? `the batch has the offsets ${baseOffset} to ${lastOffset}, and ${nextOffset} or more should come`
    : null;
}

/** A segment, as far as the checks look. */
export interface CheckedSource {
  read(position: number, into: Uint8Array): number;
  isChecked(start: number, end: number): boolean;
  noteChecked(start: number, end: number): void;
  damagedAt(position: number, found: string): DiskError;
}

/** Compares the batches in `[start, end)`, which begin and end there. Errors: DiskError (EBADMSG). */
export function checkBatches(source: CheckedSource, start: number, end: number): void {
  if (start >= end || source.isChecked(start, end)) return;
  const bytes = new Uint8Array(end - start);
  source.read(start, bytes);
  for (let at = 0; at < bytes.length; at += batchSizeBytes(bytes, at)) {
    if (!isCrcValid(bytes, at)) throw source.damagedAt(start + at, WRONG_CHECKSUM);
  }
  source.noteChecked(start, end);
}

/**
 * Compares a large batch piece by piece, before memory is made for the length that it announces.
 * Errors: DiskError (EBADMSG).
 */
export function checkLarge(source: CheckedSource, position: number, sizeBytes: number): void {
  const piece = new Uint8Array(PIECE_BYTES);
  let announced = 0;
  let crc = 0;
  for (let at = 0; at < sizeBytes; at += PIECE_BYTES) {
    const into = piece.subarray(0, Math.min(PIECE_BYTES, sizeBytes - at));
    source.read(position + at, into);
    if (at === 0) announced = new DataView(into.buffer).getUint32(CRC_AT);
    crc = crc32c(at === 0 ? into.subarray(ATTRIBUTES_AT) : into, crc);
  }
  if (crc !== announced) throw source.damagedAt(position, WRONG_CHECKSUM);
}
