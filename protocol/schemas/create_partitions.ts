/**
 * CreatePartitions (key 37): adds partitions to topics (KIP-195).
 *
 * Versions:
 *   1    a throttled client gets its answer before the wait (KIP-219)
 *   2    flexible (KIP-482)
 *   3    may answer THROTTLING_QUOTA_EXCEEDED (KIP-599)
 */

import { array, bool, type Decoded, int16, int32, message, string } from "../schema.ts";

/** Request of CreatePartitions. */
export const createPartitionsRequest = message(
  { name: "CreatePartitionsRequest", apiKey: 37, versions: "0-3", flexible: "2+" },
  {
    topics: array("0+", {
      name: string("0+", { entity: "topicName", mapKey: true }),
      count: int32("0+"),
      assignments: array("0+", {
        brokerIds: array("0+", "int32", { entity: "brokerId" }),
      }, { nullable: "0+" }),
    }),
    timeoutMs: int32("0+"),
    validateOnly: bool("0+"),
  },
);
export type CreatePartitionsRequest = Decoded<typeof createPartitionsRequest>;

/** Answer of CreatePartitions. */
export const createPartitionsResponse = message(
  { name: "CreatePartitionsResponse", apiKey: 37, versions: "0-3", flexible: "2+" },
  {
    throttleTimeMs: int32("0+"),
    results: array("0+", {
      name: string("0+", { entity: "topicName" }),
      errorCode: int16("0+"),
      errorMessage: string("0+", { nullable: "0+", default: null }),
    }),
  },
);
export type CreatePartitionsResponse = Decoded<typeof createPartitionsResponse>;
