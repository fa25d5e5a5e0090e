/**
 * The byte budget over all connections: what has been received, is being handled or waits to be sent.
 *
 * Bytes that are here are charged, always: a charge is never refused, since the memory is taken already.
 * What the budget decides is who may bring in more. A connection asks before it reads on and before it
 * hands a request to its handler (which then may take `Api.cost`); when it may not, it waits in line and
 * its socket is not read, so that TCP holds its sender back.
 *
 * Rules:
 * 1. First in line, first served: when bytes are given back, waiters go on in order, as long as what
 *    they want fits. A newcomer that wants much does not overtake the line.
 * 2. A connection that holds at most `SMALL_BYTES` goes on, always: heartbeats, commits and metadata are
 *    served whatever the senders of large requests do.
 * 3. **The pass.** A frame or a request that is larger than what is left, or many frames of which each
 *    has arrived in part, could wait for each other for ever: nothing would ever be given back. So there
 *    is one pass, for the first waiter in line that is `needy` (it holds a part of a frame, or a whole
 *    one that waits to be handled). Its holder goes on past the limit until that one request is answered,
 *    then hands the pass on. Hence somebody always goes on, unless the holder itself stops.
 * 4. A holder that stops is closed (the sweep in `server.ts`: no byte for `pressureStallMs` while others
 *    wait, or not done in ten times that). Then nothing has moved for that long: the waiters with the
 *    largest parts of frames are shed until the rest fits, or each of them would stop in its turn.
 * 5. An announced length charges nothing; only bytes that have come do.
 *
 * Bound: limit + one request (the pass) + for each connection `SMALL_BYTES`, one read of the socket (they
 * may all arrive in one wake-up) and one answer (its size is known when it is made).
 */

import assert from "node:assert/strict";

/** What a connection may hold and yet go on, always. */
export const SMALL_BYTES = 16 * 1024;
/** A connection, as the budget sees it. */
export interface BudgetMember {
  /** Bytes charged for it now. */
  readonly heldBytes: number;
  /** How many more it needs to go on, at least. */
  readonly wantedBytes: number;
  /** True when it holds something that can only be given back by going on. */
  readonly needy: boolean;
  /** True once it has used the pass that it holds: the pass is for one request. */
  readonly hasUsedPass: boolean;
  /** Tells that it is out of the line and may go on; it may get in line again at once. */
  onBudget(): void;
  /** Tells that it is to be closed, since its memory is needed and nothing moves. */
  onShed(): void;
}

/** Counts bytes and keeps the line. */
export class MemoryBudget {
  readonly limitBytes: number;
  #usedBytes = 0;
  /** In order of arrival; a `Set` keeps it and lets members leave from the middle. */
  readonly #line = new Set<BudgetMember>();
  #passHolder: BudgetMember | null = null;
  #granting = false;
  /** The member that is being let on: the line behind it does not stop it. */
  #granted: BudgetMember | null = null;

  constructor(limitBytes: number) {
    assert(limitBytes > 0, `Cannot make a memory budget of ${limitBytes} bytes`);
    this.limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Connections that wait in line. */
  get waitingCount(): number {
    return this.#line.size;
  }

  /** Takes `bytes`, which may be negative, into the count. Cheap: on the path of every request. */
  charge(bytes: number): void {
    this.#usedBytes += bytes;
  }

  /** Gives bytes back and lets waiters go on. */
  release(bytes: number): void {
    this.#usedBytes -= bytes;
    assert(this.#usedBytes >= 0, "Cannot release bytes: more given back than taken");
    if (this.#line.size > 0) this.#grant();
  }

  /** Tells whether `member` may take `bytes` more now. */
  admits(member: BudgetMember, bytes: number): boolean {
    if (member === this.#passHolder && !member.hasUsedPass) return true;
    if (member.heldBytes + bytes <= SMALL_BYTES) return true;
    const isNext = this.#line.size === 0 || member === this.#granted;
    return isNext && this.#usedBytes + bytes <= this.limitBytes;
  }

  /** Gets in line; does nothing for a member that is in it. */
  wait(member: BudgetMember): void {
    this.#line.add(member);
    this.#handOutPass();
  }

  isWaiting(member: BudgetMember): boolean {
    return this.#line.has(member);
  }

  holdsPass(member: BudgetMember): boolean {
    return this.#passHolder === member;
  }

  /** Hands the pass on, when `member` has it. */
  returnPass(member: BudgetMember): void {
    if (this.#passHolder !== member) return;
    this.#passHolder = null;
    if (this.#line.size > 0) this.#grant();
  }

  /** Gets out of line and hands the pass on: the connection has closed. */
  leave(member: BudgetMember): void {
    this.#line.delete(member);
    this.returnPass(member);
  }

  /** Sheds the needy waiters that hold the most until the rest fits. */
  shed(): void {
    const bySize = [...this.#line]
      .filter((member) => member.needy)
      .sort((a, b) => b.heldBytes - a.heldBytes);
    for (const member of bySize) {
      if (this.#usedBytes <= this.limitBytes) return;
      if (this.#line.has(member)) member.onShed();
    }
  }

  /** Lets those at the head of the line go on while what they want fits. */
  #grant(): void {
    // A member that goes on may release or wait again: the outermost call goes on with the line.
    if (this.#granting) return;
    this.#granting = true;
    try {
      for (const member of this.#line) {
        if (this.#usedBytes + member.wantedBytes > this.limitBytes) break;
        this.#line.delete(member);
        this.#granted = member;
        member.onBudget();
      }
    } finally {
      this.#granting = false;
      this.#granted = null;
    }
    this.#handOutPass();
  }

  #handOutPass(): void {
    if (this.#passHolder !== null || this.#granting) return;
    for (const member of this.#line) {
      if (!member.needy) continue;
      this.#line.delete(member);
      this.#passHolder = member;
      queueMicrotask(() => this.#passHolder === member && member.onBudget());
      return;
    }
  }
}
