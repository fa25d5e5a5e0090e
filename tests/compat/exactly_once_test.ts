/**
 * Exactly once by Apache Kafka's clients: members of a group copy a topic within transactions; one is killed, and
 * comes back under its transactional id, while another joins. Each record is in the copy once.
 */

import { afterAll, beforeAll, describe, expect } from "bun:test";
import kafkajs from "kafkajs";
import {
  eventually,
  kafkaJava,
  type RunningBroker,
  spawnKafka,
  startWeir,
  testWith,
} from "./harness.ts";
import { linesOf } from "./lines_of.ts";

const { Kafka, logLevel } = kafkajs;
const PARTITIONS = 4;
const RECORDS = 600;

let broker: RunningBroker;

beforeAll(async () => {
  broker = await startWeir({
    settings: {
      "group.initial.rebalance.delay.ms": "0",
      // The one that is killed is given up sooner.
      "group.consumer.min.session.timeout.ms": "3000",
      "group.consumer.session.timeout.ms": "6000",
      "group.consumer.min.heartbeat.interval.ms": "500",
      "group.consumer.heartbeat.interval.ms": "1000",
    },
  });
}, 30_000);

afterAll(async () => void await broker?.stop(), 30_000);

/** A member that copies; `committed` says how many transactions it has committed. */
function startCopier(topic: string, protocol: string, id: string) {
  const name = `${topic}-${id}`;
  const command = kafkaJava("ExactlyOnceCopy.java", broker.bootstrap, topic, protocol, name);
  const child = spawnKafka(command, { heapMegabytes: 512, stdout: "pipe" });
  const copier = { committed: 0, kill: () => (child.kill("SIGKILL"), child.exited) };
  void (async () => {
    for await (const line of linesOf(child.stdout)) {
      if (line.startsWith("committed ")) copier.committed++;
    }
  })();
  return copier;
}

describe("exactly once", () => {
  for (const protocol of ["classic", "consumer"]) {
    testWith("Apache Kafka (peers)", `a group of protocol ${protocol} copies a topic`, async () => {
      const kafka = new Kafka({ brokers: [broker.bootstrap], logLevel: logLevel.NOTHING });
      const admin = kafka.admin();
      await admin.connect();
      const topic = `exact-${protocol}-${Date.now()}`;
      const topics = [topic, `${topic}-copy`];
      await admin.createTopics({
        topics: topics.map((one) => ({ topic: one, numPartitions: PARTITIONS })),
      });
      const producer = kafka.producer();
      await producer.connect();
      const values = Array.from({ length: RECORDS }, (_, at) => `v${at}`);
      await producer.send({
        topic,
        messages: values.map((value, at) => ({ value, partition: at % PARTITIONS })),
      });
      await producer.disconnect();
      const copiers: ReturnType<typeof startCopier>[] = [];
      const start = (id: string) => {
        const copier = startCopier(topic, protocol, id);
        copiers.push(copier);
        return copier;
      };
      try {
        const first = start("one");
        await eventually("the first one copies", () => first.committed >= 3 || undefined, 60_000);
        start("two");
        await first.kill();
        // Under the same transactional id.
        start("one");
        await eventually("the group has read everything", async () => {
          const [{ partitions } = { partitions: [] }] = await admin.fetchOffsets({
            groupId: topic,
            topics: [topic],
          });
          const sum = partitions.reduce((all, { offset }) => all + Math.max(0, Number(offset)), 0);
          return sum >= RECORDS || undefined;
        }, 120_000);
      } finally {
        await Promise.all(copiers.map((copier) => copier.kill()));
      }
      const consumer = kafka.consumer({ groupId: `${topic}-reader` });
      const seen: string[] = [];
      await consumer.connect();
      await consumer.subscribe({ topic: topics[1]!, fromBeginning: true });
      await consumer.run({
        eachMessage: ({ message }) => Promise.resolve(void seen.push(message.value!.toString())),
      });
      await eventually("the copy is read", () => seen.length >= RECORDS || undefined, 60_000);
      expect(seen.toSorted()).toEqual(values.toSorted());
      await Promise.all([consumer.disconnect(), admin.disconnect()]);
    }, 300_000);
  }
});
