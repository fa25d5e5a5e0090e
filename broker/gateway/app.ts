/**
 * What the broker serves over HTTP: health, readiness and metrics so far.
 *
 * Errors are problem details (`problem.ts`).
 */

import { Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import type { Logger } from "../../storage/platform.ts";
import type { KafkaClient } from "../client/kafka_client.ts";
import { clientApp } from "./client/client_app.ts";
import type { Feeds } from "./feeds/feeds.ts";
import { problem } from "./problem.ts";
import type { Sockets } from "./websocket/sockets.ts";
import { webSocketApp } from "./websocket/web_socket_app.ts";

/** What the gateway asks of the broker. */
export interface GatewayOptions {
  readonly logger: Logger;
  /** Told of each answer, when it begins to leave. */
  readonly noteAnswer?: (status: number) => void;
  readonly version: string;
  /** Why the broker is not ready to serve, one sentence each; empty when it is. */
  readonly notReadyReasons: () => readonly string[];
  /** Everything in Prometheus' text format, encoded. */
  readonly renderMetrics: () => Promise<Uint8Array<ArrayBuffer>>;
  /** The way to the cluster; null while this node does not serve it. */
  readonly client: () => KafkaClient | null;
  /** Partitions as streams: one read of each for all who want it. */
  readonly feeds: Feeds;
  readonly sockets: Sockets;
  /** Origins whose pages may connect, besides this node's own; `*` for all. */
  readonly allowedOrigins: readonly string[];
}

/** Source: the Prometheus text exposition format 0.0.4. */
const METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** Makes the application; `app.request()` tries it without a socket. */
export function gatewayApp(options: GatewayOptions): Hono {
  const { logger, noteAnswer, notReadyReasons, renderMetrics, version } = options;
  const app = new Hono();

  app.use(async (context, next) => {
    await next();
    noteAnswer?.(context.res.status);
    context.header("X-Content-Type-Options", "nosniff");
    context.header("Cache-Control", "no-store");
  });

  app.get("/healthz", (context) => context.json({ status: "ok", version }));

  app.get("/readyz", (context) => {
    const reasons = notReadyReasons();
    return reasons.length === 0
      ? context.json({ status: "ready" })
      : context.json({ status: "not ready", reasons }, 503);
  });

  app.get("/metrics", async (context) => {
    const page = await renderMetrics();
    return context.body(page, 200, { "Content-Type": METRICS_CONTENT_TYPE });
  });

  app.route("/", clientApp());
  app.route("/", webSocketApp(options));

  const known = ["/healthz", "/readyz", "/metrics"];
  app.notFound((context) => {
    const { method, path } = context.req;
    if (!known.includes(path)) {
      return problem(
        context,
        404,
        `Cannot ${method} ${path}: no such page; there are ${known.join(", ")}`,
      );
    }
    context.header("Allow", "GET, HEAD");
    return problem(context, 405, `Cannot ${method} ${path}: it takes GET only`);
  });

  app.onError((error, context) => {
    const { method, path } = context.req;
    if (error instanceof HTTPException) return problem(context, error.status, error.message);
    logger.error("Cannot answer an HTTP request", { method, path, error });
    return problem(
      context,
      500,
      `Cannot ${method} ${path}: an error inside the broker; see its log`,
    );
  });

  return app;
}
