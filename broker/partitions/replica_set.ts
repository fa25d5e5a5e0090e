/**
 * What a leader knows of its followers: how far each is, who is in sync, and how far all is committed.
 *
 *     fetch of a follower ──→ its synced offset ──→ high watermark = least synced offset of the maximal ISR
 *                                    │
 *              behind or silent ─────┴───── has all that is committed, and of this epoch
 *                    ↓ proposeShrinking              ↓ proposeExpansion
 *              proposal to the controller: one at a time, until the controller's word comes
 *
 * A follower's fetch offset is what is on its stable storage: it asks for nothing before it has synced what it
 * has. While a proposal is under way both ISRs count, the one that is and the one that may be (KIP-497): a
 * replica that is to leave holds the high watermark back until the controller has agreed, one that is to
 * join does so from the moment that it was proposed. What is not sent yet takes along who catches up meanwhile.
 * Who is known under another epoch than its registration has restarted since it fetched, maybe without its data, and
 * cannot join (KIP-903).
 *
 * As in Kafka the high watermark rests while the ISR is below `min.insync.replicas` (KIP-966), and a replica that
 * keeps up holds it back a little before it joins: else it would run after it for ever.
 *
 * Invariants: the ISR is always one that the controller has written; the high watermark never goes back. It is
 * one leadership: the next epoch begins with another set.
 *
 * Pure: time is an argument, what is to be asked of the controller a returned value.
 *
 * Source: Kafka's Partition and Replica; KIP-497, KIP-841, KIP-903, KIP-966.
 */

import assert from "node:assert/strict";
import { ErrorCode } from "../../protocol/errors.ts";
import type { BrokerImage, PartitionImage } from "../controller/metadata_image.ts";

/** What of the brokers' registrations says who may be in an ISR. */
export type BrokerStates = ReadonlyMap<
  number,
  Pick<BrokerImage, "epoch" | "fenced" | "inControlledShutdown">
>;

/** How far behind a follower may be. */
export interface LagLimits {
  /** Kafka's `replica.lag.time.max.ms`: since it last had everything. */
  readonly maxLagMs: number;
  /** Since it last fetched at all, while it lacks something. */
  readonly maxSilenceMs: number;
}

/** A fetch of a follower whose log is one with the leader's up to the offset. */
export interface FollowerFetch {
  readonly replicaId: number;
  /** −1 where the request does not say. */
  readonly brokerEpoch: number;
  /** What the follower has on stable storage ends here. */
  readonly fetchOffset: number;
  readonly logStartOffset: number;
  readonly leaderEndOffset: number;
  readonly nowMs: number;
}

/** A member of a proposed ISR, −1 for an incarnation that is not known. */
export interface ProposedMember {
  readonly brokerId: number;
  readonly brokerEpoch: number;
}

/** An ISR that the controller is asked for, and the state that it is to replace. */
export interface IsrProposal {
  readonly leaderEpoch: number;
  readonly partitionEpoch: number;
  readonly isr: readonly ProposedMember[];
}

interface Follower {
  brokerEpoch: number;
  /** −1 before its first fetch of this epoch. */
  syncedOffset: number;
  logStartOffset: number;
  /** When it last had all that the leader had then. */
  caughtUpMs: number;
  fetchedMs: number;
  /** Where the leader's log ended at that fetch. */
  leaderEndOffset: number;
}

/** What a leader is made of. */
export interface ReplicaSetOptions {
  readonly nodeId: number;
  readonly image: PartitionImage;
  /** Where the leader's log ended when its epoch began. */
  readonly epochStartOffset: number;
  readonly highWatermark: number;
  readonly nowMs: number;
}

/** The replicas of a partition in one epoch of its leader. */
export class ReplicaSet {
  readonly #nodeId: number;
  readonly #epochStartOffset: number;
  #image: PartitionImage;
  #highWatermark: number;
  #proposal: IsrProposal | null = null;
  readonly #followers = new Map<number, Follower>();

  constructor(options: ReplicaSetOptions) {
    this.#nodeId = options.nodeId;
    this.#image = options.image;
    this.#epochStartOffset = options.epochStartOffset;
    this.#highWatermark = options.highWatermark;
    this.#followReplicas(options.nowMs);
  }

  get highWatermark(): number {
    return this.#highWatermark;
  }
  /** Where the leader's log ended when its epoch began: until then, the old leader may have told more. */
  get epochStartOffset(): number {
    return this.#epochStartOffset;
  }
  /** As the controller has written it. */
  get isr(): readonly number[] {
    return this.#image.isr;
  }
  /** What is under way to the controller, or waits for its word. */
  get proposal(): IsrProposal | null {
    return this.#proposal;
  }

  /** Takes what the controller has written. Of one epoch; older words than known ones are ignored. */
  update(image: PartitionImage, nowMs: number): void {
    assert(image.leaderEpoch === this.#image.leaderEpoch);
    if (image.partitionEpoch < this.#image.partitionEpoch) return;
    // What was proposed for an older state is either this, or will be refused.
    if (image.partitionEpoch > this.#image.partitionEpoch) this.#proposal = null;
    this.#image = image;
    this.#followReplicas(nowMs);
  }

  #followReplicas(nowMs: number): void {
    const { replicas, isr } = this.#image;
    for (const id of this.#followers.keys()) if (!replicas.includes(id)) this.#followers.delete(id);
    for (const id of replicas) {
      if (id === this.#nodeId || this.#followers.has(id)) continue;
      this.#followers.set(id, {
        brokerEpoch: -1,
        syncedOffset: -1,
        logStartOffset: -1,
        // Who was in sync has as long as ever to find its new leader.
        caughtUpMs: isr.includes(id) ? nowMs : -Infinity,
        fetchedMs: isr.includes(id) ? nowMs : -Infinity,
        leaderEndOffset: Infinity,
      });
    }
  }

  /**
   * Notes how far a follower is.
   * Returns: NONE; NOT_LEADER_OR_FOLLOWER for one that is no replica, or is an incarnation of the past.
   */
  noteFetch(fetch: FollowerFetch): ErrorCode {
    const follower = this.#followers.get(fetch.replicaId);
    const { brokerEpoch, fetchOffset, leaderEndOffset, nowMs } = fetch;
    if (follower === undefined || (brokerEpoch !== -1 && brokerEpoch < follower.brokerEpoch)) {
      return ErrorCode.NOT_LEADER_OR_FOLLOWER;
    }
    if (fetchOffset >= leaderEndOffset) follower.caughtUpMs = Math.max(follower.caughtUpMs, nowMs);
    else if (fetchOffset >= follower.leaderEndOffset) {
      follower.caughtUpMs = Math.max(follower.caughtUpMs, follower.fetchedMs);
    }
    follower.brokerEpoch = brokerEpoch;
    follower.syncedOffset = fetchOffset;
    follower.logStartOffset = fetch.logStartOffset;
    follower.fetchedMs = Math.max(follower.fetchedMs, nowMs);
    follower.leaderEndOffset = leaderEndOffset;
    return ErrorCode.NONE;
  }

  /**
   * Moves the high watermark to what every replica that counts has on stable storage.
   * Returns: true when it has moved.
   */
  advance({ syncedOffset, minIsr, brokers, limits, nowMs, endOffset }: {
    /** The leader's own. */
    readonly syncedOffset: number;
    readonly endOffset: number;
    readonly minIsr: number;
    readonly brokers: BrokerStates;
    readonly limits: LagLimits;
    readonly nowMs: number;
  }): boolean {
    if (this.#image.isr.length < Math.min(minIsr, this.#image.replicas.length)) return false;
    let reached = syncedOffset;
    for (const [id, follower] of this.#followers) {
      if (follower.syncedOffset >= reached) continue;
      const counts = this.isInMaximalIsr(id) ||
        isKeepingUp(follower, endOffset, limits, nowMs) && this.#isEligible(id, brokers);
      if (counts) reached = follower.syncedOffset;
    }
    if (reached <= this.#highWatermark) return false;
    this.#highWatermark = reached;
    return true;
  }

  /** True for who is in sync, or may be once the controller has answered. */
  isInMaximalIsr(id: number): boolean {
    if (this.#image.isr.includes(id)) return true;
    return this.#proposal?.isr.some((member) => member.brokerId === id) === true;
  }

  #isEligible(id: number, brokers: BrokerStates): boolean {
    const broker = brokers.get(id);
    return broker !== undefined && !broker.fenced && !broker.inControlledShutdown &&
      broker.epoch === this.#followers.get(id)?.brokerEpoch;
  }

  /** What to ask for after a fetch of `replicaId`: null while it may not join, or something is under way. */
  proposeExpansion(replicaId: number, brokers: BrokerStates): IsrProposal | null {
    if (this.#proposal !== null || this.#image.isr.includes(replicaId)) return null;
    if (!this.#mayJoin(replicaId, brokers)) return null;
    return this.#propose([...this.#image.isr, replicaId], brokers);
  }

  #mayJoin(id: number, brokers: BrokerStates): boolean {
    const { syncedOffset } = this.#followers.get(id) ?? { syncedOffset: -1 };
    return syncedOffset >= this.#highWatermark && syncedOffset >= this.#epochStartOffset &&
      this.#isEligible(id, brokers);
  }

  /**
   * Lets those join along that have caught up since, where others are to join: to be asked before it is sent for the
   * first time. Returns: what is to be sent.
   */
  widen(proposal: IsrProposal, brokers: BrokerStates): IsrProposal {
    if (this.#proposal !== proposal || proposal.isr.length <= this.#image.isr.length) {
      return proposal;
    }
    const joining = [...this.#followers.keys()]
      .filter((id) => !this.isInMaximalIsr(id) && this.#mayJoin(id, brokers));
    if (joining.length === 0) return proposal;
    // Who was in it stays as it was known then: it may have restarted since, and lack what it had.
    const isr = [...proposal.isr, ...joining.map((id) => this.#member(id, brokers))];
    this.#proposal = { ...proposal, isr };
    return this.#proposal;
  }

  /** What to ask for as time goes on: an ISR without those that do not keep up. Null when all of them do. */
  proposeShrinking({ endOffset, brokers, limits, nowMs }: {
    readonly endOffset: number;
    readonly brokers: BrokerStates;
    readonly limits: LagLimits;
    readonly nowMs: number;
  }): IsrProposal | null {
    if (this.#proposal !== null) return null;
    const isr = this.#image.isr.filter((id) => {
      const follower = this.#followers.get(id);
      return follower === undefined || isKeepingUp(follower, endOffset, limits, nowMs);
    });
    return isr.length === this.#image.isr.length ? null : this.#propose(isr, brokers);
  }

  /** What to ask for where a lost election has to be told to be over (KIP-704). Null when it has not. */
  proposeRecovered(brokers: BrokerStates): IsrProposal | null {
    if (this.#proposal !== null || this.#image.leaderRecoveryState === 0) return null;
    return this.#propose([...this.#image.isr], brokers);
  }

  #propose(isr: readonly number[], brokers: BrokerStates): IsrProposal {
    const { leaderEpoch, partitionEpoch } = this.#image;
    this.#proposal = {
      leaderEpoch,
      partitionEpoch,
      isr: isr.map((id) => this.#member(id, brokers)),
    };
    return this.#proposal;
  }

  #member(brokerId: number, brokers: BrokerStates): ProposedMember {
    const brokerEpoch = brokerId === this.#nodeId
      ? brokers.get(brokerId)?.epoch
      : this.#followers.get(brokerId)?.brokerEpoch;
    return { brokerId, brokerEpoch: brokerEpoch ?? -1 };
  }

  /** The controller has not made the change, and will not. */
  withdraw(proposal: IsrProposal): void {
    if (this.#proposal === proposal) this.#proposal = null;
  }

  /** Where the logs of all replicas that are alive have begun, the leader's own included; −1 when not known. */
  lowWatermark(logStartOffset: number, brokers: BrokerStates): number {
    let lowest = logStartOffset;
    for (const [id, follower] of this.#followers) {
      if (brokers.get(id)?.fenced === false) lowest = Math.min(lowest, follower.logStartOffset);
    }
    return lowest;
  }

  /** Followers that hold `[logStartOffset, fetchOffset]` on stable storage and are in sync; the furthest first. */
  readersAt(fetchOffset: number): number[] {
    const able = [...this.#followers].filter(([id, follower]) =>
      this.#image.isr.includes(id) && follower.logStartOffset <= fetchOffset &&
      fetchOffset <= follower.syncedOffset
    );
    return able.sort(([, a], [, b]) => b.syncedOffset - a.syncedOffset).map(([id]) => id);
  }

  /** How far a follower is, for whoever looks inside; −1 when it has not fetched in this epoch. */
  syncedOffsetOf(replicaId: number): number {
    return this.#followers.get(replicaId)?.syncedOffset ?? -1;
  }
}

function isKeepingUp(
  follower: Follower,
  endOffset: number,
  { maxLagMs, maxSilenceMs }: LagLimits,
  nowMs: number,
): boolean {
  if (follower.syncedOffset === endOffset) return true;
  return nowMs - follower.caughtUpMs <= maxLagMs && nowMs - follower.fetchedMs <= maxSilenceMs;
}
