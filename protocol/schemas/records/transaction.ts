/**
 * Records of `__transaction_state` (KIP-98), and the entry of a `.txnindex` file.
 *
 * Key and value each have an int16 in front: the record type before the key, the version before
 * the value.
 *
 * Versions of the value:
 *   1    flexible; ids and epochs of the transaction before and after (KIP-890)
 */

import { array, type Decoded, int16, int32, int64, int8, message, string } from "../../schema.ts";

/** A transactional id. */
export const transactionLogKey = message(
  { name: "TransactionLogKey", apiKey: 0, versions: "0", flexible: "none" },
  {
    transactionalId: string("0"),
  },
);
export type TransactionLogKey = Decoded<typeof transactionLogKey>;

/** State of a transactional id. */
export const transactionLogValue = message(
  { name: "TransactionLogValue", apiKey: 0, versions: "0-1", flexible: "1+" },
  {
    producerId: int64("0+"),
    previousProducerId: int64("1+", { default: -1, tag: 0, tagged: "1+" }),
    nextProducerId: int64("1+", { default: -1, tag: 1, tagged: "1+" }),
    producerEpoch: int16("0+"),
    nextProducerEpoch: int16("1+", { default: -1, tag: 3, tagged: "1+" }),
    transactionTimeoutMs: int32("0+"),
    transactionStatus: int8("0+"),
    transactionPartitions: array("0+", {
      topic: string("0+"),
      partitionIds: array("0+", "int32"),
    }, { nullable: "0+" }),
    transactionLastUpdateTimestampMs: int64("0+"),
    transactionStartTimestampMs: int64("0+"),
    clientTransactionVersion: int16("1+", { default: 0, tag: 2, tagged: "1+" }),
  },
);
export type TransactionLogValue = Decoded<typeof transactionLogValue>;

/** One aborted transaction of a segment. */
export const abortedTxn = message(
  { name: "AbortedTxn", versions: "0", flexible: "none" },
  {
    producerId: int64("0+"),
    firstOffset: int64("0+"),
    lastOffset: int64("0+"),
    lastStableOffset: int64("0+"),
  },
);
export type AbortedTxn = Decoded<typeof abortedTxn>;
