/**
 * Removes a directory with all that is in it. A file system may take long to free a large file, so it is
 * done off the event loop.
 */

import type { Job } from "./workers.ts";

/** Input: the path. */
export const removeDirectoryJob: Job<{ readonly path: string }, void> = {
  name: "remove-directory",
  lane: "maintenance",
  run({ path }, { disk }) {
    disk.removeDirectory(path);
  },
};
