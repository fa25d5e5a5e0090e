/** `weir produce TOPIC`: records from standard input. */

import type { Command } from "commander";
import { CompressionCodec, type CompressionName } from "../../protocol/compression.ts";
import type { Clock, Timer } from "../../storage/platform.ts";
import { ClientError } from "../client/client_error.ts";
import type { KafkaClient } from "../client/kafka_client.ts";
import { Producer } from "../client/producer.ts";
import {
  type CommandContext,
  explain,
  globalOptions,
  oneOf,
  wholeNumber,
  withClient,
} from "./command.ts";
import { INPUT_FORMATS, type InputFormat, type LineReader, lineReader } from "./input_formats.ts";
import { CliError, type CliIo } from "./io.ts";
import { linesOf } from "./lines.ts";
import { formatBytes, formatCount, plural } from "./output.ts";

const MAX_LINE_BYTES = 64 * 1024 * 1024;
const MAX_BUFFERED_BYTES = 16 * 1024 * 1024;
const PROGRESS_AFTER_MS = 1000;
const PROGRESS_EVERY_MS = 250;
const COMPRESSIONS = Object.keys(CompressionCodec) as CompressionName[];

interface ProduceOptions {
  readonly format: InputFormat;
  readonly keySeparator: string;
  readonly partition?: number;
  readonly acks: "all" | "1" | "0";
  readonly compression: CompressionName;
  readonly batchBytes: number;
  readonly lingerMs: number;
  readonly timeoutMs: number;
}

/** Adds the command. */
export function addProduceCommand(program: Command, context: CommandContext): void {
  program.command("produce").argument("<topic>", "topic to write to")
    .description("write records from standard input to a topic")
    .option(
      "-f, --format <format>",
      INPUT_FORMATS.join(", "),
      oneOf("--format", INPUT_FORMATS),
      "lines",
    )
    .option("--key-separator <text>", "what parts key and value in --format key-value", ":")
    .option(
      "-p, --partition <number>",
      "write to this partition only",
      wholeNumber("--partition", 0),
    )
    .option(
      "--acks <acks>",
      "all, 1 or 0: who must have a record",
      oneOf("--acks", ["all", "1", "0"]),
      "all",
    )
    .option(
      "--compression <codec>",
      COMPRESSIONS.join(", "),
      oneOf("--compression", COMPRESSIONS),
      "none",
    )
    .option("--batch-bytes <bytes>", "size of a batch", wholeNumber("--batch-bytes", 1), 262_144)
    .option(
      "--linger-ms <ms>",
      "how long a record waits for others",
      wholeNumber("--linger-ms", 0),
      5,
    )
    .option(
      "--timeout-ms <ms>",
      "how long a batch is tried",
      wholeNumber("--timeout-ms", 1),
      120_000,
    )
    .addHelpText("after", HELP)
    .action(async (topic: string, options: ProduceOptions, command: Command) => {
      await withClient(context, globalOptions(command), `Cannot produce to ${topic}`, (client) => {
        return produce(context.io, client, topic, options);
      });
    });
}

const HELP = `
Formats:
  lines      each line is a value, byte for byte; CR LF keeps its CR; the last line may lack its line feed
  key-value  key, separator, value; the separator is looked for from the left
  ndjson     one JSON object a line: {"key", "value", "headers", "partition", "timestamp"}; see "weir consume --help"

The exit status is 0 only when every record was acknowledged. A summary goes to standard error.

Examples:
  weir produce logs < app.log
  printf 'a:1\\nb:2\\n' | weir produce pairs --format key-value
  weir consume orders --json | weir produce orders-copy --format ndjson`;

async function produce(
  io: CliIo,
  client: KafkaClient,
  topic: string,
  options: ProduceOptions,
): Promise<void> {
  const producer = new Producer(client, {
    topic,
    acks: options.acks === "all" ? -1 : Number(options.acks) as 0 | 1,
    compression: CompressionCodec[options.compression],
    batchBytes: options.batchBytes,
    lingerMs: options.lingerMs,
    maxBufferedBytes: MAX_BUFFERED_BYTES,
    deliveryTimeoutMs: options.timeoutMs,
  });
  const read = lineReader(options.format, options.keySeparator);
  const startedMs = io.clock.monotonicMs();
  const tally = { recordCount: 0, byteCount: 0 };
  await producer.start();
  if (io.stdinIsTerminal) io.writeError("Type records, one a line; Ctrl-D ends.\n");
  const progress = new Progress(io, producer, tally);
  let failure: unknown;
  try {
    await sendAll(io, producer, read, options.partition, tally);
  } catch (error) {
    failure = error;
  }
  // What was read before a bad line or an interruption is still delivered.
  await producer.flush().catch((error) => failure ??= error);
  progress.stop();
  const seconds = (io.clock.monotonicMs() - startedMs) / 1000;
  const acknowledged = producer.acknowledgedCount;
  if (failure !== undefined || acknowledged < tally.recordCount) {
    const told = explain("", failure ?? new CliError("stopped"));
    if (!(told instanceof ClientError)) throw told;
    throw new CliError(
      `${told.message.replace(/^: /, "")}; ${formatCount(acknowledged)} of ` +
        `${plural(tally.recordCount, "record")} read were acknowledged`,
    );
  }
  io.writeError(
    `Produced ${plural(acknowledged, "record")} (${formatBytes(tally.byteCount)}) to ${topic} ` +
      `in ${seconds.toFixed(1)} s.\n`,
  );
}

interface Tally {
  recordCount: number;
  byteCount: number;
}

async function sendAll(
  io: CliIo,
  producer: Producer,
  read: LineReader,
  partition: number | undefined,
  tally: Tally,
): Promise<void> {
  for await (const lines of linesOf(untilInterrupted(io), MAX_LINE_BYTES)) {
    const nowMs = io.clock.wallMs();
    for (const line of lines) {
      const record = readLine(read, line, nowMs, tally.recordCount + 1);
      tally.recordCount++;
      tally.byteCount += line.length;
      const full = producer.send(
        partition === undefined || record.partition !== undefined
          ? record
          : { ...record, partition },
      );
      if (full !== undefined) await full;
    }
  }
}

function readLine(read: LineReader, line: Uint8Array, nowMs: number, number: number) {
  try {
    return read(line, nowMs);
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    throw new CliError(`line ${number}: ${error.message}`, { cause: error });
  }
}

/** Standard input until its end, or until the user asks to stop. */
async function* untilInterrupted(io: CliIo): AsyncGenerator<Uint8Array, void, void> {
  const { interrupted } = io;
  const iterator = io.stdin[Symbol.asyncIterator]();
  const stopped = new Promise<null>((resolve) => {
    interrupted.addEventListener("abort", () => resolve(null), { once: true });
  });
  while (!interrupted.aborted) {
    const next = await Promise.race([iterator.next(), stopped]);
    if (next === null || next.done) return;
    yield next.value;
  }
}

/** A line on a terminal's standard error that tells how far a long input has got. */
class Progress {
  readonly #io: CliIo;
  readonly #clock: Clock;
  readonly #producer: Producer;
  readonly #tally: Tally;
  readonly #startedMs: number;
  #timer: Timer | null = null;
  #shown = false;

  constructor(io: CliIo, producer: Producer, tally: Tally) {
    this.#io = io;
    this.#clock = io.clock;
    this.#producer = producer;
    this.#tally = tally;
    this.#startedMs = io.clock.monotonicMs();
    if (io.stderrIsTerminal && !io.stdinIsTerminal) this.#schedule(PROGRESS_AFTER_MS);
  }

  stop(): void {
    this.#timer?.cancel();
    if (this.#shown) this.#io.writeError("\r\x1b[K");
  }

  #schedule(delayMs: number): void {
    this.#timer = this.#clock.timer(delayMs, () => {
      this.#show();
      this.#schedule(PROGRESS_EVERY_MS);
    });
  }

  #show(): void {
    this.#shown = true;
    const { recordCount, byteCount } = this.#tally;
    const seconds = (this.#clock.monotonicMs() - this.#startedMs) / 1000;
    const line = `${plural(recordCount, "record")} read, ` +
      `${formatCount(this.#producer.acknowledgedCount)} acknowledged, ` +
      `${formatBytes(byteCount)}, ${formatBytes(byteCount / seconds)}/s`;
    this.#io.writeError(`\r\x1b[K${line.slice(0, this.#io.columns - 1)}`);
  }
}
