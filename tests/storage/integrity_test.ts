/** Bits that flip on the disk while the broker does not run, and every reader that might believe them. */

import { describe, expect, test } from "bun:test";
import { ErrorCode } from "../../protocol/errors.ts";
import { batches, batchSizeBytes, RECORD_BATCH_OVERHEAD } from "../../protocol/record_batch.ts";
import { buildControlBatch } from "../../protocol/control_records.ts";
import { offset } from "../../protocol/types.ts";
import { CheckedRanges } from "../../storage/checked_ranges.ts";
import { DiskError } from "../../storage/platform.ts";
import { DamagedBytes } from "../../storage/segment.ts";
import { SimRandom, testSeeds } from "../sim/sim_random.ts";
import { Fixture, ORDERS_PATH } from "./log_fixture.ts";

/** Bytes of a batch header that nothing covers and nothing contradicts: the partition leader epoch. */
const EPOCH = { from: 12, to: 16 };
const CONFIG = { indexIntervalBytes: 150, messageTimestampAfterMaxMs: Number.MAX_SAFE_INTEGER };

interface Written {
  readonly baseOffset: number;
  readonly bytes: Uint8Array;
}

/** Two closed segments and an active one, 1 to 3 records a batch, stopped cleanly. */
async function stoppedLog(): Promise<{ fixture: Fixture; written: Written[] }> {
  const fixture = await Fixture.open(CONFIG);
  const written: Written[] = [];
  for (let i = 0; i < 18; i++) {
    const result = fixture.append(1 + i % 3, { valueBytes: 5 + 7 * (i % 4) });
    if (!("baseOffset" in result)) throw new Error(result.message);
    const read = fixture.log.read(result.baseOffset, { maxBytes: 1, minOneMessage: true });
    if (!("records" in read)) throw new Error(read.message);
    written.push({ baseOffset: result.baseOffset, bytes: read.records.slice() });
    read.release();
    if (i === 6 || i === 12) fixture.log.roll();
    await fixture.clock.advance(10);
  }
  await fixture.clock.run(fixture.directory.close());
  return { fixture, written };
}

/** Same bytes, but for the epoch. */
function isSame(served: Uint8Array, bytes: Uint8Array): boolean {
  const [a, b] = [served.slice(), bytes.slice()];
  a.fill(0, EPOCH.from, EPOCH.to);
  b.fill(0, EPOCH.from, EPOCH.to);
  return Buffer.compare(a, b) === 0;
}

/** Reads from an offset. Returns: base offsets of what was served; null where it was refused. */
function serve({ log }: Fixture, written: readonly Written[], from: number, maxBytes: number) {
  const read = log.read(offset(from), { maxBytes, minOneMessage: true });
  if (!("records" in read)) {
    expect([ErrorCode.CORRUPT_MESSAGE, ErrorCode.KAFKA_STORAGE_ERROR] as number[])
      .toContain(read.error);
    return null;
  }
  let index = written.findLastIndex(({ baseOffset }) => baseOffset <= from);
  const served: number[] = [];
  for (let at = 0; at < read.records.length;) {
    const { bytes, baseOffset } = written[index++]!;
    const sizeBytes = batchSizeBytes(read.records, at);
    if (!isSame(read.records.subarray(at, at + sizeBytes), bytes)) {
      throw new Error(`other bytes are served for offset ${baseOffset} of a read from ${from}`);
    }
    served.push(baseOffset);
    at += sizeBytes;
  }
  read.release();
  return served;
}

describe("Log.read", () => {
  test("a flip of any bit: its batch is never served, all others are", async () => {
    const { fixture, written } = await stoppedLog();
    const random = new SimRandom(testSeeds(1)[0]!);
    let refusedCount = 0;
    for (const path of [0, 13].map((baseOffset) => fixture.path(baseOffset))) {
      const original = fixture.disk.bytesOf(path);
      for (let at = 0; at < original.length; at++) {
        const flipped = original.slice();
        flipped[at]! ^= 1 << random.below(8);
        fixture.disk.plant(path, flipped);
        await fixture.clock.run(fixture.reopen(CONFIG));
        const maxBytes = random.pick([1, 200, 10_000]);
        const served = new Set<number>();
        for (let from = 0; from < fixture.log.endOffset; from++) {
          for (const one of serve(fixture, written, from, maxBytes) ?? []) served.add(one);
        }
        if (served.size < written.length) refusedCount++;
        expect(written.length - served.size).toBeLessThanOrEqual(2);
        await fixture.clock.run(fixture.directory.close());
      }
      fixture.disk.plant(path, original);
    }
    expect(refusedCount).toBeGreaterThan(1000);
  }, 60_000);

  test("the report: names the place, once, however often it is asked for", async () => {
    const { fixture } = await stoppedLog();
    fixture.disk.flipBit(fixture.path(0), 70, 3);
    await fixture.clock.run(fixture.reopen(CONFIG));
    fixture.logger.lines.length = 0;
    for (let i = 0; i < 10; i++) {
      const read = fixture.log.read(offset(0), { maxBytes: 100, minOneMessage: true });
      expect(read.error).toBe(ErrorCode.CORRUPT_MESSAGE);
    }
    const errors = fixture.logger.lines.filter(({ level }) => level === "error");
    expect(errors.map(({ fields }) => fields)).toEqual([{
      partition: "orders-0",
      offset: 0,
      found: expect.stringContaining(`${fixture.path(0)} is damaged at byte`),
      advice: expect.stringContaining("restore the file"),
    }]);
  });

  test("records before a damaged place can be deleted, and so can the damaged ones", async () => {
    const { fixture, written } = await stoppedLog();
    fixture.disk.flipBit(fixture.path(0), 70, 3);
    await fixture.clock.run(fixture.reopen(CONFIG));
    fixture.log.updateHighWatermark(fixture.log.endOffset);
    expect(serve(fixture, written, 0, 100)).toBeNull();
    expect(fixture.log.deleteRecordsBefore(offset(13)).error).toBe(ErrorCode.NONE);
    expect(serve(fixture, written, 13, 100)).not.toBeNull();
    expect(fixture.append(1).error).toBe(ErrorCode.NONE);
  });

  test("what takes the place of damage that is cut off is served, and needs no check", async () => {
    const { fixture, written } = await stoppedLog();
    const { baseOffset, bytes } = written.at(-1)!;
    await fixture.clock.run(fixture.reopen(CONFIG));
    const { path, sizeBytes } = fixture.log.segments.at(-1)!;
    const position = sizeBytes - bytes.length;
    await fixture.clock.run(fixture.directory.close());
    fixture.disk.flipBit(path, position + 70, 3);
    await fixture.clock.run(fixture.reopen(CONFIG));
    expect(serve(fixture, written, baseOffset, 100)).toBeNull();
    expect(fixture.log.damagedCount).toBe(1);
    await fixture.clock.run(fixture.log.truncateTo(offset(baseOffset)));
    fixture.append(1 + 17 % 3, { valueBytes: 5 + 7 * (17 % 4) });
    const active = fixture.log.segments.at(-1)!;
    expect([active.path, active.sizeBytes]).toEqual([path, sizeBytes]);
    expect(active.isChecked(position, sizeBytes)).toBe(true);
    const read = fixture.log.read(offset(baseOffset), { maxBytes: 100, minOneMessage: true });
    expect(read).toMatchObject({ error: ErrorCode.NONE, nextOffset: fixture.log.endOffset });
    expect(fixture.log.damagedCount).toBe(0);
  });

  test("what is checked is not read twice for it, and what was appended is not checked", async () => {
    const { fixture, written } = await stoppedLog();
    await fixture.clock.run(fixture.reopen(CONFIG));
    const [first] = fixture.log.segments;
    const sizeBytes = first!.sizeBytes;
    expect(first!.isChecked(0, sizeBytes)).toBe(false);
    serve(fixture, written, 0, 10_000);
    expect(first!.isChecked(0, sizeBytes)).toBe(true);
    const active = fixture.log.segments.at(-1)!;
    const before = active.sizeBytes;
    fixture.append(2);
    expect(active.isChecked(before, active.sizeBytes)).toBe(true);
    expect(active.isChecked(0, active.sizeBytes)).toBe(false);
  });
});

describe("Log.offsetForTimestamp", () => {
  test("a flip of any bit: the right offset or an error", async () => {
    const { fixture } = await stoppedLog();
    const path = fixture.path(0);
    const original = fixture.disk.bytesOf(path);
    await fixture.clock.run(fixture.reopen(CONFIG));
    const times = Array.from({ length: 14 }, (_, i) => fixture.clock.wallMs() - 200 + 10 * i);
    const find = async (time: number) =>
      (await fixture.clock.run(fixture.log.offsetForTimestamp(time)))?.offset;
    const right = await Promise.all(times.map(find));
    await fixture.clock.run(fixture.directory.close());
    let errorCount = 0;
    for (let at = 0; at < original.length; at += 3) {
      const flipped = original.slice();
      flipped[at]! ^= 1 << (at % 8);
      fixture.disk.plant(path, flipped);
      await fixture.clock.run(fixture.reopen(CONFIG));
      for (const [index, time] of times.entries()) {
        try {
          expect({ at, time, offset: await find(time) })
            .toEqual({ at, time, offset: right[index] });
        } catch (failure) {
          if (!(failure instanceof DiskError)) throw failure;
          errorCount++;
        }
      }
      await fixture.clock.run(fixture.directory.close());
    }
    expect(errorCount).toBeGreaterThan(100);
  }, 60_000);
});

test("a search by time tells of the damage that it comes upon, with its place", async () => {
  const { fixture, written } = await stoppedLog();
  await fixture.clock.run(fixture.reopen(CONFIG));
  const { sizeBytes } = fixture.log.segments[0]!;
  await fixture.clock.run(fixture.directory.close());
  // The last batch of the first segment, with record 12.
  const { baseOffset, bytes } = written[6]!;
  const position = sizeBytes - bytes.length;
  fixture.disk.flipBit(fixture.path(0), position + 70, 3);
  await fixture.clock.run(fixture.reopen(CONFIG));
  const { timestampMs } = fixture.log.segments[0]!.largest;
  for (let i = 0; i < 3; i++) {
    const failure = await fixture.clock.run(
      fixture.log.offsetForTimestamp(timestampMs).catch((error: unknown) => error),
    );
    expect(failure).toBeInstanceOf(DamagedBytes);
  }
  const told = fixture.logger.lines.filter(({ level }) => level === "error");
  expect(told.map(({ fields }) => fields?.["offset"])).toEqual([baseOffset]);
  expect(told[0]!.fields!["found"]).toContain(`${fixture.path(0)} is damaged at byte ${position}`);
});

describe("Log.open", () => {
  const producer = { producerId: 5, producerEpoch: 3 };

  /** Batches of one producer, the last of three records; stopped cleanly, or as a crash stops it. */
  async function idempotentLog(isClean: boolean) {
    const fixture = await Fixture.open(CONFIG);
    const appended: { readonly at: number; readonly baseSequence: number }[] = [];
    for (let i = 0; i < 15; i++) {
      const baseSequence = fixture.log.endOffset;
      appended.push({ at: fixture.log.sizeBytes, baseSequence });
      const result = fixture.append(1 + i % 3, { ...producer, baseSequence, valueBytes: 3 + i });
      expect(result.error).toBe(ErrorCode.NONE);
      if (i === 6) fixture.log.roll();
      await fixture.clock.advance(10);
    }
    fixture.log.sync();
    await fixture.clock.advance(100);
    await fixture.clock.run(fixture.directory.checkpoint());
    const { endOffset, segments } = fixture.log;
    expect(fixture.log.recoveryPoint).toBe(endOffset);
    const { path, baseOffset } = segments[1]!;
    const from = appended.at(-3)!.at - segments[0]!.sizeBytes;
    if (isClean) await fixture.clock.run(fixture.directory.close());
    const files = new Map(fixture.disk.files().map((name) => [name, fixture.disk.bytesOf(name)]));
    if (!isClean) await fixture.clock.run(fixture.directory.close());
    return { fixture, files, path, from, endOffset, baseOffset, last: appended.at(-1)! };
  }

  for (const isClean of [true, false]) {
    const what = isClean ? "a clean stop" : "a crash";
    test(
      `after ${what} and a flip of any bit: the end does not move, no batch is new twice`,
      async () => {
        const life = await idempotentLog(isClean);
        const { fixture, files, path, endOffset, last } = life;
        const original = files.get(path)!;
        const random = new SimRandom(testSeeds(1)[0]!);
        let offlineCount = 0;
        for (let at = life.from; at < original.length; at++) {
          for (const name of fixture.disk.files()) if (!files.has(name)) fixture.disk.remove(name);
          for (const [name, bytes] of files) fixture.disk.plant(name, bytes);
          fixture.disk.flipBit(path, at, random.below(8));
          const log = await fixture.clock.run(fixture.reopen(CONFIG));
          if (log.offlineReason === null) {
            expect({ at, endOffset: log.endOffset }).toEqual({ at, endOffset });
            const again = fixture.append(3, { ...producer, baseSequence: last.baseSequence });
            expect({ at, again }).toMatchObject({
              at,
              again: { duplicate: true, baseOffset: last.baseSequence },
            });
            const next = fixture.append(1, { ...producer, baseSequence: endOffset });
            expect({ at, next }).toMatchObject({ at, next: { baseOffset: endOffset } });
          } else {
            offlineCount++;
            expect(log.offlineReason).toContain(path);
          }
          await fixture.clock.run(fixture.directory.close());
        }
        expect(offlineCount).toBeGreaterThan(20);
        expect(offlineCount).toBeLessThan((original.length - life.from) / 2);
      },
      60_000,
    );
  }

  test("a marker that is damaged is not believed: committed records might count as aborted", async () => {
    const fixture = await Fixture.open(CONFIG);
    for (const i of [0, 1]) {
      fixture.append(1, { ...producer, baseSequence: i, transactional: true });
      const marker = buildControlBatch({
        ...producer,
        timestamp: fixture.clock.wallMs(),
        records: [{ type: "commit", coordinatorEpoch: 0 }],
      });
      fixture.log.appendAsLeader(marker, { leaderEpoch: 0, origin: "coordinator" });
    }
    fixture.log.sync();
    await fixture.clock.advance(100);
    await fixture.clock.run(fixture.directory.checkpoint());
    const path = fixture.path(0);
    const bytes = fixture.disk.bytesOf(path);
    fixture.disk.kill();
    // The key of a marker is a version and a type, 4 bytes behind its length.
    const [, marker] = [...batches(bytes)];
    const typeAt = bytes.indexOf(1, marker! + RECORD_BATCH_OVERHEAD + 8);
    fixture.disk.flipBit(path, typeAt, 0);
    const log = await fixture.clock.run(fixture.reopen(CONFIG));
    expect(log.offlineReason).toContain(`${path} is damaged at byte ${marker}`);
  });
});

test("CheckedRanges: says of no byte that it is checked when it is not", () => {
  for (const seed of testSeeds(300)) {
    const random = new SimRandom(seed);
    let opened = random.below(200);
    const ranges = new CheckedRanges(opened);
    const isChecked = new Uint8Array(300).fill(1, opened);
    for (let step = 0; step < 60; step++) {
      const start = random.below(250);
      const end = start + 1 + random.below(40);
      if (random.chance(0.05)) {
        const position = random.below(250);
        ranges.truncate(position);
        isChecked.fill(1, Math.min(position, opened));
        opened = Math.min(opened, position);
      } else if (random.chance(0.1)) {
        const sizeBytes = Math.max(end, opened);
        ranges.doubt(start, end, sizeBytes);
        isChecked.fill(0, start, end);
        opened = Math.max(opened, sizeBytes);
      } else if (random.chance(0.5)) {
        ranges.add(start, end);
        isChecked.fill(1, start, end);
      }
      const isAll = isChecked.subarray(start, end).every((one) => one === 1);
      if (ranges.covers(start, end)) {
        expect({ seed, step, isAll }).toEqual({ seed, step, isAll: true });
      }
    }
    ranges.add(0, 300);
    expect(ranges.covers(0, 300)).toBe(true);
  }
});

test("a directory that was only read is not changed", async () => {
  const { fixture } = await stoppedLog();
  const logs = fixture.disk.files().filter((path) => path.startsWith(ORDERS_PATH));
  const before = logs.map((
    path,
  ) => [path, Buffer.from(fixture.disk.bytesOf(path)).toString("hex")]);
  await fixture.clock.run(fixture.reopen(CONFIG));
  fixture.log.read(offset(0), { maxBytes: 10_000, minOneMessage: true });
  await fixture.clock.run(fixture.directory.close());
  const after = logs.map((path) => [path, Buffer.from(fixture.disk.bytesOf(path)).toString("hex")]);
  expect(after).toEqual(before);
});

test("Log.truncateTo: a damaged header before the cut does not say where the log ends", async () => {
  const fixture = await Fixture.open({ indexIntervalBytes: 1 });
  const { log, disk, clock } = fixture;
  for (let i = 0; i < 4; i++) fixture.append(2);
  const batchBytes = log.segments[0]!.sizeBytes / 4;
  // The highest byte of the second batch's lastOffsetDelta.
  disk.flipBit(fixture.path(0), batchBytes + 23, 3);
  // The last record of the third batch, to which an index entry leads past the second.
  await clock.run(log.truncateTo(offset(5)));
  expect(log.endOffset).toBe(offset(4));
  expect(fixture.append(1)).toMatchObject({ baseOffset: 4 });
});
