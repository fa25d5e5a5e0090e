/**
 * The byte budget over all connections: what has been received, is being handled or waits to be sent.
 *
 * Bytes that are here are charged, always: a charge is never refused, since the memory is taken already.
 * What the budget decides is who may bring in more. A connection asks before it reads on and before it
 * hands a request to its handler (which then may take `Api.cost`); when it may not, it waits in line and
 * its socket is not read, so that TCP holds its sender back.
 *
 *     0 ────────── requests ────────── limit ── reserve ──┐
 *                                        only connections that hold little: heartbeats go on
 *
 * Rules:
 * 1. First in line, first served: when bytes are given back, waiters go on in order, as long as what
 *    they want fits. A newcomer that wants much does not overtake the line.
 * 2. A connection that holds at most `SMALL_BYTES` may go on into the reserve, past the line; what the
 *    holder of the pass has does not count there.
 * 3. **The pass.** A frame or a request that is larger than what is left, or many frames of which each
 *    has arrived in part, could wait for each other for ever: nothing would ever be given back. So there
 *    is one pass, for the first waiter in line that is `needy` (it holds a part of a frame, or a whole
 *    one that waits to be handled). Its holder goes on past the limit until that one request is answered,
 *    then hands the pass on. Hence somebody always goes on, unless the holder itself stops: then the
 *    server closes it (the sweep in `server.ts`: no byte for `pressureStallMs` while others wait).
 * 4. While the holder is silent, waiters with a part of a frame are probed: each is read once more. Those
 *    who are silent, too, are then closed together, not each in its turn with the pass.
 * 5. An announced length charges nothing; only bytes that have come do.
 *
 * Bound: limit + reserve + one request (the pass) + for each connection one read of the socket (they may
 * all arrive in one wake-up; a probe is one more) and one answer (its size is known when it is made).
 */

import assert from "node:assert/strict";

/** What a connection may hold and yet go on into the reserve. */
export const SMALL_BYTES = 16 * 1024;
/** The reserve as a share of the limit. */
const RESERVE_DIVISOR = 4;
/** Members that one probe makes read. */
const PROBES = 64;

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
  /** True when it is read and has sent nothing for some time, though a frame has arrived in part. */
  readonly isSilent: boolean;
  /** Tells that it is out of the line and may go on; it may get in line again at once. */
  onBudget(): void;
  /** Asks it to read once though it stays in line. Returns: false when it reads already. */
  onProbe(): boolean;
}

/** Counts bytes and keeps the line. */
export class MemoryBudget {
  readonly limitBytes: number;
  readonly #reserveBytes: number;
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
    this.#reserveBytes = Math.max(SMALL_BYTES, Math.floor(limitBytes / RESERVE_DIVISOR));
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
    const after = this.#usedBytes + bytes;
    const isNext = this.#line.size === 0 || member === this.#granted;
    if (isNext && after <= this.limitBytes) return true;
    if (member.heldBytes + bytes > SMALL_BYTES) return false;
    // The pass must not eat the reserve: it may be as large as a request.
    const passBytes = this.#passHolder === null ? 0 : this.#passHolder.heldBytes;
    return after - passBytes <= this.limitBytes + this.#reserveBytes;
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

  /** Finds out who else in line is silent, when the holder of the pass is. To be called now and then. */
  probe(): void {
    if (this.#passHolder === null || !this.#passHolder.isSilent) return;
    let count = 0;
    for (const member of this.#line) {
      if (member.needy && member.onProbe() && ++count === PROBES) return;
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
