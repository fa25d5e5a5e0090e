/**
 * The command line: the tree of commands, the global options, and exit codes.
 *
 * `main.ts` adds `serve` through `extend` and hands over the surroundings; everything else is here. Exit codes: 0 done,
 * 1 the command failed, 2 the command line is wrong.
 */

import { Command, CommanderError, Help, type Option } from "commander";
import { ClientError } from "../client/client_error.ts";
import { addClusterCommand } from "./cluster.ts";
import { BOOTSTRAP_VARIABLE, type CommandContext, DEFAULT_BOOTSTRAP_SERVER } from "./command.ts";
import { addCompletionCommand } from "./completion.ts";
import { addConfigCommand } from "./config_command.ts";
import { addConsumeCommand } from "./consume.ts";
import { addDiagCommand } from "./diag.ts";
import { addGroupCommand } from "./group.ts";
import { type CliIo, ClosedPipeError, UsageError } from "./io.ts";
import { addLogCommand } from "./log_dump.ts";
import { addProduceCommand } from "./produce.ts";
import { addTopicCommand } from "./topic.ts";
import { addTransactionCommand } from "./transaction.ts";
import { addVersionCommand } from "./version.ts";

const FAILED = 1;
const WRONG_USAGE = 2;

/** What the command line is made from. */
export interface CliOptions extends CommandContext {
  /** Adds the commands that need more than a client: `serve`. */
  readonly extend?: (program: Command) => void;
}

/** Builds the tree of commands. */
export function buildProgram({ io, version, extend }: CliOptions): Command {
  const context = { io, version };
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
  extend?.(program);
  addTopicCommand(program, context);
  addProduceCommand(program, context);
  addConsumeCommand(program, context);
  addGroupCommand(program, context);
  addTransactionCommand(program, context);
  addConfigCommand(program, context);
  addClusterCommand(program, context);
  addLogCommand(program, context);
  addDiagCommand(program, context, (argv, io) => runCli(argv, { io, version }));
  addVersionCommand(program, context);
  addCompletionCommand(program, context);
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
