/**
 * One round of one load at one broker: a topic for it, `weir bench` as a process, what the broker used meanwhile.
 *
 * What a load measures is put together from these (`bench_single_node.ts`); which loads there are and whose turn it is
 * lies outside (`bench_suite.ts`).
 */

import process from "node:process";
import { type KafkaClient, UnknownTopicError } from "../broker/client/kafka_client.ts";
import { createTopic, deleteTopics } from "../broker/client/topics.ts";
import { eventually } from "../tests/compat/harness.ts";
import type { MeasuredBroker } from "./bench_brokers.ts";
import type { Sample } from "./bench_figures.ts";

/** Both brokers keep deleted files for a minute otherwise, and the disk would fill. */
const DELETE_AT_ONCE = ["file.delete.delay.ms", "1000"] as const;

/** One load, as `weir bench` is told. */
export interface Load {
  readonly name: string;
  readonly partitions: number;
  /** How much is written or read in a round. */
  readonly megabytes: number;
  readonly flags: readonly string[];
  /** Settings of the topic at the peer. */
  readonly peerConfigs?: readonly (readonly [name: string, value: string])[];
  readonly measure: (round: Round) => Promise<Sample>;
}

/** One round of one load at one broker. */
export interface Round {
  readonly load: Load;
  readonly broker: MeasuredBroker;
  readonly client: KafkaClient;
  /** Those of the load, or a part of them in a quick run. */
  readonly megabytes: number;
  /** The weir that puts on the load. */
  readonly command: readonly string[];
  /** Which round it is; 0 warms up. */
  readonly number: number;
  /** Holds the data of all brokers. */
  readonly directory: string;
}

/** Flags of a load that writes: records of a batch, bytes of one, requests in flight on a connection. */
export const batches = (records: number, size: number, inFlight: number, acks: string) => [
  ...["--records", String(records), "--size", String(size)],
  ...["--in-flight", String(inFlight), "--acks", acks],
];

/** Writes the megabytes of the round to a topic of its own. */
export async function measureProduce(round: Round): Promise<Sample> {
  const { load, megabytes } = round;
  return await withTopic(round, async (topic) => {
    const amount = ["--topic", topic, "--megabytes", String(megabytes)];
    const flags = ["produce", ...amount, ...load.flags];
    return await measured(round, megabytes, () => benchFigures(round, flags).ended);
  });
}

/** Adds what the broker used meanwhile. */
export async function measured(
  { broker }: Round,
  megabytes: number,
  work: () => Promise<Sample>,
): Promise<Sample> {
  const before = broker.cpuSeconds();
  const figures = await work();
  return {
    ...figures,
    cpuSecondsPerGigabyte: (broker.cpuSeconds() - before) / (megabytes / 1000),
    peakResidentMegabytes: broker.peakResidentBytes() / 1e6,
  };
}

/** Runs `work` with a topic that is made for the round and goes with it. */
export async function withTopic<T>(
  { broker, client, load, number }: Round,
  work: (topic: string) => Promise<T>,
): Promise<T> {
  const topic = `bench-${load.name}-${number}`;
  const configs = broker.kind.name === "weir" ? [] : load.peerConfigs ?? [];
  await makeTopic(client, topic, load.partitions, configs);
  try {
    return await work(topic);
  } finally {
    await deleteTopics(client, [topic]);
  }
}

/** Makes a topic. Returns: when each of its partitions has a leader. */
export async function makeTopic(
  client: KafkaClient,
  name: string,
  partitions: number,
  configs: readonly (readonly [name: string, value: string])[],
): Promise<void> {
  const all = [DELETE_AT_ONCE, ...configs];
  await createTopic(client, { name, partitions, configs: all, validateOnly: false });
  // A broker may hear of it a little later.
  await eventually(`a leader of ${name}`, async () => {
    return await client.leaders(name).catch((error: unknown) => {
      if (!(error instanceof UnknownTopicError)) throw error;
      return undefined;
    });
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
