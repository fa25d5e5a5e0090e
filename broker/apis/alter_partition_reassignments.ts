/**
 * AlterPartitionReassignments (key 45), versions 0–1: moves partitions to other brokers, or takes such a move
 * back (KIP-455).
 *
 * - v1: a change of the replication factor can be ruled out (KIP-860).
 *
 * The answer comes when the move has begun; ListPartitionReassignments tells when it is done.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  alterPartitionReassignmentsRequest,
  alterPartitionReassignmentsResponse,
} from "../../protocol/schemas/alter_partition_reassignments.ts";
import type { Controller } from "../controller/controller.ts";
import { type Api, defineApi } from "./api.ts";

/** Answers AlterPartitionReassignments. */
export function alterPartitionReassignmentsApi(
  { controller }: { readonly controller: Controller },
): Api {
  return defineApi({
    key: ApiKey.AlterPartitionReassignments,
    request: alterPartitionReassignmentsRequest,
    response: alterPartitionReassignmentsResponse,
    versions: { lowest: 0, highest: 1 },
    isForwarded: true,
    async handle({ topics, allowReplicationFactorChange }) {
      const reassignments = topics.flatMap(({ name: topic, partitions }) =>
        partitions.map(({ partitionIndex: partition, replicas }) => (
          { topic, partition, replicas }
        ))
      );
      const altered = await controller.alterPartitionReassignments(reassignments, {
        allowReplicationFactorChange,
      });
      const results = altered.values();
      return {
        throttleTimeMs: 0,
        allowReplicationFactorChange,
        errorCode: ErrorCode.NONE,
        errorMessage: null,
        responses: topics.map(({ name, partitions }) => ({
          name,
          partitions: partitions.map(({ partitionIndex }) => {
            const { error, message } = results.next().value!;
            return { partitionIndex, errorCode: error, errorMessage: message };
          }),
        })),
      };
    },
  });
}
