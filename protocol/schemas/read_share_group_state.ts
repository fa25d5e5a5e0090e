/**
 * ReadShareGroupState (key 84): reads the state of share partitions (KIP-932).
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

/** Request of ReadShareGroupState. */
export const readShareGroupStateRequest = message(
  { name: "ReadShareGroupStateRequest", apiKey: 84, versions: "0", flexible: "0+" },
  {
    groupId: string("0+"),
    topics: array("0+", {
      topicId: uuid("0+"),
      partitions: array("0+", {
        partition: int32("0+"),
        leaderEpoch: int32("0+"),
      }),
    }),
  },
);
export type ReadShareGroupStateRequest = Decoded<typeof readShareGroupStateRequest>;

/** Answer of ReadShareGroupState. */
export const readShareGroupStateResponse = message(
  { name: "ReadShareGroupStateResponse", apiKey: 84, versions: "0", flexible: "0+" },
  {
    results: array("0+", {
      topicId: uuid("0+"),
      partitions: array("0+", {
        partition: int32("0+"),
        errorCode: int16("0+"),
        errorMessage: string("0+", { nullable: "0+", default: null }),
        stateEpoch: int32("0+"),
        startOffset: int64("0+"),
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
export type ReadShareGroupStateResponse = Decoded<typeof readShareGroupStateResponse>;
