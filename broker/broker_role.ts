/**
 * What a broker has beside the metadata that every node keeps: it registers with the active controller, holds
 * partitions, coordinates groups, and serves clients.
 *
 *     registration → partitions, cleaner, group coordinator → Kafka port → unfenced
 *
 * The ports open as soon as the metadata is known up to the registration; partitions come up behind them one by one.
 * Every broker registers and sends heartbeats. One that is alone is its own controller, and waits for nobody; one of
 * several waits until a controller leads and has registered it.
 */

import assert from "node:assert/strict";
import { ApiKey } from "../protocol/api_keys.ts";
import {
  writeTxnMarkersRequest,
  writeTxnMarkersResponse,
} from "../protocol/schemas/write_txn_markers.ts";
import type { LogDirectories } from "../storage/log_directories.ts";
import { apis, type Subsystems } from "./apis/index.ts";
import { BrokerLifecycle } from "./broker_lifecycle.ts";
import { KafkaClient } from "./client/kafka_client.ts";
import { type ClusterJoinOptions, joinCluster, takePart } from "./cluster_join.ts";
import type { Config } from "./config/config.ts";
import { type Address, isWildcard } from "./config/listeners.ts";
import type { Controller } from "./controller/controller.ts";
import type { ControllerChannel } from "./controller/controller_channel.ts";
import { SUPPORTED_FEATURES } from "./controller/feature_changes.ts";
import { GROUP_METADATA_TOPIC, TRANSACTION_STATE_TOPIC } from "./controller/internal_topics.ts";
import { ProducerIdManager } from "./controller/producer_id_manager.ts";
import { RemoteController } from "./controller/remote_controller.ts";
import { GroupCoordinator } from "./groups/coordinator.ts";
import { coordinatorLogOpener } from "./coordination/partition_log.ts";
import { groupCoordinatorSettings } from "./groups/settings.ts";
import { BrokerState, type LifecycleSettings } from "./lifecycle_machine.ts";
import { startCleaner } from "./log_cleaner.ts";
import type { MetadataNode } from "./metadata_node.ts";
import { reportMissingDirectories, watchDirectories } from "./partitions/directory_watch.ts";
import { FetchSessions } from "./partitions/fetch_session.ts";
import { IsrChanges } from "./partitions/isr_changes.ts";
import type { Acceptor } from "./network.ts";
import { ReplicaManager } from "./partitions/replica_manager.ts";
import { BrokerChannel } from "./peers/broker_channel.ts";
import { call } from "./peers/call.ts";
import type { Peers } from "./peers/peers.ts";
import { previousBrokerEpoch } from "./previous_epoch.ts";
import { PLAINTEXT } from "./quorum_membership.ts";
import { forwarding } from "./server/forwarding.ts";
import { limitsOf } from "./server/limits.ts";
import { OwnNetwork } from "./server/own_network.ts";
import { Server } from "./server/server.ts";
import { type Assembly, type BrokerOptions, STOPPING, type Stops } from "./start.ts";
import {
  lateTransactionCount,
  offsetSamples,
  partitionSamples,
  topicSamples,
} from "./telemetry/broker_samples.ts";
import { showReplication } from "./telemetry/cluster_metrics.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import { showRequests } from "./telemetry/request_metrics.ts";
import type { ServerMeter } from "./telemetry/server_meter.ts";
import { TransactionCoordinator } from "./transactions/coordinator.ts";
import { transactionCoordinatorSettings } from "./transactions/settings.ts";
import { TransactionVerifier } from "./transactions/verifier.ts";

/** A transaction is late so long after the longest timeout that a producer may ask for, as in Kafka. */
const LATE_TRANSACTION_MS = 300_000;
/** How long a broker waits with its registration for what it knew of the metadata before. */
const OWN_PAST_MS = 3000;
const OWN_PAST_POLL_MS = 20;
/** How long a stop waits until followers have what clients wrote. */
const FOLLOWERS_PATIENCE_MS = 500;
/** A fetch session that was used within this time is not evicted, as in Kafka. */
const FETCH_SESSION_EVICTION_MS = 120_000;
/** Markers have a connection of their own: their answer waits until they are committed. */
const MARKERS_CHANNEL = "transaction markers";
const GATEWAY_CLIENT_ID = "weir-gateway";
/** How long the gateway tries again what may pass, before it says so to whoever asked. */
const GATEWAY_RETRY_MS = 5_000;
const writeTxnMarkersCall = call(
  ApiKey.WriteTxnMarkers,
  writeTxnMarkersRequest,
  writeTxnMarkersResponse,
);
/** What is registered for a wildcard listener; clients are told the address that they reached. */
const LOOPBACK = "127.0.0.1";

/** A broker that serves, or is about to. */
export interface BrokerRole {
  readonly subsystems: Subsystems;
  /** Where the Kafka protocol is served, with the real ports. */
  readonly addresses: readonly Address[];
}

/**
 * Registers with the cluster, and starts what serves clients.
 *
 * Returns: when the ports are open, and the partitions are too unless the last run ended in a crash. Errors:
 * ConfigError when the cluster refuses it, NetworkError for a port in use or when it was given up, DiskError.
 */
export async function startBrokerRole(
  options: BrokerOptions,
  node: MetadataNode,
  assembly: Assembly,
): Promise<BrokerRole> {
  const { config, clock, logger, onFailure } = options;
  const { nodeId, logDirectories, controller } = node;
  const { stops, metrics, readiness } = assembly;
  const membership = await enterCluster(options, node, assembly);
  reportMissingDirectories({ nodeId, logger, logDirectories, controller });
  const { lifecycle } = membership;
  const changed = () => lifecycle.directoriesChanged();
  stops.push(watchDirectories({ logger, config, logDirectories, changed, onFailure }));
  const remoteController = new RemoteController({
    controller,
    channel: node.controllerChannel,
    timeoutMs: () => config.number("request.timeout.ms"),
  });
  const parts = { ...node, lifecycle, remoteController };
  const brokerParts = startBrokerParts(options, parts, stops);
  const subsystems: Subsystems = {
    ...node,
    clock,
    config,
    remoteController,
    lifecycle,
    ...brokerParts,
    topicsReady: (names) => topicsReady(controller, brokerParts.replicaManager, names),
  };
  readiness.add(() => partitionsNotReady(subsystems));
  watchBroker(subsystems, metrics);
  const server = startServer(options, subsystems, metrics.server, stops);
  metrics.watchBudget(server.budget);
  metrics.watchServer(server);
  const addresses = listen(config, server);
  giveAccess(options, { server, addresses }, assembly);
  await serveAsMember(options, membership, subsystems, stops);
  return { subsystems, addresses };
}

/** What only brokers have. */
function startBrokerParts(
  options: BrokerOptions,
  parts: {
    readonly nodeId: number;
    readonly logDirectories: LogDirectories;
    readonly remoteController: RemoteController;
    readonly controllerChannel: ControllerChannel;
    readonly lifecycle: BrokerLifecycle;
    readonly peers: Peers;
  },
  stops: Stops,
) {
  const { nodeId, logDirectories, lifecycle, remoteController: controller } = parts;
  const { config, clock, random, logger } = options;
  const producerIds = new ProducerIdManager({ controller, nodeId });
  stops.push(() => producerIds.close());
  const replicaManager = startReplicas(options, parts, stops);
  const cleaner = startCleaner({ ...options, logDirectories });
  stops.push(() => cleaner.stop());
  const { isAlone } = config.roles();
  const holdsLease = () => isAlone || lifecycle.holdsLease;
  const groupCoordinator = new GroupCoordinator({
    nodeId,
    clock,
    random: random.fork("groups"),
    logger: logger.child("groups"),
    settings: groupCoordinatorSettings(config),
    controller,
    holdsLease,
    openLog: coordinatorLogOpener(replicaManager, GROUP_METADATA_TOPIC),
  });
  groupCoordinator.start();
  stops.push(() => groupCoordinator.stop());
  const fetchSessions = new FetchSessions({
    clock,
    random: random.fork("fetch sessions"),
    slots: config.number("max.incremental.fetch.session.cache.slots"),
    evictionMs: FETCH_SESSION_EVICTION_MS,
  });
  const transactionParts = startTransactionParts(
    options,
    { ...parts, producerIds, replicaManager, holdsLease },
    stops,
  );
  return {
    producerIds,
    replicaManager,
    cleaner,
    groupCoordinator,
    fetchSessions,
    ...transactionParts,
  };
}

/** The coordinator of transactions, and the way to those of other brokers. */
function startTransactionParts(
  { config, clock, logger: root }: BrokerOptions,
  { nodeId, remoteController: controller, peers, producerIds, replicaManager, holdsLease }: {
    readonly nodeId: number;
    readonly remoteController: RemoteController;
    readonly peers: Peers;
    readonly producerIds: ProducerIdManager;
    readonly replicaManager: ReplicaManager;
    readonly holdsLease: () => boolean;
  },
  stops: Stops,
) {
  const logger = root.child("transactions");
  const brokerChannel = new BrokerChannel({
    nodeId,
    clock,
    config,
    controller,
    peers,
    clientId: `node-${nodeId}`,
  });
  const transactionVerifier = new TransactionVerifier({
    clock,
    logger,
    controller,
    channel: brokerChannel,
    settings: () => ({
      requestTimeoutMs: config.number("request.timeout.ms"),
      retryBackoffMs: config.number("add.partitions.to.txn.retry.backoff.ms"),
      retryMaxMs: config.number("add.partitions.to.txn.retry.backoff.max.ms"),
    }),
  });
  stops.push(() => transactionVerifier.close());
  const transactionCoordinator = new TransactionCoordinator({
    nodeId,
    clock,
    logger,
    settings: () => transactionCoordinatorSettings(config),
    controller,
    holdsLease,
    openLog: coordinatorLogOpener(replicaManager, TRANSACTION_STATE_TOPIC),
    producerIds,
    sendMarkers: (brokerId, request) =>
      brokerChannel.call(brokerId, writeTxnMarkersCall, request, {
        timeoutMs: config.number("request.timeout.ms"),
        channel: MARKERS_CHANNEL,
      }),
  });
  transactionCoordinator.start();
  stops.push(() => transactionCoordinator.stop());
  return { brokerChannel, transactionVerifier, transactionCoordinator };
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
 * Makes this node a broker of its cluster: registered, and with metadata that tells what this incarnation of it is to
 * do. A node that is alone takes part at once: its ports open to a broker that leads.
 */
async function enterCluster(
  options: BrokerOptions,
  { nodeId, logDirectories, controller, controllerChannel: channel, strangers }: MetadataNode,
  { stops, metrics, readiness }: Assembly,
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
  readiness.add(() => membershipNotReady(lifecycle));
  metrics.watchLifecycle(lifecycle);
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

function startServer(
  options: BrokerOptions,
  subsystems: Subsystems,
  metrics: ServerMeter,
  stops: Stops,
): Server {
  const { config, clock, network, logger } = options;
  const { replicaManager, groupCoordinator, transactionCoordinator, controllerChannel: channel } =
    subsystems;
  const handlers = apis(subsystems);
  subsystems.brokerChannel.serve(handlers);
  const server = new Server({
    network,
    clock,
    logger: logger.child("server"),
    metrics,
    limits: limitsOf(config),
    apis: forwarding(handlers, {
      channel,
      timeoutMs: () => config.number("request.timeout.ms"),
    }),
  });
  stops.push(async () => {
    const drained = server.stop({ deadlineMs: config.number("weir.shutdown.timeout.ms") });
    // What only waits would hold up the drain: it is answered now.
    channel.close();
    replicaManager.delayedFetches.close();
    subsystems.transactionVerifier.close();
    const patience = clock.timer(FOLLOWERS_PATIENCE_MS, () => replicaManager.giveUpFollowers());
    await Promise.all([groupCoordinator.stop(), transactionCoordinator.stop()]);
    await drained;
    patience.cancel();
  });
  stops.push(config.onChange(() => server.setLimits(limitsOf(config))));
  return server;
}

function watchBroker(subsystems: Subsystems, metrics: Metrics): void {
  const { replicaManager, groupCoordinator, producerTable, cleaner } = subsystems;
  metrics.watchProducers(producerTable);
  metrics.watchCleaner(() => cleaner.stats());
  metrics.watchTopics(() => topicSamples(replicaManager));
  metrics.watchPartitions(() => partitionSamples(replicaManager));
  showRequests(metrics, subsystems);
  metrics.watchOpening(replicaManager);
  metrics.watchRepairs(replicaManager);
  showReplication(metrics, { replicaManager, bytes: replicaManager.replicationBytes });
  metrics.watchTransactions(() => subsystems.transactionCoordinator.stats);
  metrics.watchTransactionalData({
    verificationFailureCount: () => subsystems.transactionVerifier.failureCount,
    lateCount: () => {
      const lateMs = subsystems.config.number("transaction.max.timeout.ms") + LATE_TRANSACTION_MS;
      return lateTransactionCount(replicaManager, subsystems.clock.wallMs() - lateMs);
    },
  });
  metrics.watchGroups({
    groups: () => groupCoordinator.groups(),
    offsets: () => offsetSamples(groupCoordinator, replicaManager),
    rebalances: groupCoordinator.rebalances,
  });
}

/** Lets the gateway be a client of the cluster, through this node. */
function giveAccess(
  { config, network, clock, random, version }: BrokerOptions,
  { server, addresses }: { readonly server: Server; readonly addresses: readonly Address[] },
  { access, stops }: Assembly,
): void {
  const [registered] = brokerEndpoints(config);
  const [bound] = addresses;
  assert(registered !== undefined && bound !== undefined, "a broker has a listener");
  const { name, host } = registered;
  const endpoint = { host, port: registered.port === 0 ? bound.port : registered.port };
  const reached = { advertisedHost: endpoint.host, advertisedPort: endpoint.port };
  const accept: Acceptor = (link) => server.serve(link, { name, ...endpoint, ...reached });
  const stopping = new AbortController();
  const client = new KafkaClient({
    network: new OwnNetwork({ network, clock, endpoint, accept }),
    clock,
    random: random.fork("gateway"),
    bootstrap: [endpoint],
    clientId: GATEWAY_CLIENT_ID,
    softwareVersion: version,
    requestTimeoutMs: config.number("request.timeout.ms"),
    retryTimeoutMs: GATEWAY_RETRY_MS,
    interrupted: stopping.signal,
  });
  access.client = client;
  stops.push(async () => {
    access.client = null;
    stopping.abort();
    await client.close();
  });
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

function membershipNotReady({ state, fencedReason }: BrokerLifecycle): string[] {
  if (state >= BrokerState.pendingControlledShutdown) return [STOPPING];
  return fencedReason === null ? [] : [fencedReason];
}

function partitionsNotReady({ replicaManager: { openingProgress } }: Subsystems): string[] {
  return openingProgress.reason === null ? [] : [openingProgress.reason];
}
