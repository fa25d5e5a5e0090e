import { describe, expect, test } from "bun:test";
import { ErrorCode } from "../../protocol/errors.ts";
import { offset } from "../../protocol/types.ts";
import { type AgingLog, type AgingSegment, retentionOffset } from "../../storage/retention.ts";
import { SimRandom, testSeeds } from "../sim/sim_random.ts";
import { Fixture } from "./log_fixture.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

/** Kafka's way: one pass by age, one by size, each from the oldest segment on until one stays. */
function twin(log: AgingLog, retentionMs: number, retentionBytes: number, nowMs: number): number {
  const segments = log.segments.map((segment, index) => ({
    ...segment,
    next: log.segments[index + 1]?.baseOffset ?? log.endOffset,
  }));
  const mayGo = (segment: { next: number; baseOffset: number }) =>
    segment.next <= log.highWatermark && segment.next > segment.baseOffset;
  let gone: number = log.segments[0]!.baseOffset;
  while (
    retentionMs >= 0 && segments.length > 0 && mayGo(segments[0]!) &&
    segments[0]!.newestMs < nowMs - retentionMs
  ) gone = segments.shift()!.next;
  let bytes = segments.map(({ sizeBytes }) => sizeBytes).reduce((a, b) => a + b, 0);
  while (
    retentionBytes >= 0 && segments.length > 0 && mayGo(segments[0]!) &&
    bytes - segments[0]!.sizeBytes >= retentionBytes
  ) {
    bytes -= segments[0]!.sizeBytes;
    gone = segments.shift()!.next;
  }
  return gone;
}

function randomLog(random: SimRandom): AgingLog {
  const segments: AgingSegment[] = [];
  let next = random.below(50);
  for (let count = random.between(1, 8); count > 0; count--) {
    const isEmpty = count === 1 && random.chance(0.3);
    segments.push({
      baseOffset: next,
      sizeBytes: isEmpty ? 0 : random.between(1, 100),
      newestMs: random.between(0, 1000),
    });
    if (!isEmpty) next += random.between(1, 20);
  }
  const highWatermark = random.chance(0.5) ? next : random.between(segments[0]!.baseOffset, next);
  return { segments, highWatermark: offset(highWatermark), endOffset: offset(next) };
}

test("retentionOffset: lets go what Kafka's two passes let go", () => {
  let wentCount = 0;
  for (const seed of testSeeds(2000)) {
    const random = new SimRandom(seed);
    const log = randomLog(random);
    const retentionMs = random.pick([-1, 0, random.below(1200)]);
    const retentionBytes = random.pick([-1, 0, random.below(400)]);
    const found = retentionOffset(log, { retentionMs, retentionBytes }, 1000);
    expect({ seed, found }).toEqual({
      seed,
      found: offset(twin(log, retentionMs, retentionBytes, 1000)),
    });
    if (found > log.segments[0]!.baseOffset) wentCount++;
  }
  expect(wentCount).toBeGreaterThan(0);
});

/** A log of five segments of three records each, made an hour apart. */
async function fiveSegments(config: Parameters<typeof Fixture.open>[0]): Promise<Fixture> {
  const fixture = await Fixture.open({ fileDeleteDelayMs: 1000, ...config });
  for (let i = 0; i < 5; i++) {
    fixture.append(3);
    if (i < 4) fixture.log.roll();
    await fixture.clock.advance(60 * 60 * 1000);
  }
  fixture.log.updateHighWatermark(fixture.log.endOffset);
  return fixture;
}

const files = ({ disk }: Fixture) =>
  disk.files().filter((path) => path.endsWith(".log") || path.endsWith(".deleted")).length;

describe("Log.enforceRetention", () => {
  test("retention.ms: lets the old segments go, at segment grain", async () => {
    const { log } = await fiveSegments({ retentionMs: 2.5 * 60 * 60 * 1000 });
    expect(log.enforceRetention()).toBeGreaterThan(0);
    expect(log.logStartOffset).toBe(offset(9));
    expect(log.enforceRetention()).toBe(0);
  });

  test("retention.bytes: keeps at least that much", async () => {
    const fixture = await fiveSegments({ retentionMs: -1, retentionBytes: 0 });
    const segmentBytes = fixture.log.sizeBytes / 5;
    fixture.log.updateConfig({ ...fixture.log.config, retentionBytes: 2 * segmentBytes + 1 });
    expect(fixture.log.enforceRetention()).toBe(2 * segmentBytes);
    expect(fixture.log.sizeBytes).toBe(3 * segmentBytes);
  });

  test("the active segment: goes as well when it is too old, and the log goes on", async () => {
    const fixture = await fiveSegments({ retentionMs: 1000 });
    fixture.log.enforceRetention();
    expect([fixture.log.logStartOffset, fixture.log.endOffset]).toEqual([offset(15), offset(15)]);
    expect(fixture.append(1).error).toBe(ErrorCode.NONE);
    await fixture.clock.advance(5000);
    expect(files(fixture)).toBe(1);
    await fixture.clock.run(fixture.directory.close());
    await fixture.clock.run(fixture.reopen());
    expect([fixture.log.logStartOffset, fixture.log.endOffset]).toEqual([offset(15), offset(16)]);
  });

  test("the high watermark: bounds it", async () => {
    const fixture = await Fixture.open({ retentionMs: 1000 });
    for (let i = 0; i < 3; i++) {
      fixture.append(2);
      fixture.log.roll();
    }
    fixture.log.updateHighWatermark(offset(3));
    await fixture.clock.advance(DAY_MS);
    fixture.log.enforceRetention();
    expect(fixture.log.logStartOffset).toBe(offset(2));
  });

  test("cleanup.policy: compact alone is left alone, and so is no bound", async () => {
    const compacted = await fiveSegments({ retentionMs: 1, cleanupPolicy: ["compact"] });
    expect(compacted.log.enforceRetention()).toBe(0);
    const unbounded = await fiveSegments({ retentionMs: -1 });
    unbounded.clock.jumpWall(1000 * DAY_MS);
    expect(unbounded.log.enforceRetention()).toBe(0);
  });

  test("records without a time: the file's last change counts, also after a restart", async () => {
    const fixture = await Fixture.open({ retentionMs: DAY_MS });
    fixture.append(2, { records: [{ key: null, value: new Uint8Array(3), timestamp: -1 }] });
    fixture.log.roll();
    await fixture.clock.advance(DAY_MS - 1);
    await fixture.clock.run(fixture.directory.close());
    await fixture.clock.run(fixture.reopen({ retentionMs: DAY_MS }));
    fixture.log.updateHighWatermark(fixture.log.endOffset);
    expect(fixture.log.enforceRetention()).toBe(0);
    await fixture.clock.advance(2);
    expect(fixture.log.enforceRetention()).toBeGreaterThan(0);
  });

  test("a crash at any moment: what had gone may come back whole, never in part", async () => {
    for (const seed of testSeeds(60)) {
      const random = new SimRandom(seed);
      const fixture = await fiveSegments({ retentionMs: 2.5 * 60 * 60 * 1000 });
      fixture.log.sync();
      await fixture.clock.advance(10);
      fixture.log.enforceRetention();
      await fixture.clock.advance(random.below(8000));
      fixture.disk.crash();
      fixture.clock.dropTimers();
      await fixture.clock.run(fixture.reopen());
      expect(fixture.log.offlineReason).toBeNull();
      expect(fixture.log.endOffset).toBe(offset(15));
      expect([0, 3, 6, 9]).toContain(fixture.log.logStartOffset);
      expect(fixture.log.read(fixture.log.logStartOffset, { maxBytes: 1, minOneMessage: true }))
        .toMatchObject({ error: ErrorCode.NONE });
    }
  });
});

describe("Retention", () => {
  test("start: looks after half a minute, then at each interval, until it is closed", async () => {
    const fixture = await Fixture.open({ retentionMs: 0 }, { retentionCheckMs: 100_000 });
    const appendOld = () => {
      fixture.append(1);
      fixture.log.updateHighWatermark(fixture.log.endOffset);
    };
    appendOld();
    await fixture.clock.advance(29_000);
    expect(fixture.log.logStartOffset).toBe(offset(0));
    await fixture.clock.advance(2000);
    expect(fixture.log.logStartOffset).toBe(offset(1));
    appendOld();
    await fixture.clock.advance(90_000);
    expect(fixture.log.logStartOffset).toBe(offset(1));
    await fixture.clock.advance(10_000);
    expect(fixture.log.logStartOffset).toBe(offset(2));
    await fixture.clock.run(fixture.directory.close());
    expect(fixture.clock.pendingTimers).toBe(0);
  });

  test("a full disk: makes room at once, and producing goes on by itself", async () => {
    const fixture = await Fixture.open(
      { retentionMs: 3_600_000, segmentBytes: 5000, fileDeleteDelayMs: 60_000 },
      { reserveBytes: 4000, retentionCheckMs: 3_600_000 },
    );
    fixture.disk.capacityBytes = 100_000;
    const produce = () => {
      const result = fixture.append(1, { valueBytes: 1000 });
      fixture.log.updateHighWatermark(fixture.log.endOffset);
      return result.error;
    };
    while (produce() === ErrorCode.NONE) await fixture.clock.advance(200);
    // What fills the disk is young: nothing may go, and nothing does.
    await fixture.clock.advance(10_000);
    expect(fixture.log.logStartOffset).toBe(offset(0));
    expect(produce()).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    // Between two looks it has become old; the next refused append makes room, without the delay.
    await fixture.clock.advance(3_500_000 - 1);
    fixture.disk.capacityBytes = 0;
    expect(produce()).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    fixture.disk.capacityBytes = 100_000;
    await fixture.clock.advance(150_000);
    produce();
    await fixture.clock.advance(2000);
    produce();
    await fixture.clock.advance(2000);
    expect(fixture.log.logStartOffset).toBeGreaterThan(0);
    expect(produce()).toBe(ErrorCode.NONE);
  });
});

test("Log: segment.jitter.ms closes segments before their time, each at another", async () => {
  const lengths = new Set<number>();
  const fixture = await Fixture.open({ segmentMs: 1000, segmentJitterMs: 500 });
  let rolledAt = fixture.clock.wallMs();
  for (let i = 0; i < 500; i++) {
    const before = fixture.log.segments.length;
    fixture.append(1);
    if (fixture.log.segments.length > before) {
      lengths.add(fixture.clock.wallMs() - rolledAt);
      rolledAt = fixture.clock.wallMs();
    }
    await fixture.clock.advance(20);
  }
  expect(lengths.size).toBeGreaterThan(5);
  expect(Math.min(...lengths)).toBeGreaterThanOrEqual(500);
  expect(Math.max(...lengths)).toBeLessThanOrEqual(1040);
});
