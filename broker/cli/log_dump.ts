/** `weir log dump FILE`: what is in a file of a data directory, read without the broker. */

import type { Command } from "commander";
import { Reader, WireError } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import { compressionName } from "../../protocol/compression.ts";
import { decodeControlRecord } from "../../protocol/control_records.ts";
import {
  batchSizeBytes,
  compressionOf,
  hasDeleteHorizon,
  hasLogAppendTime,
  isControl,
  isCrcValid,
  isTransactional,
  MAGIC_V2,
  readBatchHeader,
  RECORD_BATCH_OVERHEAD,
} from "../../protocol/record_batch.ts";
import { type KafkaRecord, readRecords } from "../../protocol/records.ts";
import { abortedTxn } from "../../protocol/schemas/records/transaction.ts";
import { checkpointNumber, parseCheckpoint, readSmallText } from "../../storage/checkpoint.ts";
import { META_PROPERTIES, parseProperties } from "../../storage/directory_meta.ts";
import { LEADER_EPOCH_CHECKPOINT } from "../../storage/leader_epochs.ts";
import { PARTITION_METADATA } from "../../storage/log_directory.ts";
import { OFFSET_INDEX_ENTRY_BYTES } from "../../storage/offset_index.ts";
import type { DiskFile } from "../../storage/platform.ts";
import { snapshotEntries } from "../../storage/producer_snapshot.ts";
import { TIME_INDEX_ENTRY_BYTES } from "../../storage/time_index.ts";
import { TRANSACTION_INDEX_ENTRY_BYTES } from "../../storage/transaction_index.ts";
import { formatRecord } from "../client/record_json.ts";
import { attempt, type CommandContext, globalOptions, oneOf } from "./command.ts";
import { CliError, type CliIo } from "./io.ts";
import { addVerifyCommand } from "./log_verify.ts";
import { columnsOf, formatTable, type Row } from "./output.ts";
import { decodeRecord, type Decoding, decodingFor, DECODINGS } from "./record_decoders.ts";

const MAX_BATCH_BYTES = 1024 * 1024 * 1024;
const MAX_DECOMPRESSED_BYTES = 1024 * 1024 * 1024;
const MAX_SMALL_FILE_BYTES = 256 * 1024 * 1024;
const ROWS_AT_A_TIME = 4096;

interface DumpOptions {
  readonly records?: boolean;
  readonly decode: Decoding;
}

/** Adds the command. */
export function addLogCommand(program: Command, context: CommandContext): void {
  const log = program.command("log").description("look into the files of a data directory");
  addVerifyCommand(log, context);
  log.command("dump").argument(
    "<file>",
    ".log, .checkpoint, .index, .timeindex, .txnindex, .snapshot, a checkpoint or meta.properties",
  )
    .description("print what a file of a data directory holds; the broker need not run")
    .option("-r, --records", "print the records of each batch too")
    .option(
      "--decode <kind>",
      `how to read records: ${DECODINGS.join(", ")} (auto goes by the directory's name)`,
      oneOf("--decode", DECODINGS),
      "auto",
    )
    .addHelpText("after", HELP)
    .action(async (path: string, options: DumpOptions, command: Command) => {
      const { json } = globalOptions(command);
      await attempt(`Cannot dump ${path}`, () => dump(context.io, path, options, json));
    });
}

const HELP = `
Every checksum is verified; the exit status is 1 when a batch is damaged or cut short.

Examples:
  weir log dump data/orders-0/00000000000000000000.log --records
  weir log dump data/__cluster_metadata-0/00000000000000000000.log --records --json`;

async function dump(io: CliIo, path: string, options: DumpOptions, json: boolean): Promise<void> {
  if (!io.disk.exists(path)) throw new CliError("there is no such file");
  const file = io.disk.open(path, "read");
  try {
    const extension = path.slice(path.lastIndexOf(".") + 1);
    switch (extension) {
      case "log":
      case "checkpoint":
        return await dumpLog(io, file, options, json);
      case "index":
        return await dumpRows(io, file, json, offsetIndexRows(file));
      case "timeindex":
        return await dumpRows(io, file, json, timeIndexRows(file));
      case "txnindex":
        return await dumpRows(io, file, json, transactionIndexRows(file));
      case "snapshot":
        return await dumpRows(io, file, json, snapshotRows(file));
      default:
        return await dumpRows(io, file, json, textRows(io, file));
    }
  } finally {
    file.close();
  }
}

/** One batch of a file, read whole. */
interface FileBatch {
  readonly position: number;
  readonly bytes: Uint8Array;
}

/** Batches one by one. Errors: CliError at a batch that is cut short or cannot be one. */
function* batchesOf(file: DiskFile): Generator<FileBatch, void, void> {
  const head = new Uint8Array(RECORD_BATCH_OVERHEAD);
  for (let position = 0; position < file.sizeBytes;) {
    const read = file.read(position, head);
    const left = file.sizeBytes - position;
    if (head.every((byte) => byte === 0)) {
      throw new CliError(
        `${left} bytes from position ${position} on are zeros, room that was never used`,
      );
    }
    const sizeBytes = read < RECORD_BATCH_OVERHEAD ? 0 : batchSizeBytes(head, 0);
    if (sizeBytes < RECORD_BATCH_OVERHEAD || sizeBytes > Math.min(left, MAX_BATCH_BYTES)) {
      throw new CliError(
        `the last ${left} bytes, from position ${position} on, are no whole batch`,
      );
    }
    const bytes = new Uint8Array(sizeBytes);
    file.read(position, bytes);
    yield { position, bytes };
    position += sizeBytes;
  }
}

async function dumpLog(
  io: CliIo,
  file: DiskFile,
  options: DumpOptions,
  json: boolean,
): Promise<void> {
  const decoding = options.decode === "auto" ? decodingFor(file.path) : options.decode;
  let wrongCount = 0;
  let unreadableCount = 0;
  for (const { position, bytes } of batchesOf(file)) {
    const batch = describeBatch(position, bytes);
    if (!batch.crcValid) wrongCount++;
    const isShown = options.records === true && batch.crcValid;
    const records = isShown ? recordsOf(bytes, decoding, batch.isControl) : [];
    const problem = typeof records === "string" ? records : undefined;
    if (problem !== undefined) unreadableCount++;
    const read = typeof records === "string" ? [] : records;
    if (json) {
      const shown = isShown ? read.map((record) => record.shown) : undefined;
      await io.write(`${JSON.stringify({ ...batch, records: shown, problem })}\n`);
    } else {
      const lines = problem === undefined ? read.map(({ line }) => line) : [problem];
      await io.write(`${batchLine(batch)}\n${lines.map((line) => `  ${line}\n`).join("")}`);
    }
  }
  if (wrongCount > 0) throw new CliError(`${wrongCount} batches have a wrong checksum`);
  if (unreadableCount > 0) {
    throw new CliError(`${unreadableCount} batches hold records that cannot be read`);
  }
}

function describeBatch(position: number, bytes: Uint8Array) {
  const header = readBatchHeader(bytes, 0);
  const { attributes } = header;
  return {
    position,
    sizeBytes: bytes.length,
    baseOffset: header.baseOffset,
    lastOffset: header.baseOffset + header.lastOffsetDelta,
    recordCount: header.recordCount,
    partitionLeaderEpoch: header.partitionLeaderEpoch,
    magic: header.magic,
    compression: codecName(attributes),
    timestampType: hasLogAppendTime(attributes) ? "LogAppendTime" : "CreateTime",
    baseTimestamp: header.baseTimestamp,
    maxTimestamp: header.maxTimestamp,
    producerId: header.producerId,
    producerEpoch: header.producerEpoch,
    baseSequence: header.baseSequence,
    isTransactional: isTransactional(attributes),
    isControl: isControl(attributes),
    deleteHorizonMs: hasDeleteHorizon(attributes) ? header.baseTimestamp : null,
    crc: header.crc,
    crcValid: header.magic === MAGIC_V2 && isCrcValid(bytes, 0),
  };
}

function codecName(attributes: number): string {
  try {
    return compressionName(compressionOf(attributes));
  } catch {
    return `unknown (${attributes & 7})`;
  }
}

function batchLine(batch: ReturnType<typeof describeBatch>): string {
  const time = batch.maxTimestamp >= 0 ? new Date(batch.maxTimestamp).toISOString() : "no time";
  const producer = batch.producerId < 0
    ? ""
    : `, producer ${batch.producerId} epoch ${batch.producerEpoch} sequence ${batch.baseSequence}`;
  return `offsets ${batch.baseOffset} to ${batch.lastOffset}, ${batch.recordCount} records, ` +
    `at ${batch.position}, ${batch.sizeBytes} bytes, ${batch.compression}, ` +
    `leader epoch ${batch.partitionLeaderEpoch}, ${time}${producer}` +
    `${batch.isTransactional ? ", transactional" : ""}${batch.isControl ? ", control" : ""}, ` +
    `crc ${batch.crcValid ? "ok" : "WRONG"}`;
}

/** Returns: the records, or why they cannot be read: other batches can. */
function recordsOf(bytes: Uint8Array, decoding: Decoding, control: boolean) {
  let records: KafkaRecord[];
  try {
    records = readRecords(bytes, 0, { maxDecompressedBytes: MAX_DECOMPRESSED_BYTES });
  } catch (failure) {
    if (!(failure instanceof WireError)) throw failure;
    return failure.message;
  }
  return records.map((record) => {
    const shown = showRecord(record, decoding, control);
    const { offset, timestamp, headers, ...rest } = shown as Record<string, unknown>;
    const extra = Array.isArray(headers) && headers.length > 0 ? { headers } : {};
    return { shown, line: `${offset}  ${timestamp}  ${JSON.stringify({ ...rest, ...extra })}` };
  });
}

function showRecord(record: KafkaRecord, decoding: Decoding, control: boolean): object {
  const { offset, timestamp } = record;
  try {
    if (control) return { offset, timestamp, ...decodeControlRecord(record) };
    if (decoding !== "none" && decoding !== "auto") {
      return { offset, timestamp, ...decodeRecord(record, decoding) };
    }
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return { ...undecoded(record), error: error.message };
  }
  return undecoded(record);
}

function undecoded(record: KafkaRecord): object {
  const { topic: _topic, partition: _partition, ...rest } = JSON.parse(
    formatRecord(record, { topic: "", partition: 0 }),
  );
  return rest;
}

interface Rows {
  readonly fields: readonly string[];
  readonly rows: readonly Row[];
}

async function dumpRows(io: CliIo, file: DiskFile, json: boolean, { fields, rows }: Rows) {
  if (json) {
    for (let at = 0; at < rows.length; at += ROWS_AT_A_TIME) {
      const some = rows.slice(at, at + ROWS_AT_A_TIME);
      await io.write(some.map((row) => `${JSON.stringify(row)}\n`).join(""));
    }
  } else if (rows.length === 0) io.writeError(`${file.path} holds no entries.\n`);
  else await io.write(formatTable(columnsOf(...fields), rows));
}

function wholeFile(file: DiskFile): Uint8Array {
  if (file.sizeBytes > MAX_SMALL_FILE_BYTES) {
    throw new CliError(`it has ${file.sizeBytes} bytes, more than such a file ever has`);
  }
  const bytes = new Uint8Array(file.sizeBytes);
  file.read(0, bytes);
  return bytes;
}

/** The first offset of the segment, which the file's name tells and its entries count from. */
function baseOffsetOf(path: string): number {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const digits = /^(\d{20})\./.exec(name)?.[1];
  if (digits === undefined) {
    throw new CliError("its name does not start with 20 digits, the base offset");
  }
  return Number(digits);
}

/** Entries of a fixed size up to the unused room at the end, where the offset stands still. */
function* entries(file: DiskFile, entryBytes: number): Generator<Reader, void, void> {
  const bytes = wholeFile(file);
  const count = Math.floor(bytes.length / entryBytes);
  for (let i = 0; i < count; i++) {
    const entry = bytes.subarray(i * entryBytes, (i + 1) * entryBytes);
    if (i > 0 && entry.every((byte) => byte === 0)) return;
    yield new Reader(entry);
  }
}

function offsetIndexRows(file: DiskFile): Rows {
  const base = baseOffsetOf(file.path);
  const rows = [...entries(file, OFFSET_INDEX_ENTRY_BYTES)].map((reader) => ({
    offset: base + reader.int32(),
    position: reader.int32(),
  }));
  return { fields: ["offset", "position"], rows };
}

function timeIndexRows(file: DiskFile): Rows {
  const base = baseOffsetOf(file.path);
  const rows = [...entries(file, TIME_INDEX_ENTRY_BYTES)].map((reader) => ({
    timestamp: reader.int64(),
    offset: base + reader.int32(),
  }));
  return { fields: ["timestamp", "offset"], rows };
}

function transactionIndexRows(file: DiskFile): Rows {
  const fields = ["producerId", "firstOffset", "lastOffset", "lastStableOffset"];
  const rows = [...entries(file, TRANSACTION_INDEX_ENTRY_BYTES)].map((reader) => {
    return codec(abortedTxn, reader.int16()).decode(reader);
  });
  return { fields, rows };
}

/** The small files of text. */
function textRows({ disk }: CliIo, { path }: DiskFile): Rows {
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (name === META_PROPERTIES || name === PARTITION_METADATA) {
    const text = readSmallText(disk, path)!;
    const values = parseProperties(name === META_PROPERTIES ? text : text.replaceAll(": ", "="));
    const rows = [...values].map(([property, value]) => ({ name: property, value }));
    return { fields: ["name", "value"], rows };
  }
  const fields = name === LEADER_EPOCH_CHECKPOINT
    ? ["epoch", "startOffset"]
    : name.endsWith("-offset-checkpoint")
    ? ["topic", "partition", "offset"]
    : null;
  if (fields === null) {
    throw new CliError(
      "its name ends with none of .log, .checkpoint, .index, .timeindex, .txnindex, .snapshot, and is " +
        "none of a checkpoint or of properties",
    );
  }
  const text = readSmallText(disk, path)!;
  const entries = text === "" ? [] : parseCheckpoint(text, path, fields.length);
  const rows = entries.map((words) =>
    Object.fromEntries(fields.map((field, i) => [
      field,
      field === "topic" ? words[i]! : checkpointNumber(words[i]!, path),
    ]))
  );
  return { fields, rows };
}

function snapshotRows(file: DiskFile): Rows {
  const rows = [...snapshotEntries(wholeFile(file))].map((entry) => ({
    ...entry,
    lastSequence: entry.lastOffset < 0 ? null : entry.lastSequence,
    lastOffset: entry.lastOffset < 0 ? null : entry.lastOffset,
  }));
  const fields = [
    "producerId",
    "producerEpoch",
    "lastSequence",
    "lastOffset",
    "lastTimestamp",
    "coordinatorEpoch",
    "currentTxnFirstOffset",
  ];
  return { fields, rows };
}
