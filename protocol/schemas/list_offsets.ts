/**
 * ListOffsets (key 2): the offset of a timestamp, or of one of the special ones below 0.
 *
 * Versions:
 *   1    one offset with its timestamp, instead of a list (KIP-79)
 *   2    isolationLevel (KIP-98)
 *   3    a throttled client gets its answer before the wait (KIP-219)
 *   4    currentLeaderEpoch, leaderEpoch (KIP-320)
 *   5    may answer OFFSET_NOT_AVAILABLE (KIP-207)
 *   6    flexible (KIP-482)
 *   7    timestamp −3: the record with the largest timestamp (KIP-734)
 *   8    timestamp −4: the earliest local offset (KIP-405)
 *   9    timestamp −5: the latest tiered offset (KIP-1005)
 *   10   timeoutMs, for searches in remote storage (KIP-1075)
 *   11   timestamp −6: the earliest offset that waits for upload (KIP-1023)
 */

import { array, type Decoded, int16, int32, int64, int8, message, string } from "../schema.ts";

/** Request of ListOffsets. */
export const listOffsetsRequest = message(
  { name: "ListOffsetsRequest", apiKey: 2, versions: "1-11", flexible: "6+" },
  {
    replicaId: int32("0+", { entity: "brokerId" }),
    isolationLevel: int8("2+"),
    topics: array("0+", {
      name: string("0+", { entity: "topicName" }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        currentLeaderEpoch: int32("4+", { default: -1, ignorable: true }),
        timestamp: int64("0+"),
      }),
    }),
    timeoutMs: int32("10+", { ignorable: true }),
  },
);
export type ListOffsetsRequest = Decoded<typeof listOffsetsRequest>;

/** Answer of ListOffsets. */
export const listOffsetsResponse = message(
  { name: "ListOffsetsResponse", apiKey: 2, versions: "1-11", flexible: "6+" },
  {
    throttleTimeMs: int32("2+", { ignorable: true }),
    topics: array("0+", {
      name: string("0+", { entity: "topicName" }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        errorCode: int16("0+"),
        timestamp: int64("1+", { default: -1 }),
        offset: int64("1+", { default: -1 }),
        leaderEpoch: int32("4+", { default: -1 }),
      }),
    }),
  },
);
export type ListOffsetsResponse = Decoded<typeof listOffsetsResponse>;
