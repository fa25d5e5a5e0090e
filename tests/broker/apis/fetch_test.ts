import { describe, expect, test } from "bun:test";
import { ErrorCode, errorName } from "../../../protocol/errors.ts";
import { batches, readBaseOffset, readLastOffset } from "../../../protocol/record_batch.ts";
import { batch, DataHarness } from "../partitions/harness.ts";

async function started(topics: readonly string[] = ["a"]): Promise<DataHarness> {
  const node = await DataHarness.start();
  for (const topic of topics) await node.makeTopic(topic);
  return node;
}

function offsetsOf(records: Uint8Array | null): [number, number][] {
  return [...batches(records!)].map((at) => [
    readBaseOffset(records!, at),
    readLastOffset(records!, at),
  ]);
}

/** Batches of 3, 4 and 5 records, committed. */
async function filled(): Promise<DataHarness> {
  const node = await started();
  for (const count of [3, 4, 5]) await node.produced("a", batch(count, { valueBytes: 100 }));
  return node;
}

describe("fetchApi", () => {
  const CASES: readonly [
    what: string,
    partition: Parameters<DataHarness["fetched"]>[1],
    expected: keyof typeof ErrorCode,
    offsets: [number, number][],
  ][] = [
    ["the start", {}, "NONE", [[0, 2], [3, 6], [7, 11]]],
    ["the middle of a batch", { fetchOffset: 4 }, "NONE", [[3, 6], [7, 11]]],
    ["the end", { fetchOffset: 12 }, "NONE", []],
    ["past the end", { fetchOffset: 13 }, "OFFSET_OUT_OF_RANGE", []],
    ["a negative offset", { fetchOffset: -1 }, "OFFSET_OUT_OF_RANGE", []],
    ["the first batch only, whole", { partitionMaxBytes: 1 }, "NONE", [[0, 2]]],
    ["no bytes, the first batch all the same", { partitionMaxBytes: 0 }, "NONE", [[0, 2]]],
    ["the right epoch", { currentLeaderEpoch: 0, fetchOffset: 7 }, "NONE", [[7, 11]]],
    ["an epoch to come", { currentLeaderEpoch: 1 }, "UNKNOWN_LEADER_EPOCH", []],
    ["an unknown partition", { partition: 1 }, "UNKNOWN_TOPIC_OR_PARTITION", []],
    ["a last epoch that fits", { lastFetchedEpoch: 0, fetchOffset: 7 }, "NONE", [[7, 11]]],
    ["a last epoch nobody knows", { lastFetchedEpoch: 3 }, "OFFSET_OUT_OF_RANGE", []],
  ];
  test.each(CASES)("%s is answered as Kafka does", async (_, partition, expected, offsets) => {
    const node = await filled();
    const found = await node.fetched("a", partition, { maxWaitMs: 0 });
    expect(errorName(found.errorCode as ErrorCode)).toBe(expected);
    expect(offsetsOf(found.records)).toEqual(offsets);
    const isRead = expected === "NONE";
    expect([found.highWatermark, found.lastStableOffset, found.logStartOffset])
      .toEqual(isRead ? [12, 12, 0] : [-1, -1, -1]);
  });

  test("a log that ends before the client's position says where they part", async () => {
    const node = await filled();
    const found = await node.fetched("a", { fetchOffset: 40, lastFetchedEpoch: 0 });
    expect(found.errorCode).toBe(ErrorCode.NONE);
    expect(found.divergingEpoch).toEqual({ epoch: 0, endOffset: 12 });
  });

  test("an epoch without records is known: a consumer at the end of an empty log stays there", async () => {
    const node = await started();
    const found = await node.fetched("a", { currentLeaderEpoch: 0, lastFetchedEpoch: 0 }, {
      maxWaitMs: 0,
    });
    expect(found.errorCode).toBe(ErrorCode.NONE);
    expect(found.divergingEpoch).toEqual({ epoch: -1, endOffset: -1 });
  });

  test("an unknown topic and an unknown topic id", async () => {
    const node = await filled();
    const byName = await node.fetched("nope", {}, {}, 12);
    expect(byName.errorCode).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    const byId = await node.fetched("nope", {}, {}, 13);
    expect(byId.errorCode).toBe(ErrorCode.UNKNOWN_TOPIC_ID);
    const known = await node.fetched("a", {}, {}, 18);
    expect(offsetsOf(known.records)).toHaveLength(3);
  });

  test("a follower is refused until there is replication", async () => {
    const node = await filled();
    const old = await node.fetched("a", {}, { replicaId: 2 }, 12);
    expect(old.errorCode).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    const replicaState = { replicaId: 2, replicaEpoch: 1 };
    const current = await node.fetched("a", {}, { replicaState }, 17);
    expect(current.errorCode).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  });

  test("maxBytes holds over all partitions; the first batch found is whole", async () => {
    const node = await started(["a", "b", "c"]);
    for (const topic of ["b", "c"]) await node.produced(topic, batch(1, { valueBytes: 900 }));
    const topics = ["a", "b", "c"].map((topic) => ({ topic, partitions: [{}] }));
    const sizes = async (maxBytes: number) => {
      const answer = await node.run(node.fetch({ topics, maxBytes }).answer);
      return answer!.responses.map(({ partitions }) => partitions[0]!.records!.length > 0);
    };
    expect(await sizes(10)).toEqual([false, true, false]);
    expect(await sizes(1500)).toEqual([false, true, false]);
    expect(await sizes(3000)).toEqual([false, true, true]);
  });

  test("read_committed gets a list of aborted transactions, read_uncommitted none", async () => {
    const node = await filled();
    expect((await node.fetched("a", {}, { isolationLevel: 0 })).abortedTransactions).toBeNull();
    expect((await node.fetched("a", {}, { isolationLevel: 1 })).abortedTransactions).toEqual([]);
  });

  test("buffers go back exactly once, when the answer has left", async () => {
    const node = await filled();
    const { buffers } = node.logDirectories;
    const asked = node.fetch({ topics: [{ topic: "a", partitions: [{}] }] });
    expect(buffers.lentBytes).toBeGreaterThan(0);
    await asked.answer;
    expect(buffers.lentBytes).toBe(0);
    asked.context.sent();
    expect(buffers.lentBytes).toBe(0);
  });

  test("answers that have not left keep others small, never empty", async () => {
    const node = await started();
    for (let count = 0; count < 20; count++) {
      await node.produced("a", batch(1, { valueBytes: 50_000 }));
    }
    const topics = [{ topic: "a", partitions: [{}] }];
    const asked = Array.from({ length: 10 }, () => node.fetch({ topics, minBytes: 500_000 }));
    expect(node.logDirectories.buffers.lentBytes).toBeLessThan(2 * 1024 * 1024 + 10 * 65_536);
    const sizes: number[] = [];
    for (const { answer } of asked) {
      sizes.push((await answer)!.responses[0]!.partitions[0]!.records!.length);
    }
    expect(sizes[0]).toBeGreaterThan(900_000);
    expect(sizes.at(-1)).toBeLessThan(60_000);
    expect(Math.min(...sizes)).toBeGreaterThan(50_000);
    expect(node.logDirectories.buffers.lentBytes).toBe(0);
  });

  test("nothing is readable before it is on stable storage", async () => {
    const node = await started();
    node.produce("a", batch(2), { acks: 1 });
    const found = await node.fetched("a", {}, { maxWaitMs: 0 });
    expect([found.highWatermark, found.records!.length]).toEqual([0, 0]);
  });
});

describe("fetchApi waits", () => {
  const TOPICS = [{ topic: "a", partitions: [{}] }];

  async function answeredAfter(node: DataHarness, asked: ReturnType<DataHarness["fetch"]>) {
    const startMs = node.clock.monotonicMs();
    const answer = await node.run(asked.answer);
    return { answer: answer!, waitedMs: node.clock.monotonicMs() - startMs };
  }

  test("with nothing to read until its time is over", async () => {
    const node = await started();
    const { answer, waitedMs } = await answeredAfter(node, node.fetch({ topics: TOPICS }));
    expect(Math.round(waitedMs)).toBe(500);
    expect(answer.responses[0]!.partitions[0]!.records).toHaveLength(0);
    expect(node.replicaManager.delayedFetches.size).toBe(0);
  });

  test("not at all without time to wait, or without partitions", async () => {
    const node = await started();
    expect(node.fetch({ topics: TOPICS, maxWaitMs: 0 }).isSynchronous).toBe(true);
    expect(node.fetch({ topics: [] }).isSynchronous).toBe(true);
    expect(node.fetch({ topics: TOPICS, minBytes: 0 }).isSynchronous).toBe(true);
    expect(node.fetch({ topics: TOPICS }).isSynchronous).toBe(false);
  });

  test("until records come, and asks for the sync of those", async () => {
    const node = await started();
    const asked = node.fetch({ topics: TOPICS });
    await node.clock.advance(50);
    node.produce("a", batch(2), { acks: 1 });
    const { answer, waitedMs } = await answeredAfter(node, asked);
    expect(waitedMs).toBeLessThan(10);
    expect(offsetsOf(answer.responses[0]!.partitions[0]!.records)).toEqual([[0, 1]]);
  });

  test("for the sync only, when records were written before it came", async () => {
    const node = await started();
    node.produce("a", batch(2), { acks: 1 });
    const { answer, waitedMs } = await answeredAfter(node, node.fetch({ topics: TOPICS }));
    expect(waitedMs).toBeLessThan(10);
    expect(offsetsOf(answer.responses[0]!.partitions[0]!.records)).toEqual([[0, 1]]);
  });

  test("for minBytes over several partitions, and reads no more often than it must", async () => {
    const node = await started(["a", "b"]);
    const topics = ["a", "b"].map((topic) => ({ topic, partitions: [{}] }));
    const asked = node.fetch({ topics, minBytes: 2000, maxWaitMs: 10_000 });
    let answered = false;
    void asked.answer.then(() => answered = true);
    const before = node.disk.calls.read;
    for (let round = 0; round < 4; round++) {
      expect(answered).toBe(false);
      expect(node.disk.calls.read - before).toBe(0);
      await node.produced(round % 2 === 0 ? "a" : "b", batch(1, { valueBytes: 500 }));
    }
    const { answer, waitedMs } = await answeredAfter(node, asked);
    expect(waitedMs).toBeLessThan(10);
    expect(answer.responses.map(({ partitions }) => offsetsOf(partitions[0]!.records).length))
      .toEqual([2, 2]);
  });

  test("on, when a partition has much and may give little of it", async () => {
    const node = await started();
    const partitions = [{ partitionMaxBytes: 300 }];
    const asked = node.fetch({ topics: [{ topic: "a", partitions }], minBytes: 1000 });
    const startMs = node.clock.monotonicMs();
    for (let count = 0; count < 20; count++) {
      await node.produced("a", batch(1, { valueBytes: 100 }));
    }
    const { answer } = await answeredAfter(node, asked);
    expect(Math.round(node.clock.monotonicMs() - startMs)).toBe(500);
    expect(answer.responses[0]!.partitions[0]!.records!.length).toBeLessThanOrEqual(300);
  });

  test("for no more bytes than it may have", async () => {
    const node = await filled();
    const asked = node.fetch({ topics: TOPICS, minBytes: 1_000_000, maxBytes: 300 });
    expect(asked.isSynchronous).toBe(true);
  });

  test("not on: an error answers at once, an unknown topic among known ones does not", async () => {
    const node = await started();
    const outOfRange = [...TOPICS, { topic: "a", partitions: [{ fetchOffset: 9 }] }];
    expect(node.fetch({ topics: outOfRange }).isSynchronous).toBe(true);
    expect(node.fetch({ topics: [{ topic: "nope", partitions: [{}] }] }).isSynchronous).toBe(true);
    const unknown = [...TOPICS, { topic: "nope", partitions: [{}] }];
    expect(node.fetch({ topics: unknown }).isSynchronous).toBe(false);
  });

  test("until the topic is deleted", async () => {
    const node = await started();
    const asked = node.fetch({ topics: TOPICS });
    const id = node.controller.image().topicByName("a")!.id;
    await node.run(node.controller.deleteTopics([{ id }]));
    const { answer, waitedMs } = await answeredAfter(node, asked);
    expect(waitedMs).toBeLessThan(400);
    expect(answer.responses[0]!.partitions[0]!.errorCode)
      .toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  });

  test("until the disk fails", async () => {
    const node = await started();
    const asked = node.fetch({ topics: TOPICS });
    node.disk.faults.sync = () => "EIO";
    node.produce("a", batch(), { acks: 1 });
    const { answer, waitedMs } = await answeredAfter(node, asked);
    expect(waitedMs).toBeLessThan(400);
    expect(answer.responses[0]!.partitions[0]!.errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
  });

  test("until its own read finds that the disk fails", async () => {
    const node = await started();
    const fetch = node.fetch({ topics: [{ topic: "a", partitions: [{}] }] });
    node.disk.faults.read = () => "EIO";
    await node.produced("a", batch(1));
    const answer = await node.run(fetch.answer);
    expect(answer!.responses[0]!.partitions[0]!.errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
  });

  test("no longer than its client: a closed connection leaves nothing behind", async () => {
    const node = await started();
    const asked = node.fetch({ topics: TOPICS, maxWaitMs: 60_000 });
    expect(node.replicaManager.delayedFetches.size).toBe(1);
    asked.context.hangUp();
    expect(node.replicaManager.delayedFetches.size).toBe(0);
    await node.produced("a", batch());
    expect(node.logDirectories.buffers.lentBytes).toBe(0);
    await asked.answer;
  });

  test("no longer than the broker", async () => {
    const node = await started();
    const asked = node.fetch({ topics: TOPICS, maxWaitMs: 60_000 });
    await node.stop();
    const { waitedMs } = await answeredAfter(node, asked);
    expect(waitedMs).toBe(0);
    expect(asked.context.abortListeners).toBe(0);
    expect(node.process.pendingTimers).toBe(0);
  });
});
