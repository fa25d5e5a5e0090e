/**
 * The committed offsets of one group, whatever its type.
 *
 * What stands here is committed to the log: a value is set when its record is, in the order of the log,
 * so a fetch never shows an offset that a crash could take back. Keys whose records are still on their
 * way are remembered, since deleting the group has to leave a tombstone for them too. Offsets committed
 * within a transaction wait beside the others until its end (`requireStable` asks for them).
 */

import assert from "node:assert/strict";
import type { LeaderEpoch, Offset, TimestampMs, Uuid } from "../../protocol/types.ts";

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

/** Values by topic and partition. */
class PartitionMap<V> {
  readonly topics = new Map<string, Map<number, V>>();
  size = 0;

  get(topic: string, partition: number): V | undefined {
    return this.topics.get(topic)?.get(partition);
  }

  set(topic: string, partition: number, value: V): void {
    let partitions = this.topics.get(topic);
    if (partitions === undefined) this.topics.set(topic, partitions = new Map());
    if (!partitions.has(partition)) this.size += 1;
    partitions.set(partition, value);
  }

  delete(topic: string, partition: number): void {
    const partitions = this.topics.get(topic);
    if (partitions === undefined || !partitions.delete(partition)) return;
    this.size -= 1;
    if (partitions.size === 0) this.topics.delete(topic);
  }

  *entries(): Generator<[topic: string, partition: number, value: V]> {
    for (const [topic, partitions] of this.topics) {
      for (const [partition, value] of partitions) yield [topic, partition, value];
    }
  }
}

/** Offsets of one group by topic and partition. */
export class GroupOffsets {
  readonly #committed = new PartitionMap<CommittedOffset>();
  /** How many appended records of the key are not committed yet. */
  readonly #inFlight = new PartitionMap<number>();
  /** Producer id → what its open transaction commits if it commits. */
  readonly #transactional = new Map<number, PartitionMap<CommittedOffset>>();

  /** Number of committed offsets. */
  get size(): number {
    return this.#committed.size;
  }

  /** True when nothing is committed, on its way, or waiting for a transaction. */
  get isEmpty(): boolean {
    return this.#committed.size === 0 && this.#inFlight.size === 0 &&
      this.#transactional.size === 0;
  }

  /** True while records are on their way, or a transaction is open. */
  get hasUnsettled(): boolean {
    return this.#inFlight.size > 0 || this.#transactional.size > 0;
  }

  get(topic: string, partition: number): CommittedOffset | undefined {
    return this.#committed.get(topic, partition);
  }

  /** True while a record of the key is on its way. */
  isInFlight(topic: string, partition: number): boolean {
    return this.#inFlight.get(topic, partition) !== undefined;
  }

  /** Topics with their committed partitions. */
  topics(): ReadonlyMap<string, ReadonlyMap<number, CommittedOffset>> {
    return this.#committed.topics;
  }

  /** Sets a committed value; null deletes. */
  set(topic: string, partition: number, value: CommittedOffset | null): void {
    if (value === null) this.#committed.delete(topic, partition);
    else this.#committed.set(topic, partition, value);
  }

  /** A record of the key was appended. */
  appended(topic: string, partition: number): void {
    this.#inFlight.set(topic, partition, (this.#inFlight.get(topic, partition) ?? 0) + 1);
  }

  /** A record of the key is committed, or will never be. */
  settled(topic: string, partition: number): void {
    const count = this.#inFlight.get(topic, partition);
    assert(
      count !== undefined,
      `Cannot settle a record of ${topic}-${partition}: none is on its way`,
    );
    if (count === 1) this.#inFlight.delete(topic, partition);
    else this.#inFlight.set(topic, partition, count - 1);
  }

  /** Every key that the log may hold a value of, each once. */
  *keys(): Generator<[topic: string, partition: number]> {
    for (const [topic, partition] of this.#committed.entries()) yield [topic, partition];
    for (const [topic, partition] of this.#inFlight.entries()) {
      if (this.#committed.get(topic, partition) === undefined) yield [topic, partition];
    }
  }

  /** The partitions of a topic that the log may hold values of. */
  partitionsOf(topic: string): number[] {
    const committed = this.#committed.topics.get(topic)?.keys() ?? [];
    const inFlight = this.#inFlight.topics.get(topic)?.keys() ?? [];
    return [...new Set([...committed, ...inFlight])];
  }

  /** A commit within the open transaction of `producerId`; takes effect with `completeTransaction`. */
  setTransactional(
    producerId: number,
    topic: string,
    partition: number,
    value: CommittedOffset,
  ): void {
    let offsets = this.#transactional.get(producerId);
    if (offsets === undefined) this.#transactional.set(producerId, offsets = new PartitionMap());
    offsets.set(topic, partition, value);
  }

  /** The end of a producer's transaction. Does nothing when it committed no offsets here. */
  completeTransaction(producerId: number, outcome: "commit" | "abort"): void {
    const offsets = this.#transactional.get(producerId);
    if (offsets === undefined) return;
    this.#transactional.delete(producerId);
    if (outcome === "abort") return;
    for (const [topic, partition, value] of offsets.entries()) this.set(topic, partition, value);
  }

  /** True while an open transaction may change the partition's offset. */
  isUnstable(topic: string, partition: number): boolean {
    for (const offsets of this.#transactional.values()) {
      if (offsets.get(topic, partition) !== undefined) return true;
    }
    return false;
  }
}
