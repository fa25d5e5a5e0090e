/**
 * AssignReplicasToDirs (key 73), version 0: a broker tells the active controller in which of its log
 * directories replicas lie (KIP-858).
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  assignReplicasToDirsRequest,
  assignReplicasToDirsResponse,
} from "../../protocol/schemas/assign_replicas_to_dirs.ts";
import type { Controller } from "../controller/controller.ts";
import { type Api, defineApi } from "./api.ts";

/** Answers AssignReplicasToDirs. */
export function assignReplicasToDirsApi({ controller }: { readonly controller: Controller }): Api {
  return defineApi({
    key: ApiKey.AssignReplicasToDirs,
    request: assignReplicasToDirsRequest,
    response: assignReplicasToDirsResponse,
    versions: { lowest: 0, highest: 0 },
    async handle({ brokerId, brokerEpoch, directories }) {
      const refusal = controller.refuseBroker({ brokerId, brokerEpoch });
      if (refusal !== null) {
        return { throttleTimeMs: 0, errorCode: refusal.error, directories: [] };
      }
      const assignments = directories.flatMap(({ id: directoryId, topics }) =>
        topics.flatMap(({ topicId, partitions }) =>
          partitions.map(({ partitionIndex: partition }) => ({ topicId, partition, directoryId }))
        )
      );
      const assigned = await controller.assignReplicasToDirs(brokerId, assignments);
      const results = assigned.values();
      return {
        throttleTimeMs: 0,
        errorCode: ErrorCode.NONE,
        directories: directories.map(({ id, topics }) => ({
          id,
          topics: topics.map(({ topicId, partitions }) => ({
            topicId,
            partitions: partitions.map(({ partitionIndex }) => ({
              partitionIndex,
              errorCode: results.next().value!.error,
            })),
          })),
        })),
      };
    },
  });
}
