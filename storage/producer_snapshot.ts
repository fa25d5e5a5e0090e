/**
 * The file that holds the producers of a partition at one offset, in Kafka's format.
 *
 *     snapshot: version int16 (1) | crc uint32, CRC-32C of what follows | count int32 | entries
 *     entry:    producerId int64 | epoch int16 | lastSequence int32 | lastOffset int64 | offsetDelta int32
 *               | timestamp int64 | coordinatorEpoch int32 | currentTxnFirstOffset int64
 *
 * A partition may have 100,000 producers and its snapshot is made between two appends: entries are written
 * and read in place, without an object each. Source: Kafka's ProducerStateManager.
 */

import { WireError } from "../protocol/bytes.ts";
import { crc32c } from "../protocol/crc32c.ts";

const VERSION = 1;
const CRC_AT = 2;
const COUNT_AT = 6;
const ENTRIES_AT = 10;
const ENTRY_BYTES = 46;
const TWO_TO_32 = 0x1_0000_0000;

/** What a snapshot says of one producer. */
export interface SnapshotEntry {
  readonly producerId: number;
  readonly producerEpoch: number;
  /** Of the last batch, as the two after it; −1, −1 and 0 when none is known. */
  readonly lastSequence: number;
  readonly lastOffset: number;
  readonly offsetDelta: number;
  readonly lastTimestamp: number;
  readonly coordinatorEpoch: number;
  /** −1 when no transaction is open. */
  readonly currentTxnFirstOffset: number;
}

/** Writes a snapshot of `count` entries. */
export class SnapshotWriter {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(count: number) {
    this.#bytes = new Uint8Array(ENTRIES_AT + count * ENTRY_BYTES);
    this.#view = new DataView(this.#bytes.buffer);
    this.#view.setInt16(0, VERSION);
    this.#view.setInt32(COUNT_AT, count);
  }

  /** Writes the entry at `index` among them; the order of calls is free. */
  put(index: number, entry: SnapshotEntry): void {
    const view = this.#view;
    const at = ENTRIES_AT + index * ENTRY_BYTES;
    putInt64(view, at, entry.producerId);
    view.setInt16(at + 8, entry.producerEpoch);
    view.setInt32(at + 10, entry.lastSequence);
    putInt64(view, at + 14, entry.lastOffset);
    view.setInt32(at + 22, entry.offsetDelta);
    putInt64(view, at + 26, entry.lastTimestamp);
    view.setInt32(at + 34, entry.coordinatorEpoch);
    putInt64(view, at + 38, entry.currentTxnFirstOffset);
  }

  /** The snapshot, once all its entries are there. */
  finish(): Uint8Array {
    this.#view.setUint32(CRC_AT, crc32c(this.#bytes.subarray(COUNT_AT)));
    return this.#bytes;
  }
}

/** Reads a snapshot: one entry at a time stands in its fields. */
export class SnapshotReader implements SnapshotEntry {
  readonly count: number;
  producerId = -1;
  producerEpoch = -1;
  lastSequence = -1;
  lastOffset = -1;
  offsetDelta = 0;
  lastTimestamp = -1;
  coordinatorEpoch = -1;
  currentTxnFirstOffset = -1;
  readonly #view: DataView;
  #at = ENTRIES_AT;

  /** Errors: WireError when the snapshot is damaged. */
  constructor(bytes: Uint8Array) {
    if (bytes.length < ENTRIES_AT) {
      throw new WireError(`Cannot read producer snapshot: it has only ${bytes.length} bytes`);
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const version = view.getInt16(0);
    if (version !== VERSION) {
      throw new WireError(`Cannot read producer snapshot: version ${version} is not ${VERSION}`);
    }
    if (view.getUint32(CRC_AT) !== crc32c(bytes.subarray(COUNT_AT))) {
      throw new WireError("Cannot read producer snapshot: its checksum does not fit");
    }
    this.count = view.getInt32(COUNT_AT);
    if (bytes.length !== ENTRIES_AT + this.count * ENTRY_BYTES) {
      throw new WireError(
        `Cannot read producer snapshot: ${this.count} entries do not take ${bytes.length} bytes`,
      );
    }
    this.#view = view;
  }

  /** Steps to the next entry. Returns: false after the last. Errors: WireError for a number past 2^53. */
  next(): boolean {
    const view = this.#view;
    const at = this.#at;
    if (at === view.byteLength) return false;
    this.producerId = int64At(view, at);
    this.producerEpoch = view.getInt16(at + 8);
    this.lastSequence = view.getInt32(at + 10);
    this.lastOffset = int64At(view, at + 14);
    this.offsetDelta = view.getInt32(at + 22);
    this.lastTimestamp = int64At(view, at + 26);
    this.coordinatorEpoch = view.getInt32(at + 34);
    this.currentTxnFirstOffset = int64At(view, at + 38);
    this.#at = at + ENTRY_BYTES;
    return true;
  }
}

/** The entries of a snapshot. Errors: WireError when it is damaged. */
export function* snapshotEntries(bytes: Uint8Array): Generator<SnapshotEntry, void, void> {
  const reader = new SnapshotReader(bytes);
  while (reader.next()) {
    const { producerId, producerEpoch, lastSequence, lastOffset, offsetDelta } = reader;
    const { lastTimestamp, coordinatorEpoch, currentTxnFirstOffset } = reader;
    yield {
      producerId,
      producerEpoch,
      lastSequence,
      lastOffset,
      offsetDelta,
      lastTimestamp,
      coordinatorEpoch,
      currentTxnFirstOffset,
    };
  }
}

function putInt64(view: DataView, at: number, value: number): void {
  view.setInt32(at, Math.floor(value / TWO_TO_32));
  view.setUint32(at + 4, value >>> 0);
}

function int64At(view: DataView, at: number): number {
  const value = view.getInt32(at) * TWO_TO_32 + view.getUint32(at + 4);
  if (Number.isSafeInteger(value)) return value;
  throw new WireError("Cannot read producer snapshot: it holds a number beyond ±2^53");
}
