/**
 * What the metadata is told of this node's log directories while it runs: which are usable, and which take no
 * new partitions. The broker stops when none is left.
 *
 * A directory that fails has taken its partitions offline by then; the others are served as before.
 */

import { ErrorCode, errorMessage } from "../../protocol/errors.ts";
import { DirectoryId, type Uuid } from "../../protocol/types.ts";
import type { LogDirectories } from "../../storage/log_directories.ts";
import type { Logger } from "../../storage/platform.ts";
import type { Config } from "../config/config.ts";
import type { Controller } from "../controller/controller.ts";

/** What the watch works with. */
export interface DirectoryWatchOptions {
  readonly nodeId: number;
  readonly logger: Logger;
  readonly config: Pick<Config, "onChange">;
  readonly logDirectories: LogDirectories;
  readonly controller: Pick<Controller, "updateLogDirs" | "image">;
  /** Called when no log directory can be used any more. */
  readonly onFailure: (message: string) => void;
}

/** Ids of the usable directories that take no new partitions. */
export function cordonedIds(logDirectories: LogDirectories): Uuid[] {
  return logDirectories.states().flatMap(({ directory, offlineReason, isCordoned }) =>
    isCordoned && directory !== null && offlineReason === null ? [directory.directoryId] : []
  );
}

/** Ids of the directories that cannot be used any more. One that could not be opened has none. */
export function offlineIds(logDirectories: LogDirectories): Uuid[] {
  return logDirectories.states().flatMap(({ directory, offlineReason }) =>
    directory !== null && offlineReason !== null ? [directory.directoryId] : []
  );
}

/** Watches the log directories of a registered broker. Returns: what ends it. */
export function watchDirectories(options: DirectoryWatchOptions): () => void {
  const { logDirectories, config } = options;
  const stops = [
    logDirectories.onOffline(({ path, offlineReason }) => failed(options, path, offlineReason)),
    config.onChange(() => void noteCordoned(options)),
  ];
  return () => stops.forEach((stop) => stop());
}

function failed(
  { logDirectories, logger, controller, nodeId, onFailure }: DirectoryWatchOptions,
  path: string,
  reason: string | null,
): void {
  const online = logDirectories.online();
  if (online.length === 0) {
    onFailure(`No log directory can be used any more: ${reason}`);
    return;
  }
  logger.error(
    "Partitions of a failed log directory answer KAFKA_STORAGE_ERROR, the others are served; mend or " +
      "replace its disk and start again",
    { path, online: online.map((directory) => directory.path) },
  );
  const logDirs = online.map(({ directoryId }) => directoryId);
  void controller.updateLogDirs(nodeId, { logDirs }).then(({ error }) => {
    if (error === ErrorCode.NONE) return;
    const found = errorMessage(error);
    logger.warn("Failed log directory is not noted in the metadata", { path, found });
  });
}

/** `cordoned.log.dirs` may change while the broker runs. */
async function noteCordoned(
  { logDirectories, logger, controller, nodeId }: DirectoryWatchOptions,
): Promise<void> {
  const cordonedLogDirs = cordonedIds(logDirectories);
  const before = controller.image().brokers.get(nodeId)?.cordonedLogDirs;
  if (before === undefined || before.toSorted().join() === cordonedLogDirs.toSorted().join()) {
    return;
  }
  const { error } = await controller.updateLogDirs(nodeId, { cordonedLogDirs });
  if (error === ErrorCode.NONE) return;
  const found = errorMessage(error);
  logger.warn("Cordoned log directories are not noted in the metadata", { found });
}

/**
 * Names the directories that partitions of this node lie in and that are not there. A disk that is not mounted
 * looks like a new, empty directory: its id is what tells.
 */
export function reportMissingDirectories(
  { nodeId, logger, logDirectories, controller }: Pick<
    DirectoryWatchOptions,
    "nodeId" | "logger" | "logDirectories" | "controller"
  >,
): void {
  const counts = new Map<Uuid, number>();
  for (const { partitions } of controller.image().topics()) {
    for (const { replicas, directories } of partitions) {
      const directory = directories[replicas.indexOf(nodeId)];
      if (directory === undefined || isReserved(directory)) continue;
      if (logDirectories.byId(directory) !== undefined) continue;
      counts.set(directory, (counts.get(directory) ?? 0) + 1);
    }
  }
  for (const [directoryId, partitionCount] of counts) {
    logger.error(
      "Log directory is missing or offline, and its partitions answer KAFKA_STORAGE_ERROR: check that " +
        "every disk of log.dirs is mounted and start again, or delete their topics",
      { directoryId, partitionCount },
    );
  }
}

function isReserved(directory: Uuid): boolean {
  return Object.values<Uuid>(DirectoryId).includes(directory);
}
