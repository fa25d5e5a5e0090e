/** All WebSockets of a node: how many there may be, what they may buffer together, and how they end. */

import type { Clock, Logger } from "../../../storage/platform.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import type { Feeds } from "../feeds/feeds.ts";
import type { SocketHandlers } from "../http_server.ts";
import type { Session, SessionHost } from "./session.ts";

/** Bounds, from the settings `weir.gateway.*`. */
export interface SocketsLimits {
  readonly maxSockets: number;
  readonly maxMessageBytes: number;
  /** Bytes that may wait in one socket before no more is put into it. */
  readonly socketBufferBytes: number;
  /** Bytes that may wait in all of them, and bytes of all requests in flight; past it only empty ones get more. */
  readonly bufferBytes: number;
}

/** What sockets need. */
export interface SocketsOptions {
  readonly feeds: Feeds;
  readonly client: () => KafkaClient | null;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly version: string;
  readonly limits: SocketsLimits;
}

/** The WebSockets of a node. */
export class Sockets {
  readonly limits: SocketsLimits;
  readonly #host: SessionHost;
  readonly #sessions = new Set<Session>();
  readonly #work = new Set<Promise<void>>();
  #bufferedBytes = 0;
  #requestBytes = 0;
  #isStopping = false;

  constructor(options: SocketsOptions) {
    const { limits } = options;
    this.limits = limits;
    this.#host = {
      ...options,
      maxMessageBytes: limits.maxMessageBytes,
      socketBufferBytes: limits.socketBufferBytes,
      isFull: () => this.#bufferedBytes > limits.bufferBytes,
      reserve: (bytes) => this.#reserve(bytes),
      release: (bytes) => void (this.#requestBytes -= bytes),
      noteBuffered: (byBytes) => void (this.#bufferedBytes += byBytes),
      closed: (session) => void this.#sessions.delete(session),
      track: (work) => {
        this.#work.add(work);
        void work.finally(() => this.#work.delete(work));
      },
    };
  }

  /** Open sockets. */
  get count(): number {
    return this.#sessions.size;
  }

  /** Bytes that wait in them, as far as was looked. */
  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  #reserve(bytes: number): boolean {
    if (this.#requestBytes > 0 && this.#requestBytes + bytes > this.limits.bufferBytes) {
      return false;
    }
    this.#requestBytes += bytes;
    return true;
  }

  /** Why no socket can be opened; null where one can. */
  get refusal(): string | null {
    if (this.#isStopping) return "this node stops";
    if (this.#sessions.size < this.limits.maxSockets) return null;
    return `there are ${this.#sessions.size} sockets, as many as weir.gateway.max.sockets allows`;
  }

  /** Takes a socket over that somebody speaks to in the session that is made here. */
  open(makeSession: (host: SessionHost) => Session): SocketHandlers {
    const session = makeSession(this.#host);
    this.#sessions.add(session);
    if (this.#isStopping) session.restart();
    return session;
  }

  /** Closes all of them, and waits for what they had begun. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const session of [...this.#sessions]) session.restart();
    while (this.#work.size > 0) await Promise.all(this.#work);
  }
}
