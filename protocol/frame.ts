/**
 * Cuts a stream of bytes into frames: a 4-byte big-endian length, then that many bytes.
 *
 *     chunk      chunk        chunk            A frame that lies whole in one chunk is a view of it.
 *     ├────┬─────┼──────┬─────┼──────┤         One that spans chunks is put together in a buffer that
 *     │len │ frame      │ len │ frame│         doubles as bytes arrive: a length that lies costs nothing.
 *
 * Invariant: the bytes held are bytes that have arrived, and never more than one unfinished frame
 * of at most `maxFrameBytes`; the buffer is at most twice as large as what arrived, and no larger
 * than the frame. A bad length (negative, or over the cap) ends the stream: the splitter refuses
 * everything after it.
 */

import { WireError } from "./bytes.ts";

/** Bytes of the length before each frame. */
export const FRAME_LENGTH_BYTES = 4;
const FIRST_BUFFER_BYTES = 256;

/** Splits one direction of one connection. */
export class FrameSplitter {
  readonly #maxFrameBytes: number;
  /** Bytes of the unfinished frame, its length included. */
  #buffer = new Uint8Array(0);
  #held = 0;
  /**
   * Bytes that the unfinished frame will have, its length included; just the length's while that is
   * not known.
   */
  #whole = FRAME_LENGTH_BYTES;
  #failure: WireError | undefined;

  constructor({ maxFrameBytes }: { readonly maxFrameBytes: number }) {
    this.#maxFrameBytes = maxFrameBytes;
  }

  /** Bytes that have arrived and belong to a frame that is not complete. */
  get pendingBytes(): number {
    return this.#held;
  }

  /**
   * Takes in a chunk, which belongs to the splitter's frames from then on. It works as it is
   * iterated: run it to the end before the next chunk.
   * Returns: the frames that the chunk completes, in order, without their lengths.
   * Errors: WireError at the place of a bad length, after the frames before it, and for every later
   * chunk.
   */
  *push(chunk: Uint8Array): Generator<Uint8Array, void, void> {
    if (this.#failure !== undefined) throw this.#failure;
    let at = 0;
    if (this.#held > 0) {
      at = this.#complete(chunk);
      const frame = this.#takeWhole();
      if (frame === undefined) return;
      yield frame;
    }
    while (chunk.length - at >= FRAME_LENGTH_BYTES) {
      const start = at + FRAME_LENGTH_BYTES;
      const end = start + this.#lengthAt(chunk, at);
      if (end > chunk.length) {
        this.#whole = end - at;
        break;
      }
      at = end;
      yield chunk.subarray(start, end);
    }
    if (at < chunk.length) this.#hold(chunk, at, chunk.length);
  }

  /** Goes on with the unfinished frame. Returns how many bytes of the chunk went into it. */
  #complete(chunk: Uint8Array): number {
    let at = 0;
    if (this.#held < FRAME_LENGTH_BYTES) {
      at = Math.min(FRAME_LENGTH_BYTES - this.#held, chunk.length);
      this.#hold(chunk, 0, at);
      if (this.#held < FRAME_LENGTH_BYTES) return at;
    }
    this.#whole = FRAME_LENGTH_BYTES + this.#lengthAt(this.#buffer, 0);
    const end = Math.min(at + this.#whole - this.#held, chunk.length);
    this.#hold(chunk, at, end);
    return end;
  }

  /** The frame in the buffer, which it takes with it, once it is whole. */
  #takeWhole(): Uint8Array | undefined {
    if (this.#held < FRAME_LENGTH_BYTES || this.#held < this.#whole) return undefined;
    const frame = this.#buffer.subarray(FRAME_LENGTH_BYTES, this.#whole);
    this.#buffer = new Uint8Array(0);
    this.#held = 0;
    this.#whole = FRAME_LENGTH_BYTES;
    return frame;
  }

  #hold(chunk: Uint8Array, from: number, to: number): void {
    const needed = this.#held + to - from;
    if (needed > this.#buffer.length) {
      const capacity = Math.min(Math.max(2 * needed, FIRST_BUFFER_BYTES), this.#whole);
      const grown = new Uint8Array(capacity);
      grown.set(this.#buffer.subarray(0, this.#held));
      this.#buffer = grown;
    }
    this.#buffer.set(chunk.subarray(from, to), this.#held);
    this.#held = needed;
  }

  #lengthAt(bytes: Uint8Array, at: number): number {
    const length = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) |
      bytes[at + 3]!;
    if (length >= 0 && length <= this.#maxFrameBytes) return length;
    this.#failure = new WireError(
      `Cannot read frame: its length is ${length}, and must be from 0 to ${this.#maxFrameBytes}`,
    );
    throw this.#failure;
  }
}
