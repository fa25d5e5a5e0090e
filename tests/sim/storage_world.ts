/**
 * A random life of a log directory on a simulated disk, told to simple models at the same time.
 *
 *     seed → mix of operations, of weather, of ends ──→ steps ──→ heal ──→ progress within bounded time
 *
 * Several partitions of different settings are written, read, cut, deleted and made again under their old
 * names, while the disk fills up, runs out of handles or fails, and the process ends: cleanly, killed (the
 * page cache stays), or with the power, between two turns of the loop, in the midst of one, or in the midst
 * of a start. After each start: what was synced is there, after a kill what was written, in order, byte for
 * byte; nothing is served that was not written; indexes, times, epochs, producers and transactions agree with
 * the batches. Once the weather is fair for good, everything that was acknowledged is read, and appends are
 * taken and synced, within bounded virtual time.
 */

import assert from "node:assert/strict";
import { drainMicrotasks } from "bun:jsc";
import { batchSizeBytes, readBatchHeader } from "../../protocol/record_batch.ts";
import { DEFAULT_LOG_CONFIG, type Log, type LogConfig } from "../../storage/log.ts";
import { LogDirectoryError } from "../../storage/directory_meta.ts";
import { LogDirectory } from "../../storage/log_directory.ts";
import { Cleaner } from "../../storage/cleaner.ts";
import { OFFSET_MAP_SLOT_BYTES } from "../../storage/offset_map.ts";
import { type Disk, DiskError, type Logger } from "../../storage/platform.ts";
import { randomUuid } from "../../storage/random_uuid.ts";
import { LogClients } from "../storage/log_clients.ts";
import { ALL_WEATHERS, begin, clear, type Weather, WEATHERS } from "./disk_weather.ts";
import { ProcessClock } from "./process_clock.ts";
import { ProcessDisk } from "./process_disk.ts";
import { SimClock } from "./sim_clock.ts";
import { SimDisk } from "./sim_disk.ts";
import { TracedLogger } from "./sim_logger.ts";
import { SimRandom } from "./sim_random.ts";
import { SimWorkers } from "./sim_workers.ts";
import { type PartitionCounts, SimPartition, type Surroundings } from "./storage_partition.ts";

const PATH = "/srv/data";
const TOPICS = ["orders", "a", "__consumer_offsets"];
/** After the weather has cleared, how long until nothing may be refused any more. */
const SETTLE_MS = 5_000;
/** Bad weather ends after so long at the latest. */
const WEATHER_MS = 60_000;
const DELETES_NOTHING: Pick<LogConfig, "cleanupPolicy" | "retentionMs" | "retentionBytes"> = {
  cleanupPolicy: ["delete"],
  retentionMs: -1,
  retentionBytes: -1,
};
/** The most starts in a row that do not come to their end. */
const MAX_BROKEN_STARTS = 4;

/** Wraps the disk, so that a test can plant a fault in what the store does with it. */
export type DiskWrapper = (disk: SimDisk) => Disk;

/** How a world is made. */
export interface StorageWorldOptions {
  readonly seed: number;
  readonly steps: number;
  readonly wrap?: DiskWrapper;
  /** The only weather there is; a mix by seed when left out. */
  readonly weathers?: readonly Weather[];
  /** Told what happens, line by line. */
  readonly trace?: (line: string) => void;
}

/** What worlds have seen, for summaries and for tests of the tests. */
export interface StorageCounts extends PartitionCounts {
  steps: number;
  starts: number;
  brokenStarts: number;
  powerCuts: number;
  kills: number;
  cleanStops: number;
  weathers: number;
  deletions: number;
  rotten: number;
}

/** Counts of nothing. */
export function noCounts(): StorageCounts {
  return {
    steps: 0,
    starts: 0,
    brokenStarts: 0,
    powerCuts: 0,
    kills: 0,
    cleanStops: 0,
    weathers: 0,
    deletions: 0,
    rotten: 0,
    appends: 0,
    refusals: 0,
    reads: 0,
    truncations: 0,
    cutRecords: 0,
    adopted: 0,
  };
}

/** The process has died at one of its calls to the disk. */
class ProcessDied extends Error {}

type Operation = readonly [name: string, weight: number, run: () => void | Promise<void>];
type End = "clean" | "kill" | "power cut";

/** One seed. */
export class StorageWorld {
  readonly counts = noCounts();
  readonly #random: SimRandom;
  readonly #clock = new SimClock();
  readonly #disk: SimDisk;
  readonly #seen: Disk;
  readonly #steps: number;
  readonly #trace: (line: string) => void;
  readonly #operations: readonly Operation[];
  readonly #weathers: readonly Weather[];
  readonly #surroundings: Surroundings;
  readonly #partitions: SimPartition[] = [];
  readonly #gone = new Set<string>();
  #process!: { disk: ProcessDisk; clock: ProcessClock; died: Promise<typeof ProcessDied> };
  #workers!: SimWorkers;
  /** Whether this life has one. */
  readonly #hasCleaner: boolean;
  #cleaner: Cleaner | null = null;
  /** Whether bits of synced records turn over in this life. */
  readonly #hasRot: boolean;
  /** A log line told of damage where there is none. */
  #falseAlarm: string | null = null;
  #directory: LogDirectory | null = null;
  #isFair = true;
  #fairSinceMs = -Infinity;
  #mayBeOffline = false;
  #isHealing = false;
  /** The last clean stop said that it was one. */
  #leftMark = false;
  #current: SimPartition | null = null;

  private constructor({ seed, steps, wrap, weathers, trace }: StorageWorldOptions) {
    this.#trace = trace ?? (() => {});
    this.#random = new SimRandom(seed);
    this.#steps = steps;
    this.#disk = new SimDisk({
      random: this.#random.fork("disk"),
      clock: this.#clock,
      maxSyncMs: this.#random.pick([1, 3, 3, 20]),
    });
    this.#seen = (wrap ?? ((disk) => disk))(this.#disk);
    const mix = ALL_WEATHERS.filter(() => this.#random.chance(0.5));
    this.#weathers = weathers ?? mix;
    this.#hasCleaner = this.#random.chance(0.5);
    this.#hasRot = !this.#hasCleaner && this.#random.chance(0.4);
    this.#operations = this.#mix();
    this.#surroundings = {
      random: this.#random,
      wallMs: () => this.#clock.wallMs(),
      sleep: (delayMs) => this.#process.clock.sleep(delayMs),
      isFair: () => this.#isFair,
      isCleaning: () => this.#hasCleaner,
      mayRefuse: () => this.#mayRefuse,
      mayBeOffline: () => this.#mayBeOffline,
      wait: (promise) => this.#wait(promise),
    };
  }

  /** Lives through one seed. Errors: an assertion where store and model part. */
  static async run(options: StorageWorldOptions): Promise<StorageCounts> {
    const world = new StorageWorld(options);
    await world.#live();
    return world.counts;
  }

  async #live(): Promise<void> {
    const count = this.#random.between(1, 3);
    for (let i = 0; i < count; i++) this.#addPartition();
    await this.#start("kill");
    for (let step = 0; step < this.#steps; step++) {
      this.counts.steps++;
      await this.#step();
    }
    await this.#heal();
  }

  async #step(): Promise<void> {
    const open = this.#partitions.filter((one) => one.log !== null);
    this.#current = open.length === 0 ? null : this.#random.pick(open);
    try {
      if (this.#random.chance(0.01)) this.#process.disk.dieAt(this.#random.below(10));
      await this.#pickOperation()();
    } catch (failure) {
      if (!(failure instanceof ProcessDied)) throw failure;
    }
    if (this.#process.disk.isDead) {
      await this.#endAndStart(this.#random.pick(["kill", "power cut"]));
    }
    if (this.#directory!.offlineReason !== null) {
      assert(this.#mayBeOffline, `went offline: ${this.#directory!.offlineReason}`);
      if (this.#random.chance(0.2)) {
        await this.#endAndStart(this.#random.pick(["clean", "kill", "power cut"]));
      }
    }
    for (const partition of this.#partitions) partition.check();
    assert.equal(this.#falseAlarm, null);
  }

  #pickOperation(): () => void | Promise<void> {
    let left = this.#random.below(this.#operations.reduce((sum, [, weight]) => sum + weight, 0));
    for (const [name, weight, run] of this.#operations) {
      left -= weight;
      if (left >= 0) continue;
      this.#trace(`${this.counts.steps} ${this.#current?.name ?? ""} ${name}`);
      return run;
    }
    throw new Error("unreachable");
  }

  /** Each seed does some things often and leaves others out. */
  #mix(): readonly Operation[] {
    const on = (run: (partition: SimPartition) => void | Promise<void>) => () =>
      this.#current === null ? undefined : run(this.#current);
    const table: readonly Operation[] = [
      ["append", 400, on((one) => one.append())],
      ["append transactional", 80, on((one) => one.appendTransactional())],
      ["sync", 60, on((one) => one.log!.sync())],
      ["wait for sync", 30, on((one) => one.syncAll())],
      ["pass a moment", 100, () => this.#pass(this.#random.below(30))],
      ["pass seconds", 20, () => this.#pass(this.#random.below(3000))],
      ["pass minutes", 3, () => this.#pass(this.#random.below(100_000))],
      ["read", 80, on((one) => one.readSome())],
      ["read outside", 10, on((one) => one.readOutside())],
      ["let go of reads", 15, on((one) => one.letGo())],
      ["find by time", 15, on((one) => one.findByTime())],
      ["resend", 20, on((one) => one.resend())],
      ["next epoch", 20, on((one) => one.nextEpoch())],
      ["truncate", 20, on((one) => one.truncate())],
      ["restart at an offset", 4, on((one) => one.restart())],
      ["delete records", 20, on((one) => one.deleteRecords())],
      ["reconfigure", 10, on((one) => this.#reconfigure(one))],
      ["checkpoint", 25, () => this.#checkpoint()],
      ["delete", 8, on((one) => this.#delete(one))],
      ["create", 15, () => this.#create()],
      ["change weather", 25, () => this.#changeWeather()],
      ["stop", 12, () => this.#endAndStart("clean")],
      ["kill", 15, () => this.#endAndStart("kill")],
      ["cut the power", 25, () => this.#endAndStart("power cut")],
    ];
    return table.map(([name, weight, run]) => [
      name,
      Math.ceil(weight * this.#random.pick([0.2, 1, 1, 3])),
      run,
    ]);
  }

  /** Nothing is damaged that is merely torn, lost, or being written. */
  #logged(line: string): void {
    this.#trace(line);
    // To who has died in the midst of something every file is damaged, and nobody hears of it.
    const isExpected = this.counts.rotten > 0 || this.#mayBeOffline || this.#process.disk.isDead;
    if (isExpected || !/damaged? /i.test(line.split(" {")[0]!)) return;
    this.#falseAlarm ??= line;
  }

  // ── time and weather ────────────────────────────────────────────────────────────────────────────

  get #mayRefuse(): boolean {
    return !this.#isFair || this.#mayBeOffline || this.#process.disk.isDead ||
      this.#clock.monotonicMs() - this.#fairSinceMs < SETTLE_MS;
  }

  async #pass(byMs: number): Promise<void> {
    await this.#clock.advance(byMs);
  }

  async #wait<T>(promise: Promise<T>): Promise<T> {
    // No weather lasts for ever.
    const timer = this.#clock.timer(WEATHER_MS, () => this.#clearWeather());
    const outcome = await this.#clock.run(Promise.race([promise, this.#process.died]));
    timer.cancel();
    if (outcome === ProcessDied) throw new ProcessDied();
    return outcome as T;
  }

  #changeWeather(): void {
    if (!this.#isFair || this.#weathers.length === 0) return this.#clearWeather();
    const weather = this.#random.pick(this.#weathers);
    this.#trace(`weather: ${weather}`);
    begin(weather, this.#disk, this.#random);
    this.#isFair = false;
    if (WEATHERS[weather].breaks) this.#mayBeOffline = true;
    this.counts.weathers++;
  }

  #clearWeather(): void {
    if (!this.#isFair) this.#fairSinceMs = this.#clock.monotonicMs();
    clear(this.#disk);
    this.#isFair = true;
  }

  // ── the process ─────────────────────────────────────────────────────────────────────────────────

  #newProcess(): void {
    const clock = new ProcessClock(this.#clock);
    let died: (value: typeof ProcessDied) => void = () => {};
    const whenDead = new Promise<typeof ProcessDied>((resolve) => died = resolve);
    const disk = new ProcessDisk(this.#seen, () => {
      clock.die();
      died(ProcessDied);
    });
    this.#process = { disk, clock, died: whenDead };
    this.#mayBeOffline = !this.#isFair;
  }

  async #endAndStart(end: End): Promise<void> {
    const cameTo = await this.#end(end);
    await this.#start(cameTo);
  }

  /** Ends the process. Returns: how it came to its end. */
  async #end(end: End): Promise<End> {
    const { disk, clock } = this.#process;
    let cameTo = end;
    if (end === "clean") {
      if (!this.#isHealing && this.#random.chance(0.1)) disk.dieAt(this.#random.below(30));
      try {
        await this.#stop();
      } catch (failure) {
        if (!(failure instanceof ProcessDied)) throw failure;
        cameTo = this.#random.pick(["kill", "power cut"]);
      }
    }
    // Killed before it could leave word of a failed sync: nobody can know, and the machine must go as well.
    const isUnknown = this.#disk.hasDropped && !this.#disk.exists(`${PATH}/.weir-disk-failed`);
    if (isUnknown) cameTo = "power cut";
    this.#trace(`end: ${cameTo}`);
    drainMicrotasks();
    disk.die();
    clock.die();
    const isLossy = cameTo === "power cut";
    for (const partition of this.#partitions) partition.closed({ isLossy });
    if (cameTo === "power cut") {
      this.#disk.crash();
      this.counts.powerCuts++;
    } else {
      this.#disk.kill();
      if (cameTo === "kill") this.counts.kills++;
    }
    this.#clock.dropTimers();
    this.#directory = null;
    if (this.#hasRot && this.#random.chance(0.1)) this.#rot();
    return cameTo;
  }

  /** Turns over a bit of a partition's records, at rest. */
  #rot(): void {
    const sound = this.#partitions.filter((one) => one.fate === "there" && !one.isRotten);
    if (this.#isHealing || sound.length < 2) return;
    const partition = this.#random.pick(sound);
    const files = this.#disk.files().filter((path) =>
      path.startsWith(`${PATH}/${partition.name}/`) && path.endsWith(".log") &&
      this.#disk.sizeOf(path) > 0
    );
    if (files.length === 0) return;
    const path = this.#random.pick(files);
    const bytes = this.#disk.bytesOf(path);
    const position = this.#random.below(bytes.length);
    // Base offset and leader epoch are not under the checksum: nobody can tell that they have changed.
    const field = position - batchStart(bytes, position);
    if (field < 8 || (field >= 12 && field < 16)) return;
    this.#trace(`bit turned over: byte ${position} of ${path}`);
    this.#disk.flipBit(path, position, this.#random.below(8));
    partition.isRotten = true;
    this.counts.rotten++;
  }

  async #stop(): Promise<void> {
    const { disk, clock } = this.#process;
    for (const partition of this.#partitions) partition.letGo();
    const directory = this.#directory!;
    if (this.#cleaner !== null) await this.#wait(this.#cleaner.stop());
    await this.#wait(directory.close());
    await this.#workers.close();
    await this.#wait(this.#workers.ended());
    assert.equal(disk.openHandles, 0, "a closed directory leaves no handle open");
    assert.equal(clock.pendingTimers, 0, "a closed directory leaves no timer");
    assert.equal(directory.buffers.lentBytes, 0, "a buffer was not given back");
    this.counts.cleanStops++;
    this.#leftMark = this.#disk.exists(`${PATH}/.kafka_cleanshutdown`);
    if (!this.#mayRefuse && this.#partitions.every((one) => one.isOnline)) {
      assert(this.#disk.exists(`${PATH}/.kafka_cleanshutdown`), "a clean stop leaves its mark");
      if (this.counts.rotten === 0) this.#checkIndexFiles();
    }
  }

  /** Starts until a start comes to its end. The power may be cut, or the process killed, in each. */
  async #start(lastEnd: End): Promise<void> {
    for (let broken = 0;; broken++) {
      if (broken >= MAX_BROKEN_STARTS || this.#random.chance(0.3)) this.#clearWeather();
      this.#trace(`start ${this.counts.starts}`);
      this.#newProcess();
      this.counts.starts++;
      const mayDie = !this.#isHealing && broken < MAX_BROKEN_STARTS && this.#random.chance(0.2);
      if (mayDie) this.#process.disk.dieAt(this.#random.below(60));
      try {
        await this.#open();
        this.#process.disk.dieAt(Infinity);
        if (lastEnd === "clean" && broken === 0) this.#checkCleanStart();
        return;
      } catch (failure) {
        const isExpected = failure instanceof ProcessDied ||
          ((failure instanceof DiskError || failure instanceof LogDirectoryError) &&
            this.#mayRefuse);
        if (!isExpected) throw failure;
      }
      this.counts.brokenStarts++;
      await this.#end(this.#random.pick(["kill", "power cut"]));
    }
  }

  #checkCleanStart(): void {
    assert.equal(this.#directory!.hadCleanShutdown, this.#leftMark);
  }

  async #open(): Promise<void> {
    const { disk, clock } = this.#process;
    const logger = new TracedLogger((line) => this.#logged(line));
    const workers = this.#workers = new SimWorkers({ disk, clock, logger });
    const directory = await this.#wait(LogDirectory.open({
      disk,
      clock,
      workers,
      random: this.#random.fork(`directory${this.counts.starts}`),
      logger,
      path: PATH,
      nodeId: 1,
      clusterId: "simulated",
      producerIdExpirationMs: Number.MAX_SAFE_INTEGER,
      checkpointMs: this.#random.pick([100, 1000, 5000]),
      flusher: { maxDirtyMs: this.#random.pick([50, 200, 1000]) },
      maxOpenFiles: this.#random.pick([1, 8, 512]),
      recoveryMaxBytes: this.#random.pick([0, 1000, 10_000, Infinity]),
      retentionCheckMs: this.#random.pick([50, 1000, 5000]),
      scrub: {
        maxBytesPerSecond: this.#random.pick([500, 100_000]),
        intervalMs: this.#random.pick([1000, 100_000]),
      },
    }));
    this.#directory = directory;
    this.#cleaner = this.#hasCleaner ? this.#startCleaner(directory, logger) : null;
    this.#checkFound(directory);
    for (const partition of [...this.#partitions]) {
      if (partition.fate === "deleting") await this.#finishDeleting(partition);
      if (partition.fate === "gone") continue;
      partition.opened(await this.#openLog(partition));
    }
  }

  #startCleaner(directory: LogDirectory, logger: Logger): Cleaner {
    const random = this.#random.fork(`cleaner${this.counts.starts}`);
    const settings = {
      isEnabled: true,
      backoffMs: random.pick([50, 1000]),
      dedupeBufferBytes: random.pick([20 * OFFSET_MAP_SLOT_BYTES, 64 * 1024]),
      loadFactor: 0.9,
      ioBufferBytes: random.pick([200, 64 * 1024]),
      maxBytesPerSecond: Infinity,
      reserveBytes: 0,
    };
    const cleaner = new Cleaner({
      clock: this.#process.clock,
      random,
      logger,
      workers: this.#workers,
      directories: () => [directory],
      settings: () => settings,
    });
    cleaner.start();
    return cleaner;
  }

  #openLog({ topicPartition, topicId, config }: SimPartition): Promise<Log> {
    return this.#wait(this.#directory!.createLog(topicPartition, topicId, config));
  }

  /** Partitions are where they must be, and nowhere else. */
  #checkFound(directory: LogDirectory): void {
    const found = new Map(directory.found().map((one) => [one.topicId, one.topicPartition]));
    for (const topicId of found.keys()) {
      assert(topicId === null || !this.#gone.has(topicId), "a deleted partition came back");
    }
    for (const { topicId, topicPartition, fate } of this.#partitions) {
      if (fate !== "there" || (found.has(null) && this.#mayRefuse)) continue;
      assert.deepEqual(found.get(topicId), topicPartition);
    }
  }

  // ── partitions ──────────────────────────────────────────────────────────────────────────────────

  #addPartition(): SimPartition | null {
    const random = this.#random;
    const topicPartition = { topic: random.pick(TOPICS), partition: random.below(2) };
    const isTaken = this.#partitions.some((one) =>
      one.topicPartition.topic === topicPartition.topic &&
      one.topicPartition.partition === topicPartition.partition
    );
    if (isTaken) return null;
    const config = this.#config();
    const isCompacted = config.cleanupPolicy.includes("compact");
    const partition = new SimPartition(this.#surroundings, this.counts, {
      topicPartition,
      topicId: randomUuid(random),
      config,
      clients: new LogClients(random, {
        keyCount: isCompacted ? 8 : random.pick([0, 8]),
        codecs: random.pick([[0], [0, 0, 0, 1, 4], [0, 2, 3]]),
        valueBytes: random.pick([[3, 20], [0, 3, 20, 20, 100, 700], [600, 2000]]),
      }),
      isFollower: random.chance(0.25),
    });
    this.#partitions.push(partition);
    return partition;
  }

  #config(): LogConfig {
    const random = this.#random;
    return {
      ...DEFAULT_LOG_CONFIG,
      segmentBytes: random.pick([1500, 4000, 20_000]),
      segmentMs: random.pick([DEFAULT_LOG_CONFIG.segmentMs, 50]),
      indexIntervalBytes: random.pick([1, 200, 4096]),
      segmentIndexBytes: random.pick([DEFAULT_LOG_CONFIG.segmentIndexBytes, 80]),
      messageTimestampAfterMaxMs: Number.MAX_SAFE_INTEGER,
      messageTimestampType: random.pick(["CreateTime", "CreateTime", "LogAppendTime"]),
      compressionType: random.pick(["producer", "producer", "producer", "gzip", "uncompressed"]),
      flushMessages: random.pick([DEFAULT_LOG_CONFIG.flushMessages, 1, 5]),
      cleanupPolicy: random.pick(
        [["delete"], ["delete"], ["compact"], ["compact", "delete"]] as const,
      ),
      retentionMs: random.pick([-1, -1, 500, 10_000]),
      retentionBytes: random.pick([-1, -1, 3000]),
      minCleanableDirtyRatio: random.pick([0, 0.3]),
      deleteRetentionMs: random.pick([0, 1000]),
      minCompactionLagMs: random.pick([0, 0, 500]),
      maxCompactionLagMs: random.pick([Number.MAX_SAFE_INTEGER, 300]),
      fileDeleteDelayMs: random.pick([0, 20, 2000]),
    };
  }

  #reconfigure(partition: SimPartition): void {
    const { cleanupPolicy } = partition.config;
    const isKept = this.#random.chance(0.7);
    const config = this.#config();
    partition.reconfigure(isKept ? { ...config, cleanupPolicy } : config);
  }

  async #create(): Promise<void> {
    const partition = this.#partitions.find((one) => one.fate === "creating") ??
      this.#addPartition();
    if (partition === null || this.#directory!.offlineReason !== null) return;
    try {
      partition.opened(await this.#openLog(partition));
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      assert(this.#mayRefuse, `refused in fair weather: ${failure.message}`);
    }
  }

  async #delete(partition: SimPartition): Promise<void> {
    if (this.#directory!.offlineReason !== null) return;
    partition.letGo();
    partition.fate = "deleting";
    try {
      await this.#wait(this.#directory!.deleteLog(partition.topicPartition));
      this.#forget(partition);
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      assert(this.#mayRefuse, `refused in fair weather: ${failure.message}`);
    } finally {
      partition.closed({ isLossy: false });
    }
  }

  #forget(partition: SimPartition): void {
    partition.fate = "gone";
    this.#gone.add(partition.topicId);
    this.#partitions.splice(this.#partitions.indexOf(partition), 1);
    this.counts.deletions++;
  }

  /** A start finds a partition whose deletion was cut short, or no trace of it. */
  async #finishDeleting(partition: SimPartition): Promise<void> {
    const { topicPartition, topicId } = partition;
    await this.#wait(this.#directory!.deleteUnopened(topicPartition, topicId));
    this.#forget(partition);
  }

  async #checkpoint(): Promise<void> {
    const isWritten = await this.#wait(this.#directory!.checkpoint());
    assert(isWritten || this.#mayRefuse, "checkpoints are not written in fair weather");
  }

  // ── the end ─────────────────────────────────────────────────────────────────────────────────────

  /** Nothing fails any more: everything must come back, and go on, within bounded time. */
  async #heal(): Promise<void> {
    this.#isHealing = true;
    this.#clearWeather();
    this.#process.disk.dieAt(Infinity);
    const needsStart = this.#mayBeOffline || this.#process.disk.isDead ||
      this.#partitions.some((one) => one.fate === "deleting" || !(one.isOnline || one.isRotten));
    if (needsStart) await this.#endAndStart("kill");
    await this.#pass(SETTLE_MS);
    this.#mayBeOffline = false;
    if (this.#partitions.length === 0) await this.#create();
    for (const partition of this.#partitions) {
      if (partition.isRotten && !partition.isOnline) continue;
      if (partition.log === null) {
        partition.opened(await this.#openLog(partition));
      }
      partition.verify();
      await partition.findByTime();
      for (let i = 0; i < 3; i++) partition.append();
      await partition.syncAll();
    }
    await this.#endAndStart("clean");
    for (const partition of this.#partitions) {
      partition.verify();
      await partition.findByTime();
      if (!partition.isOnline) continue;
      // What is deleted from now on would still wait for its removal at the end.
      partition.reconfigure({ ...partition.config, ...DELETES_NOTHING });
    }
    await this.#pass(SETTLE_MS);
    await this.#stop();
    const left = this.#disk.files().filter((path) =>
      /\.(deleted|cleaned|swap)$|-delete\/|\/[^/]+-\d\/.*\.tmp$/.test(path)
    );
    assert.deepEqual(left, [], "what was deleted is gone from the disk");
  }

  /** Each entry of each offset index points at a batch that it describes. */
  #checkIndexFiles(): void {
    const paths = this.#disk.files()
      .filter((path) => path.endsWith(".index") && !path.includes("-delete/"));
    for (const path of paths) {
      const base = Number(path.slice(path.lastIndexOf("/") + 1, -".index".length));
      const log = this.#disk.bytesOf(path.replace(/index$/, "log"));
      const view = new DataView(this.#disk.bytesOf(path).buffer);
      let before = -1;
      for (let at = 0; at < view.byteLength; at += 8) {
        const position = view.getInt32(at + 4);
        const header = readBatchHeader(log, position);
        const lastOffset = header.baseOffset + header.lastOffsetDelta;
        assert.equal(base + view.getInt32(at), lastOffset, `${path} at ${at}`);
        assert(position > before, `${path} goes back at ${at}`);
        before = position;
      }
    }
  }
}

/** Where the batch starts that holds the byte at `position`. */
function batchStart(bytes: Uint8Array, position: number): number {
  let start = 0;
  for (let at = 0; at <= position; at += batchSizeBytes(bytes, at)) start = at;
  return start;
}
