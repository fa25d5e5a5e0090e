/**
 * DescribeTransactions (key 65), version 0: state, producer and partitions of transactional ids (KIP-664), each asked
 * of the broker that coordinates it.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  describeTransactionsRequest,
  describeTransactionsResponse,
} from "../../protocol/schemas/describe_transactions.ts";
import type { TransactionCoordinator } from "../transactions/coordinator.ts";
import { type Api, defineApi } from "./api.ts";

/** Answers DescribeTransactions. */
export function describeTransactionsApi(
  { transactionCoordinator }: { readonly transactionCoordinator: TransactionCoordinator },
): Api {
  return defineApi({
    key: ApiKey.DescribeTransactions,
    request: describeTransactionsRequest,
    response: describeTransactionsResponse,
    versions: { lowest: 0, highest: 0 },
    handle: ({ transactionalIds }) => ({
      throttleTimeMs: 0,
      transactionStates: transactionalIds.map((id) => describe(transactionCoordinator, id)),
    }),
  });
}

function describe(coordinator: TransactionCoordinator, transactionalId: string) {
  const found = coordinator.describe(transactionalId);
  if (!("metadata" in found)) {
    return {
      errorCode: found.error,
      transactionalId,
      transactionState: "",
      transactionTimeoutMs: 0,
      transactionStartTimeMs: 0,
      producerId: 0,
      producerEpoch: 0,
      topics: [],
    };
  }
  const { metadata } = found;
  return {
    errorCode: ErrorCode.NONE,
    transactionalId,
    transactionState: metadata.state,
    transactionTimeoutMs: metadata.timeoutMs,
    transactionStartTimeMs: metadata.startTimestampMs,
    producerId: metadata.producerId,
    producerEpoch: metadata.producerEpoch,
    topics: [...metadata.partitions].map(([topic, partitions]) => ({
      topic,
      partitions: [...partitions],
    })),
  };
}
