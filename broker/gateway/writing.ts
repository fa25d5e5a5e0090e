/** What all that writes over HTTP shares, whichever part takes it: room for bodies, and a way to the partitions. */

import { ByteRoom } from "../client/byte_room.ts";
import type { KafkaClient } from "../client/kafka_client.ts";
import { Sender } from "../client/sender.ts";
import type { BodyBounds } from "./held_bytes.ts";
import type { GatewaySettings } from "./settings.ts";

/** Made once for a gateway. */
export class Writing {
  readonly bodies: BodyBounds;
  #sender: { readonly client: KafkaClient; readonly sender: Sender } | null = null;

  constructor({ maxBodyBytes, memoryBytes }: GatewaySettings) {
    this.bodies = { maxBytes: maxBodyBytes, room: new ByteRoom(memoryBytes) };
  }

  /** What all that is produced goes through, for as long as it is this client's. */
  sender(client: KafkaClient): Sender {
    if (this.#sender?.client !== client) {
      this.#sender = { client, sender: new Sender(client) };
    }
    return this.#sender.sender;
  }
}
