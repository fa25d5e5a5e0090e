/**
 * Rebuilds the producers of a log: the newest snapshot that is good, then the batches that follow it, and a few of those
 * before it.
 */

import { WireError } from "../protocol/bytes.ts";
import {
  isControl,
  isCrcValid,
  readBatchHeader,
  readProducerId,
  type RecordBatchHeader,
} from "../protocol/record_batch.ts";
import { readSmallFile } from "./checkpoint.ts";
import type { Clock, Disk, Logger } from "./platform.ts";
import type { ProducerState } from "./producer_state.ts";
import { scanSegment, type ScanSource } from "./recovery.ts";
import { DamagedBytes, type Segment } from "./segment.ts";
import { parseSegmentName, segmentPath, SNAPSHOT_SUFFIX } from "./segment_name.ts";
import { transactionMarkerAt } from "./transaction_marker.ts";

/** Entries of the offset index that are gone back by to find what producers have written last. */
const RECENT_INDEX_ENTRIES = 32;
/** And segments, and bytes of one, where entries are far apart. */
const RECENT_SEGMENTS = 8;
const RECENT_BYTES = 8 * 1024 * 1024;

/** What a replay needs of the log's surroundings. */
export interface ReplayOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly directory: string;
  readonly producerIdExpirationMs: number;
}

/** Offsets of the snapshots in a directory, the newest first. */
export function snapshotOffsets(disk: Disk, directory: string): number[] {
  const offsets: number[] = [];
  for (const name of disk.names(directory)) {
    const at = parseSegmentName(name, SNAPSHOT_SUFFIX);
    if (at !== null) offsets.push(at);
  }
  return offsets.sort((a, b) => b - a);
}

/**
 * Loads the newest good snapshot from the first segment on and up to `upTo`, and replays what follows it in `segments`, the last of
 * which ends at `endOffset`.
 * Returns: the offset of the snapshot that was used, −1 for none. Errors: DiskError.
 */
export async function replayProducers(
  options: ReplayOptions,
  { segments, snapshotOffsets: known, sourceOf = (segment) => segment, endOffset, producers, upTo }:
    {
      readonly segments: readonly Segment[];
      /** Where they are known, newest first. */
      readonly snapshotOffsets?: readonly number[];
      readonly sourceOf?: (segment: Segment) => ScanSource;
      readonly endOffset: number;
      readonly producers: ProducerState;
      readonly upTo: number;
    },
): Promise<number> {
  const from = segments[0]?.baseOffset ?? endOffset;
  const offsets = (known ?? snapshotOffsets(options.disk, options.directory))
    // What followed an older one may be deleted: a transaction that ended there would stay open for ever.
    .filter((at) => at >= from && at <= upTo);
  const snapshotOffset = await loadNewestSnapshot(options, producers, offsets);
  if (snapshotOffset >= endOffset) return snapshotOffset;
  const first = segments.findLastIndex(({ baseOffset }) => baseOffset <= snapshotOffset);
  for (const segment of segments.slice(Math.max(0, first))) {
    await scanSegment(sourceOf(segment), {
      baseOffset: segment.baseOffset,
      verifyFrom: Infinity,
      onBatch: (header, bytes, at, position) => {
        if (header.producerId < 0 || header.baseOffset < snapshotOffset) return;
        const batch = { header, bytes, at, position, path: segment.path };
        const believed = believedHeader(producers, batch, options.clock);
        producers.update(believed, transactionMarkerAt(header.attributes, bytes, at));
      },
    });
  }
  return snapshotOffset;
}

/**
 * Finds the batches of producers before the newest one, which alone is in a snapshot, where they lie near the end of
 * the log: a client whose answers were lost with the stop of this node sends up to five again. Takes a millisecond at
 * most. Errors: DiskError, but not for damage: it is told when it is read.
 */
export function recallRecent(producers: ProducerState, segments: readonly Segment[]): void {
  if (producers.count === 0) return;
  const headers: RecordBatchHeader[] = [];
  for (const { segment, position } of recentPlaces(segments)) {
    try {
      segment.walk(position, (_, bytes, at) => {
        if (readProducerId(bytes, at) >= 0) headers.push(readBatchHeader(bytes, at));
        return true;
      });
    } catch (failure) {
      if (!(failure instanceof DamagedBytes || failure instanceof WireError)) throw failure;
    }
  }
  for (const header of headers.toReversed()) producers.recall(header);
}

/** Where to begin in the last segments. */
function recentPlaces(segments: readonly Segment[]) {
  const places: { readonly segment: Segment; readonly position: number }[] = [];
  let entriesLeft = RECENT_INDEX_ENTRIES;
  for (const segment of segments.slice(-RECENT_SEGMENTS).toReversed()) {
    const { offsetIndex, sizeBytes } = segment;
    const { count } = offsetIndex;
    let first = Math.max(0, count - entriesLeft);
    while (first < count && sizeBytes - offsetIndex.entry(first).position > RECENT_BYTES) first++;
    const isWhole = first === 0 && count < entriesLeft && sizeBytes <= RECENT_BYTES;
    if (!isWhole && first === count) break;
    places.unshift({ segment, position: isWhole ? 0 : offsetIndex.entry(first).position });
    entriesLeft -= count - first;
    if (!isWhole) break;
  }
  return places;
}

/** A batch that is read for what it says of its producer. */
export interface ReplayedBatch {
  readonly header: RecordBatchHeader;
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly position: number;
  readonly path: string;
}

/**
 * What may be believed of the batch about its producer. Where its checksum does not fit, mostly its records
 * are damaged: its header is right when it says what had to come next, but for its time, which nothing
 * confirms and which must not make the producer look like one of long ago. A wrong one would make a batch
 * that is sent again count as new, or end another transaction.
 * Errors: DamagedBytes when nothing may be believed.
 */
export function believedHeader(
  producers: ProducerState,
  { header, bytes, at, position, path }: ReplayedBatch,
  clock: Clock,
): RecordBatchHeader {
  if (isCrcValid(bytes, at)) return header;
  const { attributes, lastOffsetDelta, recordCount } = header;
  const isPlain = !isControl(attributes) && recordCount === lastOffsetDelta + 1;
  if (isPlain && producers.isContinuedBy(header)) {
    return { ...header, maxTimestamp: clock.wallMs() };
  }
  const found = "the checksum of the batch does not fit, and what its producer has sent by then " +
    "cannot be told without it";
  throw new DamagedBytes(path, position, found);
}

async function loadNewestSnapshot(
  options: ReplayOptions,
  producers: ProducerState,
  offsets: readonly number[],
): Promise<number> {
  const { disk, directory, clock, producerIdExpirationMs, logger } = options;
  producers.clear();
  for (const at of offsets) {
    const path = segmentPath(directory, at, SNAPSHOT_SUFFIX);
    try {
      const loading = producers.loadSnapshot(readSmallFile(disk, path)!, {
        nowMs: clock.wallMs(),
        expirationMs: producerIdExpirationMs,
      });
      while (!loading.next().done) await clock.sleep(0);
      return at;
    } catch (failure) {
      if (!(failure instanceof WireError)) throw failure;
      logger.warn("Producer snapshot is damaged and is not used", { file: path });
    }
  }
  return -1;
}
