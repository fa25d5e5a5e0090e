import { describe, expect, test } from "bun:test";
import { CompressionCodec } from "../../../protocol/compression.ts";
import { ErrorCode, errorName, isRetriable } from "../../../protocol/errors.ts";
import { MAGIC_AT } from "../../../protocol/record_batch.ts";
import { buildBatch } from "../../../protocol/records.ts";
import { batch, DataHarness, UNKNOWN_TOPIC_ID } from "../partitions/harness.ts";

const PRODUCER = { producerId: 7, producerEpoch: 0, baseSequence: 0 };

function joined(...batches: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(batches));
}

function damaged(): Uint8Array {
  const bytes = batch();
  bytes[bytes.length - 1]! ^= 1;
  return bytes;
}

function withMagic(magic: number): Uint8Array {
  const bytes = batch();
  bytes[MAGIC_AT] = magic;
  return bytes;
}

function keyless(): Uint8Array {
  const timestamp = Date.UTC(2026, 0, 1);
  return buildBatch({ records: [{ key: null, value: new Uint8Array(1), timestamp }] });
}

function keylessLarge(): Uint8Array {
  const record = { key: null, value: new Uint8Array(800_000), timestamp: Date.UTC(2026, 0, 1) };
  return buildBatch({ records: [record], compression: CompressionCodec.zstd });
}

async function started(): Promise<DataHarness> {
  const node = await DataHarness.start();
  await node.makeTopic("a", { configs: { "max.message.bytes": "2000" } });
  await node.makeTopic("compacted", { configs: { "cleanup.policy": "compact" } });
  await node.makeTopic("__consumer_offsets");
  return node;
}

describe("produceApi", () => {
  // What Apache Kafka 4.3 answers to the same bytes.
  const CASES: readonly [
    what: string,
    topic: string,
    records: Uint8Array | null,
    options: Parameters<DataHarness["produce"]>[2],
    expected: keyof typeof ErrorCode,
  ][] = [
    ["one batch", "a", batch(3), {}, "NONE"],
    ["one batch, acks=1", "a", batch(3), { acks: 1 }, "NONE"],
    ["one batch, oldest version", "a", batch(3), { version: 3 }, "NONE"],
    ["acks=2", "a", batch(), { acks: 2 }, "INVALID_REQUIRED_ACKS"],
    ["acks=-2", "a", batch(), { acks: -2 }, "INVALID_REQUIRED_ACKS"],
    ["two batches", "a", joined(batch(), batch()), {}, "INVALID_RECORD"],
    ["no batch", "a", new Uint8Array(0), {}, "INVALID_RECORD"],
    ["null records", "a", null, {}, "INVALID_RECORD"],
    ["a cut batch", "a", batch(3).subarray(0, 80), {}, "INVALID_RECORD"],
    ["a damaged batch", "a", damaged(), {}, "CORRUPT_MESSAGE"],
    ["magic 1", "a", withMagic(1), {}, "INVALID_RECORD"],
    ["magic 0", "a", withMagic(0), {}, "INVALID_RECORD"],
    ["magic 3", "a", withMagic(3), {}, "CORRUPT_MESSAGE"],
    ["a control batch", "a", batch(1, { control: true }), {}, "INVALID_RECORD"],
    ["zstd in version 6", "a", batch(1, { compression: CompressionCodec.zstd }), {
      version: 6,
    }, "UNSUPPORTED_COMPRESSION_TYPE"],
    ["zstd in version 7", "a", batch(1, { compression: CompressionCodec.zstd }), {
      version: 7,
    }, "NONE"],
    ["lz4 in version 3", "a", batch(1, { compression: CompressionCodec.lz4 }), {
      version: 3,
    }, "NONE"],
    ["2,000 bytes and more", "a", batch(1, { valueBytes: 2000 }), {}, "MESSAGE_TOO_LARGE"],
    ["an unknown topic", "nope", batch(), {}, "UNKNOWN_TOPIC_OR_PARTITION"],
    ["an unknown partition", "a", batch(), { index: 1 }, "UNKNOWN_TOPIC_OR_PARTITION"],
    ["a negative partition", "a", batch(), { index: -1 }, "UNKNOWN_TOPIC_OR_PARTITION"],
    ["an unknown topic id", "a", batch(), {
      version: 13,
      topicId: UNKNOWN_TOPIC_ID,
    }, "UNKNOWN_TOPIC_ID"],
    ["an internal topic", "__consumer_offsets", batch(), {}, "INVALID_TOPIC_EXCEPTION"],
    ["an internal topic, by Kafka's admin", "__consumer_offsets", batch(), {
      clientId: "__admin_client",
    }, "NONE"],
    ["a keyless record, compacted", "compacted", keyless(), {}, "INVALID_RECORD"],
    ["a keyed record, compacted", "compacted", batch(), {}, "NONE"],
    ["a transactional id alone", "a", batch(), { transactionalId: "t" }, "NONE"],
    [
      "a transactional batch without an id",
      "a",
      batch(1, { ...PRODUCER, transactional: true }),
      {},
      "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    ],
    [
      "a transactional batch without a coordinator",
      "a",
      batch(1, { ...PRODUCER, transactional: true }),
      { transactionalId: "t" },
      "NOT_ENOUGH_REPLICAS",
    ],
    ["an idempotent batch", "a", batch(1, PRODUCER), {}, "NONE"],
    [
      "a gap in sequences",
      "a",
      joined(batch(1, { ...PRODUCER, producerId: 9, baseSequence: 5 })),
      {},
      "NONE",
    ],
  ];
  test.each(CASES)(
    "%s to %s is answered as Kafka does",
    async (_, topic, records, options, expected) => {
      const node = await started();
      const answer = await node.produced(topic, records, options);
      expect(errorName(answer.errorCode as ErrorCode)).toBe(expected);
      expect(answer.baseOffset).toBe(expected === "NONE" ? 0 : -1);
      const appended = expected === "NONE";
      if (topic === "a") expect(node.partition("a").log.endOffset > 0).toBe(appended);
    },
  );

  test.each([3, 9, 10, 12])(
    "version %d: another leader is answered, and named where the version can",
    async (version) => {
      const node = await started();
      const partition = node.partition("a");
      partition.updateImage({ ...partition.image, leader: 2 });
      const answer = await node.produced("a", batch(), { version });
      expect(answer.errorCode).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
      expect(answer.currentLeader.leaderId).toBe(version < 10 ? -1 : 2);
    },
  );

  // Kafka looks at the shape of a request before it looks for the log.
  test.each([
    ["a control batch", batch(1, { control: true }), 0],
    ["a batch out of sequence", batch(1, { ...PRODUCER, baseSequence: 5 }), 0],
    ["no batch", new Uint8Array(0), -1],
    ["a cut batch", batch(3).subarray(0, 80), -1],
    ["a damaged batch", damaged(), -1],
    ["2,000 bytes and more", batch(1, { valueBytes: 2000 }), -1],
  ])("refusing %s tells the log start offset where Kafka does", async (_, records, expected) => {
    const node = await started();
    await node.produced("a", batch(1, PRODUCER));
    const answer = await node.produced("a", records);
    expect(answer.errorCode).not.toBe(ErrorCode.NONE);
    expect(answer.logStartOffset).toBe(expected);
  });

  test("names the refused records, and the log start offset with them", async () => {
    const node = await started();
    const answer = await node.produced("compacted", keyless());
    expect(answer.recordErrors.map(({ batchIndex }) => batchIndex)).toEqual([0]);
    expect(answer.recordErrors[0]!.batchIndexErrorMessage).toContain("without key");
    expect(answer.logStartOffset).toBe(0);
  });

  test("acks=1 is answered at once, before any sync", async () => {
    const node = await started();
    const asked = node.produce("a", batch(), { acks: 1 });
    expect(asked.isSynchronous).toBe(true);
    expect(node.partition("a").log.syncedOffset).toBe(0 as never);
    expect((await asked.answer)!.responses[0]!.partitionResponses[0]!.baseOffset).toBe(0);
  });

  test("acks=1 on a topic with flush.messages=1 is answered after the sync", async () => {
    const node = await started();
    await node.makeTopic("strict", { configs: { "flush.messages": "1" } });
    const asked = node.produce("strict", batch(), { acks: 1 });
    expect(asked.isSynchronous).toBe(false);
    await node.run(asked.answer);
    expect(node.partition("strict").log.syncedOffset).toBe(1 as never);
  });

  test("acks=all is answered at once on a topic with flush.messages above 1, as Kafka does", async () => {
    const node = await started();
    await node.makeTopic("loose", { configs: { "flush.messages": "1000" } });
    const asked = node.produce("loose", batch(), { acks: -1 });
    expect(asked.isSynchronous).toBe(true);
    expect(node.partition("loose").highWatermark).toBe(1 as never);
    expect(node.partition("loose").log.syncedOffset).toBe(0 as never);
  });

  test("acks=all is answered only when the records are on stable storage", async () => {
    const node = await started();
    const { log } = node.partition("a");
    const asked = node.produce("a", batch(2));
    let answered = false;
    void asked.answer.then(() => answered = true);
    for (let step = 0; step < 100 && !answered; step++) {
      expect(answered).toBe(log.syncedOffset >= 2);
      await node.clock.advance(0.1);
    }
    expect(answered).toBe(true);
    expect(log.syncedOffset).toBe(2 as never);
  });

  test("a batch that a worker thread prepares is answered as any other, when its time comes", async () => {
    const node = await started();
    const bomb = () =>
      batch(1, { compression: CompressionCodec.zstd, valueBytes: 800_000, ...PRODUCER });
    for (const acks of [0, 1, -1]) {
      const asked = node.produce("a", bomb(), { acks });
      expect(asked.isSynchronous).toBe(false);
      const answer = await node.run(asked.answer);
      const answered = answer?.responses[0]?.partitionResponses[0];
      if (acks === 0) expect(answered).toBeUndefined();
      else expect(answered).toMatchObject({ errorCode: 0, baseOffset: 0, errorMessage: null });
      if (acks === -1) expect(node.partition("a").log.syncedOffset).toBe(1 as never);
    }
    const refused = node.produced("compacted", keylessLarge());
    expect(await refused).toMatchObject({
      errorCode: ErrorCode.INVALID_RECORD,
      baseOffset: -1,
      logStartOffset: 0,
      recordErrors: [{ batchIndex: 0 }],
    });
    node.disk.faults.sync = (path) => path.includes("/a-0/") ? "EIO" : null;
    const lost = await node.produced("a", batch(1, { compression: 4, valueBytes: 800_000 }));
    expect(lost).toMatchObject({ errorCode: ErrorCode.KAFKA_STORAGE_ERROR, baseOffset: -1 });
  });

  test("one sync answers all appends that waited for it", async () => {
    const node = await started();
    const before = node.disk.calls.sync;
    const asked = Array.from({ length: 50 }, () => node.produce("a", batch()));
    for (const { answer } of asked) {
      expect((await node.run(answer))!.responses[0]!.partitionResponses[0]!.errorCode).toBe(0);
    }
    expect(node.disk.calls.sync - before).toBeLessThanOrEqual(3);
    expect(node.replicaManager.delayedAppends.size).toBe(0);
  });

  test("a sync that takes too long gives REQUEST_TIMED_OUT at the deadline, once", async () => {
    const node = await DataHarness.start({ maxSyncMs: 60_000 });
    await node.makeTopic("a");
    const asked = node.produce("a", batch(), { timeoutMs: 100 });
    let code = -2;
    void asked.answer.then((answer) => {
      code = answer!.responses[0]!.partitionResponses[0]!.errorCode;
    });
    await node.clock.advance(99);
    expect(code).toBe(-2);
    await node.clock.advance(2);
    expect(code).toBe(ErrorCode.REQUEST_TIMED_OUT);
    expect(node.replicaManager.delayedAppends.size).toBe(0);
  });

  test("a sync that fails gives KAFKA_STORAGE_ERROR, and so does all that follows", async () => {
    const node = await started();
    node.disk.faults.sync = () => "EIO";
    const answer = await node.produced("a", batch());
    expect(answer.errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    const next = await node.produced("a", batch(), { acks: 1 });
    expect(next.errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
  });

  test("an idempotent producer's duplicate gets the first answer; a gap is refused", async () => {
    const node = await started();
    const first = await node.produced("a", batch(2, PRODUCER));
    await node.produced("a", batch(3));
    const again = await node.produced("a", batch(2, PRODUCER));
    expect([first.baseOffset, again.baseOffset]).toEqual([0, 0]);
    expect(node.partition("a").log.endOffset).toBe(5 as never);
    const gap = await node.produced("a", batch(1, { ...PRODUCER, baseSequence: 4 }));
    expect(gap.errorCode).toBe(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER);
  });

  test("acks=0 has no answer; an error ends the connection, success does not", async () => {
    const node = await started();
    const fine = node.produce("a", batch(), { acks: 0 });
    expect(await fine.answer).toBeNull();
    expect(fine.context.closeReason).toBeNull();
    const refused = node.produce("nope", batch(), { acks: 0 });
    expect(await refused.answer).toBeNull();
    expect(refused.context.closeReason).toContain("nope-0");
  });

  test("a topic is found by its id from version 13 on", async () => {
    const node = await started();
    const topicId = node.controller.image().topicByName("a")!.id;
    const answer = await node.run(node.produce("a", batch(), { version: 13, topicId }).answer);
    expect(answer!.responses[0]!.topicId).toBe(topicId);
    expect(answer!.responses[0]!.partitionResponses[0]!.errorCode).toBe(ErrorCode.NONE);
  });

  test("min.insync.replicas counts no more replicas than there are", async () => {
    const node = await started();
    await node.makeTopic("two", { configs: { "min.insync.replicas": "2" } });
    expect((await node.produced("two", batch())).errorCode).toBe(ErrorCode.NONE);
  });

  test("LogAppendTime is told to the producer", async () => {
    const node = await started();
    await node.makeTopic("t", { configs: { "message.timestamp.type": "LogAppendTime" } });
    const answer = await node.produced("t", batch());
    expect(Math.abs(answer.logAppendTimeMs - node.clock.wallMs())).toBeLessThan(100);
  });

  test("partitions of one request answer each for itself", async () => {
    const node = await started();
    const asked = node.produce("a", batch());
    const mixed = node.produce("a", damaged());
    expect((await node.run(mixed.answer))!.responses[0]!.partitionResponses[0]!.errorCode)
      .toBe(ErrorCode.CORRUPT_MESSAGE);
    expect((await node.run(asked.answer))!.responses[0]!.partitionResponses[0]!.errorCode)
      .toBe(ErrorCode.NONE);
  });

  test("a full disk refuses appends with an error to try again on, reads go on, and room heals it", async () => {
    const node = await started();
    await node.produced("a", batch(3));
    const { capacityBytes } = node.disk;
    node.disk.capacityBytes = 0;
    const refused = await node.produced("a", batch(3));
    expect(refused.errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    expect(isRetriable(refused.errorCode as ErrorCode)).toBe(true);
    const found = await node.fetched("a", {}, { maxWaitMs: 0 });
    expect([found.errorCode, found.highWatermark]).toEqual([ErrorCode.NONE, 3]);
    node.disk.capacityBytes = capacityBytes;
    await node.clock.advance(100);
    expect(await node.produced("a", batch(3))).toMatchObject({ errorCode: 0, baseOffset: 3 });
  });
});
