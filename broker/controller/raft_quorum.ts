/**
 * The arithmetic of a quorum: what a majority is, what it has, and who may be voted for. No state, no time.
 *
 *     offsets of the voters   9   7   7   4   2
 *                                     └── a majority of five has everything before it
 *
 * The rules on which safety rests are one table, `KRAFT_RULES`, so that they can be compared with a slow twin
 * and so that a simulation can break one of them and see that it is missed.
 *
 * Source: Raft thesis, sections 3.4 (elections), 3.6.1 and 3.6.2 (up to date, commitment), 9.6 (pre-vote);
 * KIP-595, KIP-996.
 */

import assert from "node:assert/strict";

/** The end of a log: the offset of the next record and the epoch of the last one. */
export interface OffsetAndEpoch {
  readonly offset: number;
  readonly epoch: number;
}

/** How many of `count` are more than half. */
export function majorityOf(count: number): number {
  return Math.floor(count / 2) + 1;
}

/**
 * The largest value that a majority of `values` has reached.
 * Shape: one value for each voter; a voter of whom nothing is known has −1.
 */
export function reachedByMajority(values: readonly number[]): number {
  assert(values.length > 0, "a quorum of nobody");
  const descending = values.toSorted((a, b) => b - a);
  return descending[majorityOf(values.length) - 1]!;
}

/** How an election stands. */
export type Tally = "won" | "lost" | "open";

/** Counts votes. `granted` and `rejected` are votes of different voters out of `voterCount`. */
export function tally(votes: {
  readonly voterCount: number;
  readonly granted: number;
  readonly rejected: number;
}): Tally {
  const needed = majorityOf(votes.voterCount);
  if (votes.granted >= needed) return "won";
  return votes.voterCount - votes.rejected < needed ? "lost" : "open";
}

/** What decides whether a request for a vote is granted. */
export interface VoteQuestion {
  readonly isPreVote: boolean;
  /** The candidate's log reaches at least as far as ours. */
  readonly isUpToDate: boolean;
  /** In this epoch a vote was given: to this candidate, to another one, or to nobody. */
  readonly votedFor: "candidate" | "other" | "nobody";
  /** A leader of this epoch is known, this node included. */
  readonly knowsLeader: boolean;
  /** That leader answers us: an election now would only disturb it. */
  readonly trustsLeader: boolean;
  /** Our disk is a new one, and the candidate has records: we may have acknowledged more than it has. */
  readonly mayHaveForgotten: boolean;
}

/** The rules on which the safety of the log and the calm of the quorum rest. */
export interface RaftRules {
  /** The high watermark of a leader. `offsets` are synced ones, one for each voter in force. */
  highWatermark(state: {
    readonly offsets: readonly number[];
    /** The first offset of the leader's own epoch. */
    readonly epochStartOffset: number;
    readonly current: number;
  }): number;
  /** Whether a log that ends at `candidate` has everything that one that ends at `own` may have committed. */
  isUpToDate(candidate: OffsetAndEpoch, own: OffsetAndEpoch): boolean;
  grantsVote(question: VoteQuestion): boolean;
  /** Which voters count: those named last in the log, committed or not, or those of the past. */
  votersInForce<T>(sets: { readonly latest: T; readonly committed: T }): T;
  /** Whether a follower that was told where its log parts from the leader's cuts it there. */
  readonly truncates: boolean;
}

/** KRaft's. */
export const KRAFT_RULES: RaftRules = {
  highWatermark({ offsets, epochStartOffset, current }) {
    const reached = reachedByMajority(offsets);
    // A record of an earlier epoch is committed by one of ours that follows it, never by being counted.
    return reached > epochStartOffset && reached > current ? reached : current;
  },
  isUpToDate(candidate, own) {
    if (candidate.epoch !== own.epoch) return candidate.epoch > own.epoch;
    return candidate.offset >= own.offset;
  },
  grantsVote({ isPreVote, isUpToDate, votedFor, knowsLeader, trustsLeader, mayHaveForgotten }) {
    if (mayHaveForgotten) return false;
    if (isPreVote) return isUpToDate && !trustsLeader;
    if (votedFor !== "nobody") return votedFor === "candidate";
    return isUpToDate && !knowsLeader;
  },
  votersInForce: ({ latest }) => latest,
  truncates: true,
};
