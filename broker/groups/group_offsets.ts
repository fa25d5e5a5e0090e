/**
 * The committed offsets of one group, whatever its type.
 *
 * What stands here is committed to the log: a value is set when its record is, in the order of the log,
 * so a fetch never shows an offset that a crash could take back. Keys whose records are still on their
 * way are remembered, since deleting the group has to leave a tombstone for them too.
 *
 * Offsets committed within a transaction wait beside the others until its end: while they do, the key is unstable,
 * from the moment in which their record is appended, or whoever takes the partition over could begin before them.
 * Of all commits of a key the last one in the log stands, whenever its transaction ends (what compaction keeps, too):
 *
 *     pending of A ─ commit ─ marker of A        the commit stands
 *     pending of A ─ pending of B ─ B ends ─ A ends      that of B stands
 *     pending of A ─ tombstone                   gone, and not unstable any more
 */

import assert from "node:assert/strict";
import type { LeaderEpoch, Offset, TimestampMs, Uuid } from "../../protocol/types.ts";
import { PartitionMap } from "./partition_map.ts";

/** One committed offset. */
export interface CommittedOffset {
  readonly offset: Offset;
  /** −1 when the client did not say. */
  readonly leaderEpoch: LeaderEpoch;
  readonly metadata: string;
  readonly commitTimestampMs: TimestampMs;
  /** −1 unless the client asked for a retention of its own (OffsetCommit 2–4). */
  readonly expireTimestampMs: TimestampMs;
  /** The topic that was read; the zero id in records of older brokers, which did not say. */
  readonly topicId: Uuid;
}

/** Counts by topic and partition; zeros are left out. */
class PartitionCounts extends PartitionMap<number> {
  add(topic: string, partition: number, change: number): void {
    const count = (this.get(topic, partition) ?? 0) + change;
    if (count === 0) this.delete(topic, partition);
    else this.set(topic, partition, count);
  }
}

/** What an open transaction commits of a key. */
interface PendingOffset {
  /** Null where a later commit of the key stands already. */
  readonly value: CommittedOffset | null;
  /** Counts up with the pending offsets of the group, in the order of the log. */
  readonly order: number;
}

/** Offsets of one group by topic and partition. */
export class GroupOffsets {
  readonly #committed = new PartitionMap<CommittedOffset>();
  /** How many appended records of the key are not committed yet. */
  readonly #inFlight = new PartitionCounts();
  /** Producer id → what its open transaction commits if it commits. */
  readonly #pending = new Map<number, PartitionMap<PendingOffset>>();
  /** Of those in flight, how many are of a transaction. */
  readonly #pendingInFlight = new PartitionCounts();
  #lastOrder = 0;

  /** Number of committed offsets. */
  get size(): number {
    return this.#committed.size;
  }

  /** True when nothing is committed, on its way, or waiting for a transaction. */
  get isEmpty(): boolean {
    return this.#committed.size === 0 && this.#inFlight.size === 0 && this.#pending.size === 0;
  }

  /** True while records are on their way, or a transaction is open. */
  get hasUnsettled(): boolean {
    return this.#inFlight.size > 0 || this.#pending.size > 0;
  }

  get(topic: string, partition: number): CommittedOffset | undefined {
    return this.#committed.get(topic, partition);
  }

  /** True while the log may hold a value of the key, or will. */
  has(topic: string, partition: number): boolean {
    return this.get(topic, partition) !== undefined || this.isInFlight(topic, partition) ||
      this.isUnstable(topic, partition);
  }

  /** True while a record of the key is on its way. */
  isInFlight(topic: string, partition: number): boolean {
    return this.#inFlight.get(topic, partition) !== undefined;
  }

  /** Topics with their committed partitions. */
  topics(): ReadonlyMap<string, ReadonlyMap<number, CommittedOffset>> {
    return this.#committed.topics;
  }

  /** Sets a committed value; null deletes, what open transactions would commit of the key as well. */
  set(topic: string, partition: number, value: CommittedOffset | null): void {
    if (value === null) this.#committed.delete(topic, partition);
    else this.#committed.set(topic, partition, value);
    if (this.#pending.size > 0) this.#supersede(topic, partition, Infinity, value === null);
  }

  /** Later values of the key stand than those pending below `order`. */
  #supersede(topic: string, partition: number, order: number, isGone: boolean): void {
    for (const [producerId, offsets] of this.#pending) {
      const pending = offsets.get(topic, partition);
      if (pending === undefined || pending.order >= order) continue;
      if (!isGone) offsets.set(topic, partition, { ...pending, value: null });
      else {
        offsets.delete(topic, partition);
        if (offsets.size === 0) this.#pending.delete(producerId);
      }
    }
  }

  /** A record of the key was appended. */
  appended(topic: string, partition: number, isTransactional = false): void {
    this.#inFlight.add(topic, partition, 1);
    if (isTransactional) this.#pendingInFlight.add(topic, partition, 1);
  }

  /** A record of the key is committed, or will never be. */
  settled(topic: string, partition: number, isTransactional = false): void {
    assert(
      this.isInFlight(topic, partition),
      `Cannot settle a record of ${topic}-${partition}: none is on its way`,
    );
    this.#inFlight.add(topic, partition, -1);
    if (isTransactional) this.#pendingInFlight.add(topic, partition, -1);
  }

  /** Every key that the log may hold a value of, each once. */
  *keys(): Generator<[topic: string, partition: number]> {
    for (const [topic, partition] of this.#committed.entries()) yield [topic, partition];
    const others = new PartitionMap<true>();
    for (const map of [this.#inFlight, ...this.#pending.values()]) {
      for (const [topic, partition] of map.entries()) {
        if (this.get(topic, partition) === undefined) others.set(topic, partition, true);
      }
    }
    for (const [topic, partition] of others.entries()) yield [topic, partition];
  }

  /** The partitions of a topic that the log may hold values of. */
  partitionsOf(topic: string): number[] {
    const maps = [this.#committed, this.#inFlight, ...this.#pending.values()];
    return [...new Set(maps.flatMap((map) => [...map.topics.get(topic)?.keys() ?? []]))];
  }

  /** A commit within the open transaction of `producerId`; takes effect with `completeTransaction`. */
  setTransactional(
    producerId: number,
    topic: string,
    partition: number,
    value: CommittedOffset,
  ): void {
    let offsets = this.#pending.get(producerId);
    if (offsets === undefined) this.#pending.set(producerId, offsets = new PartitionMap());
    offsets.set(topic, partition, { value, order: ++this.#lastOrder });
  }

  /** The end of a producer's transaction. Does nothing when it committed no offsets here. */
  completeTransaction(producerId: number, outcome: "commit" | "abort"): void {
    const offsets = this.#pending.get(producerId);
    if (offsets === undefined) return;
    this.#pending.delete(producerId);
    if (outcome === "abort") return;
    for (const [topic, partition, { value, order }] of offsets.entries()) {
      if (value === null) continue;
      this.#committed.set(topic, partition, value);
      this.#supersede(topic, partition, order, false);
    }
  }

  /** True while an open transaction may change the partition's offset. */
  isUnstable(topic: string, partition: number): boolean {
    if (this.#pendingInFlight.get(topic, partition) !== undefined) return true;
    for (const offsets of this.#pending.values()) {
      if (offsets.get(topic, partition) !== undefined) return true;
    }
    return false;
  }
}
