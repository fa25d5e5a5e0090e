/**
 * The loads of the ratchet: those of `weir bench`, by the same code, small and always the same amount.
 *
 * Each round is some tens of milliseconds of processor time, so that weir and the reference carry theirs within the same
 * moments of a machine that may be busy.
 */

import { fetchLoad } from "../../broker/cli/bench_fetch.ts";
import { produceLoad } from "../../broker/cli/bench_produce.ts";
import type { CliIo } from "../../broker/cli/io.ts";
import type { KafkaClient } from "../../broker/client/kafka_client.ts";
import type { FigureName } from "./ratchet_figures.ts";

/** The topic under load, and one for what comes before; each server has both with the partitions of the load. */
export const TOPICS = { load: "ratchet", warmUp: "ratchet-warm-up" } as const;
const TAIL_CONSUMERS = 10;
/** Of what is written, consumers at the tail read so much: what the first answer brought is not counted as read. */
const TAIL_PART = 0.9;
const ANSWER_BYTES = 1_048_576;

/** One load. */
export interface RatchetLoad {
  readonly name: string;
  readonly title: string;
  readonly partitions: number;
  /** By what it is judged. */
  readonly figures: readonly FigureName[];
  /**
   * Makes a server ready: what the load reads, and so many requests that the engine has compiled what it will. Those of
   * a few bytes do that in a fraction of the time.
   */
  readonly warmUp: (io: CliIo, client: KafkaClient) => Promise<void>;
  /** Puts one round on a server. Returns: how much was done, in requests or megabytes. */
  readonly run: (io: CliIo, client: KafkaClient) => Promise<number>;
}

interface ProduceShape {
  readonly topic?: string;
  readonly recordCount: number;
  readonly recordBytes: number;
  readonly inFlight: number;
  readonly acks: 1 | -1;
  readonly requestCount: number;
}
const LARGE = { recordCount: 100, recordBytes: 1024, inFlight: 5, acks: 1 } as const;
const SMALL = { recordCount: 10, recordBytes: 100, inFlight: 5, acks: 1 } as const;
const WARM_UP = { topic: TOPICS.warmUp, ...SMALL };

/** Sends so many requests. Returns: how many. */
async function produce(
  io: CliIo,
  client: KafkaClient,
  { topic = TOPICS.load, requestCount, ...shape }: ProduceShape,
): Promise<number> {
  const byteCount = requestCount * shape.recordCount * shape.recordBytes;
  const load = { topic, ...shape, byteCount, seconds: null, rate: null };
  return (await produceLoad(io, client, load)).requestCount;
}

/** Reads the topic from its beginning to its end. Returns: the megabytes. */
async function catchUp(io: CliIo, client: KafkaClient, maxBytes: number): Promise<number> {
  const load = { topic: TOPICS.load, consumers: 1, isAtTail: false, maxBytes } as const;
  const figures = await fetchLoad(io, client, { ...load, byteCount: null, seconds: null });
  return figures.byteCount / 1e6;
}

/** Writes while consumers wait at the end. Returns: the megabytes that they read. */
async function follow(io: CliIo, client: KafkaClient, load: ProduceShape): Promise<number> {
  const waiting = Promise.withResolvers<void>();
  // The one thing that it says is that it waits.
  const readerIo: CliIo = { ...io, writeError: () => waiting.resolve() };
  const writtenBytes = load.requestCount * load.recordCount * load.recordBytes;
  const reading = fetchLoad(readerIo, client, {
    topic: load.topic ?? TOPICS.load,
    consumers: TAIL_CONSUMERS,
    isAtTail: true,
    maxBytes: ANSWER_BYTES,
    byteCount: writtenBytes * TAIL_PART * TAIL_CONSUMERS,
    seconds: null,
  });
  // Whoever waits for the readers learns from `reading` why they are gone.
  reading.catch(() => waiting.resolve());
  await waiting.promise;
  const [{ byteCount }] = await Promise.all([reading, produce(io, client, load)]);
  return byteCount / 1e6;
}

function produceOf(
  name: string,
  title: string,
  { partitions, warmUp, ...load }: ProduceShape & {
    readonly partitions: number;
    readonly warmUp: ProduceShape;
  },
): RatchetLoad {
  return {
    name,
    title,
    partitions,
    figures: ["processorUs", "writtenBytes"],
    warmUp: async (io, client) => void await produce(io, client, warmUp),
    run: (io, client) => produce(io, client, load),
  };
}

const SINGLE = { recordCount: 1, recordBytes: 100, inFlight: 30, acks: 1 } as const;
// So many on one connection come in one piece and are answered after one sync: fewer would leave it to chance how many
// share a sync, and with that how much each costs.
const SYNCED = { ...SINGLE, inFlight: 300, acks: -1 } as const;

/** All loads. */
export const LOADS: readonly RatchetLoad[] = [
  produceOf("produce", "100 × 1 KiB", {
    partitions: 6,
    ...LARGE,
    requestCount: 300,
    warmUp: { ...WARM_UP, requestCount: 60_000 },
  }),
  produceOf("small_batches", "10 × 100 B", {
    partitions: 6,
    ...SMALL,
    requestCount: 5_000,
    warmUp: { ...WARM_UP, requestCount: 60_000 },
  }),
  produceOf("single", "1 × 100 B, 30 in flight", {
    partitions: 6,
    ...SINGLE,
    requestCount: 7_500,
    warmUp: { ...SINGLE, requestCount: 100_000 },
  }),
  produceOf("single_synced", "1 × 100 B, 300 in flight, synced", {
    partitions: 1,
    ...SYNCED,
    requestCount: 15_000,
    warmUp: { ...SYNCED, requestCount: 100_000 },
  }),
  {
    name: "fetch",
    title: "fetch, catching up",
    partitions: 6,
    figures: ["processorUs", "readBytes"],
    async warmUp(io, client) {
      await produce(io, client, { ...LARGE, requestCount: 900 });
      // One batch an answer.
      for (let i = 0; i < 10; i++) await catchUp(io, client, 1);
    },
    run: (io, client) => catchUp(io, client, ANSWER_BYTES),
  },
  {
    name: "tail",
    title: `fetch at the tail, ${TAIL_CONSUMERS} consumers`,
    partitions: 1,
    figures: ["processorUs", "readBytes"],
    warmUp: async (io, client) => {
      await follow(io, client, { ...WARM_UP, requestCount: 15_000 });
    },
    run: (io, client) => follow(io, client, { ...LARGE, requestCount: 100 }),
  },
];
