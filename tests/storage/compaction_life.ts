/**
 * A random life of a compacted log on a simulated disk, told to the slow model at the same time.
 *
 * Producers of every kind write under few keys with every codec; segments are tiny, and so is the map, so
 * that a cleaning takes many passes. Power cuts, kills, truncations and deletions come at any moment of a
 * cleaning. After each step that could matter: each group of segments holds what the model says, or, where
 * the cleaning was cut short, what it held before; the last value of each key is the same as it was; a
 * consumer with read_committed sees what was committed; the producers' sequences go on.
 */

import assert from "node:assert/strict";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  batches,
  compressionOf,
  hasDeleteHorizon,
  isControl,
  isCrcValid,
  isTransactional,
  readBatchHeader,
} from "../../protocol/record_batch.ts";
import { buildBatch, type NewRecord, readRecords } from "../../protocol/records.ts";
import { METADATA_TOPIC_ID, offset } from "../../protocol/types.ts";
import { cleanableRange, groupSegments } from "../../storage/cleanable.ts";
import { Cleaner, type CleanerSettings } from "../../storage/cleaner.ts";
import { DEFAULT_LOG_CONFIG, type Log, type LogConfig } from "../../storage/log.ts";
import { LogDirectory } from "../../storage/log_directory.ts";
import { OFFSET_MAP_SLOT_BYTES } from "../../storage/offset_map.ts";
import type { Disk } from "../../storage/platform.ts";
import { ProducerTable } from "../../storage/producer_table.ts";
import { SimClock } from "../sim/sim_clock.ts";
import { ProcessDisk } from "../sim/process_disk.ts";
import { SimDisk } from "../sim/sim_disk.ts";
import { SimLogger } from "../sim/sim_logger.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { SimWorkers } from "../sim/sim_workers.ts";
import {
  assertSameBatches,
  committedRecords,
  compactGroup,
  finalValues,
  mapKeys,
  type ModelBatch,
  type ModelRecord,
} from "./compaction_model.ts";

const TOPIC_PARTITION = { topic: "table", partition: 0 };
const DIRECTORY = "/data/table-0";
const MAX_BYTES = 1 << 20;

interface LifeProducer {
  readonly id: number;
  epoch: number;
  nextSequence: number;
  isOpen: boolean;
  /** As it was sent, to be sent again. */
  last: { readonly sent: Uint8Array; readonly lastOffset: number } | null;
}

/** What a run has done, for the summary. */
export interface LifeCounts {
  cleanings: number;
  cutShort: number;
  passes: number;
  dropped: number;
  emptied: number;
  horizons: number;
  crashes: number;
}

interface Expected {
  /** Groups of segments, and what each holds before and after. */
  readonly groups: readonly {
    readonly start: number;
    readonly end: number;
    readonly before: readonly ModelBatch[];
    readonly after: readonly ModelBatch[];
  }[];
  readonly endOffset: number;
}

/** One seed. */
export class CompactionLife {
  readonly counts: LifeCounts = {
    cleanings: 0,
    cutShort: 0,
    passes: 0,
    dropped: 0,
    emptied: 0,
    horizons: 0,
    crashes: 0,
  };
  readonly #random: SimRandom;
  readonly #clock = new SimClock();
  readonly #disk: SimDisk;
  readonly #wrapped: Disk;
  /** The disk as the present process sees it. */
  #process!: ProcessDisk;
  readonly #logger = new SimLogger();
  readonly #config: LogConfig;
  readonly #settings: CleanerSettings;
  readonly #expirationMs: number;
  #table!: ProducerTable;
  #directory!: LogDirectory;
  #log!: Log;
  #cleaner!: Cleaner;
  #batches: ModelBatch[] = [];
  /** Of segments that are removed. */
  #gone: ModelBatch[] = [];
  #producers: LifeProducer[] = [];
  #nextProducerId = 1;
  #epoch = 0;
  #nextValue = 0;
  #opens = 0;

  constructor(seed: number, wrap: (disk: SimDisk) => Disk = (disk) => disk) {
    const random = new SimRandom(seed);
    this.#random = random;
    this.#disk = new SimDisk({ random: random.fork("disk"), clock: this.#clock });
    this.#wrapped = wrap(this.#disk);
    this.#config = {
      ...DEFAULT_LOG_CONFIG,
      cleanupPolicy: ["compact"],
      segmentBytes: random.pick([600, 1500, 4000]),
      indexIntervalBytes: random.pick([1, 200, 4096]),
      deleteRetentionMs: random.pick([0, 200, 5000]),
      minCleanableDirtyRatio: 0,
      messageTimestampAfterMaxMs: Number.MAX_SAFE_INTEGER,
      fileDeleteDelayMs: 50,
    };
    this.#expirationMs = random.pick([Number.MAX_SAFE_INTEGER, 1000]);
    this.#settings = {
      isEnabled: true,
      backoffMs: 1000,
      dedupeBufferBytes: random.pick([3, 8, 1000]) * OFFSET_MAP_SLOT_BYTES,
      loadFactor: 0.9,
      ioBufferBytes: random.pick([8192, 65_536]),
      maxBytesPerSecond: Infinity,
      reserveBytes: 0,
    };
  }

  /** Lives through `stepCount` steps. Errors: an assertion where log and model part. */
  async run(stepCount: number): Promise<void> {
    await this.#open();
    for (let step = 0; step < stepCount; step++) await this.#step();
    await this.#restart("clean");
    await this.#clean();
    await this.#clock.run(this.#directory.close());
    assert.equal(this.#clock.pendingTimers, 0, "a closed directory leaves no timer");
  }

  async #step(): Promise<void> {
    const choice = this.#random.below(100);
    if (choice < 45) this.#append();
    else if (choice < 60) this.#appendTransactional();
    else if (choice < 64) this.#log.roll();
    else if (choice < 70) await this.#clock.advance(this.#random.pick([1, 50, 300]));
    else if (choice < 80) await this.#clean();
    else if (choice < 88) await this.#cutShort();
    else if (choice < 91) await this.#restart(this.#random.pick(["clean", "kill", "crash"]));
    else if (choice < 93) await this.#deleteRecords();
    else if (choice < 94) this.#epoch++;
    else if (choice < 97) this.#resend();
    else if (choice < 98) await this.#forgetProducers();
    else await this.#commitAll();
  }

  async #open(): Promise<void> {
    this.#process?.die();
    this.#table = new ProducerTable();
    this.#process = new ProcessDisk(this.#wrapped);
    const disk = this.#process;
    const workers = new SimWorkers({ disk, clock: this.#clock, logger: this.#logger });
    const random = this.#random.fork(`open${this.#opens++}`);
    this.#directory = await this.#clock.run(LogDirectory.open({
      disk,
      clock: this.#clock,
      random,
      logger: this.#logger,
      workers,
      path: "/data",
      nodeId: 1,
      clusterId: "life",
      producerIdExpirationMs: this.#expirationMs,
      producerTable: this.#table,
      checkpointMs: 100,
      flusher: { maxDirtyMs: 200 },
    }));
    this.#log = await this.#clock.run(
      this.#directory.createLog(TOPIC_PARTITION, METADATA_TOPIC_ID, this.#config),
    );
    assert.equal(this.#log.offlineReason, null);
    this.#log.updateHighWatermark(this.#log.endOffset);
    this.#cleaner = new Cleaner({
      clock: this.#clock,
      random,
      logger: this.#logger,
      workers,
      directories: () => [this.#directory],
      settings: () => this.#settings,
    });
  }

  // ── what can happen ─────────────────────────────────────────────────────────────────────────────

  #records(): NewRecord[] {
    const random = this.#random;
    return Array.from({ length: random.between(1, 4) }, () => {
      const hasKey = !random.chance(0.03);
      return {
        key: hasKey ? Buffer.from(`key-${random.below(12)}`) : null,
        value: random.chance(0.25)
          ? null
          : Buffer.from(`${this.#nextValue++}-${"x".repeat(random.pick([0, 5, 60]))}`),
        timestamp: this.#clock.wallMs() + random.between(-50, 50),
        ...(random.chance(0.2) && { headers: [{ key: "h", value: random.bytes(3) }] }),
      };
    });
  }

  #producer(): LifeProducer {
    this.#dropForgotten();
    if (this.#producers.length < 3 || this.#random.chance(0.1)) {
      const id = this.#nextProducerId++;
      this.#producers.push({ id, epoch: 0, nextSequence: 0, isOpen: false, last: null });
    }
    return this.#random.pick(this.#producers);
  }

  #append(): void {
    const producer = this.#random.chance(0.5) ? this.#producer() : null;
    if (producer === null) this.#give(this.#records(), null, false);
    else if (!producer.isOpen) this.#give(this.#records(), producer, false);
  }

  #appendTransactional(): void {
    const producer = this.#producer();
    if (!producer.isOpen || this.#random.chance(0.5)) {
      this.#give(this.#records(), producer, true);
      producer.isOpen = true;
    } else this.#endTransaction(producer);
  }

  #endTransaction(producer: LifeProducer): void {
    const key = new Uint8Array([0, 0, 0, this.#random.below(2)]);
    const sent = buildBatch({
      records: [{ key, value: new Uint8Array(6), timestamp: this.#clock.wallMs() }],
      producerId: producer.id,
      producerEpoch: producer.epoch,
      transactional: true,
      control: true,
    });
    this.#write(sent, "coordinator");
    producer.isOpen = false;
  }

  #give(records: NewRecord[], producer: LifeProducer | null, transactional: boolean): void {
    const sent = buildBatch({
      records,
      compression: this.#random.pick([0, 0, 1, 2, 3, 4] as const),
      transactional,
      ...(producer !== null && {
        producerId: producer.id,
        producerEpoch: producer.epoch,
        baseSequence: producer.nextSequence,
      }),
    });
    // A log that was not compacted before may hold records without a key.
    const isChecked = records.every(({ key }) => key !== null);
    const lastOffset = this.#write(sent.slice(), isChecked ? "client" : "replication");
    if (producer === null) return;
    producer.nextSequence += records.length;
    producer.last = { sent, lastOffset };
  }

  #write(bytes: Uint8Array, origin: "client" | "coordinator" | "replication"): number {
    const result = this.#log.appendAsLeader(bytes, { leaderEpoch: this.#epoch, origin });
    assert(result.error === ErrorCode.NONE && "baseOffset" in result, JSON.stringify(result));
    this.#batches.push(decode(bytes, 0));
    return result.lastOffset;
  }

  /** A client whose answer got lost sends again: its sequence must not be forgotten with its records. */
  #resend(): void {
    const isForgetful = this.#expirationMs < Number.MAX_SAFE_INTEGER;
    for (const producer of this.#producers) {
      const { last } = producer;
      // One whose records are deleted may be forgotten with them.
      if (last === null || last.lastOffset < this.#log.logStartOffset) continue;
      if (isForgetful && !this.#isKnown(producer)) continue;
      const { sent, lastOffset } = last;
      const origin = "client";
      const again = this.#log.appendAsLeader(sent.slice(), { leaderEpoch: this.#epoch, origin });
      // One with a record that has no key is refused before anybody asks for its sequence.
      if (again.error === ErrorCode.INVALID_RECORD) continue;
      assert("duplicate" in again, JSON.stringify(again));
      assert(again.duplicate, "a sequence was forgotten");
      assert.equal(again.lastOffset, lastOffset);
    }
  }

  /** Producers that were silent for too long are forgotten: nothing of them needs to stay. */
  async #forgetProducers(): Promise<void> {
    await this.#clock.advance(200);
    const nowMs = this.#clock.wallMs();
    this.#table.removeExpired(0, { nowMs, expirationMs: this.#expirationMs });
    this.#dropForgotten();
  }

  /** Who is not known any more begins anew under another id. */
  #dropForgotten(): void {
    this.#producers = this.#producers.filter((one) => one.last === null || this.#isKnown(one));
  }

  /** One that was forgotten once may come back after a restart, by an older batch or a marker. */
  #isKnown({ id, last }: LifeProducer): boolean {
    const { producerIds, lastOffsets } = this.#log.lastBatches();
    return lastOffsets[producerIds.indexOf(id)] === last?.lastOffset;
  }

  async #commitAll(): Promise<void> {
    await this.#clock.run(this.#log.whenSynced(this.#log.endOffset));
    this.#log.updateHighWatermark(this.#log.endOffset);
  }

  async #deleteRecords(): Promise<void> {
    await this.#commitAll();
    const upTo = this.#random.between(this.#log.logStartOffset, this.#log.stableOffset);
    const { error } = this.#log.deleteRecordsBefore(offset(upTo));
    assert.equal(error, ErrorCode.NONE);
    await this.#clock.run(this.#directory.checkpoint());
    this.#dropGone();
  }

  /** A power cut may bring segments back whose removal was not stable yet. */
  #dropGone(): void {
    const first = this.#log.segments[0]!.baseOffset;
    const all = [...this.#gone, ...this.#batches];
    this.#gone = all.filter(({ lastOffset }) => lastOffset < first);
    this.#batches = all.filter(({ lastOffset }) => lastOffset >= first);
  }

  async #restart(how: "clean" | "kill" | "crash"): Promise<void> {
    if (how === "clean") await this.#clock.run(this.#directory.close());
    else if (how === "kill") this.#disk.kill();
    else {
      await this.#commitAll();
      this.#disk.crash();
      this.counts.crashes++;
    }
    if (how !== "clean") this.#clock.dropTimers();
    if (how !== "clean" && this.#random.chance(0.5)) this.#loseSnapshots();
    await this.#open();
    this.#dropGone();
    await this.#verify();
  }

  /** The producers must come back from the batches alone. */
  #loseSnapshots(): void {
    if (this.#log.segments[0]!.baseOffset > 0) return;
    for (const path of this.#disk.files()) if (path.endsWith(".snapshot")) this.#disk.remove(path);
  }

  // ── cleaning ────────────────────────────────────────────────────────────────────────────────────

  /** What the model makes of the next cleaning; null when there is nothing to clean. */
  #expect(): Expected | null {
    const log = this.#log;
    const range = cleanableRange(log, log.config, this.#clock.wallMs());
    if (range.dirtyRatio <= 0) return null;
    const slots = Math.min(
      Math.max(2, this.#settings.dedupeBufferBytes / OFFSET_MAP_SLOT_BYTES),
      Math.ceil((range.firstUncleanableOffset - range.firstDirtyOffset) / 0.9) + 2,
    );
    const { producerIds, producerEpochs, lastOffsets } = log.lastBatches();
    const producers = new Map(
      [...producerIds].map((id, index) =>
        [id, { lastDataOffset: lastOffsets[index]!, epoch: producerEpochs[index]! }] as const
      ),
    );
    const cleaning = {
      ...range,
      capacity: Math.min(Math.max(1, Math.floor(slots * 0.9)), slots - 1),
      nowMs: this.#clock.wallMs(),
      deleteRetentionMs: log.config.deleteRetentionMs,
      producers,
    };
    const map = mapKeys(this.#batches, cleaning);
    const sources = log.segments.slice(0, -1)
      .map(({ baseOffset, sizeBytes }, index) => ({
        baseOffset,
        sizeBytes,
        endOffset: log.segments[index + 1]!.baseOffset,
      }))
      .filter(({ baseOffset }) => baseOffset < map.endOffset);
    const groups = groupSegments(sources, log.config).map((group) => {
      const start = group[0]!.baseOffset;
      const end = group.at(-1)!.endOffset;
      const before = this.#batches.filter((one) => one.baseOffset >= start && one.baseOffset < end);
      return {
        start,
        end,
        before,
        after: compactGroup(this.#batches, cleaning, map, [start, end]),
      };
    });
    return { groups, endOffset: map.endOffset };
  }

  /** Makes something to clean: open transactions and the active segment are not. */
  async #makeCleanable(): Promise<void> {
    for (const producer of this.#producers) {
      if (producer.isOpen && this.#random.chance(0.8)) this.#endTransaction(producer);
    }
    if (this.#random.chance(0.8)) this.#log.roll();
    await this.#commitAll();
    // Segments before the log start offset may have had to wait for this sync.
    this.#dropGone();
  }

  async #clean(): Promise<void> {
    await this.#makeCleanable();
    const expected = this.#expect();
    const values = this.#finalValues();
    const hasCleaned = await this.#clock.run(this.#cleaner.cleanDirtiest());
    assert.equal(hasCleaned, expected !== null, this.#complaint());
    if (expected === null) return;
    this.counts.cleanings++;
    if (expected.endOffset < this.#log.stableOffset) this.counts.passes++;
    for (const { start, end, after, before } of expected.groups) {
      this.#take(start, end, after, before);
    }
    assert.equal(this.#log.cleanedOffset, expected.endOffset, "how far it is clean");
    await this.#verify();
    assert.deepEqual(this.#finalValues(), values, "the final values");
  }

  /** What a reader of the whole log ends up with. */
  #finalValues(): Map<string, string> {
    const start = this.#log.logStartOffset;
    return finalValues(committedRecords(this.#batches).filter((one) => one.offset >= start));
  }

  #take(
    start: number,
    end: number,
    after: readonly ModelBatch[],
    before: readonly ModelBatch[],
  ): void {
    const count = (list: readonly ModelBatch[]) =>
      list.reduce((sum, { records }) => sum + records.length, 0);
    this.counts.dropped += count(before) - count(after);
    this.counts.emptied += after.filter(({ records }) => records.length === 0).length;
    this.counts.horizons += after.filter(({ horizon }) => horizon !== null).length;
    this.#batches = [
      ...this.#batches.filter((one) => one.baseOffset < start),
      ...after,
      ...this.#batches.filter((one) => one.baseOffset >= end),
    ];
  }

  #complaint(): string {
    return this.#logger.lines.filter(({ level }) => level === "error")
      .map(({ message, fields }) => `${message} ${JSON.stringify(fields)}`).join("\n");
  }

  /** Something comes in between: a power cut, a kill, a stop, a truncation. */
  async #cutShort(): Promise<void> {
    await this.#makeCleanable();
    const expected = this.#expect();
    const cleaning = this.#cleaner.cleanDirtiest();
    cleaning.catch(() => {});
    await this.#clock.advance(this.#random.below(40));
    if (this.#random.chance(0.5)) this.#give(this.#records().slice(0, 1), null, false);
    await this.#clock.advance(this.#random.below(10));
    const how = this.#random.pick(["crash", "kill", "stop", "truncate", "policy"]);
    this.counts.cutShort++;
    if (how === "truncate") await this.#truncate(cleaning);
    else if (how === "policy") await this.#changePolicy(cleaning);
    else {
      if (how === "crash") this.#disk.crash();
      else if (how === "kill") this.#disk.kill();
      else {
        const stopped = this.#cleaner.stop();
        await this.#clock.run(Promise.all([stopped, cleaning]));
        await this.#clock.run(this.#directory.close());
      }
      if (how !== "stop") this.#clock.dropTimers();
      await this.#open();
    }
    this.#cutTail();
    this.#adopt(expected);
    this.#dropGone();
    await this.#verify();
  }

  async #truncate(cleaning: Promise<boolean>): Promise<void> {
    const open = this.#batches.filter(({ isTransactional: is }) => is).at(-1)?.lastOffset ?? -1;
    const idempotent = this.#batches.filter(({ producerId }) => producerId >= 0).at(-1)
      ?.lastOffset ?? -1;
    const least = Math.max(this.#log.logStartOffset, open + 1, idempotent + 1);
    if (least < this.#log.endOffset) {
      const target = this.#random.between(least, this.#log.endOffset);
      await this.#clock.run(this.#log.truncateTo(offset(target)));
    }
    await this.#clock.run(cleaning);
  }

  async #changePolicy(cleaning: Promise<boolean>): Promise<void> {
    this.#log.updateConfig({ ...this.#config, cleanupPolicy: ["delete"], retentionMs: -1 });
    await this.#clock.run(cleaning);
    assert.equal(await this.#clock.run(this.#cleaner.cleanDirtiest()), false);
    this.#log.updateConfig(this.#config);
  }

  /** What was not synced may be lost. */
  #cutTail(): void {
    const { endOffset } = this.#log;
    this.#batches = this.#batches.filter(({ lastOffset }) => lastOffset < endOffset);
    this.#log.updateHighWatermark(endOffset);
  }

  /** Each group is as it was or as it should be, the latter first. */
  #adopt(expected: Expected | null): void {
    if (expected === null) return;
    const found = this.#onDisk();
    const { endOffset } = this.#log;
    const first = this.#log.segments[0]!.baseOffset;
    let mayBeNew = true;
    for (const { start, end, before, after } of expected.groups) {
      const left = (list: readonly ModelBatch[]) =>
        list.filter(({ lastOffset }) => lastOffset >= first && lastOffset < endOffset);
      const now = found.filter((one) => one.baseOffset >= start && one.baseOffset < end);
      const isNew = JSON.stringify(now) === JSON.stringify(left(after));
      if (!isNew) assertSameBatches(now, left(before), `group ${start}–${end}, old or new`);
      const isSame = JSON.stringify(left(before)) === JSON.stringify(left(after));
      assert(mayBeNew || !isNew || isSame, "a later group is new, and an earlier one is not");
      if (isNew) this.#take(start, end, after, before);
      else mayBeNew = false;
    }
    this.#cutTail();
  }

  // ── what must hold ──────────────────────────────────────────────────────────────────────────────

  /** Everything in the segments' files, those before the log start offset too. */
  #onDisk(): ModelBatch[] {
    return this.#log.segments.flatMap(({ path }) => {
      const bytes = this.#disk.bytesOf(path);
      return [...batches(bytes)].map((at) => decode(bytes, at));
    });
  }

  #readAll(from: number): ModelBatch[] {
    const found: ModelBatch[] = [];
    let next = Math.max(from, this.#log.logStartOffset);
    while (next < this.#log.endOffset) {
      const maxBytes = this.#random.pick([1, 500, 5000]);
      const result = this.#log.read(offset(next), { maxBytes, minOneMessage: true });
      assert("records" in result && result.records.length > 0, `offset ${next} cannot be read`);
      for (const at of batches(result.records)) {
        assert(isCrcValid(result.records, at), `checksum at offset ${next}`);
        found.push(decode(result.records, at));
      }
      assert(result.nextOffset > next);
      next = result.nextOffset;
      result.release();
    }
    return found;
  }

  async #verify(): Promise<void> {
    const log = this.#log;
    const expected = this.#batches.filter(({ lastOffset }) => lastOffset >= log.logStartOffset);
    const found = this.#readAll(0);
    assertSameBatches(found, expected, "the log");
    this.#verifyCommitted(found);
    await this.#verifyPlaces();
    this.#resend();
    for (const { baseOffset, leaderEpoch } of expected) {
      if (baseOffset < log.logStartOffset) continue;
      assert.equal(log.leaderEpochs.epochForOffset(baseOffset), leaderEpoch);
    }
    const left = this.#disk.files().filter((path) =>
      path.startsWith(DIRECTORY) && path.endsWith(".swap")
    );
    assert.deepEqual(left, [], "files of a swap are left");
    const onDisk = log.segments.reduce(
      (sum, segment) => sum + this.#disk.bytesOf(segment.path).length,
      0,
    );
    assert.equal(log.sizeBytes, onDisk);
  }

  /** As a consumer with read_committed: it is told of aborted transactions and skips their batches. */
  #verifyCommitted(found: readonly ModelBatch[]): void {
    const log = this.#log;
    const upTo = log.lastStableOffset(log.endOffset);
    const coming = log.abortedTransactions(log.logStartOffset, upTo)
      .toSorted((a, b) => a.firstOffset - b.firstOffset);
    const aborted = new Set<number>();
    const seen: ModelRecord[] = [];
    for (const batch of found) {
      if (batch.lastOffset >= upTo) break;
      while (coming.length > 0 && coming[0]!.firstOffset <= batch.lastOffset) {
        aborted.add(coming.shift()!.producerId);
      }
      if (batch.marker !== null) {
        if (batch.marker === "abort") aborted.delete(batch.producerId);
      } else if (!batch.isTransactional || !aborted.has(batch.producerId)) {
        seen.push(...batch.records);
      }
    }
    const expected = committedRecords(this.#batches)
      .filter((record) => record.offset < upTo);
    const start = log.logStartOffset;
    const after = (records: readonly ModelRecord[]) => records.filter((one) => one.offset >= start);
    assert.deepEqual(after(seen), after(expected), "what is committed");
  }

  /** Offsets that are gone give the next batch; timestamps are found where the records are. */
  async #verifyPlaces(): Promise<void> {
    const log = this.#log;
    for (let i = 0; i < 5 && log.logStartOffset < log.endOffset; i++) {
      const at = this.#random.between(log.logStartOffset, log.endOffset - 1);
      const result = log.read(offset(at), { maxBytes: 1, minOneMessage: true });
      assert("records" in result && result.records.length > 0);
      const expected = this.#batches.find(({ lastOffset }) => lastOffset >= at);
      assert.equal(readBatchHeader(result.records, 0).baseOffset, expected?.baseOffset);
      result.release();
    }
    const records = this.#batches.flatMap((batch) => batch.records)
      .filter((record) => record.offset >= log.logStartOffset);
    const timestampMs = this.#clock.wallMs() + this.#random.between(-300, 50);
    const expected = records.find(({ timestamp }) => timestamp >= timestampMs);
    const found = await this.#clock.run(log.offsetForTimestamp(timestampMs));
    assert.equal(found?.offset, expected?.offset, "by timestamp");
    const max = await this.#clock.run(log.maxTimestampOffset());
    const largest = Math.max(-1, ...records.map(({ timestamp }) => timestamp));
    const first = records.find(({ timestamp }) => timestamp === largest);
    assert.equal(max?.offset, largest < 0 ? undefined : first?.offset, "the largest timestamp");
  }
}

/** The batch at `at` as the model has it. */
function decode(bytes: Uint8Array, at: number): ModelBatch {
  const header = readBatchHeader(bytes, at);
  const { attributes } = header;
  const records = readRecords(bytes, at, { maxDecompressedBytes: MAX_BYTES });
  const text = (field: Uint8Array | null) =>
    field === null ? null : Buffer.from(field).toString("latin1");
  return {
    baseOffset: header.baseOffset,
    lastOffset: header.baseOffset + header.lastOffsetDelta,
    producerId: header.producerId,
    producerEpoch: header.producerEpoch,
    baseSequence: header.baseSequence,
    leaderEpoch: header.partitionLeaderEpoch,
    isTransactional: isTransactional(attributes),
    marker: !isControl(attributes)
      ? null
      : records.length === 0
      ? "emptied"
      : records[0]!.key![3] === 0
      ? "abort"
      : "commit",
    codec: compressionOf(attributes),
    horizon: hasDeleteHorizon(attributes) ? header.baseTimestamp : null,
    maxTimestamp: header.maxTimestamp,
    records: records.map(({ offset: recordOffset, timestamp, key, value, headers }) => ({
      offset: recordOffset,
      timestamp,
      key: text(key),
      value: value === null
        ? null
        : text(value)! + headers.map((one) => `+${one.key}${text(one.value)}`).join(""),
    })),
  };
}
