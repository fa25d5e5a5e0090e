/** A partition of `__consumer_offsets`, held by the replica manager, as the coordinator's shards see it. */

import { ErrorCode } from "../../protocol/errors.ts";
import { offset } from "../../protocol/types.ts";
import { GROUP_METADATA_TOPIC } from "../controller/internal_topics.ts";
import { Partition } from "../partitions/partition.ts";
import type { ReplicaManager } from "../partitions/replica_manager.ts";
import type { GroupLog, GroupLogRead } from "./group_log.ts";

const ALL_REPLICAS = -1;

class PartitionGroupLog implements GroupLog {
  readonly #partition: Partition;

  constructor(partition: Partition) {
    this.#partition = partition;
  }

  get startOffset(): number {
    return this.#partition.log.logStartOffset;
  }

  get endOffset(): number {
    return this.#partition.log.endOffset;
  }

  append(batch: Uint8Array, onSettled: (error: ErrorCode) => void): void {
    const result = this.#partition.append(batch, {
      origin: "coordinator",
      requiredAcks: ALL_REPLICAS,
    });
    if ("lastOffset" in result) this.#partition.onCommitted(result.lastOffset + 1, onSettled);
    else onSettled(result.error);
  }

  read(fromOffset: number, maxBytes: number): GroupLogRead {
    return this.#partition.log.read(offset(fromOffset), { maxBytes, minOneMessage: true });
  }
}

/** Opens the coordinator's logs: waits until the replica manager has them, null when it will not. */
export function groupLogOpener(
  replicaManager: Pick<ReplicaManager, "whenReady">,
): (partition: number) => Promise<GroupLog | null> {
  return async (partition) => {
    const found = await replicaManager.whenReady(GROUP_METADATA_TOPIC, partition);
    return found instanceof Partition ? new PartitionGroupLog(found) : null;
  };
}
