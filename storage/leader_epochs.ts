/**
 * Which leader epoch wrote which offsets (KIP-101): the start offset of each epoch, both rising.
 *
 *     epoch 0 from 0 │ epoch 1 from 120 │ epoch 4 from 300 │ → end offset
 *
 * Followers and consumers ask where an epoch ended to find out where their history parts from the
 * leader's. Kept in `leader-epoch-checkpoint`; beyond the recovery point it is rebuilt from the batches.
 */

import {
  checkpointNumber,
  formatCheckpoint,
  parentOf,
  parseCheckpoint,
  readSmallText,
  textBytes,
  writeFileAtomically,
} from "./checkpoint.ts";
import type { Disk } from "./platform.ts";

/** Name of the checkpoint in the partition's directory. */
export const LEADER_EPOCH_CHECKPOINT = "leader-epoch-checkpoint";

/** An epoch and the offset of its first record. */
export interface EpochEntry {
  readonly epoch: number;
  readonly startOffset: number;
}

/** The epochs of one log. */
export class LeaderEpochs {
  readonly #disk: Disk;
  #path: string;
  #entries: EpochEntry[] = [];
  #dirty = false;
  /** What the checkpoint holds, or would if there were one; null when nobody knows. */
  #storedText: string | null = formatCheckpoint([]);
  /** The checkpoint may have got its name from a run that ended before the sync of the directory. */
  #isInDoubt = false;

  constructor({ disk, directory }: { readonly disk: Disk; readonly directory: string }) {
    this.#disk = disk;
    this.#path = `${directory}/${LEADER_EPOCH_CHECKPOINT}`;
  }

  /** Reads the checkpoint. Errors: DiskError when it is damaged. */
  load(): void {
    const text = readSmallText(this.#disk, this.#path);
    if (text === null) return;
    this.#storedText = null;
    for (const [epoch, startOffset] of parseCheckpoint(text, this.#path, 2)) {
      this.assign(
        checkpointNumber(epoch!, this.#path),
        checkpointNumber(startOffset!, this.#path),
      );
    }
    this.#storedText = text;
    this.#dirty = false;
  }

  /** All epochs, oldest first. */
  get entries(): readonly EpochEntry[] {
    return this.#entries;
  }

  /** The epoch of the last record, or −1 when there is none. */
  get latestEpoch(): number {
    return this.#entries.at(-1)?.epoch ?? -1;
  }

  /** A run that was killed may have given the checkpoint its name without a sync: `store` makes up for it. */
  doubt(): void {
    this.#isInDoubt = true;
  }

  /** True when the checkpoint of a log that ends at `endOffset` is behind, or not known to be stable. */
  isDirty(endOffset: number): boolean {
    if (this.#isInDoubt) return true;
    if (!this.#dirty || this.#text(endOffset) !== this.#storedText) return this.#dirty;
    this.#dirty = (this.#entries.at(-1)?.startOffset ?? -1) >= endOffset;
    return false;
  }

  /** Notes that the records from `startOffset` on are of `epoch`; drops what contradicts it. */
  assign(epoch: number, startOffset: number): void {
    if (epoch < 0) return;
    const last = this.#entries.at(-1);
    if (last !== undefined && last.epoch === epoch && startOffset >= last.startOffset) return;
    while (this.#entries.length > 0) {
      const { epoch: lastEpoch, startOffset: lastStart } = this.#entries.at(-1)!;
      if (lastEpoch < epoch && lastStart < startOffset) break;
      this.#entries.pop();
    }
    this.#entries.push({ epoch, startOffset });
    this.#dirty = true;
  }

  /** The epoch of the record at `offset`, or −1 when it is before the first entry. */
  epochForOffset(offset: number): number {
    for (let i = this.#entries.length - 1; i >= 0; i--) {
      if (this.#entries[i]!.startOffset <= offset) return this.#entries[i]!.epoch;
    }
    return -1;
  }

  /**
   * The largest epoch up to `epoch` and the offset after its last record; (−1, −1) when unknown.
   * `logEndOffset` is where the latest epoch ends so far.
   */
  endOffsetFor(
    epoch: number,
    logEndOffset: number,
  ): { readonly leaderEpoch: number; readonly endOffset: number } {
    const entries = this.#entries;
    const none = { leaderEpoch: -1, endOffset: -1 };
    if (epoch < 0 || entries.length === 0) return none;
    if (epoch === this.latestEpoch) return { leaderEpoch: epoch, endOffset: logEndOffset };
    if (epoch > this.latestEpoch) return none;
    const higher = entries.findIndex((entry) => entry.epoch > epoch);
    // Before the first epoch that is known: the record is older than the log.
    if (higher === 0) return { leaderEpoch: epoch, endOffset: entries[0]!.startOffset };
    return { leaderEpoch: entries[higher - 1]!.epoch, endOffset: entries[higher]!.startOffset };
  }

  /** Forgets what starts at or past `endOffset`. */
  truncateFromEnd(endOffset: number): void {
    const kept = this.#entries.filter((entry) => entry.startOffset < endOffset);
    if (kept.length !== this.#entries.length) {
      this.#entries = kept;
      this.#dirty = true;
    }
  }

  /** Forgets what ends before `startOffset`; the epoch that spans it starts there from now on. */
  truncateFromStart(startOffset: number): void {
    const spanning = this.#entries.findLastIndex((entry) => entry.startOffset <= startOffset);
    if (spanning < 0) return;
    const { epoch, startOffset: was } = this.#entries[spanning]!;
    if (spanning === 0 && was === startOffset) return;
    this.#entries = [{ epoch, startOffset }, ...this.#entries.slice(spanning + 1)];
    this.#dirty = true;
  }

  /** Takes over what another log with the same records knows. */
  replaceBy({ entries }: LeaderEpochs): void {
    this.#entries = [...entries];
    this.#dirty = true;
  }

  /** Its directory has been renamed. No `store` may be under way. */
  moveTo(directory: string): void {
    this.#path = `${directory}/${LEADER_EPOCH_CHECKPOINT}`;
  }

  /** Forgets everything. */
  clear(): void {
    this.#dirty ||= this.#entries.length > 0;
    this.#entries = [];
  }

  /**
   * Writes the checkpoint of a log that ends at `endOffset`, if it is behind. An epoch without records is left
   * out: the next start would drop it, and a new leader of thousands of partitions has better things to write.
   * Returns: when it is on stable storage. Errors: DiskError.
   */
  async store(endOffset: number): Promise<void> {
    if (!this.isDirty(endOffset)) return;
    const text = this.#text(endOffset);
    if (text === this.#storedText) await this.#disk.syncDirectory(parentOf(this.#path));
    else {
      this.#storedText = null;
      await writeFileAtomically(this.#disk, this.#path, textBytes(text));
      this.#storedText = text;
    }
    this.#isInDoubt = false;
  }

  #text(endOffset: number): string {
    return formatCheckpoint(
      this.#entries.filter(({ startOffset }) => startOffset < endOffset)
        .map(({ epoch, startOffset }) => `${epoch} ${startOffset}`),
    );
  }
}
