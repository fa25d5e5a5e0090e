/**
 * A node: its parts, started in the order in which they need each other, stopped in reverse. Which parts there are is
 * said by its roles (`config/roles.ts`).
 *
 *     every node            peers, log directories, metadata log and image           metadata_node.ts
 *     a controller          the controllers' port, its registration                  controller_role.ts
 *     every node            the HTTP ports                                           gateway_ports.ts
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
import type { Address } from "./config/listeners.ts";
import type { Controller } from "./controller/controller.ts";
import { joinQuorum, startControllerRole } from "./controller_role.ts";
import { openHttpPorts } from "./gateway_ports.ts";
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
import { LoopDelay } from "./telemetry/loop_delay.ts";
import { Metrics } from "./telemetry/metrics.ts";

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
  const loopDelay = watchNode(options, node, assembly);
  const controllers = config.controllerListeners().length === 0
    ? null
    : startControllerRole(options, node, assembly);
  if (controllers !== null && !isBroker) assembly.metrics.watchBudget(controllers.budget);
  const http = openHttpPorts(options, assembly, loopDelay);
  const broker = isBroker ? await startBrokerRole(options, node, assembly) : null;
  if (broker === null) await joinQuorum(options, node);
  const kafka = broker?.addresses ?? [];
  return {
    node,
    addresses: { kafka, controller: controllers?.addresses ?? [], http },
    subsystems: broker?.subsystems ?? null,
  };
}

/** Shows what every node has to show. Returns: what watches the event loop. */
function watchNode(
  { clock }: BrokerOptions,
  { nodeId, logDirectories, controller }: MetadataNode,
  { metrics, stops, readiness }: Assembly,
): LoopDelay {
  const loopDelay = new LoopDelay(clock);
  stops.push(() => loopDelay.stop());
  metrics.watchLoop(loopDelay);
  stops.push(showCluster(metrics, controller, nodeId));
  for (const { flusher } of new Set([...logDirectories.online(), logDirectories.metadata])) {
    flusher.onFlushed = (durationMs) => metrics.noteFlush(durationMs);
  }
  metrics.watchIntegrity(() => integritySample(logDirectories));
  metrics.watchDirectories(() => directorySamples(logDirectories));
  readiness.add(() => logDirectories.states().flatMap(({ offlineReason }) => offlineReason ?? []));
  return loopDelay;
}
