/**
 * Reads the metadata log from its start, in bounded memory: the newest snapshot, then the log's batches behind it.
 *
 *     00000000000000005000-0000000002.checkpoint     what records before offset 5000 came to
 *     00000000000000003000.log …                     records; those before 5000 are passed over
 *
 * A snapshot is a file of record batches with offsets of its own, between a header and a footer; one that lacks the
 * footer or is damaged is not believed, and the one before it is taken, or the log from its first record on,
 * as long as they are there.
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
  readAttributes,
  readBatchHeader,
  readMagic,
  RECORD_BATCH_OVERHEAD,
} from "../../protocol/record_batch.ts";
import { readRecords } from "../../protocol/records.ts";
import type { VotersRecord } from "../../protocol/schemas/records/raft.ts";
import {
  type LeaderEpoch,
  leaderEpoch,
  type Offset,
  offset,
  type TimestampMs,
  timestampMs,
  type Uuid,
} from "../../protocol/types.ts";
import type { Log } from "../../storage/log.ts";
import { type Disk, DiskError, type DiskFile, type Logger } from "../../storage/platform.ts";
import { type DecodedMetadataRecord, decodeMetadataRecord } from "./metadata_records.ts";
import type { FetchedBatch, QuorumChange } from "./raft_messages.ts";
import { VoterSet } from "./raft_voters.ts";
import { listSnapshots, type SnapshotFile } from "./snapshot_files.ts";

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
  /** What to begin with; null for the log's own first record. */
  readonly snapshot: SnapshotFile | null;
  /** Batches of the log are handed over up to here: all before it is committed. */
  readonly upTo: Offset;
  /** Called for each batch, in order. */
  readonly handleCommit: (batch: MetadataBatch) => void;
}

/** What snapshot and log say of the quorum. */
export interface QuorumHistory {
  /** In order of offsets, committed or not. What a snapshot says stands right before its end. */
  readonly changes: readonly QuorumChange[];
  /** Voters that the newest leader has named, for a log that has no other; null for none. */
  readonly namedVoterIds: readonly number[] | null;
  /** The newest whole snapshot that the log goes on from. */
  readonly snapshot: SnapshotFile | null;
}

/**
 * Reads what the quorum has written about itself, and looks at nothing else.
 * Errors: DiskError, also for a damaged batch; WireError when a control record cannot be read.
 */
export function readQuorumHistory(disk: Disk, log: Log, logger: Logger): QuorumHistory {
  let namedVoterIds: readonly number[] | null = null;
  const { snapshot, changes } = newestSnapshot(disk, log, logger);
  readLog(log, Math.max(log.logStartOffset, snapshot?.offset ?? 0), log.endOffset, (bytes, at) => {
    if (!isControl(readAttributes(bytes, at))) return;
    changes.push(...quorumChanges(bytes, at));
    namedVoterIds = votersOfLeader(bytes, at) ?? namedVoterIds;
  });
  return { changes, namedVoterIds, snapshot };
}

/**
 * Hands over what the metadata log holds up to `upTo`.
 *
 * Returns: the offset that follows what was handed over.
 * Errors: DiskError, also for a damaged batch; WireError when a record cannot be read.
 */
export function replayMetadata(
  { disk, log, snapshot, upTo, handleCommit }: ReplayOptions,
): Offset {
  let position: number = log.logStartOffset;
  // One that a directory was formatted with is no state of the log.
  if (snapshot !== null && snapshot.offset > 0) {
    replaySnapshot(disk, snapshot, handleCommit);
    position = snapshot.offset;
  }
  while (position < upTo) position = replayPiece(log, offset(position), upTo, handleCommit);
  return offset(position);
}

/**
 * Hands over what a snapshot holds.
 * Returns: what it says of the quorum. Errors: as above; some batches may have been handed over then.
 */
export function replaySnapshot(
  disk: Disk,
  snapshot: SnapshotFile,
  handleCommit: (batch: MetadataBatch) => void,
): QuorumChange[] {
  const changes: QuorumChange[] = [];
  const lastOffset = offset(snapshot.offset - 1);
  const epoch = leaderEpoch(snapshot.epoch);
  readSnapshot(disk, snapshot, (bytes, at) => {
    if (isControl(readAttributes(bytes, at))) {
      changes.push(
        ...quorumChanges(bytes, at).map((change) => ({ ...change, offset: lastOffset })),
      );
      return;
    }
    // Offsets within a snapshot count its own records: what is known is known as of its end.
    const batch = decodeBatch(bytes, at);
    handleCommit({ ...batch, baseOffset: lastOffset, lastOffset, leaderEpoch: epoch });
  });
  return changes;
}

/**
 * Hands over a piece of the log from `from` on, up to `upTo` at most.
 * Returns: where the next piece begins. Errors: as above.
 */
export function replayPiece(
  log: Log,
  from: Offset,
  upTo: Offset,
  handleCommit: (batch: MetadataBatch) => void,
): Offset {
  return readPiece(log, from, upTo, (bytes, at) => {
    if (!isControl(readAttributes(bytes, at))) handleCommit(decodeBatch(bytes, at));
  });
}

/**
 * What batches that came from a leader are, in order.
 * Errors: WireError when they are damaged, or a control record cannot be read.
 */
export function describeFetched(records: Uint8Array): FetchedBatch[] {
  return [...batches(records)].map((at) => {
    const { baseOffset, lastOffsetDelta, partitionLeaderEpoch, attributes } = readBatchHeader(
      records,
      at,
    );
    if (!isCrcValid(records, at)) {
      throw new WireError(`Cannot use the batch at offset ${baseOffset}: its checksum is wrong`);
    }
    return {
      baseOffset,
      lastOffset: baseOffset + lastOffsetDelta,
      epoch: partitionLeaderEpoch,
      changes: isControl(attributes) ? quorumChanges(records, at) : [],
    };
  });
}

/**
 * The newest whole snapshot that the log goes on from, and what it says of the quorum.
 * Errors: DiskError when there is none, and the log does not begin with its first record.
 */
function newestSnapshot(
  disk: Disk,
  log: Log,
  logger: Logger,
): { readonly snapshot: SnapshotFile | null; readonly changes: QuorumChange[] } {
  const found = listSnapshots(disk, log.directory).filter(({ offset }) =>
    offset >= log.logStartOffset && offset <= log.endOffset
  );
  let damage: DiskError | null = null;
  for (const snapshot of found.reverse()) {
    const changes: QuorumChange[] = [];
    const before = { offset: snapshot.offset - 1 };
    try {
      readSnapshot(disk, snapshot, (bytes, at) => {
        if (!isControl(readAttributes(bytes, at))) return;
        changes.push(...quorumChanges(bytes, at).map((change) => ({ ...change, ...before })));
      });
      return { snapshot, changes };
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      damage ??= failure;
      logger.error("A snapshot of the metadata is damaged and is not used", {
        found: failure.message,
      });
    }
  }
  if (log.logStartOffset === 0) return { snapshot: null, changes: [] };
  throw damage ?? unreadable(
    `it starts at offset ${log.logStartOffset}, and no snapshot holds what lies before it; restore ` +
      "its first segments or its snapshots from a backup",
  );
}

type BatchVisitor = (bytes: Uint8Array, at: number) => void;

function readSnapshot(disk: Disk, snapshot: SnapshotFile, visit: BatchVisitor): void {
  const file = disk.open(snapshot.path, "read");
  let isComplete = false;
  try {
    for (let position = 0; position < file.sizeBytes;) {
      const bytes = batchOf(file, position);
      if (isControl(readAttributes(bytes, 0))) isComplete = isFooter(bytes);
      visit(bytes, 0);
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

function readLog(log: Log, from: number, upTo: Offset, visit: BatchVisitor): void {
  for (let position = from; position < upTo;) {
    position = readPiece(log, offset(position), upTo, visit);
  }
}

/** Returns: the offset that follows the piece. */
function readPiece(log: Log, from: Offset, upTo: Offset, visit: BatchVisitor): Offset {
  const read = log.read(from, {
    maxBytes: REPLAY_READ_BYTES,
    minOneMessage: true,
    upToOffset: upTo,
  });
  if (!("records" in read)) throw unreadable(read.message);
  let position: number = from;
  try {
    for (const at of batches(read.records)) {
      const header = readBatchHeader(read.records, at);
      position = header.baseOffset + header.lastOffsetDelta + 1;
      if (!isCrcValid(read.records, at)) {
        throw unreadable(
          `the batch at offset ${header.baseOffset} is damaged, its checksum is wrong; restore the ` +
            "directory of that log from a backup",
        );
      }
      visit(read.records, at);
    }
  } finally {
    read.release();
  }
  if (position === from) throw unreadable(`no batch at offset ${from}, before the end ${upTo}`);
  return offset(position);
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

/** What a control batch changes of the quorum. */
function quorumChanges(bytes: Uint8Array, position: number): QuorumChange[] {
  const { baseOffset } = readBatchHeader(bytes, position);
  return controlRecords(bytes, position).flatMap((record, i): QuorumChange[] => {
    const at = baseOffset + i;
    if (record.type === "kraftVersion") {
      return [{ kind: "kraftVersion", offset: at, version: record.message.kRaftVersion }];
    }
    if (record.type !== "voters") return [];
    return [{ kind: "voters", offset: at, voters: votersOf(record.message) }];
  });
}

/** The voters that a control record names. */
export function votersOf({ voters }: VotersRecord): VoterSet {
  return new VoterSet(voters.map((voter) => ({
    id: voter.voterId,
    directoryId: voter.voterDirectoryId as Uuid,
    endpoints: voter.endpoints,
    minKraftVersion: voter.kRaftVersionFeature.minSupportedVersion,
    maxKraftVersion: voter.kRaftVersionFeature.maxSupportedVersion,
  })));
}

/** Voters that a new leader has named; null when the batch is no leader's first. */
function votersOfLeader(bytes: Uint8Array, position: number): number[] | null {
  const first = controlRecords(bytes, position)[0];
  return first?.type === "leaderChange" ? first.message.voters.map(({ voterId }) => voterId) : null;
}
