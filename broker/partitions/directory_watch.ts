/**
 * What happens to this node's log directories while it runs: one fails, or takes no new partitions. The cluster is
 * told, and the broker stops when none is left.
 *
 * A directory that fails has taken its partitions offline by then; the others are served as before.
 */

import { DirectoryId, type Uuid } from "../../protocol/types.ts";
import type { LogDirectories } from "../../storage/log_directories.ts";
import type { Logger } from "../../storage/platform.ts";
import type { Config } from "../config/config.ts";
import type { Controller } from "../controller/controller.ts";

/** What the watch works with. */
export interface DirectoryWatchOptions {
  readonly logger: Logger;
  readonly config: Pick<Config, "onChange">;
  readonly logDirectories: LogDirectories;
  /** Tells the cluster that something is otherwise than before. */
  readonly changed: () => void;
  /** Called when no log directory can be used any more. */
  readonly onFailure: (message: string) => void;
}

/** Watches the log directories of a broker. Returns: what ends it. */
export function watchDirectories(options: DirectoryWatchOptions): () => void {
  const { logDirectories, config, changed } = options;
  const stops = [
    logDirectories.onOffline(({ path, offlineReason }) => failed(options, path, offlineReason)),
    // `cordoned.log.dirs` may change while the broker runs.
    config.onChange(changed),
  ];
  return () => stops.forEach((stop) => stop());
}

function failed(
  { logDirectories, logger, changed, onFailure }: DirectoryWatchOptions,
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
  changed();
}

/**
 * Names the directories that partitions of this node lie in and that are not there. A disk that is not mounted
 * looks like a new, empty directory: its id is what tells.
 */
export function reportMissingDirectories(
  { nodeId, logger, logDirectories, controller }: {
    readonly nodeId: number;
    readonly logger: Logger;
    readonly logDirectories: LogDirectories;
    readonly controller: Pick<Controller, "image">;
  },
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
