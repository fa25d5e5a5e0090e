/**
 * Which partitions this node fetches, and from which leader: as the metadata says, partition by partition.
 *
 *     follow(partition) ──leader 2, epoch 7──→ fetcher of node 2 ──→ one connection, one session
 *                       └──leads, or nobody does──→ of no fetcher
 *
 * `num.replica.fetchers` fetchers share the partitions of a leader. A fetcher without partitions ends.
 */

import type { Clock, Logger } from "../../storage/platform.ts";
import type { Config } from "../config/config.ts";
import type { Controller } from "../controller/controller.ts";
import { brokerEndpoint } from "../peers/broker_endpoint.ts";
import type { Peers } from "../peers/peers.ts";
import type { Partition } from "./partition.ts";
import { ReplicaFetcher, type ReplicaFetchSettings } from "./replica_fetcher.ts";

/** What the fetchers are made of. */
export interface ReplicaFetchersOptions {
  readonly nodeId: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly config: Config;
  readonly peers: Pick<Peers, "send">;
  readonly controller: Pick<Controller, "image">;
  /** Ends what must not go on while a log is truncated. */
  readonly beforeTruncation: (partition: Partition) => Promise<void>;
  /** The metadata may have said more of it meanwhile. */
  readonly afterTruncation: (partition: Partition) => void;
}

interface Following {
  readonly fetcher: ReplicaFetcher;
  readonly leaderEpoch: number;
}

/** The fetchers of a node. */
export class ReplicaFetchers {
  readonly #options: ReplicaFetchersOptions;
  readonly #fetchers = new Map<string, ReplicaFetcher>();
  readonly #following = new Map<Partition, Following>();
  readonly #closing = new Set<Promise<void>>();
  #settings: ReplicaFetchSettings;
  readonly #stopConfig: () => void;
  #isClosed = false;

  constructor(options: ReplicaFetchersOptions) {
    this.#options = options;
    this.#settings = settingsOf(options.config);
    this.#stopConfig = options.config.onChange(() => {
      this.#settings = settingsOf(options.config);
    });
  }

  /** Fetchers at work. */
  get size(): number {
    return this.#fetchers.size;
  }

  /** Fetches the partition from who leads it now, or not at all. To be called whenever its image has changed. */
  follow(partition: Partition): void {
    if (this.#isClosed) return;
    if (!partition.isFollower || partition.log.offlineReason !== null) return this.drop(partition);
    const { image, leaderEpoch } = partition;
    if (this.#following.get(partition)?.leaderEpoch === leaderEpoch) return;
    this.drop(partition);
    const fetcher = this.#fetcherFor(partition, image.leader);
    this.#following.set(partition, { fetcher, leaderEpoch });
    fetcher.add(partition);
  }

  /** Fetches it no more. */
  drop(partition: Partition): void {
    const following = this.#following.get(partition);
    if (following === undefined) return;
    this.#following.delete(partition);
    const { fetcher } = following;
    fetcher.remove(partition);
    if (fetcher.partitionCount > 0) return;
    for (const [key, known] of this.#fetchers) if (known === fetcher) this.#fetchers.delete(key);
    const closing = fetcher.close().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  /** Ends all of them. Returns: when nothing is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopConfig();
    this.#following.clear();
    await Promise.all([
      ...this.#closing,
      ...[...this.#fetchers.values()].map((one) => one.close()),
    ]);
    this.#fetchers.clear();
  }

  #fetcherFor(partition: Partition, leaderId: number): ReplicaFetcher {
    const index = partition.partition % this.#options.config.number("num.replica.fetchers");
    const key = `${leaderId}/${index}`;
    const known = this.#fetchers.get(key);
    if (known !== undefined) return known;
    const { nodeId, controller, config } = this.#options;
    const fetcher = new ReplicaFetcher({
      ...this.#options,
      leaderId,
      channel: `replicas ${index}`,
      endpoint: () => brokerEndpoint(controller.image(), config, leaderId),
      brokerEpoch: () => controller.image().brokers.get(nodeId)?.epoch ?? -1,
      settings: () => this.#settings,
      afterTruncation: (truncated) => {
        if (this.#following.has(truncated)) this.follow(truncated);
        this.#options.afterTruncation(truncated);
      },
    });
    this.#fetchers.set(key, fetcher);
    return fetcher;
  }
}

function settingsOf(config: Config): ReplicaFetchSettings {
  return {
    maxBytes: config.number("replica.fetch.max.bytes"),
    minBytes: config.number("replica.fetch.min.bytes"),
    responseMaxBytes: config.number("replica.fetch.response.max.bytes"),
    maxWaitMs: config.number("replica.fetch.wait.max.ms"),
    backoffMs: config.number("replica.fetch.backoff.ms"),
    socketTimeoutMs: config.number("replica.socket.timeout.ms"),
  };
}
