/**
 * EndTxn (key 26): commits or aborts a transaction (KIP-98).
 *
 * Versions:
 *   1    a throttled client gets its answer before the wait (KIP-219)
 *   2    may answer PRODUCER_FENCED (KIP-588)
 *   3    flexible (KIP-482)
 *   4    may answer TRANSACTION_ABORTABLE (KIP-890)
 *   5    every transaction ends with a new producer epoch, which the answer gives (KIP-890)
 */

import { bool, type Decoded, int16, int32, int64, message, string } from "../schema.ts";

/** Request of EndTxn. */
export const endTxnRequest = message(
  { name: "EndTxnRequest", apiKey: 26, versions: "0-5", flexible: "3+" },
  {
    transactionalId: string("0+", { entity: "transactionalId" }),
    producerId: int64("0+", { entity: "producerId" }),
    producerEpoch: int16("0+"),
    committed: bool("0+"),
  },
);
export type EndTxnRequest = Decoded<typeof endTxnRequest>;

/** Answer of EndTxn. */
export const endTxnResponse = message(
  { name: "EndTxnResponse", apiKey: 26, versions: "0-5", flexible: "3+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    producerId: int64("5+", { default: -1, ignorable: true, entity: "producerId" }),
    producerEpoch: int16("5+", { default: -1, ignorable: true }),
  },
);
export type EndTxnResponse = Decoded<typeof endTxnResponse>;
