/**
 * The four checkpoints of offsets of a log directory, in Kafka's files.
 *
 *     recovery-point-offset-checkpoint     durable up to here, by partition
 *     log-start-offset-checkpoint          deleted up to here
 *     replication-offset-checkpoint        high watermarks
 *     cleaner-offset-checkpoint            compacted up to here
 *
 * Invariant: what is forgotten is stale until the files do not have it any more: a crash before that would give it to
 * another partition of the same name.
 */

import {
  formatOffsetCheckpoint,
  type OffsetCheckpoint,
  readOffsetCheckpoint,
  textBytes,
  writeFileAtomically,
} from "./checkpoint.ts";
import type { Log } from "./log.ts";
import { type Disk, DiskError, type Logger } from "./platform.ts";

/** Offsets up to which logs are on stable storage. */
export const RECOVERY_POINTS = "recovery-point-offset-checkpoint";
const LOG_START_OFFSETS = "log-start-offset-checkpoint";
const HIGH_WATERMARKS = "replication-offset-checkpoint";
const CLEANED_OFFSETS = "cleaner-offset-checkpoint";
/** The other checkpoints of offsets. */
export const OFFSET_CHECKPOINTS = [LOG_START_OFFSETS, HIGH_WATERMARKS, CLEANED_OFFSETS] as const;

/** Where the files lie. */
export interface DirectoryCheckpointsOptions {
  readonly disk: Disk;
  readonly path: string;
  readonly logger: Logger;
}

/** What the files say of a partition. */
export interface StoredOffsets {
  readonly recoveryPoint: number;
  readonly logStartOffset: number;
  readonly highWatermark: number;
  /** −1 where nothing was compacted. */
  readonly cleanedOffset: number;
}

/** The checkpoints of one directory. */
export class DirectoryCheckpoints {
  readonly #options: DirectoryCheckpointsOptions;
  readonly #recoveryPoints: OffsetCheckpoint;
  readonly #logStartOffsets: OffsetCheckpoint;
  readonly #highWatermarks: OffsetCheckpoint;
  readonly #cleanedOffsets: OffsetCheckpoint;
  /** What each file holds. */
  readonly #written = new Map<string, string>();
  /** Partitions that are gone, whose offsets the files may still hold. */
  readonly #stale = new Set<string>();

  /** Reads the files; one that is damaged is told and not used. Errors: DiskError. */
  constructor(options: DirectoryCheckpointsOptions) {
    this.#options = options;
    this.#recoveryPoints = readCheckpoint(options, RECOVERY_POINTS);
    this.#logStartOffsets = readCheckpoint(options, LOG_START_OFFSETS);
    this.#highWatermarks = readCheckpoint(options, HIGH_WATERMARKS);
    this.#cleanedOffsets = readCheckpoint(options, CLEANED_OFFSETS);
  }

  /** What is known of a partition, by its name. */
  of(name: string): StoredOffsets {
    return {
      recoveryPoint: this.#recoveryPoints.get(name) ?? 0,
      logStartOffset: this.#logStartOffsets.get(name) ?? 0,
      highWatermark: this.#highWatermarks.get(name) ?? 0,
      cleanedOffset: this.#cleanedOffsets.get(name) ?? -1,
    };
  }

  /** Where a log that is made begins. */
  setLogStartOffset(name: string, start: number): void {
    this.#logStartOffsets.set(name, start);
  }

  /** The partition is gone. */
  forget(name: string): void {
    for (
      const checkpoint of [
        this.#recoveryPoints,
        this.#logStartOffsets,
        this.#highWatermarks,
        this.#cleanedOffsets,
      ]
    ) {
      if (checkpoint.delete(name)) this.#stale.add(name);
    }
  }

  /** True while the files may hold offsets of a partition that is gone. */
  isStale(name: string): boolean {
    return this.#stale.has(name);
  }

  /** Takes what the logs say now, and writes the files that change by it. Errors: DiskError. */
  async write(logs: Iterable<readonly [string, Log]>): Promise<void> {
    const stale = [...this.#stale];
    for (const [name, log] of logs) {
      // A damaged log keeps what was known of it.
      if (log.offlineReason !== null) continue;
      this.#recoveryPoints.set(name, log.recoveryPoint);
      this.#highWatermarks.set(name, log.highWatermark);
      const start = log.stableLogStartOffset;
      if (start > 0) this.#logStartOffsets.set(name, start);
      else this.#logStartOffsets.delete(name);
      if (log.cleanedOffset >= 0) this.#cleanedOffsets.set(name, log.cleanedOffset);
    }
    await this.#writeIfChanged(RECOVERY_POINTS, this.#recoveryPoints);
    await this.#writeIfChanged(LOG_START_OFFSETS, this.#logStartOffsets);
    await this.#writeIfChanged(HIGH_WATERMARKS, this.#highWatermarks);
    await this.#writeIfChanged(CLEANED_OFFSETS, this.#cleanedOffsets);
    for (const name of stale) this.#stale.delete(name);
  }

  async #writeIfChanged(name: string, offsets: OffsetCheckpoint): Promise<void> {
    const text = formatOffsetCheckpoint(offsets);
    if (this.#written.get(name) === text) return;
    const { disk, path } = this.#options;
    await writeFileAtomically(disk, `${path}/${name}`, textBytes(text));
    this.#written.set(name, text);
  }
}

function readCheckpoint(
  { disk, path, logger }: DirectoryCheckpointsOptions,
  name: string,
): OffsetCheckpoint {
  try {
    return readOffsetCheckpoint(disk, `${path}/${name}`);
  } catch (failure) {
    if (!(failure instanceof DiskError) || failure.code !== "EBADMSG") throw failure;
    // Without recovery points everything is scanned; the others are found again in the logs.
    logger.warn("Checkpoint is damaged and is not used", {
      file: `${path}/${name}`,
      found: failure.message,
    });
    return new Map();
  }
}
