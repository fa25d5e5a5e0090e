/**
 * ListTransactions (key 66): transactional ids that a broker coordinates (KIP-664).
 *
 * Versions:
 *   1    durationFilter (KIP-994)
 *   2    transactionalIdPattern (KIP-1152)
 */

import { array, type Decoded, int16, int32, int64, message, string } from "../schema.ts";

/** Request of ListTransactions. */
export const listTransactionsRequest = message(
  { name: "ListTransactionsRequest", apiKey: 66, versions: "0-2", flexible: "0+" },
  {
    stateFilters: array("0+", "string"),
    producerIdFilters: array("0+", "int64", { entity: "producerId" }),
    durationFilter: int64("1+", { default: -1 }),
    transactionalIdPattern: string("2+", { nullable: "2+", default: null }),
  },
);
export type ListTransactionsRequest = Decoded<typeof listTransactionsRequest>;

/** Answer of ListTransactions. */
export const listTransactionsResponse = message(
  { name: "ListTransactionsResponse", apiKey: 66, versions: "0-2", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    unknownStateFilters: array("0+", "string"),
    transactionStates: array("0+", {
      transactionalId: string("0+", { entity: "transactionalId" }),
      producerId: int64("0+", { entity: "producerId" }),
      transactionState: string("0+"),
    }),
  },
);
export type ListTransactionsResponse = Decoded<typeof listTransactionsResponse>;
