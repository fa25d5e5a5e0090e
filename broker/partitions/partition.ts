/**
 * One partition as this node sees it: its log, who leads it, and how far it is committed.
 *
 *     logStartOffset ── readable by consumers ── highWatermark ── written, waits ── endOffset
 *
 * The high watermark is the offset before which everything is on the stable storage of every in-sync
 * replica; with this node as the only replica, that is the log's synced offset. So nothing that a consumer
 * has seen is ever taken back by a crash. On a topic with `flush.messages` or `flush.ms` the operator asked
 * for Kafka's looser rule: there it is the end offset.
 *
 * Syncs are driven by demand: by appends that wait for all replicas, and by readers that wait at the high
 * watermark while written records lie beyond it. Load that nobody reads is synced when the flusher wants.
 *
 * Invariants: logStartOffset ≤ highWatermark ≤ endOffset; the high watermark never goes back; waits of
 * appends are answered in the order of their offsets.
 */

import assert from "node:assert/strict";
import { ErrorCode } from "../../protocol/errors.ts";
import { type LeaderEpoch, type Offset, offset, type Uuid } from "../../protocol/types.ts";
import type { AppendResult, Log, ReadResult } from "../../storage/log.ts";
import type { Clock, Timer } from "../../storage/platform.ts";
import type { AppendOrigin } from "../../storage/producer_state.ts";
import type { TopicConfig } from "../config/topic_config.ts";
import type { PartitionImage } from "../controller/metadata_image.ts";

/** What a partition is made of. */
export interface PartitionOptions {
  readonly topic: string;
  readonly topicId: Uuid;
  readonly partition: number;
  readonly nodeId: number;
  readonly clock: Clock;
  readonly log: Log;
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

/** A reader that waits for the high watermark to move. */
export interface FetchWaiter {
  /** Called after the high watermark moved, or the log went offline. Must not throw. */
  partitionMoved(): void;
}

interface CommitWait {
  readonly endOffset: number;
  readonly settled: (error: ErrorCode) => void;
}

/** The first element of the array is the next to be taken; the array is compacted past this many. */
const COMPACT_AT = 256;

/** A partition. */
export class Partition {
  readonly topic: string;
  readonly topicId: Uuid;
  readonly partition: number;
  readonly log: Log;
  readonly #nodeId: number;
  readonly #clock: Clock;
  #config: TopicConfig;
  #image: PartitionImage;
  #highWatermark: number;
  #appendedBytes = 0;
  #commitWaits: CommitWait[] = [];
  #firstCommitWait = 0;
  readonly #fetchWaiters = new Set<FetchWaiter>();
  #listeners: readonly ((highWatermark: Offset) => void)[] = [];
  #flushTimer: Timer | null = null;
  readonly #stopListening: readonly (() => void)[];

  constructor(options: PartitionOptions) {
    this.topic = options.topic;
    this.topicId = options.topicId;
    this.partition = options.partition;
    this.log = options.log;
    this.#nodeId = options.nodeId;
    this.#clock = options.clock;
    this.#config = options.config;
    this.#image = options.image;
    this.#highWatermark = this.log.syncedOffset;
    this.log.updateHighWatermark(offset(this.#highWatermark));
    this.#stopListening = [
      this.log.onSynced(() => this.#advance()),
      this.log.onOffline(() => this.#failed(ErrorCode.KAFKA_STORAGE_ERROR)),
    ];
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
  /** Bytes appended since the partition was opened; for readers that wait for a number of bytes. */
  get appendedBytes(): number {
    return this.#appendedBytes;
  }

  /** Takes what the metadata says of the partition now. */
  updateImage(image: PartitionImage): void {
    this.#image = image;
    if (!this.isLeader) this.#failed(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  }

  /** Takes new settings of the topic. */
  updateConfig(config: TopicConfig): void {
    this.#config = config;
    this.log.updateConfig(config);
    this.#advance();
  }

  /**
   * Appends batches as the leader; `records` belongs to the log from now on.
   *
   * Returns: the offsets. Written when it returns; committed when `onCommitted` of the end offset says so.
   * Errors: NOT_ENOUGH_REPLICAS, and those of `Log.appendAsLeader`.
   */
  append(records: Uint8Array, options: PartitionAppendOptions): AppendResult {
    const { minInsyncReplicas } = this.#config;
    if (options.requiredAcks === -1 && this.#image.isr.length < minInsyncReplicas) {
      return {
        error: ErrorCode.NOT_ENOUGH_REPLICAS,
        message:
          `The size of the current ISR ${this.#image.isr.length} is insufficient to satisfy ` +
          `the min.isr requirement of ${minInsyncReplicas} for partition ${this.log.name}`,
      };
    }
    const { origin, requestVersion } = options;
    const result = this.log.appendAsLeader(records, {
      leaderEpoch: this.#image.leaderEpoch,
      origin,
      ...(requestVersion !== undefined && { requestVersion }),
    });
    if (result.error !== ErrorCode.NONE) return result;
    this.#appendedBytes += records.length;
    if (this.#config.isFlushRelaxed) {
      this.#advance();
      this.#armFlush();
    } else if (options.requiredAcks === -1 || this.#fetchWaiters.size > 0) {
      this.log.sync();
    }
    return result;
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
    this.log.sync();
  }

  /**
   * Whole batches up to the high watermark, or up to the last stable offset.
   * Errors: those of `Log.read`, and OFFSET_OUT_OF_RANGE past the high watermark's log end.
   */
  read(
    startOffset: Offset,
    { maxBytes, minOneMessage, upToOffset }: {
      readonly maxBytes: number;
      readonly minOneMessage: boolean;
      readonly upToOffset: Offset;
    },
  ): ReadResult {
    return this.log.read(startOffset, { maxBytes, minOneMessage, upToOffset });
  }

  /** Wakes `waiter` when the high watermark moves, until `removeFetchWaiter`. */
  addFetchWaiter(waiter: FetchWaiter): void {
    this.#fetchWaiters.add(waiter);
    if (this.log.endOffset > this.#highWatermark) this.log.sync();
  }

  removeFetchWaiter(waiter: FetchWaiter): void {
    this.#fetchWaiters.delete(waiter);
  }

  /** Calls the listener after each move of the high watermark. Returns: a function that stops it. */
  onHighWatermark(listener: (highWatermark: Offset) => void): () => void {
    this.#listeners = [...this.#listeners, listener];
    return () => {
      this.#listeners = this.#listeners.filter((known) => known !== listener);
    };
  }

  /** Ends all waits with `error` and lets go of the log, which stays open. */
  close(error: ErrorCode): void {
    for (const stop of this.#stopListening) stop();
    this.#flushTimer?.cancel();
    this.#flushTimer = null;
    this.#failed(error);
    this.#listeners = [];
  }

  #advance(): void {
    const reached = this.#config.isFlushRelaxed ? this.log.endOffset : this.log.syncedOffset;
    if (reached > this.#highWatermark) {
      this.#highWatermark = reached;
      this.log.updateHighWatermark(offset(reached));
      this.#settleCommits(reached);
      for (const listener of this.#listeners) listener(offset(reached));
      this.#wakeFetches();
    }
    assert(this.#highWatermark <= this.log.endOffset);
    const isAwaited = this.#firstCommitWait < this.#commitWaits.length ||
      this.#fetchWaiters.size > 0;
    if (isAwaited && this.log.endOffset > this.#highWatermark) this.log.sync();
  }

  #settleCommits(reached: number): void {
    const waits = this.#commitWaits;
    let first = this.#firstCommitWait;
    while (first < waits.length && waits[first]!.endOffset <= reached) {
      const { settled } = waits[first]!;
      this.#firstCommitWait = ++first;
      settled(ErrorCode.NONE);
    }
    if (first === waits.length) {
      this.#commitWaits = [];
      this.#firstCommitWait = 0;
    } else if (first >= COMPACT_AT) {
      waits.splice(0, first);
      this.#firstCommitWait = 0;
    }
  }

  #wakeFetches(): void {
    for (const waiter of [...this.#fetchWaiters]) waiter.partitionMoved();
  }

  #failed(error: ErrorCode): void {
    const waits = this.#commitWaits.slice(this.#firstCommitWait);
    this.#commitWaits = [];
    this.#firstCommitWait = 0;
    for (const { settled } of waits) settled(error);
    this.#wakeFetches();
  }

  /** `flush.ms`: what was written is synced at the latest after it. */
  #armFlush(): void {
    const { flushMs } = this.#config;
    if (flushMs === Number.MAX_SAFE_INTEGER || this.#flushTimer !== null) return;
    this.#flushTimer = this.#clock.timer(flushMs, () => {
      this.#flushTimer = null;
      this.log.sync();
    });
  }
}
