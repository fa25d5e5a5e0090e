/**
 * Snapshots of the metadata log: the files, and how one is written.
 *
 *     00000000000000005000-0000000002.checkpoint
 *     └ first offset that is not in it   └ epoch of the record before it
 *
 *     control batch   SnapshotHeader, and what the quorum is where the log says it
 *     data batches    the records of an image, with offsets that count up from the header's on
 *     control batch   SnapshotFooter, without which the file is not believed
 *
 * A snapshot is written under another name, synced, renamed, and its directory synced: a crash leaves the whole
 * file, or one that the next start removes.
 *
 * Source: KIP-630, KIP-853 (KRaftVersion and Voters after the header).
 */

import assert from "node:assert/strict";
import { buildControlBatch, type NewControlRecord } from "../../protocol/control_records.ts";
import { buildBatch } from "../../protocol/records.ts";
import type { TimestampMs } from "../../protocol/types.ts";
import type { Clock, Disk, DiskFile } from "../../storage/platform.ts";
import { encodeMetadataRecord, type MetadataRecord } from "./metadata_records.ts";
import type { OffsetAndEpoch } from "./raft_quorum.ts";

const SNAPSHOT_NAME = /^(\d{20})-(\d{10})\.checkpoint$/;
const PART_NAME = /\.checkpoint\.part$/;
/** What is not whole yet has this behind its name. */
export const PART_SUFFIX = ".part";
/** Of records in one batch, which is written and read in one turn of the loop: about a millisecond. */
const BATCH_BYTES = 64 * 1024;
const OFFSET_DIGITS = 20;
const EPOCH_DIGITS = 10;

/** A snapshot: the first offset that is not in it, and the epoch of the last record that is. */
export interface SnapshotFile extends OffsetAndEpoch {
  readonly path: string;
}

/** What is to be in a snapshot. */
export interface NewSnapshot {
  readonly id: OffsetAndEpoch;
  /** Of the last record that is in it. Units: ms. */
  readonly lastTimestampMs: TimestampMs;
  /** What the quorum is at that offset, where the log says so. */
  readonly quorum: readonly NewControlRecord[];
  readonly records: Iterable<MetadataRecord>;
}

/** Where snapshots lie. */
export interface SnapshotPlace {
  readonly disk: Disk;
  readonly clock: Clock;
  /** The directory of the metadata log. */
  readonly directory: string;
}

/** Where a snapshot lies. */
export function snapshotPath(directory: string, { offset, epoch }: OffsetAndEpoch): string {
  const digits = (value: number, count: number) => String(value).padStart(count, "0");
  return `${directory}/${digits(offset, OFFSET_DIGITS)}-${digits(epoch, EPOCH_DIGITS)}.checkpoint`;
}

/** The snapshots in a directory, the oldest first. Errors: DiskError. */
export function listSnapshots(disk: Disk, directory: string): SnapshotFile[] {
  const found: SnapshotFile[] = [];
  for (const name of disk.names(directory)) {
    const match = SNAPSHOT_NAME.exec(name);
    if (match === null) continue;
    const [, offset, epoch] = match;
    found.push({ path: `${directory}/${name}`, offset: Number(offset), epoch: Number(epoch) });
  }
  return found.sort((a, b) => a.offset - b.offset || a.epoch - b.epoch);
}

/** Removes what a crash has left of snapshots that were being written. Errors: DiskError. */
export function removeSnapshotParts(disk: Disk, directory: string): void {
  for (const name of disk.names(directory)) {
    if (PART_NAME.test(name)) disk.remove(`${directory}/${name}`);
  }
}

/**
 * Writes a snapshot, with pauses.
 *
 * Returns: the file, when it is on stable storage; null when `signal` was aborted before.
 * Errors: DiskError; no file is left then, or one that `removeSnapshotParts` removes.
 */
export async function writeSnapshot(
  { disk, clock, directory }: SnapshotPlace,
  snapshot: NewSnapshot,
  signal: AbortSignal,
): Promise<SnapshotFile | null> {
  const path = snapshotPath(directory, snapshot.id);
  const part = path + PART_SUFFIX;
  const file = disk.open(part, "write");
  let isWhole = false;
  try {
    file.truncate(0);
    const writer = new SnapshotWriter(file, snapshot);
    for (const _ of writer.write()) {
      await clock.sleep(0);
      if (signal.aborted) return null;
    }
    await file.sync();
    isWhole = true;
  } finally {
    file.close();
    if (!isWhole) removeQuietly(disk, part);
  }
  disk.rename(part, path);
  await disk.syncDirectory(directory);
  return { ...snapshot.id, path };
}

/** What is left is removed by the next start: the failure that led here is what is to be told. */
function removeQuietly(disk: Disk, path: string): void {
  try {
    disk.remove(path);
  } catch {
    // See above.
  }
}

/** Turns records into the batches of a file. */
class SnapshotWriter {
  readonly #file: DiskFile;
  readonly #snapshot: NewSnapshot;
  #offset = 0;
  #values: Uint8Array[] = [];
  #valueBytes = 0;

  constructor(file: DiskFile, snapshot: NewSnapshot) {
    this.#file = file;
    this.#snapshot = snapshot;
  }

  /** Yields after each batch, so that others have a turn. */
  *write(): Generator<void, void, void> {
    const { lastTimestampMs, quorum, records } = this.#snapshot;
    const header = { version: 0, lastContainedLogTimestamp: lastTimestampMs };
    this.#writeControl([{ type: "snapshotHeader", message: header }, ...quorum]);
    for (const record of records) {
      const value = encodeMetadataRecord(record);
      this.#values.push(value);
      this.#valueBytes += value.length;
      if (this.#valueBytes < BATCH_BYTES) continue;
      this.#writeData();
      yield;
    }
    if (this.#values.length > 0) this.#writeData();
    this.#writeControl([{ type: "snapshotFooter", message: { version: 0 } }]);
  }

  #writeControl(records: readonly NewControlRecord[]): void {
    this.#append(
      buildControlBatch({
        records,
        baseOffset: this.#offset,
        partitionLeaderEpoch: this.#snapshot.id.epoch,
        timestamp: this.#snapshot.lastTimestampMs,
      }),
      records.length,
    );
  }

  #writeData(): void {
    const { lastTimestampMs, id } = this.#snapshot;
    this.#append(
      buildBatch({
        records: this.#values.map((value) => ({ key: null, value, timestamp: lastTimestampMs })),
        baseOffset: this.#offset,
        partitionLeaderEpoch: id.epoch,
      }),
      this.#values.length,
    );
    this.#values = [];
    this.#valueBytes = 0;
  }

  #append(batch: Uint8Array, recordCount: number): void {
    assert(recordCount > 0);
    this.#file.write(this.#file.sizeBytes, batch);
    this.#offset += recordCount;
  }
}
