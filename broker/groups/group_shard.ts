/**
 * The groups of one partition of `__consumer_offsets`, while this node leads it.
 *
 * The shard turns what a group wants written into batches, and tells the group when they are committed.
 * Offsets are shown only once they are; the group machines hold back their own answers. Deleting a group
 * takes effect at once, since its tombstones stand in the log before anything that may follow.
 *
 * Invariant: records of one shard are applied in the order of the log.
 */

import assert from "node:assert/strict";
import type { CompressionCodec } from "../../protocol/compression.ts";
import { ErrorCode, errorName } from "../../protocol/errors.ts";
import { buildBatch } from "../../protocol/records.ts";
import type { Clock, Logger } from "../../storage/platform.ts";
import { coordinatorError, isCommitted } from "../coordination/append_waits.ts";
import {
  type KeyValue,
  recordsOf,
  TOMBSTONES_PER_BATCH,
} from "../coordination/coordinator_records.ts";
import type { Shard, ShardOpening } from "../coordination/led_shards.ts";
import { ShardLog } from "../coordination/shard_log.ts";
import { buildMarker, type TransactionEnd } from "../coordination/transaction_end.ts";
import {
  ClassicGroup,
  type ClassicGroupSettings,
  type GroupEffect,
  type JoinAnswer,
  type Now,
  type SyncAnswer,
} from "./classic_group.ts";
import {
  ConsumerGroup,
  type ConsumerGroupContext,
  type ConsumerGroupWrite,
  type Downgrade,
} from "./consumer_group.ts";
import { encodeConsumerGroupChange } from "./consumer_group_records.ts";
import { GroupLoader, type LoadedGroup } from "./group_loader.ts";
import { type CommittedOffset, GroupOffsets } from "./group_offsets.ts";
import { encodeGroupMetadata, encodeOffsetCommit } from "./group_records.ts";
import type { Rebalance, RebalancingType } from "./rebalance.ts";
import type { TransactionGuard } from "../partitions/transaction_guards.ts";

/** Records of one change of a consumer group go into several batches above this size. */
const PART_BYTES = 256 * 1024;

/** Groups that are made in one step of loading. */
const GROUPS_PER_STEP = 100;

const DELETE_FAILED = "Could not delete offsets";
const WRITE_FAILED = "Could not write a change of a group";

/** A group of any type with its offsets. */
export interface GroupEntry {
  readonly groupId: string;
  readonly shard: GroupShard;
  /** Changes when the group goes over to another protocol. */
  group: ClassicGroup | ConsumerGroup;
  readonly offsets: GroupOffsets;
  /** Who waits for the newest record of a consumer group that is not committed yet; null when all are. */
  unsettled: ((error: ErrorCode) => void)[] | null;
}

/** The coordinator, as its shards see it. */
export interface ShardHost {
  joinAnswered(requestId: number, answer: JoinAnswer): void;
  syncAnswered(requestId: number, answer: SyncAnswer): void;
  /** The group's next deadline may have changed; Infinity when the group is gone. */
  deadlineChanged(entry: GroupEntry, atMs: number): void;
  rebalanceStarted(groupId: string, type: RebalancingType, rebalance: Rebalance): void;
  /** What a consumer group's machine needs to know of the moment. */
  consumerContext(groupId: string): ConsumerGroupContext;
  /** Somebody has to look up regular expressions. */
  regexesWanted(entry: GroupEntry, group: ConsumerGroup, regexes: readonly string[]): void;
}

/** What a shard is made of. */
export interface ShardOptions extends Omit<ShardOpening, "leaderEpoch"> {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: ClassicGroupSettings;
  readonly compression: CompressionCodec;
  /** How long an answer waits for its append to be committed; what is appended counts even so. */
  readonly appendTimeoutMs: number;
  readonly host: ShardHost;
}

/** One offset to be set. */
export interface OffsetToCommit {
  readonly topic: string;
  readonly partition: number;
  readonly value: CommittedOffset;
}

/** The same, or one that is to be gone with null. */
type OffsetChange = Omit<OffsetToCommit, "value"> & { readonly value: CommittedOffset | null };

/** The transaction that offsets are committed in. */
export interface OffsetTransaction {
  readonly producerId: number;
  readonly producerEpoch: number;
  /** As that of a `ClientBatch`. */
  readonly guard: TransactionGuard | null | undefined;
}

/** The groups of one led partition. */
export class GroupShard implements Shard {
  readonly partition: number;
  readonly #log: ShardLog;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #settings: ClassicGroupSettings;
  readonly #compression: CompressionCodec;
  readonly #host: ShardHost;
  #groups = new Map<string, GroupEntry>();
  /** Producer id → groups that its open transaction commits offsets of. */
  #openTransactions = new Map<number, Set<string>>();
  /** Topics deleted while loading, whose offsets go once everything is there. */
  readonly #deletedTopics = new Set<string>();

  constructor(options: ShardOptions) {
    this.partition = options.partition;
    this.#log = new ShardLog({ ...options, contents: "groups" });
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#settings = options.settings;
    this.#compression = options.compression;
    this.#host = options.host;
  }

  get availability(): ErrorCode {
    return this.#log.availability;
  }

  /** The groups of an active shard. */
  entries(): Iterable<GroupEntry> {
    return this.#groups.values();
  }

  get(groupId: string): GroupEntry | undefined {
    return this.#groups.get(groupId);
  }

  /** The group, made now when there is none. */
  getOrCreate(groupId: string): GroupEntry {
    const existing = this.#groups.get(groupId);
    if (existing !== undefined) return existing;
    const entry: GroupEntry = {
      groupId,
      shard: this,
      group: new ClassicGroup(groupId, this.#settings, this.#now()),
      offsets: new GroupOffsets(),
      unsettled: null,
    };
    this.#groups.set(groupId, entry);
    return entry;
  }

  /** Forgets a group of which nothing was ever written. */
  dropIfBlank(entry: GroupEntry): void {
    if (entry.group.isBlank && entry.offsets.isEmpty && entry.unsettled === null) {
      this.#remove(entry);
    }
  }

  /** Lets everything happen in a group whose time has come. */
  tick(entry: GroupEntry): void {
    const { group } = entry;
    if (group.type === "classic") {
      this.run(entry, group, group.tick(this.#now()));
    } else {
      const write = group.tick(this.#host.consumerContext(entry.groupId));
      this.write(entry, group, write, (error) => this.#warnOf(error, entry, WRITE_FAILED));
    }
  }

  /** Does what a classic group's machine asks for. */
  run(entry: GroupEntry, group: ClassicGroup, effects: readonly GroupEffect[]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case "joinAnswer":
          this.#host.joinAnswered(effect.requestId, effect.answer);
          break;
        case "syncAnswer":
          this.#host.syncAnswered(effect.requestId, effect.answer);
          break;
        case "rebalance":
          this.#host.rebalanceStarted(entry.groupId, group.type, effect.rebalance);
          break;
        case "append":
          this.#append(
            [encodeGroupMetadata(entry.groupId, effect.metadata)],
            this.#log.waits.bounded((error) => {
              this.run(entry, group, group.appended(effect.appendId, error, this.#now()));
            }),
          );
          break;
      }
    }
    this.noteDeadline(entry);
  }

  /** The group's next deadline may have changed. */
  noteDeadline(entry: GroupEntry): void {
    const isHere = this.#groups.get(entry.groupId) === entry;
    this.#host.deadlineChanged(entry, isHere ? entry.group.nextDeadlineMs : Infinity);
  }

  /**
   * The classic group of an entry; an empty consumer group makes room for one. Null where a consumer group has
   * members.
   */
  classicGroup(entry: GroupEntry): ClassicGroup | null {
    const { group } = entry;
    if (group.type === "classic") return group;
    if (!group.isEmpty) return null;
    const classic = new ClassicGroup(entry.groupId, this.#settings, this.#now());
    const isTaken = this.#append(
      tombstonesOf(entry),
      (error) => this.#warnOf(error, entry, WRITE_FAILED),
    );
    // A classic group has no records before its first rebalance ends: nothing is lost if it never does.
    if (isTaken) entry.group = classic;
    return isTaken ? classic : null;
  }

  /** Writes the changes of a consumer group, which takes the place of an empty classic one where it has to. */
  writeAs(
    entry: GroupEntry,
    group: ConsumerGroup,
    write: ConsumerGroupWrite,
    onSettled: (error: ErrorCode) => void,
  ): void {
    const before = entry.group;
    const isKnown = before.type === "consumer" || before.isBlank;
    const tombstones = isKnown ? [] : tombstonesOf(entry);
    entry.group = group;
    if (!this.write(entry, group, write, onSettled, tombstones)) entry.group = before;
    else if (before.type === "classic") {
      // Whoever waits there comes again, to the group that it has become.
      this.run(entry, before, before.die(ErrorCode.REBALANCE_IN_PROGRESS, this.#now()));
    }
  }

  /**
   * Writes what a consumer group's machine has changed, after records that come `before` in the log. What the log
   * does not take is taken back.
   *
   * Returns: false where it was; `onSettled` hears NONE once this and everything before it is committed.
   */
  write(
    entry: GroupEntry,
    group: ConsumerGroup,
    { changes, undo, toResolve, rebalance, downgrade }: ConsumerGroupWrite,
    onSettled: (error: ErrorCode) => void,
    before: readonly KeyValue[] = [],
  ): boolean {
    let isTaken = true;
    const records = [
      ...before,
      ...changes.map((change) => encodeConsumerGroupChange(entry.groupId, change)),
      ...downgrade === null ? [] : [encodeGroupMetadata(entry.groupId, downgrade.metadata)],
    ];
    const waits = records.length > 0 || entry.unsettled !== null;
    const bounded = waits ? this.#log.waits.bounded(onSettled) : onSettled;
    for (let start = 0; start < records.length && isTaken;) {
      const end = endOfPart(records, start);
      const listeners = end === records.length ? [bounded] : [];
      entry.unsettled = listeners;
      isTaken = this.#append(records.slice(start, end), (error) => {
        if (entry.unsettled === listeners) entry.unsettled = null;
        for (const listener of listeners) listener(error);
      });
      if (!isTaken) {
        group.takeBack({ undo: undo.slice(Math.max(0, start - before.length)) });
        // Parts of it may stand in the log: the group has another state than its requester was told.
        if (end < records.length) bounded(ErrorCode.COORDINATOR_NOT_AVAILABLE);
      }
      start = end;
    }
    if (records.length === 0) this.whenSettled(entry, bounded);
    if (isTaken && downgrade !== null) this.#downgrade(entry, downgrade);
    if (isTaken && rebalance !== null) {
      this.#host.rebalanceStarted(entry.groupId, group.type, rebalance);
    }
    if (isTaken && toResolve.length > 0) this.#host.regexesWanted(entry, group, toResolve);
    this.noteDeadline(entry);
    return isTaken;
  }

  /** Calls `listener` with NONE once everything of the group that was written is committed, or with why it is not. */
  whenSettled({ unsettled }: GroupEntry, listener: (error: ErrorCode) => void): void {
    if (unsettled === null) listener(ErrorCode.NONE);
    else unsettled.push(listener);
  }

  #downgrade(entry: GroupEntry, { metadata, rebalance }: Downgrade): void {
    const now = this.#now();
    const group = ClassicGroup.restore(entry.groupId, metadata, this.#settings, now);
    entry.group = group;
    this.run(entry, group, rebalance === null ? [] : group.rebalance(rebalance, now));
  }

  /** Commits offsets of a group. `onSettled` hears NONE once they are committed and visible. */
  commitOffsets(
    entry: GroupEntry,
    offsets: readonly OffsetToCommit[],
    onSettled: (error: ErrorCode) => void,
  ): void {
    this.#writeOffsets(entry, offsets, this.#log.waits.bounded(onSettled));
  }

  /**
   * Commits offsets of a group within a transaction: they are visible once its marker is committed.
   * `onSettled` hears NONE once they are committed themselves.
   */
  commitInTransaction(
    entry: GroupEntry,
    transaction: OffsetTransaction,
    offsets: readonly OffsetToCommit[],
    onSettled: (error: ErrorCode) => void,
  ): void {
    this.#writeOffsets(entry, offsets, this.#log.waits.bounded(onSettled), transaction);
  }

  /**
   * Writes the marker of a transaction. `onSettled` hears NONE, or the log's own error, once what the transaction
   * committed here stands, or is gone.
   */
  endTransaction(end: TransactionEnd, onSettled: (error: ErrorCode) => void): void {
    const { producerId, outcome, transactionVersion } = end;
    this.#log.append(buildMarker(end, this.#clock.wallMs()), (error) => {
      if (isCommitted(error)) this.#completeTransaction(producerId, outcome);
      onSettled(error);
    }, { transactionVersion });
  }

  #completeTransaction(producerId: number, outcome: "commit" | "abort"): void {
    const groupIds = this.#openTransactions.get(producerId) ?? [];
    this.#openTransactions.delete(producerId);
    for (const groupId of groupIds) {
      const entry = this.#groups.get(groupId);
      if (entry === undefined) continue;
      entry.offsets.completeTransaction(producerId, outcome);
      this.dropIfBlank(entry);
    }
  }

  /** Deletes offsets of a group; keys without an offset are passed over. */
  deleteOffsets(
    entry: GroupEntry,
    keys: readonly { readonly topic: string; readonly partition: number }[],
    onSettled: (error: ErrorCode) => void,
  ): void {
    const known = keys.filter(({ topic, partition }) => entry.offsets.has(topic, partition));
    const tombstones = known.map(({ topic, partition }) => ({ topic, partition, value: null }));
    this.#inBatches(
      tombstones,
      (part, settled) => this.#writeOffsets(entry, part, settled),
      this.#log.waits.bounded(onSettled),
    );
  }

  /** Deletes a group with its offsets: at once here, for good when `onSettled` hears NONE. */
  deleteGroup(entry: GroupEntry, onSettled: (error: ErrorCode) => void): void {
    const tombstones: KeyValue[] = [];
    for (const [topic, partition] of entry.offsets.keys()) {
      tombstones.push(encodeOffsetCommit(entry.groupId, topic, partition, null));
    }
    tombstones.push(...tombstonesOf(entry));
    this.#remove(entry);
    this.#die(entry, ErrorCode.UNKNOWN_MEMBER_ID);
    this.#inBatches(
      tombstones,
      (part, settled) => this.#append(part, settled),
      this.#log.waits.bounded(onSettled),
    );
  }

  /** Deletes the offsets of a topic that is gone, in every group. */
  topicDeleted(topic: string): void {
    if (this.#log.isLoading) this.#deletedTopics.add(topic);
    if (!this.#log.isActive) return;
    for (const entry of this.#groups.values()) {
      const keys = entry.offsets.partitionsOf(topic).map((partition) => ({ topic, partition }));
      if (keys.length > 0) {
        this.deleteOffsets(entry, keys, (error) => this.#warnOf(error, entry, DELETE_FAILED));
      }
    }
  }

  /** Deletes offsets past their retention, and groups that are left with nothing. */
  expireOffsets(retentionMs: number): void {
    if (!this.#log.isActive) return;
    const nowMs = this.#clock.wallMs();
    for (const entry of [...this.#groups.values()]) {
      const expired = expiredOffsets(entry, nowMs, retentionMs);
      const { group, offsets } = entry;
      const isAll = expired.length === offsets.size && group.isEmpty && !offsets.hasUnsettled;
      const warn = (error: ErrorCode) => this.#warnOf(error, entry, DELETE_FAILED);
      if (isAll) this.deleteGroup(entry, warn);
      else if (expired.length > 0) this.deleteOffsets(entry, expired, warn);
    }
  }

  /**
   * Rebuilds the groups from the log, then serves them.
   *
   * Returns: when the shard is active, has failed (the log says why), or was closed meanwhile.
   */
  async load(): Promise<void> {
    const startedMs = this.#clock.monotonicMs();
    const loader = new GroupLoader();
    const groups = new Map<string, GroupEntry>();
    await this.#log.read({
      onBatch: (bytes, position) => loader.batch(bytes, position),
      finish: () => this.#finishLoading(loader, groups),
    });
    if (!this.#log.isLoading) return;
    const now = this.#now();
    this.#groups = groups;
    this.#openTransactions = loader.openTransactions;
    this.#log.activate();
    for (const entry of this.#groups.values()) {
      const { group } = entry;
      if (group.type === "classic") this.run(entry, group, group.enforceMaxSize(now));
      else this.noteDeadline(entry);
    }
    for (const topic of this.#deletedTopics) this.topicDeleted(topic);
    this.#deletedTopics.clear();
    if (loader.recordCount > 0) {
      this.#logger.info("Loaded groups", {
        partition: this.partition,
        groups: this.#groups.size,
        records: loader.recordCount,
        unknownRecords: loader.unknownCount,
        durationMs: Math.round(this.#clock.monotonicMs() - startedMs),
      });
    }
  }

  /** Makes the groups that the log tells of, a few at each step. */
  *#finishLoading(loader: GroupLoader, groups: Map<string, GroupEntry>): Generator<void> {
    yield* loader.finish();
    for (const [groupId, loaded] of loader.groups) {
      const group = this.#restore(groupId, loaded, this.#now());
      if (group === null) continue;
      const { offsets } = loaded;
      groups.set(groupId, { groupId, shard: this, group, offsets, unsettled: null });
      if (groups.size % GROUPS_PER_STEP === 0) yield;
    }
  }

  /** The group that the log tells of; null when it was deleted. */
  #restore(
    groupId: string,
    { metadata, consumer, offsets }: LoadedGroup,
    now: Now,
  ): ClassicGroup | ConsumerGroup | null {
    if (consumer !== null && !consumer.isGone) {
      return ConsumerGroup.restore(groupId, consumer, this.#host.consumerContext(groupId));
    }
    if (metadata !== null) return ClassicGroup.restore(groupId, metadata, this.#settings, now);
    return offsets.isEmpty ? null : new ClassicGroup(groupId, this.#settings, now);
  }

  /** Ends the shard: who waits in one of its groups learns `error`. */
  close(error: ErrorCode): void {
    if (!this.#log.close()) return;
    for (const entry of [...this.#groups.values()]) {
      this.#remove(entry);
      this.#die(entry, error);
    }
  }

  /** Who waits in a classic group learns `error`; in a consumer group they wait for the log alone. */
  #die(entry: GroupEntry, error: ErrorCode): void {
    const { group } = entry;
    if (group.type === "classic") this.run(entry, group, group.die(error, this.#now()));
  }

  #writeOffsets(
    entry: GroupEntry,
    changes: readonly OffsetChange[],
    onSettled: (error: ErrorCode) => void,
    transaction: OffsetTransaction | null = null,
  ): void {
    const isTransactional = transaction !== null;
    for (const { topic, partition } of changes) {
      entry.offsets.appended(topic, partition, isTransactional);
    }
    const batch = this.#build(offsetRecords(entry, changes), transaction);
    this.#log.append(batch, (error) => {
      for (const change of changes) {
        entry.offsets.settled(change.topic, change.partition, isTransactional);
        if (isCommitted(error)) this.#setOffset(entry, change, transaction);
      }
      onSettled(coordinatorError(error));
    }, transaction === null ? {} : { guard: transaction.guard });
  }

  #setOffset(
    { groupId, offsets }: GroupEntry,
    { topic, partition, value }: OffsetChange,
    transaction: OffsetTransaction | null,
  ): void {
    if (transaction === null || value === null) return offsets.set(topic, partition, value);
    const { producerId } = transaction;
    offsets.setTransactional(producerId, topic, partition, value);
    const groupIds = this.#openTransactions.get(producerId) ?? new Set();
    this.#openTransactions.set(producerId, groupIds.add(groupId));
  }

  /** Writes a list in parts; `onSettled` hears the first error, or NONE after the last part. */
  #inBatches<T>(
    items: readonly T[],
    write: (part: readonly T[], settled: (error: ErrorCode) => void) => void,
    onSettled: (error: ErrorCode) => void,
  ): void {
    let outstanding = Math.ceil(items.length / TOMBSTONES_PER_BATCH);
    if (outstanding === 0) {
      onSettled(ErrorCode.NONE);
      return;
    }
    let outcome: ErrorCode = ErrorCode.NONE;
    for (let start = 0; start < items.length; start += TOMBSTONES_PER_BATCH) {
      write(items.slice(start, start + TOMBSTONES_PER_BATCH), (error) => {
        if (outcome === ErrorCode.NONE) outcome = error;
        outstanding -= 1;
        if (outstanding === 0) onSettled(outcome);
      });
    }
  }

  /** Returns: whether the log has taken the records. */
  #append(records: readonly KeyValue[], onSettled: (error: ErrorCode) => void): boolean {
    return this.#log.append(this.#build(records), (error) => onSettled(coordinatorError(error)));
  }

  #build(records: readonly KeyValue[], transaction: OffsetTransaction | null = null): Uint8Array {
    assert(records.length > 0);
    return buildBatch({
      records: recordsOf(records, this.#clock.wallMs()),
      compression: this.#compression,
      producerId: transaction?.producerId ?? -1,
      producerEpoch: transaction?.producerEpoch ?? -1,
      transactional: transaction !== null,
    });
  }

  #remove(entry: GroupEntry): void {
    if (this.#groups.get(entry.groupId) === entry) this.#groups.delete(entry.groupId);
    this.#host.deadlineChanged(entry, Infinity);
  }

  #warnOf(error: ErrorCode, { groupId }: GroupEntry, what: string): void {
    if (error === ErrorCode.NONE) return;
    this.#logger.warn(what, { groupId, error: errorName(error) });
  }

  #now(): Now {
    return { monotonicMs: this.#clock.monotonicMs(), wallMs: this.#clock.wallMs() };
  }
}

/** The records that take away what the log says of a group but for its offsets. */
function tombstonesOf({ groupId, group }: GroupEntry): KeyValue[] {
  if (group.type === "classic") return [encodeGroupMetadata(groupId, null)];
  return group.tombstones().map((change) => encodeConsumerGroupChange(groupId, change));
}

function offsetRecords({ groupId }: GroupEntry, changes: readonly OffsetChange[]): KeyValue[] {
  return changes.map(({ topic, partition, value }) => (
    encodeOffsetCommit(groupId, topic, partition, value)
  ));
}

/** The end of the next records that go into one batch. */
function endOfPart(records: readonly KeyValue[], start: number): number {
  let bytes = 0;
  let end = start;
  do {
    const { key, value } = records[end]!;
    bytes += key.length + (value?.length ?? 0);
    end += 1;
  } while (end < records.length && bytes < PART_BYTES);
  return end;
}

/** The offsets of a group whose retention is over, except those of topics that are being read. */
function expiredOffsets(
  { group, offsets }: GroupEntry,
  nowMs: number,
  retentionMs: number,
): { readonly topic: string; readonly partition: number }[] {
  const expired: { topic: string; partition: number }[] = [];
  const isEmpty = group.state === "Empty";
  for (const [topic, partition, value] of offsets.committed()) {
    if (!isEmpty && group.isSubscribedToTopic(topic)) continue;
    const startMs = group.retentionStartMs(value.commitTimestampMs);
    if (startMs === null || offsets.isUnstable(topic, partition)) continue;
    // A fresh commit that is on its way must not fall to a tombstone meant for the old one.
    if (offsets.isInFlight(topic, partition)) continue;
    const isOver = value.expireTimestampMs >= 0
      ? nowMs >= value.expireTimestampMs
      : nowMs - startMs >= retentionMs;
    if (isOver) expired.push({ topic, partition });
  }
  return expired;
}
