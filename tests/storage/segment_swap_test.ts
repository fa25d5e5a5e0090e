/** The swap of cleaned segments, interrupted at each of its steps. */

import assert from "node:assert/strict";
import { expect, test } from "bun:test";
import { buildBatch } from "../../protocol/records.ts";
import { METADATA_TOPIC_ID, offset } from "../../protocol/types.ts";
import { Cleaner } from "../../storage/cleaner.ts";
import { DEFAULT_LOG_CONFIG, type Log } from "../../storage/log.ts";
import { LogDirectory } from "../../storage/log_directory.ts";
import { finishSwaps } from "../../storage/segment_swap.ts";
import { ProcessDisk } from "../sim/process_disk.ts";
import { SimClock } from "../sim/sim_clock.ts";
import { type DiskFaults, SimDisk } from "../sim/sim_disk.ts";
import { SimLogger } from "../sim/sim_logger.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { SimWorkers } from "../sim/sim_workers.ts";

const CONFIG = {
  ...DEFAULT_LOG_CONFIG,
  cleanupPolicy: ["compact"] as const,
  minCleanableDirtyRatio: 0,
  fileDeleteDelayMs: 10,
};
const DIRECTORY = "/data/table-0";

/** A compacted log in three segments, with an aborted transaction, and a cleaner. */
class World {
  readonly clock = new SimClock();
  readonly random: SimRandom;
  readonly disk: SimDisk;
  readonly logger = new SimLogger();
  process!: ProcessDisk;
  directory!: LogDirectory;
  log!: Log;
  cleaner!: Cleaner;

  constructor(seed: number) {
    this.random = new SimRandom(seed);
    this.disk = new SimDisk({ random: this.random.fork("disk"), clock: this.clock });
  }

  static async start(seed: number): Promise<World> {
    const world = new World(seed);
    await world.open();
    world.fill();
    await world.clock.run(world.log.whenSynced(world.log.endOffset));
    // The recovery point follows once the indexes are stable too.
    await world.clock.advance(100);
    world.log.updateHighWatermark(world.log.endOffset);
    await world.clock.run(world.directory.checkpoint());
    return world;
  }

  async open(): Promise<void> {
    const { clock, random, logger } = this;
    const disk = new ProcessDisk(this.disk);
    this.process = disk;
    const workers = new SimWorkers({ disk, clock, logger });
    this.directory = await clock.run(LogDirectory.open({
      disk,
      clock,
      random,
      logger,
      workers,
      path: "/data",
      nodeId: 1,
      clusterId: "swap",
      checkpointMs: 1e9,
    }));
    const place = { topic: "table", partition: 0 };
    this.log = await clock.run(this.directory.createLog(place, METADATA_TOPIC_ID, CONFIG));
    assert.equal(this.log.offlineReason, null);
    this.log.updateHighWatermark(this.log.endOffset);
    this.cleaner = new Cleaner({
      clock,
      random,
      logger,
      workers,
      directories: () => [this.directory],
      settings: () => ({
        isEnabled: true,
        backoffMs: 1,
        dedupeBufferBytes: 1e6,
        loadFactor: 0.9,
        ioBufferBytes: 8192,
        maxBytesPerSecond: Infinity,
        reserveBytes: 0,
      }),
    });
  }

  fill(): void {
    const timestamp = 1_767_225_600_000;
    const append = (keys: string[], producer: object = {}) => {
      const records = keys.map((key, i) => ({
        key: Buffer.from(key),
        value: Buffer.from(`${this.log.endOffset + i}`),
        timestamp,
      }));
      this.log.appendAsLeader(buildBatch({ records, ...producer }), {
        leaderEpoch: 0,
        origin: "client",
      });
    };
    const producer = { producerId: 7, producerEpoch: 0, baseSequence: 0, transactional: true };
    append(["a", "b"]);
    append(["aborted"], producer);
    this.log.roll();
    append(["a", "c"]);
    const marker = buildBatch({
      records: [{ key: new Uint8Array(4), value: new Uint8Array(6), timestamp }],
      ...producer,
      baseSequence: -1,
      control: true,
    });
    this.log.appendAsLeader(marker, { leaderEpoch: 0, origin: "coordinator" });
    this.log.roll();
    append(["b", "c"]);
    append(["d"]);
    this.log.roll();
    append(["e"]);
  }

  content(): string {
    const parts: string[] = [];
    let next: number = this.log.logStartOffset;
    while (next < this.log.endOffset) {
      const found = this.log.read(offset(next), { maxBytes: 1, minOneMessage: true });
      assert("records" in found && found.records.length > 0);
      parts.push(`${next}:${Buffer.from(found.records).toString("hex")}`);
      next = found.nextOffset;
      found.release();
    }
    const aborted = this.log.abortedTransactions(offset(0), this.log.endOffset);
    return `${parts.join("\n")} ${JSON.stringify(aborted)}`;
  }

  leftOvers(): string[] {
    return this.disk.files().filter((path) => /\.(cleaned|swap)$/.test(path));
  }
}

async function oldAndNew(): Promise<{ readonly before: string; readonly after: string }> {
  const world = await World.start(1);
  const before = world.content();
  expect(await world.clock.run(world.cleaner.cleanDirtiest())).toBe(true);
  const after = world.content();
  expect(after).not.toBe(before);
  await world.clock.run(world.directory.close());
  return { before, after };
}

for (const how of ["a power cut", "a kill"] as const) {
  test(
    `Log.replaceSegments: ${how} before any change leaves all of the old or all of the new`,
    async () => {
      const { before, after } = await oldAndNew();
      const found = { before: 0, after: 0 };
      const seeds = how === "a kill" ? [1] : [1, 2, 3, 4];
      for (const seed of seeds) {
        for (let count = 0;; count++) {
          const world = await World.start(seed);
          world.process.dieAt(count);
          const cleaning = world.cleaner.cleanDirtiest();
          cleaning.catch(() => {});
          await world.clock.advance(1000);
          if (!world.process.isDead) {
            expect(count).toBeGreaterThan(20);
            await world.clock.run(world.directory.close());
            break;
          }
          if (how === "a power cut") world.disk.crash();
          else world.disk.kill();
          world.clock.dropTimers();
          await world.open();
          const content = world.content();
          const which = content === after ? "after" : "before";
          if (which === "before") expect(content, `step ${count} of seed ${seed}`).toBe(before);
          found[which]++;
          expect(world.leftOvers()).toEqual([]);
          expect(world.log.segments).toHaveLength(which === "after" ? 2 : 4);
          // It can be cleaned as if nothing had happened.
          await world.clock.run(world.cleaner.cleanDirtiest());
          expect(world.content()).toBe(after);
          await world.clock.run(world.directory.close());
        }
      }
      expect(found.before).toBeGreaterThan(5);
      expect(found.after).toBeGreaterThan(5);
    },
    60_000,
  );
}

/** A change of names in the log's directory that fails, the `failing`-th of its kind. */
const PASSING = {
  "a rename that a full disk has no room for": (failing: number): [DiskFaults, () => boolean] => {
    let count = 0;
    const isOurs = (from: string) => from.startsWith(DIRECTORY) && !from.endsWith(".tmp");
    const rename = (from: string) => isOurs(from) && count++ === failing ? "ENOSPC" : null;
    return [{ rename }, () => count > failing];
  },
  "a sync that finds no file handle": (failing: number): [DiskFaults, () => boolean] => {
    let count = 0;
    const syncDirectory = (path: string) =>
      path === DIRECTORY && count++ === failing ? "EMFILE" : null;
    return [{ syncDirectory }, () => count > failing];
  },
};

for (const [name, fault] of Object.entries(PASSING)) {
  test(`Log.replaceSegments: ${name} changes nothing for good`, async () => {
    const { before, after } = await oldAndNew();
    for (let failing = 0;; failing++) {
      const world = await World.start(1);
      const [faults, hasFailed] = fault(failing);
      world.disk.faults = faults;
      const hasCleaned = await world.clock.run(world.cleaner.cleanDirtiest());
      expect(world.log.offlineReason).toBeNull();
      expect(world.content()).toBe(hasCleaned ? after : before);
      world.disk.faults = {};
      if (!hasCleaned) expect(await world.clock.run(world.cleaner.cleanDirtiest())).toBe(true);
      expect(world.content()).toBe(after);
      await world.clock.advance(2000);
      expect(world.leftOvers()).toEqual([]);
      await world.clock.run(world.directory.close());
      if (!hasFailed()) break;
      expect(failing).toBeLessThan(100);
    }
  });
}

test("finishSwaps: bytes that are no batch stop the start of that log, and nothing is removed", async () => {
  const world = await World.start(1);
  await world.clock.run(world.directory.close());
  world.disk.plant(`${DIRECTORY}/00000000000000000000.log.swap`, new Uint8Array(100).fill(7));
  const before = world.disk.files();
  expect(() => finishSwaps(world.disk, DIRECTORY)).toThrow("no batch at byte 0");
  expect(world.disk.files()).toEqual(before);
});
