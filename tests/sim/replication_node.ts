/**
 * One node of a replication world: the real partitions, logs, fetchers and data handlers on a disk and clock of its
 * own, with a broker's registration and heartbeats; the metadata comes to it late, and its requests go over links.
 */

import assert from "node:assert/strict";
import type { Api } from "../../broker/apis/api.ts";
import { fetchApi } from "../../broker/apis/fetch.ts";
import { listOffsetsApi } from "../../broker/apis/list_offsets.ts";
import { produceApi } from "../../broker/apis/produce.ts";
import { BrokerLifecycle } from "../../broker/broker_lifecycle.ts";
import { Config } from "../../broker/config/config.ts";
import type { Controller, ImageListener } from "../../broker/controller/controller.ts";
import { SUPPORTED_FEATURES } from "../../broker/controller/feature_changes.ts";
import type { MetadataImage } from "../../broker/controller/metadata_image.ts";
import { FetchSessions } from "../../broker/partitions/fetch_session.ts";
import { IsrChanges } from "../../broker/partitions/isr_changes.ts";
import type { Partition } from "../../broker/partitions/partition.ts";
import { isRefusal, ReplicaManager } from "../../broker/partitions/replica_manager.ts";
import { RACK_AWARE_SELECTOR } from "../../broker/partitions/read_replica.ts";
import type { Logger } from "../../storage/platform.ts";
import { LogDirectories } from "../../storage/log_directories.ts";
import { CLUSTER_ID } from "../broker/controller/harness.ts";
import { NO_VERIFIER } from "../broker/transactions/scripted_coordinator.ts";
import { ProcessClock } from "./process_clock.ts";
import { ProcessDisk } from "./process_disk.ts";
import type { ReplicationLinks } from "./replication_links.ts";
import { SimDisk } from "./sim_disk.ts";
import type { SimClock } from "./sim_clock.ts";

import type { SimRandom } from "./sim_random.ts";
import { SimWorkers } from "./sim_workers.ts";

/** Where a node keeps its data. */
const DATA = "/data";

/** What a node is made of. */
export interface ReplicationNodeOptions {
  readonly nodeId: number;
  readonly clock: SimClock;
  readonly random: SimRandom;
  readonly logger: Logger;
  readonly controller: Controller;
  readonly links: ReplicationLinks;
}

interface Running {
  readonly clock: ProcessClock;
  readonly disk: ProcessDisk;
  readonly replicaManager: ReplicaManager;
  readonly apis: ReadonlyMap<number, Api>;
}

interface Surroundings {
  readonly clock: ProcessClock;
  readonly random: SimRandom;
  readonly logDirectories: LogDirectories;
  readonly workers: SimWorkers;
}

/** A node. */
export class ReplicationNode {
  readonly nodeId: number;
  disk: SimDisk;
  /** Null while no process serves. */
  running: Running | null = null;
  readonly #options: ReplicationNodeOptions;
  readonly #config: Config;
  readonly #view: MetadataView;
  #process: { readonly clock: ProcessClock; readonly disk: ProcessDisk } | null = null;
  #starts = 0;

  constructor(options: ReplicationNodeOptions) {
    this.#options = options;
    this.nodeId = options.nodeId;
    this.#config = Config.load({
      flags: {
        "node.id": String(options.nodeId),
        "broker.rack": `rack${options.nodeId}`,
        "replica.fetch.backoff.ms": "200",
        "log.index.size.max.bytes": "80",
        "log.index.interval.bytes": "200",
      },
    });
    this.#view = new MetadataView(options);
    this.disk = this.#newDisk();
  }

  #newDisk(): SimDisk {
    const { random, clock } = this.#options;
    return new SimDisk({
      random: random.fork(`disk ${this.nodeId} ${this.#starts}`),
      clock,
      maxSyncMs: random.pick([1, 5, 30]),
      capacityBytes: 1e9,
    });
  }

  /** Starts a process on what the disk holds. Returns: when it serves, or has died on the way. */
  async start(): Promise<void> {
    assert(this.#process === null);
    const { clock: worldClock, random: root, logger, nodeId } = this.#options;
    const random = root.fork(`node ${nodeId} start ${this.#starts++}`);
    const clock = new ProcessClock(worldClock);
    const disk = new ProcessDisk(this.disk, () => clock.die());
    this.#process = { clock, disk };
    const workers = new SimWorkers({ disk, clock, logger });
    const logDirectories = await LogDirectories.open({
      disk,
      clock,
      random: random.fork("directory"),
      logger,
      workers,
      paths: [DATA],
      metadataPath: DATA,
      isCordoned: () => false,
      clusterId: CLUSTER_ID,
      nodeId,
      flusher: { maxDirtyBytes: 1e6 },
    });
    const surroundings = { clock, random, logDirectories, workers };
    const lifecycle = await this.#register(surroundings);
    const { replicaManager, apis } = this.#serve(surroundings);
    await replicaManager.settled();
    lifecycle.setReady();
    this.running = { clock, disk, replicaManager, apis };
  }

  /** Returns: once the metadata here knows of it. */
  async #register({ clock, random, logDirectories }: Surroundings): Promise<BrokerLifecycle> {
    const { logger, links, nodeId } = this.#options;
    const view = this.#view;
    view.detach();
    const channel = links.channelOf(nodeId);
    const lifecycle = new BrokerLifecycle({
      nodeId,
      clock,
      random,
      logger,
      settings: {
        heartbeatIntervalMs: 500,
        sessionTimeoutMs: this.#config.number("broker.session.timeout.ms"),
        registrationTimeoutMs: Infinity,
        directoryTimeoutMs: Infinity,
      },
      announcement: {
        endpoints: [{ name: "PLAINTEXT", host: String(nodeId), port: 9092, securityProtocol: 0 }],
        features: SUPPORTED_FEATURES,
        rack: this.#config.string("broker.rack"),
      },
      channel,
      controller: view,
      logDirectories,
      previousBrokerEpoch: () => -1,
      onFailure: (message) => assert.fail(message),
    });
    lifecycle.start();
    // What it led before is led under a new epoch, if at all: it must know that before it serves.
    await lifecycle.caughtUp;
    return lifecycle;
  }

  #serve({ clock, random, logDirectories, workers }: Surroundings) {
    const { logger, links, nodeId } = this.#options;
    const config = this.#config;
    const view = this.#view;
    const channel = links.channelOf(nodeId);
    const brokerEpoch = () => view.image().brokers.get(nodeId)?.epoch ?? -1;
    const isrChanges = new IsrChanges({ nodeId, clock, logger, channel, brokerEpoch });
    const replicaManager = new ReplicaManager({
      nodeId,
      clock,
      logger,
      config,
      controller: view,
      logDirectories,
      workers,
      peers: links.peersOf(nodeId),
      proposeIsr: (partition, proposal) => isrChanges.propose(partition, proposal),
    });
    const fetchSessions = new FetchSessions({
      clock,
      random: random.fork("sessions"),
      slots: 100,
      evictionMs: 120_000,
    });
    const apis = [
      produceApi({ replicaManager, config, transactionVerifier: NO_VERIFIER }),
      listOffsetsApi({ replicaManager, clock }),
      fetchApi({
        replicaManager,
        fetchSessions,
        nodeId,
        controller: view,
        replicaSelector: () => RACK_AWARE_SELECTOR,
        fetchMaxBytes: () => 1e6,
      }),
    ];
    replicaManager.start();
    return { replicaManager, apis: new Map(apis.map((api) => [api.key, api])) };
  }

  /** The process ends, in whatever it does. */
  die(how: "kill" | "power cut"): void {
    this.#process?.disk.die();
    this.#process = null;
    this.running = null;
    this.#view.detach();
    if (how === "kill") this.disk.kill();
    else this.disk.crash();
  }

  /** Gets an empty disk while it is down. */
  wipe(): void {
    assert(this.#process === null);
    this.disk = this.#newDisk();
  }

  get isDown(): boolean {
    return this.#process === null;
  }

  /** The partition where it is open here, whoever leads it. */
  partition(topic: string): Partition | null {
    for (const partition of this.running?.replicaManager.partitions() ?? []) {
      if (partition.topic === topic) return partition;
    }
    return null;
  }

  /** What it holds, for messages. */
  describe(topic: string): string {
    const partition = this.partition(topic);
    if (partition === null) return `node ${this.nodeId}: nothing open`;
    const { log, highWatermark, image, replicas } = partition;
    const followers = replicas === null
      ? ""
      : image.replicas.map((id) => `, ${id} at ${replicas.syncedOffsetOf(id)}`).join("");
    return `node ${this.nodeId}: leader ${image.leader} in epoch ${image.leaderEpoch}, log ` +
      `[${log.logStartOffset}, ${log.endOffset}), synced ${log.syncedOffset}, high watermark ` +
      `${highWatermark}, offline ${log.offlineReason}${followers}`;
  }

  /** True where this node believes to lead. */
  leads(topic: string): boolean {
    const found = this.running?.replicaManager.partition(topic, 0);
    return found !== undefined && !isRefusal(found);
  }
}

/** The controller's images as they come to a node: all of them, in order, late; none while the link is cut. */
class MetadataView {
  readonly #options: ReplicationNodeOptions;
  #queue: { readonly image: MetadataImage; readonly changes: Parameters<ImageListener>[1] }[] = [];
  #image: MetadataImage;
  #listeners = new Set<ImageListener>();

  constructor(options: ReplicationNodeOptions) {
    this.#options = options;
    this.#image = options.controller.image();
    let isFirst = true;
    options.controller.subscribe((image, changes) => {
      if (!isFirst) this.#queue.push({ image, changes });
      isFirst = false;
    });
    this.#deliverLater();
  }

  image(): MetadataImage {
    return this.#image;
  }

  /** The process has ended; the next one replays what it had. */
  detach(): void {
    this.#listeners.clear();
  }

  subscribe(listener: ImageListener): () => void {
    this.#listeners.add(listener);
    listener(this.#image, {
      createdTopics: [...this.#image.topics()],
      deletedTopics: [],
      changedPartitions: [],
      changedConfigs: [],
      changedBrokers: [],
      changedFeatures: [],
    });
    return () => this.#listeners.delete(listener);
  }

  async assignReplicasToDirs(
    ...[brokerId, assignments]: Parameters<Controller["assignReplicasToDirs"]>
  ): ReturnType<Controller["assignReplicasToDirs"]> {
    const { clock, links, nodeId, controller } = this.#options;
    while (links.isCut(nodeId, 0) || links.isCut(0, nodeId)) await clock.sleep(50);
    return await controller.assignReplicasToDirs(brokerId, assignments);
  }

  #deliverLater(): void {
    const { clock, random, links, nodeId } = this.#options;
    clock.timer(random.pick([1, 3, 10, 80]), () => {
      const next = links.isCut(0, nodeId) ? undefined : this.#queue.shift();
      if (next !== undefined) {
        this.#image = next.image;
        for (const listener of this.#listeners) listener(next.image, next.changes);
      }
      this.#deliverLater();
    });
  }
}
