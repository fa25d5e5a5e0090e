/**
 * Records of `__transaction_state` to and from domain values, in Kafka's own versions.
 *
 *     key    0 int16 │ transactional id
 *     value  version int16 │ fields of the value      null is a tombstone: the id is forgotten
 *
 * The value is written as version 1 where the cluster's level of `transaction.version` is 1 or more, else as
 * version 0, which has neither ids before and after nor the client's version. Both are read.
 * Source: KIP-98, KIP-890; Kafka's TransactionLog.
 */

import { Reader, WireError } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import {
  transactionLogKey,
  transactionLogValue,
} from "../../protocol/schemas/records/transaction.ts";
import { encodePrefixed, type KeyValue } from "../coordination/coordinator_records.ts";
import {
  NO_PRODUCER_EPOCH,
  TRANSACTION_STATES,
  type TransactionMetadata,
  type TransactionState,
} from "./transaction.ts";

/** The one type of record. */
const TRANSACTION_LOG_TYPE = 0;
const HIGHEST_VALUE_VERSION = 1;

/** One record; null metadata is a tombstone. */
export type TransactionRecord =
  | {
    readonly kind: "transaction";
    readonly transactionalId: string;
    readonly metadata: TransactionMetadata | null;
  }
  /** A type that this version does not know. */
  | { readonly kind: "other"; readonly type: number };

/** The record that holds a transactional id, or forgets it with null. */
export function encodeTransaction(
  transactionalId: string,
  metadata: TransactionMetadata | null,
  transactionVersion: number,
): KeyValue {
  const key = encodePrefixed(TRANSACTION_LOG_TYPE, transactionLogKey, 0, { transactionalId });
  if (metadata === null) return { key, value: null };
  const version = transactionVersion === 0 ? 0 : HIGHEST_VALUE_VERSION;
  const value = encodePrefixed(version, transactionLogValue, version, {
    producerId: metadata.producerId,
    ...(version > 0 && {
      previousProducerId: metadata.previousProducerId,
      nextProducerId: metadata.nextProducerId,
      clientTransactionVersion: metadata.clientTransactionVersion,
    }),
    producerEpoch: metadata.producerEpoch,
    transactionTimeoutMs: metadata.timeoutMs,
    transactionStatus: TRANSACTION_STATES.indexOf(metadata.state),
    transactionPartitions: metadata.state === "Empty"
      ? null
      : [...metadata.partitions].map(([topic, numbers]) => ({ topic, partitionIds: [...numbers] })),
    transactionLastUpdateTimestampMs: metadata.lastUpdateTimestampMs,
    transactionStartTimestampMs: metadata.startTimestampMs,
  });
  return { key, value };
}

/** Reads a record. Errors: WireError when damaged, or of a version that is not known. */
export function decodeTransaction({ key, value }: {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
}): TransactionRecord {
  if (key === null) {
    throw new WireError("Cannot read a record of __transaction_state: it has no key");
  }
  const reader = new Reader(key);
  const type = reader.int16();
  if (type !== TRANSACTION_LOG_TYPE) return { kind: "other", type };
  const { transactionalId } = codec(transactionLogKey, 0).decode(reader);
  const metadata = value === null ? null : decodeValue(value);
  return { kind: "transaction", transactionalId, metadata };
}

function decodeValue(bytes: Uint8Array): TransactionMetadata {
  const reader = new Reader(bytes);
  const version = reader.int16();
  if (version < 0 || version > HIGHEST_VALUE_VERSION) {
    throw new WireError(`Cannot read a transaction: version ${version} of its record is not known`);
  }
  const value = codec(transactionLogValue, version).decode(reader);
  const partitions = value.transactionPartitions ?? [];
  return {
    producerId: value.producerId,
    previousProducerId: value.previousProducerId,
    nextProducerId: value.nextProducerId,
    producerEpoch: value.producerEpoch,
    lastProducerEpoch: NO_PRODUCER_EPOCH,
    timeoutMs: value.transactionTimeoutMs,
    state: storedState(value.transactionStatus),
    partitions: new Map(
      partitions.map(({ topic, partitionIds }) => [topic, new Set(partitionIds)]),
    ),
    startTimestampMs: value.transactionStartTimestampMs,
    lastUpdateTimestampMs: value.transactionLastUpdateTimestampMs,
    clientTransactionVersion: value.clientTransactionVersion,
  };
}

/** Errors: WireError for a state that no log has. */
function storedState(status: number): TransactionState {
  const state = TRANSACTION_STATES[status];
  if (state === undefined || state === "Dead" || state === "PrepareEpochFence") {
    throw new WireError(`Cannot read a transaction: ${status} is not a state of the log`);
  }
  return state;
}
