/** What a group is, who its members are and what they have, and how far it is behind. */

import { WireError } from "../../protocol/bytes.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { ConsumerGroupDescribeResponse } from "../../protocol/schemas/consumer_group_describe.ts";
import type { DescribeGroupsResponse } from "../../protocol/schemas/describe_groups.ts";
import { formatTopicPartition, type TopicPartition } from "../../protocol/types.ts";
import { Calls } from "./calls.ts";
import { endOffsets, type Lagging, unreadSince } from "./group_lag.ts";
import { decodeAssignment, decodeSubscription, fetchGroupOffsets } from "./group_member.ts";
import { listGroups } from "./groups.ts";
import { type KafkaClient, KafkaError, throwOnError } from "./kafka_client.ts";
import { byTopicAndPartition } from "./offsets.ts";

const CONSUMER_PROTOCOL = "consumer";

/** A group, as it is described. */
export interface GroupDescription {
  readonly group: string;
  readonly type: string;
  readonly state: string;
  readonly protocolType: string;
  /** What assigns: the protocol that members of a classic group have chosen, the assignor of a consumer group. */
  readonly protocol: string;
  /** Of consumer groups; null where there is none. */
  readonly epoch: number | null;
  readonly assignmentEpoch: number | null;
  readonly members: readonly DescribedMember[];
}

/** A member of a group, with what it has. */
export interface DescribedMember {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly clientId: string;
  readonly host: string;
  readonly rackId: string | null;
  /** Of members of consumer groups; null elsewhere. */
  readonly memberEpoch: number | null;
  /** The protocol that it speaks. */
  readonly memberType: "classic" | "consumer";
  /** Null where the bytes of a member of the classic protocol do not say. */
  readonly subscription: readonly string[] | null;
  readonly subscriptionRegex: string | null;
  readonly partitions: readonly TopicPartition[];
  /** What it is to have; null in classic groups. */
  readonly targetPartitions: readonly TopicPartition[] | null;
}

// ---- members ----------------------------------------------------------------------------------------

/**
 * What a group is and who its members are.
 *
 * Classic and consumer groups are described by different requests; the first one that knows the group answers. Of groups
 * of other types the type, the state and the offsets are told, the members are not.
 * Errors: rejects with KafkaError or NetworkError; GROUP_ID_NOT_FOUND where there is none.
 */
export async function describeGroup(
  client: KafkaClient,
  groupId: string,
): Promise<GroupDescription> {
  const { groups: [group] } = await client.askCoordinator(
    groupId,
    Calls.describeGroups,
    { groups: [groupId], includeAuthorizedOperations: false },
    ({ groups }) => groups[0]?.errorCode ?? ErrorCode.NONE,
  );
  const { errorCode, errorMessage, groupState } = group!;
  if (errorCode === ErrorCode.GROUP_ID_NOT_FOUND || groupState === "Dead") {
    return await describeOther(client, groupId);
  }
  throwOnError(errorCode, errorMessage);
  return classicGroup(group!);
}

/** A group that is no classic one. */
async function describeOther(client: KafkaClient, groupId: string): Promise<GroupDescription> {
  const listed = (await listGroups(client)).find((it) => it.group === groupId);
  if (listed === undefined) {
    throw new KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, `group ${groupId} does not exist`);
  }
  if (listed.type !== "consumer") {
    return { ...listed, protocol: "", epoch: null, assignmentEpoch: null, members: [] };
  }
  const { groups: [group] } = await client.askCoordinator(
    groupId,
    Calls.consumerGroupDescribe,
    { groupIds: [groupId], includeAuthorizedOperations: false },
    ({ groups }) => groups[0]?.errorCode ?? ErrorCode.NONE,
  );
  throwOnError(group!.errorCode, group!.errorMessage);
  return consumerGroup(group!);
}

function classicGroup(
  { groupId, groupState, protocolType, protocolData, members }:
    DescribeGroupsResponse["groups"][number],
): GroupDescription {
  const isConsumer = protocolType === CONSUMER_PROTOCOL;
  return {
    group: groupId,
    type: "classic",
    state: groupState,
    protocolType,
    protocol: protocolData,
    epoch: null,
    assignmentEpoch: null,
    members: members.map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId,
      clientId: member.clientId,
      host: member.clientHost,
      rackId: null,
      memberEpoch: null,
      memberType: "classic",
      subscription: isConsumer ? readable(member.memberMetadata, decodeSubscription) : null,
      subscriptionRegex: null,
      partitions: isConsumer ? readable(member.memberAssignment, decodeAssignment) ?? [] : [],
      targetPartitions: null,
    })),
  };
}

/** A client may put there what it likes; null for no bytes, and for what nobody can read. */
function readable<T>(bytes: Uint8Array, decode: (bytes: Uint8Array) => T): T | null {
  if (bytes.length === 0) return null;
  try {
    return decode(bytes);
  } catch (error) {
    if (error instanceof WireError) return null;
    throw error;
  }
}

function consumerGroup(group: ConsumerGroupDescribeResponse["groups"][number]): GroupDescription {
  return {
    group: group.groupId,
    type: "consumer",
    state: group.groupState,
    protocolType: CONSUMER_PROTOCOL,
    protocol: group.assignorName,
    epoch: group.groupEpoch,
    assignmentEpoch: group.assignmentEpoch,
    members: group.members.map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.instanceId,
      clientId: member.clientId,
      host: member.clientHost,
      rackId: member.rackId,
      memberEpoch: member.memberEpoch,
      memberType: member.memberType === 0 ? "classic" : "consumer",
      subscription: member.subscribedTopicNames,
      subscriptionRegex: member.subscribedTopicRegex || null,
      partitions: partitionsOf(member.assignment.topicPartitions),
      targetPartitions: partitionsOf(member.targetAssignment.topicPartitions),
    })),
  };
}

function partitionsOf(
  topics: readonly { readonly topicName: string; readonly partitions: readonly number[] }[],
): TopicPartition[] {
  return topics.flatMap(({ topicName, partitions }) => (
    partitions.map((partition) => ({ topic: topicName, partition }))
  ));
}

// ---- offsets and lag --------------------------------------------------------------------------------

/** A partition that a group has an offset of, or a member with. */
export interface GroupPartition extends TopicPartition {
  readonly committedOffset: number | null;
  readonly endOffset: number | null;
  readonly lag: number | null;
  /** How long ago the first record that is not consumed was written; null also where it was not asked for. */
  readonly lagSeconds: number | null;
  readonly memberId: string | null;
  readonly instanceId: string | null;
  readonly clientId: string | null;
  readonly host: string | null;
}

/**
 * Every partition that the group has an offset of, or a member with. `withTime`: how far it is behind in time, too, for
 * which one batch of each partition that lags is read.
 */
export async function describeGroupPartitions(
  client: KafkaClient,
  { group, members }: Pick<GroupDescription, "group" | "members">,
  { withTime }: { readonly withTime: boolean },
): Promise<GroupPartition[]> {
  const committed = new Map<string, number>();
  const owners = new Map<string, DescribedMember>();
  const places = new Map<string, TopicPartition>();
  // Of groups that work in transactions there is nearly always one open.
  const offsets = await fetchGroupOffsets(client, group, null, { requireStable: false });
  for (const { topic, partition, offset } of offsets) {
    const name = formatTopicPartition(topic, partition);
    places.set(name, { topic, partition });
    if (offset >= 0) committed.set(name, offset);
  }
  for (const member of members) {
    for (const place of member.partitions) {
      const name = formatTopicPartition(place.topic, place.partition);
      places.set(name, place);
      owners.set(name, member);
    }
  }
  const ends = await endOffsets(client, [...places.values()]);
  const lagging: Lagging[] = [...places].flatMap(([name, place]) => {
    const committedOffset = committed.get(name);
    const endOffset = ends.get(name);
    const isBehind = committedOffset !== undefined && endOffset !== undefined &&
      committedOffset < endOffset;
    return isBehind ? [{ ...place, committedOffset, endOffset }] : [];
  });
  const since = withTime ? await unreadSince(client, lagging) : new Map<string, number>();
  const nowMs = client.clock.wallMs();
  return [...places].map(([name, { topic, partition }]) => {
    const committedOffset = committed.get(name) ?? null;
    const endOffset = ends.get(name) ?? null;
    const isKnown = committedOffset !== null && endOffset !== null;
    const timestampMs = since.get(name);
    const owner = owners.get(name);
    return {
      topic,
      partition,
      committedOffset,
      endOffset,
      lag: isKnown ? Math.max(0, endOffset - committedOffset) : null,
      // A producer's clock may be ahead of ours.
      lagSeconds: timestampMs === undefined ? null : Math.max(0, nowMs - timestampMs) / 1000,
      memberId: owner?.memberId ?? null,
      instanceId: owner?.groupInstanceId ?? null,
      clientId: owner?.clientId ?? null,
      host: owner?.host ?? null,
    };
  }).sort(byTopicAndPartition);
}
