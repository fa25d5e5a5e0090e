/**
 * Records.
 */

import { type Decoded, int16, int32, message } from "../../schema.ts";

/** ControlRecordTypeSchema. */
export const controlRecordTypeSchema = message(
  { name: "ControlRecordTypeSchema", versions: "0", flexible: "none" },
  {
    type: int16("0+"),
  },
);
export type ControlRecordTypeSchema = Decoded<typeof controlRecordTypeSchema>;

/** EndTxnMarker. */
export const endTxnMarker = message(
  { name: "EndTxnMarker", versions: "0", flexible: "none" },
  {
    coordinatorEpoch: int32("0+"),
  },
);
export type EndTxnMarker = Decoded<typeof endTxnMarker>;
