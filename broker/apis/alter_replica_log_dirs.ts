/**
 * AlterReplicaLogDirs (key 34), versions 1–2: moves replicas of this node to another log directory, in the
 * background.
 *
 * 2 flexible. An answer without an error says that the move has begun, or that there is nothing to move;
 * DescribeLogDirs shows how far it is. A partition that is named for two directories goes to the later one.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import {
  alterReplicaLogDirsRequest,
  alterReplicaLogDirsResponse,
} from "../../protocol/schemas/alter_replica_log_dirs.ts";
import type { ReplicaManager } from "../partitions/replica_manager.ts";
import { type Api, defineApi } from "./api.ts";

/** Answers AlterReplicaLogDirs. */
export function alterReplicaLogDirsApi(
  { replicaManager }: { readonly replicaManager: ReplicaManager },
): Api {
  return defineApi({
    key: ApiKey.AlterReplicaLogDirs,
    request: alterReplicaLogDirsRequest,
    response: alterReplicaLogDirsResponse,
    versions: { lowest: 1, highest: 2 },
    async handle({ dirs }) {
      const paths = new Map<string, Map<number, string>>();
      for (const { path, topics } of dirs) {
        for (const { name, partitions } of topics) {
          const ofTopic = paths.get(name) ?? new Map<number, string>();
          paths.set(name, ofTopic);
          for (const partition of partitions) ofTopic.set(partition, path);
        }
      }
      const results = await Promise.all(
        [...paths].map(async ([topicName, ofTopic]) => ({
          topicName,
          partitions: await Promise.all(
            [...ofTopic].map(async ([partitionIndex, path]) => ({
              partitionIndex,
              errorCode: await replicaManager.moveReplica(
                { topic: topicName, partition: partitionIndex },
                path,
              ),
            })),
          ),
        })),
      );
      return { throttleTimeMs: 0, results };
    },
  });
}
