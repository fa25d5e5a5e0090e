/**
 * OffsetDelete (key 47): deletes committed positions of topics to which a group is not subscribed
 * (KIP-496).
 */

import { array, type Decoded, int16, int32, message, string } from "../schema.ts";

/** Request of OffsetDelete. */
export const offsetDeleteRequest = message(
  { name: "OffsetDeleteRequest", apiKey: 47, versions: "0", flexible: "none" },
  {
    groupId: string("0+", { entity: "groupId" }),
    topics: array("0+", {
      name: string("0+", { entity: "topicName", mapKey: true }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
      }),
    }),
  },
);
export type OffsetDeleteRequest = Decoded<typeof offsetDeleteRequest>;

/** Answer of OffsetDelete. */
export const offsetDeleteResponse = message(
  { name: "OffsetDeleteResponse", apiKey: 47, versions: "0", flexible: "none" },
  {
    errorCode: int16("0+"),
    throttleTimeMs: int32("0+", { ignorable: true }),
    topics: array("0+", {
      name: string("0+", { entity: "topicName", mapKey: true }),
      partitions: array("0+", {
        partitionIndex: int32("0+", { mapKey: true }),
        errorCode: int16("0+"),
      }),
    }),
  },
);
export type OffsetDeleteResponse = Decoded<typeof offsetDeleteResponse>;
