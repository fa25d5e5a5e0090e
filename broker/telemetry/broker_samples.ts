/** What the metrics show of partitions and groups, read from the subsystems when somebody scrapes. */

import type { GroupCoordinator } from "../groups/coordinator.ts";
import { isRefusal, type ReplicaManager } from "../partitions/replica_manager.ts";
import type { GroupSample, PartitionSample } from "./metrics.ts";

/** Every open partition. */
export function* partitionSamples(replicaManager: ReplicaManager): Iterable<PartitionSample> {
  for (const { topic, partition, log, highWatermark } of replicaManager.partitions()) {
    yield {
      topic,
      partition,
      logStartOffset: log.logStartOffset,
      endOffset: log.endOffset,
      highWatermark,
      sizeBytes: log.sizeBytes,
    };
  }
}

/** Every committed offset, with the group's lag. */
export function* groupSamples(
  coordinator: GroupCoordinator,
  replicaManager: ReplicaManager,
): Iterable<GroupSample> {
  for (const { groupId, offsets } of coordinator.groups()) {
    for (const [topic, partitions] of offsets.topics()) {
      for (const [partition, { offset }] of partitions) {
        const found = replicaManager.partition(topic, partition);
        const lag = isRefusal(found) ? null : Math.max(0, found.highWatermark - offset);
        yield { group: groupId, topic, partition, committedOffset: offset, lag };
      }
    }
  }
}
