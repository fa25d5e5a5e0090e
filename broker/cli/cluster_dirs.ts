/** `weir cluster dirs`: the log directories of every broker, their disks, and what is on its way between them. */

import type { Command } from "commander";
import { describeLogDirs } from "../client/log_dirs.ts";
import { type CommandContext, globalOptions, withClient } from "./command.ts";
import { columnsOf, formatBytes, printRows, type Row } from "./output.ts";

/** Adds the command. */
export function addClusterDirsCommand(cluster: Command, context: CommandContext): void {
  cluster.command("dirs").description("show the log directories of the brokers and their disks")
    .action(async (_options: unknown, command: Command) => {
      const globals = globalOptions(command);
      await withClient(context, globals, "Cannot describe log directories", async (client) => {
        const rows = (await describeLogDirs(client)).map((row) => ({ ...row }));
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
