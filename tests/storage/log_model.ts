/**
 * What a partition must hold, kept the simple way: the list of its batches as they were written, and how far
 * the log has said that they are synced.
 *
 * The model looks at no file. What it expects of a log (records, times, epochs, producers, transactions) it
 * works out from the list alone, each time anew. Where an append failed half way, nobody can know before the
 * next start whether its batch is in the log: such batches wait in `uncertain`.
 */

import assert from "node:assert/strict";
import {
  batchSizeBytes,
  isControl,
  isTransactional,
  readBatchHeader,
  type RecordBatchHeader,
} from "../../protocol/record_batch.ts";
import { readRecords } from "../../protocol/records.ts";

const MAX_BYTES = 1 << 20;

/** A record as it must be served. */
export interface ModelRecord {
  readonly offset: number;
  readonly timestamp: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
}

/** A batch as it lies, or may lie, in the log. */
export class ModelBatch {
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly epoch: number;
  /** As the client sent it, to be sent again. */
  readonly sent: Uint8Array;
  readonly header: RecordBatchHeader;
  /** −1 where the records have times of their own. */
  readonly logAppendTimeMs: number;
  /** As it stands in the log; null until it was read, where the log has compressed it anew. */
  #bytes: Uint8Array | null;
  #records: readonly ModelRecord[] | null = null;

  constructor(
    { baseOffset, epoch, sent, bytes, logAppendTimeMs }: {
      readonly baseOffset: number;
      readonly epoch: number;
      readonly sent: Uint8Array;
      readonly bytes: Uint8Array | null;
      readonly logAppendTimeMs: number;
    },
  ) {
    this.baseOffset = baseOffset;
    this.epoch = epoch;
    this.sent = sent;
    this.header = readBatchHeader(sent, 0);
    this.lastOffset = baseOffset + this.header.lastOffsetDelta;
    this.logAppendTimeMs = logAppendTimeMs;
    this.#bytes = bytes;
  }

  get isControl(): boolean {
    return isControl(this.header.attributes);
  }

  get isTransactional(): boolean {
    return isTransactional(this.header.attributes);
  }

  /** Bytes in the log; null while nobody knows. */
  get sizeBytes(): number | null {
    return this.#bytes?.length ?? null;
  }

  get records(): readonly ModelRecord[] {
    this.#records ??= this.#decode(this.sent, this.baseOffset - this.header.baseOffset);
    return this.#records;
  }

  #decode(bytes: Uint8Array, shift: number): ModelRecord[] {
    return readRecords(bytes, 0, { maxDecompressedBytes: MAX_BYTES })
      .map(({ offset, timestamp, key, value }) => ({
        offset: offset + shift,
        timestamp: this.logAppendTimeMs >= 0 ? this.logAppendTimeMs : timestamp,
        key,
        value,
      }));
  }

  /** Holds what was served against what was written. Returns: the bytes of this batch. */
  compare(served: Uint8Array, at: number): number {
    const sizeBytes = batchSizeBytes(served, at);
    const bytes = served.subarray(at, at + sizeBytes);
    if (this.#bytes !== null) {
      assert(
        Buffer.compare(bytes, this.#bytes) === 0,
        `other bytes are served for offset ${this.baseOffset}`,
      );
      return sizeBytes;
    }
    const header = readBatchHeader(bytes, 0);
    assert.equal(header.baseOffset, this.baseOffset);
    assert.equal(header.partitionLeaderEpoch, this.epoch);
    assert.equal(header.producerId, this.header.producerId);
    assert.equal(header.baseSequence, this.header.baseSequence);
    assert.equal(isTransactional(header.attributes), this.isTransactional);
    assert.equal(isControl(header.attributes), this.isControl);
    const found = this.#decode(bytes, 0);
    assert.equal(found.length, this.records.length);
    for (const [i, record] of this.records.entries()) {
      assert(isSame(found[i]!, record), `another record is served at ${record.offset}`);
    }
    this.#bytes = bytes.slice();
    return sizeBytes;
  }
}

function isSame(a: ModelRecord, b: ModelRecord): boolean {
  const isEqual = (one: Uint8Array | null, other: Uint8Array | null) =>
    one === null || other === null ? one === other : Buffer.compare(one, other) === 0;
  return a.offset === b.offset && a.timestamp === b.timestamp && isEqual(a.key, b.key) &&
    isEqual(a.value, b.value);
}

/** A transaction that its marker has aborted. */
export interface ModelAborted {
  readonly producerId: number;
  readonly firstOffset: number;
  readonly lastOffset: number;
  /** First offset of the first batch of which something is surely left; Infinity where that is none. */
  readonly surelyFrom: number;
}

function isAborted(batch: ModelBatch, aborted: readonly ModelAborted[]): boolean {
  return aborted.some(({ producerId, firstOffset, lastOffset }) =>
    producerId === batch.header.producerId && firstOffset <= batch.baseOffset &&
    batch.lastOffset <= lastOffset
  );
}

function keyName(key: Uint8Array | null): string {
  return Buffer.from(key ?? []).toString("hex");
}

/** The model of one partition. */
export class LogModel {
  batches: ModelBatch[] = [];
  /** Batches whose append failed, call by call: the first few of one may be found after a restart. */
  uncertain: (readonly ModelBatch[])[] = [];
  /** Everything before it was said to be on stable storage. */
  synced = 0;
  /** Before it the cleaner may have taken records out, and may have written batches anew. */
  compactedBelow = 0;
  /** What batches before it said of transactions may be known, or be forgotten. */
  forgottenBefore = 0;
  logStart = 0;
  /** Offsets of records that may have been cleaned for the sake of what a truncation has dropped since. */
  readonly #maybeCleaned = new Set<number>();
  /** Batches of which nothing may be left for the same reason, nor their producer known. */
  readonly #maybeGone = new Set<ModelBatch>();

  #base = 0;
  #end = 0;

  /** Offset after the last record, or where a truncation in a gap of a follower's log has left it. */
  get end(): number {
    return this.#end;
  }

  append(batch: ModelBatch): void {
    assert(batch.baseOffset >= this.#end);
    this.batches.push(batch);
    this.uncertain = [];
    this.#end = batch.lastOffset + 1;
  }

  /** The first batch that ends at or past `offset`; −1 when there is none. */
  indexAt(offset: number): number {
    let low = 0;
    let high = this.batches.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.batches[middle]!.lastOffset < offset) low = middle + 1;
      else high = middle;
    }
    return low === this.batches.length ? -1 : low;
  }

  /** The offset after the last batch that ends before `target`: what a truncation must leave. */
  boundary(target: number): number {
    const index = this.indexAt(target);
    if (index < 0) return this.#end;
    return index === 0 ? this.#base : this.batches[index - 1]!.lastOffset + 1;
  }

  /** The bytes are the batches from the one that holds `from` on. Returns: the next offset. */
  compare(records: Uint8Array, from: number): number {
    let index = this.indexAt(from);
    let next = from;
    for (let at = 0; at < records.length;) {
      const { baseOffset } = readBatchHeader(records, at);
      if (baseOffset < this.compactedBelow) {
        next = this.#compareCompacted(records, at, next);
        at += batchSizeBytes(records, at);
        index = this.indexAt(next);
        continue;
      }
      // All between was taken out by the cleaner.
      if (next < this.compactedBelow) index = this.indexAt(Math.max(next, this.compactedBelow));
      const batch = index < 0 ? undefined : this.batches[index++];
      assert(batch !== undefined, `records are served past the end, at ${next}`);
      at += batch.compare(records, at);
      next = batch.lastOffset + 1;
    }
    return next;
  }

  /** What is left of a batch holds nothing that was not written there. Returns: the offset after it. */
  #compareCompacted(bytes: Uint8Array, at: number, from: number): number {
    const header = readBatchHeader(bytes, at);
    const lastOffset = header.baseOffset + header.lastOffsetDelta;
    assert(
      lastOffset >= from,
      `offset ${from} is asked for, and a batch up to ${lastOffset} served`,
    );
    for (const record of readRecords(bytes, at, { maxDecompressedBytes: MAX_BYTES })) {
      const written = this.batches[this.indexAt(record.offset)];
      const found = written?.records.find(({ offset }) => offset === record.offset);
      assert(found !== undefined && isSame(found, record), `another record at ${record.offset}`);
      assert.equal(header.producerId, written?.header.producerId);
      assert.equal(header.partitionLeaderEpoch, written?.epoch);
    }
    return lastOffset + 1;
  }

  /**
   * Of each key, the offset of its last record in `[from, upTo)` that holds: of no transaction that was aborted
   * or is open.
   */
  newestByKey(
    from: number,
    upTo = Infinity,
  ): Map<string, { readonly offset: number; readonly isTombstone: boolean }> {
    const newest = new Map<string, { offset: number; isTombstone: boolean }>();
    const { aborted, open } = this.transactions(0);
    for (const batch of this.batches) {
      const isOpen = batch.isTransactional &&
        (open.get(batch.header.producerId) ?? Infinity) <= batch.baseOffset;
      if (batch.isControl || isOpen || isAborted(batch, aborted)) continue;
      for (const { offset, key, value } of batch.records) {
        if (offset < from || offset >= upTo) continue;
        newest.set(keyName(key), { offset, isTombstone: value === null });
      }
    }
    return newest;
  }

  /**
   * Everything was to be dropped, and the beginning may have stayed, as the cleaner had left it: without what
   * was aborted, and without records of which there were newer ones. Those may be gone now, or open again.
   */
  noteCleaned(): void {
    const newest = this.newestByKey(0, this.compactedBelow);
    const { aborted } = this.transactions(0);
    const cleanable = this.batches.filter(({ lastOffset, isControl }) =>
      !isControl && lastOffset < this.compactedBelow
    );
    for (const batch of cleanable) {
      const isGone = isAborted(batch, aborted);
      for (const { offset, key } of batch.records) {
        const isSuperseded = offset < (newest.get(keyName(key))?.offset ?? 0);
        if (isGone || isSuperseded) this.#maybeCleaned.add(offset);
      }
      // Of a producer's last batch the header stays.
      const { producerId } = batch.header;
      const isLast = batch === this.batches.findLast((one) =>
        !one.isControl && one.header.producerId === producerId
      );
      const isEmpty = batch.records.every(({ offset }) => this.#maybeCleaned.has(offset));
      if (isEmpty && !isLast) this.#maybeGone.add(batch);
    }
  }

  /** True when the cleaner may have taken the record out, though there is no newer one of its key. */
  isMaybeCleaned(offset: number): boolean {
    return this.#maybeCleaned.has(offset);
  }

  /** True when its producer may not be known by the batch any more, though it is the last one of it. */
  isMaybeForgotten(batch: ModelBatch): boolean {
    return batch.lastOffset < this.forgottenBefore || this.#maybeGone.has(batch);
  }

  /** The log was found to end at `endOffset`. */
  cutTo(endOffset: number): void {
    if (endOffset > this.#end) this.#adopt(endOffset);
    this.uncertain = [];
    const index = this.indexAt(endOffset);
    if (index >= 0) {
      const { baseOffset } = this.batches[index]!;
      const isWhole = endOffset <= baseOffset || endOffset <= this.compactedBelow;
      assert(isWhole, `the log ends at ${endOffset}, inside of a batch`);
      this.batches.length = index;
    }
    this.#end = endOffset;
    this.synced = Math.min(this.synced, endOffset);
    this.compactedBelow = Math.min(this.compactedBelow, endOffset);
    this.logStart = Math.min(this.logStart, endOffset);
    for (const at of this.#maybeCleaned) if (at >= endOffset) this.#maybeCleaned.delete(at);
  }

  /** A batch whose append had failed is in the log all the same. */
  #adopt(endOffset: number): void {
    for (const batches of this.uncertain) {
      const last = batches.findIndex(({ lastOffset }) => lastOffset + 1 === endOffset);
      if (last < 0 || batches[0]!.baseOffset < this.#end) continue;
      for (const batch of batches.slice(0, last + 1)) this.append(batch);
      return;
    }
    assert.fail(`records up to ${endOffset} appear that were not written, past ${this.#end}`);
  }

  /** All records are gone; the next one gets `start`. */
  restartAt(start: number): void {
    this.batches = [];
    this.uncertain = [];
    this.#base = start;
    this.#end = start;
    this.logStart = start;
    this.synced = start;
    this.compactedBelow = 0;
    this.forgottenBefore = 0;
    this.#maybeCleaned.clear();
    this.#maybeGone.clear();
  }

  *recordsFrom(from: number): Generator<ModelRecord, void, void> {
    const first = this.indexAt(from);
    if (first < 0) return;
    for (let index = first; index < this.batches.length; index++) {
      for (const record of this.batches[index]!.records) if (record.offset >= from) yield record;
    }
  }

  /** The first record from `from` on with a time of at least `timestampMs`. */
  findTime(timestampMs: number, from: number): ModelRecord | undefined {
    for (const record of this.recordsFrom(from)) {
      if (record.timestamp >= timestampMs) return record;
    }
    return undefined;
  }

  /** What the log must answer for an epoch's end; null where it may not know any more. */
  endOfEpoch(epoch: number): { leaderEpoch: number; endOffset: number } | null {
    const live = this.batches.filter(({ lastOffset }) => lastOffset >= this.logStart);
    if (!live.some((batch) => batch.epoch === epoch)) return null;
    const next = live.find((batch) => batch.epoch > epoch);
    return { leaderEpoch: epoch, endOffset: next === undefined ? this.end : next.baseOffset };
  }

  /**
   * Aborted transactions whose marker is at or past `from`, and the first offsets of the open ones, as the
   * batches from `knownFrom` on tell; `surelyOpen` as those tell of which something is left.
   */
  transactions(
    from: number,
    knownFrom = 0,
  ): {
    aborted: ModelAborted[];
    open: Map<number, number>;
    surelyOpen: Map<number, number>;
  } {
    const open = new Map<number, number>();
    const surelyOpen = new Map<number, number>();
    const aborted: ModelAborted[] = [];
    for (const batch of this.batches) {
      const { producerId } = batch.header;
      if (producerId < 0 || batch.lastOffset < knownFrom) continue;
      if (!batch.isControl) {
        if (!batch.isTransactional) continue;
        if (!open.has(producerId)) open.set(producerId, batch.baseOffset);
        const isFirst = !surelyOpen.has(producerId) && !this.#maybeGone.has(batch);
        if (isFirst) surelyOpen.set(producerId, batch.baseOffset);
        continue;
      }
      const firstOffset = open.get(producerId);
      const surelyFrom = surelyOpen.get(producerId) ?? Infinity;
      open.delete(producerId);
      surelyOpen.delete(producerId);
      const isAbort = batch.records[0]!.key![3] === 0;
      if (!isAbort || firstOffset === undefined || batch.lastOffset < from) continue;
      aborted.push({ producerId, firstOffset, lastOffset: batch.lastOffset, surelyFrom });
    }
    return { aborted, open, surelyOpen };
  }
}
