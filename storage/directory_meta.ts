/**
 * What a log directory says of itself: whose it is (`meta.properties`), who uses it (`.lock`), and whether the last stop
 * was clean (`.kafka_cleanshutdown`).
 */

import { formatTopicPartition, type Uuid } from "../protocol/types.ts";
import { readSmallText, textBytes, writeFileAtomically } from "./checkpoint.ts";
import { parseFutureName, parsePartitionName } from "./partition_names.ts";
import { type Disk, DiskError, type DiskLock, type Random } from "./platform.ts";
import { randomUuid } from "./random_uuid.ts";

/** Held by the process that uses the directory. */
export const LOCK_FILE = ".lock";
/** There when the last stop was clean. */
export const CLEAN_SHUTDOWN_FILE = ".kafka_cleanshutdown";
/** Cluster, node and directory id. */
export const META_PROPERTIES = "meta.properties";
/** What the sync of a directory of somebody else's may answer. */
const FOREIGN_CODES: readonly string[] = ["EACCES", "EPERM", "EINVAL", "EROFS"];

interface Place {
  readonly disk: Disk;
  readonly path: string;
}

/** Who opens a directory. */
export interface DirectoryOwner extends Place {
  readonly random: Random;
  readonly nodeId: number;
  /** Refuses a directory of another cluster; a new directory gets this one. */
  readonly clusterId?: string;
}

/** A directory that must not be used. The message says what to do. */
export class LogDirectoryError extends Error {
  override name = "LogDirectoryError";

  /** True when its disk failed; false when what lies there, or who uses it, forbids its use. */
  get isDiskFailure(): boolean {
    return this.cause instanceof DiskError;
  }
}

/**
 * Makes a directory whose name, and whose parents' names, survive a crash. What is there already may have
 * been made by a start that ended before its syncs. Errors: DiskError.
 */
export async function makeStableDirectory(disk: Disk, path: string): Promise<void> {
  // Written once this had been done.
  if (disk.exists(`${path}/${META_PROPERTIES}`)) return;
  const made = new Set<string>();
  for (let up = path; up !== "" && !disk.exists(up); up = parentOf(up)) made.add(up);
  disk.makeDirectory(path);
  for (let up = path; parentOf(up) !== up; up = parentOf(up)) {
    try {
      await disk.syncDirectory(parentOf(up));
    } catch (failure) {
      const isForeign = failure instanceof DiskError && FOREIGN_CODES.includes(failure.code);
      if (made.has(up) || !isForeign) throw failure;
    }
  }
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : slash === 0 ? "/" : path.slice(0, slash);
}

/** What went wrong, as text. */
export function messageOf(failure: unknown): string {
  return failure instanceof Error ? failure.message : String(failure);
}

/** Why a directory must not be used, and what to do. */
export function refusal(
  path: string,
  found: string,
  advice: string,
  cause?: unknown,
): LogDirectoryError {
  return new LogDirectoryError(`Cannot use log directory ${path}: ${found}; ${advice}`, { cause });
}

/** Errors: LogDirectoryError where another process has it. */
export function takeLock(disk: Disk, path: string): DiskLock {
  let lock: DiskLock | null;
  try {
    lock = disk.lock(`${path}/${LOCK_FILE}`);
  } catch (cause) {
    throw refusal(path, messageOf(cause), "check its owner and its disk", cause);
  }
  if (lock !== null) return lock;
  throw refusal(
    path,
    "another process is using it",
    "stop that process or choose another log.dirs",
  );
}

/** Whose a directory is. */
export interface MetaProperties {
  readonly clusterId: string;
  readonly directoryId: Uuid;
}

/** Names and values of a `.properties` file, as `meta.properties` is one. */
export function parseProperties(text: string): Map<string, string> {
  const properties = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const trimmed = line.trim();
    const equals = trimmed.indexOf("=");
    if (trimmed.startsWith("#") || trimmed.startsWith("!") || equals < 0) continue;
    properties.set(trimmed.slice(0, equals).trim(), trimmed.slice(equals + 1).trim());
  }
  return properties;
}

/** Cluster that a directory says it belongs to; null when it says nothing or cannot be read. */
export function clusterIdOf(disk: Disk, path: string): string | null {
  try {
    const text = readSmallText(disk, `${path}/${META_PROPERTIES}`);
    return text === null ? null : parseProperties(text).get("cluster.id") ?? null;
  } catch (failure) {
    if (!(failure instanceof DiskError)) throw failure;
    return null;
  }
}

/** Reads `meta.properties`, or makes it. Errors: LogDirectoryError where it is somebody else's; DiskError. */
export async function readOrMakeMeta(options: DirectoryOwner): Promise<MetaProperties> {
  const { disk, path, nodeId, random } = options;
  const file = `${path}/${META_PROPERTIES}`;
  const text = readSmallText(disk, file);
  if (text === null && holdsPartitions(disk, path)) {
    throw refusal(
      path,
      `it holds partitions but no ${META_PROPERTIES}`,
      "restore that file, since a new one would give the data to another cluster, or choose " +
        "another log.dirs",
    );
  }
  const properties = parseProperties(text ?? "");
  if (text !== null) checkMeta(properties, options);
  const clusterId = properties.get("cluster.id") ?? options.clusterId ?? randomUuid(random);
  const directoryId = (properties.get("directory.id") ?? randomUuid(random)) as Uuid;
  if (text === null || !properties.has("directory.id")) {
    const lines = [
      `cluster.id=${clusterId}`,
      `directory.id=${directoryId}`,
      `node.id=${nodeId}`,
      "version=1",
    ];
    await writeFileAtomically(disk, file, textBytes(`${lines.join("\n")}\n`));
  }
  return { clusterId, directoryId };
}

function checkMeta(properties: ReadonlyMap<string, string>, options: DirectoryOwner): void {
  const { path, nodeId, clusterId } = options;
  const version = properties.get("version");
  if (version !== "0" && version !== "1") {
    throw refusal(
      path,
      `${META_PROPERTIES} has the version "${version ?? ""}"`,
      "restore the file, or upgrade to a release that knows it",
    );
  }
  const foundCluster = properties.get("cluster.id");
  if (clusterId !== undefined && foundCluster !== clusterId) {
    throw refusal(
      path,
      `it belongs to the cluster ${foundCluster ?? "(none)"}, not ${clusterId}`,
      "choose another log.dirs, or start with that cluster's id",
    );
  }
  const foundNode = properties.get("node.id") ?? properties.get("broker.id");
  if (foundNode !== String(nodeId)) {
    throw refusal(
      path,
      `it belongs to node ${foundNode ?? "(none)"}, not ${nodeId}`,
      "choose another log.dirs, or start with that node.id",
    );
  }
}

/** What a clean stop leaves word of. */
export interface CleanShutdownMark {
  readonly brokerEpoch: number;
  /** Names of partitions that it does not speak for, as text. */
  readonly unrecovered: string;
}

/** Apache Kafka writes the file too, empty before 3.7. Errors: DiskError. */
export function readMark({ disk, path }: Place): CleanShutdownMark {
  const text = readSmallText(disk, `${path}/${CLEAN_SHUTDOWN_FILE}`) ?? "";
  const unrecovered = /"unrecovered":(\[[^\]]*\])/.exec(text)?.[1] ?? "[]";
  const brokerEpoch = /"brokerEpoch":(\d+)/.exec(text)?.[1];
  // What was not opened since a crash may lack records that the others have.
  const isWhole = unrecovered === "[]" && brokerEpoch !== undefined;
  return { unrecovered, brokerEpoch: isWhole ? Number(brokerEpoch) : -1 };
}

/** Names of the partitions that lie here and that the clean-shutdown mark, if there is one, leaves out. */
export function unrecovered(
  { disk, path }: Place,
  mark: CleanShutdownMark | null,
): Set<string> {
  const names = disk.list(path)
    .filter(({ kind }) => kind === "directory")
    .map(({ name }) => parsePartitionName(name) ?? parseFutureName(name))
    .filter((found) => found !== null)
    .map(({ topic, partition }) => formatTopicPartition(topic, partition));
  if (mark === null) return new Set(names);
  return new Set(names.filter((name) => mark.unrecovered.includes(`"${name}"`)));
}

function holdsPartitions(disk: Disk, path: string): boolean {
  return disk.list(path).some(({ name, kind }) =>
    kind === "directory" && parsePartitionName(name) !== null
  );
}
