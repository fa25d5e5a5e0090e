/**
 * Members of the classic protocol in a consumer group: what they ask in the terms of the group, and what the group
 * has for them in theirs.
 *
 *     classic                                consumer
 *     subscription, in the member's bytes ──► names of topics, what it has
 *     assignment, by names of topics      ◄── partitions, by ids of topics
 *     a group with its members            ◄─► members and targets
 *
 * Everything here reads a group and changes none. Source: KIP-848, "online migration".
 */

import { ErrorCode } from "../../protocol/errors.ts";
import type { TimestampMs, Uuid } from "../../protocol/types.ts";
import type { Partitions } from "./assignors/assignor.ts";
import {
  CONSUMER_PROTOCOL_TYPE,
  type GroupMetadata,
  type JoinRequest,
  type MemberClaim,
  type MigratingMember,
  type PersistedMember,
} from "./classic_group.ts";
import {
  type ConsumerSubscription,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  type NamedPartitions,
} from "./consumer_protocol.ts";
import {
  type ConsumerGroupState,
  type MemberMetadata,
  updatedMetadata,
} from "./consumer_group_state.ts";
import type { GroupTopics } from "./group_topics.ts";

// ---- from the classic protocol ------------------------------------------------------------------------

/** A member of a classic group, as the consumer group takes it over. */
export interface MigratedMember {
  readonly memberId: string;
  readonly metadata: MemberMetadata;
  readonly target: Partitions;
}

/** The members of a classic group with what they have, no partition with two; null where bytes are no subscription. */
export function migratedMembers(
  members: readonly MigratingMember[],
  topics: GroupTopics,
): MigratedMember[] | null {
  const migrated: MigratedMember[] = [];
  const taken = new Set<string>();
  for (const member of members) {
    const subscription = decodeSubscription(member.subscription);
    if (subscription === null) return null;
    const had = idsOf(decodeAssignment(member.assignment) ?? new Map(), topics);
    migrated.push({
      memberId: member.memberId,
      metadata: classicMemberMetadata(null, member, subscription),
      target: withoutTaken(had, taken),
    });
  }
  return migrated;
}

/** Those that nobody has yet: assignors of clients may give one partition to two. */
function withoutTaken(partitions: Partitions, taken: Set<string>): Partitions {
  const rest = new Map<Uuid, readonly number[]>();
  for (const [topicId, list] of partitions) {
    const free = list.filter((partition) => !taken.has(`${topicId} ${partition}`));
    for (const partition of free) taken.add(`${topicId} ${partition}`);
    if (free.length > 0) rest.set(topicId, free);
  }
  return rest;
}

/** What a member says that joins, and what a classic group knows of one that it has. */
type ClassicRequest = Pick<JoinRequest, keyof JoinRequest & keyof MigratingMember>;

/** What a classic member is like that joins, or that a classic group has; `known` is what it was like before. */
export function classicMemberMetadata(
  known: MemberMetadata | null,
  member: ClassicRequest,
  { topics, rackId }: ConsumerSubscription,
): MemberMetadata {
  const { clientId, clientHost, rebalanceTimeoutMs, sessionTimeoutMs, protocols } = member;
  const metadata = updatedMetadata(known, {
    instanceId: member.groupInstanceId,
    rackId,
    clientId,
    clientHost,
    subscribedTopicNames: topics,
    subscribedTopicRegex: "",
    rebalanceTimeoutMs,
    serverAssignor: null,
  });
  return { ...metadata, classic: { sessionTimeoutMs, supportedProtocols: protocols } };
}

/** The same partitions by topic id; topics that do not exist are left out. */
export function idsOf(named: NamedPartitions, topics: GroupTopics): Partitions {
  const partitions = new Map<Uuid, readonly number[]>();
  for (const [name, list] of named) {
    const topic = topics.topicByName(name);
    if (topic === undefined || list.length === 0) continue;
    partitions.set(topic.id, [...new Set(list)].sort((left, right) => left - right));
  }
  return partitions;
}

// ---- what they may do ---------------------------------------------------------------------------------

/** Whether a member may speak under this id; a static one need not name it. */
export function claimError(
  state: ConsumerGroupState,
  memberId: string,
  instanceId: string | null,
): ErrorCode {
  if (instanceId === null) {
    return state.members.has(memberId) ? ErrorCode.NONE : ErrorCode.UNKNOWN_MEMBER_ID;
  }
  const existing = state.staticMember(instanceId);
  if (existing === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
  return memberId === "" || memberId === existing ? ErrorCode.NONE : ErrorCode.FENCED_INSTANCE_ID;
}

/** Whether a classic member may speak under this id in this generation. */
export function classicClaimError(
  state: ConsumerGroupState,
  { memberId, groupInstanceId, generationId }: MemberClaim,
): ErrorCode {
  const error = claimError(state, memberId, groupInstanceId);
  if (error !== ErrorCode.NONE) return error;
  const metadata = state.members.get(memberId);
  if (metadata === undefined || metadata.classic === null) return ErrorCode.UNKNOWN_MEMBER_ID;
  return generationId === state.current(memberId).memberEpoch
    ? ErrorCode.NONE
    : ErrorCode.ILLEGAL_GENERATION;
}

/** Whether a member that joins offers a protocol that all classic members have. */
export function supportsProtocols(
  state: ConsumerGroupState,
  { protocolType, protocols }: Pick<JoinRequest, "protocolType" | "protocols">,
): boolean {
  if (protocolType !== CONSUMER_PROTOCOL_TYPE) return false;
  const counts = protocolCounts(state);
  return protocols.some(({ name }) => (counts.get(name) ?? 0) === state.classicCount);
}

/** Protocol name → classic members that offer it. */
function protocolCounts(state: ConsumerGroupState): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { classic } of state.members.values()) {
    for (const { name } of classic?.supportedProtocols ?? []) {
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  return counts;
}

/** True while others have a partition that the member is to get. */
export function isWaiting(state: ConsumerGroupState, memberId: string): boolean {
  const { assigned } = state.current(memberId);
  for (const [topicId, partitions] of state.target(memberId)) {
    const own = assigned.get(topicId);
    for (const partition of partitions) {
      const isOwn = own?.has(partition) === true;
      if (!isOwn && state.ownerOf(topicId, partition) !== undefined) return true;
    }
  }
  return false;
}

// ---- to the classic protocol --------------------------------------------------------------------------

/** Partitions as the assignment of a member with this subscription. */
export function classicAssignment(
  partitions: Partitions,
  subscription: Uint8Array,
  topics: GroupTopics,
): Uint8Array {
  const version = decodeSubscription(subscription)?.version ?? 0;
  return encodeAssignment(namesOf(partitions, topics), version);
}

/** The same partitions by name; topics that do not exist are left out. */
function namesOf(partitions: Partitions, topics: GroupTopics): NamedPartitions {
  const named = new Map<string, readonly number[]>();
  for (const [topicId, list] of partitions) {
    const topic = topics.topicById(topicId);
    if (topic !== undefined) named.set(topic.name, list.toSorted((left, right) => left - right));
  }
  return named;
}

/** The classic group that a group of classic members becomes; null where they have no protocol in common. */
export function classicMetadata(
  state: ConsumerGroupState,
  topics: GroupTopics,
  currentStateTimestamp: TimestampMs,
): GroupMetadata | null {
  const counts = protocolCounts(state);
  const common = [...counts].find(([, count]) => count === state.members.size)?.[0];
  if (common === undefined) return null;
  const members = [...state.members].map(([memberId, metadata]): PersistedMember => {
    const { classic } = metadata;
    const offered = classic!.supportedProtocols.find(({ name }) => name === common)!;
    return {
      memberId,
      groupInstanceId: metadata.instanceId,
      clientId: metadata.clientId,
      clientHost: metadata.clientHost,
      rebalanceTimeoutMs: metadata.rebalanceTimeoutMs,
      sessionTimeoutMs: classic!.sessionTimeoutMs,
      subscription: offered.metadata,
      assignment: classicAssignment(state.target(memberId), offered.metadata, topics),
    };
  });
  return {
    protocolType: CONSUMER_PROTOCOL_TYPE,
    generationId: state.epoch,
    protocolName: common,
    leader: members[0]!.memberId,
    currentStateTimestamp,
    members,
  };
}
