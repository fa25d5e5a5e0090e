/**
 * What follows when a log directory fails: the metadata hears of it, and the broker stops if it has no
 * directory left. The partitions of the directory are offline by then; the others are served as before.
 */

import { ErrorCode, errorMessage } from "../../protocol/errors.ts";
import type { LogDirectories } from "../../storage/log_directories.ts";
import type { Logger } from "../../storage/platform.ts";
import type { Controller } from "../controller/controller.ts";

/** What the watch works with. */
export interface DirectoryWatchOptions {
  readonly nodeId: number;
  readonly logger: Logger;
  readonly logDirectories: LogDirectories;
  readonly controller: Pick<Controller, "updateLogDirs" | "image">;
  /** Called when no log directory can be used any more. */
  readonly onFailure: (message: string) => void;
}

/** Watches the log directories. Returns: what ends it. */
export function watchDirectories(options: DirectoryWatchOptions): () => void {
  const { logDirectories, logger, controller, nodeId, onFailure } = options;
  reportMissing(options);
  return logDirectories.onOffline(({ path, offlineReason }) => {
    const online = logDirectories.online();
    if (online.length === 0) {
      onFailure(`No log directory can be used any more: ${offlineReason}`);
      return;
    }
    logger.error(
      "Partitions of a failed log directory answer KAFKA_STORAGE_ERROR, the others are served; mend " +
        "or replace its disk and start again",
      { path, online: online.map((directory) => directory.path) },
    );
    const ids = online.map(({ directoryId }) => directoryId);
    void controller.updateLogDirs(nodeId, ids).then(({ error }) => {
      if (error === ErrorCode.NONE) return;
      const found = errorMessage(error);
      logger.warn("Failed log directory is not noted in the metadata", { path, found });
    });
  });
}

/** A disk that was not mounted looks like a new, empty directory: its id is what tells. */
function reportMissing(
  { nodeId, logger, logDirectories, controller }: DirectoryWatchOptions,
): void {
  const before = controller.image().brokers.get(nodeId)?.logDirs ?? [];
  const missing = before.filter((id) => logDirectories.byId(id) === undefined);
  if (missing.length === 0) return;
  logger.error(
    "Log directories that this node had are missing or offline, and their partitions with them; check " +
      "that every disk of log.dirs is mounted",
    { directoryIds: missing },
  );
}
