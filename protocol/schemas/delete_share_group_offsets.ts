/**
 * DeleteShareGroupOffsets (key 92): deletes start offsets of share partitions (KIP-932).
 */

import { array, type Decoded, int16, int32, message, string, uuid } from "../schema.ts";

/** Request of DeleteShareGroupOffsets. */
export const deleteShareGroupOffsetsRequest = message(
  { name: "DeleteShareGroupOffsetsRequest", apiKey: 92, versions: "0", flexible: "0+" },
  {
    groupId: string("0+", { entity: "groupId" }),
    topics: array("0+", {
      topicName: string("0+", { entity: "topicName" }),
    }),
  },
);
export type DeleteShareGroupOffsetsRequest = Decoded<typeof deleteShareGroupOffsetsRequest>;

/** Answer of DeleteShareGroupOffsets. */
export const deleteShareGroupOffsetsResponse = message(
  { name: "DeleteShareGroupOffsetsResponse", apiKey: 92, versions: "0", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    errorMessage: string("0+", { nullable: "0+", default: null }),
    responses: array("0+", {
      topicName: string("0+", { entity: "topicName" }),
      topicId: uuid("0+"),
      errorCode: int16("0+"),
      errorMessage: string("0+", { nullable: "0+", default: null }),
    }),
  },
);
export type DeleteShareGroupOffsetsResponse = Decoded<typeof deleteShareGroupOffsetsResponse>;
