/**
 * A group coordinator with the real controller and the real logs on a simulated disk and clock, which can
 * be stopped, killed, or lose power.
 */

import assert from "node:assert/strict";
import { Config } from "../../../broker/config/config.ts";
import { controllerSettings } from "../../../broker/controller/config_rules.ts";
import { Controller } from "../../../broker/controller/controller.ts";
import { GROUP_METADATA_TOPIC } from "../../../broker/controller/internal_topics.ts";
import { METADATA_TOPIC } from "../../../broker/controller/quorum.ts";
import { GroupCoordinator } from "../../../broker/groups/coordinator.ts";
import {
  type GroupLog,
  type GroupLogRead,
  PendingAppends,
} from "../../../broker/groups/group_log.ts";
import { groupCoordinatorSettings } from "../../../broker/groups/settings.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { offset, type Uuid, ZERO_UUID } from "../../../protocol/types.ts";
import { Flusher } from "../../../storage/flusher.ts";
import { Log } from "../../../storage/log.ts";
import { DEFAULT_LOG_CONFIG } from "../../../storage/log_config.ts";
import type { Clock, Timer } from "../../../storage/platform.ts";
import { SimClock } from "../../sim/sim_clock.ts";
import { SimDisk } from "../../sim/sim_disk.ts";
import { SimLogger } from "../../sim/sim_logger.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import {
  CLUSTER_ID,
  DIRECTORY_ID,
  newTopic,
  NODE_ID,
  openMetadataLog,
} from "../controller/harness.ts";

/** The clock of one process: its timers end with it. */
class ProcessClock implements Clock {
  readonly #clock: Clock;
  readonly #timers = new Set<Timer>();
  #isDead = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }
  /** Timers that have not fired or been cancelled. */
  get pendingTimers(): number {
    return this.#timers.size;
  }
  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }
  wallMs() {
    return this.#clock.wallMs();
  }
  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => void this.timer(delayMs, resolve));
  }
  timer(delayMs: number, callback: () => void): Timer {
    if (this.#isDead) return { cancel() {} };
    const timer = this.#clock.timer(delayMs, () => {
      this.#timers.delete(handle);
      callback();
    });
    const handle = {
      cancel: () => {
        this.#timers.delete(handle);
        timer.cancel();
      },
    };
    this.#timers.add(handle);
    return handle;
  }
  die(): void {
    this.#isDead = true;
    for (const timer of [...this.#timers]) timer.cancel();
  }
}

/** A log as the coordinator sees it, without the replica manager in between. */
class LogGroupLog implements GroupLog {
  readonly #log: Log;
  readonly #pending = new PendingAppends();

  constructor(log: Log) {
    this.#log = log;
    log.onSynced((syncedOffset) => this.#pending.advance(syncedOffset));
    log.onOffline(() => this.#pending.fail(ErrorCode.KAFKA_STORAGE_ERROR));
  }
  get startOffset(): number {
    return this.#log.logStartOffset;
  }
  get endOffset(): number {
    return this.#log.endOffset;
  }
  append(batch: Uint8Array, onSettled: (error: ErrorCode) => void): void {
    const result = this.#log.appendAsLeader(batch, { leaderEpoch: 0, origin: "coordinator" });
    if (!("lastOffset" in result)) {
      onSettled(result.error);
      return;
    }
    this.#pending.add(result.lastOffset + 1, onSettled);
    this.#log.sync();
  }
  read(fromOffset: number, maxBytes: number): GroupLogRead {
    return this.#log.read(offset(fromOffset), { maxBytes, minOneMessage: true });
  }
}

/** Settings that tests share: few partitions, short delays. */
const FLAGS = {
  "offsets.topic.num.partitions": "4",
  "group.initial.rebalance.delay.ms": "0",
};

/** One node with a group coordinator. */
export class GroupHarness {
  readonly clock = new SimClock();
  readonly logger = new SimLogger();
  readonly random: SimRandom;
  readonly disk: SimDisk;
  readonly config: Config;
  process!: ProcessClock;
  /** The coordinator's own, so that a test can see what timers it leaves. */
  coordinatorClock!: ProcessClock;
  controller!: Controller;
  coordinator!: GroupCoordinator;
  readonly #logs = new Map<string, Log>();

  private constructor(seed: number, flags: Readonly<Record<string, string>>, maxSyncMs: number) {
    this.random = new SimRandom(seed);
    this.disk = new SimDisk({ random: this.random.fork("disk"), clock: this.clock, maxSyncMs });
    this.config = Config.load({ flags: { ...FLAGS, ...flags } });
  }

  /** Starts on an empty disk with a topic `t` of 32 partitions. */
  static async start(
    { seed = 1, flags = {}, maxSyncMs = 3 }: {
      readonly seed?: number;
      readonly flags?: Readonly<Record<string, string>>;
      readonly maxSyncMs?: number;
    } = {},
  ): Promise<GroupHarness> {
    const harness = new GroupHarness(seed, flags, maxSyncMs);
    harness.disk.makeDirectory(`/data/${METADATA_TOPIC}-0`);
    await harness.run(harness.disk.syncDirectory("/"));
    await harness.run(harness.disk.syncDirectory("/data"));
    await harness.open();
    await harness.run(harness.controller.registerBroker({
      brokerId: NODE_ID,
      endpoints: [{ name: "PLAINTEXT", host: "host1", port: 9092, securityProtocol: 0 }],
      features: new Map(),
      rack: null,
      logDirs: [DIRECTORY_ID],
    }));
    await harness.makeTopic("t", 32);
    return harness;
  }

  /** Starts the process. */
  async open(): Promise<void> {
    const clock = this.process = new ProcessClock(this.clock);
    this.controller = await this.run((async () => {
      return Controller.start({
        disk: this.disk,
        clock,
        logger: this.logger,
        log: await openMetadataLog(this.disk, clock, this.logger),
        nodeId: NODE_ID,
        clusterId: CLUSTER_ID,
        random: this.random.fork("controller"),
        settings: controllerSettings(this.config),
        onFailure: (message) => assert.fail(message),
      });
    })());
    this.coordinatorClock = new ProcessClock(clock);
    this.coordinator = new GroupCoordinator({
      nodeId: NODE_ID,
      clock: this.coordinatorClock,
      random: this.random.fork(`coordinator ${this.clock.monotonicMs()}`),
      logger: this.logger,
      settings: groupCoordinatorSettings(this.config),
      controller: this.controller,
      openLog: (partition) => this.#openLog(partition),
    });
    this.coordinator.start();
  }

  /** Power is lost; what was not synced is kept, lost or torn. */
  crash(): void {
    this.#end();
    this.disk.crash();
  }

  /** The process is killed; the page cache stays. */
  kill(): void {
    this.#end();
    this.disk.kill();
  }

  #end(): void {
    this.controller.stop();
    this.process.die();
    this.#logs.clear();
  }

  /** Runs virtual time until `promise` settles. */
  run<T>(promise: Promise<T>): Promise<T> {
    return this.clock.run(promise);
  }

  /** Makes `__consumer_offsets` and waits until its groups can be served. */
  async ready(): Promise<void> {
    const found = await this.run(this.coordinator.find("any"));
    assert.equal(found.error, ErrorCode.NONE);
    await this.run(this.coordinator.loaded());
  }

  async makeTopic(name: string, partitionCount: number): Promise<Uuid> {
    const [made] = await this.run(
      this.controller.createTopics([newTopic(name, { partitionCount })]),
    );
    assert.equal(made?.error, ErrorCode.NONE);
    return this.controller.image().topicByName(name)?.id ?? ZERO_UUID;
  }

  /** The log of one partition of `__consumer_offsets`, as it is open now. */
  log(partition: number): Log | undefined {
    return this.#logs.get(directoryOf(partition));
  }

  async #openLog(partition: number): Promise<GroupLog | null> {
    const directory = directoryOf(partition);
    if (!this.disk.exists(directory)) {
      this.disk.makeDirectory(directory);
      await this.disk.syncDirectory("/data");
    }
    const log = await Log.open({
      disk: this.disk,
      clock: this.process,
      logger: this.logger,
      directory,
      topicPartition: { topic: GROUP_METADATA_TOPIC, partition },
      topicId: ZERO_UUID,
      config: {
        ...DEFAULT_LOG_CONFIG,
        cleanupPolicy: ["compact"],
        segmentBytes: 100 * 1024 * 1024,
      },
      producerIdExpirationMs: 86_400_000,
      hadCleanShutdown: false,
      recoveryPoint: offset(0),
      logStartOffset: offset(0),
      flusher: new Flusher({ clock: this.process }),
    });
    if (log.offlineReason !== null) return null;
    this.#logs.set(directory, log);
    return new LogGroupLog(log);
  }
}

function directoryOf(partition: number): string {
  return `/data/${GROUP_METADATA_TOPIC}-${partition}`;
}
