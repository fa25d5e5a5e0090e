/** What clients, brokers and operators say of transactions over the wire, at every version. */

import { expect, test } from "bun:test";
import { addOffsetsToTxnApi } from "../../../broker/apis/add_offsets_to_txn.ts";
import { addPartitionsToTxnApi } from "../../../broker/apis/add_partitions_to_txn.ts";
import { describeTransactionsApi } from "../../../broker/apis/describe_transactions.ts";
import { endTxnApi } from "../../../broker/apis/end_txn.ts";
import { initProducerIdApi } from "../../../broker/apis/init_producer_id.ts";
import { listTransactionsApi } from "../../../broker/apis/list_transactions.ts";
import { ProducerIdManager } from "../../../broker/controller/producer_id_manager.ts";
import { errorName } from "../../../protocol/errors.ts";
import * as addOffsets from "../../../protocol/schemas/add_offsets_to_txn.ts";
import * as addPartitions from "../../../protocol/schemas/add_partitions_to_txn.ts";
import * as describing from "../../../protocol/schemas/describe_transactions.ts";
import * as ending from "../../../protocol/schemas/end_txn.ts";
import * as initializing from "../../../protocol/schemas/init_producer_id.ts";
import * as listing from "../../../protocol/schemas/list_transactions.ts";
import type { Encodable } from "../../../protocol/schema.ts";
import { NODE_ID } from "../controller/harness.ts";
import { call, versionsOf } from "../groups/api_call.ts";
import { TransactionHarness } from "../transactions/harness.ts";

/** The handlers over one coordinator. */
async function open() {
  const harness = await TransactionHarness.start();
  const { node, coordinator: transactionCoordinator } = harness;
  const { controller } = node;
  const parts = {
    controller,
    transactionCoordinator,
    groupCoordinator: node.coordinator,
    producerIds: new ProducerIdManager({ controller, nodeId: NODE_ID }),
    clock: node.process,
  };
  const pairs = {
    init: {
      request: initializing.initProducerIdRequest,
      response: initializing.initProducerIdResponse,
    },
    add: {
      request: addPartitions.addPartitionsToTxnRequest,
      response: addPartitions.addPartitionsToTxnResponse,
    },
    offsets: {
      request: addOffsets.addOffsetsToTxnRequest,
      response: addOffsets.addOffsetsToTxnResponse,
    },
    end: { request: ending.endTxnRequest, response: ending.endTxnResponse },
    describe: {
      request: describing.describeTransactionsRequest,
      response: describing.describeTransactionsResponse,
    },
    list: {
      request: listing.listTransactionsRequest,
      response: listing.listTransactionsResponse,
    },
  };
  const apis = {
    init: initProducerIdApi(parts),
    add: addPartitionsToTxnApi(parts),
    offsets: addOffsetsToTxnApi(parts),
    end: endTxnApi(parts),
    describe: describeTransactionsApi(parts),
    list: listTransactionsApi(parts),
  };
  const list = (version: number, body: Partial<Encodable<typeof pairs.list.request>>) =>
    call(node, apis.list, pairs.list, version, {
      stateFilters: [],
      producerIdFilters: [],
      ...body,
    });
  return { harness, node, apis, pairs, list };
}

test("transaction APIs: a transaction at every version, and its producer fenced in words that it knows", async () => {
  const { harness, node, apis, pairs } = await open();
  for (const version of versionsOf(apis.end)) {
    const transactionalId = `id-${version}`;
    const body = { transactionalId, transactionTimeoutMs: 1000 };
    const producer = await call(node, apis.init, pairs.init, Math.min(version, 6), body);
    const { producerId, producerEpoch } = producer;
    expect([producer.errorCode, producerEpoch]).toEqual([0, 0]);
    const addVersion = Math.min(version, 3);
    const topics = [{ name: "t", partitions: [0, 2] }];
    const adding = (epoch: number) =>
      call(node, apis.add, pairs.add, addVersion, {
        transactions: [],
        v3AndBelowTransactionalId: transactionalId,
        v3AndBelowProducerId: producerId,
        v3AndBelowProducerEpoch: epoch,
        v3AndBelowTopics: topics,
      });
    const { resultsByTopicV3AndBelow } = await adding(producerEpoch);
    expect(resultsByTopicV3AndBelow).toMatchObject([
      { name: "t", resultsByPartition: [{ partitionErrorCode: 0 }, { partitionErrorCode: 0 }] },
    ]);
    const offsets = await call(node, apis.offsets, pairs.offsets, Math.min(version, 4), {
      transactionalId,
      producerId,
      producerEpoch,
      groupId: "g",
    });
    expect(offsets.errorCode).toBe(0);
    const isFenced = version < 2 ? "INVALID_PRODUCER_EPOCH" : "PRODUCER_FENCED";
    const [fenced] = (await adding(producerEpoch + 1)).resultsByTopicV3AndBelow;
    expect(errorName(fenced!.resultsByPartition[0]!.partitionErrorCode)).toBe(isFenced);
    const end = (epoch: number) =>
      call(node, apis.end, pairs.end, version, {
        transactionalId,
        producerId,
        producerEpoch: epoch,
        committed: true,
      });
    expect(errorName((await end(producerEpoch + 1)).errorCode)).toBe(isFenced);
    const ended = await end(producerEpoch);
    expect([ended.errorCode, ended.producerId, ended.producerEpoch])
      .toEqual(version < 5 ? [0, -1, -1] : [0, producerId, 1]);
    await node.clock.advance(50);
    const { transactionStates } = await call(node, apis.describe, pairs.describe, 0, {
      transactionalIds: [transactionalId, "nobody's", ""],
    });
    expect(transactionStates.map(({ errorCode }) => errorName(errorCode)))
      .toEqual(["NONE", "TRANSACTIONAL_ID_NOT_FOUND", "INVALID_REQUEST"]);
    expect(transactionStates[0]).toMatchObject({
      transactionState: "CompleteCommit",
      transactionTimeoutMs: 1000,
      producerId,
      topics: [],
    });
  }
  expect(harness.coordinator.stats).toMatchObject({
    committedCount: 6,
    endingCount: 0,
    idCount: 6,
  });
});

test("AddPartitionsToTxn: brokers add and verify many transactions at once", async () => {
  const { harness, node, apis, pairs } = await open();
  const [one, two] = [await harness.init("one"), await harness.init("two")];
  const transaction = (
    transactionalId: string,
    { producerId, producerEpoch }: typeof one,
    verifyOnly: boolean,
    ...partitions: number[]
  ) => ({
    transactionalId,
    producerId,
    producerEpoch,
    verifyOnly,
    topics: [{ name: "t", partitions }],
  });
  for (const version of [4, 5]) {
    const { resultsByTransaction } = await call(node, apis.add, pairs.add, version, {
      transactions: [
        transaction("one", one, false, version, 7),
        transaction("two", two, true, 1),
        transaction("two", { ...two, producerEpoch: 9 }, false, 1),
        transaction("two", two, false, 1, 99),
      ],
      v3AndBelowTransactionalId: "",
      v3AndBelowProducerId: 0,
      v3AndBelowProducerEpoch: 0,
      v3AndBelowTopics: [],
    });
    const errors = resultsByTransaction.map(({ topicResults }) =>
      topicResults[0]!.resultsByPartition.map((found) => errorName(found.partitionErrorCode))
    );
    expect(errors).toEqual([
      ["NONE", "NONE"],
      [version < 5 ? "INVALID_TXN_STATE" : "TRANSACTION_ABORTABLE"],
      ["PRODUCER_FENCED"],
      ["OPERATION_NOT_ATTEMPTED", "UNKNOWN_TOPIC_OR_PARTITION"],
    ]);
  }
  expect(
    harness.coordinator.verify(
      "one",
      one,
      [4, 5, 7, 8].map((partition) => ({ topic: "t", partition })),
    ),
  )
    .toEqual([0, 0, 0, 120]);
});

test("ListTransactions: filters by state, producer, duration and pattern", async () => {
  const { harness, node, apis, list } = await open();
  const ids = ["payments-1", "payments-2", "orders"];
  const producers = [];
  for (const id of ids) producers.push(await harness.init(id));
  await harness.add("orders", producers[2]!, [0]);
  await node.clock.advance(5_000);
  const found = async (version: number, body: Parameters<typeof list>[1]) => {
    const { errorCode, transactionStates } = await list(version, body);
    expect(errorCode).toBe(0);
    return transactionStates.map(({ transactionalId }) => transactionalId).toSorted();
  };
  for (const version of versionsOf(apis.list)) {
    expect(await found(version, {})).toEqual(ids.toSorted());
    expect(await found(version, { stateFilters: ["Ongoing"] })).toEqual(["orders"]);
    const [first] = producers;
    expect(await found(version, { producerIdFilters: [first!.producerId] })).toEqual([
      "payments-1",
    ]);
  }
  expect(await found(1, { durationFilter: 4_000, stateFilters: ["Ongoing"] })).toEqual(["orders"]);
  expect(await found(1, { durationFilter: 6_000, stateFilters: ["Ongoing"] })).toEqual([]);
  expect(await found(2, { transactionalIdPattern: "payments-.*" }))
    .toEqual(["payments-1", "payments-2"]);
  expect(await found(2, { transactionalIdPattern: "payments" })).toEqual([]);
  expect(await found(2, { transactionalIdPattern: "" })).toEqual(ids.toSorted());
  const unknown = await list(0, { stateFilters: ["Ongoing", "Bogus"] });
  expect([unknown.unknownStateFilters, unknown.transactionStates.length]).toEqual([["Bogus"], 1]);
  for (const transactionalIdPattern of ["(", "a{1000}{1000}", "a".repeat(5_000)]) {
    const { errorCode } = await list(2, { transactionalIdPattern });
    expect(errorName(errorCode)).toBe("INVALID_REGULAR_EXPRESSION");
  }
});

test("ListTransactions: an expression that would take for ever takes a moment", async () => {
  const { harness, list } = await open();
  await harness.init("a".repeat(2_000));
  const beganMs = performance.now();
  const { transactionStates } = await list(2, { transactionalIdPattern: "(a+)+b" });
  expect(transactionStates).toEqual([]);
  expect(performance.now() - beganMs).toBeLessThan(1_000);
});
