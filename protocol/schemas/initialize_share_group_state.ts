/**
 * InitializeShareGroupState (key 83): starts the state of a share partition at its coordinator
 * (KIP-932).
 */

import { array, type Decoded, int16, int32, int64, message, string, uuid } from "../schema.ts";

/** Request of InitializeShareGroupState. */
export const initializeShareGroupStateRequest = message(
  { name: "InitializeShareGroupStateRequest", apiKey: 83, versions: "0", flexible: "0+" },
  {
    groupId: string("0+"),
    topics: array("0+", {
      topicId: uuid("0+"),
      partitions: array("0+", {
        partition: int32("0+"),
        stateEpoch: int32("0+"),
        startOffset: int64("0+"),
      }),
    }),
  },
);
export type InitializeShareGroupStateRequest = Decoded<typeof initializeShareGroupStateRequest>;

/** Answer of InitializeShareGroupState. */
export const initializeShareGroupStateResponse = message(
  { name: "InitializeShareGroupStateResponse", apiKey: 83, versions: "0", flexible: "0+" },
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
export type InitializeShareGroupStateResponse = Decoded<typeof initializeShareGroupStateResponse>;
