/**
 * AddPartitionsToTxn (key 24), versions 0–5: makes partitions part of a transaction (KIP-98).
 *
 * - 1 throttle time · 2 PRODUCER_FENCED, before it INVALID_PRODUCER_EPOCH (KIP-588) · 3 flexible.
 * - 4 from brokers: many transactions at once, some only to be verified (KIP-890). One that is being ended holds up no
 *   other: CONCURRENT_TRANSACTIONS, and the broker asks again. 5 TRANSACTION_ABORTABLE, before it INVALID_TXN_STATE.
 *
 * With a partition that does not exist none is added: OPERATION_NOT_ATTEMPTED for the others, as in Kafka.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  type AddPartitionsToTxnRequest,
  addPartitionsToTxnRequest,
  addPartitionsToTxnResponse,
} from "../../protocol/schemas/add_partitions_to_txn.ts";
import type { TopicPartition } from "../../protocol/types.ts";
import type { Controller } from "../controller/controller.ts";
import type { TransactionCoordinator } from "../transactions/coordinator.ts";
import { abortableError, fencedError } from "../transactions/client_errors.ts";
import { EPOCH_BUMP_VERSION } from "../transactions/transaction.ts";
import { type Api, defineApi } from "./api.ts";

/** The first version that brokers send. */
const FIRST_BROKER_VERSION = 4;
const FIRST_ABORTABLE_VERSION = 5;

interface Subsystems {
  readonly controller: Controller;
  readonly transactionCoordinator: TransactionCoordinator;
}

/** One transaction of a request of any version. */
type Transaction = AddPartitionsToTxnRequest["transactions"][number];

/** Answers AddPartitionsToTxn. */
export function addPartitionsToTxnApi(subsystems: Subsystems): Api {
  return defineApi({
    key: ApiKey.AddPartitionsToTxn,
    request: addPartitionsToTxnRequest,
    response: addPartitionsToTxnResponse,
    versions: { lowest: 0, highest: 5 },
    async handle(request, { apiVersion }) {
      const isOfBroker = apiVersion >= FIRST_BROKER_VERSION;
      const transactions = isOfBroker ? request.transactions : [ofClient(request)];
      const results = await Promise.all(
        transactions.map((transaction) => addOrVerify(subsystems, transaction, apiVersion)),
      );
      return {
        throttleTimeMs: 0,
        errorCode: ErrorCode.NONE,
        resultsByTransaction: isOfBroker ? results : [],
        resultsByTopicV3AndBelow: isOfBroker
          ? []
          : results.flatMap(({ topicResults }) => topicResults),
      };
    },
  });
}

function ofClient(request: AddPartitionsToTxnRequest): Transaction {
  return {
    transactionalId: request.v3AndBelowTransactionalId,
    producerId: request.v3AndBelowProducerId,
    producerEpoch: request.v3AndBelowProducerEpoch,
    verifyOnly: false,
    topics: request.v3AndBelowTopics,
  };
}

async function addOrVerify(subsystems: Subsystems, transaction: Transaction, apiVersion: number) {
  const { transactionalId, topics } = transaction;
  const partitions = topics.flatMap(({ name, partitions: numbers }) =>
    numbers.map((partition) => ({ topic: name, partition }))
  );
  const errors = await errorsOf(subsystems, transaction, partitions, apiVersion);
  let index = 0;
  return {
    transactionalId,
    topicResults: topics.map(({ name, partitions: numbers }) => ({
      name,
      resultsByPartition: numbers.map((partitionIndex) => ({
        partitionIndex,
        partitionErrorCode: errors[index++] ?? ErrorCode.UNKNOWN_SERVER_ERROR,
      })),
    })),
  };
}

/** One error code for each partition, in order, in words that the version knows. */
async function errorsOf(
  { controller, transactionCoordinator }: Subsystems,
  { transactionalId, producerId, producerEpoch, verifyOnly }: Transaction,
  partitions: readonly TopicPartition[],
  apiVersion: number,
): Promise<readonly ErrorCode[]> {
  const image = controller.image();
  const isKnown = ({ topic, partition }: TopicPartition) =>
    image.topicByName(topic)?.partitions[partition] !== undefined;
  const { UNKNOWN_TOPIC_OR_PARTITION, OPERATION_NOT_ATTEMPTED } = ErrorCode;
  if (!partitions.every(isKnown)) {
    return partitions.map((one) =>
      isKnown(one) ? OPERATION_NOT_ATTEMPTED : UNKNOWN_TOPIC_OR_PARTITION
    );
  }
  const claim = { producerId, producerEpoch };
  if (verifyOnly) {
    return transactionCoordinator.verify(transactionalId, claim, partitions)
      .map((error) => abortableError(error, apiVersion, FIRST_ABORTABLE_VERSION));
  }
  const isOfBroker = apiVersion >= FIRST_BROKER_VERSION;
  const error = await transactionCoordinator.addPartitions({
    transactionalId,
    ...claim,
    partitions,
    transactionVersion: isOfBroker ? EPOCH_BUMP_VERSION : 0,
    isPatient: !isOfBroker,
  });
  return partitions.map(() => fencedError(error, apiVersion));
}
