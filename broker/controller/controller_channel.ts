/**
 * The way to the active controller, wherever it is: this node's own handlers where it leads, else the network.
 *
 *     call ──→ who leads? ── this node ──→ handler ──→ answer
 *                 ↑ └─────── another ────→ Peers ────→ answer
 *                 └── nobody, NOT_CONTROLLER, NetworkError, another leader meanwhile: again, until the timeout
 *
 * A node that asks does not learn whether a request that got lost has been done: what is asked through here may
 * be asked twice, as with Kafka's brokers. Nobody answers NOT_CONTROLLER out of here.
 *
 * Invariants: every promise is settled by its timeout, or by `close`; calls of one API to one controller leave in
 * their order, unless they are made again.
 */

import assert from "node:assert/strict";
import { apiName } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Decoded, Encodable, Message } from "../../protocol/schema.ts";
import type { Clock, Random } from "../../storage/platform.ts";
import type { Api } from "../apis/api.ts";
import { handleOwn } from "../server/inner_request.ts";
import { type Endpoint, NetworkError } from "../network.ts";
import type { Call } from "../peers/call.ts";
import type { Peers } from "../peers/peers.ts";

const FIRST_BACKOFF_MS = 20;
const MAX_BACKOFF_MS = 500;
/** Who leads the quorum, as this node knows. */
export interface ActiveController {
  /** This node leads. */
  readonly isActive: boolean;
  /** Where the leader listens; null while none is known, or when it is this node. */
  readonly endpoint: Endpoint | null;
  /** Calls `changed` when another node leads, or nobody. Returns: what ends it. */
  onChange(changed: () => void): () => void;
}

/** What the channel is made of. */
export interface ControllerChannelOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly peers: Peers;
  readonly active: ActiveController;
  /** What this node answers when it leads. */
  readonly handlers: readonly Api[];
  readonly clientId: string;
}

/** Calls the active controller. */
export class ControllerChannel {
  readonly #options: ControllerChannelOptions;
  readonly #handlers: ReadonlyMap<number, Api>;
  readonly #closing = new AbortController();

  constructor(options: ControllerChannelOptions) {
    this.#options = options;
    this.#handlers = new Map(options.handlers.map((api) => [api.key, api]));
  }

  /** True when calls are answered by this node itself. */
  get isActive(): boolean {
    return this.#options.active.isActive;
  }

  /**
   * Asks the active controller, which is looked for until `timeoutMs` are over.
   *
   * Returns: its answer, which may hold any error but NOT_CONTROLLER. Errors: rejects with NetworkError: no
   * controller in time (ETIMEDOUT), the channel is closed (""), not served there (UNSUPPORTED_VERSION).
   */
  async call<Q extends Message, A extends Message>(
    call: Call<Q, A>,
    body: Encodable<Q>,
    { timeoutMs }: { readonly timeoutMs: number },
  ): Promise<Decoded<A>> {
    const { clock } = this.#options;
    const deadlineMs = clock.monotonicMs() + timeoutMs;
    let failure: NetworkError | null = null;
    for (let backoffMs = FIRST_BACKOFF_MS;; backoffMs = Math.min(2 * backoffMs, MAX_BACKOFF_MS)) {
      this.#refuseWhenClosed(call);
      const leftMs = deadlineMs - clock.monotonicMs();
      if (leftMs <= 0) throw tooLate(call, timeoutMs, failure);
      try {
        const answer = await this.#attempt(call, body, leftMs);
        if (answer !== null && !isRefused(answer)) return answer;
      } catch (error) {
        if (!(error instanceof NetworkError) || error.code === "UNSUPPORTED_VERSION") throw error;
        failure = error;
      }
      this.#refuseWhenClosed(call);
      await this.#pause(Math.min(this.#jitter(backoffMs), deadlineMs - clock.monotonicMs()));
    }
  }

  /** Ends what waits for another node's controller. Requests that this node handles itself are answered. */
  close(): void {
    this.#closing.abort();
  }

  /** One try. Returns: null when nobody is known to lead, or another node has come to. */
  async #attempt<Q extends Message, A extends Message>(
    call: Call<Q, A>,
    body: Encodable<Q>,
    timeoutMs: number,
  ): Promise<Decoded<A> | null> {
    const { active, peers } = this.#options;
    if (active.isActive) return await this.#inTime(this.#handle(call, body), timeoutMs);
    const { endpoint } = active;
    if (endpoint === null) return null;
    const moved = Promise.withResolvers<null>();
    const stop = this.#onMove(() => moved.resolve(null));
    // A request that is late ends its connection: no heartbeat is to go down with it.
    const channel = `controller ${apiName(call.key)}`;
    const sent = peers.send(endpoint, call, body, { timeoutMs, channel });
    try {
      return await Promise.race([sent, moved.promise]);
    } finally {
      stop();
      sent.catch(() => undefined);
    }
  }

  async #handle<Q extends Message, A extends Message>(
    call: Call<Q, A>,
    body: Encodable<Q>,
  ): Promise<Decoded<A>> {
    const api = this.#handlers.get(call.key);
    assert(api !== undefined, `no controller's handler for ${apiName(call.key)}`);
    return await handleOwn(api, call, body, this.#options.clientId);
  }

  /** The answer, or null when the disk under this node's own metadata takes too long. */
  async #inTime<T>(answer: Promise<T>, timeoutMs: number): Promise<T | null> {
    const late = Promise.withResolvers<null>();
    const timer = this.#options.clock.timer(timeoutMs, () => late.resolve(null));
    try {
      return await Promise.race([answer, late.promise]);
    } finally {
      timer.cancel();
    }
  }

  /** Waits, until another node leads at most. */
  async #pause(delayMs: number): Promise<void> {
    const awake = new AbortController();
    const stop = this.#onMove(() => awake.abort());
    await this.#options.clock.sleep(Math.max(delayMs, 0), awake.signal);
    stop();
  }

  /** Calls `moved` when there is another leader, and when the channel is closed. */
  #onMove(moved: () => void): () => void {
    const { signal } = this.#closing;
    const stop = this.#options.active.onChange(moved);
    signal.addEventListener("abort", moved);
    return () => {
      stop();
      signal.removeEventListener("abort", moved);
    };
  }

  #jitter(delayMs: number): number {
    return delayMs * (0.8 + (this.#options.random.uint32() / 2 ** 32) * 0.4);
  }

  #refuseWhenClosed(call: Call<Message, Message>): void {
    if (!this.#closing.signal.aborted || this.#options.active.isActive) return;
    throw new NetworkError(`Cannot ask for ${apiName(call.key)}: this node is stopping`, "");
  }
}

function isRefused(answer: object): boolean {
  return "errorCode" in answer && answer.errorCode === ErrorCode.NOT_CONTROLLER;
}

function tooLate(
  call: Call<Message, Message>,
  timeoutMs: number,
  cause: NetworkError | null,
): NetworkError {
  const found = cause === null ? "none is known" : cause.message;
  return new NetworkError(
    `No active controller answered ${apiName(call.key)} within ${timeoutMs} ms: ${found}`,
    "ETIMEDOUT",
    { cause },
  );
}
