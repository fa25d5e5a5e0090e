/**
 * The partitions of this node: made, changed and deleted as the metadata says, found by name or by id.
 *
 *     image + changes ──→ open, change or delete partitions ──→ lookup by (name, index) or (id, index)
 *
 * Changes are heard in the order in which they were committed. Opening a log takes disk time, so for each
 * topic the work is queued, and a partition that is not open yet answers NOT_LEADER_OR_FOLLOWER, on which
 * clients try again, and goes before those that nobody has asked for; `whenReady` waits for it. Nothing is ever deleted because something could not be read:
 * only the record of a topic's removal deletes its logs, and a directory that no topic owns is left alone
 * and named in the log.
 */

import assert from "node:assert/strict";
import { ErrorCode, errorMessage } from "../../protocol/errors.ts";
import {
  DirectoryId,
  formatTopicPartition,
  type TopicPartition,
  type Uuid,
} from "../../protocol/types.ts";
import { BatchPreparer } from "../../storage/batch_preparer.ts";
import type { LogDirectories } from "../../storage/log_directories.ts";
import { LogDirectoryError } from "../../storage/directory_meta.ts";
import { type LogDirectory } from "../../storage/log_directory.ts";
import { canBeFuture } from "../../storage/partition_names.ts";
import type { Log } from "../../storage/log.ts";
import { type Clock, DiskError, type Logger, type Timer } from "../../storage/platform.ts";
import { TurnQueue } from "../../storage/turn_queue.ts";
import { JobCancelledError, type Workers } from "../../storage/workers.ts";
import type { Config } from "../config/config.ts";
import { effectiveTopicConfig, type TopicConfig } from "../config/topic_config.ts";
import { reachableBrokers, type Viewer } from "../controller/cluster_view.ts";
import type { Controller } from "../controller/controller.ts";
import type { MetadataChanges, PartitionImage, TopicImage } from "../controller/metadata_image.ts";
import { Delayed } from "./delayed.ts";
import { DirectoryAssigner } from "./directory_assigner.ts";
import { FoundReplicas, type WantedReplica } from "./found_replicas.ts";
import { OpeningProgress } from "./opening_progress.ts";
import { PartitionErrors } from "./partition_errors.ts";
import { Partition, type ReplicationBytes, type ReplicationContext } from "./partition.ts";
import type { LagLimits } from "./replica_set.ts";
import type { Peers } from "../peers/peers.ts";
import { ReplicaFetchers } from "./replica_fetchers.ts";
import { ReplicationThrottle } from "./replication_throttle.ts";
import { ReplicaMoves } from "./replica_moves.ts";
import { ReplicaRepairs } from "./replica_repairs.ts";
import { TopicTraffic } from "./topic_traffic.ts";

/** What may pass: a disk without room, a process without file handles. */
const PASSING_CODES: ReadonlySet<string> = new Set([
  "ENOSPC",
  "EDQUOT",
  "EMFILE",
  "ENFILE",
  "EAGAIN",
]);
/** How long a partition that could not be opened for such a cause waits until it is tried again. */
const REOPEN_MS = 1000;
/** Logs opened at the same time. */
const OPENS_AT_ONCE = 32;
/** How often leaders look for followers that do not keep up. */
const CHECK_FOLLOWERS_MS = 500;
/** Partitions that are not here yet, and are to be made in a directory that somebody has named. */
const MAX_PREFERENCES = 10_000;

/** What the replica manager works with. */
export interface ReplicaManagerOptions {
  readonly nodeId: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly config: Config;
  readonly controller: Pick<Controller, "image" | "subscribe" | "assignReplicasToDirs">;
  readonly logDirectories: LogDirectories;
  /** Prepare the large batches of clients. */
  readonly workers: Workers;
  /** The way to the leaders that this node follows. */
  readonly peers: Pick<Peers, "send">;
  /** Asks the controller for other in-sync replicas of a partition that this node leads. */
  readonly proposeIsr: ReplicationContext["proposeIsr"];
}

/** Why a partition cannot be used here. */
export interface PartitionRefusal {
  readonly error: ErrorCode;
  /** Who leads it; null when nobody knows the partition. */
  readonly image: PartitionImage | null;
}

interface TopicPartitions {
  readonly name: string;
  readonly id: Uuid;
  readonly traffic: TopicTraffic;
  /** By index; a hole is led or held elsewhere, or not open yet. */
  readonly partitions: Partition[];
}

/** What is left to do of some work once others may go on. */
type Rest = (() => Promise<void>) | void;

/** The partitions of this node. */
export class ReplicaManager {
  /** Produce requests that wait to be committed. */
  readonly delayedAppends: Delayed;
  /** Fetches that wait for more records. */
  readonly delayedFetches: Delayed;
  readonly logDirectories: LogDirectories;
  /** Replicas on their way from one log directory to another. */
  readonly moves: ReplicaMoves;
  readonly #repairs: ReplicaRepairs;
  /** The leader epoch in which a log was begun in the place of a damaged one. */
  readonly #begunIn = new WeakMap<Log, number>();
  readonly replicationBytes: ReplicationBytes = { sent: 0, received: 0 };
  /** Partitions of Produce and Fetch that were answered with an error. */
  readonly partitionErrors = new PartitionErrors();
  readonly #fetchers: ReplicaFetchers;
  readonly #assigner: DirectoryAssigner;
  readonly #options: ReplicaManagerOptions;
  readonly #logger: Logger;
  readonly #preparer: BatchPreparer;
  readonly #byName = new Map<string, TopicPartitions>();
  readonly #byId = new Map<Uuid, TopicPartitions>();
  /** What `partitions` says; null once that has changed. */
  #listed: readonly Partition[] | null = null;
  readonly #chains = new Map<string, Promise<void>>();
  readonly #turns: TurnQueue;
  readonly #progress: OpeningProgress;
  #readyWaiters = new Map<string, ((partition: Partition | PartitionRefusal) => void)[]>();
  #failedOpens = new Set<string>();
  /** Partitions that are not there because their directory is not. */
  readonly #away = new Set<string>();
  /** Partitions of which the controller would not hear where they lie. */
  readonly #unassigned = new Set<string>();
  readonly #reopenTimers = new Set<Timer>();
  /** What was found at the start and is not open yet. */
  #found: FoundReplicas | null = null;
  /** Path of the directory in which a partition is to be made, by `topic-partition`. */
  readonly #preferences = new Map<string, string>();
  /** What is in force for topics, by their own values: most have none. */
  #configs = new WeakMap<ReadonlyMap<string, string>, TopicConfig>();
  #lagLimits: LagLimits;
  readonly #replication: ReplicationContext;
  #followersTimer: Timer | null = null;
  #followersCheckedMs = Infinity;
  #unsubscribe: (() => void) | null = null;
  #stopConfig: (() => void) | null = null;
  #isClosed = false;

  constructor(options: ReplicaManagerOptions) {
    this.#options = options;
    this.#logger = options.logger;
    this.logDirectories = options.logDirectories;
    this.#turns = new TurnQueue({ clock: options.clock, maxAtOnce: () => OPENS_AT_ONCE });
    this.#progress = new OpeningProgress({
      clock: options.clock,
      logger: options.logger,
      leftCount: () => this.#chains.size,
      recoveredBytes: () => this.logDirectories.recoveredBytes,
    });
    this.#assigner = new DirectoryAssigner(options);
    this.moves = new ReplicaMoves({
      ...options,
      copiesAtOnce: () =>
        options.config.number("num.replica.alter.log.dirs.threads") ??
          this.logDirectories.states().length,
      assign: ({ topicId, partition }, { directoryId }) =>
        this.#assigner.assign({ topicId, partition, directoryId }),
    });
    this.#fetchers = new ReplicaFetchers({
      ...options,
      // A copy in another directory would have to be cut as well: it is made anew.
      beforeTruncation: ({ log }) => this.moves.cancel(log.name),
      afterTruncation: (partition) => this.#roleTaken(partition),
    });
    this.#repairs = new ReplicaRepairs({
      ...options,
      assigner: this.#assigner,
      beginAnew: (partition) => this.#beginAnew(partition),
      dropDamaged: ({ log, topicId }) => {
        const { topicPartition } = log;
        for (const one of this.logDirectories.online()) one.dropDamaged(topicPartition, topicId);
      },
    });
    this.#lagLimits = lagLimits(options.config);
    this.#replication = {
      brokers: () => options.controller.image().brokers,
      lagLimits: () => this.#lagLimits,
      throttles: {
        leader: new ReplicationThrottle(() =>
          options.config.number("leader.replication.throttled.rate")
        ),
        follower: new ReplicationThrottle(() =>
          options.config.number("follower.replication.throttled.rate")
        ),
      },
      bytes: this.replicationBytes,
      proposeIsr: options.proposeIsr,
      noteDamaged: (partition) => this.#repairs.look(partition),
    };
    this.#preparer = new BatchPreparer(options);
    this.delayedAppends = new Delayed({ clock: options.clock });
    this.delayedFetches = new Delayed({ clock: options.clock });
  }

  /** Follows the metadata from now on: opens what this node holds, in the background. */
  start(): void {
    const { controller, config } = this.#options;
    this.#found = new FoundReplicas(this.logDirectories, this.#logger);
    this.#found.reportStrays(controller.image());
    this.#unsubscribe = controller.subscribe((_, changes) => this.#apply(changes));
    this.#stopConfig = config.onChange(() => {
      this.#configs = new WeakMap();
      this.#lagLimits = lagLimits(config);
      this.#updateAllConfigs();
    });
    this.#progress.start();
    this.#checkFollowersLater();
  }

  /** Resolves when everything that was asked for until now is open. */
  async settled(): Promise<void> {
    while (this.#chains.size > 0) await Promise.all(this.#chains.values());
  }

  /** How far the opening at the start has come. */
  get openingProgress(): Pick<OpeningProgress, "reason" | "leftCount"> {
    return this.#progress;
  }

  /** Replicas that were found damaged and given up since the start, to be filled anew. */
  get repairCount(): number {
    return this.#repairs.count;
  }

  /** Partitions that are open. Returns: another array once they are others. */
  partitions(): readonly Partition[] {
    return this.#listed ??= [...this.#byName.values()]
      .flatMap(({ partitions }) => partitions.filter((partition) => partition !== undefined));
  }

  /** What clients wrote to each topic that is, or was, held here, and read from it. */
  *traffic(): Iterable<{ readonly topic: string; readonly traffic: TopicTraffic }> {
    for (const { name: topic, traffic } of this.#byName.values()) yield { topic, traffic };
  }

  /**
   * The partition of a topic by name, if this node leads it.
   * Errors: UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR.
   */
  partition(topic: string, index: number): Partition | PartitionRefusal {
    const found = this.#byName.get(topic)?.partitions[index];
    if (found !== undefined) return usable(found);
    const image = this.#options.controller.image().topicByName(topic);
    return this.#missing(image, index, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  }

  /** The same by topic id. Errors: UNKNOWN_TOPIC_ID too. */
  partitionById(topicId: Uuid, index: number): Partition | PartitionRefusal {
    const found = this.#byId.get(topicId)?.partitions[index];
    if (found !== undefined) return usable(found);
    const image = this.#options.controller.image().topicById(topicId);
    return this.#missing(image, index, ErrorCode.UNKNOWN_TOPIC_ID);
  }

  /** The partition of a topic by name, if this node leads or follows it. Errors: as `partition`. */
  replica(topic: string, index: number): Partition | PartitionRefusal {
    const found = this.#byName.get(topic)?.partitions[index];
    return found?.isFollower === true ? online(found) : this.partition(topic, index);
  }

  /** The same by topic id. Errors: as `partitionById`. */
  replicaById(topicId: Uuid, index: number): Partition | PartitionRefusal {
    const found = this.#byId.get(topicId)?.partitions[index];
    return found?.isFollower === true ? online(found) : this.partitionById(topicId, index);
  }

  /** Name of a topic that has partitions here, by id. */
  topicName(topicId: Uuid): string | undefined {
    return this.#options.controller.image().topicById(topicId)?.name;
  }

  /** Where the leaders of partitions can be reached by the client (KIP-951). */
  leaderEndpoints(
    leaders: Iterable<PartitionImage>,
    viewer: Omit<Viewer, "nodeId">,
  ): { nodeId: number; host: string; port: number; rack: string | null }[] {
    const { controller, nodeId } = this.#options;
    const brokers = reachableBrokers(controller.image(), { ...viewer, nodeId });
    const ids = new Set<number>();
    for (const { leader } of leaders) ids.add(leader);
    const endpoints = [];
    for (const id of ids) {
      const broker = brokers.get(id);
      if (broker === undefined) continue;
      endpoints.push({ nodeId: id, host: broker.host, port: broker.port, rack: broker.rack });
    }
    return endpoints;
  }

  /** Resolves with the partition once it is open, or with why it will not be. */
  whenReady(topic: string, index: number): Promise<Partition | PartitionRefusal> {
    const now = this.partition(topic, index);
    if (!("error" in now) || now.error !== ErrorCode.NOT_LEADER_OR_FOLLOWER) {
      return Promise.resolve(now);
    }
    const image = this.#options.controller.image().topicByName(topic)?.partitions[index];
    const name = formatTopicPartition(topic, index);
    if (this.#isClosed || image?.leader !== this.#options.nodeId || this.#failedOpens.has(name)) {
      return Promise.resolve(now);
    }
    this.#hurry(topic, index);
    return new Promise((resolve) => {
      const waiters = this.#readyWaiters.get(name);
      if (waiters === undefined) this.#readyWaiters.set(name, [resolve]);
      else waiters.push(resolve);
    });
  }

  /** Ends all waits and stops following the metadata. The logs stay open for their directory to close. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#followersTimer?.cancel();
    for (const timer of this.#reopenTimers) timer.cancel();
    this.#unsubscribe?.();
    this.#stopConfig?.();
    this.#repairs.close();
    this.#progress.close();
    this.delayedFetches.close();
    this.delayedAppends.close();
    await this.logDirectories.stopOpening();
    await this.#fetchers.close();
    await this.moves.close();
    await this.settled();
    for (const partition of this.partitions()) partition.close(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    this.#preparer.close();
    for (const name of [...this.#readyWaiters.keys()]) {
      this.#tellReady(name, refusal(ErrorCode.NOT_LEADER_OR_FOLLOWER));
    }
  }

  /** Answers who waits for followers that do not come: retriable, and written all the same. */
  giveUpFollowers(): void {
    for (const partition of this.partitions()) partition.giveUpFollowers();
  }

  #checkFollowersLater(): void {
    const { clock } = this.#options;
    this.#followersTimer = clock.timer(CHECK_FOLLOWERS_MS, () => {
      this.#checkFollowers();
      this.#checkFollowersLater();
    });
  }

  #checkFollowers(): void {
    const nowMs = this.#options.clock.monotonicMs();
    // After a time in which this node did nothing itself, nobody was silent.
    const wasAway = nowMs - this.#followersCheckedMs > 2 * CHECK_FOLLOWERS_MS;
    this.#followersCheckedMs = nowMs;
    const limits = wasAway ? { ...this.#lagLimits, maxSilenceMs: Infinity } : this.#lagLimits;
    for (const partition of this.partitions()) partition.checkFollowers(limits);
  }

  #missing(
    topic: TopicImage | undefined,
    index: number,
    unknownTopic: ErrorCode,
  ): PartitionRefusal {
    if (topic === undefined) return refusal(unknownTopic);
    const image = topic.partitions[index];
    if (image === undefined) return refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    const isFailed = this.#failedOpens.has(formatTopicPartition(topic.name, index));
    this.#hurry(topic.name, index);
    return {
      error: isFailed ? ErrorCode.KAFKA_STORAGE_ERROR : ErrorCode.NOT_LEADER_OR_FOLLOWER,
      image,
    };
  }

  /** Somebody asks for a partition that is not open yet. */
  #hurry(topic: string, partition: number): void {
    const name = formatTopicPartition(topic, partition);
    if (!this.#chains.has(name)) return;
    this.#turns.hurry(name);
    this.logDirectories.hurry({ topic, partition });
  }

  #apply(changes: MetadataChanges): void {
    for (const topic of changes.deletedTopics) this.#delete(topic);
    for (const topic of changes.createdTopics) {
      for (const partition of topic.partitions) this.#hold(topic, partition);
    }
    for (const { topic, after } of changes.changedPartitions) this.#hold(topic, after);
    for (const resource of changes.changedConfigs) {
      if (resource.type === "topic") this.#updateConfig(resource.name);
    }
  }

  #hold(topic: TopicImage, image: PartitionImage): void {
    const open = this.#byId.get(topic.id)?.partitions[image.partition];
    if (!image.replicas.includes(this.#options.nodeId)) {
      if (open !== undefined) this.#letGo(topic, open);
      return;
    }
    if (open !== undefined) {
      this.#update(open, image);
      return;
    }
    const name = formatTopicPartition(topic.name, image.partition);
    this.#enqueue(name, () => this.#open(topic, image.partition));
  }

  #update(partition: Partition, image: PartitionImage): void {
    partition.updateImage(image);
    this.#fetchers.follow(partition);
    this.#roleTaken(partition);
  }

  /** Somebody may wait for it to lead; or it may have been given up. */
  #roleTaken(partition: Partition): void {
    if (partition.isLeader) this.#tellReady(partition.log.name, usable(partition));
    this.#repairs.look(partition);
  }

  /** What a damaged replica holds goes, and it is opened anew with nothing. */
  #beginAnew(partition: Partition): void {
    const { topicId, partition: index, log } = partition;
    const topic = this.#options.controller.image().topicById(topicId);
    if (topic === undefined || !this.#drop(partition)) return;
    const { name } = log;
    this.#enqueue(name, () => this.moves.cancel(name));
    this.#enqueue(name, () => this.#open(topic, index));
  }

  /** Returns: what follows once the log is open: the metadata is told, and the partition served. */
  async #open(topic: TopicImage, index: number): Promise<Rest> {
    const { controller } = this.#options;
    const name = formatTopicPartition(topic.name, index);
    // The newest word counts: the topic may be gone or changed since the work was queued.
    const image = controller.image().topicById(topic.id)?.partitions[index];
    const isHeld = image?.replicas.includes(this.#options.nodeId) === true;
    if (this.#isClosed || image === undefined || !isHeld) {
      this.#tellReady(name, refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION));
      return;
    }
    const open = this.#byId.get(topic.id)?.partitions[index];
    if (open !== undefined) {
      // Its opening was queued twice, since it changed meanwhile.
      this.#update(open, image);
      return;
    }
    const topicConfig = this.#configOf(topic.name);
    const wanted = this.#wanted(topic, image);
    try {
      const directory = await this.#choose(wanted);
      await this.#found!.setOthersAside(wanted, directory);
      const log = await directory.createLog(wanted, topic.id, topicConfig);
      if (wanted.isGivenUp) this.#begunIn.set(log, image.leaderEpoch);
      return () => this.#serve(topic, wanted, log, directory);
    } catch (failure) {
      if (failure instanceof JobCancelledError) {
        this.#tellReady(name, refusal(ErrorCode.NOT_LEADER_OR_FOLLOWER));
        return;
      }
      if (!(failure instanceof DiskError || failure instanceof LogDirectoryError)) throw failure;
      this.#openFailed(topic, index, failure);
    }
  }

  #wanted(topic: TopicImage, image: PartitionImage): WantedReplica {
    const { nodeId } = this.#options;
    const { partition, leader, leaderEpoch, isr } = image;
    const assigned = this.#assignedDirectory(topic.id, partition) ?? DirectoryId.MIGRATING;
    const isLedElsewhere = leader >= 0 && leader !== nodeId;
    const topicPartition = { topic: topic.name, partition };
    const log = this.logDirectories.directoryOf(topicPartition)?.log(topic.name, partition);
    const begunIn = (log && this.#begunIn.get(log)) ?? -1;
    return {
      ...topicPartition,
      topicId: topic.id,
      assigned,
      isLedElsewhere,
      isGivenUp: assigned === DirectoryId.LOST && isLedElsewhere && leaderEpoch > begunIn,
      isBegunAnew: isLedElsewhere && !isr.includes(nodeId) &&
        this.logDirectories.online().some((one) => one.keepsDamaged(topicPartition, topic.id)),
    };
  }

  /** Errors: LogDirectoryError when no directory may be used; DiskError. */
  async #choose(wanted: WantedReplica): Promise<LogDirectory> {
    const name = formatTopicPartition(wanted.topic, wanted.partition);
    if (wanted.isGivenUp) await this.#found!.setDamagedAside(wanted);
    const open = this.logDirectories.directoryOf(wanted);
    if (open !== undefined) return open;
    await this.#found!.completeMove(wanted);
    const location = this.#found!.locate(wanted);
    if (location.kind === "found") return location.directory;
    if (location.kind === "refused") {
      if (location.isAway) this.#away.add(name);
      throw new LogDirectoryError(`Cannot open ${name}: ${location.reason}`);
    }
    const preference = this.#preferences.get(name);
    const online = this.logDirectories.online();
    const preferred = online.find(({ path }) => path === preference);
    if (preferred === undefined && online.length === 0) {
      throw new LogDirectoryError(`Cannot make ${name}: every log directory is offline`);
    }
    return preferred ?? this.logDirectories.place();
  }

  /** A replica is served once the metadata says where it lies: then nobody looks for it elsewhere. */
  async #serve(
    topic: TopicImage,
    wanted: WantedReplica,
    log: Log,
    directory: LogDirectory,
  ): Promise<void> {
    const { controller, nodeId, clock } = this.#options;
    const { partition: index } = wanted;
    const { directoryId } = directory;
    const isAssigned = this.#assignedDirectory(topic.id, index) === directoryId;
    const error = isAssigned
      ? ErrorCode.NONE
      : await this.#assigner.assign({ topicId: topic.id, partition: index, directoryId });
    const image = controller.image().topicById(topic.id)?.partitions[index];
    if (image === undefined) {
      // Deleted meanwhile: the work that follows in the queue takes the log away.
      this.#tellReady(log.name, refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION));
      return;
    }
    if (error !== ErrorCode.NONE) {
      // The log is whole, and the controller will be there again: who waits for the partition goes on waiting.
      if (!this.#unassigned.has(log.name)) {
        this.#logger.warn(
          "Cannot write down where a partition lies: it is not served until that is done",
          {
            partition: log.name,
            found: errorMessage(error),
          },
        );
      }
      this.#unassigned.add(log.name);
      return this.#reopenLater(topic, index);
    }
    this.#unassigned.delete(log.name);
    this.#failedOpens.delete(log.name);
    this.#preferences.delete(log.name);
    const partition = new Partition({
      topic: topic.name,
      topicId: topic.id,
      partition: index,
      nodeId,
      clock,
      log,
      preparer: this.#preparer,
      config: this.#configOf(topic.name),
      image,
      replication: this.#replication,
      traffic: this.#entryOf(topic).traffic,
      begunInEpoch: this.#begunIn.get(log) ?? -1,
    });
    this.#add(topic, partition);
    await this.#resumeMove(partition, wanted, directory);
  }

  /** A move that the last run did not end goes on; of several copies the first. */
  async #resumeMove(
    partition: Partition,
    wanted: WantedReplica,
    source: LogDirectory,
  ): Promise<void> {
    const [copy, ...others] = this.#found!.take(wanted, source);
    if (copy === undefined || partition.log.offlineReason !== null) return;
    try {
      for (const other of others) await other.directory.deleteFound(other);
      await this.moves.resume(partition, { source, target: copy.directory }, copy);
    } catch (failure) {
      // The broker is stopping: the next start finds the copy again.
      if (failure instanceof JobCancelledError) return;
      if (!(failure instanceof DiskError)) throw failure;
      this.#logger.error("Move of a partition cannot go on", {
        partition: partition.log.name,
        target: copy.directory.path,
        found: failure.message,
      });
    }
  }

  /**
   * Moves a replica to another log directory, in the background. One that is on its way elsewhere turns
   * round; one that is asked to stay gives its copy up. A partition that is not here yet will be made there.
   *
   * Returns: NONE once its log in the directory is made. Errors: INVALID_TOPIC_EXCEPTION, LOG_DIR_NOT_FOUND,
   * KAFKA_STORAGE_ERROR, INVALID_REPLICA_ASSIGNMENT for a cordoned directory, UNKNOWN_TOPIC_OR_PARTITION,
   * REPLICA_NOT_AVAILABLE for one that is not open here.
   */
  async moveReplica(topicPartition: TopicPartition, path: string): Promise<ErrorCode> {
    const { topic, partition: index } = topicPartition;
    if (!canBeFuture(topicPartition)) return ErrorCode.INVALID_TOPIC_EXCEPTION;
    const state = this.logDirectories.states().find((one) => one.path === path);
    if (state === undefined) return ErrorCode.LOG_DIR_NOT_FOUND;
    const { directory: target, offlineReason, isCordoned } = state;
    if (target === null || offlineReason !== null) return ErrorCode.KAFKA_STORAGE_ERROR;
    if (isCordoned) return ErrorCode.INVALID_REPLICA_ASSIGNMENT;
    const name = formatTopicPartition(topic, index);
    if (this.#failedOpens.has(name)) return ErrorCode.KAFKA_STORAGE_ERROR;
    const partition = this.#byName.get(topic)?.partitions[index];
    if (partition === undefined) {
      this.#prefer(name, path);
      const image = this.#options.controller.image().topicByName(topic);
      return image?.partitions[index] === undefined
        ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        : ErrorCode.REPLICA_NOT_AVAILABLE;
    }
    const { promise, resolve, reject } = Promise.withResolvers<ErrorCode>();
    this.#enqueue(name, () => this.#turnTo(partition, target).then(resolve, reject));
    return await promise;
  }

  /** Records that a copy on its way to another directory lacks, as DescribeLogDirs counts them. */
  offsetLag({ topicPartition: { topic, partition }, endOffset }: Log): number {
    const found = this.#byName.get(topic)?.partitions[partition];
    return found === undefined ? -1 : Math.max(0, found.log.endOffset - endOffset);
  }

  async #turnTo(partition: Partition, target: LogDirectory): Promise<ErrorCode> {
    const { name, topicPartition } = partition.log;
    if (this.moves.targetOf(name) === target) return ErrorCode.NONE;
    await this.moves.cancel(name);
    if (this.#byId.get(partition.topicId)?.partitions[partition.partition] !== partition) {
      return ErrorCode.REPLICA_NOT_AVAILABLE;
    }
    const source = this.logDirectories.directoryOf(topicPartition);
    if (source === undefined || partition.log.offlineReason !== null) {
      return ErrorCode.KAFKA_STORAGE_ERROR;
    }
    if (source === target) return ErrorCode.NONE;
    try {
      await this.moves.begin(partition, { source, target });
      return ErrorCode.NONE;
    } catch (failure) {
      if (failure instanceof JobCancelledError) return ErrorCode.REPLICA_NOT_AVAILABLE;
      if (!(failure instanceof DiskError)) throw failure;
      const found = failure.message;
      this.#logger.error("Partition cannot be moved", {
        partition: name,
        path: target.path,
        found,
      });
      return ErrorCode.KAFKA_STORAGE_ERROR;
    }
  }

  /** The newest word counts; beyond the bound the oldest is forgotten, and placed like any other. */
  #prefer(name: string, path: string): void {
    this.#preferences.delete(name);
    this.#preferences.set(name, path);
    if (this.#preferences.size <= MAX_PREFERENCES) return;
    const [oldest] = this.#preferences.keys();
    this.#preferences.delete(oldest!);
  }

  #assignedDirectory(topicId: Uuid, index: number): Uuid | undefined {
    const { controller, nodeId } = this.#options;
    const image = controller.image().topicById(topicId)?.partitions[index];
    return image?.directories[image.replicas.indexOf(nodeId)];
  }

  #openFailed(topic: TopicImage, index: number, failure: DiskError | LogDirectoryError): void {
    const name = formatTopicPartition(topic.name, index);
    if (!this.#failedOpens.has(name)) {
      const fields = { partition: name, found: failure.message };
      // Of a directory that is away its thousands of partitions need no line each.
      if (this.#away.delete(name)) this.#logger.debug("Partition cannot be opened", fields);
      else this.#logger.error("Partition cannot be opened", fields);
    }
    this.#failedOpens.add(name);
    if (failure instanceof DiskError && PASSING_CODES.has(failure.code)) {
      this.#reopenLater(topic, index);
    }
    this.#tellReady(name, refusal(ErrorCode.KAFKA_STORAGE_ERROR));
  }

  #reopenLater(topic: TopicImage, index: number): void {
    if (this.#isClosed) return;
    const timer = this.#options.clock.timer(REOPEN_MS, () => {
      this.#reopenTimers.delete(timer);
      this.#enqueue(formatTopicPartition(topic.name, index), () => this.#open(topic, index));
    });
    this.#reopenTimers.add(timer);
  }

  #entryOf({ id, name }: TopicImage): TopicPartitions {
    let entry = this.#byId.get(id);
    if (entry === undefined) {
      entry = { name, id, traffic: new TopicTraffic(), partitions: [] };
      this.#byId.set(id, entry);
      this.#byName.set(name, entry);
    }
    return entry;
  }

  #add(topic: TopicImage, partition: Partition): void {
    this.#entryOf(topic).partitions[partition.partition] = partition;
    this.#listed = null;
    const image = this.#options.controller.image();
    const newest = image.topicById(topic.id)?.partitions[partition.partition];
    if (newest !== undefined) this.#update(partition, newest);
    partition.updateConfig(this.#configOf(topic.name));
    this.#tellReady(partition.log.name, usable(partition));
  }

  /** It is served no more. Returns: false where it was not. */
  #drop(partition: Partition): boolean {
    const { topicId, partition: index } = partition;
    const entry = this.#byId.get(topicId);
    if (entry?.partitions[index] !== partition) return false;
    delete entry.partitions[index];
    this.#listed = null;
    this.#repairs.forget(partition);
    this.#fetchers.drop(partition);
    partition.close(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    return true;
  }

  /** The replica was moved to other nodes: it goes, with its log. */
  #letGo(topic: TopicImage, partition: Partition): void {
    const { partition: index } = partition;
    this.#drop(partition);
    const name = formatTopicPartition(topic.name, index);
    this.#enqueue(name, () => this.#deleteLog(topic, index, name));
  }

  #delete(topic: TopicImage): void {
    const entry = this.#byId.get(topic.id);
    this.#byId.delete(topic.id);
    this.#listed = null;
    if (this.#byName.get(topic.name) === entry) this.#byName.delete(topic.name);
    for (const partition of entry?.partitions ?? []) {
      if (partition === undefined) continue;
      this.#repairs.forget(partition);
      this.#fetchers.drop(partition);
      partition.close(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    }
    for (const { partition } of topic.partitions) {
      const name = formatTopicPartition(topic.name, partition);
      this.#failedOpens.delete(name);
      this.#unassigned.delete(name);
      this.#enqueue(name, () => this.#deleteLog(topic, partition, name));
    }
  }

  async #deleteLog(topic: TopicImage, partition: number, name: string): Promise<void> {
    const topicPartition = { topic: topic.name, partition };
    await this.moves.cancel(name);
    await this.#found!.delete(topicPartition, topic.id);
    for (const directory of this.logDirectories.online()) {
      directory.dropDamaged(topicPartition, topic.id);
      const log = directory.log(topic.name, partition);
      try {
        if (log === undefined) await directory.deleteUnopened(topicPartition, topic.id);
        else if (log.topicId === topic.id) await directory.deleteLog(topicPartition);
      } catch (failure) {
        if (!(failure instanceof DiskError)) throw failure;
        this.#logger.error("Deleted partition cannot be moved away", {
          partition: name,
          directory: directory.path,
          found: failure.message,
        });
      }
    }
  }

  #configOf(topic: string): TopicConfig {
    const { config, controller } = this.#options;
    const overrides = controller.image().configs("topic", topic);
    let known = this.#configs.get(overrides);
    if (known === undefined) {
      known = effectiveTopicConfig(config, overrides);
      this.#configs.set(overrides, known);
    }
    return known;
  }

  #updateConfig(topic: string): void {
    const entry = this.#byName.get(topic);
    if (entry === undefined) return;
    const config = this.#configOf(topic);
    for (const partition of entry.partitions) partition?.updateConfig(config);
  }

  #updateAllConfigs(): void {
    for (const topic of this.#byName.keys()) this.#updateConfig(topic);
  }

  /** Work on one partition runs in order; over partitions, at most `OPENS_AT_ONCE` at a time. */
  #enqueue(name: string, work: () => Promise<Rest>): void {
    const before = this.#chains.get(name) ?? Promise.resolve();
    const mine: Promise<void> = before.then(() => this.#turns.run(name, work))
      .then((rest) => rest?.())
      .then(() => {
        if (this.#chains.get(name) === mine) this.#chains.delete(name);
        if (this.#chains.size === 0) this.#progress.finish();
      });
    this.#chains.set(name, mine);
  }

  #tellReady(name: string, what: Partition | PartitionRefusal): void {
    const waiters = this.#readyWaiters.get(name);
    this.#readyWaiters.delete(name);
    for (const tell of waiters ?? []) tell(what);
  }
}

function lagLimits(config: Config): LagLimits {
  return {
    maxLagMs: config.number("replica.lag.time.max.ms"),
    maxSilenceMs: config.number("weir.replica.silence.max.ms"),
  };
}

function online(partition: Partition): Partition | PartitionRefusal {
  if (partition.log.offlineReason === null) return partition;
  return { error: ErrorCode.KAFKA_STORAGE_ERROR, image: partition.image };
}

function usable(partition: Partition): Partition | PartitionRefusal {
  if (partition.isLeader || partition.log.offlineReason !== null) return online(partition);
  return { error: ErrorCode.NOT_LEADER_OR_FOLLOWER, image: partition.image };
}

function refusal(error: ErrorCode): PartitionRefusal {
  return { error, image: null };
}

/** Tells a partition from a refusal. */
export function isRefusal(found: Partition | PartitionRefusal): found is PartitionRefusal {
  assert(found !== undefined);
  return !(found instanceof Partition);
}
