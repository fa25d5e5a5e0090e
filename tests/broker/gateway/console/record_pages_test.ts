import { beforeAll, describe, expect, test } from "bun:test";
import { SimRandom } from "../../../sim/sim_random.ts";
import { ConsoleWorld } from "./console_world.ts";

interface Line {
  readonly record: {
    readonly partition: number;
    readonly offset: number;
    readonly timestamp: number;
    readonly key: string | null;
    readonly value: string | null;
  };
  readonly valueBytes: number;
  readonly isCut: boolean;
}

interface PageTold {
  readonly records: readonly Line[];
  readonly cursor: readonly (readonly [number, number])[];
  readonly isEnd: boolean;
  readonly scannedCount: number;
}

const COUNT = 900;
const PARTITIONS = 4;
let world: ConsoleWorld;

/** Records whose timestamps mostly grow, in partitions of very different sizes. */
beforeAll(async () => {
  world = await ConsoleWorld.start();
  const random = new SimRandom(11);
  await world.weir(`topic create mixed --partitions ${PARTITIONS}`);
  await world.weir("topic create empty --partitions 2");
  await world.weir("topic create same --partitions 2");
  await world.weir("topic create large");
  const lines = Array.from({ length: COUNT }, (_, i) => {
    const partition = random.uint32() % 20 === 0 ? 1 + random.uint32() % 2 : 0;
    const jitter = random.uint32() % 3000;
    return JSON.stringify({
      key: `k${i % 10}`,
      value: `v${i}`,
      partition,
      timestamp: 1_700_000_000_000 + i * 1000 + jitter,
    });
  });
  await world.weir("produce mixed --format ndjson --batch-bytes 2000", `${lines.join("\n")}\n`);
  const alike = Array.from(
    { length: 300 },
    (_, i) => JSON.stringify({ value: String(i), partition: i % 2, timestamp: 5 }),
  );
  await world.weir("produce same --format ndjson", `${alike.join("\n")}\n`);
  await world.weir(
    "produce large --format ndjson",
    `${JSON.stringify({ value: `a${"ü".repeat(9000)}` })}\n`,
  );
});

async function ask(query: string): Promise<PageTold> {
  return await world.json(`/console/api/records?${query}`);
}

/** Pages until the end. */
async function all(query: string): Promise<Line[]> {
  const lines: Line[] = [];
  for (let cursor = "";;) {
    const page = await ask(`${query}${cursor}`);
    lines.push(...page.records);
    if (page.isEnd) return lines;
    expect(lines.length).toBeLessThanOrEqual(COUNT);
    cursor = `&cursor=${page.cursor.map((pair) => pair.join(":")).join(",")}`;
  }
}

const name = ({ record }: Line) => `${record.partition}:${record.offset}`;

describe("readPage", () => {
  for (const limit of [1, 7, 50, 500]) {
    for (const direction of ["backward", "forward"]) {
      test(`${direction}, ${limit} a page: each record once, by time, in each partition by offset`, async () => {
        // One a page over everything would take a request for each.
        const from = limit === 1 ? "&partition=1" : "";
        const lines = await all(`topic=mixed&direction=${direction}&limit=${limit}${from}`);
        if (limit > 1) expect(lines).toHaveLength(COUNT);
        expect(new Set(lines.map(name)).size).toBe(lines.length);
        const sign = direction === "forward" ? 1 : -1;
        for (const of of Map.groupBy(lines, ({ record }) => record.partition).values()) {
          const offsets = of.map(({ record }) => record.offset);
          expect(offsets).toEqual(offsets.toSorted((a, b) => sign * (a - b)));
        }
        // By time, but for records that are out of order within their partition.
        for (let i = 1; i < lines.length; i++) {
          const [a, b] = [lines[i - 1]!.record, lines[i]!.record];
          expect(sign * (b.timestamp - a.timestamp)).toBeGreaterThan(-3001);
        }
      });
    }
  }

  test("a page of a busy topic: does not read all of it", async () => {
    const page = await ask("topic=mixed&limit=20");
    expect(page.records).toHaveLength(20);
    expect(page.scannedCount).toBeLessThan(200);
  });

  test("records with one timestamp: a page does not read on to the end for a tie", async () => {
    const page = await ask("topic=same&limit=10");
    expect(page.records).toHaveLength(10);
    expect(page.scannedCount).toBeLessThan(100);
    expect(await all("topic=same&limit=70")).toHaveLength(300);
  });

  test("a filter: finds what fits and goes on where the page before it ended", async () => {
    const found = await all("topic=mixed&limit=5&q=key:k3");
    expect(found).toHaveLength(COUNT / 10);
    expect(found.every(({ record }) => record.key === "k3")).toBeTrue();
    const rare = await ask("topic=mixed&q=v899&limit=5");
    expect(rare.records.map(({ record }) => record.value)).toEqual(["v899"]);
    expect(rare.scannedCount).toBe(COUNT);
    expect(rare.isEnd).toBeTrue();
  });

  test("places: an offset, a time, and from the end", async () => {
    const offset = await ask("topic=mixed&partition=0&direction=forward&from=10&limit=2");
    expect(offset.records.map(name)).toEqual(["0:10", "0:11"]);
    const last = await ask("topic=mixed&partition=0&direction=forward&from=-3&limit=50");
    expect(last.records).toHaveLength(3);
    const time = "2023-11-14T22:20:00Z";
    const later = await ask(`topic=mixed&direction=forward&from=${time}&limit=1`);
    expect(later.records[0]!.record.timestamp).toBeGreaterThanOrEqual(Date.parse(time));
    expect(later.records[0]!.record.timestamp).toBeLessThan(Date.parse(time) + 5000);
    const end = await ask("topic=mixed&direction=forward&from=end");
    expect(end).toMatchObject({ records: [], isEnd: true, scannedCount: 0 });
  });

  test("following: what comes after the end is in the next page, and nothing twice", async () => {
    await world.weir("topic create followed --partitions 2");
    const end = await ask("topic=followed&direction=forward&from=end");
    await world.weir("produce followed", "one\ntwo\n");
    const cursor = (page: PageTold) => page.cursor.map((pair) => pair.join(":")).join(",");
    const next = await ask(`topic=followed&direction=forward&cursor=${cursor(end)}`);
    expect(next.records.map(({ record }) => record.value).toSorted()).toEqual(["one", "two"]);
    const after = await ask(`topic=followed&direction=forward&cursor=${cursor(next)}`);
    expect(after.records).toEqual([]);
  });

  test("an empty topic: an empty page, and the end", async () => {
    expect(await ask("topic=empty")).toMatchObject({ records: [], isEnd: true });
  });

  test("a large value: is cut between two characters, and whole when asked for", async () => {
    const { records: [line] } = await ask("topic=large");
    expect(line).toMatchObject({ isCut: true, valueBytes: 18_001 });
    expect(line!.record.value).toBe(`a${"ü".repeat(2047)}`);
    const whole = await world.json("/console/api/record?topic=large&partition=0&offset=0");
    expect(whole.value).toBe(`a${"ü".repeat(9000)}`);
    const raw = await world.ask("/console/api/record?topic=large&partition=0&offset=0&as=value");
    expect(raw.headers.get("Content-Disposition")).toBe('attachment; filename="large-0-0.value"');
    expect(raw.text).toBe(whole.value);
  });

  test("values of a megabyte: are read a few at a time, each once, and the page gets somewhere", async () => {
    await world.weir("topic create heavy --config max.message.bytes=2000000");
    const value = "x".repeat(900_000);
    for (let i = 0; i < 12; i++) await world.weir("produce heavy", `${i}${value}\n`);
    for (const direction of ["backward", "forward"]) {
      const lines = await all(`topic=heavy&limit=50&direction=${direction}`);
      expect(new Set(lines.map(name)).size).toBe(12);
      expect(lines).toHaveLength(12);
    }
    const page = await ask("topic=heavy&limit=50");
    expect(page.scannedCount).toBeGreaterThan(0);
    expect(page.records.length).toBe(page.scannedCount);
  });

  const refused: readonly (readonly [query: string, status: number, text: string])[] = [
    ["records?topic=absent", 404, "topic absent does not exist"],
    ["records?topic=mixed&partition=9", 400, "has no partition 9, it has 0 to 3"],
    ["records?topic=mixed&from=soon", 400, "is no place"],
    ["records?topic=mixed&limit=0", 400, "limit is wrong"],
    ["records?topic=mixed&limit=501", 400, "limit is wrong"],
    ["records?topic=mixed&cursor=x", 400, "cursor is wrong"],
    ["records?topic=mixed&q=%22open", 400, "the quotation mark is not closed"],
    ["records", 400, "topic is wrong"],
    ["record?topic=mixed&partition=0", 400, "offset is wrong"],
    ["record?topic=mixed&partition=3&offset=5", 400, "OFFSET_OUT_OF_RANGE"],
  ];
  test.each(refused)("%s: refused with %d", async (query, status, text) => {
    const told = await world.ask(`/console/api/${query}`);
    expect(told.status).toBe(status);
    expect(told.headers.get("Content-Type")).toBe("application/problem+json");
    expect(JSON.parse(told.text).detail).toContain(text);
  });
});
