/**
 * What a command may touch: streams, environment, signals, time, chance, network and disk. Interfaces only.
 *
 * Commands get one `CliIo` and nothing else, so that tests run them in memory. `io_bun.ts` is the process's.
 */

import type { Clock, Disk, Random } from "../../storage/platform.ts";
import { ClientError } from "../client/client_error.ts";
import type { Network } from "../network.ts";

/** The surroundings of a command. */
export interface CliIo {
  /** What the program runs on, for `weir version`: "bun 1.4.5, linux-x64". */
  readonly runtime: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Standard input, chunk by chunk; read only as fast as it is iterated. */
  readonly stdin: AsyncIterable<Uint8Array>;
  readonly stdinIsTerminal: boolean;
  readonly stdoutIsTerminal: boolean;
  readonly stderrIsTerminal: boolean;
  /** Width of the terminal in characters. */
  readonly columns: number;
  /**
   * Writes to standard output. Resolves when more may be written. Errors: rejects with a `ClosedPipeError`
   * when nobody reads any more.
   */
  write(output: Uint8Array | string): Promise<void>;
  /** Writes to standard error. */
  writeError(text: string): void;
  /** Aborted when the user asks the command to stop (SIGINT, SIGTERM, SIGHUP). */
  readonly interrupted: AbortSignal;
  readonly clock: Clock;
  readonly random: Random;
  readonly network: Network;
  readonly disk: Disk;
  /**
   * Gets a page over HTTP. Errors: NetworkError when nobody answers in time, or with more than `maxBytes`.
   */
  fetchPage(
    url: string,
    limits: PageLimits,
  ): Promise<{ readonly status: number; readonly text: string }>;
  /** The machine, as far as it may matter to a broker. */
  machine(): MachineFacts;
}

/** Bounds of a page. */
export interface PageLimits {
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

/** What is known of a machine. */
export interface MachineFacts {
  readonly platform: string;
  readonly release: string;
  readonly architecture: string;
  readonly processors: readonly string[];
  readonly memoryBytes: number;
  readonly freeMemoryBytes: number;
  readonly uptimeSeconds: number;
  readonly loadAverages: readonly number[];
  /** Texts that the system keeps on it, by their paths: limits of a process, of its container, of its memory. */
  readonly texts: Readonly<Record<string, string>>;
}

/** The reader of our standard output has gone, as `head` does; the command ends quietly. */
export class ClosedPipeError extends Error {
  override name = "ClosedPipeError";
}

/** A command could not do what was asked; as with every ClientError, the process exits with 1. */
export class CliError extends ClientError {
  override name = "CliError";
}

/** The command line itself is wrong; the process exits with 2. */
export class UsageError extends Error {
  override name = "UsageError";
}
