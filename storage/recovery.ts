/**
 * Reads a segment after a crash: how far is it whole, and what is the rest?
 *
 *     batch ─ batch ─ batch ─ ?????????            torn tail: nothing valid follows, cut here
 *     batch ─ batch ─ 000000 ─ batch               lost write: whole sectors are zero, cut here
 *     batch ─ batch ─ ?????? ─ batch               damage: a valid batch follows, touch nothing
 *
 * A lost write leaves zeros: the log only ever grows, so a sector that did not reach the disk reads as
 * zero from where the last synced batch ended. Damage of bytes that had been synced does not look like
 * that, and nothing before the recovery point can have been lost: both take the log offline, since the
 * bytes may have been acknowledged.
 *
 * A scan reads in pieces and awaits each of them; memory is one piece and the largest batch.
 */

import {
  batchSizeBytes,
  isCrcValid,
  MAGIC_V2,
  readBatchHeader,
  readMagic,
  RECORD_BATCH_OVERHEAD,
  type RecordBatchHeader,
} from "../protocol/record_batch.ts";
import { WireError } from "../protocol/bytes.ts";

/** Bytes read at a time. */
const PIECE_BYTES = 1024 * 1024;
/** Pieces kept for the next scan: a thread has one at a time. */
const MAX_IDLE_PIECES = 2;
/** How often over the bytes past a tear may be read in search of a whole batch. */
const CHECKED_TIMES = 8;
/** The smallest unit that a disk writes whole. */
const SECTOR_BYTES = 512;
/** An offset further from its segment's base fits no index. */
const MAX_RELATIVE_OFFSET = 0x7fff_ffff;
/** Attribute bits that have a meaning; any other one set means that these bytes are no batch. */
const KNOWN_ATTRIBUTES = 0x7f;

/** Where to read. */
export interface ScanSource {
  readonly sizeBytes: number;
  readCold(position: number, into: Uint8Array): Promise<number>;
}

/** Where a batch begins. */
export interface ScanStart {
  readonly position: number;
  readonly offset: number;
}

/** What to expect. */
export interface ScanOptions {
  /** Offsets before it are an error. */
  readonly baseOffset: number;
  /** The batch to begin with; the first one when left out. */
  readonly start?: ScanStart;
  /** Checksums are computed from this offset on; before it everything was known to be synced. */
  readonly verifyFrom: number;
  /** Called for each whole batch. Shape: `bytes` is valid during the call alone. */
  onBatch(header: RecordBatchHeader, bytes: Uint8Array, at: number, position: number): void;
}

/** What a scan found past the whole batches. */
export type ScanEnd =
  | { readonly kind: "whole" }
  | { readonly kind: "torn" | "lost" }
  | { readonly kind: "damaged"; readonly nextBatchPosition: number };

/** Result of a scan. */
export interface ScanResult {
  /** Where the whole batches end. */
  readonly validBytes: number;
  /** Offset after the last whole batch. */
  readonly nextOffset: number;
  /** The last whole batch, where its offsets leave a gap that nothing behind it confirms; else null. */
  readonly doubt: DoubtfulBatch | null;
  readonly end: ScanEnd;
}

/** A batch whose base offset, which no checksum covers, is not that to which those before it lead. */
export interface DoubtfulBatch {
  readonly position: number;
  readonly baseOffset: number;
  readonly expectedOffset: number;
}

/** Pieces of scans that have ended. */
const idlePieces: Uint8Array[] = [];

/** A window on the file that moves forward. */
class ScanWindow {
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  readonly #source: ScanSource;
  readonly #readAheadBytes: number;
  readonly #piece = idlePieces.pop() ?? new Uint8Array(PIECE_BYTES);
  #buffer = this.#piece;

  constructor(source: ScanSource, readAheadBytes = PIECE_BYTES) {
    this.#source = source;
    this.#readAheadBytes = readAheadBytes;
  }

  /** Hands the memory on. The window is of no use after it. */
  close(): void {
    if (idlePieces.length < MAX_IDLE_PIECES) idlePieces.push(this.#piece);
  }

  /** Makes `byteCount` bytes at `position` available, or as many as there are. Returns: their index. */
  async load(position: number, byteCount: number): Promise<number> {
    const at = position - this.start;
    if (at >= 0 && at + byteCount <= this.bytes.length) return at;
    const wanted = Math.min(
      Math.max(byteCount, this.#readAheadBytes),
      this.#source.sizeBytes - position,
    );
    if (wanted > this.#buffer.length) this.#buffer = new Uint8Array(wanted);
    const count = await this.#source.readCold(position, this.#buffer.subarray(0, wanted));
    this.start = position;
    this.bytes = this.#buffer.subarray(0, count);
    return 0;
  }
}

/** Reads the segment to its end. Errors: DiskError. */
export async function scanSegment(source: ScanSource, options: ScanOptions): Promise<ScanResult> {
  const window = new ScanWindow(source);
  try {
    return await scan(window, source, options);
  } finally {
    window.close();
  }
}

/** Header of the batch at `position` if one lies there whole, checksum and all, else null. Errors: DiskError. */
export async function readWholeBatch(
  source: ScanSource,
  position: number,
): Promise<RecordBatchHeader | null> {
  const window = new ScanWindow(source, 0);
  try {
    const at = await loadBatch(window, position, source.sizeBytes);
    return at < 0 ? null : wholeBatch(window.bytes, at, 0, 0);
  } finally {
    window.close();
  }
}

async function scan(
  window: ScanWindow,
  source: ScanSource,
  options: ScanOptions,
): Promise<ScanResult> {
  let position = options.start?.position ?? 0;
  let nextOffset = options.start?.offset ?? options.baseOffset;
  let lastEpoch = -1;
  let doubt: DoubtfulBatch | null = null;
  while (position < source.sizeBytes) {
    const at = await loadBatch(window, position, source.sizeBytes);
    const header = at < 0 ? null : wholeBatch(window.bytes, at, nextOffset, options.verifyFrom);
    if (
      header === null || header.partitionLeaderEpoch < lastEpoch ||
      header.baseOffset + header.lastOffsetDelta > options.baseOffset + MAX_RELATIVE_OFFSET
    ) {
      const end = await judge(window, position, nextOffset, source.sizeBytes);
      return { validBytes: position, nextOffset, doubt, end };
    }
    options.onBatch(header, window.bytes, at, position);
    const { baseOffset } = header;
    doubt = baseOffset > nextOffset ? { position, baseOffset, expectedOffset: nextOffset } : null;
    lastEpoch = header.partitionLeaderEpoch;
    nextOffset = header.baseOffset + header.lastOffsetDelta + 1;
    position += batchSizeBytes(window.bytes, at);
  }
  return { validBytes: position, nextOffset, doubt, end: { kind: "whole" } };
}

/** Loads the batch that the bytes at `position` announce. Returns: its index, −1 when it cannot be one. */
async function loadBatch(window: ScanWindow, position: number, fileBytes: number): Promise<number> {
  if (fileBytes - position < RECORD_BATCH_OVERHEAD) return -1;
  let at = await window.load(position, RECORD_BATCH_OVERHEAD);
  const sizeBytes = batchSizeBytes(window.bytes, at);
  if (
    sizeBytes < RECORD_BATCH_OVERHEAD || position + sizeBytes > fileBytes ||
    readMagic(window.bytes, at) !== MAGIC_V2
  ) return -1;
  at = await window.load(position, sizeBytes);
  return at;
}

/** Header of the batch at `at` if it is whole and follows on, else null. */
function wholeBatch(
  bytes: Uint8Array,
  at: number,
  expectedOffset: number,
  verifyFrom: number,
): RecordBatchHeader | null {
  let header: RecordBatchHeader;
  try {
    header = readBatchHeader(bytes, at);
  } catch (failure) {
    if (failure instanceof WireError) return null;
    throw failure;
  }
  if (header.magic !== MAGIC_V2 || (header.attributes & ~KNOWN_ATTRIBUTES) !== 0) return null;
  if (header.baseOffset < expectedOffset || header.lastOffsetDelta < 0) return null;
  const lastOffset = header.baseOffset + header.lastOffsetDelta;
  if (lastOffset >= verifyFrom && !isCrcValid(bytes, at)) return null;
  return header;
}

async function judge(
  window: ScanWindow,
  position: number,
  expectedOffset: number,
  fileBytes: number,
): Promise<ScanEnd> {
  const next = await findBatchAfter(window, position, expectedOffset, fileBytes);
  if (next < 0) return { kind: "torn" };
  if (await hasZeroSector(window, position, next, expectedOffset)) return { kind: "lost" };
  return { kind: "damaged", nextBatchPosition: next };
}

/**
 * Position of the first whole batch past `position`, −1 when there is none. Bytes that announce batches
 * everywhere, as only a client that means harm sends them, would take hours to check: past a bound the
 * first that was not checked counts as a batch, so that nothing is cut.
 */
async function findBatchAfter(
  window: ScanWindow,
  position: number,
  expectedOffset: number,
  fileBytes: number,
): Promise<number> {
  let bytesLeft = CHECKED_TIMES * (fileBytes - position);
  for (let from = position + 1; from + RECORD_BATCH_OVERHEAD <= fileBytes;) {
    const first = await window.load(from, RECORD_BATCH_OVERHEAD);
    const index = nextCandidate(window, first, expectedOffset, fileBytes);
    if (index < 0) {
      from = window.start + window.bytes.length - RECORD_BATCH_OVERHEAD + 1;
      continue;
    }
    const candidate = window.start + index;
    const at = await loadBatch(window, candidate, fileBytes);
    bytesLeft -= at < 0 ? 0 : batchSizeBytes(window.bytes, at);
    if (bytesLeft < 0) return candidate;
    if (at >= 0 && wholeBatch(window.bytes, at, expectedOffset, 0) !== null) return candidate;
    from = candidate + 1;
  }
  return -1;
}

/** Index in the window of the first bytes that look like a batch header, −1 when there are none. */
function nextCandidate(
  window: ScanWindow,
  first: number,
  expectedOffset: number,
  fileBytes: number,
): number {
  const { bytes, start } = window;
  for (let index = first; index + RECORD_BATCH_OVERHEAD <= bytes.length; index++) {
    if (looksLikeBatch(bytes, index, expectedOffset, fileBytes - start - index)) return index;
  }
  return -1;
}

function looksLikeBatch(
  bytes: Uint8Array,
  at: number,
  expectedOffset: number,
  bytesLeft: number,
): boolean {
  if (readMagic(bytes, at) !== MAGIC_V2 || bytes[at] !== 0 || bytes[at + 1]! > 0x1f) return false;
  const sizeBytes = batchSizeBytes(bytes, at);
  if (sizeBytes < RECORD_BATCH_OVERHEAD || sizeBytes > bytesLeft) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, RECORD_BATCH_OVERHEAD);
  const baseOffset = Number(view.getBigInt64(0));
  return baseOffset >= expectedOffset && baseOffset <= expectedOffset + 0x7fff_ffff;
}

/** True when a sector of `[from, to)` reads as if it had never been written. */
async function hasZeroSector(
  window: ScanWindow,
  from: number,
  to: number,
  expectedOffset: number,
): Promise<boolean> {
  for (let start = from; start < to;) {
    // The next batch's own first bytes may be zeros of the same sector: it counts to its end.
    const end = (Math.floor(start / SECTOR_BYTES) + 1) * SECTOR_BYTES;
    const at = await window.load(start, end - start);
    if (isTelling(end - start, expectedOffset) && isZero(window.bytes, at, end - start)) {
      return true;
    }
    start = end;
  }
  return false;
}

/** A batch starts with zero bytes anyway: fewer than the offset and length fields tell nothing. */
function isTelling(byteCount: number, expectedOffset: number): boolean {
  return byteCount >= 12 || (byteCount >= 8 && expectedOffset !== 0);
}

function isZero(bytes: Uint8Array, at: number, byteCount: number): boolean {
  for (let i = at; i < at + byteCount; i++) if (bytes[i] !== 0) return false;
  return true;
}
