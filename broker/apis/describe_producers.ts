/**
 * DescribeProducers (key 61), version 0: the idempotent and transactional producers that a partition
 * knows (KIP-664).
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode, errorMessage } from "../../protocol/errors.ts";
import {
  describeProducersRequest,
  describeProducersResponse,
} from "../../protocol/schemas/describe_producers.ts";
import type { ProducerEntry } from "../../storage/producer_state.ts";
import { invalidTopicName } from "../controller/topic_changes.ts";
import { isRefusal, type ReplicaManager } from "../partitions/replica_manager.ts";
import { type Api, defineApi } from "./api.ts";

/** Answers DescribeProducers. */
export function describeProducersApi(
  { replicaManager }: { readonly replicaManager: ReplicaManager },
): Api {
  return defineApi({
    key: ApiKey.DescribeProducers,
    request: describeProducersRequest,
    response: describeProducersResponse,
    versions: { lowest: 0, highest: 0 },
    handle({ topics }) {
      return {
        throttleTimeMs: 0,
        topics: topics.map(({ name, partitionIndexes }) => {
          const invalid = invalidTopicName(name);
          return {
            name,
            partitions: partitionIndexes.map((index) => {
              if (invalid !== null) {
                return refused(index, ErrorCode.INVALID_TOPIC_EXCEPTION, invalid);
              }
              const partition = replicaManager.partition(name, index);
              return isRefusal(partition)
                ? refused(index, partition.error, errorMessage(partition.error))
                : {
                  partitionIndex: index,
                  errorCode: ErrorCode.NONE,
                  errorMessage: null,
                  activeProducers: [...partition.log.producers()].map(describe),
                };
            }),
          };
        }),
      };
    },
  });
}

function refused(partitionIndex: number, errorCode: ErrorCode, errorMessage: string) {
  return { partitionIndex, errorCode, errorMessage, activeProducers: [] };
}

function describe(entry: ProducerEntry) {
  return {
    producerId: entry.producerId,
    producerEpoch: entry.producerEpoch,
    lastSequence: entry.lastSequence,
    lastTimestamp: entry.lastTimestamp,
    coordinatorEpoch: entry.coordinatorEpoch,
    currentTxnStartOffset: entry.currentTxnFirstOffset,
  };
}
