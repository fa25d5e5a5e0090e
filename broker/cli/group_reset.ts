/** `weir group reset-offsets`: where a group goes on reading. */

import type { Command } from "commander";
import type { TopicPartition } from "../../protocol/types.ts";
import { type KafkaClient, throwOnError } from "./client.ts";
import {
  type CommandContext,
  gathered,
  globalOptions,
  wholeNumber,
  withClient,
} from "./command.ts";
import { isReading, listGroups } from "./group_listing.ts";
import { commitGroupOffsets, fetchGroupOffsets, type GroupOffset } from "./group_member.ts";
import { CliError, UsageError } from "./io.ts";
import { listOffsets, parsePlace, type Place, resolvePlace, SpecialTimestamp } from "./offsets.ts";
import { columnsOf, printRows } from "./output.ts";

interface ResetOptions {
  readonly topic: readonly string[];
  readonly allTopics?: boolean;
  readonly to?: Place;
  readonly shift?: number;
  readonly execute?: boolean;
}

/** Adds the command. */
export function addReset(parent: Command, context: CommandContext): void {
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
      "beginning, end, an offset (-10: ten before the end), an ISO 8601 time or -1h: an hour ago",
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
  if (listed !== undefined && isReading(listed)) {
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
