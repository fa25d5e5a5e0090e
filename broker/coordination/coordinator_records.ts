/** Records of a coordinator's log: a key behind its type, a value behind its version. */

import { Writer } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import type { NewRecord } from "../../protocol/records.ts";
import type { Encodable, Message } from "../../protocol/schema.ts";

/** Tombstones that are written in one batch: far below any limit on a batch's size. */
export const TOMBSTONES_PER_BATCH = 500;

/** A record's bytes; a null value is a tombstone. */
export interface KeyValue {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
}

/** One for all: what it has written is copied out of it at once. */
const scratch = new Writer();

/** A message behind the int16 that says what it is. */
export function encodePrefixed<M extends Message>(
  prefix: number,
  message: M,
  version: number,
  value: Encodable<M>,
): Uint8Array {
  scratch.reset();
  scratch.int16(prefix);
  codec(message, version).encode(scratch, value);
  return scratch.copy();
}

/** The records of a batch. `timestamp` in ms since the epoch. */
export function recordsOf(records: readonly KeyValue[], timestamp: number): NewRecord[] {
  return records.map(({ key, value }) => ({ key, value, timestamp }));
}
