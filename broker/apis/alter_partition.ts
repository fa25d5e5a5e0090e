/**
 * AlterPartition (key 56), versions 2–3: a leader asks the active controller for another ISR (KIP-497).
 *
 * - v2: topic ids (KIP-841). v3: the epochs of the brokers in the ISR, so that one which restarted since it
 *   caught up does not count as in sync (KIP-903).
 *
 * NEW_LEADER_ELECTED is answered for a change that was made and took the leadership away.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  type AlterPartitionRequest,
  alterPartitionRequest,
  alterPartitionResponse,
} from "../../protocol/schemas/alter_partition.ts";
import type { Controller } from "../controller/controller.ts";
import type { PartitionAlteration, PartitionAltered } from "../controller/partition_alterations.ts";
import { type Api, defineApi } from "./api.ts";

const EPOCHS_FROM = 3;
const ANY_EPOCH = -1;

type Topic = AlterPartitionRequest["topics"][number];

/** Answers AlterPartition. */
export function alterPartitionApi({ controller }: { readonly controller: Controller }): Api {
  return defineApi({
    key: ApiKey.AlterPartition,
    request: alterPartitionRequest,
    response: alterPartitionResponse,
    versions: { lowest: 2, highest: 3 },
    async handle({ brokerId, brokerEpoch, topics }, { apiVersion }) {
      const alterations = topics.flatMap((topic) => alterationsOf(topic, apiVersion));
      const altered = await controller.alterPartition({ brokerId, brokerEpoch }, alterations);
      if ("error" in altered) return { throttleTimeMs: 0, errorCode: altered.error, topics: [] };
      const results = altered.values();
      return {
        throttleTimeMs: 0,
        errorCode: ErrorCode.NONE,
        topics: topics.map(({ topicId, partitions }) => ({
          topicId,
          partitions: partitions.map(() => partitionAnswer(results.next().value!)),
        })),
      };
    },
  });
}

function alterationsOf({ topicId, partitions }: Topic, apiVersion: number): PartitionAlteration[] {
  return partitions.map((partition) => ({
    topicId,
    partition: partition.partitionIndex,
    leaderEpoch: partition.leaderEpoch,
    partitionEpoch: partition.partitionEpoch,
    leaderRecoveryState: partition.leaderRecoveryState,
    isr: apiVersion >= EPOCHS_FROM
      ? partition.newIsrWithEpochs
      : partition.newIsr.map((brokerId) => ({ brokerId, brokerEpoch: ANY_EPOCH })),
  }));
}

function partitionAnswer({ partition, error, state }: PartitionAltered) {
  return {
    partitionIndex: partition,
    errorCode: error,
    leaderId: state?.leader ?? 0,
    leaderEpoch: state?.leaderEpoch ?? 0,
    isr: state?.isr ?? [],
    leaderRecoveryState: state?.leaderRecoveryState ?? 0,
    partitionEpoch: state?.partitionEpoch ?? 0,
  };
}
