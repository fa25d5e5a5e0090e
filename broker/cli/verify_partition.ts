/**
 * The files of one partition, looked at one after another: every batch and its records, every index entry, the
 * snapshots of producers, and the small files. Nothing is changed, and memory does not grow with the log.
 *
 * Nothing may follow a torn tail: it is the end of the last segment, past all that had been on stable storage.
 * Bytes there of which a clean stop, or a recovery point, says that they were whole are damage.
 */

import { WireError } from "../../protocol/bytes.ts";
import { decompress } from "../../protocol/compression.ts";
import {
  compressionOf,
  LOG_OVERHEAD,
  RECORD_BATCH_OVERHEAD,
  type RecordBatchHeader,
} from "../../protocol/record_batch.ts";
import { RecordCursor } from "../../protocol/record_cursor.ts";
import { checkpointNumber, parseCheckpoint, readSmallText } from "../../storage/checkpoint.ts";
import {
  type IndexCheck,
  type IndexCheckOptions,
  OffsetIndexCheck,
  TimeIndexCheck,
  TransactionIndexCheck,
} from "../../storage/index_check.ts";
import { LEADER_EPOCH_CHECKPOINT } from "../../storage/leader_epochs.ts";
import { PARTITION_METADATA } from "../../storage/log_directory.ts";
import { type Disk, DiskError, type DiskFile } from "../../storage/platform.ts";
import { SnapshotReader } from "../../storage/producer_snapshot.ts";
import { checkSegment, type FileSource, type SegmentDamage } from "../../storage/segment_check.ts";
import {
  LOG_SUFFIX,
  OFFSET_INDEX_SUFFIX,
  parseSegmentName,
  segmentPath,
  SNAPSHOT_SUFFIX,
  TIME_INDEX_SUFFIX,
  TRANSACTION_INDEX_SUFFIX,
} from "../../storage/segment_name.ts";
import { TRANSACTION_INDEX_LIST } from "../../storage/transaction_index_repair.ts";
import type { CliIo } from "./io.ts";
import type { VerifyReport } from "./verify_report.ts";

/** A batch that takes more is not read as a whole. */
const MAX_BATCH_BYTES = 256 * 1024 * 1024;
const MAX_DECOMPRESSED_BYTES = 256 * 1024 * 1024;
const MAX_SNAPSHOT_BYTES = 256 * 1024 * 1024;
/** A snapshot of the metadata: its end offset and epoch, and batches inside. */
const METADATA_SNAPSHOT = /^\d{20}-\d{10}\.checkpoint$/;

const INDEXES: readonly [string, new (options: IndexCheckOptions) => IndexCheck][] = [
  [OFFSET_INDEX_SUFFIX, OffsetIndexCheck],
  [TIME_INDEX_SUFFIX, TimeIndexCheck],
  [TRANSACTION_INDEX_SUFFIX, TransactionIndexCheck],
];

/** What the files around a partition say of it. */
export interface PartitionFacts {
  /** Offset before which all was on stable storage, with its indexes; −1 when nothing says. */
  readonly stableOffset: number;
  /** A process uses the files: ends move, and files go away. */
  readonly isInUse: boolean;
}

/** What the checks of files share. */
export interface VerifyContext {
  readonly io: CliIo;
  readonly report: VerifyReport;
}

interface SegmentFile {
  readonly directory: string;
  readonly baseOffset: number;
  /** Base offset of the next segment; null for the last one. */
  readonly nextBaseOffset: number | null;
}

/** Checks all files of a partition's directory. Errors: DiskError when it cannot be listed. */
export async function verifyPartition(
  context: VerifyContext,
  directory: string,
  facts: PartitionFacts,
): Promise<void> {
  const { io, report } = context;
  const names = io.disk.list(directory).filter(({ kind }) => kind === "file")
    .map(({ name }) => name).toSorted();
  report.tally.partitions++;
  for (const segment of segmentsOf(directory, names)) {
    await verifySegment(context, segment, facts);
    if (io.interrupted.aborted) return;
  }
  for (const name of names) {
    const path = `${directory}/${name}`;
    if (METADATA_SNAPSHOT.test(name)) await verifyMetadataSnapshot(context, path);
    else verifySmallFile(context, path, name, facts);
    await report.flush();
  }
}

/** Checks one `.log` file with its indexes. */
export async function verifyLogFile(
  context: VerifyContext,
  path: string,
  facts: PartitionFacts,
): Promise<void> {
  const slash = path.lastIndexOf("/");
  const directory = slash < 0 ? "." : path.slice(0, slash);
  const names = context.io.disk.list(directory).map(({ name }) => name).toSorted();
  const baseOffset = parseSegmentName(path.slice(slash + 1), LOG_SUFFIX);
  const segment = segmentsOf(directory, names).find((one) => one.baseOffset === baseOffset);
  if (segment !== undefined) await verifySegment(context, segment, facts);
}

function segmentsOf(directory: string, names: readonly string[]): SegmentFile[] {
  const bases = names.map((name) => parseSegmentName(name, LOG_SUFFIX)).filter((base) =>
    base !== null
  );
  return bases.map((baseOffset, index) => ({
    directory,
    baseOffset,
    nextBaseOffset: bases[index + 1] ?? null,
  }));
}

async function verifySegment(
  context: VerifyContext,
  segment: SegmentFile,
  facts: PartitionFacts,
): Promise<void> {
  const { report } = context;
  const { directory, baseOffset, nextBaseOffset } = segment;
  const path = segmentPath(directory, baseOffset, LOG_SUFFIX);
  // What a crash leaves of indexes that were not settled is made anew by the next start.
  const isSettled = nextBaseOffset !== null &&
    (facts.stableOffset < 0 || nextBaseOffset <= facts.stableOffset);
  const file = openFile(context, path, facts);
  if (file === null) return;
  const indexes = openIndexes(context, segment, { ...facts, isSettled });
  const records = new RecordCheck(file);
  try {
    const { isComplete } = await checkSegment(sourceOf(context, file, true), {
      baseOffset,
      endOffset: () => nextBaseOffset ?? Infinity,
      beforePiece: async () => {
        for (const { check } of indexes) await check.entries.fill();
        await report.flush();
      },
      onWhole: (header, position, bytes) => {
        report.tally.batches++;
        report.tally.records += header.recordCount;
        const found = records.problem(header, position, bytes);
        if (found !== null) report.add(recordsDamage(path, header, position, found));
      },
      onBatch: (batch) => indexes.forEach(({ check }) => check.onBatch(batch)),
      onDamage: (damage) => {
        for (const { check } of indexes) check.onDamage(damage);
        addDamage(report, { path, damage, fileBytes: file.sizeBytes, segment, facts });
      },
    });
    report.tally.segments++;
    if (!isComplete) return endedEarly(context, path, facts);
    for (const { path: indexPath, check } of indexes) {
      check.finish(nextBaseOffset === null || !isSettled);
      if (check.entries.found !== null && (isSettled || facts.stableOffset < 0)) {
        report.addFile(indexPath, check.entries.found);
      }
    }
  } finally {
    for (const one of [file, ...indexes.map((index) => index.file)]) one.close();
    await report.flush();
  }
}

interface OpenIndex {
  readonly path: string;
  readonly file: DiskFile;
  readonly check: IndexCheck;
}

function openIndexes(
  context: VerifyContext,
  { directory, baseOffset }: SegmentFile,
  facts: PartitionFacts & { readonly isSettled: boolean },
): OpenIndex[] {
  return INDEXES.flatMap(([suffix, Check]) => {
    const path = segmentPath(directory, baseOffset, suffix);
    if (!context.io.disk.exists(path)) {
      const isNeeded = facts.isSettled && !facts.isInUse && suffix !== TRANSACTION_INDEX_SUFFIX;
      if (isNeeded) context.report.addFile(path, "it is missing; a start makes it anew");
      return [];
    }
    const file = openFile(context, path, facts);
    if (file === null) return [];
    const source = sourceOf(context, file, false);
    return [{ path, file, check: new Check({ source, baseOffset, mayHaveRoom: true }) }];
  });
}

function openFile(
  { io, report }: VerifyContext,
  path: string,
  { isInUse }: PartitionFacts,
): DiskFile | null {
  try {
    return io.disk.open(path, "read");
  } catch (failure) {
    if (!(failure instanceof DiskError)) throw failure;
    // Retention and compaction take files away.
    if (!isInUse || failure.code !== "ENOENT") report.addFile(path, failure.message);
    return null;
  }
}

function sourceOf({ io, report }: VerifyContext, file: DiskFile, isCounted: boolean): FileSource {
  return {
    sizeBytes: file.sizeBytes,
    read: async (position, into) => {
      if (io.interrupted.aborted) return 0;
      const count = await file.readCold(position, into);
      if (isCounted) report.tally.bytes += count;
      return count;
    },
  };
}

function endedEarly(
  { io, report }: VerifyContext,
  path: string,
  { isInUse }: PartitionFacts,
): void {
  if (io.interrupted.aborted || isInUse) return;
  report.addFile(path, "it became shorter while it was read");
}

function addDamage(
  report: VerifyReport,
  { path, damage, fileBytes, segment, facts }: {
    readonly path: string;
    readonly damage: SegmentDamage;
    readonly fileBytes: number;
    readonly segment: SegmentFile;
    readonly facts: PartitionFacts;
  },
): void {
  const { position, endPosition, expectedOffset, found } = damage;
  const isEnd = segment.nextBaseOffset === null && endPosition === fileBytes && damage.isUnsound;
  const kind = isEnd && expectedOffset >= facts.stableOffset ? "torn" : "damage";
  report.add({ kind, file: path, position, endPosition, expectedOffset, found });
}

function recordsDamage(file: string, header: RecordBatchHeader, position: number, found: string) {
  return {
    kind: "damage",
    file,
    position,
    endPosition: position + LOG_OVERHEAD + header.batchLength,
    expectedOffset: header.baseOffset,
    found,
  } as const;
}

/** Can the records of batches be read whose checksums fit? */
class RecordCheck {
  readonly #file: DiskFile;
  readonly #cursor = new RecordCursor();

  constructor(file: DiskFile) {
    this.#file = file;
  }

  /** What is wrong, or null. */
  problem(header: RecordBatchHeader, position: number, loaded: Uint8Array | null): string | null {
    const sizeBytes = LOG_OVERHEAD + header.batchLength;
    if (sizeBytes > MAX_BATCH_BYTES) {
      return `its records were not looked at: ${sizeBytes} bytes are too many`;
    }
    let bytes = loaded;
    if (bytes === null) {
      bytes = new Uint8Array(sizeBytes);
      this.#file.read(position, bytes);
    }
    try {
      return this.#walk(header, bytes.subarray(RECORD_BATCH_OVERHEAD));
    } catch (failure) {
      if (!(failure instanceof WireError)) throw failure;
      return `the checksum fits, but ${failure.message}`;
    }
  }

  #walk(header: RecordBatchHeader, body: Uint8Array): string | null {
    const bytes = decompress(compressionOf(header.attributes), body, MAX_DECOMPRESSED_BYTES);
    const cursor = this.#cursor;
    cursor.reset(bytes, 0, bytes.length);
    let count = 0;
    for (let before = -1; !cursor.isAtEnd; count++) {
      cursor.next();
      if (cursor.offsetDelta <= before || cursor.offsetDelta > header.lastOffsetDelta) {
        return `the checksum fits, but record ${count} has the offset delta ${cursor.offsetDelta}`;
      }
      before = cursor.offsetDelta;
    }
    return count === header.recordCount
      ? null
      : `the checksum fits, but it holds ${count} records and announces ${header.recordCount}`;
  }
}

async function verifyMetadataSnapshot(context: VerifyContext, path: string): Promise<void> {
  const { report } = context;
  const facts = { stableOffset: -1, isInUse: true };
  const file = openFile(context, path, facts);
  if (file === null) return;
  const records = new RecordCheck(file);
  try {
    await checkSegment(sourceOf(context, file, true), {
      baseOffset: 0,
      endOffset: () => Infinity,
      onWhole: (header, position, bytes) => {
        report.tally.batches++;
        report.tally.records += header.recordCount;
        const found = records.problem(header, position, bytes);
        if (found !== null) report.add(recordsDamage(path, header, position, found));
      },
      onBatch: () => {},
      onDamage: ({ position, endPosition, expectedOffset, found }) =>
        report.add({ kind: "damage", file: path, position, endPosition, expectedOffset, found }),
    });
  } finally {
    file.close();
  }
}

/** A snapshot of producers, a checkpoint or the topic's id; any other file is none of these. */
function verifySmallFile(
  context: VerifyContext,
  path: string,
  name: string,
  facts: PartitionFacts,
): void {
  const { disk } = context.io;
  const check = (look: () => void): void => checkSmallFile(context, path, facts, look);
  if (parseSegmentName(name, SNAPSHOT_SUFFIX) !== null) {
    check(() => verifySnapshot(context.io, path));
  } else if (name === LEADER_EPOCH_CHECKPOINT) check(() => verifyRising(disk, path, 2));
  else if (name === TRANSACTION_INDEX_LIST) check(() => verifyRising(disk, path, 1));
  else if (name === PARTITION_METADATA) {
    check(() => {
      const text = readSmallText(disk, path) ?? "";
      if (/^version: 0$/m.test(text) && /^topic_id: \S{22}$/m.test(text)) return;
      throw new WireError("it does not hold a version and a topic id");
    });
  }
}

/** Runs a look at a small file, and tells what it throws. */
export function checkSmallFile(
  { report }: VerifyContext,
  path: string,
  { isInUse }: PartitionFacts,
  look: () => void,
): void {
  try {
    look();
  } catch (failure) {
    if (!(failure instanceof DiskError) && !(failure instanceof WireError)) throw failure;
    const isGone = isInUse && failure instanceof DiskError && failure.code === "ENOENT";
    if (!isGone) report.addFile(path, failure.message);
  }
}

function verifySnapshot({ disk }: CliIo, path: string): void {
  const file = disk.open(path, "read");
  try {
    if (file.sizeBytes > MAX_SNAPSHOT_BYTES) {
      throw new WireError(`it has ${file.sizeBytes} bytes, more than a snapshot ever has`);
    }
    const bytes = new Uint8Array(file.sizeBytes);
    file.read(0, bytes);
    const reader = new SnapshotReader(bytes);
    while (reader.next());
  } finally {
    file.close();
  }
}

/** Every column of these checkpoints rises. Kafka makes them before there is anything to write. */
function verifyRising(disk: Disk, path: string, wordCount: number): void {
  const text = readSmallText(disk, path) ?? "";
  let before: readonly number[] = [];
  for (const words of text === "" ? [] : parseCheckpoint(text, path, wordCount)) {
    const numbers = words.map((word) => checkpointNumber(word, path));
    if (numbers.some((value, i) => value <= (before[i] ?? -1))) {
      throw new WireError(`its entry "${words.join(" ")}" does not lie behind the one before it`);
    }
    before = numbers;
  }
}
