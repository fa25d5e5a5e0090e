/**
 * Walks the records of a batch in their raw bytes and makes no object of any: for who looks at millions.
 *
 *     length | attributes | timestampDelta | offsetDelta | key length, key | value length, value | headers
 *     start ─┘                                             keyStart ┘                                end ─┘
 *
 * Headers are passed over. The checksum of the batch has been compared by the caller: what is checked here
 * is that no field reaches past its record, and no record past the batch.
 */

import { WireError } from "./bytes.ts";

/** A place in the records of one batch; the fields are those of the record that `next` went to. */
export class RecordCursor {
  /** Where the record begins, its length included. */
  start = 0;
  /** Where the next record begins. */
  end = 0;
  /** Where the field after the length begins: attributes, then the timestamp delta. */
  bodyStart = 0;
  /** Where the field after the timestamp delta begins: the offset delta. */
  offsetDeltaStart = 0;
  /** ms. */
  timestampDelta = 0;
  offsetDelta = 0;
  keyStart = 0;
  /** −1 for none. */
  keyBytes = -1;
  valueStart = 0;
  /** −1 for none. */
  valueBytes = -1;
  #bytes: Uint8Array = new Uint8Array(0);
  #limit = 0;
  #at = 0;

  /** Starts before the first record of `bytes[start, end)`, decompressed. */
  reset(bytes: Uint8Array, start: number, end: number): void {
    this.#bytes = bytes;
    this.#limit = end;
    this.#at = start;
    this.end = start;
  }

  /** True when there are no bytes left. */
  get isAtEnd(): boolean {
    return this.end === this.#limit;
  }

  /** Goes to the next record. Errors: WireError when it is damaged. */
  next(): void {
    this.start = this.end;
    this.#at = this.start;
    const length = this.#varint(this.#limit);
    const end = this.#at + length;
    if (length < 0 || end > this.#limit) {
      throw new WireError(
        `Cannot read record: ${length} bytes announced, ${this.#limit - this.#at} are left`,
      );
    }
    this.end = end;
    this.bodyStart = this.#at;
    this.#at++;
    this.timestampDelta = this.#varlong(end);
    this.offsetDeltaStart = this.#at;
    this.offsetDelta = this.#varint(end);
    this.keyBytes = this.#field(end);
    this.keyStart = this.#at - Math.max(this.keyBytes, 0);
    this.valueBytes = this.#field(end);
    this.valueStart = this.#at - Math.max(this.valueBytes, 0);
  }

  /** Passes over a field with its length. Returns: the length; −1 for none. */
  #field(end: number): number {
    const length = this.#varint(end);
    if (length < -1 || length > end - this.#at) {
      throw new WireError(
        `Cannot read record: a field of ${length} bytes, ${end - this.#at} are left`,
      );
    }
    if (length > 0) this.#at += length;
    return length;
  }

  #varint(end: number): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      if (this.#at >= end) break;
      const byte = this.#bytes[this.#at++]!;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1);
    }
    throw new WireError("Cannot read record: a number is cut short or has over 5 bytes");
  }

  #varlong(end: number): number {
    let value = 0;
    let scale = 1;
    for (let byteCount = 0; byteCount < 10; byteCount++) {
      if (this.#at >= end) break;
      const byte = this.#bytes[this.#at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
      }
      scale *= 128;
    }
    throw new WireError("Cannot read record: a number is cut short or beyond ±2^52");
  }
}
