import { describe, expect, test } from "bun:test";
import { batches, batchSizeBytes, readLastOffset } from "../../protocol/record_batch.ts";
import { buildBatch } from "../../protocol/records.ts";
import { offset } from "../../protocol/types.ts";
import { BufferPool } from "../../storage/buffer_pool.ts";
import { type KeptRead, KeptReads } from "../../storage/kept_reads.ts";
import type { ReadOptions } from "../../storage/log.ts";
import { ReadWindow } from "../../storage/read_window.ts";
import { SharedReads } from "../../storage/shared_reads.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { Fixture } from "./log_fixture.ts";

const KIB = 1024;
const pool = () => new BufferPool({ capBytes: 1 << 20 });
const ALL = { maxBytes: 10_000, minOneMessage: true, upToOffset: 13 };

/** A window with batches of one record each, at offsets 10, 11 and 12. */
function windowOfThree(buffers: BufferPool) {
  const three = [10, 11, 12].map((baseOffset) =>
    buildBatch({ baseOffset, records: [{ key: null, value: new Uint8Array(100), timestamp: 1 }] })
  );
  const byteCount = three.reduce((sum, { length }) => sum + length, 0);
  const buffer = buffers.acquire(byteCount);
  let at = 0;
  for (const batch of three) {
    buffer.bytes.set(batch, at);
    at += batch.length;
  }
  // The segment is only looked at by who reads on.
  const window = new ReadWindow({ segment: null!, position: 0, startOffset: 10 }, buffer);
  window.takeIn(byteCount);
  return { window, batchBytes: three[0]!.length };
}

describe("ReadWindow.part", () => {
  const { window, batchBytes } = windowOfThree(pool());
  const cases: [string, number, Partial<typeof ALL>, [number, number, boolean]][] = [
    ["all of it", 10, {}, [0, 3, false]],
    ["all of it, and there may be more", 10, { upToOffset: 14 }, [0, 3, true]],
    ["the rest of it", 11, {}, [1, 3, false]],
    ["what fits", 10, { maxBytes: 2 * batchBytes + 1 }, [0, 2, false]],
    ["exactly what fits", 10, { maxBytes: 3 * batchBytes, upToOffset: 14 }, [0, 3, false]],
    ["the first batch, if one must be", 11, { maxBytes: 1 }, [1, 2, false]],
    ["nothing, if none fits", 11, { maxBytes: 1, minOneMessage: false }, [1, 1, false]],
    ["what lies below the bound", 10, { upToOffset: 12 }, [0, 2, false]],
    ["nothing past the bound", 10, { upToOffset: 10 }, [0, 0, false]],
  ];
  for (const [title, from, over, [first, end, isOpen]] of cases) {
    test(`ReadWindow.part: a reader gets ${title}`, () => {
      const part = window.part(from, { ...ALL, ...over });
      expect(part).toEqual({
        begin: first * batchBytes,
        end: end * batchBytes,
        nextOffset: first === end ? from : 10 + end,
        isOpen,
      });
    });
  }
});

describe("SharedReads", () => {
  test("SharedReads: the buffer goes back when the last holder lets go, once", () => {
    const buffers = pool();
    const reads = new SharedReads(buffers.kept);
    const { window } = windowOfThree(buffers);
    const first = reads.add(window, window.part(10, ALL));
    const shared = reads.find(10)!;
    expect(shared.window).toBe(window);
    const second = reads.hold(shared, window.part(10, ALL));
    first.release();
    first.release();
    expect(buffers.lentBytes).toBeGreaterThan(0);
    expect(reads.size).toBe(1);
    second.release();
    expect(buffers.lentBytes).toBe(0);
    expect(reads.size).toBe(0);
    expect(reads.find(10)).toBeNull();
  });

  test("SharedReads: what is read again is kept, and not after some that nobody read again", () => {
    const buffers = pool();
    const reads = new SharedReads(buffers.kept);
    const read = (from: number) => {
      const { window } = windowOfThree(buffers);
      Object.defineProperty(window, "startOffset", { value: from });
      reads.add(window, window.part(10, ALL)).release();
    };
    read(10);
    expect(buffers.kept.bytes).toBe(0);
    read(10);
    expect(reads.find(12)).not.toBeNull();
    const keptBytes = buffers.kept.bytes;
    expect(keptBytes).toBeGreaterThan(0);
    expect(buffers.lentBytes).toBe(0);
    for (let i = 0; i < 20; i++) read(-10 * i - 10);
    expect(reads.isKeeping).toBe(false);
    reads.clear();
    expect(buffers.kept.bytes).toBe(0);
    expect(buffers.idleBytes).toBeGreaterThan(0);
  });

  test("SharedReads: what was cleared is not found; its holders keep it", () => {
    const buffers = pool();
    const reads = new SharedReads(buffers.kept);
    const { window } = windowOfThree(buffers);
    const first = reads.add(window, window.part(10, ALL));
    reads.clear();
    expect(reads.find(10)).toBeNull();
    const { window: fresh } = windowOfThree(buffers);
    const second = reads.add(fresh, fresh.part(10, ALL));
    first.release();
    expect(reads.size).toBe(1);
    expect(buffers.lentBytes).toBeGreaterThan(0);
    second.release();
    expect(buffers.lentBytes).toBe(0);
  });
});

test("KeptReads: those used last stay, up to the cap", () => {
  const kept = new KeptReads({ capBytes: 30 });
  const gone: string[] = [];
  const read = (name: string, capacityBytes = 10): KeptRead => ({
    capacityBytes,
    forgotten: () => gone.push(name),
  });
  const [a, b, c] = [read("a"), read("b"), read("c")] as const;
  for (const one of [a, b, c]) kept.keep(one);
  kept.touch(a);
  kept.keep(read("d"));
  expect(gone).toEqual(["b"]);
  kept.drop(b);
  kept.keep(read("e", 25));
  expect(gone).toEqual(["b", "c", "a", "d"]);
  expect(kept.bytes).toBe(25);
});

// ── a log with many readers ───────────────────────────────────────────────────────────────────────

/** Counts what is read from files. */
function countReads({ disk }: Fixture): { bytes: number } {
  const counts = { bytes: 0 };
  const open = disk.open.bind(disk);
  disk.open = (path, mode) => {
    const file = open(path, mode);
    const read = file.read.bind(file);
    file.read = (position, into) => {
      const count = read(position, into);
      if (path.endsWith(".log")) counts.bytes += count;
      return count;
    };
    return file;
  };
  return counts;
}

/** Reads on from `from`. Returns: where it got to, and how much it read. */
function readOn({ log }: Fixture, from: number, options: Partial<ReadOptions> = {}) {
  const read = log.read(offset(from), { maxBytes: 1 << 20, minOneMessage: true, ...options });
  if (!("records" in read)) throw new Error(read.message);
  const byteCount = read.records.length;
  read.release();
  return { next: read.nextOffset as number, byteCount };
}

describe("LogReader: readers side by side", () => {
  test("LogReader: ten consumers at the tail read the file about once", async () => {
    const fixture = new Fixture();
    const counts = countReads(fixture);
    await fixture.reopen();
    const consumers = Array.from({ length: 10 }, () => 0);
    let written = 0;
    for (let round = 0; round < 200; round++) {
      const result = fixture.append(10, { valueBytes: 1 * KIB });
      if (!("baseOffset" in result)) throw new Error("refused");
      written += 10;
      // Not all of them come each time.
      for (const [i, at] of consumers.entries()) {
        if ((round + i) % 3 === 0) {
          consumers[i] = readOn(fixture, at, { enoughBytes: 1 }).next;
        }
      }
    }
    for (const [i, at] of consumers.entries()) {
      for (let next = at; next < written;) next = consumers[i] = readOn(fixture, next).next;
    }
    expect(consumers.every((at) => at === written)).toBe(true);
    const size = fixture.log.segments[0]!.sizeBytes;
    expect(counts.bytes / size).toBeLessThan(2);
    expect(fixture.directory.buffers.lentBytes).toBe(0);
  });

  test("LogReader: a lone consumer has nothing kept for it", async () => {
    const fixture = await Fixture.open();
    for (let round = 0, at = 0; round < 20; round++) {
      fixture.append(10, { valueBytes: 1 * KIB });
      at = readOn(fixture, at).next;
    }
    expect(fixture.directory.buffers.kept.bytes).toBe(0);
  });

  test("LogReader: less than is there is given only to who says that it is enough", async () => {
    const fixture = await Fixture.open();
    for (let i = 0; i < 100; i++) fixture.append(1, { valueBytes: 10 * KIB });
    const bounds = { maxBytes: 500 * KIB };
    // Kept: the stretch is read a second time.
    readOn(fixture, 0, bounds);
    readOn(fixture, 0, bounds);
    const few = readOn(fixture, 40, { ...bounds, enoughBytes: 20 * KIB });
    expect(few.byteCount).toBeLessThan(200 * KIB);
    expect(readOn(fixture, 40, bounds).byteCount).toBeGreaterThan(450 * KIB);
    const enoughBytes = few.byteCount + 1;
    expect(readOn(fixture, 40, { ...bounds, enoughBytes }).byteCount).toBeGreaterThan(450 * KIB);
  });

  test("LogReader: closing a log lets go of what is kept of it", async () => {
    const fixture = await Fixture.open();
    fixture.append(10);
    readOn(fixture, 0);
    readOn(fixture, 0);
    const { buffers } = fixture.directory;
    expect(buffers.kept.bytes).toBeGreaterThan(0);
    await fixture.directory.close();
    expect(buffers.kept.bytes).toBe(0);
  });
});

/** Whole batches, by what they hold. */
function batchesOf(records: Uint8Array): { lastOffset: number; bytes: Buffer }[] {
  return [...batches(records)].map((at) => ({
    lastOffset: readLastOffset(records, at),
    bytes: Buffer.from(records.slice(at, at + batchSizeBytes(records, at))),
  }));
}

test("LogReader, any readers of a log that grows and is cut: each gets what was written, as far as it may", async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = new SimRandom(seed);
    const fixture = await Fixture.open({ segmentBytes: random.pick([20_000, 1 << 20]) }, {}, seed);
    /** The slow twin: every batch of the log. */
    let written: { lastOffset: number; bytes: Buffer }[] = [];
    const held: { copy: Uint8Array; records: Uint8Array; release(): void }[] = [];
    const readers = [0, 0, 0];
    for (let step = 0; step < 150; step++) {
      const { log } = fixture;
      if (random.chance(0.4)) {
        const valueBytes = random.pick([1, 500, 9 * KIB]);
        const batch = buildBatch({
          records: [{ key: null, value: new Uint8Array(valueBytes).fill(step), timestamp: 1 }],
        });
        const appended = log.appendAsLeader(batch, { leaderEpoch: 0, origin: "coordinator" });
        if (!("baseOffset" in appended)) throw new Error("refused");
        written.push({ lastOffset: appended.lastOffset, bytes: Buffer.from(batch) });
      } else if (random.chance(0.03)) {
        const target = random.between(0, log.endOffset);
        await log.truncateTo(offset(target));
        written = written.filter(({ lastOffset }) => lastOffset < target);
        for (const [i, at] of readers.entries()) readers[i] = Math.min(at, target);
      } else {
        const i = random.between(0, readers.length - 1);
        const from = readers[i]!;
        const maxBytes = random.pick([1, 700, 5000, 1 << 20]);
        const enoughBytes = random.pick([1, 20 * KIB, Infinity]);
        const upToOffset = random.between(from, log.endOffset);
        const bounds = { maxBytes, minOneMessage: true, upToOffset: offset(upToOffset) };
        const read = log.read(offset(from), { ...bounds, enoughBytes });
        if (!("records" in read)) throw new Error(read.message);
        const expected = written.filter(({ lastOffset }) =>
          lastOffset >= from && lastOffset < upToOffset
        );
        const found = batchesOf(read.records);
        expect(found).toEqual(expected.slice(0, found.length));
        expect(found.length > 0).toBe(expected.length > 0);
        expect(read.nextOffset as number).toBe((found.at(-1)?.lastOffset ?? from - 1) + 1);
        if (found.length > 1) expect(read.records.length).toBeLessThanOrEqual(maxBytes);
        readers[i] = read.nextOffset;
        held.push({ ...read, copy: read.records.slice(), release: () => read.release() });
        if (random.chance(0.1)) readers.fill(readers[i]!);
      }
      while (held.length > 3) {
        const { copy, records, release } = held.shift()!;
        expect(records).toEqual(copy);
        release();
      }
    }
    for (const { release } of held) release();
    expect(fixture.directory.buffers.lentBytes).toBe(0);
  }
});
