/**
 * DeleteRecords (key 21): moves the start of partitions forward (KIP-107).
 *
 * Versions:
 *   1    a throttled client gets its answer before the wait (KIP-219)
 *   2    flexible (KIP-482)
 */

import { array, type Decoded, int16, int32, int64, message, string } from "../schema.ts";

/** Request of DeleteRecords. */
export const deleteRecordsRequest = message(
  { name: "DeleteRecordsRequest", apiKey: 21, versions: "0-2", flexible: "2+" },
  {
    topics: array("0+", {
      name: string("0+", { entity: "topicName" }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        offset: int64("0+"),
      }),
    }),
    timeoutMs: int32("0+"),
  },
);
export type DeleteRecordsRequest = Decoded<typeof deleteRecordsRequest>;

/** Answer of DeleteRecords. */
export const deleteRecordsResponse = message(
  { name: "DeleteRecordsResponse", apiKey: 21, versions: "0-2", flexible: "2+" },
  {
    throttleTimeMs: int32("0+"),
    topics: array("0+", {
      name: string("0+", { entity: "topicName", mapKey: true }),
      partitions: array("0+", {
        partitionIndex: int32("0+", { mapKey: true }),
        lowWatermark: int64("0+"),
        errorCode: int16("0+"),
      }),
    }),
  },
);
export type DeleteRecordsResponse = Decoded<typeof deleteRecordsResponse>;
