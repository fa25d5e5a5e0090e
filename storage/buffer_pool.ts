/**
 * Reused buffers for reads: a fresh megabyte per fetch costs a third of its CPU in page faults.
 *
 * Buffers come in powers of two. One that has been handed out belongs to its holder until `release`;
 * the pool keeps released ones up to a cap of bytes and lets the rest go. Larger sizes than the pool's
 * are made fresh and never kept. One whose content may be wanted again *rests* with its holder meanwhile:
 * `kept` bounds those.
 */

import assert from "node:assert/strict";

import { KEPT_READS_BYTES, KeptReads } from "./kept_reads.ts";

const MIN_CLASS_BITS = 12;
const MAX_CLASS_BITS = 23;

/** A buffer that is lent. */
export class PooledBuffer {
  /** At least the bytes that were asked for; the content is whatever the last holder left. */
  readonly bytes: Uint8Array;
  #pool: BufferPool;
  #lent = true;
  #isResting = false;

  constructor(pool: BufferPool, bytes: Uint8Array) {
    this.#pool = pool;
    this.bytes = bytes;
  }

  /** Says whether nobody uses it for now: it does not count as lent then. */
  rest(isResting: boolean): void {
    if (isResting === this.#isResting) return;
    this.#isResting = isResting;
    this.#pool.noteLent(isResting ? -this.bytes.length : this.bytes.length);
  }

  /** Gives the buffer back; the holder must not look at it any more. A second call does nothing. */
  release(): void {
    if (!this.#lent) return;
    this.rest(false);
    this.#lent = false;
    this.#pool.takeBack(this.bytes);
  }
}

/** The pool. */
export class BufferPool {
  readonly capBytes: number;
  /** Reads whose buffers rest. */
  readonly kept = new KeptReads({ capBytes: KEPT_READS_BYTES });
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

  /** Bytes that are lent and do not rest. */
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
  noteLent(byteCount: number): void {
    this.#lentBytes += byteCount;
    assert(this.#lentBytes >= 0);
  }

  /** For `PooledBuffer`. */
  takeBack(bytes: Uint8Array): void {
    this.noteLent(-bytes.length);
    const bits = classBits(bytes.length);
    if (bits > MAX_CLASS_BITS || this.#idleBytes + bytes.length > this.capBytes) return;
    this.#idle[bits - MIN_CLASS_BITS]!.push(bytes);
    this.#idleBytes += bytes.length;
  }
}

function classBits(byteCount: number): number {
  return Math.max(MIN_CLASS_BITS, 32 - Math.clz32(Math.max(byteCount, 1) - 1));
}
