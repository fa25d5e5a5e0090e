/**
 * What a leader knows of the replicas that fetch from it: how far each is on stable storage, and since when it
 * has been silent. Voters and observers alike: who is a voter changes while they fetch.
 */

import {
  formatReplica,
  isSameReplica,
  type ReplicaKey,
  type Voter,
  type VoterSet,
} from "./raft_voters.ts";

/** An observer that has not fetched for so long is forgotten, as in Kafka. */
const OBSERVER_SESSION_MS = 300_000;
/** Replicas that are remembered at once. */
const MAX_REPLICAS = 1_000;

/** One replica. Times are monotonic; −1 for never. */
export interface ReplicaState {
  readonly key: ReplicaKey;
  /** On its stable storage; −1 while it is not known. */
  readonly endOffset: number;
  readonly lastFetchMs: number;
  /** When it last had all that the leader had. */
  readonly lastCaughtUpMs: number;
}

interface State extends ReplicaState {
  endOffset: number;
  lastFetchMs: number;
  lastCaughtUpMs: number;
  /** Where the leader's log ended at the last fetch. */
  leaderEndOffset: number;
  /** When the last answer to a fetch of this epoch left. */
  answeredMs: number;
  /** It has fetched in this epoch after that. */
  confirmedMs: number;
}

/** The replicas of one leader in one epoch. */
export class ReplicaStates {
  readonly #self: ReplicaKey;
  readonly #startMs: number;
  readonly #states = new Map<string, State>();

  constructor(self: ReplicaKey, nowMs: number) {
    this.#self = self;
    this.#startMs = nowMs;
  }

  /** A replica has all before `endOffset`, and wants what follows. */
  fetched(key: ReplicaKey, endOffset: number, leaderEndOffset: number, nowMs: number): void {
    const state = this.#stateOf(key);
    if (state === null) return;
    if (endOffset >= leaderEndOffset) state.lastCaughtUpMs = nowMs;
    else if (state.leaderEndOffset > 0 && endOffset >= state.leaderEndOffset) {
      state.lastCaughtUpMs = state.lastFetchMs;
    }
    state.leaderEndOffset = leaderEndOffset;
    state.endOffset = endOffset;
    state.lastFetchMs = nowMs;
    state.confirmedMs = state.answeredMs;
  }

  /** A replica was heard of that is not on our log yet. */
  seen(key: ReplicaKey, nowMs: number): void {
    const state = this.#stateOf(key);
    if (state !== null) state.lastFetchMs = nowMs;
  }

  /** A fetch is answered: the next one comes from somebody who knew of no later epoch until now. */
  answered(key: ReplicaKey, nowMs: number): void {
    const state = this.#stateOf(key);
    if (state !== null) state.answeredMs = nowMs;
  }

  #stateOf(key: ReplicaKey): State | null {
    if (key.id < 0) return null;
    const name = formatReplica(key);
    let state = this.#states.get(name);
    if (state === undefined) {
      if (this.#states.size >= MAX_REPLICAS) return null;
      state = {
        key,
        endOffset: -1,
        lastFetchMs: -1,
        lastCaughtUpMs: -1,
        leaderEndOffset: -1,
        answeredMs: -Infinity,
        confirmedMs: -Infinity,
      };
      this.#states.set(name, state);
    }
    return state;
  }

  #find(voter: ReplicaKey): State | undefined {
    const exact = this.#states.get(formatReplica(voter));
    if (exact !== undefined) return exact;
    // A static voter may fetch with the id of its directory: the one that was heard of last.
    let latest: State | undefined;
    for (const state of this.#states.values()) {
      if (!isSameReplica(voter, state.key)) continue;
      if (latest === undefined || state.lastFetchMs > latest.lastFetchMs) latest = state;
    }
    return latest;
  }

  endOffsetOf(voter: ReplicaKey): number {
    return this.#find(voter)?.endOffset ?? -1;
  }

  /** When it last fetched; when the epoch began, for one that has not yet. */
  lastSeenMs(voter: ReplicaKey): number {
    return Math.max(this.#find(voter)?.lastFetchMs ?? -1, this.#startMs);
  }

  /** Until when a voter certainly knew of no later epoch; −Infinity before its second fetch. */
  confirmedMs(voter: ReplicaKey): number {
    return this.#find(voter)?.confirmedMs ?? -Infinity;
  }

  /** For how long a replica lags; Infinity for one that never had everything. */
  caughtUpAgoMs(key: ReplicaKey, nowMs: number): number {
    const atMs = this.#find(key)?.lastCaughtUpMs ?? -1;
    return atMs < 0 ? Infinity : nowMs - atMs;
  }

  /** Ids of nodes that have not fetched since `sinceMs`. */
  silentSince(sinceMs: number): number[] {
    return [...this.#states.values()].filter(({ lastFetchMs }) => lastFetchMs < sinceMs)
      .map(({ key }) => key.id);
  }

  /** The other voters, those with the longest logs first. */
  successors(voters: VoterSet): Voter[] {
    return voters.voters.filter((voter) => !isSameReplica(voter, this.#self))
      .sort((a, b) => this.endOffsetOf(b) - this.endOffsetOf(a));
  }

  /** A voter as it is known. */
  ofVoter(voter: Voter): ReplicaState {
    return this.#find(voter) ??
      { key: voter, endOffset: -1, lastFetchMs: -1, lastCaughtUpMs: -1 };
  }

  /** Those that fetch and are no voters. Forgets who has been silent for long. */
  observers(voters: VoterSet, nowMs: number): ReplicaState[] {
    const observers: ReplicaState[] = [];
    for (const [name, state] of this.#states) {
      if (voters.has(state.key)) continue;
      if (nowMs - state.lastFetchMs > OBSERVER_SESSION_MS) this.#states.delete(name);
      else observers.push(state);
    }
    return observers;
  }
}
