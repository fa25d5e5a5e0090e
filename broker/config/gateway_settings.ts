/** The settings of the gateway's WebSockets. */

import { int, long, type Setting } from "./setting.ts";

/** Rows of the broker's table. */
export const GATEWAY_SOCKET_SETTINGS = {
  "weir.gateway.max.sockets": int("20000", {
    min: 1,
    doc: "WebSockets that may be open at one time; more are refused with status 503.",
  }),
  "weir.gateway.message.max.bytes": int("1048576", {
    min: 1024,
    max: 67_108_864,
    unit: "bytes",
    doc: "Largest message that a WebSocket may send.",
  }),
  "weir.gateway.socket.idle.ms": int("120000", {
    min: 8000,
    max: 960_000,
    unit: "ms",
    doc:
      "A WebSocket of which nothing is heard for so long, though it was pinged, is taken for gone.",
  }),
  "weir.gateway.socket.buffer.bytes": int("262144", {
    min: 1024,
    unit: "bytes",
    doc:
      "Bytes that may wait to be taken by one WebSocket. Past it nothing more is put into it; what it reads is " +
      "fetched again once it has taken them.",
  }),
  "weir.gateway.sockets.buffer.bytes": long("67108864", {
    min: 1_048_576,
    unit: "bytes",
    doc:
      "Bytes that may wait to be taken by all WebSockets together, past which only those that have taken all get more; " +
      "and bytes of all their requests in flight, past which others are refused for the moment.",
  }),
} as const satisfies Readonly<Record<string, Setting>>;
