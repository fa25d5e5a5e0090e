/**
 * The clients of cluster_test.ts: each a program of its own that produces idempotently to a topic of its own, reads
 * it, commits as a group, and tells at its end what it was told and saw. What they tell becomes one history.
 */

import { expect } from "bun:test";
import { join } from "node:path";
import process from "node:process";
import { checkHistory, type HistoryEvent } from "../sim/history.ts";
import { kafkaJava, spawnKafka } from "./harness.ts";
import { linesOf } from "./lines_of.ts";

/** A record at its place: partition, offset, number, and who read it where that is told. */
type Row = readonly [partition: number, offset: number, number: number, run?: string];

/** What is told of a group's commits, in order. */
type CommitRow =
  | readonly ["commit" | "committed", partition: number, offset: number]
  | readonly ["ask", ask: string]
  | readonly ["answer", ask: string, partition: number, offset: number];

/** What a client prints at its end; see crash_client.py and ClusterLoad.java. */
export interface LoadReport {
  readonly acknowledged: Readonly<Record<string, readonly Row[]>>;
  readonly sent: Readonly<Record<string, readonly number[]>>;
  readonly failed: readonly unknown[];
  readonly fatal: readonly string[];
  /** What the client threw at its user, with who it was, and when. Units: s since 1970. */
  readonly exceptions?: readonly (readonly [who: string, at: number, what: string, why: string])[];
  readonly seen: Readonly<Record<string, readonly Row[]>>;
  readonly group: readonly Row[];
  readonly commits: readonly CommitRow[];
  /** Times in which nothing of a partition was acknowledged. Units: `start` in s since 1970. */
  readonly silences: readonly (readonly [
    topic: string,
    partition: number,
    start: number,
    seconds: number,
  ])[];
}

/** How a client loads the cluster. */
export interface LoadOptions {
  readonly bootstrap: string;
  readonly topic: string;
  readonly partitions: number;
  readonly group: string;
  /** To each partition. */
  readonly recordsASecond: number;
  /** How long a client waits for an answer until it asks elsewhere. */
  readonly requestTimeoutMs: number;
}

/** It is told on its standard input when to end, and tells on its output; what it complains of is seen. */
const PIPES = { stdin: "pipe", stdout: "pipe", stderr: "inherit" } as const;

/** A client that runs. */
export class Load {
  readonly name: string;
  readonly topic: string;
  readonly #child: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #lines: AsyncGenerator<string, void, void>;

  private constructor(
    name: string,
    topic: string,
    child: Bun.Subprocess<"pipe", "pipe", "inherit">,
  ) {
    this.name = name;
    this.topic = topic;
    this.#child = child;
    this.#lines = linesOf(child.stdout);
  }

  /** librdkafka, by its Python package. */
  static librdkafka(options: LoadOptions): Load {
    const { bootstrap, topic, partitions, group } = options;
    const program = join(import.meta.dir, "crash_client.py");
    const child = Bun.spawn(["python3", program, bootstrap, String(partitions), group, topic], {
      ...PIPES,
      env: {
        ...process.env,
        RECORDS_A_SECOND: String(options.recordsASecond),
        REQUEST_TIMEOUT_MS: String(options.requestTimeoutMs),
      },
    });
    return new Load("librdkafka", topic, child);
  }

  /** Apache Kafka's own clients. */
  static java(options: LoadOptions): Load {
    const { bootstrap, topic, partitions, group, recordsASecond, requestTimeoutMs } = options;
    const command = kafkaJava(
      "ClusterLoad.java",
      ...[bootstrap, String(partitions), group, topic],
      ...[String(recordsASecond), String(requestTimeoutMs)],
    );
    return new Load("Java", topic, spawnKafka(command, { ...PIPES, heapMegabytes: 1024 }));
  }

  /** Returns: when all of it has begun to work. */
  async ready(): Promise<void> {
    expect(await this.#lines.next()).toEqual({ value: "ready", done: false });
  }

  /** Ends the load. Returns: once everything is read, what was told and seen. */
  async end(): Promise<LoadReport> {
    await this.#child.stdin.write("\n");
    await this.#child.stdin.end();
    return JSON.parse((await this.#lines.next()).value ?? "{}") as LoadReport;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}

/** One history of a client. The reader that follows the topic from its start has seen the log. */
function* historyOf({ name: client, topic }: Load, report: LoadReport): Generator<HistoryEvent> {
  const name = (partition: number) => `${topic}-${partition}`;
  for (const [at, count] of report.sent[topic]!.entries()) {
    for (let number = 0; number < count; number++) {
      yield {
        kind: "send",
        producer: client,
        guarantee: "exactly once",
        partition: name(at),
        value: String(number),
      };
    }
  }
  for (const [at, offset, number] of report.acknowledged[topic]!) {
    // A duplicate's acknowledgement names no offset.
    const known = offset < 0 ? null : offset;
    yield { kind: "ack", partition: name(at), value: String(number), offset: known };
  }
  for (const [at, offset, number] of report.seen[topic]!) {
    const value = String(number);
    yield { kind: "read", reader: "reader", partition: name(at), offset, value };
    yield { kind: "log", partition: name(at), offset, value };
  }
  for (const [at, offset, number, reader] of report.group) {
    if (reader === undefined) continue;
    yield { kind: "read", reader, partition: name(at), offset, value: String(number) };
  }
  yield* commitsOf(topic, report.commits);
}

function* commitsOf(group: string, rows: readonly CommitRow[]): Generator<HistoryEvent> {
  for (const [index, row] of rows.entries()) {
    switch (row[0]) {
      case "commit":
        yield { kind: "commit", group, partition: String(row[1]), offset: row[2] };
        break;
      case "committed": {
        // Of one thread that asks and commits in turn.
        const ask = `ask ${index}`;
        yield { kind: "ask", group, ask };
        yield { kind: "answer", ask, partition: String(row[1]), offset: row[2] };
        break;
      }
      case "ask":
        yield { kind: "ask", group, ask: row[1] };
        break;
      case "answer":
        yield { kind: "answer", ask: row[1], partition: String(row[2]), offset: row[3] };
        break;
    }
  }
}

/** Errors: where something was lost, doubled, moved or went back, or a client was told of a failure. */
export function expectCleanHistory(load: Load, report: LoadReport): void {
  const { fatal, failed, exceptions = [] } = report;
  expect({ client: load.name, fatal, failed: failed.slice(0, 10), exceptions })
    .toEqual({ client: load.name, fatal: [], failed: [], exceptions: [] });
  expect(checkHistory(historyOf(load, report))).toEqual([]);
  const sent = report.sent[load.topic]!;
  for (const [at, count] of sent.entries()) {
    const acknowledged = report.acknowledged[load.topic]!.filter(([partition]) => partition === at);
    const seen = report.seen[load.topic]!.filter(([partition]) => partition === at);
    const group = new Set<number>();
    for (const [partition, , number] of report.group) if (partition === at) group.add(number);
    const counts = [acknowledged.length, seen.length, group.size];
    expect({ client: load.name, partition: at, counts })
      .toEqual({ client: load.name, partition: at, counts: [count, count, count] });
    // One producer that is alone and never fails: each number lies at its own offset.
    expect(seen.find(([, offset, number]) => offset !== number)).toBeUndefined();
  }
}
