/**
 * What a change of one partition is in a record: who leads it afterwards, who is in its ISR, who may lead
 * it later, and whether a reassignment is done with it.
 *
 * Pure: a partition as it is and as it is wanted in, at most one `PartitionChangeRecord` out.
 *
 *     targets ──→ finish a reassignment ──→ eligible leader replicas ──→ election ──→ record, or nothing
 *
 * A replica of the ISR has every committed record, and so has an eligible leader replica (ELR, KIP-966): one
 * that left an ISR which was below `min.insync.replicas` then, so that nothing was committed without it
 * since. One of the ISR leads, or one of the ELR where nobody is left in the ISR. Only an unclean election
 * chooses among the others, and marks the leader as recovering.
 *
 * The partition's epoch grows with every record, the leader's with every record that names a leader: a new
 * one, or the old one where a replica was taken away, so that its fetches are told apart.
 *
 * Source: Kafka's PartitionChangeBuilder and PartitionReassignmentReplicas; KIP-841, KIP-966.
 */

import assert from "node:assert/strict";
import { DirectoryId, type Uuid } from "../../protocol/types.ts";
import type { BrokerImage, PartitionImage } from "./metadata_image.ts";
import type { MetadataRecord } from "./metadata_records.ts";

/** No replica may lead. */
export const NO_LEADER = -1;

/** `PartitionImage.leaderRecoveryState` by name. */
export const LeaderRecoveryState = { recovered: 0, recovering: 1 } as const;

/**
 * How a leader is chosen: the first replica if it may lead, whoever may lead, and that or, where nobody may,
 * a replica that lacks records.
 */
export type Election = "preferred" | "online" | "unclean";

/** What a partition is to become; what is left out stays as it is. */
export interface PartitionTargets {
  readonly isr?: readonly number[];
  readonly replicas?: readonly number[];
  readonly removingReplicas?: readonly number[];
  readonly addingReplicas?: readonly number[];
  readonly leaderRecoveryState?: number;
}

/** What the change rests on besides the partition. */
export interface PartitionChangeRules {
  readonly election: Election;
  /** True for a broker that is up and whose directory with this replica is. */
  readonly isAcceptableLeader: (brokerId: number) => boolean;
  /** `min.insync.replicas` in force, at most the number of replicas. */
  readonly minIsr: number;
  readonly isElrEnabled: boolean;
  /** Brokers that may have lost what they had acknowledged. */
  readonly uncleanShutdownReplicas?: readonly number[];
}

/** The record of a change. */
export type PartitionChangeRecord = Extract<MetadataRecord, { type: "PartitionChangeRecord" }>;

type ChangeValue = PartitionChangeRecord["value"];
/** A record while it is made. */
type Draft = { -readonly [Field in keyof ChangeValue]: ChangeValue[Field] };

interface Target {
  isr: readonly number[];
  replicas: readonly number[];
  removingReplicas: readonly number[];
  addingReplicas: readonly number[];
  elr: readonly number[];
}

/** The record that makes of `partition` what is wanted; null when nothing changes. */
export function planPartitionChange(
  topicId: Uuid,
  partition: PartitionImage,
  targets: PartitionTargets,
  rules: PartitionChangeRules,
): PartitionChangeRecord | null {
  const { leaderRecoveryState = partition.leaderRecoveryState, ...wanted } = targets;
  const target = finishReassignment({ ...partition, ...wanted });
  target.elr = eligibleLeaders(partition, target, rules);
  const record: Draft = { topicId, partitionId: partition.partition };
  elect(partition, target, rules, record);
  startEpochForRemovedReplicas(partition, target, record);
  if (!isSame(target.elr, partition.elr)) record.eligibleLeaderReplicas = target.elr;
  const mayChangeIsr = target.isr.length > 0 || rules.isElrEnabled;
  if (mayChangeIsr && !isSame(target.isr, partition.isr)) record.isr = target.isr;
  noteLastKnownLeader(partition, rules, record);
  assign(partition, target, record);
  if (leaderRecoveryState !== partition.leaderRecoveryState) {
    record.leaderRecoveryState = leaderRecoveryState;
  }
  const isChange = Object.keys(record).length > 2;
  return isChange ? { type: "PartitionChangeRecord", value: record } : null;
}

/** True when some replica of the partition is on its way in or out. */
export function isReassigning(
  { removingReplicas, addingReplicas }: Pick<
    PartitionImage,
    "removingReplicas" | "addingReplicas"
  >,
): boolean {
  return removingReplicas.length > 0 || addingReplicas.length > 0;
}

/** True when a broker takes part: neither fenced nor on its way down. */
export function isActive(broker: BrokerImage | undefined): broker is BrokerImage {
  return broker !== undefined && !broker.fenced && !broker.inControlledShutdown;
}

/** True when a broker can use the directory, or when it is not known yet which one that is (KIP-858). */
export function hasOnlineDirectory(
  { logDirs }: BrokerImage,
  directory: Uuid | undefined,
): boolean {
  switch (directory) {
    case undefined:
    case DirectoryId.UNASSIGNED:
    case DirectoryId.MIGRATING:
      return true;
    case DirectoryId.LOST:
      return false;
    default:
      return logDirs.length === 0 || logDirs.includes(directory);
  }
}

function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}

function without(ids: readonly number[], others: readonly number[]): number[] {
  return ids.filter((id) => !others.includes(id));
}

/** Once all who are to stay are in sync, the others leave. */
function finishReassignment(target: Target): Target {
  const { removingReplicas, addingReplicas, elr } = target;
  if (!isReassigning(target)) return { ...target };
  const isr = without(target.isr, removingReplicas);
  const replicas = without(target.replicas, removingReplicas);
  const isDone = isr.length > 0 && replicas.length > 0 && without(replicas, isr).length === 0;
  if (!isDone) return { ...target, removingReplicas, addingReplicas };
  return { isr, replicas, elr, removingReplicas: [], addingReplicas: [] };
}

function eligibleLeaders(
  partition: PartitionImage,
  { isr, replicas }: Target,
  { isElrEnabled, minIsr, uncleanShutdownReplicas = [] }: PartitionChangeRules,
): number[] {
  if (!isElrEnabled || isr.length >= minIsr) return [];
  const hadAll = [...new Set([...partition.elr, ...partition.isr])].toSorted((a, b) => a - b);
  return without(hadAll, [...isr, ...uncleanShutdownReplicas])
    .filter((id) => replicas.includes(id));
}

interface Elected {
  readonly leader: number;
  readonly isUnclean: boolean;
}

/** Chooses the leader, and notes what follows from the choice in `target` and `record`. */
function elect(
  partition: PartitionImage,
  target: Target,
  rules: PartitionChangeRules,
  record: Draft,
): void {
  const { leader, isUnclean } = electLeader(partition, target, rules);
  if (leader === partition.leader) return;
  record.leader = leader;
  if (isUnclean) {
    // Records that only others have are given up: nobody else is in sync with this leader.
    target.isr = [leader];
    target.elr = [];
    if (partition.leaderRecoveryState !== LeaderRecoveryState.recovering) {
      record.leaderRecoveryState = LeaderRecoveryState.recovering;
    }
  } else if (target.elr.includes(leader)) {
    target.isr = [leader];
    // Where one alone commits, the others lack that from now on.
    target.elr = rules.minIsr > 1 ? without(target.elr, [leader]) : [];
  } else if (partition.leader === NO_LEADER) {
    // Nobody who is away stays in the ISR of somebody who leads again.
    target.isr = target.isr.filter(rules.isAcceptableLeader);
  }
}

function electLeader(
  partition: PartitionImage,
  target: Target,
  rules: PartitionChangeRules,
): Elected {
  const { election, isAcceptableLeader } = rules;
  const hasAll = target.isr.length > 0 ? target.isr : target.elr;
  const mayLead = (id: number) => hasAll.includes(id) && isAcceptableLeader(id);
  const { replicas } = target;
  const clean = (leader: number) => ({ leader, isUnclean: false });
  if (election === "preferred" && mayLead(replicas[0]!)) return clean(replicas[0]!);
  if (mayLead(partition.leader)) return clean(partition.leader);
  const online = replicas.find(mayLead);
  if (online !== undefined) return clean(online);
  const lastKnown = lastKnownLeader(partition, target, rules);
  if (lastKnown !== null) return { leader: lastKnown, isUnclean: true };
  const any = election === "unclean" ? replicas.find(isAcceptableLeader) : undefined;
  return any === undefined ? clean(NO_LEADER) : { leader: any, isUnclean: true };
}

/** Who led last, where nobody is left who is known to have every record (KIP-966, balanced recovery). */
function lastKnownLeader(
  { lastKnownElr }: PartitionImage,
  { isr, elr, replicas }: Target,
  { isElrEnabled, isAcceptableLeader }: PartitionChangeRules,
): number | null {
  if (!isElrEnabled || isr.length > 0 || elr.length > 0 || lastKnownElr.length !== 1) return null;
  const leader = lastKnownElr[0]!;
  return replicas.includes(leader) && isAcceptableLeader(leader) ? leader : null;
}

/** What a replica that was taken away still fetches is fenced by a new epoch of the same leader. */
function startEpochForRemovedReplicas(
  partition: PartitionImage,
  target: Target,
  record: Draft,
): void {
  if (record.leader !== undefined) return;
  if (without(partition.replicas, target.replicas).length > 0) record.leader = partition.leader;
}

/** `lastKnownElr` holds who led last, as long as nobody leads. */
function noteLastKnownLeader(
  partition: PartitionImage,
  { isElrEnabled }: PartitionChangeRules,
  record: Draft,
): void {
  if (!isElrEnabled) return;
  const { leader: before, lastKnownElr } = partition;
  const leader = record.leader ?? before;
  if (record.isr?.length === 0) {
    // Where nobody led, it is one of those who had all: somebody has to be known.
    const last = before === NO_LEADER ? partition.isr[0]! : before;
    if (!isSame(lastKnownElr, [last])) record.lastKnownElr = [last];
  } else if (leader !== NO_LEADER && lastKnownElr.length > 0) record.lastKnownElr = [];
}

function assign(partition: PartitionImage, target: Target, record: Draft): void {
  const { replicas, removingReplicas, addingReplicas } = target;
  assert(replicas.length > 0, `no replica of partition ${partition.partition}`);
  if (!isSame(replicas, partition.replicas)) {
    record.replicas = replicas;
    record.directories = replicas.map((id) => {
      const at = partition.replicas.indexOf(id);
      // A new replica lies nowhere yet: its broker will say where it has put it.
      return partition.directories[at] ?? DirectoryId.UNASSIGNED;
    });
  }
  if (!isSame(removingReplicas, partition.removingReplicas)) {
    record.removingReplicas = removingReplicas;
  }
  if (!isSame(addingReplicas, partition.addingReplicas)) record.addingReplicas = addingReplicas;
}
