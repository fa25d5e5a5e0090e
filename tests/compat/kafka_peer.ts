/**
 * Apache Kafka as a process on a directory, its own clients in one JVM that takes commands, and its `dump-log`
 * over whole directories.
 *
 *     DIRECTORY/data        what weir calls log.dirs; either side may have written it
 *     DIRECTORY/logs        Kafka's own log lines
 */

import { expect } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { batches, readBatchHeader } from "../../protocol/record_batch.ts";
import { eventually, KAFKA, kafkaJava, scratchDirectory, spawnKafka } from "./harness.ts";
import { linesOf } from "./lines_of.ts";
import { Wire } from "./wire.ts";

const START_MS = 180_000;
const PORTION_BYTES = 8 * 1024 * 1024;
/** The peer's controller listens this far above its clients. */
export const CONTROLLER_PORT_DISTANCE = 10_000;
/** Below those that Linux gives to connections: with their controllers' the ports are nobody's by chance. */
const FIRST_PORT = 11_000;
const PORTS = 11_000;
const HEAP_MEGABYTES = 512;

/** A running Apache Kafka. */
export interface KafkaPeer {
  readonly pid: number;
  readonly bootstrap: string;
  readonly port: number;
  /** Lines at error level since this start. */
  errors(): string[];
  /** Ends it with SIGTERM and waits. */
  stop(): Promise<void>;
  kill(): Promise<void>;
}

/** How Apache Kafka is started. */
export interface KafkaOptions {
  /** Made and formatted where it is missing. */
  readonly directory: string;
  readonly port: number;
  readonly settings?: Readonly<Record<string, string>>;
}

/** Starts Apache Kafka and waits until it answers. Errors: rejects when it does not. */
export async function startKafka(options: KafkaOptions): Promise<KafkaPeer> {
  const { directory, port, settings = {} } = options;
  const flags = Object.entries(settings).flatMap(([name, value]) => ["--conf", `${name}=${value}`]);
  const logFile = join(directory, "logs", "server.log");
  const linesBefore = logLines(logFile).length;
  const child = spawnKafka(
    [KAFKA, "broker", "--port", String(port), "--dir", directory, ...flags],
    { heapMegabytes: HEAP_MEGABYTES },
  );
  const bootstrap = `127.0.0.1:${port}`;
  await eventually("Apache Kafka answers", async () => {
    if (child.exitCode !== null) {
      const said = logLines(logFile).slice(linesBefore)
        .filter((line) => /\] (ERROR|FATAL) |^(Caused by|\S+(Exception|Error)):/.test(line))
        .slice(0, 20).join("\n");
      throw new Error(`Apache Kafka ended with code ${child.exitCode}:\n${said}`);
    }
    const wire = await Wire.connect(bootstrap).catch(() => undefined);
    wire?.close();
    return wire;
  }, START_MS);
  const end = async (signal: "SIGTERM" | "SIGKILL") => {
    child.kill(signal);
    await child.exited;
  };
  return {
    pid: child.pid,
    bootstrap,
    port,
    errors: () => logLines(logFile).slice(linesBefore).filter((line) => line.includes("] ERROR ")),
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
  };
}

function logLines(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\n");
  } catch {
    return [];
  }
}

/** Lays out a data directory of weir's so that the peer starts on it. Returns: the peer's directory. */
export function adoptForKafka(dataDirectory: string, port: number): string {
  const directory = scratchDirectory("adopted");
  mkdirSync(join(directory, "logs"));
  renameSync(dataDirectory, join(directory, "data"));
  writeFileSync(join(directory, ".kafka-peer"), `${port}\n`);
  return directory;
}

/** What the peer must be told of a quorum that weir has made: it names its one voter nowhere. */
export function staticVoters(port: number, nodeId: number): Readonly<Record<string, string>> {
  const address = `127.0.0.1:${port + CONTROLLER_PORT_DISTANCE}`;
  return { "controller.quorum.voters": `${nodeId}@${address}` };
}

/** The first of some ports in a row that are free now, and those of the controllers that belong to them too. */
export async function freePeerPort(nodeCount = 1): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORTS);
    const ports = Array.from({ length: nodeCount }, (_, at) => port + at);
    const all = [...ports, ...ports.map((one) => one + CONTROLLER_PORT_DISTANCE)];
    if ((await Promise.all(all.map(isFree))).every((isOne) => isOne)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** Apache Kafka's clients and `dump-log` in one JVM; see KafkaDirectory.java. */
export class KafkaDriver {
  readonly #child: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #answers: AsyncGenerator<string, void, void>;
  readonly #directory = scratchDirectory("driver");
  #fileCount = 0;

  constructor() {
    this.#child = spawnKafka(kafkaJava("KafkaDirectory.java"), {
      heapMegabytes: HEAP_MEGABYTES,
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
    });
    this.#answers = linesOf(this.#child.stdout);
  }

  /** Sends a command and waits for it. Errors: rejects with what the JVM says. */
  async run(...words: readonly string[]): Promise<void> {
    await this.#child.stdin.write(`${words.join(" ")}\n`);
    await this.#child.stdin.flush();
    const { value } = await this.#answers.next();
    if (value !== "ok") throw new Error(`${words.join(" ").slice(0, 200)}: ${value ?? "it ended"}`);
  }

  /** What a broker serves: one line for each topic, offset, record, group and producer, sorted. */
  async read(bootstrap: string): Promise<string[]> {
    const path = this.#newFile();
    await this.run("read", bootstrap, path);
    return readFileSync(path, "utf8").trimEnd().split("\n").toSorted();
  }

  /** What `dump-log` prints of files. */
  async dump(flags: readonly string[], paths: readonly string[]): Promise<string> {
    const output = this.#newFile();
    await this.run("dump", output, ...flags, "--files", paths.join(","));
    return readFileSync(output, "utf8");
  }

  #newFile(): string {
    return join(this.#directory, String(this.#fileCount++));
  }

  async close(): Promise<void> {
    await this.#child.stdin.end();
    await this.#child.exited;
  }
}

/** Lines that `dump-log` prints over a file with something wrong. */
const COMPLAINTS =
  /mismatch|isvalid: false|corrupt|invalid|out of order|not found|exception|error|fail/i;
/** A file that does not start at 0, and what the cleaner left out: not wrong, yet said. */
const GAPS = /^(Non-consecutive offsets in | {2}-?\d+ is followed by \d+$)/;

/** What was read. */
export interface DumpCounts {
  readonly files: number;
  readonly batches: number;
  readonly records: number;
}

/**
 * Has Kafka's `dump-log` read every file of a data directory that was closed cleanly: deep iteration over each
 * log, both checks of each index, each snapshot. Errors: an expectation that fails names what was said of which
 * file; so does a file of which batches or records are counted otherwise than by our own reader.
 */
export async function expectKafkaReadsAll(
  driver: KafkaDriver,
  dataDirectory: string,
): Promise<DumpCounts> {
  const paths = partitionFiles(dataDirectory);
  const logs = paths.filter((path) => path.endsWith(".log") || path.endsWith(".checkpoint"));
  const decoders: readonly (readonly [name: string, flag: string])[] = [
    ["__consumer_offsets", "--offsets-decoder"],
    ["__transaction_state", "--transaction-log-decoder"],
    ["__cluster_metadata", "--cluster-metadata-decoder"],
  ];
  const counts = { files: paths.length, batches: 0, records: 0 };
  const decoderOf = (path: string) => decoders.find(([name]) => path.includes(`/${name}-`))?.[1];
  for (const flag of [undefined, ...decoders.map(([, flag]) => flag)]) {
    const chosen = logs.filter((path) => decoderOf(path) === flag);
    if (chosen.length === 0) continue;
    for (const some of portions(chosen)) {
      const text = await dumpClean(driver, ["--deep-iteration", ...(flag ? [flag] : [])], some);
      const found = countIn(text);
      expect(found).toEqual(countOurs(some));
      counts.batches += found.batches;
      counts.records += found.records;
    }
  }
  const indexes = paths.filter((path) => /\.(time)?index$/.test(path));
  for (const flag of ["--index-sanity-check", "--verify-index-only"]) {
    await dumpClean(driver, [flag], indexes);
  }
  const others = paths.filter((path) => /\.(txnindex|snapshot)$/.test(path));
  if (others.length > 0) await dumpClean(driver, [], others);
  return counts;
}

/** Files in groups of bounded size: the tool prints a line for each record. */
function portions(paths: readonly string[]): string[][] {
  const groups: string[][] = [];
  let roomBytes = 0;
  for (const path of paths) {
    const { size } = statSync(path);
    if (groups.length === 0 || size > roomBytes) {
      groups.push([]);
      roomBytes = PORTION_BYTES;
    }
    groups.at(-1)!.push(path);
    roomBytes -= size;
  }
  return groups;
}

/** The files of the partitions that Kafka's tool reads. */
function partitionFiles(dataDirectory: string): string[] {
  return readdirSync(dataDirectory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && /-\d+$/.test(entry.name))
    .flatMap(({ name }) =>
      readdirSync(join(dataDirectory, name)).map((file) => join(dataDirectory, name, file))
    )
    .filter((path) => /\.(log|index|timeindex|txnindex|snapshot|checkpoint)$/.test(path))
    .toSorted();
}

async function dumpClean(
  driver: KafkaDriver,
  flags: readonly string[],
  paths: readonly string[],
): Promise<string> {
  const text = await driver.dump(flags, paths);
  let file = "";
  const said: string[] = [];
  for (const line of text.split("\n")) {
    if (line.startsWith("Dumping ")) file = line;
    else if (!GAPS.test(line) && COMPLAINTS.test(line.replace(/payload: .*|key: .*/, ""))) {
      said.push(line.includes(" in :/") ? line : `${file}: ${line}`);
    }
  }
  expect(said.slice(0, 10)).toEqual([]);
  const dumped = new Set(text.split("\n").filter((line) => line.startsWith("Dumping ")));
  expect(dumped.size).toBe(paths.length);
  return text;
}

function countIn(text: string): { batches: number; records: number } {
  const lines = text.split("\n");
  return {
    batches: lines.filter((line) => line.startsWith("baseOffset: ")).length,
    records: lines.filter((line) => line.startsWith("| offset: ")).length,
  };
}

function countOurs(paths: readonly string[]): { batches: number; records: number } {
  const counts = { batches: 0, records: 0 };
  for (const path of paths) {
    const bytes = readFileSync(path);
    for (const at of batches(bytes)) {
      counts.batches++;
      counts.records += readBatchHeader(bytes, at).recordCount;
    }
  }
  return counts;
}
