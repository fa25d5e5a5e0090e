import { expect, test } from "bun:test";
import { lateTransactionCount } from "../../../broker/telemetry/broker_samples.ts";
import { ErrorCode, errorName } from "../../../protocol/errors.ts";
import type { NewBatch } from "../../../protocol/records.ts";
import {
  writeTxnMarkersRequest,
  writeTxnMarkersResponse,
} from "../../../protocol/schemas/write_txn_markers.ts";
import { produceRequest, produceResponse } from "../../../protocol/schemas/produce.ts";
import { batch, DataHarness } from "../partitions/harness.ts";

const ID = "t";
const PRODUCER = { producerId: 7, producerEpoch: 3, baseSequence: 0, transactional: true };
const FIRST_ADDING = 12;

async function started(flags: Record<string, string> = {}): Promise<DataHarness> {
  const node = await DataHarness.start({ flags });
  await node.makeTopic("a", { partitionCount: 2 });
  await node.makeTopic("__transaction_state", { partitionCount: 4 });
  return node;
}

function send(node: DataHarness, over: Partial<NewBatch> = {}, version = 11, topic = "a") {
  return node.produce(topic, batch(1, { ...PRODUCER, ...over }), { version, transactionalId: ID });
}

async function sent(
  node: DataHarness,
  over: Partial<NewBatch> = {},
  version = 11,
): Promise<keyof typeof ErrorCode> {
  return errorOf(await node.run(send(node, over, version).answer));
}

type ProduceAnswer = Awaited<ReturnType<DataHarness["produce"]>["answer"]>;

function errorOf(answer: ProduceAnswer): keyof typeof ErrorCode {
  const { errorCode } = answer!.responses[0]!.partitionResponses[0]!;
  return errorName(errorCode as ErrorCode) as keyof typeof ErrorCode;
}

const MARKER = {
  producerId: 7,
  producerEpoch: 3,
  transactionResult: false,
  coordinatorEpoch: 0,
  topics: [{ name: "a", partitionIndexes: [0] }],
};

async function end(
  node: DataHarness,
  over: Partial<typeof MARKER & { transactionVersion: number }> = {},
  version = 2,
): Promise<string[]> {
  const types = [writeTxnMarkersRequest, writeTxnMarkersResponse] as const;
  const body = { markers: [{ ...MARKER, ...over }] };
  const answer = await node.run(node.ask(node.apis.writeTxnMarkers, types, version, body).answer);
  return answer!.markers.flatMap(({ topics }) =>
    topics.flatMap(({ partitions }) =>
      partitions.map(({ errorCode }) => errorName(errorCode as ErrorCode))
    )
  );
}

test("a transactional batch is appended once the coordinator knows of its partition, and asked for once", async () => {
  const node = await started();
  node.coordinator.transactions.set(ID, new Set(["a-0"]));
  expect(await sent(node)).toBe("NONE");
  expect(send(node, { baseSequence: 1 }).isSynchronous).toBe(false);
  await node.run(send(node, { baseSequence: 2 }).answer);
  expect(node.coordinator.asked).toHaveLength(1);
  expect(node.coordinator.asked[0]![0]).toMatchObject({
    transactionalId: ID,
    producerId: 7,
    producerEpoch: 3,
    verifyOnly: true,
    topics: [{ name: "a", partitions: [0] }],
  });
  const { log, highWatermark, lastStableOffset } = node.partition("a");
  expect([log.endOffset as number, highWatermark as number]).toEqual([3, 3]);
  expect(lastStableOffset as number).toBe(0);
});

test("from version 12 on the broker makes the partition part of the transaction", async () => {
  const node = await started();
  expect(await sent(node, {}, FIRST_ADDING)).toBe("NONE");
  expect(node.coordinator.asked[0]![0]!.verifyOnly).toBe(false);
  expect(node.coordinator.transactions.get(ID)).toEqual(new Set(["a-0"]));
});

test.each(
  [
    ["TRANSACTION_ABORTABLE", 10, "INVALID_TXN_STATE"],
    ["TRANSACTION_ABORTABLE", 11, "TRANSACTION_ABORTABLE"],
    ["PRODUCER_FENCED", 11, "INVALID_PRODUCER_EPOCH"],
    ["INVALID_PRODUCER_ID_MAPPING", 11, "INVALID_PRODUCER_ID_MAPPING"],
    ["NOT_COORDINATOR", 11, "NOT_ENOUGH_REPLICAS"],
    ["COORDINATOR_LOAD_IN_PROGRESS", 9, "NOT_ENOUGH_REPLICAS"],
    ["COORDINATOR_NOT_AVAILABLE", 12, "NOT_ENOUGH_REPLICAS"],
    ["CONCURRENT_TRANSACTIONS", 11, "NOT_ENOUGH_REPLICAS"],
  ] as const,
)("the coordinator's %s is told version %d as %s, and nothing is appended", async (
  error,
  version,
  expected,
) => {
  const node = await started();
  node.coordinator.nextErrors = [ErrorCode[error]];
  expect(await sent(node, {}, version)).toBe(expected);
  expect(node.partition("a").log.endOffset as number).toBe(0);
});

test("while the transaction before is being ended, the coordinator is asked again for a moment", async () => {
  const node = await started();
  const busy = ErrorCode.CONCURRENT_TRANSACTIONS;
  node.coordinator.nextErrors = [busy, busy];
  expect(await sent(node, {}, FIRST_ADDING)).toBe("NONE");
  expect(node.coordinator.asked).toHaveLength(3);
  node.coordinator.nextErrors = Array.from({ length: 100 }, () => busy);
  expect(await sent(node, { producerId: 8 }, FIRST_ADDING)).toBe("CONCURRENT_TRANSACTIONS");
});

test("a batch that was verified before a marker was written is not appended after it", async () => {
  const node = await started();
  node.coordinator.transactions.set(ID, new Set(["a-0"]));
  const gate = Promise.withResolvers<void>();
  node.coordinator.held = gate.promise;
  const { answer } = send(node);
  expect(await end(node)).toEqual(["NONE"]);
  // Another transaction of the same producer waits for its own verification.
  const next = send(node);
  gate.resolve();
  expect(errorOf(await node.run(answer))).toBe("INVALID_TXN_STATE");
  expect(errorOf(await node.run(next.answer))).toBe("NONE");
  expect(node.coordinator.asked).toHaveLength(2);
});

test("from version 12 on a batch that the marker before it overtakes is verified again", async () => {
  const node = await started();
  const gate = Promise.withResolvers<void>();
  node.coordinator.held = gate.promise;
  const { answer } = send(node, { producerEpoch: 4 }, FIRST_ADDING);
  expect(await end(node)).toEqual(["NONE"]);
  gate.resolve();
  expect(errorOf(await node.run(answer))).toBe("NONE");
  expect(node.coordinator.asked).toHaveLength(2);
});

test("a batch that markers overtake again and again is appended under nothing that was not asked for", async () => {
  const node = await started();
  let gate = Promise.withResolvers<void>();
  node.coordinator.held = gate.promise;
  const { answer } = send(node, { producerEpoch: 4 }, FIRST_ADDING);
  const markers = 3;
  for (let count = 1; count <= markers; count++) {
    await node.clock.advance(10);
    expect(node.coordinator.asked).toHaveLength(count);
    expect(await end(node)).toEqual(["NONE"]);
    const before = gate;
    gate = Promise.withResolvers();
    node.coordinator.held = gate.promise;
    before.resolve();
  }
  gate.resolve();
  expect(errorOf(await node.run(answer))).toBe("INVALID_TXN_STATE");
  expect(node.partition("a").log.endOffset as number).toBe(markers);
});

test("from version 12 on a batch of the transaction that has ended is not appended after its marker", async () => {
  const node = await started();
  const gate = Promise.withResolvers<void>();
  node.coordinator.held = gate.promise;
  const { answer } = send(node, {}, FIRST_ADDING);
  expect(await end(node)).toEqual(["NONE"]);
  // The coordinator tells the transactions apart by their epochs.
  node.coordinator.nextErrors = [ErrorCode.PRODUCER_FENCED];
  gate.resolve();
  expect(errorOf(await node.run(answer))).toBe("INVALID_PRODUCER_EPOCH");
  expect(node.partition("a").log.endOffset as number).toBe(1);
});

test("what was verified for one transaction does not let a batch into the next one", async () => {
  const node = await started();
  const partition = node.partition("a");
  const first = { ...PRODUCER, startsAtZero: false };
  const append = (guard: ReturnType<typeof partition.beginVerification>) => {
    const records = batch(1, PRODUCER);
    const result = partition.appendFromClient({
      records,
      requiredAcks: -1,
      requestVersion: 11,
      guard,
    });
    return errorName((result as { error: ErrorCode }).error);
  };
  const stale = partition.beginVerification(first);
  expect(await end(node)).toEqual(["NONE"]);
  const fresh = partition.beginVerification(first);
  expect(append(stale)).toBe("INVALID_TXN_STATE");
  expect(append(fresh)).toBe("NONE");
});

test("a batch behind one that is to be tried again does not get ahead of it", async () => {
  const node = await started();
  node.coordinator.transactions.set(ID, new Set(["a-0"]));
  node.coordinator.nextErrors = [ErrorCode.NOT_COORDINATOR];
  const answers = [send(node, { baseSequence: 4 }), send(node, { baseSequence: 5 })]
    .map(({ answer }) => answer);
  const errors = (await node.run(Promise.all(answers))).map(errorOf);
  expect(errors).toEqual(["NOT_ENOUGH_REPLICAS", "OUT_OF_ORDER_SEQUENCE_NUMBER"]);
  expect(await sent(node, { baseSequence: 4 })).toBe("NONE");
  expect(await sent(node, { baseSequence: 5 })).toBe("NONE");
});

test("in transaction version 2 a producer that is not known begins with sequence 0", async () => {
  const node = await started();
  expect(await sent(node, { baseSequence: 1 }, FIRST_ADDING)).toBe("OUT_OF_ORDER_SEQUENCE_NUMBER");
  expect(await sent(node, { baseSequence: 0 }, FIRST_ADDING)).toBe("NONE");
});

test("requests of a connection are appended in their order while one of them waits", async () => {
  const node = await started();
  node.coordinator.transactions.set(ID, new Set(["a-0"]));
  const gate = Promise.withResolvers<void>();
  node.coordinator.held = gate.promise;
  const first = send(node);
  const plain = node.produce("a", batch(), { acks: 1 });
  expect(plain.isSynchronous).toBe(false);
  await node.run(node.clock.sleep(50));
  expect(node.partition("a").log.endOffset as number).toBe(0);
  gate.resolve();
  expect(errorOf(await node.run(first.answer))).toBe("NONE");
  const answer = await node.run(plain.answer);
  expect(answer!.responses[0]!.partitionResponses[0]!.baseOffset).toBe(1);
  // Nobody waits any more.
  expect(node.produce("a", batch(), { acks: 1 }).isSynchronous).toBe(true);
});

test("what goes to one coordinator meanwhile goes together, a transaction once", async () => {
  const node = await started();
  node.coordinator.transactions.set(ID, new Set(["a-0", "a-1"]));
  const gate = Promise.withResolvers<void>();
  node.coordinator.held = gate.promise;
  const { verifier } = node;
  const claim = (producerEpoch: number, partition: number) =>
    verifier.verify({
      transactionalId: ID,
      producerId: 7,
      producerEpoch,
      adds: false,
      partitions: [{ topic: "a", partition }],
    });
  const all = [claim(3, 0), claim(3, 1), claim(3, 0), claim(4, 1)];
  gate.resolve();
  const errors = await node.run(Promise.all(all));
  expect(errors.map(({ size }) => size)).toEqual([0, 0, 0, 0]);
  expect(node.coordinator.asked.map(([one]) => [one!.producerEpoch, one!.topics[0]!.partitions]))
    .toEqual([[3, [0]], [3, [1, 0]], [4, [1]]]);
});

test("a stop answers what waits for a coordinator", async () => {
  const node = await started();
  node.coordinator.held = new Promise(() => {});
  const { answer } = send(node);
  node.verifier.close();
  expect(errorOf(await node.run(answer))).toBe("NOT_ENOUGH_REPLICAS");
});

test("a coordinator that does not answer is given up after request.timeout.ms", async () => {
  const node = await started();
  node.coordinator.held = new Promise(() => {});
  expect(await sent(node)).toBe("NOT_ENOUGH_REPLICAS");
});

test("transaction.partition.verification.enable=false asks nobody, unless partitions are to be added", async () => {
  const node = await started({ "transaction.partition.verification.enable": "false" });
  expect(await sent(node)).toBe("NONE");
  expect(node.coordinator.asked).toEqual([]);
  expect(await sent(node, { producerId: 8 }, FIRST_ADDING)).toBe("NONE");
  expect(node.coordinator.asked).toHaveLength(1);
});

test("a request with batches of two producers is refused whole", async () => {
  const node = await started();
  const partitionData = [7, 8].map((producerId, index) => ({
    index,
    records: batch(1, { ...PRODUCER, producerId }),
  }));
  const answer = await node.run(
    node.ask(node.apis.produce, [produceRequest, produceResponse], 11, {
      transactionalId: ID,
      acks: -1,
      timeoutMs: 1000,
      topicData: [{ name: "a", partitionData }],
    }).answer,
  );
  expect(answer!.responses[0]!.partitionResponses.map(({ errorCode }) => errorCode))
    .toEqual([ErrorCode.INVALID_PRODUCER_ID_MAPPING, ErrorCode.INVALID_PRODUCER_ID_MAPPING]);
});

test("writeTxnMarkersApi: a marker ends its transaction, and says when it is committed", async () => {
  for (const transactionResult of [true, false]) {
    const node = await started();
    expect(await sent(node, {}, FIRST_ADDING)).toBe("NONE");
    expect(node.partition("a").lastStableOffset as number).toBe(0);
    expect(await end(node, { transactionResult }, 1)).toEqual(["NONE"]);
    const { lastStableOffset, highWatermark } = node.partition("a");
    expect([lastStableOffset as number, highWatermark as number]).toEqual([2, 2]);
    const topics = [{ topic: "a", partitions: [{}] }];
    const read = await node.run(node.fetch({ topics, isolationLevel: 1 }).answer);
    expect(read!.responses[0]!.partitions[0]!.abortedTransactions)
      .toEqual(transactionResult ? [] : [{ producerId: 7, firstOffset: 0 }]);
    // The same again ends nothing.
    expect(await end(node, { transactionResult }, 1)).toEqual(["NONE"]);
    expect(node.partition("a").lastStableOffset as number).toBe(3);
  }
});

test("writeTxnMarkersApi: zombies are refused, and unknown partitions named", async () => {
  const node = await started();
  await sent(node, {}, FIRST_ADDING);
  expect(await end(node, { producerEpoch: 2 })).toEqual(["INVALID_PRODUCER_EPOCH"]);
  expect(await end(node, { producerEpoch: 3, transactionVersion: 2 }))
    .toEqual(["INVALID_PRODUCER_EPOCH"]);
  expect(await end(node, { producerEpoch: 4, transactionVersion: 2, coordinatorEpoch: 5 }))
    .toEqual(["NONE"]);
  expect(await end(node, { producerEpoch: 4, coordinatorEpoch: 4 }))
    .toEqual(["TRANSACTION_COORDINATOR_FENCED"]);
  const topics = [{ name: "a", partitionIndexes: [0, 9] }, { name: "b", partitionIndexes: [0] }];
  expect(await end(node, { producerEpoch: 4, coordinatorEpoch: 5, topics }))
    .toEqual(["NONE", "UNKNOWN_TOPIC_OR_PARTITION", "UNKNOWN_TOPIC_OR_PARTITION"]);
});

test("a read_committed fetch that waits for many bytes has them when the transaction ends", async () => {
  const node = await started();
  const send = batch(1, { ...PRODUCER, valueBytes: 4000 });
  await node.run(
    node.produce("a", send, { version: FIRST_ADDING, transactionalId: ID }).answer,
  );
  const topics = [{ topic: "a", partitions: [{}] }];
  const maxWaitMs = 60_000;
  const fetch = node.fetch({ topics, isolationLevel: 1, minBytes: 3000, maxWaitMs });
  // Of another partition, and too little.
  await node.run(node.produce("a", batch(), { index: 1 }).answer);
  const startedMs = node.clock.monotonicMs();
  expect(await end(node, { transactionResult: true })).toEqual(["NONE"]);
  const answer = await node.run(fetch.answer);
  expect(answer!.responses[0]!.partitions[0]!.records!.length).toBeGreaterThan(4000);
  expect(node.clock.monotonicMs() - startedMs).toBeLessThan(1000);
});

test("lateTransactionCount: counts partitions whose oldest transaction nobody writes to any more", async () => {
  const node = await started();
  const { replicaManager } = node;
  const firstTimestamp = Date.UTC(2026, 0, 1);
  const records = batch(1, { ...PRODUCER, firstTimestamp });
  await node.run(
    node.produce("a", records, { version: FIRST_ADDING, transactionalId: ID }).answer,
  );
  expect(lateTransactionCount(replicaManager, firstTimestamp)).toBe(0);
  expect(lateTransactionCount(replicaManager, firstTimestamp + 1)).toBe(1);
  expect(await end(node)).toEqual(["NONE"]);
  expect(lateTransactionCount(replicaManager, Infinity)).toBe(0);
});
