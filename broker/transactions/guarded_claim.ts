/**
 * Asks the coordinator of a transaction under guards: what it says counts for these alone (`transaction_guards.ts`).
 *
 *     claim, guards ──verify──→ answer ──guards still there──→ append under them
 *           ↑                              └── a marker took one away: ask again, under those that there are now
 *
 * In transaction version 2 the coordinator may have to wait for the end of the transaction before, whose marker comes
 * meanwhile and takes the guards with it. It tells transactions apart by their epochs; before version 2 it could not,
 * and the batch may be of the one that ended.
 *
 * Invariant: nothing is appended under a guard that was not asked for: the guards given back are those of the last
 * question, and one that is gone lets no batch in.
 */

import type { Partition } from "../partitions/partition.ts";
import type { TransactionGuard } from "../partitions/transaction_guards.ts";
import type { TransactionClaim, TransactionVerifier, VerificationErrors } from "./verifier.ts";

/** How often it is asked: each marker that overtakes is of another transaction. */
const MAX_VERIFICATIONS = 3;

/** What is to be asked, and under which guards. */
export interface GuardedClaim {
  readonly claim: TransactionClaim;
  readonly guards: ReadonlyMap<Partition, TransactionGuard>;
}

/** What a batch may be appended under; a partition without a guard has the transaction open already. */
export interface VerifiedClaim {
  readonly guards: ReadonlyMap<Partition, TransactionGuard>;
  /** By `topic-partition`; those left out are verified. */
  readonly errors: VerificationErrors;
}

/** Where every transaction is open already. */
export const NOTHING_TO_ASK: VerifiedClaim = { guards: new Map(), errors: new Map() };

/** Asks for `first`; `again` says what is to be asked once a marker has overtaken it, null for nothing. */
export async function verifyGuarded(
  verifier: Pick<TransactionVerifier, "verify">,
  first: GuardedClaim,
  again: () => GuardedClaim | null,
): Promise<VerifiedClaim> {
  let asked: GuardedClaim | null = first;
  for (let tries = 1; asked !== null; tries++) {
    const { claim, guards }: GuardedClaim = asked;
    const errors = await verifier.verify(claim);
    const isOvertaken = claim.adds && errors.size === 0 &&
      [...guards].some(([partition, guard]) => !partition.isGuardedBy(guard));
    if (!isOvertaken || tries === MAX_VERIFICATIONS) return { guards, errors };
    asked = again();
  }
  return NOTHING_TO_ASK;
}
