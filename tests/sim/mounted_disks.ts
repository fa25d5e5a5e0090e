/**
 * Several simulated disks under one tree of names, each with its own room and its own faults.
 *
 *     /metadata … ──→ the root disk        /disk1/… ──→ a disk        /disk2/… ──→ another one
 *
 * A disk that fails answers EIO to everything, open handles included, until it is mended. A disk that is
 * unmounted leaves the empty directory that it was mounted on. Power is lost for all of them at once.
 */

import {
  type DirectoryEntry,
  type Disk,
  DiskError,
  type DiskFile,
  type DiskLock,
} from "../../storage/platform.ts";
import { SimDisk, type SimDiskOptions } from "./sim_disk.ts";
import type { SimRandom } from "./sim_random.ts";

interface Mount {
  readonly path: string;
  disk: SimDisk;
  /** What is mounted there when it is not the disk itself. */
  kept: SimDisk | null;
  isFailed: boolean;
}

/** What the disks are made of. */
export interface MountedDisksOptions extends Omit<SimDiskOptions, "random" | "capacityBytes"> {
  readonly random: SimRandom;
  readonly root: SimDisk;
  /** Capacity of each disk in bytes, by the directory that it is mounted on. */
  readonly mounts: Readonly<Record<string, number>>;
}

/** The disks. */
export class MountedDisks implements Disk {
  readonly #root: SimDisk;
  readonly #mounts: readonly Mount[];
  readonly #options: MountedDisksOptions;

  constructor(options: MountedDisksOptions) {
    this.#options = options;
    this.#root = options.root;
    this.#mounts = Object.entries(options.mounts).map(([path, capacityBytes]) => ({
      path,
      disk: this.#newDisk(path, capacityBytes),
      kept: null,
      isFailed: false,
    }));
  }

  #newDisk(path: string, capacityBytes: number): SimDisk {
    const { random, mounts: _mounts, root: _root, ...rest } = this.#options;
    const disk = new SimDisk({ ...rest, random: random.fork(path), capacityBytes });
    disk.plant(`${path}/lost+found`, new Uint8Array(0));
    return disk;
  }

  /** The directories that disks are mounted on. */
  get paths(): string[] {
    return this.#mounts.map(({ path }) => path);
  }

  /** The disk that is mounted on a directory, for faults and looks at its bytes. */
  at(path: string): SimDisk {
    return this.#mount(path).disk;
  }

  /** Everything on the disk fails from now on. */
  fail(path: string, code = "EIO"): void {
    const mount = this.#mount(path);
    mount.isFailed = true;
    const fault = (): string => code;
    mount.disk.faults = { read: fault, write: fault, sync: fault, syncDirectory: fault };
  }

  /** The disk works again, with what was stable and what was in the page cache. */
  mend(path: string): void {
    const mount = this.#mount(path);
    mount.isFailed = false;
    mount.disk.faults = {};
  }

  /** Another, empty disk takes the place of the one that is mounted on a directory. */
  unmount(path: string): void {
    const mount = this.#mount(path);
    mount.kept = mount.disk;
    mount.disk = this.#newDisk(path, mount.disk.capacityBytes);
  }

  /** Brings back the disk that was there before `unmount`. */
  remount(path: string): void {
    const mount = this.#mount(path);
    mount.disk = mount.kept ?? mount.disk;
    mount.kept = null;
  }

  /** Power is lost. */
  crash(): void {
    for (const { disk } of this.#all()) disk.crash();
  }

  /** The process is killed. */
  kill(): void {
    for (const { disk } of this.#all()) disk.kill();
  }

  #all(): readonly { readonly disk: SimDisk }[] {
    return [{ disk: this.#root }, ...this.#mounts];
  }

  #mount(path: string): Mount {
    const mount = this.#mounts.find((one) => one.path === path);
    if (mount === undefined) throw new Error(`no disk is mounted on ${path}`);
    return mount;
  }

  #diskOf(path: string, doing: string): SimDisk {
    const mount = this.#mounts.find((one) => path === one.path || path.startsWith(`${one.path}/`));
    if (mount?.isFailed) throw new DiskError(`Cannot ${doing} ${path}: its disk failed`, "EIO");
    return mount?.disk ?? this.#root;
  }

  open(path: string, mode: "read" | "write"): DiskFile {
    return this.#diskOf(path, "open").open(path, mode);
  }
  exists(path: string): boolean {
    const mount = this.#mounts.find((one) => path.startsWith(one.path));
    // As with the real one: a path that cannot be looked at is not there.
    return mount?.isFailed !== true && this.#diskOf(path, "look at").exists(path);
  }
  names(path: string): string[] {
    return this.#diskOf(path, "list").names(path);
  }

  list(path: string): DirectoryEntry[] {
    return this.#diskOf(path, "list").list(path);
  }
  makeDirectory(path: string): void {
    this.#diskOf(path, "make directory").makeDirectory(path);
  }
  rename(from: string, to: string): void {
    this.#diskOf(from, "rename").rename(from, to);
  }
  remove(path: string): void {
    this.#diskOf(path, "remove").remove(path);
  }
  removeDirectory(path: string): void {
    this.#diskOf(path, "remove directory").removeDirectory(path);
  }
  async syncDirectory(path: string): Promise<void> {
    await this.#diskOf(path, "sync directory").syncDirectory(path);
  }
  modifiedMs(path: string): number {
    return this.#diskOf(path, "read the time of").modifiedMs(path);
  }
  setModifiedMs(path: string, timeMs: number): void {
    this.#diskOf(path, "set the time of").setModifiedMs(path, timeMs);
  }
  freeBytes(path: string): number {
    return this.#diskOf(path, "read free space of").freeBytes();
  }
  totalBytes(path: string): number {
    return this.#diskOf(path, "read the size of the disk of").totalBytes();
  }
  absolutePath(path: string): string {
    return this.#root.absolutePath(path);
  }
  lock(path: string): DiskLock | null {
    return this.#diskOf(path, "lock").lock(path);
  }
}
