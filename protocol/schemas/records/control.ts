/**
 * Key and value of control records: what they are, and how a transaction ended.
 *
 * An int16 version stands before the fields of each (KIP-98).
 */

import { type Decoded, int16, int32, message } from "../../schema.ts";

/** Key of a control record: what kind it is. */
export const controlRecordTypeSchema = message(
  { name: "ControlRecordTypeSchema", versions: "0", flexible: "none" },
  {
    type: int16("0+"),
  },
);
export type ControlRecordTypeSchema = Decoded<typeof controlRecordTypeSchema>;

/** Value of the marker that ends a transaction. */
export const endTxnMarker = message(
  { name: "EndTxnMarker", versions: "0", flexible: "none" },
  {
    coordinatorEpoch: int32("0+"),
  },
);
export type EndTxnMarker = Decoded<typeof endTxnMarker>;
