/**
 * Keeps the last of the disk for what gets a broker out of a full one: metadata, group offsets, checkpoints, indexes.
 *
 *     free ──────────── reserve ──────── half of it ──────── 0
 *      clients append │ groups may still │ metadata alone    │
 *
 * Below twice the reserve old segments go without waiting for the next look of retention.
 *
 * Free space is measured anew after 100 ms or a MiB of appends; between, what was appended is taken off.
 */

import { type Clock, type Disk, DiskError, type Logger } from "./platform.ts";
import type { AppendOrigin } from "./producer_state.ts";

/** Room is made before it has run out: below this many times the reserve. */
const EARLY_TIMES = 2;
const MEASURE_EVERY_MS = 100;
const MEASURE_EVERY_BYTES = 1024 * 1024;

/** What a reserve is made of. */
export interface DiskReserveOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Any path on the file system in question. */
  readonly path: string;
  /** Free bytes below which clients are refused; 0 keeps none. */
  readonly reserveBytes: number;
  /** Called at each append while room is short, also before it is refused: whoever can make room should. */
  readonly onLow?: () => void;
}

/** Room on one file system. */
export class DiskReserve {
  readonly #options: DiskReserveOptions;
  #freeBytes = 0;
  #takenBytes = 0;
  #measuredAtMs = -Infinity;
  #isLow = false;

  constructor(options: DiskReserveOptions) {
    this.#options = options;
  }

  /**
   * Asks for room before an append.
   * Returns: null, or why there is none and what to do.
   */
  refusal(byteCount: number, origin: AppendOrigin): string | null {
    const { reserveBytes, path } = this.#options;
    if (reserveBytes === 0 || origin === "raft") return null;
    const keptBytes = origin === "client" ? reserveBytes : reserveBytes / 2;
    this.#takenBytes += byteCount;
    this.#measureIfDue(byteCount);
    const leftBytes = this.#freeBytes - this.#takenBytes;
    if (leftBytes < EARLY_TIMES * reserveBytes) this.#options.onLow?.();
    if (leftBytes >= keptBytes) {
      if (origin === "client") this.#tell(false);
      return null;
    }
    this.#takenBytes -= byteCount;
    if (origin === "client") this.#tell(true);
    return `the disk of ${path} has ${this.#freeBytes} bytes left, and ${keptBytes} are kept in ` +
      "reserve (weir.disk.reserve.bytes): delete topics, shorten retention, or make room";
  }

  #measureIfDue(byteCount: number): void {
    const { clock, disk, path } = this.#options;
    const nowMs = clock.monotonicMs();
    const isFresh = nowMs - this.#measuredAtMs < MEASURE_EVERY_MS;
    if (isFresh && this.#takenBytes < MEASURE_EVERY_BYTES) return;
    try {
      this.#freeBytes = disk.freeBytes(path);
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      // A file system that does not say: the append itself will tell.
      this.#freeBytes = Infinity;
    }
    this.#takenBytes = byteCount;
    this.#measuredAtMs = nowMs;
  }

  #tell(isLow: boolean): void {
    if (isLow === this.#isLow) return;
    this.#isLow = isLow;
    const { logger, path, reserveBytes } = this.#options;
    const fields = { path, freeBytes: this.#freeBytes, reserveBytes };
    if (isLow) logger.warn("Disk is nearly full: records are refused until there is room", fields);
    else logger.info("Disk has room again: records are taken", fields);
  }
}
