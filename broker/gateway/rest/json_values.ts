/**
 * The JSON objects in a stream of bytes, one after another, with or without line ends between them: NDJSON, and the
 * concatenated JSON of Confluent's streaming mode.
 *
 * Bounds: one object is no larger than `maxBytes`; of those that have come only one is held (`held_bytes.ts`).
 */

import { ProblemError } from "../problem.ts";
import { type BodyBounds, HeldBytes, type WholeBytes } from "../held_bytes.ts";

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

/** The objects. Errors: ProblemError for what is none, or is too large. */
export async function* jsonValues(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  bounds: BodyBounds,
): AsyncGenerator<WholeBytes, void, void> {
  let scanner: Scanner | null = null;
  const held = new HeldBytes(bounds);
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
        held.add(chunk.subarray(start, at + 1));
        scanner = null;
        yield held.end();
      }
      if (scanner !== null) held.add(chunk.subarray(start));
    }
    if (scanner !== null) {
      throw new ProblemError(400, "Cannot read JSON: the body ends inside of an object");
    }
  } finally {
    held.drop();
  }
}

function noObject(byte: number): ProblemError {
  const shown = JSON.stringify(String.fromCharCode(byte));
  return new ProblemError(400, `Cannot read JSON: an object must begin where ${shown} is`);
}
