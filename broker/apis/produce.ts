/**
 * Produce (key 0), versions 3–13: appends record batches.
 *
 * 3 transactional ids (KIP-98) · 5 log start offset (KIP-207) · 7 zstd (KIP-110) · 8 errors of single
 * records (KIP-467) · 9 flexible · 10 the current leader in the answer (KIP-951) · 11, 12 transaction
 * version 2 (KIP-890) · 13 topics by id (KIP-516).
 *
 * Versions 0–2 are advertised and not served, as Kafka does: older librdkafka stops compressing otherwise.
 *
 * acks=0 is not answered, and an error ends the connection; acks=1 is answered from the page cache;
 * acks=−1, and acks=1 on a topic with flush.messages=1, when the records are on stable storage.
 *
 * The first batch of a transaction in a partition waits until the coordinator of the transaction has said that the
 * partition is part of it (version 12: until it has made it so), and the later requests of its connection wait with
 * it: their batches may have to follow. What the coordinator answers is told in the words that the client's version
 * knows: NOT_ENOUGH_REPLICAS to come again, INVALID_TXN_STATE or TRANSACTION_ABORTABLE (version 11) to give it up.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode, errorMessage, errorName } from "../../protocol/errors.ts";
import {
  batchSizeBytes,
  isTransactional,
  MAGIC_AT,
  MAGIC_V2,
  readAttributes,
  readBatchHeader,
  RECORD_BATCH_OVERHEAD,
  type RecordBatchHeader,
} from "../../protocol/record_batch.ts";
import type { Encodable } from "../../protocol/schema.ts";
import {
  type ProduceRequest,
  produceRequest,
  produceResponse,
} from "../../protocol/schemas/produce.ts";
import { formatTopicPartition, type TopicPartition, type Uuid } from "../../protocol/types.ts";
import type { Flusher } from "../../storage/flusher.ts";
import type { AppendRefusal, AppendResult } from "../../storage/log.ts";
import type { Config } from "../config/config.ts";
import { isInternalTopic } from "../controller/internal_topics.ts";
import type { PartitionImage } from "../controller/metadata_image.ts";
import { type CommitTarget, waitForCommits } from "../partitions/delayed_commit.ts";
import type { Partition } from "../partitions/partition.ts";
import {
  isRefusal,
  type PartitionRefusal,
  type ReplicaManager,
} from "../partitions/replica_manager.ts";
import type { TransactionGuard } from "../partitions/transaction_guards.ts";
import { abortableError } from "../transactions/client_errors.ts";
import {
  type GuardedClaim,
  NOTHING_TO_ASK,
  type VerifiedClaim,
  verifyGuarded,
} from "../transactions/guarded_claim.ts";
import type { TransactionVerifier } from "../transactions/verifier.ts";
import { type Api, defineApi, type RequestContext } from "./api.ts";

type Answer = Encodable<typeof produceResponse>;

interface TopicAnswer {
  readonly name: string;
  readonly topicId: Uuid;
  readonly partitionResponses: readonly PartitionAnswer[];
}

/** What is said of one partition; filled in as it becomes known. */
interface PartitionAnswer {
  readonly index: number;
  errorCode: ErrorCode;
  baseOffset: number;
  logAppendTimeMs: number;
  logStartOffset: number;
  recordErrors?: { readonly batchIndex: number; readonly batchIndexErrorMessage: string | null }[];
  errorMessage?: string | null;
  currentLeader?: { readonly leaderId: number; readonly leaderEpoch: number };
}

/** An append that is not committed yet. */
interface Pending extends CommitTarget {
  readonly answer: PartitionAnswer;
}

/** Kafka's own tools may write to internal topics under this name. */
const ADMIN_CLIENT_ID = "__admin_client";
/** From here on the answer can name the leader. */
const FIRST_LEADER_VERSION = 10;
const FIRST_TOPIC_ID_VERSION = 13;
/** From here on a producer knows TRANSACTION_ABORTABLE. */
const FIRST_ABORTABLE_VERSION = 11;
/** From here on the broker makes partitions part of the transaction (transaction version 2). */
const FIRST_ADDING_VERSION = 12;
/** An answer repeats names and numbers; a frame is held once, as the records lie in it. */
const ANSWER_BYTES = 512;
const NO_RECORDS = new Uint8Array(0);
const ALL_REPLICAS = -1;
/** Message sets of before Kafka 0.11, which are refused without a look at the log. */
const LAST_OLD_MAGIC = 1;
/** Refusals of whole batches that Kafka answers without the log's start. */
const WITHOUT_LOG_START: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  ErrorCode.CORRUPT_MESSAGE,
  ErrorCode.KAFKA_STORAGE_ERROR,
  ErrorCode.MESSAGE_TOO_LARGE,
  ErrorCode.RECORD_LIST_TOO_LARGE,
  ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
]);

interface Subsystems {
  readonly replicaManager: ReplicaManager;
  readonly transactionVerifier: Pick<TransactionVerifier, "verify">;
  readonly config: Config;
}

/** Connections of which a request waits for a coordinator, by their ids: the last one in each line. */
type Turns = Map<number, Promise<void>>;

/** Answers Produce. */
export function produceApi(subsystems: Subsystems): Api {
  const turns: Turns = new Map();
  return defineApi({
    key: ApiKey.Produce,
    request: produceRequest,
    response: produceResponse,
    versions: { lowest: 3, highest: 13 },
    advertised: { lowest: 0, highest: 13 },
    cost: (frameBytes) => frameBytes + ANSWER_BYTES,
    isFrameFreed: true,
    handle: (request, context) => new Production(subsystems, request, context).run(turns),
  });
}

/** One request: appends everything, at once where that is short work, then waits if it has to. */
class Production {
  readonly #subsystems: Subsystems;
  readonly #replicaManager: ReplicaManager;
  readonly #request: ProduceRequest;
  readonly #context: RequestContext;
  /** Null where no batch has to be verified. */
  #verified: VerifiedClaim | null = null;
  #responses: TopicAnswer[] = [];
  #pending: Pending[] | null = null;
  /** Of the disks that were appended to, those with too much to sync. */
  #saturated: Set<Flusher> | null = null;
  /** Appends whose batches are being prepared, or wait for those before them. */
  #appends: Promise<void>[] | null = null;
  /** Of partitions that another node leads. */
  #leaders: PartitionImage[] | null = null;

  constructor(subsystems: Subsystems, request: ProduceRequest, context: RequestContext) {
    this.#subsystems = subsystems;
    this.#replicaManager = subsystems.replicaManager;
    this.#request = request;
    this.#context = context;
  }

  run(turns: Turns): Answer | null | Promise<Answer | null> {
    const { id } = this.#context.connection;
    const before = turns.size === 0 ? undefined : turns.get(id);
    const appending = before === undefined ? this.#begin() : before.then(() => this.#begin());
    if (appending === null) return this.#whenAppended();
    const turn = appending.then(() => {
      if (turns.get(id) === turn) turns.delete(id);
    });
    turns.set(id, turn);
    return turn.then(() => this.#whenAppended());
  }

  /** Returns: null when everything is in the hands of its partition, or a promise of that, which never rejects. */
  #begin(): Promise<void> | null {
    if (!hasTransactionalBatch(this.#request)) {
      this.#appendAll();
      return null;
    }
    const error = refusedTransaction(this.#request);
    if (error !== ErrorCode.NONE) {
      this.#responses = refusedTopics(this.#request, error);
      return null;
    }
    const adds = this.#context.apiVersion >= FIRST_ADDING_VERSION;
    const { config, transactionVerifier } = this.#subsystems;
    if (adds || config.boolean("transaction.partition.verification.enable")) {
      const first = this.#claim(adds);
      if (first !== null) {
        return verifyGuarded(transactionVerifier, first, () => this.#claim(adds))
          .then((verified) => {
            this.#verified = verified;
            this.#appendAll();
          });
      }
      this.#verified = NOTHING_TO_ASK;
    }
    this.#appendAll();
    return null;
  }

  /** What the coordinator is to be asked; null where every transaction is open already. */
  #claim(adds: boolean): GuardedClaim | null {
    const { transactionalId } = this.#request;
    const guards = new Map<Partition, TransactionGuard>();
    const partitions: TopicPartition[] = [];
    let producer = { producerId: -1, producerEpoch: -1 };
    for (const { name, topicId, partitionData } of this.#request.topicData) {
      for (const { index, records } of partitionData) {
        const header = transactionalBatch(records);
        const partition = this.#partition(name, topicId, index);
        if (header === null || isRefusal(partition)) continue;
        producer = header;
        const guard = partition.beginVerification({ ...header, startsAtZero: adds });
        if (guard === null) continue;
        guards.set(partition, guard);
        partitions.push({ topic: partition.topic, partition: index });
      }
    }
    if (partitions.length === 0) return null;
    const { producerId, producerEpoch } = producer;
    const claim = {
      transactionalId: transactionalId!,
      producerId,
      producerEpoch,
      adds,
      partitions,
    };
    return { claim, guards };
  }

  #partition(name: string, topicId: Uuid, index: number): Partition | PartitionRefusal {
    return this.#context.apiVersion >= FIRST_TOPIC_ID_VERSION
      ? this.#replicaManager.partitionById(topicId, index)
      : this.#replicaManager.partition(name, index);
  }

  #appendAll(): void {
    for (const { name, topicId, partitionData } of this.#request.topicData) {
      const partitionResponses: PartitionAnswer[] = [];
      for (const { index, records } of partitionData) {
        partitionResponses.push(this.#append(name, topicId, index, records));
      }
      this.#responses.push({ name, topicId, partitionResponses });
    }
  }

  #whenAppended(): Answer | null | Promise<Answer | null> {
    if (this.#appends === null) return this.#finish(this.#responses);
    return Promise.all(this.#appends).then(() => this.#finish(this.#responses));
  }

  /** Everything is appended or refused. */
  #finish(responses: readonly TopicAnswer[]): Answer | null | Promise<Answer | null> {
    const { acks, timeoutMs } = this.#request;
    const { partitionErrors } = this.#replicaManager;
    for (const { partitionResponses } of responses) {
      for (const { errorCode } of partitionResponses) {
        if (errorCode !== ErrorCode.NONE) partitionErrors.note("Produce", errorCode);
      }
    }
    const answer = this.#leaders === null ? { responses } : {
      responses,
      nodeEndpoints: this.#replicaManager.leaderEndpoints(this.#leaders, this.#context.connection),
    };
    if (acks === 0) endIfRefused(responses, this.#context);
    else if (this.#pending !== null) {
      const delayed = this.#replicaManager.delayedAppends;
      const uncommitted = (pending: Pending, error: ErrorCode) => {
        partitionErrors.note("Produce", error);
        failed(pending, error);
      };
      return waitForCommits({ targets: this.#pending, delayed, timeoutMs, failed: uncommitted })
        .then(() => answer);
    }
    const given = acks === 0 ? null : answer;
    if (this.#saturated === null) return given;
    // More than a disk can take is dirty: the producer waits, and TCP makes it slow down.
    return Promise.all([...this.#saturated].map((flusher) => flusher.drained())).then(() => given);
  }

  #append(name: string, topicId: Uuid, index: number, records: Uint8Array | null): PartitionAnswer {
    const { acks } = this.#request;
    const { apiVersion, clientId } = this.#context;
    if (acks !== 1 && acks !== ALL_REPLICAS && acks !== 0) {
      return refused(index, ErrorCode.INVALID_REQUIRED_ACKS);
    }
    const partition = this.#partition(name, topicId, index);
    if (isRefusal(partition)) return this.#refusedPartition(index, partition);
    if (isInternalTopic(partition.topic) && clientId !== ADMIN_CLIENT_ID) {
      return refused(index, ErrorCode.INVALID_TOPIC_EXCEPTION);
    }
    const verified = this.#verified;
    const unverified = verified?.errors.get(formatTopicPartition(partition.topic, index));
    if (unverified !== undefined) {
      return refusedVerification(index, toldError(unverified, apiVersion));
    }
    const result = partition.appendFromClient({
      records: records ?? NO_RECORDS,
      requiredAcks: acks,
      requestVersion: apiVersion,
      guard: verified === null ? undefined : verified.guards.get(partition) ?? null,
    });
    const answer: PartitionAnswer = {
      index,
      errorCode: ErrorCode.NONE,
      baseOffset: -1,
      logAppendTimeMs: -1,
      logStartOffset: -1,
    };
    if (result instanceof Promise) {
      (this.#appends ??= []).push(
        result.then((late) => this.#appended(answer, partition, late, records)),
      );
    } else this.#appended(answer, partition, result, records);
    return answer;
  }

  #appended(
    answer: PartitionAnswer,
    partition: Partition,
    result: AppendResult,
    records: Uint8Array | null,
  ): void {
    if (!("baseOffset" in result)) {
      Object.assign(answer, refusedAppend(answer.index, result));
      if (tellsLogStart(result, records)) answer.logStartOffset = partition.log.logStartOffset;
      return;
    }
    const { flusher } = partition.log;
    if (flusher.isSaturated) (this.#saturated ??= new Set()).add(flusher);
    answer.baseOffset = result.baseOffset;
    answer.logAppendTimeMs = result.logAppendTimeMs;
    answer.logStartOffset = result.logStartOffset;
    const { acks } = this.#request;
    const waits = acks === ALL_REPLICAS || (acks === 1 && partition.isSyncedByAppend);
    const endOffset = result.lastOffset + 1;
    if (waits && endOffset > partition.highWatermark) {
      (this.#pending ??= []).push({ answer, partition, endOffset });
    }
  }

  #refusedPartition(index: number, { error, image }: PartitionRefusal): PartitionAnswer {
    const answer = refused(index, error);
    if (this.#context.apiVersion < FIRST_LEADER_VERSION) return answer;
    if (image === null || error !== ErrorCode.NOT_LEADER_OR_FOLLOWER) return answer;
    (this.#leaders ??= []).push(image);
    answer.currentLeader = { leaderId: image.leader, leaderEpoch: image.leaderEpoch };
    return answer;
  }
}

function hasTransactionalBatch({ topicData }: ProduceRequest): boolean {
  for (const { partitionData } of topicData) {
    for (const { records } of partitionData) if (isTransactionalBatch(records)) return true;
  }
  return false;
}

function isTransactionalBatch(records: Uint8Array | null): records is Uint8Array {
  return records !== null && records.length >= RECORD_BATCH_OVERHEAD &&
    isTransactional(readAttributes(records, 0)) && records[MAGIC_AT] === MAGIC_V2;
}

/** The header of a batch that belongs to a transaction; null for any other. */
function transactionalBatch(records: Uint8Array | null): RecordBatchHeader | null {
  if (!isTransactionalBatch(records)) return null;
  const header = readBatchHeader(records, 0);
  return header.producerId < 0 ? null : header;
}

/** Whether a request with transactional batches may be one: it names its transaction, and has one producer. */
function refusedTransaction({ transactionalId, topicData }: ProduceRequest): ErrorCode {
  if (transactionalId === null) return ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
  let first: RecordBatchHeader | null = null;
  for (const { partitionData } of topicData) {
    for (const { records } of partitionData) {
      const header = transactionalBatch(records);
      first ??= header;
      const isOther = header !== null && (header.producerId !== first?.producerId ||
        header.producerEpoch !== first.producerEpoch);
      if (isOther) return ErrorCode.INVALID_PRODUCER_ID_MAPPING;
    }
  }
  return ErrorCode.NONE;
}

function refusedTopics({ topicData }: ProduceRequest, error: ErrorCode): TopicAnswer[] {
  return topicData.map(({ name, topicId, partitionData }) => ({
    name,
    topicId,
    partitionResponses: partitionData.map(({ index }) => refused(index, error)),
  }));
}

/**
 * What a producer of this version is told of an error of its coordinator. Source: KIP-890, and Kafka's
 * ReplicaManager: NOT_ENOUGH_REPLICAS makes every client try again, without looking for another leader.
 */
function toldError(error: ErrorCode, apiVersion: number): ErrorCode {
  switch (error) {
    case ErrorCode.PRODUCER_FENCED:
      return ErrorCode.INVALID_PRODUCER_EPOCH;
    case ErrorCode.TRANSACTION_ABORTABLE:
      return abortableError(error, apiVersion, FIRST_ABORTABLE_VERSION);
    case ErrorCode.CONCURRENT_TRANSACTIONS:
      return apiVersion >= FIRST_ADDING_VERSION ? error : ErrorCode.NOT_ENOUGH_REPLICAS;
    case ErrorCode.NETWORK_EXCEPTION:
    case ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
    case ErrorCode.COORDINATOR_NOT_AVAILABLE:
    case ErrorCode.NOT_COORDINATOR:
      return ErrorCode.NOT_ENOUGH_REPLICAS;
    default:
      return error;
  }
}

function refusedVerification(index: number, error: ErrorCode): PartitionAnswer {
  const answer = refused(index, error);
  answer.errorMessage = "Cannot verify that the partition is part of the transaction: " +
    errorName(error);
  return answer;
}

function refusedAppend(
  index: number,
  { error, message, recordErrors }: AppendRefusal,
): PartitionAnswer {
  const answer = refused(index, error);
  answer.errorMessage = message;
  if (recordErrors !== undefined) {
    answer.recordErrors = recordErrors.map(({ batchIndex, message }) => (
      { batchIndex, batchIndexErrorMessage: message }
    ));
  }
  return answer;
}

/** Kafka looks at the shape of the request before it looks for the log. */
function tellsLogStart(
  { error, recordErrors }: AppendRefusal,
  records: Uint8Array | null,
): boolean {
  if (recordErrors !== undefined) return true;
  const isOneBatch = records !== null && records.length >= RECORD_BATCH_OVERHEAD &&
    batchSizeBytes(records, 0) === records.length && records[MAGIC_AT]! > LAST_OLD_MAGIC;
  return isOneBatch && !WITHOUT_LOG_START.has(error);
}

function refused(index: number, errorCode: ErrorCode): PartitionAnswer {
  return {
    index,
    errorCode,
    baseOffset: -1,
    logAppendTimeMs: -1,
    logStartOffset: -1,
    errorMessage: errorMessage(errorCode),
  };
}

/** acks=0: the only way to tell of an error is to end the connection. */
function endIfRefused(responses: readonly TopicAnswer[], context: RequestContext): void {
  for (const { name, topicId, partitionResponses } of responses) {
    for (const { index, errorCode } of partitionResponses) {
      if (errorCode === ErrorCode.NONE) continue;
      const reason = errorMessage(errorCode);
      context.closeConnection(
        `a Produce with acks=0 failed on ${name === "" ? topicId : name}-${index}: ${reason}`,
      );
      return;
    }
  }
}

function failed({ answer }: Pending, error: ErrorCode): void {
  Object.assign(answer, refused(answer.index, error));
}
