/**
 * Open handles for reading closed segments: as many as recently used, never more than the cap.
 *
 * All reads through it are synchronous, so a handle is never closed under a reader.
 */

import type { Disk, DiskFile } from "./platform.ts";

/** Handles for reading, by path, the least recently used closed first. */
export class FileCache {
  #disk: Disk;
  #maxOpen: number;
  #open = new Map<string, DiskFile>();

  constructor(disk: Disk, maxOpen: number) {
    this.#disk = disk;
    this.#maxOpen = maxOpen;
  }

  /** How many handles are open. */
  get openCount(): number {
    return this.#open.size;
  }

  /** The open file at `path`, not to be kept beyond the turn of the loop. Errors: DiskError. */
  get(path: string): DiskFile {
    const known = this.#open.get(path);
    if (known !== undefined) {
      this.#open.delete(path);
      this.#open.set(path, known);
      return known;
    }
    const file = this.#disk.open(path, "read");
    this.#open.set(path, file);
    if (this.#open.size > this.#maxOpen) {
      const [oldest] = this.#open.keys();
      this.forget(oldest!);
    }
    return file;
  }

  /** Closes the handle of a path whose file goes away or changes. */
  forget(path: string): void {
    const file = this.#open.get(path);
    if (file === undefined) return;
    this.#open.delete(path);
    file.close();
  }

  /** Closes all. */
  close(): void {
    for (const file of this.#open.values()) file.close();
    this.#open.clear();
  }
}
