/** The settings of the gateway, as its parts use them. */

import type { Config } from "../config/config.ts";
import { parseListeners } from "../config/listeners.ts";
import type { SocketLimits } from "./http_server.ts";
import type { SocketsLimits } from "./websocket/sockets.ts";

/** A message that is too large is told so up to here; past it the port closes the socket without a word. */
const SOCKET_FRAME_FACTOR = 2;

/** Settings that hold for as long as the node runs. */
export interface GatewaySettings {
  readonly allowedOrigins: readonly string[];
  /** With the names under which clients of the Kafka protocol reach this node. */
  readonly allowedHosts: readonly string[];
  readonly maxBodyBytes: number;
  readonly memoryBytes: number;
  readonly maxStreams: number;
  readonly sockets: SocketsLimits;
  /** What a port keeps by itself. */
  readonly port: SocketLimits;
}

/** Reads them. */
export function gatewaySettings(config: Config): GatewaySettings {
  const maxMessageBytes = config.number("weir.gateway.message.max.bytes");
  const listeners = ["listeners", "advertised.listeners"] as const;
  return {
    allowedOrigins: config.list("weir.gateway.allowed.origins"),
    allowedHosts: [
      ...config.list("weir.gateway.allowed.hosts"),
      ...listeners.flatMap((name) => parseListeners(config.text(name) ?? ""))
        .map(({ host }) => host.toLowerCase()),
    ],
    maxBodyBytes: config.number("weir.gateway.max.body.bytes"),
    memoryBytes: config.number("weir.gateway.memory.bytes"),
    maxStreams: config.number("weir.gateway.max.streams"),
    sockets: {
      maxSockets: config.number("weir.gateway.max.sockets"),
      maxMessageBytes,
      socketBufferBytes: config.number("weir.gateway.socket.buffer.bytes"),
      bufferBytes: config.number("weir.gateway.sockets.buffer.bytes"),
    },
    port: {
      maxMessageBytes: SOCKET_FRAME_FACTOR * maxMessageBytes,
      idleTimeoutMs: config.number("weir.gateway.socket.idle.ms"),
    },
  };
}
