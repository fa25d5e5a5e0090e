/**
 * DescribeTransactions (key 65): state of transactional ids (KIP-664).
 */

import { array, type Decoded, int16, int32, int64, message, string } from "../schema.ts";

/** Request of DescribeTransactions. */
export const describeTransactionsRequest = message(
  { name: "DescribeTransactionsRequest", apiKey: 65, versions: "0", flexible: "0+" },
  {
    transactionalIds: array("0+", "string", { entity: "transactionalId" }),
  },
);
export type DescribeTransactionsRequest = Decoded<typeof describeTransactionsRequest>;

/** Answer of DescribeTransactions. */
export const describeTransactionsResponse = message(
  { name: "DescribeTransactionsResponse", apiKey: 65, versions: "0", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    transactionStates: array("0+", {
      errorCode: int16("0+"),
      transactionalId: string("0+", { entity: "transactionalId" }),
      transactionState: string("0+"),
      transactionTimeoutMs: int32("0+"),
      transactionStartTimeMs: int64("0+"),
      producerId: int64("0+", { entity: "producerId" }),
      producerEpoch: int16("0+"),
      topics: array("0+", {
        topic: string("0+", { entity: "topicName", mapKey: true }),
        partitions: array("0+", "int32"),
      }),
    }),
  },
);
export type DescribeTransactionsResponse = Decoded<typeof describeTransactionsResponse>;
