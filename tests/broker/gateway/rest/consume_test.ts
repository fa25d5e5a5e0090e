/** Pages and streams of records against a whole broker in memory. */

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

const values = (records: readonly { value: string }[]) => records.map(({ value }) => value);
const TOPIC = "/api/topics/orders";

/** Values of the lines that have come, once there are as many as wanted. */
async function valuesOf(stream: OpenStream, count: number): Promise<string[]> {
  let text = "";
  const lines = () => parsed(text).filter((it) => "value" in it);
  await world.until(`${count} records`, () => {
    text += stream.taken();
    return text.endsWith("\n") && lines().length >= count;
  });
  return values(lines());
}

interface Event {
  id?: string;
  event?: string;
  data?: string;
}

function eventsIn(text: string): Event[] {
  return text.split("\n\n").filter((block) => block.includes("data:")).map((block) =>
    Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s) as [string, string]))
  );
}

describe("pages", () => {
  test("pages: lead through all partitions by tokens, each record once and in order", async () => {
    await world.produce("orders", ["a0", "a1", "a2"], 0);
    await world.produce("orders", ["b0", "b1"], 1);
    const seen: string[] = [];
    let path = `${TOPIC}/records?limit=2`;
    for (;;) {
      const page = await world.succeed("GET", path);
      seen.push(...values(page.records));
      if (page.atEnd) break;
      expect(page.records.length).toBe(2);
      path = `${TOPIC}/records?limit=2&resume=${page.next}`;
    }
    expect(seen.filter((it) => it.startsWith("a"))).toEqual(["a0", "a1", "a2"]);
    expect(seen.filter((it) => it.startsWith("b"))).toEqual(["b0", "b1"]);
  });

  test("pages: begin at a place", async () => {
    await world.produce("orders", ["a", "b", "c"], 0);
    await world.machine.clock.advance(60_000);
    await world.produce("orders", ["d"], 0);
    const from = async (place: string) => {
      const query = `from=${encodeURIComponent(place)}&partition=0`;
      return values((await world.succeed("GET", `${TOPIC}/records?${query}`)).records);
    };
    expect(await from("earliest")).toEqual(["a", "b", "c", "d"]);
    expect(await from("1")).toEqual(["b", "c", "d"]);
    expect(await from("-2")).toEqual(["c", "d"]);
    expect(await from("-30s")).toEqual(["d"]);
    expect(await from("latest")).toEqual([]);
    expect(await from("99")).toEqual([]);
  });

  test("pages: what a timeout waits for is answered as soon as it is there", async () => {
    const { clock } = world.machine;
    const startMs = clock.monotonicMs();
    const empty = await world.succeed("GET", `${TOPIC}/records?timeout_ms=2000`);
    expect(empty).toMatchObject({ records: [], atEnd: false });
    expect(clock.monotonicMs() - startMs).toBeGreaterThanOrEqual(2000);
    const waiting = world.app.request(`${TOPIC}/records?timeout_ms=30000&resume=${empty.next}`);
    await clock.advance(1000);
    await world.produce("orders", ["here"], 1);
    const page = await world.run(Promise.resolve(waiting).then((response) => response.json()));
    expect(values((page as { records: { value: string }[] }).records)).toEqual(["here"]);
    expect(clock.monotonicMs() - startMs).toBeLessThan(6000);
  });

  test("pages: filters by key, header and fields", async () => {
    const encoder = new TextEncoder();
    const bytes = (text: string) => encoder.encode(text);
    await world.produce("orders", [
      { key: bytes("alice"), value: bytes('{"total":12,"user":{"name":"A"}}') },
      {
        key: bytes("bob"),
        value: bytes('{"total":3}'),
        headers: [{ key: "t", value: bytes("x") }],
      },
      { key: bytes("albert"), value: bytes("no JSON") },
    ], 0);
    const found = async (query: string) => {
      const { records } = await world.succeed("GET", `${TOPIC}/records?${query}`);
      return records.map(({ key }: { key: string }) => key);
    };
    expect(await found("key=bob")).toEqual(["bob"]);
    expect(await found("key_prefix=al")).toEqual(["alice", "albert"]);
    expect(await found("header=t:x")).toEqual(["bob"]);
    expect(await found("where=total%3E3")).toEqual(["alice"]);
    expect(await found("where=total%3E%3D3&where=user.name%3DA")).toEqual(["alice"]);
    expect(await found("where=total")).toEqual(["alice", "bob"]);
    expect(await found("where=total%3D99")).toEqual([]);
  });

  const refused: readonly (readonly [string, number])[] = [
    ["from=yesterday", 400],
    ["from=9007199254740991", 400],
    ["limit=0", 400],
    ["limit=1e9", 400],
    ["partition=2", 404],
    ["partition=x", 400],
    ["resume=AAAA", 400],
    ["resume=%21", 400],
    ["header=nothing", 400],
    ["where=%3D1", 400],
    ["timeout_ms=-1", 400],
  ];
  test.each(refused)("pages: %s is refused with %d", async (query, status) => {
    expect((await world.ask("GET", `${TOPIC}/records?${query}`)).status).toBe(status);
    if (/^(timeout|limit)/.test(query)) return;
    expect((await world.ask("GET", `${TOPIC}/stream?${query}`)).status).toBe(status);
  });

  test("pages: a token of a topic that was made anew is refused, one that was never there is not found", async () => {
    await world.produce("orders", ["a"], 0);
    const { next } = await world.succeed("GET", `${TOPIC}/records`);
    await world.succeed("DELETE", "/topics/orders");
    await world.succeed("POST", "/topics", { topic_name: "orders", partitions_count: 2 });
    expect((await world.ask("GET", `${TOPIC}/records?resume=${next}`)).status).toBe(409);
    expect((await world.ask("GET", "/api/topics/none/records")).status).toBe(404);
  });
});

describe("streams", () => {
  test("streams: lines as they come, from now on", async () => {
    await world.produce("orders", ["before"], 0);
    const stream = await world.open(`${TOPIC}/stream`);
    expect(stream.response.headers.get("Content-Type")).toBe("application/x-ndjson");
    await world.produce("orders", ["one"], 0);
    await world.produce("orders", ["two"], 1);
    expect((await valuesOf(stream, 2)).sort()).toEqual(["one", "two"]);
    await stream.cancel();
  });

  test("streams: end at a limit, or where the topic ends", async () => {
    await world.produce("orders", ["a", "b", "c"], 0);
    const limited = await world.ask("GET", `${TOPIC}/stream?from=earliest&limit=2`);
    expect(values(parsed(limited.text))).toEqual(["a", "b"]);
    const whole = await world.ask("GET", `${TOPIC}/stream?from=earliest&follow=false`);
    expect(values(parsed(whole.text))).toEqual(["a", "b", "c"]);
  });

  test("streams: server-sent events go on behind Last-Event-ID, without gap or duplicate, whoever serves", async () => {
    await world.produce("orders", ["a0", "a1"], 0);
    await world.produce("orders", ["b0", "b1", "b2"], 1);
    const accept = { Accept: "text/event-stream" };
    const first = await world.ask(
      "GET",
      `${TOPIC}/stream?from=earliest&limit=3`,
      undefined,
      accept,
    );
    expect(first.headers.get("Content-Type")).toBe("text/event-stream");
    const seen = eventsIn(first.text);
    expect(seen.length).toBe(3);
    // Nothing of the stream is left in this node: another gateway goes on.
    await world.restart();
    await world.produce("orders", ["a2"], 0);
    const rest = await world.ask("GET", `${TOPIC}/stream?limit=3`, undefined, {
      ...accept,
      "Last-Event-ID": seen.at(-1)!.id!,
    });
    const all = [...seen, ...eventsIn(rest.text)].map(({ data }) => JSON.parse(data!).value);
    expect(all.filter((it) => it.startsWith("a"))).toEqual(["a0", "a1", "a2"]);
    expect(all.filter((it) => it.startsWith("b"))).toEqual(["b0", "b1", "b2"]);
  });

  test("streams: what retention took meanwhile is told as a gap", async () => {
    await world.produce("orders", ["a", "b"], 0);
    const { next } = await world.succeed("GET", `${TOPIC}/records?limit=1&partition=0`);
    await world.produce("orders", ["c"], 0);
    await world.machine.succeed("topic trim orders --before 2");
    const resumed = `${TOPIC}/stream?partition=0&limit=1&resume=${next}`;
    const { text } = await world.ask("GET", resumed);
    const [gap, record] = parsed(text);
    expect(gap).toMatchObject({ event: "gap", reason: "retention", fromOffset: 1, toOffset: 2 });
    expect(record.value).toBe("c");
  });

  test("streams: lines with tokens; blank lines while nothing comes", async () => {
    const stream = await world.open(`${TOPIC}/stream?tokens=true`);
    await world.machine.clock.advance(25_000);
    expect(stream.taken()).toBe("\n\n");
    await world.produce("orders", ["x"], 0);
    let text = "";
    await world.until("a record", () => (text += stream.taken()).includes("x"));
    const [{ token }] = parsed(text);
    expect((await world.succeed("GET", `${TOPIC}/records?resume=${token}`)).records).toEqual([]);
    await stream.cancel();
  });

  test("streams: one that is closed is noticed, and gives its slot and its partitions back", async () => {
    const stream = await world.open(`${TOPIC}/stream`);
    await world.machine.clock.advance(100);
    expect(world.feeds.partitionCount).toBe(2);
    await stream.cancel();
    await world.machine.clock.advance(2000);
    expect(world.feeds.partitionCount).toBe(0);
  });

  test("streams: one that is not read holds a buffer, and gets everything later", async () => {
    const response = await world.run(Promise.resolve(
      world.app.request(`${TOPIC}/stream?from=earliest&partition=0`),
    ));
    const reader = response.body!.getReader();
    const big = "x".repeat(1000);
    for (let i = 0; i < 20; i++) {
      await world.produce("orders", Array.from({ length: 20 }, (_, at) => `${i * 20 + at} ${big}`));
    }
    await world.machine.clock.advance(5000);
    let text = "";
    const first = await world.run(reader.read());
    text += new TextDecoder().decode(first.value);
    expect(text.length).toBeLessThan(40_000);
    while (!text.includes("399 x")) {
      text += new TextDecoder().decode((await world.run(reader.read())).value);
    }
    expect(parsed(text).map(({ offset }) => offset)).toEqual([...Array(400).keys()]);
    await reader.cancel();
  });

  test("streams: only so many at a time, and HEAD takes none", async () => {
    await world.restart({ "weir.gateway.max.streams": "2" });
    expect((await world.ask("HEAD", `${TOPIC}/stream`)).status).toBe(200);
    const open = [await world.open(`${TOPIC}/stream`), await world.open(`${TOPIC}/stream`)];
    const third = await world.ask("GET", `${TOPIC}/stream`);
    expect(world.slots.openCount).toBe(2);
    expect(third).toMatchObject({ status: 429, body: { error_code: 429 } });
    expect(third.headers.get("Retry-After")).not.toBeNull();
    await open[0]!.cancel();
    const again = await world.open(`${TOPIC}/stream`);
    expect(again.response.status).toBe(200);
    for (const stream of [open[1]!, again]) await stream.cancel();
    expect(world.slots.openCount).toBe(0);
  });

  test("streams: end when the node stops, or the topic goes", async () => {
    const lines = await world.open(`${TOPIC}/stream`);
    await world.machine.clock.advance(100);
    await world.succeed("DELETE", "/topics/orders");
    await world.until("the end", () => lines.isOver());
    expect(parsed(lines.taken()).at(-1)).toMatchObject({ event: "end", reason: "deleted" });
    await world.succeed("POST", "/topics", { topic_name: "other" });
    const events = await world.open("/api/topics/other/stream?format=sse");
    await world.machine.clock.advance(100);
    await world.run(world.feeds.stop());
    await world.until("the end", () => events.isOver());
    expect(events.taken()).not.toContain("event:");
  });
});
