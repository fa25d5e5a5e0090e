/** Recovery as a job: what it reads, what it leaves, what becomes of indexes that lie and of deaths in its midst. */

import { describe, expect, test } from "bun:test";
import { ErrorCode } from "../../protocol/errors.ts";
import { readBatchHeader } from "../../protocol/record_batch.ts";
import { buildBatch } from "../../protocol/records.ts";
import { METADATA_TOPIC_ID, offset } from "../../protocol/types.ts";
import { textBytes } from "../../storage/checkpoint.ts";
import { DEFAULT_LOG_CONFIG, type LogConfig } from "../../storage/log.ts";
import type { LogDirectoryOptions } from "../../storage/log_directory.ts";
import { recoverLogJob } from "../../storage/log_recovery.ts";
import { JobCancelledError } from "../../storage/workers.ts";
import { SimWorkers } from "../sim/sim_workers.ts";
import { counting, Fixture, ORDERS, untilDeath } from "./log_fixture.ts";

const CONFIG: Partial<LogConfig> = { indexIntervalBytes: 1000 };
const VALUE_BYTES = 900;
/** Past a checkpoint that shortens recovery, and one that writes the recovery point down. */
const TWO_CHECKPOINTS_MS = 10_500;
const SHORT: Partial<LogDirectoryOptions> = { recoveryMaxBytes: 0 };

/** `count` batches of one record of about 1 KB, by one producer, a millisecond apart. */
async function write(fixture: Fixture, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const { error } = fixture.append(1, {
      producerId: 7,
      producerEpoch: 0,
      baseSequence: fixture.log.endOffset,
      valueBytes: VALUE_BYTES,
    });
    expect(error).toBe(0);
    await fixture.clock.advance(1);
  }
}

/** A log with 300 batches before its newest snapshot, 100 more before its recovery point, and 20 past it. */
async function longLog(): Promise<Fixture> {
  const fixture = await Fixture.open(CONFIG, SHORT);
  await write(fixture, 300);
  await fixture.clock.advance(TWO_CHECKPOINTS_MS);
  // From here on nothing shortens it.
  await fixture.directory.close();
  await fixture.reopen(CONFIG);
  await write(fixture, 100);
  await fixture.log.whenSynced(fixture.log.endOffset);
  await fixture.directory.checkpoint();
  await write(fixture, 20);
  return fixture;
}

/** What the index files would be if they were made from the records alone. */
async function rebuilt(fixture: Fixture): Promise<string> {
  for (const suffix of [".index", ".timeindex"]) fixture.disk.remove(fixture.path(0, suffix));
  fixture.disk.kill();
  await fixture.reopen(CONFIG);
  return await indexes(fixture);
}

/** Stops, and gives the content of both index files. */
async function indexes(fixture: Fixture): Promise<string> {
  await fixture.directory.close();
  return [".index", ".timeindex"].map((suffix) => {
    const bytes = fixture.disk.bytesOf(fixture.path(0, suffix));
    return Buffer.from(bytes).toString("hex");
  }).join("\n");
}

/** The offset index agrees with the batches, and the time index is right about each of them. */
async function checkIndexes(fixture: Fixture): Promise<void> {
  const log = fixture.disk.bytesOf(fixture.path(0));
  const offsets = new DataView(fixture.disk.bytesOf(fixture.path(0, ".index")).buffer);
  for (let at = 0; at < offsets.byteLength; at += 8) {
    const { baseOffset, lastOffsetDelta } = readBatchHeader(log, offsets.getInt32(at + 4));
    expect(baseOffset + lastOffsetDelta).toBe(offsets.getInt32(at));
  }
  const found = await fixture.clock.run(fixture.log.maxTimestampOffset());
  expect(found?.offset).toBe(offset(fixture.log.endOffset - 1));
}

describe("recoverLogJob: reads", () => {
  test("from the newest snapshot on, and a little before it", async () => {
    const fixture = await longLog();
    fixture.disk.kill();
    await fixture.reopen(CONFIG);
    expect(fixture.log.endOffset).toBe(offset(420));
    // 120 batches of 1 KB, 64 KB to look back, and the batch that an entry is checked against.
    expect(fixture.directory.recoveredBytes).toBeGreaterThan(120_000);
    expect(fixture.directory.recoveredBytes).toBeLessThan(270_000);
    await checkIndexes(fixture);
  });

  test("all of the segment where there is no such snapshot, or the newest is damaged", async () => {
    for (const isDamaged of [false, true]) {
      const fixture = await longLog();
      for (const path of fixture.disk.files().filter((path) => path.endsWith(".snapshot"))) {
        if (isDamaged) fixture.disk.flipBit(path, 8, 3);
        else fixture.disk.remove(path);
      }
      fixture.disk.kill();
      await fixture.reopen(CONFIG);
      expect(fixture.log.endOffset).toBe(offset(420));
      expect(fixture.directory.recoveredBytes).toBeGreaterThan(400_000);
      expect([...fixture.log.producers()]).toMatchObject([{ producerId: 7, lastSequence: 419 }]);
      await checkIndexes(fixture);
    }
  });

  test("nothing after a clean stop", async () => {
    const fixture = await longLog();
    await fixture.directory.close();
    await fixture.reopen(CONFIG);
    expect(fixture.directory.recoveredBytes).toBe(0);
  });

  test("nothing after a clean stop whose cleaner left nothing before the first epoch that is known", async () => {
    const fixture = await Fixture.open({ ...CONFIG, cleanupPolicy: ["compact"] });
    const records = [{ key: new Uint8Array(1), value: null, headers: [], timestamp: 1 }];
    const batch = buildBatch({ records, baseOffset: 80, partitionLeaderEpoch: 3 });
    expect(fixture.log.appendAsFollower(batch).error).toBe(ErrorCode.NONE);
    await fixture.directory.close();
    await fixture.reopen(CONFIG);
    expect(fixture.directory.recoveredBytes).toBe(0);
    expect(fixture.logger.lines.filter(({ level }) => level === "warn")).toEqual([]);
    expect(fixture.log.endOffsetForEpoch(3)).toEqual({ leaderEpoch: 3, endOffset: 81 });
  });

  test("all of it where the first records have no epoch", async () => {
    const fixture = await longLog();
    await fixture.directory.close();
    const path = "/data/orders-0/leader-epoch-checkpoint";
    fixture.disk.plant(path, textBytes("0\n1\n0 50\n"));
    await fixture.reopen(CONFIG);
    expect(fixture.directory.recoveredBytes).toBeGreaterThan(400_000);
    expect(fixture.log.endOffsetForEpoch(0)).toEqual({ leaderEpoch: 0, endOffset: 420 });
  });

  test("next to nothing a second time", async () => {
    const fixture = await longLog();
    fixture.disk.kill();
    await fixture.reopen(CONFIG);
    await fixture.directory.checkpoint();
    fixture.disk.kill();
    await fixture.reopen(CONFIG);
    expect(fixture.directory.recoveredBytes).toBeLessThan(150_000);
    expect(fixture.log.endOffset).toBe(offset(420));
  });
});

test("recoverLogJob: leaves what a clean stop leaves, as if every record had been read", async () => {
  const fixture = await longLog();
  fixture.disk.kill();
  await fixture.reopen(CONFIG);
  const found = await indexes(fixture);
  const { recoveredBytes } = fixture.directory;
  await fixture.reopen(CONFIG);
  expect(await rebuilt(fixture)).toBe(found);
  expect(fixture.directory.recoveredBytes).toBeGreaterThan(2 * recoveredBytes);
});

describe("recoverLogJob: does not believe", () => {
  type Change = (bytes: Uint8Array, view: DataView) => Uint8Array | void;
  /** Entry 200 of the offset index lies where a scan would like to begin. */
  const CHANGES: readonly [string, string, Change][] = [
    ["an entry that points into a batch", ".index", (_, view) => {
      for (let at = 4; at < view.byteLength; at += 8) view.setInt32(at, view.getInt32(at) + 9);
    }],
    ["entries of other offsets", ".index", (_, view) => {
      for (let at = 0; at < view.byteLength; at += 8) view.setInt32(at, view.getInt32(at) + 1);
    }],
    ["entries that fall", ".index", (_, view) => view.setInt32(8 * 100, 3)],
    ["entries of zeros", ".index", (bytes) => void bytes.fill(0, 8 * 50, 8 * 300)],
    ["zeros alone", ".index", (bytes) => void bytes.fill(0)],
    ["an index that ends early", ".index", (bytes) => bytes.subarray(0, 8 * 40)],
    ["half an entry", ".index", (bytes) => bytes.subarray(0, 8 * 280 + 3)],
    ["positions past the end", ".index", (_, view) => {
      for (let at = 4; at < view.byteLength; at += 8) view.setInt32(at, 0x7000_0000 + at);
    }],
    ["an empty time index", ".timeindex", (bytes) => bytes.subarray(0, 0)],
    ["a time index that ends early", ".timeindex", (bytes) => bytes.subarray(0, 12 * 40)],
    ["times of zeros", ".timeindex", (bytes) => void bytes.fill(0, 12 * 30, 12 * 200)],
    ["times that fall", ".timeindex", (_, view) => view.setBigInt64(12 * 100, 5n)],
    ["random bytes", ".index", (bytes) => void crypto.getRandomValues(bytes)],
  ];
  test.each(CHANGES)("%s", async (_, suffix, change) => {
    const fixture = await longLog();
    const path = fixture.path(0, suffix);
    const bytes = fixture.disk.bytesOf(path);
    const changed = change(bytes, new DataView(bytes.buffer)) ?? bytes;
    fixture.disk.plant(path, changed.slice());
    fixture.disk.kill();
    await fixture.reopen(CONFIG);
    expect(fixture.log.offlineReason).toBeNull();
    expect(fixture.log.endOffset).toBe(offset(420));
    await checkIndexes(fixture);
    for (const at of [0, 77, 299, 300, 399, 419]) {
      const read = fixture.log.read(offset(at), { maxBytes: 1, minOneMessage: true });
      if (!("records" in read)) throw new Error(read.message);
      expect(readBatchHeader(read.records, 0).baseOffset).toBe(at);
      read.release();
    }
    const found = await indexes(fixture);
    await fixture.reopen(CONFIG);
    expect(await rebuilt(fixture)).toBe(found);
  });
});

test("recoverLogJob: a client may send its last five batches again, wherever the newest snapshot lies", async () => {
  for (let sinceSnapshot = 0; sinceSnapshot < 8; sinceSnapshot++) {
    const fixture = await Fixture.open(CONFIG, SHORT);
    await write(fixture, 200);
    await fixture.clock.advance(TWO_CHECKPOINTS_MS);
    await write(fixture, sinceSnapshot);
    fixture.disk.kill();
    await fixture.reopen(CONFIG);
    const end = fixture.log.endOffset;
    expect(end).toBe(offset(200 + sinceSnapshot));
    for (let baseSequence = end - 5; baseSequence < end; baseSequence++) {
      const again = fixture.append(1, { producerId: 7, producerEpoch: 0, baseSequence });
      expect(again).toMatchObject({ error: 0, duplicate: true, baseOffset: baseSequence });
    }
  }
});

describe("recoverLogJob: takes offline, and says why,", () => {
  async function reason(fixture: Fixture): Promise<string> {
    const files = () => fixture.disk.files().filter((path) => path.endsWith(".log"));
    const before = files().map((path) => Buffer.from(fixture.disk.bytesOf(path)).toString("hex"));
    fixture.disk.kill();
    await fixture.reopen(CONFIG);
    const after = files().map((path) => Buffer.from(fixture.disk.bytesOf(path)).toString("hex"));
    expect(after).toEqual(before);
    expect(fixture.append(1).error).not.toBe(0);
    return fixture.log.offlineReason ?? "";
  }

  test("a log with damage between the recovery point and its end", async () => {
    const fixture = await longLog();
    const sizeBytes = fixture.disk.sizeOf(fixture.path(0));
    fixture.disk.flipBit(fixture.path(0), sizeBytes - 5000, 2);
    expect(await reason(fixture)).toMatch(/bytes \d+ to \d+ of .* are damaged .* whole batches/);
  });

  test("a log whose synced records are gone", async () => {
    const fixture = await longLog();
    const bytes = fixture.disk.bytesOf(fixture.path(0));
    fixture.disk.plant(fixture.path(0), bytes.slice(0, 200_000));
    expect(await reason(fixture)).toMatch(/had been synced|had been on stable storage/);
  });

  test("a log whose recovery point lies past its end", async () => {
    const fixture = await longLog();
    const text = "0\n1\norders 0 900\n";
    fixture.disk.plant("/data/recovery-point-offset-checkpoint", textBytes(text));
    expect(await reason(fixture)).toContain("those before 900 had been on stable storage");
  });

  test("a log whose start lies past its end", async () => {
    const fixture = await longLog();
    fixture.disk.plant("/data/log-start-offset-checkpoint", textBytes("0\n1\norders 0 900\n"));
    expect(await reason(fixture)).toContain("the log start offset was written down as 900");
  });
});

test("LogDirectory.close: a damaged log keeps no other from being marked clean", async () => {
  const fixture = await longLog();
  const other = { topic: "other", partition: 0 };
  await fixture.directory.createLog(other, METADATA_TOPIC_ID, DEFAULT_LOG_CONFIG);
  const sizeBytes = fixture.disk.sizeOf(fixture.path(0));
  fixture.disk.flipBit(fixture.path(0), sizeBytes - 5000, 2);
  fixture.disk.kill();
  for (let start = 0; start < 3; start++) {
    await fixture.reopen(CONFIG);
    expect(fixture.log.offlineReason).toContain("are damaged");
    const log = await fixture.directory.openLog(other, METADATA_TOPIC_ID, DEFAULT_LOG_CONFIG);
    expect(log.offlineReason).toBeNull();
    expect(fixture.directory.hadCleanShutdown).toBe(start > 0);
    await fixture.directory.close();
  }
});

test("recoverLogJob: a death at any of its changes, with or without the power, loses nothing", async () => {
  for (const isPowerCut of [true, false]) {
    let deaths = 0;
    for (let changeCount = 0; deaths === changeCount; changeCount++) {
      const fixture = await longLog();
      // A torn tail: the last batch is cut in the middle.
      const file = fixture.disk.open(fixture.path(0), "write");
      file.truncate(file.sizeBytes - 100);
      file.close();
      fixture.disk.kill();
      const synced = 400;
      const isDead = await untilDeath(fixture, async (disk) => {
        const workers = new SimWorkers({ ...fixture, disk, delayMs: 0 });
        const opening = fixture.openDirectory({ disk, workers });
        disk.dieAt(changeCount);
        const config = { ...DEFAULT_LOG_CONFIG, ...CONFIG };
        await (await opening).createLog(ORDERS, METADATA_TOPIC_ID, config);
      });
      if (isDead) deaths++;
      if (isPowerCut) fixture.disk.crash();
      else fixture.disk.kill();
      await fixture.reopen(CONFIG);
      expect(fixture.log.offlineReason).toBeNull();
      expect(fixture.log.endOffset).toBeGreaterThanOrEqual(isPowerCut ? synced : 419);
      await checkIndexes(fixture);
      await write(fixture, 1);
    }
    expect(deaths).toBeGreaterThan(8);
  }
});

test("LogDirectory: asks no worker for a new partition, nor for one that was closed cleanly", async () => {
  const fixture = await longLog();
  const { workers, names } = counting(new SimWorkers({ ...fixture, delayMs: 0 }));
  fixture.disk.kill();
  await fixture.reopen(CONFIG, { workers });
  expect(names).toEqual([recoverLogJob.name]);
  await fixture.directory.createLog(
    { topic: "new", partition: 0 },
    METADATA_TOPIC_ID,
    DEFAULT_LOG_CONFIG,
  );
  await fixture.directory.close();
  await fixture.reopen(CONFIG, { workers });
  expect(names).toEqual([recoverLogJob.name]);
});

test("LogDirectory.stopOpening: gives recoveries up, and the next start has them done", async () => {
  const fixture = await longLog();
  fixture.disk.kill();
  const workers = new SimWorkers({ ...fixture, delayMs: 50 });
  const directory = await fixture.openDirectory({ workers });
  const config = { ...DEFAULT_LOG_CONFIG, ...CONFIG };
  const opening = directory.createLog(ORDERS, METADATA_TOPIC_ID, config);
  const found = opening.catch((failure: unknown) => failure);
  const closing = directory.close();
  await fixture.clock.run(closing);
  expect(await found).toBeInstanceOf(JobCancelledError);
  await fixture.reopen(CONFIG);
  expect(fixture.directory.hadCleanShutdown).toBe(true);
  expect(fixture.directory.recoveredBytes).toBeGreaterThan(0);
  expect(fixture.log.endOffset).toBe(offset(420));
});

test("LogDirectory.hurry: a partition that somebody asks for is recovered before those that wait", async () => {
  const fixture = await Fixture.open();
  const names = Array.from({ length: 20 }, (_, partition) => ({ topic: "many", partition }));
  for (const name of names) {
    await fixture.directory.createLog(name, METADATA_TOPIC_ID, DEFAULT_LOG_CONFIG);
  }
  fixture.disk.kill();
  const workers = new SimWorkers({ ...fixture, delayMs: 10 });
  const directory = await fixture.openDirectory({ workers, recoveryThreads: () => 1 });
  const opened: number[] = [];
  const opening = names.map(async (name) => {
    await directory.openLog(name, METADATA_TOPIC_ID, DEFAULT_LOG_CONFIG);
    opened.push(name.partition);
  });
  directory.hurry({ topic: "many", partition: 17 });
  await fixture.clock.run(Promise.all(opening));
  expect(opened.indexOf(17)).toBeLessThan(4);
  await fixture.clock.run(directory.close());
});

describe("LogDirectory: bounds what a crash leaves to be read", () => {
  test("over all logs, and reads no more than that after it", async () => {
    const recoveryMaxBytes = 300_000;
    const fixture = await Fixture.open(CONFIG, { recoveryMaxBytes });
    const { directory } = fixture;
    const logs = [fixture.log];
    for (let partition = 1; partition < 10; partition++) {
      const name = { topic: "orders", partition };
      logs.push(await directory.createLog(name, METADATA_TOPIC_ID, fixture.log.config));
    }
    for (let round = 0; round < 20; round++) {
      for (const log of logs) {
        fixture.log = log;
        await write(fixture, 10);
      }
      await fixture.clock.advance(5000);
      const sum = logs.reduce((bytes, log) => bytes + log.recoveryBytes, 0);
      expect(sum).toBeLessThanOrEqual(recoveryMaxBytes);
    }
    await fixture.clock.advance(5000);
    fixture.disk.kill();
    const again = await fixture.openDirectory();
    for (const { topicPartition, config } of logs) {
      const log = await again.openLog(topicPartition, METADATA_TOPIC_ID, config);
      expect(log.endOffset).toBe(offset(200));
    }
    const lookBackBytes = logs.length * 70_000;
    expect(again.recoveredBytes).toBeLessThan(recoveryMaxBytes + lookBackBytes);
  });

  test("without many snapshots: those of the segments and the newest two", async () => {
    const fixture = await Fixture.open({ ...CONFIG, segmentBytes: 60_000 }, SHORT);
    for (let round = 0; round < 10; round++) {
      await write(fixture, 25);
      await fixture.clock.advance(TWO_CHECKPOINTS_MS);
    }
    const bases = fixture.log.segments.map(({ baseOffset }) => baseOffset);
    const snapshots = fixture.disk.files().filter((path) => path.endsWith(".snapshot"))
      .map((path) => Number(path.slice(-29, -9)));
    expect(snapshots.filter((at) => !bases.includes(at)).length).toBeLessThanOrEqual(2);
    expect(snapshots).toContain(250);
  });

  test("by a snapshot that has its name only once the records before it are stable", async () => {
    const fixture = await Fixture.open(CONFIG);
    await write(fixture, 50);
    const { disk, log } = fixture;
    const rename = disk.rename.bind(disk);
    const named: [number, number][] = [];
    disk.rename = (from, to) => {
      if (to.endsWith(".snapshot")) named.push([Number(to.slice(-29, -9)), log.syncedOffset]);
      rename(from, to);
    };
    for (let round = 0; round < 5; round++) {
      const shortening = log.shortenRecovery();
      // What comes meanwhile is not stable with it.
      fixture.append(1, { valueBytes: VALUE_BYTES });
      log.roll();
      fixture.append(1, { valueBytes: VALUE_BYTES });
      await shortening;
      await log.whenSynced(log.endOffset);
      await fixture.clock.advance(10);
    }
    expect(named.length).toBeGreaterThan(5);
    for (const [at, synced] of named) expect(at).toBeLessThanOrEqual(synced);
  });
});
