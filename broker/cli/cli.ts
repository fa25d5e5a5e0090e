/**
 * The command line: the tree of commands, the global options, and exit codes.
 *
 * A command line loads the command that it names and no other, since most of a start would be spent on the others.
 * `main.ts` adds `serve` and hands over the surroundings; everything else is here. Exit codes: 0 done, 1 the command
 * failed, 2 the command line is wrong.
 */

import { Command, CommanderError, Help, type Option } from "commander";
import { ClientError } from "../client/client_error.ts";
import { BOOTSTRAP_VARIABLE, type CommandContext, DEFAULT_BOOTSTRAP_SERVER } from "./command.ts";
import { type CliIo, ClosedPipeError, UsageError } from "./io.ts";

const FAILED = 1;
const WRONG_USAGE = 2;

/** Adds a command to the program. */
export type AddCommand = (program: Command, context: CommandContext) => void;

/** What adds commands, by their names, in the order in which the help shows them; each loads its command. */
export type CommandLoaders = Readonly<Record<string, () => Promise<AddCommand>>>;

const LOADERS: CommandLoaders = {
  topic: async () => (await import("./topic.ts")).addTopicCommand,
  produce: async () => (await import("./produce.ts")).addProduceCommand,
  consume: async () => (await import("./consume.ts")).addConsumeCommand,
  group: async () => (await import("./group.ts")).addGroupCommand,
  transaction: async () => (await import("./transaction.ts")).addTransactionCommand,
  config: async () => (await import("./config_command.ts")).addConfigCommand,
  cluster: async () => (await import("./cluster.ts")).addClusterCommand,
  bench: async () => (await import("./bench.ts")).addBenchCommand,
  log: async () => (await import("./log_dump.ts")).addLogCommand,
  diag: async () => {
    const { addDiagCommand } = await import("./diag.ts");
    return (program, { io, version }) =>
      addDiagCommand(program, { io, version }, async (argv, io) => {
        const commands = await loadCommands(argv);
        return await runCli(argv, { io, version, commands });
      });
  },
  version: async () => (await import("./version.ts")).addVersionCommand,
  completion: async () => (await import("./completion.ts")).addCompletionCommand,
};
/** Looks at all the others. */
const WHOLE_TREE = "completion";
const HELP_OPTIONS: readonly string[] = ["-h", "--help"];
/** Options of the program that are followed by a value. */
const VALUED_OPTIONS: readonly string[] = ["-b", "--bootstrap-server"];

/** Loads the command that a command line names, or all where it names none, or one that is not there. */
export async function loadCommands(
  argv: readonly string[],
  others: CommandLoaders = {},
): Promise<AddCommand[]> {
  const loaders = { ...others, ...LOADERS };
  const name = nameOf(argv);
  const isNamed = name !== null && name !== WHOLE_TREE && Object.hasOwn(loaders, name);
  const wanted = isNamed ? [loaders[name]!] : Object.values(loaders);
  return await Promise.all(wanted.map((load) => load()));
}

/** The command that a command line names; null where it names none, or asks for the help of all. */
function nameOf(argv: readonly string[]): string | null {
  for (const [index, word] of argv.entries()) {
    if (HELP_OPTIONS.includes(word)) return null;
    const isValue = VALUED_OPTIONS.includes(argv[index - 1] ?? "");
    if (!word.startsWith("-") && !isValue) return word;
  }
  return null;
}

/** What the command line is made from. */
export interface CliOptions extends CommandContext {
  readonly commands: readonly AddCommand[];
}

/** Builds the tree of commands. */
function buildProgram({ io, version, commands }: CliOptions): Command {
  const program = new Command("weir")
    .description("A Kafka-compatible event broker in one file, and a client for any Kafka cluster.")
    .version(version, "-V, --version", "print the version")
    .option(
      "-b, --bootstrap-server <host:port>",
      `brokers to start from, separated by commas (environment: ${BOOTSTRAP_VARIABLE})`,
      io.env[BOOTSTRAP_VARIABLE] ?? DEFAULT_BOOTSTRAP_SERVER,
    )
    .option("--json", "print one JSON object a line instead of a table, on a terminal or not")
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('(add "--help" for what there is)');
  for (const add of commands) add(program, { io, version });
  harden(program, io);
  return program;
}

/** Every command throws instead of ending the process, and writes where `io` says. */
function harden(command: Command, io: CliIo): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => void io.write(text).catch(() => undefined),
    writeErr: (text) => io.writeError(text),
    getOutHelpWidth: () => Math.min(io.columns, 100),
    getErrHelpWidth: () => Math.min(io.columns, 100),
  }).configureHelp({ showGlobalOptions: true, optionDescription });
  for (const subcommand of command.commands) harden(subcommand, io);
}

/** Defaults that are no text say nothing to people: an empty list, or a value that is already parsed. */
function optionDescription(option: Option): string {
  const isText = typeof option.defaultValue !== "object" || option.defaultValueDescription;
  return isText ? new Help().optionDescription(option) : option.description;
}

/** Runs one command line, without the program's name. Resolves with the exit code. */
export async function runCli(argv: readonly string[], options: CliOptions): Promise<number> {
  const { io } = options;
  const program = buildProgram(options);
  try {
    await program.parseAsync(argv as string[], { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : WRONG_USAGE;
    if (error instanceof ClosedPipeError) return 0;
    if (error instanceof UsageError || error instanceof ClientError) {
      io.writeError(`${error.message}\n`);
      return error instanceof UsageError ? WRONG_USAGE : FAILED;
    }
    throw error;
  }
}
