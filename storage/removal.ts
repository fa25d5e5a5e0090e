/**
 * Removes files and directories off the event loop, since a file system may take long to free a large one.
 *
 * What is to be removed has been renamed before, to a name that a start removes too: whatever is not done
 * when the process ends is done by the next one.
 */

import { type Clock, type Disk, DiskError, type Logger, type Timer } from "./platform.ts";
import { type Job, JobCancelledError, type Workers } from "./workers.ts";

/** Files and directories that one job removes: other work waits for the same thread. */
const MOST_AT_ONCE = 100;

/** Input: files, which may be gone already, and directories with all that is in them. */
export const removeJob: Job<
  { readonly files: readonly string[]; readonly directories: readonly string[] },
  void
> = {
  name: "remove",
  lane: "maintenance",
  run({ files, directories }, { disk, logger }) {
    for (const path of files) removeQuietly(disk, logger, path, (file) => disk.remove(file));
    for (const path of directories) {
      removeQuietly(disk, logger, path, (directory) => disk.removeDirectory(directory));
    }
  },
};

function removeQuietly(
  disk: Disk,
  logger: Logger,
  path: string,
  remove: (path: string) => void,
): void {
  try {
    if (disk.exists(path)) remove(path);
  } catch (failure) {
    if (!(failure instanceof DiskError)) throw failure;
    logger.warn("What was deleted could not be removed", { path, found: failure.message });
  }
}

/** What removals need. */
export interface RemovalOptions {
  readonly clock: Clock;
  readonly workers: Workers;
}

/** Removals that wait for their time, or for a worker. */
export class DelayedRemoval {
  readonly #options: RemovalOptions;
  /** What each timer is for. */
  readonly #waiting = new Map<Timer, () => void>();
  readonly #stopped = new AbortController();
  /** What is due, while a job is under way. */
  #dueFiles: string[] = [];
  #dueDirectories: string[] = [];
  #isRunning = false;

  constructor(options: RemovalOptions) {
    this.#options = options;
  }

  /** Removes the files, and the directories with all that is in them, after `delayMs`. */
  removeLater(
    files: readonly string[],
    delayMs: number,
    directories: readonly string[] = [],
  ): void {
    const remove = () => {
      this.#waiting.delete(timer);
      this.#dueFiles.push(...files);
      this.#dueDirectories.push(...directories);
      if (!this.#isRunning) void this.#removeDue();
    };
    const timer = this.#options.clock.timer(delayMs, remove);
    this.#waiting.set(timer, remove);
  }

  /** Removes now what still waits: the room is needed. */
  hurry(): void {
    for (const [timer, remove] of this.#waiting) {
      timer.cancel();
      remove();
    }
  }

  /** One job after the other, each with a share of what is due: a topic may have thousands of partitions. */
  async #removeDue(): Promise<void> {
    const { signal } = this.#stopped;
    this.#isRunning = true;
    try {
      while (this.#dueFiles.length + this.#dueDirectories.length > 0) {
        const files = this.#dueFiles.splice(0, MOST_AT_ONCE);
        const directories = this.#dueDirectories.splice(0, MOST_AT_ONCE);
        await this.#options.workers.run(removeJob, { files, directories }, { signal });
      }
    } catch (failure) {
      if (!(failure instanceof JobCancelledError)) throw failure;
    } finally {
      this.#isRunning = false;
    }
  }

  /** Gives up what is left, which the next start removes. */
  close(): void {
    for (const timer of this.#waiting.keys()) timer.cancel();
    this.#waiting.clear();
    this.#stopped.abort();
  }
}
