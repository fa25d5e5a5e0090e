/**
 * Rebuilds the groups of one partition from its log: the last record of each key wins.
 *
 * Takes batches one by one, so that a log of any size loads in memory bounded by what it ends up with.
 * Offsets within a transaction count when its commit marker comes; those of a transaction that is still
 * open at the end of the log stay beside the others.
 */

import { decodeControlRecord } from "../../protocol/control_records.ts";
import {
  isControl,
  isTransactional,
  readAttributes,
  readProducerId,
} from "../../protocol/record_batch.ts";
import { readRecords } from "../../protocol/records.ts";
import type { GroupMetadata } from "./classic_group.ts";
import { ConsumerGroupContents } from "./consumer_group_state.ts";
import { GroupOffsets } from "./group_offsets.ts";
import { decodeGroupRecord } from "./group_records.ts";

/** No batch of this log may be larger when decompressed. */
const MAX_DECOMPRESSED_BYTES = 256 * 1024 * 1024;

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
    const records = readRecords(bytes, position, { maxDecompressedBytes: MAX_DECOMPRESSED_BYTES });
    this.#recordCount += records.length;
    if (isControl(attributes)) {
      for (const record of records) {
        const { type } = decodeControlRecord(record);
        if (type === "commit" || type === "abort") this.#endTransaction(producerId, type);
      }
      return;
    }
    const transaction = isTransactional(attributes) ? producerId : null;
    for (const record of records) this.#apply(record, transaction);
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
