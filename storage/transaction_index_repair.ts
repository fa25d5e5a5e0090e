/**
 * Finds the aborted transactions of segments again whose `.txnindex` is lost or impossible: without it their
 * records would be served to read_committed consumers as if they had been committed.
 *
 * Most segments have no such file because nothing was aborted in them, so a file that is missing says little
 * by itself. It counts as lost when another index of its segment is missing too (people delete them all to
 * have them made anew), or when `transaction-index-checkpoint` in the partition's directory, a file that Kafka
 * does not know, lists the segment's base offset among those that have one. The list is written before the
 * recovery point passes a segment; what it names in excess costs a look at the records.
 *
 *     snapshot at or before the first of the segments, or the start of the log
 *        └──→ every batch from there on tells a scratch state; aborted ones are noted where they end
 *
 * A transaction that begins before the start of the log is found too: from its first record that is left.
 */

import {
  checkpointNumber,
  formatCheckpoint,
  parseCheckpoint,
  readSmallText,
  textBytes,
  writeFileUnderNewName,
} from "./checkpoint.ts";
import { type Disk, DiskError } from "./platform.ts";
import { believedHeader, type ReplayOptions, replayProducers } from "./producer_replay.ts";
import { ProducerState } from "./producer_state.ts";
import { scanSegment } from "./recovery.ts";
import type { Segment } from "./segment.ts";
import type { AbortedTransaction } from "./transaction_index.ts";
import { transactionMarkerAt } from "./transaction_marker.ts";

/** Name of the list in a partition's directory. */
export const TRANSACTION_INDEX_LIST = "transaction-index-checkpoint";

/** Notes which segments have a transaction index, if that has changed. The directory needs a sync after it. */
export async function storeTransactionIndexList(
  disk: Disk,
  directory: string,
  segments: readonly Segment[],
): Promise<void> {
  const path = `${directory}/${TRANSACTION_INDEX_LIST}`;
  const bases = segments.filter(({ transactionIndex }) => transactionIndex.isUsed)
    .map(({ baseOffset }) => String(baseOffset));
  const before = readSmallText(disk, path);
  const text = formatCheckpoint(bases);
  if (text === before || (bases.length === 0 && before === null)) return;
  await writeFileUnderNewName(disk, path, textBytes(text));
}

/** Base offsets of the segments that had a transaction index when the list was written. Errors: DiskError. */
export function listedTransactionIndexes(
  { disk, directory, logger }: Pick<ReplayOptions, "disk" | "directory" | "logger">,
): Set<number> {
  const path = `${directory}/${TRANSACTION_INDEX_LIST}`;
  try {
    const text = readSmallText(disk, path);
    const lines = text === null ? [] : parseCheckpoint(text, path, 1);
    return new Set(lines.map(([base]) => checkpointNumber(base!, path)));
  } catch (failure) {
    if (!(failure instanceof DiskError) || failure.code !== "EBADMSG") throw failure;
    logger.warn("List of transaction indexes is damaged and is not used", { file: path });
    return new Set();
  }
}

/** The segments whose aborted transactions must be found again. `listed` holds base offsets. Errors: DiskError. */
export function withLostTransactions(
  segments: readonly Segment[],
  listed: ReadonlySet<number>,
): Segment[] {
  return segments.filter((segment) => {
    const { transactionIndex, offsetIndex, timeIndex, baseOffset, sizeBytes } = segment;
    if (sizeBytes === 0) return false;
    if (transactionIndex.file.exists()) return transactionIndex.problem() !== null;
    return listed.has(baseOffset) || !offsetIndex.file.exists() || !timeIndex.file.exists();
  });
}

/**
 * Makes the transaction indexes of `lost` anew; the indexes before are not looked at. `segments` are those
 * of the whole log. Returns: once they are stable, but for their names. Errors: DiskError; WireError at a
 * control record that is damaged.
 */
export async function rebuildTransactionIndexes(
  options: ReplayOptions,
  segments: readonly Segment[],
  lost: ReadonlySet<Segment>,
): Promise<void> {
  const first = segments.findIndex((segment) => lost.has(segment));
  const last = segments.findLastIndex((segment) => lost.has(segment));
  if (first < 0) return;
  const producers = new ProducerState(options.directory);
  const from = segments[first]!.baseOffset;
  const snapshotOffset = await replayProducers(options, {
    segments: segments.slice(0, first),
    endOffset: from,
    producers,
    upTo: from,
  });
  for (const segment of segments.slice(first, last + 1)) {
    const found = await abortedIn(options, { segment, producers, snapshotOffset });
    if (!lost.has(segment)) continue;
    segment.transactionIndex.replace(found);
    await segment.transactionIndex.file.sync();
    options.logger.warn("Aborted transactions of a segment are found again in its records", {
      file: segment.transactionIndex.file.path,
      transactions: found.length,
    });
  }
}

async function abortedIn(
  { clock }: ReplayOptions,
  { segment, producers, snapshotOffset }: {
    readonly segment: Segment;
    readonly producers: ProducerState;
    readonly snapshotOffset: number;
  },
): Promise<AbortedTransaction[]> {
  const found: AbortedTransaction[] = [];
  await scanSegment(segment, {
    baseOffset: segment.baseOffset,
    verifyFrom: Infinity,
    onBatch: (header, bytes, at, position) => {
      if (header.producerId < 0 || header.baseOffset < snapshotOffset) return;
      const batch = { header, bytes, at, position, path: segment.path };
      const believed = believedHeader(producers, batch, clock);
      const marker = transactionMarkerAt(header.attributes, bytes, at);
      const completed = producers.update(believed, marker);
      if (completed === null || !completed.isAborted) return;
      const lastStableOffset = producers.lastStableOffsetAfter(completed);
      found.push({ ...completed, lastStableOffset });
    },
  });
  return found;
}
