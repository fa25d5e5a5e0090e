/**
 * A group coordinator with the real controller and the real logs on a simulated disk and clock, which can
 * be stopped, killed, or lose power.
 */

import assert from "node:assert/strict";
import { Config } from "../../../broker/config/config.ts";
import { controllerSettings } from "../../../broker/controller/config_rules.ts";
import { Controller } from "../../../broker/controller/controller.ts";
import { GROUP_METADATA_TOPIC } from "../../../broker/controller/internal_topics.ts";
import { GroupCoordinator } from "../../../broker/groups/coordinator.ts";
import { coordinatorLogOpener } from "../../../broker/coordination/partition_log.ts";
import { groupCoordinatorSettings } from "../../../broker/groups/settings.ts";
import { ReplicaManager } from "../../../broker/partitions/replica_manager.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { type Uuid, ZERO_UUID } from "../../../protocol/types.ts";
import { LogDirectories } from "../../../storage/log_directories.ts";
import { ProcessClock } from "../../sim/process_clock.ts";
import { SimClock } from "../../sim/sim_clock.ts";
import { SimDisk } from "../../sim/sim_disk.ts";
import { SimLogger } from "../../sim/sim_logger.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import { CLUSTER_ID, newTopic, NODE_ID, openMetadataLog } from "../controller/harness.ts";
import { liveBroker } from "../live_broker.ts";
import { SimWorkers } from "../../sim/sim_workers.ts";
import { NO_PEERS } from "../partitions/harness.ts";

const METADATA_DIRECTORY = "/metadata";

/** Settings that tests share: few partitions, short delays. */
const FLAGS = {
  "offsets.topic.num.partitions": "4",
  "group.initial.rebalance.delay.ms": "0",
  // Hours go by here, and nobody else is there who could miss a heartbeat.
  "broker.heartbeat.interval.ms": "60000",
  "broker.session.timeout.ms": "600000",
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
  logDirectories!: LogDirectories;
  replicaManager!: ReplicaManager;

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
    harness.disk.makeDirectory(METADATA_DIRECTORY);
    await harness.run(harness.disk.syncDirectory("/"));
    await harness.open();
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
        log: await openMetadataLog(this.disk, clock, this.logger, METADATA_DIRECTORY),
        nodeId: NODE_ID,
        clusterId: CLUSTER_ID,
        // Another stream each time, as entropy would be.
        random: this.random.fork(`controller ${this.clock.monotonicMs()}`),
        settings: controllerSettings(this.config),
        onFailure: (message) => assert.fail(message),
      });
    })());
    this.logDirectories = await this.run(LogDirectories.open({
      disk: this.disk,
      clock,
      random: this.random.fork("directory"),
      logger: this.logger,
      workers: new SimWorkers({ disk: this.disk, clock, logger: this.logger }),
      paths: ["/data"],
      metadataPath: "/data",
      clusterId: CLUSTER_ID,
      nodeId: NODE_ID,
    }));
    const { lifecycle } = liveBroker({
      nodeId: NODE_ID,
      clusterId: CLUSTER_ID,
      clock,
      random: this.random.fork(`broker ${this.clock.monotonicMs()}`),
      config: this.config,
      controller: this.controller,
      logDirectories: this.logDirectories,
    });
    lifecycle.start();
    lifecycle.setReady();
    await this.run(lifecycle.unfenced);
    this.replicaManager = new ReplicaManager({
      peers: NO_PEERS,
      proposeIsr: () => {},
      nodeId: NODE_ID,
      clock,
      logger: this.logger,
      config: this.config,
      controller: this.controller,
      logDirectories: this.logDirectories,
      workers: new SimWorkers({ disk: this.disk, clock, logger: this.logger }),
    });
    this.replicaManager.start();
    this.coordinatorClock = new ProcessClock(clock);
    this.coordinator = new GroupCoordinator({
      nodeId: NODE_ID,
      clock: this.coordinatorClock,
      random: this.random.fork(`coordinator ${this.clock.monotonicMs()}`),
      logger: this.logger,
      settings: groupCoordinatorSettings(this.config),
      controller: this.controller,
      holdsLease: () => true,
      openLog: coordinatorLogOpener(this.replicaManager, GROUP_METADATA_TOPIC),
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
}
