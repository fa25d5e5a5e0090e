/** `weir cluster dirs`: the log directories of every broker, their disks, and what is on its way between them. */

import type { Command } from "commander";
import { ErrorCode, errorName } from "../../protocol/errors.ts";
import type { Decoded } from "../../protocol/schema.ts";
import type { describeLogDirsResponse } from "../../protocol/schemas/describe_log_dirs.ts";
import { Calls } from "../client/calls.ts";
import { type KafkaClient, throwOnError } from "../client/kafka_client.ts";
import { type CommandContext, globalOptions, withClient } from "./command.ts";
import { columnsOf, formatBytes, printRows, type Row } from "./output.ts";

type Directory = Decoded<typeof describeLogDirsResponse>["results"][number];

/** Adds the command. */
export function addClusterDirsCommand(cluster: Command, context: CommandContext): void {
  cluster.command("dirs").description("show the log directories of the brokers and their disks")
    .action(async (_options: unknown, command: Command) => {
      const globals = globalOptions(command);
      await withClient(context, globals, "Cannot describe log directories", async (client) => {
        const rows = await describe(client);
        await printRows(context.io, {
          json: globals.json,
          columns: columnsOf(
            "broker",
            "directory",
            "state",
            "partitions",
            "arriving",
            "used",
            "free",
            "size",
          ),
          rows: globals.json ? rows : rows.map(forPeople),
          empty: "There are none.",
        });
      });
    });
}

async function describe(client: KafkaClient): Promise<Row[]> {
  const { brokers } = await client.retry(() => client.metadata([]));
  const rows: Row[] = [];
  for (const { nodeId } of brokers.toSorted((a, b) => a.nodeId - b.nodeId)) {
    const answer = await client.retry(async () => {
      const broker = await client.broker(nodeId);
      return await broker.request(Calls.describeLogDirs, { topics: null });
    });
    throwOnError(answer.errorCode);
    for (const directory of answer.results) rows.push(rowOf(nodeId, directory));
  }
  return rows;
}

function rowOf(broker: number, directory: Directory): Row {
  const { logDir, errorCode, isCordoned, topics, totalBytes, usableBytes } = directory;
  const all = topics.flatMap(({ name, partitions }) =>
    partitions.map(({ partitionIndex, partitionSize, isFutureKey, offsetLag }) => (
      { topic: name, partition: partitionIndex, bytes: partitionSize, isFutureKey, offsetLag }
    ))
  );
  const arriving = all.filter(({ isFutureKey }) => isFutureKey)
    .map(({ isFutureKey: _isFutureKey, ...rest }) => rest);
  return {
    broker,
    directory: logDir,
    state: errorCode !== ErrorCode.NONE
      ? `offline (${errorName(errorCode)})`
      : isCordoned
      ? "cordoned"
      : "online",
    partitions: all.length - arriving.length,
    arriving,
    usedBytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
    // A broker of before KIP-827 does not say.
    freeBytes: usableBytes < 0 ? null : usableBytes,
    sizeBytes: totalBytes < 0 ? null : totalBytes,
  };
}

function forPeople(row: Row): Row {
  const bytes = (value: unknown) => typeof value === "number" ? formatBytes(value) : null;
  const { arriving, usedBytes, freeBytes, sizeBytes } = row;
  return {
    ...row,
    arriving: (arriving as readonly unknown[]).length,
    used: bytes(usedBytes),
    free: bytes(freeBytes),
    size: bytes(sizeBytes),
  };
}
