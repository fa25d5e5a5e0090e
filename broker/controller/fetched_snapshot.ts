/**
 * Snapshots that go from a leader to a replica in pieces: reading a piece on one side, and on the other a file
 * that grows under another name until it is whole, checked and on stable storage.
 *
 *     00000000000000005000-0000000002.checkpoint.part ──all pieces, checked, synced──→ ….checkpoint
 *
 * Source: KIP-630.
 */

import { WireError } from "../../protocol/bytes.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { type Disk, DiskError } from "../../storage/platform.ts";
import { type MetadataBatch, replaySnapshot } from "./metadata_replay.ts";
import type { OffsetAndEpoch } from "./raft_quorum.ts";
import type { VoterSet } from "./raft_voters.ts";
import { PART_SUFFIX, snapshotPath } from "./snapshot_files.ts";

/** Of one answer, whatever a replica asks for. */
const MAX_PIECE_BYTES = 8 * 1024 * 1024;

/** What is asked of a snapshot. */
export interface SnapshotPieceRequest {
  readonly snapshotId: OffsetAndEpoch;
  readonly position: number;
  readonly maxBytes: number;
}

/** A piece of a snapshot, and how large the whole is. */
export interface SnapshotPiece {
  readonly sizeBytes: number;
  readonly bytes: Uint8Array;
}

/** Reads a piece. Errors: SNAPSHOT_NOT_FOUND, POSITION_OUT_OF_RANGE, KAFKA_STORAGE_ERROR. */
export function readSnapshotPiece(
  disk: Disk,
  directory: string,
  { snapshotId, position, maxBytes }: SnapshotPieceRequest,
): SnapshotPiece | { readonly error: ErrorCode } {
  const path = snapshotPath(directory, snapshotId);
  // One that a directory was formatted with is no state of the log.
  if (snapshotId.offset <= 0 || !disk.exists(path)) return { error: ErrorCode.SNAPSHOT_NOT_FOUND };
  try {
    const file = disk.open(path, "read");
    try {
      const { sizeBytes } = file;
      if (position < 0 || position >= sizeBytes) return { error: ErrorCode.POSITION_OUT_OF_RANGE };
      const byteCount = Math.min(maxBytes, MAX_PIECE_BYTES, sizeBytes - position);
      const bytes = new Uint8Array(Math.max(byteCount, 0));
      file.read(position, bytes);
      return { sizeBytes, bytes };
    } finally {
      file.close();
    }
  } catch (failure) {
    if (!(failure instanceof DiskError)) throw failure;
    return { error: ErrorCode.KAFKA_STORAGE_ERROR };
  }
}

/** Takes a piece in. Position 0 begins the file anew. Errors: DiskError. */
export function writeSnapshotPiece(
  disk: Disk,
  directory: string,
  piece: {
    readonly id: OffsetAndEpoch;
    readonly position: number;
    readonly bytes: Uint8Array;
  },
): void {
  const file = disk.open(snapshotPath(directory, piece.id) + PART_SUFFIX, "write");
  try {
    if (piece.position === 0) file.truncate(0);
    file.write(piece.position, piece.bytes);
  } finally {
    file.close();
  }
}

/** What a whole snapshot says. */
export interface InstalledSnapshot {
  readonly batches: readonly MetadataBatch[];
  /** Null when it names none. */
  readonly voters: VoterSet | null;
  readonly kraftVersion: number;
}

/**
 * Checks the file whose pieces are all there, and gives it its name.
 * Returns: what it says, when it is on stable storage; null when it is damaged, and gone. Errors: DiskError.
 */
export async function installSnapshot(
  disk: Disk,
  directory: string,
  id: OffsetAndEpoch,
): Promise<InstalledSnapshot | null> {
  const path = snapshotPath(directory, id);
  const part = path + PART_SUFFIX;
  const batches: MetadataBatch[] = [];
  let voters: VoterSet | null = null;
  let kraftVersion = 0;
  try {
    const snapshot = { ...id, path: part };
    for (const change of replaySnapshot(disk, snapshot, (batch) => batches.push(batch))) {
      if (change.kind === "voters") voters = change.voters;
      else kraftVersion = change.version;
    }
  } catch (failure) {
    const isDamaged = failure instanceof WireError ||
      (failure instanceof DiskError && failure.code === "EIO");
    if (!isDamaged) throw failure;
    disk.remove(part);
    return null;
  }
  const file = disk.open(part, "write");
  try {
    await file.sync();
  } finally {
    file.close();
  }
  disk.rename(part, path);
  await disk.syncDirectory(directory);
  return { batches, voters, kraftVersion };
}
