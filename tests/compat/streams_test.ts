/**
 * A Kafka Streams application with `exactly_once_v2`, killed and started again five times in the midst of its work:
 * what it has written is exact, to the record.
 */

import { afterAll, beforeAll, describe, expect } from "bun:test";
import kafkajs, { type Kafka, type Producer } from "kafkajs";
import {
  eventually,
  kafkaJava,
  kafkaTool,
  type RunningBroker,
  runOk,
  scratchDirectory,
  spawnKafka,
  startWeir,
  testWith,
} from "./harness.ts";

const { Kafka: KafkaClient, logLevel, Partitioners } = kafkajs;

const PARTITIONS = 4;
const CUSTOMERS = 20;
const KILLS = 5;
const ORDERS_A_LIFE = 400;
/** So many of them are to come out before the application is killed. */
const SEEN_BEFORE_KILL = 60;
/** Virtual time between two orders, and their windows. */
const ORDER_MS = 50;
const WINDOW_MS = 10_000;
const PATIENCE_MS = 180_000;
/** Kafka's reader ends once nothing has come for so long. */
const SILENCE_MS = 8_000;

let broker: RunningBroker;
let kafka: Kafka;

beforeAll(async () => {
  broker = await startWeir({
    settings: { "group.initial.rebalance.delay.ms": "0", "group.min.session.timeout.ms": "1000" },
  });
  kafka = new KafkaClient({ brokers: [broker.bootstrap], logLevel: logLevel.NOTHING });
}, 30_000);

afterAll(async () => void await broker?.stop(), 30_000);

/** The application as a process. */
class StreamsApp {
  readonly #child;

  constructor(stateDirectory: string) {
    const command = kafkaJava("StreamsApp.java", broker.bootstrap, stateDirectory);
    this.#child = spawnKafka(command, { heapMegabytes: 400 });
  }

  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    this.#child.kill(signal);
    await this.#child.exited;
  }
}

/** Counts what is committed in a topic; kafkajs may show what was aborted too, where transactions overlap. */
async function countRows(
  topic: string,
): Promise<{ readonly count: number; stop(): Promise<void> }> {
  let count = 0;
  const consumer = kafka.consumer({ groupId: `reader of ${topic}`, maxWaitTimeInMs: 100 });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({ eachMessage: () => Promise.resolve(void count++) });
  return {
    get count() {
      return count;
    },
    stop: () => consumer.disconnect(),
  };
}

/** All that is committed in a topic, by Kafka's own reader: `key=value` in the order of each partition. */
async function committedRows(topic: string): Promise<string[]> {
  const output = await runOk(kafkaTool(
    "console-consumer",
    ...["--bootstrap-server", broker.bootstrap, "--topic", topic, "--from-beginning"],
    ...["--isolation-level", "read_committed", "--timeout-ms", String(SILENCE_MS)],
    ...["--formatter-property", "print.key=true", "--formatter-property", "key.separator=="],
  ));
  return output.split("\n").filter((line) => line.includes("="));
}

const customerOf = (order: number) => `customer-${(order * 7) % CUSTOMERS}`;
const regionOf = (customer: string) => `region of ${customer}`;

async function placeOrders(producer: Producer, from: number, firstMs: number): Promise<void> {
  const messages = Array.from({ length: ORDERS_A_LIFE }, (_, index) => {
    const order = from + index;
    return {
      key: customerOf(order),
      value: String(order),
      timestamp: String(firstMs + order * ORDER_MS),
    };
  });
  await producer.send({ topic: "orders", messages });
}

/** Rows that the application should have written. */
function expectedRows(orders: number, firstMs: number) {
  const joined: string[] = [];
  const counts: string[] = [];
  const reached = new Map<string, number>();
  for (let order = 0; order < orders; order++) {
    const customer = customerOf(order);
    joined.push(`${customer}=${order} ${regionOf(customer)}`);
    const atMs = firstMs + order * ORDER_MS;
    const window = `${customer}@${atMs - atMs % WINDOW_MS}`;
    const count = (reached.get(window) ?? 0) + 1;
    reached.set(window, count);
    counts.push(`${window}=${count}`);
  }
  return { joined, counts };
}

/** Rows of each key, in their order. */
function byKey(rows: readonly string[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const row of rows) {
    const key = row.slice(0, row.indexOf("="));
    const known = found.get(key);
    if (known === undefined) found.set(key, [row]);
    else known.push(row);
  }
  return new Map([...found].sort(([a], [b]) => a < b ? -1 : 1));
}

describe("Kafka Streams", () => {
  testWith("Apache Kafka (peers)", "exactly_once_v2 is exact over five kills", async () => {
    const admin = kafka.admin();
    const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
    await Promise.all([admin.connect(), producer.connect()]);
    const topics = ["customers", "orders", "joined", "counts"];
    await admin.createTopics({
      topics: topics.map((topic) => ({ topic, numPartitions: PARTITIONS })),
    });
    const firstMs = Date.now() - 3_600_000;
    await producer.send({
      topic: "customers",
      messages: Array.from({ length: CUSTOMERS }, (_, index) => {
        const key = `customer-${index}`;
        return { key, value: regionOf(key), timestamp: String(firstMs - 1) };
      }),
    });
    const joined = await countRows("joined");
    const stateDirectory = scratchDirectory("streams");
    let orders = 0;
    let app = new StreamsApp(stateDirectory);
    for (let kill = 0; kill < KILLS; kill++) {
      await placeOrders(producer, orders, firstMs);
      const enough = joined.count + SEEN_BEFORE_KILL;
      orders += ORDERS_A_LIFE;
      await eventually(
        `${enough} orders are joined`,
        () => joined.count >= enough ? true : undefined,
        PATIENCE_MS,
      );
      await app.end("SIGKILL");
      app = new StreamsApp(stateDirectory);
    }
    await placeOrders(producer, orders, firstMs);
    orders += ORDERS_A_LIFE;
    await eventually("every order has been taken", async () => {
      const [taken, placed] = await Promise.all([
        admin.fetchOffsets({ groupId: "shop", topics: ["orders"] }),
        admin.fetchTopicOffsets("orders"),
      ]);
      const offsets = new Map(taken[0]?.partitions.map((one) => [one.partition, one.offset]));
      return placed.every((one) => offsets.get(one.partition) === one.high) ? true : undefined;
    }, PATIENCE_MS);
    await app.end("SIGTERM");
    const expected = expectedRows(orders, firstMs);
    const [joinedRows, countedRows] = await Promise.all([
      committedRows("joined"),
      committedRows("counts"),
    ]);
    expect(byKey(joinedRows)).toEqual(byKey(expected.joined));
    expect(byKey(countedRows)).toEqual(byKey(expected.counts));
    await Promise.all([joined.stop(), admin.disconnect(), producer.disconnect()]);
  }, 600_000);
});
