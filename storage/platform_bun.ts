/**
 * The real disk, clock and chance: the only file of `storage/` that touches `node:fs`, timers, the wall
 * clock, entropy and libc.
 *
 * Page-cache reads and writes are synchronous system calls; `sync`, `readCold` and `syncDirectory` run
 * on the I/O pool. Every error leaves as a `DiskError` that says what was being done to which path.
 */

import { dlopen, FFIType, type Library } from "bun:ffi";
import * as fs from "node:fs";
import { dirname, resolve } from "node:path";
import { timestampMs } from "../protocol/types.ts";
import {
  type Clock,
  type DirectoryEntry,
  type Disk,
  DiskError,
  type DiskFile,
  type DiskLock,
  type Random,
  type Timer,
} from "./platform.ts";

/** `lockf` command: lock or fail at once. Source: POSIX unistd.h. */
const F_TLOCK = 2;
/** setTimeout takes an int32; longer delays are taken in steps. */
const MAX_TIMEOUT_MS = 0x7fff_ffff;

function diskError(doing: string, cause: unknown, isFailedSync = false): DiskError {
  const code = (cause as NodeJS.ErrnoException | null)?.code ?? "EIO";
  const found = cause instanceof Error ? cause.message : String(cause);
  return new DiskError(`Cannot ${doing}: ${found}`, code, { cause, isFailedSync });
}

class BunDiskFile implements DiskFile {
  readonly path: string;
  #descriptor: number;
  #sizeBytes: number;

  constructor(path: string, mode: "read" | "write") {
    this.path = path;
    const { O_RDONLY, O_RDWR, O_CREAT } = fs.constants;
    try {
      this.#descriptor = fs.openSync(
        path,
        mode === "read" ? O_RDONLY : O_RDWR | O_CREAT,
        0o644,
      );
      this.#sizeBytes = fs.fstatSync(this.#descriptor).size;
    } catch (cause) {
      throw diskError(`open ${path}`, cause);
    }
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  read(position: number, into: Uint8Array): number {
    let done = 0;
    try {
      while (done < into.length) {
        const count = fs.readSync(
          this.#descriptor,
          into,
          done,
          into.length - done,
          position + done,
        );
        if (count === 0) break;
        done += count;
      }
    } catch (cause) {
      throw diskError(
        `read ${into.length} bytes at ${position} of ${this.path}`,
        cause,
      );
    }
    return done;
  }

  async readCold(position: number, into: Uint8Array): Promise<number> {
    let done = 0;
    while (done < into.length) {
      const count = await new Promise<number>((resolve, reject) => {
        const length = into.length - done;
        fs.read(
          this.#descriptor,
          into,
          done,
          length,
          position + done,
          (cause, readBytes) => {
            if (cause === null) return resolve(readBytes);
            reject(
              diskError(
                `read ${length} bytes at ${position + done} of ${this.path}`,
                cause,
              ),
            );
          },
        );
      });
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  write(position: number, bytes: Uint8Array): void {
    let done = 0;
    try {
      while (done < bytes.length) {
        done += fs.writeSync(
          this.#descriptor,
          bytes,
          done,
          bytes.length - done,
          position + done,
        );
      }
    } catch (cause) {
      throw diskError(
        `write ${bytes.length} bytes at ${position} of ${this.path}`,
        cause,
      );
    } finally {
      this.#sizeBytes = Math.max(this.#sizeBytes, position + done);
    }
  }

  truncate(sizeBytes: number): void {
    try {
      fs.ftruncateSync(this.#descriptor, sizeBytes);
    } catch (cause) {
      throw diskError(`truncate ${this.path} to ${sizeBytes} bytes`, cause);
    }
    this.#sizeBytes = sizeBytes;
  }

  sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.fdatasync(this.#descriptor, (cause) => {
        if (cause === null || cause === undefined) resolve();
        else reject(diskError(`sync ${this.path}`, cause, true));
      });
    });
  }

  close(): void {
    if (this.#descriptor < 0) return;
    const descriptor = this.#descriptor;
    this.#descriptor = -1;
    try {
      fs.closeSync(descriptor);
    } catch (cause) {
      throw diskError(`close ${this.path}`, cause);
    }
  }
}

const libcSymbols = {
  lockf: {
    args: [FFIType.i32, FFIType.i32, FFIType.i64],
    returns: FFIType.i32,
  },
  setenv: {
    args: [FFIType.cstring, FFIType.cstring, FFIType.i32],
    returns: FFIType.i32,
  },
} as const;

let libc: Library<typeof libcSymbols> | undefined;

/**
 * Threads of the I/O pool. Bun makes as many as there are processors, as if they were to compute; they wait for the
 * disk, and with two of them the logs of a small machine stand in line for their syncs.
 */
const IO_THREADS = 8;

/**
 * Gives the I/O pool its threads, where the environment does not (`UV_THREADPOOL_SIZE`). To be called before anything
 * has used the pool: Bun looks then, at what the C library knows, and never again. Out of sources it comes too late:
 * Bun has loaded them with the pool.
 */
export function sizeIoPool(): void {
  libc ??= openLibc();
  const [name, value] = ["UV_THREADPOOL_SIZE", String(IO_THREADS)];
  libc.symbols.setenv(Buffer.from(`${name}\0`), Buffer.from(`${value}\0`), 0);
}

/**
 * Takes the lock that Java's `FileChannel.tryLock` takes too: a POSIX record lock over the whole file.
 * Node and Bun have no call for it. Returns: false when another process holds it.
 */
function lockWholeFile(descriptor: number): boolean {
  libc ??= openLibc();
  return libc.symbols.lockf(descriptor, F_TLOCK, 0n) === 0;
}

function openLibc(): Library<typeof libcSymbols> {
  const names = process.platform === "darwin" ? ["libSystem.B.dylib"] : [
    "libc.so.6",
    `ld-musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`,
    "libc.so",
  ];
  let cause: unknown;
  for (const name of names) {
    try {
      return dlopen(name, libcSymbols);
    } catch (failure) {
      cause = failure;
    }
  }
  throw diskError(`load the C library (tried ${names.join(", ")})`, cause);
}

/** A process's own second lock on a path would succeed, since POSIX locks belong to the process. */
const lockedHere = new Set<string>();

class BunDiskLock implements DiskLock {
  #path: string;
  #descriptor: number;

  constructor(path: string, descriptor: number) {
    this.#path = path;
    this.#descriptor = descriptor;
    lockedHere.add(path);
  }

  release(): void {
    if (this.#descriptor < 0) return;
    fs.closeSync(this.#descriptor);
    this.#descriptor = -1;
    lockedHere.delete(this.#path);
  }
}

function attempt<T>(doing: string, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    throw diskError(doing, cause);
  }
}

class BunDisk implements Disk {
  open(path: string, mode: "read" | "write"): DiskFile {
    return new BunDiskFile(path, mode);
  }

  exists(path: string): boolean {
    return fs.existsSync(path);
  }

  list(path: string): DirectoryEntry[] {
    return attempt(
      `list ${path}`,
      () =>
        fs.readdirSync(path, { withFileTypes: true }).map((entry) => ({
          name: entry.name,
          kind: entry.isFile() ? "file" : entry.isDirectory() ? "directory" : "other",
        })),
    );
  }

  names(path: string): string[] {
    return attempt(`list ${path}`, () => fs.readdirSync(path));
  }

  makeDirectory(path: string): void {
    attempt(
      `make directory ${path}`,
      () => fs.mkdirSync(path, { recursive: true }),
    );
  }

  rename(from: string, to: string): void {
    attempt(`rename ${from} to ${to}`, () => fs.renameSync(from, to));
  }

  remove(path: string): void {
    attempt(`remove ${path}`, () => fs.unlinkSync(path));
  }

  removeDirectory(path: string): void {
    attempt(
      `remove directory ${path}`,
      () => fs.rmSync(path, { recursive: true, force: true }),
    );
  }

  async syncDirectory(path: string): Promise<void> {
    const descriptor = attempt(
      `open directory ${path}`,
      () => fs.openSync(path, "r"),
    );
    try {
      await new Promise<void>((resolve, reject) => {
        fs.fsync(descriptor, (cause) => {
          if (cause === null || cause === undefined) resolve();
          else reject(diskError(`sync directory ${path}`, cause, true));
        });
      });
    } finally {
      fs.closeSync(descriptor);
    }
  }

  modifiedMs(path: string): number {
    return attempt(`read the time of ${path}`, () => fs.statSync(path).mtimeMs);
  }

  setModifiedMs(path: string, timeMs: number): void {
    const seconds = timeMs / 1000;
    attempt(`set the time of ${path}`, () => fs.utimesSync(path, seconds, seconds));
  }

  freeBytes(path: string): number {
    return attempt(`read free space of ${path}`, () => {
      const { bavail, bsize } = fs.statfsSync(path);
      return bavail * bsize;
    });
  }

  totalBytes(path: string): number {
    return attempt(`read the size of the disk of ${path}`, () => {
      const { blocks, bsize } = fs.statfsSync(path);
      return blocks * bsize;
    });
  }

  absolutePath(path: string): string {
    return resolve(path);
  }

  lock(path: string): DiskLock | null {
    return attempt(`lock ${path}`, () => {
      const real = `${fs.realpathSync(dirname(path))}/${path.slice(path.lastIndexOf("/") + 1)}`;
      if (lockedHere.has(real)) return null;
      const descriptor = fs.openSync(
        path,
        fs.constants.O_RDWR | fs.constants.O_CREAT,
        0o644,
      );
      let held = false;
      try {
        held = lockWholeFile(descriptor);
      } finally {
        if (!held) fs.closeSync(descriptor);
      }
      return held ? new BunDiskLock(real, descriptor) : null;
    });
  }
}

/** In the next turn of the loop: what has come over the network meanwhile is handled before, and a timeout takes 1 ms. */
class NextTurn implements Timer {
  readonly #handle: ReturnType<typeof setImmediate>;

  constructor(callback: () => void) {
    this.#handle = setImmediate(callback);
  }

  cancel(): void {
    clearImmediate(this.#handle);
  }
}

class BunTimer implements Timer {
  #handle: ReturnType<typeof setTimeout> | undefined;
  #callback: () => void;

  constructor(delayMs: number, callback: () => void) {
    this.#callback = callback;
    this.#start(delayMs);
  }

  #start(delayMs: number): void {
    const step = Math.min(Math.max(delayMs, 0), MAX_TIMEOUT_MS);
    this.#handle = setTimeout(() => {
      if (delayMs > step) this.#start(delayMs - step);
      else this.#callback();
    }, step);
  }

  cancel(): void {
    clearTimeout(this.#handle);
  }
}

class BunClock implements Clock {
  monotonicMs(): number {
    return performance.now();
  }

  wallMs() {
    return timestampMs(Date.now());
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.timer(delayMs, () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      });
      function onAbort(): void {
        timer.cancel();
        resolve();
      }
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  timer(delayMs: number, callback: () => void): Timer {
    return delayMs <= 0 ? new NextTurn(callback) : new BunTimer(delayMs, callback);
  }
}

class BunRandom implements Random {
  #pool = new Uint32Array(64);
  #next = 64;

  uint32(): number {
    if (this.#next === this.#pool.length) {
      crypto.getRandomValues(this.#pool);
      this.#next = 0;
    }
    return this.#pool[this.#next++]!;
  }

  /** Entropy has no seed, so every stream is as independent as the next one. */
  fork(): Random {
    return this;
  }
}

/** The machine's disk. */
export function bunDisk(): Disk {
  return new BunDisk();
}

/** The machine's clocks. */
export function bunClock(): Clock {
  return new BunClock();
}

/** The operating system's entropy. */
export function bunRandom(): Random {
  return new BunRandom();
}
