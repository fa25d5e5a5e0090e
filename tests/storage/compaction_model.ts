/**
 * A slow compaction of a list of batches, by Kafka's rules written plainly, to compare the real one with.
 *
 * It knows what the real one has to find out: which transaction a batch belongs to and how that ended. It
 * has no indexes, no buffers and no files.
 */

import assert from "node:assert/strict";
import type { CompressionCodec } from "../../protocol/compression.ts";

/** A record. Keys and values are texts, so that they can be compared and be keys of a map. */
export interface ModelRecord {
  readonly offset: number;
  readonly timestamp: number;
  readonly key: string | null;
  readonly value: string | null;
}

/** A batch as it stands in the log. */
export interface ModelBatch {
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly leaderEpoch: number;
  readonly isTransactional: boolean;
  /** Of a control batch; "emptied" when its record has been taken out. */
  readonly marker: "commit" | "abort" | "emptied" | null;
  readonly codec: CompressionCodec;
  readonly horizon: number | null;
  readonly maxTimestamp: number;
  readonly records: readonly ModelRecord[];
}

/** What a cleaning is to do. */
export interface ModelCleaning {
  readonly firstDirtyOffset: number;
  readonly firstUncleanableOffset: number;
  /** Keys that the map takes. */
  readonly capacity: number;
  readonly nowMs: number;
  readonly deleteRetentionMs: number;
  /** Offset of the last batch of data by producer, −1 for none, of those that are known. */
  readonly producers: ReadonlyMap<number, { lastDataOffset: number; epoch: number }>;
}

/** How the transaction of each transactional batch ended, by the batch. */
function endings(batches: readonly ModelBatch[]): Map<ModelBatch, ModelBatch> {
  const markerOf = new Map<ModelBatch, ModelBatch>();
  const open = new Map<number, ModelBatch[]>();
  for (const batch of batches) {
    if (batch.marker === "emptied") continue;
    if (batch.marker !== null) {
      for (const one of open.get(batch.producerId) ?? []) markerOf.set(one, batch);
      open.delete(batch.producerId);
    } else if (batch.isTransactional) {
      open.set(batch.producerId, [...open.get(batch.producerId) ?? [], batch]);
    }
  }
  return markerOf;
}

/** How a consumer with read_committed sees the log: the truth. */
export function committedRecords(batches: readonly ModelBatch[]): ModelRecord[] {
  const markerOf = endings(batches);
  return batches.flatMap((batch) => {
    if (batch.marker !== null) return [];
    if (!batch.isTransactional) return batch.records;
    return markerOf.get(batch)?.marker === "commit" ? batch.records : [];
  });
}

/** The newest offset of each key in the dirty section, as far as the map takes keys. */
export function mapKeys(
  batches: readonly ModelBatch[],
  { firstDirtyOffset, firstUncleanableOffset, capacity }: ModelCleaning,
): { readonly newest: Map<string, number>; readonly endOffset: number } {
  const markerOf = endings(batches);
  const newest = new Map<string, number>();
  let latest = -1;
  for (const batch of batches) {
    if (batch.lastOffset < firstDirtyOffset || batch.baseOffset >= firstUncleanableOffset) continue;
    const isAborted = markerOf.get(batch)?.marker === "abort";
    if (batch.marker === null && !isAborted) {
      for (const { key, offset } of batch.records) {
        if (key === null || offset < firstDirtyOffset) continue;
        if (!newest.has(key) && newest.size === capacity) {
          return { newest, endOffset: Math.max(latest + 1, firstDirtyOffset) };
        }
        newest.set(key, offset);
        latest = offset;
      }
    }
    latest = batch.lastOffset;
  }
  return { newest, endOffset: firstUncleanableOffset };
}

/** What is left of the batches of the group `[start, end)` of segments. */
export function compactGroup(
  batches: readonly ModelBatch[],
  cleaning: ModelCleaning,
  { newest, endOffset }: {
    readonly newest: ReadonlyMap<string, number>;
    readonly endOffset: number;
  },
  [start, end]: readonly [number, number],
): ModelBatch[] {
  const markerOf = endings(batches);
  const withBatches = new Set(markerOf.values());
  const group = batches.filter((batch) => batch.baseOffset >= start && batch.baseOffset < end);
  return group.flatMap((batch, index) => {
    const known = cleaning.producers.get(batch.producerId);
    const isLastOfProducer = known !== undefined &&
      (known.lastDataOffset >= 0
        ? batch.lastOffset === known.lastDataOffset
        : batch.marker !== null && batch.producerEpoch === known.epoch);
    const keepsEmpty = index === group.length - 1 || isLastOfProducer;
    const isOver = batch.horizon !== null && cleaning.nowMs >= batch.horizon;
    const left = batch.marker !== null
      ? compactMarker(batch, cleaning, withBatches.has(batch), isOver)
      : compactData(batch, cleaning, markerOf.get(batch)?.marker === "abort", {
        newest,
        endOffset,
        isOver,
      });
    if (left.records.length > 0) return [left];
    return keepsEmpty ? [{ ...left, codec: emptyCodec(batch), horizon: null }] : [];
  });
}

/** A batch that was empty before stays as it is. */
function emptyCodec(batch: ModelBatch): CompressionCodec {
  return batch.records.length === 0 ? batch.codec : 0;
}

function compactMarker(
  batch: ModelBatch,
  { nowMs, deleteRetentionMs }: ModelCleaning,
  hasBatches: boolean,
  isOver: boolean,
): ModelBatch {
  if (hasBatches || batch.records.length === 0) return batch;
  if (batch.horizon === null) return { ...batch, horizon: nowMs + deleteRetentionMs };
  return isOver ? { ...batch, records: [], marker: "emptied" } : batch;
}

function compactData(
  batch: ModelBatch,
  { nowMs, deleteRetentionMs }: ModelCleaning,
  isAborted: boolean,
  { newest, endOffset, isOver }: {
    readonly newest: ReadonlyMap<string, number>;
    readonly endOffset: number;
    readonly isOver: boolean;
  },
): ModelBatch {
  const records = batch.records.filter(({ key, value, offset }) => {
    if (isAborted) return false;
    if (offset >= endOffset) return true;
    if (key === null) return false;
    if ((newest.get(key) ?? -1) > offset) return false;
    return value !== null || !isOver;
  });
  if (records.length === 0) return { ...batch, records };
  const setsHorizon = batch.horizon === null && records.some(({ value }) => value === null);
  const isWhole = records.length === batch.records.length && !setsHorizon;
  return {
    ...batch,
    records,
    horizon: setsHorizon ? nowMs + deleteRetentionMs : batch.horizon,
    maxTimestamp: isWhole ? batch.maxTimestamp : Math.max(...records.map((one) => one.timestamp)),
  };
}

/** What a reader ends up with: the last value of each key; a key whose last record has none is gone. */
export function finalValues(records: readonly ModelRecord[]): Map<string, string> {
  const values = new Map<string, string>();
  for (const { key, value } of records) {
    if (key === null) continue;
    if (value === null) values.delete(key);
    else values.set(key, value);
  }
  return values;
}

/** Compares batches one by one, for a message that can be read. */
export function assertSameBatches(
  found: readonly ModelBatch[],
  expected: readonly ModelBatch[],
  what: string,
): void {
  for (let i = 0; i < Math.max(found.length, expected.length); i++) {
    assert.deepEqual(found[i], expected[i], `${what}: batch ${i}`);
  }
}
