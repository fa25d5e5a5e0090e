/**
 * A random life of a log on a simulated disk, told to a simple model at the same time.
 *
 * The model is a list of batches as they were written, and how far the log has said they are synced.
 * Whatever happens (power cuts, kills, full disks, failing syncs), after each reopening:
 * everything that was synced is there, in order, byte for byte; offsets have no gaps; nothing is served
 * that was not written; indexes, epochs, producers and transactions agree with the batches.
 */

import assert from "node:assert/strict";
import { readBatchHeader } from "../../protocol/record_batch.ts";
import { buildBatch, readRecords } from "../../protocol/records.ts";
import { METADATA_TOPIC_ID, offset } from "../../protocol/types.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { DEFAULT_LOG_CONFIG, type Log, type LogConfig } from "../../storage/log.ts";
import { LogDirectory } from "../../storage/log_directory.ts";
import type { Disk } from "../../storage/platform.ts";
import { SimClock } from "../sim/sim_clock.ts";
import { SimDisk } from "../sim/sim_disk.ts";
import { SimLogger } from "../sim/sim_logger.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { SimWorkers } from "../sim/sim_workers.ts";

const TOPIC_PARTITION = { topic: "orders", partition: 0 };
const PATH = "/data";
const MAX_BYTES = 1 << 20;

interface ModelBatch {
  readonly baseOffset: number;
  readonly lastOffset: number;
  /** As it stands in the log. */
  readonly bytes: Uint8Array;
  /** As the client sent it, to be sent again. */
  readonly sent: Uint8Array;
  readonly epoch: number;
}

interface ModelProducer {
  readonly id: number;
  epoch: number;
  nextSequence: number;
  transactionFirst: number;
}

/** What one run has done, for the summary. */
export interface RunCounts {
  steps: number;
  appends: number;
  crashes: number;
  kills: number;
  cleanRestarts: number;
  cutRecords: number;
}

/** Wraps the disk, so that a test can plant a fault in what the store does with it. */
export type DiskWrapper = (disk: SimDisk) => Disk;

/** One seed. */
export class LogModelRun {
  readonly counts: RunCounts = {
    steps: 0,
    appends: 0,
    crashes: 0,
    kills: 0,
    cleanRestarts: 0,
    cutRecords: 0,
  };
  readonly #random: SimRandom;
  readonly #clock = new SimClock();
  readonly #disk: SimDisk;
  readonly #seen: Disk;
  readonly #logger = new SimLogger();
  readonly #config: LogConfig;
  #directory!: LogDirectory;
  #log!: Log;
  #batches: ModelBatch[] = [];
  #synced = 0;
  #isTruncating = false;
  #logStart = 0;
  #epoch = 0;
  #producers: ModelProducer[] = [];
  #nextProducerId = 1000;
  #held: { copy: Uint8Array; records: Uint8Array; result: { release(): void } }[] = [];

  constructor(seed: number, wrap: DiskWrapper = (disk) => disk) {
    this.#random = new SimRandom(seed);
    this.#disk = new SimDisk({ random: this.#random.fork("disk"), clock: this.#clock });
    this.#seen = wrap(this.#disk);
    this.#config = {
      ...DEFAULT_LOG_CONFIG,
      segmentBytes: this.#random.pick([1500, 4000, 20_000]),
      segmentMs: this.#random.pick([DEFAULT_LOG_CONFIG.segmentMs, 50]),
      indexIntervalBytes: this.#random.pick([1, 200, 4096]),
      segmentIndexBytes: this.#random.pick([DEFAULT_LOG_CONFIG.segmentIndexBytes, 80]),
      messageTimestampAfterMaxMs: Number.MAX_SAFE_INTEGER,
      fileDeleteDelayMs: 20,
    };
  }

  /** Lives through `stepCount` steps. Errors: an assertion where log and model part. */
  async run(stepCount: number): Promise<void> {
    await this.#open();
    for (let step = 0; step < stepCount; step++) {
      await this.#step();
      this.counts.steps++;
    }
    this.#letGo();
    await this.#restartClean();
    await this.#clock.run(this.#directory.close());
    assert.equal(this.#clock.pendingTimers, 0, "a closed directory leaves no timer");
  }

  get #end(): number {
    return this.#batches.at(-1)?.lastOffset === undefined
      ? this.#base
      : this.#batches.at(-1)!.lastOffset + 1;
  }
  /** Where the model's first batch starts, or would start. */
  #base = 0;

  async #step(): Promise<void> {
    const random = this.#random;
    const choice = random.below(100);
    if (choice < 45) this.#append();
    else if (choice < 52) this.#appendTransactional();
    else if (choice < 60) this.#log.sync();
    else if (choice < 70) await this.#clock.advance(random.below(30));
    else if (choice < 78) this.#readSome();
    else if (choice < 80) await this.#truncate();
    else if (choice < 82) await this.#deleteRecords();
    else if (choice < 84) this.#epoch++;
    else if (choice < 86) this.#findByTime();
    else if (choice < 88) await this.#fillDisk();
    else if (choice < 90) await this.#failSync();
    else if (choice < 91) await this.#restartClean();
    else if (choice < 93) await this.#kill();
    else if (choice < 95) await this.#clock.run(this.#directory.checkpoint());
    else if (choice < 98) await this.#crash();
    else this.#resend();
  }

  async #open(): Promise<void> {
    this.#directory = await this.#clock.run(LogDirectory.open({
      disk: this.#seen,
      clock: this.#clock,
      random: this.#random.fork(`directory${this.counts.steps}`),
      logger: this.#logger,
      workers: new SimWorkers({ disk: this.#seen, clock: this.#clock, logger: this.#logger }),
      path: PATH,
      nodeId: 1,
      clusterId: "model",
      producerIdExpirationMs: Number.MAX_SAFE_INTEGER,
      checkpointMs: 100,
      flusher: { maxDirtyMs: 200 },
    }));
    this.#log = await this.#clock.run(
      this.#directory.createLog(TOPIC_PARTITION, METADATA_TOPIC_ID, this.#config),
    );
    assert.equal(this.#log.offlineReason, null);
    this.#log.onSynced((syncedOffset) => {
      assert(
        syncedOffset >= this.#synced || this.#isTruncating,
        "the synced offset never goes back",
      );
      assert(syncedOffset <= this.#end);
      assert.equal(this.#log.syncedOffset, syncedOffset);
      this.#synced = syncedOffset;
    });
  }

  // ── what can happen ─────────────────────────────────────────────────────────────────────────────

  #record(): { key: Uint8Array; value: Uint8Array; timestamp: number } {
    const random = this.#random;
    const value = random.bytes(random.pick([0, 3, 20, 20, 100, 700]));
    // Whole sectors of zeros must not be taken for a lost write while nothing was lost.
    if (random.chance(0.1)) value.fill(0);
    const timestamp = this.#clock.wallMs() + random.between(-20, 20);
    return { key: random.bytes(random.below(6)), value, timestamp };
  }

  #producer(): ModelProducer {
    if (this.#producers.length < 4 || this.#random.chance(0.05)) {
      this.#producers.push({
        id: this.#nextProducerId++,
        epoch: 0,
        nextSequence: this.#random.pick([0, 0, 0x7fff_fffe]),
        transactionFirst: -1,
      });
    }
    return this.#random.pick(this.#producers);
  }

  #build(producer: ModelProducer | null, transactional: boolean): Uint8Array {
    const records = Array.from({ length: this.#random.between(1, 5) }, () => this.#record());
    return buildBatch({
      records,
      compression: this.#random.pick([0, 0, 0, 1, 4] as const),
      transactional,
      ...(producer === null ? {} : {
        producerId: producer.id,
        producerEpoch: producer.epoch,
        baseSequence: producer.nextSequence,
      }),
    });
  }

  #append(): void {
    const producer = this.#random.chance(0.5) ? this.#producer() : null;
    if (producer !== null && producer.transactionFirst >= 0) return;
    const sent = this.#build(producer, false);
    if (this.#give(sent) && producer !== null) this.#advance(producer, sent);
  }

  #advance(producer: ModelProducer, sent: Uint8Array): void {
    const next = producer.nextSequence + readBatchHeader(sent, 0).recordCount;
    producer.nextSequence = next > 0x7fff_ffff ? next - 0x8000_0000 : next;
  }

  /** Appends, and tells the model. Returns: true when it was written. */
  #give(sent: Uint8Array, origin: "client" | "coordinator" = "client"): boolean {
    const bytes = sent.slice();
    const result = this.#log.appendAsLeader(bytes, { leaderEpoch: this.#epoch, origin });
    if (result.error !== ErrorCode.NONE) {
      const isExpected = result.error === ErrorCode.KAFKA_STORAGE_ERROR ||
        (result.error === ErrorCode.RECORD_LIST_TOO_LARGE &&
          sent.length > this.#config.segmentBytes);
      assert(isExpected, JSON.stringify(result));
      return false;
    }
    assert("baseOffset" in result && !result.duplicate);
    assert.equal(result.baseOffset, this.#end);
    this.#batches.push({
      baseOffset: result.baseOffset,
      lastOffset: result.lastOffset,
      bytes: bytes.slice(),
      sent,
      epoch: this.#epoch,
    });
    this.counts.appends++;
    return true;
  }

  #appendTransactional(): void {
    const producer = this.#producer();
    if (producer.transactionFirst < 0 || this.#random.chance(0.6)) {
      const sent = this.#build(producer, true);
      const at = this.#end;
      if (!this.#give(sent)) return;
      this.#advance(producer, sent);
      if (producer.transactionFirst < 0) producer.transactionFirst = at;
      return;
    }
    const marker = new Uint8Array([0, 0, 0, this.#random.below(2)]);
    const sent = buildBatch({
      records: [{ key: marker, value: new Uint8Array(6), timestamp: this.#clock.wallMs() }],
      producerId: producer.id,
      producerEpoch: producer.epoch,
      transactional: true,
      control: true,
    });
    if (this.#give(sent, "coordinator")) producer.transactionFirst = -1;
  }

  /** A client did not get its answer and sends its last batch again. */
  #resend(): void {
    const producer = this.#producers.length === 0 ? null : this.#random.pick(this.#producers);
    const last = this.#batches.findLast(({ bytes }) => {
      const header = readBatchHeader(bytes, 0);
      return header.producerId === producer?.id && header.baseSequence >= 0;
    });
    if (producer === null || last === undefined) return;
    // The producers of deleted records may be forgotten.
    if (last.baseOffset < this.#log.logStartOffset) return;
    const result = this.#log.appendAsLeader(last.sent.slice(), {
      leaderEpoch: this.#epoch,
      origin: "client",
    });
    if (result.error === ErrorCode.KAFKA_STORAGE_ERROR) return;
    assert("duplicate" in result, JSON.stringify(result));
    assert.equal(result.duplicate, true);
    assert.equal(result.baseOffset, last.baseOffset);
    assert.equal(result.lastOffset, last.lastOffset);
    const gap = buildBatch({
      records: [this.#record()],
      producerId: producer.id,
      producerEpoch: producer.epoch,
      baseSequence: (producer.nextSequence + 7) % 0x7fff_0000,
      transactional: producer.transactionFirst >= 0,
    });
    const refused = this.#log.appendAsLeader(gap, { leaderEpoch: this.#epoch, origin: "client" });
    assert.equal(refused.error, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER);
  }

  #readSome(): void {
    const from = this.#random.between(this.#log.logStartOffset, this.#end);
    const maxBytes = this.#random.pick([0, 1, 100, 1000, 10_000]);
    const result = this.#log.read(offset(from), {
      maxBytes,
      minOneMessage: this.#random.chance(0.8),
    });
    if (result.error !== ErrorCode.NONE) {
      assert.equal(result.error, ErrorCode.KAFKA_STORAGE_ERROR);
      return;
    }
    assert("records" in result);
    this.#compare(result.records, from);
    if (this.#random.chance(0.3)) {
      this.#held.push({ copy: result.records.slice(), records: result.records, result });
    } else {
      result.release();
      result.release();
    }
    if (this.#held.length > 5) this.#letGo();
  }

  /** Slow readers: what they hold stays as it was, whatever happened to the log meanwhile. */
  #letGo(): void {
    for (const { copy, records, result } of this.#held) {
      assert(Buffer.compare(copy, records) === 0, "bytes changed while they were held");
      result.release();
    }
    this.#held = [];
  }

  /** The bytes are the model's batches from the one that holds `from` on. Returns: the next offset. */
  #compare(records: Uint8Array, from: number): number {
    let index = this.#batches.findIndex(({ lastOffset }) => lastOffset >= from);
    let at = 0;
    let next = from;
    while (at < records.length) {
      const { bytes, lastOffset } = this.#batches[index++]!;
      const served = records.subarray(at, at + bytes.length);
      assert(Buffer.compare(served, bytes) === 0, `other bytes are served for offset ${next}`);
      at += bytes.length;
      next = lastOffset + 1;
    }
    return next;
  }

  async #truncate(): Promise<void> {
    const target = this.#random.between(this.#log.logStartOffset, this.#end);
    if (this.#log.offlineReason !== null) return;
    this.#isTruncating = true;
    const truncation = this.#log.truncateTo(offset(target));
    if (this.#random.chance(0.3)) {
      truncation.catch(() => {});
      await this.#clock.advance(this.#random.below(8));
      this.#isTruncating = false;
      this.#synced = Math.min(this.#synced, this.#boundary(target));
      return await this.#crash();
    }
    await this.#clock.run(truncation);
    this.#isTruncating = false;
    // What is cut is not promised any more.
    this.#synced = Math.min(this.#synced, this.#boundary(target));
    assert.equal(this.#log.endOffset, this.#boundary(target));
    this.#logStart = Math.min(this.#logStart, this.#log.endOffset);
    this.#cutModel(this.#log.endOffset);
    this.#verify();
  }

  /** The start of the batch that holds `target`. */
  #boundary(target: number): number {
    return this.#batches.find(({ lastOffset }) => lastOffset >= target)?.baseOffset ?? this.#end;
  }

  #cutModel(endOffset: number): void {
    assert(endOffset <= this.#end, "records appear that were not written");
    const kept = this.#batches.filter(({ lastOffset }) => lastOffset < endOffset);
    const end = kept.at(-1)?.lastOffset ?? this.#base - 1;
    assert.equal(end + 1, endOffset, "the log ends between batches");
    this.#batches = kept;
    this.#replayProducers();
  }

  /** What the model knows of its producers, from its batches alone. */
  #replayProducers(): void {
    for (const producer of this.#producers) {
      producer.transactionFirst = -1;
      let isKnown = false;
      for (const { bytes, baseOffset } of this.#batches) {
        const header = readBatchHeader(bytes, 0);
        if (header.producerId !== producer.id) continue;
        if ((header.attributes & 0x20) !== 0) {
          producer.transactionFirst = -1;
          continue;
        }
        isKnown = true;
        producer.nextSequence = header.baseSequence;
        this.#advance(producer, bytes);
        if ((header.attributes & 0x10) !== 0 && producer.transactionFirst < 0) {
          producer.transactionFirst = baseOffset;
        }
      }
      if (!isKnown) producer.nextSequence = 0;
    }
    // One whose records are all gone starts anew under another id, as a client would.
    const alive = new Set(this.#batches.map(({ bytes }) => readBatchHeader(bytes, 0).producerId));
    this.#producers = this.#producers.filter(({ id }) => alive.has(id));
  }

  async #deleteRecords(): Promise<void> {
    const upTo = this.#random.between(this.#log.logStartOffset, this.#synced);
    const oldest = Math.min(
      this.#end,
      ...this.#producers.map((one) => one.transactionFirst).filter((at) => at >= 0),
    );
    if (upTo > oldest || upTo < this.#log.logStartOffset) return;
    if (this.#log.deleteRecordsBefore(offset(upTo)).error !== ErrorCode.NONE) return;
    assert.equal(this.#log.logStartOffset, upTo);
    this.#logStart = upTo;
    if (this.#random.chance(0.5)) await this.#clock.run(this.#directory.checkpoint());
  }

  #findByTime(): void {
    const timestampMs = this.#clock.wallMs() + this.#random.between(-60, 30);
    if (this.#log.offlineReason !== null) return;
    const all = this.#records(this.#log.logStartOffset);
    const expected = all.find((record) => record.timestamp >= timestampMs);
    const found = this.#log.offsetForTimestamp(timestampMs);
    assert.equal(found?.offset, expected?.offset, `offset for timestamp ${timestampMs}`);
    const newest = Math.max(-1, ...this.#records(this.#base).map(({ timestamp }) => timestamp));
    const max = this.#log.maxTimestampOffset();
    if (max !== null && max.offset >= this.#log.logStartOffset) assert(max.timestampMs <= newest);
  }

  #records(from: number): { offset: number; timestamp: number }[] {
    return this.#batches.flatMap(({ bytes }) =>
      readRecords(bytes, 0, { maxDecompressedBytes: MAX_BYTES })
    )
      .filter((record) => record.offset >= from);
  }

  async #fillDisk(): Promise<void> {
    this.#disk.capacityBytes = 0;
    this.#disk.capacityBytes = this.#used() + this.#random.below(600);
    for (let i = 0; i < 4; i++) this.#append();
    if (this.#random.chance(0.3)) return await this.#crash();
    if (this.#random.chance(0.5)) await this.#clock.advance(this.#random.below(30));
    this.#disk.capacityBytes = Infinity;
    if (this.#random.chance(0.5)) {
      for (let i = 0; i < 3; i++) this.#append();
      return await this.#crash();
    }
    await this.#clock.advance(50);
    if (this.#log.offlineReason !== null) await this.#crash();
  }

  #used(): number {
    let sum = 0;
    for (const path of this.#disk.files()) sum += this.#disk.bytesOf(path).length;
    return sum;
  }

  async #failSync(): Promise<void> {
    this.#disk.faults = { sync: () => this.#random.chance(0.5) ? "EIO" : null };
    this.#append();
    this.#log.sync();
    await this.#clock.advance(20);
    this.#disk.faults = {};
    if (this.#log.offlineReason !== null) {
      const refused = this.#log.appendAsLeader(this.#build(null, false), {
        leaderEpoch: this.#epoch,
        origin: "client",
      });
      assert.equal(refused.error, ErrorCode.KAFKA_STORAGE_ERROR);
    }
    await this.#crash();
  }

  async #restartClean(): Promise<void> {
    await this.#clock.run(this.#directory.close());
    this.#checkIndexFiles();
    await this.#open();
    this.counts.cleanRestarts++;
    assert.equal(this.#directory.hadCleanShutdown, true);
    assert.equal(this.#log.endOffset, this.#end, "a clean stop keeps everything");
    assert.equal(this.#log.logStartOffset, Math.max(this.#logStart, 0));
    this.#synced = this.#end;
    this.#verify();
  }

  async #kill(): Promise<void> {
    this.#disk.kill();
    this.#clock.dropTimers();
    this.counts.kills++;
    await this.#reopen();
    assert.equal(this.#log.endOffset, this.#end, "a kill loses nothing that was written");
    this.#verify();
  }

  async #crash(): Promise<void> {
    this.#disk.crash();
    this.#clock.dropTimers();
    this.#disk.capacityBytes = Infinity;
    this.counts.crashes++;
    await this.#reopen();
    const { endOffset } = this.#log;
    assert(endOffset >= this.#synced, `synced up to ${this.#synced}, found up to ${endOffset}`);
    this.counts.cutRecords += this.#end - endOffset;
    this.#cutModel(endOffset);
    this.#verify();
  }

  async #reopen(): Promise<void> {
    await this.#open();
    assert(this.#log.logStartOffset <= this.#logStart, "records are gone that were not deleted");
    this.#logStart = this.#log.logStartOffset;
    assert.equal(this.#log.syncedOffset, this.#log.endOffset);
  }

  // ── what must hold ──────────────────────────────────────────────────────────────────────────────

  #verify(): void {
    const log = this.#log;
    let next: number = log.logStartOffset;
    while (next < log.endOffset) {
      const result = log.read(offset(next), { maxBytes: 3000, minOneMessage: true });
      assert("records" in result && result.records.length > 0, `offset ${next} cannot be read`);
      next = this.#compare(result.records, next);
      result.release();
    }
    assert.equal(next, log.endOffset);
    for (
      let at: number = log.logStartOffset;
      at < log.endOffset;
      at += this.#random.between(1, 9)
    ) {
      const result = log.read(offset(at), { maxBytes: 1, minOneMessage: true });
      assert("records" in result);
      assert(this.#compare(result.records, at) > at, `offset ${at} is not found`);
      result.release();
    }
    for (const { baseOffset, epoch } of this.#batches) {
      if (baseOffset < log.logStartOffset) continue;
      assert.equal(log.leaderEpochs.epochForOffset(baseOffset), epoch, `epoch of ${baseOffset}`);
    }
    this.#verifyTransactions();
    this.#resend();
    this.#findByTime();
  }

  #verifyTransactions(): void {
    const log = this.#log;
    const open = new Map<number, number>();
    const aborted: string[] = [];
    for (const { bytes, baseOffset } of this.#batches) {
      const header = readBatchHeader(bytes, 0);
      if ((header.attributes & 0x20) !== 0) {
        const first = open.get(header.producerId);
        open.delete(header.producerId);
        const [marker] = readRecords(bytes, 0, { maxDecompressedBytes: MAX_BYTES });
        const isAbort = marker!.key![3] === 0;
        if (isAbort && first !== undefined && baseOffset >= log.logStartOffset) {
          aborted.push(`${header.producerId}:${first}-${baseOffset}`);
        }
      } else if ((header.attributes & 0x10) !== 0 && !open.has(header.producerId)) {
        open.set(header.producerId, baseOffset);
      }
    }
    const found = log.abortedTransactions(log.logStartOffset, log.endOffset)
      .map((one) => `${one.producerId}:${one.firstOffset}-${one.lastOffset}`);
    assert.deepEqual(found, aborted, "aborted transactions");
    const stable = Math.min(log.endOffset, ...open.values());
    assert.equal(log.lastStableOffset(log.endOffset), stable, "last stable offset");
  }

  /** Each entry of each index points at a batch that it describes. */
  #checkIndexFiles(): void {
    for (const path of this.#disk.files().filter((name) => name.endsWith(".index"))) {
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
