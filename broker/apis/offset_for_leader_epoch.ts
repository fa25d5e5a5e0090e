/**
 * OffsetForLeaderEpoch (key 23), versions 2–4: where an epoch of the log ends (KIP-101, KIP-320).
 *
 * 2 the epoch that the client believes in · 3 the replica's id · 4 flexible.
 *
 * Consumers use it to see whether what they have read was truncated. For the current epoch the answer is
 * the log's end, to consumers too, as in Kafka.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  offsetForLeaderEpochRequest,
  offsetForLeaderEpochResponse,
} from "../../protocol/schemas/offset_for_leader_epoch.ts";
import { checkLeaderEpoch } from "../partitions/delayed_fetch.ts";
import { isRefusal, type ReplicaManager } from "../partitions/replica_manager.ts";
import { type Api, defineApi } from "./api.ts";

const UNKNOWN = { leaderEpoch: -1, endOffset: -1 };

/** Answers OffsetForLeaderEpoch. */
export function offsetForLeaderEpochApi(
  { replicaManager }: { readonly replicaManager: ReplicaManager },
): Api {
  return defineApi({
    key: ApiKey.OffsetForLeaderEpoch,
    request: offsetForLeaderEpochRequest,
    response: offsetForLeaderEpochResponse,
    versions: { lowest: 2, highest: 4 },
    handle({ topics }) {
      return {
        throttleTimeMs: 0,
        topics: topics.map(({ topic, partitions }) => ({
          topic,
          partitions: partitions.map(({ partition: index, currentLeaderEpoch, leaderEpoch }) => {
            const partition = replicaManager.partition(topic, index);
            if (isRefusal(partition)) {
              return { partition: index, errorCode: partition.error, ...UNKNOWN };
            }
            const errorCode = checkLeaderEpoch(partition, currentLeaderEpoch);
            const found = errorCode === ErrorCode.NONE
              ? partition.log.endOffsetForEpoch(leaderEpoch)
              : UNKNOWN;
            return { partition: index, errorCode, ...found };
          }),
        })),
      };
    },
  });
}
