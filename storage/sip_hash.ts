/**
 * SipHash-2-4 with 128 bits of output: stands for a key where the key itself is too large to be kept.
 *
 * Two keys with one hash would be taken for one, and the older record dropped. So the hash is keyed by a
 * seed that nobody outside knows: who may choose the keys of records cannot make two of them meet.
 *
 * A 64-bit word is two 32-bit halves here, since `bigint` would cost a hundred times as much.
 * Source: https://www.aumasson.jp/siphash/siphash.pdf, and the reference implementation for 128 bits.
 */

/** Words of a seed and of a hash. */
export const HASH_WORDS = 4;

const COMPRESSION_ROUNDS = 2;
const FINAL_ROUNDS = 4;

/** Hashes bytes. The hash of the last call stands in the four words, each an int32. */
export class SipHash {
  word0 = 0;
  word1 = 0;
  word2 = 0;
  word3 = 0;
  readonly #k0l: number;
  readonly #k0h: number;
  readonly #k1l: number;
  readonly #k1h: number;

  /** Shape: `seed` has four words, the first one the lowest. */
  constructor(seed: Uint32Array) {
    this.#k0l = seed[0]! | 0;
    this.#k0h = seed[1]! | 0;
    this.#k1l = seed[2]! | 0;
    this.#k1h = seed[3]! | 0;
  }

  /** Hashes `bytes` from `start` up to `end`. */
  hash(bytes: Uint8Array, start: number, end: number): void {
    let v0l = this.#k0l ^ 0x70736575, v0h = this.#k0h ^ 0x736f6d65;
    let v1l = this.#k1l ^ 0x6e646f6d ^ 0xee, v1h = this.#k1h ^ 0x646f7261;
    let v2l = this.#k0l ^ 0x6e657261, v2h = this.#k0h ^ 0x6c796765;
    let v3l = this.#k1l ^ 0x79746573, v3h = this.#k1h ^ 0x74656462;
    const length = end - start;
    const blocks = length >>> 3;
    let at = start;
    // The last block is what is left and the length; two steps without a block finish.
    for (let step = 0; step <= blocks + 2; step++) {
      let ml = 0, mh = 0, rounds = COMPRESSION_ROUNDS;
      if (step < blocks) {
        ml = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
        mh = bytes[at + 4]! | (bytes[at + 5]! << 8) | (bytes[at + 6]! << 16) |
          (bytes[at + 7]! << 24);
        at += 8;
      } else if (step === blocks) {
        mh = length << 24;
        for (let i = 0; at < end; at++, i += 8) {
          if (i < 32) ml |= bytes[at]! << i;
          else mh |= bytes[at]! << (i - 32);
        }
      } else {
        rounds = FINAL_ROUNDS;
        if (step === blocks + 1) v2l ^= 0xee;
        else {
          this.word0 = v0l ^ v1l ^ v2l ^ v3l;
          this.word1 = v0h ^ v1h ^ v2h ^ v3h;
          v1l ^= 0xdd;
        }
      }
      v3l ^= ml, v3h ^= mh;
      let l = 0, h = 0;
      for (let round = 0; round < rounds; round++) {
        l = (v0l + v1l) | 0, h = (v0h + v1h + ((l >>> 0) < (v1l >>> 0) ? 1 : 0)) | 0;
        v0l = h, v0h = l; // rotated by 32
        h = (v1h << 13) | (v1l >>> 19), v1l = ((v1l << 13) | (v1h >>> 19)) ^ v0h, v1h = h ^ v0l;
        v2l = (v2l + v3l) | 0, v2h = (v2h + v3h + ((v2l >>> 0) < (v3l >>> 0) ? 1 : 0)) | 0;
        h = (v3h << 16) | (v3l >>> 16), v3l = ((v3l << 16) | (v3h >>> 16)) ^ v2l, v3h = h ^ v2h;
        v0l = (v0l + v3l) | 0, v0h = (v0h + v3h + ((v0l >>> 0) < (v3l >>> 0) ? 1 : 0)) | 0;
        h = (v3h << 21) | (v3l >>> 11), v3l = ((v3l << 21) | (v3h >>> 11)) ^ v0l, v3h = h ^ v0h;
        l = (v2l + v1l) | 0, h = (v2h + v1h + ((l >>> 0) < (v1l >>> 0) ? 1 : 0)) | 0;
        v2l = h, v2h = l; // rotated by 32
        h = (v1h << 17) | (v1l >>> 15), v1l = ((v1l << 17) | (v1h >>> 15)) ^ v2h, v1h = h ^ v2l;
      }
      v0l ^= ml, v0h ^= mh;
    }
    this.word2 = v0l ^ v1l ^ v2l ^ v3l;
    this.word3 = v0h ^ v1h ^ v2h ^ v3h;
  }
}
