/**
 * EndTxn (key 26), versions 0–5: commits or aborts a transaction (KIP-98).
 *
 * - 1 throttle time · 2 PRODUCER_FENCED, before it INVALID_PRODUCER_EPOCH (KIP-588) · 3 flexible.
 * - 4 TRANSACTION_ABORTABLE · 5 every transaction ends with a new epoch, which the answer gives (KIP-890).
 *
 * It is answered when the decision is committed; the partitions of the transaction hear of it after that.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { endTxnRequest, endTxnResponse } from "../../protocol/schemas/end_txn.ts";
import type { TransactionCoordinator } from "../transactions/coordinator.ts";
import { fencedError } from "../transactions/client_errors.ts";
import { EPOCH_BUMP_VERSION } from "../transactions/transaction.ts";
import { type Api, defineApi } from "./api.ts";

const FIRST_EPOCH_BUMP_VERSION = 5;

/** Answers EndTxn. */
export function endTxnApi(
  { transactionCoordinator }: { readonly transactionCoordinator: TransactionCoordinator },
): Api {
  return defineApi({
    key: ApiKey.EndTxn,
    request: endTxnRequest,
    response: endTxnResponse,
    versions: { lowest: 0, highest: 5 },
    async handle({ transactionalId, producerId, producerEpoch, committed }, { apiVersion }) {
      const answer = await transactionCoordinator.endTransaction({
        transactionalId,
        producerId,
        producerEpoch,
        isCommit: committed,
        transactionVersion: apiVersion >= FIRST_EPOCH_BUMP_VERSION ? EPOCH_BUMP_VERSION : 0,
      });
      return {
        throttleTimeMs: 0,
        errorCode: fencedError(answer.error, apiVersion),
        producerId: answer.producerId,
        producerEpoch: answer.producerEpoch,
      };
    },
  });
}
