/** What can have happened to the bytes of a file: flips, cuts, splices, lost sectors, lying numbers. */

import type { SimRandom } from "../sim/sim_random.ts";

const SECTOR_BYTES = 512;

type Mutation = (bytes: Uint8Array, random: SimRandom) => Uint8Array;

function joined(...pieces: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(pieces));
}

function overwrite(bytes: Uint8Array, at: number, piece: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  copy.set(piece.subarray(0, Math.max(0, copy.length - at)), at);
  return copy;
}

function int32(value: number): Uint8Array {
  return new Uint8Array([value >>> 24, value >>> 16, value >>> 8, value]);
}

/** Numbers that code believes too easily. */
const TEMPTING = [0, 1, -1, 12, 48, 49, 61, 0x7fff_ffff, -0x8000_0000, 0x0100_0000];

/** By name. Each takes a copy, and gives back another. */
export const MUTATIONS: Readonly<Record<string, Mutation>> = {
  "a flipped bit": (bytes, random) => {
    const copy = bytes.slice();
    if (copy.length > 0) copy[random.below(copy.length)]! ^= 1 << random.below(8);
    return copy;
  },
  "a cut": (bytes, random) => bytes.slice(0, random.below(bytes.length + 1)),
  "a cut front": (bytes, random) => bytes.slice(random.below(Math.min(bytes.length, 200) + 1)),
  "a piece taken out": (bytes, random) => {
    const from = random.below(bytes.length + 1);
    return joined(bytes.subarray(0, from), bytes.subarray(from + random.between(1, 200)));
  },
  "a piece put in": (bytes, random) => {
    const at = random.below(bytes.length + 1);
    const piece = random.bytes(random.between(1, 100));
    return joined(bytes.subarray(0, at), piece, bytes.subarray(at));
  },
  "a piece doubled": (bytes, random) => {
    const from = random.below(bytes.length + 1);
    const end = from + random.below(bytes.length - from + 1);
    return joined(bytes.subarray(0, end), bytes.subarray(from));
  },
  "sectors of zeros": (bytes, random) => {
    const count = Math.ceil(bytes.length / SECTOR_BYTES);
    const at = random.below(Math.max(1, count)) * SECTOR_BYTES;
    return overwrite(bytes, at, new Uint8Array(SECTOR_BYTES * random.between(1, 3)));
  },
  "zeros at the end": (bytes, random) => joined(bytes, new Uint8Array(random.between(1, 2000))),
  "noise at the end": (bytes, random) => joined(bytes, random.bytes(random.between(1, 2000))),
  "blocks that have changed places": (bytes, random) => {
    const size = random.pick([8, 12, 34, 100, SECTOR_BYTES]);
    const count = Math.floor(bytes.length / size);
    if (count < 2) return bytes.slice();
    const [a, b] = [random.below(count) * size, random.below(count) * size];
    const swapped = overwrite(bytes, a, bytes.subarray(b, b + size));
    return overwrite(swapped, b, bytes.subarray(a, a + size));
  },
  "a lying number": (bytes, random) => {
    const at = random.below(bytes.length + 1);
    return overwrite(bytes, at, int32(random.pick(TEMPTING)));
  },
  "nothing but noise": (_, random) => random.bytes(random.below(1500)),
  "nothing at all": () => new Uint8Array(0),
};

/** Lets up to three things happen to a file. Returns: its bytes and what it was. */
export function mutate(
  bytes: Uint8Array,
  random: SimRandom,
): { readonly bytes: Uint8Array; readonly what: string } {
  const names: string[] = [];
  let mutated = bytes;
  for (let count = random.pick([1, 1, 1, 2, 3]); count > 0; count--) {
    const name = random.pick(Object.keys(MUTATIONS));
    mutated = MUTATIONS[name]!(mutated, random);
    names.push(name);
  }
  return { bytes: mutated, what: names.join(", ") };
}
