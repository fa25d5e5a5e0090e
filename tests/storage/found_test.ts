/** What the simulated lives of the store have found, each as a story of its own. */

import { describe, expect, test } from "bun:test";
import { ErrorCode } from "../../protocol/errors.ts";
import { patchAsLeader } from "../../protocol/record_batch.ts";
import { buildBatch, type NewBatch } from "../../protocol/records.ts";
import { offset } from "../../protocol/types.ts";
import { Cleaner } from "../../storage/cleaner.ts";
import { FileCache } from "../../storage/file_cache.ts";
import type { DiskError } from "../../storage/platform.ts";
import { Segment } from "../../storage/segment.ts";
import { SimWorkers } from "../sim/sim_workers.ts";
import { Fixture, ORDERS, ORDERS_PATH } from "./log_fixture.ts";

/** A batch as a leader sends it. */
function batchAt(baseOffset: number, over: Partial<NewBatch> = {}): Uint8Array {
  const records = [{ key: new Uint8Array([1]), value: new Uint8Array(40), timestamp: 5 }];
  const bytes = buildBatch({ records, ...over });
  patchAsLeader(bytes, 0, { baseOffset, partitionLeaderEpoch: 0 });
  return bytes;
}

/** The first segment's files, as a start finds them. */
function newSegment({ disk }: Fixture): Segment {
  const files = new FileCache(disk, 8);
  return new Segment({ directory: ORDERS_PATH, baseOffset: 0, disk, files, createdMs: 0 });
}

async function synced(fixture: Fixture): Promise<void> {
  await fixture.log.whenSynced(fixture.log.endOffset);
  await fixture.clock.advance(10);
}

describe("Log.truncateFullyAndStartAt:", () => {
  test("nothing of the old records speaks of the new ones", async () => {
    const fixture = await Fixture.open({ segmentBytes: 300 });
    for (let i = 0; i < 10; i++) {
      fixture.append(1, {
        producerId: 7,
        producerEpoch: 0,
        baseSequence: i,
        transactional: true,
        leaderEpoch: 3,
      });
    }
    await synced(fixture);
    const { log } = fixture;
    await log.truncateFullyAndStartAt(offset(100));
    for (const found of [log, await restart(fixture)]) {
      expect(found.lastStableOffset(offset(100))).toBe(offset(100));
      expect([...found.producers()]).toEqual([]);
      expect(found.leaderEpochs.latestEpoch).toBe(-1);
    }
  });

  async function restart(fixture: Fixture) {
    fixture.disk.crash();
    return await fixture.reopen({ segmentBytes: 300 });
  }

  test("a crash in the midst of it leaves a log that opens", async () => {
    for (let calls = 0; calls < 30; calls++) {
      const fixture = await Fixture.open({ segmentBytes: 300 });
      for (let i = 0; i < 10; i++) fixture.append(1);
      await synced(fixture);
      await fixture.directory.checkpoint();
      const { disk } = fixture;
      const remove = disk.remove.bind(disk);
      let left = calls;
      disk.remove = (path) => {
        if (left-- > 0) remove(path);
        else disk.kill();
      };
      void fixture.log.truncateFullyAndStartAt(offset(10)).catch(() => {});
      await fixture.clock.advance(100);
      disk.remove = remove;
      disk.kill();
      const log = await fixture.reopen({ segmentBytes: 300 });
      expect([calls, log.offlineReason]).toEqual([calls, null]);
    }
  });

  test("readers and retention that come meanwhile find nothing, and nothing breaks", async () => {
    const fixture = await Fixture.open({ segmentBytes: 300, retentionMs: 0 });
    for (let i = 0; i < 10; i++) fixture.append(1);
    await synced(fixture);
    const { log } = fixture;
    let isDone = false;
    const truncation = log.truncateFullyAndStartAt(offset(50)).then(() => isDone = true);
    while (!isDone) {
      const read = log.read(offset(0), { maxBytes: 1000, minOneMessage: true });
      if ("records" in read) read.release();
      expect(log.enforceRetention()).toBe(0);
      await Promise.resolve();
    }
    await truncation;
    expect(log.logStartOffset).toBe(offset(50));
  });
});

describe("Log.truncateTo:", () => {
  test("in a gap that the leader's cleaner has left, ends where the batch before it ends", async () => {
    const fixture = await Fixture.open({ cleanupPolicy: ["compact"], segmentBytes: 400 });
    const { log } = fixture;
    for (const at of [0, 1, 40, 41, 90]) log.appendAsFollower(batchAt(at));
    await synced(fixture);
    await log.truncateTo(offset(60));
    expect([log.endOffset, log.syncedOffset]).toEqual([offset(42), offset(42)]);
    await log.truncateTo(offset(20));
    expect([log.endOffset, log.syncedOffset]).toEqual([offset(2), offset(2)]);
    fixture.disk.crash();
    const again = await fixture.reopen({ cleanupPolicy: ["compact"], segmentBytes: 400 });
    expect([again.offlineReason, again.endOffset]).toEqual([null, offset(2)]);
  });

  test("to nothing takes the index entries along, whatever a later crash brings back", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const config = { indexIntervalBytes: 1 };
      const fixture = await Fixture.open(config, {}, seed);
      for (let i = 0; i < 4; i++) fixture.append(1);
      await synced(fixture);
      await fixture.directory.close();
      await fixture.reopen(config);
      await fixture.log.truncateTo(offset(0));
      await fixture.directory.close();
      fixture.disk.crash();
      const sizes = [".index", ".timeindex"].map((suffix) =>
        fixture.disk.bytesOf(fixture.path(0, suffix)).length
      );
      expect(sizes).toEqual([0, 0]);
    }
  });

  test("takes the index entries along, though the sync of that failed in the recovery after it", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const config = { indexIntervalBytes: 1 };
      const fixture = await Fixture.open(config, {}, seed);
      const { disk } = fixture;
      for (let i = 0; i < 4; i++) fixture.append(1);
      await synced(fixture);
      await fixture.directory.close();
      await fixture.reopen(config);
      await fixture.log.truncateTo(offset(0));
      disk.kill();
      disk.faults.sync = (path) => path.endsWith(".index") ? "EIO" : null;
      await fixture.reopen(config).catch(() => {});
      disk.faults = {};
      disk.kill();
      await fixture.reopen(config);
      await fixture.directory.close();
      disk.crash();
      expect([seed, disk.bytesOf(fixture.path(0, ".index")).length]).toEqual([seed, 0]);
    }
  });

  test("that cannot find its place leaves a log that goes on", async () => {
    const fixture = await Fixture.open({ segmentBytes: 300 }, { maxOpenFiles: 1 });
    for (let i = 0; i < 10; i++) fixture.append(1);
    await synced(fixture);
    fixture.disk.faults.open = () => "EMFILE";
    const failed = await fixture.log.truncateTo(offset(4)).catch((failure: DiskError) =>
      failure.code
    );
    expect(failed).toBe("EMFILE");
    fixture.disk.faults = {};
    expect(fixture.append(1)).toMatchObject({ error: ErrorCode.NONE, baseOffset: 10 });
  });

  test("drops nothing where the sync before it has taken the log offline", async () => {
    const fixture = await Fixture.open({ segmentBytes: 300 });
    for (let i = 0; i < 10; i++) fixture.append(1);
    await synced(fixture);
    await fixture.directory.checkpoint();
    for (let i = 0; i < 10; i++) fixture.append(1);
    fixture.disk.faults.syncDirectory = (path) => path === ORDERS_PATH ? "EMFILE" : null;
    fixture.log.sync();
    await Promise.resolve();
    const code = (failure: DiskError) => failure.code;
    expect(await fixture.log.truncateFullyAndStartAt(offset(50)).catch(code)).toBe("EIO");
    fixture.disk.faults = {};
    fixture.disk.kill();
    const log = await fixture.reopen({ segmentBytes: 300 });
    expect([log.offlineReason, log.endOffset]).toEqual([null, offset(20)]);
  });

  test("that runs out of file handles takes its log offline, and no other", async () => {
    const fixture = await Fixture.open({ segmentBytes: 300 });
    for (let i = 0; i < 10; i++) fixture.append(1);
    await synced(fixture);
    fixture.disk.faults.syncDirectory = (path) => path === ORDERS_PATH ? "EMFILE" : null;
    const failed = await fixture.log.truncateTo(offset(4)).catch((failure: DiskError) =>
      failure.code
    );
    expect(failed).toBe("EMFILE");
    expect(fixture.log.offlineReason).toContain("EMFILE");
    expect(fixture.directory.offlineReason).toBeNull();
  });
});

test("Log: a follower's gap where a segment ends is not taken for a loss after a crash", async () => {
  const fixture = await Fixture.open({ cleanupPolicy: ["compact"], segmentBytes: 300 });
  for (const at of [0, 1, 40, 41, 90, 91, 200]) fixture.log.appendAsFollower(batchAt(at));
  await synced(fixture);
  fixture.disk.crash();
  const log = await fixture.reopen({ cleanupPolicy: ["compact"], segmentBytes: 300 });
  expect([log.offlineReason, log.endOffset]).toEqual([null, offset(201)]);
});

test("Log: an opening that fails leaves no handle open", async () => {
  const fixture = await Fixture.open();
  fixture.append(1);
  fixture.disk.kill();
  const directory = await fixture.openDirectory();
  const { disk } = fixture;
  const open = disk.open.bind(disk);
  let handles = 0;
  disk.open = (path, mode) => {
    const file = open(path, mode);
    const close = file.close.bind(file);
    handles++;
    file.close = () => {
      handles--;
      close();
    };
    return file;
  };
  disk.faults.syncDirectory = () => "EIO";
  const made = directory.createLog({ topic: "new", partition: 0 }, fixture.log.topicId, {
    ...fixture.log.config,
  });
  expect(await made.catch((failure: DiskError) => failure.code)).toBe("EIO");
  const opened = directory.createLog(ORDERS, fixture.log.topicId, fixture.log.config);
  expect(await opened.catch((failure: DiskError) => failure.code)).toBe("EIO");
  disk.faults = {};
  await directory.close();
  expect(handles).toBe(0);
});

describe("Log: a sync that failed", () => {
  test("is not made good by a restart: what it dropped is written again", async () => {
    for (let seed = 0; seed < 20; seed++) {
      const fixture = await Fixture.open({}, {}, seed);
      for (let i = 0; i < 5; i++) fixture.append(1, { valueBytes: 1000 });
      await synced(fixture);
      await fixture.directory.checkpoint();
      for (let i = 0; i < 5; i++) fixture.append(1, { valueBytes: 1000 });
      fixture.disk.faults.sync = () => "EIO";
      fixture.log.sync();
      await fixture.clock.advance(100);
      expect(fixture.directory.offlineReason).not.toBeNull();
      fixture.disk.faults = {};
      fixture.disk.kill();
      const log = await fixture.reopen();
      expect(log.syncedOffset).toBe(offset(10));
      fixture.disk.crash();
      expect((await fixture.reopen()).endOffset).toBe(offset(10));
    }
  });

  test("is remembered until a clean stop", async () => {
    const note = "/data/.weir-disk-failed";
    const fixture = await Fixture.open();
    fixture.append(1);
    fixture.disk.faults.sync = () => "EIO";
    fixture.log.sync();
    await fixture.clock.advance(100);
    fixture.disk.faults = {};
    await fixture.directory.close();
    expect(fixture.disk.exists(note)).toBe(true);
    await fixture.reopen();
    fixture.disk.kill();
    await fixture.reopen();
    expect(fixture.disk.exists(note)).toBe(true);
    await fixture.directory.close();
    expect(fixture.disk.exists(note)).toBe(false);
  });
});

test("Log: one that goes offline during a sync deletes nothing more", async () => {
  for (let turns = 0; turns < 12; turns++) {
    const fixture = await Fixture.open({ segmentBytes: 300 });
    for (let i = 0; i < 12; i++) fixture.append(1);
    await synced(fixture);
    for (let i = 0; i < 12; i++) fixture.append(1);
    const { disk, log } = fixture;
    disk.faults.rename = (from) => from === fixture.path(3) ? "EIO" : null;
    log.sync();
    for (let i = 0; i < turns; i++) await Promise.resolve();
    log.deleteRecordsBefore(offset(20));
    await fixture.clock.advance(100);
    disk.faults = {};
    disk.kill();
    expect((await fixture.reopen({ segmentBytes: 300 })).endOffset).toBe(offset(24));
  }
});

test("LogDirectory.open: a directory made by a start that was cut short survives a power cut", async () => {
  for (let seed = 0; seed < 10; seed++) {
    const fixture = new Fixture(seed);
    fixture.disk.makeDirectory("/data");
    await fixture.reopen();
    fixture.append(1);
    await synced(fixture);
    fixture.disk.crash();
    expect((await fixture.reopen()).endOffset).toBe(offset(1));
  }
});

test("LogDirectory.createLog: a name whose sync failed is synced when it is tried again", async () => {
  for (let seed = 0; seed < 10; seed++) {
    const fixture = await Fixture.open({}, {}, seed);
    const { disk, directory, log } = fixture;
    const topicPartition = { topic: "new", partition: 0 };
    disk.faults.syncDirectory = (path) => path === "/data" ? "EMFILE" : null;
    const made = directory.createLog(topicPartition, log.topicId, log.config);
    expect(await made.catch((failure: DiskError) => failure.code)).toBe("EMFILE");
    disk.faults = {};
    await directory.createLog(topicPartition, log.topicId, log.config);
    disk.crash();
    expect(disk.exists("/data/new-0/partition.metadata")).toBe(true);
  }
});

test("Log.lastStableOffset: is never before the log start, though a transaction began there", async () => {
  const fixture = await Fixture.open({ segmentBytes: 300 });
  for (let i = 0; i < 10; i++) {
    fixture.append(1, { producerId: 7, producerEpoch: 0, baseSequence: i, transactional: true });
  }
  await synced(fixture);
  fixture.log.deleteRecordsBefore(offset(6));
  expect(fixture.log.lastStableOffset(offset(10))).toBe(offset(6));
});

describe("Log.open: nothing is deleted because less was found than was written down", () => {
  const config = { segmentBytes: 300 };

  async function stopped(isClean: boolean): Promise<Fixture> {
    const fixture = await Fixture.open(config);
    for (let i = 0; i < 12; i++) fixture.append(1);
    await synced(fixture);
    await fixture.directory.checkpoint();
    if (isClean) await fixture.directory.close();
    else fixture.disk.kill();
    return fixture;
  }

  /** Opens the log, which must be offline with its files as they were. */
  async function refused(fixture: Fixture): Promise<string> {
    const { disk } = fixture;
    const contents = () =>
      disk.files().filter((path) => path.endsWith(".log")).map((
        path,
      ) => [path, disk.bytesOf(path)]);
    const before = contents();
    const log = await fixture.reopen(config);
    expect(contents()).toEqual(before);
    expect(fixture.directory.offlineReason).toBeNull();
    await fixture.directory.close();
    return log.offlineReason ?? "online";
  }

  test("a log start offset past the end", async () => {
    for (const isClean of [true, false]) {
      const fixture = await stopped(isClean);
      const text = new TextEncoder().encode("0\n1\norders 0 90\n");
      fixture.disk.plant("/data/log-start-offset-checkpoint", text);
      expect(await refused(fixture)).toContain("log start offset was written down as 90");
    }
  });

  test("a last segment that is shorter than its clean stop left it, by whole batches", async () => {
    const fixture = await stopped(true);
    fixture.disk.plant(fixture.path(9), new Uint8Array(0));
    expect(await refused(fixture)).toContain("those before 12 had been on stable storage");
  });

  test("a hole between segments after a clean stop, whose recovery point is lost as well", async () => {
    const fixture = await stopped(true);
    fixture.disk.remove("/data/recovery-point-offset-checkpoint");
    fixture.disk.plant(fixture.path(3), new Uint8Array(0));
    fixture.disk.plant(fixture.path(9), new Uint8Array(70));
    expect(await refused(fixture)).toContain("another segment begins at 6");
  });

  test("no segment at all", async () => {
    for (const isClean of [true, false]) {
      const fixture = await stopped(isClean);
      for (const at of [0, 3, 6, 9]) fixture.disk.remove(fixture.path(at));
      expect(await refused(fixture)).toContain("those before 12 had been on stable storage");
    }
  });
});

test("Log.deleteRecordsBefore: of records that are not stable leaves a log that opens after a crash", async () => {
  for (let seed = 0; seed < 10; seed++) {
    const fixture = await Fixture.open({}, {}, seed);
    for (let i = 0; i < 5; i++) fixture.append(1);
    await synced(fixture);
    for (let i = 0; i < 5; i++) fixture.append(1);
    expect(fixture.log.deleteRecordsBefore(offset(10)).error).toBe(ErrorCode.NONE);
    fixture.disk.faults.sync = (path) => path.endsWith(".log") ? "EIO" : null;
    await fixture.directory.checkpoint();
    fixture.disk.faults = {};
    fixture.disk.crash();
    const log = await fixture.reopen();
    expect(log.offlineReason).toBeNull();
    expect(log.endOffset).toBeGreaterThanOrEqual(5);
  }
});

test("LogDirectory.close: no mark of a clean stop vouches for checkpoints that were not written", async () => {
  const fixture = await Fixture.open();
  for (let i = 0; i < 5; i++) fixture.append(1);
  await synced(fixture);
  fixture.log.deleteRecordsBefore(offset(3));
  fixture.disk.faults.write = (path) => path.includes("offset-checkpoint") ? "ENOSPC" : null;
  await fixture.directory.close();
  fixture.disk.faults = {};
  expect(fixture.disk.exists("/data/.kafka_cleanshutdown")).toBe(false);
});

test("Segment: an index entry that points before the file is not followed", async () => {
  const fixture = await Fixture.open({ indexIntervalBytes: 1 });
  for (let i = 0; i < 20; i++) fixture.append(1);
  await synced(fixture);
  await fixture.directory.close();
  const index = fixture.path(0, ".index");
  fixture.disk.flipBit(index, 8 * 9 + 4, 7);
  const log = await fixture.reopen({ indexIntervalBytes: 1 });
  // Not in order, or a reader would go on where it stopped.
  for (let at = 19; at >= 0; at--) {
    const read = log.read(offset(at), { maxBytes: 1, minOneMessage: true });
    expect("records" in read && read.nextOffset).toBe(offset(at + 1));
    if ("records" in read) read.release();
  }
  expect(fixture.directory.offlineReason).toBeNull();
});

test("TransactionIndex.truncateTo: is not misled by what a crash has left behind the entries", async () => {
  const fixture = await Fixture.open();
  const { transactionIndex } = fixture.log.segments[0]!;
  for (const lastOffset of [10, 20, 30]) {
    transactionIndex.append({ producerId: 7, firstOffset: 1, lastOffset, lastStableOffset: 40 });
  }
  transactionIndex.store();
  const { path } = transactionIndex.file;
  const bytes = fixture.disk.bytesOf(path);
  fixture.disk.plant(path, new Uint8Array([...bytes, ...new Uint8Array(3 * 34)]));
  const { transactionIndex: found } = newSegment(fixture);
  found.truncateTo(15);
  expect([...found.entries()].map(({ lastOffset }) => lastOffset)).toEqual([10]);
});

test("Scrub: no index is made of a segment that could not be read", async () => {
  const config = { segmentBytes: 1000, indexIntervalBytes: 1 };
  const scrub = { maxBytesPerSecond: 1_000_000, intervalMs: 1000 };
  const fixture = await Fixture.open(config, { scrub });
  for (let i = 0; i < 30; i++) fixture.append(1);
  await synced(fixture);
  const paths = [fixture.path(0, ".index"), fixture.path(0, ".timeindex")];
  const before = paths.map((path) => fixture.disk.bytesOf(path));
  fixture.disk.faults.read = (path) => path.startsWith(fixture.path(0, ".")) ? "EIO" : null;
  await fixture.clock.advance(70_000);
  expect(fixture.directory.scrubStats.lastPassMs).toBeGreaterThan(0);
  expect(paths.map((path) => fixture.disk.bytesOf(path))).toEqual(before);
  fixture.disk.faults = {};
  await fixture.clock.advance(5000);
  const read = fixture.log.read(offset(0), { maxBytes: 100, minOneMessage: true });
  expect("records" in read && read.records.length > 0).toBe(true);
});

test("Cleaner: passes by a log whose records are being dropped", async () => {
  const fixture = await Fixture.open({ cleanupPolicy: ["compact"], segmentBytes: 300 });
  for (let i = 0; i < 10; i++) fixture.append(1);
  await synced(fixture);
  const cleaner = new Cleaner({
    ...fixture,
    workers: new SimWorkers(fixture),
    directories: () => [fixture.directory],
    settings: () => ({
      isEnabled: true,
      backoffMs: 1000,
      dedupeBufferBytes: 10_000,
      loadFactor: 0.9,
      ioBufferBytes: 10_000,
      maxBytesPerSecond: Infinity,
      reserveBytes: 0,
    }),
  });
  let isDone = false;
  const truncation = fixture.log.truncateFullyAndStartAt(offset(50)).then(() => isDone = true);
  while (!isDone) {
    expect(await Promise.race([cleaner.cleanDirtiest(), truncation.then(() => false)])).toBe(false);
  }
});

test("Log.open: damage before the recovery point does not stop what a failed sync needs", async () => {
  const config = { indexIntervalBytes: 1_000_000 };
  const fixture = await Fixture.open(config);
  for (let i = 0; i < 5; i++) fixture.append(1, { valueBytes: 1000 });
  await synced(fixture);
  await fixture.directory.checkpoint();
  for (let i = 0; i < 5; i++) fixture.append(1, { valueBytes: 1000 });
  fixture.disk.faults.sync = () => "EIO";
  fixture.log.sync();
  await fixture.clock.advance(100);
  fixture.disk.faults = {};
  fixture.disk.kill();
  fixture.disk.flipBit(fixture.path(0), 3000);
  const log = await fixture.reopen(config);
  expect([log.offlineReason, log.endOffset]).toEqual([null, offset(10)]);
});

test("Log.open: after a clean stop the last batch does not move the end by a flipped bit", async () => {
  for (let bit = 2; bit < 7; bit++) {
    const fixture = await Fixture.open();
    for (let i = 0; i < 3; i++) {
      fixture.append(1, { producerId: 7, producerEpoch: 0, baseSequence: i });
    }
    await synced(fixture);
    await fixture.directory.close();
    const lastBatchAt = fixture.disk.sizeOf(fixture.path(0)) * 2 / 3;
    fixture.disk.flipBit(fixture.path(0), lastBatchAt + 26, bit);
    const log = await fixture.reopen();
    expect(log.offlineReason).toContain("offset 2 should start there");
  }
});
