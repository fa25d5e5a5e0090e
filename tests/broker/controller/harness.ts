/** A controller on a simulated disk and clock, with the real log under it, which can be crashed. */

import assert from "node:assert/strict";
import { Config } from "../../../broker/config/config.ts";
import { controllerSettings } from "../../../broker/controller/config_rules.ts";
import { Controller } from "../../../broker/controller/controller.ts";
import { SUPPORTED_FEATURES } from "../../../broker/controller/feature_changes.ts";
import { METADATA_LOG_CONFIG, METADATA_TOPIC } from "../../../broker/controller/quorum.ts";
import type { NewTopic } from "../../../broker/controller/topic_changes.ts";
import type { RegistrationRequest } from "../../../broker/controller/broker_registrations.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { METADATA_TOPIC_ID, offset, type Uuid } from "../../../protocol/types.ts";
import { Flusher } from "../../../storage/flusher.ts";
import { Log } from "../../../storage/log.ts";
import type { Clock, Disk, Random } from "../../../storage/platform.ts";
import { randomUuid } from "../../../storage/random_uuid.ts";
import { SimClock } from "../../sim/sim_clock.ts";
import { SimDisk } from "../../sim/sim_disk.ts";
import { SimLogger } from "../../sim/sim_logger.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import { SimWorkers } from "../../sim/sim_workers.ts";

/** This node, its cluster and its log directory. */
export const NODE_ID = 1;
/** This node where it is no broker. */
export const CONTROLLER_ID = 100;
export const CLUSTER_ID = "AIqYhQxJTvSOFhn3sVhHlw";
export const DIRECTORY_ID = "AbqYhQxJTvSOFhn3sVhHlw" as Uuid;

/** Where a test's controller lives. */
export class Harness {
  readonly random: SimRandom;
  readonly clock = new SimClock();
  readonly disk: SimDisk;
  readonly logger = new SimLogger();
  readonly config: Config;
  /** What `onFailure` was told. */
  readonly failures: string[] = [];
  /** There are no partitions behind this controller, so none has to be waited for. */
  readonly topicsReady = () => Promise.resolve();
  log!: Log;
  controller!: Controller;
  readonly #nodeId: number;
  #maxChangesAtOnce: number | undefined;
  #starts = 0;

  private constructor(seed: number, flags: Readonly<Record<string, string>>, nodeId: number) {
    this.#nodeId = nodeId;
    this.random = new SimRandom(seed);
    this.disk = new SimDisk({ random: this.random.fork("disk") });
    // Nobody sends heartbeats here.
    this.config = Config.load({ flags: { "broker.session.timeout.ms": "86400000", ...flags } });
  }

  /** Starts a controller on an empty disk, with this node and `others` registered. */
  static async start(
    { seed = 1, flags = {}, others = [], isController = false, maxChangesAtOnce }: {
      readonly seed?: number;
      readonly maxChangesAtOnce?: number | undefined;
      /** True for a node that is no broker: nobody is registered. */
      readonly isController?: boolean;
      readonly flags?: Readonly<Record<string, string>>;
      readonly others?: readonly { readonly id: number; readonly rack: string | null }[];
    } = {},
  ): Promise<Harness> {
    const harness = new Harness(seed, flags, isController ? CONTROLLER_ID : NODE_ID);
    harness.#maxChangesAtOnce = maxChangesAtOnce;
    // What the log directory does when it makes a partition's directory.
    harness.disk.makeDirectory(`/data/${METADATA_TOPIC}-0`);
    for (const path of ["/", "/data"]) await harness.disk.syncDirectory(path);
    await harness.open();
    if (isController) return harness;
    for (const { id, rack } of [{ id: NODE_ID, rack: null }, ...others]) {
      await harness.register(id, rack);
    }
    return harness;
  }

  async open(): Promise<void> {
    this.log = await openMetadataLog(this.disk, this.clock, this.logger);
    this.controller = await Controller.start({
      disk: this.disk,
      clock: this.clock,
      logger: this.logger,
      log: this.log,
      nodeId: this.#nodeId,
      clusterId: CLUSTER_ID,
      // Another stream each time, as entropy would be.
      random: this.random.fork(`controller ${this.#starts++}`),
      settings: controllerSettings(this.config),
      ...(this.#maxChangesAtOnce !== undefined && { maxChangesAtOnce: this.#maxChangesAtOnce }),
      onFailure: (message) => this.failures.push(message),
    });
  }

  async register(id: number, rack: string | null = null): Promise<void> {
    await registerBroker(this.controller, { brokerId: id, rack, random: this.random });
  }

  /** Power is lost, and the controller starts again from what is on the disk. */
  async crashAndReopen(): Promise<void> {
    this.controller.stop();
    this.disk.crash();
    await this.open();
  }
}

/** Has a broker register and take part; it sends no heartbeats. Returns: its epoch. */
export async function registerBroker(
  controller: Controller,
  { brokerId, random, ...more }:
    & { readonly brokerId: number; readonly random: Random }
    & Partial<RegistrationRequest>,
): Promise<number> {
  const directory = brokerId === NODE_ID ? DIRECTORY_ID : randomUuid(random);
  const registered = await controller.brokerRegistration({
    brokerId,
    clusterId: controller.image().clusterId,
    incarnationId: randomUuid(random),
    endpoints: [{
      name: "PLAINTEXT",
      host: `host${brokerId}`,
      port: 9092,
      securityProtocol: 0,
    }],
    features: SUPPORTED_FEATURES,
    rack: null,
    logDirs: [directory],
    previousBrokerEpoch: controller.image().brokers.get(brokerId)?.epoch ?? -1,
    ...more,
  });
  assert(registered.error === ErrorCode.NONE && "brokerEpoch" in registered);
  const { brokerEpoch } = registered;
  const reply = await controller.brokerHeartbeat({
    brokerId,
    brokerEpoch,
    metadataOffset: controller.image().offset,
    wantFence: false,
    wantShutDown: false,
    offlineLogDirs: [],
    cordonedLogDirs: null,
  });
  assert("isFenced" in reply && !reply.isFenced);
  return brokerEpoch;
}

/** Opens `__cluster_metadata-0` under `/data` as a broker does that was not shut down cleanly. */
export function openMetadataLog(
  disk: Disk,
  clock: Clock,
  logger: SimLogger,
  directory = `/data/${METADATA_TOPIC}-0`,
): Promise<Log> {
  return Log.open({
    disk,
    clock,
    logger,
    directory,
    topicPartition: { topic: METADATA_TOPIC, partition: 0 },
    topicId: METADATA_TOPIC_ID,
    config: METADATA_LOG_CONFIG,
    producerIdExpirationMs: 86_400_000,
    hadCleanShutdown: false,
    recoveryPoint: offset(0),
    logStartOffset: offset(0),
    flusher: new Flusher({ clock }),
    random: new SimRandom(1),
    workers: new SimWorkers({ disk, clock, logger, delayMs: 0 }),
  });
}

/** A topic with what a test does not care about filled in. */
export function newTopic(name: string, details: Partial<NewTopic> = {}): NewTopic {
  return {
    name,
    partitionCount: 1,
    replicationFactor: 1,
    assignments: [],
    configs: [],
    ...details,
  };
}
