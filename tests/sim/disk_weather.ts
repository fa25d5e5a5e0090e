/**
 * What a simulated disk does wrong for a while: fills up, runs out of handles, is slow, fails.
 *
 * Passing weather (a full disk, no file handles, slow syncs) breaks nothing: no log may go offline by it. The
 * rest is a disk that says EIO now and then; what it said that to is out of service until the next start.
 */

import type { SimDisk } from "./sim_disk.ts";
import type { SimRandom } from "./sim_random.ts";

/** Kinds of weather, and whether each breaks something. */
export const WEATHERS = {
  full: { breaks: false },
  nearlyFull: { breaks: false },
  noHandles: { breaks: false },
  slow: { breaks: false },
  syncsFail: { breaks: true },
  directorySyncsFail: { breaks: true },
  writesFail: { breaks: true },
  readsFail: { breaks: true },
  opensFail: { breaks: true },
  renamesFail: { breaks: true },
  truncationsFail: { breaks: true },
  removalsFail: { breaks: true },
} as const;

/** A kind of weather. */
export type Weather = keyof typeof WEATHERS;

/** Every kind. */
export const ALL_WEATHERS = Object.keys(WEATHERS) as Weather[];

/** Lets a kind of weather begin on the disk. */
export function begin(weather: Weather, disk: SimDisk, random: SimRandom): void {
  clear(disk);
  const rarely = random.pick([0.05, 0.5, 1]);
  const now = (code: string) => () => random.chance(rarely) ? code : null;
  const setters: Record<Weather, () => void> = {
    full: () => disk.capacityBytes = disk.usedBytes + random.below(600),
    nearlyFull: () => disk.capacityBytes = disk.usedBytes + random.below(20_000),
    noHandles: () => disk.faults = { open: now("EMFILE"), syncDirectory: now("EMFILE") },
    slow: () => disk.faults = { syncDelayMs: () => random.below(300) },
    syncsFail: () => disk.faults = { sync: now("EIO") },
    directorySyncsFail: () => disk.faults = { syncDirectory: now("EIO") },
    writesFail: () => disk.faults = { write: now("EIO") },
    readsFail: () => disk.faults = { read: now("EIO") },
    opensFail: () => disk.faults = { open: now("EIO") },
    renamesFail: () => disk.faults = { rename: now("EIO") },
    truncationsFail: () => disk.faults = { truncate: now("EIO") },
    removalsFail: () => disk.faults = { remove: now("EIO") },
  };
  setters[weather]();
}

/** Ends all weather. */
export function clear(disk: SimDisk): void {
  disk.faults = {};
  disk.capacityBytes = Infinity;
}
