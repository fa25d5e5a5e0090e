/**
 * InitProducerId (key 22):
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
