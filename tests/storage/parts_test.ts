/** The small parts of the store, each by itself. */

import { describe, expect, test } from "bun:test";
import { BufferPool } from "../../storage/buffer_pool.ts";
import {
  formatCheckpoint,
  parseCheckpoint,
  writeFileAtomically,
} from "../../storage/checkpoint.ts";
import { FileCache } from "../../storage/file_cache.ts";
import { type Flushable, Flusher } from "../../storage/flusher.ts";
import { LeaderEpochs } from "../../storage/leader_epochs.ts";
import { OffsetIndex } from "../../storage/offset_index.ts";
import { DiskError } from "../../storage/platform.ts";
import { parseSegmentName, segmentPath } from "../../storage/segment_name.ts";
import { TimeIndex } from "../../storage/time_index.ts";
import { SimClock } from "../sim/sim_clock.ts";
import { SimDisk } from "../sim/sim_disk.ts";
import { SimRandom } from "../sim/sim_random.ts";

function newDisk(seed = 1): SimDisk {
  const disk = new SimDisk({ random: new SimRandom(seed) });
  disk.makeDirectory("/log");
  return disk;
}

describe("segment names", () => {
  test("segmentPath, parseSegmentName: 20 digits there and back", () => {
    expect(segmentPath("/log", 42, ".log")).toBe("/log/00000000000000000042.log");
    expect(parseSegmentName("00000000000000000042.log", ".log") as number).toBe(42);
  });

  test("parseSegmentName: null for any other name", () => {
    const names = [
      "42.log",
      "00000000000000000042.index",
      "0000000000000000004x.log",
      "99999999999999999999.log",
    ];
    for (const name of names) expect(parseSegmentName(name, ".log")).toBeNull();
  });
});

describe("BufferPool", () => {
  test("reuses what was released, never what is lent, and keeps no more than its cap", () => {
    const pool = new BufferPool({ capBytes: 16_384 });
    const lent = Array.from({ length: 10 }, () => pool.acquire(4000));
    expect(new Set(lent.map(({ bytes }) => bytes.buffer)).size).toBe(10);
    expect(pool.lentBytes).toBe(40_960);
    for (const buffer of lent) {
      buffer.release();
      buffer.release();
    }
    expect([pool.lentBytes, pool.idleBytes]).toEqual([0, 16_384]);
    const known = new Set(lent.map(({ bytes }) => bytes.buffer));
    const again = Array.from({ length: 5 }, () => pool.acquire(4096));
    expect(again.filter(({ bytes }) => known.has(bytes.buffer))).toHaveLength(4);
  });

  test("gives at least the bytes asked for", () => {
    const pool = new BufferPool({ capBytes: 1 << 20 });
    for (const byteCount of [0, 1, 4095, 4096, 4097, 1 << 20, (1 << 23) + 1]) {
      const buffer = pool.acquire(byteCount);
      expect(buffer.bytes.length).toBeGreaterThanOrEqual(byteCount);
      buffer.release();
    }
    expect(pool.idleBytes).toBeLessThanOrEqual(1 << 20);
  });
});

test("FileCache: closes the least recently used handle past its cap", () => {
  const disk = newDisk();
  for (const name of ["a", "b", "c"]) disk.plant(`/log/${name}`, new Uint8Array([1]));
  const files = new FileCache(disk, 2);
  const a = files.get("/log/a");
  const b = files.get("/log/b");
  expect(files.get("/log/a")).toBe(a);
  files.get("/log/c");
  expect(files.openCount).toBe(2);
  expect(() => b.read(0, new Uint8Array(1))).toThrow(DiskError);
  expect(a.read(0, new Uint8Array(1))).toBe(1);
});

describe("checkpoints", () => {
  test("formatCheckpoint, parseCheckpoint: there and back", () => {
    const lines = ["orders 0 12", "a-b 1 9"];
    expect(parseCheckpoint(formatCheckpoint(lines), "x", 3)).toEqual(
      lines.map((line) => line.split(" ")),
    );
    expect(parseCheckpoint(formatCheckpoint([]), "x", 3)).toEqual([]);
  });

  test("parseCheckpoint: damage is an error, never an empty checkpoint", () => {
    for (
      const text of ["", "1\n0\n", "0\n", "0\n2\na 0 1\n", "0\n1\na 0\n", "0\nx\n", "\0\0\0\0"]
    ) {
      expect(() => parseCheckpoint(text, "x", 3)).toThrow(DiskError);
    }
  });

  test("writeFileAtomically: a crash leaves the old file or the new one", async () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 60; seed++) {
      const disk = newDisk(seed);
      disk.plant("/log/small", new Uint8Array(3000).fill(1));
      // Never awaited to its end: the crash comes after some of its steps.
      void writeFileAtomically(disk, "/log/small", new Uint8Array(2000).fill(2)).catch(() => {});
      for (let tick = 0; tick < seed % 12; tick++) await Promise.resolve();
      disk.crash();
      const bytes = disk.bytesOf("/log/small");
      seen.add(`${bytes.length}:${[...new Set(bytes)]}`);
    }
    expect([...seen].sort()).toEqual(["2000:2", "3000:1"]);
  });
});

describe("OffsetIndex and TimeIndex", () => {
  function options(disk: SimDisk) {
    return { directory: "/log", baseOffset: 1000, disk, files: new FileCache(disk, 8) };
  }

  const positionFor = (index: OffsetIndex, offset: number) => {
    const at = index.indexFor(offset);
    return at < 0 ? 0 : index.entry(at).position;
  };

  test("indexFor: the last entry at or before the offset, in the file and in the tail", () => {
    const index = new OffsetIndex(options(newDisk()));
    for (let i = 1; i <= 700; i++) index.append(1000 + 10 * i, 100 * i);
    for (
      const [at, expected] of [[1000, 0], [1009, 0], [1010, 100], [1019, 100], [6005, 50_000], [
        9999,
        70_000,
      ]]
    ) {
      expect(positionFor(index, at!)).toBe(expected!);
    }
    index.truncateTo(1500);
    expect([index.count, positionFor(index, 9999)]).toEqual([49, 4900]);
    index.append(1600, 6000);
    index.file.seal();
    expect(positionFor(index, 1599)).toBe(4900);
    expect(index.problem(6001)).toBeNull();
    expect(index.problem(6000)).toContain("its last entry points to byte 6000 of 6000");
  });

  test("TimeIndex: timestamps rise strictly; lookup gives the last at most", () => {
    const index = new TimeIndex(options(newDisk()));
    expect(index.last).toEqual({ timestampMs: -1, offset: 1000 });
    for (let i = 1; i <= 700; i++) {
      index.maybeAppend(10 * i, 1000 + i);
      index.maybeAppend(10 * i, 1001 + i);
    }
    expect(index.count).toBe(700);
    expect(index.lookup(9)).toEqual({ timestampMs: -1, offset: 1000 });
    expect(index.lookup(105)).toEqual({ timestampMs: 100, offset: 1010 });
    expect(index.lookup(1e12)).toEqual({ timestampMs: 7000, offset: 1700 });
    index.truncateTo(1300);
    expect(index.last).toEqual({ timestampMs: 2990, offset: 1299 });
  });

  test("any bytes: a problem is named or entries are read, nothing is thrown", () => {
    const random = new SimRandom(3);
    for (let round = 0; round < 500; round++) {
      const disk = newDisk();
      for (const suffix of [".index", ".timeindex"]) {
        disk.plant(segmentPath("/log", 1000, suffix), random.bytes(random.below(60)));
      }
      const offsets = new OffsetIndex(options(disk));
      const times = new TimeIndex(options(disk));
      if (offsets.problem(5000) === null) offsets.indexFor(1000 + random.below(99));
      if (times.problem() === null) times.lookup(random.uint32());
    }
  });
});

describe("LeaderEpochs", () => {
  function filled(): LeaderEpochs {
    const epochs = new LeaderEpochs({ disk: newDisk(), directory: "/log" });
    for (const [epoch, start] of [[0, 0], [1, 120], [4, 300]] as const) epochs.assign(epoch, start);
    return epochs;
  }

  test("endOffsetFor: Kafka's answers", () => {
    const epochs = filled();
    for (
      const [epoch, leaderEpoch, endOffset] of [
        [0, 0, 120],
        [1, 1, 300],
        [2, 1, 300],
        [3, 1, 300],
        [4, 4, 500],
        [5, -1, -1],
        [-1, -1, -1],
      ] as const
    ) expect(epochs.endOffsetFor(epoch, 500)).toEqual({ leaderEpoch, endOffset });
    epochs.truncateFromStart(200);
    expect(epochs.endOffsetFor(0, 500)).toEqual({ leaderEpoch: 0, endOffset: 200 });
  });

  test("assign: an epoch that contradicts what is known replaces it", () => {
    const epochs = filled();
    epochs.assign(2, 200);
    expect(epochs.entries).toEqual([{ epoch: 0, startOffset: 0 }, { epoch: 1, startOffset: 120 }, {
      epoch: 2,
      startOffset: 200,
    }]);
    epochs.assign(2, 250);
    expect(epochs.latestEpoch).toBe(2);
    expect(epochs.epochForOffset(249)).toBe(2);
  });

  test("store: an epoch is written with its first record, and what is written already is not", async () => {
    const disk = newDisk();
    disk.makeDirectory("/log");
    const epochs = new LeaderEpochs({ disk, directory: "/log" });
    const stored = () => {
      const again = new LeaderEpochs({ disk, directory: "/log" });
      again.load();
      return again.entries;
    };
    // What becoming the leader of an empty log does.
    epochs.assign(3, 0);
    expect(epochs.isDirty(0)).toBe(false);
    await epochs.store(0);
    expect(disk.list("/log")).toEqual([]);
    expect(epochs.isDirty(10)).toBe(true);
    await epochs.store(10);
    expect(stored()).toEqual([{ epoch: 3, startOffset: 0 }]);
    epochs.assign(4, 10);
    expect(epochs.isDirty(10)).toBe(false);
    expect(epochs.isDirty(11)).toBe(true);
    await epochs.store(11);
    expect(stored()).toEqual([{ epoch: 3, startOffset: 0 }, { epoch: 4, startOffset: 10 }]);
    epochs.truncateFromEnd(10);
    expect(epochs.isDirty(10)).toBe(true);
    await epochs.store(10);
    expect(stored()).toEqual([{ epoch: 3, startOffset: 0 }]);
  });

  test("truncateFromStart, truncateFromEnd: keep the spanning epoch", () => {
    const epochs = filled();
    epochs.truncateFromStart(130);
    expect(epochs.entries[0]).toEqual({ epoch: 1, startOffset: 130 });
    epochs.truncateFromEnd(300);
    expect(epochs.latestEpoch).toBe(1);
  });
});

describe("Flusher", () => {
  class Slow implements Flushable {
    flushes = 0;
    finish: (() => void) | null = null;
    flush(): Promise<void> {
      this.flushes++;
      return new Promise((resolve) => this.finish = resolve);
    }
  }

  async function settle(): Promise<void> {
    for (let i = 0; i < 10; i++) await Promise.resolve();
  }

  test("request: one in flight per log, one more for all that asked meanwhile, a bound over all", async () => {
    const flusher = new Flusher({ clock: new SimClock(), maxInFlight: 2 });
    const [a, b, c] = [new Slow(), new Slow(), new Slow()];
    for (const log of [a, a, b, c, a]) flusher.request(log);
    await settle();
    expect([a.flushes, b.flushes, c.flushes]).toEqual([1, 1, 0]);
    flusher.request(a);
    flusher.request(a);
    a.finish!();
    await settle();
    expect([a.flushes, b.flushes, c.flushes]).toEqual([1, 1, 1]);
    b.finish!();
    await settle();
    expect([a.flushes, b.flushes, c.flushes]).toEqual([2, 1, 1]);
  });

  test("onFlushed: told how long each flush took", async () => {
    const clock = new SimClock();
    const flusher = new Flusher({ clock });
    const took: number[] = [];
    flusher.onFlushed = (durationMs) => took.push(durationMs);
    const log = new Slow();
    for (const durationMs of [7, 30]) {
      flusher.request(log);
      await settle();
      await clock.advance(durationMs);
      log.finish!();
      await settle();
    }
    expect(took).toEqual([7, 30]);
  });

  test("addDirty: past the bound a sync is asked for, and past twice the bound producers wait", async () => {
    const clock = new SimClock();
    const flusher = new Flusher({ clock, maxDirtyBytes: 100, maxDirtyMs: 50 });
    const log = new Slow();
    flusher.addDirty(log, 100);
    await settle();
    expect(log.flushes).toBe(0);
    flusher.addDirty(log, 101);
    await settle();
    expect([log.flushes, flusher.isSaturated]).toEqual([1, true]);
    let isDrained = false;
    void flusher.drained().then(() => isDrained = true);
    await settle();
    expect(isDrained).toBe(false);
    flusher.removeDirty(log, 150);
    await settle();
    expect([isDrained, flusher.dirtyBytes]).toEqual([true, 51]);
    flusher.forget(log);
    expect(flusher.dirtyBytes).toBe(0);
    flusher.close();
    expect(clock.pendingTimers).toBe(0);
  });
});
