/**
 * Puts a cleaned segment in the place of those that it was made from, so that a crash at any moment leaves
 * the old records or the new ones, whole.
 *
 *     1  .cleaned, all of it and its name on stable storage    a start removes it: nothing has happened
 *     2  .cleaned → .swap, the .log last                       a start removes both while a .cleaned is left
 *     3  directory synced                                      from here on a start finishes the swap
 *     4  old files → .deleted                                  what is in the swap need not be here any more
 *     5  .swap → final, the .log first                         a start renames what is left
 *     6  directory synced                                      .deleted files may go
 *
 * The `.log` is renamed last in 2 and first in 5, so that while it ends in `.swap` all of its indexes do:
 * where there is a `.log.swap`, the swap is not done, and its last batch says up to where. Without 3 the
 * old names could go and the new ones get lost. Every old segment begins at or after the base offset of the
 * new one and before its end, which is why the cleaner never drops the last batch of a segment.
 *
 * Steps 2, 4 and 5 are renames, and those of 4 and 5 happen in one turn of the loop. One that fails (a full
 * disk may have no room for a name) is undone with those before it.
 *
 * Source: Kafka's LocalLog.replaceSegments, LogLoader; each finishes what the other has begun.
 */

import { WireError } from "../protocol/bytes.ts";
import {
  batchSizeBytes,
  MAGIC_V2,
  readLastOffset,
  readMagic,
  RECORD_BATCH_OVERHEAD,
} from "../protocol/record_batch.ts";
import { FileCache } from "./file_cache.ts";
import { OffsetIndex } from "./offset_index.ts";
import type { Disk } from "./platform.ts";
import {
  CLEANED_SUFFIX,
  DELETED_SUFFIX,
  LOG_SUFFIX,
  OFFSET_INDEX_SUFFIX,
  parseSegmentName,
  segmentPath,
  SWAP_SUFFIX,
  TIME_INDEX_SUFFIX,
  TRANSACTION_INDEX_SUFFIX,
} from "./segment_name.ts";

const INDEX_SUFFIXES = [OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX];
const SUFFIXES = [LOG_SUFFIX, ...INDEX_SUFFIXES];

/** Renames that can be taken back together. */
export class Renames {
  readonly #disk: Disk;
  readonly #done: (readonly [from: string, to: string])[] = [];

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  /** Renames a file. Errors: DiskError. */
  rename(from: string, to: string): void {
    this.#disk.rename(from, to);
    this.#done.push([from, to]);
  }

  /** Gives all files their old names, the last that was renamed first. Errors: DiskError. */
  undo(): void {
    for (let last = this.#done.pop(); last !== undefined; last = this.#done.pop()) {
      this.#disk.rename(last[1], last[0]);
    }
  }

  /** Renames a file to a name that ends in `.deleted` and is free. Returns: that name. Errors: DiskError. */
  markDeleted(path: string): string {
    // One of the same name may wait for its removal: to replace it would free it now, on the event loop.
    let target = path + DELETED_SUFFIX;
    for (let i = 1; this.#disk.exists(target); i++) target = `${path}.${i}${DELETED_SUFFIX}`;
    this.rename(path, target);
    return target;
  }
}

/** Step 2: the cleaned files of a segment are about to replace others. Errors: DiskError. */
export function renameCleaned(renames: Renames, disk: Disk, path: SegmentPaths): void {
  moveAll(renames, disk, path, [...INDEX_SUFFIXES, LOG_SUFFIX], [CLEANED_SUFFIX, SWAP_SUFFIX]);
}

/** Step 5: they take their place. Errors: DiskError. */
export function renameSwapped(renames: Renames, disk: Disk, path: SegmentPaths): void {
  moveAll(renames, disk, path, SUFFIXES, [SWAP_SUFFIX, ""]);
}

/** Where the files of a segment lie. */
export interface SegmentPaths {
  readonly directory: string;
  readonly baseOffset: number;
}

function moveAll(
  renames: Renames,
  disk: Disk,
  { directory, baseOffset }: SegmentPaths,
  suffixes: readonly string[],
  [from, to]: readonly [string, string],
): void {
  for (const suffix of suffixes) {
    const source = segmentPath(directory, baseOffset, suffix, from);
    // Most segments have no transaction index.
    if (suffix === TRANSACTION_INDEX_SUFFIX && !disk.exists(source)) continue;
    renames.rename(source, segmentPath(directory, baseOffset, suffix, to));
  }
}

/**
 * At a start: finishes the swap that a crash has interrupted, or takes it back where it had not come to
 * step 3. Returns: true when names have changed, which the directory's sync makes stable.
 * Errors: DiskError; WireError when the new segment cannot be read, of which nothing is touched then.
 */
export function finishSwaps(disk: Disk, directory: string): boolean {
  const names = disk.list(directory).map(({ name }) => name);
  const cleaned = basesOf(names, CLEANED_SUFFIX);
  const swapped = basesOf(names, SWAP_SUFFIX);
  if (cleaned.length === 0 && swapped.length === 0) return false;
  // Kafka's rule, which covers a segment that it was splitting into several as well.
  const firstCleaned = Math.min(...cleaned);
  for (const baseOffset of swapped) {
    if (baseOffset < firstCleaned) finishSwap(disk, directory, baseOffset, names);
    else removeAll(disk, directory, names, (name) => isOf(name, baseOffset, SWAP_SUFFIX));
  }
  removeAll(disk, directory, names, (name) => name.endsWith(CLEANED_SUFFIX));
  return true;
}

function basesOf(names: readonly string[], state: string): number[] {
  const bases = new Set<number>();
  for (const name of names) {
    for (const suffix of SUFFIXES) {
      const base = parseSegmentName(name, suffix + state);
      if (base !== null) bases.add(base);
    }
  }
  return [...bases].sort((a, b) => a - b);
}

function isOf(name: string, baseOffset: number, state: string): boolean {
  return SUFFIXES.some((suffix) => parseSegmentName(name, suffix + state) === baseOffset);
}

function removeAll(
  disk: Disk,
  directory: string,
  names: readonly string[],
  isDoomed: (name: string) => boolean,
): void {
  for (const name of names) {
    const path = `${directory}/${name}`;
    if (isDoomed(name) && disk.exists(path)) disk.remove(path);
  }
}

function finishSwap(
  disk: Disk,
  directory: string,
  baseOffset: number,
  names: readonly string[],
): void {
  if (disk.exists(segmentPath(directory, baseOffset, LOG_SUFFIX, SWAP_SUFFIX))) {
    const endOffset = endOffsetOfSwap(disk, directory, baseOffset);
    removeAll(disk, directory, names, (name) =>
      SUFFIXES.some((suffix) => {
        const base = parseSegmentName(name, suffix);
        return base !== null && base >= baseOffset && base < endOffset;
      }));
  }
  for (const suffix of SUFFIXES) {
    const from = segmentPath(directory, baseOffset, suffix, SWAP_SUFFIX);
    if (disk.exists(from)) disk.rename(from, segmentPath(directory, baseOffset, suffix));
  }
}

/** The offset after the last batch of a segment that is to be swapped in. */
function endOffsetOfSwap(disk: Disk, directory: string, baseOffset: number): number {
  const files = new FileCache(disk, 2);
  const path = segmentPath(directory, baseOffset, LOG_SUFFIX, SWAP_SUFFIX);
  try {
    const options = { directory, baseOffset, disk, files, suffix: SWAP_SUFFIX };
    const index = new OffsetIndex(options);
    const { count } = index;
    let position = count === 0 ? 0 : index.entry(count - 1).position;
    const file = files.get(path);
    const header = new Uint8Array(RECORD_BATCH_OVERHEAD);
    let endOffset = baseOffset;
    while (position < file.sizeBytes) {
      const isHeader = file.read(position, header) === header.length &&
        readMagic(header, 0) === MAGIC_V2 && batchSizeBytes(header, 0) >= header.length;
      if (!isHeader) {
        throw new WireError(`Cannot read ${path}: no batch at byte ${position}`);
      }
      endOffset = readLastOffset(header, 0) + 1;
      position += batchSizeBytes(header, 0);
    }
    return endOffset;
  } finally {
    files.close();
  }
}
