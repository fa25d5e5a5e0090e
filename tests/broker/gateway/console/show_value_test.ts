import { describe, expect, test } from "bun:test";
import { scaleTexts } from "../../../../broker/gateway/console/browser/chart_specs.ts";
import {
  pageAddress,
  tailAddress,
} from "../../../../broker/gateway/console/browser/message_query.ts";
import {
  hexDump,
  jsonPieces,
  oneLine,
  prettyJson,
} from "../../../../broker/gateway/console/browser/show_value.ts";

describe("prettyJson", () => {
  const values: readonly unknown[] = [
    {},
    [],
    { a: 1, b: [1, 2, { c: null }], d: { e: {}, f: [] } },
    [true, false, null, -1.5e10, "text"],
    { 'quoted " \\ {[]}': "a, b: {c} [d]", "ü": "\u2028" },
    [[[]], [{}]],
  ];
  test.each(values.map((value) => [value]))("%p: as JSON.stringify makes it", (value) => {
    for (const indent of [0, 1, 4]) {
      expect(prettyJson(JSON.stringify(value, null, indent))).toBe(JSON.stringify(value, null, 2));
    }
  });

  test("numbers: keep all of their digits", () => {
    expect(prettyJson('{"id":9007199254740993,"price":1.10}')).toBe(
      '{\n  "id": 9007199254740993,\n  "price": 1.10\n}',
    );
  });

  test("what is no object and no array: is left alone", () => {
    for (const text of ["", "hello", "12", '"text"', "{broken", "[1,]"]) {
      expect(prettyJson(text)).toBeNull();
      expect(jsonPieces(text)).toBeNull();
    }
  });
});

test("jsonPieces: tells keys, texts, numbers and words apart, and loses nothing", () => {
  const text = '{"name": "true: 12", "count": -1.5e3, "ok": true, "none": null, "list": ["x"]}';
  const pieces = jsonPieces(text)!;
  expect(pieces.map((piece) => piece.text).join("")).toBe(prettyJson(text)!);
  const of = (kind: string) => pieces.filter((it) => it.kind === kind).map((it) => it.text);
  expect(of("jsonKey")).toEqual(['"name"', '"count"', '"ok"', '"none"', '"list"']);
  expect(of("jsonString")).toEqual(['"true: 12"', '"x"']);
  expect(of("jsonNumber")).toEqual(["-1.5e3"]);
  expect(of("jsonWord")).toEqual(["true", "null"]);
});

test("hexDump: offset, bytes, and what of them is printable", () => {
  const dump = hexDump(Uint8Array.from([...Array(17).keys()].map((i) => i + 0x5e)));
  expect(dump.split("\n")).toEqual([
    "00000000  5e 5f 60 61 62 63 64 65  66 67 68 69 6a 6b 6c 6d  ^_`abcdefghijklm",
    "00000010  6e                                                n",
  ]);
  expect(hexDump(Uint8Array.from([0, 255]))).toEndWith("  ..");
  expect(hexDump(new Uint8Array(0))).toBe("");
});

test("oneLine: no line feeds, and no longer than a row", () => {
  expect(oneLine("a\n\t b")).toBe("a b");
  expect(oneLine("x".repeat(1000))).toHaveLength(400);
});

describe("addresses", () => {
  const query = {
    topic: "orders",
    order: "newest",
    offset: "12",
    time: "2026-01-31T12:00:00",
    partition: "",
    filter: "",
  } as const;
  const of = (address: string) => Object.fromEntries(new URL(address, "http://x").searchParams);

  test("pageAddress: says where to begin, or where the page before it ended", () => {
    expect(of(pageAddress(query, null, 50))).toEqual({
      topic: "orders",
      limit: "50",
      direction: "backward",
    });
    const offset = { ...query, order: "offset", partition: "1", filter: "a b" } as const;
    expect(of(pageAddress(offset, null, 5))).toEqual({
      topic: "orders",
      limit: "5",
      direction: "forward",
      partition: "1",
      q: "a b",
      from: "12",
    });
    expect(of(pageAddress(offset, [[1, 3], [2, 4]], 5))).toMatchObject({ cursor: "1:3,2:4" });
    const time = of(pageAddress({ ...query, order: "time" }, null, 5));
    expect(Date.parse(time["from"]!)).toBe(Date.parse(query.time));
  });

  test("tailAddress: begins at the end", () => {
    expect(of(tailAddress(query, null, 5))).toMatchObject({ direction: "forward", from: "end" });
    expect(of(tailAddress(query, [[0, 9]], 5))).toMatchObject({ cursor: "0:9" });
  });
});

test("scaleTexts: all in the unit that fits the largest", () => {
  const plain = (texts: string[]) => texts.map((text) => text.replace("\u202f", " "));
  expect(plain(scaleTexts([0, 512, 2048], "bytes"))).toEqual(["0 KiB", "0.5 KiB", "2 KiB"]);
  expect(plain(scaleTexts([-2048], "bytesPerSecond"))).toEqual(["2 KiB/s"]);
  expect(plain(scaleTexts([0.0004, 0.0123], "seconds"))).toEqual(["0.4 ms", "12.3 ms"]);
  expect(plain(scaleTexts([0.00004], "seconds"))).toEqual(["40 µs"]);
  expect(plain(scaleTexts([0.5], "share"))).toEqual(["50 %"]);
  expect(plain(scaleTexts([1500], "count"))).toEqual(["1.5 k"]);
  expect(plain(scaleTexts([0, 0], "perSecond"))).toEqual(["0 /s", "0 /s"]);
});
