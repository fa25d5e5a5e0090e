/**
 * ListTransactions (key 66), versions 0–2: the transactional ids that this broker coordinates (KIP-664).
 *
 * - 1 durationFilter: those whose transaction has been open, or is over, for longer (KIP-994).
 * - 2 transactionalIdPattern: those whose whole id matches (KIP-1152), in time linear in the id.
 *
 * A state that is not known is named in the answer, and no transaction is in it.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  type ListTransactionsRequest,
  listTransactionsRequest,
  listTransactionsResponse,
} from "../../protocol/schemas/list_transactions.ts";
import type { Clock } from "../../storage/platform.ts";
import { type BoundedRegex, compileRegex } from "../coordination/bounded_regex.ts";
import { TimeSlice } from "../time_slice.ts";
import type { TransactionCoordinator, TransactionListing } from "../transactions/coordinator.ts";
import { TRANSACTION_STATES } from "../transactions/transaction.ts";
import { type Api, defineApi } from "./api.ts";

/** The event loop is given back at least so often. */
const SLICE_MS = 4;
const STATE_NAMES: ReadonlySet<string> = new Set(TRANSACTION_STATES);

interface Subsystems {
  readonly clock: Clock;
  readonly transactionCoordinator: Pick<TransactionCoordinator, "list">;
}

/** Answers ListTransactions. */
export function listTransactionsApi({ clock, transactionCoordinator }: Subsystems): Api {
  return defineApi({
    key: ApiKey.ListTransactions,
    request: listTransactionsRequest,
    response: listTransactionsResponse,
    versions: { lowest: 0, highest: 2 },
    async handle(request) {
      const { error, transactions } = transactionCoordinator.list();
      if (error !== ErrorCode.NONE) return refused(error);
      const pattern = patternOf(request);
      if (pattern !== null && "problem" in pattern) {
        return refused(ErrorCode.INVALID_REGULAR_EXPRESSION);
      }
      return {
        throttleTimeMs: 0,
        errorCode: ErrorCode.NONE,
        unknownStateFilters: request.stateFilters.filter((name) => !STATE_NAMES.has(name)),
        transactionStates: (await some(transactions, filterOf(request, pattern, clock), clock))
          .map(({ transactionalId, metadata: { producerId, state } }) => (
            { transactionalId, producerId, transactionState: state }
          )),
      };
    },
  });
}

function refused(errorCode: ErrorCode) {
  return { throttleTimeMs: 0, errorCode, unknownStateFilters: [], transactionStates: [] };
}

function patternOf({ transactionalIdPattern: pattern }: ListTransactionsRequest) {
  return pattern === null || pattern === "" ? null : compileRegex(pattern);
}

function filterOf(
  { stateFilters, producerIdFilters, durationFilter }: ListTransactionsRequest,
  pattern: BoundedRegex | null,
  clock: Clock,
): (listing: TransactionListing) => boolean {
  const nowMs = clock.wallMs();
  const states = new Set(stateFilters);
  const producerIds = new Set<number>(producerIdFilters);
  return ({ transactionalId, metadata: { state, producerId, startTimestampMs } }) => (
    (states.size === 0 || states.has(state)) &&
    (producerIds.size === 0 || producerIds.has(producerId)) &&
    (durationFilter < 0 || nowMs - startTimestampMs > durationFilter) &&
    (pattern === null || pattern.matches(transactionalId))
  );
}

/** Those that are wanted, looked for without holding the event loop. */
async function some(
  transactions: Iterable<TransactionListing>,
  isWanted: (listing: TransactionListing) => boolean,
  clock: Clock,
): Promise<TransactionListing[]> {
  const found: TransactionListing[] = [];
  const slice = new TimeSlice(clock, SLICE_MS);
  for (const listing of transactions) {
    if (isWanted(listing)) found.push(listing);
    if (slice.isOver) await slice.next();
  }
  return found;
}
