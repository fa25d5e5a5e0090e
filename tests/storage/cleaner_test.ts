/** What the cleaner does with logs that are not as they should be, and when it cleans at all. */

import { expect, test } from "bun:test";
import { buildBatch, type NewBatch, readRecords } from "../../protocol/records.ts";
import { METADATA_TOPIC_ID, offset } from "../../protocol/types.ts";
import { Cleaner, type CleanerSettings } from "../../storage/cleaner.ts";
import { DEFAULT_LOG_CONFIG, type LogConfig } from "../../storage/log.ts";
import { SimWorkers } from "../sim/sim_workers.ts";
import { Fixture, ORDERS } from "./log_fixture.ts";

const COMPACTED: Partial<LogConfig> = {
  cleanupPolicy: ["compact"],
  minCleanableDirtyRatio: 0,
  fileDeleteDelayMs: 1000,
};
const SETTINGS: CleanerSettings = {
  isEnabled: true,
  backoffMs: 1000,
  dedupeBufferBytes: 1e6,
  loadFactor: 0.9,
  ioBufferBytes: 8192,
  maxBytesPerSecond: Infinity,
  reserveBytes: 0,
};

/** A log of three closed segments of two records, keys a and b each time, and one record in the fourth. */
class Compacted {
  readonly fixture: Fixture;
  readonly cleaner: Cleaner;
  settings: CleanerSettings = SETTINGS;

  constructor(fixture: Fixture) {
    this.fixture = fixture;
    const { disk, clock, logger, random } = fixture;
    this.cleaner = new Cleaner({
      clock,
      random,
      logger,
      workers: new SimWorkers({ disk, clock, logger }),
      directories: () => [fixture.directory],
      settings: () => this.settings,
    });
  }

  static async open(config: Partial<LogConfig> = {}): Promise<Compacted> {
    const fixture = await Fixture.open({ ...COMPACTED, ...config });
    const compacted = new Compacted(fixture);
    for (let i = 0; i < 3; i++) {
      compacted.append(["a", "b"]);
      fixture.log.roll();
    }
    compacted.append(["a"]);
    await compacted.commit();
    return compacted;
  }

  append(keys: (string | null)[], over: Partial<NewBatch> & { value?: null } = {}): void {
    const timestamp = this.fixture.clock.wallMs();
    const records = keys.map((key) => ({
      key: key === null ? null : Buffer.from(key),
      value: over.value === null ? null : Buffer.from(`${this.fixture.log.endOffset}`),
      timestamp,
    }));
    const result = this.fixture.log.appendAsLeader(buildBatch({ records, ...over }), {
      leaderEpoch: 0,
      origin: "replication",
    });
    expect(result.error).toBe(0);
  }

  async commit(): Promise<void> {
    const { log, clock } = this.fixture;
    await clock.run(log.whenSynced(log.endOffset));
    await clock.advance(1);
    log.updateHighWatermark(log.endOffset);
  }

  clean(): Promise<boolean> {
    return this.fixture.clock.run(this.cleaner.cleanDirtiest());
  }

  /** `offset:key` of every record. */
  records(): string[] {
    const { log } = this.fixture;
    const found: string[] = [];
    for (let next: number = log.logStartOffset; next < log.endOffset;) {
      const read = log.read(offset(next), { maxBytes: 1, minOneMessage: true });
      if (!("records" in read) || read.records.length === 0) throw new Error(JSON.stringify(read));
      for (const record of readRecords(read.records, 0, { maxDecompressedBytes: 1e6 })) {
        found.push(`${record.offset}:${record.key === null ? "" : Buffer.from(record.key)}`);
      }
      next = read.nextOffset;
      read.release();
    }
    return found;
  }

  said(message: RegExp): number {
    return this.fixture.logger.lines.filter((line) => message.test(line.message)).length;
  }
}

test("Cleaner: keeps the newest record of each key, says so, and writes down how far it got", async () => {
  const compacted = await Compacted.open();
  const { log, disk, directory } = compacted.fixture;
  expect(await compacted.clean()).toBe(true);
  expect(compacted.records()).toEqual(["4:a", "5:b", "6:a"]);
  expect([log.cleanedOffset, log.segments.length]).toEqual([offset(6), 2]);
  expect(compacted.said(/^Log is compacted$/)).toBe(1);
  expect(Buffer.from(disk.bytesOf("/data/cleaner-offset-checkpoint")).toString())
    .toBe("0\n1\norders 0 6\n");
  expect(await compacted.clean()).toBe(false);
  const { recopyPercent, maxBufferUtilizationPercent } = compacted.cleaner.stats();
  expect(recopyPercent).toBeWithin(1, 60);
  expect(maxBufferUtilizationPercent).toBeWithin(1, 100);
  await compacted.fixture.clock.run(directory.close());
  const reopened = await compacted.fixture.reopen(COMPACTED);
  expect(reopened.cleanedOffset).toBe(offset(6));
});

test("Cleaner: a damaged batch stops it for that log alone, which is served as it is", async () => {
  const compacted = await Compacted.open();
  const { disk, directory, clock, log } = compacted.fixture;
  const other = await clock.run(
    directory.createLog({ topic: "other", partition: 0 }, METADATA_TOPIC_ID, {
      ...DEFAULT_LOG_CONFIG,
      ...COMPACTED,
      minCleanableDirtyRatio: 0.5,
    }),
  );
  const before = compacted.records();
  disk.flipBit(compacted.fixture.path(2), 70);
  expect(await compacted.clean()).toBe(false);
  expect(compacted.said(/cannot be read and is not compacted any more/)).toBe(1);
  const [line] = compacted.fixture.logger.lines.filter(({ level }) => level === "error");
  expect(line!.fields["found"]).toMatch(/byte 0 .*00000000000000000002\.log: the checksum/);
  expect(compacted.cleaner.stats().uncleanablePartitionsCount).toBe(1);
  expect(compacted.cleaner.stats().uncleanableBytes).toBe(log.sizeBytes);
  expect(await compacted.clean()).toBe(false);
  expect(compacted.said(/cannot be read/)).toBe(1);
  expect(log.offlineReason).toBeNull();
  expect(disk.files().filter((path) => /cleaned|swap|deleted/.test(path))).toEqual([]);
  disk.flipBit(compacted.fixture.path(2), 70);
  expect(compacted.records()).toEqual(before);
  expect(other.offlineReason).toBeNull();
  await clock.run(directory.deleteLog(ORDERS));
  await compacted.clean();
  expect(compacted.cleaner.stats().uncleanablePartitionsCount).toBe(0);
});

test("Cleaner: a disk without room leaves the log as it is, until there is some", async () => {
  const compacted = await Compacted.open();
  const { disk } = compacted.fixture;
  const before = compacted.records();
  compacted.settings = { ...SETTINGS, reserveBytes: 1e9 };
  disk.capacityBytes = 1e6;
  expect(await compacted.clean()).toBe(false);
  expect(await compacted.clean()).toBe(false);
  expect(compacted.said(/for want of room/)).toBe(1);
  // There is room when it looks, and none when it writes.
  compacted.settings = SETTINGS;
  disk.faults = { write: (path) => path.endsWith(".log.cleaned") ? "ENOSPC" : null };
  expect(await compacted.clean()).toBe(false);
  expect(disk.files().filter((path) => path.endsWith(".cleaned"))).toEqual([]);
  expect(compacted.records()).toEqual(before);
  disk.faults = {};
  expect(await compacted.clean()).toBe(true);
  expect(compacted.records()).toEqual(["4:a", "5:b", "6:a"]);
});

test("Cleaner: max.compaction.lag.ms closes a segment that nobody appends to any more", async () => {
  const compacted = await Compacted.open({ maxCompactionLagMs: 5000, minCleanableDirtyRatio: 1 });
  const { log, clock } = compacted.fixture;
  expect(await compacted.clean()).toBe(false);
  await clock.advance(5001);
  await compacted.clean();
  await compacted.commit();
  expect(compacted.cleaner.stats().maxCompactionDelaySecs).toBeGreaterThan(0);
  await compacted.clean();
  expect(log.cleanedOffset).toBe(offset(7));
  expect(compacted.records()).toEqual(["5:b", "6:a"]);
});

test("Log: max.compaction.lag.ms closes the active segment at an append too", async () => {
  const compacted = await Compacted.open({ maxCompactionLagMs: 5000 });
  await compacted.fixture.clock.advance(5001);
  compacted.append(["c"]);
  expect(compacted.fixture.log.segments).toHaveLength(5);
});

test("Cleaner: a tombstone stays for delete.retention.ms after it was first met", async () => {
  const compacted = await Compacted.open({ deleteRetentionMs: 1000 });
  const { log, clock } = compacted.fixture;
  const next = async () => {
    log.roll();
    await compacted.commit();
    await compacted.clean();
    return compacted.records();
  };
  compacted.append(["a"], { value: null });
  expect(await next()).toEqual(["5:b", "7:a"]);
  await clock.advance(900);
  compacted.append(["c"]);
  expect(await next()).toEqual(["5:b", "7:a", "8:c"]);
  await clock.advance(200);
  compacted.append(["d"]);
  expect(await next()).toEqual(["5:b", "8:c", "9:d"]);
});

test("Cleaner: records without a key are dropped from a log that is compacted now", async () => {
  const compacted = await Compacted.open({ cleanupPolicy: ["delete"] });
  const { log } = compacted.fixture;
  compacted.append([null, "c", null]);
  log.roll();
  await compacted.commit();
  expect(await compacted.clean()).toBe(false);
  log.updateConfig({ ...log.config, cleanupPolicy: ["compact"] });
  expect(await compacted.clean()).toBe(true);
  expect(compacted.records()).toEqual(["5:b", "6:a", "8:c"]);
  const line = compacted.fixture.logger.lines.find(({ message }) => message === "Log is compacted");
  expect(line?.fields["recordsWithoutKey"]).toBe(2);
});

test("Cleaner: compact and delete together: what is old goes, and what stays is compacted", async () => {
  const compacted = await Compacted.open({
    cleanupPolicy: ["compact", "delete"],
    retentionMs: 1e6,
  });
  const { log, clock } = compacted.fixture;
  expect(await compacted.clean()).toBe(true);
  expect(compacted.records()).toEqual(["4:a", "5:b", "6:a"]);
  log.roll();
  await clock.advance(1e6 + 1);
  compacted.append(["z"]);
  log.roll();
  await compacted.commit();
  expect(log.enforceRetention()).toBeGreaterThan(0);
  compacted.append(["z"]);
  log.roll();
  await compacted.commit();
  expect(await compacted.clean()).toBe(true);
  expect(compacted.records()).toEqual(["8:z"]);
});

test("Log: what retention lets go while a log is cleaned goes when that has ended", async () => {
  const compacted = await Compacted.open({ cleanupPolicy: ["compact", "delete"] });
  const { log, clock } = compacted.fixture;
  const cleaning = compacted.cleaner.cleanDirtiest();
  // A job waits for its thread.
  await clock.advance(0);
  expect(log.deleteRecordsBefore(offset(4)).error).toBe(0);
  expect(log.segments).toHaveLength(4);
  expect(compacted.records()).toEqual(["4:a", "5:b", "6:a"]);
  expect(await clock.run(cleaning)).toBe(true);
  expect(compacted.records()).toEqual(["4:a", "5:b", "6:a"]);
  expect(log.deleteRecordsBefore(offset(6)).error).toBe(0);
  expect(log.segments).toHaveLength(1);
});

test("Log: a truncation ends the cleaning, and what is appended then is dirty again", async () => {
  for (const waitMs of [0, 1, 2, 3, 4, 5]) {
    const compacted = await Compacted.open();
    const { log, clock } = compacted.fixture;
    const cleaning = compacted.cleaner.cleanDirtiest();
    await clock.advance(waitMs);
    await clock.run(log.truncateTo(offset(3)));
    await clock.run(cleaning);
    expect(log.cleanedOffset).toBeLessThanOrEqual(3);
    expect(log.offlineReason).toBeNull();
    const left = compacted.records();
    // Where the cleaning came first, the records that superseded the older ones are cut after it.
    expect([["0:a", "1:b"], []]).toContainEqual(left);
    compacted.append(["b"]);
    log.roll();
    await compacted.commit();
    expect(await compacted.clean()).toBe(true);
    expect(compacted.records().at(-1)).toBe(`${log.endOffset - 1}:b`);
    expect(compacted.records().filter((one) => one.endsWith("b"))).toHaveLength(1);
    await clock.run(compacted.fixture.directory.close());
  }
});

test("Log: a truncation below the cleaned offset lowers it, also on the disk", async () => {
  const compacted = await Compacted.open();
  const { log, clock, disk } = compacted.fixture;
  expect(await compacted.clean()).toBe(true);
  expect(log.cleanedOffset).toBe(offset(6));
  // The whole batch goes, and nothing is left before it.
  await clock.run(log.truncateTo(offset(5)));
  expect([log.endOffset, log.cleanedOffset]).toEqual([offset(0), offset(0)]);
  const text = Buffer.from(disk.bytesOf("/data/cleaner-offset-checkpoint")).toString();
  expect(text).toBe("0\n1\norders 0 0\n");
});

test("Cleaner: a transaction that was aborted before the dirty records does not spoil the next one", async () => {
  const compacted = await Compacted.open();
  const { log } = compacted.fixture;
  const producer = { producerId: 5, producerEpoch: 0, transactional: true };
  const end = (isCommit: boolean) => {
    const record = { key: new Uint8Array([0, 0, 0, Number(isCommit)]), value: new Uint8Array(6) };
    const timestamp = compacted.fixture.clock.wallMs();
    const marker = { ...producer, control: true, records: [{ ...record, timestamp }] };
    log.appendAsLeader(buildBatch(marker), { leaderEpoch: 0, origin: "coordinator" });
  };
  // One segment: the map is full after the aborted transaction, and the next pass begins behind it.
  compacted.settings = { ...SETTINGS, dedupeBufferBytes: 24 * 4 };
  compacted.append(["x"], { ...producer, baseSequence: 0 });
  end(false);
  compacted.append(["c", "d", "e", "f"]);
  compacted.append(["a"], { ...producer, baseSequence: 1 });
  end(true);
  log.roll();
  await compacted.commit();
  while (await compacted.clean());
  expect(log.cleanedOffset).toBe(log.endOffset);
  expect(compacted.records().filter((one) => one.endsWith(":a"))).toEqual(["13:a"]);
});

test("Cleaner: beside an open transaction what is committed and aborted is cleaned, and it is left whole", async () => {
  const compacted = await Compacted.open({ deleteRetentionMs: 0 });
  const { log, clock } = compacted.fixture;
  const [committed, aborted, gone, open] = [5, 6, 7, 8].map((producerId) => (
    { producerId, producerEpoch: 0, transactional: true }
  ));
  const end = (producer: typeof committed, isCommit: boolean) => {
    const record = { key: new Uint8Array([0, 0, 0, Number(isCommit)]), value: new Uint8Array(6) };
    const marker = { ...producer, control: true, records: [{ ...record, timestamp: 0 }] };
    log.appendAsLeader(buildBatch(marker), { leaderEpoch: 0, origin: "coordinator" });
  };
  const told = () => ({
    lastStableOffset: log.lastStableOffset(log.endOffset),
    aborted: log.abortedTransactions(log.logStartOffset, log.endOffset)
      .map(({ producerId, firstOffset }) => [producerId, firstOffset as number]).sort(),
  });
  compacted.append(["c"], { ...committed, baseSequence: 0 });
  compacted.append(["x", "y"], { ...aborted, baseSequence: 0 });
  compacted.append(["z"], { ...gone, baseSequence: 0 });
  end(committed, true);
  end(gone, false);
  compacted.append(["c"]);
  log.roll();
  // What is older than the open transaction alone may be cleaned.
  const openOffset = log.endOffset;
  compacted.append(["o"], { ...open, baseSequence: 0 });
  end(aborted, false);
  compacted.append(["a", "o"]);
  log.roll();
  await compacted.commit();
  const before = told();
  expect(before).toEqual({ lastStableOffset: openOffset, aborted: [[6, 8], [7, 10]] });
  while (await compacted.clean());
  expect(log.cleanedOffset).toBeLessThanOrEqual(openOffset);
  expect(told()).toEqual(before);
  // What was aborted goes, though its marker lies past the open transaction; the index tells of it as before.
  expect(compacted.records().filter((one) => /:[oxyz]$/.test(one)))
    .toEqual([`${openOffset}:o`, `${openOffset + 3}:o`]);
  end(open, true);
  log.roll();
  await compacted.commit();
  await clock.advance(1);
  while (await compacted.clean());
  expect(log.cleanedOffset).toBe(log.endOffset);
  expect(told().lastStableOffset).toBe(log.endOffset);
  expect(compacted.records().filter((one) => /:[acoxyz]$/.test(one)))
    .toEqual(["13:c", `${openOffset + 2}:a`, `${openOffset + 3}:o`]);
});

test("Cleaner: keeps the broker's time of batches that lose records", async () => {
  const compacted = await Compacted.open({ messageTimestampType: "LogAppendTime" });
  const { log, clock } = compacted.fixture;
  const stamped = clock.wallMs();
  compacted.append(["x", "y"]);
  log.roll();
  await clock.advance(50);
  compacted.append(["x"]);
  log.roll();
  await compacted.commit();
  expect(await compacted.clean()).toBe(true);
  const read = log.read(offset(7), { maxBytes: 1, minOneMessage: true });
  if (!("records" in read)) throw new Error("no records");
  const records = readRecords(read.records, 0, { maxDecompressedBytes: 1e6 });
  expect(records.map(({ offset: at, timestamp }) => [at, timestamp])).toEqual([[8, stamped]]);
});

test("Cleaner: reads and writes no faster than log.cleaner.io.max.bytes.per.second", async () => {
  const compacted = await Compacted.open();
  const { clock, log } = compacted.fixture;
  compacted.settings = { ...SETTINGS, maxBytesPerSecond: log.sizeBytes / 10 };
  const beganMs = clock.monotonicMs();
  expect(await compacted.clean()).toBe(true);
  // Once to map the keys, once to read and write a part of it.
  expect(clock.monotonicMs() - beganMs).toBeWithin(15_000, 40_000);
});

test("Cleaner: cleans by itself, and leaves no timer behind when it is stopped", async () => {
  const compacted = await Compacted.open();
  const { clock, log, directory } = compacted.fixture;
  compacted.settings = { ...SETTINGS, isEnabled: false };
  compacted.cleaner.start();
  await clock.advance(5000);
  expect(log.segments).toHaveLength(4);
  compacted.settings = SETTINGS;
  await clock.advance(1100);
  expect(compacted.records()).toEqual(["4:a", "5:b", "6:a"]);
  await clock.run(compacted.cleaner.stop());
  await clock.run(directory.close());
  expect(clock.pendingTimers).toBe(0);
});
