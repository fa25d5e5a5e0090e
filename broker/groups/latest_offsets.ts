/**
 * The newest value of each key of committed offsets, in raw bytes, while a log is read.
 *
 * A log holds the same key over and over, a commit every few seconds: all values but the last would be decoded for
 * nothing. So a value is copied over the one before it, and decoded once, when everything was read.
 *
 *     slots     hash → entry + 1; 0 where the slot is free, probed one after another
 *     entries   hash | chunk | position | key bytes | value bytes | room for the value
 *     chunks    key, value, and what is left of the value's room
 *
 * A key that is taken out is somebody else's from then on: what a transaction has to do with is decoded record by
 * record. Invariant: a key has one entry, which keeps its place in the order of the log.
 */

import { murmur2 } from "../../protocol/murmur2.ts";

const ENTRY_WORDS = 6;
const HASH = 0;
const CHUNK = 1;
const POSITION = 2;
const KEY_BYTES = 3;
const VALUE_BYTES = 4;
const VALUE_ROOM = 5;

/** In place of a value's length. */
const TOMBSTONE = -1;
const TAKEN_OUT = -2;

const FIRST_ENTRIES = 64;
const FIRST_CHUNK_BYTES = 4 * 1024;
/** Chunks double up to here, so that a log of any size asks for no large piece of memory. */
const CHUNK_BYTES = 256 * 1024;
/** A value that outgrows its room gets so many times of it. */
const GROWTH = 2;

/** Raw bytes of the newest record of a key; a null value is a tombstone. They are good until the next call. */
export interface LatestRecord {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
}

/** The newest values by key. */
export class LatestOffsets {
  #slots = new Int32Array(2 * FIRST_ENTRIES);
  #entries = new Int32Array(FIRST_ENTRIES * ENTRY_WORDS);
  #count = 0;
  readonly #chunks: DataView[] = [];
  #usedBytes = 0;
  /** Where the entry lies that came after the last one: a group commits its partitions in the same order. */
  #next = 0;
  #source: Uint8Array = new Uint8Array(0);
  /** Over `#source`, as many records come out of the same bytes. */
  #view = new DataView(this.#source.buffer);

  /**
   * Sets the value of the key, both of them ranges of `bytes`; a `valueBytes` of −1 is a tombstone.
   *
   * Returns: false for a key that was taken out, whose value is not kept.
   */
  set(
    bytes: Uint8Array,
    keyStart: number,
    keyBytes: number,
    valueStart: number,
    valueBytes: number,
  ): boolean {
    const at = this.#find(bytes, keyStart, keyBytes, Math.max(0, valueBytes));
    const entries = this.#entries;
    if (entries[at + VALUE_BYTES] === TAKEN_OUT) return false;
    if (valueBytes > entries[at + VALUE_ROOM]!) this.#place(at, keyStart, GROWTH * valueBytes);
    entries[at + VALUE_BYTES] = valueBytes;
    const to = entries[at + POSITION]! + keyBytes;
    copy(this.#view, valueStart, this.#chunks[entries[at + CHUNK]!]!, to, valueBytes);
    return true;
  }

  /** Takes a key out. Returns: what was known of it; null when that is nothing, or it was taken out before. */
  takeOut(bytes: Uint8Array, keyStart: number, keyBytes: number): LatestRecord | null {
    const before = this.#count;
    const at = this.#find(bytes, keyStart, keyBytes, 0);
    const isKnown = this.#count === before && this.#entries[at + VALUE_BYTES] !== TAKEN_OUT;
    const found = isKnown ? this.#recordAt(at) : null;
    this.#entries[at + VALUE_BYTES] = TAKEN_OUT;
    return found;
  }

  /** All that were not taken out, in the order in which their keys came first. */
  *records(): Generator<LatestRecord> {
    for (let index = 0; index < this.#count; index++) {
      const at = index * ENTRY_WORDS;
      if (this.#entries[at + VALUE_BYTES] !== TAKEN_OUT) yield this.#recordAt(at);
    }
  }

  #recordAt(at: number): LatestRecord {
    const entries = this.#entries;
    const { buffer } = this.#chunks[entries[at + CHUNK]!]!;
    const start = entries[at + POSITION]!;
    const keyBytes = entries[at + KEY_BYTES]!;
    const valueBytes = entries[at + VALUE_BYTES]!;
    return {
      key: new Uint8Array(buffer, start, keyBytes),
      value: valueBytes === TOMBSTONE ? null : new Uint8Array(buffer, start + keyBytes, valueBytes),
    };
  }

  /** Where the entry of a key lies; it is made, as a tombstone, where there is none. */
  #find(bytes: Uint8Array, keyStart: number, keyBytes: number, valueRoom: number): number {
    if (bytes !== this.#source) {
      this.#source = bytes;
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    const expected = this.#next;
    const isExpected = expected < this.#count * ENTRY_WORDS &&
      this.#hasKey(expected, keyStart, keyBytes);
    const at = isExpected ? expected : this.#search(keyStart, keyBytes, valueRoom);
    this.#next = at + ENTRY_WORDS;
    return at;
  }

  #search(keyStart: number, keyBytes: number, valueRoom: number): number {
    const hash = murmur2(this.#source, keyStart, keyStart + keyBytes);
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = hash & mask;
    for (; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const at = (slots[slot]! - 1) * ENTRY_WORDS;
      if (this.#entries[at + HASH] === hash && this.#hasKey(at, keyStart, keyBytes)) return at;
    }
    const at = this.#count * ENTRY_WORDS;
    slots[slot] = ++this.#count;
    this.#entries[at + HASH] = hash;
    this.#entries[at + KEY_BYTES] = keyBytes;
    this.#entries[at + VALUE_BYTES] = TOMBSTONE;
    this.#place(at, keyStart, valueRoom);
    if ((this.#count + 1) * ENTRY_WORDS > this.#entries.length) this.#grow();
    return at;
  }

  /** From the end: keys differ in their partitions first. */
  #hasKey(at: number, keyStart: number, keyBytes: number): boolean {
    const entries = this.#entries;
    if (entries[at + KEY_BYTES] !== keyBytes) return false;
    const view = this.#view;
    const chunk = this.#chunks[entries[at + CHUNK]!]!;
    const start = entries[at + POSITION]!;
    let i = keyBytes - 4;
    for (; i >= 0; i -= 4) {
      if (chunk.getInt32(start + i) !== view.getInt32(keyStart + i)) return false;
    }
    for (i += 3; i >= 0; i--) {
      if (chunk.getInt8(start + i) !== view.getInt8(keyStart + i)) return false;
    }
    return true;
  }

  /** Gives an entry a place with so much room for its value, and puts the key there. */
  #place(at: number, keyStart: number, valueRoom: number): void {
    const keyBytes = this.#entries[at + KEY_BYTES]!;
    const needed = keyBytes + valueRoom;
    let chunk = this.#chunks.at(-1);
    if (chunk === undefined || this.#usedBytes + needed > chunk.byteLength) {
      const next = chunk === undefined
        ? FIRST_CHUNK_BYTES
        : Math.min(CHUNK_BYTES, 2 * chunk.byteLength);
      chunk = new DataView(new ArrayBuffer(Math.max(next, needed)));
      this.#chunks.push(chunk);
      this.#usedBytes = 0;
    }
    this.#entries[at + CHUNK] = this.#chunks.length - 1;
    this.#entries[at + POSITION] = this.#usedBytes;
    this.#entries[at + VALUE_ROOM] = valueRoom;
    copy(this.#view, keyStart, chunk, this.#usedBytes, keyBytes);
    this.#usedBytes += needed;
  }

  #grow(): void {
    const entries = new Int32Array(2 * this.#entries.length);
    entries.set(this.#entries);
    this.#entries = entries;
    const slots = new Int32Array(2 * this.#slots.length);
    const mask = slots.length - 1;
    for (let index = 0; index < this.#count; index++) {
      let slot = entries[index * ENTRY_WORDS + HASH]! & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = index + 1;
    }
    this.#slots = slots;
  }
}

/** Copies some dozens of bytes, for which a call into the runtime would cost more. */
function copy(from: DataView, fromAt: number, to: DataView, toAt: number, byteCount: number): void {
  let i = 0;
  for (; i + 4 <= byteCount; i += 4) to.setInt32(toAt + i, from.getInt32(fromAt + i));
  for (; i < byteCount; i++) to.setInt8(toAt + i, from.getInt8(fromAt + i));
}
