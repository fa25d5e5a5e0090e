/**
 * DeleteTopics (key 20): deletes topics.
 *
 * Versions:
 *   1    throttleTimeMs
 *   2    a throttled client gets its answer before the wait (KIP-219)
 *   3    may answer TOPIC_DELETION_DISABLED
 *   4    flexible (KIP-482)
 *   5    errorMessage; may answer THROTTLING_QUOTA_EXCEEDED (KIP-599)
 *   6    by name or by id (KIP-516)
 */

import { array, type Decoded, int16, int32, message, string, uuid } from "../schema.ts";

/** Request of DeleteTopics. */
export const deleteTopicsRequest = message(
  { name: "DeleteTopicsRequest", apiKey: 20, versions: "1-6", flexible: "4+" },
  {
    topics: array("6+", {
      name: string("6+", { nullable: "6+", default: null, entity: "topicName" }),
      topicId: uuid("6+"),
    }),
    topicNames: array("0-5", "string", { ignorable: true, entity: "topicName" }),
    timeoutMs: int32("0+"),
  },
);
export type DeleteTopicsRequest = Decoded<typeof deleteTopicsRequest>;

/** Answer of DeleteTopics. */
export const deleteTopicsResponse = message(
  { name: "DeleteTopicsResponse", apiKey: 20, versions: "1-6", flexible: "4+" },
  {
    throttleTimeMs: int32("1+", { ignorable: true }),
    responses: array("0+", {
      name: string("0+", { nullable: "6+", entity: "topicName", mapKey: true }),
      topicId: uuid("6+", { ignorable: true }),
      errorCode: int16("0+"),
      errorMessage: string("5+", { nullable: "5+", default: null, ignorable: true }),
    }),
  },
);
export type DeleteTopicsResponse = Decoded<typeof deleteTopicsResponse>;
