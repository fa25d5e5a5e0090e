/** The surroundings of a command in memory: what it reads is given, what it writes is kept. */

import type { Command } from "commander";
import { loadCommands, runCli } from "../../../broker/cli/cli.ts";
import { type CliIo, ClosedPipeError, type MachineFacts } from "../../../broker/cli/io.ts";
import { addServeCommand, type ServeOptions } from "../../../broker/cli/serve.ts";
import { type Network, NetworkError } from "../../../broker/network.ts";
import { SimClock } from "../../sim/sim_clock.ts";
import { SimDisk } from "../../sim/sim_disk.ts";
import { SimNetwork } from "../../sim/sim_network.ts";
import { SimRandom } from "../../sim/sim_random.ts";

/** All of them, loaded before virtual time runs. */
const commands = await loadCommands([]);

/** What commands and brokers of the tests say of themselves. */
export const VERSION = "9.8.7";

/** The machine that commands find. */
export const MACHINE: MachineFacts = {
  platform: "testos",
  release: "1.0",
  architecture: "abacus",
  processors: ["beads", "beads"],
  memoryBytes: 4096,
  freeMemoryBytes: 1024,
  uptimeSeconds: 60,
  loadAverages: [0, 0, 0],
  texts: { "/proc/self/limits": "Max open files  1024  4096  files\n" },
};

/** What a command left behind. */
export interface Outcome {
  readonly exitCode: number;
  readonly out: string;
  readonly outBytes: Uint8Array;
  readonly error: string;
}

/** What a command is given. */
export interface RunOptions {
  /** Standard input in chunks. */
  readonly input?: readonly (string | Uint8Array)[] | AsyncIterable<Uint8Array>;
  /** Interrupts the command. */
  readonly stop?: AbortController;
}

/** One machine on which commands run. */
export class TestMachine {
  readonly clock = new SimClock();
  readonly random: SimRandom;
  readonly network: SimNetwork;
  readonly disk: SimDisk;
  readonly env: Record<string, string> = { WEIR_BOOTSTRAP: "127.0.0.1:9092" };
  stderrIsTerminal = false;
  /** What `serve` starts; null: there is no such command. */
  serve: ServeOptions["start"] | null = null;
  /** What answers over HTTP; nobody does unless it is set. */
  fetchPage: (url: string) => ReturnType<CliIo["fetchPage"]> = (url) =>
    Promise.reject(new NetworkError(`Cannot get ${url}: nobody is there`, "ECONNREFUSED"));
  /** Writes to standard output that succeed before its reader goes away. */
  writesUntilClosed = Infinity;

  constructor(seed = 1) {
    this.random = new SimRandom(seed);
    this.network = new SimNetwork({
      clock: this.clock,
      random: this.random.fork("network"),
      maxLatencyMs: 2,
      maxChunkBytes: 5000,
      partialWrites: true,
    });
    this.disk = new SimDisk({ random: this.random.fork("disk"), capacityBytes: 1e12 });
  }

  /** Runs a command line to its end, on virtual time. */
  async run(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return await this.clock.run(this.start(argv, options));
  }

  /** Runs a command line given as one text. */
  async weir(line: string, input: RunOptions["input"] = []): Promise<Outcome> {
    return await this.run(line.split(" "), { input });
  }

  /** Runs one that has to succeed. Returns: its standard output. */
  async succeed(line: string, input: RunOptions["input"] = []): Promise<string> {
    const { exitCode, out, error } = await this.weir(line, input);
    if (exitCode !== 0) throw new Error(`weir ${line}: ${error}`);
    return out;
  }

  /** Starts a command line; the test moves the clock. */
  async start(
    argv: readonly string[],
    { input = [], stop = new AbortController() }: RunOptions = {},
  ): Promise<Outcome> {
    const out: Uint8Array[] = [];
    let error = "";
    let writesLeft = this.writesUntilClosed;
    const io: CliIo = {
      runtime: "test",
      env: this.env,
      stdin: Symbol.asyncIterator in input ? input : chunksOf(input),
      stdinIsTerminal: false,
      stdoutIsTerminal: false,
      stderrIsTerminal: this.stderrIsTerminal,
      columns: 80,
      write: (output) => {
        if (writesLeft-- <= 0) return Promise.reject(new ClosedPipeError("closed"));
        out.push(typeof output === "string" ? new TextEncoder().encode(output) : output);
        return Promise.resolve();
      },
      writeError: (text) => void (error += text),
      interrupted: stop.signal,
      clock: this.clock,
      random: this.random,
      network: this.network as Network,
      disk: this.disk,
      fetchPage: (url) => this.fetchPage(url),
      machine: () => MACHINE,
    };
    const { serve } = this;
    const context = { io, version: VERSION };
    const addServe = (program: Command) => addServeCommand(program, { ...context, start: serve! });
    const all = serve === null ? commands : [addServe, ...commands];
    const exitCode = await runCli(argv, { ...context, commands: all });
    const outBytes = Buffer.concat(out);
    return { exitCode, out: outBytes.toString(), outBytes, error };
  }
}

/** What was written with `--json`: a value a line. */
// deno-lint-ignore no-explicit-any -- every command has a shape of its own
export function parsed(out: string): any[] {
  return out.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
}

async function* chunksOf(
  chunks: readonly (string | Uint8Array)[],
): AsyncGenerator<Uint8Array, void, void> {
  for (const chunk of chunks) {
    yield await Promise.resolve(
      typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk,
    );
  }
}
