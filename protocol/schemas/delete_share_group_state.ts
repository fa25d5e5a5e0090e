/**
 * DeleteShareGroupState (key 86): deletes the state of share partitions (KIP-932).
 */

import { array, type Decoded, int16, int32, message, string, uuid } from "../schema.ts";

/** Request of DeleteShareGroupState. */
export const deleteShareGroupStateRequest = message(
  { name: "DeleteShareGroupStateRequest", apiKey: 86, versions: "0", flexible: "0+" },
  {
    groupId: string("0+"),
    topics: array("0+", {
      topicId: uuid("0+"),
      partitions: array("0+", {
        partition: int32("0+"),
      }),
    }),
  },
);
export type DeleteShareGroupStateRequest = Decoded<typeof deleteShareGroupStateRequest>;

/** Answer of DeleteShareGroupState. */
export const deleteShareGroupStateResponse = message(
  { name: "DeleteShareGroupStateResponse", apiKey: 86, versions: "0", flexible: "0+" },
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
export type DeleteShareGroupStateResponse = Decoded<typeof deleteShareGroupStateResponse>;
