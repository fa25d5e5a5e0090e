/**
 * One `.log` file with its indexes: append at the end, read at a position, find a position, truncate.
 *
 *     base offset 300                     next offset 420
 *     ├─ batch 300–309 ─┬─ batch 310 ─┬─ … ─┤
 *     0                 1190          2401  sizeBytes
 *
 * Offsets in the file rise; an index entry and a batch's `lastOffset − baseOffset` fit 31 bits. The last
 * segment of a log is the active one and holds its own handle; closed ones are read through `FileCache`.
 * A segment knows nothing of producers, epochs or durability: that is the log's.
 */

import assert from "node:assert/strict";
import { WireError } from "../protocol/bytes.ts";
import {
  batchSizeBytes,
  MAGIC_V2,
  readBaseOffset,
  readLastOffset,
  readMagic,
  readMaxTimestamp,
  readRecordCount,
  RECORD_BATCH_OVERHEAD,
} from "../protocol/record_batch.ts";
import { checkBatches } from "./batch_check.ts";
import { CheckedRanges } from "./checked_ranges.ts";
import type { FileCache } from "./file_cache.ts";
import { allSynced } from "./shared_sync.ts";
import { OFFSET_INDEX_ENTRY_BYTES, OffsetIndex } from "./offset_index.ts";
import { type Disk, DiskError, type DiskFile } from "./platform.ts";
import { LOG_SUFFIX, segmentPath } from "./segment_name.ts";
import { TIME_INDEX_ENTRY_BYTES, TimeIndex, type TimestampOffset } from "./time_index.ts";
import { TransactionIndex } from "./transaction_index.ts";

/** Largest distance of an offset from its segment's base offset. */
export const MAX_RELATIVE_OFFSET = 0x7fff_ffff;

/** Headers are looked at through one window, since every walk is synchronous. */
const WINDOW_BYTES = 16 * 1024;
const window = new Uint8Array(WINDOW_BYTES);

/** Bytes that are read and written back at a time. */
const REWRITE_BYTES = 1024 * 1024;

/** Passed-over bytes whose checksums one look-up compares. */
const MAX_CHECKED_BYTES = 256 * 1024;

/** Bytes of a segment that must not be believed. Its code is EBADMSG. */
export class DamagedBytes extends DiskError {
  override name = "DamagedBytes";
  readonly path: string;
  readonly position: number;

  constructor(path: string, position: number, found: string, options?: ErrorOptions) {
    super(`${path} is damaged at byte ${position}: ${found}`, "EBADMSG", options);
    this.path = path;
    this.position = position;
  }
}

/** Where a batch lies in its segment. */
export interface BatchPlace {
  readonly position: number;
  readonly sizeBytes: number;
  readonly baseOffset: number;
  readonly lastOffset: number;
  /** Of its records; −1 when it has none. */
  readonly maxTimestamp: number;
  /** True when it begins with the offset that those before it lead to, so that none can be wrong. */
  readonly follows: boolean;
}

/** A batch that both main indexes know, which says nothing of whether they are right. */
export interface IndexedPlace {
  readonly position: number;
  readonly lastOffset: number;
  /** The largest timestamp up to the batch, its own included; −1 for none. */
  readonly largestTimestampMs: number;
  /** Entries up to the one of the batch. */
  readonly offsetEntryCount: number;
  readonly timeEntryCount: number;
}

/** What a segment is opened with. */
export interface SegmentOptions {
  readonly directory: string;
  readonly baseOffset: number;
  readonly disk: Disk;
  readonly files: FileCache;
  /** When the segment was made, for rolling segments without timestamps. */
  readonly createdMs: number;
  /** After the name of every file, for a segment that is not part of the log yet. */
  readonly suffix?: string;
  /** All names in the directory, where they have just been listed. */
  readonly names?: ReadonlySet<string>;
}

/** A segment. */
export class Segment {
  readonly baseOffset: number;
  readonly offsetIndex: OffsetIndex;
  readonly timeIndex: TimeIndex;
  readonly transactionIndex: TransactionIndex;
  readonly createdMs: number;
  readonly #disk: Disk;
  readonly #files: FileCache;
  #path: string;
  #file: DiskFile | null = null;
  #sizeBytes: number;
  readonly #checked: CheckedRanges;
  #cutCount = 0;
  #syncsInFlight = 0;
  #closeWhenSynced = false;
  #bytesSinceIndexEntry = 0;
  /** Largest timestamp and the last offset of its batch; null until it is asked of the time index. */
  #largest: TimestampOffset | null = null;
  #firstBatchTimestamp: number | null = null;

  constructor(options: SegmentOptions) {
    this.baseOffset = options.baseOffset;
    this.#path = segmentPath(options.directory, options.baseOffset, LOG_SUFFIX, options.suffix);
    this.#disk = options.disk;
    this.#files = options.files;
    this.createdMs = options.createdMs;
    this.offsetIndex = new OffsetIndex(options);
    this.timeIndex = new TimeIndex(options);
    this.transactionIndex = new TransactionIndex(options);
    const isThere = options.names?.has(this.path.slice(options.directory.length + 1)) ??
      options.disk.exists(this.path);
    this.#sizeBytes = isThere ? options.files.get(this.path).sizeBytes : 0;
    this.#checked = new CheckedRanges(this.#sizeBytes);
  }

  /** Path of the `.log` file. */
  get path(): string {
    return this.#path;
  }

  /** Bytes of the `.log` file. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Bytes of the `.log` file and its two main indexes. */
  get totalBytes(): number {
    return this.#sizeBytes + this.offsetIndex.count * OFFSET_INDEX_ENTRY_BYTES +
      this.timeIndex.count * TIME_INDEX_ENTRY_BYTES;
  }

  /** Largest timestamp so far, and the last offset of the batch that carries it. */
  get largest(): TimestampOffset {
    this.#largest ??= this.timeIndex.last;
    return this.#largest;
  }

  /** When its newest record was made; when the file was last changed, where records carry no time. */
  get newestMs(): number {
    const { timestampMs } = this.largest;
    return timestampMs >= 0 ? timestampMs : this.#disk.modifiedMs(this.path);
  }

  /** True when the checksums of the batches in `[start, end)` need no comparison any more. */
  isChecked(start: number, end: number): boolean {
    return this.#checked.covers(start, end);
  }

  /** Notes that the whole batches in `[start, end)` have the checksums that they announce. */
  noteChecked(start: number, end: number): void {
    this.#checked.add(start, end);
  }

  /** Notes that bytes are damaged, so that every reader compares them again. */
  noteDamaged(start: number, end: number): void {
    this.#checked.doubt(start, end, this.#sizeBytes);
  }

  /** How often the segment was cut: what was read before is not what is there now. */
  get cutCount(): number {
    return this.#cutCount;
  }

  /** Opens the file for appending, making it if need be. Errors: DiskError. */
  openForAppend(): DiskFile {
    this.#closeWhenSynced = false;
    return this.#handle();
  }

  #handle(): DiskFile {
    if (this.#file === null) {
      this.#files.forget(this.path);
      this.#file = this.#disk.open(this.path, "write");
    }
    return this.#file;
  }

  /** Writes batches at the end, into the page cache. `note` each of them after it. Errors: DiskError. */
  write(bytes: Uint8Array): void {
    this.openForAppend().write(this.#sizeBytes, bytes);
  }

  /**
   * Counts a batch that was written, and adds index entries where they are due. `maxTimestamp` is −1 for a
   * batch without records: no record carries the time in its header.
   */
  note(
    sizeBytes: number,
    lastOffset: number,
    maxTimestamp: number,
    indexIntervalBytes: number,
  ): void {
    assert(lastOffset - this.baseOffset <= MAX_RELATIVE_OFFSET);
    if (this.#sizeBytes === 0) this.#firstBatchTimestamp = maxTimestamp;
    if (maxTimestamp > this.largest.timestampMs) {
      this.#largest = { timestampMs: maxTimestamp, offset: lastOffset };
    }
    if (this.#bytesSinceIndexEntry > indexIntervalBytes) {
      this.offsetIndex.append(lastOffset, this.#sizeBytes);
      const { timestampMs, offset } = this.largest;
      this.timeIndex.maybeAppend(timestampMs, offset);
      this.#bytesSinceIndexEntry = 0;
    }
    this.#sizeBytes += sizeBytes;
    this.#bytesSinceIndexEntry += sizeBytes;
  }

  /** Cuts off what a failed write may have left behind the last noted batch. Errors: DiskError. */
  dropUnnoted(): void {
    const file = this.openForAppend();
    if (file.sizeBytes > this.#sizeBytes) file.truncate(this.#sizeBytes);
  }

  /** Fills `into` from `position`; returns the bytes read. Errors: DiskError. */
  read(position: number, into: Uint8Array): number {
    const file = this.#file ?? this.#files.get(this.path);
    return file.read(position, into);
  }

  /** The same off the event loop. The handle is closed with the call. */
  async readCold(position: number, into: Uint8Array): Promise<number> {
    const file = this.#disk.open(this.path, "read");
    try {
      return await file.readCold(position, into);
    } finally {
      file.close();
    }
  }

  /** The first batch at or after `position` whose last offset is at least `offset`, or null. */
  findBatch(offset: number, position?: number): BatchPlace | null {
    const isWanted = (place: BatchPlace) => place.lastOffset >= offset;
    return position === undefined
      ? this.#findByIndex(offset, isWanted)
      : this.#find(position, isWanted);
  }

  /**
   * Offset after the last batch that ends before `offset`, the base offset when there is none.
   * Errors: DiskError (EBADMSG) at bytes that are no batch.
   */
  endBefore(offset: number): number {
    const endFrom = (position: number): number | null => {
      let end: number | null = null;
      this.walk(position, (place) => {
        if (place.lastOffset >= offset) return false;
        end = place.lastOffset + 1;
        return true;
      });
      return end;
    };
    const position = this.#startFor(offset - 1);
    return (position > 0 ? endFrom(position) : null) ?? endFrom(0) ?? this.baseOffset;
  }

  /**
   * The first batch that has a timestamp of at least `timestampMs` and ends at or past `offset`, among the
   * `maxCount` batches that come first.
   * Returns: the offset to go on from when there are more batches; null when there are not.
   */
  findTimestamp(timestampMs: number, offset: number, maxCount: number): BatchPlace | number | null {
    const from = Math.max(this.timeIndex.lookup(timestampMs).offset, offset);
    const isWanted = ({ maxTimestamp }: BatchPlace) => maxTimestamp >= timestampMs;
    let left = maxCount;
    const place = this.#findByIndex(
      from,
      (one) => one.lastOffset >= from && (isWanted(one) || --left === 0),
    );
    return place === null || isWanted(place) ? place : place.lastOffset + 1;
  }

  /**
   * The first wanted batch from the index entry for `offset` on. Those that are passed over on the way must
   * be what their headers say, or the wanted one might be among them. Errors: DiskError (EBADMSG).
   */
  #findByIndex(offset: number, isWanted: (place: BatchPlace) => boolean): BatchPlace | null {
    const start = this.#startFor(offset);
    const found = this.#find(start, isWanted);
    const end = found?.position ?? this.#sizeBytes;
    // Without an index it may be all of the segment: too much for one look-up.
    if (end - start <= MAX_CHECKED_BYTES) checkBatches(this, start, end);
    return found;
  }

  /**
   * Where to begin to look for `offset`. The index is not believed, nor a batch that it points to alone:
   * they must agree. Where they do not, the walk begins one entry earlier, so that it comes upon the batch
   * with the offsets before it known; where that one is wrong as well, at the front.
   */
  #startFor(offset: number): number {
    const { offsetIndex } = this;
    const index = offsetIndex.indexFor(offset);
    for (let i = index; i >= 0 && i > index - 2; i--) {
      const entry = offsetIndex.entry(i);
      const lastOffset = this.#lastOffsetAt(entry.position);
      // Older Kafkas wrote the last offset of several batches.
      const isTrue = i === index
        ? lastOffset === entry.offset
        : lastOffset <= Math.min(entry.offset, offset);
      if (isTrue) return entry.position;
    }
    return 0;
  }

  /** Last offset of the batch at a position; infinite where there is none. */
  #lastOffsetAt(position: number): number {
    try {
      return this.#find(position, () => true)?.lastOffset ?? Infinity;
    } catch (failure) {
      if (!(failure instanceof DiskError) || failure.code !== "EBADMSG") throw failure;
      return Infinity;
    }
  }

  #find(position: number, isWanted: (place: BatchPlace) => boolean): BatchPlace | null {
    let found: BatchPlace | null = null;
    this.walk(position, (place) => {
      if (!isWanted(place)) return true;
      found = place;
      return false;
    });
    return found;
  }

  /**
   * Visits batches from `position` on, by their headers, until the visitor answers false. The visitor
   * must not walk itself; it finds the header at `at` in `bytes`, and must not keep them. Errors: DiskError (EBADMSG) at bytes that are no batch, and at a batch whose
   * offsets do not follow those before it, since no checksum covers the base offset.
   */
  walk(
    position: number,
    visit: (place: BatchPlace, bytes: Uint8Array, at: number) => boolean,
  ): void {
    if (position < 0) {
      throw new DiskError(`Cannot read ${this.path}: no batch at byte ${position}`, "EBADMSG");
    }
    let windowStart = 0;
    let windowEnd = 0;
    let nextOffset = position === 0 ? this.baseOffset : -1;
    for (let at = position; at < this.#sizeBytes;) {
      if (at < windowStart || at + RECORD_BATCH_OVERHEAD > windowEnd) {
        const wanted = Math.min(WINDOW_BYTES, this.#sizeBytes - at);
        windowStart = at;
        windowEnd = at + this.read(at, window.subarray(0, wanted));
      }
      const place = this.#placeAt(at, at - windowStart, windowEnd - windowStart, nextOffset);
      if (place.baseOffset < nextOffset || place.lastOffset < place.baseOffset) {
        throw this.damagedAt(
          at,
          `the batch has the offsets ${place.baseOffset} to ${place.lastOffset}, and ` +
            `${nextOffset} or more should come`,
        );
      }
      nextOffset = place.lastOffset + 1;
      if (!visit(place, window, at - windowStart)) return;
      at += place.sizeBytes;
    }
  }

  #placeAt(position: number, at: number, windowBytes: number, nextOffset: number): BatchPlace {
    const sizeBytes = windowBytes - at < RECORD_BATCH_OVERHEAD ? -1 : batchSizeBytes(window, at);
    if (
      sizeBytes < RECORD_BATCH_OVERHEAD || position + sizeBytes > this.#sizeBytes ||
      readMagic(window, at) !== MAGIC_V2
    ) {
      throw this.damagedAt(position, "there is no batch");
    }
    try {
      const baseOffset = readBaseOffset(window, at);
      return {
        position,
        sizeBytes,
        baseOffset,
        lastOffset: readLastOffset(window, at),
        // What the cleaner has emptied keeps the time of records that are gone.
        maxTimestamp: readRecordCount(window, at) === 0 ? -1 : readMaxTimestamp(window, at),
        follows: nextOffset < 0 || baseOffset === nextOffset,
      };
    } catch (cause) {
      if (!(cause instanceof WireError)) throw cause;
      throw this.damagedAt(position, "there is no batch", cause);
    }
  }

  /** The offset that should come at a position, as far as the batches before it can be read. */
  offsetAt(position: number): number {
    const { offsetIndex } = this;
    let nextOffset = this.baseOffset;
    try {
      let low = 0;
      let high = offsetIndex.count;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (offsetIndex.entry(middle).position < position) low = middle + 1;
        else high = middle;
      }
      this.walk(low === 0 ? 0 : offsetIndex.entry(low - 1).position, (place) => {
        if (place.position >= position) return false;
        nextOffset = place.lastOffset + 1;
        return true;
      });
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
    }
    return nextOffset;
  }

  /** The error for bytes that must not be believed. */
  damagedAt(position: number, found: string, cause?: unknown): DamagedBytes {
    return new DamagedBytes(this.path, position, found, { cause });
  }

  /**
   * Looks at the batches past the last index entry, for a segment that becomes active again. `end` is where they end
   * at the latest: a damaged header may claim more.
   * Returns: the offset after the last record. Errors: DiskError (EBADMSG) at bytes that are no batch.
   */
  loadTail(end = Infinity): number {
    const { count } = this.offsetIndex;
    let nextOffset = this.baseOffset;
    let { largest } = this;
    this.walk(count === 0 ? 0 : this.offsetIndex.entry(count - 1).position, (place) => {
      nextOffset = Math.min(place.lastOffset + 1, end);
      if (place.maxTimestamp > largest.timestampMs) {
        largest = { timestampMs: place.maxTimestamp, offset: nextOffset - 1 };
      }
      return true;
    });
    this.#largest = largest;
    return nextOffset;
  }

  /**
   * Timestamp of the first batch, by which a segment's age counts; null when it is empty, has none, or
   * begins with damage, for which nothing else has to stop.
   */
  get firstTimestamp(): number | null {
    if (this.#sizeBytes === 0) return null;
    this.#firstBatchTimestamp ??= this.#readFirstTimestamp();
    return this.#firstBatchTimestamp < 0 ? null : this.#firstBatchTimestamp;
  }

  #readFirstTimestamp(): number {
    try {
      return this.#find(0, () => true)?.maxTimestamp ?? -1;
    } catch (failure) {
      if (failure instanceof DamagedBytes) return -1;
      throw failure;
    }
  }

  /** True when an index has no room for another entry. */
  isIndexFull(segmentIndexBytes: number): boolean {
    const offsetEntries = Math.floor(segmentIndexBytes / OFFSET_INDEX_ENTRY_BYTES);
    const timeEntries = Math.floor(segmentIndexBytes / TIME_INDEX_ENTRY_BYTES);
    // One time index entry is kept free for the last one, made when the segment is closed.
    return this.offsetIndex.count >= offsetEntries || this.timeIndex.count >= timeEntries - 1;
  }

  /** Cuts the segment before the batch that holds `offset`. Returns: the next offset. Errors: DiskError. */
  truncateTo(offset: number): number {
    const place = this.findBatch(offset);
    return place === null ? this.loadTail() : this.truncateBytes(place.position, place.baseOffset);
  }

  /**
   * Cuts the segment at a byte position, where the batch with `nextOffset` starts or would start.
   * Returns: the next offset. Errors: DiskError.
   */
  truncateBytes(position: number, nextOffset: number): number {
    this.openForAppend().truncate(position);
    this.#sizeBytes = position;
    this.#cutCount++;
    this.#checked.truncate(position);
    this.offsetIndex.truncateTo(nextOffset);
    this.timeIndex.truncateTo(nextOffset);
    this.transactionIndex.truncateTo(nextOffset);
    this.#largest = null;
    this.#bytesSinceIndexEntry = 0;
    if (position === 0) this.#firstBatchTimestamp = null;
    return this.loadTail(nextOffset);
  }

  /**
   * The last batch at some distance before `upTo` that the main indexes know and do not contradict, or null.
   * Errors: DiskError.
   */
  indexedPlace(
    upTo: number,
    distance: { readonly byteCount: number; readonly entryCount: number },
  ): IndexedPlace | null {
    const last = this.offsetIndex.lastRisingBefore(upTo);
    const entry = last === null ? null : this.offsetIndex.entryBefore(last.index, distance);
    if (entry === null) return null;
    const times = this.timeIndex.risingUpTo(entry.offset);
    if (times === null) return null;
    return {
      position: entry.position,
      lastOffset: entry.offset,
      largestTimestampMs: times.timestampMs,
      offsetEntryCount: entry.index + 1,
      timeEntryCount: times.count,
    };
  }

  /** True when no index knows anything at or past `offset`. Errors: DiskError. */
  indexesEndBefore(offset: number): boolean {
    const { offsetIndex, timeIndex, transactionIndex } = this;
    const last = offsetIndex.count === 0 ? -1 : offsetIndex.entry(offsetIndex.count - 1).offset;
    return last < offset && (timeIndex.count === 0 || timeIndex.last.offset < offset) &&
      transactionIndex.endsBefore(offset);
  }

  /**
   * Forgets what the indexes know from `place` on, or all of it, and what was counted there, before the
   * batches from `place` on are noted anew. Errors: DiskError.
   */
  resetIndexes(
    { place, keepsTransactionsBefore }: {
      readonly place: IndexedPlace | null;
      readonly keepsTransactionsBefore: number;
    },
  ): void {
    // The entry of the place itself stays: the batch that is noted next adds none.
    this.offsetIndex.file.truncate(place?.offsetEntryCount ?? 0);
    this.timeIndex.truncateCount(place?.timeEntryCount ?? 0);
    this.transactionIndex.truncateTo(keepsTransactionsBefore);
    this.#sizeBytes = place?.position ?? 0;
    this.#largest = null;
    this.#firstBatchTimestamp = null;
    this.#bytesSinceIndexEntry = 0;
  }

  /** The files of the two main indexes are others now. */
  reloadIndexes(): void {
    this.offsetIndex.file.reload();
    this.timeIndex.reload();
    this.#largest = null;
  }

  /** What is impossible about the indexes, or null. Looks at their ends alone. */
  indexProblem(): string | null {
    // A segment without records may lack its indexes: a stop spares the syncs of files with no content.
    const isEmpty = this.offsetIndex.count === 0 && this.timeIndex.count === 0;
    if (this.#sizeBytes === 0 && isEmpty) return null;
    const offsetProblem = this.offsetIndex.problem(this.#sizeBytes);
    if (offsetProblem !== null) return `${this.offsetIndex.file.path}: ${offsetProblem}`;
    const timeProblem = this.timeIndex.problem();
    if (timeProblem !== null) return `${this.timeIndex.file.path}: ${timeProblem}`;
    const transactionProblem = this.transactionIndex.problem();
    if (transactionProblem === null) return null;
    return `${this.transactionIndex.file.path}: ${transactionProblem}`;
  }

  /** Completes the time index and writes the indexes into the page cache. Errors: DiskError. */
  storeIndexes(): void {
    const { timestampMs, offset } = this.largest;
    if (timestampMs >= 0) this.timeIndex.maybeAppend(timestampMs, offset);
    this.offsetIndex.file.seal();
    this.timeIndex.file.seal();
    if (this.transactionIndex.isUsed) this.transactionIndex.file.seal();
  }

  /** True when an index was stored or cut, and not synced since. */
  get hasUnsyncedIndexes(): boolean {
    const { offsetIndex, timeIndex, transactionIndex } = this;
    return [offsetIndex, timeIndex, transactionIndex].some(({ file }) => file.isUnsynced);
  }

  /** A run that was killed may have left the indexes as they are without a sync: the next one takes them along. */
  doubtIndexes(): void {
    for (const { file } of [this.offsetIndex, this.timeIndex, this.transactionIndex]) file.doubt();
  }

  /** Resolves when the stored indexes are on stable storage. Errors: DiskError. */
  async syncIndexes(how: { readonly evenIfUnchanged?: boolean } = {}): Promise<void> {
    const { offsetIndex, timeIndex, transactionIndex } = this;
    await allSynced([offsetIndex, timeIndex, transactionIndex].map(({ file }) => file.sync(how)));
  }

  /** Puts copies in the indexes' places, after a sync that failed. Returns: when they are stable. Errors: DiskError. */
  async rewriteIndexes(): Promise<void> {
    const { offsetIndex, timeIndex, transactionIndex } = this;
    for (const { file } of [offsetIndex, timeIndex, transactionIndex]) await file.rewrite();
  }

  /** Resolves when all batches written before the call are on stable storage. Errors: DiskError. */
  async sync(): Promise<void> {
    // A segment that is retired stays so, or its handle would never be closed.
    const file = this.#handle();
    this.#syncsInFlight++;
    try {
      await file.sync();
    } finally {
      this.#syncsInFlight--;
      if (this.#closeWhenSynced) this.close();
    }
  }

  /** Writes the bytes from `position` on once more, as they are, and where they end. Errors: DiskError. */
  async rewrite(position: number): Promise<void> {
    const file = this.openForAppend();
    const piece = new Uint8Array(Math.min(REWRITE_BYTES, this.#sizeBytes - position));
    for (let at = position; at < this.#sizeBytes;) {
      const wanted = Math.min(piece.length, this.#sizeBytes - at);
      const count = await this.readCold(at, piece.subarray(0, wanted));
      if (count === 0) throw new DiskError(`Cannot read ${this.path}: it ends early`, "EIO");
      file.write(at, piece.subarray(0, count));
      at += count;
    }
    // Also where a truncation was what the sync has dropped: what had been cut came back with a power cut.
    file.truncate(this.#sizeBytes);
  }

  /** No append comes any more: the handle is closed once the next sync has ended. */
  retire(): void {
    this.#closeWhenSynced = true;
  }

  /** Closes the handle, after the syncs in flight. */
  close(): void {
    if (this.#syncsInFlight > 0) {
      this.#closeWhenSynced = true;
      return;
    }
    this.#files.forget(this.path);
    this.#files.forget(this.offsetIndex.file.path);
    this.#files.forget(this.timeIndex.file.path);
    this.#files.forget(this.transactionIndex.file.path);
    this.#file?.close();
    this.#file = null;
  }

  /** Its directory has been renamed. No sync may be in flight. */
  moveTo(directory: string): void {
    this.#files.forget(this.#path);
    this.#path = segmentPath(directory, this.baseOffset, LOG_SUFFIX);
    for (const { file } of [this.offsetIndex, this.timeIndex, this.transactionIndex]) {
      file.moveTo(directory);
    }
  }

  /** Paths of the files that exist. */
  paths(): string[] {
    const { offsetIndex, timeIndex, transactionIndex } = this;
    return [this.path, offsetIndex.file.path, timeIndex.file.path, transactionIndex.file.path]
      .filter((path) => this.#disk.exists(path));
  }
}
