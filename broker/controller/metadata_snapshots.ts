/**
 * Writes snapshots of the metadata, and lets go of the start of the metadata log that they stand in for.
 *
 *     log      ├──────────── gone ────────────┤ snapshot ├── records ──┤ snapshot ├── records ──┤ end
 *                                              log start
 *
 * A snapshot is due when so many bytes of records were committed since the last one, or when there was a change and
 * so much time has passed, or at a clean stop: reading what it holds takes the next start a fraction of the time that
 * replaying takes. Records go when log and snapshots are too large or too old, and never those after
 * the older of the two newest snapshots: should the newest have rotted, the one before it and the log behind
 * it give the same. Every node does this for itself, the leader like the others.
 *
 * A snapshot that cannot be written harms nothing: the log is whole, and it is tried again.
 *
 * Source: KIP-630.
 */

import type { NewControlRecord } from "../../protocol/control_records.ts";
import { type Offset, offset } from "../../protocol/types.ts";
import type { Log } from "../../storage/log.ts";
import {
  type Clock,
  type Disk,
  DiskError,
  type Logger,
  type Timer,
} from "../../storage/platform.ts";
import { imageRecords } from "./image_records.ts";
import type { MetadataImage } from "./metadata_image.ts";
import type { OffsetAndEpoch } from "./raft_quorum.ts";
import {
  listSnapshots,
  removeSnapshotParts,
  type SnapshotFile,
  writeSnapshot,
} from "./snapshot_files.ts";

/** Snapshots that are kept, whatever they take. */
const KEPT_SNAPSHOTS = 2;
/** A snapshot closes a segment of at least so many bytes: what lies before it can go with whole files alone. */
const ROLLED_BYTES = 1024 * 1024;
const RETRY_MS = 60_000;
/** A clean stop writes a snapshot where so many records came since the newest one, unless that takes longer. */
const STOP_RECORDS = 500;
const STOP_PATIENCE_MS = 1_000;

/** When to write one, and what to keep. */
export interface SnapshotSettings {
  /** Of committed records between two snapshots. */
  readonly maxBytesBetween: number;
  /** 0 for no such time. */
  readonly maxIntervalMs: number;
  /** Of log and snapshots; −1 for no bound. */
  readonly retentionBytes: number;
  /** −1 for no bound. */
  readonly retentionMs: number;
}

/** What the snapshots are made of. */
export interface MetadataSnapshotsOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly log: Log;
  readonly settings: SnapshotSettings;
  /** The committed state. */
  readonly image: () => MetadataImage;
  /** What the quorum is before an offset, as the log says; empty where it says nothing. */
  readonly quorumBefore: (endOffset: Offset) => readonly NewControlRecord[];
  /** Told of a new snapshot that is on stable storage, and of a log that begins later. */
  readonly onChange: (snapshot: OffsetAndEpoch, logStartOffset: Offset) => void;
  /** Told of every failure of the disk. */
  readonly noteFailure: (failure: unknown) => void;
}

/** The snapshots of this node's metadata log. */
export class MetadataSnapshots {
  readonly #options: MetadataSnapshotsOptions;
  readonly #stopping = new AbortController();
  #newestEndOffset: number;
  /** Size of the log when the newest snapshot was written, as far as it is still there. */
  #sizeAtSnapshot: number;
  #timer: Timer | null = null;
  #writing: Promise<void> | null = null;
  #hasFailed = false;

  /** Removes what a crash has left of a snapshot. Errors: DiskError. */
  constructor(options: MetadataSnapshotsOptions) {
    this.#options = options;
    const { disk, log } = options;
    removeSnapshotParts(disk, log.directory);
    const newest = listSnapshots(disk, log.directory).findLast(({ offset }) =>
      offset <= log.endOffset
    );
    this.#newestEndOffset = newest?.offset ?? 0;
    const before = log.segments.filter((_, i) =>
      (log.segments[i + 1]?.baseOffset ?? Infinity) <= this.#newestEndOffset
    );
    this.#sizeAtSnapshot = before.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  }

  /** To be called when something was committed: writes a snapshot, in the background, where one is due. */
  noteCommitted(): void {
    if (this.#stopping.signal.aborted || this.#writing !== null || this.#hasFailed) return;
    const { log, settings, image } = this.#options;
    if (image().offset < this.#newestEndOffset) return;
    if (log.sizeBytes - this.#sizeAtSnapshot >= settings.maxBytesBetween) this.#begin();
    else if (settings.maxIntervalMs > 0) this.#timer ??= this.#after(settings.maxIntervalMs);
  }

  /** Gives up what is being written, and writes one where the next start would have much to replay. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#timer?.cancel();
    await this.#writing;
    const recordCount = this.#options.image().offset + 1 - this.#newestEndOffset;
    if (recordCount < STOP_RECORDS || this.#hasFailed) return;
    const late = new AbortController();
    const timer = this.#options.clock.timer(STOP_PATIENCE_MS, () => late.abort());
    this.#begin(late.signal);
    await this.#writing;
    timer.cancel();
  }

  #after(delayMs: number): Timer {
    return this.#options.clock.timer(delayMs, () => {
      this.#timer = null;
      this.#hasFailed = false;
      this.#begin();
    });
  }

  #begin(signal = this.#stopping.signal): void {
    // Records of kinds that have no effect here are in no image, and must stay in the log.
    if (this.#options.image().withoutEffect.size > 0) return;
    this.#timer?.cancel();
    this.#timer = null;
    this.#writing = this.#write(signal).catch((failure: unknown) => {
      if (!(failure instanceof DiskError)) throw failure;
      this.#failed(failure);
    }).finally(() => {
      this.#writing = null;
      this.noteCommitted();
    });
  }

  #failed(failure: DiskError): void {
    const { logger, noteFailure } = this.#options;
    logger.warn("The metadata cannot be written as a snapshot; it is tried again", {
      found: failure.message,
      inMs: RETRY_MS,
    });
    this.#hasFailed = true;
    if (!this.#stopping.signal.aborted) this.#timer = this.#after(RETRY_MS);
    noteFailure(failure);
  }

  async #write(signal: AbortSignal): Promise<void> {
    const { clock, log, logger, quorumBefore, onChange } = this.#options;
    const image = this.#options.image();
    const { provenance } = image;
    const endOffset = offset(provenance.offset + 1);
    const startMs = clock.monotonicMs();
    // What comes from now on counts for the next one.
    const sizeBytes = log.sizeBytes;
    const file = await writeSnapshot(
      { ...this.#options, directory: log.directory },
      {
        id: { offset: endOffset, epoch: provenance.leaderEpoch },
        lastTimestampMs: provenance.timestampMs,
        quorum: quorumBefore(endOffset),
        records: imageRecords(image),
      },
      signal,
    );
    if (file === null) return;
    this.#newestEndOffset = endOffset;
    this.#sizeAtSnapshot = sizeBytes;
    logger.info("A snapshot of the metadata is written", {
      endOffset,
      leaderEpoch: provenance.leaderEpoch,
      bytes: sizeOf(this.#options.disk, file),
      durationMs: Math.round(clock.monotonicMs() - startMs),
    });
    this.#letGo();
    onChange(file, log.logStartOffset);
  }

  /** Records and snapshots that are too many or too old. Errors: DiskError. */
  #letGo(): void {
    const { disk, log } = this.#options;
    if (log.segments.at(-1)!.sizeBytes >= ROLLED_BYTES) log.roll();
    const snapshots = listSnapshots(disk, log.directory);
    while (snapshots.length > KEPT_SNAPSHOTS && this.#isTooMuch(snapshots)) {
      const [gone, next] = snapshots as [SnapshotFile, SnapshotFile];
      const sizeBytes = log.sizeBytes;
      log.deleteRecordsBefore(offset(next.offset));
      this.#sizeAtSnapshot -= sizeBytes - log.sizeBytes;
      disk.remove(gone.path);
      snapshots.shift();
    }
  }

  #isTooMuch(snapshots: readonly SnapshotFile[]): boolean {
    const { disk, clock, log, settings } = this.#options;
    const { retentionBytes, retentionMs } = settings;
    const snapshotBytes = snapshots.reduce((sum, file) => sum + sizeOf(disk, file), 0);
    if (retentionBytes >= 0 && log.sizeBytes + snapshotBytes > retentionBytes) return true;
    const ageMs = clock.wallMs() - disk.modifiedMs(snapshots[0]!.path);
    return retentionMs >= 0 && ageMs > retentionMs;
  }
}

function sizeOf(disk: Disk, { path }: SnapshotFile): number {
  const file = disk.open(path, "read");
  try {
    return file.sizeBytes;
  } finally {
    file.close();
  }
}
