/**
 * One round of one load at one broker: a topic for it, `weir bench` as a process, what the broker used meanwhile.
 *
 * What a load measures is put together from these (`single_node.ts`); which loads there are and whose turn it is
 * lies outside (`suite.ts`).
 */

import { join } from "node:path";
import process from "node:process";
import type { KafkaClient } from "../../broker/client/kafka_client.ts";
import { createTopic, deleteTopics } from "../../broker/client/topics.ts";
import { clusterWord, isInSync } from "../../tests/compat/availability_probe.ts";
import { eventually } from "../../tests/compat/harness.ts";
import { type MeasuredBroker, shortName } from "./brokers.ts";
import type { Sample } from "./figures.ts";

/** Both brokers keep deleted files for a minute otherwise, and the disk would fill. */
export const DELETE_AT_ONCE = ["file.delete.delay.ms", "1000"] as const;

/** One load, as `weir bench` is told. */
export interface Load {
  readonly name: string;
  readonly partitions: number;
  /** As many as the broker gives where it is left out. */
  readonly replicationFactor?: number;
  /** How much is written or read in a round. */
  readonly megabytes: number;
  readonly flags: readonly string[];
  /** Settings of the topic at the peer. */
  readonly peerConfigs?: readonly (readonly [name: string, value: string])[];
  readonly measure: (round: Round) => Promise<Sample>;
}

/** One round of one load at one broker, which may be several nodes. */
export interface Round {
  readonly load: Load;
  readonly broker: MeasuredBroker;
  readonly client: KafkaClient;
  /** Those of the load, or a part of them in a quick run. */
  readonly megabytes: number;
  /** The weir that puts on the load. */
  readonly command: readonly string[];
  /** Which round it is, from 0 on; the first ones warm up. */
  readonly number: number;
  /** Holds the data of all brokers. */
  readonly directory: string;
}

/** Flags of a load that writes: records of a batch, bytes of one, requests in flight on a connection. */
export const batches = (records: number, size: number, inFlight: number, acks: string) => [
  ...["--records", String(records), "--size", String(size)],
  ...["--in-flight", String(inFlight), "--acks", acks],
];

/** Writes the megabytes of the round to a topic of its own, as fast as they are taken. */
export function measureProduce(round: Round): Promise<Sample> {
  return measureWrites(round, "produce");
}

/** The same by `weir bench latency`, which knows rates. */
export function measureLatency(round: Round): Promise<Sample> {
  return measureWrites(round, "latency");
}

async function measureWrites(round: Round, word: "produce" | "latency"): Promise<Sample> {
  const { load, megabytes } = round;
  return await withTopic(round, async (topic) => {
    const amount = ["--topic", topic, "--megabytes", String(megabytes)];
    const flags = [word, ...amount, ...load.flags];
    return await measured(round, megabytes, () => benchFigures(round, flags).ended);
  });
}

/** Starts another one of the same kind beside it, and stops that. */
export async function measureStart({ broker, directory, number }: Round): Promise<Sample> {
  const { kind } = broker;
  const started = await kind.start(join(directory, `${shortName(kind)}-start-${number}`));
  await started.stop();
  return { startMs: started.startMs };
}

/** Adds what the broker used meanwhile. `work` tells `megabytes` where it knows them better. */
export async function measured(
  { broker }: {
    readonly broker: Pick<MeasuredBroker, "cpuSeconds" | "peakResidentBytes" | "residentBytes">;
  },
  megabytes: number,
  work: () => Promise<Sample>,
): Promise<Sample> {
  const before = broker.cpuSeconds();
  const figures = await work();
  const gigabytes = (figures["megabytes"] ?? megabytes) / 1000;
  return {
    ...figures,
    cpuSecondsPerGigabyte: (broker.cpuSeconds() - before) / gigabytes,
    peakResidentMegabytes: broker.peakResidentBytes() / 1e6,
    residentMegabytes: broker.residentBytes() / 1e6,
  };
}

/** Writes while consumers wait at the end of a topic. */
export interface TailLoad {
  readonly topic: string;
  readonly consumers: number;
  /** Of all consumers together. What the first answers bring is not counted, so that it is less than is written. */
  readonly readMegabytes: number;
  readonly writtenMegabytes: number;
}

/** Starts the readers and, once they wait, the writer. Returns: the figures of the readers. */
export async function tailFigures(
  start: (flags: readonly string[]) => RunningBench,
  { topic, consumers, readMegabytes, writtenMegabytes }: TailLoad,
): Promise<Sample> {
  const flags = ["--topic", topic, "--megabytes"];
  const tail = ["--tail", "--consumers", String(consumers)];
  const readers = start(["fetch", ...flags, String(readMegabytes), ...tail]);
  await readers.isWaiting;
  const shape = batches(100, 1024, 5, "1");
  const writer = start(["produce", ...flags, String(writtenMegabytes), ...shape]);
  const [figures] = await Promise.all([readers.ended, writer.ended]);
  return figures;
}

/** Runs `work` with a topic that is made for the round and goes with it. */
export async function withTopic<T>(
  round: Round,
  work: (topic: string) => Promise<T>,
): Promise<T> {
  const topic = `bench-${round.load.name}-${round.number}`;
  await makeTopic(round, topic);
  try {
    return await work(topic);
  } finally {
    await deleteTopics(round.client, [topic]);
  }
}

/** Makes a topic as the load has it. Returns: when all replicas are in sync, as every node knows. */
export async function makeTopic(
  { broker, client, load }: Pick<Round, "broker" | "client" | "load">,
  name: string,
): Promise<void> {
  const { partitions, replicationFactor = -1, peerConfigs = [] } = load;
  const configs = [DELETE_AT_ONCE, ...(broker.kind.name === "weir" ? [] : peerConfigs)];
  await createTopic(client, { name, partitions, replicationFactor, configs, validateOnly: false });
  await eventually(`all replicas of ${name} in sync, as every node knows`, async () => {
    const words = await Promise.all(
      broker.addresses.map((address) => clusterWord(address, [name]).catch(() => null)),
    );
    return words.every((word) => word !== null && isInSync(word)) || undefined;
  });
}

/** `weir bench` as a process. */
export interface RunningBench {
  /** Its figures. Errors: rejects with what it says when it fails. */
  readonly ended: Promise<Sample>;
  /** Resolves once readers at the tail have begun to wait. */
  readonly isWaiting: Promise<void>;
  /** Has it end now, and tell what there is. */
  stop(): void;
}

/** Starts it against the broker of the round, with these words behind `bench`. */
export function benchFigures(
  { command, broker }: Pick<Round, "command"> & {
    readonly broker: Pick<MeasuredBroker, "bootstrap">;
  },
  flags: readonly string[],
): RunningBench {
  const words = [...command, "-b", broker.bootstrap, "bench", ...flags, "--json"];
  const child = Bun.spawn(words, { stdout: "pipe", stderr: "pipe" });
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);
  const waiting = Promise.withResolvers<void>();
  const ended = (async () => {
    let said = "";
    const decoder = new TextDecoder();
    const output = new Response(child.stdout).text();
    for await (const chunk of child.stderr) {
      said += decoder.decode(chunk, { stream: true });
      if (said.includes("Waiting at the end of ")) waiting.resolve();
    }
    const code = await child.exited;
    process.off("exit", killAtExit);
    // Whoever waits for the readers learns from `ended` why they are gone.
    waiting.resolve();
    if (code !== 0) throw new Error(`weir bench ${flags.join(" ")} ended with ${code}: ${said}`);
    return JSON.parse(await output) as Sample;
  })();
  return { ended, isWaiting: waiting.promise, stop: () => child.kill("SIGINT") };
}
