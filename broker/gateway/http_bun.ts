/**
 * HTTP on a port, by `Bun.serve`, with a bound on the time that a connection may be silent; and its WebSockets, with Bun's
 * own groups. Bodies are bounded by those who read them, piece by piece: a stream of records has no end.
 */

import type { Hono } from "hono";
import { NetworkError } from "../network.ts";
import { listenProblem } from "../network_bun.ts";
import type {
  GatewaySocket,
  HttpEnvironment,
  HttpServer,
  SocketHandlers,
  SocketLimits,
  SocketPort,
  SocketUpgrade,
} from "./http_server.ts";

/** How long a connection may be silent, in seconds. */
const IDLE_TIMEOUT_S = 30;
/** How long a stop waits for requests in progress, and for clients that stopped in the middle of one. */
const STOP_TIMEOUT_MS = 500;
/** Far above what the sessions let a socket buffer: one that gets here is closed, rather than left out. */
const BACKPRESSURE_BYTES = 32 * 1024 * 1024;
/** Bun's bounds. */
const SOCKET_IDLE_S = { min: 8, max: 960 } as const;

/** What Bun keeps with a WebSocket. */
interface SocketData {
  readonly upgrade: SocketUpgrade;
  socket: BunSocket | null;
  handlers: SocketHandlers | null;
}

/** Errors: NetworkError when the port cannot be opened. */
export function serveHttp(
  { app, host, port, sockets }: {
    readonly app: Hono;
    readonly host: string;
    readonly port: number;
    readonly sockets: SocketLimits;
  },
): HttpServer {
  try {
    const server: Bun.Server<SocketData> = Bun.serve<SocketData>({
      hostname: host === "" ? "::" : host,
      port,
      fetch: async (request, self) => await answer(app, request, self),
      idleTimeout: IDLE_TIMEOUT_S,
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      development: false,
      // Without development, Bun shares the port with whoever has it, unless told not to.
      reusePort: false,
      websocket: socketHandler(sockets, {
        publish: (group, message) => void server.publish(group, message as Uint8Array<ArrayBuffer>),
      }),
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

async function answer(
  app: Hono,
  request: Request,
  server: Bun.Server<SocketData>,
): Promise<Response | undefined> {
  let isUpgraded = false;
  const environment: HttpEnvironment = {
    upgrade(upgrade) {
      const { protocol } = upgrade;
      isUpgraded = server.upgrade(request, {
        data: { upgrade, socket: null, handlers: null },
        ...(protocol !== null && { headers: { "Sec-WebSocket-Protocol": protocol } }),
      });
      return isUpgraded;
    },
    toJavaScript,
  };
  const response = await app.fetch(request, environment);
  return isUpgraded ? undefined : response;
}

function toJavaScript(typescript: string): string {
  const transpiler = new Bun.Transpiler({
    loader: "ts",
    target: "browser",
    minifyWhitespace: true,
    deadCodeElimination: true,
  });
  return transpiler.transformSync(typescript);
}

function socketHandler(
  { maxMessageBytes, idleTimeoutMs }: SocketLimits,
  port: SocketPort,
): Bun.WebSocketHandler<SocketData> {
  const idleTimeoutS = Math.round(idleTimeoutMs / 1000);
  return {
    perMessageDeflate: false,
    maxPayloadLength: maxMessageBytes,
    idleTimeout: Math.min(Math.max(idleTimeoutS, SOCKET_IDLE_S.min), SOCKET_IDLE_S.max),
    sendPings: true,
    backpressureLimit: BACKPRESSURE_BYTES,
    closeOnBackpressureLimit: true,
    open(link) {
      link.data.socket = new BunSocket(link, port);
      link.data.handlers = link.data.upgrade.open(link.data.socket);
    },
    message(link, message) {
      link.data.handlers?.onMessage(message);
    },
    drain(link) {
      link.data.handlers?.onDrain();
    },
    close(link) {
      const { handlers, socket } = link.data;
      link.data.handlers = null;
      socket?.closed();
      handlers?.onClose();
    },
  };
}

class BunSocket implements GatewaySocket {
  readonly port: SocketPort;
  #link: Bun.ServerWebSocket<SocketData> | null;

  constructor(link: Bun.ServerWebSocket<SocketData>, port: SocketPort) {
    this.#link = link;
    this.port = port;
  }

  get bufferedBytes(): number {
    return this.#link?.getBufferedAmount() ?? 0;
  }

  send(message: string | Uint8Array): void {
    this.#link?.send(message as Uint8Array<ArrayBuffer>);
  }

  join(group: string): void {
    this.#link?.subscribe(group);
  }

  leave(group: string): void {
    this.#link?.unsubscribe(group);
  }

  close(code: number, reason: string): void {
    const link = this.#link;
    // Its callbacks come later, not within this call.
    if (link !== null) queueMicrotask(() => link.close(code, reason));
  }

  terminate(): void {
    const link = this.#link;
    if (link !== null) queueMicrotask(() => link.terminate());
  }

  closed(): void {
    this.#link = null;
  }
}

async function stop(server: Bun.Server<SocketData>): Promise<void> {
  const graceful = server.stop(false);
  const cut = setTimeout(() => void server.stop(true), STOP_TIMEOUT_MS);
  await graceful;
  clearTimeout(cut);
}
