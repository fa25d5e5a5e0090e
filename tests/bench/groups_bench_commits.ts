/**
 * Commits of many groups at a steady rate, and how long each takes from the moment at which it was due: one that has
 * to wait because those before it were slow counts with its wait (no coordinated omission).
 *
 * Frames are encoded once and sent again and again with another correlation id, those that are due together in one
 * write a connection, so that the client takes little of the processor.
 */

import { codec } from "../../protocol/compile.ts";
import { Writer } from "../../protocol/bytes.ts";
import { FrameSplitter } from "../../protocol/frame.ts";
import { encodeRequestHeader } from "../../protocol/headers.ts";
import { offsetCommitRequest, offsetCommitResponse } from "../../protocol/schemas/offset_commit.ts";
import {
  cpuSecondsOf,
  loadAverage,
  longestHoldMs,
  metricsOf,
  peakResidentBytes,
  residentBytes,
} from "./broker_figures.ts";
import { type RunningBroker, scratchDirectory, startWeir } from "../compat/harness.ts";
import { createBenchTopic, groupName, groupsApart, whenCoordinated } from "./groups_bench_setup.ts";

const VERSION = 9;
const TOPIC = "orders";
const CORRELATION_ID_AT = 8;
/** Of the answer: its length, and the correlation id, which alone differs. */
const ANSWER_BODY_AT = 4;
const TURN_MS = 1;
/** Groups that follow each other in time are in different partitions of `__consumer_offsets`. */
const STRIDE = 7919;

/** How much, and with what. */
export interface CommitsBenchOptions {
  readonly groups: number;
  /** Commits a second. */
  readonly rate: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly connections: number;
  /** Partitions in one commit. */
  readonly partitions: number;
  readonly command?: readonly string[];
  readonly dataDirectory?: string;
}

/** What came of it. Units: ms, but for what says another. */
export interface CommitFigures {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  readonly peakResidentBytes: number;
  /** Processor time of the broker for each commit. Units: µs. */
  readonly cpuMicrosPerCommit: number;
}

/** Hears what comes of the requests. */
interface AnswerListener {
  /** One that was due then is answered without an error. */
  answered(dueMs: number): void;
  failed(found: string): void;
}

/** One connection, which sends what is due and times the answers. */
class CommitConnection {
  readonly #splitter = new FrameSplitter({ maxFrameBytes: 1024 * 1024 });
  readonly #expected: Uint8Array;
  readonly #hears: AnswerListener;
  /** When each request that is not answered was due, in order. */
  readonly #due: number[] = [];
  #firstDue = 0;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #socket: Bun.Socket | null = null;

  private constructor(expected: Uint8Array, hears: AnswerListener) {
    this.#expected = expected;
    this.#hears = hears;
  }

  static async connect(
    { host, port }: Pick<RunningBroker, "host" | "port">,
    expected: Uint8Array,
    hears: AnswerListener,
  ): Promise<CommitConnection> {
    const connection = new CommitConnection(expected, hears);
    connection.#socket = await Bun.connect({
      hostname: host,
      port,
      socket: {
        data: (_, chunk) => connection.#received(chunk),
        drain: () => connection.flush(),
        close: () => connection.#closed(),
      },
    });
    return connection;
  }

  /** Queues one request; the frame is copied. */
  add(frame: Uint8Array, dueMs: number): void {
    const copy = frame.slice();
    new DataView(copy.buffer).setInt32(CORRELATION_ID_AT, this.#due.length);
    this.#due.push(dueMs);
    this.#pending.push(copy);
    this.#pendingBytes += copy.length;
  }

  /** Sends what is queued. */
  flush(): void {
    if (this.#pendingBytes === 0 || this.#socket === null) return;
    const bytes = this.#pending.length === 1 ? this.#pending[0]! : Buffer.concat(this.#pending);
    const taken = Math.max(0, this.#socket.write(bytes));
    this.#pending = taken === bytes.length ? [] : [bytes.subarray(taken)];
    this.#pendingBytes -= taken;
  }

  close(): void {
    const socket = this.#socket;
    this.#socket = null;
    socket?.end();
  }

  #received(chunk: Uint8Array): void {
    for (const answer of this.#splitter.push(chunk)) {
      const body = answer.subarray(ANSWER_BODY_AT);
      if (Buffer.compare(body, this.#expected) === 0) {
        this.#hears.answered(this.#due[this.#firstDue++]!);
      } else this.#hears.failed(`one was answered with ${Buffer.from(body).toString("hex")}`);
    }
  }

  #closed(): void {
    if (this.#socket !== null) this.#hears.failed("the broker hung up");
  }
}

/** The request of one group. */
function commitFrame(group: number, partitions: number): Uint8Array {
  const writer = new Writer();
  writer.beginSized();
  const head = { apiKey: 8, apiVersion: VERSION, correlationId: 0, clientId: "groups_bench" };
  encodeRequestHeader(writer, head);
  codec(offsetCommitRequest, VERSION).encode(writer, {
    groupId: groupName(group),
    generationIdOrMemberEpoch: -1,
    memberId: "",
    topics: [{
      name: TOPIC,
      partitions: Array.from({ length: partitions }, (_, partitionIndex) => ({
        partitionIndex,
        committedOffset: 1_000_000 + group,
        committedLeaderEpoch: 0,
        committedMetadata: "",
      })),
    }],
  });
  writer.endSized();
  return writer.finish().slice();
}

/** The body of an answer without errors, behind its correlation id. */
function expectedAnswer(partitions: number): Uint8Array {
  const writer = new Writer();
  // No tagged fields in the header.
  writer.int8(0);
  codec(offsetCommitResponse, VERSION).encode(writer, {
    throttleTimeMs: 0,
    topics: [{
      name: TOPIC,
      partitions: Array.from({ length: partitions }, (_, partitionIndex) => ({
        partitionIndex,
        errorCode: 0,
      })),
    }],
  });
  return writer.finish();
}

/** Sends commits at the rate. Returns: the latencies of all after the warm-up, rising. Units: ms. */
async function drive(
  broker: RunningBroker,
  { groups, rate, seconds, warmUpSeconds, connections: count, partitions }: CommitsBenchOptions,
  onWarm: () => void,
): Promise<Float64Array> {
  const frames = Array.from({ length: groups }, (_, group) => commitFrame(group, partitions));
  const total = Math.round(rate * (warmUpSeconds + seconds));
  const warm = Math.round(rate * warmUpSeconds);
  const latencies = new Float64Array(total - warm);
  const finished = Promise.withResolvers<void>();
  const startMs = performance.now() + TURN_MS;
  const measuredFromMs = startMs + (warm * 1000) / rate;
  let answered = 0;
  let measured = 0;
  const hears: AnswerListener = {
    answered(dueMs) {
      if (dueMs >= measuredFromMs && measured < latencies.length) {
        latencies[measured++] = performance.now() - dueMs;
      }
      if (++answered === total) finished.resolve();
    },
    failed: (found) => finished.reject(new Error(`Cannot measure commits: ${found}`)),
  };
  const expected = expectedAnswer(partitions);
  const connections = await Promise.all(
    Array.from({ length: count }, () => CommitConnection.connect(broker, expected, hears)),
  );
  let isWarm = false;
  for (let sent = 0; sent < total;) {
    const due = Math.floor(((performance.now() - startMs) * rate) / 1000) + 1;
    for (; sent < Math.min(due, total); sent++) {
      const frame = frames[(sent * STRIDE) % groups]!;
      connections[sent % count]!.add(frame, startMs + (sent * 1000) / rate);
    }
    for (const connection of connections) connection.flush();
    if (!isWarm && sent >= warm) {
      isWarm = true;
      onWarm();
    }
    await Bun.sleep(TURN_MS);
  }
  await finished.promise;
  for (const connection of connections) connection.close();
  return latencies.subarray(0, measured).sort();
}

/** Commits offsets of many groups at a steady rate. */
export async function commitsBench(options: CommitsBenchOptions): Promise<CommitFigures> {
  const { groups, rate, seconds, partitions, command, dataDirectory } = options;
  const broker = await startWeir({
    dataDirectory: dataDirectory ?? scratchDirectory("commits"),
    ...(command !== undefined && { command }),
  });
  const isOurs = broker.httpPort > 0;
  await createBenchTopic(broker, TOPIC, partitions);
  await whenCoordinated(broker, groupsApart(groups));
  let [cpuBefore, clientBefore, metricsBefore] = [0, process.cpuUsage(), ""];
  let scraped = Promise.resolve();
  const latencies = await drive(broker, options, () => {
    cpuBefore = cpuSecondsOf(broker.pid);
    clientBefore = process.cpuUsage();
    if (isOurs) scraped = metricsOf(broker).then((metrics) => void (metricsBefore = metrics));
  });
  const cpuSeconds = cpuSecondsOf(broker.pid) - cpuBefore;
  const client = process.cpuUsage(clientBefore);
  await scraped;
  const heldMs = isOurs ? longestHoldMs(await metricsOf(broker), metricsBefore) : NaN;
  const at = (share: number) => latencies[Math.ceil(share * latencies.length) - 1]!;
  const figures = {
    p50: at(0.5),
    p99: at(0.99),
    p999: at(0.999),
    max: at(1),
    peakResidentBytes: peakResidentBytes(broker.pid),
    cpuMicrosPerCommit: (cpuSeconds * 1e6) / (rate * seconds),
  };
  const resident = residentBytes(broker.pid);
  await broker.stop();
  const [p50, p99, p999, max] = [figures.p50, figures.p99, figures.p999, figures.max]
    .map((ms) => ms.toFixed(1));
  console.log(
    `${groups} groups, ${rate} commits/s of ${partitions} partitions for ${seconds} s: p50 ${p50}, ` +
      `p99 ${p99}, p99.9 ${p999}, max ${max} ms; ${
        (resident / 1e6).toFixed(0)
      } MB resident, at most ` +
      `${(figures.peakResidentBytes / 1e6).toFixed(0)}; ${
        figures.cpuMicrosPerCommit.toFixed(0)
      } us of ` +
      `CPU a commit (${((100 * cpuSeconds) / seconds).toFixed(0)} % of a core, client ` +
      `${((client.user + client.system) / 1e4 / seconds).toFixed(0)} %), event loop held up to ` +
      `${heldMs.toFixed(0)} ms; ${loadAverage()}`,
  );
  return figures;
}
