/**
 * The broker: its subsystems, started in the order in which they need each other, stopped in reverse.
 *
 *     log directories → metadata log, controller → controllers' port → registration → partitions
 *         → group coordinator → Kafka port → HTTP port → unfenced
 *
 * The ports open as soon as the metadata is known; partitions come up behind them one by one, and
 * `/readyz` says when all are there. A stop hands leaderships over, takes no new connections, answers what is in
 * flight, ends what only waits, and closes the logs with the clean-shutdown mark.
 *
 * Every node registers with the active controller and sends it heartbeats. A node that is alone is its own, and
 * waits for nobody; one of several waits until a controller leads and has registered it.
 *
 * Everything from outside (disk, time, chance, network, log, HTTP server) is handed in.
 */

import { WireError } from "../protocol/bytes.ts";
import type { Log } from "../storage/log.ts";
import type { LogDirectories } from "../storage/log_directories.ts";
import { type Clock, type Disk, DiskError, type Logger, type Random } from "../storage/platform.ts";
import { randomUuid } from "../storage/random_uuid.ts";
import { ProducerExpiry } from "../storage/producer_expiry.ts";
import { ProducerTable } from "../storage/producer_table.ts";
import type { Workers } from "../storage/workers.ts";
import { BrokerLifecycle } from "./broker_lifecycle.ts";
import { agreedClusterId } from "./cluster_id.ts";
import { type ClusterJoinOptions, joinCluster, Strangers, takePart } from "./cluster_join.ts";
import { apis, controllerApis, type Subsystems } from "./apis/index.ts";
import type { Config } from "./config/config.ts";
import { type Address, isWildcard } from "./config/listeners.ts";
import { ConfigError } from "./config/sources.ts";
import {
  controllerSettings,
  followBrokerConfigs,
  snapshotSettings,
} from "./controller/config_rules.ts";
import { Controller } from "./controller/controller.ts";
import { ControllerAnnouncer } from "./controller/controller_announcer.ts";
import { ControllerChannel } from "./controller/controller_channel.ts";
import { SUPPORTED_FEATURES } from "./controller/feature_changes.ts";
import { MetadataSnapshots } from "./controller/metadata_snapshots.ts";
import { ProducerIdManager } from "./controller/producer_id_manager.ts";
import { RemoteController } from "./controller/remote_controller.ts";
import { gatewayApp } from "./gateway/app.ts";
import type { ServeHttp } from "./gateway/http_server.ts";
import { GroupCoordinator } from "./groups/coordinator.ts";
import { groupLogOpener } from "./groups/partition_group_log.ts";
import { groupCoordinatorSettings } from "./groups/settings.ts";
import { startCleaner } from "./log_cleaner.ts";
import type { Network } from "./network.ts";
import { openLogDirectories, openMetadataLog } from "./open_directories.ts";
import { BrokerState, type LifecycleSettings } from "./lifecycle_machine.ts";
import { reportMissingDirectories, watchDirectories } from "./partitions/directory_watch.ts";
import { FetchSessions } from "./partitions/fetch_session.ts";
import { IsrChanges } from "./partitions/isr_changes.ts";
import { ReplicaManager } from "./partitions/replica_manager.ts";
import { Peers } from "./peers/peers.ts";
import { previousBrokerEpoch } from "./previous_epoch.ts";
import { controllerEndpoints, quorumMembership } from "./quorum_membership.ts";
import {
  directorySamples,
  groupSamples,
  integritySample,
  partitionSamples,
} from "./telemetry/broker_samples.ts";
import { LoopDelay } from "./telemetry/loop_delay.ts";
import { Metrics, type ProcessUsage } from "./telemetry/metrics.ts";
import { forwarding } from "./server/forwarding.ts";
import { limitsOf } from "./server/limits.ts";
import { Server } from "./server/server.ts";

/** How long a broker waits with its registration for what it knew of the metadata before. */
const OWN_PAST_MS = 3000;
const OWN_PAST_POLL_MS = 20;
/** A fetch session that was used within this time is not evicted, as in Kafka. */
const FETCH_SESSION_EVICTION_MS = 120_000;
/** Security protocol PLAINTEXT in a broker's registration. */
const PLAINTEXT = 0;
/** What is registered for a wildcard listener; clients are told the address that they reached. */
const LOOPBACK = "127.0.0.1";
/** Memory for what nodes and tools ask of this node's controller, beside the budget of clients. */
const CONTROLLER_BUDGET_BYTES = 32 * 1024 * 1024;
/** How long a stop waits until another voter has taken the lead of the quorum over. */
const HANDOVER_MS = 2_000;
/** Fetches of followers that wait are given up soon. */
const CONTROLLER_DRAIN_MS = 600;

/** What a broker is made of. */
export interface BrokerOptions {
  readonly config: Config;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly network: Network;
  readonly logger: Logger;
  readonly workers: Workers;
  readonly serveHttp: ServeHttp;
  readonly usage: ProcessUsage;
  readonly version: string;
  /** Aborted: a start that waits for other nodes is given up. */
  readonly signal?: AbortSignal;
  /** Called when the broker cannot go on and should be stopped. */
  readonly onFailure: (message: string) => void;
}

/** What ends a part of the broker. The last one that was added runs first. */
type Stops = (() => unknown)[];

/**
 * Gives a start up when a part of the broker says that it cannot go on: whatever the start waits for, such as
 * other nodes, may never come then.
 */
class StartWatch {
  /** Those given, watched. */
  readonly options: BrokerOptions;
  readonly #giveUp = new AbortController();
  #failure: string | null = null;
  #isOver = false;

  constructor(given: BrokerOptions) {
    const { signal } = given;
    if (signal?.aborted === true) this.#giveUp.abort();
    signal?.addEventListener("abort", () => this.#giveUp.abort(), { once: true });
    this.options = {
      ...given,
      signal: this.#giveUp.signal,
      onFailure: (message) => {
        if (this.#isOver) return given.onFailure(message);
        this.#failure ??= message;
        this.#giveUp.abort();
      },
    };
  }

  /** Everything is started. Errors: DiskError when a part of it has failed meanwhile. */
  end(): void {
    if (this.#failure !== null) throw new DiskError(this.#failure, "EIO");
    this.#isOver = true;
  }

  /** What the start failed of, in truth. */
  reasonOf(failure: unknown): unknown {
    return this.#failure === null
      ? failure
      : new DiskError(this.#failure, "EIO", { cause: failure });
  }
}

/** A running broker. */
export class Broker {
  readonly clusterId: string;
  /** Where the Kafka protocol is served, with the real ports. */
  readonly kafkaAddresses: readonly Address[];
  /** Where HTTP is served, with the real ports. */
  readonly httpAddresses: readonly Address[];
  /** What it is made of, for those that look inside: the simulator asks it what must hold. */
  readonly subsystems: Subsystems;
  readonly #stops: Stops;

  /**
   * Errors: LogDirectoryError for data that must not be used, NetworkError for a port in use, ConfigError,
   * DiskError. What was started is stopped again.
   */
  static async start(given: BrokerOptions): Promise<Broker> {
    const stops: Stops = [];
    const watch = new StartWatch(given);
    const { options } = watch;
    try {
      const { clock, usage, version, config } = options;
      const metrics = new Metrics({ clock, usage, version });
      const { subsystems, membership } = await startSubsystems(options, metrics, stops);
      const server = startServer(options, subsystems, metrics, stops);
      const kafkaAddresses = listen(config, server);
      const httpAddresses = startGateway(options, subsystems, metrics, stops);
      await serveAsMember(options, membership, subsystems, stops);
      watch.end();
      return new Broker(subsystems, stops, kafkaAddresses, httpAddresses);
    } catch (failure) {
      await stopAll(stops);
      throw watch.reasonOf(failure);
    }
  }

  private constructor(
    subsystems: Subsystems,
    stops: Stops,
    kafkaAddresses: readonly Address[],
    httpAddresses: readonly Address[],
  ) {
    this.#stops = stops;
    this.subsystems = subsystems;
    this.clusterId = subsystems.clusterId;
    this.kafkaAddresses = kafkaAddresses;
    this.httpAddresses = httpAddresses;
  }

  /** Answers what is in flight, stops everything, and marks the data as cleanly closed. */
  async stop(): Promise<void> {
    await stopAll(this.#stops);
  }
}

async function stopAll(stops: Stops): Promise<void> {
  for (const stop of stops.splice(0).reverse()) await stop();
}

async function startSubsystems(
  options: BrokerOptions,
  metrics: Metrics,
  stops: Stops,
): Promise<{ subsystems: Subsystems; membership: ClusterJoinOptions }> {
  const { config, clock, random, logger, onFailure } = options;
  const nodeId = config.number("node.id");
  const peers = startPeers(options, stops);
  const producerTable = new ProducerTable({
    capBytes: config.number("weir.producer.state.bytes"),
    seed: random.fork("producers").uint32(),
    logger: logger.child("storage"),
  });
  const newClusterId = await agreedClusterId({ ...options, peers });
  const logDirectories = await openLogDirectories({ ...options, producerTable, newClusterId });
  stops.push(() => logDirectories.close());
  stops.push(expireProducers(options, producerTable));
  const metadataLog = await openMetadataLog(config, logDirectories);
  const strangers = new Strangers(options);
  const way = { peers, strangers };
  const controller = await startController(options, logDirectories, metadataLog, way);
  stops.push(() => controller.stop());
  const controllerChannel = startChannel(options, { logDirectories, controller, peers }, stops);
  stops.push(snapshotMetadata(options, logDirectories, metadataLog, controller));
  serveControllers(options, { logDirectories, controller, controllerChannel, metrics }, stops);
  const parts = { nodeId, logDirectories, controller, controllerChannel, peers, strangers };
  const membership = await enterCluster(options, parts, stops);
  reportMissingDirectories({ nodeId, logger, logDirectories, controller });
  const { lifecycle } = membership;
  const changed = () => lifecycle.directoriesChanged();
  stops.push(watchDirectories({ logger, config, logDirectories, changed, onFailure }));
  stops.push(followBrokerConfigs({ controller, config, nodeId, logger }));
  const remoteController = new RemoteController({
    controller,
    channel: controllerChannel,
    timeoutMs: () => config.number("request.timeout.ms"),
  });
  const brokerParts = startBrokerParts(options, { ...parts, remoteController }, stops);
  const subsystems: Subsystems = {
    clusterId: logDirectories.clusterId,
    nodeId,
    clock,
    config,
    controller,
    controllerChannel,
    remoteController,
    lifecycle,
    producerTable,
    ...brokerParts,
    topicsReady: (names) => topicsReady(controller, brokerParts.replicaManager, names),
  };
  return { subsystems, membership };
}

/** What only brokers have. */
function startBrokerParts(
  options: BrokerOptions,
  parts: {
    readonly nodeId: number;
    readonly logDirectories: LogDirectories;
    readonly remoteController: RemoteController;
    readonly controllerChannel: ControllerChannel;
    readonly peers: Peers;
  },
  stops: Stops,
) {
  const { nodeId, logDirectories, remoteController: controller } = parts;
  const { config, clock, random, logger } = options;
  const producerIds = new ProducerIdManager({ controller, nodeId });
  stops.push(() => producerIds.close());
  const replicaManager = startReplicas(options, parts, stops);
  const cleaner = startCleaner({ ...options, logDirectories });
  stops.push(() => cleaner.stop());
  const groupCoordinator = new GroupCoordinator({
    nodeId,
    clock,
    random: random.fork("groups"),
    logger: logger.child("groups"),
    settings: groupCoordinatorSettings(config),
    controller,
    openLog: groupLogOpener(replicaManager),
  });
  groupCoordinator.start();
  stops.push(() => groupCoordinator.stop());
  const fetchSessions = new FetchSessions({
    clock,
    random: random.fork("fetch sessions"),
    slots: config.number("max.incremental.fetch.session.cache.slots"),
    evictionMs: FETCH_SESSION_EVICTION_MS,
  });
  return { producerIds, replicaManager, cleaner, groupCoordinator, fetchSessions };
}

/** The way to the other nodes. */
function startPeers({ config, clock, random, network, version }: BrokerOptions, stops: Stops) {
  const peers = new Peers({
    network,
    clock,
    random: random.fork("peers"),
    clientId: `node-${config.number("node.id")}`,
    softwareVersion: version,
  });
  stops.push(() => peers.close());
  return peers;
}

/** The way to the active controller. */
function startChannel(
  { config, clock, random }: BrokerOptions,
  { logDirectories: { clusterId }, controller, peers }: {
    readonly logDirectories: LogDirectories;
    readonly controller: Controller;
    readonly peers: Peers;
  },
  stops: Stops,
): ControllerChannel {
  const nodeId = config.number("node.id");
  const channel = new ControllerChannel({
    clock,
    random: random.fork("controller channel"),
    peers,
    active: controller,
    handlers: controllerApis({ clusterId, nodeId, config, controller }),
    clientId: `node-${nodeId}`,
  });
  stops.push(() => channel.close());
  return channel;
}

/** The partitions of this node, as leaders and followers. */
function startReplicas(
  { config, clock, logger: root, workers }: BrokerOptions,
  { remoteController: controller, controllerChannel: channel, logDirectories, peers }: {
    readonly remoteController: RemoteController;
    readonly controllerChannel: ControllerChannel;
    readonly logDirectories: LogDirectories;
    readonly peers: Peers;
  },
  stops: Stops,
): ReplicaManager {
  const nodeId = config.number("node.id");
  const logger = root.child("partitions");
  const brokerEpoch = () => controller.image().brokers.get(nodeId)?.epoch ?? -1;
  const isrChanges = new IsrChanges({ nodeId, clock, logger, channel, brokerEpoch });
  stops.push(() => isrChanges.close());
  const replicaManager = new ReplicaManager({
    nodeId,
    clock,
    logger,
    config,
    controller,
    logDirectories,
    workers,
    peers,
    proposeIsr: (partition, proposal) => isrChanges.propose(partition, proposal),
  });
  replicaManager.start();
  stops.push(() => replicaManager.close());
  return replicaManager;
}

/**
 * Opens the controllers' listeners. Their server has memory of its own, so that no flood of clients keeps the
 * quorum from electing.
 */
function serveControllers(
  { config, clock, network, logger, random }: BrokerOptions,
  { logDirectories: { clusterId }, controller, controllerChannel: channel, metrics }: {
    readonly logDirectories: LogDirectories;
    readonly controller: Controller;
    readonly controllerChannel: ControllerChannel;
    readonly metrics: Metrics;
  },
  stops: Stops,
): void {
  const listeners = config.controllerListeners();
  if (listeners.length === 0) return;
  const nodeId = config.number("node.id");
  const server = new Server({
    network,
    clock,
    logger: logger.child("server"),
    metrics: metrics.server,
    limits: { ...limitsOf(config), memoryBudgetBytes: CONTROLLER_BUDGET_BYTES },
    apis: controllerApis({ clusterId, nodeId, config, controller }),
  });
  stops.push(async () => {
    await controller.quorum.shutDown(HANDOVER_MS);
    await server.stop({ deadlineMs: CONTROLLER_DRAIN_MS });
  });
  const endpoints = controllerEndpoints(config);
  for (const { name, host, port } of listeners) {
    const reached = endpoints.find((endpoint) => endpoint.name === name)!;
    const advertised = { advertisedHost: reached.host, advertisedPort: reached.port };
    server.listen({ name, host, port, ...advertised });
  }
  const announcer = new ControllerAnnouncer({
    nodeId,
    incarnationId: randomUuid(random.fork("controller incarnation")),
    clock,
    logger: logger.child("controller"),
    controller,
    channel,
    endpoints: endpoints.map((endpoint) => ({ ...endpoint, securityProtocol: PLAINTEXT })),
    features: SUPPORTED_FEATURES,
  });
  stops.push(() => announcer.close());
}

/**
 * Makes this node a broker of its cluster: registered, and with metadata that tells what this incarnation of it is to
 * do. A node that is alone takes part at once: its ports open to a broker that leads.
 */
async function enterCluster(
  options: BrokerOptions,
  { nodeId, logDirectories, controller, controllerChannel: channel, strangers }: {
    readonly nodeId: number;
    readonly logDirectories: LogDirectories;
    readonly controller: Controller;
    readonly controllerChannel: ControllerChannel;
    readonly strangers: Strangers;
  },
  stops: Stops,
): Promise<ClusterJoinOptions> {
  const { config, clock, random, onFailure } = options;
  const logger = options.logger.child("lifecycle");
  const lifecycle = new BrokerLifecycle({
    nodeId,
    clock,
    random: random.fork("lifecycle"),
    logger,
    settings: lifecycleSettings(config),
    announcement: {
      endpoints: brokerEndpoints(config),
      features: SUPPORTED_FEATURES,
      rack: config.string("broker.rack"),
    },
    channel,
    controller,
    logDirectories,
    previousBrokerEpoch: () =>
      previousBrokerEpoch({
        image: controller.image(),
        config,
        nodeId,
        logDirs: logDirectories.online().map(({ directoryId }) => directoryId),
        markedEpoch: logDirectories.previousBrokerEpoch,
      }),
    onFailure,
  });
  const stopping = new AbortController();
  const begun = ownPast(controller, options, stopping.signal).then(() => lifecycle.start());
  stops.push(async () => {
    stopping.abort();
    channel.close();
    await lifecycle.stop();
    await begun;
  });
  const membership = {
    clock,
    logger,
    controller,
    lifecycle,
    otherCluster: () => strangers.latest,
    ...(options.signal && { signal: options.signal }),
  };
  await joinCluster(membership);
  if (config.roles().isAlone) await takePart(membership);
  return membership;
}

/**
 * Resolves once this node has applied the metadata that it had when it started: it knows its own past then. Some of
 * that may never be committed, so it does not wait for long.
 */
async function ownPast(
  { quorum }: Controller,
  { clock }: BrokerOptions,
  signal: AbortSignal,
): Promise<void> {
  const endOffset = quorum.logEndOffset;
  const givesUpAtMs = clock.monotonicMs() + OWN_PAST_MS;
  while (quorum.highWatermark < endOffset && clock.monotonicMs() < givesUpAtMs && !signal.aborted) {
    await clock.sleep(OWN_PAST_POLL_MS, signal);
  }
}

function lifecycleSettings(config: Config): LifecycleSettings {
  return {
    heartbeatIntervalMs: config.number("broker.heartbeat.interval.ms"),
    sessionTimeoutMs: config.number("broker.session.timeout.ms"),
    registrationTimeoutMs: config.number("initial.broker.registration.timeout.ms"),
    directoryTimeoutMs: config.number("log.dir.failure.timeout.ms"),
  };
}

/**
 * The ports are open: clients may be sent here, once all that others could lead meanwhile is open. At the stop, what
 * this broker leads moves away first (`controlled.shutdown.enable`).
 */
async function serveAsMember(
  { config }: BrokerOptions,
  membership: ClusterJoinOptions,
  { replicaManager }: Subsystems,
  stops: Stops,
): Promise<void> {
  const { lifecycle } = membership;
  if (config.boolean("controlled.shutdown.enable")) {
    const timeoutMs = config.number("weir.shutdown.timeout.ms");
    stops.push(() => lifecycle.controlledShutdown({ timeoutMs }));
  }
  if (config.roles().isAlone) return;
  const isOpen = replicaManager.settled().then(() => lifecycle.setReady());
  // A start after a crash may take long: it goes on behind the open ports.
  if (replicaManager.openingProgress.reason !== null) return;
  await isOpen;
  await takePart(membership);
}

function expireProducers({ config, clock }: BrokerOptions, table: ProducerTable): Stops[number] {
  const expiry = new ProducerExpiry({
    clock,
    table,
    expirationMs: config.number("producer.id.expiration.ms"),
    checkIntervalMs: config.number("producer.id.expiration.check.interval.ms"),
  });
  return () => expiry.stop();
}

function startServer(
  options: BrokerOptions,
  subsystems: Subsystems,
  metrics: Metrics,
  stops: Stops,
): Server {
  const { config, clock, network, logger } = options;
  const { replicaManager, groupCoordinator, controllerChannel: channel } = subsystems;
  const server = new Server({
    network,
    clock,
    logger: logger.child("server"),
    metrics: metrics.server,
    limits: limitsOf(config),
    apis: forwarding(apis(subsystems), {
      channel,
      timeoutMs: () => config.number("request.timeout.ms"),
    }),
  });
  stops.push(async () => {
    const drained = server.stop({ deadlineMs: config.number("weir.shutdown.timeout.ms") });
    // What only waits would hold up the drain: it is answered now.
    channel.close();
    replicaManager.delayedFetches.close();
    await groupCoordinator.stop();
    await drained;
  });
  stops.push(config.onChange(() => server.setLimits(limitsOf(config))));
  const loopDelay = new LoopDelay(clock);
  stops.push(() => loopDelay.stop());
  metrics.watchLoop(loopDelay);
  metrics.watchBudget(server.budget);
  metrics.watchProducers(subsystems.producerTable);
  metrics.watchIntegrity(() => integritySample(replicaManager.logDirectories));
  metrics.watchCleaner(() => subsystems.cleaner.stats());
  metrics.watchDirectories(() => directorySamples(replicaManager));
  metrics.watchPartitions(() => partitionSamples(replicaManager));
  metrics.watchOpening(replicaManager);
  metrics.watchLifecycle(subsystems.lifecycle);
  metrics.watchGroups(() => groupSamples(groupCoordinator, replicaManager));
  return server;
}

function startGateway(
  { config, logger, serveHttp, version }: BrokerOptions,
  { replicaManager, lifecycle }: Subsystems,
  metrics: Metrics,
  stops: Stops,
): Address[] {
  let isStopping = false;
  const app = gatewayApp({
    logger: logger.child("gateway"),
    version,
    renderMetrics: () => metrics.render(),
    notReadyReasons: () => notReadyReasons(replicaManager, lifecycle, isStopping),
  });
  const addresses = config.httpListeners().map((address) => {
    const server = serveHttp({ app, ...address });
    stops.push(() => server.stop());
    return { host: server.host, port: server.port };
  });
  stops.push(() => isStopping = true);
  return addresses;
}

async function startController(
  options: BrokerOptions,
  logDirectories: LogDirectories,
  log: Log,
  { peers, strangers }: { readonly peers: Peers; readonly strangers: Strangers },
): Promise<Controller> {
  const { config, disk, clock, random, logger } = options;
  const { clusterId } = logDirectories;
  const membership = quorumMembership(config, {
    peers,
    clusterId,
    onOtherCluster: (node) => strangers.note(node),
  });
  return await Controller.start({
    disk,
    clock,
    logger: logger.child("controller"),
    log,
    nodeId: config.number("node.id"),
    directoryId: logDirectories.metadata.directoryId,
    ...(membership !== null && { membership }),
    clusterId,
    random: random.fork("controller"),
    settings: controllerSettings(config),
    onFailure: options.onFailure,
  }).catch((cause: unknown) => {
    if (!(cause instanceof WireError)) throw cause;
    throw new ConfigError([`Cannot start from ${log.directory}: ${cause.message}`], { cause });
  });
}

function snapshotMetadata(
  { config, disk, clock, logger }: BrokerOptions,
  { metadata }: LogDirectories,
  log: Log,
  controller: Controller,
): Stops[number] {
  const { quorum } = controller;
  const snapshots = new MetadataSnapshots({
    disk,
    clock,
    logger: logger.child("snapshots"),
    log,
    settings: snapshotSettings(config),
    image: () => controller.image(),
    quorumBefore: (endOffset) => quorum.controlRecordsBefore(endOffset),
    onChange: (snapshot, logStartOffset) => quorum.noteSnapshot(snapshot, logStartOffset),
    noteFailure: (failure) => metadata.noteFailure(failure),
  });
  const unsubscribe = controller.subscribe(() => snapshots.noteCommitted());
  return async () => {
    unsubscribe();
    await snapshots.stop();
  };
}

/** Where clients and brokers reach this broker. */
function brokerEndpoints(config: Config) {
  const { nodeId, voters } = config.roleSettings();
  // What other nodes reach this machine by.
  const ownHost = voters.find(({ id }) => id === nodeId)?.host ?? LOOPBACK;
  return config.listeners().map(({ name, host, port }) => {
    const advertised = config.advertisedListener(name) ?? { host, port };
    const isAny = isWildcard(advertised.host);
    return {
      name,
      host: isAny ? ownHost : advertised.host,
      port: advertised.port,
      securityProtocol: PLAINTEXT,
    };
  });
}

function topicsReady(
  controller: Controller,
  replicaManager: ReplicaManager,
  names: readonly string[],
): Promise<unknown> {
  const image = controller.image();
  return Promise.all(
    names.flatMap((name) =>
      image.topicByName(name)?.partitions.map(({ partition }) =>
        replicaManager.whenReady(name, partition)
      ) ?? []
    ),
  );
}

function listen(config: Config, server: Server): Address[] {
  return config.listeners().map(({ name, host, port }) => {
    const advertised = config.advertisedListener(name);
    return server.listen({
      name,
      host,
      port,
      ...(advertised !== null && {
        advertisedHost: advertised.host,
        advertisedPort: advertised.port,
      }),
    });
  });
}

function notReadyReasons(
  replicaManager: ReplicaManager,
  { state, fencedReason }: BrokerLifecycle,
  isStopping: boolean,
): string[] {
  const reasons: string[] = [];
  if (isStopping || state >= BrokerState.pendingControlledShutdown) {
    reasons.push("the broker is stopping");
  } else if (fencedReason !== null) reasons.push(fencedReason);
  const { openingProgress, logDirectories } = replicaManager;
  if (openingProgress.reason !== null) reasons.push(openingProgress.reason);
  for (const { offlineReason } of logDirectories.states()) {
    if (offlineReason !== null) reasons.push(offlineReason);
  }
  return reasons;
}
