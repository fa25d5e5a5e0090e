/**
 * What a controller has beside the metadata that every node keeps: the listener on which other nodes and tools speak to
 * it, and its registration, by which tools find all controllers.
 *
 * A node that is nothing else serves nothing else: no topic's records, no group, and it appears in no client's metadata.
 */

import { randomUuid } from "../storage/random_uuid.ts";
import { controllerApis } from "./apis/index.ts";
import { patiently } from "./cluster_join.ts";
import type { Address } from "./config/listeners.ts";
import type { Controller } from "./controller/controller.ts";
import { ControllerAnnouncer } from "./controller/controller_announcer.ts";
import { AutoJoin } from "./controller/auto_join.ts";
import { SUPPORTED_FEATURES } from "./controller/feature_changes.ts";
import type { VoterEndpoint } from "./controller/raft_voters.ts";
import type { MetadataNode } from "./metadata_node.ts";
import { controllerEndpoints, PLAINTEXT, raftSettings } from "./quorum_membership.ts";
import { limitsOf, type ServerLimits } from "./server/limits.ts";
import type { MemoryBudget } from "./server/memory_budget.ts";
import { Server } from "./server/server.ts";
import type { Assembly, BrokerOptions, Stops } from "./start.ts";

/** Memory for what nodes and tools ask of a controller that is a broker as well, beside the budget of clients. */
const CONTROLLER_BUDGET_BYTES = 32 * 1024 * 1024;
/** How long a stop waits until another voter has taken the lead of the quorum over. */
const HANDOVER_MS = 2_000;
/** Fetches of followers that wait are given up soon. */
const CONTROLLER_DRAIN_MS = 600;

const NOT_LED = "no controller is known to lead the metadata quorum";

/** A controller that can be reached. */
export interface ControllerRole {
  /** Where it is served, with the real ports. */
  readonly addresses: readonly Address[];
  readonly budget: MemoryBudget;
}

/**
 * Opens the controllers' listeners. Their server has memory of its own, so that no flood of clients keeps the
 * quorum from electing.
 *
 * Errors: NetworkError for a port in use.
 */
export function startControllerRole(
  options: BrokerOptions,
  node: MetadataNode,
  { stops, metrics, readiness }: Assembly,
): ControllerRole {
  const { config, clock, network, logger, random } = options;
  const { clusterId, nodeId, controller, controllerChannel: channel } = node;
  const { isBroker } = config.roles();
  const limits = (): Partial<ServerLimits> => ({
    ...limitsOf(config),
    ...(isBroker && { memoryBudgetBytes: CONTROLLER_BUDGET_BYTES }),
  });
  const server = new Server({
    network,
    clock,
    logger: logger.child("server"),
    metrics: metrics.server,
    limits: limits(),
    apis: controllerApis({ clusterId, nodeId, config, controller }),
  });
  metrics.watchServer(server);
  stops.push(async () => {
    await controller.quorum.shutDown(HANDOVER_MS);
    await server.stop({ deadlineMs: CONTROLLER_DRAIN_MS });
  });
  stops.push(config.onChange(() => server.setLimits(limits())));
  const endpoints = controllerEndpoints(config);
  const addresses = config.controllerListeners().map(({ name, host, port }) => {
    const reached = endpoints.find((endpoint) => endpoint.name === name)!;
    const advertised = { advertisedHost: reached.host, advertisedPort: reached.port };
    return server.listen({ name, host, port, ...advertised });
  });
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
  if (config.boolean("controller.quorum.auto.join.enable")) {
    stops.push(joinVoters(options, node, endpoints));
  }
  readiness.add(() => isLed(controller) ? [] : [NOT_LED]);
  return { addresses, budget: server.budget };
}

/** Asks for a vote while this controller has none. Returns: what ends it. */
function joinVoters(
  { config, clock, logger }: BrokerOptions,
  { nodeId, logDirectories, controller, controllerChannel: channel }: MetadataNode,
  endpoints: readonly VoterEndpoint[],
): Stops[number] {
  const { fetchTimeoutMs, requestTimeoutMs } = raftSettings(config);
  const { quorum } = controller;
  const joining = new AutoJoin({
    nodeId,
    directoryId: logDirectories.metadata.directoryId,
    endpoints,
    clock,
    logger: logger.child("controller"),
    channel,
    quorum: () => ({
      voters: quorum.raft.voters,
      kraftVersion: quorum.kraftVersion,
      leaderId: quorum.leaderId,
    }),
    intervalMs: fetchTimeoutMs,
    timeoutMs: requestTimeoutMs,
  });
  return () => joining.close();
}

/**
 * Waits until a leader of the quorum is known: what a controller alone has to wait for.
 * Errors: ConfigError when it meets none but nodes of another cluster, NetworkError when it was aborted.
 */
export async function joinQuorum(
  { clock, logger, signal }: BrokerOptions,
  { controller, strangers }: MetadataNode,
): Promise<void> {
  const led = Promise.withResolvers<void>();
  const look = () => {
    if (isLed(controller)) led.resolve();
  };
  const stop = controller.onChange(look);
  look();
  await patiently(
    {
      clock,
      logger: logger.child("controller"),
      controller,
      otherCluster: () => strangers.latest,
      ...(signal && { signal }),
    },
    "Waiting for a majority of the controllers, which elect a leader",
    led.promise,
  ).finally(stop);
}

function isLed({ controllerId }: Pick<Controller, "controllerId">): boolean {
  return controllerId !== -1;
}
