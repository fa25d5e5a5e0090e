/**
 * Faults of a store, planted between it and its disk, to show that the simulation notices them.
 *
 * Each wraps the simulated disk so that the store behaves as if a line of it were missing or wrong: what it
 * asks for is not done, done by half, or answered with something else.
 */

import {
  batchSizeBytes,
  readLastOffset,
  RECORD_BATCH_OVERHEAD,
  sealCrc,
} from "../../protocol/record_batch.ts";
import type { Disk, DiskFile } from "../../storage/platform.ts";
import type { Weather } from "./disk_weather.ts";
import type { SimDisk } from "./sim_disk.ts";
import type { DiskWrapper } from "./storage_world.ts";

/** An object that answers as `target` does, but for some of its members. */
function withMembers<T extends object>(target: T, changed: Partial<T>): T {
  return new Proxy(target, {
    get(inner, name) {
      if (Object.hasOwn(changed, name)) return changed[name as keyof T];
      const member: unknown = Reflect.get(inner, name, inner);
      return typeof member === "function" ? member.bind(inner) : member;
    },
  });
}

/** A disk that does something else than asked. */
function withDisk(change: (disk: SimDisk) => Partial<Disk>): DiskWrapper {
  return (disk) => withMembers<Disk>(disk, change(disk));
}

/** A disk whose files do something else than asked. */
function withFiles(
  change: (file: DiskFile, path: string, disk: SimDisk) => Partial<DiskFile>,
): DiskWrapper {
  return withDisk((disk) => ({
    open(path, mode) {
      const file = disk.open(path, mode);
      return withMembers(file, change(file, path, disk));
    },
  }));
}

const isLog = (path: string) => path.endsWith(".log");
const nothing = () => {};
const done = () => Promise.resolve();

function everyTenth(): () => boolean {
  let count = 0;
  return () => count++ % 10 === 0;
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

/** Names that were changed by a rename alone are not synced. */
function withoutSyncAfterRename(): DiskWrapper {
  return withDisk((disk) => {
    const renamed = new Set<string>();
    return {
      rename(from, to) {
        disk.rename(from, to);
        renamed.add(parentOf(to));
      },
      async syncDirectory(path) {
        if (!renamed.delete(path)) await disk.syncDirectory(path);
      },
    };
  });
}

/** Recovery points say that all is stable which is written. */
function recoveryPointAhead(): DiskWrapper {
  return withFiles((file, path, disk) => {
    if (!path.includes("recovery-point-offset-checkpoint")) return {};
    return {
      write(position, bytes) {
        const lines = new TextDecoder().decode(bytes).split("\n");
        const raised = lines.map((line) => {
          const [topic, partition, point] = line.split(" ");
          if (point === undefined) return line;
          const end = writtenEnd(disk, `${parentOf(path)}/${topic}-${partition}`);
          return `${topic} ${partition} ${Math.max(end, Number(point))}`;
        });
        file.write(position, new TextEncoder().encode(raised.join("\n")));
      },
    };
  });
}

function writtenEnd(disk: SimDisk, directory: string): number {
  const newest = disk.files().findLast((path) => parentOf(path) === directory && isLog(path));
  const bytes = newest === undefined ? new Uint8Array(0) : disk.bytesOf(newest);
  let end = 0;
  for (let at = 0; at < bytes.length; at += batchSizeBytes(bytes, at)) {
    end = readLastOffset(bytes, at) + 1;
  }
  return end;
}

/** What is read has a checksum that fits. */
function withoutChecksums(): DiskWrapper {
  const seal = (bytes: Uint8Array, count: number): number => {
    for (let at = 0; at + RECORD_BATCH_OVERHEAD <= count;) {
      const sizeBytes = batchSizeBytes(bytes, at);
      if (sizeBytes < RECORD_BATCH_OVERHEAD || at + sizeBytes > count) break;
      sealCrc(bytes, at);
      at += sizeBytes;
    }
    return count;
  };
  return withFiles((file, path) => {
    if (!isLog(path)) return {};
    return {
      read: (position, into) => seal(into, file.read(position, into)),
      readCold: async (position, into) => seal(into, await file.readCold(position, into)),
    };
  });
}

/** A fault, and the weather that brings it out where not every one does. */
export interface PlantedFault {
  /** Made anew for each life. */
  readonly plant: () => DiskWrapper;
  readonly weathers?: readonly Weather[];
}

const SYNCS_FAIL: Pick<PlantedFault, "weathers"> = { weathers: ["syncsFail"] };

/** By what is wrong with the store. */
export const PLANTED_FAULTS: Readonly<Record<string, PlantedFault>> = {
  "a sync that is skipped": {
    plant: () => withFiles((_, path) => isLog(path) ? { sync: done } : {}),
  },
  "one sync in ten that is skipped": {
    plant() {
      const isSkipped = everyTenth();
      return withFiles((file, path) => ({
        sync: () => isLog(path) && isSkipped() ? done() : file.sync(),
      }));
    },
  },
  "a cut of one byte too few": {
    plant: () =>
      withFiles((file, path) => ({
        truncate(sizeBytes) {
          file.truncate(isLog(path) ? Math.min(sizeBytes + 1, file.sizeBytes) : sizeBytes);
        },
      })),
  },
  "an index that is not cut": {
    plant: () => withFiles((_, path) => path.endsWith(".index") ? { truncate: nothing } : {}),
  },
  "a directory that is not synced": { plant: () => withDisk(() => ({ syncDirectory: done })) },
  "one directory sync in ten that is skipped": {
    plant() {
      const isSkipped = everyTenth();
      return withDisk((disk) => ({
        syncDirectory: (path) => isSkipped() ? done() : disk.syncDirectory(path),
      }));
    },
  },
  "a rename that no sync of the directory follows": { plant: withoutSyncAfterRename },
  "a recovery point ahead of the sync": { plant: recoveryPointAhead },
  "a failed sync that is tried again and believed": {
    plant: () => withFiles((file) => ({ sync: () => file.sync().catch(() => file.sync()) })),
    ...SYNCS_FAIL,
  },
  "a disk failure that the next start hears nothing of": {
    plant: () =>
      withDisk((disk) => ({
        exists: (path) => !path.endsWith(".weir-disk-failed") && disk.exists(path),
      })),
    ...SYNCS_FAIL,
  },
  "a checksum that recovery does not compare": { plant: withoutChecksums },
  "a snapshot past the end that is not removed": {
    plant: () =>
      withDisk((disk) => ({
        remove(path) {
          if (!path.endsWith(".snapshot")) disk.remove(path);
        },
      })),
  },
};
