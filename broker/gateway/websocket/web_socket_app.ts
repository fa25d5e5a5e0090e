/**
 * `/ws`: how a request becomes a WebSocket, and which do not.
 *
 * A browser sends the cookies and the address of its network to any site's page that asks; so a page of another origin is
 * let in only where a setting names it. Programs send no Origin.
 */

import { Hono } from "hono";
import type { HttpEnvironment } from "../http_server.ts";
import { foreignOrigin } from "../origin.ts";
import { problem } from "../problem.ts";
import { type Protocol, PROTOCOLS } from "./messages.ts";
import { Session } from "./session.ts";
import type { Sockets } from "./sockets.ts";

const MAX_SHOWN = 200;

/** What the route needs. */
export interface WebSocketAppOptions {
  readonly sockets: Sockets;
  /** Origins whose pages may connect besides this node's own; `*` for all. */
  readonly allowedOrigins: readonly string[];
}

/** Makes the part of the application at `/ws`. */
export function webSocketApp({ sockets, allowedOrigins }: WebSocketAppOptions): Hono {
  const app = new Hono();
  app.get("/ws", (context) => {
    const refuse = (status: 400 | 403 | 426 | 503, detail: string) =>
      problem(context, status, `Cannot open a WebSocket: ${detail}`);
    const { refusal } = sockets;
    if (refusal !== null) {
      context.header("Retry-After", "5");
      return refuse(503, refusal);
    }
    const stranger = strangerOf(context.req.raw, allowedOrigins);
    if (stranger !== null) {
      return refuse(
        403,
        `pages of ${stranger} may not; weir.gateway.allowed.origins names those that may`,
      );
    }
    const protocol = chooseProtocol(context.req.header("Sec-WebSocket-Protocol"));
    if (protocol === null) {
      return refuse(400, `of the subprotocols none is known; there are ${PROTOCOLS.join(" and ")}`);
    }
    const { upgrade } = (context.env ?? {}) as Partial<HttpEnvironment>;
    const isUpgraded = upgrade?.({
      protocol: protocol.isAsked ? protocol.name : null,
      open: (socket) => sockets.open((host) => new Session(socket, protocol.name, host)),
    });
    if (isUpgraded === true) return context.body(null, 200);
    context.header("Upgrade", "websocket");
    return refuse(426, "the request does not ask for one (Upgrade: websocket)");
  });
  return app;
}

function strangerOf(request: Request, allowed: readonly string[]): string | null {
  const origin = request.headers.get("Origin");
  if (origin !== null && (allowed.includes("*") || allowed.includes(origin))) return null;
  return foreignOrigin(request)?.slice(0, MAX_SHOWN) ?? null;
}

interface Chosen {
  readonly name: Protocol;
  /** It was asked for, and the answer has to say so. */
  readonly isAsked: boolean;
}

/** The first that both know; JSON for one that names none. Returns: null where it names others alone. */
function chooseProtocol(asked: string | undefined): Chosen | null {
  if (asked === undefined) return { name: PROTOCOLS[0], isAsked: false };
  for (const name of asked.split(",").map((it) => it.trim())) {
    const known = PROTOCOLS.find((it) => it === name);
    if (known !== undefined) return { name: known, isAsked: true };
  }
  return null;
}
