/**
 * Rebuilds the groups of one partition from its log: the last record of each key wins.
 *
 * Takes batches one by one, so that a log of any size loads in memory bounded by what it ends up with.
 * Committed offsets, which are most of a log, stay raw bytes until everything was read, when the last one of
 * each key is decoded. Those that a transaction has to do with are decoded as they come: they count when its
 * commit marker comes; those of a transaction that is still open at the end of the log stay beside the others.
 */

import { WireError } from "../../protocol/bytes.ts";
import { decodeControlRecord } from "../../protocol/control_records.ts";
import {
  isControl,
  isTransactional,
  readAttributes,
  readProducerId,
  readRecordCount,
} from "../../protocol/record_batch.ts";
import { RecordCursor } from "../../protocol/record_cursor.ts";
import { plainRecords, readRecords } from "../../protocol/records.ts";
import type { GroupMetadata } from "./classic_group.ts";
import { ConsumerGroupContents } from "./consumer_group_state.ts";
import { GroupOffsets } from "./group_offsets.ts";
import { decodeGroupRecord, GroupRecordType } from "./group_records.ts";
import { LatestOffsets } from "./latest_offsets.ts";

/** No batch of this log may be larger when decompressed. */
const MAX_DECOMPRESSED_BYTES = 256 * 1024 * 1024;
/** Offsets that are decoded in one step of `finish`. */
const RECORDS_PER_STEP = 100;
/** Of a record without a key, or with half a type. */
const NO_TYPE = -1;

/** What the log says of one group. */
export interface LoadedGroup {
  /** Null for a group that is no classic one, or only has offsets. */
  metadata: GroupMetadata | null;
  /** Null for a group that is no consumer group. */
  consumer: ConsumerGroupContents | null;
  readonly offsets: GroupOffsets;
}

/** Collects records in the order of the log. */
export class GroupLoader {
  readonly groups = new Map<string, LoadedGroup>();
  readonly #cursor = new RecordCursor();
  readonly #latest = new LatestOffsets();
  #recordCount = 0;
  /** Records of types that this version does not know: kept in the log, not in memory. */
  #unknownCount = 0;
  /** Producer id → groups that its open transaction commits offsets of. */
  readonly openTransactions = new Map<number, Set<string>>();

  get recordCount(): number {
    return this.#recordCount;
  }
  get unknownCount(): number {
    return this.#unknownCount;
  }

  /** Takes the batch at `position`. Errors: WireError when damaged. */
  batch(bytes: Uint8Array, position: number): void {
    const attributes = readAttributes(bytes, position);
    const producerId = readProducerId(bytes, position);
    const recordCount = readRecordCount(bytes, position);
    this.#recordCount += recordCount;
    const limits = { maxDecompressedBytes: MAX_DECOMPRESSED_BYTES };
    if (isControl(attributes)) {
      for (const record of readRecords(bytes, position, limits)) {
        const { type } = decodeControlRecord(record);
        if (type === "commit" || type === "abort") this.#endTransaction(producerId, type);
      }
      return;
    }
    const transaction = isTransactional(attributes) ? producerId : null;
    const { plain, start, end } = plainRecords(bytes, position, limits);
    const cursor = this.#cursor;
    cursor.reset(plain, start, end);
    for (let i = 0; i < recordCount; i++) {
      cursor.next();
      this.#record(plain, cursor, transaction);
    }
    if (!cursor.isAtEnd) {
      throw new WireError(
        `Cannot read batch at position ${position}: bytes follow the last of ${recordCount} records`,
      );
    }
  }

  #record(plain: Uint8Array, cursor: RecordCursor, transaction: number | null): void {
    const { keyStart, keyBytes, valueStart, valueBytes } = cursor;
    const type = keyBytes < 2 ? NO_TYPE : plain[keyStart]! << 8 | plain[keyStart + 1]!;
    if (type === GroupRecordType.offsetCommit && transaction === null) {
      if (this.#latest.set(plain, keyStart, keyBytes, valueStart, valueBytes)) return;
    } else if (
      type === GroupRecordType.offsetCommit || type === GroupRecordType.legacyOffsetCommit
    ) {
      this.#takeOut(plain.slice(keyStart, keyStart + keyBytes));
    }
    this.#apply({
      key: keyBytes < 0 ? null : plain.subarray(keyStart, keyStart + keyBytes),
      value: valueBytes < 0 ? null : plain.subarray(valueStart, valueStart + valueBytes),
    }, transaction);
  }

  /** From now on the records of this key, whichever of its two types they have, are decoded as they come. */
  #takeOut(key: Uint8Array): void {
    key[1] = GroupRecordType.offsetCommit;
    const before = this.#latest.takeOut(key, 0, key.length);
    if (before !== null) this.#apply(before, null);
  }

  /** Decodes what was left for the end, a piece at each step. Errors: WireError when damaged. */
  *finish(): Generator<void> {
    let count = 0;
    for (const record of this.#latest.records()) {
      this.#apply(record, null);
      if (++count % RECORDS_PER_STEP === 0) yield;
    }
  }

  #apply(
    bytes: { readonly key: Uint8Array | null; readonly value: Uint8Array | null },
    transaction: number | null,
  ): void {
    const record = decodeGroupRecord(bytes);
    switch (record.kind) {
      case "other":
        this.#unknownCount += 1;
        return;
      case "groupMetadata":
        this.#group(record.groupId).metadata = record.value;
        return;
      case "consumerGroup": {
        const { groupId, change } = record;
        (this.#group(groupId).consumer ??= new ConsumerGroupContents()).apply(change);
        return;
      }
      case "offsetCommit": {
        const { groupId, topic, partition, value } = record;
        const { offsets } = this.#group(groupId);
        if (transaction === null || value === null) {
          offsets.set(topic, partition, value);
          return;
        }
        offsets.setTransactional(transaction, topic, partition, value);
        let groupIds = this.openTransactions.get(transaction);
        if (groupIds === undefined) this.openTransactions.set(transaction, groupIds = new Set());
        groupIds.add(groupId);
        return;
      }
    }
  }

  #endTransaction(producerId: number, outcome: "commit" | "abort"): void {
    for (const groupId of this.openTransactions.get(producerId) ?? []) {
      this.#group(groupId).offsets.completeTransaction(producerId, outcome);
    }
    this.openTransactions.delete(producerId);
  }

  #group(groupId: string): LoadedGroup {
    let group = this.groups.get(groupId);
    if (group === undefined) {
      this.groups.set(
        groupId,
        group = { metadata: null, consumer: null, offsets: new GroupOffsets() },
      );
    }
    return group;
  }
}
