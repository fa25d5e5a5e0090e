/**
 * CreateTopics (key 19): creates topics.
 *
 * Versions:
 *   2    throttleTimeMs
 *   3    a throttled client gets its answer before the wait (KIP-219)
 *   4    −1 partitions or replicas stand for the broker's defaults (KIP-464)
 *   5    flexible (KIP-482); the topic's configuration in the answer (KIP-525)
 *   6    may answer THROTTLING_QUOTA_EXCEEDED (KIP-599)
 *   7    topicId in the answer (KIP-516)
 */

import { array, bool, type Decoded, int16, int32, int8, message, string, uuid } from "../schema.ts";

/** Request of CreateTopics. */
export const createTopicsRequest = message(
  { name: "CreateTopicsRequest", apiKey: 19, versions: "2-7", flexible: "5+" },
  {
    topics: array("0+", {
      name: string("0+", { entity: "topicName", mapKey: true }),
      numPartitions: int32("0+"),
      replicationFactor: int16("0+"),
      assignments: array("0+", {
        partitionIndex: int32("0+", { mapKey: true }),
        brokerIds: array("0+", "int32", { entity: "brokerId" }),
      }),
      configs: array("0+", {
        name: string("0+", { mapKey: true }),
        value: string("0+", { nullable: "0+" }),
      }),
    }),
    timeoutMs: int32("0+", { default: 60000 }),
    validateOnly: bool("1+", { default: false }),
  },
);
export type CreateTopicsRequest = Decoded<typeof createTopicsRequest>;

/** Answer of CreateTopics. */
export const createTopicsResponse = message(
  { name: "CreateTopicsResponse", apiKey: 19, versions: "2-7", flexible: "5+" },
  {
    throttleTimeMs: int32("2+", { ignorable: true }),
    topics: array("0+", {
      name: string("0+", { entity: "topicName", mapKey: true }),
      topicId: uuid("7+", { ignorable: true }),
      errorCode: int16("0+"),
      errorMessage: string("1+", { nullable: "0+", ignorable: true }),
      topicConfigErrorCode: int16("5+", { tag: 0, tagged: "5+", ignorable: true }),
      numPartitions: int32("5+", { default: -1, ignorable: true }),
      replicationFactor: int16("5+", { default: -1, ignorable: true }),
      configs: array("5+", {
        name: string("5+"),
        value: string("5+", { nullable: "5+" }),
        readOnly: bool("5+"),
        configSource: int8("5+", { default: -1, ignorable: true }),
        isSensitive: bool("5+"),
      }, { nullable: "5+", ignorable: true }),
    }),
  },
);
export type CreateTopicsResponse = Decoded<typeof createTopicsResponse>;
