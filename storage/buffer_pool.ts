/**
 * Reused buffers for reads: a fresh megabyte per fetch costs a third of its CPU in page faults.
 *
 * Buffers come in powers of two. One that has been handed out belongs to its holder until `release`;
 * the pool keeps released ones up to a cap of bytes and lets the rest go. Larger sizes than the pool's
 * are made fresh and never kept.
 */

import assert from "node:assert/strict";

const MIN_CLASS_BITS = 12;
const MAX_CLASS_BITS = 23;

/** A buffer that is lent. */
export class PooledBuffer {
  /** At least the bytes that were asked for; the content is whatever the last holder left. */
  readonly bytes: Uint8Array;
  #pool: BufferPool;
  #lent = true;

  constructor(pool: BufferPool, bytes: Uint8Array) {
    this.#pool = pool;
    this.bytes = bytes;
  }

  /** Gives the buffer back; the holder must not look at it any more. A second call does nothing. */
  release(): void {
    if (!this.#lent) return;
    this.#lent = false;
    this.#pool.takeBack(this.bytes);
  }
}

/** The pool. */
export class BufferPool {
  readonly capBytes: number;
  #idle: Uint8Array[][] = [];
  #idleBytes = 0;
  #lentBytes = 0;

  constructor({ capBytes }: { readonly capBytes: number }) {
    this.capBytes = capBytes;
    for (let bits = MIN_CLASS_BITS; bits <= MAX_CLASS_BITS; bits++) this.#idle.push([]);
  }

  /** Bytes that lie idle. */
  get idleBytes(): number {
    return this.#idleBytes;
  }

  /** Bytes that are lent. */
  get lentBytes(): number {
    return this.#lentBytes;
  }

  /** Lends a buffer of at least `byteCount` bytes. */
  acquire(byteCount: number): PooledBuffer {
    const bits = classBits(byteCount);
    const idle = bits > MAX_CLASS_BITS ? undefined : this.#idle[bits - MIN_CLASS_BITS]!.pop();
    let bytes: Uint8Array;
    if (idle !== undefined) {
      this.#idleBytes -= idle.length;
      bytes = idle;
    } else {
      bytes = new Uint8Array(new ArrayBuffer(bits > MAX_CLASS_BITS ? byteCount : 2 ** bits));
    }
    this.#lentBytes += bytes.length;
    return new PooledBuffer(this, bytes);
  }

  /** For `PooledBuffer`. */
  takeBack(bytes: Uint8Array): void {
    this.#lentBytes -= bytes.length;
    assert(this.#lentBytes >= 0);
    const bits = classBits(bytes.length);
    if (bits > MAX_CLASS_BITS || this.#idleBytes + bytes.length > this.capBytes) return;
    this.#idle[bits - MIN_CLASS_BITS]!.push(bytes);
    this.#idleBytes += bytes.length;
  }
}

function classBits(byteCount: number): number {
  return Math.max(MIN_CLASS_BITS, 32 - Math.clz32(Math.max(byteCount, 1) - 1));
}
