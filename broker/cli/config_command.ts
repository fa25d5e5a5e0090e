/** `weir config get|set`: settings of topics, brokers and groups. */

import type { Command } from "commander";
import { alterConfigs, describeConfigs, ResourceType } from "../client/config_client.ts";
import { type CommandContext, gathered, globalOptions, withClient } from "./command.ts";
import { CliError, UsageError } from "./io.ts";
import { columnsOf, printRows } from "./output.ts";

/** Name that stands for the default of all brokers. */
const ALL_BROKERS = "default";
const KINDS = { topic: ResourceType.topic, broker: ResourceType.broker, group: ResourceType.group };
type Kind = keyof typeof KINDS;

/** Adds the command with its subcommands. */
export function addConfigCommand(program: Command, context: CommandContext): void {
  const config = program.command("config").description("read and change settings");
  addGet(config, context);
  addSet(config, context);
}

/** The resource that two words name. Errors: UsageError. */
function resourceOf(kind: string, name: string) {
  if (!Object.hasOwn(KINDS, kind)) {
    throw new UsageError(
      `Cannot use "${kind}": it must be one of ${Object.keys(KINDS).join(", ")}`,
    );
  }
  if (kind === "broker" && name !== ALL_BROKERS && !/^\d+$/.test(name)) {
    throw new UsageError(`Cannot use broker "${name}": it must be a node id or "${ALL_BROKERS}"`);
  }
  return {
    type: KINDS[kind as Kind],
    name: kind === "broker" && name === ALL_BROKERS ? "" : name,
  };
}

const RESOURCE =
  `topic, broker or group, and its name; "broker ${ALL_BROKERS}" is the default of all brokers`;

function addGet(parent: Command, context: CommandContext): void {
  parent.command("get").argument("<kind>", RESOURCE).argument("<name>").argument("[settings...]")
    .description("show settings; without names those that differ from the default")
    .option("-a, --all", "show those at their default too")
    .action(
      async (
        kind: string,
        name: string,
        settings: string[],
        options: { all?: boolean },
        command: Command,
      ) => {
        const globals = globalOptions(command);
        const resource = resourceOf(kind, name);
        const what = `Cannot read the settings of ${kind} ${name}`;
        await withClient(context, globals, what, async (client) => {
          const wanted = settings.length > 0 ? settings : null;
          const entries = await describeConfigs(client, resource.type, resource.name, wanted);
          const missing = settings.find((it) => !entries.some((entry) => entry.name === it));
          if (missing !== undefined) throw new CliError(`there is no setting "${missing}"`);
          const rows = entries
            .filter(({ isDefault }) => options.all || wanted !== null || !isDefault)
            .map(({ name, value, source, readOnly, sensitive }) => ({
              setting: name,
              value,
              source,
              readOnly,
              sensitive,
            }));
          await printRows(context.io, {
            json: globals.json,
            columns: columnsOf("setting", "value", "source"),
            rows,
            empty: `Every setting of ${kind} ${name} has its default. --all shows them.`,
          });
        });
      },
    );
}

function addSet(parent: Command, context: CommandContext): void {
  parent.command("set").argument("<kind>", RESOURCE).argument("<name>")
    .argument("[assignments...]", "name=value")
    .description("change settings, all of them or none")
    .option("-d, --delete <setting>", "give a setting its default back; repeatable", gathered, [])
    .action(
      async (
        kind: string,
        name: string,
        given: string[],
        options: { delete: string[] },
        command: Command,
      ) => {
        const resource = resourceOf(kind, name);
        const what = `Cannot change the settings of ${kind} ${name}`;
        const set = given.map((text): [string, string] => {
          const at = text.indexOf("=");
          if (at < 1) throw new UsageError(`${what}: "${text}" is not name=value`);
          return [text.slice(0, at), text.slice(at + 1)];
        });
        if (set.length + options.delete.length === 0) {
          throw new UsageError(`${what}: say what, as name=value or with --delete`);
        }
        await withClient(context, globalOptions(command), what, async (client) => {
          await alterConfigs(client, resource.type, resource.name, { set, remove: options.delete });
          context.io.writeError(`Changed the settings of ${kind} ${name}.\n`);
        });
      },
    );
}
