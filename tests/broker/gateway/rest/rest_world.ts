/** The gateway over a broker in memory, asked without a socket and on virtual time. */

import type { Hono } from "hono";
import { Config } from "../../../../broker/config/config.ts";
import { gatewayApp } from "../../../../broker/gateway/app.ts";
import { Feeds } from "../../../../broker/gateway/feeds/feeds.ts";
import { gatewaySettings } from "../../../../broker/gateway/settings.ts";
import { StreamSlots } from "../../../../broker/gateway/stream_slots.ts";
import { Sockets } from "../../../../broker/gateway/websocket/sockets.ts";
import { SimLogger } from "../../../sim/sim_logger.ts";
import { GatewayWorld } from "../gateway_world.ts";

/** What came back. */
export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // deno-lint-ignore no-explicit-any -- every answer has a shape of its own
  readonly body: any;
}

/** A stream that is read piece by piece. */
export interface OpenStream {
  readonly response: Response;
  /** All that has come since the last call. */
  taken(): string;
  /** True once the other side has ended it. */
  readonly isOver: () => boolean;
  /** Goes away, as a client does that closes its connection. */
  cancel(): Promise<void>;
}

/** A broker with its gateway. */
export class RestWorld extends GatewayWorld {
  readonly logger = new SimLogger();
  app!: Hono;
  feeds!: Feeds;
  slots!: StreamSlots;
  clusterId = "";

  /** Starts both. */
  override async start(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    await super.start(settings);
    const client = () => this.client;
    this.feeds = new Feeds({ client, clock: this.machine.clock });
    const gateway = gatewaySettings(Config.load({ flags: { "log.dirs": "/data", ...settings } }));
    this.slots = new StreamSlots(gateway.maxStreams);
    this.app = gatewayApp({
      logger: this.logger,
      clock: this.machine.clock,
      settings: gateway,
      version: "1.2.3",
      notReadyReasons: () => [],
      renderMetrics: () => Promise.resolve(new Uint8Array()),
      client,
      feeds: this.feeds,
      sockets: new Sockets({
        feeds: this.feeds,
        client,
        clock: this.machine.clock,
        logger: this.logger,
        version: "1.2.3",
        limits: gateway.sockets,
      }),
      slots: this.slots,
    });
    this.clusterId = this.broker.clusterId;
    // The API is loaded when it is asked for first, which takes no virtual time.
    await this.app.request("/docs");
  }

  /** Stops both, and starts them again: another node, as far as a client can tell. */
  async restart(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.run(this.feeds.stop());
    await this.run(this.broker.stop());
    await this.start(settings);
  }

  override async end(): Promise<void> {
    await this.run(this.feeds.stop());
    await super.end();
  }

  /** Asks; `body` that is no text is sent as JSON. A path that begins with `/` alone is one under the cluster. */
  async ask(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    const url = /^\/(v3|api|docs|openapi|healthz|metrics)/.test(path)
      ? path
      : `/v3/clusters/${this.clusterId}${path}`;
    const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    return await this.run(this.#ask(method, url, text, headers));
  }

  async #ask(
    method: string,
    path: string,
    body: string | undefined,
    headers: Record<string, string>,
  ): Promise<Answered> {
    const response = await this.app.request(path, {
      method,
      headers: {
        ...(body !== undefined && {
          "Content-Type": "application/json",
          "Content-Length": `${new TextEncoder().encode(body).length}`,
        }),
        ...headers,
      },
      ...(body !== undefined && { body }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, body: parsed(text) };
  }

  /** Opens a stream, which is read as fast as it comes. */
  async open(path: string, init: RequestInit = {}): Promise<OpenStream> {
    const response = await this.run(Promise.resolve(this.app.request(path, init)));
    const reader = response.body!.getReader();
    let text = "";
    let isOver = false;
    const decoder = new TextDecoder();
    const follow = async () => {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        text += decoder.decode(value, { stream: true });
      }
      isOver = true;
    };
    void follow();
    return {
      response,
      taken() {
        const all = text;
        text = "";
        return all;
      },
      isOver: () => isOver,
      cancel: () => reader.cancel(),
    };
  }

  /** Asks for what has to succeed. Returns: its body. */
  async succeed(method: string, path: string, body?: unknown) {
    const answered = await this.ask(method, path, body);
    if (answered.status >= 300) throw new Error(`${method} ${path}: ${answered.text}`);
    return answered.body;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
