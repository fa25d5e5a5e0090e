/**
 * The transactions that are about to begin in a partition: a client has sent the first batch, and the coordinator
 * of the transaction is being asked whether it knows that the transaction is here.
 *
 *     first batch ──begin──→ guard ──coordinator: yes──→ appended under the guard: open, the guard is gone
 *                              └──a marker, or another leader──→ gone: what was said counts no more
 *
 * The answer may come late: after the transaction has ended, with its marker written, or even within the next one.
 * A batch that was appended then would open a transaction that nobody ends. So an answer counts only for the guard
 * under which it was asked for, and each batch or marker of the producer ends the guard (KIP-890).
 *
 * While the first batch is tried again those behind it must not get ahead of it, where the log knows too little of
 * the producer to notice: hence the lowest sequence.
 *
 * Bound: `MAX_GUARDS`; past it the oldest goes, which can only be one that nobody has come back for.
 */

import type { Verification } from "../../storage/producer_state.ts";

const MAX_GUARDS = 10_000;

/** What a verification is asked for under. Compared by identity. */
export interface TransactionGuard {
  readonly producerId: number;
}

/** A batch that would begin a transaction. */
export interface FirstBatch {
  readonly producerId: number;
  readonly producerEpoch: number;
  /** −1 for offsets of groups, which have none. */
  readonly baseSequence: number;
  /** True in transaction version 2: each transaction has an epoch of its own, and begins with sequence 0. */
  readonly startsAtZero: boolean;
}

/** What an append is told under no guard, or under one that is gone. */
export const UNVERIFIED: Verification = {
  isVerified: false,
  lowestSequence: -1,
  startsAtZero: false,
};

interface State {
  readonly guard: TransactionGuard;
  producerEpoch: number;
  lowestSequence: number;
  startsAtZero: boolean;
}

/** The guards of one partition. */
export class TransactionGuards {
  /** By producer, the oldest first. */
  readonly #states = new Map<number, State>();

  /** The guard of the producer, made where it has none. */
  begin({ producerId, producerEpoch, baseSequence, startsAtZero }: FirstBatch): TransactionGuard {
    const known = this.#states.get(producerId);
    if (known === undefined) {
      if (this.#states.size >= MAX_GUARDS) this.#states.delete(this.#states.keys().next().value!);
      const guard = { producerId };
      const lowestSequence = baseSequence;
      this.#states.set(producerId, { guard, producerEpoch, lowestSequence, startsAtZero });
      return guard;
    }
    const isLowest = producerEpoch === known.producerEpoch && baseSequence < known.lowestSequence;
    if (isLowest || producerEpoch > known.producerEpoch) {
      known.producerEpoch = producerEpoch;
      known.lowestSequence = baseSequence;
      known.startsAtZero = startsAtZero;
    }
    return known.guard;
  }

  /** What a batch is appended with under this guard. */
  verification(guard: TransactionGuard | null): Verification {
    const state = guard === null ? undefined : this.#states.get(guard.producerId);
    if (state === undefined || state.guard !== guard) return UNVERIFIED;
    const { lowestSequence, startsAtZero } = state;
    return { isVerified: true, lowestSequence, startsAtZero };
  }

  /** A batch or marker of the producer was written. Returns: how many guards are left. */
  end(producerId: number): number {
    this.#states.delete(producerId);
    return this.#states.size;
  }
}
