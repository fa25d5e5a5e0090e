/**
 * Reads the metadata log from its start, in bounded memory: the newest snapshot where the start of the log
 * is gone, then the log's own batches.
 *
 *     00000000000000005000-0000000002.checkpoint     what records before offset 5000 came to
 *     00000000000000003000.log …                     records; those before 5000 are passed over
 *
 * We write no snapshots. Apache Kafka does, and deletes what lies before them, so its directories start
 * with one. A snapshot is a file of record batches with offsets of its own, between a header and a footer;
 * without the footer it is incomplete and not believed.
 *
 * Source: KIP-630 (snapshots), KIP-853 (voters in snapshots and in the log).
 */

import { WireError } from "../../protocol/bytes.ts";
import { decodeControlRecord } from "../../protocol/control_records.ts";
import {
  batches,
  batchSizeBytes,
  isControl,
  isCrcValid,
  MAGIC_V2,
  readBatchHeader,
  readMagic,
  RECORD_BATCH_OVERHEAD,
} from "../../protocol/record_batch.ts";
import { readRecords } from "../../protocol/records.ts";
import {
  type LeaderEpoch,
  leaderEpoch,
  type Offset,
  offset,
  type TimestampMs,
  timestampMs,
} from "../../protocol/types.ts";
import type { Log } from "../../storage/log.ts";
import { type Disk, DiskError, type DiskFile } from "../../storage/platform.ts";
import { type DecodedMetadataRecord, decodeMetadataRecord } from "./metadata_records.ts";

const SNAPSHOT_NAME = /^(\d{20})-(\d{10})\.checkpoint$/;
/** Bytes that one read of the replay asks for; a larger batch is read alone. */
const REPLAY_READ_BYTES = 512 * 1024;
/** A batch of metadata is bounded by the controller's bound on records, far below this. */
export const MAX_METADATA_BATCH_BYTES = 64 * 1024 * 1024;

/** Records that were committed together. */
export interface MetadataBatch {
  readonly baseOffset: Offset;
  readonly lastOffset: Offset;
  readonly leaderEpoch: LeaderEpoch;
  readonly timestampMs: TimestampMs;
  readonly records: readonly DecodedMetadataRecord[];
}

/** Where the metadata lies, and who takes it. */
export interface ReplayOptions {
  readonly disk: Disk;
  readonly log: Log;
  /** Called for each batch, in order. */
  readonly handleCommit: (batch: MetadataBatch) => void;
}

interface Snapshot {
  readonly path: string;
  /** The first offset that is not in it. */
  readonly endOffset: number;
  readonly leaderEpoch: number;
}

/**
 * Hands over everything that the metadata log holds.
 *
 * Returns: node ids of the voters that were named last, by a snapshot or in the log; null for nobody.
 * Errors: DiskError, also for a damaged batch; WireError when a record cannot be read.
 */
export function replayMetadata({ disk, log, handleCommit }: ReplayOptions): number[] | null {
  let voterIds: number[] | null = null;
  const noteControl = (bytes: Uint8Array, at: number) => {
    voterIds = votersIn(bytes, at) ?? voterIds;
  };
  const snapshot = newestSnapshot(disk, log);
  let position: number = log.logStartOffset;
  if (snapshot !== null) {
    const isNeeded = position > 0;
    readSnapshot(disk, snapshot, noteControl, isNeeded ? handleCommit : () => {});
    if (isNeeded) position = snapshot.endOffset;
  } else if (position > 0) {
    throw unreadable(
      `it starts at offset ${position}, and no snapshot holds what lies before it; restore its ` +
        "first segments or its snapshots from a backup",
    );
  }
  readLog(log, position, noteControl, handleCommit);
  return voterIds;
}

/** The newest snapshot that the log goes on from. */
function newestSnapshot(disk: Disk, log: Log): Snapshot | null {
  let newest: Snapshot | null = null;
  for (const { name } of disk.list(log.directory)) {
    const match = SNAPSHOT_NAME.exec(name);
    if (match === null) continue;
    const endOffset = Number(match[1]);
    if (endOffset < log.logStartOffset || endOffset > log.endOffset) continue;
    if (newest !== null && newest.endOffset >= endOffset) continue;
    newest = { path: `${log.directory}/${name}`, endOffset, leaderEpoch: Number(match[2]) };
  }
  return newest;
}

function readSnapshot(
  disk: Disk,
  snapshot: Snapshot,
  noteControl: (bytes: Uint8Array, at: number) => void,
  handleCommit: (batch: MetadataBatch) => void,
): void {
  const file = disk.open(snapshot.path, "read");
  let isComplete = false;
  try {
    for (let position = 0; position < file.sizeBytes;) {
      const bytes = batchOf(file, position);
      const { attributes } = readBatchHeader(bytes, 0);
      if (isControl(attributes)) {
        noteControl(bytes, 0);
        isComplete = isFooter(bytes);
      } else {
        const lastOffset = offset(snapshot.endOffset - 1);
        const epoch = leaderEpoch(snapshot.leaderEpoch);
        // Offsets within a snapshot count its own records: what is known is known as of its end.
        handleCommit({
          ...decodeBatch(bytes, 0),
          baseOffset: lastOffset,
          lastOffset,
          leaderEpoch: epoch,
        });
      }
      position += bytes.length;
    }
  } finally {
    file.close();
  }
  if (!isComplete) throw unreadable(`${snapshot.path} is incomplete; restore it from a backup`);
}

/** The batch at `position` of a snapshot. */
function batchOf(file: DiskFile, position: number): Uint8Array {
  const head = new Uint8Array(RECORD_BATCH_OVERHEAD);
  const isWhole = file.read(position, head) === RECORD_BATCH_OVERHEAD &&
    readMagic(head, 0) === MAGIC_V2;
  const sizeBytes = isWhole ? batchSizeBytes(head, 0) : 0;
  if (
    sizeBytes < RECORD_BATCH_OVERHEAD || sizeBytes > MAX_METADATA_BATCH_BYTES ||
    position + sizeBytes > file.sizeBytes
  ) throw damaged(file.path, position);
  const bytes = new Uint8Array(sizeBytes);
  file.read(position, bytes);
  if (!isCrcValid(bytes, 0)) throw damaged(file.path, position);
  return bytes;
}

function damaged(path: string, position: number): DiskError {
  return unreadable(`${path} is damaged at byte ${position}; restore it from a backup`);
}

function readLog(
  log: Log,
  from: number,
  noteControl: (bytes: Uint8Array, at: number) => void,
  handleCommit: (batch: MetadataBatch) => void,
): void {
  const end = log.syncedOffset;
  let position = from;
  while (position < end) {
    const read = log.read(offset(position), {
      maxBytes: REPLAY_READ_BYTES,
      minOneMessage: true,
      upToOffset: end,
    });
    if (!("records" in read)) throw unreadable(read.message);
    const before = position;
    for (const at of batches(read.records)) {
      const header = readBatchHeader(read.records, at);
      position = header.baseOffset + header.lastOffsetDelta + 1;
      if (!isCrcValid(read.records, at)) {
        throw unreadable(
          `the batch at offset ${header.baseOffset} is damaged, its checksum is wrong; restore the ` +
            "directory of that log from a backup",
        );
      }
      if (isControl(header.attributes)) noteControl(read.records, at);
      else handleCommit(decodeBatch(read.records, at));
    }
    read.release();
    if (position === before) {
      throw unreadable(`no batch at offset ${position}, before the end ${end}`);
    }
  }
}

function unreadable(found: string): DiskError {
  return new DiskError(`Cannot replay the metadata log: ${found}`, "EIO");
}

/** The batch at `position`, all of it decoded before the bytes are given back. */
function decodeBatch(bytes: Uint8Array, position: number): MetadataBatch {
  const header = readBatchHeader(bytes, position);
  const records: DecodedMetadataRecord[] = [];
  const options = { maxDecompressedBytes: MAX_METADATA_BATCH_BYTES };
  for (const record of readRecords(bytes, position, options)) {
    if (record.value === null) {
      throw new WireError(`Cannot read metadata record at offset ${record.offset}: it is null`);
    }
    records.push(decodeMetadataRecord(record.value));
  }
  return {
    baseOffset: offset(header.baseOffset),
    lastOffset: offset(header.baseOffset + header.lastOffsetDelta),
    leaderEpoch: leaderEpoch(header.partitionLeaderEpoch),
    timestampMs: timestampMs(header.maxTimestamp),
    records,
  };
}

function controlRecords(bytes: Uint8Array, position: number) {
  return readRecords(bytes, position, { maxDecompressedBytes: MAX_METADATA_BATCH_BYTES })
    .map(decodeControlRecord);
}

function isFooter(bytes: Uint8Array): boolean {
  return controlRecords(bytes, 0).at(-1)?.type === "snapshotFooter";
}

/** Who may vote, as a control batch says; null for one that says nothing of it. */
function votersIn(bytes: Uint8Array, position: number): number[] | null {
  let voterIds: number[] | null = null;
  for (const record of controlRecords(bytes, position)) {
    if (record.type !== "voters" && record.type !== "leaderChange") continue;
    voterIds = record.message.voters.map(({ voterId }) => voterId);
  }
  return voterIds;
}
