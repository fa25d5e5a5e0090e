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
 * Gaps: no transactions yet: transactional batches are refused with INVALID_TXN_STATE.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode, errorMessage } from "../../protocol/errors.ts";
import {
  batchSizeBytes,
  isTransactional,
  MAGIC_AT,
  readAttributes,
  RECORD_BATCH_OVERHEAD,
} from "../../protocol/record_batch.ts";
import type { Encodable } from "../../protocol/schema.ts";
import {
  type ProduceRequest,
  produceRequest,
  produceResponse,
} from "../../protocol/schemas/produce.ts";
import type { Uuid } from "../../protocol/types.ts";
import type { Flusher } from "../../storage/flusher.ts";
import type { AppendRefusal, AppendResult } from "../../storage/log.ts";
import { isInternalTopic } from "../controller/internal_topics.ts";
import type { PartitionImage } from "../controller/metadata_image.ts";
import { type CommitTarget, waitForCommits } from "../partitions/delayed_commit.ts";
import type { Partition } from "../partitions/partition.ts";
import {
  isRefusal,
  type PartitionRefusal,
  type ReplicaManager,
} from "../partitions/replica_manager.ts";
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

/** Answers Produce. */
export function produceApi({ replicaManager }: { readonly replicaManager: ReplicaManager }): Api {
  return defineApi({
    key: ApiKey.Produce,
    request: produceRequest,
    response: produceResponse,
    versions: { lowest: 3, highest: 13 },
    advertised: { lowest: 0, highest: 13 },
    cost: (frameBytes) => frameBytes + ANSWER_BYTES,
    handle: (request, context) => new Production(replicaManager, request, context).run(),
  });
}

/** One request: appends everything, at once where that is short work, then waits if it has to. */
class Production {
  readonly #replicaManager: ReplicaManager;
  readonly #request: ProduceRequest;
  readonly #context: RequestContext;
  #pending: Pending[] | null = null;
  /** Of the disks that were appended to, those with too much to sync. */
  #saturated: Set<Flusher> | null = null;
  /** Appends whose batches are being prepared, or wait for those before them. */
  #appends: Promise<void>[] | null = null;
  /** Of partitions that another node leads. */
  #leaders: PartitionImage[] | null = null;

  constructor(replicaManager: ReplicaManager, request: ProduceRequest, context: RequestContext) {
    this.#replicaManager = replicaManager;
    this.#request = request;
    this.#context = context;
  }

  run(): Answer | null | Promise<Answer | null> {
    const { topicData } = this.#request;
    const responses: TopicAnswer[] = [];
    for (const { name, topicId, partitionData } of topicData) {
      const partitionResponses: PartitionAnswer[] = [];
      for (const { index, records } of partitionData) {
        partitionResponses.push(this.#append(name, topicId, index, records));
      }
      responses.push({ name, topicId, partitionResponses });
    }
    if (this.#appends === null) return this.#finish(responses);
    return Promise.all(this.#appends).then(() => this.#finish(responses));
  }

  /** Everything is appended or refused. */
  #finish(responses: readonly TopicAnswer[]): Answer | null | Promise<Answer | null> {
    const { acks, timeoutMs } = this.#request;
    const answer = this.#leaders === null ? { responses } : {
      responses,
      nodeEndpoints: this.#replicaManager.leaderEndpoints(this.#leaders, this.#context.connection),
    };
    if (acks === 0) endIfRefused(responses, this.#context);
    else if (this.#pending !== null) {
      const delayed = this.#replicaManager.delayedAppends;
      return waitForCommits({ targets: this.#pending, delayed, timeoutMs, failed })
        .then(() => answer);
    }
    const given = acks === 0 ? null : answer;
    if (this.#saturated === null) return given;
    // More than a disk can take is dirty: the producer waits, and TCP makes it slow down.
    return Promise.all([...this.#saturated].map((flusher) => flusher.drained())).then(() => given);
  }

  #append(name: string, topicId: Uuid, index: number, records: Uint8Array | null): PartitionAnswer {
    const { acks, transactionalId } = this.#request;
    const { apiVersion, clientId } = this.#context;
    if (acks !== 1 && acks !== ALL_REPLICAS && acks !== 0) {
      return refused(index, ErrorCode.INVALID_REQUIRED_ACKS);
    }
    const partition = apiVersion >= FIRST_TOPIC_ID_VERSION
      ? this.#replicaManager.partitionById(topicId, index)
      : this.#replicaManager.partition(name, index);
    if (isRefusal(partition)) return this.#refusedPartition(index, partition);
    const error = refusal(partition, records, transactionalId, clientId);
    if (error !== ErrorCode.NONE) return refused(index, error);
    const batch = {
      records: records ?? NO_RECORDS,
      requiredAcks: acks,
      requestVersion: apiVersion,
    };
    const result = partition.appendFromClient(batch);
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

/** What a client may not write, before the log looks at the bytes. */
function refusal(
  partition: Partition,
  records: Uint8Array | null,
  transactionalId: string | null,
  clientId: string | null,
): ErrorCode {
  if (isInternalTopic(partition.topic) && clientId !== ADMIN_CLIENT_ID) {
    return ErrorCode.INVALID_TOPIC_EXCEPTION;
  }
  const isInTransaction = transactionalId !== null || records !== null &&
      records.length >= RECORD_BATCH_OVERHEAD && isTransactional(readAttributes(records, 0));
  return isInTransaction ? ErrorCode.INVALID_TXN_STATE : ErrorCode.NONE;
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
