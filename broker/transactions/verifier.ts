/**
 * Asks the coordinators of transactions whether a partition is part of a transaction, or makes it so, before the
 * first batch of the transaction is appended there (KIP-890): a batch that no coordinator knows of would hold the
 * last stable offset for ever.
 *
 *     verify(claim) ──→ line of its coordinator ──one request at a time──→ AddPartitionsToTxn ──→ answer
 *                            ↑ what comes meanwhile goes with the next one
 *
 * Up to transaction version 1 the client adds partitions itself, and the coordinator is only asked ("verify"); from
 * version 2 on the broker adds them ("add"). Where the coordinator is still busy with the end of the transaction
 * before, it is asked again for a moment: a client would come back later than that.
 *
 * Invariants: every promise is settled by the time-out of its request, or by `close`; in one request a transaction
 * stands once; at most `MAX_WAITING` claims wait for a coordinator.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Encodable } from "../../protocol/schema.ts";
import {
  addPartitionsToTxnRequest,
  type AddPartitionsToTxnResponse,
  addPartitionsToTxnResponse,
} from "../../protocol/schemas/add_partitions_to_txn.ts";
import { formatTopicPartition, type TopicPartition } from "../../protocol/types.ts";
import type { Clock, Logger } from "../../storage/platform.ts";
import type { Controller } from "../controller/controller.ts";
import { TRANSACTION_STATE_TOPIC } from "../controller/internal_topics.ts";
import { partitionForKey } from "../coordination/led_shards.ts";
import { NetworkError } from "../network.ts";
import type { BrokerChannel } from "../peers/broker_channel.ts";
import { call } from "../peers/call.ts";

/** Of brokers, with many transactions; what came before is the clients' own. */
const FIRST_BROKER_VERSION = 4;
const CHANNEL = "transactions";
const MAX_WAITING = 10_000;
const MAX_TRANSACTIONS_PER_REQUEST = 500;

const addPartitionsCall = call(
  ApiKey.AddPartitionsToTxn,
  addPartitionsToTxnRequest,
  addPartitionsToTxnResponse,
  { lowest: FIRST_BROKER_VERSION },
);

/** What is claimed of a transaction: that these partitions are part of it. */
export interface TransactionClaim {
  readonly transactionalId: string;
  readonly producerId: number;
  readonly producerEpoch: number;
  /** True to make them part of it. */
  readonly adds: boolean;
  readonly partitions: readonly TopicPartition[];
}

/** What the coordinator says of a claim: its error codes by `topic-partition`; those left out are verified. */
export type VerificationErrors = ReadonlyMap<string, ErrorCode>;

/** What the verifier is made of. */
export interface TransactionVerifierOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly controller: Pick<Controller, "image">;
  readonly channel: Pick<BrokerChannel, "call">;
  readonly settings: () => VerifierSettings;
}

/** The verifier's settings. */
export interface VerifierSettings {
  readonly requestTimeoutMs: number;
  /** Between two tries while a transaction is being ended. */
  readonly retryBackoffMs: number;
  /** How long it is tried. */
  readonly retryMaxMs: number;
}

interface Entry {
  readonly claim: TransactionClaim;
  readonly settle: (errors: VerificationErrors) => void;
}

/** Claims for one coordinator. */
interface Line {
  waiting: Entry[];
  inFlight: readonly Entry[];
}

/** Asks coordinators about transactions. */
export class TransactionVerifier {
  readonly #options: TransactionVerifierOptions;
  /** By the broker's id. */
  readonly #lines = new Map<number, Line>();
  readonly #closing = new AbortController();
  #failureCount = 0;

  constructor(options: TransactionVerifierOptions) {
    this.#options = options;
  }

  /** Partitions that could not be verified since the start, for metrics. */
  get failureCount(): number {
    return this.#failureCount;
  }

  /**
   * Asks the coordinator of the claim's transaction. Never rejects.
   *
   * Returns: the coordinator's own error codes; COORDINATOR_NOT_AVAILABLE where none is known or this node stops,
   * NETWORK_EXCEPTION where it does not answer.
   */
  async verify(claim: TransactionClaim): Promise<VerificationErrors> {
    const { clock, settings } = this.#options;
    const { retryBackoffMs, retryMaxMs, requestTimeoutMs } = settings();
    const untilMs = clock.monotonicMs() + Math.min(retryMaxMs, requestTimeoutMs);
    for (;;) {
      const errors = await this.#ask(claim);
      const isBusy = claim.adds && isAny(errors, ErrorCode.CONCURRENT_TRANSACTIONS);
      const { signal } = this.#closing;
      if (!isBusy || clock.monotonicMs() + retryBackoffMs > untilMs || signal.aborted) {
        this.#failureCount += errors.size;
        return errors;
      }
      await clock.sleep(retryBackoffMs, signal);
    }
  }

  /** Answers all that wait with COORDINATOR_NOT_AVAILABLE, and all that come. */
  close(): void {
    this.#closing.abort();
    for (const line of this.#lines.values()) {
      for (const { claim, settle } of [...line.inFlight, ...line.waiting.splice(0)]) {
        settle(allOf(claim, ErrorCode.COORDINATOR_NOT_AVAILABLE));
      }
    }
    this.#lines.clear();
  }

  #ask(claim: TransactionClaim): Promise<VerificationErrors> {
    const coordinator = this.#coordinatorOf(claim.transactionalId);
    if (coordinator < 0 || this.#closing.signal.aborted) {
      return Promise.resolve(allOf(claim, ErrorCode.COORDINATOR_NOT_AVAILABLE));
    }
    const line = this.#lines.get(coordinator) ?? { waiting: [], inFlight: [] };
    if (line.waiting.length >= MAX_WAITING) {
      return Promise.resolve(allOf(claim, ErrorCode.NETWORK_EXCEPTION));
    }
    this.#lines.set(coordinator, line);
    const { promise, resolve } = Promise.withResolvers<VerificationErrors>();
    line.waiting.push({ claim, settle: resolve });
    if (line.inFlight.length === 0) void this.#work(coordinator, line);
    return promise;
  }

  /** −1 when nobody leads the transaction's partition. */
  #coordinatorOf(transactionalId: string): number {
    const topic = this.#options.controller.image().topicByName(TRANSACTION_STATE_TOPIC);
    if (topic === undefined) return -1;
    const index = partitionForKey(transactionalId, topic.partitions.length);
    return topic.partitions[index]?.leader ?? -1;
  }

  async #work(coordinator: number, line: Line): Promise<void> {
    while (line.waiting.length > 0) {
      line.inFlight = takeBatch(line);
      const answer = await this.#send(coordinator, line.inFlight);
      for (const { claim, settle } of line.inFlight) settle(errorsOf(claim, answer));
      line.inFlight = [];
    }
    if (this.#lines.get(coordinator) === line) this.#lines.delete(coordinator);
  }

  /** Returns: the answer, or one error code for all. */
  async #send(
    coordinator: number,
    entries: readonly Entry[],
  ): Promise<AddPartitionsToTxnResponse | ErrorCode> {
    const { channel, settings, logger } = this.#options;
    try {
      return await channel.call(coordinator, addPartitionsCall, requestFor(entries), {
        timeoutMs: settings().requestTimeoutMs,
        channel: CHANNEL,
      });
    } catch (failure) {
      if (!(failure instanceof NetworkError)) throw failure;
      logger.warn("Cannot verify transactions: their coordinator does not answer", {
        coordinator,
        transactions: entries.length,
        reason: failure.message,
      });
      return ErrorCode.NETWORK_EXCEPTION;
    }
  }
}

/** Takes what may go together: of one transaction, only claims of the same producer for the same. */
function takeBatch(line: Line): Entry[] {
  const firsts = new Map<string, TransactionClaim>();
  const batch: Entry[] = [];
  const left: Entry[] = [];
  for (const entry of line.waiting) {
    const { claim } = entry;
    const first = firsts.get(claim.transactionalId);
    const hasRoom = firsts.size < MAX_TRANSACTIONS_PER_REQUEST;
    const fits = first === undefined ? hasRoom : isOfSame(first, claim);
    if (first === undefined && fits) firsts.set(claim.transactionalId, claim);
    (fits ? batch : left).push(entry);
  }
  line.waiting = left;
  return batch;
}

function isOfSame(one: TransactionClaim, other: TransactionClaim): boolean {
  return one.producerId === other.producerId && one.producerEpoch === other.producerEpoch &&
    one.adds === other.adds;
}

function requestFor(entries: readonly Entry[]): Encodable<typeof addPartitionsToTxnRequest> {
  const transactions = new Map<string, {
    claim: TransactionClaim;
    topics: Map<string, Set<number>>;
  }>();
  for (const { claim } of entries) {
    let transaction = transactions.get(claim.transactionalId);
    if (transaction === undefined) {
      transaction = { claim, topics: new Map() };
      transactions.set(claim.transactionalId, transaction);
    }
    for (const { topic, partition } of claim.partitions) {
      const partitions = transaction.topics.get(topic) ?? new Set();
      transaction.topics.set(topic, partitions.add(partition));
    }
  }
  return {
    transactions: [...transactions.values()].map(({ claim, topics }) => ({
      transactionalId: claim.transactionalId,
      producerId: claim.producerId,
      producerEpoch: claim.producerEpoch,
      verifyOnly: !claim.adds,
      topics: [...topics].map(([name, partitions]) => ({ name, partitions: [...partitions] })),
    })),
  };
}

function errorsOf(
  claim: TransactionClaim,
  answer: AddPartitionsToTxnResponse | ErrorCode,
): VerificationErrors {
  if (typeof answer === "number") return allOf(claim, answer);
  if (answer.errorCode !== ErrorCode.NONE) return allOf(claim, answer.errorCode as ErrorCode);
  const found = answer.resultsByTransaction
    .find(({ transactionalId }) => transactionalId === claim.transactionalId);
  const told = new Map<string, ErrorCode>();
  for (const { name, resultsByPartition } of found?.topicResults ?? []) {
    for (const { partitionIndex, partitionErrorCode } of resultsByPartition) {
      told.set(formatTopicPartition(name, partitionIndex), partitionErrorCode as ErrorCode);
    }
  }
  const errors = new Map<string, ErrorCode>();
  for (const { topic, partition } of claim.partitions) {
    const key = formatTopicPartition(topic, partition);
    const error = told.get(key) ?? ErrorCode.UNKNOWN_SERVER_ERROR;
    if (error !== ErrorCode.NONE) errors.set(key, error);
  }
  return errors;
}

function allOf({ partitions }: TransactionClaim, error: ErrorCode): VerificationErrors {
  return new Map(
    partitions.map(({ topic, partition }) => [formatTopicPartition(topic, partition), error]),
  );
}

function isAny(errors: VerificationErrors, wanted: ErrorCode): boolean {
  for (const error of errors.values()) if (error === wanted) return true;
  return false;
}
