/**
 * One consumer group of the newer protocol (KIP-848) as a pure state machine: heartbeats and time go in, changes of
 * the group's records and answers come out. No clock, no promise, no log in here.
 *
 *     what members are subscribed to ──► group epoch ──► target assignment (of that epoch, by an assignor)
 *                                                            │ each member by itself, heartbeat by heartbeat
 *                                                            ▼
 *                                              what members have, and their epochs
 *
 * Every heartbeat that changes something first notes the member, then bumps the group's epoch where subscriptions or
 * topics changed, then makes a target for that epoch, then takes the member a step towards it (current_assignment.ts).
 * A target is made at most once in `assignmentIntervalMs`, however many members come at a time.
 *
 * A change takes effect here at once and is answered when its records are committed; where the log does not take
 * them, the change is taken back. So what the log says and what is here are the same at every moment.
 *
 * Members of the classic protocol take part (online migration): their joins are heartbeats that wait for nobody, their
 * generation is the member epoch, and what they have goes to them with SyncGroup (classic_members.ts). A classic group
 * becomes a consumer group when the first member of the newer protocol joins, and is made a classic one when the last
 * of them has gone.
 *
 * Invariants: epochs never go down; a partition has one owner; a member is fenced by its epoch, a static member's
 * instance id belongs to one member. Source: KIP-848, KIP-1082 (member ids), KIP-1251 (epochs of assignments),
 * KIP-1263 (assignment interval).
 */

import assert from "node:assert/strict";
import { ErrorCode } from "../../protocol/errors.ts";
import { type TimestampMs, timestampMs, type Uuid } from "../../protocol/types.ts";
import { compileRegex } from "../coordination/bounded_regex.ts";
import {
  type AssignableMember,
  type Assignor,
  type Partitions,
  samePartitions,
} from "./assignors/assignor.ts";
import { assignRanges } from "./assignors/range.ts";
import { assignUniformly } from "./assignors/uniform.ts";
import {
  CONSUMER_PROTOCOL_TYPE,
  failedJoin,
  failedSync,
  type GroupMetadata,
  type JoinAnswer,
  type JoinRequest,
  type LeavingMember,
  type MemberClaim,
  type MigratingMember,
  type Now,
  type SyncAnswer,
  type SyncRequest,
} from "./classic_group.ts";
import {
  claimError,
  classicAssignment,
  classicClaimError,
  classicMemberMetadata,
  classicMetadata,
  idsOf,
  isWaiting,
  migratedMembers,
  supportsProtocols,
} from "./classic_members.ts";
import { decodeSubscription } from "./consumer_protocol.ts";
import {
  type ConsumerGroupChange,
  ConsumerGroupContents,
  ConsumerGroupState,
  hasRegex,
  type MemberMetadata,
  type MemberRequest,
  NO_TARGET,
  type ResolvedRegex,
  sameMetadata,
  sameTexts,
  updatedMetadata,
} from "./consumer_group_state.ts";
import {
  type CurrentAssignment,
  MemberState,
  NEW_MEMBER,
  type OwnedPartitions,
  reconcile,
  sameOwned,
  UNKNOWN_STATE,
} from "./current_assignment.ts";
import type { GroupTopics } from "./group_topics.ts";
import type { Rebalance } from "./rebalance.ts";

/** The epoch by which a member joins. */
export const JOIN_EPOCH = 0;
/** The epoch by which a member leaves. */
export const LEAVE_EPOCH = -1;
/** The epoch by which a static member goes for a while. */
export const LEAVE_STATIC_EPOCH = -2;
/** Topics are looked at again after so long, even when nobody said that they changed. */
const METADATA_REFRESH_MS = 300_000;
/** Who could not be fenced, since the log did not take it, is fenced again so much later. */
const FENCE_AGAIN_MS = 1_000;
/** Who waits for partitions that others have to give up first asks so often: they come a while after they are free. */
const WAITING_HEARTBEAT_MS = 1_000;
/** Regular expressions are looked up at most so often. */
const REGEX_REFRESH_MS = 10_000;

/** The assignors of the server, the first of them for groups that ask for none. */
const ASSIGNORS: ReadonlyMap<string, Assignor> = new Map([
  ["uniform", assignUniformly],
  ["range", assignRanges],
]);

/** The states, under the names that go over the wire. */
export type ConsumerGroupStateName = "Empty" | "Assigning" | "Reconciling" | "Stable";

/** What an operator sets, for all consumer groups or for one. */
export interface ConsumerGroupSettings {
  readonly maxSize: number;
  readonly sessionTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  readonly assignmentIntervalMs: number;
  /** Whether a classic group may become a consumer group, and the other way round. */
  readonly allowsUpgrade: boolean;
  readonly allowsDowngrade: boolean;
  /** Most members of a classic group. */
  readonly classicMaxSize: number;
  /** Names of assignors that members may ask for, the first one for groups that ask for none. */
  readonly assignors: readonly string[];
}

/** What the surroundings are like at the moment of an event. */
export interface ConsumerGroupContext {
  readonly now: Now;
  readonly topics: GroupTopics;
  readonly settings: ConsumerGroupSettings;
}

/** A ConsumerGroupHeartbeat; null and −1 for what the member did not say. */
export interface ConsumerHeartbeat extends MemberRequest {
  readonly memberId: string;
  readonly memberEpoch: number;
  readonly owned: Partitions | null;
}

/** What a heartbeat is answered with. */
export interface ConsumerHeartbeatAnswer {
  readonly memberId: string;
  readonly memberEpoch: number;
  readonly heartbeatIntervalMs: number;
  /** Null: as the member knows it. */
  readonly assignment: OwnedPartitions | null;
}

/** A refusal, with the text that goes with it. */
export interface ConsumerGroupRefusal {
  readonly error: ErrorCode;
  readonly message: string;
}

/** What an event makes of the group. */
export interface ConsumerGroupWrite {
  /** To be appended, in this order. */
  readonly changes: readonly ConsumerGroupChange[];
  /** For `takeBack`, where the log does not take them. */
  readonly undo: readonly ConsumerGroupChange[];
  /** Regular expressions to look up, for `regexesResolved`. */
  readonly toResolve: readonly string[];
  /** Why the group has another epoch; null when it has not. */
  readonly rebalance: Rebalance | null;
  /** The classic group that takes its place, after the changes; null when it stays. */
  readonly downgrade: Downgrade | null;
}

/** What a consumer group becomes without members of its own protocol. */
export interface Downgrade {
  readonly metadata: GroupMetadata;
  /** Why its members have to find together anew; null where nobody has left. */
  readonly rebalance: Rebalance | null;
}

/** A classic group, as a consumer group is made from it. */
export interface Upgrade {
  readonly groupId: string;
  readonly generationId: number;
  readonly members: readonly MigratingMember[];
}

/** A member, as it is described. */
export interface ConsumerMemberDescription {
  readonly memberId: string;
  readonly metadata: MemberMetadata;
  readonly memberEpoch: number;
  /** What it has, and what it is about to let go of. */
  readonly owned: Partitions;
  readonly target: Partitions;
}

/** What an event that changes nothing makes of the group. */
const NO_WRITE: ConsumerGroupWrite = {
  changes: [],
  undo: [],
  toResolve: [],
  rebalance: null,
  downgrade: null,
};

/** A consumer group. */
export class ConsumerGroup {
  readonly type = "consumer";
  readonly groupId: string;
  readonly protocolType = "consumer";
  readonly #state: ConsumerGroupState;
  /** Member id → when it counts as dead. */
  readonly #sessions = new Map<string, number>();
  /** Member id → until when it may take to let go of partitions, in which epoch. */
  readonly #revocations = new Map<string, { readonly atMs: number; readonly epoch: number }>();
  /** Classic members → until when they have to join again, or to ask for their assignment. */
  readonly #joins = new Map<string, number>();
  readonly #syncs = new Map<string, number>();
  /** When topics are looked at next, and as of which of their changes they have been. */
  #refreshAtMs = -Infinity;
  #seenTopics = -1;
  /** When the next target may be made, while one is wanted. */
  #assignAtMs = Infinity;
  #isResolving = false;
  /** Never later than the earliest deadline in the group. */
  #nextDeadlineMs = Infinity;
  #changes: ConsumerGroupChange[] = [];
  #undo: ConsumerGroupChange[] = [];
  #toResolve: readonly string[] = [];
  #rebalance: Rebalance | null = null;
  #downgrade: Downgrade | null = null;

  constructor(groupId: string, contents: ConsumerGroupContents = new ConsumerGroupContents()) {
    this.groupId = groupId;
    this.#state = new ConsumerGroupState(contents);
  }

  /** The group that the records of the log make; its members' sessions start again now. */
  static restore(
    groupId: string,
    contents: ConsumerGroupContents,
    { now, settings }: Pick<ConsumerGroupContext, "now" | "settings">,
  ): ConsumerGroup {
    const group = new ConsumerGroup(groupId, contents);
    for (const memberId of contents.members.keys()) {
      group.#restartSession(memberId, now, settings);
      group.#followRevocation(memberId, group.#state.current(memberId), now);
    }
    if (group.#needsTarget) group.#assignAtMs = now.monotonicMs;
    group.#noteDeadline(group.#assignAtMs);
    return group;
  }

  /** The group that a classic one becomes, its records not written yet; null where its members' bytes do not tell. */
  static upgrade(
    { groupId, generationId: epoch, members }: Upgrade,
    { now, topics, settings }: ConsumerGroupContext,
  ): ConsumerGroup | null {
    const migrated = migratedMembers(members, topics);
    if (migrated === null) return null;
    const group = new ConsumerGroup(groupId);
    for (const { memberId, metadata } of migrated) {
      group.#apply({ kind: "member", memberId, value: metadata });
    }
    const metadataHash = topics.hashOf(group.#state.topics.keys());
    group.#apply({ kind: "group", value: { epoch, metadataHash } });
    for (const { memberId, target } of migrated) {
      group.#apply({ kind: "targetMember", memberId, value: target });
    }
    group.#apply({ kind: "target", value: { epoch, timestampMs: timestampMs(0) } });
    for (const { memberId, target } of migrated) {
      const assigned = new Map(
        [...target].map(([topicId, partitions]) => [
          topicId,
          new Map(partitions.map((partition) => [partition, epoch])),
        ]),
      );
      const value = {
        ...NEW_MEMBER,
        memberEpoch: epoch,
        previousMemberEpoch: epoch,
        assigned,
      };
      group.#apply({ kind: "currentMember", memberId, value });
      group.#restartSession(memberId, now, settings);
    }
    return group;
  }

  get state(): ConsumerGroupStateName {
    if (this.memberCount === 0) return "Empty";
    if (this.#needsTarget) return "Assigning";
    for (const memberId of this.#state.members.keys()) {
      const { memberEpoch, state } = this.#state.current(memberId);
      if (state !== MemberState.stable || memberEpoch !== this.#state.targetEpoch) {
        return "Reconciling";
      }
    }
    return "Stable";
  }
  get epoch(): number {
    return this.#state.epoch;
  }
  get targetEpoch(): number {
    return this.#state.targetEpoch;
  }
  get memberCount(): number {
    return this.#state.members.size;
  }
  get isEmpty(): boolean {
    return this.memberCount === 0;
  }
  /** True while nothing was ever written of the group. */
  get isBlank(): boolean {
    return this.epoch === 0 && this.isEmpty;
  }
  /** Monotonic time at which `tick` has work, or a little before; Infinity when there is none. */
  get nextDeadlineMs(): number {
    return this.#nextDeadlineMs;
  }

  /** The assignor that is asked next. */
  assignorName({ assignors }: Pick<ConsumerGroupSettings, "assignors">): string {
    const preferred = this.#state.preferredAssignor;
    if (preferred !== null && assignors.includes(preferred)) return preferred;
    return assignors[0] ?? "uniform";
  }

  /** Members as ConsumerGroupDescribe shows them. */
  members(): ConsumerMemberDescription[] {
    return [...this.#state.members].map(([memberId, metadata]) => ({
      memberId,
      metadata,
      memberEpoch: this.#state.current(memberId).memberEpoch,
      owned: ownedBy(this.#state.current(memberId)),
      target: this.#state.target(memberId),
    }));
  }

  /** Whether a member may read `topic` now, so that its offsets must stay. */
  isSubscribedToTopic(topic: string): boolean {
    return this.#state.topics.has(topic);
  }

  /** The time from which an offset's retention counts. */
  retentionStartMs(commitTimestampMs: TimestampMs): TimestampMs {
    return commitTimestampMs;
  }

  // ---- heartbeats -----------------------------------------------------------------------------------

  /** A member joins, stays or leaves. The request is one that Kafka's checks have let through. */
  heartbeat(
    request: ConsumerHeartbeat,
    context: ConsumerGroupContext,
  ): ConsumerGroupRefusal | {
    readonly answer: ConsumerHeartbeatAnswer;
    readonly write: ConsumerGroupWrite;
  } {
    const answer = request.memberEpoch < 0
      ? this.#leave(request, context)
      : this.#joinOrStay(request, context);
    const write = this.#takeWrite();
    if ("memberEpoch" in answer) return { answer, write };
    this.takeBack(write);
    return answer;
  }

  #joinOrStay(
    request: ConsumerHeartbeat,
    context: ConsumerGroupContext,
  ): ConsumerHeartbeatAnswer | ConsumerGroupRefusal {
    const { memberId } = request;
    const { now, settings } = context;
    const refusal = this.#admit(request, settings);
    if (refusal !== null) return refusal;
    const known = this.#state.members.get(memberId) ?? null;
    const metadata = updatedMetadata(known, request);
    if (hasRegex(metadata.subscribedTopicRegex)) {
      const isNew = !this.#state.regexMembers.has(metadata.subscribedTopicRegex);
      const compiled = isNew ? compileRegex(metadata.subscribedTopicRegex) : null;
      if (compiled !== null && "problem" in compiled) {
        return refuse(
          ErrorCode.INVALID_REGULAR_EXPRESSION,
          `SubscribedTopicRegex \`${metadata.subscribedTopicRegex}\` is not a valid regular ` +
            `expression: ${compiled.problem}.`,
        );
      }
    }
    const hasSubscriptionChanged = this.#noteMember(memberId, known, metadata, context);
    const before = this.#state.current(memberId);
    const after = this.#reconcile(memberId, hasSubscriptionChanged, request.owned, context);
    if (after === UNKNOWN_STATE) {
      return refuse(
        ErrorCode.FENCED_MEMBER_EPOCH,
        "The consumer group member is in a unknown state. The member must abandon all its " +
          "partitions and rejoin.",
      );
    }
    this.#joins.delete(memberId);
    this.#syncs.delete(memberId);
    this.#restartSession(memberId, now, settings);
    const isFull = request.memberEpoch === JOIN_EPOCH ||
      (request.rebalanceTimeoutMs !== -1 && request.owned !== null &&
        (request.subscribedTopicNames !== null || request.subscribedTopicRegex !== null));
    return {
      memberId,
      memberEpoch: after.memberEpoch,
      heartbeatIntervalMs: this.#isUnsettled(after)
        ? Math.min(settings.heartbeatIntervalMs, WAITING_HEARTBEAT_MS)
        : settings.heartbeatIntervalMs,
      assignment: isFull || !sameOwned(before.assigned, after.assigned) ? after.assigned : null,
    };
  }

  /** True for a member that is to have partitions which are not free yet, or a target that is not made yet. */
  #isUnsettled({ state, memberEpoch }: CurrentAssignment): boolean {
    return state === MemberState.unreleased ||
      (state === MemberState.stable && memberEpoch < this.epoch);
  }

  /**
   * Notes what a member is like now, and makes another target where that or the topics call for one.
   *
   * Returns: whether its topics have changed.
   */
  #noteMember(
    memberId: string,
    known: MemberMetadata | null,
    metadata: MemberMetadata,
    context: ConsumerGroupContext,
  ): boolean {
    const hasSubscriptionChanged = this.#updateMember(memberId, known, metadata, context);
    const rebalance: Rebalance = known === null
      ? { cause: "member_joined", reason: `${memberId} joined` }
      : { cause: "subscription_changed", reason: `${memberId} changed its subscription` };
    if (this.epoch === 0) this.#bump(rebalance, context);
    if (hasSubscriptionChanged) {
      this.#bump(rebalance, context);
    } else if (
      this.#refreshAtMs <= context.now.monotonicMs ||
      this.#seenTopics !== context.topics.changeCount
    ) {
      this.#refresh(context);
    }
    if (this.#needsTarget) this.#assignWhenDue(context);
    return hasSubscriptionChanged;
  }

  /** Kafka's order of checks; a static member that comes back takes the place of the one before. */
  #admit(
    request: ConsumerHeartbeat,
    { maxSize }: ConsumerGroupSettings,
  ): ConsumerGroupRefusal | null {
    const { memberId, memberEpoch, instanceId } = request;
    const isJoining = memberEpoch === JOIN_EPOCH;
    if (this.memberCount >= maxSize && !this.#state.members.has(memberId)) {
      return refuse(
        ErrorCode.GROUP_MAX_SIZE_REACHED,
        `The consumer group has reached its maximum capacity of ${maxSize} members.`,
      );
    }
    if (instanceId === null) {
      if (!this.#state.members.has(memberId)) return isJoining ? null : this.#unknown(memberId);
      return this.#refuseEpoch(request);
    }
    const existing = this.#state.staticMember(instanceId);
    if (existing === undefined) {
      return isJoining ? null : refuse(
        ErrorCode.UNKNOWN_MEMBER_ID,
        `Instance id ${instanceId} is unknown.`,
      );
    }
    if (!isJoining) {
      return existing === memberId
        ? this.#refuseEpoch(request)
        : fencedInstance(memberId, instanceId, existing);
    }
    const isClassic = this.#state.members.get(existing)?.classic !== null;
    if (!isClassic && this.#state.current(existing).memberEpoch !== LEAVE_STATIC_EPOCH) {
      return refuse(
        ErrorCode.UNRELEASED_INSTANCE_ID,
        `Static member ${memberId} with instance id ${instanceId} cannot join the group because ` +
          `the instance id is owned by ${existing} member.`,
      );
    }
    this.#replace(existing, memberId);
    return null;
  }

  #refuseEpoch({ memberId, memberEpoch, owned }: ConsumerHeartbeat): ConsumerGroupRefusal | null {
    const current = this.#state.current(memberId);
    if (memberEpoch === current.memberEpoch) return null;
    // The answer with the newer epoch may have been lost.
    const isRetry = memberEpoch < current.memberEpoch &&
      memberEpoch === current.previousMemberEpoch && isPartOf(owned, current.assigned);
    if (isRetry) return null;
    const how = memberEpoch > current.memberEpoch ? "greater" : "smaller";
    return refuse(
      ErrorCode.FENCED_MEMBER_EPOCH,
      `The consumer group member has a ${how} member epoch (${memberEpoch}) than the one known by ` +
        `the group coordinator (${current.memberEpoch}). The member must abandon all its ` +
        `partitions and rejoin.`,
    );
  }

  #unknown(memberId: string): ConsumerGroupRefusal {
    return refuse(
      ErrorCode.UNKNOWN_MEMBER_ID,
      `Member ${memberId} is not a member of group ${this.groupId}.`,
    );
  }

  /** A static member came back under another member id: it gets what the one before had. */
  #replace(oldMemberId: string, memberId: string): void {
    const metadata = this.#state.members.get(oldMemberId);
    assert(metadata !== undefined);
    const target = this.#state.target(oldMemberId);
    const current = this.#state.current(oldMemberId);
    this.#forget(oldMemberId);
    this.#apply({ kind: "member", memberId, value: metadata });
    this.#apply({ kind: "targetMember", memberId, value: target });
    this.#apply({
      kind: "currentMember",
      memberId,
      value: { ...current, memberEpoch: 0, previousMemberEpoch: 0 },
    });
  }

  /** Returns: whether the member's topics have changed. */
  #updateMember(
    memberId: string,
    known: MemberMetadata | null,
    metadata: MemberMetadata,
    context: ConsumerGroupContext,
  ): boolean {
    // What the last one with an expression leaves behind goes with it.
    const oldRegex = known?.subscribedTopicRegex ?? null;
    const newRegex = metadata.subscribedTopicRegex;
    const isOtherRegex = (oldRegex ?? "") !== (newRegex ?? "");
    if (known === null || !sameMetadata(known, metadata)) {
      this.#apply({ kind: "member", memberId, value: metadata });
    }
    if (isOtherRegex && hasRegex(oldRegex)) this.#dropRegex(oldRegex);
    this.#resolveWhenDue(context);
    const isOtherNames = !sameTexts(
      known?.subscribedTopicNames ?? [],
      metadata.subscribedTopicNames,
    );
    const isResolved = isOtherRegex &&
      (!hasRegex(newRegex) || this.#state.regexes.has(newRegex));
    return isOtherNames || isResolved;
  }

  #reconcile(
    memberId: string,
    hasSubscriptionChanged: boolean,
    owned: Partitions | null,
    { now, topics }: ConsumerGroupContext,
  ): CurrentAssignment | typeof UNKNOWN_STATE {
    const current = this.#state.current(memberId);
    let subscribed: ReadonlySet<Uuid> | null = null;
    const after = reconcile(current, {
      targetEpoch: this.targetEpoch,
      target: this.#state.target(memberId),
      owned,
      hasSubscriptionChanged,
      isSubscribed: (topicId) => {
        subscribed ??= new Set(this.#topicIdsOf(this.#state.members.get(memberId)!, topics));
        return subscribed.has(topicId);
      },
      isOwned: (topicId, partition) => this.#state.ownerOf(topicId, partition) !== undefined,
    });
    if (after === UNKNOWN_STATE) return after;
    if (after !== current || !this.#state.hasCurrent(memberId)) {
      this.#apply({ kind: "currentMember", memberId, value: after });
      this.#followRevocation(memberId, after, now);
    }
    return after;
  }

  // ---- leaving --------------------------------------------------------------------------------------

  #leave(
    { memberId, memberEpoch, instanceId }: ConsumerHeartbeat,
    context: ConsumerGroupContext,
  ): ConsumerHeartbeatAnswer | ConsumerGroupRefusal {
    if (instanceId === null) {
      if (!this.#state.members.has(memberId)) return this.#unknown(memberId);
    } else {
      const existing = this.#state.staticMember(instanceId);
      if (existing === undefined) {
        return refuse(ErrorCode.UNKNOWN_MEMBER_ID, `Instance id ${instanceId} is unknown.`);
      }
      if (existing !== memberId) return fencedInstance(memberId, instanceId, existing);
    }
    if (instanceId !== null && memberEpoch === LEAVE_STATIC_EPOCH) {
      // It keeps what it had for its session: whoever comes back under its instance id gets it.
      this.#apply({
        kind: "currentMember",
        memberId,
        value: { ...this.#state.current(memberId), memberEpoch, pendingRevocation: new Map() },
      });
      this.#revocations.delete(memberId);
    } else {
      this.#fence([memberId], { cause: "member_left", reason: `${memberId} left` }, context);
    }
    return { memberId, memberEpoch, heartbeatIntervalMs: 0, assignment: null };
  }

  /** Members that are gone: what they had is free. */
  #fence(
    memberIds: readonly string[],
    rebalance: Rebalance,
    context: ConsumerGroupContext,
  ): void {
    const hadOwn = this.#state.classicCount < this.memberCount;
    for (const memberId of memberIds) {
      const regex = this.#state.members.get(memberId)?.subscribedTopicRegex ?? null;
      this.#forget(memberId);
      if (hasRegex(regex)) this.#dropRegex(regex);
    }
    if (hadOwn && this.#becomeClassic(rebalance, context)) return;
    this.#bump(rebalance, context);
    this.#planTarget(context);
  }

  #forget(memberId: string): void {
    this.#apply({ kind: "currentMember", memberId, value: null });
    this.#apply({ kind: "targetMember", memberId, value: null });
    this.#apply({ kind: "member", memberId, value: null });
  }

  #dropRegex(regex: string): void {
    if (this.#state.regexMembers.has(regex) || !this.#state.regexes.has(regex)) return;
    this.#apply({ kind: "regex", regex, value: null });
  }

  // ---- members of the classic protocol --------------------------------------------------------------

  /** A classic member joins, or comes back to get on with what it has. It waits for nobody. */
  joinClassic(
    request: JoinRequest,
    context: ConsumerGroupContext,
  ): { readonly answer: JoinAnswer; readonly write: ConsumerGroupWrite } {
    const answer = this.#joinClassic(request, context);
    const write = this.#takeWrite();
    if (answer.error === ErrorCode.NONE) return { answer, write };
    this.takeBack(write);
    return { answer, write: NO_WRITE };
  }

  #joinClassic(request: JoinRequest, context: ConsumerGroupContext): JoinAnswer {
    const { groupInstanceId: instanceId, protocols } = request;
    const isUnknown = request.memberId === "";
    const memberId = isUnknown ? request.newMemberId : request.memberId;
    if (this.memberCount >= context.settings.maxSize && !this.#state.members.has(memberId)) {
      return failedJoin(ErrorCode.GROUP_MAX_SIZE_REACHED, "");
    }
    const subscription = supportsProtocols(this.#state, request)
      ? decodeSubscription(protocols[0]!.metadata)
      : null;
    if (subscription === null) {
      return failedJoin(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, request.memberId);
    }
    if (isUnknown && instanceId === null && request.requiresKnownMemberId) {
      return failedJoin(ErrorCode.MEMBER_ID_REQUIRED, memberId);
    }
    const existing = instanceId === null ? undefined : this.#state.staticMember(instanceId);
    const error = isUnknown ? ErrorCode.NONE : claimError(this.#state, memberId, instanceId);
    // A dynamic member may have been told its id by the classic group, or just now.
    const isStranger = instanceId === null && error === ErrorCode.UNKNOWN_MEMBER_ID;
    if (error !== ErrorCode.NONE && !isStranger) return failedJoin(error, memberId);
    const isReplaced = existing !== undefined && existing !== memberId;
    if (isReplaced) this.#replace(existing, memberId);
    const known = this.#state.members.get(memberId) ?? null;
    const isLastOwn = isReplaced && known?.classic === null;
    const metadata = classicMemberMetadata(known, request, subscription);
    const hasChanged = this.#noteMember(memberId, known, metadata, context);
    const owned = idsOf(subscription.owned, context.topics);
    const after = this.#reconcile(memberId, hasChanged, owned, context);
    if (after === UNKNOWN_STATE) return failedJoin(ErrorCode.UNKNOWN_MEMBER_ID, memberId);
    this.#joins.delete(memberId);
    this.#restartSession(memberId, context.now, context.settings);
    this.#askToSync(memberId, context.now);
    if (isLastOwn) this.#becomeClassic(null, context);
    return {
      error: ErrorCode.NONE,
      memberId,
      generationId: after.memberEpoch,
      protocolType: CONSUMER_PROTOCOL_TYPE,
      protocolName: protocols[0]!.name,
      leader: "",
      skipAssignment: false,
      members: [],
    };
  }

  /** A classic member asks for what it has. */
  syncClassic(request: SyncRequest, { now, topics, settings }: ConsumerGroupContext): SyncAnswer {
    const { memberId } = request;
    const error = classicClaimError(this.#state, request);
    if (error !== ErrorCode.NONE) return failedSync(error);
    const { classic } = this.#state.members.get(memberId)!;
    const { name: protocolName, metadata } = classic!.supportedProtocols[0]!;
    const isOther = (asked: string | null, own: string) => asked !== null && asked !== own;
    if (
      isOther(request.protocolType, CONSUMER_PROTOCOL_TYPE) ||
      isOther(request.protocolName, protocolName)
    ) return failedSync(ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
    const { memberEpoch, state, assigned } = this.#state.current(memberId);
    if (this.epoch > memberEpoch && state !== MemberState.unrevoked) {
      this.#askToJoin(memberId, now);
      return failedSync(ErrorCode.REBALANCE_IN_PROGRESS);
    }
    this.#syncs.delete(memberId);
    this.#restartSession(memberId, now, settings);
    const owned = new Map([...assigned].map(([topicId, own]) => [topicId, [...own.keys()]]));
    return {
      error: ErrorCode.NONE,
      protocolType: CONSUMER_PROTOCOL_TYPE,
      protocolName,
      assignment: classicAssignment(owned, metadata, topics),
    };
  }

  /** A sign of life of a classic member, which learns that it has to join again. */
  heartbeatClassic(claim: MemberClaim, { now, settings }: ConsumerGroupContext): ErrorCode {
    const error = classicClaimError(this.#state, claim);
    if (error !== ErrorCode.NONE) return error;
    const { memberId } = claim;
    this.#restartSession(memberId, now, settings);
    const { memberEpoch, state } = this.#state.current(memberId);
    const hasToJoin = memberEpoch < this.epoch || state === MemberState.unrevoked ||
      (state === MemberState.unreleased && !isWaiting(this.#state, memberId));
    if (!hasToJoin) return ErrorCode.NONE;
    this.#askToJoin(memberId, now);
    return ErrorCode.REBALANCE_IN_PROGRESS;
  }

  /** LeaveGroup takes members of either protocol out. Returns one error code for each, in order. */
  leaveByRequest(
    leaving: readonly LeavingMember[],
    context: ConsumerGroupContext,
  ): { readonly errors: ErrorCode[]; readonly write: ConsumerGroupWrite } {
    const left = new Set<string>();
    const errors = leaving.map(({ memberId, groupInstanceId }) => {
      const error = claimError(this.#state, memberId, groupInstanceId);
      const own = groupInstanceId === null ? memberId : this.#state.staticMember(groupInstanceId);
      if (own !== undefined && left.has(own)) return ErrorCode.UNKNOWN_MEMBER_ID;
      if (error === ErrorCode.NONE && own !== undefined) left.add(own);
      return error;
    });
    if (left.size > 0) {
      const reason = `${[...left].join(", ")} left`;
      this.#fence([...left], { cause: "member_left", reason }, context);
    }
    return { errors, write: this.#takeWrite() };
  }

  /** It has to join again in time, from when it was asked first. */
  #askToJoin(memberId: string, now: Now): void {
    if (this.#joins.has(memberId)) return;
    this.#joins.set(memberId, this.#rebalanceDeadline(memberId, now));
  }

  /** It has to ask for its assignment in time, each time that it has joined. */
  #askToSync(memberId: string, now: Now): void {
    this.#syncs.set(memberId, this.#rebalanceDeadline(memberId, now));
  }

  /** The last member of the consumer protocol has gone. Returns: whether the group becomes a classic one. */
  #becomeClassic(
    rebalance: Rebalance | null,
    { now, topics, settings }: ConsumerGroupContext,
  ): boolean {
    const { allowsDowngrade, classicMaxSize } = settings;
    const isAllClassic = this.memberCount > 0 && this.#state.classicCount === this.memberCount;
    if (!isAllClassic || !allowsDowngrade || this.memberCount > classicMaxSize) return false;
    const metadata = classicMetadata(this.#state, topics, now.wallMs);
    if (metadata === null) return false;
    for (const change of this.tombstones()) this.#apply(change);
    this.#downgrade = { metadata, rebalance };
    return true;
  }

  // ---- epochs and targets ---------------------------------------------------------------------------

  get #needsTarget(): boolean {
    return this.epoch > this.targetEpoch && this.memberCount > 0;
  }

  #bump(
    rebalance: Rebalance,
    context: ConsumerGroupContext,
    metadataHash = this.#hashTopics(context),
  ): void {
    if (this.#state.hasPartitionMetadata) this.#apply({ kind: "partitionMetadata", value: null });
    this.#apply({ kind: "group", value: { epoch: this.epoch + 1, metadataHash } });
    this.#rebalance ??= rebalance;
  }

  #refresh(context: ConsumerGroupContext): void {
    const metadataHash = this.#hashTopics(context);
    if (metadataHash !== this.#state.metadataHash) {
      const reason = "topics changed";
      this.#bump({ cause: "topics_changed", reason }, context, metadataHash);
    }
  }

  /** What the group's topics are like now; the next look at them has time until they change. */
  #hashTopics({ now, topics }: ConsumerGroupContext): bigint {
    this.#refreshAtMs = now.monotonicMs + METADATA_REFRESH_MS;
    this.#seenTopics = topics.changeCount;
    return topics.hashOf(this.#state.topics.keys());
  }

  /** How long until the next target may be made. */
  #waitMs({ now, settings }: ConsumerGroupContext): number {
    const sinceMs = now.wallMs - this.#state.targetTimestampMs;
    // A clock that was set back must not hold the group up.
    return sinceMs < 0 ? 0 : Math.max(0, settings.assignmentIntervalMs - sinceMs);
  }

  #assignWhenDue(context: ConsumerGroupContext): void {
    if (this.#waitMs(context) === 0) this.#assign(context);
    else this.#planTarget(context);
  }

  /** The target is made by `tick`, once for all that happens until then. */
  #planTarget(context: ConsumerGroupContext): void {
    if (!this.#needsTarget) return;
    this.#assignAtMs = context.now.monotonicMs + this.#waitMs(context);
    this.#noteDeadline(this.#assignAtMs);
  }

  #assign({ now, topics, settings }: ConsumerGroupContext): void {
    const assignor = ASSIGNORS.get(this.assignorName(settings)) ?? assignUniformly;
    const members = this.#assignable(topics);
    const partitionCounts = new Map<Uuid, number>();
    for (const topicIds of new Set(members.map((member) => member.topicIds))) {
      for (const id of topicIds) partitionCounts.set(id, topics.topicById(id)!.partitionCount);
    }
    const { isHomogeneous } = this.#state;
    const targets = assignor({
      members,
      partitionCounts,
      isHomogeneous,
      racksOf: (topicId, partition) => topics.racksOf(topicId, partition),
    });
    for (const { memberId, target } of members) {
      const next = targets.get(memberId) ?? NO_TARGET;
      if (this.#state.hasTarget(memberId) && samePartitions(next, target)) continue;
      this.#apply({ kind: "targetMember", memberId, value: next });
    }
    this.#apply({
      kind: "target",
      value: { epoch: this.epoch, timestampMs: timestampMs(now.wallMs) },
    });
    this.#assignAtMs = Infinity;
  }

  #assignable(topics: GroupTopics): AssignableMember[] {
    // Equal subscriptions share their list, which the assignors tell apart by.
    const lists = new Map<readonly string[], Map<string, readonly Uuid[]>>();
    const idsOfMember = (metadata: MemberMetadata): readonly Uuid[] => {
      const { subscribedTopicNames: names, subscribedTopicRegex: regex } = metadata;
      const byRegex = lists.get(names) ?? new Map<string, readonly Uuid[]>();
      lists.set(names, byRegex);
      const found = byRegex.get(regex ?? "") ?? this.#topicIdsOf(metadata, topics);
      byRegex.set(regex ?? "", found);
      return found;
    };
    return [...this.#state.members].map(([memberId, metadata]) => {
      const topicIds = idsOfMember(metadata);
      const target = this.#state.target(memberId);
      const { instanceId, rackId } = metadata;
      return { memberId, instanceId, rackId, topicIds, target };
    });
  }

  /** The topics of a member that exist, by name. */
  #topicIdsOf(
    { subscribedTopicNames, subscribedTopicRegex }: MemberMetadata,
    topics: GroupTopics,
  ): readonly Uuid[] {
    const matched = hasRegex(subscribedTopicRegex)
      ? this.#state.regexes.get(subscribedTopicRegex)?.topics ?? []
      : [];
    const names = matched.length === 0
      ? subscribedTopicNames
      : [...new Set([...subscribedTopicNames, ...matched])];
    return names.flatMap((name) => topics.topicByName(name)?.id ?? []);
  }

  // ---- regular expressions --------------------------------------------------------------------------

  /** All expressions of the group are looked up together, so that they cause one rebalance. */
  #resolveWhenDue({ now, topics }: ConsumerGroupContext): void {
    const wanted = this.#state.regexMembers;
    if (wanted.size === 0 || this.#isResolving) return;
    const [newest] = this.#state.regexes.values();
    if (newest !== undefined && now.wallMs <= newest.timestampMs + REGEX_REFRESH_MS) return;
    const isStale = wanted.size !== this.#state.regexes.size ||
      (newest?.version ?? 0) < topics.newestTopicVersion;
    if (isStale) this.#toResolve = [...wanted.keys()];
  }

  /** The host looks them up from now on: nobody else has to. */
  resolving(): void {
    this.#isResolving = true;
  }

  /** What `toResolve` stands for; null when it could not be found out. */
  regexesResolved(
    resolved: ReadonlyMap<string, ResolvedRegex> | null,
    context: ConsumerGroupContext,
  ): ConsumerGroupWrite {
    this.#isResolving = false;
    let hasChanged = false;
    for (const [regex, value] of resolved ?? []) {
      if (!this.#state.regexMembers.has(regex)) continue;
      hasChanged ||= !sameTexts(this.#state.regexes.get(regex)?.topics ?? [], value.topics);
      this.#apply({ kind: "regex", regex, value });
    }
    if (hasChanged) {
      const reason = "topics of a regular expression changed";
      this.#bump({ cause: "topics_changed", reason }, context);
      this.#planTarget(context);
    }
    return this.#takeWrite();
  }

  // ---- offsets and operators ------------------------------------------------------------------------

  /**
   * Whether a commit of offsets may go on. A member may commit in the epoch that it has, and in an earlier one what
   * has been its own since then.
   */
  checkOffsetCommit(
    { memberId, groupInstanceId, generationId }: MemberClaim,
    { isTransactional, knowsMemberEpochs, partitions }: {
      readonly isTransactional: boolean;
      /** False for versions that cannot say STALE_MEMBER_EPOCH. */
      readonly knowsMemberEpochs: boolean;
      readonly partitions: readonly { readonly topicId: Uuid; readonly partition: number }[];
    },
  ): ErrorCode {
    if (generationId < 0 && this.isEmpty) return ErrorCode.NONE;
    const isAnonymous = generationId < 0 && memberId === "" && groupInstanceId === null;
    if (isTransactional && isAnonymous) return ErrorCode.NONE;
    if (!this.#state.members.has(memberId)) return ErrorCode.UNKNOWN_MEMBER_ID;
    const isClassic = this.#state.members.get(memberId)?.classic !== null;
    if (!isTransactional && !isClassic && !knowsMemberEpochs) return ErrorCode.UNSUPPORTED_VERSION;
    const { memberEpoch, assigned, pendingRevocation } = this.#state.current(memberId);
    if (generationId === memberEpoch) return ErrorCode.NONE;
    if (isClassic) return ErrorCode.ILLEGAL_GENERATION;
    if (generationId > memberEpoch) return ErrorCode.STALE_MEMBER_EPOCH;
    const isOwn = partitions.every(({ topicId, partition }) => {
      const epoch = assigned.get(topicId)?.get(partition) ??
        pendingRevocation.get(topicId)?.get(partition);
      return epoch !== undefined && epoch <= generationId;
    });
    return isOwn ? ErrorCode.NONE : ErrorCode.STALE_MEMBER_EPOCH;
  }

  /** Whether offsets may be fetched: by a member in its epoch, or by somebody who is none. */
  checkOffsetFetch(memberId: string | null, memberEpoch: number): ErrorCode {
    if (memberId === null && memberEpoch < 0) return ErrorCode.NONE;
    if (memberId === null || !this.#state.members.has(memberId)) {
      return ErrorCode.UNKNOWN_MEMBER_ID;
    }
    if (memberEpoch === this.#state.current(memberId).memberEpoch) return ErrorCode.NONE;
    return this.#state.members.get(memberId)?.classic === null
      ? ErrorCode.STALE_MEMBER_EPOCH
      : ErrorCode.ILLEGAL_GENERATION;
  }

  /** Whether offsets may be deleted; what members are subscribed to stays (see isSubscribedToTopic). */
  checkOffsetDelete(): ErrorCode {
    return ErrorCode.NONE;
  }

  /** Whether the whole group may be deleted. */
  checkDelete(): ErrorCode {
    return this.isEmpty ? ErrorCode.NONE : ErrorCode.NON_EMPTY_GROUP;
  }

  /** What deletes every record of the group. */
  tombstones(): ConsumerGroupChange[] {
    const memberIds = [...this.#state.members.keys()];
    return [
      ...memberIds.map((memberId) => ({ kind: "currentMember" as const, memberId, value: null })),
      ...memberIds.map((memberId) => ({ kind: "targetMember" as const, memberId, value: null })),
      { kind: "target", value: null },
      ...memberIds.map((memberId) => ({ kind: "member" as const, memberId, value: null })),
      ...[...this.#state.regexes.keys()].map((regex) => (
        { kind: "regex" as const, regex, value: null }
      )),
      ...this.#state.hasPartitionMetadata
        ? [{ kind: "partitionMetadata" as const, value: null }]
        : [],
      { kind: "group", value: null },
    ];
  }

  // ---- time and the log -----------------------------------------------------------------------------

  /** Lets everything happen whose time has come. */
  tick(context: ConsumerGroupContext): ConsumerGroupWrite {
    const { monotonicMs } = context.now;
    if (monotonicMs < this.#nextDeadlineMs) return this.#takeWrite();
    const againMs = monotonicMs + FENCE_AGAIN_MS;
    const [silent, ...tardy] = [this.#sessions, this.#joins, this.#syncs].map((timers) =>
      this.#expired(timers, (atMs) => atMs <= monotonicMs, () => againMs)
    );
    const dead = [...new Set([...silent!, ...tardy.flat()])];
    if (dead.length > 0) {
      const cause = silent!.length > 0 ? "session_expired" : "rebalance_timeout";
      this.#fence(dead, { cause, reason: `${dead.join(", ")} fell silent` }, context);
    }
    const late = this.#expired(
      this.#revocations,
      ({ atMs }) => atMs <= monotonicMs,
      ({ epoch }) => ({ atMs: againMs, epoch }),
    );
    const slow = late.filter((memberId) => this.#isRevoking(memberId));
    for (const memberId of late) if (!slow.includes(memberId)) this.#revocations.delete(memberId);
    if (slow.length > 0) {
      const reason = `${slow.join(", ")} kept partitions past its rebalance timeout`;
      this.#fence(slow, { cause: "rebalance_timeout", reason }, context);
    }
    if (this.#assignAtMs <= monotonicMs) {
      this.#assignAtMs = Infinity;
      if (this.#needsTarget) this.#assignWhenDue(context);
    }
    this.#recomputeNextDeadline();
    return this.#takeWrite();
  }

  #isRevoking(memberId: string): boolean {
    const { state, memberEpoch } = this.#state.current(memberId);
    return state === MemberState.unrevoked &&
      this.#revocations.get(memberId)?.epoch === memberEpoch;
  }

  /** Members whose time is up; it is up again a little later, if the log does not take that they are gone. */
  #expired<T>(
    timers: Map<string, T>,
    isOver: (timer: T) => boolean,
    again: (timer: T) => T,
  ): string[] {
    const expired: string[] = [];
    for (const [memberId, timer] of [...timers]) {
      if (!this.#state.members.has(memberId)) {
        timers.delete(memberId);
      } else if (isOver(timer)) {
        timers.set(memberId, again(timer));
        expired.push(memberId);
      }
    }
    return expired;
  }

  /** Takes a change back that the log did not take. Later ones must have been taken back before. */
  takeBack({ undo }: Pick<ConsumerGroupWrite, "undo">): void {
    // Every bump leaves something to take back: without it, what was found out of the topics still holds.
    if (undo.length === 0) return;
    for (const change of [...undo].reverse()) this.#state.apply(change);
    this.#refreshAtMs = -Infinity;
  }

  #apply(change: ConsumerGroupChange): void {
    this.#undo.push(this.#state.apply(change));
    this.#changes.push(change);
  }

  #takeWrite(): ConsumerGroupWrite {
    const write = {
      changes: this.#changes,
      undo: this.#undo,
      toResolve: this.#toResolve,
      rebalance: this.#rebalance,
      downgrade: this.#downgrade,
    };
    this.#changes = [];
    this.#undo = [];
    this.#toResolve = [];
    this.#rebalance = null;
    this.#downgrade = null;
    return write;
  }

  #restartSession(
    memberId: string,
    now: Now,
    { sessionTimeoutMs }: Pick<ConsumerGroupSettings, "sessionTimeoutMs">,
  ): void {
    const ownMs = this.#state.members.get(memberId)?.classic?.sessionTimeoutMs;
    const atMs = now.monotonicMs + (ownMs ?? sessionTimeoutMs);
    this.#sessions.set(memberId, atMs);
    this.#noteDeadline(atMs);
  }

  #followRevocation(memberId: string, { state, memberEpoch }: CurrentAssignment, now: Now): void {
    // Members of the classic protocol have their joins and syncs to do in time.
    const isClassic = this.#state.members.get(memberId)?.classic !== null;
    if (state !== MemberState.unrevoked || isClassic) {
      this.#revocations.delete(memberId);
      return;
    }
    const atMs = this.#rebalanceDeadline(memberId, now);
    this.#revocations.set(memberId, { atMs, epoch: memberEpoch });
  }

  /** Until when a member may take for its part in a rebalance that begins now; `tick` comes by then. */
  #rebalanceDeadline(memberId: string, now: Now): number {
    const timeoutMs = this.#state.members.get(memberId)?.rebalanceTimeoutMs ?? 0;
    const atMs = now.monotonicMs + Math.max(0, timeoutMs);
    this.#noteDeadline(atMs);
    return atMs;
  }

  #noteDeadline(atMs: number): void {
    this.#nextDeadlineMs = Math.min(this.#nextDeadlineMs, atMs);
  }

  #recomputeNextDeadline(): void {
    let nextMs = this.#assignAtMs;
    for (const atMs of this.#sessions.values()) nextMs = Math.min(nextMs, atMs);
    for (const { atMs } of this.#revocations.values()) nextMs = Math.min(nextMs, atMs);
    for (const atMs of this.#joins.values()) nextMs = Math.min(nextMs, atMs);
    for (const atMs of this.#syncs.values()) nextMs = Math.min(nextMs, atMs);
    this.#nextDeadlineMs = nextMs;
  }
}

function ownedBy({ assigned, pendingRevocation }: CurrentAssignment): Partitions {
  const owned = new Map<Uuid, number[]>();
  for (const [topicId, partitions] of [...assigned, ...pendingRevocation]) {
    owned.set(topicId, [...owned.get(topicId) ?? [], ...partitions.keys()]);
  }
  return owned;
}

function refuse(error: ErrorCode, message: string): ConsumerGroupRefusal {
  return { error, message };
}

function fencedInstance(memberId: string, instanceId: string, by: string): ConsumerGroupRefusal {
  return refuse(
    ErrorCode.FENCED_INSTANCE_ID,
    `Static member ${memberId} with instance id ${instanceId} was fenced by member ${by}.`,
  );
}

/** Whether a member says that it has nothing but what it was given. */
function isPartOf(owned: Partitions | null, assigned: OwnedPartitions): boolean {
  if (owned === null) return false;
  for (const [topicId, partitions] of owned) {
    const own = assigned.get(topicId);
    if (partitions.some((partition) => own?.has(partition) !== true)) return false;
  }
  return true;
}
