/**
 * Small files: written new, synced, renamed, and their directory synced, so that a crash leaves the old
 * file or the new one, whole.
 *
 * Kafka's checkpoints are text: a version, a count, then one line an entry.
 *
 *     0
 *     2
 *     orders 0 1204
 *     orders 1 998
 *
 * A file that does not read like this is damage: it is reported by a `DiskError`, never taken for empty.
 */

import { type Disk, DiskError, type DiskFile } from "./platform.ts";
import { TEMPORARY_SUFFIX } from "./segment_name.ts";

const CHECKPOINT_VERSION = "0";
/** A checkpoint of a million partitions is some 50 MB; more than this is damage. */
const MAX_SMALL_FILE_BYTES = 256 * 1024 * 1024;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The directory that a path lies in. */
export function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : slash === 0 ? "/" : path.slice(0, slash);
}

/** Replaces `path` by `bytes`. Returns: when the new content is on stable storage. Errors: DiskError. */
export async function writeFileAtomically(
  disk: Disk,
  path: string,
  bytes: Uint8Array,
): Promise<void> {
  await writeFileUnderNewName(disk, path, bytes);
  await disk.syncDirectory(parentOf(path));
}

/** The same without the directory's sync, for callers that sync it once for several files. */
export async function writeFileUnderNewName(
  disk: Disk,
  path: string,
  bytes: Uint8Array,
): Promise<void> {
  const temporary = path + TEMPORARY_SUFFIX;
  const file = disk.open(temporary, "write");
  try {
    if (file.sizeBytes > 0) file.truncate(0);
    file.write(0, bytes);
    await file.sync();
  } finally {
    file.close();
  }
  disk.rename(temporary, path);
}

function openIfThere(disk: Disk, path: string): DiskFile | null {
  try {
    return disk.open(path, "read");
  } catch (failure) {
    if (!(failure instanceof DiskError) || failure.code !== "ENOENT") throw failure;
    return null;
  }
}

/** The whole content of a small file, or null when there is none. Errors: DiskError. */
export function readSmallFile(disk: Disk, path: string): Uint8Array | null {
  const file = openIfThere(disk, path);
  if (file === null) return null;
  try {
    if (file.sizeBytes > MAX_SMALL_FILE_BYTES) {
      throw new DiskError(`Cannot read ${path}: ${file.sizeBytes} bytes are too many`, "EFBIG");
    }
    const bytes = new Uint8Array(file.sizeBytes);
    return bytes.subarray(0, file.read(0, bytes));
  } finally {
    file.close();
  }
}

/** Text of a small file, or null when there is none. */
export function readSmallText(disk: Disk, path: string): string | null {
  const bytes = readSmallFile(disk, path);
  return bytes === null ? null : decoder.decode(bytes);
}

/** Bytes of a text in UTF-8. */
export function textBytes(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Kafka's checkpoint text of the given lines. */
export function formatCheckpoint(lines: readonly string[]): string {
  return `${CHECKPOINT_VERSION}\n${lines.length}\n${lines.map((line) => `${line}\n`).join("")}`;
}

/** The entries of a checkpoint as lists of words. Errors: DiskError when it is damaged. */
export function parseCheckpoint(text: string, path: string, wordCount: number): string[][] {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  const [version, count, ...entries] = lines;
  if (version !== CHECKPOINT_VERSION) {
    throw damaged(path, `its version is "${version ?? ""}", not ${CHECKPOINT_VERSION}`);
  }
  if (String(entries.length) !== count) {
    throw damaged(path, `it announces ${count ?? "no"} entries and has ${entries.length}`);
  }
  return entries.map((entry) => {
    const words = entry.split(" ");
    if (words.length !== wordCount) throw damaged(path, `"${entry}" has not ${wordCount} words`);
    return words;
  });
}

/** A whole number of a checkpoint. Errors: DiskError when it is none. */
export function checkpointNumber(word: string, path: string): number {
  const value = Number(word);
  if (!/^-?\d+$/.test(word) || !Number.isSafeInteger(value)) {
    throw damaged(path, `"${word}" is not a number`);
  }
  return value;
}

function damaged(path: string, found: string): DiskError {
  return new DiskError(`Cannot read checkpoint ${path}: ${found}`, "EBADMSG");
}

/** Offsets by `topic-partition`, as the checkpoints of a log directory hold them. */
export type OffsetCheckpoint = Map<string, number>;

/** Reads an offset checkpoint; empty when there is none. Keys are `topic-partition`. */
export function readOffsetCheckpoint(disk: Disk, path: string): OffsetCheckpoint {
  const offsets: OffsetCheckpoint = new Map();
  const text = readSmallText(disk, path);
  // Apache Kafka makes the file before it has anything to write into it.
  if (text === null || text === "") return offsets;
  for (const [topic, partition, value] of parseCheckpoint(text, path, 3)) {
    offsets.set(`${topic}-${partition}`, checkpointNumber(value!, path));
  }
  return offsets;
}

/** Text of an offset checkpoint. */
export function formatOffsetCheckpoint(offsets: ReadonlyMap<string, number>): string {
  const lines: string[] = [];
  for (const [key, value] of offsets) {
    const dash = key.lastIndexOf("-");
    lines.push(`${key.slice(0, dash)} ${key.slice(dash + 1)} ${value}`);
  }
  return formatCheckpoint(lines);
}
