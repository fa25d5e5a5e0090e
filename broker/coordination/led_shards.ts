/**
 * The partitions of a coordinator's topic that this node leads, each with a shard that knows what lies in it.
 *
 *     key ──hash──► partition of the topic ──► shard, while this node leads it
 *
 * Shards follow the metadata image: one is opened when this node becomes leader of its partition, and closed when
 * it ceases to be. They are opened at the same time and read a few at once, so that loading takes little memory.
 *
 * Invariant: of one partition no two nodes answer at a time. This one does only while its lease says that what it
 * knows of the metadata may be acted on, and not before the leader before it does so no more (decision 0050).
 */

import assert from "node:assert/strict";
import { ErrorCode, errorName } from "../../protocol/errors.ts";
import type { Clock, Logger } from "../../storage/platform.ts";
import { TurnQueue } from "../../storage/turn_queue.ts";
import type { Controller } from "../controller/controller.ts";
import type {
  MetadataChanges,
  MetadataImage,
  PartitionImage,
} from "../controller/metadata_image.ts";
import type { TopicMaker } from "../controller/remote_controller.ts";
import type { NewTopic } from "../controller/topic_changes.ts";
import type { CoordinatorLog } from "./coordinator_log.ts";
import { FormerLeaders } from "./former_leaders.ts";

/** Partitions that are read at the same time while they load. */
const READS_AT_ONCE = 4;
/** Time between two looks whether the leader before this one can act no more. */
const DOUBT_POLL_MS = 10;

/** A refusal for a whole request. */
export interface CoordinatorRefusal {
  readonly error: ErrorCode;
}

/** What one led partition holds. */
export interface Shard {
  /** What a request for one of its keys is answered with; NONE when it can be served. */
  readonly availability: ErrorCode;
  /** Returns: when it is served, has failed (the log says why), or was closed meanwhile. */
  load(): Promise<void>;
  /** Ends it: who waits in it learns `error`. */
  close(error: ErrorCode): void;
}

/** What a shard is opened with. */
export interface ShardOpening {
  readonly partition: number;
  /** The epoch in which this node leads the partition. */
  readonly leaderEpoch: number;
  /** Null when the partition is not led here after all, or its disk has failed. */
  readonly openLog: () => Promise<CoordinatorLog | null>;
  /** Does `read` when it is this shard's turn: reading takes memory, and opening may take long. */
  readonly inTurn: (read: () => Promise<void>) => Promise<void>;
}

/** What every coordinator is made of. */
export interface CoordinationOptions {
  readonly nodeId: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly controller: Pick<Controller, "image" | "subscribe"> & TopicMaker;
  /** False while another node may lead by now what this one leads by its metadata. */
  readonly holdsLease: () => boolean;
  /** The log of a partition of the topic once it is open; null when it is not led here. */
  readonly openLog: (partition: number) => CoordinatorLog | null | Promise<CoordinatorLog | null>;
}

/** How the topic is called and made, and what its partitions are opened as. */
export interface LedShardsOptions<S extends Shard> extends CoordinationOptions {
  readonly topic: string;
  /** How it is made where there are so many brokers. */
  readonly newTopic: (brokerCount: number) => NewTopic;
  /** `broker.session.timeout.ms`. */
  readonly brokerSessionTimeoutMs: number;
  readonly open: (opening: ShardOpening) => S;
}

interface LedShard<S> {
  readonly shard: S;
  readonly leaderEpoch: number;
  readonly closing: AbortController;
}

/** The shards of one topic on this node. */
export class LedShards<S extends Shard> {
  readonly #options: LedShardsOptions<S>;
  readonly #led = new Map<number, LedShard<S>>();
  readonly #formerLeaders: FormerLeaders;
  readonly #turns: TurnQueue;
  readonly #loading = new Set<Promise<void>>();
  #creating: Promise<ErrorCode> | null = null;
  #isRunning = false;

  constructor(options: LedShardsOptions<S>) {
    this.#options = options;
    const { nodeId, clock, brokerSessionTimeoutMs: sessionTimeoutMs } = options;
    this.#formerLeaders = new FormerLeaders({ nodeId, sessionTimeoutMs });
    this.#turns = new TurnQueue({ clock, maxAtOnce: () => READS_AT_ONCE });
  }

  /** From now on `follow` is called with every change of the metadata. */
  start(): void {
    assert(!this.#isRunning);
    this.#isRunning = true;
  }

  /** Closes every shard. Returns: when no loading is under way any more. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    for (const led of this.#led.values()) close(led, ErrorCode.COORDINATOR_NOT_AVAILABLE);
    this.#led.clear();
    await this.loaded();
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** Resolves when every shard opened so far has loaded, failed or been closed. */
  async loaded(): Promise<void> {
    await Promise.all(this.#loading);
  }

  /** All shards, whatever their state. */
  *shards(): Generator<S> {
    for (const { shard } of this.#led.values()) yield shard;
  }

  /** The partition that a key belongs to. */
  partitionFor(key: string): number {
    const { controller, topic, newTopic } = this.#options;
    const image = controller.image().topicByName(topic);
    return partitionForKey(key, image?.partitions.length ?? newTopic(1).partitionCount);
  }

  /** Who leads a key's partition; makes the topic when there is none yet. */
  async find(
    key: string,
  ): Promise<
    { readonly error: typeof ErrorCode.NONE; readonly leader: number } | CoordinatorRefusal
  > {
    if (!this.#isRunning) return { error: ErrorCode.COORDINATOR_NOT_AVAILABLE };
    const error = await this.#ensureTopic();
    if (error !== ErrorCode.NONE) return { error };
    const { controller, topic, nodeId, holdsLease } = this.#options;
    const image = controller.image().topicByName(topic);
    const leader = image?.partitions[this.partitionFor(key)]?.leader ?? -1;
    const isDoubtful = leader === nodeId && !holdsLease();
    if (leader < 0 || isDoubtful) return { error: ErrorCode.COORDINATOR_NOT_AVAILABLE };
    return { error: ErrorCode.NONE, leader };
  }

  /** The shard of a key, or why it cannot be served here. */
  shardOf(key: string): S | CoordinatorRefusal {
    return this.shardAt(this.partitionFor(key));
  }

  /** The shard of a partition, or why it cannot be served here. */
  shardAt(partition: number): S | CoordinatorRefusal {
    if (!this.#isRunning) return { error: ErrorCode.COORDINATOR_NOT_AVAILABLE };
    const led = this.#led.get(partition);
    if (led === undefined) return { error: ErrorCode.NOT_COORDINATOR };
    const error = this.#availabilityOf(led);
    return error === ErrorCode.NONE ? led.shard : { error };
  }

  /** Why not everything that is led here can be listed now; NONE when it can. */
  get listingError(): ErrorCode {
    const isHere = this.#isRunning && (this.#led.size === 0 || this.#options.holdsLease());
    if (!isHere) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    const { COORDINATOR_LOAD_IN_PROGRESS } = ErrorCode;
    const isLoading = [...this.shards()].some((shard) => (
      shard.availability === COORDINATOR_LOAD_IN_PROGRESS
    ));
    return isLoading ? COORDINATOR_LOAD_IN_PROGRESS : ErrorCode.NONE;
  }

  /** True while this node answers for the keys of a partition; at most one node does. */
  answersFor(partition: number): boolean {
    const led = this.#led.get(partition);
    return this.#isRunning && led !== undefined && this.#availabilityOf(led) === ErrorCode.NONE;
  }

  #availabilityOf({ shard }: LedShard<S>): ErrorCode {
    // The one answer at which clients of every age look for the coordinator anew.
    return this.#options.holdsLease() ? shard.availability : ErrorCode.NOT_COORDINATOR;
  }

  // ---- the topic ------------------------------------------------------------------------------------

  #ensureTopic(): Promise<ErrorCode> {
    const { controller, topic } = this.#options;
    if (controller.image().topicByName(topic) !== undefined) return Promise.resolve(ErrorCode.NONE);
    this.#creating ??= this.#createTopic().finally(() => {
      this.#creating = null;
    });
    return this.#creating;
  }

  async #createTopic(): Promise<ErrorCode> {
    const { controller, newTopic, logger, topic } = this.#options;
    const brokers = [...controller.image().brokers.values()].filter(({ fenced }) => !fenced);
    const [result] = await controller.createTopics([newTopic(brokers.length)]);
    if (result === undefined) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    if (result.error === ErrorCode.NONE || result.error === ErrorCode.TOPIC_ALREADY_EXISTS) {
      await this.loaded();
      return ErrorCode.NONE;
    }
    const message = "message" in result ? result.message : "";
    const error = errorName(result.error);
    logger.warn("Cannot create the topic of a coordinator", { topic, error, message });
    return ErrorCode.COORDINATOR_NOT_AVAILABLE;
  }

  // ---- metadata -------------------------------------------------------------------------------------

  /** Opens and closes shards as the metadata says; whoever applies it to the logs must have heard before. */
  follow(image: MetadataImage, changes: MetadataChanges): void {
    const { topic: name, clock } = this.#options;
    const topic = image.topicByName(name);
    const isTouched = changes.createdTopics.some((created) => created.name === name) ||
      changes.deletedTopics.some((deleted) => deleted.name === name) ||
      changes.changedPartitions.some((changed) => changed.topic.name === name);
    if (!isTouched) return;
    const nowMs = clock.monotonicMs();
    for (const changed of changes.changedPartitions) {
      if (changed.topic.name === name) this.#formerLeaders.note(changed, nowMs);
    }
    for (const partition of [...this.#led.keys()]) {
      if (topic?.partitions[partition] === undefined) this.#resign(partition);
    }
    for (const partition of topic?.partitions ?? []) this.#followPartition(partition);
  }

  #followPartition({ partition, leader, leaderEpoch }: PartitionImage): void {
    const led = this.#led.get(partition);
    const isLeader = leader === this.#options.nodeId;
    if (led !== undefined && isLeader && led.leaderEpoch === leaderEpoch) return;
    if (led !== undefined) this.#resign(partition);
    if (!isLeader) return;
    const closing = new AbortController();
    const shard = this.#options.open({
      partition,
      leaderEpoch,
      openLog: () => this.#openLog(partition, closing.signal),
      inTurn: (read) => this.#turns.run(`${partition} ${leaderEpoch}`, read),
    });
    this.#led.set(partition, { shard, leaderEpoch, closing });
    const load = shard.load().finally(() => this.#loading.delete(load));
    this.#loading.add(load);
  }

  /** The log of a partition, once no other broker can take itself for its leader. */
  async #openLog(partition: number, signal: AbortSignal): Promise<CoordinatorLog | null> {
    const { openLog, controller, clock } = this.#options;
    const log = await openLog(partition);
    const isInDoubt = (found: CoordinatorLog) =>
      this.#formerLeaders.mayAct(partition, {
        nowMs: clock.monotonicMs(),
        brokers: controller.image().brokers,
        isFollowedBy: (id) => found.isFollowedBy(id),
      });
    while (log !== null && !signal.aborted && log.isLed && isInDoubt(log)) {
      await clock.sleep(DOUBT_POLL_MS, signal);
    }
    return log;
  }

  #resign(partition: number): void {
    const led = this.#led.get(partition);
    if (led === undefined) return;
    this.#led.delete(partition);
    close(led, ErrorCode.NOT_COORDINATOR);
  }
}

function close<S extends Shard>({ shard, closing }: LedShard<S>, error: ErrorCode): void {
  closing.abort();
  shard.close(error);
}

/** Partition of a key: Java's `String.hashCode`, without its sign, modulo the partition count. */
export function partitionForKey(key: string, partitionCount: number): number {
  let hash = 0;
  for (let i = 0; i < key.length; i++) hash = (Math.imul(hash, 31) + key.charCodeAt(i)) | 0;
  // Kafka takes 0 for the absolute value of the one int32 that has none.
  return (hash === -0x8000_0000 ? 0 : Math.abs(hash)) % partitionCount;
}
