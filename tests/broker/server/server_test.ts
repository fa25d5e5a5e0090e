import { describe, expect, test } from "bun:test";
import { describeFirstBytes } from "../../../broker/server/first_bytes.ts";
import { PORT, requestFrame, World } from "./harness.ts";

const ascii = (text: string) => new TextEncoder().encode(text);
const TLS_HELLO = new Uint8Array([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]);

describe("Server: what it says of itself", () => {
  test("requestCounts: what is at work, and what waits behind it, over all connections", async () => {
    const world = new World({ limits: { maxInFlightRequests: 2 } });
    const [first, second] = [await world.connect(), await world.connect()];
    first.send("later:a", "later:b", "now:c", "now:d", "now:e");
    second.send("later:f");
    await world.pass();
    expect(world.server.requestCounts()).toEqual({ queued: 3, inFlight: 3 });
    world.script.settle("a");
    await world.pass();
    expect(world.server.requestCounts()).toEqual({ queued: 2, inFlight: 3 });
    for (const name of ["b", "f"]) world.script.settle(name);
    await world.pass();
    expect(world.server.requestCounts()).toEqual({ queued: 0, inFlight: 0 });
  });
});

describe("Server: who may connect", () => {
  test("Server: max.connections closes the one too many and takes it again when one has gone", async () => {
    const world = new World({ limits: { maxConnections: 2 } });
    const first = await world.connect("10.0.0.1");
    await world.connect("10.0.0.2");
    const third = await world.connect("10.0.0.3");
    await world.pass();
    expect(third.isClosed).toBe(true);
    expect(world.server.connectionCount).toBe(2);
    expect(world.warnings().length).toBe(1);
    first.link.close();
    await world.pass();
    const fourth = await world.connect("10.0.0.4");
    fourth.send("now:in");
    await world.pass();
    expect(fourth.bodies).toEqual(["in"]);
  });

  test("Server: takes new limits while it runs", async () => {
    const world = new World();
    await world.connect();
    world.server.setLimits({ maxConnections: 1 });
    const second = await world.connect();
    await world.pass();
    expect(second.isClosed).toBe(true);
  });

  test("Server: max.connections.per.ip counts each address for itself", async () => {
    const world = new World({ limits: { maxConnectionsPerIp: 1 } });
    const first = await world.connect("10.0.0.1");
    const second = await world.connect("10.0.0.1");
    const other = await world.connect("10.0.0.2");
    await world.pass();
    expect([first.isClosed, second.isClosed, other.isClosed]).toEqual([false, true, false]);
    first.link.close();
    await world.pass();
    const again = await world.connect("10.0.0.1");
    await world.pass();
    expect(again.isClosed).toBe(false);
  });

  test("Server: of several connections from one address each that goes makes room for one", async () => {
    const world = new World({ limits: { maxConnectionsPerIp: 3 } });
    const clients = [];
    for (let i = 0; i < 3; i++) clients.push(await world.connect("10.0.0.1"));
    clients[0]!.link.close();
    await world.pass();
    const fourth = await world.connect("10.0.0.1");
    const fifth = await world.connect("10.0.0.1");
    await world.pass();
    expect([fourth.isClosed, fifth.isClosed]).toEqual([false, true]);
  });

  test("Server: connection ids are never used twice", async () => {
    const world = new World();
    for (let i = 0; i < 3; i++) {
      const client = await world.connect();
      client.send("now:x");
      await world.pass();
      client.link.close();
      await world.pass();
    }
    expect(world.script.contexts.map(({ connection }) => connection.id)).toEqual([1, 2, 3]);
  });
});

describe("Server: advertised host", () => {
  const cases: [string, object, string, string, number][] = [
    ["the bound host", {}, "127.0.0.1", "127.0.0.1", PORT],
    [
      "on a wildcard the address that the client used",
      { host: "0.0.0.0" },
      "10.1.1.1",
      "10.1.1.1",
      PORT,
    ],
    [
      "what is advertised",
      { host: "0.0.0.0", advertisedHost: "broker.shop", advertisedPort: 19092 },
      "10.1.1.1",
      "broker.shop",
      19092,
    ],
  ];
  for (const [title, listener, to, host, port] of cases) {
    test(`Server: advertises ${title}`, async () => {
      const world = new World({ listener });
      const client = await world.connect(undefined, to);
      client.send("now:x");
      await world.pass();
      const { connection } = world.script.contexts[0]!;
      expect([connection.advertisedHost, connection.advertisedPort]).toEqual([host, port]);
    });
  }

  test("Server: refuses to advertise a wildcard", () => {
    expect(() => new World({ listener: { advertisedHost: "0.0.0.0" } })).toThrow(
      "Cannot advertise 0.0.0.0",
    );
  });
});

describe("Server: idle", () => {
  test("Server: closes a connection that is idle, not one whose request waits", async () => {
    const world = new World({ limits: { connectionsMaxIdleMs: 10_000 } });
    const idle = await world.connect();
    const busy = await world.connect();
    const waiting = await world.connect();
    waiting.send("later:a");
    for (let i = 0; i < 6; i++) {
      await world.pass(4_000);
      busy.send("now:x");
    }
    await world.pass();
    expect([idle.isClosed, busy.isClosed, waiting.isClosed]).toEqual([true, false, false]);
    expect(world.metrics.refused).toEqual(["idle"]);
  });
});

/** A server with twenty clients that wait for an answer each, with its number. */
async function waitingClients() {
  const world = new World();
  const clients = [];
  for (let i = 0; i < 20; i++) {
    const client = await world.connect();
    client.send(`later:${i}`);
    clients.push(client);
  }
  await world.pass();
  return { world, clients };
}

describe("Server: turns", () => {
  test("Server: many connections that are answered at once leave others their turns", async () => {
    const { world, clients } = await waitingClients();
    let encoded = 0;
    world.script.onEncode = () => {
      encoded++;
      world.clock.work(1);
    };
    const seen: number[] = [];
    const look = () => {
      seen.push(encoded);
      if (encoded < 20) world.clock.timer(1, look);
    };
    look();
    for (const name of world.script.waiting) world.script.settle(name);
    await world.pass(100);
    const turns = seen.slice(1).map((count, i) => count - seen[i]!);
    expect(Math.max(...turns)).toBeLessThanOrEqual(6);
    expect(clients.map(({ bodies }) => bodies)).toEqual(clients.map((_, i) => [`${i}`]));
  });

  test("Server: many connections that ask at once leave others their turns", async () => {
    const world = new World();
    const clients = [];
    for (let i = 0; i < 20; i++) clients.push(await world.connect());
    const before = world.server.budget.usedBytes;
    for (const client of clients) client.send("work:1", "now:done");
    const { handled } = world.script;
    const seen: number[] = [];
    let mostBytes = 0;
    const look = () => {
      seen.push(handled.length);
      mostBytes = Math.max(mostBytes, world.server.budget.usedBytes);
      if (handled.length < 40) world.clock.timer(1, look);
    };
    look();
    await world.pass(100);
    const turns = seen.slice(1).map((count, i) => count - seen[i]!);
    expect(Math.max(...turns)).toBeLessThanOrEqual(12);
    // What waits for its turn is charged.
    expect(mostBytes).toBeGreaterThan(before);
    expect(world.server.budget.usedBytes).toBe(before);
    expect(clients.map(({ bodies }) => bodies)).toEqual(clients.map(() => ["done"]));
    // And reading goes on.
    for (const client of clients) client.send("now:again");
    await world.pass(10);
    expect(clients.every(({ bodies }) => bodies.length === 2)).toBe(true);
  });

  test("Server: stop answers those whose turn comes later, and leaves no timer", async () => {
    const { world, clients } = await waitingClients();
    world.script.onEncode = () => world.clock.work(1);
    for (const name of world.script.waiting) world.script.settle(name);
    await world.clock.run(world.server.stop({ deadlineMs: 1000 }));
    await world.pass();
    expect(clients.every(({ isClosed }) => isClosed)).toBe(true);
    expect(clients.every(({ bodies }) => bodies.length === 1)).toBe(true);
    expect(world.clock.pendingTimers).toBe(0);
  });
});

describe("Server: stop", () => {
  test("Server: stop answers what is in flight, then closes and leaves no timer", async () => {
    const world = new World();
    const idle = await world.connect();
    const busy = await world.connect();
    busy.send("later:a", "later:b");
    await world.pass();
    const stopping = world.server.stop({ deadlineMs: 1000 });
    await world.pass(10);
    expect([idle.isClosed, busy.isClosed]).toEqual([true, false]);
    busy.send("now:too late");
    await world.pass(10);
    expect(world.script.handled).toEqual(["later:a", "later:b"]);
    world.script.settle("b");
    world.script.settle("a");
    await world.pass(10);
    await stopping;
    expect(busy.bodies).toEqual(["a", "b"]);
    await world.pass(1);
    expect(busy.isClosed).toBe(true);
    expect(world.clock.pendingTimers).toBe(0);
    await expect(world.connect()).rejects.toThrow("ECONNREFUSED");
  });

  test("Server: stop does not wait for a client that never reads", async () => {
    const world = new World();
    const never = await world.connect();
    never.link.pause();
    never.send("big:300000");
    await world.pass();
    let stopped = false;
    const stopping = world.server.stop({ deadlineMs: 10_000 }).then(() => stopped = true);
    await world.pass(400);
    expect(stopped).toBe(false);
    await world.pass(200);
    expect(stopped).toBe(true);
    await stopping;
    expect(world.script.sent.get("big:300000")).toBe(1);
    expect(world.clock.pendingTimers).toBe(0);
  });

  test("Server: stop flushes answers that a slow reader has not read", async () => {
    const world = new World();
    const slow = await world.connect();
    slow.isSlow = true;
    slow.send("big:300000");
    await world.pass();
    const stopping = world.server.stop({ deadlineMs: 10_000 });
    for (let i = 0; i < 20; i++) {
      await world.pass(200);
      slow.link.resume();
    }
    await world.pass(10);
    await stopping;
    expect(slow.answers[0]!.body.length).toBe(300_000);
  });

  test("Server: stop waits no longer than the deadline", async () => {
    const world = new World();
    const client = await world.connect();
    client.send("later:never");
    await world.pass();
    let stopped = false;
    const stopping = world.server.stop({ deadlineMs: 1000 }).then(() => stopped = true);
    await world.pass(990);
    expect(stopped).toBe(false);
    await world.pass(20);
    expect(stopped).toBe(true);
    await stopping;
    expect(client.isClosed).toBe(true);
    expect(world.server.connectionCount).toBe(0);
    expect(world.clock.pendingTimers).toBe(0);
  });
});

describe("Server: what is not Kafka", () => {
  const cases: [string, Uint8Array, string][] = [
    ["a TLS hello", TLS_HELLO, "TLS hello"],
    ["an HTTP request", ascii("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP request"],
    ["a length of 2 GB", new Uint8Array([0x7f, 0xff, 0xff, 0xff]), "its length is 2147483647"],
    ["a negative length", new Uint8Array([0xff, 0xff, 0xff, 0xff]), "its length is -1"],
    ["a length just over the cap", new Uint8Array([0x06, 0x40, 0, 1]), "its length is 104857601"],
    ["a frame without a header", new Uint8Array([0, 0, 0, 2, 0, 18]), "only 2 bytes"],
    ["an empty frame", new Uint8Array([0, 0, 0, 0]), "only 0 bytes"],
    ["an unknown key", requestFrame(1, "now:x").with(5, 99), "API key 99"],
    ["a negative key", requestFrame(1, "now:x").with(4, 0xff), "API key"],
    ["an unknown version", requestFrame(1, "now:x").with(7, 9), "version 9"],
    ["a client id past the end", requestFrame(1, "").with(12, 0x7f), "Cannot read"],
  ];
  for (const [title, bytes, found] of cases) {
    test(`Server: closes on ${title}, with one line, whatever the chunks`, async () => {
      for (const maxChunkBytes of [null, 1]) {
        const world = new World({ network: { maxChunkBytes } });
        const other = await world.connect();
        const client = await world.connect();
        client.sendBytes(bytes);
        await world.pass();
        expect(client.isClosed).toBe(true);
        expect(client.answers).toEqual([]);
        expect(world.warnings().length).toBe(1);
        expect(world.warnings()[0]).toContain(found);
        other.send("now:fine");
        await world.pass();
        expect(other.bodies).toEqual(["fine"]);
      }
    });
  }

  test("Server: log lines that strangers cause are bounded, and the count left out is told", async () => {
    const world = new World();
    for (let i = 0; i < 100; i++) (await world.connect()).sendBytes(TLS_HELLO);
    await world.pass();
    expect(world.warnings().length).toBe(10);
    await world.pass(10_000);
    (await world.connect()).sendBytes(TLS_HELLO);
    await world.pass();
    expect(world.warnings().length).toBe(11);
    expect(
      world.logger.lines.at(-1)!.fields["linesLeftOut"] ?? world.logger.lines
        .findLast(({ level }) => level === "warn")!.fields["linesLeftOut"],
    ).toBe(90);
  });

  test("describeFirstBytes: knows nothing of what begins like Kafka", () => {
    expect(describeFirstBytes(requestFrame(1, "x").subarray(0, 8))).toBeNull();
    expect(describeFirstBytes(new Uint8Array(0))).toBeNull();
  });
});
