/**
 * A node: its parts, started in the order in which they need each other, stopped in reverse. Which parts there are is
 * said by its roles (`config/roles.ts`).
 *
 *     every node            peers, log directories, metadata log and image           metadata_node.ts
 *     a controller          the controllers' port, its registration                  controller_role.ts
 *     every node            the HTTP port
 *     a broker              registration, partitions, groups, the Kafka port, unfenced    broker_role.ts
 *
 * `/readyz` says from the beginning what a node waits for. A stop hands leaderships over, takes no new connections,
 * answers what is in flight, ends what only waits, and closes the logs with the clean-shutdown mark.
 *
 * Everything from outside (disk, time, chance, network, log, HTTP server) is handed in.
 */

import assert from "node:assert/strict";
import type { Subsystems } from "./apis/index.ts";
import { startBrokerRole } from "./broker_role.ts";
import type { Config } from "./config/config.ts";
import type { Address } from "./config/listeners.ts";
import type { Controller } from "./controller/controller.ts";
import { joinQuorum, startControllerRole } from "./controller_role.ts";
import { LagHistory } from "./gateway/console/lag_history.ts";
import { gatewayApp } from "./gateway/app.ts";
import { Feeds } from "./gateway/feeds/feeds.ts";
import { gatewaySettings } from "./gateway/settings.ts";
import { Sockets, type SocketsLimits } from "./gateway/websocket/sockets.ts";
import { type MetadataNode, startMetadataNode } from "./metadata_node.ts";
import {
  type Assembly,
  type BrokerOptions,
  Readiness,
  StartWatch,
  stopAll,
  STOPPING,
  type Stops,
} from "./start.ts";
import { directorySamples, integritySample } from "./telemetry/broker_samples.ts";
import { showCluster } from "./telemetry/cluster_metrics.ts";
import { MetricHistory } from "./telemetry/history.ts";
import { LoopDelay } from "./telemetry/loop_delay.ts";
import { Metrics } from "./telemetry/metrics.ts";

/** A message that is too large is told so up to here; past it the port closes the socket without a word. */
const SOCKET_FRAME_FACTOR = 2;

/** Where a node is reached, with the real ports. */
export interface NodeAddresses {
  /** For clients and other brokers; none on a controller alone. */
  readonly kafka: readonly Address[];
  /** For other nodes and tools that speak to this controller; none on a broker alone. */
  readonly controller: readonly Address[];
  readonly http: readonly Address[];
}

interface NodeParts {
  readonly node: MetadataNode;
  readonly addresses: NodeAddresses;
  /** Null on a controller alone. */
  readonly subsystems: Subsystems | null;
}

/** A running node: a broker, a controller, or both. */
export class Broker {
  readonly addresses: NodeAddresses;
  readonly #node: MetadataNode;
  readonly #subsystems: Subsystems | null;
  readonly #assembly: Assembly;

  /**
   * Errors: LogDirectoryError for data that must not be used, NetworkError for a port in use, ConfigError,
   * DiskError. What was started is stopped again.
   */
  static async start(given: BrokerOptions): Promise<Broker> {
    const stops: Stops = [];
    const watch = new StartWatch(given);
    try {
      const { clock, usage, version } = given;
      const metrics = new Metrics({ clock, usage, version });
      const assembly: Assembly = {
        stops,
        metrics,
        readiness: new Readiness(),
        access: { client: null },
      };
      const parts = await startParts(watch.options, assembly);
      watch.end();
      return new Broker(parts, assembly);
    } catch (failure) {
      await stopAll(stops);
      throw watch.reasonOf(failure);
    }
  }

  private constructor({ node, addresses, subsystems }: NodeParts, assembly: Assembly) {
    this.#assembly = assembly;
    this.#node = node;
    this.#subsystems = subsystems;
    this.addresses = addresses;
  }

  get clusterId(): string {
    return this.#node.clusterId;
  }

  /** The metadata as this node keeps it. */
  get controller(): Controller {
    return this.#node.controller;
  }

  /** What a broker is made of, for those that look inside: the simulator asks it what must hold. */
  get subsystems(): Subsystems {
    assert(this.#subsystems !== null, "a controller alone has no broker's parts");
    return this.#subsystems;
  }

  /** Answers what is in flight, stops everything, and marks the data as cleanly closed. */
  async stop(): Promise<void> {
    this.#assembly.readiness.add(() => [STOPPING]);
    await stopAll(this.#assembly.stops);
  }
}

async function startParts(options: BrokerOptions, assembly: Assembly): Promise<NodeParts> {
  const { config } = options;
  const { isBroker } = config.roles();
  const node = await startMetadataNode(options, assembly.stops);
  const history = watchNode(options, node, assembly);
  const controllers = config.controllerListeners().length === 0
    ? null
    : startControllerRole(options, node, assembly);
  if (controllers !== null && !isBroker) assembly.metrics.watchBudget(controllers.budget);
  const http = startGateway(options, assembly, history);
  const broker = isBroker ? await startBrokerRole(options, node, assembly) : null;
  if (broker === null) await joinQuorum(options, node);
  const kafka = broker?.addresses ?? [];
  return {
    node,
    addresses: { kafka, controller: controllers?.addresses ?? [], http },
    subsystems: broker?.subsystems ?? null,
  };
}

/** Shows what every node has to show. */
function watchNode(
  { clock, usage }: BrokerOptions,
  { nodeId, logDirectories, controller }: MetadataNode,
  { metrics, stops, readiness }: Assembly,
): MetricHistory {
  const loopDelay = new LoopDelay(clock);
  stops.push(() => loopDelay.stop());
  const history = new MetricHistory({
    clock,
    server: metrics.server,
    loopDelay,
    usage,
    traffic: () => metrics.traffic(),
  });
  stops.push(() => history.stop());
  metrics.watchLoop(loopDelay);
  stops.push(showCluster(metrics, controller, nodeId));
  for (const { flusher } of new Set([...logDirectories.online(), logDirectories.metadata])) {
    flusher.onFlushed = (durationMs) => metrics.noteFlush(durationMs);
  }
  metrics.watchIntegrity(() => integritySample(logDirectories));
  metrics.watchDirectories(() => directorySamples(logDirectories));
  readiness.add(() => logDirectories.states().flatMap(({ offlineReason }) => offlineReason ?? []));
  return history;
}

/** Opens the HTTP ports, which are the last to close. */
function startGateway(
  { config, clock, logger, serveHttp, loadAssets, version }: BrokerOptions,
  { metrics, readiness, stops, access }: Assembly,
  history: MetricHistory,
): Address[] {
  const client = () => access.client;
  const feeds = new Feeds({ client, clock });
  const gatewayLogger = logger.child("gateway");
  const sockets = new Sockets({
    feeds,
    client,
    clock,
    logger: gatewayLogger,
    version,
    limits: socketsLimits(config),
  });
  metrics.watchSockets(sockets, feeds);
  const lags = new LagHistory({ clock, logger: gatewayLogger, client });
  if (config.httpListeners().length > 0) lags.start();
  stops.push(() => lags.stop());
  const app = gatewayApp({
    logger: gatewayLogger,
    clock,
    settings: gatewaySettings(config),
    version,
    noteAnswer: (status) => metrics.noteHttpAnswer(status),
    renderMetrics: () => metrics.render(),
    notReadyReasons: () => readiness.reasons,
    client,
    feeds,
    sockets,
    console: { history, lags, loadAssets },
  });
  const limits = {
    maxMessageBytes: SOCKET_FRAME_FACTOR * config.number("weir.gateway.message.max.bytes"),
    idleTimeoutMs: config.number("weir.gateway.socket.idle.ms"),
  };
  const addresses = config.httpListeners().map((address) => {
    const server = serveHttp({ app, ...address, sockets: limits });
    stops.push(() => server.stop());
    return { host: server.host, port: server.port };
  });
  // Who streams is told before the ports close.
  stops.push(async () => {
    await Promise.all([sockets.stop(), feeds.stop()]);
  });
  return addresses;
}

function socketsLimits(config: Config): SocketsLimits {
  return {
    maxSockets: config.number("weir.gateway.max.sockets"),
    maxMessageBytes: config.number("weir.gateway.message.max.bytes"),
    socketBufferBytes: config.number("weir.gateway.socket.buffer.bytes"),
    bufferBytes: config.number("weir.gateway.sockets.buffer.bytes"),
  };
}
