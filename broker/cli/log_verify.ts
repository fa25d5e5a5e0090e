/**
 * `weir log verify PATH...`: is what lies in a data directory whole? Offline, and nothing is changed.
 *
 * A path is a data directory, one partition's directory, or one `.log` file; Apache Kafka's are as good as ours.
 */

import type { Command } from "commander";
import { WireError } from "../../protocol/bytes.ts";
import { readOffsetCheckpoint } from "../../storage/checkpoint.ts";
import { OFFSET_CHECKPOINTS, RECOVERY_POINTS } from "../../storage/directory_checkpoints.ts";
import {
  CLEAN_SHUTDOWN_FILE,
  LOCK_FILE,
  META_PROPERTIES,
  parseProperties,
} from "../../storage/directory_meta.ts";
import { DELETE_SUFFIX } from "../../storage/partition_names.ts";
import { readSmallText } from "../../storage/checkpoint.ts";
import { DiskError } from "../../storage/platform.ts";
import { LOG_SUFFIX, parseSegmentName } from "../../storage/segment_name.ts";
import { attempt, type CommandContext, globalOptions } from "./command.ts";
import { CliError, type CliIo } from "./io.ts";
import { plural } from "./output.ts";
import {
  checkSmallFile,
  type PartitionFacts,
  type VerifyContext,
  verifyLogFile,
  verifyPartition,
} from "./verify_partition.ts";
import { VerifyReport } from "./verify_report.ts";

const HELP = `
Every batch is read: its structure, checksum, offsets and records, the index entries that point at it, and the
small files around it. One line names each damaged place; a torn tail, which a crash leaves at the end of a log
and a start cuts off, is told apart. The exit status is 1 when something is damaged.

Examples:
  weir log verify /var/lib/weir
  weir log verify data/orders-0 data/orders-1 --json`;

/** Adds the command to \`log\`. */
export function addVerifyCommand(log: Command, { io }: CommandContext): void {
  log.command("verify").argument(
    "<paths...>",
    "data directories, partition directories, .log files",
  )
    .description("check every byte of data directories; the broker need not run")
    .addHelpText("after", HELP)
    .action(async (paths: string[], _options: object, command: Command) => {
      const { json } = globalOptions(command);
      const report = new VerifyReport(io, json);
      try {
        for (const path of paths) {
          await attempt(`Cannot verify ${path}`, () => verify({ io, report }, trimmed(path)));
          if (io.interrupted.aborted) break;
        }
      } finally {
        report.stop();
      }
      await report.finish();
      if (io.interrupted.aborted) throw new CliError("Interrupted: the rest was not looked at");
      if (report.damagedCount > 0) {
        throw new CliError(`${plural(report.damagedCount, "damaged place")} found`);
      }
    });
}

function trimmed(path: string): string {
  return path.length > 1 && path.endsWith("/") ? trimmed(path.slice(0, -1)) : path;
}

async function verify(context: VerifyContext, path: string): Promise<void> {
  const { disk } = context.io;
  if (!disk.exists(path)) throw new CliError("there is no such file or directory");
  const slash = path.lastIndexOf("/");
  const parent = slash < 0 ? "." : path.slice(0, slash);
  if (parseSegmentName(path.slice(slash + 1), LOG_SUFFIX) !== null) {
    const above = parent.lastIndexOf("/");
    const facts = directoryFacts(context, above < 0 ? `${parent}/..` : parent.slice(0, above));
    return await verifyLogFile(context, path, facts(parent.slice(above + 1)));
  }
  if (holdsSegments(context.io, path)) {
    return await verifyPartition(
      context,
      path,
      directoryFacts(context, parent)(path.slice(slash + 1)),
    );
  }
  await verifyDataDirectory(context, path);
}

function holdsSegments({ disk }: CliIo, path: string): boolean {
  try {
    return disk.list(path).some(({ name }) => parseSegmentName(name, LOG_SUFFIX) !== null);
  } catch (failure) {
    if (!(failure instanceof DiskError) || failure.code !== "ENOTDIR") throw failure;
    throw new CliError("it is neither a directory nor a .log file");
  }
}

async function verifyDataDirectory(context: VerifyContext, path: string): Promise<void> {
  const { io } = context;
  const names = io.disk.list(path).filter(({ kind }) => kind === "directory")
    .map(({ name }) => name)
    .filter((name) => !name.endsWith(DELETE_SUFFIX) && holdsSegments(io, `${path}/${name}`))
    .toSorted();
  if (names.length === 0 && !io.disk.exists(`${path}/${META_PROPERTIES}`)) {
    throw new CliError(`it holds no partitions and no ${META_PROPERTIES}`);
  }
  const factsOf = directoryFacts(context, path);
  verifyDirectoryFiles(context, path, factsOf(""));
  await context.report.flush();
  for (const name of names) {
    if (io.interrupted.aborted) return;
    await verifyPartition(context, `${path}/${name}`, factsOf(name));
  }
}

/** What a data directory says of its partitions; nothing where the path is none. */
function directoryFacts(
  { io, report }: VerifyContext,
  path: string,
): (partition: string) => PartitionFacts {
  const { disk } = io;
  if (!disk.exists(`${path}/${META_PROPERTIES}`)) {
    return () => ({ stableOffset: -1, isInUse: false });
  }
  const isInUse = isLocked(io, path);
  if (isInUse) {
    report.remark(`${path} is in use: the ends of its logs may move, and files may go away`);
  }
  if (disk.exists(`${path}/${CLEAN_SHUTDOWN_FILE}`)) {
    return () => ({ stableOffset: Infinity, isInUse });
  }
  const points = recoveryPoints(io, path);
  return (partition) => ({ stableOffset: points.get(partition) ?? 0, isInUse });
}

/** True when a process holds the directory's lock. */
function isLocked({ disk }: CliIo, path: string): boolean {
  const file = `${path}/${LOCK_FILE}`;
  if (!disk.exists(file)) return false;
  try {
    const lock = disk.lock(file);
    lock?.release();
    return lock === null;
  } catch (failure) {
    if (!(failure instanceof DiskError)) throw failure;
    // Somebody else's directory can be read, and its lock cannot be taken.
    return false;
  }
}

function recoveryPoints({ disk }: CliIo, path: string): ReadonlyMap<string, number> {
  try {
    return readOffsetCheckpoint(disk, `${path}/${RECOVERY_POINTS}`);
  } catch (failure) {
    if (!(failure instanceof DiskError)) throw failure;
    // It is told with the other checkpoints.
    return new Map();
  }
}

function verifyDirectoryFiles(
  context: VerifyContext,
  path: string,
  facts: PartitionFacts,
): void {
  const { disk } = context.io;
  for (const name of [RECOVERY_POINTS, ...OFFSET_CHECKPOINTS]) {
    const file = `${path}/${name}`;
    checkSmallFile(context, file, facts, () => void readOffsetCheckpoint(disk, file));
  }
  const file = `${path}/${META_PROPERTIES}`;
  checkSmallFile(context, file, facts, () => {
    const text = readSmallText(disk, file);
    if (text === null) throw new WireError("it is missing");
    const properties = parseProperties(text);
    for (const name of ["version", "cluster.id"]) {
      if (!properties.has(name)) throw new WireError(`it names no ${name}`);
    }
    if (!properties.has("node.id") && !properties.has("broker.id")) {
      throw new WireError("it names no node.id");
    }
  });
}
