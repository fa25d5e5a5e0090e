/**
 * Room for so many bytes, in which what others send lies until it is answered: who finds none waits in line.
 *
 * Invariants: first come, first served; what is taken never exceeds the limit, unless one taker alone is larger.
 */

import assert from "node:assert/strict";

/** Counts bytes and keeps the line. */
export class ByteRoom {
  readonly #limitBytes: number;
  #usedBytes = 0;
  readonly #line: { readonly bytes: number; readonly enter: () => void }[] = [];

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Bytes that are taken. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Takes room, at once where there is some and nobody waits. Resolves when it is taken. */
  async take(bytes: number): Promise<void> {
    if (this.#line.length === 0 && this.#fits(bytes)) {
      this.#usedBytes += bytes;
      return;
    }
    await new Promise<void>((enter) => this.#line.push({ bytes, enter }));
  }

  /** Takes room where there is some and nobody waits. Returns: false when there is none. */
  tryTake(bytes: number): boolean {
    if (this.#line.length > 0 || !this.#fits(bytes)) return false;
    this.#usedBytes += bytes;
    return true;
  }

  /** Gives room back, and lets those go on who wait for it. */
  giveBack(bytes: number): void {
    this.#usedBytes -= bytes;
    assert(this.#usedBytes >= 0, "Cannot give back room: more than was taken");
    while (this.#line.length > 0 && this.#fits(this.#line[0]!.bytes)) {
      const { bytes: wanted, enter } = this.#line.shift()!;
      this.#usedBytes += wanted;
      enter();
    }
  }

  #fits(bytes: number): boolean {
    return this.#usedBytes === 0 || this.#usedBytes + bytes <= this.#limitBytes;
  }
}
