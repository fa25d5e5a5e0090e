/** A transaction coordinator that knows what a test tells it, and answers when the test lets it. */

import assert from "node:assert/strict";
import { type Api, defineApi } from "../../../broker/apis/api.ts";
import { BrokerChannel, type BrokerChannelOptions } from "../../../broker/peers/broker_channel.ts";
import {
  TransactionVerifier,
  type TransactionVerifierOptions,
} from "../../../broker/transactions/verifier.ts";
import { ApiKey } from "../../../protocol/api_keys.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import {
  type AddPartitionsToTxnRequest,
  addPartitionsToTxnRequest,
  addPartitionsToTxnResponse,
} from "../../../protocol/schemas/add_partitions_to_txn.ts";
import { NODE_ID } from "../controller/harness.ts";

type Transaction = AddPartitionsToTxnRequest["transactions"][number];

/** For loads without transactions. */
export const NO_VERIFIER = {
  verify: () => assert.fail("no transaction is there"),
};

/** Answers AddPartitionsToTxn of brokers. */
export class ScriptedCoordinator {
  /** `topic-partition` of the open transactions, by transactional id. */
  readonly transactions = new Map<string, Set<string>>();
  /** Answered to the next so many requests instead of what is known. */
  nextErrors: ErrorCode[] = [];
  /** What is asked waits while this is set. */
  held: Promise<void> | null = null;
  readonly asked: Transaction[][] = [];
  readonly api: Api;

  constructor() {
    this.api = defineApi({
      key: ApiKey.AddPartitionsToTxn,
      request: addPartitionsToTxnRequest,
      response: addPartitionsToTxnResponse,
      versions: { lowest: 4, highest: 5 },
      handle: async ({ transactions }) => {
        this.asked.push(transactions);
        const error = this.nextErrors.shift();
        // It answers what was true when it was asked.
        const resultsByTransaction = transactions.map((one) => this.#answer(one, error));
        await this.held;
        return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, resultsByTransaction };
      },
    });
  }

  #answer({ transactionalId, verifyOnly, topics }: Transaction, error: ErrorCode | undefined) {
    const known = this.transactions.get(transactionalId) ?? new Set();
    const topicResults = topics.map(({ name, partitions }) => ({
      name,
      resultsByPartition: partitions.map((partitionIndex) => {
        const place = `${name}-${partitionIndex}`;
        if (!verifyOnly && error === undefined) known.add(place);
        const own = known.has(place) ? ErrorCode.NONE : ErrorCode.TRANSACTION_ABORTABLE;
        return { partitionIndex, partitionErrorCode: error ?? own };
      }),
    }));
    this.transactions.set(transactionalId, known);
    return { transactionalId, topicResults };
  }
}

/** The verifier of a node that is alone, and has the coordinator itself. */
export function verifierAsking(
  coordinator: ScriptedCoordinator,
  parts:
    & Omit<BrokerChannelOptions, "nodeId" | "clientId">
    & Pick<TransactionVerifierOptions, "logger">,
): TransactionVerifier {
  const channel = new BrokerChannel({ ...parts, nodeId: NODE_ID, clientId: "node" });
  channel.serve([coordinator.api]);
  return new TransactionVerifier({
    ...parts,
    channel,
    settings: () => ({ requestTimeoutMs: 5000, retryBackoffMs: 20, retryMaxMs: 100 }),
  });
}
