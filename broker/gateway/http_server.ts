/** An HTTP port as the broker sees it. Interfaces only; `http_bun.ts` is the real one. */

import type { Hono } from "hono";

/** An open HTTP port. */
export interface HttpServer {
  readonly host: string;
  /** The real port, also where 0 was asked for. */
  readonly port: number;
  /** Resolves when requests in progress are answered, or cut off after half a second. */
  stop(): Promise<void>;
}

/** Opens a port for an application. Errors: NetworkError when it cannot be opened. */
export type ServeHttp = (options: {
  readonly app: Hono;
  readonly host: string;
  readonly port: number;
}) => HttpServer;
