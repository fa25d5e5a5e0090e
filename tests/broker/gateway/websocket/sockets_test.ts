import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { Feeds } from "../../../../broker/gateway/feeds/feeds.ts";
import { CloseCode } from "../../../../broker/gateway/websocket/session.ts";
import type { SubscribeMessage } from "../../../../broker/gateway/websocket/messages.ts";
import { Session } from "../../../../broker/gateway/websocket/session.ts";
import { Sockets } from "../../../../broker/gateway/websocket/sockets.ts";
import { SimLogger } from "../../../sim/sim_logger.ts";
import { SimRandom } from "../../../sim/sim_random.ts";
import { GatewayWorld } from "../gateway_world.ts";
import { SimPort, SimSocket } from "./sim_socket.ts";

const LIMITS = {
  maxSockets: 1000,
  maxMessageBytes: 100_000,
  socketBufferBytes: 4_000,
  bufferBytes: 1_000_000,
};

let world: GatewayWorld;
let feeds: Feeds;
let sockets: Sockets;
let port: SimPort;
let logger: SimLogger;

beforeEach(async () => {
  world = new GatewayWorld();
  await world.start();
  const { clock } = world.machine;
  const client = () => world.client;
  feeds = new Feeds({ client, clock });
  port = new SimPort();
  logger = new SimLogger();
  sockets = new Sockets({ feeds, client, clock, logger, version: "1", limits: LIMITS });
  await world.machine.succeed("topic create orders -p 2");
});
afterEach(async () => {
  await world.run(Promise.all([sockets.stop(), feeds.stop()]));
  expect(logger.lines).toEqual([]);
  await world.end();
});

function open(protocol: "weir.v1.json" | "weir.v1.binary" = "weir.v1.json"): SimSocket {
  const socket = new SimSocket(port);
  socket.handlers = sockets.open((host) => new Session(socket, protocol, host));
  expect(socket.take("welcome")).toHaveLength(1);
  return socket;
}

const topics = [{ topic: "orders", partitions: [0] }];

async function subscribe(
  socket: SimSocket,
  asked: Partial<SubscribeMessage> = {},
): Promise<{ tokens: string[] }> {
  socket.say({ type: "subscribe", id: 1, topics, ...asked });
  await world.until("subscribed", () => socket.has("subscribed"));
  const [message] = socket.take("subscribed");
  return { tokens: message!.partitions.map(({ token }) => token) };
}

/** Values of the records that came, in order, with the last token. */
function read(socket: SimSocket): { values: string[]; token: string | null } {
  const messages = socket.take("records");
  return {
    values: messages.flatMap(({ records }) => records.map(({ value }) => value!)),
    token: messages.at(-1)?.token ?? null,
  };
}

const settle = async () => await world.machine.clock.advance(700);
const encoder = new TextEncoder();
const keyed = (key: string, value: string) => ({
  key: encoder.encode(key),
  value: encoder.encode(value),
});

describe("subscribe", () => {
  test("live subscribers with the same id get what is published once", async () => {
    const all = [open(), open(), open()];
    for (const socket of all) await subscribe(socket);
    const other = open();
    await subscribe(other, { id: 7 });
    port.publishedCount = 0;
    await world.produce("orders", ["a", "b"]);
    await settle();
    for (const socket of [...all, other]) expect(read(socket).values).toEqual(["a", "b"]);
    expect(port.publishedCount).toBe(2);
  });

  test("one that stops reading: its buffer is bounded, the others go on, and it misses nothing", async () => {
    const [slow, quick] = [open(), open()];
    await subscribe(slow);
    await subscribe(quick);
    slow.stall();
    const values = Array.from({ length: 200 }, (_, i) => `${i} ${"x".repeat(100)}`);
    for (const value of values) await world.produce("orders", [value]);
    await settle();
    expect(read(quick).values).toEqual(values);
    expect(slow.peakBytes).toBeGreaterThan(LIMITS.socketBufferBytes);
    expect(slow.peakBytes).toBeLessThan(LIMITS.socketBufferBytes + 500);
    expect(sockets.bufferedBytes).toBe(slow.bufferedBytes);
    slow.drain();
    await settle();
    expect(read(slow).values).toEqual(values);
    await world.produce("orders", ["live again"]);
    await settle();
    expect(read(slow).values).toEqual(["live again"]);
    expect(sockets.bufferedBytes).toBe(0);
  });

  test("credits: no more than was given, then the rest", async () => {
    const socket = open();
    await subscribe(socket, { credits: 3 });
    await world.produce("orders", ["0", "1", "2", "3", "4"]);
    await world.produce("orders", ["5"]);
    await settle();
    expect(read(socket).values).toEqual(["0", "1", "2"]);
    socket.say({ type: "credit", id: 1, records: 1 });
    await settle();
    expect(read(socket).values).toEqual(["3"]);
    socket.say({ type: "credit", id: 1, records: 10 });
    await settle();
    await world.produce("orders", ["6"]);
    await settle();
    expect(read(socket).values).toEqual(["4", "5", "6"]);
  });

  test("credits with a filter: what passes is counted, and nothing is left out", async () => {
    const socket = open();
    const filter = { key: { equals: "b" } };
    await subscribe(socket, { credits: 2, filter });
    const records = Array.from({ length: 12 }, (_, i) => keyed(i % 3 === 0 ? "b" : "a", `${i}`));
    await world.produce("orders", records);
    await settle();
    expect(read(socket).values).toEqual(["0", "3"]);
    for (const expected of ["6", "9"]) {
      socket.say({ type: "credit", id: 1, records: 1 });
      await settle();
      expect(read(socket).values).toEqual([expected]);
    }
  });

  test("slow = drop: it ends with a token that goes on where it was", async () => {
    const socket = open();
    await subscribe(socket, { credits: 2, slow: "drop" });
    await world.produce("orders", ["0", "1"]);
    await settle();
    await world.produce("orders", ["2", "3"]);
    await settle();
    expect(read(socket).values).toEqual(["0", "1"]);
    const [end] = socket.take("end");
    expect(end).toMatchObject({ id: 1, reason: "slow" });
    const again = open();
    await subscribe(again, { resume: end!.resume });
    await settle();
    expect(read(again).values).toEqual(["2", "3"]);
  });

  test("resume: a token of one socket goes on over another, the partitions without one start elsewhere", async () => {
    const first = open();
    await subscribe(first, { from: "earliest" });
    await world.produce("orders", ["a", "b"]);
    await settle();
    const { token } = read(first);
    first.handlers.onClose();
    await world.produce("orders", ["c"]);
    await world.produce("orders", ["other"], 1);
    const second = open();
    const all = [{ topic: "orders" }];
    await subscribe(second, { topics: all, resume: [token!], from: "earliest" });
    await settle();
    expect(read(second).values.toSorted()).toEqual(["c", "other"]);
    expect(sockets.count).toBe(1);
  });

  test("latest: the newest of each key, no more often than asked", async () => {
    const socket = open();
    await subscribe(socket, { delivery: "latest", intervalMs: 500 });
    await world.produce("orders", [keyed("a", "0")]);
    await world.machine.clock.advance(20);
    expect(read(socket).values).toEqual(["0"]);
    for (let i = 1; i < 20; i++) {
      await world.produce("orders", [keyed("a", `a${i}`), keyed("b", `b${i}`)]);
    }
    await world.machine.clock.advance(100);
    expect(read(socket).values).toEqual([]);
    await world.machine.clock.advance(600);
    expect(read(socket).values).toEqual(["a19", "b19"]);
  });

  test("sample: one, the newest, and while the socket is full nothing is kept but that", async () => {
    const socket = open();
    await subscribe(socket, { delivery: "sample", intervalMs: 100 });
    await world.produce("orders", ["first"]);
    await world.machine.clock.advance(20);
    expect(read(socket).values).toEqual(["first"]);
    socket.stall();
    for (let i = 0; i < 100; i++) await world.produce("orders", [`${i}${"x".repeat(200)}`]);
    await settle();
    socket.drain();
    await settle();
    const { values } = read(socket);
    expect(values.at(-1)).toStartWith("99x");
    expect(values.length).toBeLessThan(20);
  });

  const filters: readonly (readonly [SubscribeMessage["filter"], string])[] = [
    [{ key: { equals: "b" } }, "1"],
    [{ key: { prefix: "a" } }, "0 2"],
    [{ headers: { kind: "new" } }, "2"],
    [{ json: [{ path: "price", is: ">", value: 5 }] }, "1 2"],
    [{ json: [{ path: "price", is: "<=", value: 5 }] }, "0"],
    [{ json: [{ path: "lines.0.sku", is: "=", value: "x" }] }, "2"],
    [{ json: [{ path: "lines", is: "exists" }] }, "2"],
    [{ json: [{ path: "price", is: "!=", value: 7 }] }, "0 2"],
    [{ json: [{ path: "price", is: ">", value: "5" }] }, ""],
    [{ json: [{ path: "__proto__.x", is: "exists" }] }, ""],
    [{ key: { prefix: "a" }, json: [{ path: "price", is: ">", value: 5 }] }, "2"],
  ];
  test.each(filters)(
    "filter %j: passes records %p, live and from the beginning",
    async (filter, expected) => {
      const live = open();
      await subscribe(live, { filter });
      await world.produce("orders", [
        keyed("ab", '{"price":3}'),
        keyed("b", '{"price":7}'),
        {
          ...keyed("a", '{"price":9,"lines":[{"sku":"x"}]}'),
          headers: [{ key: "kind", value: encoder.encode("new") }],
        },
        { key: null, value: encoder.encode("no json") },
        { key: encoder.encode("c"), value: null },
      ]);
      await settle();
      const late = open();
      await subscribe(late, { filter, from: "earliest" });
      await settle();
      for (const socket of [live, late]) {
        const offsets = socket.take("records").flatMap(({ records }) =>
          records.map(({ offset }) => offset)
        );
        expect(offsets.join(" ")).toBe(expected);
      }
    },
  );

  test("filter: the position is told where nothing passes, and goes on from there", async () => {
    const socket = open();
    await subscribe(socket, { filter: { key: { equals: "none" } } });
    await settle();
    await settle();
    await world.produce("orders", ["a", "b"]);
    await settle();
    const [position] = socket.take("position");
    expect(position).toMatchObject({ id: 1, topic: "orders", partition: 0, next: 2 });
    const again = open();
    await subscribe(again, { resume: [position!.token] });
    await world.produce("orders", ["c"]);
    await settle();
    expect(read(again).values).toEqual(["c"]);
  });

  test("gap, end: what retention took and a topic that is gone are told", async () => {
    await world.produce("orders", ["a", "b", "c"]);
    await world.machine.succeed("topic trim orders --before 2");
    const socket = open();
    await subscribe(socket, { from: { offset: 0 } });
    await settle();
    expect(socket.take("gap")).toMatchObject([{ id: 1, reason: "retention", from: 0, to: 2 }]);
    expect(read(socket).values).toEqual(["c"]);
    await world.machine.succeed("topic delete orders");
    await world.until("the end", () => socket.has("end"));
    expect(socket.take("end")).toMatchObject([{ id: 1, reason: "deleted" }]);
  });

  test("unsubscribe: it ends with its tokens, and the id is free again", async () => {
    const socket = open();
    await subscribe(socket);
    socket.say({ type: "unsubscribe", id: 1 });
    const [end] = socket.take("end");
    expect(end).toMatchObject({ id: 1, reason: "unsubscribed" });
    await world.produce("orders", ["a"]);
    await settle();
    expect(socket.has("records")).toBeFalse();
    await subscribe(socket, { resume: end!.resume });
    await settle();
    expect(read(socket).values).toEqual(["a"]);
  });

  test("binary: the same records as bytes", async () => {
    const socket = open("weir.v1.binary");
    await subscribe(socket);
    await world.produce("orders", [keyed("k", "value")]);
    await settle();
    expect(socket.frames).toHaveLength(1);
    const [frame] = socket.frames;
    expect([...frame!.subarray(0, 3)]).toEqual([1, 1, 6]);
    expect(new TextDecoder().decode(frame)).toContain("k\u0006value");
  });
});

describe("produce", () => {
  async function ask(socket: SimSocket, message: object) {
    socket.say(message);
    await world.until("an answer", () => socket.has("produced") || socket.has("error"));
    return [...socket.take("produced"), ...socket.take("error")][0]!;
  }

  test("records go where they belong, and come back as they were", async () => {
    const socket = open();
    await subscribe(socket, { topics: [{ topic: "orders" }] });
    const records = [
      { key: "a", value: { n: 1 }, headers: { h: "x" }, partition: 1 },
      { value: "text", partition: 0 },
      { valueBase64: "/wA=", timestamp: 5, partition: 0 },
    ];
    const produced = await ask(socket, { type: "produce", request: 4, topic: "orders", records });
    expect(produced).toMatchObject({
      request: 4,
      results: expect.arrayContaining([
        { partition: 1, offset: 0, count: 1 },
        { partition: 0, offset: 0, count: 2 },
      ]),
    });
    await settle();
    const seen = socket.take("records").flatMap((it) =>
      it.records.map((record) => ({ ...record, partition: it.partition }))
    );
    expect(seen).toContainEqual(
      expect.objectContaining({ partition: 1, key: "a", value: '{"n":1}' }),
    );
    expect(seen).toContainEqual(expect.objectContaining({ timestamp: 5, valueBase64: "/wA=" }));
  });

  test("a batch of a producer that is sent again, over another socket, is written once", async () => {
    const [first, second] = [open(), open()];
    first.say({ type: "producer", request: 1 });
    await world.until("a producer", () => first.has("producer"));
    const { id, epoch } = first.take("producer")[0]!;
    const send = async (socket: SimSocket, sequence: number, values: string[]) =>
      await ask(socket, {
        type: "produce",
        request: sequence,
        topic: "orders",
        partition: 0,
        producer: { id, epoch, sequence },
        records: values.map((value) => ({ value })),
      });
    expect(await send(first, 0, ["a", "b"])).toMatchObject({ results: [{ offset: 0, count: 2 }] });
    first.handlers.onClose();
    expect(await send(second, 0, ["a", "b"])).toMatchObject({ results: [{ offset: 0, count: 2 }] });
    expect(await send(second, 2, ["c"])).toMatchObject({ results: [{ offset: 2, count: 1 }] });
    expect(await send(second, 9, ["a gap in the sequence"])).toMatchObject({ type: "error" });
    await subscribe(second, { from: "earliest" });
    await settle();
    expect(read(second).values).toEqual(["a", "b", "c"]);
  });
});

describe("group", () => {
  const group = { group: "workers", topics: [{ topic: "orders" }], from: "earliest" } as const;

  async function join(socket: SimSocket, id = 1): Promise<void> {
    socket.say({ type: "subscribe", id, ...group });
    await world.until("subscribed", () => socket.has("subscribed"));
  }
  const partitionsOf = (socket: SimSocket) =>
    socket.take("subscribed").at(-1)!.partitions.map(({ partition }) => partition);

  test("members share the partitions; what one has not acknowledged comes to the other", async () => {
    const [first, second] = [open(), open()];
    await join(first);
    expect(partitionsOf(first)).toEqual([0, 1]);
    await join(second);
    await world.until("both have one", () => first.has("subscribed"));
    expect(first.take("revoked")).toHaveLength(1);
    expect([...partitionsOf(first), ...partitionsOf(second)].toSorted()).toEqual([0, 1]);
    for (const partition of [0, 1]) await world.produce("orders", ["a", "b", "c"], partition);
    await settle();
    const mine = second.take("records").flatMap(({ partition, records }) => {
      return records.map((record) => ({ ...record, partition }));
    });
    expect(mine.map(({ value }) => value)).toEqual(["a", "b", "c"]);
    expect(read(first).values).toEqual(["a", "b", "c"]);
    const [{ partition, offset }] = [mine[0]!];
    const offsets = [{ topic: "orders", partition, next: offset + 1 }];
    second.say({ type: "ack", id: 1, request: 5, offsets });
    await world.until("acked", () => second.has("acked"));
    expect(second.take("acked")).toEqual([{ type: "acked", id: 1, request: 5 }]);
    // It goes without a word, and the other one gets what it had not acknowledged.
    second.handlers.onClose();
    await world.until("all are the first's", () => first.has("subscribed"));
    expect(partitionsOf(first)).toEqual([0, 1]);
    await settle();
    const again = first.take("records").filter((it) => it.partition === partition);
    expect(again.flatMap(({ records }) => records.map(({ value }) => value))).toEqual(["b", "c"]);
    first.say({ type: "unsubscribe", id: 1 });
    expect(first.take("end")).toMatchObject([{ reason: "unsubscribed" }]);
  });

  test("ack: refused where the subscription is no group's", async () => {
    const socket = open();
    await subscribe(socket);
    const offsets = [{ topic: "orders", partition: 0, next: 1 }];
    socket.say({ type: "ack", id: 1, request: 2, offsets });
    await world.until("an error", () => socket.has("error"));
    expect(socket.take("error")).toMatchObject([{ request: 2, code: "NOT_FOUND" }]);
  });
});

describe("refusals", () => {
  const subscribeTo = (rest: object) => ({ type: "subscribe", id: 2, topics, ...rest });
  const bad: readonly (readonly [unknown, string, string])[] = [
    ["", "BAD_MESSAGE", "it is not JSON"],
    ["[".repeat(50_000), "BAD_MESSAGE", "it is not"],
    ['{"a":'.repeat(10_000), "BAD_MESSAGE", "it is not"],
    [null, "BAD_MESSAGE", "Cannot read the message"],
    [{}, "BAD_MESSAGE", 'field "type" is wrong'],
    [{ type: "nonsense" }, "BAD_MESSAGE", 'field "type" is wrong'],
    [subscribeTo({ topics: [] }), "BAD_MESSAGE", 'field "topics" is wrong'],
    [subscribeTo({ id: -1 }), "BAD_MESSAGE", 'field "id" is wrong'],
    [subscribeTo({ id: 1e300 }), "BAD_MESSAGE", 'field "id" is wrong'],
    [subscribeTo({ extra: 1 }), "BAD_MESSAGE", "extra"],
    [subscribeTo({ from: "yesterday" }), "BAD_MESSAGE", 'field "from" is wrong'],
    [subscribeTo({ from: { timestamp: "soon" } }), "NOT_FOUND", '"soon" is no ISO 8601 time'],
    [subscribeTo({ topics: [{ topic: "none" }] }), "NOT_FOUND", "topic none does not exist"],
    [subscribeTo({ topics: [{ topic: "a/b" }] }), "NOT_FOUND", "topic a/b does not exist"],
    [
      subscribeTo({ topics: [{ topic: "orders", partitions: [9] }] }),
      "NOT_FOUND",
      "partition 9 does not exist",
    ],
    [subscribeTo({ resume: ["rubbish"] }), "BAD_TOKEN", "is no resume token"],
    [subscribeTo({ group: "g", topics: [...topics, ...topics] }), "NOT_FOUND", "has one topic"],
    [{ type: "credit", id: 5, records: 1 }, "NOT_FOUND", "there is no subscription 5"],
    [{ type: "unsubscribe", id: 5 }, "NOT_FOUND", "there is no subscription 5"],
    [{ type: "topic", request: 1, topic: "none" }, "NOT_FOUND", "topic none does not exist"],
    [
      { type: "produce", request: 1, topic: "orders", records: [] },
      "BAD_MESSAGE",
      'field "records" is wrong',
    ],
    [
      { type: "produce", request: 1, topic: "orders", records: [{ valueBase64: "!" }] },
      "NOT_FOUND",
      "is not base64",
    ],
    [
      { type: "produce", request: 1, topic: "orders", partition: 7, records: [{ value: 1 }] },
      "NOT_FOUND",
      "partition 7 does not exist",
    ],
    [
      {
        type: "produce",
        request: 1,
        topic: "orders",
        records: [{ value: 1 }],
        producer: { id: 1, epoch: 0, sequence: 0 },
      },
      "NOT_FOUND",
      "names its partition",
    ],
  ];
  test.each(bad)("%j: %s, %s", async (message, code, detail) => {
    const socket = open();
    socket.say(message);
    await world.until("an error", () => socket.has("error"));
    expect(socket.take("error")).toMatchObject([{ code, detail: expect.stringContaining(detail) }]);
    expect(socket.closed).toBeNull();
    // It goes on as if nothing had been.
    await subscribe(socket);
    await world.produce("orders", ["a"]);
    await settle();
    expect(read(socket).values).toEqual(["a"]);
  });

  test("a token of a topic that was made anew is refused", async () => {
    const socket = open();
    const { tokens } = await subscribe(socket);
    await world.machine.succeed("topic delete orders");
    await world.until("the end", () => socket.has("end"));
    await world.machine.succeed("topic create orders -p 2");
    await world.machine.clock.advance(2000);
    socket.say({ type: "subscribe", id: 2, topics, resume: tokens });
    await world.until("an error", () => socket.has("error"));
    expect(socket.take("error")).toMatchObject([{ id: 2, code: "BAD_TOKEN" }]);
  });

  test("bounds: subscriptions, requests in flight, bad messages, size, and one that floods without reading", async () => {
    const many = open();
    for (let id = 0; id < 70; id++) many.say({ type: "subscribe", id, topics });
    await settle();
    expect(many.take("subscribed")).toHaveLength(64);
    const refused = many.take("error");
    expect(refused.every(({ code, retriable }) => code === "LIMIT" && retriable)).toBeTrue();
    // Requests of all sockets together have a bound of bytes, which is free again once they are answered.
    const writers = Array.from({ length: 20 }, () => open());
    const records = [{ value: "x".repeat(90_000) }];
    for (const [request, writer] of writers.entries()) {
      writer.say({ type: "produce", request, topic: "orders", records });
    }
    await settle();
    expect(writers.filter((it) => it.take("produced").length === 1)).toHaveLength(11);
    for (const writer of writers) {
      writer.say({ type: "produce", request: 1, topic: "orders", records: [{ value: 1 }] });
    }
    await settle();
    expect(writers.every((it) => it.take("produced").length === 1)).toBeTrue();
    for (const writer of writers) writer.handlers.onClose();
    const bad = open();
    for (let i = 0; i < 12; i++) bad.say("{");
    expect(bad.closed?.code).toBe(CloseCode.policy);
    expect(bad.take("error")).toHaveLength(10);
    const large = open();
    large.say("x".repeat(LIMITS.maxMessageBytes + 1));
    expect(large.closed?.code).toBe(CloseCode.tooLarge);
    const flood = open();
    flood.stall();
    for (let i = 0; i < 100_000 && flood.closed === null; i++) flood.say({ type: "ping" });
    expect(flood.closed?.code).toBe(1006);
    expect(flood.peakBytes).toBeLessThan(9 * LIMITS.socketBufferBytes);
    expect(sockets.count).toBe(1);
  });

  test("a node that does not serve yet says that a later try may succeed", async () => {
    const client = () => null;
    const { clock } = world.machine;
    const early = new Feeds({ client, clock });
    const options = { feeds: early, client, clock, logger, version: "1", limits: LIMITS };
    const socket = new SimSocket(port);
    socket.handlers = new Sockets(options).open((host) =>
      new Session(socket, "weir.v1.json", host)
    );
    socket.say({ type: "topic", request: 1, topic: "orders" });
    socket.say({ type: "producer", request: 2 });
    socket.say({ type: "subscribe", id: 3, topics });
    socket.say({ type: "subscribe", id: 4, topics: [{ topic: "orders" }], group: "g" });
    await settle();
    const errors = socket.take("error");
    expect(errors).toHaveLength(4);
    for (const error of errors) {
      expect(error).toMatchObject({ code: "UNAVAILABLE", retriable: true });
    }
  });

  test("stop: all are told to come back, with 1012", async () => {
    const socket = open();
    await subscribe(socket);
    await world.run(sockets.stop());
    expect(socket.closed?.code).toBe(CloseCode.restart);
    expect(sockets.refusal).toBe("this node stops");
  });
});

/** A valid message with something in it changed. */
function mutated(random: SimRandom): string {
  const valid = [
    { type: "subscribe", id: random.below(4), topics, from: "earliest", credits: 10 },
    {
      type: "subscribe",
      id: 3,
      topics: [{ topic: "orders" }],
      filter: { json: [{ path: "a.b", is: "<", value: 1 }] },
    },
    { type: "credit", id: random.below(4), records: 3 },
    { type: "produce", request: 1, topic: "orders", records: [{ key: "k", value: { a: [1] } }] },
    { type: "ack", id: 1, offsets: [{ topic: "orders", partition: 0, next: 1 }] },
    { type: "topic", request: 2, topic: "orders" },
    { type: "unsubscribe", id: random.below(4) },
    { type: "ping", request: 3 },
  ];
  const text = JSON.stringify(valid[random.below(valid.length)]);
  const at = random.below(text.length);
  const pieces = [
    "",
    "null",
    "{}",
    "[]",
    '"',
    "1e999",
    "-1",
    "\u0000",
    "\ud800",
    ",",
    "9".repeat(30),
  ];
  const piece = pieces[random.below(pieces.length)]!;
  return random.below(4) === 0
    ? text
    : text.slice(0, at) + piece + text.slice(at + random.below(6));
}

for (const seed of [1, 2, 3, 4]) {
  test(`fuzz: whatever comes in, each answer is one of the protocol, and others go on (seed ${seed})`, async () => {
    const random = new SimRandom(seed);
    const witness = open();
    await subscribe(witness, { topics: [{ topic: "orders" }] });
    let producedBefore = 0;
    for (let round = 0; round < 40; round++) {
      const socket = open(random.below(2) === 0 ? "weir.v1.json" : "weir.v1.binary");
      for (let i = 0; i < 20 && socket.closed === null; i++) {
        if (random.below(4) > 0) socket.say(mutated(random));
        else {
          const bytes = Uint8Array.from({ length: random.below(40) }, () => random.below(256));
          if (random.below(2) === 0) bytes[0] = 2;
          socket.handlers.onMessage(bytes);
        }
        if (random.below(5) === 0) await world.machine.clock.advance(random.below(20));
      }
      await world.machine.clock.advance(50);
      producedBefore += socket.take("produced").length;
      if (socket.closed === null) socket.handlers.onClose();
    }
    await settle();
    expect(producedBefore).toBeGreaterThan(0);
    await world.produce("orders", ["still here"]);
    await settle();
    expect(read(witness).values.at(-1)).toBe("still here");
    expect(sockets.count).toBe(1);
  });
}
