/**
 * Brings a partition's directory into the state in which a clean stop leaves one.
 *
 *     closed segments ─┬─ believed, by an index entry and its batch ─┬─ headers read ─┬─ checksums read ─┐
 *                      │                                  newest snapshot      recovery point         torn tail: cut
 *
 * What lies before the newest producer snapshot that the recovery point has passed is not read: a snapshot
 * gets its name only after the indexes, the epochs and the records up to it are stable. From there on
 * batches are noted anew in the indexes, the producers and the epochs; from the recovery point on their
 * checksums are computed too. Without a place that can be believed the segment is read from its start.
 *
 * Damage is a sentence in the result, and nothing on disk is touched then. Nothing is ever deleted because
 * it could not be read. A recovery that ends half way is one more crash: the next one starts over.
 */

import { WireError } from "../protocol/bytes.ts";
import { batchSizeBytes, type RecordBatchHeader } from "../protocol/record_batch.ts";
import { writeFileUnderNewName } from "./checkpoint.ts";
import { FileCache } from "./file_cache.ts";
import { LeaderEpochs } from "./leader_epochs.ts";
import type { LogConfig } from "./log_config.ts";
import { type LogListing, straySnapshots, tidyAndListLog } from "./log_listing.ts";
import { DiskError } from "./platform.ts";
import {
  believedHeader,
  type ReplayedBatch,
  type ReplayOptions,
  replayProducers,
} from "./producer_replay.ts";
import { MAX_BATCHES_PER_PRODUCER, type ProducerBatch, ProducerState } from "./producer_state.ts";
import { ProducerTable } from "./producer_table.ts";
import { type DoubtfulBatch, readWholeBatch, scanSegment, type ScanSource } from "./recovery.ts";
import { DamagedBytes, type IndexedPlace, type Segment } from "./segment.ts";
import { segmentPath, SNAPSHOT_SUFFIX } from "./segment_name.ts";
import {
  listedTransactionIndexes,
  rebuildTransactionIndexes,
  storeTransactionIndexList,
  TRANSACTION_INDEX_LIST,
  withLostTransactions,
} from "./transaction_index_repair.ts";
import { transactionMarkerAt } from "./transaction_marker.ts";
import { allSynced } from "./shared_sync.ts";
import { cancelled, type Job, type JobContext } from "./workers.ts";

/** Handles for reading that one recovery keeps open. */
const MAX_OPEN_FILES = 16;

/**
 * How far before the newest snapshot a scan begins: a snapshot knows the last batch of a producer, whose
 * client may send the last five again.
 */
const LOOK_BACK = { byteCount: 64 * 1024, entryCount: MAX_BATCHES_PER_PRODUCER };
/** Bytes read without a look at whether somebody still waits. */
const PAUSE_AFTER_BYTES = 4 * 1024 * 1024;
/** Batches before the snapshot whose index entries are left alone until one follows it. */
const MAX_HELD_BATCHES = 10_000;
/** The last batches of idempotent producers that are handed back. */
const RECENT_BATCHES = 1024;

/** What is known of a log before it is recovered. */
export interface RecoverLogInput {
  readonly directory: string;
  /** `topic-partition`, for log lines and error texts. */
  readonly name: string;
  readonly config: LogConfig;
  readonly producerIdExpirationMs: number;
  /** Memory that what is known of producers may take. */
  readonly producerStateBytes: number;
  /** True when nothing may be cut: only what is derived from the records is to be made anew. */
  readonly hadCleanShutdown: boolean;
  /** The last run met a disk failure: what is recovered is written once more before it is synced. */
  readonly hadDiskFailure: boolean;
  /** Everything before it was on stable storage when it was written down. */
  readonly recoveryPoint: number;
  readonly logStartOffset: number;
}

/** What a recovery has found and done. */
export interface RecoveredLog {
  readonly endOffset: number;
  /** Why the log must not be used, or null. */
  readonly damage: string | null;
  readonly scannedBytes: number;
  /** Bytes of the torn tail. */
  readonly cutBytes: number;
  /** The last batches of idempotent producers, in the order of the log: more than a snapshot holds. */
  readonly recentBatches: readonly ProducerBatch[];
}

/** Recovers the log of one partition. Progress: bytes read so far, now and then. Memory: a piece and the largest batch. */
export const recoverLogJob: Job<RecoverLogInput, RecoveredLog> = {
  name: "recover-log",
  lane: "recovery",
  run: (input, context) => new LogRecovery(input, context).run(),
};

class LogRecovery {
  readonly #input: RecoverLogInput;
  readonly #context: JobContext;
  readonly #files: FileCache;
  readonly #epochs: LeaderEpochs;
  readonly #producers: ProducerState;
  #listing!: LogListing;
  #segments: Segment[] = [];
  /** Segments whose transaction index is lost, or impossible. */
  #lostTransactions = new Set<Segment>();
  /** Segments from this offset on were scanned, with all that follows from their batches. */
  #recoveredFrom = Infinity;
  #damage: string | null = null;
  /** Offsets of the snapshots on disk. */
  #snapshots = new Set<number>();
  /** Offset of the snapshot from which the producers were replayed; −1 when there is none. */
  #snapshotOffset = -1;
  #scannedBytes = 0;
  /** Bytes that were read since the thread last heard whether it should end. */
  #unpausedBytes = 0;
  #cutBytes = 0;
  #recentBatches: ProducerBatch[] = [];

  constructor(input: RecoverLogInput, context: JobContext) {
    this.#input = input;
    this.#context = context;
    this.#files = new FileCache(context.disk, MAX_OPEN_FILES);
    this.#epochs = new LeaderEpochs({ disk: context.disk, directory: input.directory });
    const table = new ProducerTable({ capBytes: input.producerStateBytes });
    this.#producers = new ProducerState(input.name, table);
  }

  async run(): Promise<RecoveredLog> {
    let endOffset = 0;
    try {
      endOffset = await this.#run();
    } catch (failure) {
      if (!(failure instanceof WireError || failure instanceof DamagedBytes)) throw failure;
      this.#damage = `Cannot open ${this.#input.name}: ${failure.message}; ${this.#advice()}`;
    } finally {
      for (const segment of this.#segments) segment.close();
      this.#files.close();
    }
    return {
      endOffset,
      damage: this.#damage,
      scannedBytes: this.#scannedBytes,
      cutBytes: this.#cutBytes,
      recentBatches: this.#recentBatches.slice(-RECENT_BATCHES),
    };
  }

  #advice(): string {
    return `restore ${this.#input.directory} from a replica or a backup, or delete the topic`;
  }

  async #run(): Promise<number> {
    const { disk } = this.#context;
    const { directory, logStartOffset } = this.#input;
    this.#listing = tidyAndListLog({ ...this.#context, files: this.#files, directory });
    this.#snapshots = new Set(this.#listing.snapshotOffsets);
    this.#segments = this.#listing.segments;
    for (const path of this.#listing.deleted) disk.remove(path);
    const listed = this.#listing.names.has(TRANSACTION_INDEX_LIST)
      ? listedTransactionIndexes(this.#replaying())
      : new Set<number>();
    this.#lostTransactions = new Set(withLostTransactions(this.#segments, listed));
    const areEpochsDamaged = this.#loadEpochs();
    const endOffset = this.#segments.length === 0 ? logStartOffset : await this.#findEnd();
    this.#checkEnd(endOffset);
    if (this.#damage !== null) return endOffset;
    await this.#rebuildTransactionIndexes();
    if (areEpochsDamaged || this.#epochsStartLate()) await this.#rebuildEpochs();
    await this.#storeState(endOffset);
    return endOffset;
  }

  /** Returns: true when the epochs must be read from the log. */
  #loadEpochs(): boolean {
    try {
      this.#epochs.load();
      return false;
    } catch (failure) {
      if (!(failure instanceof DiskError) || failure.code !== "EBADMSG") throw failure;
      this.#epochs.clear();
      this.#context.logger.warn("Leader epoch checkpoint is damaged and is rebuilt from the log", {
        partition: this.#input.name,
        found: failure.message,
      });
      return true;
    }
  }

  /** Returns: the end offset; what it is worth, `#damage` says. */
  async #findEnd(): Promise<number> {
    if (this.#input.hadCleanShutdown) {
      const endOffset = await this.#checkAll();
      if (this.#damage !== null) return 0;
      // A stop writes the end down. Where the last header says more, its checksum has the word.
      if (endOffset >= 0 && endOffset <= this.#input.recoveryPoint) {
        await this.#replayProducers(endOffset, this.#segments.length);
        return endOffset;
      }
    }
    return await this.#recover();
  }

  /** After a clean stop. Returns: the end offset, −1 when the active segment needs a scan. */
  async #checkAll(): Promise<number> {
    for (const segment of this.#segments) await this.#repairIndex(segment);
    if (this.#damage !== null) return -1;
    try {
      return this.#segments.at(-1)!.loadTail();
    } catch (failure) {
      if (!(failure instanceof DiskError) || failure.code !== "EBADMSG") throw failure;
      this.#context.logger.warn("Log ends differently than its clean stop left it and is scanned", {
        partition: this.#input.name,
        found: failure.message,
      });
      return -1;
    }
  }

  /** After a crash. Returns: the end offset. */
  async #recover(): Promise<number> {
    const { recoveryPoint } = this.#input;
    const segments = this.#segments;
    // A segment that ends at the recovery point was the active one then: its indexes may be behind.
    const from = Math.max(
      0,
      segments.findLastIndex(({ baseOffset }) => baseOffset < recoveryPoint),
    );
    for (let index = 0; index < from; index++) await this.#repairIndex(segments[index]!);
    if (this.#damage !== null) return -1;
    let nextOffset = segments[from]!.baseOffset;
    this.#recoveredFrom = nextOffset;
    // Aborted transactions are found again only as far back as the producers' state is known.
    const isLost = this.#lostTransactions.has(segments[from]!);
    await this.#replayProducers(isLost ? nextOffset : Math.max(recoveryPoint, nextOffset), from);
    for (let index = from; index < segments.length; index++) {
      const segment = segments[index]!;
      const isGap = index > from && segment.baseOffset !== nextOffset;
      if (isGap && !this.#isGapAllowed(nextOffset)) {
        this.#checkEnd(nextOffset);
        if (this.#input.hadCleanShutdown) {
          this.#endsEarly(nextOffset, `another segment begins at ${segment.baseOffset}`);
        }
        if (this.#damage !== null) return -1;
        this.#dropFrom(index, nextOffset);
        break;
      }
      if (index > from) await this.#storeSnapshot(segment.baseOffset);
      nextOffset = await this.#recoverSegment(segment);
      if (this.#damage !== null) return -1;
      if (this.#input.hadDiskFailure) await this.#rewrite(segment);
      if (index < segments.length - 1) segment.retire();
      // The aborted transactions of the active segment too: a snapshot further on relies on them.
      if (segment.sizeBytes > 0) segment.storeIndexes();
      if (this.#input.hadDiskFailure) await segment.rewriteIndexes();
      await allSynced([segment.sync(), segment.syncIndexes({ evenIfUnchanged: true })]);
    }
    return nextOffset;
  }

  /** What a failed sync has dropped is dirty again, for the sync that follows to take along. */
  async #rewrite(segment: Segment): Promise<void> {
    let position = 0;
    try {
      position = segment.findBatch(this.#input.recoveryPoint)?.position ?? segment.sizeBytes;
    } catch (failure) {
      // Records before the recovery point are damaged, which is for their readers to find: all is written.
      if (!(failure instanceof DiskError) || failure.code !== "EBADMSG") throw failure;
    }
    await segment.rewrite(position);
  }

  async #recoverSegment(segment: Segment): Promise<number> {
    const { recoveryPoint } = this.#input;
    const place = await this.#believedPlace(segment, Math.min(recoveryPoint, this.#snapshotOffset));
    return await this.#scan(segment, place, recoveryPoint, true);
  }

  /** The last place before `upTo` of which the indexes and the batch that lies there say the same. */
  async #believedPlace(segment: Segment, upTo: number): Promise<BelievedPlace | null> {
    if (upTo <= segment.baseOffset) return null;
    const place = segment.indexedPlace(upTo, LOOK_BACK);
    if (place === null) return null;
    const header = await readWholeBatch(this.#source(segment), place.position);
    if (
      header !== null && header.baseOffset >= segment.baseOffset &&
      header.baseOffset + header.lastOffsetDelta === place.lastOffset &&
      timestampOf(header) <= place.largestTimestampMs
    ) return { ...place, offset: header.baseOffset };
    this.#context.logger.warn("Index is not believed, and its segment is read from the start", {
      partition: this.#input.name,
      file: segment.offsetIndex.file.path,
      position: place.position,
      offset: place.lastOffset,
    });
    return null;
  }

  /** The cleaner leaves gaps before the recovery point. Past it, a gap is what a crash has lost. */
  #isGapAllowed(nextOffset: number): boolean {
    const { config, recoveryPoint } = this.#input;
    if (nextOffset >= recoveryPoint) return false;
    if (config.cleanupPolicy.includes("compact")) return true;
    this.#lostSynced(nextOffset);
    return false;
  }

  #lostSynced(nextOffset: number): void {
    const { recoveryPoint } = this.#input;
    this.#endsEarly(nextOffset, `those before ${recoveryPoint} had been on stable storage`);
  }

  #endsEarly(endOffset: number, known: string): void {
    this.#damage ??= `Cannot open ${this.#input.name}: its records end at offset ${endOffset}, ` +
      `and ${known}; ${this.#advice()}`;
  }

  /** Both checkpoints are written of records that are stable alone. */
  #checkEnd(endOffset: number): void {
    const { recoveryPoint, logStartOffset } = this.#input;
    if (endOffset < recoveryPoint) this.#lostSynced(endOffset);
    if (endOffset >= logStartOffset) return;
    this.#endsEarly(endOffset, `the log start offset was written down as ${logStartOffset}`);
  }

  async #repairIndex(segment: Segment): Promise<void> {
    const problem = segment.indexProblem();
    if (problem === null || this.#damage !== null) return;
    this.#context.logger.warn("Index is missing or impossible and is rebuilt", {
      partition: this.#input.name,
      problem,
    });
    await this.#scan(segment, null, Infinity, false);
    if (this.#damage !== null) return;
    segment.storeIndexes();
    await segment.syncIndexes();
  }

  /** Segments past a hole: what they hold was written, but not acknowledged as durable. */
  #dropFrom(index: number, nextOffset: number): void {
    const dropped = this.#segments.splice(index);
    for (const segment of dropped) {
      segment.close();
      for (const path of segment.paths()) this.#context.disk.remove(path);
    }
    if (dropped.length === 0) return;
    this.#context.logger.warn("Segments past the recovered end are cut", {
      partition: this.#input.name,
      endOffset: nextOffset,
      segments: dropped.map(({ path }) => path),
    });
  }

  /** The file of a segment, whose pieces are counted, and not read any more once nobody waits. */
  #source(segment: Segment): ScanSource {
    const { signal, progress } = this.#context;
    return {
      sizeBytes: segment.sizeBytes,
      readCold: async (position, into) => {
        if (signal.aborted) throw cancelled(recoverLogJob);
        this.#unpausedBytes += into.length;
        const isPause = this.#unpausedBytes >= PAUSE_AFTER_BYTES;
        if (isPause) this.#unpausedBytes = 0;
        // A thread has nothing else to do, and a read that is not awaited is three times as fast.
        const byteCount = isPause
          ? await segment.readCold(position, into)
          : segment.read(position, into);
        this.#scannedBytes += byteCount;
        // A message costs more than the read of a small log.
        if (isPause) progress(this.#scannedBytes);
        return byteCount;
      },
    };
  }

  /**
   * Reads a segment from `place` on, and notes its batches anew in its indexes; cuts what a crash has left
   * behind them. `feedsState` false leaves producers and epochs alone. Returns: the next offset.
   */
  async #scan(
    segment: Segment,
    place: BelievedPlace | null,
    verifyFrom: number,
    feedsState: boolean,
  ): Promise<number> {
    const source = this.#source(segment);
    if (feedsState) this.#epochs.truncateFromEnd(place?.offset ?? segment.baseOffset);
    const indexing = new Indexing(segment, place, {
      indexIntervalBytes: this.#input.config.indexIntervalBytes,
      // Without the producers' state no aborted transaction can be found again.
      stableOffset: feedsState ? this.#snapshotOffset : Infinity,
    });
    const { validBytes, nextOffset, doubt, end } = await scanSegment(source, {
      baseOffset: segment.baseOffset,
      ...(place !== null && { start: place }),
      verifyFrom,
      onBatch: (header, bytes, at, position) => {
        indexing.note(header, batchSizeBytes(bytes, at));
        if (feedsState) this.#feed({ header, bytes, at, position, path: segment.path }, segment);
      },
    });
    indexing.finish();
    this.#checkDoubt(segment, doubt, nextOffset);
    if (end.kind === "whole" || this.#damage !== null) return nextOffset;
    const maySyncedBeCut = nextOffset < this.#input.recoveryPoint ||
      this.#input.hadCleanShutdown || !feedsState;
    if (end.kind === "damaged" || maySyncedBeCut) {
      const upTo = end.kind === "damaged" ? end.nextBatchPosition : source.sizeBytes;
      this.#damage = `Cannot open ${this.#input.name}: bytes ${validBytes} to ${upTo} of ` +
        `${segment.path} are damaged (offset ${nextOffset} should start there)` +
        (end.kind === "damaged"
          ? ", and whole batches follow them"
          : ", and they had been synced") +
        `; restore the file from a replica or a backup, or delete the topic`;
      return nextOffset;
    }
    this.#cut(segment, validBytes, nextOffset, source.sizeBytes - validBytes);
    return nextOffset;
  }

  /**
   * The recovery point was the end of the log once, or where a truncation was about to cut it: it lies
   * between batches. One that it lies in has another base offset than it was written with.
   */
  #checkDoubt(segment: Segment, doubt: DoubtfulBatch | null, nextOffset: number): void {
    if (doubt === null || segment !== this.#segments.at(-1)) return;
    const { position, baseOffset, expectedOffset } = doubt;
    const { recoveryPoint, hadCleanShutdown } = this.#input;
    if (expectedOffset >= recoveryPoint || recoveryPoint >= nextOffset) return;
    if (recoveryPoint === baseOffset && !hadCleanShutdown) return;
    this.#damage = `Cannot open ${this.#input.name}: ${segment.path} is damaged at byte ` +
      `${position}: the last batch has the base offset ${baseOffset}, the one before it ends at ` +
      `${expectedOffset}, and the log ended at ${recoveryPoint}; ${this.#advice()}`;
  }

  #cut(segment: Segment, fromByte: number, endOffset: number, cutBytes: number): void {
    segment.truncateBytes(fromByte, endOffset);
    this.#cutBytes += cutBytes;
    this.#context.logger.warn("Torn tail of the log is cut", {
      partition: this.#input.name,
      file: segment.path,
      fromByte,
      cutBytes,
      endOffset,
    });
  }

  #feed(batch: ReplayedBatch, segment: Segment): void {
    const { header, bytes, at } = batch;
    this.#epochs.assign(header.partitionLeaderEpoch, header.baseOffset);
    if (header.producerId < 0) return;
    if (header.baseSequence >= 0) this.#noteRecent(header);
    if (header.baseOffset < this.#snapshotOffset) return;
    const believed = believedHeader(this.#producers, batch, this.#context.clock);
    const marker = transactionMarkerAt(header.attributes, bytes, at);
    const completed = this.#producers.update(believed, marker);
    if (completed === null || !completed.isAborted) return;
    segment.transactionIndex.append({
      ...completed,
      lastStableOffset: this.#producers.lastStableOffsetAfter(completed),
    });
  }

  /** Loads the newest good snapshot up to `upTo` and replays the segments before `endIndex` from there. */
  async #replayProducers(upTo: number, endIndex: number): Promise<void> {
    this.#snapshotOffset = await replayProducers(this.#replaying(), {
      segments: this.#segments.slice(0, endIndex),
      snapshotOffsets: this.#listing.snapshotOffsets,
      sourceOf: (segment) => this.#source(segment),
      endOffset: this.#segments[endIndex]?.baseOffset ?? upTo,
      producers: this.#producers,
      upTo,
    });
  }

  #noteRecent(header: RecordBatchHeader): void {
    if (this.#recentBatches.length >= 2 * RECENT_BATCHES) {
      this.#recentBatches = this.#recentBatches.slice(-RECENT_BATCHES);
    }
    this.#recentBatches.push(header);
  }

  #replaying(): ReplayOptions {
    return { ...this.#input, ...this.#context };
  }

  async #storeSnapshot(at: number): Promise<void> {
    if (at <= this.#snapshotOffset) return;
    const path = segmentPath(this.#input.directory, at, SNAPSHOT_SUFFIX);
    await writeFileUnderNewName(this.#context.disk, path, this.#producers.encodeSnapshot());
    this.#snapshots.add(at);
  }

  /** The checkpoint may be ahead of a deletion whose log start offset a crash has lost. */
  #epochsStartLate(): boolean {
    const first = this.#segments[0];
    if (first === undefined) return false;
    const startOffset = Math.max(this.#input.logStartOffset, first.baseOffset);
    return (this.#epochs.entries[0]?.startOffset ?? Infinity) > startOffset;
  }

  async #rebuildTransactionIndexes(): Promise<void> {
    // What was recovered has found its transactions already.
    const left = this.#segments.filter((segment) =>
      this.#lostTransactions.has(segment) && segment.baseOffset < this.#recoveredFrom
    );
    if (left.length === 0) return;
    await rebuildTransactionIndexes(this.#replaying(), this.#segments, new Set(left));
  }

  async #rebuildEpochs(): Promise<void> {
    this.#epochs.clear();
    for (const segment of this.#segments) {
      await scanSegment(this.#source(segment), {
        baseOffset: segment.baseOffset,
        verifyFrom: Infinity,
        onBatch: (header) => this.#epochs.assign(header.partitionLeaderEpoch, header.baseOffset),
      });
    }
  }

  /** The last step: what a clean stop would have stored. */
  async #storeState(endOffset: number): Promise<void> {
    const { disk } = this.#context;
    const { directory, logStartOffset } = this.#input;
    const startOffset = Math.max(logStartOffset, this.#segments[0]?.baseOffset ?? 0);
    const isEmpty = endOffset === (this.#segments[0]?.baseOffset ?? endOffset);
    const hasList = this.#listing.names.has(TRANSACTION_INDEX_LIST) ||
      this.#segments.some(({ transactionIndex }) => transactionIndex.isUsed);
    if (hasList) await storeTransactionIndexList(disk, directory, this.#segments);
    if (!isEmpty || this.#snapshots.size > 0) await this.#storeSnapshot(endOffset);
    // One past the end would be taken for that of other records once the log has grown again.
    const found = [...this.#snapshots].sort((a, b) => b - a);
    const usable = found.filter((at) => at <= endOffset);
    const useless = found.filter((at) => at > endOffset);
    for (const at of [...useless, ...straySnapshots(usable, this.#segments)]) {
      disk.remove(segmentPath(directory, at, SNAPSHOT_SUFFIX));
    }
    this.#epochs.truncateFromEnd(endOffset);
    this.#epochs.truncateFromStart(startOffset);
    if (endOffset > startOffset) await this.#epochs.store(endOffset);
    await disk.syncDirectory(directory);
  }
}

/**
 * Notes batches in the indexes of a segment anew. Where a scan begins before what is known to be stable, the
 * indexes are right up to there, and are left alone unless something follows.
 */
class Indexing {
  readonly #segment: Segment;
  readonly #place: BelievedPlace | null;
  readonly #indexIntervalBytes: number;
  readonly #stableOffset: number;
  /** Batches before `stableOffset`; null once the indexes are made anew. */
  #held: [header: RecordBatchHeader, sizeBytes: number][] | null = [];

  constructor(
    segment: Segment,
    place: BelievedPlace | null,
    { indexIntervalBytes, stableOffset }: {
      readonly indexIntervalBytes: number;
      readonly stableOffset: number;
    },
  ) {
    this.#segment = segment;
    this.#place = place;
    this.#indexIntervalBytes = indexIntervalBytes;
    this.#stableOffset = stableOffset;
    if (place === null) this.#reset();
  }

  note(header: RecordBatchHeader, sizeBytes: number): void {
    const held = this.#held;
    if (held === null) return this.#note(header, sizeBytes);
    held.push([header, sizeBytes]);
    if (header.baseOffset >= this.#stableOffset || held.length > MAX_HELD_BATCHES) this.#reset();
  }

  /** All batches are noted. */
  finish(): void {
    if (this.#held === null) return;
    // What an earlier process had cut off may have left its entries behind.
    const isRight = this.#segment.indexProblem() === null &&
      this.#segment.indexesEndBefore(this.#stableOffset);
    if (!isRight) this.#reset();
  }

  #reset(): void {
    const held = this.#held!;
    this.#held = null;
    this.#segment.resetIndexes({
      place: this.#place,
      keepsTransactionsBefore: this.#stableOffset,
    });
    for (const [header, sizeBytes] of held) this.#note(header, sizeBytes);
  }

  #note(
    { baseOffset, lastOffsetDelta, recordCount, maxTimestamp }: RecordBatchHeader,
    sizeBytes: number,
  ) {
    // What the cleaner has emptied keeps the time of records that are gone.
    const timestampMs = recordCount === 0 ? -1 : maxTimestamp;
    this.#segment.note(
      sizeBytes,
      baseOffset + lastOffsetDelta,
      timestampMs,
      this.#indexIntervalBytes,
    );
  }
}

/** What the cleaner has emptied keeps the time of records that are gone. */
function timestampOf({ recordCount, maxTimestamp }: RecordBatchHeader): number {
  return recordCount === 0 ? -1 : maxTimestamp;
}

/** A place whose batch is what the indexes say. */
interface BelievedPlace extends IndexedPlace {
  /** First offset of the batch. */
  readonly offset: number;
}
