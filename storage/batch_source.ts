/**
 * The batches of a closed segment, a piece of the file at a time, for who changes something by what they say:
 * each is checked, checksum and all, before anybody looks at it.
 *
 *     while (await source.load()) while (source.next()) use(source.bytes, source.at, source.header)
 *
 * Memory is one piece, or the largest batch. The bytes may be written to: they are not looked at again.
 */

import { WireError } from "../protocol/bytes.ts";
import {
  batchSizeBytes,
  isCrcValid,
  LOG_OVERHEAD,
  MAGIC_V2,
  readBatchHeader,
  readMagic,
  RECORD_BATCH_OVERHEAD,
  type RecordBatchHeader,
} from "../protocol/record_batch.ts";
import { DiskError, type DiskFile } from "./platform.ts";

/** What is read, and how. */
export interface BatchSourceOptions {
  readonly file: DiskFile;
  /** Bytes of the file that count. */
  readonly fileBytes: number;
  /** Where the first batch to be read starts. */
  readonly position: number;
  /** Offsets before it are damage, */
  readonly baseOffset: number;
  /** and those from it on. */
  readonly endOffset: number;
  readonly pieceBytes: number;
  /** A batch that announces more is damage. */
  readonly maxBatchBytes: number;
}

/** Reads batches from the front to the back. */
export class BatchSource {
  /** The piece that is loaded. */
  bytes: Uint8Array;
  /** Index in `bytes` of the batch that `next` went to. */
  at = 0;
  /** Of that batch. */
  header!: RecordBatchHeader;
  /** Of that batch. */
  sizeBytes = 0;
  readonly #options: BatchSourceOptions;
  readonly #piece: Uint8Array;
  /** Where the piece lies in the file, and where it ends in `bytes`. */
  #position: number;
  #end = 0;
  #nextOffset: number;

  constructor(options: BatchSourceOptions) {
    this.#options = options;
    this.#piece = new Uint8Array(Math.min(options.pieceBytes, options.fileBytes));
    this.bytes = this.#piece;
    this.#position = options.position;
    this.#nextOffset = options.baseOffset;
  }

  /** Where the batch that `next` went to lies in the file. */
  get position(): number {
    return this.#position + this.at;
  }

  /** True when the batch that `next` went to is the last one of the file. */
  get isLast(): boolean {
    return this.position + this.sizeBytes === this.#options.fileBytes;
  }

  /** Reads the piece that follows the last batch. Returns: false at the end. Errors: DiskError. */
  async load(): Promise<boolean> {
    const { fileBytes, maxBatchBytes } = this.#options;
    this.#position += this.at + this.sizeBytes;
    this.at = 0;
    this.sizeBytes = 0;
    this.#end = 0;
    if (this.#position >= fileBytes) return false;
    this.bytes = this.#piece;
    await this.#read();
    const announced = this.#end < RECORD_BATCH_OVERHEAD ? 0 : batchSizeBytes(this.bytes, 0);
    const isPossible = announced >= RECORD_BATCH_OVERHEAD && announced <= maxBatchBytes &&
      this.#position + announced <= fileBytes && readMagic(this.bytes, 0) === MAGIC_V2;
    if (!isPossible) throw this.#damage("no batch starts there");
    if (announced > this.bytes.length) {
      // Room for this one alone: the next piece is of the usual size again.
      this.bytes = new Uint8Array(announced);
      await this.#read();
    }
    return true;
  }

  async #read(): Promise<void> {
    const { file, fileBytes } = this.#options;
    const wanted = Math.min(this.bytes.length, fileBytes - this.#position);
    this.#end = await file.readCold(this.#position, this.bytes.subarray(0, wanted));
    if (this.#end < wanted) throw this.#damage("the file ends before");
  }

  /** Goes to the next whole batch of the piece. Returns: false when it has no other. Errors: DiskError. */
  next(): boolean {
    this.at += this.sizeBytes;
    this.sizeBytes = 0;
    const left = this.#end - this.at;
    if (left < RECORD_BATCH_OVERHEAD) return false;
    const sizeBytes = batchSizeBytes(this.bytes, this.at);
    // What is wrong about a size is found when the next piece begins with it.
    if (sizeBytes > left || sizeBytes < RECORD_BATCH_OVERHEAD) return false;
    if (!isCrcValid(this.bytes, this.at)) throw this.#damage("the checksum does not fit");
    this.header = this.#header();
    this.sizeBytes = LOG_OVERHEAD + this.header.batchLength;
    const lastOffset = this.header.baseOffset + this.header.lastOffsetDelta;
    if (
      this.header.magic !== MAGIC_V2 || this.header.baseOffset < this.#nextOffset ||
      lastOffset < this.header.baseOffset || lastOffset >= this.#options.endOffset
    ) throw this.#damage(`its offsets run from ${this.header.baseOffset} to ${lastOffset}`);
    this.#nextOffset = lastOffset + 1;
    return true;
  }

  #header(): RecordBatchHeader {
    try {
      return readBatchHeader(this.bytes, this.at);
    } catch (cause) {
      if (!(cause instanceof WireError)) throw cause;
      throw this.#damage(cause.message);
    }
  }

  /** What a damaged batch is reported by. */
  #damage(found: string): DiskError {
    const place = `the batch at byte ${this.position} (offset ${this.#nextOffset} or later)`;
    return new DiskError(`Cannot read ${place} of ${this.#options.file.path}: ${found}`, "EBADMSG");
  }
}
