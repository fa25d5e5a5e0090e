/**
 * One transactional id, as a pure state machine: requests and time in; an answer, or what is to be written first, out.
 *
 *        InitProducerId                 partitions                      EndTxn, time-out, InitProducerId
 *     ──────────────────→ Empty ──────────────────→ Ongoing ──────┬──→ PrepareCommit ──→ CompleteCommit ─┐
 *                           ↑                          ↑          └──→ PrepareAbort  ──→ CompleteAbort  ─┤
 *                           │                          └──────────────── partitions ────────────────────┤
 *                           └─────────────────────────────────────── InitProducerId ────────────────────┘
 *     Empty, CompleteCommit and CompleteAbort go to PrepareAbort too (an abort of nothing, version 2), and to
 *     nothing when the id has not been used for long ("Dead": a tombstone).
 *
 * A step is decided, written, and in force once it is committed to the log: only then does anything of it show, to
 * the client and to the next request. One step is under way at a time; whoever comes meanwhile waits, or is told
 * CONCURRENT_TRANSACTIONS. What may or may not be in the log stays under way for good: the log decides when it is
 * loaded again. (Kafka takes such a step back in memory, though the log may have it.)
 *
 * The epoch tells producers of one id apart: only the one with the newest may do anything. It is raised by
 * InitProducerId, by the abort of a transaction that took too long, and in version 2 of the protocol by each EndTxn
 * (KIP-890). The last epoch is never handed out: a producer that has it could not be fenced. A producer that comes
 * to it gets a fresh id with epoch 0.
 *
 * Invariants: PrepareCommit is followed by CompleteCommit, and PrepareAbort by CompleteAbort; with one producer id
 * the epoch never goes back; partitions are never taken from a transaction that is not over.
 *
 * Source: KIP-98, KIP-360, KIP-890; Kafka's TransactionMetadata and TransactionCoordinator.
 */

import assert from "node:assert/strict";
import { ErrorCode } from "../../protocol/errors.ts";
import { coordinatorError, isCommitted } from "../coordination/append_waits.ts";
import type { TopicPartition } from "../../protocol/types.ts";

/** States by their numbers in the log. Source: Kafka's TransactionState. */
export const TRANSACTION_STATES = [
  "Empty",
  "Ongoing",
  "PrepareCommit",
  "PrepareAbort",
  "CompleteCommit",
  "CompleteAbort",
  "Dead",
  "PrepareEpochFence",
] as const;
/** A state; the last two are in no log, and only names that a client may ask for. */
export type TransactionState = (typeof TRANSACTION_STATES)[number];

/** No producer id. */
export const NO_PRODUCER_ID = -1;
/** No epoch: a producer that was not told any. */
export const NO_PRODUCER_EPOCH = -1;
/** The largest int16; no producer ever has it. */
const LAST_EPOCH = 32_767;
/** The version of the transaction protocol in which each transaction has an epoch of its own. */
export const EPOCH_BUMP_VERSION = 2;

/** Partitions by topic. */
export type TransactionPartitions = ReadonlyMap<string, ReadonlySet<number>>;

/** No partitions. */
export const NO_PARTITIONS: TransactionPartitions = new Map();

/** What the log has of a transactional id. */
export interface TransactionMetadata {
  readonly producerId: number;
  /** The producer id before the last step: another one only after a fresh id was given. −1 for none. */
  readonly previousProducerId: number;
  /** The fresh id that the producer gets when this transaction is over; −1 when it keeps its own. */
  readonly nextProducerId: number;
  /** −1 until the first InitProducerId is committed. */
  readonly producerEpoch: number;
  /** The epoch before, where its producer may ask again; −1 for none. In no log: a new coordinator has −1. */
  readonly lastProducerEpoch: number;
  readonly timeoutMs: number;
  readonly state: TransactionState;
  readonly partitions: TransactionPartitions;
  /** Wall clock; −1 when no transaction has begun. */
  readonly startTimestampMs: number;
  /** Wall clock. */
  readonly lastUpdateTimestampMs: number;
  /** The version of the protocol that the client speaks: 0, 1 or 2. */
  readonly clientTransactionVersion: number;
}

/** What a client is told. */
export interface TransactionAnswer {
  readonly error: ErrorCode;
  /** −1 unless it is to go on with it. */
  readonly producerId: number;
  readonly producerEpoch: number;
}

/** What comes of a request. */
export type Decision =
  | { readonly kind: "answer"; readonly answer: TransactionAnswer }
  /** `pending` is to be written; `appended` has the answer. */
  | { readonly kind: "append" }
  /** A fresh producer id is needed: the same request again, with one. */
  | { readonly kind: "needsProducerId" }
  /** Another step is under way, or the transaction is being ended: CONCURRENT_TRANSACTIONS unless somebody waits. */
  | { readonly kind: "wait"; readonly until: "appended" | "completed" };

/** A producer as it names itself. */
export interface ProducerClaim {
  readonly producerId: number;
  readonly producerEpoch: number;
}

/** An InitProducerId that the coordinator has checked. */
export interface InitRequest {
  readonly timeoutMs: number;
  /** What the producer had until now (KIP-360); null when it begins. */
  readonly expected: ProducerClaim | null;
  /** An id that nobody has, if one was asked for. */
  readonly freshProducerId: number | null;
  /** The cluster's level of `transaction.version`: how a transaction that is still open is aborted. */
  readonly transactionVersion: number;
  readonly nowMs: number;
}

/** An EndTxn. */
export interface EndRequest extends ProducerClaim {
  readonly isCommit: boolean;
  /** The version of the protocol that the client speaks. */
  readonly transactionVersion: number;
  readonly freshProducerId: number | null;
  readonly nowMs: number;
}

/** Partitions that a client, or a broker for it, makes part of the transaction. */
export interface AddRequest extends ProducerClaim {
  readonly partitions: readonly TopicPartition[];
  readonly transactionVersion: number;
  readonly nowMs: number;
}

/** A step that is being written. */
export interface PendingStep {
  /** Null for a tombstone. */
  readonly metadata: TransactionMetadata | null;
  readonly answer: TransactionAnswer;
}

/** How a step that was written went. */
export interface Appended {
  /** True when it is in force. */
  readonly isApplied: boolean;
  /** True when nobody knows whether it is in the log: it stays under way. */
  readonly isInDoubt: boolean;
  readonly answer: TransactionAnswer;
}

/** A transactional id. */
export class Transaction {
  readonly transactionalId: string;
  #metadata: TransactionMetadata;
  #pending: PendingStep | null = null;
  #isDead = false;

  constructor(transactionalId: string, metadata: TransactionMetadata) {
    this.transactionalId = transactionalId;
    this.#metadata = metadata;
  }

  /** An id that is used for the first time; nothing of it is in the log yet. */
  static create(
    transactionalId: string,
    { producerId, timeoutMs, nowMs }: {
      readonly producerId: number;
      readonly timeoutMs: number;
      readonly nowMs: number;
    },
  ): Transaction {
    return new Transaction(transactionalId, {
      producerId,
      previousProducerId: NO_PRODUCER_ID,
      nextProducerId: NO_PRODUCER_ID,
      producerEpoch: NO_PRODUCER_EPOCH,
      lastProducerEpoch: NO_PRODUCER_EPOCH,
      timeoutMs,
      state: "Empty",
      partitions: NO_PARTITIONS,
      startTimestampMs: -1,
      lastUpdateTimestampMs: nowMs,
      clientTransactionVersion: 0,
    });
  }

  /** What is in force. */
  get metadata(): TransactionMetadata {
    return this.#metadata;
  }

  /** The step that is being written. */
  get pending(): PendingStep | null {
    return this.#pending;
  }

  /** True while nothing of it has ever been written. */
  get isBlank(): boolean {
    return this.#metadata.producerEpoch === NO_PRODUCER_EPOCH && this.#pending === null;
  }

  /** True once its tombstone is committed. */
  get isDead(): boolean {
    return this.#isDead;
  }

  /** Wall clock time after which the transaction is to be aborted; Infinity when none is open. */
  get timesOutAtMs(): number {
    const { state, startTimestampMs, timeoutMs } = this.#metadata;
    const isOpen = state === "Ongoing" && this.#pending === null;
    return isOpen ? startTimestampMs + timeoutMs : Infinity;
  }

  /** True while its partitions are to be told how the transaction ends. */
  get isEnding(): boolean {
    const { state } = this.#metadata;
    return state === "PrepareCommit" || state === "PrepareAbort";
  }

  // ---- requests -------------------------------------------------------------------------------------

  /** InitProducerId: an id and epoch that fence every producer before. */
  initProducerId(request: InitRequest): Decision {
    const { expected, transactionVersion, nowMs } = request;
    if (this.#pending !== null) return waitUntil("appended");
    if (expected !== null && !this.#mayExpect(expected)) return refuse(ErrorCode.PRODUCER_FENCED);
    if (this.isEnding) return waitUntil("completed");
    if (this.#metadata.state !== "Ongoing") return this.#nextEpoch(request);
    // A producer that has been fenced must not end the transaction of the one after it.
    if (expected !== null && expected.producerEpoch !== this.#metadata.producerEpoch) {
      return refuse(ErrorCode.PRODUCER_FENCED);
    }
    // The epoch that comes of this is never told: the client asks again, and gets the one after it.
    this.#fence({ transactionVersion, nowMs });
    return { kind: "append" };
  }

  /** AddPartitionsToTxn and AddOffsetsToTxn. */
  addPartitions(request: AddRequest): Decision {
    const { metadata } = this;
    const { partitions, transactionVersion, nowMs } = request;
    const error = this.#claimError(request);
    if (error !== ErrorCode.NONE) return refuse(error);
    if (this.#pending !== null) return waitUntil("appended");
    if (this.isEnding) return waitUntil("completed");
    const isOngoing = metadata.state === "Ongoing";
    const added = partitions.filter(({ topic, partition }) =>
      metadata.partitions.get(topic)?.has(partition) !== true
    );
    if (isOngoing && added.length === 0) return accept();
    this.#step({
      ...metadata,
      state: "Ongoing",
      partitions: isOngoing ? union(metadata.partitions, added) : union(NO_PARTITIONS, partitions),
      startTimestampMs: isOngoing ? metadata.startTimestampMs : nowMs,
      lastUpdateTimestampMs: nowMs,
      clientTransactionVersion: transactionVersion,
    });
    return { kind: "append" };
  }

  /**
   * AddPartitionsToTxn that only asks (KIP-890).
   *
   * Returns: why none of them can be part of the transaction; NONE: those are that `has` says.
   */
  verify(claim: ProducerClaim): ErrorCode {
    const error = this.#claimError(claim);
    if (error !== ErrorCode.NONE) return error;
    return this.isEnding ? ErrorCode.CONCURRENT_TRANSACTIONS : ErrorCode.NONE;
  }

  /** True for a partition of the transaction. */
  has({ topic, partition }: TopicPartition): boolean {
    return this.#metadata.partitions.get(topic)?.has(partition) === true;
  }

  /** EndTxn, in the version that its client speaks. */
  end(request: EndRequest): Decision {
    return request.transactionVersion >= EPOCH_BUMP_VERSION
      ? this.#endWithNewEpoch(request)
      : this.#endInPlace(request);
  }

  /** Aborts a transaction that has been open for longer than its producer said. Returns: false when there is none. */
  timeOut(
    { transactionVersion, nowMs }: {
      readonly transactionVersion: number;
      readonly nowMs: number;
    },
  ): boolean {
    if (nowMs < this.timesOutAtMs) return false;
    this.#fence({ transactionVersion, nowMs });
    return true;
  }

  /** Every partition has been told how the transaction ends: `pending` says that it is over. */
  complete(nowMs: number): void {
    assert(this.isEnding && this.#pending === null);
    this.#step(completed(this.#metadata, nowMs));
  }

  /** Forgets an id that has not been used since `beforeMs`. Returns: false when it has to stay. */
  expire(beforeMs: number): boolean {
    const { state, lastUpdateTimestampMs } = this.#metadata;
    const isIdle = state === "Empty" || state === "CompleteCommit" || state === "CompleteAbort";
    if (!isIdle || this.#pending !== null || this.isBlank) return false;
    if (lastUpdateTimestampMs > beforeMs) return false;
    this.#pending = { metadata: null, answer: answerOf(ErrorCode.NONE) };
    return true;
  }

  // ---- what the log says ----------------------------------------------------------------------------

  /** The pending step is committed (NONE), or is not. */
  appended(error: ErrorCode): Appended {
    const pending = this.#pending;
    assert(pending !== null, `Nothing of ${this.transactionalId} was being written`);
    const isApplied = isCommitted(error);
    const isInDoubt = error === ErrorCode.NOT_LEADER_OR_FOLLOWER ||
      error === ErrorCode.KAFKA_STORAGE_ERROR || error === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    if (!isInDoubt) this.#pending = null;
    if (isApplied) {
      this.#isDead = pending.metadata === null;
      if (pending.metadata !== null) this.#metadata = pending.metadata;
    }
    const answer = error === ErrorCode.NONE ? pending.answer : answerOf(coordinatorError(error));
    return { isApplied, isInDoubt, answer };
  }

  // ---- InitProducerId -------------------------------------------------------------------------------

  /** The id may be the one before where its last epoch was used up: its producer did not hear of the new one. */
  #mayExpect({ producerId, producerEpoch }: ProducerClaim): boolean {
    const { metadata } = this;
    return metadata.producerEpoch === NO_PRODUCER_EPOCH || producerId === metadata.producerId ||
      (producerId === metadata.previousProducerId && isExhausted(producerEpoch));
  }

  #nextEpoch({ expected, timeoutMs, freshProducerId, nowMs }: InitRequest): Decision {
    const { metadata } = this;
    const { producerId, producerEpoch, lastProducerEpoch } = metadata;
    const next = {
      ...metadata,
      state: "Empty",
      timeoutMs,
      partitions: NO_PARTITIONS,
      startTimestampMs: -1,
      lastUpdateTimestampMs: nowMs,
    } as const;
    const isFirst = producerEpoch === NO_PRODUCER_EPOCH;
    const isCurrent = expected === null || isFirst ||
      (expected.producerId === producerId && expected.producerEpoch === producerEpoch);
    // It asks again: nobody else has come since, or there would be no last epoch.
    const isAgain = !isCurrent && expected.producerEpoch === lastProducerEpoch;
    if (!isCurrent && !isAgain) return refuse(ErrorCode.PRODUCER_FENCED);
    const last = expected === null || isFirst ? NO_PRODUCER_EPOCH : expected.producerEpoch;
    // The abort of an open transaction may have taken the last epoch, which is nobody's.
    if (isAgain ? producerEpoch === LAST_EPOCH : isExhausted(producerEpoch)) {
      if (freshProducerId === null) return { kind: "needsProducerId" };
      const fresh = { producerId: freshProducerId, producerEpoch: 0, lastProducerEpoch: last };
      return this.#handOut({ ...next, ...fresh });
    }
    if (isAgain) return this.#handOut(next);
    return this.#handOut({ ...next, producerEpoch: producerEpoch + 1, lastProducerEpoch: last });
  }

  #handOut(metadata: TransactionMetadata): Decision {
    const { producerId, producerEpoch } = metadata;
    this.#step(metadata, { error: ErrorCode.NONE, producerId, producerEpoch });
    return { kind: "append" };
  }

  // ---- EndTxn ---------------------------------------------------------------------------------------

  /** Versions 0 and 1: the producer keeps its epoch. */
  #endInPlace(request: EndRequest): Decision {
    const { state } = this.#metadata;
    const { isCommit, nowMs } = request;
    const error = this.#claimError(request);
    if (error !== ErrorCode.NONE) return refuse(error);
    if (this.#pending !== null) return waitUntil("appended");
    if (state === "Ongoing") {
      this.#prepare({ isCommit, transactionVersion: 0, nextProducerId: NO_PRODUCER_ID, nowMs });
      return { kind: "append" };
    }
    if (isDecided(state) !== isCommit) return refuse(ErrorCode.INVALID_TXN_STATE);
    return this.isEnding ? waitUntil("completed") : accept();
  }

  /**
   * Version 2: the transaction ends under the next epoch, which the producer goes on with. So a request with the epoch
   * before is one that comes again, and one with the current epoch is the next one:
   *
   *     in state          abort with          commit with         epochs: "again" is the one before the current
   *                       current    again    current    again
   *     Empty             ends it    fenced   invalid    fenced
   *     CompleteAbort     ends it    accepted invalid    invalid
   *     CompleteCommit    ends it    invalid  invalid    accepted
   */
  #endWithNewEpoch(request: EndRequest): Decision {
    const { metadata } = this;
    const { isCommit, producerId, producerEpoch, freshProducerId, nowMs } = request;
    const { state } = metadata;
    // Where the producer of the current epoch speaks version 1 its end has raised none: the epoch before is a zombie's.
    const hasOwnEpoch = metadata.clientTransactionVersion >= EPOCH_BUMP_VERSION;
    const isDone = state === "CompleteCommit" || state === "CompleteAbort";
    const isAgainWithFreshId = hasOwnEpoch && isDone &&
      producerId === metadata.previousProducerId &&
      producerEpoch === LAST_EPOCH - 1 && metadata.producerEpoch === 0;
    if (producerId !== metadata.producerId && !isAgainWithFreshId) {
      return refuse(ErrorCode.INVALID_PRODUCER_ID_MAPPING);
    }
    const isAgain = isAgainWithFreshId ||
      (hasOwnEpoch && (this.isEnding || isDone) && producerEpoch === metadata.producerEpoch - 1);
    const isCurrent = !this.isEnding && producerEpoch === metadata.producerEpoch;
    if (!isAgain && !isCurrent) return refuse(ErrorCode.PRODUCER_FENCED);
    if (this.#pending !== null) return waitUntil("appended");
    if (isAgain) {
      if (isDecided(state) !== isCommit) return refuse(ErrorCode.INVALID_TXN_STATE);
      if (this.isEnding) return waitUntil("completed");
      // The coordinator ended it itself, with the last epoch, which is nobody's: the producer has to ask for one.
      const isUsedUp = metadata.producerEpoch === LAST_EPOCH;
      return isUsedUp ? refuse(ErrorCode.PRODUCER_FENCED) : accept(metadata);
    }
    if (isCommit && state !== "Ongoing") return refuse(ErrorCode.INVALID_TXN_STATE);
    const needsFreshId = isExhausted(metadata.producerEpoch);
    if (needsFreshId && freshProducerId === null) return { kind: "needsProducerId" };
    const nextProducerId = needsFreshId && freshProducerId !== null
      ? freshProducerId
      : NO_PRODUCER_ID;
    this.#prepare({
      isCommit,
      transactionVersion: request.transactionVersion,
      nextProducerId,
      nowMs,
    });
    return { kind: "append" };
  }

  /** Aborts the open transaction under an epoch that no producer has. */
  #fence(
    { transactionVersion, nowMs }: {
      readonly transactionVersion: number;
      readonly nowMs: number;
    },
  ): void {
    const { metadata } = this;
    const common = { isCommit: false, nextProducerId: NO_PRODUCER_ID, nowMs };
    if (transactionVersion >= EPOCH_BUMP_VERSION) {
      this.#prepare({ ...common, transactionVersion });
    } else {
      const producerEpoch = nextEpoch(metadata.producerEpoch);
      const lastProducerEpoch = NO_PRODUCER_EPOCH;
      this.#prepare({ ...common, transactionVersion: 0 }, {
        ...metadata,
        producerEpoch,
        lastProducerEpoch,
      });
    }
    const { pending } = this;
    assert(pending !== null);
    this.#pending = { ...pending, answer: answerOf(ErrorCode.CONCURRENT_TRANSACTIONS) };
  }

  #prepare(
    { isCommit, transactionVersion, nextProducerId, nowMs }: {
      readonly isCommit: boolean;
      readonly transactionVersion: number;
      readonly nextProducerId: number;
      readonly nowMs: number;
    },
    from: TransactionMetadata = this.#metadata,
  ): void {
    const hasOwnEpoch = transactionVersion >= EPOCH_BUMP_VERSION;
    const isOngoing = from.state === "Ongoing";
    const prepared: TransactionMetadata = {
      ...from,
      state: isCommit ? "PrepareCommit" : "PrepareAbort",
      ...(hasOwnEpoch && {
        producerEpoch: nextEpoch(from.producerEpoch),
        lastProducerEpoch: from.producerEpoch,
      }),
      nextProducerId,
      partitions: isOngoing ? from.partitions : NO_PARTITIONS,
      // An abort of nothing began when it ended.
      startTimestampMs: isOngoing ? from.startTimestampMs : nowMs,
      lastUpdateTimestampMs: nowMs,
      clientTransactionVersion: transactionVersion,
    };
    if (!hasOwnEpoch) {
      this.#step(prepared);
      return;
    }
    const { producerId, producerEpoch } = completed(prepared, nowMs);
    this.#step(prepared, { error: ErrorCode.NONE, producerId, producerEpoch });
  }

  /** Why a request with this id and epoch is not the current producer's. */
  #claimError({ producerId, producerEpoch }: ProducerClaim): ErrorCode {
    const { metadata } = this;
    if (producerId !== metadata.producerId) return ErrorCode.INVALID_PRODUCER_ID_MAPPING;
    return producerEpoch === metadata.producerEpoch ? ErrorCode.NONE : ErrorCode.PRODUCER_FENCED;
  }

  #step(metadata: TransactionMetadata, answer = answerOf(ErrorCode.NONE)): void {
    assert(this.#pending === null, `${this.transactionalId}: two steps at a time`);
    assert(metadata.producerId >= 0 && metadata.producerEpoch >= 0);
    const next = { ...metadata, previousProducerId: this.#metadata.producerId };
    this.#pending = { metadata: next, answer };
  }
}

/** True when a producer with this epoch must not get the next one. */
function isExhausted(producerEpoch: number): boolean {
  return producerEpoch >= LAST_EPOCH - 1;
}

function nextEpoch(producerEpoch: number): number {
  return Math.min(producerEpoch + 1, LAST_EPOCH);
}

/** The transaction that is being ended, once it is over. */
function completed(metadata: TransactionMetadata, nowMs: number): TransactionMetadata {
  const { clientTransactionVersion, nextProducerId } = metadata;
  const getsFreshId = clientTransactionVersion >= EPOCH_BUMP_VERSION &&
    nextProducerId !== NO_PRODUCER_ID;
  return {
    ...metadata,
    state: metadata.state === "PrepareCommit" ? "CompleteCommit" : "CompleteAbort",
    ...(getsFreshId && { producerId: nextProducerId, producerEpoch: 0 }),
    nextProducerId: NO_PRODUCER_ID,
    partitions: NO_PARTITIONS,
    lastUpdateTimestampMs: nowMs,
  };
}

/** True for a transaction that is committed, false for one that is aborted, null where nothing is decided. */
function isDecided(state: TransactionState): boolean | null {
  if (state === "PrepareCommit" || state === "CompleteCommit") return true;
  return state === "PrepareAbort" || state === "CompleteAbort" ? false : null;
}

function union(
  partitions: TransactionPartitions,
  added: readonly TopicPartition[],
): TransactionPartitions {
  const result = new Map(partitions);
  const fresh = new Map<string, Set<number>>();
  for (const { topic, partition } of added) {
    let numbers = fresh.get(topic);
    if (numbers === undefined) {
      numbers = new Set(partitions.get(topic));
      fresh.set(topic, numbers);
      result.set(topic, numbers);
    }
    numbers.add(partition);
  }
  return result;
}

/** An answer without an id to go on with. */
export function answerOf(error: ErrorCode): TransactionAnswer {
  return { error, producerId: NO_PRODUCER_ID, producerEpoch: NO_PRODUCER_EPOCH };
}

function accept(producer: ProducerClaim | null = null): Decision {
  if (producer === null) return { kind: "answer", answer: answerOf(ErrorCode.NONE) };
  const { producerId, producerEpoch } = producer;
  return { kind: "answer", answer: { error: ErrorCode.NONE, producerId, producerEpoch } };
}

function refuse(error: ErrorCode): Decision {
  return { kind: "answer", answer: answerOf(error) };
}

function waitUntil(until: "appended" | "completed"): Decision {
  return { kind: "wait", until };
}
