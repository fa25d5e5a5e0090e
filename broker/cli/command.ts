/**
 * What the commands share: the global options, a client for the time of a command, and how errors are told.
 *
 * A command that fails says in one sentence what it tried, a colon, what it found, and what to do.
 */

import type { Command } from "commander";
import { WireError } from "../../protocol/bytes.ts";
import { DiskError } from "../../storage/platform.ts";
import { ClientError } from "../client/client_error.ts";
import { KafkaClient, KafkaError, parseEndpoints } from "../client/kafka_client.ts";
import { parsePlace, type Place } from "../client/offsets.ts";
import { durationOf } from "../client/times.ts";
import { NetworkError } from "../network.ts";
import { CliError, type CliIo, UsageError } from "./io.ts";

const REQUEST_TIMEOUT_MS = 60_000;
const RETRY_TIMEOUT_MS = 15_000;
/** Where a broker is looked for when nothing is said. */
export const DEFAULT_BOOTSTRAP_SERVER = "127.0.0.1:9092";
/** Environment variable that stands for `--bootstrap-server`. */
export const BOOTSTRAP_VARIABLE = "WEIR_BOOTSTRAP";

/** What every command is made from. */
export interface CommandContext {
  readonly io: CliIo;
  readonly version: string;
}

/** Options that every command understands. */
export interface GlobalOptions {
  readonly bootstrapServer: string;
  readonly json: boolean;
}

/** The global options as they were given. */
export function globalOptions(command: Command): GlobalOptions {
  const options = command.optsWithGlobals<{ bootstrapServer: string; json?: boolean }>();
  return { bootstrapServer: options.bootstrapServer, json: options.json ?? false };
}

/** Runs `work` and gives its errors the sentence `what` to start with. Errors: CliError; bugs as they are. */
export async function attempt<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw explain(what, error);
  }
}

/** An error of the surroundings as a sentence; other errors as they are. */
export function explain(what: string, error: unknown): unknown {
  const told = error instanceof KafkaError || error instanceof NetworkError ||
    error instanceof WireError || error instanceof DiskError ||
    (error instanceof ClientError && !error.message.startsWith("Cannot "));
  return told ? new CliError(`${what}: ${error.message}`, { cause: error }) : error;
}

/** Runs `work` with a client and closes it afterwards. */
export async function withClient<T>(
  { io, version }: CommandContext,
  { bootstrapServer }: GlobalOptions,
  what: string,
  work: (client: KafkaClient) => Promise<T>,
): Promise<T> {
  return await attempt(what, async () => {
    const client = new KafkaClient({
      network: io.network,
      clock: io.clock,
      random: io.random,
      bootstrap: parseEndpoints(bootstrapServer),
      clientId: "weir-cli",
      softwareVersion: version,
      requestTimeoutMs: REQUEST_TIMEOUT_MS,
      retryTimeoutMs: RETRY_TIMEOUT_MS,
      interrupted: io.interrupted,
    });
    try {
      return await work(client);
    } finally {
      await client.close();
    }
  });
}

/** For commander: a whole number between bounds. Errors: UsageError. */
export function wholeNumber(name: string, lowest: number, highest = Number.MAX_SAFE_INTEGER) {
  return (text: string): number => {
    const value = Number(text);
    if (!/^-?\d+$/.test(text) || value < lowest || value > highest) {
      const range = highest === Number.MAX_SAFE_INTEGER
        ? `of ${lowest} or more`
        : `from ${lowest} to ${highest}`;
      throw new UsageError(`Cannot use ${name} "${text}": it must be a whole number ${range}`);
    }
    return value;
  };
}

/** For commander: `name=value`, gathered over repeated options. Errors: UsageError. */
export function assignments(option: string) {
  return (text: string, before: readonly [string, string][]): [string, string][] => {
    const at = text.indexOf("=");
    if (at < 1) throw new UsageError(`Cannot use ${option} "${text}": it must be name=value`);
    return [...before, [text.slice(0, at), text.slice(at + 1)]];
  };
}

/** For commander: gathers a repeated option. */
export function gathered(text: string, before: readonly string[]): string[] {
  return [...before, text];
}

/** Errors: UsageError when a choice is none of those allowed. */
export function oneOf<const T extends string>(option: string, allowed: readonly T[]) {
  return (text: string): T => {
    if ((allowed as readonly string[]).includes(text)) return text as T;
    throw new UsageError(`Cannot use ${option} "${text}": it must be one of ${allowed.join(", ")}`);
  };
}

/** Milliseconds of a duration with its unit. Errors: UsageError. */
export function parseDuration(text: string): number {
  const durationMs = durationOf(text);
  if (durationMs !== null) return durationMs;
  throw new UsageError(
    `Cannot use the duration "${text}": it must be a number with ms, s, m, h or d, such as 36h`,
  );
}

/** Reads a place in a topic as `parsePlace` does. Errors: UsageError, which names the option. */
export function readPlace(option: string, text: string): Place {
  const place = parsePlace(text);
  if (place !== null) return place;
  throw new UsageError(
    `Cannot use ${option} "${text}": it must be beginning, end, an offset such as 42 or -10, ` +
      "a time such as 2026-01-31T12:00:00Z, or a while ago such as -1h",
  );
}
