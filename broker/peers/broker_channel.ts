/**
 * The way to the other brokers by their ids, this one included: its own handlers answer it, without a connection.
 *
 *     call(broker, …) ──┬── this node ──→ handler ──→ answer
 *                       └── another ──→ Peers ──→ answer
 *
 * What answers in time is the caller's only news: every promise is settled by its timeout, or by `Peers.close`.
 */

import { apiName } from "../../protocol/api_keys.ts";
import type { Decoded, Encodable, Message } from "../../protocol/schema.ts";
import type { Clock } from "../../storage/platform.ts";
import type { Api } from "../apis/api.ts";
import type { Config } from "../config/config.ts";
import type { Controller } from "../controller/controller.ts";
import { NetworkError } from "../network.ts";
import { handleOwn } from "../server/inner_request.ts";
import { brokerEndpoint } from "./broker_endpoint.ts";
import type { Call } from "./call.ts";
import type { Peers } from "./peers.ts";

/** What the channel is made of. */
export interface BrokerChannelOptions {
  readonly nodeId: number;
  readonly clock: Clock;
  readonly config: Pick<Config, "string">;
  readonly controller: Pick<Controller, "image">;
  readonly peers: Pick<Peers, "send">;
  readonly clientId: string;
}

/** How a request is sent. */
export interface BrokerCallOptions {
  readonly timeoutMs: number;
  /** Requests of one channel to a broker share a connection: one that is late ends it. */
  readonly channel: string;
}

/** Calls brokers. */
export class BrokerChannel {
  readonly #options: BrokerChannelOptions;
  #handlers: ReadonlyMap<number, Api> = new Map();

  constructor(options: BrokerChannelOptions) {
    this.#options = options;
  }

  /** Takes what this node answers itself with. */
  serve(handlers: readonly Api[]): void {
    this.#handlers = new Map(handlers.map((api) => [api.key, api]));
  }

  /**
   * Asks a broker. Errors: rejects with NetworkError: not known, not reached, late (ETIMEDOUT), not served there
   * (UNSUPPORTED_VERSION).
   */
  async call<Q extends Message, A extends Message>(
    brokerId: number,
    call: Call<Q, A>,
    body: Encodable<Q>,
    options: BrokerCallOptions,
  ): Promise<Decoded<A>> {
    const { nodeId, config, controller, peers } = this.#options;
    if (brokerId === nodeId) return await this.#ownAnswer(call, body, options.timeoutMs);
    const endpoint = brokerEndpoint(controller.image(), config, brokerId);
    if (endpoint === null) {
      throw new NetworkError(`Cannot reach broker ${brokerId}: it is not known`, "");
    }
    return await peers.send(endpoint, call, body, options);
  }

  async #ownAnswer<Q extends Message, A extends Message>(
    call: Call<Q, A>,
    body: Encodable<Q>,
    timeoutMs: number,
  ): Promise<Decoded<A>> {
    const { clock, clientId } = this.#options;
    const name = apiName(call.key);
    const api = this.#handlers.get(call.key);
    if (api === undefined) {
      throw new NetworkError(`This node does not serve ${name}`, "UNSUPPORTED_VERSION");
    }
    const late = Promise.withResolvers<never>();
    const timer = clock.timer(timeoutMs, () => {
      const text = `No answer of this node to ${name} within ${timeoutMs} ms`;
      late.reject(new NetworkError(text, "ETIMEDOUT"));
    });
    try {
      return await Promise.race([handleOwn(api, call, body, clientId), late.promise]);
    } finally {
      timer.cancel();
    }
  }
}
