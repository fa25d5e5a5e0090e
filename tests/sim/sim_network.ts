/**
 * A network in memory, on virtual time: latency, full buffers, partial writes and chunks by seed.
 *
 *     write ─→ [ send buffer, bounded ] ── latency, cut into chunks ─→ [ received, kept while paused ] ─→ onData
 *
 * A chunk leaves the send buffer when the other side has been given it, so a side that is paused fills
 * the buffer of the other: TCP's back-pressure. Bytes of one direction never overtake each other; the end
 * of a connection arrives after the bytes before it, a reset (`reset`) at once. What lies between two machines
 * is `SimLinks`: what is sent into a cut waits there. A machine that lost its power vanishes from its
 * connections without a word; whoever writes to it afterwards is told so once it is back.
 *
 * Keeps the promises of `broker/network.ts`: no callback inside a call, `onClose` once and last.
 */

import {
  type Acceptor,
  type Connection,
  type ConnectionHandlers,
  type Endpoint,
  type Listener,
  type Network,
  NetworkError,
} from "../../broker/network.ts";
import type { Clock, Random } from "../../storage/platform.ts";
import { SimLinks } from "./sim_links.ts";

/** How the network behaves. */
export interface SimNetworkOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Delay of each chunk, from 0 up to this. */
  readonly maxLatencyMs?: number;
  /** Bytes that may be under way in one direction. */
  readonly bufferBytes?: number;
  /** Largest chunk that arrives; null: as large as it was written. Chunks are cut by chance below that. */
  readonly maxChunkBytes?: number | null;
  /** True: a write takes a part by chance even when all would fit. */
  readonly partialWrites?: boolean;
}

interface OpenPort {
  readonly host: string;
  readonly port: number;
  readonly accept: Acceptor;
}

const FIRST_EPHEMERAL_PORT = 40_000;
const WILDCARDS = ["0.0.0.0", "::"];
/** The first packet of a connection is sent again after this, then after twice as long … */
const FIRST_RETRY_MS = 1_000;
const CONNECT_TIMEOUT_MS = 60_000;

/** One machine's view of the network: `host` is its address; views made with `host()` share the wires. */
export class SimNetwork implements Network {
  readonly options: Required<SimNetworkOptions>;
  readonly address: string;
  readonly #ports: Map<number, OpenPort[]>;
  readonly #connections: Set<SimConnection>;
  readonly links: SimLinks;
  #lastPort = FIRST_EPHEMERAL_PORT;

  constructor(options: SimNetworkOptions, address = "127.0.0.1", shared?: SimNetwork) {
    this.options = {
      maxLatencyMs: 0,
      bufferBytes: 64 * 1024,
      maxChunkBytes: null,
      partialWrites: false,
      ...options,
    };
    this.address = address;
    this.#ports = shared === undefined ? new Map() : shared.#ports;
    this.#connections = shared === undefined ? new Set() : shared.#connections;
    this.links = shared === undefined ? new SimLinks() : shared.links;
  }

  /** The same network as another machine sees it. */
  host(address: string): SimNetwork {
    return new SimNetwork(this.options, address, this);
  }

  /** Open connections of a machine, its own ends, oldest first. */
  connectionsOf(machine: string): SimConnection[] {
    return [...this.#connections].filter(({ localAddress }) => localAddress === machine);
  }

  /** Connections that are open, both ends counted. */
  get openEnds(): number {
    return this.#connections.size;
  }

  listen({ host, port }: Endpoint, accept: Acceptor): Listener {
    const address = WILDCARDS.includes(host) ? host : host === "localhost" ? "127.0.0.1" : host;
    const actual = port === 0 ? ++this.#lastPort : port;
    const open = this.#ports.get(actual) ?? [];
    if (open.some((other) => other.host === address)) {
      throw new NetworkError(`Cannot listen on ${host}:${port}: the port is in use`, "EADDRINUSE");
    }
    const entry = { host: address, port: actual, accept };
    this.#ports.set(actual, [...open, entry]);
    return {
      host,
      port: actual,
      close: () => {
        const left = this.#ports.get(actual)!.filter((other) => other !== entry);
        this.#ports.set(actual, left);
        return Promise.resolve();
      },
    };
  }

  async connect({ host, port }: Endpoint, opened: Acceptor): Promise<Connection> {
    const address = host === "localhost" ? "127.0.0.1" : host;
    await this.options.clock.sleep(this.latencyMs() + this.links.delayMs(this.address, address));
    await this.#reach(address, port);
    const entry = this.#ports.get(port)
      ?.find((open) => open.host === address || WILDCARDS.includes(open.host));
    if (entry === undefined) {
      throw new NetworkError(`Cannot connect to ${host}:${port}: ECONNREFUSED`, "ECONNREFUSED");
    }
    const clientPort = ++this.#lastPort;
    const near = new SimConnection(this, this.#connections, {
      remoteAddress: address,
      remotePort: port,
      localAddress: this.address,
      localPort: clientPort,
    });
    const far = new SimConnection(this, this.#connections, {
      remoteAddress: this.address,
      remotePort: clientPort,
      localAddress: address,
      localPort: port,
    });
    near.peer = far;
    far.peer = near;
    far.handlers = entry.accept(far);
    near.handlers = opened(near);
    return near;
  }

  /** Waits until the other machine can be heard. Errors: NetworkError. */
  async #reach(machine: string, port: number): Promise<void> {
    const { clock } = this.options;
    const here = this.address;
    let retryMs = FIRST_RETRY_MS;
    for (let waitedMs = 0;;) {
      if (this.links.isOpen(here, machine) && this.links.isOpen(machine, here)) return;
      if (waitedMs >= CONNECT_TIMEOUT_MS) {
        throw new NetworkError(`Cannot connect to ${machine}:${port}: ETIMEDOUT`, "ETIMEDOUT");
      }
      await clock.sleep(retryMs);
      waitedMs += retryMs;
      retryMs *= 2;
    }
  }

  /** A delay by chance. */
  latencyMs(): number {
    const { maxLatencyMs, random } = this.options;
    return maxLatencyMs === 0 ? 0 : random.uint32() % (maxLatencyMs + 1);
  }
}

interface Addresses {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
}

/** One end. */
export class SimConnection implements Connection {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  handlers: ConnectionHandlers | null = null;
  peer: SimConnection | null = null;
  /** Bytes that this end sent and the other has not been given. */
  #underWayBytes = 0;
  #lastArrivalMs = 0;
  /** Arrived and kept back, since this end is paused. */
  readonly #received: Uint8Array[] = [];
  #isPaused = false;
  #isDelivering = false;
  #isClosed = false;
  #hasVanished = false;
  /** What this end sent and the links hold back. */
  #heldBack: (() => void)[] = [];
  #hasPeerEnded = false;
  #wantsDrain = false;
  readonly #network: SimNetwork;
  readonly #open: Set<SimConnection>;

  constructor(network: SimNetwork, open: Set<SimConnection>, addresses: Addresses) {
    this.#network = network;
    this.#open = open;
    this.remoteAddress = addresses.remoteAddress;
    this.remotePort = addresses.remotePort;
    this.localAddress = addresses.localAddress;
    this.localPort = addresses.localPort;
    open.add(this);
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  write(bytes: Uint8Array): number {
    if (this.#isClosed || bytes.length === 0) return 0;
    const { bufferBytes, partialWrites, random } = this.#network.options;
    let accepted = Math.min(bytes.length, bufferBytes - this.#underWayBytes);
    if (partialWrites && accepted > 1) accepted = 1 + random.uint32() % accepted;
    if (accepted < bytes.length) this.#wantsDrain = true;
    if (accepted === 0) return 0;
    this.#underWayBytes += accepted;
    this.#send(bytes.slice(0, accepted));
    return accepted;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#later(() => this.#deliver());
  }

  close(reason?: string): void {
    if (this.#isClosed) return;
    this.#finish(reason);
    const peer = this.peer!;
    this.#arrive(() => peer.#peerEnded());
  }

  /** Breaks the connection for both ends at once; what is under way is lost. */
  reset(): void {
    this.#finish("ECONNRESET");
    this.peer!.#finish("ECONNRESET");
  }

  /** This end is told that the connection broke; the other gets what is under way, then hears of it. */
  breakHere(): void {
    if (this.#isClosed) return;
    this.#finish("ECONNRESET");
    const peer = this.peer!;
    this.#arrive(() => peer.#finish("ECONNRESET"));
  }

  /** The machine of this end has lost its power: nobody is told. */
  vanish(): void {
    this.#isClosed = true;
    this.#hasVanished = true;
    this.#received.length = 0;
    this.#heldBack = [];
    this.#open.delete(this);
  }

  #send(bytes: Uint8Array): void {
    const { maxChunkBytes, random } = this.#network.options;
    const peer = this.peer!;
    for (let at = 0; at < bytes.length;) {
      const left = bytes.length - at;
      const size = maxChunkBytes === null
        ? left
        : Math.min(left, 1 + random.uint32() % maxChunkBytes);
      const chunk = bytes.slice(at, at + size);
      at += size;
      this.#arrive(() => {
        if (peer.#hasVanished) return this.#answeredByReset();
        if (peer.#isClosed) return;
        peer.#received.push(chunk);
        peer.#deliver();
      });
    }
  }

  /** The machine is up again and knows nothing of this connection. */
  #answeredByReset(): void {
    if (!this.#network.links.isDown(this.remoteAddress)) this.#finish("ECONNRESET");
  }

  /** Runs `effect` at the other end after the latency, in the order of the calls. */
  #arrive(effect: () => void): void {
    const { clock } = this.#network.options;
    const { links } = this.#network;
    const delayMs = this.#network.latencyMs() +
      links.delayMs(this.localAddress, this.remoteAddress);
    const atMs = Math.max(clock.monotonicMs() + delayMs, this.#lastArrivalMs);
    this.#lastArrivalMs = atMs;
    clock.timer(atMs - clock.monotonicMs(), () => this.#pass(effect));
  }

  /** Over the link, or held back there until it is open. */
  #pass(effect: () => void): void {
    const { links } = this.#network;
    if (this.#hasVanished) return;
    const isOpen = !links.isCut(this.localAddress, this.remoteAddress);
    if (isOpen && this.#heldBack.length === 0) return effect();
    this.#heldBack.push(effect);
    if (this.#heldBack.length === 1) this.#passWhenHealed();
  }

  #passWhenHealed(): void {
    const { links } = this.#network;
    links.whenHealed(() =>
      this.#later(() => {
        if (links.isCut(this.localAddress, this.remoteAddress)) return this.#passWhenHealed();
        for (const effect of this.#heldBack.splice(0)) effect();
      })
    );
  }

  #later(effect: () => void): void {
    this.#network.options.clock.timer(0, effect);
  }

  #deliver(): void {
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    while (this.#received.length > 0 && !this.#isPaused && !this.#isClosed) {
      const chunk = this.#received.shift()!;
      // Whoever gets it may give its memory back.
      const byteCount = chunk.length;
      this.handlers!.onData(chunk);
      this.peer!.#taken(byteCount);
    }
    this.#isDelivering = false;
    if (this.#hasPeerEnded && this.#received.length === 0) this.#finish(undefined);
  }

  /** The other end has been given bytes that this end sent. */
  #taken(byteCount: number): void {
    this.#underWayBytes -= byteCount;
    if (!this.#wantsDrain || this.#isClosed) return;
    this.#wantsDrain = false;
    this.#later(() => this.#isClosed || this.handlers!.onDrain());
  }

  #peerEnded(): void {
    this.#hasPeerEnded = true;
    this.#deliver();
  }

  #finish(reason: string | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#received.length = 0;
    this.#open.delete(this);
    this.#later(() => this.handlers?.onClose(reason));
  }
}
