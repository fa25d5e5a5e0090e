/**
 * The group coordinator: finds the shard of a group, checks requests as Kafka does, and drives the groups'
 * machines with requests and time.
 *
 *     group id ──hash──► partition of __consumer_offsets ──► GroupShard ──► ClassicGroup or ConsumerGroup,
 *                                                                           GroupOffsets
 *
 * All group types share the shards, their log and the rules of loading: while a shard loads, its groups
 * answer COORDINATOR_LOAD_IN_PROGRESS, never an empty offset; where this node does not lead,
 * NOT_COORDINATOR. Which shards there are, and when they may answer, is the matter of `LedShards`.
 *
 * Time: one queue of deadlines for all groups, one timer for its head; a second timer for the retention
 * of offsets.
 */

import assert from "node:assert/strict";
import { ErrorCode, errorName } from "../../protocol/errors.ts";
import {
  type LeaderEpoch,
  leaderEpoch,
  type Offset,
  offset,
  timestampMs,
  type Uuid,
  ZERO_UUID,
} from "../../protocol/types.ts";
import type { Clock, Logger, Random, Timer } from "../../storage/platform.ts";
import { randomUuid } from "../../storage/random_uuid.ts";
import { GROUP_METADATA_TOPIC } from "../controller/internal_topics.ts";
import type { MetadataChanges, MetadataImage } from "../controller/metadata_image.ts";
import type { TransactionEnd } from "../coordination/transaction_end.ts";
import {
  type CoordinationOptions,
  type CoordinatorRefusal,
  LedShards,
} from "../coordination/led_shards.ts";
import {
  CONSUMER_PROTOCOL_TYPE,
  failedJoin,
  failedSync,
  type JoinAnswer,
  type JoinRequest,
  type LeavingMember,
  type MemberClaim,
  type Now,
  type PersistedMember,
  type SyncAnswer,
  type SyncRequest,
} from "./classic_group.ts";
import {
  ConsumerGroup,
  type ConsumerGroupContext,
  type ConsumerGroupRefusal,
  type ConsumerHeartbeat,
  type ConsumerHeartbeatAnswer,
  type ConsumerMemberDescription,
  JOIN_EPOCH,
} from "./consumer_group.ts";
import { Deadlines } from "../deadlines.ts";
import type { CommittedOffset, GroupOffsets } from "./group_offsets.ts";
import {
  type GroupEntry,
  GroupShard,
  type OffsetToCommit,
  type OffsetTransaction,
} from "./group_shard.ts";
import { ImageTopics } from "./group_topics.ts";
import { type Rebalance, RebalanceCounts, type RebalancingType } from "./rebalance.ts";
import type { GroupCoordinatorSettings } from "./settings.ts";
import { resolveRegexes } from "./topic_regex.ts";

/** Groups whose deadlines are worked off before the event loop is given back. */
const GROUPS_PER_TICK = 200;

/** What the coordinator is made of. */
export interface GroupCoordinatorOptions extends CoordinationOptions {
  readonly random: Random;
  readonly settings: GroupCoordinatorSettings;
}

/** A refusal for a whole request. */
export type GroupRefusal = CoordinatorRefusal;

/** A JoinGroup as it comes from a client; the coordinator names the request and the member. */
export type JoinGroup = Omit<JoinRequest, "requestId" | "newMemberId"> & {
  readonly groupId: string;
};
/** A SyncGroup as it comes from a client. */
export type SyncGroup = Omit<SyncRequest, "requestId"> & { readonly groupId: string };

/** An OffsetCommit of partitions that exist. */
export interface CommitOffsets extends MemberClaim {
  readonly groupId: string;
  /**
   * From version 9 a group that does not exist is GROUP_ID_NOT_FOUND, before ILLEGAL_GENERATION, and members of
   * consumer groups may commit.
   */
  readonly knowsGroupIdNotFound: boolean;
  /** −1 for the broker's own retention. */
  readonly retentionTimeMs: number;
  readonly offsets: readonly {
    readonly topic: string;
    readonly topicId: Uuid;
    readonly partition: number;
    readonly offset: Offset;
    readonly leaderEpoch: LeaderEpoch;
    readonly metadata: string | null;
  }[];
}

/** An offset as OffsetFetch answers it: offset −1 when there is none. */
export interface FetchedOffset {
  readonly partition: number;
  readonly offset: Offset;
  readonly leaderEpoch: LeaderEpoch;
  readonly metadata: string;
  readonly error: ErrorCode;
}

/** Who fetches offsets, if it is a member of a consumer group. */
export interface FetchClaim {
  readonly memberId: string | null;
  readonly memberEpoch: number;
}

/** Somebody who is no member, or does not say so. */
const NO_CLAIM: FetchClaim = { memberId: null, memberEpoch: -1 };

/** Offsets of one topic as OffsetFetch answers them. */
export interface FetchedTopic {
  readonly topic: string;
  readonly topicId: Uuid;
  readonly partitions: readonly FetchedOffset[];
}

/** What DescribeGroups shows of a group. */
export interface GroupDescription {
  readonly groupId: string;
  readonly error: ErrorCode;
  readonly message: string | null;
  readonly state: string;
  readonly protocolType: string;
  readonly protocolName: string;
  readonly members: readonly PersistedMember[];
}

/** What ConsumerGroupDescribe shows of a group. */
export interface ConsumerGroupDescription {
  readonly groupId: string;
  readonly error: ErrorCode;
  readonly message: string | null;
  readonly state: string;
  readonly epoch: number;
  readonly assignmentEpoch: number;
  readonly assignorName: string;
  readonly members: readonly ConsumerMemberDescription[];
}

/** What ListGroups and metrics show of a group. */
export interface GroupListing {
  readonly groupId: string;
  readonly protocolType: string;
  readonly state: string;
  readonly type: "classic" | "consumer";
  readonly memberCount: number;
}

/** Answers the group APIs for the partitions of `__consumer_offsets` that this node leads. */
export class GroupCoordinator {
  readonly #options: GroupCoordinatorOptions;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #logger: Logger;
  readonly #settings: GroupCoordinatorSettings;
  readonly #led: LedShards<GroupShard>;
  readonly #deadlines: Deadlines<GroupEntry>;
  #expiryTimer: Timer | null = null;
  /** Who waits for a join or a sync, by the request's number. */
  readonly #joinWaiters = new Map<number, (answer: JoinAnswer) => void>();
  readonly #syncWaiters = new Map<number, (answer: SyncAnswer) => void>();
  #nextRequestId = 1;
  /** Since the start, for metrics. */
  readonly rebalances = new RebalanceCounts();
  readonly #topics: ImageTopics;
  /** Look-ups of regular expressions that are under way. */
  readonly #resolving = new Set<Promise<void>>();
  #unsubscribe: (() => void) | null = null;

  constructor(options: GroupCoordinatorOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#logger = options.logger;
    this.#settings = options.settings;
    this.#topics = new ImageTopics(() => options.controller.image());
    this.#deadlines = new Deadlines({
      clock: options.clock,
      perTick: GROUPS_PER_TICK,
      onDue: (entry) => {
        entry.shard.tick(entry);
        entry.shard.dropIfBlank(entry);
      },
    });
    const { brokerSessionTimeoutMs, offsetsTopic: newTopic } = options.settings;
    this.#led = new LedShards({
      ...options,
      topic: GROUP_METADATA_TOPIC,
      newTopic,
      brokerSessionTimeoutMs,
      open: (opening) =>
        new GroupShard({
          ...opening,
          clock: this.#clock,
          logger: this.#logger,
          settings: {
            maxSize: this.#settings.groupMaxSize,
            initialRebalanceDelayMs: this.#settings.groupInitialRebalanceDelayMs,
          },
          compression: this.#settings.offsetsTopicCompression,
          appendTimeoutMs: this.#settings.offsetsCommitTimeoutMs,
          host: this,
        }),
    });
  }

  /** Starts to follow the metadata; whoever applies it to the logs must have subscribed before. */
  start(): void {
    this.#led.start();
    this.#unsubscribe = this.#options.controller.subscribe((image, changes) => {
      this.#follow(image, changes);
    });
    this.#scheduleExpiry();
  }

  /** Answers everyone who waits and stops all timers. Returns: when no loading is under way any more. */
  async stop(): Promise<void> {
    this.#unsubscribe?.();
    this.#deadlines.stop();
    this.#expiryTimer?.cancel();
    await this.#led.stop();
    await Promise.all(this.#resolving);
  }

  /** Resolves when every shard opened so far has loaded, failed or been closed. */
  loaded(): Promise<void> {
    return this.#led.loaded();
  }

  /** Requests that wait for others or for the log, for metrics. */
  get waitingCount(): number {
    return this.#joinWaiters.size + this.#syncWaiters.size;
  }

  // ---- finding --------------------------------------------------------------------------------------

  /** The partition of `__consumer_offsets` that a group belongs to. */
  partitionFor(groupId: string): number {
    return this.#led.partitionFor(groupId);
  }

  /** Who leads a group's partition; makes `__consumer_offsets` when there is none yet. */
  find(
    groupId: string,
  ): Promise<{ readonly error: typeof ErrorCode.NONE; readonly leader: number } | GroupRefusal> {
    return this.#led.find(groupId);
  }

  /** True while this node answers for the groups of a partition; at most one node does. */
  answersFor(partition: number): boolean {
    return this.#led.answersFor(partition);
  }

  // ---- membership -----------------------------------------------------------------------------------

  /** JoinGroup. Resolves when the join phase ends, which may take the group's rebalance timeout. */
  joinGroup(request: JoinGroup): Promise<JoinAnswer> | JoinAnswer {
    const { groupId, memberId, sessionTimeoutMs } = request;
    if (groupId === "") return failedJoin(ErrorCode.INVALID_GROUP_ID, memberId);
    const settings = this.#settings;
    if (
      sessionTimeoutMs < settings.groupMinSessionTimeoutMs ||
      sessionTimeoutMs > settings.groupMaxSessionTimeoutMs
    ) return failedJoin(ErrorCode.INVALID_SESSION_TIMEOUT, memberId);
    const shard = this.#led.shardOf(groupId);
    if (!(shard instanceof GroupShard)) return failedJoin(shard.error, memberId);
    if (memberId !== "" && shard.get(groupId) === undefined) {
      return failedJoin(ErrorCode.UNKNOWN_MEMBER_ID, memberId);
    }
    const entry = shard.getOrCreate(groupId);
    const requestId = this.#nextRequestId++;
    const newMemberId = `${request.groupInstanceId ?? request.clientId}-${this.#uuid()}`;
    const group = shard.classicGroup(entry);
    if (group === null) {
      return this.#joinConsumerGroup(entry, { ...request, requestId, newMemberId });
    }
    return new Promise((resolve) => {
      this.#joinWaiters.set(requestId, resolve);
      shard.run(entry, group, group.join({ ...request, requestId, newMemberId }, this.#now()));
      shard.dropIfBlank(entry);
    });
  }

  /** A classic member joins a consumer group, which has members. */
  #joinConsumerGroup(entry: GroupEntry, request: JoinRequest): Promise<JoinAnswer> | JoinAnswer {
    const { group, shard } = entry;
    // Its records could not be deleted.
    if (group.type !== "consumer" || group.isEmpty) {
      return failedJoin(ErrorCode.COORDINATOR_NOT_AVAILABLE, request.memberId);
    }
    const { answer, write } = group.joinClassic(request, this.consumerContext(entry.groupId));
    if (answer.error !== ErrorCode.NONE) return answer;
    return new Promise((resolve) => {
      shard.write(entry, group, write, (error) => {
        resolve(error === ErrorCode.NONE ? answer : failedJoin(error, answer.memberId));
      });
    });
  }

  /** SyncGroup. Resolves when the leader's assignment is committed to the log. */
  syncGroup(request: SyncGroup): Promise<SyncAnswer> | SyncAnswer {
    const entry = this.#member(request.groupId);
    if (!("group" in entry)) return failedSync(entry.error);
    const { group } = entry;
    const requestId = this.#nextRequestId++;
    if (group.type === "consumer") {
      const context = this.consumerContext(request.groupId);
      const answer = group.syncClassic({ ...request, requestId }, context);
      entry.shard.noteDeadline(entry);
      return answer.error === ErrorCode.NONE ? this.#onceSettled(entry, answer) : answer;
    }
    return new Promise((resolve) => {
      this.#syncWaiters.set(requestId, resolve);
      entry.shard.run(entry, group, group.sync({ ...request, requestId }, this.#now()));
    });
  }

  /** Heartbeat. A group that is being loaded takes it for good: its members need not rejoin. */
  heartbeat(groupId: string, claim: MemberClaim): ErrorCode {
    const entry = this.#member(groupId);
    if (!("group" in entry)) {
      return entry.error === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS ? ErrorCode.NONE : entry.error;
    }
    const error = entry.group.type === "classic"
      ? entry.group.heartbeat(claim, this.#now())
      : entry.group.heartbeatClassic(claim, this.consumerContext(groupId));
    entry.shard.noteDeadline(entry);
    return error;
  }

  /** LeaveGroup. Returns one error code for each member, or one for all. */
  leaveGroup(
    groupId: string,
    members: readonly LeavingMember[],
  ): { readonly error: ErrorCode; readonly errors: readonly ErrorCode[] } {
    const entry = this.#member(groupId);
    if (!("group" in entry)) {
      if (entry.error !== ErrorCode.UNKNOWN_MEMBER_ID) return { error: entry.error, errors: [] };
      return { error: ErrorCode.NONE, errors: members.map(() => ErrorCode.UNKNOWN_MEMBER_ID) };
    }
    const { group, shard } = entry;
    if (group.type === "classic") {
      const { errors, effects } = group.leave(members, this.#now());
      shard.run(entry, group, effects);
      return { error: ErrorCode.NONE, errors };
    }
    const { errors, write } = group.leaveByRequest(members, this.consumerContext(groupId));
    let failure: ErrorCode = ErrorCode.NONE;
    // The answer does not wait: who has left is not told of again.
    shard.write(entry, group, write, (error) => failure = error);
    return { error: failure, errors: failure === ErrorCode.NONE ? errors : [] };
  }

  /** The group that a member of the classic protocol speaks of. */
  #member(groupId: string): GroupEntry | GroupRefusal {
    if (groupId === "") return { error: ErrorCode.INVALID_GROUP_ID };
    const shard = this.#led.shardOf(groupId);
    if (!(shard instanceof GroupShard)) return shard;
    return shard.get(groupId) ?? { error: ErrorCode.UNKNOWN_MEMBER_ID };
  }

  /** The same answer, once everything of the group that it may rest on is committed. */
  #onceSettled(entry: GroupEntry, answer: SyncAnswer): Promise<SyncAnswer> | SyncAnswer {
    if (entry.unsettled === null) return answer;
    return new Promise((resolve) => {
      entry.shard.whenSettled(entry, (error) => {
        resolve(error === ErrorCode.NONE ? answer : failedSync(error));
      });
    });
  }

  /**
   * ConsumerGroupHeartbeat, of which the handler has checked the form.
   *
   * Returns: the answer once everything that it tells is committed to the log.
   */
  consumerGroupHeartbeat(
    groupId: string,
    request: ConsumerHeartbeat,
  ):
    | Promise<ConsumerHeartbeatAnswer | ConsumerGroupRefusal>
    | ConsumerHeartbeatAnswer
    | ConsumerGroupRefusal {
    const shard = this.#led.shardOf(groupId);
    if (!(shard instanceof GroupShard)) return { ...shard, message: "" };
    const isJoining = request.memberEpoch === JOIN_EPOCH;
    if (shard.get(groupId) === undefined && !isJoining) {
      return { error: ErrorCode.GROUP_ID_NOT_FOUND, message: `Group ${groupId} not found.` };
    }
    const entry = shard.getOrCreate(groupId);
    const context = this.consumerContext(groupId);
    const group = consumerGroupOf(entry, isJoining, context);
    if ("error" in group) return group;
    const memberId = request.memberId === "" ? randomUuid(this.#random) : request.memberId;
    const outcome = group.heartbeat({ ...request, memberId }, context);
    if (!("write" in outcome)) {
      shard.dropIfBlank(entry);
      return outcome;
    }
    const { answer, write } = outcome;
    const isPlain = write.changes.length === 0 && write.toResolve.length === 0;
    if (isPlain && entry.unsettled === null) {
      shard.noteDeadline(entry);
      return answer;
    }
    return new Promise((resolve) => {
      shard.writeAs(entry, group, write, (error) => {
        if (error !== ErrorCode.NONE) shard.dropIfBlank(entry);
        resolve(error === ErrorCode.NONE ? answer : { error, message: errorName(error) });
      });
    });
  }

  // ---- offsets --------------------------------------------------------------------------------------

  /** Why a group cannot be served here now; NONE when it can. */
  availabilityOf(groupId: string): ErrorCode {
    const shard = this.#led.shardOf(groupId);
    return shard instanceof GroupShard ? ErrorCode.NONE : shard.error;
  }

  /**
   * OffsetCommit, and TxnOffsetCommit, whose offsets stand once the transaction has ended.
   *
   * Returns: one error code for each offset, in order, or one for all; by then the offsets are committed
   * to the log, and every later fetch sees them.
   */
  commitOffsets(
    request: CommitOffsets,
    transaction: OffsetTransaction | null = null,
  ): Promise<readonly ErrorCode[] | GroupRefusal> | readonly ErrorCode[] | GroupRefusal {
    const shard = this.#led.shardOf(request.groupId);
    if (!(shard instanceof GroupShard)) return shard;
    if (shard.get(request.groupId) === undefined && request.generationId >= 0) {
      return {
        error: request.knowsGroupIdNotFound
          ? ErrorCode.GROUP_ID_NOT_FOUND
          : ErrorCode.ILLEGAL_GENERATION,
      };
    }
    // A group that nobody joined is made by its first commit: a "simple" consumer.
    const entry = shard.getOrCreate(request.groupId);
    const error = this.#checkCommit(entry, request, transaction !== null);
    entry.shard.noteDeadline(entry);
    const accepted: OffsetToCommit[] = [];
    const errors = error === ErrorCode.NONE ? this.#checkOffsets(request, accepted) : [];
    if (error !== ErrorCode.NONE || accepted.length === 0) {
      shard.dropIfBlank(entry);
      return error === ErrorCode.NONE ? errors : { error };
    }
    return new Promise((resolve) => {
      const onSettled = (failure: ErrorCode) => {
        if (failure !== ErrorCode.NONE) shard.dropIfBlank(entry);
        resolve(errors.map((own) => own === ErrorCode.NONE ? failure : own));
      };
      if (transaction === null) shard.commitOffsets(entry, accepted, onSettled);
      else shard.commitInTransaction(entry, transaction, accepted, onSettled);
    });
  }

  /**
   * WriteTxnMarkers of a partition of `__consumer_offsets`. `onSettled` hears NONE once the marker is committed and
   * what its transaction committed stands, or is gone; NOT_LEADER_OR_FOLLOWER while that cannot be done here.
   */
  endTransaction(
    partition: number,
    end: TransactionEnd,
    onSettled: (error: ErrorCode) => void,
  ): void {
    const shard = this.#led.shardAt(partition);
    // What a coordinator of groups says, one of transactions does not know.
    if (shard instanceof GroupShard) shard.endTransaction(end, onSettled);
    else onSettled(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  }

  #checkCommit(
    { group }: GroupEntry,
    request: CommitOffsets,
    isTransactional: boolean,
  ): ErrorCode {
    if (group.type === "classic") {
      return group.checkOffsetCommit(request, isTransactional, this.#now());
    }
    const error = group.checkOffsetCommit(request, {
      isTransactional,
      knowsMemberEpochs: request.knowsGroupIdNotFound,
      partitions: request.offsets,
    });
    // The one that producers know.
    const isStale = isTransactional && error === ErrorCode.STALE_MEMBER_EPOCH;
    return isStale ? ErrorCode.ILLEGAL_GENERATION : error;
  }

  #checkOffsets(request: CommitOffsets, accepted: OffsetToCommit[]): ErrorCode[] {
    const nowMs = this.#clock.wallMs();
    const expireMs = request.retentionTimeMs === -1 ? -1 : nowMs + request.retentionTimeMs;
    return request.offsets.map((commit) => {
      const metadata = commit.metadata ?? "";
      if (metadata.length > this.#settings.offsetMetadataMaxBytes) {
        return ErrorCode.OFFSET_METADATA_TOO_LARGE;
      }
      const value: CommittedOffset = {
        offset: commit.offset,
        leaderEpoch: commit.leaderEpoch,
        metadata,
        commitTimestampMs: nowMs,
        expireTimestampMs: timestampMs(expireMs),
        topicId: commit.topicId,
      };
      accepted.push({ topic: commit.topic, partition: commit.partition, value });
      return ErrorCode.NONE;
    });
  }

  /**
   * OffsetFetch of one group; null topics for all that it has.
   *
   * With `requireStable` a partition that an open transaction may change is UNSTABLE_OFFSET_COMMIT.
   */
  fetchOffsets(
    groupId: string,
    topics:
      | readonly {
        readonly topic: string;
        readonly topicId: Uuid;
        readonly partitions: readonly number[];
      }[]
      | null,
    requireStable: boolean,
    { memberId, memberEpoch }: FetchClaim = NO_CLAIM,
  ): { readonly error: typeof ErrorCode.NONE; readonly topics: FetchedTopic[] } | GroupRefusal {
    const shard = this.#led.shardOf(groupId);
    if (!(shard instanceof GroupShard)) return shard;
    const entry = shard.get(groupId);
    const error = entry?.group.type === "consumer"
      ? entry.group.checkOffsetFetch(memberId, memberEpoch)
      : ErrorCode.NONE;
    if (error !== ErrorCode.NONE) return { error };
    const offsets = entry?.offsets;
    const committed = topics === null ? [...offsets?.committed() ?? []] : [];
    const byTopic = Map.groupBy(committed, ([topic]) => topic);
    const wanted = topics ?? [...byTopic].map(([topic, found]) => ({
      topic,
      topicId: ZERO_UUID,
      partitions: found.map(([, partition]) => partition),
    }));
    return {
      error: ErrorCode.NONE,
      topics: wanted.map(({ topic, topicId, partitions }) => ({
        topic,
        topicId,
        partitions: partitions.map((partition) => (
          fetchedOffset(offsets, { topic, topicId, partition }, requireStable)
        )),
      })),
    };
  }

  /** OffsetDelete. Returns one error code for each key, in order, once they are gone for good. */
  async deleteOffsets(
    groupId: string,
    keys: readonly { readonly topic: string; readonly partition: number }[],
  ): Promise<readonly ErrorCode[] | GroupRefusal> {
    if (groupId === "") return { error: ErrorCode.INVALID_GROUP_ID };
    const shard = this.#led.shardOf(groupId);
    if (!(shard instanceof GroupShard)) return shard;
    const entry = shard.get(groupId);
    if (entry === undefined) return { error: ErrorCode.GROUP_ID_NOT_FOUND };
    const error = entry.group.checkOffsetDelete();
    if (error !== ErrorCode.NONE) return { error };
    const errors = keys.map(({ topic }) => (
      entry.group.isSubscribedToTopic(topic) ? ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC : ErrorCode.NONE
    ));
    const allowed = keys.filter((_, index) => errors[index] === ErrorCode.NONE);
    const failure = await new Promise<ErrorCode>((resolve) => {
      shard.deleteOffsets(entry, allowed, resolve);
    });
    return errors.map((own) => own === ErrorCode.NONE ? failure : own);
  }

  // ---- operators ------------------------------------------------------------------------------------

  /** DeleteGroups. Returns one error code for each group, in order, once they are gone for good. */
  deleteGroups(groupIds: readonly string[]): Promise<readonly ErrorCode[]> {
    return Promise.all(groupIds.map((groupId) => {
      const shard = this.#led.shardOf(groupId);
      if (!(shard instanceof GroupShard)) return shard.error;
      const entry = shard.get(groupId);
      if (entry === undefined) return ErrorCode.GROUP_ID_NOT_FOUND;
      const error = entry.group.checkDelete();
      if (error !== ErrorCode.NONE) return error;
      return new Promise<ErrorCode>((resolve) => shard.deleteGroup(entry, resolve));
    }));
  }

  /** DescribeGroups of one group. */
  describeGroup(groupId: string): GroupDescription {
    const nothing = { groupId, protocolType: "", protocolName: "", members: [] };
    const shard = this.#led.shardOf(groupId);
    if (!(shard instanceof GroupShard)) {
      return { ...nothing, error: shard.error, message: null, state: "" };
    }
    const entry = shard.get(groupId);
    if (entry === undefined) {
      const message = `Group ${groupId} not found.`;
      return { ...nothing, error: ErrorCode.GROUP_ID_NOT_FOUND, message, state: "Dead" };
    }
    const { group } = entry;
    if (group.type !== "classic") {
      const message = `Group ${groupId} is not a classic group.`;
      return { ...nothing, error: ErrorCode.GROUP_ID_NOT_FOUND, message, state: "Dead" };
    }
    return {
      groupId,
      error: ErrorCode.NONE,
      message: null,
      state: group.state,
      protocolType: group.protocolType ?? "",
      protocolName: group.state === "Stable" ? group.protocolName ?? "" : "",
      members: group.members(),
    };
  }

  /** ConsumerGroupDescribe of one group, once what it shows is committed. */
  async describeConsumerGroup(groupId: string): Promise<ConsumerGroupDescription> {
    const nothing = {
      groupId,
      message: null,
      state: "",
      epoch: 0,
      assignmentEpoch: 0,
      assignorName: "",
      members: [],
    };
    const shard = this.#led.shardOf(groupId);
    if (!(shard instanceof GroupShard)) return { ...nothing, error: shard.error };
    const entry = shard.get(groupId);
    if (entry?.group.type !== "consumer") {
      const error = ErrorCode.GROUP_ID_NOT_FOUND;
      const what = entry === undefined ? "not found" : "is not a consumer group";
      return { ...nothing, error, message: `Group ${groupId} ${what}.` };
    }
    const { group } = entry;
    const description = {
      groupId,
      message: null,
      state: group.state,
      epoch: group.epoch,
      assignmentEpoch: group.targetEpoch,
      assignorName: group.assignorName(this.consumerContext(groupId).settings),
      members: group.members(),
    };
    const error = await new Promise<ErrorCode>((resolve) => shard.whenSettled(entry, resolve));
    return error === ErrorCode.NONE ? { ...description, error } : { ...nothing, error };
  }

  /** ListGroups: all groups led here. COORDINATOR_LOAD_IN_PROGRESS while some are not known yet. */
  listGroups(): { readonly error: ErrorCode; readonly groups: readonly GroupListing[] } {
    const error = this.#led.listingError;
    if (error !== ErrorCode.NONE) return { error, groups: [] };
    return { error: ErrorCode.NONE, groups: [...this.groups()] };
  }

  /** The groups known by now. */
  *groups(): Generator<GroupListing> {
    for (const { groupId, group } of this.#entries()) {
      yield {
        groupId,
        protocolType: group.protocolType ?? "",
        state: group.state,
        type: group.type,
        memberCount: group.memberCount,
      };
    }
  }

  /** What the groups known by now have committed, for metrics. */
  *committed(): Generator<{ readonly groupId: string; readonly offsets: GroupOffsets }> {
    for (const { groupId, offsets } of this.#entries()) yield { groupId, offsets };
  }

  *#entries(): Generator<GroupEntry> {
    for (const shard of this.#led.shards()) yield* shard.entries();
  }

  // ---- what the shards report -----------------------------------------------------------------------

  joinAnswered(requestId: number, answer: JoinAnswer): void {
    const resolve = this.#joinWaiters.get(requestId);
    assert(resolve !== undefined, `Cannot answer join ${requestId}: it was answered before`);
    this.#joinWaiters.delete(requestId);
    // A join phase ends by itself: the only answer that rests on nothing written or asked for just now.
    const isStale = answer.error === ErrorCode.NONE && !this.#options.holdsLease();
    resolve(isStale ? failedJoin(ErrorCode.NOT_COORDINATOR, answer.memberId) : answer);
  }

  syncAnswered(requestId: number, answer: SyncAnswer): void {
    const resolve = this.#syncWaiters.get(requestId);
    assert(resolve !== undefined, `Cannot answer sync ${requestId}: it was answered before`);
    this.#syncWaiters.delete(requestId);
    resolve(answer);
  }

  rebalanceStarted(groupId: string, type: RebalancingType, rebalance: Rebalance): void {
    const { cause, reason } = rebalance;
    this.rebalances.add(type, cause);
    this.#logger.info("Rebalancing group", { groupId, cause, reason });
  }

  deadlineChanged(entry: GroupEntry, atMs: number): void {
    this.#deadlines.set(entry, atMs);
  }

  consumerContext(groupId: string): ConsumerGroupContext {
    const image = this.#options.controller.image();
    const settings = this.#settings.consumerGroup(image.configs("group", groupId));
    return { now: this.#now(), topics: this.#topics, settings };
  }

  regexesWanted(entry: GroupEntry, group: ConsumerGroup, regexes: readonly string[]): void {
    group.resolving();
    const task = this.#resolve(entry, group, regexes).finally(() => this.#resolving.delete(task));
    this.#resolving.add(task);
  }

  async #resolve(
    entry: GroupEntry,
    group: ConsumerGroup,
    regexes: readonly string[],
  ): Promise<void> {
    const isWanted = () => this.#led.isRunning && entry.shard.get(entry.groupId)?.group === group;
    const image = this.#options.controller.image();
    const resolved = await resolveRegexes(regexes, image, this.#clock, isWanted);
    if (!isWanted()) return;
    const write = group.regexesResolved(resolved, this.consumerContext(entry.groupId));
    entry.shard.write(entry, group, write, (error) => {
      if (error === ErrorCode.NONE) return;
      const { groupId } = entry;
      this.#logger.warn("Could not write topics of regular expressions", {
        groupId,
        error: errorName(error),
      });
    });
  }

  // ---- time -----------------------------------------------------------------------------------------

  #scheduleExpiry(): void {
    this.#expiryTimer = this.#clock.timer(this.#settings.offsetsRetentionCheckIntervalMs, () => {
      for (const shard of this.#led.shards()) {
        shard.expireOffsets(this.#settings.offsetsRetentionMs);
      }
      this.#scheduleExpiry();
    });
  }

  // ---- metadata -------------------------------------------------------------------------------------

  #follow(image: MetadataImage, changes: MetadataChanges): void {
    this.#led.follow(image, changes);
    this.#topics.follow(image, changes);
    for (const { name } of changes.deletedTopics) {
      for (const shard of this.#led.shards()) shard.topicDeleted(name);
    }
  }

  #now(): Now {
    return { monotonicMs: this.#clock.monotonicMs(), wallMs: this.#clock.wallMs() };
  }

  /** A random UUID in the usual form, as clients expect it at the end of a member id. */
  #uuid(): string {
    let hex = "";
    for (let i = 0; i < 4; i++) hex += this.#random.uint32().toString(16).padStart(8, "0");
    const variant = (8 + (parseInt(hex[16] ?? "0", 16) & 3)).toString(16);
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-` +
      `${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
  }
}

/**
 * The consumer group of an entry, or what is to take the place of a classic one, if it is empty or may go over; else
 * why there is none.
 */
function consumerGroupOf(
  { groupId, group }: GroupEntry,
  isJoining: boolean,
  context: ConsumerGroupContext,
): ConsumerGroup | ConsumerGroupRefusal {
  if (group.type === "consumer") return group;
  if (isJoining && group.state === "Empty") return new ConsumerGroup(groupId);
  const refuse = (why: string) => ({
    error: ErrorCode.GROUP_ID_NOT_FOUND,
    message: `Cannot upgrade classic group ${groupId} to consumer group because ${why}.`,
  });
  if (!isJoining) {
    const message = `Group ${groupId} is not a consumer group.`;
    return { error: ErrorCode.GROUP_ID_NOT_FOUND, message };
  }
  const { allowsUpgrade, maxSize } = context.settings;
  if (!allowsUpgrade) return refuse("online upgrade is disabled");
  if (group.protocolType !== CONSUMER_PROTOCOL_TYPE) {
    return refuse("the group does not use the consumer embedded protocol");
  }
  if (group.memberCount > maxSize) {
    return refuse("the group size exceeds the consumer group maximum size");
  }
  const { generationId } = group;
  return ConsumerGroup.upgrade(
    { groupId, generationId, members: group.migratingMembers() },
    context,
  ) ??
    refuse("the subscription of a member cannot be read");
}

function fetchedOffset(
  offsets: GroupOffsets | undefined,
  { topic, topicId, partition }: {
    readonly topic: string;
    readonly topicId: Uuid;
    readonly partition: number;
  },
  requireStable: boolean,
): FetchedOffset {
  const value = offsets?.get(topic, partition);
  const isUnstable = requireStable && offsets !== undefined && offsets.isUnstable(topic, partition);
  // An offset of a topic that was deleted and made again under its name says nothing of the new one.
  const isOther = value !== undefined && value.topicId !== ZERO_UUID && topicId !== ZERO_UUID &&
    value.topicId !== topicId;
  if (value === undefined || isUnstable || isOther) {
    const error = isUnstable ? ErrorCode.UNSTABLE_OFFSET_COMMIT : ErrorCode.NONE;
    return { partition, offset: offset(-1), leaderEpoch: leaderEpoch(-1), metadata: "", error };
  }
  return {
    partition,
    offset: value.offset,
    leaderEpoch: value.leaderEpoch,
    metadata: value.metadata,
    error: ErrorCode.NONE,
  };
}
