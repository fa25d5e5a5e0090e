import { describe, expect, test } from "bun:test";
import { CompressionCodec } from "../../protocol/compression.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { batches, readBatchHeader } from "../../protocol/record_batch.ts";
import { buildBatch, readRecords } from "../../protocol/records.ts";
import { offset } from "../../protocol/types.ts";
import type { ReadOptions } from "../../storage/log.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { Fixture, ORDERS_PATH } from "./log_fixture.ts";

const ALL: ReadOptions = { maxBytes: 1 << 20, minOneMessage: true };

function offsetsOf(fixture: Fixture, from: number, options: ReadOptions = ALL): number[] {
  const result = fixture.log.read(offset(from), options);
  if (!("records" in result)) throw new Error(result.message);
  const offsets: number[] = [];
  for (let at = 0; at < result.records.length;) {
    const batch = result.records.subarray(at);
    offsets.push(
      ...readRecords(batch, 0, { maxDecompressedBytes: 1 << 20 }).map((one) => one.offset),
    );
    at += 12 + readBatchHeader(batch, 0).batchLength;
  }
  result.release();
  return offsets;
}

test("Log.appendAsLeader: gives offsets and the leader epoch in place, and changes nothing else", async () => {
  const fixture = await Fixture.open();
  fixture.append(3);
  const sent = buildBatch({
    records: [{ key: null, value: new Uint8Array(5), timestamp: fixture.clock.wallMs() }],
    compression: CompressionCodec.zstd,
  });
  const before = sent.slice();
  const result = fixture.log.appendAsLeader(sent, { leaderEpoch: 9, origin: "client" });
  expect(result).toEqual({
    error: 0,
    baseOffset: offset(3),
    lastOffset: offset(3),
    logAppendTimeMs: -1,
    logStartOffset: offset(0),
    duplicate: false,
  });
  const stored = fixture.disk.bytesOf(fixture.path(0)).subarray(-sent.length);
  expect(readBatchHeader(stored, 0)).toMatchObject({ baseOffset: 3, partitionLeaderEpoch: 9 });
  expect(stored.subarray(16)).toEqual(before.subarray(16));
});

test("Log.appendAsLeader: stamps LogAppendTime under a checksum that fits", async () => {
  const fixture = await Fixture.open({ messageTimestampType: "LogAppendTime" });
  const nowMs = fixture.clock.wallMs();
  const result = fixture.append(2);
  expect(result).toMatchObject({ error: 0, logAppendTimeMs: nowMs });
  const read = fixture.log.read(offset(0), ALL);
  if (!("records" in read)) throw new Error(read.message);
  const follower = await Fixture.open();
  expect(follower.log.appendAsFollower(read.records.slice()).error).toBe(ErrorCode.NONE);
  expect(await follower.log.maxTimestampOffset()).toMatchObject({ timestampMs: nowMs, offset: 0 });
});

test("Log.appendAsLeader: gives a batch the topic's compression, and changes nothing else", async () => {
  const records = Array.from({ length: 5 }, (_, i) => ({
    key: new Uint8Array([i]),
    value: new Uint8Array(100).fill(i),
    headers: [{ key: "h", value: null }],
    timestamp: 1000 + i,
  }));
  for (
    const compressionType of ["uncompressed", "gzip", "snappy", "lz4", "zstd", "producer"] as const
  ) {
    const fixture = await Fixture.open({ compressionType });
    fixture.append(0, {
      records,
      compression: CompressionCodec.lz4,
      producerId: 7,
      producerEpoch: 2,
      baseSequence: 40,
    });
    const read = fixture.log.read(offset(0), ALL);
    if (!("records" in read)) throw new Error(read.message);
    const expected = { uncompressed: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4, producer: 3 };
    expect(readBatchHeader(read.records, 0)).toMatchObject({
      attributes: expected[compressionType],
      producerId: 7,
      producerEpoch: 2,
      baseSequence: 40,
      maxTimestamp: 1004,
    });
    const stored = readRecords(read.records, 0, { maxDecompressedBytes: 1 << 20 });
    expect(stored).toEqual(records.map((record, i) => ({ offset: i, ...record })));
  }
  const fixture = await Fixture.open({ compressionType: "uncompressed", maxMessageBytes: 400 });
  const answer = fixture.append(0, { records, compression: CompressionCodec.zstd });
  expect(answer.error).toBe(ErrorCode.MESSAGE_TOO_LARGE);
});

describe("Log.read:", () => {
  async function filled(): Promise<Fixture> {
    const fixture = await Fixture.open({ segmentBytes: 1000, indexIntervalBytes: 100 });
    for (let i = 0; i < 20; i++) fixture.append(3, { valueBytes: 20 });
    return fixture;
  }

  test("a fetch in the middle of a batch gives the whole batch", async () => {
    const fixture = await filled();
    for (let at = 0; at < 60; at++) {
      const batchStart = at - at % 3;
      expect(offsetsOf(fixture, at, { maxBytes: 1, minOneMessage: true }))
        .toEqual([batchStart, batchStart + 1, batchStart + 2]);
    }
  });

  test("gives whole batches up to maxBytes, and the first one whatever its size", async () => {
    const fixture = await filled();
    expect(offsetsOf(fixture, 0, { maxBytes: 400, minOneMessage: false })).toHaveLength(6);
    expect(offsetsOf(fixture, 0, { maxBytes: 100, minOneMessage: false })).toEqual([]);
    expect(offsetsOf(fixture, 0, { maxBytes: 100, minOneMessage: true })).toHaveLength(3);
    expect(offsetsOf(fixture, 0, { maxBytes: 0, minOneMessage: false })).toEqual([]);
  });

  test("gives a first batch that is larger than one read whole", async () => {
    const fixture = await Fixture.open();
    fixture.append(1, { valueBytes: 300_000 });
    fixture.append(1);
    expect(offsetsOf(fixture, 0, { maxBytes: 10, minOneMessage: true })).toEqual([0]);
  });

  test("stops before the batch that ends at or past upToOffset", async () => {
    const fixture = await filled();
    expect(offsetsOf(fixture, 0, { ...ALL, upToOffset: offset(6) })).toEqual([0, 1, 2, 3, 4, 5]);
    expect(offsetsOf(fixture, 0, { ...ALL, upToOffset: offset(5) })).toEqual([0, 1, 2]);
    expect(offsetsOf(fixture, 6, { ...ALL, upToOffset: offset(6) })).toEqual([]);
  });

  test("answers OFFSET_OUT_OF_RANGE outside of the log, and nothing at its end", async () => {
    const fixture = await filled();
    expect(offsetsOf(fixture, 60)).toEqual([]);
    expect(fixture.log.read(offset(61), ALL).error).toBe(ErrorCode.OFFSET_OUT_OF_RANGE);
    fixture.log.deleteRecordsBefore(offset(10));
    expect(fixture.log.read(offset(9), ALL).error).toBe(ErrorCode.OFFSET_OUT_OF_RANGE);
    expect(offsetsOf(fixture, 10, { ...ALL, maxBytes: 1 })).toEqual([9, 10, 11]);
  });

  test("hands out a buffer that is in use to readers of the same place only", async () => {
    const fixture = await filled();
    const read = (at: number) => {
      const found = fixture.log.read(offset(at), ALL);
      if (!("records" in found)) throw new Error("no records");
      return found;
    };
    const first = read(0);
    const second = read(9);
    expect(first.records.buffer).not.toBe(second.records.buffer);
    first.release();
    first.release();
    expect(read(9).records.buffer).toBe(second.records.buffer);
    expect(read(0).records.buffer).not.toBe(second.records.buffer);
  });
});

describe("Log rolls its segment", () => {
  test("by size", async () => {
    const fixture = await Fixture.open({ segmentBytes: 300 });
    for (let i = 0; i < 9; i++) fixture.append(1);
    expect(fixture.log.segments.length).toBe(3);
    expect(offsetsOf(fixture, 0)).toEqual([0, 1, 2]);
  });

  test("by the records' own time", async () => {
    const fixture = await Fixture.open({ segmentMs: 1000 });
    fixture.append(1);
    await fixture.clock.advance(1000);
    fixture.append(1);
    expect(fixture.log.segments.length).toBe(1);
    await fixture.clock.advance(1);
    fixture.append(1);
    expect(fixture.log.segments.length).toBe(2);
  });

  test("when an index is full", async () => {
    const fixture = await Fixture.open({ segmentIndexBytes: 24, indexIntervalBytes: 0 });
    for (let i = 0; i < 12; i++) {
      fixture.append(1);
      await fixture.clock.advance(1);
    }
    expect(fixture.log.segments.length).toBeGreaterThan(3);
  });

  test("when an offset is too far from the segment's base", async () => {
    const fixture = await Fixture.open();
    fixture.append(1);
    const far = buildBatch({
      records: [{ key: null, value: null, timestamp: 1 }],
      baseOffset: 0x7fff_ffff,
      partitionLeaderEpoch: 0,
    });
    expect(fixture.log.appendAsFollower(far.slice()).error).toBe(ErrorCode.NONE);
    expect(fixture.log.segments.length).toBe(1);
    new DataView(far.buffer).setBigInt64(0, 0x8000_0000n);
    expect(fixture.log.appendAsFollower(far).error).toBe(ErrorCode.NONE);
    expect(fixture.log.segments.length).toBe(2);
    expect(offsetsOf(fixture, 0x8000_0000)).toEqual([0x8000_0000]);
    expect(offsetsOf(fixture, 1)).toEqual([0x7fff_ffff]);
  });
});

describe("Log.offsetForTimestamp:", () => {
  test("is exact within a batch, compressed or not", async () => {
    const fixture = await Fixture.open({ indexIntervalBytes: 0, segmentBytes: 400 });
    for (let i = 0; i < 12; i++) {
      const records = [0, 1, 2].map((j) => ({
        key: null,
        value: new Uint8Array(30),
        timestamp: 1000 + 30 * i + 10 * j,
      }));
      fixture.append(0, { records, compression: i % 2 === 0 ? 0 : 1 });
    }
    for (let at = 0; at < 36; at++) {
      expect(await fixture.log.offsetForTimestamp(1000 + 10 * at)).toMatchObject({ offset: at });
      expect(await fixture.log.offsetForTimestamp(1000 + 10 * at - 9)).toMatchObject({
        offset: at,
      });
    }
    expect(await fixture.log.offsetForTimestamp(1351)).toBeNull();
    expect(await fixture.log.maxTimestampOffset()).toMatchObject({ offset: 35, timestampMs: 1350 });
  });

  test("finds the first record even where time goes back", async () => {
    const fixture = await Fixture.open({ indexIntervalBytes: 0 });
    for (const timestamp of [500, 100, 300, 500, 200, 600]) {
      fixture.append(0, { records: [{ key: null, value: null, timestamp }] });
    }
    expect(await fixture.log.offsetForTimestamp(400)).toMatchObject({
      offset: 0,
      timestampMs: 500,
    });
    expect(await fixture.log.offsetForTimestamp(501)).toMatchObject({
      offset: 5,
      timestampMs: 600,
    });
    expect(await fixture.log.maxTimestampOffset()).toMatchObject({ offset: 5 });
  });
});

describe("Log durability:", () => {
  test("one sync serves all appends of a turn, and those during a sync share the next", async () => {
    const fixture = await Fixture.open();
    fixture.append(1);
    await fixture.log.whenSynced(fixture.log.endOffset);
    const before = fixture.disk.calls.sync;
    for (let i = 0; i < 10; i++) {
      fixture.append(1);
      fixture.log.sync();
    }
    expect(fixture.log.syncedOffset).toBe(offset(1));
    await fixture.log.whenSynced(fixture.log.endOffset);
    expect(fixture.disk.calls.sync - before).toBe(1);
  });

  test("nothing is synced unasked before its time, and everything is after it", async () => {
    const fixture = await Fixture.open({}, { flusher: { maxDirtyMs: 1000 } });
    fixture.append(1);
    await fixture.clock.advance(999);
    expect(fixture.log.syncedOffset).toBe(offset(0));
    await fixture.clock.advance(2);
    expect(fixture.log.syncedOffset).toBe(offset(1));
  });

  test("flush.messages syncs by count", async () => {
    const fixture = await Fixture.open({ flushMessages: 3 });
    fixture.append(2);
    await fixture.clock.advance(0);
    expect(fixture.log.syncedOffset).toBe(offset(0));
    fixture.append(1);
    await fixture.clock.advance(0);
    expect(fixture.log.syncedOffset).toBe(offset(3));
  });

  test("a sync that fails takes the directory offline, for good", async () => {
    const fixture = await Fixture.open();
    const reasons: string[] = [];
    fixture.log.onOffline((reason) => reasons.push(reason));
    fixture.append(1);
    fixture.disk.faults = { sync: () => "EIO" };
    expect(fixture.log.whenSynced(fixture.log.endOffset)).rejects.toThrow("EIO");
    await fixture.clock.advance(10);
    fixture.disk.faults = {};
    expect(reasons).toHaveLength(1);
    expect(fixture.directory.offlineReason).toContain("EIO");
    expect(fixture.append(1).error).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    expect(fixture.log.read(offset(0), ALL).error).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    await fixture.directory.close();
    expect(fixture.disk.exists("/data/.kafka_cleanshutdown")).toBe(false);
  });

  test("a full disk refuses appends while reads go on, and takes them again once there is room", async () => {
    const fixture = await Fixture.open();
    fixture.append(1);
    await fixture.log.whenSynced(fixture.log.endOffset);
    fixture.disk.capacityBytes = fixture.disk.bytesOf(fixture.path(0)).length;
    expect(fixture.append(1).error).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    expect(offsetsOf(fixture, 0)).toEqual([0]);
    fixture.disk.capacityBytes = Infinity;
    // Not before the cut of what was half written is synced: a crash could mix the two.
    expect(fixture.append(1).error).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    await fixture.clock.advance(10);
    expect(fixture.append(1)).toMatchObject({ error: 0, baseOffset: 1 });
    expect(fixture.directory.offlineReason).toBeNull();
  });
});

describe("Log after a stop:", () => {
  test("a clean one reads the tail of the log and no more", async () => {
    const fixture = await Fixture.open({ segmentBytes: 100_000 });
    for (let i = 0; i < 2000; i++) fixture.append(1, { valueBytes: 500 });
    await fixture.directory.close();
    const before = fixture.disk.calls.read;
    await fixture.reopen({ segmentBytes: 100_000 });
    expect(fixture.directory.hadCleanShutdown).toBe(true);
    expect(fixture.log.endOffset).toBe(offset(2000));
    expect(fixture.disk.calls.read - before).toBeLessThan(120);
    expect(fixture.disk.exists("/data/.kafka_cleanshutdown")).toBe(false);
  });

  test("a torn tail is cut, with one line that says where", async () => {
    const fixture = await Fixture.open();
    for (let i = 0; i < 3; i++) fixture.append(1);
    fixture.disk.kill();
    const path = fixture.path(0);
    const bytes = fixture.disk.bytesOf(path);
    fixture.disk.plant(path, bytes.subarray(0, bytes.length - 1));
    await fixture.reopen();
    expect(fixture.log.endOffset).toBe(offset(2));
    expect(fixture.disk.bytesOf(path).length).toBe(2 * bytes.length / 3);
    const lines = fixture.logger.lines.filter(({ level }) => level === "warn");
    expect(lines.map(({ fields }) => [fields["file"], fields["fromByte"]])).toEqual([[
      path,
      2 * bytes.length / 3,
    ]]);
  });

  test("damage in the middle takes the log offline and touches nothing", async () => {
    const fixture = await Fixture.open();
    for (let i = 0; i < 5; i++) fixture.append(1);
    fixture.disk.kill();
    const path = fixture.path(0);
    const size = fixture.disk.bytesOf(path).length;
    fixture.disk.flipBit(path, size / 5 + 70);
    const before = fixture.disk.bytesOf(path);
    await fixture.reopen();
    expect(fixture.log.offlineReason).toContain(`bytes ${size / 5} to ${2 * size / 5} of ${path}`);
    expect(fixture.append(1).error).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    expect(fixture.log.read(offset(0), ALL).error).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    expect(fixture.disk.bytesOf(path)).toEqual(before);
    expect(fixture.directory.offlineReason).toBeNull();
  });

  test("records that had been synced and are gone take the log offline", async () => {
    const fixture = await Fixture.open();
    for (let i = 0; i < 5; i++) fixture.append(1);
    await fixture.log.whenSynced(fixture.log.endOffset);
    await fixture.directory.checkpoint();
    await fixture.directory.checkpoint();
    fixture.disk.kill();
    const path = fixture.path(0);
    const bytes = fixture.disk.bytesOf(path);
    fixture.disk.plant(path, bytes.subarray(0, 2 * bytes.length / 5));
    await fixture.reopen();
    expect(fixture.log.offlineReason).toContain(
      "end at offset 2, and those before 5 had been on stable storage",
    );
  });

  test("missing and impossible indexes are rebuilt as they were", async () => {
    const config = { segmentBytes: 2000, indexIntervalBytes: 200 };
    const fixture = await Fixture.open(config);
    for (let i = 0; i < 60; i++) {
      fixture.append(1);
      await fixture.clock.advance(1);
    }
    await fixture.directory.close();
    const paths = fixture.disk.files().filter((path) => /\.(time)?index$/.test(path));
    const before = new Map(paths.map((path) => [path, fixture.disk.bytesOf(path)]));
    expect(paths.length).toBeGreaterThan(5);
    for (const damage of [null, new Uint8Array(5), new Uint8Array(24).fill(255)]) {
      for (const path of paths) {
        if (damage === null) fixture.disk.remove(path);
        else fixture.disk.plant(path, damage);
      }
      await fixture.reopen(config);
      expect(offsetsOf(fixture, 33, { ...ALL, maxBytes: 1 })).toEqual([33]);
      await fixture.directory.close();
      for (const path of paths) {
        expect([path, fixture.disk.bytesOf(path)]).toEqual([path, before.get(path)!]);
      }
    }
  });

  test("idempotent producers are remembered", async () => {
    const fixture = await Fixture.open();
    const producer = { producerId: 5, producerEpoch: 0 };
    fixture.append(3, { ...producer, baseSequence: 0 });
    fixture.append(2, { ...producer, baseSequence: 3 });
    await fixture.directory.close();
    await fixture.reopen();
    expect(fixture.append(2, { ...producer, baseSequence: 3 })).toMatchObject({
      duplicate: true,
      baseOffset: 3,
    });
    expect(fixture.append(1, { ...producer, baseSequence: 6 }).error)
      .toBe(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER);
    expect(fixture.append(1, { ...producer, baseSequence: 5 })).toMatchObject({
      error: 0,
      baseOffset: 5,
    });
  });
});

test("Log.deleteRecordsBefore: drops whole segments after file.delete.delay.ms", async () => {
  const fixture = await Fixture.open({ segmentBytes: 300, fileDeleteDelayMs: 500 });
  for (let i = 0; i < 9; i++) fixture.append(1);
  await fixture.log.whenSynced(fixture.log.endOffset);
  await fixture.clock.advance(0);
  expect(fixture.log.deleteRecordsBefore(offset(10)).error).toBe(ErrorCode.OFFSET_OUT_OF_RANGE);
  expect(fixture.log.deleteRecordsBefore(offset(5)).error).toBe(ErrorCode.NONE);
  expect([fixture.log.logStartOffset, fixture.log.segments.length]).toEqual([offset(5), 2]);
  expect(fixture.disk.exists(fixture.path(0, ".log.deleted"))).toBe(true);
  await fixture.clock.advance(501);
  expect(fixture.disk.list(ORDERS_PATH).filter(({ name }) => name.endsWith(".deleted"))).toEqual(
    [],
  );
  await fixture.directory.close();
  await fixture.reopen();
  expect(fixture.log.logStartOffset).toBe(offset(5));
});

test("Log.truncateTo: forgets records, epochs and producers past the offset", async () => {
  const fixture = await Fixture.open({ segmentBytes: 300 });
  const producer = { producerId: 5, producerEpoch: 0 };
  for (let i = 0; i < 9; i++) {
    fixture.append(1, { ...producer, baseSequence: i, leaderEpoch: i >> 2 });
  }
  await fixture.log.truncateTo(offset(4));
  expect([fixture.log.endOffset, fixture.log.syncedOffset]).toEqual([offset(4), offset(4)]);
  expect(fixture.log.endOffsetForEpoch(0)).toEqual({ leaderEpoch: 0, endOffset: 4 });
  expect(fixture.log.endOffsetForEpoch(1)).toEqual({ leaderEpoch: -1, endOffset: -1 });
  expect(fixture.append(1, { ...producer, baseSequence: 4 })).toMatchObject({
    error: 0,
    baseOffset: 4,
  });
  await fixture.log.truncateFullyAndStartAt(offset(100));
  expect(fixture.append(1)).toMatchObject({ error: 0, baseOffset: 100 });
});

test("Log.truncateTo: what readers knew of the old records is not used for the new ones", async () => {
  const fixture = await Fixture.open();
  for (let i = 0; i < 3; i++) fixture.append(3);
  expect(offsetsOf(fixture, 0, { maxBytes: 250, minOneMessage: true })).toEqual([0, 1, 2, 3, 4, 5]);
  const held = fixture.log.read(offset(3), ALL);
  await fixture.log.truncateTo(offset(3));
  fixture.append(3, { valueBytes: 50 });
  fixture.append(3, { valueBytes: 60 });
  expect(offsetsOf(fixture, 6)).toEqual([6, 7, 8]);
  const read = fixture.log.read(offset(3), ALL);
  if (!("records" in held) || !("records" in read)) throw new Error("no records");
  expect(read.records.length).toBeGreaterThan(held.records.length);
});

test("Log: each segment has the snapshot of its start, also one made during a sync", async () => {
  const fixture = await Fixture.open({ segmentBytes: 300 });
  for (let i = 0; i < 4; i++) fixture.append(1);
  let isRolled = false;
  fixture.disk.faults.sync = (path) => {
    if (path.includes("leader-epoch") && !isRolled) {
      isRolled = true;
      for (let i = 0; i < 3; i++) fixture.append(1);
    }
    return null;
  };
  await fixture.log.whenSynced(fixture.log.endOffset);
  await fixture.log.whenSynced(fixture.log.endOffset);
  await fixture.clock.advance(2000);
  expect(isRolled).toBe(true);
  const bases = fixture.disk.files().filter((path) => path.endsWith(".log")).slice(1);
  expect(bases).toHaveLength(2);
  for (const path of bases) {
    expect(fixture.disk.exists(path.replace(/log$/, "snapshot"))).toBe(true);
  }
});

test("Log.abortedTransactions: those that overlap the range", async () => {
  const fixture = await Fixture.open({ segmentBytes: 400 });
  const producer = { producerEpoch: 0, transactional: true };
  const ends = (producerId: number, isCommit: boolean) =>
    fixture.log.appendAsLeader(
      buildBatch({
        records: [{
          key: new Uint8Array([0, 0, 0, isCommit ? 1 : 0]),
          value: new Uint8Array(6),
          timestamp: 1,
        }],
        ...producer,
        producerId,
        control: true,
      }),
      { leaderEpoch: 0, origin: "coordinator" },
    );
  fixture.append(2, { ...producer, producerId: 1, baseSequence: 0 });
  fixture.append(2, { ...producer, producerId: 2, baseSequence: 0 });
  expect(fixture.log.lastStableOffset(offset(4))).toBe(offset(0));
  ends(1, false);
  expect(fixture.log.lastStableOffset(offset(5))).toBe(offset(2));
  ends(2, true);
  fixture.append(1, { ...producer, producerId: 1, baseSequence: 2 });
  ends(1, false);
  const found = (from: number, upTo: number) =>
    fixture.log.abortedTransactions(offset(from), offset(upTo)).map((
      one,
    ) => [one.producerId, one.firstOffset]);
  expect(found(0, 8)).toEqual([[1, 0], [1, 6]]);
  expect(found(5, 8)).toEqual([[1, 6]]);
  expect(found(0, 6)).toEqual([[1, 0]]);
  expect(fixture.log.lastStableOffset(offset(8))).toBe(offset(8));
  fixture.append(1, { ...producer, producerId: 1, baseSequence: 3 });
  fixture.append(1, { ...producer, producerId: 2, baseSequence: 2 });
  ends(2, false);
  ends(1, false);
  // By their beginnings, though the second one ended first.
  expect(found(8, 12)).toEqual([[1, 8], [2, 9]]);
});

describe("Log with damage that nobody has noticed yet:", () => {
  const config = { segmentBytes: 4000, indexIntervalBytes: 100 };

  async function filled(): Promise<Fixture> {
    const fixture = await Fixture.open(config);
    for (let i = 0; i < 90; i++) {
      fixture.append(2, { valueBytes: 20 });
      await fixture.clock.advance(1);
    }
    await fixture.directory.close();
    return fixture;
  }

  test("indexes that lie with a straight face are not believed", async () => {
    const random = new SimRandom(5);
    for (let round = 0; round < 20; round++) {
      const fixture = await filled();
      for (const path of fixture.disk.files().filter((name) => name.endsWith(".index"))) {
        const bytes = fixture.disk.bytesOf(path);
        for (let edits = 0; edits < 5; edits++) {
          const entry = 8 * random.between(1, Math.max(1, bytes.length / 8 - 2));
          bytes[entry + random.pick([2, 3, 6, 7])] = random.below(30);
        }
        fixture.disk.plant(path, bytes);
      }
      await fixture.reopen(config);
      expect(fixture.log.offlineReason).toBeNull();
      for (let at = 0; at < 180; at++) {
        expect(offsetsOf(fixture, at, { maxBytes: 1, minOneMessage: true })[0]).toBe(at - at % 2);
      }
    }
  });

  test("reads answer an error or whole batches, whatever the bytes", async () => {
    const random = new SimRandom(6);
    for (let round = 0; round < 40; round++) {
      const fixture = await filled();
      await fixture.reopen(config);
      const paths = fixture.disk.files().filter((name) => /[.](log|index|timeindex)$/.test(name));
      for (let edits = 0; edits < 12; edits++) {
        const path = random.pick(paths);
        fixture.disk.flipBit(
          path,
          random.below(fixture.disk.bytesOf(path).length),
          random.below(8),
        );
      }
      for (let at = 0; at < 180; at += 3) {
        const result = fixture.log.read(offset(at), { maxBytes: 500, minOneMessage: true });
        if (!("records" in result)) expect(result.error).toBe(ErrorCode.CORRUPT_MESSAGE);
        else {
          expect([...batches(result.records)].length).toBeGreaterThanOrEqual(0);
          result.release();
        }
      }
    }
  });
});
