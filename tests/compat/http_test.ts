import { describe, expect, test } from "bun:test";
import { Hono } from "hono";
import { serveHttp } from "../../broker/gateway/http_bun.ts";
import { NetworkError } from "../../broker/network.ts";

const HOST = "127.0.0.1";
const PORT = 31_110;
const SOCKETS = { maxMessageBytes: 1024, idleTimeoutMs: 120_000 };

describe("serveHttp", () => {
  test("serveHttp: answers, refuses a port that is taken, and frees it when stopped", async () => {
    const app = new Hono().get("/", (context) => context.text("here"));
    const server = serveHttp({ app, host: HOST, port: PORT, sockets: SOCKETS });
    expect(await (await fetch(`http://${HOST}:${PORT}/`)).text()).toBe("here");
    expect(() => serveHttp({ app, host: HOST, port: PORT, sockets: SOCKETS })).toThrow(
      NetworkError,
    );
    await server.stop();
    const again = serveHttp({ app, host: HOST, port: PORT, sockets: SOCKETS });
    await again.stop();
  });

  test("serveHttp: a body beyond the bound is refused", async () => {
    const app = new Hono().post("/", async (context) => context.text(await context.req.text()));
    const server = serveHttp({ app, host: HOST, port: 0, sockets: SOCKETS });
    const body = "x".repeat(1024 * 1024 + 1);
    const response = await fetch(`http://${HOST}:${server.port}/`, { method: "POST", body });
    expect(response.status).toBe(413);
    await server.stop();
  });

  test("serveHttp: an address that this machine has not is refused with what to do", () => {
    const text =
      "Cannot serve HTTP on 192.0.2.1:31111: the host is no address of this machine, or its " +
      "name is not known (EADDRNOTAVAIL): choose an address that this machine has; set http.listeners";
    expect(() => serveHttp({ app: new Hono(), host: "192.0.2.1", port: 31_111, sockets: SOCKETS }))
      .toThrow(text);
  });

  test("stop: a request that hangs is cut off after half a second", async () => {
    const app = new Hono().get("/", () => new Promise<Response>(() => {}));
    const server = serveHttp({ app, host: HOST, port: 0, sockets: SOCKETS });
    const hanging = fetch(`http://${HOST}:${server.port}/`).then(() => "answered", () => "cut off");
    await Bun.sleep(50);
    const startMs = performance.now();
    await server.stop();
    expect(performance.now() - startMs).toBeLessThan(900);
    expect(await hanging).toBe("cut off");
  });
});
