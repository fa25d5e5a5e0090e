/**
 * The transaction coordinator: finds the shard of a transactional id, drives its machine with requests and time, and
 * has the partitions of a transaction told how it ends.
 *
 *     transactional id ──hash──► partition of __transaction_state ──► TransactionShard ──► Transaction
 *                                                                           │ PrepareCommit, PrepareAbort
 *                                     CompleteCommit, CompleteAbort ◄── MarkerSender ──► leaders of the partitions
 *
 * EndTxn is answered as soon as the decision is committed; markers follow. A request that comes before they are all
 * written waits a moment: a client that is told CONCURRENT_TRANSACTIONS comes back much later than that.
 *
 * Invariants: which shards there are, and when they may answer, is the matter of `LedShards`; the answer to a request
 * rests on what is committed. A partition is told its end by one coordinator: markers carry the epoch in which this
 * node leads the partition of `__transaction_state`, and one of a lower epoch is refused.
 *
 * Time: one queue of deadlines for all transactions, one timer for its head; a second timer looks for ids that have
 * not been used for long, some at a time.
 */

import { ErrorCode, errorName } from "../../protocol/errors.ts";
import type { TopicPartition } from "../../protocol/types.ts";
import type { Timer } from "../../storage/platform.ts";
import { TOMBSTONES_PER_BATCH } from "../coordination/coordinator_records.ts";
import {
  type CoordinationOptions,
  type CoordinatorRefusal,
  LedShards,
} from "../coordination/led_shards.ts";
import { TRANSACTION_VERSION_FEATURE } from "../controller/feature_changes.ts";
import { TRANSACTION_STATE_TOPIC } from "../controller/internal_topics.ts";
import type { ProducerIdManager } from "../controller/producer_id_manager.ts";
import { Deadlines } from "../deadlines.ts";
import { MarkerSender, type MarkerSenderOptions } from "./marker_sender.ts";
import type { TransactionCoordinatorSettings } from "./settings.ts";
import {
  type AddRequest,
  answerOf,
  type Decision,
  type EndRequest,
  type ProducerClaim,
  Transaction,
  type TransactionAnswer,
  type TransactionMetadata,
} from "./transaction.ts";
import { type TransactionEntry, TransactionShard } from "./transaction_shard.ts";

/** Transactions whose deadlines are worked off before the event loop is given back. */
const TRANSACTIONS_PER_TICK = 200;
/** Ids that are looked at for their age before the event loop is given back. */
const IDS_PER_SLICE = 2_000;
/** How long an answer waits for its append to be committed. */
const APPEND_TIMEOUT_MS = 5_000;
/** How long a request waits for a transaction to be over before its client is told to come again. */
const PATIENCE_MS = 200;
/** Between two tries to write that a transaction is over. */
const FIRST_RETRY_MS = 10;
const MAX_RETRY_MS = 1_000;
/** How many requests wait for one transaction: a producer has one under way, and brokers ask for it. */
const MAX_WAITERS = 64;

/** What the coordinator is made of. */
export interface TransactionCoordinatorOptions extends CoordinationOptions {
  readonly settings: () => TransactionCoordinatorSettings;
  readonly producerIds: Pick<ProducerIdManager, "next">;
  /** Asks a broker to write markers. Errors: rejects with NetworkError. */
  readonly sendMarkers: MarkerSenderOptions["send"];
}

/** InitProducerId of a transactional id. */
export interface InitProducer {
  readonly transactionalId: string;
  readonly timeoutMs: number;
  readonly expected: ProducerClaim | null;
}

/** Partitions that belong to a transaction, or should. */
export interface AddPartitions extends Omit<AddRequest, "nowMs"> {
  readonly transactionalId: string;
  /** False where others would have to wait with it: CONCURRENT_TRANSACTIONS at once while a transaction ends. */
  readonly isPatient: boolean;
}

/** EndTxn. */
export interface EndTransaction extends Omit<EndRequest, "nowMs" | "freshProducerId"> {
  readonly transactionalId: string;
}

/** A transactional id, for operators. */
export interface TransactionListing {
  readonly transactionalId: string;
  readonly metadata: TransactionMetadata;
}

/** How the coordinator of this node stands. */
export interface TransactionStats {
  readonly idCount: number;
  readonly openCount: number;
  /** Decided, and some partition lacks its marker. */
  readonly endingCount: number;
  readonly committedCount: number;
  readonly abortedCount: number;
  /** Of the aborted ones, those that took too long. */
  readonly timedOutCount: number;
}

/** What one try of a request has to go by. */
interface Attempt {
  readonly transaction: Transaction;
  readonly freshProducerId: number | null;
  readonly nowMs: number;
}

/** Answers the transaction APIs for the partitions of `__transaction_state` that this node leads. */
export class TransactionCoordinator {
  readonly #options: TransactionCoordinatorOptions;
  readonly #led: LedShards<TransactionShard>;
  readonly #markers: MarkerSender;
  readonly #deadlines: Deadlines<TransactionEntry>;
  #expiryTimer: Timer | null = null;
  /** Those that are being ended, each with what stands for this end of it. */
  readonly #ending = new Map<TransactionEntry, symbol>();
  readonly #stopping = new AbortController();
  #committedCount = 0;
  #abortedCount = 0;
  #timedOutCount = 0;
  #unsubscribe: (() => void) | null = null;

  constructor(options: TransactionCoordinatorOptions) {
    this.#options = options;
    const { clock, logger, controller } = options;
    const { stateTopic: newTopic, brokerSessionTimeoutMs } = options.settings();
    this.#deadlines = new Deadlines({
      clock,
      perTick: TRANSACTIONS_PER_TICK,
      onDue: (entry) => void this.#timeOut(entry),
    });
    this.#markers = new MarkerSender({
      clock,
      logger,
      image: () => controller.image(),
      send: options.sendMarkers,
    });
    this.#led = new LedShards({
      ...options,
      topic: TRANSACTION_STATE_TOPIC,
      newTopic,
      brokerSessionTimeoutMs,
      open: (opening) =>
        new TransactionShard({
          ...opening,
          clock,
          logger,
          transactionVersion: () => this.transactionVersion,
          appendTimeoutMs: APPEND_TIMEOUT_MS,
          host: this,
        }),
    });
  }

  /** Starts to follow the metadata; whoever applies it to the logs must have subscribed before. */
  start(): void {
    this.#led.start();
    this.#unsubscribe = this.#options.controller.subscribe((image, changes) => {
      this.#led.follow(image, changes);
    });
    this.#scheduleExpiry(this.#options.settings().idExpirationIntervalMs, null);
  }

  /** Answers everyone who waits and stops all timers. Returns: when no loading is under way any more. */
  async stop(): Promise<void> {
    this.#unsubscribe?.();
    this.#deadlines.stop();
    this.#expiryTimer?.cancel();
    this.#stopping.abort();
    this.#markers.stop();
    await this.#led.stop();
  }

  /** Resolves when every shard opened so far has loaded, failed or been closed. */
  loaded(): Promise<void> {
    return this.#led.loaded();
  }

  /** The cluster's level of `transaction.version`. */
  get transactionVersion(): number {
    return this.#options.controller.image().features.get(TRANSACTION_VERSION_FEATURE) ?? 0;
  }

  /** The partition of `__transaction_state` that a transactional id belongs to. */
  partitionFor(transactionalId: string): number {
    return this.#led.partitionFor(transactionalId);
  }

  /** True while this node answers for the ids of a partition; at most one node does. */
  answersFor(partition: number): boolean {
    return this.#led.answersFor(partition);
  }

  /** Who leads an id's partition; makes `__transaction_state` when there is none yet. */
  find(
    transactionalId: string,
  ): Promise<
    { readonly error: typeof ErrorCode.NONE; readonly leader: number } | CoordinatorRefusal
  > {
    return this.#led.find(transactionalId);
  }

  // ---- requests -------------------------------------------------------------------------------------

  /** InitProducerId. Returns: the producer's id and epoch, once they are committed. */
  async initProducerId(
    { transactionalId, timeoutMs, expected }: InitProducer,
  ): Promise<TransactionAnswer> {
    if (transactionalId === "") return answerOf(ErrorCode.INVALID_REQUEST);
    if (timeoutMs <= 0 || timeoutMs > this.#options.settings().maxTimeoutMs) {
      return answerOf(ErrorCode.INVALID_TRANSACTION_TIMEOUT);
    }
    const { transactionVersion } = this;
    return await this.#run(
      transactionalId,
      ({ transaction, freshProducerId, nowMs }) =>
        transaction.initProducerId({
          timeoutMs,
          expected,
          freshProducerId,
          transactionVersion,
          nowMs,
        }),
      { isPatient: true, newTimeoutMs: timeoutMs },
    );
  }

  /** AddPartitionsToTxn and AddOffsetsToTxn. Returns: when the partitions are committed to the log. */
  async addPartitions(
    { transactionalId, isPatient, ...request }: AddPartitions,
  ): Promise<ErrorCode> {
    if (transactionalId === "") return ErrorCode.INVALID_REQUEST;
    const { error } = await this.#run(
      transactionalId,
      ({ transaction, nowMs }) => transaction.addPartitions({ ...request, nowMs }),
      { isPatient },
    );
    return error;
  }

  /**
   * AddPartitionsToTxn that only asks. Returns: one error code for each partition, in order: TRANSACTION_ABORTABLE for
   * one that is no part of the transaction.
   */
  verify(
    transactionalId: string,
    claim: ProducerClaim,
    partitions: readonly TopicPartition[],
  ): readonly ErrorCode[] {
    const all = (error: ErrorCode) => partitions.map(() => error);
    if (transactionalId === "") return all(ErrorCode.INVALID_REQUEST);
    const shard = this.#led.shardOf(transactionalId);
    if (!(shard instanceof TransactionShard)) return all(shard.error);
    const transaction = shard.get(transactionalId)?.transaction;
    if (transaction === undefined) return all(ErrorCode.INVALID_PRODUCER_ID_MAPPING);
    const error = transaction.verify(claim);
    if (error !== ErrorCode.NONE) return all(error);
    return partitions.map((one) => (
      transaction.has(one) ? ErrorCode.NONE : ErrorCode.TRANSACTION_ABORTABLE
    ));
  }

  /** EndTxn. Returns: what the producer goes on with, once the decision is committed to the log. */
  async endTransaction(
    { transactionalId, ...request }: EndTransaction,
  ): Promise<TransactionAnswer> {
    if (transactionalId === "") return answerOf(ErrorCode.INVALID_REQUEST);
    return await this.#run(
      transactionalId,
      ({ transaction, freshProducerId, nowMs }) =>
        transaction.end({ ...request, freshProducerId, nowMs }),
      { isPatient: true },
    );
  }

  /**
   * Tries a request until it is decided, and writes what it decides. The first try is made before this returns, so
   * that requests are decided in the order in which they came.
   */
  async #run(
    transactionalId: string,
    attempt: (attempt: Attempt) => Decision,
    { isPatient, newTimeoutMs }: {
      readonly isPatient: boolean;
      /** Makes an id that is not known, with this timeout. */
      readonly newTimeoutMs?: number;
    },
  ): Promise<TransactionAnswer> {
    const { clock, producerIds } = this.#options;
    const patientUntilMs = clock.monotonicMs() + PATIENCE_MS;
    let freshProducerId: number | null = null;
    for (;;) {
      const entry = this.#entryOf(transactionalId, newTimeoutMs, freshProducerId);
      if (entry !== null && "error" in entry) return answerOf(entry.error);
      const nowMs = clock.wallMs();
      const decision: Decision = entry === null
        ? { kind: "needsProducerId" }
        : attempt({ transaction: entry.transaction, freshProducerId, nowMs });
      if (decision.kind === "answer") return decision.answer;
      if (decision.kind === "needsProducerId") {
        const next = await producerIds.next();
        if (!("producerId" in next)) return answerOf(next.error);
        freshProducerId = next.producerId;
        continue;
      }
      if (entry === null) continue;
      if (decision.kind === "append") {
        const answer = await entry.shard.write(entry);
        // A transaction was open, and is being aborted: the same request again, once that is done.
        if (answer.error !== ErrorCode.CONCURRENT_TRANSACTIONS) return answer;
        continue;
      }
      const waits = isPatient || decision.until === "appended";
      if (!waits || !(await this.#changes(entry, patientUntilMs))) {
        return answerOf(ErrorCode.CONCURRENT_TRANSACTIONS);
      }
    }
  }

  /** The transaction, or why there is none; null when one is to be made and has no producer id yet. */
  #entryOf(
    transactionalId: string,
    newTimeoutMs: number | undefined,
    freshProducerId: number | null,
  ): TransactionEntry | CoordinatorRefusal | null {
    const shard = this.#led.shardOf(transactionalId);
    if (!(shard instanceof TransactionShard)) return shard;
    const known = shard.get(transactionalId);
    if (known !== undefined) return known;
    if (newTimeoutMs === undefined) return { error: ErrorCode.INVALID_PRODUCER_ID_MAPPING };
    if (freshProducerId === null) return null;
    return shard.add(Transaction.create(transactionalId, {
      producerId: freshProducerId,
      timeoutMs: newTimeoutMs,
      nowMs: this.#options.clock.wallMs(),
    }));
  }

  /** Waits until the transaction is in another state. Returns: false when that takes too long. */
  async #changes(entry: TransactionEntry, untilMs: number): Promise<boolean> {
    const { clock } = this.#options;
    const leftMs = untilMs - clock.monotonicMs();
    if (leftMs <= 0 || entry.waiters.size >= MAX_WAITERS) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const wake = () => resolve(true);
    entry.waiters.add(wake);
    const timer = clock.timer(leftMs, () => resolve(false));
    try {
      return await promise;
    } finally {
      timer.cancel();
      entry.waiters.delete(wake);
    }
  }

  // ---- operators ------------------------------------------------------------------------------------

  /** DescribeTransactions of one id. */
  describe(
    transactionalId: string,
  ):
    | { readonly error: typeof ErrorCode.NONE; readonly metadata: TransactionMetadata }
    | CoordinatorRefusal {
    if (transactionalId === "") return { error: ErrorCode.INVALID_REQUEST };
    const shard = this.#led.shardOf(transactionalId);
    if (!(shard instanceof TransactionShard)) return shard;
    const transaction = shard.get(transactionalId)?.transaction;
    return transaction === undefined || transaction.isBlank
      ? { error: ErrorCode.TRANSACTIONAL_ID_NOT_FOUND }
      : { error: ErrorCode.NONE, metadata: transaction.metadata };
  }

  /** ListTransactions: all ids led here. COORDINATOR_LOAD_IN_PROGRESS while some are not known yet. */
  list(): { readonly error: ErrorCode; readonly transactions: Iterable<TransactionListing> } {
    const error = this.#led.listingError;
    return { error, transactions: error === ErrorCode.NONE ? this.transactions() : [] };
  }

  /** The transactional ids known by now. */
  *transactions(): Generator<TransactionListing> {
    for (const shard of this.#led.shards()) {
      for (const { transaction: { transactionalId, metadata, isBlank } } of shard.entries()) {
        if (!isBlank) yield { transactionalId, metadata };
      }
    }
  }

  /** What the metrics show. Counts of what has happened are since the start. */
  get stats(): TransactionStats {
    let idCount = 0;
    for (const shard of this.#led.shards()) idCount += shard.size;
    return {
      idCount,
      openCount: this.#deadlines.size,
      endingCount: this.#ending.size,
      committedCount: this.#committedCount,
      abortedCount: this.#abortedCount,
      timedOutCount: this.#timedOutCount,
    };
  }

  // ---- what the shards report -----------------------------------------------------------------------

  transactionChanged(entry: TransactionEntry): void {
    const { transaction } = entry;
    this.#setDeadline(entry);
    if (!transaction.isEnding) this.#ending.delete(entry);
    else if (!this.#ending.has(entry)) this.#sendMarkers(entry);
  }

  transactionGone(entry: TransactionEntry): void {
    this.#deadlines.delete(entry);
    this.#ending.delete(entry);
  }

  #setDeadline(entry: TransactionEntry): void {
    const { clock } = this.#options;
    const atWallMs = entry.transaction.timesOutAtMs;
    const atMs = atWallMs === Infinity
      ? Infinity
      : clock.monotonicMs() + Math.max(0, atWallMs - clock.wallMs());
    this.#deadlines.set(entry, atMs);
  }

  // ---- the end of a transaction ---------------------------------------------------------------------

  #sendMarkers(entry: TransactionEntry): void {
    const end = Symbol("end");
    this.#ending.set(entry, end);
    const isWanted = () => this.#ending.get(entry) === end;
    const { transaction, shard } = entry;
    const { metadata, transactionalId } = transaction;
    this.#markers.send({
      transactionalId,
      producerId: metadata.producerId,
      producerEpoch: metadata.producerEpoch,
      isCommit: metadata.state === "PrepareCommit",
      coordinatorEpoch: shard.coordinatorEpoch,
      transactionVersion: metadata.clientTransactionVersion,
      partitions: metadata.partitions,
      isWanted,
      onDone: () => void this.#complete(entry, isWanted),
    });
  }

  /** Writes that a transaction is over, again and again until that is committed or another node coordinates it. */
  async #complete(entry: TransactionEntry, isWanted: () => boolean): Promise<void> {
    const { clock, logger } = this.#options;
    const { transaction, shard } = entry;
    for (let retryMs = FIRST_RETRY_MS; isWanted(); retryMs = Math.min(2 * retryMs, MAX_RETRY_MS)) {
      // What is in doubt is the next coordinator's matter.
      if (transaction.pending === null) {
        transaction.complete(clock.wallMs());
        const { error } = await shard.write(entry);
        if (error === ErrorCode.NONE) this.#countEnd(transaction);
        if (!isWanted()) return;
        const { transactionalId } = transaction;
        logger.debug("Cannot end a transaction yet", { transactionalId, error: errorName(error) });
      }
      await clock.sleep(retryMs, this.#stopping.signal);
      if (this.#stopping.signal.aborted) return;
    }
  }

  #countEnd({ metadata: { state } }: Transaction): void {
    if (state === "CompleteCommit") this.#committedCount++;
    else if (state === "CompleteAbort") this.#abortedCount++;
  }

  // ---- time -----------------------------------------------------------------------------------------

  async #timeOut(entry: TransactionEntry): Promise<void> {
    const { clock, logger, settings, holdsLease } = this.#options;
    const { transaction, shard } = entry;
    const { transactionalId, metadata: { producerId, producerEpoch, timeoutMs } } = transaction;
    const tryAgain = (delayMs: number) => {
      if (transaction.timesOutAtMs === Infinity || shard.get(transactionalId) !== entry) return;
      this.#deadlines.set(entry, clock.monotonicMs() + delayMs);
    };
    // Where another node may coordinate it by now it is that one's matter.
    if (!holdsLease()) return tryAgain(settings().brokerSessionTimeoutMs);
    const { transactionVersion } = this;
    const isDue = transaction.timeOut({ transactionVersion, nowMs: clock.wallMs() });
    // The wall clock may have been set back meanwhile.
    if (!isDue) return this.#setDeadline(entry);
    const { error } = await shard.write(entry);
    if (error === ErrorCode.CONCURRENT_TRANSACTIONS) {
      this.#timedOutCount++;
      logger.info("Aborting a transaction that took too long", {
        transactionalId,
        producerId,
        producerEpoch,
        timeoutMs,
      });
      return;
    }
    tryAgain(settings().abortRetryMs);
  }

  /** Looks for old ids, a slice at a time; `rest` is where the last slice ended. */
  #scheduleExpiry(delayMs: number, rest: Iterator<TransactionEntry> | null): void {
    const { clock, settings } = this.#options;
    this.#expiryTimer = clock.timer(delayMs, () => {
      const ids = rest ?? this.#entries();
      const isOver = this.#expireSome(ids);
      if (isOver) this.#scheduleExpiry(settings().idExpirationIntervalMs, null);
      else this.#scheduleExpiry(0, ids);
    });
  }

  *#entries(): Generator<TransactionEntry> {
    for (const shard of this.#led.shards()) yield* shard.entries();
  }

  /** Returns: true when there are no more. */
  #expireSome(entries: Iterator<TransactionEntry>): boolean {
    const { clock, settings, holdsLease } = this.#options;
    const beforeMs = clock.wallMs() - settings().idExpirationMs;
    const expired = new Map<TransactionShard, TransactionEntry[]>();
    let isOver = false;
    for (let count = 0; count < IDS_PER_SLICE; count++) {
      const next = entries.next();
      if (next.done === true) {
        isOver = true;
        break;
      }
      const { shard, transaction } = next.value;
      if (!shard.isActive || !holdsLease()) continue;
      if (!transaction.expire(beforeMs)) continue;
      const some = expired.get(shard);
      if (some === undefined) expired.set(shard, [next.value]);
      else some.push(next.value);
    }
    for (const [shard, some] of expired) {
      for (let start = 0; start < some.length; start += TOMBSTONES_PER_BATCH) {
        shard.writeTombstones(some.slice(start, start + TOMBSTONES_PER_BATCH));
      }
    }
    return isOver;
  }
}
