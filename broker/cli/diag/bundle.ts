/**
 * A support bundle while it is gathered: files in memory, what could not be had and why, and the archive in the end.
 *
 * Bounded: a file is cut, at the end of a line, and what comes once the bundle is full is left out; both is noted. Every
 * text goes through the redactor, whoever made it, and the names of the files are ours.
 */

import { strToU8, zipSync } from "fflate";
import type { Redactor } from "./redactor.ts";

/** Most bytes of one file. */
export const MAX_FILE_BYTES = 8 * 1024 * 1024;
/** Most bytes of all files together, before they are compressed. */
export const MAX_BUNDLE_BYTES = 48 * 1024 * 1024;

/** One file of the bundle, as the manifest lists it. */
export interface BundledFile {
  readonly path: string;
  readonly bytes: number;
  /** What it holds, in a few words. */
  readonly what: string;
  /** Bytes that were cut off; left out where there are none. */
  readonly cutBytes?: number;
}

/** Something that is not in the bundle. */
export interface MissingFile {
  readonly path: string;
  readonly reason: string;
}

/** Gathers files. */
export class Bundle {
  readonly #redactor: Redactor;
  readonly #root: string;
  readonly #modified: Date;
  readonly #files = new Map<string, Uint8Array>();
  readonly files: BundledFile[] = [];
  readonly missing: MissingFile[] = [];
  #byteCount = 0;

  /** `root` is the folder in which all of it lies, `atMs` the time that the archive says. */
  constructor({ redactor, root, atMs }: {
    readonly redactor: Redactor;
    readonly root: string;
    readonly atMs: number;
  }) {
    this.#redactor = redactor;
    this.#root = root;
    this.#modified = new Date(atMs);
  }

  /** Adds a text, without what is secret in it. `always`: also when the bundle is full. */
  add(path: string, what: string, text: string, { always = false } = {}): void {
    const bytes = strToU8(this.#redactor.clean(text));
    const left = always ? MAX_FILE_BYTES : MAX_BUNDLE_BYTES - this.#byteCount;
    const room = Math.min(MAX_FILE_BYTES, left);
    if (room <= 0) return this.miss(path, `the bundle is full: ${MAX_BUNDLE_BYTES} bytes`);
    const kept = bytes.length <= room ? bytes : bytes.subarray(0, lineEndBefore(bytes, room));
    this.#byteCount += kept.length;
    this.#files.set(path, kept);
    const cutBytes = bytes.length - kept.length;
    this.files.push({ path, bytes: kept.length, what, ...(cutBytes > 0 && { cutBytes }) });
  }

  /** Adds a value as JSON that people can read. */
  addJson(path: string, what: string, value: unknown, { always = false } = {}): void {
    this.add(path, what, `${JSON.stringify(value, null, 2)}\n`, { always });
  }

  /** Notes that something could not be had. */
  miss(path: string, reason: string): void {
    this.missing.push({ path, reason: this.#redactor.clean(reason) });
  }

  /** The archive. */
  zip(): Uint8Array {
    const entries = [...this.#files].map(([path, bytes]) => [`${this.#root}/${path}`, bytes]);
    return zipSync(Object.fromEntries(entries), { mtime: this.#modified, level: 6 });
  }
}

/** Where the last line ends that fits; where no line does, the room's end. */
function lineEndBefore(bytes: Uint8Array, room: number): number {
  const at = bytes.lastIndexOf(0x0a, room - 1);
  return at < 0 ? room : at + 1;
}
