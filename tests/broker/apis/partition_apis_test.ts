import { describe, expect, test } from "bun:test";
import { ErrorCode, errorName } from "../../../protocol/errors.ts";
import {
  deleteRecordsRequest,
  deleteRecordsResponse,
} from "../../../protocol/schemas/delete_records.ts";
import {
  describeLogDirsRequest,
  describeLogDirsResponse,
} from "../../../protocol/schemas/describe_log_dirs.ts";
import {
  describeProducersRequest,
  describeProducersResponse,
} from "../../../protocol/schemas/describe_producers.ts";
import {
  offsetForLeaderEpochRequest,
  offsetForLeaderEpochResponse,
} from "../../../protocol/schemas/offset_for_leader_epoch.ts";
import type { Encodable } from "../../../protocol/schema.ts";
import { listOffsetsRequest, listOffsetsResponse } from "../../../protocol/schemas/list_offsets.ts";
import { batch, DataHarness, UNKNOWN_TOPIC_ID } from "../partitions/harness.ts";

async function started(): Promise<DataHarness> {
  const node = await DataHarness.start();
  await node.makeTopic("a", { partitionCount: 2 });
  await node.makeTopic("compacted", { configs: { "cleanup.policy": "compact" } });
  await node.makeTopic("both", { configs: { "cleanup.policy": "compact,delete" } });
  await node.makeTopic("__consumer_offsets");
  for (const topic of ["a", "compacted", "both"]) {
    for (let count = 0; count < 2; count++) await node.produced(topic, batch(5));
  }
  return node;
}

describe("deleteRecordsApi", () => {
  async function deleted(node: DataHarness, topic: string, offset: number, partitionIndex = 0) {
    const answer = await node.run(
      node.ask(node.apis.deleteRecords, [deleteRecordsRequest, deleteRecordsResponse], 2, {
        topics: [{ name: topic, partitions: [{ partitionIndex, offset }] }],
        timeoutMs: 1000,
      }).answer,
    );
    return answer!.topics[0]!.partitions[0]!;
  }

  const CASES: readonly [string, number, number, keyof typeof ErrorCode, number][] = [
    ["a", 7, 0, "NONE", 7],
    ["a", 0, 0, "NONE", 0],
    ["a", 10, 0, "NONE", 10],
    ["a", -1, 0, "NONE", 10],
    ["a", 11, 0, "OFFSET_OUT_OF_RANGE", -1],
    ["a", -2, 0, "OFFSET_OUT_OF_RANGE", -1],
    ["a", 0, 2, "UNKNOWN_TOPIC_OR_PARTITION", -1],
    ["nope", 0, 0, "UNKNOWN_TOPIC_OR_PARTITION", -1],
    ["compacted", 1, 0, "POLICY_VIOLATION", -1],
    ["both", 1, 0, "NONE", 1],
    ["__consumer_offsets", 0, 0, "INVALID_TOPIC_EXCEPTION", -1],
  ];
  test.each(CASES)("%s before %i of partition %i", async (topic, offset, index, expected, low) => {
    const node = await started();
    const { errorCode, lowWatermark } = await deleted(node, topic, offset, index);
    expect([errorName(errorCode as ErrorCode), lowWatermark]).toEqual([expected, low]);
  });

  test("never moves back, and readers before the start are out of range", async () => {
    const node = await started();
    await deleted(node, "a", 6);
    expect((await deleted(node, "a", 2)).lowWatermark).toBe(6);
    const below = await node.fetched("a", { fetchOffset: 5 }, { maxWaitMs: 0 });
    expect(below.errorCode).toBe(ErrorCode.OFFSET_OUT_OF_RANGE);
    const at = await node.fetched("a", { fetchOffset: 6 }, { maxWaitMs: 0 });
    expect([at.errorCode, at.logStartOffset]).toEqual([ErrorCode.NONE, 6]);
  });

  test("deletes what acks=1 has written, after its commit", async () => {
    const node = await started();
    await node.produced("a", batch(3), { acks: 1 });
    expect((await deleted(node, "a", -1)).lowWatermark).toBe(13);
    await node.produced("a", batch(3), { acks: 1 });
    expect((await deleted(node, "a", 15)).lowWatermark).toBe(15);
  });

  test("does not delete what is not committed in time", async () => {
    const node = await DataHarness.start({ maxSyncMs: 60_000 });
    await node.makeTopic("a");
    await node.produced("a", batch(3), { acks: 1 });
    const { errorCode } = await deleted(node, "a", 2);
    expect(errorCode).toBe(ErrorCode.OFFSET_OUT_OF_RANGE);
    expect(node.partition("a").log.logStartOffset).toBe(0 as never);
  });

  test("lives through a crash once it is answered", async () => {
    const node = await started();
    await deleted(node, "a", 7);
    node.crash();
    await node.openWhole();
    expect(node.partition("a").log.logStartOffset).toBe(7 as never);
  });

  test("is not acknowledged when it cannot be made stable", async () => {
    const node = await started();
    node.disk.faults.sync = (path) => path.includes("log-start-offset") ? "EIO" : null;
    const { errorCode } = await deleted(node, "a", 7);
    expect(errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
  });
});

describe("offsetForLeaderEpochApi", () => {
  async function end(
    node: DataHarness,
    leaderEpoch: number,
    { currentLeaderEpoch = -1, topic = "a" } = {},
  ) {
    const answer = await node.run(
      node.ask(
        node.apis.offsetForLeaderEpoch,
        [offsetForLeaderEpochRequest, offsetForLeaderEpochResponse],
        4,
        {
          replicaId: -1,
          topics: [{ topic, partitions: [{ partition: 0, currentLeaderEpoch, leaderEpoch }] }],
        },
      ).answer,
    );
    const found = answer!.topics[0]!.partitions[0]!;
    return [errorName(found.errorCode as ErrorCode), found.leaderEpoch, found.endOffset];
  }

  test("tells where each epoch ends, as Kafka does", async () => {
    const node = await started();
    expect(await end(node, 0)).toEqual(["NONE", 0, 10]);
    const partition = node.partition("a");
    partition.updateImage({ ...partition.image, leaderEpoch: 4 as never });
    await node.produced("a", batch(2));
    const cases: readonly [number, (string | number)[]][] = [
      [0, ["NONE", 0, 10]],
      [2, ["NONE", 0, 10]],
      [4, ["NONE", 4, 12]],
      [5, ["NONE", -1, -1]],
      [-1, ["NONE", -1, -1]],
    ];
    for (const [epoch, expected] of cases) expect(await end(node, epoch)).toEqual(expected);
    expect(await end(node, 0, { currentLeaderEpoch: 3 })).toEqual(["FENCED_LEADER_EPOCH", -1, -1]);
    expect(await end(node, 0, { currentLeaderEpoch: 5 })).toEqual(["UNKNOWN_LEADER_EPOCH", -1, -1]);
    expect(await end(node, 0, { topic: "nope" }))
      .toEqual(["UNKNOWN_TOPIC_OR_PARTITION", -1, -1]);
  });
});

describe("describeLogDirsApi", () => {
  async function described(
    node: DataHarness,
    topics: { topic: string; partitions: number[] }[] | null,
  ) {
    const answer = await node.run(
      node.ask(node.apis.describeLogDirs, [describeLogDirsRequest, describeLogDirsResponse], 5, {
        topics,
      }).answer,
    );
    return answer!.results[0]!;
  }

  test("null topics are all, a list is only those that are here", async () => {
    const node = await started();
    const all = await described(node, null);
    expect(all.topics.map(({ name }) => name).sort())
      .toEqual(["__consumer_offsets", "a", "both", "compacted"]);
    const some = await described(node, [
      { topic: "a", partitions: [1, 9] },
      { topic: "nope", partitions: [0] },
    ]);
    expect(some.topics.map(({ name, partitions }) => [name, partitions.length])).toEqual([[
      "a",
      1,
    ]]);
    expect((await described(node, [])).topics).toEqual([]);
  });

  test("tells the bytes of each partition, and an offline directory", async () => {
    const node = await started();
    const { topics, logDir } = await described(node, [{ topic: "a", partitions: [0] }]);
    const path = node.disk.files().find((file) => file.includes("/a-0/") && file.endsWith(".log"))!;
    expect(topics[0]!.partitions[0]!.partitionSize).toBe(node.disk.bytesOf(path).length);
    expect(logDir).toBe("/data");
    node.disk.faults.sync = () => "EIO";
    await node.produced("a", batch());
    expect((await described(node, null)).errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
  });
});

describe("describeProducersApi", () => {
  test("tells the idempotent producers of a partition, as far as they came", async () => {
    const node = await started();
    const producer = { producerId: 9, producerEpoch: 2 };
    await node.produced("a", batch(3, { ...producer, baseSequence: 0 }));
    await node.produced("a", batch(2, { ...producer, baseSequence: 3 }));
    const answer = await node.run(
      node.ask(
        node.apis.describeProducers,
        [describeProducersRequest, describeProducersResponse],
        0,
        {
          topics: [
            { name: "a", partitionIndexes: [0, 1, 2] },
            { name: "not a name", partitionIndexes: [0] },
          ],
        },
      ).answer,
    );
    expect(answer!.topics[1]!.partitions[0]!.errorCode).toBe(ErrorCode.INVALID_TOPIC_EXCEPTION);
    const [first, second, third] = answer!.topics[0]!.partitions;
    expect(first!.activeProducers).toMatchObject([
      { producerId: 9, producerEpoch: 2, lastSequence: 4, currentTxnStartOffset: -1 },
    ]);
    expect([second!.errorCode, second!.activeProducers]).toEqual([ErrorCode.NONE, []]);
    expect(third!.errorCode).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  });
});

describe("every served version", () => {
  /** A topic with records, one that is unknown, one that another node leads. */
  async function world(): Promise<DataHarness> {
    const node = await started();
    await node.makeTopic("elsewhere");
    const partition = node.partition("elsewhere");
    partition.updateImage({ ...partition.image, leader: 2 });
    return node;
  }
  const TOPICS = ["a", "nope", "elsewhere"];
  const EXPECTED: number[] = [
    ErrorCode.NONE,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ];
  function versions(lowest: number, highest: number): number[] {
    return Array.from({ length: highest - lowest + 1 }, (_, index) => lowest + index);
  }

  test.each(versions(3, 13))("of Produce can say what it must, version %i", async (version) => {
    const node = await world();
    const codes = [];
    for (const topic of TOPICS) {
      const topicId = node.controller.image().topicByName(topic)?.id ?? UNKNOWN_TOPIC_ID;
      codes.push((await node.produced(topic, batch(), { version, topicId })).errorCode);
    }
    expect(codes).toEqual(
      version < 13 ? EXPECTED : EXPECTED.with(1, ErrorCode.UNKNOWN_TOPIC_ID),
    );
    const refused = await node.produced("a", batch(1, { control: true }), {
      version,
      topicId: node.controller.image().topicByName("a")!.id,
    });
    expect(refused.errorCode).toBe(ErrorCode.INVALID_RECORD);
  });

  test.each(versions(4, 18))("of Fetch can say what it must, version %i", async (version) => {
    const node = await world();
    const codes = [];
    for (const topic of TOPICS) codes.push((await node.fetched(topic, {}, {}, version)).errorCode);
    expect(codes).toEqual(
      version < 13 ? EXPECTED : EXPECTED.with(1, ErrorCode.UNKNOWN_TOPIC_ID),
    );
    const found = await node.fetched("a", {}, { maxWaitMs: 0 }, version);
    expect(found.records!.length).toBeGreaterThan(0);
    if (version < 12) return;
    const diverging = await node.fetched(
      "a",
      { fetchOffset: 99, lastFetchedEpoch: 0 },
      {},
      version,
    );
    expect(diverging.divergingEpoch.endOffset).toBe(10);
  });

  test.each(versions(1, 11))("of ListOffsets can say what it must, version %i", async (version) => {
    const node = await world();
    const answer = await node.run(
      node.ask(node.apis.listOffsets, [listOffsetsRequest, listOffsetsResponse], version, {
        replicaId: -1,
        isolationLevel: 0,
        timeoutMs: 0,
        topics: TOPICS.map((name) => ({
          name,
          partitions: [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp: -1 }],
        })),
      } as Encodable<typeof listOffsetsRequest>).answer,
    );
    expect(answer!.topics.map(({ partitions }) => partitions[0]!.errorCode))
      .toEqual(EXPECTED);
    expect(answer!.topics[0]!.partitions[0]!.offset).toBe(10);
  });

  test.each(versions(0, 2))(
    "of DeleteRecords can say what it must, version %i",
    async (version) => {
      const node = await world();
      const answer = await node.run(
        node.ask(node.apis.deleteRecords, [deleteRecordsRequest, deleteRecordsResponse], version, {
          topics: TOPICS.map((name) => ({ name, partitions: [{ partitionIndex: 0, offset: 2 }] })),
          timeoutMs: 1000,
        }).answer,
      );
      expect(answer!.topics.map(({ partitions }) => partitions[0]!.errorCode))
        .toEqual(EXPECTED);
    },
  );

  test.each(versions(2, 4))("of OffsetForLeaderEpoch, version %i", async (version) => {
    const node = await world();
    const answer = await node.run(
      node.ask(
        node.apis.offsetForLeaderEpoch,
        [offsetForLeaderEpochRequest, offsetForLeaderEpochResponse],
        version,
        {
          ...(version >= 3 && { replicaId: -1 }),
          topics: TOPICS.map((topic) => ({
            topic,
            partitions: [{ partition: 0, currentLeaderEpoch: -1, leaderEpoch: 0 }],
          })),
        },
      ).answer,
    );
    expect(answer!.topics.map(({ partitions }) => partitions[0]!.errorCode))
      .toEqual(EXPECTED);
  });

  test.each(versions(1, 5))("of DescribeLogDirs, version %i", async (version) => {
    const node = await world();
    const answer = await node.run(
      node.ask(
        node.apis.describeLogDirs,
        [describeLogDirsRequest, describeLogDirsResponse],
        version,
        { topics: null },
      ).answer,
    );
    expect(answer!.results[0]!.topics.length).toBeGreaterThan(3);
  });
});
