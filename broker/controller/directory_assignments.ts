/**
 * What it means in records that a broker has put replicas into log directories (KIP-858).
 *
 * Pure: an image and the assignments in; records, and an answer for each assignment, out. Who leads and
 * follows a partition stays as it is where the replica was carried over, or lay nowhere yet. A replica whose
 * directory is gone begins anew in the other one, with nothing in it: it leaves the ISR, and the ELR, unless
 * nobody else is in them.
 *
 *     in A ──LOST: damaged──→ out of ISR and ELR, another one leads, a new leader epoch ──A or B──→ begins anew
 *              └── nobody else may lead without losing records: refused
 *
 * With LOST a broker says that a replica is damaged and is about to be thrown away. Whatever that replica has said
 * until then of how far it is must not count any more: the leader begins a new epoch, even where it stays the same.
 *
 * Source: Kafka's ReplicationControlManager, handleAssignReplicasToDirs. Kafka takes LOST from the last replica too,
 * and nobody leads then.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import { DirectoryId, type Uuid } from "../../protocol/types.ts";
import { changeRulesOf, type TopicRules } from "./leader_election.ts";
import {
  changedPartition,
  type MetadataImage,
  type PartitionImage,
  type TopicImage,
} from "./metadata_image.ts";
import type { MetadataRecord } from "./metadata_records.ts";
import {
  type Election,
  hasOnlineDirectory,
  LeaderRecoveryState,
  NO_LEADER,
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

/**
 * Plans the assignments of one broker. Shape: a replica is named at most once. Errors: UNKNOWN_TOPIC_ID,
 * UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER; ELIGIBLE_LEADERS_NOT_AVAILABLE for LOST where nobody else may
 * lead.
 */
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
      const planned = planAssignment(image, rules, topic, partition, { brokerId, directoryId });
      if (planned === "refused") {
        results.push({ assignment, error: ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE });
        continue;
      }
      results.push({ assignment, error: ErrorCode.NONE });
      if (planned !== null) records.push(planned);
    }
  }
  return { records, results };
}

/** Null where the replica lies there already. */
function planAssignment(
  image: MetadataImage,
  rules: TopicRules,
  topic: TopicImage,
  partition: PartitionImage,
  { brokerId, directoryId }: { readonly brokerId: number; readonly directoryId: Uuid },
): MetadataRecord | "refused" | null {
  const at = partition.replicas.indexOf(brokerId);
  const before = partition.directories[at];
  if (before === directoryId) return null;
  const broker = image.brokers.get(brokerId);
  const isEmpty = broker !== undefined && !hasOnlineDirectory(broker, before);
  const isLost = directoryId === DirectoryId.LOST;
  const change = isEmpty || isLost
    ? withoutReplica(image, rules, topic, partition, {
      brokerId,
      // Nobody is to lead who lacks records, whatever the topic allows: a damaged replica still has most of them.
      ...(isLost && { election: "online" }),
    })
    : null;
  const value = {
    ...change?.value,
    topicId: topic.id,
    partitionId: partition.partition,
    directories: partition.directories.with(at, directoryId),
  };
  if (!isLost) return { type: "PartitionChangeRecord", value };
  const after = changedPartition(partition, value as object);
  const { leader, leaderRecoveryState } = after;
  const isLed = leader !== NO_LEADER && leader !== brokerId && !after.isr.includes(brokerId) &&
    leaderRecoveryState === LeaderRecoveryState.recovered;
  return isLed ? { type: "PartitionChangeRecord", value: { ...value, leader } } : "refused";
}

function withoutReplica(
  image: MetadataImage,
  rules: TopicRules,
  topic: TopicImage,
  partition: PartitionImage,
  { brokerId, election }: { readonly brokerId: number; readonly election?: Election },
): PartitionChangeRecord | null {
  const isr = partition.isr.filter((id) => id !== brokerId);
  const elr = partition.elr.filter((id) => id !== brokerId);
  if (isr.length + elr.length === 0) return null;
  const changeRules = changeRulesOf(image, topic, partition, rules, election);
  return planPartitionChange(topic.id, partition, { isr }, {
    ...changeRules,
    isAcceptableLeader: (id) => id !== brokerId && changeRules.isAcceptableLeader(id),
    uncleanShutdownReplicas: [brokerId],
  });
}
