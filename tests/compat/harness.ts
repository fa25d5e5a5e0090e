/**
 * What the interop tests share: a real broker process, the tools of other projects, and one deck of records.
 *
 * Each test runs against `bun main.ts serve` on ports of its own choosing (0: the system picks), or, with
 * `WEIR_COMPAT_BOOTSTRAP=host:port`, against any broker that already runs: Apache Kafka, to see that a
 * test asks for nothing that Kafka does not do. A missing tool is a skip that names it, and an error
 * where `WEIR_INTEROP=required` says that the machine must have all of them.
 */

import { test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Root of the repository. */
export const repositoryRoot = join(import.meta.dir, "..", "..");
/** Kafka's peer scripts, beside the repository. */
export const peersDirectory = join(repositoryRoot, "..", "shared", "peers");
/** Apache Kafka's peer script: its brokers, its tools, and Java programs that use its jars. */
export const KAFKA = join(peersDirectory, "kafka", "kafka");

/** A broker that tests may talk to. */
export interface RunningBroker {
  readonly bootstrap: string;
  readonly host: string;
  readonly port: number;
  /** Port of the HTTP gateway; 0 for a broker that has none. */
  readonly httpPort: number;
  readonly dataDirectory: string;
  readonly pid: number;
  /** Ends it with a signal, SIGTERM unless told, and waits. Returns: the exit code. */
  stop(signal?: "SIGTERM" | "SIGINT" | "SIGHUP"): Promise<number>;
  /** Ends it as a power cut would, as far as a process can. */
  kill(): Promise<void>;
  /** All that it has printed. */
  output(): string;
}

/** Options of `startWeir`. */
export interface WeirOptions {
  readonly dataDirectory?: string;
  readonly port?: number;
  readonly httpPort?: number;
  /** More settings, under Kafka's names. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Command that starts the broker in place of `bun main.ts`. */
  readonly command?: readonly string[];
  readonly workingDirectory?: string;
}

/** Removes the paths on its standard input once that ends, which it does however this process ends. */
let janitor: ReturnType<typeof Bun.spawn<"pipe", "ignore", "ignore">> | null = null;
const REMOVE_AT_END = 'while read -r path; do set -- "$@" "$path"; done; sleep 1; rm -rf -- "$@"';

/** A directory that is removed when the process ends. */
export function scratchDirectory(label: string, parent = tmpdir()): string {
  const path = mkdtempSync(join(parent, `weir-${label}-`));
  if (janitor === null) {
    // `bun test` ends without telling those that listen for the exit of the process.
    janitor = Bun.spawn(["sh", "-c", REMOVE_AT_END], {
      stdin: "pipe",
      stdout: "ignore",
      stderr: "ignore",
      detached: true,
    });
    janitor.unref();
  }
  void janitor.stdin.write(`${path}\n`);
  void janitor.stdin.flush();
  return path;
}

/** The command line that serves with these options. */
export function serveCommand(
  options: WeirOptions & { readonly dataDirectory: string },
): string[] {
  const settings = {
    listeners: `PLAINTEXT://127.0.0.1:${options.port ?? 0}`,
    "http.listeners": `127.0.0.1:${options.httpPort ?? 0}`,
    "log.dirs": options.dataDirectory,
    ...options.settings,
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["--set", `${name}=${value}`]);
  const command = options.command ?? [process.execPath, join(repositoryRoot, "main.ts")];
  return [...command, "serve", ...flags];
}

/** Starts weir and waits until it says where it listens. Errors: rejects with its output when it ends before. */
export async function startWeir(options: WeirOptions = {}): Promise<RunningBroker> {
  const external = process.env["WEIR_COMPAT_BOOTSTRAP"];
  if (external !== undefined) return externalBroker(external);
  const dataDirectory = options.dataDirectory ?? scratchDirectory("data");
  const child = Bun.spawn(serveCommand({ ...options, dataDirectory }), {
    cwd: options.workingDirectory ?? repositoryRoot,
    stdout: "pipe",
    stderr: "pipe",
  });
  process.on("exit", () => child.kill("SIGKILL"));
  let output = "";
  const follow = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      output += decoder.decode(chunk, { stream: true });
      heard();
    }
  };
  let heard = () => {};
  const listening = new Promise<{ kafka: string; http: number }>((resolve, reject) => {
    heard = () => {
      const kafka = /Kafka on ([\d.]+:\d+)/.exec(output);
      const http = /HTTP on (?:http:\/\/)?[\d.]+:(\d+)/.exec(output);
      if (kafka !== null && http !== null) resolve({ kafka: kafka[1]!, http: Number(http[1]) });
    };
    void child.exited.then((code) => {
      setImmediate(() =>
        reject(new Error(`weir ended with code ${code} before it listened:\n${output}`))
      );
    });
  });
  const reading = Promise.all([follow(child.stdout), follow(child.stderr)]);
  const { kafka, http } = await listening;
  return {
    bootstrap: kafka,
    host: kafka.split(":")[0]!,
    port: Number(kafka.split(":")[1]),
    httpPort: http,
    dataDirectory,
    pid: child.pid,
    output: () => output,
    async stop(signal = "SIGTERM") {
      child.kill(signal);
      const code = await child.exited;
      await reading;
      return code;
    },
    async kill() {
      child.kill("SIGKILL");
      await child.exited;
      await reading;
    },
  };
}

function externalBroker(bootstrap: string): RunningBroker {
  const [host, port] = bootstrap.split(":") as [string, string];
  return {
    bootstrap,
    host,
    port: Number(port),
    httpPort: 0,
    dataDirectory: process.env["WEIR_COMPAT_DATA"] ?? "",
    pid: 0,
    stop: () => Promise.resolve(0),
    kill: () => Promise.reject(new Error("an external broker is not ours to kill")),
    output: () => "",
  };
}

/** Something besides npm packages that a test needs. */
export type Tool =
  | "kcat"
  | "promtool"
  | "python confluent-kafka"
  | "schemathesis"
  | "Apache Kafka (peers)"
  | "Chromium";

/** Where Chromium may be; `WEIR_CHROMIUM` names another place. */
const CHROMIUM_NAMES = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/** The browser that tests drive; null where there is none. */
export function chromiumPath(): string | null {
  const named = process.env["WEIR_CHROMIUM"];
  if (named !== undefined) return existsSync(named) ? named : null;
  return CHROMIUM_NAMES.map((name) => Bun.which(name)).find((path) => path !== null) ?? null;
}

const probes: Readonly<Record<Tool, () => boolean>> = {
  Chromium: () => chromiumPath() !== null,
  kcat: () => Bun.which("kcat") !== null,
  promtool: () => Bun.which("promtool") !== null,
  "python confluent-kafka": () =>
    Bun.which("python3") !== null &&
    Bun.spawnSync(["python3", "-c", "import confluent_kafka"]).exitCode === 0,
  schemathesis: () => Bun.which("schemathesis") !== null,
  "Apache Kafka (peers)": () =>
    Bun.which("java") !== null && existsSync(KAFKA) &&
    Bun.spawnSync([KAFKA, "version"]).exitCode === 0,
};
const found = new Map<Tool, boolean>();

/** True when the tool is here. Errors: throws where `WEIR_INTEROP=required` and it is not. */
export function hasTool(tool: Tool): boolean {
  let here = found.get(tool);
  if (here === undefined) found.set(tool, here = probes[tool]());
  if (!here && process.env["WEIR_INTEROP"] === "required") {
    throw new Error(`Cannot run the interop tests: ${tool} is missing and WEIR_INTEROP=required`);
  }
  return here;
}

/** A test that needs a tool; without it, a skip whose title says what was missing. */
export function testWith(
  tool: Tool,
  title: string,
  body: () => Promise<void>,
  timeoutMs = 120_000,
): void {
  if (hasTool(tool)) test(title, body, timeoutMs);
  else test.skip(`${title} (skipped: ${tool} is not on this machine)`, () => {});
}

/** Result of a program that has ended. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, with `input` on its standard input. */
export async function runProgram(
  command: readonly string[],
  options: { input?: string | Uint8Array; environment?: Record<string, string> } = {},
): Promise<Finished> {
  const child = Bun.spawn([...command], {
    stdin: options.input === undefined ? "ignore" : Buffer.from(options.input as string),
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...options.environment },
  });
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, stdout, stderr };
}

/** Runs a program that must succeed. Returns: its standard output. */
export async function runOk(
  command: readonly string[],
  options: { input?: string | Uint8Array; environment?: Record<string, string> } = {},
): Promise<string> {
  const { code, stdout, stderr } = await runProgram(command, options);
  if (code !== 0) {
    throw new Error(`${command.join(" ")} ended with code ${code}:\n${stdout}\n${stderr}`);
  }
  return stdout;
}

/** Command line of one of Kafka's own tools. */
export function kafkaTool(name: string, ...args: string[]): string[] {
  return [KAFKA, "tool", name, ...args];
}

/** Command line of one of the Java programs beside the tests, which have Kafka's own clients. */
export function kafkaJava(program: string, ...args: string[]): string[] {
  return [KAFKA, "java", "-Dkafka.tools.level=ERROR", join(import.meta.dir, program), ...args];
}

/**
 * What a JVM of Kafka's is started with that lives for seconds or minutes: without its best compiler it starts in a
 * third of the time. Units: MiB.
 */
export function jvmEnvironment(heapMegabytes: number): Record<string, string> {
  return {
    KAFKA_HEAP_OPTS: `-Xmx${heapMegabytes}M -Xms64M`,
    KAFKA_JVM_PERFORMANCE_OPTS: "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true",
  };
}

/** Options of `spawnKafka`; what is not said of a stream is ignored. */
export interface SpawnKafkaOptions<
  In extends Bun.SpawnOptions.Writable,
  Out extends Bun.SpawnOptions.Readable,
  Err extends Bun.SpawnOptions.Readable,
> {
  readonly heapMegabytes: number;
  readonly stdin?: In;
  readonly stdout?: Out;
  readonly stderr?: Err;
}

/** Starts one of Kafka's programs (`KAFKA`, `kafkaTool`, `kafkaJava`) that ends with this process at the latest. */
export function spawnKafka<
  In extends Bun.SpawnOptions.Writable = "ignore",
  Out extends Bun.SpawnOptions.Readable = "ignore",
  Err extends Bun.SpawnOptions.Readable = "ignore",
>(
  command: readonly string[],
  options: SpawnKafkaOptions<In, Out, Err>,
): Bun.Subprocess<In, Out, Err> {
  const { heapMegabytes, stdin = "ignore", stdout = "ignore", stderr = "ignore" } = options;
  const child = Bun.spawn([...command], {
    stdin: stdin as In,
    stdout: stdout as Out,
    stderr: stderr as Err,
    env: { ...process.env, ...jvmEnvironment(heapMegabytes) },
  });
  process.on("exit", () => child.kill("SIGKILL"));
  return child;
}

/** The codecs that every client is tried with. */
export const codecNames = ["none", "gzip", "snappy", "lz4", "zstd"] as const;
export type CodecName = (typeof codecNames)[number];

/** A record of the deck. */
export interface DeckRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly (readonly [string, Buffer])[];
}

const DECK_SIZES = [1, 2, 100, 1_000, 65_535, 65_536, 300_000, 900 * 1024];

/** Records of 1 B to 900 KiB, with and without key, value and headers; the same for the same label. */
export function deck(label: string): DeckRecord[] {
  const records: DeckRecord[] = DECK_SIZES.map((byteCount, index) => ({
    key: index % 3 === 0 ? null : Buffer.from(`${label}-key-${index}`),
    value: patternBytes(`${label}-${index}`, byteCount),
    headers: index % 2 === 0
      ? []
      : [["trace", Buffer.from([0, 1, 255, index])], ["empty", Buffer.alloc(0)]],
  }));
  records.push({ key: Buffer.from(`${label}-tombstone`), value: null, headers: [] });
  records.push({ key: null, value: Buffer.alloc(0), headers: [["ümlaut", Buffer.from("größe")]] });
  records.push({ key: Buffer.alloc(0), value: Buffer.from("empty key"), headers: [] });
  return records;
}

/** Bytes that compress to about a half and are the same for the same label. */
function patternBytes(label: string, byteCount: number): Buffer {
  const bytes = Buffer.alloc(byteCount);
  for (let at = 0, block = 0; at < byteCount; at += 64, block++) {
    const hash = createHash("sha256").update(`${label}/${block}`).digest();
    hash.copy(bytes, at);
    bytes.fill("=", Math.min(at + 32, byteCount), Math.min(at + 64, byteCount));
  }
  return bytes;
}

/** One line a record, short enough to compare and to print: key, value and headers with their digests. */
export function fingerprint(record: {
  key: Uint8Array | null | undefined;
  value: Uint8Array | null | undefined;
  headers: readonly (readonly [string, Uint8Array])[];
}): string {
  const digest = (bytes: Uint8Array | null | undefined) =>
    bytes === null || bytes === undefined
      ? "null"
      : `${bytes.length}:${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}`;
  const headers = record.headers.map(([name, value]) => `${name}=${digest(value)}`);
  return `${digest(record.key)} ${digest(record.value)} ${headers.join(",")}`;
}

/** Polls until `done` answers with a value. Errors: throws with `what` when `timeoutMs` has passed. */
export async function eventually<T>(
  what: string,
  done: () => Promise<T | undefined> | T | undefined,
  timeoutMs = 30_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await done();
    if (value !== undefined) return value;
    if (performance.now() > deadline) throw new Error(`Waited ${timeoutMs} ms in vain: ${what}`);
    await Bun.sleep(20);
  }
}

/** Paths of the partition directories of a topic. */
export function partitionDirectories(dataDirectory: string, topic: string): string[] {
  return readdirSync(dataDirectory)
    .filter((name) => new RegExp(`^${topic}-\\d+$`).test(name))
    .map((name) => join(dataDirectory, name));
}
