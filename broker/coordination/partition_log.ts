/** A partition of a coordinator's topic, held by the replica manager, as the coordinator's shards see it. */

import type { ErrorCode } from "../../protocol/errors.ts";
import { offset } from "../../protocol/types.ts";
import { Partition } from "../partitions/partition.ts";
import type { ReplicaManager } from "../partitions/replica_manager.ts";
import { isCommitted } from "./append_waits.ts";
import type { CoordinatorLog, CoordinatorLogRead, TransactionalAppend } from "./coordinator_log.ts";

const ALL_REPLICAS = -1;

class PartitionLog implements CoordinatorLog {
  readonly #partition: Partition;

  readonly #leaderEpoch: number;

  constructor(partition: Partition) {
    this.#partition = partition;
    this.#leaderEpoch = partition.leaderEpoch;
  }

  get isLed(): boolean {
    return this.#partition.isLeader && this.#partition.leaderEpoch === this.#leaderEpoch;
  }

  isFollowedBy(brokerId: number): boolean {
    // What a follower said of itself, it said in this epoch.
    return this.isLed && (this.#partition.replicas?.syncedOffsetOf(brokerId) ?? -1) >= 0;
  }

  get startOffset(): number {
    return this.#partition.log.logStartOffset;
  }

  get endOffset(): number {
    return this.#partition.log.endOffset;
  }

  append(
    batch: Uint8Array,
    onSettled: (error: ErrorCode) => void,
    transaction: TransactionalAppend = {},
  ): boolean {
    const result = this.#partition.append(batch, {
      ...transaction,
      origin: "coordinator",
      requiredAcks: ALL_REPLICAS,
    });
    const isTaken = "lastOffset" in result;
    if (isTaken) this.#partition.onCommitted(result.lastOffset + 1, onSettled);
    else onSettled(result.error);
    return isTaken;
  }

  read(fromOffset: number, maxBytes: number): CoordinatorLogRead {
    return this.#partition.log.read(offset(fromOffset), { maxBytes, minOneMessage: true });
  }
}

/**
 * Opens the logs of a coordinator's topic: waits until the replica manager has them, and until all that a new leader found in
 * its log is committed: what is answered from it must not be lost with the next leader. Null when it will not be.
 */
export function coordinatorLogOpener(
  replicaManager: Pick<ReplicaManager, "whenReady">,
  topic: string,
): (partition: number) => Promise<CoordinatorLog | null> {
  return async (partition) => {
    const found = await replicaManager.whenReady(topic, partition);
    if (!(found instanceof Partition)) return null;
    const error = await new Promise<ErrorCode>((resolve) =>
      found.onCommitted(found.log.endOffset, resolve)
    );
    return isCommitted(error) ? new PartitionLog(found) : null;
  };
}
