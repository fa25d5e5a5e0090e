/** The frame splitter: every chunking of a stream gives the same frames, and a bad length ends it. */

import { describe, expect, test } from "bun:test";
import { WireError } from "../../protocol/bytes.ts";
import { FrameSplitter } from "../../protocol/frame.ts";

const maxFrameBytes = 1000;

function frame(length: number, fill: number): Uint8Array {
  const bytes = new Uint8Array(4 + length).fill(fill, 4);
  new DataView(bytes.buffer).setInt32(0, length);
  return bytes;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** What a splitter makes of a stream that is cut before the given positions. */
function split(stream: Uint8Array, cuts: readonly number[]): { frames: string[]; error: string } {
  const splitter = new FrameSplitter({ maxFrameBytes });
  const frames: string[] = [];
  const edges = [0, ...cuts, stream.length];
  try {
    for (let i = 1; i < edges.length; i++) {
      for (const each of splitter.push(stream.slice(edges[i - 1]!, edges[i]!))) {
        frames.push(each.toHex());
      }
    }
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return { frames, error: error.message };
  }
  return { frames, error: "" };
}

function hexOf(length: number, fill: number): string {
  return new Uint8Array(length).fill(fill).toHex();
}

describe("FrameSplitter.push: frames", () => {
  const stream = concat([frame(5, 1), frame(0, 0), frame(1, 2), frame(17, 3), frame(0, 0)]);
  const expected = [hexOf(5, 1), "", hexOf(1, 2), hexOf(17, 3), ""];

  test("FrameSplitter.push: every cut in two and in three gives the same frames", () => {
    for (let first = 0; first <= stream.length; first++) {
      for (let second = first; second <= stream.length; second++) {
        expect(split(stream, [first, second])).toEqual({ frames: expected, error: "" });
      }
    }
  });

  test("FrameSplitter.push: single bytes give the same frames", () => {
    const cuts = Array.from({ length: stream.length }, (_, i) => i);
    expect(split(stream, cuts)).toEqual({ frames: expected, error: "" });
  });

  test("FrameSplitter.push: a bad length fails at its place, however the stream is cut", () => {
    const bad = concat([frame(5, 1), frame(3, 2), frame(1001, 3)]);
    for (let first = 0; first <= 20; first++) {
      for (let second = first; second <= 23; second++) {
        const { frames, error } = split(bad, [first, second]);
        expect(frames).toEqual([hexOf(5, 1), hexOf(3, 2)]);
        expect(error).toContain("1001");
      }
    }
  });

  test("FrameSplitter.push: a frame inside one chunk is a view of the chunk", () => {
    const chunk = concat([frame(5, 1), frame(7, 2)]);
    const [first, second] = [...new FrameSplitter({ maxFrameBytes }).push(chunk)];
    expect(first!.buffer).toBe(chunk.buffer);
    expect(second!.byteOffset).toBe(13);
  });

  test("FrameSplitter.push: a frame that was put together is not written to again", () => {
    const splitter = new FrameSplitter({ maxFrameBytes });
    const whole = frame(9, 7);
    const kept = [whole.slice(0, 6), whole.slice(6)].flatMap((each) => [...splitter.push(each)]);
    const other = frame(9, 8);
    for (const each of [other.slice(0, 6), other.slice(6)]) [...splitter.push(each)];
    expect(kept[0]!.toHex()).toBe(hexOf(9, 7));
  });
});

describe("FrameSplitter.push: hostile streams", () => {
  const cases = [
    { name: "negative", bytes: [0xff, 0xff, 0xff, 0xff] },
    { name: "2 GiB", bytes: [0x7f, 0xff, 0xff, 0xff] },
    { name: "one over the cap", bytes: [0, 0, 0x03, 0xe9] },
    { name: "a TLS hello", bytes: [0x16, 0x03, 0x01, 0x02] },
    { name: "an HTTP request", bytes: [...new TextEncoder().encode("GET / HTTP/1.1\r\n")] },
  ];
  for (const { name, bytes } of cases) {
    test(`FrameSplitter.push: ${name} as length is a WireError, and so is all that follows`, () => {
      const splitter = new FrameSplitter({ maxFrameBytes });
      expect(() => [...splitter.push(Uint8Array.from(bytes))]).toThrow(WireError);
      expect(() => [...splitter.push(frame(1, 1))]).toThrow(WireError);
    });
  }

  test("FrameSplitter.push: a frame of exactly the cap passes", () => {
    expect(split(frame(maxFrameBytes, 9), [2, 500]).frames).toEqual([hexOf(maxFrameBytes, 9)]);
  });

  test("FrameSplitter.push: an announced length allocates nothing until its bytes arrive", () => {
    const before = process.memoryUsage().arrayBuffers;
    const splitters: FrameSplitter[] = [];
    for (let i = 0; i < 1000; i++) {
      const splitter = new FrameSplitter({ maxFrameBytes: 100_000_000 });
      // 100 MB announced, 10 bytes sent.
      expect([...splitter.push(Uint8Array.of(5, 0xf5, 0xe1, 0, 1, 2, 3, 4, 5, 6))]).toEqual([]);
      expect(splitter.pendingBytes).toBe(10);
      splitters.push(splitter);
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10_000_000);
    expect(splitters).toHaveLength(1000);
  });

  test("FrameSplitter.pendingBytes: counts the unfinished frame with its length", () => {
    const splitter = new FrameSplitter({ maxFrameBytes });
    const bytes = frame(8, 1);
    expect(splitter.pendingBytes).toBe(0);
    [...splitter.push(bytes.slice(0, 3))];
    expect(splitter.pendingBytes).toBe(3);
    [...splitter.push(bytes.slice(3, 10))];
    expect(splitter.pendingBytes).toBe(10);
    expect([...splitter.push(bytes.slice(10))]).toHaveLength(1);
    expect(splitter.pendingBytes).toBe(0);
  });
});
