/**
 * Transactions of real clients against the real broker: what is committed is read, what is aborted is not, a zombie is
 * fenced, offsets go with the records. Then Apache Kafka's tools look at what is left.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import kafkajs from "kafkajs";
import {
  eventually,
  kafkaJava,
  kafkaTool,
  partitionDirectories,
  type RunningBroker,
  runOk,
  startWeir,
  testWith,
} from "./harness.ts";

const { Kafka, logLevel } = kafkajs;

let broker: RunningBroker;

beforeAll(async () => {
  broker = await startWeir({ settings: { "group.initial.rebalance.delay.ms": "0" } });
}, 30_000);

afterAll(async () => void await broker?.stop(), 30_000);

const lines = (text: string) => text.trimEnd().split("\n");

/** Values that an even transaction wrote, of as many partitions each. */
function evenOnes(transactions: number, partitions: number, prefix: string): string[] {
  const values: string[] = [];
  for (let i = 0; i < transactions; i += 2) {
    for (let partition = 0; partition < partitions; partition++) {
      values.push(`${prefix}${i}-${partition}`);
    }
  }
  return values.toSorted();
}

describe("transactions", () => {
  testWith(
    "Apache Kafka (peers)",
    "Java: commits, aborts, a zombie, offsets, a time-out",
    async () => {
      const output = lines(await runOk(kafkaJava("Transactions.java", broker.bootstrap)));
      // As Apache Kafka 4.3 has it.
      expect(output).toEqual([
        `committed: [${evenOnes(20, 3, "committed").join(", ")}]`,
        "all: 60",
        "zombie sends: InvalidProducerEpochException",
        "zombie commits: InvalidProducerEpochException",
        "after the zombie: [second-0]",
        "copied: 31, read: 31",
        "group has committed: true",
        "open: Ongoing 1",
        "timed out: CompleteAbort",
        "too late: InvalidTxnStateException",
        "listed: [id CompleteCommit, slow CompleteAbort]",
        "read: 31",
      ]);
    },
  );

  testWith("python confluent-kafka", "librdkafka: commits, aborts, a zombie, offsets", async () => {
    const script = join(import.meta.dir, "confluent_kafka_transactions.py");
    const steps = lines(await runOk(["python3", script, broker.bootstrap])).map((line) =>
      JSON.parse(line)
    );
    const values = evenOnes(10, 2, "");
    expect(steps).toEqual([
      { step: "committed", values },
      { step: "zombie", fenced: true, fatal: true, name: "_FENCED" },
      { step: "copied", values, committed: [true, true] },
    ]);
  });

  test("kafkajs: commits, aborts, a zombie, offsets", async () => {
    const kafka = new Kafka({ brokers: [broker.bootstrap], logLevel: logLevel.NOTHING });
    const admin = kafka.admin();
    await admin.connect();
    const topic = `kafkajs-transactions-${Date.now()}`;
    await admin.createTopics({ topics: [{ topic, numPartitions: 2 }] });
    const options = { transactionalId: topic, idempotent: true, maxInFlightRequests: 1 };
    const first = kafka.producer(options);
    await first.connect();
    for (let i = 0; i < 6; i++) {
      const transaction = await first.transaction();
      const messages = [0, 1].map((partition) => ({ partition, value: `${i}-${partition}` }));
      await transaction.send({ topic, messages });
      await transaction.sendOffsets({
        consumerGroupId: topic,
        topics: [{ topic, partitions: [{ partition: 0, offset: String(i) }] }],
      });
      if (i % 2 === 0) await transaction.commit();
      else await transaction.abort();
    }
    const open = await first.transaction();
    await open.send({ topic, messages: [{ partition: 0, value: "zombie" }] });
    const second = kafka.producer(options);
    await second.connect();
    await (await second.transaction()).abort();
    await expect(open.commit()).rejects.toThrow();
    const [{ partitions } = { partitions: [] }] = await admin.fetchOffsets({
      groupId: topic,
      topics: [topic],
    });
    expect(partitions.find(({ partition }) => partition === 0)?.offset).toBe("4");
    const seen: string[] = [];
    const consumer = kafka.consumer({ groupId: `${topic}-reader` });
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      eachMessage: ({ message }) => Promise.resolve(void seen.push(message.value!.toString())),
    });
    await eventually("all is read", () => seen.length >= 6 || undefined);
    expect(seen.toSorted()).toEqual(evenOnes(6, 2, ""));
    await Promise.all([first, second, consumer, admin].map((one) => one.disconnect()));
  }, 60_000);

  testWith("Apache Kafka (peers)", "dump-log reads __transaction_state", async () => {
    const admin = new Kafka({ brokers: [broker.bootstrap], logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    const producer = new Kafka({ brokers: [broker.bootstrap], logLevel: logLevel.NOTHING })
      .producer({ transactionalId: "dumped", idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    const topic = `dumped-${Date.now()}`;
    await admin.createTopics({ topics: [{ topic }] });
    const transaction = await producer.transaction();
    await transaction.send({ topic, messages: [{ value: "v" }] });
    await transaction.commit();
    await Promise.all([admin.disconnect(), producer.disconnect()]);
    const files = partitionDirectories(broker.dataDirectory, "__transaction_state")
      .map((directory) => join(directory, "00000000000000000000.log"));
    const dump = lines(
      await runOk(kafkaTool("dump-log", "--transaction-log-decoder", "--files", files.join(","))),
    ).filter((line) => line.includes('"dumped"'));
    const states = dump.map((line) => (
      JSON.parse(/payload: ?(\{.*\})/.exec(line)![1]!).data.transactionStatus as number
    ));
    expect(states).toEqual([0, 1, 2, 4]);
  });
});
