import { expect, test } from "bun:test";
import { GroupLoader } from "../../../broker/groups/group_loader.ts";
import { type CommittedOffset, GroupOffsets } from "../../../broker/groups/group_offsets.ts";
import { encodeGroupMetadata, encodeOffsetCommit } from "../../../broker/groups/group_records.ts";
import { buildMarker } from "../../../broker/coordination/transaction_end.ts";
import { WireError } from "../../../protocol/bytes.ts";
import { CompressionCodec } from "../../../protocol/compression.ts";
import { RECORD_BATCH_OVERHEAD, RECORD_COUNT_AT } from "../../../protocol/record_batch.ts";
import { buildBatch, type NewRecord } from "../../../protocol/records.ts";
import { leaderEpoch, offset, timestampMs, ZERO_UUID } from "../../../protocol/types.ts";
import { SimRandom } from "../../sim/sim_random.ts";

const TOPICS = ["orders", "paid"];
const PARTITIONS = 3;
const LEGACY_TYPE = 0;

function committed(at: number, metadata = ""): CommittedOffset {
  return {
    offset: offset(at),
    leaderEpoch: leaderEpoch(at % 5),
    metadata,
    commitTimestampMs: timestampMs(1000 + at),
    expireTimestampMs: timestampMs(-1),
    topicId: ZERO_UUID,
  };
}

/** What a group has: committed offsets, and which keys a transaction may change. */
function told(offsets: GroupOffsets): unknown {
  const keys = TOPICS.flatMap((topic) =>
    Array.from({ length: PARTITIONS }, (_, partition) => [topic, partition] as const)
  );
  return keys.map(([topic, partition]) => [
    offsets.get(topic, partition),
    offsets.isUnstable(topic, partition),
  ]);
}

function finish(loader: GroupLoader): void {
  for (const _ of loader.finish());
}

test("GroupLoader: what a log with transactions loads to is what its records come to one by one", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = new SimRandom(seed);
    const below = (bound: number) => random.uint32() % bound;
    const loader = new GroupLoader();
    const twin = new Map<string, GroupOffsets>();
    const twinOf = (groupId: string) => {
      const offsets = twin.get(groupId) ?? new GroupOffsets();
      twin.set(groupId, offsets);
      return offsets;
    };
    for (let step = 0; step < 120; step++) {
      const producerId = below(3) === 0 ? 1 + below(3) : -1;
      if (producerId >= 0 && below(2) === 0) {
        const outcome = below(2) === 0 ? "commit" : "abort";
        const end = { producerId, producerEpoch: 0, outcome, coordinatorEpoch: 0 } as const;
        loader.batch(buildMarker({ ...end, transactionVersion: 1 }, step), 0);
        for (const offsets of twin.values()) offsets.completeTransaction(producerId, outcome);
        continue;
      }
      const records: NewRecord[] = [];
      for (let count = 1 + below(4); count > 0; count--) {
        const groupId = `group-${below(3)}`;
        const topic = TOPICS[below(TOPICS.length)]!;
        const partition = below(PARTITIONS);
        const value = below(6) === 0 ? null : committed(step, "m".repeat(below(40)));
        const { key, value: bytes } = encodeOffsetCommit(groupId, topic, partition, value);
        // As brokers of long ago wrote it: the same key under another type.
        if (below(10) === 0) key[1] = LEGACY_TYPE;
        records.push({ key, value: bytes, timestamp: step });
        if (producerId < 0 || value === null) twinOf(groupId).set(topic, partition, value);
        else twinOf(groupId).setTransactional(producerId, topic, partition, value);
      }
      const compression = below(20) === 0 ? CompressionCodec.gzip : CompressionCodec.none;
      loader.batch(
        buildBatch({ records, compression, producerId, transactional: producerId >= 0 }),
        0,
      );
    }
    finish(loader);
    for (const [groupId, offsets] of twin) {
      const loaded = loader.groups.get(groupId)?.offsets ?? new GroupOffsets();
      expect([seed, groupId, told(loaded)]).toEqual([seed, groupId, told(offsets)]);
    }
  }
});

test("GroupLoader: a group whose offsets are all deleted is not there, one with metadata is", () => {
  const loader = new GroupLoader();
  const commit = (groupId: string, value: CommittedOffset | null) => ({
    ...encodeOffsetCommit(groupId, "orders", 0, value),
    timestamp: 1,
  });
  const metadata = encodeGroupMetadata("kept", {
    protocolType: "consumer",
    generationId: 3,
    protocolName: null,
    leader: null,
    currentStateTimestamp: timestampMs(1),
    members: [],
  });
  const records = [
    commit("gone", committed(1)),
    { ...metadata, timestamp: 1 },
    commit("gone", null),
    commit("kept", committed(7)),
  ];
  loader.batch(buildBatch({ records }), 0);
  finish(loader);
  expect(loader.groups.get("gone")?.offsets.isEmpty ?? true).toBe(true);
  expect(loader.groups.get("kept")?.metadata?.generationId).toBe(3);
  expect(loader.groups.get("kept")?.offsets.get("orders", 0)?.offset).toBe(offset(7));
  expect(loader.recordCount).toBe(4);
});

test("GroupLoader.batch: records that do not fit their batch are an error", () => {
  const { key, value } = encodeOffsetCommit("group", "orders", 0, committed(1));
  const whole = () => buildBatch({ records: [{ key, value, timestamp: 1 }] });
  const more = whole();
  more[RECORD_COUNT_AT + 3] = 2;
  const none = whole();
  none[RECORD_COUNT_AT + 3] = 0;
  const long = whole();
  long[RECORD_BATCH_OVERHEAD]! += 2;
  for (const bytes of [more, none, long, whole().subarray(0, 40)]) {
    expect(() => new GroupLoader().batch(bytes, 0)).toThrow(WireError);
  }
});

test("GroupLoader.finish: a value that cannot be read is an error, also where nothing came after it", () => {
  const { key, value } = encodeOffsetCommit("group", "orders", 0, committed(1));
  value![1] = 99;
  const loader = new GroupLoader();
  loader.batch(buildBatch({ records: [{ key, value, timestamp: 1 }] }), 0);
  expect(() => finish(loader)).toThrow(WireError);
});
