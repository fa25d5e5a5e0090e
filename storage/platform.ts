/**
 * What the outside world offers: disk, time, chance and a place for log lines. Interfaces only.
 *
 * Everything in `storage/` and `broker/` takes these through its constructor, so that a whole cluster
 * runs in one process on virtual time from one seed. `platform_bun.ts` holds the real ones.
 */

import type { TimestampMs } from "../protocol/types.ts";

/** A timer that has been started. */
export interface Timer {
  /** Stops it; does nothing when it has fired or been cancelled already. */
  cancel(): void;
}

/** Time. */
export interface Clock {
  /** Milliseconds from an arbitrary start, with fractions; never goes back. */
  monotonicMs(): number;
  /** Wall-clock time; may jump. */
  wallMs(): TimestampMs;
  /** Resolves after `delayMs`, or at once when `signal` is aborted. Never rejects. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
  /** Calls `callback` once after `delayMs` unless cancelled: with 0 in the next turn of the loop, after what has come. */
  timer(delayMs: number, callback: () => void): Timer;
}

/** Chance. One stream per component, so that one more draw in one does not move the others. */
export interface Random {
  /** Uniform in [0, 2^32). */
  uint32(): number;
  /** An independent stream named by `label`. */
  fork(label: string): Random;
}

/** Structured log lines. `message` is a constant sentence; what varies goes into `fields`. */
export interface Logger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
  /** A logger whose lines carry the component's name. */
  child(component: string): Logger;
}

/** The disk said no. `code` is the errno name: ENOSPC, EIO, EACCES, ENOENT … */
export class DiskError extends Error {
  override name = "DiskError";
  readonly code: string;
  /**
   * True when a sync was tried and failed: what was written may be lost, of other files too, and the kernel
   * tells it once. Whoever meets it takes the log directory offline (`LogDirectory.noteFailure`).
   */
  readonly isFailedSync: boolean;

  constructor(
    message: string,
    code: string,
    options?: ErrorOptions & { readonly isFailedSync?: boolean },
  ) {
    super(message, options);
    this.code = code;
    this.isFailedSync = options?.isFailedSync ?? false;
  }

  /** True when there is no room: nothing is broken, and it may work later. */
  get isDiskFull(): boolean {
    return this.code === "ENOSPC" || this.code === "EDQUOT";
  }

  /** True when the process or the machine has too many files open: the file was not even touched. */
  get isOutOfHandles(): boolean {
    return this.code === "EMFILE" || this.code === "ENFILE";
  }

  /** True when nothing is broken and it may work later. */
  get isPassing(): boolean {
    return this.isDiskFull || this.isOutOfHandles;
  }
}

/** One open file. `read`, `write` and `truncate` work on the page cache and return when done. */
export interface DiskFile {
  readonly path: string;
  /** Size in bytes, as written so far. */
  readonly sizeBytes: number;
  /** Fills `into` from `position`; returns the bytes read, fewer only at the end of the file. */
  read(position: number, into: Uint8Array): number;
  /** The same off the event loop, for data that is likely not in the page cache. */
  readCold(position: number, into: Uint8Array): Promise<number>;
  /** Writes all of `bytes` at `position`; on return they are in the page cache, not on stable storage. */
  write(position: number, bytes: Uint8Array): void;
  truncate(sizeBytes: number): void;
  /** Resolves when everything written before the call is on stable storage. Errors: DiskError. */
  sync(): Promise<void>;
  close(): void;
}

/** An entry of a directory. */
export interface DirectoryEntry {
  readonly name: string;
  readonly kind: "file" | "directory" | "other";
}

/** A lock on a path, held until released or until the process ends. */
export interface DiskLock {
  release(): void;
}

/** Files and directories. Paths are absolute or relative to the process. Errors: DiskError everywhere. */
export interface Disk {
  /** `mode` "read" needs the file to exist and refuses writes; "write" creates it when missing. */
  open(path: string, mode: "read" | "write"): DiskFile;
  exists(path: string): boolean;
  list(path: string): DirectoryEntry[];
  /** Names in a directory, for callers to whom the kinds do not matter: they take most of the time. */
  names(path: string): string[];
  /** Makes the directory and its parents; does nothing when it exists. */
  makeDirectory(path: string): void;
  rename(from: string, to: string): void;
  remove(path: string): void;
  /** Removes a directory with all that is in it. */
  removeDirectory(path: string): void;
  /** Resolves when names made, renamed or removed in the directory are on stable storage. */
  syncDirectory(path: string): Promise<void>;
  /** Wall-clock time at which the file's content last changed. Units: ms. */
  modifiedMs(path: string): number;
  /** Gives the file another such time, which is lost with it when it is not synced. */
  setModifiedMs(path: string, timeMs: number): void;
  /** Bytes that can still be written to the file system that holds `path`. */
  freeBytes(path: string): number;
  /** Size of the file system that holds `path`. */
  totalBytes(path: string): number;
  /** The path from the root, without `.` and `..`. Looks at no disk. */
  absolutePath(path: string): string;
  /** Null when another process holds it. */
  lock(path: string): DiskLock | null;
}
