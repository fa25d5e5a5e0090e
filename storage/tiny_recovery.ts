/**
 * Recovers a log of a few kilobytes after a crash without writing anything: most of the thousands of logs of a node
 * are such.
 *
 *     0 ── batch ─ batch ─ batch ── end of the file      read at once, and every checksum compared
 *
 * It says yes or no. Yes: there is one segment that begins with offset 0, its batches follow each other up to its last
 * byte, and what else lies in the directory contradicts none of them. Then what a recovery would store is not needed:
 * the log goes on as one that was never closed, whose indexes and producers are those of its batches, and whose
 * recovery point stays where it was until its epochs are stored. No: anything at all is different, of which
 * `log_recovery.ts` makes out what it is.
 */

import { WireError } from "../protocol/bytes.ts";
import {
  batchSizeBytes,
  isCrcValid,
  MAGIC_V2,
  readBatchHeader,
  readMagic,
  RECORD_BATCH_OVERHEAD,
  type RecordBatchHeader,
} from "../protocol/record_batch.ts";
import type { LogListing } from "./log_listing.ts";
import type { Segment } from "./segment.ts";
import {
  LOG_SUFFIX,
  OFFSET_INDEX_SUFFIX,
  parseSegmentName,
  SNAPSHOT_SUFFIX,
  TIME_INDEX_SUFFIX,
} from "./segment_name.ts";

/** Largest segment that is looked at: one read, on the event loop. */
export const TINY_BYTES = 16 * 1024;
/** Entries of a time index that are compared with the batches. */
const MAX_TIME_ENTRIES = 32;
/** Bits of a codec and of log append time. Transactions and what the cleaner writes ask for more than a look. */
const PLAIN_ATTRIBUTES = 0x0f;
/** What else may lie beside the files of the segment. */
const PLAIN_NAMES: ReadonlySet<string> = new Set(["partition.metadata", "leader-epoch-checkpoint"]);

/** What is known of the log from before the crash. */
export interface TinyRecoveryOptions {
  readonly recoveryPoint: number;
  readonly logStartOffset: number;
}

/**
 * Reads the log.
 * Returns: the headers of its batches, none for an empty one; null when it is not tiny, or not whole.
 * Errors: DiskError.
 */
export function recoverTiny(
  { segments, names, snapshotOffsets, hasTidied }: LogListing,
  { recoveryPoint, logStartOffset }: TinyRecoveryOptions,
): RecordBatchHeader[] | null {
  const [segment] = segments;
  if (hasTidied || segment === undefined || segments.length > 1) return null;
  if (segment.baseOffset !== 0 || segment.sizeBytes > TINY_BYTES) return null;
  if (![...names].every(isPlainName)) return null;
  const headers = readBatches(segment);
  if (headers === null) return null;
  const last = headers.at(-1);
  const endOffset = last === undefined ? 0 : last.baseOffset + last.lastOffsetDelta + 1;
  if (endOffset < Math.max(recoveryPoint, logStartOffset)) return null;
  // One past the end would be taken for that of other records once the log has grown again.
  if ((snapshotOffsets[0] ?? 0) > endOffset) return null;
  return areIndexesTrue(segment, headers, names) ? headers : null;
}

function isPlainName(name: string): boolean {
  return PLAIN_NAMES.has(name) || parseSegmentName(name, SNAPSHOT_SUFFIX) !== null ||
    [LOG_SUFFIX, OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX].some((suffix) =>
      parseSegmentName(name, suffix) === 0
    );
}

/** Null when there is anything but plain batches that follow each other. */
function readBatches(segment: Segment): RecordBatchHeader[] | null {
  const bytes = new Uint8Array(segment.sizeBytes);
  if (segment.read(0, bytes) < bytes.length) return null;
  const headers: RecordBatchHeader[] = [];
  let nextOffset = 0;
  try {
    for (let at = 0; at < bytes.length;) {
      if (bytes.length - at < RECORD_BATCH_OVERHEAD) return null;
      const sizeBytes = batchSizeBytes(bytes, at);
      if (sizeBytes < RECORD_BATCH_OVERHEAD || sizeBytes > bytes.length - at) return null;
      if (readMagic(bytes, at) !== MAGIC_V2 || !isCrcValid(bytes, at)) return null;
      const header = readBatchHeader(bytes, at);
      const { attributes, baseOffset, lastOffsetDelta, recordCount } = header;
      if ((attributes & ~PLAIN_ATTRIBUTES) !== 0 || baseOffset !== nextOffset) return null;
      if (lastOffsetDelta < 0 || recordCount !== lastOffsetDelta + 1) return null;
      headers.push(header);
      nextOffset = baseOffset + lastOffsetDelta + 1;
      at += sizeBytes;
    }
  } catch (failure) {
    if (!(failure instanceof WireError)) throw failure;
    return null;
  }
  return headers;
}

/** What a run before has stored must be of these batches. */
function areIndexesTrue(
  { offsetIndex, timeIndex }: Segment,
  headers: readonly RecordBatchHeader[],
  names: ReadonlySet<string>,
): boolean {
  const isThere = (path: string) => names.has(path.slice(path.lastIndexOf("/") + 1));
  for (const { file } of [offsetIndex, timeIndex]) {
    if (isThere(file.path) && file.isMisshapen()) return false;
  }
  if (offsetIndex.count > 0 || timeIndex.count > MAX_TIME_ENTRIES) return false;
  const largest = new Map<number, number>();
  let largestMs = -1;
  for (const { baseOffset, lastOffsetDelta, maxTimestamp } of headers) {
    if (maxTimestamp > largestMs) largest.set(baseOffset + lastOffsetDelta, maxTimestamp);
    largestMs = Math.max(largestMs, maxTimestamp);
  }
  let beforeMs = -1;
  for (let i = 0; i < timeIndex.count; i++) {
    const { timestampMs, offset } = timeIndex.entry(i);
    if (largest.get(offset) !== timestampMs || timestampMs <= beforeMs) return false;
    beforeMs = timestampMs;
  }
  return true;
}
