/**
 * What the log says of one consumer group, and what follows from it.
 *
 * The contents are one value for each key of the group's records: the same function sets them when a request changes
 * the group and when the log is read, so that a group that was loaded is the one that was there. Setting a value gives
 * back the one before, which takes the change back.
 *
 * Invariant: a partition has at most one owner. It is the member's from the record that gives it until the record
 * that no longer names it.
 *
 * Source: KIP-848, "Group Coordinator Records".
 */

import assert from "node:assert/strict";
import type { TimestampMs, Uuid } from "../../protocol/types.ts";
import { compareText, type Partitions } from "./assignors/assignor.ts";
import { type MemberProtocol, sameProtocols } from "./classic_group.ts";
import { type CurrentAssignment, NEW_MEMBER, type OwnedPartitions } from "./current_assignment.ts";
import { PartitionMap } from "./partition_map.ts";

/** How a member that speaks the classic protocol takes part (KIP-848, "online migration"). */
export interface ClassicMember {
  readonly sessionTimeoutMs: number;
  readonly supportedProtocols: readonly MemberProtocol[];
}

/** What a member asked for. */
export interface MemberMetadata {
  readonly instanceId: string | null;
  readonly rackId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  /** Sorted. */
  readonly subscribedTopicNames: readonly string[];
  /** Null and the empty text: none. */
  readonly subscribedTopicRegex: string | null;
  readonly rebalanceTimeoutMs: number;
  readonly serverAssignor: string | null;
  /** Null for a member that speaks the consumer protocol. */
  readonly classic: ClassicMember | null;
}

/** What a request says of its member; null and −1 for what it did not say. */
export interface MemberRequest {
  readonly instanceId: string | null;
  readonly rackId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly subscribedTopicNames: readonly string[] | null;
  readonly subscribedTopicRegex: string | null;
  readonly rebalanceTimeoutMs: number;
  readonly serverAssignor: string | null;
}

/** What a member is like after a request that names only what has changed. */
export function updatedMetadata(
  known: MemberMetadata | null,
  request: MemberRequest,
): MemberMetadata {
  const { rebalanceTimeoutMs, subscribedTopicNames: names } = request;
  return {
    instanceId: request.instanceId ?? known?.instanceId ?? null,
    rackId: request.rackId ?? known?.rackId ?? null,
    clientId: request.clientId,
    clientHost: request.clientHost,
    subscribedTopicNames: names === null
      ? known?.subscribedTopicNames ?? []
      : [...new Set(names)].sort(compareText),
    subscribedTopicRegex: request.subscribedTopicRegex ?? known?.subscribedTopicRegex ?? "",
    rebalanceTimeoutMs: rebalanceTimeoutMs === -1
      ? known?.rebalanceTimeoutMs ?? -1
      : rebalanceTimeoutMs,
    serverAssignor: request.serverAssignor ?? known?.serverAssignor ?? null,
    classic: null,
  };
}

/** Whether two members ask for the same. */
export function sameMetadata(left: MemberMetadata, right: MemberMetadata): boolean {
  return left.instanceId === right.instanceId && left.rackId === right.rackId &&
    left.clientId === right.clientId && left.clientHost === right.clientHost &&
    left.subscribedTopicRegex === right.subscribedTopicRegex &&
    left.rebalanceTimeoutMs === right.rebalanceTimeoutMs &&
    left.serverAssignor === right.serverAssignor && sameClassic(left.classic, right.classic) &&
    sameTexts(left.subscribedTopicNames, right.subscribedTopicNames);
}

function sameClassic(left: ClassicMember | null, right: ClassicMember | null): boolean {
  if (left === null || right === null) return left === right;
  return left.sessionTimeoutMs === right.sessionTimeoutMs &&
    sameProtocols(left.supportedProtocols, right.supportedProtocols);
}

/** Whether two lists are the same, in the same order. */
export function sameTexts(left: readonly string[], right: readonly string[]): boolean {
  return left === right ||
    (left.length === right.length && left.every((text, index) => text === right[index]));
}

/** The topics that a regular expression stands for. */
export interface ResolvedRegex {
  /** Sorted. */
  readonly topics: readonly string[];
  /** Offset of the metadata that they were looked up in. */
  readonly version: number;
  readonly timestampMs: TimestampMs;
}

/** One value of a group that changes; null deletes it. */
export type ConsumerGroupChange =
  | {
    readonly kind: "group";
    readonly value: { readonly epoch: number; readonly metadataHash: bigint } | null;
  }
  /** Partition counts, as brokers before 4.1 wrote them: never written, deleted where they are. */
  | { readonly kind: "partitionMetadata"; readonly value: true | null }
  | { readonly kind: "member"; readonly memberId: string; readonly value: MemberMetadata | null }
  | {
    readonly kind: "target";
    readonly value: {
      readonly epoch: number;
      /** 0 when it is not known. */
      readonly timestampMs: TimestampMs;
    } | null;
  }
  | { readonly kind: "targetMember"; readonly memberId: string; readonly value: Partitions | null }
  | {
    readonly kind: "currentMember";
    readonly memberId: string;
    readonly value: CurrentAssignment | null;
  }
  | { readonly kind: "regex"; readonly regex: string; readonly value: ResolvedRegex | null };

/** The newest value of each key of one group. */
export class ConsumerGroupContents {
  group: Extract<ConsumerGroupChange, { kind: "group" }>["value"] = null;
  target: Extract<ConsumerGroupChange, { kind: "target" }>["value"] = null;
  hasPartitionMetadata = false;
  readonly members = new Map<string, MemberMetadata>();
  readonly targets = new Map<string, Partitions>();
  readonly currents = new Map<string, CurrentAssignment>();
  readonly regexes = new Map<string, ResolvedRegex>();

  /** True when the group was deleted. */
  get isGone(): boolean {
    return this.group === null && this.members.size === 0;
  }

  /** Sets one value. Returns: the change that takes it back. */
  apply(change: ConsumerGroupChange): ConsumerGroupChange {
    switch (change.kind) {
      case "group": {
        const before = { ...change, value: this.group };
        this.group = change.value;
        return before;
      }
      case "target": {
        const before = { ...change, value: this.target };
        this.target = change.value;
        return before;
      }
      case "partitionMetadata": {
        const before = { ...change, value: this.hasPartitionMetadata ? true as const : null };
        this.hasPartitionMetadata = change.value !== null;
        return before;
      }
      case "member":
        return { ...change, value: exchange(this.members, change.memberId, change.value) };
      case "targetMember":
        return { ...change, value: exchange(this.targets, change.memberId, change.value) };
      case "currentMember":
        return { ...change, value: exchange(this.currents, change.memberId, change.value) };
      case "regex":
        return { ...change, value: exchange(this.regexes, change.regex, change.value) };
    }
  }
}

function exchange<V>(map: Map<string, V>, key: string, value: V | null): V | null {
  const before = map.get(key) ?? null;
  if (value === null) map.delete(key);
  else map.set(key, value);
  return before;
}

/** What a member is to have that no target names. */
export const NO_TARGET: Partitions = new Map();

/** How many members name a topic, and how many regular expressions stand for it. */
interface SubscriptionCount {
  byName: number;
  byRegex: number;
}

/** The contents of a group that is in use, with the indexes over them. */
export class ConsumerGroupState {
  readonly #contents: ConsumerGroupContents;
  /** Instance id → member id. */
  readonly #staticMembers = new Map<string, string>();
  readonly #topics = new Map<string, SubscriptionCount>();
  /** Regular expression → members that are subscribed by it. */
  readonly #regexMembers = new Map<string, number>();
  readonly #assignors = new Map<string, number>();
  #classicCount = 0;
  /** Lists of topics by their text: members that name the same ones share one. */
  readonly #lists = new Map<string, readonly string[]>();
  /** Member ids by topic id and partition. */
  readonly #owners = new PartitionMap<string>();

  constructor(contents: ConsumerGroupContents) {
    this.#contents = contents;
    for (const [memberId, metadata] of contents.members) {
      const shared = this.#shared(metadata);
      contents.members.set(memberId, shared);
      this.#countMember(memberId, shared, 1);
    }
    for (const { topics } of contents.regexes.values()) this.#countRegex(topics, 1);
    for (const [memberId, current] of contents.currents) this.#own(memberId, current, current);
  }

  get epoch(): number {
    return this.#contents.group?.epoch ?? 0;
  }
  get metadataHash(): bigint {
    return this.#contents.group?.metadataHash ?? 0n;
  }
  get targetEpoch(): number {
    return this.#contents.target?.epoch ?? 0;
  }
  get targetTimestampMs(): number {
    return this.#contents.target?.timestampMs ?? 0;
  }
  get hasPartitionMetadata(): boolean {
    return this.#contents.hasPartitionMetadata;
  }
  get members(): ReadonlyMap<string, MemberMetadata> {
    return this.#contents.members;
  }
  get regexes(): ReadonlyMap<string, ResolvedRegex> {
    return this.#contents.regexes;
  }
  get classicCount(): number {
    return this.#classicCount;
  }
  /** Topics that the group is subscribed to, whether they exist or not. */
  get topics(): ReadonlyMap<string, Readonly<SubscriptionCount>> {
    return this.#topics;
  }
  get regexMembers(): ReadonlyMap<string, number> {
    return this.#regexMembers;
  }
  current(memberId: string): CurrentAssignment {
    return this.#contents.currents.get(memberId) ?? NEW_MEMBER;
  }

  hasCurrent(memberId: string): boolean {
    return this.#contents.currents.has(memberId);
  }

  target(memberId: string): Partitions {
    return this.#contents.targets.get(memberId) ?? NO_TARGET;
  }

  hasTarget(memberId: string): boolean {
    return this.#contents.targets.has(memberId);
  }

  staticMember(instanceId: string): string | undefined {
    return this.#staticMembers.get(instanceId);
  }

  ownerOf(topicId: Uuid, partition: number): string | undefined {
    return this.#owners.get(topicId, partition);
  }

  /** The assignor that most members ask for; null when none does. */
  get preferredAssignor(): string | null {
    let preferred: string | null = null;
    for (const [name, count] of this.#assignors) {
      if (preferred === null || count > this.#assignors.get(preferred)!) preferred = name;
    }
    return preferred;
  }

  /** True where all members are subscribed to the same topics. */
  get isHomogeneous(): boolean {
    const memberCount = this.members.size;
    const isByRegex = this.#regexMembers.size > 0;
    if (isByRegex) {
      const [count] = this.#regexMembers.values();
      if (this.#regexMembers.size > 1 || count !== memberCount) return false;
    }
    for (const { byName } of this.#topics.values()) {
      if (isByRegex ? byName > 0 : byName !== memberCount) return false;
    }
    return true;
  }

  /** Sets one value. Returns: the change that takes it back. */
  apply(change: ConsumerGroupChange): ConsumerGroupChange {
    if (change.kind === "currentMember") {
      this.#disown(change.memberId, this.#contents.currents.get(change.memberId));
    }
    const isMember = change.kind === "member" && change.value !== null;
    const before = this.#contents.apply(
      isMember ? { ...change, value: this.#shared(change.value) } : change,
    );
    switch (change.kind) {
      case "member":
        if (before.kind === "member" && before.value !== null) {
          this.#countMember(change.memberId, before.value, -1);
        }
        if (change.value !== null) this.#countMember(change.memberId, change.value, 1);
        break;
      case "regex":
        if (before.kind === "regex" && before.value !== null) {
          this.#countRegex(before.value.topics, -1);
        }
        if (change.value !== null) this.#countRegex(change.value.topics, 1);
        break;
      case "currentMember":
        if (change.value !== null && before.kind === "currentMember") {
          this.#own(change.memberId, change.value, before.value);
        }
        break;
      case "group":
      case "target":
      case "targetMember":
      case "partitionMetadata":
        break;
    }
    return before;
  }

  #shared(metadata: MemberMetadata): MemberMetadata {
    const text = metadata.subscribedTopicNames.join(",");
    const known = this.#lists.get(text);
    if (known !== undefined) return { ...metadata, subscribedTopicNames: known };
    // What members no longer name goes sooner or later.
    if (this.#lists.size > 2 * this.members.size) this.#lists.clear();
    this.#lists.set(text, metadata.subscribedTopicNames);
    return metadata;
  }

  #countMember(memberId: string, metadata: MemberMetadata, by: 1 | -1): void {
    const { instanceId, subscribedTopicNames, subscribedTopicRegex, serverAssignor } = metadata;
    if (instanceId !== null) {
      if (by > 0) this.#staticMembers.set(instanceId, memberId);
      else if (this.#staticMembers.get(instanceId) === memberId) {
        this.#staticMembers.delete(instanceId);
      }
    }
    for (const topic of subscribedTopicNames) this.#countTopic(topic, "byName", by);
    if (hasRegex(subscribedTopicRegex)) count(this.#regexMembers, subscribedTopicRegex, by);
    if (serverAssignor !== null) count(this.#assignors, serverAssignor, by);
    if (metadata.classic !== null) this.#classicCount += by;
  }

  #countRegex(topics: readonly string[], by: 1 | -1): void {
    for (const topic of topics) this.#countTopic(topic, "byRegex", by);
  }

  #countTopic(topic: string, how: "byName" | "byRegex", by: 1 | -1): void {
    let found = this.#topics.get(topic);
    if (found === undefined) this.#topics.set(topic, found = { byName: 0, byRegex: 0 });
    found[how] += by;
    if (found.byName === 0 && found.byRegex === 0) this.#topics.delete(topic);
  }

  /**
   * Notes what a member has, of which it had some `before`. A log in which two members have a partition is read even
   * so: the first of them is its owner until it lets go of it, and none is given out that way.
   */
  #own(
    memberId: string,
    { assigned, pendingRevocation }: CurrentAssignment,
    before: CurrentAssignment | null,
  ): void {
    for (const [topicId, partitions] of bothOf(assigned, pendingRevocation)) {
      for (const partition of partitions.keys()) {
        const other = this.ownerOf(topicId, partition);
        if (other === undefined) this.#owners.set(topicId, partition, memberId);
        assert(
          other === undefined || (before !== null && hasPartition(before, topicId, partition)),
          `Cannot give ${topicId}-${partition} to ${memberId}: it is ${other}'s`,
        );
      }
    }
  }

  #disown(memberId: string, current: CurrentAssignment | undefined): void {
    if (current === undefined) return;
    for (const [topicId, partitions] of bothOf(current.assigned, current.pendingRevocation)) {
      for (const partition of partitions.keys()) {
        if (this.ownerOf(topicId, partition) === memberId) this.#owners.delete(topicId, partition);
      }
    }
  }
}

function hasPartition(
  { assigned, pendingRevocation }: CurrentAssignment,
  topicId: Uuid,
  partition: number,
): boolean {
  return assigned.get(topicId)?.has(partition) === true ||
    pendingRevocation.get(topicId)?.has(partition) === true;
}

function* bothOf(left: OwnedPartitions, right: OwnedPartitions) {
  yield* left;
  yield* right;
}

/** Whether a member's expression is one. */
export function hasRegex(regex: string | null): regex is string {
  return regex !== null && regex !== "";
}

function count(counts: Map<string, number>, key: string, by: 1 | -1): void {
  const after = (counts.get(key) ?? 0) + by;
  if (after === 0) counts.delete(key);
  else counts.set(key, after);
}
