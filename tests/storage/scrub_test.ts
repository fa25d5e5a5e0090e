/** The background check of closed segments: what it finds, how often it says so, how fast it reads, and when it stops. */

import { describe, expect, test } from "bun:test";
import { ErrorCode } from "../../protocol/errors.ts";
import { offset } from "../../protocol/types.ts";
import type { LogConfig } from "../../storage/log.ts";
import type { LogDirectoryOptions } from "../../storage/log_directory.ts";
import { PIECE_BYTES } from "../../storage/segment_check.ts";
import { SimRandom, testSeeds } from "../sim/sim_random.ts";
import { Fixture, ORDERS } from "./log_fixture.ts";

const CONFIG: Partial<LogConfig> = {
  indexIntervalBytes: 150,
  messageTimestampAfterMaxMs: Number.MAX_SAFE_INTEGER,
};
const INTERVAL_MS = 3_600_000;
const SCRUB: Partial<LogDirectoryOptions> = {
  scrub: { maxBytesPerSecond: 1_000_000, intervalMs: INTERVAL_MS },
};
/** Bytes of a header that nothing contradicts while all batches have the same: the leader epoch. */
const isEpoch = (at: number) => at >= 12 && at < 16;

/** Two closed segments (offsets 0 and 13) and an active one, as they lie on the disk before a start. */
async function stopped(over: { valueBytes?: number } = {}): Promise<Fixture> {
  const fixture = await Fixture.open(CONFIG);
  for (let i = 0; i < 18; i++) {
    const valueBytes = over.valueBytes ?? 5 + 7 * (i % 4);
    expect(fixture.append(1 + i % 3, { valueBytes }).error).toBe(ErrorCode.NONE);
    if (i === 6 || i === 12) fixture.log.roll();
    await fixture.clock.advance(10);
  }
  await fixture.clock.run(fixture.directory.close());
  return fixture;
}

/** Opens the directory with the scrub at work, and waits until a pass has ended. */
async function onePass(fixture: Fixture): Promise<void> {
  await fixture.clock.run(fixture.reopen(CONFIG, SCRUB));
  await nextPass(fixture);
}

async function nextPass(fixture: Fixture): Promise<void> {
  const { lastPassMs } = fixture.directory.scrubStats;
  await fixture.clock.advance(INTERVAL_MS + 120_000);
  expect(fixture.directory.scrubStats.lastPassMs).toBeGreaterThan(lastPassMs);
}

function reports({ logger }: Fixture): { offset: number; found: string }[] {
  return logger.lines
    .filter(({ message }) => message === "Damaged bytes are not served")
    .map(({ fields }) => fields as { offset: number; found: string });
}

/** Positions of the batches of a file. */
function batchStarts(bytes: Uint8Array): number[] {
  const starts: number[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; at += 12 + view.getInt32(at + 8)) starts.push(at);
  return starts;
}

describe("Scrub", () => {
  test("a sound directory: everything closed is read and noted, nothing is said, nothing changes", async () => {
    const fixture = await stopped();
    const paths = fixture.disk.files().filter((path) => path.includes("orders-0/"));
    const before = paths.map((path) => Buffer.from(fixture.disk.bytesOf(path)).toString("hex"));
    await onePass(fixture);
    expect(reports(fixture)).toEqual([]);
    expect(fixture.logger.lines.filter(({ level }) => level === "warn" || level === "error"))
      .toEqual([]);
    const [first, second, active] = fixture.log.segments;
    expect(first!.isChecked(0, first!.sizeBytes)).toBe(true);
    expect(second!.isChecked(0, second!.sizeBytes)).toBe(true);
    expect(active!.isChecked(0, active!.sizeBytes)).toBe(false);
    await fixture.clock.run(fixture.directory.close());
    expect(paths.map((path) => Buffer.from(fixture.disk.bytesOf(path)).toString("hex")))
      .toEqual(before);
  });

  test(
    "a flip of any bit of a closed segment: found in one pass at its batch, told once, not served",
    async () => {
      const fixture = await stopped();
      const random = new SimRandom(testSeeds(1)[0]!);
      for (const path of [0, 13].map((baseOffset) => fixture.path(baseOffset))) {
        const original = fixture.disk.bytesOf(path);
        const starts = batchStarts(original);
        for (let at = random.below(4); at < original.length; at += 1 + random.below(7)) {
          const start = starts.findLast((one) => one <= at)!;
          if (isEpoch(at - start)) continue;
          const flipped = original.slice();
          flipped[at]! ^= 1 << random.below(8);
          fixture.disk.plant(path, flipped);
          fixture.logger.lines.length = 0;
          await onePass(fixture);
          const found = reports(fixture);
          const expected = `${path} is damaged at byte ${start}, up to byte`;
          expect({ at, found: found.map((one) => one.found.slice(0, expected.length)) })
            .toEqual({ at, found: [expected] });
          expect(fixture.log.damagedCount).toBe(1);
          const read = fixture.log.read(offset(found[0]!.offset), {
            maxBytes: 1,
            minOneMessage: true,
          });
          expect({ at, error: read.error }).toEqual({ at, error: ErrorCode.CORRUPT_MESSAGE });
          expect(reports(fixture).length).toBe(1);
          await fixture.clock.run(fixture.directory.close());
        }
        fixture.disk.plant(path, original);
      }
    },
    60_000,
  );

  test("flips in several batches of a piece: each is told, and none again in the next passes", async () => {
    for (const seed of testSeeds(30)) {
      const random = new SimRandom(seed);
      const fixture = await stopped();
      const bytes = fixture.disk.bytesOf(fixture.path(0));
      const starts = batchStarts(bytes);
      const hit = starts.filter(() => random.chance(0.4));
      for (const start of hit) fixture.disk.flipBit(fixture.path(0), start + 61 + random.below(8));
      await onePass(fixture);
      const at = () => reports(fixture).map(({ found }) => Number(/at byte (\d+)/.exec(found)![1]));
      // Damaged batches side by side are one place.
      const places = hit.filter((start) => !hit.includes(starts[starts.indexOf(start) - 1]!));
      expect({ seed, at: at() }).toEqual({ seed, at: places });
      await nextPass(fixture);
      await nextPass(fixture);
      expect({ seed, at: at() }).toEqual({ seed, at: places });
      const [first] = fixture.log.segments;
      for (const [i, start] of starts.entries()) {
        const isHit = hit.includes(start);
        expect({ seed, start, is: first!.isChecked(start, starts[i + 1] ?? bytes.length) })
          .toEqual({ seed, start, is: !isHit });
      }
      await fixture.clock.run(fixture.directory.close());
    }
  });

  test("bytes that this process wrote, or had read before: not served once they are found damaged", async () => {
    const fixture = await Fixture.open(CONFIG, SCRUB);
    for (let i = 0; i < 6; i++) fixture.append(2);
    fixture.log.roll();
    fixture.append(1);
    const read = () => fixture.log.read(offset(2), { maxBytes: 1, minOneMessage: true });
    const sound = read();
    if ("release" in sound) sound.release();
    expect(sound.error).toBe(ErrorCode.NONE);
    await fixture.clock.advance(100);
    const starts = batchStarts(fixture.disk.bytesOf(fixture.path(0)));
    fixture.disk.flipBit(fixture.path(0), starts[1]! + 70);
    await nextPass(fixture);
    expect(reports(fixture).length).toBe(1);
    expect(read().error).toBe(ErrorCode.CORRUPT_MESSAGE);
    const other = fixture.log.read(offset(4), { maxBytes: 1, minOneMessage: true });
    expect(other.error).toBe(ErrorCode.NONE);
  });

  test("damage that goes with its segment is not counted any more", async () => {
    const fixture = await stopped();
    fixture.disk.flipBit(fixture.path(0), 70);
    await onePass(fixture);
    expect(fixture.log.damagedCount).toBe(1);
    fixture.log.updateHighWatermark(fixture.log.endOffset);
    expect(fixture.log.deleteRecordsBefore(offset(13)).error).toBe(ErrorCode.NONE);
    expect(fixture.log.damagedCount).toBe(0);
  });

  test(
    "an index that lies is made anew, as it was; one that only could be another is left alone",
    async () => {
      const fixture = await stopped();
      const random = new SimRandom(testSeeds(1)[0]!);
      const starts = batchStarts(fixture.disk.bytesOf(fixture.path(0)));
      for (const suffix of [".index", ".timeindex"]) {
        const path = fixture.path(0, suffix);
        const original = fixture.disk.bytesOf(path);
        expect(original.length).toBeGreaterThan(20);
        let rebuiltCount = 0;
        for (let bit = random.below(8); bit < 8 * original.length; bit += 1 + random.below(7)) {
          const flipped = original.slice();
          flipped[bit >> 3]! ^= 1 << (bit & 7);
          fixture.disk.plant(path, flipped);
          await onePass(fixture);
          const { rebuiltIndexCount } = fixture.directory.scrubStats;
          rebuiltCount += rebuiltIndexCount;
          // Those that the start has seen count too.
          const now = Buffer.from(fixture.disk.bytesOf(path)).toString("hex");
          expect([Buffer.from(original), Buffer.from(flipped)].map((one) => one.toString("hex")))
            .toContain(now);
          const isPosition = suffix === ".index" && (bit & 63) >= 32;
          const isLie = isPosition &&
            !starts.includes(new DataView(flipped.buffer).getUint32(8 * (bit >> 6) + 4));
          if (rebuiltIndexCount > 0 || isLie) {
            expect(now).toBe(Buffer.from(original).toString("hex"));
          }
          for (let from = 0; from < 26; from++) {
            const read = fixture.log.read(offset(from), { maxBytes: 1, minOneMessage: true });
            expect({ bit, from, error: read.error }).toEqual({ bit, from, error: ErrorCode.NONE });
            if ("release" in read) read.release();
          }
          await fixture.clock.run(fixture.directory.close());
          expect(fixture.disk.files().filter((one) => one.endsWith(".tmp"))).toEqual([]);
        }
        fixture.disk.plant(path, original);
        expect(rebuiltCount).toBeGreaterThan(original.length / 3);
      }
      expect(reports(fixture)).toEqual([]);
    },
    60_000,
  );

  test("a time index without its last entry is made anew: whole segments would be passed over", async () => {
    const fixture = await stopped();
    const path = fixture.path(0, ".timeindex");
    const original = fixture.disk.bytesOf(path);
    const last = new DataView(original.buffer, original.length - 12);
    const timestampMs = Number(last.getBigInt64(0));
    fixture.disk.plant(path, original.slice(0, -12));
    await onePass(fixture);
    expect(Buffer.compare(fixture.disk.bytesOf(path), original)).toBe(0);
    const found = await fixture.clock.run(fixture.log.offsetForTimestamp(timestampMs));
    expect(found?.offset).toBeLessThanOrEqual(last.getInt32(8));
    await fixture.clock.run(fixture.directory.close());
  });

  test("a segment that is cut and closed again between two pieces is no damage", async () => {
    for (const seed of testSeeds(20)) {
      const random = new SimRandom(seed);
      const fixture = await stopped({ valueBytes: 80_000 });
      const scrub = { maxBytesPerSecond: 100_000, intervalMs: INTERVAL_MS };
      await fixture.clock.run(fixture.reopen(CONFIG, { scrub }));
      const { log, clock } = fixture;
      await clock.advance(60_000 + INTERVAL_MS);
      while (fixture.directory.scrubStats.readBytes === 0) await clock.advance(100);
      await log.truncateTo(offset(random.below(8)));
      for (let i = 0; i < 30; i++) fixture.append(1, { valueBytes: random.below(80_000) });
      log.roll();
      await clock.advance(INTERVAL_MS / 2);
      expect({ seed, found: reports(fixture) }).toEqual({ seed, found: [] });
      await clock.run(fixture.directory.close());
    }
  });

  test("what goes away, is cut or closed while it is looked at is no damage", async () => {
    for (const seed of testSeeds(60)) {
      const random = new SimRandom(seed);
      const fixture = await stopped({ valueBytes: 30 + random.below(3000) });
      const scrub = { maxBytesPerSecond: 500 + random.below(20_000), intervalMs: INTERVAL_MS };
      await fixture.clock.run(fixture.reopen({ ...CONFIG, fileDeleteDelayMs: 10 }, { scrub }));
      fixture.log.updateHighWatermark(fixture.log.endOffset);
      await fixture.clock.advance(60_000 + INTERVAL_MS + random.below(20_000));
      const { log, clock } = fixture;
      switch (random.below(5)) {
        case 0:
          log.deleteRecordsBefore(offset(random.below(log.endOffset)));
          break;
        case 1:
          await clock.run(log.truncateTo(offset(random.below(log.endOffset))));
          break;
        case 2:
          await clock.run(log.truncateFullyAndStartAt(offset(random.below(100))));
          break;
        case 3:
          await clock.run(fixture.directory.deleteLog(ORDERS));
          break;
        default:
          log.updateConfig({ ...log.config, retentionBytes: random.below(20_000) });
          log.enforceRetention();
      }
      if (fixture.directory.log("orders", 0) !== undefined) {
        for (let i = 0; i < 10; i++) {
          fixture.append(1 + random.below(3), { valueBytes: random.below(3000) });
          if (random.chance(0.3)) log.roll();
        }
      }
      await fixture.clock.advance(INTERVAL_MS);
      expect({ seed, found: reports(fixture) }).toEqual({ seed, found: [] });
      const bad = fixture.logger.lines.filter(({ level }) => level === "warn" || level === "error");
      expect({ seed, bad }).toEqual({ seed, bad: [] });
      await fixture.clock.run(fixture.directory.close());
      expect(fixture.clock.pendingTimers).toBe(0);
    }
  });

  test("the rate is kept, however the pieces fall", async () => {
    const fixture = await stopped({ valueBytes: 40_000 });
    const maxBytesPerSecond = 50_000;
    const scrub = { maxBytesPerSecond, intervalMs: INTERVAL_MS };
    await fixture.clock.run(fixture.reopen(CONFIG, { scrub }));
    await fixture.clock.advance(INTERVAL_MS + 60_000);
    const closedBytes = fixture.log.segments.slice(0, -1)
      .reduce((sum, segment) => sum + segment.sizeBytes, 0);
    let [idleMs, lastBytes, beganMs] = [0, fixture.directory.scrubStats.readBytes, -1];
    while (idleMs < 60_000) {
      await fixture.clock.advance(100);
      const { readBytes } = fixture.directory.scrubStats;
      idleMs = readBytes === lastBytes ? idleMs + 100 : 0;
      lastBytes = readBytes;
      if (beganMs < 0 && readBytes > 0) beganMs = fixture.clock.monotonicMs() - 100;
      const tookMs = fixture.clock.monotonicMs() - beganMs;
      // One piece is read at once.
      if (beganMs >= 0) {
        expect(readBytes).toBeLessThanOrEqual(PIECE_BYTES + maxBytesPerSecond * tookMs / 1000);
      }
    }
    expect(lastBytes).toBeGreaterThan(closedBytes);
    // Batches at the end of a piece are read again with the next one.
    expect(lastBytes).toBeLessThan(1.5 * closedBytes);
  });

  test("a stop in the middle of a pass: at once, and the next start goes on there", async () => {
    const fixture = await stopped({ valueBytes: 20_000 });
    const scrub = { maxBytesPerSecond: 10_000, intervalMs: INTERVAL_MS };
    await fixture.clock.run(fixture.reopen(CONFIG, { scrub }));
    await fixture.clock.advance(INTERVAL_MS + 61_000);
    while (!fixture.log.segments[0]!.isChecked(0, fixture.log.segments[0]!.sizeBytes)) {
      await fixture.clock.advance(1000);
    }
    await fixture.clock.advance(5000);
    expect(fixture.directory.scrubStats.lastPassMs).toBe(-1);
    const beganMs = fixture.clock.monotonicMs();
    await fixture.clock.run(fixture.directory.close());
    expect(fixture.clock.monotonicMs() - beganMs).toBeLessThan(100);
    expect(fixture.clock.pendingTimers).toBe(0);
    await fixture.clock.run(fixture.reopen(CONFIG, { scrub }));
    await fixture.clock.advance(10 * 60_000);
    const [first, second] = fixture.log.segments;
    expect(fixture.directory.scrubStats.lastPassMs).toBeGreaterThan(0);
    expect(first!.isChecked(0, first!.sizeBytes)).toBe(false);
    expect(second!.isChecked(0, second!.sizeBytes)).toBe(true);
    await fixture.clock.run(fixture.directory.close());
  });

  test("restarts do not hold up a pass, nor does a clock that jumps or a damaged file", async () => {
    const fixture = await stopped();
    const restart = async (afterMs: number) => {
      await fixture.clock.run(fixture.reopen(CONFIG, SCRUB));
      await fixture.clock.advance(afterMs);
      const { lastPassMs } = fixture.directory.scrubStats;
      await fixture.clock.run(fixture.directory.close());
      return lastPassMs;
    };
    for (let i = 0; i < 3; i++) expect(await restart(INTERVAL_MS / 4)).toBe(-1);
    const first = await restart(INTERVAL_MS / 2);
    expect(first).toBeGreaterThan(0);
    expect(await restart(INTERVAL_MS / 2)).toBe(first);
    fixture.clock.jumpWall(-10 * INTERVAL_MS);
    expect(await restart(INTERVAL_MS + 120_000)).not.toBe(first);
    const path = "/data/.weir-scrub";
    for (const text of ["", "0\n1\nx y z a\n", "0\n0\n", "9\n", "0\n1\n1 2 3\n"]) {
      fixture.disk.plant(path, new TextEncoder().encode(text));
      expect(await restart(INTERVAL_MS / 2)).toBe(-1);
    }
  });

  test("a sector that cannot be read: told with its place, and the log stays online", async () => {
    const fixture = await stopped();
    await fixture.clock.run(fixture.reopen(CONFIG, SCRUB));
    fixture.disk.faults.read = (path) => path === fixture.path(0) ? "EIO" : null;
    await nextPass(fixture);
    fixture.disk.faults.read = () => null;
    expect(reports(fixture).map(({ found }) => found)).toEqual([
      expect.stringContaining(`${fixture.path(0)} is damaged at byte 0`),
    ]);
    expect(fixture.log.offlineReason).toBeNull();
    const second = fixture.log.segments[1]!;
    expect(second.isChecked(0, second.sizeBytes)).toBe(true);
    await fixture.clock.run(fixture.directory.close());
  });

  test("an index of transactions that cannot be opened: told, and the pass goes on", async () => {
    const fixture = await stopped();
    const path = fixture.path(0, ".txnindex");
    fixture.disk.plant(path, new Uint8Array(0));
    await onePass(fixture);
    expect(reports(fixture)).toEqual([]);
    await fixture.clock.run(fixture.directory.close());
    await fixture.clock.run(fixture.reopen(CONFIG, SCRUB));
    fixture.disk.faults.open = (opened) => opened === path ? "EIO" : null;
    await nextPass(fixture);
    expect(reports(fixture).map(({ found }) => found)).toEqual([`Cannot open ${path}: EIO`]);
    const second = fixture.log.segments[1]!;
    expect(second.isChecked(0, second.sizeBytes)).toBe(true);
    fixture.disk.faults.open = () => null;
    await fixture.clock.run(fixture.directory.close());
  });

  test("off when the rate is 0", async () => {
    const fixture = await stopped();
    const scrub = { maxBytesPerSecond: 0, intervalMs: INTERVAL_MS };
    await fixture.clock.run(fixture.reopen(CONFIG, { scrub }));
    await fixture.clock.advance(3 * INTERVAL_MS);
    expect(fixture.directory.scrubStats.readBytes).toBe(0);
    await fixture.clock.run(fixture.directory.close());
  });
});
