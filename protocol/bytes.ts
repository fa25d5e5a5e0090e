/**
 * Reader and Writer over bytes: every primitive of the Kafka wire format, big-endian.
 *
 * The reader never trusts a length: reading past the end, an array longer than the bytes that are
 * left and a 64-bit integer beyond ±(2^53 − 1) are all a `WireError`, before anything is allocated
 * for them. The writer grows one buffer and takes large byte fields by reference, so that a fetch
 * answer is assembled without copying the records.
 */

import { Buffer } from "node:buffer";
import { type Uuid, ZERO_UUID } from "./types.ts";

/**
 * Bytes that do not follow the protocol. Caught at the edge that read them: the connection, or the
 * log.
 */
export class WireError extends Error {
  override name: string = "WireError";
}

/** Compressed bytes that would grow past the caller's cap. Nothing else was found wrong with them. */
export class TooLargeError extends WireError {
  override name = "TooLargeError";
}

/**
 * The most elements that one array may announce, and the most that all arrays of a message may have
 * together, integers and other elements of fixed width left out, which stay near their bytes.
 */
export const MAX_ARRAY_ELEMENTS = 1_000_000;
/** The most tagged fields that one struct may announce. */
export const MAX_TAGGED_FIELDS = 10_000;

/**
 * Stands for 2^63 − 1, Kafka's `Long.MAX_VALUE`, which no safe integer can be. Only where a schema
 * gives it as default (FetchRequest's highWatermark, "not known"); it compares above every offset,
 * as in Kafka.
 */
export const INT64_MAX = 2 ** 63;

/** Byte fields of at least this size are taken by reference when written. */
const BY_REFERENCE_BYTES = 4096;
const INITIAL_WRITER_BYTES = 256;
/** What outgrows the first buffer is seldom small. */
const GROWN_WRITER_BYTES = 2048;
/** A writer that is reset keeps a buffer up to this size. */
const MAX_KEPT_WRITER_BYTES = 1024 * 1024;
const TWO_32 = 0x1_0000_0000;
const MAX_HIGH_WORD = 0x1f_ffff;
const MIN_UNSAFE = -(2 ** 53);

/**
 * Strings of up to this many characters are tried as ASCII, byte by byte, which beats a call for so
 * few.
 */
const SHORT_STRING = 32;

/**
 * Takes doubles apart. The writer has no DataView of its own: making one over a fresh buffer costs
 * 300 ns, and storing bytes one by one is as fast.
 */
const scratch = new DataView(new ArrayBuffer(8));

/**
 * Half the time of a TextDecoder, which makes a view first; keeps a byte order mark, as Kafka does.
 */
const { utf8Slice } = Buffer.prototype as unknown as {
  /** In Node and Bun, although the types do not list it; end is exclusive. */
  utf8Slice(this: Uint8Array, start: number, end: number): string;
};
const utf8Encoder = new TextEncoder();

/** Text form of 16 bytes. */
export function formatUuid(bytes: Uint8Array): Uuid {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true }) as Uuid;
}

/**
 * The 16 bytes of a UUID's text form. Errors: WireError when the text is not 16 bytes of base64url.
 */
export function parseUuid(text: string): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = Uint8Array.fromBase64(text, { alphabet: "base64url" });
  } catch (cause) {
    throw new WireError(`Cannot parse UUID: "${text}" is not base64url`, { cause });
  }
  if (bytes.length !== 16) {
    throw new WireError(`Cannot parse UUID: "${text}" has ${bytes.length} bytes, not 16`);
  }
  return bytes;
}

/** Reads primitives from one `Uint8Array`, front to back. Byte fields are views into that array. */
export class Reader {
  readonly bytes: Uint8Array;
  position: number;
  readonly end: number;
  /** Over `bytes`, for code that has taken its bytes with `take`. */
  readonly dataView: DataView;
  #elements = 0;

  constructor(bytes: Uint8Array, position = 0, end = bytes.length) {
    this.bytes = bytes;
    this.position = position;
    this.end = end;
    this.dataView = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Bytes that are left. */
  get remaining(): number {
    return this.end - this.position;
  }

  /** Steps over `byteCount` (≥ 0) bytes. Returns their position. Errors: WireError past the end. */
  take(byteCount: number): number {
    const at = this.position;
    if (byteCount > this.end - at) this.#tooShort(byteCount);
    this.position = at + byteCount;
    return at;
  }

  #tooShort(byteCount: number): never {
    throw new WireError(
      `Cannot read ${byteCount} bytes at position ${this.position}: only ${this.remaining} are left`,
    );
  }

  bool(): boolean {
    return this.bytes[this.take(1)] !== 0;
  }
  int8(): number {
    return this.dataView.getInt8(this.take(1));
  }
  int16(): number {
    return this.dataView.getInt16(this.take(2));
  }
  uint16(): number {
    return this.dataView.getUint16(this.take(2));
  }
  int32(): number {
    return this.dataView.getInt32(this.take(4));
  }
  uint32(): number {
    return this.dataView.getUint32(this.take(4));
  }
  float64(): number {
    return this.dataView.getFloat64(this.take(8));
  }

  /** Errors: WireError beyond ±(2^53 − 1). */
  int64(): number {
    return this.int64At(this.take(8));
  }

  /** The int64 at a position that was taken. Errors: WireError beyond ±(2^53 − 1). */
  int64At(at: number): number {
    const high = this.dataView.getInt32(at);
    const low = this.dataView.getUint32(at + 4);
    const value = high * TWO_32 + low;
    // −2^53 itself comes out exact and is no safe integer; everything beyond the words is refused
    // first.
    if (high > MAX_HIGH_WORD || high < -MAX_HIGH_WORD - 1 || value === MIN_UNSAFE) {
      throw new WireError(
        `Cannot read int64 at position ${at}: ${
          this.dataView.getBigInt64(at)
        } is beyond ±(2^53 − 1)`,
      );
    }
    return value;
  }

  /** As `int64At`, for a field whose default is INT64_MAX: 2^63 − 1 on the wire is that default. */
  int64OrMaxAt(at: number): number {
    const isMax = this.dataView.getInt32(at) === 0x7fff_ffff &&
      this.dataView.getInt32(at + 4) === -1;
    return isMax ? INT64_MAX : this.int64At(at);
  }

  /** Unsigned varint, at most 5 bytes, below 2^32. */
  unsignedVarint(): number {
    const at = this.position;
    if (at < this.end) {
      const byte = this.bytes[at]!;
      if (byte < 0x80) {
        this.position = at + 1;
        return byte;
      }
    }
    return this.#longVarint();
  }

  #longVarint(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.bytes[this.take(1)]!;
      value += shift < 28 ? (byte & 0x7f) << shift : (byte & 0x7f) * 0x1000_0000;
      if (byte < 0x80) {
        if (value >= TWO_32) {
          throw new WireError(`Cannot read varint before position ${this.position}: over 32 bits`);
        }
        return value;
      }
    }
    throw new WireError(`Cannot read varint before position ${this.position}: over 5 bytes`);
  }

  /** Zigzag varint, int32. */
  varint(): number {
    const raw = this.unsignedVarint();
    return (raw >>> 1) ^ -(raw & 1);
  }

  /** Zigzag varint, int64. Errors: WireError beyond ±(2^53 − 1). */
  varlong(): number {
    let low = 0;
    let scale = 1;
    for (let byteCount = 0; byteCount < 10; byteCount++) {
      const byte = this.bytes[this.take(1)]!;
      low += (byte & 0x7f) * scale;
      scale *= 128;
      if (byte < 0x80) {
        // Above 2^53 the float sum drops bits: refuse rather than round.
        if (low > Number.MAX_SAFE_INTEGER) break;
        return low % 2 === 0 ? low / 2 : -(low + 1) / 2;
      }
    }
    throw new WireError(
      `Cannot read varlong before position ${this.position}: beyond ±2^52 or over 10 bytes`,
    );
  }

  /** A view of the next `byteCount` bytes; shares memory with the input. */
  view(byteCount: number): Uint8Array {
    if (byteCount < 0) throw new WireError(`Cannot read bytes: length ${byteCount} is negative`);
    const at = this.take(byteCount);
    return this.bytes.subarray(at, at + byteCount);
  }

  utf8(byteCount: number): string {
    if (byteCount < 0) throw new WireError(`Cannot read string: length ${byteCount} is negative`);
    const at = this.take(byteCount);
    return utf8Slice.call(this.bytes, at, at + byteCount);
  }

  uuid(): Uuid {
    const bytes = this.view(16);
    for (let i = 0; i < 16; i++) if (bytes[i] !== 0) return formatUuid(bytes);
    return ZERO_UUID;
  }

  nullableString(): string | null {
    const length = this.int16();
    return length === -1 ? null : this.utf8(length);
  }
  string(): string {
    return this.nullableString() ?? notNull("string", this.position);
  }
  nullableCompactString(): string | null {
    const length = this.unsignedVarint();
    return length === 0 ? null : this.utf8(length - 1);
  }
  compactString(): string {
    return this.nullableCompactString() ?? notNull("string", this.position);
  }
  nullableBytes(): Uint8Array | null {
    const length = this.int32();
    return length === -1 ? null : this.view(length);
  }
  requiredBytes(): Uint8Array {
    return this.nullableBytes() ?? notNull("bytes", this.position);
  }
  nullableCompactBytes(): Uint8Array | null {
    const length = this.unsignedVarint();
    return length === 0 ? null : this.view(length - 1);
  }
  compactBytes(): Uint8Array {
    return this.nullableCompactBytes() ?? notNull("bytes", this.position);
  }

  /**
   * Element count of an array, −1 for null. `elementBytes` is the least that one element takes.
   * Errors: WireError when the elements cannot fit into what is left.
   */
  arrayLength(elementBytes = 1): number {
    return this.#checkedCount(this.int32(), elementBytes);
  }
  compactArrayLength(elementBytes = 1): number {
    return this.#checkedCount(this.unsignedVarint() - 1, elementBytes);
  }

  /** Starts the count of elements anew. */
  beginMessage(): void {
    this.#elements = 0;
  }

  /**
   * Counts elements that become objects of their own, which can take fifty times their bytes.
   * Errors: WireError once the message has more than MAX_ARRAY_ELEMENTS of them in all.
   */
  claimElements(count: number): void {
    this.#elements += count;
    if (this.#elements > MAX_ARRAY_ELEMENTS) {
      throw new WireError(
        `Cannot read array at position ${this.position}: the message has ${this.#elements} elements, ` +
          `cap ${MAX_ARRAY_ELEMENTS}`,
      );
    }
  }

  #checkedCount(count: number, elementBytes: number): number {
    if (count < -1 || count > MAX_ARRAY_ELEMENTS || count * elementBytes > this.remaining) {
      throw new WireError(
        `Cannot read array at position ${this.position}: ${count} elements announced, ` +
          `${this.remaining} bytes left, cap ${MAX_ARRAY_ELEMENTS}`,
      );
    }
    return count;
  }

  /** Says that an array which may not be null was. */
  nullArray(path: string): never {
    notNull(path, this.position);
  }

  /** Count of tagged fields. */
  taggedFieldCount(): number {
    const count = this.unsignedVarint();
    if (count > MAX_TAGGED_FIELDS || count > this.remaining) {
      throw new WireError(
        `Cannot read tagged fields at position ${this.position}: ${count} announced, ` +
          `${this.remaining} bytes left, cap ${MAX_TAGGED_FIELDS}`,
      );
    }
    return count;
  }

  /**
   * Says that a known tagged field, announced with `byteCount` bytes up to `end`, ended elsewhere.
   */
  wrongTagSize(tag: number, byteCount: number, end: number): never {
    throw new WireError(
      `Cannot read tagged field ${tag} before position ${this.position}: it announced ${byteCount} ` +
        `bytes and took ${this.position - end + byteCount}`,
    );
  }

  /** Skips a whole section of tagged fields that nobody here knows. */
  skipTaggedFields(): void {
    const count = this.taggedFieldCount();
    for (let i = 0; i < count; i++) {
      this.unsignedVarint();
      this.view(this.unsignedVarint());
    }
  }
}

function notNull(what: string, position: number): never {
  throw new WireError(
    `Cannot read ${what} before position ${position}: null where none is allowed`,
  );
}

/** Bytes that a varint of `value` (below 2^32, not zigzag) takes. */
export function unsignedVarintBytes(value: number): number {
  return value < 0x80
    ? 1
    : value < 0x4000
    ? 2
    : value < 0x20_0000
    ? 3
    : value < 0x1000_0000
    ? 4
    : 5;
}

/**
 * Writes primitives into a growing buffer. Byte fields of 4 KiB and more are kept by reference and
 * must not change until the chunks have been sent.
 */
export class Writer {
  #chunks: Uint8Array[] = [];
  #chunkBytes = 0;
  /** The current buffer: good until the next `reserve`, and written to only where that said. */
  bytes: Uint8Array;
  #start = 0;
  #position = 0;
  #sizedChunk = 0;
  #sizedAt = 0;
  #sizedFrom = 0;

  constructor(initialBytes = INITIAL_WRITER_BYTES) {
    this.bytes = new Uint8Array(initialBytes);
  }

  /** Bytes written so far, over all chunks. */
  get length(): number {
    return this.#chunkBytes + this.#position - this.#start;
  }

  /**
   * Makes room for `byteCount` bytes. Returns their position in `bytes`; the caller fills them all.
   */
  reserve(byteCount: number): number {
    const at = this.#position;
    const needed = at + byteCount;
    if (needed > this.bytes.length) {
      const used = at - this.#start;
      const grown = new Uint8Array(Math.max(2 * (used + byteCount), GROWN_WRITER_BYTES));
      grown.set(this.bytes.subarray(this.#start, at));
      this.bytes = grown;
      this.#start = 0;
      this.#position = used + byteCount;
      return used;
    }
    this.#position = needed;
    return at;
  }

  bool(value: boolean): void {
    const at = this.reserve(1);
    this.bytes[at] = value ? 1 : 0;
  }
  int8(value: number): void {
    const at = this.reserve(1);
    this.bytes[at] = value;
  }
  int16(value: number): void {
    const at = this.reserve(2);
    this.bytes[at] = value >>> 8;
    this.bytes[at + 1] = value;
  }
  uint16(value: number): void {
    const at = this.reserve(2);
    this.bytes[at] = value >>> 8;
    this.bytes[at + 1] = value;
  }
  int32(value: number): void {
    this.int32At(this.reserve(4), value);
  }
  uint32(value: number): void {
    this.int32At(this.reserve(4), value);
  }
  float64(value: number): void {
    this.float64At(this.reserve(8), value);
  }
  /** Writes the low 32 bits of a number into 4 bytes that were reserved; so do the others "At". */
  int32At(at: number, value: number): void {
    const bytes = this.bytes;
    bytes[at] = value >>> 24;
    bytes[at + 1] = value >>> 16;
    bytes[at + 2] = value >>> 8;
    bytes[at + 3] = value;
  }
  float64At(at: number, value: number): void {
    scratch.setFloat64(0, value);
    this.int32At(at, scratch.getInt32(0));
    this.int32At(at + 4, scratch.getInt32(4));
  }
  /** Writes all 64 bits of a bigint into 8 bytes that were reserved. */
  bits64At(at: number, value: bigint): void {
    scratch.setBigInt64(0, value);
    this.int32At(at, scratch.getInt32(0));
    this.int32At(at + 4, scratch.getInt32(4));
  }
  int64(value: number): void {
    this.int64At(this.reserve(8), value);
  }
  int64At(at: number, value: number): void {
    const high = Math.floor(value / TWO_32);
    this.int32At(at, high);
    this.int32At(at + 4, value - high * TWO_32);
  }

  unsignedVarint(value: number): void {
    if (value < 0x80) {
      const at = this.reserve(1);
      this.bytes[at] = value;
      return;
    }
    let rest = value;
    let at = this.reserve(unsignedVarintBytes(value));
    while (rest >= 0x80) {
      this.bytes[at++] = (rest & 0x7f) | 0x80;
      rest = rest >= 0x8000_0000 ? Math.floor(rest / 128) : rest >>> 7;
    }
    this.bytes[at] = rest;
  }

  /** Zigzag varint, int32. */
  varint(value: number): void {
    this.unsignedVarint(((value << 1) ^ (value >> 31)) >>> 0);
  }

  /** Zigzag varint, int64 within ±2^52. */
  varlong(value: number): void {
    let rest = value >= 0 ? value * 2 : -value * 2 - 1;
    while (rest >= 0x80) {
      this.int8((rest % 128) | 0x80);
      rest = Math.floor(rest / 128);
    }
    this.int8(rest);
  }

  /** Copies small bytes, takes large ones by reference. */
  raw(bytes: Uint8Array): void {
    if (bytes.length < BY_REFERENCE_BYTES) {
      const at = this.reserve(bytes.length);
      this.bytes.set(bytes, at);
      return;
    }
    this.#cut();
    this.#chunks.push(bytes);
    this.#chunkBytes += bytes.length;
  }

  /** Takes over everything that another writer has, which is not to be used afterwards. */
  append(other: Writer): void {
    for (const chunk of other.chunks()) this.raw(chunk);
  }

  #cut(): void {
    if (this.#position === this.#start) return;
    this.#chunks.push(this.bytes.subarray(this.#start, this.#position));
    this.#chunkBytes += this.#position - this.#start;
    this.#start = this.#position;
  }

  uuid(value: Uuid): void {
    if (value === ZERO_UUID) {
      const at = this.reserve(16);
      this.bytes.fill(0, at, at + 16);
    } else this.raw(parseUuid(value));
  }

  /**
   * Writes a length in one byte and ASCII text. Returns false, having written nothing, for other
   * text.
   */
  #shortAscii(value: string, lengthBytes: 1 | 2, length: number): boolean {
    const at = this.reserve(lengthBytes + value.length);
    const bytes = this.bytes;
    let to = at + lengthBytes;
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i);
      if (code >= 0x80) {
        this.#position = at;
        return false;
      }
      bytes[to++] = code;
    }
    if (lengthBytes === 2) bytes[at] = 0;
    bytes[at + lengthBytes - 1] = length;
    return true;
  }

  nullableString(value: string | null): void {
    if (value === null) return this.int16(-1);
    if (value.length <= SHORT_STRING && this.#shortAscii(value, 2, value.length)) return;
    const bytes = utf8Encoder.encode(value);
    if (bytes.length > 0x7fff) {
      throw new WireError(`Cannot write string: ${bytes.length} bytes are over 32767`);
    }
    this.int16(bytes.length);
    this.raw(bytes);
  }
  nullableCompactString(value: string | null): void {
    if (value === null) return this.unsignedVarint(0);
    if (value.length <= SHORT_STRING && this.#shortAscii(value, 1, value.length + 1)) return;
    const bytes = utf8Encoder.encode(value);
    this.unsignedVarint(bytes.length + 1);
    this.raw(bytes);
  }
  nullableBytes(value: Uint8Array | null): void {
    if (value === null) return this.int32(-1);
    this.int32(value.length);
    this.raw(value);
  }
  nullableCompactBytes(value: Uint8Array | null): void {
    if (value === null) return this.unsignedVarint(0);
    this.unsignedVarint(value.length + 1);
    this.raw(value);
  }
  /** `count` of −1 is null. */
  arrayLength(count: number): void {
    this.int32(count);
  }
  compactArrayLength(count: number): void {
    this.unsignedVarint(count + 1);
  }

  /**
   * Reserves the int32 length of what is written next; `endSized` fills it in. They do not nest.
   */
  beginSized(): void {
    this.#sizedChunk = this.#chunks.length;
    this.#sizedAt = this.reserve(4) - this.#start;
    this.#sizedFrom = this.length;
  }

  /** Returns: the bytes written since `beginSized`, the length itself not counted. */
  endSized(): number {
    const size = this.length - this.#sizedFrom;
    const chunk = this.#chunks[this.#sizedChunk];
    // The piece may have been cut off and handed over since, but its bytes are still the writer's.
    if (chunk === undefined) this.int32At(this.#start + this.#sizedAt, size);
    else new DataView(chunk.buffer, chunk.byteOffset).setInt32(this.#sizedAt, size);
    return size;
  }

  /**
   * Empties the writer for reuse; chunks that `isOwn` are overwritten from now on. A buffer that one large
   * message made grow past `MAX_KEPT_WRITER_BYTES` is given up.
   */
  reset(): void {
    if (this.bytes.length > MAX_KEPT_WRITER_BYTES) this.bytes = new Uint8Array(GROWN_WRITER_BYTES);
    this.#chunks = [];
    this.#chunkBytes = 0;
    this.#start = 0;
    this.#position = 0;
  }

  /** Tells whether `chunk` lies in the buffer that a `reset` writer writes to again. */
  isOwn(chunk: Uint8Array): boolean {
    return chunk.buffer === this.bytes.buffer;
  }

  /** Everything written, as pieces to be sent in order; the writer is then only to be `reset`. */
  chunks(): Uint8Array[] {
    this.#cut();
    return this.#chunks;
  }

  /** A copy of everything written, which can be gone on with or be `reset`. */
  copy(): Uint8Array {
    if (this.#chunks.length === 0) return this.bytes.slice(this.#start, this.#position);
    const whole = new Uint8Array(this.length);
    this.copyTo(whole, 0);
    return whole;
  }

  /** Copies everything written to `to`, from a position on. */
  copyTo(to: Uint8Array, position: number): void {
    let at = position;
    for (const chunk of this.#chunks) {
      to.set(chunk, at);
      at += chunk.length;
    }
    to.set(this.bytes.subarray(this.#start, this.#position), at);
  }

  /** Everything written as one array (a copy when there is more than one piece). */
  finish(): Uint8Array {
    const chunks = this.chunks();
    if (chunks.length === 1) return chunks[0]!;
    const whole = new Uint8Array(this.#chunkBytes);
    let at = 0;
    for (const chunk of chunks) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    return whole;
  }
}
