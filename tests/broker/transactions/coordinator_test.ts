import { expect, test } from "bun:test";
import { ErrorCode, errorName } from "../../../protocol/errors.ts";
import { batches, isControl, readAttributes } from "../../../protocol/record_batch.ts";
import { buildBatch, readRecords } from "../../../protocol/records.ts";
import { decodeControlRecord } from "../../../protocol/control_records.ts";
import { offset } from "../../../protocol/types.ts";
import { TRANSACTION_STATE_TOPIC } from "../../../broker/controller/internal_topics.ts";
import { encodeTransaction } from "../../../broker/transactions/transaction_records.ts";
import { Partition } from "../../../broker/partitions/partition.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import { TransactionHarness } from "./harness.ts";
import type { TransactionAnswer } from "../../../broker/transactions/transaction.ts";

type TransactionAnswerOrError = TransactionAnswer | ErrorCode;

/** The markers of a partition of `t`, in their order. */
function markersOf({ node }: TransactionHarness, partition: number): string[] {
  const found = node.replicaManager.partition("t", partition);
  if (!(found instanceof Partition)) return [];
  const read = found.log.read(offset(0), { maxBytes: 1 << 20, minOneMessage: true });
  if (!("release" in read)) return [];
  const types = [...batches(read.records)]
    .filter((at) => isControl(readAttributes(read.records, at)))
    .flatMap((at) => readRecords(read.records, at, { maxDecompressedBytes: 1 << 20 }))
    .map((record) => decodeControlRecord(record).type);
  read.release();
  return types;
}

/** Where the logs of transactions end, and those of the first partitions of `t`. */
function logEndsOf({ node }: TransactionHarness): number[] {
  return [TRANSACTION_STATE_TOPIC, "t"].flatMap((topic) =>
    [0, 1, 2, 3].map((index) => {
      const found = node.replicaManager.partition(topic, index);
      return found instanceof Partition ? found.log.endOffset : -1;
    })
  );
}

test.each([[true, "commit", "CompleteCommit"], [false, "abort", "CompleteAbort"]])(
  "TransactionCoordinator: commit %p reaches every partition, then it is over",
  async (isCommit, marker, state) => {
    const harness = await TransactionHarness.start();
    const producer = await harness.init("id");
    expect([producer.error, producer.producerEpoch]).toEqual([ErrorCode.NONE, 0]);
    expect(await harness.add("id", producer, [0, 1])).toBe(ErrorCode.NONE);
    expect(await harness.add("id", producer, [1, 9])).toBe(ErrorCode.NONE);
    expect(harness.state("id")).toBe("Ongoing");
    const ended = await harness.end("id", producer, isCommit);
    expect(ended).toEqual({ ...producer, producerEpoch: 1 });
    await harness.node.clock.advance(100);
    expect(harness.state("id")).toBe(state);
    for (const partition of [0, 1, 9]) expect(markersOf(harness, partition)).toEqual([marker]);
    expect(markersOf(harness, 2)).toEqual([]);
    // The answer got lost: it is the same again, and nothing is written twice.
    expect(await harness.end("id", producer, isCommit)).toEqual(ended);
    expect(markersOf(harness, 0)).toEqual([marker]);
    await harness.run(harness.coordinator.stop());
    expect(harness.coordinatorClock.pendingTimers).toBe(0);
  },
);

test("TransactionCoordinator: what is decided is done after a restart, whatever was sent before", async () => {
  const harness = await TransactionHarness.start();
  for (const id of ["committed", "aborted", "open"]) {
    const producer = await harness.init(id);
    await harness.add(id, producer, [0]);
    harness.markersFail = true;
    if (id === "open") continue;
    expect((await harness.end(id, producer, id === "committed")).error).toBe(ErrorCode.NONE);
  }
  await harness.node.clock.advance(5_000);
  expect(harness.coordinator.stats.endingCount).toBe(2);
  // Less and less often.
  expect(harness.markerRequestCount).toBeLessThan(40);
  harness.node.crash();
  harness.markersFail = false;
  await harness.reopen();
  await harness.node.clock.advance(100);
  expect(["committed", "aborted", "open"].map((id) => harness.state(id)))
    .toEqual(["CompleteCommit", "CompleteAbort", "Ongoing"]);
  expect(markersOf(harness, 0).toSorted()).toEqual(["abort", "commit"]);
});

test("TransactionCoordinator: a transaction that takes too long is aborted, and its producer fenced", async () => {
  const harness = await TransactionHarness.start();
  const producer = await harness.init("id", { timeoutMs: 5_000 });
  await harness.add("id", producer, [3]);
  await harness.node.clock.advance(4_900);
  expect(harness.state("id")).toBe("Ongoing");
  await harness.node.clock.advance(300);
  expect([harness.state("id"), harness.coordinator.stats.timedOutCount]).toEqual([
    "CompleteAbort",
    1,
  ]);
  expect(markersOf(harness, 3)).toEqual(["abort"]);
  expect(await harness.add("id", producer, [4])).toBe(ErrorCode.PRODUCER_FENCED);
  // It may go on with the next epoch, since nobody else has come (KIP-360).
  const again = await harness.init("id", { expected: producer });
  expect([again.error, again.producerEpoch]).toEqual([ErrorCode.NONE, 1]);
});

test("TransactionCoordinator: a time-out goes on after a restart, by the time when the transaction began", async () => {
  const harness = await TransactionHarness.start();
  const producer = await harness.init("id", { timeoutMs: 5_000 });
  await harness.add("id", producer, [3]);
  await harness.node.clock.advance(3_000);
  harness.node.kill();
  await harness.reopen();
  await harness.node.clock.advance(1_000);
  expect(harness.state("id")).toBe("Ongoing");
  await harness.node.clock.advance(1_500);
  expect(harness.state("id")).toBe("CompleteAbort");
});

test("TransactionCoordinator: a transaction that a clock ahead of this one began is aborted in its time", async () => {
  const harness = await TransactionHarness.start();
  const { clock } = harness.node;
  const producer = await harness.init("id", { timeoutMs: 5_000 });
  clock.jumpWall(3_600_000);
  await harness.add("id", producer, [3]);
  harness.node.kill();
  clock.jumpWall(-3_600_000);
  await harness.reopen();
  expect(harness.state("id")).toBe("Ongoing");
  await clock.advance(5_200);
  expect(harness.state("id")).toBe("CompleteAbort");
});

test("TransactionCoordinator: whoever comes with the id aborts what is open, and fences", async () => {
  const harness = await TransactionHarness.start();
  const first = await harness.init("id");
  await harness.add("id", first, [0]);
  // It waits for the end of the transaction before.
  const second = await harness.init("id");
  expect([second.error, second.producerId]).toEqual([ErrorCode.NONE, first.producerId]);
  expect(second.producerEpoch).toBe(2);
  expect(markersOf(harness, 0)).toEqual(["abort"]);
  for (const version of [0, 2]) {
    expect(await harness.add("id", first, [0], version)).toBe(ErrorCode.PRODUCER_FENCED);
    expect((await harness.end("id", first, true, version)).error).toBe(ErrorCode.PRODUCER_FENCED);
  }
  expect((await harness.init("id", { expected: first })).error).toBe(ErrorCode.PRODUCER_FENCED);
  expect(await harness.add("id", second, [0])).toBe(ErrorCode.NONE);
});

test("TransactionCoordinator: a request waits for the end of a transaction, but not for long", async () => {
  const harness = await TransactionHarness.start();
  const producer = await harness.init("id");
  await harness.add("id", producer, [0]);
  harness.markersFail = true;
  const next = await harness.end("id", producer, true);
  const began = harness.node.clock.monotonicMs();
  const before = { state: harness.coordinator.describe("id"), ends: logEndsOf(harness) };
  expect(await harness.add("id", next, [1])).toBe(ErrorCode.CONCURRENT_TRANSACTIONS);
  expect({ state: harness.coordinator.describe("id"), ends: logEndsOf(harness) }).toEqual(before);
  expect(harness.node.clock.monotonicMs() - began).toBeLessThan(300);
  const adding = harness.coordinator.addPartitions({
    transactionalId: "id",
    ...next,
    partitions: [{ topic: "t", partition: 1 }],
    transactionVersion: 2,
    isPatient: true,
  });
  harness.markersFail = false;
  await harness.node.clock.advance(150);
  expect(await harness.run(adding)).toBe(ErrorCode.NONE);
  // Brokers ask for many transactions at once: none of them waits for another one's markers.
  harness.markersFail = true;
  const later = await harness.end("id", next, true);
  const refused = await harness.coordinator.addPartitions({
    transactionalId: "id",
    ...later,
    partitions: [],
    transactionVersion: 2,
    isPatient: false,
  });
  expect(refused).toBe(ErrorCode.CONCURRENT_TRANSACTIONS);
});

test("TransactionCoordinator: partitions that are deleted need no marker", async () => {
  const harness = await TransactionHarness.start();
  const { controller } = harness.node;
  const id = await harness.node.makeTopic("gone", 2);
  const producer = await harness.init("id");
  await harness.run(harness.coordinator.addPartitions({
    transactionalId: "id",
    ...producer,
    partitions: [{ topic: "gone", partition: 0 }, { topic: "gone", partition: 1 }],
    transactionVersion: 2,
    isPatient: true,
  }));
  await harness.run(controller.deleteTopics([{ id }]));
  expect((await harness.end("id", producer, true)).error).toBe(ErrorCode.NONE);
  await harness.node.clock.advance(100);
  expect(harness.state("id")).toBe("CompleteCommit");
});

test("TransactionCoordinator: an id that is not used is forgotten, for good", async () => {
  const harness = await TransactionHarness.start({
    flags: { "transactional.id.expiration.ms": "10000000" },
  });
  const old = await harness.init("old");
  await harness.init("open", { timeoutMs: 900_000 });
  await harness.node.clock.advance(9_000_000);
  const open = await harness.init("open", { timeoutMs: 900_000 });
  await harness.node.clock.advance(5_500_000);
  expect(harness.state("old")).toBe(String(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND));
  expect(harness.state("open")).toBe("Empty");
  expect(open.producerEpoch).toBe(1);
  expect(await harness.add("old", old, [0])).toBe(ErrorCode.INVALID_PRODUCER_ID_MAPPING);
  harness.node.kill();
  await harness.reopen();
  expect(harness.state("old")).toBe(String(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND));
  expect((await harness.init("old")).producerId).not.toBe(old.producerId);
}, 60_000);

/** A coordinator whose id `id` has come to an epoch. */
async function atEpoch(producerEpoch: number): Promise<TransactionHarness> {
  const harness = await TransactionHarness.start();
  const { producerId } = await harness.init("id");
  const found = harness.coordinator.describe("id");
  const partition = harness.node.replicaManager.partition(
    TRANSACTION_STATE_TOPIC,
    harness.coordinator.partitionFor("id"),
  );
  if (!("metadata" in found) || !(partition instanceof Partition)) return expect.unreachable();
  const record = encodeTransaction("id", { ...found.metadata, producerId, producerEpoch }, 2);
  const batch = buildBatch({ records: [{ ...record, timestamp: 0 }] });
  partition.append(batch, { origin: "coordinator", requiredAcks: -1 });
  const { promise, resolve } = Promise.withResolvers<ErrorCode>();
  partition.onCommitted(partition.log.endOffset, resolve);
  await harness.run(promise);
  harness.node.kill();
  await harness.reopen();
  return harness;
}

test("TransactionCoordinator: a producer that has used up its epochs goes on with a fresh id", async () => {
  const harness = await atEpoch(32_765);
  // The last epoch that a producer is ever told.
  const last = await harness.init("id");
  expect(last.producerEpoch).toBe(32_766);
  await harness.add("id", last, [0]);
  const fresh = await harness.end("id", last, true);
  expect([fresh.error, fresh.producerEpoch]).toEqual([ErrorCode.NONE, 0]);
  expect(fresh.producerId).not.toBe(last.producerId);
  await harness.node.clock.advance(100);
  expect([harness.state("id"), markersOf(harness, 0)]).toEqual(["CompleteCommit", ["commit"]]);
  expect(await harness.end("id", last, true)).toEqual(fresh);
  expect(await harness.add("id", last, [1])).toBe(ErrorCode.INVALID_PRODUCER_ID_MAPPING);
  expect(await harness.add("id", fresh, [1])).toBe(ErrorCode.NONE);
});

test("TransactionCoordinator: whoever comes after the last epoch gets a fresh id, too", async () => {
  const harness = await atEpoch(32_766);
  const [known] = [...harness.coordinator.transactions()];
  const old = { producerId: known!.metadata.producerId, producerEpoch: 32_766 };
  await harness.add("id", old, [0]);
  const next = await harness.init("id");
  expect([next.error, next.producerEpoch]).toEqual([ErrorCode.NONE, 0]);
  expect(next.producerId).not.toBe(old.producerId);
  expect(markersOf(harness, 0)).toEqual(["abort"]);
  expect(await harness.add("id", old, [0])).toBe(ErrorCode.INVALID_PRODUCER_ID_MAPPING);
});

test("TransactionCoordinator: bad requests change nothing", async () => {
  const harness = await TransactionHarness.start();
  const { coordinator } = harness;
  const producer = await harness.init("id");
  const ends = logEndsOf(harness);
  const other = { ...producer, producerId: producer.producerId + 1 };
  const refusals: (readonly [string, Promise<TransactionAnswerOrError>])[] = [
    ["INVALID_REQUEST", harness.init("")],
    ["INVALID_TRANSACTION_TIMEOUT", harness.init("id", { timeoutMs: 0 })],
    ["INVALID_TRANSACTION_TIMEOUT", harness.init("id", { timeoutMs: 900_001 })],
    ["PRODUCER_FENCED", harness.init("id", { expected: other })],
    ["INVALID_PRODUCER_ID_MAPPING", harness.add("id", other, [0])],
    ["INVALID_PRODUCER_ID_MAPPING", harness.add("nobody's", producer, [0])],
    ["PRODUCER_FENCED", harness.add("id", { ...producer, producerEpoch: 5 }, [0])],
    ["INVALID_REQUEST", harness.add("", producer, [0])],
    ["INVALID_TXN_STATE", harness.end("id", producer, true)],
    ["INVALID_TXN_STATE", harness.end("id", producer, false, 0)],
    ["INVALID_PRODUCER_ID_MAPPING", harness.end("nobody's", producer, true)],
    ["INVALID_REQUEST", harness.end("", producer, true)],
  ];
  for (const [name, asked] of refusals) {
    const answer = await asked;
    expect(errorName(typeof answer === "number" ? answer : answer.error)).toBe(name);
  }
  expect(harness.state("id")).toBe("Empty");
  expect(logEndsOf(harness)).toEqual(ends);
  expect(coordinator.verify("id", producer, [{ topic: "t", partition: 0 }]))
    .toEqual([ErrorCode.TRANSACTION_ABORTABLE]);
  await harness.add("id", producer, [0]);
  const both = [{ topic: "t", partition: 0 }, { topic: "t", partition: 1 }];
  expect(coordinator.verify("id", producer, both))
    .toEqual([ErrorCode.NONE, ErrorCode.TRANSACTION_ABORTABLE]);
  const before = { state: coordinator.describe("id"), ends: logEndsOf(harness) };
  expect(await harness.add("id", { ...producer, producerEpoch: -1 }, [1]))
    .toBe(ErrorCode.PRODUCER_FENCED);
  expect((await harness.end("id", { ...producer, producerEpoch: 9 }, true)).error)
    .toBe(ErrorCode.PRODUCER_FENCED);
  harness.holdsLease = false;
  expect(await harness.add("id", producer, [0])).toBe(ErrorCode.NOT_COORDINATOR);
  expect((await harness.init("id")).error).toBe(ErrorCode.NOT_COORDINATOR);
  harness.holdsLease = true;
  expect({ state: coordinator.describe("id"), ends: logEndsOf(harness) }).toEqual(before);
  harness.holdsLease = false;
  expect(coordinator.list().error).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
});

test("TransactionCoordinator: a log that cannot be read is not taken for empty", async () => {
  const harness = await TransactionHarness.start();
  const producer = await harness.init("id");
  const partition = harness.coordinator.partitionFor("id");
  harness.node.kill();
  harness.node.disk.faults.read = (path) => (
    path.includes(`__transaction_state-${partition}/`) && path.endsWith(".log") ? "EIO" : null
  );
  await harness.reopen();
  expect((await harness.init("id")).error).toBe(ErrorCode.NOT_COORDINATOR);
  expect(await harness.add("id", producer, [0])).toBe(ErrorCode.NOT_COORDINATOR);
});

test(
  "TransactionCoordinator: whatever it has said holds after a power cut at any moment",
  async () => {
    for (let seed = 1; seed <= 6; seed++) {
      const harness = await TransactionHarness.start({ seed });
      const random = new SimRandom(seed).fork("power");
      /** By id: what was told last, and whether something may be under way. */
      const told = new Map<string, { epoch: number; decision: string | null }>();
      const live = async (id: string) => {
        const producer = await harness.coordinator.initProducerId({
          transactionalId: id,
          timeoutMs: 60_000,
          expected: null,
        });
        if (producer.error !== ErrorCode.NONE) return;
        let { producerId, producerEpoch } = producer;
        told.set(id, { epoch: producerEpoch, decision: null });
        for (let i = 0;; i++) {
          const common = { transactionalId: id, producerId, producerEpoch, transactionVersion: 2 };
          const partitions = [{ topic: "t", partition: random.below(32) }];
          const error = await harness.coordinator.addPartitions({
            ...common,
            partitions,
            isPatient: true,
          });
          if (error === ErrorCode.CONCURRENT_TRANSACTIONS) continue;
          if (error !== ErrorCode.NONE) return;
          told.set(id, { epoch: producerEpoch, decision: null });
          const isCommit = random.below(2) === 0;
          const ended = await harness.coordinator.endTransaction({ ...common, isCommit });
          if (ended.error !== ErrorCode.NONE) return;
          ({ producerId, producerEpoch } = ended);
          told.set(id, { epoch: producerEpoch, decision: isCommit ? "Commit" : "Abort" });
        }
      };
      for (let i = 0; i < 8; i++) void live(`id-${i}`);
      await harness.node.clock.advance(random.below(400));
      const before = new Map(told);
      harness.node.crash();
      await harness.reopen();
      for (const [id, { epoch, decision }] of before) {
        const found = harness.coordinator.describe(id);
        if (!("metadata" in found)) throw new Error(`seed ${seed}: ${id} is gone`);
        const { state, producerEpoch } = found.metadata;
        expect(producerEpoch).toBeGreaterThanOrEqual(epoch);
        // What came after it may be there, too.
        if (decision !== null && producerEpoch === epoch && state !== "Ongoing") {
          expect(state.endsWith(decision)).toBe(true);
        }
      }
      await harness.node.clock.advance(2_000);
      expect(harness.coordinator.stats.endingCount).toBe(0);
    }
  },
  60_000,
);
