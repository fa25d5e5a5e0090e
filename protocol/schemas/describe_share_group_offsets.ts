/**
 * DescribeShareGroupOffsets (key 90): start offsets of share partitions (KIP-932).
 *
 * Versions:
 *   1    lag (KIP-1226)
 */

import { array, type Decoded, int16, int32, int64, message, string, uuid } from "../schema.ts";

/** Request of DescribeShareGroupOffsets. */
export const describeShareGroupOffsetsRequest = message(
  { name: "DescribeShareGroupOffsetsRequest", apiKey: 90, versions: "0-1", flexible: "0+" },
  {
    groups: array("0+", {
      groupId: string("0+", { entity: "groupId" }),
      topics: array("0+", {
        topicName: string("0+", { entity: "topicName" }),
        partitions: array("0+", "int32"),
      }, { nullable: "0+" }),
    }),
  },
);
export type DescribeShareGroupOffsetsRequest = Decoded<typeof describeShareGroupOffsetsRequest>;

/** Answer of DescribeShareGroupOffsets. */
export const describeShareGroupOffsetsResponse = message(
  { name: "DescribeShareGroupOffsetsResponse", apiKey: 90, versions: "0-1", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    groups: array("0+", {
      groupId: string("0+", { entity: "groupId" }),
      topics: array("0+", {
        topicName: string("0+", { entity: "topicName" }),
        topicId: uuid("0+"),
        partitions: array("0+", {
          partitionIndex: int32("0+"),
          startOffset: int64("0+"),
          leaderEpoch: int32("0+"),
          lag: int64("1+", { default: -1, ignorable: true }),
          errorCode: int16("0+"),
          errorMessage: string("0+", { nullable: "0+", default: null }),
        }),
      }),
      errorCode: int16("0+"),
      errorMessage: string("0+", { nullable: "0+", default: null }),
    }),
  },
);
export type DescribeShareGroupOffsetsResponse = Decoded<typeof describeShareGroupOffsetsResponse>;
