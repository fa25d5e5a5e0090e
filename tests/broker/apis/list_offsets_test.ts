import { describe, expect, test } from "bun:test";
import { CompressionCodec } from "../../../protocol/compression.ts";
import { ErrorCode, errorName } from "../../../protocol/errors.ts";
import { buildBatch } from "../../../protocol/records.ts";
import { listOffsetsRequest, listOffsetsResponse } from "../../../protocol/schemas/list_offsets.ts";
import { SimRandom, testSeeds } from "../../sim/sim_random.ts";
import { batch, DataHarness } from "../partitions/harness.ts";

const T0 = Date.UTC(2026, 0, 1);

function ask(
  node: DataHarness,
  timestamp: number,
  { topic = "a", version = 11, partitions = 1, currentLeaderEpoch = -1, isolationLevel = 0 } = {},
) {
  return node.ask(node.apis.listOffsets, [listOffsetsRequest, listOffsetsResponse], version, {
    replicaId: -1,
    isolationLevel,
    timeoutMs: 0,
    topics: [{
      name: topic,
      partitions: Array.from({ length: partitions }, () => (
        { partitionIndex: 0, currentLeaderEpoch, timestamp }
      )),
    }],
  });
}

async function found(...parameters: Parameters<typeof ask>) {
  const [node] = parameters;
  const answer = await node.run(ask(...parameters).answer);
  return answer!.topics[0]!.partitions[0]!;
}

async function started(): Promise<DataHarness> {
  const node = await DataHarness.start();
  await node.makeTopic("a");
  await node.makeTopic("empty");
  await node.produced("a", batch(3, { firstTimestamp: T0 }));
  await node.produced(
    "a",
    batch(3, { firstTimestamp: T0 + 100, compression: CompressionCodec.zstd }),
  );
  await node.produced("a", batch(1, { firstTimestamp: T0 + 50 }));
  return node;
}

describe("listOffsetsApi", () => {
  // Timestamp and topic, then timestamp, offset and leader epoch of the answer, as Apache Kafka 4.3 gives.
  const CASES: readonly [number, string, [number, number, number]][] = [
    [-1, "a", [-1, 7, 0]],
    [-2, "a", [-1, 0, 0]],
    [-3, "a", [T0 + 102, 5, 0]],
    [-4, "a", [-1, 0, 0]],
    [-5, "a", [-1, -1, -1]],
    [-6, "a", [-1, -1, -1]],
    [0, "a", [T0, 0, 0]],
    [T0 + 1, "a", [T0 + 1, 1, 0]],
    [T0 + 3, "a", [T0 + 100, 3, 0]],
    [T0 + 101, "a", [T0 + 101, 4, 0]],
    [T0 + 103, "a", [-1, -1, -1]],
    [-1, "empty", [-1, 0, 0]],
    [-2, "empty", [-1, 0, 0]],
    [-3, "empty", [-1, -1, -1]],
    [-4, "empty", [-1, 0, 0]],
    [5, "empty", [-1, -1, -1]],
  ];
  test.each(CASES)("timestamp %i of %s", async (timestamp, topic, expected) => {
    const node = await started();
    const { errorCode, ...answer } = await found(node, timestamp, { topic });
    expect(errorCode).toBe(ErrorCode.NONE);
    expect([answer.timestamp, answer.offset, answer.leaderEpoch]).toEqual(expected);
  });

  const REFUSED: readonly [string, number, Parameters<typeof ask>[2], keyof typeof ErrorCode][] = [
    ["−3 before version 7", -3, { version: 6 }, "UNSUPPORTED_VERSION"],
    ["−3 in version 7", -3, { version: 7 }, "NONE"],
    ["−4 before version 8", -4, { version: 7 }, "UNSUPPORTED_VERSION"],
    ["−5 before version 9", -5, { version: 8 }, "UNSUPPORTED_VERSION"],
    ["−6 before version 11", -6, { version: 10 }, "UNSUPPORTED_VERSION"],
    ["−7", -7, {}, "UNSUPPORTED_VERSION"],
    ["−1 in version 1", -1, { version: 1 }, "NONE"],
    ["an unknown topic", -1, { topic: "nope" }, "UNKNOWN_TOPIC_OR_PARTITION"],
    ["an unknown timestamp of an unknown topic", -9, { topic: "nope" }, "UNSUPPORTED_VERSION"],
    ["an epoch to come", -1, { currentLeaderEpoch: 1 }, "UNKNOWN_LEADER_EPOCH"],
    ["a partition twice", -1, { partitions: 2 }, "INVALID_REQUEST"],
  ];
  test.each(REFUSED)("%s", async (_, timestamp, options, expected) => {
    const node = await started();
    const { errorCode } = await found(node, timestamp, options);
    expect(errorName(errorCode as ErrorCode)).toBe(expected);
  });

  test.each([-1, -3, T0 + 500])(
    "counts what acks=1 has acknowledged, timestamp %i",
    async (timestamp) => {
      const node = await started();
      await node.produced("a", batch(1, { firstTimestamp: T0 + 500 }), { acks: 1 });
      const asked = ask(node, timestamp);
      expect(asked.isSynchronous).toBe(false);
      const answer = await node.run(asked.answer);
      expect(answer!.topics[0]!.partitions[0]!.offset).toBe(timestamp === -1 ? 8 : 7);
      expect(node.partition("a").log.syncedOffset).toBe(8 as never);
    },
  );

  test("answers at once where nothing is uncommitted, or only the start is asked for", async () => {
    const node = await started();
    expect(ask(node, -1).isSynchronous).toBe(true);
    await node.produced("a", batch(1), { acks: 1 });
    expect(ask(node, -2).isSynchronous).toBe(true);
  });

  test("answers with what is committed when the commit fails", async () => {
    const node = await started();
    await node.produced("a", batch(1), { acks: 1 });
    node.disk.faults.sync = () => "EIO";
    const { errorCode } = await found(node, -1);
    expect(errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
  });

  test.each(testSeeds(20))(
    "finds by timestamp what a plain search finds, seed %i",
    async (seed) => {
      const random = new SimRandom(seed);
      const node = await DataHarness.start({ seed });
      await node.makeTopic("a", { configs: { "index.interval.bytes": "100" } });
      const all: number[] = [];
      for (let count = 0; count < 30; count++) {
        const timestamps = Array.from(
          { length: 1 + random.below(6) },
          () => T0 + random.below(1000),
        );
        await node.produced(
          "a",
          buildBatch({
            records: timestamps.map((timestamp) => (
              { key: null, value: random.bytes(random.below(100)), timestamp }
            )),
            compression: random.below(5) as 0,
          }),
        );
        all.push(...timestamps);
      }
      const start = random.below(all.length / 2);
      node.partition("a").log.deleteRecordsBefore(start as never);
      for (let count = 0; count < 50; count++) {
        const timestamp = T0 + random.below(1100) - 50;
        const offset = all.findIndex((each, index) => index >= start && each >= timestamp);
        expect((await found(node, timestamp)).offset).toBe(offset);
      }
      const largest = Math.max(...all.slice(start));
      const newest = await found(node, -3);
      if (newest.offset >= 0) expect(newest.timestamp).toBeGreaterThanOrEqual(largest);
    },
  );
});
