/** Fetch as followers ask it, and as consumers do of followers. */

import { describe, expect, test } from "bun:test";
import type { Partition } from "../../../broker/partitions/partition.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { leaderEpoch } from "../../../protocol/types.ts";
import { NODE_ID } from "../controller/harness.ts";
import {
  batch,
  DataHarness,
  type FetchBody,
  type FetchPartitionBody,
} from "../partitions/harness.ts";

const FOLLOWER = 2;
const VERSION = 17;
const TOPIC = "a";

/** This node leads `a`, and node 2 follows. */
async function leader(): Promise<{ node: DataHarness; partition: Partition }> {
  const node = await DataHarness.start();
  await node.makeTopic(TOPIC);
  const partition = node.partition(TOPIC);
  const replicas = [NODE_ID, FOLLOWER];
  const image = { ...partition.image, replicas, isr: replicas, leaderEpoch: leaderEpoch(3) };
  partition.updateImage({ ...image, partitionEpoch: 1 });
  return { node, partition };
}

const asFollower = { replicaState: { replicaId: FOLLOWER, replicaEpoch: 7 } };

function follow(node: DataHarness, at: FetchPartitionBody, body: FetchBody = {}) {
  const partition = { currentLeaderEpoch: 3, ...at };
  return node.fetched(TOPIC, partition, { ...asFollower, maxWaitMs: 0, ...body }, VERSION);
}

describe("Fetch of a follower", () => {
  test("reads what is not committed, and commits what it names", async () => {
    const { node, partition } = await leader();
    const produced = node.produce(TOPIC, batch(3));
    await node.clock.advance(50);
    expect(partition.highWatermark).toBe(0 as never);
    const first = await follow(node, { fetchOffset: 0 });
    expect(first.records!.length).toBeGreaterThan(0);
    expect(first.highWatermark).toBe(0);
    const second = await follow(node, { fetchOffset: 3, lastFetchedEpoch: 3 });
    expect(second.highWatermark).toBe(3);
    const answer = await node.run(produced.answer);
    expect(answer!.responses[0]!.partitionResponses[0]!.errorCode).toBe(ErrorCode.NONE);
  });

  test("is woken by an append", async () => {
    const { node } = await leader();
    const asked = follow(node, {}, { maxWaitMs: 400 });
    const producing = node.produce(TOPIC, batch(1), { acks: 1 });
    expect((await asked).records!.length).toBeGreaterThan(0);
    await producing.answer;
    expect(node.clock.monotonicMs()).toBeLessThan(300);
  });

  test("does not count where the logs part, nor past the end", async () => {
    const { node, partition } = await leader();
    await node.produced(TOPIC, batch(5), { acks: 1 });
    await node.clock.advance(50);
    const parted = await follow(node, { fetchOffset: 5, lastFetchedEpoch: 2 });
    expect(parted.divergingEpoch).toEqual({ epoch: 2, endOffset: 0 });
    const beyond = await follow(node, { fetchOffset: 9 });
    expect(beyond.errorCode).toBe(ErrorCode.OFFSET_OUT_OF_RANGE);
    expect(beyond.logStartOffset).toBe(0);
    expect(partition.replicas!.syncedOffsetOf(FOLLOWER)).toBe(-1);
    expect(partition.highWatermark).toBe(0 as never);
  });

  test("of an older epoch is fenced; of a later one ends the leadership", async () => {
    const { node, partition } = await leader();
    const old = await follow(node, { currentLeaderEpoch: 2 });
    expect(old.errorCode).toBe(ErrorCode.FENCED_LEADER_EPOCH);
    expect(partition.isLeader).toBe(true);
    const waiting = node.produce(TOPIC, batch(1));
    const later = await follow(node, { currentLeaderEpoch: 4 });
    expect(later.errorCode).toBe(ErrorCode.UNKNOWN_LEADER_EPOCH);
    const answer = await node.run(waiting.answer);
    expect(answer!.responses[0]!.partitionResponses[0]!.errorCode)
      .toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    expect((await node.produced(TOPIC, batch(1), { acks: 1 })).errorCode)
      .toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  });

  test("is refused to who is no replica", async () => {
    const { node } = await leader();
    const found = await follow(node, {}, { replicaState: { replicaId: 5, replicaEpoch: 1 } });
    expect(found.errorCode).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  });

  test("ends the wait of the fetch before it in its session", async () => {
    const { node } = await leader();
    const topics = [{ topic: TOPIC, partitions: [{ currentLeaderEpoch: 3 }] }];
    const body = { ...asFollower, maxWaitMs: 400 };
    const opened = await node.run(
      node.fetch({ ...body, maxWaitMs: 0, topics, sessionEpoch: 0 }, VERSION).answer,
    );
    const { sessionId } = opened!;
    const first = node.fetch({ ...body, sessionId, sessionEpoch: 1 }, VERSION);
    const second = node.fetch({ ...body, sessionId, sessionEpoch: 2 }, VERSION);
    const before = node.clock.monotonicMs();
    await node.run(first.answer);
    expect(node.clock.monotonicMs() - before).toBeLessThan(10);
    await node.run(second.answer);
    expect(node.clock.monotonicMs() - before).toBeGreaterThan(300);
  });
});

describe("Fetch of a consumer from a follower", () => {
  test("is served to who names its rack, up to what the leader has told", async () => {
    const { node, partition } = await leader();
    await node.produced(TOPIC, batch(4), { acks: 1 });
    await node.clock.advance(50);
    const epoch = leaderEpoch(4);
    partition.updateImage({ ...partition.image, leader: FOLLOWER, leaderEpoch: epoch });
    const ask = (fetchOffset: number, rackId: string) =>
      node.fetched(TOPIC, { fetchOffset }, { rackId, maxWaitMs: 0 });
    expect((await ask(0, "")).errorCode).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    expect((await ask(1, "r")).errorCode).toBe(ErrorCode.OFFSET_NOT_AVAILABLE);
    partition.requestCommit();
    await node.clock.advance(50);
    partition.noteLeader({ leaderEpoch: 4, highWatermark: 9, logStartOffset: 0 });
    const found = await ask(0, "r");
    expect([found.errorCode, found.highWatermark]).toEqual([ErrorCode.NONE, 4]);
    expect(found.records!.length).toBeGreaterThan(0);
  });
});
