/**
 * What every node has, whatever its role: its log directories, the way to the other nodes, the metadata log with the
 * image that it replays into, and the way to the active controller.
 *
 *     peers → cluster id → log directories → metadata log, quorum, image → way to the active controller → snapshots
 *
 * A controller votes in the quorum, a broker alone only listens to it; both run the same.
 */

import { WireError } from "../protocol/bytes.ts";
import type { Log } from "../storage/log.ts";
import type { LogDirectories } from "../storage/log_directories.ts";
import { ProducerExpiry } from "../storage/producer_expiry.ts";
import { ProducerTable } from "../storage/producer_table.ts";
import { controllerApis } from "./apis/index.ts";
import { agreedClusterId } from "./cluster_id.ts";
import { Strangers } from "./cluster_join.ts";
import { ConfigError } from "./config/sources.ts";
import {
  controllerSettings,
  followBrokerConfigs,
  snapshotSettings,
} from "./controller/config_rules.ts";
import { Controller } from "./controller/controller.ts";
import { ControllerChannel } from "./controller/controller_channel.ts";
import { MetadataSnapshots } from "./controller/metadata_snapshots.ts";
import { openLogDirectories, openMetadataLog } from "./open_directories.ts";
import { Peers } from "./peers/peers.ts";
import { quorumMembership } from "./quorum_membership.ts";
import type { BrokerOptions, Stops } from "./start.ts";

/** What every node has. */
export interface MetadataNode {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly peers: Peers;
  readonly producerTable: ProducerTable;
  readonly logDirectories: LogDirectories;
  readonly controller: Controller;
  readonly controllerChannel: ControllerChannel;
  /** Nodes of other clusters that were met. */
  readonly strangers: Strangers;
}

/**
 * Starts it.
 * Errors: LogDirectoryError, ConfigError, DiskError; NetworkError where it was given up while it asked for the
 * cluster's id.
 */
export async function startMetadataNode(
  options: BrokerOptions,
  stops: Stops,
): Promise<MetadataNode> {
  const { config, random, logger } = options;
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
  const { clusterId } = logDirectories;
  const metadataLog = await openMetadataLog(config, logDirectories);
  const strangers = new Strangers(options);
  const way = { peers, strangers };
  const controller = await startController(options, logDirectories, metadataLog, way);
  stops.push(() => controller.stop());
  const controllerChannel = startChannel(options, { clusterId, controller, peers }, stops);
  stops.push(snapshotMetadata(options, logDirectories, metadataLog, controller));
  stops.push(followBrokerConfigs({ controller, config, nodeId, logger }));
  const parts = { clusterId, nodeId, peers, producerTable, logDirectories, strangers };
  return { ...parts, controller, controllerChannel };
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

function expireProducers({ config, clock }: BrokerOptions, table: ProducerTable): Stops[number] {
  const expiry = new ProducerExpiry({
    clock,
    table,
    expirationMs: config.number("producer.id.expiration.ms"),
    checkIntervalMs: config.number("producer.id.expiration.check.interval.ms"),
  });
  return () => expiry.stop();
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

/** The way to the active controller. */
function startChannel(
  { config, clock, random }: BrokerOptions,
  { clusterId, controller, peers }: {
    readonly clusterId: string;
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
