/**
 * AddOffsetsToTxn (key 25), versions 0–4: makes a group's offsets part of a transaction (KIP-98), which is to say the
 * group's partition of `__consumer_offsets`.
 *
 * - 1 throttle time · 2 PRODUCER_FENCED, before it INVALID_PRODUCER_EPOCH (KIP-588) · 3 flexible · 4 KIP-890.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import {
  addOffsetsToTxnRequest,
  addOffsetsToTxnResponse,
} from "../../protocol/schemas/add_offsets_to_txn.ts";
import { GROUP_METADATA_TOPIC } from "../controller/internal_topics.ts";
import type { GroupCoordinator } from "../groups/coordinator.ts";
import type { TransactionCoordinator } from "../transactions/coordinator.ts";
import { fencedError } from "../transactions/client_errors.ts";
import { type Api, defineApi } from "./api.ts";

interface Subsystems {
  readonly groupCoordinator: GroupCoordinator;
  readonly transactionCoordinator: TransactionCoordinator;
}

/** Answers AddOffsetsToTxn. */
export function addOffsetsToTxnApi(
  { groupCoordinator, transactionCoordinator }: Subsystems,
): Api {
  return defineApi({
    key: ApiKey.AddOffsetsToTxn,
    request: addOffsetsToTxnRequest,
    response: addOffsetsToTxnResponse,
    versions: { lowest: 0, highest: 4 },
    async handle({ transactionalId, producerId, producerEpoch, groupId }, { apiVersion }) {
      const partition = groupCoordinator.partitionFor(groupId);
      const error = await transactionCoordinator.addPartitions({
        transactionalId,
        producerId,
        producerEpoch,
        partitions: [{ topic: GROUP_METADATA_TOPIC, partition }],
        // In version 2 the group's coordinator adds the partition, and no client asks for it.
        transactionVersion: 0,
        isPatient: true,
      });
      return { throttleTimeMs: 0, errorCode: fencedError(error, apiVersion) };
    },
  });
}
