/**
 * The indexes of a closed segment made anew beside it, as its appends would have made them, and put in the
 * place of those that do not fit: written, synced, renamed, so that a crash leaves the old ones or the new.
 */

import type { FileCache } from "./file_cache.ts";
import { OffsetIndex } from "./offset_index.ts";
import type { Disk } from "./platform.ts";
import type { Segment } from "./segment.ts";
import type { SoundBatch } from "./segment_check.ts";
import { TEMPORARY_SUFFIX } from "./segment_name.ts";
import { TimeIndex, type TimestampOffset } from "./time_index.ts";

/** What the indexes are made for. */
export interface IndexDraftOptions {
  readonly disk: Disk;
  readonly files: FileCache;
  /** The partition's directory. */
  readonly directory: string;
  readonly segment: Segment;
  readonly indexIntervalBytes: number;
}

/** New indexes of one segment. */
export class IndexDraft {
  readonly #options: IndexDraftOptions;
  readonly #offsetIndex: OffsetIndex;
  readonly #timeIndex: TimeIndex;
  #largest: TimestampOffset;
  #bytesSinceEntry = 0;

  /** Errors: DiskError. */
  constructor(options: IndexDraftOptions) {
    const { baseOffset } = options.segment;
    const place = { ...options, baseOffset, suffix: TEMPORARY_SUFFIX };
    this.#options = options;
    this.#offsetIndex = new OffsetIndex(place);
    this.#timeIndex = new TimeIndex(place);
    this.#largest = { timestampMs: -1, offset: baseOffset };
    this.discard();
  }

  /** Takes the next batch in. Errors: DiskError. */
  add({ position, sizeBytes, lastOffset, maxTimestamp, recordCount }: SoundBatch): void {
    if (recordCount > 0 && maxTimestamp > this.#largest.timestampMs) {
      this.#largest = { timestampMs: maxTimestamp, offset: lastOffset };
    }
    if (this.#bytesSinceEntry > this.#options.indexIntervalBytes) {
      this.#offsetIndex.append(lastOffset, position);
      this.#noteLargest();
      this.#bytesSinceEntry = 0;
    }
    this.#bytesSinceEntry += sizeBytes;
  }

  #noteLargest(): void {
    const { timestampMs, offset } = this.#largest;
    if (timestampMs >= 0) this.#timeIndex.maybeAppend(timestampMs, offset);
  }

  /** Writes what is left. Returns: when the files are on stable storage. Errors: DiskError. */
  async store(): Promise<void> {
    this.#noteLargest();
    for (const { file } of [this.#offsetIndex, this.#timeIndex]) {
      file.seal();
      await file.sync();
    }
  }

  /** Puts the new files in the place of the old ones, in one turn of the loop. Errors: DiskError. */
  takePlace(): void {
    const { disk, files, segment } = this.#options;
    for (const { file } of [this.#offsetIndex, this.#timeIndex]) {
      files.forget(file.path);
      disk.rename(file.path, file.path.slice(0, -TEMPORARY_SUFFIX.length));
    }
    segment.reloadIndexes();
  }

  /** Removes what was written. Errors: DiskError. */
  discard(): void {
    const { disk, files } = this.#options;
    for (const { file } of [this.#offsetIndex, this.#timeIndex]) {
      files.forget(file.path);
      if (disk.exists(file.path)) disk.remove(file.path);
    }
  }
}
