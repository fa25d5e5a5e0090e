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
 * acks=−1 when the records are on stable storage.
 *
 * Gaps: no transactions yet: transactional batches are refused with INVALID_TXN_STATE.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode, errorMessage } from "../../protocol/errors.ts";
import {
  isTransactional,
  readAttributes,
  RECORD_BATCH_OVERHEAD,
} from "../../protocol/record_batch.ts";
import type { Encodable } from "../../protocol/schema.ts";
import {
  type ProduceRequest,
  produceRequest,
  produceResponse,
} from "../../protocol/schemas/produce.ts";
import type { AppendResult } from "../../storage/log.ts";
import { isInternalTopic } from "../controller/internal_topics.ts";
import type { Partition } from "../partitions/partition.ts";
import { isRefusal, type ReplicaManager } from "../partitions/replica_manager.ts";
import { type Api, defineApi, type RequestContext } from "./api.ts";

type Answer = Encodable<typeof produceResponse>;

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

interface Pending {
  readonly answer: PartitionAnswer;
  readonly partition: Partition;
  readonly endOffset: number;
}

/** Kafka's own tools may write to internal topics under this name. */
const ADMIN_CLIENT_ID = "__admin_client";
const FIRST_TOPIC_ID_VERSION = 13;
/** An answer repeats names and numbers; a frame is held once, as the records lie in it. */
const ANSWER_BYTES = 512;

/** Answers Produce. */
export function produceApi({ replicaManager }: { readonly replicaManager: ReplicaManager }): Api {
  return defineApi({
    key: ApiKey.Produce,
    request: produceRequest,
    response: produceResponse,
    versions: { lowest: 3, highest: 13 },
    advertised: { lowest: 0, highest: 13 },
    cost: (frameBytes) => frameBytes + ANSWER_BYTES,
    handle(request, context) {
      const { answer, pending } = appendAll(replicaManager, request, context);
      if (request.acks === 0) return endUnanswered(answer, context);
      if (pending.length > 0) {
        return whenCommitted(replicaManager, answer, pending, request.timeoutMs);
      }
      const { flusher } = replicaManager.logDirectory;
      // More than the disk can take is dirty: the producer waits, and TCP makes it slow down.
      return flusher.isSaturated ? flusher.drained().then(() => answer) : answer;
    },
  });
}

function appendAll(
  replicaManager: ReplicaManager,
  request: ProduceRequest,
  context: RequestContext,
): { readonly answer: Answer; readonly pending: Pending[] } {
  const { apiVersion } = context;
  const { acks } = request;
  const isAcksValid = acks === 0 || acks === 1 || acks === -1;
  const pending: Pending[] = [];
  const responses = request.topicData.map(({ name, topicId, partitionData }) => ({
    name,
    topicId,
    partitionResponses: partitionData.map(({ index, records }): PartitionAnswer => {
      if (!isAcksValid) return refused(index, ErrorCode.INVALID_REQUIRED_ACKS);
      const partition = apiVersion >= FIRST_TOPIC_ID_VERSION
        ? replicaManager.partitionById(topicId, index)
        : replicaManager.partition(name, index);
      if (isRefusal(partition)) return refused(index, partition.error);
      const error = refusal(partition, records, request.transactionalId, context.clientId);
      if (error !== ErrorCode.NONE) return refused(index, error);
      const result = partition.append(records ?? new Uint8Array(0), {
        origin: "client",
        requiredAcks: acks,
        requestVersion: apiVersion,
      });
      const answer = toAnswer(index, result);
      if (acks === -1 && "baseOffset" in result) {
        const endOffset = result.lastOffset + 1;
        if (endOffset > partition.highWatermark) pending.push({ answer, partition, endOffset });
      }
      return answer;
    }),
  }));
  return { answer: { responses, throttleTimeMs: 0 }, pending };
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

function toAnswer(index: number, result: AppendResult): PartitionAnswer {
  if (!("baseOffset" in result)) {
    const { error, message, recordErrors } = result;
    return {
      ...refused(index, error),
      errorMessage: message,
      ...(recordErrors !== undefined && {
        recordErrors: recordErrors.map(({ batchIndex, message }) => (
          { batchIndex, batchIndexErrorMessage: message }
        )),
      }),
    };
  }
  return {
    index,
    errorCode: ErrorCode.NONE,
    baseOffset: result.baseOffset,
    logAppendTimeMs: result.logAppendTimeMs,
    logStartOffset: result.logStartOffset,
  };
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
function endUnanswered({ responses }: Answer, context: RequestContext): null {
  for (const { name, partitionResponses } of responses) {
    for (const { index, errorCode } of partitionResponses) {
      if (errorCode === ErrorCode.NONE) continue;
      context.closeConnection(
        `a Produce with acks=0 failed on ${name}-${index}: ${errorMessage(errorCode as ErrorCode)}`,
      );
      return null;
    }
  }
  return null;
}

/** Answers when every append is committed, has failed, or has waited for `timeoutMs`. */
function whenCommitted(
  replicaManager: ReplicaManager,
  answer: Answer,
  pending: readonly Pending[],
  timeoutMs: number,
): Promise<Answer> {
  return new Promise((resolve) => {
    const left = new Set(pending);
    const finish = () => {
      replicaManager.delayedAppends.remove(waiting);
      resolve(answer);
    };
    const waiting = {
      expire() {
        for (const { answer } of left) fail(answer, ErrorCode.REQUEST_TIMED_OUT);
        left.clear();
        finish();
      },
    };
    const mayWait = replicaManager.delayedAppends.add(waiting, timeoutMs);
    for (const one of pending) {
      one.partition.onCommitted(one.endOffset, (error) => {
        if (!left.delete(one)) return;
        if (error !== ErrorCode.NONE) fail(one.answer, error);
        if (left.size === 0) finish();
      });
    }
    if (!mayWait && left.size > 0) waiting.expire();
  });
}

function fail(answer: PartitionAnswer, error: ErrorCode): void {
  Object.assign(answer, refused(answer.index, error));
}
