/**
 * Names of the files in a partition's directory.
 *
 * Everything that belongs to a segment is named after the offset of its first record, in 20 digits, so
 * that names sort like offsets. Source: Kafka's LogFileUtils.
 */

import { type Offset, offset } from "../protocol/types.ts";

/** Suffix of the file that holds the batches. */
export const LOG_SUFFIX = ".log";
/** Suffix of the sparse index from offset to position. */
export const OFFSET_INDEX_SUFFIX = ".index";
/** Suffix of the sparse index from timestamp to offset. */
export const TIME_INDEX_SUFFIX = ".timeindex";
/** Suffix of the list of aborted transactions. */
export const TRANSACTION_INDEX_SUFFIX = ".txnindex";
/** Suffix of a producer state snapshot; the name is the offset up to which it holds. */
export const SNAPSHOT_SUFFIX = ".snapshot";
/** Suffix added to files that wait for their removal. */
export const DELETED_SUFFIX = ".deleted";
/** Suffix of a file that is being written anew and not yet renamed. */
export const TEMPORARY_SUFFIX = ".tmp";
/** Suffix added by the cleaner to files that it had not finished. */
export const CLEANED_SUFFIX = ".cleaned";
/** Suffix added by the cleaner to finished files that are to replace those of the log. */
export const SWAP_SUFFIX = ".swap";

const DIGITS = 20;

/** Path of one of the files of a segment; `state` is what follows its name while it is not of the log. */
export function segmentPath(
  directory: string,
  baseOffset: number,
  suffix: string,
  state = "",
): string {
  return `${directory}/${String(baseOffset).padStart(DIGITS, "0")}${suffix}${state}`;
}

/** The offset in a file's name, or null when the name is not 20 digits and `suffix`. */
export function parseSegmentName(name: string, suffix: string): Offset | null {
  if (name.length !== DIGITS + suffix.length || !name.endsWith(suffix)) return null;
  const digits = name.slice(0, DIGITS);
  if (!/^\d+$/.test(digits)) return null;
  const value = Number(digits);
  return Number.isSafeInteger(value) ? offset(value) : null;
}
