/**
 * Bytes of answers that wait to be sent on one connection: a list of chunks and how far it has been sent.
 *
 *     chunks:  [ sent … | head ──── ][ small ][ small ][ 1 MiB of records, by reference ][ small ]
 *                         └ #headAt
 *
 * Small chunks go out together with what follows them, copied into one buffer as far as that reaches; large ones go out
 * as they are. The head of an answer alone would be a packet of its own, which wakes the client for nothing.
 */

import type { Writer } from "../../protocol/bytes.ts";
import type { Connection } from "../network.ts";

/** Chunks below this are copied together: a copy costs less than a system call. */
const SMALL_CHUNK_BYTES = 16 * 1024;
const GATHER_BYTES = 64 * 1024;

/** One buffer for all outboxes: it is empty again when `send` returns. */
const gather = new Uint8Array(GATHER_BYTES);

/** What waits to be sent. */
export class Outbox {
  #chunks: Uint8Array[] = [];
  #head = 0;
  #headAt = 0;
  #bytes = 0;

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds chunks, by reference. */
  append(chunks: readonly Uint8Array[], byteCount: number): void {
    for (const chunk of chunks) this.#chunks.push(chunk);
    this.#bytes += byteCount;
  }

  /** Hands over as much as the connection takes. Returns: how many bytes it took. */
  send(link: Connection): number {
    let sent = 0;
    while (this.#bytes > 0) {
      const next = this.#next();
      const accepted = link.write(next);
      if (accepted > 0) this.#advance(accepted);
      sent += accepted;
      if (accepted < next.length) break;
    }
    return sent;
  }

  /** The next bytes to write: one chunk, or several small ones gathered. */
  #next(): Uint8Array {
    const chunks = this.#chunks;
    const first = this.#headAt === 0
      ? chunks[this.#head]!
      : chunks[this.#head]!.subarray(this.#headAt);
    const isLarge = first.length >= SMALL_CHUNK_BYTES && this.#bytes > GATHER_BYTES;
    if (isLarge || this.#head + 1 === chunks.length) return first;
    let length = 0;
    let chunk = first;
    for (let at = this.#head;;) {
      const room = GATHER_BYTES - length;
      gather.set(chunk.length <= room ? chunk : chunk.subarray(0, room), length);
      length += Math.min(chunk.length, room);
      if (length === GATHER_BYTES || ++at === chunks.length) break;
      chunk = chunks[at]!;
    }
    return gather.subarray(0, length);
  }

  #advance(byteCount: number): void {
    this.#bytes -= byteCount;
    let rest = byteCount + this.#headAt;
    const chunks = this.#chunks;
    while (this.#head < chunks.length && rest >= chunks[this.#head]!.length) {
      rest -= chunks[this.#head++]!.length;
    }
    this.#headAt = rest;
    if (this.#head === chunks.length) {
      chunks.length = 0;
      this.#head = 0;
    } else if (this.#head > 64 && this.#head * 2 > chunks.length) {
      chunks.splice(0, this.#head);
      this.#head = 0;
    }
  }

  /** Copies what lies in the buffer of `writer`, which is about to be used again. */
  keep(writer: Writer): void {
    for (let at = this.#head; at < this.#chunks.length; at++) {
      const chunk = this.#chunks[at]!;
      if (!writer.isOwn(chunk)) continue;
      const rest = at === this.#head ? chunk.subarray(this.#headAt) : chunk;
      this.#chunks[at] = rest.slice();
      if (at === this.#head) this.#headAt = 0;
    }
  }

  /** Drops everything: the connection has closed. Returns: how many bytes that was. */
  clear(): number {
    const bytes = this.#bytes;
    this.#chunks = [];
    this.#head = 0;
    this.#headAt = 0;
    this.#bytes = 0;
    return bytes;
  }
}
