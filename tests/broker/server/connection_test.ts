import { describe, expect, test } from "bun:test";
import { concat, pattern, requestFrame, World } from "./harness.ts";

const MIB = 1024 * 1024;

describe("ServerConnection: order", () => {
  test("ServerConnection: answers leave in the order of the requests, whatever handlers do", async () => {
    const world = new World();
    const client = await world.connect();
    client.send("later:a", "now:b", "later:c", "now:d");
    await world.pass();
    expect(world.script.handled).toEqual(["later:a", "now:b", "later:c", "now:d"]);
    expect(client.bodies).toEqual([]);
    world.script.settle("c");
    await world.pass();
    expect(client.bodies).toEqual([]);
    world.script.settle("a");
    await world.pass();
    expect(client.bodies).toEqual(["a", "b", "c", "d"]);
    expect(client.answers.map(({ correlationId }) => correlationId)).toEqual([1, 2, 3, 4]);
  });

  test("ServerConnection: a request without answer takes its turn and sends nothing", async () => {
    const world = new World();
    const client = await world.connect();
    client.send("later:a", "none", "now:b");
    await world.pass();
    expect(world.script.sent.get("none")).toBeUndefined();
    world.script.settle("a");
    await world.pass();
    expect(client.bodies).toEqual(["a", "b"]);
    expect(world.script.sent.get("none")).toBe(1);
  });

  test("ServerConnection: the answers of one wake-up leave in one write", async () => {
    const world = new World();
    const client = await world.connect();
    client.send(...Array.from({ length: 50 }, (_, i) => `now:${i}`));
    await world.pass();
    expect(client.answers.length).toBe(50);
    expect(client.arrivals).toBe(1);
    const names = Array.from({ length: 20 }, (_, i) => `n${i}`);
    client.send(...names.map((name) => `later:${name}`));
    await world.pass();
    for (const name of names) world.script.settle(name);
    await world.pass();
    expect(client.answers.length).toBe(70);
    expect(client.arrivals).toBe(2);
    client.send("later:first", "later:second", "later:third");
    await world.pass();
    // Settled some promises apart, as happens where one sync answers several producers.
    world.script.settle("first");
    void Promise.resolve().then(() => world.script.settle("second"))
      .then(() => world.script.settle("third"));
    await world.pass();
    expect(client.answers.length).toBe(73);
    expect(client.arrivals).toBe(3);
  });
});

describe("ServerConnection: chunks", () => {
  const stream = concat(
    ["now:one", "none", "big:9000", "now:", "sent:x"].map((body, i) => requestFrame(i + 1, body)),
  );
  const expected = [1, 3, 4, 5];

  test("ServerConnection: every cut of the input gives the same answers", async () => {
    const world = new World();
    for (let cut = 0; cut <= stream.length; cut++) {
      const client = await world.connect();
      client.sendBytes(stream.subarray(0, cut));
      await world.pass();
      client.sendBytes(stream.subarray(cut));
      await world.pass();
      expect(client.answers.map(({ correlationId }) => correlationId)).toEqual(expected);
      expect(client.answers[1]!.body).toEqual(pattern(9000));
      client.link.close();
      await world.pass();
    }
    expect(world.server.connectionCount).toBe(0);
    expect(world.server.budget.usedBytes).toBe(0);
  });

  test("ServerConnection: byte after byte, too", async () => {
    const world = new World({ network: { maxChunkBytes: 1 } });
    const client = await world.connect();
    client.sendBytes(stream);
    await world.pass();
    expect(client.answers.map(({ correlationId }) => correlationId)).toEqual(expected);
  });
});

/** Random requests over a bad network; handlers settle by chance. */
async function ordeal(seed: number): Promise<void> {
  const world = new World({
    seed,
    limits: {
      maxInFlightRequests: 1 + seed % 7,
      maxQueuedAnswerBytes: 1000,
      memoryBudgetBytes: 100_000,
      connectionShareBytes: 20_000,
    },
    network: {
      maxLatencyMs: 5,
      maxChunkBytes: 1 + seed * 17 % 400,
      partialWrites: true,
      bufferBytes: 3000,
    },
  });
  world.script.costPerByte = 1 + seed % 9;
  const random = world.random.fork("load");
  const clients = await Promise.all(Array.from({ length: 5 }, () => world.connect()));
  const expected: string[][] = clients.map(() => []);
  for (let step = 0; step < 60; step++) {
    const at = random.uint32() % clients.length;
    const name = `${at}.${step}`;
    const size = random.uint32() % 3 === 0 ? 20_000 : 50;
    const kinds = [
      `now:${name}`,
      `later:${name}`,
      `big:${size}`,
      "none",
      `now:${name}${"x".repeat(size)}`,
    ];
    const body = kinds[random.uint32() % kinds.length]!;
    clients[at]!.send(body);
    if (body.startsWith("big")) expected[at]!.push(`${size}`);
    else if (body !== "none") expected[at]!.push(name);
    await world.pass(random.uint32() % 4);
    for (const name of world.script.waiting) {
      if (random.uint32() % 2 === 0) world.script.settle(name);
    }
  }
  for (let i = 0; i < 2000 && world.script.handled.length < 60; i++) {
    await world.pass(10);
    for (const name of world.script.waiting) world.script.settle(name);
  }
  for (const name of world.script.waiting) world.script.settle(name);
  await world.pass(10_000);
  clients.forEach((client, at) => {
    const got = client.answers.map(({ body }, i) => {
      const wanted = expected[at]![i]!;
      return /^\d+$/.test(wanted)
        ? `${body.length}`
        : new TextDecoder().decode(body).replace(/x+$/, "");
    });
    expect(got.map((body) => body.slice(0, 20))).toEqual(expected[at]!);
  });
  expect([...world.script.sent.values()].every((count) => count >= 1)).toBe(true);
  for (const client of clients) client.link.close();
  await world.pass(100);
  expect(world.server.budget.usedBytes).toBe(0);
  expect(world.server.connectionCount).toBe(0);
  expect(world.network.openEnds).toBe(0);
}

describe("ServerConnection: seeds", () => {
  for (let seed = 1; seed <= 40; seed++) {
    test(`ServerConnection: order and content hold on a bad network, seed ${seed}`, () =>
      ordeal(seed));
  }
});

describe("ServerConnection: back-pressure", () => {
  test("ServerConnection: hands over no more than maxInFlightRequests", async () => {
    const world = new World({ limits: { maxInFlightRequests: 4 } });
    const client = await world.connect();
    client.send(...Array.from({ length: 10 }, (_, i) => `later:${i}`));
    await world.pass();
    expect(world.script.handled.length).toBe(4);
    world.script.settle("1");
    await world.pass();
    expect(world.script.handled.length).toBe(4);
    world.script.settle("0");
    await world.pass();
    expect(world.script.handled.length).toBe(6);
    for (let i = 2; i < 10; i++) {
      world.script.settle(`${i}`);
      await world.pass();
    }
    expect(client.bodies).toEqual(Array.from({ length: 10 }, (_, i) => `${i}`));
  });

  test("ServerConnection: a barred connection is not read, so its sender is held back", async () => {
    const world = new World({
      limits: { maxInFlightRequests: 1 },
      network: { bufferBytes: 10_000 },
    });
    const client = await world.connect();
    client.send("later:a");
    await world.pass();
    for (let i = 0; i < 100; i++) client.send(`now:${"y".repeat(1000)}`);
    await world.pass();
    expect(world.metrics.inBytes).toBeLessThan(15_000);
    world.script.settle("a");
    await world.pass();
    expect(client.answers.length).toBe(101);
  });

  test("ServerConnection: a slow reader ties up a bounded number of bytes and gets all of it", async () => {
    const world = new World({ limits: { maxQueuedAnswerBytes: MIB } });
    const slow = await world.connect();
    const other = await world.connect();
    slow.link.pause();
    for (let i = 0; i < 100; i++) slow.send(`big:${256 * 1024}`);
    await world.pass();
    expect(world.server.budget.usedBytes).toBeLessThan(1.5 * MIB);
    expect(world.script.handled.length).toBeLessThan(8);
    other.send("now:quick");
    await world.pass();
    expect(other.bodies).toEqual(["quick"]);
    slow.link.resume();
    await world.pass(1000);
    expect(slow.answers.length).toBe(100);
    for (const { body } of slow.answers) expect(body).toEqual(pattern(256 * 1024));
    expect(world.script.sent.get(`big:${256 * 1024}`)).toBe(100);
    expect(world.server.budget.usedBytes).toBe(0);
  });

  test("ServerConnection: large answers in one chunk of requests are handed to the socket one by one", async () => {
    const world = new World({ limits: { maxQueuedAnswerBytes: MIB } });
    const client = await world.connect();
    client.link.pause();
    client.send(...Array.from({ length: 50 }, () => `big:${MIB}`));
    await world.pass();
    expect(world.script.handled.length).toBeLessThanOrEqual(2);
  });

  test("ServerConnection: a client that never reads is closed, and what it held is given back", async () => {
    const world = new World({ limits: { writeStallMs: 30_000 } });
    const client = await world.connect();
    client.link.pause();
    for (let i = 0; i < 10; i++) client.send(`big:${200_000}`);
    await world.pass(29_000);
    expect(world.server.connectionCount).toBe(1);
    await world.pass(3_000);
    expect(world.server.connectionCount).toBe(0);
    expect(world.server.budget.usedBytes).toBe(0);
    expect(world.script.sent.get("big:200000")).toBe(world.script.handled.length);
    expect(world.warnings().length).toBe(1);
    expect(world.warnings()[0]).toContain("the client has read nothing for 30000 ms");
  });

  test("ServerConnection: a reader that is merely slow is not taken for one that stalls", async () => {
    const world = new World({ limits: { writeStallMs: 5_000 }, network: { bufferBytes: 1000 } });
    const client = await world.connect();
    client.isSlow = true;
    client.send("big:10000");
    let rounds = 0;
    for (; client.answers.length === 0 && rounds < 20; rounds++) {
      await world.pass(4_000);
      client.link.resume();
      await world.pass();
    }
    expect(rounds).toBeGreaterThan(7);
    expect(client.answers.length).toBe(1);
    expect(client.isClosed).toBe(false);
  });
});

describe("ServerConnection: fairness", () => {
  test("ServerConnection: thousands of requests in one read let others have their turn", async () => {
    const world = new World({ network: { bufferBytes: MIB } });
    const hog = await world.connect();
    const other = await world.connect();
    hog.send(...Array.from({ length: 5_000 }, () => "now:x"));
    other.send("now:other");
    await world.pass();
    expect(world.script.handled.indexOf("now:other")).toBeLessThan(1_000);
    expect(hog.answers.length).toBe(5_000);
    expect(other.answers.length).toBe(1);
  });

  test("ServerConnection: the rest of thousands of requests comes in later turns of the loop", async () => {
    const world = new World({ network: { bufferBytes: MIB } });
    const hog = await world.connect();
    hog.send(...Array.from({ length: 5_000 }, () => "now:x"));
    const { handled } = world.script;
    const seen = [0];
    const look = () => {
      seen.push(handled.length);
      if (handled.length < 5_000) world.clock.timer(0, look);
    };
    look();
    await world.pass();
    const turns = seen.slice(1).map((count, i) => count - seen[i]!);
    expect(Math.max(...turns)).toBeLessThanOrEqual(1_024);
    expect(hog.answers.length).toBe(5_000);
  });
});

describe("ServerConnection: long work", () => {
  test("ServerConnection: requests that take their time let others have their turn sooner", async () => {
    const world = new World({ network: { bufferBytes: MIB } });
    const hog = await world.connect();
    const other = await world.connect();
    hog.send(...Array.from({ length: 100 }, () => "work:1"));
    other.send("now:other");
    await world.pass(200);
    expect(world.script.handled.indexOf("now:other")).toBeLessThan(20);
    expect(world.script.handled.length).toBe(101);
  });
});

describe("ServerConnection: onSent", () => {
  test("ServerConnection: onSent runs when the bytes have left, not before", async () => {
    const world = new World({ network: { bufferBytes: 1000 } });
    const client = await world.connect();
    client.link.pause();
    client.send("big:5000", "sent:after");
    await world.pass();
    expect(world.script.sent.size).toBe(0);
    client.link.resume();
    await world.pass(10);
    expect([...world.script.sent]).toEqual([["big:5000", 1], ["after", 1]]);
  });

  test("ServerConnection: onSent runs once when the connection closes before, after the handler is done", async () => {
    const world = new World({ network: { bufferBytes: 1000 } });
    const client = await world.connect();
    client.link.pause();
    client.send("big:5000", "later:a", "later:b");
    await world.pass();
    client.link.close();
    await world.pass();
    expect(world.server.connectionCount).toBe(0);
    expect([...world.script.sent]).toEqual([["big:5000", 1]]);
    world.script.settle("b");
    world.script.fail("a", new Error("too late"));
    await world.pass();
    expect([...world.script.sent]).toEqual([["big:5000", 1], ["b", 1], ["a", 1]]);
    expect(world.server.budget.usedBytes).toBe(0);
  });
});

describe("ServerConnection: failures", () => {
  test("ServerConnection: a handler that throws costs its own connection and no other", async () => {
    const world = new World();
    const client = await world.connect();
    const other = await world.connect();
    client.send("now:a", "throw", "now:b");
    await world.pass();
    expect(client.bodies).toEqual(["a"]);
    expect(client.isClosed).toBe(true);
    expect(world.script.handled).toEqual(["now:a", "throw"]);
    expect(world.logger.lines.filter(({ level }) => level === "error").length).toBe(1);
    expect(world.metrics.refused).toEqual(["handler_failed"]);
    other.send("now:fine");
    await world.pass();
    expect(other.bodies).toEqual(["fine"]);
    expect(world.server.budget.usedBytes).toBe(0);
  });

  test("ServerConnection: a promise that rejects does the same", async () => {
    const world = new World();
    const client = await world.connect();
    client.send("later:a");
    await world.pass();
    world.script.fail("a", new Error("planted"));
    await world.pass();
    expect(client.isClosed).toBe(true);
    expect(world.warnings()[0]).toContain("planted");
  });

  test("ServerConnection: a body that does not follow the protocol closes with one line", async () => {
    const world = new World();
    const client = await world.connect();
    client.send("malformed");
    await world.pass();
    expect(client.isClosed).toBe(true);
    expect(world.metrics.refused).toEqual(["malformed"]);
    expect(world.warnings().length).toBe(1);
  });

  test("ServerConnection: requests before a bad length are answered", async () => {
    const world = new World();
    const client = await world.connect();
    client.sendBytes(concat([requestFrame(1, "now:a"), new Uint8Array([0xff, 0, 0, 0, 1])]));
    await world.pass();
    expect(client.bodies).toEqual(["a"]);
    expect(client.isClosed).toBe(true);
  });

  test("ServerConnection: closeConnection closes after the answers before it, and nothing after", async () => {
    const world = new World();
    const client = await world.connect();
    client.send("later:a", "close:bye", "now:never");
    await world.pass();
    expect(client.isClosed).toBe(false);
    world.script.settle("a");
    await world.pass();
    expect(client.bodies).toEqual(["a", "bye"]);
    expect(client.isClosed).toBe(true);
    expect(world.metrics.refused).toEqual(["refused_by_handler"]);
  });

  test("ServerConnection: waiting handlers are told when the client goes", async () => {
    const world = new World();
    const client = await world.connect();
    client.send("later:a");
    await world.pass();
    const { closed } = world.script.contexts[0]!;
    let told = 0;
    closed.onAbort(() => told++);
    closed.onAbort(() => told += 100)();
    expect(closed.aborted).toBe(false);
    client.link.close();
    await world.pass();
    expect(closed.aborted).toBe(true);
    expect(told).toBe(1);
    closed.onAbort(() => told++);
    expect(told).toBe(2);
  });
});
