/**
 * Addresses: `NAME://host:port` of the Kafka protocol, `host:port` of HTTP.
 *
 * An empty host means every address of the machine, as in Kafka. What is listened on may be such a
 * wildcard; what clients are told to connect to may not: they would connect to themselves.
 *
 * Source: Kafka's `listeners`, `advertised.listeners` and `listener.security.protocol.map`.
 */

import { parseList } from "./setting.ts";

/** Where something is served or reached. An empty host is every address. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** A named address of the Kafka protocol. */
export interface ListenerAddress extends Address {
  readonly name: string;
}

const WILDCARDS = ["", "0.0.0.0", "::", "0:0:0:0:0:0:0:0"];
/** Kafka's security protocols. */
export const SECURITY_PROTOCOLS: readonly string[] = [
  "PLAINTEXT",
  "SSL",
  "SASL_PLAINTEXT",
  "SASL_SSL",
];

/** True when a socket bound to `host` is reached at every address of the machine. */
export function isWildcard(host: string): boolean {
  return WILDCARDS.includes(host) || /^[0:]*:[0:]*$/.test(host);
}

/** `host:port` or `[v6]:port`; null when it is not one. Port 0 is any free port. */
export function parseAddress(text: string): Address | null {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([A-Za-z0-9._-]*)):(\d{1,5})$/.exec(text.trim());
  if (match === null) return null;
  const port = Number(match[3]);
  return port > 65_535 ? null : { host: match[1] ?? match[2] ?? "", port };
}

/** `NAME://host:port`; null when it is not one. Names are upper-cased, as Kafka does. */
export function parseListener(text: string): ListenerAddress | null {
  const match = /^([A-Za-z0-9_.-]+):\/\/(.*)$/.exec(text.trim());
  const address = match === null ? null : parseAddress(match[2] ?? "");
  return match === null || address === null
    ? null
    : { name: (match[1] ?? "").toUpperCase(), ...address };
}

/** The listeners in a value that has passed `listenersProblem`. */
export function parseListeners(text: string): ListenerAddress[] {
  return parseList(text).map(parseListener).filter((listener) => listener !== null);
}

/** The addresses in a value that has passed `addressListProblem`. */
export function parseAddresses(text: string): Address[] {
  return parseList(text).map(parseAddress).filter((address) => address !== null);
}

/** `host:port`, with brackets where the host is an IPv6 address. */
export function formatAddress({ host, port }: Address): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** The security protocol by listener name, of a value that has passed `securityProtocolMapProblem`. */
export function parseSecurityProtocolMap(text: string): Map<string, string> {
  const protocols = new Map<string, string>();
  for (const pair of parseList(text)) {
    const colon = pair.indexOf(":");
    protocols.set(pair.slice(0, colon).toUpperCase(), pair.slice(colon + 1).toUpperCase());
  }
  return protocols;
}

/** What is wrong with a value of `listeners`; null when it is fine. */
export function listenersProblem(text: string): string | null {
  const words = parseList(text);
  if (words.length === 0) {
    return "at least one listener is needed, such as PLAINTEXT://127.0.0.1:9092";
  }
  const names = new Set<string>();
  const ports = new Map<string, string>();
  for (const word of words) {
    const listener = parseListener(word);
    if (listener === null) {
      return `'${word}' is not an address of the form NAME://host:port, such as PLAINTEXT://127.0.0.1:9092`;
    }
    if (names.has(listener.name)) {
      return `Each listener must have a different name, found ${listener.name} twice`;
    }
    const place = formatAddress(listener);
    if (listener.port !== 0 && ports.has(place)) {
      return `Each listener must have a different address, found ${place} twice`;
    }
    names.add(listener.name);
    ports.set(place, listener.name);
  }
  return null;
}

/** What is wrong with a value of `advertised.listeners`; null when it is fine. */
export function advertisedListenersProblem(text: string): string | null {
  for (const word of parseList(text)) {
    const listener = parseListener(word);
    if (listener === null) {
      return `'${word}' is not an address of the form NAME://host:port, such as PLAINTEXT://broker1.example:9092`;
    }
    if (isWildcard(listener.host)) {
      return `'${word}' names no machine that a client could connect to: write the host name or address ` +
        "by which clients reach this machine, or leave advertised.listeners out, and each client is told " +
        "the address that it reached";
    }
    if (listener.port === 0) return `'${word}' has no port that a client could connect to`;
  }
  return null;
}

/** What is wrong with a list of `host:port`; null when it is fine. */
export function addressListProblem(text: string): string | null {
  for (const word of parseList(text)) {
    if (parseAddress(word) === null) {
      return `'${word}' is not an address of the form host:port, such as 127.0.0.1:8080`;
    }
  }
  return null;
}

/** What is wrong with a value of `listener.security.protocol.map`; null when it is fine. */
export function securityProtocolMapProblem(text: string): string | null {
  for (const pair of parseList(text)) {
    const match = /^([A-Za-z0-9_.-]+):([A-Za-z_]+)$/.exec(pair);
    if (match === null) return `'${pair}' is not of the form NAME:PROTOCOL`;
    if (!SECURITY_PROTOCOLS.includes((match[2] ?? "").toUpperCase())) {
      return `'${pair}' names no security protocol; known are ${SECURITY_PROTOCOLS.join(", ")}`;
    }
  }
  return null;
}
