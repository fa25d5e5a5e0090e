/** `weir group list|describe|reset-offsets|delete`. */

import type { Command } from "commander";
import { ErrorCode } from "../../protocol/errors.ts";
import type { TopicPartition } from "../../protocol/types.ts";
import { Calls } from "./calls.ts";
import { type KafkaClient, KafkaError, throwOnError } from "./client.ts";
import {
  type CommandContext,
  gathered,
  globalOptions,
  wholeNumber,
  withClient,
} from "./command.ts";
import {
  commitGroupOffsets,
  decodeAssignment,
  fetchGroupOffsets,
  type GroupOffset,
} from "./group_member.ts";
import { CliError, UsageError } from "./io.ts";
import { listOffsets, parsePlace, type Place, resolvePlace, SpecialTimestamp } from "./offsets.ts";
import { columnsOf, plural, printRows } from "./output.ts";

const CONSUMER_PROTOCOL = "consumer";
/** States in which nobody reads, so that offsets may be changed. */
const IDLE_STATES = ["Empty", "Dead"];

/** Adds the command with its subcommands. */
export function addGroupCommand(program: Command, context: CommandContext): void {
  const group = program.command("group").description(
    "look at consumer groups and change their offsets",
  );
  addList(group, context);
  addDescribe(group, context);
  addReset(group, context);
  addDelete(group, context);
}

function addList(parent: Command, context: CommandContext): void {
  parent.command("list").description("list the groups").action(
    async (_options: unknown, command: Command) => {
      const globals = globalOptions(command);
      await withClient(context, globals, "Cannot list groups", async (client) => {
        const rows = await listGroups(client);
        await printRows(context.io, {
          json: globals.json,
          columns: columnsOf("group", "state", "type", "protocolType"),
          rows,
          empty: "There are no groups.",
        });
      });
    },
  );
}

/** Each broker knows the groups that it coordinates. */
async function listGroups(client: KafkaClient) {
  const { brokers } = await client.retry(() => client.metadata([]));
  const answers = await Promise.all(brokers.map(({ nodeId }) =>
    client.retry(async () => {
      const connection = await client.broker(nodeId);
      const answer = await connection.request(Calls.listGroups, {
        statesFilter: [],
        typesFilter: [],
      });
      throwOnError(answer.errorCode);
      return answer.groups;
    })
  ));
  return answers.flat()
    .map(({ groupId, groupState, groupType, protocolType }) => ({
      group: groupId,
      state: groupState,
      type: groupType,
      protocolType,
    }))
    .sort((a, b) => (a.group < b.group ? -1 : 1));
}

function addDescribe(parent: Command, context: CommandContext): void {
  parent.command("describe").argument("<groups...>", "ids of the groups")
    .description("show members, offsets and lag")
    .action(async (groupIds: string[], _options: unknown, command: Command) => {
      const globals = globalOptions(command);
      const what = `Cannot describe ${groupIds.join(", ")}`;
      await withClient(context, globals, what, async (client) => {
        for (const [i, groupId] of groupIds.entries()) {
          const group = await describeGroup(client, groupId);
          if (globals.json) {
            await context.io.write(`${JSON.stringify(group)}\n`);
            continue;
          }
          await context.io.write(
            `${i === 0 ? "" : "\n"}Group ${groupId}, ${group.state}, ` +
              `${plural(group.members.length, "member")}\n`,
          );
          await printRows(context.io, {
            json: false,
            columns: columnsOf(
              "topic",
              "partition",
              "committedOffset",
              "endOffset",
              "lag",
              "clientId",
              "host",
              "memberId",
            ),
            rows: group.partitions,
            empty: "It has no offsets and no assignment.",
          });
        }
      });
    });
}

interface Member {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly clientId: string;
  readonly host: string;
  readonly partitions: readonly TopicPartition[];
}

async function describeGroup(client: KafkaClient, groupId: string) {
  const { state, protocol, members } = await describeMembers(client, groupId);
  const offsets = await fetchGroupOffsets(client, groupId, null);
  const places = new Map<string, TopicPartition>();
  for (const { topic, partition } of [...offsets, ...members.flatMap((it) => it.partitions)]) {
    places.set(`${topic}-${partition}`, { topic, partition });
  }
  const ends = await endOffsets(client, [...places.values()]);
  const partitions = [...places].map(([name, { topic, partition }]) => {
    const committed = offsets.find((it) => it.topic === topic && it.partition === partition);
    const owner = members.find((it) =>
      it.partitions.some((own) => own.topic === topic && own.partition === partition)
    );
    const committedOffset = committed === undefined || committed.offset < 0
      ? null
      : committed.offset;
    const endOffset = ends.get(name) ?? null;
    const lag = committedOffset === null || endOffset === null ? null : endOffset - committedOffset;
    return {
      topic,
      partition,
      committedOffset,
      endOffset,
      lag: lag === null ? null : Math.max(0, lag),
      memberId: owner?.memberId ?? null,
      clientId: owner?.clientId ?? null,
      host: owner?.host ?? null,
    };
  }).sort((a, b) => a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1);
  return { group: groupId, state, protocol, members, partitions };
}

async function describeMembers(client: KafkaClient, groupId: string) {
  const answer = await client.askCoordinator(
    groupId,
    Calls.describeGroups,
    { groups: [groupId], includeAuthorizedOperations: false },
    ({ groups }) => groups[0]?.errorCode ?? ErrorCode.NONE,
  );
  const group = answer.groups[0]!;
  if (group.errorCode === ErrorCode.GROUP_ID_NOT_FOUND || group.groupState === "Dead") {
    return await describeConsumerMembers(client, groupId);
  }
  throwOnError(group.errorCode, group.errorMessage);
  const members: Member[] = group.members.map((member) => ({
    memberId: member.memberId,
    groupInstanceId: member.groupInstanceId,
    clientId: member.clientId,
    host: member.clientHost,
    partitions: group.protocolType === CONSUMER_PROTOCOL
      ? decodeAssignment(member.memberAssignment)
      : [],
  }));
  return { state: group.groupState, protocol: group.protocolData, members };
}

/** A group that is no classic one. */
async function describeConsumerMembers(client: KafkaClient, groupId: string) {
  const listed = (await listGroups(client)).find((it) => it.group === groupId);
  if (listed === undefined) {
    throw new CliError(`group ${groupId} does not exist; "weir group list" shows those that do`);
  }
  // Of a group of another type the offsets can be told, the members cannot.
  if (listed.type !== "consumer") {
    return { state: listed.state, protocol: "", members: [] as Member[] };
  }
  const { groups: [group] } = await client.askCoordinator(
    groupId,
    Calls.consumerGroupDescribe,
    { groupIds: [groupId], includeAuthorizedOperations: false },
    ({ groups }) => groups[0]?.errorCode ?? ErrorCode.NONE,
  );
  throwOnError(group!.errorCode, group!.errorMessage);
  const members: Member[] = group!.members.map((member) => ({
    memberId: member.memberId,
    groupInstanceId: member.instanceId,
    clientId: member.clientId,
    host: member.clientHost,
    partitions: member.assignment.topicPartitions.flatMap(({ topicName, partitions }) => (
      partitions.map((partition) => ({ topic: topicName, partition }))
    )),
  }));
  return { state: group!.groupState, protocol: group!.assignorName, members };
}

/** End offsets by `topic-partition`; topics that are gone are left out. */
async function endOffsets(
  client: KafkaClient,
  places: readonly TopicPartition[],
): Promise<Map<string, number>> {
  const ends = new Map<string, number>();
  for (const [topic, wanted] of Map.groupBy(places, (place) => place.topic)) {
    const { topics } = await client.retry(() => client.metadata([topic]));
    if (topics[0]?.errorCode !== ErrorCode.NONE) continue;
    const numbers = wanted.map(({ partition }) => partition);
    const found = await listOffsets(client, topic, numbers, SpecialTimestamp.latest);
    for (const [partition, { offset }] of found) ends.set(`${topic}-${partition}`, offset);
  }
  return ends;
}

interface ResetOptions {
  readonly topic: readonly string[];
  readonly allTopics?: boolean;
  readonly to?: Place;
  readonly shift?: number;
  readonly execute?: boolean;
}

function addReset(parent: Command, context: CommandContext): void {
  parent.command("reset-offsets").argument("<group>", "id of the group")
    .description("change where a group goes on reading; shows the change unless --execute is given")
    .option(
      "-t, --topic <topic[:partitions]>",
      "such as orders or orders:0,2; repeatable",
      gathered,
      [],
    )
    .option("--all-topics", "every topic that the group has offsets in")
    .option(
      "--to <place>",
      "beginning, end, an offset (-10: ten before the end) or an ISO 8601 time",
      (text) => parsePlace("--to", text),
    )
    .option(
      "--shift <count>",
      "forward by so many records, or back when negative",
      wholeNumber("--shift", Number.MIN_SAFE_INTEGER),
    )
    .option("--execute", "commit the new offsets; else they are only shown")
    .action(async (groupId: string, options: ResetOptions, command: Command) => {
      checkReset(groupId, options);
      const globals = globalOptions(command);
      const what = `Cannot reset the offsets of ${groupId}`;
      await withClient(context, globals, what, async (client) => {
        const rows = await planReset(client, groupId, options);
        if (options.execute) await executeReset(client, groupId, rows);
        await printRows(context.io, {
          json: globals.json,
          columns: columnsOf("topic", "partition", "oldOffset", "newOffset"),
          rows,
          empty: "There is nothing to reset.",
        });
        if (!options.execute) context.io.writeError("Nothing was changed; --execute does it.\n");
      });
    });
}

function checkReset(groupId: string, { topic, allTopics, to, shift }: ResetOptions): void {
  const what = `Cannot reset the offsets of ${groupId}`;
  if ((topic.length > 0) === (allTopics ?? false)) {
    throw new UsageError(`${what}: say which, with --topic or with --all-topics`);
  }
  if ((to === undefined) === (shift === undefined)) {
    throw new UsageError(`${what}: say where to, with --to or with --shift`);
  }
}

/** `orders` or `orders:0,2` as partitions. Errors: UsageError, CliError. */
async function partitionsOf(client: KafkaClient, text: string): Promise<TopicPartition[]> {
  const [topic, list] = text.split(":") as [string, string | undefined];
  const known = (await client.leaders(topic)).map(({ partition }) => partition);
  if (list === undefined) return known.map((partition) => ({ topic, partition }));
  return list.split(",").map((part) => {
    const partition = wholeNumber("--topic", 0)(part);
    if (!known.includes(partition)) {
      throw new CliError(`${topic} has no partition ${partition}, it has 0 to ${known.length - 1}`);
    }
    return { topic, partition };
  });
}

async function planReset(client: KafkaClient, groupId: string, options: ResetOptions) {
  const committed = (await fetchGroupOffsets(client, groupId, null)).filter(({ offset }) =>
    offset >= 0
  );
  const wanted: TopicPartition[] = options.allTopics ? committed : [];
  for (const text of options.topic) wanted.push(...await partitionsOf(client, text));
  const rows: { topic: string; partition: number; oldOffset: number | null; newOffset: number }[] =
    [];
  for (const [topic, places] of Map.groupBy(wanted, (place) => place.topic)) {
    const numbers = places.map(({ partition }) => partition);
    const starts = await listOffsets(client, topic, numbers, SpecialTimestamp.earliest);
    const ends = await listOffsets(client, topic, numbers, SpecialTimestamp.latest);
    const targets = options.to === undefined
      ? null
      : await resolvePlace(client, topic, numbers, options.to);
    for (const partition of numbers) {
      const old = committed.find((it) => it.topic === topic && it.partition === partition);
      const start = starts.get(partition)?.offset ?? 0;
      const end = ends.get(partition)?.offset ?? 0;
      if (targets === null && old === undefined) {
        throw new CliError(
          `partition ${partition} of ${topic} has no committed offset to shift; use --to`,
        );
      }
      const target = targets?.get(partition) ?? old!.offset + (options.shift ?? 0);
      // As Kafka does: what lies outside of the log becomes its edge.
      const newOffset = Math.min(Math.max(target, start), end);
      rows.push({ topic, partition, oldOffset: old?.offset ?? null, newOffset });
    }
  }
  return rows;
}

async function executeReset(
  client: KafkaClient,
  groupId: string,
  rows: readonly { topic: string; partition: number; newOffset: number }[],
): Promise<void> {
  const listed = (await listGroups(client)).find(({ group }) => group === groupId);
  if (listed !== undefined && listed.state !== "" && !IDLE_STATES.includes(listed.state)) {
    throw new CliError(
      `the group is ${listed.state}: it has members that read; stop them first`,
    );
  }
  const offsets: GroupOffset[] = rows.map(({ topic, partition, newOffset }) => ({
    topic,
    partition,
    offset: newOffset,
  }));
  if (offsets.length === 0) return;
  for (const code of await commitGroupOffsets(client, groupId, offsets)) throwOnError(code);
}

function addDelete(parent: Command, context: CommandContext): void {
  parent.command("delete").argument("<groups...>", "ids of the groups")
    .description("delete groups with their offsets")
    .action(async (groupIds: string[], _options: unknown, command: Command) => {
      const globals = globalOptions(command);
      await withClient(context, globals, `Cannot delete ${groupIds.join(", ")}`, async (client) => {
        const refused: string[] = [];
        for (const groupId of groupIds) {
          const answer = await client.askCoordinator(
            groupId,
            Calls.deleteGroups,
            { groupsNames: [groupId] },
            ({ results }) => results[0]?.errorCode ?? ErrorCode.NONE,
          );
          const { errorCode, errorMessage } = answer.results[0]!;
          if (errorCode === ErrorCode.NONE) context.io.writeError(`Deleted group ${groupId}.\n`);
          else refused.push(`${groupId}: ${new KafkaError(errorCode, errorMessage).message}`);
        }
        if (refused.length > 0) throw new CliError(refused.join("; "));
      });
    });
}
