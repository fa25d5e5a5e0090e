/**
 * Seeded chance: xoshiro128** with splitmix32 seeding. The same seed gives the same draws for ever; a
 * fork depends on the seed and the label alone, never on how many numbers were drawn before.
 */

import type { Random } from "../../storage/platform.ts";

function splitmix32(state: number): () => number {
  let next = state | 0;
  return () => {
    next = (next + 0x9e3779b9) | 0;
    let z = next;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  };
}

function rotateLeft(value: number, by: number): number {
  return (value << by) | (value >>> (32 - by));
}

/** A seeded stream of numbers, with the draws that tests want. */
export class SimRandom implements Random {
  readonly seed: number;
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: number) {
    this.seed = seed >>> 0;
    const draw = splitmix32(this.seed);
    this.#a = draw();
    this.#b = draw();
    this.#c = draw();
    this.#d = draw() | 1;
  }

  uint32(): number {
    const result = Math.imul(rotateLeft(Math.imul(this.#b, 5), 7), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = rotateLeft(this.#d, 11);
    return result;
  }

  fork(label: string): SimRandom {
    let hash = this.seed ^ 0x811c9dc5;
    for (let i = 0; i < label.length; i++) {
      hash = Math.imul(hash ^ label.charCodeAt(i), 0x01000193);
    }
    return new SimRandom(splitmix32(hash)());
  }

  /** Uniform in [0, bound). */
  below(bound: number): number {
    return Math.floor((this.uint32() / 0x1_0000_0000) * bound);
  }

  /** Uniform in [low, high], both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True with probability `p`. */
  chance(p: number): boolean {
    return this.uint32() < p * 0x1_0000_0000;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  bytes(byteCount: number): Uint8Array {
    const bytes = new Uint8Array(byteCount);
    for (let i = 0; i < byteCount; i++) bytes[i] = this.uint32();
    return bytes;
  }
}

/** Seeds for a randomized test: `WEIR_SEED` runs one, `WEIR_SEEDS` says how many fresh ones. */
export function testSeeds(defaultCount: number): number[] {
  const one = process.env["WEIR_SEED"];
  if (one !== undefined) return [Number(one)];
  const count = Number(process.env["WEIR_SEEDS"] ?? defaultCount);
  const first = process.env["WEIR_SEEDS"] === undefined ? 1 : (Date.now() % 1_000_000) * 1000;
  return Array.from({ length: count }, (_, index) => first + index);
}
