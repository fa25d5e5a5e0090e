/**
 * WriteShareGroupState (key 85): writes the state of share partitions (KIP-932).
 *
 * Versions:
 *   1    deliveryCompleteCount (KIP-1226)
 */

import {
  array,
  type Decoded,
  int16,
  int32,
  int64,
  int8,
  message,
  string,
  uuid,
} from "../schema.ts";

/** Request of WriteShareGroupState. */
export const writeShareGroupStateRequest = message(
  { name: "WriteShareGroupStateRequest", apiKey: 85, versions: "0-1", flexible: "0+" },
  {
    groupId: string("0+"),
    topics: array("0+", {
      topicId: uuid("0+"),
      partitions: array("0+", {
        partition: int32("0+"),
        stateEpoch: int32("0+"),
        leaderEpoch: int32("0+"),
        startOffset: int64("0+"),
        deliveryCompleteCount: int32("1+", { default: -1, ignorable: true }),
        stateBatches: array("0+", {
          firstOffset: int64("0+"),
          lastOffset: int64("0+"),
          deliveryState: int8("0+"),
          deliveryCount: int16("0+"),
        }),
      }),
    }),
  },
);
export type WriteShareGroupStateRequest = Decoded<typeof writeShareGroupStateRequest>;

/** Answer of WriteShareGroupState. */
export const writeShareGroupStateResponse = message(
  { name: "WriteShareGroupStateResponse", apiKey: 85, versions: "0-1", flexible: "0+" },
  {
    results: array("0+", {
      topicId: uuid("0+"),
      partitions: array("0+", {
        partition: int32("0+"),
        errorCode: int16("0+"),
        errorMessage: string("0+", { nullable: "0+", default: null }),
      }),
    }),
  },
);
export type WriteShareGroupStateResponse = Decoded<typeof writeShareGroupStateResponse>;
