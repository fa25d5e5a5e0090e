/**
 * A disk as one process sees it, which may die at any of its calls.
 *
 * A process dies between two turns of the loop or in the midst of one: `dieAt(n)` lets n more calls that
 * change something through, and the next one finds the process dead. From then on every call throws, and
 * what was awaited never comes. What became of the changes is the disk's to say: `kill` keeps the page cache,
 * `crash` cuts the power.
 */

import {
  type DirectoryEntry,
  type Disk,
  DiskError,
  type DiskFile,
  type DiskLock,
} from "../../storage/platform.ts";

/** The disk of one process. */
export class ProcessDisk implements Disk {
  readonly #disk: Disk;
  readonly #onDeath: () => void;
  readonly #gate: { turn(): Promise<void> } | undefined;
  #callsLeft = Infinity;
  #isDead = false;
  #openHandles = 0;

  /** `gate` keeps answers that come while the process is paused. */
  constructor(
    disk: Disk,
    onDeath: () => void = () => {},
    gate?: { turn(): Promise<void> },
  ) {
    this.#disk = disk;
    this.#onDeath = onDeath;
    this.#gate = gate;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /** Handles that are open. */
  get openHandles(): number {
    return this.#openHandles;
  }

  /** Lets `callCount` more calls that change something through. */
  dieAt(callCount: number): void {
    this.#callsLeft = callCount;
  }

  die(): void {
    if (this.#isDead) return;
    this.#isDead = true;
    this.#onDeath();
  }

  /** For its files: throws when the process is dead. */
  alive(): void {
    if (this.#isDead) throw new DiskError("The process is dead", "EOWNERDEAD");
  }

  /** For its files: the same before a change, which may be the one that it dies at. */
  changes(): void {
    this.alive();
    if (this.#callsLeft-- > 0) return;
    this.die();
    this.alive();
  }

  /** For its files: what a dead process awaits never comes. */
  async answer<T>(promise: Promise<T>): Promise<T> {
    try {
      return await promise;
    } finally {
      if (this.#isDead) await new Promise<never>(() => {});
      if (this.#gate !== undefined) await this.#gate.turn();
    }
  }

  /** For its files. */
  handleClosed(): void {
    this.#openHandles--;
  }

  open(path: string, mode: "read" | "write"): DiskFile {
    if (mode === "write") this.changes();
    this.alive();
    const file = this.#disk.open(path, mode);
    this.#openHandles++;
    return new ProcessFile(this, file);
  }
  exists(path: string): boolean {
    this.alive();
    return this.#disk.exists(path);
  }
  list(path: string): DirectoryEntry[] {
    this.alive();
    return this.#disk.list(path);
  }
  names(path: string): string[] {
    this.alive();
    return this.#disk.names(path);
  }
  makeDirectory(path: string): void {
    this.changes();
    this.#disk.makeDirectory(path);
  }
  rename(from: string, to: string): void {
    this.changes();
    this.#disk.rename(from, to);
  }
  remove(path: string): void {
    this.changes();
    this.#disk.remove(path);
  }
  removeDirectory(path: string): void {
    this.changes();
    this.#disk.removeDirectory(path);
  }
  async syncDirectory(path: string): Promise<void> {
    this.changes();
    await this.answer(this.#disk.syncDirectory(path));
  }
  modifiedMs(path: string): number {
    this.alive();
    return this.#disk.modifiedMs(path);
  }
  setModifiedMs(path: string, timeMs: number): void {
    this.changes();
    this.#disk.setModifiedMs(path, timeMs);
  }
  freeBytes(path: string): number {
    this.alive();
    return this.#disk.freeBytes(path);
  }
  totalBytes(path: string): number {
    this.alive();
    return this.#disk.totalBytes(path);
  }
  absolutePath(path: string): string {
    return this.#disk.absolutePath(path);
  }
  lock(path: string): DiskLock | null {
    this.alive();
    return this.#disk.lock(path);
  }
}

class ProcessFile implements DiskFile {
  readonly #disk: ProcessDisk;
  readonly #file: DiskFile;
  #isOpen = true;

  constructor(disk: ProcessDisk, file: DiskFile) {
    this.#disk = disk;
    this.#file = file;
  }
  get path(): string {
    return this.#file.path;
  }
  get sizeBytes(): number {
    return this.#file.sizeBytes;
  }
  read(position: number, into: Uint8Array): number {
    this.#disk.alive();
    return this.#file.read(position, into);
  }
  readCold(position: number, into: Uint8Array): Promise<number> {
    this.#disk.alive();
    return this.#disk.answer(this.#file.readCold(position, into));
  }
  write(position: number, bytes: Uint8Array): void {
    this.#disk.changes();
    this.#file.write(position, bytes);
  }
  truncate(sizeBytes: number): void {
    this.#disk.changes();
    this.#file.truncate(sizeBytes);
  }
  async sync(): Promise<void> {
    this.#disk.changes();
    await this.#disk.answer(this.#file.sync());
  }
  close(): void {
    if (this.#isOpen) this.#disk.handleClosed();
    this.#isOpen = false;
    this.#file.close();
  }
}
