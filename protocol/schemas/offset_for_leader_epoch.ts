/**
 * OffsetForLeaderEpoch (key 23): where a leader epoch ends, by which a log that diverged finds
 * where to cut.
 *
 * Versions:
 *   2    currentLeaderEpoch fences (KIP-320)
 *   3    replicaId
 *   4    flexible (KIP-482)
 */

import { array, type Decoded, int16, int32, int64, message, string } from "../schema.ts";

/** Request of OffsetForLeaderEpoch. */
export const offsetForLeaderEpochRequest = message(
  { name: "OffsetForLeaderEpochRequest", apiKey: 23, versions: "2-4", flexible: "4+" },
  {
    replicaId: int32("3+", { default: -2, ignorable: true, entity: "brokerId" }),
    topics: array("0+", {
      topic: string("0+", { entity: "topicName", mapKey: true }),
      partitions: array("0+", {
        partition: int32("0+"),
        currentLeaderEpoch: int32("2+", { default: -1, ignorable: true }),
        leaderEpoch: int32("0+"),
      }),
    }),
  },
);
export type OffsetForLeaderEpochRequest = Decoded<typeof offsetForLeaderEpochRequest>;

/** Answer of OffsetForLeaderEpoch. */
export const offsetForLeaderEpochResponse = message(
  { name: "OffsetForLeaderEpochResponse", apiKey: 23, versions: "2-4", flexible: "4+" },
  {
    throttleTimeMs: int32("2+", { ignorable: true }),
    topics: array("0+", {
      topic: string("0+", { entity: "topicName", mapKey: true }),
      partitions: array("0+", {
        errorCode: int16("0+"),
        partition: int32("0+"),
        leaderEpoch: int32("1+", { default: -1, ignorable: true }),
        endOffset: int64("0+", { default: -1 }),
      }),
    }),
  },
);
export type OffsetForLeaderEpochResponse = Decoded<typeof offsetForLeaderEpochResponse>;
