/**
 * What it means in records that partitions are moved to other brokers, or that this is taken back (KIP-455).
 *
 *     replicas 1 2 3, target 1 4 5
 *     start      replicas 1 4 5 2 3   adding 4 5   removing 2 3
 *     done       replicas 1 4 5                                    once 1, 4 and 5 are in the ISR
 *     cancelled  replicas 1 2 3                                    at any time before
 *
 * A target that only orders the replicas anew, or leaves some out, is done at once. The end of the others is
 * found with the change of the ISR that completes them (`partition_changes.ts`).
 *
 * Pure: an image and a request in; records, and an answer for each partition, out.
 *
 * Source: Kafka's ReplicationControlManager, PartitionReassignmentReplicas and PartitionReassignmentRevert;
 * KIP-860 (a change of the replication factor can be ruled out).
 */

import { ErrorCode, errorMessage } from "../../protocol/errors.ts";
import { changeRulesOf, type TopicPartitions, type TopicRules } from "./leader_election.ts";
import {
  changedPartition,
  type MetadataImage,
  type PartitionImage,
  type TopicImage,
} from "./metadata_image.ts";
import type { MetadataRecord } from "./metadata_records.ts";
import {
  isReassigning,
  type PartitionChangeRecord,
  planPartitionChange,
} from "./partition_changes.ts";
import { type Plan, type Refusal, refuseReplicas } from "./topic_changes.ts";

/** Where a partition is to lie, the preferred leader first; null takes a move back that is under way. */
export interface Reassignment {
  readonly topic: string;
  readonly partition: number;
  readonly replicas: readonly number[] | null;
}

/** What became of it; `message` is null where it was begun. */
export interface ReassignmentResult {
  readonly topic: string;
  readonly partition: number;
  readonly error: ErrorCode;
  readonly message: string | null;
}

/** Plans one AlterPartitionReassignments request. */
export function planReassignments(
  image: MetadataImage,
  rules: TopicRules,
  reassignments: readonly Reassignment[],
  { allowReplicationFactorChange }: { readonly allowReplicationFactorChange: boolean },
): Plan<ReassignmentResult> {
  const records: MetadataRecord[] = [];
  /** Partitions as earlier parts of the request leave them. */
  const states = new Map<PartitionImage, PartitionImage>();
  const results = reassignments.map((reassignment): ReassignmentResult => {
    const { topic: name, partition: partitionId, replicas } = reassignment;
    const topic = image.topicByName(name);
    const known = topic?.partitions[partitionId];
    const partition = known === undefined ? undefined : states.get(known) ?? known;
    const planned = topic === undefined
      ? unknown(`Unable to find a topic named ${name}.`)
      : partition === undefined
      ? unknown(`Unable to find partition ${name}:${partitionId}.`)
      : replicas === null
      ? cancel(image, rules, topic, partition)
      : start(image, rules, topic, partition, replicas, allowReplicationFactorChange);
    if (planned !== null && "error" in planned) {
      return { topic: name, partition: partitionId, ...planned };
    }
    if (planned !== null) {
      records.push(planned);
      states.set(known!, changedPartition(partition!, planned.value as object));
    }
    return { topic: name, partition: partitionId, error: ErrorCode.NONE, message: null };
  });
  return { records, results };
}

const byId = (a: number, b: number) => a - b;

function unknown(message: string): Refusal {
  return { error: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, message };
}

/** The replicas that a partition has when the move under way is taken back. */
function originalReplicas({ replicas, addingReplicas }: PartitionImage): number[] {
  return replicas.filter((id) => !addingReplicas.includes(id));
}

function start(
  image: MetadataImage,
  rules: TopicRules,
  topic: TopicImage,
  partition: PartitionImage,
  target: readonly number[],
  allowReplicationFactorChange: boolean,
): PartitionChangeRecord | Refusal | null {
  const refusal = refuseReplicas(image, target) ??
    (allowReplicationFactorChange ? null : refuseFactorChange(partition, target));
  if (refusal !== null) return refusal;
  const original = originalReplicas(partition);
  const removingReplicas = partition.replicas.filter((id) => !target.includes(id)).toSorted(byId);
  const replicas = [...target, ...removingReplicas];
  // Also those that an earlier target brought in: a cancel goes back to where it all began.
  const addingReplicas = replicas.filter((id) => !original.includes(id)).toSorted(byId);
  return planPartitionChange(
    topic.id,
    partition,
    { replicas, addingReplicas, removingReplicas },
    changeRulesOf(image, topic, partition, rules, "online"),
  );
}

function refuseFactorChange(
  partition: PartitionImage,
  target: readonly number[],
): Refusal | null {
  const { length } = originalReplicas(partition);
  if (target.length === length) return null;
  return {
    error: ErrorCode.INVALID_REPLICATION_FACTOR,
    message: `The replication factor is changed from ${length} to ${target.length}`,
  };
}

function cancel(
  image: MetadataImage,
  rules: TopicRules,
  topic: TopicImage,
  partition: PartitionImage,
): PartitionChangeRecord | Refusal | null {
  if (!isReassigning(partition)) {
    const error = ErrorCode.NO_REASSIGNMENT_IN_PROGRESS;
    return { error, message: errorMessage(error) };
  }
  const replicas = originalReplicas(partition);
  const isr = partition.isr.filter((id) => replicas.includes(id));
  const changeRules = changeRulesOf(image, topic, partition, rules);
  // Without anybody in the ISR, who is eligible leads, or who led last.
  const eligible = partition.elr.length > 0 ? partition.elr : partition.lastKnownElr;
  const hasOriginal = isr.length > 0 ||
    (partition.isr.length === 0 && eligible.some((id) => replicas.includes(id)));
  if (!hasOriginal && changeRules.election !== "unclean") {
    return {
      error: ErrorCode.INVALID_REPLICA_ASSIGNMENT,
      message: `Unable to revert partition assignment for ${topic.name}:${partition.partition} ` +
        "because it would require an unclean leader election.",
    };
  }
  return planPartitionChange(topic.id, partition, {
    isr: hasOriginal ? isr : [replicas[0]!],
    replicas,
    removingReplicas: [],
    addingReplicas: [],
  }, changeRules);
}

/** A move that is under way. */
export interface OngoingReassignment {
  readonly topic: string;
  readonly partition: PartitionImage;
}

/** The moves under way among `topicPartitions`, among all partitions for null. */
export function ongoingReassignments(
  image: MetadataImage,
  topicPartitions: readonly TopicPartitions[] | null,
): OngoingReassignment[] {
  const found: OngoingReassignment[] = [];
  const add = (topic: TopicImage, partition: PartitionImage | undefined) => {
    if (partition !== undefined && isReassigning(partition)) {
      found.push({ topic: topic.name, partition });
    }
  };
  if (topicPartitions === null) {
    for (const topic of image.topics()) {
      for (const partition of topic.partitions) add(topic, partition);
    }
    return found;
  }
  for (const { topic: name, partitions } of topicPartitions) {
    const topic = image.topicByName(name);
    if (topic === undefined) continue;
    for (const partitionId of partitions) add(topic, topic.partitions[partitionId]);
  }
  return found;
}
