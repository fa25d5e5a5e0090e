/**
 * A disk in memory that knows what was synced.
 *
 * Each file keeps three things apart: what the process sees (the page cache), what is on stable storage,
 * and the list of changes in between. `crash()` ends the process that used the disk and decides by seed,
 * file by file, what had reached stable storage: all changes, none, or for each 512-byte sector (and for
 * the size) those up to some moment of their own.
 * Names work the same way: those made, renamed or removed since the directory's last sync survive up to
 * a random one of them, in order, as in a journal.
 *
 *     page cache ──sync──→ stable storage         names ──syncDirectory──→ stable names
 *         └── changes since: kept, lost or torn at crash
 *
 * A sync that failed drops its changes from the page cache's dirty list, as Linux does: a later sync
 * that succeeds does not make them stable. Handles and syncs of a crashed process never answer again.
 */

import {
  type Clock,
  type DirectoryEntry,
  type Disk,
  DiskError,
  type DiskFile,
  type DiskLock,
} from "../../storage/platform.ts";
import type { SimRandom } from "./sim_random.ts";

/** What a torn write is torn into. */
export const SECTOR_BYTES = 512;

type Change =
  | {
    readonly kind: "write";
    readonly position: number;
    readonly bytes: Uint8Array;
    doomed: boolean;
  }
  | { readonly kind: "truncate"; readonly sizeBytes: number; doomed: boolean };

/** Bytes that grow. */
class Content {
  bytes = new Uint8Array(0);
  sizeBytes = 0;

  write(position: number, bytes: Uint8Array): void {
    const end = position + bytes.length;
    if (end > this.bytes.length) {
      const grown = new Uint8Array(Math.max(end, 2 * this.bytes.length));
      grown.set(this.bytes.subarray(0, this.sizeBytes));
      this.bytes = grown;
    }
    this.bytes.set(bytes, position);
    this.sizeBytes = Math.max(this.sizeBytes, end);
  }

  truncate(sizeBytes: number): void {
    if (sizeBytes > this.sizeBytes) {
      return this.write(sizeBytes, new Uint8Array(0));
    }
    this.bytes.fill(0, sizeBytes, this.sizeBytes);
    this.sizeBytes = sizeBytes;
  }

  apply(change: Change): void {
    if (change.kind === "write") this.write(change.position, change.bytes);
    else this.truncate(change.sizeBytes);
  }

  copy(): Content {
    const copy = new Content();
    copy.bytes = this.bytes.slice(0, this.sizeBytes);
    copy.sizeBytes = this.sizeBytes;
    return copy;
  }
}

class Inode {
  modifiedMs = 0;
  current = new Content();
  stable = new Content();
  changes: Change[] = [];

  change(change: Change): void {
    this.current.apply(change);
    this.changes.push(change);
  }

  /** The first `count` changes have reached stable storage, but for those whose sync had failed. */
  settle(settled: readonly Change[], random: SimRandom): void {
    for (const change of settled) {
      if (change.doomed) applyByChance(this.stable, change, random);
      else this.stable.apply(change);
    }
    this.changes = this.changes.slice(settled.length);
  }

  /** Each sector ends up as it was after some of the changes, and so does the size. */
  crash(random: SimRandom): void {
    const { changes } = this;
    const fate = random.below(3);
    if (fate === 1) { for (const change of changes) this.stable.apply(change); }
    if (fate === 2) this.#tear(random);
    this.changes = [];
    this.current = this.stable.copy();
  }

  #tear(random: SimRandom): void {
    const { changes, stable } = this;
    const sizes = [stable.sizeBytes];
    for (const change of changes) {
      const end = change.kind === "write"
        ? change.position + change.bytes.length
        : change.sizeBytes;
      sizes.push(change.kind === "write" ? Math.max(sizes.at(-1)!, end) : end);
    }
    const reached = new Map<number, number>();
    function reachedBy(sector: number): number {
      const known = reached.get(sector);
      if (known !== undefined) return known;
      const count = random.pick([0, changes.length, random.between(0, changes.length)]);
      reached.set(sector, count);
      return count;
    }
    for (const [index, change] of changes.entries()) {
      const isWrite = change.kind === "write";
      const from = isWrite ? change.position : change.sizeBytes;
      const to = isWrite ? change.position + change.bytes.length : stable.sizeBytes;
      for (let at = from; at < to;) {
        const end = Math.min(to, (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES);
        if (reachedBy(Math.floor(at / SECTOR_BYTES)) > index) {
          const bytes = isWrite
            ? change.bytes.subarray(at - from, end - from)
            : new Uint8Array(end - at);
          stable.write(at, bytes);
        }
        at = end;
      }
    }
    const sizeBytes = sizes[random.below(sizes.length)]!;
    if (sizeBytes > stable.sizeBytes) stable.write(sizeBytes - 1, new Uint8Array(1));
    else stable.truncate(sizeBytes);
  }
}

function applyByChance(
  content: Content,
  change: Change,
  random: SimRandom,
): void {
  const fate = random.below(3);
  if (fate === 0) return;
  if (fate === 1 || change.kind === "truncate") return content.apply(change);
  const { position, bytes } = change;
  for (let at = 0; at < bytes.length;) {
    const sectorEnd = (Math.floor((position + at) / SECTOR_BYTES) + 1) * SECTOR_BYTES -
      position;
    const end = Math.min(sectorEnd, bytes.length);
    if (random.chance(0.5)) {
      content.write(position + at, bytes.subarray(at, end));
    }
    at = end;
  }
}

type Node = Inode | "directory";
type NameChange =
  | { readonly kind: "make"; readonly path: string; readonly node: Node }
  | { readonly kind: "rename"; readonly from: string; readonly to: string }
  | { readonly kind: "remove"; readonly path: string };

function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash <= 0 ? "/" : path.slice(0, slash);
}

function normalize(path: string): string {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  return `/${parts.join("/")}`;
}

function applyName(names: Map<string, Node>, change: NameChange): void {
  if (change.kind === "make") {
    names.set(change.path, change.node);
    return;
  }
  const source = change.kind === "rename" ? change.from : change.path;
  if (!names.has(source)) return;
  const moved: [string, Node][] = [];
  for (const [path, node] of names) {
    if (path === source || path.startsWith(`${source}/`)) {
      moved.push([path, node]);
    }
  }
  for (const [path] of moved) names.delete(path);
  if (change.kind === "rename") {
    for (const [path, node] of moved) {
      names.set(change.to + path.slice(source.length), node);
    }
  }
}

/** Faults that a test switches on. Each returns an errno name, or null for no fault. */
export interface DiskFaults {
  write?: (path: string, byteCount: number) => string | null;
  read?: (path: string, position: number) => string | null;
  sync?: (path: string) => string | null;
  syncDirectory?: (path: string) => string | null;
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
  #names = new Map<string, Node>([["/", "directory"]]);
  #stableNames = new Map<string, Node>([["/", "directory"]]);
  /** Changes of names since the last sync of their directory, by directory. */
  #nameChanges = new Map<string, NameChange[]>();
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
    this.#incarnation++;
    this.#locks.clear();
    for (const changes of this.#nameChanges.values()) {
      const kept = this.#random.below(changes.length + 1);
      for (const change of changes.slice(0, kept)) {
        applyName(this.#stableNames, change);
      }
    }
    this.#nameChanges.clear();
    for (const path of [...this.#stableNames.keys()]) {
      if (!this.#stableNames.has(parentOf(path))) {
        this.#stableNames.delete(path);
      }
    }
    const inodes = new Set(this.#stableNames.values());
    for (const node of inodes) {
      if (node !== "directory") node.crash(this.#random);
    }
    this.#names = new Map(this.#stableNames);
  }

  /** The process is killed; the machine lives on, so the page cache and all names stay. */
  kill(): void {
    this.#incarnation++;
    this.#locks.clear();
  }

  /** Turns one bit over, in the page cache and on stable storage. */
  flipBit(path: string, position: number, bit = 0): void {
    const inode = this.#inode(normalize(path), "flip a bit of");
    for (const content of [inode.current, inode.stable]) {
      if (position < content.sizeBytes) content.bytes[position]! ^= 1 << bit;
    }
  }

  /** What the process sees of a whole file. */
  bytesOf(path: string): Uint8Array {
    const { current } = this.#inode(normalize(path), "read");
    return current.bytes.slice(0, current.sizeBytes);
  }

  /** Replaces a file's content, as stable as can be; makes the file and its directories. */
  plant(path: string, bytes: Uint8Array): void {
    const at = normalize(path);
    this.makeDirectory(parentOf(at));
    const inode = new Inode();
    inode.stable.write(0, bytes);
    inode.current = inode.stable.copy();
    for (let up = parentOf(at); up !== "/"; up = parentOf(up)) {
      this.#stableNames.set(up, "directory");
    }
    this.#names.set(at, inode);
    this.#stableNames.set(at, inode);
  }

  /** Paths of all files, sorted. */
  files(): string[] {
    return [...this.#names].filter(([, node]) => node !== "directory").map((
      [path],
    ) => path).sort();
  }

  open(path: string, mode: "read" | "write"): DiskFile {
    this.calls.open++;
    const at = normalize(path);
    let node = this.#names.get(at);
    if (node === "directory") {
      throw new DiskError(`Cannot open ${path}: is a directory`, "EISDIR");
    }
    if (node === undefined) {
      if (mode === "read") {
        throw new DiskError(`Cannot open ${path}: no such file`, "ENOENT");
      }
      if (this.#names.get(parentOf(at)) !== "directory") {
        throw new DiskError(`Cannot open ${path}: no such directory`, "ENOENT");
      }
      node = new Inode();
      this.#changeName(parentOf(at), { kind: "make", path: at, node });
    }
    return new SimDiskFile(this, path, node, mode);
  }

  exists(path: string): boolean {
    return this.#names.has(normalize(path));
  }

  list(path: string): DirectoryEntry[] {
    const at = normalize(path);
    if (this.#names.get(at) !== "directory") {
      throw new DiskError(`Cannot list ${path}: no such directory`, "ENOENT");
    }
    const entries: DirectoryEntry[] = [];
    for (const [name, node] of this.#names) {
      if (name !== "/" && parentOf(name) === at) {
        entries.push({
          name: name.slice(at === "/" ? 1 : at.length + 1),
          kind: node === "directory" ? "directory" : "file",
        });
      }
    }
    return entries;
  }

  makeDirectory(path: string): void {
    const at = normalize(path);
    const node = this.#names.get(at);
    if (node === "directory") return;
    if (node !== undefined) {
      throw new DiskError(`Cannot make directory ${path}: is a file`, "EEXIST");
    }
    this.makeDirectory(parentOf(at));
    this.#changeName(parentOf(at), {
      kind: "make",
      path: at,
      node: "directory",
    });
  }

  rename(from: string, to: string): void {
    const [source, target] = [normalize(from), normalize(to)];
    if (!this.#names.has(source)) {
      throw new DiskError(
        `Cannot rename ${from} to ${to}: no such file`,
        "ENOENT",
      );
    }
    if (parentOf(source) !== parentOf(target)) {
      throw new DiskError(
        `Cannot rename ${from} to ${to}: another directory is not simulated`,
        "EXDEV",
      );
    }
    this.#changeName(parentOf(source), {
      kind: "rename",
      from: source,
      to: target,
    });
  }

  remove(path: string): void {
    const at = normalize(path);
    this.#inode(at, "remove");
    this.#changeName(parentOf(at), { kind: "remove", path: at });
  }

  removeDirectory(path: string): void {
    const at = normalize(path);
    if (this.#names.has(at)) {
      this.#changeName(parentOf(at), { kind: "remove", path: at });
    }
  }

  async syncDirectory(path: string): Promise<void> {
    this.calls.syncDirectory++;
    const at = normalize(path);
    const settled = [...this.#nameChanges.get(at) ?? []];
    await this.latency();
    this.#fault(this.faults.syncDirectory?.(path), `sync directory ${path}`);
    // A sync of the same directory that overlapped may have settled some of them already.
    const pending = this.#nameChanges.get(at) ?? [];
    for (const change of pending) {
      if (settled.includes(change)) applyName(this.#stableNames, change);
    }
    const rest = pending.filter((change) => !settled.includes(change));
    if (rest.length > 0) this.#nameChanges.set(at, rest);
    else this.#nameChanges.delete(at);
  }

  modifiedMs(path: string): number {
    return this.#inode(normalize(path), "read the time of").modifiedMs;
  }

  freeBytes(): number {
    return Math.max(0, this.capacityBytes - this.#usedBytes());
  }

  lock(path: string): DiskLock | null {
    const at = normalize(path);
    this.open(at, "write").close();
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
  async latency(): Promise<void> {
    const incarnation = this.#incarnation;
    if (this.#clock === undefined) await Promise.resolve();
    else {await this.#clock.sleep(
        this.#random.below(this.#maxSyncMs * 1000) / 1000,
      );}
    if (incarnation !== this.#incarnation) await new Promise<never>(() => {});
  }

  /** For the files of this disk. */
  write(inode: Inode, path: string, position: number, bytes: Uint8Array): void {
    this.calls.write++;
    this.#fault(
      this.faults.write?.(path, bytes.length),
      `write ${bytes.length} bytes of ${path}`,
    );
    let room = bytes.length;
    if (this.capacityBytes !== Infinity) {
      const growth = Math.max(
        0,
        position + bytes.length - inode.current.sizeBytes,
      );
      room = bytes.length - Math.max(0, growth - this.freeBytes());
    }
    if (room > 0) {
      const kept = bytes.slice(0, room);
      inode.modifiedMs = this.#wallMs();
      inode.change({ kind: "write", position, bytes: kept, doomed: false });
    }
    if (room < bytes.length) {
      throw new DiskError(
        `Cannot write ${bytes.length} bytes of ${path}: disk full`,
        "ENOSPC",
      );
    }
  }

  /** For the files of this disk. */
  async sync(inode: Inode, path: string): Promise<void> {
    this.calls.sync++;
    const settled = [...inode.changes];
    await this.latency();
    const fault = this.faults.sync?.(path) ?? null;
    if (fault !== null) {
      for (const change of settled) change.doomed = true;
      this.#fault(fault, `sync ${path}`);
    }
    // A sync of the same file that overlapped may have settled some of them already.
    const open = settled.filter((change) => inode.changes.includes(change));
    inode.settle(open, this.#random);
  }

  /** For the files of this disk. */
  readFault(path: string, position: number): void {
    this.calls.read++;
    this.#fault(
      this.faults.read?.(path, position),
      `read ${path} at ${position}`,
    );
  }

  #fault(code: string | null | undefined, doing: string): void {
    if (code) throw new DiskError(`Cannot ${doing}: ${code}`, code);
  }

  #usedBytes(): number {
    let sum = 0;
    for (const node of this.#names.values()) {
      if (node !== "directory") sum += node.current.sizeBytes;
    }
    return sum;
  }

  #inode(at: string, doing: string): Inode {
    const node = this.#names.get(at);
    if (node === undefined || node === "directory") {
      throw new DiskError(`Cannot ${doing} ${at}: no such file`, "ENOENT");
    }
    return node;
  }

  #changeName(directory: string, change: NameChange): void {
    applyName(this.#names, change);
    const changes = this.#nameChanges.get(directory);
    if (changes === undefined) this.#nameChanges.set(directory, [change]);
    else changes.push(change);
  }
}

class SimDiskFile implements DiskFile {
  readonly path: string;
  #disk: SimDisk;
  #inode: Inode;
  #mode: "read" | "write";
  #incarnation: number;
  #open = true;

  constructor(
    disk: SimDisk,
    path: string,
    inode: Inode,
    mode: "read" | "write",
  ) {
    this.path = path;
    this.#disk = disk;
    this.#inode = inode;
    this.#mode = mode;
    this.#incarnation = disk.incarnation;
  }

  get sizeBytes(): number {
    return this.#inode.current.sizeBytes;
  }

  #alive(doing: string): void {
    if (this.#incarnation !== this.#disk.incarnation) {
      throw new DiskError(
        `Cannot ${doing} ${this.path}: its process has crashed`,
        "EOWNERDEAD",
      );
    }
    if (!this.#open) {
      throw new DiskError(
        `Cannot ${doing} ${this.path}: it is closed`,
        "EBADF",
      );
    }
  }

  read(position: number, into: Uint8Array): number {
    this.#alive("read");
    this.#disk.readFault(this.path, position);
    const { bytes, sizeBytes } = this.#inode.current;
    const count = Math.max(0, Math.min(into.length, sizeBytes - position));
    into.set(bytes.subarray(position, position + count));
    return count;
  }

  async readCold(position: number, into: Uint8Array): Promise<number> {
    await Promise.resolve();
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
    this.#disk.write(this.#inode, this.path, position, bytes);
  }

  truncate(sizeBytes: number): void {
    this.#writable("truncate");
    this.#inode.change({ kind: "truncate", sizeBytes, doomed: false });
  }

  async sync(): Promise<void> {
    this.#alive("sync");
    await this.#disk.sync(this.#inode, this.path);
  }

  close(): void {
    this.#open = false;
  }
}
