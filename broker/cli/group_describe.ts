/**
 * `weir group describe`: what a group is, who its members are and what they have, and how far it is behind.
 *
 * Classic and consumer groups are described by different requests; the first one that knows the group answers. Of groups
 * of other types the type, the state and the offsets are told, the members are not.
 */

import type { Command } from "commander";
import { ErrorCode } from "../../protocol/errors.ts";
import type { TopicPartition } from "../../protocol/types.ts";
import {
  type DescribedMember,
  describeGroup,
  describeGroupPartitions,
  type GroupDescription,
  type GroupPartition,
} from "../client/group_description.ts";
import { type KafkaClient, KafkaError } from "../client/kafka_client.ts";
import { type CommandContext, globalOptions, withClient } from "./command.ts";
import { CliError } from "./io.ts";
import { columnsOf, formatTable, plural, printRows, type Row } from "./output.ts";

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
          const group = await describeKnown(client, groupId);
          const partitions = await describeGroupPartitions(client, group, { withTime: true });
          if (globals.json) {
            await context.io.write(
              `${
                JSON.stringify({ ...group, partitions: partitions.map((row) => ({ ...row })) })
              }\n`,
            );
            continue;
          }
          if (i > 0) await context.io.write("\n");
          await print(context, group, partitions);
        }
      });
    });
}

async function describeKnown(client: KafkaClient, groupId: string): Promise<GroupDescription> {
  try {
    return await describeGroup(client, groupId);
  } catch (error) {
    const isUnknown = error instanceof KafkaError && error.code === ErrorCode.GROUP_ID_NOT_FOUND;
    if (!isUnknown) throw error;
    const text = `group ${groupId} does not exist; "weir group list" shows those that do`;
    throw new CliError(text, { cause: error });
  }
}

// ---- for people -------------------------------------------------------------------------------------

async function print(
  { io }: CommandContext,
  group: GroupDescription,
  partitions: readonly GroupPartition[],
) {
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
    rows: partitions.map((row) => ({ ...row })),
    empty: "It has no offsets and no assignment.",
  });
}

function headline(
  { type, state, protocol, epoch, assignmentEpoch, members }: GroupDescription,
): string {
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

function memberRow(member: DescribedMember): Row {
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
function targetText({ partitions, targetPartitions }: DescribedMember): string | null {
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
