/**
 * Cuts a stream of bytes into frames: a 4-byte big-endian length, then that many bytes.
 *
 *     chunk      chunk        chunk            A frame that lies whole in one chunk is a view of it.
 *     ├────┬─────┼──────┬─────┼──────┤         One that spans chunks is put together in a buffer that
 *     │len │ frame      │ len │ frame│         doubles as bytes arrive: a length that lies costs nothing.
 *
 * Invariant: the bytes held are bytes that have arrived, and never more than one unfinished frame of at most
 * `maxFrameBytes`; the buffer is at most twice as large as what arrived. A bad length (negative, or over the cap)
 * ends the stream: the splitter refuses everything after it.
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
  #failure: WireError | undefined;

  constructor({ maxFrameBytes }: { readonly maxFrameBytes: number }) {
    this.#maxFrameBytes = maxFrameBytes;
  }

  /** Bytes that have arrived and belong to a frame that is not complete. */
  get pendingBytes(): number {
    return this.#held;
  }

  /**
   * Takes in a chunk, which belongs to the splitter's frames from then on.
   * Returns: the frames that it completes, in order, without their lengths.
   * Errors: WireError for a bad length, once and for every later call; frames before it in the same chunk are lost with
   * the connection.
   */
  push(chunk: Uint8Array): Uint8Array[] {
    if (this.#failure !== undefined) throw this.#failure;
    const frames: Uint8Array[] = [];
    let at = this.#held === 0 ? 0 : this.#complete(chunk, frames);
    if (this.#held > 0) return frames;
    while (chunk.length - at >= FRAME_LENGTH_BYTES) {
      const end = at + FRAME_LENGTH_BYTES + this.#lengthAt(chunk, at);
      if (end > chunk.length) break;
      frames.push(chunk.subarray(at + FRAME_LENGTH_BYTES, end));
      at = end;
    }
    if (at < chunk.length) this.#hold(chunk, at, chunk.length);
    return frames;
  }

  /** Goes on with the unfinished frame. Returns how many bytes of the chunk went into it. */
  #complete(chunk: Uint8Array, frames: Uint8Array[]): number {
    let at = 0;
    if (this.#held < FRAME_LENGTH_BYTES) {
      at = Math.min(FRAME_LENGTH_BYTES - this.#held, chunk.length);
      this.#hold(chunk, 0, at);
      if (this.#held < FRAME_LENGTH_BYTES) return at;
    }
    const frameEnd = FRAME_LENGTH_BYTES + this.#lengthAt(this.#buffer, 0);
    const end = Math.min(at + frameEnd - this.#held, chunk.length);
    this.#hold(chunk, at, end);
    if (this.#held === frameEnd) {
      frames.push(this.#buffer.subarray(FRAME_LENGTH_BYTES, frameEnd));
      // The frame keeps the buffer; the next unfinished one gets its own.
      this.#buffer = new Uint8Array(0);
      this.#held = 0;
    }
    return end;
  }

  #hold(chunk: Uint8Array, from: number, to: number): void {
    const needed = this.#held + to - from;
    if (needed > this.#buffer.length) {
      const grown = new Uint8Array(this.#capacityFor(needed));
      grown.set(this.#buffer.subarray(0, this.#held));
      this.#buffer = grown;
    }
    this.#buffer.set(chunk.subarray(from, to), this.#held);
    this.#held = needed;
  }

  #capacityFor(needed: number): number {
    const capacity = Math.max(2 * needed, FIRST_BUFFER_BYTES);
    return Math.min(capacity, this.#maxFrameBytes + FRAME_LENGTH_BYTES);
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
