/** `weir group list|describe|reset-offsets|delete`. */

import type { Command } from "commander";
import { deleteGroup, GROUP_STATES, GROUP_TYPES, listGroups } from "../client/groups.ts";
import { KafkaError } from "../client/kafka_client.ts";
import { type CommandContext, globalOptions, withClient } from "./command.ts";
import { addDescribe } from "./group_describe.ts";
import { addReset } from "./group_reset.ts";
import { CliError, UsageError } from "./io.ts";
import { columnsOf, printRows } from "./output.ts";

interface ListOptions {
  readonly state?: ReadonlySet<string>;
  readonly type?: ReadonlySet<string>;
}

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
  parent.command("list").description("list the groups of every type")
    .option("--state <states>", `only those that are ${GROUP_STATES.join(", ")}`, states)
    .option("--type <types>", `only ${GROUP_TYPES.join(", ")} groups`, types)
    .addHelpText("after", LIST_HELP)
    .action(async ({ state, type }: ListOptions, command: Command) => {
      const globals = globalOptions(command);
      await withClient(context, globals, "Cannot list groups", async (client) => {
        const rows = (await listGroups(client)).filter((it) =>
          (state === undefined || state.has(it.state)) &&
          (type === undefined || type.has(it.type))
        );
        await printRows(context.io, {
          json: globals.json,
          columns: columnsOf("group", "state", "type", "protocolType"),
          rows: rows.map((row) => ({ ...row })),
          empty: "There are no groups.",
        });
      });
    });
}

const LIST_HELP = `
Several go with commas between them.

Examples:
  weir group list --state Stable,Empty
  weir group list --type consumer --json`;

const states = someOf("--state", GROUP_STATES);
const types = someOf("--type", GROUP_TYPES);

/** For commander: several of what is allowed, in upper or lower case. Errors: UsageError. */
function someOf(option: string, allowed: readonly string[]) {
  return (text: string): ReadonlySet<string> => {
    const chosen = text.split(",").map((part) => {
      const found = allowed.find((it) => it.toLowerCase() === part.trim().toLowerCase());
      if (found !== undefined) return found;
      throw new UsageError(
        `Cannot use ${option} "${part}": it must be one of ${allowed.join(", ")}`,
      );
    });
    return new Set(chosen);
  };
}

function addDelete(parent: Command, context: CommandContext): void {
  parent.command("delete").argument("<groups...>", "ids of the groups")
    .description("delete groups with their offsets")
    .action(async (groupIds: string[], _options: unknown, command: Command) => {
      const globals = globalOptions(command);
      await withClient(context, globals, `Cannot delete ${groupIds.join(", ")}`, async (client) => {
        const refused: string[] = [];
        for (const groupId of groupIds) {
          try {
            await deleteGroup(client, groupId);
            context.io.writeError(`Deleted group ${groupId}.\n`);
          } catch (error) {
            if (!(error instanceof KafkaError)) throw error;
            refused.push(`${groupId}: ${error.message}`);
          }
        }
        if (refused.length > 0) throw new CliError(refused.join("; "));
      });
    });
}
