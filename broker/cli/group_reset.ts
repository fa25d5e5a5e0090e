/**
 * `weir group reset-offsets`: where a group goes on reading, changed for partitions by one rule or line by line from a file.
 *
 * All that can be wrong is found out before anything is committed.
 */

import type { Command } from "commander";
import { formatTopicPartition, type TopicPartition } from "../../protocol/types.ts";
import { ClientError } from "../client/client_error.ts";
import { commitGroupOffsets, fetchGroupOffsets, type GroupOffset } from "../client/group_member.ts";
import { type KafkaClient, KafkaError, throwOnError } from "../client/kafka_client.ts";
import {
  byTopicAndPartition,
  listOffsets,
  type Place,
  resolvePlace,
  SpecialTimestamp,
} from "../client/offsets.ts";
import {
  type CommandContext,
  gathered,
  globalOptions,
  readPlace,
  wholeNumber,
  withClient,
} from "./command.ts";
import { isReading, listGroups } from "../client/groups.ts";
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

/** What becomes of one partition. */
interface Reset extends TopicPartition {
  /** Null where the group has committed nothing. */
  readonly oldOffset: number | null;
  readonly newOffset: number;
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
        const rows = await planReset(client, context.io, groupId, options);
        if (options.execute) await executeReset(client, groupId, rows);
        if (options.export) await context.io.write(formatOffsets(asOffsets(rows)));
        else {
          await printRows(context.io, {
            json: globals.json,
            columns: columnsOf("topic", "partition", "oldOffset", "newOffset"),
            rows: rows.map((row) => ({ ...row })),
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

async function planReset(
  client: KafkaClient,
  io: CliIo,
  groupId: string,
  options: ResetOptions,
): Promise<Reset[]> {
  const { fromFile } = options;
  // Read before anybody is asked anything.
  const lines = fromFile === undefined
    ? []
    : parseOffsets(readOffsetsFile(io, fromFile), fromFile, groupId);
  const committed = new Map(
    (await fetchGroupOffsets(client, groupId, null))
      .filter(({ offset }) => offset >= 0)
      .map((it) => [formatTopicPartition(it.topic, it.partition), it]),
  );
  const places: TopicPartition[] = options.allTopics ? [...committed.values()] : [];
  for (const text of options.topic) places.push(...await partitionsOf(client, text));
  await checkPartitions(client, lines);
  const targets = options.to === undefined
    ? [...lines, ...shifted(places, committed, options.shift ?? 0)]
    : await resolved(client, places, options.to);
  const rows: Reset[] = [];
  for (const [topic, of] of Map.groupBy(targets, (target) => target.topic)) {
    const numbers = of.map(({ partition }) => partition);
    const starts = await listOffsets(client, topic, numbers, SpecialTimestamp.earliest);
    const ends = await listOffsets(client, topic, numbers, SpecialTimestamp.latest);
    for (const { partition, offset } of of) {
      const start = starts.get(partition)?.offset ?? 0;
      const end = ends.get(partition)?.offset ?? 0;
      // As Kafka does: what lies outside of the log becomes its edge.
      const newOffset = Math.min(Math.max(offset, start), end);
      const name = formatTopicPartition(topic, partition);
      const oldOffset = committed.get(name)?.offset ?? null;
      rows.push({ topic, partition, oldOffset, newOffset });
      if (newOffset !== offset) {
        io.writeError(
          `${name} has ${start} to ${end}: ${newOffset} is taken for ${offset}.\n`,
        );
      }
    }
  }
  return rows.sort(byTopicAndPartition);
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

/** Where a place is in each of the partitions. */
async function resolved(
  client: KafkaClient,
  places: readonly TopicPartition[],
  to: Place,
): Promise<GroupOffset[]> {
  const targets: GroupOffset[] = [];
  for (const [topic, of] of Map.groupBy(places, (place) => place.topic)) {
    const numbers = [...new Set(of.map(({ partition }) => partition))];
    const offsets = await resolvePlace(client, topic, numbers, to);
    for (const [partition, offset] of offsets) targets.push({ topic, partition, offset });
  }
  return targets;
}

/** So many records from where the group is. Errors: CliError where it is nowhere. */
function shifted(
  places: readonly TopicPartition[],
  committed: ReadonlyMap<string, GroupOffset>,
  shift: number,
): GroupOffset[] {
  const targets = new Map(places.map((place) => {
    const name = formatTopicPartition(place.topic, place.partition);
    const old = committed.get(name);
    if (old === undefined) {
      throw new CliError(
        `partition ${place.partition} of ${place.topic} has no committed offset to shift; use --to`,
      );
    }
    return [name, { ...old, offset: old.offset + shift }];
  }));
  return [...targets.values()];
}

async function dryRunNote(client: KafkaClient, groupId: string): Promise<string> {
  const state = await readingState(client, groupId);
  const when = state === null ? "" : `, once its members are stopped: the group is ${state}`;
  return `Nothing was changed; --execute does it${when}.\n`;
}

/** The state of a group whose members read and commit themselves; null when nobody does. */
async function readingState(client: KafkaClient, groupId: string): Promise<string | null> {
  const listed = (await listGroups(client)).find(({ group }) => group === groupId);
  return listed === undefined || !isReading(listed) ? null : listed.state;
}

async function executeReset(
  client: KafkaClient,
  groupId: string,
  rows: readonly Reset[],
): Promise<void> {
  const state = await readingState(client, groupId);
  if (state !== null) {
    throw new CliError(`the group is ${state}: it has members that read; stop them first`);
  }
  if (rows.length === 0) return;
  for (const code of await commitGroupOffsets(client, groupId, asOffsets(rows))) {
    throwOnError(code);
  }
}

function asOffsets(rows: readonly Reset[]): GroupOffset[] {
  return rows.map(({ topic, partition, newOffset }) => ({ topic, partition, offset: newOffset }));
}
