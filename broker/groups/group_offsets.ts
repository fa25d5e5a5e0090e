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

/** What is known of one key. */
interface KeyState {
  /** What stands in the log; null for nothing. */
  committed: CommittedOffset | null;
  /** How many appended records of the key are not committed yet. */
  inFlight: number;
  /** Of these, how many are of a transaction. */
  pendingInFlight: number;
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
  /** One state a key, which commits change: there may be a million groups, and thousands of commits a second. */
  readonly #keys = new PartitionMap<KeyState>();
  #committedCount = 0;
  #inFlightCount = 0;
  /** Producer id → what its open transaction commits if it commits; null while no transaction is open. */
  #pending: Map<number, PartitionMap<PendingOffset>> | null = null;
  #lastOrder = 0;

  /** Number of committed offsets. */
  get size(): number {
    return this.#committedCount;
  }

  /** True when nothing is committed, on its way, or waiting for a transaction. */
  get isEmpty(): boolean {
    return this.#committedCount === 0 && !this.hasUnsettled;
  }

  /** True while records are on their way, or a transaction is open. */
  get hasUnsettled(): boolean {
    return this.#inFlightCount > 0 || this.#pending !== null;
  }

  get(topic: string, partition: number): CommittedOffset | undefined {
    return this.#keys.get(topic, partition)?.committed ?? undefined;
  }

  /** True while the log may hold a value of the key, or will. */
  has(topic: string, partition: number): boolean {
    return this.#keys.get(topic, partition) !== undefined || this.isUnstable(topic, partition);
  }

  /** True while a record of the key is on its way. */
  isInFlight(topic: string, partition: number): boolean {
    return (this.#keys.get(topic, partition)?.inFlight ?? 0) > 0;
  }

  /** What is committed, topic by topic. */
  *committed(): Generator<[topic: string, partition: number, value: CommittedOffset]> {
    for (const [topic, partition, { committed }] of this.#keys.entries()) {
      if (committed !== null) yield [topic, partition, committed];
    }
  }

  /** Sets a committed value; null deletes, what open transactions would commit of the key as well. */
  set(topic: string, partition: number, value: CommittedOffset | null): void {
    this.#setCommitted(topic, partition, value);
    if (this.#pending !== null) this.#supersede(topic, partition, Infinity, value === null);
  }

  #setCommitted(topic: string, partition: number, value: CommittedOffset | null): void {
    const state = this.#keys.get(topic, partition);
    if (state === undefined) {
      if (value === null) return;
      this.#keys.set(topic, partition, { committed: value, inFlight: 0, pendingInFlight: 0 });
      this.#committedCount += 1;
      return;
    }
    this.#committedCount += Number(value !== null) - Number(state.committed !== null);
    state.committed = value;
    if (value === null && state.inFlight === 0) this.#keys.delete(topic, partition);
  }

  /** Later values of the key stand than those pending below `order`. */
  #supersede(topic: string, partition: number, order: number, isGone: boolean): void {
    for (const [producerId, offsets] of this.#pending ?? []) {
      const pending = offsets.get(topic, partition);
      if (pending === undefined || pending.order >= order) continue;
      if (!isGone) offsets.set(topic, partition, { ...pending, value: null });
      else {
        offsets.delete(topic, partition);
        if (offsets.size === 0) this.#forget(producerId);
      }
    }
  }

  /** A record of the key was appended. */
  appended(topic: string, partition: number, isTransactional = false): void {
    const state = this.#keys.get(topic, partition);
    const pendingInFlight = Number(isTransactional);
    this.#inFlightCount += 1;
    if (state === undefined) {
      this.#keys.set(topic, partition, { committed: null, inFlight: 1, pendingInFlight });
    } else {
      state.inFlight += 1;
      state.pendingInFlight += pendingInFlight;
    }
  }

  /** A record of the key is committed, or will never be. */
  settled(topic: string, partition: number, isTransactional = false): void {
    const state = this.#keys.get(topic, partition);
    assert(
      state !== undefined && state.inFlight > 0,
      "Cannot settle a record of an offset: none is on its way",
    );
    this.#inFlightCount -= 1;
    state.inFlight -= 1;
    if (isTransactional) state.pendingInFlight -= 1;
    if (state.inFlight === 0 && state.committed === null) this.#keys.delete(topic, partition);
  }

  /** Every key that the log may hold a value of, each once. */
  *keys(): Generator<[topic: string, partition: number]> {
    for (const [topic, partition] of this.#keys.entries()) yield [topic, partition];
    const others = new PartitionMap<true>();
    for (const map of this.#pending?.values() ?? []) {
      for (const [topic, partition] of map.entries()) {
        if (this.#keys.get(topic, partition) === undefined) others.set(topic, partition, true);
      }
    }
    for (const [topic, partition] of others.entries()) yield [topic, partition];
  }

  /** The partitions of a topic that the log may hold values of. */
  partitionsOf(topic: string): number[] {
    const maps = [this.#keys, ...this.#pending?.values() ?? []];
    return [...new Set(maps.flatMap((map) => [...map.topics.get(topic)?.keys() ?? []]))];
  }

  /** A commit within the open transaction of `producerId`; takes effect with `completeTransaction`. */
  setTransactional(
    producerId: number,
    topic: string,
    partition: number,
    value: CommittedOffset,
  ): void {
    const pending = this.#pending ??= new Map();
    const offsets = pending.get(producerId) ?? new PartitionMap<PendingOffset>();
    pending.set(producerId, offsets);
    offsets.set(topic, partition, { value, order: ++this.#lastOrder });
  }

  /** The end of a producer's transaction. Does nothing when it committed no offsets here. */
  completeTransaction(producerId: number, outcome: "commit" | "abort"): void {
    const offsets = this.#pending?.get(producerId);
    if (offsets === undefined) return;
    this.#forget(producerId);
    if (outcome === "abort") return;
    for (const [topic, partition, { value, order }] of offsets.entries()) {
      if (value === null) continue;
      this.#setCommitted(topic, partition, value);
      this.#supersede(topic, partition, order, false);
    }
  }

  /** True while an open transaction may change the partition's offset. */
  isUnstable(topic: string, partition: number): boolean {
    if ((this.#keys.get(topic, partition)?.pendingInFlight ?? 0) > 0) return true;
    for (const offsets of this.#pending?.values() ?? []) {
      if (offsets.get(topic, partition) !== undefined) return true;
    }
    return false;
  }

  #forget(producerId: number): void {
    this.#pending?.delete(producerId);
    if (this.#pending?.size === 0) this.#pending = null;
  }
}
