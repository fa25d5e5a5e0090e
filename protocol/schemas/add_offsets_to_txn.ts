/**
 * AddOffsetsToTxn (key 25): makes a group's offsets part of a transaction (KIP-98).
 *
 * Versions:
 *   1    a throttled client gets its answer before the wait (KIP-219)
 *   2    may answer PRODUCER_FENCED (KIP-588)
 *   3    flexible (KIP-482)
 *   4    may answer TRANSACTION_ABORTABLE (KIP-890)
 */

import { type Decoded, int16, int32, int64, message, string } from "../schema.ts";

/** Request of AddOffsetsToTxn. */
export const addOffsetsToTxnRequest = message(
  { name: "AddOffsetsToTxnRequest", apiKey: 25, versions: "0-4", flexible: "3+" },
  {
    transactionalId: string("0+", { entity: "transactionalId" }),
    producerId: int64("0+", { entity: "producerId" }),
    producerEpoch: int16("0+"),
    groupId: string("0+", { entity: "groupId" }),
  },
);
export type AddOffsetsToTxnRequest = Decoded<typeof addOffsetsToTxnRequest>;

/** Answer of AddOffsetsToTxn. */
export const addOffsetsToTxnResponse = message(
  { name: "AddOffsetsToTxnResponse", apiKey: 25, versions: "0-4", flexible: "3+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
  },
);
export type AddOffsetsToTxnResponse = Decoded<typeof addOffsetsToTxnResponse>;
