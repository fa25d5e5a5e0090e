/** What a follower makes of its leader's answers, told by a leader whose answers the test writes. */

import { expect, test } from "bun:test";
import type { Partition } from "../../../broker/partitions/partition.ts";
import { ReplicaFetcher } from "../../../broker/partitions/replica_fetcher.ts";
import type { Peers } from "../../../broker/peers/peers.ts";
import { buildBatch } from "../../../protocol/records.ts";
import type { Encodable } from "../../../protocol/schema.ts";
import { fetchRequest, type FetchResponse } from "../../../protocol/schemas/fetch.ts";
import { NODE_ID } from "../controller/harness.ts";
import { batch, DataHarness, follow } from "./harness.ts";

const LEADER = 2;
const EPOCH = 4;
const SETTINGS = {
  maxBytes: 1_000_000,
  minBytes: 1,
  responseMaxBytes: 10_000_000,
  maxWaitMs: 500,
  backoffMs: 1_000,
  socketTimeoutMs: 30_000,
};

type Request = Encodable<typeof fetchRequest>;
type PartitionAnswer = FetchResponse["responses"][number]["partitions"][number];

/** Keeps what it is asked until the test answers. */
class ScriptedLeader {
  readonly requests: Request[] = [];
  readonly #answers: ((answer: FetchResponse) => void)[] = [];
  readonly peers: Pick<Peers, "send"> = {
    send: (_to, _call, body) =>
      new Promise((resolve) => {
        this.requests.push(body as unknown as Request);
        this.#answers.push((answer) => resolve(answer as never));
      }),
  };

  /** Answers the request of this number, in session 1. */
  answer(number: number, partition: Partition, answer: Partial<PartitionAnswer> | null): void {
    const responses = answer === null ? [] : [{
      topic: "",
      topicId: partition.topicId,
      partitions: [{ ...NOTHING, ...answer }],
    }];
    this.#answers[number]!({
      throttleTimeMs: 0,
      errorCode: 0,
      sessionId: 1,
      responses,
      nodeEndpoints: [],
    });
  }
}

const NOTHING: PartitionAnswer = {
  partitionIndex: 0,
  errorCode: 0,
  highWatermark: 0,
  lastStableOffset: 0,
  logStartOffset: 0,
  divergingEpoch: { epoch: -1, endOffset: -1 },
  currentLeader: { leaderId: -1, leaderEpoch: -1 },
  snapshotId: { endOffset: -1, epoch: -1 },
  abortedTransactions: [],
  preferredReadReplica: -1,
  records: null,
};

/** This node follows the partition, having led it alone and written batches of so many records. */
async function follower(
  node: DataHarness,
  topic: string,
  counts: readonly number[],
): Promise<Partition> {
  await node.makeTopic(topic);
  const partition = node.partition(topic);
  for (const count of counts) await node.produced(topic, batch(count), { acks: -1 });
  follow(partition, LEADER, EPOCH);
  return partition;
}

function fetcherOf(node: DataHarness, { peers }: ScriptedLeader): ReplicaFetcher {
  return new ReplicaFetcher({
    nodeId: NODE_ID,
    leaderId: LEADER,
    channel: "replicas",
    clock: node.clock,
    logger: node.logger,
    peers,
    endpoint: () => ({ name: "PLAINTEXT", host: "leader", port: 9092 }) as never,
    brokerEpoch: () => 1,
    settings: () => SETTINGS,
    beforeTruncation: () => Promise.resolve(),
    afterTruncation: () => {},
  });
}

test("ReplicaFetcher: where the logs part is believed once, though two requests have asked", async () => {
  const node = await DataHarness.start();
  const parted = await follower(node, "a", [5, 3]);
  const other = await follower(node, "b", [1]);
  const leader = new ScriptedLeader();
  const fetcher = fetcherOf(node, leader);
  fetcher.add(parted);
  await node.clock.advance(1);
  leader.answer(0, parted, null);
  await node.clock.advance(1);
  // Asks for both: of `parted` the session knows what the first has named.
  fetcher.add(other);
  await node.clock.advance(1);
  expect(leader.requests).toHaveLength(3);
  const where = { divergingEpoch: { epoch: 0, endOffset: 5 } };
  leader.answer(1, parted, where);
  await node.clock.advance(100);
  expect(parted.log.endOffset).toBe(5 as never);
  leader.answer(2, parted, where);
  await node.clock.advance(100);
  expect(parted.log.endOffset).toBe(5 as never);
  expect(parted.log.logStartOffset).toBe(0 as never);
  const named = leader.requests.at(-1)!.topics.find(({ topicId }) => topicId === parted.topicId);
  expect(named?.partitions[0]?.fetchOffset).toBe(5);
  const closed = fetcher.close();
  leader.answer(leader.requests.length - 1, parted, null);
  await node.run(closed);
});

test("ReplicaFetcher: records that come twice are no failure, though a third request was sent between", async () => {
  const node = await DataHarness.start();
  const behind = await follower(node, "a", [5]);
  const other = await follower(node, "b", [1]);
  const leader = new ScriptedLeader();
  const fetcher = fetcherOf(node, leader);
  fetcher.add(behind);
  await node.clock.advance(1);
  leader.answer(0, behind, null);
  await node.clock.advance(1);
  fetcher.add(other);
  await node.clock.advance(1);
  expect(leader.requests).toHaveLength(3);
  const records = buildBatch({
    baseOffset: 5,
    partitionLeaderEpoch: EPOCH,
    records: [{ key: null, value: new Uint8Array(3), timestamp: 0 }],
  });
  leader.answer(1, behind, { records: records.slice() });
  await node.clock.advance(100);
  const named = leader.requests.at(-1)!.topics.find(({ topicId }) => topicId === behind.topicId);
  expect(named?.partitions[0]?.fetchOffset).toBe(6);
  leader.answer(2, behind, { records: records.slice(), highWatermark: 5 });
  await node.clock.advance(100);
  expect(node.logger.lines.filter(({ message }) => message.includes("not fetched"))).toEqual([]);
  expect(behind.log.endOffset).toBe(6 as never);
  expect(behind.highWatermark).toBe(5 as never);
  const closed = fetcher.close();
  for (const number of [3, 4]) {
    if (leader.requests[number] !== undefined) leader.answer(number, behind, null);
  }
  await node.run(closed);
});
