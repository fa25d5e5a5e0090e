/**
 * Compaction of a log, as jobs for a worker: which offset is the newest of each key, and then the segments
 * written anew without what is superseded.
 *
 *     map-keys        one dirty segment a job: keys → offset map, which moves from job to job
 *     clean-segments  one group of segments a job: → <base>.log.cleaned with its indexes, synced
 *
 * A job reads closed segments and writes files that are not part of the log; who asked for it swaps them in
 * (`segment_swap.ts`). So a job may end anywhere: what it leaves behind is removed by the next one, or by
 * the next start. Between two jobs other work of the lane has its turn.
 *
 * Memory is the map, one piece to read, one to write, and a batch while it is decompressed. What is
 * written is synced every few megabytes: a flood of dirty pages would stall the appends of the event loop.
 *
 * Source: Kafka's Cleaner.
 */

import {
  batchSizeBytes,
  compressionOf,
  isControl,
  isTransactional,
  readLastOffset,
  readMaxTimestamp,
  readRecordCount,
  RECORD_BATCH_OVERHEAD,
  type RecordBatchHeader,
} from "../protocol/record_batch.ts";
import { decompress } from "../protocol/compression.ts";
import { RecordCursor } from "../protocol/record_cursor.ts";
import { BatchFilter } from "./batch_filter.ts";
import { BatchSource } from "./batch_source.ts";
import { CleanedTransactions, markerKind, type TransactionsState } from "./cleaned_transactions.ts";
import { FileCache } from "./file_cache.ts";
import { OffsetMap, type OffsetMapState } from "./offset_map.ts";
import { type Clock, type Disk, DiskError } from "./platform.ts";
import type { LastBatches } from "./producer_state.ts";
import { Segment } from "./segment.ts";
import {
  CLEANED_SUFFIX,
  LOG_SUFFIX,
  parseSegmentName,
  segmentPath,
  TRANSACTION_INDEX_SUFFIX,
} from "./segment_name.ts";
import { type AbortedTransaction, TransactionIndex } from "./transaction_index.ts";
import { cancelled, type Job, type JobContext } from "./workers.ts";

/** A position in a segment is an int32. */
const MAX_SEGMENT_BYTES = 0x7fff_ffff;
/** Bytes written until they are synced. */
const SYNC_EVERY_BYTES = 8 * 1024 * 1024;
/** Handles for the indexes that are read. */
const MAX_OPEN_FILES = 16;

/** A closed segment of the log. */
export interface SourceSegment {
  readonly baseOffset: number;
  readonly sizeBytes: number;
  /** Base offset of the segment that follows. */
  readonly endOffset: number;
}

/** What both jobs need to know. */
export interface CompactionOptions {
  readonly directory: string;
  /** Bytes read, and bytes written, at a time. */
  readonly pieceBytes: number;
  /** A batch that announces more is damage. */
  readonly maxBatchBytes: number;
  readonly maxDecompressedBytes: number;
  /** Of reading and writing together; Infinity for no limit. */
  readonly maxBytesPerSecond: number;
  /** Moves to the job and back. */
  readonly map: OffsetMapState;
  readonly transactions: TransactionsState;
}

/** Input of `map-keys`. */
export interface MapKeysInput extends CompactionOptions {
  readonly segment: SourceSegment;
  /** Records before it are clean. */
  readonly startOffset: number;
}

/** Output of `map-keys`. */
export interface MapKeysOutput {
  readonly map: OffsetMapState;
  /** The map took no more: `map.latestOffset` says how far it got. */
  readonly isFull: boolean;
  readonly transactions: TransactionsState;
  readonly bytesRead: number;
}

/** Input of `clean-segments`. */
export interface CleanSegmentsInput extends CompactionOptions {
  /** In order, each beginning where the one before ends; the new segment takes their place. */
  readonly segments: readonly SourceSegment[];
  readonly producers: LastBatches;
  /** When the cleaning began. */
  readonly nowMs: number;
  readonly deleteRetentionMs: number;
  readonly indexIntervalBytes: number;
}

/** Output of `clean-segments`. */
export interface CleanSegmentsOutput {
  readonly map: OffsetMapState;
  readonly transactions: TransactionsState;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly recordsRead: number;
  readonly recordsKept: number;
  /** Records without a key, which are dropped. */
  readonly keylessRecords: number;
}

/**
 * Puts the keys of a segment into the map.
 * Errors: DiskError (EBADMSG for damage), WireError for records that cannot be read.
 */
export const mapKeysJob: Job<MapKeysInput, MapKeysOutput> = {
  name: "map-keys",
  lane: "maintenance",
  run: (input, context) => new KeyMapping(input, context).run(),
  moves: ({ map }) => [map.slots],
};

/**
 * Writes segments anew as one, whose files end in `.cleaned` and are on stable storage when it is done.
 * Errors: DiskError (EBADMSG for damage), WireError for records that cannot be read.
 */
export const cleanSegmentsJob: Job<CleanSegmentsInput, CleanSegmentsOutput> = {
  name: "clean-segments",
  lane: "maintenance",
  run: (input, context) => new SegmentCleaning(input, context).run(),
  moves: ({ map }) => [map.slots],
};

/** Keeps a job's reading and writing below a rate. */
class Throttle {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #maxBytesPerSecond: number;
  readonly #startMs: number;
  #bytes = 0;

  constructor({ clock, signal }: JobContext, maxBytesPerSecond: number) {
    this.#clock = clock;
    this.#signal = signal;
    this.#maxBytesPerSecond = maxBytesPerSecond;
    this.#startMs = clock.monotonicMs();
  }

  async count(byteCount: number): Promise<void> {
    if (this.#maxBytesPerSecond === Infinity) return;
    this.#bytes += byteCount;
    const dueMs = this.#startMs + 1000 * this.#bytes / this.#maxBytesPerSecond;
    const aheadMs = dueMs - this.#clock.monotonicMs();
    if (aheadMs > 0) await this.#clock.sleep(aheadMs, this.#signal);
  }
}

/**
 * The aborted transactions that overlap `[fromOffset, upToOffset)`, from the files of the segment that
 * begins at `baseOffset` and those that follow it.
 */
function abortedTransactions(
  { disk, files, directory }: {
    readonly disk: Disk;
    readonly files: FileCache;
    readonly directory: string;
  },
  { baseOffset: first, fromOffset, upToOffset }: {
    readonly baseOffset: number;
    readonly fromOffset: number;
    readonly upToOffset: number;
  },
): AbortedTransaction[] {
  const found: AbortedTransaction[] = [];
  const bases = disk.list(directory)
    .map(({ name }) => parseSegmentName(name, TRANSACTION_INDEX_SUFFIX))
    .filter((base) => base !== null && base >= first)
    .toSorted((a, b) => a! - b!);
  for (const baseOffset of bases) {
    const index = new TransactionIndex({ directory, baseOffset: baseOffset!, disk, files });
    if (index.collect(fromOffset, upToOffset, found)) break;
  }
  return found;
}

class KeyMapping {
  readonly #input: MapKeysInput;
  readonly #context: JobContext;
  readonly #map: OffsetMap;
  readonly #cursor = new RecordCursor();
  #transactions!: CleanedTransactions;

  constructor(input: MapKeysInput, context: JobContext) {
    this.#input = input;
    this.#context = context;
    this.#map = new OffsetMap(input.map);
  }

  async run(): Promise<MapKeysOutput> {
    const { disk } = this.#context;
    const { directory, segment: { baseOffset, sizeBytes, endOffset }, startOffset } = this.#input;
    const files = new FileCache(disk, MAX_OPEN_FILES);
    const file = disk.open(segmentPath(directory, baseOffset, LOG_SUFFIX), "read");
    try {
      // One that ended before the first batch that is read must not be taken for ongoing.
      const fromOffset = Math.max(baseOffset, startOffset);
      const aborted = abortedTransactions({ disk, files, directory }, {
        baseOffset,
        fromOffset,
        upToOffset: endOffset,
      });
      this.#transactions = new CleanedTransactions(this.#input.transactions, aborted, () => {});
      const segment = new Segment({ directory, baseOffset, disk, files, createdMs: 0 });
      const position = startOffset <= baseOffset
        ? 0
        : segment.findBatch(startOffset)?.position ?? sizeBytes;
      const source = new BatchSource({
        ...this.#input,
        file,
        fileBytes: sizeBytes,
        position,
        baseOffset,
        endOffset,
      });
      const isFull = await this.#readAll(source);
      if (!isFull) this.#map.latestOffset = Math.max(this.#map.latestOffset, endOffset - 1);
      return {
        map: this.#map.state(),
        isFull,
        transactions: this.#transactions.state(),
        bytesRead: sizeBytes - position,
      };
    } finally {
      file.close();
      files.close();
    }
  }

  /** Returns: true when the map is full. */
  async #readAll(source: BatchSource): Promise<boolean> {
    const throttle = new Throttle(this.#context, this.#input.maxBytesPerSecond);
    while (await source.load()) {
      if (this.#context.signal.aborted) throw cancelled(mapKeysJob);
      let byteCount = 0;
      while (source.next()) {
        byteCount += source.sizeBytes;
        if (!this.#mapBatch(source.bytes, source.at, source.header)) return true;
      }
      await throttle.count(byteCount);
    }
    return false;
  }

  /** Returns: false when the map is full. */
  #mapBatch(bytes: Uint8Array, at: number, header: RecordBatchHeader): boolean {
    const { startOffset } = this.#input;
    const { attributes, producerId } = header;
    const lastOffset = header.baseOffset + header.lastOffsetDelta;
    if (isControl(attributes)) {
      this.#transactions.onMarker(producerId, lastOffset, markerKind(bytes, at, header));
    } else {
      const isAborted = this.#transactions.onBatch(
        producerId,
        lastOffset,
        isTransactional(attributes),
      );
      if (!isAborted && header.recordCount > 0 && !this.#mapRecords(bytes, at, header)) {
        return false;
      }
    }
    if (lastOffset >= startOffset) this.#map.latestOffset = lastOffset;
    return true;
  }

  #mapRecords(bytes: Uint8Array, at: number, header: RecordBatchHeader): boolean {
    const { maxDecompressedBytes, startOffset } = this.#input;
    const codec = compressionOf(header.attributes);
    const bodyStart = at + RECORD_BATCH_OVERHEAD;
    const bodyEnd = at + batchSizeBytes(bytes, at);
    const isPlain = codec === 0;
    const plain = isPlain
      ? bytes
      : decompress(codec, bytes.subarray(bodyStart, bodyEnd), maxDecompressedBytes);
    const cursor = this.#cursor;
    cursor.reset(plain, isPlain ? bodyStart : 0, isPlain ? bodyEnd : plain.length);
    for (let index = 0; index < header.recordCount; index++) {
      cursor.next();
      const { keyStart, keyBytes } = cursor;
      const offset = header.baseOffset + cursor.offsetDelta;
      if (keyBytes < 0 || offset < startOffset) continue;
      if (!this.#map.put(plain, keyStart, keyStart + keyBytes, offset)) return false;
      this.#map.latestOffset = offset;
    }
    return true;
  }
}

/** The new segment while it is written. */
class CleanedSegment {
  readonly segment: Segment;
  bytesWritten = 0;
  readonly #buffer: Uint8Array;
  readonly #disk: Disk;
  readonly #indexIntervalBytes: number;
  #fill = 0;
  #unsyncedBytes = 0;

  constructor(disk: Disk, segment: Segment, bufferBytes: number, indexIntervalBytes: number) {
    this.segment = segment;
    this.#disk = disk;
    this.#buffer = new Uint8Array(bufferBytes);
    this.#indexIntervalBytes = indexIntervalBytes;
    segment.openForAppend();
  }

  /** Adds the batch `bytes[start, end)`. Errors: DiskError. */
  append(bytes: Uint8Array, start: number, end: number): void {
    const byteCount = end - start;
    this.bytesWritten += byteCount;
    if (this.bytesWritten > MAX_SEGMENT_BYTES) {
      throw new DiskError(`Cannot write ${this.segment.path}: it would pass 2 GiB`, "EFBIG");
    }
    if (byteCount > this.#buffer.length - this.#fill) this.flush();
    const batch = bytes.subarray(start, end);
    if (byteCount > this.#buffer.length) return this.#write(batch);
    this.#buffer.set(batch, this.#fill);
    this.#fill += byteCount;
  }

  /** Writes what was added into the page cache. Errors: DiskError. */
  flush(): void {
    if (this.#fill > 0) this.#write(this.#buffer.subarray(0, this.#fill));
    this.#fill = 0;
  }

  #write(batches: Uint8Array): void {
    this.segment.write(batches);
    for (let at = 0; at < batches.length; at += batchSizeBytes(batches, at)) {
      this.segment.note(
        batchSizeBytes(batches, at),
        readLastOffset(batches, at),
        readRecordCount(batches, at) === 0 ? -1 : readMaxTimestamp(batches, at),
        this.#indexIntervalBytes,
      );
    }
    this.#unsyncedBytes += batches.length;
  }

  /** Syncs where enough has been written. Errors: DiskError. */
  async syncSome(): Promise<void> {
    if (this.#unsyncedBytes < SYNC_EVERY_BYTES) return;
    this.#unsyncedBytes = 0;
    await this.segment.sync();
  }

  /** Makes everything stable but the names. Errors: DiskError. */
  async finish(modifiedMs: number): Promise<void> {
    this.flush();
    this.segment.storeIndexes();
    this.#disk.setModifiedMs(this.segment.path, modifiedMs);
    await this.segment.sync();
    await this.segment.syncIndexes();
  }
}

class SegmentCleaning {
  readonly #input: CleanSegmentsInput;
  readonly #context: JobContext;
  readonly #throttle: Throttle;
  #bytesRead = 0;

  constructor(input: CleanSegmentsInput, context: JobContext) {
    this.#input = input;
    this.#context = context;
    this.#throttle = new Throttle(context, input.maxBytesPerSecond);
  }

  async run(): Promise<CleanSegmentsOutput> {
    const { disk } = this.#context;
    const { directory } = this.#input;
    this.#removeCleaned();
    const files = new FileCache(disk, MAX_OPEN_FILES);
    try {
      const output = await this.#clean(files);
      await disk.syncDirectory(directory);
      return output;
    } catch (failure) {
      files.close();
      // Its room may be what is missing. Who was told to stop touches nothing any more.
      if (!this.#context.signal.aborted) this.#removeCleaned();
      throw failure;
    } finally {
      files.close();
    }
  }

  /** Removes what a job that did not end has left. */
  #removeCleaned(): void {
    const { disk } = this.#context;
    const { directory } = this.#input;
    if (!disk.exists(directory)) return;
    for (const { name } of disk.list(directory)) {
      if (name.endsWith(CLEANED_SUFFIX)) disk.remove(`${directory}/${name}`);
    }
  }

  async #clean(files: FileCache): Promise<CleanSegmentsOutput> {
    const { disk } = this.#context;
    const { directory, segments, pieceBytes, indexIntervalBytes } = this.#input;
    const baseOffset = segments[0]!.baseOffset;
    const aborted = abortedTransactions({ disk, files, directory }, {
      baseOffset,
      fromOffset: baseOffset,
      upToOffset: segments.at(-1)!.endOffset,
    });
    const cleaned = new CleanedSegment(
      disk,
      new Segment({ directory, baseOffset, disk, files, createdMs: 0, suffix: CLEANED_SUFFIX }),
      pieceBytes,
      indexIntervalBytes,
    );
    const transactions = new CleanedTransactions(
      this.#input.transactions,
      aborted,
      (transaction) => cleaned.segment.transactionIndex.append(transaction),
    );
    const map = new OffsetMap(this.#input.map);
    const filter = new BatchFilter({ ...this.#input, map, transactions });
    try {
      const last = segments.findLast(({ sizeBytes }) => sizeBytes > 0);
      for (const segment of segments) {
        await this.#cleanInto(cleaned, filter, segment, segment === last);
      }
      if (this.#context.signal.aborted) throw cancelled(cleanSegmentsJob);
      // By it retention tells the age of records without timestamps.
      const newest = segmentPath(directory, segments.at(-1)!.baseOffset, LOG_SUFFIX);
      await cleaned.finish(disk.modifiedMs(newest));
    } finally {
      cleaned.segment.close();
    }
    const { recordsRead, recordsKept, keylessRecords } = filter;
    return {
      map: map.state(),
      transactions: transactions.state(),
      bytesRead: this.#bytesRead,
      bytesWritten: cleaned.bytesWritten,
      recordsRead,
      recordsKept,
      keylessRecords,
    };
  }

  async #cleanInto(
    cleaned: CleanedSegment,
    filter: BatchFilter,
    { baseOffset, sizeBytes, endOffset }: SourceSegment,
    isLast: boolean,
  ): Promise<void> {
    const { disk, signal } = this.#context;
    const file = disk.open(segmentPath(this.#input.directory, baseOffset, LOG_SUFFIX), "read");
    try {
      const source = new BatchSource({
        ...this.#input,
        file,
        fileBytes: sizeBytes,
        position: 0,
        baseOffset,
        endOffset,
      });
      while (await source.load()) {
        if (signal.aborted) throw cancelled(cleanSegmentsJob);
        const before = cleaned.bytesWritten;
        let byteCount = 0;
        while (source.next()) {
          byteCount += source.sizeBytes;
          if (filter.filter(source.bytes, source.at, source.header, isLast && source.isLast)) {
            cleaned.append(filter.bytes, filter.start, filter.end);
          }
        }
        await cleaned.syncSome();
        this.#bytesRead += byteCount;
        await this.#throttle.count(byteCount + cleaned.bytesWritten - before);
      }
    } finally {
      file.close();
    }
  }
}
