/** An HTTP port and its WebSockets as the broker sees them. Interfaces only; `http_bun.ts` has the real ones. */

import type { Hono } from "hono";

/** An open HTTP port. */
export interface HttpServer {
  readonly host: string;
  /** The real port, also where 0 was asked for. */
  readonly port: number;
  /** Resolves when requests in progress are answered, or cut off after half a second. */
  stop(): Promise<void>;
}

/** Bounds of WebSockets that the port itself keeps. */
export interface SocketLimits {
  /** The largest message that may come in. */
  readonly maxMessageBytes: number;
  /** A peer of which nothing is heard for so long, and that answers no ping, is taken for gone. */
  readonly idleTimeoutMs: number;
}

/** Opens a port for an application. Errors: NetworkError when it cannot be opened. */
export type ServeHttp = (options: {
  readonly app: Hono;
  readonly host: string;
  readonly port: number;
  readonly sockets: SocketLimits;
}) => HttpServer;

/** One WebSocket. Callbacks never run inside a call to it. */
export interface GatewaySocket {
  /** Bytes that were sent and that the operating system has not taken. */
  readonly bufferedBytes: number;
  /** The port it came over: what is published there reaches the members of a group on this port. */
  readonly port: SocketPort;
  /** Sends a message: text as text, bytes as binary. Does nothing once it has closed. */
  send(message: string | Uint8Array): void;
  /** Becomes a member of a group, or leaves it. */
  join(group: string): void;
  leave(group: string): void;
  /** Says why, and closes. Shape: at most 123 bytes of reason. */
  close(code: number, reason: string): void;
  /** Closes without a word, for one that does not read. */
  terminate(): void;
}

/** All WebSockets of one port. */
export interface SocketPort {
  /**
   * Sends a message to all members of a group, in order with what was sent to each of them. Members past a bound that no
   * well-kept socket reaches are closed: nothing is left out in silence.
   */
  publish(group: string, message: string | Uint8Array): void;
}

/** What the owner of a WebSocket is told. */
export interface SocketHandlers {
  onMessage(message: string | Uint8Array): void;
  /** What was buffered has gone out. */
  onDrain(): void;
  /** Comes once, last, whoever closed it. */
  onClose(): void;
}

/** How a request becomes a WebSocket. */
export interface SocketUpgrade {
  /** The subprotocol that was chosen; null for none. */
  readonly protocol: string | null;
  open(socket: GatewaySocket): SocketHandlers;
}

/** What the port hands to the application with each request, as its environment. */
export interface HttpEnvironment {
  /** Returns: false when the request asks for no WebSocket. Otherwise whatever is answered goes nowhere. */
  upgrade(upgrade: SocketUpgrade): boolean;
  /** What browsers run of a module in TypeScript: without types, comments and needless space. */
  toJavaScript(typescript: string): string;
}
