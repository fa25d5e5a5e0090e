/**
 * What the Raft machine knows of its log: where it begins and ends, which epoch wrote which offsets, how far it
 * is on stable storage. The bytes are the driver's.
 *
 *     startOffset          syncedOffset   endOffset
 *        │ epoch 1 │ epoch 3    │            │
 *
 * It is ahead of the file by what the machine has asked for and the driver has not done yet, so that whatever
 * the machine says of its log is true by the time that it is said.
 *
 * Source: KIP-101, KIP-595 (divergence), KIP-630 (snapshots).
 */

import assert from "node:assert/strict";
import type { EpochEntry } from "../../storage/leader_epochs.ts";
import type { OffsetAndEpoch } from "./raft_quorum.ts";

/** A log as a driver finds it. */
export interface FoundLog {
  readonly startOffset: number;
  readonly endOffset: number;
  /** Oldest first; may begin before the start. */
  readonly epochs: readonly EpochEntry[];
  /** The newest snapshot that the log goes on from. */
  readonly snapshotId: OffsetAndEpoch | null;
}

/** What a leader makes of the place from which a follower wants to go on. */
export type FetchPosition =
  | { readonly kind: "valid" }
  /** The follower's log parts from ours: ours has nothing of that epoch, or less. */
  | { readonly kind: "diverging"; readonly end: OffsetAndEpoch }
  /** What it asks for is in a snapshot only. */
  | { readonly kind: "snapshot"; readonly id: OffsetAndEpoch };

/** Bounds, epochs and durability of the log. */
export class RaftLog {
  #startOffset: number;
  #endOffset: number;
  #syncedOffset: number;
  #epochs: EpochEntry[];
  #snapshotId: OffsetAndEpoch | null;

  constructor({ startOffset, endOffset, epochs, snapshotId }: FoundLog) {
    this.#startOffset = startOffset;
    this.#endOffset = endOffset;
    this.#syncedOffset = endOffset;
    this.#epochs = [...epochs];
    this.#snapshotId = snapshotId;
    const isStart = snapshotId !== null && snapshotId.offset === startOffset;
    if (isStart && (epochs[0]?.startOffset ?? startOffset) >= startOffset) {
      this.#beginAfter(snapshotId);
    }
  }

  /** The snapshot's own epoch has no record in the log, and followers begin with it. */
  #beginAfter({ offset, epoch }: OffsetAndEpoch): void {
    if (this.#epochs[0]?.epoch === epoch) return;
    this.#epochs.unshift({ epoch, startOffset: offset });
  }

  get startOffset(): number {
    return this.#startOffset;
  }
  get endOffset(): number {
    return this.#endOffset;
  }
  /** Everything before it is on stable storage. */
  get syncedOffset(): number {
    return this.#syncedOffset;
  }
  /** The newest snapshot; null when there is none. */
  get snapshotId(): OffsetAndEpoch | null {
    return this.#snapshotId;
  }

  /** The end, as candidates compare it. */
  get end(): OffsetAndEpoch {
    return { offset: this.#endOffset, epoch: this.#epochs.at(-1)?.epoch ?? 0 };
  }

  /** Records of `epoch` up to `endOffset` follow. */
  append(epoch: number, endOffset: number): void {
    assert(endOffset > this.#endOffset && epoch >= this.end.epoch, "an append that goes back");
    if (this.#epochs.at(-1)?.epoch !== epoch) {
      this.#epochs.push({ epoch, startOffset: this.#endOffset });
    }
    this.#endOffset = endOffset;
  }

  /** What lies before `syncedOffset` is on stable storage. */
  synced(syncedOffset: number): void {
    this.#syncedOffset = Math.max(this.#syncedOffset, Math.min(syncedOffset, this.#endOffset));
  }

  truncateTo(endOffset: number): void {
    assert(endOffset >= this.#startOffset && endOffset <= this.#endOffset);
    this.#endOffset = endOffset;
    this.#syncedOffset = Math.min(this.#syncedOffset, endOffset);
    // The first one may stand for the snapshot that ends there.
    const id = this.#snapshotId;
    this.#epochs = this.#epochs.filter(({ epoch, startOffset }) =>
      startOffset < endOffset || (epoch === id?.epoch && startOffset === id.offset)
    );
  }

  /** A snapshot takes the place of the whole log. */
  replaceBy(snapshotId: OffsetAndEpoch): void {
    this.#snapshotId = snapshotId;
    this.#startOffset = snapshotId.offset;
    this.#endOffset = snapshotId.offset;
    this.#syncedOffset = snapshotId.offset;
    this.#epochs = [];
    this.#beginAfter(snapshotId);
  }

  /** A snapshot of our own was written, and what lies before `startOffset` was deleted. */
  noteSnapshot(snapshotId: OffsetAndEpoch, startOffset: number): void {
    if ((this.#snapshotId?.offset ?? -1) < snapshotId.offset) this.#snapshotId = snapshotId;
    this.#startOffset = Math.max(this.#startOffset, startOffset);
  }

  /** The largest epoch up to `epoch` that the log has, and where it ends; epoch 0 where it has none. */
  endOf(epoch: number): OffsetAndEpoch {
    const next = this.#epochs.findIndex((entry) => entry.epoch > epoch);
    if (next < 0) return this.end;
    const found = this.#epochs[next - 1];
    return { offset: this.#epochs[next]!.startOffset, epoch: found?.epoch ?? 0 };
  }

  /** Whether a follower whose log ends before `offset` with a record of `epoch` may go on there. */
  check({ offset, epoch }: OffsetAndEpoch): FetchPosition {
    const snapshotId = this.#snapshotId;
    if (offset === 0 && snapshotId !== null && snapshotId.offset > 0) {
      return { kind: "snapshot", id: snapshotId };
    }
    const end = this.endOf(epoch);
    // Where the follower's log parts from ours before our start, it cannot be told where: all of it has to go.
    const isUnknown = this.#startOffset > 0 && (end.epoch === 0 || end.offset < this.#startOffset);
    if (offset < this.#startOffset || isUnknown) {
      assert(snapshotId !== null, "a log without its start has a snapshot");
      return { kind: "snapshot", id: snapshotId };
    }
    if (offset === 0) return { kind: "valid" };
    const isOurs = end.epoch === epoch && offset <= end.offset;
    return isOurs ? { kind: "valid" } : { kind: "diverging", end };
  }
}
