import { describe, expect, test } from "bun:test";
import { HTTPException } from "hono/http-exception";
import { Config } from "../../../broker/config/config.ts";
import { gatewayApp } from "../../../broker/gateway/app.ts";
import { Feeds } from "../../../broker/gateway/feeds/feeds.ts";
import { gatewaySettings } from "../../../broker/gateway/settings.ts";
import { StreamSlots } from "../../../broker/gateway/stream_slots.ts";
import { Sockets } from "../../../broker/gateway/websocket/sockets.ts";
import { SimClock } from "../../sim/sim_clock.ts";
import { SimLogger } from "../../sim/sim_logger.ts";

const encoder = new TextEncoder();

function makeApp(
  {
    reasons = [],
    metrics = () => Promise.resolve(encoder.encode("weir_up 1\n")),
    noteAnswer = () => {},
  }: {
    readonly reasons?: readonly string[];
    readonly metrics?: () => Promise<Uint8Array<ArrayBuffer>>;
    readonly noteAnswer?: (status: number) => void;
  } = {},
) {
  const logger = new SimLogger();
  const clock = new SimClock();
  const feeds = new Feeds({ client: () => null, clock });
  const settings = gatewaySettings(Config.load({}));
  const client = () => null;
  const limits = settings.sockets;
  const sockets = new Sockets({ feeds, client, clock, logger, version: "1.2.3", limits });
  const app = gatewayApp({
    logger,
    clock,
    settings,
    version: "1.2.3",
    notReadyReasons: () => reasons,
    renderMetrics: metrics,
    noteAnswer,
    client,
    feeds,
    sockets,
    slots: new StreamSlots(settings.maxStreams),
  });
  return { app, clock, logger };
}

describe("gatewayApp", () => {
  test("/healthz: the process is up, ready or not", async () => {
    const { app } = makeApp({ reasons: ["recovering"] });
    const response = await app.request("/healthz");
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ status: "ok", version: "1.2.3" });
    expect(response.headers.get("X-Content-Type-Options")).toBe("nosniff");
    expect(response.headers.get("Cache-Control")).toBe("no-store");
  });

  test("/readyz: 503 with the reasons until there are none", async () => {
    const waiting = await makeApp({ reasons: ["recovering orders-0"] }).app.request("/readyz");
    expect(waiting.status).toBe(503);
    expect(await waiting.json()).toEqual({ status: "not ready", reasons: ["recovering orders-0"] });
    const ready = await makeApp().app.request("/readyz");
    expect(ready.status).toBe(200);
    expect(await ready.json()).toEqual({ status: "ready" });
  });

  test("/metrics: one page for all who ask within a moment, and a fresh one after it", async () => {
    let count = 0;
    const { app, clock } = makeApp({
      metrics: () => Promise.resolve(encoder.encode(`${++count}`)),
    });
    const ask = async () => await (await app.request("/metrics")).text();
    expect(await Promise.all([ask(), ask(), ask()])).toEqual(["1", "1", "1"]);
    await clock.advance(99);
    expect(await ask()).toBe("1");
    await clock.advance(1);
    expect(await ask()).toBe("2");
  });

  test("/metrics: Prometheus' content type", async () => {
    const response = await makeApp().app.request("/metrics");
    expect(response.status).toBe(200);
    expect(response.headers.get("Content-Type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(await response.text()).toBe("weir_up 1\n");
  });

  const problems: readonly (readonly [method: string, path: string, status: number])[] = [
    ["GET", "/", 404],
    ["GET", "/nope", 404],
    ["GET", "/healthz/x", 404],
    ["POST", "/healthz", 405],
    ["DELETE", "/metrics", 405],
  ];
  test.each(problems)("%s %s: problem details with status %d", async (method, path, status) => {
    const response = await makeApp().app.request(path, { method });
    expect(response.status).toBe(status);
    expect(response.headers.get("Content-Type")).toBe("application/problem+json");
    expect(await response.json()).toMatchObject({
      type: "about:blank",
      status,
      title: expect.any(String),
      detail: expect.stringContaining(`Cannot ${method} ${path}`),
    });
    expect(response.headers.get("Allow")).toBe(status === 405 ? "GET, HEAD" : null);
  });

  test("noteAnswer: told the status of every answer, errors too", async () => {
    const statuses: number[] = [];
    const { app } = makeApp({
      reasons: ["not yet"],
      metrics: () => Promise.reject(new Error("no page")),
      noteAnswer: (status) => void statuses.push(status),
    });
    for (const path of ["/healthz", "/readyz", "/metrics", "/nope"]) await app.request(path);
    expect(statuses).toEqual([200, 503, 500, 404]);
  });

  test("HEAD: as GET without the body", async () => {
    const response = await makeApp().app.request("/healthz", { method: "HEAD" });
    expect(response.status).toBe(200);
    expect(await response.text()).toBe("");
  });

  test("errors: told to the log in full and to the client without what is inside", async () => {
    const { app, logger } = makeApp({ metrics: () => Promise.reject(new Error("secret detail")) });
    const response = await app.request("/metrics");
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain("secret");
    expect(logger.lines).toMatchObject([
      { level: "error", message: "Cannot answer an HTTP request", fields: { path: "/metrics" } },
    ]);
  });

  test("errors: an HTTP error keeps its status", async () => {
    const refuse = () => Promise.reject(new HTTPException(413, { message: "too large" }));
    const { app, logger } = makeApp({ metrics: refuse });
    const response = await app.request("/metrics");
    expect(response.status).toBe(413);
    expect(await response.json()).toMatchObject({
      title: "Content Too Large",
      detail: "too large",
    });
    expect(logger.lines).toEqual([]);
  });
});
