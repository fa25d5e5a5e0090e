/**
 * Compaction in a real broker: what it leaves is read by Kafka's own `dump-log`, and groups find their offsets in
 * what is left of theirs.
 */

import { expect } from "bun:test";
import { CompressionCodec } from "../../protocol/compression.ts";
import { buildBatch } from "../../protocol/records.ts";
import { createTopicsRequest, createTopicsResponse } from "../../protocol/schemas/create_topics.ts";
import {
  findCoordinatorRequest,
  findCoordinatorResponse,
} from "../../protocol/schemas/find_coordinator.ts";
import { offsetCommitRequest, offsetCommitResponse } from "../../protocol/schemas/offset_commit.ts";
import { offsetFetchRequest, offsetFetchResponse } from "../../protocol/schemas/offset_fetch.ts";
import { produceRequest, produceResponse } from "../../protocol/schemas/produce.ts";
import {
  eventually,
  type RunningBroker,
  scratchDirectory,
  startWeir,
  testWith,
} from "./harness.ts";
import { expectKafkaReadsAll, KafkaDriver } from "./kafka_peer.ts";
import { Wire } from "./wire.ts";

const TOPIC = "table";
const GROUP = "table-readers";
const COMMITS = 1200;
/** A segment of `__consumer_offsets` is a mebibyte here, which these fill. */
const NOTE = "n".repeat(2000);
const SETTINGS = {
  "log.cleaner.backoff.ms": "100",
  "log.cleaner.min.cleanable.ratio": "0.01",
  "log.segment.bytes": "1048576",
  "offsets.topic.segment.bytes": "1048576",
  "offsets.topic.num.partitions": "1",
};

async function createTopic(wire: Wire): Promise<void> {
  const answer = await wire.send(createTopicsRequest, createTopicsResponse, 5, {
    topics: [{
      name: TOPIC,
      numPartitions: 1,
      replicationFactor: 1,
      assignments: [],
      configs: [{ name: "cleanup.policy", value: "compact" }],
    }],
    timeoutMs: 30_000,
    validateOnly: false,
  });
  expect(answer.topics[0]!.errorCode).toBe(0);
}

/** Batches of every codec, of two idempotent producers and of none, with tombstones and headers. */
async function produceAll(wire: Wire): Promise<void> {
  const codecs = Object.values(CompressionCodec);
  const sequences = [0, 0];
  for (let batch = 0; batch < 400; batch++) {
    const producer = batch % 3;
    const records = Array.from({ length: 20 }, (_, i) => ({
      key: Buffer.from(`key-${(batch * 7 + i * 13) % 150}`),
      value: (batch + i) % 9 === 0 ? null : crypto.getRandomValues(new Uint8Array(500)),
      timestamp: Date.now(),
      ...(i % 5 === 0 && { headers: [{ key: "batch", value: Buffer.from(String(batch)) }] }),
    }));
    const bytes = buildBatch({
      records,
      compression: codecs[batch % codecs.length]!,
      ...(producer < 2 && {
        producerId: 900 + producer,
        producerEpoch: 0,
        baseSequence: sequences[producer]!,
      }),
    });
    if (producer < 2) sequences[producer]! += records.length;
    const answer = await wire.send(produceRequest, produceResponse, 9, {
      transactionalId: null,
      acks: -1,
      timeoutMs: 30_000,
      topicData: [{ name: TOPIC, partitionData: [{ index: 0, records: bytes }] }],
    });
    expect(answer.responses[0]!.partitionResponses[0]!.errorCode).toBe(0);
  }
}

async function commit(wire: Wire, committedOffset: number): Promise<number> {
  const answer = await wire.send(offsetCommitRequest, offsetCommitResponse, 7, {
    groupId: GROUP,
    generationIdOrMemberEpoch: -1,
    memberId: "",
    groupInstanceId: null,
    topics: [{
      name: TOPIC,
      partitions: [{
        partitionIndex: 0,
        committedOffset,
        committedLeaderEpoch: -1,
        committedMetadata: NOTE,
      }],
    }],
  });
  return answer.topics[0]!.partitions[0]!.errorCode;
}

async function committed(broker: RunningBroker): Promise<number | undefined> {
  const wire = await Wire.connect(broker.bootstrap);
  const answer = await wire.send(offsetFetchRequest, offsetFetchResponse, 5, {
    groupId: GROUP,
    topics: [{ name: TOPIC, partitionIndexes: [0] }],
  });
  wire.close();
  return answer.errorCode === 0 ? answer.topics[0]?.partitions[0]?.committedOffset : undefined;
}

testWith(
  "Apache Kafka (peers)",
  "compaction: dump-log reads what is left, and groups find their offsets in it",
  async () => {
    const dataDirectory = scratchDirectory("compaction");
    let broker = await startWeir({ dataDirectory, settings: SETTINGS });
    const wire = await Wire.connect(broker.bootstrap);
    await createTopic(wire);
    await produceAll(wire);
    await wire.send(findCoordinatorRequest, findCoordinatorResponse, 2, { key: GROUP, keyType: 0 });
    await eventually("a coordinator", async () => await commit(wire, 0) === 0 || undefined);
    for (let i = 1; i <= COMMITS; i++) expect(await commit(wire, i)).toBe(0);
    wire.close();
    for (const partition of [`${TOPIC}-0`, "__consumer_offsets-0"]) {
      const done = new RegExp(`Log is compacted.*${partition}`);
      await eventually(partition, () => done.test(broker.output()) || undefined);
    }
    await broker.kill();
    broker = await startWeir({ dataDirectory, settings: SETTINGS });
    expect(await eventually("the offset", () => committed(broker))).toBe(COMMITS);
    expect(await broker.stop()).toBe(0);
    expect(broker.output()).not.toMatch(/damaged|cannot be read/);
    const driver = new KafkaDriver();
    try {
      const { records } = await expectKafkaReadsAll(driver, dataDirectory);
      expect(records).toBeGreaterThan(150);
    } finally {
      await driver.close();
    }
  },
  180_000,
);
