/**
 * HTTP on a port, by `Bun.serve`, with bounds on what a stranger may hold: the size of a request and the
 * time that a connection may be silent.
 */

import type { Hono } from "hono";
import { NetworkError } from "../network.ts";
import { listenProblem } from "../network_bun.ts";
import type { HttpServer } from "./http_server.ts";

/** Largest body that is read. */
const MAX_BODY_BYTES = 1024 * 1024;
/** How long a connection may be silent, in seconds. */
const IDLE_TIMEOUT_S = 30;
/** How long a stop waits for requests in progress, and for clients that stopped in the middle of one. */
const STOP_TIMEOUT_MS = 500;

/** Errors: NetworkError when the port cannot be opened. */
export function serveHttp(
  { app, host, port }: { readonly app: Hono; readonly host: string; readonly port: number },
): HttpServer {
  try {
    const server = Bun.serve({
      hostname: host === "" ? "::" : host,
      port,
      fetch: (request) => app.fetch(request),
      idleTimeout: IDLE_TIMEOUT_S,
      maxRequestBodySize: MAX_BODY_BYTES,
      development: false,
      // Without development, Bun shares the port with whoever has it, unless told not to.
      reusePort: false,
    });
    return {
      host,
      port: server.port ?? port,
      stop: () => stop(server),
    };
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException | null)?.code ?? "";
    throw new NetworkError(
      `Cannot serve HTTP on ${host}:${port}: ${listenProblem(code)}; set http.listeners to ` +
        "another address, or to nothing for none",
      code,
      { cause },
    );
  }
}

async function stop(server: Bun.Server<undefined>): Promise<void> {
  const graceful = server.stop(false);
  const cut = setTimeout(() => void server.stop(true), STOP_TIMEOUT_MS);
  await graceful;
  clearTimeout(cut);
}
