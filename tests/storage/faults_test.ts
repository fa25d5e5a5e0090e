/** Faults at the edges: what fails half way, what is left over, what comes back under an old name. */

import { describe, expect, test } from "bun:test";
import { ErrorCode } from "../../protocol/errors.ts";
import { offset, type Uuid } from "../../protocol/types.ts";
import { DEFAULT_LOG_CONFIG } from "../../storage/log.ts";
import { type Disk, DiskError, type DiskFile } from "../../storage/platform.ts";
import { Fixture, ORDERS, ORDERS_PATH } from "./log_fixture.ts";

const OTHER_ID = "AAAAAAAAAAAAAAAAAAAAAg" as Uuid;

/** Counts the handles that are open on a disk. */
function countHandles(disk: Disk): { open: number } {
  const count = { open: 0 };
  const open = disk.open.bind(disk);
  disk.open = (path, mode): DiskFile => {
    const file = open(path, mode);
    const close = file.close.bind(file);
    let isOpen = true;
    count.open++;
    file.close = () => {
      if (isOpen) count.open--;
      isOpen = false;
      close();
    };
    return file;
  };
  return count;
}

describe("Log: the handle of a closed segment", () => {
  test("is closed once the segment is synced", async () => {
    const fixture = await Fixture.open({ segmentBytes: 300 }, { maxOpenFiles: 4 });
    const handles = countHandles(fixture.disk);
    const before = handles.open;
    for (let i = 0; i < 300; i++) fixture.append(1);
    await fixture.log.whenSynced(fixture.log.endOffset);
    await fixture.clock.advance(10);
    expect(fixture.log.segments.length).toBe(100);
    expect(handles.open - before).toBeLessThan(10);
  });

  test("is closed after a recovery too", async () => {
    const fixture = await Fixture.open({ segmentBytes: 300 });
    for (let i = 0; i < 300; i++) fixture.append(1);
    fixture.disk.kill();
    const handles = countHandles(fixture.disk);
    await fixture.reopen({ segmentBytes: 300 }, { maxOpenFiles: 4 });
    expect(fixture.log.segments.length).toBe(100);
    expect(handles.open).toBeLessThan(10);
  });
});

describe("LogDirectory.createLog: a partition made again under its old name", () => {
  test("keeps its records through a crash, whatever had been deleted of the old one", async () => {
    const fixture = await Fixture.open();
    for (let i = 0; i < 100; i++) fixture.append(1);
    await fixture.log.whenSynced(fixture.log.endOffset);
    fixture.log.deleteRecordsBefore(offset(50));
    await fixture.directory.checkpoint();
    await fixture.directory.deleteLog(ORDERS);
    const log = await fixture.directory.createLog(ORDERS, OTHER_ID, DEFAULT_LOG_CONFIG);
    fixture.log = log;
    for (let i = 0; i < 10; i++) fixture.append(1);
    await log.whenSynced(log.endOffset);
    fixture.disk.crash();
    const directory = await fixture.openDirectory();
    const again = await directory.createLog(ORDERS, OTHER_ID, DEFAULT_LOG_CONFIG);
    expect(again.offlineReason).toBeNull();
    expect([again.logStartOffset, again.endOffset]).toEqual([offset(0), offset(10)]);
  });

  test("is not made while the old offsets cannot be taken out of the files", async () => {
    const fixture = await Fixture.open();
    fixture.append(1);
    await fixture.log.whenSynced(fixture.log.endOffset);
    await fixture.directory.checkpoint();
    await fixture.directory.deleteLog(ORDERS);
    fixture.disk.faults.write = () => "ENOSPC";
    const made = fixture.directory.createLog(ORDERS, OTHER_ID, DEFAULT_LOG_CONFIG);
    expect(await made.catch((failure: DiskError) => failure.code)).toBe("ENOSPC");
    fixture.disk.faults.write = () => "EIO";
    const again = fixture.directory.createLog(ORDERS, OTHER_ID, DEFAULT_LOG_CONFIG);
    expect(await again.catch((failure: DiskError) => failure.code)).toBe("EIO");
  });

  test("even when the process ended between the deletion and the next checkpoint", async () => {
    const fixture = await Fixture.open();
    for (let i = 0; i < 100; i++) fixture.append(1);
    await fixture.log.whenSynced(fixture.log.endOffset);
    fixture.log.deleteRecordsBefore(offset(50));
    await fixture.directory.checkpoint();
    await fixture.directory.deleteLog(ORDERS);
    fixture.disk.kill();
    let directory = await fixture.openDirectory();
    fixture.log = await directory.createLog(ORDERS, OTHER_ID, DEFAULT_LOG_CONFIG);
    for (let i = 0; i < 10; i++) fixture.append(1);
    await fixture.log.whenSynced(fixture.log.endOffset);
    fixture.disk.crash();
    directory = await fixture.openDirectory();
    const again = await directory.createLog(ORDERS, OTHER_ID, DEFAULT_LOG_CONFIG);
    expect(again.offlineReason).toBeNull();
    expect([again.logStartOffset, again.endOffset]).toEqual([offset(0), offset(10)]);
  });
});

describe("LogDirectory.close: the clean-shutdown mark", () => {
  test("vouches for no log that was not recovered", async () => {
    const fixture = await Fixture.open();
    for (let i = 0; i < 10; i++) fixture.append(1);
    await fixture.log.whenSynced(fixture.log.endOffset);
    fixture.append(1);
    fixture.disk.kill();
    // What a power cut leaves of the last batch.
    const bytes = fixture.disk.bytesOf(fixture.path(0));
    fixture.disk.plant(fixture.path(0), bytes.subarray(0, bytes.length - 20));
    for (let i = 0; i < 3; i++) await (await fixture.openDirectory()).close();
    await fixture.reopen();
    expect(fixture.directory.hadCleanShutdown).toBe(true);
    expect(fixture.log.offlineReason).toBeNull();
    expect(fixture.log.endOffset).toBe(offset(10));
    await fixture.directory.close();
    const mark = fixture.disk.bytesOf("/data/.kafka_cleanshutdown");
    expect(JSON.parse(new TextDecoder().decode(mark))).toEqual({ version: 0, brokerEpoch: -1 });
  });
});

describe("Log: a disk that fails in the middle", () => {
  test("deleting records on a full disk works, and takes nothing offline", async () => {
    const fixture = await Fixture.open();
    for (let i = 0; i < 10; i++) fixture.append(1);
    await fixture.log.whenSynced(fixture.log.endOffset);
    await fixture.clock.advance(6000);
    fixture.disk.faults.write = () => "ENOSPC";
    expect(fixture.log.deleteRecordsBefore(fixture.log.endOffset).error).toBe(ErrorCode.NONE);
    expect(fixture.log.logStartOffset).toBe(offset(10));
    expect(fixture.directory.offlineReason).toBeNull();
    fixture.disk.faults = {};
    expect(fixture.append(1)).toMatchObject({ error: 0, baseOffset: 10 });
  });

  for (const code of ["EIO", "EDQUOT"]) {
    test(`an index that cannot be written (${code}) is an answer, not an exception`, async () => {
      const fixture = await Fixture.open({ indexIntervalBytes: 0 });
      fixture.disk.faults.write = (path) => path.endsWith("index") ? code : null;
      for (let i = 0; i < 600; i++) {
        const { error } = fixture.append(1);
        if (error === 0) continue;
        expect(error).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
        expect(fixture.log.offlineReason).not.toBeNull();
      }
      expect(fixture.log.offlineReason === null).toBe(code === "EDQUOT");
    });
  }

  test("a log that was deleted answers an error, and the disk is not blamed", async () => {
    const fixture = await Fixture.open();
    fixture.append(3);
    const { log } = fixture;
    await fixture.directory.deleteLog(ORDERS);
    expect(log.read(offset(0), { maxBytes: 1000, minOneMessage: true }).error)
      .toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    expect(log.deleteRecordsBefore(offset(3)).error).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    expect(fixture.append(1).error).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    log.sync();
    await fixture.clock.advance(2000);
    expect(fixture.directory.offlineReason).toBeNull();
  });
});

describe("Log: damaged bytes", () => {
  test("any flipped bit of a header: reads answer, the log opens again or says why not", async () => {
    for (let position = 0; position < 61; position++) {
      for (const isClean of [true, false]) {
        const fixture = await Fixture.open();
        fixture.append(1, {
          producerId: 7,
          producerEpoch: 0,
          baseSequence: 0,
          valueBytes: 100_000,
        });
        fixture.append(1, { producerId: 7, producerEpoch: 0, baseSequence: 1 });
        await fixture.log.whenSynced(fixture.log.endOffset);
        await fixture.clock.advance(6000);
        for (const bit of [0, 5, 7]) {
          fixture.disk.flipBit(fixture.path(0), position, bit);
          const read = fixture.log.read(offset(0), { maxBytes: 1000, minOneMessage: true });
          if ("records" in read) read.release();
          fixture.disk.flipBit(fixture.path(0), position, bit);
        }
        if (isClean) await fixture.directory.close();
        else fixture.disk.kill();
        fixture.disk.flipBit(fixture.path(0), position, 5);
        await fixture.reopen();
        const read = fixture.log.read(offset(0), { maxBytes: 1000, minOneMessage: true });
        if ("records" in read) read.release();
        fixture.append(1);
        await fixture.clock.advance(2000);
        expect(fixture.directory.offlineReason).toBeNull();
      }
    }
  });
});

test("Log.deleteRecordsBefore: holds through a clean stop and a crash", async () => {
  for (const isClean of [true, false]) {
    const fixture = await Fixture.open({ segmentBytes: 300 });
    for (let i = 0; i < 30; i++) fixture.append(1, { leaderEpoch: i });
    await fixture.log.whenSynced(fixture.log.endOffset);
    await fixture.clock.advance(1);
    fixture.log.deleteRecordsBefore(offset(17));
    await fixture.directory.checkpoint();
    if (isClean) await fixture.directory.close();
    // What it had begun must not go on after the crash, in the same process as the next one.
    else await fixture.clock.advance(1);
    fixture.disk.crash();
    const log = await fixture.reopen({ segmentBytes: 300 });
    expect([log.logStartOffset, log.endOffset]).toEqual([offset(17), offset(30)]);
    expect(log.leaderEpochs.epochForOffset(17)).toBe(17);
    expect(log.leaderEpochs.entries.at(0)).toEqual({ epoch: 17, startOffset: 17 });
    expect(fixture.disk.exists(ORDERS_PATH)).toBe(true);
  }
});

describe("Log: waits and syncs", () => {
  test("whenSynced of a log that is deleted or closed ends", async () => {
    for (const end of ["delete", "close"] as const) {
      const fixture = await Fixture.open();
      fixture.append(1);
      let ended = "";
      void fixture.log.whenSynced(offset(1)).then(() => ended = "synced", () => ended = "failed");
      void fixture.log.whenSynced(offset(2)).then(
        () => ended += " synced",
        () => ended += " failed",
      );
      if (end === "delete") await fixture.directory.deleteLog(ORDERS);
      else await fixture.directory.close();
      await fixture.clock.advance(5000);
      expect(ended).toMatch(/(synced|failed) failed/);
    }
  });
});

describe("Log: control records on disk that are damaged", () => {
  test("a data batch that became a control batch does not keep the log from opening", async () => {
    for (const isClean of [true, false]) {
      const fixture = await Fixture.open();
      for (let i = 0; i < 3; i++) {
        fixture.append(3, {
          producerId: 7,
          producerEpoch: 0,
          baseSequence: 3 * i,
          valueBytes: 90_000,
          compression: 4,
        });
      }
      await fixture.log.whenSynced(fixture.log.endOffset);
      await fixture.clock.advance(6000);
      if (isClean) await fixture.directory.close();
      else fixture.disk.kill();
      for (const path of fixture.disk.files()) {
        if (path.endsWith(".snapshot")) fixture.disk.remove(path);
      }
      fixture.disk.flipBit(fixture.path(0), 22, 5);
      await fixture.reopen();
      expect(fixture.directory.offlineReason).toBeNull();
    }
  });
});

test("Log: a process without file handles for a while loses nothing and takes nothing offline", async () => {
  const config = { segmentBytes: 300 };
  const fixture = await Fixture.open(config, { maxOpenFiles: 1 });
  for (let i = 0; i < 20; i++) fixture.append(1);
  await fixture.log.whenSynced(fixture.log.endOffset);
  const { disk } = fixture;
  const [open, syncDirectory] = [disk.open.bind(disk), disk.syncDirectory.bind(disk)];
  const none = (): never => {
    throw new DiskError("Cannot open: too many open files", "EMFILE");
  };
  disk.open = none;
  disk.syncDirectory = async () => {
    await Promise.resolve();
    none();
  };
  let taken = 20;
  for (let i = 0; i < 10; i++) {
    const { error } = fixture.append(1);
    expect([0, ErrorCode.KAFKA_STORAGE_ERROR] as number[]).toContain(error);
    if (error === 0) taken++;
    const read = fixture.log.read(offset(0), { maxBytes: 1000, minOneMessage: true });
    if ("records" in read) read.release();
    await fixture.clock.advance(1000);
  }
  expect(fixture.directory.offlineReason).toBeNull();
  disk.open = open;
  disk.syncDirectory = syncDirectory;
  await fixture.clock.advance(6000);
  expect(fixture.append(1)).toMatchObject({ error: 0, baseOffset: taken });
  await fixture.log.whenSynced(fixture.log.endOffset);
  disk.crash();
  await fixture.reopen(config);
  expect(fixture.log.endOffset).toBe(offset(taken + 1));
});

test("Log: a sync that failed is never tried again, though another lacked a file handle", async () => {
  const fixture = await Fixture.open({ segmentBytes: 300 });
  for (let i = 0; i < 10; i++) fixture.append(1);
  fixture.disk.faults.sync = (path) => path === fixture.path(0) ? "EIO" : null;
  fixture.disk.faults.syncDirectory = () => "EMFILE";
  fixture.log.sync();
  await fixture.clock.advance(10);
  expect(fixture.log.offlineReason).toContain("EIO");
  expect(fixture.log.syncedOffset).toBe(offset(0));
});
