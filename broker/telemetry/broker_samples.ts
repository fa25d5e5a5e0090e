/** What the metrics show of partitions and groups, read from the subsystems when somebody scrapes. */

import type { GroupCoordinator } from "../groups/coordinator.ts";
import { isRefusal, type ReplicaManager } from "../partitions/replica_manager.ts";
import type { LogDirectories } from "../../storage/log_directories.ts";
import { DiskError } from "../../storage/platform.ts";
import type { DirectorySample, IntegritySample } from "./metrics.ts";
import type { OffsetSample, PartitionSample, TopicSample } from "./series.ts";

/** Every topic that has, or had, partitions here. */
export function* topicSamples(replicaManager: ReplicaManager): Iterable<TopicSample> {
  for (const { topic, traffic } of replicaManager.traffic()) {
    const { writtenBytes, writtenRecords, readBytes } = traffic;
    yield { topic, writtenBytes, writtenRecords, readBytes };
  }
}

/** Every open partition. */
export function* partitionSamples(replicaManager: ReplicaManager): Iterable<PartitionSample> {
  for (
    const { topic, partition, log, highWatermark, isLeader, image } of replicaManager.partitions()
  ) {
    const { replicas, isr } = image;
    yield {
      topic,
      partition,
      logStartOffset: log.logStartOffset,
      endOffset: log.endOffset,
      highWatermark,
      sizeBytes: log.sizeBytes,
      segmentCount: log.segments.length,
      led: isLeader ? { replicaCount: replicas.length, isrCount: isr.length } : null,
    };
  }
}

/** Partitions led here with a transaction that nobody has written to since `beforeMs`, as its records tell the time. */
export function lateTransactionCount(replicaManager: ReplicaManager, beforeMs: number): number {
  let count = 0;
  for (const { isLeader, log: { oldestTransactionMs } } of replicaManager.partitions()) {
    if (isLeader && oldestTransactionMs >= 0 && oldestTransactionMs < beforeMs) count++;
  }
  return count;
}

/** Every log directory, and how many partitions are on their way into it. */
export function directorySamples(directories: LogDirectories): DirectorySample[] {
  return directories.states().map(({ path, directory, offlineReason }) => {
    const isOffline = directory === null || offlineReason !== null;
    return {
      path,
      isOffline,
      totalBytes: isOffline ? 0 : orZero(() => directory.totalBytes()),
      usableBytes: isOffline ? 0 : orZero(() => directory.freeBytes()),
      arrivingCount: isOffline ? 0 : [...directory.futures()].length,
    };
  });
}

/** A file system that does not say. */
function orZero(read: () => number): number {
  try {
    return read();
  } catch (failure) {
    if (!(failure instanceof DiskError)) throw failure;
    return 0;
  }
}

/** What is known to be damaged, and what the check of closed segments has done, over all disks. */
export function integritySample(directories: LogDirectories): IntegritySample {
  const sample = { damagedPlaceCount: 0, scrubbedBytes: 0, rebuiltIndexCount: 0 };
  let lastPassMs = Infinity;
  for (const directory of directories.online()) {
    for (const log of directory.logs()) sample.damagedPlaceCount += log.damagedCount;
    const { scrubStats } = directory;
    sample.scrubbedBytes += scrubStats.readBytes;
    sample.rebuiltIndexCount += scrubStats.rebuiltIndexCount;
    lastPassMs = Math.min(lastPassMs, scrubStats.lastPassMs);
  }
  return { ...sample, lastPassMs: lastPassMs === Infinity ? -1 : lastPassMs };
}

/** Every committed offset, with the group's lag where this node leads the partition: nobody is asked. */
export function* offsetSamples(
  coordinator: GroupCoordinator,
  replicaManager: ReplicaManager,
): Iterable<OffsetSample> {
  for (const { groupId, offsets } of coordinator.committed()) {
    for (const [topic, partition, { offset }] of offsets.committed()) {
      const found = replicaManager.partition(topic, partition);
      const lag = isRefusal(found) ? null : Math.max(0, found.highWatermark - offset);
      yield { group: groupId, topic, partition, committedOffset: offset, lag };
    }
  }
}
