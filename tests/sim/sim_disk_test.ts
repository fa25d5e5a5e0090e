/** What the simulated disk promises, and how harsh it is: who is tested by it must be able to believe it. */

import { describe, expect, test } from "bun:test";
import { DiskError } from "../../storage/platform.ts";
import { ProcessDisk } from "./process_disk.ts";
import { SimClock } from "./sim_clock.ts";
import { SimDisk } from "./sim_disk.ts";
import { SECTOR_BYTES } from "./sim_inode.ts";
import { SimRandom } from "./sim_random.ts";

const SEEDS = 200;
const PATH = "/data/file";

async function newDisk(seed: number): Promise<SimDisk> {
  const disk = new SimDisk({ random: new SimRandom(seed) });
  disk.makeDirectory("/data");
  await disk.syncDirectory("/");
  return disk;
}

/** A disk with a file that is stable, content and name. */
async function withFile(seed: number, content: Uint8Array): Promise<SimDisk> {
  const disk = await newDisk(seed);
  const file = disk.open(PATH, "write");
  file.write(0, content);
  await file.sync();
  await disk.syncDirectory("/data");
  return disk;
}

const filled = (byteCount: number, value: number) => new Uint8Array(byteCount).fill(value);

describe("SimDisk.crash:", () => {
  test("what was synced is there, whatever was written after it", async () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const disk = await withFile(seed, filled(1000, 1));
      disk.open(PATH, "write").write(1000, filled(3000, 2));
      disk.crash();
      disk.crash();
      expect(disk.bytesOf(PATH).subarray(0, 1000)).toEqual(filled(1000, 1));
    }
  });

  test("each sector of what was not synced is old, new, or was never written", async () => {
    const outcomes = { lost: 0, kept: 0, torn: 0, holes: 0 };
    for (let seed = 0; seed < SEEDS; seed++) {
      const disk = await withFile(seed, filled(4 * SECTOR_BYTES, 1));
      const file = disk.open(PATH, "write");
      file.write(SECTOR_BYTES, filled(4 * SECTOR_BYTES, 2));
      file.write(5 * SECTOR_BYTES, filled(3 * SECTOR_BYTES, 3));
      disk.crash();
      const bytes = disk.bytesOf(PATH);
      const sectors: number[] = [];
      for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
        const sector = new Set(bytes.subarray(at, at + SECTOR_BYTES));
        expect(sector.size).toBe(1);
        sectors.push(...sector);
      }
      expect([4, 5, 8]).toContain(sectors.length);
      const [old, both, added] = [sectors.slice(0, 1), sectors.slice(1, 4), sectors.slice(4)];
      expect(old).toEqual([1]);
      for (const value of both) expect([1, 2]).toContain(value);
      for (const [i, value] of added.entries()) expect([0, i === 0 ? 2 : 3]).toContain(value);
      if (String(sectors) === "1,1,1,1") outcomes.lost++;
      else if (String(sectors) === "1,2,2,2,2,3,3,3") outcomes.kept++;
      else outcomes.torn++;
      if (added.includes(0)) outcomes.holes++;
    }
    for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(SEEDS / 20);
  });

  test("of names that were not synced the first few survive, each with its own content", async () => {
    const counts = new Set<number>();
    for (let seed = 0; seed < SEEDS; seed++) {
      const disk = await newDisk(seed);
      for (let i = 0; i < 4; i++) {
        const file = disk.open(`/data/${i}`, "write");
        file.write(0, filled(10, i));
        await file.sync();
      }
      disk.crash();
      const found = disk.files();
      expect(found).toEqual([0, 1, 2, 3].slice(0, found.length).map((i) => `/data/${i}`));
      for (const [i, path] of found.entries()) expect(disk.bytesOf(path)).toEqual(filled(10, i));
      counts.add(found.length);
    }
    expect([...counts].sort()).toEqual([0, 1, 2, 3, 4]);
  });

  test("a rename that was not synced is done or undone, and a synced one is done", async () => {
    const found = new Set<number>();
    for (let seed = 0; seed < SEEDS; seed++) {
      const disk = await withFile(seed, filled(10, 1));
      const file = disk.open(`${PATH}.tmp`, "write");
      file.write(0, filled(10, 2));
      await file.sync();
      disk.rename(`${PATH}.tmp`, PATH);
      const isSynced = seed % 2 === 0;
      if (isSynced) await disk.syncDirectory("/data");
      disk.crash();
      const [value] = disk.bytesOf(PATH);
      if (isSynced) expect(value).toBe(2);
      else found.add(value!);
    }
    expect([...found].sort()).toEqual([1, 2]);
  });

  test("a directory whose name was not synced takes what is in it along", async () => {
    const found = new Set<boolean>();
    for (let seed = 0; seed < SEEDS; seed++) {
      const disk = await newDisk(seed);
      disk.makeDirectory("/data/a");
      const file = disk.open("/data/a/file", "write");
      await file.sync();
      await disk.syncDirectory("/data/a");
      disk.crash();
      found.add(disk.exists("/data/a/file"));
    }
    expect(found.size).toBe(2);
  });
});

test("SimDisk.kill: the page cache and all names stay", async () => {
  const disk = await withFile(1, filled(10, 1));
  disk.open(PATH, "write").write(0, filled(20, 2));
  disk.rename(PATH, "/data/other");
  disk.kill();
  expect(disk.bytesOf("/data/other")).toEqual(filled(20, 2));
});

test("SimDisk: a sync that failed is not made good by the next one", async () => {
  const found = new Set<number>();
  for (let seed = 0; seed < SEEDS; seed++) {
    const disk = await withFile(seed, filled(10, 1));
    const file = disk.open(PATH, "write");
    file.write(0, filled(10, 2));
    disk.faults.sync = () => "EIO";
    expect(await file.sync().catch((failure: DiskError) => failure.code)).toBe("EIO");
    disk.faults = {};
    await file.sync();
    disk.crash();
    found.add(disk.bytesOf(PATH)[0]!);
    // What is written once more is dirty again.
    const again = disk.open(PATH, "write");
    again.write(0, filled(10, 3));
    await again.sync();
    disk.crash();
    expect(disk.bytesOf(PATH)).toEqual(filled(10, 3));
  }
  expect([...found].sort()).toEqual([1, 2]);
});

test("SimDisk: a full disk takes what fits, and makes no names", async () => {
  const disk = await withFile(1, filled(10, 1));
  disk.capacityBytes = 25;
  const file = disk.open(PATH, "write");
  expect(() => file.write(10, filled(20, 2))).toThrow(DiskError);
  expect(disk.bytesOf(PATH).length).toBe(25);
  expect(disk.freeBytes()).toBe(0);
  file.write(0, filled(25, 3));
  expect(() => disk.open("/data/new", "write")).toThrow("disk full");
  disk.remove(PATH);
  disk.open("/data/new", "write").write(0, filled(25, 4));
});

test("SimDisk: syncs end in any order, and one that ends has taken all before it along", async () => {
  let overtaken = 0;
  for (let seed = 0; seed < SEEDS; seed++) {
    const clock = new SimClock();
    const disk = new SimDisk({ random: new SimRandom(seed), clock });
    const file = disk.open("/file", "write");
    await clock.run(disk.syncDirectory("/"));
    const ended: number[] = [];
    for (const value of [1, 2]) {
      file.write(0, filled(10, value));
      void file.sync().then(() => ended.push(value));
    }
    while (ended.length === 0) await clock.advance(0.1);
    if (ended[0] === 2) {
      overtaken++;
      disk.crash();
      expect(disk.bytesOf("/file")).toEqual(filled(10, 2));
    }
  }
  expect(overtaken).toBeGreaterThan(SEEDS / 10);
});

test("ProcessDisk: a process dies at the call that it is told, and hears nothing afterwards", async () => {
  const disk = await newDisk(1);
  for (let calls = 0; calls < 4; calls++) {
    let deaths = 0;
    const process = new ProcessDisk(disk, () => deaths++);
    process.dieAt(calls);
    const answers: string[] = [];
    try {
      const file = process.open(PATH, "write");
      file.write(0, filled(10, calls));
      void file.sync().then(() => answers.push("synced"), () => {});
      file.write(10, filled(10, calls));
    } catch (failure) {
      expect((failure as DiskError).code).toBe("EOWNERDEAD");
    }
    for (let i = 0; i < 10; i++) await Promise.resolve();
    expect([calls, deaths, answers.length]).toEqual([calls, 1, 0]);
    expect(() => process.list("/data")).toThrow("dead");
  }
});
