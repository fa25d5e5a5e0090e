/**
 * What it means in records that a broker has put replicas into log directories (KIP-858).
 *
 * Pure: an image and the assignments in; records, and an answer for each assignment, out. Who leads and
 * follows a partition stays as it is where the replica was carried over, or lay nowhere yet. A replica whose
 * directory is gone begins anew in the other one, with nothing in it: it leaves the ISR, and the ELR, unless
 * nobody else is in them.
 *
 * Source: Kafka's ReplicationControlManager, handleAssignReplicasToDirs.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import type { Uuid } from "../../protocol/types.ts";
import { changeRulesOf, type TopicRules } from "./leader_election.ts";
import type { MetadataImage, PartitionImage, TopicImage } from "./metadata_image.ts";
import type { MetadataRecord } from "./metadata_records.ts";
import {
  hasOnlineDirectory,
  type PartitionChangeRecord,
  planPartitionChange,
} from "./partition_changes.ts";
import type { Plan } from "./topic_changes.ts";

/** A replica of the broker that asks, and where it lies. */
export interface DirectoryAssignment {
  readonly topicId: Uuid;
  readonly partition: number;
  readonly directoryId: Uuid;
}

/** What became of an assignment. */
export interface DirectoryAssigned {
  readonly assignment: DirectoryAssignment;
  readonly error: ErrorCode;
}

/** Plans the assignments of one broker. Shape: a replica is named at most once. */
export function planDirectoryAssignments(
  image: MetadataImage,
  rules: TopicRules,
  brokerId: number,
  assignments: readonly DirectoryAssignment[],
): Plan<DirectoryAssigned> {
  const records: MetadataRecord[] = [];
  const results: DirectoryAssigned[] = [];
  for (const assignment of assignments) {
    const { topicId, partition: partitionId, directoryId } = assignment;
    const topic = image.topicById(topicId);
    const partition = topic?.partitions[partitionId];
    const at = partition?.replicas.indexOf(brokerId) ?? -1;
    if (topic === undefined) results.push({ assignment, error: ErrorCode.UNKNOWN_TOPIC_ID });
    else if (partition === undefined) {
      results.push({ assignment, error: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION });
    } else if (at < 0) results.push({ assignment, error: ErrorCode.NOT_LEADER_OR_FOLLOWER });
    else {
      results.push({ assignment, error: ErrorCode.NONE });
      const before = partition.directories[at];
      if (before === directoryId) continue;
      const broker = image.brokers.get(brokerId);
      const isEmpty = broker !== undefined && !hasOnlineDirectory(broker, before);
      const change = isEmpty ? withoutReplica(image, rules, topic, partition, brokerId) : null;
      const directories = partition.directories.with(at, directoryId);
      records.push({
        type: "PartitionChangeRecord",
        value: { ...change?.value, topicId, partitionId, directories },
      });
    }
  }
  return { records, results };
}

function withoutReplica(
  image: MetadataImage,
  rules: TopicRules,
  topic: TopicImage,
  partition: PartitionImage,
  brokerId: number,
): PartitionChangeRecord | null {
  const isr = partition.isr.filter((id) => id !== brokerId);
  const elr = partition.elr.filter((id) => id !== brokerId);
  if (isr.length + elr.length === 0) return null;
  const changeRules = changeRulesOf(image, topic, partition, rules);
  return planPartitionChange(topic.id, partition, { isr }, {
    ...changeRules,
    isAcceptableLeader: (id) => id !== brokerId && changeRules.isAcceptableLeader(id),
    uncleanShutdownReplicas: [brokerId],
  });
}
