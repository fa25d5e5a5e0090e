import { describe, expect, test } from "bun:test";
import { CompressionCodec } from "../../protocol/compression.ts";
import { buildControlBatch } from "../../protocol/control_records.ts";
import { buildBatch, readRecords } from "../../protocol/records.ts";
import { offset } from "../../protocol/types.ts";
import { SimRandom, testSeeds } from "../sim/sim_random.ts";
import { Fixture } from "./log_fixture.ts";

const CODECS = Object.values(CompressionCodec);
const CAP = { maxDecompressedBytes: 1 << 28 };

interface Known {
  readonly offset: number;
  readonly timestamp: number;
}

/** A log as a leader sends it: gaps and empty batches as the cleaner leaves them, all codecs, any order of times. */
class RandomLog {
  readonly fixture: Fixture;
  readonly #random: SimRandom;
  #known: Known[] = [];
  #nowMs = 1000;

  constructor(fixture: Fixture, random: SimRandom) {
    this.fixture = fixture;
    this.#random = random;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  append(): void {
    const random = this.#random;
    this.#nowMs += random.below(30);
    const baseOffset = this.fixture.log.endOffset + (random.chance(0.1) ? random.below(5) : 0);
    const bytes = random.chance(0.05) ? this.#marker(baseOffset) : this.#batch(baseOffset);
    // A huge one may not fit into a segment.
    if (this.fixture.log.appendAsFollower(bytes).error !== 0) return;
    for (const { offset, timestamp } of readRecords(bytes, 0, CAP)) {
      this.#known.push({ offset, timestamp });
    }
  }

  #marker(baseOffset: number): Uint8Array {
    return buildControlBatch({
      records: [{ type: "commit", coordinatorEpoch: 1 }],
      producerId: 5,
      producerEpoch: 0,
      baseOffset,
      timestamp: this.#nowMs,
    });
  }

  #batch(baseOffset: number): Uint8Array {
    const random = this.#random;
    const isHuge = random.chance(0.02);
    const count = random.chance(0.1) ? 0 : random.between(1, 6);
    let offsetDelta = -1;
    const records = Array.from({ length: count }, () => {
      offsetDelta += random.chance(0.8) ? 1 : random.between(2, 4);
      return {
        key: null,
        value: new Uint8Array(isHuge ? 400_000 : random.below(60)),
        timestamp: random.chance(0.1) ? -1 : this.#nowMs + random.between(-200, 200),
        offsetDelta,
      };
    });
    return buildBatch({
      baseOffset,
      records,
      compression: random.pick(CODECS),
      partitionLeaderEpoch: 3,
      lastOffsetDelta: Math.max(offsetDelta, 0) + random.below(2),
      // The cleaner leaves a header as it was.
      ...(count === 0 && { maxTimestamp: this.#nowMs + 300 }),
      ...(random.chance(0.2) && { timestampType: "LogAppendTime", maxTimestamp: this.#nowMs }),
    });
  }

  deleteSome(): void {
    const { log } = this.fixture;
    const upTo = this.#random.between(log.logStartOffset, log.endOffset);
    expect(log.deleteRecordsBefore(offset(upTo)).error).toBe(0);
  }

  get #left(): Known[] {
    return this.#known.filter((one) => one.offset >= this.fixture.log.logStartOffset);
  }

  first(timestampMs: number): Known | undefined {
    return this.#left.find(({ timestamp }) => timestamp >= timestampMs);
  }

  largest(): Known | undefined {
    const largest = Math.max(-1, ...this.#left.map(({ timestamp }) => timestamp));
    return largest < 0 ? undefined : this.first(largest);
  }

  async check(): Promise<void> {
    const { clock, log } = this.fixture;
    const wanted = this.#random.between(900, this.#nowMs + 250);
    const found = await clock.run(log.offsetForTimestamp(wanted));
    expect([wanted, found?.offset, found?.timestampMs] as unknown[])
      .toEqual([wanted, this.first(wanted)?.offset, this.first(wanted)?.timestamp]);
    if (found !== null) {
      expect(found.leaderEpoch).toBe(log.leaderEpochs.epochForOffset(found.offset));
    }
    const newest = await clock.run(log.maxTimestampOffset());
    const { offset, timestamp } = this.largest() ?? {};
    expect([newest?.offset, newest?.timestampMs] as unknown[]).toEqual([offset, timestamp]);
  }
}

describe("Log.offsetForTimestamp and maxTimestampOffset", () => {
  test.each(testSeeds(30))("give what a search of all records gives, seed %i", async (seed) => {
    const random = new SimRandom(seed);
    const fixture = await Fixture.open({
      indexIntervalBytes: random.pick([0, 100, 4096]),
      segmentBytes: random.pick([500, 5000, 1 << 30]),
      segmentIndexBytes: random.pick([64, 1 << 20]),
    });
    const log = new RandomLog(fixture, random);
    await log.check();
    for (let step = 0; step < 150; step++) {
      log.append();
      if (random.chance(0.03)) log.deleteSome();
      if (random.chance(0.03)) await fixture.clock.advance(2000);
      if (random.chance(0.2)) await log.check();
    }
    await log.check();
    await fixture.clock.run(fixture.directory.close());
    await fixture.reopen();
    await log.check();
  });

  test("look at long stretches in pieces, and let others have their turn", async () => {
    const fixture = await Fixture.open({ indexIntervalBytes: 1 << 20 });
    for (let i = 0; i < 3000; i++) {
      fixture.append(0, { records: [{ key: null, value: null, timestamp: 5000 - i }] });
    }
    fixture.log.deleteRecordsBefore(offset(2));
    let turns = 0;
    const tick = (): void => {
      turns++;
      fixture.clock.timer(0, tick);
    };
    tick();
    const found = fixture.clock.run(fixture.log.offsetForTimestamp(4999));
    // It is written while the search is under way, past where that has come.
    fixture.append(0, { records: [{ key: null, value: null, timestamp: 4999 }] });
    expect(await found).toMatchObject({ offset: 3000, timestampMs: 4999 });
    expect(turns).toBeGreaterThan(5);
    fixture.log.deleteRecordsBefore(offset(3001));
    expect(await fixture.clock.run(fixture.log.maxTimestampOffset())).toBeNull();
  });

  test("lose nothing between two pieces", async () => {
    const fixture = await Fixture.open({ indexIntervalBytes: 1 << 20 });
    for (let timestamp = 0; timestamp < 1600; timestamp++) {
      fixture.append(0, { records: [{ key: null, value: null, timestamp }] });
    }
    for (const turnEnd of [512, 1024, 1536]) {
      for (let wanted = turnEnd - 5; wanted < turnEnd + 5; wanted++) {
        const found = await fixture.clock.run(fixture.log.offsetForTimestamp(wanted));
        expect(found?.offset).toBe(wanted as never);
      }
    }
  });

  test("go on where they were when what they look at is deleted meanwhile", async () => {
    const fixture = await Fixture.open({ segmentBytes: 60_000, fileDeleteDelayMs: 0 });
    for (let i = 0; i < 4000; i++) {
      fixture.append(0, { records: [{ key: null, value: null, timestamp: 9000 - (i % 1000) }] });
    }
    await fixture.clock.advance(2000);
    fixture.log.deleteRecordsBefore(offset(1));
    const found = fixture.log.offsetForTimestamp(9000);
    fixture.log.deleteRecordsBefore(offset(2500));
    await fixture.clock.advance(1);
    expect(await fixture.clock.run(found)).toMatchObject({ offset: 3000 });
  });

  test("take a large batch to a worker thread, with the bounds of decompression", async () => {
    const fixture = await Fixture.open({ maxMessageBytes: 1e8, segmentBytes: 1e8 });
    const big = Array.from({ length: 4 }, (_, i) => ({
      key: null,
      value: new Uint8Array(1_000_000),
      timestamp: 1000 + i,
    }));
    for (const compression of CODECS) fixture.append(0, { records: big, compression });
    const { clock, log } = fixture;
    for (const [index] of CODECS.entries()) {
      log.deleteRecordsBefore(offset(4 * index));
      expect(await clock.run(log.offsetForTimestamp(1002))).toMatchObject({
        offset: 4 * index + 2,
      });
      expect(await clock.run(log.maxTimestampOffset())).toMatchObject({ offset: 4 * index + 3 });
    }
    const refusal = (over: object) => {
      log.updateConfig({ ...log.config, ...over });
      return clock.run(log.offsetForTimestamp(1002)).then(() => "found", (error) => error.name);
    };
    expect(await refusal({ maxDecompressedMessageBytes: 999_999 })).toBe("TooLargeError");
    expect(await refusal({ maxDecompressedMessageBytes: 1_000_100 })).toBe("found");
    expect(await refusal({ maxDecompressedBatchBytes: 3_000_000 })).toBe("TooLargeError");
    expect(await refusal({ maxDecompressedBatchBytes: 5_000_000 })).toBe("found");
  });
});
