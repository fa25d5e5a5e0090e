import { expect, test } from "bun:test";
import { murmur2, partitionForKey } from "../../protocol/murmur2.ts";
import vectors from "../vectors/record_batches.json" with { type: "json" };

test("murmur2: gives what Kafka's Java client gives, keys of 0 to 39 bytes", () => {
  expect(vectors.murmur2.length).toBe(40);
  for (const { key, hash, partition } of vectors.murmur2) {
    const bytes = Uint8Array.fromBase64(key);
    expect(murmur2(bytes)).toBe(hash);
    expect(partitionForKey(bytes, 7)).toBe(partition);
  }
});

test("murmur2: gives the values that Kafka's own UtilsTest lists", () => {
  const known: Record<string, number> = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
  };
  for (const [text, hash] of Object.entries(known)) {
    expect(murmur2(new TextEncoder().encode(text))).toBe(hash);
  }
});

test("partitionForKey: never negative, also for the hash −2^31", () => {
  for (let i = 0; i < 10_000; i++) {
    const partition = partitionForKey(new TextEncoder().encode(`key ${i}`), 13);
    expect(partition >= 0 && partition < 13).toBe(true);
  }
});
