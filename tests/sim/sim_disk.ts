/**
 * A disk in memory that knows what was synced.
 *
 * Of each file and directory it keeps what the process sees and what is stable (`sim_inode.ts`). `crash()`
 * cuts the power: what was not synced is kept, lost or torn by seed. `kill()` ends the process alone: the
 * page cache stays. Handles and syncs of a process that is gone never answer again.
 *
 *     page cache ──sync──→ stable storage         names ──syncDirectory──→ stable names
 *         └── changes since: kept, lost or torn at crash
 *
 * Syncs take time and end in any order. A full disk takes the part of a write that still fits, and makes
 * no new names. `faults` says what fails; a sync that failed drops its changes from the page cache's list of
 * dirty pages, as Linux does: a later sync that succeeds does not make them stable.
 */

import {
  type Clock,
  type DirectoryEntry,
  type Disk,
  DiskError,
  type DiskFile,
  type DiskLock,
} from "../../storage/platform.ts";
import { DirectoryNode, FileNode, type Node } from "./sim_inode.ts";
import type { SimRandom } from "./sim_random.ts";

export { SECTOR_BYTES } from "./sim_inode.ts";

/** Faults that a test switches on. Each returns an errno name, or null for no fault. */
export interface DiskFaults {
  open?: (path: string, mode: "read" | "write") => string | null;
  /** A write that fails may have written a part all the same. */
  write?: (path: string, byteCount: number) => string | null;
  truncate?: (path: string) => string | null;
  read?: (path: string, position: number) => string | null;
  rename?: (from: string, to: string) => string | null;
  remove?: (path: string) => string | null;
  sync?: (path: string) => string | null;
  syncDirectory?: (path: string) => string | null;
  /** Milliseconds that a sync takes on top. */
  syncDelayMs?: (path: string) => number;
}

/** How a simulated disk behaves. */
export interface SimDiskOptions {
  /** What files note as the time of their change; that of `clock` when left out. */
  readonly wallMs?: () => number;
  readonly random: SimRandom;
  /** With a clock, each sync takes up to `maxSyncMs` of virtual time; else one microtask. */
  readonly clock?: Clock;
  readonly maxSyncMs?: number;
  readonly capacityBytes?: number;
}

const MAX_KNOWN_PATHS = 10_000;

function never(): Promise<never> {
  return new Promise<never>(() => {});
}

/** The simulated disk. */
export class SimDisk implements Disk {
  faults: DiskFaults = {};
  capacityBytes: number;
  /** How often each kind of call was made, for tests that count system calls. */
  readonly calls = { open: 0, read: 0, write: 0, sync: 0, syncDirectory: 0 };
  readonly #random: SimRandom;
  readonly #clock: Clock | undefined;
  readonly #wallMs: () => number;
  readonly #maxSyncMs: number;
  readonly #root = new DirectoryNode();
  readonly #knownParts = new Map<string, readonly string[]>();
  #locks = new Set<string>();
  #incarnation = 0;

  constructor(options: SimDiskOptions) {
    this.#random = options.random;
    this.#clock = options.clock;
    this.#wallMs = options.wallMs ?? (() => options.clock?.wallMs() ?? 0);
    this.#maxSyncMs = options.maxSyncMs ?? 3;
    this.capacityBytes = options.capacityBytes ?? Infinity;
  }

  /** Power is lost: what was not synced is kept, lost or torn. Every open handle is dead. */
  crash(): void {
    this.kill();
    this.#root.crash(this.#random);
  }

  /** The process is killed; the machine lives on, so the page cache and all names stay. */
  kill(): void {
    this.#incarnation++;
    this.#locks.clear();
  }

  /** True while a file shows what a sync that failed has dropped. */
  get hasDropped(): boolean {
    return nodesOf(this.#root).some((node) => node.hasDropped);
  }

  /** Turns one bit over, in the page cache and on stable storage. */
  flipBit(path: string, position: number, bit = 0): void {
    const file = this.#file(path, "flip a bit of");
    for (const content of [file.current, file.stable]) {
      if (position < content.sizeBytes) content.bytes[position]! ^= 1 << bit;
    }
  }

  /** What the process sees of a whole file. */
  bytesOf(path: string): Uint8Array {
    const { current } = this.#file(path, "read");
    return current.bytes.slice(0, current.sizeBytes);
  }

  /** Bytes of a file as the process sees it. */
  sizeOf(path: string): number {
    return this.#file(path, "read").current.sizeBytes;
  }

  /** Replaces a file's content, as stable as can be; makes the file and its directories. */
  plant(path: string, bytes: Uint8Array): void {
    const parts = this.#parts(path);
    let directory = this.#root;
    for (const part of parts.slice(0, -1)) {
      const known = directory.current.get(part);
      const next = known instanceof DirectoryNode ? known : new DirectoryNode();
      directory.current.set(part, next);
      directory.stable.set(part, next);
      directory = next;
    }
    const file = new FileNode();
    file.stable.write(0, bytes);
    file.current = file.stable.copy();
    directory.current.set(parts.at(-1)!, file);
    directory.stable.set(parts.at(-1)!, file);
  }

  /** Paths of all files, sorted. */
  files(): string[] {
    const paths: string[] = [];
    const visit = (directory: DirectoryNode, path: string): void => {
      for (const [name, node] of directory.current) {
        if (node instanceof FileNode) paths.push(`${path}/${name}`);
        else visit(node, `${path}/${name}`);
      }
    };
    visit(this.#root, "");
    return paths.sort();
  }

  open(path: string, mode: "read" | "write"): DiskFile {
    this.calls.open++;
    this.#fault(this.faults.open?.(path, mode), `open ${path}`);
    let node = this.#node(path);
    if (node instanceof DirectoryNode) {
      throw new DiskError(`Cannot open ${path}: is a directory`, "EISDIR");
    }
    if (node === undefined) {
      if (mode === "read") throw new DiskError(`Cannot open ${path}: no such file`, "ENOENT");
      const { directory, name } = this.#place(path, "open");
      this.#needRoom(`open ${path}`);
      node = new FileNode();
      directory.change({ kind: "put", name, node });
    }
    return new SimDiskFile(this, path, node, mode);
  }

  exists(path: string): boolean {
    return this.#node(path) !== undefined;
  }

  list(path: string): DirectoryEntry[] {
    const node = this.#node(path);
    if (!(node instanceof DirectoryNode)) {
      throw new DiskError(`Cannot list ${path}: no such directory`, "ENOENT");
    }
    return [...node.current].map(([name, { kind }]) => ({ name, kind }));
  }

  names(path: string): string[] {
    return this.list(path).map(({ name }) => name);
  }

  makeDirectory(path: string): void {
    let directory = this.#root;
    for (const name of this.#parts(path)) {
      let node = directory.current.get(name);
      if (node instanceof FileNode) {
        throw new DiskError(`Cannot make directory ${path}: is a file`, "EEXIST");
      }
      if (node === undefined) {
        this.#needRoom(`make directory ${path}`);
        node = new DirectoryNode();
        directory.change({ kind: "put", name, node });
      }
      directory = node;
    }
  }

  rename(from: string, to: string): void {
    this.#fault(this.faults.rename?.(from, to), `rename ${from} to ${to}`);
    const source = this.#place(from, "rename");
    const target = this.#place(to, "rename");
    if (!source.directory.current.has(source.name)) {
      throw new DiskError(`Cannot rename ${from} to ${to}: no such file`, "ENOENT");
    }
    if (source.directory !== target.directory) {
      throw new DiskError(
        `Cannot rename ${from} to ${to}: another directory is not simulated`,
        "EXDEV",
      );
    }
    source.directory.change({ kind: "rename", from: source.name, to: target.name });
  }

  remove(path: string): void {
    this.#fault(this.faults.remove?.(path), `remove ${path}`);
    this.#file(path, "remove");
    const { directory, name } = this.#place(path, "remove");
    directory.change({ kind: "remove", name });
  }

  /** Name by name, so that a crash may leave a part of it. */
  removeDirectory(path: string): void {
    this.#fault(this.faults.remove?.(path), `remove ${path}`);
    const node = this.#node(path);
    if (node instanceof DirectoryNode) this.#removeTree(node);
    if (node === undefined) return;
    const { directory, name } = this.#place(path, "remove");
    directory.change({ kind: "remove", name });
  }

  #removeTree(directory: DirectoryNode): void {
    for (const [name, node] of [...directory.current]) {
      if (node instanceof DirectoryNode) this.#removeTree(node);
      directory.change({ kind: "remove", name });
    }
  }

  async syncDirectory(path: string): Promise<void> {
    this.calls.syncDirectory++;
    const node = this.#node(path);
    if (!(node instanceof DirectoryNode)) {
      throw new DiskError(`Cannot sync directory ${path}: no such directory`, "ENOENT");
    }
    const { mark } = node.pending;
    await this.latency(path);
    this.#syncFault(this.faults.syncDirectory?.(path), `sync directory ${path}`);
    node.settle(mark);
  }

  modifiedMs(path: string): number {
    return this.#file(path, "read the time of").modifiedMs;
  }

  setModifiedMs(path: string, timeMs: number): void {
    this.#file(path, "set the time of").modifiedMs = timeMs;
  }

  totalBytes(): number {
    return this.capacityBytes;
  }

  absolutePath(path: string): string {
    return `/${path.split("/").filter((part) => part !== "" && part !== ".").join("/")}`;
  }

  freeBytes(): number {
    return Math.max(0, this.capacityBytes - usedBytes(this.#root));
  }

  /** Bytes of all files. */
  get usedBytes(): number {
    return usedBytes(this.#root);
  }

  lock(path: string): DiskLock | null {
    this.open(path, "write").close();
    const at = this.#parts(path).join("/");
    if (this.#locks.has(at)) return null;
    this.#locks.add(at);
    const incarnation = this.#incarnation;
    return {
      release: () => {
        if (incarnation === this.#incarnation) this.#locks.delete(at);
      },
    };
  }

  /** For the files of this disk: which process they belong to. */
  get incarnation(): number {
    return this.#incarnation;
  }

  /** For the files of this disk: lets a sync's time pass; never returns for a process that has crashed. */
  async latency(path = ""): Promise<void> {
    const incarnation = this.#incarnation;
    const delayMs = this.faults.syncDelayMs?.(path) ?? 0;
    if (this.#clock === undefined) await Promise.resolve();
    else await this.#clock.sleep(delayMs + this.#random.below(this.#maxSyncMs * 1000) / 1000);
    if (incarnation !== this.#incarnation) await never();
  }

  /** For the files of this disk. */
  write(file: FileNode, path: string, position: number, bytes: Uint8Array): void {
    this.calls.write++;
    const doing = `write ${bytes.length} bytes of ${path}`;
    const fault = this.faults.write?.(path, bytes.length) ?? null;
    let room = bytes.length;
    if (fault !== null) room = this.#random.pick([0, this.#random.below(bytes.length + 1)]);
    else if (this.capacityBytes !== Infinity) {
      const growth = Math.max(0, position + bytes.length - file.current.sizeBytes);
      room = bytes.length - Math.max(0, growth - this.freeBytes());
    }
    if (room > 0) {
      const kept = bytes.slice(0, room);
      file.modifiedMs = this.#wallMs();
      file.change({ kind: "write", position, bytes: kept, doomed: false });
    }
    this.#fault(fault, doing);
    if (room < bytes.length) throw new DiskError(`Cannot ${doing}: disk full`, "ENOSPC");
  }

  /** For the files of this disk. */
  truncate(file: FileNode, path: string, sizeBytes: number): void {
    this.#fault(this.faults.truncate?.(path), `truncate ${path}`);
    file.change({ kind: "truncate", sizeBytes, doomed: false });
  }

  /** For the files of this disk. */
  async sync(file: FileNode, path: string): Promise<void> {
    this.calls.sync++;
    const { mark } = file.pending;
    await this.latency(path);
    const fault = this.faults.sync?.(path) ?? null;
    if (fault !== null) file.doom(mark);
    this.#syncFault(fault, `sync ${path}`);
    file.settle(mark, this.#random);
  }

  /** For the files of this disk. */
  readFault(path: string, position: number): void {
    this.calls.read++;
    this.#fault(this.faults.read?.(path, position), `read ${path} at ${position}`);
  }

  #fault(code: string | null | undefined, doing: string): void {
    if (code) throw new DiskError(`Cannot ${doing}: ${code}`, code);
  }

  /** Without a handle nothing is tried. */
  #syncFault(code: string | null | undefined, doing: string): void {
    if (!code) return;
    const isFailedSync = code !== "EMFILE" && code !== "ENFILE";
    throw new DiskError(`Cannot ${doing}: ${code}`, code, { isFailedSync });
  }

  #needRoom(doing: string): void {
    if (this.capacityBytes === Infinity || this.freeBytes() > 0) return;
    throw new DiskError(`Cannot ${doing}: disk full`, "ENOSPC");
  }

  #parts(path: string): readonly string[] {
    const known = this.#knownParts.get(path);
    if (known !== undefined) return known;
    const parts = path.split("/").filter((part) => part !== "" && part !== ".");
    if (this.#knownParts.size >= MAX_KNOWN_PATHS) this.#knownParts.clear();
    this.#knownParts.set(path, parts);
    return parts;
  }

  #node(path: string): Node | undefined {
    let node: Node | undefined = this.#root;
    for (const part of this.#parts(path)) {
      if (!(node instanceof DirectoryNode)) return undefined;
      node = node.current.get(part);
    }
    return node;
  }

  #file(path: string, doing: string): FileNode {
    const node = this.#node(path);
    if (node instanceof FileNode) return node;
    throw new DiskError(`Cannot ${doing} ${path}: no such file`, "ENOENT");
  }

  /** Where a name is, or would be. */
  #place(path: string, doing: string): { directory: DirectoryNode; name: string } {
    const parts = this.#parts(path);
    let directory: Node | undefined = this.#root;
    for (const part of parts.slice(0, -1)) {
      directory = directory instanceof DirectoryNode ? directory.current.get(part) : undefined;
    }
    if (directory instanceof DirectoryNode && parts.length > 0) {
      return { directory, name: parts.at(-1)! };
    }
    throw new DiskError(`Cannot ${doing} ${path}: no such directory`, "ENOENT");
  }
}

function nodesOf(directory: DirectoryNode): FileNode[] {
  return [...directory.current.values()].flatMap((node) =>
    node instanceof FileNode ? [node] : nodesOf(node)
  );
}

function usedBytes(directory: DirectoryNode): number {
  let sum = 0;
  for (const node of directory.current.values()) {
    sum += node instanceof FileNode ? node.current.sizeBytes : usedBytes(node);
  }
  return sum;
}

class SimDiskFile implements DiskFile {
  readonly path: string;
  #disk: SimDisk;
  #file: FileNode;
  #mode: "read" | "write";
  #incarnation: number;
  #open = true;

  constructor(disk: SimDisk, path: string, file: FileNode, mode: "read" | "write") {
    this.path = path;
    this.#disk = disk;
    this.#file = file;
    this.#mode = mode;
    this.#incarnation = disk.incarnation;
  }

  get sizeBytes(): number {
    return this.#file.current.sizeBytes;
  }

  #alive(doing: string): void {
    if (this.#incarnation !== this.#disk.incarnation) {
      throw new DiskError(`Cannot ${doing} ${this.path}: its process has crashed`, "EOWNERDEAD");
    }
    if (!this.#open) throw new DiskError(`Cannot ${doing} ${this.path}: it is closed`, "EBADF");
  }

  read(position: number, into: Uint8Array): number {
    this.#alive("read");
    if (position < 0) throw new DiskError(`Cannot read ${this.path} at ${position}`, "EINVAL");
    this.#disk.readFault(this.path, position);
    const { bytes, sizeBytes } = this.#file.current;
    const count = Math.max(0, Math.min(into.length, sizeBytes - position));
    into.set(bytes.subarray(position, position + count));
    return count;
  }

  async readCold(position: number, into: Uint8Array): Promise<number> {
    await Promise.resolve();
    if (this.#incarnation !== this.#disk.incarnation) await never();
    return this.read(position, into);
  }

  #writable(doing: string): void {
    this.#alive(doing);
    if (this.#mode === "read") {
      throw new DiskError(`Cannot ${doing} ${this.path}: read-only`, "EBADF");
    }
  }

  write(position: number, bytes: Uint8Array): void {
    this.#writable("write");
    this.#disk.write(this.#file, this.path, position, bytes);
  }

  truncate(sizeBytes: number): void {
    this.#writable("truncate");
    this.#disk.truncate(this.#file, this.path, sizeBytes);
  }

  async sync(): Promise<void> {
    this.#alive("sync");
    await this.#disk.sync(this.#file, this.path);
  }

  close(): void {
    this.#open = false;
  }
}
