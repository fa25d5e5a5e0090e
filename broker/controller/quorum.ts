/**
 * The replicated log of metadata, `__cluster_metadata-0`: drives the Raft machine (`raft.ts`) with the real log,
 * the file `quorum-state`, timers and the other nodes. A single node is a quorum of one and runs the same.
 *
 *     prepare, append ──→ log ──sync──┐
 *     requests of others ──→ Raft ◄───┘──→ Ready: quorum-state, log, then commits and messages
 *                                            └─→ handleCommit(batch), handleLeaderChange, then the append's promise
 *
 * Above this file nothing knows of Raft: the controller appends, hears of commits and of leadership, and never
 * looks at the log.
 *
 * Invariants: what one `Ready` asks for is done in its order, and before the next one is taken; nothing is
 * handed to the listener before a majority has it on stable storage; batches reach it in the order of their
 * offsets, each once, first those replayed at start; the promise of an append resolves after the listener has
 * heard of it.
 */

import assert from "node:assert/strict";
import { WireError } from "../../protocol/bytes.ts";
import { buildControlBatch, type NewControlRecord } from "../../protocol/control_records.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { buildBatch } from "../../protocol/records.ts";
import {
  type LeaderEpoch,
  leaderEpoch,
  type Offset,
  offset,
  type Uuid,
  ZERO_UUID,
} from "../../protocol/types.ts";
import type { Log } from "../../storage/log.ts";
import { DEFAULT_LOG_CONFIG, type LogConfig } from "../../storage/log_config.ts";
import {
  type Clock,
  type Disk,
  DiskError,
  type Logger,
  type Random,
  type Timer,
} from "../../storage/platform.ts";
import { NetworkError } from "../network.ts";
import {
  decodeMetadataRecord,
  encodeMetadataRecord,
  type MetadataRecord,
} from "./metadata_records.ts";
import {
  describeFetched,
  MAX_METADATA_BATCH_BYTES,
  type MetadataBatch,
  type QuorumHistory,
  readQuorumHistory,
  replayMetadata,
  replayPiece,
} from "./metadata_replay.ts";
import { installSnapshot, readSnapshotPiece, writeSnapshotPiece } from "./fetched_snapshot.ts";
import { readQuorumState, writeQuorumState } from "./quorum_state_file.ts";
import {
  type LeaderAndEpoch,
  type LogChange,
  type QuorumState,
  Raft,
  type RaftMessage,
  type RaftSettings,
  type Ready,
  votersRecord,
} from "./raft.ts";
import type {
  Address,
  AnswerHead,
  Destination,
  FetchDecision,
  FetchSnapshotDecision,
  RaftAnswer,
  RaftDecision,
  RaftReply,
  RaftRequest,
  ReplyTo,
  VoterChangeAnswer,
} from "./raft_messages.ts";
import type { OffsetAndEpoch, RaftRules } from "./raft_quorum.ts";
import type { ReplicaState } from "./raft_replicas.ts";
import {
  isSameReplica,
  type ReplicaKey,
  type Voter,
  type VoterEndpoint,
  VoterHistory,
  VoterSet,
} from "./raft_voters.ts";

const MAX_PENDING_APPENDS = 1000;
const HANDOVER_CHECK_MS = 10;
/** Voters that have not taken word of the end of a lead for so long are gone themselves. */
const HANDOVER_SILENCE_MS = 300;
/** Errors of `connect` and of a process that has ended: nobody listens there. */
const REFUSED_CODES: ReadonlySet<string> = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE"]);

/** Name of the metadata log's topic; it has one partition and is in no image. */
export const METADATA_TOPIC = "__cluster_metadata";

/** How the metadata log is kept: whole, until snapshots take the place of its start. */
export const METADATA_LOG_CONFIG: LogConfig = {
  ...DEFAULT_LOG_CONFIG,
  maxMessageBytes: MAX_METADATA_BATCH_BYTES,
  retentionMs: -1,
  retentionBytes: -1,
};

/** Timeouts of a quorum where nobody sets them: Kafka's, but a leader may be silent less long (decision 0035). */
export const DEFAULT_RAFT_SETTINGS: RaftSettings = {
  electionTimeoutMs: 1_000,
  electionBackoffMaxMs: 1_000,
  fetchTimeoutMs: 1_200,
  retryBackoffMs: 20,
  requestTimeoutMs: 2_000,
  // Kafka's is 500: a leader knows by this how long ago it certainly led (decision 0050).
  fetchMaxWaitMs: 200,
  fetchMaxBytes: 1024 * 1024,
  fetchSnapshotMaxBytes: 1024 * 1024,
};

/** What the quorum tells the one who keeps the image. Calls never overlap. */
export interface QuorumListener {
  /** A batch is committed: on stable storage of a majority. */
  handleCommit(batch: MetadataBatch): void;
  /** What these batches come to is committed, and takes the place of all that was handed over before. */
  handleSnapshot(batches: readonly MetadataBatch[]): void;
  /**
   * What was known to be committed at start was handed over, and nothing was written yet. Throws what makes it
   * unusable.
   */
  handleReplayed(): void;
  /** Everything committed before `leaderEpoch` has been handed over; −1 is "no leader is known". */
  handleLeaderChange(leaderId: number, leaderEpoch: LeaderEpoch): void;
  /** The log cannot be written any more; nothing will be committed until a restart. */
  handleFailure(message: string): void;
}

/** How an append ended. */
export type CommitOutcome =
  | { readonly error: typeof ErrorCode.NONE }
  | { readonly error: ErrorCode; readonly message: string };

/** Records on their way into the log. */
export interface PreparedBatch {
  readonly batch: MetadataBatch;
  /** The encoded records. */
  readonly values: readonly Uint8Array[];
}

/** An append that was taken in, or not. */
export type AppendOutcome =
  | {
    readonly error: typeof ErrorCode.NONE;
    /** Resolves when the batch is committed, after `handleCommit`, or when it is not known to be. */
    readonly committed: Promise<CommitOutcome>;
  }
  | { readonly error: ErrorCode; readonly message: string };

/** The way to the other nodes. */
export interface QuorumTransport {
  /**
   * Sends one request. Requests of one channel to one node leave in the order of the calls.
   * Errors: NetworkError (refused, lost, late); nothing else.
   */
  send(to: Destination, channel: string, request: RaftRequest): Promise<RaftReply>;
}

/** How this node takes part in a quorum with others. */
export interface QuorumMembership {
  /** Those of `controller.quorum.voters`, in force until the log names others. */
  readonly staticVoters: VoterSet;
  readonly bootstrapServers: readonly Address[];
  /** Where this node's controller listens; none for a broker alone. */
  readonly endpoints: readonly VoterEndpoint[];
  readonly settings: RaftSettings;
  readonly transport: QuorumTransport;
  readonly rules?: RaftRules;
}

/** What the quorum needs. */
export interface QuorumOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: Random;
  /** The log of `__cluster_metadata-0`, opened with `METADATA_LOG_CONFIG`. */
  readonly log: Log;
  readonly nodeId: number;
  /** Of the log directory that the log lies in. */
  readonly directoryId?: Uuid;
  /** Left out for a quorum of one. */
  readonly membership?: QuorumMembership;
}

/** One replica, as DescribeQuorum tells of it. Times are wall-clock; −1 for never. */
export interface QuorumReplica {
  readonly key: ReplicaKey;
  readonly endOffset: number;
  readonly lastFetchMs: number;
  readonly lastCaughtUpMs: number;
}

/** The quorum, as its leader knows it. */
export interface QuorumDescription extends LeaderAndEpoch {
  readonly highWatermark: number;
  readonly voters: readonly QuorumReplica[];
  readonly observers: readonly QuorumReplica[];
  /** Where the voters listen. */
  readonly nodes: readonly {
    readonly id: number;
    readonly endpoints: readonly VoterEndpoint[];
  }[];
}

interface PendingAppend {
  readonly batch: MetadataBatch;
  readonly resolve: (outcome: CommitOutcome) => void;
}

/** A request that waits for its answer. */
interface Handle {
  readonly resolve: (decision: RaftDecision) => void;
  readonly otherwise: RaftDecision;
}

/** What is to be told to the listener, in order. */
type Delivery = { readonly upTo: number } | { readonly leader: LeaderAndEpoch };

/** The replicated log of metadata. */
export class Quorum {
  readonly #options: QuorumOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #log: Log;
  readonly #raft: Raft;
  readonly #listener: QuorumListener;
  /** Set for good once nothing can be written any more. */
  #failure: { readonly error: ErrorCode; readonly message: string } | null = null;
  /** The leader that the listener knows of. */
  #told: LeaderAndEpoch = { leaderId: -1, leaderEpoch: -1 };
  /** Appends of this leader, in order of offsets. */
  readonly #pending: PendingAppend[] = [];
  #deliveries: Delivery[] = [];
  #isDelivering = false;
  /** The next offset to hand over. */
  #position: Offset;
  /** A `Ready` is being worked off that takes time. */
  #isBusy = false;
  #timer: Timer | null = null;
  #timerAtMs = Infinity;
  #nextHandle = 1;
  readonly #handles = new Map<number, Handle>();
  readonly #stops: (() => void)[] = [];
  /** Told at every change of role or leader. */
  readonly #watchers = new Set<() => void>();

  private constructor(
    options: QuorumOptions,
    listener: QuorumListener,
    raft: Raft,
    position: Offset,
  ) {
    this.#options = options;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#log = options.log;
    this.#listener = listener;
    this.#raft = raft;
    this.#position = position;
  }

  /**
   * Replays into `listener` what is known to be committed, in bounded memory, and takes part in the quorum. A log
   * that cannot be used is left as it was found.
   *
   * Returns: when this node leads, where it is the only voter; else at once.
   * Errors: DiskError, also for a damaged batch; WireError when a record of the log cannot be read, or
   * others have a vote of whom this node knows nothing.
   */
  static async start(options: QuorumOptions, listener: QuorumListener): Promise<Quorum> {
    const { disk, log } = options;
    const history = readQuorumHistory(disk, log, options.logger);
    const { snapshot } = history;
    const voters = votersOf(options, history);
    const self = { id: options.nodeId, directoryId: options.directoryId ?? ZERO_UUID };
    const isAlone = voters.latest.isOnly(self);
    const quorumState = storedState(options, isAlone);
    // The only voter has all that is committed on its own stable storage.
    const known = Math.max(snapshot?.offset ?? 0, log.highWatermark);
    const upTo = isAlone ? log.endOffset : offset(Math.min(known, log.endOffset));
    const handleCommit = (batch: MetadataBatch) => listener.handleCommit(batch);
    const position = replayMetadata({ disk, log, snapshot, upTo, handleCommit });
    listener.handleReplayed();
    const raft = new Raft({
      self,
      endpoints: options.membership?.endpoints ?? [],
      random: options.random.fork("raft"),
      settings: options.membership?.settings ?? DEFAULT_RAFT_SETTINGS,
      log: {
        startOffset: log.logStartOffset,
        endOffset: log.endOffset,
        epochs: log.leaderEpochs.entries,
        snapshotId: snapshot && { offset: snapshot.offset, epoch: snapshot.epoch },
      },
      voters,
      quorumState,
      highWatermark: position,
      bootstrapServers: options.membership?.bootstrapServers ?? [],
      foundsQuorum: options.membership !== undefined && foundsQuorum(options.membership),
      ...(options.membership?.rules && { rules: options.membership.rules }),
    });
    const quorum = new Quorum(options, listener, raft, position);
    await quorum.#begin(isAlone);
    return quorum;
  }

  async #begin(isAlone: boolean): Promise<void> {
    this.#stops.push(
      this.#log.onSynced((syncedOffset) =>
        this.#step((nowMs) => {
          this.#raft.synced(syncedOffset, nowMs);
        })
      ),
      this.#log.onOffline((reason) => this.#fail(reason)),
    );
    this.#step((nowMs) => this.#raft.start(nowMs));
    while (isAlone && this.#failure === null && !this.isLeader) await this.#changed();
    if (isAlone && this.#failure !== null) throw new DiskError(this.#failure.message, "EIO");
  }

  /** Resolves at the next change of leader or at a failure. */
  #changed(): Promise<void> {
    return new Promise((resolve) => {
      const watcher = () => {
        this.#watchers.delete(watcher);
        resolve();
      };
      this.#watchers.add(watcher);
    });
  }

  /** Node that leads the quorum, as the listener knows; −1 when none is known. */
  get leaderId(): number {
    return this.#told.leaderId;
  }
  get leaderEpoch(): LeaderEpoch {
    return leaderEpoch(this.#raft.epoch);
  }
  /** Where the leader listens; null when none is known, or when it is this node. */
  get leaderAddress(): Address | null {
    return this.leaderId === -1 || this.#raft.isLeader ? null : this.#raft.leaderAddress;
  }
  /** This node leads, and all of earlier epochs has been handed over. */
  get isLeader(): boolean {
    const { leaderId, leaderEpoch: epoch } = this.#told;
    return this.#failure === null && this.#raft.isLeader && epoch === this.#raft.epoch &&
      leaderId === this.#options.nodeId;
  }
  /** The first offset that is not known to be committed. */
  get highWatermark(): Offset {
    return offset(this.#raft.highWatermark);
  }
  get logEndOffset(): Offset {
    return this.#log.endOffset;
  }
  /** For how long it has not been certain that no other node leads; Infinity where this one does not. Units: ms. */
  get unconfirmedMs(): number {
    const nowMs = this.#clock.monotonicMs();
    return this.isLeader ? nowMs - this.#raft.leadershipConfirmedMs(nowMs) : Infinity;
  }
  /** The log, to look at. */
  get log(): Log {
    return this.#log;
  }
  /** The machine, to look at. */
  get raft(): Raft {
    return this.#raft;
  }

  /**
   * Encodes records as the batch that they would be if they were appended next.
   *
   * What is in the batch was decoded from what will be written, so what is applied now and what a replay
   * gives cannot differ.
   */
  prepare(records: readonly MetadataRecord[]): PreparedBatch {
    assert(records.length > 0, "a batch of nothing");
    const values = records.map(encodeMetadataRecord);
    const baseOffset = this.#log.endOffset;
    const batch: MetadataBatch = {
      baseOffset,
      lastOffset: offset(baseOffset + records.length - 1),
      leaderEpoch: this.leaderEpoch,
      timestampMs: this.#clock.wallMs(),
      records: values.map(decodeMetadataRecord),
    };
    return { batch, values };
  }

  /**
   * Writes a batch that was prepared just now: all of its records are committed, or none is.
   *
   * Synchronous up to the log, so the order of appends is the order of calls.
   */
  append({ batch, values }: PreparedBatch): AppendOutcome {
    if (this.#failure !== null) return this.#failure;
    if (!this.isLeader) return { error: ErrorCode.NOT_CONTROLLER, message: "Another node leads." };
    if (this.#pending.length >= MAX_PENDING_APPENDS) {
      return {
        error: ErrorCode.REQUEST_TIMED_OUT,
        message: `The controller has ${MAX_PENDING_APPENDS} changes in flight; try again later.`,
      };
    }
    // Only a role that is ending has a `Ready` that takes time.
    assert(!this.#isBusy && this.#log.endOffset === this.#raft.log.endOffset);
    const bytes = buildBatch({
      records: values.map((value) => ({ key: null, value, timestamp: batch.timestampMs })),
    });
    const written = this.#write(bytes, batch.leaderEpoch);
    if (typeof written === "string") {
      return { error: ErrorCode.KAFKA_STORAGE_ERROR, message: written };
    }
    assert(written.lastOffset === batch.lastOffset, "another append between prepare and append");
    const { promise, resolve } = Promise.withResolvers<CommitOutcome>();
    this.#pending.push({ batch, resolve });
    this.#log.sync();
    this.#step((nowMs) => this.#raft.appended(this.#log.endOffset, nowMs));
    return { error: ErrorCode.NONE, committed: promise };
  }

  /** The epoch is that of whoever asked for it, which may be over by now. */
  #write(bytes: Uint8Array, epoch: number): { baseOffset: Offset; lastOffset: Offset } | string {
    const result = this.#log.appendAsLeader(bytes, { leaderEpoch: epoch, origin: "raft" });
    if ("baseOffset" in result) {
      return { baseOffset: result.baseOffset, lastOffset: result.lastOffset };
    }
    return `Cannot write to ${METADATA_TOPIC}: ${result.message}`;
  }

  /**
   * Takes a request of another replica in.
   * Returns: its answer, which may take as long as the request says. Errors: none; once the quorum has stopped or
   * failed the answer knows nothing.
   */
  async handle<Request extends Exclude<RaftRequest, { readonly kind: "probe" }>>(
    request: Request,
  ): Promise<ReplyTo<Request>> {
    const decision = await this.#ask(unavailable(request), (handle, nowMs) => {
      switch (request.kind) {
        case "vote":
          return this.#raft.vote(handle, request, nowMs);
        case "beginQuorumEpoch":
          return this.#raft.beginQuorumEpoch(handle, request, nowMs);
        case "endQuorumEpoch":
          return this.#raft.endQuorumEpoch(handle, request, nowMs);
        case "fetch":
          return this.#raft.fetch(handle, request, nowMs);
        case "fetchSnapshot":
          return this.#raft.fetchSnapshot(handle, request, nowMs);
        case "updateVoter":
          return this.#raft.updateVoter(handle, request, nowMs);
      }
    });
    assert(decision.kind === request.kind);
    return this.#replyTo(decision) as ReplyTo<Request>;
  }

  #replyTo(decision: RaftDecision): RaftReply {
    assert(decision.kind !== "voterChange");
    if (decision.kind === "fetch") return this.#readFor(decision);
    return decision.kind === "fetchSnapshot" ? this.#readSnapshotFor(decision) : decision;
  }

  /** What the log has from there on, synced here or not: the follower will say when it has it. */
  #readFor(decision: FetchDecision): RaftReply {
    const none = { ...decision, records: new Uint8Array(0) };
    if (decision.readFrom === null || decision.readFrom >= this.#log.endOffset) return none;
    const read = this.#log.read(offset(decision.readFrom), {
      maxBytes: decision.maxBytes,
      minOneMessage: true,
    });
    if (!("records" in read)) return { ...none, error: read.error };
    const records = read.records.slice();
    read.release();
    return { ...none, records };
  }

  #readSnapshotFor(decision: FetchSnapshotDecision): RaftReply {
    const none = { ...decision, sizeBytes: 0, bytes: new Uint8Array(0) };
    if (decision.error !== ErrorCode.NONE) return none;
    const piece = readSnapshotPiece(this.#options.disk, this.#log.directory, decision);
    return "error" in piece ? { ...none, error: piece.error } : { ...none, ...piece };
  }

  /**
   * Makes an observer that has caught up a voter.
   * Returns: when that is committed, or written, as asked. Errors: none; they are in the answer.
   */
  async addVoter(request: {
    readonly voter: Voter;
    readonly timeoutMs: number;
    readonly ackWhenCommitted: boolean;
  }): Promise<VoterChangeAnswer> {
    return await this.#ask(STOPPED, (handle, nowMs) => {
      this.#raft.addVoter(handle, request, nowMs);
    }) as VoterChangeAnswer;
  }

  /** Takes a voter out. Returns: when that is committed. Errors: none; they are in the answer. */
  async removeVoter(request: { readonly voter: ReplicaKey }): Promise<VoterChangeAnswer> {
    return await this.#ask(STOPPED, (handle, nowMs) => {
      this.#raft.removeVoter(handle, request, nowMs);
    }) as VoterChangeAnswer;
  }

  /**
   * Writes the voters down in the log (`kraft.version` 1), where they can be changed from then on.
   * Returns: when that is committed. Errors: none; they are in the answer.
   */
  async upgradeVoters(): Promise<VoterChangeAnswer> {
    return await this.#ask(STOPPED, (handle, nowMs) => {
      this.#raft.upgradeVoters(handle, nowMs);
    }) as VoterChangeAnswer;
  }

  /** `otherwise` is the answer where the quorum has ended, or ends before it has one. */
  #ask(
    otherwise: RaftDecision,
    event: (handle: number, nowMs: number) => void,
  ): Promise<RaftDecision> {
    if (this.#failure !== null) return Promise.resolve(otherwise);
    const { promise, resolve } = Promise.withResolvers<RaftDecision>();
    const handle = this.#nextHandle++;
    this.#handles.set(handle, { resolve, otherwise });
    this.#step((nowMs) => event(handle, nowMs));
    return promise;
  }

  /** How the replicas of the log stand, as its leader knows; null on another node. */
  describe(): QuorumDescription | null {
    const { replicas, voters, epoch, highWatermark } = this.#raft;
    if (replicas === null || this.#failure !== null) return null;
    const { nodeId, directoryId = ZERO_UUID } = this.#options;
    const nowMs = this.#clock.monotonicMs();
    const wallMs = this.#clock.wallMs();
    const toWall = (atMs: number) => atMs < 0 ? -1 : Math.round(wallMs - (nowMs - atMs));
    const describe = (state: ReplicaState): QuorumReplica => ({
      key: state.key,
      endOffset: state.endOffset,
      lastFetchMs: toWall(state.lastFetchMs),
      lastCaughtUpMs: toWall(state.lastCaughtUpMs),
    });
    const self = { id: nodeId, directoryId };
    const own = {
      key: self,
      endOffset: this.#log.endOffset,
      lastFetchMs: nowMs,
      lastCaughtUpMs: nowMs,
    };
    return {
      leaderId: nodeId,
      leaderEpoch: epoch,
      highWatermark,
      voters: voters.voters.map((voter) => {
        return describe(isSameReplica(voter, self) ? own : replicas.ofVoter(voter));
      }),
      observers: replicas.observers(voters, nowMs).map(describe),
      nodes: voters.voters.map(({ id, endpoints }) => ({ id, endpoints })),
    };
  }

  /** The version of the quorum's protocol that is in force: 1 with voters in the log (KIP-853). */
  get kraftVersion(): number {
    return this.#raft.voterHistory.kraftVersion;
  }

  /** What a snapshot of the records before `endOffset` has to say of the quorum. */
  controlRecordsBefore(endOffset: Offset): NewControlRecord[] {
    const { voterHistory } = this.#raft;
    const kRaftVersion = voterHistory.kraftVersionBefore(endOffset);
    if (kRaftVersion === 0) return [];
    return [
      { type: "kraftVersion", message: { version: 0, kRaftVersion } },
      votersRecord(voterHistory.votersBefore(endOffset)),
    ];
  }

  /** A snapshot of our own is on stable storage, and the log begins at `logStartOffset`. */
  noteSnapshot(id: OffsetAndEpoch, logStartOffset: Offset): void {
    this.#raft.snapshotTaken(id, logStartOffset);
  }

  /**
   * Hands the lead over, if this node has it, and begins no election any more.
   * Returns: when the other voters know, when none of them says so for a while, or after `timeoutMs`.
   */
  async shutDown(timeoutMs: number): Promise<void> {
    this.#step((nowMs) => this.#raft.shutDown(nowMs));
    const startMs = this.#clock.monotonicMs();
    let heardMs = startMs;
    let untoldCount = this.#raft.untoldCount;
    while (this.#failure === null && untoldCount > 0) {
      const nowMs = this.#clock.monotonicMs();
      if (nowMs - startMs >= timeoutMs || nowMs - heardMs >= HANDOVER_SILENCE_MS) return;
      await this.#clock.sleep(HANDOVER_CHECK_MS);
      if (this.#raft.untoldCount < untoldCount) heardMs = this.#clock.monotonicMs();
      untoldCount = this.#raft.untoldCount;
    }
  }

  /** Stops committing; what was not committed until now is answered as not done. The log stays open. */
  stop(): void {
    for (const stop of this.#stops.splice(0)) stop();
    this.#timer?.cancel();
    this.#timer = null;
    this.#end(ErrorCode.NOT_CONTROLLER, "The controller is shutting down.");
  }

  // ── the machine and what it asks for ────────────────────────────────────────────────────────────

  /** One event for the machine, and all that comes of it. */
  #step(event: (nowMs: number) => void): void {
    if (this.#failure !== null) return;
    event(this.#clock.monotonicMs());
    this.#pump();
  }

  #pump(): void {
    while (!this.#isBusy && this.#failure === null) {
      const ready = this.#raft.take();
      if (ready === null) break;
      if (ready.quorumState === null && !ready.logChanges.some(takesTime)) {
        for (const change of ready.logChanges) this.#appendNow(change);
        this.#finish(ready);
        continue;
      }
      this.#isBusy = true;
      void this.#workOff(ready);
    }
    this.#setTimer();
  }

  async #workOff(ready: Ready): Promise<void> {
    try {
      if (ready.quorumState !== null) {
        const { disk } = this.#options;
        await writeQuorumState(disk, this.#log.directory, ready.quorumState);
      }
      for (const change of ready.logChanges) {
        if (takesTime(change)) await this.#changeSlowly(change);
        else this.#appendNow(change);
      }
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      this.#fail(failure.message);
    }
    this.#isBusy = false;
    if (this.#failure === null) {
      this.#finish(ready);
      this.#pump();
    }
  }

  async #changeSlowly(change: LogChange): Promise<void> {
    const { disk } = this.#options;
    if (change.kind === "writeSnapshot") {
      writeSnapshotPiece(disk, this.#log.directory, change);
      return;
    }
    if (change.kind === "installSnapshot") return await this.#install(change.id);
    assert(change.kind === "truncate");
    const { endOffset } = change;
    this.#logger.info("The metadata log is cut where it parts from the leader's", { endOffset });
    await this.#log.truncateTo(offset(endOffset));
    if (this.#log.endOffset === endOffset) return;
    const found = `it ends at ${this.#log.endOffset}, not at ${endOffset}`;
    throw new DiskError(`Cannot cut ${METADATA_TOPIC}: ${found}`, "EIO");
  }

  /** A snapshot that was fetched takes the place of log and image. */
  async #install(id: OffsetAndEpoch): Promise<void> {
    const found = await installSnapshot(this.#options.disk, this.#log.directory, id);
    if (found === null) {
      this.#logger.warn("A snapshot of the metadata came damaged, and is fetched again", { ...id });
      this.#raft.snapshotRefused(this.#clock.monotonicMs());
      return;
    }
    await this.#log.truncateFullyAndStartAt(offset(id.offset));
    this.#logger.info("A snapshot takes the place of the metadata log", { ...id });
    // What was to be handed over before is in it.
    this.#deliveries = this.#deliveries.filter((delivery) => "leader" in delivery);
    this.#position = offset(id.offset);
    this.#listener.handleSnapshot(found.batches);
    this.#raft.snapshotInstalled(id, found, this.#clock.monotonicMs());
  }

  #appendNow(change: LogChange): void {
    const before = this.#log.endOffset;
    let refusal: string | null = null;
    if (change.kind === "append") {
      const result = this.#log.appendAsFollower(change.records);
      if (!("baseOffset" in result)) refusal = result.message;
      else assert(this.#log.endOffset === change.endOffset);
    } else if (change.kind === "appendControl") {
      assert(before === change.baseOffset, "the machine's log is not this one");
      const timestamp = this.#clock.wallMs();
      const bytes = buildControlBatch({ records: change.records, timestamp });
      const written = this.#write(bytes, change.epoch);
      if (typeof written === "string") refusal = written;
    }
    if (refusal === null) this.#log.sync();
    else if (this.#failure === null) {
      this.#logger.warn("The metadata log cannot be written", { reason: refusal });
      this.#raft.appendFailed(before, this.#clock.monotonicMs());
    }
  }

  #finish({ highWatermark, leader, messages }: Ready): void {
    if (highWatermark !== null) {
      this.#log.updateHighWatermark(offset(highWatermark));
      this.#deliveries.push({ upTo: highWatermark });
    }
    if (leader !== null) this.#deliveries.push({ leader });
    for (const message of messages) this.#say(message);
    if (!this.#isDelivering) this.#deliver();
  }

  #say(message: RaftMessage): void {
    switch (message.kind) {
      case "answer": {
        const handle = this.#handles.get(message.handle)!;
        this.#handles.delete(message.handle);
        handle.resolve(message.decision);
        return;
      }
      case "send":
        void this.#send(message.requestId, message.to, message.request);
        return;
      case "failure":
        this.#fail(message.message);
    }
  }

  async #send(requestId: number, to: Destination, request: RaftRequest): Promise<void> {
    const transport = this.#options.membership?.transport;
    assert(transport !== undefined, "a quorum of one has nobody to talk to");
    // So that a Fetch, which is kept, does not hold up a vote.
    const channel = request.kind === "fetch" || request.kind === "fetchSnapshot" ? "fetch" : "raft";
    let answer: RaftAnswer | null = null;
    let isRefused = false;
    try {
      answer = withBatches(await transport.send(to, channel, request));
    } catch (failure) {
      if (failure instanceof NetworkError) isRefused = REFUSED_CODES.has(failure.code);
      else if (!(failure instanceof WireError)) throw failure;
    }
    this.#step((nowMs) => {
      if (answer === null) this.#raft.failed(requestId, { isRefused }, nowMs);
      else this.#raft.answered(requestId, answer, nowMs);
    });
  }

  #setTimer(): void {
    const atMs = this.#failure === null ? this.#raft.nextDeadlineMs : Infinity;
    if (this.#timer !== null && this.#timerAtMs <= atMs) return;
    this.#timer?.cancel();
    this.#timer = null;
    if (atMs === Infinity) return;
    this.#timerAtMs = atMs;
    this.#timer = this.#clock.timer(Math.max(atMs - this.#clock.monotonicMs(), 0), () => {
      this.#timer = null;
      this.#step((nowMs) => this.#raft.tick(nowMs));
    });
  }

  // ── what the listener hears ─────────────────────────────────────────────────────────────────────

  /** Tells what is due, as much as one read of the log gives at a time. */
  #deliver(): void {
    while (this.#failure === null) {
      const next = this.#deliveries[0];
      if (next === undefined) return;
      if ("leader" in next) this.#tellLeader(next.leader);
      else if (!this.#handOver(next.upTo)) {
        this.#isDelivering = true;
        void this.#clock.sleep(0).then(() => {
          this.#isDelivering = false;
          this.#deliver();
        });
        return;
      }
      this.#deliveries.shift();
    }
  }

  /** Returns: whether all before `upTo` is handed over. */
  #handOver(upTo: number): boolean {
    let hasRead = false;
    while (this.#position < upTo) {
      const pending = this.#pending[0];
      if (pending !== undefined && pending.batch.baseOffset === this.#position) {
        this.#pending.shift();
        this.#position = offset(pending.batch.lastOffset + 1);
        this.#listener.handleCommit(pending.batch);
        pending.resolve({ error: ErrorCode.NONE });
        continue;
      }
      if (hasRead) return false;
      hasRead = true;
      const limit = pending === undefined ? upTo : Math.min(upTo, pending.batch.baseOffset);
      if (!this.#replay(offset(limit))) return true;
    }
    return true;
  }

  #replay(upTo: Offset): boolean {
    try {
      this.#position = replayPiece(this.#log, this.#position, upTo, (batch) => {
        this.#listener.handleCommit(batch);
      });
      return true;
    } catch (failure) {
      if (!(failure instanceof DiskError) && !(failure instanceof WireError)) throw failure;
      this.#fail(failure.message);
      return false;
    }
  }

  #tellLeader(leader: LeaderAndEpoch): void {
    this.#told = leader;
    // Of a node that is alone there is nothing to tell.
    const level = this.#options.membership === undefined ? "debug" : "info";
    this.#logger[level]("The lead of the metadata quorum changes", {
      ...leader,
      role: this.#raft.role,
    });
    if (leader.leaderId !== this.#options.nodeId) {
      const message = "The controller has moved to another node.";
      for (const { resolve } of this.#pending.splice(0)) {
        resolve({ error: ErrorCode.NOT_CONTROLLER, message });
      }
    }
    this.#listener.handleLeaderChange(leader.leaderId, leaderEpoch(leader.leaderEpoch));
    for (const watcher of [...this.#watchers]) watcher();
  }

  #fail(message: string): void {
    if (this.#failure !== null) return;
    this.#listener.handleFailure(message);
    this.#end(ErrorCode.KAFKA_STORAGE_ERROR, message);
  }

  #end(error: ErrorCode, message: string): void {
    this.#failure = { error, message };
    this.#timer?.cancel();
    this.#timer = null;
    for (const { resolve } of this.#pending.splice(0)) resolve({ error, message });
    for (const { resolve, otherwise } of this.#handles.values()) resolve(otherwise);
    this.#handles.clear();
    for (const watcher of [...this.#watchers]) watcher();
  }
}

/** The head of an answer that says nothing of any epoch. */
const NOTHING_KNOWN: AnswerHead = {
  error: ErrorCode.NOT_LEADER_OR_FOLLOWER,
  leaderId: -1,
  leaderEpoch: -1,
  leaderAddress: null,
};
const STOPPED: VoterChangeAnswer = {
  kind: "voterChange",
  error: ErrorCode.NOT_LEADER_OR_FOLLOWER,
  message: "The node is shutting down.",
};

function unavailable(request: Exclude<RaftRequest, { readonly kind: "probe" }>): RaftDecision {
  switch (request.kind) {
    case "vote":
      return { kind: "vote", isGranted: false, ...NOTHING_KNOWN };
    case "fetch":
      return {
        kind: "fetch",
        ...NOTHING_KNOWN,
        highWatermark: -1,
        logStartOffset: -1,
        diverging: null,
        snapshotId: null,
        readFrom: null,
        maxBytes: 0,
      };
    case "fetchSnapshot": {
      const { snapshotId, position } = request;
      return { kind: "fetchSnapshot", ...NOTHING_KNOWN, snapshotId, position, maxBytes: 0 };
    }
    case "beginQuorumEpoch":
    case "endQuorumEpoch":
    case "updateVoter":
      return { kind: request.kind, ...NOTHING_KNOWN };
  }
}

/** What may take a while: the machine goes on meanwhile, and says nothing. */
function takesTime({ kind }: LogChange): boolean {
  return kind !== "append" && kind !== "appendControl";
}

function withBatches(reply: RaftReply): RaftAnswer {
  if (reply.kind !== "fetch") return reply;
  return { ...reply, batches: describeFetched(reply.records) };
}

/** A node that was told to look for the quorum nowhere but at itself is its first voter. */
function foundsQuorum({ staticVoters, bootstrapServers, endpoints }: QuorumMembership): boolean {
  if (staticVoters.size > 0 || bootstrapServers.length === 0) return false;
  return bootstrapServers.every(({ host, port }) =>
    endpoints.some((endpoint) => endpoint.host === host && endpoint.port === port)
  );
}

/**
 * Who votes, by offset.
 * Errors: WireError when others do, and this node was told nothing of them.
 */
function votersOf(options: QuorumOptions, history: QuorumHistory): VoterHistory {
  const { nodeId, membership } = options;
  const self = new VoterSet([{
    id: nodeId,
    directoryId: ZERO_UUID,
    endpoints: [],
    minKraftVersion: 0,
    maxKraftVersion: 1,
  }]);
  const isNamedAlone = (history.namedVoterIds ?? [nodeId]).join() === String(nodeId);
  const isFounder = membership === undefined || (foundsQuorum(membership) && isNamedAlone);
  const voters = new VoterHistory(isFounder ? self : membership.staticVoters);
  for (const change of history.changes) {
    if (change.kind === "voters") voters.noteVoters(change.offset, change.voters);
    else voters.noteKraftVersion(change.offset, change.version);
  }
  if (membership !== undefined) return voters;
  const isNamed = history.changes.some(({ kind }) => kind === "voters");
  const ids = isNamed ? voters.latest.ids : history.namedVoterIds ?? [nodeId];
  if (ids.length === 1 && ids[0] === nodeId) return voters;
  throw new WireError(
    `Cannot use the metadata log: its quorum has the voters ${
      ids.join(", ")
    }, and node ${nodeId} is ` +
      "started as the only one; set controller.quorum.voters or controller.quorum.bootstrap.servers, or " +
      "remove the others from the quorum first",
  );
}

/** Errors: DiskError when others may have this node's vote, and it is not known who. */
function storedState({ disk, log, logger }: QuorumOptions, isAlone: boolean): QuorumState | null {
  const state = readQuorumState(disk, log.directory);
  if (state !== "damaged") return state;
  const path = `${log.directory}/quorum-state`;
  if (!isAlone) {
    throw new DiskError(
      `Cannot start from ${path}: it is damaged, and says whom this node has voted for; restore it, or ` +
        "remove this node from the voters, empty the directory and add it again",
      "EBADMSG",
    );
  }
  // The only vote that it could hold is our own for ourselves, and the log knows the last epoch.
  logger.warn("The quorum state file is damaged; its epoch is taken from the log", { path });
  return null;
}
