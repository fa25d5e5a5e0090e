/**
 * Finds the row of a producer of one partition, by extendible hashing.
 *
 *     id ─hash→ low bits: directory ──→ part: slots of row + 1, or 0 for none
 *               high bits: slot; the next one when another id lies there
 *
 * The ids lie in the rows: a slot takes 4 bytes, a producer 5 to 11. A part that is full doubles, up to a
 * bound; then it is split in two, and the directory doubles when need be. So no append moves more than a
 * part, however many producers there are. Nothing is left behind where a row is taken out: those that
 * follow it move up.
 */

import assert from "node:assert/strict";
import type { ProducerTable } from "./producer_table.ts";

const MIN_SLOTS = 8;
const MAX_SLOTS = 4096;
/** Bits of the hash that choose the part; those above choose the slot. */
const DIRECTORY_BITS = 16;
/** At most three of four slots are taken. */
const SLOTS_PER_ROW = 4 / 3;

/** Some of the rows: those whose hash ends in the same `depth` bits. */
interface Part {
  slots: Int32Array;
  count: number;
  depth: number;
}

/** The rows of one partition by producer id. */
export class ProducerIndex {
  readonly #table: ProducerTable;
  #parts: Part[] = [{ slots: new Int32Array(MIN_SLOTS), count: 0, depth: 0 }];
  /** Each part as often as its depth lacks bits. Shape: a power of two. */
  #directory: Part[] = [...this.#parts];
  #count = 0;

  constructor(table: ProducerTable) {
    this.#table = table;
  }

  get count(): number {
    return this.#count;
  }

  /** Row of the producer, −1 when there is none. */
  find(producerId: number): number {
    const hash = this.#hash(producerId);
    const { slots } = this.#directory[hash & (this.#directory.length - 1)]!;
    const mask = slots.length - 1;
    for (let at = (hash >>> DIRECTORY_BITS) & mask;; at = (at + 1) & mask) {
      const row = slots[at]! - 1;
      if (row < 0 || this.#table.producerId(row) === producerId) return row;
    }
  }

  /** Adds a row whose producer has none yet. */
  add(row: number): void {
    const hash = this.#hash(this.#table.producerId(row));
    let part = this.#partOf(hash);
    while ((part.count + 1) * SLOTS_PER_ROW > part.slots.length) {
      const isLargest = part.slots.length >= MAX_SLOTS && part.depth < DIRECTORY_BITS;
      if (isLargest) this.#split(part, hash);
      else this.#resize(part, 2 * part.slots.length);
      part = this.#partOf(hash);
    }
    part.count++;
    this.#count++;
    put(part.slots, hash, row);
  }

  #partOf(hash: number): Part {
    return this.#directory[hash & (this.#directory.length - 1)]!;
  }

  #resize(part: Part, slotCount: number): void {
    const before = part.slots;
    part.slots = new Int32Array(slotCount);
    for (let at = 0; at < before.length; at++) {
      if (before[at] === 0) continue;
      const row = before[at]! - 1;
      put(part.slots, this.#hash(this.#table.producerId(row)), row);
    }
  }

  /** Moves half of the part's rows, those with the next bit set, to another part. */
  #split(part: Part, hash: number): void {
    const bit = 1 << part.depth;
    if (bit === this.#directory.length) this.#directory = [...this.#directory, ...this.#directory];
    const before = part.slots;
    const depth = part.depth + 1;
    const other: Part = { slots: new Int32Array(before.length), count: 0, depth };
    part.depth = depth;
    part.slots = new Int32Array(before.length);
    part.count = 0;
    for (let at = 0; at < before.length; at++) {
      if (before[at] === 0) continue;
      const row = before[at]! - 1;
      const rowHash = this.#hash(this.#table.producerId(row));
      const into = (rowHash & bit) === 0 ? part : other;
      put(into.slots, rowHash, row);
      into.count++;
    }
    this.#parts.push(other);
    for (let at = (hash & (bit - 1)) | bit; at < this.#directory.length; at += 2 * bit) {
      this.#directory[at] = other;
    }
  }

  /** Takes a row out. */
  remove(row: number): void {
    const hash = this.#hash(this.#table.producerId(row));
    const part = this.#partOf(hash);
    const { slots } = part;
    const mask = slots.length - 1;
    let hole = (hash >>> DIRECTORY_BITS) & mask;
    while (slots[hole] !== row + 1) {
      assert(slots[hole] !== 0);
      hole = (hole + 1) & mask;
    }
    for (let at = (hole + 1) & mask; slots[at] !== 0; at = (at + 1) & mask) {
      const otherHash = this.#hash(this.#table.producerId(slots[at]! - 1));
      const home = (otherHash >>> DIRECTORY_BITS) & mask;
      // What lies between its home and here without passing the hole stays.
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      slots[hole] = slots[at]!;
      hole = at;
    }
    slots[hole] = 0;
    part.count--;
    this.#count--;
    const isSparse = 8 * part.count < slots.length && slots.length > MIN_SLOTS;
    if (isSparse) this.#resize(part, slots.length / 2);
  }

  /** Every row of the moment, as they lie in memory: in another order each would be far from the last. */
  rows(): Int32Array {
    const rows = new Int32Array(this.#count);
    let count = 0;
    for (const { slots } of this.#parts) {
      for (let at = 0; at < slots.length; at++) {
        if (slots[at] !== 0) rows[count++] = slots[at]! - 1;
      }
    }
    return rows.sort();
  }

  #hash(producerId: number): number {
    let hash = (producerId | 0) ^ this.#table.seed;
    hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
    hash ^= (hash >>> 16) ^ ((producerId / 0x1_0000_0000) | 0);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b_3c6d);
    return hash ^ (hash >>> 16);
  }
}

function put(slots: Int32Array, hash: number, row: number): void {
  const mask = slots.length - 1;
  let at = (hash >>> DIRECTORY_BITS) & mask;
  while (slots[at] !== 0) at = (at + 1) & mask;
  slots[at] = row + 1;
}
