import { beforeAll, describe, expect, test } from "bun:test";
import { ConsoleWorld } from "./console_world.ts";

/** A console over a few topics and a group. */
async function startWorld(): Promise<ConsoleWorld> {
  const world = await ConsoleWorld.start();
  await world.weir("topic create orders --partitions 3");
  await world.weir("topic create compacted --config cleanup.policy=compact");
  await world.weir(
    "produce orders --format ndjson",
    Array.from(
      { length: 30 },
      (_, i) => `${JSON.stringify({ key: `k${i % 4}`, value: { total: i }, partition: i % 3 })}\n`,
    ).join(""),
  );
  await world.weir("consume orders --group billing --count 12");
  return world;
}

/** The text of a page without its tags, spaces as one. */
function words(html: string): string {
  return html.replaceAll(/<[^>]*>/g, " ").replaceAll(/\s+/g, " ").replaceAll("&quot;", '"');
}

describe("pages", () => {
  let world: ConsoleWorld;

  beforeAll(async () => {
    world = await startWorld();
  });

  const pages: readonly (readonly [path: string, ...shown: string[]])[] = [
    ["/", "The broker is up, and every partition is in sync.", "1 group"],
    ["/console/topics", "orders", "compacted", "2 topics"],
    ["/console/topics?q=ORD", "orders", "1 topic"],
    ["/console/topics?q=nothing", 'No topic has "nothing" in its name'],
    ["/console/topics?internal=1", "__consumer_offsets", "3 topics"],
    ["/console/new-topic", "Create topic"],
    ["/console/topics/orders", "3 partitions", "30 messages"],
    ["/console/topics/orders/partitions", "Leader epoch", "In sync"],
    ["/console/topics/orders/groups", "billing", "18"],
    ["/console/topics/compacted/settings", "Set for this topic", "set for this topic"],
    ["/console/groups", "billing", "Empty", "18"],
    ["/console/group?id=billing", "18 messages", "Nobody reads now"],
    ["/console/group?id=nobody", 'There is no group "nobody"'],
    ["/console/group/reset?id=billing&way=beginning", "What would change", "Commit these offsets"],
    ["/console/group/reset?id=nobody", "no committed offsets"],
    ["/console/brokers", "Log directories", "leader", "online"],
    ["/console/brokers/1", "Set for this broker"],
    ["/console/metrics", "Time to answer Produce"],
  ];
  test.each(pages)("%s: shows what the cluster says, and nothing that a page may not hold", async (
    path,
    ...shown
  ) => {
    const { status, headers, text } = await world.ask(path);
    expect(status).toBe(200);
    for (const word of shown) expect(words(text)).toContain(word);
    expect(headers.get("Content-Type")).toStartWith("text/html");
    expect(headers.get("Cache-Control")).toBe("no-store");
    const policy = headers.get("Content-Security-Policy");
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain("unsafe");
    // What the policy would refuse is not there in the first place.
    expect(text).not.toMatch(/<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|javascript:/);
    expect(text).not.toMatch(/(?:src|href|action)="(?:https?:)?\/\//);
    expect(text).not.toContain("Cannot show");
    // A long list comes after the page; all else is in it.
    expect(text.replace('data-part="defaults" data-late="once"', "")).not.toContain("data-late");
  });

  test("a topic that is not there: 404 that says what to do", async () => {
    const { status, text } = await world.ask("/console/topics/nope");
    expect(status).toBe(404);
    expect(words(text)).toContain('There is no topic "nope"');
  });

  test("a page that is not there: 404 with a way on", async () => {
    const { status, text } = await world.ask("/console/nope");
    expect(status).toBe(404);
    expect(words(text)).toContain("There is no such page");
    expect(text).toContain('<a href="/">');
  });

  test("a name: is text, whatever it holds", async () => {
    const { text } = await world.ask(
      `/console/group?${new URLSearchParams({ id: "<img src=x onerror=alert(1)>" })}`,
    );
    expect(text).not.toContain("<img");
    expect(text).toContain("&lt;img src=x onerror=alert(1)&gt;");
  });

  test("the settings of a broker that nobody made: come after the page", async () => {
    const { text } = await world.ask("/console/brokers/1?part=defaults");
    expect(words(text)).toContain("log.retention.hours");
    expect(words(text)).toContain("read when the broker starts");
  });

  test("?part=: one part alone, and 404 for one that is not there", async () => {
    const { status, text } = await world.ask("/console/brokers?part=quorum");
    expect(status).toBe(200);
    expect(text).toStartWith('<section class="part" data-part="quorum" data-refresh="5000"');
    expect(text).not.toContain("<html");
    expect((await world.ask("/console/brokers?part=nope")).status).toBe(404);
  });

  test("the theme that was chosen: is in the page, and nothing else that a cookie says", async () => {
    const themed = async (theme: string) =>
      (await world.ask("/", { headers: { Cookie: `weir-theme=${theme}` } })).text;
    expect(await themed("dark")).toContain('<html lang="en" data-theme="dark">');
    expect(await themed("x")).toContain('<html lang="en">');
  });

  test("files: for ever under the address with their hash, and no other", async () => {
    const { text } = await world.ask("/");
    const [path] = /\/console\/assets\/[a-z0-9]+\/console\.js/.exec(text)!;
    const file = await world.ask(path);
    expect(file.status).toBe(200);
    expect(file.headers.get("Content-Type")).toBe("text/javascript; charset=utf-8");
    expect(file.headers.get("Cache-Control")).toBe("public, max-age=31536000, immutable");
    expect((await world.ask("/console/assets/0/console.js")).status).toBe(404);
    expect((await world.ask(path.replace("console.js", "nope.js"))).status).toBe(404);
  });
});

describe("forms", () => {
  let world: ConsoleWorld;

  beforeAll(async () => {
    world = await startWorld();
  });

  test("another origin: may change nothing", async () => {
    const paths = [
      "/console/new-topic",
      "/console/topics/orders/settings",
      "/console/topics/orders/partitions",
      "/console/topics/orders/delete",
      "/console/group/delete?id=billing",
      "/console/group/reset?id=billing",
      "/console/brokers/1",
      "/console/api/produce?topic=orders",
    ];
    for (const path of paths) {
      const { status, text } = await world.ask(path, {
        method: "POST",
        headers: { "Sec-Fetch-Site": "cross-site", Origin: "http://evil.example" },
        body: "name=orders",
      });
      expect(status).toBe(403);
      expect(text).toContain("http://evil.example");
    }
    expect((await world.ask("/console/topics/orders")).status).toBe(200);
  });

  test("a body that is too large: is refused before it is read", async () => {
    const large = await world.send("/console/new-topic", { name: "x".repeat(17 * 1024 * 1024) });
    expect(large.status).toBe(413);
    expect(large.text).toContain("weir.gateway.max.body.bytes");
  });

  test("new topic: is made, and one that cannot be says why and keeps what was written", async () => {
    const made = await world.send("/console/new-topic", {
      name: "fresh",
      partitions: "2",
      replicationFactor: "",
      retention: "60000",
      policy: "compact",
    });
    expect(made.status).toBe(303);
    expect(made.headers.get("Location")).toBe("/console/topics/fresh");
    expect(await world.weir("topic describe fresh")).toContain("retention.ms=60000");
    const again = await world.send("/console/new-topic", { name: "fresh", retention: "5" });
    expect(again.status).toBe(400);
    expect(words(again.text)).toContain("TOPIC_ALREADY_EXISTS");
    expect(again.text).toContain('value="5"');
    const odd = await world.send("/console/new-topic", { name: "odd", partitions: "many" });
    expect(words(odd.text)).toContain('"many" is no whole number');
  });

  test("settings: set, shown with where it comes from, taken back; a wrong value changes nothing", async () => {
    const path = "/console/topics/compacted/settings";
    const change = (value: string) =>
      world.send(path, { config: "retention.ms", value, do: "set" });
    expect((await change("1234567")).status).toBe(303);
    const shown = words((await world.ask(path)).text);
    expect(shown).toContain("retention.ms 1234567");
    const wrong = await change("soon");
    expect(wrong.status).toBe(400);
    expect(words(wrong.text)).toContain("Nothing was changed");
    await world.send(path, { config: "retention.ms", value: "", do: "reset" });
    expect(await world.weir("topic describe compacted")).not.toContain("retention.ms");
  });

  test("broker settings: changed while it runs", async () => {
    const fields = { config: "message.max.bytes", value: "2000000", do: "set" };
    expect((await world.send("/console/brokers/1", fields)).status).toBe(303);
    const shown = words((await world.ask("/console/brokers/1")).text);
    expect(shown).toMatch(
      /Set for this broker .*message\.max\.bytes 2000000 .*set for this broker/,
    );
    const readOnly = { config: "node.id", value: "9", do: "set" };
    expect((await world.send("/console/brokers/1", readOnly)).status).toBe(400);
  });

  test("partitions: can be added, not taken away", async () => {
    const path = "/console/topics/grown/partitions";
    await world.send("/console/new-topic", { name: "grown", partitions: "2" });
    expect((await world.send(path, { total: "1" })).status).toBe(400);
    expect((await world.send(path, { total: "4" })).status).toBe(303);
    expect(words((await world.ask("/console/topics/grown")).text)).toContain("4 partitions");
  });

  test("deletion: only with the name written out", async () => {
    await world.send("/console/new-topic", { name: "doomed" });
    const path = "/console/topics/doomed/delete";
    const unsure = await world.send(path, { name: "dooomed" });
    expect(unsure.status).toBe(400);
    expect((await world.ask("/console/topics/doomed")).status).toBe(200);
    expect((await world.send(path, { name: "doomed" })).status).toBe(303);
    expect((await world.ask("/console/topics/doomed")).status).toBe(404);
  });

  test("reset: what the preview shows is what is committed", async () => {
    await world.weir("consume orders --group resettable --count 9");
    const path = "/console/group/reset?id=resettable";
    const preview = await world.ask(`${path}&way=offset&value=4`);
    const [, field] = /name="offsets" value="([^"]*)"/.exec(preview.text)!;
    const offsets = field!.replaceAll("&quot;", '"');
    expect(JSON.parse(offsets)).toEqual([["orders", 0, 4], ["orders", 1, 4], ["orders", 2, 4]]);
    const done = await world.send(path, { offsets });
    expect(done.status).toBe(303);
    const described = await world.weir("group describe resettable --json");
    const committed = described.split("\n").filter((line) => line.includes("committedOffset"));
    expect(committed.join("")).toContain('"committedOffset":4');
    expect((await world.send(path, { offsets: "nonsense" })).status).toBe(400);
    const far = await world.ask(`${path}&way=offset&value=999`);
    expect(words(far.text)).toContain("as near as the log allows");
    const odd = await world.ask(`${path}&way=time&value=yesterday`);
    expect(odd.status).toBe(400);
    expect(words(odd.text)).toContain('"yesterday" is no time');
  });

  test("produce: a record in the form of all of weir, in the partition of its key", async () => {
    await world.send("/console/new-topic", { name: "written", partitions: "5" });
    const record = { key: "alice", value: "hello", headers: [{ key: "h", value: "1" }] };
    const ask = { method: "POST", body: JSON.stringify(record) };
    const first = await world.json("/console/api/produce?topic=written", ask);
    const second = await world.json("/console/api/produce?topic=written", ask);
    expect(second).toEqual({ partition: first.partition, offset: first.offset + 1 });
    const { records } = await world.json("/console/api/records?topic=written");
    expect(records).toHaveLength(2);
    expect(records[0].record).toMatchObject({ ...record, topic: "written", ...second });
    const bad = await world.ask("/console/api/produce?topic=written", {
      method: "POST",
      body: JSON.stringify({ partition: 5 }),
    });
    expect(bad.status).toBe(404);
    expect(bad.text).toContain("partition 5");
    const gone = await world.ask("/console/api/produce?topic=absent", ask);
    expect(gone.status).toBe(404);
    expect((await world.ask("/console/topics/absent")).status).toBe(404);
  });
});
