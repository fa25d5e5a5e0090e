/**
 * What it means in records that a leader asks for another ISR (AlterPartition, KIP-497).
 *
 * The leader says which state it knows (leader epoch and partition epoch), so that two who believe to lead, or
 * one that has not heard of the newest change, cannot undo what was decided meanwhile. Who is to join must be
 * up, with the directory of its replica, and in the very incarnation that the leader has seen catch up (KIP-841, KIP-903).
 *
 * A joining replica may be the last that a reassignment waits for: then the change ends it, and with it perhaps
 * the leadership of the one who asked, which is told so.
 *
 * Pure: an image and a request in; records, and an answer for each partition, out.
 *
 * Source: Kafka's ReplicationControlManager.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import type { Uuid } from "../../protocol/types.ts";
import { changeRulesOf, type TopicRules } from "./leader_election.ts";
import { changedPartition, type MetadataImage, type PartitionImage } from "./metadata_image.ts";
import type { MetadataRecord } from "./metadata_records.ts";
import {
  hasOnlineDirectory,
  isActive,
  LeaderRecoveryState,
  planPartitionChange,
} from "./partition_changes.ts";
import { duplicatesOf, type Plan } from "./topic_changes.ts";

/** A replica as its leader knows it; the epoch is −1 where the leader does not say which incarnation it is. */
export interface IsrMember {
  readonly brokerId: number;
  readonly brokerEpoch: number;
}

/** The ISR that a leader wants for a partition, and the state that it knows. */
export interface PartitionAlteration {
  readonly topicId: Uuid;
  readonly partition: number;
  readonly leaderEpoch: number;
  readonly partitionEpoch: number;
  readonly leaderRecoveryState: number;
  readonly isr: readonly IsrMember[];
}

/** What became of a request; `state` is the partition as it is now, null with an error. */
export interface PartitionAltered {
  readonly topicId: Uuid;
  readonly partition: number;
  readonly error: ErrorCode;
  readonly state: PartitionImage | null;
}

/** Plans one AlterPartition request of `brokerId`, whose epoch was checked. */
export function planPartitionAlterations(
  image: MetadataImage,
  rules: TopicRules,
  brokerId: number,
  alterations: readonly PartitionAlteration[],
): Plan<PartitionAltered> {
  const records: MetadataRecord[] = [];
  /** Partitions as earlier parts of the request leave them. */
  const states = new Map<PartitionImage, PartitionImage>();
  const results = alterations.map((alteration): PartitionAltered => {
    const { topicId, partition: partitionId } = alteration;
    const answer = (error: ErrorCode, state: PartitionImage | null = null) => (
      { topicId, partition: partitionId, error, state }
    );
    const topic = image.topicById(topicId);
    if (topic === undefined) return answer(ErrorCode.UNKNOWN_TOPIC_ID);
    const known = topic.partitions[partitionId];
    if (known === undefined) return answer(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    const partition = states.get(known) ?? known;
    const refusal = refuse(image, brokerId, partition, alteration);
    if (refusal !== ErrorCode.NONE) return answer(refusal);
    const record = planPartitionChange(topicId, partition, {
      isr: alteration.isr.map((member) => member.brokerId),
      leaderRecoveryState: alteration.leaderRecoveryState,
    }, changeRulesOf(image, topic, partition, rules));
    if (record === null) return answer(ErrorCode.NONE, partition);
    records.push(record);
    const state = changedPartition(partition, record.value as object);
    states.set(known, state);
    // The change is made all the same: the leader has to learn who leads now before it goes on.
    return state.leader === brokerId
      ? answer(ErrorCode.NONE, state)
      : answer(ErrorCode.NEW_LEADER_ELECTED);
  });
  return { records, results };
}

function refuse(
  image: MetadataImage,
  brokerId: number,
  partition: PartitionImage,
  alteration: PartitionAlteration,
): ErrorCode {
  const { leaderEpoch, partitionEpoch, leaderRecoveryState, isr } = alteration;
  // A leader that is ahead of us has heard of a newer controller.
  if (leaderEpoch > partition.leaderEpoch || partitionEpoch > partition.partitionEpoch) {
    return ErrorCode.NOT_CONTROLLER;
  }
  if (leaderEpoch < partition.leaderEpoch) return ErrorCode.FENCED_LEADER_EPOCH;
  if (brokerId !== partition.leader) return ErrorCode.INVALID_REQUEST;
  if (partitionEpoch < partition.partitionEpoch) return ErrorCode.INVALID_UPDATE_VERSION;
  const ids = isr.map((member) => member.brokerId);
  const isValid = ids.includes(partition.leader) && duplicatesOf(ids).size === 0 &&
    ids.every((id) => partition.replicas.includes(id)) &&
    isValidRecoveryState(partition, leaderRecoveryState, ids.length);
  if (!isValid) return ErrorCode.INVALID_REQUEST;
  const areEligible = isr.every(({ brokerId: id, brokerEpoch }) => {
    const broker = image.brokers.get(id);
    const directory = partition.directories[partition.replicas.indexOf(id)];
    return isActive(broker) && (brokerEpoch === -1 || brokerEpoch === broker.epoch) &&
      (partition.isr.includes(id) || hasOnlineDirectory(broker, directory));
  });
  return areEligible ? ErrorCode.NONE : ErrorCode.INELIGIBLE_REPLICA;
}

/** A leader that recovers is alone, and one that has recovered does not begin again. */
function isValidRecoveryState(
  partition: PartitionImage,
  leaderRecoveryState: number,
  isrCount: number,
): boolean {
  if (leaderRecoveryState === LeaderRecoveryState.recovered) return true;
  return leaderRecoveryState === LeaderRecoveryState.recovering && isrCount === 1 &&
    partition.leaderRecoveryState === LeaderRecoveryState.recovering;
}
