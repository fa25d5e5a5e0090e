/** `weir transaction` against weir's own broker, all of it in memory and on virtual time. */

import { afterEach, beforeEach, expect, test } from "bun:test";
import type { Broker } from "../../../broker/broker.ts";
import { Partition } from "../../../broker/partitions/partition.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { buildBatch } from "../../../protocol/records.ts";
import { startedBroker } from "./started_broker.ts";
import { parsed, TestMachine } from "./test_io.ts";

let machine: TestMachine;
let broker: Broker;

beforeEach(async () => {
  machine = new TestMachine();
  const { disk, network } = machine;
  const settings = { "transaction.state.log.num.partitions": "2" };
  broker = await startedBroker(machine, { name: "broker", disk, network, settings });
  await succeed("topic create t -p 2");
});
afterEach(() => machine.clock.run(broker.stop()));

const weir = (line: string) => machine.weir(line);
const succeed = (line: string) => machine.succeed(line);

/** Begins a transaction in both partitions of `t`. */
async function begin(transactionalId: string): Promise<void> {
  const { transactionCoordinator: coordinator } = broker.subsystems;
  await machine.clock.run(coordinator.find(transactionalId));
  const producer = await machine.clock.run(coordinator.initProducerId({
    transactionalId,
    timeoutMs: 60_000,
    expected: null,
  }));
  expect(producer.error).toBe(ErrorCode.NONE);
  const { producerId, producerEpoch } = producer;
  const error = await machine.clock.run(coordinator.addPartitions({
    transactionalId,
    producerId,
    producerEpoch,
    partitions: [0, 1].map((partition) => ({ topic: "t", partition })),
    transactionVersion: 2,
    isPatient: true,
  }));
  expect(error).toBe(ErrorCode.NONE);
}

test("transaction list and describe: ids, states, partitions", async () => {
  expect(await succeed("transaction list --json")).toBe("");
  expect((await weir("transaction list")).error).toBe("There are no transactional ids.\n");
  await begin("payments");
  await begin("orders");
  const rows = parsed(await succeed("transaction list --json"));
  expect(rows).toMatchObject([
    { transactionalId: "orders", coordinator: 1, state: "Ongoing" },
    { transactionalId: "payments", coordinator: 1, state: "Ongoing" },
  ]);
  expect(await succeed("transaction list --state Empty --json")).toBe("");
  expect(parsed(await succeed("transaction list --state Empty --state Ongoing --json"))).toEqual(
    rows,
  );
  expect(await succeed("transaction list --longer-than 10m --json")).toBe("");
  expect(await weir("transaction list --state Bogus")).toMatchObject({ exitCode: 1 });
  const [described] = parsed(await succeed("transaction describe payments --json"));
  expect(described).toMatchObject({
    transactionalId: "payments",
    state: "Ongoing",
    producerEpoch: 0,
    timeoutMs: 60_000,
    topics: [{ topic: "t", partitions: [0, 1] }],
  });
  expect(await succeed("transaction describe payments")).toContain("t: 0, 1");
  expect(await weir("transaction describe nobody")).toMatchObject({ exitCode: 1 });
});

test("transaction abort: ends a transaction that hangs in a partition, and no other", async () => {
  const partition = broker.subsystems.replicaManager.partition("t", 0);
  if (!(partition instanceof Partition)) return expect.unreachable();
  const batch = buildBatch({
    records: [{ key: null, value: new Uint8Array(1), timestamp: 0 }],
    producerId: 77,
    producerEpoch: 3,
    baseSequence: 0,
    transactional: true,
  });
  partition.append(batch, { origin: "client", requiredAcks: -1 });
  await machine.clock.advance(100);
  expect([partition.lastStableOffset as number, partition.highWatermark as number]).toEqual([0, 1]);
  expect(await weir("transaction abort t 0 --producer-id 78")).toMatchObject({ exitCode: 1 });
  expect(await weir("transaction abort t 7 --producer-id 77")).toMatchObject({ exitCode: 1 });
  const { exitCode, error } = await weir("transaction abort t 0 --producer-id 77");
  expect([exitCode, error]).toEqual([
    0,
    "Aborted the transaction of producer 77 that began at offset 0.\n",
  ]);
  expect(partition.lastStableOffset as number).toBe(2);
  expect(await weir("transaction abort t 0 --producer-id 77")).toMatchObject({ exitCode: 1 });
});
