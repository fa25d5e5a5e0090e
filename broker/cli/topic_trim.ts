/**
 * `weir topic trim`: deletes the oldest records of topics now, without waiting for retention.
 *
 * Asks with DeleteRecords, so it works against any Kafka. Records go from every reader's view at once; the
 * broker frees whole segments, so the last one keeps its bytes until all of it is trimmed.
 */

import type { Command } from "commander";
import { ErrorCode } from "../../protocol/errors.ts";
import { Calls } from "../client/calls.ts";
import { describeConfigs, ResourceType } from "../client/config_client.ts";
import { type KafkaClient, KafkaError } from "../client/kafka_client.ts";
import { listOffsets, type Place, resolvePlace, SpecialTimestamp } from "../client/offsets.ts";
import {
  type CommandContext,
  globalOptions,
  parseDuration,
  readPlace,
  withClient,
} from "./command.ts";
import { CliError, UsageError } from "./io.ts";
import { columnsOf, plural, printRows } from "./output.ts";

const TIMEOUT_MS = 30_000;

interface TrimOptions {
  readonly before?: Place;
  readonly olderThan?: number;
  readonly dryRun?: boolean;
}

/** One partition: where it began and where it begins now. */
interface TrimmedPartition {
  readonly topic: string;
  readonly partition: number;
  readonly oldStart: number;
  readonly newStart: number;
}

/** Adds the command. */
export function addTrim(parent: Command, context: CommandContext): void {
  parent.command("trim").argument("<names...>", "names of the topics")
    .description("delete the oldest records now: those past retention.ms, or as an option says")
    .option(
      "--before <place>",
      "delete what lies before: an offset, a negative number of records to keep, a time, or end",
      (text: string) => readPlace("--before", text),
    )
    .option("--older-than <duration>", "delete what is older, such as 36h or 2d", parseDuration)
    .option("--dry-run", "say what would be deleted, and delete nothing")
    .action(async (names: string[], options: TrimOptions, command: Command) => {
      if (options.before !== undefined && options.olderThan !== undefined) {
        throw new UsageError("Cannot use --before and --older-than together: choose one");
      }
      const globals = globalOptions(command);
      await withClient(context, globals, `Cannot trim ${names.join(", ")}`, async (client) => {
        const rows: TrimmedPartition[] = [];
        for (const name of names) {
          rows.push(...await trim(client, name, options, context.io.clock.wallMs()));
        }
        await printRows(context.io, {
          json: globals.json,
          columns: columnsOf("topic", "partition", "oldStart", "newStart"),
          rows: rows.map((row) => ({ ...row })),
          empty: "The topics have no partitions.",
        });
        const count = rows.reduce((sum, { oldStart, newStart }) => sum + newStart - oldStart, 0);
        const doing = options.dryRun ? "Would delete" : "Deleted";
        if (!globals.json) context.io.writeError(`${doing} ${plural(count, "record")}.\n`);
      });
    });
}

async function trim(
  client: KafkaClient,
  topic: string,
  options: TrimOptions,
  nowMs: number,
): Promise<TrimmedPartition[]> {
  const partitions = (await client.leaders(topic)).map(({ partition }) => partition);
  const starts = await listOffsets(client, topic, partitions, SpecialTimestamp.earliest);
  const ends = await listOffsets(client, topic, partitions, SpecialTimestamp.latest);
  const place = options.before ?? await oldestKept(client, topic, options, nowMs);
  const targets = await resolvePlace(client, topic, partitions, place);
  const rows = partitions.map((partition) => {
    const oldStart = starts.get(partition)?.offset ?? 0;
    const end = ends.get(partition)?.offset ?? oldStart;
    const target = Math.min(targets.get(partition) ?? oldStart, end);
    return { topic, partition, oldStart, newStart: Math.max(oldStart, target) };
  });
  if (!options.dryRun) await deleteRecords(client, topic, rows);
  return rows;
}

/** The time before which records go: as asked, else as the topic's retention says. */
async function oldestKept(
  client: KafkaClient,
  topic: string,
  { olderThan }: TrimOptions,
  nowMs: number,
): Promise<Place> {
  if (olderThan !== undefined) return { kind: "timestamp", timestampMs: nowMs - olderThan };
  const [setting] = await describeConfigs(client, ResourceType.topic, topic, ["retention.ms"]);
  const retentionMs = Number(setting?.value ?? -1);
  if (retentionMs < 0) {
    throw new CliError(
      `${topic} keeps its records for ever (retention.ms is -1); say what may go with ` +
        "--older-than or --before",
    );
  }
  return { kind: "timestamp", timestampMs: Math.max(0, nowMs - retentionMs) };
}

async function deleteRecords(
  client: KafkaClient,
  topic: string,
  rows: readonly TrimmedPartition[],
): Promise<void> {
  const wanted = rows.filter(({ oldStart, newStart }) => newStart > oldStart);
  await client.retry(async () => {
    const leaders = await client.leaders(topic);
    const byLeader = Map.groupBy(
      wanted,
      ({ partition }) => leaders.find((leader) => leader.partition === partition)?.leaderId ?? -1,
    );
    for (const [leaderId, of] of byLeader) {
      const connection = await client.broker(leaderId);
      const { topics } = await connection.request(Calls.deleteRecords, {
        topics: [{
          name: topic,
          partitions: of.map(({ partition, newStart }) => ({
            partitionIndex: partition,
            offset: newStart,
          })),
        }],
        timeoutMs: TIMEOUT_MS,
      });
      for (const { errorCode, partitionIndex } of topics[0]?.partitions ?? []) {
        if (errorCode === ErrorCode.NONE) continue;
        const isCompacted = errorCode === ErrorCode.POLICY_VIOLATION;
        throw new KafkaError(
          errorCode,
          `partition ${partitionIndex} cannot be trimmed` +
            (isCompacted ? ": cleanup.policy of the topic does not allow deletion" : ""),
        );
      }
    }
  });
}
