import { describe, expect, test } from "bun:test";
import { ErrorCode } from "../../../protocol/errors.ts";
import { batch, DataHarness } from "./harness.ts";

const ALL = { origin: "client", requiredAcks: -1 } as const;
const LEADER = { origin: "client", requiredAcks: 1 } as const;

async function started(configs: Readonly<Record<string, string>> = {}) {
  const node = await DataHarness.start();
  await node.makeTopic("a", { configs });
  return { node, partition: node.partition("a") };
}

describe("Partition.highWatermark", () => {
  test("is the synced offset, and moves with each sync", async () => {
    const { node, partition } = await started();
    partition.append(batch(3), ALL);
    expect([partition.highWatermark, partition.log.endOffset]).toEqual([0, 3] as never);
    await node.clock.advance(10);
    expect([partition.highWatermark, partition.log.highWatermark]).toEqual([3, 3] as never);
  });

  test("does not move for acks=1 that nobody reads, until the flusher wants to", async () => {
    const { node, partition } = await started();
    partition.append(batch(3), LEADER);
    await node.clock.advance(100);
    expect(partition.highWatermark).toBe(0 as never);
    await node.clock.advance(2000);
    expect(partition.highWatermark).toBe(3 as never);
  });

  test.each([
    ["flush.messages", "10"],
    ["flush.ms", "50"],
  ])("is the end offset where %s loosens it", async (name, value) => {
    const { node, partition } = await started({ [name]: value });
    partition.append(batch(3), ALL);
    expect([partition.highWatermark, partition.log.syncedOffset]).toEqual([3, 0] as never);
    for (let count = 0; count < 3; count++) partition.append(batch(3), LEADER);
    await node.clock.advance(60);
    expect(partition.log.syncedOffset).toBe(12 as never);
  });

  test("follows a change of the topic's settings, and never goes back", async () => {
    const { node, partition } = await started();
    partition.append(batch(3), LEADER);
    partition.updateConfig({ ...partition.config, isFlushRelaxed: true, flushMessages: 10 });
    expect(partition.highWatermark).toBe(3 as never);
    partition.updateConfig({ ...partition.config, isFlushRelaxed: false });
    partition.append(batch(1), LEADER);
    expect(partition.highWatermark).toBe(3 as never);
    await node.clock.advance(2000);
    expect(partition.highWatermark).toBe(4 as never);
  });

  test("tells those who wait of each move, until they stop", async () => {
    const { node, partition } = await started();
    const heard: number[] = [];
    const waiter = {
      appended() {},
      committed: () => void heard.push(partition.highWatermark),
      lost() {},
    };
    partition.addFetchWaiter(waiter);
    await node.produced("a", batch(2));
    await node.produced("a", batch(1));
    partition.removeWatch(waiter);
    await node.produced("a", batch(1));
    expect(heard).toEqual([2, 3]);
  });
});

describe("Partition.onCommitted", () => {
  test("settles in the order of offsets, duplicates and latecomers in between", async () => {
    const { node, partition } = await started();
    for (let count = 0; count < 4; count++) partition.append(batch(1), LEADER);
    const settled: string[] = [];
    for (const end of [2, 4, 1, 3, 2]) {
      partition.onCommitted(end, (error) => settled.push(`${end} ${error}`));
    }
    expect(settled).toEqual([]);
    await node.clock.advance(10);
    expect(settled).toEqual(["1 0", "2 0", "2 0", "3 0", "4 0"]);
    partition.onCommitted(4, (error) => settled.push(`late ${error}`));
    expect(settled.at(-1)).toBe("late 0");
  });

  test("lets a callback append and wait again, each settled once", async () => {
    const { node, partition } = await started();
    const settled: number[] = [];
    const wait = (end: number) =>
      partition.onCommitted(end, () => {
        settled.push(end);
        if (end > 2) return;
        const appended = partition.append(batch(1), ALL);
        if ("lastOffset" in appended) wait(appended.lastOffset + 1);
      });
    for (let count = 0; count < 2; count++) partition.append(batch(1), LEADER);
    wait(1);
    wait(2);
    // The looser rule moves the high watermark within the append, so the callback comes back here.
    partition.updateConfig({ ...partition.config, isFlushRelaxed: true, flushMessages: 10 });
    await node.clock.advance(100);
    expect(settled.toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4]);
  });

  test("settles hundreds of waits with a few syncs", async () => {
    const { node, partition } = await started();
    const before = node.disk.calls.sync;
    let count = 0;
    for (let i = 0; i < 1000; i++) {
      partition.append(batch(1), ALL);
      partition.onCommitted(partition.log.endOffset, () => count++);
    }
    await node.clock.advance(20);
    expect(count).toBe(1000);
    expect(node.disk.calls.sync - before).toBeLessThanOrEqual(3);
  });

  test("tells of a disk that fails, at once and later", async () => {
    const { node, partition } = await started();
    const errors: number[] = [];
    node.disk.faults.sync = () => "EIO";
    partition.append(batch(1), ALL);
    partition.onCommitted(1, (error) => errors.push(error));
    await node.clock.advance(10);
    partition.onCommitted(1, (error) => errors.push(error));
    expect(errors).toEqual([ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.KAFKA_STORAGE_ERROR]);
    expect(partition.highWatermark).toBe(0 as never);
  });

  test("tells when another node leads", async () => {
    const { partition } = await started();
    const errors: number[] = [];
    partition.append(batch(1), ALL);
    partition.onCommitted(1, (error) => errors.push(error));
    partition.updateImage({ ...partition.image, leader: 2, leaderEpoch: 1 as never });
    expect(errors).toEqual([ErrorCode.NOT_LEADER_OR_FOLLOWER]);
  });
});

describe("Partition.append", () => {
  test("refuses acks=all below min.insync.replicas, and takes acks=1", async () => {
    const { partition } = await started({ "min.insync.replicas": "2" });
    partition.updateImage({ ...partition.image, replicas: [1, 2, 3], isr: [1] });
    const refused = partition.append(batch(), ALL);
    expect(refused.error).toBe(ErrorCode.NOT_ENOUGH_REPLICAS);
    expect(partition.log.endOffset).toBe(0 as never);
    expect(partition.append(batch(), LEADER).error).toBe(ErrorCode.NONE);
    partition.updateImage({ ...partition.image, isr: [1, 2] });
    expect(partition.append(batch(), ALL).error).toBe(ErrorCode.NONE);
  });

  test("begins an epoch with its leadership, not with its first record", async () => {
    const { partition } = await started();
    partition.append(batch(2), LEADER);
    partition.updateImage({ ...partition.image, leaderEpoch: 3 as never });
    expect(partition.log.endOffsetForEpoch(0)).toEqual({ leaderEpoch: 0, endOffset: 2 });
    expect(partition.log.endOffsetForEpoch(3)).toEqual({ leaderEpoch: 3, endOffset: 2 });
  });

  test("counts committed bytes exactly once all is committed, whatever was merged", async () => {
    const { node, partition } = await started();
    let byteCount = 0;
    for (let i = 0; i < 200; i++) {
      const bytes = batch(1, { valueBytes: i });
      byteCount += bytes.length;
      partition.append(bytes, i % 50 === 0 ? ALL : LEADER);
      if (i % 70 === 0) await node.clock.advance(1);
      expect(partition.committedBytes).toBeLessThanOrEqual(byteCount);
    }
    await node.clock.advance(2000);
    expect(partition.committedBytes).toBe(byteCount);
  });
});
