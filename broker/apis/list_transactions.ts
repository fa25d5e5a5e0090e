/**
 * ListTransactions (key 66), versions 0–1: the transactional ids that this broker coordinates (KIP-664).
 *
 * 1 durationFilter: those whose transaction has been open, or is over, for longer (KIP-994).
 *
 * A state that is not known is named in the answer, and no transaction is in it.
 *
 * Gaps: version 2, which filters by a pattern (KIP-1152).
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  type ListTransactionsRequest,
  listTransactionsRequest,
  listTransactionsResponse,
} from "../../protocol/schemas/list_transactions.ts";
import type { Clock } from "../../storage/platform.ts";
import type { TransactionCoordinator, TransactionListing } from "../transactions/coordinator.ts";
import { TRANSACTION_STATES } from "../transactions/transaction.ts";
import { type Api, defineApi } from "./api.ts";

const STATE_NAMES: ReadonlySet<string> = new Set(TRANSACTION_STATES);

interface Subsystems {
  readonly clock: Clock;
  readonly transactionCoordinator: TransactionCoordinator;
}

/** Answers ListTransactions. */
export function listTransactionsApi({ clock, transactionCoordinator }: Subsystems): Api {
  return defineApi({
    key: ApiKey.ListTransactions,
    request: listTransactionsRequest,
    response: listTransactionsResponse,
    versions: { lowest: 0, highest: 1 },
    handle(request) {
      const { error, transactions } = transactionCoordinator.list();
      const isWanted = filterOf(request, clock.wallMs());
      const isNone = error === ErrorCode.NONE;
      return {
        throttleTimeMs: 0,
        errorCode: error,
        unknownStateFilters: isNone
          ? request.stateFilters.filter((name) => !STATE_NAMES.has(name))
          : [],
        transactionStates: [...transactions].filter(isWanted).map((
          { transactionalId, metadata },
        ) => ({
          transactionalId,
          producerId: metadata.producerId,
          transactionState: metadata.state,
        })),
      };
    },
  });
}

function filterOf(
  { stateFilters, producerIdFilters, durationFilter }: ListTransactionsRequest,
  nowMs: number,
): (listing: TransactionListing) => boolean {
  const states = new Set(stateFilters);
  const producerIds = new Set<number>(producerIdFilters);
  return ({ metadata: { state, producerId, startTimestampMs } }) => (
    (states.size === 0 || states.has(state)) &&
    (producerIds.size === 0 || producerIds.has(producerId)) &&
    (durationFilter < 0 || nowMs - startTimestampMs > durationFilter)
  );
}
