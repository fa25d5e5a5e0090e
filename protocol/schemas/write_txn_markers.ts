/**
 * WriteTxnMarkers (key 27): a coordinator has partitions write the end of a transaction (KIP-98).
 *
 * Versions:
 *   1    flexible (KIP-482)
 *   2    transactionVersion (KIP-1228)
 */

import {
  array,
  bool,
  type Decoded,
  int16,
  int32,
  int64,
  int8,
  message,
  string,
} from "../schema.ts";

/** Request of WriteTxnMarkers. */
export const writeTxnMarkersRequest = message(
  { name: "WriteTxnMarkersRequest", apiKey: 27, versions: "1-2", flexible: "1+" },
  {
    markers: array("0+", {
      producerId: int64("0+", { entity: "producerId" }),
      producerEpoch: int16("0+"),
      transactionResult: bool("0+"),
      topics: array("0+", {
        name: string("0+", { entity: "topicName" }),
        partitionIndexes: array("0+", "int32"),
      }),
      coordinatorEpoch: int32("0+"),
      transactionVersion: int8("2+", { default: 0, ignorable: true }),
    }),
  },
);
export type WriteTxnMarkersRequest = Decoded<typeof writeTxnMarkersRequest>;

/** Answer of WriteTxnMarkers. */
export const writeTxnMarkersResponse = message(
  { name: "WriteTxnMarkersResponse", apiKey: 27, versions: "1-2", flexible: "1+" },
  {
    markers: array("0+", {
      producerId: int64("0+", { entity: "producerId" }),
      topics: array("0+", {
        name: string("0+", { entity: "topicName" }),
        partitions: array("0+", {
          partitionIndex: int32("0+"),
          errorCode: int16("0+"),
        }),
      }),
    }),
  },
);
export type WriteTxnMarkersResponse = Decoded<typeof writeTxnMarkersResponse>;
