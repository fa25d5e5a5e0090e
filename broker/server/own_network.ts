/**
 * The network as a client inside this node uses it: this node is reached through a pipe in memory, others as ever.
 *
 *     KafkaClient ── connect(this node) ──→ pipe ──→ Server.serve
 *                 └── connect(another) ────→ network
 *
 * So the gateway speaks to the whole cluster as any client does, through frames, budgets and limits, whatever address
 * this node is advertised under. Bytes go from one end to the other in later microtasks; after some of them in one
 * turn of the event loop the rest waits for the next, so that two ends that always have an answer do not keep it.
 *
 * Keeps the promises of `network.ts`. Invariant: at most `MAX_UNREAD_BYTES` wait for an end that is paused.
 */

import type { Clock, Timer } from "../../storage/platform.ts";
import type { Acceptor, Connection, ConnectionHandlers, Endpoint, Network } from "../network.ts";

const MAX_UNREAD_BYTES = 1024 * 1024;
/** Deliveries in one turn of the event loop. */
const MAX_DELIVERIES = 32;

/** What the network is made of. */
export interface OwnNetworkOptions {
  readonly network: Network;
  readonly clock: Clock;
  /** Where clients reach this node. */
  readonly endpoint: Endpoint;
  /** Serves this node's end of a pipe. */
  readonly accept: Acceptor;
}

/** A network in which this node is reached without its port. */
export class OwnNetwork implements Network {
  readonly #options: OwnNetworkOptions;
  readonly #turn: Turn;

  constructor(options: OwnNetworkOptions) {
    this.#options = options;
    this.#turn = new Turn(options.clock);
  }

  listen(...[endpoint, accept]: Parameters<Network["listen"]>) {
    return this.#options.network.listen(endpoint, accept);
  }

  async connect(endpoint: Endpoint, opened: Acceptor): Promise<Connection> {
    const { network, endpoint: own, accept } = this.#options;
    if (endpoint.host !== own.host || endpoint.port !== own.port) {
      return await network.connect(endpoint, opened);
    }
    const near = new PipeEnd(this.#turn, own);
    const far = new PipeEnd(this.#turn, own);
    near.open(far, opened(near));
    far.open(near, accept(far));
    return near;
  }
}

/** Counts what is delivered in a turn of the event loop, and puts off what is too much for it. */
class Turn {
  readonly #clock: Clock;
  #count = 0;
  #end: Timer | null = null;
  #putOff: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs `deliver` soon, not within this call. */
  soon(deliver: () => void): void {
    this.#end ??= this.#clock.timer(0, () => this.#next());
    if (++this.#count > MAX_DELIVERIES) this.#putOff.push(deliver);
    else queueMicrotask(deliver);
  }

  #next(): void {
    this.#end = null;
    this.#count = 0;
    for (const deliver of this.#putOff.splice(0)) this.soon(deliver);
  }
}

/** One end of a pipe. */
class PipeEnd implements Connection {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly #turn: Turn;
  #peer!: PipeEnd;
  #handlers!: ConnectionHandlers;
  /** What the other end wrote and this one has not been given. */
  #unread: Uint8Array[] = [];
  #unreadBytes = 0;
  #isPaused = false;
  #isClosed = false;
  /** The other end has closed: what is unread is given, then this end closes too. */
  #isEnding = false;
  /** The other end could not write all it had. */
  #owesDrain = false;
  #isScheduled = false;

  constructor(turn: Turn, { host, port }: Endpoint) {
    this.#turn = turn;
    this.remoteAddress = this.localAddress = host;
    this.remotePort = this.localPort = port;
  }

  open(peer: PipeEnd, handlers: ConnectionHandlers): void {
    this.#peer = peer;
    this.#handlers = handlers;
    this.#schedule();
  }

  write(bytes: Uint8Array): number {
    if (this.#isClosed) return 0;
    return this.#peer.#take(bytes);
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#schedule();
  }

  close(reason?: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#unread = [];
    this.#peer.#end();
    this.#turn.soon(() => this.#handlers.onClose(reason));
  }

  #take(bytes: Uint8Array): number {
    if (this.#isClosed) return 0;
    const length = Math.min(bytes.length, MAX_UNREAD_BYTES - this.#unreadBytes);
    if (length < bytes.length) this.#owesDrain = true;
    if (length === 0) return 0;
    this.#unread.push(bytes.slice(0, length));
    this.#unreadBytes += length;
    this.#schedule();
    return length;
  }

  #end(): void {
    if (this.#isClosed) return;
    this.#isEnding = true;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#turn.soon(() => {
      this.#isScheduled = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    while (!this.#isPaused && !this.#isClosed) {
      const bytes = this.#unread.shift();
      if (bytes === undefined) break;
      this.#unreadBytes -= bytes.length;
      this.#handlers.onData(bytes);
    }
    if (this.#owesDrain && this.#unreadBytes < MAX_UNREAD_BYTES) {
      this.#owesDrain = false;
      this.#peer.#drained();
    }
    if (this.#isEnding && !this.#isClosed && this.#unread.length === 0) {
      this.#isClosed = true;
      this.#handlers.onClose();
    }
  }

  #drained(): void {
    this.#turn.soon(() => {
      if (!this.#isClosed) this.#handlers.onDrain();
    });
  }
}
