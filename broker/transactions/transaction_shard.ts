/**
 * The transactional ids of one partition of `__transaction_state`, while this node leads it.
 *
 * The shard writes the step that a transaction's machine has decided, and tells the machine how it went. A
 * transaction whose end is in the log and of which the log does not say that it is over goes on as soon as the
 * shard is active: its partitions may or may not have been told.
 *
 * Invariant: steps are applied in the order of the log.
 */

import assert from "node:assert/strict";
import { ErrorCode } from "../../protocol/errors.ts";
import { buildBatch, readRecords } from "../../protocol/records.ts";
import type { Clock, Logger } from "../../storage/platform.ts";
import { type KeyValue, recordsOf } from "../coordination/coordinator_records.ts";
import type { Shard, ShardOpening } from "../coordination/led_shards.ts";
import { ShardLog } from "../coordination/shard_log.ts";
import {
  answerOf,
  Transaction,
  type TransactionAnswer,
  type TransactionMetadata,
} from "./transaction.ts";
import { decodeTransaction, encodeTransaction } from "./transaction_records.ts";

/** No batch of this log may be larger when decompressed. */
const MAX_DECOMPRESSED_BYTES = 64 * 1024 * 1024;
/** Ids that are taken in before the event loop is given back. */
const IDS_PER_SLICE = 2_000;

/** A transactional id in its shard. */
export interface TransactionEntry {
  readonly transaction: Transaction;
  readonly shard: TransactionShard;
  /** Who waits until the transaction is in another state. */
  readonly waiters: Set<() => void>;
}

/** The coordinator, as its shards see it. */
export interface TransactionShardHost {
  /** A step is in force, or has failed: deadlines and markers may be due. */
  transactionChanged(entry: TransactionEntry): void;
  /** It is not coordinated here any more, or is forgotten. */
  transactionGone(entry: TransactionEntry): void;
}

/** What a shard is made of. */
export interface TransactionShardOptions extends ShardOpening {
  readonly clock: Clock;
  readonly logger: Logger;
  /** The cluster's level of `transaction.version`. */
  readonly transactionVersion: () => number;
  /** How long an answer waits for its append to be committed; what is appended counts even so. */
  readonly appendTimeoutMs: number;
  readonly host: TransactionShardHost;
}

/** The transactional ids of one led partition. */
export class TransactionShard implements Shard {
  readonly #options: TransactionShardOptions;
  readonly #log: ShardLog;
  readonly #entries = new Map<string, TransactionEntry>();
  /** Transactions that were open, or being ended, when the log was loaded. */
  readonly #urgent: TransactionEntry[] = [];

  constructor(options: TransactionShardOptions) {
    this.#options = options;
    this.#log = new ShardLog({ ...options, contents: "transactions" });
  }

  get partition(): number {
    return this.#options.partition;
  }

  /** By which partitions tell this coordinator from the one before. */
  get coordinatorEpoch(): number {
    return this.#options.leaderEpoch;
  }

  get isActive(): boolean {
    return this.#log.isActive;
  }

  get availability(): ErrorCode {
    return this.#log.availability;
  }

  /** How many transactional ids it has. */
  get size(): number {
    return this.#entries.size;
  }

  /** The transactional ids of an active shard. */
  entries(): Iterable<TransactionEntry> {
    return this.#entries.values();
  }

  get(transactionalId: string): TransactionEntry | undefined {
    return this.#entries.get(transactionalId);
  }

  /** Takes in an id that is used for the first time. */
  add(transaction: Transaction): TransactionEntry {
    assert(!this.#entries.has(transaction.transactionalId));
    const entry = { transaction, shard: this, waiters: new Set<() => void>() };
    this.#entries.set(transaction.transactionalId, entry);
    return entry;
  }

  /**
   * Writes the step that a transaction has decided.
   *
   * Returns: the machine's answer once it is committed; COORDINATOR_NOT_AVAILABLE when that takes too long.
   */
  write(entry: TransactionEntry): Promise<TransactionAnswer> {
    const { transaction } = entry;
    const { pending } = transaction;
    assert(pending !== null, "nothing to write");
    const { promise, resolve } = Promise.withResolvers<TransactionAnswer>();
    let answer = answerOf(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    const settled = this.#log.waits.bounded(() => resolve(answer));
    this.#append([this.#encode(transaction.transactionalId, pending.metadata)], (error) => {
      answer = this.#settled(entry, error);
      settled(answer.error);
    });
    return promise;
  }

  /** Writes the tombstones that these transactions have decided. */
  writeTombstones(entries: readonly TransactionEntry[]): void {
    const records = entries.map(({ transaction }) => {
      assert(transaction.pending?.metadata === null);
      return this.#encode(transaction.transactionalId, null);
    });
    this.#append(records, (error) => {
      for (const entry of entries) this.#settled(entry, error);
    });
  }

  async load(): Promise<void> {
    const { clock, logger, host } = this.#options;
    const startedMs = clock.monotonicMs();
    const loaded = new Map<string, TransactionMetadata>();
    await this.#log.read({ onBatch: (bytes, position) => takeBatch(bytes, position, loaded) });
    let count = 0;
    for (const [id, metadata] of loaded) {
      this.#take(id, metadata);
      if (++count % IDS_PER_SLICE === 0) await clock.sleep(0);
    }
    if (!this.#log.isLoading) return;
    this.#log.activate();
    for (const entry of this.#urgent.splice(0)) host.transactionChanged(entry);
    if (loaded.size > 0) {
      logger.info("Loaded transactional ids", {
        partition: this.partition,
        ids: loaded.size,
        durationMs: Math.round(clock.monotonicMs() - startedMs),
      });
    }
  }

  /** Takes in what the log says of an id. */
  #take(transactionalId: string, metadata: TransactionMetadata): void {
    if (!this.#log.isLoading) return;
    // Whoever began it may have had a clock ahead of this one: until that time comes nobody else would end it.
    const startTimestampMs = Math.min(metadata.startTimestampMs, this.#options.clock.wallMs());
    const entry = this.add(new Transaction(transactionalId, { ...metadata, startTimestampMs }));
    const { isEnding, timesOutAtMs } = entry.transaction;
    if (isEnding || timesOutAtMs < Infinity) this.#urgent.push(entry);
  }

  close(): void {
    if (!this.#log.close()) return;
    for (const entry of [...this.#entries.values()]) this.#remove(entry);
  }

  /** Tells who waits for a transaction that it is in another state. */
  #remove(entry: TransactionEntry): void {
    this.#entries.delete(entry.transaction.transactionalId);
    this.#options.host.transactionGone(entry);
    wake(entry);
  }

  #settled(entry: TransactionEntry, error: ErrorCode): TransactionAnswer {
    const { transaction } = entry;
    const { answer } = transaction.appended(error);
    const isHere = this.#entries.get(transaction.transactionalId) === entry;
    if (!isHere) return answer;
    if (transaction.isDead || transaction.isBlank) this.#remove(entry);
    else {
      this.#options.host.transactionChanged(entry);
      wake(entry);
    }
    return answer;
  }

  #encode(transactionalId: string, metadata: TransactionMetadata | null): KeyValue {
    return encodeTransaction(transactionalId, metadata, this.#options.transactionVersion());
  }

  #append(records: readonly KeyValue[], onSettled: (error: ErrorCode) => void): void {
    const timestamp = this.#options.clock.wallMs();
    this.#log.append(buildBatch({ records: recordsOf(records, timestamp) }), onSettled);
  }
}

function wake({ waiters }: TransactionEntry): void {
  const woken = [...waiters];
  waiters.clear();
  for (const wakeOne of woken) wakeOne();
}

/** Takes the records of a batch: the last one of each id wins. Errors: WireError when damaged. */
function takeBatch(
  bytes: Uint8Array,
  position: number,
  loaded: Map<string, TransactionMetadata>,
): void {
  const records = readRecords(bytes, position, { maxDecompressedBytes: MAX_DECOMPRESSED_BYTES });
  for (const bytesOfRecord of records) {
    const record = decodeTransaction(bytesOfRecord);
    if (record.kind === "other") continue;
    if (record.metadata === null) loaded.delete(record.transactionalId);
    else loaded.set(record.transactionalId, record.metadata);
  }
}
