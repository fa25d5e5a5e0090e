/** The settings of the gateway, as its parts use them. */

import type { Config } from "../config/config.ts";
import { parseListeners } from "../config/listeners.ts";

/** Settings that hold for as long as the node runs. */
export interface GatewaySettings {
  readonly allowedOrigins: readonly string[];
  /** With the names under which clients of the Kafka protocol reach this node. */
  readonly allowedHosts: readonly string[];
  readonly maxBodyBytes: number;
  readonly memoryBytes: number;
  readonly maxStreams: number;
}

/** Reads them. */
export function gatewaySettings(config: Config): GatewaySettings {
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
  };
}
