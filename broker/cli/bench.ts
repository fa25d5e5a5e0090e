/**
 * `weir bench produce|fetch|latency|connections|fanout`: load on any Kafka broker, and how fast it was.
 *
 * The requests are encoded before the load begins, so that the broker is what is measured. The figures are a line for
 * people, or one JSON object.
 */

import type { Command } from "commander";
import { type KafkaClient, parseEndpoints } from "../client/kafka_client.ts";
import {
  type CommandContext,
  globalOptions,
  oneOf,
  parseDuration,
  wholeNumber,
  withClient,
} from "./command.ts";
import { connectionsLoad } from "./bench_connections.ts";
import { fanoutLoad } from "./bench_fanout.ts";
import { fetchLoad } from "./bench_fetch.ts";
import { type ProduceLoad, produceLoad } from "./bench_produce.ts";
import type { LoadFigures, MaybeTimes } from "./bench_run.ts";
import { type CliIo, UsageError } from "./io.ts";
import { formatBytes, formatCount, plural } from "./output.ts";

const DEFAULT_TOPIC = "bench";
const DEFAULT_HTTP = "127.0.0.1:8080";
const DEFAULT_SECONDS = 10;
const MAX_PARTITIONS = 10_000;
const MAX_IN_FLIGHT = 100_000;
const MAX_RECORDS = 1_000_000;
const MAX_BYTES = 256 * 1024 * 1024;
/** With a rate, so many requests may wait for their answers; those beyond are sent late, which counts. */
const OPEN_LOOP_IN_FLIGHT = 10_000;

interface AmountOptions {
  readonly topic: string;
  readonly partitions?: number;
  readonly megabytes?: number;
  readonly seconds?: number;
}

interface ProduceOptions extends AmountOptions {
  readonly records: number;
  readonly size: number;
  readonly inFlight: number;
  readonly acks: "all" | "-1" | "0" | "1";
  readonly rate?: number;
}

interface LatencyOptions extends Omit<ProduceOptions, "inFlight"> {
  readonly inFlight?: number;
}

interface FetchOptions extends AmountOptions {
  readonly consumers: number;
  readonly maxBytes: number;
  readonly tail?: true;
}

interface ConnectionsOptions {
  readonly connections: number;
  readonly atOnce: number;
  readonly hold: number;
}

interface FanoutOptions {
  readonly topic: string;
  readonly http: string;
  readonly subscribers: number;
  readonly rate: number;
  readonly size: number;
  readonly acks: "all" | "-1" | "1";
  readonly seconds: number;
}

/** Adds the command with its subcommands. */
export function addBenchCommand(program: Command, context: CommandContext): void {
  const bench = program.command("bench").description("measure a broker under load");
  addProduce(bench, context);
  addFetch(bench, context);
  addLatency(bench, context);
  addConnections(bench, context);
  addFanout(bench, context);
}

function withAmount(command: Command, otherwise: string): Command {
  return command
    .option("--topic <name>", "topic under load", DEFAULT_TOPIC)
    .option(
      "--partitions <count>",
      "its first so many partitions, a connection each (default: all of them)",
      wholeNumber("--partitions", 1, MAX_PARTITIONS),
    )
    .option("--megabytes <count>", "how much, in 10^6 bytes", wholeNumber("--megabytes", 1))
    .option(
      "--seconds <count>",
      `how long; ${otherwise} where neither is said`,
      wholeNumber("--seconds", 1),
    );
}

function withBatches(command: Command, defaults: { readonly records: number }): Command {
  return command
    .option(
      "--records <count>",
      "records in a batch, and a batch in a request",
      wholeNumber("--records", 1, MAX_RECORDS),
      defaults.records,
    )
    .option("--size <bytes>", "bytes of a record", wholeNumber("--size", 1, MAX_BYTES), 1024)
    .option(
      "--acks <acks>",
      "all or -1, 1, 0: who must have a record",
      oneOf("--acks", ["all", "-1", "1", "0"]),
      "all",
    );
}

function addProduce(bench: Command, context: CommandContext): void {
  const produce = bench.command("produce").description("write records as fast as they are taken");
  withBatches(withAmount(produce, String(DEFAULT_SECONDS)), { records: 100 })
    .option(
      "--in-flight <count>",
      "requests of a connection that wait for their answers",
      wholeNumber("--in-flight", 1, MAX_IN_FLIGHT),
      5,
    )
    .addHelpText("after", PRODUCE_HELP)
    .action(async (options: ProduceOptions, command: Command) => {
      await runProduce(context, command, "produce", options);
    });
}

function addLatency(bench: Command, context: CommandContext): void {
  const latency = bench.command("latency").description("write records and time the answers");
  withBatches(withAmount(latency, String(DEFAULT_SECONDS)), { records: 1 })
    .option(
      "--rate <count>",
      "requests a second, whatever the broker does; without, one at a time a connection",
      wholeNumber("--rate", 1),
    )
    .option(
      "--in-flight <count>",
      `requests of a connection that may wait for their answers; 1, or ${OPEN_LOOP_IN_FLIGHT} with --rate`,
      wholeNumber("--in-flight", 1, MAX_IN_FLIGHT),
    )
    .addHelpText("after", LATENCY_HELP)
    .action(async (options: LatencyOptions, command: Command) => {
      if (options.acks === "0") {
        throw new UsageError('Cannot use --acks 0 with "bench latency": nothing is answered');
      }
      const inFlight = options.rate === undefined ? 1 : OPEN_LOOP_IN_FLIGHT;
      await runProduce(context, command, "latency", { inFlight, ...options });
    });
}

const PRODUCE_HELP = `
Each partition has a connection and one batch, which is encoded once and sent again and again. The topic is made where
it is missing; what is written stays there. Megabytes count the records' values. Ctrl-C ends it and prints what there is.

Examples:
  weir bench produce --seconds 10
  weir bench produce --records 1 --size 100 --in-flight 30 --acks 1 --megabytes 50
  weir bench produce -b broker:9092 --topic load --partitions 12 --json`;

const LATENCY_HELP = `
With --rate the time of a request counts from when it should have been sent, so that a broker that stalls is not asked
less. Requests are sent within a millisecond of that, which counts too.

Examples:
  weir bench latency --partitions 1 --seconds 10
  weir bench latency --rate 1000 --acks all --json`;

const FETCH_HELP = `
Without --tail each connection reads its partition from the first record to the end that it has now. With it, each waits
at the end for what is written meanwhile; the time counts from the first records. Megabytes count whole batches as they
are sent.

Examples:
  weir bench fetch
  weir bench fetch --tail --consumers 10 --seconds 10 & weir bench produce --seconds 15`;

const CONNECTIONS_HELP = `
Each connection asks which versions are served, stays open, and asks once more together with all others.

Examples:
  weir bench connections --connections 10000 --at-once 200 --hold 30s`;

function addFetch(bench: Command, context: CommandContext): void {
  const fetch = bench.command("fetch").description("read records as fast as they come");
  withAmount(fetch, `to the end, with --tail ${DEFAULT_SECONDS},`)
    .option(
      "--consumers <count>",
      "connections for each partition",
      wholeNumber("--consumers", 1, MAX_PARTITIONS),
      1,
    )
    .option(
      "--max-bytes <bytes>",
      "of one answer",
      wholeNumber("--max-bytes", 1, MAX_BYTES),
      1_048_576,
    )
    .option("--tail", "wait at the end for new records")
    .addHelpText("after", FETCH_HELP)
    .action(async (options: FetchOptions, command: Command) => {
      const { topic, partitions, consumers, maxBytes, tail: isAtTail = false } = options;
      await runLoad(context, command, { load: "fetch", topic }, async (client) => {
        const amount = amountOf(options, isAtTail ? DEFAULT_SECONDS : null);
        const load = { topic, consumers, maxBytes, isAtTail, ...amount };
        const chosen = partitions === undefined ? {} : { partitions };
        const figures = await fetchLoad(context.io, client, { ...load, ...chosen });
        return { consumerCount: consumers, isAtTail, maxBytes, ...figures };
      });
    });
}

function addConnections(bench: Command, context: CommandContext): void {
  bench.command("connections").description("open connections, and keep them")
    .option(
      "--connections <count>",
      "how many",
      wholeNumber("--connections", 1, 1_000_000),
      1000,
    )
    .option("--at-once <count>", "opened side by side", wholeNumber("--at-once", 1, 10_000), 100)
    .option("--hold <duration>", "how long they stay open, such as 30s", parseDuration, 0)
    .addHelpText("after", CONNECTIONS_HELP)
    .action(async (options: ConnectionsOptions, command: Command) => {
      const { io } = context;
      const globals = globalOptions(command);
      const { connections: connectionCount, atOnce, hold } = options;
      await withClient(context, globals, "Cannot open connections", async (client) => {
        const load = { connectionCount, atOnce, seconds: hold / 1000 };
        const figures = await connectionsLoad(io, client, load);
        if (globals.json) {
          return await io.write(`${JSON.stringify({ load: "connections", ...figures })}\n`);
        }
        const { connectionsPerSecond, seconds, allAnsweredMs } = figures;
        await io.write(
          `connections: ${formatCount(figures.connectionCount)} in ${seconds} s, ` +
            `${formatCount(Math.round(connectionsPerSecond))} a second; ${timesOf(figures)}` +
            `${allAnsweredMs === null ? "" : `; all answered again in ${allAnsweredMs} ms`}\n`,
        );
      });
    });
}

const FANOUT_HELP = `
Each subscriber is a WebSocket of weir's HTTP port that gets every record of the topic's first partition. The time of a
delivery counts from when its record should have been sent. Use a topic that nobody else writes to.

Examples:
  weir bench fanout --subscribers 1000 --rate 1000 --http 127.0.0.1:8080`;

function addFanout(bench: Command, context: CommandContext): void {
  bench.command("fanout").description("write records that many WebSockets get")
    .option("--topic <name>", "topic under load", DEFAULT_TOPIC)
    .option("--http <host:port>", "where the WebSockets are", DEFAULT_HTTP)
    .option(
      "--subscribers <count>",
      "WebSockets",
      wholeNumber("--subscribers", 1, 1_000_000),
      100,
    )
    .option("--rate <count>", "records a second", wholeNumber("--rate", 1), 100)
    .option("--size <bytes>", "bytes of a record", wholeNumber("--size", 1, MAX_BYTES), 200)
    .option(
      "--acks <acks>",
      "all or -1, 1: who must have a record",
      oneOf("--acks", ["all", "-1", "1"]),
      "all",
    )
    .option("--seconds <count>", "how long", wholeNumber("--seconds", 1), DEFAULT_SECONDS)
    .addHelpText("after", FANOUT_HELP)
    .action(async (options: FanoutOptions, command: Command) => {
      const { io } = context;
      const globals = globalOptions(command);
      const { topic, subscribers: subscriberCount, rate, size: recordBytes, seconds } = options;
      const acks = options.acks === "1" ? 1 : -1;
      await withClient(context, globals, `Cannot fan out ${topic}`, async (client) => {
        const http = parseEndpoints(options.http)[0]!;
        const load = { topic, subscriberCount, rate, recordBytes, acks, seconds } as const;
        const figures = await fanoutLoad(io, client, { ...load, http });
        if (globals.json) {
          const { seconds: _, ...shape } = load;
          return await io.write(`${JSON.stringify({ load: "fanout", ...shape, ...figures })}\n`);
        }
        const { sentCount, deliveredCount, leastCount, mostCount } = figures;
        await io.write(
          `fanout ${topic}: ${plural(sentCount, "record")} to ` +
            `${plural(subscriberCount, "subscriber")}, ` +
            `${formatCount(Math.round(figures.deliveriesPerSecond))} deliveries a second; ` +
            `${timesOf(figures)} (${formatCount(deliveredCount)} in all, ` +
            `each got ${leastCount} to ${mostCount})\n`,
        );
      });
    });
}

async function runProduce(
  context: CommandContext,
  command: Command,
  name: "produce" | "latency",
  options: ProduceOptions,
): Promise<void> {
  const { topic, partitions, records, size, inFlight, rate = null } = options;
  const acks = options.acks === "all" ? -1 : Number(options.acks) as -1 | 0 | 1;
  if (records * size > MAX_BYTES) {
    throw new UsageError(
      `Cannot use --records ${records} with --size ${size}: a request holds ${MAX_BYTES} bytes at most`,
    );
  }
  const load: ProduceLoad = {
    topic,
    recordCount: records,
    recordBytes: size,
    inFlight,
    acks,
    rate,
    ...amountOf(options, DEFAULT_SECONDS),
    ...(partitions !== undefined && { partitions }),
  };
  await runLoad(context, command, { load: name, topic }, async (client) => {
    const figures = await produceLoad(context.io, client, load);
    const shape = { recordsPerRequest: records, recordBytes: size, inFlight, acks, rate };
    return { ...shape, ...figures };
  });
}

/** How much and how long; `defaultSeconds` where neither was said. */
function amountOf({ megabytes, seconds }: AmountOptions, defaultSeconds: number | null) {
  const isBounded = megabytes !== undefined || seconds !== undefined;
  return {
    byteCount: megabytes === undefined ? null : megabytes * 1e6,
    seconds: seconds ?? (isBounded ? null : defaultSeconds),
  };
}

/** Runs a load on a topic and prints its figures. */
async function runLoad(
  context: CommandContext,
  command: Command,
  what: { readonly load: string; readonly topic: string },
  load: (
    client: KafkaClient,
  ) => Promise<LoadFigures & { readonly connectionCount: number }>,
): Promise<void> {
  const globals = globalOptions(command);
  await withClient(context, globals, `Cannot put load on ${what.topic}`, async (client) => {
    const figures = await load(client);
    await print(context.io, globals.json, { ...what, ...figures });
  });
}

async function print(
  io: CliIo,
  json: boolean,
  figures: LoadFigures & {
    readonly load: string;
    readonly topic: string;
    readonly connectionCount: number;
  },
): Promise<void> {
  if (json) return await io.write(`${JSON.stringify(figures)}\n`);
  const { load, topic, byteCount, seconds, connectionCount } = figures;
  const rate = (value: number, noun: string) => `${formatCount(Math.round(value))} ${noun}/s`;
  const rates = [
    `${figures.megabytesPerSecond.toFixed(1)} MB/s`,
    rate(figures.recordsPerSecond, "records"),
    rate(figures.requestsPerSecond, "requests"),
  ].join(", ");
  const times = figures.p50Ms === null ? "" : `; ${timesOf(figures)}`;
  const connections = plural(connectionCount, "connection");
  const amount = `${formatBytes(byteCount)} in ${seconds.toFixed(1)} s, ${connections}`;
  await io.write(`${load} ${topic}: ${rates}${times} (${amount})\n`);
}

function timesOf(
  { p50Ms, p99Ms, p999Ms, maxMs }: MaybeTimes,
): string {
  return `p50 ${p50Ms} ms, p99 ${p99Ms} ms, p99.9 ${p999Ms} ms, max ${maxMs} ms`;
}
