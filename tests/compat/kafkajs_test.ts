/** kafkajs against the real broker: every codec, groups with a rebalance, seeks by time, exact content. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import kafkajs, { type Admin, type Kafka, type KafkaMessage, type Producer } from "kafkajs";
import { compressFrameSync, decompressFrameSync } from "lz4-napi";
import snappy from "snappy";
import {
  type CodecName,
  codecNames,
  deck,
  type DeckRecord,
  eventually,
  fingerprint,
  type RunningBroker,
  startWeir,
} from "./harness.ts";

const { CompressionCodecs, CompressionTypes, Kafka: KafkaClient, logLevel } = kafkajs;

/** kafkajs brings gzip; the others are plugged in from libraries that share nothing with the broker's framing. */
CompressionCodecs[CompressionTypes.Snappy] = () => ({
  compress: (encoder: { buffer: Buffer }) => snappy.compress(encoder.buffer),
  decompress: (bytes: Buffer) => snappy.uncompress(bytes),
});
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder: { buffer: Buffer }) => Promise.resolve(compressFrameSync(encoder.buffer)),
  decompress: (bytes: Buffer) => Promise.resolve(decompressFrameSync(bytes)),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: (encoder: { buffer: Buffer }) => Promise.resolve(zstdCompressSync(encoder.buffer)),
  decompress: (bytes: Buffer) => Promise.resolve(zstdDecompressSync(bytes)),
});

const compressionTypes: Readonly<Record<CodecName, number>> = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
};

let broker: RunningBroker;
let kafka: Kafka;
let admin: Admin;
let producer: Producer;

beforeAll(async () => {
  broker = await startWeir({ settings: { "group.initial.rebalance.delay.ms": "0" } });
  kafka = new KafkaClient({ brokers: [broker.bootstrap], logLevel: logLevel.NOTHING });
  admin = kafka.admin();
  producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await Promise.all([admin.connect(), producer.connect()]);
}, 30_000);

afterAll(async () => {
  await Promise.all([admin?.disconnect(), producer?.disconnect()]);
  await broker?.stop();
}, 30_000);

function toMessage(record: DeckRecord) {
  const headers = Object.fromEntries(record.headers.map(([name, value]) => [name, value]));
  return { key: record.key, value: record.value, headers };
}

function ofMessage(message: KafkaMessage): string {
  const headers = Object.entries(message.headers ?? {}).map(
    ([name, value]) => [name, Buffer.from(value as Buffer)] as const,
  );
  return fingerprint({ key: message.key, value: message.value, headers });
}

async function consumeAll(topic: string, groupId: string, count: number): Promise<string[]> {
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 200 });
  const seen: string[] = [];
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    eachMessage: ({ message }) => Promise.resolve(void seen.push(ofMessage(message))),
  });
  await eventually(`${count} records of ${topic}`, () => seen.length >= count || undefined);
  await consumer.disconnect();
  return seen;
}

describe("kafkajs", () => {
  for (const codec of codecNames) {
    test(`${codec}: what was produced is consumed, byte for byte`, async () => {
      const topic = `kafkajs-${codec}-${Date.now()}`;
      await admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: true });
      const records = deck(codec);
      for (const record of records) {
        await producer.send({
          topic,
          acks: -1,
          compression: compressionTypes[codec] as never,
          messages: [toMessage(record)],
        });
      }
      const seen = await consumeAll(topic, `group-${topic}`, records.length);
      expect(seen).toEqual(records.map(fingerprint));
    }, 60_000);
  }

  test("groups: two members share the partitions, and commits outlive them", async () => {
    const topic = `kafkajs-group-${Date.now()}`;
    const groupId = `group-${topic}`;
    await admin.createTopics({ topics: [{ topic, numPartitions: 4 }], waitForLeaders: true });
    const owned = new Map<string, number[]>();
    const seen: string[] = [];
    const member = async (name: string) => {
      const consumer = kafka.consumer({ groupId, heartbeatInterval: 200, maxWaitTimeInMs: 200 });
      consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
        owned.set(name, payload.memberAssignment[topic] ?? []);
      });
      await consumer.connect();
      await consumer.subscribe({ topics: [topic], fromBeginning: true });
      await consumer.run({
        eachMessage: ({ message }) => Promise.resolve(void seen.push(message.value!.toString())),
      });
      return consumer;
    };
    const first = await member("first");
    await eventually(
      "the first member owns all",
      () => owned.get("first")?.length === 4 || undefined,
    );
    const second = await member("second");
    await eventually(
      "the members own two each",
      () => (owned.get("first")?.length === 2 && owned.get("second")?.length === 2) || undefined,
    );
    const messages = Array.from({ length: 200 }, (_, i) => ({ key: `k${i}`, value: `v${i}` }));
    await producer.send({ topic, messages });
    await eventually("200 records", () => seen.length >= 200 || undefined);
    expect(seen.toSorted()).toEqual(messages.map(({ value }) => value).toSorted());
    await first.disconnect();
    await eventually("the second owns all", () => owned.get("second")?.length === 4 || undefined);
    await second.disconnect();
    const [offsets] = await admin.fetchOffsets({ groupId, topics: [topic] });
    expect(offsets!.partitions.reduce((sum, { offset }) => sum + Number(offset), 0)).toBe(200);
  }, 60_000);

  test("offsets by timestamp: the first record at or after it", async () => {
    const topic = `kafkajs-time-${Date.now()}`;
    await admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: true });
    const start = Date.now() - 100_000;
    await producer.send({
      topic,
      messages: Array.from(
        { length: 50 },
        (_, i) => ({ value: `v${i}`, timestamp: String(start + 1000 * i) }),
      ),
    });
    for (
      const [timestamp, expected] of [[start, "0"], [start + 1, "1"], [
        start + 49_000,
        "49",
      ]] as const
    ) {
      const [found] = await admin.fetchTopicOffsetsByTimestamp(topic, timestamp);
      expect(found!.offset).toBe(expected);
    }
    const [past] = await admin.fetchTopicOffsetsByTimestamp(topic, start + 49_001);
    expect(past!.offset).toBe("50");
  }, 30_000);

  test("admin: topics, configs, groups and records are made, read and deleted", async () => {
    const topic = `kafkajs-admin-${Date.now()}`;
    const configEntries = [{ name: "retention.ms", value: "12345" }];
    await admin.createTopics({ topics: [{ topic, numPartitions: 2, configEntries }] });
    await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] });
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    expect(topics[0]!.partitions.length).toBe(3);
    const { resources } = await admin.describeConfigs({
      includeSynonyms: true,
      resources: [{ type: 2, name: topic, configNames: ["retention.ms", "cleanup.policy"] }],
    });
    const entries = Object.fromEntries(
      resources[0]!.configEntries.map((e) => [e.configName, e.configValue]),
    );
    expect(entries).toEqual({ "retention.ms": "12345", "cleanup.policy": "delete" });
    await producer.send({
      topic,
      messages: [{ value: "a", partition: 0 }, { value: "b", partition: 0 }],
    });
    // kafkajs knows leaders only of topics that its own cluster object has loaded: the first call loads them.
    const partitions = [{ partition: 0, offset: "1" }];
    await admin.deleteTopicRecords({ topic, partitions }).catch(() =>
      admin.deleteTopicRecords({ topic, partitions })
    );
    const offsets = await admin.fetchTopicOffsets(topic);
    expect(offsets.find((o) => o.partition === 0)).toMatchObject({ low: "1", high: "2" });
    await admin.deleteTopics({ topics: [topic] });
    expect(await admin.listTopics()).not.toContain(topic);
  }, 30_000);
});
