/**
 * The JSON objects in a stream of bytes, one after another, with or without line ends between them: NDJSON, and the
 * concatenated JSON of Confluent's streaming mode.
 *
 * Bounds: one object is no larger than `maxBytes`; of those that have come only one is held. One that grows beyond
 * `SMALL_BYTES` takes room, which all streams share, until it is released; a stream that finds none ends, since all of them
 * could wait for each other.
 */

import type { ByteRoom } from "../../client/byte_room.ts";
import { ProblemError } from "../problem.ts";
import { type BodyBounds, tooLarge } from "./body.ts";

const SMALL_BYTES = 32 * 1024;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
/** Space, tab, line feed, carriage return; and the record separator of RFC 7464. */
const BLANKS: readonly number[] = [0x20, 0x09, 0x0a, 0x0d, 0x1e];

/** Where in a value the bytes are. */
class Scanner {
  #depth = 0;
  #inText = false;
  #isEscaped = false;

  /** Returns: true when the byte ends the value. The first one has to be a brace. */
  ends(byte: number): boolean {
    if (this.#inText) {
      if (this.#isEscaped) this.#isEscaped = false;
      else if (byte === BACKSLASH) this.#isEscaped = true;
      else if (byte === QUOTE) this.#inText = false;
      return false;
    }
    if (byte === QUOTE) this.#inText = true;
    // Brackets and braces differ from each other by one bit: [ 5B, { 7B, ] 5D, } 7D.
    else if ((byte & 0xdf) === 0x5b) this.#depth++;
    else if ((byte & 0xdf) === 0x5d) return --this.#depth === 0;
    return false;
  }
}

/** An object. */
export interface JsonValue {
  /** Views where it came in one piece. */
  readonly bytes: Uint8Array;
  /** Gives its room back; to be called once. */
  readonly release: () => void;
}

/** The parts of an object that has not ended yet, with their room. */
class Parts {
  readonly #bounds: BodyBounds;
  #parts: Uint8Array[] = [];
  #byteCount = 0;
  #takenBytes = 0;

  constructor(bounds: BodyBounds) {
    this.#bounds = bounds;
  }

  /** Errors: ProblemError when it gets too large, or there is no room for it. */
  add(part: Uint8Array): void {
    const { maxBytes, room } = this.#bounds;
    this.#byteCount += part.length;
    if (this.#byteCount > maxBytes) throw tooLarge(maxBytes);
    this.#parts.push(part);
    const missingBytes = this.#byteCount - this.#takenBytes;
    if (this.#byteCount <= SMALL_BYTES || missingBytes <= 0) return;
    if (!room.tryTake(missingBytes)) {
      throw new ProblemError(
        503,
        "Cannot read a large record now: others fill the room for them (weir.gateway.memory.bytes)",
      );
    }
    this.#takenBytes += missingBytes;
  }

  /** The whole of it; what comes next is another one. */
  end(): JsonValue {
    const parts = this.#parts;
    const bytes = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    const release = releaseOf(this.#bounds.room, this.#takenBytes);
    this.#parts = [];
    this.#byteCount = 0;
    this.#takenBytes = 0;
    return { bytes, release };
  }

  /** Nothing more comes. */
  drop(): void {
    releaseOf(this.#bounds.room, this.#takenBytes)();
    this.#takenBytes = 0;
  }
}

function releaseOf(room: ByteRoom, bytes: number): () => void {
  return bytes === 0 ? () => {} : () => room.giveBack(bytes);
}

/** The objects. Errors: ProblemError for what is none, or is too large. */
export async function* jsonValues(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  bounds: BodyBounds,
): AsyncGenerator<JsonValue, void, void> {
  let scanner: Scanner | null = null;
  const parts = new Parts(bounds);
  try {
    for await (const chunk of chunks) {
      let start = 0;
      for (let at = 0; at < chunk.length; at++) {
        const byte = chunk[at]!;
        if (scanner === null) {
          if (BLANKS.includes(byte)) continue;
          if (byte !== OPEN) throw noObject(byte);
          scanner = new Scanner();
          start = at;
        }
        if (!scanner.ends(byte)) continue;
        parts.add(chunk.subarray(start, at + 1));
        scanner = null;
        yield parts.end();
      }
      if (scanner !== null) parts.add(chunk.subarray(start));
    }
    if (scanner !== null) {
      throw new ProblemError(400, "Cannot read JSON: the body ends inside of an object");
    }
  } finally {
    parts.drop();
  }
}

function noObject(byte: number): ProblemError {
  const shown = JSON.stringify(String.fromCharCode(byte));
  return new ProblemError(400, `Cannot read JSON: an object must begin where ${shown} is`);
}
