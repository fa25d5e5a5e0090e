/**
 * The broker: its subsystems, started in the order in which they need each other, stopped in reverse.
 *
 *     log directory → metadata log, controller → partitions → group coordinator → Kafka port → HTTP port
 *
 * The ports open as soon as the metadata is known; partitions come up behind them one by one, and
 * `/readyz` says when all are there. A stop takes no new connections, answers what is in flight, ends what
 * only waits, and closes the logs with the clean-shutdown mark.
 *
 * Everything from outside (disk, time, chance, network, log, HTTP server) is handed in.
 */

import { ErrorCode } from "../protocol/errors.ts";
import { METADATA_TOPIC_ID } from "../protocol/types.ts";
import { LogDirectory } from "../storage/log_directory.ts";
import { DEFAULT_LOG_CONFIG } from "../storage/log_config.ts";
import type { Clock, Disk, Logger, Random } from "../storage/platform.ts";
import { apis } from "./apis/index.ts";
import type { Config } from "./config/config.ts";
import { type Address, isWildcard } from "./config/listeners.ts";
import { ConfigError } from "./config/sources.ts";
import { controllerSettings, followBrokerConfigs } from "./controller/config_rules.ts";
import { Controller } from "./controller/controller.ts";
import { ProducerIdManager } from "./controller/producer_id_manager.ts";
import { METADATA_LOG_CONFIG, METADATA_TOPIC } from "./controller/quorum.ts";
import { gatewayApp } from "./gateway/app.ts";
import type { HttpServer, ServeHttp } from "./gateway/http_server.ts";
import { GroupCoordinator } from "./groups/coordinator.ts";
import { groupLogOpener } from "./groups/partition_group_log.ts";
import { groupCoordinatorSettings } from "./groups/settings.ts";
import type { Network } from "./network.ts";
import { FetchSessions } from "./partitions/fetch_session.ts";
import { ReplicaManager } from "./partitions/replica_manager.ts";
import { groupSamples, partitionSamples } from "./telemetry/broker_samples.ts";
import { LoopDelay } from "./telemetry/loop_delay.ts";
import { Metrics, type ProcessUsage } from "./telemetry/metrics.ts";
import { Server } from "./server/server.ts";

/** A fetch session that was used within this time is not evicted, as in Kafka. */
const FETCH_SESSION_EVICTION_MS = 120_000;
/** Security protocol PLAINTEXT in a broker's registration. */
const PLAINTEXT = 0;
/** What is registered for a wildcard listener; clients are told the address that they reached. */
const LOOPBACK = "127.0.0.1";

/** What a broker is made of. */
export interface BrokerOptions {
  readonly config: Config;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly network: Network;
  readonly logger: Logger;
  readonly serveHttp: ServeHttp;
  readonly usage: ProcessUsage;
  readonly version: string;
  /** Called when the broker cannot go on and should be stopped. */
  readonly onFailure: (message: string) => void;
}

/** A running broker. */
export class Broker {
  readonly clusterId: string;
  /** Where the Kafka protocol is served, with the real ports. */
  readonly kafkaAddresses: readonly Address[];
  /** Where HTTP is served, with the real ports. */
  readonly httpAddresses: readonly Address[];
  readonly #parts: Parts;

  /**
   * Errors: LogDirectoryError for data that must not be used, NetworkError for a port in use, ConfigError,
   * DiskError. What was started is stopped again.
   */
  static async start(options: BrokerOptions): Promise<Broker> {
    const undo: (() => unknown)[] = [];
    try {
      return new Broker(await startParts(options, undo));
    } catch (failure) {
      for (const step of undo.reverse()) await step();
      throw failure;
    }
  }

  private constructor(parts: Parts) {
    this.#parts = parts;
    this.clusterId = parts.logDirectory.clusterId;
    this.kafkaAddresses = parts.kafkaAddresses;
    this.httpAddresses = parts.httpServers.map(({ host, port }) => ({ host, port }));
  }

  /** Resolves when every partition is open. */
  ready(): Promise<void> {
    return this.#parts.replicaManager.settled();
  }

  /** Answers what is in flight, stops everything, and marks the data as cleanly closed. */
  async stop(): Promise<void> {
    const parts = this.#parts;
    parts.state.isStopping = true;
    const draining = parts.server.stop({
      deadlineMs: parts.config.number("weir.shutdown.timeout.ms"),
    });
    parts.replicaManager.delayedFetches.close();
    await parts.groupCoordinator.stop();
    await draining;
    await Promise.all(parts.httpServers.map((server) => server.stop()));
    parts.loopDelay.stop();
    await parts.replicaManager.close();
    parts.stopConfig();
    await parts.producerIds.close();
    parts.controller.stop();
    await parts.logDirectory.close();
  }
}

interface Parts {
  readonly config: Config;
  readonly logDirectory: LogDirectory;
  readonly controller: Controller;
  readonly stopConfig: () => void;
  readonly producerIds: ProducerIdManager;
  readonly replicaManager: ReplicaManager;
  readonly groupCoordinator: GroupCoordinator;
  readonly server: Server;
  readonly kafkaAddresses: readonly Address[];
  readonly httpServers: readonly HttpServer[];
  readonly loopDelay: LoopDelay;
  readonly state: { isStopping: boolean };
}

async function startParts(options: BrokerOptions, undo: (() => unknown)[]): Promise<Parts> {
  const { config, clock, random, logger } = options;
  const nodeId = config.number("node.id");
  const logDirectory = await openLogDirectory(options, nodeId);
  undo.push(() => logDirectory.close());
  const controller = await startController(options, logDirectory, nodeId);
  undo.push(() => controller.stop());
  const stopConfig = followBrokerConfigs({ controller, config, nodeId, logger });
  const producerIds = new ProducerIdManager({ controller, nodeId });
  const replicaManager = new ReplicaManager({
    nodeId,
    clock,
    logger: logger.child("partitions"),
    config,
    controller,
    logDirectory,
  });
  replicaManager.start();
  undo.push(() => replicaManager.close());
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
  undo.push(() => groupCoordinator.stop());
  const metrics = new Metrics({ clock, usage: options.usage, version: options.version });
  const server = new Server({
    network: options.network,
    clock,
    logger: logger.child("server"),
    metrics: metrics.server,
    limits: serverLimits(config),
    apis: apis({
      clusterId: logDirectory.clusterId,
      nodeId,
      config,
      controller,
      groupCoordinator,
      producerIds,
      replicaManager,
      fetchSessions: new FetchSessions({
        clock,
        random: random.fork("fetch sessions"),
        slots: config.number("max.incremental.fetch.session.cache.slots"),
        evictionMs: FETCH_SESSION_EVICTION_MS,
      }),
    }),
  });
  undo.push(() => server.stop({ deadlineMs: 0 }));
  const kafkaAddresses = listen(config, server);
  const loopDelay = new LoopDelay(clock);
  undo.push(() => loopDelay.stop());
  metrics.watchLoop(loopDelay);
  metrics.watchBudget(server.budget);
  metrics.watchPartitions(() => partitionSamples(replicaManager));
  metrics.watchGroups(() => groupSamples(groupCoordinator, replicaManager));
  const state = { isStopping: false };
  const app = gatewayApp({
    logger: logger.child("gateway"),
    version: options.version,
    renderMetrics: () => metrics.render(),
    notReadyReasons: () => notReadyReasons(replicaManager, state),
  });
  const httpServers = config.httpListeners().map((address) => {
    const httpServer = options.serveHttp({ app, ...address });
    undo.push(() => httpServer.stop());
    return httpServer;
  });
  return {
    config,
    logDirectory,
    controller,
    stopConfig,
    producerIds,
    replicaManager,
    groupCoordinator,
    server,
    kafkaAddresses,
    httpServers,
    loopDelay,
    state,
  };
}

function openLogDirectory(options: BrokerOptions, nodeId: number): Promise<LogDirectory> {
  const { config, disk, clock, random, logger } = options;
  const [path, ...others] = config.logDirectories();
  if (others.length > 0) {
    throw new ConfigError([
      `Cannot use log.dirs: it names ${others.length + 1} directories, and one is served; name one`,
    ]);
  }
  const clusterId = config.string("weir.cluster.id");
  return LogDirectory.open({
    disk,
    clock,
    random: random.fork("log directory"),
    logger: logger.child("storage"),
    path: path!,
    ...(clusterId !== null && { clusterId }),
    nodeId,
    producerIdExpirationMs: config.number("producer.id.expiration.ms"),
    flusher: { maxDirtyBytes: config.number("weir.flush.max.dirty.bytes") },
  });
}

async function startController(
  options: BrokerOptions,
  logDirectory: LogDirectory,
  nodeId: number,
): Promise<Controller> {
  const { config, disk, clock, random, logger } = options;
  const log = await logDirectory.createLog(
    { topic: METADATA_TOPIC, partition: 0 },
    METADATA_TOPIC_ID,
    { ...DEFAULT_LOG_CONFIG, ...METADATA_LOG_CONFIG },
  );
  if (log.offlineReason !== null) {
    throw new ConfigError([
      `Cannot start from ${log.directory}: the metadata log is damaged (${log.offlineReason}); ` +
      "restore that directory from a backup, or start with an empty log.dirs",
    ]);
  }
  const controller = await Controller.start({
    disk,
    clock,
    logger: logger.child("controller"),
    log,
    nodeId,
    clusterId: logDirectory.clusterId,
    random: random.fork("controller"),
    settings: controllerSettings(config),
    onFailure: options.onFailure,
  });
  await register(controller, config, logDirectory, nodeId);
  return controller;
}

async function register(
  controller: Controller,
  config: Config,
  { directoryId }: LogDirectory,
  nodeId: number,
): Promise<void> {
  const endpoints = config.listeners().map(({ name, host, port }) => {
    const advertised = config.advertisedListener(name) ?? { host, port };
    const isAny = isWildcard(advertised.host);
    return {
      name,
      host: isAny ? LOOPBACK : advertised.host,
      port: advertised.port,
      securityProtocol: PLAINTEXT,
    };
  });
  const registered = await controller.registerBroker({
    brokerId: nodeId,
    endpoints,
    features: new Map([["metadata.version", { lowest: 7, highest: 30 }]]),
    rack: config.string("broker.rack"),
    logDirs: [directoryId],
  });
  if (registered.error !== ErrorCode.NONE && "message" in registered) {
    throw new ConfigError([`Cannot register this node: ${registered.message}`]);
  }
}

function serverLimits(config: Config) {
  return {
    maxRequestBytes: config.number("socket.request.max.bytes"),
    memoryBudgetBytes: config.number("weir.memory.budget.bytes"),
    connectionsMaxIdleMs: config.number("connections.max.idle.ms"),
    maxConnections: config.number("max.connections"),
    maxConnectionsPerIp: config.number("max.connections.per.ip"),
  };
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
  { isStopping }: { readonly isStopping: boolean },
): string[] {
  const reasons: string[] = [];
  if (isStopping) reasons.push("the broker is stopping");
  const { unsettledCount, logDirectory } = replicaManager;
  if (unsettledCount > 0) reasons.push(`${unsettledCount} partitions are being opened`);
  if (logDirectory.offlineReason !== null) reasons.push(logDirectory.offlineReason);
  return reasons;
}
