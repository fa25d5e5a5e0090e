/**
 * How a broker of several becomes one of its cluster, before it opens a port for clients: the active controller
 * has registered it, and what this node knows of the metadata is as new as that registration.
 *
 * Others may take any time to come up: it waits for them for ever, says so now and then, and can be given up. Only
 * where nobody leads as far as it hears, and a node says that it belongs to another cluster, it gives up by itself.
 */

import type { Clock, Logger, Timer } from "../storage/platform.ts";
import type { BrokerLifecycle } from "./broker_lifecycle.ts";
import { type Address, formatAddress } from "./config/listeners.ts";
import { ConfigError } from "./config/sources.ts";
import type { Controller } from "./controller/controller.ts";
import { NetworkError } from "./network.ts";

/** Time between two log lines. */
const TELL_MS = 10_000;
/** So long without a leader of the quorum, a broker that stops waits for none. */
const LEADERLESS_MS = 1_500;
const LOOK_MS = 100;

/** Nodes of other clusters that were asked by mistake. */
export class Strangers {
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #toldMs = new Map<string, number>();
  /** The one that was met last, as host:port, or null. */
  latest: string | null = null;

  constructor({ logger, clock }: { readonly logger: Logger; readonly clock: Clock }) {
    this.#logger = logger;
    this.#clock = clock;
  }

  /** Notes one, and says so now and then. Shape: there are as many as controllers in the settings. */
  note(node: Address): void {
    const address = formatAddress(node);
    this.latest = address;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - (this.#toldMs.get(address) ?? -Infinity) < TELL_MS) return;
    this.#toldMs.set(address, nowMs);
    this.#logger.error("A controller belongs to another cluster, and refuses this node", {
      address,
    });
  }
}

/** What joining needs. */
export interface ClusterJoinOptions {
  readonly nodeId: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly controller: Pick<Controller, "image" | "subscribe" | "controllerId">;
  readonly lifecycle: BrokerLifecycle;
  /** Resolves with why the cluster does not want this broker. */
  readonly refused: Promise<string>;
  /** A node of another cluster that was met, as host:port, or null. */
  readonly otherCluster: () => string | null;
  readonly signal?: AbortSignal;
}

/**
 * Waits until this broker is registered and has caught up.
 * Errors: ConfigError when the cluster refuses it, NetworkError when it was aborted.
 */
export async function joinCluster(options: ClusterJoinOptions): Promise<void> {
  await patiently(
    options,
    "Waiting to be registered by the active controller",
    registered(options),
  );
}

/** Waits until the controller has unfenced this broker. Errors: as `joinCluster`. */
export async function whenUnfenced(options: ClusterJoinOptions): Promise<void> {
  const text = "Waiting to be unfenced by the active controller";
  await patiently(options, text, options.lifecycle.whenUnfenced());
}

/**
 * Has what this broker leads moved to others, for at most `timeoutMs`. Where nobody has led the quorum for a while,
 * as when all nodes stop, nobody will do it.
 */
export async function leaveCluster(
  { clock, controller, lifecycle }: ClusterJoinOptions,
  timeoutMs: number,
): Promise<void> {
  let ledMs = clock.monotonicMs();
  let timer: Timer;
  const look = (): void => {
    const nowMs = clock.monotonicMs();
    if (controller.controllerId !== -1) ledMs = nowMs;
    if (nowMs - ledMs >= LEADERLESS_MS) lifecycle.close();
    else timer = clock.timer(LOOK_MS, look);
  };
  look();
  await lifecycle.shutDown(timeoutMs);
  timer!.cancel();
}

async function registered({ nodeId, controller, lifecycle }: ClusterJoinOptions): Promise<void> {
  await lifecycle.whenRegistered();
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = controller.subscribe((image) => {
    if ((image.brokers.get(nodeId)?.epoch ?? -1) >= lifecycle.brokerEpoch) resolve();
  });
  await promise.finally(stop);
}

async function patiently(
  options: ClusterJoinOptions,
  text: string,
  work: Promise<void>,
): Promise<void> {
  const { clock, logger, controller, refused, signal } = options;
  const done = new AbortController();
  const giveUp = () => done.abort();
  signal?.addEventListener("abort", giveUp);
  let isDone = false;
  const finished = work.then(() => isDone = true).finally(giveUp);
  const problem = refused.then((message) => {
    throw new ConfigError([message]);
  });
  try {
    while (!isDone) {
      if (signal?.aborted === true) throw new NetworkError(`The start was given up: ${text}`, "");
      await Promise.race([finished, problem, clock.sleep(TELL_MS, done.signal)]);
      if (isDone || done.signal.aborted) continue;
      refuseOtherCluster(options);
      logger.warn(text, { controllerId: controller.controllerId });
    }
  } finally {
    done.abort();
    signal?.removeEventListener("abort", giveUp);
    problem.catch(() => undefined);
  }
}

function refuseOtherCluster({ controller, otherCluster }: ClusterJoinOptions): void {
  const found = otherCluster();
  if (found === null || controller.controllerId !== -1) return;
  throw new ConfigError([
    `Cannot join: the node at ${found} belongs to another cluster (INCONSISTENT_CLUSTER_ID); check the ` +
    "controllers' addresses, and the cluster.id in meta.properties of log.dirs; a new, empty directory gets " +
    "weir.cluster.id",
  ]);
}
