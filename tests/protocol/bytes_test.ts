/** Reader and Writer: every primitive at its edges, and what they refuse. */

import { describe, expect, test } from "bun:test";
import {
  formatUuid,
  INT64_MAX,
  parseUuid,
  Reader,
  unsignedVarintBytes,
  WireError,
  Writer,
} from "../../protocol/bytes.ts";
import { METADATA_TOPIC_ID, type Uuid, ZERO_UUID } from "../../protocol/types.ts";

function written(write: (writer: Writer) => void): string {
  const writer = new Writer(1);
  write(writer);
  return writer.finish().toHex();
}

function reader(hex: string): Reader {
  return new Reader(Uint8Array.fromHex(hex));
}

describe("fixed integers", () => {
  const cases = [
    { type: "int8", value: -128, hex: "80" },
    { type: "int8", value: 127, hex: "7f" },
    { type: "int16", value: -32768, hex: "8000" },
    { type: "int16", value: 258, hex: "0102" },
    { type: "uint16", value: 65535, hex: "ffff" },
    { type: "int32", value: -2147483648, hex: "80000000" },
    { type: "int32", value: 16909060, hex: "01020304" },
    { type: "uint32", value: 4294967295, hex: "ffffffff" },
    { type: "int64", value: -1, hex: "ffffffffffffffff" },
    { type: "int64", value: -4294967297, hex: "fffffffeffffffff" },
    { type: "int64", value: 4294967296, hex: "0000000100000000" },
    { type: "int64", value: Number.MAX_SAFE_INTEGER, hex: "001fffffffffffff" },
    { type: "int64", value: Number.MIN_SAFE_INTEGER, hex: "ffe0000000000001" },
    { type: "float64", value: -1.5, hex: "bff8000000000000" },
    { type: "float64", value: Infinity, hex: "7ff0000000000000" },
  ] as const;
  for (const { type, value, hex } of cases) {
    test(`Reader.${type}, Writer.${type}: ${value} is ${hex}`, () => {
      expect(written((writer) => writer[type](value))).toBe(hex);
      expect(reader(hex)[type]()).toBe(value);
      expect(() => reader(hex.slice(2))[type]()).toThrow(WireError);
    });
  }

  test("Reader.int64: refuses what no safe integer can be, and says what it found", () => {
    const beyond = {
      "0020000000000000": "9007199254740992",
      "ffe0000000000000": "-9007199254740992",
      "ffdfffffffffffff": "-9007199254740993",
      "7fffffffffffffff": "9223372036854775807",
      "8000000000000000": "-9223372036854775808",
    };
    for (const [hex, value] of Object.entries(beyond)) {
      expect(() => reader(hex).int64()).toThrow(`${value} is beyond`);
    }
  });

  test("Reader.int64OrMaxAt: takes 2^63 − 1 for INT64_MAX, and refuses its neighbour", () => {
    expect(reader("7fffffffffffffff").int64OrMaxAt(0)).toBe(INT64_MAX);
    expect(reader("0000000000000007").int64OrMaxAt(0)).toBe(7);
    expect(() => reader("7ffffffffffffffe").int64OrMaxAt(0)).toThrow(WireError);
    expect(Number.isSafeInteger(INT64_MAX)).toBe(false);
  });
});

describe("varints", () => {
  const unsigned = [
    { value: 0, hex: "00" },
    { value: 127, hex: "7f" },
    { value: 128, hex: "8001" },
    { value: 16383, hex: "ff7f" },
    { value: 16384, hex: "808001" },
    { value: 2097152, hex: "80808001" },
    { value: 268435456, hex: "8080808001" },
    { value: 4294967295, hex: "ffffffff0f" },
  ];
  for (const { value, hex } of unsigned) {
    test(`Reader.unsignedVarint, Writer.unsignedVarint: ${value} is ${hex}`, () => {
      expect(written((writer) => writer.unsignedVarint(value))).toBe(hex);
      expect(reader(hex).unsignedVarint()).toBe(value);
      expect(unsignedVarintBytes(value)).toBe(hex.length / 2);
    });
  }

  test("Reader.unsignedVarint: refuses over 32 bits, over 5 bytes and a missing end", () => {
    for (const hex of ["ffffffff10", "ffffffff7f", "808080808001", "ffffffffffff", "80", ""]) {
      expect(() => reader(hex).unsignedVarint()).toThrow(WireError);
    }
  });

  const zigzag = [
    { value: 0, hex: "00" },
    { value: -1, hex: "01" },
    { value: 1, hex: "02" },
    { value: 63, hex: "7e" },
    { value: -65, hex: "8101" },
    { value: 2147483647, hex: "feffffff0f" },
    { value: -2147483648, hex: "ffffffff0f" },
  ];
  for (const { value, hex } of zigzag) {
    test(`Reader.varint, Reader.varlong: ${value} is ${hex} in both`, () => {
      expect(written((writer) => writer.varint(value))).toBe(hex);
      expect(written((writer) => writer.varlong(value))).toBe(hex);
      expect(reader(hex).varint()).toBe(value);
      expect(reader(hex).varlong()).toBe(value);
    });
  }

  test("Reader.varlong: comes back up to ±2^52, and refuses what lies beyond", () => {
    for (const value of [2 ** 40, -(2 ** 40), 2 ** 52 - 1, -(2 ** 52)]) {
      const hex = written((writer) => writer.varlong(value));
      expect(reader(hex).varlong()).toBe(value);
    }
    for (const hex of ["ffffffffffffffffff01", "80808080808080808080", "80808080808080808001"]) {
      expect(() => reader(hex).varlong()).toThrow(WireError);
    }
  });
});

describe("strings", () => {
  const cases = ["", "a", "x".repeat(32), "x".repeat(33), "x".repeat(126), "x".repeat(127)];
  const others = [
    "é",
    "\ufeffbom",
    "消息",
    "\u{1f600}".repeat(20),
    `${"x".repeat(31)}é`,
    "\0",
    "\x7f",
  ];
  for (const text of [...cases, ...others]) {
    test(`Writer, Reader: ${JSON.stringify(text)} comes back in both forms`, () => {
      const bytes = new TextEncoder().encode(text);
      const classic = written((writer) => writer.nullableString(text));
      expect(classic).toBe(bytes.length.toString(16).padStart(4, "0") + bytes.toHex());
      expect(reader(classic).string()).toBe(text);
      const compact = written((writer) => writer.nullableCompactString(text));
      expect(compact.endsWith(bytes.toHex())).toBe(true);
      expect(reader(compact).compactString()).toBe(text);
    });
  }

  test("Writer.nullableString: 32,767 bytes pass and one more is refused, in characters of any width", () => {
    for (const text of ["x".repeat(32767), `x${"é".repeat(16383)}`]) {
      expect(reader(written((writer) => writer.nullableString(text))).string()).toBe(text);
      expect(() => written((writer) => writer.nullableString(`${text}x`))).toThrow("32768 bytes");
    }
  });

  test("Reader: null only where it is allowed", () => {
    expect(reader("ffff").nullableString()).toBe(null);
    expect(reader("00").nullableCompactString()).toBe(null);
    expect(reader("ffffffff").nullableBytes()).toBe(null);
    expect(reader("00").nullableCompactBytes()).toBe(null);
    expect(() => reader("ffff").string()).toThrow("null");
    expect(() => reader("00").compactString()).toThrow("null");
    expect(() => reader("ffffffff").requiredBytes()).toThrow("null");
    expect(() => reader("00").compactBytes()).toThrow("null");
  });

  test("Reader: a negative length other than −1 is refused", () => {
    expect(() => reader("fffe00").nullableString()).toThrow("negative");
    expect(() => reader("fffffffe00").nullableBytes()).toThrow("negative");
  });

  test("Reader.utf8: what is not UTF-8 becomes U+FFFD, as in Kafka", () => {
    for (const hex of ["61ff62", "c3", "eda080", "f0808080"]) {
      const bytes = Uint8Array.fromHex(hex);
      const expected = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
      expect(new Reader(bytes).utf8(bytes.length)).toBe(expected);
    }
  });
});

describe("UUIDs", () => {
  test("formatUuid, parseUuid: text and bytes are Kafka's", () => {
    expect(parseUuid(ZERO_UUID).toHex()).toBe("00".repeat(16));
    expect(parseUuid(METADATA_TOPIC_ID).toHex()).toBe(`${"00".repeat(15)}01`);
    expect(formatUuid(new Uint8Array(16).fill(255))).toBe("_____________________w" as Uuid);
  });

  test("parseUuid: other text is a WireError", () => {
    for (const text of ["", "A", "AAAA", "A".repeat(21), "A".repeat(23), "!".repeat(22), "é"]) {
      expect(() => parseUuid(text)).toThrow(WireError);
    }
  });

  test("Reader.uuid, Writer.uuid: come back", () => {
    const id = formatUuid(Uint8Array.from({ length: 16 }, (_, i) => i * 17));
    for (const value of [id, ZERO_UUID, METADATA_TOPIC_ID]) {
      expect(reader(written((writer) => writer.uuid(value))).uuid()).toBe(value);
    }
  });
});

describe("Reader: bounds", () => {
  test("Reader: keeps to its own part of a larger buffer", () => {
    const part = new Reader(Uint8Array.fromHex("0102030405060708"), 2, 5);
    expect(part.remaining).toBe(3);
    expect(part.int16()).toBe(0x0304);
    expect(() => part.int16()).toThrow("only 1 are left");
    expect(part.int8()).toBe(5);
  });

  test("Reader.arrayLength: a count is checked against the cap and the bytes left", () => {
    expect(reader("ffffffff").arrayLength()).toBe(-1);
    expect(reader("00000002aabb").arrayLength()).toBe(2);
    expect(reader("00000002aabbccdd").arrayLength(2)).toBe(2);
    for (const hex of ["fffffffe", "00000003aabb", "7fffffff00"]) {
      expect(() => reader(hex).arrayLength()).toThrow("elements announced");
    }
    expect(() => reader("00000002aabbcc").arrayLength(2)).toThrow("elements announced");
    expect(reader("00").compactArrayLength()).toBe(-1);
    expect(() => reader("ffffffff0f").compactArrayLength()).toThrow("elements announced");
  });

  test("Reader.skipTaggedFields: skips what it does not know, and refuses what is cut", () => {
    const skipped = reader("020001aa0502bbccff");
    skipped.skipTaggedFields();
    expect(skipped.remaining).toBe(1);
    for (const hex of ["", "01", "0100", "010002aa", "8f4e00"]) {
      expect(() => reader(hex).skipTaggedFields()).toThrow(WireError);
    }
  });
});

describe("Writer: pieces", () => {
  test("Writer.raw: large bytes are taken by reference, in their order", () => {
    const large = new Uint8Array(5000).fill(1);
    const writer = new Writer();
    writer.int8(1);
    writer.raw(large);
    writer.int8(2);
    writer.raw(Uint8Array.of(3));
    expect(writer.length).toBe(5003);
    const chunks = writer.chunks();
    expect(chunks.map((chunk) => chunk.length)).toEqual([1, 5000, 2]);
    expect(chunks[1]).toBe(large);
  });

  test("Writer.finish: is the same whatever the first size of the buffer, and however it grows", () => {
    const write = (writer: Writer) => {
      for (let i = 0; i < 300; i++) {
        writer.int32(i);
        writer.unsignedVarint(i * 1000);
        writer.nullableString(`name-${i}`);
        writer.nullableCompactString(i % 7 === 0 ? "é".repeat(i) : "a".repeat(i));
        if (i % 100 === 0) writer.raw(new Uint8Array(4096).fill(i));
      }
      return writer.finish().toHex();
    };
    const expected = write(new Writer(1_000_000));
    for (const initialBytes of [0, 1, 255, 256, 4096]) {
      expect(write(new Writer(initialBytes))).toBe(expected);
    }
  });

  test("Writer.append: takes over the pieces of another writer", () => {
    const inner = new Writer();
    inner.int8(2);
    inner.raw(new Uint8Array(4096).fill(3));
    const outer = new Writer();
    outer.int8(1);
    outer.append(inner);
    outer.int8(4);
    expect(outer.finish().toHex()).toBe(`0102${"03".repeat(4096)}04`);
  });

  test("Writer.endSized: fills in the length, also when the buffer grew or was cut since", () => {
    for (const initialBytes of [4, 16, 4096]) {
      for (const body of [0, 3, 300, 5000]) {
        const writer = new Writer(initialBytes);
        writer.int8(9);
        writer.beginSized();
        writer.raw(new Uint8Array(body).fill(7));
        writer.int16(1);
        expect(writer.endSized()).toBe(body + 2);
        const found = new Reader(writer.finish());
        expect(found.int8()).toBe(9);
        expect(found.int32()).toBe(body + 2);
        expect(found.remaining).toBe(body + 2);
      }
    }
  });

  test("Writer.reset: writes anew over its own buffer, and leaves foreign pieces alone", () => {
    const writer = new Writer(64);
    const large = new Uint8Array(4096).fill(1);
    writer.int32(1);
    writer.raw(large);
    const [own, foreign] = writer.chunks();
    expect(writer.isOwn(own!)).toBe(true);
    expect(writer.isOwn(foreign!)).toBe(false);
    writer.reset();
    expect(writer.length).toBe(0);
    writer.int32(2);
    expect(writer.finish().toHex()).toBe("00000002");
    expect(large.every((byte) => byte === 1)).toBe(true);
  });
});
