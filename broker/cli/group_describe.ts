/**
 * `weir group describe`: what a group is, who its members are and what they have, and how far it is behind.
 *
 * Classic and consumer groups are described by different requests; the first one that knows the group answers. Of groups
 * of other types the type, the state and the offsets are told, the members are not.
 */

import type { Command } from "commander";
import { WireError } from "../../protocol/bytes.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { ConsumerGroupDescribeResponse } from "../../protocol/schemas/consumer_group_describe.ts";
import type { DescribeGroupsResponse } from "../../protocol/schemas/describe_groups.ts";
import { formatTopicPartition, type TopicPartition } from "../../protocol/types.ts";
import { Calls } from "../client/calls.ts";
import { endOffsets, type Lagging, unreadSince } from "../client/group_lag.ts";
import { decodeAssignment, decodeSubscription, fetchGroupOffsets } from "../client/group_member.ts";
import { type KafkaClient, throwOnError } from "../client/kafka_client.ts";
import { byTopicAndPartition } from "../client/offsets.ts";
import { type CommandContext, globalOptions, withClient } from "./command.ts";
import { listGroups } from "./group_listing.ts";
import { CliError } from "./io.ts";
import { columnsOf, formatTable, plural, printRows, type Row } from "./output.ts";

const CONSUMER_PROTOCOL = "consumer";

/** A group, as it is described. */
interface Group {
  readonly group: string;
  readonly type: string;
  readonly state: string;
  readonly protocolType: string;
  /** What assigns: the protocol that members of a classic group have chosen, the assignor of a consumer group. */
  readonly protocol: string;
  /** Of consumer groups; null where there is none. */
  readonly epoch: number | null;
  readonly assignmentEpoch: number | null;
  readonly members: readonly Member[];
}

interface Member {
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

const HELP = `
LAG is the end offset less the committed one. LAG SECONDS is how long ago the first record that the
group has not consumed was written, by the record's own timestamp: one batch of each partition that
lags is read for it. Nothing is shown where nothing is unread.

Examples:
  weir group describe billing
  weir group describe billing --json | jq '.partitions[] | select(.lagSeconds > 60)'`;

/** Adds the command. */
export function addDescribe(parent: Command, context: CommandContext): void {
  parent.command("describe").argument("<groups...>", "ids of the groups")
    .description("show type, members, assignment, offsets, and lag in records and seconds")
    .addHelpText("after", HELP)
    .action(async (groupIds: string[], _options: unknown, command: Command) => {
      const globals = globalOptions(command);
      const what = `Cannot describe ${groupIds.join(", ")}`;
      await withClient(context, globals, what, async (client) => {
        for (const [i, groupId] of groupIds.entries()) {
          const group = await describeGroup(client, groupId);
          const partitions = await describePartitions(client, group);
          if (globals.json) {
            await context.io.write(`${JSON.stringify({ ...group, partitions })}\n`);
            continue;
          }
          if (i > 0) await context.io.write("\n");
          await print(context, group, partitions);
        }
      });
    });
}

// ---- members ----------------------------------------------------------------------------------------

async function describeGroup(client: KafkaClient, groupId: string): Promise<Group> {
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
async function describeOther(client: KafkaClient, groupId: string): Promise<Group> {
  const listed = (await listGroups(client)).find((it) => it.group === groupId);
  if (listed === undefined) {
    throw new CliError(`group ${groupId} does not exist; "weir group list" shows those that do`);
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
): Group {
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

function consumerGroup(group: ConsumerGroupDescribeResponse["groups"][number]): Group {
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

/** Every partition that the group has an offset of, or a member with. */
async function describePartitions(client: KafkaClient, { group, members }: Group) {
  const committed = new Map<string, number>();
  const owners = new Map<string, Member>();
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
  const since = await unreadSince(client, lagging);
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
      clientId: owner?.clientId ?? null,
      host: owner?.host ?? null,
    };
  }).sort(byTopicAndPartition);
}

// ---- for people -------------------------------------------------------------------------------------

async function print({ io }: CommandContext, group: Group, partitions: readonly Row[]) {
  await io.write(`Group ${group.group}: ${headline(group)}\n`);
  const { members } = group;
  if (members.length > 0) {
    const isConsumer = group.type === "consumer";
    const hasTargets = members.some((member) => targetText(member) !== null);
    const columns = columnsOf(
      "clientId",
      "host",
      "instanceId",
      ...(isConsumer ? ["protocol", "epoch"] : []),
      "subscription",
      "assignment",
      ...(hasTargets ? ["target"] : []),
      "memberId",
    );
    await io.write(`\n${formatTable(columns, members.map(memberRow))}\n`);
  }
  await printRows(io, {
    json: false,
    columns: columnsOf(
      "topic",
      "partition",
      "committedOffset",
      "endOffset",
      "lag",
      "lagSeconds",
      "clientId",
      "host",
      "memberId",
    ),
    rows: partitions,
    empty: "It has no offsets and no assignment.",
  });
}

function headline({ type, state, protocol, epoch, assignmentEpoch, members }: Group): string {
  const assigned = type === "consumer" ? "assignor" : "protocol";
  return [
    type,
    state,
    ...(protocol === "" ? [] : [`${assigned} ${protocol}`]),
    ...(epoch === null ? [] : [`epoch ${epoch}`]),
    ...(assignmentEpoch === epoch ? [] : [`assignment of epoch ${assignmentEpoch}`]),
    plural(members.length, "member"),
  ].join(", ");
}

function memberRow(member: Member): Row {
  const { subscription, subscriptionRegex: regex } = member;
  return {
    clientId: member.clientId,
    host: member.host,
    instanceId: member.groupInstanceId,
    protocol: member.memberType,
    epoch: member.memberEpoch,
    // A topic's name has no slash.
    subscription: [...subscription ?? [], ...(regex === null ? [] : [`/${regex}/`])],
    assignment: assignmentText(member.partitions),
    target: targetText(member),
    memberId: member.memberId,
  };
}

/** Null where it is what the member has. */
function targetText({ partitions, targetPartitions }: Member): string | null {
  if (targetPartitions === null) return null;
  const target = assignmentText(targetPartitions);
  if (target === assignmentText(partitions)) return null;
  return target === "" ? "nothing" : target;
}

/** `events:0 orders:0-2,5`. */
function assignmentText(partitions: readonly TopicPartition[]): string {
  const byTopic = [...Map.groupBy(partitions, ({ topic }) => topic)]
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return byTopic
    .map(([topic, own]) => `${topic}:${rangesText(own.map(({ partition }) => partition))}`)
    .join(" ");
}

function rangesText(numbers: readonly number[]): string {
  const ranges: { first: number; last: number }[] = [];
  for (const number of numbers.toSorted((a, b) => a - b)) {
    const range = ranges.at(-1);
    if (range?.last === number - 1) range.last = number;
    else ranges.push({ first: number, last: number });
  }
  const texts = ranges.map(({ first, last }) => first === last ? `${first}` : `${first}-${last}`);
  return texts.join(",");
}
