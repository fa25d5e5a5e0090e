/**
 * Looks at every batch of a segment, from the first byte to the last, and goes on behind what is damaged.
 *
 *     batch ─ batch ─ ?????? ─ batch ─ batch ─ batch
 *     └─ sound ────┘  └─ damage: from here to the next whole batch
 *
 * A batch is sound when its checksum fits and its offsets lie behind those before it and before those after
 * it (docs/decisions/0010): one that leaves a gap is in doubt until the next one has been seen, and what
 * comes behind it waits. Behind damage the batch that the announced length leads to is tried, then every
 * byte. Bytes are read in pieces of 64 KiB and nothing is done for longer than one piece between two reads.
 */

import { WireError } from "../protocol/bytes.ts";
import { crc32c } from "../protocol/crc32c.ts";
import {
  ATTRIBUTES_AT,
  batchSizeBytes,
  isControl,
  isCrcValid,
  LOG_OVERHEAD,
  MAGIC_V2,
  readBatchHeader,
  readMagic,
  RECORD_BATCH_OVERHEAD,
  type RecordBatchHeader,
} from "../protocol/record_batch.ts";
import { DiskError } from "./platform.ts";
import { transactionMarkerAt } from "./transaction_marker.ts";

/** Bytes that are read at a time. */
export const PIECE_BYTES = 64 * 1024;
/** An offset further from its segment's base fits no index. */
const MAX_RELATIVE_OFFSET = 0x7fff_ffff;
/** How often over the bytes past damage may be read in search of a whole batch. */
const CHECKED_TIMES = 8;

const NO_BATCH = "there is no batch";
const WRONG_CHECKSUM = "the checksum of the batch does not fit";

/** A file that is looked at. */
export interface FileSource {
  readonly sizeBytes: number;
  /** Reads off the loop. Returns: bytes read; fewer than asked for ends the check. Errors: DiskError. */
  read(position: number, into: Uint8Array): Promise<number>;
}

/** A batch that may be believed. */
export interface SoundBatch {
  readonly position: number;
  readonly sizeBytes: number;
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly maxTimestamp: number;
  readonly recordCount: number;
  /** The producer whose transaction it aborts, −1 for none. */
  readonly abortedProducerId: number;
}

/** Bytes that must not be believed. */
export interface SegmentDamage {
  readonly position: number;
  /** Where the next whole batch begins; the end of the file when there is none. */
  readonly endPosition: number;
  /** The offset that should come there, or one after it. */
  readonly expectedOffset: number;
  readonly found: string;
  /** False where the batch is whole and only what nothing relies on is wrong. */
  readonly isUnsound: boolean;
}

/** What to expect, and who wants to know. */
export interface SegmentCheckOptions {
  readonly baseOffset: number;
  /** Offset before which all records lie: the next segment's base. Asked once the end is reached. */
  readonly endOffset: () => number;
  /** Called before batches are visited, at least once for each piece. */
  readonly beforePiece?: () => Promise<void>;
  /** Called for each batch whose checksum fits. Shape: `bytes` is null beyond `PIECE_BYTES`. */
  readonly onWhole?: (
    header: RecordBatchHeader,
    position: number,
    bytes: Uint8Array | null,
  ) => void;
  /** Called in the order of positions, as `onDamage` is. */
  readonly onBatch: (batch: SoundBatch) => void;
  readonly onDamage: (damage: SegmentDamage) => void;
}

/** What a check has come to. */
export interface SegmentChecked {
  /** False when the file ended early, or the source asked for the end. */
  readonly isComplete: boolean;
  /** Offset after the last sound batch. */
  readonly nextOffset: number;
}

/** Checks one segment. Errors: none of the disk; what cannot be read is damage. */
export async function checkSegment(
  source: FileSource,
  options: SegmentCheckOptions,
): Promise<SegmentChecked> {
  const check = new SegmentCheck(source, options);
  while (check.isUnderWay) {
    await options.beforePiece?.();
    await check.step();
  }
  return check.finish();
}

class SegmentCheck {
  readonly #source: FileSource;
  readonly #options: SegmentCheckOptions;
  readonly #window: Uint8Array;
  #windowStart = 0;
  #windowBytes = 0;
  #position = 0;
  #nextOffset: number;
  #lastEpoch = -1;
  #isEnded = false;
  #unreadable: DiskError | null = null;
  /** A batch that leaves a gap before it, and the offset that should have come. */
  #doubtful: SoundBatch | null = null;
  #offsetBeforeDoubt = -1;
  /** Damage behind the doubtful batch, which is told after it. */
  #held: SegmentDamage[] = [];

  constructor(source: FileSource, options: SegmentCheckOptions) {
    this.#source = source;
    this.#options = options;
    this.#window = new Uint8Array(Math.min(PIECE_BYTES, source.sizeBytes));
    this.#nextOffset = options.baseOffset;
  }

  get isUnderWay(): boolean {
    return !this.#isEnded && this.#position < this.#source.sizeBytes;
  }

  finish(): SegmentChecked {
    if (this.#isEnded) return { isComplete: false, nextOffset: this.#nextOffset };
    if (this.#doubtful !== null && this.#nextOffset > this.#options.endOffset()) this.#refute();
    this.#confirm();
    return { isComplete: true, nextOffset: this.#nextOffset };
  }

  /** Visits the batches of a piece, or passes over damage. */
  async step(): Promise<void> {
    const from = this.#position;
    const left = this.#source.sizeBytes - from;
    let at = await this.#load(from, Math.min(left, RECORD_BATCH_OVERHEAD));
    const announced = at < 0 || left < RECORD_BATCH_OVERHEAD ? 0 : sizeAt(this.#window, at);
    // All of the first batch, or a piece of it: the window moves forward by it.
    if (announced > 0) at = await this.#load(from, Math.min(left, announced, PIECE_BYTES));
    if (at < 0) return await this.#passUnreadable();
    let found = this.#takeLoaded();
    if (this.#position > from && found === null) return;
    if (found === null) found = await this.#takeLarge();
    if (found !== null) await this.#passOver(found);
  }

  /** Takes batches that lie in the window. Returns: what is wrong with the one after them, or null. */
  #takeLoaded(): string | null {
    const bytes = this.#window.subarray(0, this.#windowBytes);
    for (;;) {
      const at = this.#position - this.#windowStart;
      if (this.#position === this.#source.sizeBytes) return null;
      if (at + RECORD_BATCH_OVERHEAD > bytes.length) {
        const isEnd = this.#source.sizeBytes - this.#position < RECORD_BATCH_OVERHEAD;
        return isEnd ? NO_BATCH : null;
      }
      const header = this.#headerAt(at);
      if (header === null) return NO_BATCH;
      const end = at + LOG_OVERHEAD + header.batchLength;
      if (end > bytes.length) return null;
      if (!isCrcValid(bytes, at)) return WRONG_CHECKSUM;
      this.#take(header, bytes.subarray(at, end));
    }
  }

  /** Takes the batch at the position, which reaches beyond the window. Returns: what is wrong, or null. */
  async #takeLarge(): Promise<string | null> {
    const header = await this.#wholeAt(this.#position);
    if (header === null) return this.#unreadable?.message ?? WRONG_CHECKSUM;
    this.#take(header, null);
    return null;
  }

  /** A header that can be one, in a file of this length; else null. */
  #headerAt(at: number): RecordBatchHeader | null {
    const sizeBytes = batchSizeBytes(this.#window, at);
    const left = this.#source.sizeBytes - this.#windowStart - at;
    if (sizeBytes < RECORD_BATCH_OVERHEAD || sizeBytes > left) return null;
    if (readMagic(this.#window, at) !== MAGIC_V2) return null;
    try {
      const header = readBatchHeader(this.#window, at);
      return header.baseOffset < 0 || header.lastOffsetDelta < 0 ? null : header;
    } catch (failure) {
      if (!(failure instanceof WireError)) throw failure;
      return null;
    }
  }

  /** The checksum of the batch at the position fits: do its offsets? */
  #take(header: RecordBatchHeader, bytes: Uint8Array | null): void {
    const position = this.#position;
    const batch: SoundBatch = {
      position,
      sizeBytes: LOG_OVERHEAD + header.batchLength,
      baseOffset: header.baseOffset,
      lastOffset: header.baseOffset + header.lastOffsetDelta,
      maxTimestamp: header.maxTimestamp,
      recordCount: header.recordCount,
      abortedProducerId: bytes === null ? -1 : abortedBy(header, bytes),
    };
    this.#options.onWhole?.(header, position, bytes);
    this.#position += batch.sizeBytes;
    const isDoubtWrong = batch.baseOffset < this.#nextOffset &&
      batch.baseOffset >= this.#offsetBeforeDoubt;
    if (this.#doubtful !== null && isDoubtWrong) this.#refute();
    const found = this.#offsetProblem(batch);
    if (found !== null) return this.#tell(damageOf(batch, this.#nextOffset, found, true));
    this.#confirm();
    this.#checkEpoch(header, batch);
    if (batch.baseOffset > this.#nextOffset) {
      this.#doubtful = batch;
      this.#offsetBeforeDoubt = this.#nextOffset;
    } else this.#options.onBatch(batch);
    this.#nextOffset = batch.lastOffset + 1;
  }

  #offsetProblem({ position, sizeBytes, baseOffset, lastOffset }: SoundBatch): string | null {
    const { baseOffset: segmentOffset, endOffset } = this.#options;
    const isLast = position + sizeBytes === this.#source.sizeBytes;
    const end = isLast ? endOffset() : segmentOffset + MAX_RELATIVE_OFFSET + 1;
    if (baseOffset >= this.#nextOffset && lastOffset < end) return null;
    return `the batch has the offsets ${baseOffset} to ${lastOffset}, and ` +
      `${this.#nextOffset} or more should come, below ${end}`;
  }

  /** No checksum covers the epoch, and clients rely on it to tell where histories part. */
  #checkEpoch({ partitionLeaderEpoch: epoch }: RecordBatchHeader, batch: SoundBatch): void {
    if (epoch >= 0 && epoch < this.#lastEpoch) {
      const found = `the batch has the leader epoch ${epoch}, and the one before it ` +
        `${this.#lastEpoch}: one of them is wrong`;
      this.#tell(damageOf(batch, batch.baseOffset, found, false));
    }
    if (epoch >= 0) this.#lastEpoch = epoch;
  }

  /** What came behind the doubtful batch shows that its offset is right. */
  #confirm(): void {
    if (this.#doubtful === null) return;
    this.#options.onBatch(this.#doubtful);
    this.#endDoubt();
  }

  /** What came behind the doubtful batch shows that its offset is wrong. */
  #refute(): void {
    const batch = this.#doubtful!;
    const found = `the batch has the base offset ${batch.baseOffset}, which lies past what ` +
      "follows it";
    this.#options.onDamage(damageOf(batch, this.#offsetBeforeDoubt, found, true));
    this.#nextOffset = this.#offsetBeforeDoubt;
    this.#endDoubt();
  }

  #endDoubt(): void {
    this.#doubtful = null;
    this.#offsetBeforeDoubt = -1;
    for (const damage of this.#held.splice(0)) this.#options.onDamage(damage);
  }

  #tell(damage: SegmentDamage): void {
    if (this.#doubtful === null) this.#options.onDamage(damage);
    else this.#held.push(damage);
  }

  /** Offset that a batch behind damage must have at least: what is in doubt does not count. */
  get #leastOffset(): number {
    return this.#doubtful === null ? this.#nextOffset : this.#offsetBeforeDoubt;
  }

  async #passUnreadable(): Promise<void> {
    const failure = this.#unreadable;
    if (failure === null) return;
    const end = Math.min(this.#position + PIECE_BYTES, this.#source.sizeBytes);
    this.#passTo(await this.#searchFrom(end), failure.message);
  }

  async #passOver(found: string): Promise<void> {
    const from = this.#position;
    const { sizeBytes } = this.#source;
    const isHeader = sizeBytes - from >= RECORD_BATCH_OVERHEAD;
    const at = isHeader ? await this.#load(from, RECORD_BATCH_OVERHEAD) : -1;
    const following = from + (at < 0 ? 0 : sizeAt(this.#window, at));
    const isFollowed = following > from && await this.#followsAt(following);
    this.#passTo(isFollowed ? following : await this.#searchFrom(from + 1), found);
  }

  #passTo(next: number, found: string): void {
    if (this.#isEnded) return;
    const endPosition = next < 0 ? this.#source.sizeBytes : next;
    this.#tell({
      position: this.#position,
      endPosition,
      expectedOffset: this.#leastOffset,
      found,
      isUnsound: true,
    });
    this.#position = endPosition;
  }

  /**
   * Position of the first whole batch from `from` on, −1 when there is none. Bytes that announce batches
   * everywhere, as only a client that means harm sends them, are given up after a bound.
   */
  async #searchFrom(from: number): Promise<number> {
    const { sizeBytes } = this.#source;
    let bytesLeft = CHECKED_TIMES * (sizeBytes - from);
    for (let at = from; at + RECORD_BATCH_OVERHEAD <= sizeBytes && !this.#isEnded;) {
      const first = await this.#load(at, RECORD_BATCH_OVERHEAD);
      if (first < 0) {
        at += PIECE_BYTES;
        continue;
      }
      const index = this.#nextCandidate(first);
      if (index < 0) {
        at = this.#windowStart + this.#windowBytes - RECORD_BATCH_OVERHEAD + 1;
        continue;
      }
      at = this.#windowStart + index;
      bytesLeft -= batchSizeBytes(this.#window, index);
      if (bytesLeft < 0) return -1;
      if (await this.#followsAt(at)) return at;
      at++;
    }
    return -1;
  }

  #nextCandidate(first: number): number {
    for (let at = first; at + RECORD_BATCH_OVERHEAD <= this.#windowBytes; at++) {
      if (this.#window[at] === 0 && readMagic(this.#window, at) === MAGIC_V2) {
        const header = this.#headerAt(at);
        if (header !== null && this.#isExpected(header)) return at;
      }
    }
    return -1;
  }

  /** True when a whole batch begins there with which the log can go on. */
  async #followsAt(position: number): Promise<boolean> {
    const header = await this.#wholeAt(position);
    return header !== null && this.#isExpected(header);
  }

  #isExpected({ baseOffset }: RecordBatchHeader): boolean {
    return baseOffset >= this.#leastOffset &&
      baseOffset <= this.#options.baseOffset + MAX_RELATIVE_OFFSET;
  }

  /** Header of the whole batch that begins there, or null. Reads it piece by piece. */
  async #wholeAt(position: number): Promise<RecordBatchHeader | null> {
    const { sizeBytes: fileBytes } = this.#source;
    if (fileBytes - position < RECORD_BATCH_OVERHEAD) return null;
    let at = await this.#load(position, RECORD_BATCH_OVERHEAD);
    const header = at < 0 ? null : this.#headerAt(at);
    if (header === null) return null;
    const sizeBytes = LOG_OVERHEAD + header.batchLength;
    let crc = 0;
    for (let done = 0; done < sizeBytes;) {
      const wanted = Math.min(PIECE_BYTES, sizeBytes - done);
      at = await this.#load(position + done, wanted);
      if (at < 0) return null;
      const from = done === 0 ? ATTRIBUTES_AT : 0;
      crc = crc32c(this.#window.subarray(at + from, at + wanted), crc);
      done += wanted;
    }
    return crc === header.crc ? header : null;
  }

  /** Makes bytes of the file available. Returns: their index in the window; −1 when they cannot be read. */
  async #load(position: number, byteCount: number): Promise<number> {
    const at = position - this.#windowStart;
    if (at >= 0 && at + byteCount <= this.#windowBytes) return at;
    if (this.#isEnded) return -1;
    this.#unreadable = null;
    this.#windowBytes = 0;
    const wanted = Math.min(PIECE_BYTES, this.#source.sizeBytes - position);
    try {
      const count = await this.#source.read(position, this.#window.subarray(0, wanted));
      if (count < wanted) {
        this.#isEnded = true;
        return -1;
      }
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      this.#unreadable = failure;
      return -1;
    }
    this.#windowStart = position;
    this.#windowBytes = wanted;
    return 0;
  }
}

function damageOf(
  { position, sizeBytes }: SoundBatch,
  expectedOffset: number,
  found: string,
  isUnsound: boolean,
): SegmentDamage {
  return { position, endPosition: position + sizeBytes, expectedOffset, found, isUnsound };
}

function abortedBy({ attributes, producerId }: RecordBatchHeader, bytes: Uint8Array): number {
  if (!isControl(attributes)) return -1;
  try {
    return transactionMarkerAt(attributes, bytes, 0)?.isCommit === false ? producerId : -1;
  } catch (failure) {
    if (!(failure instanceof WireError)) throw failure;
    return -1;
  }
}

/** Bytes that the batch at `at` announces; 0 when it cannot be one. */
function sizeAt(bytes: Uint8Array, at: number): number {
  const sizeBytes = batchSizeBytes(bytes, at);
  return sizeBytes < RECORD_BATCH_OVERHEAD ? 0 : sizeBytes;
}
