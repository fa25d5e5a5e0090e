/**
 * One classic consumer group as a pure state machine: requests, finished appends and time go in;
 * answers and records to append come out as values. No clock, no promise, no log in here.
 *
 * Members join and wait; when all have joined (or the rebalance timeout has passed) the generation goes
 * up, one of them, the leader, computes the assignment and brings it with SyncGroup; it is appended to
 * the log, and only when that append is committed do the members learn it.
 *
 *      ┌─────────┐ join                       all joined ┌─────────────────────┐
 *      │  Empty  │───────►┌────────────────────┐────────►│ CompletingRebalance │
 *      └─────────┘        │ PreparingRebalance │         └─────────────────────┘
 *           ▲  nobody left│                    │◄─────────────┘ join, leave,  │ leader's sync
 *           └─────────────└────────────────────┘◄──────┐        sync timeout  ▼ is committed
 *                                    join, leave, death└────────────────── Stable
 *
 * Invariants: a member waits for at most one join and one sync; who waits for a join or a sync does not
 * lose its session; every request is answered exactly once, also one that a retry of the same member
 * supersedes; a static member's instance id belongs to one member id; the generation never goes down.
 * Source: KIP-62 (rebalance timeout), KIP-134 (initial delay), KIP-345 (static members), KIP-394
 * (member id required), KIP-559 (protocol in sync), KIP-814 (skip assignment).
 */

import assert from "node:assert/strict";
import { ErrorCode } from "../../protocol/errors.ts";
import type { TimestampMs } from "../../protocol/types.ts";
import { subscribedTopicsOf } from "./consumer_protocol.ts";
import type { Rebalance } from "./rebalance.ts";

/** The states, under the names that go over the wire. */
export type ClassicGroupState =
  | "Empty"
  | "PreparingRebalance"
  | "CompletingRebalance"
  | "Stable"
  | "Dead";

/** From each state, the states that may follow. */
export const ALLOWED_TRANSITIONS = {
  Empty: ["PreparingRebalance", "Dead"],
  PreparingRebalance: ["CompletingRebalance", "Empty", "Dead"],
  CompletingRebalance: ["Stable", "PreparingRebalance", "Dead"],
  Stable: ["PreparingRebalance", "Dead"],
  Dead: ["Dead"],
} as const satisfies Record<ClassicGroupState, readonly ClassicGroupState[]>;

/** The protocol type of consumers; connectors have one of their own. */
export const CONSUMER_PROTOCOL_TYPE = "consumer";
/** A member that joins for the first time is forgotten when its join is unanswered for so long. */
export const NEW_MEMBER_JOIN_TIMEOUT_MS = 300_000;

const NO_BYTES = new Uint8Array(0);

/** The moment of an event: sessions and rebalances run on the monotonic clock, records carry wall time. */
export interface Now {
  readonly monotonicMs: number;
  readonly wallMs: TimestampMs;
}

/** What an operator sets for all classic groups. */
export interface ClassicGroupSettings {
  readonly maxSize: number;
  readonly initialRebalanceDelayMs: number;
}

/** One way to assign that a member offers, with the member's own bytes, never looked into. */
export interface MemberProtocol {
  readonly name: string;
  readonly metadata: Uint8Array;
}

/** A JoinGroup. The bytes belong to the group from then on. */
export interface JoinRequest {
  /** Names the answer. */
  readonly requestId: number;
  readonly memberId: string;
  /** The id that the member gets if it has none yet. */
  readonly newMemberId: string;
  readonly groupInstanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly protocolType: string;
  readonly protocols: readonly MemberProtocol[];
  /** From version 4: a dynamic member must come back with the id that it was given. */
  readonly requiresKnownMemberId: boolean;
  /** From version 9: a leader may be told not to assign again. */
  readonly supportsSkippingAssignment: boolean;
  readonly reason: string | null;
}

/** What a JoinGroup is answered with. */
export interface JoinAnswer {
  readonly error: ErrorCode;
  readonly memberId: string;
  readonly generationId: number;
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly leader: string;
  readonly skipAssignment: boolean;
  readonly members: readonly {
    readonly memberId: string;
    readonly groupInstanceId: string | null;
    readonly metadata: Uint8Array;
  }[];
}

/** A SyncGroup; `assignments` is empty unless the leader sends it. */
export interface SyncRequest {
  readonly requestId: number;
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly generationId: number;
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly assignments: ReadonlyMap<string, Uint8Array>;
}

/** What a SyncGroup is answered with. */
export interface SyncAnswer {
  readonly error: ErrorCode;
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly assignment: Uint8Array;
}

/** Who says so, in Heartbeat and OffsetCommit. */
export interface MemberClaim {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly generationId: number;
}

/** One member of a LeaveGroup. */
export interface LeavingMember {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly reason: string | null;
}

/** The group as it is written to the log. */
export interface GroupMetadata {
  readonly protocolType: string;
  readonly generationId: number;
  readonly protocolName: string | null;
  readonly leader: string | null;
  readonly currentStateTimestamp: TimestampMs;
  readonly members: readonly PersistedMember[];
}

/** A member as it is written to the log. */
export interface PersistedMember {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly rebalanceTimeoutMs: number;
  readonly sessionTimeoutMs: number;
  readonly subscription: Uint8Array;
  readonly assignment: Uint8Array;
}

/** A member with all that it brought. */
export interface MigratingMember extends PersistedMember {
  readonly protocols: readonly MemberProtocol[];
}

/** What the surroundings have to do, in this order. */
export type GroupEffect =
  | { readonly kind: "joinAnswer"; readonly requestId: number; readonly answer: JoinAnswer }
  | { readonly kind: "syncAnswer"; readonly requestId: number; readonly answer: SyncAnswer }
  /** Append the group's record and report its fate with `appended(appendId, …)`. */
  | { readonly kind: "append"; readonly appendId: number; readonly metadata: GroupMetadata }
  | { readonly kind: "rebalance"; readonly rebalance: Rebalance };

interface Member {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  rebalanceTimeoutMs: number;
  sessionTimeoutMs: number;
  protocols: readonly MemberProtocol[];
  assignment: Uint8Array;
  /** Has not seen the end of its first join. */
  isNew: boolean;
  joinRequestId: number | null;
  syncRequestId: number | null;
  /** When it counts as dead, monotonic; Infinity while it waits for an answer of ours. */
  deadlineMs: number;
}

/** How the join phase ends by itself. */
interface JoinDeadline {
  readonly atMs: number;
  /** Set while a new group waits for its first members: what can still be added to the wait. */
  readonly initial: { readonly delayMs: number; readonly remainingMs: number } | null;
}

/** What to do once an append is committed or has failed. */
type AfterAppend =
  | {
    readonly kind: "assignment";
    readonly generationId: number;
    readonly assignments: ReadonlyMap<string, Uint8Array>;
  }
  | {
    readonly kind: "replacement";
    readonly before: Member;
    readonly memberId: string;
    readonly requestId: number;
    readonly leaderBefore: string;
    readonly supportsSkippingAssignment: boolean;
  };

/** A classic group. Every public method that takes a `now` returns the effects of the event. */
export class ClassicGroup {
  readonly type = "classic";
  readonly groupId: string;
  readonly #settings: ClassicGroupSettings;
  #state: ClassicGroupState = "Empty";
  #previousState: ClassicGroupState = "Empty";
  #stateTimestamp: TimestampMs;
  #generationId = 0;
  #protocolType: string | null = null;
  #protocolName: string | null = null;
  #leader: string | null = null;
  readonly #members = new Map<string, Member>();
  /** Instance id → member id. */
  readonly #staticMembers = new Map<string, string>();
  /** Members that were told to come back with the id in here → when they are forgotten. */
  readonly #pendingMembers = new Map<string, number>();
  /** Members of this generation that have not asked for their assignment yet. */
  readonly #pendingSync = new Set<string>();
  /** Protocol name → how many members offer it. */
  readonly #protocolSupport = new Map<string, number>();
  #awaitingJoinCount = 0;
  #newMemberAdded = false;
  #joinDeadline: JoinDeadline | null = null;
  #syncDeadlineMs = Infinity;
  /** Never later than the earliest deadline in the group. */
  #nextDeadlineMs = Infinity;
  /** Topics of all members' subscriptions; null when not known (other protocols, odd bytes). */
  #subscribedTopics: ReadonlySet<string> | null = null;
  #nextAppendId = 1;
  readonly #afterAppend = new Map<number, AfterAppend>();
  #effects: GroupEffect[] = [];

  constructor(groupId: string, settings: ClassicGroupSettings, now: Now) {
    this.groupId = groupId;
    this.#settings = settings;
    this.#stateTimestamp = now.wallMs;
  }

  /** The group that a record of the log describes; its members' sessions start again at `now`. */
  static restore(
    groupId: string,
    metadata: GroupMetadata,
    settings: ClassicGroupSettings,
    now: Now,
  ): ClassicGroup {
    const group = new ClassicGroup(groupId, settings, now);
    group.#protocolType = metadata.protocolType === "" ? null : metadata.protocolType;
    group.#protocolName = metadata.protocolName;
    group.#generationId = metadata.generationId;
    if (metadata.currentStateTimestamp >= 0) group.#stateTimestamp = metadata.currentStateTimestamp;
    for (const member of metadata.members) {
      group.#insert({
        ...member,
        protocols: [{ name: metadata.protocolName ?? "", metadata: member.subscription }],
        isNew: false,
        joinRequestId: null,
        syncRequestId: null,
        deadlineMs: Infinity,
      });
      group.#restartSession(member.memberId, now);
    }
    if (group.#members.size > 0) {
      group.#state = "Stable";
      group.#previousState = "CompletingRebalance";
      const leader = metadata.leader;
      if (leader !== null && group.#members.has(leader)) group.#leader = leader;
    }
    group.#subscribedTopics = group.#computeSubscribedTopics();
    return group;
  }

  get state(): ClassicGroupState {
    return this.#state;
  }
  get generationId(): number {
    return this.#generationId;
  }
  /** Null for a group that never had a member: its offsets were committed by a simple consumer. */
  get protocolType(): string | null {
    return this.#protocolType;
  }
  get protocolName(): string | null {
    return this.#protocolName;
  }
  get leader(): string | null {
    return this.#leader;
  }
  get memberCount(): number {
    return this.#members.size;
  }
  /** True while nobody is a member, or about to be. */
  get isEmpty(): boolean {
    return this.#state === "Empty" && this.#pendingMembers.size === 0;
  }
  /** True while nothing was ever written of the group. */
  get isBlank(): boolean {
    return this.isEmpty && this.#protocolType === null && this.#generationId === 0;
  }
  get pendingMemberCount(): number {
    return this.#pendingMembers.size;
  }
  /** Since when the group is in its state. */
  get stateTimestamp(): TimestampMs {
    return this.#stateTimestamp;
  }
  /** Monotonic time at which `tick` has work, or a little before; Infinity when there is none. */
  get nextDeadlineMs(): number {
    return this.#nextDeadlineMs;
  }

  /** Members as DescribeGroups shows them; the bytes only once the group is stable. */
  members(): PersistedMember[] {
    const isStable = this.#state === "Stable";
    return [...this.#members.values()].map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      rebalanceTimeoutMs: member.rebalanceTimeoutMs,
      sessionTimeoutMs: member.sessionTimeoutMs,
      subscription: isStable ? this.#metadataOf(member) : NO_BYTES,
      assignment: isStable ? member.assignment : NO_BYTES,
    }));
  }

  /** Members with all that they brought, for a group that goes over to the consumer protocol. */
  migratingMembers(): MigratingMember[] {
    return [...this.#members.values()].map((member) => ({
      ...member,
      subscription: this.#metadataOf(member),
    }));
  }

  /** Whether a member may read `topic` now, so that its offsets must stay. */
  isSubscribedToTopic(topic: string): boolean {
    if (this.#subscribedTopics !== null) return this.#subscribedTopics.has(topic);
    return this.#protocolType === CONSUMER_PROTOCOL_TYPE;
  }

  /**
   * The time from which an offset's retention counts, or null while none of the group's may expire.
   * A group that lost its members keeps all its offsets for the whole retention after that.
   */
  retentionStartMs(commitTimestampMs: TimestampMs): TimestampMs | null {
    if (this.#protocolType === null) return commitTimestampMs;
    if (this.#state === "Empty") return this.#stateTimestamp;
    const knowsTopics = this.#protocolType === CONSUMER_PROTOCOL_TYPE &&
      this.#subscribedTopics !== null;
    return knowsTopics && this.#state === "Stable" ? commitTimestampMs : null;
  }

  // ---- requests -------------------------------------------------------------------------------------

  /** A member wants in, or wants to go through another rebalance. */
  join(request: JoinRequest, now: Now): GroupEffect[] {
    const error = this.#joinRefusal(request);
    if (error !== ErrorCode.NONE) {
      const isFull = error === ErrorCode.GROUP_MAX_SIZE_REACHED;
      this.#answerJoin(request.requestId, failedJoin(error, isFull ? "" : request.memberId));
      if (isFull) this.#leaveOut(request.memberId, now);
    } else if (request.memberId === "") {
      this.#joinNew(request, now);
    } else if (this.#pendingMembers.has(request.memberId)) {
      this.#addMember(request.memberId, request, now);
    } else {
      this.#rejoin(request, now);
    }
    return this.#takeEffects();
  }

  /** A member asks for its assignment; the leader brings everyone's. */
  sync(request: SyncRequest, now: Now): GroupEffect[] {
    const error = this.#syncRefusal(request);
    if (error !== ErrorCode.NONE) {
      this.#answerSync(request.requestId, failedSync(error));
      return this.#takeEffects();
    }
    const member = this.#member(request.memberId);
    this.#pendingSync.delete(member.memberId);
    if (this.#pendingSync.size === 0) this.#syncDeadlineMs = Infinity;
    if (this.#state === "Stable") {
      this.#answerSync(request.requestId, this.#assignmentOf(member));
      this.#restartSession(member.memberId, now);
      return this.#takeEffects();
    }
    assert(this.#state === "CompletingRebalance");
    this.#supersedeSync(member);
    member.syncRequestId = request.requestId;
    member.deadlineMs = Infinity;
    if (member.memberId === this.#leader) {
      this.#append(
        { kind: "assignment", generationId: this.#generationId, assignments: request.assignments },
        request.assignments,
      );
    }
    return this.#takeEffects();
  }

  /** A sign of life. Returns the answer's error code; there is no other effect. */
  heartbeat(claim: MemberClaim, now: Now): ErrorCode {
    if (this.#state === "Dead") return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    const error = this.#claimError(claim.memberId, claim.groupInstanceId);
    if (error !== ErrorCode.NONE) return error;
    if (claim.generationId !== this.#generationId) return ErrorCode.ILLEGAL_GENERATION;
    assert(this.#state !== "Empty");
    this.#restartSession(claim.memberId, now);
    return this.#state === "PreparingRebalance" ? ErrorCode.REBALANCE_IN_PROGRESS : ErrorCode.NONE;
  }

  /** Members go. Returns one error code for each, in order. */
  leave(
    leaving: readonly LeavingMember[],
    now: Now,
  ): { readonly errors: ErrorCode[]; readonly effects: GroupEffect[] } {
    if (this.#state === "Dead") {
      return { errors: leaving.map(() => ErrorCode.COORDINATOR_NOT_AVAILABLE), effects: [] };
    }
    const errors = leaving.map((member) => this.#leaveOne(member));
    const left = leaving.filter((_, index) => errors[index] === ErrorCode.NONE);
    if (left.length > 0) {
      const names = left.map((member) => {
        const reason = member.reason === null || member.reason === "" ? "" : ` (${member.reason})`;
        return (member.memberId === "" ? member.groupInstanceId : member.memberId) + reason;
      });
      const reason = `left: ${names.join(", ")}`;
      this.#afterDeparture({ cause: "member_left", reason }, now);
    }
    return { errors, effects: this.#takeEffects() };
  }

  /** Whether a commit of offsets may go on; a member's commit also proves that it lives. */
  checkOffsetCommit(claim: MemberClaim, transactional: boolean, now: Now): ErrorCode {
    const { memberId, groupInstanceId, generationId } = claim;
    if (this.#state === "Dead") return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    if (generationId < 0 && this.#state === "Empty") return ErrorCode.NONE;
    if (generationId >= 0 || memberId !== "" || groupInstanceId !== null) {
      const error = this.#claimError(memberId, groupInstanceId);
      if (error !== ErrorCode.NONE) return error;
      if (generationId !== this.#generationId) return ErrorCode.ILLEGAL_GENERATION;
    } else if (!transactional && this.#state !== "Empty") {
      return ErrorCode.UNKNOWN_MEMBER_ID;
    }
    if (!transactional && this.#state === "CompletingRebalance") {
      return ErrorCode.REBALANCE_IN_PROGRESS;
    }
    if (!transactional) this.#restartSession(memberId, now);
    return ErrorCode.NONE;
  }

  /** Whether offsets may be deleted; what members are subscribed to stays (see isSubscribedToTopic). */
  checkOffsetDelete(): ErrorCode {
    if (this.#state === "Dead") return ErrorCode.GROUP_ID_NOT_FOUND;
    if (this.#state === "Empty" || this.#protocolType === CONSUMER_PROTOCOL_TYPE) {
      return ErrorCode.NONE;
    }
    return ErrorCode.NON_EMPTY_GROUP;
  }

  /** Whether the whole group may be deleted. */
  checkDelete(): ErrorCode {
    if (this.#state === "Dead") return ErrorCode.GROUP_ID_NOT_FOUND;
    return this.#state === "Empty" ? ErrorCode.NONE : ErrorCode.NON_EMPTY_GROUP;
  }

  // ---- time and the log -----------------------------------------------------------------------------

  /** Lets everything happen whose time has come. */
  tick(now: Now): GroupEffect[] {
    if (now.monotonicMs < this.#nextDeadlineMs) return [];
    for (const [memberId, deadlineMs] of [...this.#pendingMembers]) {
      if (deadlineMs <= now.monotonicMs) this.#expirePending(memberId, now);
    }
    for (const member of [...this.#members.values()]) {
      if (member.deadlineMs <= now.monotonicMs && this.#members.get(member.memberId) === member) {
        this.#expireMember(member, now);
      }
    }
    if (this.#syncDeadlineMs <= now.monotonicMs) this.#expireSync(now);
    if (this.#joinDeadline !== null && this.#joinDeadline.atMs <= now.monotonicMs) {
      this.#expireJoin(this.#joinDeadline, now);
    }
    this.#recomputeNextDeadline();
    return this.#takeEffects();
  }

  /** The append named `appendId` is committed (error NONE) or will never be. */
  appended(appendId: number, error: ErrorCode, now: Now): GroupEffect[] {
    const after = this.#afterAppend.get(appendId);
    if (after === undefined) return [];
    this.#afterAppend.delete(appendId);
    if (after.kind === "assignment") this.#assignmentAppended(after, error, now);
    else this.#replacementAppended(after, error, now);
    return this.#takeEffects();
  }

  /** A freshly loaded group that is too large for a limit lowered meanwhile goes through a rebalance. */
  enforceMaxSize(now: Now): GroupEffect[] {
    if (this.#state === "Stable" && this.#members.size > this.#settings.maxSize) {
      const reason = `loaded with ${this.#members.size} members, more than group.max.size`;
      this.#prepareRebalance({ cause: "group_too_large", reason }, now);
    }
    return this.#takeEffects();
  }

  /** A group that was a consumer group until now: its members have to find together. */
  rebalance(rebalance: Rebalance, now: Now): GroupEffect[] {
    if (this.#state === "Stable") this.#prepareRebalance(rebalance, now);
    return this.#takeEffects();
  }

  /** The end of this object: the group was deleted, or is led elsewhere. Who waits learns `error`. */
  die(error: ErrorCode, now: Now): GroupEffect[] {
    for (const member of this.#members.values()) {
      this.#finishJoin(member, failedJoin(error, member.memberId));
      this.#finishSync(member, failedSync(error));
    }
    this.#transitionTo("Dead", now);
    this.#joinDeadline = null;
    this.#nextDeadlineMs = Infinity;
    this.#afterAppend.clear();
    return this.#takeEffects();
  }

  // ---- joining --------------------------------------------------------------------------------------

  /** Kafka's order of checks for every join. */
  #joinRefusal(request: JoinRequest): ErrorCode {
    if (!this.#acceptsInSize(request.memberId)) return ErrorCode.GROUP_MAX_SIZE_REACHED;
    if (this.#state === "Dead") return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    if (!this.#supportsProtocols(request)) return ErrorCode.INCONSISTENT_GROUP_PROTOCOL;
    if (request.memberId === "" || this.#pendingMembers.has(request.memberId)) {
      return ErrorCode.NONE;
    }
    return this.#claimError(request.memberId, request.groupInstanceId);
  }

  /**
   * In a join phase those who wait already count, so that the last to come back are the ones left out
   * when the limit was lowered; later all members count.
   */
  #acceptsInSize(memberId: string): boolean {
    const member = this.#members.get(memberId);
    switch (this.#state) {
      case "Empty":
      case "Dead":
        return true;
      case "PreparingRebalance":
        return (member !== undefined && member.joinRequestId !== null) ||
          this.#awaitingJoinCount < this.#settings.maxSize;
      case "CompletingRebalance":
      case "Stable":
        return member !== undefined || this.#members.size < this.#settings.maxSize;
    }
  }

  /** The group is full without this one, which may have been a member before the limit was lowered. */
  #leaveOut(memberId: string, now: Now): void {
    this.#pendingMembers.delete(memberId);
    const member = this.#members.get(memberId);
    if (member !== undefined) this.#dismiss(member);
    this.#maybeCompleteJoin(now);
  }

  #supportsProtocols({ protocolType, protocols }: JoinRequest): boolean {
    if (this.#members.size === 0) return protocolType !== "" && protocols.length > 0;
    return protocolType === this.#protocolType &&
      protocols.some(({ name }) => this.#protocolSupport.get(name) === this.#members.size);
  }

  #joinNew(request: JoinRequest, now: Now): void {
    const replaced = request.groupInstanceId === null
      ? undefined
      : this.#staticMembers.get(request.groupInstanceId);
    if (replaced !== undefined) {
      this.#replaceStaticMember(replaced, request, now);
    } else if (request.groupInstanceId === null && request.requiresKnownMemberId) {
      this.#pendingMembers.set(request.newMemberId, now.monotonicMs + request.sessionTimeoutMs);
      this.#noteDeadline(now.monotonicMs + request.sessionTimeoutMs);
      this.#answerJoin(
        request.requestId,
        failedJoin(ErrorCode.MEMBER_ID_REQUIRED, request.newMemberId),
      );
    } else {
      this.#addMember(request.newMemberId, request, now);
    }
  }

  #addMember(memberId: string, request: JoinRequest, now: Now): void {
    this.#pendingMembers.delete(memberId);
    if (this.#members.size === 0) this.#protocolType = request.protocolType;
    if (this.#state === "PreparingRebalance" && this.#previousState === "Empty") {
      this.#newMemberAdded = true;
    }
    const deadlineMs = now.monotonicMs + NEW_MEMBER_JOIN_TIMEOUT_MS;
    this.#insert({
      memberId,
      groupInstanceId: request.groupInstanceId,
      clientId: request.clientId,
      clientHost: request.clientHost,
      rebalanceTimeoutMs: request.rebalanceTimeoutMs,
      sessionTimeoutMs: request.sessionTimeoutMs,
      protocols: request.protocols,
      assignment: NO_BYTES,
      isNew: true,
      joinRequestId: request.requestId,
      syncRequestId: null,
      deadlineMs,
    });
    this.#awaitingJoinCount += 1;
    this.#noteDeadline(deadlineMs);
    const reason = describeJoin("joined", memberId, request);
    this.#rebalanceOrCompleteJoin({ cause: "member_joined", reason }, now);
  }

  /** A join of a member that the group knows. */
  #rejoin(request: JoinRequest, now: Now): void {
    const member = this.#member(request.memberId);
    const isUnchanged = sameProtocols(member.protocols, request.protocols);
    const isLeader = this.#leader === member.memberId;
    if (isUnchanged && this.#state === "CompletingRebalance") {
      // Its answer to the last join was likely lost: give it again.
      this.#answerJoin(request.requestId, this.#joined(member, isLeader));
    } else if (isUnchanged && this.#state === "Stable" && !isLeader) {
      this.#answerJoin(request.requestId, this.#joined(member, false));
    } else {
      // A leader that joins again wants a rebalance: it may have seen a change of topics.
      this.#updateMember(member, request);
      const what = isUnchanged ? "rejoined" : "rejoined with changed metadata";
      const reason = describeJoin(what, member.memberId, request);
      const cause = isUnchanged ? "leader_rejoined" : "subscription_changed";
      this.#rebalanceOrCompleteJoin({ cause, reason }, now);
    }
  }

  #updateMember(member: Member, request: JoinRequest): void {
    this.#countProtocols(member, -1);
    member.protocols = request.protocols;
    member.rebalanceTimeoutMs = request.rebalanceTimeoutMs;
    member.sessionTimeoutMs = request.sessionTimeoutMs;
    this.#countProtocols(member, 1);
    // Someone waits for the older join no longer; a client that does must ask again.
    this.#finishJoin(member, failedJoin(ErrorCode.REBALANCE_IN_PROGRESS, member.memberId));
    member.joinRequestId = request.requestId;
    if (!member.isNew) member.deadlineMs = Infinity;
    this.#awaitingJoinCount += 1;
  }

  /** A static member came back without its member id: it gets a new one, and the old one is fenced. */
  #replaceStaticMember(oldMemberId: string, request: JoinRequest, now: Now): void {
    const leaderBefore = this.#leader ?? "";
    const before = this.#member(oldMemberId);
    this.#finishJoin(before, failedJoin(ErrorCode.FENCED_INSTANCE_ID, oldMemberId));
    this.#finishSync(before, failedSync(ErrorCode.FENCED_INSTANCE_ID));
    const member = this.#exchange(before, { ...before, memberId: request.newMemberId });
    this.#restartSession(member.memberId, now);
    this.#updateMember(member, request);
    const reason = describeJoin("came back as static member", member.memberId, request);
    const cause = "static_member_replaced";
    switch (this.#state) {
      case "Stable":
        if (this.#selectProtocol() !== this.#protocolName) {
          const why = `${reason}; the protocol changes`;
          this.#rebalanceOrCompleteJoin({ cause, reason: why }, now);
          return;
        }
        this.#append({
          kind: "replacement",
          before,
          memberId: member.memberId,
          requestId: request.requestId,
          leaderBefore,
          supportsSkippingAssignment: request.supportsSkippingAssignment,
        }, null);
        return;
      case "CompletingRebalance":
        // The leader may be assigning to the old member id at this moment.
        this.#prepareRebalance({ cause, reason }, now);
        return;
      case "PreparingRebalance":
        this.#maybeCompleteJoin(now);
        return;
      default:
        assert.fail(`Cannot replace a member of group ${this.groupId}: it is ${this.#state}`);
    }
  }

  #exchange(from: Member, to: Member): Member {
    assert(from.groupInstanceId !== null);
    this.#members.delete(from.memberId);
    this.#members.set(to.memberId, to);
    this.#staticMembers.set(from.groupInstanceId, to.memberId);
    if (this.#pendingSync.delete(from.memberId)) this.#pendingSync.add(to.memberId);
    if (this.#leader === from.memberId) this.#leader = to.memberId;
    return to;
  }

  #replacementAppended(
    after: Extract<AfterAppend, { kind: "replacement" }>,
    error: ErrorCode,
    now: Now,
  ): void {
    const member = this.#members.get(after.memberId);
    // A rebalance that began meanwhile answers this join itself.
    if (this.#state !== "Stable" || member?.joinRequestId !== after.requestId) return;
    if (error !== ErrorCode.NONE) {
      this.#finishJoin(member, failedJoin(error, ""));
      this.#countProtocols(member, -1);
      this.#countProtocols(this.#exchange(member, after.before), 1);
      this.#restartSession(after.before.memberId, now);
      return;
    }
    const isLeader = this.#leader === member.memberId;
    const answer = this.#joined(member, isLeader && after.supportsSkippingAssignment);
    // Older clients must not take themselves for the leader: they would assign without a rebalance.
    this.#finishJoin(
      member,
      after.supportsSkippingAssignment
        ? { ...answer, skipAssignment: isLeader }
        : { ...answer, leader: after.leaderBefore },
    );
    this.#restartSession(member.memberId, now);
  }

  // ---- rebalancing ----------------------------------------------------------------------------------

  #rebalanceOrCompleteJoin(rebalance: Rebalance, now: Now): void {
    if (this.#state === "PreparingRebalance") this.#maybeCompleteJoin(now);
    else this.#prepareRebalance(rebalance, now);
  }

  #prepareRebalance(rebalance: Rebalance, now: Now): void {
    if (this.#state === "CompletingRebalance") {
      for (const member of this.#members.values()) {
        member.assignment = NO_BYTES;
        if (this.#finishSync(member, failedSync(ErrorCode.REBALANCE_IN_PROGRESS))) {
          this.#restartSession(member.memberId, now);
        }
      }
    }
    this.#syncDeadlineMs = Infinity;
    this.#effects.push({ kind: "rebalance", rebalance });
    const isInitial = this.#state === "Empty";
    this.#transitionTo("PreparingRebalance", now);
    if (!isInitial) {
      if (this.#hasAllJoined()) this.#completeJoin(now);
      else this.#setJoinDeadline(now.monotonicMs + this.#rebalanceTimeoutMs(), null);
      return;
    }
    // The group is new: wait a little for others, so that the first members do not rebalance at once.
    const delayMs = this.#settings.initialRebalanceDelayMs;
    this.#newMemberAdded = false;
    const remainingMs = Math.max(this.#rebalanceTimeoutMs() - delayMs, 0);
    this.#setJoinDeadline(now.monotonicMs + delayMs, { delayMs, remainingMs });
  }

  #expireJoin({ initial }: JoinDeadline, now: Now): void {
    if (initial === null || !this.#newMemberAdded || initial.remainingMs === 0) {
      this.#completeJoin(now);
      return;
    }
    this.#newMemberAdded = false;
    const delayMs = Math.min(this.#settings.initialRebalanceDelayMs, initial.remainingMs);
    const remainingMs = Math.max(initial.remainingMs - initial.delayMs, 0);
    this.#setJoinDeadline(now.monotonicMs + delayMs, { delayMs, remainingMs });
  }

  /** Ends the join phase early when everyone is there; a new group waits out its initial delay. */
  #maybeCompleteJoin(now: Now): void {
    if (this.#state !== "PreparingRebalance" || this.#joinDeadline?.initial) return;
    if (this.#hasAllJoined()) this.#completeJoin(now);
  }

  #hasAllJoined(): boolean {
    return this.#awaitingJoinCount === this.#members.size && this.#pendingMembers.size === 0;
  }

  #completeJoin(now: Now): void {
    this.#joinDeadline = null;
    for (const member of [...this.#members.values()]) {
      // Static members may be away for their whole session.
      if (member.joinRequestId === null && member.groupInstanceId === null) this.#remove(member);
    }
    if (this.#members.size > 0 && !this.#electJoinedLeader()) {
      // Only static members that are away: wait for them, or for the end of their sessions.
      this.#setJoinDeadline(now.monotonicMs + this.#rebalanceTimeoutMs(), null);
      return;
    }
    this.#generationId += 1;
    this.#pendingSync.clear();
    if (this.#members.size === 0) {
      this.#protocolName = null;
      this.#subscribedTopics = this.#computeSubscribedTopics();
      this.#transitionTo("Empty", now);
      this.#append(null, null);
      return;
    }
    this.#protocolName = this.#selectProtocol();
    this.#subscribedTopics = this.#computeSubscribedTopics();
    this.#transitionTo("CompletingRebalance", now);
    for (const member of this.#members.values()) {
      this.#finishJoin(member, this.#joined(member, member.memberId === this.#leader));
      member.isNew = false;
      this.#restartSession(member.memberId, now);
      this.#pendingSync.add(member.memberId);
    }
    this.#syncDeadlineMs = now.monotonicMs + this.#rebalanceTimeoutMs();
    this.#noteDeadline(this.#syncDeadlineMs);
  }

  /** Sees to it that the leader is one who has joined; false when nobody has. */
  #electJoinedLeader(): boolean {
    const leader = this.#leader === null ? undefined : this.#members.get(this.#leader);
    if (leader !== undefined && leader.joinRequestId !== null) return true;
    for (const member of this.#members.values()) {
      if (member.joinRequestId !== null) {
        this.#leader = member.memberId;
        return true;
      }
    }
    return false;
  }

  /** Each member votes for the first of its protocols that all offer; the leader's order breaks ties. */
  #selectProtocol(): string {
    const votes = new Map<string, number>();
    for (const { name } of this.#members.get(this.#leader ?? "")?.protocols ?? []) {
      if (this.#protocolSupport.get(name) === this.#members.size) votes.set(name, 0);
    }
    for (const member of this.#members.values()) {
      const choice = member.protocols.find(({ name }) => votes.has(name));
      assert(
        choice !== undefined,
        `Cannot choose a protocol for group ${this.groupId}: none is shared`,
      );
      votes.set(choice.name, (votes.get(choice.name) ?? 0) + 1);
    }
    let winner = "";
    for (const [name, count] of votes) {
      if (winner === "" || count > (votes.get(winner) ?? 0)) winner = name;
    }
    return winner;
  }

  #assignmentAppended(
    after: Extract<AfterAppend, { kind: "assignment" }>,
    error: ErrorCode,
    now: Now,
  ): void {
    // Another rebalance, or the leader's own retry, may have overtaken this append.
    if (this.#state !== "CompletingRebalance" || after.generationId !== this.#generationId) return;
    if (error !== ErrorCode.NONE) {
      for (const member of this.#members.values()) {
        member.assignment = NO_BYTES;
        if (this.#finishSync(member, failedSync(error))) this.#restartSession(member.memberId, now);
      }
      const reason = "could not write the assignment to the log";
      this.#prepareRebalance({ cause: "write_failed", reason }, now);
      return;
    }
    this.#transitionTo("Stable", now);
    for (const member of this.#members.values()) {
      member.assignment = after.assignments.get(member.memberId) ?? NO_BYTES;
      if (this.#finishSync(member, this.#assignmentOf(member))) {
        this.#restartSession(member.memberId, now);
      }
    }
  }

  // ---- going ----------------------------------------------------------------------------------------

  #leaveOne({ memberId, groupInstanceId }: LeavingMember): ErrorCode {
    if (memberId === "") {
      // An operator may remove a static member by its instance id alone.
      const known = groupInstanceId === null ? undefined : this.#staticMembers.get(groupInstanceId);
      if (known === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
      this.#dismiss(this.#member(known));
      return ErrorCode.NONE;
    }
    if (this.#pendingMembers.delete(memberId)) return ErrorCode.NONE;
    const error = this.#claimError(memberId, groupInstanceId);
    if (error === ErrorCode.NONE) this.#dismiss(this.#member(memberId));
    return error;
  }

  /** Removes a member and answers what it waits for. */
  #dismiss(member: Member): void {
    this.#finishJoin(member, failedJoin(ErrorCode.UNKNOWN_MEMBER_ID, ""));
    this.#finishSync(member, failedSync(ErrorCode.UNKNOWN_MEMBER_ID));
    this.#remove(member);
  }

  #afterDeparture(rebalance: Rebalance, now: Now): void {
    if (this.#state === "Stable" || this.#state === "CompletingRebalance") {
      this.#prepareRebalance(rebalance, now);
    } else {
      this.#maybeCompleteJoin(now);
    }
  }

  #expirePending(memberId: string, now: Now): void {
    this.#pendingMembers.delete(memberId);
    this.#maybeCompleteJoin(now);
  }

  #expireMember(member: Member, now: Now): void {
    this.#dismiss(member);
    const reason = `session of ${member.memberId} timed out`;
    this.#afterDeparture({ cause: "session_expired", reason }, now);
  }

  #expireSync(now: Now): void {
    this.#syncDeadlineMs = Infinity;
    const late = [...this.#pendingSync];
    if (late.length === 0) return;
    for (const memberId of late) this.#dismiss(this.#member(memberId));
    const reason = `no sync within the rebalance timeout from ${late.join(", ")}`;
    this.#prepareRebalance({ cause: "rebalance_timeout", reason }, now);
  }

  // ---- small parts ----------------------------------------------------------------------------------

  #transitionTo(state: ClassicGroupState, now: Now): void {
    const allowed: readonly ClassicGroupState[] = ALLOWED_TRANSITIONS[this.#state];
    assert(
      allowed.includes(state),
      `Cannot move group ${this.groupId} from ${this.#state} to ${state}`,
    );
    this.#previousState = this.#state;
    this.#state = state;
    this.#stateTimestamp = now.wallMs;
  }

  #member(memberId: string): Member {
    const member = this.#members.get(memberId);
    assert(member !== undefined, `Cannot find member ${memberId} in group ${this.groupId}`);
    return member;
  }

  #claimError(memberId: string, groupInstanceId: string | null): ErrorCode {
    if (groupInstanceId !== null) {
      const holder = this.#staticMembers.get(groupInstanceId);
      if (holder === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
      if (holder !== memberId) return ErrorCode.FENCED_INSTANCE_ID;
    }
    return this.#members.has(memberId) ? ErrorCode.NONE : ErrorCode.UNKNOWN_MEMBER_ID;
  }

  #syncRefusal(request: SyncRequest): ErrorCode {
    if (this.#state === "Dead") return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    const error = this.#claimError(request.memberId, request.groupInstanceId);
    if (error !== ErrorCode.NONE) return error;
    if (request.generationId !== this.#generationId) return ErrorCode.ILLEGAL_GENERATION;
    const { protocolType, protocolName } = request;
    if (
      (protocolType !== null && protocolType !== this.#protocolType) ||
      (protocolName !== null && protocolName !== this.#protocolName)
    ) return ErrorCode.INCONSISTENT_GROUP_PROTOCOL;
    assert(this.#state !== "Empty");
    return this.#state === "PreparingRebalance" ? ErrorCode.REBALANCE_IN_PROGRESS : ErrorCode.NONE;
  }

  #insert(member: Member): void {
    assert(!this.#members.has(member.memberId));
    this.#members.set(member.memberId, member);
    if (member.groupInstanceId !== null) {
      this.#staticMembers.set(member.groupInstanceId, member.memberId);
    }
    this.#countProtocols(member, 1);
    this.#leader ??= member.memberId;
  }

  #remove(member: Member): void {
    assert(member.joinRequestId === null && member.syncRequestId === null);
    this.#members.delete(member.memberId);
    this.#pendingSync.delete(member.memberId);
    if (member.groupInstanceId !== null) this.#staticMembers.delete(member.groupInstanceId);
    this.#countProtocols(member, -1);
    if (this.#leader === member.memberId) {
      this.#leader = this.#members.keys().next().value ?? null;
    }
  }

  #countProtocols(member: Member, change: 1 | -1): void {
    for (const name of new Set(member.protocols.map((protocol) => protocol.name))) {
      const count = (this.#protocolSupport.get(name) ?? 0) + change;
      if (count === 0) this.#protocolSupport.delete(name);
      else this.#protocolSupport.set(name, count);
    }
  }

  #metadataOf(member: Member): Uint8Array {
    return member.protocols.find(({ name }) => name === this.#protocolName)?.metadata ?? NO_BYTES;
  }

  #computeSubscribedTopics(): ReadonlySet<string> | null {
    if (this.#protocolType !== CONSUMER_PROTOCOL_TYPE) return null;
    const topics = new Set<string>();
    for (const member of this.#members.values()) {
      const subscribed = subscribedTopicsOf(this.#metadataOf(member));
      if (subscribed === null) return null;
      for (const topic of subscribed) topics.add(topic);
    }
    return topics;
  }

  /** The longest that any member asked for. */
  #rebalanceTimeoutMs(): number {
    let longestMs = 0;
    for (const member of this.#members.values()) {
      longestMs = Math.max(longestMs, member.rebalanceTimeoutMs);
    }
    return longestMs;
  }

  #joined(member: Member, withMembers: boolean): JoinAnswer {
    return {
      error: ErrorCode.NONE,
      memberId: member.memberId,
      generationId: this.#generationId,
      protocolType: this.#protocolType,
      protocolName: this.#protocolName,
      leader: this.#leader ?? "",
      skipAssignment: false,
      members: withMembers
        ? [...this.#members.values()].map((other) => ({
          memberId: other.memberId,
          groupInstanceId: other.groupInstanceId,
          metadata: this.#metadataOf(other),
        }))
        : [],
    };
  }

  #assignmentOf(member: Member): SyncAnswer {
    return {
      error: ErrorCode.NONE,
      protocolType: this.#protocolType,
      protocolName: this.#protocolName,
      assignment: member.assignment,
    };
  }

  /** Appends the group as it is, with `assignments` in place of the members' own where given. */
  #append(after: AfterAppend | null, assignments: ReadonlyMap<string, Uint8Array> | null): void {
    const appendId = this.#nextAppendId++;
    if (after !== null) this.#afterAppend.set(appendId, after);
    this.#effects.push({
      kind: "append",
      appendId,
      metadata: {
        protocolType: this.#protocolType ?? "",
        generationId: this.#generationId,
        protocolName: this.#protocolName,
        leader: this.#leader,
        currentStateTimestamp: this.#stateTimestamp,
        members: [...this.#members.values()].map((member) => ({
          memberId: member.memberId,
          groupInstanceId: member.groupInstanceId,
          clientId: member.clientId,
          clientHost: member.clientHost,
          rebalanceTimeoutMs: member.rebalanceTimeoutMs,
          sessionTimeoutMs: member.sessionTimeoutMs,
          subscription: this.#metadataOf(member),
          assignment: assignments === null
            ? member.assignment
            : assignments.get(member.memberId) ?? NO_BYTES,
        })),
      },
    });
  }

  #finishJoin(member: Member, answer: JoinAnswer): void {
    if (member.joinRequestId === null) return;
    this.#answerJoin(member.joinRequestId, answer);
    member.joinRequestId = null;
    this.#awaitingJoinCount -= 1;
  }

  #finishSync(member: Member, answer: SyncAnswer): boolean {
    if (member.syncRequestId === null) return false;
    this.#answerSync(member.syncRequestId, answer);
    member.syncRequestId = null;
    return true;
  }

  #supersedeSync(member: Member): void {
    this.#finishSync(member, failedSync(ErrorCode.REBALANCE_IN_PROGRESS));
  }

  #answerJoin(requestId: number, answer: JoinAnswer): void {
    this.#effects.push({ kind: "joinAnswer", requestId, answer });
  }

  #answerSync(requestId: number, answer: SyncAnswer): void {
    this.#effects.push({ kind: "syncAnswer", requestId, answer });
  }

  /** Starts the member's session again, unless it waits for an answer of ours. */
  #restartSession(memberId: string, now: Now): void {
    const member = this.#members.get(memberId);
    if (member === undefined || member.isNew) return;
    const isWaiting = member.joinRequestId !== null || member.syncRequestId !== null;
    member.deadlineMs = isWaiting ? Infinity : now.monotonicMs + member.sessionTimeoutMs;
    this.#noteDeadline(member.deadlineMs);
  }

  #setJoinDeadline(atMs: number, initial: JoinDeadline["initial"]): void {
    this.#joinDeadline = { atMs, initial };
    this.#noteDeadline(atMs);
  }

  #noteDeadline(atMs: number): void {
    if (atMs < this.#nextDeadlineMs) this.#nextDeadlineMs = atMs;
  }

  #recomputeNextDeadline(): void {
    let nextMs = Math.min(this.#joinDeadline?.atMs ?? Infinity, this.#syncDeadlineMs);
    for (const deadlineMs of this.#pendingMembers.values()) nextMs = Math.min(nextMs, deadlineMs);
    for (const member of this.#members.values()) nextMs = Math.min(nextMs, member.deadlineMs);
    this.#nextDeadlineMs = nextMs;
  }

  #takeEffects(): GroupEffect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }
}

/** The answer to a JoinGroup that is refused. */
export function failedJoin(error: ErrorCode, memberId: string): JoinAnswer {
  return {
    error,
    memberId,
    generationId: -1,
    protocolType: null,
    protocolName: null,
    leader: "",
    skipAssignment: false,
    members: [],
  };
}

/** The answer to a SyncGroup that is refused. */
export function failedSync(error: ErrorCode): SyncAnswer {
  return { error, protocolType: null, protocolName: null, assignment: NO_BYTES };
}

function describeJoin(what: string, memberId: string, { reason }: JoinRequest): string {
  return `${memberId} ${what}${reason === null || reason === "" ? "" : ` (${reason})`}`;
}

/** Whether two members offer the same, byte by byte and in the same order. */
export function sameProtocols(
  left: readonly MemberProtocol[],
  right: readonly MemberProtocol[],
): boolean {
  return left.length === right.length && left.every((protocol, index) => {
    const other = right[index];
    return other !== undefined && protocol.name === other.name &&
      sameBytes(protocol.metadata, other.metadata);
  });
}

function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, index) => byte === right[index]);
}
