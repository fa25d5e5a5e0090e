/**
 * From the settings to open log directories, with the metadata log in the one that is meant.
 *
 * A metadata log that is not where it should be is worth a refusal: a broker that began a new one would
 * not know a single topic, and call all records strays.
 */

import { METADATA_TOPIC_ID } from "../protocol/types.ts";
import { LogDirectories } from "../storage/log_directories.ts";
import type { LogDirectory } from "../storage/log_directory.ts";
import type { Log } from "../storage/log.ts";
import type { Clock, Disk, Logger, Random } from "../storage/platform.ts";
import type { ProducerTable } from "../storage/producer_table.ts";
import type { Workers } from "../storage/workers.ts";
import type { Config } from "./config/config.ts";
import { ConfigError } from "./config/sources.ts";
import { METADATA_LOG_CONFIG, METADATA_TOPIC } from "./controller/quorum.ts";

/** Stands for every directory in `cordoned.log.dirs`. */
const ALL_DIRECTORIES = "*";

/** What the directories are opened with. */
export interface OpenDirectoriesOptions {
  readonly config: Config;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly workers: Workers;
  readonly producerTable: ProducerTable;
  /** For directories that have no id of a cluster yet; null where none is agreed on. */
  readonly newClusterId?: string | null;
}

/** Opens the log directories. Errors: LogDirectoryError, ConfigError. */
export async function openLogDirectories(options: OpenDirectoriesOptions): Promise<LogDirectories> {
  const { config, disk, random, logger } = options;
  // As Kafka's tools name them.
  const paths = config.logDirectories().map((path) => disk.absolutePath(path));
  const metadataPath = config.string("metadata.log.dir");
  const clusterId = config.string("weir.cluster.id") ?? options.newClusterId ?? null;
  const directories = await LogDirectories.open({
    ...options,
    random: random.fork("log directory"),
    logger: logger.child("storage"),
    paths,
    metadataPath: metadataPath === null ? paths[0]! : disk.absolutePath(metadataPath),
    isCordoned: (path) => isCordoned(config, disk, path),
    ...(clusterId !== null && { clusterId }),
    nodeId: config.number("node.id"),
    producerIdExpirationMs: config.number("producer.id.expiration.ms"),
    retentionCheckMs: config.number("log.retention.check.interval.ms"),
    flusher: { maxDirtyBytes: config.number("weir.flush.max.dirty.bytes") },
    scrub: {
      maxBytesPerSecond: config.number("weir.scrub.max.bytes.per.second"),
      intervalMs: config.number("weir.scrub.interval.ms"),
    },
    reserveBytes: config.number("weir.disk.reserve.bytes"),
    recoveryThreads: () => config.number("num.recovery.threads.per.data.dir"),
    recoveryMaxBytes: config.number("weir.recovery.max.bytes"),
  });
  try {
    refuseLostMetadata(directories);
  } catch (failure) {
    await directories.close();
    throw failure;
  }
  return directories;
}

/** A setting that may change while the broker runs. */
function isCordoned(config: Config, disk: Disk, path: string): boolean {
  return config.list("cordoned.log.dirs").some((cordoned) =>
    cordoned === ALL_DIRECTORIES || disk.absolutePath(cordoned) === path
  );
}

function refuseLostMetadata(directories: LogDirectories): void {
  const { metadata } = directories;
  if (holdsMetadata(metadata)) return;
  const found = directories.found();
  const elsewhere = found.find(({ topicPartition }) => topicPartition.topic === METADATA_TOPIC);
  if (elsewhere !== undefined) {
    throw new ConfigError([
      `Cannot start: the metadata log lies in ${elsewhere.directory.path}, and is looked for in ` +
      `${metadata.path}; set metadata.log.dir=${elsewhere.directory.path}`,
    ]);
  }
  const [first] = found;
  if (first === undefined) return;
  throw new ConfigError([
    `Cannot start: there is no metadata log in ${metadata.path}, and ${first.directory.path} holds ` +
    `${found.length} partitions; set metadata.log.dir to the directory that holds ` +
    `${METADATA_TOPIC}-0, or restore it, or start with empty directories`,
  ]);
}

function holdsMetadata(directory: LogDirectory): boolean {
  return directory.holds({ topic: METADATA_TOPIC, partition: 0 });
}

/** Opens the metadata log, making it when this is the first start. Errors: ConfigError, DiskError. */
export async function openMetadataLog(config: Config, { metadata }: LogDirectories): Promise<Log> {
  const log = await metadata.createLog(
    { topic: METADATA_TOPIC, partition: 0 },
    METADATA_TOPIC_ID,
    {
      ...METADATA_LOG_CONFIG,
      segmentBytes: config.number("metadata.log.segment.bytes"),
      segmentMs: config.number("metadata.log.segment.ms"),
    },
  );
  if (log.offlineReason === null) return log;
  throw new ConfigError([
    `Cannot start from ${log.directory}: the metadata log is damaged (${log.offlineReason}); ` +
    "restore that directory from a backup, or start with an empty log.dirs",
  ]);
}
