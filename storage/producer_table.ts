/**
 * The memory of what all logs of a node know of their producers: rows of one size, bounded in number.
 *
 *     table   chunk: row row row …   chunk: row row row …         a row is one producer of one partition
 *     idle    oldest ⇄ row ⇄ row ⇄ newest                         by their last batch, over all partitions
 *
 * An object a producer took 600 bytes, and a client may take a new producer id whenever it likes. A row
 * takes 112 bytes. When all rows are taken the producer that was silent longest is forgotten, whatever its
 * partition; one with an open transaction is never, since the last stable offset follows from it. A
 * partition without producers has no rows and costs nothing.
 *
 *     float64   producerId | lastTimestamp | currentTxnFirstOffset | lastOffset
 *     int32     epoch and batch count | coordinatorEpoch | lastSequence | offsetDelta | age
 *               | older | newer | owner | 4 × (offsetDelta | offset gap | time gap)
 *
 * The newest batch stands in the row; each of the four before it says how long it was, and how far it lies
 * before its successor. Its sequence numbers follow from that, since batches of a row follow one another.
 */

import assert from "node:assert/strict";
import type { Logger } from "./platform.ts";

const FLOATS_PER_ROW = 14;
const INTS_PER_ROW = 28;
const ROW_BYTES = 8 * FLOATS_PER_ROW;
const CHUNK_BITS = 9;
const ROWS_PER_CHUNK = 1 << CHUNK_BITS;
const ROW_IN_CHUNK = ROWS_PER_CHUNK - 1;
/** Rows looked at in one go when producers expire, and how many of them may go. */
const ROWS_PER_SLICE = 8192;
const REMOVALS_PER_SLICE = 512;

/** What a producer is counted with: its row, and its part of a partition's index. */
export const BYTES_PER_PRODUCER = 128;

/** Places in a row among the numbers of 64 bits. */
export const PRODUCER_ID = 0;
/** Of the last batch or marker. */
export const LAST_TIMESTAMP = 1;
/** −1 when no transaction is open. */
export const TXN_FIRST_OFFSET = 2;
/** Of the newest batch. */
export const LAST_OFFSET = 3;

/** Places in a row among the numbers of 32 bits: `epoch << 3 | batches known`. */
export const EPOCH_AND_COUNT = 8;
/** −1 before the first marker. */
export const COORDINATOR_EPOCH = 9;
/** Of the newest batch; −1 for one without sequence numbers. */
export const LAST_SEQUENCE = 10;
/** Of the newest batch. */
export const OFFSET_DELTA = 11;
/** How far the timestamp of the newest batch lies before `LAST_TIMESTAMP`. */
export const AGE = 12;
const OLDER = 13;
const NEWER = 14;
const OWNER = 15;
/** The batches before the newest, the youngest first. */
export const HISTORY = 16;
/** Numbers of 32 bits for one of them: its offset delta, and how far it lies before its successor. */
export const INTS_PER_BATCH = 3;

/** A partition, to whom rows belong. */
export interface RowOwner {
  /** Takes the row out of the partition's index and gives it back to the table. */
  forgetRow(row: number): void;
}

/** What a table is made with. */
export interface ProducerTableOptions {
  /** Memory that all producers together may take; boundless when left out. */
  readonly capBytes?: number;
  /** Keeps clients from choosing ids that collide in an index. */
  readonly seed?: number;
  readonly logger?: Logger;
}

/** Rows in the order in which they were appended. A row is in one list at a time. */
export class RowList {
  oldest = -1;
  newest = -1;
  readonly #table: ProducerTable;

  constructor(table: ProducerTable) {
    this.#table = table;
  }

  append(row: number): void {
    const ints = this.#table.ints(row);
    const at = this.#table.intsAt(row);
    ints[at + OLDER] = this.newest;
    ints[at + NEWER] = -1;
    if (this.newest < 0) this.oldest = row;
    else this.#link(this.newest, NEWER, row);
    this.newest = row;
  }

  remove(row: number): void {
    const ints = this.#table.ints(row);
    const at = this.#table.intsAt(row);
    const older = ints[at + OLDER]!;
    const newer = ints[at + NEWER]!;
    if (older < 0) this.oldest = newer;
    else this.#link(older, NEWER, newer);
    if (newer < 0) this.newest = older;
    else this.#link(newer, OLDER, older);
  }

  #link(row: number, field: number, to: number): void {
    this.#table.ints(row)[this.#table.intsAt(row) + field] = to;
  }
}

/** The rows of all partitions. */
export class ProducerTable {
  /** Rows with no open transaction, over all partitions, by their last batch. */
  readonly idle: RowList = new RowList(this);
  readonly seed: number;
  /** Memory that the rows may take. */
  readonly capBytes: number;
  readonly #capRows: number;
  readonly #logger: Logger | null;
  /** Two views on each chunk. */
  readonly #floats: Float64Array[] = [];
  readonly #ints: Int32Array[] = [];
  /** Rows that were ever taken; those given back are linked by `NEWER`. */
  #madeCount = 0;
  #firstFree = -1;
  #count = 0;
  #forgottenCount = 0;
  #hasTold = false;
  readonly #owners: (RowOwner | null)[] = [];
  readonly #freeOwners: number[] = [];

  constructor({ capBytes = Infinity, seed = 0, logger }: ProducerTableOptions = {}) {
    this.capBytes = capBytes;
    this.#capRows = Math.max(1, Math.floor(capBytes / BYTES_PER_PRODUCER));
    this.seed = seed;
    this.#logger = logger ?? null;
  }

  /** Producers that are known, over all partitions. */
  get count(): number {
    return this.#count;
  }

  /** Producers that were forgotten early, for want of room. */
  get forgottenCount(): number {
    return this.#forgottenCount;
  }

  /** True when a new producer has no room and none may be forgotten. */
  get isFull(): boolean {
    return this.#count >= this.#capRows && this.idle.oldest < 0;
  }

  /** The numbers of 64 bits around a row; its own begin at `floatsAt`. */
  floats(row: number): Float64Array {
    return this.#floats[row >>> CHUNK_BITS]!;
  }
  floatsAt(row: number): number {
    return (row & ROW_IN_CHUNK) * FLOATS_PER_ROW;
  }
  /** The numbers of 32 bits around a row; its own begin at `intsAt`. */
  ints(row: number): Int32Array {
    return this.#ints[row >>> CHUNK_BITS]!;
  }
  intsAt(row: number): number {
    return (row & ROW_IN_CHUNK) * INTS_PER_ROW;
  }
  producerId(row: number): number {
    return this.floats(row)[this.floatsAt(row) + PRODUCER_ID]!;
  }

  /** Lets a partition own rows. Returns: the number it takes them with. */
  register(owner: RowOwner): number {
    const number = this.#freeOwners.pop() ?? this.#owners.length;
    this.#owners[number] = owner;
    return number;
  }

  /** The partition has given back all its rows. */
  unregister(ownerNumber: number): void {
    this.#owners[ownerNumber] = null;
    this.#freeOwners.push(ownerNumber);
  }

  /**
   * Forgets a producer if all rows are taken. None may be forgotten where each has a transaction open: the
   * bound is then passed, so ask `isFull` first where a refusal is possible.
   */
  makeRoom(): void {
    if (this.#count >= this.#capRows && this.idle.oldest >= 0) this.#forgetOldest();
  }

  /** A row for a producer that nothing is known of yet, in no list. */
  take(producerId: number, ownerNumber: number): number {
    const row = this.#firstFree >= 0 ? this.#reuse() : this.#make();
    const floats = this.floats(row);
    const ints = this.ints(row);
    const floatsAt = this.floatsAt(row);
    const intsAt = this.intsAt(row);
    floats[floatsAt + PRODUCER_ID] = producerId;
    floats[floatsAt + LAST_TIMESTAMP] = -1;
    floats[floatsAt + TXN_FIRST_OFFSET] = -1;
    floats[floatsAt + LAST_OFFSET] = -1;
    ints[intsAt + EPOCH_AND_COUNT] = -1 << 3;
    ints[intsAt + COORDINATOR_EPOCH] = -1;
    ints[intsAt + LAST_SEQUENCE] = -1;
    ints[intsAt + OFFSET_DELTA] = 0;
    ints[intsAt + AGE] = 0;
    ints[intsAt + OWNER] = ownerNumber;
    this.#count++;
    return row;
  }

  #reuse(): number {
    const row = this.#firstFree;
    this.#firstFree = this.ints(row)[this.intsAt(row) + NEWER]!;
    return row;
  }

  #make(): number {
    const row = this.#madeCount++;
    if ((row & ROW_IN_CHUNK) === 0) {
      const chunk = new ArrayBuffer(ROWS_PER_CHUNK * ROW_BYTES);
      this.#floats.push(new Float64Array(chunk));
      this.#ints.push(new Int32Array(chunk));
    }
    return row;
  }

  #forgetOldest(): void {
    const row = this.idle.oldest;
    this.#ownerOf(row)!.forgetRow(row);
    this.#forgottenCount++;
    if (this.#hasTold) return;
    this.#hasTold = true;
    this.#logger?.warn("Too many producers: those that were silent longest are forgotten early", {
      knownProducers: this.#count + 1,
      forgottenSoFar: this.#forgottenCount,
      setting: "weir.producer.state.bytes",
    });
  }

  #ownerOf(row: number): RowOwner | null {
    const number = this.ints(row)[this.intsAt(row) + OWNER]!;
    return number < 0 ? null : this.#owners[number]!;
  }

  /** Gives back a row that is in no list any more. */
  giveBack(row: number): void {
    const ints = this.ints(row);
    const at = this.intsAt(row);
    assert(ints[at + OWNER]! >= 0);
    ints[at + OWNER] = -1;
    ints[at + NEWER] = this.#firstFree;
    this.#firstFree = row;
    this.#count--;
  }

  /**
   * Forgets producers that were silent for `expirationMs` and have no transaction open, among the rows of
   * one slice. Returns: where the next slice starts, −1 after the last.
   */
  removeExpired(
    fromRow: number,
    { nowMs, expirationMs }: { readonly nowMs: number; readonly expirationMs: number },
  ): number {
    if (fromRow === 0) this.#hasTold = false;
    const end = Math.min(this.#madeCount, fromRow + ROWS_PER_SLICE);
    const countBefore = this.#count;
    let row = fromRow;
    for (; row < end && countBefore - this.#count < REMOVALS_PER_SLICE; row++) {
      const owner = this.#ownerOf(row);
      if (owner !== null && this.#isExpired(row, nowMs - expirationMs)) owner.forgetRow(row);
    }
    return row < this.#madeCount ? row : -1;
  }

  #isExpired(row: number, silentSinceMs: number): boolean {
    const floats = this.floats(row);
    const at = this.floatsAt(row);
    return floats[at + TXN_FIRST_OFFSET]! < 0 && floats[at + LAST_TIMESTAMP]! <= silentSinceMs;
  }
}
