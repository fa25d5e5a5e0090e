/**
 * InitProducerId (key 22): gives a producer its id and epoch (KIP-98).
 *
 * Versions:
 *   1    a throttled client gets its answer before the wait (KIP-219)
 *   2    flexible (KIP-482)
 *   3    a producer may go on with its id and a new epoch (KIP-360)
 *   4    may answer PRODUCER_FENCED (KIP-588)
 *   5    may answer TRANSACTION_ABORTABLE (KIP-890)
 *   6    two-phase commit: enable2Pc, keepPreparedTxn (KIP-939); not stable in Kafka 4.4
 */

import { bool, type Decoded, int16, int32, int64, message, string } from "../schema.ts";

/** Request of InitProducerId. */
export const initProducerIdRequest = message(
  { name: "InitProducerIdRequest", apiKey: 22, versions: "0-6", flexible: "2+" },
  {
    transactionalId: string("0+", { nullable: "0+", entity: "transactionalId" }),
    transactionTimeoutMs: int32("0+"),
    producerId: int64("3+", { default: -1, entity: "producerId" }),
    producerEpoch: int16("3+", { default: -1 }),
    enable2Pc: bool("6+", { default: false }),
    keepPreparedTxn: bool("6+", { default: false }),
  },
);
export type InitProducerIdRequest = Decoded<typeof initProducerIdRequest>;

/** Answer of InitProducerId. */
export const initProducerIdResponse = message(
  { name: "InitProducerIdResponse", apiKey: 22, versions: "0-6", flexible: "2+" },
  {
    throttleTimeMs: int32("0+", { ignorable: true }),
    errorCode: int16("0+"),
    producerId: int64("0+", { default: -1, entity: "producerId" }),
    producerEpoch: int16("0+"),
    ongoingTxnProducerId: int64("6+", { default: -1, entity: "producerId" }),
    ongoingTxnProducerEpoch: int16("6+", { default: -1 }),
  },
);
export type InitProducerIdResponse = Decoded<typeof initProducerIdResponse>;
