/**
 * AlterShareGroupOffsets (key 91): sets start offsets of share partitions (KIP-932).
 */

import { array, type Decoded, int16, int32, int64, message, string, uuid } from "../schema.ts";

/** Request of AlterShareGroupOffsets. */
export const alterShareGroupOffsetsRequest = message(
  { name: "AlterShareGroupOffsetsRequest", apiKey: 91, versions: "0", flexible: "0+" },
  {
    groupId: string("0+", { entity: "groupId" }),
    topics: array("0+", {
      topicName: string("0+", { entity: "topicName", mapKey: true }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        startOffset: int64("0+"),
      }),
    }),
  },
);
export type AlterShareGroupOffsetsRequest = Decoded<typeof alterShareGroupOffsetsRequest>;

/** Answer of AlterShareGroupOffsets. */
export const alterShareGroupOffsetsResponse = message(
  { name: "AlterShareGroupOffsetsResponse", apiKey: 91, versions: "0", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    errorMessage: string("0+", { nullable: "0+", default: null }),
    responses: array("0+", {
      topicName: string("0+", { entity: "topicName", mapKey: true }),
      topicId: uuid("0+"),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        errorCode: int16("0+"),
        errorMessage: string("0+", { nullable: "0+", default: null }),
      }),
    }),
  },
);
export type AlterShareGroupOffsetsResponse = Decoded<typeof alterShareGroupOffsetsResponse>;
