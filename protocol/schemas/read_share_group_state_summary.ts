/**
 * ReadShareGroupStateSummary (key 87): start offset and epochs of share partitions (KIP-932).
 *
 * Versions:
 *   1    deliveryCompleteCount (KIP-1226)
 */

import { array, type Decoded, int16, int32, int64, message, string, uuid } from "../schema.ts";

/** Request of ReadShareGroupStateSummary. */
export const readShareGroupStateSummaryRequest = message(
  { name: "ReadShareGroupStateSummaryRequest", apiKey: 87, versions: "0-1", flexible: "0+" },
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
export type ReadShareGroupStateSummaryRequest = Decoded<typeof readShareGroupStateSummaryRequest>;

/** Answer of ReadShareGroupStateSummary. */
export const readShareGroupStateSummaryResponse = message(
  { name: "ReadShareGroupStateSummaryResponse", apiKey: 87, versions: "0-1", flexible: "0+" },
  {
    results: array("0+", {
      topicId: uuid("0+"),
      partitions: array("0+", {
        partition: int32("0+"),
        errorCode: int16("0+"),
        errorMessage: string("0+", { nullable: "0+", default: null }),
        stateEpoch: int32("0+"),
        leaderEpoch: int32("0+"),
        startOffset: int64("0+"),
        deliveryCompleteCount: int32("1+", { default: -1, ignorable: true }),
      }),
    }),
  },
);
export type ReadShareGroupStateSummaryResponse = Decoded<typeof readShareGroupStateSummaryResponse>;
