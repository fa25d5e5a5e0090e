/**
 * One producer, many WebSockets: how many deliveries a second, and how long from produce to delivery, through the whole path
 * (Kafka produce with acks=all, log, sync, read, frame).
 *
 *     bun tests/bench/fanout_bench.ts [--subscribers 1000] [--rate 1000] [--bytes 200] [--seconds 10]
 *         [--command dist/weir] [--nats PATH | --nats build]
 *     bun tests/bench/fanout_bench.ts --idle 10000
 *
 * `--nats` measures nats-server with its WebSocket port, with the same reader, in the same way; `build` makes it first,
 * with Go, among the temporary files. Readers are a process of their own. Figures count as ratios of one run on a machine
 * that does nothing else. `compat/fanout_bench_test.ts` runs it tiny.
 */

import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { join } from "node:path";
import { buildBatch } from "../../protocol/records.ts";
import { produceRequest, produceResponse } from "../../protocol/schemas/produce.ts";
import { eventually, runOk, scratchDirectory, startWeir } from "../compat/harness.ts";
import { Wire } from "../compat/wire.ts";
import { cpuSecondsOf, peakResidentBytes, residentBytes } from "./broker_figures.ts";
import { createBenchTopic } from "./groups_bench_setup.ts";
import { nowMs, type ReaderFigures, type ReaderOptions, TIME_DIGITS } from "./fanout_reader.ts";

const TOPIC = "fanout";
const DRAIN_MS = 1000;
const PRODUCE_VERSION = 9;
const NATS_VERSION = "v2.15.3";

/** How much, and of what. */
export interface FanoutOptions {
  readonly subscribers: number;
  /** Messages a second. */
  readonly rate: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly command?: readonly string[];
  /** The executable of nats-server: it is measured in weir's place. */
  readonly nats?: string;
}

/** What came of it. */
export interface FanoutFigures extends ReaderFigures {
  readonly sent: number;
  readonly deliveriesPerSecond: number;
  readonly residentBytes: number;
  readonly peakResidentBytes: number;
  /** Processor time of the server for each second of the run. */
  readonly cpuShare: number;
}

interface Measured {
  readonly pid: number;
  readonly port: number;
  send(message: Uint8Array): void;
  stop(): Promise<void>;
}

/** Measures one load. */
export async function fanoutBench(options: FanoutOptions): Promise<FanoutFigures> {
  const server = options.nats === undefined
    ? await startMeasuredWeir(options)
    : await startNats(options.nats);
  const reader = await startReader({
    kind: options.nats === undefined ? "weir" : "nats",
    port: server.port,
    subscribers: options.subscribers,
    topic: TOPIC,
    bytes: options.bytes,
  });
  const cpuBefore = cpuSecondsOf(server.pid);
  const sent = await sendAtRate(server, options);
  await Bun.sleep(DRAIN_MS);
  const cpuShare = (cpuSecondsOf(server.pid) - cpuBefore) / options.seconds;
  const figures: FanoutFigures = {
    sent,
    ...await reader.end(),
    deliveriesPerSecond: 0,
    residentBytes: residentBytes(server.pid),
    peakResidentBytes: peakResidentBytes(server.pid),
    cpuShare,
  };
  await server.stop();
  return { ...figures, deliveriesPerSecond: Math.round(figures.delivered / options.seconds) };
}

async function sendAtRate(
  server: Measured,
  { rate, seconds, bytes }: FanoutOptions,
): Promise<number> {
  const message = new Uint8Array(bytes).fill(0x78);
  const startMs = performance.now();
  let sent = 0;
  for (;;) {
    const elapsedMs = performance.now() - startMs;
    const due = Math.min(Math.floor(elapsedMs * rate / 1000), rate * seconds);
    for (; sent < due; sent++) {
      const copy = message.slice();
      copy.set(Buffer.from(nowMs().toFixed(4).padEnd(TIME_DIGITS, "0").slice(0, TIME_DIGITS)));
      server.send(copy);
    }
    if (sent >= rate * seconds) return sent;
    await Bun.sleep(1);
  }
}

async function startMeasuredWeir({ command }: FanoutOptions): Promise<Measured> {
  const broker = await startWeir(command === undefined ? {} : { command });
  await createBenchTopic(broker, TOPIC, 1);
  const wire = await Wire.connect(broker.bootstrap);
  return {
    pid: broker.pid,
    port: broker.httpPort,
    send(message) {
      const records = buildBatch({
        records: [{ key: null, value: message, timestamp: Date.now() }],
      });
      void wire.send(produceRequest, produceResponse, PRODUCE_VERSION, {
        acks: -1,
        timeoutMs: 10_000,
        topicData: [{ name: TOPIC, partitionData: [{ index: 0, records }] }],
      });
    },
    async stop() {
      wire.close();
      await broker.stop();
    },
  };
}

/** Builds nats-server where that was not done before. Returns: the executable. */
async function buildNats(): Promise<string> {
  const directory = join(tmpdir(), "weir-nats");
  const executable = join(directory, "nats-server");
  if (!existsSync(executable)) {
    const environment = { GOBIN: directory };
    await runOk(["go", "install", `github.com/nats-io/nats-server/v2@${NATS_VERSION}`], {
      environment,
    });
  }
  return executable;
}

async function startNats(executable: string): Promise<Measured> {
  const directory = scratchDirectory("nats");
  const config = join(directory, "nats.conf");
  const [port, webSocketPort] = [await freePort(), await freePort()];
  await Bun.write(
    config,
    `listen: "127.0.0.1:${port}"\nwebsocket { listen: "127.0.0.1:${webSocketPort}", no_tls: true }\n` +
      `max_connections: 100000\n`,
  );
  const child = Bun.spawn([executable, "-c", config], { stdout: "ignore", stderr: "ignore" });
  process.on("exit", () => child.kill("SIGKILL"));
  const link = await eventually("nats-server answers", () => connectNats(port));
  link.write('CONNECT {"verbose":false,"pedantic":false}\r\n');
  return {
    pid: child.pid,
    port: webSocketPort,
    send(message) {
      link.write(Buffer.concat([
        Buffer.from(`PUB ${TOPIC} ${message.length}\r\n`),
        message,
        Buffer.from("\r\n"),
      ]));
      link.flush();
    },
    async stop() {
      link.end();
      child.kill("SIGTERM");
      await child.exited;
    },
  };
}

async function freePort(): Promise<number> {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = listener;
  listener.stop(true);
  return await Promise.resolve(port);
}

async function connectNats(port: number): Promise<Bun.Socket | undefined> {
  try {
    return await Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        data(socket, chunk) {
          if (chunk.toString().includes("PING")) socket.write("PONG\r\n");
        },
      },
    });
  } catch {
    return undefined;
  }
}

async function startReader(
  options: ReaderOptions,
): Promise<{ end(): Promise<ReaderFigures> }> {
  const child = Bun.spawn(
    [process.execPath, join(import.meta.dir, "fanout_reader.ts"), JSON.stringify(options)],
    { stdin: "pipe", stdout: "pipe", stderr: "inherit" },
  );
  process.on("exit", () => child.kill("SIGKILL"));
  const decoder = new TextDecoder();
  let output = "";
  const ready = Promise.withResolvers<void>();
  const reading = (async () => {
    for await (const chunk of child.stdout) {
      output += decoder.decode(chunk);
      if (output.includes("ready\n")) ready.resolve();
    }
    ready.reject(new Error("the reader ended before it was ready"));
  })();
  await ready.promise;
  return {
    async end() {
      void child.stdin.end();
      await child.exited;
      await reading;
      return JSON.parse(output.slice(output.indexOf("\n") + 1));
    },
  };
}

/** What so many sockets hold that have nothing to do. Returns: resident bytes of the broker without and with them. */
export async function idleBench(
  { sockets, command }: { readonly sockets: number; readonly command?: readonly string[] },
): Promise<{ readonly before: number; readonly after: number }> {
  const broker = await startWeir(command === undefined ? {} : { command });
  await createBenchTopic(broker, TOPIC, 1);
  const before = residentBytes(broker.pid);
  const { httpPort: port } = broker;
  const reader = await startReader({
    kind: "weir",
    port,
    subscribers: sockets,
    topic: TOPIC,
    bytes: 0,
  });
  await Bun.sleep(DRAIN_MS);
  const after = residentBytes(broker.pid);
  await reader.end();
  await broker.stop();
  return { before, after };
}

async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      subscribers: { type: "string", default: "1000" },
      rate: { type: "string", default: "1000" },
      bytes: { type: "string", default: "200" },
      seconds: { type: "string", default: "10" },
      command: { type: "string" },
      nats: { type: "string" },
      idle: { type: "string" },
    },
  });
  const command = values.command?.split(" ");
  if (values.idle !== undefined) {
    const found = await idleBench({
      sockets: Number(values.idle),
      ...(command !== undefined && { command }),
    });
    console.log(found);
    return;
  }
  console.log(
    await fanoutBench({
      subscribers: Number(values.subscribers),
      rate: Number(values.rate),
      bytes: Number(values.bytes),
      seconds: Number(values.seconds),
      ...(command !== undefined && { command }),
      ...(values.nats !== undefined && {
        nats: values.nats === "build" ? await buildNats() : values.nats,
      }),
    }),
  );
}

if (import.meta.main) {
  await main(process.argv.slice(2));
  process.exit(0);
}
