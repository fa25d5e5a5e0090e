/**
 * `weir serve`: reads the settings, starts a broker, and stops it when asked to.
 *
 * The broker itself is handed in as `start`, since only `main.ts` knows the real platform.
 */

import type { Command } from "commander";
import { Config } from "../config/config.ts";
import { type Address, formatAddress, isWildcard } from "../config/listeners.ts";
import { BROKER_SETTINGS } from "../config/broker_settings.ts";
import type { Setting } from "../config/setting.ts";
import { ConfigError } from "../config/sources.ts";
import { NetworkError } from "../network.ts";
import { DiskError } from "../../storage/platform.ts";
import { LogDirectoryError } from "../../storage/directory_meta.ts";
import { gathered } from "./command.ts";
import { CliError, type CliIo, ClosedPipeError } from "./io.ts";
import { flagSettings, readConfigFile } from "./settings_input.ts";

/** A node that runs. */
export interface Served {
  /** None of the Kafka protocol's on a controller alone, none of a controller's on a broker alone. */
  readonly addresses: {
    readonly kafka: readonly Address[];
    readonly controller: readonly Address[];
    readonly http: readonly Address[];
  };
  /** Resolves with what went wrong when the broker cannot go on. */
  readonly failed: Promise<string>;
  stop(): Promise<void>;
}

/** What `serve` is made from. */
export interface ServeOptions {
  readonly io: CliIo;
  readonly version: string;
  readonly start: (config: Config) => Promise<Served>;
}

interface Flags {
  readonly config: readonly string[];
  readonly set: readonly string[];
}

/** Adds the command. */
export function addServeCommand(program: Command, options: ServeOptions): void {
  program.command("serve")
    .description("run the broker: Kafka on 127.0.0.1:9092, HTTP on 127.0.0.1:8080, data in ./data")
    .option("-c, --config <file>", "read settings from a .properties or .toml file", gathered, [])
    .option(
      "-s, --set <name=value>",
      "set one setting under Kafka's name, such as log.dirs=/data",
      gathered,
      [],
    )
    .addHelpText("after", () => settingsHelp())
    .action((flags: Flags) => serve(flags, options));
}

async function serve(flags: Flags, { io, version, start }: ServeOptions): Promise<void> {
  const config = loadConfig(flags, io);
  const interrupted = whenAborted(io.interrupted);
  const broker = await start(config).catch((failure: unknown) => {
    if (isExpected(failure)) throw new CliError(failure.message, { cause: failure });
    throw failure;
  });
  let failure: string | undefined;
  try {
    await say(io, banner(version, config, broker.addresses));
    failure = await Promise.race([interrupted, broker.failed]);
  } finally {
    await broker.stop();
  }
  if (failure !== undefined) throw new CliError(failure);
  await say(io, "weir stopped cleanly\n");
}

/** What a node says once it serves: what it is, and where. */
function banner(
  version: string,
  config: Config,
  { kafka, controller, http }: Served["addresses"],
): string {
  const list = (addresses: readonly Address[], before = "") =>
    addresses.map((address) => before + placeOf(address)).join(", ");
  const { isAlone } = config.roles();
  const roles = (config.list("process.roles") ?? []).toSorted().join(" and ");
  const lines = [
    `weir ${version}` + (isAlone ? "" : `, node ${config.number("node.id")}: ${roles}`),
    ...(kafka.length > 0 ? [`  Kafka on ${list(kafka)}`] : []),
    ...(controller.length > 0 ? [`  controller on ${list(controller)}`] : []),
    ...(http.length > 0 ? [`  HTTP on ${list(http, "http://")}`] : []),
    `  data in ${config.logDirectories().join(", ")}`,
    "  Ctrl-C stops it",
  ];
  return `${lines.join("\n")}\n`;
}

/** An address that can be opened as it stands: a wildcard is reached at this machine's own, among others. */
function placeOf({ host, port }: Address): string {
  return isWildcard(host)
    ? `${formatAddress({ host: "127.0.0.1", port })} and this machine's other addresses`
    : formatAddress({ host, port });
}

/** A broker serves on when nobody reads what it says: a pipe that was closed, a terminal that has gone. */
async function say(io: CliIo, text: string): Promise<void> {
  try {
    await io.write(text);
  } catch (failure) {
    if (!(failure instanceof ClosedPipeError)) throw failure;
  }
}

function loadConfig(flags: Flags, io: CliIo): Config {
  try {
    const files = flags.config.map((path) => readConfigFile(path, io));
    return Config.load({ flags: flagSettings(flags.set), environment: io.env, files });
  } catch (failure) {
    if (failure instanceof ConfigError) throw new CliError(failure.message, { cause: failure });
    throw failure;
  }
}

function isExpected(failure: unknown): failure is Error {
  return failure instanceof ConfigError || failure instanceof LogDirectoryError ||
    failure instanceof NetworkError || failure instanceof DiskError;
}

function whenAborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(undefined);
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}

/** Every setting with its default, one line each. */
function settingsHelp(): string {
  const settings: readonly (readonly [string, Setting])[] = Object.entries(BROKER_SETTINGS);
  const lines = settings.map(([name, { default: value, doc }]) =>
    `  ${name}=${value ?? ""}\n      ${doc}`
  );
  return `\nSettings (--set, a file, or the environment: log.dirs is WEIR_LOG_DIRS):\n${
    lines.join("\n")
  }\n`;
}
