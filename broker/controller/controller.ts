/**
 * The controller: the one writer of the metadata log, and the keeper of the image that all read.
 *
 *     call ──plan on the newest image──→ quorum.append ──→ newest image, at once
 *                                            │ commit
 *                                            └──→ committed image ──→ subscribers, then the answer
 *
 * A call plans and appends without a pause in between, so calls are ordered by when they were made and
 * never see half of another; many share one sync. `image()` is the committed state; the newest one, which
 * may still be lost in a crash, stays inside. Each call writes one batch: all of it happens, or nothing.
 *
 * A call that changes nothing writes nothing, yet waits until what it saw is committed.
 */

import assert from "node:assert/strict";
import { WireError } from "../../protocol/bytes.ts";
import { ErrorCode, errorMessage } from "../../protocol/errors.ts";
import { type LeaderEpoch, leaderEpoch, offset, type Uuid } from "../../protocol/types.ts";
import {
  type Clock,
  DiskError,
  type Logger,
  type Random,
  type Timer,
} from "../../storage/platform.ts";
import type { Endpoint } from "../network.ts";
import {
  type ConfigChange,
  type ConfigReplacement,
  type ConfigResult,
  type ConfigRules,
  planConfigChanges,
  planConfigReplacements,
} from "./config_changes.ts";
import { BrokerHeartbeats, type BrokerState, type Heartbeat } from "./broker_heartbeats.ts";
import { mayBeUnconfirmedMs } from "./broker_lease.ts";
import {
  type ControllerRegistration,
  planControlledShutdown,
  planControllerRegistration,
  planCordons,
  planFencing,
  planOfflineDirectories,
  planRegistration,
  planUnfencing,
  planUnregistration,
  refuseBrokerEpoch,
  type RegistrationRequest,
} from "./broker_registrations.ts";
import {
  type ElectionResult,
  type ElectionType,
  hasLeaderships,
  planBalancing,
  planElections,
  planRepairs,
  planUncleanElections,
  type TopicPartitions,
  type TopicRules,
} from "./leader_election.ts";
import {
  type FeatureUpdate,
  firstFeatures,
  KRAFT_VERSION_FEATURE,
  planFeatureUpdates,
  refuseKraftVersion,
  SUPPORTED_FEATURES,
} from "./feature_changes.ts";
import { isActive } from "./partition_changes.ts";
import {
  type PartitionAlteration,
  type PartitionAltered,
  planPartitionAlterations,
} from "./partition_alterations.ts";
import { PeriodicTasks } from "./periodic_tasks.ts";
import { planReassignments, type Reassignment, type ReassignmentResult } from "./reassignments.ts";
import {
  type DirectoryAssigned,
  type DirectoryAssignment,
  planDirectoryAssignments,
} from "./directory_assignments.ts";
import {
  type BrokerImage,
  type MetadataChanges,
  MetadataDelta,
  MetadataImage,
} from "./metadata_image.ts";
import type { ActiveController } from "./controller_channel.ts";
import type { MetadataRecord } from "./metadata_records.ts";
import type { MetadataBatch } from "./metadata_replay.ts";
import { imageChanges } from "./image_changes.ts";
import { type CommitOutcome, Quorum, type QuorumListener, type QuorumOptions } from "./quorum.ts";
import {
  type CreatedTopic,
  type DeletedTopic,
  type IncreasedTopic,
  type NewTopic,
  type PartitionIncrease,
  type Plan,
  planCreatePartitions,
  planCreateTopics,
  planDeleteTopics,
  type Refusal,
  type TopicReference,
  type TopicResult,
} from "./topic_changes.ts";

/** Producer ids handed out at once, as in Kafka. */
export const PRODUCER_ID_BLOCK_SIZE = 1000;

/** Leaders that are elected at once without anybody having asked, as in Kafka. */
const MAX_ELECTIONS_AT_ONCE = 1000;
/** Partitions that change in one batch when a broker comes or goes: a few milliseconds of work. */
const MAX_CHANGES_AT_ONCE = 500;
/** Time between two rounds of them while there are more. */
const MORE_ELECTIONS_MS = 10;

/** Hears of every committed change, in order. Must not throw. */
export type ImageListener = (image: MetadataImage, changes: MetadataChanges) => void;

/** What the controller reads of the configuration. */
export interface ControllerSettings {
  defaultPartitionCount(): number;
  defaultReplicationFactor(): number;
  readonly configRules: ConfigRules;
  readonly topicRules: TopicRules;
  /** How long a broker may be silent. */
  sessionTimeoutMs(): number;
  /** Whether and how often partitions are given back to their first replica. */
  readonly balancing: {
    isEnabled(): boolean;
    intervalMs(): number;
  };
}

/** What the controller needs. */
export interface ControllerOptions extends QuorumOptions {
  readonly clusterId: string;
  readonly random: Random;
  readonly settings: ControllerSettings;
  /** Partitions that change in one batch when a broker comes or goes; the others follow a moment later. */
  readonly maxChangesAtOnce?: number;
  /** Called once when the metadata log has failed and the process should stop. */
  readonly onFailure: (message: string) => void;
}

/** Producer ids `[firstProducerId, firstProducerId + count)`, which nobody else has or will get. */
export type ProducerIdBlock =
  | {
    readonly error: typeof ErrorCode.NONE;
    readonly firstProducerId: number;
    readonly count: number;
  }
  | Refusal;

/** A broker, and which of its incarnations. */
export interface BrokerIncarnation {
  readonly brokerId: number;
  readonly brokerEpoch: number;
}

/** A heartbeat with all that a broker says in it. */
export interface BrokerHeartbeat extends Heartbeat {
  readonly brokerEpoch: number;
  /** Directories that it cannot use, by their ids. */
  readonly offlineLogDirs: readonly Uuid[];
  /** Directories that take no new partitions; null for those that are known already. */
  readonly cordonedLogDirs: readonly Uuid[] | null;
}

/** What a broker is told. */
export interface HeartbeatReply {
  readonly error: typeof ErrorCode.NONE;
  /**
   * It knows its own registration and what it does not lead any more, and this is still the active controller: the
   * broker may act on what it knows for a while (`broker_lease.ts`).
   */
  readonly isCaughtUp: boolean;
  readonly isFenced: boolean;
  readonly shouldShutDown: boolean;
}

interface PendingImage {
  readonly batch: MetadataBatch;
  readonly image: MetadataImage;
  readonly changes: MetadataChanges;
}

/** The controller of a cluster. */
export class Controller implements QuorumListener, ActiveController {
  readonly #random: Random;
  readonly #logger: Logger;
  readonly #settings: ControllerSettings;
  readonly #clock: Clock;
  readonly #nodeId: number;
  readonly #onFailure: (message: string) => void;
  #quorum: Quorum | null = null;
  #leaderId = -1;
  #leaderEpoch: LeaderEpoch = leaderEpoch(-1);
  #committed: MetadataImage;
  #newest: MetadataImage;
  /** Appended and not yet committed, in order. */
  readonly #pending: PendingImage[] = [];
  #lastCommit: Promise<CommitOutcome> = Promise.resolve({ error: ErrorCode.NONE });
  readonly #listeners = new Set<ImageListener>();
  readonly #leaderListeners = new Set<() => void>();
  /** Null unless this node is the active controller. */
  #heartbeats: BrokerHeartbeats | null = null;
  #tasks: PeriodicTasks | null = null;
  #hasMoreElections = false;
  readonly #maxChangesAtOnce: number;
  /** Runs while a change of brokers has not reached all partitions yet. */
  #repairs: Timer | null = null;

  private constructor(options: ControllerOptions) {
    this.#random = options.random;
    this.#logger = options.logger;
    this.#settings = options.settings;
    this.#clock = options.clock;
    this.#nodeId = options.nodeId;
    this.#maxChangesAtOnce = options.maxChangesAtOnce ?? MAX_CHANGES_AT_ONCE;
    this.#onFailure = options.onFailure;
    this.#committed = MetadataImage.empty(options.clusterId);
    this.#newest = this.#committed;
  }

  /**
   * Replays the metadata log, and writes the first records into an empty one.
   *
   * Returns: when the image is complete and this node leads.
   * Errors: DiskError; WireError for a log that cannot be read.
   */
  static async start(options: ControllerOptions): Promise<Controller> {
    const controller = new Controller(options);
    controller.#quorum = await Quorum.start(options, controller);
    if (controller.isActive && controller.#committed.offset === -1) await controller.#bootstrap();
    return controller;
  }

  /** The first records of a new cluster: the features that we act on, and no more. */
  async #bootstrap(): Promise<void> {
    const outcome = await this.#commit(firstFeatures(this.#newest, this.#settings.topicRules));
    if (outcome.error !== ErrorCode.NONE) throw new DiskError(outcome.message, "EIO");
  }

  handleReplayed(): void {
    const problem = this.#featureProblem();
    if (problem !== null) throw new WireError(`Cannot use the metadata log: ${problem}`);
    this.#warnOfFeatures();
    const { accessControlIds, withoutEffect } = this.#committed;
    if (accessControlIds.size > 0) {
      throw new WireError(
        `Cannot use the metadata log: it holds ${accessControlIds.size} access control entries, and ` +
          "this version has no authorizer, so that everybody could do everything; remove them with the " +
          "version that wrote it, or leave the directory to that version",
      );
    }
    if (withoutEffect.size > 0) {
      this.#logger.warn("The metadata log holds records without effect here; they stay in it", {
        types: [...withoutEffect],
      });
    }
  }

  /** Which level in force this version cannot work at, in one sentence; null for none. */
  #featureProblem(): string | null {
    for (const [name, level] of this.#committed.features) {
      const supported = SUPPORTED_FEATURES.get(name);
      if (supported === undefined) continue;
      if (level >= supported.lowest && level <= supported.highest) continue;
      return `the cluster is at ${name} ${level}, and this version works from ${supported.lowest} to ` +
        `${supported.highest}; start a version that works at that level`;
    }
    return null;
  }

  #warnOfFeatures(): void {
    const unknown = [...this.#committed.features].filter(([name]) => !SUPPORTED_FEATURES.has(name));
    if (unknown.length === 0) return;
    this.#logger.warn("The cluster has features that this version does not know", {
      features: Object.fromEntries(unknown),
    });
  }

  /** Stops writing. Calls that are not committed yet are answered with an error. */
  stop(): void {
    this.#listeners.clear();
    this.#resign();
    this.#quorum?.stop();
  }

  /** The committed state of the cluster. */
  image(): MetadataImage {
    return this.#committed;
  }

  /** Node id of the active controller, −1 when none is known. */
  get controllerId(): number {
    return this.#leaderId;
  }
  get controllerEpoch(): LeaderEpoch {
    return this.#leaderEpoch;
  }
  /** The replicated log under it. */
  get quorum(): Quorum {
    assert(this.#quorum !== null, "the controller has not started");
    return this.#quorum;
  }
  /** Where the active controller listens; null when none is known, or when it is this node. */
  get endpoint(): Endpoint | null {
    return this.#quorum?.leaderAddress ?? null;
  }

  /** Calls `changed` when another node leads, or nobody. Returns: what ends it. */
  onChange(changed: () => void): () => void {
    this.#leaderListeners.add(changed);
    return () => this.#leaderListeners.delete(changed);
  }
  get isActive(): boolean {
    return this.#leaderId === this.#nodeId && this.#quorum !== null && this.#quorum.isLeader;
  }

  /**
   * Calls `listener` at once with the image as it is, everything in it as created, and then with every
   * committed change, before the call that asked for it is answered.
   *
   * Returns: a function that ends it.
   */
  subscribe(listener: ImageListener): () => void {
    this.#listeners.add(listener);
    listener(this.#committed, everythingIn(this.#committed));
    return () => this.#listeners.delete(listener);
  }

  /** Makes topics. With `validateOnly` only says what would happen. */
  createTopics(
    topics: readonly NewTopic[],
    { validateOnly = false }: { readonly validateOnly?: boolean } = {},
  ): Promise<readonly TopicResult<CreatedTopic>[]> {
    const rules = this.#settings.configRules;
    const plan = planCreateTopics(this.#newest, topics, {
      defaultPartitionCount: this.#settings.defaultPartitionCount(),
      defaultReplicationFactor: this.#settings.defaultReplicationFactor(),
      random: this.#random,
      refuseConfigs: (name, configs) =>
        rules.refuse({ type: "topic", name }, configs, new Set(configs.keys())),
    });
    return this.#answer(plan, validateOnly, ({ name }, refusal) => ({ name, ...refusal }));
  }

  /** Deletes topics. */
  deleteTopics(references: readonly TopicReference[]): Promise<readonly DeletedTopic[]> {
    const plan = planDeleteTopics(this.#newest, references);
    return this.#answer(plan, false, (result, refusal) => ({ ...result, ...refusal }));
  }

  /** Adds partitions to topics. */
  createPartitions(
    increases: readonly PartitionIncrease[],
    { validateOnly = false }: { readonly validateOnly?: boolean } = {},
  ): Promise<readonly TopicResult<IncreasedTopic>[]> {
    const plan = planCreatePartitions(this.#newest, increases, this.#random);
    return this.#answer(plan, validateOnly, ({ name }, refusal) => ({ name, ...refusal }));
  }

  /** Changes single settings. */
  incrementalAlterConfigs(
    changes: readonly ConfigChange[],
    { validateOnly = false }: { readonly validateOnly?: boolean } = {},
  ): Promise<readonly ConfigResult[]> {
    const plan = planConfigChanges(this.#newest, changes, this.#settings.configRules);
    return this.#answer(plan, validateOnly, ({ resource }, refusal) => ({ resource, ...refusal }));
  }

  /** Replaces all settings of resources. */
  alterConfigs(
    replacements: readonly ConfigReplacement[],
    { validateOnly = false }: { readonly validateOnly?: boolean } = {},
  ): Promise<readonly ConfigResult[]> {
    const plan = planConfigReplacements(this.#newest, replacements, this.#settings.configRules);
    return this.#answer(plan, validateOnly, ({ resource }, refusal) => ({ resource, ...refusal }));
  }

  /** Elects leaders; of all partitions for null. */
  electLeaders(
    type: ElectionType,
    topicPartitions: readonly TopicPartitions[] | null,
  ): Promise<readonly ElectionResult[]> {
    const rules = this.#settings.topicRules;
    const plan = planElections(this.#newest, rules, type, topicPartitions);
    return this.#answer(plan, false, (result, refusal) => ({ ...result, ...refusal }));
  }

  /** Moves partitions to other brokers, or takes such a move back. */
  alterPartitionReassignments(
    reassignments: readonly Reassignment[],
    options: { readonly allowReplicationFactorChange: boolean },
  ): Promise<readonly ReassignmentResult[]> {
    const plan = planReassignments(
      this.#newest,
      this.#settings.topicRules,
      reassignments,
      options,
    );
    return this.#answer(plan, false, (result, refusal) => ({ ...result, ...refusal }));
  }

  /** Puts levels of features in force: all of them, or none. */
  async updateFeatures(
    updates: readonly FeatureUpdate[],
    { validateOnly = false }: { readonly validateOnly?: boolean } = {},
  ): Promise<CommitOutcome> {
    if (!this.isActive) return notController();
    const ofQuorum = updates.findLast(({ feature }) => feature === KRAFT_VERSION_FEATURE);
    const others = updates.filter(({ feature }) => feature !== KRAFT_VERSION_FEATURE);
    const refusal = ofQuorum && refuseKraftVersion(ofQuorum, this.#quorum!.kraftVersion);
    const planned = refusal ?? planFeatureUpdates(this.#newest, others, this.#settings.topicRules);
    if ("error" in planned) return planned;
    if (validateOnly) return { error: ErrorCode.NONE };
    // The level of the quorum is in its own records: they are there before the others are written.
    if (ofQuorum !== undefined && ofQuorum.level > 0) {
      const { error, message } = await this.#quorum!.upgradeVoters();
      if (error !== ErrorCode.NONE) return { error, message: message ?? errorMessage(error) };
    }
    return await this.#commit(planned);
  }

  /** Reserves a block of producer ids for a broker; durable before it is answered. */
  async allocateProducerIds(brokerId: number): Promise<ProducerIdBlock> {
    const firstProducerId = this.#newest.nextProducerId;
    const outcome = await this.#commit([{
      type: "ProducerIdsRecord",
      value: {
        brokerId,
        brokerEpoch: this.#newest.brokers.get(brokerId)?.epoch ?? -1,
        nextProducerId: firstProducerId + PRODUCER_ID_BLOCK_SIZE,
      },
    }]);
    if (outcome.error !== ErrorCode.NONE) return outcome;
    return { error: ErrorCode.NONE, firstProducerId, count: PRODUCER_ID_BLOCK_SIZE };
  }

  /**
   * Registers a broker, fenced. Another incarnation of it must have been silent for a session.
   *
   * Returns: its broker epoch, which later requests of its have to name.
   */
  async brokerRegistration(
    request: RegistrationRequest,
  ): Promise<{ readonly error: typeof ErrorCode.NONE; readonly brokerEpoch: number } | Refusal> {
    const heartbeats = this.#heartbeats;
    if (heartbeats === null || !this.isActive) return notController();
    const existing = this.#newest.brokers.get(request.brokerId);
    const nowMs = this.#clock.monotonicMs();
    const planned = planRegistration(this.#newest, request, {
      rules: this.#settings.topicRules,
      nextEpoch: this.#quorum!.logEndOffset,
      hasValidSession: existing !== undefined && heartbeats.hasValidSession(existing, nowMs),
    });
    if ("error" in planned) {
      this.#logger.warn("A broker cannot register", {
        brokerId: request.brokerId,
        reason: planned.message,
      });
      return planned;
    }
    const { records, brokerEpoch } = planned;
    const committed = this.#commit(records);
    const isWritten = this.#newest.brokers.get(request.brokerId)?.epoch === brokerEpoch;
    if (isWritten) heartbeats.register(request.brokerId, nowMs);
    const outcome = await committed;
    return outcome.error === ErrorCode.NONE ? { error: ErrorCode.NONE, brokerEpoch } : outcome;
  }

  /** Takes a heartbeat; fences or unfences the broker, or moves what it leads, where it asks for it. */
  async brokerHeartbeat(heartbeat: BrokerHeartbeat): Promise<HeartbeatReply | Refusal> {
    const heartbeats = this.#heartbeats;
    if (heartbeats === null || !this.isActive) return notController();
    const { brokerId, brokerEpoch } = heartbeat;
    const refusal = refuseBrokerEpoch(this.#newest, brokerId, brokerEpoch);
    if (refusal !== null) return refusal;
    const changed = this.#changeDirectories(heartbeat);
    const broker = this.#newest.brokers.get(brokerId)!;
    const { current, next } = heartbeats.handle(
      heartbeat,
      { broker, hasLeaderships: () => hasLeaderships(this.#newest, brokerId) },
      this.#clock.monotonicMs(),
      (id) => isActive(this.#newest.brokers.get(id)),
    );
    const isCaughtUp = heartbeats.isCaughtUp(broker, heartbeat.metadataOffset) &&
      this.quorum.unconfirmedMs <= mayBeUnconfirmedMs(this.#settings.sessionTimeoutMs());
    const committed = current === next ? this.#lastCommit : this.#enter(next, broker);
    // What the others must have heard of is all that was written until now.
    if (next === "controlledShutdown") {
      heartbeats.noteControlledShutdown(brokerId, this.#newest.offset);
    }
    for (const outcome of [await changed, await committed]) {
      if (outcome.error !== ErrorCode.NONE && "message" in outcome) return outcome;
    }
    return {
      error: ErrorCode.NONE,
      isCaughtUp,
      isFenced: next === "fenced" || next === "shutdownNow",
      shouldShutDown: next === "shutdownNow",
    };
  }

  #changeDirectories(heartbeat: BrokerHeartbeat): Promise<CommitOutcome> {
    const { brokerId, offlineLogDirs, cordonedLogDirs } = heartbeat;
    const broker = this.#newest.brokers.get(brokerId)!;
    const records = [
      ...planOfflineDirectories(this.#newest, this.#settings.topicRules, broker, offlineLogDirs),
      ...planCordons(broker, cordonedLogDirs),
    ];
    return this.#commit(records);
  }

  /** Writes down that a broker goes over into another state. */
  #enter(state: BrokerState, broker: BrokerImage): Promise<CommitOutcome> {
    // Of a broker that is alone there is nothing to tell.
    const level = this.#newest.brokers.size > 1 ? "info" : "debug";
    this.#logger[level]("A broker changes its state", { brokerId: broker.id, state });
    const limit = this.#maxChangesAtOnce;
    const { topicRules } = this.#settings;
    switch (state) {
      case "fenced":
      case "shutdownNow":
        if (broker.fenced) return this.#commit([]);
        return this.#commitPart(planFencing(this.#newest, topicRules, broker, limit));
      case "unfenced":
        return this.#commitPart(planUnfencing(this.#newest, topicRules, broker, limit));
      case "controlledShutdown":
        return this.#commitPart(planControlledShutdown(this.#newest, topicRules, broker, limit));
    }
  }

  /** Writes the change of a broker and of as many partitions as fit into a moment; the others follow. */
  #commitPart(records: readonly MetadataRecord[]): Promise<CommitOutcome> {
    const committed = this.#commit(records);
    if (records.length >= this.#maxChangesAtOnce) this.#repairSoon();
    return committed;
  }

  #repairSoon(): void {
    this.#repairs ??= this.#clock.timer(0, () => {
      this.#repairs = null;
      if (!this.isActive) return;
      const limit = this.#maxChangesAtOnce;
      void this.#commitPart(planRepairs(this.#newest, this.#settings.topicRules, limit));
    });
  }

  /** Takes a broker out of the cluster. One that still runs will have to register anew. */
  async unregisterBroker(brokerId: number): Promise<CommitOutcome> {
    const limit = this.#maxChangesAtOnce;
    const planned = planUnregistration(
      this.#newest,
      this.#settings.topicRules,
      brokerId,
      limit,
    );
    if ("error" in planned) return planned;
    const committed = this.#commitPart(planned);
    if (!this.#newest.brokers.has(brokerId)) this.#heartbeats?.remove(brokerId);
    return await committed;
  }

  /** Writes down what a controller says of itself. */
  controllerRegistration(registration: ControllerRegistration): Promise<CommitOutcome> {
    return this.#commit(planControllerRegistration(registration));
  }

  /** Changes the ISR of partitions that `brokerId` leads. */
  async alterPartition(
    broker: BrokerIncarnation,
    alterations: readonly PartitionAlteration[],
  ): Promise<readonly PartitionAltered[] | Refusal> {
    const refusal = this.refuseBroker(broker);
    if (refusal !== null) return refusal;
    const rules = this.#settings.topicRules;
    const plan = planPartitionAlterations(this.#newest, rules, broker.brokerId, alterations);
    const outcome = await this.#commit(plan.records);
    return outcome.error === ErrorCode.NONE || !("message" in outcome) ? plan.results : outcome;
  }

  /**
   * Why a request of a broker is not to be acted on: this node is not the active controller, or another
   * incarnation of the broker has registered since. Null when it is.
   */
  refuseBroker({ brokerId, brokerEpoch }: BrokerIncarnation): Refusal | null {
    if (!this.isActive) return notController();
    return refuseBrokerEpoch(this.#newest, brokerId, brokerEpoch);
  }

  /** Writes down in which log directories a broker has put replicas; durable before it is answered. */
  async assignReplicasToDirs(
    brokerId: number,
    assignments: readonly DirectoryAssignment[],
  ): Promise<readonly DirectoryAssigned[]> {
    const rules = this.#settings.topicRules;
    const plan = planDirectoryAssignments(this.#newest, rules, brokerId, assignments);
    return await this.#answer(plan, false, (result, { error }) => ({ ...result, error }));
  }

  handleCommit(batch: MetadataBatch): void {
    const pending = this.#pending.shift();
    if (pending === undefined) {
      const next = replay(this.#committed, batch);
      this.#newest = next.image;
      this.#publish(next.image, next.changes);
      return;
    }
    assert(
      pending.batch.lastOffset === batch.lastOffset,
      "commit of another batch than the oldest",
    );
    this.#publish(pending.image, pending.changes);
  }

  handleSnapshot(batches: readonly MetadataBatch[]): void {
    const before = this.#committed;
    let image = MetadataImage.empty(before.clusterId);
    for (const batch of batches) image = replay(image, batch).image;
    this.#newest = image;
    this.#publish(image, imageChanges(before, image));
  }

  handleLeaderChange(leaderId: number, epoch: LeaderEpoch): void {
    this.#leaderId = leaderId;
    this.#leaderEpoch = epoch;
    this.#resign();
    if (leaderId === this.#nodeId) {
      this.#takeOver();
      // The first leader of a new cluster; should it lose the lead, the next one does it.
      if (this.isActive && this.#committed.offset === -1) {
        void this.#commit(firstFeatures(this.#newest, this.#settings.topicRules));
      }
    } else {
      // What was not committed under our lead may be gone; what is not gone will be committed again.
      this.#pending.length = 0;
      this.#newest = this.#committed;
    }
    for (const changed of [...this.#leaderListeners]) changed();
  }

  handleFailure(message: string): void {
    // What will never be committed must not be what later calls are refused by.
    this.#newest = this.#committed;
    this.#resign();
    this.#onFailure(message);
  }

  /** Begins to watch over brokers and leaderships, as the active controller. */
  #takeOver(): void {
    const { balancing } = this.#settings;
    const heartbeats = new BrokerHeartbeats({
      sessionTimeoutMs: this.#settings.sessionTimeoutMs(),
      nowMs: this.#clock.monotonicMs(),
      newestOffset: this.#newest.offset,
      brokerIds: this.#newest.brokers.keys(),
      nodeId: this.#nodeId,
    });
    this.#heartbeats = heartbeats;
    // The controller before this one may have been in the midst of it.
    this.#repairSoon();
    this.#tasks = new PeriodicTasks(this.#clock, [
      { intervalMs: () => heartbeats.checkIntervalMs, run: () => this.#fenceStaleBrokers() },
      {
        intervalMs: () => this.#hasMoreElections ? MORE_ELECTIONS_MS : balancing.intervalMs(),
        run: () => this.#balance(),
      },
    ]);
  }

  #resign(): void {
    this.#tasks?.stop();
    this.#tasks = null;
    this.#repairs?.cancel();
    this.#repairs = null;
    this.#heartbeats = null;
  }

  #fenceStaleBrokers(): void {
    if (!this.isActive) return;
    const nowMs = this.#clock.monotonicMs();
    for (;;) {
      const id = this.#heartbeats?.staleBroker(this.#newest.brokers.values(), nowMs) ?? null;
      if (id === null) return;
      this.#logger.warn("Fencing a broker, whose session has timed out", { brokerId: id });
      const broker = this.#newest.brokers.get(id)!;
      void this.#enter("fenced", broker);
      // Nothing can be written now: the next look tries again.
      if (this.#newest.brokers.get(id)?.fenced === false) return;
    }
  }

  /** Gives partitions back to their first replicas, and a leader to those that may have any. */
  #balance(): void {
    if (!this.isActive) return;
    const { balancing, topicRules } = this.#settings;
    this.#hasMoreElections = this.#electUncleanLeaders();
    if (!balancing.isEnabled()) return;
    const balanced = planBalancing(this.#newest, topicRules, MAX_ELECTIONS_AT_ONCE);
    void this.#commit(balanced.records);
    this.#hasMoreElections ||= balanced.hasMore;
  }

  /** Gives a leader to partitions that have none and may lose records for it. Returns: true when there are more. */
  #electUncleanLeaders(): boolean {
    const rules = this.#settings.topicRules;
    const { records, hasMore } = planUncleanElections(this.#newest, rules, MAX_ELECTIONS_AT_ONCE);
    void this.#commit(records);
    return hasMore;
  }

  #publish(image: MetadataImage, changes: MetadataChanges): void {
    this.#committed = image;
    for (const listener of this.#listeners) listener(image, changes);
    if (changes.changedFeatures.length > 0) this.#stopWhereUnsupported();
    // Somebody may have just allowed it.
    if (changes.changedConfigs.length > 0 && this.isActive) this.#electUncleanLeaders();
  }

  /** A node that has just joined, or was not heard of when a level was raised. */
  #stopWhereUnsupported(): void {
    const problem = this.#featureProblem();
    if (problem !== null) this.#onFailure(`Cannot be a node of this cluster: ${problem}`);
  }

  /** Writes a plan and answers with its results, or with an error for each that had succeeded. */
  async #answer<Result extends { readonly error: ErrorCode }>(
    plan: Plan<Result>,
    validateOnly: boolean,
    refused: (result: Result, refusal: Refusal) => Result,
  ): Promise<readonly Result[]> {
    if (validateOnly) return plan.results;
    const outcome = await this.#commit(plan.records);
    if (outcome.error === ErrorCode.NONE) return plan.results;
    // What a plan found on a node that does not lead may long be otherwise.
    const isStale = outcome.error === ErrorCode.NOT_CONTROLLER;
    return plan.results.map((result) =>
      isStale || result.error === ErrorCode.NONE ? refused(result, outcome) : result
    );
  }

  #commit(records: readonly MetadataRecord[]): Promise<CommitOutcome> {
    if (!this.isActive) {
      return Promise.resolve(notController());
    }
    if (records.length === 0) return this.#lastCommit;
    const prepared = this.#quorum!.prepare(records);
    // Before it is written: what cannot be applied must not be in the log, which is read at every start.
    const next = replay(this.#newest, prepared.batch);
    const appended = this.#quorum!.append(prepared);
    if (!("committed" in appended)) return Promise.resolve(appended);
    this.#newest = next.image;
    this.#pending.push({ batch: prepared.batch, ...next });
    for (const { before, after } of next.changes.changedPartitions) {
      if (before === null || before.leader === after.leader) continue;
      this.#heartbeats?.noteTaken(before.leader, prepared.batch.lastOffset);
    }
    this.#lastCommit = appended.committed;
    this.#logger.debug("Metadata appended", {
      baseOffset: prepared.batch.baseOffset,
      recordCount: records.length,
    });
    return appended.committed;
  }
}

function notController(): Refusal {
  return {
    error: ErrorCode.NOT_CONTROLLER,
    message: "This is not the correct controller for this cluster.",
  };
}

/** The image after a batch, and what the batch changed. */
function replay(image: MetadataImage, batch: MetadataBatch) {
  const delta = new MetadataDelta(image);
  for (const [i, record] of batch.records.entries()) {
    delta.replay(record, offset(batch.baseOffset + i));
  }
  return delta.apply({
    offset: batch.lastOffset,
    leaderEpoch: batch.leaderEpoch,
    timestampMs: batch.timestampMs,
  });
}

function everythingIn(image: MetadataImage): MetadataChanges {
  const configs = (["topic", "broker", "group"] as const).flatMap((type) =>
    [...image.configuredResources(type)].map((name) => ({ type, name }))
  );
  return {
    createdTopics: [...image.topics()],
    deletedTopics: [],
    changedPartitions: [],
    changedConfigs: configs,
    changedBrokers: [...image.brokers.values()].map((broker: BrokerImage) => broker.id),
    changedFeatures: [...image.features.keys()],
  };
}
