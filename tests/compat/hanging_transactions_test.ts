/**
 * A transaction that no coordinator knows of holds all read_committed consumers of its partition back: Apache Kafka's
 * own tools find it and end it.
 */

import { afterAll, beforeAll, describe, expect } from "bun:test";
import { ErrorCode } from "../../protocol/errors.ts";
import { buildBatch } from "../../protocol/records.ts";
import { listOffsetsRequest, listOffsetsResponse } from "../../protocol/schemas/list_offsets.ts";
import { produceRequest, produceResponse } from "../../protocol/schemas/produce.ts";
import { kafkaTool, type RunningBroker, runOk, startWeir, testWith } from "./harness.ts";
import { Wire } from "./wire.ts";

const TOPIC = "held-back";
const PRODUCER = { producerId: 4711, producerEpoch: 3 };
/** Longer ago than any transaction lasts. */
const TIMESTAMP = Date.UTC(2026, 0, 1);

let broker: RunningBroker;

beforeAll(async () => {
  // Otherwise there is no way to make one.
  const settings = { "transaction.partition.verification.enable": "false" };
  broker = await startWeir({ settings });
}, 30_000);

afterAll(async () => void await broker?.stop(), 30_000);

const run = (name: string, ...args: string[]) =>
  runOk(kafkaTool(name, "--bootstrap-server", broker.bootstrap, ...args));

/** The lines of a tool's table as values by their columns. */
function rows(text: string): Record<string, string>[] {
  const [header, ...lines] = text.trimEnd().split("\n");
  const names = header!.trim().split(/\s+/);
  return lines.map((line) => {
    const values = line.trim().split(/\s+/);
    return Object.fromEntries(names.map((name, at) => [name, values[at]!]));
  });
}

async function hang(): Promise<void> {
  const wire = await Wire.connect(broker.bootstrap);
  const value = new TextEncoder().encode("never ends");
  const records = buildBatch({
    records: [{ key: null, value, timestamp: TIMESTAMP }],
    ...PRODUCER,
    baseSequence: 0,
    transactional: true,
  });
  const answer = await wire.send(produceRequest, produceResponse, 11, {
    transactionalId: "of nobody",
    acks: -1,
    timeoutMs: 5000,
    topicData: [{ name: TOPIC, partitionData: [{ index: 0, records }] }],
  });
  expect(answer.responses[0]!.partitionResponses[0]!.errorCode).toBe(ErrorCode.NONE);
  wire.close();
}

/** The last stable offset. */
async function stableOffset(): Promise<number> {
  const wire = await Wire.connect(broker.bootstrap);
  const answer = await wire.send(listOffsetsRequest, listOffsetsResponse, 7, {
    replicaId: -1,
    isolationLevel: 1,
    topics: [{ name: TOPIC, partitions: [{ partitionIndex: 0, timestamp: -1 }] }],
  });
  wire.close();
  return answer.topics[0]!.partitions[0]!.offset;
}

describe("a hanging transaction", () => {
  testWith("Apache Kafka (peers)", "is found and aborted by kafka-transactions", async () => {
    await run("topics", "--create", "--topic", TOPIC, "--partitions", "1");
    await hang();
    expect(await stableOffset()).toBe(0);
    const describeProducers = ["describe-producers", "--topic", TOPIC, "--partition", "0"];
    expect(rows(await run("transactions", ...describeProducers))).toEqual([{
      ProducerId: "4711",
      ProducerEpoch: "3",
      LatestCoordinatorEpoch: "-1",
      LastSequence: "0",
      LastTimestamp: String(TIMESTAMP),
      CurrentTransactionStartOffset: "0",
    }]);
    const found = rows(await run("transactions", "find-hanging", "--topic", TOPIC));
    expect(found).toMatchObject([{
      Topic: TOPIC,
      Partition: "0",
      ProducerId: "4711",
      ProducerEpoch: "3",
      StartOffset: "0",
    }]);
    const place = ["--topic", TOPIC, "--partition", "0"];
    await run("transactions", "abort", ...place, "--start-offset", "0");
    const [producer] = rows(await run("transactions", ...describeProducers));
    expect(producer).toMatchObject({ CurrentTransactionStartOffset: "None" });
    expect(rows(await run("transactions", "find-hanging", "--topic", TOPIC))).toEqual([]);
    const seen = await run(
      "console-consumer",
      ...place,
      "--isolation-level",
      "read_committed",
      "--offset",
      "earliest",
      "--timeout-ms",
      "3000",
    );
    expect(seen).toBe("");
    expect(await stableOffset()).toBe(2);
  }, 180_000);
});
