/**
 * What the broker serves over HTTP: health, readiness, metrics and the REST API.
 *
 * Errors are problem details (`problem.ts`). What a page of a stranger asks for is refused (`origin.ts`), except health and
 * metrics, which change nothing and tell no records.
 */

import { Hono } from "hono";
import type { Clock, Logger } from "../../storage/platform.ts";
import type { KafkaClient } from "../client/kafka_client.ts";
import { clientApp } from "./client/client_app.ts";
import type { ConsoleParts } from "./console/console.tsx";
import type { Feeds } from "./feeds/feeds.ts";
import { foreignOrigin, strangeHost } from "./origin.ts";
import { faultOf, problem } from "./problem.ts";
import type { GatewaySettings } from "./settings.ts";
import type { StreamSlots } from "./stream_slots.ts";
import type { Sockets } from "./websocket/sockets.ts";
import { Writing } from "./writing.ts";

/** What the gateway asks of the broker. */
export interface GatewayOptions {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly settings: GatewaySettings;
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
  readonly slots: StreamSlots;
  /** Of the console; without it there is none. */
  readonly console?: ConsoleParts;
}

/** Source: the Prometheus text exposition format 0.0.4. */
const METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

const METRICS_FRESH_MS = 100;

/** Makes the application; `app.request()` tries it without a socket. */
export function gatewayApp(options: GatewayOptions): Hono {
  const { clock, logger, noteAnswer, notReadyReasons, renderMetrics, version } = options;
  const app = new Hono();

  app.use(async (context, next) => {
    await next();
    noteAnswer?.(context.res.status);
    context.header("X-Content-Type-Options", "nosniff");
    if (!context.res.headers.has("Cache-Control")) context.header("Cache-Control", "no-store");
  });

  app.get("/healthz", (context) => context.json({ status: "ok", version }));

  app.get("/readyz", (context) => {
    const reasons = notReadyReasons();
    return reasons.length === 0
      ? context.json({ status: "ready" })
      : context.json({ status: "not ready", reasons }, 503);
  });

  const metricsPage = sharedPage(clock, renderMetrics);
  app.get("/metrics", async (context) => {
    const page = await metricsPage();
    return context.body(page, 200, { "Content-Type": METRICS_CONTENT_TYPE });
  });

  refuseStrangers(app, options);
  mountParts(app, options);

  const known = ["/healthz", "/readyz", "/metrics"];
  app.notFound((context) => {
    const { method, path } = context.req;
    if (!known.includes(path)) {
      return problem(
        context,
        404,
        `Cannot ${method} ${path}: no such page; there are ${known.join(", ")}, and the API that ` +
          "/docs shows",
      );
    }
    context.header("Allow", "GET, HEAD");
    return problem(context, 405, `Cannot ${method} ${path}: it takes GET only`);
  });

  app.onError((error, context) => {
    const { method, path } = context.req;
    const fault = faultOf(error);
    if (fault !== null) return problem(context, fault.status, fault.detail, fault.errorCode);
    logger.error("Cannot answer an HTTP request", { method, path, error });
    return problem(
      context,
      500,
      `Cannot ${method} ${path}: an error inside the broker; see its log`,
    );
  });

  return app;
}

/** One page for all that ask within a moment: whoever asks without end does not keep the node busy with it. */
function sharedPage(clock: Clock, render: GatewayOptions["renderMetrics"]) {
  let page: ReturnType<typeof render> | null = null;
  let madeAtMs = -Infinity;
  return () => {
    const nowMs = clock.monotonicMs();
    if (page === null || nowMs - madeAtMs >= METRICS_FRESH_MS) {
      madeAtMs = nowMs;
      page = render();
    }
    return page;
  };
}

/** What there is besides health and metrics. */
function mountParts(app: Hono, options: GatewayOptions): void {
  const { sockets, settings, console } = options;
  const writing = new Writing(settings);
  app.route("/", clientApp());
  mountLate(app, ["/ws"], async () => {
    const { webSocketApp } = await import("./websocket/web_socket_app.ts");
    return webSocketApp({ sockets, allowedOrigins: settings.allowedOrigins });
  });
  mountLate(app, REST_PATHS, async () => {
    const { restApp } = await import("./rest/rest.ts");
    return restApp({ ...options, writing });
  });
  if (console !== undefined) {
    mountLate(app, ["/", "/console/*"], async () => {
      const { consoleApp } = await import("./console/console.tsx");
      return consoleApp({ ...options, writing }, console);
    });
  }
}

/** Where the REST API is. */
const REST_PATHS = ["/v3/*", "/api/*", "/openapi.json", "/docs", "/docs/*"] as const;

/**
 * Adds a part that is made when somebody asks for it first: to make its schemas and pages takes a good part of a start.
 * What goes wrong in it is told as everywhere.
 */
function mountLate(app: Hono, paths: readonly string[], load: () => Promise<Hono>): void {
  let part: Promise<Hono> | null = null;
  const made = async () => {
    const loaded = await load();
    return loaded.onError((error) => {
      throw error;
    });
  };
  for (const path of paths) {
    app.all(path, async (context) => {
      part ??= made();
      return await (await part).fetch(context.req.raw, context.env);
    });
  }
}

/** Methods that change nothing. */
const SAFE_METHODS: readonly string[] = ["GET", "HEAD", "OPTIONS"];

/** What is registered after this is for our own pages, and for programs. */
function refuseStrangers(app: Hono, { settings }: GatewayOptions): void {
  app.use(async (context, next) => {
    const { raw, method, path } = context.req;
    const host = strangeHost(raw, settings.allowedHosts);
    if (host !== null) {
      return problem(
        context,
        421,
        `Cannot ${method} ${path}: ${host} is no name that this gateway has; ` +
          "advertised.listeners and weir.gateway.allowed.hosts give it names",
      );
    }
    const origin = SAFE_METHODS.includes(method)
      ? null
      : foreignOrigin(raw, settings.allowedOrigins);
    if (origin !== null) {
      return problem(
        context,
        403,
        `Cannot ${method} ${path}: a page of ${origin} asks for it, and only pages of this gateway ` +
          "may; weir.gateway.allowed.origins names others",
      );
    }
    return await next();
  });
}
