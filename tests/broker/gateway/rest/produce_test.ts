/** Records produced over HTTP, against a whole broker in memory. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { parsed } from "../../cli/test_io.ts";
import { type OpenStream, RestWorld } from "./rest_world.ts";

let world: RestWorld;
beforeEach(async () => {
  world = new RestWorld();
  await world.start();
  await world.succeed("POST", "/topics", { topic_name: "orders", partitions_count: 2 });
});
afterEach(() => world.end());

const CONFLUENT = "/topics/orders/records";
const OWN = "/api/topics/orders/records";

async function records(query = "limit=1000") {
  const page = await world.succeed("GET", `/api/topics/orders/records?${query}`);
  return page.records as { partition: number; key: string; value: string; headers: unknown }[];
}

const string = (data: string) => ({ value: { type: "STRING", data } });

describe("Confluent's form", () => {
  test("records: one, with all that a record has", async () => {
    const { status, body } = await world.ask("POST", CONFLUENT, {
      partition_id: 1,
      headers: [{ name: "h", value: "SGVhZGVyLTE=" }, { name: "none", value: null }],
      key: { type: "BINARY", data: "Zm9vYmFy" },
      value: { type: "JSON", data: { foo: ["bar", null] } },
      timestamp: "2021-02-05T19:14:42Z",
    });
    expect(status).toBe(200);
    expect(body).toEqual({
      error_code: 200,
      cluster_id: world.clusterId,
      topic_name: "orders",
      partition_id: 1,
      offset: 0,
      timestamp: "2021-02-05T19:14:42.000Z",
      key: { type: "BINARY", size: 6 },
      value: { type: "JSON", size: 20 },
    });
    expect(await records()).toMatchObject([{
      partition: 1,
      key: "foobar",
      value: '{"foo":["bar",null]}',
      headers: [{ key: "h", value: "Header-1" }, { key: "none", value: null }],
    }]);
  });

  test("records: key, value or data may be left out, or be nothing", async () => {
    for (const body of [{}, { value: null }, { key: { type: "STRING", data: null } }]) {
      expect((await world.ask("POST", CONFLUENT, body)).body.error_code).toBe(200);
    }
    expect((await records()).map(({ key, value }) => [key, value])).toEqual(
      Array.from({ length: 3 }, () => [null, null]) as never,
    );
  });

  const refused: readonly (readonly [string, unknown, number, number])[] = [
    ["a partition that is not there", { ...string("x"), partition_id: 9 }, 404, 40403],
    ["a partition below zero", { ...string("x"), partition_id: -1 }, 400, 400],
    ["data that is no base64", { value: { type: "BINARY", data: "hi!" } }, 400, 400],
    ["a header that is no base64", { headers: [{ name: "h", value: "hi!" }] }, 400, 400],
    ["a text that is an object", { value: { type: "STRING", data: {} } }, 400, 400],
    ["a schema", { value: { schema_id: 1, data: 1 } }, 422, 42206],
    ["a type that is not known", { value: { type: "AVRO", data: 1 } }, 400, 400],
    ["a time that is none", { ...string("x"), timestamp: "yesterday" }, 400, 400],
    ["nothing", "", 422, 422],
    ["half an object", '{"value"', 400, 400],
    ["no object", "[1]", 400, 400],
    ["too deep", `{"value":{"type":"JSON","data":${"[".repeat(300)}${"]".repeat(300)}}}`, 400, 400],
  ];
  test.each(refused)("records: %s is refused", async (_what, body, status, code) => {
    const answered = await world.ask("POST", CONFLUENT, body);
    expect([answered.status, answered.body.error_code]).toEqual([status, code]);
    expect(await records()).toEqual([]);
  });

  test("records: what is too large, of the wrong type or for no topic is refused", async () => {
    const large = string("x".repeat(4 * 1024 * 1024));
    expect((await world.ask("POST", CONFLUENT, large)).status).toBe(413);
    // Allowed over HTTP, too large for the topic.
    const large2 = await world.ask("POST", CONFLUENT, string("x".repeat(2 * 1024 * 1024)));
    expect([large2.status, large2.body.error_code]).toEqual([413, 413]);
    const form = { "Content-Type": "application/x-www-form-urlencoded" };
    expect((await world.ask("POST", CONFLUENT, "value=1", form)).status).toBe(415);
    const bad = await world.ask("POST", "/topics/a%2Fb/records", string("x"));
    expect([bad.status, bad.body.error_code]).toEqual([400, 40002]);
  });

  test("records: several in a body are answered one by one, and one's error is no other's", async () => {
    const bodies = [string("a"), { value: { type: "BINARY", data: "hi!" } }, string("b")];
    const body = bodies.map((it) => JSON.stringify(it)).join("\n");
    const { status, text } = await world.ask("POST", CONFLUENT, body);
    expect(status).toBe(200);
    expect(parsed(text).map(({ error_code }) => error_code)).toEqual([200, 400, 200]);
    expect((await records()).map(({ value }) => value).sort()).toEqual(["a", "b"]);
  });

  test("records: a record that a topic refuses does not take those beside it along", async () => {
    const topic_name = "compacted";
    const configs = [{ name: "cleanup.policy", value: "compact" }];
    await world.succeed("POST", "/topics", { topic_name, configs });
    const entries = [
      { id: "1", key: { type: "STRING", data: "k1" }, ...string("a") },
      { id: "2", ...string("no key") },
      { id: "3", key: { type: "STRING", data: "k3" }, ...string("b") },
    ];
    const path = "/topics/compacted/records:batch";
    const { status, body } = await world.ask("POST", path, { entries });
    expect(status).toBe(207);
    expect(body.successes.map(({ id }: { id: string }) => id)).toEqual(["1", "3"]);
    expect(body.failures).toMatchObject([{ id: "2", error_code: 40002 }]);
    const page = await world.succeed("GET", "/api/topics/compacted/records");
    expect(page.records.map(({ value }: { value: string }) => value)).toEqual(["a", "b"]);
  });

  test("records:batch: ids must differ, and there must be some", async () => {
    const path = "/topics/orders/records:batch";
    const same = { entries: [{ id: "1", ...string("a") }, { id: "1", ...string("b") }] };
    expect(await world.ask("POST", path, same)).toMatchObject({
      status: 422,
      body: { error_code: 42208 },
    });
    expect((await world.ask("POST", path, { entries: [] })).status).toBe(400);
    expect(await records()).toEqual([]);
  });

  test("records: to a topic that is not there: made where the broker makes topics, else not found", async () => {
    const made = await world.ask("POST", "/topics/made/records", string("x"));
    expect(made.body).toMatchObject({ error_code: 200, topic_name: "made" });
    await world.restart({ "auto.create.topics.enable": "false" });
    const none = await world.ask("POST", "/topics/none/records", string("x"));
    expect([none.status, none.body.error_code]).toEqual([404, 40403]);
  });
});

describe("weir's own form", () => {
  test("records: what a stream shows can be produced again", async () => {
    const given = { key: "k", value: { a: 1 }, headers: { h: "v" }, partition: 1, timestamp: 5 };
    expect((await world.ask("POST", OWN, given)).body).toEqual({
      partition: 1,
      offset: 0,
      timestamp: 5,
    });
    const { text } = await world.ask("GET", "/api/topics/orders/stream?from=earliest&follow=false");
    expect((await world.ask("POST", OWN, text)).body).toMatchObject({ partition: 1, offset: 1 });
    const [first, second] = await records();
    expect({ ...second!, offset: 0 }).toEqual({ ...first!, offset: 0 });
  });

  test("records: what is wrong is refused with its field", async () => {
    const answered = await world.ask("POST", OWN, { value: "x", timestamp: "never" });
    expect(answered).toMatchObject({
      status: 400,
      body: { detail: expect.stringContaining("timestamp") },
    });
  });
});

/** A body that is sent piece by piece. */
function pieces() {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const encoder = new TextEncoder();
  return {
    init: { method: "POST", body: readable, duplex: "half" } as RequestInit,
    write: (text: string) => void writer.write(encoder.encode(text)).catch(() => undefined),
    end: () => void writer.close().catch(() => undefined),
  };
}

describe("streams of records", () => {
  test("streams: each record is answered before the next one comes", async () => {
    const body = pieces();
    const stream = await world.open(OWN, body.init);
    let text = "";
    for (let i = 0; i < 3; i++) {
      body.write(`{"key":"k","value":"${i}"}`);
      await world.until("an answer", () => (text += stream.taken()).split("\n").length === i + 2);
    }
    body.end();
    await world.until("the end", () => stream.isOver());
    expect(parsed(text).map(({ offset }) => offset)).toEqual([0, 1, 2]);
  });

  test("streams: thousands in odd pieces keep their order, in each partition", async () => {
    const lines = Array.from({ length: 3000 }, (_, i) => `{"key":"${i % 7}","value":"${i}"}\n`)
      .join("");
    const body = pieces();
    const stream = await world.open(OWN, body.init);
    for (let at = 0; at < lines.length; at += 997) body.write(lines.slice(at, at + 997));
    body.end();
    await world.until("the end", () => stream.isOver());
    expect(parsed(stream.taken()).filter(({ offset }) => offset >= 0).length).toBe(3000);
    const found = await records("limit=5000");
    for (const partition of [0, 1]) {
      const own = found.filter((it) => it.partition === partition).map(({ value }) =>
        Number(value)
      );
      expect(own).toEqual(own.toSorted((a, b) => a - b));
    }
    expect(found.length).toBe(3000);
  });

  test("streams: what is no JSON ends the stream, after what came before it", async () => {
    const body = pieces();
    const stream = await world.open(OWN, body.init);
    body.write('{"value":"a"}\n{"value":oops}\n{"value":"b"}\nrubbish\n{"value":"c"}');
    await world.until("the end", () => stream.isOver());
    const answers = parsed(stream.taken());
    expect(answers.map(({ error_code }) => error_code ?? 200)).toEqual([200, 400, 200, 400]);
    expect((await records()).map(({ value }) => value).sort()).toEqual(["a", "b"]);
  });

  test("streams: an object that is too large, or does not end, is an error and held no longer", async () => {
    const body = pieces();
    const stream = await world.open(OWN, body.init);
    const piece = `{"value":"${"x".repeat(1024 * 1024)}`;
    body.write(piece);
    for (let i = 0; i < 5; i++) body.write("x".repeat(1024 * 1024));
    await world.until("the end", () => stream.isOver());
    expect(parsed(stream.taken())).toMatchObject([{ error_code: 413 }]);
    const half = pieces();
    const cut = await world.open(OWN, half.init);
    half.write('{"value":');
    half.end();
    await world.until("the end", () => cut.isOver());
    expect(parsed(cut.taken())).toMatchObject([{ error_code: 400 }]);
  });

  test("streams: one whose answers nobody reads is not read either", async () => {
    let pulledCount = 0;
    const line = new TextEncoder().encode(`{"value":"${"x".repeat(10_000)}"}\n`);
    const body = new ReadableStream({
      pull(controller) {
        pulledCount++;
        controller.enqueue(line);
      },
    }, { highWaterMark: 0 });
    const init = { method: "POST", body, duplex: "half" } as RequestInit;
    const response = await world.run(Promise.resolve(world.app.request(OWN, init)));
    await world.machine.clock.advance(10_000);
    expect(pulledCount).toBeLessThan(600);
    await world.run(response.body!.cancel());
  });
});

describe("room", () => {
  test("room: clients that stop in the middle of large bodies hold what they sent, and stop nobody else", async () => {
    await world.restart({ "weir.gateway.memory.bytes": "1048576" });
    const part = `{"value":"${"x".repeat(400_000)}`;
    const stuck = [pieces(), pieces()];
    const streams: OpenStream[] = [];
    for (const body of stuck) {
      streams.push(await world.open(OWN, body.init));
      body.write(part);
    }
    await world.machine.clock.advance(100);
    expect((await world.ask("POST", CONFLUENT, string("small"))).status).toBe(200);
    const large = string("y".repeat(400_000));
    const refused = await world.ask("POST", CONFLUENT, large);
    expect(refused).toMatchObject({ status: 503, body: { error_code: 503 } });
    expect(refused.headers.get("Retry-After")).toBe("1");
    stuck[0]!.write('"}');
    await world.until("an answer", () => streams[0]!.taken() !== "");
    expect((await world.ask("POST", CONFLUENT, large)).status).toBe(200);
    // All of the room is there once the other one has gone.
    const whole = string("z".repeat(700_000));
    expect((await world.ask("POST", CONFLUENT, whole)).status).toBe(503);
    await streams[1]!.cancel();
    expect((await world.ask("POST", CONFLUENT, whole)).status).toBe(200);
    stuck[0]!.end();
  });
});
