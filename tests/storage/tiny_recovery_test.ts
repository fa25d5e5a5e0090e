/** Recovery of logs of a few kilobytes: beside the one that reads and stores everything, and what it leaves undone. */

import { expect, test } from "bun:test";
import { METADATA_TOPIC_ID, offset, type Uuid } from "../../protocol/types.ts";
import { textBytes } from "../../storage/checkpoint.ts";
import { DEFAULT_LOG_CONFIG, type Log } from "../../storage/log.ts";
import type { FoundPartition, LogDirectory } from "../../storage/log_directory.ts";
import { recoverLogJob } from "../../storage/log_recovery.ts";
import type { Disk, DiskFile } from "../../storage/platform.ts";
import { TINY_BYTES } from "../../storage/tiny_recovery.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { SimWorkers } from "../sim/sim_workers.ts";
import { counting, Fixture, ORDERS, ORDERS_PATH, untilDeath } from "./log_fixture.ts";

const MAX_STEPS = 14;

/** Some life of a log, up to a crash. */
async function live(fixture: Fixture, random: SimRandom): Promise<void> {
  let epoch = 0;
  for (let steps = random.below(MAX_STEPS); steps > 0; steps--) {
    const { log } = fixture;
    switch (random.below(9)) {
      case 0:
        epoch++;
        break;
      case 1:
        await fixture.clock.advance(6000);
        break;
      case 2:
        if (log.endOffset > 0) await log.truncateTo(offset(random.below(log.endOffset)));
        break;
      case 3:
        await fixture.directory.close();
        await fixture.reopen();
        break;
      case 4:
        log.updateHighWatermark(log.endOffset);
        log.deleteRecordsBefore(offset(random.below(log.endOffset + 1)));
        break;
      case 5:
        log.sync();
        await fixture.clock.advance(1);
        break;
      case 6:
        appendAsProducer(fixture, { producerId: random.below(3), epoch, random });
        break;
      default:
        fixture.append(1 + random.below(3), { leaderEpoch: epoch, valueBytes: random.below(2000) });
    }
  }
}

function appendAsProducer(
  fixture: Fixture,
  { producerId, epoch, random }: {
    readonly producerId: number;
    readonly epoch: number;
    readonly random: SimRandom;
  },
): void {
  const last = [...fixture.log.producers()].find((one) => one.producerId === producerId);
  fixture.append(1, {
    producerId,
    producerEpoch: 0,
    baseSequence: (last?.lastSequence ?? -1) + 1,
    leaderEpoch: epoch,
    transactional: random.below(8) === 0,
  });
}

function damage(fixture: Fixture, random: SimRandom): void {
  const files = fixture.disk.files().filter((path) => path.startsWith(`${ORDERS_PATH}/`))
    .filter((path) => fixture.disk.sizeOf(path) > 0 && !path.endsWith("partition.metadata"));
  if (files.length === 0) return;
  const path = random.pick(files);
  const bytes = fixture.disk.bytesOf(path);
  const at = random.below(bytes.length);
  if (random.below(2) === 0) fixture.disk.flipBit(path, at, random.below(8));
  else fixture.disk.plant(path, bytes.slice(0, at));
}

/** The same files on another disk; the log is recovered as after a disk failure, by the job. */
async function slowTwin(fixture: Fixture): Promise<Fixture> {
  const twin = new Fixture();
  await twin.clock.advance(fixture.clock.wallMs() - twin.clock.wallMs());
  twin.disk.makeDirectory(ORDERS_PATH);
  for (const path of fixture.disk.files()) twin.disk.plant(path, fixture.disk.bytesOf(path));
  twin.disk.plant("/data/.weir-disk-failed", new Uint8Array(0));
  await twin.reopen();
  return twin;
}

function known({ log, disk }: Fixture) {
  return {
    isOffline: log.offlineReason !== null,
    endOffset: log.endOffset,
    logStartOffset: log.logStartOffset,
    epochs: log.leaderEpochs.entries,
    producers: [...log.producers()].toSorted((a, b) => a.producerId - b.producerId),
    largest: log.offlineReason === null ? log.segments.at(-1)!.largest : null,
    records: log.segments.map(({ path }) => Buffer.from(disk.bytesOf(path)).toString("hex")),
  };
}

test("recoverTiny: finds what the recovery finds that reads and stores everything", async () => {
  let [tinyCount, fullCount] = [0, 0];
  for (let seed = 1; seed <= 60; seed++) {
    const random = new SimRandom(seed);
    const fixture = await Fixture.open({}, {}, seed);
    await live(fixture, random);
    if (random.below(2) === 0) fixture.disk.crash();
    else fixture.disk.kill();
    if (random.below(3) === 0) damage(fixture, random);
    const twin = await slowTwin(fixture);
    const { workers, names } = counting(new SimWorkers({ ...fixture, delayMs: 0 }));
    await fixture.reopen({}, { workers });
    if (names.length === 0) tinyCount++;
    else fullCount++;
    expect({ seed, ...known(fixture) }).toEqual({ seed, ...known(twin) });
    if (fixture.log.offlineReason !== null) continue;
    // What it has found is stable, and goes on.
    const { endOffset } = fixture.log;
    fixture.disk.crash();
    await fixture.reopen();
    expect(fixture.log.endOffset).toBe(endOffset);
    fixture.append(1, { leaderEpoch: 99 });
    await fixture.directory.close();
    await fixture.reopen();
    expect(fixture.log.endOffset).toBe(offset(endOffset + 1));
    expect(fixture.logger.lines.filter(({ level }) => level === "error")).toEqual([]);
  }
  expect(tinyCount).toBeGreaterThan(12);
  expect(fullCount).toBeGreaterThan(6);
});

test("recoverTiny: leaves what is larger to the workers, and writes nothing itself", async () => {
  for (const isTiny of [true, false]) {
    const fixture = await Fixture.open();
    while (fixture.log.sizeBytes < TINY_BYTES - 1000) fixture.append(1, { valueBytes: 900 });
    if (!isTiny) fixture.append(1, { valueBytes: 900 });
    fixture.log.sync();
    await fixture.clock.advance(1);
    fixture.disk.kill();
    const before = fixture.disk.files().filter((path) => path.startsWith(ORDERS_PATH));
    const { workers, names } = counting(new SimWorkers({ ...fixture, delayMs: 0 }));
    await fixture.reopen({}, { workers });
    expect(names).toEqual(isTiny ? [] : [recoverLogJob.name]);
    const after = fixture.disk.files().filter((path) => path.startsWith(ORDERS_PATH));
    if (isTiny) expect(after).toEqual(before);
    else expect(after.length).toBeGreaterThan(before.length);
  }
});

test("recoverTiny: a log that has records is synced itself, and nothing else", async () => {
  for (const hasRecords of [true, false]) {
    const fixture = await Fixture.open();
    if (hasRecords) fixture.append(1);
    fixture.log.sync();
    await fixture.clock.advance(1);
    fixture.disk.kill();
    const synced: string[] = [];
    const disk = watchingSyncs(fixture.disk, synced);
    fixture.directory = await fixture.openDirectory({ disk });
    synced.splice(0);
    await fixture.directory.createLog(ORDERS, METADATA_TOPIC_ID, DEFAULT_LOG_CONFIG);
    const log = `${ORDERS_PATH}/00000000000000000000.log`;
    const all = [ORDERS_PATH, log, `${ORDERS_PATH}/partition.metadata`];
    expect(synced.toSorted()).toEqual(hasRecords ? [log] : all);
  }
});

test("recoverTiny: what a killed truncation had removed does not come back with a power cut", async () => {
  let tinyCount = 0;
  for (let death = 0; death < 40; death++) {
    for (let seed = 1; seed <= 8; seed++) {
      const fixture = new Fixture(seed);
      await untilDeath(fixture, async (disk) => {
        const log = await fixture.reopen({}, { disk });
        fixture.append(2);
        await log.whenSynced(offset(2));
        log.roll();
        fixture.append(5);
        await log.whenSynced(offset(7));
        disk.dieAt(death);
        await log.truncateFullyAndStartAt(offset(0));
      });
      fixture.disk.kill();
      const { workers, names } = counting(new SimWorkers({ ...fixture, delayMs: 0 }));
      const { endOffset } = await fixture.reopen({}, { workers });
      if (names.length === 0 && endOffset === 2) tinyCount++;
      fixture.disk.crash();
      await fixture.reopen();
      expect([death, seed, fixture.log.endOffset]).toEqual([death, seed, endOffset]);
    }
  }
  expect(tinyCount).toBeGreaterThan(0);
});

/** Notes in `synced` what is synced of a disk. */
function watchingSyncs(disk: Disk, synced: string[]): Disk {
  const noting = <T extends object>(target: T, name: keyof T, path: (args: unknown[]) => string) =>
    new Proxy(target, {
      get: (_, key) => {
        const value = target[key as keyof T];
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          if (key === name) synced.push(path(args));
          const result = value.apply(target, args);
          return key === "open"
            ? noting(result as DiskFile, "sync", () => String(args[0]))
            : result;
        };
      },
    });
  return noting(disk, "syncDirectory", ([path]) => String(path));
}

test("recoverTiny: the recovery point passes epochs once the name of their checkpoint is stable", async () => {
  const fixture = await Fixture.open();
  fixture.append(1, { leaderEpoch: 5 });
  await fixture.log.whenSynced(offset(1));
  await fixture.log.settle();
  fixture.append(1, { leaderEpoch: 5 });
  await fixture.log.whenSynced(offset(2));
  fixture.disk.kill();
  const synced: string[] = [];
  await fixture.reopen({}, { disk: watchingSyncs(fixture.disk, synced) });
  synced.splice(0);
  const files = fixture.disk.files();
  expect(fixture.log.isUnsettled).toBe(true);
  await fixture.log.settle();
  expect(fixture.log.recoveryPoint).toBe(offset(2));
  expect(synced).toEqual([ORDERS_PATH]);
  expect(fixture.disk.files()).toEqual(files);
});

/** Logs that all get a record at once. */
async function manyLogs(fixture: Fixture, count: number): Promise<Log[]> {
  const logs: Log[] = [];
  for (let partition = 0; partition < count; partition++) {
    const topicPartition = { topic: "many", partition };
    logs.push(
      await fixture.directory.createLog(topicPartition, METADATA_TOPIC_ID, DEFAULT_LOG_CONFIG),
    );
  }
  return logs;
}

test("Log: where many get a new epoch at once, the recovery points wait for it to be stored", async () => {
  const fixture = await Fixture.open();
  const logs = await manyLogs(fixture, 100);
  for (const log of logs) {
    fixture.log = log;
    fixture.append(1, { leaderEpoch: 5 });
  }
  await Promise.all(logs.map((log) => log.whenSynced(log.endOffset)));
  const epochFiles = () =>
    fixture.disk.files().filter((path) => path.endsWith("leader-epoch-checkpoint")).length;
  await fixture.clock.advance(100);
  const unsettled = logs.filter((log) => log.isUnsettled);
  expect(unsettled.length).toBeGreaterThan(50);
  expect(unsettled.every(({ recoveryPoint }) => recoveryPoint === 0)).toBe(true);
  expect(epochFiles()).toBe(100 - unsettled.length);
  // Whoever asks does not wait for the others.
  for (const log of logs) {
    fixture.log = log;
    fixture.append(1, { leaderEpoch: 5 });
    log.sync();
  }
  await unsettled.at(-1)!.settle();
  expect(unsettled.at(-1)!.isUnsettled).toBe(false);
  expect(unsettled.some((log) => log.isUnsettled)).toBe(true);
  // The next checkpoint has all of them.
  await fixture.clock.advance(5000);
  expect(logs.filter((log) => log.isUnsettled)).toEqual([]);
  expect(epochFiles()).toBe(100);
  const points = Buffer.from(fixture.disk.bytesOf("/data/recovery-point-offset-checkpoint"));
  expect(points.toString().match(/^many \d+ 2$/gm)).toHaveLength(100);
});

test("LogDirectory: epochs are stored once nobody waits for the disk, or before the fourth checkpoint", async () => {
  const fixture = await Fixture.open();
  while (fixture.log.sizeBytes < 2 * TINY_BYTES) fixture.append(1, { valueBytes: 900 });
  await fixture.log.whenSynced(fixture.log.endOffset);
  fixture.disk.kill();
  const workers = new SimWorkers({ ...fixture, delayMs: 1_000_000 });
  fixture.directory = await fixture.openDirectory({ workers });
  const opening = fixture.directory.createLog(ORDERS, METADATA_TOPIC_ID, DEFAULT_LOG_CONFIG);
  opening.catch(() => {});
  const logs = await manyLogs(fixture, 100);
  for (const log of logs) {
    fixture.log = log;
    fixture.append(1);
    log.sync();
  }
  await fixture.clock.advance(100);
  const unsettledCount = () => logs.filter((log) => log.isUnsettled).length;
  expect(unsettledCount()).toBeGreaterThan(50);
  for (let checkpoint = 1; checkpoint <= 4; checkpoint++) {
    await fixture.clock.advance(5100);
    expect(unsettledCount() > 0).toBe(checkpoint < 4);
  }
});

/** A partition that is made, as it is found. */
const MADE = {
  topicPartition: { topic: "made", partition: 3 },
  topicId: "z1yHB6PEQAmy_Ty2vmsQRA" as Uuid,
};

function make(directory: LogDirectory): Promise<Log> {
  return directory.createLog(MADE.topicPartition, MADE.topicId, DEFAULT_LOG_CONFIG);
}

/** Starts again, and makes the partition or opens it. Returns: what was found before. */
async function makeAgain(fixture: Fixture): Promise<FoundPartition[]> {
  fixture.directory = await fixture.openDirectory();
  const found = fixture.directory.found();
  fixture.log = await make(fixture.directory);
  return found;
}

test("LogDirectory.createLog: whatever a death leaves of a partition that is made, it is made, and stays", async () => {
  for (const ends of ["kill", "crash", "kill, then crash"]) {
    for (let changeCount = 0, isDone = false; !isDone; changeCount++) {
      const fixture = await Fixture.open({}, {}, changeCount + 1);
      await fixture.directory.close();
      isDone = !await untilDeath(fixture, async (disk) => {
        const directory = await fixture.openDirectory({ disk });
        disk.dieAt(changeCount);
        await make(directory);
      });
      if (ends.startsWith("kill")) fixture.disk.kill();
      else fixture.disk.crash();
      const found = await makeAgain(fixture);
      if (isDone) expect(found).toContainEqual(MADE);
      if (ends.endsWith("then crash")) {
        fixture.disk.crash();
        expect(await makeAgain(fixture)).toContainEqual(MADE);
      }
      fixture.append(1);
      await fixture.directory.close();
      fixture.disk.crash();
      await makeAgain(fixture);
      const { endOffset, offlineReason } = fixture.log;
      expect([endOffset, offlineReason]).toEqual([offset(1), null]);
    }
  }
});

test("LogDirectory.close: the mark does not speak for a partition that was being made", async () => {
  for (let seed = 1; seed < 20; seed++) {
    const fixture = await Fixture.open({}, {}, seed);
    make(fixture.directory).catch(() => {});
    await fixture.directory.close();
    await makeAgain(fixture);
    fixture.append(1);
    await fixture.log.whenSynced(offset(1));
    fixture.disk.crash();
    expect(await makeAgain(fixture)).toContainEqual(MADE);
    const { endOffset, offlineReason } = fixture.log;
    expect([endOffset, offlineReason]).toEqual([offset(1), null]);
  }
});

test("LogDirectory.found: a part of partition.metadata says nothing", async () => {
  const fixture = await Fixture.open();
  const whole = `version: 0\ntopic_id: ${METADATA_TOPIC_ID}`;
  for (let length = 0; length < whole.length; length++) {
    const zeros = "\0".repeat(whole.length - length);
    for (const text of [whole.slice(0, length), whole.slice(0, length) + zeros]) {
      fixture.disk.plant(`${ORDERS_PATH}/partition.metadata`, textBytes(text));
      expect(fixture.directory.found()).toEqual([{ topicPartition: ORDERS, topicId: null }]);
    }
  }
});
