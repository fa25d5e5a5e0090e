/**
 * `weir group reset-offsets`: where a group goes on reading, changed for partitions by one rule or line by line from a file.
 *
 * All that can be wrong is found out before anything is committed.
 */

import type { Command } from "commander";
import { formatTopicPartition, type TopicPartition } from "../../protocol/types.ts";
import { ClientError } from "../client/client_error.ts";
import type { GroupOffset } from "../client/group_member.ts";
import { type KafkaClient, KafkaError } from "../client/kafka_client.ts";
import {
  committedOffsets,
  executeReset,
  type OffsetReset,
  placedOffsets,
  planReset,
  readingState,
  shiftedOffsets,
} from "../client/offset_reset.ts";
import type { Place } from "../client/offsets.ts";
import {
  type CommandContext,
  gathered,
  globalOptions,
  readPlace,
  wholeNumber,
  withClient,
} from "./command.ts";
import { CliError, type CliIo, UsageError } from "./io.ts";
import { type FileOffset, formatOffsets, parseOffsets, readOffsetsFile } from "./offsets_file.ts";
import { columnsOf, printRows } from "./output.ts";

interface ResetOptions {
  readonly topic: readonly string[];
  readonly allTopics?: boolean;
  readonly to?: Place;
  readonly shift?: number;
  readonly fromFile?: string;
  readonly export?: boolean;
  readonly execute?: boolean;
}

const HELP = `
A file has a line topic,partition,offset for each partition, as kafka-consumer-groups reads and writes
it. An offset outside of what the log holds becomes the nearest one that it does.

Examples:
  weir group reset-offsets billing --all-topics --to 2026-01-31T12:00:00Z
  weir group reset-offsets billing --topic orders:0,2 --to -1h --execute
  weir group reset-offsets billing --all-topics --shift 0 --export > offsets.csv
  weir group reset-offsets billing --from-file offsets.csv --execute`;

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
      (text) => readPlace("--to", text),
    )
    .option(
      "--shift <count>",
      "forward by so many records, or back when negative",
      wholeNumber("--shift", Number.MIN_SAFE_INTEGER),
    )
    .option("--from-file <path>", "the partitions and offsets of a file")
    .option("--export", "print the new offsets as such a file, not as a table")
    .option("--execute", "commit the new offsets; else they are only shown")
    .addHelpText("after", HELP)
    .action(async (groupId: string, options: ResetOptions, command: Command) => {
      const globals = globalOptions(command);
      const what = `Cannot reset the offsets of ${groupId}`;
      checkUsage(what, options, globals.json);
      await withClient(context, globals, what, async (client) => {
        const rows = await plan(client, context.io, groupId, options);
        if (options.execute) await executeReset(client, groupId, asOffsets(rows));
        if (options.export) await context.io.write(formatOffsets(asOffsets(rows)));
        else {
          await printRows(context.io, {
            json: globals.json,
            columns: columnsOf("topic", "partition", "oldOffset", "newOffset"),
            rows: rows.map(({ topic, partition, oldOffset, newOffset }) => (
              { topic, partition, oldOffset, newOffset }
            )),
            empty: "There is nothing to reset.",
          });
        }
        if (!options.execute) context.io.writeError(await dryRunNote(client, groupId));
      });
    });
}

function checkUsage(
  what: string,
  { topic, allTopics, to, shift, fromFile, export: isExport }: ResetOptions,
  json: boolean,
): void {
  if (isExport && json) throw new UsageError(`${what}: choose one of --json and --export`);
  const ways = [to, shift].filter((way) => way !== undefined);
  if (fromFile !== undefined) {
    if (topic.length === 0 && !allTopics && ways.length === 0) return;
    throw new UsageError(
      `${what}: the file says which and where to; leave out --topic, --all-topics, --to and --shift`,
    );
  }
  if ((topic.length > 0) === (allTopics ?? false)) {
    throw new UsageError(
      `${what}: say which, with --topic or with --all-topics, or give --from-file`,
    );
  }
  if (ways.length !== 1) {
    throw new UsageError(`${what}: say where to, with --to or with --shift`);
  }
}

async function plan(
  client: KafkaClient,
  io: CliIo,
  groupId: string,
  options: ResetOptions,
): Promise<OffsetReset[]> {
  const { fromFile } = options;
  // Read before anybody is asked anything.
  const lines = fromFile === undefined
    ? []
    : parseOffsets(readOffsetsFile(io, fromFile), fromFile, groupId);
  const committed = await committedOffsets(client, groupId);
  const places: TopicPartition[] = options.allTopics ? [...committed.values()] : [];
  for (const text of options.topic) places.push(...await partitionsOf(client, text));
  await checkPartitions(client, lines);
  const targets = options.to === undefined
    ? [...lines, ...shiftedOffsets(places, committed, options.shift ?? 0)]
    : await placedOffsets(client, places, options.to);
  const rows = await planReset(client, committed, targets);
  for (const { topic, partition, askedOffset, newOffset, startOffset, endOffset } of rows) {
    if (newOffset === askedOffset) continue;
    io.writeError(
      `${formatTopicPartition(topic, partition)} has ${startOffset} to ${endOffset}: ` +
        `${newOffset} is taken for ${askedOffset}.\n`,
    );
  }
  return rows;
}

/** `orders` or `orders:0,2` as partitions. Errors: UsageError, CliError. */
async function partitionsOf(client: KafkaClient, text: string): Promise<TopicPartition[]> {
  const [topic, list] = text.split(":") as [string, string | undefined];
  const known = (await client.leaders(topic)).map(({ partition }) => partition);
  if (list === undefined) return known.map((partition) => ({ topic, partition }));
  return list.split(",").map((part) => {
    const partition = wholeNumber("--topic", 0)(part);
    if (!known.includes(partition)) throw new CliError(noPartition(topic, partition, known));
    return { topic, partition };
  });
}

function noPartition(topic: string, partition: number, known: readonly number[]): string {
  return `${topic} has no partition ${partition}, it has 0 to ${known.length - 1}`;
}

/** Errors: CliError with the line of a file whose partition does not exist. */
async function checkPartitions(client: KafkaClient, lines: readonly FileOffset[]): Promise<void> {
  for (const [topic, of] of Map.groupBy(lines, (line) => line.topic)) {
    const known = await knownPartitions(client, topic, of[0]!.place);
    for (const { partition, place } of of) {
      if (known.includes(partition)) continue;
      throw new CliError(`${place}: ${noPartition(topic, partition, known)}`);
    }
  }
}

async function knownPartitions(
  client: KafkaClient,
  topic: string,
  place: string,
): Promise<readonly number[]> {
  try {
    return (await client.leaders(topic)).map(({ partition }) => partition);
  } catch (error) {
    const isTold = error instanceof ClientError || error instanceof KafkaError;
    throw isTold ? new CliError(`${place}: ${error.message}`, { cause: error }) : error;
  }
}

async function dryRunNote(client: KafkaClient, groupId: string): Promise<string> {
  const state = await readingState(client, groupId);
  const when = state === null ? "" : `, once its members are stopped: the group is ${state}`;
  return `Nothing was changed; --execute does it${when}.\n`;
}

function asOffsets(rows: readonly OffsetReset[]): GroupOffset[] {
  return rows.map(({ topic, partition, newOffset }) => ({ topic, partition, offset: newOffset }));
}
