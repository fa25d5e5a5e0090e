/**
 * One partition of a simulated store: the real log, its model, its clients and its readers.
 *
 * Each operation does the same to both and holds the answers against each other. A storage error is taken
 * where the weather allows it, and nowhere else.
 */

import assert from "node:assert/strict";
import { ErrorCode } from "../../protocol/errors.ts";
import { batchSizeBytes, patchAsLeader } from "../../protocol/record_batch.ts";
import { readRecords } from "../../protocol/records.ts";
import { offset, type TopicPartition, type Uuid } from "../../protocol/types.ts";
import type { AppendResult, Log, ReadRecords } from "../../storage/log.ts";
import type { LogConfig } from "../../storage/log_config.ts";
import { DiskError } from "../../storage/platform.ts";
import { LogClients } from "../storage/log_clients.ts";
import { LogModel, type ModelAborted, ModelBatch } from "../storage/log_model.ts";
import type { SimRandom } from "./sim_random.ts";

const MAX_HELD = 5;

/** What a partition asks of the world around it. */
export interface Surroundings {
  readonly random: SimRandom;
  wallMs(): number;
  sleep(delayMs: number): Promise<void>;
  /** True while the disk does nothing wrong. */
  isFair(): boolean;
  /** True where appends may be refused for reasons of the disk. */
  mayRefuse(): boolean;
  /** True while a cleaner is at work. */
  isCleaning(): boolean;
  /** True where logs may be offline. */
  mayBeOffline(): boolean;
  /** Lets virtual time pass until the promise settles; throws when the process dies meanwhile. */
  wait<T>(promise: Promise<T>): Promise<T>;
}

/** What happened to a partition, for summaries. */
export interface PartitionCounts {
  appends: number;
  refusals: number;
  reads: number;
  truncations: number;
  cutRecords: number;
  adopted: number;
}

interface HeldRead {
  readonly copy: Uint8Array;
  readonly result: ReadRecords;
}

/** A partition. */
export class SimPartition {
  readonly topicPartition: TopicPartition;
  readonly topicId: Uuid;
  readonly name: string;
  readonly model = new LogModel();
  readonly clients: LogClients;
  readonly isFollower: boolean;
  config: LogConfig;
  /** What was in force before, of which something may still be under way. */
  #configBefore: LogConfig;
  /** Null while it is not open. */
  log: Log | null = null;
  /** Bits of its files have been turned over: it may be offline, and serves what it still can. */
  isRotten = false;
  /** What must be true of it at the next start. */
  fate: "creating" | "there" | "deleting" | "gone" = "creating";
  readonly #world: Surroundings;
  readonly #counts: PartitionCounts;
  #epoch = 0;
  #held: HeldRead[] = [];
  /** A truncation stopped half way, which only the next start can complete. */
  #mayBeOffline = false;
  /** A deletion of records that failed half way, up to where. */
  #deletingUpTo = 0;
  /** The power was cut since it was last opened. */
  #isLossy = false;
  /** The highest high watermark while the log was cleaned. */
  #committedBelow = 0;
  /** A truncation under way: where it may leave the end, and the start. */
  #truncating: { readonly endAtLeast: number; readonly restartAt: number | null } | null = null;

  constructor(
    world: Surroundings,
    counts: PartitionCounts,
    options: {
      readonly topicPartition: TopicPartition;
      readonly topicId: Uuid;
      readonly config: LogConfig;
      readonly clients: LogClients;
      readonly isFollower: boolean;
    },
  ) {
    this.#world = world;
    this.#counts = counts;
    this.topicPartition = options.topicPartition;
    this.topicId = options.topicId;
    this.name = `${options.topicPartition.topic}-${options.topicPartition.partition}`;
    this.config = options.config;
    this.#configBefore = options.config;
    this.clients = options.clients;
    this.isFollower = options.isFollower;
  }

  get isOnline(): boolean {
    return this.log !== null && this.log.offlineReason === null;
  }

  get #random(): SimRandom {
    return this.#world.random;
  }

  /** True where it may answer with an error. That it may be offline is asked apart. */
  get #mayRefuse(): boolean {
    return this.#world.mayRefuse() || this.isRotten || !this.isOnline;
  }

  // ── starts ──────────────────────────────────────────────────────────────────────────────────────

  /** The process that had it open is gone, and what had not reached the disk perhaps with it. */
  closed({ isLossy }: { readonly isLossy: boolean }): void {
    this.log = null;
    this.#mayBeOffline = false;
    this.#isLossy ||= isLossy;
    for (const { copy, result } of this.#held) {
      assert(Buffer.compare(copy, result.records) === 0, "bytes changed while they were held");
    }
    this.#held = [];
  }

  /** A start has opened it, or it has been made. */
  opened(log: Log): void {
    const { model } = this;
    assert.equal(log.topicId, this.topicId);
    this.fate = "there";
    this.log = log;
    if (log.offlineReason !== null) {
      const mayBe = this.isRotten || this.#world.mayBeOffline();
      return assert(mayBe, `${this.name} is offline: ${log.offlineReason}`);
    }
    const isLossy = this.#isLossy || this.isRotten;
    this.#isLossy = false;
    this.#checkStart(log);
    if (this.#truncating !== null) this.#resume(log, this.#truncating);
    else {
      const keeps = this.isRotten ? 0 : isLossy ? model.synced : model.end;
      assert(
        log.endOffset >= keeps,
        `${this.name}: ${isLossy ? "synced" : "written"} up to ${keeps}, ` +
          `found up to ${log.endOffset}`,
      );
    }
    this.#truncating = null;
    const before = model.end;
    this.#counts.cutRecords += Math.max(0, before - log.endOffset);
    model.cutTo(log.endOffset);
    if (model.end > before) this.#counts.adopted++;
    model.synced = model.end;
    assert.equal(log.syncedOffset, log.endOffset);
    this.clients.learn(model);
    log.onSynced((syncedOffset) => this.#onSynced(log, syncedOffset));
    this.verify();
  }

  #checkStart(log: Log): void {
    const deletingUpTo = this.#deletingUpTo;
    this.#deletingUpTo = 0;
    if (this.#truncating?.restartAt != null) return;
    this.#noteRetention(log, deletingUpTo);
    const latest = Math.max(this.model.logStart, deletingUpTo);
    assert(log.logStartOffset <= latest, "records are gone that were not deleted");
    this.model.logStart = log.logStartOffset;
  }

  /** A truncation was cut short: its end is somewhere between what it was to leave and what there was. */
  #resume(
    log: Log,
    { endAtLeast, restartAt }: { readonly endAtLeast: number; readonly restartAt: number | null },
  ): void {
    const { model } = this;
    model.synced = Math.min(model.synced, endAtLeast);
    // Where the producers are known nothing was dropped: what is gone had not reached the disk.
    const isEmpty = log.endOffset === log.logStartOffset && [...log.producers()].length === 0;
    if (restartAt === null) assert(this.isRotten || log.endOffset >= model.synced);
    else if (isEmpty && (restartAt === log.endOffset || log.endOffset <= model.logStart)) {
      model.restartAt(log.endOffset);
    } else {
      model.logStart = log.logStartOffset;
      // The snapshots go first: an open transaction whose records are all deleted may be known no more.
      model.forgottenBefore = log.segments[0]!.baseOffset;
      model.noteCleaned();
    }
  }

  #onSynced(log: Log, syncedOffset: number): void {
    if (this.log !== log) return;
    const { model } = this;
    assert.equal(log.syncedOffset, syncedOffset);
    if (this.#truncating !== null) return;
    assert(syncedOffset <= model.end, `synced up to ${syncedOffset}, written up to ${model.end}`);
    assert(syncedOffset >= model.synced, "the synced offset never goes back");
    model.synced = syncedOffset;
    log.updateHighWatermark(offset(syncedOffset));
  }

  // ── what can happen ─────────────────────────────────────────────────────────────────────────────

  append(): void {
    if (this.isFollower) return this.#appendAsFollower();
    const next = this.clients.next(this.#world.wallMs());
    if (next === null) return;
    const batch = this.#give(next.sent, "client");
    if (batch !== null) this.clients.taken(batch, next.producer);
  }

  appendTransactional(): void {
    if (this.isFollower) return this.#appendAsFollower();
    const { sent, producer } = this.clients.nextTransactional(this.#world.wallMs());
    const isMarker = (sent[22]! & 0x20) !== 0;
    const batch = this.#give(sent, isMarker ? "coordinator" : "client");
    if (batch !== null) this.clients.taken(batch, producer);
  }

  nextEpoch(): void {
    this.#epoch++;
  }

  /** Appends, and tells the model. Returns: the batch, null when it was refused. */
  #give(sent: Uint8Array, origin: "client" | "coordinator"): ModelBatch | null {
    const log = this.log!;
    const { model } = this;
    const bytes = sent.slice();
    const result = log.appendAsLeader(bytes, { leaderEpoch: this.#epoch, origin });
    const isAsSent = this.config.compressionType === "producer" || origin === "coordinator";
    const isStamped = this.config.messageTimestampType === "LogAppendTime";
    const batch = new ModelBatch({
      baseOffset: model.end,
      epoch: this.#epoch,
      sent,
      bytes: isAsSent ? bytes : null,
      logAppendTimeMs: isStamped ? this.#world.wallMs() : -1,
    });
    if (!this.#isTaken(result, [batch], sent.length)) return null;
    assert("baseOffset" in result && !result.duplicate);
    assert.equal(result.baseOffset, batch.baseOffset);
    assert.equal(result.lastOffset, batch.lastOffset);
    assert.equal(result.logAppendTimeMs, batch.logAppendTimeMs);
    model.append(batch);
    assert.equal(log.endOffset, model.end);
    this.#counts.appends++;
    return batch;
  }

  #isTaken(result: AppendResult, batches: readonly ModelBatch[], byteCount: number): boolean {
    if (result.error === ErrorCode.NONE) return true;
    this.#counts.refusals++;
    if (result.error === ErrorCode.RECORD_LIST_TOO_LARGE) {
      const isAsSent = this.config.compressionType === "producer";
      assert(!isAsSent || byteCount > this.config.segmentBytes, JSON.stringify(result));
      return false;
    }
    // A bit that turned over in the epoch of a producer's first batch fences the producer; of a batch that is not
    // read any more the log does not know that the next one follows.
    const isForgotten = result.error === ErrorCode.INVALID_PRODUCER_EPOCH ||
      result.error === ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER;
    if (this.isRotten && isForgotten) return false;
    assert.equal(result.error, ErrorCode.KAFKA_STORAGE_ERROR, JSON.stringify(result));
    assert(this.#mayRefuse, `an append is refused in fair weather: ${result.message}`);
    this.model.uncertain.push(batches);
    return false;
  }

  /** What a leader has sent: batches with offsets and epochs of their own, the last perhaps in part. */
  #appendAsFollower(): void {
    const { clients, model } = this;
    const random = this.#random;
    const pieces: Uint8Array[] = [];
    const batches: ModelBatch[] = [];
    let baseOffset = model.end;
    for (let count = random.between(1, 3); count > 0; count--) {
      const isPlain = random.chance(0.7);
      const next = isPlain
        ? clients.next(this.#world.wallMs())
        : clients.nextTransactional(this.#world.wallMs());
      if (next === null) continue;
      // The leader's cleaner has taken records out.
      if (this.config.cleanupPolicy.includes("compact") && random.chance(0.1)) {
        baseOffset += random.between(1, 40);
      }
      const bytes = next.sent.slice();
      patchAsLeader(bytes, 0, { baseOffset, partitionLeaderEpoch: this.#epoch });
      const { sent, producer } = next;
      const batch = new ModelBatch({
        baseOffset,
        epoch: this.#epoch,
        sent,
        bytes,
        logAppendTimeMs: -1,
      });
      clients.taken(batch, producer);
      batches.push(batch);
      pieces.push(bytes);
      baseOffset = batch.lastOffset + 1;
    }
    if (batches.length === 0) return;
    const byteCount = pieces.reduce((sum, piece) => sum + piece.length, 0);
    if (random.chance(0.2)) pieces.push(pieces[0]!.subarray(0, random.below(pieces[0]!.length)));
    const result = this.log!.appendAsFollower(new Uint8Array(Buffer.concat(pieces)));
    if (!this.#isTaken(result, batches, byteCount)) {
      clients.learn(model);
      return;
    }
    for (const batch of batches) model.append(batch);
    assert.equal(this.log!.endOffset, model.end);
    this.#counts.appends += batches.length;
  }

  /** A client did not get its answer and sends its last batch again. */
  resend(): void {
    const again = this.isFollower || this.isRotten ? null : this.clients.again(this.model);
    if (again === null) return;
    const { batch, gap } = again;
    const append = (bytes: Uint8Array) =>
      this.log!.appendAsLeader(bytes, { leaderEpoch: this.#epoch, origin: "client" });
    const result = append(batch.sent.slice());
    if (result.error === ErrorCode.KAFKA_STORAGE_ERROR) return assert(this.#mayRefuse);
    assert("duplicate" in result, JSON.stringify(result));
    assert.equal(result.duplicate, true);
    assert.equal(result.baseOffset, batch.baseOffset);
    assert.equal(result.lastOffset, batch.lastOffset);
    const refused = append(gap);
    assert.equal(refused.error, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER);
  }

  readSome(): void {
    const log = this.log!;
    const { model } = this;
    const random = this.#random;
    this.#noteCompaction();
    const from = random.between(log.logStartOffset, model.end);
    const maxBytes = random.pick([0, 1, 100, 1000, 10_000]);
    const minOneMessage = random.chance(0.8);
    const upToOffset = random.chance(0.3) ? random.between(from, model.end) : model.end;
    const enoughBytes = random.pick([1, Infinity]);
    const options = { maxBytes, minOneMessage, upToOffset: offset(upToOffset), enoughBytes };
    const result = log.read(offset(from), options);
    if (result.error !== ErrorCode.NONE) return this.#checkFailedRead(result.error);
    assert("records" in result);
    this.#counts.reads++;
    const next = model.compare(result.records, from);
    assert.equal(result.nextOffset, next);
    assert(next <= Math.max(from, upToOffset), "records past what the reader may have");
    const first = model.batches[model.indexAt(from)];
    const isFirstAllowed = first !== undefined && first.lastOffset < upToOffset &&
      (minOneMessage || (first.sizeBytes ?? Infinity) <= maxBytes);
    const isKnown = from >= model.compactedBelow;
    if (isFirstAllowed && isKnown) assert(next > from, `nothing is served at ${from}`);
    if (random.chance(0.3)) this.#held.push({ copy: result.records.slice(), result });
    else {
      result.release();
      result.release();
    }
    if (this.#held.length > MAX_HELD) this.letGo();
  }

  #checkFailedRead(error: ErrorCode): void {
    if (this.isRotten && error === ErrorCode.CORRUPT_MESSAGE) return;
    if (!this.isOnline) return;
    assert.equal(error, ErrorCode.KAFKA_STORAGE_ERROR);
    assert(this.#mayRefuse, "a read is refused in fair weather");
  }

  readOutside(): void {
    const log = this.log!;
    for (const at of [log.logStartOffset - 1, log.endOffset + 1]) {
      if (at < 0) continue;
      const { error } = log.read(offset(at), { maxBytes: 100, minOneMessage: true });
      if (error === ErrorCode.KAFKA_STORAGE_ERROR) this.#checkFailedRead(error);
      else assert.equal(error, ErrorCode.OFFSET_OUT_OF_RANGE);
    }
  }

  /** Slow readers: what they hold stays as it was, whatever happened to the log meanwhile. */
  letGo(): void {
    for (const { copy, result } of this.#held) {
      assert(Buffer.compare(copy, result.records) === 0, "bytes changed while they were held");
      result.release();
    }
    this.#held = [];
  }

  async truncate(): Promise<void> {
    if (!this.isOnline) return;
    const log = this.log!;
    const { model } = this;
    this.#noteCompaction();
    // Only committed records are cleaned, and only others are ever truncated. What was cleaned may rest on a marker that
    // lies behind it.
    const committed = Math.max(model.compactedBelow, this.#committedBelow);
    const from = Math.max(log.logStartOffset, Math.min(committed, model.end));
    const target = this.#random.between(from, model.end);
    const boundary = model.boundary(target);
    this.#truncating = { endAtLeast: Math.min(boundary, target), restartAt: null };
    const truncation = this.#whileReading(log.truncateTo(offset(target)));
    if (!await this.#isDone(truncation)) return this.#afterFailedTruncation();
    this.#truncating = null;
    this.#counts.truncations++;
    const atLeast = target <= model.compactedBelow ? 0 : boundary;
    assert(log.endOffset >= atLeast && log.endOffset <= Math.max(target, boundary));
    model.cutTo(log.endOffset);
    model.synced = log.syncedOffset;
    this.clients.learn(model);
    this.verify();
    await this.findByTime();
  }

  /** What a follower does whose leader has nothing of what it holds. */
  async restart(): Promise<void> {
    if (!this.isOnline) return;
    const log = this.log!;
    const { model } = this;
    const start = this.#random.pick([0, model.logStart, model.end, model.end + 100]);
    this.#truncating = { endAtLeast: 0, restartAt: start };
    const truncation = this.#whileReading(log.truncateFullyAndStartAt(offset(start)));
    if (!await this.#isDone(truncation)) return this.#afterFailedTruncation();
    this.#truncating = null;
    this.#counts.truncations++;
    assert.equal(log.endOffset, start);
    assert.equal(log.logStartOffset, start);
    model.restartAt(start);
    this.clients.learn(model);
    this.verify();
    await this.findByTime();
  }

  /** Readers do not wait for a truncation: what they get until it is done is what there was. */
  async #whileReading(truncation: Promise<void>): Promise<void> {
    let isDone = false;
    const done = truncation.finally(() => isDone = true);
    const reads = async () => {
      while (!isDone) {
        const from = this.#random.between(this.model.logStart, this.model.end);
        const result = this.log!.read(offset(from), { maxBytes: 1000, minOneMessage: true });
        this.#noteCompaction();
        if ("records" in result) {
          this.model.compare(result.records, from);
          result.release();
        }
        await this.#world.sleep(0.5);
      }
    };
    const reading = reads();
    try {
      await done;
    } finally {
      await reading;
    }
  }

  /** Nothing was cut, or the log is offline and the next start tells. */
  #afterFailedTruncation(): void {
    if (!this.isOnline) return;
    const log = this.log!;
    const { model } = this;
    this.#truncating = null;
    assert.equal(log.endOffset, model.end, "a truncation that failed has cut all the same");
    // It may have waited for a sync, of which nobody took note meanwhile.
    model.synced = log.syncedOffset;
    model.logStart = Math.min(model.logStart, log.logStartOffset);
    this.verify();
  }

  /** Returns: false when the disk did not let it be done. */
  async #isDone(doing: Promise<unknown>): Promise<boolean> {
    try {
      await this.#world.wait(doing);
      return true;
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      assert(this.#mayRefuse, `refused in fair weather: ${failure.message}`);
      this.#mayBeOffline ||= this.#truncating !== null;
      return false;
    }
  }

  deleteRecords(): void {
    const log = this.log!;
    const { model } = this;
    if (model.synced < log.logStartOffset) return;
    const upTo = this.#random.between(log.logStartOffset, model.synced);
    const { error } = log.deleteRecordsBefore(offset(upTo));
    if (error === ErrorCode.KAFKA_STORAGE_ERROR) {
      this.#deletingUpTo = Math.max(this.#deletingUpTo, upTo);
      return assert(this.#mayRefuse);
    }
    assert.equal(error, ErrorCode.NONE);
    assert.equal(log.logStartOffset, upTo);
    model.logStart = upTo;
  }

  /** Waits for what is written to be stable. */
  async syncAll(): Promise<void> {
    if (!this.isOnline) return;
    const log = this.log!;
    const { end } = this.model;
    if (!await this.#isDone(log.whenSynced(offset(end)))) return;
    assert(log.syncedOffset >= end);
    assert(this.model.synced >= end);
  }

  async findByTime(): Promise<void> {
    if (!this.isOnline || this.isRotten) return;
    this.#noteCompaction();
    const log = this.log!;
    const { model } = this;
    const timestampMs = this.#world.wallMs() + this.#random.between(-60, 30);
    try {
      const found = await this.#world.wait(log.offsetForTimestamp(timestampMs));
      const expected = model.findTime(timestampMs, log.logStartOffset);
      if (model.compactedBelow > log.logStartOffset) {
        assert(found === null || found.timestampMs >= timestampMs);
        return;
      }
      assert.equal(found?.offset, expected?.offset, `offset for timestamp ${timestampMs}`);
      const max = await this.#world.wait(log.maxTimestampOffset());
      const first = model.findTime(max?.timestampMs ?? 0, log.logStartOffset);
      assert.equal(max?.offset, first?.offset, `the first record at ${max?.timestampMs}`);
      const later = max === null ? null : model.findTime(max.timestampMs + 1, log.logStartOffset);
      assert(!later, `a record is newer than ${max?.timestampMs}`);
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      assert(this.#mayRefuse, `refused in fair weather: ${failure.message}`);
    }
  }

  /** Retention moves the log start by itself: whole segments, and no more than it should. */
  #noteRetention(log: Log, deletingUpTo = this.#deletingUpTo): void {
    const { model } = this;
    const start = log.logStartOffset;
    if (start <= Math.max(model.logStart, deletingUpTo)) return;
    const { retentionMs, retentionBytes } = this.#retention;
    assert(retentionMs >= 0 || retentionBytes >= 0, "records are gone that nobody let go");
    assert(start <= model.end);
    // What the cleaner has taken out does not count for a segment's age.
    if (retentionBytes < 0 && model.compactedBelow === 0 && !this.isRotten) {
      const latestMs = this.#world.wallMs() - retentionMs;
      for (const { timestamp, offset: at } of model.recordsFrom(model.logStart)) {
        if (at >= start) break;
        assert(timestamp < latestMs, `the record at ${at} is gone too early`);
      }
    }
    model.logStart = start;
  }

  /** The most that retention has been allowed to take since the log was last looked at. */
  get #retention(): { readonly retentionMs: number; readonly retentionBytes: number } {
    const configs = [this.config, this.#configBefore]
      .filter(({ cleanupPolicy }) => cleanupPolicy.includes("delete"));
    const bounds = (values: readonly number[]) => {
      const set = values.filter((value) => value >= 0);
      return set.length === 0 ? -1 : Math.min(...set);
    };
    return {
      retentionMs: bounds(configs.map((config) => config.retentionMs)),
      retentionBytes: bounds(configs.map((config) => config.retentionBytes)),
    };
  }

  /** Takes other settings. */
  reconfigure(config: LogConfig): void {
    this.#noteCompaction();
    this.#configBefore = this.config;
    this.config = config;
    this.log!.updateConfig(config);
  }

  /** Every segment but the active one may have been compacted by now. */
  #noteCompaction(): void {
    const active = this.log?.segments.at(-1);
    if (active === undefined || !this.#world.isCleaning()) return;
    const isCompacted = [this.config, this.#configBefore]
      .some(({ cleanupPolicy }) => cleanupPolicy.includes("compact"));
    if (!isCompacted) return;
    this.model.compactedBelow = Math.max(this.model.compactedBelow, active.baseOffset);
    this.#committedBelow = Math.max(this.#committedBelow, this.log!.highWatermark);
  }

  // ── what must hold ──────────────────────────────────────────────────────────────────────────────

  /** What costs little, after every step. */
  check(): void {
    const { log, model } = this;
    if (log === null) return;
    if (log.offlineReason !== null) {
      const mayBe = this.isRotten || this.#mayBeOffline || this.#world.mayBeOffline();
      return assert(mayBe, `${this.name} went offline: ${log.offlineReason}`);
    }
    this.#noteRetention(log);
    this.#noteCompaction();
    this.#configBefore = this.config;
    assert(log.recoveryPoint <= log.syncedOffset && log.syncedOffset <= log.endOffset);
    assert(log.highWatermark <= log.endOffset);
    assert(log.logStartOffset <= log.endOffset);
    if (this.#truncating !== null) return;
    assert.equal(log.endOffset, model.end);
    assert(log.syncedOffset >= model.synced);
  }

  /** Everything, read through. */
  verify(): void {
    if (!this.isOnline || !this.#world.isFair()) return;
    const log = this.log!;
    const { model } = this;
    this.#noteRetention(log);
    this.#noteCompaction();
    if (this.isRotten) return this.#verifyRotten(log);
    this.#verifyRecords(log);
    for (const batch of model.batches) {
      if (batch.lastOffset < Math.max(log.logStartOffset, model.compactedBelow)) continue;
      const at = Math.max(batch.baseOffset, log.logStartOffset);
      assert.equal(log.leaderEpochs.epochForOffset(at), batch.epoch, `epoch of ${at}`);
    }
    for (let epoch = 0; epoch <= this.#epoch; epoch++) {
      const expected = model.compactedBelow > 0 ? null : model.endOfEpoch(epoch);
      if (expected === null) continue;
      assert.deepEqual(log.endOffsetForEpoch(epoch), expected, `end of epoch ${epoch}`);
    }
    this.#verifyTransactions(log);
    this.resend();
  }

  #verifyRecords(log: Log): void {
    const { model } = this;
    let next: number = log.logStartOffset;
    const maxBytes = this.#random.pick([1, 700, 3000]);
    const isServed = (at: number) => model.indexAt(Math.max(at, model.compactedBelow)) >= 0;
    const served = new Set<number>();
    while (next < log.endOffset) {
      const result = log.read(offset(next), { maxBytes, minOneMessage: true });
      assert("records" in result, `offset ${next} cannot be read`);
      if (result.records.length === 0) {
        assert(!isServed(next), `nothing is served at ${next}`);
        break;
      }
      if (next < model.compactedBelow) noteOffsets(result.records, served);
      next = model.compare(result.records, next);
      result.release();
    }
    this.#verifyCompacted(log, served);
    for (let at: number = log.logStartOffset; isServed(at); at += this.#random.between(1, 30)) {
      const result = log.read(offset(at), { maxBytes: 1, minOneMessage: true });
      assert("records" in result);
      assert(model.compare(result.records, at) > at, `offset ${at} is not found`);
      result.release();
    }
  }

  /** The cleaner has left the newest record of each key, unless that was a deletion. */
  #verifyCompacted(log: Log, served: ReadonlySet<number>): void {
    const { model } = this;
    if (model.compactedBelow <= log.logStartOffset) return;
    for (const [key, { offset: at, isTombstone }] of model.newestByKey(log.logStartOffset)) {
      const isMeant = !isTombstone && at < model.compactedBelow;
      const isKept = !isMeant || served.has(at) || model.isMaybeCleaned(at);
      assert(isKept, `the newest record of key ${key}, at ${at}, was cleaned away`);
    }
  }

  /** What is served of a damaged log is what was written, and the log goes on. */
  #verifyRotten(log: Log): void {
    for (
      let at: number = log.logStartOffset;
      at < log.endOffset;
      at += this.#random.between(1, 9)
    ) {
      const result = log.read(offset(at), { maxBytes: 700, minOneMessage: true });
      if ("records" in result) {
        this.model.compare(result.records, at);
        result.release();
      } else assert.equal(result.error, ErrorCode.CORRUPT_MESSAGE, result.message);
    }
  }

  #verifyTransactions(log: Log): void {
    try {
      this.#compareTransactions(log, 0);
    } catch (failure) {
      if (this.model.forgottenBefore === 0) throw failure;
      this.#compareTransactions(log, this.model.forgottenBefore);
    }
  }

  #compareTransactions(log: Log, knownFrom: number): void {
    const { aborted, open, surelyOpen } = this.model.transactions(log.logStartOffset, knownFrom);
    const listed = log.abortedTransactions(log.logStartOffset, log.endOffset);
    // The model knows them by their ends; readers are told of them by their beginnings.
    const expected = aborted.toSorted((a, b) => a.firstOffset - b.firstOffset);
    if (this.model.compactedBelow <= log.logStartOffset) {
      assert.deepEqual(listed.map(textOf), expected.map(textOf), "aborted transactions");
    } else {
      const strange = listed.filter((one) => !expected.some((other) => isListedAs(one, other)));
      assert.deepEqual(strange, [], "transactions that were not aborted");
      const late = aborted.filter(({ lastOffset, surelyFrom }) =>
        lastOffset >= this.model.compactedBelow && surelyFrom !== Infinity
      );
      const missing = late.filter((one) => !listed.some((other) => isListedAs(other, one)));
      assert.deepEqual(missing, [], "aborted transactions that are not listed");
    }
    const [atLeast, atMost] = [open, surelyOpen].map((ones) => {
      const unstable = Math.min(Infinity, ...ones.values());
      return Math.min(log.endOffset, Math.max(unstable, log.logStartOffset));
    });
    const stable = log.lastStableOffset(log.endOffset);
    const isRight = stable >= atLeast! && stable <= atMost!;
    assert(isRight, `the last stable offset is ${stable}, not ${atLeast} to ${atMost}`);
  }
}

interface Listed {
  readonly producerId: number;
  readonly firstOffset: number;
  readonly lastOffset: number;
}

function textOf({ producerId, firstOffset, lastOffset }: Listed): string {
  return `${producerId}:${firstOffset}-${lastOffset}`;
}

/** True when a log may tell so of an aborted transaction. */
function isListedAs(one: Listed, aborted: ModelAborted): boolean {
  return one.producerId === aborted.producerId && one.lastOffset === aborted.lastOffset &&
    one.firstOffset >= aborted.firstOffset && one.firstOffset <= aborted.surelyFrom;
}

/** Notes the offsets of the records in whole batches. */
function noteOffsets(batches: Uint8Array, into: Set<number>): void {
  for (let at = 0; at < batches.length; at += batchSizeBytes(batches, at)) {
    const records = readRecords(batches, at, { maxDecompressedBytes: 1 << 20 });
    for (const record of records) into.add(record.offset);
  }
}
