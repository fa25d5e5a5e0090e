/**
 * How a broker of several becomes one of its cluster, before it opens a port for clients: the active controller
 * has registered it, and what this node knows of the metadata is as new as that registration.
 *
 * Others may take any time to come up: it waits for them (`initial.broker.registration.timeout.ms`), says so now and
 * then, and can be given up. Only
 * where nobody leads as far as it hears, and a node says that it belongs to another cluster, it gives up by itself.
 */

import type { Clock, Logger } from "../storage/platform.ts";
import { type BrokerLifecycle, LifecycleError } from "./broker_lifecycle.ts";
import { type Address, formatAddress } from "./config/listeners.ts";
import { ConfigError } from "./config/sources.ts";
import type { Controller } from "./controller/controller.ts";
import { NetworkError } from "./network.ts";

/** Time between two log lines. */
const TELL_MS = 10_000;

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

/** What a wait for others needs. */
export interface PatienceOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly controller: Pick<Controller, "controllerId">;
  /** A node of another cluster that was met, as host:port, or null. */
  readonly otherCluster: () => string | null;
  readonly signal?: AbortSignal;
}

/** What joining needs. */
export interface ClusterJoinOptions extends PatienceOptions {
  readonly lifecycle: BrokerLifecycle;
}

/**
 * Waits until this broker is registered and has caught up.
 * Errors: ConfigError when the cluster refuses it, NetworkError when it was aborted.
 */
export async function joinCluster(options: ClusterJoinOptions): Promise<void> {
  const text = "Waiting to be registered by the active controller";
  await patiently(options, text, options.lifecycle.caughtUp);
}

/** Asks the controller to unfence this broker, and waits until it has. Errors: as `joinCluster`. */
export async function takePart(options: ClusterJoinOptions): Promise<void> {
  options.lifecycle.setReady();
  const text = "Waiting to be unfenced by the active controller";
  await patiently(options, text, options.lifecycle.unfenced);
}

/**
 * Waits for `work`, and says now and then what it waits for.
 * Errors: ConfigError when the cluster refuses this node, NetworkError when the wait was given up.
 */
export async function patiently(
  options: PatienceOptions,
  text: string,
  work: Promise<void>,
): Promise<void> {
  const { clock, logger, controller, signal } = options;
  const done = new AbortController();
  const giveUp = () => done.abort();
  signal?.addEventListener("abort", giveUp);
  let isDone = false;
  const finished = work.then(() => {
    isDone = true;
  }).finally(giveUp);
  try {
    while (!isDone) {
      if (signal?.aborted === true) throw new NetworkError(`The start was given up: ${text}`, "");
      await Promise.race([finished, clock.sleep(TELL_MS, done.signal)]);
      // Whatever ended the work is thrown by the next turn.
      if (isDone || done.signal.aborted) continue;
      refuseOtherCluster(options);
      logger.warn(text, { controllerId: controller.controllerId });
    }
  } catch (failure) {
    if (!(failure instanceof LifecycleError)) throw failure;
    throw new ConfigError([failure.message], { cause: failure });
  } finally {
    done.abort();
    finished.catch(() => undefined);
    signal?.removeEventListener("abort", giveUp);
  }
}

function refuseOtherCluster({ controller, otherCluster }: PatienceOptions): void {
  const found = otherCluster();
  if (found === null || controller.controllerId !== -1) return;
  throw new ConfigError([
    `Cannot join: the node at ${found} belongs to another cluster (INCONSISTENT_CLUSTER_ID); check the ` +
    "controllers' addresses, and the cluster.id in meta.properties of log.dirs; a new, empty directory gets " +
    "weir.cluster.id",
  ]);
}
