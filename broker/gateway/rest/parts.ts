/** What the operations of the REST API share, made once for a gateway. */

import type { Clock } from "../../../storage/platform.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import type { Feeds } from "../feeds/feeds.ts";
import type { StreamSlots } from "../stream_slots.ts";
import type { Writing } from "../writing.ts";

/** What they are made of. */
export interface RestOptions {
  readonly clock: Clock;
  readonly client: () => KafkaClient | null;
  readonly feeds: Feeds;
  readonly slots: StreamSlots;
  readonly writing: Writing;
}

/** The shared parts. */
export class RestParts {
  readonly clock: Clock;
  readonly client: () => KafkaClient | null;
  readonly feeds: Feeds;
  readonly writing: Writing;
  readonly slots: StreamSlots;
  #clusterId: string | null = null;

  constructor({ clock, client, feeds, slots, writing }: RestOptions) {
    this.clock = clock;
    this.client = client;
    this.feeds = feeds;
    this.writing = writing;
    this.slots = slots;
  }

  /** The cluster's id, which never changes. Errors: KafkaError, NetworkError. */
  async clusterId(client: KafkaClient): Promise<string> {
    this.#clusterId ??= (await client.retry(() => client.metadata([]))).clusterId ?? "";
    return this.#clusterId;
  }
}
