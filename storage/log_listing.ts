/**
 * What lies in a partition's directory: the segments, the producer snapshots, and what an interrupted write,
 * deletion or cleaning has left behind.
 */

import type { FileCache } from "./file_cache.ts";
import type { Clock, Disk } from "./platform.ts";
import { Segment } from "./segment.ts";
import {
  CLEANED_SUFFIX,
  DELETED_SUFFIX,
  LOG_SUFFIX,
  OFFSET_INDEX_SUFFIX,
  parseSegmentName,
  segmentPath,
  SNAPSHOT_SUFFIX,
  SWAP_SUFFIX,
  TEMPORARY_SUFFIX,
  TIME_INDEX_SUFFIX,
  TRANSACTION_INDEX_SUFFIX,
} from "./segment_name.ts";
import { finishSwaps } from "./segment_swap.ts";

const INDEX_SUFFIXES = [OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX];
/** Snapshots kept whatever the segments are: a recovery point on disk may not have passed the newest yet. */
const NEWEST_SNAPSHOTS_KEPT = 2;

/** Where to look, and what segments are made from. */
export interface ListingOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly files: FileCache;
  readonly directory: string;
}

/** The files of a log, as the directory names them. */
export interface LogListing {
  /** From the oldest to the one that was active. */
  readonly segments: Segment[];
  /** Newest first. */
  readonly snapshotOffsets: readonly number[];
  /** Every file that is there. */
  readonly names: ReadonlySet<string>;
  /** Files whose deletion was under way. */
  readonly deleted: readonly string[];
  /** True when names were changed, which the directory's sync makes stable. */
  readonly hasTidied: boolean;
}

/** Tidies the directory and lists the log. Errors: as `tidyLog`. */
export function tidyAndListLog(options: ListingOptions): LogListing {
  const names = namesIn(options.disk, options.directory);
  const isTidy = !tidyLog(options, names);
  return isTidy ? listed(options, names) : { ...listLog(options), hasTidied: true };
}

/** Lists the log. Errors: DiskError. */
export function listLog(options: ListingOptions): LogListing {
  return listed(options, namesIn(options.disk, options.directory));
}

function listed(options: ListingOptions, names: ReadonlySet<string>): LogListing {
  const { clock, disk, directory, files } = options;
  const createdMs = clock.wallMs();
  return {
    segments: offsetsIn(names, LOG_SUFFIX).sort((a, b) => a - b)
      .map((baseOffset) => new Segment({ disk, directory, files, baseOffset, createdMs, names })),
    snapshotOffsets: offsetsIn(names, SNAPSHOT_SUFFIX).sort((a, b) => b - a),
    names,
    deleted: [...names].filter((name) => name.endsWith(DELETED_SUFFIX)).map((name) =>
      `${directory}/${name}`
    ),
    hasTidied: false,
  };
}

/**
 * Finishes the swap of a cleaned segment that was interrupted, and removes what nobody had finished writing.
 * Returns: true when names have changed, which the directory's sync makes stable.
 * Errors: DiskError; WireError when a segment that is to be swapped in cannot be read.
 */
function tidyLog(
  { disk, directory }: Pick<ListingOptions, "disk" | "directory">,
  found: ReadonlySet<string>,
): boolean {
  let names = found;
  const isSwapping = [...names].some((name) =>
    name.endsWith(CLEANED_SUFFIX) || name.endsWith(SWAP_SUFFIX)
  );
  if (isSwapping && finishSwaps(disk, directory)) names = namesIn(disk, directory);
  const bases = new Set(offsetsIn(names, LOG_SUFFIX));
  const orphans = INDEX_SUFFIXES.flatMap((suffix) =>
    offsetsIn(names, suffix).filter((base) => !bases.has(base))
      .map((base) => segmentPath(directory, base, suffix))
  );
  const unfinished = [...names].filter((name) => name.endsWith(TEMPORARY_SUFFIX))
    .map((name) => `${directory}/${name}`);
  for (const path of [...orphans, ...unfinished]) disk.remove(path);
  return isSwapping || orphans.length > 0 || unfinished.length > 0;
}

function namesIn(disk: Disk, directory: string): Set<string> {
  return new Set(disk.names(directory));
}

function offsetsIn(names: ReadonlySet<string>, suffix: string): number[] {
  const offsets: number[] = [];
  for (const name of names) {
    const at = parseSegmentName(name, suffix);
    if (at !== null) offsets.push(at);
  }
  return offsets;
}

/**
 * Snapshots that are of no use: those of the segments' starts are kept, for these may become the first, and
 * the newest ones. Shape: `snapshotOffsets` newest first.
 */
export function straySnapshots(
  snapshotOffsets: readonly number[],
  segments: readonly Segment[],
): number[] {
  const bases = new Set(segments.map(({ baseOffset }) => baseOffset));
  return snapshotOffsets.slice(NEWEST_SNAPSHOTS_KEPT).filter((at) => !bases.has(at));
}
