/**
 * Who leads which partition after something happened to a broker, or because an operator asks.
 *
 * Pure: an image in, changes of partitions out. What makes a replica fit to lead, and what an election
 * does to the ISR, is in `partition_changes.ts`; here is which partitions are looked at, and how many of them.
 *
 * Source: Kafka's ReplicationControlManager; KIP-460 (elections on request), KIP-966.
 */

import { ErrorCode, errorMessage } from "../../protocol/errors.ts";
import {
  type Election,
  hasOnlineDirectory,
  isActive,
  NO_LEADER,
  type PartitionChangeRules,
  planPartitionChange,
} from "./partition_changes.ts";
import type { MetadataImage, PartitionImage, TopicImage } from "./metadata_image.ts";
import type { MetadataRecord } from "./metadata_records.ts";
import type { Plan, Refusal } from "./topic_changes.ts";

/** The feature that keeps track of eligible leader replicas (KIP-966). */
export const ELR_FEATURE = "eligible.leader.replicas.version";

/** What is set for topics, their own settings over those of the cluster. */
export interface TopicRules {
  /** What is in force for topics without a value of their own. */
  defaultMinInsyncReplicas(image: MetadataImage): number;
  minInsyncReplicas(image: MetadataImage, topic: string): number;
  isUncleanLeaderElectionEnabled(image: MetadataImage, topic: string): boolean;
}

/** What happens to a broker in the same batch as the changes of its partitions; −1 is nobody. */
export interface BrokerChange {
  /** May not lead any more and leaves every ISR, so far as somebody else is in it. */
  readonly removed?: number;
  /** May lead from now on. */
  readonly added?: number;
  /** May have lost records: leaves every ISR and ELR, and does not lead. */
  readonly uncleanShutdown?: number;
}

/** True when eligible leader replicas are kept track of. */
export function isElrEnabled(image: MetadataImage): boolean {
  return (image.features.get(ELR_FEATURE) ?? 0) > 0;
}

/** What is the same for all partitions of a topic; looked up once for many of them. */
export type TopicChangeRules = Omit<PartitionChangeRules, "isAcceptableLeader">;

/** The rules by which partitions of `topic` change. */
export function topicChangeRules(
  image: MetadataImage,
  topic: TopicImage,
  rules: TopicRules,
  election?: Election,
): TopicChangeRules {
  const replicationFactor = topic.partitions[0]!.replicas.length;
  return {
    election: election ??
      (rules.isUncleanLeaderElectionEnabled(image, topic.name) ? "unclean" : "online"),
    minIsr: Math.min(rules.minInsyncReplicas(image, topic.name), replicationFactor),
    isElrEnabled: isElrEnabled(image),
  };
}

/** The rules by which a partition of `topic` changes, with everybody as the image has them. */
export function changeRulesOf(
  image: MetadataImage,
  topic: TopicImage,
  partition: PartitionImage,
  rules: TopicRules,
  election?: Election,
): PartitionChangeRules {
  return {
    ...topicChangeRules(image, topic, rules, election),
    isAcceptableLeader: (id) => isAcceptableLeader(image, partition, id),
  };
}

function isAcceptableLeader(image: MetadataImage, partition: PartitionImage, id: number): boolean {
  return isActive(image.brokers.get(id)) && hasReplicaOnline(image, partition, id);
}

function hasReplicaOnline(image: MetadataImage, partition: PartitionImage, id: number): boolean {
  const broker = image.brokers.get(id);
  const directory = partition.directories[partition.replicas.indexOf(id)];
  return broker !== undefined && hasOnlineDirectory(broker, directory);
}

/**
 * The changes of partitions that follow from what happens to a broker, at most `limit` of them: what is left is
 * found by `planRepairs`, once the broker is in the image as it is to be.
 *
 * `isAffected` picks the partitions that are looked at.
 */
export function planLeaderAndIsrChanges(
  image: MetadataImage,
  rules: TopicRules,
  { removed = NO_LEADER, added = NO_LEADER, uncleanShutdown = NO_LEADER }: BrokerChange,
  isAffected: (partition: PartitionImage, topic: TopicImage) => boolean,
  limit = Infinity,
): MetadataRecord[] {
  const records: MetadataRecord[] = [];
  const uncleanShutdownReplicas = uncleanShutdown === NO_LEADER ? [] : [uncleanShutdown];
  for (const topic of image.topics()) {
    let ofTopic: TopicChangeRules | null = null;
    for (const partition of topic.partitions) {
      if (!isAffected(partition, topic)) continue;
      ofTopic ??= topicChangeRules(image, topic, rules);
      const isBack = (id: number) => id === added && hasReplicaOnline(image, partition, id);
      const mayLead = (id: number) =>
        id !== removed && id !== uncleanShutdown &&
        (isBack(id) || isAcceptableLeader(image, partition, id));
      const record = planPartitionChange(topic.id, partition, {
        isr: partition.isr.filter((id) => id !== removed && id !== uncleanShutdown),
      }, {
        ...ofTopic,
        isAcceptableLeader: mayLead,
        uncleanShutdownReplicas,
      });
      if (record !== null) records.push(record);
      if (records.length >= limit) return records;
    }
  }
  return records;
}

/**
 * The changes that a change of brokers has left to do, at most `limit` of them: nobody who is away leads or is in an
 * ISR with others, and who may lead does.
 */
export function planRepairs(
  image: MetadataImage,
  rules: TopicRules,
  limit: number,
): MetadataRecord[] {
  const records: MetadataRecord[] = [];
  for (const topic of image.topics()) {
    let ofTopic: TopicChangeRules | null = null;
    for (const partition of topic.partitions) {
      const { isr, elr } = partition;
      const isUp = (id: number) => isActive(image.brokers.get(id));
      if (!isLeaderless(partition) && isr.every(isUp)) continue;
      // Whoever may lead is there, or nothing can be done.
      if (isLeaderless(partition) && !(isr.length > 0 ? isr : elr).some(isUp)) continue;
      ofTopic ??= topicChangeRules(image, topic, rules);
      const record = planPartitionChange(topic.id, partition, { isr: isr.filter(isUp) }, {
        ...ofTopic,
        isAcceptableLeader: (id) => isAcceptableLeader(image, partition, id),
      });
      if (record !== null) records.push(record);
      if (records.length >= limit) return records;
    }
  }
  return records;
}

/** True for a partition that has a broker in its ISR. */
export function hasInIsr(brokerId: number): (partition: PartitionImage) => boolean {
  return ({ isr }) => isr.includes(brokerId);
}

/** True for a partition that nobody leads. */
export function isLeaderless({ leader }: PartitionImage): boolean {
  return leader === NO_LEADER;
}

/** True when a broker leads at least one partition. */
export function hasLeaderships(image: MetadataImage, brokerId: number): boolean {
  for (const { partitions } of image.topics()) {
    if (partitions.some(({ leader }) => leader === brokerId)) return true;
  }
  return false;
}

/** What an operator asks for: the first replica to lead, or anybody where nobody does. */
export type ElectionType = "preferred" | "unclean";

/** An answer for one partition. */
export interface ElectionResult {
  readonly topic: string;
  readonly partition: number;
  readonly error: ErrorCode;
  readonly message: string | null;
}

/** Partitions by topic. */
export interface TopicPartitions {
  readonly topic: string;
  readonly partitions: readonly number[];
}

/**
 * Plans one ElectLeaders request. Null for `topicPartitions` stands for all partitions; then those that need no
 * election are not in the answer.
 */
export function planElections(
  image: MetadataImage,
  rules: TopicRules,
  type: ElectionType,
  topicPartitions: readonly TopicPartitions[] | null,
): Plan<ElectionResult> {
  const records: MetadataRecord[] = [];
  const results: ElectionResult[] = [];
  /** A partition that is named twice is elected once. */
  const elected = new Set<PartitionImage>();
  const add = (topicName: string, partitionId: number, isAsked: boolean) => {
    const partition = image.topicByName(topicName)?.partitions[partitionId];
    const election = partition !== undefined && elected.has(partition)
      ? electionNotNeeded()
      : electionOf(image, rules, type, topicName, partitionId);
    if ("type" in election) {
      elected.add(partition!);
      records.push(election);
    }
    const { error, message } = "type" in election
      ? { error: ErrorCode.NONE, message: null }
      : election;
    if (!isAsked && error === ErrorCode.ELECTION_NOT_NEEDED) return;
    results.push({ topic: topicName, partition: partitionId, error, message });
  };
  if (topicPartitions === null) {
    for (const { name, partitions } of image.topics()) {
      for (const { partition } of partitions) add(name, partition, false);
    }
  } else {
    for (const { topic, partitions } of topicPartitions) {
      for (const partition of partitions) add(topic, partition, true);
    }
  }
  return { records, results };
}

function electionNotNeeded(): Refusal {
  const error = ErrorCode.ELECTION_NOT_NEEDED;
  return { error, message: errorMessage(error) };
}

function electionOf(
  image: MetadataImage,
  rules: TopicRules,
  type: ElectionType,
  topicName: string,
  partitionId: number,
): MetadataRecord | Refusal {
  const error = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  const topic = image.topicByName(topicName);
  if (topic === undefined) return { error, message: `No such topic as ${topicName}` };
  const partition = topic.partitions[partitionId];
  if (partition === undefined) {
    return { error, message: `No such partition as ${topicName}-${partitionId}` };
  }
  const isNeeded = type === "preferred"
    ? partition.leader !== partition.replicas[0]
    : isLeaderless(partition);
  if (!isNeeded) return electionNotNeeded();
  const record = planPartitionChange(
    topic.id,
    partition,
    {},
    changeRulesOf(image, topic, partition, rules, type),
  );
  if (record !== null) return record;
  const unavailable = type === "preferred"
    ? ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE
    : ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE;
  return { error: unavailable, message: errorMessage(unavailable) };
}

/** Elections that nobody asked for, at most so many at once that other changes have their turn. */
export interface ElectionRound {
  readonly records: readonly MetadataRecord[];
  /** True where the bound cut the round short. */
  readonly hasMore: boolean;
}

/** Gives brokers back the partitions that they should lead (`auto.leader.rebalance.enable`). */
export function planBalancing(
  image: MetadataImage,
  rules: TopicRules,
  maxElections: number,
): ElectionRound {
  const isImbalanced = ({ leader, replicas }: PartitionImage) => leader !== replicas[0];
  return planRound(image, rules, "preferred", isImbalanced, maxElections);
}

/** Leaders for partitions that have none, of topics that may lose records for it. */
export function planUncleanElections(
  image: MetadataImage,
  rules: TopicRules,
  maxElections: number,
): ElectionRound {
  const isAllowed = (partition: PartitionImage, { name }: TopicImage) =>
    isLeaderless(partition) && rules.isUncleanLeaderElectionEnabled(image, name);
  return planRound(image, rules, "unclean", isAllowed, maxElections);
}

function planRound(
  image: MetadataImage,
  rules: TopicRules,
  election: Election,
  isWanted: (partition: PartitionImage, topic: TopicImage) => boolean,
  maxElections: number,
): ElectionRound {
  const records: MetadataRecord[] = [];
  for (const topic of image.topics()) {
    for (const partition of topic.partitions) {
      if (!isWanted(partition, topic)) continue;
      if (records.length === maxElections) return { records, hasMore: true };
      const changeRules = changeRulesOf(image, topic, partition, rules, election);
      const record = planPartitionChange(topic.id, partition, {}, changeRules);
      if (record !== null) records.push(record);
    }
  }
  return { records, hasMore: false };
}
