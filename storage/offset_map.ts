/**
 * The newest offset of each key, in memory of a fixed size: a hash table whose keys are hashes themselves.
 *
 *     slot:  hash of the key, 16 bytes | offset + 1, 8 bytes; 0 where the slot is free
 *
 * The table never grows: once its share of the slots is used it takes no other key, and a cleaning covers
 * what it has got. It lies in one buffer, which moves from one job to the next without being copied.
 * Slots are probed one after another, so that a search stays within a few cache lines.
 *
 * Source: Kafka's SkimpyOffsetMap.
 */

import assert from "node:assert/strict";
import { HASH_WORDS, SipHash } from "./sip_hash.ts";

/** Bytes of a slot. */
export const OFFSET_MAP_SLOT_BYTES = 24;
const WORDS_PER_SLOT = OFFSET_MAP_SLOT_BYTES / 4;
const DOUBLES_PER_SLOT = OFFSET_MAP_SLOT_BYTES / 8;
const TWO_32 = 0x1_0000_0000;

/** What a map is made of. */
export interface OffsetMapState {
  /** Shape: whole slots; belongs to the map that is made of it. */
  readonly slots: ArrayBuffer;
  /** Drawn anew for each cleaning. Shape: four words. */
  readonly seed: Uint32Array;
  /** Share of the slots that may be used: 0 < it < 1. */
  readonly loadFactor: number;
  /** Keys in it. */
  readonly count: number;
  /** Every record up to this offset is in the map; −1 for none. */
  readonly latestOffset: number;
}

/**
 * An empty map for `keyCount` keys, or for as many as fit `maxBytes`.
 * Shape: room for one key at the least, whatever `maxBytes` says.
 */
export function newOffsetMap(
  { keyCount, maxBytes, loadFactor, seed }: {
    readonly keyCount: number;
    readonly maxBytes: number;
    readonly loadFactor: number;
    readonly seed: Uint32Array;
  },
): OffsetMapState {
  assert(loadFactor > 0 && loadFactor <= 1);
  assert(seed.length === HASH_WORDS);
  const wanted = Math.ceil(keyCount / loadFactor) + 2;
  const slots = Math.max(2, Math.min(wanted, Math.floor(maxBytes / OFFSET_MAP_SLOT_BYTES)));
  return {
    slots: new ArrayBuffer(slots * OFFSET_MAP_SLOT_BYTES),
    seed,
    loadFactor,
    count: 0,
    latestOffset: -1,
  };
}

/** The map at work. */
export class OffsetMap {
  /** Every record up to this offset is in the map; −1 for none. Set by who fills it. */
  latestOffset: number;
  readonly #seed: Uint32Array;
  readonly #loadFactor: number;
  readonly #hash: SipHash;
  readonly #slots: ArrayBuffer;
  readonly #words: Int32Array;
  readonly #offsets: Float64Array;
  readonly #slotCount: number;
  readonly #maxCount: number;
  #count: number;

  constructor(state: OffsetMapState) {
    this.#slots = state.slots;
    this.#seed = state.seed;
    this.#loadFactor = state.loadFactor;
    this.#hash = new SipHash(state.seed);
    this.#words = new Int32Array(state.slots);
    this.#offsets = new Float64Array(state.slots);
    this.#slotCount = state.slots.byteLength / OFFSET_MAP_SLOT_BYTES;
    // One slot stays free, so that a search for what is not there ends.
    const share = Math.floor(this.#slotCount * state.loadFactor);
    this.#maxCount = Math.min(Math.max(share, 1), this.#slotCount - 1);
    this.#count = state.count;
    this.latestOffset = state.latestOffset;
  }

  /** Keys in the map. */
  get count(): number {
    return this.#count;
  }

  /** Keys that it takes at the most. */
  get capacity(): number {
    return this.#maxCount;
  }

  /**
   * Notes `offset` as the newest of the key `bytes[start, end)`.
   * Returns: false when the key is new and the map is full.
   */
  put(bytes: Uint8Array, start: number, end: number, offset: number): boolean {
    const slot = this.#find(bytes, start, end);
    if (this.#offsets[slot * DOUBLES_PER_SLOT + 2] === 0) {
      if (this.#count === this.#maxCount) return false;
      this.#count++;
      const { word0, word1, word2, word3 } = this.#hash;
      const at = slot * WORDS_PER_SLOT;
      this.#words[at] = word0;
      this.#words[at + 1] = word1;
      this.#words[at + 2] = word2;
      this.#words[at + 3] = word3;
    }
    this.#offsets[slot * DOUBLES_PER_SLOT + 2] = offset + 1;
    return true;
  }

  /** The newest offset of the key `bytes[start, end)`; −1 when the map does not have it. */
  get(bytes: Uint8Array, start: number, end: number): number {
    return this.#offsets[this.#find(bytes, start, end) * DOUBLES_PER_SLOT + 2]! - 1;
  }

  /** The slot of a key: its own, or the free one that it would get. */
  #find(bytes: Uint8Array, start: number, end: number): number {
    this.#hash.hash(bytes, start, end);
    const { word0, word1, word2, word3 } = this.#hash;
    const words = this.#words;
    const offsets = this.#offsets;
    let slot = Math.floor((word0 >>> 0) * (this.#slotCount / TWO_32));
    for (;;) {
      const at = slot * WORDS_PER_SLOT;
      if (
        words[at] === word0 && words[at + 1] === word1 && words[at + 2] === word2 &&
          words[at + 3] === word3 || offsets[slot * DOUBLES_PER_SLOT + 2] === 0
      ) return slot;
      if (++slot === this.#slotCount) slot = 0;
    }
  }

  /** What another map can be made of. This one must not be used any more once its buffer has moved. */
  state(): OffsetMapState {
    return {
      slots: this.#slots,
      seed: this.#seed,
      loadFactor: this.#loadFactor,
      count: this.#count,
      latestOffset: this.latestOffset,
    };
  }
}
