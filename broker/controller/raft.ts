/**
 * One replica of the metadata log as a pure state machine: KRaft, the variant of Raft in which followers pull.
 * Requests, answers, finished syncs and time go in; what has to be done comes out as one value, `Ready`, whose
 * fields are to be worked off in their order. No clock, no promise, no bytes of the log in here.
 *
 *      ┌────────────┐ election timeout  ┌─────────────┐ majority would vote ┌───────────┐
 *      │ unattached │──────────────────►│ prospective │────────────────────►│ candidate │
 *      └────────────┘◄───── lost ───────└─────────────┘◄──── backed off ────└───────────┘
 *        │        ▲ higher epoch               ▲ fetch timeout                    │ majority has voted
 *        │ leader is known                ┌──────────┐                       ┌────────┐
 *        └───────────────────────────────►│ follower │                       │ leader │
 *                                         └──────────┘       ┌──────────┐    └────────┘
 *                                    a leader that must go:  │ resigned │◄────────┘
 *                                                            └──────────┘
 *
 * A leader appends and waits to be fetched from; a Fetch says that all before its offset is on the follower's
 * stable storage. Who is not a voter, or not known as one yet, follows in the same way: an observer.
 *
 * Invariants: at most one leader an epoch; nothing is said of an epoch, a vote or a record before it is on stable
 * storage; the high watermark never goes back, and is computed from records of the leader's own epoch alone;
 * a set of voters is changed by one, and not again before that is committed.
 *
 * Source: Raft thesis; KIP-595, KIP-630 (snapshots), KIP-853 (voters), KIP-996 (pre-vote), KIP-1166.
 */

import assert from "node:assert/strict";
import type { NewControlRecord } from "../../protocol/control_records.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { ZERO_UUID } from "../../protocol/types.ts";
import type { Random } from "../../storage/platform.ts";
import { type FoundLog, RaftLog } from "./raft_log.ts";
import type {
  Address,
  AnswerHead,
  BeginQuorumEpochRequest,
  Destination,
  EndQuorumEpochRequest,
  FetchAnswer,
  FetchDecision,
  FetchRequest,
  FetchSnapshotAnswer,
  FetchSnapshotRequest,
  ProbeAnswer,
  RaftAnswer,
  RaftDecision,
  RaftRequest,
  UpdateVoterRequest,
  VoteAnswer,
  VoteRequest,
} from "./raft_messages.ts";
import {
  KRAFT_RULES,
  majorityOf,
  type OffsetAndEpoch,
  type RaftRules,
  reachedByMajority,
  type Tally,
  tally,
} from "./raft_quorum.ts";
import { ReplicaStates } from "./raft_replicas.ts";
import { VoterChange } from "./raft_voter_change.ts";
import {
  isSameReplica,
  type ReplicaKey,
  type Voter,
  type VoterEndpoint,
  type VoterHistory,
  VoterSet,
} from "./raft_voters.ts";

/** A leader that a majority has not fetched from for so many fetch timeouts steps down, as in Kafka. */
const CHECK_QUORUM_FACTOR = 1.5;
/** How often a node that knows no leader asks the others for one. */
const DISCOVERY_BACKOFF_MS = 100;
/** A voter tells the leader when its endpoints have changed, and looks that often whether it must. */
const UPDATE_VOTER_INTERVAL_MS = 1_000;
/** A leader that nobody listens for any more is given up after this, and as much again by chance. */
const SUSPICION_MS = 25;
const SUSPICION_JITTER_MS = 150;
/** Fetches that wait at a leader; what is more is answered at once. */
const MAX_PARKED_FETCHES = 1_000;
const LEADER_CHANGE_VERSION = 0;
/** The highest `kraft.version` that we can work at: with voters in the log. */
export const MAX_KRAFT_VERSION = 1;
/** The base of the backoff between two elections, doubled with each. */
const ELECTION_BACKOFF_MS = 100;
/** How long a voter lets another one go first that would be elected as well: time for a vote and its sync. */
const YIELD_MS = 100;

/** Timeouts, under the names of `controller.quorum.*`. */
export interface RaftSettings {
  readonly electionTimeoutMs: number;
  readonly electionBackoffMaxMs: number;
  /**
   * How long a replica that starts for the first time waits before it asks whether it would be elected, and as much
   * again by chance; `electionTimeoutMs` when left out. A cluster that is born need not wait for a leader that nobody
   * has heard of; where there is one, the question disturbs nobody.
   */
  readonly firstElectionMs?: number;
  readonly fetchTimeoutMs: number;
  readonly retryBackoffMs: number;
  readonly requestTimeoutMs: number;
  /** The longest that a leader may keep a Fetch of ours. */
  readonly fetchMaxWaitMs: number;
  readonly fetchMaxBytes: number;
  readonly fetchSnapshotMaxBytes: number;
}

/** What must survive a crash beside the log: the `quorum-state` file. */
export interface QuorumState {
  readonly leaderId: number;
  readonly leaderEpoch: number;
  readonly voted: ReplicaKey | null;
  /** A voter whose disk is new: what it acknowledged on another one is not known. */
  readonly isCatchingUp: boolean;
}

/** What a replica is made of. */
export interface RaftOptions {
  /** This node and the directory of its log; −1 as id cannot be. */
  readonly self: ReplicaKey;
  /** Where this node listens for the others; the first is the one that is used. */
  readonly endpoints: readonly VoterEndpoint[];
  readonly random: Random;
  readonly settings: RaftSettings;
  readonly log: FoundLog;
  /** Voters of the log; the machine keeps it up from now on. */
  readonly voters: VoterHistory;
  /** Null at the first start. */
  readonly quorumState: QuorumState | null;
  /** Known to be committed. */
  readonly highWatermark: number;
  /** Nodes to ask for the leader while it is not known, beside the voters. */
  readonly bootstrapServers: readonly Address[];
  /** The only voter writes itself down, so that others can be added; false when left out. */
  readonly foundsQuorum?: boolean;
  readonly rules?: RaftRules;
}

/** A change of the log, done in order and before anything is said. */
export type LogChange =
  /** Drop everything from `endOffset` on; done when that is on stable storage. */
  | { readonly kind: "truncate"; readonly endOffset: number }
  /** A leader's batches, as they are. */
  | { readonly kind: "append"; readonly records: Uint8Array; readonly endOffset: number }
  /** One batch of control records of ours. */
  | {
    readonly kind: "appendControl";
    readonly records: readonly NewControlRecord[];
    readonly epoch: number;
    readonly baseOffset: number;
  }
  /** A piece of a snapshot; the first has position 0 and begins it anew. */
  | {
    readonly kind: "writeSnapshot";
    readonly id: OffsetAndEpoch;
    readonly position: number;
    readonly bytes: Uint8Array;
  }
  /** The snapshot is whole: it takes the place of the log. Answered by `snapshotInstalled`. */
  | { readonly kind: "installSnapshot"; readonly id: OffsetAndEpoch };

/** What is to be said. */
export type RaftMessage =
  /** Answered by `answered` or `failed`. */
  | {
    readonly kind: "send";
    readonly requestId: number;
    readonly to: Destination;
    readonly request: RaftRequest;
  }
  | { readonly kind: "answer"; readonly handle: number; readonly decision: RaftDecision }
  /** This replica must not go on: its log contradicts what is committed. */
  | { readonly kind: "failure"; readonly message: string };

/** Who leads; −1 for nobody that is known. */
export interface LeaderAndEpoch {
  readonly leaderId: number;
  readonly leaderEpoch: number;
}

/** What has to be done, field by field. */
export interface Ready {
  /** First: on stable storage before anything that follows. */
  readonly quorumState: QuorumState | null;
  /** Then these, each done before the next. Appends need a sync, which `synced` tells of, and no wait. */
  readonly logChanges: readonly LogChange[];
  /** Then what is before it is handed on as committed. */
  readonly highWatermark: number | null;
  /** Then that is told; a leader hears of itself when all of earlier epochs is committed. */
  readonly leader: LeaderAndEpoch | null;
  /** Last. */
  readonly messages: readonly RaftMessage[];
}

interface Unattached {
  readonly name: "unattached";
  /** Known to lead the epoch, though not where; −1 for nobody. */
  readonly leaderId: number;
  readonly deadlineMs: number;
}

interface Election {
  readonly granted: Set<number>;
  readonly rejected: Set<number>;
}

interface Prospective extends Election {
  readonly name: "prospective";
  readonly leaderId: number;
  readonly leaderAddress: Address | null;
  readonly deadlineMs: number;
  /** Until then another one that would be elected as well goes first. */
  yieldUntilMs: number;
}

interface Candidate extends Election {
  readonly name: "candidate";
  deadlineMs: number;
  isBackingOff: boolean;
}

interface Follower {
  readonly name: "follower";
  readonly leaderId: number;
  readonly leaderAddress: Address;
  deadlineMs: number;
  /** The leader has answered a Fetch, and nothing has made it doubtful since. */
  trustsLeader: boolean;
  /** What the leader says is committed. */
  leaderHighWatermark: number;
  snapshot: { readonly id: OffsetAndEpoch; position: number; isInstalling: boolean } | null;
  updateVoterAtMs: number;
}

interface ParkedFetch {
  readonly handle: number;
  readonly request: FetchRequest;
  readonly untilMs: number;
}

interface Leader {
  readonly name: "leader";
  readonly epochStartOffset: number;
  /** −1 until a record of this epoch is committed. */
  highWatermark: number;
  readonly replicas: ReplicaStates;
  /** Voters that know of this epoch. */
  readonly acknowledged: Set<number>;
  beginEpochAtMs: number;
  readonly change: VoterChange;
  parked: ParkedFetch[];
  /** Not a voter any more. */
  mustResign: boolean;
}

interface Resigned {
  readonly name: "resigned";
  readonly deadlineMs: number;
  readonly unacknowledged: Set<number>;
  readonly preferredCandidates: readonly ReplicaKey[];
}

type Role = Unattached | Prospective | Candidate | Follower | Leader | Resigned;
/** The roles of a replica. */
export type RoleName = Role["name"];

interface SentRequest {
  readonly channel: string;
  readonly to: Destination;
}

/** A replica. Every public method with a `nowMs` takes one event in; `take` gives what came of them. */
export class Raft {
  readonly #self: ReplicaKey;
  readonly #endpoints: readonly VoterEndpoint[];
  readonly #random: Random;
  readonly #settings: RaftSettings;
  readonly #rules: RaftRules;
  readonly #log: RaftLog;
  readonly #voterHistory: VoterHistory;
  readonly #bootstrapServers: readonly Address[];
  readonly #foundsQuorum: boolean;

  #epoch = 0;
  #voted: ReplicaKey | null = null;
  #role: Role;
  #highWatermark: number;
  #electionCount = 0;
  #isShuttingDown = false;
  /**
   * A static voter began with nothing: in a new cluster, or since its disk was replaced. Until it has had all that
   * the leader had, it votes for nobody who has records, nor stands with some of its own. Where it votes for one
   * who has none, the cluster is new.
   */
  #isCatchingUp: boolean;
  #discoveryTurn = 0;

  #nextRequestId = 1;
  readonly #sent = new Map<number, SentRequest>();
  /** Channel of a node → the request that is under way on it. */
  readonly #inFlight = new Map<string, number>();
  /** Channel of a node → when it may be tried again. */
  readonly #backoffs = new Map<string, number>();
  #wakeMs = Infinity;

  #storedState: QuorumState | null;
  #toldHighWatermark: number;
  #toldLeader: LeaderAndEpoch = { leaderId: -1, leaderEpoch: -1 };
  #logChanges: LogChange[] = [];
  #messages: RaftMessage[] = [];

  constructor(options: RaftOptions) {
    this.#self = options.self;
    this.#endpoints = options.endpoints;
    this.#random = options.random;
    this.#settings = options.settings;
    this.#rules = options.rules ?? KRAFT_RULES;
    this.#log = new RaftLog(options.log);
    this.#voterHistory = options.voters;
    this.#bootstrapServers = options.bootstrapServers;
    this.#foundsQuorum = options.foundsQuorum ?? false;
    this.#highWatermark = options.highWatermark;
    this.#toldHighWatermark = options.highWatermark;
    this.#storedState = options.quorumState;
    // One with another directory is another voter, where the voters' directories are known.
    const isStatic = options.voters.latest.get(options.self.id)?.directoryId === ZERO_UUID;
    const isNew = options.quorumState === null && options.log.endOffset === 0;
    this.#isCatchingUp = options.quorumState?.isCatchingUp ?? (isStatic && isNew);
    this.#role = { name: "unattached", leaderId: -1, deadlineMs: Infinity };
  }

  /** Takes up the role that the last run left, as far as it may. */
  start(nowMs: number): void {
    const stored = this.#storedState;
    const { leaderId = -1, leaderEpoch = 0, voted = null } = stored ?? {};
    // In the epoch of the log somebody has led; where the file was lost, that is all that is known.
    const isKnown = leaderEpoch >= this.#log.end.epoch;
    this.#epoch = isKnown ? leaderEpoch : this.#log.end.epoch;
    this.#voted = isKnown ? voted : null;
    const leader = this.#addressOf(leaderId);
    if (this.#voters.isOnly(this.#self)) this.#becomeProspective(nowMs);
    else if (!isKnown) this.#becomeUnattached(-1, nowMs);
    else if (leaderId === this.#self.id) {
      // It must not vote in this epoch nor lead it: what it had not synced is gone.
      this.#become({
        name: "resigned",
        deadlineMs: this.#electionDeadline(nowMs),
        unacknowledged: this.#otherVoterIds(),
        preferredCandidates: [],
      });
    } else if (leader !== null) this.#becomeFollower(leaderId, leader, nowMs);
    else this.#becomeUnattached(leaderId, nowMs);
    if (stored === null) this.#hurryFirstElection(nowMs);
    this.#poll(nowMs);
  }

  #hurryFirstElection(nowMs: number): void {
    const { firstElectionMs } = this.#settings;
    if (firstElectionMs === undefined || this.#role.name !== "unattached") return;
    const deadlineMs = nowMs + firstElectionMs + this.#below(firstElectionMs);
    this.#role = { ...this.#role, deadlineMs };
  }

  get epoch(): number {
    return this.#epoch;
  }
  get role(): RoleName {
    return this.#role.name;
  }
  get voted(): ReplicaKey | null {
    return this.#voted;
  }
  get isLeader(): boolean {
    return this.#role.name === "leader";
  }
  /** Who leads this epoch; −1 when it is not known. */
  get leaderId(): number {
    const role = this.#role;
    if (role.name === "leader") return this.#self.id;
    return role.name === "candidate" || role.name === "resigned" ? -1 : role.leaderId;
  }
  /** Its disk is new, and it may have forgotten what it had acknowledged; see above. */
  get isCatchingUp(): boolean {
    return this.#isCatchingUp;
  }
  /** Known to be committed. */
  get highWatermark(): number {
    return this.#highWatermark;
  }
  get log(): RaftLog {
    return this.#log;
  }

  /**
   * The last moment at which certainly nobody had been elected in a later epoch: a majority has asked this leader
   * for more after that. −Infinity where it does not lead, or has not been asked.
   */
  leadershipConfirmedMs(nowMs: number): number {
    const role = this.#role;
    if (role.name !== "leader") return -Infinity;
    const confirmedMs = this.#voters.voters.map((voter) =>
      isSameReplica(voter, this.#self) ? nowMs : role.replicas.confirmedMs(voter)
    );
    return reachedByMajority(confirmedMs);
  }
  get voterHistory(): VoterHistory {
    return this.#voterHistory;
  }
  /** Time at which `tick` has work; Infinity when there is none. */
  get nextDeadlineMs(): number {
    return this.#wakeMs;
  }
  /** Voters whom a leader that gives the lead up has not told; none any more once another one is known. */
  get untoldCount(): number {
    return this.#role.name === "resigned" ? this.#role.unacknowledged.size : 0;
  }
  /** How far the replicas are that fetch from this leader; null when it is none. */
  get replicas(): ReplicaStates | null {
    return this.#role.name === "leader" ? this.#role.replicas : null;
  }
  /** Who votes: those named last in the log. */
  get voters(): VoterSet {
    return this.#voterHistory.latest;
  }
  get #voters(): VoterSet {
    const latest = this.#voterHistory.latest;
    const committed = this.#voterHistory.votersBefore(this.#highWatermark);
    return this.#rules.votersInForce({ latest, committed });
  }
  get #isVoter(): boolean {
    return this.#voters.has(this.#self);
  }

  /** What has come of the events since the last call; null for nothing. */
  take(): Ready | null {
    const state = this.#durableState();
    const isStored = isSameState(state, this.#storedState);
    const leader = this.#visibleLeader();
    const isTold = leader.leaderId === this.#toldLeader.leaderId &&
      leader.leaderEpoch === this.#toldLeader.leaderEpoch;
    const isHighWatermarkTold = this.#highWatermark === this.#toldHighWatermark;
    const isNothingNew = isStored && isTold && isHighWatermarkTold &&
      this.#logChanges.length === 0 && this.#messages.length === 0;
    if (isNothingNew) return null;
    const ready: Ready = {
      quorumState: isStored ? null : state,
      logChanges: this.#logChanges,
      highWatermark: isHighWatermarkTold ? null : this.#highWatermark,
      leader: isTold ? null : leader,
      messages: this.#messages,
    };
    this.#storedState = state;
    this.#toldLeader = leader;
    this.#toldHighWatermark = this.#highWatermark;
    this.#logChanges = [];
    this.#messages = [];
    return ready;
  }

  #durableState(): QuorumState {
    const { name } = this.#role;
    // Whoever has led an epoch will not vote in it: that says more than a vote.
    const hasLed = name === "leader" || name === "resigned";
    const leaderId = hasLed ? this.#self.id : this.leaderId;
    const voted = hasLed ? null : this.#voted;
    return { leaderId, leaderEpoch: this.#epoch, voted, isCatchingUp: this.#isCatchingUp };
  }

  #visibleLeader(): LeaderAndEpoch {
    const role = this.#role;
    const isSettling = role.name === "leader" && role.highWatermark < 0;
    return { leaderId: isSettling ? -1 : this.leaderId, leaderEpoch: this.#epoch };
  }

  // ── events ──────────────────────────────────────────────────────────────────────────────────────

  /** Time has passed. */
  tick(nowMs: number): void {
    this.#poll(nowMs);
  }

  /** The driver has appended records for this leader, which end before `endOffset`. */
  appended(endOffset: number, nowMs: number): void {
    assert(this.#role.name === "leader", "an append by a replica that does not lead");
    this.#log.append(this.#epoch, endOffset);
    this.#poll(nowMs);
  }

  /**
   * An append that the machine had asked for could not be made, since there is no room: the log ends at
   * `endOffset` still.
   */
  appendFailed(endOffset: number, nowMs: number): void {
    this.#log.truncateTo(endOffset);
    this.#voterHistory.truncateFromEnd(endOffset);
    const role = this.#role;
    if (role.name === "leader") this.#resign(nowMs);
    else if (role.name === "follower") {
      this.#backoffs.set(`${role.leaderId}/fetch`, nowMs + DISCOVERY_BACKOFF_MS);
    }
    this.#poll(nowMs);
  }

  /** Everything before `syncedOffset` is on stable storage. */
  synced(syncedOffset: number, nowMs: number): void {
    this.#log.synced(syncedOffset);
    this.#poll(nowMs);
  }

  /** A snapshot of our own was written, and the log begins at `logStartOffset`. */
  snapshotTaken(id: OffsetAndEpoch, logStartOffset: number): void {
    this.#log.noteSnapshot(id, logStartOffset);
    this.#voterHistory.truncateFromStart(logStartOffset);
  }

  /** The snapshot that was fetched has taken the place of the log. */
  snapshotInstalled(
    id: OffsetAndEpoch,
    content: { readonly voters: VoterSet | null; readonly kraftVersion: number },
    nowMs: number,
  ): void {
    this.#log.replaceBy(id);
    const voters = content.voters ?? this.#voterHistory.latest;
    this.#voterHistory.restart(voters, content.kraftVersion);
    this.#highWatermark = Math.max(this.#highWatermark, id.offset);
    if (this.#role.name === "follower") this.#role.snapshot = null;
    this.#poll(nowMs);
  }

  /** The snapshot that was fetched is of no use: it is asked for again. */
  snapshotRefused(nowMs: number): void {
    if (this.#role.name === "follower") this.#role.snapshot = null;
    this.#poll(nowMs);
  }

  /** Gives up the lead, for a shutdown: no election is begun from now on. */
  shutDown(nowMs: number): void {
    this.#isShuttingDown = true;
    if (this.#role.name === "leader") this.#resign(nowMs);
    this.#poll(nowMs);
  }

  /** Gives up the lead; this node may be elected again. */
  resign(nowMs: number): void {
    if (this.#role.name === "leader") this.#resign(nowMs);
    this.#poll(nowMs);
  }

  // ── requests of others ──────────────────────────────────────────────────────────────────────────

  /** Another replica asks for a vote, or whether it would get one. */
  vote(handle: number, request: VoteRequest, nowMs: number): void {
    this.#answer(handle, this.#decideVote(request, nowMs));
    this.#poll(nowMs);
  }

  #decideVote(request: VoteRequest, nowMs: number): VoteAnswer {
    const { candidate, candidateEpoch, voter, last, isPreVote } = request;
    const refuse = (error: ErrorCode): VoteAnswer => (
      { kind: "vote", isGranted: false, ...this.#head(error) }
    );
    const highestEpoch = isPreVote ? candidateEpoch : candidateEpoch - 1;
    if (last.offset < 0 || last.epoch < 0 || last.epoch > highestEpoch || candidate.id < 0) {
      return refuse(ErrorCode.INVALID_REQUEST);
    }
    if (candidateEpoch < this.#epoch) return refuse(ErrorCode.FENCED_LEADER_EPOCH);
    if (candidateEpoch > this.#epoch) this.#enterEpoch(candidateEpoch, nowMs);
    if (!this.#isMeant(voter)) return refuse(ErrorCode.INVALID_VOTER_KEY);
    const isGranted = this.#rules.grantsVote({
      isPreVote,
      isUpToDate: this.#rules.isUpToDate(last, this.#log.end),
      votedFor: this.#votedFor(candidate),
      knowsLeader: this.#knowsLeader,
      trustsLeader: this.#trustsLeader,
      mayHaveForgotten: this.#isCatchingUp && last.epoch > 0,
    });
    if (isPreVote) {
      this.#askAgain(candidate.id);
      if (isGranted) this.#yieldTo(candidate.id, nowMs);
    } else if (isGranted && this.#voted === null) this.#noteVote(candidate, nowMs);
    return { kind: "vote", isGranted, ...this.#head(ErrorCode.NONE) };
  }

  /** Who looks for votes itself does not trust the leader any more, and may vote for us now. */
  #askAgain(candidateId: number): void {
    if (this.#role.name === "prospective") this.#role.rejected.delete(candidateId);
  }

  /**
   * Followers of one leader miss it at the same moment: without an order each would vote for itself, in the same epoch,
   * and nobody would be elected until one has waited for an election timeout.
   */
  #yieldTo(candidateId: number, nowMs: number): void {
    const role = this.#role;
    if (role.name !== "prospective" || candidateId > this.#self.id) return;
    role.yieldUntilMs = nowMs + YIELD_MS;
  }

  /** Whoever gets our vote has as good a chance as we have: the wait begins anew. */
  #noteVote(candidate: ReplicaKey, nowMs: number): void {
    this.#isCatchingUp = false;
    this.#becomeUnattached(-1, nowMs);
    this.#voted = candidate;
  }

  #votedFor(candidate: ReplicaKey): "candidate" | "other" | "nobody" {
    if (this.#role.name === "resigned") return "other";
    if (this.#voted === null) return "nobody";
    return isSameReplica(this.#voted, candidate) ? "candidate" : "other";
  }

  get #knowsLeader(): boolean {
    return this.leaderId >= 0;
  }

  get #trustsLeader(): boolean {
    const role = this.#role;
    return role.name === "leader" || (role.name === "follower" && role.trustsLeader);
  }

  /** A leader tells of its epoch. */
  beginQuorumEpoch(handle: number, request: BeginQuorumEpochRequest, nowMs: number): void {
    const { leaderId, leaderEpoch, voter, leaderEndpoints } = request;
    const head = this.#followTo(leaderId, leaderEpoch, leaderEndpoints, nowMs);
    const isOther = head.error === ErrorCode.NONE && !this.#isMeant(voter);
    const error = isOther ? ErrorCode.INVALID_VOTER_KEY : head.error;
    this.#answer(handle, { kind: "beginQuorumEpoch", ...head, error });
    this.#poll(nowMs);
  }

  /** A leader steps down: those that it names first are to stand for election first. */
  endQuorumEpoch(handle: number, request: EndQuorumEpochRequest, nowMs: number): void {
    const { leaderId, leaderEpoch, leaderEndpoints, preferredCandidates } = request;
    const head = this.#followTo(leaderId, leaderEpoch, leaderEndpoints, nowMs);
    const role = this.#role;
    const isOurs = role.name === "follower" && role.leaderId === leaderId;
    if (head.error === ErrorCode.NONE && isOurs) {
      role.trustsLeader = false;
      role.deadlineMs = nowMs + this.#succession(preferredCandidates);
    }
    this.#answer(handle, { kind: "endQuorumEpoch", ...head });
    this.#poll(nowMs);
  }

  /** The first successor stands at once, each further one later. Units: ms. */
  #succession(preferred: readonly ReplicaKey[]): number {
    const { electionBackoffMaxMs } = this.#settings;
    const found = preferred.findIndex((candidate) => isSameReplica(candidate, this.#self));
    const position = found < 0 ? preferred.length : found;
    if (position === 0) return 0;
    if (position >= preferred.length) return electionBackoffMaxMs;
    const base = Math.floor(electionBackoffMaxMs / 2 ** (preferred.length - 1));
    return Math.min(electionBackoffMaxMs, base * 2 ** (position - 1));
  }

  #followTo(
    leaderId: number,
    leaderEpoch: number,
    endpoints: readonly VoterEndpoint[],
    nowMs: number,
  ): AnswerHead {
    if (leaderEpoch < this.#epoch) return this.#head(ErrorCode.FENCED_LEADER_EPOCH);
    const isOther = leaderEpoch === this.#epoch && this.#knowsLeader && this.leaderId !== leaderId;
    // Two leaders of one epoch: somebody lies, or it is this node's own ghost.
    if (leaderId < 0 || leaderId === this.#self.id || isOther) {
      return this.#head(ErrorCode.INVALID_REQUEST);
    }
    this.#learnLeader(leaderId, leaderEpoch, this.#pick(endpoints), nowMs);
    // It is there after all.
    const { name } = this.#role;
    const address = this.#pick(endpoints) ?? this.leaderAddress;
    if (name === "prospective" && address !== null) this.#becomeFollower(leaderId, address, nowMs);
    return this.#head(ErrorCode.NONE);
  }

  /** A replica wants records. */
  fetch(handle: number, request: FetchRequest, nowMs: number): void {
    const { last, currentLeaderEpoch } = request;
    const isInvalid = last.offset < 0 || last.epoch < 0 || last.epoch > currentLeaderEpoch ||
      request.replica.id === this.#self.id;
    const error = isInvalid ? ErrorCode.INVALID_REQUEST : this.#leaderOnly(currentLeaderEpoch);
    if (this.#role.name !== "leader" || error !== ErrorCode.NONE) {
      this.#answer(handle, this.#fetchDecision(error));
      this.#poll(nowMs);
      return;
    }
    const leader = this.#role;
    const position = this.#log.check(last);
    if (position.kind === "valid") {
      leader.replicas.fetched(request.replica, last.offset, this.#log.endOffset, nowMs);
      leader.acknowledged.add(request.replica.id);
      this.#advanceLeader(nowMs);
      this.#park(leader, handle, request, nowMs);
    } else {
      leader.replicas.seen(request.replica, nowMs);
      const { kind } = position;
      this.#answer(handle, {
        ...this.#fetchDecision(ErrorCode.NONE),
        diverging: kind === "diverging" ? position.end : null,
        snapshotId: kind === "snapshot" ? position.id : null,
      });
    }
    this.#poll(nowMs);
  }

  #park(leader: Leader, handle: number, request: FetchRequest, nowMs: number): void {
    const parked = { handle, request, untilMs: nowMs + request.maxWaitMs };
    const isFull = leader.parked.length >= MAX_PARKED_FETCHES;
    if (isFull || request.maxWaitMs <= 0 || this.#hasNews(leader, request)) {
      this.#answerFetch(leader, parked, nowMs);
    } else leader.parked.push(parked);
  }

  #hasNews(leader: Leader, { last, highWatermark }: FetchRequest): boolean {
    return this.#log.endOffset > last.offset || leader.highWatermark > highWatermark;
  }

  #answerFetch(leader: Leader, { handle, request }: ParkedFetch, nowMs: number): void {
    leader.replicas.answered(request.replica, nowMs);
    const { offset } = request.last;
    const readFrom = offset < this.#log.endOffset ? offset : null;
    const { maxBytes } = request;
    this.#answer(handle, { ...this.#fetchDecision(ErrorCode.NONE), readFrom, maxBytes });
  }

  #fetchDecision(error: ErrorCode): FetchDecision {
    return {
      kind: "fetch",
      ...this.#head(error),
      highWatermark: this.#role.name === "leader" ? this.#role.highWatermark : -1,
      logStartOffset: this.#log.startOffset,
      diverging: null,
      snapshotId: null,
      readFrom: null,
      maxBytes: 0,
    };
  }

  /** A replica wants a piece of a snapshot. */
  fetchSnapshot(handle: number, request: FetchSnapshotRequest, nowMs: number): void {
    const error = this.#leaderOnly(request.currentLeaderEpoch);
    const { snapshotId, position, maxBytes } = request;
    if (error === ErrorCode.NONE && this.#role.name === "leader") {
      this.#role.replicas.seen(request.replica, nowMs);
    }
    const head = this.#head(error);
    this.#answer(handle, { kind: "fetchSnapshot", ...head, snapshotId, position, maxBytes });
    this.#poll(nowMs);
  }

  #leaderOnly(epoch: number): ErrorCode {
    if (epoch < this.#epoch) return ErrorCode.FENCED_LEADER_EPOCH;
    if (epoch > this.#epoch) return ErrorCode.UNKNOWN_LEADER_EPOCH;
    return this.isLeader ? ErrorCode.NONE : ErrorCode.NOT_LEADER_OR_FOLLOWER;
  }

  // ── changes of the voters ───────────────────────────────────────────────────────────────────────

  /** Somebody wants one more voter: an observer that has caught up. */
  addVoter(
    handle: number,
    request: {
      readonly voter: Voter;
      readonly timeoutMs: number;
      readonly ackWhenCommitted: boolean;
    },
    nowMs: number,
  ): void {
    const role = this.#role;
    if (role.name !== "leader") this.#answer(handle, notLeader());
    else {
      const refusal = this.#refuseChange(role) ??
        role.change.refuseAdding(request.voter, this.#voterHistory.latest);
      if (refusal !== null) this.#answer(handle, refusal);
      else role.change.beginAdding(handle, request, nowMs);
    }
    this.#poll(nowMs);
  }

  /** Somebody wants a voter gone; it may be the leader itself. */
  removeVoter(
    handle: number,
    request: { readonly voter: ReplicaKey },
    nowMs: number,
  ): void {
    const role = this.#role;
    if (role.name !== "leader") {
      this.#answer(handle, notLeader());
      this.#poll(nowMs);
      return;
    }
    const refusal = this.#refuseChange(role);
    const voters = this.#voterHistory.latest.minus(request.voter);
    if (refusal !== null) this.#answer(handle, refusal);
    else if (voters === null) this.#answer(handle, role.change.notFound(request.voter));
    else {
      const lastOffset = this.#appendVoters(voters);
      role.change.beginWritten(handle, lastOffset, nowMs + this.#settings.requestTimeoutMs);
    }
    this.#poll(nowMs);
  }

  /**
   * Somebody wants the voters in the log, where they can be changed, in place of those of the settings. All of them
   * must be there: what tells a voter from then on is the directory that it has now.
   */
  upgradeVoters(handle: number, nowMs: number): void {
    const role = this.#role;
    if (role.name !== "leader") this.#answer(handle, notLeader());
    else if (this.#voterHistory.kraftVersion === MAX_KRAFT_VERSION) {
      this.#answer(handle, { kind: "voterChange", error: ErrorCode.NONE, message: null });
    } else {
      const refusal = this.#refuseChange(role, MAX_KRAFT_VERSION);
      const found = this.#votersWithDirectories(role, nowMs);
      if (refusal !== null) this.#answer(handle, refusal);
      else if (!(found instanceof VoterSet)) this.#answer(handle, role.change.silent(found));
      else {
        // In one batch: neither holds without the other.
        const baseOffset = this.#log.endOffset;
        this.#appendControl([kraftVersionRecord(MAX_KRAFT_VERSION), votersRecord(found)]);
        this.#voterHistory.noteKraftVersion(baseOffset, MAX_KRAFT_VERSION);
        this.#voterHistory.noteVoters(baseOffset + 1, found);
        const deadlineMs = nowMs + this.#settings.requestTimeoutMs;
        role.change.beginWritten(handle, baseOffset + 1, deadlineMs);
      }
    }
    this.#poll(nowMs);
  }

  /** The voters with the directories that they fetch from; or those that have not lately. */
  #votersWithDirectories(leader: Leader, nowMs: number): VoterSet | readonly Voter[] {
    const silent: Voter[] = [];
    const voters = this.#voterHistory.latest.voters.map((voter): Voter => {
      if (isSameReplica(voter, this.#self)) return this.#selfAsVoter;
      const { directoryId } = leader.replicas.ofVoter(voter).key;
      const isHere = leader.replicas.caughtUpAgoMs(voter, nowMs) <= this.#settings.fetchTimeoutMs;
      if (!isHere || directoryId === ZERO_UUID) silent.push(voter);
      return { ...voter, directoryId };
    });
    return silent.length > 0 ? silent : new VoterSet(voters);
  }

  /** A voter has other endpoints or versions than the log says. Answered when it is written. */
  updateVoter(handle: number, request: UpdateVoterRequest, nowMs: number): void {
    const role = this.#role;
    let error = this.#leaderOnly(request.currentLeaderEpoch);
    if (role.name === "leader" && error === ErrorCode.NONE) {
      const voters = this.#voterHistory.latest.updated(request.voter);
      error = this.#refuseChange(role)?.error ?? ErrorCode.NONE;
      if (error === ErrorCode.NONE) {
        if (voters === null) error = ErrorCode.VOTER_NOT_FOUND;
        else if (this.#voterHistory.latest.needsUpdate(request.voter)) this.#appendVoters(voters);
      }
    }
    this.#answer(handle, { kind: "updateVoter", ...this.#head(error) });
    this.#poll(nowMs);
  }

  #refuseChange(leader: Leader, kraftVersion = this.#voterHistory.kraftVersion) {
    return leader.change.refusal({
      highWatermark: leader.highWatermark,
      kraftVersion,
      votersOffset: this.#voterHistory.latestOffset,
    });
  }

  #pollChange(leader: Leader, nowMs: number): void {
    const { change } = leader;
    const probed = change.toProbe();
    if (probed !== null) {
      const address = this.#pick(probed.endpoints);
      if (address !== null) {
        this.#send({ id: probed.id, ...address }, "probe", nowMs, () => ({ kind: "probe" }));
      }
    }
    const added = change.takeAdded((key) => leader.replicas.caughtUpAgoMs(key, nowMs));
    if (added !== null) {
      const voters = this.#voterHistory.latest.plus(added);
      assert(voters !== null, "a voter that was added twice");
      change.appended(this.#appendVoters(voters));
    }
    for (const { handle, decision } of change.takeAnswers(leader.highWatermark, nowMs)) {
      this.#answer(handle, decision);
    }
    this.#wakeAt(change.deadlineMs);
    const isGone = leader.highWatermark > this.#voterHistory.latestOffset && !this.#isVoter;
    if (isGone) leader.mustResign = true;
  }

  #appendVoters(voters: VoterSet): number {
    const baseOffset = this.#log.endOffset;
    this.#appendControl([votersRecord(voters)]);
    this.#voterHistory.noteVoters(baseOffset, voters);
    return baseOffset;
  }

  // ── answers of others ───────────────────────────────────────────────────────────────────────────

  /** A request could not be sent, or was not answered in time. */
  failed(
    requestId: number,
    { isRefused }: {
      /** Nobody listens there. */
      readonly isRefused: boolean;
    },
    nowMs: number,
  ): void {
    const sent = this.#arrived(requestId);
    if (sent === null) return;
    this.#backOff(sent, nowMs);
    const role = this.#role;
    if (role.name === "follower" && isRefused && sent.to.id === role.leaderId) {
      // Its process has ended. To ask the others whether they would vote disturbs nobody, should it be back.
      role.trustsLeader = false;
      const suspicionMs = SUSPICION_MS + this.#below(SUSPICION_JITTER_MS);
      role.deadlineMs = Math.min(role.deadlineMs, nowMs + suspicionMs);
    }
    if (role.name === "leader") role.change.probeFailed(sent.to.id);
    this.#poll(nowMs);
  }

  /** A request of ours was answered. */
  answered(requestId: number, answer: RaftAnswer, nowMs: number): void {
    const sent = this.#arrived(requestId);
    if (sent === null) return;
    if (answer.kind === "probe") this.#probed(sent.to.id, answer);
    else if (!this.#isHandled(answer, sent, nowMs)) this.#useAnswer(answer, sent, nowMs);
    this.#poll(nowMs);
  }

  /** The request, if what comes of it still matters. */
  #arrived(requestId: number): SentRequest | null {
    const sent = this.#sent.get(requestId);
    if (sent === undefined) return null;
    this.#sent.delete(requestId);
    this.#inFlight.delete(sent.channel);
    return sent;
  }

  #probed(nodeId: number, answer: ProbeAnswer): void {
    if (this.#role.name !== "leader") return;
    this.#role.change.probed(nodeId, answer, this.#voterHistory.kraftVersion);
  }

  /** Works with what every answer says of leader and epoch. Returns: true when no more is in it. */
  #isHandled(
    answer: Exclude<RaftAnswer, ProbeAnswer>,
    sent: SentRequest,
    nowMs: number,
  ): boolean {
    const { error, leaderId, leaderEpoch, leaderAddress } = answer;
    const role = this.#role;
    if (leaderEpoch >= this.#epoch && error !== ErrorCode.UNKNOWN_LEADER_EPOCH) {
      const isAnother = leaderEpoch === this.#epoch && this.#knowsLeader &&
        leaderId !== this.leaderId;
      if (leaderEpoch > this.#epoch || (leaderId >= 0 && !isAnother)) {
        this.#learnLeader(leaderId, leaderEpoch, leaderAddress, nowMs);
      }
      const isFollowing = this.#role.name === "follower" && answer.kind === "fetch" &&
        leaderEpoch === this.#epoch && this.#role.leaderId === leaderId;
      const isUsable = role === this.#role || isFollowing;
      if (error === ErrorCode.NONE && isUsable && leaderEpoch === this.#epoch) return false;
    }
    if (role === this.#role) this.#backOff(sent, nowMs);
    return true;
  }

  #useAnswer(answer: Exclude<RaftAnswer, ProbeAnswer>, sent: SentRequest, nowMs: number): void {
    const role = this.#role;
    switch (answer.kind) {
      case "vote":
        return this.#countVote(sent.to.id, answer.isGranted, nowMs);
      case "fetch":
        if (role.name === "follower") this.#useFetched(role, answer, nowMs);
        return;
      case "fetchSnapshot":
        if (role.name === "follower") this.#useSnapshotPiece(role, answer, nowMs);
        return;
      case "beginQuorumEpoch":
        if (role.name === "leader") role.acknowledged.add(sent.to.id);
        return;
      case "endQuorumEpoch":
        if (role.name === "resigned") role.unacknowledged.delete(sent.to.id);
        return;
      case "updateVoter":
    }
  }

  #countVote(voterId: number, isGranted: boolean, nowMs: number): void {
    const role = this.#role;
    if (role.name !== "prospective" && role.name !== "candidate") return;
    (isGranted ? role.granted : role.rejected).add(voterId);
    if (this.#tally(role) === "won") {
      if (role.name === "prospective") this.#standUnlessYielding(role, nowMs);
      else this.#becomeLeader(nowMs);
    }
  }

  #standUnlessYielding(role: Prospective, nowMs: number): void {
    if (nowMs >= role.yieldUntilMs) this.#becomeCandidate(nowMs);
    else this.#wakeAt(role.yieldUntilMs);
  }

  #tally({ granted, rejected }: Election): Tally {
    const voters = this.#voters;
    const count = (ids: Set<number>) => voters.ids.filter((id) => ids.has(id)).length;
    return tally({
      voterCount: voters.size,
      granted: count(granted),
      rejected: count(rejected),
    });
  }

  #useFetched(role: Follower, answer: FetchAnswer, nowMs: number): void {
    role.deadlineMs = nowMs + this.#settings.fetchTimeoutMs;
    role.trustsLeader = true;
    if (answer.diverging !== null) {
      this.#cut(answer.diverging);
      return;
    }
    if (answer.snapshotId !== null) {
      role.snapshot = { id: answer.snapshotId, position: 0, isInstalling: false };
      return;
    }
    // It asked with all that it had on stable storage, and there was no more: the leader has all that is committed.
    if (answer.batches.length === 0) this.#isCatchingUp = false;
    this.#appendFetched(answer);
    role.leaderHighWatermark = Math.max(role.leaderHighWatermark, answer.highWatermark);
  }

  /** Drops what the leader's log does not have. */
  #cut(leaderEnd: OffsetAndEpoch): void {
    const own = this.#log.endOf(leaderEnd.epoch);
    const endOffset = own.epoch === leaderEnd.epoch
      ? Math.min(own.offset, leaderEnd.offset)
      : own.offset;
    if (endOffset < this.#highWatermark) {
      this.#messages.push({
        kind: "failure",
        message: `The leader's log parts from ours at offset ${endOffset}, and all before ` +
          `${this.#highWatermark} is committed: a majority has lost records; restore it from a backup`,
      });
      return;
    }
    if (!this.#rules.truncates || endOffset >= this.#log.endOffset) return;
    this.#log.truncateTo(endOffset);
    this.#voterHistory.truncateFromEnd(endOffset);
    this.#logChanges.push({ kind: "truncate", endOffset });
  }

  #appendFetched({ records, batches }: FetchAnswer): void {
    const first = batches[0];
    // Not what was asked for: it is asked for again.
    if (first === undefined || first.baseOffset !== this.#log.endOffset) return;
    for (const batch of batches) {
      this.#log.append(batch.epoch, batch.lastOffset + 1);
      for (const change of batch.changes) {
        if (change.kind === "voters") this.#voterHistory.noteVoters(change.offset, change.voters);
        else this.#voterHistory.noteKraftVersion(change.offset, change.version);
      }
    }
    this.#logChanges.push({ kind: "append", records, endOffset: this.#log.endOffset });
  }

  #useSnapshotPiece(role: Follower, answer: FetchSnapshotAnswer, nowMs: number): void {
    role.deadlineMs = nowMs + this.#settings.fetchTimeoutMs;
    const { snapshot } = role;
    if (snapshot === null || snapshot.isInstalling) return;
    const { id, position } = snapshot;
    const { snapshotId, bytes, sizeBytes } = answer;
    const isExpected = snapshotId.offset === id.offset && snapshotId.epoch === id.epoch &&
      answer.position === position && bytes.length > 0;
    if (!isExpected) {
      role.snapshot = null;
      return;
    }
    this.#logChanges.push({ kind: "writeSnapshot", id, position, bytes });
    snapshot.position += bytes.length;
    if (snapshot.position < sizeBytes) return;
    snapshot.isInstalling = true;
    this.#logChanges.push({ kind: "installSnapshot", id });
  }

  // ── roles ───────────────────────────────────────────────────────────────────────────────────────

  #become(role: Role): void {
    const before = this.#role;
    this.#role = role;
    // What was asked for in the old role is not waited for.
    this.#sent.clear();
    this.#inFlight.clear();
    this.#backoffs.clear();
    if (before.name !== "leader") return;
    for (const { handle } of before.parked) {
      this.#answer(handle, this.#fetchDecision(ErrorCode.NOT_LEADER_OR_FOLLOWER));
    }
    for (const { handle, decision } of before.change.abandon()) this.#answer(handle, decision);
  }

  #raiseEpoch(epoch: number): void {
    assert(epoch > this.#epoch);
    this.#epoch = epoch;
    this.#voted = null;
  }

  /** An epoch that nobody is known to lead. */
  #enterEpoch(epoch: number, nowMs: number): void {
    const role = this.#role;
    this.#raiseEpoch(epoch);
    const wasWaiting = role.name === "unattached" || role.name === "candidate" ||
      role.name === "prospective";
    this.#becomeUnattached(-1, nowMs, wasWaiting ? role.deadlineMs : undefined);
  }

  #becomeUnattached(leaderId: number, nowMs: number, deadlineMs?: number): void {
    this.#become({
      name: "unattached",
      leaderId,
      deadlineMs: deadlineMs ?? this.#electionDeadline(nowMs),
    });
  }

  /** Somebody says who leads an epoch that is not before ours; −1 for nobody. */
  #learnLeader(leaderId: number, epoch: number, address: Address | null, nowMs: number): void {
    const isElse = leaderId >= 0 && leaderId !== this.#self.id;
    const found = isElse ? address ?? this.#addressOf(leaderId) : null;
    if (epoch > this.#epoch) {
      if (found === null) this.#enterEpoch(epoch, nowMs);
      else {
        this.#raiseEpoch(epoch);
        this.#becomeFollower(leaderId, found, nowMs);
      }
      return;
    }
    const { name } = this.#role;
    // Who looks for votes since its leader is silent is not sent back to it by what others believe.
    const isFree = name === "unattached" || name === "candidate" ||
      (name === "prospective" && !this.#knowsLeader);
    if (found !== null && isFree) this.#becomeFollower(leaderId, found, nowMs);
  }

  #becomeFollower(leaderId: number, leaderAddress: Address, nowMs: number): void {
    this.#electionCount = 0;
    this.#become({
      name: "follower",
      leaderId,
      leaderAddress,
      deadlineMs: nowMs + this.#settings.fetchTimeoutMs,
      trustsLeader: false,
      leaderHighWatermark: -1,
      snapshot: null,
      updateVoterAtMs: nowMs + UPDATE_VOTER_INTERVAL_MS,
    });
  }

  /** Asks whether it would be elected, in this epoch still. */
  #becomeProspective(nowMs: number): void {
    const role: Prospective = {
      name: "prospective",
      leaderId: this.leaderId,
      leaderAddress: this.#role.name === "follower" ? this.#role.leaderAddress : null,
      deadlineMs: this.#electionDeadline(nowMs),
      granted: new Set([this.#self.id]),
      yieldUntilMs: -Infinity,
      rejected: new Set(),
    };
    this.#become(role);
    if (this.#tally(role) === "won") this.#becomeCandidate(nowMs);
  }

  #becomeCandidate(nowMs: number): void {
    this.#raiseEpoch(this.#epoch + 1);
    this.#voted = this.#self;
    this.#electionCount++;
    const role: Candidate = {
      name: "candidate",
      deadlineMs: this.#electionDeadline(nowMs),
      isBackingOff: false,
      granted: new Set([this.#self.id]),
      rejected: new Set(),
    };
    this.#become(role);
    if (this.#tally(role) === "won") this.#becomeLeader(nowMs);
  }

  #becomeLeader(nowMs: number): void {
    assert(this.#role.name === "candidate");
    const { granted } = this.#role;
    this.#electionCount = 0;
    this.#isCatchingUp = false;
    const role: Leader = {
      name: "leader",
      epochStartOffset: this.#log.endOffset,
      highWatermark: -1,
      replicas: new ReplicaStates(this.#self, nowMs),
      acknowledged: new Set(),
      beginEpochAtMs: nowMs,
      change: new VoterChange(this.#settings),
      parked: [],
      mustResign: false,
    };
    this.#become(role);
    const voters = this.#voterHistory.latest;
    this.#appendControl([
      {
        type: "leaderChange",
        message: {
          version: LEADER_CHANGE_VERSION,
          leaderId: this.#self.id,
          voters: voters.ids.map((voterId) => ({ voterId })),
          grantingVoters: [...granted].map((voterId) => ({ voterId })),
        },
      },
    ]);
    this.#appendFirstVoters();
  }

  /** Writes down what the log does not say: the first voters, and where this one listens now. */
  #appendFirstVoters(): void {
    const { latest, latestOffset, kraftVersion } = this.#voterHistory;
    const isFounder = kraftVersion === 0 && this.#foundsQuorum && latest.isOnly(this.#self);
    if (kraftVersion === 0 && !isFounder) return;
    // A bootstrap snapshot says it to the nodes that were formatted with it, and is not sent to others.
    const isUnwritten = isFounder || (latestOffset < 0 && this.#log.startOffset === 0);
    const voters = latest.updated(this.#selfAsVoter) ?? latest;
    if (!isUnwritten && !latest.needsUpdate(this.#selfAsVoter)) return;
    if (isUnwritten) {
      const kRaftVersion = isFounder ? MAX_KRAFT_VERSION : kraftVersion;
      this.#voterHistory.noteKraftVersion(this.#log.endOffset, kRaftVersion);
      this.#appendControl([kraftVersionRecord(kRaftVersion)]);
    }
    this.#appendVoters(voters);
  }

  get #selfAsVoter(): Voter {
    return {
      ...this.#self,
      endpoints: this.#endpoints,
      minKraftVersion: 0,
      maxKraftVersion: MAX_KRAFT_VERSION,
    };
  }

  #resign(nowMs: number): void {
    assert(this.#role.name === "leader");
    const preferredCandidates = this.#role.replicas.successors(this.#voters);
    this.#become({
      name: "resigned",
      deadlineMs: this.#electionDeadline(nowMs),
      unacknowledged: this.#otherVoterIds(),
      preferredCandidates,
    });
  }

  #appendControl(records: readonly NewControlRecord[]): void {
    const baseOffset = this.#log.endOffset;
    this.#log.append(this.#epoch, baseOffset + records.length);
    this.#logChanges.push({ kind: "appendControl", records, epoch: this.#epoch, baseOffset });
  }

  /** Moves what has become committed, on a leader. */
  #advanceLeader(nowMs: number): void {
    const role = this.#role;
    if (role.name !== "leader") return;
    const offsets = this.#voters.voters.map((voter) =>
      isSameReplica(voter, this.#self) ? this.#log.syncedOffset : role.replicas.endOffsetOf(voter)
    );
    const highWatermark = this.#rules.highWatermark({
      offsets,
      epochStartOffset: role.epochStartOffset,
      current: role.highWatermark,
    });
    assert(highWatermark >= role.highWatermark && highWatermark <= this.#log.endOffset);
    role.highWatermark = highWatermark;
    this.#highWatermark = Math.max(this.#highWatermark, highWatermark);
    const [waiting, done] = [[], []] as ParkedFetch[][];
    for (const parked of role.parked) {
      const isDone = nowMs >= parked.untilMs || this.#hasNews(role, parked.request);
      (isDone ? done! : waiting!).push(parked);
      if (!isDone) this.#wakeAt(parked.untilMs);
    }
    role.parked = waiting!;
    for (const parked of done!) this.#answerFetch(role, parked, nowMs);
  }

  // ── what time and state make due ────────────────────────────────────────────────────────────────

  #poll(nowMs: number): void {
    let before: Role;
    do {
      before = this.#role;
      this.#wakeMs = Infinity;
      this.#pollRole(nowMs);
    } while (this.#role !== before);
  }

  #pollRole(nowMs: number): void {
    const role = this.#role;
    switch (role.name) {
      case "unattached":
        return this.#pollUnattached(role, nowMs);
      case "prospective":
        return this.#pollProspective(role, nowMs);
      case "candidate":
        return this.#pollCandidate(role, nowMs);
      case "follower":
        return this.#pollFollower(role, nowMs);
      case "leader":
        return this.#pollLeader(role, nowMs);
      case "resigned":
        return this.#pollResigned(role, nowMs);
    }
  }

  get #mayStand(): boolean {
    if (this.#isShuttingDown || (this.#isCatchingUp && this.#log.endOffset > 0)) return false;
    return this.#isVoter || this.#isRemovedInDoubt;
  }

  /**
   * Its removal is in its log, and may be in no other: then nobody else can be elected, as their logs are behind.
   * It does not count itself, and goes once the removal is committed. Source: Raft thesis, section 4.2.2.
   */
  get #isRemovedInDoubt(): boolean {
    const { latestOffset } = this.#voterHistory;
    if (latestOffset < 0 || latestOffset < this.#highWatermark) return false;
    return this.#voterHistory.votersBefore(latestOffset).has(this.#self);
  }

  #pollUnattached(role: Unattached, nowMs: number): void {
    if (this.#mayStand) {
      if (nowMs >= role.deadlineMs) return this.#becomeProspective(nowMs);
      this.#wakeAt(role.deadlineMs);
    }
    this.#discover(nowMs);
  }

  /** Asks the other nodes, one after another, who leads. */
  #discover(nowMs: number): void {
    const others = this.#voters.voters.filter(({ id }) => id !== this.#self.id);
    const nodes: Destination[] = others.flatMap(({ id, endpoints }) => {
      const address = this.#pick(endpoints);
      return address === null ? [] : [{ id, ...address }];
    });
    const own = this.#pick(this.#endpoints);
    for (const { host, port } of this.#bootstrapServers) {
      const isKnown = [...nodes, own].some((node) => node?.host === host && node.port === port);
      if (!isKnown) nodes.push({ id: -1, host, port });
    }
    const node = nodes[this.#discoveryTurn % nodes.length];
    if (node === undefined || this.#log.syncedOffset < this.#log.endOffset) return;
    const isSent = this.#send(node, "discover", nowMs, () => (
      { ...this.#fetchRequest(), maxWaitMs: 0 }
    ));
    if (isSent) this.#discoveryTurn++;
  }

  #pollProspective(role: Prospective, nowMs: number): void {
    if (!this.#mayStand || nowMs >= role.deadlineMs || this.#tally(role) === "lost") {
      const { leaderId, leaderAddress } = role;
      if (leaderAddress !== null) this.#becomeFollower(leaderId, leaderAddress, nowMs);
      else this.#becomeUnattached(leaderId, nowMs);
      return;
    }
    this.#wakeAt(role.deadlineMs);
    if (this.#tally(role) === "won") this.#standUnlessYielding(role, nowMs);
    else this.#askForVotes(role, nowMs);
  }

  #pollCandidate(role: Candidate, nowMs: number): void {
    if (nowMs >= role.deadlineMs || (!role.isBackingOff && this.#tally(role) === "lost")) {
      if (role.isBackingOff || !this.#mayStand) {
        if (this.#mayStand) this.#becomeProspective(nowMs);
        else this.#becomeUnattached(-1, nowMs);
        return;
      }
      role.isBackingOff = true;
      role.deadlineMs = nowMs + this.#electionBackoff();
    }
    this.#wakeAt(role.deadlineMs);
    if (!role.isBackingOff) this.#askForVotes(role, nowMs);
  }

  #electionBackoff(): number {
    const longest = ELECTION_BACKOFF_MS * 2 ** Math.min(this.#electionCount, 20);
    return Math.min(this.#below(longest), this.#settings.electionBackoffMaxMs);
  }

  #askForVotes(role: Prospective | Candidate, nowMs: number): void {
    for (const voter of this.#voters.voters) {
      if (role.granted.has(voter.id) || role.rejected.has(voter.id)) continue;
      this.#sendToVoter(voter, nowMs, () => ({
        kind: "vote",
        candidate: this.#self,
        candidateEpoch: this.#epoch,
        voter,
        last: this.#log.end,
        isPreVote: role.name === "prospective",
      }));
    }
  }

  #pollFollower(role: Follower, nowMs: number): void {
    const highWatermark = Math.min(role.leaderHighWatermark, this.#log.syncedOffset);
    this.#highWatermark = Math.max(this.#highWatermark, highWatermark);
    if (nowMs >= role.deadlineMs) {
      if (this.#mayStand) return this.#becomeProspective(nowMs);
      // Whoever leads now will say so.
      if (!this.#isShuttingDown) return this.#becomeUnattached(role.leaderId, nowMs);
    } else this.#wakeAt(role.deadlineMs);
    const leader = { id: role.leaderId, ...role.leaderAddress };
    this.#updateOwnEndpoints(role, leader, nowMs);
    if (role.snapshot !== null) this.#fetchSnapshotFrom(leader, role.snapshot, nowMs);
    // What it asks for says what it has on stable storage.
    else if (this.#log.syncedOffset === this.#log.endOffset) {
      this.#send(leader, "fetch", nowMs, () => this.#fetchRequest());
    }
  }

  #updateOwnEndpoints(role: Follower, leader: Destination, nowMs: number): void {
    const { latest, kraftVersion } = this.#voterHistory;
    if (kraftVersion === 0 || !latest.needsUpdate(this.#selfAsVoter)) return;
    if (nowMs >= role.updateVoterAtMs) {
      role.updateVoterAtMs = nowMs + UPDATE_VOTER_INTERVAL_MS;
      this.#send(leader, "raft", nowMs, () => ({
        kind: "updateVoter",
        currentLeaderEpoch: this.#epoch,
        voter: this.#selfAsVoter,
      }));
    }
    this.#wakeAt(role.updateVoterAtMs);
  }

  #fetchSnapshotFrom(
    leader: Destination,
    { id, position, isInstalling }: NonNullable<Follower["snapshot"]>,
    nowMs: number,
  ): void {
    if (isInstalling) return;
    this.#send(leader, "fetch", nowMs, () => ({
      kind: "fetchSnapshot",
      replica: this.#self,
      currentLeaderEpoch: this.#epoch,
      snapshotId: id,
      position,
      maxBytes: this.#settings.fetchSnapshotMaxBytes,
    }));
  }

  #fetchRequest(): FetchRequest {
    return {
      kind: "fetch",
      replica: this.#self,
      currentLeaderEpoch: this.#epoch,
      last: this.#log.end,
      highWatermark: this.#highWatermark,
      maxWaitMs: this.#isCatchingUp ? 0 : this.#settings.fetchMaxWaitMs,
      maxBytes: this.#settings.fetchMaxBytes,
    };
  }

  #pollLeader(role: Leader, nowMs: number): void {
    this.#advanceLeader(nowMs);
    this.#pollChange(role, nowMs);
    const checkQuorumMs = this.#checkQuorumDeadline(role);
    if (role.mustResign || nowMs >= checkQuorumMs) return this.#resign(nowMs);
    this.#wakeAt(checkQuorumMs);
    if (nowMs >= role.beginEpochAtMs) {
      const everyMs = this.#settings.fetchTimeoutMs / 2;
      // Who fetches knows.
      for (const id of role.replicas.silentSince(nowMs - everyMs)) role.acknowledged.delete(id);
      role.beginEpochAtMs = nowMs + everyMs;
    }
    this.#wakeAt(role.beginEpochAtMs);
    for (const voter of this.#voters.voters) {
      if (voter.id === this.#self.id || role.acknowledged.has(voter.id)) continue;
      this.#sendToVoter(voter, nowMs, () => ({
        kind: "beginQuorumEpoch",
        leaderId: this.#self.id,
        leaderEpoch: this.#epoch,
        voter,
        leaderEndpoints: this.#endpoints,
      }));
    }
  }

  /** When too few voters will have fetched for too long. */
  #checkQuorumDeadline({ replicas }: Leader): number {
    const voters = this.#voters;
    const needed = majorityOf(voters.size) - (this.#isVoter ? 1 : 0);
    if (needed === 0) return Infinity;
    const others = voters.voters.filter((voter) => !isSameReplica(voter, this.#self));
    const fetchedMs = others.map((voter) => replicas.lastSeenMs(voter)).sort((a, b) => b - a);
    return fetchedMs[needed - 1]! + CHECK_QUORUM_FACTOR * this.#settings.fetchTimeoutMs;
  }

  #pollResigned(role: Resigned, nowMs: number): void {
    for (const voter of this.#voters.voters) {
      if (!role.unacknowledged.has(voter.id)) continue;
      this.#sendToVoter(voter, nowMs, () => ({
        kind: "endQuorumEpoch",
        leaderId: this.#self.id,
        leaderEpoch: this.#epoch,
        preferredCandidates: role.preferredCandidates,
        leaderEndpoints: this.#endpoints,
      }));
    }
    if (this.#isShuttingDown) return;
    // In this epoch it can do nothing any more.
    if (nowMs >= role.deadlineMs) this.#enterEpoch(this.#epoch + 1, nowMs);
    else this.#wakeAt(role.deadlineMs);
  }

  // ── sending ─────────────────────────────────────────────────────────────────────────────────────

  #answer(handle: number, decision: RaftDecision): void {
    this.#messages.push({ kind: "answer", handle, decision });
  }

  #head(error: ErrorCode): AnswerHead {
    const role = this.#role;
    const leaderAddress = role.name === "leader" ? this.#pick(this.#endpoints) : this.leaderAddress;
    return { error, leaderId: this.leaderId, leaderEpoch: this.#epoch, leaderAddress };
  }

  /** Where the leader listens; null when that is not known, or when none is. */
  get leaderAddress(): Address | null {
    const role = this.#role;
    const isKnown = role.name === "follower" || role.name === "prospective";
    return isKnown ? role.leaderAddress : this.#addressOf(this.leaderId);
  }

  #sendToVoter(voter: Voter, nowMs: number, request: () => RaftRequest): void {
    const address = this.#pick(voter.endpoints);
    if (address !== null) this.#send({ id: voter.id, ...address }, "raft", nowMs, request);
  }

  /** Sends unless something is under way there, or has just failed. Returns: whether it was sent. */
  #send(to: Destination, channel: string, nowMs: number, request: () => RaftRequest): boolean {
    const key = channel === "discover" ? channel : `${to.id}/${channel}`;
    if (this.#inFlight.has(key)) return false;
    const notBeforeMs = this.#backoffs.get(key) ?? -Infinity;
    if (notBeforeMs > nowMs) {
      this.#wakeAt(notBeforeMs);
      return false;
    }
    const requestId = this.#nextRequestId++;
    this.#inFlight.set(key, requestId);
    this.#sent.set(requestId, { channel: key, to });
    this.#messages.push({ kind: "send", requestId, to, request: request() });
    return true;
  }

  #backOff({ channel }: SentRequest, nowMs: number): void {
    const { retryBackoffMs } = this.#settings;
    const delayMs = channel === "discover" ? DISCOVERY_BACKOFF_MS : retryBackoffMs;
    this.#backoffs.set(channel, nowMs + delayMs);
  }

  #wakeAt(atMs: number): void {
    this.#wakeMs = Math.min(this.#wakeMs, atMs);
  }

  #electionDeadline(nowMs: number): number {
    const { electionTimeoutMs } = this.#settings;
    return nowMs + electionTimeoutMs + this.#below(electionTimeoutMs);
  }

  #below(bound: number): number {
    return bound <= 0 ? 0 : this.#random.uint32() % Math.ceil(bound);
  }

  #isMeant(voter: ReplicaKey | null): boolean {
    return voter === null || isSameReplica(voter, this.#self);
  }

  #otherVoterIds(): Set<number> {
    return new Set(this.#voters.ids.filter((id) => id !== this.#self.id));
  }

  #addressOf(nodeId: number): Address | null {
    return this.#pick(this.#voterHistory.latest.get(nodeId)?.endpoints ?? []);
  }

  /** The endpoint of the listener that all controllers share. */
  #pick(endpoints: readonly VoterEndpoint[]): Address | null {
    const name = this.#endpoints[0]?.name;
    const found = endpoints.find((endpoint) => endpoint.name === name) ?? endpoints[0];
    return found === undefined ? null : { host: found.host, port: found.port };
  }
}

function isSameState(a: QuorumState, b: QuorumState | null): boolean {
  return b !== null && a.leaderId === b.leaderId && a.leaderEpoch === b.leaderEpoch &&
    a.isCatchingUp === b.isCatchingUp &&
    a.voted?.id === b.voted?.id && a.voted?.directoryId === b.voted?.directoryId;
}

function notLeader(): RaftDecision {
  return { kind: "voterChange", error: ErrorCode.NOT_LEADER_OR_FOLLOWER, message: null };
}

function kraftVersionRecord(kRaftVersion: number): NewControlRecord {
  return { type: "kraftVersion", message: { version: 0, kRaftVersion } };
}

/** The control record that names voters. */
export function votersRecord(voters: VoterSet): NewControlRecord {
  return {
    type: "voters",
    message: {
      version: 0,
      voters: voters.voters.map((voter) => ({
        voterId: voter.id,
        voterDirectoryId: voter.directoryId,
        endpoints: voter.endpoints,
        kRaftVersionFeature: {
          minSupportedVersion: voter.minKraftVersion,
          maxSupportedVersion: voter.maxKraftVersion,
        },
      })),
    },
  };
}
