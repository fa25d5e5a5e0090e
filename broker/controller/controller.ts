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
import { ErrorCode } from "../../protocol/errors.ts";
import { type LeaderEpoch, leaderEpoch, offset, type Uuid } from "../../protocol/types.ts";
import { DiskError, type Logger, type Random } from "../../storage/platform.ts";
import {
  type ConfigChange,
  type ConfigReplacement,
  type ConfigResult,
  type ConfigRules,
  planConfigChanges,
  planConfigReplacements,
} from "./config_changes.ts";
import { electionsOf } from "./leader_election.ts";
import {
  type DirectoryAssigned,
  type DirectoryAssignment,
  planDirectoryAssignments,
} from "./directory_assignments.ts";
import {
  type BrokerEndpoint,
  type BrokerImage,
  type MetadataChanges,
  MetadataDelta,
  MetadataImage,
} from "./metadata_image.ts";
import type { MetadataRecord } from "./metadata_records.ts";
import type { MetadataBatch } from "./metadata_replay.ts";
import { type CommitOutcome, Quorum, type QuorumListener, type QuorumOptions } from "./quorum.ts";
import { randomUuid } from "../../storage/random_uuid.ts";
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

/** The records that we write and read: metadata.version 4.3-IV0. */
const METADATA_VERSION = 30;

/** Features that this version knows, with the levels it can work at; what it announces of itself. */
export const SUPPORTED_FEATURES: ReadonlyMap<
  string,
  { readonly lowest: number; readonly highest: number }
> = new Map([["metadata.version", { lowest: METADATA_VERSION, highest: METADATA_VERSION }]]);

/** Hears of every committed change, in order. Must not throw. */
export type ImageListener = (image: MetadataImage, changes: MetadataChanges) => void;

/** What the controller reads of the configuration. */
export interface ControllerSettings {
  defaultPartitionCount(): number;
  defaultReplicationFactor(): number;
  readonly configRules: ConfigRules;
}

/** What the controller needs. */
export interface ControllerOptions extends QuorumOptions {
  readonly clusterId: string;
  readonly random: Random;
  readonly settings: ControllerSettings;
  /** Called once when the metadata log has failed and the process should stop. */
  readonly onFailure: (message: string) => void;
}

/** A broker that announces itself. */
export interface BrokerRegistration {
  readonly brokerId: number;
  readonly endpoints: readonly BrokerEndpoint[];
  readonly features: ReadonlyMap<string, { readonly lowest: number; readonly highest: number }>;
  readonly rack: string | null;
  /** The log directories that it can use. */
  readonly logDirs: readonly Uuid[];
  /** Those of them that take no new partitions; none when left out. */
  readonly cordonedLogDirs?: readonly Uuid[];
}

/** Producer ids `[firstProducerId, firstProducerId + count)`, which nobody else has or will get. */
export type ProducerIdBlock =
  | {
    readonly error: typeof ErrorCode.NONE;
    readonly firstProducerId: number;
    readonly count: number;
  }
  | Refusal;

interface PendingImage {
  readonly batch: MetadataBatch;
  readonly image: MetadataImage;
  readonly changes: MetadataChanges;
}

/** The controller of a cluster. */
export class Controller implements QuorumListener {
  readonly #random: Random;
  readonly #logger: Logger;
  readonly #settings: ControllerSettings;
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

  private constructor(options: ControllerOptions) {
    this.#random = options.random;
    this.#logger = options.logger;
    this.#settings = options.settings;
    this.#nodeId = options.nodeId;
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
    if (controller.#committed.offset === -1) await controller.#bootstrap();
    return controller;
  }

  /** The first records of a new cluster: the features that we act on, and no more. */
  async #bootstrap(): Promise<void> {
    const records = [...SUPPORTED_FEATURES].map(([name, { highest }]) => (
      { type: "FeatureLevelRecord", value: { name, featureLevel: highest } } as const
    ));
    const outcome = await this.#commit(records);
    if (outcome.error !== ErrorCode.NONE) throw new DiskError(outcome.message, "EIO");
  }

  handleReplayed(): void {
    this.#checkFeatures();
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

  #checkFeatures(): void {
    const unknown: Record<string, number> = {};
    for (const [name, level] of this.#committed.features) {
      const supported = SUPPORTED_FEATURES.get(name);
      if (supported === undefined) unknown[name] = level;
      else if (level < supported.lowest || level > supported.highest) {
        throw new WireError(
          `Cannot use the metadata log: the cluster is at ${name} ${level}, and this version works ` +
            `from ${supported.lowest} to ${supported.highest}; start the version that wrote it`,
        );
      }
    }
    if (Object.keys(unknown).length > 0) {
      this.#logger.warn("The cluster has features that this version does not know", {
        features: unknown,
      });
    }
  }

  /** Stops writing. Calls that are not committed yet are answered with an error. */
  stop(): void {
    this.#listeners.clear();
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
   * Registers a broker, unfenced: it takes part from now on, and leads what has no leader and may be led by it.
   *
   * Returns: its broker epoch, the offset of the registration.
   */
  async registerBroker(
    registration: BrokerRegistration,
  ): Promise<{ readonly error: typeof ErrorCode.NONE; readonly brokerEpoch: number } | Refusal> {
    const brokerEpoch = this.#quorum!.logEndOffset;
    const features = [...registration.features].map(([name, { lowest, highest }]) => (
      { name, minSupportedVersion: lowest, maxSupportedVersion: highest }
    ));
    const outcome = await this.#commit([{
      type: "RegisterBrokerRecord",
      value: {
        brokerId: registration.brokerId,
        incarnationId: randomUuid(this.#random),
        brokerEpoch,
        endPoints: registration.endpoints,
        features,
        rack: registration.rack,
        fenced: false,
        inControlledShutdown: false,
        logDirs: registration.logDirs,
        cordonedLogDirs: registration.cordonedLogDirs ?? [],
      },
    }, ...electionsOf(this.#newest, registration.brokerId)]);
    return outcome.error === ErrorCode.NONE ? { error: ErrorCode.NONE, brokerEpoch } : outcome;
  }

  /** Writes down in which log directories a broker has put replicas; durable before it is answered. */
  assignReplicasToDirs(
    brokerId: number,
    assignments: readonly DirectoryAssignment[],
  ): Promise<readonly DirectoryAssigned[]> {
    const plan = planDirectoryAssignments(this.#newest, brokerId, assignments);
    return this.#answer(plan, false, (result, { error }) => ({ ...result, error }));
  }

  /**
   * Notes which log directories a registered broker can use, the others being offline, and which of them take
   * no new partitions. What is left out stays as it is.
   */
  async updateLogDirs(
    brokerId: number,
    change: { readonly logDirs?: readonly Uuid[]; readonly cordonedLogDirs?: readonly Uuid[] },
  ): Promise<CommitOutcome> {
    const { epoch: brokerEpoch } = this.#newest.brokers.get(brokerId)!;
    const { logDirs = [], cordonedLogDirs = null } = change;
    return await this.#commit([{
      type: "BrokerRegistrationChangeRecord",
      value: { brokerId, brokerEpoch, logDirs, cordonedLogDirs },
    }]);
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

  handleLeaderChange(leaderId: number, epoch: LeaderEpoch): void {
    this.#leaderId = leaderId;
    this.#leaderEpoch = epoch;
    if (leaderId === this.#nodeId) return;
    // What was not committed under our lead may be gone; what is not gone will be committed again.
    this.#pending.length = 0;
    this.#newest = this.#committed;
  }

  handleFailure(message: string): void {
    // What will never be committed must not be what later calls are refused by.
    this.#newest = this.#committed;
    this.#onFailure(message);
  }

  #publish(image: MetadataImage, changes: MetadataChanges): void {
    this.#committed = image;
    for (const listener of this.#listeners) listener(image, changes);
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
    return plan.results.map((result) =>
      result.error === ErrorCode.NONE ? refused(result, outcome) : result
    );
  }

  #commit(records: readonly MetadataRecord[]): Promise<CommitOutcome> {
    if (!this.isActive) {
      return Promise.resolve({
        error: ErrorCode.NOT_CONTROLLER,
        message: "This is not the correct controller for this cluster.",
      });
    }
    if (records.length === 0) return this.#lastCommit;
    const prepared = this.#quorum!.prepare(records);
    // Before it is written: what cannot be applied must not be in the log, which is read at every start.
    const next = replay(this.#newest, prepared.batch);
    const appended = this.#quorum!.append(prepared);
    if (!("committed" in appended)) return Promise.resolve(appended);
    this.#newest = next.image;
    this.#pending.push({ batch: prepared.batch, ...next });
    this.#lastCommit = appended.committed;
    this.#logger.debug("Metadata appended", {
      baseOffset: prepared.batch.baseOffset,
      recordCount: records.length,
    });
    return appended.committed;
  }
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
