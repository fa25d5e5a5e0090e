/** The compiler on schemas made for the purpose: defaults, nulls, tags, ranges, and the texts of refusals. */

import { describe, expect, test } from "bun:test";
import { INT64_MAX, WireError } from "../../protocol/bytes.ts";
import {
  codec,
  decodeMessage,
  encodeMessage,
  inRange,
  versionsOf,
} from "../../protocol/compile.ts";
import {
  array,
  bool,
  bytes,
  type Encodable,
  float64,
  int16,
  int32,
  int64,
  int8,
  message,
  string,
  struct,
  uint16,
  uint32,
  uuid,
  type VersionRange,
} from "../../protocol/schema.ts";
import { fetchRequest } from "../../protocol/schemas/fetch.ts";
import { ZERO_UUID } from "../../protocol/types.ts";
import { Interpreter } from "./interpreter.ts";

const sample = message(
  { name: "Sample", apiKey: 999, versions: "0-3", flexible: "2+" },
  {
    id: int32("0+"),
    name: string("0+", { nullable: "1+" }),
    limit: int32("1+", { default: 5 }),
    note: string("1+", { ignorable: true, default: "none" }),
    parts: array("0+", { part: int16("0+"), extra: int8("3+") }, { nullable: "1+" }),
    point: struct("1+", { x: int8("0+"), y: int8("0+") }, { nullable: "2+", default: null }),
    // Out of order, so that the encoder must sort.
    late: int32("2+", { tag: 3, tagged: "2+", default: -1 }),
    early: string("2+", { tag: 0, tagged: "2+", nullable: "2+", default: null }),
    box: struct("2+", { z: int32("0+", { default: 9 }) }, { tag: 1, tagged: "2+" }),
    blob: bytes("3+", { tag: 2, tagged: "3+" }),
  },
);
type SampleValue = Encodable<typeof sample>;

function hex(version: number, value: SampleValue): string {
  return encodeMessage(sample, version, value).toHex();
}

const whole: SampleValue = { id: 1, name: "a", parts: [{ part: 2 }] };

describe("versionsOf, inRange", () => {
  const ranges: readonly [VersionRange, number, number][] = [
    ["3", 3, 3],
    ["3-5", 3, 5],
    ["3+", 3, Infinity],
    ["0-12", 0, 12],
    ["none", 0, -1],
  ];
  for (const [range, lowest, highest] of ranges) {
    test(`versionsOf: "${range}" is from ${lowest} to ${highest}`, () => {
      expect(versionsOf(range)).toEqual({ lowest, highest });
      for (const version of [-1, 0, 2, 3, 4, 5, 6, 99]) {
        expect(inRange(range, version)).toBe(version >= lowest && version <= highest);
      }
    });
  }
});

describe("codec", () => {
  test("codec: is compiled once for a version", () => {
    expect(codec(sample, 2)).toBe(codec(sample, 2));
    expect(codec(sample, 2)).not.toBe(codec(sample, 3));
  });

  test("codec: a version that the message does not have is a WireError", () => {
    for (const version of [-1, 4, 1.5, NaN]) {
      expect(() => codec(sample, version)).toThrow(WireError);
    }
    expect(() => codec(sample, 4)).toThrow("it has versions 0-3");
  });
});

describe("Codec.encode", () => {
  test("Codec.encode: every version has its own layout", () => {
    expect(hex(0, whole)).toBe("00000001" + "000161" + "000000010002");
    expect(hex(1, { ...whole, point: { x: 3, y: 4 } })).toBe(
      "00000001" + "000161" + "00000005" + "00046e6f6e65" + "000000010002" + "0304",
    );
    expect(hex(2, whole)).toBe(
      "00000001" + "0261" + "00000005" + "056e6f6e65" + "02000200" + "ff" + "00",
    );
    expect(hex(3, { ...whole, point: { x: 3, y: 4 } })).toBe(
      "00000001" + "0261" + "00000005" + "056e6f6e65" + "0200020000" + "01030400" + "00",
    );
  });

  test("Codec.encode: tagged fields go in the order of their tags, and only when not the default", () => {
    const start = "00000001" + "0261" + "00000005" + "056e6f6e65" + "01" + "ff";
    const value = { id: 1, name: "a", parts: [] };
    expect(hex(3, { ...value, late: 7, early: "b", box: { z: 8 }, blob: Uint8Array.of(1, 2) }))
      .toBe(`${start}04` + "00020262" + "010500000008" + "00" + "0203030102" + "030400000007");
    expect(hex(3, { ...value, late: -1, early: null, box: { z: 9 }, blob: new Uint8Array(0) }))
      .toBe(`${start}00`);
    expect(hex(3, { ...value, box: {} })).toBe(`${start}00`);
    expect(hex(3, { ...value, early: "" })).toBe(`${start}0100` + "0101");
  });

  test("Codec.encode: null and undefined", () => {
    expect(hex(1, { ...whole, name: null, parts: null, point: { x: 0, y: 0 } })).toBe(
      "00000001" + "ffff" + "00000005" + "00046e6f6e65" + "ffffffff" + "0000",
    );
    expect(hex(2, { ...whole, name: null, parts: null, limit: undefined })).toBe(
      "00000001" + "00" + "00000005" + "056e6f6e65" + "00" + "ff" + "00",
    );
  });

  const refused: readonly { name: string; version: number; value: unknown; text: string }[] = [
    {
      name: "null name",
      version: 0,
      value: { ...whole, name: null },
      text: "Sample.name: it must be a string, and is null",
    },
    {
      name: "null parts",
      version: 0,
      value: { ...whole, parts: null },
      text: "Sample.parts: it must be an array, and is null",
    },
    {
      name: "null struct by default",
      version: 1,
      value: whole,
      text: "Sample.point: it must be an object, and is null",
    },
    { name: "null element", version: 0, value: { ...whole, parts: [null] }, text: "Sample.parts" },
    {
      name: "a value of a later version",
      version: 0,
      value: { ...whole, limit: 6 },
      text: "Sample.limit: it must be the default, as version 0 lacks it, and is 6",
    },
    {
      name: "a member of a later version",
      version: 2,
      value: { ...whole, parts: [{ part: 1, extra: 1 }] },
      text: "Sample.parts.extra",
    },
    {
      name: "a tagged value of a later version",
      version: 2,
      value: { ...whole, blob: Uint8Array.of(1) },
      text: "Sample.blob",
    },
    {
      name: "a struct of a later version",
      version: 0,
      value: { ...whole, point: { x: 1, y: 1 } },
      text: "Sample.point",
    },
    {
      name: "a null tagged number",
      version: 2,
      value: { ...whole, late: null },
      text: "Sample.late: it must be an integer of 32 bits, and is null",
    },
    {
      name: "a fraction",
      version: 0,
      value: { ...whole, id: 1.5 },
      text: "Sample.id: it must be an integer of 32 bits, and is 1.5",
    },
    { name: "text for a number", version: 0, value: { ...whole, id: "5" }, text: 'is "5"' },
    {
      name: "a number for text",
      version: 0,
      value: { ...whole, name: 5 },
      text: "a string, and is 5",
    },
    {
      name: "an object for an array",
      version: 0,
      value: { ...whole, parts: {} },
      text: "an array, and is an object",
    },
    {
      name: "text for bytes",
      version: 3,
      value: { ...whole, blob: "x" },
      text: 'bytes, and is "x"',
    },
    {
      name: "text for a struct",
      version: 2,
      value: { ...whole, point: "x" },
      text: 'an object or null, and is "x"',
    },
  ];
  for (const { name, version, value, text } of refused) {
    test(`Codec.encode: refuses ${name}`, () => {
      const encode = () => hex(version, value as SampleValue);
      expect(encode).toThrow(WireError);
      expect(encode).toThrow(`Cannot write ${text.startsWith("Sample") ? text : "Sample"}`);
      expect(encode).toThrow(text);
    });
  }

  test("Codec.encode: an ignorable value is dropped, the default of a missing field passes", () => {
    expect(hex(0, { ...whole, note: "dropped", limit: 5, point: null, box: { z: 9 } })).toBe(
      hex(0, whole),
    );
  });
});

describe("Codec.encode: ranges of numbers", () => {
  const numbers = message({ name: "Numbers", versions: "0", flexible: "none" }, {
    int8: int8("0+"),
    int16: int16("0+"),
    uint16: uint16("0+"),
    int32: int32("0+"),
    uint32: uint32("0+"),
    int64: int64("0+"),
    float64: float64("0+"),
    bool: bool("0+"),
    list: array("0+", "int16"),
    longs: array("0+", "int64"),
  });
  const zero = { int8: 0, int16: 0, uint16: 0, int32: 0, uint32: 0, int64: 0, float64: 0 };
  const base = { ...zero, bool: false, list: [], longs: [] };
  const ranges = [
    ["int8", -128, 127],
    ["int16", -32768, 32767],
    ["uint16", 0, 65535],
    ["int32", -2147483648, 2147483647],
    ["uint32", 0, 4294967295],
    ["int64", Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  ] as const;
  for (const [name, lowest, highest] of ranges) {
    test(`Codec.encode: ${name} takes its range and nothing else`, () => {
      for (const value of [lowest, highest, -0]) {
        const found = decodeMessage(
          numbers,
          0,
          encodeMessage(numbers, 0, { ...base, [name]: value }),
        );
        expect(found[name]).toBe(value + 0);
      }
      const wrong = [
        lowest - 1,
        highest + 1,
        NaN,
        Infinity,
        -Infinity,
        0.5,
        null,
        "1",
        1n,
        true,
        [],
      ];
      for (const value of wrong) {
        const bad = { ...base, [name]: value } as never;
        expect(() => encodeMessage(numbers, 0, bad)).toThrow(WireError);
      }
    });
  }

  test("Codec.encode: elements are checked like fields", () => {
    expect(() => encodeMessage(numbers, 0, { ...base, list: [1, 32768] })).toThrow("Numbers.list");
    expect(() => encodeMessage(numbers, 0, { ...base, longs: [2 ** 53] })).toThrow("Numbers.longs");
    const holes = { ...base, list: Array(1) } as never;
    expect(() => encodeMessage(numbers, 0, holes)).toThrow("undefined");
  });

  test("Codec.encode: bool and float64 take only their own kind, NaN being a float64", () => {
    for (const value of [1, 0, null, "true"]) {
      expect(() => encodeMessage(numbers, 0, { ...base, bool: value } as never)).toThrow(WireError);
    }
    expect(() => encodeMessage(numbers, 0, { ...base, float64: "1" } as never)).toThrow(WireError);
    const encoded = encodeMessage(numbers, 0, { ...base, float64: NaN });
    expect(decodeMessage(numbers, 0, encoded).float64).toBeNaN();
  });
});

describe("Codec.decode", () => {
  test("Codec.decode: fields that the version lacks have their default, in the same shape", () => {
    const found = decodeMessage(sample, 0, Uint8Array.fromHex("00000001000161000000010002"));
    expect(found).toStrictEqual({
      id: 1,
      name: "a",
      limit: 5,
      note: "none",
      parts: [{ part: 2, extra: 0 }],
      point: null,
      late: -1,
      early: null,
      box: { z: 9 },
      blob: new Uint8Array(0),
    });
  });

  test("Codec.decode: defaults that can change are made anew for each value", () => {
    const bytes = Uint8Array.fromHex("00000001000161000000010002");
    const first = decodeMessage(sample, 0, bytes);
    (first.box as { z: number }).z = 1;
    expect(decodeMessage(sample, 0, bytes).box.z).toBe(9);
  });

  const start = "00000001" + "00" + "00000005" + "056e6f6e65" + "00" + "ff";
  test("Codec.decode: unknown tags are skipped, known ones taken in any order", () => {
    const found = decodeMessage(
      sample,
      3,
      Uint8Array.fromHex(
        `${start}04` + "0902aabb" + "030400000007" + "00020262" + "01050000000800",
      ),
    );
    expect(found).toMatchObject({ late: 7, early: "b", box: { z: 8 } });
  });

  test("Codec.decode: a tagged field that takes more or fewer bytes than it said is refused", () => {
    for (const tagged of ["03050000000700", "030300000007", "00030262", "000261"]) {
      const bytes = Uint8Array.fromHex(`${start}01${tagged}`);
      expect(() => decodeMessage(sample, 3, bytes)).toThrow(WireError);
    }
    const short = Uint8Array.fromHex(`${start}01` + "0303000000070000");
    expect(() => decodeMessage(sample, 3, short)).toThrow("announced 3 bytes and took 4");
  });

  test("Codec.decode: null where it is not allowed is refused", () => {
    for (const hex of ["00000001ffff00000000", "00000001000161ffffffff"]) {
      expect(() => decodeMessage(sample, 0, Uint8Array.fromHex(hex))).toThrow("null");
    }
  });

  test("Codec.decode: a nullable struct is null below 0, and there for any other marker", () => {
    const before = "00000001" + "00" + "00000005" + "056e6f6e65" + "00";
    for (const marker of ["ff", "80"]) {
      const found = decodeMessage(sample, 2, Uint8Array.fromHex(`${before}${marker}00`));
      expect(found.point).toBe(null);
    }
    const found = decodeMessage(sample, 2, Uint8Array.fromHex(`${before}0103040000`));
    expect(found.point).toEqual({ x: 3, y: 4 });
  });

  test("Codec.decode: byte fields are views of the input", () => {
    const bytes = Uint8Array.fromHex(`${start}01` + "0203030102");
    expect(decodeMessage(sample, 3, bytes).blob.buffer).toBe(bytes.buffer);
  });
});

describe("FetchRequest.highWatermark", () => {
  const partition = { partition: 0, fetchOffset: 0, partitionMaxBytes: 1 };
  const request = (highWatermark?: number) => ({
    maxWaitMs: 0,
    minBytes: 0,
    topics: [{ topicId: ZERO_UUID, partitions: [{ ...partition, highWatermark }] }],
  });

  test("Codec: INT64_MAX stands for the default 2^63 − 1, and is not written", () => {
    const bytes = encodeMessage(fetchRequest, 18, request());
    expect(encodeMessage(fetchRequest, 18, request(INT64_MAX))).toEqual(bytes);
    const found = decodeMessage(fetchRequest, 18, bytes);
    expect(found.topics[0]!.partitions[0]!.highWatermark).toBe(INT64_MAX);
  });

  test("Codec: the largest safe integer is a value of its own", () => {
    const bytes = encodeMessage(fetchRequest, 18, request(Number.MAX_SAFE_INTEGER));
    expect(bytes.toHex()).toContain("0108001fffffffffffff");
    const found = decodeMessage(fetchRequest, 18, bytes);
    expect(found.topics[0]!.partitions[0]!.highWatermark).toBe(Number.MAX_SAFE_INTEGER);
  });

  test("Codec: 2^63 − 1 written out by a sender is the default too", () => {
    const hex = encodeMessage(fetchRequest, 18, request(Number.MAX_SAFE_INTEGER)).toHex();
    const written = hex.replace("001fffffffffffff", "7fffffffffffffff");
    const found = decodeMessage(fetchRequest, 18, Uint8Array.fromHex(written));
    expect(found.topics[0]!.partitions[0]!.highWatermark).toBe(INT64_MAX);
  });
});

describe("nullable structs in the tagged section", () => {
  // Kafka 4.4 has only one such field, whose default is null, so that null itself is never written.
  const boxed = message({ name: "Boxed", versions: "0", flexible: "0+" }, {
    box: struct("0+", { z: int8("0+") }, { tag: 4, tagged: "0+", nullable: "0+" }),
  });
  const cases = [
    { value: { box: { z: 0 } }, hex: "00" },
    { value: { box: { z: 5 } }, hex: "010403010500" },
    { value: { box: null }, hex: "01040100" },
  ];
  for (const { value, hex } of cases) {
    test(`Codec: ${JSON.stringify(value)} is ${hex}, its marker being a varint`, () => {
      expect(encodeMessage(boxed, 0, value).toHex()).toBe(hex);
      expect(new Interpreter(boxed, 0).encode(value).toHex()).toBe(hex);
      expect<unknown>(decodeMessage(boxed, 0, Uint8Array.fromHex(hex))).toEqual(value);
    });
  }
});

describe("uuid fields", () => {
  const identified = message({ name: "Identified", versions: "0", flexible: "none" }, {
    id: uuid("0+"),
  });
  test("Codec.encode: text that is not 16 bytes of base64url is refused", () => {
    for (const id of ["", "AAAA", "not a uuid", null, 5]) {
      expect(() => encodeMessage(identified, 0, { id } as never)).toThrow(WireError);
    }
  });
});
