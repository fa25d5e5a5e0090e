/** The map from keys to offsets, and the hash under it. */

import { describe, expect, test } from "bun:test";
import { newOffsetMap, OFFSET_MAP_SLOT_BYTES, OffsetMap } from "../../storage/offset_map.ts";
import { SipHash } from "../../storage/sip_hash.ts";
import { SimRandom, testSeeds } from "../sim/sim_random.ts";

const MASK = (1n << 64n) - 1n;

/** SipHash-2-4 with 128 bits as the paper and the reference implementation have it, in 64-bit words. */
function twin(seed: Uint32Array, bytes: Uint8Array): string {
  const [k0, k1] = [0, 2].map((i) => BigInt(seed[i]!) | (BigInt(seed[i + 1]!) << 32n)) as [
    bigint,
    bigint,
  ];
  const v = [
    k0 ^ 0x736f6d6570736575n,
    k1 ^ 0x646f72616e646f6dn ^ 0xeen,
    k0 ^ 0x6c7967656e657261n,
    k1 ^ 0x7465646279746573n,
  ] as [bigint, bigint, bigint, bigint];
  const rotate = (x: bigint, by: bigint) => ((x << by) | (x >> (64n - by))) & MASK;
  const half = (a: number, b: number, by: bigint, turns: boolean) => {
    v[a] = (v[a]! + v[b]!) & MASK;
    v[b] = rotate(v[b]!, by) ^ v[a]!;
    if (turns) v[a] = rotate(v[a]!, 32n);
  };
  const rounds = (count: number) => {
    for (let i = 0; i < count; i++) {
      half(0, 1, 13n, true);
      half(2, 3, 16n, false);
      half(0, 3, 21n, false);
      half(2, 1, 17n, true);
    }
  };
  const padded = new Uint8Array(Math.floor(bytes.length / 8) * 8 + 8);
  padded.set(bytes);
  padded[padded.length - 1] = bytes.length;
  const view = new DataView(padded.buffer);
  for (let at = 0; at < padded.length; at += 8) {
    const word = view.getBigUint64(at, true);
    v[3] ^= word;
    rounds(2);
    v[0] ^= word;
  }
  v[2] ^= 0xeen;
  rounds(4);
  const low = v[0] ^ v[1] ^ v[2] ^ v[3];
  v[1] ^= 0xddn;
  rounds(4);
  const high = v[0] ^ v[1] ^ v[2] ^ v[3];
  const out = new DataView(new ArrayBuffer(16));
  out.setBigUint64(0, low, true);
  out.setBigUint64(8, high, true);
  return Buffer.from(out.buffer).toString("hex");
}

function hashOf(seed: Uint32Array, bytes: Uint8Array, start = 0, end = bytes.length): string {
  const hash = new SipHash(seed);
  hash.hash(bytes, start, end);
  const words = new Int32Array([hash.word0, hash.word1, hash.word2, hash.word3]);
  return Buffer.from(words.buffer).toString("hex");
}

/** Of the reference implementation: key 00 01 … 0f, input 00 01 … of the given length. */
const VECTORS: readonly (readonly [length: number, hash: string])[] = [
  [0, "a3817f04ba25a8e66df67214c7550293"],
  [1, "da87c1d86b99af44347659119b22fc45"],
  [2, "8177228da4a45dc7fca38bdef60affe4"],
  [3, "9c70b60c5267a94e5f33b6b02985ed51"],
  [4, "f88164c12d9c8faf7d0f6e7c7bcd5579"],
  [7, "a1f1ebbed8dbc153c0b84aa61ff08239"],
  [8, "3b62a9ba6258f5610f83e264f31497b4"],
  [15, "5493e99933b0a8117e08ec0f97cfc3d9"],
];

describe("SipHash", () => {
  const bytes = Uint8Array.from({ length: 64 }, (_, i) => i);
  const seed = new Uint32Array(bytes.slice(0, 16).buffer);

  for (const [length, hash] of VECTORS) {
    test(`hash: ${length} bytes of the reference implementation`, () => {
      expect(hashOf(seed, bytes, 0, length)).toBe(hash);
      expect(twin(seed, bytes.subarray(0, length))).toBe(hash);
    });
  }

  test("hash: any bytes anywhere in a buffer, as its twin of 64-bit words", () => {
    for (const one of testSeeds(300)) {
      const random = new SimRandom(one);
      const key = Uint32Array.from({ length: 4 }, () => random.uint32());
      const buffer = random.bytes(random.between(0, 300));
      const start = random.between(0, buffer.length);
      const end = random.between(start, buffer.length);
      expect(hashOf(key, buffer, start, end)).toBe(twin(key, buffer.subarray(start, end)));
    }
  });
});

const seedOf = (random: SimRandom) => Uint32Array.from({ length: 4 }, () => random.uint32());

describe("OffsetMap", () => {
  test("put, get: as a Map of keys, up to its bound, whichever hands it goes through", () => {
    let refusals = 0;
    for (const one of testSeeds(60)) {
      const random = new SimRandom(one);
      let map = new OffsetMap(newOffsetMap({
        keyCount: 1000,
        maxBytes: random.pick([1, 5, 40, 300]) * OFFSET_MAP_SLOT_BYTES,
        loadFactor: random.pick([0.1, 0.5, 0.9, 1]),
        seed: seedOf(random),
      }));
      const model = new Map<string, number>();
      for (let i = 0; i < 400; i++) {
        const key = Buffer.from(`key-${random.below(200)}`);
        const offset = random.pick([i, 2 ** 40 + i, Number.MAX_SAFE_INTEGER - 1]);
        const isTaken = map.put(key, 0, key.length, offset);
        expect(isTaken).toBe(model.has(String(key)) || model.size < map.capacity);
        if (isTaken) model.set(String(key), offset);
        else refusals++;
        if (random.chance(0.02)) {
          const state = map.state();
          map = new OffsetMap(structuredClone(state, { transfer: [state.slots] }));
        }
      }
      for (let key = 0; key < 200; key++) {
        const bytes = Buffer.from(`..key-${key}`);
        expect(map.get(bytes, 2, bytes.length)).toBe(model.get(`key-${key}`) ?? -1);
      }
      expect(map.count).toBe(model.size);
    }
    expect(refusals).toBeGreaterThan(0);
  });

  test("newOffsetMap: takes no more memory than it may, nor than the keys need", () => {
    const seed = new Uint32Array(4);
    for (const loadFactor of [0.5, 0.9]) {
      const large = newOffsetMap({ keyCount: 1e9, maxBytes: 100_000, loadFactor, seed });
      expect(large.slots.byteLength).toBeLessThanOrEqual(100_000);
      const share = new OffsetMap(large).capacity * OFFSET_MAP_SLOT_BYTES / 100_000;
      expect(share).toBeLessThanOrEqual(loadFactor);
      expect(share).toBeGreaterThan(loadFactor - 0.01);
      const small = newOffsetMap({ keyCount: 10, maxBytes: 100_000, loadFactor, seed });
      expect(small.slots.byteLength).toBeLessThan(30 * OFFSET_MAP_SLOT_BYTES);
      expect(new OffsetMap(small).capacity).toBeGreaterThanOrEqual(10);
    }
    expect(
      new OffsetMap(newOffsetMap({ keyCount: 9, maxBytes: 0, loadFactor: 0.9, seed })).capacity,
    )
      .toBe(1);
  });

  test("OffsetMap: another seed puts the keys elsewhere", () => {
    const [a, b] = [1, 2].map((one) => {
      const seed = seedOf(new SimRandom(one));
      const state = newOffsetMap({ keyCount: 20, maxBytes: 1e6, loadFactor: 0.5, seed });
      const map = new OffsetMap(state);
      for (let i = 0; i < 20; i++) map.put(new Uint8Array([i]), 0, 1, i);
      return Buffer.from(state.slots).toString("hex");
    });
    expect(a).not.toBe(b);
  });
});
