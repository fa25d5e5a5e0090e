/**
 * AddPartitionsToTxn (key 24): makes partitions part of a transaction (KIP-98).
 *
 * Versions:
 *   1    a throttled client gets its answer before the wait (KIP-219)
 *   2    may answer PRODUCER_FENCED (KIP-588)
 *   3    flexible (KIP-482)
 *   4    from brokers only: many transactions, verifyOnly (KIP-890)
 *   5    may answer TRANSACTION_ABORTABLE (KIP-890)
 */

import { array, bool, type Decoded, int16, int32, int64, message, string } from "../schema.ts";

const addPartitionsToTxnTopic = {
  name: string("0+", { entity: "topicName", mapKey: true }),
  partitions: array("0+", "int32"),
} as const;

/** Request of AddPartitionsToTxn. */
export const addPartitionsToTxnRequest = message(
  { name: "AddPartitionsToTxnRequest", apiKey: 24, versions: "0-5", flexible: "3+" },
  {
    transactions: array("4+", {
      transactionalId: string("4+", { entity: "transactionalId", mapKey: true }),
      producerId: int64("4+", { entity: "producerId" }),
      producerEpoch: int16("4+"),
      verifyOnly: bool("4+", { default: false }),
      topics: array("4+", addPartitionsToTxnTopic),
    }),
    v3AndBelowTransactionalId: string("0-3", { entity: "transactionalId" }),
    v3AndBelowProducerId: int64("0-3", { entity: "producerId" }),
    v3AndBelowProducerEpoch: int16("0-3"),
    v3AndBelowTopics: array("0-3", addPartitionsToTxnTopic),
  },
);
export type AddPartitionsToTxnRequest = Decoded<typeof addPartitionsToTxnRequest>;

const addPartitionsToTxnPartitionResult = {
  partitionIndex: int32("0+", { mapKey: true }),
  partitionErrorCode: int16("0+"),
} as const;

const addPartitionsToTxnTopicResult = {
  name: string("0+", { entity: "topicName", mapKey: true }),
  resultsByPartition: array("0+", addPartitionsToTxnPartitionResult),
} as const;

/** Answer of AddPartitionsToTxn. */
export const addPartitionsToTxnResponse = message(
  { name: "AddPartitionsToTxnResponse", apiKey: 24, versions: "0-5", flexible: "3+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("4+", { ignorable: true }),
    resultsByTransaction: array("4+", {
      transactionalId: string("4+", { entity: "transactionalId", mapKey: true }),
      topicResults: array("4+", addPartitionsToTxnTopicResult),
    }),
    resultsByTopicV3AndBelow: array("0-3", addPartitionsToTxnTopicResult),
  },
);
export type AddPartitionsToTxnResponse = Decoded<typeof addPartitionsToTxnResponse>;
