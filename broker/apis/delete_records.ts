/**
 * DeleteRecords (key 21), versions 0–2: advances the log start offset (KIP-107).
 *
 * 1 throttling · 2 flexible. Offset −1 stands for the high watermark.
 *
 * The records are gone from every reader's view when it is answered, on all replicas that are alive
 * (REQUEST_TIMED_OUT where one of them does not do it in time); their files go segment by segment.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  type DeleteRecordsRequest,
  deleteRecordsRequest,
  deleteRecordsResponse,
} from "../../protocol/schemas/delete_records.ts";
import { offset } from "../../protocol/types.ts";
import type { LogDirectory } from "../../storage/log_directory.ts";
import { isInternalTopic } from "../controller/internal_topics.ts";
import { type CommitTarget, waitForCommits } from "../partitions/delayed_commit.ts";
import type { Partition } from "../partitions/partition.ts";
import { isRefusal, type ReplicaManager } from "../partitions/replica_manager.ts";
import { type Api, defineApi } from "./api.ts";

const HIGH_WATERMARK = -1;
const NO_LOW_WATERMARK = -1;

/** Answers DeleteRecords. */
export function deleteRecordsApi(
  { replicaManager }: { readonly replicaManager: ReplicaManager },
): Api {
  return defineApi({
    key: ApiKey.DeleteRecords,
    request: deleteRecordsRequest,
    response: deleteRecordsResponse,
    versions: { lowest: 0, highest: 2 },
    async handle({ topics, timeoutMs }) {
      const targets = uncommitted(replicaManager, topics);
      if (targets.length > 0) {
        const delayed = replicaManager.delayedAppends;
        await waitForCommits({ targets, delayed, timeoutMs, failed: () => {} });
      }
      const answers = topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex, offset }) => ({
          partitionIndex,
          ...deleteBefore(replicaManager, name, partitionIndex, offset),
        })),
      }));
      // A start offset that was answered is still there after a crash.
      for (const [directory, inIt] of byDirectory(replicaManager, answers)) {
        if (!await directory.checkpoint()) inIt.forEach(notStable);
      }
      await onAllReplicas(replicaManager, answers, timeoutMs);
      return { throttleTimeMs: 0, topics: answers };
    },
  });
}

/** Partitions asked to delete what is written and not committed yet: it must be, first. */
function uncommitted(replicaManager: ReplicaManager, topics: DeleteRecordsRequest["topics"]) {
  const targets: CommitTarget[] = [];
  for (const { name, partitions } of topics) {
    for (const { partitionIndex, offset: requested } of partitions) {
      const partition = replicaManager.partition(name, partitionIndex);
      if (isRefusal(partition)) continue;
      const endOffset = requested === HIGH_WATERMARK ? partition.log.endOffset : requested;
      const isWritten = endOffset <= partition.log.endOffset;
      if (isWritten && endOffset > partition.highWatermark) targets.push({ partition, endOffset });
    }
  }
  return targets;
}

interface PartitionAnswer {
  readonly partitionIndex: number;
  lowWatermark: number;
  errorCode: ErrorCode;
}

/** The answers for what lies in each directory; those of a partition that is being moved stand in two. */
function byDirectory(
  { logDirectories }: ReplicaManager,
  topics: readonly { readonly name: string; readonly partitions: readonly PartitionAnswer[] }[],
): Map<LogDirectory, PartitionAnswer[]> {
  const answers = new Map<LogDirectory, PartitionAnswer[]>();
  for (const { name, partitions } of topics) {
    for (const answer of partitions) {
      const topicPartition = { topic: name, partition: answer.partitionIndex };
      for (const directory of logDirectories.holding(topicPartition)) {
        const inIt = answers.get(directory);
        if (inIt === undefined) answers.set(directory, [answer]);
        else inIt.push(answer);
      }
    }
  }
  return answers;
}

/** Waits until the followers have deleted as much; the answers tell the least of their log start offsets. */
async function onAllReplicas(
  replicaManager: ReplicaManager,
  topics: readonly { readonly name: string; readonly partitions: readonly PartitionAnswer[] }[],
  timeoutMs: number,
): Promise<void> {
  const targets = topics.flatMap(({ name, partitions }) =>
    partitions.flatMap((answer) => {
      const found = replicaManager.partition(name, answer.partitionIndex);
      if (answer.errorCode !== ErrorCode.NONE || isRefusal(found)) return [];
      if (found.lowWatermark >= answer.lowWatermark) return [];
      const onCommitted: Partition["onCommitted"] = (upTo, settled) =>
        found.onDeleted(upTo, settled);
      return [{ partition: { onCommitted }, endOffset: answer.lowWatermark, answer }];
    })
  );
  if (targets.length === 0) return;
  await waitForCommits({
    targets,
    delayed: replicaManager.delayedAppends,
    timeoutMs,
    failed: ({ answer }, error) => {
      answer.errorCode = error;
      answer.lowWatermark = NO_LOW_WATERMARK;
    },
  });
}

function notStable(answer: PartitionAnswer): void {
  if (answer.errorCode !== ErrorCode.NONE) return;
  answer.lowWatermark = NO_LOW_WATERMARK;
  answer.errorCode = ErrorCode.KAFKA_STORAGE_ERROR;
}

function deleteBefore(
  replicaManager: ReplicaManager,
  topic: string,
  index: number,
  requested: number,
): { lowWatermark: number; errorCode: ErrorCode } {
  const refuse = (errorCode: ErrorCode) => ({ lowWatermark: NO_LOW_WATERMARK, errorCode });
  const partition = replicaManager.partition(topic, index);
  if (isRefusal(partition)) return refuse(partition.error);
  if (isInternalTopic(topic)) return refuse(ErrorCode.INVALID_TOPIC_EXCEPTION);
  if (!partition.config.cleanupPolicy.includes("delete")) {
    return refuse(ErrorCode.POLICY_VIOLATION);
  }
  const { log, highWatermark } = partition;
  const target = requested === HIGH_WATERMARK ? highWatermark : requested;
  if (target < 0 || target > highWatermark) return refuse(ErrorCode.OFFSET_OUT_OF_RANGE);
  const { error } = partition.deleteRecordsBefore(offset(target));
  return error === ErrorCode.NONE
    ? { lowWatermark: log.logStartOffset, errorCode: ErrorCode.NONE }
    : refuse(error);
}
