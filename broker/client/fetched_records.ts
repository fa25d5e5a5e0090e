/**
 * What a consumer sees of the bytes that a fetch brought: records from its position on, without control records and, read
 * committed, without those of aborted transactions.
 */

import { decodeControlRecord } from "../../protocol/control_records.ts";
import {
  batches,
  isControl,
  isCrcValid,
  isTransactional,
  PARTITION_LEADER_EPOCH_AT,
  readAttributes,
  readBaseOffset,
  readLastOffset,
  readProducerId,
} from "../../protocol/record_batch.ts";
import { type KafkaRecord, readRecords } from "../../protocol/records.ts";

const MAX_DECOMPRESSED_BYTES = 256 * 1024 * 1024;

/** A transaction that was aborted, as Fetch tells it. */
export interface AbortedTransaction {
  readonly producerId: number;
  readonly firstOffset: number;
}

/** What the bytes hold. */
export interface FetchedRecords {
  readonly records: readonly KafkaRecord[];
  /** Offset after all batches that were read, also those that hold nothing for a consumer. */
  readonly nextOffset: number;
  /** Leader epoch of the last of these batches; −1 when there was none. */
  readonly leaderEpoch: number;
  /** The checksum of the next batch does not fit. */
  readonly isDamaged: boolean;
}

/**
 * Reads one partition's bytes of one answer. `position` is the first offset wanted; `abortedTransactions` is null to
 * read uncommitted. Shape: keys and values are views. Errors: WireError.
 */
export function readFetched(
  bytes: Uint8Array,
  { position, abortedTransactions }: {
    readonly position: number;
    readonly abortedTransactions: readonly AbortedTransaction[] | null;
  },
): FetchedRecords {
  const records: KafkaRecord[] = [];
  const aborted = new AbortedTransactions(abortedTransactions ?? []);
  let nextOffset = position;
  let leaderEpoch = -1;
  for (const at of batches(bytes)) {
    if (!isCrcValid(bytes, at)) return { records, nextOffset, leaderEpoch, isDamaged: true };
    if (readLastOffset(bytes, at) < position) continue;
    const attributes = readAttributes(bytes, at);
    const producerId = readProducerId(bytes, at);
    const content = readRecords(bytes, at, { maxDecompressedBytes: MAX_DECOMPRESSED_BYTES });
    aborted.advance(readBaseOffset(bytes, at));
    if (isControl(attributes)) aborted.control(producerId, content[0]);
    else if (
      abortedTransactions === null || !isTransactional(attributes) || !aborted.has(producerId)
    ) {
      for (const record of content) if (record.offset >= position) records.push(record);
    }
    nextOffset = readLastOffset(bytes, at) + 1;
    leaderEpoch = readLeaderEpoch(bytes, at);
  }
  return { records, nextOffset, leaderEpoch, isDamaged: false };
}

function readLeaderEpoch(bytes: Uint8Array, position: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getInt32(
    position + PARTITION_LEADER_EPOCH_AT,
  );
}

/** Which producers' records are to be left out, as one answer is read from its first batch on. */
class AbortedTransactions {
  readonly #upcoming: AbortedTransaction[];
  readonly #producerIds = new Set<number>();

  constructor(aborted: readonly AbortedTransaction[]) {
    this.#upcoming = [...aborted].sort((a, b) => a.firstOffset - b.firstOffset);
  }

  advance(offset: number): void {
    while (this.#upcoming.length > 0 && this.#upcoming[0]!.firstOffset <= offset) {
      this.#producerIds.add(this.#upcoming.shift()!.producerId);
    }
  }

  control(producerId: number, record: KafkaRecord | undefined): void {
    if (record === undefined) return;
    if (decodeControlRecord(record).type === "abort") this.#producerIds.delete(producerId);
  }

  has(producerId: number): boolean {
    return this.#producerIds.has(producerId);
  }
}
