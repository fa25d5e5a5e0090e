import { describe, expect, test } from "bun:test";
import { Hono } from "hono";
import { serveHttp } from "../../broker/gateway/http_bun.ts";
import type {
  GatewaySocket,
  HttpEnvironment,
  SocketHandlers,
} from "../../broker/gateway/http_server.ts";
import { NetworkError } from "../../broker/network.ts";

const HOST = "127.0.0.1";
const PORT = 31_110;
const SOCKETS = { maxMessageBytes: 1024, idleTimeoutMs: 120_000 };

const echo = (socket: GatewaySocket): SocketHandlers => ({
  onMessage: (message) => socket.send(message),
  onDrain: () => {},
  onClose: () => {},
});

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

  test("serveHttp: a body is read as fast as it is asked for, however long it is", async () => {
    let sentBytes = 0;
    const app = new Hono().post("/", async (context) => {
      const reader = context.req.raw.body!.getReader();
      for (let readBytes = 0; readBytes < 2 * 1024 * 1024;) {
        readBytes += (await reader.read()).value?.length ?? 0;
      }
      await Bun.sleep(300);
      return context.text(`${sentBytes}`);
    });
    const server = serveHttp({ app, host: HOST, port: 0, sockets: SOCKETS });
    const chunk = new Uint8Array(64 * 1024);
    const body = new ReadableStream({
      pull(controller) {
        sentBytes += chunk.length;
        controller.enqueue(chunk);
      },
    });
    const response = await fetch(`http://${HOST}:${server.port}/`, { method: "POST", body });
    expect(Number(await response.text())).toBeLessThan(40 * 1024 * 1024);
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

  test("WebSockets: one that answers no ping is taken for gone, one that does stays", async () => {
    const idleTimeoutMs = 8000;
    const app = new Hono().get("/", (context) => {
      (context.env as HttpEnvironment).upgrade({ protocol: null, open: echo });
      return context.body(null);
    });
    const server = serveHttp({ app, host: HOST, port: 0, sockets: { ...SOCKETS, idleTimeoutMs } });
    const living = new WebSocket(`ws://${HOST}:${server.port}/`);
    const { promise: isGone, resolve: gone } = Promise.withResolvers<void>();
    const startMs = performance.now();
    await Bun.connect({
      hostname: HOST,
      port: server.port,
      // Pings come, and are read.
      socket: { data: () => {}, close: () => gone() },
    }).then((socket) =>
      socket.write(
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
      )
    );
    await isGone;
    const tookMs = performance.now() - startMs;
    expect(tookMs).toBeGreaterThan(idleTimeoutMs / 2);
    expect(tookMs).toBeLessThan(3 * idleTimeoutMs);
    const heard = new Promise((resolve) => {
      living.onmessage = ({ data }) => resolve(data);
      living.onclose = () => resolve("it was closed");
    });
    living.send("still here");
    expect(await heard).toBe("still here");
    living.close();
    await server.stop();
  }, 60_000);
});
