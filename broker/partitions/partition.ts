/**
 * One partition as this node sees it: its log, who leads it, and how far it is committed.
 *
 *     logStartOffset ── readable by consumers ── highWatermark ── written, waits ── endOffset
 *
 * The high watermark is the offset before which everything is on the stable storage of every in-sync
 * replica; with this node as the only replica, that is the log's synced offset. So nothing that a consumer
 * has seen is ever taken back by a crash. A leader finds it from what its followers ask for (`replica_set.ts`);
 * a follower hears it from its leader, and goes with it as far as it has synced itself. On a topic with `flush.messages` above 1 or `flush.ms` the operator
 * asked for Kafka's looser rule: there it is the end offset. Why: docs/decisions/0002.
 *
 * Syncs are driven by demand: by appends that wait for all replicas, and by readers that wait at the high
 * watermark while written records lie beyond it. Load that nobody reads is synced when the flusher wants.
 *
 * While the partition moves to another log directory its copy catches up beside it. At last each append goes
 * to both logs, and is committed when it is stable in both: then either of them may be the one that a crash
 * leaves. `replica_move.ts` says in which order.
 *
 *     follower ──metadata: leader, epoch n──→ leader ──metadata: epoch n + 1──→ follower
 *        └── appends what the leader of its epoch sent, truncates      └── or somebody knows of epoch n + 1: serves
 *            where the leader's log parts from its own                     nobody until the metadata says more
 *
 * Invariants: logStartOffset ≤ highWatermark ≤ endOffset; the high watermark never goes back but where a
 * follower is truncated below it, which an unclean election alone can ask for; waits of appends are answered
 * in the order of their offsets.
 */

import assert from "node:assert/strict";
import { ErrorCode } from "../../protocol/errors.ts";
import { readProducerId } from "../../protocol/record_batch.ts";
import {
  DirectoryId,
  type LeaderEpoch,
  type Offset,
  offset,
  type Uuid,
} from "../../protocol/types.ts";
import type { AppendRefusal } from "../../storage/append_check.ts";
import type { BatchPreparer } from "../../storage/batch_preparer.ts";
import type { AppendResult, Log } from "../../storage/log.ts";
import type { Clock, Timer } from "../../storage/platform.ts";
import type { PreparedBatch } from "../../storage/prepare_batch.ts";
import type { AppendOrigin, Verification } from "../../storage/producer_state.ts";
import type { TopicConfig } from "../config/topic_config.ts";
import type { PartitionImage } from "../controller/metadata_image.ts";
import { AppendQueue, type ClientBatch } from "./append_queue.ts";
import { isThrottledReplica, type ReplicationThrottle } from "./replication_throttle.ts";
import { type BrokerStates, type IsrProposal, type LagLimits, ReplicaSet } from "./replica_set.ts";
import { TopicTraffic } from "./topic_traffic.ts";
import {
  type FirstBatch,
  type TransactionGuard,
  TransactionGuards,
  UNVERIFIED,
} from "./transaction_guards.ts";

/** What the partitions of a node know of the cluster around them. */
export interface ReplicationContext {
  /** The registered brokers. */
  brokers(): BrokerStates;
  lagLimits(): LagLimits;
  /** Of what this node serves to followers that are not in sync, and of what it fetches as one. */
  readonly throttles: {
    readonly leader: ReplicationThrottle;
    readonly follower: ReplicationThrottle;
  };
  /** Counted up with all that is replicated. */
  readonly bytes: ReplicationBytes;
  /** Asks the controller for another ISR; `Partition.isrAnswered` hears what became of it. */
  proposeIsr(partition: Partition, proposal: IsrProposal): void;
  /** Damage was found in its log. */
  noteDamaged(partition: Partition): void;
}

/** Bytes of records that went between this node and others to be replicated, since the process began. */
export interface ReplicationBytes {
  /** Given to followers. */
  sent: number;
  /** Fetched from leaders. */
  received: number;
}

/** A follower's fetch of a partition. */
export interface ReplicaFetch {
  readonly replicaId: number;
  /** −1 where the request does not say. */
  readonly brokerEpoch: number;
  readonly fetchOffset: number;
  readonly logStartOffset: number;
}

/** What the leader tells a follower of itself. */
export interface LeaderState {
  readonly leaderEpoch: number;
  readonly highWatermark: number;
  readonly logStartOffset: number;
}

/** What became of a proposal; "unknown" until the metadata says more. */
export type IsrOutcome =
  | { readonly kind: "written"; readonly state: WrittenIsr }
  | { readonly kind: "refused" | "unknown" }
  /** Somebody else leads, or this node under another epoch. */
  | { readonly kind: "fenced" };

/** The partition as the controller has written it for a leader. */
export type WrittenIsr = Pick<
  PartitionImage,
  "leader" | "leaderEpoch" | "isr" | "leaderRecoveryState" | "partitionEpoch"
>;

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
  readonly replication: ReplicationContext;
  /** Counted up with what clients write and read; its own when left out. */
  readonly traffic?: TopicTraffic;
  /** The leader epoch in which its log was begun in the place of a damaged one; left out for any other. */
  readonly begunInEpoch?: number;
}

/** How an append is to be done. */
export interface PartitionAppendOptions {
  readonly origin: AppendOrigin;
  /** −1: the answer waits until the records are committed. */
  readonly requiredAcks: number;
  readonly requestVersion?: number;
  /** Of a marker: the version of the transaction protocol that it ends a transaction of. */
  readonly transactionVersion?: number | undefined;
  /** As that of a `ClientBatch`. */
  readonly guard?: TransactionGuard | null | undefined;
}

/** Who reads a partition and waits for more, or a session that does so for it. Its methods must not throw. */
export interface PartitionWatch {
  /** Records were appended, or the first of them deleted. Told to followers alone: nobody else may read them yet. */
  appended(): void;
  /** The high watermark moved. */
  committed(): void;
  /** The log went offline, or is not led here any more. */
  lost(): void;
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
  /** What clients write to its topic here, and read from it. */
  readonly traffic: TopicTraffic;
  /** Damaged, and about to be given up: what cannot be read here will be read elsewhere. Set by `ReplicaRepairs`. */
  isUnderRepair = false;
  #log: Log;
  #mirror: Mirror | null = null;
  readonly #nodeId: number;
  readonly #clock: Clock;
  readonly #preparer: BatchPreparer;
  readonly #queue: AppendQueue;
  #config: TopicConfig;
  #image: PartitionImage;
  #highWatermark: number;
  readonly #replication: ReplicationContext;
  readonly #begunInEpoch: number;
  /** Null unless this node leads, and others follow. */
  #replicas: ReplicaSet | null = null;
  /** What the leader of this epoch has told a follower; −1 before it has. */
  #leaderHighWatermark = -1;
  /** An epoch that somebody knows of before the metadata here does. */
  #newestKnownEpoch = -1;
  /** What the metadata says meanwhile; undefined unless the log is being truncated. */
  #imageMeanwhile: PartitionImage | null | undefined;
  #appendedBytes = 0;
  #committedBytes = 0;
  /** Ends of appends beyond the high watermark, and `#appendedBytes` there. */
  #markOffsets: number[] = [];
  #markBytes: number[] = [];
  #commitWaits: CommitWait[] = [];
  #firstCommitWait = 0;
  #deletionWaits: CommitWait[] = [];
  readonly #fetchWaiters = new Set<PartitionWatch>();
  /** Of followers, which read what is not committed. */
  readonly #followerWatches = new Set<PartitionWatch>();
  #flushTimer: Timer | null = null;
  /** Null while no transaction is about to begin here. */
  #guards: TransactionGuards | null = null;
  #stopListening: readonly (() => void)[];

  constructor(options: PartitionOptions) {
    this.topic = options.topic;
    this.topicId = options.topicId;
    this.partition = options.partition;
    this.traffic = options.traffic ?? new TopicTraffic();
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
    this.#replication = options.replication;
    this.#begunInEpoch = options.begunInEpoch ?? -1;
    const { highWatermark, logStartOffset } = this.#log;
    this.#highWatermark = Math.max(highWatermark, logStartOffset);
    this.#log.updateHighWatermark(this.highWatermark);
    this.#stopListening = this.#listenTo(this.#log);
    this.#takeRole();
    if (this.log.offlineReason === null) this.#advance();
  }

  #listenTo(log: Log): (() => void)[] {
    return [
      log.onSynced(() => this.#advance()),
      log.onOffline(() => this.#failed(ErrorCode.KAFKA_STORAGE_ERROR)),
      log.onDamaged(() => this.#replication.noteDamaged(this)),
    ];
  }

  /** The log of the moment: another one once the partition has moved to another directory. */
  get log(): Log {
    return this.#log;
  }

  get image(): PartitionImage {
    return this.#image;
  }
  /** Committed records that this replica lacks, as far as its leader has told it; 0 on a leader. */
  get followerLag(): number {
    if (!this.isFollower || this.#leaderHighWatermark < 0) return 0;
    return Math.max(0, this.#leaderHighWatermark - this.#log.endOffset);
  }
  get config(): TopicConfig {
    return this.#config;
  }
  get leaderEpoch(): LeaderEpoch {
    return this.#image.leaderEpoch;
  }
  get isLeader(): boolean {
    const { leader, leaderEpoch } = this.#image;
    return leader === this.#nodeId && leaderEpoch >= this.#newestKnownEpoch;
  }
  /** True when there is a leader elsewhere, which this replica follows. */
  get isFollower(): boolean {
    return this.#isLedElsewhere && !this.isGivenUp;
  }
  get #isLedElsewhere(): boolean {
    const { leader, replicas } = this.#image;
    return leader >= 0 && leader !== this.#nodeId && replicas.includes(this.#nodeId);
  }
  /**
   * True when the metadata says that what lies here is nobody's any more: it was damaged, and another node leads
   * without it. It must not say how far it is, in this epoch or a later one: it is made anew (decision 0041).
   */
  get isGivenUp(): boolean {
    const { directories, replicas, leaderEpoch } = this.#image;
    return directories[replicas.indexOf(this.#nodeId)] === DirectoryId.LOST &&
      this.#isLedElsewhere && leaderEpoch > this.#begunInEpoch;
  }
  /** What is known of the followers; null unless this node leads, and others follow. */
  get replicas(): ReplicaSet | null {
    return this.#replicas;
  }
  /**
   * True while the high watermark may be below what the leader before had told: it is not to be named as the end
   * of the partition (KIP-207).
   */
  get isCatchingUpWithEpoch(): boolean {
    return this.#replicas !== null && this.#highWatermark < this.#replicas.epochStartOffset;
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

  /** Takes what the metadata says of the partition now; older words than known ones are ignored. */
  updateImage(image: PartitionImage): void {
    const before = this.#image;
    if (image.partitionEpoch < before.partitionEpoch) return;
    if (this.#imageMeanwhile !== undefined) {
      this.#imageMeanwhile = image;
      return;
    }
    this.#image = image;
    const isOtherEpoch = before.leaderEpoch !== image.leaderEpoch || before.leader !== image.leader;
    const isFirstFollower = this.#replicas === null && image.replicas.length > 1;
    if (isOtherEpoch || (this.isLeader && isFirstFollower)) this.#takeRole();
    else this.#replicas?.update(image, this.#clock.monotonicMs());
    if (!this.isLeader) this.#failed(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    if (this.log.offlineReason === null) this.#advance();
  }

  /** Begins to lead, to follow, or neither, as the metadata says. */
  #takeRole(): void {
    const { replicas } = this.#image;
    this.#replicas = null;
    this.#leaderHighWatermark = -1;
    // Another leader may have written the marker meanwhile.
    this.#guards = null;
    if (!this.isLeader || this.log.offlineReason !== null) return;
    this.#beginEpoch();
    if (replicas.length === 1) return;
    this.#replicas = new ReplicaSet({
      nodeId: this.#nodeId,
      image: this.#image,
      epochStartOffset: this.log.endOffset,
      highWatermark: this.#highWatermark,
      nowMs: this.#clock.monotonicMs(),
    });
    // What it had as a follower counts once it is stable.
    this.#sync();
    this.#propose(this.#replicas.proposeRecovered(this.#replication.brokers()));
  }

  #propose(proposal: IsrProposal | null): void {
    if (proposal !== null) this.#replication.proposeIsr(this, proposal);
  }

  /** Somebody knows of a later epoch: this node leads no more, though its metadata does not say so yet. */
  noteEpoch(epoch: number): void {
    if (epoch <= Math.max(this.#newestKnownEpoch, this.#image.leaderEpoch)) return;
    this.#newestKnownEpoch = epoch;
    if (this.#image.leader !== this.#nodeId) return;
    this.#replicas = null;
    this.#failed(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  }

  // ── as leader of followers ──────────────────────────────────────────────────────────────────────

  /**
   * Notes how far a follower is that asks for what follows. Its log must be one with this one up to there.
   * Errors: NOT_LEADER_OR_FOLLOWER where it is no replica.
   */
  followerFetched(fetch: ReplicaFetch): ErrorCode {
    const replicas = this.#replicas;
    if (replicas === null) return ErrorCode.NOT_LEADER_OR_FOLLOWER;
    const leaderEndOffset = this.log.endOffset;
    const nowMs = this.#clock.monotonicMs();
    const error = replicas.noteFetch({ ...fetch, leaderEndOffset, nowMs });
    if (error !== ErrorCode.NONE) return error;
    this.#advance();
    this.#settleDeletions();
    if (this.#replicas === replicas && !replicas.isr.includes(fetch.replicaId)) {
      this.#propose(replicas.proposeExpansion(fetch.replicaId, this.#replication.brokers()));
    }
    return ErrorCode.NONE;
  }

  /** True while a follower that is not in sync has had its share. */
  isHeldBack(replicaId: number): boolean {
    if (this.#image.isr.includes(replicaId) || !this.#isThrottledAsLeader) return false;
    return this.#replication.throttles.leader.waitMs(this.#clock.monotonicMs()) > 0;
  }

  /** Counts what a follower was given. */
  noteServed(byteCount: number): void {
    this.#replication.bytes.sent += byteCount;
    if (!this.#isThrottledAsLeader) return;
    this.#replication.throttles.leader.note(byteCount, this.#clock.monotonicMs());
  }

  get #isThrottledAsLeader(): boolean {
    return isThrottledReplica(this.#config.leaderThrottledReplicas, this.partition, this.#nodeId);
  }

  /** Counts what it fetched. Returns: how long it is to wait now, out of sync. */
  noteFetched(byteCount: number): number {
    this.#replication.bytes.received += byteCount;
    const { followerThrottledReplicas } = this.#config;
    const isThrottled = isThrottledReplica(followerThrottledReplicas, this.partition, this.#nodeId);
    if (!isThrottled) return 0;
    const { follower } = this.#replication.throttles;
    const nowMs = this.#clock.monotonicMs();
    follower.note(byteCount, nowMs);
    return this.#image.isr.includes(this.#nodeId) ? 0 : follower.waitMs(nowMs);
  }

  /** Looks for followers that do not keep up. To be called now and then. */
  checkFollowers(limits: LagLimits): void {
    if (this.#replicas === null || this.log.offlineReason !== null) return;
    this.#propose(this.#replicas.proposeShrinking({
      endOffset: this.log.endOffset,
      brokers: this.#replication.brokers(),
      limits,
      nowMs: this.#clock.monotonicMs(),
    }));
    this.#advance();
    // One that held them up may be fenced by now.
    this.#settleDeletions();
  }

  /** Records before it are deleted on all replicas that are alive; −1 while that is not known. */
  get lowWatermark(): number {
    const { logStartOffset } = this.log;
    if (this.#replicas === null) return logStartOffset;
    return this.#replicas.lowWatermark(logStartOffset, this.#replication.brokers());
  }

  /** Calls `settled` once the records before `upTo` are deleted on all live replicas, or will not be. */
  onDeleted(upTo: number, settled: (error: ErrorCode) => void): void {
    this.#deletionWaits.push({ endOffset: upTo, settled });
    this.#settleDeletions();
  }

  #settleDeletions(): void {
    if (this.#deletionWaits.length === 0) return;
    const { lowWatermark } = this;
    const done = this.#deletionWaits.filter(({ endOffset }) => endOffset <= lowWatermark);
    this.#deletionWaits = this.#deletionWaits.filter((wait) => !done.includes(wait));
    for (const { settled } of done) settled(ErrorCode.NONE);
  }

  /** What is to be sent in the place of a proposal that was not sent yet. */
  widenProposal(proposal: IsrProposal): IsrProposal {
    return this.#replicas?.widen(proposal, this.#replication.brokers()) ?? proposal;
  }

  /** True when nothing is left for a follower to do but to stay as it is: it is in sync, or about to be. */
  hasJoined(replicaId: number): boolean {
    return this.#replicas?.isInMaximalIsr(replicaId) ?? false;
  }

  /** Hears what became of `proposal`. */
  isrAnswered(proposal: IsrProposal, outcome: IsrOutcome): void {
    if (this.#replicas === null || this.#replicas.proposal !== proposal) return;
    if (outcome.kind === "refused") this.#replicas.withdraw(proposal);
    else if (outcome.kind === "fenced") this.noteEpoch(proposal.leaderEpoch + 1);
    else if (outcome.kind === "written") {
      const { state } = outcome;
      if (state.leaderEpoch === this.#image.leaderEpoch) {
        this.updateImage({ ...this.#image, ...state });
      } else this.noteEpoch(state.leaderEpoch);
    }
  }

  /** Tells `watch` of what comes for followers, until `removeWatch`. */
  addFollowerWatch(watch: PartitionWatch): void {
    this.#followerWatches.add(watch);
  }

  // ── as follower ─────────────────────────────────────────────────────────────────────────────────

  /**
   * Appends what the leader of `leaderEpoch` has sent; a sync is asked for. Shape: `records` is written before it
   * returns. Errors: NOT_LEADER_OR_FOLLOWER under another epoch, and those of `Log.appendAsFollower`.
   */
  appendFromLeader(records: Uint8Array, leaderEpoch: number): AppendResult {
    if (!this.isFollowerIn(leaderEpoch)) {
      const message = `Cannot append to ${this.log.name}: epoch ${leaderEpoch} is over`;
      return { error: ErrorCode.NOT_LEADER_OR_FOLLOWER, message };
    }
    const before = this.log.endOffset;
    const result = this.log.appendAsFollower(records);
    if (result.error !== ErrorCode.NONE || this.log.endOffset === before) return result;
    this.#mark(records.length);
    if (this.#mirror !== null) this.#copyTo(this.#mirror);
    if (isRelaxed(this.#config)) this.#armFlush();
    else this.#sync();
    return result;
  }

  /** True when it follows under this epoch, and its log can be changed now. */
  isFollowerIn(leaderEpoch: number): boolean {
    return this.isFollower && this.#image.leaderEpoch === leaderEpoch &&
      this.#imageMeanwhile === undefined;
  }

  /** What a follower may ask for next: all before it is as stable as the topic wants it. */
  get replicatedOffset(): Offset {
    return this.#reached(this.log);
  }

  /** Takes what the leader tells with its records: what is committed, and what is deleted. */
  noteLeader({ leaderEpoch, highWatermark, logStartOffset }: LeaderState): void {
    if (!this.isFollowerIn(leaderEpoch) || this.log.offlineReason !== null) return;
    this.#leaderHighWatermark = highWatermark;
    this.#advance();
    const isNews = logStartOffset > this.log.logStartOffset;
    if (isNews && logStartOffset <= this.#highWatermark) {
      this.deleteRecordsBefore(offset(logStartOffset));
    }
  }

  /**
   * Drops what the leader of `leaderEpoch` does not have: what is at or past `target`, or everything to begin anew
   * there. Changes of the leadership wait meanwhile. Returns: when that is on stable storage. Errors: DiskError.
   */
  async truncate(
    leaderEpoch: number,
    target: Offset,
    { isFull }: { readonly isFull: boolean },
  ): Promise<void> {
    assert(this.isFollowerIn(leaderEpoch) && this.#mirror === null);
    this.#imageMeanwhile = null;
    try {
      if (isFull) await this.log.truncateFullyAndStartAt(target);
      else await this.log.truncateTo(target);
    } finally {
      this.#highWatermark = Math.min(this.#highWatermark, this.log.endOffset);
      this.#highWatermark = Math.max(this.#highWatermark, this.log.logStartOffset);
      this.#markOffsets = [];
      this.#markBytes = [];
      this.#committedBytes = this.#appendedBytes;
      const image = this.#imageMeanwhile;
      this.#imageMeanwhile = undefined;
      if (image !== null) this.updateImage(image);
    }
  }

  // ── settings and appends ────────────────────────────────────────────────────────────────────────

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
    const refusal = this.#refusal(batch.requiredAcks);
    if (refusal !== null) return refusal;
    const { records, requestVersion } = batch;
    const prepared = this.#preparer.prepareNow(records, this.log.rules, requestVersion);
    if (prepared === null) return this.#queue.add(batch);
    return "bytes" in prepared ? this.#appendPrepared(prepared, batch) : prepared;
  }

  #appendPrepared(prepared: PreparedBatch, { requiredAcks, guard }: ClientBatch): AppendResult {
    // The leader or the in-sync replicas may have changed while it waited.
    const refusal = this.#refusal(requiredAcks);
    if (refusal !== null) return refusal;
    const { leaderEpoch } = this.#image;
    const result = this.log.appendPrepared(prepared, {
      leaderEpoch,
      origin: "client",
      verification: this.#verification(guard),
    });
    if ("duplicate" in result && !result.duplicate) {
      this.traffic.noteWritten(prepared.bytes.length, result.lastOffset - result.baseOffset + 1);
    }
    return this.#appended(result, prepared.bytes, requiredAcks);
  }

  /**
   * Notes that the coordinator of a transaction is about to be asked whether the transaction is here; what it says
   * counts for a batch that is appended under this guard.
   *
   * Returns: null where nobody has to be asked, since the transaction is open here.
   */
  beginVerification(first: FirstBatch): TransactionGuard | null {
    if (this.log.hasOpenTransaction(first.producerId, first.producerEpoch)) return null;
    return (this.#guards ??= new TransactionGuards()).begin(first);
  }

  /** True while what is said of the transaction counts that was asked for under this guard. */
  isGuardedBy(guard: TransactionGuard): boolean {
    return this.#guards?.verification(guard).isVerified === true;
  }

  #verification(guard: TransactionGuard | null | undefined): Verification | undefined {
    if (guard === undefined) return undefined;
    return this.#guards?.verification(guard) ?? UNVERIFIED;
  }

  /**
   * Appends batches as the leader; `records` belongs to the log from now on.
   *
   * Returns: the offsets. Written when it returns; committed when `onCommitted` of the end offset says so.
   * Errors: NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS, and those of `Log.appendAsLeader`.
   */
  append(records: Uint8Array, options: PartitionAppendOptions): AppendResult {
    const refusal = this.#refusal(options.requiredAcks);
    if (refusal !== null) return refusal;
    const { origin, requestVersion, transactionVersion, guard } = options;
    const result = this.log.appendAsLeader(records, {
      leaderEpoch: this.#image.leaderEpoch,
      origin,
      verification: this.#verification(guard),
      ...(requestVersion !== undefined && { requestVersion }),
      ...(transactionVersion !== undefined && { transactionVersion }),
    });
    return this.#appended(result, records, options.requiredAcks);
  }

  #appended(result: AppendResult, records: Uint8Array, requiredAcks: number): AppendResult {
    if (!("duplicate" in result)) return result;
    if (!result.duplicate) {
      // The transaction is open from here on, or over.
      if (this.#guards !== null && this.#guards.end(readProducerId(records, 0)) === 0) {
        this.#guards = null;
      }
      this.#mark(records.length);
      if (this.#mirror !== null) this.#copyTo(this.#mirror);
      if (this.#followerWatches.size > 0) this.#tellFollowers();
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

  #tellFollowers(): void {
    for (const watch of this.#followerWatches) watch.appended();
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
    if (deleted.error !== ErrorCode.NONE) return deleted;
    this.#mirror?.log.deleteRecordsBefore(upTo);
    this.#tellFollowers();
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
  /** `min.insync.replicas`, of which no more is asked than there are replicas. */
  get effectiveMinIsr(): number {
    return Math.min(this.#config.minInsyncReplicas, this.#image.replicas.length);
  }

  #refusal(requiredAcks: number): AppendRefusal | null {
    if (!this.isLeader) {
      const message = `Cannot append to ${this.log.name}: this node does not lead it`;
      return { error: ErrorCode.NOT_LEADER_OR_FOLLOWER, message };
    }
    if (requiredAcks !== -1) return null;
    const { isr } = this.#image;
    if (isr.length >= this.effectiveMinIsr) return null;
    return {
      error: ErrorCode.NOT_ENOUGH_REPLICAS,
      message: `The size of the current ISR ${isr.length} is insufficient to satisfy ` +
        `the min.isr requirement of ${this.effectiveMinIsr} for partition ${this.log.name}`,
    };
  }

  /** What an append is told that everybody has, as many as that are. */
  get #committedAnswer(): ErrorCode {
    return this.#image.isr.length >= this.effectiveMinIsr
      ? ErrorCode.NONE
      : ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND;
  }

  /**
   * Calls `settled` once records before `endOffset` are committed (NONE; NOT_ENOUGH_REPLICAS_AFTER_APPEND where the
   * ISR has fallen below the minimum since), or will not be. May call at once.
   */
  onCommitted(endOffset: number, settled: (error: ErrorCode) => void): void {
    if (this.log.offlineReason !== null) return settled(ErrorCode.KAFKA_STORAGE_ERROR);
    if (endOffset <= this.#highWatermark) return settled(this.#committedAnswer);
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

  /** Those that wait for followers to have what is written wait no more: this node is going, and so may they be. */
  giveUpFollowers(): void {
    if (this.#image.isr.length === 1) return;
    for (const { settled } of this.#takeCommitWaits()) settled(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  }

  #takeCommitWaits(): CommitWait[] {
    const waits = this.#commitWaits.slice(this.#firstCommitWait);
    this.#commitWaits = [];
    this.#firstCommitWait = 0;
    return waits;
  }

  /** Asks for the commit of what is written: a reader waits for it, or will soon. */
  requestCommit(): void {
    if (this.log.endOffset > this.#highWatermark) this.#sync();
  }

  /** Tells `watch` when the high watermark moves, until `removeWatch`; what is written is committed for it soon. */
  addFetchWaiter(watch: PartitionWatch): void {
    this.#fetchWaiters.add(watch);
    this.requestCommit();
  }

  removeWatch(watch: PartitionWatch): void {
    this.#fetchWaiters.delete(watch);
    this.#followerWatches.delete(watch);
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

  /** How far the records are where they have to be, on all replicas that count. */
  #committed(): number {
    const here = this.#reached(this.log);
    const reached = this.#mirror === null ? here : Math.min(here, this.#reached(this.#mirror.log));
    if (this.#replicas === null) {
      return this.isLeader ? reached : Math.min(reached, this.#leaderHighWatermark);
    }
    this.#replicas.advance({
      syncedOffset: reached,
      endOffset: this.log.endOffset,
      minIsr: this.#config.minInsyncReplicas,
      brokers: this.#replication.brokers(),
      limits: this.#replication.lagLimits(),
      nowMs: this.#clock.monotonicMs(),
    });
    return this.#replicas.highWatermark;
  }

  #advance(): void {
    // What is left of a log that is being truncated is counted once it is.
    if (this.#imageMeanwhile !== undefined) return;
    const reached = this.#committed();
    if (reached > this.#highWatermark) {
      this.#highWatermark = reached;
      this.log.updateHighWatermark(offset(reached));
      // A copy is known to be the same only up to what no crash takes from the log.
      this.#mirror?.log.updateHighWatermark(offset(Math.min(reached, this.log.syncedOffset)));
      this.#countCommitted(reached);
      this.#settleCommits();
      for (const watch of this.#fetchWaiters) watch.committed();
      for (const watch of this.#followerWatches) watch.committed();
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
      next.settled(this.#committedAnswer);
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
    const waits = this.#takeCommitWaits();
    for (const { settled } of [...waits, ...this.#deletionWaits.splice(0)]) settled(error);
    for (const watch of this.#fetchWaiters) watch.lost();
    for (const watch of this.#followerWatches) watch.lost();
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
