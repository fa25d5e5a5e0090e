/**
 * How much of a log could be compacted, and whether it should be.
 *
 *     log start ─ clean ─ first dirty offset ─ dirty ─ first uncleanable offset ─ … ─ active segment
 *                          (checkpoint)                 └ the earliest of: active segment, open transaction,
 *                                                         recovery point, first segment that is too young
 *
 * Whole segments are cleaned, so the first uncleanable offset is the base offset of a segment. As our high
 * watermark is the synced offset and a start may cut what lies past the recovery point, nothing beyond that
 * is cleaned either. Source: Kafka's LogCleanerManager.cleanableOffsets, LogToClean.
 */

import { RECORD_BATCH_OVERHEAD } from "../protocol/record_batch.ts";
import type { LogConfig } from "./log_config.ts";
import { MAX_RELATIVE_OFFSET } from "./segment.ts";
import { TIME_INDEX_ENTRY_BYTES } from "./time_index.ts";

/** A segment as the cleaner sees it. */
export interface CleanableSegment {
  readonly baseOffset: number;
  readonly sizeBytes: number;
  /** Largest timestamp of its records, or the time of its file's last change. Units: ms. */
  readonly newestMs: number;
  /** Timestamp of its first batch; null when it has none. Units: ms. */
  readonly firstTimestamp: number | null;
}

/** The log that may be cleaned. */
export interface CleanableLog {
  readonly segments: readonly CleanableSegment[];
  readonly logStartOffset: number;
  readonly endOffset: number;
  readonly recoveryPoint: number;
  /** First offset of an open transaction, else the high watermark. */
  readonly stableOffset: number;
  /** Up to where it has been cleaned; −1 for never. */
  readonly cleanedOffset: number;
}

/** What could be cleaned. */
export interface CleanableRange {
  readonly firstDirtyOffset: number;
  readonly firstUncleanableOffset: number;
  readonly cleanableBytes: number;
  /** Share of the dirty bytes in all that a cleaning would read. */
  readonly dirtyRatio: number;
  /** How long its oldest dirty record is past `max.compaction.lag.ms`; 0 for not. Units: ms. */
  readonly delayMs: number;
}

/** What of the log could be cleaned at `nowMs`. */
export function cleanableRange(
  log: CleanableLog,
  config: Pick<LogConfig, "minCompactionLagMs" | "maxCompactionLagMs">,
  nowMs: number,
): CleanableRange {
  const { segments, logStartOffset, endOffset, cleanedOffset } = log;
  const isKnown = cleanedOffset >= logStartOffset && cleanedOffset <= endOffset;
  const firstDirtyOffset = isKnown ? cleanedOffset : logStartOffset;
  const dirtyFrom = segmentOf(segments, firstDirtyOffset);
  const closed = segments.slice(0, -1);
  const dirty = closed.slice(dirtyFrom);
  const active = segments.at(-1)!.baseOffset;
  let bound = Math.min(active, log.stableOffset, log.recoveryPoint);
  if (config.minCompactionLagMs > 0) {
    const youngest = nowMs - config.minCompactionLagMs;
    const young = dirty.find((segment) => segment.newestMs > youngest);
    if (young !== undefined) bound = Math.min(bound, young.baseOffset);
  }
  const upTo = segmentOf(segments, Math.max(bound, firstDirtyOffset));
  const firstUncleanableOffset = segments[upTo]!.baseOffset;
  const cleanableBytes = sum(segments.slice(dirtyFrom, upTo));
  const cleanBytes = sum(segments.filter(({ baseOffset }) => baseOffset < firstDirtyOffset));
  const totalBytes = cleanBytes + cleanableBytes;
  return {
    firstDirtyOffset,
    firstUncleanableOffset,
    cleanableBytes,
    dirtyRatio: totalBytes === 0 ? 0 : cleanableBytes / totalBytes,
    delayMs: compactionDelayMs(dirty, config.maxCompactionLagMs, nowMs),
  };
}

/** Index of the segment in which `offset` lies, or would lie. */
function segmentOf(segments: readonly CleanableSegment[], offset: number): number {
  return Math.max(0, segments.findLastIndex(({ baseOffset }) => baseOffset <= offset));
}

function sum(segments: readonly CleanableSegment[]): number {
  return segments.reduce((bytes, { sizeBytes }) => bytes + sizeBytes, 0);
}

function compactionDelayMs(
  dirty: readonly CleanableSegment[],
  maxCompactionLagMs: number,
  nowMs: number,
): number {
  // Without a bound the segments need not be asked, which would read their files.
  if (maxCompactionLagMs === Number.MAX_SAFE_INTEGER) return 0;
  let oldest = Infinity;
  for (const { firstTimestamp } of dirty) {
    if (firstTimestamp !== null && firstTimestamp > 0) oldest = Math.min(oldest, firstTimestamp);
  }
  return Math.max(0, nowMs - maxCompactionLagMs - oldest);
}

/** What is put together into one segment. */
export interface GroupableSegment {
  readonly baseOffset: number;
  readonly sizeBytes: number;
  /** Base offset of the segment that follows. */
  readonly endOffset: number;
}

/** Segments that one swap may replace: each costs renames in one turn of the loop. */
const MAX_GROUP_SEGMENTS = 64;

/**
 * Puts small segments together in their order, up to `segment.bytes` and what an index may hold.
 * Source: Kafka's Cleaner.groupSegmentsBySize.
 */
export function groupSegments<S extends GroupableSegment>(
  segments: readonly S[],
  config: Pick<LogConfig, "segmentBytes" | "segmentIndexBytes" | "indexIntervalBytes">,
): S[][] {
  // An entry is made past so many bytes, and at most one a batch. Time entries are the larger ones.
  const bytesPerEntry = Math.max(config.indexIntervalBytes, RECORD_BATCH_OVERHEAD);
  const maxEntries = config.segmentIndexBytes / TIME_INDEX_ENTRY_BYTES - 1;
  const maxBytes = Math.min(config.segmentBytes, maxEntries * bytesPerEntry);
  const groups: S[][] = [];
  let group: S[] = [];
  let bytes = 0;
  for (const segment of segments) {
    const fits = bytes + segment.sizeBytes <= maxBytes &&
      segment.endOffset - 1 - (group[0] ?? segment).baseOffset <= MAX_RELATIVE_OFFSET &&
      group.length < MAX_GROUP_SEGMENTS;
    if (!fits && group.length > 0) {
      groups.push(group);
      group = [];
      bytes = 0;
    }
    group.push(segment);
    bytes += segment.sizeBytes;
  }
  if (group.length > 0) groups.push(group);
  return groups;
}
