/** What the operations of the REST API share, made once for a gateway. */

import type { Clock } from "../../../storage/platform.ts";
import { ByteRoom } from "../../client/byte_room.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import { Sender } from "../../client/sender.ts";
import type { GatewaySettings } from "../settings.ts";
import type { Feeds } from "../feeds/feeds.ts";
import type { BodyBounds } from "./held_bytes.ts";
import { StreamSlots } from "./streams.ts";

/** What they are made of. */
export interface RestOptions {
  readonly clock: Clock;
  readonly settings: GatewaySettings;
  readonly client: () => KafkaClient | null;
  readonly feeds: Feeds;
}

/** The shared parts. */
export class RestParts {
  readonly clock: Clock;
  readonly settings: GatewaySettings;
  readonly client: () => KafkaClient | null;
  readonly feeds: Feeds;
  readonly bodies: BodyBounds;
  readonly slots: StreamSlots;
  #clusterId: string | null = null;
  #sender: { readonly client: KafkaClient; readonly sender: Sender } | null = null;

  constructor({ clock, settings, client, feeds }: RestOptions) {
    this.clock = clock;
    this.settings = settings;
    this.client = client;
    this.feeds = feeds;
    this.slots = new StreamSlots(settings.maxStreams);
    this.bodies = { maxBytes: settings.maxBodyBytes, room: new ByteRoom(settings.memoryBytes) };
  }

  /** The cluster's id, which never changes. Errors: KafkaError, NetworkError. */
  async clusterId(client: KafkaClient): Promise<string> {
    this.#clusterId ??= (await client.retry(() => client.metadata([]))).clusterId ?? "";
    return this.#clusterId;
  }

  /** What all that is produced over HTTP goes through. */
  sender(client: KafkaClient): Sender {
    if (this.#sender?.client !== client) {
      this.#sender = { client, sender: new Sender(client) };
    }
    return this.#sender.sender;
  }
}
