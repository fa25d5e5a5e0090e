/**
 * ListPartitionReassignments (key 46), version 0: the moves of partitions that are under way (KIP-455).
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  listPartitionReassignmentsRequest,
  listPartitionReassignmentsResponse,
} from "../../protocol/schemas/list_partition_reassignments.ts";
import type { Controller } from "../controller/controller.ts";
import { ongoingReassignments } from "../controller/reassignments.ts";
import { type Api, defineApi } from "./api.ts";

/** Answers ListPartitionReassignments. */
export function listPartitionReassignmentsApi(
  { controller }: { readonly controller: Controller },
): Api {
  return defineApi({
    key: ApiKey.ListPartitionReassignments,
    request: listPartitionReassignmentsRequest,
    response: listPartitionReassignmentsResponse,
    versions: { lowest: 0, highest: 0 },
    isForwarded: true,
    handle({ topics }) {
      const asked = topics?.map(({ name: topic, partitionIndexes: partitions }) => (
        { topic, partitions }
      )) ?? null;
      const ongoing = ongoingReassignments(controller.image(), asked);
      return {
        throttleTimeMs: 0,
        errorCode: ErrorCode.NONE,
        errorMessage: null,
        topics: [...Map.groupBy(ongoing, ({ topic }) => topic)].map(([name, ofTopic]) => ({
          name,
          partitions: ofTopic.map(({ partition }) => ({
            partitionIndex: partition.partition,
            replicas: partition.replicas,
            addingReplicas: partition.addingReplicas,
            removingReplicas: partition.removingReplicas,
          })),
        })),
      };
    },
  });
}
