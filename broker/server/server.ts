/**
 * The Kafka listeners and their connections: who may connect, who is closed, and how all of it stops.
 *
 * A sweep a second closes what stands still: connections idle for too long, clients that do not read their
 * answers, and, while others wait for memory, requests that stopped half-way.
 *
 * Stopping: no new connections; what is in flight is answered, up to a deadline; then all is closed. A
 * client that does not read its answers meanwhile is not waited for.
 */

import assert from "node:assert/strict";
import { Writer } from "../../protocol/bytes.ts";
import type { Clock, Logger, Timer } from "../../storage/platform.ts";
import type { Api, ConnectionInfo } from "../apis/api.ts";
import { isWildcard } from "../config/listeners.ts";
import type { Connection, ConnectionHandlers, Listener, Network } from "../network.ts";
import { type ConnectionHost, ServerConnection } from "./connection.ts";
import { Dispatcher } from "./dispatch.ts";
import { DEFAULT_LIMITS, type ServerLimits } from "./limits.ts";
import { LogLimiter } from "./log_limiter.ts";
import { MemoryBudget } from "./memory_budget.ts";
import { noServerMetrics, type ServerMetrics } from "./metrics.ts";

const SWEEP_MS = 1000;
const DRAIN_SWEEP_MS = 50;
/** From this part of the memory budget on, those who stand still are closed sooner. */
const PRESSED_SHARE = 0.9;
/** Buffer that answers are encoded into; one for the server. */
const WRITER_BYTES = 128 * 1024;
/** A wake-up is put off until so many microtasks have passed in which no further answer became ready. */
const QUIET_HOPS = 3;
/** And no longer than this. */
const MAX_HOPS = 32;
/** So long may connections be at work before the loop looks at what else has come. */
const MAX_TURN_MS = 2;
const SHORT_WORK_MS = 0.05;

/** Where to listen, and what to say of it. */
export interface ListenerOptions {
  /** Kafka's name of the listener: PLAINTEXT. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** What is served there; the APIs of the server when left out. */
  readonly apis?: readonly Api[];
  /** Host and port for clients; missing: the bound ones, or on a wildcard the address the client used. */
  readonly advertisedHost?: string;
  readonly advertisedPort?: number;
}

/** A listener that is open. */
export interface OpenListener {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

/** What a server is made of. */
export interface ServerOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What is served on listeners that do not say. */
  readonly apis?: readonly Api[];
  readonly metrics?: ServerMetrics;
  readonly limits?: Partial<ServerLimits>;
}

const refusedHandlers: ConnectionHandlers = {
  onData() {},
  onDrain() {},
  onClose() {},
};

/** The server. Listens once `listen` is called, until `stop`. */
export class Server implements ConnectionHost {
  limits: ServerLimits;
  readonly budget: MemoryBudget;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limitedLog: LogLimiter;
  readonly metrics: ServerMetrics;
  readonly writer = new Writer(WRITER_BYTES);
  readonly #network: Network;
  readonly #apis: readonly Api[];
  readonly #listeners: Listener[] = [];
  readonly #connections = new Set<ServerConnection>();
  readonly #connectionsByIp = new Map<string, number>();
  readonly #toWake: ServerConnection[] = [];
  /** Of which answers are ready, in the order of their turns. */
  readonly #ready = new Set<ServerConnection>();
  /** How long connections have been at work in this turn of the loop, or since short work was looked at last. Units: ms. */
  #busyMs = 0;
  #nextTurn: Timer | null = null;
  #wakeRequests = 0;
  /** Of the wake-up under way: the requests for it at the last hop, hops without another one, and all hops. */
  #seenWakeRequests = 0;
  #quietHops = 0;
  #hops = 0;
  #lastConnectionId = 0;
  #sweepTimer: Timer | null = null;
  #isStopping = false;
  #whenEmpty: (() => void) | null = null;

  constructor(options: ServerOptions) {
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.budget = new MemoryBudget(this.limits.memoryBudgetBytes);
    this.clock = options.clock;
    this.logger = options.logger;
    this.limitedLog = new LogLimiter(options.clock, options.logger);
    this.metrics = options.metrics ?? noServerMetrics;
    this.#network = options.network;
    this.#apis = options.apis ?? [];
  }

  /** Connections that are open. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Requests of all connections. Looks at each of them: for a scrape, not for every request. */
  requestCounts(): { readonly queued: number; readonly inFlight: number } {
    let queued = 0;
    let inFlight = 0;
    for (const { queuedCount, inFlightCount } of this.#connections) {
      queued += queuedCount;
      inFlight += inFlightCount;
    }
    return { queued, inFlight };
  }

  /** Opens a listener. Errors: NetworkError when the address cannot be bound. */
  listen(options: ListenerOptions): OpenListener {
    const { name, host, port, advertisedHost } = options;
    assert(
      advertisedHost === undefined || !isWildcard(advertisedHost),
      `Cannot advertise ${advertisedHost} for listener ${name}: clients cannot connect to a wildcard; ` +
        "set advertised.listeners to a host that they can reach",
    );
    const dispatcher = new Dispatcher(options.apis ?? this.#apis);
    const listener: Listener = this.#network.listen(
      { host, port },
      (link) => this.#accept(link, { ...options, port: listener.port }, dispatcher),
    );
    this.#listeners.push(listener);
    this.#sweepTimer ??= this.clock.timer(SWEEP_MS, () => this.#sweep());
    return { name, host: listener.host, port: listener.port };
  }

  /** Serves a connection that came over no port of this node, as if it had come to the listener. */
  serve(link: Connection, options: ListenerOptions): ConnectionHandlers {
    return this.#accept(link, options, new Dispatcher(options.apis ?? this.#apis));
  }

  /** Takes new limits: for connections that come from now on, and those of time and number for all. */
  setLimits(limits: Partial<ServerLimits>): void {
    this.limits = { ...this.limits, ...limits };
  }

  /** Answers what is in flight, for at most `deadlineMs`, and closes everything. */
  async stop({ deadlineMs }: { readonly deadlineMs: number }): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#listeners.splice(0).map((listener) => listener.close()));
    const empty = new Promise<void>((resolve) => this.#whenEmpty = resolve);
    for (const connection of [...this.#connections]) connection.drain();
    await this.#drained(empty, this.clock.monotonicMs() + deadlineMs);
    for (const connection of [...this.#connections]) {
      connection.close("stopping", "the broker is stopping");
    }
    this.#sweepTimer?.cancel();
    this.#sweepTimer = null;
    this.#nextTurn?.cancel();
    this.#nextTurn = null;
  }

  /** Waits until all connections have closed, and closes those whose clients do not read their answers. */
  async #drained(empty: Promise<void>, deadlineMs: number): Promise<void> {
    for (;;) {
      const nowMs = this.clock.monotonicMs();
      for (const connection of [...this.#connections]) connection.sweepDrain(nowMs);
      if (this.#connections.size === 0 || nowMs >= deadlineMs) return;
      const slice = new AbortController();
      const sliceMs = Math.min(DRAIN_SWEEP_MS, deadlineMs - nowMs);
      await Promise.race([empty, this.clock.sleep(sliceMs, slice.signal)]);
      slice.abort();
    }
  }

  wakeSoon(connection: ServerConnection): void {
    this.#wakeRequests++;
    if (this.#toWake.push(connection) > 1) return;
    this.#seenWakeRequests = this.#wakeRequests;
    this.#quietHops = 0;
    this.#hops = 0;
    queueMicrotask(this.#hop);
  }

  connectionEnded(connection: ServerConnection): void {
    if (!this.#connections.delete(connection)) return;
    const { remoteAddress, listenerName } = connection.info;
    const left = this.#connectionsByIp.get(remoteAddress)! - 1;
    if (left === 0) this.#connectionsByIp.delete(remoteAddress);
    else this.#connectionsByIp.set(remoteAddress, left);
    this.metrics.connectionClosed(listenerName);
    if (this.#connections.size === 0) this.#whenEmpty?.();
  }

  /** Waits while promises still settle in this turn, then wakes all whose answers are ready, once. */
  readonly #hop = (): void => {
    this.#quietHops = this.#seenWakeRequests === this.#wakeRequests ? this.#quietHops + 1 : 0;
    this.#seenWakeRequests = this.#wakeRequests;
    if (this.#quietHops < QUIET_HOPS && ++this.#hops < MAX_HOPS) return queueMicrotask(this.#hop);
    for (const connection of this.#toWake.splice(0)) this.#ready.add(connection);
    this.#wakeReady();
  };

  get isTurnOver(): boolean {
    return this.#busyMs > MAX_TURN_MS;
  }

  noteWork(ms: number): void {
    this.#busyMs += ms;
    // Of much short work only the sum is worth a timer.
    if (ms >= SHORT_WORK_MS || this.isTurnOver) this.#endTurnSoon();
  }

  putOff(connection: ServerConnection): void {
    this.#ready.add(connection);
    this.#endTurnSoon();
  }

  #endTurnSoon(): void {
    this.#nextTurn ??= this.clock.timer(0, () => {
      this.#nextTurn = null;
      this.#busyMs = 0;
      this.#wakeReady();
    });
  }

  /** A thousand consumers may wait for the same megabyte: what else comes has its turn between some of them and the next. */
  #wakeReady(): void {
    // Who is put off meanwhile comes behind these, in the next turn.
    let left = this.#ready.size;
    for (const connection of this.#ready) {
      if (left-- === 0) return;
      if (this.isTurnOver) return this.#endTurnSoon();
      this.#ready.delete(connection);
      connection.wake();
    }
  }

  #accept(
    link: Connection,
    options: ListenerOptions,
    dispatcher: Dispatcher,
  ): ConnectionHandlers {
    const { remoteAddress } = link;
    const fromIp = this.#connectionsByIp.get(remoteAddress) ?? 0;
    const { maxConnections, maxConnectionsPerIp } = this.limits;
    if (
      this.#isStopping || this.#connections.size >= maxConnections || fromIp >= maxConnectionsPerIp
    ) {
      this.#turnAway(link, options.name, fromIp);
      return refusedHandlers;
    }
    const info: ConnectionInfo = {
      id: ++this.#lastConnectionId,
      remoteAddress,
      listenerName: options.name,
      advertisedHost: options.advertisedHost ??
        (isWildcard(options.host) ? link.localAddress : options.host),
      advertisedPort: options.advertisedPort ?? options.port,
      clientSoftwareName: null,
      clientSoftwareVersion: null,
    };
    const connection = new ServerConnection(this, link, info, dispatcher);
    this.#connections.add(connection);
    this.#connectionsByIp.set(remoteAddress, fromIp + 1);
    this.metrics.connectionOpened(options.name);
    return connection;
  }

  #turnAway(link: Connection, listenerName: string, fromIp: number): void {
    const kind = this.#isStopping ? "stopping" : "too_many_connections";
    this.metrics.connectionRefused(kind);
    link.close(kind);
    if (this.#isStopping) return;
    this.limitedLog.warn("Closed a new connection: too many are open", {
      client: link.remoteAddress,
      listener: listenerName,
      connections: this.#connections.size,
      fromThisAddress: fromIp,
      "max.connections": this.limits.maxConnections,
      "max.connections.per.ip": this.limits.maxConnectionsPerIp,
    });
  }

  #sweep(): void {
    const nowMs = this.clock.monotonicMs();
    const isPressed = this.budget.waitingCount > 0 ||
      this.budget.usedBytes >= PRESSED_SHARE * this.budget.limitBytes;
    let hasStopped = false;
    for (const connection of [...this.#connections]) {
      if (connection.sweep(nowMs, isPressed)) hasStopped = true;
    }
    if (hasStopped) this.budget.shed();
    this.#sweepTimer = this.clock.timer(SWEEP_MS, () => this.#sweep());
  }
}
