/**
 * What the indexes of a segment have in common: a file of fixed-size entries that only grows.
 *
 *     file:  entry entry entry …                    tail: entry entry
 *            └── on disk, read by binary search ──┘       └── in memory, not yet written ──┘
 *
 * New entries gather in a small tail and are written when it is full, when the segment is closed, and
 * when the recovery point is about to pass the segment: an index that a crash leaves behind the log is
 * rebuilt from the log. Kafka makes these files large in advance and maps them; ours just grow.
 */

import { readSmallFile, writeFileAtomically } from "./checkpoint.ts";
import type { FileCache } from "./file_cache.ts";
import { type Disk, DiskError, type DiskFile } from "./platform.ts";

/** Entries held back in memory. */
const TAIL_ENTRIES = 256;

/** Where an index of a segment lies. */
export interface SegmentIndexOptions {
  readonly directory: string;
  readonly baseOffset: number;
  readonly disk: Disk;
  readonly files: FileCache;
  /** After the file's name, for a segment that is not part of the log yet. */
  readonly suffix?: string;
  /** All names in the directory, where they have just been listed. */
  readonly names?: ReadonlySet<string>;
}

/** A file of entries of `entryBytes` each. */
export class IndexFile {
  #path: string;
  readonly #entryBytes: number;
  readonly #disk: Disk;
  readonly #files: FileCache;
  /** Entries in the file; −1 until the file has been looked at. */
  #storedCount = -1;
  #tail: Uint8Array | null = null;
  #tailCount = 0;
  #unsynced = false;
  /** Null until the disk has been asked. */
  #isThere: boolean | null;

  constructor(
    { path, entryBytes, disk, files, names }: {
      readonly path: string;
      readonly entryBytes: number;
      readonly disk: Disk;
      readonly files: FileCache;
      readonly names: ReadonlySet<string> | undefined;
    },
  ) {
    this.#path = path;
    this.#isThere = names?.has(path.slice(path.lastIndexOf("/") + 1)) ?? null;
    this.#entryBytes = entryBytes;
    this.#disk = disk;
    this.#files = files;
  }

  get path(): string {
    return this.#path;
  }

  /** Its directory has been renamed. */
  moveTo(directory: string): void {
    this.#files.forget(this.#path);
    this.#path = directory + this.#path.slice(this.#path.lastIndexOf("/"));
  }

  /** Entries, stored or not. */
  get count(): number {
    return this.#stored() + this.#tailCount;
  }

  #stored(): number {
    if (this.#storedCount < 0) {
      this.#storedCount = this.exists()
        ? Math.floor(this.#files.get(this.path).sizeBytes / this.#entryBytes)
        : 0;
    }
    return this.#storedCount;
  }

  /** True when the file is missing or is not a whole number of entries. */
  isMisshapen(): boolean {
    return !this.exists() ||
      this.#files.get(this.path).sizeBytes % this.#entryBytes !== 0;
  }

  /** True when there is a file. */
  exists(): boolean {
    return this.#isThere ??= this.#disk.exists(this.path);
  }

  /** Room for one more entry at the end, to be filled at once. Shape: a view of `entryBytes` bytes. */
  append(): Uint8Array {
    this.#stored();
    this.#tail ??= new Uint8Array(TAIL_ENTRIES * this.#entryBytes);
    if (this.#tailCount * this.#entryBytes === this.#tail.length) this.#makeRoom(this.#tail);
    const at = this.#tailCount++ * this.#entryBytes;
    return this.#tail.subarray(at, at + this.#entryBytes);
  }

  /** A full disk must not fail an append whose batch has been written: the tail grows meanwhile. */
  #makeRoom(tail: Uint8Array): void {
    try {
      this.store();
    } catch (failure) {
      if (!(failure instanceof DiskError) || !failure.isPassing) throw failure;
      this.#tail = new Uint8Array(2 * tail.length);
      this.#tail.set(tail);
    }
  }

  /** Reads entry `index` into the front of `into`. Shape: `index` < `count`. */
  read(index: number, into: Uint8Array): void {
    const stored = this.#stored();
    if (index >= stored) {
      const at = (index - stored) * this.#entryBytes;
      into.set(this.#tail!.subarray(at, at + this.#entryBytes));
      return;
    }
    this.#files.get(this.path).read(index * this.#entryBytes, into.subarray(0, this.#entryBytes));
  }

  /**
   * Reads entries from `index` on into the front of `into`, as many as lie side by side and fit.
   * Returns: how many; 0 past the last.
   */
  readMany(index: number, into: Uint8Array): number {
    const stored = this.#stored();
    const end = index < stored ? stored : this.count;
    const count = Math.min(end - index, Math.floor(into.length / this.#entryBytes));
    if (count <= 0) return 0;
    const byteCount = count * this.#entryBytes;
    if (index < stored) {
      this.#files.get(this.path).read(index * this.#entryBytes, into.subarray(0, byteCount));
    } else {
      const at = (index - stored) * this.#entryBytes;
      into.set(this.#tail!.subarray(at, at + byteCount));
    }
    return count;
  }

  /** Writes the tail into the page cache. Errors: DiskError. */
  store(): void {
    if (this.#tailCount === 0 && this.exists()) return;
    const stored = this.#stored();
    const file = this.#openForWriting();
    try {
      if (this.#tailCount > 0) {
        const bytes = this.#tail!.subarray(0, this.#tailCount * this.#entryBytes);
        file.write(stored * this.#entryBytes, bytes);
      }
    } catch (failure) {
      // What a full disk let through must not be taken for entries.
      file.truncate(stored * this.#entryBytes);
      throw failure;
    } finally {
      file.close();
    }
    this.#unsynced = true;
    this.#storedCount = stored + this.#tailCount;
    this.#tailCount = 0;
  }

  /** The file is another one now: nothing is known of it. */
  reload(): void {
    this.#files.forget(this.path);
    this.#isThere = null;
    this.#storedCount = -1;
    this.#tail = null;
    this.#tailCount = 0;
  }

  /** Writes the tail and frees its memory, for a segment that takes no more appends. */
  seal(): void {
    this.store();
    this.#tail = null;
  }

  #openForWriting(): DiskFile {
    this.#files.forget(this.path);
    const file = this.#disk.open(this.path, "write");
    this.#isThere = true;
    return file;
  }

  /** True when what the page cache holds may differ from stable storage. */
  get isUnsynced(): boolean {
    return this.#unsynced;
  }

  /** What the page cache holds may have come from a run that ended before its sync. */
  doubt(): void {
    this.#unsynced ||= this.exists();
  }

  /** Resolves when what was stored is on stable storage; the file's name needs the directory's sync. */
  async sync(
    { evenIfUnchanged = false }: { readonly evenIfUnchanged?: boolean } = {},
  ): Promise<void> {
    if (!this.#unsynced && !(evenIfUnchanged && this.exists())) return;
    const file = this.#disk.open(this.path, "write");
    this.#unsynced = false;
    try {
      await file.sync();
    } finally {
      file.close();
    }
  }

  /**
   * Puts a copy in the file's place, and resolves when that is on stable storage: of what a failed sync has
   * dropped, a cut too, no later sync takes anything along. Errors: DiskError.
   */
  async rewrite(): Promise<void> {
    const bytes = readSmallFile(this.#disk, this.path);
    if (bytes === null) return;
    await writeFileAtomically(this.#disk, this.path, bytes);
    this.#files.forget(this.path);
    this.#unsynced = false;
  }

  /** Keeps the first `count` entries, and no part of another one. */
  truncate(count: number): void {
    const stored = this.#stored();
    // Even if nothing is cut now: an earlier process may have cut it and been killed before the sync.
    this.doubt();
    if (this.exists() && this.#files.get(this.path).sizeBytes > stored * this.#entryBytes) {
      this.#cut(stored);
    }
    if (count >= stored) {
      this.#tailCount = Math.min(this.#tailCount, count - stored);
      return;
    }
    this.#tailCount = 0;
    this.#storedCount = count;
    this.#cut(count);
  }

  #cut(count: number): void {
    const file = this.#openForWriting();
    try {
      file.truncate(count * this.#entryBytes);
    } finally {
      file.close();
    }
    this.#unsynced = true;
  }
}
