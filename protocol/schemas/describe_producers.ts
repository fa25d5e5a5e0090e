/**
 * DescribeProducers (key 61): the active producers of partitions (KIP-664).
 */

import { array, type Decoded, int16, int32, int64, message, string } from "../schema.ts";

/** Request of DescribeProducers. */
export const describeProducersRequest = message(
  { name: "DescribeProducersRequest", apiKey: 61, versions: "0", flexible: "0+" },
  {
    topics: array("0+", {
      name: string("0+", { entity: "topicName", mapKey: true }),
      partitionIndexes: array("0+", "int32"),
    }),
  },
);
export type DescribeProducersRequest = Decoded<typeof describeProducersRequest>;

/** Answer of DescribeProducers. */
export const describeProducersResponse = message(
  { name: "DescribeProducersResponse", apiKey: 61, versions: "0", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    topics: array("0+", {
      name: string("0+", { entity: "topicName" }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        errorCode: int16("0+"),
        errorMessage: string("0+", { nullable: "0+", default: null }),
        activeProducers: array("0+", {
          producerId: int64("0+", { entity: "producerId" }),
          producerEpoch: int32("0+"),
          lastSequence: int32("0+", { default: -1 }),
          lastTimestamp: int64("0+", { default: -1 }),
          coordinatorEpoch: int32("0+"),
          currentTxnStartOffset: int64("0+", { default: -1 }),
        }),
      }),
    }),
  },
);
export type DescribeProducersResponse = Decoded<typeof describeProducersResponse>;
