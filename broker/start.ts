/**
 * What every start of a node is made with: the surroundings, the list of what ends it, and the watch that gives a
 * start up when a part of it cannot go on.
 */

import { type Clock, type Disk, DiskError, type Logger, type Random } from "../storage/platform.ts";
import type { Workers } from "../storage/workers.ts";
import type { KafkaClient } from "./client/kafka_client.ts";
import type { Config } from "./config/config.ts";
import type { LoadAssets } from "./gateway/console/assets.ts";
import type { ServeHttp } from "./gateway/http_server.ts";
import type { Network } from "./network.ts";
import type { Metrics, ProcessUsage } from "./telemetry/metrics.ts";

/** Why a node is not ready that is about to end. */
export const STOPPING = "the broker is stopping";

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
  /** The files of the console. */
  readonly loadAssets: LoadAssets;
  readonly usage: ProcessUsage;
  readonly version: string;
  /** Aborted: a start that waits for other nodes is given up. */
  readonly signal?: AbortSignal;
  /** Called when the broker cannot go on and should be stopped. */
  readonly onFailure: (message: string) => void;
}

/** What ends a part of the broker. The last one that was added runs first. */
export type Stops = (() => unknown)[];

/** What the parts of a node that starts add to. */
export interface Assembly {
  readonly stops: Stops;
  readonly metrics: Metrics;
  readonly readiness: Readiness;
  readonly access: ClusterAccess;
}

/** The way in which a part of this node is a client of its cluster. */
export interface ClusterAccess {
  /** Null until the broker serves, while it stops, and on a controller alone. */
  client: KafkaClient | null;
}

/** Whether a node is ready to serve: none of its parts says why not. */
export class Readiness {
  readonly #sources: (() => readonly string[])[] = [];

  /** Asks a part from now on. Shape: one sentence for each reason, none when it is ready. */
  add(source: () => readonly string[]): void {
    this.#sources.push(source);
  }

  /** Why the node is not ready, one sentence each. */
  get reasons(): string[] {
    return [...new Set(this.#sources.flatMap((source) => source()))];
  }
}

/** Ends all parts, the last one first. */
export async function stopAll(stops: Stops): Promise<void> {
  for (const stop of stops.splice(0).reverse()) await stop();
}

/**
 * Gives a start up when a part of the broker says that it cannot go on: whatever the start waits for, such as
 * other nodes, may never come then.
 */
export class StartWatch {
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
