/** How much the server lets its clients take. */

import type { Config } from "../config/config.ts";

/** All of them; a server is given those that differ from `DEFAULT_LIMITS`. */
export interface ServerLimits {
  /** Largest request (Kafka's `socket.request.max.bytes`). */
  readonly maxRequestBytes: number;
  /** Requests of one connection that are handed over and not answered. */
  readonly maxInFlightRequests: number;
  /** Bytes of answers that may wait on one connection before it is no longer read. */
  readonly maxQueuedAnswerBytes: number;
  /** Bytes of requests in flight and answers that one connection may hold before it is no longer read. */
  readonly connectionShareBytes: number;
  /** The byte budget over all connections. */
  readonly memoryBudgetBytes: number;
  /** A connection without requests in flight is closed after this (`connections.max.idle.ms`). */
  readonly connectionsMaxIdleMs: number;
  /** A client that takes no byte of its answers for this long is closed. */
  readonly writeStallMs: number;
  /** The same, and for a request that stops half-way, while others wait for memory. */
  readonly pressureStallMs: number;
  /** Kafka's `max.connections`. */
  readonly maxConnections: number;
  /** Kafka's `max.connections.per.ip`. */
  readonly maxConnectionsPerIp: number;
}

/** One connection may hold this part of the memory budget. */
const CONNECTION_SHARES = 4;

/** Kafka's defaults where Kafka has the setting. */
export const DEFAULT_LIMITS: ServerLimits = {
  maxRequestBytes: 100 * 1024 * 1024,
  maxInFlightRequests: 1024,
  maxQueuedAnswerBytes: 1024 * 1024,
  connectionShareBytes: 16 * 1024 * 1024,
  memoryBudgetBytes: 64 * 1024 * 1024,
  connectionsMaxIdleMs: 600_000,
  writeStallMs: 30_000,
  pressureStallMs: 2_000,
  maxConnections: 0x7fff_ffff,
  maxConnectionsPerIp: 0x7fff_ffff,
};

/** The limits that the operator set. Some of them may change while the broker runs. */
export function limitsOf(config: Config): Partial<ServerLimits> {
  const memoryBudgetBytes = config.number("weir.memory.budget.bytes");
  return {
    maxRequestBytes: config.number("socket.request.max.bytes"),
    memoryBudgetBytes,
    connectionShareBytes: Math.floor(memoryBudgetBytes / CONNECTION_SHARES),
    connectionsMaxIdleMs: config.number("connections.max.idle.ms"),
    maxConnections: config.number("max.connections"),
    maxConnectionsPerIp: config.number("max.connections.per.ip"),
  };
}
