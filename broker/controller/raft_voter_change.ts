/**
 * The one change of the voters that a leader has under way: asked for, checked, written, committed, answered.
 *
 *     add:     asked ──probe──→ supported ──caught up──→ written ──high watermark──→ answered
 *     remove:                                   asked ──→ written ──high watermark──→ answered
 *     upgrade:  all voters follow the leader ── asked ──→ written ──high watermark──→ answered
 *
 * Invariant: no second one begins before the first is committed, nor before a record of this epoch is: else two
 * sets could be in force whose majorities do not meet.
 *
 * Source: KIP-853; KIP-1186 (an answer before the commit).
 */

import assert from "node:assert/strict";
import { ErrorCode } from "../../protocol/errors.ts";
import type { ProbeAnswer, VoterChangeAnswer } from "./raft_messages.ts";
import { formatReplica, type ReplicaKey, type Voter, type VoterSet } from "./raft_voters.ts";

/** An answer that is due. */
export interface DueAnswer {
  readonly handle: number;
  readonly decision: VoterChangeAnswer;
}

interface Adding {
  readonly kind: "add";
  readonly voter: Voter;
  readonly ackWhenCommitted: boolean;
  supported: Pick<Voter, "minKraftVersion" | "maxKraftVersion"> | null;
}

type Pending = (Adding | { readonly kind: "written" }) & {
  readonly handle: number;
  readonly deadlineMs: number;
  /** Of the record; −1 while it is not written. */
  lastOffset: number;
};

function answer(error: ErrorCode, message: string | null = null): VoterChangeAnswer {
  return { kind: "voterChange", error, message };
}

/** At most one change. */
export class VoterChange {
  readonly #caughtUpMs: number;
  #pending: Pending | null = null;
  #due: DueAnswer[] = [];

  /** A replica that had everything within `fetchTimeoutMs` has caught up. */
  constructor({ fetchTimeoutMs }: { readonly fetchTimeoutMs: number }) {
    this.#caughtUpMs = fetchTimeoutMs;
  }

  /** Why no change may begin now; null when one may. */
  refusal(state: {
    readonly highWatermark: number;
    readonly kraftVersion: number;
    readonly votersOffset: number;
  }): VoterChangeAnswer | null {
    if (this.#pending !== null) {
      return answer(ErrorCode.REQUEST_TIMED_OUT, "Another change of the voters is under way.");
    }
    if (state.highWatermark < 0) {
      return answer(
        ErrorCode.REQUEST_TIMED_OUT,
        "The leader has not committed a record of its epoch yet.",
      );
    }
    if (state.kraftVersion < 1) {
      return answer(
        ErrorCode.UNSUPPORTED_VERSION,
        `The voters are those of controller.quorum.voters: kraft.version is ${state.kraftVersion}.`,
      );
    }
    if (state.votersOffset >= state.highWatermark) {
      return answer(
        ErrorCode.REQUEST_TIMED_OUT,
        `The voters at offset ${state.votersOffset} are not committed yet.`,
      );
    }
    return null;
  }

  /** Why `voter` may not be added; null when it may. */
  refuseAdding(voter: Voter, voters: VoterSet): VoterChangeAnswer | null {
    if (voters.get(voter.id) !== undefined) {
      const message = `Node ${voter.id} is a voter already: ${voters.voters.map(formatReplica)}.`;
      return answer(ErrorCode.DUPLICATE_VOTER, message);
    }
    if (voter.endpoints.length > 0) return null;
    return answer(
      ErrorCode.INVALID_REQUEST,
      `No endpoint of voter ${formatReplica(voter)} is given.`,
    );
  }

  /** The answer for a voter that cannot be removed. */
  notFound(voter: ReplicaKey): VoterChangeAnswer {
    return answer(
      ErrorCode.VOTER_NOT_FOUND,
      `Cannot remove ${formatReplica(voter)}: it is no voter, or the last one.`,
    );
  }

  /** The answer where the voters cannot be written down, since some are not there. */
  silent(voters: readonly Voter[]): VoterChangeAnswer {
    return answer(
      ErrorCode.INVALID_UPDATE_VERSION,
      "All voters must follow the leader, so that their directories are known; these do not: " +
        `${voters.map(({ id }) => id).join(", ")}.`,
    );
  }

  beginAdding(
    handle: number,
    request: {
      readonly voter: Voter;
      readonly timeoutMs: number;
      readonly ackWhenCommitted: boolean;
    },
    nowMs: number,
  ): void {
    assert(this.#pending === null);
    this.#pending = {
      kind: "add",
      handle,
      voter: request.voter,
      ackWhenCommitted: request.ackWhenCommitted,
      supported: null,
      deadlineMs: nowMs + request.timeoutMs,
      lastOffset: -1,
    };
  }

  /** A change whose record stands at `lastOffset` already: a removal, or all voters for the first time. */
  beginWritten(handle: number, lastOffset: number, deadlineMs: number): void {
    assert(this.#pending === null);
    this.#pending = { kind: "written", handle, lastOffset, deadlineMs };
  }

  /** The voter whose supported versions are to be asked for; null for none. */
  toProbe(): Voter | null {
    const pending = this.#pending;
    return pending?.kind === "add" && pending.supported === null ? pending.voter : null;
  }

  probed(nodeId: number, found: ProbeAnswer, kraftVersion: number): void {
    const pending = this.#pending;
    if (pending?.kind !== "add" || pending.voter.id !== nodeId) return;
    const { error, minKraftVersion, maxKraftVersion } = found;
    if (error !== ErrorCode.NONE) return this.probeFailed(nodeId);
    if (kraftVersion < minKraftVersion || kraftVersion > maxKraftVersion) {
      this.#end(answer(
        ErrorCode.INVALID_REQUEST,
        `Voter ${formatReplica(pending.voter)} supports kraft.version ${minKraftVersion} to ` +
          `${maxKraftVersion}, and the cluster is at ${kraftVersion}.`,
      ));
      return;
    }
    pending.supported = { minKraftVersion, maxKraftVersion };
  }

  probeFailed(nodeId: number): void {
    const pending = this.#pending;
    if (pending?.kind !== "add" || pending.voter.id !== nodeId) return;
    if (pending.supported !== null) return;
    this.#end(answer(
      ErrorCode.REQUEST_TIMED_OUT,
      `Voter ${formatReplica(pending.voter)} does not answer at its endpoint.`,
    ));
  }

  /** The voter that is to be written now; null for none. Ends the change when it lags. */
  takeAdded(caughtUpAgoMs: (key: ReplicaKey) => number): Voter | null {
    const pending = this.#pending;
    if (pending?.kind !== "add" || pending.supported === null || pending.lastOffset >= 0) {
      return null;
    }
    if (caughtUpAgoMs(pending.voter) > this.#caughtUpMs) {
      const name = formatReplica(pending.voter);
      this.#end(answer(ErrorCode.REQUEST_TIMED_OUT, `Replica ${name} lags behind the leader.`));
      return null;
    }
    return { ...pending.voter, ...pending.supported };
  }

  /** The record of the added voter stands at `offset`. */
  appended(offset: number): void {
    const pending = this.#pending;
    assert(pending?.kind === "add");
    pending.lastOffset = offset;
    if (!pending.ackWhenCommitted) {
      this.#due.push({ handle: pending.handle, decision: answer(ErrorCode.NONE) });
    }
  }

  /** When the change is given up; Infinity for none. */
  get deadlineMs(): number {
    return this.#pending?.deadlineMs ?? Infinity;
  }

  /** Answers that are due. A change that took too long is forgotten, and may be committed all the same. */
  takeAnswers(highWatermark: number, nowMs: number): DueAnswer[] {
    const pending = this.#pending;
    if (pending !== null) {
      const { lastOffset, deadlineMs } = pending;
      if (lastOffset >= 0 && highWatermark > lastOffset) this.#end(answer(ErrorCode.NONE));
      else if (nowMs >= deadlineMs) {
        this.#end(answer(ErrorCode.REQUEST_TIMED_OUT, "The change was not committed in time."));
      }
    }
    return this.#due.splice(0);
  }

  /** This node does not lead any more. */
  abandon(): DueAnswer[] {
    if (this.#pending !== null) {
      this.#end(answer(ErrorCode.NOT_LEADER_OR_FOLLOWER, "The leader has changed."));
    }
    return this.#due.splice(0);
  }

  #end(decision: VoterChangeAnswer): void {
    const pending = this.#pending!;
    this.#pending = null;
    const isAnswered = pending.kind === "add" && pending.lastOffset >= 0 &&
      !pending.ackWhenCommitted;
    if (!isAnswered) this.#due.push({ handle: pending.handle, decision });
  }
}
