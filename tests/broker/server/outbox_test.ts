import { describe, expect, test } from "bun:test";
import { Writer } from "../../../protocol/bytes.ts";
import type { Connection } from "../../../broker/network.ts";
import { Outbox } from "../../../broker/server/outbox.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import { concat, pattern } from "./harness.ts";

/** Takes as much as it is told to. */
class Taker implements Connection {
  readonly remoteAddress = "";
  readonly remotePort = 0;
  readonly localAddress = "";
  readonly localPort = 0;
  readonly taken: Uint8Array[] = [];
  roomBytes = Infinity;
  write(bytes: Uint8Array): number {
    const accepted = Math.min(bytes.length, this.roomBytes);
    this.roomBytes -= accepted;
    this.taken.push(bytes.slice(0, accepted));
    return accepted;
  }
  pause(): void {}
  resume(): void {}
  close(): void {}
}

describe("Outbox", () => {
  const cases: [string, readonly number[], readonly number[]][] = [
    ["small chunks in one write", [10, 20, 30, 40], [100]],
    ["an answer with some records in one write", [10, 20_000, 5], [20_015]],
    ["a large answer's head with the records", [36, 300_000, 5], [65_536, 234_500, 5]],
    ["its end with the rest of the records", [36, 80_000, 5], [65_536, 14_505]],
    ["records alone without a copy", [50_000], [50_000]],
  ];
  for (const [title, sizes, writes] of cases) {
    test(`Outbox: sends ${title}`, () => {
      const outbox = new Outbox();
      const link = new Taker();
      const chunks = sizes.map(pattern);
      const byteCount = sizes.reduce((sum, size) => sum + size);
      outbox.append(chunks, byteCount);
      expect(outbox.send(link)).toBe(byteCount);
      expect(link.taken.map(({ length }) => length)).toEqual([...writes]);
      expect(concat(link.taken)).toEqual(concat(chunks));
    });
  }

  for (let seed = 1; seed <= 30; seed++) {
    test(`Outbox: what goes in comes out, whatever is taken at a time, seed ${seed}`, () => {
      const random = new SimRandom(seed);
      const outbox = new Outbox();
      const link = new Taker();
      const given: Uint8Array[] = [];
      for (let step = 0; step < 200; step++) {
        const count = random.uint32() % 12;
        const size = [50, 5_000, 15_000, 70_000][random.uint32() % 4]!;
        const chunks = Array.from({ length: count }, () => pattern(1 + random.uint32() % size));
        const byteCount = chunks.reduce((sum, { length }) => sum + length, 0);
        outbox.append(chunks, byteCount);
        given.push(...chunks);
        link.roomBytes = random.uint32() % 60_000;
        const before = outbox.bytes;
        const sent = outbox.send(link);
        expect(outbox.bytes).toBe(before - sent);
      }
      link.roomBytes = Infinity;
      outbox.send(link);
      expect(outbox.bytes).toBe(0);
      expect(Buffer.compare(concat(link.taken), concat(given))).toBe(0);
    });
  }

  test("Outbox: keep copies what lies in the writer's buffer, from where it has been sent", () => {
    const writer = new Writer(10_000);
    const outbox = new Outbox();
    const link = new Taker();
    const [small, large] = [pattern(1000), pattern(50_000)];
    writer.raw(small);
    writer.raw(large);
    writer.raw(small);
    outbox.append(writer.chunks(), writer.length);
    link.roomBytes = 400;
    outbox.send(link);
    outbox.keep(writer);
    writer.reset();
    writer.raw(new Uint8Array(3000).fill(0xee));
    link.roomBytes = Infinity;
    outbox.send(link);
    expect(Buffer.compare(concat(link.taken), concat([small, large, small]))).toBe(0);
  });

  test("Outbox: clear forgets and tells how much", () => {
    const outbox = new Outbox();
    outbox.append([pattern(10)], 10);
    expect(outbox.clear()).toBe(10);
    expect(outbox.bytes).toBe(0);
    expect(outbox.send(new Taker())).toBe(0);
  });
});

describe("Writer: sized", () => {
  const sizes = [0, 1, 100, 4095, 4096, 5000, 200_000];
  test("Writer: beginSized and endSized put the length before what follows, cut or grown", () => {
    const writer = new Writer(64);
    for (let round = 0; round < 3; round++) {
      const expected: Uint8Array[] = [];
      for (const before of sizes) {
        for (const after of sizes) {
          writer.beginSized();
          writer.raw(pattern(before));
          writer.raw(pattern(after));
          expect(writer.endSized()).toBe(before + after);
          const length = new Uint8Array(4);
          new DataView(length.buffer).setInt32(0, before + after);
          expected.push(length, pattern(before), pattern(after));
        }
      }
      expect(Buffer.compare(concat(writer.chunks()), concat(expected))).toBe(0);
      writer.reset();
      expect(writer.length).toBe(0);
    }
  });
});
