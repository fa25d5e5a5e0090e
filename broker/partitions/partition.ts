/**
 * One partition as this node sees it: its log, who leads it, and how far it is committed.
 *
 *     logStartOffset ── readable by consumers ── highWatermark ── written, waits ── endOffset
 *
 * The high watermark is the offset before which everything is on the stable storage of every in-sync
 * replica; with this node as the only replica, that is the log's synced offset. So nothing that a consumer
 * has seen is ever taken back by a crash. On a topic with `flush.messages` above 1 or `flush.ms` the operator
 * asked for Kafka's looser rule: there it is the end offset. Why: docs/decisions/0002.
 *
 * Syncs are driven by demand: by appends that wait for all replicas, and by readers that wait at the high
 * watermark while written records lie beyond it. Load that nobody reads is synced when the flusher wants.
 *
 * While the partition moves to another log directory its copy catches up beside it. At last each append goes
 * to both logs, and is committed when it is stable in both: then either of them may be the one that a crash
 * leaves. `replica_move.ts` says in which order.
 *
 * Invariants: logStartOffset ≤ highWatermark ≤ endOffset; the high watermark never goes back; waits of
 * appends are answered in the order of their offsets.
 */

import assert from "node:assert/strict";
import { ErrorCode } from "../../protocol/errors.ts";
import { type LeaderEpoch, type Offset, offset, type Uuid } from "../../protocol/types.ts";
import type { AppendRefusal } from "../../storage/append_check.ts";
import type { BatchPreparer } from "../../storage/batch_preparer.ts";
import type { AppendResult, Log } from "../../storage/log.ts";
import type { Clock, Timer } from "../../storage/platform.ts";
import type { PreparedBatch } from "../../storage/prepare_batch.ts";
import type { AppendOrigin } from "../../storage/producer_state.ts";
import type { TopicConfig } from "../config/topic_config.ts";
import type { PartitionImage } from "../controller/metadata_image.ts";
import { AppendQueue, type ClientBatch } from "./append_queue.ts";

/** What a partition is made of. */
export interface PartitionOptions {
  readonly topic: string;
  readonly topicId: Uuid;
  readonly partition: number;
  readonly nodeId: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly preparer: BatchPreparer;
  readonly config: TopicConfig;
  readonly image: PartitionImage;
}

/** How an append is to be done. */
export interface PartitionAppendOptions {
  readonly origin: AppendOrigin;
  /** −1: the answer waits until the records are committed. */
  readonly requiredAcks: number;
  readonly requestVersion?: number;
}

/** A reader that waits for the high watermark to move. Its methods must not throw. */
export interface FetchWaiter {
  /** The high watermark moved. */
  partitionMoved(): void;
  /** The log went offline, or is not led here any more. */
  partitionLost(): void;
}

interface CommitWait {
  readonly endOffset: number;
  readonly settled: (error: ErrorCode) => void;
}

/** The log that takes the place of a partition's log. */
interface Mirror {
  readonly log: Log;
  /** Told once when the copy fails; it takes no more appends then. */
  readonly onBroken: (found: string) => void;
  isBroken: boolean;
  readonly stopListening: () => void;
}

/** Bytes that are copied at once from a log to its mirror. */
const MIRROR_PIECE_BYTES = 1024 * 1024;

/** Ends of appends that are remembered until they are committed; past this many they are merged. */
const MAX_MARKS = 64;

/** The first element of the array is the next to be taken; the array is compacted past this many. */
const COMPACT_AT = 256;

/** A partition. */
export class Partition {
  readonly topic: string;
  readonly topicId: Uuid;
  readonly partition: number;
  #log: Log;
  #mirror: Mirror | null = null;
  readonly #nodeId: number;
  readonly #clock: Clock;
  readonly #preparer: BatchPreparer;
  readonly #queue: AppendQueue;
  #config: TopicConfig;
  #image: PartitionImage;
  #highWatermark: number;
  #appendedBytes = 0;
  #committedBytes = 0;
  /** Ends of appends beyond the high watermark, and `#appendedBytes` there. */
  #markOffsets: number[] = [];
  #markBytes: number[] = [];
  #commitWaits: CommitWait[] = [];
  #firstCommitWait = 0;
  readonly #fetchWaiters = new Set<FetchWaiter>();
  #flushTimer: Timer | null = null;
  #stopListening: readonly (() => void)[];

  constructor(options: PartitionOptions) {
    this.topic = options.topic;
    this.topicId = options.topicId;
    this.partition = options.partition;
    this.#log = options.log;
    this.#nodeId = options.nodeId;
    this.#clock = options.clock;
    this.#preparer = options.preparer;
    this.#queue = new AppendQueue({
      log: () => this.#log,
      preparer: options.preparer,
      clock: options.clock,
      append: (prepared, batch) => this.#appendPrepared(prepared, batch),
    });
    this.#config = options.config;
    this.#image = options.image;
    this.#highWatermark = isRelaxed(options.config) ? this.log.endOffset : this.log.syncedOffset;
    this.log.updateHighWatermark(offset(this.#highWatermark));
    this.#stopListening = this.#listenTo(this.#log);
    if (this.isLeader) this.#beginEpoch();
  }

  #listenTo(log: Log): (() => void)[] {
    return [
      log.onSynced(() => this.#advance()),
      log.onOffline(() => this.#failed(ErrorCode.KAFKA_STORAGE_ERROR)),
    ];
  }

  /** The log of the moment: another one once the partition has moved to another directory. */
  get log(): Log {
    return this.#log;
  }

  get image(): PartitionImage {
    return this.#image;
  }
  get config(): TopicConfig {
    return this.#config;
  }
  get leaderEpoch(): LeaderEpoch {
    return this.#image.leaderEpoch;
  }
  get isLeader(): boolean {
    return this.#image.leader === this.#nodeId;
  }
  /** Records before it are committed: consumers may read them. */
  get highWatermark(): Offset {
    return offset(this.#highWatermark);
  }
  /** Consumers of committed transactions may read up to here. */
  get lastStableOffset(): Offset {
    return this.log.lastStableOffset(offset(this.#highWatermark));
  }
  /**
   * Bytes that came below the high watermark since the partition was opened, for readers that wait for a
   * number of bytes. May lag behind while appends are in flight, never when all is committed.
   */
  get committedBytes(): number {
    return this.#committedBytes;
  }
  /** True when the operator asked for a sync of every append, whatever `acks` says. */
  get isSyncedByAppend(): boolean {
    return this.#config.flushMessages === 1;
  }

  /** Takes what the metadata says of the partition now. */
  updateImage(image: PartitionImage): void {
    const before = this.#image;
    this.#image = image;
    if (this.isLeader && before.leaderEpoch !== image.leaderEpoch) this.#beginEpoch();
    if (!this.isLeader) this.#failed(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  }

  /** Takes new settings of the topic. */
  updateConfig(config: TopicConfig): void {
    this.#config = config;
    this.log.updateConfig(config);
    this.#mirror?.log.updateConfig(config);
    this.#flushTimer?.cancel();
    this.#flushTimer = null;
    if (isRelaxed(config) && this.log.syncedOffset < this.log.endOffset) this.#armFlush();
    this.#advance();
  }

  /**
   * Appends a client's batch as the leader, behind all that came before it; `records` belongs to the log from
   * now on. What takes long is prepared elsewhere: the answer is a promise then, which never rejects.
   *
   * Returns and errors as `append`; those too with which the partition is closed or lost meanwhile.
   */
  appendFromClient(batch: ClientBatch): AppendResult | Promise<AppendResult> {
    if (!this.#queue.isEmpty) return this.#queue.add(batch);
    const refusal = this.#refusalBelowMinIsr(batch.requiredAcks);
    if (refusal !== null) return refusal;
    const { records, requestVersion } = batch;
    const prepared = this.#preparer.prepareNow(records, this.log.rules, requestVersion);
    if (prepared === null) return this.#queue.add(batch);
    return "bytes" in prepared ? this.#appendPrepared(prepared, batch) : prepared;
  }

  #appendPrepared(prepared: PreparedBatch, { requiredAcks }: ClientBatch): AppendResult {
    // The in-sync replicas may have changed while it waited.
    const refusal = this.#refusalBelowMinIsr(requiredAcks);
    if (refusal !== null) return refusal;
    const { leaderEpoch } = this.#image;
    const result = this.log.appendPrepared(prepared, { leaderEpoch, origin: "client" });
    return this.#appended(result, prepared.bytes.length, requiredAcks);
  }

  /**
   * Appends batches as the leader; `records` belongs to the log from now on.
   *
   * Returns: the offsets. Written when it returns; committed when `onCommitted` of the end offset says so.
   * Errors: NOT_ENOUGH_REPLICAS, and those of `Log.appendAsLeader`.
   */
  append(records: Uint8Array, options: PartitionAppendOptions): AppendResult {
    const refusal = this.#refusalBelowMinIsr(options.requiredAcks);
    if (refusal !== null) return refusal;
    const { origin, requestVersion } = options;
    const result = this.log.appendAsLeader(records, {
      leaderEpoch: this.#image.leaderEpoch,
      origin,
      ...(requestVersion !== undefined && { requestVersion }),
    });
    return this.#appended(result, records.length, options.requiredAcks);
  }

  #appended(result: AppendResult, byteCount: number, requiredAcks: number): AppendResult {
    if (!("duplicate" in result)) return result;
    if (!result.duplicate) {
      this.#mark(byteCount);
      if (this.#mirror !== null) this.#copyTo(this.#mirror);
    }
    if (isRelaxed(this.#config)) {
      this.#advance();
      this.#armFlush();
    } else if (requiredAcks === -1 || this.#isAwaited) {
      this.#sync();
    }
    return result;
  }

  #sync(): void {
    this.log.sync();
    this.#mirror?.log.sync();
  }

  /**
   * From now on every append goes to `copy` as well and is committed once it is stable in both. Shape: `copy`
   * holds what the log holds, up to the same end offset.
   */
  beginMirror(copy: Log, onBroken: (found: string) => void): void {
    assert(this.#mirror === null && copy.endOffset === this.log.endOffset);
    copy.updateConfig(this.#config);
    copy.leaderEpochs.replaceBy(this.log.leaderEpochs);
    const mirror: Mirror = {
      log: copy,
      onBroken,
      isBroken: false,
      stopListening: copy.onSynced(() => this.#advance()),
    };
    this.#mirror = mirror;
  }

  get isMirrored(): boolean {
    return this.#mirror !== null;
  }

  /** Goes on without the copy: what is stable in the log is committed again. */
  endMirror(): void {
    this.#mirror?.stopListening();
    this.#mirror = null;
    if (this.log.offlineReason === null) this.#advance();
  }

  /** The copy takes the log's place, at once. Returns: the log that was. */
  switchToMirror(): Log {
    const before = this.#log;
    const mirror = this.#mirror;
    assert(mirror !== null && !mirror.isBroken);
    mirror.stopListening();
    for (const stop of this.#stopListening) stop();
    this.#mirror = null;
    this.#log = mirror.log;
    this.#stopListening = this.#listenTo(this.#log);
    assert(this.#log.endOffset >= this.#highWatermark);
    this.#log.updateHighWatermark(this.highWatermark);
    if (this.isLeader) this.#beginEpoch();
    this.#advance();
    return before;
  }

  /** Deletes the records before `upTo`, from a copy that is under way as well. */
  deleteRecordsBefore(upTo: Offset): { readonly error: ErrorCode } {
    const deleted = this.log.deleteRecordsBefore(upTo);
    if (deleted.error === ErrorCode.NONE) this.#mirror?.log.deleteRecordsBefore(upTo);
    return deleted;
  }

  #copyTo(mirror: Mirror): void {
    const copy = mirror.log;
    while (!mirror.isBroken && copy.endOffset < this.log.endOffset) {
      const read = this.log.read(copy.endOffset, {
        maxBytes: MIRROR_PIECE_BYTES,
        minOneMessage: true,
      });
      const written = read.error === ErrorCode.NONE && "records" in read
        ? copy.appendAsFollower(read.records)
        : read;
      if ("release" in read) read.release();
      if (written.error === ErrorCode.NONE) continue;
      mirror.isBroken = true;
      mirror.onBroken("message" in written ? written.message : "");
    }
  }

  /** As in Kafka, a topic with fewer replicas than the minimum asks for all that it has. */
  #refusalBelowMinIsr(requiredAcks: number): AppendRefusal | null {
    if (requiredAcks !== -1) return null;
    const { isr, replicas } = this.#image;
    const minInsyncReplicas = Math.min(this.#config.minInsyncReplicas, replicas.length);
    if (isr.length >= minInsyncReplicas) return null;
    return {
      error: ErrorCode.NOT_ENOUGH_REPLICAS,
      message: `The size of the current ISR ${isr.length} is insufficient to satisfy ` +
        `the min.isr requirement of ${minInsyncReplicas} for partition ${this.log.name}`,
    };
  }

  /** Calls `settled` once records before `endOffset` are committed (NONE), or will not be. May call at once. */
  onCommitted(endOffset: number, settled: (error: ErrorCode) => void): void {
    if (this.log.offlineReason !== null) return settled(ErrorCode.KAFKA_STORAGE_ERROR);
    if (endOffset <= this.#highWatermark) return settled(ErrorCode.NONE);
    const last = this.#commitWaits.at(-1);
    if (last === undefined || last.endOffset <= endOffset) {
      this.#commitWaits.push({ endOffset, settled });
    } else {
      // A duplicate of an earlier batch waits for less than those that came between.
      const at = this.#commitWaits.findIndex((wait, index) =>
        index >= this.#firstCommitWait && wait.endOffset > endOffset
      );
      this.#commitWaits.splice(at, 0, { endOffset, settled });
    }
    this.#sync();
  }

  /** Asks for the commit of what is written: a reader waits for it, or will soon. */
  requestCommit(): void {
    if (this.log.endOffset > this.#highWatermark) this.#sync();
  }

  /** Wakes `waiter` when the high watermark moves, until `removeFetchWaiter`. */
  addFetchWaiter(waiter: FetchWaiter): void {
    this.#fetchWaiters.add(waiter);
    this.requestCommit();
  }

  removeFetchWaiter(waiter: FetchWaiter): void {
    this.#fetchWaiters.delete(waiter);
  }

  /** Ends all waits with `error` and lets go of the log, which stays open. */
  close(error: ErrorCode): void {
    for (const stop of this.#stopListening) stop();
    this.#mirror?.stopListening();
    this.#mirror = null;
    this.#flushTimer?.cancel();
    this.#flushTimer = null;
    this.#failed(error);
  }

  /** Kafka notes the epoch when it begins, not with its first record: consumers ask where it ends. */
  #beginEpoch(): void {
    if (this.log.offlineReason !== null) return;
    this.log.leaderEpochs.assign(this.#image.leaderEpoch, this.log.endOffset);
  }

  get #isAwaited(): boolean {
    return this.#firstCommitWait < this.#commitWaits.length || this.#fetchWaiters.size > 0;
  }

  #mark(byteCount: number): void {
    this.#appendedBytes += byteCount;
    const { endOffset } = this.log;
    if (this.#markOffsets.length < MAX_MARKS) {
      this.#markOffsets.push(endOffset);
      this.#markBytes.push(this.#appendedBytes);
      return;
    }
    this.#markOffsets[MAX_MARKS - 1] = endOffset;
    this.#markBytes[MAX_MARKS - 1] = this.#appendedBytes;
  }

  #countCommitted(reached: number): void {
    let count = 0;
    while (count < this.#markOffsets.length && this.#markOffsets[count]! <= reached) count++;
    if (count === 0) return;
    this.#committedBytes = this.#markBytes[count - 1]!;
    this.#markOffsets.splice(0, count);
    this.#markBytes.splice(0, count);
  }

  /** How far the records are where they have to be. */
  #reached(log: Log): Offset {
    return isRelaxed(this.#config) ? log.endOffset : log.syncedOffset;
  }

  #advance(): void {
    const here = this.#reached(this.log);
    const reached = this.#mirror === null ? here : Math.min(here, this.#reached(this.#mirror.log));
    if (reached > this.#highWatermark) {
      this.#highWatermark = reached;
      this.log.updateHighWatermark(offset(reached));
      // A copy is known to be the same only up to what no crash takes from the log.
      this.#mirror?.log.updateHighWatermark(offset(Math.min(reached, this.log.syncedOffset)));
      this.#countCommitted(reached);
      this.#settleCommits();
      for (const waiter of this.#fetchWaiters) waiter.partitionMoved();
    }
    assert(this.#highWatermark <= this.log.endOffset);
    if (this.#isAwaited) this.requestCommit();
  }

  /** A callback may append and come back here: state is read anew after each. */
  #settleCommits(): void {
    for (;;) {
      const next = this.#commitWaits[this.#firstCommitWait];
      if (next === undefined || next.endOffset > this.#highWatermark) break;
      this.#firstCommitWait++;
      next.settled(ErrorCode.NONE);
    }
    if (this.#firstCommitWait === this.#commitWaits.length) {
      if (this.#firstCommitWait === 0) return;
      this.#commitWaits = [];
      this.#firstCommitWait = 0;
    } else if (this.#firstCommitWait >= COMPACT_AT) {
      this.#commitWaits.splice(0, this.#firstCommitWait);
      this.#firstCommitWait = 0;
    }
  }

  #failed(error: ErrorCode): void {
    this.#queue.refuseAll({ error, message: `Cannot append to ${this.log.name}: it is gone` });
    const waits = this.#commitWaits.slice(this.#firstCommitWait);
    this.#commitWaits = [];
    this.#firstCommitWait = 0;
    for (const { settled } of waits) settled(error);
    for (const waiter of this.#fetchWaiters) waiter.partitionLost();
  }

  /** `flush.ms`: what was written is synced at the latest after it. */
  #armFlush(): void {
    const { flushMs } = this.#config;
    if (flushMs === Number.MAX_SAFE_INTEGER || this.#flushTimer !== null) return;
    this.#flushTimer = this.#clock.timer(flushMs, () => {
      this.#flushTimer = null;
      this.#sync();
    });
  }
}

/** `flush.messages=1` asks for more than the default, not for less. */
function isRelaxed(config: TopicConfig): boolean {
  return config.isFlushRelaxed && config.flushMessages > 1;
}
