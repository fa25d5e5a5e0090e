/**
 * Requests to other nodes: one connection for each node and channel, made when it is first needed.
 *
 *     send(to, call, body) ──→ [queue while it opens] ──→ connection ──→ the other node
 *                                      ↑ failed: refused at once, until a backoff is over
 *
 * A channel keeps the order of the calls; what waits long for its answer (a Fetch) has a channel of its own, so that
 * nothing urgent waits behind it. A request that is late takes its connection down: the other node may be gone
 * without a word, and whoever else waits there hears of it now. Callers that try again need no pace of their
 * own: while a node cannot be reached, the answer is the last failure.
 *
 * Invariants: at most `MAX_IN_FLIGHT` requests and `MAX_UNSENT_BYTES` wait in a channel; every promise is settled
 * by its timeout, or by `close`.
 */

import type { Decoded, Encodable, Message } from "../../protocol/schema.ts";
import type { Clock, Random } from "../../storage/platform.ts";
import type { AnswerLoan } from "../frame_memory.ts";
import { type Endpoint, type Network, NetworkError } from "../network.ts";
import { BrokerConnection, type RequestOptions } from "./broker_connection.ts";
import type { Call } from "./call.ts";
import { notAccepted } from "./connecting.ts";

const OPEN_TIMEOUT_MS = 2_000;
const FIRST_BACKOFF_MS = 20;
const MAX_BACKOFF_MS = 500;
const MAX_IN_FLIGHT = 1_000;
const MAX_UNSENT_BYTES = 32 * 1024 * 1024;
/** Channels to nodes that nobody has sent to for so long are forgotten. */
const FORGET_AFTER_MS = 60_000;

/** What the requests are sent with. */
export interface PeersOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly clientId: string;
  readonly softwareVersion: string;
}

/** How a request is sent. */
export interface SendOptions {
  /** How long the answer may take, the connecting included. */
  readonly timeoutMs: number;
  /** Requests of one channel to a node share a connection, in the order of the calls. */
  readonly channel?: string;
  /** Told where the answer lies, for a caller that says when it is done with it. */
  readonly loan?: AnswerLoan;
}

/** The way to the other nodes. */
export class Peers {
  readonly #options: PeersOptions;
  readonly #channels = new Map<string, PeerChannel>();
  #isClosed = false;

  constructor(options: PeersOptions) {
    this.#options = options;
  }

  /**
   * Sends a request at the highest version that both nodes know.
   *
   * Returns: its answer. Errors: rejects with NetworkError: refused, lost, late (ETIMEDOUT), too much in flight
   * (EAGAIN), not served there (UNSUPPORTED_VERSION), not understood (EPROTO).
   */
  send<Q extends Message, A extends Message>(
    to: Endpoint,
    call: Call<Q, A>,
    body: Encodable<Q>,
    { timeoutMs, channel = "", loan }: SendOptions,
  ): Promise<Decoded<A>> {
    if (this.#isClosed) return Promise.reject(closed(to));
    const key = `${to.host}:${to.port}/${channel}`;
    let found = this.#channels.get(key);
    if (found === undefined) {
      this.#forgetIdle();
      found = new PeerChannel(to, this.#options);
      this.#channels.set(key, found);
    }
    return found.send(call, body, { timeoutMs, loan });
  }

  /** Ends every connection, and what waits there. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const channels = [...this.#channels.values()];
    this.#channels.clear();
    await Promise.all(channels.map((channel) => channel.close()));
  }

  #forgetIdle(): void {
    const beforeMs = this.#options.clock.monotonicMs() - FORGET_AFTER_MS;
    for (const [key, channel] of this.#channels) {
      if (channel.isIdleSince(beforeMs)) this.#channels.delete(key);
    }
  }
}

interface Queued {
  readonly start: (connection: BrokerConnection) => void;
  readonly fail: (failure: NetworkError) => void;
}

class PeerChannel {
  readonly #to: Endpoint;
  readonly #options: PeersOptions;
  readonly #stopping = new AbortController();
  #connection: BrokerConnection | null = null;
  #opening: Promise<void> | null = null;
  #queue: Queued[] = [];
  #inFlight = 0;
  #failureCount = 0;
  #lastFailure: NetworkError | null = null;
  #notBeforeMs = -Infinity;
  #usedMs: number;

  constructor(to: Endpoint, options: PeersOptions) {
    this.#to = to;
    this.#options = options;
    this.#usedMs = options.clock.monotonicMs();
  }

  async send<Q extends Message, A extends Message>(
    call: Call<Q, A>,
    body: Encodable<Q>,
    { timeoutMs, loan }: RequestOptions & { readonly timeoutMs: number },
  ): Promise<Decoded<A>> {
    const nowMs = this.#options.clock.monotonicMs();
    this.#usedMs = nowMs;
    this.#refuseWhenFull();
    this.#inFlight++;
    try {
      const isOpen = this.#connection?.isOpen === true && this.#opening === null;
      const connection = isOpen ? this.#connection! : await this.#opened(nowMs, timeoutMs);
      const leftMs = timeoutMs - (this.#options.clock.monotonicMs() - nowMs);
      return await this.#request(connection, call, body, { timeoutMs: Math.max(leftMs, 1), loan });
    } finally {
      this.#inFlight--;
    }
  }

  /** Errors: NetworkError, also for an answer that cannot be read. */
  async #request<Q extends Message, A extends Message>(
    connection: BrokerConnection,
    call: Call<Q, A>,
    body: Encodable<Q>,
    options: RequestOptions,
  ): Promise<Decoded<A>> {
    try {
      return await connection.request(call, body, options);
    } catch (cause) {
      if (cause instanceof NetworkError) throw cause;
      const { host, port } = this.#to;
      const text = `Cannot read the answer of ${host}:${port}: ${(cause as Error).message}`;
      throw new NetworkError(text, "EPROTO", { cause });
    }
  }

  #refuseWhenFull(): void {
    const unsentBytes = this.#connection?.unsentBytes ?? 0;
    if (this.#inFlight < MAX_IN_FLIGHT && unsentBytes < MAX_UNSENT_BYTES) return;
    const { host, port } = this.#to;
    throw new NetworkError(
      `Cannot send to ${host}:${port}: ${this.#inFlight} requests wait for an answer, and ` +
        `${unsentBytes} bytes to be sent`,
      "EAGAIN",
    );
  }

  /** Resolves in the order of the calls. Errors: NetworkError. */
  #opened(nowMs: number, timeoutMs: number): Promise<BrokerConnection> {
    if (this.#lastFailure !== null && nowMs < this.#notBeforeMs) {
      const { message, code } = this.#lastFailure;
      return Promise.reject(new NetworkError(message, code, { cause: this.#lastFailure }));
    }
    const { promise, resolve, reject } = Promise.withResolvers<BrokerConnection>();
    const queued: Queued = { start: resolve, fail: reject };
    const timer = this.#options.clock.timer(timeoutMs, () => {
      this.#queue = this.#queue.filter((other) => other !== queued);
      reject(notAccepted(this.#to, timeoutMs));
    });
    this.#queue.push(queued);
    this.#opening ??= this.#open().finally(() => {
      this.#opening = null;
    });
    return promise.finally(() => timer.cancel());
  }

  async #open(): Promise<void> {
    const { signal } = this.#stopping;
    try {
      const connection = await BrokerConnection.open({
        ...this.#options,
        endpoint: this.#to,
        requestTimeoutMs: OPEN_TIMEOUT_MS,
        openTimeoutMs: OPEN_TIMEOUT_MS,
        signal,
      });
      this.#connection = connection;
      this.#failureCount = 0;
      this.#lastFailure = null;
      for (const { start } of this.#queue.splice(0)) start(connection);
    } catch (failure) {
      if (!(failure instanceof NetworkError)) throw failure;
      this.#lastFailure = failure;
      this.#notBeforeMs = this.#options.clock.monotonicMs() + this.#backoffMs();
      for (const { fail } of this.#queue.splice(0)) fail(failure);
    }
  }

  /** Half of it by chance, so that nodes that lost another one do not come back to it at once. */
  #backoffMs(): number {
    const longest = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** this.#failureCount);
    this.#failureCount = Math.min(this.#failureCount + 1, 30);
    return longest / 2 + (longest / 2) * (this.#options.random.uint32() / 2 ** 32);
  }

  isIdleSince(beforeMs: number): boolean {
    const isConnected = this.#connection?.isOpen === true || this.#opening !== null;
    return !isConnected && this.#inFlight === 0 && this.#usedMs < beforeMs;
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    for (const { fail } of this.#queue.splice(0)) fail(closed(this.#to));
    this.#connection?.close();
    await this.#opening;
    this.#connection?.close();
  }
}

function closed({ host, port }: Endpoint): NetworkError {
  return new NetworkError(`Cannot send to ${host}:${port}: this node is stopping`, "");
}
